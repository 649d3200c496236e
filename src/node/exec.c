/* SPDX-License-Identifier: Apache-2.0 */
/* exec: exec, attach and connections into a pod, as the API wants them. */
#include "internal.h"
#include "logs.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <sched.h>
#include <sys/socket.h>
#include <unistd.h>

/* ---- choosing the container --------------------------------------------------------------- */

static char *names_of(const struct pod *p)
{
	auto_strbuf b = {0};

	for (size_t i = 0; i < p->n_ctrs; i++)
		if (p->ctrs[i]->facts.role == CTR_MAIN)
			strbuf_addf(&b, "%s%s", b.len ? " " : "", p->ctrs[i]->facts.name);
	return strbuf_steal(&b);
}

struct ctr *node_choose_ctr(const struct node *n, const char *ns, const char *pod,
			    const char *container, struct err *err)
{
	struct pod *p = node_pod(n, ns, pod);
	struct ctr *only = NULL;

	if (!p) {
		err_set(err, ERR_BAD_REQUEST, "pod %s does not have a host assigned", pod);
		return NULL;
	}
	if (!str_empty(container)) {
		struct ctr *c = pod_ctr(p, container);
		if (!c)
			err_set(err, ERR_BAD_REQUEST, "container %s is not valid for pod %s",
				container, pod);
		return c;
	}
	for (size_t i = 0; i < p->n_ctrs; i++) {
		if (p->ctrs[i]->facts.role != CTR_MAIN)
			continue;
		if (only) {
			auto_free char *names = names_of(p);
			err_set(err, ERR_BAD_REQUEST,
				"a container name must be specified for pod %s, choose one of: "
				"[%s]",
				pod, names);
			return NULL;
		}
		only = p->ctrs[i];
	}
	return only;
}

/* ---- exec and attach ---------------------------------------------------------------------- */

struct api_exec {
	struct loop *loop;
	struct exec *exec;
	bool tty;
	const struct api_exec_ops *ops;
	void *arg;
};

/* A pty comes from the runtime as two descriptors of the same terminal; the API takes one, as `in`.
 */
static void on_start(void *arg, int in, int out, int err)
{
	struct api_exec *e = arg;

	if (e->tty && out >= 0 && isatty(out)) {
		if (in < 0)
			in = out;
		else
			fd_close(out);
		out = -1;
	}
	e->ops->on_start(e->arg, in, out, err);
}

static void on_end(void *arg, int code, bool timed_out UNUSED, const char *message)
{
	struct api_exec *e = arg;

	e->exec = NULL;
	e->ops->on_end(e->arg, code, message);
	loop_free_later(e->loop, free, e);
}

static const struct exec_ops ops = {on_start, on_end};

static struct api_exec *exec_open(void *node, const char *ns, const char *pod,
				  const struct api_exec_options *o,
				  const struct api_exec_ops *api_ops, void *arg, struct err *err)
{
	struct node *n = node;
	struct ctr *c = node_choose_ctr(n, ns, pod, o->container, err);
	struct exec_config config = {
		.argv = o->argv,
		.tty = o->tty,
		.want_stdin = o->want_stdin,
		.want_stdout = o->want_stdout,
		.want_stderr = o->want_stderr && !o->tty,
	};
	struct api_exec *e;

	if (!c)
		return NULL;
	if (c->state != CTR_RUNNING && c->state != CTR_STOPPING) {
		err_set(err, ERR_INTERNAL,
			"unable to upgrade connection: container not found (\"%s\")",
			c->facts.name);
		return NULL;
	}
	e = xnew(struct api_exec);
	*e = (struct api_exec){.loop = n->loop, .tty = o->tty, .ops = api_ops, .arg = arg};
	e->exec = (o->argv ? container_exec : container_attach)(c->pod->sandbox, c->facts.id,
								&config, &ops, e, err);
	if (e->exec)
		return e;
	free(e);
	return NULL;
}

static void resize(struct api_exec *e, unsigned short cols, unsigned short rows)
{
	if (e->exec)
		exec_resize(e->exec, cols, rows);
}

static void cancel(struct api_exec *e)
{
	if (e->exec)
		exec_cancel(e->exec);
	loop_free_later(e->loop, free, e);
}

/* ---- port-forward ------------------------------------------------------------------------- */

/* A socket that belongs to the namespace: it keeps it for life, so only socket(2) runs in there. */
static int socket_in(int netns)
{
	auto_fd int home = -1;
	int fd, saved;

	if (netns < 0)
		return socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	home = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
	if (home < 0 || setns(netns, CLONE_NEWNET) < 0)
		return -1;
	fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	saved = errno;
	if (setns(home, CLONE_NEWNET) < 0) {
		log_error("cannot return to the host's network namespace: %s", strerror(errno));
		abort(); /* the API would be served from inside a pod */
	}
	errno = saved;
	return fd;
}

static int port_connect(void *node, const char *ns, const char *pod, uint16_t port, struct err *err)
{
	struct pod *p = node_pod(node, ns, pod);
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port)};
	auto_fd int fd = -1;

	if (!p || !p->sandbox || !p->sandbox_ready)
		return err_set(
			err, ERR_BAD_REQUEST,
			"unable to forward port because pod is not running. Current status=%s",
			p ? json_str(pod_json(p), "status.phase", "Pending") : "Pending");
	to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	fd = socket_in(sandbox_netns_fd(p->sandbox));
	if (fd < 0)
		return err_errno(err, errno, "socket in the pod's network");
	if (connect(fd, (const struct sockaddr *)&to, sizeof(to)) < 0 && errno != EINPROGRESS)
		return err_errno(err, errno, "connection to port %u", port);
	return steal_fd(&fd);
}

const struct api_node_ops node_api_ops = {
	.log_open = logs_open,
	.log_resume = logs_resume,
	.log_close = logs_close,
	.exec_open = exec_open,
	.exec_resize = resize,
	.exec_cancel = cancel,
	.port_connect = port_connect,
	.usage_refresh = node_usage_refresh,
	.usage_cancel = node_usage_cancel,
	.usage_machine = node_usage_machine,
	.usage_container = node_usage_container,
};
