/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Strategic merge patch: a JSON merge patch that knows how lists are keyed, with the directives
 * $patch, $retainKeys, $setElementOrder and $deleteFromPrimitiveList. The order of the steps is the
 * one documented for Kubernetes' API server, because clients depend on its corner cases.
 */
#include "internal.h"

struct smp {
	int64_t budget; /* comparisons left */
	struct err *err;
};

static json_t *merge_map(struct smp *s, const struct message *m, json_t *orig, json_t *patch);

static int bad(struct smp *s, const char *text)
{
	return err_set(s->err, ERR_BAD_REQUEST, "%s", text);
}

/* A value as Go's %v prints it, which is what these messages hold: map[a:1 b:[2 3]]. */
static void go_value(struct strbuf *b, const json_t *v, unsigned depth, size_t max)
{
	const char *key;
	json_t *e;
	size_t i;

	if (b->len > max || depth > 16) {
		strbuf_adds(b, "...");
	} else if (json_is_object(v)) {
		const char *sep = "map[";

		json_object_foreach((json_t *)v, key, e)
		{
			strbuf_addf(b, "%s%s:", sep, key);
			go_value(b, e, depth + 1, max);
			sep = " ";
		}
		strbuf_adds(b, *sep == ' ' ? "" : sep);
		strbuf_addc(b, ']');
	} else if (json_is_array(v)) {
		strbuf_addc(b, '[');
		json_array_foreach(v, i, e)
		{
			strbuf_adds(b, i ? " " : "");
			go_value(b, e, depth + 1, max);
		}
		strbuf_addc(b, ']');
	} else if (json_is_string(v)) {
		strbuf_adds(b, json_string_value(v));
	} else if (v && !json_is_null(v)) {
		auto_free char *text = json_dumps(v, JSON_ENCODE_ANY);
		strbuf_adds(b, text ? text : "");
	} else {
		strbuf_adds(b, "<nil>");
	}
}

static void go_print(struct strbuf *b, const json_t *v, unsigned depth)
{
	go_value(b, v, depth, 1024);
}

char *go_value_text(const json_t *v, size_t max)
{
	auto_strbuf b = {0};

	go_value(&b, v, 0, max);
	return strbuf_steal(&b);
}

static int no_merge_key(struct smp *s, const json_t *elem, const char *key)
{
	auto_strbuf b = {0};

	go_print(&b, elem, 0);
	return err_set(s->err, ERR_BAD_REQUEST, "map: %s does not contain declared merge key: %s",
		       b.s, key);
}

static int bad_patch_type(struct smp *s, const json_t *directive, const json_t *map)
{
	auto_strbuf b = {0}, d = {0};

	go_print(&d, directive, 0);
	go_print(&b, map, 0);
	return err_set(s->err, ERR_BAD_REQUEST, "unknown patch type: %s in map: %s", d.s, b.s);
}

/* Takes n comparisons from the budget: a peer chooses both list lengths. */
static int spend(struct smp *s, size_t a, size_t b)
{
	int64_t n;

	if (__builtin_mul_overflow((int64_t)a + 1, (int64_t)b + 1, &n) || n > s->budget)
		return bad(s, "the lists of the patch are too long to be merged");
	s->budget -= n;
	return 0;
}

/* ---- directives that must not reach the object ---------------------------------------------- */

static bool is_directive(const char *key)
{
	return streq(key, DIRECTIVE_PATCH) || streq(key, DIRECTIVE_RETAIN) ||
	       str_starts(key, DIRECTIVE_ORDER) || str_starts(key, DIRECTIVE_DELETE);
}

