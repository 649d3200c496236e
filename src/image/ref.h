/* SPDX-License-Identifier: Apache-2.0 */
/* Image references and digests, taken apart by the grammar of the distribution project. */
#ifndef CORACLE_IMAGE_REF_H
#define CORACLE_IMAGE_REF_H

#include <coracle/base.h>

#define DIGEST_HEX_LEN 64
#define DIGEST_TEXT_LEN (sizeof("sha256:") - 1 + DIGEST_HEX_LEN)

/* A parsed, normalised reference. Exactly one of tag and digest is set: a digest wins. */
struct image_ref {
	char *domain; /* "docker.io", "localhost:5000" */
	char *path;   /* "library/busybox" */
	char *tag;    /* "latest" or NULL */
	char *digest; /* "sha256:..." or NULL */
};
int image_ref_parse(const char *text, struct image_ref *ret, struct err *err) MUST_CHECK;
void image_ref_done(struct image_ref *r);
#define auto_ref __attribute__((cleanup(image_ref_done))) struct image_ref
/* "docker.io/library/busybox:latest" or "...@sha256:..."; caller frees. */
char *image_ref_text(const struct image_ref *r);

/* "sha256:" and 64 lower-case hex digits, nothing else. */
bool digest_valid(const char *text);
/* The hex part of a valid digest: also its name on disk. Borrowed. */
const char *digest_hex(const char *digest);
/* 1 to 64 lower-case hex digits. */
bool hex_prefix_valid(const char *text);

#endif
