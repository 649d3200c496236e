/* SPDX-License-Identifier: Apache-2.0 */
/* The daemon's end of a sandbox's control socket. */
#include "internal.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum { PACKETS_MAX = 256 }; /* waiting for a sandbox that does not read */

/* sun_path holds 107 bytes; through /proc/self/fd any directory can be named. */
static int socket_address(const char *dir, struct sockaddr_un *un)
{
	int fd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	*un = (struct sockaddr_un){.sun_family = AF_UNIX};
	snprintf(un->sun_path, sizeof(un->sun_path), "/proc/self/fd/%d/control.sock", fd);
	return fd;
}

int link_listen(const char *dir)
{
	struct sockaddr_un un;
	auto_fd int at = socket_address(dir, &un);
	auto_fd int sock = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (at < 0 || sock < 0)
		return at < 0 ? at : -errno;
	if (bind(sock, (struct sockaddr *)&un, sizeof(un)) < 0 || chmod(un.sun_path, 0600) < 0 ||
	    listen(sock, 8) < 0)
		return -errno;
	return steal_fd(&sock);
}

static void packets_drop(struct sandbox *s)
{
	list_foreach (&s->out, p, struct packet, node) {
		list_del(&p->node);
		for (size_t i = 0; i < p->n_fds; i++)
			fd_close(p->fds[i]);
		free(p);
	}
	s->n_out = 0;
}

void link_close(struct sandbox *s)
{
	timer_disarm(s->retry);
	packets_drop(s);
	io_free(s->io);
	s->io = NULL;
	s->sock = fd_close(s->sock);
}

/* The sandbox cut us off or is dying (its sockets go some time before its process). In the first
 * case it is asked again at once. Limits of time that run go on running. */
static void link_lost(struct sandbox *s)
{
	link_close(s);
	exec_end_all(s);
	if (s->state != SANDBOX_ENDING)
		timer_arm(s->retry, s->tries++ == 0 ? 1000 : 100 * USEC_PER_MSEC);
}

static void dispatch(struct sandbox *s, const struct proto_msg *m, int fds[static PROTO_FDS_MAX])
{
	switch (m->type) {
	case PROTO_HELLO:
		sandbox_hello(s, m);
		break;
	case PROTO_STATE:
		container_update(s, m);
		break;
	case PROTO_EXEC_STARTED:
		exec_started(s, m, steal_fd(&fds[0]));
		break;
	case PROTO_EXEC_ENDED:
		exec_ended(s, m);
		break;
	case PROTO_LIST:
	case PROTO_START:
	case PROTO_KILL:
	case PROTO_REMOVE:
	case PROTO_EXEC:
	case PROTO_ATTACH:
	case PROTO_EXEC_KILL:
	case PROTO_RESIZE:
	case PROTO_STOP:
		break; /* requests: not for us */
	}
	for (size_t i = 0; i < PROTO_FDS_MAX; i++)
		fd_close(fds[i]);
}

static void flush(struct sandbox *s)
{
	list_foreach (&s->out, p, struct packet, node) {
		int r = proto_send_packet(s->sock, p->data, p->len, p->fds, p->n_fds);

		if (r == -EAGAIN)
			return;
		list_del(&p->node);
		s->n_out--;
		for (size_t i = 0; i < p->n_fds; i++)
			fd_close(p->fds[i]);
		free(p);
	}
	io_want(s->io, IO_READ);
}

static void on_io(void *arg, int fd, unsigned what)
{
	struct sandbox *s = arg;
	unsigned char buf[PROTO_SMALL_MAX];
	struct proto_msg m;

	if (what & IO_WRITE)
		flush(s);
	/* Bounded, so that one busy pod does not hold up the others. */
	for (int i = 0; i < 32 && s->sock == fd; i++) {
		int fds[PROTO_FDS_MAX];
		ssize_t n = proto_recv(fd, buf, sizeof(buf), fds);

		if (n == -EAGAIN)
			return;
		if (n <= 0 || proto_decode(&m, buf, (size_t)n) < 0) {
			for (size_t k = 0; n > 0 && k < PROTO_FDS_MAX; k++)
				fd_close(fds[k]);
			link_lost(s);
			return;
		}
		dispatch(s, &m, fds);
	}
}

int link_open(struct sandbox *s)
{
	struct proto_msg list = {.type = PROTO_LIST};
	struct sockaddr_un un;
	auto_fd int at = socket_address(s->dir, &un);
	auto_fd int sock = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (at < 0 || sock < 0)
		return at < 0 ? at : -errno;
	if (connect(sock, (struct sockaddr *)&un, sizeof(un)) < 0)
		return -errno;
	s->sock = steal_fd(&sock);
	s->io = io_new(s->rt->loop, s->sock, IO_READ, on_io, s);
	return link_send(s, &list, NULL, 0);
}

static int packet_queue(struct sandbox *s, const unsigned char *data, size_t len, const int *fds,
			size_t n_fds)
{
	if (s->n_out >= PACKETS_MAX)
		return -ENOBUFS;
	struct packet *p = xmalloc(sizeof(*p) + len);
	*p = (struct packet){.len = len, .n_fds = n_fds};
	memcpy(p->data, data, len);
	for (size_t i = 0; i < n_fds; i++)
		p->fds[i] = fcntl(fds[i], F_DUPFD_CLOEXEC, 3);
	list_add_tail(&s->out, &p->node);
	s->n_out++;
	io_want(s->io, IO_READ | IO_WRITE);
	return 0;
}

int link_send(struct sandbox *s, const struct proto_msg *m, const int *fds, size_t n_fds)
{
	auto_free unsigned char *packet = NULL;
	ssize_t len;
	int r = -EAGAIN;

	if (s->sock < 0)
		return -ENOTCONN;
	packet = xmalloc(PROTO_MAX);
	len = proto_encode(m, packet, PROTO_MAX);
	if (len < 0)
		return (int)len;
	if (list_empty(&s->out))
		r = proto_send_packet(s->sock, packet, (size_t)len, fds, n_fds);
	return r == -EAGAIN ? packet_queue(s, packet, (size_t)len, fds, n_fds) : r;
}
