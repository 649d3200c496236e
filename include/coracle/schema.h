/* SPDX-License-Identifier: Apache-2.0 */
/*
 * schema: what the API's kinds and fields are, as constant tables.
 *
 * Purpose: one table of kinds and one of fields, compiled at build time from src/schema/api/.
 * From them come decoding (strict JSON, protobuf), defaults, validation, patches, selectors,
 * Table columns, discovery and OpenAPI. All functions are pure: no I/O, and no state but the list
 * of custom kinds.
 * Lifetime: none for built-in kinds. Kinds made at run time (CustomResourceDefinitions) use the
 * same structs; whoever keeps a pointer to a kind beyond a turn of the loop holds it by kind_ref().
 */
#ifndef CORACLE_SCHEMA_H
#define CORACLE_SCHEMA_H

#include <coracle/base.h>
#include <coracle/json.h>

/* ---- fields ----------------------------------------------------------------------------- */

enum field_type {
	FIELD_STRING,
	FIELD_BOOL,
	FIELD_INT32,
	FIELD_INT64,
	FIELD_DOUBLE,
	FIELD_BYTES,	 /* base64 text */
	FIELD_TIME,	 /* metav1.Time */
	FIELD_MICROTIME, /* metav1.MicroTime */
	FIELD_DURATION,
	FIELD_QUANTITY,
	FIELD_INT_OR_STRING,
	FIELD_OBJECT, /* ->message */
	FIELD_RAW,    /* any JSON: RawExtension, FieldsV1 */
};
enum field_list {
	LIST_NONE,	 /* not a list */
	LIST_ATOMIC,	 /* replaced whole */
	LIST_MAP,	 /* merged by key */
	LIST_SET,	 /* merged as a set of scalars */
	LIST_STRING_MAP, /* a map[string]type */
};
enum field_flags {
	FIELD_POINTER = 1,     /* explicit zero is kept (Go pointer) */
	FIELD_ALWAYS = 2,      /* written even when empty (no omitempty) */
	FIELD_INLINE = 4,      /* protobuf sub-message whose fields stand in the parent's JSON */
	FIELD_RETAIN_KEYS = 8, /* patchStrategy retainKeys */
	FIELD_MAP_ATOMIC = 16, /* SSA: struct or map owned as one */
	FIELD_REQUIRED = 32,
	FIELD_IMMUTABLE = 64,
	FIELD_OPTIONAL = 256, /* not among the required ones of OpenAPI, though FIELD_ALWAYS */
	FIELD_NEEDED = 512,   /* among them, though it may be left out */
	FIELD_OR_BOOL = 128,  /* true or false may stand in place of the message */
};
struct message;
struct custom_kind;
struct field {
	const char *name;     /* JSON name; "" for an inline message */
	uint16_t number;      /* protobuf field number */
	uint8_t type;	      /* enum field_type */
	uint8_t list;	      /* enum field_list, as server-side apply sees it */
	bool smp_merge;	      /* strategic merge: merge (else replace) */
	uint16_t flags;	      /* enum field_flags */
	const char *smp_key;  /* its merge key, NULL for primitive lists */
	const char *ssa_keys; /* comma-separated list-map keys, or NULL */
	const char *dflt;     /* default as JSON text, or NULL */
	const char *rule; /* simple validation: "enum:A,B" "min:0" "range:1-65535" "dns1123label"
			     ..., or NULL */
	const struct message *message; /* for FIELD_OBJECT */
	const char *doc;	       /* one line in our own words, or NULL */
};
/* One API type. Fields are sorted by JSON name (inline ones first). */
struct message {
	const char *name; /* "io.k8s.api.core.v1.Pod" */
	const struct field *fields;
	uint16_t n_fields;
	const char *doc;
	bool atomic; /* OpenAPI tells of x-kubernetes-map-type here, not at the fields */
	bool open;   /* members that are not listed may be anything */
	struct custom_kind *custom; /* the root of a custom kind: fields come by message_field() */
};
/* Looks through inline messages too. NULL when the type has no such field. */
const struct field *message_field(const struct message *m, const char *name);
const struct message *message_find(const char *name);

/* ---- kinds ------------------------------------------------------------------------------ */

