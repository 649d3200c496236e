/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cel: the Common Expression Language, with the functions that Kubernetes has in it.
 *
 * Purpose: rules of CustomResourceDefinitions and of admission policies. An expression is compiled
 * against the types of its variables (what does not fit is refused in the words of cel-go) and
 * evaluated over JSON values.
 * Lifetime: a program keeps nothing but its tree; it borrows the types it was compiled with, which
 * have to outlive it. Values of a run live until cel_run_free().
 * Bounds: text, nesting, memory, cost and processor time of a run are limited; nothing that an
 * expression says can hold the caller longer than CEL_RUN_US.
 */
#ifndef CORACLE_CEL_H
#define CORACLE_CEL_H

#include <coracle/base.h>
#include <coracle/json.h>

/* ---- types ------------------------------------------------------------------------------ */

enum cel_kind {
	CEL_ERROR,
	CEL_DYN, /* of types alone */
	CEL_NULL,
	CEL_BOOL,
	CEL_INT,
	CEL_UINT,
	CEL_DOUBLE,
	CEL_STRING,
	CEL_BYTES,
	CEL_LIST,
	CEL_MAP,
	CEL_OBJECT,
	CEL_TIMESTAMP,
	CEL_DURATION,
	CEL_TYPE,
	CEL_OPTIONAL,
	CEL_QUANTITY,
	CEL_URL,
	CEL_IP,
	CEL_CIDR,
	CEL_SEMVER,
	CEL_FORMAT,
	CEL_AUTHORIZER,
	CEL_PATH_CHECK,
	CEL_GROUP_CHECK,
	CEL_RESOURCE_CHECK,
	CEL_DECISION,
	CEL_PARAM, /* a type parameter of a function */
};
/* How two lists of JSON are compared and added (x-kubernetes-list-type). */
enum cel_list_type { CEL_LIST_ATOMIC, CEL_LIST_SET, CEL_LIST_MAP };
struct cel_type {
	uint8_t kind;			   /* enum cel_kind */
	uint8_t list_type;		   /* enum cel_list_type */
	bool escaped;			   /* members are named as Kubernetes escapes properties */
	const struct cel_type *key, *elem; /* of lists, maps, optionals */
	uint64_t max;			   /* elements that a list or map may have; 0: not known */
	const char *name;		   /* of an object, for messages */
	/* Type of a member of an object by its name in JSON; NULL: there is none. */
	const struct cel_type *(*member)(const struct cel_type *t, const char *name);
	const void *decl; /* the caller's */
	void *arg;	  /* the caller's */
	const char *const *list_keys;
	size_t n_list_keys;
};
/* The type of that kind that has no parts (dyn for the parts of lists and maps). */
const struct cel_type *cel_type_of(enum cel_kind kind);
/* As messages write it; caller frees. */
char *cel_type_text(const struct cel_type *t);
/* Property names in expressions: "a-b" is a__dash__b, "if" is __if__. NULL: cannot be written.
 * Caller frees. */
char *cel_escape(const char *name);

/* ---- values ----------------------------------------------------------------------------- */

struct cel_value {
	uint8_t kind; /* enum cel_kind */
	bool is_json; /* a list, map or object in `ref` */
	union {
		bool b;
		int64_t i; /* CEL_DURATION: nanoseconds */
		uint64_t u;
		double d;
		struct {
			const char *s;
			size_t n;
		} str; /* also the text of an error */
		struct {
			const struct cel_value *v; /* map: key and value alternate */
			size_t n;		   /* map: pairs */
		} list;
		struct {
			const json_t *json;
			const struct cel_type *type;
		} ref;
		struct {
			int64_t sec;
			int64_t nsec;
		} time;
		const struct cel_type *type;
		const void *ptr;
	};
};

/* ---- compiling -------------------------------------------------------------------------- */

/* Bytes of an expression, and nesting in it. */
#define CEL_TEXT_MAX 100000
#define CEL_DEPTH_MAX 200

