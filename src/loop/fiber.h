/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A computation with a stack of its own (makecontext(3)), of which one runs at a time. The stack is
 * mapped for it alone, ends at a guard page, and is gone with it.
 */
#ifndef CORACLE_LOOP_FIBER_H
#define CORACLE_LOOP_FIBER_H

#include <coracle/base.h>

struct fiber;
/* NULL when there is no memory for a stack. */
struct fiber *fiber_new(void (*fn)(void *arg), void *arg);
/* Runs it until it yields (false) or has ended (true). Not from inside a fiber. */
bool fiber_resume(struct fiber *f);
/* Back to who resumed the fiber that is running. */
void fiber_yield(void);
/* Of one that has ended, or never begun. */
void fiber_free(struct fiber *f);

#endif
