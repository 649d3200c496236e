/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Default roles and bindings (kubernetes plugin/pkg/auth/authorizer/rbac/bootstrappolicy): those of
 * users, of what this program does, and of components that people run beside it or that charts
 * name. Roles of the controllers that are part of this program (system:controller:*) are left out.
 */
#include "rbac.h"

#include <coracle/base.h>

#define READ "get,list,watch"
#define WRITE "create,delete,deletecollection,patch,update"
#define ALL_VERBS WRITE "," READ
#define CERTIFICATES "system:certificates.k8s.io:"
#define READER "extension-apiserver-authentication-reader"
#define LABEL "rbac.authorization.k8s.io/aggregate-to-"

static const struct policy_rule everything[] = {
	{"*", "*", "*", NULL, NULL},
	{"*", NULL, NULL, "*", NULL},
};
static const struct policy_rule view[] = {
	{READ, "",
	 "configmaps,endpoints,persistentvolumeclaims,persistentvolumeclaims/status,pods,"
	 "replicationcontrollers,replicationcontrollers/scale,serviceaccounts,services,"
	 "services/status",
	 NULL, NULL},
	{READ, "",
	 "bindings,events,limitranges,namespaces/status,pods/log,pods/status,"
	 "replicationcontrollers/status,resourcequotas,resourcequotas/status",
	 NULL, NULL},
	{READ, "", "namespaces", NULL, NULL},
	{READ, "discovery.k8s.io", "endpointslices", NULL, NULL},
	{READ, "apps",
	 "controllerrevisions,daemonsets,daemonsets/status,deployments,deployments/scale,"
	 "deployments/status,replicasets,replicasets/scale,replicasets/status,statefulsets,"
	 "statefulsets/scale,statefulsets/status",
	 NULL, NULL},
	{READ, "autoscaling", "horizontalpodautoscalers,horizontalpodautoscalers/status", NULL,
	 NULL},
	{READ, "batch", "cronjobs,cronjobs/status,jobs,jobs/status", NULL, NULL},
	{READ, "policy", "poddisruptionbudgets,poddisruptionbudgets/status", NULL, NULL},
	{READ, "networking.k8s.io", "ingresses,ingresses/status,networkpolicies", NULL, NULL},
	{"get,list", "metrics.k8s.io", "pods,nodes", NULL, NULL},
};
static const struct policy_rule edit[] = {
	{READ, "", "pods/attach,pods/exec,pods/portforward,pods/proxy,secrets,services/proxy", NULL,
	 NULL},
	{"impersonate", "", "serviceaccounts", NULL, NULL},
	{WRITE, "", "pods,pods/attach,pods/exec,pods/portforward,pods/proxy", NULL, NULL},
	{"create", "", "pods/eviction", NULL, NULL},
	{WRITE, "",
	 "configmaps,events,persistentvolumeclaims,replicationcontrollers,"
	 "replicationcontrollers/scale,secrets,serviceaccounts,services,services/proxy",
	 NULL, NULL},
	{"create", "", "serviceaccounts/token", NULL, NULL},
	{WRITE, "apps",
	 "daemonsets,deployments,deployments/rollback,deployments/scale,replicasets,"
	 "replicasets/scale,statefulsets,statefulsets/scale",
	 NULL, NULL},
	{WRITE, "autoscaling", "horizontalpodautoscalers", NULL, NULL},
	{WRITE, "batch", "cronjobs,jobs", NULL, NULL},
	{WRITE, "policy", "poddisruptionbudgets", NULL, NULL},
	{WRITE, "networking.k8s.io", "ingresses,networkpolicies", NULL, NULL},
	{ALL_VERBS, "coordination.k8s.io", "leases", NULL, NULL},
};
static const struct policy_rule admin[] = {
	{"create", "authorization.k8s.io", "localsubjectaccessreviews", NULL, NULL},
	{ALL_VERBS, "rbac.authorization.k8s.io", "rolebindings,roles", NULL, NULL},
};
static const struct policy_rule discovery[] = {
	{"get", NULL, NULL,
	 "/api,/api/*,/apis,/apis/*,/healthz,/livez,/openapi,/openapi/*,/readyz,/version,"
	 "/version/",
	 NULL},
};
static const struct policy_rule public_info[] = {
	{"get", NULL, NULL, "/healthz,/livez,/readyz,/version,/version/", NULL},
};
static const struct policy_rule basic_user[] = {
	{"create", "authorization.k8s.io", "selfsubjectaccessreviews,selfsubjectrulesreviews", NULL,
	 NULL},
	{"create", "authentication.k8s.io", "selfsubjectreviews", NULL, NULL},
};
static const struct policy_rule monitoring[] = {
	{"get", NULL, NULL, "/healthz,/healthz/*,/livez,/livez/*,/metrics,/readyz,/readyz/*", NULL},
};
static const struct policy_rule issuer_discovery[] = {
	{"get", NULL, NULL,
	 "/.well-known/openid-configuration,/.well-known/openid-configuration/,/openid/v1/jwks,"
	 "/openid/v1/jwks/",
	 NULL},
};
static const struct policy_rule auth_delegator[] = {
	{"create", "authentication.k8s.io", "tokenreviews", NULL, NULL},
	{"create", "authorization.k8s.io", "subjectaccessreviews", NULL, NULL},
};

