/* SPDX-License-Identifier: Apache-2.0 */
/* Arithmetic, comparison, indexing, and what is true of values of every kind. */
#include "internal.h"

#include <math.h>

typedef struct cel_value val;

/* ---- arithmetic ------------------------------------------------------------------------- */

static val overflow(struct cel_run *r, enum cel_kind kind)
{
	return cel_error(r, "%s overflow",
			 kind == CEL_UINT	? "unsigned integer"
			 : kind == CEL_DURATION ? "duration"
						: "integer");
}

static val add_lists(struct cel_run *r, const val *a, const val *b)
{
	struct builder out = {.r = r};
	size_t n = val_size(a) + val_size(b);
	int how = a->is_json ? a->ref.type->list_type : CEL_LIST_ATOMIC;

	if (run_charge(r, n / 10 + 1))
		return run_over(r);
	for (size_t i = 0; i < val_size(a); i++)
		builder_add(&out, list_at(r, a, i));
	for (size_t i = 0; i < val_size(b) && !r->over; i++) {
		val item = list_at(r, b, i);
		size_t j = out.n;

		/* sets stay sets; an item of a map with the same keys takes the other's place */
		for (j = 0; how != CEL_LIST_ATOMIC && j < out.n && !run_charge(r, 1); j++) {
			if (how == CEL_LIST_SET && val_equal(r, &out.v[j], &item))
				break;
			if (how == CEL_LIST_MAP && out.v[j].is_json && item.is_json) {
				size_t k = 0;

				while (k < a->ref.type->n_list_keys &&
				       json_equal(json_object_get(out.v[j].ref.json,
								  a->ref.type->list_keys[k]),
						  json_object_get(item.ref.json,
								  a->ref.type->list_keys[k])))
					k++;
				if (k == a->ref.type->n_list_keys)
					break;
			}
		}
		if (how != CEL_LIST_ATOMIC && j < out.n)
			out.v[j] = item;
		else
			builder_add(&out, item);
	}
	return r->over ? run_over(r) : val_list(out.v, out.n);
}

static val add_strings(struct cel_run *r, const val *a, const val *b)
{
	size_t n = a->str.n + b->str.n;
	char *s;

	if (run_charge(r, n / 10 + 1) || !(s = run_take(r, n + 1)))
		return run_over(r);
	if (a->str.n)
		memcpy(s, a->str.s, a->str.n);
	if (b->str.n)
		memcpy(s + a->str.n, b->str.s, b->str.n);
	return (val){.kind = a->kind, .str = {s, n}};
}

static val time_plus(struct cel_run *r, const val *t, int64_t ns, int sign)
{
	int64_t sec = ns / NS_PER_SEC, rest = ns % NS_PER_SEC;

	return time_checked(r, t->time.sec + sign * sec, t->time.nsec + sign * rest);
}

static val op_add(struct cel_run *r, const val *a, size_t n UNUSED)
{
	const val *b = a + 1;
	int64_t i;
	uint64_t u;

	if (a->kind == CEL_TIMESTAMP && b->kind == CEL_DURATION)
		return time_plus(r, a, b->i, 1);
	if (a->kind == CEL_DURATION && b->kind == CEL_TIMESTAMP)
		return time_plus(r, b, a->i, 1);
	if (a->kind != b->kind)
		return no_overload(r);
	switch ((enum cel_kind)a->kind) {
	case CEL_INT:
	case CEL_DURATION:
		if (__builtin_add_overflow(a->i, b->i, &i))
			return overflow(r, a->kind);
		return (val){.kind = a->kind, .i = i};
	case CEL_UINT:
		return __builtin_add_overflow(a->u, b->u, &u) ? overflow(r, a->kind) : val_uint(u);
	case CEL_DOUBLE:
		return val_double(a->d + b->d);
	case CEL_STRING:
	case CEL_BYTES:
		return add_strings(r, a, b);
	case CEL_LIST:
		return add_lists(r, a, b);
	default:
		return no_overload(r);
	}
}

static val subtract_times(struct cel_run *r, const val *a, const val *b)
{
	__int128 ns =
		(__int128)(a->time.sec - b->time.sec) * NS_PER_SEC + a->time.nsec - b->time.nsec;

	if (ns > INT64_MAX || ns < INT64_MIN)
		return overflow(r, CEL_DURATION);
	return val_duration((int64_t)ns);
}

