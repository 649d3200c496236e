/* SPDX-License-Identifier: Apache-2.0 */
/* int(), uint(), double(), string(), bytes(), bool(), timestamp(), duration(). */
#include "internal.h"

#include <math.h>

typedef struct cel_value val;

/* The shortest text that reads back as the same number, as Go's 'g' with an exponent from 21 on. */
void double_text(char buf[static 40], double d)
{
	if (isnan(d) || isinf(d)) {
		snprintf(buf, 40, "%s", isnan(d) ? "NaN" : d > 0 ? "+Inf" : "-Inf");
		return;
	}
	if (d == floor(d) && fabs(d) < 1e21) {
		snprintf(buf, 40, "%.0f", d);
		return;
	}
	for (int digits = 1; digits <= 17; digits++) {
		snprintf(buf, 40, "%.*g", digits, d);
		if (strtod(buf, NULL) == d)
			break;
	}
}

static val from_text(struct cel_run *r, struct strbuf *b)
{
	val v = val_copy(r, b->s ? b->s : "", b->len);

	strbuf_done(b);
	return v;
}

static bool is_utf8(const char *s, size_t n)
{
	for (size_t i = 0; i < n;) {
		unsigned char c = (unsigned char)s[i];
		size_t len = c < 0x80	? 1
			     : c < 0xc2 ? 0
			     : c < 0xe0 ? 2
			     : c < 0xf0 ? 3
			     : c < 0xf5 ? 4
					: 0;

		if (!len || i + len > n)
			return false;
		for (size_t j = 1; j < len; j++)
			if (((unsigned char)s[i + j] & 0xc0) != 0x80)
				return false;
		i += len;
	}
	return true;
}

val to_string(struct cel_run *r, val v)
{
	struct strbuf b = {0};
	char number[40];

	switch ((enum cel_kind)v.kind) {
	case CEL_STRING:
		return v;
	case CEL_BYTES:
		if (!is_utf8(v.str.s, v.str.n))
			return cel_error(r, "invalid UTF-8 in bytes, cannot convert to string");
		v.kind = CEL_STRING;
		return v;
	case CEL_BOOL:
		return val_str(v.b ? "true" : "false");
	case CEL_INT:
		strbuf_addf(&b, "%lld", (long long)v.i);
		break;
	case CEL_UINT:
		strbuf_addf(&b, "%llu", (unsigned long long)v.u);
		break;
	case CEL_DOUBLE:
		double_text(number, v.d);
		strbuf_adds(&b, number);
		break;
	case CEL_TIMESTAMP:
		time_text(&b, &v);
		break;
	case CEL_DURATION:
		duration_text(&b, v.i);
		break;
	default:
		return no_overload(r);
	}
	return from_text(r, &b);
}

static val fn_string(struct cel_run *r, const val *a, size_t n UNUSED)
{
	return to_string(r, *a);
}

static val range_error(struct cel_run *r, const char *what)
{
	return cel_error(r, "%s overflow", what);
}

static val fn_int(struct cel_run *r, const val *a, size_t n UNUSED)
{
	int64_t i;

	switch ((enum cel_kind)a->kind) {
	case CEL_INT:
		return *a;
	case CEL_UINT:
		return a->u > INT64_MAX ? range_error(r, "integer") : val_int((int64_t)a->u);
	case CEL_DOUBLE:
		if (!(a->d > -9.223372036854775e18 && a->d < 9.223372036854775e18))
			return range_error(r, "integer");
		return val_int((int64_t)a->d);
	case CEL_STRING:
		if (str_to_i64(val_cstr(r, *a), INT64_MIN, INT64_MAX, &i) < 0)
			return cel_error(r, "type conversion error from 'string' to 'int'");
		return val_int(i);
	case CEL_TIMESTAMP:
		return val_int(a->time.sec);
	case CEL_DURATION:
		return val_int(a->i);
	default:
		return no_overload(r);
	}
}

