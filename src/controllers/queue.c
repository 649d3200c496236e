/* SPDX-License-Identifier: Apache-2.0 */
/* Work queue of dirty keys with delays and exponential back-off. */
#include "internal.h"

#define RETRY_FIRST_US (5 * USEC_PER_MSEC)
#define RETRY_LAST_US (1000 * USEC_PER_SEC)

enum item_place { ITEM_IDLE, ITEM_READY, ITEM_DELAYED };

struct queue_item {
	struct list node; /* in queue.ready or queue.delayed */
	char *key;
	enum item_place place;
	mono_t due; /* of a delayed item */
	unsigned failures;
};

static void arm(struct queue *q)
{
	mono_t first = {UINT64_MAX};

	list_foreach (&q->delayed, i, struct queue_item, node)
		if (mono_before(i->due, first))
			first = i->due;
	if (list_empty(&q->delayed))
		timer_disarm(q->timer);
	else
		timer_arm_at(q->timer, first);
}

static void make_ready(struct queue *q, struct queue_item *i)
{
	if (i->place == ITEM_READY)
		return;
	list_del(&i->node);
	list_add_tail(&q->ready, &i->node);
	i->place = ITEM_READY;
	work_queue(q->loop, q->wake);
}

static void on_timer(void *arg)
{
	struct queue *q = arg;
	mono_t now = mono_now();

	list_foreach (&q->delayed, i, struct queue_item, node)
		if (!mono_before(now, i->due))
			make_ready(q, i);
	arm(q);
}

void queue_init(struct queue *q, struct loop *loop, struct work *wake)
{
	*q = (struct queue){.loop = loop, .wake = wake};
	list_init(&q->ready);
	list_init(&q->delayed);
	q->timer = timer_new(loop, on_timer, q);
}

static void item_free(struct queue *q, struct queue_item *i)
{
	list_del(&i->node);
	map_del(&q->items, i->key);
	free(i->key);
	free(i);
}

void queue_done(struct queue *q)
{
	size_t at = 0;
	void *item;

	while (map_next(&q->items, &at, NULL, &item))
		item_free(q, item);
	map_done(&q->items);
	timer_free(q->timer);
}

static struct queue_item *item_get(struct queue *q, const char *key)
{
	struct queue_item *i = map_get(&q->items, key);

	if (i)
		return i;
	i = xnew(struct queue_item);
	list_init(&i->node);
	i->key = xstrdup(key);
	map_put(&q->items, key, i);
	return i;
}

void queue_add(struct queue *q, const char *key)
{
	struct queue_item *i = item_get(q, key);
	bool was_delayed = i->place == ITEM_DELAYED;

	q->added++;
	make_ready(q, i);
	if (was_delayed)
		arm(q);
}

void queue_add_after(struct queue *q, const char *key, uint64_t after_us)
{
	struct queue_item *i = item_get(q, key);
	mono_t due = mono_add(mono_now(), after_us);

	if (i->place == ITEM_READY || (i->place == ITEM_DELAYED && !mono_before(due, i->due)))
		return;
	list_del(&i->node);
	list_add_tail(&q->delayed, &i->node);
	i->place = ITEM_DELAYED;
	i->due = due;
	arm(q);
}

void queue_retry(struct queue *q, const char *key)
{
	struct queue_item *i = item_get(q, key);
	uint64_t after = RETRY_LAST_US;

	if (i->failures < 18)
		after = RETRY_FIRST_US << i->failures;
	if (after > RETRY_LAST_US)
		after = RETRY_LAST_US;
	i->failures++;
	q->retried++;
	queue_add_after(q, key, after);
}

void queue_forget(struct queue *q, const char *key)
{
	struct queue_item *i = map_get(&q->items, key);

	if (!i)
		return;
	i->failures = 0;
	if (i->place == ITEM_IDLE)
		item_free(q, i);
}

char *queue_take(struct queue *q)
{
	struct queue_item *i;

	if (list_empty(&q->ready))
		return NULL;
	i = list_entry(q->ready.next, struct queue_item, node);
	list_del(&i->node);
	i->place = ITEM_IDLE;
	return xstrdup(i->key);
}

bool queue_has_ready(const struct queue *q)
{
	return !list_empty(&q->ready);
}

size_t queue_len(const struct queue *q)
{
	return q->items.n;
}
