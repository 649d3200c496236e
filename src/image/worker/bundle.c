/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The files of an image archive, by name, in any order. Of a plain tar in a regular file only the
 * places are noted; what is compressed or comes through a pipe is spooled once to a nameless file.
 */
#include "worker.h"
#include <archive.h>
#include <archive_entry.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { MAX_LINK_HOPS = 8, CHUNK = 64 * 1024 };

struct member {
	uint64_t off, len;
	char *link; /* clean path of another member, or NULL */
};

struct bundle {
	int fd; /* borrowed: the archive or the directory */
	bool is_dir;
	int spool; /* -1: members lie in fd */
	uint64_t spool_len, spool_max;
	struct map members;
	int *open_fds;
	size_t n_open;
};

/* ---- reading an archive ----------------------------------------------------------------- */

static int damaged(struct archive *a, struct err *err)
{
	const char *why = archive_error_string(a);
	return err_set(err, ERR_INVALID, "damaged archive: %s", why ? why : "unreadable");
}

static int spool_write(struct bundle *b, const void *buf, size_t len, uint64_t at, struct err *err)
{
	const char *p = buf;
	while (len > 0) {
		ssize_t n = pwrite(b->spool, p, len, (off_t)at);
		if (n < 0 && (errno == ENOSPC || errno == EDQUOT))
			return err_set(err, ERR_INSUFFICIENT_STORAGE,
				       "cannot unpack the archive: no space left on device");
		if (n < 0)
			return err_errno(err, errno, "cannot unpack the archive");
		p += n;
		at += (uint64_t)n;
		len -= (size_t)n;
	}
	return 0;
}

static int member_spool(struct bundle *b, struct archive *a, struct member *m, struct err *err)
{
	const void *buf;
	size_t len;
	la_int64_t off;
	int rc;
	m->off = b->spool_len;
	while ((rc = archive_read_data_block(a, &buf, &len, &off)) == ARCHIVE_OK) {
		uint64_t end = (uint64_t)off + len;
		if (off < 0 || end > b->spool_max - b->spool_len)
			return err_set(err, ERR_INVALID,
				       "refusing the archive: it unpacks to more than the limit");
		int ret = spool_write(b, buf, len, m->off + (uint64_t)off, err);
		if (ret < 0)
			return ret;
		if (end > m->len)
			m->len = end;
	}
	b->spool_len += m->len;
	return rc == ARCHIVE_EOF ? 0 : damaged(a, err);
}

/* A symbolic link's target from where the link is, without leaving the archive; NULL: it would. */
static char *link_resolve(const char *name, const char *target)
{
	auto_strv parts = {0};
	const char *slash = strrchr(name, '/');
	auto_free char *joined =
		xasprintf("%.*s/%s", slash ? (int)(slash - name) : 0, name, target);
	auto_strv pieces = {0};
	auto_strbuf b = {0};
	strv_split(&pieces, joined, '/');
	for (size_t i = 0; i < pieces.n; i++) {
		if (streq(pieces.v[i], "."))
			continue;
		if (!streq(pieces.v[i], "..")) {
			strv_add(&parts, pieces.v[i]);
			continue;
		}
		if (parts.n == 0)
			return NULL;
		free(parts.v[--parts.n]);
		parts.v[parts.n] = NULL;
	}
	for (size_t i = 0; i < parts.n; i++)
		strbuf_addf(&b, "%s%s", i ? "/" : "", parts.v[i]);
	return strbuf_steal(&b);
}

static int member_take(struct bundle *b, struct archive *a, struct archive_entry *ae,
		       struct member *m, const char *name, struct err *err)
{
	if (archive_entry_hardlink(ae))
		return layer_path_clean(archive_entry_hardlink(ae), &m->link);
	if (archive_entry_filetype(ae) == AE_IFLNK) {
		m->link = link_resolve(name, archive_entry_symlink(ae));
		return m->link ? 0 : -EINVAL;
	}
	if (b->spool >= 0)
		return member_spool(b, a, m, err);
	m->off = (uint64_t)archive_filter_bytes(a, 0);
	m->len = (uint64_t)archive_entry_size(ae);
	return 0;
}

static void member_free(struct member *m)
{
	if (m)
		free(m->link);
	free(m);
}

