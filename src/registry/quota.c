/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ResourceQuotas: what the objects of a namespace use, and whether one more fits (kubernetes
 * pkg/quota/v1, plugin resourcequota). What is used is counted from the objects themselves every
 * time; status is for people and lags behind.
 */
#include "internal.h"

/* ---- amounts ---------------------------------------------------------------------------- */

static void amount_add(json_t *map, const char *name, const char *value)
{
	const char *have = json_string_value(json_object_get(map, name));
	auto_free char *sum = quantity_sum(have, value);

	if (sum)
		json_object_set_new(map, name, json_string(sum));
}

/* Every name once more with the prefix. */
static void add_all(json_t *map, const json_t *from, const char *prefix)
{
	const char *name;
	json_t *v;

	json_object_foreach((json_t *)(uintptr_t)from, name, v)
	{
		auto_free char *full = xasprintf("%s%s", prefix, name);

		amount_add(map, full, json_string_value(v));
	}
}

static void take_larger(json_t *map, const json_t *other)
{
	const char *name;
	json_t *v;

	json_object_foreach((json_t *)(uintptr_t)other, name, v)
	{
		const char *have = json_string_value(json_object_get(map, name));

		if (!have || quantity_cmp(have, json_string_value(v)) < 0)
			json_object_set(map, name, v);
	}
}

json_t *pod_resources(const json_t *pod, const char *what)
{
	json_auto_t *first = json_object(); /* the most that the start of the pod takes */
	json_auto_t *sidecars = json_object();
	json_t *sum = json_object(), *c;
	size_t i;

	json_array_foreach(json_at(pod, "spec.containers"), i, c)
		add_all(sum, json_object_get(json_object_get(c, "resources"), what), "");
	json_array_foreach(json_at(pod, "spec.initContainers"), i, c)
	{
		const json_t *own = json_object_get(json_object_get(c, "resources"), what);
		json_auto_t *now = json_deep_copy(sidecars);

		add_all(now, own, "");
		take_larger(first, now);
		if (streq(json_str(c, "restartPolicy", ""), "Always"))
			add_all(sidecars, own, "");
	}
	add_all(sum, sidecars, "");
	take_larger(sum, first);
	add_all(sum, json_at(pod, "spec.overhead"), "");
	return sum;
}

/* ---- scopes ----------------------------------------------------------------------------- */

static bool has_cross_affinity(const json_t *pod)
{
	static const char *const kinds[] = {"podAffinity", "podAntiAffinity"};
	static const char *const lists[] = {"requiredDuringSchedulingIgnoredDuringExecution",
					    "preferredDuringSchedulingIgnoredDuringExecution"};

	for (size_t i = 0; i < ARRAY_SIZE(kinds) * ARRAY_SIZE(lists); i++) {
		const json_t *affinity = json_object_get(json_at(pod, "spec.affinity"),
							 kinds[i / ARRAY_SIZE(lists)]);
		json_t *term;
		size_t j;

		json_array_foreach(json_object_get(affinity, lists[i % ARRAY_SIZE(lists)]), j, term)
		{
			const json_t *t = json_object_get(term, "podAffinityTerm");

			t = t ? t : term;
			if (json_len(t, "namespaces") || json_object_get(t, "namespaceSelector"))
				return true;
		}
	}
	return false;
}

static bool in_values(const json_t *requirement, const char *value)
{
	json_t *v;
	size_t i;

	json_array_foreach(json_object_get(requirement, "values"), i,
			   v) if (str_eq(json_string_value(v), value)) return true;
	return false;
}

/* A scope with the operator and values of a selector; op "Exists": as plain scopes are. */
static bool scope_matches(const json_t *pod, const char *scope, const char *op,
			  const json_t *requirement)
{
	const char *class = json_str(pod, "spec.priorityClassName", "");
	bool best = streq(pod_qos_class(pod), "BestEffort");
	bool ends = json_at(pod, "spec.activeDeadlineSeconds") != NULL;

	if (streq(scope, "Terminating"))
		return ends;
	if (streq(scope, "NotTerminating"))
		return !ends;
	if (streq(scope, "BestEffort"))
		return best;
	if (streq(scope, "NotBestEffort"))
		return !best;
	if (streq(scope, "CrossNamespacePodAffinity"))
		return has_cross_affinity(pod);
	if (!streq(scope, "PriorityClass"))
		return false;
	if (streq(op, "In"))
		return in_values(requirement, class);
	if (streq(op, "NotIn"))
		return !in_values(requirement, class);
	return (*class != '\0') == streq(op, "Exists");
}

