/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Jobs: what callers wait for, and runs: the worker processes that do it. Several jobs may share a
 * run. A worker gets its request as JSON on descriptor 0, an archive on 3 and reports in lines of
 * JSON on 1: {"progress":{...}}, {"image":{...}}, {"warning":"..."}, {"error":{...}}.
 */
#include "internal.h"
#include "record.h"
#include "ref.h"
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { LINE_MAX_BYTES = 2 * RECORD_MAX_BYTES };

enum run_mode { RUN_PULL, RUN_LOAD, RUN_PRELOAD, RUN_COLLECT };
static const char *const mode_names[] = {"pull", "load", "preload", "collect"};

struct run {
	struct list node; /* in store->runs, or self */
	struct image_store *store;
	enum run_mode mode;
	char *key; /* equal keys share a run; NULL: never shared */
	char *label;
	struct list jobs;
	bool dispatching; /* a callback is being called: jobs are reaped later */
	struct child *child;
	int request_fd, archive_fd, pipe_fd;
	struct io *io;
	struct strbuf line;
	const struct image **images;
	size_t n_images;
	struct err err;
	uint64_t done, total;
	char *what;
	void (*preload_done)(void *arg);
	void *preload_arg;
};

struct image_job {
	struct list node; /* in run->jobs */
	struct run *run;
	const struct image_job_ops *ops; /* NULL: cancelled */
	void *arg;
};

static void run_finish(struct run *r);

/* ---- life of a run ---------------------------------------------------------------------- */

static void run_free(void *arg)
{
	struct run *r = arg;
	free(r->key);
	free(r->label);
	free(r->what);
	free(r->images);
	strbuf_done(&r->line);
	err_done(&r->err);
	free(r);
}

/* Ends the process if there is one and lets the memory go at the end of the turn. */
static void run_close(struct run *r)
{
	if (r->child) {
		child_kill(r->child, SIGKILL);
		child_abandon(r->child);
		r->child = NULL;
	}
	if (r->io && r->mode != RUN_COLLECT && r->mode != RUN_PRELOAD)
		r->store->n_running--;
	io_free(r->io);
	r->io = NULL;
	r->pipe_fd = fd_close(r->pipe_fd);
	r->request_fd = fd_close(r->request_fd);
	r->archive_fd = fd_close(r->archive_fd);
	list_del(&r->node);
	work_queue(r->store->loop, &r->store->start);
	loop_free_later(r->store->loop, run_free, r);
}

static int request_open(const json_t *request)
{
	size_t len;
	auto_free char *text = json_text(request, &len);
	int fd = memfd_create("coracle-image-request", MFD_CLOEXEC);
	if (fd < 0)
		return -1;
	if (write(fd, text, len) != (ssize_t)len || lseek(fd, 0, SEEK_SET) != 0)
		return fd_close(fd);
	return fd;
}

static struct run *run_new(struct image_store *s, enum run_mode mode, const char *label,
			   json_t *request, struct err *err)
{
	json_put_str(request, "mode", mode_names[mode]);
	json_put_str(request, "dir", s->dir);
	json_put_int(request, "maxBytes", (int64_t)s->max_bytes);
	int fd = request_open(request);
	if (fd < 0) {
		err_errno(err, errno, "cannot prepare the image worker");
		return NULL;
	}
	struct run *r = xnew(struct run);
	r->store = s;
	r->mode = mode;
	r->label = xstrdup(label);
	r->request_fd = fd;
	r->archive_fd = r->pipe_fd = -1;
	list_init(&r->jobs);
	list_add_tail(&s->runs, &r->node);
	work_queue(s->loop, &s->start);
	return r;
}

/* ---- what the worker says --------------------------------------------------------------- */

static void jobs_reap(struct run *r)
{
	list_foreach (&r->jobs, j, struct image_job, node) {
		if (!j->ops) {
			list_del(&j->node);
			free(j);
		}
	}
}

