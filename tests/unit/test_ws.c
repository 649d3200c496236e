/* SPDX-License-Identifier: Apache-2.0 */
/* WebSockets: frames by table in every cutting, handshake over a raw connection, back-pressure. */
#include <coracle/http.h>
#include <setjmp.h>
#include <cmocka.h>
#include <sys/socket.h>
#include <unistd.h>

#define LIMIT (10 * USEC_PER_SEC)
#define FIN 0x80

/* ---- frames ------------------------------------------------------------------------------ */

/* Appends a masked frame with this first byte. */
static void add_frame(struct strbuf *b, unsigned first, const void *data, size_t len)
{
	static const unsigned char mask[4] = {0x37, 0xfa, 0x21, 0x3d};

	strbuf_addc(b, (char)first);
	strbuf_addc(b, (char)(FIN | (len < 126 ? len : len < 65536 ? 126 : 127)));
	for (unsigned i = len < 126 ? 0 : len < 65536 ? 2 : 8; i-- > 0;)
		strbuf_addc(b, (char)(len >> (8 * i)));
	strbuf_add(b, mask, 4);
	for (size_t i = 0; i < len; i++)
		strbuf_addc(b, (char)(((const unsigned char *)data)[i] ^ mask[i % 4]));
}

struct frame {
	unsigned first;
	const char *data;
	size_t len;
};
struct frame_case {
	const char *name;
	struct frame frames[4];
	const char *raw; /* bytes behind the frames */
	size_t raw_len;
	const char *told; /* what was given out: "t" or "b", text, "." at the end of a message */
	const char *sent; /* what we sent */
	size_t sent_len;
};
#define S(s) s, sizeof(s) - 1
static const struct frame_case cases[] = {
	{"text", {{0x81, S("Hello")}}, .told = "tHello.", .sent = "", .sent_len = 0},
	{"binary", {{0x82, S("\0a")}}, .told = "b0a.", .sent = ""},
	{"empty", {{0x82, S("")}}, .told = "b.", .sent = ""},
	{"empty fragments",
	 {{0x02, S("")}, {0x00, S("")}, {0x80, S("")}},
	 .told = "b.",
	 .sent = ""},
	{"fragments around a ping",
	 {{0x01, S("Hel")}, {0x89, S("p")}, {0x80, S("lo")}, {0x82, S("x")}},
	 .told = "tHello.bx.",
	 .sent = "\x8a\1p",
	 .sent_len = 3},
	{"pong", {{0x8a, S("anything")}}, .told = "", .sent = ""},
	{"character cut",
	 {{0x01, S("\xe2\x82")}, {0x80, S("\xac")}},
	 .told = "t\xe2\x82\xac.",
	 .sent = ""},
	{"close",
	 {{0x88, S("\x03\xe8"
		   "bye")}},
	 .told = "!",
	 .sent = "\x88\2\x03\xe8",
	 .sent_len = 4},
	{"close without code",
	 {{0x88, S("")}},
	 .told = "!",
	 .sent = "\x88\2\x03\xe8",
	 .sent_len = 4},
	{"own code", {{0x88, S("\x0f\xa0")}}, .told = "!", .sent = "\x88\2\x0f\xa0", .sent_len = 4},
	{"nothing after close",
	 {{0x88, S("\x03\xe8")}, {0x81, S("late")}},
	 .told = "!",
	 .sent = "\x88\2\x03\xe8",
	 .sent_len = 4},
	/* Below only the code of the Close is compared. */
	{"half a code", {{0x88, S("\x03")}}, .told = "!", .sent = "\x03\xea"},
	{"code 1005", {{0x88, S("\x03\xed")}}, .told = "!", .sent = "\x03\xea"},
	{"code 2999", {{0x88, S("\x0b\xb7")}}, .told = "!", .sent = "\x03\xea"},
	{"reason not UTF-8", {{0x88, S("\x03\xe8\xff")}}, .told = "!", .sent = "\x03\xef"},
	{"reserved bit", {{0xc1, S("x")}}, .told = "!", .sent = "\x03\xea"},
	{"opcode 3", {{0x83, S("x")}}, .told = "!", .sent = "\x03\xea"},
	{"opcode 11", {{0x8b, S("x")}}, .told = "!", .sent = "\x03\xea"},
	{"continues nothing", {{0x80, S("x")}}, .told = "!", .sent = "\x03\xea"},
	{"text in text", {{0x01, S("x")}, {0x81, S("y")}}, .told = "tx!", .sent = "\x03\xea"},
	{"ping in pieces", {{0x09, S("x")}}, .told = "!", .sent = "\x03\xea"},
	{"ping too long", {{0}}, S("\x89\xfe\0\x7e\0\0\0\0"), "!", "\x03\xea", 0},
	{"not masked", {{0}}, S("\x81\1x"), "!", "\x03\xea", 0},
	{"length of 16 bits for 1", {{0}}, S("\x81\xfe\0\1\0\0\0\0x"), "!", "\x03\xea", 0},
	{"length of 64 bits for 1",
	 {{0}},
	 S("\x81\xff\0\0\0\0\0\0\0\1\0\0\0\0x"),
	 "!",
	 "\x03\xea",
	 0},
	{"length of 2^63", {{0}}, S("\x82\xff\x80\0\0\0\0\0\0\1\0\0\0\0"), "!", "\x03\xea", 0},
	{"not UTF-8", {{0x81, S("\xff")}}, .told = "!", .sent = "\x03\xef"},
	{"overlong", {{0x81, S("\xc0\xaf")}}, .told = "!", .sent = "\x03\xef"},
	{"surrogate", {{0x81, S("\xed\xa0\x80")}}, .told = "!", .sent = "\x03\xef"},
	{"above U+10FFFF", {{0x81, S("\xf4\x90\x80\x80")}}, .told = "!", .sent = "\x03\xef"},
	{"ends in a character", {{0x81, S("\xe2\x82")}}, .told = "!", .sent = "\x03\xef"},
};

