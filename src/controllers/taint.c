/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Taints with the effect NoExecute send away the pods that are there already: at once, or when the
 * tolerationSeconds of the pod are over (upstream's tainteviction controller). The time counts from
 * when the daemon saw pod and taint together.
 */
#include "scheduler.h"

#define TAINT_COMPONENT "taint-eviction-controller"

/* Since when a pod is on notice: "ns/name" -> mono_t, owned. */
struct notices {
	struct map since;
};

static void *start(struct controller *c UNUSED)
{
	return xcalloc(1, sizeof(struct notices));
}

static void stop(void *state)
{
	struct notices *n = state;
	const char *key;
	void *since;
	size_t i = 0;

	while (map_next(&n->since, &i, &key, &since))
		free(since);
	map_done(&n->since);
	free(n);
}

static void on_node(struct controller *c, const struct store_event *ev)
{
	const json_t *taints = json_at(object_json(ev->obj), "spec.taints");
	struct store_iter it;
	const struct object *pod;

	if (ev->old ? json_equal(taints, json_at(object_json(ev->old), "spec.taints")) : !taints)
		return;
	it = store_iter(c->store, &kind_pod, NULL);
	while ((pod = store_next(&it)))
		if (streq(json_str(object_json(pod), "spec.nodeName", ""), ev->obj->name))
			controller_dirty(c, pod->ns, pod->name);
}

static bool is_tainted(struct controller *c, const json_t *pod)
{
	const char *name = json_str(pod, "spec.nodeName", "");
	const struct object *node = *name ? store_get(c->store, &kind_node, "", name) : NULL;

	return node && json_array_size(json_at(object_json(node), "spec.taints"));
}

static void on_event(struct controller *c, const struct store_event *ev)
{
	auto_free char *key = xasprintf("%s/%s", ev->obj->ns, ev->obj->name);
	struct notices *n = c->state;

	if (ev->obj->kind == &kind_node)
		on_node(c, ev);
	else if (ev->obj->kind == &kind_pod &&
		 (map_get(&n->since, key) || is_tainted(c, object_json(ev->obj))))
		queue_add(&c->queue, key);
}

static void forget(struct controller *c, const char *key)
{
	struct notices *n = c->state;

	free(map_del(&n->since, key));
}

/* When the pod came on notice: now, when it is not yet. */
static mono_t notice(struct controller *c, const char *key)
{
	struct notices *n = c->state;
	mono_t *since = map_get(&n->since, key);

	if (!since) {
		since = xcalloc(1, sizeof(*since));
		*since = mono_now();
		map_put(&n->since, key, since);
	}
	return *since;
}

static int send_away(struct controller *c, const struct object *pod, struct err *err)
{
	json_t *status = json_deep_copy(json_object_get(object_json(pod), "status"));
	struct write_options o = {.grace_seconds = -1, .precondition_uid = pod->uid};
	int r;

	status = status ? status : json_object();
	registry_event(c->registry, pod, NULL, "Normal", "TaintManagerEviction", TAINT_COMPONENT,
		       "Marking for deletion Pod %s/%s", pod->ns, pod->name);
	condition_set(status, "DisruptionTarget", "True", "DeletionByTaintManager",
		      "Taint manager: deleting due to NoExecute taint", wall_now());
	r = registry_set_status(c->registry, &kind_pod, pod->ns, pod->name, pod->uid, status,
				STORE_VOLATILE, err);
	if (r == 0)
		r = registry_delete(c->registry, &kind_pod, pod->ns, pod->name, &o, NULL, NULL,
				    err);
	return r == -ENOENT ? 0 : r;
}

/* How long the pod may stay, seconds; -1: nothing sends it away. */
static int64_t stay_of(struct controller *c, const struct object *pod)
{
	const struct object *node;

	if (!pod || meta_deleting(object_json(pod)))
		return -1;
	node = store_get(c->store, &kind_node, "", json_str(object_json(pod), "spec.nodeName", ""));
	return node ? noexecute_seconds(object_json(pod), object_json(node)) : -1;
}

static int reconcile(struct controller *c, const char *key, struct err *err)
{
	auto_free char *ns = NULL;
	const char *name = key_split(key, &ns);
	const struct object *pod auto_clean(object) =
		object_ref(store_get(c->store, &kind_pod, ns, name));
	struct notices *n = c->state;
	int64_t stay = stay_of(c, pod);
	uint64_t waited;

	if (stay < 0) {
		if (pod && map_get(&n->since, key) && !meta_deleting(object_json(pod)))
			registry_event(c->registry, pod, NULL, "Normal", "TaintManagerEviction",
				       TAINT_COMPONENT, "Cancelling deletion of Pod %s/%s", ns,
				       name);
		forget(c, key);
		return 0;
	}
	waited = mono_sub(mono_now(), notice(c, key));
	if (waited < (uint64_t)stay * USEC_PER_SEC) {
		queue_add_after(&c->queue, key, (uint64_t)stay * USEC_PER_SEC - waited);
		return 0;
	}
	return send_away(c, pod, err);
}

const struct controller_def taint_controller = {.name = "taint-eviction",
						.on_event = on_event,
						.reconcile = reconcile,
						.start = start,
						.stop = stop};