enum kind_verb {
	VERB_CREATE = 1,
	VERB_DELETE = 2,
	VERB_DELETECOLLECTION = 4,
	VERB_GET = 8,
	VERB_LIST = 16,
	VERB_PATCH = 32,
	VERB_UPDATE = 64,
	VERB_WATCH = 128,
};
struct subresource {
	const char *name;		    /* "status", "scale", "log", "exec", ... */
	const char *group, *version, *kind; /* response kind; NULL group: the parent's */
	unsigned verbs;			    /* enum kind_verb */
};
struct column {
	const char *name;   /* "Cluster-IP" */
	const char *type;   /* "string" "integer" "boolean" */
	const char *format; /* "name" for the first one, else "" */
	const char *doc;
	uint8_t priority; /* 1: wide only */
};
struct kind;
/* What is special about a kind. Any may be NULL. Objects are complete (metadata, kind, apiVersion).
 */
struct kind_ops {
	/* Defaults that the field table cannot say. old is NULL on create. */
	void (*set_defaults)(json_t *obj, const json_t *old);
	/* Adds causes to err (ERR_INVALID). old is NULL on create. Of a kind with another storage
	 * kind: what its version asks beyond that one; the objects are of the storage kind. */
	void (*validate)(const json_t *obj, const json_t *old, struct err *err);
	/* Appends the cells of one row to `cells`, one per column. now: wall clock seconds. */
	void (*cells)(const json_t *obj, time_t now, json_t *cells);
	/* Value of a field selector label, NULL when the kind has no such label; "" when unset. The
	 * result is valid until the next call. metadata.name/namespace are handled by the caller.
	 */
	const char *(*field_label)(const json_t *obj, const char *label);
	/* Of a kind with another storage kind: makes an object of this kind one of that kind, and
	 * back, in place; apiVersion and kind are the caller's. NULL: they differ in nothing else.
	 */
	void (*to_storage)(json_t *obj);
	void (*from_storage)(json_t *obj);
};
struct kind {
	const char *group; /* "" for core */
	const char *version;
	const char *kind;      /* "Deployment" */
	const char *list_kind; /* "DeploymentList" */
	const char *plural;    /* "deployments" */
	const char *singular;
	const char *short_names; /* comma-separated or NULL */
	const char *categories;	 /* comma-separated or NULL */
	bool namespaced;
	bool has_status;	   /* status is only written through /status */
	bool has_generation;	   /* generation counts changes of spec */
	bool unconditional_update; /* PUT without resourceVersion is allowed */
	bool create_on_update;	   /* PUT on a missing object creates it */
	bool returned;		   /* DELETE answers with the last state, not with a Status */
	bool computed;		   /* not stored: made when it is asked for */
	bool inert; /* stored and served, but nothing acts on it yet: creating one warns */
	const char *name_rule; /* "dns1123subdomain" "dns1123label" "dns1035label" "pathsegment" */
	unsigned verbs;
	const struct message *message;
	const struct subresource *subresources;
	uint8_t n_subresources;
	const struct column *columns;
	uint8_t n_columns;
	const struct kind_ops *ops;
	/* Another version of this kind, which its objects are stored as; NULL: as themselves. A
	 * stored kind has none. */
	const struct kind *storage;
	uint16_t index; /* dense number, for per-kind arrays; versions of a custom kind have the
			   same */
	struct custom_kind *custom; /* NULL: built in */
};
extern const struct kind *const schema_kinds[]; /* the built-in ones, by index */
extern const size_t n_schema_kinds;
/* One more than the highest index in use. */
size_t kind_count(void);
/* The kind that objects of this index are stored as; NULL: no such index at present. */
const struct kind *kind_at(size_t index);
/* Every kind that is served, a custom one once for each version: size_t i = 0; while ((k =
 * kind_next(&i))). */
const struct kind *kind_next(size_t *i);
const struct kind *kind_find(const char *group, const char *version, const char *plural);
/* api_version: "v1" or "apps/v1". */
const struct kind *kind_by_name(const char *api_version, const char *kind);
/* Same for what is stored: finds versions of custom kinds that are not served, too, and in place of
 * one that is known no more the one that is stored now. */