/* New value without directives; nulls of maps are dropped too. NULL: nothing is left to keep. */
static json_t *without_directives(const json_t *v)
{
	const char *key;
	json_t *e, *out;
	size_t i;

	if (json_is_object(v)) {
		if (str_eq(json_string_value(json_object_get(v, DIRECTIVE_PATCH)), "delete"))
			return NULL;
		out = json_object();
		json_object_foreach((json_t *)v, key, e)
		{
			if (!is_directive(key) && !json_is_null(e))
				json_object_set_new(out, key, without_directives(e));
		}
		return out;
	}
	if (!json_is_array(v))
		return json_deep_copy(v);
	out = json_array();
	json_array_foreach(v, i, e)
	{
		json_t *kept = without_directives(e);
		/* {"$patch": "replace"} alone is a directive for the whole list. */
		bool marker = json_object_get(e, DIRECTIVE_PATCH) && json_object_size(kept) == 0;

		if (kept && !marker)
			json_array_append(out, kept);
		json_decref(kept);
	}
	return out;
}

/* ---- lists ---------------------------------------------------------------------------------- */

/* Are two elements the same one? By merge key for maps, by value for scalars. */
static bool same_element(const json_t *a, const json_t *b, const char *key)
{
	if (!key)
		return json_same(a, b);
	a = json_object_get(a, key);
	b = json_object_get(b, key);
	return a && b && json_same(a, b);
}

static ssize_t index_of(const json_t *list, const json_t *elem, const char *key)
{
	json_t *e;
	size_t i;

	json_array_foreach(list, i, e)
	{
		if (same_element(e, elem, key))
			return (ssize_t)i;
	}
	return -1;
}

struct ranked {
	json_t *elem; /* borrowed from the merged list */
	ssize_t rank;
};

static int ranked_cmp(const void *a, const void *b)
{
	const struct ranked *x = a, *y = b;

	return x->rank < y->rank ? -1 : x->rank > y->rank;
}

/* The elements of merged that are (named) in order, sorted by rank_list; count in *n. */
static struct ranked *pick(const json_t *merged, const json_t *order, bool named,
			   const json_t *rank_list, const char *key, size_t *n)
{
	struct ranked *out = xcalloc(json_array_size(merged) + 1, sizeof(*out));
	json_t *e;
	size_t i;

	*n = 0;
	json_array_foreach(merged, i, e)
	{
		if ((index_of(order, e, key) >= 0) == named)
			out[(*n)++] = (struct ranked){e, index_of(rank_list, e, key)};
	}
	qsort(out, *n, sizeof(*out), ranked_cmp);
	return out;
}

/*
 * Puts merged into its final order: what `order` names goes by it, the rest keeps the order of the
 * live list, and the two sequences are interleaved by the live positions. Returns a new array.
 */
static json_t *arrange(const json_t *merged, const json_t *order, const json_t *live,
		       const char *key)
{
	size_t n_named, n_rest, i = 0, j = 0;
	auto_free struct ranked *named = pick(merged, order, true, order, key, &n_named);
	auto_free struct ranked *rest = pick(merged, order, false, live, key, &n_rest);
	json_t *out = json_array();

	while (i < n_rest || j < n_named) {
		bool take_rest = j >= n_named;

		if (i < n_rest && j < n_named) {
			ssize_t in_live = index_of(live, named[j].elem, key);

			take_rest = rest[i].rank >= 0 && in_live >= 0 && rest[i].rank < in_live;
		}
		json_array_append(out, take_rest ? rest[i++].elem : named[j++].elem);
	}
	return out;
}

/* Scalars: union, or difference when the patch deletes. New array. */
static json_t *merge_scalars(const json_t *orig, const json_t *patch, bool delete)
{
	json_t *out = json_array(), *e;
	size_t i;

	json_array_foreach(orig, i, e)
	{
		if (delete ? index_of(patch, e, NULL) < 0 : index_of(out, e, NULL) < 0)
			json_array_append(out, e);
	}
	if (delete)
		return out;
	json_array_foreach(patch, i, e)
	{
		if (index_of(out, e, NULL) < 0)
			json_array_append(out, e);
	}
	return out;
}

/* Removes from out what elem ({"$patch":"delete", key: v}) names. */
static int delete_element(struct smp *s, json_t *out, const json_t *elem, const char *key)
{
	if (!json_object_get(elem, key))
		return no_merge_key(s, elem, key);
	for (ssize_t at; (at = index_of(out, elem, key)) >= 0;)
		json_array_remove(out, (size_t)at);
	return 0;
}