static void on_progress(struct run *r, const json_t *p)
{
	r->done = (uint64_t)json_int(p, "done", 0);
	r->total = (uint64_t)json_int(p, "total", 0);
	free(r->what);
	r->what = xstrdup(json_str(p, "what", ""));
	r->dispatching = true;
	list_foreach (&r->jobs, j, struct image_job, node) {
		if (j->ops && j->ops->on_progress)
			j->ops->on_progress(j->arg, r->done, r->total, r->what);
	}
	r->dispatching = false;
	jobs_reap(r);
}

static void on_image(struct run *r, const json_t *report)
{
	const struct image *im = NULL;
	if (r->err.message || store_adopt(r->store, report, &im, &r->err) < 0)
		return;
	r->images = xrealloc(r->images, r->n_images + 1, sizeof(*r->images));
	r->images[r->n_images++] = im;
}

static void on_error(struct run *r, const json_t *e)
{
	const char *name = json_str(e, "reason", "");
	enum err_reason reason = ERR_INTERNAL;
	for (int i = 0; i < ERR_REASON_COUNT; i++)
		if (streq(err_reason_name((enum err_reason)i), name))
			reason = (enum err_reason)i;
	err_set(&r->err, reason, "%s", json_str(e, "message", "the image worker failed"));
}

static void on_line(struct run *r, const char *text, size_t len)
{
	auto_err err = {0};
	json_auto_t *v = json_parse(text, len, &err);
	const json_t *part;
	if (!v)
		err_set(&r->err, ERR_INTERNAL, "the image worker wrote nonsense: %s",
			err_message(&err));
	else if ((part = json_object_get(v, "progress")))
		on_progress(r, part);
	else if ((part = json_object_get(v, "image")))
		on_image(r, part);
	else if ((part = json_object_get(v, "error")))
		on_error(r, part);
	else if ((part = json_object_get(v, "warning")))
		log_warn("image: %s", json_string_value(part));
}

static void lines_take(struct run *r)
{
	size_t start = 0;
	for (;;) {
		char *s = r->line.s + start;
		char *nl = r->line.len > start ? memchr(s, '\n', r->line.len - start) : NULL;
		if (!nl)
			break;
		on_line(r, s, (size_t)(nl - s));
		start += (size_t)(nl - s) + 1;
	}
	if (start == 0)
		return;
	auto_strbuf rest = {0};
	strbuf_add(&rest, r->line.s + start, r->line.len - start);
	strbuf_reset(&r->line);
	strbuf_add(&r->line, rest.s ? rest.s : "", rest.len);
}

/* Reads what is there. A line beyond all bounds ends the worker. */
static void pipe_drain(struct run *r)
{
	char buf[4096];
	ssize_t n;
	while ((n = read(r->pipe_fd, buf, sizeof(buf))) > 0) {
		strbuf_add(&r->line, buf, (size_t)n);
		if (r->line.len > LINE_MAX_BYTES) {
			err_set(&r->err, ERR_INTERNAL, "the image worker wrote too long a line");
			strbuf_reset(&r->line);
			child_kill(r->child, SIGKILL);
			break;
		}
		lines_take(r);
	}
	if (n == 0)
		io_want(r->io, 0);
}

static void on_pipe(void *arg, int fd UNUSED, unsigned what UNUSED)
{
	struct run *r = arg;
	if (r->child)
		pipe_drain(r);
}

static void on_exit_status(void *arg, int status)
{
	struct run *r = arg;
	pipe_drain(r);
	r->child = NULL;
	if (WIFSIGNALED(status)) {
		struct strv none = {0};
		err_set(&r->err, ERR_INTERNAL, "the image worker was ended by signal %d",
			WTERMSIG(status));
		if (r->mode != RUN_COLLECT)
			job_collect(r->store, &none, &none);
	} else if (WEXITSTATUS(status) != 0 && !r->err.message) {
		err_set(&r->err, ERR_INTERNAL, "the image worker ended with status %d",
			WEXITSTATUS(status));
	}
	run_finish(r);
}

/* ---- starting and ending ---------------------------------------------------------------- */

