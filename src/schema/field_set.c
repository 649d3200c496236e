/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sets of fields, as server-side apply keeps them in metadata.managedFields: trees in the form of
 * FieldsV1. A member is "f:<name>", "k:<keys of a list item>" or "v:<scalar of a set>"; a node
 * without children is a member, one with children is a member when it has ".". The root is none.
 * The trees are immutable and share their branches. They may come from a client: no form is
 * trusted.
 */
#include "internal.h"

static bool is_member(const json_t *node)
{
	return json_object_size(node) == 0 || json_object_get(node, ".");
}

/* A node of these children (stolen, may be NULL), or NULL when it would hold nothing. */
static json_t *node_new(json_t *children, bool member)
{
	if (json_object_size(children) == 0) {
		json_decref(children);
		return member ? json_object() : NULL;
	}
	if (member)
		json_object_set_new(children, ".", json_object());
	return children;
}

static void child_add(json_t **node, const char *key, json_t *child /* stolen, may be NULL */)
{
	breathe();
	if (!child)
		return;
	if (!*node)
		*node = json_object();
	json_object_set_new(*node, key, child);
}

static json_t *shared(const json_t *node)
{
	return json_incref((json_t *)(uintptr_t)node);
}

/* ---- algebra ----------------------------------------------------------------------------- */

static json_t *node_union(const json_t *a, const json_t *b)
{
	json_t *out = NULL, *child;
	const char *key;

	json_object_foreach((json_t *)(uintptr_t)a, key, child)
	{
		const json_t *other = json_object_get(b, key);

		if (*key != '.')
			child_add(&out, key, other ? node_union(child, other) : shared(child));
	}
	json_object_foreach((json_t *)(uintptr_t)b, key, child)
	{
		breathe();
		if (*key != '.' && !json_object_get(a, key))
			child_add(&out, key, shared(child));
	}
	return node_new(out, is_member(a) || is_member(b));
}

static json_t *node_difference(const json_t *a, const json_t *b)
{
	json_t *out = NULL, *child;
	const char *key;

	json_object_foreach((json_t *)(uintptr_t)a, key, child)
	{
		const json_t *other = json_object_get(b, key);

		if (*key != '.')
			child_add(&out, key, other ? node_difference(child, other) : shared(child));
	}
	return node_new(out, is_member(a) && !is_member(b));
}

static json_t *node_intersection(const json_t *a, const json_t *b)
{
	json_t *out = NULL, *child;
	const char *key;

	json_object_foreach((json_t *)(uintptr_t)a, key, child)
	{
		const json_t *other = json_object_get(b, key);

		breathe();
		if (*key != '.' && other)
			child_add(&out, key, node_intersection(child, other));
	}
	return node_new(out, is_member(a) && is_member(b));
}

/* A root is not a member of itself: nothing, or children. */
static json_t *root(json_t *node /* stolen */)
{
	if (!node)
		return json_object();
	json_object_del(node, ".");
	return node;
}

json_t *fields_union(const json_t *a, const json_t *b)
{
	return root(node_union(a, b));
}

json_t *fields_difference(const json_t *a, const json_t *b)
{
	return root(node_difference(a, b));
}

json_t *fields_intersection(const json_t *a, const json_t *b)
{
	return root(node_intersection(a, b));
}

/* ---- keys and paths ---------------------------------------------------------------------- */

/* "k:{...}" of a list item, with defaults for keys that it leaves out. */
static char *map_key(const struct field *f, const json_t *item)
{
	auto_strv keys = {0};
	json_auto_t *v = json_object();

	strv_split(&keys, f->ssa_keys ? f->ssa_keys : "name", ',');
	for (size_t i = 0; i < keys.n; i++) {
		const struct field *kf = f->message ? message_field(f->message, keys.v[i]) : NULL;
		json_t *have = json_object_get(item, keys.v[i]);

		if (have && !json_is_null(have))
			json_object_set(v, keys.v[i], have);
		else if (kf && kf->dflt)
			json_object_set_new(v, keys.v[i],
					    json_loads(kf->dflt, JSON_DECODE_ANY, NULL));
	}
	auto_free char *text = json_dumps(v, JSON_COMPACT | JSON_SORT_KEYS);

	return xasprintf("k:%s", text ? text : "{}");
}

char *field_item_key(const struct field *f, const json_t *item)
{
	if (f->list == LIST_MAP)
		return map_key(f, item);
	auto_free char *text = json_dumps(item, JSON_COMPACT | JSON_ENCODE_ANY);

	return xasprintf("v:%s", text ? text : "null");
}

