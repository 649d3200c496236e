/* SPDX-License-Identifier: Apache-2.0 */
/* The codec, the table's answers, and the responder on loopback with an upstream that the test
 * plays. */
#include "internal.h"
#include <arpa/inet.h>
#include <setjmp.h>
#include <cmocka.h>
#include <sys/socket.h>
#include <unistd.h>

#define LIMIT (20 * USEC_PER_SEC)
enum { HEADER = 12 };

/* ---- messages made and read by the test -------------------------------------------------- */

static size_t make_query(uint8_t *buf, const char *name, uint16_t type, bool edns)
{
	static const uint8_t header[HEADER] = {0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0};
	size_t n = HEADER;

	memcpy(buf, header, HEADER);
	while (*name) {
		size_t len = strcspn(name, ".");

		buf[n++] = (uint8_t)len;
		memcpy(buf + n, name, len);
		n += len;
		name += len;
		name += *name == '.';
	}
	buf[n++] = 0;
	buf[n++] = (uint8_t)(type >> 8);
	buf[n++] = (uint8_t)type;
	buf[n++] = 0;
	buf[n++] = DNS_CLASS_IN;
	if (edns) {
		static const uint8_t opt[] = {0, 0, 41, 0x10, 0, 0, 0, 0, 0, 0, 0};

		memcpy(buf + n, opt, sizeof(opt));
		n += sizeof(opt);
		buf[11] = 1;
	}
	return n;
}

static unsigned get16(const uint8_t *p)
{
	return (unsigned)p[0] << 8 | p[1];
}

static int rcode(const uint8_t *msg)
{
	return msg[3] & 15;
}

static bool truncated(const uint8_t *msg)
{
	return msg[2] & 2;
}

/* The name at *at as text; follows pointers. */
static void read_name(const uint8_t *msg, size_t *at, char *text)
{
	size_t p = *at;
	bool jumped = false;

	*text = '\0';
	while (msg[p]) {
		if ((msg[p] & 0xc0) == 0xc0) {
			if (!jumped)
				*at = p + 2;
			jumped = true;
			p = get16(msg + p) & 0x3fff;
			continue;
		}
		if (*text)
			strcat(text, ".");
		strncat(text, (const char *)msg + p + 1, msg[p]);
		p += 1u + msg[p];
	}
	if (!jumped)
		*at = p + 1;
}

/* All records as "owner TYPE value" lines, sections divided by "--". */
static void describe(const uint8_t *msg, char *out)
{
	char name[DNS_NAME_MAX];
	size_t at = HEADER;

	*out = '\0';
	read_name(msg, &at, name);
	at += 4;
	for (int section = 1; section < 4; section++) {
		for (unsigned i = get16(msg + 4 + 2 * section); i; i--) {
			unsigned type, len;
			size_t data;
			char value[DNS_NAME_MAX] = "";

			read_name(msg, &at, name);
			type = get16(msg + at);
			len = get16(msg + at + 8);
			data = at += 10;
			if (type == DNS_TYPE_A)
				inet_ntop(AF_INET, msg + data, value, sizeof(value));
			else if (type == DNS_TYPE_CNAME || type == DNS_TYPE_PTR)
				read_name(msg, &data, value);
			else if (type == DNS_TYPE_SRV) {
				int n = sprintf(value, "%u ", get16(msg + data + 4));

				data += 6;
				read_name(msg, &data, value + n);
			} else if (type == DNS_TYPE_TXT)
				strncat(value, (const char *)msg + data + 1, msg[data]);
			if (type != DNS_TYPE_OPT)
				sprintf(out + strlen(out), "%s %u %s\n", name, type, value);
			at += len;
		}
		if (section < 3)
			strcat(out, "--\n");
	}
}

/* ---- the codec --------------------------------------------------------------------------- */

