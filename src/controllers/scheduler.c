/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Scheduler: binds pods to the node that can take them; what cannot be placed stays Pending with
 * the event and condition that say why (upstream: pkg/scheduler, plugins NodeUnschedulable,
 * NodeAffinity, TaintToleration, NodePorts, NodeResourcesFit).
 */
#include "scheduler.h"

/* Requests of one pod: the sum of its containers, at least each init container (sidecars add up).
 */
static int64_t request(const json_t *container, const char *resource)
{
	const char *text = json_string_value(
		json_object_get(json_at(container, "resources.requests"), resource));
	int64_t milli = 0;

	if (!text || quantity_parse_milli(text, &milli) < 0)
		return 0;
	return milli;
}

int64_t pod_request(const json_t *pod, const char *resource)
{
	int64_t sum = 0, sidecars = 0, most = 0, overhead = 0;
	const char *text;
	json_t *c;
	size_t i;

	if (streq(resource, "pods"))
		return 1000;
	json_array_foreach(json_at(pod, "spec.containers"), i, c) sum += request(c, resource);
	json_array_foreach(json_at(pod, "spec.initContainers"), i, c)
	{
		int64_t n = request(c, resource);

		if (streq(json_str(c, "restartPolicy", ""), "Always"))
			sidecars += n;
		else if (n + sidecars > most)
			most = n + sidecars;
	}
	text = json_string_value(json_object_get(json_at(pod, "spec.overhead"), resource));
	if (text && quantity_parse_milli(text, &overhead) < 0)
		overhead = 0;
	return (sum + sidecars > most ? sum + sidecars : most) + overhead;
}

int64_t node_allocatable(const json_t *node, const char *resource)
{
	const char *text =
		json_string_value(json_object_get(json_at(node, "status.allocatable"), resource));
	int64_t milli = 0;

	return text && quantity_parse_milli(text, &milli) == 0 ? milli : 0;
}

bool pod_is_on(const json_t *pod, const char *node)
{
	const char *phase = json_str(pod, "status.phase", "");

	return streq(json_str(pod, "spec.nodeName", ""), node) && !streq(phase, "Succeeded") &&
	       !streq(phase, "Failed");
}

int64_t pod_priority(const json_t *pod)
{
	return json_int(pod, "spec.priority", 0);
}

bool pod_is_promised(const struct object *pod, const char *node, const struct object *other)
{
	const json_t *p = object_json(pod);

	return streq(json_str(p, "status.nominatedNodeName", ""), node) &&
	       str_empty(json_str(p, "spec.nodeName", "")) && pod_active(p) &&
	       !streq(pod->uid, other->uid) && pod_priority(p) >= pod_priority(object_json(other));
}

/* What the node's pods leave of a resource to this one, in thousandths. */
static int64_t room_for(const struct controller *c, const struct object *pod,
			const struct object *node, const char *resource)
{
	struct store_iter it = store_iter(c->store, &kind_pod, NULL);
	int64_t left = node_allocatable(object_json(node), resource);
	const struct object *o;

	while ((o = store_next(&it)))
		if (pod_is_on(object_json(o), node->name) || pod_is_promised(o, node->name, pod))
			left -= pod_request(object_json(o), resource);
	return left;
}

static bool ports_clash(const json_t *a, const json_t *b)
{
	const char *ip_a = json_str(a, "hostIP", ""), *ip_b = json_str(b, "hostIP", "");
	bool any = !*ip_a || !*ip_b || streq(ip_a, "0.0.0.0") || streq(ip_b, "0.0.0.0");

	return json_int(a, "hostPort", 0) &&
	       json_int(a, "hostPort", 0) == json_int(b, "hostPort", 0) &&
	       streq(json_str(a, "protocol", "TCP"), json_str(b, "protocol", "TCP")) &&
	       (any || streq(ip_a, ip_b));
}

static bool pods_clash(const json_t *a, const json_t *b)
{
	json_t *ca, *cb, *pa, *pb;
	size_t i, j, k, l;

	json_array_foreach(json_at(a, "spec.containers"), i, ca)
		json_array_foreach(json_object_get(ca, "ports"), j, pa)
			json_array_foreach(json_at(b, "spec.containers"), k, cb)
				json_array_foreach(json_object_get(cb, "ports"), l,
						   pb) if (ports_clash(pa, pb)) return true;
	return false;
}

static bool wants_host_ports(const struct object *pod)
{
	return strstr(pod->text, "\"hostPort\"") != NULL;
}

bool host_ports_clash(const struct object *a, const struct object *b)
{
	return wants_host_ports(a) && wants_host_ports(b) &&
	       pods_clash(object_json(a), object_json(b));
}

static bool ports_taken(const struct controller *c, const struct object *pod, const char *node)
{
	struct store_iter it = store_iter(c->store, &kind_pod, NULL);
	const struct object *o;

	while (wants_host_ports(pod) && (o = store_next(&it)))
		if (pod_is_on(object_json(o), node) && host_ports_clash(pod, o))
			return true;
	return false;
}