const struct kind *kind_known(const char *api_version, const char *kind);
/* plural, singular, short name or Kind, any case; "deployments.apps" too. For the client. */
const struct kind *kind_by_word(const char *word);
/* "v1" or "apps/v1"; returns buf. */
#define API_VERSION_MAX 384 /* a group, a version and a plural at their longest */
const char *kind_api_version(const struct kind *k, char buf[static API_VERSION_MAX]);
/* "pods" or "deployments.apps", as error messages name resources. */
const char *kind_resource(const struct kind *k, char buf[static API_VERSION_MAX]);
/* The kind that objects of k are stored as: k itself, unless another version is stored. */
static inline const struct kind *kind_storage(const struct kind *k)
{
	return k->storage ? k->storage : k;
}
/* Are their objects the same ones? */
static inline bool kind_same(const struct kind *a, const struct kind *b)
{
	return kind_storage(a)->index == kind_storage(b)->index;
}
/* Makes obj of one version of a kind the same object in another version, in place. */
void kind_convert(const struct kind *from, const struct kind *to, json_t *obj);
const struct subresource *kind_subresource(const struct kind *k, const char *name);
/* The kinds every caller needs by name. */
extern const struct kind kind_limitrange, kind_resourcequota, kind_priorityclass,
	kind_poddisruptionbudget, kind_persistentvolumeclaim, kind_persistentvolume;
extern const struct kind kind_namespace, kind_node, kind_pod, kind_replicaset, kind_deployment,
	kind_service, kind_endpoints, kind_endpointslice, kind_configmap, kind_secret,
	kind_serviceaccount, kind_event, kind_nodemetrics, kind_podmetrics, kind_role,
	kind_clusterrole, kind_rolebinding, kind_clusterrolebinding, kind_certificatesigningrequest,
	kind_customresourcedefinition, kind_lease, kind_servicecidr, kind_ipaddress, kind_csinode,
	kind_runtimeclass, kind_flowschema, kind_prioritylevelconfiguration, kind_apiservice,
	kind_componentstatus, kind_validatingadmissionpolicy, kind_validatingadmissionpolicybinding,
	kind_replicationcontroller, kind_ingress, kind_ingressclass, kind_storageclass;
/* autoscaling/v1 Scale: a subresource's kind, for Tables alone (no message, not in schema_kinds).
 */
extern const struct kind kind_scale;

/* ---- custom kinds ----------------------------------------------------------------------- */

/*
 * The kinds of CustomResourceDefinitions. The store tells of every definition it holds; what is
 * known of a definition stays small, its schemas are compiled when they are first used (from the
 * definition that `source` gives) and dropped by custom_trim(). Memory of a kind that went away is
 * kept while anybody holds a reference.
 */
/* The text of the definition of that name, borrowed for the moment; false: there is none. */
typedef bool custom_source_fn(void *arg, const char *crd, const char **text, size_t *len);
void custom_source(custom_source_fn *fn, void *arg); /* NULL: forgets all definitions */
/* Takes a definition (the head is enough) in, or its new state. *ret_schema (may be NULL): what is
 * stored has to be looked at with custom_settle(). A definition that cannot be understood is told
 * of in err. */
int custom_put(const json_t *crd, bool *ret_schema, struct err *err) MUST_CHECK;
void custom_del(const char *crd);
/* A definition as it was put, without schemas and managedFields; NULL when the text is none. */
json_t *custom_head(const char *text, size_t len);
/* Has another definition of the group taken the name (or, with kinds, the kind)? */
bool custom_name_taken(const char *crd, const char *group, const char *word, bool kinds);
/* Gives compiled schemas back. */
void custom_trim(void);
/* Index of the definition's resource, or -ENOENT. */
int custom_index(const char *crd) MUST_CHECK;
/* Not served any more (or not yet); built-in kinds always are. */
bool kind_is_served(const struct kind *k);
/* Its definition is being deleted: nothing new may be made. */
bool kind_is_ending(const struct kind *k);
const struct kind *kind_ref(const struct kind *k); /* NULL stays NULL */
void kind_unref(const struct kind *k);
/* An object read from the store as k wants it: apiVersion, defaults, nothing unknown. True when
 * something was changed. */
bool custom_settle(const struct kind *k, json_t *obj);
/* Where /scale finds its values, as simple JSON paths; false: k has no such subresource or is built
 * in. selector may be NULL. */
struct scale_paths {
	const char *spec, *status, *selector;
};
bool custom_scale(const struct kind *k, struct scale_paths *ret);
/* Value at a simple JSON path (".spec.replicas"), borrowed or NULL; and setting it. */
json_t *json_path_get(const json_t *v, const char *path);
void json_path_set(json_t *v, const char *path, json_t *value /* stolen */);
/* What clients should be told about requests for this kind, or about such an object being written;
 * obj may be NULL. */
