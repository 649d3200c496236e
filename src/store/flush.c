/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Between memory and the writer: what is not durable yet, and taking back what the disk refused.
 *
 * Wishes wait in `durable` for the next batch; lazy ones ride along or go after a minute, and until
 * then stand in the volatile file, so that a crash of the daemon loses none. Volatile rows go with
 * whatever batch comes next.
 */
#include "internal.h"
#include <inttypes.h>

#define LAZY_US (60 * USEC_PER_SEC)
/* While in trouble one durable write a second is let through to see whether it has passed. */
#define RETRY_US USEC_PER_SEC

static void on_lazy(void *arg)
{
	((struct store *)arg)->q.lazy_due = true; /* the flush phase of this turn takes them */
}

void queues_init(struct store *s)
{
	list_init(&s->q.durable);
	list_init(&s->q.lazy);
	s->q.lazy_timer = timer_new(s->loop, on_lazy, s);
}

/* before and after are kept until the turn ends: what came out of the store is borrowed so long. */
static void op_free(struct store *s, struct op *op)
{
	list_del(&op->node);
	object_unref_later(s, op->before);
	object_unref_later(s, op->after);
	free(op);
}

static void ops_free(struct store *s, struct list *ops)
{
	list_foreach (ops, op, struct op, node)
		op_free(s, op);
}

void queues_free(struct store *s)
{
	ops_free(s, &s->q.durable);
	ops_free(s, &s->q.lazy);
	for (size_t i = 0; i < s->q.n_volatile_rows; i++)
		object_unref_later(s, s->q.volatile_rows[i].obj);
	free(s->q.volatile_rows);
	timer_free(s->q.lazy_timer);
	free(s->q.trouble);
}

/* ---- queueing --------------------------------------------------------------------------- */

static void volatile_add(struct store *s, const struct row_write *w)
{
	struct queues *q = &s->q;

	if (!s->volatile_path)
		return;
	if (q->n_volatile_rows == q->cap_volatile_rows) {
		q->cap_volatile_rows = q->cap_volatile_rows ? q->cap_volatile_rows * 2 : 16;
		q->volatile_rows =
			xrealloc(q->volatile_rows, q->cap_volatile_rows, sizeof(*q->volatile_rows));
	}
	q->volatile_rows[q->n_volatile_rows] = *w;
	if (w->obj)
		object_ref(w->obj);
	q->n_volatile_rows++;
}

static void volatile_put(struct store *s, const struct object *o)
{
	volatile_add(s, &(struct row_write){stored_of(o)->id, o->rev, o,
					    stored_of(o)->flags & ~(unsigned)STORED_FORMER});
}

static void volatile_del(struct store *s, int64_t id)
{
	volatile_add(s, &(struct row_write){.id = id, .rev = s->rev});
}

static void lazy_wait(struct store *s)
{
	if (!timer_armed(s->q.lazy_timer))
		timer_arm(s->q.lazy_timer, LAZY_US);
}

void op_add(struct store *s, const struct object *before, const struct object *after,
	    enum store_class c, store_done_fn *done, void *arg)
{
	const struct object *any = after ? after : before;
	struct op *op;

	if (any && c != STORE_DURABLE) {
		if (after)
			volatile_put(s, after);
		else
			volatile_del(s, stored_of(before)->id);
	}
	if (c == STORE_VOLATILE && !done)
		return;
	op = xnew(struct op);
	*op = (struct op){.class = c, .done = done, .arg = arg};
	op->before = before ? object_ref(before) : NULL;
	op->after = after ? object_ref(after) : NULL;
	op->id = any ? stored_of(any)->id : 0;
	list_add_tail(c == STORE_LAZY ? &s->q.lazy : &s->q.durable, &op->node);
	s->q.n_ops++;
	if (c == STORE_LAZY)
		lazy_wait(s);
}

int trouble_check(struct store *s, enum store_class c, struct err *err)
{
	struct queues *q = &s->q;

	if (c != STORE_DURABLE || !q->trouble)
		return 0;
	if (!q->trying && mono_sub(loop_now(s->loop), q->tried_at) >= RETRY_US) {
		q->trying = true;
		q->tried_at = loop_now(s->loop);
		return 0;
	}
	return err_set(err, q->trouble_reason, "the store refuses changes: %s", q->trouble);
}

