/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tokens: those of a pod's service account that one volume holds. A token is made when its file is
 * first written, and anew when four fifths of its life are over, as kubelet does.
 */
#ifndef CORACLE_NODE_TOKENS_H
#define CORACLE_NODE_TOKENS_H

#include <coracle/identity.h>
#include <coracle/loop.h>

struct token {
	char *audience; /* "": the API */
	int64_t seconds;
	char *text;
	mono_t renew;
};
/* Zero-initialise. */
struct tokens {
	struct token *v;
	size_t n;
};
void tokens_done(struct tokens *t);
/* The token for a serviceAccountToken source of the pod; borrowed. NULL + err. */
const char *tokens_get(struct tokens *t, const struct identity *id, const struct store *store,
		       const struct object *pod, const json_t *source, mono_t now, struct err *err);
/* Microseconds until the next one is due, at least 1; 0: there is none. */
uint64_t tokens_due_in(const struct tokens *t, mono_t now);

#endif
