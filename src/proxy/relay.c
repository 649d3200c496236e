/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One direction of a connection. Small messages go by read and write, which cost least; a stream
 * that fills the buffer several times in a row is bulk and moves to splice(2), which then costs
 * least. When it falls quiet its pipe is given back, so an idle session holds no buffer and no
 * pipe.
 */
#include "internal.h"
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
	RELAY_BULK = 3, /* full reads in a row that make a stream bulky */
	RELAY_STILL_BULK = 16 * 1024,
	RELAY_TURN = 512 * 1024, /* bytes for one session before others get their turn */
	RELAY_PIPE = 256 * 1024, /* asked of one splice */
};

void relay_init(struct relay *r)
{
	*r = (struct relay){.pipe = {-1, -1}};
}

void relay_done(struct proxy *p, struct relay *r)
{
	if (r->pipe[0] >= 0)
		pipe_give(p, r->pipe, r->in_pipe == 0);
	free(r->pending);
	relay_init(r);
}

bool relay_waits(const struct relay *r)
{
	return r->len || r->in_pipe;
}

static bool would_block(void)
{
	return errno == EAGAIN || errno == EINTR;
}

/* Sends what waits; 0 also when some of it still does. */
static int flush_pending(struct relay *r, int to)
{
	while (r->len) {
		ssize_t n = send(to, r->pending + r->off, r->len, MSG_NOSIGNAL);

		if (n < 0)
			return would_block() ? 0 : -errno;
		r->off += (uint32_t)n;
		r->len -= (uint32_t)n;
	}
	free(r->pending);
	r->pending = NULL;
	return 0;
}

static int flush_pipe(struct relay *r, int to)
{
	while (r->in_pipe) {
		ssize_t n = splice(r->pipe[0], NULL, to, NULL, r->in_pipe,
				   SPLICE_F_MOVE | SPLICE_F_NONBLOCK);

		if (n < 0)
			return would_block() ? 0 : -errno;
		r->in_pipe -= (uint32_t)n;
	}
	return 0;
}

/* One read and write. > 0: bytes moved and room for more; 0: nothing to do now. */
static ssize_t step_copy(struct proxy *p, struct relay *r, int from, int to)
{
	ssize_t n = read(from, p->scratch, PROXY_SCRATCH), sent;

	if (n < 0)
		return would_block() ? 0 : -errno;
	if (n == 0) {
		r->eof = true;
		return 0;
	}
	p->stats.bytes += (uint64_t)n;
	r->full_reads = n == PROXY_SCRATCH ? (uint8_t)(r->full_reads + 1) : 0;
	sent = send(to, p->scratch, (size_t)n, MSG_NOSIGNAL);
	if (sent < 0 && !would_block())
		return -errno;
	sent = sent < 0 ? 0 : sent;
	if (sent < n) {
		r->off = 0;
		r->len = (uint32_t)(n - sent);
		r->pending = xmalloc(r->len);
		memcpy(r->pending, p->scratch + sent, r->len);
		return 0;
	}
	/* A short read has emptied the socket: asking again would only cost a system call. */
	return n == PROXY_SCRATCH ? n : 0;
}

static ssize_t step_splice(struct proxy *p, struct relay *r, int from, int to)
{
	ssize_t n =
		splice(from, NULL, r->pipe[1], NULL, RELAY_PIPE, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
	int e;

	if (n < 0 && !would_block())
		return -errno;
	if (n < 0)
		return 0;
	if (n == 0) {
		r->eof = true;
		return 0;
	}
	p->stats.bytes += (uint64_t)n;
	r->in_pipe = (uint32_t)n;
	e = flush_pipe(r, to);
	return e < 0 ? e : r->in_pipe ? 0 : n;
}

static ssize_t step(struct proxy *p, struct relay *r, int from, int to)
{
	if (r->pipe[0] < 0 && r->full_reads >= RELAY_BULK) {
		if (pipe_take(p, r->pipe) == 0)
			p->stats.spliced_streams += r->full_reads == RELAY_BULK;
		else
			r->full_reads = 0; /* no pipe to be had: go on copying */
	}
	if (r->pipe[0] >= 0)
		r->full_reads = RELAY_BULK + 1; /* counted once */
	return r->pipe[0] >= 0 ? step_splice(p, r, from, to) : step_copy(p, r, from, to);
}

/* A pipe is held only while bytes are in it; whether the stream is still bulky shows in what this
 * turn has moved. */
static void settle(struct proxy *p, struct relay *r, ssize_t moved)
{
	if (r->pipe[0] < 0 || r->in_pipe)
		return;
	pipe_give(p, r->pipe, true);
	r->pipe[0] = r->pipe[1] = -1;
	if (moved < RELAY_STILL_BULK)
		r->full_reads = 0;
}

int relay_move(struct proxy *p, struct relay *r, int from, int to)
{
	ssize_t moved = 0, n = 1;
	int e = flush_pending(r, to);

	if (e == 0)
		e = flush_pipe(r, to);
	if (e < 0)
		return e;
	while (!relay_waits(r) && !r->eof && n > 0 && moved < RELAY_TURN) {
		n = step(p, r, from, to);
		if (n < 0)
			return (int)n;
		moved += n;
	}
	settle(p, r, moved);
	if (r->eof && !relay_waits(r) && !r->done) {
		r->done = true;
		shutdown(to, SHUT_WR); /* half-close goes through */
	}
	return 0;
}
