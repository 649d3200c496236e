/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The store's own interest in CustomResourceDefinitions: which kinds there are follows from the
 * definitions it holds, at the start as well as with every write, also with one that is taken back.
 * When a schema changes, the objects in memory are brought into its form, under the same revision,
 * as if they were read from a disk by the new schema. The file follows with the next write of each
 * object, or lazily when they are stored in another version now; a start does the same again for
 * those that are older than their definition.
 *
 * How many and how large they are is up to the clients, so a task does it, one object after the
 * other; those that somebody asks for by name have not to wait for it.
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

/* What is not longer is settled for whoever asks for it, on any stack. */
#define SETTLE_AT_ONCE (16U << 10)

/* The object in the kind's form; NULL: it has it. */
static struct stored *settled(struct store *s, const struct kind *k, const struct object *o)
{
	json_auto_t *obj = object_dup(o);
	struct object_parts p = {k, o->ns, o->name, o->uid, o->text, o->len, o->rev};
	unsigned flags = stored_of(o)->flags & ~(unsigned)STORED_FORMER;

	if (obj && custom_settle(k, obj))
		return stored_from_json(s, k, obj, o->rev, stored_of(o)->id, flags);
	return o->kind == k ? NULL : stored_new(s, &p, stored_of(o)->id, flags);
}

/* o NULL: old is as it should be. */
static void settle_commit(struct store *s, const struct object *old, struct stored *o)
{
	stored_of(old)->flags &= ~(unsigned)STORED_FORMER;
	if (!o)
		return;
	o->flags |= stored_of(old)->flags; /* what has become durable meanwhile */
	if (old->kind != o->pub.kind) {	   /* the former version may be taken out one day */
		o->flags |= STORED_LAZY;
		op_add(s, old, &o->pub, STORE_LAZY, NULL, NULL);
	}
	index_change(s, old, &o->pub);
	map_put(&s->by_uid, o->pub.uid, &o->pub);
	object_unref_later(s, old);
}

/* Breathes. An object or a schema that has changed meanwhile is left for another time. */
static void settle(struct store *s, const struct object *o)
{
	const struct object *old auto_clean(object) = object_ref(o);
	const struct kind_index *x = index_of(s, old->kind);
	const struct kind *k = kind_ref(x->kind);
	unsigned form = x->form;
	struct stored *now = settled(s, k, old);

	breath_hold();
	x = index_of(s, k);
	if (x->form == form && index_find(s, k, old->ns, old->name) == old)
		settle_commit(s, old, now);
	else if (now)
		object_unref(&now->pub);
	breath_release();
	kind_unref(k);
}

const struct object *customs_settled(struct store *s, const struct object *o, bool wait)
{
	if (!o || !(stored_of(o)->flags & STORED_FORMER) ||
	    (!wait && o->len > SETTLE_AT_ONCE && !task_inside()))
		return o;
	settle(s, o);
	return index_find(s, o->kind, o->ns, o->name);
}

static const struct object *next_former(struct store *s)
{
	for (size_t k = 0; k < s->n_kinds; k++) {
		struct kind_index *x = &s->kinds[k];

		for (size_t i = 0; x->former && i < x->n; i++, x->at++) {
			x->at = x->at < x->n ? x->at : 0;
			if (stored_of(x->v[x->at])->flags & STORED_FORMER)
				return x->v[x->at];
		}
		x->former = false;
	}
	return NULL;
}

static void settle_all(void *arg)
{
	struct store *s = arg;
	const struct object *o;

	while (!s->closing && (o = next_former(s))) {
		settle(s, o);
		breathe_deep();
	}
}

static void settle_start(void *arg)
{
	struct store *s = arg;
	const struct object *o = next_former(s);

	if (o)
		task_start_now(s->loop, &s->settle_task, o->len);
}

void customs_open(struct store *s)
{
	custom_source(definition, s);
	work_init(&s->settle_work, settle_start, s);
	task_init(&s->settle_task, settle_all, s);
}

void customs_close(struct store *s)
{
	work_cancel(&s->settle_work);
	if (!task_cancel(s->loop, &s->settle_task))
		tasks_finish(s->loop);
	custom_source(NULL, NULL);
}

/* Marks the objects of a kind that are older than revision `below`: they lack the kind's form. */
static void settle_later(struct store *s, const struct kind *k, uint64_t below)
{
	struct kind_index *x = k ? index_of(s, k) : NULL;

	if (!x)
		return;
	for (size_t i = 0; i < x->n; i++) {
		if (x->v[i]->kind == k && x->v[i]->rev >= below)
			continue;
		stored_of(x->v[i])->flags |= STORED_FORMER;
		x->former = true;
	}
	x->form++;
	x->kind = k;
	if (x->former)
		work_queue_next(s->loop, &s->settle_work);
}

void customs_settle_all(struct store *s)
{
	struct store_iter it = store_iter(s, &kind_customresourcedefinition, NULL);
	const struct object *crd;

	while ((crd = store_next(&it))) {
		int index = custom_index(crd->name);

		if (index >= 0)
			settle_later(s, kind_at((size_t)index), crd->rev);
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
			settle_later(s, kind_at((size_t)index), UINT64_MAX);
	}
	watches_end_unserved(s);
}
