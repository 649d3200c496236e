/* SPDX-License-Identifier: Apache-2.0 */
/* html: links of pages, by table, in every cutting. */
#include <coracle/base.h>
#include <setjmp.h>
#include <cmocka.h>

#include "../../src/api/html.h"
#include "../../src/api/proxy.h"

static char *below_proxy(void *arg UNUSED, const char *link)
{
	return proxy_location(link, "/p/proxy", "10.42.0.5:80", "api:6443");
}

static const struct {
	const char *page, *want;
} pages[] = {
	{"<a href=\"/x\">y</a>", "<a href=\"/p/proxy/x\">y</a>"},
	{"<A class=b HREF = '/x?a=1&amp;b' id=c>",
	 "<A class=b HREF = '/p/proxy/x?a=1&amp;b' id=c>"},
	{"<img src=/x><img src=/y/>", "<img src=/p/proxy/x><img src=/p/proxy/y/>"},
	{"<a href=x><a href=\"//else/x\"><a href>", "<a href=x><a href=\"//else/x\"><a href>"},
	{"<a href=\"http://10.42.0.5:80/x\">", "<a href=\"/p/proxy/x\">"},
	{"<a href=\"/p/proxy/x\"><p href=\"/x\">", "<a href=\"/p/proxy/x\"><p href=\"/x\">"},
	{"<script src=\"/s.js\">\"<a href='/x'>\" </scrip></script><a href=/x>",
	 "<script src=\"/p/proxy/s.js\">\"<a href='/x'>\" </scrip></script><a href=/p/proxy/x>"},
	{"<!-- <a href='/x'> > --><q cite='/x'>", "<!-- <a href='/x'> > --><q cite='/p/proxy/x'>"},
	{"<a title=\"a>b\" href=\"/x\">", "<a title=\"a>b\" href=\"/p/proxy/x\">"},
	{"1 < 2 <a href=\"/x\"", "1 < 2 <a href=\"/x\""},
	{"<!DOCTYPE html><?x href='/x'></a href='/x'><",
	 "<!DOCTYPE html><?x href='/x'></a href='/x'><"},
	{"<title><a href='/x'>", "<title><a href='/x'>"},
	{"<a href=\"/x\"src=\"/y\"><frame src='/a'longdesc='/b'>",
	 "<a href=\"/p/proxy/x\"src=\"/y\"><frame src='/p/proxy/a'longdesc='/p/proxy/b'>"},
};

/* Every page in one piece, and cut at every place. */
static void test_pages(void **state UNUSED)
{
	for (size_t i = 0; i < ARRAY_SIZE(pages); i++) {
		const char *page = pages[i].page;
		size_t len = strlen(page);

		for (size_t cut = 0; cut <= len; cut++) {
			struct html *h = html_new(below_proxy, NULL);
			auto_strbuf out = {0};

			html_feed(h, page, cut, &out);
			html_feed(h, page + cut, len - cut, &out);
			html_end(h, &out);
			html_free(h);
			assert_string_equal(out.s, pages[i].want);
		}
	}
}

/* What does not end is not held for ever. */
static void test_endless_tag(void **state UNUSED)
{
	enum { PIECE = 1000 };
	char piece[PIECE];
	struct html *h = html_new(below_proxy, NULL);
	auto_strbuf out = {0};
	size_t fed = 3;

	memset(piece, 'x', sizeof(piece));
	html_feed(h, "<a ", 3, &out);
	for (; fed < 4 * HTML_HELD_MAX; fed += PIECE) {
		html_feed(h, piece, sizeof(piece), &out);
		assert_true(fed + PIECE - out.len <= HTML_HELD_MAX + PIECE);
	}
	html_end(h, &out);
	assert_int_equal(out.len, fed);
	html_free(h);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_pages),
		cmocka_unit_test(test_endless_tag),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
