/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Walking one layer: decompress, hash the tar beneath, check every entry, hand it to a sink.
 * Nothing here touches the disk, so that the same walk serves unpacking, checking and fuzzing.
 * Changeset rules: OCI image-spec, layer.md.
 */
#include "worker.h"
#include <archive.h>
#include <archive_entry.h>
#include <limits.h>
#include <locale.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

enum { CHUNK = 64 * 1024 };

#define WHITEOUT ".wh."
#define WHITEOUT_OPAQUE ".wh..wh..opq"
#define WHITEOUT_META ".wh..wh."

/* The tar stream inside a compressed one: libarchive reads it through this, we hash it. */
struct inner {
	struct archive *outer;
	struct hash *hash;
	uint64_t left; /* bytes that may still come out of the decompressor */
	char buf[CHUNK];
};

struct walk {
	struct layer_sink *sink;
	uint64_t *budget;
	uint64_t entries;
	struct archive *tar;
};

void worker_locale_init(void)
{
	if (!setlocale(LC_CTYPE, "C.UTF-8"))
		setlocale(LC_CTYPE, "");
}

static int hostile(struct err *err, const char *path, const char *why)
{
	return err_set(err, ERR_INVALID, "refusing the layer: entry \"%.200s\" %s", path, why);
}

/* ---- the two streams -------------------------------------------------------------------- */

static la_ssize_t inner_read(struct archive *a, void *arg, const void **ret)
{
	struct inner *in = arg;
	la_ssize_t n = archive_read_data(in->outer, in->buf, sizeof(in->buf));
	if (n < 0) {
		const char *why = archive_error_string(in->outer);
		archive_set_error(a, EINVAL, "%s", why ? why : "damaged compression");
		return ARCHIVE_FATAL;
	}
	if ((uint64_t)n > in->left) {
		archive_set_error(a, EFBIG, "unpacks to more than the limit");
		return ARCHIVE_FATAL;
	}
	in->left -= (uint64_t)n;
	hash_add(in->hash, in->buf, (size_t)n);
	*ret = in->buf;
	return n;
}

/* Opens the (de)compressed bytes as one "raw" member. *ret_empty: there is nothing at all. */
static int outer_open(struct archive *a, struct range *blob, bool *ret_empty, struct err *err)
{
	struct archive_entry *e;
	archive_read_support_filter_gzip(a);
	archive_read_support_filter_zstd(a);
	archive_read_support_format_raw(a);
	archive_read_support_format_empty(a);
	int rc = range_archive_open(a, blob, err);
	if (rc < 0)
		return err_wrap(err, rc, "damaged layer");
	rc = archive_read_next_header(a, &e);
	*ret_empty = rc == ARCHIVE_EOF;
	if (rc != ARCHIVE_OK && rc != ARCHIVE_EOF)
		return err_set(err, ERR_INVALID, "damaged layer: %s",
			       archive_error_string(a) ? archive_error_string(a) : "unreadable");
	return 0;
}

static int tar_err(struct archive *a, struct err *err)
{
	const char *why = archive_error_string(a);
	return err_set(err, ERR_INVALID, "damaged layer: %s", why ? why : "unreadable");
}

/* ---- paths ------------------------------------------------------------------------------ */

int layer_path_clean(const char *path, char **ret)
{
	auto_strbuf b = {0};
	for (const char *s = path; *s;) {
		size_t n = strcspn(s, "/");
		if (n == 2 && s[0] == '.' && s[1] == '.')
			return -EINVAL;
		if (n > NAME_MAX)
			return -EINVAL;
		if (n > 0 && !(n == 1 && s[0] == '.')) {
			if (b.len > 0)
				strbuf_addc(&b, '/');
			strbuf_add(&b, s, n);
		}
		s += n + (s[n] == '/');
	}
	if (b.len >= PATH_MAX)
		return -EINVAL;
	*ret = strbuf_steal(&b);
	return 0;
}

static const char *base_of(const char *path)
{
	const char *slash = strrchr(path, '/');
	return slash ? slash + 1 : path;
}

/* Markers of old storage drivers (".wh..wh.plnk", ...) mean nothing to us. */
static bool is_foreign_marker(const char *path)
{
	for (const char *s = path; *s; s += strcspn(s, "/"), s += *s == '/')
		if (str_starts(s, WHITEOUT_META) && strcmp(base_of(path), WHITEOUT_OPAQUE) != 0)
			return true;
	return false;
}

/* A whiteout may only be the last piece of a path. */
static bool has_inner_whiteout(const char *path)
{
	for (const char *s = path, *slash; (slash = strchr(s, '/')); s = slash + 1)
		if (str_starts(s, WHITEOUT))
			return true;
	return false;
}

