/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Descriptions of the kinds other than pods.
 */
#include "internal.h"

static void head(struct describe *d, const json_t *obj)
{
	char when[40];

	put(d, 0, "Name:\t%s\n", meta_name(obj));
	if (*meta_ns(obj))
		put(d, 0, "Namespace:\t%s\n", meta_ns(obj));
	put(d, 0, "CreationTimestamp:\t%s\n",
	    time_rfc1123(when, json_str(obj, "metadata.creationTimestamp", NULL)));
	put_map(d, 0, "Labels:", json_at(obj, "metadata.labels"));
	put_map(d, 0, "Annotations:", json_at(obj, "metadata.annotations"));
}

static char *selector_text(const json_t *selector)
{
	auto_clean(label_selector) struct label_selector *s =
		label_selector_from_json(selector, NULL);
	char *text = label_selector_format(s);

	if (*text)
		return text;
	free(text);
	return xstrdup("<none>");
}

/* ---- workloads ------------------------------------------------------------------------------ */

static char *int_or_string(const json_t *v)
{
	return json_is_string(v) ? xstrdup(json_string_value(v))
				 : xasprintf("%lld", (long long)json_integer_value(v));
}

static json_t *replicasets_of(struct describe *d, const json_t *deployment)
{
	auto_free char *selector = selector_text(json_at(deployment, "spec.selector"));
	auto_free char *path = kind_path_query(&kind_replicaset, meta_ns(deployment), NULL, NULL,
					       "labelSelector", selector, NULL);
	int exit_code;
	json_auto_t *list = client_get(d->c, path, false, &exit_code);

	return json_incref(json_at(list, "items"));
}

/* The ReplicaSet of the current revision, and the others that still have or want pods. */
static void put_replicasets(struct describe *d, const json_t *deployment)
{
	json_auto_t *list = replicasets_of(d, deployment);
	const char *revision = meta_annotation(deployment, ANNOTATION_REVISION);
	auto_strbuf old = {0}, new = {0};
	json_t *rs;
	size_t i;

	json_array_foreach(list, i, rs)
	{
		bool current = str_eq(meta_annotation(rs, ANNOTATION_REVISION), revision);
		struct strbuf *b = current ? &new : &old;

		if (!str_eq(json_str(meta_controller(rs), "uid", NULL), meta_uid(deployment)))
			continue;
		strbuf_addf(b, "%s%s (%lld/%lld replicas created)", b->len ? ", " : "",
			    meta_name(rs), (long long)json_int(rs, "status.replicas", 0),
			    (long long)json_int(rs, "spec.replicas", 0));
	}
	put(d, 0, "OldReplicaSets:\t%s\n", old.len ? old.s : "<none>");
	put(d, 0, "NewReplicaSet:\t%s\n", new.len ? new.s : "<none>");
}

static void put_conditions(struct describe *d, const json_t *obj)
{
	json_t *list = json_at(obj, "status.conditions"), *e;
	size_t i;

	if (!json_array_size(list))
		return;
	put(d, 0, "Conditions:\n  Type\tStatus\tReason\n  ----\t------\t------\n");
	json_array_foreach(list, i, e)
	{
		put(d, 0, "  %s \t%s\t%s\n", json_str(e, "type", ""), json_str(e, "status", ""),
		    json_str(e, "reason", ""));
	}
}

void describe_deployment(struct describe *d, const json_t *obj)
{
	auto_free char *selector = selector_text(json_at(obj, "spec.selector"));
	const json_t *rolling = json_at(obj, "spec.strategy.rollingUpdate");
	long long available = json_int(obj, "status.availableReplicas", 0);
	long long want = json_int(obj, "spec.replicas", 0);

	head(d, obj);
	put(d, 0, "Selector:\t%s\n", selector);
	put(d, 0,
	    "Replicas:\t%lld desired | %lld updated | %lld total | %lld available | %lld "
	    "unavailable\n",
	    want, (long long)json_int(obj, "status.updatedReplicas", 0),
	    (long long)json_int(obj, "status.replicas", 0), available,
	    (long long)json_int(obj, "status.unavailableReplicas", 0));
	put(d, 0, "StrategyType:\t%s\n", json_str(obj, "spec.strategy.type", ""));
	put(d, 0, "MinReadySeconds:\t%lld\n", (long long)json_int(obj, "spec.minReadySeconds", 0));
	if (rolling) {
		auto_free char *down = int_or_string(json_at(rolling, "maxUnavailable"));
		auto_free char *up = int_or_string(json_at(rolling, "maxSurge"));

		put(d, 0, "RollingUpdateStrategy:\t%s max unavailable, %s max surge\n", down, up);
	}
	put_template(d, 0, json_at(obj, "spec.template"));
	put_conditions(d, obj);
	put_replicasets(d, obj);
}

