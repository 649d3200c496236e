/* SPDX-License-Identifier: Apache-2.0 */
/* Endpoints: the addresses behind each Service with a selector (upstream: endpoints_controller.go).
 */
#include "endpoints.h"

enum { ENDPOINTS_MAX = 1000 };

bool service_is_managed(const json_t *svc)
{
	return json_object_size(json_at(svc, "spec.selector")) > 0 &&
	       !streq(json_str(svc, "spec.type", ""), "ExternalName");
}

bool service_is_headless(const json_t *svc)
{
	return streq(json_str(svc, "spec.clusterIP", ""), "None");
}

bool service_publishes_unready(const json_t *svc)
{
	return json_bool(svc, "spec.publishNotReadyAddresses", false);
}

bool pod_addressable(const json_t *pod)
{
	const char *phase = json_str(pod, "status.phase", "");

	return !str_empty(json_str(pod, "status.podIP", "")) && !streq(phase, "Succeeded") &&
	       !streq(phase, "Failed");
}

void dirty_services_of(struct controller *c, const json_t *pod)
{
	struct store_iter it = store_iter(c->store, &kind_service, meta_ns(pod));
	const struct object *svc;

	while ((svc = store_next(&it))) {
		struct label_selector *s auto_clean(label_selector) =
			label_selector_from_map(json_at(object_json(svc), "spec.selector"));

		if (label_selector_matches(s, json_at(pod, "metadata.labels")))
			controller_dirty(c, svc->ns, svc->name);
	}
}

void endpoints_on_event(struct controller *c, const struct store_event *ev)
{
	const char *service;

	if (ev->obj->kind == &kind_pod) {
		dirty_services_of(c, object_json(ev->obj));
		if (ev->old)
			dirty_services_of(c, object_json(ev->old));
	} else if (ev->obj->kind == &kind_service) {
		controller_dirty(c, ev->obj->ns, ev->obj->name);
	} else if (ev->obj->kind == &kind_endpoints) {
		/* Made by hand before their Service they stay: only its end takes them along. */
		if (store_get(c->store, &kind_service, ev->obj->ns, ev->obj->name))
			controller_dirty(c, ev->obj->ns, ev->obj->name);
	} else if (ev->obj->kind == &kind_endpointslice) {
		service = meta_label(object_json(ev->obj), "kubernetes.io/service-name");
		if (service)
			controller_dirty(c, ev->obj->ns, service);
	}
}

size_t endpoints_weight(struct controller *c, const char *key)
{
	size_t made = key_weight(c, &kind_endpoints, key);
	size_t pods = store_count(c->store, &kind_pod) * 512; /* of each not much is looked at */

	return made > pods ? made : pods;
}

/* The number a named target port has in a list of containers; 0: none. */
static int64_t named_port(const json_t *containers, const char *name, const char *protocol,
			  bool sidecars_only)
{
	json_t *container, *port;
	size_t i, j;

	json_array_foreach(containers, i, container)
	{
		if (sidecars_only && !streq(json_str(container, "restartPolicy", ""), "Always"))
			continue;
		json_array_foreach(json_object_get(container, "ports"), j,
				   port) if (streq(json_str(port, "name", ""), name) &&
					     streq(json_str(port, "protocol", "TCP"),
						   protocol)) return json_int(port, "containerPort",
									      0);
	}
	return 0;
}

static int64_t target_port(const json_t *svc_port, const json_t *pod)
{
	const json_t *target = json_object_get(svc_port, "targetPort");
	const char *protocol = json_str(svc_port, "protocol", "TCP"), *name;
	int64_t n;

	if (json_is_integer(target) && json_integer_value(target))
		return json_integer_value(target);
	name = json_string_value(target);
	if (str_empty(name))
		return json_int(svc_port, "port", 0);
	n = named_port(json_at(pod, "spec.containers"), name, protocol, false);
	return n ? n : named_port(json_at(pod, "spec.initContainers"), name, protocol, true);
}

json_t *pod_ports(const json_t *svc, const json_t *pod)
{
	json_t *ports = json_array(), *p;
	size_t i;

	json_array_foreach(json_at(svc, "spec.ports"), i, p)
	{
		int64_t n = target_port(p, pod);
		json_t *out;

		if (!n)
			continue;
		out = json_object();
		if (json_object_get(p, "name"))
			json_object_set(out, "name", json_object_get(p, "name"));
		json_put_int(out, "port", n);
		json_put_str(out, "protocol", json_str(p, "protocol", "TCP"));
		if (json_object_get(p, "appProtocol"))
			json_object_set(out, "appProtocol", json_object_get(p, "appProtocol"));
		json_array_append_new(ports, out);
	}
	return ports;
}

json_t *pod_target_ref(const struct object *pod)
{
	return json_pack("{s:s, s:s, s:s, s:s}", "kind", "Pod", "namespace", pod->ns, "name",
			 pod->name, "uid", pod->uid);
}

const char *pod_service_hostname(const json_t *svc, const json_t *pod)
{
	const char *hostname = json_str(pod, "spec.hostname", "");

	if (!*hostname || !streq(json_str(pod, "spec.subdomain", ""), meta_name(svc)))
		return NULL;
	return hostname;
}

static json_t *address_of(const json_t *svc, const struct object *pod)
{
	const json_t *p = object_json(pod);
	json_t *a = json_object();
	const char *hostname = pod_service_hostname(svc, p);

	json_put_str(a, "ip", json_str(p, "status.podIP", ""));
	if (hostname)
		json_put_str(a, "hostname", hostname);
	json_put_str(a, "nodeName", json_str(p, "spec.nodeName", ""));
	json_put(a, "targetRef", pod_target_ref(pod));
	return a;
}

