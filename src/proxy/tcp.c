/* SPDX-License-Identifier: Apache-2.0 */
/* TCP sessions: connect to a backend (or the next), then relay both ways. */
#include "internal.h"
#include <netinet/tcp.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#define CONNECT_LIMIT_US (5 * USEC_PER_SEC)
enum { CONNECT_ATTEMPTS = 8 };

struct tcp_session {
	struct list node;	   /* in proxy->tcp */
	struct frontend *frontend; /* referenced */
	struct sockaddr_in client_addr, backend_addr;
	int client, backend;
	struct io *client_io, *backend_io;
	struct relay up, down;	/* client -> backend, backend -> client */
	struct timer *deadline; /* while connecting */
	size_t first;		/* backend, where the attempts began */
	uint8_t attempt;
	bool connected, closed;
	bool gone; /* the backend, without a word */
};

static void session_free(void *arg)
{
	struct tcp_session *s = arg;

	frontend_unref(s->frontend);
	free(s);
}

static void reset(int fd)
{
	struct linger now = {.l_onoff = 1, .l_linger = 0};

	setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
}

static void tcp_close(struct tcp_session *s, const char *why)
{
	struct proxy *p = s->frontend->proxy;

	if (s->closed)
		return;
	s->closed = true;
	log_debug("proxy %s: session closed: %s", s->frontend->name, why);
	list_del(&s->node);
	io_free(s->client_io);
	io_free(s->backend_io);
	timer_free(s->deadline);
	relay_done(p, &s->up);
	relay_done(p, &s->down);
	fd_close(s->client);
	fd_close(s->backend);
	session_leave(p);
	loop_free_later(p->loop, session_free, s);
}

/* Nobody is there: the client sees it at once. */
static void refuse(struct tcp_session *s, const char *why)
{
	s->frontend->proxy->stats.failed++;
	reset(s->client);
	tcp_close(s, why);
}

/* Reads from a side while the other takes; writes to it while something waits. */
static void update(struct tcp_session *s)
{
	unsigned client = 0, backend = 0;

	if (!s->up.eof && !relay_waits(&s->up))
		client |= IO_READ;
	if (relay_waits(&s->down))
		client |= IO_WRITE;
	if (!s->down.eof && !relay_waits(&s->down))
		backend |= IO_READ;
	if (relay_waits(&s->up))
		backend |= IO_WRITE;
	io_want(s->client_io, client);
	io_want(s->backend_io, backend);
}

/* Has the client all that will ever come? */
static bool has_everything(const struct tcp_session *s)
{
	int unread = 0;

	if (relay_waits(&s->down))
		return false;
	return s->down.eof || ioctl(s->backend, FIONREAD, &unread) < 0 || unread == 0;
}

static void relay_both(struct tcp_session *s, bool up, bool down)
{
	struct proxy *p = s->frontend->proxy;
	int r = up ? relay_move(p, &s->up, s->client, s->backend) : 0;

	if (r < 0) /* a backend may answer early and break off: its answer still counts */
		relay_move(p, &s->down, s->backend, s->client);
	else if (down)
		r = relay_move(p, &s->down, s->backend, s->client);
	if (r < 0) {
		reset(s->client); /* an aborted connection is passed on as one */
		reset(s->backend);
		tcp_close(s, strerror(-r));
	} else if (s->up.done && s->down.done) {
		tcp_close(s, "both sides are done");
	} else if (s->gone && has_everything(s)) {
		if (!s->down.eof)
			reset(s->client);
		tcp_close(s, "the backend is gone");
	} else {
		update(s);
	}
}

static void on_client(void *arg, int fd UNUSED, unsigned what)
{
	relay_both(arg, what & IO_READ, what & IO_WRITE);
}

static void on_backend(void *arg, int fd UNUSED, unsigned what)
{
	relay_both(arg, what & IO_WRITE, what & IO_READ);
}

static void connect_next(struct tcp_session *s);

