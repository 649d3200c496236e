/* SPDX-License-Identifier: Apache-2.0 */
/* The control socket: requests of the daemon in, events to it out. */
#include "sandbox.h"

#include <signal.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

struct conn {
	struct source src; /* fd -1: free place */
	bool lost;	   /* a message did not fit: closed at the next turn */
};

static struct source listener;
static struct conn conns[CONNS_MAX];

void control_send(struct conn *conn, const struct proto_msg *m, int fd)
{
	for (struct conn *c = conns; c < conns + CONNS_MAX; c++) {
		if (c->src.fd < 0 || c->lost || (conn && c != conn))
			continue;
		if (proto_send(c->src.fd, m, &fd, fd >= 0) < 0) {
			/* Not here: the caller may be walking a list that closing changes. */
			c->lost = true;
			shutdown(c->src.fd, SHUT_RDWR);
		}
	}
}

static void conn_close(struct conn *c)
{
	source_close(&c->src);
	c->lost = false;
	exec_end_conn(c);
	attach_end_conn(c);
}

static void reply_list(struct conn *conn)
{
	struct proto_msg m;

	for (struct container *c = self.containers; c; c = c->next) {
		if (c->removed)
			continue;
		container_fill(c, &m);
		control_send(conn, &m, -1);
	}
	m = (struct proto_msg){.type = PROTO_HELLO,
			       .pid = (uint64_t)getpid(),
			       .share_pid = (uint64_t)self.share_pid};
	control_send(conn, &m, -1);
}

/* Descriptors are owned by exec and attach from here on. */
static void on_stdio_request(struct conn *conn, const struct proto_msg *m,
			     int fds[static PROTO_FDS_MAX])
{
	struct container *c = container_find(m->id);
	struct proto_msg failed = {.type = PROTO_EXEC_ENDED,
				   .exec = m->exec,
				   .code = (uint64_t)(int64_t)-ESRCH,
				   .message = "container is not running"};

	if (c && c->state == PROTO_STATE_RUNNING && m->type == PROTO_ATTACH) {
		attach_start(conn, c, m, fds);
	} else if (c && c->state == PROTO_STATE_RUNNING && m->bundle) {
		exec_start(conn, c, m, fds);
	} else {
		for (size_t i = 0; i < PROTO_FDS_MAX; i++)
			fd_close(fds[i]);
		control_send(conn, &failed, -1);
	}
}

static void on_request(struct conn *conn, const struct proto_msg *m, int fds[static PROTO_FDS_MAX])
{
	struct container *c = container_find(m->id);

	switch (m->type) {
	case PROTO_LIST:
		reply_list(conn);
		break;
	case PROTO_START:
		container_start(m);
		break;
	case PROTO_KILL:
		if (c)
			container_kill(c, (int)m->signo);
		break;
	case PROTO_REMOVE:
		if (c)
			container_remove(c);
		break;
	case PROTO_EXEC:
	case PROTO_ATTACH:
		on_stdio_request(conn, m, fds);
		return;
	case PROTO_EXEC_KILL:
		if (!exec_kill((uint32_t)m->exec))
			attach_end((uint32_t)m->exec);
		break;
	case PROTO_RESIZE:
		attach_resize((uint32_t)m->exec, m->cols, m->rows);
		break;
	case PROTO_STOP:
		self_stop(SIGKILL, 2000);
		break;
	case PROTO_HELLO:
	case PROTO_STATE:
	case PROTO_EXEC_STARTED:
	case PROTO_EXEC_ENDED:
		break; /* not for us */
	}
	for (size_t i = 0; i < PROTO_FDS_MAX; i++)
		fd_close(fds[i]);
}

static void on_packet(void *arg, uint32_t events UNUSED)
{
	static struct proto_msg m; /* too large for a small stack */
	struct conn *conn = arg;
	int fds[PROTO_FDS_MAX];
	ssize_t n = proto_recv(conn->src.fd, self.packet, sizeof(self.packet), fds);

	if (n == -EAGAIN)
		return;
	if (n > 0 && proto_decode(&m, self.packet, (size_t)n) == 0) {
		on_request(conn, &m, fds);
		return;
	}
	if (n > 0)
		for (size_t i = 0; i < PROTO_FDS_MAX; i++)
			fd_close(fds[i]);
	conn_close(conn); /* its end, or nobody we understand */
}

static void on_connect(void *arg UNUSED, uint32_t events UNUSED)
{
	int fd = accept4(listener.fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	for (struct conn *c = conns; fd >= 0 && c < conns + CONNS_MAX; c++) {
		if (c->src.fd < 0) {
			source_open(&c->src, steal_fd(&fd), EPOLLIN, on_packet, c);
			break;
		}
	}
	fd_close(fd);
}

void control_open(int listen_fd)
{
	for (struct conn *c = conns; c < conns + CONNS_MAX; c++)
		c->src.fd = -1;
	source_open(&listener, listen_fd, EPOLLIN, on_connect, NULL);
}
