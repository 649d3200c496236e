/* SPDX-License-Identifier: Apache-2.0 */
/* Log files: containers choose their lines, and a power cut may end one anywhere. */
#include "src/node/crilog.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void feed(struct crilog_filter f, const char *data, size_t size, size_t piece)
{
	auto_strbuf out = {0};

	for (size_t i = 0; i < size; i += piece)
		if (!crilog_feed(&f, data + i, size - i < piece ? size - i : piece, &out))
			break;
	if (out.len > 2 * size)
		abort(); /* every output byte stands in the file, or ends a line of it */
	crilog_done(&f);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *text = (const char *)data;
	int64_t found;

	for (int64_t n = 0; n < 4; n++)
		if (crilog_tail(text, size, n, &found) > size || found > n)
			abort();
	feed((struct crilog_filter){.limit = -1}, text, size, size ? size : 1);
	feed((struct crilog_filter){.limit = -1, .timestamps = true, .since_set = true}, text, size,
	     7);
	feed((struct crilog_filter){.limit = 5}, text, size, 3);
	return 0;
}
