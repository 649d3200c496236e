/* SPDX-License-Identifier: Apache-2.0 */
/*
 * exec and attach: when the client has its channels, the node runs the command and its descriptors
 * are pumped. The exit code travels as a Status on the error channel.
 */
#include "channels.h"
#include "pod.h"

#include <fcntl.h>
#include <unistd.h>

#define ARGS_MAX 1024
#define STREAMS_TIMEOUT_US (30 * USEC_PER_SEC)
#define OUTPUT_HIGH (256u * 1024)
#define INPUT_HIGH (64u * 1024)
#define PIECE 32768
/* After the exit: how long output held open by grandchildren is waited for, and the client. */
#define DRAIN_US (2 * USEC_PER_SEC)
#define LINGER_US (10 * USEC_PER_SEC)
/* After the last input for a container that reads on: how long its answer is waited for. */
#define ANSWER_US USEC_PER_SEC

/* An output descriptor of the command on its way to a channel. */
struct output {
	struct remote *remote;
	enum channel channel;
	int fd;
	struct io *io;
};

struct remote {
	struct api_session session; /* first member */
	struct api *api;
	struct channels *channels;
	bool wanted[CH_COUNT];
	struct api_exec *exec;
	struct timer *timer;
	char *ns, *pod, *container;
	struct strv argv;
	bool attach, tty;
	bool pty;      /* in is the output, too */
	bool reads_on; /* the container's input does not end with ours */
	bool ended, finished, closed, leaving;
	bool running;		   /* the descriptors are there */
	unsigned short cols, rows; /* of the client's terminal, 0: not told */
	int code;
	char *message;
	/* stdin on its way to the command */
	int in;
	struct io *in_io;
	struct strbuf in_left;
	bool in_fin, in_closed;
	struct output outputs[2];
	struct strbuf resize;
};

/* ---- life -------------------------------------------------------------------------------- */

static void output_close(struct output *o)
{
	io_free(o->io);
	o->io = NULL;
	o->fd = fd_close(o->fd);
}

static void input_close(struct remote *r)
{
	io_free(r->in_io);
	r->in_io = NULL;
	/* A pty's descriptor is the output's as well, which closes it. */
	if (!r->pty)
		fd_close(r->in);
	r->in = -1;
	r->in_closed = true;
	strbuf_done(&r->in_left);
}

static void remote_free(void *p)
{
	struct remote *r = p;

	free(r->ns);
	free(r->pod);
	free(r->container);
	free(r->message);
	strv_done(&r->argv);
	strbuf_done(&r->resize);
	free(r);
}

static void remote_close(struct remote *r, const char *why)
{
	if (r->closed)
		return;
	r->closed = true;
	list_del(&r->session.node);
	channels_close(r->channels, why);
	if (r->exec)
		r->api->config.node_ops->exec_cancel(steal_ptr(r->exec));
	input_close(r);
	for (size_t i = 0; i < ARRAY_SIZE(r->outputs); i++)
		output_close(&r->outputs[i]);
	timer_free(r->timer);
	r->timer = NULL;
	loop_free_later(r->api->loop, remote_free, r);
}

static void session_close(struct api_session *s)
{
	remote_close((struct remote *)s, "API ends");
}

/* ---- the end ----------------------------------------------------------------------------- */

/* KUBERNETES.md 5.2: how v4 says success, an exit code, or a failure. */
static char *status_text(const struct remote *r, size_t *len)
{
	json_auto_t *v = json_object();

	json_put(v, "metadata", json_object());
	json_put_str(v, "status", r->code == 0 ? "Success" : "Failure");
	if (r->code > 0) {
		json_put_str(v, "reason", "NonZeroExitCode");
		json_put_strf(v, "message",
			      "command terminated with non-zero exit code: exit status %d",
			      r->code);
		json_put(v, "details.causes",
			 json_pack("[{s:s,s:o}]", "reason", "ExitCode", "message",
				   json_sprintf("%d", r->code)));
	} else if (r->code < 0) {
		json_put_str(v, "reason", "InternalError");
		json_put_strf(v, "message", "Internal error occurred: %s",
			      r->message ? r->message : "the command did not run");
		json_put_int(v, "code", 500);
	}
	return json_text(v, len);
}

