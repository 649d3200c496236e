/* SPDX-License-Identifier: Apache-2.0 */
/*
 * PodDisruptionBudget: how many of the selected pods are healthy, must be, and may hence be evicted
 * (kubernetes pkg/controller/disruption). Evictions themselves spend from status.
 */
#include "internal.h"

/* An evicted pod that is still there after this long was not evicted after all. */
#define DISRUPTED_S 120

struct counted {
	json_t *pods; /* parsed pods that are selected, borrowed in an array of ours */
	int64_t healthy;
	int64_t expected; /* pods there should be */
	int64_t wanted;	  /* healthy pods there must be */
	json_t *disrupted;
	int64_t recheck; /* seconds until a disrupted pod is forgotten; 0: none */
};

static void mark_budgets(struct controller *c, const struct object *o)
{
	struct store_iter it = store_iter(c->store, &kind_poddisruptionbudget, o->ns);
	const struct object *budget;

	while ((budget = store_next(&it)))
		controller_dirty(c, budget->ns, budget->name);
}

static bool has_budgets(struct controller *c, const char *ns)
{
	struct store_iter it = store_iter(c->store, &kind_poddisruptionbudget, ns);

	return store_next(&it) != NULL;
}

/* Pods tell of themselves all the time; what counts here is seldom among it. */
static bool matters(const struct store_event *ev)
{
	const json_t *now, *was, *labels, *before;

	if (ev->type != STORE_MODIFIED)
		return true;
	now = object_json(ev->obj);
	was = object_json(ev->old);
	if (ev->obj->kind != &kind_pod)
		return json_int(now, "spec.replicas", 1) != json_int(was, "spec.replicas", 1);
	labels = json_at(now, "metadata.labels");
	before = json_at(was, "metadata.labels");
	if (labels != before && !(labels && before && json_equal(labels, before)))
		return true;
	return pod_ready(now) != pod_ready(was) || pod_active(now) != pod_active(was);
}

static void on_event(struct controller *c, const struct store_event *ev)
{
	const struct kind *k = ev->obj->kind;

	if (k == &kind_poddisruptionbudget)
		controller_dirty(c, ev->obj->ns, ev->obj->name);
	else if ((k == &kind_pod || (k->namespaced && kind_subresource(k, "scale"))) &&
		 has_budgets(c, ev->obj->ns) && matters(ev))
		mark_budgets(c, ev->obj);
}

/* ---- counting --------------------------------------------------------------------------- */

/* Evicted a moment ago: it is as good as gone. */
static bool is_disrupted(struct counted *n, const json_t *pod, const json_t *disrupted, time_t now)
{
	const char *when = json_string_value(json_object_get(disrupted, meta_name(pod)));
	struct timespec since;
	int64_t left;

	if (!when || meta_deleting(pod) || time_parse(when, &since) < 0)
		return false;
	left = (int64_t)since.tv_sec + DISRUPTED_S - (int64_t)now;
	if (left <= 0 || left > DISRUPTED_S)
		return false;
	json_object_set_new(n->disrupted, meta_name(pod), json_string(when));
	if (!n->recheck || left < n->recheck)
		n->recheck = left;
	return true;
}

static void count_pods(struct controller *c, const struct object *o, struct counted *n)
{
	const json_t *disrupted = json_at(object_json(o), "status.disruptedPods");
	struct label_selector *s auto_clean(label_selector) =
		label_selector_from_json(json_at(object_json(o), "spec.selector"), NULL);
	struct store_iter it = store_iter(c->store, &kind_pod, o->ns);
	const struct object *p;
	time_t now = wall_now();

	while (s && (p = store_next(&it))) {
		const json_t *pod = object_json(p);

		if (!label_selector_matches(s, json_at(pod, "metadata.labels")))
			continue;
		json_array_append(n->pods, (json_t *)(uintptr_t)pod);
		if (!is_disrupted(n, pod, disrupted, now) && pod_active(pod) && pod_ready(pod))
			n->healthy++;
	}
}

