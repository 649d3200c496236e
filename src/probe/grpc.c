/* SPDX-License-Identifier: Apache-2.0 */
/*
 * gRPC health check (grpc.health.v1.Health/Check): one call over HTTP/2 with prior knowledge. Only
 * what this single exchange needs of RFC 9113 and RFC 7541: literal headers out, frames in; the
 * answer is the DATA frame's message, so no header has to be decoded.
 */
#include "internal.h"

enum {
	FRAME_HEADER = 9,
	FRAME_DATA = 0,
	FRAME_HEADERS = 1,
	FRAME_RST_STREAM = 3,
	FRAME_SETTINGS = 4,
	FRAME_PING = 6,
	FRAME_GOAWAY = 7,
	FLAG_END_STREAM = 1,
	FLAG_ACK = 1,
	FLAG_END_HEADERS = 4,
	FRAME_MAX = 16384,
	GRPC_PREFIX = 5,
	STRING_MAX = 126, /* fits HPACK's one-byte length */
};

static void add_frame(struct strbuf *b, uint8_t type, uint8_t flags, uint8_t stream,
		      const void *data, size_t len)
{
	const uint8_t h[FRAME_HEADER] = {(uint8_t)(len >> 16),
					 (uint8_t)(len >> 8),
					 (uint8_t)len,
					 type,
					 flags,
					 0,
					 0,
					 0,
					 stream};

	strbuf_add(b, h, sizeof(h));
	strbuf_add(b, data, len);
}

static void add_string(struct strbuf *b, const char *s)
{
	size_t n = strnlen(s, STRING_MAX);

	strbuf_addc(b, (char)n);
	strbuf_add(b, s, n);
}

/* Literal header field without indexing (RFC 7541, 6.2.2): a static table index, or a new name. */
static void add_header(struct strbuf *b, uint8_t index, const char *name, const char *value)
{
	if (index && index < 15) {
		strbuf_addc(b, (char)index);
	} else if (index) {
		strbuf_addc(b, 0x0f);
		strbuf_addc(b, (char)(index - 15));
	} else {
		strbuf_addc(b, 0);
		add_string(b, name);
	}
	add_string(b, value);
}

/* HealthCheckRequest{string service = 1} behind gRPC's length prefix. */
static void add_request(struct strbuf *b, const char *service)
{
	size_t n = strnlen(service, STRING_MAX);
	uint8_t message[GRPC_PREFIX + 2 + STRING_MAX] = {0};
	size_t len = n ? n + 2 : 0;

	message[4] = (uint8_t)len;
	if (n) {
		message[5] = 1 << 3 | 2;
		message[6] = (uint8_t)n;
		memcpy(message + 7, service, n);
	}
	add_frame(b, FRAME_DATA, FLAG_END_STREAM, 1, message, GRPC_PREFIX + len);
}

static void on_connect(void *arg)
{
	static const char preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
	struct check *c = arg;
	auto_strbuf out = {0}, headers = {0};
	char addr[ADDR_TEXT_MAX];
	const char *service = c->target->config.service;

	strbuf_add(&out, preface, sizeof(preface) - 1);
	add_frame(&out, FRAME_SETTINGS, 0, 0, NULL, 0);
	strbuf_addc(&headers, (char)0x83);			       /* :method POST */
	strbuf_addc(&headers, (char)0x86);			       /* :scheme http */
	add_header(&headers, 4, NULL, "/grpc.health.v1.Health/Check"); /* :path */
	add_header(&headers, 1, NULL, check_address(c, addr));	       /* :authority */
	add_header(&headers, 31, NULL, "application/grpc");	       /* content-type */
	add_header(&headers, 58, NULL, "kube-probe/1.33");	       /* user-agent */
	add_header(&headers, 0, "te", "trailers");
	add_frame(&out, FRAME_HEADERS, FLAG_END_HEADERS, 1, headers.s, headers.len);
	add_request(&out, service ? service : "");
	stream_write(c->stream, out.s, out.len);
}