/* The same in words, for the protocols that have no more; NULL: success. */
static char *message_text(const struct remote *r)
{
	if (r->code > 0)
		return xasprintf("command terminated with exit code %d", r->code);
	if (r->code < 0)
		return xasprintf("Internal error occurred: %s",
				 r->message ? r->message : "the command did not run");
	return NULL;
}

/* Everything has been said: ends the channels and waits for the client to hang up. */
static void finish(struct remote *r)
{
	size_t len;

	if (r->finished)
		return;
	r->finished = true;
	for (size_t i = 0; i < ARRAY_SIZE(r->outputs); i++)
		output_close(&r->outputs[i]);
	input_close(r);
	auto_free char *text = status_text(r, &len), *message = message_text(r);

	channels_finish(r->channels, text, len, message);
	timer_arm(r->timer, LINGER_US);
}

static void finish_if_done(struct remote *r)
{
	if (r->ended && r->outputs[0].fd < 0 && r->outputs[1].fd < 0)
		finish(r);
}

static void on_exec_end(void *arg, int code, const char *message)
{
	struct remote *r = arg;

	r->exec = NULL;
	if (r->closed)
		return;
	r->ended = true;
	/* Who was attached has seen all there was to see: how the container ended is the pod's. */
	r->code = r->attach && r->running ? 0 : code;
	r->message = xstrdup_null(message);
	input_close(r);
	timer_arm(r->timer, DRAIN_US);
	finish_if_done(r);
}

/* ---- output ------------------------------------------------------------------------------ */

static void on_output(void *arg, int fd, unsigned what UNUSED)
{
	struct output *o = arg;
	struct remote *r = o->remote;
	char buf[PIECE];
	ssize_t n = read(fd, buf, sizeof(buf));

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n > 0) {
		channels_write(r->channels, o->channel, buf, (size_t)n);
		if (channels_backlog(r->channels) > OUTPUT_HIGH)
			io_want(o->io, 0);
		return;
	}
	/* End, or EIO of a terminal whose last user has gone. */
	if (r->pty)
		input_close(r);
	output_close(o);
	finish_if_done(r);
}

static void on_drain(void *arg)
{
	struct remote *r = arg;

	for (size_t i = 0; i < ARRAY_SIZE(r->outputs); i++)
		if (r->outputs[i].io)
			io_want(r->outputs[i].io, IO_READ);
}

static void output_open(struct remote *r, size_t i, enum channel ch, int fd)
{
	struct output *o = &r->outputs[i];

	o->remote = r;
	o->channel = ch;
	o->fd = fd;
	if (fd < 0)
		return;
	(void)fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
	o->io = io_new(r->api->loop, fd, IO_READ, on_output, o);
}

/* ---- input ------------------------------------------------------------------------------- */

/* Who attached has said all. What a container answers that reads but once is waited for to its end;
 * from another one (or a terminal) the client is let go, as containerd does it. */
static void input_said(struct remote *r)
{
	input_close(r);
	if (!r->attach || !r->reads_on || r->ended)
		return;
	r->leaving = true;
	timer_arm(r->timer, ANSWER_US);
}

