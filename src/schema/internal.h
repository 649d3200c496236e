/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of src/schema share: the parts of kind_ops that the kind tables name, and a few
 * helpers. Nothing here is seen by other modules.
 */
#ifndef CORACLE_SCHEMA_INTERNAL_H
#define CORACLE_SCHEMA_INTERNAL_H

#include <coracle/schema.h>

#include "platform.h"

/* kind_ops.cells: rows of `kubectl get` (cells_*.c). */
void pod_cells(const json_t *obj, time_t now, json_t *cells);
void replicaset_cells(const json_t *obj, time_t now, json_t *cells);
void deployment_cells(const json_t *obj, time_t now, json_t *cells);
void replicationcontroller_cells(const json_t *obj, time_t now, json_t *cells);
void podtemplate_cells(const json_t *obj, time_t now, json_t *cells);
void daemonset_cells(const json_t *obj, time_t now, json_t *cells);
void statefulset_cells(const json_t *obj, time_t now, json_t *cells);
void controllerrevision_cells(const json_t *obj, time_t now, json_t *cells);
void job_cells(const json_t *obj, time_t now, json_t *cells);
void cronjob_cells(const json_t *obj, time_t now, json_t *cells);
void hpa_cells(const json_t *obj, time_t now, json_t *cells);
void hpa_v1_cells(const json_t *obj, time_t now, json_t *cells);
void pdb_cells(const json_t *obj, time_t now, json_t *cells);
void priorityclass_cells(const json_t *obj, time_t now, json_t *cells);
void resourcequota_cells(const json_t *obj, time_t now, json_t *cells);
void pv_cells(const json_t *obj, time_t now, json_t *cells);
void pvc_cells(const json_t *obj, time_t now, json_t *cells);
void scale_cells(const json_t *obj, time_t now, json_t *cells);
void service_cells(const json_t *obj, time_t now, json_t *cells);
void endpoints_cells(const json_t *obj, time_t now, json_t *cells);
void endpointslice_cells(const json_t *obj, time_t now, json_t *cells);
void node_cells(const json_t *obj, time_t now, json_t *cells);
void namespace_cells(const json_t *obj, time_t now, json_t *cells);
void configmap_cells(const json_t *obj, time_t now, json_t *cells);
void secret_cells(const json_t *obj, time_t now, json_t *cells);
void serviceaccount_cells(const json_t *obj, time_t now, json_t *cells);
void event_cells(const json_t *obj, time_t now, json_t *cells);
void nodemetrics_cells(const json_t *obj, time_t now, json_t *cells);
void podmetrics_cells(const json_t *obj, time_t now, json_t *cells);
void role_cells(const json_t *obj, time_t now, json_t *cells);
void binding_cells(const json_t *obj, time_t now, json_t *cells);
void certificatesigningrequest_cells(const json_t *obj, time_t now, json_t *cells);

/* kind_ops.field_label: what field selectors may ask for (field_labels.c). */
const char *pod_field_label(const json_t *obj, const char *label);
const char *node_field_label(const json_t *obj, const char *label);
const char *event_field_label(const json_t *obj, const char *label);
const char *namespace_field_label(const json_t *obj, const char *label);
const char *secret_field_label(const json_t *obj, const char *label);
const char *service_field_label(const json_t *obj, const char *label);
const char *replicationcontroller_field_label(const json_t *obj, const char *label);
const char *job_field_label(const json_t *obj, const char *label);

/* Cell helpers (table.c). A cell is never missing: NULL and "" become fallback. */
void cell_str(json_t *cells, const char *s, const char *fallback);
void cell_int(json_t *cells, int64_t i);
/* Age of a metav1.Time or MicroTime text: "5m", "<unknown>" when unset. */
void cell_age(json_t *cells, const char *when, time_t now);
/* Age of the object. */
void cell_created(json_t *cells, const json_t *obj, time_t now);
/* Two cells: names and images of the containers of the pod spec at the path. */
void cell_containers(json_t *cells, const json_t *obj, const char *path);
/* A metav1.LabelSelector; a plain map of labels. "<none>" when empty. */
void cell_selector(json_t *cells, const json_t *selector);
void cell_labels(json_t *cells, const json_t *labels);
/* Same into a buffer. */
char *age_text(char buf[static 24], const char *when, time_t now);

/* All documents of a YAML text (yaml_parse.c); duplicate keys are described in duplicates (NULL:
 * not). */