/* Pods of the ReplicaSet by phase. */
static void put_pod_counts(struct describe *d, const json_t *rs, const char *selector)
{
	auto_free char *path = kind_path_query(&kind_pod, meta_ns(rs), NULL, NULL, "labelSelector",
					       selector, NULL);
	static const char *const phases[] = {"Running", "Pending", "Succeeded", "Failed"};
	static const char *const words[] = {"Running", "Waiting", "Succeeded", "Failed"};
	int exit_code, counts[ARRAY_SIZE(phases)] = {0};
	json_auto_t *list = client_get(d->c, path, false, &exit_code);
	json_t *pod;
	size_t i;

	json_array_foreach(json_at(list, "items"), i, pod)
	{
		for (size_t p = 0; p < ARRAY_SIZE(phases); p++)
			counts[p] +=
				str_eq(json_str(pod, "status.phase", NULL), phases[p]) &&
				str_eq(json_str(meta_controller(pod), "uid", NULL), meta_uid(rs));
	}
	put(d, 0, "Pods Status:\t");
	for (size_t p = 0; p < ARRAY_SIZE(phases); p++)
		put(d, 0, "%s%d %s", p ? " / " : "", counts[p], words[p]);
	put(d, 0, "\n");
}

void describe_replicaset(struct describe *d, const json_t *obj)
{
	auto_free char *selector = selector_text(json_at(obj, "spec.selector"));
	const json_t *owner = meta_controller(obj);

	put(d, 0, "Name:\t%s\nNamespace:\t%s\nSelector:\t%s\n", meta_name(obj), meta_ns(obj),
	    selector);
	put_map(d, 0, "Labels:", json_at(obj, "metadata.labels"));
	put_map(d, 0, "Annotations:", json_at(obj, "metadata.annotations"));
	if (owner)
		put(d, 0, "Controlled By:\t%s/%s\n", json_str(owner, "kind", ""),
		    json_str(owner, "name", ""));
	put(d, 0, "Replicas:\t%lld current / %lld desired\n",
	    (long long)json_int(obj, "status.replicas", 0),
	    (long long)json_int(obj, "spec.replicas", 0));
	put_pod_counts(d, obj, selector);
	put_template(d, 0, json_at(obj, "spec.template"));
}

/* ---- services ------------------------------------------------------------------------------- */

static json_t *slices_of(struct describe *d, const json_t *service)
{
	auto_free char *selector = xasprintf("kubernetes.io/service-name=%s", meta_name(service));
	auto_free char *path = kind_path_query(&kind_endpointslice, meta_ns(service), NULL, NULL,
					       "labelSelector", selector, NULL);
	int exit_code;
	json_auto_t *list = client_get(d->c, path, false, &exit_code);

	return json_incref(json_at(list, "items"));
}

/* Ready addresses for one port of the service: "10.0.0.1:80,10.0.0.2:80 + 1 more...". */
static char *endpoints_text(const json_t *slices, const char *port_name)
{
	json_t *slice, *e, *port;
	auto_strbuf b = {0};
	size_t i, j, n = 0;

	json_array_foreach(slices, i, slice)
	{
		port = NULL;
		json_array_foreach(json_at(slice, "ports"), j, e)
		{
			if (streq(json_str(e, "name", ""), port_name))
				port = e;
		}
		json_array_foreach(json_at(slice, "endpoints"), j, e)
		{
			const json_t *address = json_array_get(json_at(e, "addresses"), 0);

			if (!json_bool(e, "conditions.ready", true) || !address || n++ >= 3)
				continue;
			strbuf_addf(&b, "%s%s", b.len ? "," : "", json_string_value(address));
			if (port)
				strbuf_addf(&b, ":%lld", (long long)json_int(port, "port", 0));
		}
	}
	if (n > 3)
		strbuf_addf(&b, " + %zu more...", n - 3);
	return strbuf_steal(&b);
}

