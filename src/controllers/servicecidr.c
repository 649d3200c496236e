/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ServiceCIDRs are ready, and have a finalizer that holds them until no address of theirs is in use
 * that no other range has.
 */
#include "internal.h"

#include <arpa/inet.h>

#define FINALIZER "networking.k8s.io/service-cidr-finalizer"

static void on_event(struct controller *c, const struct store_event *ev)
{
	struct store_iter it = store_iter(c->store, &kind_servicecidr, NULL);
	const struct object *o;

	if (ev->obj->kind == &kind_servicecidr) {
		controller_dirty(c, "", ev->obj->name);
		if (ev->type == STORE_MODIFIED)
			return;
	} else if (ev->obj->kind != &kind_ipaddress || ev->type == STORE_MODIFIED) {
		return;
	}
	while ((o = store_next(&it))) /* one that is going may be free now */
		if (meta_deleting(object_json(o)))
			controller_dirty(c, "", o->name);
}

/* Is the address in the range "10.96.0.0/16" or "fd00::/64"? */
static bool in_range(const char *range, const char *address)
{
	unsigned char net[16], a[16];
	const char *slash = strchr(range, '/');
	auto_free char *base = slash ? xstrndup(range, (size_t)(slash - range)) : NULL;
	int family = strchr(address, ':') ? AF_INET6 : AF_INET;
	uint64_t bits;

	if (!base || inet_pton(family, base, net) != 1 || inet_pton(family, address, a) != 1 ||
	    str_to_u64(slash + 1, family == AF_INET ? 32 : 128, &bits) < 0)
		return false;
	for (size_t i = 0; bits; i++) {
		size_t n = bits < 8 ? bits : 8;

		if ((net[i] ^ a[i]) >> (8 - n))
			return false;
		bits -= n;
	}
	return true;
}

static bool contains(const json_t *cidr, const char *address)
{
	json_t *range;
	size_t i;

	json_array_foreach(json_at(cidr, "spec.cidrs"), i,
			   range) if (in_range(json_string_value(range), address)) return true;
	return false;
}

static bool is_elsewhere(struct controller *c, const struct object *cidr, const char *address)
{
	struct store_iter it = store_iter(c->store, &kind_servicecidr, NULL);
	const struct object *o;

	while ((o = store_next(&it)))
		if (o != cidr && !meta_deleting(object_json(o)) &&
		    contains(object_json(o), address))
			return true;
	return false;
}

static bool in_use(struct controller *c, const struct object *cidr)
{
	struct store_iter it = store_iter(c->store, &kind_ipaddress, NULL);
	const struct object *o;

	while ((o = store_next(&it)))
		if (contains(object_json(cidr), o->name) && !is_elsewhere(c, cidr, o->name))
			return true;
	return false;
}

static int set_ready(struct controller *c, const struct object *o, bool ready, struct err *err)
{
	json_t *status = json_deep_copy(json_object_get(object_json(o), "status"));

	if (!status)
		status = json_object();
	condition_set(status, "Ready", ready ? "True" : "False",
		      ready ? "" : "ServiceCIDRTerminating",
		      ready ? "Kubernetes Service CIDR is ready"
			    : "There are still IPAddresses referencing the ServiceCIDR, please "
			      "remove them or create a new ServiceCIDR",
		      wall_now());
	return registry_set_status(c->registry, o->kind, "", o->name, o->uid, status, STORE_DURABLE,
				   err);
}

static int reconcile(struct controller *c, const char *key, struct err *err)
{
	auto_free char *none = NULL;
	const char *name = key_split(key, &none);
	const struct object *o = store_get(c->store, &kind_servicecidr, "", name);

	if (!o)
		return 0;
	if (!meta_deleting(object_json(o)))
		return finalizer_find(object_json(o), FINALIZER)
			       ? set_ready(c, o, true, err)
			       : finalizer_add(c, o, FINALIZER, err);
	if (!finalizer_find(object_json(o), FINALIZER))
		return 0;
	return in_use(c, o) ? set_ready(c, o, false, err) : finalizer_drop(c, o, FINALIZER, err);
}

const struct controller_def servicecidr_controller = {
	.name = "servicecidr", .on_event = on_event, .reconcile = reconcile};