static val op_subtract(struct cel_run *r, const val *a, size_t n UNUSED)
{
	const val *b = a + 1;
	int64_t i;
	uint64_t u;

	if (a->kind == CEL_TIMESTAMP && b->kind == CEL_DURATION)
		return time_plus(r, a, b->i, -1);
	if (a->kind != b->kind)
		return no_overload(r);
	switch ((enum cel_kind)a->kind) {
	case CEL_INT:
	case CEL_DURATION:
		if (__builtin_sub_overflow(a->i, b->i, &i))
			return overflow(r, a->kind);
		return (val){.kind = a->kind, .i = i};
	case CEL_UINT:
		return __builtin_sub_overflow(a->u, b->u, &u) ? overflow(r, a->kind) : val_uint(u);
	case CEL_DOUBLE:
		return val_double(a->d - b->d);
	case CEL_TIMESTAMP:
		return subtract_times(r, a, b);
	default:
		return no_overload(r);
	}
}

static val op_multiply(struct cel_run *r, const val *a, size_t n UNUSED)
{
	const val *b = a + 1;
	int64_t i;
	uint64_t u;

	if (a->kind != b->kind)
		return no_overload(r);
	switch ((enum cel_kind)a->kind) {
	case CEL_INT:
		return __builtin_mul_overflow(a->i, b->i, &i) ? overflow(r, a->kind) : val_int(i);
	case CEL_UINT:
		return __builtin_mul_overflow(a->u, b->u, &u) ? overflow(r, a->kind) : val_uint(u);
	case CEL_DOUBLE:
		return val_double(a->d * b->d);
	default:
		return no_overload(r);
	}
}

static val op_divide(struct cel_run *r, const val *a, size_t n UNUSED)
{
	const val *b = a + 1;

	if (a->kind != b->kind)
		return no_overload(r);
	switch ((enum cel_kind)a->kind) {
	case CEL_INT:
		if (b->i == 0)
			return cel_error(r, "division by zero");
		if (a->i == INT64_MIN && b->i == -1)
			return overflow(r, CEL_INT);
		return val_int(a->i / b->i);
	case CEL_UINT:
		return b->u == 0 ? cel_error(r, "division by zero") : val_uint(a->u / b->u);
	case CEL_DOUBLE:
		/* IEEE 754 knows what it is to divide by zero */
		if (b->d == 0)
			return val_double(a->d == 0 || isnan(a->d)	   ? (double)NAN
					  : signbit(a->d) != signbit(b->d) ? -(double)INFINITY
									   : (double)INFINITY);
		return val_double(a->d / b->d);
	default:
		return no_overload(r);
	}
}

static val op_modulo(struct cel_run *r, const val *a, size_t n UNUSED)
{
	const val *b = a + 1;

	if (a->kind == CEL_INT && b->kind == CEL_INT) {
		if (b->i == 0)
			return cel_error(r, "modulus by zero");
		if (a->i == INT64_MIN && b->i == -1)
			return overflow(r, CEL_INT);
		return val_int(a->i % b->i);
	}
	if (a->kind == CEL_UINT && b->kind == CEL_UINT)
		return b->u == 0 ? cel_error(r, "modulus by zero") : val_uint(a->u % b->u);
	return no_overload(r);
}

static val op_negate(struct cel_run *r, const val *a, size_t n UNUSED)
{
	if (a->kind == CEL_DOUBLE)
		return val_double(-a->d);
	if (a->kind != CEL_INT && a->kind != CEL_DURATION)
		return no_overload(r);
	if (a->i == INT64_MIN)
		return overflow(r, a->kind);
	return (val){.kind = a->kind, .i = -a->i};
}

static val op_not(struct cel_run *r UNUSED, const val *a, size_t n UNUSED)
{
	return val_bool(!a->b);
}

/* ---- comparison ------------------------------------------------------------------------- */

static val op_equal(struct cel_run *r, const val *a, size_t n UNUSED)
{
	return val_bool(val_equal(r, &a[0], &a[1]));
}

static val op_not_equal(struct cel_run *r, const val *a, size_t n UNUSED)
{
	return val_bool(!val_equal(r, &a[0], &a[1]));
}

static val order(struct cel_run *r, const val *a, int low, int high)
{
	int cmp;

	if (run_charge(r, val_span(a)))
		return run_over(r);
	cmp = val_compare(&a[0], &a[1]);
	/* quantities and versions have functions for it, no operators */
	if (cmp == 3 || a->kind >= CEL_TYPE)
		return no_overload(r);
	return val_bool(cmp >= low && cmp <= high);
}

static val op_less(struct cel_run *r, const val *a, size_t n UNUSED)
{
	return order(r, a, -1, -1);
}

static val op_less_equal(struct cel_run *r, const val *a, size_t n UNUSED)
{
	return order(r, a, -1, 0);
}

static val op_greater(struct cel_run *r, const val *a, size_t n UNUSED)
{
	return order(r, a, 1, 1);
}

static val op_greater_equal(struct cel_run *r, const val *a, size_t n UNUSED)
{
	return order(r, a, 0, 1);
}

