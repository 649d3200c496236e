/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The services of the API and of DNS come back at their addresses when they are deleted, with
 * `kubectl delete svc --all` for example (upstream: pkg/controlplane/controller/kubernetesservice).
 */
#include "internal.h"

static void on_event(struct controller *c, const struct store_event *ev)
{
	if (ev->obj->kind == &kind_service && ev->type == STORE_DELETED &&
	    registry_is_system_service(ev->obj->ns, ev->obj->name))
		controller_dirty(c, ev->obj->ns, ev->obj->name);
}

static int reconcile(struct controller *c, const char *key UNUSED, struct err *err)
{
	return registry_make_services(c->registry, err);
}

const struct controller_def kubernetesservice_controller = {
	.name = "kubernetesservice", .on_event = on_event, .reconcile = reconcile};