static void attempt_failed(struct tcp_session *s, int code)
{
	char text[ADDR_TEXT_MAX];

	log_debug("proxy %s: backend %s: %s", s->frontend->name,
		  sockaddr_text(text, &s->backend_addr), strerror(code));
	io_free(s->backend_io);
	s->backend_io = NULL;
	s->backend = fd_close(s->backend);
	s->attempt++;
	connect_next(s);
}

static void on_deadline(void *arg)
{
	attempt_failed(arg, ETIMEDOUT);
}

static void established(struct tcp_session *s)
{
	struct proxy *p = s->frontend->proxy;

	s->connected = true;
	timer_free(s->deadline);
	s->deadline = NULL;
	io_free(s->backend_io);
	s->backend_io = io_new(p->loop, s->backend, 0, on_backend, s);
	s->client_io = io_new(p->loop, s->client, 0, on_client, s);
	relay_both(s, true, true); /* the request is mostly here already */
}

static void on_connected(void *arg, int fd, unsigned what UNUSED)
{
	struct tcp_session *s = arg;
	int code = 0;
	socklen_t len = sizeof(code);

	if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &code, &len) < 0)
		code = errno;
	if (code)
		attempt_failed(s, code);
	else
		established(s);
}

static void connect_next(struct tcp_session *s)
{
	struct proxy *p = s->frontend->proxy;
	const int one = 1;

	if (s->attempt >= CONNECT_ATTEMPTS ||
	    !frontend_choose(s->frontend, &s->client_addr, s->attempt, &s->first,
			     &s->backend_addr)) {
		refuse(s, "no backend");
		return;
	}
	s->backend = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (s->backend < 0) {
		refuse(s, strerror(errno));
		return;
	}
	setsockopt(s->backend, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	setsockopt(s->backend, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof(one));
	if (connect(s->backend, (struct sockaddr *)&s->backend_addr, sizeof(s->backend_addr)) ==
	    0) {
		established(s);
	} else if (errno == EINPROGRESS) {
		s->backend_io = io_new(p->loop, s->backend, IO_WRITE, on_connected, s);
		timer_arm(s->deadline, CONNECT_LIMIT_US);
	} else {
		attempt_failed(s, errno);
	}
}

void tcp_accept(struct frontend *f, int fd, const struct sockaddr_in *client)
{
	struct proxy *p = f->proxy;
	struct tcp_session *s;
	const int one = 1;

	if (!session_enter(p)) {
		reset(fd);
		fd_close(fd);
		return;
	}
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof(one));
	s = xnew(struct tcp_session);
	s->frontend = frontend_ref(f);
	s->client_addr = *client;
	s->client = fd;
	s->backend = -1;
	relay_init(&s->up);
	relay_init(&s->down);
	s->deadline = timer_new(p->loop, on_deadline, s);
	list_add_tail(&p->tcp, &s->node);
	p->stats.connections++;
	f->connections++;
	connect_next(s);
}

void tcp_backend_gone(struct proxy *p, struct in_addr addr)
{
	list_foreach (&p->tcp, s, struct tcp_session, node) {
		if (s->backend < 0 || s->backend_addr.sin_addr.s_addr != addr.s_addr)
			continue;
		s->gone = s->connected;
		if (s->gone)
			relay_both(s, false, true);
		else
			attempt_failed(s, EHOSTUNREACH);
	}
}

void tcp_close_all(struct proxy *p)
{
	list_foreach (&p->tcp, s, struct tcp_session, node)
		tcp_close(s, "the proxy ends");
}

void tcp_show(const struct proxy *p, json_t *rows)
{
	list_foreach (&p->tcp, s, struct tcp_session, node) {
		char text[ADDR_TEXT_MAX];
		json_t *row = json_object();

		json_put_str(row, "service", s->frontend->name);
		json_put_str(row, "protocol", "tcp");
		json_put_str(row, "client", sockaddr_text(text, &s->client_addr));
		json_put_str(row, "backend", sockaddr_text(text, &s->backend_addr));
		json_put_str(row, "state",
			     !s->connected				  ? "connecting"
			     : s->up.pipe[0] >= 0 || s->down.pipe[0] >= 0 ? "splice"
									  : "copy");
		json_array_append_new(rows, row);
	}
}
