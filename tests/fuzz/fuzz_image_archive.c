/* SPDX-License-Identifier: Apache-2.0 */
/* A whole image archive, walked down to the last entry of its layers without writing them. */
#include "record.h"
#include "worker/worker.h"
#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { MAX_BYTES = 8 << 20 };

static int entry(struct layer_sink *s, const struct layer_entry *e, struct err *err)
{
	(void)s;
	(void)err;
	/* What the walk lets through is clean. */
	if (e->path[0] == '/' || strstr(e->path, "//") || str_starts(e->path, "../") ||
	    strstr(e->path, "/../") || str_ends(e->path, "/.."))
		abort();
	return 0;
}

static int data_in(struct layer_sink *s, const void *buf, size_t len, uint64_t off, struct err *err)
{
	(void)s;
	(void)buf;
	(void)err;
	if (len > MAX_BYTES || off > MAX_BYTES)
		abort();
	return 0;
}

static int file_end(struct layer_sink *s, struct err *err)
{
	(void)s;
	(void)err;
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct layer_sink sink = {entry, data_in, file_end};
	uint64_t budget = MAX_BYTES;
	char diff_id[65];
	auto_err as_image = {0}, as_layer = {0};
	auto_fd int fd = memfd_create("fuzz", MFD_CLOEXEC);
	if (fd < 0 || write(fd, data, size) != (ssize_t)size)
		return 0;
	worker_locale_init();
	(void)!load_check(fd, "/tmp", MAX_BYTES, &as_image);
	struct range all = {fd, 0, size};
	(void)!layer_walk(&all, &sink, &budget, diff_id, &as_layer);
	return 0;
}