static int entry_take(struct bundle *b, struct archive *a, struct archive_entry *ae,
		      struct err *err)
{
	auto_free char *name = NULL;
	const char *raw = archive_entry_pathname(ae);
	mode_t type = archive_entry_filetype(ae);
	if (!raw || layer_path_clean(raw, &name) < 0)
		return err_set(err, ERR_INVALID, "refusing the archive: malformed name \"%.200s\"",
			       raw ? raw : "?");
	if (!*name || (type != AE_IFREG && type != AE_IFLNK && !archive_entry_hardlink(ae)))
		return 0;
	if (b->members.n >= ARCHIVE_MAX_MEMBERS)
		return err_set(err, ERR_INVALID, "refusing the archive: more than %d files",
			       ARCHIVE_MAX_MEMBERS);
	struct member *m = xnew(struct member);
	int rc = member_take(b, a, ae, m, name, err);
	if (rc < 0) {
		member_free(m);
		if (err && !err->message)
			err_set(err, ERR_INVALID,
				"refusing the archive: \"%.200s\" links out of it", name);
		return rc;
	}
	member_free(map_put(&b->members, name, m));
	return 0;
}

static int members_read(struct bundle *b, struct archive *a, const char *spool_dir, bool regular,
			struct err *err)
{
	struct archive_entry *ae;
	bool first = true;
	int rc;
	while ((rc = archive_read_next_header(a, &ae)) != ARCHIVE_EOF) {
		if (rc != ARCHIVE_OK && rc != ARCHIVE_WARN)
			return damaged(a, err);
		if (first && (!regular || archive_filter_code(a, 0) != ARCHIVE_FILTER_NONE)) {
			b->spool = open(spool_dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
			if (b->spool < 0)
				return err_errno(err, errno, "cannot unpack the archive");
		}
		first = false;
		rc = entry_take(b, a, ae, err);
		if (rc < 0)
			return rc;
	}
	return 0;
}

static int archive_scan(struct bundle *b, const char *spool_dir, const struct stat *st,
			struct err *err)
{
	auto_clean(archive) struct archive *a = archive_read_new();
	bool regular = S_ISREG(st->st_mode);
	struct range all = {b->fd, 0, (uint64_t)st->st_size};
	archive_read_support_filter_gzip(a);
	archive_read_support_filter_zstd(a);
	archive_read_support_format_tar(a);
	archive_read_support_format_empty(a);
	if (regular) {
		int rc = range_archive_open(a, &all, err);
		if (rc < 0)
			return err_wrap(err, rc, "damaged archive");
	} else if (archive_read_open_fd(a, b->fd, CHUNK) != ARCHIVE_OK) {
		return damaged(a, err);
	}
	return members_read(b, a, spool_dir, regular, err);
}

/* ---- the face --------------------------------------------------------------------------- */

struct bundle *bundle_open(int fd, const char *spool_dir, uint64_t max_bytes, struct err *err)
{
	struct stat st;
	auto_clean(bundle) struct bundle *b = xnew(struct bundle);
	b->fd = fd;
	b->spool = -1;
	b->spool_max = max_bytes;
	if (fstat(fd, &st) < 0) {
		err_errno(err, errno, "cannot read the archive");
		return NULL;
	}
	b->is_dir = S_ISDIR(st.st_mode);
	if (!b->is_dir && archive_scan(b, spool_dir, &st, err) < 0)
		return NULL;
	return steal_ptr(b);
}

static int dir_file_find(struct bundle *b, const char *name, struct range *ret)
{
	struct open_how how = {
		.flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK,
		.resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS,
	};
	struct stat st;
	auto_fd int fd = (int)syscall(SYS_openat2, b->fd, name, &how, sizeof(how));
	if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
		return -ENOENT;
	b->open_fds = xrealloc(b->open_fds, b->n_open + 1, sizeof(int));
	*ret = (struct range){fd, 0, (uint64_t)st.st_size};
	b->open_fds[b->n_open++] = steal_fd(&fd);
	return 0;
}

int bundle_find(struct bundle *b, const char *name, struct range *ret)
{
	if (b->is_dir)
		return dir_file_find(b, name, ret);
	auto_free char *clean = NULL;
	if (layer_path_clean(name, &clean) < 0)
		return -ENOENT;
	const struct member *m = map_get(&b->members, clean);
	for (int hop = 0; m && m->link && hop < MAX_LINK_HOPS; hop++)
		m = map_get(&b->members, m->link);
	if (!m || m->link)
		return -ENOENT;
	*ret = (struct range){b->spool >= 0 ? b->spool : b->fd, m->off, m->len};
	return 0;
}

void bundle_free(struct bundle *b)
{
	size_t i = 0;
	const char *key;
	void *m;
	while (map_next(&b->members, &i, &key, &m))
		member_free(m);
	map_done(&b->members);
	for (size_t n = 0; n < b->n_open; n++)
		fd_close(b->open_fds[n]);
	free(b->open_fds);
	fd_close(b->spool);
	free(b);
}
