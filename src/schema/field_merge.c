/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Server-side apply on values: merging an applied configuration into an object, taking out what is
 * no longer applied, and what an applied configuration may not look like.
 */
#include "internal.h"

static json_t *shared(const json_t *v)
{
	return json_incref((json_t *)(uintptr_t)v);
}

/* ---- merging ----------------------------------------------------------------------------- */

static json_t *merge_value(const struct field *f, const json_t *live, const json_t *applied);

static json_t *merge_members(const struct message *m, const struct field *each, const json_t *live,
			     const json_t *applied)
{
	json_t *out = json_copy((json_t *)(uintptr_t)live), *v;
	const char *name;

	json_object_foreach((json_t *)(uintptr_t)applied, name, v)
	{
		const struct field *f = each ? each : field_below(m, name);

		/* A struct, map or list that is nothing has nothing to say of what is in it. */
		if (json_is_null(v) && !field_is_atomic(f))
			continue;
		json_object_set_new(out, name, merge_value(f, json_object_get(out, name), v));
	}
	return out;
}

/* Where each item of the list is, by its key; of equal keys the first. */
static json_t *index_of(const struct field *f, const json_t *list)
{
	json_t *index = json_object(), *item;
	size_t i;

	json_array_foreach(list, i, item)
	{
		auto_free char *key = field_item_key(f, item);

		if (!json_object_get(index, key))
			json_object_set_new(index, key, json_integer((json_int_t)i));
	}
	return index;
}

/* Applied items come in their order; what is only in the live list keeps its place between them. */
static json_t *merge_items(const struct field *f, const json_t *live, const json_t *applied)
{
	json_auto_t *ours = index_of(f, live), *theirs = index_of(f, applied);
	json_t *out = json_array(), *item;
	struct field one = *f;
	size_t l = 0, r;

	one.list = LIST_NONE;
	if (f->list == LIST_SET)
		one.message = NULL;
	json_array_foreach(applied, r, item)
	{
		auto_free char *key = field_item_key(f, item);
		const json_t *at = json_object_get(ours, key);
		json_t *have = at ? json_array_get(live, (size_t)json_integer_value(at)) : NULL;

		for (; l < json_array_size(live); l++) {
			auto_free char *mine = field_item_key(f, json_array_get(live, l));

			if (json_object_get(theirs, mine))
				break;
			json_array_append(out, json_array_get(live, l));
		}
		json_array_append_new(out, merge_value(&one, have, item));
		if (at && (size_t)json_integer_value(at) == l)
			l++;
	}
	for (; l < json_array_size(live); l++) {
		auto_free char *mine = field_item_key(f, json_array_get(live, l));

		if (!json_object_get(theirs, mine))
			json_array_append(out, json_array_get(live, l));
	}
	return out;
}

static json_t *merge_value(const struct field *f, const json_t *live, const json_t *applied)
{
	if (!live || field_is_atomic(f) || json_typeof(live) != json_typeof(applied))
		return shared(applied);
	if (json_is_array(applied) && (f->list == LIST_MAP || f->list == LIST_SET))
		return merge_items(f, live, applied);
	if (!json_is_object(applied))
		return shared(applied);
	if (f->list == LIST_STRING_MAP) {
		struct field one = *f;

		one.list = LIST_NONE;
		return merge_members(NULL, &one, live, applied);
	}
	return merge_members(f->message, NULL, live, applied);
}

json_t *fields_merge(const struct message *m, const json_t *live, const json_t *applied)
{
	json_auto_t *merged = merge_members(m, NULL, live, applied);

	return json_deep_copy(merged); /* branches are shared with both */
}

/* ---- removing ---------------------------------------------------------------------------- */

static void prune_members(const struct message *m, const struct field *each, json_t *obj,
			  const json_t *last, const json_t *kept);

/* Structs go with their last owned field, as if they were owned themselves; items of a list only
 * when they are. */
static bool goes(const char *key, const json_t *node, const json_t *kept)
{
	bool named = str_starts(key, "f:");

	return !kept && (named || json_object_size(node) == 0 || json_object_get(node, "."));
}

static void prune_value(const struct field *f, json_t *v, const json_t *last, const json_t *kept);

static void prune_items(const struct field *f, json_t *list, const json_t *last, const json_t *kept)
{
	struct field one = *f;

	one.list = LIST_NONE;
	if (f->list == LIST_SET)
		one.message = NULL;
	for (size_t i = json_array_size(list); i > 0; i--) {
		json_t *item = json_array_get(list, i - 1);
		auto_free char *key = field_item_key(f, item);
		const json_t *node = json_object_get(last, key);

		if (!node)
			continue;
		if (goes(key, node, json_object_get(kept, key)))
			json_array_remove(list, i - 1);
		else
			prune_value(&one, item, node, json_object_get(kept, key));
	}
}

