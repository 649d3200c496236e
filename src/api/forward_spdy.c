/* SPDX-License-Identifier: Apache-2.0 */
/*
 * portforward over SPDY, bare or tunnelled in a WebSocket: for every connection the client opens an
 * error and a data stream with the same port and requestid.
 */
#include "forward.h"

#define CONNECTIONS_MAX 256

struct session {
	struct forward f; /* first member */
	struct spdy *spdy;
};

/* A connection, from the first of its two streams on. */
struct pair {
	struct connection c; /* first member */
	char id[64];
	struct spdy_stream *error, *data;
	struct work start; /* behind on_stream(): the client has its SYN_REPLY first */
};

/* ---- the way ----------------------------------------------------------------------------- */

static void pair_data(struct connection *c, const void *data, size_t len)
{
	struct pair *p = (struct pair *)c;

	if (p->data)
		spdy_write(p->data, data, len);
}

static void pair_end(struct connection *c, const char *text)
{
	struct pair *p = (struct pair *)c;

	work_cancel(&p->start);
	if (text && p->error)
		spdy_write(p->error, text, strlen(text));
	if (p->data)
		spdy_fin(steal_ptr(p->data));
	if (p->error)
		spdy_fin(steal_ptr(p->error));
}

static size_t session_backlog(const struct forward *f)
{
	return spdy_backlog(((const struct session *)f)->spdy);
}

static void session_pause(struct forward *f, bool pause)
{
	spdy_pause(((struct session *)f)->spdy, pause);
}

static void session_close(struct forward *f, const char *why)
{
	spdy_close(((struct session *)f)->spdy, why);
}

static const struct forward_way session_way = {
	.data = pair_data,
	.end = pair_end,
	.backlog = session_backlog,
	.pause = session_pause,
	.close = session_close,
};

/* ---- the client's streams ---------------------------------------------------------------- */

static void pair_start(void *arg)
{
	connection_dial(arg);
}

static struct pair *pair_get(struct forward *f, const char *id, uint16_t port)
{
	list_foreach (&f->connections, c, struct connection, node)
		if (streq(((struct pair *)c)->id, id))
			return c->port == port ? (struct pair *)c : NULL;
	if (f->n_connections >= CONNECTIONS_MAX)
		return NULL;
	struct pair *p = xnew(struct pair);

	snprintf(p->id, sizeof(p->id), "%s", id);
	work_init(&p->start, pair_start, p);
	connection_init(&p->c, f, port);
	return p;
}

static bool on_stream(void *arg, struct spdy_stream *st, const char *const *headers)
{
	struct forward *f = arg;
	const char *type = "", *id = "";
	uint64_t port = 0;

	for (; headers[0]; headers += 2) {
		if (streq(headers[0], "streamtype"))
			type = headers[1];
		else if (streq(headers[0], "requestid"))
			id = headers[1];
		else if (streq(headers[0], "port") && str_to_u64(headers[1], 65535, &port) < 0)
			return false;
	}
	bool data = streq(type, "data");

	if (port == 0 || (!data && !streq(type, "error")) ||
	    strlen(id) >= sizeof(((struct pair *)0)->id))
		return false;
	struct pair *p = pair_get(f, id, (uint16_t)port);

	if (!p || (data ? p->data : p->error))
		return false;
	if (data) {
		p->data = st;
		work_queue(f->api->loop, &p->start);
	} else {
		p->error = st;
	}
	return true;
}

/* The connection a stream belongs to, unless it is over. */
static struct pair *pair_of(struct forward *f, struct spdy_stream *st)
{
	list_foreach (&f->connections, c, struct connection, node) {
		struct pair *p = (struct pair *)c;

		if (p->data == st || p->error == st)
			return p;
	}
	return NULL;
}

static void on_data(void *arg, struct spdy_stream *st, const void *data, size_t len)
{
	struct pair *p = pair_of(arg, st);

	if (p && p->data == st)
		connection_write(&p->c, data, len);
}

static void on_fin(void *arg, struct spdy_stream *st)
{
	struct pair *p = pair_of(arg, st);

	if (p && p->data == st)
		connection_shutdown(&p->c);
}

static void on_reset(void *arg, struct spdy_stream *st)
{
	struct forward *f = arg;
	struct pair *p = pair_of(f, st);

	if (!p)
		return;
	if (p->error == st) {
		p->error = NULL;
		return;
	}
	p->data = NULL;
	connection_close(&p->c, "client reset");
	forward_resume(f);
}

static void on_drain(void *arg)
{
	forward_drained(arg);
}

static void on_close(void *arg, const char *why)
{
	forward_close(arg, why);
}

static const struct spdy_ops spdy_ops = {
	.on_stream = on_stream,
	.on_data = on_data,
	.on_fin = on_fin,
	.on_reset = on_reset,
	.on_drain = on_drain,
	.on_close = on_close,
};

void forward_over_spdy(struct call *c, bool tunnelled)
{
	static const char *const protocols[] = {"portforward.k8s.io", NULL};
	struct loop *loop = c->api->loop;
	struct session *s = xnew(struct session);

	forward_init(&s->f, &session_way, c);
	struct stream *stream =
		tunnelled ? call_upgrade(c, "websocket") : spdy_upgrade(c, protocols);

	if (!stream) {
		forward_free(s);
		return;
	}
	s->spdy = tunnelled ? spdy_new_tunnelled(loop, stream, &spdy_ops, s)
			    : spdy_new(loop, stream, false, &spdy_ops, s);
	forward_start(&s->f);
}