static void add_asked(struct strv *names, const json_t *containers)
{
	const char *name;
	json_t *c, *v;
	size_t i;

	json_array_foreach(containers, i, c)
	{
		json_object_foreach(json_at(c, "resources.requests"), name, v)
		{
			if (!strv_has(names, name))
				strv_add(names, name);
		}
	}
}

void pod_asks(const json_t *pod, struct strv *names)
{
	strv_add(names, "pods");
	strv_add(names, "cpu");
	strv_add(names, "memory");
	strv_add(names, "ephemeral-storage");
	add_asked(names, json_at(pod, "spec.containers"));
	add_asked(names, json_at(pod, "spec.initContainers"));
}

/* Appends upstream's words for every resource that does not fit. */
static void check_fit(const struct controller *c, const struct object *pod,
		      const struct object *node, struct strv *why)
{
	auto_strv names = {0};

	pod_asks(object_json(pod), &names);
	for (size_t i = 0; i < names.n; i++) {
		const char *name = names.v[i];
		int64_t want = pod_request(object_json(pod), name);

		if (!want || (want <= node_allocatable(object_json(node), name) &&
			      want <= room_for(c, pod, node, name)))
			continue;
		if (streq(name, "pods"))
			strv_add(why, "Too many pods");
		else
			strv_addf(why, "Insufficient %s", name);
	}
}

static bool node_ready(const json_t *node)
{
	return streq(json_str(condition_find(json_at(node, "status"), "Ready"), "status", ""),
		     "True");
}

/* What keeps the pod from this node, whoever else is there. */
static void filter_node(const struct object *pod, const struct object *node, struct strv *why)
{
	const json_t *p = object_json(pod), *n = object_json(node);
	const json_t *taint = untolerated_taint(p, n);

	if (taint && streq(json_str(taint, "key", ""), "node.kubernetes.io/unschedulable"))
		strv_add(why, "node(s) were unschedulable");
	else if (taint)
		strv_addf(why, "node(s) had untolerated taint {%s: %s}", json_str(taint, "key", ""),
			  json_str(taint, "value", ""));
	else if (!affinity_matches(p, n))
		strv_add(why, "node(s) didn't match Pod's node affinity/selector");
	else if (!node_ready(n))
		strv_add(why, "node(s) were not ready");
}

/* Reasons against this node; none: it fits. */
static void filter(const struct controller *c, const struct object *pod, const struct object *node,
		   struct strv *why)
{
	filter_node(pod, node, why);
	if (!why->n && ports_taken(c, pod, node->name))
		strv_add(why, "node(s) didn't have free ports for the requested pod ports");
	if (!why->n)
		check_fit(c, pod, node, why);
}

static int bind_pod(struct controller *c, const struct object *pod, const char *node,
		    struct err *err)
{
	json_auto_t *obj = object_dup(pod);
	struct write_options w = {.precondition_uid = pod->uid, .storage = STORE_LAZY};
	int r;

	json_put_str(obj, "spec.nodeName", node);
	r = registry_update(c->registry, &kind_pod, "binding", pod->ns, pod->name, obj, &w, NULL,
			    NULL, err);
	if (r == 0)
		registry_event(c->registry, pod, NULL, "Normal", "Scheduled", SCHEDULER_COMPONENT,
			       "Successfully assigned %s/%s to %s", pod->ns, pod->name, node);
	return r;
}

/* nominated: where room is being made, or NULL. */
static int refuse(struct controller *c, const struct object *pod, const char *reason,
		  const char *message, const char *nominated, struct err *err)
{
	json_t *status = json_deep_copy(json_at(object_json(pod), "status"));
	const char *before = json_str(object_json(pod), "status.nominatedNodeName", NULL);
	bool changed;

	status = status ? status : json_object();
	changed = condition_set(status, "PodScheduled", "False", reason, message, wall_now());
	if (!changed && str_eq(before, nominated)) {
		json_decref(status);
		return 0;
	}
	if (nominated)
		json_put_str(status, "nominatedNodeName", nominated);
	else
		json_object_del(status, "nominatedNodeName");
	if (changed && streq(reason, "Unschedulable"))
		registry_event(c->registry, pod, NULL, "Warning", "FailedScheduling",
			       SCHEDULER_COMPONENT, "%s", message);
	return registry_set_status(c->registry, &kind_pod, pod->ns, pod->name, pod->uid, status,
				   STORE_VOLATILE, err);
}

/* Appends "0/1 nodes are available: 1 Insufficient cpu." as upstream words it. */
static void add_reasons(struct strbuf *b, size_t nodes, const struct strv *reasons)
{
	strbuf_addf(b, "0/%zu nodes are available:", nodes);
	for (size_t i = 0; i < reasons->n; i++) {
		size_t count = 0;
		bool first = true;

		for (size_t j = 0; j < reasons->n; j++) {
			bool same = streq(reasons->v[i], reasons->v[j]);

			count += same;
			first &= !(same && j < i);
		}
		if (first)
			strbuf_addf(b, "%s %zu %s", b->s[b->len - 1] == ':' ? "" : ",", count,
				    reasons->v[i]);
	}
	strbuf_addc(b, '.');
}

