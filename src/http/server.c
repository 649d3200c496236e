/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HTTP/1.1 server. A connection serves one request at a time: while an answer is being made the
 * next pipelined request waits unparsed in the stream, which stops reading by itself.
 */
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <strings.h>

#include "internal.h"

#define DEFAULT_MAX_BODY (3u * 1024 * 1024)
#define DEFAULT_IDLE_SECONDS 120
#define DEFAULT_MAX_CONNECTIONS 1024
#define BODY_STALL_SECONDS 120
/* Pipelined requests wait while more than this of earlier answers has not been taken. */
#define BACKLOG_MAX (1024u * 1024)
/* After an answer that came before the body was read: how long the rest is thrown away, so that the
 * client reads our answer instead of a reset. */
#define LINGER_SECONDS 5

struct http_server {
	struct loop *loop;
	struct http_server_config config;
	struct tls *tls;
	struct listener *listener;
	struct list conns;
	unsigned n_conns;
	bool paused;
};

struct http_conn;
struct http_request {
	struct http_conn *conn;
	const char *path, *query;
	char *target; /* owned: path NUL query */
	struct strbuf body;
	size_t max_body;
	struct strbuf headers; /* of the answer */
	void (*on_gone)(void *arg);
	void *gone_arg;
	void (*on_body)(void *arg, const void *data, size_t len);
	void *body_arg;
	void (*on_drain)(void *arg);
	void *drain_arg;
	bool streaming;	 /* the body is given out in pieces */
	bool paused;	 /* streaming: the handler wants no pieces now */
	bool dispatched; /* on_request was called */
	bool body_done;
	bool head_only;	 /* HEAD */
	bool started;	 /* the answer's head is out */
	bool chunked;	 /* the answer is chunked */
	bool discarding; /* the rest of the body is not wanted */
	bool ended;
};

struct http_conn {
	struct list node; /* in server->conns */
	struct http_server *server;
	struct stream *stream;
	struct http_parser parser;
	struct http_request *req; /* in service, or NULL */
	struct timer *timer;	  /* idle, stalled body, linger */
	struct work more;	  /* look at the input again */
	struct addr peer;
	mono_t since;
	uint64_t served; /* requests */
	bool close_after;
	bool closed;
};

static void conn_input(void *arg);
static void conn_data(void *arg);
static void conn_drain(void *arg);
static void conn_lost(void *arg, const char *why);

static const struct stream_ops conn_ops = {
	.on_data = conn_data,
	.on_drain = conn_drain,
	.on_close = conn_lost,
};

static void no_close(void *arg UNUSED, const char *why UNUSED)
{
}

const struct stream_ops http_no_ops = {.on_close = no_close};

