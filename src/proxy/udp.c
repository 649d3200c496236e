/* SPDX-License-Identifier: Apache-2.0 */
/*
 * UDP: a flow per client address, with a connected socket to its backend. Answers leave by the
 * frontend's socket, from the address the client wrote to (IP_PKTINFO, ip(7)).
 */
#include "internal.h"
#include <netinet/ip.h>
#include <sys/socket.h>
#include <unistd.h>

enum { UDP_BATCH = 64, UDP_KEY = 48 };

struct udp_session {
	struct list node;	   /* in proxy->udp */
	struct frontend *frontend; /* referenced */
	char key[UDP_KEY];	   /* in frontend->flows */
	struct sockaddr_in client, backend;
	struct in_addr local; /* where the client wrote to */
	int fd;
	struct io *io;
	mono_t used;
	bool closed;
};

static void session_free(void *arg)
{
	struct udp_session *s = arg;

	frontend_unref(s->frontend);
	free(s);
}

static void udp_close(struct udp_session *s, const char *why)
{
	struct proxy *p = s->frontend->proxy;

	if (s->closed)
		return;
	s->closed = true;
	log_debug("proxy %s: flow closed: %s", s->frontend->name, why);
	list_del(&s->node);
	p->n_udp--;
	map_del(&s->frontend->flows, s->key);
	io_free(s->io);
	s->fd = fd_close(s->fd);
	session_leave(p);
	loop_free_later(p->loop, session_free, s);
}

static void udp_touch(struct udp_session *s)
{
	struct proxy *p = s->frontend->proxy;

	s->used = loop_now(p->loop);
	list_del(&s->node);
	list_add_tail(&p->udp, &s->node);
}

/* One datagram to the client, from the address it knows. */
static void send_back(const struct udp_session *s, char *data, size_t len)
{
	char control[CMSG_SPACE(sizeof(struct in_pktinfo))] = {0};
	struct iovec iov = {data, len};
	struct msghdr msg = {.msg_name = (void *)(uintptr_t)&s->client,
			     .msg_namelen = sizeof(s->client),
			     .msg_iov = &iov,
			     .msg_iovlen = 1,
			     .msg_control = control,
			     .msg_controllen = sizeof(control)};
	struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
	struct in_pktinfo info = {.ipi_spec_dst = s->local};

	c->cmsg_level = IPPROTO_IP;
	c->cmsg_type = IP_PKTINFO;
	c->cmsg_len = CMSG_LEN(sizeof(info));
	memcpy(CMSG_DATA(c), &info, sizeof(info));
	if (s->frontend->fd >= 0)
		sendmsg(s->frontend->fd, &msg,
			MSG_DONTWAIT | MSG_NOSIGNAL); /* lost like any datagram */
}

static void on_answer(void *arg, int fd, unsigned what UNUSED)
{
	struct udp_session *s = arg;
	struct proxy *p = s->frontend->proxy;

	for (int i = 0; i < UDP_BATCH; i++) {
		ssize_t n = recv(fd, p->scratch, PROXY_SCRATCH, MSG_DONTWAIT);

		if (n < 0) {
			if (errno != EAGAIN && errno != EINTR)
				udp_close(s, strerror(errno)); /* ICMP: nobody listens there */
			return;
		}
		udp_touch(s);
		send_back(s, p->scratch, (size_t)n);
	}
}

/* Flows have at most half of all sessions, so that a flood of them leaves streams their room. */
static void make_room(struct proxy *p)
{
	while (p->n_udp && p->n_udp >= p->config.max_sessions / 2)
		udp_close(list_entry(p->udp.next, struct udp_session, node), "the oldest of many");
}

static struct udp_session *open_flow(struct frontend *f, const char *key,
				     const struct sockaddr_in *client, struct in_addr local)
{
	struct proxy *p = f->proxy;
	struct sockaddr_in backend;
	struct udp_session *s;
	size_t first;
	auto_fd int fd = -1;

	make_room(p);
	if (!frontend_choose(f, client, 0, &first, &backend)) {
		p->stats.failed++;
		return NULL;
	}
	fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0 || connect(fd, (struct sockaddr *)&backend, sizeof(backend)) < 0 ||
	    !session_enter(p)) {
		p->stats.failed++;
		return NULL;
	}
	s = xnew(struct udp_session);
	snprintf(s->key, sizeof(s->key), "%s", key);
	s->frontend = frontend_ref(f);
	s->client = *client;
	s->backend = backend;
	s->local = local;
	s->fd = steal_fd(&fd);
	s->io = io_new(p->loop, s->fd, IO_READ, on_answer, s);
	list_add_tail(&p->udp, &s->node);
	p->n_udp++;
	map_put(&f->flows, s->key, s);
	f->connections++;
	p->stats.connections++;
	if (!timer_armed(p->janitor))
		timer_arm(p->janitor, (uint64_t)p->config.udp_idle_seconds * USEC_PER_SEC / 2);
	return s;
}