struct peer {
	struct loop *loop;
	struct ws *ws;
	int fd; /* the client's side */
	struct strbuf told, sent;
	size_t bytes;
	bool closed, drained;
};

static void on_piece(void *arg, const void *data, size_t len, unsigned flags)
{
	struct peer *p = arg;

	p->bytes += len;
	if (flags & WS_FIRST)
		strbuf_addc(&p->told, flags & WS_TEXT ? 't' : 'b');
	for (size_t i = 0; i < len && p->told.len < 4096; i++)
		strbuf_addc(&p->told, ((const char *)data)[i] ? ((const char *)data)[i] : '0');
	if (flags & WS_LAST)
		strbuf_addc(&p->told, '.');
}

static void on_drain(void *arg)
{
	((struct peer *)arg)->drained = true;
}

static void on_close(void *arg, const char *why UNUSED)
{
	struct peer *p = arg;

	p->closed = true;
	p->ws = NULL;
	strbuf_addc(&p->told, '!');
}

static const struct ws_ops ops = {.on_piece = on_piece, .on_drain = on_drain, .on_close = on_close};
static const struct stream_ops no_ops;

static void peer_open(struct peer *p)
{
	int fds[2];

	*p = (struct peer){.loop = loop_new()};
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds),
			 0);
	p->fd = fds[0];
	p->ws = ws_new(p->loop, stream_new(p->loop, fds[1], NULL, true, &no_ops, NULL), &ops, p);
	strbuf_adds(&p->told, "");
	strbuf_adds(&p->sent, "");
}

static void peer_done(struct peer *p)
{
	ws_close(p->ws, WS_GOING_AWAY, "test ends");
	fd_close(p->fd);
	loop_bury(p->loop);
	loop_free(p->loop);
	strbuf_done(&p->told);
	strbuf_done(&p->sent);
}

