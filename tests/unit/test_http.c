/* SPDX-License-Identifier: Apache-2.0 */
/* http: parser by table, server against client and raw sockets, SPDY sessions back to back. */
#include <coracle/http.h>
#include <setjmp.h>
#include <cmocka.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../../src/http/parse.h"
#include "../../src/http/spdy_headers.h"

#define LIMIT (10 * USEC_PER_SEC)

/* ---- parser ------------------------------------------------------------------------------ */

struct parse_case {
	const char *name, *in;
	bool response;
	int code;	  /* expected error, 0: none */
	const char *body; /* all pieces joined */
	int complete;	  /* messages completed */
};

#define H "Host: x\r\n"
static const struct parse_case parse_cases[] = {
	{"plain get", "GET / HTTP/1.1\r\n" H "\r\n", false, 0, "", 1},
	{"blank lines first", "\r\n\r\nGET / HTTP/1.1\r\n" H "\r\n", false, 0, "", 1},
	{"pipelined", "GET /a HTTP/1.1\r\n" H "\r\nGET /b HTTP/1.1\r\n" H "\r\n", false, 0, "", 2},
	{"length", "POST / HTTP/1.1\r\n" H "Content-Length: 5\r\n\r\nhello", false, 0, "hello", 1},
	{"chunked",
	 "POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n"
	 "3;x=y\r\nhel\r\n2\r\nlo\r\n0\r\nTrailer: 1\r\n\r\n",
	 false, 0, "hello", 1},
	{"both lengths",
	 "POST / HTTP/1.1\r\n" H "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
	 false, 400, "", 0},
	{"two lengths",
	 "POST / HTTP/1.1\r\n" H "Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello", false, 400,
	 "", 0},
	{"signed length", "POST / HTTP/1.1\r\n" H "Content-Length: +5\r\n\r\nhello", false, 400, "",
	 0},
	{"list length", "POST / HTTP/1.1\r\n" H "Content-Length: 5, 5\r\n\r\nhello", false, 400, "",
	 0},
	{"huge length", "POST / HTTP/1.1\r\n" H "Content-Length: 99999999999999999999\r\n\r\n",
	 false, 400, "", 0},
	{"other coding", "POST / HTTP/1.1\r\n" H "Transfer-Encoding: gzip, chunked\r\n\r\n", false,
	 501, "", 0},
	{"coding in 1.0", "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", false, 400, "",
	 0},
	{"bare LF", "GET / HTTP/1.1\n" H "\r\n", false, 400, "", 0},
	{"folded", "GET / HTTP/1.1\r\n" H "A: b\r\n c\r\n\r\n", false, 400, "", 0},
	{"space before colon", "GET / HTTP/1.1\r\n" H "Content-Length : 5\r\n\r\n", false, 400, "",
	 0},
	{"no host", "GET / HTTP/1.1\r\n\r\n", false, 400, "", 0},
	{"two hosts", "GET / HTTP/1.1\r\n" H H "\r\n", false, 400, "", 0},
	{"no host in 1.0", "GET / HTTP/1.0\r\n\r\n", false, 0, "", 1},
	{"http 2", "GET / HTTP/2.0\r\n" H "\r\n", false, 505, "", 0},
	{"no version", "GET /\r\n\r\n", false, 400, "", 0},
	{"space in target", "GET /a b HTTP/1.1\r\n" H "\r\n", false, 400, "", 0},
	{"control in value", "GET / HTTP/1.1\r\n" H "A: b\001\r\n\r\n", false, 400, "", 0},
	{"chunk size junk",
	 "POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n0x3\r\nabc\r\n0\r\n\r\n", false,
	 400, "", 0},
	{"chunk overrun",
	 "POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n3\r\nabcd\r\n0\r\n\r\n", false,
	 400, "abc", 0},
	{"huge chunk",
	 "POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n", false,
	 400, "", 0},
	{"answer", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", true, 0, "ok", 1},
	{"answer, bare LF", "HTTP/1.0 404\nContent-Length: 2\n\nno", true, 0, "no", 1},
	{"answer without body", "HTTP/1.1 204 No Content\r\n\r\n", true, 0, "", 1},
	{"answer until close", "HTTP/1.1 200 OK\r\n\r\nrest", true, 0, "rest", 1},
	{"status junk", "HTTP/1.1 2x0 OK\r\n\r\n", true, 400, "", 0},
};

/* Feeds the text in pieces of `piece` bytes, as a connection would. */
static void run_case(const struct parse_case *c, size_t piece)
{
	struct http_parser p;
	auto_strbuf in = {0}, body = {0};
	size_t fed = 0, len = strlen(c->in), used, n;
	const char *b;
	int complete = 0, code = 0;

	http_parser_init(&p, c->response);
	while (code == 0) {
		enum http_step step = http_parser_step(&p, in.s ? in.s : "", in.len, &used, &b, &n);

		if (step == HTTP_STEP_BODY)
			strbuf_add(&body, b, n);
		if (step == HTTP_STEP_ERROR)
			code = p.code;
		if (step == HTTP_STEP_DONE) {
			complete++;
			http_parser_next(&p);
		}
		memmove(in.s ? in.s : (char[1]){0}, in.s ? in.s + used : "", in.len - used);
		in.len -= used;
		if (step != HTTP_STEP_MORE)
			continue;
		if (fed == len)
			break;
		n = len - fed < piece ? len - fed : piece;
		strbuf_add(&in, c->in + fed, n);
		fed += n;
	}
	if (code == 0 && p.state == HTTP_BODY_CLOSE && http_parser_eof(&p))
		complete++;
	if (code != c->code || complete != c->complete || !streq(body.s ? body.s : "", c->body))
		fail_msg("%s in pieces of %zu: code %d, %d complete, body \"%s\"", c->name, piece,
			 code, complete, body.s ? body.s : "");
	http_parser_done(&p);
}

static void test_parser(void **state UNUSED)
{
	static const size_t pieces[] = {1, 2, 7, 100000};

	for (size_t i = 0; i < ARRAY_SIZE(parse_cases); i++)
		for (size_t k = 0; k < ARRAY_SIZE(pieces); k++)
			run_case(&parse_cases[i], pieces[k]);
}

static void test_parser_bounds(void **state UNUSED)
{
	struct http_parser p;
	auto_strbuf b = {0};
	size_t used, n;
	const char *body;

	strbuf_adds(&b, "GET / HTTP/1.1\r\nHost: x\r\n");
	for (int i = 0; i < 200; i++)
		strbuf_addf(&b, "A%d: b\r\n", i);
	http_parser_init(&p, false);
	assert_int_equal(http_parser_step(&p, b.s, b.len, &used, &body, &n), HTTP_STEP_ERROR);
	assert_int_equal(p.code, 431);
	http_parser_done(&p);
	strbuf_reset(&b);
	strbuf_adds(&b, "GET /");
	for (int i = 0; i < 7000; i++)
		strbuf_adds(&b, "aaaaaaaaaa");
	http_parser_init(&p, false);
	assert_int_equal(http_parser_step(&p, b.s, b.len, &used, &body, &n), HTTP_STEP_ERROR);
	assert_int_equal(p.code, 414);
	http_parser_done(&p);
}

static void test_url(void **state UNUSED)
{
	auto_free char *ok = http_url_decode("a%2Fb+c", 7);

	assert_string_equal(ok, "a/b+c");
	assert_null(http_url_decode("a%2", 3));
	assert_null(http_url_decode("a%zz", 4));
	assert_null(http_url_decode("a%00", 4));
}

/* ---- server and client ------------------------------------------------------------------- */

struct fixture {
	struct loop *loop;
	struct http_server *server;
	struct http_server_config config;
	struct addr addr;
	char dir[64], path[128];
	/* the server's side */
	struct http_request *held;
	struct strbuf streamed;
	bool gone, drained, streamed_end;
	unsigned requests;
	struct spdy *spdy;
	/* the client's side */
	bool done;
	int code;
	struct strbuf answer;
	char why[128];
	struct stream *upgraded;
};

static void on_gone(void *arg)
{
	struct fixture *f = arg;

	f->gone = true;
	f->held = NULL;
}

static void on_body_piece(void *arg, const void *data, size_t len)
{
	struct fixture *f = arg;

	strbuf_add(&f->streamed, data, len);
	if (len == 0) {
		f->streamed_end = true;
		http_respond(f->held, 200, "text/plain", "streamed", 8);
	}
}

static void answer_echo(struct http_request *r)
{
	auto_free char *x = http_param(r, "x");
	auto_strbuf b = {0};
	size_t len;
	const char *body = http_body(r, &len);

	strbuf_addf(&b, "%s %s x=%s h=%s body=%.*s", http_method(r), http_path(r), x ? x : "-",
		    http_header(r, "x-test") ? http_header(r, "x-test") : "-", (int)len, body);
	http_respond_header(r, "X-Answer", "line\r\nbreak");
	http_respond(r, 200, "text/plain", b.s, b.len);
}

static void on_request(void *arg, struct http_request *r)
{
	struct fixture *f = arg;

	f->requests++;
	http_request_on_gone(r, on_gone, f);
	if (streq(http_path(r), "/hold")) {
		f->held = r;
	} else if (streq(http_path(r), "/stream")) {
		http_respond_start(r, 200, "text/plain");
		http_respond_chunk(r, "one", 3);
		http_respond_chunk(r, "two", 3);
		http_respond_end(r);
	} else if (streq(http_path(r), "/upload")) {
		f->held = r;
		http_request_on_body(r, on_body_piece, f);
	} else if (streq(http_path(r), "/early")) {
		http_respond(r, 403, "text/plain", "no", 2);
	} else if (streq(http_path(r), "/upgrade")) {
		f->upgraded = http_upgrade(r, "echo");
	} else {
		answer_echo(r);
	}
}

static bool is_streaming(void *arg UNUSED, const struct http_request *r)
{
	return streq(http_path(r), "/upload") || streq(http_path(r), "/early");
}

static int setup(void **state)
{
	struct fixture *f = xnew(struct fixture);
	auto_err err = {0};

	f->loop = loop_new();
	snprintf(f->dir, sizeof(f->dir), "%s/http.XXXXXX",
		 getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp");
	assert_non_null(mkdtemp(f->dir));
	snprintf(f->path, sizeof(f->path), "%s/s", f->dir);
	f->config = (struct http_server_config){
		.max_body = 1000,
		.on_request = on_request,
		.is_streaming = is_streaming,
		.arg = f,
	};
	assert_int_equal(addr_parse(f->path, &f->config.listen.addr), 0);
	f->config.listen.unix_mode = 0600;
	f->config.listen.unix_gid = (gid_t)-1;
	f->addr = f->config.listen.addr;
	f->server = http_server_new(f->loop, &f->config, &err);
	assert_non_null(f->server);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	http_server_free(f->server);
	if (f->upgraded)
		stream_close(f->upgraded, false, "test ends");
	loop_free(f->loop);
	rm_rf(f->dir);
	strbuf_done(&f->streamed);
	strbuf_done(&f->answer);
	free(f);
	return 0;
}

static void on_done(void *arg, const struct http_answer *a, const char *why)
{
	struct fixture *f = arg;

	f->done = true;
	f->code = a ? a->code : -1;
	strbuf_reset(&f->answer);
	if (a)
		strbuf_add(&f->answer, a->body, a->body_len);
	snprintf(f->why, sizeof(f->why), "%s", why ? why : "");
}

static const struct http_call_ops call_ops = {.on_done = on_done};

static void exchange(struct fixture *f, const char *method, const char *path, const char *body)
{
	static const char *const headers[] = {"X-Test", "yes", NULL};
	struct http_call_config c = {
		.to = f->addr,
		.method = method,
		.path = path,
		.headers = headers,
		.body = body,
		.body_len = body ? strlen(body) : 0,
		.timeout_us = LIMIT,
	};
	auto_err err = {0};

	f->done = false;
	assert_non_null(http_call(f->loop, &c, &call_ops, f, &err));
	assert_int_equal(loop_run_until(f->loop, &f->done, LIMIT), 0);
}

static void test_exchange(void **state)
{
	struct fixture *f = *state;

	exchange(f, "GET", "/a/b?y=1&x=%2Fq+r", NULL);
	assert_int_equal(f->code, 200);
	assert_string_equal(f->answer.s, "GET /a/b x=/q r h=yes body=");
	exchange(f, "PUT", "/c", "hello");
	assert_string_equal(f->answer.s, "PUT /c x=- h=yes body=hello");
	exchange(f, "GET", "/stream", NULL);
	assert_string_equal(f->answer.s, "onetwo");
	exchange(f, "POST", "/upload", "some bytes");
	assert_string_equal(f->streamed.s, "some bytes");
	assert_string_equal(f->answer.s, "streamed");
	exchange(f, "HEAD", "/x", NULL);
	assert_int_equal(f->code, 200);
	assert_int_equal(f->answer.len, 0);
}

static void test_too_large(void **state)
{
	struct fixture *f = *state;
	char big[2001];

	memset(big, 'a', 2000);
	big[2000] = '\0';
	exchange(f, "POST", "/x", big);
	assert_int_equal(f->code, 413);
	assert_string_equal(f->answer.s, "Request entity too large: limit is 1000");
	exchange(f, "POST", "/early", big);
	assert_int_equal(f->code, 403);
	assert_int_equal(f->requests, 1);
}

/* A raw connection to the server. */
static int raw_connect(struct fixture *f)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	assert_int_equal(connect(fd, (struct sockaddr *)&f->addr.ss, f->addr.len), 0);
	return fd;
}

/* Runs the loop until the connection has given `want` or is closed. */
static void raw_read(struct fixture *f, int fd, const char *want)
{
	mono_t until = mono_add(mono_now(), LIMIT);
	char buf[4096];

	strbuf_reset(&f->answer);
	while (mono_before(mono_now(), until)) {
		struct timer *t = timer_new(f->loop, on_gone, f);

		timer_arm(t, 5 * USEC_PER_MSEC);
		loop_once(f->loop);
		timer_free(t);
		ssize_t n = read(fd, buf, sizeof(buf));

		if (n > 0)
			strbuf_add(&f->answer, buf, (size_t)n);
		if (n == 0 || (want && f->answer.s && strstr(f->answer.s, want)))
			return;
	}
	fail_msg("no answer in time: %s", f->answer.s ? f->answer.s : "");
}

static void raw_write(int fd, const char *s)
{
	assert_int_equal(write(fd, s, strlen(s)), strlen(s));
}

static void test_pipelining(void **state)
{
	struct fixture *f = *state;
	auto_fd int fd = raw_connect(f);

	raw_write(fd, "GET /1 HTTP/1.1\r\nHost: x\r\n\r\nGET /2 HTTP/1.1\r\nHost: x\r\n\r\n"
		      "GET /3 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
	raw_read(f, fd, NULL);
	assert_int_equal(f->requests, 3);
	assert_true(strstr(f->answer.s, "GET /1") < strstr(f->answer.s, "GET /2"));
	assert_non_null(strstr(f->answer.s, "GET /3"));
	assert_non_null(strstr(f->answer.s, "X-Answer: line  break\r\n"));
	assert_non_null(strstr(f->answer.s, "Connection: close\r\n"));
}

static void test_expect(void **state)
{
	struct fixture *f = *state;
	auto_fd int fd = raw_connect(f);

	raw_write(fd, "POST /e HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n"
		      "Expect: 100-continue\r\n\r\n");
	raw_read(f, fd, "100 Continue");
	raw_write(fd, "ok");
	raw_read(f, fd, "body=ok");
}

static void test_malformed(void **state)
{
	struct fixture *f = *state;
	auto_fd int fd = raw_connect(f);

	raw_write(fd, "GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n"
		      "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n");
	raw_read(f, fd, NULL);
	assert_true(str_starts(f->answer.s, "HTTP/1.1 400 Bad Request\r\n"));
	assert_int_equal(f->requests, 0);
}

static void test_gone(void **state)
{
	struct fixture *f = *state;
	int fd = raw_connect(f);

	raw_write(fd, "GET /hold HTTP/1.1\r\nHost: x\r\n\r\n");
	while (!f->held)
		loop_once(f->loop);
	close(fd);
	assert_int_equal(loop_run_until(f->loop, &f->gone, LIMIT), 0);
}

static void on_drained(void *arg)
{
	((struct fixture *)arg)->drained = true;
}

/* A client that does not read: the backlog is seen, and its end is told. */
static void test_backlog(void **state)
{
	struct fixture *f = *state;
	auto_fd int fd = raw_connect(f);
	auto_free char *big = xcalloc(1, 100000);
	char buf[65536];

	raw_write(fd, "GET /hold HTTP/1.1\r\nHost: x\r\n\r\n");
	while (!f->held)
		loop_once(f->loop);
	http_respond_on_drain(f->held, on_drained, f);
	http_respond_start(f->held, 200, NULL);
	for (int i = 0; i < 20; i++)
		http_respond_chunk(f->held, big, 100000);
	assert_true(http_respond_backlog(f->held) > 1900000);
	while (!f->drained) {
		struct timer *t = timer_new(f->loop, on_gone, f);

		timer_arm(t, USEC_PER_MSEC);
		loop_once(f->loop);
		timer_free(t);
		while (read(fd, buf, sizeof(buf)) > 0)
			;
	}
}

/* ---- SPDY -------------------------------------------------------------------------------- */

struct peer {
	struct spdy *session;
	struct spdy_stream *stream;
	struct strbuf got, header;
	bool fin, reset, closed, refuse;
};

static bool peer_stream(void *arg, struct spdy_stream *st, const char *const *headers)
{
	struct peer *p = arg;

	for (; headers[0]; headers += 2)
		strbuf_addf(&p->header, "%s=%s;", headers[0], headers[1]);
	if (p->refuse)
		return false;
	p->stream = st;
	return true;
}

static void peer_data(void *arg, struct spdy_stream *st UNUSED, const void *data, size_t len)
{
	strbuf_add(&((struct peer *)arg)->got, data, len);
}

static void peer_fin(void *arg, struct spdy_stream *st UNUSED)
{
	((struct peer *)arg)->fin = true;
}

static void peer_reset(void *arg, struct spdy_stream *st UNUSED)
{
	((struct peer *)arg)->reset = true;
}

static void peer_close(void *arg, const char *why UNUSED)
{
	((struct peer *)arg)->closed = true;
}

static const struct spdy_ops peer_ops = {
	.on_stream = peer_stream,
	.on_data = peer_data,
	.on_fin = peer_fin,
	.on_reset = peer_reset,
	.on_close = peer_close,
};
static const struct stream_ops no_ops;

static void make_session(struct loop *loop, int fd, bool client, struct peer *p)
{
	struct stream *s = stream_new(loop, fd, NULL, !client, &no_ops, NULL);

	p->session = spdy_new(loop, s, client, &peer_ops, p);
}

static void test_spdy(void **state UNUSED)
{
	static const char *const headers[] = {"StreamType", "stdin", "port", "80", NULL};
	struct loop *loop = loop_new();
	struct peer a = {0}, b = {0};
	int fds[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds),
			 0);
	make_session(loop, fds[0], true, &a);
	make_session(loop, fds[1], false, &b);
	struct spdy_stream *st = spdy_open(a.session, headers);

	spdy_write(st, "hello", 5);
	spdy_fin(st);
	assert_int_equal(loop_run_until(loop, &b.fin, LIMIT), 0);
	assert_string_equal(b.header.s, "streamtype=stdin;port=80;");
	assert_string_equal(b.got.s, "hello");
	spdy_write(b.stream, "answer", 6);
	spdy_fin(b.stream);
	assert_int_equal(loop_run_until(loop, &a.fin, LIMIT), 0);
	assert_string_equal(a.got.s, "answer");
	/* A refused stream is reset, the session goes on. */
	b.refuse = true;
	assert_non_null(spdy_open(a.session, headers));
	assert_int_equal(loop_run_until(loop, &a.reset, LIMIT), 0);
	spdy_close(a.session, "test ends");
	assert_int_equal(loop_run_until(loop, &b.closed, LIMIT), 0);
	loop_free(loop);
	strbuf_done(&a.got);
	strbuf_done(&b.got);
	strbuf_done(&b.header);
}

static void test_spdy_raw(void **state UNUSED)
{
	struct loop *loop = loop_new();
	struct peer b = {0};
	unsigned char ping[] = {0x80, 3, 0, 6, 0, 0, 0, 4, 0, 0, 0, 1}, buf[64];
	int fds[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds),
			 0);
	make_session(loop, fds[1], false, &b);
	assert_int_equal(write(fds[0], ping, sizeof(ping)), sizeof(ping));
	while (recv(fds[0], buf, sizeof(buf), 0) < 0)
		loop_once(loop);
	assert_memory_equal(buf, ping, sizeof(ping));
	assert_int_equal(write(fds[0], "GET / HTTP/1.1\r\n", 16), 16);
	ping[1] = 9;
	assert_int_equal(write(fds[0], ping, sizeof(ping)), sizeof(ping));
	close(fds[0]);
	assert_int_equal(loop_run_until(loop, &b.closed, LIMIT), 0);
	loop_free(loop);
}

