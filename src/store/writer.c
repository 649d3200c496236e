/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The one thread of the daemon besides the loop: it owns both files, so that a slow disk stalls
 * nothing else. One batch is with it at a time; the loop collects the next one meanwhile, which
 * makes one sync serve many writes.
 */
#include "internal.h"
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define STACK_SIZE (256U << 10)

struct writer {
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t cond;
	struct batch *todo, *finished;	    /* under lock */
	bool quit;			    /* under lock */
	struct disk durable, volatile_file; /* the thread's */
	bool volatile_failed;
	int efd;
	struct io *io;
	writer_done_fn *done;
	void *arg;
};

static int set_revision(struct disk *d, uint64_t rev, struct err *err)
{
	char text[24];

	snprintf(text, sizeof(text), "%" PRIu64, rev);
	return disk_meta_set(d, "revision", text, err);
}

static int write_durable(struct disk *d, const struct batch *b, struct err *err)
{
	int r = disk_begin(d, err);

	for (size_t i = 0; r == 0 && i < b->n_rows; i++) {
		const struct row_write *w = &b->rows[i];

		r = w->obj ? disk_put_object(d, w->id, STORED_DURABLE, w->obj, err)
			   : disk_del(d, w->id, err);
	}
	if (r == 0 && b->reserve)
		r = set_revision(d, b->reserve, err);
	if (r == 0)
		r = disk_commit(d, err);
	if (r < 0)
		disk_rollback(d);
	return r;
}

/* Observations first, then what the durable rows cover goes. */
static int write_volatile(struct disk *d, const struct batch *b, struct err *err)
{
	size_t n_covered = b->error ? 0 : b->n_rows;
	int r = disk_begin(d, err);

	for (size_t i = 0; r == 0 && i < b->n_volatile_rows; i++) {
		const struct row_write *w = &b->volatile_rows[i];

		r = w->obj ? disk_put_object(d, w->id, w->flags, w->obj, err)
			   : disk_del(d, w->id, err);
	}
	for (size_t i = 0; r == 0 && i < n_covered; i++)
		r = disk_del_upto(d, b->rows[i].id, b->rows[i].rev, err);
	if (r == 0)
		r = set_revision(d, b->rev, err);
	if (r == 0)
		r = disk_commit(d, err);
	if (r < 0)
		disk_rollback(d);
	return r;
}

static void work_on(struct writer *w, struct batch *b)
{
	auto_err err = {0};

	if (b->n_rows || b->reserve)
		b->error = write_durable(&w->durable, b, &b->err);
	if (!w->volatile_file.db || (!b->n_rows && !b->n_volatile_rows))
		return;
	if (write_volatile(&w->volatile_file, b, &err) == 0)
		w->volatile_failed = false;
	else if (!w->volatile_failed) {
		w->volatile_failed = true;
		log_warn("store: observations are not kept over a restart: %s", err_message(&err));
	}
}

static void report(struct writer *w, struct batch *b)
{
	const uint64_t one = 1;

	pthread_mutex_lock(&w->lock);
	w->finished = b;
	pthread_cond_broadcast(&w->cond);
	pthread_mutex_unlock(&w->lock);
	if (write(w->efd, &one, sizeof(one)) < 0)
		log_error("store: eventfd: %s", strerror(errno));
}

static void *run(void *arg)
{
	struct writer *w = arg;

	for (;;) {
		struct batch *b;

		pthread_mutex_lock(&w->lock);
		while (!w->todo && !w->quit)
			pthread_cond_wait(&w->cond, &w->lock);
		b = steal_ptr(w->todo);
		pthread_mutex_unlock(&w->lock);
		if (!b)
			return NULL;
		work_on(w, b);
		report(w, b);
		/* After the answer: nobody waits for this. */
		disk_rest(&w->durable);
		if (w->volatile_file.db)
			disk_rest(&w->volatile_file);
	}
}

static struct batch *take_finished(struct writer *w)
{
	struct batch *b;

	pthread_mutex_lock(&w->lock);
	b = steal_ptr(w->finished);
	pthread_mutex_unlock(&w->lock);
	return b;
}

static void on_event(void *arg, int fd, unsigned what)
{
	struct writer *w = arg;
	struct batch *b;
	uint64_t n;

	(void)what;
	if (read(fd, &n, sizeof(n)) < 0)
		return;
	b = take_finished(w);
	if (b)
		w->done(w->arg, b);
}

/* All signals are the loop's. */
static int start_thread(struct writer *w)
{
	sigset_t all, old;
	pthread_attr_t attr;
	int r;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, STACK_SIZE);
	r = pthread_create(&w->thread, &attr, run, w);
	pthread_attr_destroy(&attr);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return -r;
}

struct writer *writer_new(struct loop *loop, struct disk *durable, struct disk *volatile_file,
			  writer_done_fn *done, void *arg, struct err *err)
{
	struct writer *w = xnew(struct writer);
	int r = 0;

	w->done = done;
	w->arg = arg;
	pthread_mutex_init(&w->lock, NULL);
	pthread_cond_init(&w->cond, NULL);
	disk_move(&w->durable, durable);
	disk_move(&w->volatile_file, volatile_file);
	w->efd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (w->efd < 0)
		r = -errno;
	if (r == 0)
		r = start_thread(w);
	if (r < 0) {
		err_errno(err, -r, "cannot start the store's writer");
		disk_close(&w->durable);
		disk_close(&w->volatile_file);
		fd_close(w->efd);
		free(w);
		return NULL;
	}
	w->io = io_new(loop, w->efd, IO_READ, on_event, w);
	return w;
}

void writer_submit(struct writer *w, struct batch *b)
{
	pthread_mutex_lock(&w->lock);
	w->todo = b;
	pthread_cond_broadcast(&w->cond);
	pthread_mutex_unlock(&w->lock);
}

struct batch *writer_wait(struct writer *w)
{
	struct batch *b;

	pthread_mutex_lock(&w->lock);
	while (!w->finished)
		pthread_cond_wait(&w->cond, &w->lock);
	b = steal_ptr(w->finished);
	pthread_mutex_unlock(&w->lock);
	return b;
}

void writer_free(struct writer *w)
{
	if (!w)
		return;
	pthread_mutex_lock(&w->lock);
	w->quit = true;
	pthread_cond_broadcast(&w->cond);
	pthread_mutex_unlock(&w->lock);
	pthread_join(w->thread, NULL);
	io_free(w->io);
	fd_close(w->efd);
	disk_close(&w->durable);
	disk_close(&w->volatile_file);
	pthread_mutex_destroy(&w->lock);
	pthread_cond_destroy(&w->cond);
	free(w);
}

void batch_free(struct batch *b)
{
	for (size_t i = 0; i < b->n_volatile_rows; i++)
		if (b->volatile_rows[i].obj)
			object_unref(b->volatile_rows[i].obj);
	free(b->rows);
	free(b->volatile_rows);
	err_done(&b->err);
	free(b);
}
