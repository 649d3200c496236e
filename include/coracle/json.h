/* SPDX-License-Identifier: Apache-2.0 */
/*
 * base: JSON helpers over jansson, and the `coracle show` registry.
 *
 * Ownership follows jansson: "get" and "at" borrow, "new" and "dup" own, *_new setters steal.
 * A path is a dotted list of object keys ("spec.template.spec"); no key used with these may hold
 * a dot (use json_object_get for label and annotation keys).
 */
#ifndef CORACLE_JSON_H
#define CORACLE_JSON_H

#include <coracle/base.h>
#include <jansson.h>

/* json_auto_t is jansson's own cleanup type. */

/* Borrowed value at a dotted path below v, or NULL when anything on the way is missing. */
json_t *json_at(const json_t *v, const char *path);
/* Borrowed string / integer / boolean at the path, or the fallback when absent or of another type.
 */
const char *json_str(const json_t *v, const char *path, const char *fallback);
int64_t json_int(const json_t *v, const char *path, int64_t fallback);
bool json_bool(const json_t *v, const char *path, bool fallback);
/* Number of elements of the array at the path, 0 when it is none. */
size_t json_len(const json_t *v, const char *path);

/* Set at a dotted path, making objects on the way. The value is stolen. NULL value: no-op. */
void json_put(json_t *v, const char *path, json_t *value);
void json_put_str(json_t *v, const char *path, const char *s);
void json_put_strf(json_t *v, const char *path, const char *fmt, ...) PRINTF_LIKE(3, 4);
void json_put_int(json_t *v, const char *path, int64_t i);
void json_put_bool(json_t *v, const char *path, bool b);
void json_put_time(json_t *v, const char *path, time_t t); /* metav1.Time */
/* Removes the member at the path; nothing happens when it is not there. */
void json_drop(json_t *v, const char *path);
/* The object (array) at the path, made when absent. */
json_t *json_obj(json_t *v, const char *path);
json_t *json_arr(json_t *v, const char *path);

/* First element of the array `list` whose member `key` equals value; borrowed or NULL. */
json_t *json_find(const json_t *list, const char *key, const char *value);

/* Compact text in insertion order, NUL-terminated, caller frees. */
char *json_text(const json_t *v, size_t *ret_len);
/* Same; tells what it saw on the way. */
struct json_shape {
	const json_t *string;	/* NULL, or a string that is there once: */
	size_t at, len;		/* where its text stands */
	size_t values, members; /* how many there are; of the object that has most */
};
char *json_text_shape(const json_t *v, size_t *ret_len, struct json_shape *shape);
/* Parses at most len bytes; duplicate keys keep the last. Nesting is bounded (256). A string with
 * U+0000 is refused, malformed UTF-8 becomes U+FFFD. Errors are ERR_BAD_REQUEST in the words of
 * Go's encoding/json. */
json_t *json_parse(const char *text, size_t len, struct err *err);
/* The same for what strangers send: at most max_values values (SIZE_MAX: without bounds),
 * JSON_MEMBERS_MAX members of one object (jansson moves them in one go when its table grows), keys
 * of JSON_KEY_MAX bytes (libyaml writes one in one go). What is larger is 413. Adds `duplicate
 * field "<path>"` to dups (NULL: not told), JSON_DUPLICATES_MAX at most. */
#define JSON_DUPLICATES_MAX 100
#define JSON_MEMBERS_MAX 32000
#define JSON_KEY_MAX (64U << 10)
json_t *json_scan(const char *text, size_t len, size_t max_values, struct strv *dups,
		  struct err *err);
/* Length of the start of s that a JSON string holds as it is: no quote, backslash or control
 * character; with ascii, no byte above 0x7f either. */
size_t json_plain_len(const char *s, size_t len, bool ascii);
/* The text of the value at the dotted path in compact text that json_text() made: where it starts
 * and its length. False when there is none. */
bool json_text_find(const char *text, size_t len, const char *path, const char **at, size_t *n);

/* As json_equal(), but breathes; NULL equals nothing. */
bool json_same(const json_t *a, const json_t *b);
/* From now on whatever jansson does with values breathes. Their memory is not of malloc(3) then:
 * what jansson has allocated itself only jansson can free. */
void json_values_breathe(void);
/* Memory of such values, in bytes. */
size_t json_values_size(void);
/* As json_dumps(), which it stands for, because its text goes to free(3); breathes. */
char *json_text_as(const json_t *v, size_t flags);
#define json_dumps(v, flags) json_text_as(v, flags)

/* Appends a key to a dotted path; cuts the path back to len bytes. */
void path_add(struct strbuf *b, const char *key);
void path_cut(struct strbuf *b, size_t len);

/* metadata.name etc.; never NULL ("" when absent). */
const char *meta_name(const json_t *obj);
const char *meta_ns(const json_t *obj);
const char *meta_uid(const json_t *obj);
const char *meta_label(const json_t *obj, const char *key);	 /* NULL when absent */
const char *meta_annotation(const json_t *obj, const char *key); /* NULL when absent */
bool meta_deleting(const json_t *obj);				 /* has a deletionTimestamp */
/* The ownerReference with controller=true, borrowed, or NULL. */
json_t *meta_controller(const json_t *obj);

/* ---- coracle show ----------------------------------------------------------------------- */

/*
 * Every module that holds a list registers a table here; the API serves them and the client
 * prints them. fn appends one JSON object a row; key order is column order.
 */
typedef void show_fn(void *arg, json_t *rows);
/* name is static, e.g. "sandboxes". Registering a name again replaces it. */
void show_register(const char *name, show_fn *fn, void *arg);
void show_unregister(const char *name);
/* New array of rows, or NULL for an unknown name. */
json_t *show_rows(const char *name);
/* New array of the known names, sorted. */
json_t *show_names(void);

#endif