static void test_parse(void **state UNUSED)
{
	uint8_t buf[512];
	struct dns_query q;
	size_t n = make_query(buf, "Web.Default.SVC", DNS_TYPE_A, true);

	assert_int_equal(dns_parse_query(buf, n, &q), 0);
	assert_string_equal(q.name, "web.default.svc");
	assert_int_equal(q.type, DNS_TYPE_A);
	assert_true(q.edns);
	assert_int_equal(q.udp_size, 4096);
	for (size_t cut = 0; cut < n; cut++)
		assert_true(dns_parse_query(buf, cut, &q) < 0);
	buf[2] |= 0x80; /* an answer is no query */
	assert_int_equal(dns_parse_query(buf, n, &q), -EINVAL);
	buf[2] = 0x28; /* opcode UPDATE */
	assert_int_equal(dns_parse_query(buf, n, &q), -ENOTSUP);
	n = make_query(buf, "x", DNS_TYPE_A, false);
	buf[HEADER] = 0xc0; /* a pointer in a question */
	assert_int_equal(dns_parse_query(buf, n, &q), -EBADMSG);
}

/* ---- answers ----------------------------------------------------------------------------- */

struct fixture {
	struct loop *loop;
	struct dns *dns;
	char dir[64], resolv[80];
	int upstream; /* the server that the test plays */
	struct io *upstream_io;
	struct sockaddr_in addr; /* of the responder */
	int upstream_queries;
};

static struct in_addr ip(const char *text)
{
	struct in_addr a;

	assert_int_equal(inet_pton(AF_INET, text, &a), 1);
	return a;
}

static void set_services(struct fixture *f)
{
	const struct dns_port ports[] = {{"http", "tcp", 80}, {"dns", "udp", 53}};
	const struct dns_endpoint endpoints[] = {{ip("10.42.0.5"), "db-0"},
						 {ip("10.42.0.6"), NULL}};
	const struct dns_service services[] = {
		{.ns = "default",
		 .name = "web",
		 .cluster_ip = ip("10.43.1.1"),
		 .ports = ports,
		 .n_ports = 2},
		{.ns = "default",
		 .name = "db",
		 .ports = ports,
		 .n_ports = 1,
		 .endpoints = endpoints,
		 .n_endpoints = 2},
		{.ns = "default", .name = "empty"},
		{.ns = "default", .name = "ext", .external_name = "www.example.com"},
		{.ns = "default",
		 .name = "alias",
		 .external_name = "web.default.svc.cluster.local"},
	};

	dns_set(f->dns, services, ARRAY_SIZE(services));
}

/* The test's upstream answers every A question with 192.0.2.1, others with NXDOMAIN. */
static void on_upstream(void *arg, int fd, unsigned what UNUSED)
{
	struct fixture *f = arg;
	uint8_t buf[1024];
	struct sockaddr_in from;
	socklen_t len = sizeof(from);
	ssize_t n = recvfrom(fd, buf, sizeof(buf), 0, (struct sockaddr *)&from, &len);
	struct dns_query q;
	struct dns_writer w;
	uint8_t out[1024];

	assert_int_equal(dns_parse_query(buf, (size_t)n, &q), 0);
	f->upstream_queries++;
	dns_write_start(&w, out, sizeof(out), buf, &q);
	if (q.type == DNS_TYPE_A)
		dns_write_a(&w, DNS_ANSWER, NULL, 60, ip("192.0.2.1"));
	sendto(fd, out, dns_write_end(&w, &q, q.type == DNS_TYPE_A ? 0 : 3, false), 0,
	       (struct sockaddr *)&from, len);
}

static void write_resolv(struct fixture *f, const char *text)
{
	assert_int_equal(file_write_atomic(f->resolv, text, strlen(text), 0644, false), 0);
}

static int setup(void **state)
{
	struct fixture *f = xnew(struct fixture);
	struct sockaddr_in sa = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
	struct dns_config c = {.listen = sa, .cluster_domain = "cluster.local"};
	socklen_t len = sizeof(sa);
	char line[128];
	auto_err err = {0};

	f->loop = loop_new();
	strcpy(f->dir, "/tmp/coracle-dns-XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	snprintf(f->resolv, sizeof(f->resolv), "%s/resolv.conf", f->dir);
	f->upstream = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(f->upstream, (struct sockaddr *)&sa, sizeof(sa)), 0);
	assert_int_equal(getsockname(f->upstream, (struct sockaddr *)&sa, &len), 0);
	f->upstream_io = io_new(f->loop, f->upstream, IO_READ, on_upstream, f);
	snprintf(line, sizeof(line), "# test\n\nnameserver 127.0.0.1:%d\n", ntohs(sa.sin_port));
	write_resolv(f, line);
	c.resolv_conf = f->resolv;
	f->dns = dns_new(f->loop, &c, &err);
	assert_non_null(f->dns);
	len = sizeof(f->addr);
	assert_int_equal(getsockname(f->dns->fd, (struct sockaddr *)&f->addr, &len), 0);
	set_services(f);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	dns_free(f->dns);
	io_free(f->upstream_io);
	close(f->upstream);
	loop_free(f->loop);
	rm_rf(f->dir);
	free(f);
	return 0;
}

