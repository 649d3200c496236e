/* SPDX-License-Identifier: Apache-2.0 */
/* The proxy with real sockets on loopback addresses; backends and clients run on the same loop. */
#include <arpa/inet.h>
#include <coracle/json.h>
#include <coracle/proxy.h>
#include <setjmp.h>
#include <cmocka.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#define LIMIT (20 * USEC_PER_SEC)

struct fixture {
	struct loop *loop;
	struct proxy *proxy;
	char trouble[128];
	int troubles;
};

static void on_trouble(void *arg, const char *name UNUSED, const struct sockaddr_in *listen UNUSED,
		       uint8_t protocol UNUSED, const char *why)
{
	struct fixture *f = arg;

	f->troubles++;
	snprintf(f->trouble, sizeof(f->trouble), "%s", why ? why : "");
}

static int setup(void **state)
{
	struct fixture *f = xnew(struct fixture);
	struct proxy_config c = {.on_trouble = on_trouble, .arg = f};

	f->loop = loop_new();
	f->proxy = proxy_new(f->loop, &c);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	proxy_free(f->proxy);
	loop_free(f->loop);
	free(f);
	return 0;
}

static struct sockaddr_in at(const char *host, uint16_t port)
{
	struct sockaddr_in sa = {.sin_family = AF_INET, .sin_port = htons(port)};

	inet_pton(AF_INET, host, &sa.sin_addr);
	return sa;
}

/* A bound socket on 127.0.0.1 and the address it got. */
static int bound(int type, struct sockaddr_in *sa)
{
	int fd = socket(AF_INET, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	socklen_t len = sizeof(*sa);

	*sa = at("127.0.0.1", 0);
	assert_int_equal(bind(fd, (struct sockaddr *)sa, sizeof(*sa)), 0);
	if (type == SOCK_STREAM)
		assert_int_equal(listen(fd, 64), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)sa, &len), 0);
	return fd;
}

/* A free port: bound once and given back. */
static struct sockaddr_in free_address(int type)
{
	struct sockaddr_in sa;

	close(bound(type, &sa));
	return sa;
}

/* ---- an echo backend -------------------------------------------------------------------- */

struct backend {
	struct fixture *f;
	struct sockaddr_in addr;
	struct listener *listener;
	int accepted;
};
struct echo {
	struct stream *s;
};

static void echo_data(void *arg)
{
	struct echo *e = arg;
	size_t len;
	const char *p = stream_peek(e->s, &len);

	stream_write(e->s, p, len);
	stream_consume(e->s, len);
}

static void echo_eof(void *arg)
{
	struct echo *e = arg;

	stream_close(e->s, true, "echoed");
	free(e);
}

static void echo_close(void *arg, const char *why UNUSED)
{
	free(arg);
}

static const struct stream_ops echo_ops = {
	.on_data = echo_data, .on_eof = echo_eof, .on_close = echo_close};

static void on_accept(void *arg, int fd, const struct addr *peer UNUSED)
{
	struct backend *b = arg;
	struct echo *e = xnew(struct echo);

	b->accepted++;
	e->s = stream_new(b->f->loop, fd, NULL, true, &echo_ops, e);
}

static void backend_start(struct fixture *f, struct backend *b)
{
	struct listener_config c = {0};
	struct addr got;

	*b = (struct backend){.f = f};
	assert_int_equal(addr_parse("127.0.0.1:0", &c.addr), 0);
	b->listener = listener_new(f->loop, &c, on_accept, b, NULL);
	assert_non_null(b->listener);
	assert_int_equal(listener_addr(b->listener, &got), 0);
	memcpy(&b->addr, &got.ss, sizeof(b->addr));
}

/* ---- a client --------------------------------------------------------------------------- */

struct client {
	struct stream *s;
	size_t send, got;
	bool done, connected;
};

static void client_connect(void *arg)
{
	struct client *c = arg;
	char *data = xcalloc(c->send, 1);

	c->connected = true;
	stream_write(c->s, data, c->send);
	stream_shutdown(c->s);
	free(data);
}

static void client_data(void *arg)
{
	struct client *c = arg;
	size_t len;

	stream_peek(c->s, &len);
	c->got += len;
	stream_consume(c->s, len);
}

