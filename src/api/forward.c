/* SPDX-License-Identifier: Apache-2.0 */
/*
 * portforward over SPDY: for every connection the client opens an error and a data stream with the
 * same port and requestid. The data stream is joined with a socket in the pod's network namespace.
 */
#include "channels.h"
#include "pod.h"

#define STREAM_HIGH (256u * 1024)
#define CONNECTIONS_MAX 256

struct forward {
	struct api_session session; /* first member */
	struct api *api;
	struct spdy *spdy;
	struct list connections;
	unsigned n_connections;
	char *ns, *pod;
	bool closed;
};

/* One connection, from the first of its two streams on. */
struct connection {
	struct list node; /* in forward->connections */
	struct forward *forward;
	char *id;
	uint16_t port;
	struct spdy_stream *error, *data;
	struct stream *backend;
	struct work start; /* behind on_stream(): the client has its SYN_REPLY first */
	bool over;
};

static void connection_free(void *p)
{
	struct connection *c = p;

	free(c->id);
	free(c);
}

static void connection_close(struct connection *c, const char *why)
{
	if (c->over)
		return;
	c->over = true;
	list_del(&c->node);
	c->forward->n_connections--;
	work_cancel(&c->start);
	if (c->backend)
		stream_close(steal_ptr(c->backend), true, why);
	if (c->data)
		spdy_fin(steal_ptr(c->data));
	if (c->error)
		spdy_fin(steal_ptr(c->error));
	loop_free_later(c->forward->api->loop, connection_free, c);
}

static void connection_fail(struct connection *c, const char *why)
{
	auto_free char *text = xasprintf("error forwarding port %u to pod %s/%s: %s", c->port,
					 c->forward->ns, c->forward->pod, why);

	if (c->error)
		spdy_write(c->error, text, strlen(text));
	connection_close(c, why);
}

static void forward_free(void *p)
{
	struct forward *f = p;

	free(f->ns);
	free(f->pod);
	free(f);
}

static void forward_close(struct forward *f, const char *why)
{
	if (f->closed)
		return;
	f->closed = true;
	list_del(&f->session.node);
	list_foreach (&f->connections, c, struct connection, node)
		connection_close(c, why);
	spdy_close(f->spdy, why);
	loop_free_later(f->api->loop, forward_free, f);
}

static void session_close(struct api_session *s)
{
	forward_close((struct forward *)s, "API ends");
}

/* ---- the pod's side ---------------------------------------------------------------------- */

static void backend_data(void *arg)
{
	struct connection *c = arg;
	size_t len;
	const char *data = stream_peek(c->backend, &len);

	if (c->data)
		spdy_write(c->data, data, len);
	stream_consume(c->backend, len);
	if (spdy_backlog(c->forward->spdy) > STREAM_HIGH)
		stream_pause(c->backend, true);
}

/* Reads of the client go on when no pod is behind. */
static void resume_client(struct forward *f)
{
	bool full = false;

	list_foreach (&f->connections, c, struct connection, node)
		full = full || (c->backend && stream_out_len(c->backend) > STREAM_HIGH);
	if (!f->closed)
		spdy_pause(f->spdy, full);
}

static void backend_drain(void *arg)
{
	struct connection *c = arg;

	resume_client(c->forward);
}

static void backend_gone(struct connection *c, const char *why)
{
	struct forward *f = c->forward;

	if (stream_in_len(c->backend))
		backend_data(c);
	connection_close(c, why);
	resume_client(f);
}

/* The pod has said all; it may still listen. */
static void backend_eof(void *arg)
{
	struct connection *c = arg;

	if (stream_in_len(c->backend))
		backend_data(c);
	if (c->data)
		spdy_fin(c->data);
	c->data = NULL;
	connection_close(c, "pod closed");
}

static void backend_lost(void *arg, const char *why)
{
	backend_gone(arg, why);
}

