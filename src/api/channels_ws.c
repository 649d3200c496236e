/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Channels as messages of a WebSocket, which begin with the channel's number. The first protocol
 * tells only of failures, and as text; the fifth lets the client close channels.
 */
#include "channels.h"

#define CLOSE_CHANNEL 255

struct socket {
	struct channels c; /* first member */
	struct ws *ws;
	const struct ws_protocol *protocol;
	struct ws_reader reader;
};

static const struct ws_protocol protocols[] = {
	{"v5.channel.k8s.io", false, 5, false},
	{"v4.channel.k8s.io", false, 4, false},
	{"v4.base64.channel.k8s.io", true, 4, false},
	{"channel.k8s.io", false, 1, false},
	{"base64.channel.k8s.io", true, 1, false},
	{"", false, 1, false},
	{NULL, false, 0, false},
};

static void socket_write(struct channels *c, enum channel ch, const void *data, size_t len)
{
	struct socket *s = (struct socket *)c;

	ws_channel_send(s->ws, s->protocol->base64, ch, data, len);
}

static size_t socket_backlog(const struct channels *c)
{
	return ws_backlog(((const struct socket *)c)->ws);
}

static void socket_pause(struct channels *c, bool pause)
{
	ws_pause(((struct socket *)c)->ws, pause);
}

static void socket_finish(struct channels *c, const char *status, size_t len, const char *message)
{
	struct socket *s = (struct socket *)c;

	if (s->protocol->version >= 4)
		socket_write(c, CH_ERROR, status, len);
	else if (message)
		socket_write(c, CH_ERROR, message, strlen(message));
	ws_finish(s->ws, WS_NORMAL, "");
}

static void socket_close(struct channels *c, const char *why)
{
	struct socket *s = (struct socket *)c;

	ws_close(s->ws, WS_GOING_AWAY, why);
	loop_free_later(c->loop, free, s);
}

static const struct channels_way socket_way = {
	.write = socket_write,
	.backlog = socket_backlog,
	.pause = socket_pause,
	.finish = socket_finish,
	.close = socket_close,
};

static void take(void *arg, int channel, const void *data, size_t len)
{
	struct socket *s = arg;
	struct channels *c = &s->c;

	if (c->closed || len == 0)
		return;
	if (channel == CLOSE_CHANNEL) {
		if (s->protocol->version >= 5 && *(const unsigned char *)data == CH_STDIN)
			c->ops->on_fin(c->arg, CH_STDIN);
	} else if ((channel == CH_STDIN || channel == CH_RESIZE) && c->wanted[channel]) {
		c->ops->on_data(c->arg, (enum channel)channel, data, len);
	}
}

static void on_piece(void *arg, const void *data, size_t len, unsigned flags)
{
	struct socket *s = arg;

	if (ws_reader_take(&s->reader, data, len, flags, take, s) < 0)
		channels_lost(&s->c, "malformed message");
}

static void on_drain(void *arg)
{
	struct channels *c = arg;

	c->ops->on_drain(c->arg);
}

static void on_close(void *arg, const char *why)
{
	channels_lost(arg, why);
}

static const struct ws_ops ws_ops = {
	.on_piece = on_piece, .on_drain = on_drain, .on_close = on_close};

/* There is nothing to wait for. An empty message tells the client so, as upstream does. */
static void ready(void *arg)
{
	struct channels *c = arg;
	enum channel ch = CH_STDOUT;

	while (ch < CH_ERROR && !c->wanted[ch])
		ch++;
	socket_write(c, ch, "", 0);
	c->ops->on_ready(c->arg);
}

struct channels *channels_ws_open(struct call *call)
{
	struct loop *loop = call->api->loop;
	const struct ws_protocol *protocol = ws_choose(call, protocols);

	if (!protocol)
		return NULL;
	struct socket *s = xnew(struct socket);

	channels_init(&s->c, &socket_way, loop, ready);
	s->protocol = protocol;
	s->reader.base64 = protocol->base64;
	s->ws = ws_new(loop, call_upgrade(call, "websocket"), &ws_ops, s);
	work_queue(loop, &s->c.ready);
	return &s->c;
}
