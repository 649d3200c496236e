/* SPDX-License-Identifier: Apache-2.0 */
/*
 * coracle exec: a command in a container, over SPDY/3.1 with the sub-protocol v4.channel.k8s.io.
 */
#include "internal.h"
#include <fcntl.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

#define STDIN_PIECE 32768
#define BACKLOG_MAX ((size_t)1 << 20)
#define STATUS_MAX ((size_t)64 << 10)

enum channel {
	CHANNEL_ERROR,
	CHANNEL_STDIN,
	CHANNEL_STDOUT,
	CHANNEL_STDERR,
	CHANNEL_RESIZE,
	CHANNEL_COUNT
};
static const char *const channel_names[CHANNEL_COUNT] = {"error", "stdin", "stdout", "stderr",
							 "resize"};

struct exec {
	struct cli *c;
	struct spdy *spdy;
	struct spdy_stream *streams[CHANNEL_COUNT];
	bool wanted[CHANNEL_COUNT], finished[CHANNEL_COUNT];
	struct io *in;	       /* pollable standard input */
	struct work read_file; /* else it is a file: read piece by piece */
	struct sig *winch;
	struct strbuf status;
	bool done, tty;
	int exit_code;
};

/* ---- the terminal --------------------------------------------------------------------------- */

static struct termios saved_mode;
static bool mode_saved;

static void terminal_restore(void)
{
	if (mode_saved)
		tcsetattr(STDIN_FILENO, TCSADRAIN, &saved_mode);
	mode_saved = false;
}

static void on_fatal_signal(int signo)
{
	terminal_restore();
	_exit(128 + signo);
}

static void terminal_raw(void)
{
	struct termios raw;

	if (tcgetattr(STDIN_FILENO, &saved_mode) < 0)
		return;
	mode_saved = true;
	raw = saved_mode;
	cfmakeraw(&raw);
	tcsetattr(STDIN_FILENO, TCSADRAIN, &raw);
	signal(SIGTERM, on_fatal_signal);
	signal(SIGHUP, on_fatal_signal);
}

static void send_size(struct exec *x)
{
	struct winsize size;
	char text[64];

	if (!x->streams[CHANNEL_RESIZE] || ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) < 0)
		return;
	snprintf(text, sizeof(text), "{\"Width\":%u,\"Height\":%u}\n", size.ws_col, size.ws_row);
	spdy_write(x->streams[CHANNEL_RESIZE], text, strlen(text));
}

static void on_winch(void *arg, int signo UNUSED)
{
	send_size(arg);
}

/* ---- standard input ------------------------------------------------------------------------- */

static void stdin_end(struct exec *x)
{
	io_free(steal_ptr(x->in));
	if (x->streams[CHANNEL_STDIN] && !x->finished[CHANNEL_STDIN])
		spdy_fin(x->streams[CHANNEL_STDIN]);
	x->finished[CHANNEL_STDIN] = true;
}

/* One piece; returns false when there is no more. */
static bool stdin_piece(struct exec *x)
{
	char buf[STDIN_PIECE];
	ssize_t n = read(STDIN_FILENO, buf, sizeof(buf));

	if (n < 0 && (errno == EINTR || errno == EAGAIN))
		return true;
	if (n <= 0) {
		stdin_end(x);
		return false;
	}
	spdy_write(x->streams[CHANNEL_STDIN], buf, (size_t)n);
	return true;
}

static void on_stdin(void *arg, int fd UNUSED, unsigned what UNUSED)
{
	struct exec *x = arg;

	if (stdin_piece(x) && spdy_backlog(x->spdy) > BACKLOG_MAX)
		io_want(x->in, 0);
}

static void on_file(void *arg)
{
	struct exec *x = arg;

	if (!x->finished[CHANNEL_STDIN] && spdy_backlog(x->spdy) <= BACKLOG_MAX && stdin_piece(x))
		work_queue(x->c->loop, &x->read_file);
}

static void stdin_start(struct exec *x)
{
	struct stat st;
	bool pollable = fstat(STDIN_FILENO, &st) == 0 &&
			(S_ISFIFO(st.st_mode) || S_ISSOCK(st.st_mode) || isatty(STDIN_FILENO));

	work_init(&x->read_file, on_file, x);
	if (pollable)
		x->in = io_new(x->c->loop, STDIN_FILENO, IO_READ, on_stdin, x);
	else
		work_queue(x->c->loop, &x->read_file);
}

