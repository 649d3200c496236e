/* SPDX-License-Identifier: Apache-2.0 */
/* backoff: pauses between restarts and pulls. */
#include "backoff.h"

static bool expired(const struct backoff *b, mono_t now)
{
	return b->delay_us == 0 || mono_sub(now, b->updated) > 2 * BACKOFF_MAX_US;
}

uint64_t backoff_left(const struct backoff *b, mono_t since, mono_t now)
{
	if (expired(b, since))
		return 0;
	return mono_sub(mono_add(since, b->delay_us), now);
}

void backoff_next(struct backoff *b, mono_t now)
{
	uint64_t next = expired(b, now) ? BACKOFF_FIRST_US : 2 * b->delay_us;

	b->delay_us = next > BACKOFF_MAX_US ? BACKOFF_MAX_US : next;
	b->updated = now;
}

void backoff_reset(struct backoff *b)
{
	*b = (struct backoff){0};
}
