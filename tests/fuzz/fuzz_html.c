/* SPDX-License-Identifier: Apache-2.0 */
/*
 * html: a page whose links are left as they are comes out as it went in, however it is cut. Cut by
 * its first byte; a rewriter that always changes a link gives the same in pieces as in one.
 */
#include "../../src/api/html.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char *same(void *arg UNUSED, const char *link UNUSED)
{
	return NULL;
}

static char *other(void *arg UNUSED, const char *link)
{
	return xasprintf("/p%s", link);
}

static void pass(html_rewrite_fn *rewrite, const char *page, size_t len, size_t piece,
		 struct strbuf *out)
{
	struct html *h = html_new(rewrite, NULL);

	for (size_t at = 0; at < len; at += piece)
		html_feed(h, page + at, len - at < piece ? len - at : piece, out);
	html_end(h, out);
	html_free(h);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	auto_strbuf kept = {0}, whole = {0}, cut = {0};
	const char *page = (const char *)data + 1;

	if (size < 2 || size > HTML_HELD_MAX)
		return 0;
	pass(same, page, size - 1, data[0] + 1U, &kept);
	if (kept.len != size - 1 || memcmp(kept.s, page, kept.len) != 0)
		abort();
	pass(other, page, size - 1, size, &whole);
	pass(other, page, size - 1, data[0] + 1U, &cut);
	if (whole.len != cut.len || memcmp(whole.s, cut.s, cut.len) != 0)
		abort();
	return 0;
}