static bool has_scopes(const json_t *quota)
{
	return json_len(quota, "spec.scopes") ||
	       json_len(quota, "spec.scopeSelector.matchExpressions");
}

/* Whether the quota is about this object; with scopes it is about some pods alone. */
static bool in_scope(const json_t *quota, const struct kind *k, const json_t *obj)
{
	json_t *v;
	size_t i;

	if (!has_scopes(quota))
		return true;
	if (k != &kind_pod)
		return false;
	json_array_foreach(
		json_at(quota, "spec.scopes"), i,
		v) if (!scope_matches(obj, json_string_value(v), "Exists", NULL)) return false;
	json_array_foreach(json_at(quota, "spec.scopeSelector.matchExpressions"), i,
			   v) if (!scope_matches(obj, json_str(v, "scopeName", ""),
						 json_str(v, "operator", ""), v)) return false;
	return true;
}

/* ---- usage of one object ---------------------------------------------------------------- */

static void pod_usage(json_t *map, const json_t *pod)
{
	static const char *const plain[] = {"cpu", "memory", "ephemeral-storage"};
	json_auto_t *requests = pod_resources(pod, "requests");
	json_auto_t *limits = pod_resources(pod, "limits");
	const char *name;
	json_t *v;

	amount_add(map, "pods", "1");
	add_all(map, requests, "requests.");
	add_all(map, limits, "limits.");
	for (size_t i = 0; i < ARRAY_SIZE(plain); i++)
		if ((v = json_object_get(requests, plain[i])))
			amount_add(map, plain[i], json_string_value(v));
	json_object_foreach(requests, name, v) if (str_starts(name, "hugepages-"))
		amount_add(map, name, json_string_value(v));
}

static void service_usage(json_t *map, const json_t *service)
{
	const char *type = json_str(service, "spec.type", "");
	bool balancer = streq(type, "LoadBalancer");
	json_t *port;
	size_t i;
	int ports = 0;
	char text[16];

	amount_add(map, "services", "1");
	if (balancer)
		amount_add(map, "services.loadbalancers", "1");
	json_array_foreach(json_at(service, "spec.ports"), i, port) ports +=
		!balancer || json_bool(service, "spec.allocateLoadBalancerNodePorts", true) ||
		json_int(port, "nodePort", 0) > 0;
	if (!balancer && !streq(type, "NodePort"))
		return;
	snprintf(text, sizeof(text), "%d", ports);
	amount_add(map, "services.nodeports", text);
}

static void claim_usage(json_t *map, const json_t *claim)
{
	const char *size = json_string_value(
		json_object_get(json_at(claim, "spec.resources.requests"), "storage"));
	const char *class = meta_annotation(claim, "volume.beta.kubernetes.io/storage-class");

	if (!class)
		class = json_str(claim, "spec.storageClassName", "");
	amount_add(map, "persistentvolumeclaims", "1");
	if (size)
		amount_add(map, "requests.storage", size);
	if (!*class)
		return;
	auto_free char *count =
		xasprintf("%s.storageclass.storage.k8s.io/persistentvolumeclaims", class);
	auto_free char *storage =
		xasprintf("%s.storageclass.storage.k8s.io/requests.storage", class);

	amount_add(map, count, "1");
	if (size)
		amount_add(map, storage, size);
}

/* A pod that has ended, or should have, uses nothing. */
static bool counts(const struct kind *k, const json_t *obj, time_t now)
{
	const char *phase = json_str(obj, "status.phase", "");
	struct timespec end;

	if (k != &kind_pod)
		return true;
	if (streq(phase, "Succeeded") || streq(phase, "Failed"))
		return false;
	return !meta_deleting(obj) ||
	       time_parse(json_str(obj, "metadata.deletionTimestamp", ""), &end) < 0 ||
	       end.tv_sec >= now;
}

