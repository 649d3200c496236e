/* SPDX-License-Identifier: Apache-2.0 */
/* Lists (Kubernetes' library) and lists as sets (cel-go's ext.Sets). */
#include "internal.h"

typedef struct cel_value val;

static val fn_is_sorted(struct cel_run *r, const val *a, size_t n UNUSED)
{
	for (size_t i = 1; i < val_size(a); i++) {
		val pair[2] = {list_at(r, a, i - 1), list_at(r, a, i)};
		int cmp = val_compare(&pair[0], &pair[1]);

		if (run_charge(r, 1))
			return run_over(r);
		if (cmp == 3)
			return no_overload(r);
		if (cmp == 1)
			return val_bool(false);
	}
	return val_bool(true);
}

/* Sums begin with the zero of the elements' kind. */
static val fn_sum(struct cel_run *r, const val *a, size_t n UNUSED)
{
	size_t add_n;
	const struct function *const *add = functions_find("_+_", false, &add_n);
	val sum = val_int(0);

	for (size_t i = 0; i < val_size(a); i++) {
		val pair[2] = {sum, list_at(r, a, i)};

		if (run_charge(r, 1))
			return run_over(r);
		if (pair[1].kind != CEL_INT && pair[1].kind != CEL_UINT &&
		    pair[1].kind != CEL_DOUBLE && pair[1].kind != CEL_DURATION)
			return no_overload(r);
		sum = i ? add[0]->fn(r, pair, 2) : pair[1];
		if (sum.kind == CEL_ERROR)
			return sum;
	}
	return sum;
}

static val extreme(struct cel_run *r, const val *a, int want, const char *name)
{
	val best;

	if (val_size(a) == 0)
		return cel_error(r, "%s called on empty list", name);
	best = list_at(r, a, 0);
	for (size_t i = 1; i < val_size(a); i++) {
		val item = list_at(r, a, i);
		int cmp = val_compare(&item, &best);

		if (run_charge(r, 1))
			return run_over(r);
		if (cmp == 3)
			return no_overload(r);
		if (cmp == want)
			best = item;
	}
	return best;
}

static val fn_min(struct cel_run *r, const val *a, size_t n UNUSED)
{
	return extreme(r, a, -1, "min");
}

static val fn_max(struct cel_run *r, const val *a, size_t n UNUSED)
{
	return extreme(r, a, 1, "max");
}

static val fn_index_of(struct cel_run *r, const val *a, size_t n UNUSED)
{
	for (size_t i = 0; i < val_size(a); i++) {
		val item = list_at(r, a, i);

		if (run_charge(r, 1))
			return run_over(r);
		if (val_equal(r, &item, &a[1]))
			return val_int((int64_t)i);
	}
	return val_int(-1);
}

static val fn_last_index_of(struct cel_run *r, const val *a, size_t n UNUSED)
{
	for (size_t i = val_size(a); i-- > 0;) {
		val item = list_at(r, a, i);

		if (run_charge(r, 1))
			return run_over(r);
		if (val_equal(r, &item, &a[1]))
			return val_int((int64_t)i);
	}
	return val_int(-1);
}

/* How many of b's elements a has; stops at the first one that decides. */
static bool has_elements(struct cel_run *r, const val *a, const val *b, bool all)
{
	for (size_t i = 0; i < val_size(b); i++) {
		val pair[2] = {*a, list_at(r, b, i)};
		bool has = fn_index_of(r, pair, 2).i >= 0 && !r->over;

		if (r->over || has != all)
			return !r->over && !all;
	}
	return all;
}

static val fn_set_contains(struct cel_run *r, const val *a, size_t n UNUSED)
{
	return val_bool(has_elements(r, &a[0], &a[1], true));
}

static val fn_set_equivalent(struct cel_run *r, const val *a, size_t n UNUSED)
{
	return val_bool(has_elements(r, &a[0], &a[1], true) && has_elements(r, &a[1], &a[0], true));
}

static val fn_set_intersects(struct cel_run *r, const val *a, size_t n UNUSED)
{
	return val_bool(has_elements(r, &a[0], &a[1], false));
}

static const struct function table[] = {
	{"isSorted", "b:Li", fn_is_sorted, true},
	{"isSorted", "b:Lu", fn_is_sorted, true},
	{"isSorted", "b:Ld", fn_is_sorted, true},
	{"isSorted", "b:Lb", fn_is_sorted, true},
	{"isSorted", "b:Ls", fn_is_sorted, true},
	{"isSorted", "b:Ly", fn_is_sorted, true},
	{"isSorted", "b:LD", fn_is_sorted, true},
	{"isSorted", "b:Lt", fn_is_sorted, true},
	{"sum", "i:Li", fn_sum, true},
	{"sum", "u:Lu", fn_sum, true},
	{"sum", "d:Ld", fn_sum, true},
	{"sum", "D:LD", fn_sum, true},
#define EXTREME(name, fn)                                                                          \
	{name, "i:Li", fn, true}, {name, "u:Lu", fn, true}, {name, "d:Ld", fn, true},              \
		{name, "b:Lb", fn, true}, {name, "s:Ls", fn, true}, {name, "y:Ly", fn, true},      \
		{name, "D:LD", fn, true},                                                          \
	{                                                                                          \
		name, "t:Lt", fn, true                                                             \
	}
	EXTREME("min", fn_min),
	EXTREME("max", fn_max),
	{"indexOf", "i:LAA", fn_index_of, true},
	{"lastIndexOf", "i:LAA", fn_last_index_of, true},
	{"sets.contains", "b:LALA", fn_set_contains, false},
	{"sets.equivalent", "b:LALA", fn_set_equivalent, false},
	{"sets.intersects", "b:LALA", fn_set_intersects, false},
};
const struct functions list_functions = {table, ARRAY_SIZE(table)};
