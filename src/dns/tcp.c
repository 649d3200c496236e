/* SPDX-License-Identifier: Apache-2.0 */
/* DNS over TCP (RFC 7766): two bytes of length before each message, several queries a connection.
 */
#include "internal.h"
#include <arpa/inet.h>

enum { TCP_CONNECTIONS = 128, TCP_IDLE_SECONDS = 10, TCP_BACKLOG = 256 * 1024 };

struct dns_tcp {
	struct dns *dns;
	struct listener *listener;
	struct list connections; /* struct dns_conn.node, longest quiet first */
	size_t n;
	struct timer *janitor; /* armed while there are connections */
};

struct dns_conn {
	struct list node;
	struct dns_tcp *tcp; /* NULL: closed, kept for an outstanding answer */
	struct stream *stream;
	unsigned refs;
	mono_t used;
};

struct dns_conn *dns_conn_ref(struct dns_conn *c)
{
	c->refs++;
	return c;
}

void dns_conn_unref(struct dns_conn *c)
{
	if (!--c->refs)
		free(c);
}

static void conn_close(struct dns_conn *c, const char *why)
{
	struct dns_tcp *t = c->tcp;

	if (!t)
		return;
	list_del(&c->node);
	stream_close(c->stream, true, why);
	c->stream = NULL;
	c->tcp = NULL;
	t->n--;
	dns_conn_unref(c);
}

void dns_conn_send(struct dns_conn *c, const uint8_t *msg, size_t len)
{
	const uint16_t n = htons((uint16_t)len);

	if (!c->tcp)
		return;
	if (stream_out_len(c->stream) > TCP_BACKLOG) {
		conn_close(c, "reads no answers");
		return;
	}
	stream_write(c->stream, &n, sizeof(n));
	stream_write(c->stream, msg, len);
}

static void on_data(void *arg)
{
	struct dns_conn *c = dns_conn_ref(arg);
	size_t len;

	while (c->tcp) {
		const uint8_t *p = (const uint8_t *)stream_peek(c->stream, &len);
		size_t n = len < 2 ? 0 : (size_t)p[0] << 8 | p[1];
		auto_free uint8_t *msg = NULL;

		if (len < 2 || len < 2 + n)
			break;
		msg = xmalloc(n);
		memcpy(msg, p + 2, n);
		stream_consume(c->stream, 2 + n);
		c->used = loop_now(c->tcp->dns->loop);
		list_del(&c->node);
		list_add_tail(&c->tcp->connections, &c->node);
		dns_handle(c->tcp->dns, msg, n, (struct asker){.conn = dns_conn_ref(c)});
	}
	dns_conn_unref(c);
}

static void on_close(void *arg, const char *why)
{
	conn_close(arg, why);
}

static const struct stream_ops conn_ops = {.on_data = on_data, .on_close = on_close};

static void on_accept(void *arg, int fd, const struct addr *peer UNUSED)
{
	struct dns_tcp *t = arg;
	struct dns_conn *c;

	if (t->n >= TCP_CONNECTIONS) /* the one that was quiet longest makes room */
		conn_close(list_entry(t->connections.next, struct dns_conn, node), "too many");
	c = xnew(struct dns_conn);
	c->tcp = t;
	c->refs = 1;
	c->used = loop_now(t->dns->loop);
	c->stream = stream_new(t->dns->loop, fd, NULL, true, &conn_ops, c);
	stream_set_read_high(c->stream, DNS_TCP_MAX + 2);
	list_add_tail(&t->connections, &c->node);
	t->n++;
	if (!timer_armed(t->janitor))
		timer_arm(t->janitor, TCP_IDLE_SECONDS * USEC_PER_SEC);
}

static void on_janitor(void *arg)
{
	struct dns_tcp *t = arg;

	list_foreach (&t->connections, c, struct dns_conn, node)
		if (mono_sub(loop_now(t->dns->loop), c->used) >= TCP_IDLE_SECONDS * USEC_PER_SEC)
			conn_close(c, "idle");
	if (t->n)
		timer_arm(t->janitor, TCP_IDLE_SECONDS * USEC_PER_SEC);
}

struct dns_tcp *dns_tcp_new(struct dns *d, struct err *err)
{
	struct listener_config c = {.addr = {.len = sizeof(struct sockaddr_in)}, .free_bind = true};
	struct dns_tcp *t = xnew(struct dns_tcp);
	struct sockaddr_in listen = d->config.listen;
	socklen_t len = sizeof(listen);

	if (!listen.sin_port) /* tests: the port that UDP got */
		getsockname(d->fd, (struct sockaddr *)&listen, &len);
	memcpy(&c.addr.ss, &listen, sizeof(listen));
	t->dns = d;
	list_init(&t->connections);
	t->listener = listener_new(d->loop, &c, on_accept, t, err);
	if (!t->listener) {
		free(t);
		return NULL;
	}
	t->janitor = timer_new(d->loop, on_janitor, t);
	return t;
}

void dns_tcp_free(struct dns_tcp *t)
{
	if (!t)
		return;
	list_foreach (&t->connections, c, struct dns_conn, node)
		conn_close(c, "the responder ends");
	listener_free(t->listener);
	timer_free(t->janitor);
	free(t);
}
