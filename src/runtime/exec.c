/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Exec and attach: the pipes are made here, their far ends go to the sandbox, the near ends to the
 * caller. No byte of the streams passes through this module.
 */
#include "internal.h"
#include "oci.h"

#include <fcntl.h>
#include <sys/ioctl.h>
#include <unistd.h>

struct exec {
	struct list node; /* in sandbox->execs */
	struct sandbox *s;
	const struct exec_ops *ops;
	void *arg;
	uint32_t serial;
	int near[3];		   /* until on_start */
	int tty;		   /* own copy of the pty master, for its size */
	unsigned short cols, rows; /* wanted before there was a pty; 0: none */
	struct timer *timeout;
};

static void close_all(int fds[3])
{
	for (int i = 0; i < 3; i++)
		fds[i] = fd_close(fds[i]);
}

static void exec_free(struct exec *e)
{
	list_del(&e->node);
	close_all(e->near);
	fd_close(e->tty);
	timer_free(e->timeout);
	free(e);
}

/* Last thing of an exec: the object is gone before the caller hears of it. */
static void exec_finish(struct exec *e, int code, bool timed_out, const char *message)
{
	const struct exec_ops *ops = e->ops;
	void *arg = e->arg;

	exec_free(e);
	ops->on_end(arg, code, timed_out, message);
}

static void exec_send_kill(const struct exec *e)
{
	struct proto_msg m = {.type = PROTO_EXEC_KILL, .exec = e->serial};

	/* Without a connection the sandbox has ended it already. */
	if (link_send(e->s, &m, NULL, 0) < 0)
		log_debug("exec %u: connection is lost", e->serial);
}

static void on_timeout(void *arg)
{
	struct exec *e = arg;

	exec_send_kill(e);
	exec_finish(e, 128 + 9, true, NULL);
}

/* ---- making ----------------------------------------------------------------------------- */

/* near: ours, non-blocking; far: the process's. */
static int make_pipe(int *near, int *far, bool we_write)
{
	int p[2];

	if (pipe2(p, O_CLOEXEC) < 0)
		return -errno;
	*near = p[we_write];
	*far = p[!we_write];
	fcntl(*near, F_SETFL, O_NONBLOCK | (we_write ? O_WRONLY : 0));
	return 0;
}

static int make_pipes(struct exec *e, const bool wanted[3], int far[3], size_t *n_far)
{
	for (int i = 0; i < 3; i++) {
		if (!wanted[i])
			continue;
		int r = make_pipe(&e->near[i], &far[*n_far], i == 0);
		if (r < 0)
			return r;
		++*n_far;
	}
	return 0;
}

static struct exec *exec_new(struct sandbox *s, const struct exec_ops *ops, void *arg)
{
	struct exec *e = xnew(struct exec);

	*e = (struct exec){.s = s, .ops = ops, .arg = arg, .near = {-1, -1, -1}, .tty = -1};
	e->serial = s->rt->next_exec++;
	list_add_tail(&s->execs, &e->node);
	return e;
}

static struct exec *exec_open(struct sandbox *s, struct proto_msg *m,
			      const struct exec_config *config, const struct exec_ops *ops,
			      void *arg, struct err *err)
{
	bool pipes = m->type == PROTO_ATTACH || !config->tty;
	const bool wanted[3] = {pipes && config->want_stdin, pipes && config->want_stdout,
				pipes && config->want_stderr};
	struct exec *e = exec_new(s, ops, arg);
	int far[3] = {-1, -1, -1};
	size_t n_far = 0;
	int r = make_pipes(e, wanted, far, &n_far);

	m->exec = e->serial;
	m->flags = (config->tty ? PROTO_TTY : 0u) | (wanted[0] ? PROTO_WANT_STDIN : 0u) |
		   (wanted[1] ? PROTO_WANT_STDOUT : 0u) | (wanted[2] ? PROTO_WANT_STDERR : 0u);
	if (r == 0)
		r = link_send(s, m, far, n_far);
	close_all(far);
	if (r < 0) {
		err_errno(err, -r, "reach the pod's sandbox");
		exec_free(e);
		return NULL;
	}
	if (config->timeout_us) {
		e->timeout = timer_new(s->rt->loop, on_timeout, e);
		timer_arm(e->timeout, config->timeout_us);
	}
	return e;
}

static const struct container *running(struct sandbox *s, const char *id, struct err *err)
{
	const struct container *c = container_find(s, id);

	if (c && c->state == PROTO_STATE_RUNNING && s->state == SANDBOX_READY)
		return c;
	err_set(err, ERR_CONFLICT, "container is not running");
	return NULL;
}

