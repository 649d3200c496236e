/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Defaults: first those of the field tables, then what depends on other fields of the object
 * (kubernetes pkg/apis/.../defaults.go, and the parts of admission that need nothing but the
 * object). All are applied on create and on every update.
 */
#include "internal.h"

static void default_value(const struct field *f, json_t *v)
{
	size_t i;
	const char *key;
	json_t *item;

	if (json_is_array(v)) {
		json_array_foreach(v, i, item) default_message(f->message, item);
	} else if (f->list == LIST_STRING_MAP) {
		json_object_foreach(v, key, item) default_message(f->message, item);
	} else {
		default_message(f->message, v);
	}
}

void default_message(const struct message *m, json_t *obj)
{
	if (!json_is_object(obj))
		return;
	for (size_t i = 0; i < m->n_fields; i++) {
		const struct field *f = &m->fields[i];

		breathe();
		if (!*f->name) {
			default_message(f->message, obj);
			continue;
		}
		json_t *v = json_object_get(obj, f->name);
		if (!v && f->dflt) {
			v = json_loads(f->dflt, JSON_DECODE_ANY, NULL);
			json_object_set_new_nocheck(obj, f->name, v);
		}
		if (v && f->type == FIELD_OBJECT)
			default_value(f, v);
	}
}

void schema_default(const struct kind *k, json_t *obj, const json_t *old)
{
	if (k->custom)
		custom_default(k->custom, obj);
	else
		default_message(k->message, obj);
	if (k->ops && k->ops->set_defaults)
		k->ops->set_defaults(obj, old);
}

void default_put(json_t *obj, const char *key, json_t *value)
{
	if (json_object_get(obj, key))
		json_decref(value);
	else
		json_object_set_new_nocheck(obj, key, value);
}

/* ---- pods ------------------------------------------------------------------------------- */

/* Always for the tag "latest", written out or left out; IfNotPresent for other tags and digests. */
static const char *pull_policy(const char *image)
{
	const char *digest = strchr(image, '@');
	size_t len = digest ? (size_t)(digest - image) : strlen(image);
	const char *colon = memrchr(image, ':', len);
	const char *slash = memrchr(image, '/', len);

	if (!colon || (slash && colon < slash))
		return digest ? "IfNotPresent" : "Always";
	return (size_t)(image + len - colon) == strlen(":latest") &&
			       strncmp(colon, ":latest", strlen(":latest")) == 0
		       ? "Always"
		       : "IfNotPresent";
}

static void default_containers(json_t *list)
{
	size_t i;
	json_t *c;

	json_array_foreach(list, i, c) default_put(
		c, "imagePullPolicy", json_string_nocheck(pull_policy(json_str(c, "image", ""))));
}

void default_pod_spec(json_t *spec)
{
	const char *account = json_str(spec, "serviceAccountName", NULL);
	size_t i;
	json_t *v;

	default_containers(json_object_get(spec, "containers"));
	default_containers(json_object_get(spec, "initContainers"));
	default_containers(json_object_get(spec, "ephemeralContainers"));
	json_array_foreach(json_object_get(spec, "volumes"), i, v) if (json_object_size(v) == 1)
		default_put(v, "emptyDir", json_object());
	/* the older name of the field always mirrors the newer one */
	if (account)
		json_put_str(spec, "serviceAccount", account);
	else if (json_str(spec, "serviceAccount", NULL))
		json_put_str(spec, "serviceAccountName", json_str(spec, "serviceAccount", ""));
}

static void default_requests(json_t *containers)
{
	size_t i;
	json_t *c, *value;
	const char *resource;

	json_array_foreach(containers, i, c)
	{
		json_t *limits = json_at(c, "resources.limits");

		json_object_foreach(limits, resource, value)
			default_put(json_obj(c, "resources.requests"), resource, json_copy(value));
	}
}

static void default_host_ports(json_t *containers)
{
	size_t i, j;
	json_t *c, *port;

	json_array_foreach(containers, i, c) json_array_foreach(json_object_get(c, "ports"), j,
								port)
		default_put(port, "hostPort", json_integer(json_int(port, "containerPort", 0)));
}

/* Sums up over cpu and memory of one container for the QoS class. */
static void qos_container(const json_t *c, bool *any, bool *guaranteed)
{
	static const char *const resources[] = {"cpu", "memory"};

	for (size_t i = 0; i < ARRAY_SIZE(resources); i++) {
		json_t *limits = json_at(c, "resources.limits");
		json_t *requests = json_at(c, "resources.requests");
		const char *limit = json_string_value(json_object_get(limits, resources[i]));
		const char *request = json_string_value(json_object_get(requests, resources[i]));
		int64_t l = 0, r = 0;

		if (limit && quantity_parse_milli(limit, &l) < 0)
			l = 0;
		if (request && quantity_parse_milli(request, &r) < 0)
			r = 0;
		*any |= l > 0 || r > 0;
		*guaranteed &= l > 0 && (!request || l == r);
	}
}

const char *pod_qos_class(const json_t *pod)
{
	static const char *const lists[] = {"spec.containers", "spec.initContainers"};
	bool any = false, guaranteed = true;

	for (size_t i = 0; i < ARRAY_SIZE(lists); i++) {
		size_t j;
		json_t *c;

		json_array_foreach(json_at(pod, lists[i]), j, c)
			qos_container(c, &any, &guaranteed);
	}
	return !any ? "BestEffort" : guaranteed ? "Guaranteed" : "Burstable";
}

