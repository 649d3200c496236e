/* SPDX-License-Identifier: Apache-2.0 */
/* Whole small files, directories, trees. */
#include <coracle/base.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

char *path_join(const char *dir, const char *name)
{
	size_t n = strlen(dir);

	while (n > 1 && dir[n - 1] == '/')
		n--;
	while (*name == '/')
		name++;
	return xasprintf("%.*s%s%s", (int)n, dir, n == 1 && *dir == '/' ? "" : "/", name);
}

int file_read_at(int dirfd, const char *path, size_t max, char **ret, size_t *ret_len)
{
	auto_fd int fd = openat(dirfd, path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	auto_strbuf b = {0};
	char buf[4096];
	ssize_t n;

	if (fd < 0)
		return -errno;
	for (;;) {
		n = read(fd, buf, sizeof(buf));
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			break;
		if (b.len + (size_t)n > max)
			return -EFBIG;
		strbuf_add(&b, buf, (size_t)n);
	}
	if (ret_len)
		*ret_len = b.len;
	*ret = strbuf_steal(&b);
	return 0;
}

int file_read(const char *path, size_t max, char **ret, size_t *ret_len)
{
	return file_read_at(AT_FDCWD, path, max, ret, ret_len);
}

static int write_all(int fd, const char *p, size_t len)
{
	while (len) {
		ssize_t n = write(fd, p, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		p += n;
		len -= (size_t)n;
	}
	return 0;
}

static int sync_parent(const char *path)
{
	auto_free char *dir = xstrdup(path);
	char *slash = strrchr(dir, '/');
	auto_fd int fd = -1;

	if (slash)
		slash[slash == dir] = '\0';
	fd = open(slash ? dir : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return fd < 0 || fsync(fd) < 0 ? -errno : 0;
}

int file_write_atomic(const char *path, const void *data, size_t len, mode_t mode, bool sync)
{
	auto_free char *tmp = xasprintf("%s.tmp", path);
	auto_fd int fd = open(tmp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, mode);
	int r;

	if (fd < 0)
		return -errno;
	r = fchmod(fd, mode) < 0 ? -errno : write_all(fd, data, len);
	if (r == 0 && sync && fsync(fd) < 0)
		r = -errno;
	if (r == 0 && rename(tmp, path) < 0)
		r = -errno;
	if (r < 0) {
		unlink(tmp);
		return r;
	}
	return sync ? sync_parent(path) : 0;
}

int mkdir_p(const char *path, mode_t mode)
{
	auto_free char *copy = xstrdup(path);
	struct stat st;

	for (char *p = copy + 1; *copy; p++) {
		char c = *p;

		if (c != '/' && c != '\0')
			continue;
		*p = '\0';
		if (mkdir(copy, mode) < 0 && errno != EEXIST)
			return -errno;
		*p = c;
		if (!c)
			break;
	}
	if (stat(path, &st) < 0)
		return -errno;
	return S_ISDIR(st.st_mode) ? 0 : -ENOTDIR;
}

/* Empties the directory fd (handed over); dev is the file system it may not leave. */
static int rm_children(int fd, dev_t dev)
{
	auto_dir DIR *d = fdopendir(fd);
	struct dirent *e;
	int r = 0;

	if (!d) {
		r = -errno;
		fd_close(fd);
		return r;
	}
	while ((e = readdir(d))) {
		struct stat st;
		int sub;

		if (streq(e->d_name, ".") || streq(e->d_name, ".."))
			continue;
		if (unlinkat(dirfd(d), e->d_name, 0) == 0)
			continue;
		if (errno != EISDIR && errno != EPERM) {
			r = errno == ENOENT ? r : -errno;
			continue;
		}
		sub = openat(dirfd(d), e->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (sub >= 0 && fstat(sub, &st) == 0 && st.st_dev == dev)
			rm_children(sub, dev);
		else
			fd_close(sub);
		if (unlinkat(dirfd(d), e->d_name, AT_REMOVEDIR) < 0 && errno != ENOENT)
			r = -errno;
	}
	return r;
}

int rm_rf(const char *path)
{
	struct stat st;
	int fd, r;

	if (unlink(path) == 0 || errno == ENOENT)
		return 0;
	fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (fstat(fd, &st) < 0) {
		r = -errno;
		fd_close(fd);
		return r;
	}
	r = rm_children(fd, st.st_dev);
	if (rmdir(path) < 0 && errno != ENOENT)
		return -errno;
	return r;
}
