/* SPDX-License-Identifier: Apache-2.0 */
/* Strings: the standard functions and cel-go's extension (ext.Strings, version 2). Positions are of
 * code points. */
#include "internal.h"

typedef struct cel_value val;

static const char *find(const char *s, size_t n, const char *what, size_t what_n)
{
	if (what_n == 0)
		return s;
	return n ? memmem(s, n, what, what_n) : NULL;
}

/* Every search reads both texts. */
static bool charge_search(struct cel_run *r, const val *a)
{
	return run_charge(r, a[0].str.n / 10 + a[1].str.n / 10);
}

static val fn_contains(struct cel_run *r, const val *a, size_t n UNUSED)
{
	if (charge_search(r, a))
		return run_over(r);
	return val_bool(find(a[0].str.s, a[0].str.n, a[1].str.s, a[1].str.n) != NULL);
}

static val fn_starts(struct cel_run *r UNUSED, const val *a, size_t n UNUSED)
{
	return val_bool(a[0].str.n >= a[1].str.n &&
			memcmp(a[0].str.s, a[1].str.s, a[1].str.n) == 0);
}

static val fn_ends(struct cel_run *r UNUSED, const val *a, size_t n UNUSED)
{
	return val_bool(a[0].str.n >= a[1].str.n &&
			memcmp(a[0].str.s + a[0].str.n - a[1].str.n, a[1].str.s, a[1].str.n) == 0);
}

static val out_of_range(struct cel_run *r, int64_t i)
{
	return cel_error(r, "index out of range: %lld", (long long)i);
}

static val fn_char_at(struct cel_run *r, const val *a, size_t n UNUSED)
{
	size_t count = utf8_count(a->str.s, a->str.n), at;

	if (run_charge(r, val_span(a)))
		return run_over(r);
	if (a[1].i < 0 || (uint64_t)a[1].i > count)
		return out_of_range(r, a[1].i);
	if ((uint64_t)a[1].i == count)
		return val_str("");
	at = utf8_offset(a->str.s, a->str.n, (size_t)a[1].i);
	return val_strn(a->str.s + at, utf8_length(a->str.s + at, a->str.n - at));
}

static val fn_index_of(struct cel_run *r, const val *a, size_t n)
{
	size_t at = 0;
	const char *found;

	if (charge_search(r, a))
		return run_over(r);
	if (n == 3) {
		if (a[2].i < 0 || (uint64_t)a[2].i > utf8_count(a->str.s, a->str.n))
			return a[1].str.n ? out_of_range(r, a[2].i) : val_int(a[2].i);
		at = utf8_offset(a->str.s, a->str.n, (size_t)a[2].i);
	}
	found = find(a->str.s + at, a->str.n - at, a[1].str.s, a[1].str.n);
	return val_int(found ? (int64_t)utf8_count(a->str.s, (size_t)(found - a->str.s)) : -1);
}

static val fn_last_index_of(struct cel_run *r, const val *a, size_t n)
{
	size_t end = a->str.n;

	/* naive: every start may read all of what is looked for */
	if (run_charge(r, a[0].str.n / 10 * (1 + a[1].str.n / 10)))
		return run_over(r);
	if (n == 3) {
		if (a[2].i < 0 || (uint64_t)a[2].i >= utf8_count(a->str.s, a->str.n) + 1)
			return out_of_range(r, a[2].i);
		end = utf8_offset(a->str.s, a->str.n, (size_t)a[2].i) + a[1].str.n;
		end = end > a->str.n ? a->str.n : end;
	}
	if (a[1].str.n > end)
		return val_int(-1);
	for (size_t at = end - a[1].str.n + 1; at-- > 0;)
		if (memcmp(a->str.s + at, a[1].str.s, a[1].str.n) == 0)
			return val_int((int64_t)utf8_count(a->str.s, at));
	return val_int(-1);
}

static val map_ascii(struct cel_run *r, const val *a, char from, char to, int step)
{
	val v;
	char *s;

	if (run_charge(r, val_span(a)))
		return run_over(r);
	v = val_copy(r, a->str.s, a->str.n);
	if (v.kind != CEL_STRING)
		return v;
	s = (char *)(uintptr_t)v.str.s;
	for (size_t i = 0; i < v.str.n; i++)
		if (s[i] >= from && s[i] <= to)
			s[i] = (char)(s[i] + step);
	return v;
}

