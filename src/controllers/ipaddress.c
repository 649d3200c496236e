/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An IPAddress object for every address of a service. The registry gives the addresses out by the
 * services alone; these objects show it, as Kubernetes does, and cost no flash. A key is
 * "namespace/service/address".
 */
#include "internal.h"

#define MANAGED_BY "ipaddress.kubernetes.io/managed-by"
#define ALLOCATOR "ipallocator.k8s.io"

static bool has_address(const json_t *service, const char *ip)
{
	size_t i;
	json_t *v;

	json_array_foreach(json_at(service, "spec.clusterIPs"), i,
			   v) if (str_eq(json_string_value(v), ip)) return true;
	return false;
}

static void dirty_addresses(struct controller *c, const struct object *service)
{
	size_t i;
	json_t *v;

	json_array_foreach(json_at(object_json(service), "spec.clusterIPs"), i, v)
	{
		auto_free char *name = xasprintf("%s/%s", service->name, json_string_value(v));

		if (!streq(json_string_value(v), "None"))
			controller_dirty(c, service->ns, name);
	}
}

static void on_event(struct controller *c, const struct store_event *ev)
{
	const json_t *ref;

	if (ev->obj->kind == &kind_service) {
		dirty_addresses(c, ev->obj);
		if (ev->old)
			dirty_addresses(c, ev->old);
	} else if (ev->obj->kind == &kind_ipaddress) {
		auto_free char *name = NULL;

		ref = json_at(object_json(ev->obj), "spec.parentRef");
		if (!streq(json_str(ref, "resource", ""), "services"))
			return;
		name = xasprintf("%s/%s", json_str(ref, "name", ""), ev->obj->name);
		controller_dirty(c, json_str(ref, "namespace", ""), name);
	}
}

static int create(struct controller *c, const char *ns, const char *service, const char *ip,
		  struct err *err)
{
	struct write_options w = {.storage = STORE_VOLATILE};
	json_auto_t *obj =
		json_pack("{s:{s:s}, s:{s:{s:s, s:s, s:s}}}", "metadata", "name", ip, "spec",
			  "parentRef", "resource", "services", "namespace", ns, "name", service);
	json_t *labels = json_obj(obj, "metadata.labels");

	json_object_set_new(labels, "ipaddress.kubernetes.io/ip-family",
			    json_string(strchr(ip, ':') ? "IPv6" : "IPv4"));
	json_object_set_new(labels, MANAGED_BY, json_string(ALLOCATOR));
	return registry_create(c->registry, &kind_ipaddress, "", obj, &w, NULL, err);
}

/* One that somebody else made is none of our business. */
static int drop(struct controller *c, const struct object *o, const char *ns, const char *service,
		struct err *err)
{
	struct write_options w = {.storage = STORE_VOLATILE, .precondition_uid = o->uid};
	const json_t *ref = json_at(object_json(o), "spec.parentRef");

	if (!str_eq(meta_label(object_json(o), MANAGED_BY), ALLOCATOR) ||
	    !streq(json_str(ref, "name", ""), service) ||
	    !streq(json_str(ref, "namespace", ""), ns))
		return 0;
	return registry_delete(c->registry, &kind_ipaddress, "", o->name, &w, NULL, NULL, err);
}

static int reconcile(struct controller *c, const char *key, struct err *err)
{
	auto_free char *ns = NULL, *service = NULL;
	const char *ip = strrchr(key, '/') + 1, *rest = key_split(key, &ns);
	const struct object *o = store_get(c->store, &kind_ipaddress, "", ip), *svc;
	bool wanted;

	service = xstrndup(rest, (size_t)(ip - 1 - rest));
	svc = store_get(c->store, &kind_service, ns, service);
	wanted = svc && has_address(object_json(svc), ip);
	if (wanted && !o)
		return create(c, ns, service, ip, err);
	return !wanted && o ? drop(c, o, ns, service, err) : 0;
}

const struct controller_def ipaddress_controller = {
	.name = "ipaddress", .on_event = on_event, .reconcile = reconcile};