struct waiting {
	int fd;
	uint8_t msg[DNS_TCP_MAX];
	ssize_t len;
	bool done;
};

static void on_answer(void *arg, int fd, unsigned what UNUSED)
{
	struct waiting *w = arg;

	w->len = recv(fd, w->msg, sizeof(w->msg), 0);
	w->done = true;
}

/* Asks over UDP; the answer is in a static buffer. */
static const uint8_t *ask(struct fixture *f, const char *name, uint16_t type, bool edns,
			  size_t *len)
{
	static struct waiting w;
	uint8_t query[512];
	size_t n = make_query(query, name, type, edns);
	struct io *io;

	w = (struct waiting){.fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)};
	io = io_new(f->loop, w.fd, IO_READ, on_answer, &w);
	assert_int_equal(sendto(w.fd, query, n, 0, (struct sockaddr *)&f->addr, sizeof(f->addr)),
			 n);
	assert_int_equal(loop_run_until(f->loop, &w.done, LIMIT), 0);
	io_free(io);
	close(w.fd);
	assert_true(w.len >= HEADER);
	assert_int_equal(get16(w.msg), 0x1234);
	if (len)
		*len = (size_t)w.len;
	return w.msg;
}

static void test_names(void **state)
{
	static const struct {
		const char *name;
		uint16_t type;
		int rcode;
		const char *records;
	} cases[] = {
		{"web.default", DNS_TYPE_A, 0, "web.default 1 10.43.1.1\n--\n--\n"},
		{"web.default.svc", DNS_TYPE_A, 0, "web.default.svc 1 10.43.1.1\n--\n--\n"},
		{"web.default.svc.local", DNS_TYPE_A, 0,
		 "web.default.svc.local 1 10.43.1.1\n--\n--\n"},
		{"WEB.default.svc.cluster.LOCAL", DNS_TYPE_A, 0,
		 "WEB.default.svc.cluster.LOCAL 1 10.43.1.1\n--\n--\n"},
		{"web.default.svc.cluster.local", DNS_TYPE_AAAA, 0, "--\ncluster.local 6 \n--\n"},
		{"nope.default.svc.cluster.local", DNS_TYPE_A, 3, "--\ncluster.local 6 \n--\n"},
		{"default.svc.cluster.local", DNS_TYPE_A, 0, "--\ncluster.local 6 \n--\n"},
		{"nope.svc.cluster.local", DNS_TYPE_A, 3, "--\ncluster.local 6 \n--\n"},
		{"a.b.c.d.e.svc.cluster.local", DNS_TYPE_A, 3, "--\ncluster.local 6 \n--\n"},
		{"_http._tcp.web.default.svc.cluster.local", DNS_TYPE_SRV, 0,
		 "_http._tcp.web.default.svc.cluster.local 33 80 "
		 "web.default.svc.cluster.local\n--\n--\n"
		 "web.default.svc.cluster.local 1 10.43.1.1\n"},
		{"_dns._tcp.web.default.svc.cluster.local", DNS_TYPE_SRV, 3,
		 "--\ncluster.local 6 \n--\n"},
		{"_http._tcp.db.default.svc.cluster.local", DNS_TYPE_SRV, 0,
		 "_http._tcp.db.default.svc.cluster.local 33 80 db-0.db.default.svc.cluster.local\n"
		 "_http._tcp.db.default.svc.cluster.local 33 80 "
		 "10-42-0-6.db.default.svc.cluster.local\n"
		 "--\n--\n"
		 "db-0.db.default.svc.cluster.local 1 10.42.0.5\n"
		 "10-42-0-6.db.default.svc.cluster.local 1 10.42.0.6\n"},
		{"db-0.db.default.svc.cluster.local", DNS_TYPE_A, 0,
		 "db-0.db.default.svc.cluster.local 1 10.42.0.5\n--\n--\n"},
		{"db-1.db.default.svc.cluster.local", DNS_TYPE_A, 3, "--\ncluster.local 6 \n--\n"},
		{"empty.default.svc.cluster.local", DNS_TYPE_A, 3, "--\ncluster.local 6 \n--\n"},
		{"1.1.43.10.in-addr.arpa", DNS_TYPE_PTR, 0,
		 "1.1.43.10.in-addr.arpa 12 web.default.svc.cluster.local\n--\n--\n"},
		{"5.0.42.10.in-addr.arpa", DNS_TYPE_PTR, 0,
		 "5.0.42.10.in-addr.arpa 12 db-0.db.default.svc.cluster.local\n--\n--\n"},
		{"10-42-0-5.default.pod.cluster.local", DNS_TYPE_A, 0,
		 "10-42-0-5.default.pod.cluster.local 1 10.42.0.5\n--\n--\n"},
		{"dns-version.cluster.local", DNS_TYPE_TXT, 0,
		 "dns-version.cluster.local 16 1.1.0\n--\n--\n"},
		{"alias.default.svc.cluster.local", DNS_TYPE_A, 0,
		 "alias.default.svc.cluster.local 5 web.default.svc.cluster.local\n"
		 "web.default.svc.cluster.local 1 10.43.1.1\n--\n--\n"},
	};
	struct fixture *f = *state;
	char text[4096];

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const uint8_t *msg = ask(f, cases[i].name, cases[i].type, i % 2, NULL);

		describe(msg, text);
		assert_string_equal(text, cases[i].records);
		assert_int_equal(rcode(msg), cases[i].rcode);
	}
	assert_int_equal(f->upstream_queries, 0);
}

