/* SPDX-License-Identifier: Apache-2.0 */
/* /coracle/v1: what the `coracle` client asks of the host and not of Kubernetes. */
#include "config.h"

#include "internal.h"
#include <fcntl.h>
#include <unistd.h>

#define PIPE_BYTES (256 * 1024)
#define PEM_MAX (64 * 1024)

void handle_daemon_version(struct call *c)
{
	json_t *v = json_object();

	json_put_str(v, "version", PACKAGE_VERSION);
	json_put_str(v, "kubernetes", c->api->config.git_version);
	json_put_str(v, "node", c->api->config.node_name);
	call_reply_json(c, 200, v);
}

/* ---- show -------------------------------------------------------------------------------- */

void handle_show_names(struct call *c)
{
	call_reply_json(c, 200, show_names());
}

void handle_show(struct call *c)
{
	const char *name = http_path(c->req) + strlen("/coracle/v1/show/");
	json_t *rows = show_rows(name);

	if (rows)
		call_reply_json(c, 200, rows);
	else
		call_reply_error(c, ERR_NOT_FOUND, "there is no table \"%s\"", name);
}

/* ---- kubeconfig -------------------------------------------------------------------------- */

static char *pem_base64(const struct api *a, const char *name, struct err *err)
{
	auto_free char *path = path_join(a->config.pki_dir, name), *text = NULL;
	size_t len;
	int rc = file_read(path, PEM_MAX, &text, &len);

	if (rc < 0) {
		err_errno(err, -rc, "cannot read %s", path);
		return NULL;
	}
	return base64_encode(text, len);
}

static char *kubeconfig_text(const struct api *a, const char *server, struct err *err)
{
	auto_free char *ca = pem_base64(a, "ca.crt", err);
	auto_free char *cert = ca ? pem_base64(a, "admin.crt", err) : NULL;
	auto_free char *key = cert ? pem_base64(a, "admin.key", err) : NULL;

	if (!key)
		return NULL;
	return xasprintf("apiVersion: v1\n"
			 "kind: Config\n"
			 "clusters:\n"
			 "- name: coracle\n"
			 "  cluster:\n"
			 "    server: https://%s\n"
			 "    certificate-authority-data: %s\n"
			 "users:\n"
			 "- name: kubernetes-admin\n"
			 "  user:\n"
			 "    client-certificate-data: %s\n"
			 "    client-key-data: %s\n"
			 "contexts:\n"
			 "- name: coracle\n"
			 "  context:\n"
			 "    cluster: coracle\n"
			 "    user: kubernetes-admin\n"
			 "current-context: coracle\n"
			 "preferences: {}\n",
			 server, ca, cert, key);
}

/* The address of the listener; one that listens everywhere is reached through loopback. */
static int server_text(const struct api *a, char buf[static ADDR_TEXT_MAX], struct err *err)
{
	struct addr addr;

	if (api_addr(a, &addr) < 0)
		return err_set(
			err, ERR_NOT_FOUND,
			"the API listens on its local socket alone (api-listen: none), which "
			"kubectl cannot use");
	addr_format(buf, &addr);
	const char *port = strrchr(buf, ':') + 1;
	auto_free char *copy = xstrdup(port);

	if (str_starts(buf, "0.0.0.0:") || str_starts(buf, "[::]:"))
		snprintf(buf, ADDR_TEXT_MAX, "127.0.0.1:%s", copy);
	return 0;
}

void handle_kubeconfig(struct call *c)
{
	char server[ADDR_TEXT_MAX];
	auto_err err = {0};
	char *text = NULL;

	if (server_text(c->api, server, &err) == 0)
		text = kubeconfig_text(c->api, server, &err);
	if (text)
		call_reply_take(c, 200, "application/yaml", text, strlen(text));
	else
		call_reply_err(c, &err);
}

/* ---- images ------------------------------------------------------------------------------ */

/* A load or pull: progress goes out as JSON lines, an upload goes into a pipe. */
struct transfer {
	struct call *call;
	void *token; /* NULL: over */
	int pipe;    /* write end, -1: none */
	struct io *io;
	struct strbuf left; /* of the upload */
	bool upload_ended;
};

static void pipe_close(struct transfer *t)
{
	io_free(t->io);
	t->io = NULL;
	t->pipe = fd_close(t->pipe);
}

static void transfer_free(void *p)
{
	struct transfer *t = p;

	strbuf_done(&t->left);
	free(t);
}

static void transfer_retire(struct transfer *t)
{
	t->token = NULL;
	pipe_close(t);
	loop_free_later(t->call->api->loop, transfer_free, t);
}

static void transfer_gone(struct call *c)
{
	struct transfer *t = c->data;

	if (t->token)
		c->api->config.image_ops->cancel(steal_ptr(t->token));
	transfer_retire(t);
	call_forget(c);
}

static void send_line(struct transfer *t, json_t *v /* stolen */)
{
	json_auto_t *owned = v;
	size_t len;
	auto_free char *text = json_text(owned, &len);
	auto_free char *line = xasprintf("%s\n", text);

	http_respond_chunk(t->call->req, line, len + 1);
}

