/* SPDX-License-Identifier: Apache-2.0 */
/*
 * WebSocket framing, server side (RFC 6455 sections 5 to 7). Payload is unmasked and given out as
 * it comes; only control frames, which are short, are collected. Back-pressure is that of the
 * connection: we stop reading while paused or while our own output is not taken.
 *
 * The pings of a client that we do not read are somewhere behind what it sends; it would give us up
 * (kubectl after a minute). So while paused we send pongs that nobody asked for, as section 5.5.3
 * allows: whoever counts them knows that we are there.
 */
#include "internal.h"

#define CONTROL_MAX 125
#define PIECE 16384
#define PONG_US (5 * USEC_PER_SEC) /* kubectl's own period */
/* Output at which we stop reading: pongs for a peer that does not read cannot pile up. */
#define OUTPUT_MAX (1024u * 1024)

enum opcode {
	OP_CONTINUATION = 0,
	OP_TEXT = 1,
	OP_BINARY = 2,
	OP_CLOSE = 8,
	OP_PING = 9,
	OP_PONG = 10,
};

/* Where a text is in the middle of a character. */
struct utf8 {
	unsigned need; /* bytes of the character to come */
	unsigned char low, high;
};

struct ws {
	struct loop *loop;
	struct stream *stream;
	struct ws_ops ops;
	void *arg;
	struct work more;
	struct timer *pong; /* of paused sockets */
	bool paused, closed;
	bool finished; /* Close was sent */
	/* The data frame being read. */
	uint64_t left;
	unsigned char mask[4];
	unsigned mask_at;
	bool in_frame, last_frame;
	/* The message being read. */
	bool in_message, text, told;
	struct utf8 utf8;
};

/* One frame's head, parsed. */
struct head {
	size_t len; /* bytes of it */
	bool fin;
	unsigned opcode;
	uint64_t payload;
	unsigned char mask[4];
};

static void socket_input(void *arg);

/* ---- UTF-8 (RFC 3629) -------------------------------------------------------------------- */

static bool utf8_start(struct utf8 *u, unsigned char c)
{
	u->low = 0x80;
	u->high = 0xbf;
	if (c < 0x80)
		return true;
	if (c < 0xc2 || c > 0xf4)
		return false;
	u->need = c < 0xe0 ? 1 : c < 0xf0 ? 2 : 3;
	/* No overlong forms, no surrogates, nothing above U+10FFFF. */
	if (c == 0xe0)
		u->low = 0xa0;
	else if (c == 0xed)
		u->high = 0x9f;
	else if (c == 0xf0)
		u->low = 0x90;
	else if (c == 0xf4)
		u->high = 0x8f;
	return true;
}

static bool utf8_take(struct utf8 *u, const unsigned char *data, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		if (!u->need) {
			if (!utf8_start(u, data[i]))
				return false;
			continue;
		}
		if (data[i] < u->low || data[i] > u->high)
			return false;
		u->low = 0x80;
		u->high = 0xbf;
		u->need--;
	}
	return true;
}

/* ---- life -------------------------------------------------------------------------------- */

static void socket_retire(struct ws *w, const char *why)
{
	w->closed = true;
	work_cancel(&w->more);
	timer_free(w->pong);
	stream_close(w->stream, true, why);
	loop_free_later(w->loop, free, w);
}

static void socket_lost(struct ws *w, const char *why)
{
	if (w->closed)
		return;
	socket_retire(w, why);
	if (w->ops.on_close)
		w->ops.on_close(w->arg, why);
}

/* ---- output ------------------------------------------------------------------------------ */

/*
 * The frame is written as one piece of memory, which makes it a TLS record of its own: clients that
 * wait with poll(2) (Python's) would not see that a second one lies decrypted behind the first.
 */
static void send_frame(struct ws *w, enum opcode op, const struct iovec *parts, size_t n)
{
	size_t len = 0, at = 2;

	for (size_t i = 0; i < n; i++)
		len += parts[i].iov_len;
	unsigned char *frame = xmalloc(10 + len);
	size_t ext = len < 126 ? 0 : len < 65536 ? 2 : 8;

	frame[0] = (unsigned char)(0x80 | op);
	frame[1] = (unsigned char)(ext == 0 ? len : ext == 2 ? 126 : 127);
	while (ext-- > 0)
		frame[at++] = (unsigned char)((uint64_t)len >> (8 * ext));
	for (size_t i = 0; i < n; i++) {
		if (parts[i].iov_len)
			memcpy(frame + at, parts[i].iov_base, parts[i].iov_len);
		at += parts[i].iov_len;
	}
	stream_write_ref(w->stream, frame, at, free, frame);
}