void schema_warnings(const struct kind *k, const json_t *obj, struct strv *warnings);

/* What expressions (cel.h) ask of this module: quantities and formats; it authorizes nothing. */
struct cel_host;
const struct cel_host *schema_cel_host(void);

/* ---- expressions of admission policies --------------------------------------------------- */

/* The variables, by their place in what cel_eval() is given. */
enum policy_var {
	POLICY_OBJECT,
	POLICY_OLD_OBJECT,
	POLICY_REQUEST,
	POLICY_PARAMS,
	POLICY_NAMESPACE,
	POLICY_AUTHORIZER,
	POLICY_VARIABLES,
	POLICY_VARS,
};
/* Where an expression stands: what it sees and what it has to be. */
enum policy_use { POLICY_CONDITION, POLICY_RULE, POLICY_MESSAGE, POLICY_AUDIT, POLICY_VARIABLE };
struct cel_type;
struct cel_program;
struct policy_scope; /* outlives the programs that were compiled with it */
/* spec: of a policy; NULL: of a webhook. object: the kind it is checked against, NULL: any. */
struct policy_scope *policy_scope_new(const json_t *spec, const struct kind *object);
void policy_scope_free(struct policy_scope *s); /* NULL allowed */
/* NULL: *error in the words of upstream; caller frees. */
struct cel_program *policy_compile(struct policy_scope *s, enum policy_use use, const char *text,
				   char **error);
/* Makes variables.<name> known to what is compiled later; the program is the scope's. */
const struct cel_program *policy_add_variable(struct policy_scope *s, const char *name,
					      const char *text, char **error);
const struct cel_program *policy_variable(const struct policy_scope *s, const char *name,
					  size_t *index);
const struct cel_type *policy_variables_type(const struct policy_scope *s);
const struct cel_type *policy_request_type(void);
const struct cel_type *policy_namespace_type(void);
/* status.typeChecking of a ValidatingAdmissionPolicy, new. */
json_t *policy_type_check(const json_t *policy);

/* ---- decoding --------------------------------------------------------------------------- */

enum field_validation { FIELDS_IGNORE, FIELDS_WARN, FIELDS_STRICT };
/*
 * Decodes a JSON body into a new object of type m (json: the text, bounded by the caller), as
 * Kubernetes' strict decoder does: wrong types always fail (400, "cannot unmarshal ..."), unknown
 * and duplicate fields fail under STRICT, add to warnings under WARN. what: "Deployment in version
 * \"v1\"" for messages. Nulls and unknown fields are dropped. Returns NULL + err.
 */
json_t *schema_decode_json(const struct message *m, const char *what, const char *json, size_t len,
			   enum field_validation mode, struct strv *warnings, struct err *err);
/* The same check on an object that is already parsed (a patch result, YAML): obj is pruned in
 * place. prefix is put in front of paths ("" usually). */
int schema_check(const struct message *m, const char *what, json_t *obj, enum field_validation mode,
		 struct strv *warnings, struct err *err) MUST_CHECK;
/* YAML or JSON text, one document, to JSON with the same rules (duplicate keys are seen). */
json_t *schema_decode_yaml(const struct message *m, const char *what, const char *text, size_t len,
			   enum field_validation mode, struct strv *warnings, struct err *err);
/* The same for what is applied: checked with FIELDS_WARN, but as it was sent, with nulls, zeros and
 * values in other words, which are owned by who applies them. */
json_t *schema_decode_applied(const struct message *m, const char *what, const char *text,
			      size_t len, struct strv *warnings, struct err *err);
/*
 * Protobuf body with the "k8s\0" envelope. On success the new object has apiVersion and kind.
 * m: expected message, or NULL to look it up by the envelope's type.
 */
json_t *schema_decode_protobuf(const struct message *m, const void *data, size_t len,
			       struct err *err);
/* One or more YAML documents to an array of JSON objects, untyped; for manifests and the client. */
json_t *yaml_parse_all(const char *text, size_t len, struct err *err);
/* Block-style YAML of v as kubectl prints it (keys sorted); caller frees. */
char *yaml_format(const json_t *v);

/* ---- defaults, validation --------------------------------------------------------------- */