static void prune_value(const struct field *f, json_t *v, const json_t *last, const json_t *kept)
{
	if (field_is_atomic(f))
		return;
	if (json_is_array(v) && (f->list == LIST_MAP || f->list == LIST_SET)) {
		prune_items(f, v, last, kept);
	} else if (json_is_object(v) && f->list == LIST_STRING_MAP) {
		struct field one = *f;

		one.list = LIST_NONE;
		prune_members(NULL, &one, v, last, kept);
	} else if (json_is_object(v) && f->list == LIST_NONE) {
		prune_members(f->message, NULL, v, last, kept);
	}
}

static void prune_members(const struct message *m, const struct field *each, json_t *obj,
			  const json_t *last, const json_t *kept)
{
	const char *key;
	json_t *node;

	json_object_foreach((json_t *)(uintptr_t)last, key, node)
	{
		const json_t *still = json_object_get(kept, key);

		breathe();
		/* The sets come from clients: their form is not to be trusted. */
		if (!str_starts(key, "f:") || !json_is_object(node))
			continue;
		json_t *v = json_object_get(obj, key + 2);

		if (!v)
			continue;
		if (goes(key, node, still))
			json_object_del(obj, key + 2);
		else
			prune_value(each ? each : field_below(m, key + 2), v, node, still);
	}
}

void fields_prune(const struct message *m, json_t *obj, const json_t *last, const json_t *kept)
{
	prune_members(m, NULL, obj, last, kept);
}

/* ---- checking ---------------------------------------------------------------------------- */

struct check {
	struct strv problems;
};

static void check_value(struct check *c, const struct field *f, const json_t *v, const char *path);

static void check_members(struct check *c, const struct message *m, const struct field *each,
			  const json_t *obj, const char *path)
{
	const char *name;
	json_t *v;

	json_object_foreach((json_t *)(uintptr_t)obj, name, v)
	{
		auto_free char *below = xasprintf("%s.%s", path, name);

		check_value(c, each ? each : field_below(m, name), v, below);
	}
}

static bool is_absent(const json_t *v)
{
	return !v || json_is_null(v);
}

/* The key that an item lacks and that has no default, or NULL. */
static char *missing_key(const struct field *f, const json_t *item)
{
	auto_strv keys = {0};

	strv_split(&keys, f->ssa_keys ? f->ssa_keys : "name", ',');
	for (size_t i = 0; i < keys.n; i++) {
		const struct field *kf = f->message ? message_field(f->message, keys.v[i]) : NULL;

		if (is_absent(json_object_get(item, keys.v[i])) && !(kf && kf->dflt) && keys.n == 1)
			return xstrdup(keys.v[i]);
	}
	return NULL;
}

static void check_items(struct check *c, const struct field *f, const json_t *list,
			const char *path)
{
	json_auto_t *seen = json_object();
	struct field one = *f;
	json_t *item;
	size_t i;

	one.list = LIST_NONE;
	json_array_foreach(list, i, item)
	{
		auto_free char *key = field_item_key(f, item);
		auto_free char *below = field_path(path, key);
		auto_free char *lacks = f->list == LIST_MAP ? missing_key(f, item) : NULL;

		if (lacks)
			strv_addf(&c->problems,
				  "%s: element %zu: associative list with keys has an element that "
				  "omits key field \"%s\" (and doesn't have default value)",
				  path, i, lacks);
		else if (json_object_get(seen, key))
			strv_addf(&c->problems, "%s: duplicate entries for key %s", path,
				  below + strlen(path));
		json_object_set_new(seen, key, json_true());
		if (f->list == LIST_MAP)
			check_value(c, &one, item, below);
	}
}

static void check_value(struct check *c, const struct field *f, const json_t *v, const char *path)
{
	breathe();
	if (field_is_atomic(f) || c->problems.n > 50)
		return;
	if (json_is_array(v) && (f->list == LIST_MAP || f->list == LIST_SET)) {
		check_items(c, f, v, path);
	} else if (json_is_object(v) && f->list == LIST_STRING_MAP) {
		struct field one = *f;

		one.list = LIST_NONE;
		check_members(c, NULL, &one, v, path);
	} else if (json_is_object(v) && f->list == LIST_NONE) {
		check_members(c, f->message, NULL, v, path);
	}
}

void fields_check(const struct message *m, const json_t *applied, struct strv *problems)
{
	struct check c = {0};

	check_members(&c, m, NULL, applied, "");
	for (size_t i = 0; i < c.problems.n; i++)
		strv_add(problems, c.problems.v[i]);
	strv_done(&c.problems);
}