static void send_close(struct ws *w, unsigned code, const char *reason)
{
	unsigned char head[2] = {(unsigned char)(code >> 8), (unsigned char)code};
	size_t len = strlen(reason);
	/* Our own reasons are ASCII: cutting them leaves UTF-8. */
	struct iovec parts[] = {
		{head, 2},
		{(void *)(uintptr_t)reason, len < CONTROL_MAX - 2 ? len : CONTROL_MAX - 2}};

	if (w->finished)
		return;
	w->finished = true;
	send_frame(w, OP_CLOSE, parts, 2);
}

/* Section 7.1.7. */
static void fail(struct ws *w, enum ws_code code, const char *why)
{
	send_close(w, code, why);
	socket_lost(w, why);
}

/* ---- input ------------------------------------------------------------------------------- */

/* The codes that may be in a Close frame: section 7.4. */
static bool close_code_valid(unsigned code)
{
	return (code >= 1000 && code <= 1003) || (code >= 1007 && code <= 1014) ||
	       (code >= 3000 && code <= 4999);
}

static void take_close(struct ws *w, const unsigned char *body, size_t len)
{
	struct utf8 u = {0};
	unsigned code = len >= 2 ? (unsigned)body[0] << 8 | body[1] : WS_NORMAL;

	if (len == 1 || !close_code_valid(code)) {
		fail(w, WS_PROTOCOL_ERROR, "malformed Close");
		return;
	}
	if (len > 2 && (!utf8_take(&u, body + 2, len - 2) || u.need)) {
		fail(w, WS_BAD_DATA, "reason of Close is not UTF-8");
		return;
	}
	send_close(w, code, "");
	socket_lost(w, "closed by the peer");
}

static void take_control(struct ws *w, unsigned opcode, const unsigned char *body, size_t len)
{
	if (opcode == OP_CLOSE) {
		take_close(w, body, len);
	} else if (opcode == OP_PING && !w->finished) {
		send_frame(w, OP_PONG, &(struct iovec){(void *)(uintptr_t)body, len}, 1);
	}
}

static void unmask(unsigned char *dst, const char *src, size_t len, const unsigned char mask[4],
		   unsigned *at)
{
	for (size_t i = 0; i < len; i++)
		dst[i] = (unsigned char)src[i] ^ mask[(*at)++ & 3];
}

/* Reads the head: 1 and *h, 0 when there is not enough, -1 when it breaks the protocol. */
static int parse_head(const char *data, size_t len, struct head *h)
{
	const unsigned char *p = (const unsigned char *)data;

	if (len < 2)
		return 0;
	size_t ext = (p[1] & 0x7f) == 126 ? 2 : (p[1] & 0x7f) == 127 ? 8 : 0;

	*h = (struct head){.len = 2 + ext + 4, .fin = p[0] & 0x80, .opcode = p[0] & 0x0f};
	/* No extension was agreed on; what a client sends is masked. */
	if ((p[0] & 0x70) || !(p[1] & 0x80))
		return -1;
	if (len < h->len)
		return 0;
	h->payload = ext ? 0 : p[1] & 0x7f;
	for (size_t i = 0; i < ext; i++)
		h->payload = h->payload << 8 | p[2 + i];
	memcpy(h->mask, p + 2 + ext, 4);
	if ((ext == 2 && h->payload < 126) || (ext == 8 && h->payload < 65536) || h->payload >> 63)
		return -1;
	return 1;
}

static bool step_control(struct ws *w, const char *data, size_t len, const struct head *h)
{
	unsigned char body[CONTROL_MAX];
	unsigned at = 0;

	if (h->opcode > OP_PONG || !h->fin || h->payload > CONTROL_MAX) {
		fail(w, WS_PROTOCOL_ERROR, "malformed control frame");
		return false;
	}
	if (len < h->len + h->payload)
		return false;
	unmask(body, data + h->len, h->payload, h->mask, &at);
	stream_consume(w->stream, h->len + h->payload);
	take_control(w, h->opcode, body, h->payload);
	return true;
}

/* Gives out a piece; len 0 at the end of a message only. */
static void give(struct ws *w, const void *data, size_t len, bool last)
{
	unsigned flags = (w->told ? 0 : WS_FIRST) | (last ? WS_LAST : 0) | (w->text ? WS_TEXT : 0);

	w->told = true;
	if (!w->finished && w->ops.on_piece)
		w->ops.on_piece(w->arg, data, len, flags);
}