/* Writes what lies there; keeps the rest and stops the client while there is much of it. */
static void input_flush(struct remote *r)
{
	while (r->in >= 0 && r->in_left.len) {
		ssize_t n = write(r->in, r->in_left.s, r->in_left.len);

		if (n < 0 && errno == EAGAIN)
			break;
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) {
			input_close(r); /* the command does not read any more */
			break;
		}
		memmove(r->in_left.s, r->in_left.s + n, r->in_left.len - (size_t)n);
		r->in_left.len -= (size_t)n;
	}
	channels_pause(r->channels, r->in_left.len > INPUT_HIGH);
	if (r->in_io)
		io_want(r->in_io, r->in_left.len ? IO_WRITE : 0);
	if (r->in_fin && r->in_left.len == 0 && !r->pty && r->in >= 0)
		input_said(r);
}

static void on_input_ready(void *arg, int fd UNUSED, unsigned what UNUSED)
{
	input_flush(arg);
}

static void input_open(struct remote *r, int fd)
{
	if (fd < 0) {
		input_close(r);
		return;
	}
	r->in = fd;
	(void)fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
	r->in_io = io_new(r->api->loop, fd, 0, on_input_ready, r);
	input_flush(r);
}

/* The size may come before the terminal is there. */
static void apply_size(struct remote *r)
{
	if (r->exec && r->running && r->cols)
		r->api->config.node_ops->exec_resize(r->exec, r->cols, r->rows);
}

static void on_exec_start(void *arg, int in, int out, int err)
{
	struct remote *r = arg;

	if (r->closed) {
		fd_close(in);
		fd_close(out);
		fd_close(err);
		return;
	}
	r->running = true;
	apply_size(r);
	/* One descriptor for both ways; attaching to a terminal gives a pipe for each. */
	r->pty = r->tty && out < 0;
	if (r->pty) {
		output_open(r, 0, CH_STDOUT, in);
		input_open(r, in);
	} else {
		output_open(r, 0, CH_STDOUT, out);
		output_open(r, 1, CH_STDERR, err);
		input_open(r, in);
	}
}

static const struct api_exec_ops exec_ops = {.on_start = on_exec_start, .on_end = on_exec_end};

/* {"Width":80,"Height":24} one after another. */
static void take_resize(struct remote *r, const char *data, size_t len)
{
	if (r->resize.len + len > 4096)
		strbuf_reset(&r->resize);
	strbuf_add(&r->resize, data, len < 4096 ? len : 0);
	char *end;

	while (r->resize.len && (end = memchr(r->resize.s, '}', r->resize.len))) {
		size_t n = (size_t)(end + 1 - r->resize.s);
		json_auto_t *v = json_parse(r->resize.s, n, NULL);
		int64_t cols = json_int(v, "Width", 0), rows = json_int(v, "Height", 0);

		if (cols > 0 && rows > 0 && cols < 65536 && rows < 65536) {
			r->cols = (unsigned short)cols;
			r->rows = (unsigned short)rows;
			apply_size(r);
		}
		memmove(r->resize.s, r->resize.s + n, r->resize.len - n);
		r->resize.len -= n;
	}
}

/* ---- the client's channels --------------------------------------------------------------- */

static void on_ready(void *arg)
{
	struct remote *r = arg;
	struct api_exec_options o = {
		.container = r->container,
		.argv = r->attach ? NULL : (const char *const *)r->argv.v,
		.tty = r->tty,
		.want_stdin = r->wanted[CH_STDIN],
		.want_stdout = r->wanted[CH_STDOUT],
		.want_stderr = r->wanted[CH_STDERR],
	};
	auto_err err = {0};

	timer_disarm(r->timer);
	struct api_exec *exec = r->api->config.node_ops->exec_open(r->api->config.node, r->ns,
								   r->pod, &o, &exec_ops, r, &err);

	if (!exec) {
		r->code = -1;
		r->message = xstrdup(err_message(&err));
		r->ended = true;
		finish_if_done(r);
	} else if (!r->ended && !r->closed) {
		r->exec = exec;
		apply_size(r);
	}
}

static void on_data(void *arg, enum channel ch, const void *data, size_t len)
{
	struct remote *r = arg;

	if (ch == CH_RESIZE) {
		take_resize(r, data, len);
	} else if (ch == CH_STDIN && !r->in_closed && !r->in_fin) {
		strbuf_add(&r->in_left, data, len);
		input_flush(r);
	}
}