/* The container's own "process" with other arguments: same user, capabilities, directory. */
static char *write_process(const struct sandbox *s, const char *id,
			   const struct exec_config *config, struct err *err)
{
	auto_free char *dir = container_dir(s, id);
	auto_free char *file = path_join(dir, "config.json");
	auto_free char *path = xasprintf("%s/exec-%u.json", dir, s->rt->next_exec);
	auto_free char *text = NULL;
	auto_free char *out = NULL;
	size_t len;
	int r = file_read(file, 4 << 20, &text, &len);

	if (r < 0) {
		err_errno(err, -r, "read %s", file);
		return NULL;
	}
	json_auto_t *whole = json_parse(text, len, err);
	json_auto_t *process = whole ? oci_process_new(whole, config, err) : NULL;
	if (!process)
		return NULL;
	out = json_text(process, &len);
	r = out ? file_write_atomic(path, out, len, 0600, false) : -EILSEQ;
	if (r < 0) {
		err_errno(err, -r, "write %s", path);
		return NULL;
	}
	return steal_ptr(path);
}

struct exec *container_exec(struct sandbox *s, const char *id, const struct exec_config *config,
			    const struct exec_ops *ops, void *arg, struct err *err)
{
	struct proto_msg m = {.type = PROTO_EXEC, .id = id};
	auto_free char *process = NULL;

	if (!config->argv || !config->argv[0]) {
		err_set(err, ERR_BAD_REQUEST,
			"you must specify at least 1 command for the container");
		return NULL;
	}
	if (!running(s, id, err) || !(process = write_process(s, id, config, err)))
		return NULL;
	m.bundle = process;
	return exec_open(s, &m, config, ops, arg, err);
}

struct exec *container_attach(struct sandbox *s, const char *id, const struct exec_config *config,
			      const struct exec_ops *ops, void *arg, struct err *err)
{
	struct proto_msg m = {.type = PROTO_ATTACH, .id = id};
	const struct container *c = running(s, id, err);

	if (!c)
		return NULL;
	return exec_open(s, &m, config, ops, arg, err);
}

/* ---- events ----------------------------------------------------------------------------- */

static struct exec *exec_find(struct sandbox *s, uint64_t serial)
{
	list_foreach (&s->execs, e, struct exec, node) {
		if (e->serial == serial)
			return e;
	}
	return NULL;
}

static void set_size(const struct exec *e, unsigned short cols, unsigned short rows)
{
	struct winsize size = {.ws_col = cols, .ws_row = rows};

	if (ioctl(e->tty, TIOCSWINSZ, &size) < 0)
		log_debug("exec %u: window size: %s", e->serial, strerror(errno));
}

void exec_started(struct sandbox *s, const struct proto_msg *m, int fd)
{
	struct exec *e = exec_find(s, m->exec);
	int in, out, err;

	if (!e) {
		fd_close(fd);
		return;
	}
	if (fd >= 0) {
		e->near[1] = fd;
		e->near[0] = fcntl(fd, F_DUPFD_CLOEXEC, 3);
		e->tty = fcntl(fd, F_DUPFD_CLOEXEC, 3);
		if (e->cols)
			set_size(e, e->cols, e->rows);
	}
	in = steal_fd(&e->near[0]);
	out = steal_fd(&e->near[1]);
	err = steal_fd(&e->near[2]);
	e->ops->on_start(e->arg, in, out, err); /* may cancel: e is not used after it */
}

void exec_ended(struct sandbox *s, const struct proto_msg *m)
{
	struct exec *e = exec_find(s, m->exec);

	if (e)
		exec_finish(e, (int)(int64_t)m->code, false, m->message);
}

void exec_end_all(struct sandbox *s)
{
	while (!list_empty(&s->execs))
		exec_finish(list_entry(s->execs.next, struct exec, node), -ECONNRESET, false,
			    "the pod's sandbox is gone");
}

void exec_drop_all(struct sandbox *s)
{
	while (!list_empty(&s->execs))
		exec_free(list_entry(s->execs.next, struct exec, node));
}

void exec_resize(struct exec *e, unsigned short cols, unsigned short rows)
{
	struct proto_msg m = {.type = PROTO_RESIZE, .exec = e->serial, .cols = cols, .rows = rows};

	e->cols = cols;
	e->rows = rows;
	if (e->tty >= 0)
		set_size(e, cols, rows);
	else if (link_send(e->s, &m, NULL, 0) < 0) /* attach, or kept until the pty is there */
		log_debug("exec %u: connection is lost", e->serial);
}

void exec_cancel(struct exec *e)
{
	exec_send_kill(e);
	exec_free(e);
}