/* ---- batches ---------------------------------------------------------------------------- */

static bool writes_row(const struct op *op)
{
	return op->class != STORE_VOLATILE && (op->before || op->after);
}

/* A lazy write is void when its object has been taken back or removed since. */
static bool is_void(const struct store *s, const struct op *op)
{
	const struct object *o = op->after;
	const struct object *now = index_find(s, o->kind, o->ns, o->name);

	return !now || stored_of(now)->id != op->id;
}

static int row_cmp(const void *a, const void *b)
{
	const struct row_write *x = a, *y = b;

	if (x->id != y->id)
		return x->id < y->id ? -1 : 1;
	return x->rev < y->rev ? -1 : x->rev > y->rev;
}

/* Sorts by id and keeps the newest write to each row. */
static size_t coalesce(struct row_write *rows, size_t n, bool owned)
{
	size_t out = 0;

	if (n)
		qsort(rows, n, sizeof(*rows), row_cmp);
	for (size_t i = 0; i < n; i++) {
		if (i + 1 < n && rows[i + 1].id == rows[i].id) {
			if (owned && rows[i].obj)
				object_unref(rows[i].obj);
			continue;
		}
		rows[out++] = rows[i];
	}
	return out;
}

static void move_ops(struct list *from, struct list *to)
{
	while (!list_empty(from)) {
		struct list *node = from->next;

		list_del(node);
		list_add_tail(to, node);
	}
}

static void take_lazy(struct store *s, struct batch *b)
{
	list_foreach (&s->q.lazy, op, struct op, node)
		if (is_void(s, op) && !op->done) {
			op_free(s, op);
			s->q.n_ops--;
		}
	move_ops(&s->q.lazy, &b->ops);
	timer_disarm(s->q.lazy_timer);
	s->q.lazy_due = false;
}

static void fill_rows(struct store *s, struct batch *b)
{
	size_t n = 0;

	list_foreach (&b->ops, counted, struct op, node)
		n += writes_row(counted);
	b->rows = xcalloc(n ? n : 1, sizeof(*b->rows));
	list_foreach (&b->ops, op, struct op, node) {
		if (!writes_row(op) || (op->class == STORE_LAZY && is_void(s, op)))
			continue;
		b->rows[b->n_rows++] = (struct row_write){
			op->id, op->after ? op->after->rev : INT64_MAX, op->after, 0};
	}
	b->n_rows = coalesce(b->rows, b->n_rows, false);
}

static bool has_wish(const struct store *s)
{
	list_foreach (&s->q.durable, op, struct op, node)
		if (writes_row(op))
			return true;
	return false;
}

static uint64_t revision_to_reserve(const struct store *s)
{
	if (s->closing)
		return s->rev == s->reserved ? 0 : s->rev;
	if (s->q.trouble || s->rev + REV_BLOCK / 2 < s->reserved)
		return 0;
	return s->rev + REV_BLOCK;
}

void store_flush(struct store *s)
{
	struct queues *q = &s->q;
	uint64_t reserve = revision_to_reserve(s);
	struct batch *b;

	if (q->under_way ||
	    (list_empty(&q->durable) && !q->n_volatile_rows && !q->lazy_due && !reserve))
		return;
	b = xnew(struct batch);
	list_init(&b->ops);
	b->reserve = reserve;
	b->rev = s->rev;
	if (q->lazy_due || has_wish(s))
		take_lazy(s, b);
	move_ops(&q->durable, &b->ops);
	fill_rows(s, b);
	b->n_volatile_rows = coalesce(q->volatile_rows, q->n_volatile_rows, true);
	b->volatile_rows = steal_ptr(q->volatile_rows);
	q->n_volatile_rows = q->cap_volatile_rows = 0;
	q->under_way = true;
	writer_submit(s->writer, b);
}

/* ---- results ---------------------------------------------------------------------------- */