#define EVENTS                                                                                     \
	{"create,patch,update", "", "events", NULL, NULL},                                         \
	{                                                                                          \
		"create,patch,update", "events.k8s.io", "events", NULL, NULL                       \
	}
#define REVIEWS                                                                                    \
	{"create", "authentication.k8s.io", "tokenreviews", NULL, NULL},                           \
	{                                                                                          \
		"create", "authorization.k8s.io", "subjectaccessreviews", NULL, NULL               \
	}
#define LEADER(name)                                                                               \
	{"create", "coordination.k8s.io", "leases", NULL, NULL},                                   \
	{                                                                                          \
		"get,update", "coordination.k8s.io", "leases", NULL, name                          \
	}
static const struct policy_rule node[] = {
	{"create", "authentication.k8s.io", "tokenreviews", NULL, NULL},
	{"create", "authorization.k8s.io", "localsubjectaccessreviews,subjectaccessreviews", NULL,
	 NULL},
	{READ, "", "services", NULL, NULL},
	{"create," READ, "", "nodes", NULL, NULL},
	{"patch,update", "", "nodes/status", NULL, NULL},
	{"patch,update", "", "nodes", NULL, NULL},
	{"create,patch,update", "", "events", NULL, NULL},
	{READ, "", "pods", NULL, NULL},
	{"create,delete", "", "pods", NULL, NULL},
	{"patch,update", "", "pods/status", NULL, NULL},
	{"create", "", "pods/eviction", NULL, NULL},
	{READ, "", "configmaps,secrets", NULL, NULL},
	{"get", "", "persistentvolumeclaims,persistentvolumes", NULL, NULL},
	{"get", "", "endpoints", NULL, NULL},
	{"create," READ, "certificates.k8s.io", "certificatesigningrequests", NULL, NULL},
	{"create,delete,get,patch,update", "coordination.k8s.io", "leases", NULL, NULL},
	{"get", "storage.k8s.io", "volumeattachments", NULL, NULL},
	{"create", "", "serviceaccounts/token", NULL, NULL},
	{"get,patch,update", "", "persistentvolumeclaims/status", NULL, NULL},
	{READ, "storage.k8s.io", "csidrivers", NULL, NULL},
	{"create,delete,get,patch,update", "storage.k8s.io", "csinodes", NULL, NULL},
	{READ, "node.k8s.io", "runtimeclasses", NULL, NULL},
};
static const struct policy_rule node_bootstrapper[] = {
	{"create," READ, "certificates.k8s.io", "certificatesigningrequests", NULL, NULL},
};
static const struct policy_rule node_problem_detector[] = {
	{"get", "", "nodes", NULL, NULL},
	{"patch", "", "nodes/status", NULL, NULL},
	EVENTS,
};
static const struct policy_rule node_proxier[] = {
	{"list,watch", "", "endpoints,services", NULL, NULL},
	{READ, "", "nodes", NULL, NULL},
	EVENTS,
	{"list,watch", "discovery.k8s.io", "endpointslices", NULL, NULL},
};
static const struct policy_rule kubelet_api_admin[] = {
	{READ, "", "nodes", NULL, NULL},
	{"proxy", "", "nodes", NULL, NULL},
	{"*", "", "nodes/log,nodes/metrics,nodes/proxy,nodes/stats", NULL, NULL},
};
static const struct policy_rule kube_aggregator[] = {
	{READ, "", "endpoints,services", NULL, NULL},
	{READ, "discovery.k8s.io", "endpointslices", NULL, NULL},
};
static const struct policy_rule controller_manager[] = {
	EVENTS,
	LEADER("kube-controller-manager"),
	{"create", "", "secrets,serviceaccounts", NULL, NULL},
	{"delete", "", "secrets", NULL, NULL},
	{"get", "", "configmaps,namespaces,secrets,serviceaccounts", NULL, NULL},
	{"update", "", "secrets,serviceaccounts", NULL, NULL},
	REVIEWS,
	{"list,watch", "*", "*", NULL, NULL},
	{"create", "", "serviceaccounts/token", NULL, NULL},
};
static const struct policy_rule kube_dns[] = {
	{"list,watch", "", "endpoints,services", NULL, NULL},
};
static const struct policy_rule volume_provisioner[] = {
	{"create,delete," READ, "", "persistentvolumes", NULL, NULL},
	{READ ",update", "", "persistentvolumeclaims", NULL, NULL},
	{READ, "storage.k8s.io", "storageclasses", NULL, NULL},
	{"watch", "", "events", NULL, NULL},
	EVENTS,
};
static const struct policy_rule volume_scheduler[] = {
	{READ ",patch,update", "", "persistentvolumes", NULL, NULL},
	{READ, "storage.k8s.io", "storageclasses", NULL, NULL},
	{READ ",patch,update", "", "persistentvolumeclaims", NULL, NULL},
};
static const struct policy_rule scheduler[] = {
	EVENTS,
	LEADER("kube-scheduler"),
	{READ, "", "nodes", NULL, NULL},
	{"delete," READ, "", "pods", NULL, NULL},
	{"create", "", "bindings,pods/binding", NULL, NULL},
	{"patch,update", "", "pods/status", NULL, NULL},
	{READ, "", "replicationcontrollers,services", NULL, NULL},
	{READ, "apps", "replicasets,statefulsets", NULL, NULL},
	{READ, "policy", "poddisruptionbudgets", NULL, NULL},
	{READ, "", "persistentvolumeclaims,persistentvolumes", NULL, NULL},
	REVIEWS,
	{READ, "storage.k8s.io", "csidrivers,csinodes,csistoragecapacities", NULL, NULL},
	{READ, "", "namespaces", NULL, NULL},
};
static const struct policy_rule nodeclient[] = {
	{"create", "certificates.k8s.io", "certificatesigningrequests/nodeclient", NULL, NULL},
};
static const struct policy_rule selfnodeclient[] = {
	{"create", "certificates.k8s.io", "certificatesigningrequests/selfnodeclient", NULL, NULL},
};
static const struct policy_rule unknown_approver[] = {
	{"approve", "certificates.k8s.io", "signers", NULL, "kubernetes.io/legacy-unknown"},
};
static const struct policy_rule serving_approver[] = {
	{"approve", "certificates.k8s.io", "signers", NULL, "kubernetes.io/kubelet-serving"},
};
static const struct policy_rule client_approver[] = {
	{"approve", "certificates.k8s.io", "signers", NULL, "kubernetes.io/kube-apiserver-client"},
};
static const struct policy_rule kubelet_approver[] = {
	{"approve", "certificates.k8s.io", "signers", NULL,
	 "kubernetes.io/kube-apiserver-client-kubelet"},
};
static const struct policy_rule authentication_reader[] = {
	{READ, "", "configmaps", NULL, "extension-apiserver-authentication"},
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
	{.name = "system:node", RULES(node)},
	{.name = "system:node-bootstrapper", RULES(node_bootstrapper)},
	{.name = "system:node-problem-detector", RULES(node_problem_detector)},
	{.name = "system:node-proxier", RULES(node_proxier)},
	{.name = "system:kubelet-api-admin", RULES(kubelet_api_admin)},
	{.name = "system:kube-aggregator", RULES(kube_aggregator)},
	{.name = "system:kube-controller-manager", RULES(controller_manager)},
	{.name = "system:kube-dns", RULES(kube_dns)},
	{.name = "system:kube-scheduler", RULES(scheduler)},
	{.name = "system:volume-scheduler", RULES(volume_scheduler)},
	{.name = "system:persistent-volume-provisioner", RULES(volume_provisioner)},
	{.name = CERTIFICATES "certificatesigningrequests:nodeclient", RULES(nodeclient)},
	{.name = CERTIFICATES "certificatesigningrequests:selfnodeclient", RULES(selfnodeclient)},
	{.name = CERTIFICATES "legacy-unknown-approver", RULES(unknown_approver)},
	{.name = CERTIFICATES "kubelet-serving-approver", RULES(serving_approver)},
	{.name = CERTIFICATES "kube-apiserver-client-approver", RULES(client_approver)},
	{.name = CERTIFICATES "kube-apiserver-client-kubelet-approver", RULES(kubelet_approver)},
	{.name = READER, .ns = "kube-system", RULES(authentication_reader)},
};
const unsigned n_policy_roles = ARRAY_SIZE(policy_roles);

