/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The ring of recent changes, and watches: cursors into it. A change queues the watches it
 * concerns; they read the ring in the deferred phase, a few changes at a time.
 */
#include "internal.h"
#include <inttypes.h>

#define DEFAULT_EVENTS 2048
#define DEFAULT_BYTES (4U << 20)
/* Changes told to one watch before the others get their turn. */
#define SLICE 32

struct store_watch {
	struct list node; /* in store->watches */
	struct store *store;
	const struct kind *kind; /* NULL: all */
	uint64_t cursor;	 /* number of the next change to look at */
	uint64_t since;		 /* may lie in the future */
	uint64_t told;
	store_watch_fn *fn;
	store_watch_lost_fn *lost_fn;
	void *arg;
	struct work work;
	bool paused, lost, dead;
	bool ending; /* lost as soon as it is up to date */
};

void history_init(struct store *s, size_t events, size_t bytes)
{
	struct history *h = &s->history;

	h->cap = events ? events : DEFAULT_EVENTS;
	h->max_bytes = bytes ? bytes : DEFAULT_BYTES;
	h->ring = xcalloc(h->cap, sizeof(*h->ring));
	list_init(&s->watches);
}

static struct change *change_at(const struct history *h, uint64_t n)
{
	return &h->ring[n % h->cap];
}

static size_t change_size(const struct change *c)
{
	/* old is the obj of an earlier change, or of the state before the ring began. */
	return c->obj->len + sizeof(struct stored);
}

static bool concerns(const struct store_watch *w, const struct change *c)
{
	return !w->kind || kind_same(w->kind, c->obj->kind);
}

/* Forgets the oldest change. Who still had to be told of it is lost. */
static void forget_first(struct store *s)
{
	struct history *h = &s->history;
	struct change *c = change_at(h, h->first);

	list_foreach (&s->watches, w, struct store_watch, node) {
		if (w->cursor > h->first)
			continue;
		w->cursor = h->first + 1;
		if (concerns(w, c) && !w->lost) {
			w->lost = true;
			work_queue(s->loop, &w->work);
		}
	}
	h->bytes -= change_size(c);
	h->floor = c->obj->rev;
	h->first++;
	object_unref_later(s, c->obj);
	object_unref_later(s, c->old);
}

void history_add(struct store *s, enum store_event_type type, const struct object *obj,
		 const struct object *old)
{
	struct history *h = &s->history;
	struct change *c;

	if (h->next - h->first == h->cap)
		forget_first(s);
	c = change_at(h, h->next++);
	*c = (struct change){object_ref(obj), old ? object_ref(old) : NULL, loop_now(s->loop).us,
			     type};
	h->bytes += change_size(c);
	while (h->bytes > h->max_bytes && h->next - h->first > 1)
		forget_first(s);
	list_foreach (&s->watches, w, struct store_watch, node) {
		if (!concerns(w, c)) {
			if (w->cursor == h->next - 1) /* it is up to date and stays so */
				w->cursor = h->next;
		} else if (!w->paused && !w->lost) {
			work_queue(s->loop, &w->work);
		}
	}
	store_touch(s);
}

bool history_trim(struct store *s, size_t keep_bytes, uint64_t max_age_us)
{
	struct history *h = &s->history;

	while (h->bytes > keep_bytes && h->first < h->next) {
		mono_t at = {change_at(h, h->first)->at_us};

		if (mono_sub(loop_now(s->loop), at) < max_age_us)
			return true;
		forget_first(s);
	}
	return false;
}

void history_free(struct store *s)
{
	struct history *h = &s->history;

	list_foreach (&s->watches, w, struct store_watch, node)
		store_watch_free(w);
	for (; h->first < h->next; h->first++) {
		object_unref(change_at(h, h->first)->obj);
		object_unref(change_at(h, h->first)->old);
	}
	free(h->ring);
}

/* ---- watches ---------------------------------------------------------------------------- */