static void put_service_port(struct describe *d, const json_t *p, const json_t *slices)
{
	const char *name = json_str(p, "name", ""), *protocol = json_str(p, "protocol", "TCP");
	auto_free char *endpoints = endpoints_text(slices, name);
	auto_free char *target = int_or_string(json_at(p, "targetPort"));

	name = *name ? name : "<unset>";
	put(d, 0, "Port:\t%s\t%lld/%s\n", name, (long long)json_int(p, "port", 0), protocol);
	put(d, 0, "TargetPort:\t%s/%s\n", target, protocol);
	if (json_int(p, "nodePort", 0))
		put(d, 0, "NodePort:\t%s\t%lld/%s\n", name, (long long)json_int(p, "nodePort", 0),
		    protocol);
	put(d, 0, "Endpoints:\t%s\n", *endpoints ? endpoints : "<none>");
}

/* "a,b" of a list of strings, or of one member of a list of objects. */
static void put_joined(struct describe *d, const char *title, const json_t *list,
		       const char *member)
{
	auto_strbuf b = {0};
	json_t *e;
	size_t i;

	json_array_foreach(list, i, e)
	{
		strbuf_addf(&b, "%s%s", b.len ? "," : "",
			    member ? json_str(e, member, "")
				   : (json_is_string(e) ? json_string_value(e) : ""));
	}
	if (b.len)
		put(d, 0, "%s:\t%s\n", title, b.s);
}

void describe_service(struct describe *d, const json_t *obj)
{
	auto_clean(label_selector) struct label_selector *s =
		label_selector_from_map(json_at(obj, "spec.selector"));
	auto_free char *selector = label_selector_format(s);
	json_auto_t *slices = slices_of(d, obj);
	json_t *p;
	size_t i;

	put(d, 0, "Name:\t%s\nNamespace:\t%s\n", meta_name(obj), meta_ns(obj));
	put_map(d, 0, "Labels:", json_at(obj, "metadata.labels"));
	put_map(d, 0, "Annotations:", json_at(obj, "metadata.annotations"));
	put(d, 0, "Selector:\t%s\n", *selector ? selector : "<none>");
	put(d, 0, "Type:\t%s\n", json_str(obj, "spec.type", ""));
	if (json_at(obj, "spec.ipFamilyPolicy"))
		put(d, 0, "IP Family Policy:\t%s\n", json_str(obj, "spec.ipFamilyPolicy", ""));
	put_joined(d, "IP Families", json_at(obj, "spec.ipFamilies"), NULL);
	put(d, 0, "IP:\t%s\n", json_str(obj, "spec.clusterIP", ""));
	put_joined(d, "IPs", json_at(obj, "spec.clusterIPs"), NULL);
	put_joined(d, "External IPs", json_at(obj, "spec.externalIPs"), NULL);
	if (json_at(obj, "spec.externalName"))
		put(d, 0, "External Name:\t%s\n", json_str(obj, "spec.externalName", ""));
	put_joined(d, "LoadBalancer Ingress", json_at(obj, "status.loadBalancer.ingress"), "ip");
	json_array_foreach(json_at(obj, "spec.ports"), i, p)
	{
		put_service_port(d, p, slices);
	}
	put(d, 0, "Session Affinity:\t%s\n", json_str(obj, "spec.sessionAffinity", "None"));
	if (json_at(obj, "spec.externalTrafficPolicy"))
		put(d, 0, "External Traffic Policy:\t%s\n",
		    json_str(obj, "spec.externalTrafficPolicy", ""));
	if (json_at(obj, "spec.internalTrafficPolicy"))
		put(d, 0, "Internal Traffic Policy:\t%s\n",
		    json_str(obj, "spec.internalTrafficPolicy", ""));
	if (json_int(obj, "spec.healthCheckNodePort", 0))
		put(d, 0, "HealthCheck NodePort:\t%d\n",
		    (int)json_int(obj, "spec.healthCheckNodePort", 0));
}

/* ---- nodes ---------------------------------------------------------------------------------- */

static void put_quantities(struct describe *d, const char *title, const json_t *map)
{
	const char *key;
	json_t *v;

	put(d, 0, "%s:\n", title);
	json_object_foreach((json_t *)map, key, v)
	{
		put(d, 1, "%s:\t%s\n", key, json_is_string(v) ? json_string_value(v) : "");
	}
}