static val fn_lower(struct cel_run *r, const val *a, size_t n UNUSED)
{
	return map_ascii(r, a, 'A', 'Z', 32);
}

static val fn_upper(struct cel_run *r, const val *a, size_t n UNUSED)
{
	return map_ascii(r, a, 'a', 'z', -32);
}

/* Text that grows in the run; NULL data when it became too much. */
struct text {
	struct cel_run *r;
	char *s;
	size_t n, cap;
};

static void put(struct text *t, const char *s, size_t n)
{
	if (t->n + n + 1 > t->cap) {
		size_t cap = 2 * (t->n + n) + 32;
		char *grown;

		if (run_charge(t->r, n / 10 + 1) || !(grown = run_take(t->r, cap))) {
			t->r->over = true;
			return;
		}
		if (t->n)
			memcpy(grown, t->s, t->n);
		t->s = grown;
		t->cap = cap;
	}
	if (n)
		memcpy(t->s + t->n, s, n);
	t->n += n;
}

static val text_value(const struct text *t)
{
	return t->r->over ? run_over(t->r) : val_strn(t->s ? t->s : "", t->n);
}

static val fn_replace(struct cel_run *r, const val *a, size_t n)
{
	int64_t left = n == 4 ? a[3].i : -1;
	const char *s = a->str.s, *end = s + a->str.n, *found;
	struct text out = {.r = r};

	if (charge_search(r, a))
		return run_over(r);
	while (left != 0 && !r->over) {
		found = find(s, (size_t)(end - s), a[1].str.s, a[1].str.n);
		if (!found)
			break;
		/* nothing is found everywhere: before each character and behind the last */
		put(&out, s, (size_t)(found - s));
		put(&out, a[2].str.s, a[2].str.n);
		s = found + a[1].str.n;
		if (a[1].str.n == 0) {
			size_t len = s < end ? utf8_length(s, (size_t)(end - s)) : 0;

			if (!len)
				break;
			put(&out, s, len);
			s += len;
		}
		left -= left > 0;
		if (run_charge(r, 1))
			return run_over(r);
	}
	put(&out, s, (size_t)(end - s));
	return text_value(&out);
}

static val fn_split(struct cel_run *r, const val *a, size_t n)
{
	int64_t left = n == 3 ? a[2].i : -1;
	const char *s = a->str.s, *end = s + a->str.n;
	struct builder b = {.r = r};

	if (charge_search(r, a))
		return run_over(r);
	if (left == 0)
		return val_list(NULL, 0);
	while (left != 1 && !run_charge(r, 1)) {
		const char *found;

		if (a[1].str.n == 0) {
			if (s >= end || s + utf8_length(s, (size_t)(end - s)) >= end)
				break;
			found = s + utf8_length(s, (size_t)(end - s));
		} else {
			found = find(s, (size_t)(end - s), a[1].str.s, a[1].str.n);
		}
		if (!found)
			break;
		builder_add(&b, val_strn(s, (size_t)(found - s)));
		s = found + a[1].str.n;
		left -= left > 0;
	}
	if (s < end || a[1].str.n)
		builder_add(&b, val_strn(s, (size_t)(end - s)));
	return r->over ? run_over(r) : val_list(b.v, b.n);
}

static val fn_substring(struct cel_run *r, const val *a, size_t n)
{
	size_t count = utf8_count(a->str.s, a->str.n), from, to;
	int64_t end = n == 3 ? a[2].i : (int64_t)count;

	if (run_charge(r, val_span(a)))
		return run_over(r);
	if (a[1].i < 0 || (uint64_t)a[1].i > count)
		return out_of_range(r, a[1].i);
	if (end < 0 || (uint64_t)end > count)
		return out_of_range(r, end);
	if (a[1].i > end)
		return cel_error(r, "invalid substring range. start: %lld, end: %lld",
				 (long long)a[1].i, (long long)end);
	from = utf8_offset(a->str.s, a->str.n, (size_t)a[1].i);
	to = utf8_offset(a->str.s, a->str.n, (size_t)end);
	return val_strn(a->str.s + from, to - from);
}

/* Unicode's white space. */
static bool is_space(uint32_t c)
{
	return (c >= 9 && c <= 13) || c == ' ' || c == 0x85 || c == 0xa0 || c == 0x1680 ||
	       (c >= 0x2000 && c <= 0x200a) || c == 0x2028 || c == 0x2029 || c == 0x202f ||
	       c == 0x205f || c == 0x3000;
}