static void nothing(void *arg UNUSED)
{
}

/* One turn; what we sent is collected. */
static void turn(struct peer *p)
{
	struct timer *t = timer_new(p->loop, nothing, NULL);
	char buf[65536];
	ssize_t n;

	timer_arm(t, 1000);
	assert_int_equal(loop_once(p->loop), 0);
	timer_free(t);
	while ((n = read(p->fd, buf, sizeof(buf))) > 0)
		strbuf_add(&p->sent, buf, (size_t)n);
}

/* Writes all of it in pieces, running the loop. */
static void feed(struct peer *p, const char *data, size_t len, size_t piece)
{
	while (len && !p->closed) {
		ssize_t n = write(p->fd, data, len < piece ? len : piece);

		if (n > 0) {
			data += n;
			len -= (size_t)n;
		}
		turn(p);
	}
	for (int i = 0; i < 3; i++)
		turn(p);
}

static bool ends_whole(const struct peer *p)
{
	return p->told.len && p->told.s[p->told.len - 1] == '.';
}

static void run_case(const struct frame_case *c, size_t piece)
{
	struct peer p;
	auto_strbuf in = {0};

	peer_open(&p);
	for (size_t i = 0; i < ARRAY_SIZE(c->frames) && c->frames[i].data; i++)
		add_frame(&in, c->frames[i].first, c->frames[i].data, c->frames[i].len);
	strbuf_add(&in, c->raw ? c->raw : "", c->raw_len);
	feed(&p, in.s, in.len, piece);
	/* Characters may be given out before the broken one. */
	bool broken = c->sent_len == 0 && *c->sent;

	if (broken ? !p.closed || strchr(p.told.s, '.') : !streq(p.told.s, c->told))
		fail_msg("%s in pieces of %zu: told %s", c->name, piece, p.told.s);
	if (c->sent_len || !*c->sent) {
		if (p.sent.len != c->sent_len || memcmp(p.sent.s, c->sent, c->sent_len) != 0)
			fail_msg("%s in pieces of %zu: sent %zu bytes", c->name, piece, p.sent.len);
	} else if (p.sent.len < 4 || p.sent.s[0] != '\x88' ||
		   memcmp(p.sent.s + 2, c->sent, 2) != 0) {
		fail_msg("%s in pieces of %zu: not the Close we want", c->name, piece);
	}
	peer_done(&p);
}

static void test_frames(void **state UNUSED)
{
	static const size_t pieces[] = {1, 3, 100000};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		for (size_t k = 0; k < ARRAY_SIZE(pieces); k++)
			run_case(&cases[i], pieces[k]);
}

/* Lengths around the bounds of their encodings, there and back. */
static void test_lengths(void **state UNUSED)
{
	static const size_t lengths[] = {125, 126, 65535, 65536, 300000};

	for (size_t i = 0; i < ARRAY_SIZE(lengths); i++) {
		auto_free char *data = xcalloc(1, lengths[i]);
		struct iovec parts[] = {{data, 1}, {data, lengths[i] - 1}};
		auto_strbuf in = {0};
		struct peer p;

		peer_open(&p);
		add_frame(&in, 0x82, data, lengths[i]);
		feed(&p, in.s, in.len, 100000);
		for (int k = 0; k < 200 && !ends_whole(&p); k++)
			turn(&p);
		assert_int_equal(p.bytes, lengths[i]);
		ws_send(p.ws, false, parts, 2);
		size_t want = lengths[i] + (lengths[i] < 126 ? 2 : lengths[i] < 65536 ? 4 : 10);

		for (int k = 0; k < 200 && p.sent.len < want; k++)
			turn(&p);
		assert_int_equal(p.sent.len, want);
		assert_int_equal((unsigned char)p.sent.s[0], 0x82);
		assert_true(p.drained);
		peer_done(&p);
	}
}