json_t *yaml_load(const char *text, size_t len, struct strv *duplicates, struct err *err);
/* Would s, written plain, be read back as the same string by everyone? (yaml_format.c) */
bool yaml_plain_is_string(const char *s, size_t len);
/* A string of more than YAML_LONG bytes, as the value that b ends in front of; its lines are
 * indented so many blanks (yaml_long.c). */
#define YAML_LONG (16U << 10)
void yaml_put_long(struct strbuf *b, const char *s, size_t len, size_t indent);
/* Does the text start with "{"? */
bool yaml_is_json(const char *text, size_t len);
/* Value of a plain scalar by its looks. NULL: it cannot be said in JSON. */
json_t *yaml_resolve_plain(const char *s, size_t len);

/* Directives of strategic merge patches. */
#define DIRECTIVE_PATCH "$patch"
#define DIRECTIVE_RETAIN "$retainKeys"
#define DIRECTIVE_ORDER "$setElementOrder/"
#define DIRECTIVE_DELETE "$deleteFromPrimitiveList/"

/* Bounds of patches: operations of a JSON patch, comparisons of one list merge. */
#define PATCH_MAX_OPERATIONS 10000
#define PATCH_MAX_COMPARISONS INT64_C(20000000)

/* ---- generated tables ------------------------------------------------------------------- */

/* A group and version and the prefix of its messages' names. */
struct schema_package {
	const char *group, *version, *prefix;
};
extern const struct schema_package schema_packages[];
extern const size_t n_schema_packages;
extern const struct message schema_messages[]; /* sorted by name */
extern const size_t n_schema_messages;

/* Message of an object's own apiVersion and kind, or NULL. Knows what no kind is served for, too.
 */
const struct message *message_for(const char *api_version, const char *kind);
/* Is the word (of len bytes, any case) in the comma-separated list (NULL: empty)? */
bool csv_has(const char *list, const char *word, size_t len);

/* Splits at sep, empty parts too. */
/* schema_decode_json(); ret_sent (may be NULL): a copy of what was read, before anything is done to
 * it; it may be set though NULL is returned. */
json_t *decode_json(const struct message *m, const char *what, const char *json, size_t len,
		    enum field_validation mode, struct strv *warnings, json_t **ret_sent,
		    struct err *err);
void split_all(struct strv *ret, const char *text, char sep);

/* What users of a built-in kind are told, or NULL. */
const char *kind_deprecation(const struct kind *k);

/* ---- decoding --------------------------------------------------------------------------- */

/* Problems told of one object under Strict and Warn (sigs.k8s.io/json stops there too). */
#define STRICT_ERRORS_MAX JSON_DUPLICATES_MAX
/* Values (of any type, at any depth) in one body. */
#define BODY_VALUES_MAX 200000

/* schema_check() in the order of the object. found: `duplicate field "..."` of its text; afterwards
 * all problems. */
int schema_check_strict(const struct message *m, const char *what, json_t *obj,
			enum field_validation mode, struct strv *found, struct strv *warnings,
			struct err *err) MUST_CHECK;

/* ---- custom kinds (src/schema/custom) --------------------------------------------------- */

/* Compiles the schema, so that the fields of the kind's message are there. */
void custom_ready(struct custom_kind *k);
/* schema_check() of a custom kind's object. */
int custom_decode(struct custom_kind *k, const char *what, json_t *obj, struct strv *found,
		  struct err *err) MUST_CHECK;
void custom_default(struct custom_kind *k, json_t *obj);
/* Adds causes. */
void custom_validate(struct custom_kind *k, const json_t *obj, const json_t *old, struct err *err);
void custom_cells(const struct kind *k, const json_t *obj, time_t now, json_t *cells);
/* NULL: no such label. */
const char *custom_field_label(const struct kind *k, const json_t *obj, const char *label);
/* JSON text of the kind's schema with apiVersion, kind, metadata; caller frees. */
char *custom_document(const struct kind *k, bool v3);
size_t custom_cost(const struct kind *k); /* bytes that it is made from */
/* Changes whenever custom_document() may. */
uint32_t custom_hash(const struct kind *k, uint32_t h);
/* Kubernetes' order of versions: v2 v1 v2beta1 v1beta2 v1alpha1 foo; < 0: a goes first. */
int version_cmp(const char *a, const char *b);

/* ---- defaults --------------------------------------------------------------------------- */

/* The table's defaults on an object of type m. */
void default_message(const struct message *m, json_t *obj);
/* Sets the member unless it is there. value is stolen. */
void default_put(json_t *obj, const char *key, json_t *value);
/* What every PodSpec gets, in pods and templates. */
void default_pod_spec(json_t *spec);