static val fn_trim(struct cel_run *r, const val *a, size_t n UNUSED)
{
	const char *s = a->str.s, *end = s + a->str.n, *last;
	size_t len;

	if (run_charge(r, val_span(a)))
		return run_over(r);
	while (s < end && is_space(utf8_decode(s, (size_t)(end - s), &len)))
		s += len;
	while (end > s) {
		for (last = end - 1; last > s && (*last & 0xc0) == 0x80;)
			last--;
		if (!is_space(utf8_decode(last, (size_t)(end - last), &len)))
			break;
		end = last;
	}
	return val_strn(s, (size_t)(end - s));
}

static val fn_join(struct cel_run *r, const val *a, size_t n)
{
	struct text out = {.r = r};

	for (size_t i = 0; i < val_size(a) && !run_charge(r, 1); i++) {
		val item = list_at(r, a, i);

		if (item.kind != CEL_STRING)
			return no_overload(r);
		if (i && n == 2)
			put(&out, a[1].str.s, a[1].str.n);
		put(&out, item.str.s, item.str.n);
	}
	return text_value(&out);
}

static val fn_quote(struct cel_run *r, const val *a, size_t n UNUSED)
{
	static const char from[] = "\a\b\f\n\r\t\v\\\"", to[] = "abfnrtv\\\"";
	struct text out = {.r = r};

	put(&out, "\"", 1);
	for (size_t i = 0; i < a->str.n && !r->over; i++) {
		const char *at = a->str.s[i] ? strchr(from, a->str.s[i]) : NULL;

		if (at)
			put(&out, (char[]){'\\', to[at - from]}, 2);
		else
			put(&out, a->str.s + i, 1);
	}
	put(&out, "\"", 1);
	return text_value(&out);
}

/* ---- format() --------------------------------------------------------------------------- */

static void put_value(struct text *out, val v, int depth);

static void put_items(struct text *out, const val *v, int depth)
{
	bool map = v->kind != CEL_LIST;
	val list = map ? map_keys(out->r, v) : *v;

	put(out, map ? "{" : "[", 1);
	for (size_t i = 0; i < val_size(&list) && !run_charge(out->r, 1); i++) {
		val item = list_at(out->r, &list, i), value = {0};

		if (i)
			put(out, ", ", 2);
		put_value(out, item, depth + 1);
		if (!map)
			continue;
		put(out, ": ", 2);
		map_find(out->r, v, item, &value);
		put_value(out, value, depth + 1);
	}
	put(out, map ? "}" : "]", 1);
}

static void put_value(struct text *out, val v, int depth)
{
	val text;

	if ((v.kind == CEL_LIST || v.kind == CEL_MAP) && depth < 32) {
		put_items(out, &v, depth);
		return;
	}
	if (v.kind == CEL_NULL) {
		put(out, "null", 4);
		return;
	}
	if (v.kind == CEL_TYPE) {
		auto_free char *name = cel_type_text(v.type);

		put(out, name, strcspn(name, "("));
		return;
	}
	text = to_string(out->r, v);
	if (text.kind == CEL_STRING)
		put(out, text.str.s, text.str.n);
}

static void put_binary(struct text *out, uint64_t u)
{
	char digits[65];
	size_t n = sizeof(digits);

	do
		digits[--n] = (char)('0' + (u & 1));
	while (u >>= 1);
	put(out, digits + n, sizeof(digits) - n);
}

/* %d %x %X %o %b of a whole number. */
static bool put_integer(struct text *out, const val *v, char verb)
{
	char buf[40];
	bool negative = v->kind == CEL_INT && v->i < 0;
	uint64_t u = negative ? 0 - v->u : v->u;

	if (v->kind != CEL_INT && v->kind != CEL_UINT)
		return false;
	if (negative)
		put(out, "-", 1);
	if (verb == 'b') {
		put_binary(out, u);
		return true;
	}
	snprintf(buf, sizeof(buf),
		 verb == 'd'   ? "%llu"
		 : verb == 'x' ? "%llx"
		 : verb == 'X' ? "%llX"
			       : "%llo",
		 (unsigned long long)u);
	put(out, buf, strlen(buf));
	return true;
}