/* Obeys the elements with $patch; plain gets the others. out starts as the original's elements. */
static int split_specials(struct smp *s, json_t *out, const json_t *patch, const char *key,
			  json_t *plain)
{
	bool replace = false;
	json_t *e;
	size_t i;

	json_array_foreach(patch, i, e)
	{
		json_t *directive = json_object_get(e, DIRECTIVE_PATCH);
		const char *what = json_string_value(directive);

		if (!directive)
			json_array_append(plain, e);
		else if (str_eq(what, "replace"))
			replace = true;
		else if (str_eq(what, "merge"))
			return bad(s, "merging lists cannot yet be specified in the patch");
		else if (!str_eq(what, "delete"))
			return bad_patch_type(s, directive, e);
		else if (delete_element(s, out, e, key) < 0)
			return -EINVAL;
	}
	if (replace) {
		json_array_clear(out);
		json_array_extend(out, plain);
		json_array_clear(plain);
	}
	return 0;
}

/* New array, or NULL + error. */
static json_t *merge_maps_by_key(struct smp *s, const struct field *f, const json_t *orig,
				 const json_t *patch)
{
	const char *key = f->smp_key;
	json_auto_t *out = json_array(), *plain = json_array();
	json_t *e;
	size_t i;

	json_array_extend(out, (json_t *)orig);
	if (split_specials(s, out, patch, key, plain) < 0)
		return NULL;
	json_array_foreach(plain, i, e)
	{
		ssize_t at = index_of(out, e, key);

		if (!json_object_get(e, key)) {
			no_merge_key(s, e, key);
			return NULL;
		}
		if (at < 0) {
			json_array_append_new(out, without_directives(e));
			continue;
		}
		json_t *merged = merge_map(s, f->message, json_array_get(out, (size_t)at), e);
		if (!merged)
			return NULL;
		json_array_set_new(out, (size_t)at, merged);
	}
	return json_incref(out);
}

static bool all_maps(const json_t *list)
{
	json_t *e;
	size_t i;

	json_array_foreach(list, i, e)
	{
		if (!json_is_object(e))
			return false;
	}
	return true;
}

/* New merged and ordered list. delete: patch is a $deleteFromPrimitiveList. */
static json_t *merge_list(struct smp *s, const struct field *f, const json_t *orig,
			  const json_t *patch, bool delete)
{
	if (!delete &&(!f || !f->smp_merge))
		return without_directives(patch);
	if (spend(s, json_array_size(orig) + json_array_size(patch),
		  json_array_size(orig) + json_array_size(patch)) < 0)
		return NULL;
	if (delete)
		return merge_scalars(orig, patch, true);
	if (!f->smp_key) {
		json_auto_t *merged = merge_scalars(orig, patch, false);
		return arrange(merged, patch, orig, NULL);
	}
	if (!all_maps(orig) || !all_maps(patch)) {
		bad(s, "invalid patch format: a list to be merged by key holds something else than "
		       "objects");
		return NULL;
	}
	json_auto_t *merged = merge_maps_by_key(s, f, orig, patch);
	return merged ? arrange(merged, patch, orig, f->smp_key) : NULL;
}

/* ---- maps ----------------------------------------------------------------------------------- */

static int apply_retain_keys(struct smp *s, json_t *orig, json_t *patch)
{
	json_auto_t *keep = json_incref(json_object_get(patch, DIRECTIVE_RETAIN));
	const char *key;
	json_t *v;
	void *tmp;

	if (!keep)
		return 0;
	if (!json_is_array(keep))
		return bad(s, "invalid patch format of retainKeys");
	if (spend(s, json_array_size(keep), json_object_size(orig) + json_object_size(patch)) < 0)
		return -EINVAL;
	json_object_del(patch, DIRECTIVE_RETAIN);
	json_object_foreach(patch, key, v)
	{
		json_auto_t *name = json_string(key);

		if (!json_is_null(v) && !is_directive(key) && index_of(keep, name, NULL) < 0)
			return bad(s, "invalid patch format of retainKeys");
	}
	json_object_foreach_safe(orig, tmp, key, v)
	{
		json_auto_t *name = json_string(key);

		if (index_of(keep, name, NULL) < 0)
			json_object_del(orig, key);
	}
	return 0;
}

