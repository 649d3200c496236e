/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Evictions: a pod goes, if its disruption budget can bear it (kubernetes
 * pkg/registry/core/pod/storage/eviction.go).
 */
#include "internal.h"

#define MAX_DISRUPTED 2000
#define RETRY_S 10 /* when the budget has not been counted yet */

/* Budgets that select the pod; returns their number, *ret is the first. */
static size_t find_budgets(struct registry *r, const struct object *pod, const struct object **ret)
{
	struct store_iter it = store_iter(r->store, &kind_poddisruptionbudget, pod->ns);
	const struct object *o;
	size_t n = 0;

	while ((o = store_next(&it))) {
		struct label_selector *s auto_clean(label_selector) =
			label_selector_from_json(json_at(object_json(o), "spec.selector"), NULL);

		if (s && label_selector_matches(s, json_at(object_json(pod), "metadata.labels")) &&
		    n++ == 0)
			*ret = o;
	}
	return n;
}

/* Pods whose end disturbs nobody. */
static bool is_idle(const json_t *pod)
{
	const char *phase = json_str(pod, "status.phase", "");

	return meta_deleting(pod) || streq(phase, "Succeeded") || streq(phase, "Failed") ||
	       streq(phase, "Pending");
}

/* A pod that is not ready does not count as healthy: whether its end needs the budget at all. */
static bool needs_budget(const json_t *pod, const json_t *budget)
{
	const json_t *ready = json_find(json_at(pod, "status.conditions"), "type", "Ready");
	int64_t healthy = json_int(budget, "status.currentHealthy", 0);
	int64_t wanted = json_int(budget, "status.desiredHealthy", 0);

	if (streq(json_str(ready, "status", ""), "True"))
		return true;
	if (streq(json_str(budget, "spec.unhealthyPodEvictionPolicy", ""), "AlwaysAllow"))
		return false;
	return !(wanted > 0 && healthy >= wanted);
}

static int too_many(struct err *err, int retry, const char *cause)
{
	int rc = err_set(err, ERR_TOO_MANY_REQUESTS,
			 "Cannot evict pod as it would violate the pod's disruption budget.");

	if (*cause)
		err_cause_add(err, "DisruptionBudget", NULL, "%s", cause);
	if (err)
		err->retry_after = retry;
	return rc;
}

/* 429 in upstream's words, or 0. */
static int check_budget(const struct object *o, struct err *err)
{
	const json_t *budget = object_json(o);
	int64_t allowed = json_int(budget, "status.disruptionsAllowed", 0);
	auto_free char *text = NULL;

	if (json_int(budget, "status.observedGeneration", 0) <
	    json_int(budget, "metadata.generation", 0)) {
		text = xasprintf("The disruption budget %s is still being processed by the server.",
				 o->name);
		return too_many(err, RETRY_S, text);
	}
	if (allowed < 0)
		return fail_forbidden(err, o->kind, o->name, "pdb disruptions allowed is negative");
	if (json_object_size(json_at(budget, "status.disruptedPods")) > MAX_DISRUPTED)
		return fail_forbidden(
			err, o->kind, o->name,
			"DisruptedPods map too big - too many evictions not confirmed by PDB "
			"controller");
	if (allowed > 0)
		return 0;
	const json_t *c =
		json_find(json_at(budget, "status.conditions"), "type", "DisruptionAllowed");

	if (streq(json_str(c, "reason", ""), "SyncFailed"))
		text = xasprintf("The disruption budget %s does not allow evicting pods currently "
				 "because it failed sync: %s",
				 o->name, json_str(c, "message", ""));
	else
		text = xasprintf(
			"The disruption budget %s needs %lld healthy pods and has %lld currently",
			o->name, (long long)json_int(budget, "status.desiredHealthy", 0),
			(long long)json_int(budget, "status.currentHealthy", 0));
	return too_many(err, 0, text);
}

/* One disruption less, before the pod is asked to go. */
static int spend(struct registry *r, const struct object *o, const char *pod, struct err *err)
{
	json_t *status = json_deep_copy(json_object_get(object_json(o), "status"));
	char now[TIME_RFC3339_MAX];

	json_put_int(status, "disruptionsAllowed", json_int(status, "disruptionsAllowed", 0) - 1);
	json_object_set_new(json_obj(status, "disruptedPods"), pod,
			    json_string(time_format(now, time(NULL))));
	return registry_set_status(r, o->kind, o->ns, o->name, o->uid, status, STORE_VOLATILE, err);
}

/* The pod tells why it ends. */
static int mark_target(struct registry *r, const struct object *pod, struct err *err)
{
	json_t *status = json_deep_copy(json_object_get(object_json(pod), "status"));
	json_t *list = json_arr(status, "conditions");
	json_t *c = json_find(list, "type", "DisruptionTarget");

	if (!c) {
		c = json_object();
		json_array_append_new(list, c);
	}
	json_put_str(c, "type", "DisruptionTarget");
	json_put_str(c, "status", "True");
	json_put(c, "lastProbeTime", json_null());
	json_put_time(c, "lastTransitionTime", time(NULL));
	json_put_str(c, "reason", "EvictionByEvictionAPI");
	json_put_str(c, "message", "Eviction API: evicting");
	return registry_set_status(r, &kind_pod, pod->ns, pod->name, pod->uid, status,
				   STORE_VOLATILE, err);
}

static int ask_budget(struct registry *r, const struct object *pod, bool dry_run, struct err *err)
{
	const struct object *budget = NULL;
	size_t n = is_idle(object_json(pod)) ? 0 : find_budgets(r, pod, &budget);
	int rc;

	if (n > 1)
		return err_set(err, ERR_UNKNOWN,
			       "This pod has more than one PodDisruptionBudget, which the eviction "
			       "subresource does not support.");
	if (n == 0 || !needs_budget(object_json(pod), object_json(budget)))
		return 0;
	rc = check_budget(budget, err);
	return rc < 0 || dry_run ? rc : spend(r, budget, pod->name, err);
}

int registry_evict(struct registry *r, const char *ns, const char *name,
		   const struct write_options *o, const struct object **ret, bool *ret_gone,
		   struct err *err)
{
	const struct object *pod = store_get(r->store, &kind_pod, ns, name);
	int rc;

	if (!pod)
		return fail_not_found(err, &kind_pod, name);
	if (o->precondition_uid && *o->precondition_uid && !streq(o->precondition_uid, pod->uid))
		return fail_conflict(err, &kind_pod, name,
				     "the UID in the precondition (%s) does not match the UID in "
				     "record (%s). The object might have been deleted and then "
				     "recreated",
				     o->precondition_uid, pod->uid);
	rc = ask_budget(r, pod, o->dry_run, err);
	if (rc == 0 && !o->dry_run && !meta_deleting(object_json(pod)))
		rc = mark_target(r, pod, err);
	return rc < 0 ? rc : registry_delete(r, &kind_pod, ns, name, o, ret, ret_gone, err);
}