static void put_node_conditions(struct describe *d, const json_t *node)
{
	json_t *list = json_at(node, "status.conditions"), *e;
	size_t i;

	if (json_array_size(list))
		put(d, 0,
		    "Conditions:\n  Type\tStatus\tLastHeartbeatTime\tLastTransitionTime\tReason\t"
		    "Message\n  ----\t------\t-----------------\t------------------\t------\t"
		    "-------\n");
	json_array_foreach(list, i, e)
	{
		char beat[40], change[40];

		put(d, 1, "%s \t%s \t%s \t%s \t%s \t%s\n", json_str(e, "type", ""),
		    json_str(e, "status", ""),
		    time_rfc1123(beat, json_str(e, "lastHeartbeatTime", NULL)),
		    time_rfc1123(change, json_str(e, "lastTransitionTime", NULL)),
		    json_str(e, "reason", ""), json_str(e, "message", ""));
	}
}

static void put_node_pods(struct describe *d, const json_t *node)
{
	auto_free char *selector = xasprintf(
		"spec.nodeName=%s,status.phase!=Failed,status.phase!=Succeeded", meta_name(node));
	auto_free char *path =
		kind_path_query(&kind_pod, NULL, NULL, NULL, "fieldSelector", selector, NULL);
	int exit_code;
	json_auto_t *list = client_get(d->c, path, false, &exit_code);
	json_t *pod;
	size_t i;

	put(d, 0, "Non-terminated Pods:\t(%zu in total)\n", json_len(list, "items"));
	put(d, 0, "  Namespace\tName\t\tAge\n  ---------\t----\t\t---\n");
	json_array_foreach(json_at(list, "items"), i, pod)
	{
		struct timespec ts = {0};
		char age[24];

		if (time_parse(json_str(pod, "metadata.creationTimestamp", ""), &ts) < 0)
			ts.tv_sec = d->now;
		put(d, 1, "%s\t%s\t\t%s\n", meta_ns(pod), meta_name(pod),
		    human_duration(age, (int64_t)d->now - (int64_t)ts.tv_sec));
	}
}

static void put_taints(struct describe *d, const json_t *node)
{
	json_t *list = json_at(node, "spec.taints"), *t;
	size_t i;

	put(d, 0, "Taints:");
	json_array_foreach(list, i, t)
	{
		const char *value = json_str(t, "value", "");
		put(d, 0, "\t%s%s%s:%s\n", json_str(t, "key", ""), *value ? "=" : "", value,
		    json_str(t, "effect", ""));
	}
	if (!i)
		put(d, 0, "\t<none>\n");
}

void describe_node(struct describe *d, const json_t *obj)
{
	static const char *const info[][2] = {
		{"Machine ID", "machineID"},
		{"System UUID", "systemUUID"},
		{"Boot ID", "bootID"},
		{"Kernel Version", "kernelVersion"},
		{"OS Image", "osImage"},
		{"Operating System", "operatingSystem"},
		{"Architecture", "architecture"},
		{"Container Runtime Version", "containerRuntimeVersion"},
		{"Kubelet Version", "kubeletVersion"},
	};
	json_t *addresses = json_at(obj, "status.addresses"), *a;
	size_t i;

	head(d, obj);
	put_taints(d, obj);
	put(d, 0, "Unschedulable:\t%s\n",
	    json_bool(obj, "spec.unschedulable", false) ? "true" : "false");
	put_node_conditions(d, obj);
	put(d, 0, "Addresses:\n");
	json_array_foreach(addresses, i, a)
	{
		put(d, 1, "%s:\t%s\n", json_str(a, "type", ""), json_str(a, "address", ""));
	}
	put_quantities(d, "Capacity", json_at(obj, "status.capacity"));
	put_quantities(d, "Allocatable", json_at(obj, "status.allocatable"));
	put(d, 0, "System Info:\n");
	for (i = 0; i < ARRAY_SIZE(info); i++)
		put(d, 1, "%s:\t%s\n", info[i][0],
		    json_str(json_at(obj, "status.nodeInfo"), info[i][1], ""));
	put_joined(d, "PodCIDR", json_at(obj, "spec.podCIDRs"), NULL);
	put_node_pods(d, obj);
}

/* ---- small kinds ---------------------------------------------------------------------------- */

void describe_namespace(struct describe *d, const json_t *obj)
{
	put(d, 0, "Name:\t%s\n", meta_name(obj));
	put_map(d, 0, "Labels:", json_at(obj, "metadata.labels"));
	put_map(d, 0, "Annotations:", json_at(obj, "metadata.annotations"));
	put(d, 0, "Status:\t%s\n", json_str(obj, "status.phase", ""));
}