const char *http_reason_phrase(int code)
{
	static const struct {
		int code;
		const char *text;
	} phrases[] = {
		{100, "Continue"},
		{101, "Switching Protocols"},
		{200, "OK"},
		{201, "Created"},
		{202, "Accepted"},
		{204, "No Content"},
		{301, "Moved Permanently"},
		{302, "Found"},
		{304, "Not Modified"},
		{400, "Bad Request"},
		{401, "Unauthorized"},
		{403, "Forbidden"},
		{404, "Not Found"},
		{405, "Method Not Allowed"},
		{406, "Not Acceptable"},
		{409, "Conflict"},
		{410, "Gone"},
		{413, "Request Entity Too Large"},
		{414, "URI Too Long"},
		{415, "Unsupported Media Type"},
		{417, "Expectation Failed"},
		{422, "Unprocessable Entity"},
		{426, "Upgrade Required"},
		{429, "Too Many Requests"},
		{431, "Request Header Fields Too Large"},
		{500, "Internal Server Error"},
		{501, "Not Implemented"},
		{503, "Service Unavailable"},
		{504, "Gateway Timeout"},
		{505, "HTTP Version Not Supported"},
		{507, "Insufficient Storage"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(phrases); i++)
		if (phrases[i].code == code)
			return phrases[i].text;
	return "";
}

/* ---- connection and request life --------------------------------------------------------- */

static void request_free(void *p)
{
	struct http_request *r = p;

	free(r->target);
	strbuf_done(&r->body);
	strbuf_done(&r->headers);
	free(r);
}

static void conn_free(void *p)
{
	struct http_conn *c = p;

	http_parser_done(&c->parser);
	free(c);
}

/* Takes the connection out of the server; the stream has been closed or handed over. */
static void conn_forget(struct http_conn *c)
{
	struct http_server *s = c->server;

	if (c->closed)
		return;
	c->closed = true;
	list_del(&c->node);
	work_cancel(&c->more);
	timer_free(c->timer);
	c->timer = NULL;
	c->stream = NULL;
	s->n_conns--;
	if (s->paused && s->listener) {
		s->paused = false;
		listener_pause(s->listener, false);
	}
	loop_retire(s->loop, conn_free, c);
}

/* The request leaves the connection; told to its handler unless the handler did it. */
static void request_drop(struct http_conn *c, bool tell)
{
	struct http_request *r = steal_ptr(c->req);

	if (!r)
		return;
	loop_retire(c->server->loop, request_free, r);
	if (tell && r->dispatched && !r->ended && r->on_gone)
		r->on_gone(r->gone_arg);
	r->ended = true;
}

static void conn_close(struct http_conn *c, bool drain, const char *why)
{
	if (c->closed)
		return;
	stream_close(c->stream, drain, why);
	conn_forget(c);
	request_drop(c, true);
}

static void conn_lost(void *arg, const char *why UNUSED)
{
	struct http_conn *c = arg;

	conn_forget(c);
	request_drop(c, true);
}

static void conn_timeout(void *arg)
{
	conn_close(arg, true, "timeout");
}

static void conn_data(void *arg)
{
	conn_input(arg);
}

static void conn_drain(void *arg)
{
	struct http_conn *c = arg;

	work_queue(c->server->loop, &c->more);
	if (c->req && c->req->on_drain && !c->req->ended)
		c->req->on_drain(c->req->drain_arg);
}

/* ---- answers ----------------------------------------------------------------------------- */

static void add_date(struct strbuf *b)
{
	char text[64];
	struct tm tm;
	time_t now = time(NULL);

	gmtime_r(&now, &tm);
	strftime(text, sizeof(text), "Date: %a, %d %b %Y %H:%M:%S GMT\r\n", &tm);
	strbuf_adds(b, text);
}

/* Status line and headers; length UINT64_MAX: unknown. */
static void answer_head(struct http_request *r, int code, const char *type, uint64_t length)
{
	struct http_conn *c = r->conn;
	auto_strbuf b = {0};

	if (!http_parser_keep_alive(&c->parser) || !r->body_done)
		c->close_after = true;
	r->chunked = length == UINT64_MAX && c->parser.minor >= 1;
	if (length == UINT64_MAX && !r->chunked)
		c->close_after = true;
	strbuf_addf(&b, "HTTP/1.1 %d %s\r\n", code, http_reason_phrase(code));
	add_date(&b);
	strbuf_add(&b, r->headers.s ? r->headers.s : "", r->headers.len);
	/* A client puts the headers of a 304 over those that it has: the type is still the old one.
	 */
	if (type && code != 304)
		strbuf_addf(&b, "Content-Type: %s\r\n", type);
	if (r->chunked)
		strbuf_adds(&b, "Transfer-Encoding: chunked\r\n");
	else if (length != UINT64_MAX && code != 204 && code != 304)
		strbuf_addf(&b, "Content-Length: %llu\r\n", (unsigned long long)length);
	if (c->close_after)
		strbuf_adds(&b, "Connection: close\r\n");
	strbuf_adds(&b, "\r\n");
	r->started = true;
	stream_write(c->stream, b.s, b.len);
}

/* The answer is complete. What follows depends on whether the request was read to its end. */
static void request_finish(struct http_request *r)
{
	struct http_conn *c = r->conn;

	r->ended = true;
	if (!r->body_done) {
		r->discarding = true;
		r->paused = false;
		strbuf_done(&r->body);
		timer_arm(c->timer, LINGER_SECONDS * USEC_PER_SEC);
		work_queue(c->server->loop, &c->more);
		return;
	}
	request_drop(c, false);
	if (c->close_after) {
		conn_close(c, true, "answered");
		return;
	}
	http_parser_next(&c->parser);
	timer_arm(c->timer, c->server->config.idle_seconds * USEC_PER_SEC);
	work_queue(c->server->loop, &c->more);
}

void http_respond_header(struct http_request *r, const char *name, const char *value)
{
	strbuf_addf(&r->headers, "%s: ", name);
	for (const char *p = value; *p; p++)
		strbuf_addc(&r->headers, (unsigned char)*p < ' ' || *p == 0x7f ? ' ' : *p);
	strbuf_adds(&r->headers, "\r\n");
}

void http_respond(struct http_request *r, int code, const char *type, const void *body, size_t len)
{
	if (r->ended || r->started)
		return;
	answer_head(r, code, type, len);
	if (len && !r->head_only)
		stream_write(r->conn->stream, body, len);
	request_finish(r);
}

void http_respond_ref(struct http_request *r, int code, const char *type, const void *body,
		      size_t len, void (*done)(void *arg), void *arg)
{
	if (r->ended || r->started || r->head_only || len == 0) {
		http_respond(r, code, type, body, len);
		done(arg);
		return;
	}
	answer_head(r, code, type, len);
	stream_write_ref(r->conn->stream, body, len, done, arg);
	request_finish(r);
}

void http_respond_take(struct http_request *r, int code, const char *type, char *body, size_t len)
{
	http_respond_ref(r, code, type, body, len, free, body);
}

void http_respond_start(struct http_request *r, int code, const char *type)
{
	if (r->ended || r->started)
		return;
	answer_head(r, code, type, UINT64_MAX);
}

void http_respond_start_sized(struct http_request *r, int code, const char *type, uint64_t length)
{
	if (r->ended || r->started)
		return;
	answer_head(r, code, type, length);
}

void http_respond_chunk(struct http_request *r, const void *data, size_t len)
{
	char size[24];

	if (r->ended || !r->started || r->head_only || len == 0)
		return;
	if (r->chunked)
		stream_write(r->conn->stream, size,
			     (size_t)snprintf(size, sizeof(size), "%zx\r\n", len));
	stream_write(r->conn->stream, data, len);
	if (r->chunked)
		stream_write(r->conn->stream, "\r\n", 2);
}

void http_respond_chunk_ref(struct http_request *r, const void *data, size_t len,
			    void (*done)(void *arg), void *arg)
{
	char size[24];

	if (r->ended || !r->started || r->head_only || len == 0) {
		done(arg);
		return;
	}
	if (r->chunked)
		stream_write(r->conn->stream, size,
			     (size_t)snprintf(size, sizeof(size), "%zx\r\n", len));
	stream_write_ref(r->conn->stream, data, len, done, arg);
	if (r->chunked)
		stream_write(r->conn->stream, "\r\n", 2);
}

size_t http_respond_backlog(const struct http_request *r)
{
	return r->ended ? 0 : stream_out_len(r->conn->stream);
}

void http_respond_on_drain(struct http_request *r, void (*fn)(void *arg), void *arg)
{
	r->on_drain = fn;
	r->drain_arg = arg;
}

void http_respond_end(struct http_request *r)
{
	if (r->ended || !r->started)
		return;
	if (r->chunked && !r->head_only)
		stream_write(r->conn->stream, "0\r\n\r\n", 5);
	request_finish(r);
}

void http_abort(struct http_request *r, const char *why)
{
	if (r->ended)
		return;
	r->ended = true;
	conn_close(r->conn, false, why);
}

struct stream *http_upgrade(struct http_request *r, const char *protocol)
{
	struct http_conn *c = r->conn;
	auto_strbuf b = {0};

	if (r->ended || r->started)
		return NULL;
	strbuf_addf(&b, "HTTP/1.1 101 %s\r\nConnection: Upgrade\r\nUpgrade: %s\r\n",
		    http_reason_phrase(101), protocol);
	strbuf_add(&b, r->headers.s ? r->headers.s : "", r->headers.len);
	strbuf_adds(&b, "\r\n");
	struct stream *s = c->stream;

	stream_write(s, b.s, b.len);
	stream_set_ops(s, &http_no_ops, NULL);
	r->ended = true;
	conn_forget(c);
	request_drop(c, false);
	return s;
}

/* ---- requests ---------------------------------------------------------------------------- */

/* An answer of the server itself, then the connection ends. */
static void conn_refuse(struct http_conn *c, int code, const char *text)
{
	auto_strbuf b = {0};

	strbuf_addf(&b,
		    "HTTP/1.1 %d %s\r\nContent-Type: text/plain; charset=utf-8\r\n"
		    "Content-Length: %zu\r\nConnection: close\r\n\r\n%d %s: %s\n",
		    code, http_reason_phrase(code),
		    strlen(http_reason_phrase(code)) + strlen(text) + 7, code,
		    http_reason_phrase(code), text);
	stream_write(c->stream, b.s, b.len);
	conn_close(c, true, text);
}

/* Splits the target; absolute-form loses its scheme and authority (RFC 9112 section 3.2.2). */
static bool split_target(struct http_request *r, const char *target)
{
	if (strncasecmp(target, "http://", 7) == 0 || strncasecmp(target, "https://", 8) == 0) {
		target = strchr(strstr(target, "//") + 2, '/');
		if (!target)
			target = "/";
	}
	if (*target != '/' && !streq(target, "*"))
		return false;
	r->target = xstrdup(target);
	char *q = strchr(r->target, '?');

	if (q)
		*q++ = '\0';
	r->path = r->target;
	r->query = q ? q : "";
	return true;
}

static void dispatch(struct http_request *r)
{
	if (r->dispatched)
		return;
	r->dispatched = true;
	r->conn->served++;
	timer_disarm(r->conn->timer);
	r->conn->server->config.on_request(r->conn->server->config.arg, r);
}

/* "Expect: 100-continue": RFC 9110 section 10.1.1. False: refused. */
static bool handle_expect(struct http_conn *c)
{
	const char *expect = http_parser_find(&c->parser, "Expect");

	if (!expect || c->parser.minor == 0)
		return true;
	if (strcasecmp(expect, "100-continue") != 0) {
		conn_refuse(c, 417, "unknown expectation");
		return false;
	}
	if (c->parser.state != HTTP_COMPLETE)
		stream_write(c->stream, "HTTP/1.1 100 Continue\r\n\r\n", 25);
	return true;
}

static void too_large(struct http_request *r)
{
	const struct http_server_config *config = &r->conn->server->config;

	if (config->on_too_large) {
		config->on_too_large(config->arg, r);
		return;
	}
	auto_free char *text = xasprintf("Request entity too large: limit is %zu", r->max_body);

	http_respond(r, 413, "text/plain; charset=utf-8", text, strlen(text));
}

/* The head is complete: makes the request. */
static void conn_head(struct http_conn *c)
{
	struct http_server *s = c->server;
	struct http_request *r = xnew(struct http_request);

	c->req = r;
	r->conn = c;
	r->head_only = streq(http_parser_method(&c->parser), "HEAD");
	if (!split_target(r, http_parser_target(&c->parser))) {
		conn_refuse(c, 400, "malformed request target");
		return;
	}
	r->streaming = s->config.is_streaming && s->config.is_streaming(s->config.arg, r);
	r->body_done = !r->streaming && c->parser.state == HTTP_COMPLETE;
	r->max_body = s->config.max_body;
	if (!r->streaming && !r->body_done && s->config.body_limit)
		r->max_body = s->config.body_limit(s->config.arg, r);
	if (!r->streaming && !r->body_done && c->parser.length != UINT64_MAX &&
	    c->parser.length > r->max_body) {
		too_large(r);
		return;
	}
	timer_arm(c->timer, BODY_STALL_SECONDS * USEC_PER_SEC);
	if (handle_expect(c) && r->streaming)
		dispatch(r);
}

static void conn_body(struct http_conn *c, const char *body, size_t len)
{
	struct http_request *r = c->req;

	if (r->discarding)
		return;
	timer_arm(c->timer, BODY_STALL_SECONDS * USEC_PER_SEC);
	if (r->streaming) {
		if (r->on_body)
			r->on_body(r->body_arg, body, len);
		return;
	}
	if (r->body.len + len > r->max_body) {
		too_large(r);
		return;
	}
	strbuf_add(&r->body, body, len);
}

/* The message has been read to its end. */
static void conn_complete(struct http_conn *c)
{
	struct http_request *r = c->req;

	if (r->body_done && r->dispatched)
		return;
	r->body_done = true;
	if (r->discarding) {
		conn_close(c, true, "answered early");
	} else if (r->streaming) {
		timer_disarm(c->timer);
		if (r->on_body)
			r->on_body(r->body_arg, NULL, 0);
	} else {
		dispatch(r);
	}
}

/* True when the connection waits for its handler or for nothing more. */
static bool conn_waits(const struct http_conn *c)
{
	if (c->closed)
		return true;
	if (!c->req)
		return stream_out_len(c->stream) > BACKLOG_MAX;
	return c->req->paused || (c->req->dispatched && c->req->body_done);
}

/* One step of the parser over what lies in the stream; false: no progress is possible now. */
static bool conn_step(struct http_conn *c)
{
	size_t len, used, body_len = 0;
	const char *body = NULL, *data = stream_peek(c->stream, &len);
	enum http_step step = http_parser_step(&c->parser, data, len, &used, &body, &body_len);

	switch (step) {
	case HTTP_STEP_MORE:
		stream_consume(c->stream, used);
		return used > 0 && stream_in_len(c->stream) > 0;
	case HTTP_STEP_HEAD:
		stream_consume(c->stream, used);
		conn_head(c);
		return true;
	case HTTP_STEP_BODY:
		conn_body(c, body, body_len);
		if (!c->closed)
			stream_consume(c->stream, used);
		return true;
	case HTTP_STEP_DONE:
		conn_complete(c);
		return true;
	case HTTP_STEP_ERROR:
		break;
	}
	conn_refuse(c, c->parser.code, c->parser.error);
	return false;
}

static void conn_input(void *arg)
{
	struct http_conn *c = arg;

	while (!conn_waits(c) && (stream_in_len(c->stream) > 0 || c->parser.state == HTTP_COMPLETE))
		if (!conn_step(c))
			return;
}

const char *http_method(const struct http_request *r)
{
	return http_parser_method(&r->conn->parser);
}

const char *http_path(const struct http_request *r)
{
	return r->path;
}

const char *http_query(const struct http_request *r)
{
	return r->query;
}

const char *http_header(const struct http_request *r, const char *name)
{
	return http_parser_find(&r->conn->parser, name);
}

bool http_header_at(const struct http_request *r, unsigned i, const char **name, const char **value)
{
	return http_parser_header(&r->conn->parser, i, name, value);
}

void http_headers(const struct http_request *r, const char *name, struct strv *ret)
{
	const char *n, *v;

	for (unsigned i = 0; http_parser_header(&r->conn->parser, i, &n, &v); i++)
		if (strcasecmp(n, name) == 0)
			strv_add(ret, v);
}

void http_each_header(const struct http_request *r,
		      void (*fn)(void *arg, const char *name, const char *value), void *arg)
{
	const char *n, *v;

	for (unsigned i = 0; http_parser_header(&r->conn->parser, i, &n, &v); i++)
		fn(arg, n, v);
}

const void *http_body(const struct http_request *r, size_t *len)
{
	*len = r->body.len;
	return r->body.s ? r->body.s : "";
}

struct stream *http_request_stream(const struct http_request *r)
{
	return r->conn->stream;
}

char *http_param(const struct http_request *r, const char *name)
{
	auto_strv values = {0};

	http_query_values(r->query, name, true, &values);
	return values.n ? steal_ptr(values.v[0]) : NULL;
}

void http_params(const struct http_request *r, const char *name, struct strv *ret)
{
	http_query_values(r->query, name, false, ret);
}

void http_request_on_gone(struct http_request *r, void (*fn)(void *arg), void *arg)
{
	r->on_gone = fn;
	r->gone_arg = arg;
}

void http_request_on_body(struct http_request *r, void (*fn)(void *arg, const void *, size_t),
			  void *arg)
{
	r->on_body = fn;
	r->body_arg = arg;
}

void http_request_pause(struct http_request *r, bool pause)
{
	struct http_conn *c = r->conn;

	if (r->ended || r->paused == pause)
		return;
	r->paused = pause;
	if (pause) {
		timer_disarm(c->timer);
		return;
	}
	timer_arm(c->timer, BODY_STALL_SECONDS * USEC_PER_SEC);
	work_queue(c->server->loop, &c->more);
}

/* ---- server ------------------------------------------------------------------------------ */

/* A peer that vanished without a word is noticed: long watches would stay for ever. */
static void keep_alive_probes(int fd, const struct addr *peer)
{
	int on = 1, idle = 60, interval = 15, count = 4;

	if (peer->ss.ss_family != AF_INET && peer->ss.ss_family != AF_INET6)
		return;
	(void)setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
	(void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof(idle));
	(void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval, sizeof(interval));
	(void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &count, sizeof(count));
	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
}

static void on_accept(void *arg, int fd, const struct addr *peer)
{
	struct http_server *s = arg;
	struct http_conn *c = xnew(struct http_conn);

	keep_alive_probes(fd, peer);
	c->server = s;
	c->peer = *peer;
	c->since = loop_now(s->loop);
	http_parser_init(&c->parser, false);
	work_init(&c->more, conn_input, c);
	c->timer = timer_new(s->loop, conn_timeout, c);
	c->stream = stream_new(s->loop, fd, s->tls, true, &conn_ops, c);
	list_add_tail(&s->conns, &c->node);
	timer_arm(c->timer, s->config.idle_seconds * USEC_PER_SEC);
	if (++s->n_conns >= s->config.max_connections) {
		s->paused = true;
		listener_pause(s->listener, true);
	}
}

struct http_server *http_server_new(struct loop *loop, const struct http_server_config *config,
				    struct err *err)
{
	struct http_server *s = xnew(struct http_server);

	s->loop = loop;
	s->config = *config;
	list_init(&s->conns);
	if (!s->config.max_body)
		s->config.max_body = DEFAULT_MAX_BODY;
	if (!s->config.idle_seconds)
		s->config.idle_seconds = DEFAULT_IDLE_SECONDS;
	if (!s->config.max_connections)
		s->config.max_connections = DEFAULT_MAX_CONNECTIONS;
	s->listener = listener_new(loop, &s->config.listen, on_accept, s, err);
	if (!s->listener) {
		free(s);
		return NULL;
	}
	s->tls = config->tls ? tls_ref(config->tls) : NULL;
	return s;
}

int http_server_addr(const struct http_server *s, struct addr *ret)
{
	return listener_addr(s->listener, ret);
}

void http_server_show(const struct http_server *s, json_t *rows)
{
	char peer[ADDR_TEXT_MAX];
	mono_t now = loop_now(s->loop);

	list_foreach ((struct list *)(uintptr_t)&s->conns, c, struct http_conn, node) {
		json_t *row = json_object();
		bool local = c->peer.ss.ss_family == AF_UNIX;

		json_put_str(row, "peer", local ? "unix" : addr_format(peer, &c->peer));
		json_put_bool(row, "tls", s->tls != NULL);
		json_put_int(row, "seconds", (int64_t)(mono_sub(now, c->since) / USEC_PER_SEC));
		json_put_int(row, "requests", (int64_t)c->served);
		json_put_bool(row, "busy", c->req != NULL);
		json_put_int(row, "backlog", (int64_t)stream_out_len(c->stream));
		json_array_append_new(rows, row);
	}
}

void http_server_free(struct http_server *s)
{
	if (!s)
		return;
	listener_free(s->listener);
	s->listener = NULL;
	list_foreach (&s->conns, c, struct http_conn, node)
		conn_close(c, true, "server ends");
	if (s->tls)
		tls_unref(s->tls);
	loop_free_later(s->loop, free, s);
}