static void on_line(void *arg, const char *line)
{
	struct transfer *t = arg;
	json_t *v = json_object();

	json_put_str(v, "status", line);
	send_line(t, v);
}

static void on_end(void *arg, const struct err *err)
{
	struct transfer *t = arg;

	if (err && err->message) {
		json_t *v = json_object();

		json_put_str(v, "error", err_message(err));
		send_line(t, v);
	}
	struct call *c = t->call;

	transfer_retire(t);
	call_end(c);
}

/* Writes what has arrived; the client waits while the loader does not take it. */
static void pipe_flush(struct transfer *t)
{
	while (t->pipe >= 0 && t->left.len) {
		ssize_t n = write(t->pipe, t->left.s, t->left.len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			break;
		if (n < 0) { /* the loader has seen enough; its end tells why */
			pipe_close(t);
			break;
		}
		memmove(t->left.s, t->left.s + n, t->left.len - (size_t)n);
		t->left.len -= (size_t)n;
	}
	if (t->pipe < 0)
		strbuf_reset(&t->left);
	if (t->pipe >= 0 && t->upload_ended && t->left.len == 0)
		pipe_close(t);
	if (t->io)
		io_want(t->io, t->left.len ? IO_WRITE : 0);
	http_request_pause(t->call->req, t->left.len > 0);
}

static void on_pipe_ready(void *arg, int fd UNUSED, unsigned what UNUSED)
{
	pipe_flush(arg);
}

static void on_upload(void *arg, const void *data, size_t len)
{
	struct transfer *t = arg;

	if (len == 0)
		t->upload_ended = true;
	strbuf_add(&t->left, data, len);
	pipe_flush(t);
}

static struct transfer *transfer_new(struct call *c)
{
	struct transfer *t;

	if (!c->api->config.image_ops) {
		call_reply_error(c, ERR_SERVICE_UNAVAILABLE, "images are not available");
		return NULL;
	}
	t = xnew(struct transfer);
	t->call = c;
	t->pipe = -1;
	return t;
}

/* The answer begins when the work has: a refusal has its own HTTP code. */
static void transfer_start(struct transfer *t, const struct err *err)
{
	struct call *c = t->call;

	if (!t->token) {
		transfer_retire(t);
		call_reply_err(c, err);
		return;
	}
	c->data = t;
	c->on_gone = transfer_gone;
	call_start(c, 200, "application/json");
}

void handle_image_load(struct call *c)
{
	struct transfer *t = transfer_new(c);
	auto_err err = {0};
	int fds[2];

	if (!t)
		return;
	if (pipe2(fds, O_CLOEXEC) < 0) {
		err_errno(&err, errno, "cannot make a pipe");
		transfer_start(t, &err);
		return;
	}
	(void)fcntl(fds[1], F_SETPIPE_SZ, PIPE_BYTES);
	(void)fcntl(fds[1], F_SETFL, O_NONBLOCK);
	t->pipe = fds[1];
	t->io = io_new(c->api->loop, fds[1], 0, on_pipe_ready, t);
	t->token = c->api->config.image_ops->load(c->api->config.images, fds[0], on_line, on_end, t,
						  &err);
	http_request_on_body(c->req, on_upload, t);
	transfer_start(t, &err);
}

void handle_image_pull(struct call *c)
{
	auto_free char *ref = http_param(c->req, "ref");
	auto_err err = {0};

	if (str_empty(ref)) {
		call_reply_error(c, ERR_BAD_REQUEST, "the parameter ref is missing");
		return;
	}
	struct transfer *t = transfer_new(c);

	if (!t)
		return;
	t->token = c->api->config.image_ops->pull(c->api->config.images, ref, on_line, on_end, t,
						  &err);
	transfer_start(t, &err);
}

void handle_images(struct call *c)
{
	if (c->api->config.image_ops)
		call_reply_json(c, 200, c->api->config.image_ops->list(c->api->config.images));
	else
		call_reply_error(c, ERR_SERVICE_UNAVAILABLE, "images are not available");
}

void handle_image_remove(struct call *c)
{
	auto_free char *ref = http_param(c->req, "ref");
	auto_err err = {0};
	json_t *v;

	if (str_empty(ref) || !c->api->config.image_ops) {
		call_reply_error(c, str_empty(ref) ? ERR_BAD_REQUEST : ERR_SERVICE_UNAVAILABLE,
				 str_empty(ref) ? "the parameter ref is missing"
						: "images are not available");
		return;
	}
	if (c->api->config.image_ops->remove(c->api->config.images, ref, &err) < 0) {
		call_reply_err(c, &err);
		return;
	}
	v = json_object();
	json_put_str(v, "status", "Success");
	call_reply_json(c, 200, v);
}

/* ---- node -------------------------------------------------------------------------------- */

void handle_node_stop(struct call *c)
{
	struct api *a = c->api;
	bool pods = call_bool(c, "pods");
	json_t *v = json_object();

	json_put_str(v, "status", "Success");
	call_reply_json(c, 202, v);
	if (a->config.on_stop)
		a->config.on_stop(a->config.stop_arg, pods);
}