/* A data frame's payload, as much as is there. */
static bool step_payload(struct ws *w, const char *data, size_t len)
{
	unsigned char buf[PIECE];
	size_t n = len < w->left ? len : w->left;

	n = n < PIECE ? n : PIECE;
	if (n == 0 && w->left)
		return false;
	unmask(buf, data, n, w->mask, &w->mask_at);
	stream_consume(w->stream, n);
	w->left -= n;
	bool last = w->left == 0 && w->last_frame;

	if (w->text && (!utf8_take(&w->utf8, buf, n) || (last && w->utf8.need))) {
		fail(w, WS_BAD_DATA, "text is not UTF-8");
		return false;
	}
	w->in_frame = w->left > 0;
	w->in_message = w->in_message && !last;
	if (n || last)
		give(w, buf, n, last);
	return true;
}

static bool step_data(struct ws *w, const struct head *h)
{
	bool more = h->opcode == OP_CONTINUATION;

	if (h->opcode > OP_BINARY || more != w->in_message) {
		fail(w, WS_PROTOCOL_ERROR, "unexpected frame");
		return false;
	}
	stream_consume(w->stream, h->len);
	if (!more) {
		w->text = h->opcode == OP_TEXT;
		w->told = false;
		w->utf8 = (struct utf8){0};
	}
	w->in_message = w->in_frame = true;
	w->last_frame = h->fin;
	w->left = h->payload;
	w->mask_at = 0;
	memcpy(w->mask, h->mask, sizeof(w->mask));
	return true;
}

static bool socket_step(struct ws *w)
{
	struct head h;
	size_t len;
	const char *data = stream_peek(w->stream, &len);

	if (w->in_frame)
		return step_payload(w, data, len);
	int rc = parse_head(data, len, &h);

	if (rc < 0)
		fail(w, WS_PROTOCOL_ERROR, "malformed frame");
	if (rc <= 0)
		return false;
	return h.opcode & 8 ? step_control(w, data, len, &h) : step_data(w, &h);
}

static void socket_input(void *arg)
{
	struct ws *w = arg;

	while (!w->closed && (!w->paused || w->finished) && stream_out_len(w->stream) < OUTPUT_MAX)
		if (!socket_step(w))
			return;
}

static void on_stream_data(void *arg)
{
	socket_input(arg);
}

static void on_stream_drain(void *arg)
{
	struct ws *w = arg;

	if (w->ops.on_drain && !w->finished)
		w->ops.on_drain(w->arg);
	if (!w->closed)
		work_queue(w->loop, &w->more);
}

static void on_stream_close(void *arg, const char *why)
{
	socket_lost(arg, why ? why : "connection closed");
}

static const struct stream_ops ws_stream_ops = {
	.on_data = on_stream_data,
	.on_drain = on_stream_drain,
	.on_close = on_stream_close,
};

/* ---- public ------------------------------------------------------------------------------ */

struct ws *ws_new(struct loop *loop, struct stream *stream, const struct ws_ops *ops, void *arg)
{
	struct ws *w = xnew(struct ws);

	w->loop = loop;
	w->stream = stream;
	w->ops = *ops;
	w->arg = arg;
	work_init(&w->more, socket_input, w);
	stream_set_ops(stream, &ws_stream_ops, w);
	work_queue(loop, &w->more);
	return w;
}

void ws_send(struct ws *w, bool text, const struct iovec *parts, size_t n)
{
	if (!w->closed && !w->finished)
		send_frame(w, text ? OP_TEXT : OP_BINARY, parts, n);
}

size_t ws_backlog(const struct ws *w)
{
	return w->closed ? 0 : stream_out_len(w->stream);
}

static void on_pong(void *arg)
{
	struct ws *w = arg;

	if (w->finished)
		return;
	if (stream_out_len(w->stream) < OUTPUT_MAX)
		send_frame(w, OP_PONG, NULL, 0);
	timer_arm(w->pong, PONG_US);
}

void ws_pause(struct ws *w, bool pause)
{
	if (w->closed || w->paused == pause)
		return;
	w->paused = pause;
	if (!w->pong)
		w->pong = timer_new(w->loop, on_pong, w);
	if (pause) {
		timer_arm(w->pong, PONG_US);
	} else {
		timer_disarm(w->pong);
		work_queue(w->loop, &w->more);
	}
}

void ws_finish(struct ws *w, enum ws_code code, const char *reason)
{
	if (w->closed || w->finished)
		return;
	send_close(w, code, reason);
	work_queue(w->loop, &w->more);
}

void ws_close(struct ws *w, enum ws_code code, const char *why)
{
	if (!w || w->closed)
		return;
	send_close(w, code, why);
	socket_retire(w, why);
}
