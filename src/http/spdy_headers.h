/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SPDY/3 header blocks: name/value pairs behind one zlib stream per direction, pure.
 * Bounds: SPDY_BLOCK_MAX bytes unpacked, SPDY_PAIRS_MAX pairs.
 */
#ifndef CORACLE_SRC_HTTP_SPDY_HEADERS_H
#define CORACLE_SRC_HTTP_SPDY_HEADERS_H

#include <coracle/base.h>

#define SPDY_BLOCK_MAX (64 * 1024)
#define SPDY_PAIRS_MAX 64

struct spdy_unpacker;
struct spdy_unpacker *spdy_unpacker_new(void);
void spdy_unpacker_free(struct spdy_unpacker *u);
/* Unpacks one block into name, value, name, value. -EBADMSG malformed, -E2BIG over a bound. */
int spdy_unpack(struct spdy_unpacker *u, const void *data, size_t len, struct strv *ret) MUST_CHECK;

struct spdy_packer;
struct spdy_packer *spdy_packer_new(void);
void spdy_packer_free(struct spdy_packer *p);
/* Appends the packed block of the NULL-terminated name, value list. */
void spdy_pack(struct spdy_packer *p, const char *const *headers, struct strbuf *out);

#endif