/* The patch's elements must stand in the order list in the same order. */
static int check_order(struct smp *s, const json_t *patch, const json_t *order, const char *key)
{
	size_t at = 0, i;
	json_t *e;

	if (!json_array_size(order))
		return 0;
	json_array_foreach(patch, i, e)
	{
		if (key && json_object_get(e, DIRECTIVE_PATCH))
			continue;
		while (at < json_array_size(order) &&
		       !same_element(json_array_get(order, at), e, key))
			at++;
		if (at++ < json_array_size(order))
			continue;
		auto_strbuf p = {0}, o = {0};
		go_print(&p, patch, 0);
		go_print(&o, order, 0);
		return err_set(s->err, ERR_BAD_REQUEST,
			       "The order in patch list:\n%s\n doesn't match $setElementOrder "
			       "list:\n%s\n",
			       p.s, o.s);
	}
	return 0;
}

/* One $setElementOrder/<name>: merges list <name> and reorders it. */
static int apply_order(struct smp *s, const struct message *m, json_t *orig, json_t *patch,
		       const char *name, const json_t *order)
{
	const struct field *f = m ? message_field(m, name) : NULL;
	const char *key = f ? f->smp_key : NULL;
	json_t *live = json_object_get(orig, name), *add = json_object_get(patch, name);
	json_auto_t *merged = NULL;

	if (json_is_null(add)) {
		json_object_del(orig, name);
		json_object_del(patch, name);
		return 0;
	}
	if ((live && !json_is_array(live)) || (add && !json_is_array(add)) || !json_is_array(order))
		return bad(s, "invalid patch format of setElementOrder list");
	if (spend(s, json_array_size(live) + json_array_size(add),
		  json_array_size(order) + json_array_size(live)) < 0)
		return -EINVAL;
	if (add && check_order(s, add, order, key) < 0)
		return -EINVAL;
	if (live && add)
		merged = merge_list(s, f, live, add, false);
	else if (live || add)
		merged = live ? json_incref(live) : without_directives(add);
	if (merged)
		json_object_set_new(orig, name, arrange(merged, order, live, key));
	else if (live)
		return -EINVAL;
	json_object_del(patch, name);
	return 0;
}

static int apply_orders(struct smp *s, const struct message *m, json_t *orig, json_t *patch)
{
	auto_strv names = {0};
	const char *key;
	json_t *v;

	json_object_foreach(patch, key, v)
	{
		if (str_starts(key, DIRECTIVE_ORDER))
			strv_add(&names, key);
	}
	for (size_t i = 0; i < names.n; i++) {
		json_auto_t *order = json_incref(json_object_get(patch, names.v[i]));

		json_object_del(patch, names.v[i]);
		if (apply_order(s, m, orig, patch, names.v[i] + strlen(DIRECTIVE_ORDER), order) < 0)
			return -EINVAL;
	}
	return 0;
}

/* Both sides have a value of the same JSON type under name. */
static json_t *merge_value(struct smp *s, const struct message *m, const char *name, json_t *orig,
			   json_t *patch, bool delete)
{
	const struct field *f = m ? message_field(m, name) : NULL;

	if (json_is_object(patch))
		/* A free-form map merges by key alone, below it no list has a merge key. */
		return merge_map(s, f && f->list == LIST_NONE ? f->message : NULL, orig, patch);
	if (json_is_array(patch))
		return merge_list(s, f, orig, patch, delete);
	return json_incref(patch);
}

