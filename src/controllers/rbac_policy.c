/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Default roles and bindings (kubernetes plugin/pkg/auth/authorizer/rbac/bootstrappolicy): those of
 * users, and of what this program does. Roles of components that it has no need for are left out.
 */
#include "rbac.h"

#include <coracle/base.h>

#define READ "get,list,watch"
#define WRITE "create,delete,deletecollection,patch,update"
#define ALL_VERBS WRITE "," READ
#define LABEL "rbac.authorization.k8s.io/aggregate-to-"

static const struct policy_rule everything[] = {
	{"*", "*", "*", NULL},
	{"*", NULL, NULL, "*"},
};
static const struct policy_rule view[] = {
	{READ, "",
	 "configmaps,endpoints,persistentvolumeclaims,persistentvolumeclaims/status,pods,"
	 "replicationcontrollers,replicationcontrollers/scale,serviceaccounts,services,"
	 "services/status",
	 NULL},
	{READ, "",
	 "bindings,events,limitranges,namespaces/status,pods/log,pods/status,"
	 "replicationcontrollers/status,resourcequotas,resourcequotas/status",
	 NULL},
	{READ, "", "namespaces", NULL},
	{READ, "discovery.k8s.io", "endpointslices", NULL},
	{READ, "apps",
	 "controllerrevisions,daemonsets,daemonsets/status,deployments,deployments/scale,"
	 "deployments/status,replicasets,replicasets/scale,replicasets/status,statefulsets,"
	 "statefulsets/scale,statefulsets/status",
	 NULL},
	{READ, "autoscaling", "horizontalpodautoscalers,horizontalpodautoscalers/status", NULL},
	{READ, "batch", "cronjobs,cronjobs/status,jobs,jobs/status", NULL},
	{READ, "policy", "poddisruptionbudgets,poddisruptionbudgets/status", NULL},
	{READ, "networking.k8s.io", "ingresses,ingresses/status,networkpolicies", NULL},
	{"get,list", "metrics.k8s.io", "pods,nodes", NULL},
};
static const struct policy_rule edit[] = {
	{READ, "", "pods/attach,pods/exec,pods/portforward,pods/proxy,secrets,services/proxy",
	 NULL},
	{"impersonate", "", "serviceaccounts", NULL},
	{WRITE, "", "pods,pods/attach,pods/exec,pods/portforward,pods/proxy", NULL},
	{"create", "", "pods/eviction", NULL},
	{WRITE, "",
	 "configmaps,events,persistentvolumeclaims,replicationcontrollers,"
	 "replicationcontrollers/scale,secrets,serviceaccounts,services,services/proxy",
	 NULL},
	{"create", "", "serviceaccounts/token", NULL},
	{WRITE, "apps",
	 "daemonsets,deployments,deployments/rollback,deployments/scale,replicasets,"
	 "replicasets/scale,statefulsets,statefulsets/scale",
	 NULL},
	{WRITE, "autoscaling", "horizontalpodautoscalers", NULL},
	{WRITE, "batch", "cronjobs,jobs", NULL},
	{WRITE, "policy", "poddisruptionbudgets", NULL},
	{WRITE, "networking.k8s.io", "ingresses,networkpolicies", NULL},
	{ALL_VERBS, "coordination.k8s.io", "leases", NULL},
};
static const struct policy_rule admin[] = {
	{"create", "authorization.k8s.io", "localsubjectaccessreviews", NULL},
	{ALL_VERBS, "rbac.authorization.k8s.io", "rolebindings,roles", NULL},
};
static const struct policy_rule discovery[] = {
	{"get", NULL, NULL,
	 "/api,/api/*,/apis,/apis/*,/healthz,/livez,/openapi,/openapi/*,/readyz,/version,"
	 "/version/"},
};
static const struct policy_rule public_info[] = {
	{"get", NULL, NULL, "/healthz,/livez,/readyz,/version,/version/"},
};
static const struct policy_rule basic_user[] = {
	{"create", "authorization.k8s.io", "selfsubjectaccessreviews,selfsubjectrulesreviews",
	 NULL},
	{"create", "authentication.k8s.io", "selfsubjectreviews", NULL},
};
static const struct policy_rule monitoring[] = {
	{"get", NULL, NULL, "/healthz,/healthz/*,/livez,/livez/*,/metrics,/readyz,/readyz/*"},
};
static const struct policy_rule issuer_discovery[] = {
	{"get", NULL, NULL,
	 "/.well-known/openid-configuration,/.well-known/openid-configuration/,/openid/v1/jwks,"
	 "/openid/v1/jwks/"},
};
static const struct policy_rule auth_delegator[] = {
	{"create", "authentication.k8s.io", "tokenreviews", NULL},
	{"create", "authorization.k8s.io", "subjectaccessreviews", NULL},
};

#define RULES(list) .rules = list, .n_rules = ARRAY_SIZE(list)
const struct policy_role policy_roles[] = {
	{.name = "cluster-admin", RULES(everything)},
	{.name = "admin", .aggregates = LABEL "admin"},
	{.name = "edit", .aggregates = LABEL "edit", .aggregated_to = LABEL "admin"},
	{.name = "view", .aggregates = LABEL "view", .aggregated_to = LABEL "edit"},
	{.name = "system:aggregate-to-admin", RULES(admin), .aggregated_to = LABEL "admin"},
	{.name = "system:aggregate-to-edit", RULES(edit), .aggregated_to = LABEL "edit"},
	{.name = "system:aggregate-to-view", RULES(view), .aggregated_to = LABEL "view"},
	{.name = "system:discovery", RULES(discovery)},
	{.name = "system:public-info-viewer", RULES(public_info)},
	{.name = "system:basic-user", RULES(basic_user)},
	{.name = "system:monitoring", RULES(monitoring)},
	{.name = "system:service-account-issuer-discovery", RULES(issuer_discovery)},
	{.name = "system:auth-delegator", RULES(auth_delegator)},
};
const unsigned n_policy_roles = ARRAY_SIZE(policy_roles);

const struct policy_binding policy_bindings[] = {
	{"cluster-admin", "cluster-admin", "system:masters"},
	{"system:discovery", "system:discovery", "system:authenticated"},
	{"system:basic-user", "system:basic-user", "system:authenticated"},
	{"system:public-info-viewer", "system:public-info-viewer",
	 "system:authenticated,system:unauthenticated"},
	{"system:monitoring", "system:monitoring", "system:monitoring"},
	{"system:service-account-issuer-discovery", "system:service-account-issuer-discovery",
	 "system:serviceaccounts"},
};
const unsigned n_policy_bindings = ARRAY_SIZE(policy_bindings);
