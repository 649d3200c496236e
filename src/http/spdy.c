/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SPDY/3.1 sessions: the subset that kubectl's remote commands and port forwarding speak. There is
 * no flow control in it (moby/spdystream ignores windows on both sides), so back-pressure is that
 * of the connection: we stop reading while paused or while our own output is not taken.
 */
#include "internal.h"
#include "spdy_headers.h"

#define STREAMS_MAX 512
#define CONTROL_MAX (64 * 1024)
/* Output at which we stop reading: pings and resets of a peer that does not read cannot pile up. */
#define OUTPUT_MAX (1024u * 1024)

enum frame_type {
	FRAME_SYN_STREAM = 1,
	FRAME_SYN_REPLY = 2,
	FRAME_RST_STREAM = 3,
	FRAME_SETTINGS = 4,
	FRAME_PING = 6,
	FRAME_GOAWAY = 7,
	FRAME_HEADERS = 8,
	FRAME_WINDOW_UPDATE = 9,
};
enum { FLAG_FIN = 1 };
enum rst_status { RST_REFUSED = 3, RST_CANCEL = 5 };

struct spdy_stream {
	struct list node; /* in session->streams */
	struct spdy *session;
	uint32_t id;
	bool fin_in, fin_out;
	bool gone;
	void *data;
};

struct spdy {
	struct loop *loop;
	/* The connection; or the WebSocket whose messages, put together, are the byte stream. */
	struct stream *stream;
	struct ws *ws;
	struct strbuf in; /* of the WebSocket, taken up to in_at */
	size_t in_at;
	struct spdy_ops ops;
	void *arg;
	bool client;
	bool paused;
	bool closed;
	struct list streams;
	unsigned n_streams;
	uint32_t next_id; /* ours */
	uint32_t last_id; /* the peer's highest */
	struct spdy_unpacker *unpacker;
	struct spdy_packer *packer;
	struct work more;
	/* A data frame being read: what is left of it and whose it is. */
	uint32_t data_left;
	uint32_t data_id;
	bool data_fin;
};

static void session_input(void *arg);

/* ---- life -------------------------------------------------------------------------------- */

static void session_free(void *p)
{
	struct spdy *s = p;

	spdy_unpacker_free(s->unpacker);
	spdy_packer_free(s->packer);
	strbuf_done(&s->in);
	free(s);
}

static void stream_retire(struct spdy_stream *st)
{
	if (st->gone)
		return;
	st->gone = true;
	list_del(&st->node);
	st->session->n_streams--;
	loop_free_later(st->session->loop, free, st);
}

/* Everything but telling the owner. */
static void session_retire(struct spdy *s, bool drain, const char *why)
{
	s->closed = true;
	work_cancel(&s->more);
	if (s->ws)
		ws_close(s->ws, WS_NORMAL, why);
	else
		stream_close(s->stream, drain, why);
	list_foreach (&s->streams, st, struct spdy_stream, node)
		stream_retire(st);
	loop_free_later(s->loop, session_free, s);
}

static void session_lost(struct spdy *s, const char *why)
{
	if (s->closed)
		return;
	session_retire(s, true, why);
	if (s->ops.on_close)
		s->ops.on_close(s->arg, why);
}

static struct spdy_stream *stream_add(struct spdy *s, uint32_t id)
{
	struct spdy_stream *st = xnew(struct spdy_stream);

	st->session = s;
	st->id = id;
	list_add_tail(&s->streams, &st->node);
	s->n_streams++;
	return st;
}

static struct spdy_stream *stream_find(struct spdy *s, uint32_t id)
{
	list_foreach (&s->streams, st, struct spdy_stream, node)
		if (st->id == id)
			return st;
	return NULL;
}

/* ---- the byte stream --------------------------------------------------------------------- */

static void put(struct spdy *s, const void *head, size_t head_len, const void *body, size_t len)
{
	struct iovec parts[] = {{(void *)(uintptr_t)head, head_len},
				{(void *)(uintptr_t)body, len}};

	if (s->ws) {
		ws_send(s->ws, false, parts, 2);
		return;
	}
	stream_write(s->stream, head, head_len);
	stream_write(s->stream, body, len);
}

static size_t out_len(const struct spdy *s)
{
	return s->ws ? ws_backlog(s->ws) : stream_out_len(s->stream);
}

static const char *in_peek(struct spdy *s, size_t *len)
{
	if (!s->ws)
		return stream_peek(s->stream, len);
	*len = s->in.len - s->in_at;
	return *len ? s->in.s + s->in_at : "";
}