uint64_t history_above(const struct history *h, uint64_t rev)
{
	uint64_t lo = h->first, hi = h->next;

	while (lo < hi) {
		uint64_t mid = lo + (hi - lo) / 2;

		if (change_at(h, mid)->obj->rev <= rev)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

static void tell_lost(struct store_watch *w)
{
	store_watch_lost_fn *fn = steal_ptr(w->lost_fn);

	w->paused = true;
	if (fn)
		fn(w->arg);
}

static void deliver(void *arg)
{
	struct store_watch *w = arg;
	struct history *h = &w->store->history;

	for (int n = 0; n < SLICE && !w->dead && !w->lost && !w->paused && w->cursor < h->next;) {
		const struct change *c = change_at(h, w->cursor++);
		struct store_event ev;

		if (!concerns(w, c) || c->obj->rev <= w->since)
			continue;
		/* By value: the callback may write, and the ring move on. */
		ev = (struct store_event){c->type, c->obj->rev, c->obj, c->old};
		if (w->kind) {
			ev.obj = object_as(c->obj, w->kind);
			ev.old = object_as(ev.old, w->kind);
		}
		n++;
		w->told++;
		if (!w->fn(w->arg, &ev))
			w->paused = true;
	}
	if (w->dead)
		return;
	if (w->lost || (w->ending && w->cursor >= h->next))
		tell_lost(w);
	else if (!w->paused && w->cursor < h->next)
		work_queue(w->store->loop, &w->work);
}

struct store_watch *store_watch_new(struct store *s, const struct kind *k, uint64_t since,
				    store_watch_fn *fn, store_watch_lost_fn *lost, void *arg,
				    struct err *err)
{
	struct store_watch *w;

	if (since < s->history.floor) {
		err_set(err, ERR_EXPIRED, "too old resource version: %" PRIu64 " (%" PRIu64 ")",
			since, s->history.floor);
		return NULL;
	}
	w = xnew(struct store_watch);
	w->store = s;
	w->kind = kind_ref(k);
	w->since = since;
	w->cursor = history_above(&s->history, since);
	w->fn = fn;
	w->lost_fn = lost;
	w->arg = arg;
	work_init(&w->work, deliver, w);
	list_add_tail(&s->watches, &w->node);
	if (w->cursor < s->history.next)
		work_queue(s->loop, &w->work);
	return w;
}

uint64_t store_watch_rev(const struct store_watch *w)
{
	const struct history *h = &w->store->history;
	uint64_t told = w->cursor < h->next ? change_at(h, w->cursor)->obj->rev - 1 : w->store->rev;

	return told > w->since ? told : w->since;
}

void watches_end_unserved(struct store *s)
{
	list_foreach (&s->watches, w, struct store_watch, node) {
		if (!w->kind || w->ending || kind_is_served(w->kind))
			continue;
		w->ending = true;
		if (!w->paused)
			work_queue(s->loop, &w->work);
	}
}

void store_watch_resume(struct store_watch *w)
{
	if (!w->paused || w->lost)
		return;
	w->paused = false;
	work_queue(w->store->loop, &w->work);
}

void store_watch_free(struct store_watch *w)
{
	if (!w || w->dead)
		return;
	w->dead = true;
	work_cancel(&w->work);
	kind_unref(w->kind);
	list_del(&w->node);
	loop_free_later(w->store->loop, free, w);
}

void watches_show(void *arg, json_t *rows)
{
	struct store *s = arg;

	list_foreach (&s->watches, w, struct store_watch, node) {
		json_t *row = json_object();

		json_put_str(row, "kind", w->kind ? w->kind->kind : "*");
		json_put_int(row, "told", (json_int_t)w->told);
		json_put_int(row, "behind", (json_int_t)(s->history.next - w->cursor));
		json_put_str(row, "state", w->lost ? "lost" : w->paused ? "paused" : "live");
		json_array_append_new(rows, row);
	}
}