/* ---- one entry -------------------------------------------------------------------------- */

/* overlay's own attributes and everything trusted must not come from strangers. */
static bool xattr_ok(const char *name)
{
	return streq(name, "security.capability") ||
	       (str_starts(name, "user.") && !str_starts(name, "user.overlay."));
}

static void xattrs_take(struct archive_entry *ae, struct layer_entry *e)
{
	const char *name;
	const void *value;
	size_t len;
	archive_entry_xattr_reset(ae);
	while (e->n_xattrs < ARRAY_SIZE(e->xattrs) &&
	       archive_entry_xattr_next(ae, &name, &value, &len) == ARCHIVE_OK)
		if (name && xattr_ok(name))
			e->xattrs[e->n_xattrs++] = (struct xattr){name, value, len};
}

/* The devices that every container gets from its runtime anyway; old base images ship them. */
static bool is_standard_device(const char *path, mode_t type, dev_t dev)
{
	static const unsigned char known[][2] = {{1, 3}, {1, 5}, {1, 7}, {1, 8},
						 {1, 9}, {5, 0}, {5, 1}, {5, 2}};
	if (type != AE_IFCHR || !str_starts(path, "dev/"))
		return false;
	for (size_t i = 0; i < ARRAY_SIZE(known); i++)
		if (major(dev) == known[i][0] && minor(dev) == known[i][1])
			return true;
	return false;
}

/* 1: hand on; 0: leave out; <0: refuse. */
static int kind_of(struct archive_entry *ae, struct layer_entry *e, struct err *err)
{
	if (archive_entry_hardlink(ae)) {
		e->kind = ENTRY_HARDLINK;
		return 1;
	}
	mode_t type = archive_entry_filetype(ae);
	dev_t dev = archive_entry_rdev(ae);
	switch (type) {
	case AE_IFREG:
		e->kind = ENTRY_FILE;
		return 1;
	case AE_IFDIR:
		e->kind = ENTRY_DIR;
		return 1;
	case AE_IFLNK:
		e->kind = ENTRY_SYMLINK;
		return 1;
	case AE_IFIFO:
		e->kind = ENTRY_FIFO;
		return 1;
	case AE_IFCHR:
	case AE_IFBLK:
		e->kind = ENTRY_WHITEOUT;
		if (type == AE_IFCHR && dev == 0)
			return 1;
		if (is_standard_device(e->path, type, dev))
			return 0;
		return hostile(err, e->path, "is a device node");
	default:
		return hostile(err, e->path, "is of an unknown type");
	}
}

/* ".wh.NAME" turns into the hidden name, ".wh..wh..opq" into its directory. path is edited. */
static int whiteout_take(char *path, struct layer_entry *e, struct err *err)
{
	char *base = path + (base_of(path) - path);
	if (!str_starts(base, WHITEOUT))
		return 0;
	if (streq(base, WHITEOUT_OPAQUE)) {
		e->kind = ENTRY_OPAQUE;
		base[base == path ? 0 : -1] = '\0';
		return 0;
	}
	const char *name = base + strlen(WHITEOUT);
	if (!*name || streq(name, ".") || streq(name, ".."))
		return hostile(err, path, "is a malformed whiteout");
	e->kind = ENTRY_WHITEOUT;
	memmove(base, name, strlen(name) + 1);
	return 0;
}

static int link_take(struct archive_entry *ae, struct layer_entry *e, char **ret, struct err *err)
{
	if (e->kind == ENTRY_HARDLINK) {
		if (layer_path_clean(archive_entry_hardlink(ae), ret) < 0 || !**ret)
			return hostile(err, e->path, "is a hard link out of the layer");
	} else if (e->kind == ENTRY_SYMLINK) {
		const char *target = archive_entry_symlink(ae);
		if (str_empty(target) || strlen(target) >= PATH_MAX)
			return hostile(err, e->path, "is a malformed symbolic link");
		*ret = xstrdup(target);
	}
	e->link = *ret;
	return 0;
}

static int size_check(struct walk *w, struct archive_entry *ae, struct layer_entry *e,
		      struct err *err)
{
	if (++w->entries > LAYER_MAX_ENTRIES)
		return err_set(err, ERR_INVALID, "refusing the layer: more than %d entries",
			       LAYER_MAX_ENTRIES);
	if (e->kind != ENTRY_FILE)
		return 0;
	int64_t size = archive_entry_size(ae);
	if (size < 0 || (uint64_t)size > *w->budget)
		return hostile(err, e->path, "unpacks to more than the limit");
	e->size = (uint64_t)size;
	*w->budget -= e->size;
	return 0;
}

