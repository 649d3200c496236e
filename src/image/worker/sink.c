/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A layer onto the disk. Every path is opened beneath the layer's directory by openat2(2) with
 * RESOLVE_BENEATH: a link made by the same layer may lead elsewhere inside it, never out of it.
 * Whiteouts take overlayfs' form (kernel Documentation/filesystems/overlayfs.rst).
 */
#include "worker.h"
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

struct dir_time {
	char *path;
	struct timespec mtime;
};

struct disk_sink {
	struct layer_sink face;
	int root; /* borrowed */
	int *lower;
	size_t n_lower;
	char *parent_path; /* what parent_fd is, or NULL */
	int parent_fd;
	int file_fd;
	struct layer_entry file; /* of file_fd; its xattrs borrow from the entry being read */
	struct dir_time *dirs;
	size_t n_dirs, cap_dirs;
};

static int open_beneath(int root, const char *path, uint64_t flags)
{
	struct open_how how = {
		.flags = flags | O_CLOEXEC,
		.resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_XDEV,
	};
	return (int)syscall(SYS_openat2, root, *path ? path : ".", &how, sizeof(how));
}

static int sink_err(struct err *err, int code, const char *path)
{
	switch (code) {
	case ENOSPC:
	case EDQUOT:
		return err_set(err, ERR_INSUFFICIENT_STORAGE,
			       "cannot unpack \"%.200s\": no space left on device", path);
	case EXDEV:
	case ELOOP:
		return err_set(err, ERR_INVALID,
			       "refusing the layer: entry \"%.200s\" goes through a link out of "
			       "the layer",
			       path);
	default:
		return err_set(err, ERR_INVALID, "cannot unpack \"%.200s\": %s", path,
			       strerror(code));
	}
}

/* ---- parents ---------------------------------------------------------------------------- */

static void parent_forget(struct disk_sink *d)
{
	free(d->parent_path);
	d->parent_path = NULL;
	d->parent_fd = fd_close(d->parent_fd);
}

/* A directory that the layer only implies looks as it does in the layers below. */
static void meta_inherit(struct disk_sink *d, int fd, const char *path)
{
	for (size_t i = 0; i < d->n_lower; i++) {
		struct stat st;
		auto_fd int low = open_beneath(d->lower[i], path, O_RDONLY | O_NOFOLLOW);
		if (low < 0 || fstat(low, &st) < 0 || !S_ISDIR(st.st_mode))
			continue;
		if (fchown(fd, st.st_uid, st.st_gid) == 0 && fchmod(fd, st.st_mode & 07777) == 0)
			return;
	}
}

static bool is_whiteout(const struct stat *st)
{
	return S_ISCHR(st->st_mode) && st->st_rdev == 0;
}

static int opaque_set(int fd)
{
	return fsetxattr(fd, "trusted.overlay.opaque", "y", 1, 0) < 0 ? -errno : 0;
}

