/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Container logs as the Container Runtime Interface lays them down: one line
 * "<RFC 3339 time, nanoseconds> <stdout|stderr> <F|P> <text>"; P marks a piece whose line goes on.
 * Source: kubernetes/design-proposals kubelet-cri-logging.md.
 */
#include "sandbox.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

enum { BATCH_LINES = 32, IOV_PER_LINE = 3 };

static void log_reopen(struct log_file *l)
{
	struct stat st;

	l->fd = open(l->path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0640);
	l->size = l->fd >= 0 && fstat(l->fd, &st) == 0 ? (uint64_t)st.st_size : 0;
}

void log_open(struct log_file *l, const char *path, uint64_t max)
{
	char *slash = strrchr(path, '/');

	l->path = xstrdup(path);
	l->max = max;
	if (slash) {
		auto_free char *dir = xstrndup(path, (size_t)(slash - path));
		if (mkdir_p(dir, 0755) < 0)
			log_debug("%s: cannot be made", dir);
	}
	log_reopen(l);
}

void log_close(struct log_file *l)
{
	l->fd = fd_close(l->fd);
	free(steal_ptr(l->path));
}

/* "0.log" becomes "0.log.1", which was the older one. */
static void log_rotate(struct log_file *l)
{
	auto_free char *older = xasprintf("%s.1", l->path);

	l->fd = fd_close(l->fd);
	if (rename(l->path, older) < 0)
		unlink(l->path);
	log_reopen(l);
}

static void log_write_batch(struct log_file *l, struct iovec *iov, int n)
{
	size_t len = 0;

	for (int i = 0; i < n; i++)
		len += iov[i].iov_len;
	if (l->size > 0 && l->size + len > l->max)
		log_rotate(l);
	if (l->fd < 0)
		log_reopen(l);
	ssize_t done = l->fd < 0 ? -1 : writev(l->fd, iov, n);
	if (done > 0)
		l->size += (uint64_t)done;
	/* A full disk may cut a line: take its piece back, the next one starts clean. */
	if (done >= 0 && (size_t)done < len && l->size >= (uint64_t)done &&
	    ftruncate(l->fd, (off_t)(l->size - (uint64_t)done)) == 0)
		l->size -= (uint64_t)done;
}

void log_append(struct log_file *l, const char *stream, const char *data, size_t len)
{
	char head[2][TIME_RFC3339_MAX + 16], stamp[TIME_RFC3339_MAX];
	struct iovec iov[BATCH_LINES * IOV_PER_LINE];
	struct timespec now;
	int n = 0;

	clock_gettime(CLOCK_REALTIME, &now);
	time_format_nano(stamp, now);
	snprintf(head[0], sizeof(head[0]), "%s %s P ", stamp, stream);
	snprintf(head[1], sizeof(head[1]), "%s %s F ", stamp, stream);
	while (len > 0) {
		const char *nl = memchr(data, '\n', len);
		size_t text = nl ? (size_t)(nl - data) : len, used = nl ? text + 1 : text;

		iov[n++] = (struct iovec){head[nl != NULL], strlen(head[nl != NULL])};
		iov[n++] = (struct iovec){(void *)(uintptr_t)data, text};
		iov[n++] = (struct iovec){(void *)(uintptr_t) "\n", 1};
		data += used;
		len -= used;
		if (len == 0 || n == (int)ARRAY_SIZE(iov)) {
			log_write_batch(l, iov, n);
			n = 0;
		}
	}
}