/* A header block that unpacks to megabytes ends at the bound. */
static void test_spdy_bomb(void **state UNUSED)
{
	struct spdy_packer *p = spdy_packer_new();
	struct spdy_unpacker *u = spdy_unpacker_new();
	auto_free char *huge = xmalloc(1000001);
	auto_strbuf block = {0};
	auto_strv got = {0};

	memset(huge, 'a', 1000000);
	huge[1000000] = '\0';
	const char *const headers[] = {"x", huge, NULL};

	spdy_pack(p, headers, &block);
	assert_true(block.len < 20000);
	assert_int_equal(spdy_unpack(u, block.s, block.len, &got), -E2BIG);
	spdy_packer_free(p);
	spdy_unpacker_free(u);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_parser),
		cmocka_unit_test(test_parser_bounds),
		cmocka_unit_test(test_url),
		cmocka_unit_test_setup_teardown(test_exchange, setup, teardown),
		cmocka_unit_test_setup_teardown(test_too_large, setup, teardown),
		cmocka_unit_test_setup_teardown(test_pipelining, setup, teardown),
		cmocka_unit_test_setup_teardown(test_expect, setup, teardown),
		cmocka_unit_test_setup_teardown(test_malformed, setup, teardown),
		cmocka_unit_test_setup_teardown(test_gone, setup, teardown),
		cmocka_unit_test_setup_teardown(test_backlog, setup, teardown),
		cmocka_unit_test(test_spdy),
		cmocka_unit_test(test_spdy_raw),
		cmocka_unit_test(test_spdy_bomb),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