static void test_finish(void **state UNUSED)
{
	struct peer p;
	auto_strbuf in = {0};

	peer_open(&p);
	ws_pause(p.ws, true);
	ws_finish(p.ws, WS_NORMAL, "done");
	ws_send(p.ws, true, &(struct iovec){(char[]){"x"}, 1}, 1);
	add_frame(&in, 0x81, "late", 4);
	feed(&p, in.s, in.len, 100);
	assert_string_equal(p.told.s, "");
	assert_int_equal(p.sent.len, 8);
	assert_memory_equal(p.sent.s,
			    "\x88\6\x03\xe8"
			    "done",
			    8);
	strbuf_reset(&in);
	add_frame(&in, 0x88, "\x03\xe8", 2);
	feed(&p, in.s, in.len, 100);
	assert_string_equal(p.told.s, "!");
	peer_done(&p);
}

/* While paused nothing is given out, and the client is stopped by the connection. */
static void test_pause(void **state UNUSED)
{
	enum { TOTAL = 4000000 };
	auto_free char *data = xcalloc(1, TOTAL);
	auto_strbuf in = {0};
	size_t fed = 0;
	struct peer p;

	peer_open(&p);
	ws_pause(p.ws, true);
	add_frame(&in, 0x82, data, TOTAL);
	for (int idle = 0; idle < 50; idle++) {
		ssize_t n = write(p.fd, in.s + fed, in.len - fed);

		fed += n > 0 ? (size_t)n : 0;
		idle = n > 0 ? 0 : idle;
		turn(&p);
	}
	assert_int_equal(p.bytes, 0);
	assert_true(fed < TOTAL / 2);
	ws_pause(p.ws, false);
	feed(&p, in.s + fed, in.len - fed, 1000000);
	for (int k = 0; k < 2000 && !ends_whole(&p); k++)
		turn(&p);
	assert_int_equal(p.bytes, TOTAL);
	peer_done(&p);
}

/* A client that pings and does not read: the pongs it gets are bounded. */
static void test_unread_pongs(void **state UNUSED)
{
	static const char text[120];
	auto_strbuf in = {0};
	int refused = 0;
	struct peer p;

	peer_open(&p);
	add_frame(&in, 0x89, text, sizeof(text));
	for (int i = 0; i < 100000 && refused < 50; i++) {
		struct timer *t = timer_new(p.loop, nothing, NULL);
		bool full = write(p.fd, in.s, in.len) < 0;

		timer_arm(t, 100);
		if (full || i % 16 == 0)
			assert_int_equal(loop_once(p.loop), 0);
		timer_free(t);
		refused = full ? refused + 1 : 0;
	}
	assert_int_equal(refused, 50);
	assert_true(ws_backlog(p.ws) < 1200000);
	peer_done(&p);
}

/* ---- SPDY inside ------------------------------------------------------------------------- */

struct tunnel {
	struct spdy *session;
	struct strbuf got;
	bool opened, ended, closed;
};

static bool tunnel_stream(void *arg, struct spdy_stream *st UNUSED, const char *const *headers)
{
	struct tunnel *t = arg;

	t->opened = streq(headers[0], "streamtype") && streq(headers[1], "data");
	return t->opened;
}

static void tunnel_data(void *arg, struct spdy_stream *st UNUSED, const void *data, size_t len)
{
	strbuf_add(&((struct tunnel *)arg)->got, data, len);
}

static void tunnel_fin(void *arg, struct spdy_stream *st)
{
	((struct tunnel *)arg)->ended = true;
	spdy_write(st, "answer", 6);
	spdy_fin(st);
}

static void tunnel_close(void *arg, const char *why UNUSED)
{
	((struct tunnel *)arg)->closed = true;
}

static const struct spdy_ops tunnel_ops = {
	.on_stream = tunnel_stream,
	.on_data = tunnel_data,
	.on_fin = tunnel_fin,
	.on_close = tunnel_close,
};