static void in_consume(struct spdy *s, size_t len)
{
	if (!s->ws) {
		stream_consume(s->stream, len);
		return;
	}
	s->in_at += len;
	if (s->in_at < s->in.len)
		return;
	strbuf_reset(&s->in);
	s->in_at = 0;
}

/* ---- output ------------------------------------------------------------------------------ */

static void put_u32(unsigned char *p, uint32_t v)
{
	p[0] = (unsigned char)(v >> 24);
	p[1] = (unsigned char)(v >> 16);
	p[2] = (unsigned char)(v >> 8);
	p[3] = (unsigned char)v;
}

static uint32_t get_u32(const char *s)
{
	const unsigned char *p = (const unsigned char *)s;

	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static void send_control(struct spdy *s, enum frame_type type, const void *body, size_t len)
{
	unsigned char head[8] = {0x80, 3, 0, (unsigned char)type};

	put_u32(head + 4, (uint32_t)len & 0xffffff);
	put(s, head, sizeof(head), body, len);
}

static void send_rst(struct spdy *s, uint32_t id, enum rst_status status)
{
	unsigned char body[8];

	put_u32(body, id);
	put_u32(body + 4, status);
	send_control(s, FRAME_RST_STREAM, body, sizeof(body));
}

static void send_goaway(struct spdy *s, uint32_t status)
{
	unsigned char body[8];

	put_u32(body, s->last_id);
	put_u32(body + 4, status);
	send_control(s, FRAME_GOAWAY, body, sizeof(body));
}

/* SYN_STREAM (10 bytes of prefix) and SYN_REPLY (4 bytes) with their header block. */
static void send_headers(struct spdy *s, enum frame_type type, uint32_t id,
			 const char *const *headers)
{
	auto_strbuf b = {0};
	unsigned char prefix[10] = {0};

	put_u32(prefix, id);
	strbuf_add(&b, prefix, type == FRAME_SYN_STREAM ? 10 : 4);
	spdy_pack(s->packer, headers, &b);
	send_control(s, type, b.s, b.len);
}

static void send_data(struct spdy_stream *st, const void *data, size_t len, bool fin)
{
	unsigned char head[8];

	put_u32(head, st->id);
	put_u32(head + 4, (uint32_t)len);
	head[4] = fin ? FLAG_FIN : 0;
	put(st->session, head, sizeof(head), data, len);
}

/* ---- input ------------------------------------------------------------------------------- */

static void protocol_error(struct spdy *s, const char *why)
{
	send_goaway(s, 1);
	session_lost(s, why);
}

static void peer_fin(struct spdy_stream *st)
{
	struct spdy *s = st->session;

	if (st->gone || st->fin_in)
		return;
	st->fin_in = true;
	if (s->ops.on_fin)
		s->ops.on_fin(s->arg, st);
	if (!s->closed && !st->gone && st->fin_out)
		stream_retire(st);
}

static void take_syn_stream(struct spdy *s, const char *body, size_t len, unsigned flags)
{
	auto_strv headers = {0};

	if (len < 10) {
		protocol_error(s, "short SYN_STREAM");
		return;
	}
	uint32_t id = get_u32(body) & 0x7fffffff;

	/* The block is unpacked whatever becomes of the stream: the zlib stream must go on. */
	if (spdy_unpack(s->unpacker, body + 10, len - 10, &headers) < 0) {
		protocol_error(s, "malformed header block");
		return;
	}
	if (id <= s->last_id || id % 2 == (s->client ? 1 : 0)) {
		protocol_error(s, "stream id out of order");
		return;
	}
	s->last_id = id;
	if (s->n_streams >= STREAMS_MAX) {
		send_rst(s, id, RST_REFUSED);
		return;
	}
	struct spdy_stream *st = stream_add(s, id);
	static const char *const none[] = {NULL};
	const char *const *list = headers.v ? (const char *const *)headers.v : none;

	if (!s->ops.on_stream || !s->ops.on_stream(s->arg, st, list)) {
		if (s->closed)
			return;
		if (!st->gone) {
			send_rst(s, id, RST_REFUSED);
			stream_retire(st);
		}
		return;
	}
	if (s->closed || st->gone)
		return;
	send_headers(s, FRAME_SYN_REPLY, id, none);
	if (flags & FLAG_FIN)
		peer_fin(st);
}

/* SYN_REPLY and HEADERS: the contents tell us nothing, the zlib stream must go on. */
static void take_headers(struct spdy *s, const char *body, size_t len, unsigned flags)
{
	auto_strv headers = {0};

	if (len < 4 || spdy_unpack(s->unpacker, body + 4, len - 4, &headers) < 0) {
		protocol_error(s, "malformed header block");
		return;
	}
	struct spdy_stream *st = stream_find(s, get_u32(body) & 0x7fffffff);

	if (st && (flags & FLAG_FIN))
		peer_fin(st);
}

static void take_rst(struct spdy *s, const char *body, size_t len)
{
	struct spdy_stream *st = len == 8 ? stream_find(s, get_u32(body) & 0x7fffffff) : NULL;

	if (!st)
		return;
	stream_retire(st);
	if (s->ops.on_reset)
		s->ops.on_reset(s->arg, st);
}

/* A ping of the peer is echoed; our ids would have the other parity. */
static void take_ping(struct spdy *s, const char *body, size_t len)
{
	if (len == 4 && get_u32(body) % 2 == (s->client ? 0 : 1))
		send_control(s, FRAME_PING, body, len);
}

static void take_control(struct spdy *s, unsigned type, unsigned flags, const char *body,
			 size_t len)
{
	switch ((enum frame_type)type) {
	case FRAME_SYN_STREAM:
		take_syn_stream(s, body, len, flags);
		return;
	case FRAME_SYN_REPLY:
	case FRAME_HEADERS:
		take_headers(s, body, len, flags);
		return;
	case FRAME_RST_STREAM:
		take_rst(s, body, len);
		return;
	case FRAME_PING:
		take_ping(s, body, len);
		return;
	case FRAME_GOAWAY:
	case FRAME_SETTINGS:
	case FRAME_WINDOW_UPDATE:
		return;
	}
}

/* A control frame, taken whole. False: more input is needed. */
static bool step_control(struct spdy *s, const char *data, size_t len, uint32_t frame_len)
{
	unsigned type = (unsigned char)data[2] << 8 | (unsigned char)data[3];
	unsigned flags = (unsigned char)data[4];

	if (data[0] != (char)0x80 || data[1] != 3) {
		protocol_error(s, "not SPDY/3");
		return false;
	}
	if (frame_len > CONTROL_MAX) {
		protocol_error(s, "control frame too large");
		return false;
	}
	if (len < 8 + frame_len)
		return false;
	/* Copied: the callbacks may write to or close the stream. */
	auto_free char *body = xmalloc(frame_len + 1);

	memcpy(body, data + 8, frame_len);
	in_consume(s, 8 + frame_len);
	take_control(s, type, flags, body, frame_len);
	return true;
}

static void data_done(struct spdy *s)
{
	struct spdy_stream *st = s->data_fin ? stream_find(s, s->data_id) : NULL;

	s->data_fin = false;
	if (st)
		peer_fin(st);
}

/* What is there of a data frame's payload. */
static bool step_data(struct spdy *s, const char *data, size_t len)
{
	struct spdy_stream *st = stream_find(s, s->data_id);
	size_t n = len < s->data_left ? len : s->data_left;

	if (n == 0)
		return false;
	s->data_left -= (uint32_t)n;
	if (st && !st->fin_in && s->ops.on_data)
		s->ops.on_data(s->arg, st, data, n);
	if (s->closed)
		return false;
	in_consume(s, n);
	if (s->data_left == 0)
		data_done(s);
	return true;
}

static bool session_step(struct spdy *s)
{
	size_t len;
	const char *data = in_peek(s, &len);

	if (s->data_left)
		return step_data(s, data, len);
	if (len < 8)
		return false;
	uint32_t frame_len = get_u32(data + 4) & 0xffffff;

	if (data[0] & 0x80)
		return step_control(s, data, len, frame_len);
	s->data_id = get_u32(data) & 0x7fffffff;
	s->data_fin = data[4] & FLAG_FIN;
	s->data_left = frame_len;
	in_consume(s, 8);
	if (frame_len == 0)
		data_done(s);
	return true;
}

static void session_input(void *arg)
{
	struct spdy *s = arg;

	while (!s->closed && !s->paused && out_len(s) < OUTPUT_MAX)
		if (!session_step(s))
			break;
	/* What the WebSocket has given is held here, at most a control frame and a piece. */
	if (!s->closed && s->ws)
		ws_pause(s->ws, s->in.len - s->in_at > CONTROL_MAX + 8);
}

static void on_stream_data(void *arg)
{
	session_input(arg);
}

static void on_stream_drain(void *arg)
{
	struct spdy *s = arg;

	if (s->ops.on_drain)
		s->ops.on_drain(s->arg);
	if (!s->closed)
		work_queue(s->loop, &s->more);
}

static void on_stream_close(void *arg, const char *why)
{
	session_lost(arg, why ? why : "connection closed");
}

static void on_ws_piece(void *arg, const void *data, size_t len, unsigned flags UNUSED)
{
	struct spdy *s = arg;

	if (s->in_at) {
		memmove(s->in.s, s->in.s + s->in_at, s->in.len - s->in_at);
		s->in.len -= s->in_at;
		s->in_at = 0;
	}
	strbuf_add(&s->in, data, len);
	session_input(s);
}

static void on_ws_close(void *arg, const char *why)
{
	session_lost(arg, why);
}

static const struct ws_ops spdy_ws_ops = {
	.on_piece = on_ws_piece,
	.on_drain = on_stream_drain,
	.on_close = on_ws_close,
};

static const struct stream_ops spdy_stream_ops = {
	.on_data = on_stream_data,
	.on_drain = on_stream_drain,
	.on_close = on_stream_close,
};

/* ---- public ------------------------------------------------------------------------------ */

static struct spdy *session_new(struct loop *loop, bool client, const struct spdy_ops *ops,
				void *arg)
{
	struct spdy *s = xnew(struct spdy);

	s->loop = loop;
	s->ops = *ops;
	s->arg = arg;
	s->client = client;
	s->next_id = client ? 1 : 2;
	list_init(&s->streams);
	s->unpacker = spdy_unpacker_new();
	s->packer = spdy_packer_new();
	work_init(&s->more, session_input, s);
	return s;
}

struct spdy *spdy_new(struct loop *loop, struct stream *stream, bool client,
		      const struct spdy_ops *ops, void *arg)
{
	struct spdy *s = session_new(loop, client, ops, arg);

	s->stream = stream;
	/* A control frame must fit into what the stream collects. */
	stream_set_read_high(stream, CONTROL_MAX + 8 + 4096);
	stream_set_ops(stream, &spdy_stream_ops, s);
	work_queue(loop, &s->more);
	return s;
}

struct spdy *spdy_new_tunnelled(struct loop *loop, struct stream *stream,
				const struct spdy_ops *ops, void *arg)
{
	struct spdy *s = session_new(loop, false, ops, arg);

	s->ws = ws_new(loop, stream, &spdy_ws_ops, s);
	return s;
}

struct spdy_stream *spdy_open(struct spdy *s, const char *const *headers)
{
	if (s->closed || s->n_streams >= STREAMS_MAX)
		return NULL;
	struct spdy_stream *st = stream_add(s, s->next_id);

	s->next_id += 2;
	send_headers(s, FRAME_SYN_STREAM, st->id, headers);
	return st;
}

void spdy_stream_set_data(struct spdy_stream *st, void *data)
{
	st->data = data;
}

void *spdy_stream_data(const struct spdy_stream *st)
{
	return st->data;
}

void spdy_write(struct spdy_stream *st, const void *data, size_t len)
{
	const char *p = data;

	if (st->gone || st->fin_out || st->session->closed)
		return;
	while (len) {
		size_t n = len < 32768 ? len : 32768;

		send_data(st, p, n, false);
		p += n;
		len -= n;
	}
}

void spdy_fin(struct spdy_stream *st)
{
	if (st->gone || st->fin_out || st->session->closed)
		return;
	st->fin_out = true;
	send_data(st, NULL, 0, true);
	if (st->fin_in)
		stream_retire(st);
}

void spdy_reset(struct spdy_stream *st)
{
	if (st->gone || st->session->closed)
		return;
	send_rst(st->session, st->id, RST_CANCEL);
	stream_retire(st);
}

size_t spdy_backlog(const struct spdy *s)
{
	return s->closed ? 0 : out_len(s);
}

void spdy_pause(struct spdy *s, bool pause)
{
	if (s->closed || s->paused == pause)
		return;
	s->paused = pause;
	if (!pause)
		work_queue(s->loop, &s->more);
}

void spdy_close(struct spdy *s, const char *why)
{
	if (!s || s->closed)
		return;
	send_goaway(s, 0);
	session_retire(s, true, why);
}
