/* SPDX-License-Identifier: Apache-2.0 */
#include "html.h"

#include <strings.h>

#define NAME_MAX_LEN 16 /* no element with links, or of raw text, has a longer name */
#define LINK_MAX 8192

enum mode {
	MODE_TEXT,
	MODE_COMMENT, /* up to "-->" */
	MODE_MARKUP,  /* up to ">": a declaration, an end tag, or a tag too long to hold */
	MODE_RAW,     /* up to the end tag of the element in h->raw */
};

struct html {
	html_rewrite_fn *rewrite;
	void *arg;
	enum mode mode;
	struct strbuf held;
	char raw[NAME_MAX_LEN];
};

/* Attributes that are links: HTML 4's index of attributes, and those that came later. */
static const struct {
	const char *element, *attributes;
} links[] = {
	{"a", "href"},
	{"applet", "codebase"},
	{"area", "href"},
	{"audio", "src"},
	{"base", "href"},
	{"blockquote", "cite"},
	{"body", "background"},
	{"button", "formaction"},
	{"command", "icon"},
	{"del", "cite"},
	{"embed", "src"},
	{"form", "action"},
	{"frame", "longdesc src"},
	{"head", "profile"},
	{"html", "manifest"},
	{"iframe", "longdesc src"},
	{"img", "longdesc src usemap"},
	{"input", "src usemap formaction"},
	{"ins", "cite"},
	{"link", "href"},
	{"object", "classid codebase data usemap"},
	{"q", "cite"},
	{"script", "src"},
	{"source", "src"},
	{"video", "poster src"},
};
static const char *const raw_elements[] = {"iframe", "noembed",	 "noframes", "script",
					   "style",  "textarea", "title",    "xmp"};

struct html *html_new(html_rewrite_fn *rewrite, void *arg)
{
	struct html *h = xnew(struct html);

	h->rewrite = rewrite;
	h->arg = arg;
	return h;
}

void html_free(struct html *h)
{
	if (!h)
		return;
	strbuf_done(&h->held);
	free(h);
}

/* ---- tags -------------------------------------------------------------------------------- */

static bool is_space(char c)
{
	return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f';
}

