/* SPDX-License-Identifier: Apache-2.0 */
/* The turn: its phases, deferred work and the graves. */
#include "internal.h"
#include <event2/event.h>
#include <signal.h>

struct grave {
	struct grave *next;
	void (*fn)(void *);
	void *ptr;
};

struct loop *loop_new(void)
{
	struct event_config *config = event_config_new();
	struct loop *loop = xnew(struct loop);

	if (!config)
		abort();
	event_config_set_flag(config, EVENT_BASE_FLAG_NOLOCK);
	event_config_set_flag(config, EVENT_BASE_FLAG_EPOLL_USE_CHANGELIST);
	loop->base = event_base_new_with_config(config);
	event_config_free(config);
	if (!loop->base)
		abort();
	list_init(&loop->deferred);
	list_init(&loop->later);
	list_init(&loop->draining);
	list_init(&loop->children);
	list_init(&loop->timers);
	list_init(&loop->listeners);
	tasks_init(loop);
	signal(SIGPIPE,
	       SIG_IGN); /* broken connections are errors of write(2), not of the process */
	loop_refresh(loop);
	return loop;
}

void loop_free(struct loop *loop)
{
	if (!loop)
		return;
	timer_free(loop->until);
	tasks_finish(loop); /* they may use all the rest */
	streams_abandon(loop);
	children_abandon(loop);
	loop_bury(loop);
	/* Callbacks of libevent that were put off hold references to what they are about. */
	event_base_loop(loop->base, EVLOOP_NONBLOCK);
	loop_bury(loop); /* what these closed */
	do {
		tasks_finish(loop);
		loop_bury(loop);
	} while (!list_empty(&loop->retired) || !list_empty(&loop->tasks));
	event_base_free(loop->base);
	work_cancel(&loop->task_work);
	work_cancel(&loop->bury_work);
	breath_keeper(NULL, NULL);
	free(loop);
}

void loop_refresh(struct loop *loop)
{
	loop->now = mono_now();
}

mono_t loop_now(const struct loop *loop)
{
	return loop->now;
}

int loop_poll(struct loop *loop)
{
	int flags = EVLOOP_ONCE | EVLOOP_NO_EXIT_ON_EMPTY;

	if (!list_empty(&loop->deferred) || !list_empty(&loop->later))
		flags |= EVLOOP_NONBLOCK;
	if (event_base_loop(loop->base, flags) < 0)
		return -EIO;
	loop->turns++;
	loop_refresh(loop);
	return 0;
}

uint64_t loop_turns(const struct loop *loop)
{
	return loop->turns;
}

void work_init(struct work *w, void (*fn)(void *), void *arg)
{
	list_init(&w->node);
	w->fn = fn;
	w->arg = arg;
}

bool work_queued(const struct work *w)
{
	return !list_empty(&w->node);
}

void work_queue(struct loop *loop, struct work *w)
{
	if (!work_queued(w))
		list_add_tail(&loop->deferred, &w->node);
}

void work_queue_next(struct loop *loop, struct work *w)
{
	if (!work_queued(w))
		list_add_tail(&loop->later, &w->node);
}

void work_cancel(struct work *w)
{
	list_del(&w->node);
}

void loop_deferred(struct loop *loop, uint64_t budget_us)
{
	mono_t end = mono_add(mono_now(), budget_us);

	list_foreach (&loop->later, w, struct work, node) {
		list_del(&w->node);
		list_add_tail(&loop->deferred, &w->node);
	}
	while (!list_empty(&loop->deferred)) {
		struct work *w = list_entry(loop->deferred.next, struct work, node);

		list_del(&w->node);
		w->fn(w->arg);
		if (!mono_before(mono_now(), end))
			break;
	}
}

void loop_free_later(struct loop *loop, void (*fn)(void *), void *ptr)
{
	struct grave *g = xnew(struct grave);

	*g = (struct grave){loop->graves, fn, ptr};
	loop->graves = g;
}

void loop_bury(struct loop *loop)
{
	while (loop->graves) {
		struct grave *g = loop->graves;

		loop->graves = g->next;
		g->fn(g->ptr);
		free(g);
	}
	retired_bury(loop);
	turn_note(loop);
}

int loop_once(struct loop *loop)
{
	int r;

	loop_refresh(loop);
	r = loop_poll(loop);
	loop_deferred(loop, 10 * USEC_PER_MSEC);
	loop_bury(loop);
	return r;
}

static void on_expired(void *arg)
{
	((struct loop *)arg)->expired = true;
}

int loop_run_until(struct loop *loop, const bool *flag, uint64_t timeout_us)
{
	int r = 0;

	loop->expired = false;
	if (timeout_us && !loop->until)
		loop->until = timer_new(loop, on_expired, loop);
	if (timeout_us)
		timer_arm(loop->until, timeout_us);
	while (r == 0 && !*flag && !loop->expired)
		r = loop_once(loop);
	if (timeout_us)
		timer_disarm(loop->until);
	return r < 0 ? r : *flag ? 0 : -ETIMEDOUT;
}

void loop_dump(struct loop *loop)
{
	auto_free char *text = NULL;
	auto_file FILE *f = NULL;
	size_t len;

	f = open_memstream(&text, &len);
	if (!f)
		return;
	event_base_dump_events(loop->base, f);
	fflush(f);
	log_info("loop: %llu turns, %d events", (unsigned long long)loop->turns,
		 event_base_get_num_events(loop->base, EVENT_BASE_COUNT_ADDED));
	for (char *save = NULL, *line = strtok_r(text, "\n", &save); line;
	     line = strtok_r(NULL, "\n", &save))
		log_info("loop: %s", line);
}
