/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A container's stdin, stdout and stderr, and those attached to them.
 *
 * Output is read as it comes and goes to the log and to every attachment. An attachment that does
 * not read stops the reading of that stream, as a terminal would; with a log alone nothing does.
 */
#include "sandbox.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <unistd.h>

/* A pipe that polls writable takes ATTACHED_CHUNK at once (pipe(7)). */
enum { ATTACHED_CHUNK = 4096, HURRY_MS = 100 };

static struct attachment *attachments;

static bool writable(int fd, int wait_ms)
{
	struct pollfd p = {.fd = fd, .events = POLLOUT};

	return poll(&p, 1, wait_ms) == 1 && (p.revents & (POLLOUT | POLLERR));
}

/* ---- output ----------------------------------------------------------------------------- */

static struct source *attached_sink(struct attachment *a, const struct stream *s)
{
	return s->is_stderr ? &a->err : &a->out;
}

/* Largest read that every attachment can take now; 0: one cannot, it is waited for. */
static size_t room(const struct stream *s)
{
	size_t size = sizeof(self.chunk);

	for (struct attachment *a = attachments; a; a = a->next) {
		struct source *sink = attached_sink(a, s);

		if (a->owner != s->owner || sink->fd < 0)
			continue;
		size = size ? ATTACHED_CHUNK : 0;
		if (!writable(sink->fd, 0)) {
			source_want(sink, EPOLLOUT);
			size = 0;
		}
	}
	return size;
}

static void distribute(const struct stream *s, size_t len)
{
	for (struct attachment *a = attachments, *next; a; a = next) {
		struct source *sink = attached_sink(a, s);

		next = a->next;
		if (a->owner == s->owner && sink->fd >= 0 && write(sink->fd, self.chunk, len) < 0 &&
		    errno != EAGAIN)
			source_close(
				sink); /* reader gone; the attachment ends with its connection */
	}
	log_append(&s->owner->log, s->is_stderr ? "stderr" : "stdout", (const char *)self.chunk,
		   len);
}

/* False when there is no more now, or ever (then the stream is closed). */
static bool stream_read(struct stream *s, size_t size)
{
	ssize_t n = read(s->src.fd, self.chunk, size);

	if (n > 0) {
		distribute(s, (size_t)n);
		return true;
	}
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return false;
	source_close(&s->src); /* end; EIO on a pty whose last user has gone */
	return false;
}

static void on_output(void *arg, uint32_t events UNUSED)
{
	struct stream *s = arg;
	size_t size = room(s);

	if (size == 0)
		source_want(&s->src, 0);
	else
		stream_read(s, size);
}

void stdio_listen(struct container *c)
{
	struct stream *both[] = {&c->out, &c->err};

	for (size_t i = 0; i < ARRAY_SIZE(both); i++)
		if (both[i]->src.fd >= 0)
			source_open(&both[i]->src, both[i]->src.fd, EPOLLIN, on_output, both[i]);
}

/* The container is over: who does not read within a moment loses the tail, and sees it cut. */
static void hurry(const struct stream *s)
{
	for (struct attachment *a = attachments; a; a = a->next) {
		struct source *sink = attached_sink(a, s);

		if (a->owner == s->owner && sink->fd >= 0 && !writable(sink->fd, HURRY_MS))
			source_close(sink);
	}
}

/* Bounded, for somebody outside the container may still hold and fill the pipe. */
void stdio_drain(struct container *c)
{
	struct stream *both[] = {&c->out, &c->err};

	if (c->state == PROTO_STATE_QUEUED)
		return;
	for (size_t i = 0; i < ARRAY_SIZE(both); i++)
		for (int n = 0; n < 1024 && both[i]->src.fd >= 0; n++) {
			hurry(both[i]);
			if (!stream_read(both[i], ATTACHED_CHUNK))
				break;
		}
}

/* ---- stdin ------------------------------------------------------------------------------ */

/* Writes what is pending; true when nothing is left. */
static bool input_flush(struct container *c)
{
	while (c->in_pending_len > 0 && c->in.fd >= 0) {
		ssize_t n = write(c->in.fd, c->in_pending, c->in_pending_len);

		if (n < 0 && errno == EAGAIN)
			return false;
		if (n < 0) {
			source_close(&c->in);
			break;
		}
		c->in_pending_len -= (size_t)n;
		memmove(c->in_pending, c->in_pending + n, c->in_pending_len);
	}
	c->in_pending_len = 0;
	return true;
}

static void on_input_room(void *arg, uint32_t events UNUSED)
{
	struct container *c = arg;

	if (!input_flush(c))
		return;
	source_want(&c->in, 0);
	for (struct attachment *a = attachments; a; a = a->next)
		if (a->owner == c)
			source_want(&a->in, EPOLLIN);
}

static void on_attached_input(void *arg, uint32_t events UNUSED)
{
	struct attachment *a = arg;
	struct container *c = a->owner;

	if (c->in_pending_len > 0) { /* another attachment was faster */
		source_want(&a->in, 0);
		return;
	}
	if (!c->in_pending)
		c->in_pending = xmalloc(ATTACHED_CHUNK);
	ssize_t n = read(a->in.fd, c->in_pending, ATTACHED_CHUNK);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		source_close(&a->in);
		if (c->flags & PROTO_STDIN_ONCE)
			source_close(&c->in);
		return;
	}
	c->in_pending_len = (size_t)n;
	if (!input_flush(c)) {
		source_want(&a->in, 0);
		source_want(&c->in, EPOLLOUT);
	}
}