/* The name that a kind's objects are counted by, beside "count/<resource>". */
static const char *count_name(const struct kind *k)
{
	static const char *const names[] = {"replicationcontrollers", "resourcequotas", "secrets",
					    "configmaps"};

	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (!*k->group && streq(k->plural, names[i]))
			return names[i];
	return NULL;
}

static void add_usage(json_t *map, const struct kind *k, const json_t *obj)
{
	char resource[API_VERSION_MAX];
	auto_free char *count = xasprintf("count/%s", kind_resource(k, resource));

	amount_add(map, count, "1");
	if (count_name(k))
		amount_add(map, count_name(k), "1");
	if (k == &kind_service)
		service_usage(map, obj);
	else if (k == &kind_persistentvolumeclaim)
		claim_usage(map, obj);
	else if (k == &kind_pod && counts(k, obj, time(NULL)))
		pod_usage(map, obj);
}

/* ---- usage of a namespace --------------------------------------------------------------- */

/* Does a quota of this name count objects of the kind? */
static bool is_about(const char *name, const struct kind *k)
{
	char resource[API_VERSION_MAX];

	if (str_starts(name, "count/"))
		return streq(name + strlen("count/"), kind_resource(k, resource));
	if (count_name(k))
		return streq(name, count_name(k));
	if (k == &kind_service)
		return str_starts(name, "services");
	if (k == &kind_persistentvolumeclaim)
		return streq(name, "persistentvolumeclaims") || streq(name, "requests.storage") ||
		       strstr(name, ".storageclass.storage.k8s.io/");
	return k == &kind_pod && !str_starts(name, "services") &&
	       !streq(name, "persistentvolumeclaims") && !streq(name, "requests.storage") &&
	       !strstr(name, ".storageclass.storage.k8s.io/") &&
	       !streq(name, "replicationcontrollers") && !streq(name, "resourcequotas") &&
	       !streq(name, "secrets") && !streq(name, "configmaps");
}

static bool quota_is_about(const json_t *quota, const struct kind *k)
{
	const char *name;
	json_t *v;

	json_object_foreach(json_at(quota, "spec.hard"), name,
			    v) if (is_about(name, k)) return true;
	return false;
}

/* What all objects of the kind use. */
static void add_kind(struct registry *r, json_t *used, const json_t *quota, const char *ns,
		     const struct kind *k)
{
	struct store_iter it = store_iter(r->store, k, ns);
	const struct object *o;

	while ((o = store_next(&it)))
		if (in_scope(quota, k, object_json(o)))
			add_usage(used, k, object_json(o));
}

/* Only what the quota bounds; nothing used is 0. */
static json_t *masked(const json_t *used, const json_t *hard)
{
	json_t *ret = json_object(), *v, *have;
	const char *name;

	json_object_foreach((json_t *)(uintptr_t)hard, name, v)
	{
		have = json_object_get(used, name);
		json_object_set_new(ret, name, have ? json_copy(have) : json_string("0"));
	}
	return ret;
}

bool registry_quota_counts(const struct object *quota, const struct kind *k)
{
	return quota_is_about(object_json(quota), k);
}

json_t *registry_quota_usage(struct registry *r, const struct object *quota)
{
	const json_t *q = object_json(quota);
	json_auto_t *used = json_object();

	for (size_t i = 0; i < kind_count(); i++) {
		const struct kind *k = kind_at(i);

		if (k && k->namespaced && !k->storage && quota_is_about(q, k))
			add_kind(r, used, q, quota->ns, k);
	}
	return masked(used, json_at(q, "spec.hard"));
}

/* ---- does one more fit ------------------------------------------------------------------ */

/* "cpu=2,pods=1": of the names in the list. */
static char *pretty(const json_t *amounts, const struct strv *names)
{
	auto_strbuf b = {0};

	for (size_t i = 0; i < names->n; i++) {
		const char *v = json_string_value(json_object_get(amounts, names->v[i]));

		strbuf_addf(&b, "%s%s=%s", i ? "," : "", names->v[i], v ? v : "0");
	}
	return strbuf_steal(&b);
}