/* The bytes of a SPDY client that opens a stream and says hello. */
static void spdy_bytes(struct peer *p, struct strbuf *ret)
{
	static const char *const headers[] = {"streamtype", "data", NULL};
	static const struct spdy_ops none;
	int fds[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds),
			 0);
	p->fd = fds[0];
	struct spdy *s = spdy_new(p->loop, stream_new(p->loop, fds[1], NULL, false, &no_ops, NULL),
				  true, &none, NULL);
	struct spdy_stream *st = spdy_open(s, headers);

	spdy_write(st, "hello", 5);
	spdy_fin(st);
	for (int i = 0; i < 5; i++)
		turn(p);
	strbuf_add(ret, p->sent.s, p->sent.len);
	strbuf_reset(&p->sent);
	spdy_close(s, "done");
	p->fd = fd_close(p->fd);
}

/* As kubectl does it: messages of few bytes and of none, cut anywhere. */
static void test_spdy_inside(void **state UNUSED)
{
	struct peer p = {.loop = loop_new()};
	auto_strbuf bytes = {0}, frames = {0};
	struct tunnel t = {0};
	int fds[2];

	spdy_bytes(&p, &bytes);
	for (size_t at = 0, n; at < bytes.len; at += n) {
		n = (at + 1) % 4;
		n = n < bytes.len - at ? n : bytes.len - at;
		add_frame(&frames, 0x82, bytes.s + at, n);
		if (n == 0)
			add_frame(&frames, 0x82, bytes.s + at, n = 1);
	}
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds),
			 0);
	p.fd = fds[0];
	t.session = spdy_new_tunnelled(
		p.loop, stream_new(p.loop, fds[1], NULL, true, &no_ops, NULL), &tunnel_ops, &t);
	feed(&p, frames.s, frames.len, 7);
	assert_true(t.opened && t.ended && !t.closed);
	assert_string_equal(t.got.s, "hello");
	/* What comes back is binary messages, too. */
	assert_int_equal((unsigned char)p.sent.s[0], 0x82);
	assert_non_null(memmem(p.sent.s, p.sent.len, "answer", 6));
	strbuf_reset(&frames);
	add_frame(&frames, 0x88, "\x03\xe8", 2);
	feed(&p, frames.s, frames.len, 100);
	assert_true(t.closed);
	fd_close(p.fd);
	strbuf_done(&t.got);
	strbuf_done(&p.sent);
	loop_free(p.loop);
}

/* ---- handshake --------------------------------------------------------------------------- */

struct hand {
	struct loop *loop;
	struct http_server *server;
	struct addr addr;
	char dir[64];
	struct ws *ws;
	bool requested;
	struct strv protocols;
	struct strbuf answer;
};

static void hand_close(void *arg, const char *why UNUSED)
{
	((struct hand *)arg)->ws = NULL;
}

static const struct ws_ops hand_ops = {.on_close = hand_close};

static void on_request(void *arg, struct http_request *r)
{
	struct hand *h = arg;
	auto_err err = {0};

	h->requested = ws_requested(r);
	strv_done(&h->protocols);
	ws_protocols(r, &h->protocols);
	if (ws_accept(r, h->protocols.n ? h->protocols.v[0] : NULL, &err) < 0)
		http_respond(r, err_http_code(&err), "text/plain", err_message(&err),
			     strlen(err_message(&err)));
	else
		h->ws = ws_new(h->loop, http_upgrade(r, "websocket"), &hand_ops, h);
}

