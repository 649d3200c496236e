/* SPDX-License-Identifier: Apache-2.0 */
/* Scheduler: node selectors, required node affinity, taints and tolerations. */
#include "scheduler.h"

static bool value_in(const json_t *values, const char *value)
{
	json_t *v;
	size_t i;

	json_array_foreach(values, i, v) if (str_eq(json_string_value(v), value)) return true;
	return false;
}

static bool compare_number(const json_t *values, const char *value, bool greater)
{
	const char *text = json_string_value(json_array_get(values, 0));
	int64_t a, b;

	if (!text || !value || str_to_i64(value, INT64_MIN, INT64_MAX, &a) < 0 ||
	    str_to_i64(text, INT64_MIN, INT64_MAX, &b) < 0)
		return false;
	return greater ? a > b : a < b;
}

/* One NodeSelectorRequirement against a value (NULL: the key is absent). */
static bool requirement_matches(const json_t *req, const char *value)
{
	const char *op = json_str(req, "operator", "");
	const json_t *values = json_object_get(req, "values");

	if (streq(op, "In"))
		return value && value_in(values, value);
	if (streq(op, "NotIn"))
		return !value || !value_in(values, value);
	if (streq(op, "Exists"))
		return value != NULL;
	if (streq(op, "DoesNotExist"))
		return value == NULL;
	if (streq(op, "Gt") || streq(op, "Lt"))
		return compare_number(values, value, streq(op, "Gt"));
	return false;
}

/* A term without requirements matches nothing (API: NodeSelectorTerm). */
static bool term_matches(const json_t *term, const json_t *node)
{
	json_t *req;
	size_t i;

	if (!json_len(term, "matchExpressions") && !json_len(term, "matchFields"))
		return false;
	json_array_foreach(
		json_object_get(term, "matchExpressions"), i,
		req) if (!requirement_matches(req, meta_label(node, json_str(req, "key",
									     "")))) return false;
	json_array_foreach(json_object_get(term, "matchFields"), i,
			   req) if (!streq(json_str(req, "key", ""), "metadata.name") ||
				    !requirement_matches(req, meta_name(node))) return false;
	return true;
}

bool affinity_matches(const json_t *pod, const json_t *node)
{
	const json_t *required = json_at(pod, "spec.affinity.nodeAffinity."
					      "requiredDuringSchedulingIgnoredDuringExecution");
	const char *key;
	json_t *value, *term;
	size_t i;

	json_object_foreach(
		json_at(pod, "spec.nodeSelector"), key,
		value) if (!str_eq(meta_label(node, key), json_string_value(value))) return false;
	if (!required)
		return true;
	json_array_foreach(json_object_get(required, "nodeSelectorTerms"), i,
			   term) if (term_matches(term, node)) return true;
	return false;
}

static bool tolerates(const json_t *toleration, const json_t *taint)
{
	const char *effect = json_str(toleration, "effect", "");
	const char *key = json_str(toleration, "key", "");

	if (*effect && !streq(effect, json_str(taint, "effect", "")))
		return false;
	if (*key && !streq(key, json_str(taint, "key", "")))
		return false;
	if (streq(json_str(toleration, "operator", "Equal"), "Exists"))
		return true;
	return *key && streq(json_str(toleration, "value", ""), json_str(taint, "value", ""));
}

/* The first toleration of the pod for the taint, or NULL. */
static const json_t *toleration_of(const json_t *pod, const json_t *taint)
{
	json_t *t;
	size_t i;

	json_array_foreach(json_at(pod, "spec.tolerations"), i,
			   t) if (tolerates(t, taint)) return t;
	return NULL;
}

static bool tolerated(const json_t *pod, const json_t *taint)
{
	return toleration_of(pod, taint);
}

const json_t *untolerated_taint(const json_t *pod, const json_t *node)
{
	static json_t *unschedulable; /* what spec.unschedulable means to tolerations */
	json_t *taint;
	size_t i;

	if (!unschedulable)
		unschedulable = json_pack("{s:s, s:s}", "key", "node.kubernetes.io/unschedulable",
					  "effect", "NoSchedule");
	if (json_bool(node, "spec.unschedulable", false) && !tolerated(pod, unschedulable))
		return unschedulable;
	json_array_foreach(json_at(node, "spec.taints"), i,
			   taint) if (!streq(json_str(taint, "effect", ""), "PreferNoSchedule") &&
				      !tolerated(pod, taint)) return taint;
	return NULL;
}

int64_t noexecute_seconds(const json_t *pod, const json_t *node)
{
	int64_t least = -1;
	json_t *taint;
	size_t i;

	json_array_foreach(json_at(node, "spec.taints"), i, taint)
	{
		const json_t *t = NULL;
		int64_t seconds;

		if (!streq(json_str(taint, "effect", ""), "NoExecute"))
			continue;
		t = toleration_of(pod, taint);
		if (!t)
			return 0;
		if (!json_object_get(t, "tolerationSeconds"))
			continue;
		seconds = json_int(t, "tolerationSeconds", 0);
		seconds = seconds < 0 ? 0 : seconds;
		least = least < 0 || seconds < least ? seconds : least;
	}
	return least;
}