static int compare(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Names of the containers in the list that do not say the resource. */
static void silent_containers(const json_t *list, const char *map, const char *resource,
			      struct strbuf *ret)
{
	json_t *c;
	size_t i;

	json_array_foreach(
		list, i,
		c) if (!json_object_get(json_object_get(json_object_get(c, "resources"), map),
					resource))
		strbuf_addf(ret, "%s%s", ret->len ? "," : "", json_str(c, "name", ""));
}

/* Who bounds what pods ask for wants every container to say. */
static int check_said(const struct object *quota, const json_t *pod, struct err *err)
{
	static const char *const said[] = {"cpu",    "limits.cpu",   "limits.memory",
					   "memory", "requests.cpu", "requests.memory"};
	const json_t *hard = json_at(object_json(quota), "spec.hard");
	auto_strbuf missing = {0};

	for (size_t i = 0; i < ARRAY_SIZE(said); i++) {
		const char *dot = strchr(said[i], '.'), *resource = dot ? dot + 1 : said[i];
		const char *map = str_starts(said[i], "limits.") ? "limits" : "requests";
		auto_strbuf names = {0};

		if (!json_object_get(hard, said[i]))
			continue;
		silent_containers(json_at(pod, "spec.containers"), map, resource, &names);
		silent_containers(json_at(pod, "spec.initContainers"), map, resource, &names);
		if (names.len)
			strbuf_addf(&missing, "%s%s for: %s", missing.len ? "; " : "", said[i],
				    names.s);
	}
	if (!missing.len)
		return 0;
	return fail_forbidden(err, &kind_pod, meta_name(pod), "failed quota: %s: must specify %s",
			      quota->name, missing.s);
}

static int check_quota(struct registry *r, const struct object *quota, const struct kind *k,
		       const json_t *obj, const json_t *old, struct err *err)
{
	const json_t *q = object_json(quota), *hard = json_at(q, "spec.hard");
	json_auto_t *used = json_object(), *more = json_object(), *before = json_object();
	auto_strv over = {0};
	const char *name;
	json_t *v;

	add_kind(r, used, q, quota->ns, k);
	add_usage(more, k, obj);
	if (old)
		add_usage(before, k, old);
	json_object_foreach((json_t *)(uintptr_t)hard, name, v)
	{
		const char *have = json_string_value(json_object_get(used, name));
		const char *ask = json_string_value(json_object_get(more, name));
		const char *had = json_string_value(json_object_get(before, name));
		auto_free char *delta = ask ? quantity_difference(ask, had) : NULL;
		auto_free char *sum = delta ? quantity_sum(have, delta) : NULL;

		if (!sum || quantity_cmp(delta, "0") <= 0)
			continue;
		json_object_set_new(more, name, json_string(delta));
		if (quantity_cmp(sum, json_string_value(v)) > 0)
			strv_add(&over, name);
	}
	if (!over.n)
		return 0;
	qsort(over.v, over.n, sizeof(*over.v), compare);
	auto_free char *asked = pretty(more, &over), *has = pretty(used, &over);
	auto_free char *bound = pretty(hard, &over);

	return fail_forbidden(err, k, meta_name(obj),
			      "exceeded quota: %s, requested: %s, used: %s, limited: %s",
			      quota->name, asked, has, bound);
}

int quota_check(struct registry *r, const struct kind *k, const json_t *obj, const json_t *old,
		struct err *err)
{
	struct store_iter it = store_iter(r->store, &kind_resourcequota, meta_ns(obj));
	const struct object *quota;
	int rc = 0;

	if (!k->namespaced || (old && k != &kind_service && k != &kind_persistentvolumeclaim))
		return 0;
	while (rc == 0 && (quota = store_next(&it))) {
		const json_t *q = object_json(quota);

		if (!quota_is_about(q, k) || !in_scope(q, k, obj))
			continue;
		if (k == &kind_pod)
			rc = check_said(quota, obj, err);
		if (rc == 0)
			rc = check_quota(r, quota, k, obj, old, err);
	}
	return rc;
}