static int setup(void **state)
{
	struct hand *h = xnew(struct hand);
	struct http_server_config config = {.on_request = on_request, .arg = h};
	auto_free char *path = NULL;

	h->loop = loop_new();
	snprintf(h->dir, sizeof(h->dir), "%s/ws.XXXXXX",
		 getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp");
	assert_non_null(mkdtemp(h->dir));
	path = path_join(h->dir, "s");
	assert_int_equal(addr_parse(path, &config.listen.addr), 0);
	config.listen.unix_mode = 0600;
	config.listen.unix_gid = (gid_t)-1;
	h->addr = config.listen.addr;
	h->server = http_server_new(h->loop, &config, NULL);
	assert_non_null(h->server);
	*state = h;
	return 0;
}

static int teardown(void **state)
{
	struct hand *h = *state;

	http_server_free(h->server);
	ws_close(h->ws, WS_GOING_AWAY, "test ends");
	loop_bury(h->loop);
	loop_free(h->loop);
	rm_rf(h->dir);
	strv_done(&h->protocols);
	strbuf_done(&h->answer);
	free(h);
	return 0;
}

/* Sends the request, reads the head of the answer. */
static void shake(struct hand *h, const char *request)
{
	auto_fd int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	char buf[4096];

	assert_int_equal(connect(fd, (struct sockaddr *)&h->addr.ss, h->addr.len), 0);
	assert_int_equal(write(fd, request, strlen(request)), strlen(request));
	strbuf_reset(&h->answer);
	for (int i = 0; i < 1000 && !(h->answer.s && strstr(h->answer.s, "\r\n\r\n")); i++) {
		struct timer *t = timer_new(h->loop, nothing, NULL);

		timer_arm(t, 5000);
		loop_once(h->loop);
		timer_free(t);
		ssize_t n = read(fd, buf, sizeof(buf));

		if (n > 0)
			strbuf_add(&h->answer, buf, (size_t)n);
	}
	assert_non_null(h->answer.s);
}

#define KEY "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
#define GET "GET / HTTP/1.1\r\nHost: x\r\n"
#define UP "Connection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\n"

static void test_handshake(void **state)
{
	struct hand *h = *state;

	/* The example of RFC 6455 section 1.3. */
	shake(h,
	      GET UP KEY "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: chat , superchat\r\n"
			 "Sec-WebSocket-Protocol: third\r\n\r\n");
	assert_true(str_starts(h->answer.s, "HTTP/1.1 101 "));
	assert_non_null(
		strstr(h->answer.s, "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"));
	assert_non_null(strstr(h->answer.s, "Sec-WebSocket-Protocol: chat\r\n"));
	assert_int_equal(h->protocols.n, 3);
	assert_string_equal(h->protocols.v[1], "superchat");
	assert_string_equal(h->protocols.v[2], "third");
}

static void test_handshake_refused(void **state)
{
	struct hand *h = *state;

	shake(h, GET UP KEY "Sec-WebSocket-Version: 8\r\n\r\n");
	assert_true(str_starts(h->answer.s, "HTTP/1.1 426 "));
	assert_non_null(strstr(h->answer.s, "Sec-WebSocket-Version: 13\r\n"));
	shake(h, GET UP "Sec-WebSocket-Key: c2hvcnQ=\r\nSec-WebSocket-Version: 13\r\n\r\n");
	assert_true(str_starts(h->answer.s, "HTTP/1.1 400 "));
	shake(h, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n" UP KEY
		 "Sec-WebSocket-Version: 13\r\n\r\n");
	assert_true(h->requested);
	assert_true(str_starts(h->answer.s, "HTTP/1.1 400 "));
	shake(h, GET "Upgrade: websocket\r\n" KEY "Sec-WebSocket-Version: 13\r\n\r\n");
	assert_false(h->requested);
	assert_null(h->ws);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_frames),
		cmocka_unit_test(test_lengths),
		cmocka_unit_test(test_finish),
		cmocka_unit_test(test_pause),
		cmocka_unit_test(test_unread_pongs),
		cmocka_unit_test(test_spdy_inside),
		cmocka_unit_test_setup_teardown(test_handshake, setup, teardown),
		cmocka_unit_test_setup_teardown(test_handshake_refused, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