/* Subsets while they are collected: an object from the ports' text to the subset. */
static void add_to_subset(json_t *subsets, json_t *ports, json_t *address, bool ready)
{
	auto_free char *key = json_text(ports, NULL);
	json_t *subset = json_object_get(subsets, key);

	if (!subset) {
		subset = json_object();
		json_object_set_new(subsets, key, subset);
		if (json_array_size(ports))
			json_object_set(subset, "ports", ports);
	}
	json_array_append_new(json_arr(subset, ready ? "addresses" : "notReadyAddresses"), address);
}

/* New array as spec'd: subsets sorted by their ports, addresses in the store's (name) order. */
static json_t *compute_subsets(struct controller *c, const struct object *svc, bool *truncated)
{
	const json_t *j = object_json(svc);
	struct label_selector *sel auto_clean(label_selector) =
		label_selector_from_map(json_at(j, "spec.selector"));
	struct store_iter it = store_iter(c->store, &kind_pod, svc->ns);
	json_auto_t *subsets = json_object();
	json_t *result = json_array(), *subset;
	const struct object *pod;
	const char *key;
	int n = 0;

	while ((pod = store_next(&it)) && !(*truncated = n >= ENDPOINTS_MAX)) {
		const json_t *p = object_json(pod);
		json_auto_t *ports = NULL;

		if (!label_selector_matches(sel, json_at(p, "metadata.labels")) ||
		    !pod_addressable(p) || (meta_deleting(p) && !service_publishes_unready(j)))
			continue;
		ports = pod_ports(j, p);
		if (!json_array_size(ports) && json_len(j, "spec.ports"))
			continue;
		add_to_subset(subsets, ports, address_of(j, pod),
			      pod_ready(p) || service_publishes_unready(j));
		n++;
	}
	json_object_foreach(subsets, key, subset) json_array_append(result, subset);
	return result;
}

static json_t *labels_of(const json_t *svc)
{
	json_t *labels = json_deep_copy(json_at(svc, "metadata.labels"));

	if (!labels)
		labels = json_object();
	json_object_set_new(labels, "endpoints.kubernetes.io/managed-by",
			    json_string("endpoint-controller"));
	if (service_is_headless(svc))
		json_object_set_new(labels, "service.kubernetes.io/headless", json_string(""));
	return labels;
}

static int put_endpoints(struct controller *c, const struct object *svc, json_t *subsets,
			 bool truncated, struct err *err)
{
	const struct object *old = store_get(c->store, &kind_endpoints, svc->ns, svc->name);
	json_auto_t *obj =
		old ? object_dup(old)
		    : json_pack("{s:s, s:s, s:{s:s, s:s}}", "apiVersion", "v1", "kind", "Endpoints",
				"metadata", "name", svc->name, "namespace", svc->ns);
	struct write_options o = {.storage = STORE_VOLATILE};

	json_put(obj, "metadata.labels", labels_of(object_json(svc)));
	if (truncated)
		json_object_set_new(json_obj(obj, "metadata.annotations"),
				    "endpoints.kubernetes.io/over-capacity",
				    json_string("truncated"));
	if (json_array_size(subsets))
		json_object_set(obj, "subsets", subsets);
	else
		json_drop(obj, "subsets");
	if (old)
		return registry_update(c->registry, &kind_endpoints, NULL, svc->ns, svc->name, obj,
				       &o, NULL, NULL, err);
	return registry_create(c->registry, &kind_endpoints, svc->ns, obj, &o, NULL, err);
}

/* The API server's own service: its address comes from the configuration. */
static json_t *api_subsets(const struct controller *c)
{
	auto_free char *host = NULL;
	const char *colon = c->config->api_address ? strrchr(c->config->api_address, ':') : NULL;

	if (!colon)
		return json_array();
	host = xstrndup(c->config->api_address, (size_t)(colon - c->config->api_address));
	return json_pack("[{s:[{s:s}], s:[{s:s, s:i, s:s}]}]", "addresses", "ip", host, "ports",
			 "name", "https", "port", atoi(colon + 1), "protocol", "TCP");
}

static int delete_endpoints(struct controller *c, const char *ns, const char *name, struct err *err)
{
	struct write_options o = {.grace_seconds = -1, .storage = STORE_VOLATILE};
	int r = registry_delete(c->registry, &kind_endpoints, ns, name, &o, NULL, NULL, err);

	return r == -ENOENT ? 0 : r;
}

static int reconcile(struct controller *c, const char *key, struct err *err)
{
	auto_free char *ns = NULL;
	const char *name = key_split(key, &ns);
	const struct object *svc = store_get(c->store, &kind_service, ns, name);
	json_auto_t *subsets = NULL;
	bool truncated = false;

	if (!svc)
		return delete_endpoints(c, ns, name, err);
	if (streq(ns, "default") && streq(name, "kubernetes"))
		subsets = api_subsets(c);
	else if (service_is_managed(object_json(svc)))
		subsets = compute_subsets(c, svc, &truncated);
	return subsets ? put_endpoints(c, svc, subsets, truncated, err) : 0;
}

const struct controller_def endpoints_controller = {.name = "endpoints",
						    .on_event = endpoints_on_event,
						    .reconcile = reconcile,
						    .weight = endpoints_weight};