/* HealthCheckResponse{ServingStatus status = 1}; an absent field is UNKNOWN (0). */
static void on_message(struct check *c, const uint8_t *p, size_t len)
{
	static const char *const names[] = {"UNKNOWN", "SERVING", "NOT_SERVING", "SERVICE_UNKNOWN"};
	uint8_t status = 0;

	if (len >= GRPC_PREFIX + 2 && p[GRPC_PREFIX] == 1 << 3)
		status = p[GRPC_PREFIX + 1];
	if (status == 1)
		check_end(c, true, "%s", "");
	else
		check_end(c, false, "service unhealthy (responded with \"%s\")",
			  status < ARRAY_SIZE(names) ? names[status] : "UNKNOWN");
}

static void acknowledge(struct check *c, uint8_t type, const uint8_t *data, size_t len)
{
	auto_strbuf out = {0};

	add_frame(&out, type, FLAG_ACK, 0, data, len);
	stream_write(c->stream, out.s, out.len);
}

static void on_frame(struct check *c, uint8_t type, uint8_t flags, const uint8_t *data, size_t len)
{
	switch (type) {
	case FRAME_DATA:
		if (len >= GRPC_PREFIX)
			on_message(c, data, len);
		break;
	case FRAME_SETTINGS:
		if (!(flags & FLAG_ACK))
			acknowledge(c, FRAME_SETTINGS, NULL, 0);
		break;
	case FRAME_PING:
		if (!(flags & FLAG_ACK))
			acknowledge(c, FRAME_PING, data, len);
		break;
	case FRAME_HEADERS:
		if (flags &
		    FLAG_END_STREAM) /* an answer without a message is an error of the call */
			check_end(c, false,
				  "error: this server does not implement the grpc health protocol "
				  "(grpc.health.v1.Health), or does not know the service");
		break;
	case FRAME_RST_STREAM:
	case FRAME_GOAWAY:
		check_end(c, false, "error: health rpc failed: the server ended the call");
		break;
	default:
		break;
	}
}

static void on_data(void *arg)
{
	struct check *c = arg;

	while (c->running) {
		size_t len, n;
		const uint8_t *p = (const uint8_t *)stream_peek(c->stream, &len);
		auto_free uint8_t *copy = NULL;

		if (len < FRAME_HEADER)
			return;
		n = (size_t)p[0] << 16 | (size_t)p[1] << 8 | p[2];
		if (n > FRAME_MAX) {
			check_end(c, false, "error: not an HTTP/2 server");
			return;
		}
		if (len < FRAME_HEADER + n)
			return;
		copy = xmalloc(FRAME_HEADER + n);
		memcpy(copy, p, FRAME_HEADER + n);
		stream_consume(c->stream, FRAME_HEADER + n);
		on_frame(c, copy[3], copy[4], copy + FRAME_HEADER, n);
	}
}

static void on_close(void *arg, const char *why)
{
	struct check *c = arg;
	char addr[ADDR_TEXT_MAX];

	c->stream = NULL;
	check_end(c, false, "error: health rpc failed: %s: %s", check_address(c, addr), why);
}

static const struct stream_ops grpc_ops = {
	.on_connect = on_connect, .on_data = on_data, .on_close = on_close};

static void grpc_start(struct check *c)
{
	struct addr to = {.len = sizeof(struct sockaddr_in)};
	auto_err err = {0};

	memcpy(&to.ss, &c->target->config.addr, sizeof(struct sockaddr_in));
	c->stream = stream_connect(c->loop, &to, NULL, NULL, &grpc_ops, c, &err);
	if (!c->stream)
		check_end(c, false, "error: %s", err_message(&err));
}

static void grpc_cancel(struct check *c)
{
	if (c->stream)
		stream_close(c->stream, false, "the check is over");
	c->stream = NULL;
}

static void grpc_timeout(struct check *c)
{
	char addr[ADDR_TEXT_MAX];

	check_end(c, false,
		  "timeout: failed to connect service \"%s\" within %us: context deadline exceeded",
		  check_address(c, addr), c->target->config.timeout);
}

const struct check_ops grpc_check = {grpc_start, grpc_cancel, grpc_timeout};
