/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rows of Jobs, CronJobs and HorizontalPodAutoscalers.
 */
#include "internal.h"

/* ---- jobs ------------------------------------------------------------------------------- */

static bool condition_true(const json_t *obj, const char *type)
{
	const json_t *c = json_find(json_at(obj, "status.conditions"), "type", type);

	return streq(json_str(c, "status", ""), "True");
}

static const char *job_status(const json_t *obj)
{
	if (condition_true(obj, "Complete"))
		return "Complete";
	if (condition_true(obj, "Failed"))
		return "Failed";
	if (meta_deleting(obj))
		return "Terminating";
	if (condition_true(obj, "Suspended"))
		return "Suspended";
	return condition_true(obj, "FailureTarget") ? "FailureTarget" : "Running";
}

static void completions_cell(const json_t *obj, json_t *cells)
{
	long long done = json_int(obj, "status.succeeded", 0);
	long long parallel = json_int(obj, "spec.parallelism", 0);
	char text[64];

	if (json_at(obj, "spec.completions"))
		snprintf(text, sizeof(text), "%lld/%lld", done,
			 (long long)json_int(obj, "spec.completions", 0));
	else if (parallel > 1)
		snprintf(text, sizeof(text), "%lld/1 of %lld", done, parallel);
	else
		snprintf(text, sizeof(text), "%lld/1", done);
	cell_str(cells, text, "");
}

static void duration_cell(const json_t *obj, time_t now, json_t *cells)
{
	const char *start = json_str(obj, "status.startTime", NULL);
	const char *end = json_str(obj, "status.completionTime", NULL);
	struct timespec from, to = {.tv_sec = now};
	char text[24] = "";

	if (start && time_parse(start, &from) == 0 && (!end || time_parse(end, &to) == 0))
		human_duration(text, (int64_t)to.tv_sec - (int64_t)from.tv_sec);
	cell_str(cells, text, "");
}

void job_cells(const json_t *obj, time_t now, json_t *cells)
{
	cell_str(cells, meta_name(obj), "");
	cell_str(cells, job_status(obj), "");
	completions_cell(obj, cells);
	duration_cell(obj, now, cells);
	cell_created(cells, obj, now);
	cell_containers(cells, obj, "spec.template.spec");
	cell_selector(cells, json_at(obj, "spec.selector"));
}

void cronjob_cells(const json_t *obj, time_t now, json_t *cells)
{
	const char *last = json_str(obj, "status.lastScheduleTime", NULL);
	const json_t *suspend = json_at(obj, "spec.suspend");

	cell_str(cells, meta_name(obj), "");
	cell_str(cells, json_str(obj, "spec.schedule", ""), "");
	cell_str(cells, json_str(obj, "spec.timeZone", NULL), "<none>");
	cell_str(cells, !suspend ? "<unset>" : json_is_true(suspend) ? "True" : "False", "");
	cell_int(cells, (int64_t)json_len(obj, "status.active"));
	if (last)
		cell_age(cells, last, now);
	else
		cell_str(cells, "<none>", "");
	cell_created(cells, obj, now);
	cell_containers(cells, obj, "spec.jobTemplate.spec.template.spec");
	cell_selector(cells, json_at(obj, "spec.jobTemplate.spec.selector"));
}

/* ---- autoscalers ------------------------------------------------------------------------ */

#define METRICS_SHOWN 2

/* One of current's values as text: a quantity, or a percentage. */
static const char *value_text(char buf[static 32], const json_t *values, const char *member,
			      const char *fallback)
{
	const json_t *v = json_object_get(values, member);

	if (json_is_string(v))
		return json_string_value(v);
	if (!json_is_integer(v))
		return fallback;
	snprintf(buf, 32, "%lld%%", (long long)json_integer_value(v));
	return buf;
}

/* "cpu: 12%/80%", "3/10 (avg)" */
static void metric_text(struct strbuf *b, const json_t *metric, const json_t *status)
{
	static const struct {
		const char *type, *member;
		bool resource, pods;
	} types[] = {{"External", "external", false, false},
		     {"Pods", "pods", false, true},
		     {"Object", "object", false, false},
		     {"Resource", "resource", true, true},
		     {"ContainerResource", "containerResource", true, true}};
	char current[32], wanted[32];

	for (size_t i = 0; i < ARRAY_SIZE(types); i++) {
		const json_t *source = json_object_get(metric, types[i].member);
		const json_t *target = json_object_get(source, "target");
		const json_t *now =
			json_object_get(json_object_get(status, types[i].member), "current");
		bool average = json_object_get(target, "averageValue");
		const char *member = average		 ? "averageValue"
				     : types[i].resource ? "averageUtilization"
							 : "value";

		if (!streq(types[i].type, json_str(metric, "type", "")))
			continue;
		if (types[i].resource)
			strbuf_addf(b, "%s: ", json_str(source, "name", ""));
		strbuf_addf(b, "%s/%s%s", value_text(current, now, member, "<unknown>"),
			    value_text(wanted, target, member, "<auto>"),
			    average && !types[i].pods ? " (avg)" : "");
		return;
	}
	strbuf_adds(b, "<unknown type>");
}

static void metrics_cell(const json_t *obj, json_t *cells)
{
	const json_t *metrics = json_at(obj, "spec.metrics");
	const json_t *statuses = json_at(obj, "status.currentMetrics");
	size_t n = json_array_size(metrics);
	auto_strbuf b = {0};

	for (size_t i = 0; i < n && i < METRICS_SHOWN; i++) {
		strbuf_adds(&b, i ? ", " : "");
		metric_text(&b, json_array_get(metrics, i), json_array_get(statuses, i));
	}
	if (n > METRICS_SHOWN)
		strbuf_addf(&b, " + %zu more...", n - METRICS_SHOWN);
	cell_str(cells, b.s, "<none>");
}

void hpa_cells(const json_t *obj, time_t now, json_t *cells)
{
	const json_t *min = json_at(obj, "spec.minReplicas");
	auto_free char *reference =
		xasprintf("%s/%s", json_str(obj, "spec.scaleTargetRef.kind", ""),
			  json_str(obj, "spec.scaleTargetRef.name", ""));
	char pods[24];

	snprintf(pods, sizeof(pods), "%lld", (long long)json_integer_value(min));
	cell_str(cells, meta_name(obj), "");
	cell_str(cells, reference, "");
	metrics_cell(obj, cells);
	cell_str(cells, min ? pods : NULL, "<unset>");
	cell_int(cells, json_int(obj, "spec.maxReplicas", 0));
	cell_int(cells, json_int(obj, "status.currentReplicas", 0));
	cell_created(cells, obj, now);
}

void hpa_v1_cells(const json_t *obj, time_t now, json_t *cells)
{
	json_auto_t *v2 = json_deep_copy(obj);

	hpa_v1_to_storage(v2);
	hpa_cells(v2, now, cells);
}
