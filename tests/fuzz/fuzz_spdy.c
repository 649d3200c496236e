/* SPDX-License-Identifier: Apache-2.0 */
/* SPDY: the input is what a peer sends to a session that echoes data. */
#include <coracle/http.h>
#include <sys/socket.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool on_stream(void *arg UNUSED, struct spdy_stream *st UNUSED, const char *const *headers)
{
	return headers[0] != NULL;
}

static void on_data(void *arg UNUSED, struct spdy_stream *st, const void *data, size_t len)
{
	spdy_write(st, data, len);
}

static void on_fin(void *arg UNUSED, struct spdy_stream *st)
{
	spdy_fin(st);
}

static void on_reset(void *arg UNUSED, struct spdy_stream *st UNUSED)
{
}

static void on_close(void *arg, const char *why UNUSED)
{
	*(bool *)arg = true;
}

static const struct spdy_ops ops = {
	.on_stream = on_stream,
	.on_data = on_data,
	.on_fin = on_fin,
	.on_reset = on_reset,
	.on_close = on_close,
};
static const struct stream_ops no_ops;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	int fds[2];
	bool closed = false;

	if (size > 60000 ||
	    socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds) < 0)
		return 0;
	struct loop *loop = loop_new();
	struct stream *s = stream_new(loop, fds[1], NULL, true, &no_ops, NULL);

	spdy_new(loop, s, false, &ops, &closed);
	if (write(fds[0], data, size) == (ssize_t)size)
		shutdown(fds[0], SHUT_WR);
	else
		close(steal_fd(&fds[0]));
	if (loop_run_until(loop, &closed, USEC_PER_SEC) < 0)
		abort();
	fd_close(fds[0]);
	loop_free(loop);
	return 0;
}
