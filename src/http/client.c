/* SPDX-License-Identifier: Apache-2.0 */
/* HTTP/1.1 client: one exchange a connection. */
#include "internal.h"
#include <strings.h>

#define DEFAULT_MAX_BODY (16u * 1024 * 1024)
#define INTERIM_MAX 8

struct http_call {
	struct loop *loop;
	struct http_call_ops ops;
	void *arg;
	struct stream *stream;
	struct http_parser parser;
	struct timer *timer;
	struct strbuf request; /* head and body, until connected */
	struct strbuf body;    /* of the answer */
	size_t max_body;
	unsigned interim; /* 1xx answers so far */
	struct work more; /* goes on behind a pause */
	bool headers_told;
	bool sent;	   /* the head of the request is written */
	bool streaming;	   /* the body is being written */
	bool sized;	   /* not in chunks */
	bool connect_only; /* the timer is for connecting */
	bool paused, eof;
	bool over;
};

static void call_free(void *p)
{
	struct http_call *c = p;

	http_parser_done(&c->parser);
	strbuf_done(&c->request);
	strbuf_done(&c->body);
	free(c);
}

/* Ends the call; its memory stays until the end of the turn. */
static void call_retire(struct http_call *c, const char *why)
{
	c->over = true;
	if (c->stream)
		stream_close(c->stream, false, why);
	c->stream = NULL;
	timer_free(c->timer);
	c->timer = NULL;
	work_cancel(&c->more);
	loop_free_later(c->loop, call_free, c);
}

static void call_fail(struct http_call *c, const char *why)
{
	if (c->over)
		return;
	call_retire(c, why);
	if (c->ops.on_done)
		c->ops.on_done(c->arg, NULL, why);
}

static void call_complete(struct http_call *c)
{
	struct http_answer answer = {
		.code = c->parser.status,
		.body = c->ops.on_data ? NULL : (c->body.s ? c->body.s : ""),
		.body_len = c->body.len,
	};

	call_retire(c, "answered");
	if (c->ops.on_done)
		c->ops.on_done(c->arg, &answer, NULL);
}

static void call_upgraded(struct http_call *c)
{
	struct stream *s = steal_ptr(c->stream);

	stream_set_ops(s, &http_no_ops, NULL);
	call_retire(c, "upgraded");
	c->ops.on_upgrade(c->arg, s);
}

/* Headers of the answer are there. */
static void call_head(struct http_call *c)
{
	if (c->parser.status == 101) {
		if (c->ops.on_upgrade)
			call_upgraded(c);
		else
			call_fail(c, "unexpected protocol switch");
		return;
	}
	if (c->parser.status < 200) {
		if (++c->interim > INTERIM_MAX)
			call_fail(c, "too many interim answers");
		else
			http_parser_next(&c->parser);
		return;
	}
	if (!c->headers_told && c->ops.on_headers) {
		c->headers_told = true;
		c->ops.on_headers(c->arg, c, c->parser.status);
	}
}

static void call_body(struct http_call *c, const char *data, size_t len)
{
	if (c->ops.on_data)
		c->ops.on_data(c->arg, data, len);
	else if (c->body.len + len > c->max_body)
		call_fail(c, "answer too large");
	else
		strbuf_add(&c->body, data, len);
}

static bool call_step(struct http_call *c)
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
		call_head(c);
		return true;
	case HTTP_STEP_BODY:
		call_body(c, body, body_len);
		if (!c->over)
			stream_consume(c->stream, used);
		return true;
	case HTTP_STEP_DONE:
		call_complete(c);
		return false;
	case HTTP_STEP_ERROR:
		break;
	}
	call_fail(c, c->parser.error);
	return false;
}

static void on_data(void *arg)
{
	struct http_call *c = arg;

	while (!c->over && !c->paused &&
	       (stream_in_len(c->stream) > 0 || c->parser.state == HTTP_COMPLETE))
		if (!call_step(c))
			return;
}

static void on_close(void *arg, const char *why)
{
	struct http_call *c = arg;

	if (c->over)
		return;
	on_data(c);
	if (c->over)
		return;
	c->stream = NULL;
	if (http_parser_eof(&c->parser))
		call_complete(c);
	else
		call_fail(c, why ? why : "connection closed");
}

static void on_eof(void *arg)
{
	struct http_call *c = arg;

	c->eof = true;
	on_data(c);
	if (c->over || c->paused)
		return;
	if (http_parser_eof(&c->parser))
		call_complete(c);
	else
		call_fail(c, "connection closed before the answer was complete");
}

/* What came while paused. */
static void go_on(void *arg)
{
	struct http_call *c = arg;

	if (c->eof)
		on_eof(c);
	else
		on_data(c);
}

