/* SPDX-License-Identifier: Apache-2.0 */
/* The table of all functions, found by name. */
#include "internal.h"

static const struct functions *const libraries[] = {
	&operator_functions, &convert_functions, &string_functions,   &list_functions,
	&time_functions,     &regex_functions,	 &quantity_functions, &url_functions,
	&net_functions,	     &semver_functions,	 &format_functions,   &authorizer_functions,
};
#define FUNCTIONS_MAX 400
static const struct function *sorted[FUNCTIONS_MAX];
static size_t n_sorted;

/* By name, members last; overloads of one name stay in the order of their table (a merge would be
 * wasted on it: the position decides among equals). */
static int function_cmp(const void *pa, const void *pb)
{
	const struct function *a = *(const struct function *const *)pa;
	const struct function *b = *(const struct function *const *)pb;
	int cmp = strcmp(a->name, b->name);

	if (cmp)
		return cmp;
	if (a->member != b->member)
		return a->member ? 1 : -1;
	return a < b ? -1 : a > b;
}

static void sort_functions(void)
{
	if (n_sorted)
		return;
	for (size_t i = 0; i < ARRAY_SIZE(libraries); i++)
		for (size_t j = 0; j < libraries[i]->n && n_sorted < FUNCTIONS_MAX; j++)
			sorted[n_sorted++] = &libraries[i]->v[j];
	qsort(sorted, n_sorted, sizeof(sorted[0]), function_cmp);
}

/* The first one of that name. */
static size_t lower_bound(const char *name)
{
	size_t lo = 0, hi;

	sort_functions();
	hi = n_sorted;
	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (strcmp(sorted[mid]->name, name) < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

bool functions_known(const char *name)
{
	size_t i = lower_bound(name);

	return i < n_sorted && streq(sorted[i]->name, name);
}

const struct function *const *functions_find(const char *name, bool member, size_t *n)
{
	size_t i = lower_bound(name), end;

	while (i < n_sorted && streq(sorted[i]->name, name) && sorted[i]->member != member)
		i++;
	for (end = i;
	     end < n_sorted && streq(sorted[end]->name, name) && sorted[end]->member == member;)
		end++;
	*n = end - i;
	return &sorted[i];
}
