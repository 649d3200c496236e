/* SPDX-License-Identifier: Apache-2.0 */
/* Packing and unpacking of SPDY/3 header blocks (draft-mbelshe-httpbis-spdy-00 section 2.6.10). */
#include "spdy_headers.h"

#include <ctype.h>
#include <zlib.h>

#include "spdy_dictionary.h"

struct spdy_unpacker {
	z_stream z;
};

struct spdy_packer {
	z_stream z;
};

struct spdy_unpacker *spdy_unpacker_new(void)
{
	struct spdy_unpacker *u = xnew(struct spdy_unpacker);

	if (inflateInit(&u->z) != Z_OK)
		abort(); /* out of memory */
	return u;
}

void spdy_unpacker_free(struct spdy_unpacker *u)
{
	if (!u)
		return;
	inflateEnd(&u->z);
	free(u);
}

/* Inflates all of data behind what out holds; a bomb ends at SPDY_BLOCK_MAX. */
static int inflate_block(struct spdy_unpacker *u, const void *data, size_t len, struct strbuf *out)
{
	unsigned char buf[4096];

	u->z.next_in = (Bytef *)(uintptr_t)data;
	u->z.avail_in = (uInt)len;
	do {
		u->z.next_out = buf;
		u->z.avail_out = sizeof(buf);
		int rc = inflate(&u->z, Z_SYNC_FLUSH);

		if (rc == Z_NEED_DICT)
			rc = inflateSetDictionary(&u->z, spdy_dictionary, SPDY_DICTIONARY_LEN);
		else if (rc == Z_BUF_ERROR && u->z.avail_in == 0)
			rc = Z_OK;
		if (rc != Z_OK)
			return -EBADMSG;
		strbuf_add(out, buf, sizeof(buf) - u->z.avail_out);
		if (out->len > SPDY_BLOCK_MAX)
			return -E2BIG;
	} while (u->z.avail_in > 0 || u->z.avail_out == 0);
	return 0;
}

/* A cursor with a sticky error over an unpacked block. */
struct cursor {
	const unsigned char *p;
	size_t left;
	bool bad;
};

static uint32_t take_u32(struct cursor *c)
{
	if (c->bad || c->left < 4) {
		c->bad = true;
		return 0;
	}
	uint32_t v = (uint32_t)c->p[0] << 24 | (uint32_t)c->p[1] << 16 | (uint32_t)c->p[2] << 8 |
		     c->p[3];

	c->p += 4;
	c->left -= 4;
	return v;
}

/* A length-prefixed string; NUL inside (several values of one name) is refused. */
static void take_string(struct cursor *c, struct strv *ret)
{
	uint32_t len = take_u32(c);

	if (c->bad || len > c->left || memchr(c->p, '\0', len)) {
		c->bad = true;
		return;
	}
	strv_take(ret, xstrndup((const char *)c->p, len));
	c->p += len;
	c->left -= len;
}

int spdy_unpack(struct spdy_unpacker *u, const void *data, size_t len, struct strv *ret)
{
	auto_strbuf block = {0};
	int rc = inflate_block(u, data, len, &block);

	if (rc < 0)
		return rc;
	struct cursor c = {(const unsigned char *)(block.s ? block.s : ""), block.len, false};
	uint32_t pairs = take_u32(&c);

	if (pairs > SPDY_PAIRS_MAX)
		return -E2BIG;
	for (uint32_t i = 0; i < pairs && !c.bad; i++) {
		take_string(&c, ret);
		take_string(&c, ret);
	}
	return c.bad || c.left ? -EBADMSG : 0;
}

/* Small window and memory level: our blocks are a few dozen bytes, a session costs 4 KiB. */
struct spdy_packer *spdy_packer_new(void)
{
	struct spdy_packer *p = xnew(struct spdy_packer);

	if (deflateInit2(&p->z, Z_BEST_SPEED, Z_DEFLATED, 11, 1, Z_DEFAULT_STRATEGY) != Z_OK)
		abort(); /* out of memory */
	deflateSetDictionary(&p->z, spdy_dictionary, SPDY_DICTIONARY_LEN);
	return p;
}

void spdy_packer_free(struct spdy_packer *p)
{
	if (!p)
		return;
	deflateEnd(&p->z);
	free(p);
}

static void add_u32(struct strbuf *b, size_t v)
{
	unsigned char bytes[4] = {(unsigned char)(v >> 24), (unsigned char)(v >> 16),
				  (unsigned char)(v >> 8), (unsigned char)v};

	strbuf_add(b, bytes, sizeof(bytes));
}

void spdy_pack(struct spdy_packer *p, const char *const *headers, struct strbuf *out)
{
	auto_strbuf block = {0};
	unsigned char buf[1024];
	size_t n = 0;

	while (headers && headers[n])
		n += 2;
	add_u32(&block, n / 2);
	for (size_t i = 0; i < n; i++) {
		add_u32(&block, strlen(headers[i]));
		for (const char *s = headers[i]; *s; s++)
			strbuf_addc(&block, i % 2 ? *s : (char)tolower((unsigned char)*s));
	}
	p->z.next_in = (Bytef *)block.s;
	p->z.avail_in = (uInt)block.len;
	do {
		p->z.next_out = buf;
		p->z.avail_out = sizeof(buf);
		deflate(&p->z, Z_SYNC_FLUSH);
		strbuf_add(out, buf, sizeof(buf) - p->z.avail_out);
	} while (p->z.avail_out == 0);
}