static int run_spawn(struct run *r)
{
	int fds[2];
	if (pipe2(fds, O_CLOEXEC) < 0)
		return err_errno(&r->err, errno, "cannot start the image worker");
	auto_fd int child_end = fds[1];
	r->pipe_fd = fds[0];
	if (fcntl(r->pipe_fd, F_SETFL, O_NONBLOCK) < 0)
		return err_errno(&r->err, errno, "cannot start the image worker");
	const struct child_fd map[] = {
		{r->request_fd, 0}, {child_end, 1}, {STDERR_FILENO, 2}, {r->archive_fd, 3}};
	const char *argv[] = {r->store->worker_path, mode_names[r->mode], r->label, NULL};
	const struct child_config config = {
		.argv = argv,
		.fds = map,
		.n_fds = r->archive_fd >= 0 ? 4 : 3,
		.die_with_us = true,
		.low_priority = true,
	};
	r->child = child_spawn(r->store->loop, &config, on_exit_status, r, &r->err);
	if (!r->child)
		return err_wrap(&r->err, -EIO, "cannot start the image worker");
	r->request_fd = fd_close(r->request_fd);
	r->archive_fd = fd_close(r->archive_fd);
	r->io = io_new(r->store->loop, r->pipe_fd, IO_READ, on_pipe, r);
	if (r->mode != RUN_COLLECT && r->mode != RUN_PRELOAD)
		r->store->n_running++;
	return 0;
}

static bool run_may_start(const struct run *r)
{
	return !r->io && (r->mode == RUN_COLLECT || r->mode == RUN_PRELOAD ||
			  r->store->n_running < r->store->max_parallel);
}

static void on_start(void *arg)
{
	struct image_store *s = arg;
	list_foreach (&s->runs, r, struct run, node) {
		if (run_may_start(r) && run_spawn(r) < 0) {
			run_finish(r);
			work_queue(s->loop, &s->start);
			return; /* the callbacks may have changed the list */
		}
	}
}

/* What was removed again while the worker went on is not handed out. */
static void images_recheck(struct run *r)
{
	size_t n = 0;
	for (size_t i = 0; i < r->n_images; i++) {
		const struct image *im;
		for (size_t k = 0; (im = image_at(r->store, k)); k++)
			if (im == r->images[i])
				break;
		if (im)
			r->images[n++] = im;
	}
	r->n_images = n;
}

/* Tells everyone and closes the run. Callbacks may ask for new jobs or cancel others. */
static void run_finish(struct run *r)
{
	if (r->mode == RUN_COLLECT) {
		if (r->err.message)
			log_warn("image: cleaning up failed: %s", err_message(&r->err));
		store_verify(r->store);
	}
	if (r->mode == RUN_PRELOAD && r->err.message)
		log_warn("image: preloading failed: %s", err_message(&r->err));
	images_recheck(r);
	if (r->mode != RUN_COLLECT && !r->err.message && r->n_images == 0 && r->mode != RUN_PRELOAD)
		err_set(&r->err, ERR_INTERNAL, "the image worker brought no image");
	run_close(r);
	while (!list_empty(&r->jobs)) {
		struct image_job *j = list_entry(r->jobs.next, struct image_job, node);
		const struct image_job_ops *ops = j->ops;
		void *job_arg = j->arg;
		list_del(&j->node);
		free(j);
		if (!ops || !ops->on_done)
			continue;
		if (r->err.message)
			ops->on_done(job_arg, NULL, 0, &r->err);
		else
			ops->on_done(job_arg, r->images, r->n_images, NULL);
	}
	if (r->preload_done)
		r->preload_done(r->preload_arg);
	if ((r->n_images || r->mode == RUN_COLLECT) && r->store->changed)
		r->store->changed(r->store->changed_arg);
}

void jobs_open(struct image_store *s)
{
	list_init(&s->runs);
	work_init(&s->start, on_start, s);
}

void jobs_close(struct image_store *s)
{
	list_foreach (&s->runs, r, struct run, node) {
		while (!list_empty(&r->jobs)) {
			struct image_job *j = list_entry(r->jobs.next, struct image_job, node);
			list_del(&j->node);
			free(j);
		}
		run_close(r);
	}
	work_cancel(&s->start);
}

/* ---- the face --------------------------------------------------------------------------- */

static struct image_job *job_new(struct run *r, const struct image_job_ops *ops, void *arg)
{
	struct image_job *j = xnew(struct image_job);
	j->run = r;
	j->ops = ops;
	j->arg = arg;
	list_add_tail(&r->jobs, &j->node);
	return j;
}

