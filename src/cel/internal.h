/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of src/cel share.
 *
 *   arena.c      memory of programs and of runs
 *   lex.c        text to tokens
 *   parse.c      tokens to a tree; macros
 *   types.c      types, signatures, unification
 *   check.c      types of a tree, in the words of cel-go's checker
 *   estimate.c   what a tree may cost
 *   eval.c       a tree to a value
 *   value.c      comparing, reading JSON, building
 *   operators.c  arithmetic, comparison, indexing
 *   convert.c    conversions between types
 *   functions.c  the table of all functions
 *   strings.c lists.c times.c regex.c quantity.c url.c net.c semver.c format.c authorizer.c
 */
#ifndef CORACLE_CEL_INTERNAL_H
#define CORACLE_CEL_INTERNAL_H

#include <coracle/cel.h>

/* ---- memory ----------------------------------------------------------------------------- */

struct cel_chunk;
struct arena {
	struct cel_chunk *chunks;
	size_t bytes;
};
void *arena_take(struct arena *a, size_t n);
char *arena_text(struct arena *a, const char *s, size_t n);
void arena_done(struct arena *a);

/* ---- tokens ----------------------------------------------------------------------------- */

enum token_kind {
	TOK_END,
	TOK_BAD,
	TOK_IDENT,
	TOK_QUOTED, /* `name` */
	TOK_INT,
	TOK_UINT,
	TOK_DOUBLE,
	TOK_STRING,
	TOK_BYTES,
	TOK_TRUE,
	TOK_FALSE,
	TOK_NULL,
	TOK_IN,
	TOK_EQ,
	TOK_NE,
	TOK_LE,
	TOK_GE,
	TOK_LT,
	TOK_GT,
	TOK_AND,
	TOK_OR,
	TOK_PUNCT, /* one character, in .c */
};
struct token {
	enum token_kind kind;
	char c;
	const char *s; /* in the text */
	size_t n;
};
struct lexer {
	const char *text, *at;
	const char *problem; /* of TOK_BAD */
};
struct token lex_next(struct lexer *l);
/* The value of a TOK_STRING or TOK_BYTES; false: a bad escape. */
bool lex_string(struct arena *a, struct token t, struct cel_value *ret);

/* ---- trees ------------------------------------------------------------------------------ */

enum expr_kind { E_CONST, E_IDENT, E_SELECT, E_CALL, E_LIST, E_MAP, E_STRUCT, E_FOLD };
enum fold {
	FOLD_ALL,
	FOLD_EXISTS,
	FOLD_EXISTS_ONE,
	FOLD_MAP,
	FOLD_FILTER,
	FOLD_OPT_MAP,
	FOLD_OPT_FLAT_MAP,
	FOLD_TRANSFORM_LIST,
	FOLD_TRANSFORM_MAP,
	FOLD_TRANSFORM_MAP_ENTRY,
};
struct function;
struct expr {
	uint8_t kind; /* enum expr_kind */
	uint8_t fold;
	bool member;   /* call: args[0] stands before the dot */
	bool optional; /* select: ".?" */
	bool test;     /* select: has() */
	bool resolved; /* call: every overload has the same function */
	uint16_t slot; /* ident: of the frame; fold: of its first variable */
	uint32_t pos;
	uint32_t n;
	const char *name, *name2;
	struct expr **args;
	const bool *marked; /* list, map: "?" before the element */
	const struct cel_type *type;
	union {
		const struct cel_value *value;
		const struct function *function; /* the first overload */
	};
	struct cel_regex *regex; /* of a call with a constant pattern */
};
struct cel_program {
	struct arena arena;
	struct expr *root;
	uint64_t used; /* variables, a bit each */
	uint16_t n_vars, n_slots;
	struct cel_regex **regexes;
	size_t n_regexes;
};
/* Errors are collected, so that all of them are told. */
struct report {
	const char *text;
	struct strbuf out;
	size_t n;
};
#define REPORT_MAX 20
void report_at(struct report *r, uint32_t pos, const char *fmt, ...) PRINTF_LIKE(3, 4);
struct expr *parse_text(struct arena *a, const char *text, struct report *report);
void check_tree(struct cel_program *p, const struct cel_env *env, struct report *report);

