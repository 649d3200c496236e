/* SPDX-License-Identifier: Apache-2.0 */
/* backoff: growing pauses between attempts, as client-go's flowcontrol.Backoff keeps them. Pure. */
#ifndef CORACLE_NODE_BACKOFF_H
#define CORACLE_NODE_BACKOFF_H

#include <coracle/base.h>

#define BACKOFF_FIRST_US (10 * USEC_PER_SEC)
#define BACKOFF_MAX_US (300 * USEC_PER_SEC)

/* Zero-initialised: nothing has failed yet, the first attempt needs no pause. */
struct backoff {
	uint64_t delay_us; /* 0: none so far */
	mono_t updated;	   /* when delay_us was set */
};
/* Microseconds still to wait at `now` for an attempt whose pause counts from `since`; 0: go. A rest
 * of twice the longest pause forgets the past. */
uint64_t backoff_left(const struct backoff *b, mono_t since, mono_t now);
/* Notes an attempt that will need a pause: 10 s, doubling up to 300 s. */
void backoff_next(struct backoff *b, mono_t now);
void backoff_reset(struct backoff *b);

#endif
