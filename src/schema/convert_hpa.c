/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HorizontalPodAutoscaler of autoscaling/v1, which knows one metric (CPU utilization), as the
 * autoscaling/v2 object that is stored. What v1 has no field for stands in annotations there
 * (kubernetes pkg/apis/autoscaling/v1/conversion.go); an annotation that does not decode is
 * ignored. The metrics in it have the form of v2beta1.
 */
#include "internal.h"

#define V2 "io.k8s.api.autoscaling.v2."
#define METRICS "autoscaling.alpha.kubernetes.io/metrics"
#define CURRENT_METRICS "autoscaling.alpha.kubernetes.io/current-metrics"
#define CONDITIONS "autoscaling.alpha.kubernetes.io/conditions"
#define BEHAVIOR "autoscaling.alpha.kubernetes.io/behavior"

/* Where the parts of a metric are, in v1 and in v2; in the order v1 writes them. */
struct part {
	const char *v1, *v2;
	bool always; /* v1 writes "0" rather than nothing */
};
#define PARTS_MAX 5
struct source {
	const char *type;   /* of the metric */
	const char *member; /* that describes it */
	struct part spec[PARTS_MAX], status[PARTS_MAX];
};
static const struct source sources[] = {
	{"Object",
	 "object",
	 {{"target", "describedObject", false},
	  {"metricName", "metric.name", false},
	  {"targetValue", "target.value", true},
	  {"selector", "metric.selector", false},
	  {"averageValue", "target.averageValue", false}},
	 {{"target", "describedObject", false},
	  {"metricName", "metric.name", false},
	  {"currentValue", "current.value", true},
	  {"selector", "metric.selector", false},
	  {"averageValue", "current.averageValue", false}}},
	{"Pods",
	 "pods",
	 {{"metricName", "metric.name", false},
	  {"targetAverageValue", "target.averageValue", true},
	  {"selector", "metric.selector", false}},
	 {{"metricName", "metric.name", false},
	  {"currentAverageValue", "current.averageValue", true},
	  {"selector", "metric.selector", false}}},
	{"Resource",
	 "resource",
	 {{"name", "name", false},
	  {"targetAverageUtilization", "target.averageUtilization", false},
	  {"targetAverageValue", "target.averageValue", false}},
	 {{"name", "name", false},
	  {"currentAverageUtilization", "current.averageUtilization", false},
	  {"currentAverageValue", "current.averageValue", true}}},
	{"ContainerResource",
	 "containerResource",
	 {{"name", "name", false},
	  {"targetAverageUtilization", "target.averageUtilization", false},
	  {"targetAverageValue", "target.averageValue", false},
	  {"container", "container", false}},
	 {{"name", "name", false},
	  {"currentAverageUtilization", "current.averageUtilization", false},
	  {"currentAverageValue", "current.averageValue", true},
	  {"container", "container", false}}},
	{"External",
	 "external",
	 {{"metricName", "metric.name", false},
	  {"metricSelector", "metric.selector", false},
	  {"targetValue", "target.value", false},
	  {"targetAverageValue", "target.averageValue", false}},
	 {{"metricName", "metric.name", false},
	  {"metricSelector", "metric.selector", false},
	  {"currentValue", "current.value", true},
	  {"currentAverageValue", "current.averageValue", false}}},
};

/* ---- one metric ------------------------------------------------------------------------- */

static const char *target_type(const json_t *target)
{
	if (json_object_get(target, "averageUtilization"))
		return "Utilization";
	return json_object_get(target, "averageValue") ? "AverageValue" : "Value";
}

static json_t *metric_to_v2(const json_t *metric, bool status)
{
	json_t *ret = json_object();

	json_put_str(ret, "type", json_str(metric, "type", ""));
	for (size_t i = 0; i < ARRAY_SIZE(sources); i++) {
		const json_t *from = json_object_get(metric, sources[i].member);
		const struct part *p = status ? sources[i].status : sources[i].spec;
		json_t *to;

		if (!json_is_object(from))
			continue;
		to = json_obj(ret, sources[i].member);
		for (size_t j = 0; j < PARTS_MAX && p[j].v1; j++) {
			json_t *v = json_object_get(from, p[j].v1);

			if (v)
				json_put(to, p[j].v2, json_deep_copy(v));
		}
		/* an average of an Object metric outdoes the value that v1 always writes */
		if (!status && json_at(to, "target.averageValue"))
			json_drop(to, "target.value");
		if (!status)
			json_put_str(to, "target.type", target_type(json_at(to, "target")));
	}
	return ret;
}

static json_t *metric_to_v1(const json_t *metric, bool status)
{
	json_t *ret = json_object();

	json_put_str(ret, "type", json_str(metric, "type", ""));
	for (size_t i = 0; i < ARRAY_SIZE(sources); i++) {
		const json_t *from = json_object_get(metric, sources[i].member);
		const struct part *p = status ? sources[i].status : sources[i].spec;
		json_t *to;

		if (!json_is_object(from))
			continue;
		to = json_obj(ret, sources[i].member);
		for (size_t j = 0; j < PARTS_MAX && p[j].v1; j++) {
			json_t *v = json_at(from, p[j].v2);

			if (v)
				json_put(to, p[j].v1, json_deep_copy(v));
			else if (p[j].always)
				json_put_str(to, p[j].v1, "0");
		}
	}
	return ret;
}

/* The utilization of all CPU, the one metric that v1 has a field for; NULL when it is another. */
static json_t *cpu_utilization(const json_t *metric, const char *path)
{
	if (!streq(json_str(metric, "type", ""), "Resource") ||
	    !streq(json_str(metric, "resource.name", ""), "cpu"))
		return NULL;
	return json_at(metric, path);
}

