/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A kind as it was at an earlier revision: what is there now, and over it what the changes since
 * then replaced. Pages of one list, asked for minutes apart, so show one state, and nothing has to
 * be kept for a client that may never come back for the next page.
 */
#include "internal.h"
#include <inttypes.h>

static int compare(const void *a, const void *b)
{
	const struct past_entry *x = a, *y = b;
	int r = strcmp(x->key->ns, y->key->ns);

	if (r == 0)
		r = strcmp(x->key->name, y->key->name);
	return r ? r : (x->order > y->order) - (x->order < y->order);
}

static bool same_key(const struct past_entry *a, const struct past_entry *b)
{
	return streq(a->key->ns, b->key->ns) && streq(a->key->name, b->key->name);
}

/* Of several changes to one object the first one knows how it was. */
static void keep_first(struct store_past *p)
{
	size_t n = 0;

	qsort(p->entries, p->n, sizeof(*p->entries), compare);
	for (size_t i = 0; i < p->n; i++) {
		if (n && same_key(&p->entries[n - 1], &p->entries[i])) {
			object_unref(p->entries[i].key);
			object_unref(p->entries[i].was);
		} else {
			p->entries[n++] = p->entries[i];
		}
	}
	p->n = n;
}

struct store_past *store_past_new(const struct store *s, const struct kind *k, uint64_t rev,
				  struct err *err)
{
	const struct history *h = &s->history;
	struct store_past *p;

	if (rev < h->floor) {
		err_set(err, ERR_EXPIRED, "too old resource version: %" PRIu64 " (%" PRIu64 ")",
			rev, h->floor);
		return NULL;
	}
	p = xnew(struct store_past);
	uint64_t first = history_above(h, rev);

	if (first < h->next)
		p->entries = xcalloc((size_t)(h->next - first), sizeof(*p->entries));
	for (uint64_t n = first; n < h->next; n++) {
		const struct change *c = &h->ring[n % h->cap];

		if (kind_same(c->obj->kind, k))
			p->entries[p->n++] =
				(struct past_entry){object_ref(c->obj), object_ref(c->old), n};
	}
	if (p->n)
		keep_first(p);
	return p;
}

void store_past_free(struct store_past *p)
{
	if (!p)
		return;
	for (size_t i = 0; i < p->n; i++) {
		object_unref(p->entries[i].key);
		object_unref(p->entries[i].was);
	}
	free(p->entries);
	free(p);
}

size_t past_bound(const struct store_past *p, const char *ns, const char *name)
{
	size_t lo = 0, hi = p->n;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;
		const struct object *key = p->entries[mid].key;
		int r = strcmp(key->ns, ns);

		if ((r ? r : strcmp(key->name, name)) < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

bool past_covers(const struct store_past *p, const struct object *o)
{
	size_t i = past_bound(p, o->ns, o->name);

	return i < p->n && streq(p->entries[i].key->ns, o->ns) &&
	       streq(p->entries[i].key->name, o->name);
}
