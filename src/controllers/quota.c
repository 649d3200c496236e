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

static bool differs(const json_t *a, const json_t *b, const char *path)
{
	const json_t *x = json_at(a, path), *y = json_at(b, path);

	return x != y && !(x && y && json_equal(x, y));
}

/* Most changes of an object leave what it uses as it was; pods tell of themselves all the time. */
static bool changes_usage(const struct store_event *ev)
{
	const struct kind *k = ev->obj->kind;
	const json_t *now, *was;

	if (ev->type != STORE_MODIFIED)
		return true;
	if (k != &kind_pod && k != &kind_service && k != &kind_persistentvolumeclaim)
		return false;
	now = object_json(ev->obj);
	was = object_json(ev->old);
	if (k == &kind_pod)
		return differs(now, was, "status.phase") ||
		       differs(now, was, "metadata.deletionTimestamp");
	return differs(now, was, "spec");
}

static void on_event(struct controller *c, const struct store_event *ev)
{
	const struct object *o = ev->obj;
	struct store_iter quotas;

	if (!o->kind->namespaced)
		return;
	if (o->kind == &kind_resourcequota)
		controller_dirty(c, o->ns, o->name);
	quotas = store_iter(c->store, &kind_resourcequota, o->ns);
	if (store_next(&quotas) && changes_usage(ev))
		mark_quotas(c, o);
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
