/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Three-way strategic merge patch, as `kubectl apply` computes it: what the file adds or changes
 * against the live object, plus what the file no longer has against its last applied version.
 */
#include "internal.h"

struct diff {
	bool deletions; /* what modified lacks; else additions and changes */
	struct err *err;
};

static json_t *diff_maps(const struct diff *d, const struct message *m, bool retain_keys,
			 const json_t *from, const json_t *to);

static ssize_t find_by_key(const json_t *list, const char *key, const json_t *elem)
{
	const json_t *want = json_object_get(elem, key);
	json_t *e;
	size_t i;

	json_array_foreach(list, i, e)
	{
		if (!json_object_get(e, DIRECTIVE_PATCH) && want &&
		    json_same(json_object_get(e, key), want))
			return (ssize_t)i;
	}
	return -1;
}

static bool has_scalar(const json_t *list, const json_t *v)
{
	json_t *e;
	size_t i;

	json_array_foreach(list, i, e)
	{
		if (json_same(e, v))
			return true;
	}
	return false;
}

/* $setElementOrder/<name> of the list as it shall be. */
static void put_order(json_t *patch, const char *name, const char *key, const json_t *to)
{
	auto_free char *directive = xasprintf(DIRECTIVE_ORDER "%s", name);
	json_t *order = json_array(), *e;
	size_t i;

	json_array_foreach(to, i, e)
	{
		if (!key) {
			json_array_append(order, e);
			continue;
		}
		json_t *item = json_object();
		json_object_set(item, key, json_object_get(e, key));
		json_array_append_new(order, item);
	}
	json_object_set_new(patch, directive, order);
}

static bool same_order(const json_t *a, const json_t *b, const char *key)
{
	if (json_array_size(a) != json_array_size(b))
		return false;
	for (size_t i = 0; i < json_array_size(a); i++) {
		if (!json_same(json_object_get(json_array_get(a, i), key),
			       json_object_get(json_array_get(b, i), key)))
			return false;
	}
	return true;
}

/* Every element must be an object with the merge key. */
static int check_keyed(const struct diff *d, const json_t *list, const char *key)
{
	json_t *e;
	size_t i;

	json_array_foreach(list, i, e)
	{
		if (!json_object_get(e, key))
			return err_set(d->err, ERR_BAD_REQUEST,
				       "map: element %zu does not contain declared merge key: %s",
				       i, key);
	}
	return 0;
}

/* Elements of `to` that are new or changed, each with its key. */
static int diff_keyed_changes(const struct diff *d, const struct field *f, const json_t *from,
			      const json_t *to, json_t *out)
{
	json_t *e;
	size_t i;

	json_array_foreach(to, i, e)
	{
		ssize_t at = find_by_key(from, f->smp_key, e);

		if (at < 0) {
			if (!d->deletions)
				json_array_append_new(out, json_deep_copy(e));
			continue;
		}
		json_t *change = diff_maps(d, f->message, f->flags & FIELD_RETAIN_KEYS,
					   json_array_get(from, (size_t)at), e);
		if (!change)
			return -EINVAL;
		if (json_object_size(change)) {
			json_object_set(change, f->smp_key, json_object_get(e, f->smp_key));
			json_array_append(out, change);
		}
		json_decref(change);
	}
	return 0;
}

static void diff_keyed_deletions(const struct field *f, const json_t *from, const json_t *to,
				 json_t *out)
{
	json_t *e;
	size_t i;

	json_array_foreach(from, i, e)
	{
		if (find_by_key(to, f->smp_key, e) >= 0)
			continue;
		json_t *gone = json_object();
		json_object_set_new(gone, DIRECTIVE_PATCH, json_string("delete"));
		json_object_set(gone, f->smp_key, json_object_get(e, f->smp_key));
		json_array_append_new(out, gone);
	}
}

static int diff_keyed_lists(const struct diff *d, const struct field *f, const json_t *from,
			    const json_t *to, json_t *patch)
{
	json_auto_t *out = json_array();

	if (check_keyed(d, from, f->smp_key) < 0 || check_keyed(d, to, f->smp_key) < 0 ||
	    diff_keyed_changes(d, f, from, to, out) < 0)
		return -EINVAL;
	if (d->deletions)
		diff_keyed_deletions(f, from, to, out);
	if (json_array_size(out) || (!d->deletions && !same_order(from, to, f->smp_key)))
		put_order(patch, f->name, f->smp_key, to);
	if (json_array_size(out))
		json_object_set(patch, f->name, out);
	return 0;
}

static void diff_scalar_lists(const struct diff *d, const struct field *f, const json_t *from,
			      const json_t *to, json_t *patch)
{
	auto_free char *directive = xasprintf(DIRECTIVE_DELETE "%s", f->name);
	json_auto_t *out = json_array();
	const json_t *in = d->deletions ? from : to, *other = d->deletions ? to : from;
	json_t *e;
	size_t i;

	json_array_foreach(in, i, e)
	{
		if (!has_scalar(other, e))
			json_array_append(out, e);
	}
	if (json_array_size(out))
		json_object_set(patch, d->deletions ? directive : f->name, out);
	if (json_array_size(out) || (!d->deletions && !json_same((json_t *)from, (json_t *)to)))
		put_order(patch, f->name, NULL, to);
}