static val op_in_list(struct cel_run *r, const val *a, size_t n UNUSED)
{
	for (size_t i = 0; i < val_size(&a[1]); i++) {
		val item = list_at(r, &a[1], i);

		if (run_charge(r, 1))
			return run_over(r);
		if (val_equal(r, &a[0], &item))
			return val_bool(true);
	}
	return val_bool(false);
}

static val op_in_map(struct cel_run *r, const val *a, size_t n UNUSED)
{
	val found;

	if (a[1].kind == CEL_OBJECT)
		return no_overload(r);
	return val_bool(map_find(r, &a[1], a[0], &found));
}

/* ---- indexing --------------------------------------------------------------------------- */

/* A whole number of any kind; -1: it is none, or below zero. */
static int64_t index_of(const val *v)
{
	if (v->kind == CEL_INT)
		return v->i;
	if (v->kind == CEL_UINT && v->u <= INT64_MAX)
		return (int64_t)v->u;
	if (v->kind == CEL_DOUBLE && v->d >= 0 && v->d < 1e15 && v->d == floor(v->d))
		return (int64_t)v->d;
	return -1;
}

/* 1: found, 0: not, -1: this cannot be indexed so. */
static int find_at(struct cel_run *r, const val *from, const val *key, val *ret)
{
	int64_t i;

	switch ((enum cel_kind)from->kind) {
	case CEL_LIST:
		if (key->kind != CEL_INT && key->kind != CEL_UINT && key->kind != CEL_DOUBLE)
			return -1;
		i = index_of(key);
		if (i < 0 || (uint64_t)i >= val_size(from))
			return 0;
		*ret = list_at(r, from, (size_t)i);
		return 1;
	case CEL_MAP:
		return map_find(r, from, *key, ret);
	case CEL_OBJECT:
		if (key->kind != CEL_STRING)
			return -1;
		return member_find(r, from, val_cstr(r, *key), ret);
	default:
		return -1;
	}
}

static val op_index(struct cel_run *r, const val *a, size_t n UNUSED)
{
	val from = a[0], found = {0};
	bool optional = from.kind == CEL_OPTIONAL;
	int got;

	if (optional) {
		if (!optional_get(&from))
			return from;
		from = *optional_get(&from);
	}
	got = find_at(r, &from, &a[1], &found);
	if (got < 0)
		return no_overload(r);
	if (optional)
		return cel_optional(r, got ? &found : NULL);
	if (got)
		return found;
	if (from.kind == CEL_LIST)
		return cel_error(r, "index out of bounds: %lld", (long long)index_of(&a[1]));
	return no_key(r, a[1]);
}

static val op_optional_index(struct cel_run *r, const val *a, size_t n)
{
	val v[2] = {a[0], a[1]};

	if (v[0].kind != CEL_OPTIONAL)
		v[0] = cel_optional(r, &a[0]);
	return op_index(r, v, n);
}

/* ---- of all kinds ----------------------------------------------------------------------- */

static val fn_size(struct cel_run *r, const val *a, size_t n UNUSED)
{
	if (a->kind == CEL_STRING && run_charge(r, a->str.n / 10))
		return run_over(r);
	if (a->kind != CEL_STRING && a->kind != CEL_BYTES && a->kind != CEL_LIST &&
	    a->kind != CEL_MAP)
		return no_overload(r);
	return val_int((int64_t)val_size(a));
}

static val fn_type(struct cel_run *r UNUSED, const val *a, size_t n UNUSED)
{
	return (val){.kind = CEL_TYPE, .type = val_type(a)};
}

static val fn_dyn(struct cel_run *r UNUSED, const val *a, size_t n UNUSED)
{
	return *a;
}

/* ---- optionals -------------------------------------------------------------------------- */

static val fn_optional_of(struct cel_run *r, const val *a, size_t n UNUSED)
{
	return cel_optional(r, a);
}

static val fn_optional_none(struct cel_run *r, const val *a UNUSED, size_t n UNUSED)
{
	return cel_optional(r, NULL);
}

static bool is_zero(const val *v)
{
	switch ((enum cel_kind)v->kind) {
	case CEL_NULL:
		return true;
	case CEL_BOOL:
		return !v->b;
	case CEL_INT:
	case CEL_UINT:
	case CEL_DURATION:
		return v->i == 0;
	case CEL_DOUBLE:
		return v->d == 0;
	case CEL_STRING:
	case CEL_BYTES:
		return v->str.n == 0;
	case CEL_LIST:
	case CEL_MAP:
		return val_size(v) == 0;
	default:
		return false;
	}
}

static val fn_optional_of_non_zero(struct cel_run *r, const val *a, size_t n UNUSED)
{
	return cel_optional(r, is_zero(a) ? NULL : a);
}

