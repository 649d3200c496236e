/* SPDX-License-Identifier: Apache-2.0 */
/* A sorted array per kind. Inserting moves pointers, which is nothing at the size of one host. */
#include "internal.h"

struct kind_index *index_of(const struct store *s, const struct kind *k)
{
	return k->index < s->n_kinds && s->kinds[k->index].kind ? &s->kinds[k->index] : NULL;
}

static struct kind_index *index_make(struct store *s, const struct kind *k)
{
	if (k->index >= s->n_kinds) {
		s->kinds = xrealloc(s->kinds, k->index + 1U, sizeof(*s->kinds));
		memset(s->kinds + s->n_kinds, 0, (k->index + 1U - s->n_kinds) * sizeof(*s->kinds));
		s->n_kinds = k->index + 1U;
	}
	s->kinds[k->index].kind = k;
	return &s->kinds[k->index];
}

static int key_cmp(const struct object *o, const char *ns, const char *name)
{
	int r = strcmp(o->ns, ns);

	return r ? r : strcmp(o->name, name);
}

/* The first position whose key is not less than (ns, name). */
static size_t lower_bound(const struct kind_index *x, const char *ns, const char *name)
{
	size_t lo = 0, hi = x->n;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (key_cmp(x->v[mid], ns, name) < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

const struct object *index_find(const struct store *s, const struct kind *k, const char *ns,
				const char *name)
{
	const struct kind_index *x = index_of(s, k);
	size_t i;

	if (!x)
		return NULL;
	i = lower_bound(x, ns, name);
	return i < x->n && key_cmp(x->v[i], ns, name) == 0 ? x->v[i] : NULL;
}

static void index_insert(struct store *s, const struct object *o)
{
	struct kind_index *x = index_make(s, o->kind);
	size_t i = lower_bound(x, o->ns, o->name);

	if (x->n == x->cap) {
		x->cap = x->cap ? x->cap + x->cap / 2 : 8;
		x->v = xrealloc(x->v, x->cap, sizeof(const struct object *));
	}
	memmove(x->v + i + 1, x->v + i, (x->n - i) * sizeof(const struct object *));
	x->v[i] = o;
	x->n++;
	x->bytes += o->len;
}

void index_change(struct store *s, const struct object *old, const struct object *new_)
{
	struct kind_index *x;
	size_t i;

	if (!old) {
		index_insert(s, new_);
		return;
	}
	x = index_of(s, old->kind);
	i = lower_bound(x, old->ns, old->name);
	x->bytes -= old->len;
	if (new_) {
		x->v[i] = new_;
		x->bytes += new_->len;
	} else {
		x->n--;
		memmove(x->v + i, x->v + i + 1, (x->n - i) * sizeof(const struct object *));
	}
}

void index_free(struct store *s)
{
	for (size_t k = 0; k < s->n_kinds; k++) {
		for (size_t i = 0; i < s->kinds[k].n; i++)
			object_unref(s->kinds[k].v[i]);
		free(s->kinds[k].v);
	}
	free(s->kinds);
}

const struct object *store_get(const struct store *s, const struct kind *k, const char *ns,
			       const char *name)
{
	const struct object *o =
		index_find(s, kind_storage(k), k->namespaced && ns ? ns : "", name);

	return object_as(customs_settled((struct store *)(uintptr_t)s, o, false), k);
}

const struct object *store_get_uid(const struct store *s, const char *uid)
{
	return map_get(&s->by_uid, uid);
}

size_t store_count(const struct store *s, const struct kind *k)
{
	const struct kind_index *x = index_of(s, kind_storage(k));

	return x ? x->n : 0;
}

struct store_iter store_iter(const struct store *s, const struct kind *k, const char *ns)
{
	struct store_iter it = {.store = s, .kind = kind_storage(k), .as = k};

	if (k->namespaced && ns)
		snprintf(it.ns, sizeof(it.ns), "%s", ns);
	return it;
}

struct store_iter store_iter_after(const struct store *s, const struct kind *k, const char *ns,
				   const char *after_ns, const char *after_name)
{
	struct store_iter it = store_iter(s, k, ns);

	snprintf(it.last_ns, sizeof(it.last_ns), "%s", after_ns ? after_ns : "");
	snprintf(it.last_name, sizeof(it.last_name), "%s", after_name);
	it.started = true;
	return it;
}

/* The position behind the last key; it is where it was, unless something was written meanwhile. */
static size_t position(const struct store_iter *it, const struct kind_index *x)
{
	size_t i = it->at;

	if (!it->started)
		return lower_bound(x, it->ns, "");
	if (i >= x->n || key_cmp(x->v[i], it->last_ns, it->last_name) != 0)
		i = lower_bound(x, it->last_ns, it->last_name);
	return i < x->n && key_cmp(x->v[i], it->last_ns, it->last_name) == 0 ? i + 1 : i;
}

/* The next object of now that has not changed since the past that is looked at. */
static const struct object *next_present(const struct store_iter *it, size_t *at)
{
	const struct kind_index *x = index_of(it->store, it->kind);

	if (!x)
		return NULL;
	for (*at = position(it, x); *at < x->n; ++*at) {
		if (it->ns[0] && !streq(x->v[*at]->ns, it->ns))
			return NULL;
		if (!it->past || !past_covers(it->past, x->v[*at]))
			return x->v[*at];
	}
	return NULL;
}

/* The next object that was otherwise then. */
static const struct object *next_past(const struct store_iter *it)
{
	const struct store_past *p = it->past;
	size_t i =
		it->started ? past_bound(p, it->last_ns, it->last_name) : past_bound(p, it->ns, "");

	if (it->started && i < p->n && key_cmp(p->entries[i].key, it->last_ns, it->last_name) == 0)
		i++;
	for (; i < p->n; i++) {
		if (it->ns[0] && !streq(p->entries[i].key->ns, it->ns))
			return NULL;
		if (p->entries[i].was)
			return p->entries[i].was;
	}
	return NULL;
}

const struct object *store_next(struct store_iter *it)
{
	size_t at = 0;
	const struct object *o = next_present(it, &at);
	const struct object *old = it->past ? next_past(it) : NULL;

	if (old && (!o || key_cmp(o, old->ns, old->name) > 0))
		o = old;
	if (!o)
		return NULL;
	it->at = at;
	if (!it->started || !streq(it->last_ns, o->ns))
		snprintf(it->last_ns, sizeof(it->last_ns), "%s", o->ns);
	snprintf(it->last_name, sizeof(it->last_name), "%s", o->name);
	it->started = true;
	return it->as == it->kind ? o : object_as(o, it->as);
}