static void finish(struct store *s, struct op *op, const struct err *err)
{
	store_done_fn *done = s->closing ? NULL : op->done;
	void *arg = op->arg;

	s->q.n_ops--;
	op_free(s, op);
	if (done)
		done(arg, err);
}

static void on_written(struct store *s, struct batch *b)
{
	if (b->reserve)
		s->reserved = b->reserve;
	if (s->q.trouble && (b->n_rows || b->reserve)) {
		log_info("store: changes are accepted again");
		free(steal_ptr(s->q.trouble));
		s->q.trying = false;
	}
	while (!list_empty(&b->ops)) {
		struct op *op = list_entry(b->ops.next, struct op, node);

		if (op->class == STORE_LAZY && !is_void(s, op)) {
			const struct object *o = op->after;

			o = index_find(s, o->kind, o->ns, o->name);
			stored_of(o)->flags |= STORED_DURABLE;
		}
		finish(s, op, NULL);
	}
}

/* The status that was observed after the failed write stays. */
static const json_t *status_after(const struct object *now, const struct op *op)
{
	if (!now->kind->has_status || now->rev == op->after->rev)
		return NULL;
	return json_object_get(object_json(now), "status");
}

/* Undoes one write in memory and tells watchers. */
static void take_back(struct store *s, const struct op *op)
{
	const struct object *o = op->after ? op->after : op->before;
	const struct object *now = index_find(s, o->kind, o->ns, o->name);
	struct stored *back;

	if (now && stored_of(now)->id != op->id)
		return; /* made anew by a write that stands */
	if (!op->before) {
		if (!now)
			return;
		back = stored_copy(s, now, ++s->rev, NULL);
		volatile_del(s, op->id);
		store_apply(s, STORE_DELETED, now, back);
		return;
	}
	back = stored_copy(s, op->before, ++s->rev, now ? status_after(now, op) : NULL);
	volatile_put(s, &back->pub);
	store_apply(s, now ? STORE_MODIFIED : STORE_ADDED, now, back);
}

void trouble_set(struct store *s, const struct err *why)
{
	struct queues *q = &s->q;

	if (!q->trouble)
		log_error("store: changes are refused for now: %s", err_message(why));
	free(q->trouble);
	q->trouble = xstrdup(err_message(why));
	q->trouble_reason = why->reason;
	q->tried_at = loop_now(s->loop);
	q->trying = false;
}

/*
 * What was queued since stands on what failed, so it fails with it: newest first. Lazy writes have
 * been promised to nobody and wait for better times.
 */
static void on_failed(struct store *s, struct batch *b)
{
	struct list failed;
	auto_err err = {0};

	trouble_set(s, &b->err);
	err_set(&err, s->q.trouble_reason, "the change could not be stored and was taken back: %s",
		s->q.trouble);
	list_init(&failed);
	move_ops(&b->ops, &failed);
	move_ops(&s->q.durable, &failed);
	for (struct list *node = failed.prev, *prev; node != &failed; node = prev) {
		struct op *op = list_entry(node, struct op, node);

		prev = node->prev;
		if (op->class == STORE_LAZY) {
			list_del(node);
			list_add_head(&s->q.lazy, node);
			lazy_wait(s);
		} else if (writes_row(op)) {
			take_back(s, op);
		}
	}
	while (!list_empty(&failed)) {
		struct op *op = list_entry(failed.next, struct op, node);

		finish(s, op, op->class == STORE_VOLATILE ? NULL : &err);
	}
}

void on_batch_done(void *arg, struct batch *b)
{
	struct store *s = arg;

	s->q.under_way = false;
	if (b->error < 0)
		on_failed(s, b);
	else
		on_written(s, b);
	batch_free(b);
}

void flush_everything(struct store *s)
{
	s->closing = true;
	for (int round = 0; round < 2; round++) {
		if (s->q.under_way)
			on_batch_done(s, writer_wait(s->writer));
		s->q.lazy_due = !list_empty(&s->q.lazy);
		store_flush(s);
	}
	if (s->q.under_way)
		on_batch_done(s, writer_wait(s->writer));
}
