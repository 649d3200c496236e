/* SPDX-License-Identifier: Apache-2.0 */
/* Images for the API: jobs become lines of progress. */
#include "internal.h"

struct transfer {
	struct image_job *job;
	void (*on_line)(void *arg, const char *line);
	void (*on_end)(void *arg, const struct err *err);
	void *arg;
	char *last; /* progress text sent last: repeats are left out */
};

static void transfer_free(struct transfer *t)
{
	free(t->last);
	free(t);
}

static void tell(struct transfer *t, const char *text)
{
	if (str_eq(t->last, text))
		return;
	free(t->last);
	t->last = xstrdup(text);
	t->on_line(t->arg, text);
}

static void on_progress(void *arg, uint64_t done, uint64_t total, const char *what)
{
	auto_free char *text = NULL;

	if (total)
		text = xasprintf("%s %llu/%llu MiB", what, (unsigned long long)(done >> 20),
				 (unsigned long long)(total >> 20));
	else
		text = done >> 20 ? xasprintf("%s %llu MiB", what, (unsigned long long)(done >> 20))
				  : xstrdup(what);
	tell(arg, text);
}

static void on_done(void *arg, const struct image *const *images, size_t n, const struct err *err)
{
	struct transfer *t = arg;

	for (size_t i = 0; !err && i < n; i++)
		for (size_t k = 0; k == 0 || k < images[i]->n_refs; k++) {
			auto_free char *text = xasprintf("Loaded image: %s",
							 images[i]->n_refs ? images[i]->refs[k]
									   : images[i]->digest);

			t->on_line(t->arg, text);
		}
	t->on_end(t->arg, err);
	transfer_free(t);
}

static const struct image_job_ops job_ops = {.on_progress = on_progress, .on_done = on_done};

static struct transfer *transfer_new(void (*on_line)(void *arg, const char *line),
				     void (*on_end)(void *arg, const struct err *err), void *arg)
{
	struct transfer *t = xnew(struct transfer);

	t->on_line = on_line;
	t->on_end = on_end;
	t->arg = arg;
	return t;
}

static void *started(struct transfer *t)
{
	if (t->job)
		return t;
	transfer_free(t);
	return NULL;
}

static void *load(void *images, int fd, void (*on_line)(void *arg, const char *line),
		  void (*on_end)(void *arg, const struct err *err), void *arg, struct err *err)
{
	struct daemon *d = images;
	struct transfer *t = transfer_new(on_line, on_end, arg);

	t->job = image_load(d->images, NULL, fd, &job_ops, t, err);
	return started(t);
}

static void *pull(void *images, const char *ref, void (*on_line)(void *arg, const char *line),
		  void (*on_end)(void *arg, const struct err *err), void *arg, struct err *err)
{
	struct daemon *d = images;
	struct transfer *t = transfer_new(on_line, on_end, arg);

	t->job = image_pull(d->images, ref, NULL, &job_ops, t, err);
	return started(t);
}

static void cancel(void *token)
{
	struct transfer *t = token;

	image_job_cancel(t->job);
	transfer_free(t);
}

static json_t *list(void *images)
{
	struct daemon *d = images;
	const struct image *image;
	json_t *rows = json_array();

	for (size_t i = 0; (image = image_at(d->images, i)); i++) {
		json_t *row = json_pack("{s:s, s:[], s:I, s:b}", "id", image->digest, "refs",
					"size", (json_int_t)image->size, "pinned", image->pinned);

		for (size_t k = 0; k < image->n_refs; k++)
			json_array_append_new(json_object_get(row, "refs"),
					      json_string(image->refs[k]));
		json_array_append_new(rows, row);
	}
	return rows;
}

static int remove_ref(void *images, const char *ref, struct err *err)
{
	struct daemon *d = images;

	return image_remove(d->images, ref, err);
}

const struct api_image_ops daemon_image_ops = {
	.load = load, .pull = pull, .cancel = cancel, .list = list, .remove = remove_ref};
