/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Validation of HorizontalPodAutoscaler as autoscaling/v2 (kubernetes
 * pkg/apis/autoscaling/validation).
 */
#include "validate.h"

#define MAX_WINDOW_S 3600
#define MAX_PERIOD_S 1800

static void check_segment(struct check *c, const char *field, const json_t *obj, const char *detail)
{
	const char *text = json_str(obj, field, "");
	const char *bad = *text ? valid_path_segment(text) : NULL;

	if (!*text)
		check_required(c, field, detail);
	else if (bad)
		check_invalid_str(c, field, text, "%s", bad);
}

/* A CrossVersionObjectReference at obj.field. */
static void check_reference(struct check *c, const json_t *obj, const char *field)
{
	const json_t *ref = json_object_get(obj, field);
	size_t mark = check_enter(c, field);

	check_segment(c, "kind", ref, "");
	check_segment(c, "name", ref, "");
	check_leave(c, mark);
}

/* ---- metrics ---------------------------------------------------------------------------- */

static void check_positive(struct check *c, const char *field, const json_t *target)
{
	const json_t *v = json_object_get(target, field);

	if (v && quantity_compare(v, NULL) <= 0)
		check_invalid(c, field, v, "must be positive");
}

static void check_target(struct check *c, const json_t *target)
{
	const char *type = json_str(target, "type", "");
	const json_t *percent = json_object_get(target, "averageUtilization");

	if (!*type)
		check_required(c, "type", "must specify a metric target type");
	if (!csv_has_exactly("Utilization,Value,AverageValue", type))
		check_invalid_str(c, "type", type,
				  "must be either Utilization, Value, or AverageValue");
	check_positive(c, "value", target);
	check_positive(c, "averageValue", target);
	if (percent && json_integer_value(percent) < 1)
		check_invalid(c, "averageUtilization", percent, "must be greater than 0");
}

/* Of two ways to say what is wanted. */
struct ways {
	const char *a, *b; /* members of the target */
	const char *none;  /* said of b when there is neither */
	const char *both;  /* said of `which` when there are both, or NULL */
	const char *which;
};

static void check_ways(struct check *c, const json_t *target, const struct ways *w)
{
	bool a = json_object_get(target, w->a), b = json_object_get(target, w->b);

	if (!a && !b)
		check_required(c, w->b, w->none);
	if (a && b && w->both)
		check_forbidden(c, w->which, "%s", w->both);
}

static void check_object_metric(struct check *c, const json_t *source)
{
	static const struct ways ways = {"value", "averageValue",
					 "must set either a target value or averageValue", NULL,
					 NULL};

	check_reference(c, source, "describedObject");
	check_enter(c, "target");
	check_ways(c, json_object_get(source, "target"), &ways);
}

static void check_external_metric(struct check *c, const json_t *source)
{
	static const struct ways ways = {
		"value", "averageValue",
		"must set either a target value for metric or a per-pod target",
		"may not set both a target value for metric and a per-pod target", "value"};

	check_enter(c, "target");
	check_ways(c, json_object_get(source, "target"), &ways);
}

static void check_pods_metric(struct check *c, const json_t *source)
{
	if (!json_at(source, "target.averageValue"))
		check_required(c, "target.averageValue",
			       "must specify a positive target averageValue");
}

static void check_resource_metric(struct check *c, const json_t *source)
{
	static const struct ways ways = {
		"averageValue", "averageUtilization",
		"must set either a target raw value or a target utilization",
		"may not set both a target raw value and a target utilization", "averageValue"};

	if (!*json_str(source, "name", ""))
		check_required(c, "name", "must specify a resource name");
	check_enter(c, "target");
	check_ways(c, json_object_get(source, "target"), &ways);
}

static void check_container_metric(struct check *c, const json_t *source)
{
	const char *container = json_str(source, "container", "");
	const char *bad = *container ? valid_dns1123_label(container) : NULL;

	if (!*container)
		check_required(c, "container", "must specify a container");
	else if (bad)
		check_invalid_str(c, "container", container, "%s", bad);
	if (*json_str(source, "name", ""))
		check_resource_name(c, "name", json_str(source, "name", ""), true);
	check_resource_metric(c, source);
}

static const struct {
	const char *type, *member;
	void (*check)(struct check *c, const json_t *source); /* may leave the path deeper */
	bool named;
} sources[] = {
	{"Object", "object", check_object_metric, true},
	{"External", "external", check_external_metric, true},
	{"Pods", "pods", check_pods_metric, true},
	{"Resource", "resource", check_resource_metric, false},
	{"ContainerResource", "containerResource", check_container_metric, false},
};

static void check_source(struct check *c, size_t i, const json_t *source)
{
	size_t mark = check_enter(c, sources[i].member), inner;

	if (sources[i].named) {
		inner = check_enter(c, "metric");
		check_segment(c, "name", json_object_get(source, "metric"),
			      "must specify a metric name");
		check_leave(c, inner);
	}
	inner = check_enter(c, "target");
	check_target(c, json_object_get(source, "target"));
	check_leave(c, inner);
	sources[i].check(c, source);
	check_leave(c, mark);
}

