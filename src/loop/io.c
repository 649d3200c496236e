/* SPDX-License-Identifier: Apache-2.0 */
/* Descriptors, timers and signals over libevent's events. */
#include "internal.h"
#include <event2/event.h>
#include <event2/event_struct.h>

struct io {
	struct loop *loop;
	struct event ev;
	int fd;
	unsigned what;
	io_fn *fn;
	void *arg;
};

static void io_fire(evutil_socket_t fd, short events, void *arg)
{
	struct io *io = arg;

	io->fn(io->arg, (int)fd,
	       ((events & EV_READ) ? IO_READ : 0) | ((events & EV_WRITE) ? IO_WRITE : 0));
}

struct io *io_new(struct loop *loop, int fd, unsigned what, io_fn *fn, void *arg)
{
	struct io *io = xnew(struct io);

	io->loop = loop;
	io->fd = fd;
	io->fn = fn;
	io->arg = arg;
	io_want(io, what);
	return io;
}

void io_want(struct io *io, unsigned what)
{
	if (what == io->what)
		return;
	if (io->what)
		event_del(&io->ev);
	io->what = what;
	if (!what)
		return;
	event_assign(&io->ev, io->loop->base, io->fd,
		     (short)(EV_PERSIST | (what & IO_READ ? EV_READ : 0) |
			     (what & IO_WRITE ? EV_WRITE : 0)),
		     io_fire, io);
	if (event_add(&io->ev, NULL) < 0)
		log_error("loop: cannot watch descriptor %d: %s", io->fd, strerror(errno));
}

void io_free(struct io *io)
{
	if (!io)
		return;
	io_want(io, 0);
	loop_free_later(io->loop, free, io);
}

struct timer {
	struct list node;
	struct loop *loop;
	struct event ev;
	mono_t due;
	timer_fn *fn;
	void *arg;
	const char *name;
};

static void timer_fire(evutil_socket_t fd UNUSED, short events UNUSED, void *arg)
{
	struct timer *t = arg;

	t->fn(t->arg);
}

struct timer *timer_new_named(struct loop *loop, timer_fn *fn, void *arg, const char *name)
{
	struct timer *t = xnew(struct timer);

	list_add_tail(&loop->timers, &t->node);
	t->loop = loop;
	t->fn = fn;
	t->arg = arg;
	t->name = name;
	evtimer_assign(&t->ev, loop->base, timer_fire, t);
	return t;
}

void timer_arm(struct timer *t, uint64_t after_us)
{
	struct timeval tv = {.tv_sec = (time_t)(after_us / USEC_PER_SEC),
			     .tv_usec = (suseconds_t)(after_us % USEC_PER_SEC)};

	t->due = mono_add(mono_now(), after_us);
	evtimer_add(&t->ev, &tv);
}

void timer_arm_at(struct timer *t, mono_t when)
{
	timer_arm(t, mono_sub(when, mono_now()));
}

void timer_disarm(struct timer *t)
{
	evtimer_del(&t->ev);
}

bool timer_armed(const struct timer *t)
{
	return evtimer_pending(&t->ev, NULL);
}

void timer_free(struct timer *t)
{
	if (!t)
		return;
	timer_disarm(t);
	list_del(&t->node);
	loop_free_later(t->loop, free, t);
}

void loop_show_timers(void *arg, json_t *rows)
{
	struct loop *loop = arg;
	mono_t now = mono_now();

	list_foreach (&loop->timers, t, struct timer, node) {
		if (!timer_armed(t))
			continue;
		json_t *row = json_object();
		json_put_str(row, "timer", t->name);
		json_put_strf(row, "in", "%.3fs",
			      (double)mono_sub(t->due, now) / (double)USEC_PER_SEC);
		json_array_append_new(rows, row);
	}
}

struct sig {
	struct loop *loop;
	struct event ev;
	sig_fn *fn;
	void *arg;
};

static void sig_fire(evutil_socket_t signo, short events UNUSED, void *arg)
{
	struct sig *s = arg;

	s->fn(s->arg, (int)signo);
}

struct sig *sig_new(struct loop *loop, int signo, sig_fn *fn, void *arg)
{
	struct sig *s = xnew(struct sig);

	s->loop = loop;
	s->fn = fn;
	s->arg = arg;
	evsignal_assign(&s->ev, loop->base, signo, sig_fire, s);
	evsignal_add(&s->ev, NULL);
	return s;
}

void sig_free(struct sig *s)
{
	if (!s)
		return;
	evsignal_del(&s->ev);
	loop_free_later(s->loop, free, s);
}