static int diff_lists(const struct diff *d, const struct field *f, const char *name,
		      const json_t *from, const json_t *to, json_t *patch)
{
	if (!f || !f->smp_merge) {
		if (!d->deletions && !json_same((json_t *)from, (json_t *)to))
			json_object_set_new(patch, name, json_deep_copy(to));
		return 0;
	}
	if (!json_array_size(from)) {
		if (json_array_size(to) && !d->deletions)
			json_object_set_new(patch, name, json_deep_copy(to));
		return 0;
	}
	if (f->smp_key)
		return diff_keyed_lists(d, f, from, to, patch);
	diff_scalar_lists(d, f, from, to, patch);
	return 0;
}

static int diff_member(const struct diff *d, const struct message *m, const char *key,
		       const json_t *from, const json_t *to, json_t *patch)
{
	const struct field *f = m ? message_field(m, key) : NULL;

	if (!from || json_typeof(from) != json_typeof(to)) {
		if (!d->deletions)
			json_object_set_new(patch, key, json_deep_copy(to));
		return 0;
	}
	if (json_is_array(to))
		return diff_lists(d, f, key, from, to, patch);
	if (json_is_object(to)) {
		json_t *sub = diff_maps(d, f && f->list == LIST_NONE ? f->message : NULL,
					f && (f->flags & FIELD_RETAIN_KEYS), from, to);
		if (!sub)
			return -EINVAL;
		if (json_object_size(sub))
			json_object_set(patch, key, sub);
		json_decref(sub);
		return 0;
	}
	if (!d->deletions && !json_same((json_t *)from, (json_t *)to))
		json_object_set_new(patch, key, json_deep_copy(to));
	return 0;
}

static bool lacks_a_key(const json_t *to, const json_t *from)
{
	const char *key;
	json_t *v;

	json_object_foreach((json_t *)from, key, v)
	{
		if (!json_object_get(to, key))
			return true;
	}
	return false;
}

static void put_retain_keys(json_t *patch, const json_t *to)
{
	json_t *keys = json_array(), *v;
	const char *key;

	json_object_foreach((json_t *)to, key, v)
	{
		if (!json_is_null(v))
			json_array_append_new(keys, json_string(key));
	}
	json_object_set_new(patch, DIRECTIVE_RETAIN, keys);
}

/* New patch object, {} when nothing differs; NULL + error. */
static json_t *diff_maps(const struct diff *d, const struct message *m, bool retain_keys,
			 const json_t *from, const json_t *to)
{
	json_auto_t *patch = json_object();
	const char *key;
	json_t *v;

	json_object_foreach((json_t *)to, key, v)
	{
		if (diff_member(d, m, key, json_object_get(from, key), v, patch) < 0)
			return NULL;
	}
	json_object_foreach((json_t *)from, key, v)
	{
		if (d->deletions && !json_object_get(to, key))
			json_object_set_new(patch, key, json_null());
	}
	if (retain_keys && json_object_size(to) &&
	    (json_object_size(patch) || lacks_a_key(to, from)))
		put_retain_keys(patch, to);
	return json_incref(patch);
}

/* ---- putting both patches together ---------------------------------------------------------- */

static void combine_maps(const struct message *m, json_t *into, const json_t *delta);

/* Elements of delta first, in their order; then what `into` alone has, deletions last. */
static json_t *combine_lists(const struct field *f, const json_t *into, const json_t *delta)
{
	json_t *out = json_array(), *e;
	size_t i;

	json_array_foreach(delta, i, e)
	{
		ssize_t at = find_by_key(into, f->smp_key, e);

		if (at < 0) {
			json_array_append(out, e);
			continue;
		}
		json_t *both = json_deep_copy(json_array_get(into, (size_t)at));
		combine_maps(f->message, both, e);
		json_array_append_new(out, both);
	}
	json_array_foreach(into, i, e)
	{
		if (json_object_get(e, DIRECTIVE_PATCH) || find_by_key(delta, f->smp_key, e) < 0)
			json_array_append(out, e);
	}
	return out;
}

static void combine_maps(const struct message *m, json_t *into, const json_t *delta)
{
	const char *key;
	json_t *v;

	json_object_foreach((json_t *)delta, key, v)
	{
		const struct field *f = m ? message_field(m, key) : NULL;
		json_t *have = json_object_get(into, key);

		if (json_is_object(have) && json_is_object(v))
			combine_maps(f && f->list == LIST_NONE ? f->message : NULL, have, v);
		else if (json_is_array(have) && json_is_array(v) && f && f->smp_key)
			json_object_set_new(into, key, combine_lists(f, have, v));
		else
			json_object_set(into, key, v);
	}
}

json_t *patch_create_three_way(const struct message *m, const json_t *original,
			       const json_t *modified, const json_t *current, struct err *err)
{
	const struct diff changes = {.deletions = false, .err = err};
	const struct diff deletions = {.deletions = true, .err = err};
	json_auto_t *delta = diff_maps(&changes, m, false, current, modified);
	json_auto_t *gone = delta && original ? diff_maps(&deletions, m, false, original, modified)
					      : json_object();

	if (!delta || !gone)
		return NULL;
	combine_maps(m, gone, delta);
	return json_incref(gone);
}