#define SAME(text) .name = text, .role = text
const struct policy_binding policy_bindings[] = {
	{SAME("cluster-admin"), .groups = "system:masters"},
	{SAME("system:discovery"), .groups = "system:authenticated"},
	{SAME("system:basic-user"), .groups = "system:authenticated"},
	{SAME("system:public-info-viewer"),
	 .groups = "system:authenticated,system:unauthenticated"},
	{SAME("system:monitoring"), .groups = "system:monitoring"},
	{SAME("system:service-account-issuer-discovery"), .groups = "system:serviceaccounts"},
	{SAME("system:node")}, /* nodes are judged by what runs on them */
	{SAME("system:node-proxier"), .users = "system:kube-proxy"},
	{SAME("system:kube-controller-manager"), .users = "system:kube-controller-manager"},
	{SAME("system:kube-dns"), .account = "kube-dns"},
	{SAME("system:kube-scheduler"), .users = "system:kube-scheduler"},
	{SAME("system:volume-scheduler"), .users = "system:kube-scheduler"},
	{.name = "system::" READER,
	 .role = READER,
	 .ns = "kube-system",
	 .users = "system:kube-controller-manager,system:kube-scheduler"},
};
const unsigned n_policy_bindings = ARRAY_SIZE(policy_bindings);
