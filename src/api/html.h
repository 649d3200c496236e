/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Private to api: links of a proxied page. What is on the same host as the page goes below the
 * proxy's path, as Location does; upstream's proxy transport does the same.
 *
 * The page comes and goes in pieces. What is held is one tag that is not complete, at most
 * HTML_HELD_MAX; a longer one passes as it is.
 */
#ifndef CORACLE_SRC_API_HTML_H
#define CORACLE_SRC_API_HTML_H

#include <coracle/base.h>

#define HTML_HELD_MAX (64u * 1024)

struct html;
/* rewrite: a new string, or NULL to leave the link alone. */
typedef char *html_rewrite_fn(void *arg, const char *link);
struct html *html_new(html_rewrite_fn *rewrite, void *arg);
void html_free(struct html *h);
/* Appends to out what can be told of the page so far. */
void html_feed(struct html *h, const char *data, size_t len, struct strbuf *out);
/* The page has ended: what was held is appended. */
void html_end(struct html *h, struct strbuf *out);

#endif