char *field_path(const char *path, const char *key)
{
	auto_strbuf b = {0};
	const char *name;
	json_t *v;

	if (str_starts(key, "f:"))
		return xasprintf("%s.%s", path, key + 2);
	if (str_starts(key, "v:"))
		return xasprintf("%s[=%s]", path, key + 2);
	json_auto_t *keys = str_starts(key, "k:") ? json_loads(key + 2, 0, NULL) : NULL;

	json_object_foreach(keys, name, v)
	{
		auto_free char *text = json_dumps(v, JSON_COMPACT | JSON_ENCODE_ANY);

		strbuf_addf(&b, "%s%s=%s", b.len ? "," : "", name, text ? text : "");
	}
	return xasprintf("%s[%s]", path, b.s ? b.s : key);
}

static int key_order(const void *a, const void *b)
{
	breathe();
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static void node_paths(const json_t *node, const char *path, struct strv *ret)
{
	auto_strv keys = {0};
	const char *key;
	json_t *child;

	json_object_foreach((json_t *)(uintptr_t)node, key, child)
	{
		breathe();
		strv_add(&keys, key);
	}
	if (keys.n)
		qsort(keys.v, keys.n, sizeof(*keys.v), key_order);
	for (size_t i = 0; i < keys.n; i++) {
		const json_t *below = json_object_get(node, keys.v[i]);

		if (*keys.v[i] == '.')
			continue;
		auto_free char *sub = field_path(path, keys.v[i]);

		if (is_member(below))
			strv_add(ret, sub);
		node_paths(below, sub, ret);
	}
}

void fields_paths(const json_t *set, struct strv *ret)
{
	node_paths(set, "", ret);
}

/* ---- the fields of an object ------------------------------------------------------------- */

bool field_is_atomic(const struct field *f)
{
	return !f || (f->flags & FIELD_MAP_ATOMIC) || f->list == LIST_ATOMIC ||
	       (f->list == LIST_NONE && !f->message) || (f->list == LIST_MAP && !f->message);
}

const struct field *field_below(const struct message *m, const char *name)
{
	return m ? message_field(m, name) : NULL;
}

static json_t *set_of_object(const struct message *m, const json_t *obj);

static json_t *set_of_list(const struct field *f, const json_t *list)
{
	json_t *out = NULL, *item;
	size_t i;

	json_array_foreach(list, i, item)
	{
		auto_free char *key = field_item_key(f, item);
		json_t *below = f->list == LIST_MAP ? set_of_object(f->message, item) : NULL;

		child_add(&out, key, node_new(below, true));
	}
	return out;
}

static json_t *set_of_map(const struct field *f, const json_t *map)
{
	json_t *out = NULL, *v;
	const char *name;

	json_object_foreach((json_t *)(uintptr_t)map, name, v)
	{
		auto_free char *key = xasprintf("f:%s", name);

		child_add(&out, key,
			  node_new(f->message ? set_of_object(f->message, v) : NULL, true));
	}
	return out;
}

static json_t *set_of_value(const struct field *f, const json_t *v)
{
	if (field_is_atomic(f))
		return json_object();
	if (json_is_object(v) && json_object_size(v) == 0)
		return json_object();
	if (json_is_array(v) && (f->list == LIST_MAP || f->list == LIST_SET))
		return set_of_list(f, v);
	if (json_is_object(v) && f->list == LIST_STRING_MAP)
		return set_of_map(f, v);
	if (json_is_object(v) && f->list == LIST_NONE)
		return set_of_object(f->message, v);
	return json_object();
}

static json_t *set_of_object(const struct message *m, const json_t *obj)
{
	json_t *out = NULL, *v;
	const char *name;

	json_object_foreach((json_t *)(uintptr_t)obj, name, v)
	{
		auto_free char *key = xasprintf("f:%s", name);

		child_add(&out, key, set_of_value(field_below(m, name), v));
	}
	return out;
}

json_t *fields_of(const struct message *m, const json_t *obj)
{
	return root(set_of_object(m, obj));
}

/* ---- comparing --------------------------------------------------------------------------- */

/* Nodes of what was set or changed, and of what went; either may be NULL. */
struct delta {
	json_t *set, *gone;
};

static struct delta compare_value(const struct field *f, const json_t *old, const json_t *now);

static void delta_add(struct delta *d, const char *key, struct delta child)
{
	child_add(&d->set, key, child.set);
	child_add(&d->gone, key, child.gone);
}

/* What stands for an absent value in a typed object: a struct that is no pointer is always there,
 * as an empty one, and so is a list that is written even when empty. */
static const json_t *zero_of(const struct field *f)
{
	static json_t *object, *array;

	if (!f || (f->flags & FIELD_POINTER))
		return NULL;
	if (f->list == LIST_NONE && f->type == FIELD_OBJECT && f->message) {
		breath_hold(); /* one for all tasks */
		object = object ? object : json_object();
		breath_release();
		return object;
	}
	if ((f->flags & FIELD_ALWAYS) && (f->list == LIST_MAP || f->list == LIST_SET)) {
		breath_hold();
		array = array ? array : json_array();
		breath_release();
		return array;
	}
	return NULL;
}

/* Is v what a typed object says of a single value that nobody has set? Times that are no pointers
 * are null then; of other types, those that are written even when empty. */
static bool is_unset(const struct field *f, const json_t *v)
{
	if (!f || !v || (f->flags & FIELD_POINTER) || f->list != LIST_NONE)
		return false;
	if (f->type == FIELD_TIME || f->type == FIELD_MICROTIME)
		return json_is_null(v);
	if (!(f->flags & FIELD_ALWAYS))
		return false;
	return json_is_null(v) || json_is_false(v) ||
	       (json_is_string(v) && !json_string_length(v)) ||
	       (json_is_integer(v) && !json_integer_value(v));
}

static void compare_member(struct delta *d, const struct message *m, const char *name,
			   const json_t *old, const json_t *now)
{
	const struct field *f = field_below(m, name);
	auto_free char *key = xasprintf("f:%s", name);
	const json_t *a = json_object_get(old, name), *b = json_object_get(now, name);

	if (f && !field_is_atomic(f)) {
		a = !a && old ? zero_of(f) : a;
		b = !b && now ? zero_of(f) : b;
	} else if ((!a && is_unset(f, b)) || (!b && is_unset(f, a))) {
		return;
	}
	delta_add(d, key, compare_value(f, a, b));
}

/* Members of a struct, or (m NULL) of a map whose values f describes. */
static struct delta compare_members(const struct message *m, const struct field *f,
				    const json_t *old, const json_t *now)
{
	struct delta d = {0};
	const char *name;
	json_t *v;

	json_object_foreach((json_t *)(uintptr_t)old, name, v)
	{
		auto_free char *key = xasprintf("f:%s", name);

		if (m)
			compare_member(&d, m, name, old, now);
		else
			delta_add(&d, key, compare_value(f, v, json_object_get(now, name)));
	}
	json_object_foreach((json_t *)(uintptr_t)now, name, v)
	{
		auto_free char *key = xasprintf("f:%s", name);

		breathe();
		if (json_object_get(old, name))
			continue;
		if (m)
			compare_member(&d, m, name, old, now);
		else
			delta_add(&d, key, compare_value(f, NULL, v));
	}
	return d;
}

static json_t *by_key(const struct field *f, const json_t *list)
{
	json_t *map = json_object(), *item;
	size_t i;

	json_array_foreach(list, i, item)
	{
		auto_free char *key = field_item_key(f, item);

		json_object_set(map, key, item);
	}
	return map;
}

static struct delta compare_items(const struct field *f, const json_t *old, const json_t *now)
{
	json_auto_t *a = by_key(f, old), *b = by_key(f, now);
	/* A list item is what a single field of its type is. */
	struct field one = *f;
	struct delta d = {0};
	const char *key;
	json_t *v;

	one.list = LIST_NONE;
	if (f->list == LIST_SET)
		one.message = NULL;
	json_object_foreach(a, key, v)
		delta_add(&d, key, compare_value(&one, v, json_object_get(b, key)));
	json_object_foreach(b, key, v)
	{
		if (!json_object_get(a, key))
			delta_add(&d, key, compare_value(&one, NULL, v));
	}
	return d;
}

static struct delta compare_value(const struct field *f, const json_t *old, const json_t *now)
{
	struct delta d = {0};

	if (old == now)
		return d;
	if (field_is_atomic(f) || (old && now && json_typeof(old) != json_typeof(now)) ||
	    (!json_is_object(old ? old : now) && !json_is_array(old ? old : now))) {
		if (!now)
			d.gone = json_object();
		else if (!old || !json_same(old, now))
			d.set = json_object();
		return d;
	}
	if (json_is_array(old ? old : now) && f->list != LIST_MAP && f->list != LIST_SET) {
		/* an atomic list where nothing says so, as in what has no schema */
		if (!now)
			d.gone = json_object();
		else if (!old || !json_same(old, now))
			d.set = json_object();
		return d;
	}
	if (json_is_array(old ? old : now)) {
		d = compare_items(f, old, now);
	} else if (f->list == LIST_STRING_MAP) {
		struct field one = *f;

		one.list = LIST_NONE;
		d = compare_members(NULL, &one, old, now);
	} else {
		d = compare_members(f->message, NULL, old, now);
	}
	d.set = node_new(d.set, !old);
	d.gone = node_new(d.gone, !now);
	return d;
}

void fields_compare(const struct message *m, const json_t *old, const json_t *now, json_t **set,
		    json_t **gone)
{
	struct delta d = compare_members(m, NULL, old, now);

	*set = root(d.set);
	*gone = root(d.gone);
}