static void forward(struct frontend *f, const struct sockaddr_in *client, struct in_addr local,
		    const char *data, size_t len)
{
	char key[UDP_KEY];
	struct udp_session *s;

	snprintf(key, sizeof(key), "%08x:%04x:%08x", client->sin_addr.s_addr, client->sin_port,
		 local.s_addr);
	s = map_get(&f->flows, key);
	if (!s)
		s = open_flow(f, key, client, local);
	if (!s)
		return;
	f->proxy->stats.udp_packets++;
	udp_touch(s);
	if (send(s->fd, data, len, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0 || errno != ECONNREFUSED)
		return;
	/* The refusal is of an earlier datagram; this one goes to another backend. */
	udp_close(s, "backend refuses");
	s = open_flow(f, key, client, local);
	if (!s)
		return;
	udp_touch(s);
	send(s->fd, data, len, MSG_DONTWAIT | MSG_NOSIGNAL);
}

static struct in_addr local_address(struct msghdr *msg)
{
	struct in_pktinfo info;

	for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR(msg, c))
		if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_PKTINFO) {
			memcpy(&info, CMSG_DATA(c), sizeof(info));
			return info.ipi_addr;
		}
	return (struct in_addr){0};
}

static void on_datagrams(void *arg, int fd, unsigned what UNUSED)
{
	struct frontend *f = arg;
	char *data = f->proxy->scratch;

	for (int i = 0; i < UDP_BATCH && f->fd >= 0; i++) {
		char control[CMSG_SPACE(sizeof(struct in_pktinfo))];
		struct sockaddr_in client;
		struct iovec iov = {data, PROXY_SCRATCH};
		struct msghdr msg = {.msg_name = &client,
				     .msg_namelen = sizeof(client),
				     .msg_iov = &iov,
				     .msg_iovlen = 1,
				     .msg_control = control,
				     .msg_controllen = sizeof(control)};
		ssize_t n = recvmsg(fd, &msg, MSG_DONTWAIT);

		if (n < 0)
			return;
		forward(f, &client, local_address(&msg), data, (size_t)n);
	}
}

int udp_open(struct frontend *f)
{
	const int one = 1;
	auto_fd int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0 || setsockopt(fd, IPPROTO_IP, IP_PKTINFO, &one, sizeof(one)) < 0 ||
	    setsockopt(fd, IPPROTO_IP, IP_FREEBIND, &one, sizeof(one)) < 0 ||
	    bind(fd, (struct sockaddr *)&f->listen, sizeof(f->listen)) < 0)
		return -errno;
	f->fd = steal_fd(&fd);
	f->io = io_new(f->proxy->loop, f->fd, IO_READ, on_datagrams, f);
	return 0;
}

static void close_flows(struct frontend *f, bool all, const char *why)
{
	size_t i = 0;
	void *s;

	while (map_next(&f->flows, &i, NULL, &s))
		if (all || !frontend_has(f, &((struct udp_session *)s)->backend))
			udp_close(s, why);
}

void udp_shut(struct frontend *f)
{
	close_flows(f, true, "the frontend ends");
	io_free(f->io);
	f->io = NULL;
	f->fd = fd_close(f->fd);
}

void udp_backends_changed(struct frontend *f)
{
	close_flows(f, false, "its backend has left");
}

void udp_close_all(struct proxy *p)
{
	list_foreach (&p->udp, s, struct udp_session, node)
		udp_close(s, "the proxy ends");
}

void udp_janitor(void *proxy)
{
	struct proxy *p = proxy;
	uint64_t idle = (uint64_t)p->config.udp_idle_seconds * USEC_PER_SEC;

	list_foreach (&p->udp, s, struct udp_session, node)
		if (mono_sub(loop_now(p->loop), s->used) >= idle)
			udp_close(s, "idle");
	if (!list_empty(&p->udp))
		timer_arm(p->janitor, idle / 2);
}

void udp_show(const struct proxy *p, json_t *rows)
{
	list_foreach (&p->udp, s, struct udp_session, node) {
		char text[ADDR_TEXT_MAX];
		json_t *row = json_object();

		json_put_str(row, "service", s->frontend->name);
		json_put_str(row, "protocol", "udp");
		json_put_str(row, "client", sockaddr_text(text, &s->client));
		json_put_str(row, "backend", sockaddr_text(text, &s->backend));
		json_put_strf(row, "state", "idle %llu s",
			      (unsigned long long)(mono_sub(mono_now(), s->used) / USEC_PER_SEC));
		json_array_append_new(rows, row);
	}
}
