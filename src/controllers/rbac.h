/* SPDX-License-Identifier: Apache-2.0 */
/* The roles and bindings that every cluster starts with (rbac_policy.c). */
#ifndef CORACLE_CONTROLLERS_RBAC_H
#define CORACLE_CONTROLLERS_RBAC_H

/* Lists are comma-separated. groups "": the core group; NULL: the rule is about urls. */
struct policy_rule {
	const char *verbs, *groups, *resources, *urls;
	const char *names; /* of objects, or NULL: all */
};
struct policy_role {
	const char *name;
	const char *ns; /* of a Role; NULL: it is a ClusterRole */
	const struct policy_rule *rules;
	unsigned n_rules;
	const char *aggregates;	   /* label that its parts have, or NULL */
	const char *aggregated_to; /* label of its own, or NULL */
};
struct policy_binding {
	const char *name, *role, *groups;
	const char *users;   /* or NULL */
	const char *account; /* of kube-system, or NULL */
	const char *ns;	     /* of a RoleBinding to a Role; NULL: it is a ClusterRoleBinding */
};
extern const struct policy_role policy_roles[];
extern const unsigned n_policy_roles;
extern const struct policy_binding policy_bindings[];
extern const unsigned n_policy_bindings;

#endif