/* Tries it on one node after the other; what came of it is appended to b. */
static int make_room(struct controller *c, const struct object *pod, struct strbuf *b,
		     const char **nominated, struct err *err)
{
	struct store_iter it = store_iter(c->store, &kind_node, NULL);
	enum preemption result = PREEMPT_NONE;
	const struct object *node;
	auto_strv why = {0};
	size_t nodes = 0;

	for (; (node = store_next(&it)); nodes++) {
		auto_strv never = {0};
		int r = 0;

		filter_node(pod, node, &never);
		if (!never.n)
			r = preempt(c, pod, node, &result, err);
		if (r < 0)
			return r;
		if (result != PREEMPT_NONE) {
			*nominated = node->name;
			break;
		}
		strv_add(&why, never.n ? "Preemption is not helpful for scheduling"
				       : "No preemption victims found for incoming pod");
	}
	if (result == PREEMPT_WAIT)
		strbuf_adds(b, " preemption: not eligible due to a terminating pod on the "
			       "nominated node.");
	if (result != PREEMPT_NONE)
		return 0;
	strbuf_adds(b, " preemption: ");
	add_reasons(b, nodes, &why);
	return 0;
}

static int schedule(struct controller *c, const struct object *pod, struct err *err)
{
	struct store_iter it = store_iter(c->store, &kind_node, NULL);
	const char *nominated = NULL;
	const struct object *node;
	auto_strv reasons = {0};
	auto_strbuf b = {0};
	size_t nodes = 0;
	int r = 0;

	for (; (node = store_next(&it)); nodes++) {
		auto_strv why = {0};

		filter(c, pod, node, &why);
		if (!why.n)
			return bind_pod(c, pod, node->name, err);
		for (size_t i = 0; i < why.n; i++)
			strv_add(&reasons, why.v[i]);
	}
	if (!nodes)
		return refuse(c, pod, "Unschedulable", "no nodes available to schedule pods", NULL,
			      err);
	add_reasons(&b, nodes, &reasons);
	if (streq(json_str(object_json(pod), "spec.preemptionPolicy", ""), "Never"))
		strbuf_adds(&b, " preemption: not eligible due to preemptionPolicy=Never.");
	else
		r = make_room(c, pod, &b, &nominated, err);
	return r < 0 ? r : refuse(c, pod, "Unschedulable", b.s, nominated, err);
}

static bool waits(const json_t *pod)
{
	return str_empty(json_str(pod, "spec.nodeName", "")) && pod_active(pod) &&
	       streq(json_str(pod, "spec.schedulerName", SCHEDULER_COMPONENT), SCHEDULER_COMPONENT);
}

static void dirty_waiting(struct controller *c)
{
	struct store_iter it = store_iter(c->store, &kind_pod, NULL);
	const struct object *pod;

	while ((pod = store_next(&it)))
		if (waits(object_json(pod)))
			controller_dirty(c, pod->ns, pod->name);
}

/* A change of a node that may let a waiting pod in; heartbeat-like ones do not count. */
static bool node_changed(const struct store_event *ev)
{
	static const char *const paths[] = {"spec", "metadata.labels", "status.allocatable",
					    "status.conditions"};

	for (size_t i = 0; ev->old && i < ARRAY_SIZE(paths); i++) {
		const json_t *a = json_at(object_json(ev->old), paths[i]);
		const json_t *b = json_at(object_json(ev->obj), paths[i]);

		if (a != b && !(a && b && json_equal(a, b)))
			return true;
	}
	return !ev->old;
}

static void on_event(struct controller *c, const struct store_event *ev)
{
	const json_t *obj;

	if (ev->obj->kind == &kind_node) {
		if (node_changed(ev))
			dirty_waiting(c);
		return;
	}
	if (ev->obj->kind != &kind_pod)
		return;
	obj = object_json(ev->obj);
	if (ev->type != STORE_DELETED && waits(obj))
		controller_dirty(c, ev->obj->ns, ev->obj->name);
	else if (ev->type == STORE_DELETED || !pod_active(obj)) /* room has become free */
		dirty_waiting(c);
}

static int reconcile(struct controller *c, const char *key, struct err *err)
{
	auto_free char *ns = NULL;
	const char *name = key_split(key, &ns);
	const struct object *pod auto_clean(object) =
		object_ref(store_get(c->store, &kind_pod, ns, name));
	int r;

	if (!pod || !waits(object_json(pod)))
		return 0;
	if (json_len(object_json(pod), "spec.schedulingGates"))
		r = refuse(c, pod, "SchedulingGated",
			   "Scheduling is blocked due to non-empty scheduling gates", NULL, err);
	else
		r = schedule(c, pod, err);
	return r == -ENOENT ? 0 : r;
}

static size_t weight(struct controller *c, const char *key)
{
	return key_weight(c, &kind_pod, key);
}

const struct controller_def scheduler_controller = {
	.name = "scheduler", .on_event = on_event, .reconcile = reconcile, .weight = weight};
