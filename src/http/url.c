/* SPDX-License-Identifier: Apache-2.0 */
/* Percent-decoding and query parameters (RFC 3986, application/x-www-form-urlencoded). */
#include <coracle/http.h>

#include "internal.h"

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

static char *decode(const char *s, size_t len, bool plus_is_space)
{
	auto_free char *out = xmalloc(len + 1);
	size_t n = 0;

	for (size_t i = 0; i < len; i++) {
		char c = s[i];

		if (c == '%') {
			if (len - i < 3)
				return NULL;
			int hi = hex_digit(s[i + 1]), lo = hex_digit(s[i + 2]);

			if (hi < 0 || lo < 0)
				return NULL;
			c = (char)(hi * 16 + lo);
			i += 2;
		} else if (c == '+' && plus_is_space) {
			c = ' ';
		}
		if (c == '\0')
			return NULL;
		out[n++] = c;
	}
	out[n] = '\0';
	return steal_ptr(out);
}

char *http_url_decode(const char *s, size_t len)
{
	return decode(s, len, false);
}

void http_query_values(const char *query, const char *name, bool first_only, struct strv *ret)
{
	while (*query) {
		size_t len = strcspn(query, "&");
		const char *eq = memchr(query, '=', len);
		size_t key_len = eq ? (size_t)(eq - query) : len;
		auto_free char *key = decode(query, key_len, true);

		if (key && streq(key, name)) {
			char *value = eq ? decode(eq + 1, len - key_len - 1, true) : xstrdup("");

			if (value)
				strv_take(ret, value);
			if (value && first_only)
				return;
		}
		query += len;
		query += *query == '&';
	}
}