static void on_connect(void *arg)
{
	struct http_call *c = arg;

	if (c->connect_only)
		timer_disarm(c->timer);

	stream_write(c->stream, c->request.s, c->request.len);
	strbuf_done(&c->request);
	c->sent = true;
}

static void on_drain(void *arg)
{
	struct http_call *c = arg;

	if (!c->over && c->sent && c->streaming && c->ops.on_drain)
		c->ops.on_drain(c->arg);
}

static const struct stream_ops call_ops = {
	.on_connect = on_connect,
	.on_data = on_data,
	.on_drain = on_drain,
	.on_eof = on_eof,
	.on_close = on_close,
};

static void on_timeout(void *arg)
{
	call_fail(arg, "timed out");
}

static void format_request(struct http_call *c, const struct http_call_config *config)
{
	struct strbuf *b = &c->request;
	bool upgrade = c->ops.on_upgrade != NULL;

	strbuf_addf(b, "%s %s HTTP/1.1\r\nHost: %s\r\n", config->method, config->path,
		    config->host ? config->host : "localhost");
	if (!upgrade)
		strbuf_adds(b, "Connection: close\r\n");
	for (const char *const *h = config->headers; h && h[0]; h += 2)
		strbuf_addf(b, "%s: %s\r\n", h[0], h[1]);
	if (config->stream_body && config->sized_body)
		strbuf_addf(b, "Content-Length: %llu\r\n", (unsigned long long)config->body_size);
	else if (config->stream_body)
		strbuf_adds(b, "Transfer-Encoding: chunked\r\n");
	else if (config->body_len || streq(config->method, "POST") ||
		 streq(config->method, "PUT") || streq(config->method, "PATCH"))
		strbuf_addf(b, "Content-Length: %zu\r\n", config->body_len);
	strbuf_adds(b, "\r\n");
	if (config->body_len && !config->stream_body)
		strbuf_add(b, config->body, config->body_len);
}

struct http_call *http_call(struct loop *loop, const struct http_call_config *config,
			    const struct http_call_ops *ops, void *arg, struct err *err)
{
	struct http_call *c = xnew(struct http_call);

	c->loop = loop;
	c->ops = *ops;
	c->arg = arg;
	c->streaming = config->stream_body;
	c->sized = config->sized_body;
	work_init(&c->more, go_on, c);
	c->max_body = config->max_body ? config->max_body : DEFAULT_MAX_BODY;
	http_parser_init(&c->parser, true);
	c->parser.no_body = streq(config->method, "HEAD");
	format_request(c, config);
	c->stream =
		stream_connect(loop, &config->to, config->tls, config->tls_name, &call_ops, c, err);
	if (!c->stream) {
		call_free(c);
		return NULL;
	}
	uint64_t limit = config->timeout_us ? config->timeout_us : config->connect_timeout_us;

	c->connect_only = limit && !config->timeout_us;
	if (limit) {
		c->timer = timer_new(loop, on_timeout, c);
		timer_arm(c->timer, limit);
	}
	return c;
}

const char *http_call_header(const struct http_call *c, const char *name)
{
	return http_parser_find(&c->parser, name);
}

void http_call_headers(const struct http_call *c, const char *name, struct strv *ret)
{
	const char *n, *v;

	for (unsigned i = 0; http_parser_header(&c->parser, i, &n, &v); i++)
		if (strcasecmp(n, name) == 0)
			strv_add(ret, v);
}

void http_call_write(struct http_call *c, const void *data, size_t len)
{
	char head[24];

	if (c->over || !c->sent || !c->streaming)
		return;
	c->streaming = len > 0;
	if (c->sized) {
		stream_write(c->stream, data, len);
		return;
	}
	snprintf(head, sizeof(head), "%zx\r\n", len);
	stream_write(c->stream, head, strlen(head));
	if (len)
		stream_write(c->stream, data, len);
	stream_write(c->stream, "\r\n", 2);
}

bool http_call_header_at(const struct http_call *c, unsigned i, const char **name,
			 const char **value)
{
	return http_parser_header(&c->parser, i, name, value);
}

size_t http_call_backlog(const struct http_call *c)
{
	return c->over ? 0 : stream_out_len(c->stream);
}

void http_call_pause(struct http_call *c, bool pause)
{
	if (c->over || c->paused == pause)
		return;
	c->paused = pause;
	stream_pause(c->stream, pause);
	if (!pause)
		work_queue(c->loop, &c->more);
}

bool http_call_connected(const struct http_call *c)
{
	return c->sent;
}

void http_call_cancel(struct http_call *c)
{
	if (c && !c->over)
		call_retire(c, "cancelled");
}
