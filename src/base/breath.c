/* SPDX-License-Identifier: Apache-2.0 */
/* Where long computing may be put aside. Who puts it aside (the loop's tasks) hooks itself in. */
#include <coracle/json.h>
#include <limits.h>

/* So many values, fields or nodes between two looks at the clock. */
#define BREATH_STEPS 64

unsigned breath_left = UINT_MAX;
static unsigned held;
static void (*put_aside)(void);
static void (*keeper)(void *arg, void (*release)(void *), void *ptr);
static void *keeper_arg;

void breath_begin(void (*fn)(void))
{
	put_aside = fn;
	breath_left = BREATH_STEPS;
}

void breath_end(void)
{
	put_aside = NULL;
	breath_left = UINT_MAX;
}

void breath_take(void)
{
	if (!put_aside)
		return; /* the counter goes round once more */
	breath_left = BREATH_STEPS;
	if (!held)
		put_aside();
}

void breathe_copy(void *to, const void *from, size_t len)
{
	char *t = to;
	const char *f = from;

	for (size_t n; len; t += n, f += n, len -= n) {
		n = len < BREATH_BYTES ? len : BREATH_BYTES;
		memcpy(t, f, n);
		breathe_bytes(n);
	}
}

void breath_keeper(void (*fn)(void *arg, void (*release)(void *), void *ptr), void *arg)
{
	keeper = fn;
	keeper_arg = arg;
}

void breath_outlive(void (*release)(void *), void *ptr)
{
	if (keeper)
		keeper(keeper_arg, release, ptr);
	else
		release(ptr);
}

bool breathing(void)
{
	return put_aside != NULL;
}

void breath_hold(void)
{
	held++;
}

void breath_release(void)
{
	held--;
}

/* ---- values --------------------------------------------------------------------------------- */

/* jansson's own goes without a rest, and compares what is the same thing. */
static bool same_members(const json_t *a, const json_t *b)
{
	const char *key;
	size_t len;
	json_t *v;

	if (json_object_size(a) != json_object_size(b))
		return false;
	json_object_keylen_foreach((json_t *)(uintptr_t)a, key, len, v)
	{
		if (!json_same(v, json_object_getn(b, key, len)))
			return false;
	}
	return true;
}

static bool same_items(const json_t *a, const json_t *b)
{
	json_t *v;
	size_t i;

	if (json_array_size(a) != json_array_size(b))
		return false;
	json_array_foreach(a, i, v)
	{
		if (!json_same(v, json_array_get(b, i)))
			return false;
	}
	return true;
}

bool json_same(const json_t *a, const json_t *b)
{
	breathe();
	if (!a || !b)
		return false;
	if (a == b)
		return true;
	if (json_typeof(a) != json_typeof(b))
		return false;
	if (json_is_object(a))
		return same_members(a, b);
	if (json_is_array(a))
		return same_items(a, b);
	return json_equal((json_t *)(uintptr_t)a, (json_t *)(uintptr_t)b);
}