/* ---- names: NULL when good, else the static text Kubernetes prints ---------------------- */

const char *valid_path_segment(const char *s); /* names of RBAC objects */
const char *valid_port_name(const char *s);    /* IANA_SVC_NAME, RFC 6335 section 5.1 */
const char *valid_config_key(const char *s);   /* keys of ConfigMap and Secret */

/* ---- members of struct kind_ops, named by api/kinds.tab --------------------------------- */

void namespace_set_defaults(json_t *obj, const json_t *old);
void node_set_defaults(json_t *obj, const json_t *old);
void pod_set_defaults(json_t *obj, const json_t *old);
void service_set_defaults(json_t *obj, const json_t *old);
void secret_set_defaults(json_t *obj, const json_t *old);
void replicaset_set_defaults(json_t *obj, const json_t *old);
void deployment_set_defaults(json_t *obj, const json_t *old);
void hpa_set_defaults(json_t *obj, const json_t *old);
void replicationcontroller_set_defaults(json_t *obj, const json_t *old);
void podtemplate_set_defaults(json_t *obj, const json_t *old);
void daemonset_set_defaults(json_t *obj, const json_t *old);
void statefulset_set_defaults(json_t *obj, const json_t *old);
void job_set_defaults(json_t *obj, const json_t *old);
void cronjob_set_defaults(json_t *obj, const json_t *old);
void limitrange_set_defaults(json_t *obj, const json_t *old);
void pvc_set_defaults(json_t *obj, const json_t *old);

/* kind_ops.to_storage and from_storage: versions stored as another one (convert_*.c). */
void hpa_v1_to_storage(json_t *obj);
void hpa_v1_from_storage(json_t *obj);

void binding_set_defaults(json_t *obj, const json_t *old);
void crd_set_defaults(json_t *obj, const json_t *old);
void crd_validate(const json_t *obj, const json_t *old, struct err *err);
void crd_cells(const json_t *obj, time_t now, json_t *cells);

void namespace_validate(const json_t *obj, const json_t *old, struct err *err);
void node_validate(const json_t *obj, const json_t *old, struct err *err);
void pod_validate(const json_t *obj, const json_t *old, struct err *err);
void service_validate(const json_t *obj, const json_t *old, struct err *err);
void endpoints_validate(const json_t *obj, const json_t *old, struct err *err);
void configmap_validate(const json_t *obj, const json_t *old, struct err *err);
void secret_validate(const json_t *obj, const json_t *old, struct err *err);
void event_validate(const json_t *obj, const json_t *old, struct err *err);
void replicaset_validate(const json_t *obj, const json_t *old, struct err *err);
void deployment_validate(const json_t *obj, const json_t *old, struct err *err);
void endpointslice_validate(const json_t *obj, const json_t *old, struct err *err);
void replicationcontroller_validate(const json_t *obj, const json_t *old, struct err *err);
void podtemplate_validate(const json_t *obj, const json_t *old, struct err *err);
void daemonset_validate(const json_t *obj, const json_t *old, struct err *err);
void statefulset_validate(const json_t *obj, const json_t *old, struct err *err);
void controllerrevision_validate(const json_t *obj, const json_t *old, struct err *err);
void job_validate(const json_t *obj, const json_t *old, struct err *err);
void cronjob_validate(const json_t *obj, const json_t *old, struct err *err);
void hpa_validate(const json_t *obj, const json_t *old, struct err *err);
void pdb_validate(const json_t *obj, const json_t *old, struct err *err);
void priorityclass_validate(const json_t *obj, const json_t *old, struct err *err);
void limitrange_validate(const json_t *obj, const json_t *old, struct err *err);
void resourcequota_validate(const json_t *obj, const json_t *old, struct err *err);
void pv_validate(const json_t *obj, const json_t *old, struct err *err);
void pvc_validate(const json_t *obj, const json_t *old, struct err *err);
void certificatesigningrequest_validate(const json_t *obj, const json_t *old, struct err *err);
void role_validate(const json_t *obj, const json_t *old, struct err *err);
void clusterrole_validate(const json_t *obj, const json_t *old, struct err *err);
void rolebinding_validate(const json_t *obj, const json_t *old, struct err *err);
void clusterrolebinding_validate(const json_t *obj, const json_t *old, struct err *err);

/* ---- fields as server-side apply sees them (field_set.c) --------------------------------- */

/* Owned and replaced as one; so is what no table describes (f NULL). */
bool field_is_atomic(const struct field *f);
/* The member of m, NULL when there is none. */
const struct field *field_below(const struct message *m, const char *name);

#endif
