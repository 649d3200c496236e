/* SPDX-License-Identifier: Apache-2.0 */
/*
 * image: the content store and the worker that fills it.
 *
 * Purpose: blobs by digest, unpacked layers by chain id, references by name below
 * <state-dir>/images. All parsing of strangers' bytes (registry answers, archives, layers) happens
 * in the process coracle-image; this module starts it, reads its progress from a pipe and, after it
 * has ended well, reads the small checked result. Layers commit by sync + rename; a damaged or
 * half-written layer is seen and made again. Lifetime: image_store_open(), then requests; calls
 * never block, results come as callbacks.
 */
#ifndef CORACLE_IMAGE_H
#define CORACLE_IMAGE_H

#include <coracle/base.h>
#include <coracle/loop.h>

struct image_config {
	const char *dir;	 /* <state-dir>/images */
	const char *worker_path; /* the coracle-image program */
	uint64_t max_bytes;	 /* unpacked size limit of one image; 0: 16 GiB */
	unsigned max_parallel;	 /* workers at once; 0: 3 */
};

/* One image as it can be run. Borrowed from the store; valid until it is removed. */
struct image {
	char *digest; /* "sha256:..." of the config: the image ID */
	char **refs;  /* normalised names, NULL-terminated: "docker.io/library/busybox:1.36" */
	size_t n_refs;
	char **repo_digests; /* "docker.io/library/busybox@sha256:..." */
	size_t n_repo_digests;
	char **layers; /* absolute directories, topmost first */
	size_t n_layers;
	char **entrypoint, **cmd, **env; /* NULL-terminated; never NULL */
	char *workdir;			 /* "" when unset */
	char *user;			 /* "" or "uid[:gid]" or names */
	char *stop_signal;		 /* "" when unset */
	uint64_t size;			 /* bytes of the layers unpacked */
	bool pinned;			 /* preloaded: never collected */
};

struct image_store;
struct image_store *image_store_open(struct loop *loop, const struct image_config *config,
				     struct err *err);
void image_store_close(
	struct image_store *s); /* ends the workers; partial work is kept for resuming */

/* "busybox" -> "docker.io/library/busybox:latest" (distribution reference grammar); -EINVAL.
 * Caller frees. */
int image_ref_normalize(const char *ref, char **ret, struct err *err) MUST_CHECK;
/* By reference in any form, by digest or by image ID; NULL when not here. */
const struct image *image_find(const struct image_store *s, const char *ref);
/* i counts from 0; NULL behind the last. */
const struct image *image_at(const struct image_store *s, size_t i);
/* changed() is called after images came or went, whoever asked for it; NULL ends that. */
void image_watch(struct image_store *s, void (*changed)(void *arg), void *arg);
int image_remove(struct image_store *s, const char *ref, struct err *err) MUST_CHECK;
/* Looks up uid/gid/groups of "user" in the image's /etc/passwd and /etc/group (layers are read
 * without following links out of them). user: "", "1000", "1000:1000", "www-data". */
int image_user(const struct image *image, const char *user, uint32_t *ret_uid, uint32_t *ret_gid,
	       struct err *err) MUST_CHECK;

struct image_auth {
	const char *username, *password; /* or NULL */
};
struct image_job;
struct image_job_ops {
	/* done/total bytes (total 0: unknown); what: "pulling layer 2/5". May be NULL. */
	void (*on_progress)(void *arg, uint64_t done, uint64_t total, const char *what);
	/* images: what it brought, borrowed; err NULL when good. The job is gone. */
	void (*on_done)(void *arg, const struct image *const *images, size_t n,
			const struct err *err);
};
/* Jobs for the same reference share one worker. Errors: registry unreachable, not found, refused,
 * digest mismatch, disk full, hostile archive: each in a sentence of its own. */
struct image_job *image_pull(struct image_store *s, const char *ref, const struct image_auth *auth,
			     const struct image_job_ops *ops, void *arg, struct err *err);
/* docker-archive or OCI archive (plain, gzip, zstd) or OCI layout directory. fd is handed over, or
 * -1 with a path. */
struct image_job *image_load(struct image_store *s, const char *path, int fd,
			     const struct image_job_ops *ops, void *arg, struct err *err);
void image_job_cancel(struct image_job *j); /* no callback follows */
/* Loads every archive in dir that was not loaded before (by digest of the file), pins the images.
 */
void image_preload(struct image_store *s, const char *dir, void (*done)(void *arg), void *arg);

#endif