/* ---- types ------------------------------------------------------------------------------ */

extern const struct cel_type *const type_dyn;
const struct cel_type *type_list(struct arena *a, const struct cel_type *elem);
const struct cel_type *type_map(struct arena *a, const struct cel_type *key,
				const struct cel_type *elem);
const struct cel_type *type_optional(struct arena *a, const struct cel_type *elem);
/* The type that starts at *sig. */
const struct cel_type *type_parse(struct arena *a, const char **sig);
#define TYPE_PARAMS 2
struct binding {
	const struct cel_type *params[TYPE_PARAMS];
};
/* Does a value of type `from` fit where `to` is wanted? */
bool type_fits(struct binding *b, const struct cel_type *to, const struct cel_type *from);
const struct cel_type *type_bound(struct arena *a, const struct binding *b,
				  const struct cel_type *t);
/* NULL: they have nothing in common. */
const struct cel_type *type_join(const struct cel_type *a, const struct cel_type *b);
bool type_equal(const struct cel_type *a, const struct cel_type *b);
/* The member an expression means with that name; *json_name is what it is called in JSON. */
const struct cel_type *type_member(struct arena *a, const struct cel_type *t, const char *name,
				   const char **json_name);

/* ---- functions -------------------------------------------------------------------------- */

typedef struct cel_value cel_fn(struct cel_run *r, const struct cel_value *a, size_t n);
/*
 * One overload. The signature is result ':' arguments: b bool, i int, u uint, d double, s string,
 * y bytes, n null, t timestamp, D duration, T type, * dyn, A and B parameters, L, M and O list, map
 * and optional followed by what they are of, q quantity, U URL, I IP, C CIDR, V semver, F format,
 * Z authorizer, P path check, G group check, R resource check, X decision.
 */
struct function {
	const char *name, *sig;
	cel_fn *fn;
	bool member;
};
struct functions {
	const struct function *v;
	size_t n;
};
extern const struct functions operator_functions, convert_functions, string_functions,
	list_functions, time_functions, regex_functions, quantity_functions, url_functions,
	net_functions, semver_functions, format_functions, authorizer_functions;
/* Overloads of a name, in the order they are tried; *n is how many. */
const struct function *const *functions_find(const char *name, bool member, size_t *n);
bool functions_known(const char *name);
/* Do the arguments have the kinds of the signature? */
bool signature_takes(const char *sig, const struct cel_value *a, size_t n);

/* ---- running ---------------------------------------------------------------------------- */

struct cel_run {
	struct arena arena;
	const struct cel_host *host;
	uint64_t cost, limit;
	uint64_t ticks, stop_ns; /* of processor time; 0: not started */
	bool over;
	int depth;		       /* of lazy members */
	const struct cel_regex *given; /* compiled with the call that is being made, or NULL */
	struct cel_regex *kept;	       /* the last one that was not */
	char *kept_text;
};
/* Adds to the cost; true: it is too much, and run_over() is the value to return. */
bool run_charge(struct cel_run *r, uint64_t cost);
struct cel_value run_over(struct cel_run *r);
/* Memory of the run, charged; NULL: too much. */
void *run_take(struct cel_run *r, size_t n);
/* The compiled pattern, borrowed until the next call; NULL: *error is set. */
const struct cel_regex *run_regex(struct cel_run *r, struct cel_value pattern,
				  struct cel_value *error);