static void on_fin(void *arg, enum channel ch)
{
	struct remote *r = arg;

	if (ch != CH_STDIN || r->finished)
		return;
	r->in_fin = true;
	input_flush(r);
}

static void on_close(void *arg, const char *why)
{
	struct remote *r = arg;

	remote_close(r, why);
}

static const struct channels_ops channels_ops = {
	.on_ready = on_ready,
	.on_data = on_data,
	.on_fin = on_fin,
	.on_drain = on_drain,
	.on_close = on_close,
};

/* Channels that never come, output that never ends, a client that never hangs up. */
static void on_timeout(void *arg)
{
	struct remote *r = arg;

	if (r->leaving && r->exec)
		r->api->config.node_ops->exec_cancel(steal_ptr(r->exec));
	if ((r->ended || r->leaving) && !r->finished)
		finish(r);
	else
		remote_close(r, r->finished ? "finished" : "timed out waiting for streams");
}

/* ---- the request ------------------------------------------------------------------------- */

static bool reads_on(const json_t *pod, const char *container)
{
	static const char *const lists[] = {"spec.containers", "spec.initContainers",
					    "spec.ephemeralContainers"};

	for (size_t i = 0; i < ARRAY_SIZE(lists); i++) {
		const json_t *c = json_find(json_at(pod, lists[i]), "name", container);

		if (c)
			return json_bool(c, "stdin", false) &&
			       (json_bool(c, "tty", false) || !json_bool(c, "stdinOnce", false));
	}
	return false;
}

static int remote_parse(struct call *c, struct remote *r, struct err *err)
{
	const json_t *pod = pod_find(c, err);

	if (!pod || pod_container(c, pod, &r->container, err) < 0)
		return -EINVAL;
	r->ns = xstrdup(c->target.ns);
	r->pod = xstrdup(c->target.name);
	r->reads_on = reads_on(pod, r->container);
	r->tty = call_bool(c, "tty");
	r->wanted[CH_ERROR] = true;
	r->wanted[CH_STDIN] = call_bool(c, "stdin");
	r->wanted[CH_STDOUT] = call_bool(c, "stdout");
	r->wanted[CH_STDERR] = call_bool(c, "stderr") && !r->tty;
	r->wanted[CH_RESIZE] = r->tty;
	if (!r->wanted[CH_STDIN] && !r->wanted[CH_STDOUT] && !r->wanted[CH_STDERR])
		return err_set(err, ERR_BAD_REQUEST,
			       "you must specify at least 1 of stdin, stdout, stderr");
	http_params(c->req, "command", &r->argv);
	if (!r->attach && (r->argv.n == 0 || r->argv.n > ARGS_MAX))
		return err_set(err, ERR_BAD_REQUEST,
			       "you must specify a command for the container");
	return 0;
}

static void remote_run(struct call *c, bool attach)
{
	struct remote *r = xnew(struct remote);
	struct api *a = c->api;
	auto_err err = {0};

	r->api = a;
	r->attach = attach;
	r->in = r->outputs[0].fd = r->outputs[1].fd = -1;
	if (call_connect(c, attach ? "attach" : "exec", &err) < 0 || remote_parse(c, r, &err) < 0)
		call_reply_err(c, &err);
	else
		r->channels = channels_open(c, r->wanted, &channels_ops, r);
	if (!r->channels) {
		remote_free(r);
		return;
	}
	r->timer = timer_new(a->loop, on_timeout, r);
	timer_arm(r->timer, STREAMS_TIMEOUT_US);
	session_add(a, &r->session, session_close);
}

void handle_exec(struct call *c)
{
	remote_run(c, false);
}

void handle_attach(struct call *c)
{
	remote_run(c, true);
}
