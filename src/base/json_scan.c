/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A JSON parser (RFC 8259) that remembers which object members came twice, and where: jansson can
 * refuse duplicates but not name them all, and goes over strings character by character. Errors are
 * worded as Go's encoding/json words them, since that is what Kubernetes users know. Nesting and
 * the number of values are bounded.
 */
#include <coracle/json.h>

#define MAX_DEPTH 256

struct scan {
	const char *p, *end;
	struct strbuf path; /* of the value being read: "spec.containers[0].name"; only with dups */
	struct strv *dups;
	size_t values, max_values;
	int depth;
	struct err *err;
};

static json_t *scan_value(struct scan *s);

static json_t *scan_bad(struct scan *s, const char *where)
{
	unsigned char c;

	if (s->p >= s->end) {
		err_set(s->err, ERR_BAD_REQUEST, "unexpected end of JSON input");
		return NULL;
	}
	c = (unsigned char)*s->p;
	if (c >= 0x20 && c < 0x7f && c != '\'')
		err_set(s->err, ERR_BAD_REQUEST, "invalid character '%c' %s", c, where);
	else
		err_set(s->err, ERR_BAD_REQUEST, "invalid character '\\x%02x' %s", c, where);
	return NULL;
}

static void scan_space(struct scan *s)
{
	while (s->p < s->end && (*s->p == ' ' || *s->p == '\n' || *s->p == '\t' || *s->p == '\r'))
		s->p++;
}

static int scan_hex4(struct scan *s, unsigned *ret)
{
	*ret = 0;
	for (int i = 0; i < 4; i++, s->p++) {
		const char digits[] = "0123456789abcdef";
		char c = s->p < s->end ? *s->p : ' ';
		const char *at = c ? strchr(digits, c >= 'A' && c <= 'F' ? c + 32 : c) : NULL;

		if (!at) {
			scan_bad(s, "in \\u hexadecimal character escape");
			return -EINVAL;
		}
		*ret = *ret * 16 + (unsigned)(at - digits);
	}
	return 0;
}

static void put_utf8(struct strbuf *b, unsigned c)
{
	if (c < 0x80) {
		strbuf_addc(b, (char)c);
	} else if (c < 0x800) {
		strbuf_addc(b, (char)(0xc0 | c >> 6));
		strbuf_addc(b, (char)(0x80 | (c & 63)));
	} else if (c < 0x10000) {
		strbuf_addc(b, (char)(0xe0 | c >> 12));
		strbuf_addc(b, (char)(0x80 | (c >> 6 & 63)));
		strbuf_addc(b, (char)(0x80 | (c & 63)));
	} else {
		strbuf_addc(b, (char)(0xf0 | c >> 18));
		strbuf_addc(b, (char)(0x80 | (c >> 12 & 63)));
		strbuf_addc(b, (char)(0x80 | (c >> 6 & 63)));
		strbuf_addc(b, (char)(0x80 | (c & 63)));
	}
}

/* The four hex digits behind \u; a surrogate pair is joined, a lone half becomes U+FFFD. */
static int scan_unicode(struct scan *s, struct strbuf *b)
{
	unsigned c, low;

	if (scan_hex4(s, &c) < 0)
		return -EINVAL;
	if (c >= 0xd800 && c < 0xdc00 && s->end - s->p >= 6 && s->p[0] == '\\' && s->p[1] == 'u') {
		const char *back = s->p;

		s->p += 2;
		if (scan_hex4(s, &low) < 0)
			return -EINVAL;
		if (low >= 0xdc00 && low < 0xe000)
			c = 0x10000 + ((c - 0xd800) << 10) + (low - 0xdc00);
		else
			s->p = back;
	}
	if (c >= 0xd800 && c < 0xe000)
		c = 0xfffd;
	if (c == 0) {
		err_set(s->err, ERR_BAD_REQUEST, "a string holds the character U+0000");
		return -EINVAL;
	}
	put_utf8(b, c);
	return 0;
}

static int scan_escape(struct scan *s, struct strbuf *b)
{
	const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
	const char *at;

	if (s->p >= s->end || !*s->p) {
		scan_bad(s, "in string escape code");
		return -EINVAL;
	}
	if (*s->p == 'u') {
		s->p++;
		return scan_unicode(s, b);
	}
	at = strchr(from, *s->p);
	if (!at) {
		scan_bad(s, "in string escape code");
		return -EINVAL;
	}
	strbuf_addc(b, to[at - from]);
	s->p++;
	return 0;
}

