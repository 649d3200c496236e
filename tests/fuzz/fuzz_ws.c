/* SPDX-License-Identifier: Apache-2.0 */
/* WebSockets: the input is what a client sends to a server that echoes messages. */
#include <coracle/http.h>
#include <sys/socket.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct echo {
	struct ws *ws;
	bool in_message, closed;
};

static void on_piece(void *arg, const void *data, size_t len, unsigned flags)
{
	struct echo *e = arg;
	struct iovec part = {(void *)(uintptr_t)data, len};

	if (e->in_message == !!(flags & WS_FIRST))
		abort();
	e->in_message = !(flags & WS_LAST);
	ws_send(e->ws, flags & WS_TEXT, &part, 1);
}

static void on_close(void *arg, const char *why UNUSED)
{
	((struct echo *)arg)->closed = true;
}

static const struct ws_ops ops = {.on_piece = on_piece, .on_close = on_close};
static const struct stream_ops no_ops;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct echo e = {0};
	int fds[2];

	if (size > 60000 ||
	    socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds) < 0)
		return 0;
	struct loop *loop = loop_new();

	e.ws = ws_new(loop, stream_new(loop, fds[1], NULL, true, &no_ops, NULL), &ops, &e);
	if (write(fds[0], data, size) == (ssize_t)size)
		shutdown(fds[0], SHUT_WR);
	else
		close(steal_fd(&fds[0]));
	if (loop_run_until(loop, &e.closed, USEC_PER_SEC) < 0)
		abort();
	fd_close(fds[0]);
	loop_free(loop);
	return 0;
}
