/* SPDX-License-Identifier: Apache-2.0 */
/* Byte ranges of files, as text, as input of libarchive, and their SHA-256. */
#include "worker.h"
#include <archive.h>
#include <openssl/evp.h>
#include <unistd.h>

enum { CHUNK = 64 * 1024 };

struct hash {
	EVP_MD_CTX *ctx;
};

struct hash *hash_new(void)
{
	struct hash *h = xnew(struct hash);
	h->ctx = EVP_MD_CTX_new();
	if (!h->ctx || EVP_DigestInit_ex(h->ctx, EVP_sha256(), NULL) != 1)
		abort();
	return h;
}

void hash_add(struct hash *h, const void *data, size_t len)
{
	if (EVP_DigestUpdate(h->ctx, data, len) != 1)
		abort();
}

void hash_hex(struct hash *h, char hex[static 65])
{
	unsigned char md[EVP_MAX_MD_SIZE];
	unsigned n = 0;
	if (EVP_DigestFinal_ex(h->ctx, md, &n) != 1)
		abort();
	for (unsigned i = 0; i < n; i++)
		snprintf(hex + 2 * (size_t)i, 3, "%02x", md[i]);
}

void hash_free(struct hash *h)
{
	EVP_MD_CTX_free(h->ctx);
	free(h);
}

/* At most len bytes at *r's start, which moves on. 0 at the end, -errno. */
static ssize_t range_take(struct range *r, void *buf, size_t len)
{
	if (len > r->len)
		len = r->len;
	ssize_t n;
	do
		n = pread(r->fd, buf, len, (off_t)r->off);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	r->off += (uint64_t)n;
	r->len -= (uint64_t)n;
	return n;
}

int range_read(const struct range *r, size_t max, char **ret, struct err *err)
{
	struct range rest = *r;
	if (r->len > max)
		return err_set(err, ERR_INVALID, "document of %llu bytes is larger than allowed",
			       (unsigned long long)r->len);
	auto_free char *buf = xmalloc(r->len + 1);
	size_t len = 0;
	while (rest.len > 0) {
		ssize_t n = range_take(&rest, buf + len, rest.len);
		if (n < 0)
			return err_errno(err, (int)-n, "cannot read");
		if (n == 0)
			return err_set(err, ERR_INVALID, "unexpected end of the archive");
		len += (size_t)n;
	}
	buf[len] = '\0';
	if (strlen(buf) != len)
		return err_set(err, ERR_INVALID, "malformed document: a NUL byte in it");
	*ret = steal_ptr(buf);
	return 0;
}

int range_sha256(const struct range *r, char hex[static 65], struct err *err)
{
	struct range rest = *r;
	auto_clean(hash) struct hash *h = hash_new();
	auto_free char *buf = xmalloc(CHUNK);
	while (rest.len > 0) {
		ssize_t n = range_take(&rest, buf, CHUNK);
		if (n < 0)
			return err_errno(err, (int)-n, "cannot read");
		if (n == 0)
			return err_set(err, ERR_INVALID, "unexpected end of the archive");
		hash_add(h, buf, (size_t)n);
	}
	hash_hex(h, hex);
	return 0;
}

struct feed {
	struct range *range;
	char buf[CHUNK];
};

static la_ssize_t feed_read(struct archive *a, void *arg, const void **ret)
{
	struct feed *f = arg;
	ssize_t n = range_take(f->range, f->buf, sizeof(f->buf));
	if (n < 0) {
		archive_set_error(a, (int)-n, "cannot read: %s", strerror((int)-n));
		return ARCHIVE_FATAL;
	}
	*ret = f->buf;
	return n;
}

static int feed_close(struct archive *a UNUSED, void *arg)
{
	free(arg);
	return ARCHIVE_OK;
}

int range_archive_open(struct archive *a, struct range *r, struct err *err)
{
	struct feed *f = xmalloc(sizeof(*f));
	f->range = r;
	if (archive_read_open(a, f, NULL, feed_read, feed_close) != ARCHIVE_OK)
		return err_set(err, ERR_INVALID, "%s",
			       archive_error_string(a) ? archive_error_string(a) : "unreadable");
	return 0;
}

void archive_release(struct archive *a)
{
	archive_read_free(a);
}
