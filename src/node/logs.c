/* SPDX-License-Identifier: Apache-2.0 */
/*
 * logs: follows a container's log files. A reader has the rotated file and the current one open,
 * reads a bounded piece a turn, and sleeps on inotify when it follows.
 */
#include "logs.h"
#include "crilog.h"
#include "internal.h"

#include <fcntl.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#define PIECE (64 * 1024)
#define TAIL_MAX (8u << 20) /* of one file; the sandbox rotates long before */

struct api_log {
	struct node *node;
	struct list link;
	char *uid, *container, *path;
	unsigned attempt;
	bool follow, live; /* live: the attempt still runs */
	bool paused;
	int fds[2]; /* rotated file, current file; -1: none or done */
	struct crilog_filter filter;
	int inotify;
	struct io *io;
	struct work work;
	const struct api_log_ops *ops;
	void *arg;
};

/* ---- which run ---------------------------------------------------------------------------- */

static int attempt_of(const struct ctr *c, bool previous, unsigned *ret, struct err *err)
{
	const struct ctr_facts *f = &c->facts;
	const char *pod = c->pod->name;

	*ret = f->restarts;
	if (previous) {
		if (f->view == VIEW_WAITING && f->end.id)
			return 0;
		if (f->last.id && f->restarts > 0) {
			*ret = f->restarts - 1;
			return 0;
		}
		return err_set(err, ERR_BAD_REQUEST,
			       "previous terminated container \"%s\" in pod \"%s\" not found",
			       f->name, pod);
	}
	if (f->view == VIEW_WAITING && !f->end.id && !ctr_alive(c))
		return err_set(err, ERR_BAD_REQUEST,
			       "container \"%s\" in pod \"%s\" is waiting to start: %s", f->name,
			       pod, f->wait_reason ? f->wait_reason : "ContainerCreating");
	return 0;
}

static bool is_live(const struct api_log *l)
{
	const struct pod *p = map_get(&l->node->by_uid, l->uid);
	const struct ctr *c = p ? pod_ctr(p, l->container) : NULL;

	return c && c->facts.restarts == l->attempt && ctr_alive(c);
}

/* ---- life --------------------------------------------------------------------------------- */

static void log_free(void *arg)
{
	struct api_log *l = arg;

	crilog_done(&l->filter);
	free(l->uid);
	free(l->container);
	free(l->path);
	free(l);
}

void logs_close(struct api_log *l)
{
	list_del(&l->link);
	work_cancel(&l->work);
	io_free(l->io);
	fd_close(l->inotify);
	fd_close(l->fds[0]);
	fd_close(l->fds[1]);
	loop_free_later(l->node->loop, log_free, l);
}

static void finish(struct api_log *l)
{
	l->ops->on_end(l->arg);
	logs_close(l);
}

/* ---- reading ------------------------------------------------------------------------------ */

/* One piece of a file. 1: got some, 0: at its end. */
static int read_piece(struct api_log *l, int fd, struct strbuf *out, bool *limit)
{
	auto_free char *buf = xmalloc(PIECE);
	ssize_t n = read(fd, buf, PIECE);

	if (n <= 0)
		return 0;
	*limit = !crilog_feed(&l->filter, buf, (size_t)n, out);
	return 1;
}