static void client_close(void *arg, const char *why UNUSED)
{
	((struct client *)arg)->done = true;
}

static const struct stream_ops client_ops = {
	.on_connect = client_connect, .on_data = client_data, .on_close = client_close};

static size_t round_trip(struct fixture *f, const struct sockaddr_in *to, size_t bytes)
{
	struct client c = {.send = bytes};
	struct addr a = {.len = sizeof(*to)};

	memcpy(&a.ss, to, sizeof(*to));
	c.s = stream_connect(f->loop, &a, NULL, NULL, &client_ops, &c, NULL);
	if (!c.s)
		return 0;
	assert_int_equal(loop_run_until(f->loop, &c.done, LIMIT), 0);
	return c.got;
}

static void serve(struct fixture *f, uint8_t protocol, struct sockaddr_in listen,
		  const struct proxy_backend *b, size_t n, uint32_t affinity)
{
	struct proxy_frontend fe = {.name = "default/web:http",
				    .protocol = protocol,
				    .listen = listen,
				    .affinity_seconds = affinity,
				    .backends = b,
				    .n_backends = n};

	proxy_set(f->proxy, &fe, 1);
}

static void test_tcp(void **state)
{
	struct fixture *f = *state;
	struct backend one, two;
	struct sockaddr_in listen = free_address(SOCK_STREAM);
	struct proxy_stats stats;

	backend_start(f, &one);
	backend_start(f, &two);
	serve(f, IPPROTO_TCP, listen, (struct proxy_backend[]){{one.addr}, {two.addr}}, 2, 0);
	for (int i = 0; i < 10; i++)
		assert_int_equal(round_trip(f, &listen, 100), 100);
	assert_int_equal(one.accepted, 5);
	assert_int_equal(two.accepted, 5);
	assert_int_equal(round_trip(f, &listen, 32 << 20), 32 << 20); /* bulk, both ways */
	proxy_get_stats(f->proxy, &stats);
	assert_int_equal(stats.connections, 11);
	assert_true(stats.spliced_streams > 0);
	assert_int_equal(stats.bytes, 2 * (10 * 100 + (32 << 20)));
	assert_int_equal(stats.sessions, 0);
	listener_free(one.listener);
	listener_free(two.listener);
}

static void test_failover(void **state)
{
	struct fixture *f = *state;
	struct backend live;
	struct sockaddr_in listen = free_address(SOCK_STREAM), dead = free_address(SOCK_STREAM);

	backend_start(f, &live);
	serve(f, IPPROTO_TCP, listen, (struct proxy_backend[]){{dead}, {live.addr}, {dead}}, 3, 0);
	for (int i = 0; i < 6; i++)
		assert_int_equal(round_trip(f, &listen, 10), 10);
	serve(f, IPPROTO_TCP, listen, (struct proxy_backend[]){{dead}}, 1, 0);
	assert_int_equal(round_trip(f, &listen, 10), 0);
	serve(f, IPPROTO_TCP, listen, NULL, 0, 0); /* nobody ready: refused, not hanging */
	assert_int_equal(round_trip(f, &listen, 10), 0);
	proxy_set(f->proxy, NULL, 0);
	loop_bury(f->loop);
	assert_int_equal(round_trip(f, &listen, 10), 0);
	listener_free(live.listener);
}

/* Many at once: each of them still tries every backend before it is refused. */
static void test_failover_at_once(void **state)
{
	struct fixture *f = *state;
	struct backend live;
	struct sockaddr_in listen = free_address(SOCK_STREAM), dead = free_address(SOCK_STREAM);
	struct client c[15];
	struct addr a = {.len = sizeof(listen)};

	backend_start(f, &live);
	serve(f, IPPROTO_TCP, listen, (struct proxy_backend[]){{dead}, {live.addr}}, 2, 0);
	memcpy(&a.ss, &listen, sizeof(listen));
	for (size_t i = 0; i < ARRAY_SIZE(c); i++) {
		c[i] = (struct client){.send = 10};
		c[i].s = stream_connect(f->loop, &a, NULL, NULL, &client_ops, &c[i], NULL);
	}
	for (size_t i = 0; i < ARRAY_SIZE(c); i++) {
		assert_int_equal(loop_run_until(f->loop, &c[i].done, LIMIT), 0);
		assert_int_equal(c[i].got, 10);
	}
	listener_free(live.listener);
}

