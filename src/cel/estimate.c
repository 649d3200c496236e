/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an expression may cost at most, from below: only walks over lists and maps are counted. It
 * is for telling those who write a rule that no object could ever pass it in time.
 */
#include "internal.h"

/* Of one step of a macro, beside its body. */
#define COST_STEP 3

static uint64_t add(uint64_t a, uint64_t b)
{
	uint64_t sum;

	return __builtin_add_overflow(a, b, &sum) ? UINT64_MAX : sum;
}

static uint64_t multiply(uint64_t a, uint64_t b)
{
	uint64_t product;

	return __builtin_mul_overflow(a, b, &product) ? UINT64_MAX : product;
}

static uint64_t estimate(const struct expr *e);

static uint64_t estimate_fold(const struct expr *e)
{
	uint64_t times = 1, body = 0;

	if (e->args[0]->type->max)
		times = e->args[0]->type->max;
	else if (e->args[0]->kind == E_LIST)
		times = e->args[0]->n;
	for (uint32_t i = 1; i < e->n; i++)
		body = add(body, estimate(e->args[i]));
	return add(estimate(e->args[0]), multiply(times, add(body, COST_STEP)));
}

/* What cel-go counts for the node alone. */
static uint64_t own_cost(const struct expr *e)
{
	if (e->kind == E_CONST || (e->kind == E_SELECT && e->test))
		return 0;
	return e->kind != E_CALL || (!streq(e->name, "_&&_") && !streq(e->name, "_||_"));
}

static uint64_t estimate(const struct expr *e)
{
	uint64_t sum = own_cost(e);

	if (e->kind == E_FOLD)
		return estimate_fold(e);
	if (e->kind == E_CALL && streq(e->name, "_?_:_")) {
		uint64_t yes = estimate(e->args[1]), no = estimate(e->args[2]);

		return add(estimate(e->args[0]), yes > no ? yes : no);
	}
	for (uint32_t i = 0; i < e->n; i++)
		sum = add(sum, estimate(e->args[i]));
	return sum;
}

uint64_t cel_program_estimate(const struct cel_program *p)
{
	return estimate(p->root);
}