/* ---- v1 to v2 --------------------------------------------------------------------------- */

/* The value of an annotation, which is removed; NULL when it is not there or no JSON. */
static json_t *annotation_take(json_t *obj, const char *key)
{
	json_t *all = json_at(obj, "metadata.annotations"), *v = NULL;
	const char *text = json_string_value(json_object_get(all, key));

	if (text)
		v = json_parse(text, strlen(text), NULL);
	json_object_del(all, key);
	if (all && json_object_size(all) == 0)
		json_drop(obj, "metadata.annotations");
	return v;
}

static bool is_sound(const char *message, json_t *v)
{
	return json_is_object(v) &&
	       schema_check(message_find(message), "annotation", v, FIELDS_IGNORE, NULL, NULL) == 0;
}

/* The metrics of an annotation in v2's form, or NULL when one of them does not decode. */
static json_t *metrics_take(json_t *obj, const char *key, bool status)
{
	json_auto_t *list = annotation_take(obj, key), *ret = json_array();
	const char *message = status ? V2 "MetricStatus" : V2 "MetricSpec";
	json_t *metric;
	size_t i;

	json_array_foreach(list, i, metric)
	{
		json_t *v2 = metric_to_v2(metric, status);

		json_array_append_new(ret, v2);
		if (!is_sound(message, v2))
			return NULL;
	}
	return json_array_size(ret) ? steal_ptr(ret) : NULL;
}

static json_t *conditions_take(json_t *obj)
{
	json_auto_t *list = annotation_take(obj, CONDITIONS);
	json_t *v;
	size_t i;

	json_array_foreach(list, i,
			   v) if (!is_sound(V2 "HorizontalPodAutoscalerCondition", v)) return NULL;
	return json_array_size(list) ? steal_ptr(list) : NULL;
}

static json_t *cpu_metric(const json_t *percent, bool status)
{
	json_t *v = json_pack("{s:s, s:{s:s}}", "type", "Resource", "resource", "name", "cpu");
	const char *where = status ? "resource.current" : "resource.target";

	if (!status)
		json_put_str(json_obj(v, where), "type", "Utilization");
	json_object_set(json_obj(v, where), "averageUtilization", (json_t *)(uintptr_t)percent);
	return v;
}

void hpa_v1_to_storage(json_t *obj)
{
	json_t *spec = json_object_get(obj, "spec"), *status = json_object_get(obj, "status");
	json_t *percent = json_object_get(spec, "targetCPUUtilizationPercentage");
	json_t *metrics = metrics_take(obj, METRICS, false);
	json_t *current = metrics_take(obj, CURRENT_METRICS, true);
	json_t *conditions = conditions_take(obj);
	json_auto_t *behavior = annotation_take(obj, BEHAVIOR);
	json_t *now = json_object_get(status, "currentCPUUtilizationPercentage");

	if (percent && !metrics)
		metrics = json_array();
	if (percent)
		json_array_append_new(metrics, cpu_metric(percent, false));
	json_put(obj, "spec.metrics", metrics);
	if (is_sound(V2 "HorizontalPodAutoscalerBehavior", behavior))
		json_put(obj, "spec.behavior", json_incref(behavior));
	if (now && !current)
		current = json_pack("[o]", cpu_metric(now, true));
	json_put(obj, "status.currentMetrics", current);
	json_put(obj, "status.conditions", conditions);
	json_object_del(spec, "targetCPUUtilizationPercentage");
	json_object_del(status, "currentCPUUtilizationPercentage");
}

/* ---- v2 to v1 --------------------------------------------------------------------------- */

static void annotate(json_t *obj, const char *key, const json_t *v)
{
	auto_free char *text = json_text(v, NULL);

	json_object_set_new(json_obj(obj, "metadata.annotations"), key, json_string(text));
}

/* Moves the list at the path into an annotation; all: also what v1 has a field for. */
static void metrics_put(json_t *obj, const char *path, const char *key, bool status)
{
	json_auto_t *list = json_array();
	json_t *metric;
	size_t i;

	json_array_foreach(json_at(obj, path), i, metric)
	{
		if (!status && cpu_utilization(metric, "resource.target.averageUtilization"))
			continue;
		json_array_append_new(list, metric_to_v1(metric, status));
	}
	if (json_array_size(list))
		annotate(obj, key, list);
	json_drop(obj, path);
}

/* The utilization of the first metric that is about CPU. */
static json_t *first_cpu(const json_t *metrics, const char *path)
{
	json_t *metric, *v = NULL;
	size_t i;

	json_array_foreach(metrics, i, metric) if (!v) v = cpu_utilization(metric, path);
	return json_incref(v);
}

void hpa_v1_from_storage(json_t *obj)
{
	json_t *behavior = json_at(obj, "spec.behavior");
	json_t *conditions = json_at(obj, "status.conditions");

	json_put(obj, "spec.targetCPUUtilizationPercentage",
		 first_cpu(json_at(obj, "spec.metrics"), "resource.target.averageUtilization"));
	json_put(obj, "status.currentCPUUtilizationPercentage",
		 first_cpu(json_at(obj, "status.currentMetrics"),
			   "resource.current.averageUtilization"));
	metrics_put(obj, "spec.metrics", METRICS, false);
	metrics_put(obj, "status.currentMetrics", CURRENT_METRICS, true);
	if (behavior)
		annotate(obj, BEHAVIOR, behavior);
	if (json_array_size(conditions))
		annotate(obj, CONDITIONS, conditions);
	json_drop(obj, "spec.behavior");
	json_drop(obj, "status.conditions");
	if (json_at(obj, "status")) /* v1 writes it even when it is 0 */
		json_put_int(obj, "status.currentReplicas",
			     json_int(obj, "status.currentReplicas", 0));
}
