/* SPDX-License-Identifier: Apache-2.0 */
/* Looks a value up in JSON text that we wrote ourselves, without parsing what stands before it. */
#include <coracle/json.h>

/* Behind the string whose opening quote is at p; end when it has none. */
static const char *skip_string(const char *p, const char *end)
{
	for (p++; p < end;) {
		p += json_plain_len(p, (size_t)(end - p), false);
		if (p < end && *p == '"')
			return p + 1;
		p += p + 1 < end && *p == '\\' ? 2 : 1;
	}
	return end;
}

static const char *skip_value(const char *p, const char *end)
{
	size_t depth = 0;

	do {
		breathe();
		switch (p < end ? *p : '\0') {
		case '"':
			p = skip_string(p, end);
			break;
		case '{':
		case '[':
			depth++;
			p++;
			break;
		case '}':
		case ']':
			depth--;
			p++;
			break;
		case ',':
		case ':':
			p++;
			break;
		default:
			p += strcspn(p, "\"{}[],:");
		}
	} while (depth && p < end);
	return p;
}

bool json_text_find(const char *text, size_t len, const char *path, const char **at, size_t *n)
{
	const char *p = text, *end = text + len;

	while (*path) {
		size_t want = strcspn(path, ".");

		if (p >= end || *p != '{')
			return false;
		p++;
		for (;;) {
			if (p >= end || *p != '"')
				return false;
			const char *key = p + 1;
			p = skip_string(p, end);
			bool found = (size_t)(p - 1 - key) == want && !memcmp(key, path, want);
			p++; /* the colon */
			if (found)
				break;
			p = skip_value(p, end);
			p += p < end; /* a comma, or the end of the object */
		}
		path += want + (path[want] == '.');
	}
	*at = p;
	*n = (size_t)(skip_value(p, end) - p);
	return true;
}