/* Pods stay five minutes on a node that stopped answering, unless they say otherwise. */
static void default_toleration(json_t *spec, const char *key)
{
	json_t *list = json_arr(spec, "tolerations"), *t;
	size_t i;

	json_array_foreach(list, i, t)
	{
		const char *k = json_str(t, "key", ""), *effect = json_str(t, "effect", "");

		if ((streq(k, key) || !*k) && (streq(effect, "NoExecute") || !*effect))
			return;
	}
	json_array_append_new(list,
			      json_pack("{s:s, s:s, s:s, s:i}", "key", key, "operator", "Exists",
					"effect", "NoExecute", "tolerationSeconds", 300));
}

void pod_set_defaults(json_t *obj, const json_t *old)
{
	json_t *spec = json_obj(obj, "spec");

	default_pod_spec(spec);
	default_requests(json_object_get(spec, "containers"));
	default_requests(json_object_get(spec, "initContainers"));
	default_put(spec, "enableServiceLinks", json_true());
	if (json_bool(spec, "hostNetwork", false)) {
		default_host_ports(json_object_get(spec, "containers"));
		default_host_ports(json_object_get(spec, "initContainers"));
	}
	/* What admission adds is no part of the wish, whose defaults are made before there is a
	 * uid. Who replaces the list of tolerations does not mean to lose these. */
	if (*meta_uid(obj)) {
		default_toleration(spec, "node.kubernetes.io/not-ready");
		default_toleration(spec, "node.kubernetes.io/unreachable");
	}
	if (old)
		return;
	if (*meta_uid(obj)) {
		default_put(spec, "priority", json_integer(0));
		default_put(spec, "preemptionPolicy", json_string("PreemptLowerPriority"));
	}
	json_object_set_new(
		obj, "status",
		json_pack("{s:s, s:s}", "phase", "Pending", "qosClass", pod_qos_class(obj)));
}

/* ---- core ------------------------------------------------------------------------------- */

static void default_cluster_ips(json_t *spec)
{
	const char *ip = json_str(spec, "clusterIP", NULL);
	json_t *ips = json_object_get(spec, "clusterIPs");

	if (ip && json_array_size(ips) == 0)
		json_object_set_new(spec, "clusterIPs", json_pack("[s]", ip));
	else if (!ip && json_array_size(ips) > 0)
		json_object_set(spec, "clusterIP", json_array_get(ips, 0));
	default_put(spec, "ipFamilyPolicy", json_string("SingleStack"));
	if (json_len(spec, "ipFamilies") == 0) {
		ip = json_str(spec, "clusterIP", "");
		json_object_set_new(spec, "ipFamilies",
				    json_pack("[s]", strchr(ip, ':') ? "IPv6" : "IPv4"));
	}
	default_put(spec, "internalTrafficPolicy", json_string("Cluster"));
}

void service_set_defaults(json_t *obj, const json_t *old UNUSED)
{
	json_t *spec = json_obj(obj, "spec"), *port;
	const char *type = json_str(spec, "type", "");
	bool balancer = streq(type, "LoadBalancer");
	size_t i;

	json_array_foreach(json_object_get(spec, "ports"), i, port)
	{
		json_t *target = json_object_get(port, "targetPort");

		if (!target || (json_is_integer(target) && json_integer_value(target) == 0) ||
		    str_eq(json_string_value(target), ""))
			json_put_int(port, "targetPort", json_int(port, "port", 0));
	}
	if (streq(json_str(spec, "sessionAffinity", ""), "ClientIP"))
		default_put(json_obj(spec, "sessionAffinityConfig.clientIP"), "timeoutSeconds",
			    json_integer(10800));
	else
		json_object_del(spec, "sessionAffinityConfig");
	if (!streq(type, "ExternalName"))
		default_cluster_ips(spec);
	if (balancer || streq(type, "NodePort") || json_len(spec, "externalIPs") > 0)
		default_put(spec, "externalTrafficPolicy", json_string("Cluster"));
	if (balancer)
		default_put(spec, "allocateLoadBalancerNodePorts", json_true());
}

void secret_set_defaults(json_t *obj, const json_t *old UNUSED)
{
	const char *key;
	json_t *text;

	json_object_foreach(json_object_get(obj, "stringData"), key, text)
	{
		auto_free char *encoded =
			base64_encode(json_string_value(text), json_string_length(text));

		json_object_set_new_nocheck(json_obj(obj, "data"), key,
					    json_string_nocheck(encoded));
	}
	json_object_del(obj, "stringData");
}

void namespace_set_defaults(json_t *obj, const json_t *old)
{
	json_t *finalizers, *v;
	size_t i;

	if (*meta_name(obj))
		json_object_set_new(json_obj(obj, "metadata.labels"), "kubernetes.io/metadata.name",
				    json_string_nocheck(meta_name(obj)));
	if (old)
		return;
	json_put_str(obj, "status.phase", "Active");
	finalizers = json_arr(obj, "spec.finalizers");
	json_array_foreach(finalizers, i, v) if (str_eq(json_string_value(v), "kubernetes")) return;
	json_array_append_new(finalizers, json_string("kubernetes"));
}

void node_set_defaults(json_t *obj, const json_t *old UNUSED)
{
	json_t *capacity = json_at(obj, "status.capacity");

	if (capacity && !json_at(obj, "status.allocatable"))
		json_put(obj, "status.allocatable", json_deep_copy(capacity));
}
