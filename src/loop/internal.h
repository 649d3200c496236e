/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the loop share. */
#ifndef CORACLE_LOOP_INTERNAL_H
#define CORACLE_LOOP_INTERNAL_H

#include <coracle/loop.h>
#include <openssl/ssl.h>

struct event_base;

/* How many turns took up to so long, see turn_bounds. */
enum { TURN_BOUNDS = 6 };
struct turn_times {
	uint64_t upto[TURN_BOUNDS + 1]; /* the last: longer than all bounds */
	uint64_t turns, longest_us;
};

struct loop {
	struct event_base *base;
	mono_t now;
	uint64_t turns;
	struct list deferred; /* struct work.node */
	struct list later;    /* the same, for the next turn */
	struct grave *graves; /* freed in the bury phase */
	struct list draining; /* streams that are closed once their output is sent */
	struct list timers, listeners, children;
	struct list tasks, tasks_waiting; /* struct task.node: begun, and not yet */
	unsigned n_tasks, n_tasks_waiting;
	size_t tasks_cost; /* of those that have begun */
	uint64_t task_number, task_turn;
	struct work task_work, bury_work;
	struct list retired;
	size_t newly_retired; /* since retired_bury() */
	struct turn_times times, times_lately;
	uint64_t cpu_us;     /* of the thread when the turn before ended */
	struct timer *until; /* loop_run_until()'s limit */
	bool expired;
};

/* A turn has ended. */
void turn_note(struct loop *loop);
void tasks_init(struct loop *loop);
/* Frees what was retired and is known to no task. */
void retired_bury(struct loop *loop);

SSL_CTX *tls_context(struct tls *t);
/* Closes what still drains when the loop ends. */
void streams_abandon(struct loop *loop);
/* Forgets those that outlive the loop. */
void children_abandon(struct loop *loop);

#endif