/* The current file was rotated away: goes on with the new one. */
static bool reopen(struct api_log *l)
{
	struct stat now, mine;
	int fd;

	if (stat(l->path, &now) < 0)
		return false;
	if (l->fds[1] >= 0 && fstat(l->fds[1], &mine) == 0 && mine.st_ino == now.st_ino)
		return false;
	fd = open(l->path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	fd_close(l->fds[1]);
	l->fds[1] = fd;
	return true;
}

static int read_next(struct api_log *l, struct strbuf *out, bool *limit)
{
	for (int i = 0; i < 2; i++) {
		if (l->fds[i] < 0)
			continue;
		if (read_piece(l, l->fds[i], out, limit))
			return 1;
		if (i == 0)
			l->fds[0] = fd_close(l->fds[0]);
	}
	return reopen(l) ? read_next(l, out, limit) : 0;
}

static void on_work(void *arg)
{
	struct api_log *l = arg;
	auto_strbuf out = {0};
	bool limit = false, live = l->live;
	int got;

	if (l->paused)
		return;
	l->live = is_live(l);
	got = read_next(l, &out, &limit);
	if (out.len && !l->ops->on_data(l->arg, out.s, out.len))
		l->paused = true;
	if (limit || (!got && (!l->follow || !l->live))) {
		/* what was written between the last read and the end is read once more */
		if (!limit && l->follow && live)
			work_queue(l->node->loop, &l->work);
		else
			finish(l);
		return;
	}
	if (got && !l->paused)
		work_queue(l->node->loop, &l->work);
}

void logs_resume(struct api_log *l)
{
	l->paused = false;
	work_queue(l->node->loop, &l->work);
}

static void on_inotify(void *arg, int fd, unsigned what UNUSED)
{
	struct api_log *l = arg;
	char buf[4096];

	while (read(fd, buf, sizeof(buf)) > 0)
		;
	work_queue(l->node->loop, &l->work);
}

void logs_poke(struct node *n, const struct pod *p)
{
	list_foreach (&n->logs, l, struct api_log, link)
		if (streq(l->uid, p->uid) && l->follow && !is_live(l))
			work_queue(n->loop, &l->work);
}

void logs_forget(struct node *n, const struct pod *p)
{
	list_foreach (&n->logs, l, struct api_log, link)
		if (streq(l->uid, p->uid))
			work_queue(n->loop, &l->work);
}

/* ---- opening ------------------------------------------------------------------------------ */

/* Seeks fd to where its last n lines begin; how many there are. */
static int64_t seek_tail(int fd, int64_t n)
{
	struct stat st;
	int64_t found = 0;

	if (fd < 0 || fstat(fd, &st) < 0 || st.st_size == 0)
		return 0;
	size_t len = st.st_size > TAIL_MAX ? TAIL_MAX : (size_t)st.st_size;
	off_t base = st.st_size - (off_t)len;
	auto_free char *buf = xmalloc(len);
	ssize_t got = pread(fd, buf, len, base);
	if (got <= 0)
		return 0;
	size_t at = crilog_tail(buf, (size_t)got, n, &found);
	lseek(fd, base + (off_t)at, SEEK_SET);
	return found;
}

static void start_at_tail(struct api_log *l, int64_t lines)
{
	int64_t found = seek_tail(l->fds[1], lines);

	if (found >= lines)
		l->fds[0] = fd_close(l->fds[0]);
	else
		seek_tail(l->fds[0], lines - found);
}

static void start_inotify(struct api_log *l)
{
	auto_free char *dir = xstrdup(l->path);
	char *slash = strrchr(dir, '/');

	*slash = '\0';
	if (mkdir_p(dir, 0755) < 0)
		return;
	l->inotify = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	if (l->inotify < 0 ||
	    inotify_add_watch(l->inotify, dir, IN_MODIFY | IN_CREATE | IN_MOVED_TO) < 0)
		log_warn("inotify: %s: %s", dir, strerror(errno));
	if (l->inotify >= 0)
		l->io = io_new(l->node->loop, l->inotify, IO_READ, on_inotify, l);
}

static struct api_log *log_new(struct ctr *c, unsigned attempt, const struct api_log_options *o)
{
	struct api_log *l = xnew(struct api_log);
	auto_free char *older = NULL;

	l->node = c->pod->node;
	l->uid = xstrdup(c->pod->uid);
	l->container = xstrdup(c->facts.name);
	l->attempt = attempt;
	l->path = ctr_log_path(c, attempt);
	l->follow = o->follow;
	l->live = is_live(l);
	l->inotify = -1;
	l->filter = (struct crilog_filter){
		.timestamps = o->timestamps,
		.since_set = o->since_set,
		.since = o->since,
		.limit = o->limit_bytes,
	};
	older = xasprintf("%s.1", l->path);
	l->fds[0] = open(older, O_RDONLY | O_CLOEXEC);
	l->fds[1] = open(l->path, O_RDONLY | O_CLOEXEC);
	work_init(&l->work, on_work, l);
	list_add_tail(&l->node->logs, &l->link);
	return l;
}

struct api_log *logs_open(void *node, const char *ns, const char *pod,
			  const struct api_log_options *o, const struct api_log_ops *ops, void *arg,
			  struct err *err)
{
	struct ctr *c = node_choose_ctr(node, ns, pod, o->container, err);
	struct api_log *l;
	unsigned attempt;

	if (!c || attempt_of(c, o->previous, &attempt, err) < 0)
		return NULL;
	l = log_new(c, attempt, o);
	l->ops = ops;
	l->arg = arg;
	if (o->tail_lines >= 0)
		start_at_tail(l, o->tail_lines);
	if (o->follow)
		start_inotify(l);
	work_queue(l->node->loop, &l->work);
	return l;
}