static int file_data(struct walk *w, const struct layer_entry *e, struct err *err)
{
	const void *buf;
	size_t len;
	la_int64_t off;
	int rc;
	while ((rc = archive_read_data_block(w->tar, &buf, &len, &off)) == ARCHIVE_OK) {
		if (off < 0 || (uint64_t)off > e->size || len > e->size - (uint64_t)off)
			return hostile(err, e->path, "holds more than it declares");
		int ret = w->sink->data(w->sink, buf, len, (uint64_t)off, err);
		if (ret < 0)
			return ret;
	}
	if (rc != ARCHIVE_EOF)
		return tar_err(w->tar, err);
	return w->sink->file_end(w->sink, err);
}

static int entry_take(struct walk *w, struct archive_entry *ae, struct err *err)
{
	struct layer_entry e = {0};
	auto_free char *path = NULL, *link = NULL;
	const char *raw = archive_entry_pathname(ae);
	if (!raw)
		raw = archive_entry_pathname_utf8(ae);
	if (!raw)
		return hostile(err, "?", "has an unreadable name");
	if (layer_path_clean(raw, &path) < 0)
		return hostile(err, raw, "points out of the layer or is too long");
	e.path = path;
	if (is_foreign_marker(path))
		return 0;
	if (has_inner_whiteout(path))
		return hostile(err, path, "lies below a whiteout");
	int rc = kind_of(ae, &e, err);
	if (rc <= 0)
		return rc;
	if (whiteout_take(path, &e, err) < 0 || link_take(ae, &e, &link, err) < 0 ||
	    size_check(w, ae, &e, err) < 0)
		return -EINVAL;
	if (!*path && e.kind != ENTRY_DIR && e.kind != ENTRY_OPAQUE)
		return hostile(err, raw, "would replace the root directory");
	e.mode = archive_entry_perm(ae) & 07777;
	e.uid = (uid_t)archive_entry_uid(ae);
	e.gid = (gid_t)archive_entry_gid(ae);
	e.mtime.tv_sec = archive_entry_mtime(ae);
	e.mtime.tv_nsec = archive_entry_mtime_nsec(ae);
	xattrs_take(ae, &e);
	rc = w->sink->entry(w->sink, &e, err);
	if (rc < 0 || e.kind != ENTRY_FILE)
		return rc;
	return file_data(w, &e, err);
}

/* ---- the walk --------------------------------------------------------------------------- */

static int entries_walk(struct walk *w, struct err *err)
{
	struct archive_entry *ae;
	int rc;
	while ((rc = archive_read_next_header(w->tar, &ae)) != ARCHIVE_EOF) {
		/* A warning is about names in other character sets: the raw name serves. */
		if (rc != ARCHIVE_OK && rc != ARCHIVE_WARN)
			return tar_err(w->tar, err);
		int ret = entry_take(w, ae, err);
		if (ret < 0)
			return ret;
	}
	return 0;
}

/* What follows the last entry (padding) is part of the digest. */
static int inner_finish(struct inner *in, struct err *err)
{
	la_ssize_t n;
	while ((n = archive_read_data(in->outer, in->buf, sizeof(in->buf))) > 0) {
		if ((uint64_t)n > in->left)
			return err_set(err, ERR_INVALID, "damaged layer: endless padding");
		in->left -= (uint64_t)n;
		hash_add(in->hash, in->buf, (size_t)n);
	}
	return n < 0 ? tar_err(in->outer, err) : 0;
}

static int inner_walk(struct inner *in, struct walk *w, struct err *err)
{
	auto_clean(archive) struct archive *tar = archive_read_new();
	w->tar = tar;
	archive_read_support_format_tar(tar);
	archive_read_support_format_empty(tar);
	if (archive_read_open(tar, in, NULL, inner_read, NULL) != ARCHIVE_OK)
		return tar_err(tar, err);
	int rc = entries_walk(w, err);
	return rc < 0 ? rc : inner_finish(in, err);
}

int layer_walk(struct range *blob, struct layer_sink *sink, uint64_t *budget,
	       char diff_id[static 65], struct err *err)
{
	auto_clean(archive) struct archive *outer = archive_read_new();
	auto_clean(hash) struct hash *hash = hash_new();
	auto_free struct inner *in = xmalloc(sizeof(*in));
	struct walk w = {.sink = sink, .budget = budget};
	bool empty = false;
	int rc = outer_open(outer, blob, &empty, err);
	if (rc < 0)
		return rc;
	in->outer = outer;
	in->hash = hash;
	/* Headers and padding come on top of the contents. */
	in->left = *budget + *budget / 2 + (UINT64_C(64) << 20);
	if (!empty)
		rc = inner_walk(in, &w, err);
	if (rc == 0)
		hash_hex(hash, diff_id);
	return rc;
}
