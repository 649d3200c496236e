/* SPDX-License-Identifier: Apache-2.0 */
/*
 * JSON patch (RFC 6902) on JSON pointers (RFC 6901). What a malformed patch and a patch that does
 * not fit the object answer is what Kubernetes' API server answers: 400 and 422.
 */
#include "internal.h"

#define COPY_MAX ((size_t)4 << 20) /* bytes that all "copy" operations may add */

/* A location: the container, and the member name or index in it. */
struct place {
	json_t *in;   /* borrowed */
	char *name;   /* last token, unescaped */
	size_t index; /* when `in` is an array */
	bool end;     /* "-" */
};

struct patcher {
	json_t *doc;
	size_t copied;
};

static void place_done(struct place *p)
{
	free(p->name);
}
#define auto_place __attribute__((cleanup(place_done))) struct place

/* "~1" -> "/", "~0" -> "~"; new string, NULL when malformed. */
static char *unescape(const char *s, size_t len)
{
	char *out = xmalloc(len + 1);
	size_t n = 0;

	for (size_t i = 0; i < len; i++) {
		if (s[i] != '~') {
			out[n++] = s[i];
		} else if (++i < len && (s[i] == '0' || s[i] == '1')) {
			out[n++] = s[i] == '0' ? '~' : '/';
		} else {
			free(out);
			return NULL;
		}
	}
	out[n] = '\0';
	return out;
}

/* Array index without leading zeros; "-" is the end. */
static int parse_index(const char *s, size_t size, size_t *ret, bool *end)
{
	int64_t i;

	*end = streq(s, "-");
	*ret = size;
	if (*end)
		return 0;
	if (s[0] < '0' || s[0] > '9' || (s[0] == '0' && s[1]))
		return -EINVAL;
	if (str_to_i64(s, 0, INT32_MAX, &i) < 0)
		return -EINVAL;
	*ret = (size_t)i;
	return 0;
}

static json_t *step(json_t *in, const char *token)
{
	size_t i;
	bool end;

	if (json_is_object(in))
		return json_object_get(in, token);
	if (!json_is_array(in) || parse_index(token, json_array_size(in), &i, &end) < 0 || end)
		return NULL;
	return json_array_get(in, i);
}

/* Resolves all of the pointer but its last token. path is not "". */
static int find_place(json_t *doc, const char *path, struct place *p)
{
	json_t *in = doc;

	if (*path++ != '/')
		return -EINVAL;
	for (const char *end; (end = strchr(path, '/')); path = end + 1) {
		auto_free char *token = unescape(path, (size_t)(end - path));

		in = token && in ? step(in, token) : NULL;
		if (!in)
			return -ENOENT;
	}
	p->in = in;
	p->name = unescape(path, strlen(path));
	if (!p->name)
		return -EINVAL;
	if (json_is_array(in))
		return parse_index(p->name, json_array_size(in), &p->index, &p->end);
	return json_is_object(in) ? 0 : -ENOENT;
}

static json_t *get_at(json_t *doc, const char *path)
{
	auto_place p = {0};

	if (!*path)
		return doc;
	if (find_place(doc, path, &p) < 0 || p.end)
		return NULL;
	return json_is_object(p.in) ? json_object_get(p.in, p.name) : json_array_get(p.in, p.index);
}

/* Steals value. */
static int add_at(struct patcher *pt, const char *path, json_t *value)
{
	auto_place p = {0};

	if (!*path) {
		json_decref(pt->doc);
		pt->doc = value;
		return 0;
	}
	if (find_place(pt->doc, path, &p) < 0 ||
	    (json_is_array(p.in) && p.index > json_array_size(p.in))) {
		json_decref(value);
		return -ENOENT;
	}
	if (json_is_object(p.in))
		return json_object_set_new(p.in, p.name, value) ? -EINVAL : 0;
	return json_array_insert_new(p.in, p.index, value) ? -EINVAL : 0;
}

static int remove_at(struct patcher *pt, const char *path)
{
	auto_place p = {0};

	if (!*path || find_place(pt->doc, path, &p) < 0 || p.end)
		return -ENOENT;
	if (json_is_object(p.in))
		return json_object_del(p.in, p.name) ? -ENOENT : 0;
	return json_array_remove(p.in, p.index) ? -ENOENT : 0;
}