void schema_default(const struct kind *k, json_t *obj, const json_t *old);
/* "Guaranteed" "Burstable" "BestEffort", by what its containers ask for. */
const char *pod_qos_class(const json_t *pod);
/* All problems as causes in err, ERR_INVALID with Kubernetes' message. old: NULL on create.
 * Includes metadata. */
int schema_validate(const struct kind *k, const json_t *obj, const json_t *old,
		    struct err *err) MUST_CHECK;
/* Of a kind with another storage kind: its own validate function (or custom schema) alone. */
int schema_validate_view(const struct kind *k, const json_t *obj, const json_t *old,
			 struct err *err) MUST_CHECK;
/* Names; return NULL when good, else the static text Kubernetes prints. */
const char *valid_dns1123_label(const char *s);
const char *valid_dns1123_subdomain(const char *s);
const char *valid_dns1035_label(const char *s);
const char *valid_label_key(const char *s);
const char *valid_label_value(const char *s);

/* ---- patches ---------------------------------------------------------------------------- */

/* Each returns a new object; obj and patch are left alone. err: 400 or 422 in Kubernetes' words. */
json_t *patch_strategic(const struct message *m, const json_t *obj, const json_t *patch,
			struct err *err);
json_t *patch_merge(const json_t *obj, const json_t *patch);		     /* RFC 7386 */
json_t *patch_json(const json_t *obj, const json_t *patch, struct err *err); /* RFC 6902 */
/* The value as Go's %v prints it, cut after about max bytes; caller frees. */
char *go_value_text(const json_t *v, size_t max);
/* Two- and three-way strategic merge patch for the client (`coracle apply`). */
json_t *patch_create_three_way(const struct message *m, const json_t *original,
			       const json_t *modified, const json_t *current, struct err *err);

/* ---- server-side apply ------------------------------------------------------------------ */

/*
 * Sets of fields in the form of FieldsV1; see field_set.c. Results are new references, never NULL;
 * the arguments are left alone, and branches are shared: none of them may be changed afterwards.
 */
json_t *fields_of(const struct message *m, const json_t *obj);
json_t *fields_union(const json_t *a, const json_t *b);
json_t *fields_difference(const json_t *a, const json_t *b);
json_t *fields_intersection(const json_t *a, const json_t *b);
/* What is new or changed in now, and what of old is not there any more. */
void fields_compare(const struct message *m, const json_t *old, const json_t *now, json_t **set,
		    json_t **gone);
/* The members as `.spec.ports[containerPort=80,protocol="TCP"].name`, sorted. */
void fields_paths(const json_t *set, struct strv *ret);
/* The object with the applied values in it; new. */
json_t *fields_merge(const struct message *m, const json_t *live, const json_t *applied);
/* Removes from obj what is in the set last and not in kept. */
void fields_prune(const struct message *m, json_t *obj, const json_t *last, const json_t *kept);
/* Adds what makes an applied configuration ambiguous: items without or with the same keys. */
void fields_check(const struct message *m, const json_t *applied, struct strv *problems);
/* "k:{...}" or "v:..." of an item of the list f; caller frees. */
char *field_item_key(const struct field *f, const json_t *item);
/* The path with one step of a set behind it, as upstream writes it; caller frees. */
char *field_path(const char *path, const char *key);

/* ---- selectors -------------------------------------------------------------------------- */

struct label_selector; /* a conjunction of requirements */
/* The query-string form ("app=web,tier in (a,b),!x"); "" and NULL select everything. */
struct label_selector *label_selector_parse(const char *text, struct err *err);
/* metav1.LabelSelector {matchLabels, matchExpressions}; NULL json selects nothing. */
struct label_selector *label_selector_from_json(const json_t *sel, struct err *err);
/* A plain map (Service.spec.selector); NULL or empty selects nothing. */
struct label_selector *label_selector_from_map(const json_t *map);
bool label_selector_matches(const struct label_selector *s, const json_t *labels);
char *
label_selector_format(const struct label_selector *s); /* "app=web,x in (a,b)"; caller frees */
void label_selector_free(struct label_selector *s);
DEFINE_AUTO(label_selector, struct label_selector *, label_selector_free);

struct field_selector;
/* Checks the labels against the kind; 400 in Kubernetes' words for unknown ones. */
struct field_selector *field_selector_parse(const struct kind *k, const char *text,
					    struct err *err);