static val fn_uint(struct cel_run *r, const val *a, size_t n UNUSED)
{
	uint64_t u;

	switch ((enum cel_kind)a->kind) {
	case CEL_UINT:
		return *a;
	case CEL_INT:
		return a->i < 0 ? range_error(r, "unsigned integer") : val_uint((uint64_t)a->i);
	case CEL_DOUBLE:
		if (!(a->d > -1 && a->d < 1.8446744073709550e19))
			return range_error(r, "unsigned integer");
		return val_uint((uint64_t)a->d);
	case CEL_STRING:
		if (str_to_u64(val_cstr(r, *a), UINT64_MAX, &u) < 0)
			return cel_error(r, "type conversion error from 'string' to 'uint'");
		return val_uint(u);
	default:
		return no_overload(r);
	}
}

static val fn_double(struct cel_run *r, const val *a, size_t n UNUSED)
{
	const char *s;
	char *end;
	double d;

	switch ((enum cel_kind)a->kind) {
	case CEL_DOUBLE:
		return *a;
	case CEL_INT:
		return val_double((double)a->i);
	case CEL_UINT:
		return val_double((double)a->u);
	case CEL_STRING:
		s = val_cstr(r, *a);
		d = strtod(s, &end);
		if (end == s || *end || strchr(" \t\n\v\f\r", *s))
			return cel_error(r, "type conversion error from 'string' to 'double'");
		return val_double(d);
	default:
		return no_overload(r);
	}
}

static val fn_bytes(struct cel_run *r UNUSED, const val *a, size_t n UNUSED)
{
	val v = *a;

	v.kind = CEL_BYTES;
	return v;
}

static val fn_bool(struct cel_run *r, const val *a, size_t n UNUSED)
{
	static const char *const yes[] = {"1", "t", "T", "true", "TRUE", "True"};
	static const char *const no[] = {"0", "f", "F", "false", "FALSE", "False"};
	const char *s;

	if (a->kind == CEL_BOOL)
		return *a;
	s = val_cstr(r, *a);
	for (size_t i = 0; i < ARRAY_SIZE(yes); i++)
		if (streq(s, yes[i]) || streq(s, no[i]))
			return val_bool(streq(s, yes[i]));
	return cel_error(r, "type conversion error from 'string' to 'bool'");
}

static val fn_timestamp(struct cel_run *r, const val *a, size_t n UNUSED)
{
	if (a->kind == CEL_STRING)
		return time_from_text(r, a->str.s, a->str.n);
	if (a->kind == CEL_INT)
		return time_checked(r, a->i, 0);
	return *a;
}

static val fn_duration(struct cel_run *r, const val *a, size_t n UNUSED)
{
	if (a->kind == CEL_STRING)
		return duration_from_text(r, a->str.s, a->str.n);
	return a->kind == CEL_INT ? val_duration(a->i) : *a;
}

static const struct function table[] = {
	{"string", "s:s", fn_string, false},
	{"string", "s:b", fn_string, false},
	{"string", "s:y", fn_string, false},
	{"string", "s:i", fn_string, false},
	{"string", "s:u", fn_string, false},
	{"string", "s:d", fn_string, false},
	{"string", "s:t", fn_string, false},
	{"string", "s:D", fn_string, false},
	{"int", "i:i", fn_int, false},
	{"int", "i:u", fn_int, false},
	{"int", "i:d", fn_int, false},
	{"int", "i:s", fn_int, false},
	{"int", "i:t", fn_int, false},
	{"int", "i:D", fn_int, false},
	{"uint", "u:u", fn_uint, false},
	{"uint", "u:i", fn_uint, false},
	{"uint", "u:d", fn_uint, false},
	{"uint", "u:s", fn_uint, false},
	{"double", "d:d", fn_double, false},
	{"double", "d:i", fn_double, false},
	{"double", "d:u", fn_double, false},
	{"double", "d:s", fn_double, false},
	{"bytes", "y:y", fn_bytes, false},
	{"bytes", "y:s", fn_bytes, false},
	{"bool", "b:b", fn_bool, false},
	{"bool", "b:s", fn_bool, false},
	{"timestamp", "t:s", fn_timestamp, false},
	{"timestamp", "t:i", fn_timestamp, false},
	{"timestamp", "t:t", fn_timestamp, false},
	{"duration", "D:s", fn_duration, false},
	{"duration", "D:i", fn_duration, false},
	{"duration", "D:D", fn_duration, false},
};
const struct functions convert_functions = {table, ARRAY_SIZE(table)};