/* Makes the directory name in at; a whiteout of that name becomes an opaque directory. */
static int dir_make_at(int at, const char *name, int *ret_fd)
{
	struct stat st;
	bool opaque = fstatat(at, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && is_whiteout(&st);
	if (opaque && unlinkat(at, name, 0) < 0)
		return -errno;
	if (mkdirat(at, name, 0755) < 0 && errno != EEXIST)
		return -errno;
	auto_fd int fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	int rc = opaque ? opaque_set(fd) : 0;
	if (rc == 0)
		*ret_fd = steal_fd(&fd);
	return rc;
}

/* Opens the directory path, making what is missing on the way. */
static int dir_open(struct disk_sink *d, const char *path)
{
	int fd = open_beneath(d->root, path, O_RDONLY | O_DIRECTORY);
	if (fd >= 0 || (errno != ENOENT && errno != ENOTDIR))
		return fd < 0 ? -errno : fd;
	int why = -errno;
	const char *slash = strrchr(path, '/');
	auto_free char *up = xstrndup(path, slash ? (size_t)(slash - path) : 0);
	auto_fd int parent = *path ? dir_open(d, up) : why;
	if (parent < 0)
		return parent;
	int rc = dir_make_at(parent, slash ? slash + 1 : path, &fd);
	if (rc < 0)
		return rc;
	meta_inherit(d, fd, path);
	return fd;
}

/* The directory that holds path, borrowed; *ret_base points into path. Only the last one is kept:
 * to replace a directory its own parent has to come here first, so what is kept is never stale. */
static int parent_of(struct disk_sink *d, const char *path, const char **ret_base)
{
	const char *slash = strrchr(path, '/');
	auto_free char *up = xstrndup(path, slash ? (size_t)(slash - path) : 0);
	*ret_base = slash ? slash + 1 : path;
	if (d->parent_path && streq(d->parent_path, up))
		return d->parent_fd;
	parent_forget(d);
	int fd = dir_open(d, up);
	if (fd < 0)
		return fd;
	d->parent_fd = fd;
	d->parent_path = steal_ptr(up);
	return fd;
}

/* ---- replacing -------------------------------------------------------------------------- */

static int tree_remove_at(int at, const char *name)
{
	auto_free char *path = xasprintf("/proc/self/fd/%d/%s", at, name);
	int rc = rm_rf(path);
	return rc < 0 ? rc : 0;
}

/* A later entry of the same name takes the place of an earlier one. */
static int clear_at(int at, const char *name)
{
	if (unlinkat(at, name, 0) == 0 || errno == ENOENT)
		return 0;
	if (errno != EISDIR && errno != EPERM)
		return -errno;
	return tree_remove_at(at, name);
}

/* ---- metadata --------------------------------------------------------------------------- */

static int fd_meta(int fd, const struct layer_entry *e)
{
	/* chown drops set-id bits and capabilities: they come after it. */
	if (fchown(fd, e->uid, e->gid) < 0 || fchmod(fd, e->mode) < 0)
		return -errno;
	for (size_t i = 0; i < e->n_xattrs; i++) {
		const struct xattr *x = &e->xattrs[i];
		if (fsetxattr(fd, x->name, x->value, x->len, 0) < 0 && errno != ENOTSUP)
			return -errno;
	}
	return 0;
}

static int name_meta(int at, const char *name, const struct layer_entry *e)
{
	const struct timespec ts[2] = {{.tv_nsec = UTIME_OMIT}, e->mtime};
	if (fchownat(at, name, e->uid, e->gid, AT_SYMLINK_NOFOLLOW) < 0)
		return -errno;
	if (e->kind != ENTRY_SYMLINK && fchmodat(at, name, e->mode, 0) < 0)
		return -errno;
	return utimensat(at, name, ts, AT_SYMLINK_NOFOLLOW) < 0 ? -errno : 0;
}

static void dir_time_keep(struct disk_sink *d, const struct layer_entry *e)
{
	if (d->n_dirs == d->cap_dirs) {
		d->cap_dirs = d->cap_dirs ? d->cap_dirs * 2 : 64;
		d->dirs = xrealloc(d->dirs, d->cap_dirs, sizeof(*d->dirs));
	}
	d->dirs[d->n_dirs++] = (struct dir_time){xstrdup(e->path), e->mtime};
}

/* ---- the kinds of entries --------------------------------------------------------------- */

static int put_dir(struct disk_sink *d, const struct layer_entry *e)
{
	auto_fd int fd = -1;
	int rc = 0;
	if (*e->path) {
		const char *base;
		struct stat st;
		int at = parent_of(d, e->path, &base);
		if (at < 0)
			return at;
		if (fstatat(at, base, &st, AT_SYMLINK_NOFOLLOW) == 0 && !S_ISDIR(st.st_mode) &&
		    !is_whiteout(&st))
			rc = clear_at(at, base);
		if (rc == 0)
			rc = dir_make_at(at, base, &fd);
	} else {
		fd = open_beneath(d->root, "", O_RDONLY | O_DIRECTORY);
		rc = fd < 0 ? -errno : 0;
	}
	if (rc == 0)
		rc = fd_meta(fd, e);
	if (rc == 0)
		dir_time_keep(d, e);
	return rc;
}

static int put_opaque(struct disk_sink *d, const struct layer_entry *e)
{
	auto_fd int fd = dir_open(d, e->path);
	return fd < 0 ? fd : opaque_set(fd);
}

static int put_file(struct disk_sink *d, int at, const char *base, const struct layer_entry *e)
{
	auto_fd int fd =
		openat(at, base, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0 || (e->size > 0 && ftruncate(fd, (off_t)e->size) < 0))
		return -errno;
	d->file_fd = steal_fd(&fd);
	d->file = *e;
	return 0;
}

static int put_hardlink(struct disk_sink *d, int at, const char *base, const struct layer_entry *e)
{
	const char *slash = strrchr(e->link, '/');
	auto_free char *up = xstrndup(e->link, slash ? (size_t)(slash - e->link) : 0);
	auto_fd int from = open_beneath(d->root, up, O_RDONLY | O_DIRECTORY);
	if (from < 0)
		return -errno;
	return linkat(from, slash ? slash + 1 : e->link, at, base, 0) < 0 ? -errno : 0;
}

static int put_whiteout(int at, const char *base)
{
	struct stat st;
	if (fstatat(at, base, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return mknodat(at, base, S_IFCHR | 0, makedev(0, 0)) < 0 ? -errno : 0;
	/* The layer has the name itself: then it hides the lower one, a directory when opaque. */
	if (!S_ISDIR(st.st_mode))
		return 0;
	auto_fd int fd = openat(at, base, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	return fd < 0 ? -errno : opaque_set(fd);
}

static int put_named(struct disk_sink *d, const struct layer_entry *e)
{
	const char *base;
	int at = parent_of(d, e->path, &base);
	if (at < 0)
		return at;
	if (e->kind == ENTRY_WHITEOUT)
		return put_whiteout(at, base);
	/* "x" as a hard link to "x" changes nothing and must not remove it first. */
	if (e->kind == ENTRY_HARDLINK && streq(e->link, e->path))
		return 0;
	int rc = clear_at(at, base);
	if (rc < 0)
		return rc;
	switch (e->kind) {
	case ENTRY_FILE:
		return put_file(d, at, base, e);
	case ENTRY_HARDLINK:
		return put_hardlink(d, at, base, e);
	case ENTRY_SYMLINK:
		rc = symlinkat(e->link, at, base);
		break;
	case ENTRY_FIFO:
		rc = mkfifoat(at, base, 0600);
		break;
	case ENTRY_DIR:
	case ENTRY_OPAQUE:
	case ENTRY_WHITEOUT:
		return -EINVAL;
	}
	return rc < 0 ? -errno : name_meta(at, base, e);
}

static int disk_entry(struct layer_sink *s, const struct layer_entry *e, struct err *err)
{
	struct disk_sink *d = container_of(s, struct disk_sink, face);
	int rc;
	if (e->kind == ENTRY_DIR)
		rc = put_dir(d, e);
	else if (e->kind == ENTRY_OPAQUE)
		rc = put_opaque(d, e);
	else
		rc = put_named(d, e);
	if (rc == -ENOENT && e->kind == ENTRY_HARDLINK)
		return err_set(err, ERR_INVALID,
			       "refusing the layer: entry \"%.200s\" is a hard link to \"%.200s\", "
			       "which is not in the layer",
			       e->path, e->link);
	return rc < 0 ? sink_err(err, -rc, e->path) : 0;
}

static int disk_data(struct layer_sink *s, const void *buf, size_t len, uint64_t off,
		     struct err *err)
{
	struct disk_sink *d = container_of(s, struct disk_sink, face);
	const char *p = buf;
	while (len > 0) {
		ssize_t n = pwrite(d->file_fd, p, len, (off_t)off);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return sink_err(err, errno, d->file.path);
		p += n;
		off += (uint64_t)n;
		len -= (size_t)n;
	}
	return 0;
}

static int disk_file_end(struct layer_sink *s, struct err *err)
{
	struct disk_sink *d = container_of(s, struct disk_sink, face);
	const struct timespec ts[2] = {{.tv_nsec = UTIME_OMIT}, d->file.mtime};
	int rc = fd_meta(d->file_fd, &d->file);
	if (rc == 0 && futimens(d->file_fd, ts) < 0)
		rc = -errno;
	if (rc < 0)
		rc = sink_err(err, -rc, d->file.path);
	d->file_fd = fd_close(d->file_fd);
	return rc;
}

/* ---- life ------------------------------------------------------------------------------- */

struct disk_sink *disk_sink_new(int root, const struct strv *lower)
{
	struct disk_sink *d = xnew(struct disk_sink);
	d->face = (struct layer_sink){disk_entry, disk_data, disk_file_end};
	d->root = root;
	d->parent_fd = d->file_fd = -1;
	d->lower = xcalloc(lower->n + 1, sizeof(*d->lower));
	for (size_t i = 0; i < lower->n; i++) {
		int fd = open(lower->v[i], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (fd >= 0)
			d->lower[d->n_lower++] = fd;
	}
	return d;
}

struct layer_sink *disk_sink_face(struct disk_sink *d)
{
	return &d->face;
}

int disk_sink_finish(struct disk_sink *d, struct err *err)
{
	for (size_t i = d->n_dirs; i-- > 0;) {
		const struct timespec ts[2] = {{.tv_nsec = UTIME_OMIT}, d->dirs[i].mtime};
		auto_fd int fd = open_beneath(d->root, d->dirs[i].path, O_RDONLY | O_NOFOLLOW);
		if (fd >= 0 && futimens(fd, ts) < 0)
			return sink_err(err, errno, d->dirs[i].path);
	}
	return 0;
}

void disk_sink_free(struct disk_sink *d)
{
	parent_forget(d);
	fd_close(d->file_fd);
	for (size_t i = 0; i < d->n_lower; i++)
		fd_close(d->lower[i]);
	for (size_t i = 0; i < d->n_dirs; i++)
		free(d->dirs[i].path);
	free(d->dirs);
	free(d->lower);
	free(d);
}
