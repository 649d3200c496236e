/* SPDX-License-Identifier: Apache-2.0 */
/* run: a command in a container with its output collected, for exec probes and hooks. */
#include "internal.h"

#include <fcntl.h>
#include <unistd.h>

#define OUTPUT_MAX 10240 /* what kubelet keeps of a probe's output */

struct run {
	struct loop *loop;
	struct exec *exec;
	int fds[2];
	struct io *ios[2];
	struct strbuf output;
	struct work failed; /* could not even start */
	run_done_fn *done;
	void *arg;
};

static void run_free(void *arg)
{
	struct run *r = arg;

	strbuf_done(&r->output);
	free(r);
}

static void run_close(struct run *r)
{
	work_cancel(&r->failed);
	for (int i = 0; i < 2; i++) {
		io_free(r->ios[i]);
		r->ios[i] = NULL;
		r->fds[i] = fd_close(r->fds[i]);
	}
	loop_free_later(r->loop, run_free, r);
}

/* Reads what is there; false at the end of the stream. What exceeds the limit is dropped. */
static bool read_some(struct run *r, int fd)
{
	char buf[4096];
	ssize_t n = read(fd, buf, sizeof(buf));

	if (n <= 0)
		return n < 0 && (errno == EAGAIN || errno == EINTR);
	size_t room = r->output.len < OUTPUT_MAX ? OUTPUT_MAX - r->output.len : 0;
	strbuf_add(&r->output, buf, (size_t)n < room ? (size_t)n : room);
	return true;
}

static void on_readable(void *arg, int fd, unsigned what UNUSED)
{
	struct run *r = arg;

	if (read_some(r, fd))
		return;
	for (int i = 0; i < 2; i++)
		if (r->fds[i] == fd && r->ios[i])
			io_want(r->ios[i], 0);
}

static void on_start(void *arg, int in, int out, int err)
{
	struct run *r = arg;
	int fds[2] = {out, err};

	fd_close(in);
	for (int i = 0; i < 2; i++) {
		r->fds[i] = fds[i];
		if (fds[i] < 0)
			continue;
		fcntl(fds[i], F_SETFL, fcntl(fds[i], F_GETFL) | O_NONBLOCK);
		r->ios[i] = io_new(r->loop, fds[i], IO_READ, on_readable, r);
	}
}

static void on_end(void *arg, int code, bool timed_out, const char *message)
{
	struct run *r = arg;

	r->exec = NULL;
	for (int i = 0; i < 2; i++)
		for (int turns = 0; r->fds[i] >= 0 && turns < 4; turns++)
			if (!read_some(r, r->fds[i]))
				break;
	if (code < 0 && message)
		strbuf_adds(&r->output, message);
	r->done(r->arg, code, timed_out, r->output.s ? r->output.s : "");
	run_close(r);
}

static const struct exec_ops ops = {on_start, on_end};

static void on_failed(void *arg)
{
	struct run *r = arg;

	r->done(r->arg, -EIO, false, r->output.s ? r->output.s : "");
	run_close(r);
}

struct run *run_start(struct ctr *c, const char *const *argv, uint64_t timeout_us,
		      run_done_fn *done, void *arg)
{
	struct run *r = xnew(struct run);
	auto_err err = {0};
	struct exec_config config = {
		.argv = argv,
		.want_stdout = true,
		.want_stderr = true,
		.timeout_us = timeout_us,
	};

	*r = (struct run){.loop = c->pod->node->loop, .fds = {-1, -1}, .done = done, .arg = arg};
	work_init(&r->failed, on_failed, r);
	r->exec = container_exec(c->pod->sandbox, c->facts.id, &config, &ops, r, &err);
	if (!r->exec) {
		strbuf_adds(&r->output, err_message(&err));
		work_queue(r->loop, &r->failed);
	}
	return r;
}

void run_cancel(struct run *r)
{
	if (!r)
		return;
	if (r->exec)
		exec_cancel(r->exec);
	run_close(r);
}
