/* SPDX-License-Identifier: Apache-2.0 */
/* Listening sockets: accept for a slice, pause when descriptors run out. */
#include "internal.h"
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum { LISTENER_BACKLOG = 511 };

struct listener {
	struct list node;
	struct loop *loop;
	uint64_t accepted;
	int fd;
	struct io *io;
	struct timer *again; /* after EMFILE */
	bool paused, dead;
	listener_fn *fn;
	void *arg;
	char *path; /* unix: removed at the end */
};

static void update(struct listener *l)
{
	io_want(l->io, l->paused || l->dead || timer_armed(l->again) ? 0 : IO_READ);
}

static void on_again(void *arg)
{
	update(arg);
}

static void on_accept(void *arg, int fd, unsigned what UNUSED)
{
	struct listener *l = arg;
	mono_t start = mono_now();

	while (!l->dead && !l->paused) {
		struct addr peer = {.len = sizeof(peer.ss)};
		int c = accept4(fd, (struct sockaddr *)&peer.ss, &peer.len,
				SOCK_NONBLOCK | SOCK_CLOEXEC);

		if (c >= 0) {
			l->accepted++;
			l->fn(l->arg, c, &peer);
			if (loop_slice_over(start))
				return; /* the descriptor stays readable */
		} else if (errno == EMFILE || errno == ENFILE || errno == ENOMEM ||
			   errno == ENOBUFS) {
			log_warn("listener: accept: %s; pausing", strerror(errno));
			timer_arm(l->again, USEC_PER_SEC);
			update(l);
			return;
		} else if (errno == EAGAIN) {
			return;
		}
	}
}

/* Removes a socket that nobody listens on any more. */
static void remove_stale(const struct addr *a)
{
	const struct sockaddr_un *un = (const struct sockaddr_un *)&a->ss;
	auto_fd int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	struct stat st;

	if (lstat(un->sun_path, &st) < 0 || !S_ISSOCK(st.st_mode))
		return;
	if (fd >= 0 && connect(fd, (const struct sockaddr *)un, a->len) < 0 &&
	    errno == ECONNREFUSED)
		unlink(un->sun_path);
}

static int set_options(int fd, const struct listener_config *c)
{
	const int one = 1;

	if (c->addr.ss.ss_family == AF_UNIX)
		return 0;
	if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) < 0)
		return -errno;
	if (c->free_bind && setsockopt(fd, IPPROTO_IP, IP_FREEBIND, &one, sizeof(one)) < 0)
		return -errno;
	if (c->v6_only && setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof(one)) < 0)
		return -errno;
	return 0;
}

static int own_path(const struct listener_config *c)
{
	const char *path = ((const struct sockaddr_un *)&c->addr.ss)->sun_path;

	if (c->unix_gid != (gid_t)-1 && chown(path, (uid_t)-1, c->unix_gid) < 0)
		return -errno;
	return c->unix_mode && chmod(path, c->unix_mode) < 0 ? -errno : 0;
}

/* A listening descriptor or -errno. */
static int open_socket(const struct listener_config *c)
{
	bool local = c->addr.ss.ss_family == AF_UNIX;
	auto_fd int fd =
		socket(c->addr.ss.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	mode_t mask;
	int r;

	if (fd < 0)
		return -errno;
	if (local)
		remove_stale(&c->addr);
	r = set_options(fd, c);
	if (r < 0)
		return r;
	mask = umask(0177); /* nobody gets in before own_path() */
	r = bind(fd, (const struct sockaddr *)&c->addr.ss, c->addr.len) < 0 ? -errno : 0;
	umask(mask);
	if (r == 0 && local)
		r = own_path(c);
	if (r == 0 && listen(fd, LISTENER_BACKLOG) < 0)
		r = -errno;
	return r < 0 ? r : steal_fd(&fd);
}

struct listener *listener_new(struct loop *loop, const struct listener_config *config,
			      listener_fn *fn, void *arg, struct err *err)
{
	struct listener *l;
	int fd = open_socket(config);

	if (fd < 0) {
		char text[ADDR_TEXT_MAX];

		err_errno(err, -fd, "cannot listen on %s", addr_format(text, &config->addr));
		return NULL;
	}
	l = xnew(struct listener);
	list_add_tail(&loop->listeners, &l->node);
	l->loop = loop;
	l->fd = fd;
	l->fn = fn;
	l->arg = arg;
	if (config->addr.ss.ss_family == AF_UNIX)
		l->path = xstrdup(((const struct sockaddr_un *)&config->addr.ss)->sun_path);
	l->again = timer_new(loop, on_again, l);
	l->io = io_new(loop, fd, IO_READ, on_accept, l);
	return l;
}

int listener_addr(const struct listener *l, struct addr *ret)
{
	ret->len = sizeof(ret->ss);
	return getsockname(l->fd, (struct sockaddr *)&ret->ss, &ret->len) < 0 ? -errno : 0;
}

void listener_pause(struct listener *l, bool pause)
{
	l->paused = pause;
	update(l);
}

static void listener_bury(void *arg)
{
	struct listener *l = arg;

	free(l->path);
	free(l);
}

void listener_free(struct listener *l)
{
	if (!l || l->dead)
		return;
	l->dead = true;
	list_del(&l->node);
	io_free(l->io);
	timer_free(l->again);
	if (l->path)
		unlink(l->path);
	l->fd = fd_close(l->fd);
	loop_free_later(l->loop, listener_bury, l);
}

void loop_show_listeners(void *arg, json_t *rows)
{
	struct loop *loop = arg;

	list_foreach (&loop->listeners, l, struct listener, node) {
		char text[ADDR_TEXT_MAX];
		struct addr a = {0};
		json_t *row = json_object();

		json_put_str(row, "address",
			     listener_addr(l, &a) == 0 ? addr_format(text, &a) : "");
		json_put_str(row, "state",
			     l->paused		     ? "paused"
			     : timer_armed(l->again) ? "out of descriptors"
						     : "open");
		json_put_int(row, "accepted", (int64_t)l->accepted);
		json_array_append_new(rows, row);
	}
}