/* ---- the session ---------------------------------------------------------------------------- */

static void finish(struct exec *x, int exit_code)
{
	if (x->done)
		return;
	x->exit_code = exit_code;
	x->done = true;
}

/* The Status at the end of the error stream: success, an exit code, or what went wrong. */
static int exit_code_of(const struct strbuf *text, bool quiet)
{
	json_auto_t *status = text->len ? json_loadb(text->s, text->len, 0, NULL) : NULL;
	const json_t *cause;
	int64_t code;

	if (!status && text->len)
		return cli_error("%s", text->s);
	if (!status || str_eq(json_str(status, "status", NULL), "Success"))
		return 0;
	cause = json_find(json_at(status, "details.causes"), "reason", "ExitCode");
	if (cause && str_to_i64(json_str(cause, "message", ""), 0, 255, &code) == 0) {
		if (!quiet)
			fprintf(stderr, "command terminated with exit code %d\n", (int)code);
		return (int)code;
	}
	return cli_error("Internal error occurred: %s", json_str(status, "message", "unknown"));
}

/* Everything has ended when the error stream and the output streams have. */
static void check_end(struct exec *x)
{
	if (!x->finished[CHANNEL_ERROR])
		return;
	for (enum channel i = CHANNEL_STDOUT; i <= CHANNEL_STDERR; i++) {
		if (x->wanted[i] && !x->finished[i])
			return;
	}
	finish(x, 0);
}

