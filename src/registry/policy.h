/* SPDX-License-Identifier: Apache-2.0 */
/* What policy.c and policy_eval.c share. */
#ifndef CORACLE_REGISTRY_POLICY_H
#define CORACLE_REGISTRY_POLICY_H

#include "internal.h"
#include <coracle/cel.h>

/* An expression and its program, or why it has none. */
struct expression {
	const char *text; /* of the spec */
	struct cel_program *program;
	char *error;
};
struct expressions {
	struct expression *v;
	size_t n;
};
/* matchConstraints or matchResources. */
struct match {
	const json_t *json;
	struct label_selector *ns, *object; /* NULL: all */
	bool exact;
};
struct policy {
	char *name;
	json_t *spec;
	struct match match;
	bool ready; /* compiled */
	struct policy_scope *scope;
	struct expressions conditions, rules, messages, audits;
};
struct binding {
	char *name;
	json_t *spec;
	struct match match;
};
/* What has been found out so far. */
struct decision {
	const char *reason;
	char *message;	 /* NULL: nobody denies */
	json_t *request; /* made when first asked for */
};
/* The first one that denies is told. b NULL: the policy itself is at fault. */
void decide_deny(struct decision *d, const struct policy *p, const struct binding *b,
		 const char *reason, const char *message);
/* Evaluates the policy for one of its bindings; as: the version its rules speak of. */
void policy_apply(struct registry *r, struct policy *p, const struct binding *b,
		  const struct review *q, const struct kind *as, struct cel_run *run,
		  struct decision *d);

#endif
