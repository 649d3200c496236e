/* SPDX-License-Identifier: Apache-2.0 */
/* Dotted paths and object metadata over jansson. */
#include <coracle/json.h>

/* Length of the first path element. */
static size_t head_len(const char *path)
{
	return strcspn(path, ".");
}

json_t *json_at(const json_t *v, const char *path)
{
	while (v && *path) {
		size_t n = head_len(path);

		v = json_object_getn(v, path, n);
		path += n;
		path += *path == '.';
	}
	return (json_t *)(uintptr_t)v; /* borrowed: constness follows the caller's */
}

const char *json_str(const json_t *v, const char *path, const char *fallback)
{
	const char *s = json_string_value(json_at(v, path));

	return s ? s : fallback;
}

int64_t json_int(const json_t *v, const char *path, int64_t fallback)
{
	const json_t *i = json_at(v, path);

	return json_is_integer(i) ? json_integer_value(i) : fallback;
}

bool json_bool(const json_t *v, const char *path, bool fallback)
{
	const json_t *b = json_at(v, path);

	return json_is_boolean(b) ? json_is_true(b) : fallback;
}

size_t json_len(const json_t *v, const char *path)
{
	return json_array_size(json_at(v, path));
}

/* The object that holds the last element of path; made on the way. *last: that element. */
static json_t *make_parent(json_t *v, const char *path, const char **last)
{
	for (;;) {
		size_t n = head_len(path);
		json_t *next;

		if (!path[n]) {
			*last = path;
			return v;
		}
		next = json_object_getn(v, path, n);
		if (!json_is_object(next)) {
			next = json_object();
			json_object_setn_new(v, path, n, next);
		}
		v = next;
		path += n + 1;
	}
}

void json_put(json_t *v, const char *path, json_t *value)
{
	const char *last;
	json_t *parent;

	if (!value)
		return;
	parent = make_parent(v, path, &last);
	json_object_set_new(parent, last, value);
}

void json_put_str(json_t *v, const char *path, const char *s)
{
	json_put(v, path, json_string(s));
}

void json_put_strf(json_t *v, const char *path, const char *fmt, ...)
{
	auto_free char *s = NULL;
	va_list ap;

	va_start(ap, fmt);
	s = xvasprintf(fmt, ap);
	va_end(ap);
	json_put_str(v, path, s);
}

void json_put_int(json_t *v, const char *path, int64_t i)
{
	json_put(v, path, json_integer(i));
}

void json_put_bool(json_t *v, const char *path, bool b)
{
	json_put(v, path, json_boolean(b));
}

void json_put_time(json_t *v, const char *path, time_t t)
{
	char buf[TIME_RFC3339_MAX];

	json_put_str(v, path, time_format(buf, t));
}

void json_drop(json_t *v, const char *path)
{
	for (;;) {
		size_t n = head_len(path);

		if (!path[n])
			break;
		v = json_object_getn(v, path, n);
		path += n + 1;
	}
	json_object_del(v, path);
}

json_t *json_obj(json_t *v, const char *path)
{
	if (!json_is_object(json_at(v, path)))
		json_put(v, path, json_object());
	return json_at(v, path);
}

json_t *json_arr(json_t *v, const char *path)
{
	if (!json_is_array(json_at(v, path)))
		json_put(v, path, json_array());
	return json_at(v, path);
}

json_t *json_find(const json_t *list, const char *key, const char *value)
{
	json_t *e;
	size_t i;

	json_array_foreach(
		list, i, e) if (str_eq(json_string_value(json_object_get(e, key)), value)) return e;
	return NULL;
}

void path_add(struct strbuf *b, const char *key)
{
	if (b->len)
		strbuf_addc(b, '.');
	strbuf_adds(b, key);
}

void path_cut(struct strbuf *b, size_t len)
{
	b->len = len;
	if (b->s)
		b->s[len] = '\0';
}

const char *meta_name(const json_t *obj)
{
	return json_str(obj, "metadata.name", "");
}

const char *meta_ns(const json_t *obj)
{
	return json_str(obj, "metadata.namespace", "");
}

const char *meta_uid(const json_t *obj)
{
	return json_str(obj, "metadata.uid", "");
}

const char *meta_label(const json_t *obj, const char *key)
{
	return json_string_value(json_object_get(json_at(obj, "metadata.labels"), key));
}

const char *meta_annotation(const json_t *obj, const char *key)
{
	return json_string_value(json_object_get(json_at(obj, "metadata.annotations"), key));
}

bool meta_deleting(const json_t *obj)
{
	return json_is_string(json_at(obj, "metadata.deletionTimestamp"));
}

json_t *meta_controller(const json_t *obj)
{
	json_t *e;
	size_t i;

	json_array_foreach(json_at(obj, "metadata.ownerReferences"), i,
			   e) if (json_bool(e, "controller", false)) return e;
	return NULL;
}
