/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Kinds made at run time: what the files of src/schema/custom share.
 *
 *   kinds.c       the list of definitions: adding, replacing, removing, finding
 *   describe.c    what is known of a version at all times: names, columns, subresources
 *   compile.c     an OpenAPI v3 schema to nodes, on first use
 *   settle.c      pruning, defaults
 *   check.c       objects against nodes, in the words of kube-openapi
 *   format.c      "date-time", "ipv4" and the other formats
 *   head.c        definitions without their schemas
 *   rules.c       x-kubernetes-validations: rules in CEL
 *   path.c        the JSONPath subset of columns, scale and selectable fields
 *   columns.c     Table rows, field selectors
 *   document.c    OpenAPI documents
 *   crd.c crd_schema.c crd_rules.c   the kind CustomResourceDefinition itself: defaults,
 *                 validation
 */
#ifndef CORACLE_SCHEMA_CUSTOM_H
#define CORACLE_SCHEMA_CUSTOM_H

#include "src/schema/validate.h"
#include <coracle/cel.h>

#define CRD_MESSAGE "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1."
/* Schemas nest at most this deep (upstream's limit comes from its recursion, ours is stated). */
#define SCHEMA_DEPTH_MAX 100

/* ---- compiled schemas ------------------------------------------------------------------- */

enum node_type {
	NODE_ANY,
	NODE_OBJECT,
	NODE_ARRAY,
	NODE_STRING,
	NODE_INTEGER,
	NODE_NUMBER,
	NODE_BOOLEAN,
	NODE_OTHER, /* a type that nothing can have */
};
enum node_flags {
	NODE_NULLABLE = 1,
	NODE_PRESERVE = 2, /* x-kubernetes-preserve-unknown-fields */
	NODE_EMBEDDED = 4,
	NODE_INT_OR_STRING = 8,
	NODE_ADDITIONAL = 16, /* additionalProperties are allowed */
	NODE_CLOSED = 32,     /* additionalProperties: false */
	NODE_UNIQUE = 64,
	NODE_LIST_SET = 128,
	NODE_LIST_MAP = 256,
	NODE_ATOMIC = 512, /* x-kubernetes-map-type: atomic */
	NODE_ITEMS = 1024, /* item is of a list, else of additional properties */
	NODE_RULES = 2048, /* x-kubernetes-validations here or below */
};
struct node;
struct node_list {
	const struct node **v;
	size_t n;
};
struct pattern {
	struct pattern *next; /* of the same tree */
	char *text;
	struct cel_regex *code; /* compiled when first used */
	bool bad;		/* cannot be compiled: matches everything */
};
/* What only some schemas say. */
struct rules {
	json_t *dflt, *values; /* default, enum */
	struct pattern *pattern;
	const char *format;
	double min, max, multiple;
	int64_t min_length, max_length, min_items, max_items, min_properties, max_properties;
	bool has_min, has_max, exclusive_min, exclusive_max; /* lengths: -1 is none */
	const char **required;
	size_t n_required;
	const char **keys; /* x-kubernetes-list-map-keys */
	size_t n_keys;
	struct node_list all_of, any_of, one_of;
	const struct node *not_;
	struct cel_rule *cel; /* x-kubernetes-validations */
	size_t n_cel;
};
/* One rule in CEL; compiled when it is first used. */
struct cel_rule {
	struct cel_rule *next; /* of the same tree; the first of its node */
	size_t n;	       /* of the first: how many stand behind each other */
	const char *rule, *message, *message_expression, *reason, *field_path;
	bool optional_old_self, tried, uses_old_self;
	struct cel_program *program, *message_program;
	char *error;
};
struct properties {
	struct message message;	      /* fields sorted by name, for server-side apply */
	const struct node **children; /* in the same order */
};
struct node {
	const struct properties *properties; /* NULL: none */
	const struct node *item;	     /* items or additionalProperties */
	const struct rules *rules;	     /* NULL: none */
	uint16_t flags;
	uint8_t type;
};
/* All of one compiled schema. */
struct tree {
	const struct node *root;
	struct chunk *chunks;
	struct pattern *patterns;
	json_t *values; /* keeps default and enum values */
	struct cel_rule *rules;
	struct cel_type **types; /* of nodes, hashed by their address */
	size_t n_types, cap_types;
	size_t bytes;
};
void *tree_take(struct tree *t, size_t n); /* zeroed; lives as long as the tree */
const char *tree_text(struct tree *t, const char *s);
void tree_add_rules(struct tree *t, struct rules *r, const json_t *list);
void tree_free_rules(struct tree *t);
struct tree *tree_compile(const json_t *schema, bool resource);
void tree_free(struct tree *t);
/* The child of that name, or NULL. */
const struct node *node_child(const struct node *n, const char *name);
/* The schema of one more member: the child, or that of additional properties. */
const struct node *node_member(const struct node *n, const char *name);
enum pattern_result {
	PATTERN_NO,
	PATTERN_YES,	  /* also of a pattern that cannot be compiled */
	PATTERN_TOO_LONG, /* to find out */
};
enum pattern_result pattern_match(struct pattern *p, const char *text, size_t len);
/* NULL, or why the pattern cannot be compiled. */
char *pattern_error(const char *text);