static void small_head(struct describe *d, const json_t *obj)
{
	put(d, 0, "Name:\t%s\nNamespace:\t%s\n", meta_name(obj), meta_ns(obj));
	put_map(d, 0, "Labels:", json_at(obj, "metadata.labels"));
	put_map(d, 0, "Annotations:", json_at(obj, "metadata.annotations"));
}

void describe_configmap(struct describe *d, const json_t *obj)
{
	const char *key;
	json_t *v;

	small_head(d, obj);
	put(d, 0, "\nData\n====\n");
	json_object_foreach(json_at(obj, "data"), key, v)
	{
		put(d, 0, "%s:\n----\n%s\n\n", key, json_is_string(v) ? json_string_value(v) : "");
	}
	put(d, 0, "\nBinaryData\n====\n");
	json_object_foreach(json_at(obj, "binaryData"), key, v)
	{
		put(d, 0, "%s: %zu bytes\n", key, json_string_length(v) / 4 * 3);
	}
	put(d, 0, "\n");
}

/* Only sizes: secrets are not for screens. */
void describe_secret(struct describe *d, const json_t *obj)
{
	const char *key;
	json_t *v;

	small_head(d, obj);
	put(d, 0, "\nType:\t%s\n\nData\n====\n", json_str(obj, "type", ""));
	json_object_foreach(json_at(obj, "data"), key, v)
	{
		auto_free unsigned char *data = NULL;
		size_t len = 0;

		if (base64_decode(json_string_value(v) ? json_string_value(v) : "",
				  json_string_length(v), &data, &len) < 0)
			len = 0;
		put(d, 0, "%s:\t%zu bytes\n", key, len);
	}
}

/* ---- anything else -------------------------------------------------------------------------- */

/* "creationTimestamp" -> "Creation Timestamp". */
static void put_title(struct describe *d, unsigned level, const char *key)
{
	put(d, level, "%c", *key >= 'a' && *key <= 'z' ? *key - 32 : *key);
	for (const char *s = key + (*key != 0); *s; s++) {
		bool word = *s >= 'A' && *s <= 'Z' && s[-1] >= 'a' && s[-1] <= 'z';
		strbuf_addf(&d->text, "%s%c", word ? " " : "", *s);
	}
	strbuf_addc(&d->text, ':');
}

static void put_value(struct describe *d, unsigned level, const json_t *v)
{
	const char *key;
	json_t *e, *member;
	size_t i;

	if (json_is_object(v)) {
		put(d, 0, "\n");
		json_object_foreach((json_t *)v, key, e)
		{
			put_title(d, level, key);
			put_value(d, level + 1, e);
		}
	} else if (json_is_array(v)) {
		put(d, 0, "\n");
		json_array_foreach(v, i, e)
		{
			if (json_is_object(e)) {
				json_object_foreach(e, key, member)
				{
					put_title(d, level, key);
					put_value(d, level + 1, member);
				}
			} else {
				put(d, level, "%s", "");
				put_value(d, level, e);
			}
		}
	} else if (json_is_string(v)) {
		put(d, 0, "\t%s\n", json_string_value(v));
	} else {
		auto_free char *text = json_dumps(v, JSON_ENCODE_ANY);
		put(d, 0, "\t%s\n", text ? text : "");
	}
}

void describe_generic(struct describe *d, const json_t *obj)
{
	static const char *const hidden[] = {"kind", "apiVersion", "metadata"};
	const char *key;
	json_t *v;
	char when[40];

	put(d, 0, "Name:\t%s\nNamespace:\t%s\n", meta_name(obj), meta_ns(obj));
	put_map(d, 0, "Labels:", json_at(obj, "metadata.labels"));
	put_map(d, 0, "Annotations:", json_at(obj, "metadata.annotations"));
	put(d, 0, "API Version:\t%s\nKind:\t%s\n", json_str(obj, "apiVersion", ""),
	    json_str(obj, "kind", ""));
	put(d, 0, "Metadata:\n  Creation Timestamp:\t%s\n",
	    time_rfc1123(when, json_str(obj, "metadata.creationTimestamp", NULL)));
	json_object_foreach((json_t *)obj, key, v)
	{
		bool hide = false;

		for (size_t i = 0; i < ARRAY_SIZE(hidden); i++)
			hide |= streq(hidden[i], key);
		if (hide)
			continue;
		put_title(d, 0, key);
		put_value(d, 1, v);
	}
}