/* What scales the pod: its controller, or that one's. NULL + err when it can not be told. */
static const struct object *scaler_of(struct controller *c, const json_t *pod, struct err *err)
{
	const json_t *ref = meta_controller(pod);
	const struct object *owner = NULL;

	for (int depth = 0; ref && depth < 2; depth++) {
		const struct object *next = store_get_uid(c->store, json_str(ref, "uid", ""));

		if (!next)
			break;
		owner = next;
		ref = meta_controller(object_json(owner));
	}
	if (owner && kind_subresource(owner->kind, "scale"))
		return owner;
	err_set(err, ERR_INTERNAL, "%s does not implement the scale subresource",
		owner ? owner->kind->plural : "the controller of the pod");
	return NULL;
}

/* The sum of what the controllers of the pods are asked for, each once. */
static int count_scale(struct controller *c, struct counted *n, struct err *err)
{
	auto_strv seen = {0};
	json_t *pod;
	size_t i;

	json_array_foreach(n->pods, i, pod)
	{
		const struct object *o;

		if (!meta_controller(pod))
			continue; /* nobody would replace it: it is not counted */
		o = scaler_of(c, pod, err);
		if (!o)
			return -EINVAL;
		if (strv_has(&seen, o->uid))
			continue;
		strv_add(&seen, o->uid);
		n->expected += json_int(object_json(o), "spec.replicas", 1);
	}
	return 0;
}

static int count(struct controller *c, const struct object *o, struct counted *n, struct err *err)
{
	const json_t *min = json_at(object_json(o), "spec.minAvailable");
	const json_t *max = json_at(object_json(o), "spec.maxUnavailable");
	int rc = 0;

	count_pods(c, o, n);
	if (json_is_integer(min)) {
		n->wanted = json_integer_value(min);
		n->expected = (int64_t)json_array_size(n->pods);
		return 0;
	}
	if (!min && !max)
		return 0;
	rc = count_scale(c, n, err);
	if (min)
		n->wanted = int_or_percent(min, n->expected, true, 0);
	else
		n->wanted = n->expected - int_or_percent(max, n->expected, true, 0);
	n->wanted = n->wanted < 0 ? 0 : n->wanted;
	return rc;
}

/* ---- status ----------------------------------------------------------------------------- */

static void set_condition(json_t *status, const json_t *budget, int64_t allowed,
			  const struct err *failure)
{
	const char *reason = failure	   ? "SyncFailed"
			     : allowed > 0 ? "SufficientPods"
					   : "InsufficientPods";
	json_t *c;

	condition_set(status, "DisruptionAllowed", allowed > 0 ? "True" : "False", reason,
		      failure ? err_message(failure) : "", wall_now());
	c = condition_find(status, "DisruptionAllowed");
	json_put_int(c, "observedGeneration", json_int(budget, "metadata.generation", 0));
}

static json_t *new_status(const struct object *o, const struct counted *n, struct err *failure)
{
	const json_t *budget = object_json(o);
	json_t *status = json_object();
	int64_t allowed = n->healthy - n->wanted;

	if (allowed < 0 || n->expected <= 0 || failure)
		allowed = 0;
	json_put(status, "conditions", json_deep_copy(json_at(budget, "status.conditions")));
	json_put_int(status, "observedGeneration", json_int(budget, "metadata.generation", 0));
	if (json_object_size(n->disrupted))
		json_put(status, "disruptedPods", json_incref(n->disrupted));
	json_put_int(status, "disruptionsAllowed", allowed);
	json_put_int(status, "currentHealthy", n->healthy);
	json_put_int(status, "desiredHealthy", n->wanted);
	json_put_int(status, "expectedPods", n->expected);
	set_condition(status, budget, allowed, failure);
	return status;
}

static int reconcile(struct controller *c, const char *key, struct err *err)
{
	auto_free char *ns = NULL;
	const char *name = key_split(key, &ns);
	const struct object *o = store_get(c->store, &kind_poddisruptionbudget, ns, name);
	json_auto_t *pods = json_array(), *disrupted = json_object();
	struct counted n = {.pods = pods, .disrupted = disrupted};
	auto_err why = {0};
	int rc;

	if (!o || meta_deleting(object_json(o)))
		return 0;
	rc = count(c, o, &n, &why);
	if (n.recheck)
		controller_dirty_after(c, ns, name, (uint64_t)n.recheck * USEC_PER_SEC);
	return registry_set_status(c->registry, o->kind, ns, name, o->uid,
				   new_status(o, &n, rc < 0 ? &why : NULL), STORE_VOLATILE, err);
}

const struct controller_def disruption_controller = {
	.name = "disruption", .on_event = on_event, .reconcile = reconcile};