/* ---- kinds ------------------------------------------------------------------------------ */

/* One version of one definition. */
struct custom_kind {
	struct kind kind;    /* first */
	struct message root; /* kind.message */
	struct custom *of;
	unsigned refs;
	bool served, dead;
	char *name;			       /* of the message: "com.example.v1.Foo" */
	char *group, *version, *plural, *word; /* fixed for its life; word: the Kind */
	struct strv texts;		       /* all others that kind points to */
	struct column *columns;
	const char **paths; /* of the columns, those behind the name */
	struct subresource subs[2];
	struct scale_paths scale;
	struct strv selectable; /* "spec.color" */
	const char *deprecation;
	struct tree *tree; /* NULL: not compiled */
};
/* One definition. */
struct custom {
	struct custom *next;
	char *name, *uid;
	uint16_t index;
	bool dead, accepted, established, ending;
	int64_t generation;
	struct custom_kind **v; /* in the order of discovery; the dead ones behind */
	size_t n;
	struct custom_kind *storage;
};
extern struct custom *customs;

static inline struct custom_kind *custom_of(const struct kind *k)
{
	return k->custom;
}
/* The compiled schema; never NULL: what cannot be compiled lets everything through. */
const struct node *custom_root(struct custom_kind *k);
/* Gives the compiled schema back; who walks it now goes on. */
void custom_drop_tree(struct custom_kind *k);
/* openAPIV3Schema of the version, new reference; NULL: none. */
json_t *custom_schema(const struct custom_kind *k);
/* The same as text, borrowed for the moment; false: none. */
bool custom_schema_text(const struct custom_kind *k, const char **text, size_t *len);
bool head_schema_text(const char *text, size_t len, const char *version, const char **ret,
		      size_t *ret_len);
/* Walks the members of an object in compact JSON: *at starts at its "{". The key has its quotes. */
struct text_member {
	const char *key, *value;
	size_t key_len, value_len;
};
bool text_next_member(const char **at, const char *end, struct text_member *ret);
/* What never changes of a version; k->of is set. */
void custom_init(struct custom_kind *k, const json_t *spec, const char *version, const char *word);
/* Fills in what the definition says of the version; custom_forget() comes first. */
void custom_describe(struct custom_kind *k, const json_t *spec, const json_t *names,
		     const json_t *version);
void custom_forget(struct custom_kind *k); /* frees what custom_describe() made */

/* ---- objects ---------------------------------------------------------------------------- */

/* Drops what the schema does not know; adds it to found (NULL: in silence). */
void node_prune(const struct node *n, json_t *v, bool root, struct strv *found);
void node_default(const struct node *n, json_t *v);
/* The same for a default value of a schema. */
void node_check(const struct node *n, const json_t *v, const json_t *old, const char *path,
		struct err *err);
/* Runs the rules in CEL of the tree on a value; resource: it is a whole object. */
void node_run_rules(struct tree *t, bool resource, const json_t *v, const json_t *old,
		    const char *path, struct err *err);
/* The type of what the node describes, NULL: expressions cannot see it. root: of a resource. */
const struct cel_type *node_cel_type(struct tree *t, const struct node *n, bool root);
/* How many values of the node an object may have, when nothing else limits them. */
uint64_t node_max_count(const struct node *n);
/* Compiles rule and message for values of that type. Both texts in the words of upstream, NULL: no
 * error; caller frees. */
void cel_rule_compile(struct cel_rule *rule, const struct cel_type *self, char **rule_error,
		      char **message_error);
bool format_known(const char *format);
bool format_matches(const char *format, const char *text);
/* First value at a JSON path of a column, borrowed; NULL: none. */
const json_t *path_first(const json_t *v, const char *path);
/* NULL, or what is wrong with it. */
const char *path_error(const char *path);

#endif