struct accepted {
	int fd;
	bool done;
};

static void take_accepted(void *arg, int fd, const struct addr *peer UNUSED)
{
	struct accepted *a = arg;

	a->fd = fd;
	a->done = true;
}

static void set_readable(void *arg, int fd UNUSED, unsigned what UNUSED)
{
	*(bool *)arg = true;
}

/* A frontend whose one backend is *backend, and a client that is connected to it. */
static struct listener *connect_one(struct fixture *f, struct accepted *backend,
				    struct proxy_backend *b, struct sockaddr_in listen, int fd)
{
	struct listener_config c = {0};
	struct listener *l;
	struct addr got;

	assert_int_equal(addr_parse("127.0.0.1:0", &c.addr), 0);
	l = listener_new(f->loop, &c, take_accepted, backend, NULL);
	assert_int_equal(listener_addr(l, &got), 0);
	memcpy(&b->addr, &got.ss, sizeof(b->addr));
	serve(f, IPPROTO_TCP, listen, b, 1, 0);
	assert_int_equal(connect(fd, (struct sockaddr *)&listen, sizeof(listen)), 0);
	return l;
}

/* A backend that answers early and breaks off: its answer still reaches the client. */
static void test_early_answer(void **state)
{
	struct fixture *f = *state;
	struct accepted backend = {0};
	struct listener *l;
	struct proxy_backend b;
	struct sockaddr_in listen = free_address(SOCK_STREAM);
	char buf[8] = "";
	bool readable = false;
	struct io *io;
	auto_fd int fd = socket(AF_INET, SOCK_STREAM, 0);

	l = connect_one(f, &backend, &b, listen, fd);
	assert_int_equal(send(fd, "ask", 3, 0), 3);
	assert_int_equal(loop_run_until(f->loop, &backend.done, LIMIT), 0);
	io = io_new(f->loop, backend.fd, IO_READ, set_readable, &readable);
	assert_int_equal(loop_run_until(f->loop, &readable, LIMIT), 0);
	io_free(io);
	loop_bury(f->loop);
	assert_int_equal(send(backend.fd, "no", 2, 0), 2);
	close(backend.fd); /* unread input: resets */
	assert_int_equal(send(fd, "more", 4, 0), 4);
	readable = false;
	io = io_new(f->loop, fd, IO_READ, set_readable, &readable);
	assert_int_equal(loop_run_until(f->loop, &readable, LIMIT), 0);
	assert_int_equal(recv(fd, buf, sizeof(buf), 0), 2);
	io_free(io);
	listener_free(l);
}

/* A backend whose network is no more: what it has said arrives, then the client is told. */
static void test_backend_gone(void **state)
{
	struct fixture *f = *state;
	struct accepted backend = {0};
	struct listener *l;
	struct proxy_backend b;
	struct sockaddr_in listen = free_address(SOCK_STREAM);
	struct proxy_stats stats;
	char buf[8] = "";
	auto_fd int fd = socket(AF_INET, SOCK_STREAM, 0);

	l = connect_one(f, &backend, &b, listen, fd);
	assert_int_equal(loop_run_until(f->loop, &backend.done, LIMIT), 0);
	assert_int_equal(send(backend.fd, "last", 4, 0), 4);
	proxy_backend_gone(f->proxy, at("127.9.9.9", 0).sin_addr); /* somebody else */
	proxy_get_stats(f->proxy, &stats);
	assert_int_equal(stats.sessions, 1);
	loop_once(f->loop); /* the session notices that it is connected */
	proxy_backend_gone(f->proxy, b.addr.sin_addr);
	loop_bury(f->loop);
	proxy_get_stats(f->proxy, &stats);
	assert_int_equal(stats.sessions, 0);
	assert_int_equal(recv(fd, buf, sizeof(buf), 0), 4);
	assert_string_equal(buf, "last");
	assert_int_equal(recv(fd, buf, sizeof(buf), 0), -1);
	assert_int_equal(errno, ECONNRESET);
	assert_int_equal(round_trip(f, &listen, 10), 0); /* it is not asked again */
	close(backend.fd);
	listener_free(l);
}