struct cel_variable {
	const char *name;
	const struct cel_type *type;
};
struct cel_env {
	const struct cel_variable *vars;
	size_t n_vars;
};
struct cel_program;
/* NULL: *ret_error says why ("ERROR: <input>:1:5: undefined field 'x'\n | ..."); caller frees. */
struct cel_program *cel_compile(const struct cel_env *env, const char *text, char **ret_error);
void cel_program_free(struct cel_program *p);
DEFINE_AUTO(cel_program, struct cel_program *, cel_program_free);
const struct cel_type *cel_program_type(const struct cel_program *p);
/* Does it name this variable? */
bool cel_program_uses(const struct cel_program *p, size_t var);
size_t cel_program_bytes(const struct cel_program *p);
/* What it costs when every list has all the elements it may have; lists whose size is not known
 * count for one. */
uint64_t cel_program_estimate(const struct cel_program *p);

/* ---- evaluating ------------------------------------------------------------------------- */

/* Costs are those of cel-go, about; Kubernetes' limits. */
#define CEL_CALL_LIMIT 1000000
#define CEL_BUDGET 10000000
/* Processor time of all expressions of one run. */
#define CEL_RUN_US 10000
/* Memory of one run. */
#define CEL_RUN_BYTES ((size_t)8 << 20)

/* What an expression asks the authorizer. */
struct cel_access {
	const char *user;      /* NULL: whoever asks; else "system:serviceaccount:ns:name" */
	const char *namespace; /* of that account */
	const char *path;      /* not NULL: no resource */
	const char *group, *resource, *subresource, *in_namespace, *name, *verb;
};
/* What lies above this module. */
struct cel_host {
	/* In thousand-millionths; -EINVAL. */
	int (*quantity)(const char *text, __int128 *ret_nano);
	/* A named format: NULL, or what is wrong with the text; "" with text NULL: it is known. */
	const char *(*format)(const char *name, const char *text);
	/* *reason: static or living as long as arg does. */
	bool (*authorize)(void *arg, const struct cel_access *access, const char **reason);
	void *arg;
};
struct cel_run;
struct cel_run *cel_run_new(const struct cel_host *host);
void cel_run_free(struct cel_run *r);
DEFINE_AUTO(cel_run, struct cel_run *, cel_run_free);
/* vars: one value for each variable of the environment. limit: of the cost; *ret_cost (may be NULL)
 * is what it took. An error is a value of kind CEL_ERROR. */
struct cel_value cel_eval(struct cel_run *r, const struct cel_program *p,
			  const struct cel_value *vars, uint64_t limit, uint64_t *ret_cost);
/* JSON as a value of the type (NULL: dyn); it borrows the JSON. */
struct cel_value cel_from_json(struct cel_run *r, const json_t *v, const struct cel_type *type);
struct cel_value cel_optional(struct cel_run *r, const struct cel_value *v /* NULL: none */);
struct cel_value cel_error(struct cel_run *r, const char *fmt, ...) PRINTF_LIKE(2, 3);
static inline bool cel_is_true(struct cel_value v)
{
	return v.kind == CEL_BOOL && v.b;
}
/* An object whose members are asked for one by one; the type's member() names them. */
struct cel_lazy {
	const struct cel_type *type;
	struct cel_value (*get)(struct cel_run *r, const struct cel_lazy *o, const char *name);
	void *arg;
};
struct cel_value cel_lazy_value(const struct cel_lazy *o);
/* request: what `authorizer.requestResource` asks about; it is copied, its texts are borrowed. */
struct cel_value cel_authorizer(struct cel_run *r, const struct cel_access *request);
/* The error text of a value of kind CEL_ERROR, or the text of a string. */
const char *cel_text(struct cel_run *r, struct cel_value v);
#define CEL_OVER_LIMIT "operation cancelled: actual cost limit exceeded"

/* ---- regular expressions ---------------------------------------------------------------- */

/* RE2's syntax; a match that takes too many steps is given up. */
struct cel_regex;
/* NULL: *why (may be NULL) says what is wrong; caller frees. */
struct cel_regex *cel_regex_new(const char *text, char **why);
void cel_regex_free(struct cel_regex *re);
/* 1: found (*from, *to, may be NULL), 0: not, -ELOOP: it took too long to find out. */
int cel_regex_find(const struct cel_regex *re, const char *text, size_t len, size_t start,
		   size_t *from, size_t *to);

#endif