/* Length of the UTF-8 sequence at p, 0 when it is malformed (RFC 3629). */
static size_t utf8_len(const unsigned char *p, const unsigned char *end)
{
	size_t n = p[0] < 0x80 ? 1 : p[0] < 0xc2 ? 0 : p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : 4;

	if (n == 0 || p[0] > 0xf4 || (size_t)(end - p) < n)
		return 0;
	for (size_t i = 1; i < n; i++)
		if ((p[i] & 0xc0) != 0x80)
			return 0;
	if ((p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xed && p[1] > 0x9f) ||
	    (p[0] == 0xf0 && p[1] < 0x90) || (p[0] == 0xf4 && p[1] > 0x8f))
		return 0;
	return n;
}

/* Bytes from p on that are not special. */
static size_t plain_len(const struct scan *s)
{
	size_t left = (size_t)(s->end - s->p), sum = 0, n, most;

	do {
		most = left < BREATH_BYTES ? left : BREATH_BYTES;
		n = json_plain_len(s->p + sum, most, true);
		breathe_bytes(n);
		sum += n;
		left -= n;
	} while (n == most && left);
	return sum;
}

/* One escape, control character or byte above 0x7f. */
static int scan_special(struct scan *s, struct strbuf *b)
{
	if (*s->p == '\\') {
		s->p++;
		return scan_escape(s, b);
	}
	if ((unsigned char)*s->p < 0x20) {
		scan_bad(s, "in string literal");
		return -EINVAL;
	}
	size_t n = utf8_len((const unsigned char *)s->p, (const unsigned char *)s->end);

	if (n)
		strbuf_add(b, s->p, n);
	else
		put_utf8(b, 0xfffd);
	s->p += n ? n : 1;
	return 0;
}

/*
 * Reads the string whose opening quote is at p. One without anything special is not copied: *ret
 * points into the text, else into b.
 */
static int scan_string(struct scan *s, struct strbuf *b, const char **ret, size_t *ret_len)
{
	const char *from = ++s->p;

	s->p += plain_len(s);
	if (s->p < s->end && *s->p == '"') {
		*ret = from;
		*ret_len = (size_t)(s->p++ - from);
		return 0;
	}
	strbuf_add(b, from, (size_t)(s->p - from));
	while (s->p < s->end && *s->p != '"') {
		size_t n = plain_len(s);

		strbuf_add(b, s->p, n);
		s->p += n;
		if (n == 0 && scan_special(s, b) < 0)
			return -EINVAL;
	}
	if (s->p >= s->end) {
		scan_bad(s, "");
		return -EINVAL;
	}
	s->p++;
	*ret = b->s;
	*ret_len = b->len;
	return 0;
}

static json_t *scan_digits(struct scan *s)
{
	const char *from = s->p;

	while (s->p < s->end && *s->p >= '0' && *s->p <= '9')
		s->p++;
	return s->p == from ? scan_bad(s, "in numeric literal") : json_true();
}

static json_t *scan_number(struct scan *s)
{
	char text[64];
	const char *from = s->p;
	bool whole = true;
	size_t len;

	if (*s->p == '-')
		s->p++;
	if (s->p < s->end && *s->p == '0')
		s->p++;
	else if (!scan_digits(s))
		return NULL;
	if (s->p < s->end && *s->p == '.') {
		whole = false;
		s->p++;
		if (!scan_digits(s))
			return NULL;
	}
	if (s->p < s->end && (*s->p == 'e' || *s->p == 'E')) {
		whole = false;
		s->p++;
		if (s->p < s->end && (*s->p == '+' || *s->p == '-'))
			s->p++;
		if (!scan_digits(s))
			return NULL;
	}
	len = (size_t)(s->p - from);
	if (len >= sizeof(text)) {
		err_set(s->err, ERR_BAD_REQUEST, "a number has more than %zu digits", sizeof(text));
		return NULL;
	}
	memcpy(text, from, len);
	text[len] = '\0';
	errno = 0;
	if (whole) {
		long long i = strtoll(text, NULL, 10);

		if (errno == 0)
			return json_integer(i);
	}
	return json_real(strtod(text, NULL));
}

static json_t *scan_literal(struct scan *s, const char *word, json_t *value)
{
	for (size_t i = 0; word[i]; i++, s->p++) {
		char where[64];

		if (s->p < s->end && *s->p == word[i])
			continue;
		snprintf(where, sizeof(where), "in literal %s (expecting '%c')", word, word[i]);
		return scan_bad(s, where);
	}
	return value;
}

static json_t *scan_array(struct scan *s)
{
	json_auto_t *array = json_array();
	size_t mark = s->path.len;

	s->p++;
	scan_space(s);
	if (s->p < s->end && *s->p == ']') {
		s->p++;
		return steal_ptr(array);
	}
	for (;;) {
		if (s->dups)
			strbuf_addf(&s->path, "[%zu]", json_array_size(array));
		json_t *v = scan_value(s);
		if (!v)
			return NULL;
		json_array_append_new(array, v);
		path_cut(&s->path, mark);
		scan_space(s);
		if (s->p < s->end && *s->p == ',') {
			s->p++;
			continue;
		}
		if (s->p < s->end && *s->p == ']')
			break;
		return scan_bad(s, "after array element");
	}
	s->p++;
	return steal_ptr(array);
}