static void test_affinity(void **state)
{
	struct fixture *f = *state;
	struct backend b[3];
	struct sockaddr_in listen = free_address(SOCK_STREAM);
	int used = 0;

	for (int i = 0; i < 3; i++)
		backend_start(f, &b[i]);
	serve(f, IPPROTO_TCP, listen,
	      (struct proxy_backend[]){{b[0].addr}, {b[1].addr}, {b[2].addr}}, 3, 10800);
	for (int i = 0; i < 15; i++)
		assert_int_equal(round_trip(f, &listen, 10), 10);
	for (int i = 0; i < 3; i++)
		used += b[i].accepted > 0;
	assert_int_equal(used, 1);
	for (int i = 0; i < 3; i++)
		listener_free(b[i].listener);
}

static void test_port_taken(void **state)
{
	struct fixture *f = *state;
	struct sockaddr_in listen;
	int holder = bound(SOCK_STREAM, &listen);

	serve(f, IPPROTO_TCP, listen, NULL, 0, 0);
	assert_int_equal(f->troubles, 1);
	assert_non_null(strstr(f->trouble, "Address already in use"));
	proxy_set(f->proxy, NULL, 0); /* the trouble goes with its frontend */
	assert_int_equal(f->troubles, 2);
	assert_string_equal(f->trouble, "");
	close(holder);
}

/* One set replaces an address by the wildcard at the same port. */
static void test_address_replaced(void **state)
{
	struct fixture *f = *state;
	struct backend b;
	struct sockaddr_in one = free_address(SOCK_STREAM),
			   any = at("0.0.0.0", ntohs(one.sin_port));

	backend_start(f, &b);
	serve(f, IPPROTO_TCP, one, (struct proxy_backend[]){{b.addr}}, 1, 0);
	serve(f, IPPROTO_TCP, any, (struct proxy_backend[]){{b.addr}}, 1, 0);
	assert_int_equal(f->troubles, 0);
	assert_int_equal(round_trip(f, &one, 10), 10);
	listener_free(b.listener);
}

/* ---- UDP -------------------------------------------------------------------------------- */

struct udp {
	int fd;
	struct io *io;
	struct sockaddr_in addr;
	int got;
	bool done;
};

static void udp_echo(void *arg, int fd, unsigned what UNUSED)
{
	struct udp *u = arg;
	struct sockaddr_in from;
	socklen_t len = sizeof(from);
	char buf[2048];
	ssize_t n = recvfrom(fd, buf, sizeof(buf), 0, (struct sockaddr *)&from, &len);

	u->got++;
	assert_int_equal(sendto(fd, buf, (size_t)n, 0, (struct sockaddr *)&from, len), n);
}

static void udp_answer(void *arg, int fd, unsigned what UNUSED)
{
	struct udp *u = arg;
	struct sockaddr_in from;
	socklen_t len = sizeof(from);
	char buf[2048];

	if (recvfrom(fd, buf, sizeof(buf), 0, (struct sockaddr *)&from, &len) == 5) {
		u->addr = from;
		u->done = true;
	}
}

static void udp_ask(struct fixture *f, struct udp *c, const struct sockaddr_in *to)
{
	c->done = false;
	assert_int_equal(sendto(c->fd, "hello", 5, 0, (const struct sockaddr *)to, sizeof(*to)), 5);
	assert_int_equal(loop_run_until(f->loop, &c->done, LIMIT), 0);
}

