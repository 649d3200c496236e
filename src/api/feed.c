/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Answers that go on for long: chunks of an HTTP answer, or messages of a WebSocket when the client
 * has asked for one. What it sends on the WebSocket is thrown away.
 */
#include "internal.h"

#define LINGER_US (10 * USEC_PER_SEC)

struct feed {
	struct ws *ws;
	const struct ws_protocol *protocol;
	struct timer *linger; /* until the client has answered our Close */
	void (*on_drain)(void *arg);
	void *drain_arg;
};

static void feed_drained(void *arg)
{
	struct call *c = arg;

	if (c->feed->on_drain)
		c->feed->on_drain(c->feed->drain_arg);
}

void feed_lost(struct call *c, const char *why)
{
	struct feed *f = steal_ptr(c->feed);

	ws_close(f->ws, WS_GOING_AWAY, why);
	timer_free(f->linger);
	loop_free_later(c->api->loop, free, f);
	if (c->on_gone)
		c->on_gone(c);
	else
		call_forget(c);
}

static void feed_closed(void *arg, const char *why)
{
	feed_lost(arg, why);
}

static const struct ws_ops feed_ops = {.on_drain = feed_drained, .on_close = feed_closed};

static void feed_timeout(void *arg)
{
	feed_lost(arg, "the client does not hang up");
}

bool call_stream(struct call *c, const char *type, const struct ws_protocol *protocols)
{
	const struct ws_protocol *protocol;

	if (!ws_requested(c->req)) {
		call_start(c, 200, type);
		return true;
	}
	if (!session_room(c))
		return false;
	protocol = ws_choose(c, protocols);
	if (!protocol)
		return false;
	c->feed = xnew(struct feed);
	c->feed->protocol = protocol;
	c->feed->linger = timer_new(c->api->loop, feed_timeout, c);
	api_count(c, 101);
	c->feed->ws = ws_new(c->api->loop, http_upgrade(c->req, "websocket"), &feed_ops, c);
	c->req = NULL;
	return true;
}

void call_send(struct call *c, const void *data, size_t len)
{
	auto_free char *text = NULL;

	if (!c->feed) {
		http_respond_chunk(c->req, data, len);
		return;
	}
	if (c->feed->protocol->base64)
		text = base64_encode(data, len);
	ws_send(c->feed->ws, text || c->feed->protocol->text,
		&(struct iovec){text ? text : (void *)(uintptr_t)data, text ? strlen(text) : len},
		1);
}

size_t call_backlog(const struct call *c)
{
	return c->feed ? ws_backlog(c->feed->ws) : http_respond_backlog(c->req);
}

void call_on_drain(struct call *c, void (*fn)(void *arg), void *arg)
{
	if (!c->feed) {
		http_respond_on_drain(c->req, fn, arg);
		return;
	}
	c->feed->on_drain = fn;
	c->feed->drain_arg = arg;
}

void call_end(struct call *c)
{
	if (!c->feed) {
		if (c->req && !c->over)
			http_respond_end(c->req);
		call_forget(c);
		return;
	}
	c->on_gone = NULL;
	c->feed->on_drain = NULL;
	ws_finish(c->feed->ws, WS_NORMAL, "");
	timer_arm(c->feed->linger, LINGER_US);
}