static void test_headless_rotates(void **state)
{
	struct fixture *f = *state;
	char first[4096], second[4096];

	describe(ask(f, "db.default", DNS_TYPE_A, false, NULL), first);
	describe(ask(f, "db.default", DNS_TYPE_A, false, NULL), second);
	assert_string_not_equal(first, second);
	assert_non_null(strstr(first, "10.42.0.5"));
	assert_non_null(strstr(first, "10.42.0.6"));
}

static void test_forwarding(void **state)
{
	struct fixture *f = *state;
	char text[4096];
	const uint8_t *msg;

	describe(ask(f, "example.com", DNS_TYPE_A, false, NULL), text);
	assert_string_equal(text, "example.com 1 192.0.2.1\n--\n--\n");
	assert_int_equal(rcode(ask(f, "nope.example.com", DNS_TYPE_TXT, true, NULL)), 3);
	describe(ask(f, "ext.default.svc.cluster.local", DNS_TYPE_A, false, NULL), text);
	assert_string_equal(text, "ext.default.svc.cluster.local 5 www.example.com\n"
				  "www.example.com 1 192.0.2.1\n--\n--\n");
	assert_int_equal(f->upstream_queries, 3);

	write_resolv(f, "# no server any more\n");
	msg = ask(f, "example.com", DNS_TYPE_A, false, NULL);
	assert_int_equal(rcode(msg), DNS_RCODE_SERVFAIL);
	msg = ask(f, "web.default", DNS_TYPE_A, false, NULL); /* our own zone goes on */
	assert_int_equal(rcode(msg), 0);
}

/* web.dev is a service when there is one; www.web.dev is the world's. */
static void test_longer_names_are_foreign(void **state)
{
	struct fixture *f = *state;
	char text[4096];

	describe(ask(f, "x.web.default", DNS_TYPE_A, false, NULL), text);
	assert_string_equal(text, "x.web.default 1 192.0.2.1\n--\n--\n");
	describe(ask(f, "a.b.web.default", DNS_TYPE_A, false, NULL), text);
	assert_string_equal(text, "a.b.web.default 1 192.0.2.1\n--\n--\n");
}