static int op_add(struct patcher *pt, const char *path, const char *from, const json_t *value)
{
	(void)from;
	return value ? add_at(pt, path, json_deep_copy(value)) : -EINVAL;
}

static int op_remove(struct patcher *pt, const char *path, const char *from, const json_t *value)
{
	(void)from;
	(void)value;
	return remove_at(pt, path);
}

static int op_replace(struct patcher *pt, const char *path, const char *from, const json_t *value)
{
	auto_place p = {0};

	(void)from;
	if (!value || !get_at(pt->doc, path))
		return -ENOENT;
	if (!*path)
		return add_at(pt, path, json_deep_copy(value));
	if (find_place(pt->doc, path, &p) < 0)
		return -ENOENT;
	if (json_is_object(p.in))
		return json_object_set_new(p.in, p.name, json_deep_copy(value)) ? -EINVAL : 0;
	return json_array_set_new(p.in, p.index, json_deep_copy(value)) ? -EINVAL : 0;
}

static int op_move(struct patcher *pt, const char *path, const char *from, const json_t *value)
{
	json_t *v = from ? get_at(pt->doc, from) : NULL;
	size_t len = from ? strlen(from) : 0;

	(void)value;
	/* A value cannot be moved into itself. */
	if (!v || (str_starts(path, from) && path[len] == '/'))
		return -ENOENT;
	if (streq(path, from))
		return 0;
	json_incref(v);
	if (remove_at(pt, from) < 0) {
		json_decref(v);
		return -ENOENT;
	}
	return add_at(pt, path, v);
}

static int op_copy(struct patcher *pt, const char *path, const char *from, const json_t *value)
{
	json_t *v = from ? get_at(pt->doc, from) : NULL;

	(void)value;
	if (!v)
		return -ENOENT;
	pt->copied += json_dumpb(v, NULL, 0, JSON_COMPACT | JSON_ENCODE_ANY);
	if (pt->copied > COPY_MAX)
		return -E2BIG;
	return add_at(pt, path, json_deep_copy(v));
}

static int op_test(struct patcher *pt, const char *path, const char *from, const json_t *value)
{
	json_t *v = get_at(pt->doc, path);

	(void)from;
	if (!v || json_is_null(v))
		return !value || json_is_null(value) ? 0 : -EINVAL;
	return value && json_same(v, value) ? 0 : -EINVAL;
}

static const struct {
	const char *name;
	int (*fn)(struct patcher *pt, const char *path, const char *from, const json_t *value);
} operations[] = {
	{"add", op_add},   {"remove", op_remove}, {"replace", op_replace},
	{"move", op_move}, {"copy", op_copy},	  {"test", op_test},
};

static int apply_one(struct patcher *pt, const json_t *op)
{
	const char *name = json_string_value(json_object_get(op, "op"));
	const char *path = json_string_value(json_object_get(op, "path"));
	const char *from = json_string_value(json_object_get(op, "from"));

	if (!name || !path)
		return -EINVAL;
	for (size_t i = 0; i < ARRAY_SIZE(operations); i++) {
		if (streq(operations[i].name, name))
			return operations[i].fn(pt, path, from, json_object_get(op, "value"));
	}
	return -EINVAL;
}

json_t *patch_json(const json_t *obj, const json_t *patch, struct err *err)
{
	struct patcher pt = {0};
	json_t *op;
	size_t i;

	if (!json_is_array(patch)) {
		err_set(err, ERR_BAD_REQUEST,
			"error decoding patch: json: cannot unmarshal %s into "
			"Go value of type jsonpatch.Patch",
			json_is_object(patch) ? "object" : "value");
		return NULL;
	}
	if (json_array_size(patch) > PATCH_MAX_OPERATIONS) {
		err_set(err, ERR_REQUEST_TOO_LARGE,
			"The allowed maximum operations in a JSON patch is %d, got %zu",
			PATCH_MAX_OPERATIONS, json_array_size(patch));
		return NULL;
	}
	pt.doc = json_deep_copy(obj);
	json_array_foreach(patch, i, op)
	{
		if (apply_one(&pt, op) == 0)
			continue;
		/* The API server hides what exactly did not fit behind this text. */
		err_set(err, ERR_INVALID,
			"the server rejected our request due to an error in our request");
		json_decref(pt.doc);
		return NULL;
	}
	return pt.doc;
}
