/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ComponentStatus: the parts of the control plane that Kubernetes knows by name. Here they are one
 * program, and what answers is well; the store can be in trouble.
 */
#include "internal.h"

static const char *const names[] = {"controller-manager", "scheduler", "etcd-0"};

static const struct object *component_new(struct call *c, const char *name)
{
	const char *trouble = streq(name, "etcd-0") ? store_trouble(c->api->store) : NULL;
	json_auto_t *v = json_pack("{s:s, s:s, s:{s:s}, s:[{s:s, s:s, s:s}]}", "kind",
				   "ComponentStatus", "apiVersion", "v1", "metadata", "name", name,
				   "conditions", "type", "Healthy", "status",
				   trouble ? "False" : "True", "message", trouble ? trouble : "ok");

	return store_detached(c->api->store, &kind_componentstatus, v);
}

const struct object *component_get(struct call *c)
{
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (streq(names[i], c->target.name))
			return component_new(c, names[i]);
	return NULL;
}

void component_list(struct call *c, const struct selection *sel,
		    void (*add)(struct snapshot *s, const struct object *o), struct snapshot *s)
{
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		const struct object *o = component_new(c, names[i]);

		if (selection_matches(sel, c, o))
			add(s, o);
	}
}