static bool put_hex(struct text *out, const val *v, char verb)
{
	char buf[3];

	if (v->kind != CEL_STRING && v->kind != CEL_BYTES)
		return put_integer(out, v, verb);
	for (size_t i = 0; i < v->str.n && !out->r->over; i++) {
		snprintf(buf, sizeof(buf), verb == 'x' ? "%02x" : "%02X",
			 (unsigned char)v->str.s[i]);
		put(out, buf, 2);
	}
	return true;
}

static bool put_real(struct text *out, const val *v, char verb, int digits)
{
	char buf[400];
	double d = v->kind == CEL_DOUBLE ? v->d : v->kind == CEL_INT ? (double)v->i : (double)v->u;

	if (v->kind != CEL_DOUBLE && v->kind != CEL_INT && v->kind != CEL_UINT)
		return false;
	snprintf(buf, sizeof(buf), verb == 'f' ? "%.*f" : "%.*e", digits, d);
	put(out, buf, strlen(buf));
	return true;
}

static bool put_verb(struct text *out, const val *v, char verb, int digits)
{
	switch (verb) {
	case 's':
		put_value(out, *v, 0);
		return true;
	case 'd':
		if (v->kind == CEL_DOUBLE) {
			put_value(out, *v, 0);
			return true;
		}
		return put_integer(out, v, verb);
	case 'x':
	case 'X':
		return put_hex(out, v, verb);
	case 'b':
		if (v->kind == CEL_BOOL) {
			put(out, v->b ? "1" : "0", 1);
			return true;
		}
		return put_integer(out, v, verb);
	case 'o':
		return put_integer(out, v, verb);
	case 'f':
	case 'e':
		return put_real(out, v, verb, digits);
	default:
		return false;
	}
}

static val fn_format(struct cel_run *r, const val *a, size_t n UNUSED)
{
	const char *s = a->str.s, *end = s + a->str.n;
	struct text out = {.r = r};
	size_t next = 0;

	while (s < end && !run_charge(r, 1)) {
		size_t plain = 0;
		int digits = 6;
		val item;

		while (s + plain < end && s[plain] != '%')
			plain++;
		put(&out, s, plain);
		s += plain;
		if (s == end)
			break;
		s++;
		if (s < end && *s == '%') {
			put(&out, s++, 1);
			continue;
		}
		if (s < end && *s == '.') {
			for (digits = 0, s++; s < end && *s >= '0' && *s <= '9' && digits < 32; s++)
				digits = digits * 10 + (*s - '0');
			digits = digits > 100 ? 100 : digits;
		}
		if (s == end)
			return cel_error(r, "could not parse formatting clause: unexpected end of "
					    "string");
		if (next >= val_size(&a[1]))
			return cel_error(r, "index %zu out of range", next);
		item = list_at(r, &a[1], next++);
		if (!put_verb(&out, &item, *s, digits))
			return cel_error(r,
					 "could not parse formatting clause: unrecognized "
					 "formatting clause \"%c\"",
					 *s);
		s++;
	}
	return text_value(&out);
}

static const struct function table[] = {
	{"contains", "b:ss", fn_contains, true},
	{"startsWith", "b:ss", fn_starts, true},
	{"endsWith", "b:ss", fn_ends, true},
	{"charAt", "s:si", fn_char_at, true},
	{"indexOf", "i:ss", fn_index_of, true},
	{"indexOf", "i:ssi", fn_index_of, true},
	{"lastIndexOf", "i:ss", fn_last_index_of, true},
	{"lastIndexOf", "i:ssi", fn_last_index_of, true},
	{"lowerAscii", "s:s", fn_lower, true},
	{"upperAscii", "s:s", fn_upper, true},
	{"replace", "s:sss", fn_replace, true},
	{"replace", "s:sssi", fn_replace, true},
	{"split", "Ls:ss", fn_split, true},
	{"split", "Ls:ssi", fn_split, true},
	{"substring", "s:si", fn_substring, true},
	{"substring", "s:sii", fn_substring, true},
	{"trim", "s:s", fn_trim, true},
	{"join", "s:Ls", fn_join, true},
	{"join", "s:Lss", fn_join, true},
	{"format", "s:sL*", fn_format, true},
	{"strings.quote", "s:s", fn_quote, false},
};
const struct functions string_functions = {table, ARRAY_SIZE(table)};
