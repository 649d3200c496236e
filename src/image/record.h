/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is known of one image on disk, as daemon and worker both read it.
 *
 * Files below the store's directory:
 *   images/<config hex>.json   one record, never changed once written
 *   refs.json                  names -> image, written whole and renamed into place
 *   blobs/sha256/<hex>         manifests and configs (layer blobs are not kept after unpacking)
 *   layers/<chain hex>/        unpacked layers by chain id (OCI image-spec, config.md)
 *   partial/<hex>              layer blobs on their way, kept over failures for resuming
 *   tmp/                       half-done work; everything there is garbage when no worker runs
 */
#ifndef CORACLE_IMAGE_RECORD_H
#define CORACLE_IMAGE_RECORD_H

#include <coracle/image.h>
#include <coracle/json.h>

enum {
	RECORD_MAX_BYTES = 1 << 20,
	REFS_MAX_BYTES = 8 << 20,
	RECORD_MAX_LAYERS = 128,
	RECORD_MAX_STRINGS = 4096,
	RECORD_MAX_IMAGES = 4096,
};

/* Builds the in-memory image from a record; layers get the prefix <dir>/layers/. Strict: anything
 * that a sound worker would not write is -EINVAL. Caller frees with image_free(). */
int image_from_record(const char *dir, const json_t *record, struct image **ret,
		      struct err *err) MUST_CHECK;
void image_free(struct image *im);
/* Replaces refs and repo_digests by copies. */
void image_set_names(struct image *im, const struct strv *refs, const struct strv *digests);
/* Appends the strings of a JSON array; -EINVAL when it is none, holds others, or more than max. */
int strv_from_json(struct strv *l, const json_t *array, size_t max) MUST_CHECK;
json_t *strv_to_json(const struct strv *l);

#endif
