/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the loop share. */
#ifndef CORACLE_LOOP_INTERNAL_H
#define CORACLE_LOOP_INTERNAL_H

#include <coracle/loop.h>
#include <openssl/ssl.h>

struct event_base;

struct loop {
	struct event_base *base;
	mono_t now;
	uint64_t turns;
	struct list deferred; /* struct work.node */
	struct list later;    /* the same, for the next turn */
	struct grave *graves; /* freed in the bury phase */
	struct list draining; /* streams that are closed once their output is sent */
	struct list timers, listeners, children;
	struct timer *until; /* loop_run_until()'s limit */
	bool expired;
};

SSL_CTX *tls_context(struct tls *t);
/* Closes what still drains when the loop ends. */
void streams_abandon(struct loop *loop);
/* Forgets those that outlive the loop. */
void children_abandon(struct loop *loop);

#endif
