/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The store's own interest in CustomResourceDefinitions: which kinds there are follows from the
 * definitions it holds, at the start as well as with every write, also with one that is taken back.
 * When a schema changes, the objects in memory are brought into its form at once, under the same
 * revision, as if they were read from a disk by the new schema. The file follows with the next
 * write of each object, or lazily when they are stored in another version now; a start does the
 * same again for those that are older than their definition.
 */
#include "internal.h"

static bool definition(void *arg, const char *name, const char **text, size_t *len)
{
	const struct object *o = index_find(arg, &kind_customresourcedefinition, "", name);

	if (!o)
		return false;
	*text = o->text;
	*len = o->len;
	return true;
}

void customs_open(struct store *s)
{
	custom_source(definition, s);
}

void customs_close(void)
{
	custom_source(NULL, NULL);
}

static struct stored *settled(struct store *s, const struct kind *k, const struct object *o)
{
	json_auto_t *obj = object_dup(o);
	struct object_parts p = {k, o->ns, o->name, o->uid, o->text, o->len, o->rev};

	if (obj && custom_settle(k, obj))
		return stored_from_json(s, k, obj, o->rev, stored_of(o)->id, stored_of(o)->flags);
	return stored_new(s, &p, stored_of(o)->id, stored_of(o)->flags);
}

/* Brings the objects of a kind that are older than revision `below` into the kind's form. */
static void settle(struct store *s, const struct kind *k, uint64_t below)
{
	struct kind_index *x = k ? index_of(s, k) : NULL;

	for (size_t i = 0; x && i < x->n; i++) {
		const struct object *old = x->v[i];
		struct stored *o;

		if (old->kind == k && old->rev >= below)
			continue;
		o = settled(s, k, old);
		if (old->kind != k) { /* the former version may be taken out one day */
			o->flags |= STORED_LAZY;
			op_add(s, old, &o->pub, STORE_LAZY, NULL, NULL);
		}
		index_change(s, old, &o->pub);
		map_put(&s->by_uid, o->pub.uid, &o->pub);
		object_unref_later(s, old);
	}
	if (x)
		x->kind = k;
}

void customs_settle_all(struct store *s)
{
	struct store_iter it = store_iter(s, &kind_customresourcedefinition, NULL);
	const struct object *crd;

	while ((crd = store_next(&it))) {
		int index = custom_index(crd->name);

		if (index >= 0)
			settle(s, kind_at((size_t)index), crd->rev);
	}
}

void customs_follow(struct store *s, const struct object *crd, bool gone, bool loading)
{
	json_auto_t *head = NULL;
	auto_err err = {0};
	bool changed;

	if (crd->kind != &kind_customresourcedefinition)
		return;
	head = custom_head(crd->text, crd->len);
	if (gone) {
		custom_del(crd->name);
	} else if (custom_put(head, &changed, &err) < 0) {
		log_warn("store: definition %s is left alone: %s", crd->name, err_message(&err));
		return;
	} else if (changed && !loading) {
		int index = custom_index(crd->name);

		if (index >= 0)
			settle(s, kind_at((size_t)index), UINT64_MAX);
	}
	watches_end_unserved(s);
}