/* ---- making and closing ----------------------------------------------------------------- */

/* The end that stays here does not block; the other one is a container's and must. */
static int make_pipe(int *ours, int *theirs, bool we_write)
{
	int p[2];

	if (pipe2(p, O_CLOEXEC) < 0)
		return -errno;
	*ours = p[we_write];
	*theirs = p[!we_write];
	fcntl(*ours, F_SETFL, O_NONBLOCK | (we_write ? O_WRONLY : 0));
	return 0;
}

int stdio_open(struct container *c, int child[3])
{
	int in = -1, r;

	c->out.owner = c->err.owner = c;
	c->err.is_stderr = true;
	if (c->flags & PROTO_TTY)
		return 0;
	r = make_pipe(&c->out.src.fd, &child[1], false);
	if (r == 0)
		r = make_pipe(&c->err.src.fd, &child[2], false);
	if (r == 0 && (c->flags & PROTO_STDIN_OPEN)) {
		r = make_pipe(&in, &child[0], true);
		source_open(&c->in, in, 0, on_input_room, c);
	}
	return r;
}

void stdio_tty(struct container *c, int master)
{
	c->out.src.fd = master;
	if (c->flags & PROTO_STDIN_OPEN)
		source_open(&c->in, fcntl(master, F_DUPFD_CLOEXEC, 3), 0, on_input_room, c);
}

void stdio_close(struct container *c)
{
	source_close(&c->out.src);
	source_close(&c->err.src);
	source_close(&c->in);
}

/* ---- attachments ------------------------------------------------------------------------ */

/* There is room (or the reader is gone, which the next write finds out): its streams go on. */
static void on_sink(void *arg, uint32_t events UNUSED)
{
	struct attachment *a = arg;

	source_want(&a->out, 0);
	source_want(&a->err, 0);
	source_want(&a->owner->out.src, EPOLLIN);
	source_want(&a->owner->err.src, EPOLLIN);
}

void fds_assign(uint64_t flags, const int fds[static PROTO_FDS_MAX], int ret[3])
{
	static const uint64_t wants[] = {PROTO_WANT_STDIN, PROTO_WANT_STDOUT, PROTO_WANT_STDERR};
	size_t n = 0;

	for (size_t i = 0; i < ARRAY_SIZE(wants); i++)
		ret[i] = flags & wants[i] ? fds[n++] : -1;
}

static void sink_open(struct source *s, int fd, struct attachment *a)
{
	if (fd >= 0)
		fcntl(fd, F_SETFL, O_NONBLOCK | O_WRONLY);
	source_open(s, fd, 0, on_sink, a);
}

void attach_start(struct conn *conn, struct container *c, const struct proto_msg *m,
		  int fds[static PROTO_FDS_MAX])
{
	struct proto_msg started = {.type = PROTO_EXEC_STARTED, .exec = m->exec};
	struct attachment *a = xnew(struct attachment);
	int io[3];

	fds_assign(m->flags, fds, io);
	*a = (struct attachment){.next = attachments, .owner = c, .conn = conn};
	a->exec = (uint32_t)m->exec;
	attachments = a;
	if (io[0] >= 0)
		fcntl(io[0], F_SETFL, O_NONBLOCK);
	source_open(&a->in, io[0], EPOLLIN, on_attached_input, a);
	sink_open(&a->out, io[1], a);
	sink_open(&a->err, io[2], a);
	if (c->in.fd < 0)
		source_close(&a->in);
	control_send(conn, &started, -1);
}

/* Its streams may have waited for it: they go on. */
static void attachment_free(struct attachment *a, int code)
{
	struct proto_msg ended = {.type = PROTO_EXEC_ENDED, .exec = a->exec};
	struct attachment **p = &attachments;

	while (*p != a)
		p = &(*p)->next;
	*p = a->next;
	source_close(&a->in);
	source_close(&a->out);
	source_close(&a->err);
	source_want(&a->owner->out.src, EPOLLIN);
	source_want(&a->owner->err.src, EPOLLIN);
	ended.code = (uint64_t)(int64_t)code;
	if (a->conn)
		control_send(a->conn, &ended, -1);
	free(a);
}

bool attach_end(uint32_t exec)
{
	for (struct attachment *a = attachments; a; a = a->next) {
		if (a->exec == exec) {
			a->conn = NULL;
			attachment_free(a, 0);
			return true;
		}
	}
	return false;
}

void attach_end_container(struct container *c)
{
	for (struct attachment *a = attachments, *next; a; a = next) {
		next = a->next;
		if (a->owner == c)
			attachment_free(a, c->code);
	}
}

void attach_end_conn(struct conn *conn)
{
	for (struct attachment *a = attachments, *next; a; a = next) {
		next = a->next;
		if (a->conn == conn) {
			a->conn = NULL;
			attachment_free(a, 0);
		}
	}
}

bool attach_resize(uint32_t exec, uint64_t cols, uint64_t rows)
{
	struct winsize size = {.ws_row = (unsigned short)rows, .ws_col = (unsigned short)cols};

	for (struct attachment *a = attachments; a; a = a->next) {
		if (a->exec == exec && (a->owner->flags & PROTO_TTY) && a->owner->out.src.fd >= 0)
			return ioctl(a->owner->out.src.fd, TIOCSWINSZ, &size) == 0;
	}
	return false;
}