static const struct stream_ops backend_ops = {
	.on_data = backend_data,
	.on_drain = backend_drain,
	.on_eof = backend_eof,
	.on_close = backend_lost,
};

static void connection_start(void *arg)
{
	struct connection *c = arg;
	struct forward *f = c->forward;
	auto_err err = {0};

	if (c->backend || !c->data)
		return;
	int fd = f->api->config.node_ops->port_connect(f->api->config.node, f->ns, f->pod, c->port,
						       &err);

	if (fd < 0) {
		connection_fail(c, err_message(&err));
		return;
	}
	c->backend = stream_new(f->api->loop, fd, NULL, false, &backend_ops, c);
}

/* ---- the client's side ------------------------------------------------------------------- */

static struct connection *connection_get(struct forward *f, const char *id, uint16_t port)
{
	list_foreach (&f->connections, c, struct connection, node)
		if (streq(c->id, id))
			return c->port == port ? c : NULL;
	if (f->n_connections >= CONNECTIONS_MAX)
		return NULL;
	struct connection *c = xnew(struct connection);

	c->forward = f;
	c->id = xstrdup(id);
	c->port = port;
	work_init(&c->start, connection_start, c);
	list_add_tail(&f->connections, &c->node);
	f->n_connections++;
	return c;
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

	if (port == 0 || (!data && !streq(type, "error")))
		return false;
	struct connection *c = connection_get(f, id, (uint16_t)port);

	if (!c || (data ? c->data : c->error))
		return false;
	spdy_stream_set_data(st, c);
	if (data) {
		c->data = st;
		work_queue(f->api->loop, &c->start);
	} else {
		c->error = st;
	}
	return true;
}

/* The connection a stream belongs to, unless it is over. */
static struct connection *connection_of(struct forward *f, struct spdy_stream *st)
{
	list_foreach (&f->connections, c, struct connection, node)
		if (c->data == st || c->error == st)
			return c;
	return NULL;
}

static void on_data(void *arg, struct spdy_stream *st, const void *data, size_t len)
{
	struct forward *f = arg;
	struct connection *c = connection_of(f, st);

	if (!c || c->data != st)
		return;
	connection_start(c);
	if (!c->backend)
		return;
	stream_write(c->backend, data, len);
	if (stream_out_len(c->backend) > STREAM_HIGH)
		spdy_pause(f->spdy, true);
}

static void on_fin(void *arg, struct spdy_stream *st)
{
	struct connection *c = connection_of(arg, st);

	if (!c || c->data != st)
		return;
	connection_start(c);
	if (c->backend)
		stream_shutdown(c->backend);
}

static void on_reset(void *arg, struct spdy_stream *st)
{
	struct forward *f = arg;
	struct connection *c = connection_of(f, st);

	if (!c)
		return;
	if (c->error == st) {
		c->error = NULL;
		return;
	}
	c->data = NULL;
	connection_close(c, "client reset");
	resume_client(f);
}

static void on_drain(void *arg)
{
	struct forward *f = arg;

	list_foreach (&f->connections, c, struct connection, node)
		if (c->backend)
			stream_pause(c->backend, false);
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

void handle_port_forward(struct call *c)
{
	static const char *const protocols[] = {"portforward.k8s.io", NULL};
	struct api *a = c->api;
	auto_err err = {0};

	if (!pod_find(c, &err)) {
		call_reply_err(c, &err);
		return;
	}
	auto_free char *ns = xstrdup(c->target.ns), *pod = xstrdup(c->target.name);
	struct stream *s = spdy_upgrade(c, protocols);

	if (!s)
		return;
	struct forward *f = xnew(struct forward);

	f->api = a;
	f->ns = steal_ptr(ns);
	f->pod = steal_ptr(pod);
	list_init(&f->connections);
	f->spdy = spdy_new(a->loop, s, false, &spdy_ops, f);
	session_add(a, &f->session, session_close);
}
