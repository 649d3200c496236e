/* SPDX-License-Identifier: Apache-2.0 */
/* resource.Quantity, held in thousand-millionths; how it is written is the host's to know. */
#include "internal.h"

typedef struct cel_value val;

#define NANO ((__int128)1000000000)

static bool parse(struct cel_run *r, const val *a, __int128 *nano)
{
	return r->host && r->host->quantity && r->host->quantity(val_cstr(r, *a), nano) == 0;
}

static val make(struct cel_run *r, __int128 nano)
{
	__int128 *p = run_take(r, sizeof(*p));

	if (!p)
		return run_over(r);
	*p = nano;
	return val_ptr(CEL_QUANTITY, p);
}

static __int128 nano_of(const val *v)
{
	return v->kind == CEL_INT ? v->i * NANO : *(const __int128 *)v->ptr;
}

static val fn_quantity(struct cel_run *r, const val *a, size_t n UNUSED)
{
	__int128 nano;

	if (!parse(r, a, &nano))
		return cel_error(r, "quantities must match the regular expression "
				    "'^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'");
	return make(r, nano);
}

static val fn_is_quantity(struct cel_run *r, const val *a, size_t n UNUSED)
{
	__int128 nano;

	return val_bool(parse(r, a, &nano));
}

static val fn_compare(struct cel_run *r UNUSED, const val *a, size_t n UNUSED)
{
	return val_int(val_compare(&a[0], &a[1]));
}

static val fn_is_less(struct cel_run *r UNUSED, const val *a, size_t n UNUSED)
{
	return val_bool(val_compare(&a[0], &a[1]) < 0);
}

static val fn_is_greater(struct cel_run *r UNUSED, const val *a, size_t n UNUSED)
{
	return val_bool(val_compare(&a[0], &a[1]) > 0);
}

static val fn_sign(struct cel_run *r UNUSED, const val *a, size_t n UNUSED)
{
	__int128 nano = nano_of(a);

	return val_int((nano > 0) - (nano < 0));
}

static bool is_integer(__int128 nano)
{
	return nano % NANO == 0 && nano / NANO <= INT64_MAX && nano / NANO >= INT64_MIN;
}

static val fn_is_integer(struct cel_run *r UNUSED, const val *a, size_t n UNUSED)
{
	return val_bool(is_integer(nano_of(a)));
}

static val fn_as_integer(struct cel_run *r, const val *a, size_t n UNUSED)
{
	if (!is_integer(nano_of(a)))
		return cel_error(r, "cannot convert value to integer");
	return val_int((int64_t)(nano_of(a) / NANO));
}

static val fn_as_float(struct cel_run *r UNUSED, const val *a, size_t n UNUSED)
{
	return val_double((double)nano_of(a) / 1e9);
}

static val fn_add(struct cel_run *r, const val *a, size_t n UNUSED)
{
	return make(r, nano_of(&a[0]) + nano_of(&a[1]));
}

static val fn_subtract(struct cel_run *r, const val *a, size_t n UNUSED)
{
	return make(r, nano_of(&a[0]) - nano_of(&a[1]));
}

static const struct function table[] = {
	{"quantity", "q:s", fn_quantity, false},
	{"isQuantity", "b:s", fn_is_quantity, false},
	{"compareTo", "i:qq", fn_compare, true},
	{"compareTo", "i:VV", fn_compare, true},
	{"isLessThan", "b:qq", fn_is_less, true},
	{"isLessThan", "b:VV", fn_is_less, true},
	{"isGreaterThan", "b:qq", fn_is_greater, true},
	{"isGreaterThan", "b:VV", fn_is_greater, true},
	{"sign", "i:q", fn_sign, true},
	{"isInteger", "b:q", fn_is_integer, true},
	{"asInteger", "i:q", fn_as_integer, true},
	{"asApproximateFloat", "d:q", fn_as_float, true},
	{"add", "q:qq", fn_add, true},
	{"add", "q:qi", fn_add, true},
	{"sub", "q:qq", fn_subtract, true},
	{"sub", "q:qi", fn_subtract, true},
};
const struct functions quantity_functions = {table, ARRAY_SIZE(table)};
