/* SPDX-License-Identifier: Apache-2.0 */
/* image: what store, jobs and look-ups share. */
#ifndef CORACLE_IMAGE_INTERNAL_H
#define CORACLE_IMAGE_INTERNAL_H

#include <coracle/image.h>
#include <coracle/json.h>

struct image_store {
	struct loop *loop;
	char *dir;
	char *worker_path;
	uint64_t max_bytes;
	unsigned max_parallel;
	struct image **images; /* in order of arrival; owned */
	size_t n_images;
	struct map by_ref;    /* normalised name or name@digest -> struct image */
	struct map by_digest; /* config digest -> struct image */
	struct list runs;     /* struct run: queued and running workers */
	unsigned n_running;   /* runs that count against max_parallel */
	struct work start;    /* starts what is queued: no callback comes out of a request */
	void (*changed)(void *arg);
	void *changed_arg;
};

/* Drops the images whose layers are not there any more. */
void store_verify(struct image_store *s);

/* Takes in (or refreshes) one image as the worker reported it: {record, refs, repoDigests, pinned}.
 */
int store_adopt(struct image_store *s, const json_t *report, const struct image **ret,
		struct err *err) MUST_CHECK;
/* jobs_close ends every worker and fails nobody: for closing. */
void jobs_open(struct image_store *s);
void jobs_close(struct image_store *s);
/* Removes images and names on disk and then everything unreferenced, in a worker. */
void job_collect(struct image_store *s, const struct strv *images, const struct strv *refs);
/* Workers queued and running, as rows of the show table. */
void jobs_show(const struct image_store *s, json_t *rows);

#endif