static void write_fd(int fd, const char *data, size_t len)
{
	while (len) {
		ssize_t n = write(fd, data, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return;
		data += n;
		len -= (size_t)n;
	}
}

static enum channel channel_of(const struct exec *x, const struct spdy_stream *st)
{
	enum channel i = CHANNEL_ERROR;

	while (i < CHANNEL_COUNT && x->streams[i] != st)
		i++;
	return i;
}

static void on_data(void *arg, struct spdy_stream *st, const void *data, size_t len)
{
	struct exec *x = arg;
	enum channel i = channel_of(x, st);

	if (i == CHANNEL_STDOUT)
		write_fd(STDOUT_FILENO, data, len);
	else if (i == CHANNEL_STDERR)
		write_fd(STDERR_FILENO, data, len);
	else if (i == CHANNEL_ERROR && x->status.len + len <= STATUS_MAX)
		strbuf_add(&x->status, data, len);
}

static void on_fin(void *arg, struct spdy_stream *st)
{
	struct exec *x = arg;
	enum channel i = channel_of(x, st);

	if (i < CHANNEL_COUNT && i != CHANNEL_STDIN)
		x->finished[i] = true;
	check_end(x);
}

static void on_reset(void *arg, struct spdy_stream *st)
{
	struct exec *x = arg;
	enum channel i = channel_of(x, st);

	if (i == CHANNEL_STDIN)
		stdin_end(x);
	if (i < CHANNEL_COUNT) {
		x->finished[i] = true;
		x->streams[i] = NULL;
	}
	check_end(x);
}

static void on_drain(void *arg)
{
	struct exec *x = arg;

	if (x->in)
		io_want(x->in, IO_READ);
	else if (x->wanted[CHANNEL_STDIN] && !x->finished[CHANNEL_STDIN] && x->read_file.fn)
		work_queue(x->c->loop, &x->read_file);
}

static void on_close(void *arg, const char *why)
{
	struct exec *x = arg;

	x->spdy = NULL;
	memset(x->streams, 0, sizeof(x->streams));
	/* The status may have come whole before the server hung up. */
	if (x->done || x->status.len)
		finish(x, 0);
	else
		finish(x, cli_error("lost connection to the pod: %s", why ? why : "closed"));
}

static const struct spdy_ops session_ops = {
	.on_data = on_data,
	.on_fin = on_fin,
	.on_reset = on_reset,
	.on_drain = on_drain,
	.on_close = on_close,
};

static void on_upgrade(void *arg, struct stream *s)
{
	struct exec *x = arg;

	x->spdy = spdy_new(x->c->loop, s, true, &session_ops, x);
	for (enum channel i = CHANNEL_ERROR; i < CHANNEL_COUNT; i++) {
		const char *const headers[] = {"streamtype", channel_names[i], NULL};

		if (x->wanted[i])
			x->streams[i] = spdy_open(x->spdy, headers);
	}
	/* Nothing is sent on the error stream. */
	if (x->streams[CHANNEL_ERROR])
		spdy_fin(x->streams[CHANNEL_ERROR]);
	if (x->tty) {
		terminal_raw();
		x->winch = sig_new(x->c->loop, SIGWINCH, on_winch, x);
		send_size(x);
	}
	if (x->wanted[CHANNEL_STDIN])
		stdin_start(x);
}

static void on_done(void *arg, const struct http_answer *answer, const char *why)
{
	struct exec *x = arg;
	auto_reply r = {0};

	if (!answer) {
		finish(x, cli_error("cannot reach coracled: %s", why));
		return;
	}
	r.code = answer->code;
	r.body = xstrndup(answer->body, answer->body_len);
	r.len = answer->body_len;
	finish(x, reply_error(&r, NULL));
}

static char *exec_path(struct exec *x, const json_t *pod)
{
	auto_free char *base = kind_path(&kind_pod, meta_ns(pod), meta_name(pod));
	auto_free char *container =
		url_encode(x->c->o.container ? x->c->o.container : pod_default_container(pod));
	auto_strbuf b = {0};

	strbuf_addf(&b, "%s/exec?stdin=%s&stdout=true&stderr=%s&tty=%s", base,
		    x->wanted[CHANNEL_STDIN] ? "true" : "false",
		    x->wanted[CHANNEL_STDERR] ? "true" : "false", x->tty ? "true" : "false");
	for (size_t i = 0; i < x->c->after.n; i++) {
		auto_free char *word = url_encode(x->c->after.v[i]);
		strbuf_addf(&b, "&command=%s", word);
	}
	strbuf_addf(&b, "&container=%s", container);
	return strbuf_steal(&b);
}

static int run(struct exec *x, const json_t *pod)
{
	static const char *const headers[] = {
		"Connection",	     "Upgrade", "Upgrade", "SPDY/3.1", "X-Stream-Protocol-Version",
		"v4.channel.k8s.io", NULL};
	static const struct http_call_ops ops = {.on_done = on_done, .on_upgrade = on_upgrade};
	auto_free char *path = exec_path(x, pod);
	const struct http_call_config config = {.to = x->c->server,
						.method = "POST",
						.path = path,
						.host = "localhost",
						.headers = headers};
	auto_err err = {0};

	if (!http_call(x->c->loop, &config, &ops, x, &err))
		return cli_error("cannot reach coracled: %s", err_message(&err));
	if (loop_run_until(x->c->loop, &x->done, 0) < 0)
		x->exit_code = cli_error("the event loop failed");
	terminal_restore();
	io_free(x->in);
	sig_free(x->winch);
	if (x->read_file.fn)
		work_cancel(&x->read_file);
	if (x->spdy)
		spdy_close(x->spdy, "done");
	loop_bury(x->c->loop);
	if (!x->exit_code)
		x->exit_code = exit_code_of(&x->status, false);
	strbuf_done(&x->status);
	return x->exit_code;
}

/* "exec POD CMD ARGS" without "--" is what older scripts write. */
static void command_from_args(struct cli *c)
{
	for (size_t i = 1; !c->after.n && i < c->args.n; i++)
		strv_add(&c->after, c->args.v[i]);
}

int cmd_exec(struct cli *c)
{
	struct exec x = {.c = c, .tty = c->o.tty};
	json_auto_t *pod = NULL;
	int exit_code;

	if (!c->args.n)
		return cli_error("pod, type/name or --filename must be specified");
	command_from_args(c);
	if (!c->after.n)
		return cli_error("you must specify at least one command for the container");
	if (x.tty && !isatty(STDIN_FILENO)) {
		fprintf(stderr,
			"Unable to use a TTY - input is not a terminal or the right kind of "
			"file\n");
		x.tty = false;
	}
	x.wanted[CHANNEL_ERROR] = x.wanted[CHANNEL_STDOUT] = true;
	x.wanted[CHANNEL_STDIN] = c->o.stdin_;
	x.wanted[CHANNEL_STDERR] = !x.tty;
	x.wanted[CHANNEL_RESIZE] = x.tty;
	pod = pod_for(c, c->args.v[0], &exit_code);
	return pod ? run(&x, pod) : exit_code;
}