static bool is_letter(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static size_t name_len(const char *s, size_t len)
{
	size_t n = 0;

	while (n < len && !is_space(s[n]) && s[n] != '/' && s[n] != '>' && s[n] != '=')
		n++;
	return n;
}

static bool same_name(const char *s, size_t len, const char *name)
{
	return strlen(name) == len && strncasecmp(s, name, len) == 0;
}

/* Is the word one of the space-separated list? */
static bool in_list(const char *list, const char *word, size_t len)
{
	for (const char *s = list; *s;) {
		size_t n = strcspn(s, " ");

		if (n == len && strncasecmp(s, word, n) == 0)
			return true;
		s += n + (s[n] == ' ');
	}
	return false;
}

static const char *link_attributes(const char *element, size_t len)
{
	for (size_t i = 0; i < ARRAY_SIZE(links); i++)
		if (same_name(element, len, links[i].element))
			return links[i].attributes;
	return NULL;
}

static void put_link(struct html *h, const char *value, size_t len, struct strbuf *out)
{
	bool good = len < LINK_MAX && !memchr(value, 0, len);
	auto_free char *link = good ? xstrndup(value, len) : NULL;
	auto_free char *other = link ? h->rewrite(h->arg, link) : NULL;

	if (other)
		strbuf_adds(out, other);
	else
		strbuf_add(out, value, len);
}

/* The value at s: its length, with *quote the length of the quote on either side. */
static size_t value_len(const char *s, size_t len, size_t *quote)
{
	size_t n = 0;

	*quote = len && (*s == '"' || *s == '\'');
	if (*quote) {
		const char *end = memchr(s + 1, *s, len - 1);

		return end ? (size_t)(end - s - 1) : len - 1;
	}
	while (n < len && !is_space(s[n]) && s[n] != '>')
		n++;
	return n;
}

/* One attribute at s, with what separates it from the next; returns how much that is. */
static size_t put_attribute(struct html *h, const char *wanted, const char *s, size_t len,
			    struct strbuf *out)
{
	size_t name = name_len(s, len), at = name, quote, n;

	if (name == 0) {
		strbuf_add(out, s, 1);
		return 1;
	}
	while (at < len && is_space(s[at]))
		at++;
	if (at == len || s[at] != '=') {
		strbuf_add(out, s, at);
		return at;
	}
	for (at++; at < len && is_space(s[at]);)
		at++;
	n = value_len(s + at, len - at, &quote);
	strbuf_add(out, s, at + quote);
	if (in_list(wanted, s, name))
		put_link(h, s + at + quote, n, out);
	else
		strbuf_add(out, s + at + quote, n);
	at += quote + n;
	if (quote && at < len) {
		strbuf_addc(out, s[at]);
		at++;
	}
	return at;
}

/* A whole start tag, from "<" to ">". */
static void put_tag(struct html *h, const char *tag, size_t len, struct strbuf *out)
{
	size_t name = name_len(tag + 1, len - 1), at = 1 + name;
	const char *wanted = link_attributes(tag + 1, name);

	for (size_t i = 0; i < ARRAY_SIZE(raw_elements); i++)
		if (same_name(tag + 1, name, raw_elements[i])) {
			snprintf(h->raw, sizeof(h->raw), "%s", raw_elements[i]);
			h->mode = MODE_RAW;
		}
	if (!wanted) {
		strbuf_add(out, tag, len);
		return;
	}
	strbuf_add(out, tag, at);
	while (at < len)
		at += put_attribute(h, wanted, tag + at, len - at, out);
}

/* ---- the page ---------------------------------------------------------------------------- */

/* Length of the start tag at s, with ">"; 0: it is not complete. A ">" in quotes is text. */
static size_t tag_len(const char *s, size_t len)
{
	char quote = 0, before = 0;

	for (size_t i = 1; i < len; i++) {
		char c = s[i];

		if (quote)
			quote = c == quote ? 0 : quote;
		else if (c == '>')
			return i + 1;
		else if ((c == '"' || c == '\'') && before == '=')
			quote = c;
		if (!is_space(c))
			before = c;
	}
	return 0;
}

/* Up to and with the end mark of a comment or of markup; 0: not there yet, *keep of it may begin
 * it. */
static size_t find_end(const struct html *h, const char *s, size_t len, size_t *keep)
{
	const char *mark = h->mode == MODE_COMMENT ? "-->" : ">";
	size_t n = strlen(mark);
	const char *found = memmem(s, len, mark, n);

	*keep = len < n - 1 ? len : n - 1;
	return found ? (size_t)(found - s) + n : 0;
}

/* Up to, without, the end tag of raw text; *keep as above. len: it is not there. */
static size_t find_raw_end(const struct html *h, const char *s, size_t len, size_t *keep)
{
	size_t n = strlen(h->raw);

	for (size_t i = 0; i < len; i++) {
		if (s[i] != '<')
			continue;
		if (len - i < n + 3) {
			*keep = len - i;
			return len;
		}
		if (s[i + 1] == '/' && strncasecmp(s + i + 2, h->raw, n) == 0 &&
		    (is_space(s[i + 2 + n]) || s[i + 2 + n] == '/' || s[i + 2 + n] == '>')) {
			*keep = 0;
			return i;
		}
	}
	*keep = 0;
	return len;
}

/* What begins at the "<" at s. Returns how much was taken, 0: more is needed. */
static size_t step_markup(struct html *h, const char *s, size_t len, bool last, struct strbuf *out)
{
	size_t n;

	if (len < 4 && !last)
		return 0;
	if (len >= 2 && is_letter(s[1])) {
		n = tag_len(s, len);
		if (n) {
			put_tag(h, s, n, out);
			return n;
		}
		if (len <= HTML_HELD_MAX && !last)
			return 0;
		h->mode = MODE_MARKUP;
	} else if (len >= 4 && memcmp(s, "<!--", 4) == 0) {
		h->mode = MODE_COMMENT;
	} else if (len >= 2 && (s[1] == '/' || s[1] == '!' || s[1] == '?')) {
		h->mode = MODE_MARKUP;
	}
	strbuf_add(out, s, 1);
	return 1;
}

/* Takes something from the beginning of s; 0: more is needed. */
static size_t step(struct html *h, const char *s, size_t len, bool last, struct strbuf *out)
{
	size_t n, keep = 0;

	if (h->mode == MODE_TEXT) {
		const char *less = memchr(s, '<', len);

		if (less == s)
			return step_markup(h, s, len, last, out);
		n = less ? (size_t)(less - s) : len;
	} else if (h->mode == MODE_RAW) {
		n = find_raw_end(h, s, len, &keep);
		if (n < len)
			h->mode = MODE_TEXT;
		if (n == 0)
			return step_markup(h, s, len, last, out);
		n -= last ? 0 : keep;
	} else {
		n = find_end(h, s, len, &keep);
		if (n)
			h->mode = MODE_TEXT;
		else
			n = last ? len : len - keep;
	}
	strbuf_add(out, s, n);
	return n;
}

static void run(struct html *h, bool last, struct strbuf *out)
{
	size_t at = 0, n = 1;

	while (at < h->held.len && n) {
		n = step(h, h->held.s + at, h->held.len - at, last, out);
		at += n;
	}
	h->held.len -= at;
	if (h->held.len)
		memmove(h->held.s, h->held.s + at, h->held.len);
}

void html_feed(struct html *h, const char *data, size_t len, struct strbuf *out)
{
	strbuf_add(&h->held, data, len);
	run(h, false, out);
}

void html_end(struct html *h, struct strbuf *out)
{
	run(h, true, out);
}