/* The network changes while the old server leaves questions unanswered. */
static void test_server_replaced(void **state)
{
	struct fixture *f = *state;
	struct sockaddr_in sa = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
	socklen_t len = sizeof(sa);
	auto_fd int silent = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	auto_fd int asker = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	auto_free char *before = NULL;
	uint8_t query[512];
	char line[128], text[4096];
	size_t n = make_query(query, "example.com", DNS_TYPE_A, false);

	assert_int_equal(file_read(f->resolv, 4096, &before, NULL), 0);
	assert_int_equal(bind(silent, (struct sockaddr *)&sa, sizeof(sa)), 0);
	assert_int_equal(getsockname(silent, (struct sockaddr *)&sa, &len), 0);
	snprintf(line, sizeof(line), "nameserver 127.0.0.1:%d\n", ntohs(sa.sin_port));
	write_resolv(f, line);
	assert_int_equal(sendto(asker, query, n, 0, (struct sockaddr *)&f->addr, sizeof(f->addr)),
			 n);
	while (upstream_outstanding(f->dns->upstream) == 0)
		loop_once(f->loop);
	auto_free char *after = xasprintf("nameserver junk\n%s", before);
	write_resolv(f, after);
	describe(ask(f, "example.com", DNS_TYPE_A, false, NULL), text);
	assert_string_equal(text, "example.com 1 192.0.2.1\n--\n--\n");
}

static void test_truncation_and_tcp(void **state)
{
	struct fixture *f = *state;
	struct dns_endpoint many[200];
	struct dns_service s = {
		.ns = "default", .name = "many", .endpoints = many, .n_endpoints = 200};
	struct waiting w = {0};
	uint8_t query[514];
	char *text = xmalloc(1 << 20);
	size_t len, n;
	struct io *io;

	for (size_t i = 0; i < ARRAY_SIZE(many); i++)
		many[i] = (struct dns_endpoint){{htonl(0x0a2a0100 + (uint32_t)i)}, NULL};
	dns_set(f->dns, &s, 1);
	assert_true(truncated(ask(f, "many.default", DNS_TYPE_A, false, &len)));
	assert_true(len <= DNS_UDP_MAX);
	assert_true(truncated(ask(f, "many.default", DNS_TYPE_A, true, &len)));
	assert_true(len > DNS_UDP_MAX && len <= DNS_EDNS_MAX);

	w.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(connect(w.fd, (struct sockaddr *)&f->addr, sizeof(f->addr)), 0);
	n = make_query(query + 2, "many.default", DNS_TYPE_A, false);
	query[0] = 0;
	query[1] = (uint8_t)n;
	assert_int_equal(write(w.fd, query, 5), 5); /* in pieces */
	loop_once(f->loop);
	assert_int_equal(write(w.fd, query + 5, n - 3), n - 3);
	io = io_new(f->loop, w.fd, IO_READ, on_answer, &w);
	assert_int_equal(loop_run_until(f->loop, &w.done, LIMIT), 0);
	assert_int_equal(get16(w.msg), w.len - 2);
	assert_false(truncated(w.msg + 2));
	describe(w.msg + 2, text);
	assert_non_null(strstr(text, "10.42.1.199"));
	io_free(io);
	close(w.fd);
	free(text);
}

static void test_malformed(void **state)
{
	struct fixture *f = *state;
	uint8_t query[512];
	size_t n = make_query(query, "web.default", DNS_TYPE_A, false);
	struct waiting w = {.fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)};
	struct io *io = io_new(f->loop, w.fd, IO_READ, on_answer, &w);

	query[5] = 2;								 /* two questions */
	sendto(w.fd, query, 3, 0, (struct sockaddr *)&f->addr, sizeof(f->addr)); /* no answer */
	sendto(w.fd, query, n, 0, (struct sockaddr *)&f->addr, sizeof(f->addr));
	assert_int_equal(loop_run_until(f->loop, &w.done, LIMIT), 0);
	assert_int_equal(rcode(w.msg), DNS_RCODE_FORMERR);
	io_free(io);
	close(w.fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_parse),
		cmocka_unit_test_setup_teardown(test_names, setup, teardown),
		cmocka_unit_test_setup_teardown(test_headless_rotates, setup, teardown),
		cmocka_unit_test_setup_teardown(test_forwarding, setup, teardown),
		cmocka_unit_test_setup_teardown(test_longer_names_are_foreign, setup, teardown),
		cmocka_unit_test_setup_teardown(test_server_replaced, setup, teardown),
		cmocka_unit_test_setup_teardown(test_truncation_and_tcp, setup, teardown),
		cmocka_unit_test_setup_teardown(test_malformed, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
