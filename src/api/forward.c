/* SPDX-License-Identifier: Apache-2.0 */
/* portforward: the pod's side of connections, and the request. */
#include "forward.h"
#include "pod.h"

#define PORTS_MAX 64

/* ---- life -------------------------------------------------------------------------------- */

void forward_init(struct forward *f, const struct forward_way *way, struct call *c)
{
	f->way = way;
	f->api = c->api;
	f->ns = xstrdup(c->target.ns);
	f->pod = xstrdup(c->target.name);
	list_init(&f->connections);
}

static void session_close(struct api_session *s)
{
	forward_close((struct forward *)s, "API ends");
}

void forward_start(struct forward *f)
{
	session_add(f->api, &f->session, session_close);
}

void forward_free(void *p)
{
	struct forward *f = p;

	free(f->ns);
	free(f->pod);
	free(f);
}

void forward_close(struct forward *f, const char *why)
{
	if (f->closed)
		return;
	f->closed = true;
	list_del(&f->session.node);
	list_foreach (&f->connections, c, struct connection, node)
		connection_close(c, why);
	f->way->close(f, why);
	loop_free_later(f->api->loop, forward_free, f);
}

void connection_init(struct connection *c, struct forward *f, uint16_t port)
{
	c->forward = f;
	c->port = port;
	list_add_tail(&f->connections, &c->node);
	f->n_connections++;
}

static void connection_end(struct connection *c, const char *why, const char *text)
{
	if (c->over)
		return;
	c->over = true;
	list_del(&c->node);
	c->forward->n_connections--;
	if (c->backend)
		stream_close(steal_ptr(c->backend), true, why);
	loop_free_later(c->forward->api->loop, free, c);
	c->forward->way->end(c, text);
}

void connection_close(struct connection *c, const char *why)
{
	connection_end(c, why, NULL);
}

static void connection_fail(struct connection *c, const char *why)
{
	auto_free char *text = xasprintf("error forwarding port %u to pod %s/%s: %s", c->port,
					 c->forward->ns, c->forward->pod, why);

	connection_end(c, why, text);
}

/* ---- the pod's side ---------------------------------------------------------------------- */

static void backend_data(void *arg)
{
	struct connection *c = arg;
	struct forward *f = c->forward;
	size_t len;
	const char *data = stream_peek(c->backend, &len);

	c->connected = true;
	f->way->data(c, data, len);
	stream_consume(c->backend, len);
	if (f->way->backlog(f) > FORWARD_HIGH)
		stream_pause(c->backend, true);
}

void forward_resume(struct forward *f)
{
	bool full = false;

	list_foreach (&f->connections, c, struct connection, node)
		full = full || (c->backend && stream_out_len(c->backend) > FORWARD_HIGH);
	if (!f->closed)
		f->way->pause(f, full);
}

void forward_drained(struct forward *f)
{
	list_foreach (&f->connections, c, struct connection, node)
		if (c->backend)
			stream_pause(c->backend, false);
}

/* Comes once when the connecting has ended, too, however it did. */
static void backend_drain(void *arg)
{
	struct connection *c = arg;
	struct sockaddr_storage peer;
	socklen_t len = sizeof(peer);

	if (getpeername(stream_fd(c->backend), (struct sockaddr *)&peer, &len) == 0)
		c->connected = true;
	forward_resume(c->forward);
}

/* The pod has said all, or is lost. */
static void backend_end(struct connection *c, const char *why)
{
	struct forward *f = c->forward;

	if (stream_in_len(c->backend))
		backend_data(c);
	connection_close(c, why);
	forward_resume(f);
}

static void backend_lost(void *arg, const char *why)
{
	struct connection *c = arg;
	struct forward *f = c->forward;

	if (c->connected) {
		backend_end(c, why);
		return;
	}
	connection_fail(c, why);
	forward_resume(f);
}

/* Without a connection it is how libevent, which has swallowed the error, tells of a refusal. */
static void backend_eof(void *arg)
{
	backend_lost(arg, "connection refused");
}

static const struct stream_ops backend_ops = {
	.on_data = backend_data,
	.on_drain = backend_drain,
	.on_eof = backend_eof,
	.on_close = backend_lost,
};

void connection_dial(struct connection *c)
{
	struct api *a = c->forward->api;
	auto_err err = {0};

	if (c->backend || c->over)
		return;
	int fd = a->config.node_ops->port_connect(a->config.node, c->forward->ns, c->forward->pod,
						  c->port, &err);

	if (fd < 0)
		connection_fail(c, err_message(&err));
	else
		c->backend = stream_new(a->loop, fd, NULL, false, &backend_ops, c);
}

void connection_write(struct connection *c, const void *data, size_t len)
{
	connection_dial(c);
	if (!c->backend)
		return;
	stream_write(c->backend, data, len);
	if (stream_out_len(c->backend) > FORWARD_HIGH)
		c->forward->way->pause(c->forward, true);
}

void connection_shutdown(struct connection *c)
{
	connection_dial(c);
	if (c->backend)
		stream_shutdown(c->backend);
}

/* ---- the request ------------------------------------------------------------------------- */

/* "ports", repeated or with commas. */
static int parse_ports(struct call *c, uint16_t ports[PORTS_MAX], size_t *n, struct err *err)
{
	auto_strv values = {0};

	*n = 0;
	http_params(c->req, "ports", &values);
	for (size_t i = 0; i < values.n; i++) {
		auto_strv parts = {0};

		strv_split(&parts, values.v[i], ',');
		for (size_t k = 0; k < parts.n; k++) {
			uint64_t port;

			if (str_to_u64(parts.v[k], 65535, &port) < 0 || port == 0 ||
			    *n == PORTS_MAX)
				return err_set(err, ERR_BAD_REQUEST,
					       "unable to parse \"%s\" as a port", parts.v[k]);
			ports[(*n)++] = (uint16_t)port;
		}
	}
	return *n ? 0 : err_set(err, ERR_BAD_REQUEST, "query parameter \"port\" is required");
}

static void handle_socket(struct call *c)
{
	static const struct ws_protocol protocols[] = {
		{"SPDY/3.1+portforward.k8s.io", false, 0, false},
		{"v4.channel.k8s.io", false, 4, false},
		{"v4.base64.channel.k8s.io", true, 4, false},
		{"channel.k8s.io", false, 1, false},
		{"base64.channel.k8s.io", true, 1, false},
		{"", false, 1, false},
		{NULL, false, 0, false},
	};
	uint16_t ports[PORTS_MAX];
	size_t n = 0;
	auto_err err = {0};
	const struct ws_protocol *protocol = ws_offered(c, protocols);

	/* In a tunnel the ports are told later. */
	if (protocol && protocol->version && parse_ports(c, ports, &n, &err) < 0) {
		call_reply_err(c, &err);
		return;
	}
	protocol = ws_choose(c, protocols);
	if (!protocol)
		return;
	if (protocol->version)
		forward_over_ws(c, protocol, ports, n);
	else
		forward_over_spdy(c, true);
}

void handle_port_forward(struct call *c)
{
	auto_err err = {0};

	if (call_connect(c, "portforward", &err) < 0 || !pod_find(c, &err))
		call_reply_err(c, &err);
	else if (!session_room(c))
		return;
	else if (ws_requested(c->req))
		handle_socket(c);
	else
		forward_over_spdy(c, false);
}