static inline struct cel_value val_null(void)
{
	return (struct cel_value){.kind = CEL_NULL};
}
static inline struct cel_value val_bool(bool b)
{
	return (struct cel_value){.kind = CEL_BOOL, .b = b};
}
static inline struct cel_value val_int(int64_t i)
{
	return (struct cel_value){.kind = CEL_INT, .i = i};
}
static inline struct cel_value val_uint(uint64_t u)
{
	return (struct cel_value){.kind = CEL_UINT, .u = u};
}
static inline struct cel_value val_double(double d)
{
	return (struct cel_value){.kind = CEL_DOUBLE, .d = d};
}
static inline struct cel_value val_strn(const char *s, size_t n)
{
	return (struct cel_value){.kind = CEL_STRING, .str = {s, n}};
}
static inline struct cel_value val_str(const char *s)
{
	return val_strn(s, strlen(s));
}
static inline struct cel_value val_duration(int64_t ns)
{
	return (struct cel_value){.kind = CEL_DURATION, .i = ns};
}
static inline struct cel_value val_ptr(enum cel_kind kind, const void *p)
{
	return (struct cel_value){.kind = (uint8_t)kind, .ptr = p};
}
struct cel_value val_list(const struct cel_value *v, size_t n);
/* Copies the bytes into the run. */
struct cel_value val_copy(struct cel_run *r, const char *s, size_t n);
struct cel_value no_overload(struct cel_run *r);
struct cel_value no_key(struct cel_run *r, struct cel_value key);

/* NUL-terminated text of a string. */
const char *val_cstr(struct cel_run *r, struct cel_value v);
size_t val_size(const struct cel_value *v); /* list, map: elements; string: code points */
struct cel_value list_at(struct cel_run *r, const struct cel_value *list, size_t i);
/* False: there is no such key. */
bool map_find(struct cel_run *r, const struct cel_value *map, struct cel_value key,
	      struct cel_value *ret);
/* A member of an object or a map of strings. */
bool member_find(struct cel_run *r, const struct cel_value *v, const char *name,
		 struct cel_value *ret);
/* The keys of a map as a list. */
struct cel_value map_keys(struct cel_run *r, const struct cel_value *map);
bool val_equal(struct cel_run *r, const struct cel_value *a, const struct cel_value *b);
/* -1, 0, 1; 2: not ordered; 3: no such overload. */
int val_compare(const struct cel_value *a, const struct cel_value *b);
/* Bytes of a string, elements of a list: what walking over it costs, ten to a unit. */
uint64_t val_span(const struct cel_value *v);
const struct cel_type *val_type(const struct cel_value *v);

/* An optional's value, or NULL. */
static inline const struct cel_value *optional_get(const struct cel_value *v)
{
	return v->ptr;
}

/* Growing list of a run. */
struct builder {
	struct cel_run *r;
	struct cel_value *v;
	size_t n, cap;
};
void builder_add(struct builder *b, struct cel_value v);

/* UTF-8: length of the character at s (at least 1), and its number. */
size_t utf8_length(const char *s, size_t n);
uint32_t utf8_decode(const char *s, size_t n, size_t *len);
size_t utf8_encode(uint32_t c, char out[static 4]);
size_t utf8_count(const char *s, size_t n);
/* Byte offset of a character; n when it is behind the end. */
size_t utf8_offset(const char *s, size_t n, size_t index);

/* Times. */
#define NS_PER_SEC INT64_C(1000000000)
struct cel_value time_from_text(struct cel_run *r, const char *s, size_t n);
struct cel_value duration_from_text(struct cel_run *r, const char *s, size_t n);
struct cel_value time_checked(struct cel_run *r, int64_t sec, int64_t nsec);
/* As strings convert them. */
void time_text(struct strbuf *b, const struct cel_value *v);
void duration_text(struct strbuf *b, int64_t ns);
void double_text(char buf[static 40], double d);
struct cel_value to_string(struct cel_run *r, struct cel_value v);
int semver_compare(const void *a, const void *b);
int net_compare(const struct cel_value *a, const struct cel_value *b);
/* authorizer.requestResource */
struct cel_value authorizer_request(struct cel_run *r, const struct cel_value *v);

#endif