static void check_metric(struct check *c, const json_t *metric)
{
	static const char types[] = "ContainerResource,External,Object,Pods,Resource";
	const char *type = json_str(metric, "type", ""), *expected = "";
	size_t n = 0;

	if (!*type)
		check_required(c, "type", "must specify a metric source type");
	if (!csv_has_exactly(types, type))
		check_unsupported(c, "type", type, types);
	for (size_t i = 0; i < ARRAY_SIZE(sources); i++) {
		const json_t *source = json_object_get(metric, sources[i].member);

		if (streq(sources[i].type, type))
			expected = sources[i].member;
		if (source && n++ == 0)
			check_source(c, i, source);
	}
	if (*expected && !json_object_get(metric, expected))
		check_required(c, expected,
			       "must populate information for the given metric source");
	for (size_t i = 0; n != 1 && i < ARRAY_SIZE(sources); i++)
		if (json_object_get(metric, sources[i].member) &&
		    !streq(sources[i].member, expected))
			check_forbidden(c, sources[i].member,
					"must populate the given metric source only");
}

/* ---- behavior --------------------------------------------------------------------------- */

static void check_policy(struct check *c, const json_t *policy)
{
	const char *type = json_str(policy, "type", "");
	int64_t value = json_int(policy, "value", 0), period = json_int(policy, "periodSeconds", 0);

	if (!streq(type, "Pods") && !streq(type, "Percent"))
		check_unsupported(c, "type", type, "Percent,Pods");
	if (value <= 0)
		check_invalid_int(c, "value", value, "must be greater than zero");
	if (period <= 0)
		check_invalid_int(c, "periodSeconds", period, "must be greater than zero");
	if (period > MAX_PERIOD_S)
		check_invalid_int(c, "periodSeconds", period, "must be less than or equal to %d",
				  MAX_PERIOD_S);
}

static void check_rules(struct check *c, const json_t *behavior, const char *direction)
{
	const json_t *rules = json_object_get(behavior, direction);
	const json_t *window = json_object_get(rules, "stabilizationWindowSeconds");
	const char *select = json_str(rules, "selectPolicy", NULL);
	size_t mark = check_enter(c, direction);
	json_t *policy;

	if (rules) {
		if (window && json_integer_value(window) < 0)
			check_invalid(c, "stabilizationWindowSeconds", window,
				      "must be greater than or equal to zero");
		if (window && json_integer_value(window) > MAX_WINDOW_S)
			check_invalid(c, "stabilizationWindowSeconds", window,
				      "must be less than or equal to %d", MAX_WINDOW_S);
		if (select && !csv_has_exactly("Disabled,Max,Min", select))
			check_unsupported(c, "selectPolicy", select, "Disabled,Max,Min");
		if (json_len(rules, "policies") == 0)
			check_required(c, "policies", "must specify at least one Policy");
		check_foreach(c, rules, "policies", policy) check_policy(c, policy);
	}
	check_leave(c, mark);
}

/* ---- the object ------------------------------------------------------------------------- */

/* Without pods nothing tells of their load. */
static bool counts_without_pods(const json_t *spec)
{
	const json_t *metrics = json_object_get(spec, "metrics");

	return json_find(metrics, "type", "Object") || json_find(metrics, "type", "External");
}

static void check_replicas(struct check *c, const json_t *spec)
{
	const json_t *min = json_object_get(spec, "minReplicas");
	int64_t max = json_int(spec, "maxReplicas", 0);

	if (min && json_integer_value(min) < 1)
		check_invalid(c, "minReplicas", min, "must be greater than or equal to 1");
	if (min && json_integer_value(min) == 0 && !counts_without_pods(spec))
		check_forbidden(c, "metrics",
				"must specify at least one Object or External metric to support "
				"scaling to zero replicas");
	if (max < 1)
		check_invalid_int(c, "maxReplicas", max, "must be greater than 0");
	if (min && max < json_integer_value(min))
		check_invalid_int(c, "maxReplicas", max,
				  "must be greater than or equal to `minReplicas`");
}

void hpa_validate(const json_t *obj, const json_t *old UNUSED, struct err *err)
{
	struct check c = {.err = err};
	const json_t *spec = json_object_get(obj, "spec");
	const json_t *behavior = json_object_get(spec, "behavior");
	json_t *metric;

	check_enter(&c, "spec");
	check_replicas(&c, spec);
	check_reference(&c, spec, "scaleTargetRef");
	check_foreach(&c, spec, "metrics", metric) check_metric(&c, metric);
	check_enter(&c, "behavior");
	check_rules(&c, behavior, "scaleUp");
	check_rules(&c, behavior, "scaleDown");
	strbuf_done(&c.path);
}