static val fn_has_value(struct cel_run *r UNUSED, const val *a, size_t n UNUSED)
{
	return val_bool(optional_get(a) != NULL);
}

static val fn_value(struct cel_run *r, const val *a, size_t n UNUSED)
{
	return optional_get(a) ? *optional_get(a) : cel_error(r, "optional.none() dereference");
}

static val fn_or(struct cel_run *r UNUSED, const val *a, size_t n UNUSED)
{
	return optional_get(a) ? a[0] : a[1];
}

static val fn_or_value(struct cel_run *r UNUSED, const val *a, size_t n UNUSED)
{
	return optional_get(a) ? *optional_get(a) : a[1];
}

static const struct function table[] = {
	{"_+_", "i:ii", op_add, false},
	{"_+_", "u:uu", op_add, false},
	{"_+_", "d:dd", op_add, false},
	{"_+_", "s:ss", op_add, false},
	{"_+_", "y:yy", op_add, false},
	{"_+_", "LA:LALA", op_add, false},
	{"_+_", "D:DD", op_add, false},
	{"_+_", "t:tD", op_add, false},
	{"_+_", "t:Dt", op_add, false},
	{"_-_", "i:ii", op_subtract, false},
	{"_-_", "u:uu", op_subtract, false},
	{"_-_", "d:dd", op_subtract, false},
	{"_-_", "D:DD", op_subtract, false},
	{"_-_", "t:tD", op_subtract, false},
	{"_-_", "D:tt", op_subtract, false},
	{"_*_", "i:ii", op_multiply, false},
	{"_*_", "u:uu", op_multiply, false},
	{"_*_", "d:dd", op_multiply, false},
	{"_/_", "i:ii", op_divide, false},
	{"_/_", "u:uu", op_divide, false},
	{"_/_", "d:dd", op_divide, false},
	{"_%_", "i:ii", op_modulo, false},
	{"_%_", "u:uu", op_modulo, false},
	{"-_", "i:i", op_negate, false},
	{"-_", "d:d", op_negate, false},
	{"-_", "D:D", op_negate, false},
	{"!_", "b:b", op_not, false},
	{"_?_:_", "A:bAA", fn_dyn, false},
	{"_==_", "b:AA", op_equal, false},
	{"_!=_", "b:AA", op_not_equal, false},
#define ORDER(name, fn)                                                                            \
	{name, "b:bb", fn, false}, {name, "b:ii", fn, false}, {name, "b:iu", fn, false},           \
		{name, "b:id", fn, false}, {name, "b:uu", fn, false}, {name, "b:ui", fn, false},   \
		{name, "b:ud", fn, false}, {name, "b:dd", fn, false}, {name, "b:di", fn, false},   \
		{name, "b:du", fn, false}, {name, "b:ss", fn, false}, {name, "b:yy", fn, false},   \
		{name, "b:tt", fn, false},                                                         \
	{                                                                                          \
		name, "b:DD", fn, false                                                            \
	}
	ORDER("_<_", op_less),
	ORDER("_<=_", op_less_equal),
	ORDER("_>_", op_greater),
	ORDER("_>=_", op_greater_equal),
	{"@in", "b:ALA", op_in_list, false},
	{"@in", "b:AMAB", op_in_map, false},
	{"_[_]", "A:LAi", op_index, false},
	{"_[_]", "B:MABA", op_index, false},
	{"_[_]", "OA:OLAi", op_index, false},
	{"_[_]", "OB:OMABA", op_index, false},
	{"_[?_]", "OA:LAi", op_optional_index, false},
	{"_[?_]", "OB:MABA", op_optional_index, false},
	{"_[?_]", "OA:OLAi", op_optional_index, false},
	{"_[?_]", "OB:OMABA", op_optional_index, false},
	{"size", "i:s", fn_size, false},
	{"size", "i:y", fn_size, false},
	{"size", "i:LA", fn_size, false},
	{"size", "i:MAB", fn_size, false},
	{"size", "i:s", fn_size, true},
	{"size", "i:y", fn_size, true},
	{"size", "i:LA", fn_size, true},
	{"size", "i:MAB", fn_size, true},
	{"type", "T:A", fn_type, false},
	{"dyn", "*:A", fn_dyn, false},
	{"optional.of", "OA:A", fn_optional_of, false},
	{"optional.ofNonZeroValue", "OA:A", fn_optional_of_non_zero, false},
	{"optional.none", "OA:", fn_optional_none, false},
	{"hasValue", "b:OA", fn_has_value, true},
	{"value", "A:OA", fn_value, true},
	{"or", "OA:OAOA", fn_or, true},
	{"orValue", "A:OAA", fn_or_value, true},
};
const struct functions operator_functions = {table, ARRAY_SIZE(table)};
