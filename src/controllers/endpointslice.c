/* SPDX-License-Identifier: Apache-2.0 */
/*
 * EndpointSlice: slices of at most 100 endpoints for each Service with a selector, and mirrors of
 * Endpoints that somebody wrote by hand for a Service without one (upstream: endpointslice and
 * endpointslicemirroring controllers).
 */
#include "endpoints.h"

enum { SLICE_MAX = 100 };
#define SERVICE_NAME "kubernetes.io/service-name"
#define MANAGED_BY "endpointslice.kubernetes.io/managed-by"
#define BY_CONTROLLER "endpointslice-controller.k8s.io"
#define BY_MIRROR "endpointslicemirroring-controller.k8s.io"
#define SKIP_MIRROR "endpointslice.kubernetes.io/skip-mirror"

static json_t *endpoint_of(const json_t *svc, const struct object *pod)
{
	const json_t *p = object_json(pod);
	bool serving = pod_ready(p), terminating = meta_deleting(p);
	bool ready = (serving && !terminating) || service_publishes_unready(svc);
	const char *hostname = pod_service_hostname(svc, p);
	json_t *e = json_pack("{s:[s], s:{s:b, s:b, s:b}}", "addresses",
			      json_str(p, "status.podIP", ""), "conditions", "ready", ready,
			      "serving", serving, "terminating", terminating);

	if (hostname)
		json_put_str(e, "hostname", hostname);
	json_put_str(e, "nodeName", json_str(p, "spec.nodeName", ""));
	json_put(e, "targetRef", pod_target_ref(pod));
	return e;
}

/* As they are stored: with every default, so that a slice made from them is found again by them. */
static json_t *stored_ports(const json_t *ports)
{
	json_t *list = json_array(), *p;
	size_t i;

	json_array_foreach(ports, i, p)
	{
		json_t *copy = json_copy(p);

		if (!json_object_get(copy, "name"))
			json_put_str(copy, "name", "");
		if (!json_object_get(copy, "protocol"))
			json_put_str(copy, "protocol", "TCP");
		json_array_append_new(list, copy);
	}
	return list;
}

/* Collected as an object from the text of the ports to {ports, endpoints}. */
static void add_to_group(json_t *groups, const json_t *given, json_t *endpoint)
{
	json_auto_t *ports = stored_ports(given);
	auto_free char *key = json_text(ports, NULL);
	json_t *group = json_object_get(groups, key);

	if (!group) {
		group = json_pack("{s:O, s:[]}", "ports", ports, "endpoints");
		json_object_set_new(groups, key, group);
	}
	json_array_append_new(json_object_get(group, "endpoints"), endpoint);
}

static json_t *groups_of_pods(struct controller *c, const struct object *svc)
{
	const json_t *j = object_json(svc);
	struct label_selector *sel auto_clean(label_selector) =
		label_selector_from_map(json_at(j, "spec.selector"));
	struct store_iter it = store_iter(c->store, &kind_pod, svc->ns);
	json_t *groups = json_object();
	const struct object *pod;

	while ((pod = store_next(&it))) {
		const json_t *p = object_json(pod);
		json_auto_t *ports = NULL;

		if (!label_selector_matches(sel, json_at(p, "metadata.labels")) ||
		    !pod_addressable(p))
			continue;
		ports = pod_ports(j, p);
		if (json_array_size(ports) || !json_len(j, "spec.ports"))
			add_to_group(groups, ports, endpoint_of(j, pod));
	}
	return groups;
}

static void mirror_addresses(json_t *groups, const json_t *subset, const char *list, bool ready)
{
	json_t *ports = json_object_get(subset, "ports"), *a;
	size_t i;

	json_array_foreach(json_object_get(subset, list), i, a)
	{
		json_t *e = json_pack("{s:[s], s:{s:b}}", "addresses", json_str(a, "ip", ""),
				      "conditions", "ready", ready);
		static const char *const kept[] = {"hostname", "nodeName", "targetRef"};

		for (size_t k = 0; k < ARRAY_SIZE(kept); k++)
			if (json_object_get(a, kept[k]))
				json_object_set(e, kept[k], json_object_get(a, kept[k]));
		add_to_group(groups, ports, e);
	}
}

/* NULL: there is nothing to mirror. */
static json_t *groups_of_endpoints(struct controller *c, const struct object *svc)
{
	const struct object *ep = store_get(c->store, &kind_endpoints, svc->ns, svc->name);
	const char *skip;
	json_t *groups, *subset;
	size_t i;

	if (!ep)
		return NULL;
	skip = meta_label(object_json(ep), SKIP_MIRROR);
	if (skip && streq(skip, "true"))
		return NULL;
	groups = json_object();
	json_array_foreach(json_at(object_json(ep), "subsets"), i, subset)
	{
		mirror_addresses(groups, subset, "addresses", true);
		mirror_addresses(groups, subset, "notReadyAddresses", false);
	}
	return groups;
}

static bool is_api_service(const struct object *svc)
{
	return streq(svc->ns, "default") && streq(svc->name, "kubernetes");
}

static json_t *labels_of(const struct object *svc, const char *manager)
{
	json_t *labels = json_deep_copy(json_at(object_json(svc), "metadata.labels"));

	if (!labels)
		labels = json_object();
	json_object_set_new(labels, SERVICE_NAME, json_string(svc->name));
	if (manager)
		json_object_set_new(labels, MANAGED_BY, json_string(manager));
	if (service_is_headless(object_json(svc)))
		json_object_set_new(labels, "service.kubernetes.io/headless", json_string(""));
	return labels;
}