static int merge_member(struct smp *s, const struct message *m, json_t *orig, const char *key,
			json_t *v)
{
	bool delete = str_starts(key, DIRECTIVE_DELETE);
	const char *name = delete ? key + strlen(DIRECTIVE_DELETE) : key;
	json_t *have = json_object_get(orig, name), *result;
	bool same_type = have && (json_typeof(have) == json_typeof(v));

	if (json_is_null(v)) {
		json_object_del(orig, name);
		return 0;
	}
	if (delete &&!json_is_array(v))
		return bad(s, "invalid patch format of deleteFromPrimitiveList");
	if (delete &&!same_type)
		return 0;
	if (!same_type) {
		result = without_directives(v);
		if (result)
			json_object_set_new(orig, name, result);
		else
			json_object_del(orig, name);
		return 0;
	}
	json_incref(have);
	result = merge_value(s, m, name, have, v, delete);
	json_decref(have);
	if (!result)
		return -EINVAL;
	/* {"$patch": "delete"} in a member removes the member. */
	if (json_is_object(v) && json_object_get(v, DIRECTIVE_PATCH) && !json_object_size(result)) {
		json_object_del(orig, name);
		json_decref(result);
		return 0;
	}
	json_object_set_new(orig, name, result);
	return 0;
}

/* "$patch" of a map: replace or delete. New object or NULL + error. */
static json_t *obey_directive(struct smp *s, json_t *directive, json_t *patch)
{
	const char *what = json_string_value(directive);

	if (str_eq(what, "delete"))
		return json_object();
	if (!str_eq(what, "replace")) {
		bad_patch_type(s, directive, patch);
		return NULL;
	}
	json_object_del(patch, DIRECTIVE_PATCH);
	return without_directives(patch);
}

/*
 * Merges patch (our own copy: directives are taken out of it) into orig, which is changed too.
 * Returns a new reference, or NULL + error.
 */
static json_t *merge_map(struct smp *s, const struct message *m, json_t *orig, json_t *patch)
{
	json_t *directive = json_object_get(patch, DIRECTIVE_PATCH), *v;
	const char *key;

	if (directive)
		return obey_directive(s, directive, patch);
	if (apply_retain_keys(s, orig, patch) < 0 || apply_orders(s, m, orig, patch) < 0)
		return NULL;
	json_object_foreach(patch, key, v)
	{
		if (merge_member(s, m, orig, key, v) < 0)
			return NULL;
	}
	return json_incref(orig);
}

json_t *patch_strategic(const struct message *m, const json_t *obj, const json_t *patch,
			struct err *err)
{
	struct smp s = {.budget = PATCH_MAX_COMPARISONS, .err = err};

	if (!json_is_object(patch)) {
		err_set(err, ERR_BAD_REQUEST,
			"cannot unmarshal %s into Go value of type map[string]interface {}",
			json_is_array(patch)	? "array"
			: json_is_string(patch) ? "string"
						: "number");
		return NULL;
	}
	json_auto_t *base = json_deep_copy(obj), *own = json_deep_copy(patch);
	return merge_map(&s, m, base, own);
}

/* RFC 7386 section 2, in place. Members of orig are ours alone. */
static void merge_into(json_t *orig, const json_t *patch)
{
	const char *key;
	json_t *v, *have;

	json_object_foreach((json_t *)patch, key, v)
	{
		if (json_is_null(v)) {
			json_object_del(orig, key);
			continue;
		}
		if (!json_is_object(v)) {
			json_object_set_new(orig, key, json_deep_copy(v));
			continue;
		}
		have = json_object_get(orig, key);
		if (!json_is_object(have)) {
			have = json_object();
			json_object_set_new(orig, key, have);
		}
		merge_into(have, v);
	}
}

json_t *patch_merge(const json_t *obj, const json_t *patch)
{
	json_t *out;

	if (!json_is_object(patch))
		return json_deep_copy(patch);
	out = json_is_object(obj) ? json_deep_copy(obj) : json_object();
	merge_into(out, patch);
	return out;
}
