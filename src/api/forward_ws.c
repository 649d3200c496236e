/* SPDX-License-Identifier: Apache-2.0 */
/*
 * portforward in messages of a WebSocket: one connection for each port that the request names, with
 * two channels, 2*i for its data and 2*i+1 for what went wrong. Both begin with the port, as two
 * bytes, the lower first.
 */
#include "forward.h"

#define LINGER_US (10 * USEC_PER_SEC)

struct socket {
	struct forward f; /* first member */
	struct ws *ws;
	const struct ws_protocol *protocol;
	struct ws_reader reader;
	struct timer *linger;
	uint16_t *ports;
	size_t n_ports;
};

struct channel_pair {
	struct connection c; /* first member */
	unsigned data;	     /* the channel; errors go on the next one */
};

static void send_on(struct connection *c, unsigned further, const void *data, size_t len)
{
	struct socket *s = (struct socket *)c->forward;

	ws_channel_send(s->ws, s->protocol->base64, ((struct channel_pair *)c)->data + further,
			data, len);
}

static void pair_data(struct connection *c, const void *data, size_t len)
{
	send_on(c, 0, data, len);
}

/* When the last connection is over the session is. */
static void pair_end(struct connection *c, const char *text)
{
	struct socket *s = (struct socket *)c->forward;

	if (text)
		send_on(c, 1, text, strlen(text));
	if (s->f.closed || s->f.n_connections)
		return;
	ws_finish(s->ws, WS_NORMAL, "");
	timer_arm(s->linger, LINGER_US);
}

static size_t socket_backlog(const struct forward *f)
{
	return ws_backlog(((const struct socket *)f)->ws);
}

static void socket_pause(struct forward *f, bool pause)
{
	ws_pause(((struct socket *)f)->ws, pause);
}

static void socket_close(struct forward *f, const char *why)
{
	struct socket *s = (struct socket *)f;

	timer_free(s->linger);
	free(s->ports);
	ws_close(s->ws, WS_GOING_AWAY, why);
}

static const struct forward_way socket_way = {
	.data = pair_data,
	.end = pair_end,
	.backlog = socket_backlog,
	.pause = socket_pause,
	.close = socket_close,
};

static void take(void *arg, int channel, const void *data, size_t len)
{
	struct socket *s = arg;

	list_foreach (&s->f.connections, c, struct connection, node)
		if (len && ((struct channel_pair *)c)->data == (unsigned)channel)
			connection_write(c, data, len);
}

static void on_piece(void *arg, const void *data, size_t len, unsigned flags)
{
	struct socket *s = arg;

	if (ws_reader_take(&s->reader, data, len, flags, take, s) < 0)
		forward_close(&s->f, "malformed message");
}

static void on_drain(void *arg)
{
	forward_drained(arg);
}

static void on_close(void *arg, const char *why)
{
	forward_close(arg, why);
}

static const struct ws_ops ws_ops = {
	.on_piece = on_piece, .on_drain = on_drain, .on_close = on_close};

static void on_linger(void *arg)
{
	forward_close(arg, "the client does not hang up");
}

/* All pairs are there before the first can fail. */
static void start(struct socket *s)
{
	for (size_t i = 0; i < s->n_ports; i++) {
		struct channel_pair *p = xnew(struct channel_pair);
		unsigned char port[2] = {(unsigned char)s->ports[i],
					 (unsigned char)(s->ports[i] >> 8)};

		p->data = (unsigned)(2 * i);
		connection_init(&p->c, &s->f, s->ports[i]);
		send_on(&p->c, 0, port, sizeof(port));
		send_on(&p->c, 1, port, sizeof(port));
	}
	list_foreach (&s->f.connections, c, struct connection, node)
		connection_dial(c);
}

void forward_over_ws(struct call *c, const struct ws_protocol *protocol, const uint16_t *ports,
		     size_t n_ports)
{
	struct loop *loop = c->api->loop;
	struct socket *s = xnew(struct socket);

	forward_init(&s->f, &socket_way, c);
	s->protocol = protocol;
	s->reader.base64 = protocol->base64;
	s->ports = xcalloc(n_ports, sizeof(*ports));
	memcpy(s->ports, ports, n_ports * sizeof(*ports));
	s->n_ports = n_ports;
	s->linger = timer_new(loop, on_linger, s);
	s->ws = ws_new(loop, call_upgrade(c, "websocket"), &ws_ops, s);
	forward_start(&s->f);
	start(s);
}
