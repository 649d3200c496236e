/* SPDX-License-Identifier: Apache-2.0 */
/* Answers made while the client reads: one that reads nothing for long gets no more. */
#include "internal.h"

#define STALL_US (60 * USEC_PER_SEC)

static void on_stall(void *arg)
{
	struct stall *s = arg;
	struct call *c = s->call;

	if (http_respond_backlog(c->req) < s->backlog) { /* slow, but it reads */
		stall_wait(s, c);
		return;
	}
	http_abort(c->req, "the client does not read");
	c->on_gone(c);
}

void stall_wait(struct stall *s, struct call *c)
{
	s->call = c;
	if (!s->timer)
		s->timer = timer_new(c->api->loop, on_stall, s);
	s->backlog = http_respond_backlog(c->req);
	timer_arm(s->timer, STALL_US);
}

void stall_over(struct stall *s)
{
	if (s->timer)
		timer_disarm(s->timer);
}

void stall_done(struct stall *s)
{
	timer_free(s->timer);
	s->timer = NULL;
}
