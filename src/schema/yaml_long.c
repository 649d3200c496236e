/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Long strings as YAML 1.1 scalars: lines as a literal block, one word plain, all else in double
 * quotes. They are not folded, other than short ones, which libyaml writes.
 */
#include "internal.h"

/* Bytes of the character at s that is only written as an escape; 0: it is written as it is. */
static size_t special_len(const unsigned char *s)
{
	if (*s < 0x20 || *s == 0x7f)
		return 1;
	if (s[0] == 0xc2 && s[1] >= 0x80 && s[1] < 0xa0) /* C1, U+0085 */
		return 2;
	if (s[0] == 0xe2 && s[1] == 0x80 && (s[2] == 0xa8 || s[2] == 0xa9)) /* U+2028, U+2029 */
		return 3;
	if (s[0] == 0xef && s[1] == 0xbb && s[2] == 0xbf) /* U+FEFF */
		return 3;
	if (s[0] == 0xef && s[1] == 0xbf && s[2] >= 0xbe) /* U+FFFE, U+FFFF */
		return 3;
	return 0;
}

static unsigned code_of(const unsigned char *s, size_t n)
{
	return n == 1	? s[0]
	       : n == 2 ? (s[0] & 31U) << 6 | (s[1] & 63U)
			: (s[0] & 15U) << 12 | (s[1] & 63U) << 6 | (s[2] & 63U);
}

static bool is_base64(const char *s, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		breathe();
		if (!strchr("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=-_",
			    s[i]))
			return false;
	}
	return true;
}

/* A block scalar takes its indentation from its first line. */
static bool fits_block(const char *s, size_t len)
{
	bool lines = false;

	if (strchr(" \t\n", *s))
		return false;
	for (size_t i = 0; i < len; i++) {
		breathe();
		lines = lines || s[i] == '\n';
		if (s[i] != '\n' && s[i] != '\t' && special_len((const unsigned char *)s + i))
			return false;
	}
	return lines;
}

static void put_block(struct strbuf *b, const char *s, size_t len, size_t indent)
{
	const char *end = s + len;
	bool ended = end[-1] == '\n';

	strbuf_adds(b, !ended ? "|-\n" : end[-2] == '\n' ? "|+\n" : "|\n");
	end -= ended; /* who called writes the last one */
	while (s <= end) {
		const char *newline = memchr(s, '\n', (size_t)(end - s));
		size_t n = (size_t)((newline ? newline : end) - s);

		if (n)
			strbuf_addf(b, "%*s", (int)indent, "");
		for (size_t k; n; s += k, n -= k) {
			k = n < BREATH_BYTES ? n : BREATH_BYTES;
			strbuf_add(b, s, k);
			breathe_bytes(k);
		}
		if (s++ < end)
			strbuf_addc(b, '\n');
	}
}

static void put_quoted(struct strbuf *b, const char *s, size_t len)
{
	const unsigned char *p = (const unsigned char *)s, *end = p + len;

	strbuf_addc(b, '"');
	while (p < end) {
		size_t n = special_len(p);

		breathe();
		if (n)
			strbuf_addf(b, "\\u%04X", code_of(p, n));
		else if (*p == '"' || *p == '\\')
			strbuf_add(b, (const char[]){'\\', (char)*p}, 2);
		else
			strbuf_addc(b, (char)*p);
		p += n ? n : 1;
	}
	strbuf_addc(b, '"');
}

void yaml_put_long(struct strbuf *b, const char *s, size_t len, size_t indent)
{
	if (fits_block(s, len))
		put_block(b, s, len, indent);
	else if (is_base64(s, len) && yaml_plain_is_string(s, len))
		strbuf_add(b, s, len);
	else
		put_quoted(b, s, len);
}
