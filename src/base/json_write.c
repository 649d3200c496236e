/* SPDX-License-Identifier: Apache-2.0 */
/*
 * JSON values to text, in one pass. jansson's own writer goes over every string character by
 * character, twice where the length has to be known first: 8 ms for 1 MB, on the loop.
 */
#include <coracle/json.h>

#define ONES UINT64_C(0x0101010101010101)
#define HIGHS UINT64_C(0x8080808080808080)

/* The high bit of every byte of w that is zero (bytes behind the first may be marked, too). */
static uint64_t zero_bytes(uint64_t w)
{
	return (w - ONES) & ~w & HIGHS;
}

size_t json_plain_len(const char *s, size_t len, bool ascii)
{
	const uint64_t high = ascii ? HIGHS : 0;
	size_t i = 0;

	for (uint64_t w; i + sizeof(w) <= len; i += sizeof(w)) {
		memcpy(&w, s + i, sizeof(w));
		uint64_t control = (w - ONES * 0x20) & ~w & HIGHS;
		if (control | zero_bytes(w ^ ONES * '"') | zero_bytes(w ^ ONES * '\\') | (w & high))
			break;
	}
	for (; i < len; i++) {
		unsigned char c = (unsigned char)s[i];

		if (c < 0x20 || c == '"' || c == '\\' || (ascii && c >= 0x80))
			break;
	}
	return i;
}

static void write_escape(struct strbuf *b, unsigned char c)
{
	static const char from[] = "\"\\\b\f\n\r\t", to[] = "\"\\bfnrt";
	const char *at = c ? strchr(from, c) : NULL;

	if (at)
		strbuf_add(b, (const char[]){'\\', to[at - from]}, 2);
	else
		strbuf_addf(b, "\\u%04X", c);
}

static void write_string(struct strbuf *b, const char *s, size_t len)
{
	strbuf_addc(b, '"');
	while (len) {
		size_t most = len < BREATH_BYTES ? len : BREATH_BYTES;
		size_t n = json_plain_len(s, most, false);

		strbuf_add(b, s, n);
		if (n < most)
			write_escape(b, (unsigned char)s[n++]);
		breathe_bytes(n);
		s += n;
		len -= n;
	}
	strbuf_addc(b, '"');
}

/* Where the decimal point goes is the library's knowledge (locales). */
static void write_real(struct strbuf *b, const json_t *v)
{
	char text[64];
	size_t n = json_dumpb(v, text, sizeof(text), JSON_ENCODE_ANY);

	strbuf_add(b, text, n < sizeof(text) ? n : 0);
}

static void write_value(struct strbuf *b, json_t *v, struct json_shape *shape)
{
	const char *key;
	size_t len, i;
	json_t *e;
	char before;

	breathe();
	shape->values++;
	switch (json_typeof(v)) {
	case JSON_OBJECT:
		before = '{';
		if (shape->members < json_object_size(v))
			shape->members = json_object_size(v);
		json_object_keylen_foreach(v, key, len, e)
		{
			strbuf_addc(b, before);
			write_string(b, key, len);
			strbuf_addc(b, ':');
			write_value(b, e, shape);
			before = ',';
		}
		strbuf_adds(b, before == '{' ? "{}" : "}");
		break;
	case JSON_ARRAY:
		strbuf_addc(b, '[');
		json_array_foreach(v, i, e)
		{
			if (i)
				strbuf_addc(b, ',');
			write_value(b, e, shape);
		}
		strbuf_addc(b, ']');
		break;
	case JSON_STRING:
		i = b->len;
		write_string(b, json_string_value(v), json_string_length(v));
		if (v == shape->string) {
			shape->at = i;
			shape->len = b->len - i;
		}
		break;
	case JSON_INTEGER:
		strbuf_addf(b, "%" JSON_INTEGER_FORMAT, json_integer_value(v));
		break;
	case JSON_REAL:
		write_real(b, v);
		break;
	case JSON_TRUE:
		strbuf_adds(b, "true");
		break;
	case JSON_FALSE:
		strbuf_adds(b, "false");
		break;
	case JSON_NULL:
		strbuf_adds(b, "null");
		break;
	}
}

char *json_text_shape(const json_t *v, size_t *ret_len, struct json_shape *shape)
{
	struct strbuf b = {0};

	if (v) /* read only; jansson's macros want it so */
		write_value(&b, (json_t *)(uintptr_t)v, shape);
	*ret_len = b.len;
	return strbuf_steal(&b);
}

char *json_text(const json_t *v, size_t *ret_len)
{
	struct json_shape shape = {0};
	size_t len;

	return json_text_shape(v, ret_len ? ret_len : &len, &shape);
}

static int add_piece(const char *text, size_t len, void *b)
{
	breathe();
	strbuf_add(b, text, len);
	return 0;
}

char *json_text_as(const json_t *v, size_t flags)
{
	auto_strbuf b = {0};

	if (json_dump_callback(v, add_piece, &b, flags) < 0)
		return NULL;
	return strbuf_steal(&b);
}