void image_job_cancel(struct image_job *j)
{
	struct run *r = j->run;
	j->ops = NULL;
	if (r->dispatching)
		return;
	list_del(&j->node);
	free(j);
	if (!list_empty(&r->jobs))
		return;
	bool was_running = r->child != NULL;
	struct image_store *s = r->store;
	run_close(r);
	if (was_running) {
		struct strv none = {0};
		job_collect(s, &none, &none);
	}
}

static struct run *run_find(const struct image_store *s, const char *key)
{
	list_foreach (&s->runs, r, struct run, node) {
		if (str_eq(r->key, key))
			return r;
	}
	return NULL;
}

/* Other credentials may see another answer: they are part of what is shared. */
static char *pull_key(const char *name, const struct image_auth *auth)
{
	char hex[65] = "";
	if (auth && (auth->username || auth->password)) {
		auto_free char *both = xasprintf("%s\n%s", auth->username ? auth->username : "",
						 auth->password ? auth->password : "");
		sha256_hex(both, strlen(both), hex);
	}
	return xasprintf("%s %s", name, hex);
}

struct image_job *image_pull(struct image_store *s, const char *ref, const struct image_auth *auth,
			     const struct image_job_ops *ops, void *arg, struct err *err)
{
	auto_free char *name = NULL;
	if (image_ref_normalize(ref, &name, err) < 0)
		return NULL;
	auto_free char *key = pull_key(name, auth);
	struct run *r = run_find(s, key);
	if (r)
		return job_new(r, ops, arg);
	json_auto_t *request = json_object();
	json_put_str(request, "ref", name);
	if (auth && auth->username)
		json_put_str(request, "username", auth->username);
	if (auth && auth->password)
		json_put_str(request, "password", auth->password);
	r = run_new(s, RUN_PULL, name, request, err);
	if (!r)
		return NULL;
	r->key = steal_ptr(key);
	return job_new(r, ops, arg);
}

struct image_job *image_load(struct image_store *s, const char *path, int fd,
			     const struct image_job_ops *ops, void *arg, struct err *err)
{
	auto_fd int owned = fd;
	json_auto_t *request = json_object();
	if (owned < 0)
		owned = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (owned < 0) {
		err_errno(err, errno, "cannot open %s", path);
		return NULL;
	}
	struct run *r = run_new(s, RUN_LOAD, path ? path : "-", request, err);
	if (!r)
		return NULL;
	r->archive_fd = steal_fd(&owned);
	return job_new(r, ops, arg);
}

void image_preload(struct image_store *s, const char *dir, void (*done)(void *arg), void *arg)
{
	json_auto_t *request = json_object();
	json_put_str(request, "source", dir);
	auto_err err = {0};
	struct run *r = run_new(s, RUN_PRELOAD, dir, request, &err);
	if (!r) {
		log_warn("image: preloading failed: %s", err_message(&err));
		if (done)
			done(arg);
		return;
	}
	r->preload_done = done;
	r->preload_arg = arg;
}

void image_watch(struct image_store *s, void (*changed)(void *arg), void *arg)
{
	s->changed = changed;
	s->changed_arg = arg;
}

void job_collect(struct image_store *s, const struct strv *images, const struct strv *refs)
{
	json_auto_t *request = json_object();
	json_object_set_new(request, "images", strv_to_json(images));
	json_object_set_new(request, "refs", strv_to_json(refs));
	auto_err err = {0};
	if (!run_new(s, RUN_COLLECT, "-", request, &err))
		log_warn("image: %s", err_message(&err));
}

void jobs_show(const struct image_store *s, json_t *rows)
{
	list_foreach (&s->runs, r, struct run, node) {
		json_t *row = json_object();
		json_put_str(row, "name", r->label);
		json_put_str(row, "id", mode_names[r->mode]);
		json_put_str(row, "what", r->what ? r->what : r->io ? "running" : "waiting");
		json_put_int(row, "done", (int64_t)r->done);
		json_put_int(row, "total", (int64_t)r->total);
		json_array_append_new(rows, row);
	}
}