/* Goes down to a member, and remembers when it was there before. */
static void note_member(struct scan *s, const json_t *obj, const char *key, size_t len)
{
	auto_free char *name = xstrndup(key, len);

	path_add(&s->path, name);
	if (s->dups->n >= JSON_DUPLICATES_MAX || !json_object_getn(obj, key, len))
		return;
	auto_free char *text = xasprintf("duplicate field \"%s\"", s->path.s);

	if (!strv_has(s->dups, text))
		strv_take(s->dups, steal_ptr(text));
}

/* One `"key": value` into obj. */
static int scan_member(struct scan *s, json_t *obj)
{
	auto_strbuf buf = {0};
	size_t mark = s->path.len, len;
	const char *key;

	scan_space(s);
	if (s->p >= s->end || *s->p != '"') {
		scan_bad(s, "looking for beginning of object key string");
		return -EINVAL;
	}
	if (scan_string(s, &buf, &key, &len) < 0)
		return -EINVAL;
	scan_space(s);
	if (s->p >= s->end || *s->p != ':') {
		scan_bad(s, "after object key");
		return -EINVAL;
	}
	s->p++;
	if (s->dups)
		note_member(s, obj, key, len);
	json_t *v = scan_value(s);
	if (!v)
		return -EINVAL;
	json_object_setn_new_nocheck(obj, key, len, v);
	path_cut(&s->path, mark);
	if (s->max_values == SIZE_MAX)
		return 0;
	if (len > JSON_KEY_MAX) {
		err_set(s->err, ERR_REQUEST_TOO_LARGE,
			"a key of the object is longer than %u bytes", JSON_KEY_MAX);
		return -E2BIG;
	}
	if (json_object_size(obj) > JSON_MEMBERS_MAX) {
		err_set(s->err, ERR_REQUEST_TOO_LARGE,
			"a map of the object holds more than %d values", JSON_MEMBERS_MAX);
		return -E2BIG;
	}
	return 0;
}

static json_t *scan_object(struct scan *s)
{
	json_auto_t *obj = json_object();

	s->p++;
	scan_space(s);
	if (s->p < s->end && *s->p == '}') {
		s->p++;
		return steal_ptr(obj);
	}
	for (;;) {
		if (scan_member(s, obj) < 0)
			return NULL;
		scan_space(s);
		if (s->p < s->end && *s->p == ',') {
			s->p++;
			continue;
		}
		if (s->p < s->end && *s->p == '}')
			break;
		return scan_bad(s, "after object key:value pair");
	}
	s->p++;
	return steal_ptr(obj);
}

static json_t *scan_nested(struct scan *s)
{
	json_t *v;

	if (s->depth >= MAX_DEPTH) {
		err_set(s->err, ERR_BAD_REQUEST, "exceeded max depth");
		return NULL;
	}
	s->depth++;
	v = *s->p == '{' ? scan_object(s) : scan_array(s);
	s->depth--;
	return v;
}

static json_t *scan_value(struct scan *s)
{
	auto_strbuf buf = {0};
	const char *text;
	size_t len;

	if (++s->values > s->max_values) {
		err_set(s->err, ERR_REQUEST_TOO_LARGE, "the object holds more than %zu values",
			s->max_values);
		return NULL;
	}
	scan_space(s);
	if (s->p >= s->end)
		return scan_bad(s, "");
	switch (*s->p) {
	case '{':
	case '[':
		return scan_nested(s);
	case '"':
		if (scan_string(s, &buf, &text, &len) < 0)
			return NULL;
		return json_stringn_nocheck(text, len);
	case 't':
		return scan_literal(s, "true", json_true());
	case 'f':
		return scan_literal(s, "false", json_false());
	case 'n':
		return scan_literal(s, "null", json_null());
	case '-':
	case '0' ... '9':
		return scan_number(s);
	default:
		return scan_bad(s, "looking for beginning of value");
	}
}

json_t *json_scan(const char *text, size_t len, size_t max_values, struct strv *dups,
		  struct err *err)
{
	struct scan s = {
		.p = text, .end = text + len, .max_values = max_values, .dups = dups, .err = err};
	json_auto_t *v = scan_value(&s);

	strbuf_done(&s.path);
	if (!v)
		return NULL;
	scan_space(&s);
	if (s.p < s.end)
		return scan_bad(&s, "after top-level value");
	return steal_ptr(v);
}

json_t *json_parse(const char *text, size_t len, struct err *err)
{
	return json_scan(text, len, SIZE_MAX, NULL, err);
}