static json_t *slice_new(const struct object *svc)
{
	json_t *s = json_pack("{s:s, s:s, s:s}", "apiVersion", "discovery.k8s.io/v1", "kind",
			      "EndpointSlice", "addressType", "IPv4");

	json_put_str(s, "metadata.namespace", svc->ns);
	if (is_api_service(svc))
		json_put_str(s, "metadata.name", svc->name);
	else {
		json_put_strf(s, "metadata.generateName", "%s-", svc->name);
		json_put(s, "metadata.ownerReferences", json_pack("[o]", owner_reference(svc)));
	}
	return s;
}

/* Slices of the service that we made and have not used yet. */
struct slices {
	const struct object **v;
	size_t n;
};

static void slices_find(struct controller *c, const struct object *svc, const char *manager,
			struct slices *ret)
{
	struct store_iter it = store_iter(c->store, &kind_endpointslice, svc->ns);
	const struct object *s;

	while ((s = store_next(&it))) {
		const json_t *j = object_json(s);
		const char *by = meta_label(j, MANAGED_BY);

		/* mirrors of the time before the Service had a selector are taken over */
		if (!str_eq(meta_label(j, SERVICE_NAME), svc->name) ||
		    (!str_eq(by, manager) && !str_eq(by, BY_MIRROR)) || meta_deleting(j))
			continue;
		ret->v = xrealloc(ret->v, ret->n + 1, sizeof(*ret->v));
		ret->v[ret->n++] = s;
	}
}

/* Takes one with these ports, or any when none has them. */
static const struct object *slices_take(struct slices *s, const json_t *ports)
{
	size_t at = s->n;

	for (size_t i = 0; i < s->n && at == s->n; i++)
		if (json_equal(json_object_get(object_json(s->v[i]), "ports"), ports))
			at = i;
	if (at == s->n)
		return NULL;
	const struct object *o = s->v[at];
	s->v[at] = s->v[--s->n];
	return o;
}

static int put_slice(struct controller *c, const struct object *svc, const struct object *old,
		     json_t *ports, json_t *endpoints, const char *manager, struct err *err)
{
	struct write_options o = {.storage = STORE_VOLATILE};
	json_auto_t *obj = old ? object_dup(old) : slice_new(svc);

	json_put(obj, "metadata.labels", labels_of(svc, manager));
	json_object_set(obj, "ports", ports);
	json_object_set(obj, "endpoints", endpoints);
	if (old)
		return registry_update(c->registry, &kind_endpointslice, NULL, old->ns, old->name,
				       obj, &o, NULL, NULL, err);
	return registry_create(c->registry, &kind_endpointslice, svc->ns, obj, &o, NULL, err);
}

static int put_group(struct controller *c, const struct object *svc, struct slices *slices,
		     const json_t *group, const char *manager, struct err *err)
{
	json_t *all = json_object_get(group, "endpoints"), *ports = json_object_get(group, "ports");
	size_t n = json_array_size(all), at = 0;
	int r;

	do {
		json_auto_t *part = json_array();

		for (; at < n && json_array_size(part) < SLICE_MAX; at++)
			json_array_append(part, json_array_get(all, at));
		r = put_slice(c, svc, slices_take(slices, ports), ports, part, manager, err);
	} while (r == 0 && at < n);
	return r;
}

static int delete_slice(struct controller *c, const struct object *s, struct err *err)
{
	struct write_options o = {.grace_seconds = -1, .storage = STORE_VOLATILE};
	int r = registry_delete(c->registry, &kind_endpointslice, s->ns, s->name, &o, NULL, NULL,
				err);

	return r == -ENOENT ? 0 : r;
}

static int sync_slices(struct controller *c, const struct object *svc, json_t *groups,
		       const char *manager, struct err *err)
{
	struct slices slices = {0};
	const char *key;
	json_t *group;
	int r = 0;

	slices_find(c, svc, manager, &slices);
	if (!json_object_size(groups)) /* an empty slice says: looked, nobody there */
		json_object_set_new(groups, "[]", json_pack("{s:[], s:[]}", "ports", "endpoints"));
	json_object_foreach(groups, key, group) r =
		r < 0 ? r : put_group(c, svc, &slices, group, manager, err);
	for (size_t i = 0; r == 0 && i < slices.n; i++)
		r = delete_slice(c, slices.v[i], err);
	free(slices.v);
	return r;
}

/* Of Endpoints that are gone, or are not to be mirrored (any more). */
static int drop_mirrors(struct controller *c, const struct object *svc, struct err *err)
{
	struct slices slices = {0};
	int r = 0;

	if (is_api_service(svc))
		return 0;
	slices_find(c, svc, BY_MIRROR, &slices);
	for (size_t i = 0; r == 0 && i < slices.n; i++)
		r = delete_slice(c, slices.v[i], err);
	free(slices.v);
	return r;
}

/* Slices whose Service is gone go by ownerReference (gc); mirrors too. */
static int reconcile(struct controller *c, const char *key, struct err *err)
{
	auto_free char *ns = NULL;
	const char *name = key_split(key, &ns);
	const struct object *svc = store_get(c->store, &kind_service, ns, name);
	json_auto_t *groups = NULL;

	if (!svc || meta_deleting(object_json(svc)))
		return 0;
	if (service_is_managed(object_json(svc))) {
		groups = groups_of_pods(c, svc);
		return sync_slices(c, svc, groups, BY_CONTROLLER, err);
	}
	if (streq(json_str(object_json(svc), "spec.type", ""), "ExternalName"))
		return 0;
	groups = groups_of_endpoints(c, svc);
	if (!groups)
		return drop_mirrors(c, svc, err);
	return sync_slices(c, svc, groups, is_api_service(svc) ? NULL : BY_MIRROR, err);
}

const struct controller_def endpointslice_controller = {.name = "endpointslice",
							.on_event = endpoints_on_event,
							.reconcile = reconcile,
							.weight = endpoints_weight};