static void test_udp(void **state)
{
	struct fixture *f = *state;
	struct udp server[2] = {0}, client = {0};
	struct sockaddr_in listen = free_address(SOCK_DGRAM), own, any = listen, asked;
	struct proxy_stats stats;

	for (int i = 0; i < 2; i++) {
		server[i].fd = bound(SOCK_DGRAM, &server[i].addr);
		server[i].io = io_new(f->loop, server[i].fd, IO_READ, udp_echo, &server[i]);
	}
	client.fd = bound(SOCK_DGRAM, &own);
	client.io = io_new(f->loop, client.fd, IO_READ, udp_answer, &client);
	any.sin_addr.s_addr = INADDR_ANY;
	serve(f, IPPROTO_UDP, any, (struct proxy_backend[]){{server[0].addr}, {server[1].addr}}, 2,
	      0);
	asked = at("127.0.0.2", ntohs(listen.sin_port));
	for (int i = 0; i < 4; i++) {
		udp_ask(f, &client, &asked);
		assert_int_equal(client.addr.sin_addr.s_addr, asked.sin_addr.s_addr);
	}
	assert_true(server[0].got == 4 || server[1].got == 4); /* one flow, one backend */
	int first = server[0].got ? 0 : 1;

	serve(f, IPPROTO_UDP, any, (struct proxy_backend[]){{server[!first].addr}}, 1, 0);
	udp_ask(f, &client, &asked); /* its backend has left: the flow moves */
	assert_int_equal(server[!first].got, 1);
	proxy_get_stats(f->proxy, &stats);
	assert_int_equal(stats.sessions, 1);
	assert_int_equal(stats.udp_packets, 5);
	for (int i = 0; i < 2; i++) {
		io_free(server[i].io);
		close(server[i].fd);
	}
	io_free(client.io);
	close(client.fd);
}

/* A flood of flows makes room among themselves and leaves streams theirs. */
static void test_flood(void **state)
{
	struct fixture *f = *state;
	struct proxy_config config = {.max_sessions = 4};
	struct sockaddr_in udp = free_address(SOCK_DGRAM), tcp = free_address(SOCK_STREAM);
	struct udp server = {0}, c;
	struct backend b;
	struct proxy_stats stats;

	proxy_free(f->proxy);
	loop_bury(f->loop);
	f->proxy = proxy_new(f->loop, &config);
	server.fd = bound(SOCK_DGRAM, &server.addr);
	server.io = io_new(f->loop, server.fd, IO_READ, udp_echo, &server);
	backend_start(f, &b);
	struct proxy_frontend fe[] = {
		{.name = "default/flood",
		 .protocol = IPPROTO_UDP,
		 .listen = udp,
		 .backends = (struct proxy_backend[]){{server.addr}},
		 .n_backends = 1},
		{.name = "default/web",
		 .protocol = IPPROTO_TCP,
		 .listen = tcp,
		 .backends = (struct proxy_backend[]){{b.addr}},
		 .n_backends = 1},
	};
	proxy_set(f->proxy, fe, ARRAY_SIZE(fe));
	for (int i = 0; i < 8; i++) {
		c = (struct udp){0};
		c.fd = bound(SOCK_DGRAM, &c.addr);
		c.io = io_new(f->loop, c.fd, IO_READ, udp_answer, &c);
		udp_ask(f, &c, &udp);
		io_free(c.io);
		close(c.fd);
	}
	proxy_get_stats(f->proxy, &stats);
	assert_int_equal(stats.sessions, 2);
	assert_int_equal(round_trip(f, &tcp, 10), 10);
	io_free(server.io);
	close(server.fd);
	listener_free(b.listener);
}

static void test_show(void **state)
{
	struct fixture *f = *state;
	json_auto_t *rows = NULL;

	serve(f, IPPROTO_TCP, free_address(SOCK_STREAM), NULL, 0, 0);
	rows = show_rows("proxy");
	assert_int_equal(json_array_size(rows), 1);
	assert_string_equal(json_str(json_array_get(rows, 0), "service", ""), "default/web:http");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_tcp, setup, teardown),
		cmocka_unit_test_setup_teardown(test_failover, setup, teardown),
		cmocka_unit_test_setup_teardown(test_failover_at_once, setup, teardown),
		cmocka_unit_test_setup_teardown(test_early_answer, setup, teardown),
		cmocka_unit_test_setup_teardown(test_backend_gone, setup, teardown),
		cmocka_unit_test_setup_teardown(test_affinity, setup, teardown),
		cmocka_unit_test_setup_teardown(test_port_taken, setup, teardown),
		cmocka_unit_test_setup_teardown(test_address_replaced, setup, teardown),
		cmocka_unit_test_setup_teardown(test_flood, setup, teardown),
		cmocka_unit_test_setup_teardown(test_udp, setup, teardown),
		cmocka_unit_test_setup_teardown(test_show, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