bool field_selector_matches(const struct field_selector *s, const json_t *obj);
/* The value metadata.name is required to have, or NULL. */
const char *field_selector_name(const struct field_selector *s);
void field_selector_free(struct field_selector *s);
DEFINE_AUTO(field_selector, struct field_selector *, field_selector_free);

/* ---- printing --------------------------------------------------------------------------- */

enum table_include { TABLE_OBJECT_METADATA, TABLE_OBJECT_NONE, TABLE_OBJECT_FULL };
/* meta.k8s.io Table of the objects; version "v1" or "v1beta1". with_columns: false for later watch
 * events. The caller adds metadata. */
json_t *table_new(const struct kind *k, const char *version, bool with_columns);
void table_add(const struct kind *k, json_t *table, const json_t *obj, enum table_include include,
	       time_t now);
/* "95s" "5m12s" "3h5m" "2y33d" (duration.HumanDuration). */
char *human_duration(char buf[static 24], int64_t seconds);

/* ---- quantities ------------------------------------------------------------------------- */

/* resource.Quantity in thousandths, rounded up; -EINVAL / -ERANGE. "100m" -> 100, "1Gi" ->
 * 2^30*1000. */
int quantity_parse_milli(const char *text, int64_t *ret) MUST_CHECK;
/* In thousand-millionths, cut at what Kubernetes can hold. */
int quantity_parse_nano(const char *text, __int128 *ret) MUST_CHECK;
/* Whole units, rounded up. */
int quantity_parse(const char *text, int64_t *ret) MUST_CHECK;
/* The canonical form Kubernetes writes back; caller frees; NULL when malformed. */
char *quantity_canonical(const char *text);
/* a + b and a - b, in a's form (b's when a is 0); NULL counts as 0. Caller frees; NULL when one is
 * malformed. */
char *quantity_sum(const char *a, const char *b);
char *quantity_difference(const char *a, const char *b);
/* < 0, 0, > 0; what is malformed is 0. */
int quantity_cmp(const char *a, const char *b);
/* IntOrString percentage of total, rounded up or down; plain numbers as they are. */
int64_t int_or_percent(const json_t *v, int64_t total, bool round_up, int64_t fallback);

/* ---- schedules -------------------------------------------------------------------------- */

/* The schedule of a CronJob. Bit n of each field: that minute, hour, day of the month (1-31), month
 * (1-12), weekday (0 is Sunday) is due; a day counts when both fields for days have it, or, when
 * neither is any, one of them. */
struct cron {
	uint64_t minutes, hours, days, months, weekdays;
	bool any_day, any_weekday;
	int64_t every; /* seconds between runs instead of all these ("@every 90s"); or 0 */
};
/* err: the words of robfig/cron, which Kubernetes uses. */
int cron_parse(const char *text, struct cron *ret, struct err *err) MUST_CHECK;

/* ---- discovery and OpenAPI -------------------------------------------------------------- */

json_t *discovery_api_versions(void);				     /* GET /api */
json_t *discovery_group_list(void);				     /* GET /apis */
json_t *discovery_group(const char *group);			     /* GET /apis/<g>; NULL: none */
json_t *discovery_resources(const char *group, const char *version); /* NULL: none */
/* Aggregated; version "v2" or "v2beta1"; core: GET /api, else GET /apis. */
json_t *discovery_aggregated(const char *version, bool core);
json_t *openapi_v3_index(void);
/*
 * A document in the making, a piece at a time, of the kinds that there were when it was begun. No
 * piece takes long but those of large definitions (which breathe), and nothing of the document is
 * kept but what has been appended.
 */
struct openapi;
struct openapi *openapi_v3(const char *path); /* as in the index, "apis/apps/v1"; NULL: none */
/* Swagger 2.0 of everything, as JSON or as gnostic's openapi.v2.Document. */
struct openapi *openapi_v2(bool protobuf);
bool openapi_next(struct openapi *d, struct strbuf *out); /* false: it is complete */
/* Bytes of the definition that the next piece is made from: large ones are for a task. */
size_t openapi_cost(const struct openapi *d);
void openapi_free(struct openapi *d);
/* Changes with what the v2 document says. */
#define OPENAPI_HASH_MAX 24
void openapi_v2_hash(bool protobuf, char buf[static OPENAPI_HASH_MAX]);

#endif
