/* SPDX-License-Identifier: Apache-2.0 */
/* ResourceQuota: status.hard is what is allowed now, status.used what the namespace uses. */
#include "internal.h"

/* Every quota of the namespace that counts objects of this kind. */
static void mark_quotas(struct controller *c, const struct object *o)
{
	struct store_iter it = store_iter(c->store, &kind_resourcequota, o->ns);
	const struct object *quota;

	while ((quota = store_next(&it)))
		if (registry_quota_counts(quota, o->kind))
			controller_dirty(c, quota->ns, quota->name);
}

static void on_event(struct controller *c, const struct store_event *ev)
{
	if (!ev->obj->kind->namespaced)
		return;
	if (ev->obj->kind == &kind_resourcequota)
		controller_dirty(c, ev->obj->ns, ev->obj->name);
	mark_quotas(c, ev->obj);
}

static int reconcile(struct controller *c, const char *key, struct err *err)
{
	auto_free char *ns = NULL;
	const char *name = key_split(key, &ns);
	const struct object *o = store_get(c->store, &kind_resourcequota, ns, name);
	json_t *status;

	if (!o || meta_deleting(object_json(o)))
		return 0;
	status = json_object();
	json_put(status, "hard", json_deep_copy(json_at(object_json(o), "spec.hard")));
	json_put(status, "used", registry_quota_usage(c->registry, o));
	return registry_set_status(c->registry, o->kind, ns, name, o->uid, status, STORE_VOLATILE,
				   err);
}

const struct controller_def quota_controller = {
	.name = "resourcequota", .on_event = on_event, .reconcile = reconcile};
