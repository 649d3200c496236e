/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Validation of Job and CronJob (kubernetes pkg/apis/batch/validation).
 */
#include "validate.h"

#include <strings.h>
#include <unistd.h>

#define MAX_INDEXED_PARALLELISM 100000
#define MAX_FAILED_INDEXES 100000
#define COMPLETIONS_SOFT_LIMIT 100000
#define HIGH_COMPLETIONS_LIMIT 10000
#define MAX_RULES 20
#define MAX_EXIT_CODES 255
#define MAX_MANAGED_BY 63
#define MAX_CRONJOB_NAME 52 /* "-" and ten digits make the name of its jobs */
#define ZONE_DIR "/usr/share/zoneinfo"

static bool is_indexed(const json_t *spec)
{
	return streq(json_str(spec, "completionMode", ""), "Indexed");
}

/* ---- pod failure policy ----------------------------------------------------------------- */

static bool has_container(const json_t *spec, const char *name)
{
	const json_t *pod = json_at(spec, "template.spec");

	return json_find(json_object_get(pod, "containers"), "name", name) ||
	       json_find(json_object_get(pod, "initContainers"), "name", name);
}

static void check_exit_values(struct check *c, const json_t *codes, bool in)
{
	const json_t *values = json_object_get(codes, "values");
	int64_t last = INT64_MIN;
	bool ordered = true;
	json_t *v;
	size_t i, j;

	if (json_array_size(values) == 0) {
		check_invalid(c, "values", values, "at least one value is required");
		return;
	}
	if (json_array_size(values) > MAX_EXIT_CODES) {
		check_too_many(c, "values", json_array_size(values), MAX_EXIT_CODES);
		return;
	}
	json_array_foreach(values, i, v)
	{
		size_t mark = check_item(c, "values", i);

		if (in && json_integer_value(v) == 0)
			check_invalid(c, NULL, v, "must not be 0 for the In operator");
		for (j = 0; j < i; j++)
			if (json_equal(v, json_array_get(values, j))) {
				check_duplicate(c, NULL, v);
				break;
			}
		ordered &= json_integer_value(v) >= last;
		last = json_integer_value(v);
		check_leave(c, mark);
	}
	if (!ordered)
		check_invalid(c, "values", values, "must be ordered");
}

static void check_exit_codes(struct check *c, const json_t *spec, const json_t *codes)
{
	const char *op = json_str(codes, "operator", "");
	const char *name = json_str(codes, "containerName", NULL);
	size_t mark = check_enter(c, "onExitCodes");

	if (!*op)
		check_required(c, "operator", "valid values: [\"In\" \"NotIn\"]");
	else if (!streq(op, "In") && !streq(op, "NotIn"))
		check_unsupported(c, "operator", op, "In,NotIn");
	if (name && !has_container(spec, name))
		check_invalid_str(c, "containerName", name,
				  "must be one of the container or initContainer names in the pod "
				  "template");
	check_exit_values(c, codes, streq(op, "In"));
	check_leave(c, mark);
}

static void check_pod_conditions(struct check *c, const json_t *rule)
{
	json_t *pattern;

	if (json_len(rule, "onPodConditions") > MAX_RULES)
		check_too_many(c, "onPodConditions", json_len(rule, "onPodConditions"), MAX_RULES);
	check_foreach(c, rule, "onPodConditions", pattern)
	{
		const char *type = json_str(pattern, "type", "");
		const char *status = json_str(pattern, "status", "");
		const char *bad = valid_label_key(type);

		if (bad)
			check_invalid_str(c, "type", type, "%s", bad);
		if (!*status)
			check_required(c, "status",
				       "valid values: [\"False\" \"True\" \"Unknown\"]");
		else if (!csv_has_exactly("False,True,Unknown", status))
			check_unsupported(c, "status", status, "False,True,Unknown");
	}
}

static void check_failure_rule(struct check *c, const json_t *spec, const json_t *rule)
{
	const char *action = json_str(rule, "action", "");
	const json_t *codes = json_object_get(rule, "onExitCodes");
	bool conditions = json_len(rule, "onPodConditions") > 0;

	if (!*action)
		check_required(c, "action",
			       "valid values: [\"Count\" \"FailIndex\" \"FailJob\" \"Ignore\"]");
	else if (streq(action, "FailIndex") && !json_object_get(spec, "backoffLimitPerIndex"))
		check_invalid_str(c, "action", action,
				  "requires the backoffLimitPerIndex to be set");
	else if (!csv_has_exactly("Count,FailIndex,FailJob,Ignore", action))
		check_unsupported(c, "action", action, "Count,FailIndex,FailJob,Ignore");
	if (codes)
		check_exit_codes(c, spec, codes);
	check_pod_conditions(c, rule);
	if (codes && conditions)
		check_invalid_bare(c, NULL,
				   "specifying both OnExitCodes and OnPodConditions is not "
				   "supported");
	if (!codes && !conditions)
		check_invalid_bare(c, NULL,
				   "specifying one of OnExitCodes and OnPodConditions is required");
}

static void check_failure_policy(struct check *c, const json_t *spec)
{
	const json_t *policy = json_object_get(spec, "podFailurePolicy");
	size_t mark = check_enter(c, "podFailurePolicy");
	json_t *rule;

	if (json_len(policy, "rules") > MAX_RULES)
		check_too_many(c, "rules", json_len(policy, "rules"), MAX_RULES);
	check_foreach(c, policy, "rules", rule) check_failure_rule(c, spec, rule);
	check_leave(c, mark);
}

/* ---- success policy --------------------------------------------------------------------- */

static int index_of(const char *text, int64_t completions, int64_t *ret, struct err *err)
{
	if (!*text || strspn(text, "0123456789") != strlen(text) || strlen(text) > 10)
		return err_set(err, ERR_INVALID,
			       "cannot convert string to integer for index: \"%s\"", text);
	*ret = strtoll(text, NULL, 10);
	if (*ret >= completions)
		return err_set(err, ERR_INVALID, "too large index: \"%s\"", text);
	return 0;
}

int job_interval(const char *text, int64_t completions, int64_t *from, int64_t *to, struct err *err)
{
	auto_strv ends = {0};

	split_all(&ends, text, '-');
	if (ends.n > 2)
		return err_set(err, ERR_INVALID,
			       "the fragment \"%s\" violates the requirement that an index "
			       "interval can have at most two parts separated by '-'",
			       text);
	if (index_of(ends.v[0], completions, from, err) < 0)
		return -EINVAL;
	*to = *from;
	if (ends.n < 2)
		return 0;
	if (index_of(ends.v[1], completions, to, err) < 0)
		return -EINVAL;
	if (*to <= *from)
		return err_set(err, ERR_INVALID,
			       "non-increasing order, previous: %lld, current: %lld",
			       (long long)*from, (long long)*to);
	return 0;
}

int job_indexes(const char *text, int64_t completions, int64_t *ret, struct err *err)
{
	auto_strv parts = {0};
	int64_t last = -1, from, to;

	*ret = 0;
	if (!*text)
		return 0;
	split_all(&parts, text, ',');
	for (size_t i = 0; i < parts.n; i++) {
		if (job_interval(parts.v[i], completions, &from, &to, err) < 0)
			return -EINVAL;
		if (from <= last)
			return err_set(err, ERR_INVALID,
				       "non-increasing order, previous: %lld, current: %lld",
				       (long long)last, (long long)from);
		*ret += to - from + 1;
		last = to;
	}
	return 0;
}

static void check_success_rule(struct check *c, const json_t *rule, int64_t completions)
{
	const char *indexes = json_str(rule, "succeededIndexes", NULL);
	const json_t *count = json_object_get(rule, "succeededCount");
	int64_t n = 0;
	auto_err why = {0};

	if (!count && !indexes)
		check_required(c, NULL,
			       "at least one of succeededCount or succeededIndexes must be "
			       "specified");
	if (indexes && job_indexes(indexes, completions, &n, &why) < 0)
		check_invalid_str(c, "succeededIndexes", indexes,
				  "error parsing succeededIndexes: %s", err_message(&why));
	if (count && json_integer_value(count) > completions)
		check_invalid(c, "succeededCount", count,
			      "must be less than or equal to %lld (the number of specified "
			      "completions)",
			      (long long)completions);
	if (count && indexes && json_integer_value(count) > n)
		check_invalid(c, "succeededCount", count,
			      "must be less than or equal to %lld (the number of indexes in the "
			      "specified succeededIndexes field)",
			      (long long)n);
}

static void check_success_policy(struct check *c, const json_t *spec)
{
	const json_t *policy = json_object_get(spec, "successPolicy");
	size_t mark = check_enter(c, "successPolicy");
	json_t *rule;

	if (!is_indexed(spec)) {
		check_invalid(c, NULL, policy, "requires indexed completion mode");
	} else if (json_object_get(spec, "completions")) {
		if (json_len(policy, "rules") == 0)
			check_required(c, "rules",
				       "at least one rules must be specified when the "
				       "successPolicy is specified");
		if (json_len(policy, "rules") > MAX_RULES)
			check_too_many(c, "rules", json_len(policy, "rules"), MAX_RULES);
		check_foreach(c, policy, "rules", rule)
			check_success_rule(c, rule, json_int(spec, "completions", 0));
	}
	check_leave(c, mark);
}

/* ---- the spec --------------------------------------------------------------------------- */

static void check_max_failed(struct check *c, const json_t *spec)
{
	const json_t *failed = json_object_get(spec, "maxFailedIndexes");
	const json_t *parallel = json_object_get(spec, "parallelism");
	int64_t completions = json_int(spec, "completions", -1);
	bool high = completions > COMPLETIONS_SOFT_LIMIT &&
		    json_object_get(spec, "backoffLimitPerIndex");

	if (failed && completions >= 0 && json_integer_value(failed) > completions)
		check_invalid(c, "maxFailedIndexes", failed,
			      "must be less than or equal to completions");
	if (failed && json_integer_value(failed) > MAX_FAILED_INDEXES)
		check_invalid(c, "maxFailedIndexes", failed, "must be less than or equal to %d",
			      MAX_FAILED_INDEXES);
	if (high && !failed)
		check_required(c, "maxFailedIndexes",
			       "must be specified when completions is above 100000");
	if (high && json_integer_value(parallel) > HIGH_COMPLETIONS_LIMIT)
		check_invalid(c, "parallelism", parallel,
			      "must be less than or equal to %d when completions are above %d and "
			      "used with backoff limit per index",
			      HIGH_COMPLETIONS_LIMIT, COMPLETIONS_SOFT_LIMIT);
	if (high && json_integer_value(failed) > HIGH_COMPLETIONS_LIMIT)
		check_invalid(c, "maxFailedIndexes", failed,
			      "must be less than or equal to %d when completions are above %d and "
			      "used with backoff limit per index",
			      HIGH_COMPLETIONS_LIMIT, COMPLETIONS_SOFT_LIMIT);
}

static void check_completion_mode(struct check *c, const json_t *spec)
{
	static const char *const indexed_only[] = {"backoffLimitPerIndex", "maxFailedIndexes"};
	const json_t *parallel = json_object_get(spec, "parallelism");

	if (json_object_get(spec, "maxFailedIndexes") &&
	    !json_object_get(spec, "backoffLimitPerIndex"))
		check_required(c, "backoffLimitPerIndex", "when maxFailedIndexes is specified");
	if (is_indexed(spec)) {
		if (!json_object_get(spec, "completions"))
			check_required(c, "completions", "when completion mode is Indexed");
		if (json_integer_value(parallel) > MAX_INDEXED_PARALLELISM)
			check_invalid(c, "parallelism", parallel,
				      "must be less than or equal to %d when completion mode is "
				      "Indexed",
				      MAX_INDEXED_PARALLELISM);
		check_max_failed(c, spec);
		return;
	}
	if (!streq(json_str(spec, "completionMode", "NonIndexed"), "NonIndexed"))
		return;
	for (size_t i = 0; i < ARRAY_SIZE(indexed_only); i++) {
		const json_t *v = json_object_get(spec, indexed_only[i]);

		if (v)
			check_invalid(c, indexed_only[i], v, "requires indexed completion mode");
	}
}

static void check_managed_by(struct check *c, const json_t *spec)
{
	const char *name = json_str(spec, "managedBy", NULL);
	const char *slash = name ? strchr(name, '/') : NULL, *bad;

	if (!name)
		return;
	if (!*name) {
		check_required(c, "managedBy", "");
	} else if (!slash || !slash[1] || slash == name) {
		check_invalid_str(c, "managedBy", name,
				  "must be a domain-prefixed path (such as \"acme.io/foo\")");
	} else {
		auto_free char *domain = xstrndup(name, (size_t)(slash - name));

		bad = valid_dns1123_subdomain(domain);
		if (bad)
			check_invalid_str(c, "managedBy", domain, "%s", bad);
	}
	if (strlen(name) > MAX_MANAGED_BY)
		check_too_long(c, "managedBy", MAX_MANAGED_BY);
}

static void check_replacement(struct check *c, const json_t *spec)
{
	const char *policy = json_str(spec, "podReplacementPolicy", NULL);
	const char *supported =
		json_object_get(spec, "podFailurePolicy") ? "Failed" : "Failed,TerminatingOrFailed";

	if (policy && !csv_has_exactly(supported, policy))
		check_unsupported(c, "podReplacementPolicy", policy, supported);
}

static void check_restart(struct check *c, const json_t *spec)
{
	const char *policy = json_str(spec, "template.spec.restartPolicy", "");

	if (!*policy || streq(policy, "Always"))
		check_required(c, "template.spec.restartPolicy",
			       "valid values: \"OnFailure\", \"Never\"");
	else if (!streq(policy, "OnFailure") && !streq(policy, "Never"))
		check_unsupported(c, "template.spec.restartPolicy", policy, "OnFailure,Never");
	else if (json_object_get(spec, "podFailurePolicy") && !streq(policy, "Never"))
		check_invalid_str(c, "template.spec.restartPolicy", policy,
				  "only \"Never\" is supported when podFailurePolicy is specified");
}

/* What jobs and templates of jobs have in common; the path is at the spec. */
static void check_job_spec(struct check *c, const json_t *spec)
{
	size_t mark;

	check_completion_mode(c, spec);
	check_managed_by(c, spec);
	if (json_object_get(spec, "podFailurePolicy"))
		check_failure_policy(c, spec);
	if (json_object_get(spec, "successPolicy"))
		check_success_policy(c, spec);
	check_replacement(c, spec);
	mark = check_enter(c, "template");
	check_pod_template(c, json_object_get(spec, "template"));
	check_leave(c, mark);
	check_restart(c, spec);
}

/* ---- jobs ------------------------------------------------------------------------------- */

static void check_label(struct check *c, const json_t *labels, const char *key, const char *want)
{
	const char *have = json_string_value(json_object_get(labels, key));
	size_t mark = check_enter(c, "spec.template.metadata.labels");

	strbuf_addf(&c->path, "[%s]", key);
	if (!have) {
		auto_free char *detail = xasprintf("must be '%s'", want);

		check_required(c, NULL, detail);
	} else if (!streq(have, want)) {
		check_invalid(c, NULL, labels, "must be '%s'", want);
	}
	check_leave(c, mark);
}

/* Unless manualSelector is set, selector and labels are the generated ones. */
static void check_generated(struct check *c, const json_t *obj)
{
	const json_t *labels = json_at(obj, "spec.template.metadata.labels");
	const json_t *selector = json_at(obj, "spec.selector");
	struct label_selector *s;

	if (json_bool(obj, "spec.manualSelector", false) || !selector)
		return;
	check_label(c, labels, "batch.kubernetes.io/controller-uid", meta_uid(obj));
	check_label(c, labels, "batch.kubernetes.io/job-name", meta_name(obj));
	s = label_selector_from_json(selector, NULL);
	json_auto_t *expected =
		json_pack("{s:s, s:s, s:s, s:s}", "batch.kubernetes.io/controller-uid",
			  meta_uid(obj), "batch.kubernetes.io/job-name", meta_name(obj),
			  "controller-uid", meta_uid(obj), "job-name", meta_name(obj));

	if (s && !label_selector_matches(s, expected))
		check_invalid(c, "spec.selector", selector, "`selector` not auto-generated");
	label_selector_free(s);
}

static void check_job_selector(struct check *c, const json_t *spec)
{
	const json_t *selector = json_object_get(spec, "selector");
	const json_t *labels = json_at(spec, "template.metadata.labels");
	struct label_selector *s;

	if (!selector) {
		check_required(c, "selector", "");
		return;
	}
	check_selector(c, "selector", selector);
	s = label_selector_from_json(selector, NULL);
	if (s && !label_selector_matches(s, labels))
		check_invalid(c, "template.metadata.labels", labels,
			      "`selector` does not match template `labels`");
	label_selector_free(s);
}

/* The last pod's host name must be one. */
static void check_pod_names(struct check *c, const json_t *obj)
{
	int64_t completions = json_int(obj, "spec.completions", 0);
	auto_free char *name = xasprintf("%s-%lld", meta_name(obj), (long long)completions - 1);

	if (is_indexed(json_object_get(obj, "spec")) && completions > 0 &&
	    valid_dns1123_label(name))
		check_invalid_str(c, "metadata.name", meta_name(obj),
				  "will not able to create pod with invalid DNS label: %s", name);
}

static void check_completions(struct check *c, const json_t *spec, const json_t *old)
{
	const json_t *now = json_object_get(spec, "completions");
	const json_t *was = json_object_get(old, "completions");

	if (!is_indexed(spec))
		check_immutable(c, "completions", spec, old);
	else if (now != was && !(now && was && json_equal(now, was)) &&
		 !(now && json_equal(now, json_object_get(spec, "parallelism"))))
		check_invalid(c, "completions", now,
			      "can only be modified in tandem with spec.parallelism");
}

/* A suspended job that has not started may still be steered to other nodes. */
static void check_template_update(struct check *c, const json_t *obj, const json_t *old)
{
	static const char *const free_fields[] = {"nodeSelector", "tolerations", "schedulingGates"};
	json_auto_t *now = json_deep_copy(json_at(obj, "spec.template"));
	json_auto_t *was = json_deep_copy(json_at(old, "spec.template"));

	if (json_bool(old, "spec.suspend", false) && !json_at(old, "status.startTime")) {
		json_t *both[] = {now, was};

		for (size_t i = 0; i < ARRAY_SIZE(both); i++) {
			for (size_t j = 0; j < ARRAY_SIZE(free_fields); j++)
				json_object_del(json_object_get(both[i], "spec"), free_fields[j]);
			json_drop(both[i], "spec.affinity.nodeAffinity");
			if (json_object_size(json_at(both[i], "spec.affinity")) == 0)
				json_drop(both[i], "spec.affinity");
			json_object_del(both[i], "metadata");
		}
	}
	if (!json_equal(now, was))
		check_invalid(c, "template", json_at(obj, "spec.template"), "field is immutable");
}

static void check_job_update(struct check *c, const json_t *obj, const json_t *old)
{
	static const char *const fixed[] = {"selector",		"completionMode",
					    "podFailurePolicy", "backoffLimitPerIndex",
					    "managedBy",	"successPolicy"};
	const json_t *spec = json_object_get(obj, "spec"), *was = json_object_get(old, "spec");

	check_completions(c, spec, was);
	check_template_update(c, obj, old);
	for (size_t i = 0; i < ARRAY_SIZE(fixed); i++)
		check_immutable(c, fixed[i], spec, was);
}

void job_validate(const json_t *obj, const json_t *old, struct err *err)
{
	struct check c = {.err = err};
	const json_t *spec = json_object_get(obj, "spec");

	if (!old) {
		check_generated(&c, obj);
		check_pod_names(&c, obj);
	}
	check_enter(&c, "spec");
	check_job_spec(&c, spec);
	check_job_selector(&c, spec);
	if (old)
		check_job_update(&c, obj, old);
	check_leave(&c, 0);
	if (old)
		check_job_status(&c, obj, old);
	strbuf_done(&c.path);
}

/* ---- cron jobs -------------------------------------------------------------------------- */

/* A name of the time zone data base; "" is UTC. */
static bool zone_exists(const char *zone)
{
	auto_free char *path = path_join(ZONE_DIR, zone);

	return streq(zone, "UTC") || access(path, R_OK) == 0;
}

static bool zone_part_ok(const char *part)
{
	return *part && *part != '-' && !streq(part, ".") && !streq(part, "..");
}

static void check_zone(struct check *c, const json_t *spec)
{
	const char *zone = json_str(spec, "timeZone", NULL);
	auto_strv parts = {0};
	bool ok = true;

	if (!zone)
		return;
	if (!*zone) {
		check_invalid_str(c, "timeZone", zone, "timeZone must be nil or non-empty string");
		return;
	}
	split_all(&parts, zone, '/');
	for (size_t i = 0; i < parts.n; i++)
		ok = ok && zone_part_ok(parts.v[i]);
	if (strcasecmp(zone, "Local") == 0)
		check_invalid_str(c, "timeZone", zone,
				  "timeZone must be an explicit time zone as defined in "
				  "https://www.iana.org/time-zones");
	if (!ok || !zone_exists(zone))
		check_invalid_str(c, "timeZone", zone, "unknown time zone %s", zone);
}

static void check_schedule(struct check *c, const json_t *spec, const json_t *old)
{
	const char *schedule = json_str(spec, "schedule", "");
	const char *fields = schedule;
	struct cron cron;
	auto_err why = {0};

	/* "TZ=..." was never meant to work, but what has it keeps it */
	if (str_starts(schedule, "TZ=") || str_starts(schedule, "CRON_TZ="))
		fields += strcspn(fields, " ") + (strchr(fields, ' ') != NULL);
	if (*schedule && cron_parse(fields, &cron, &why) < 0)
		check_invalid_str(c, "schedule", schedule, "%s", err_message(&why));
	if (!strstr(schedule, "TZ"))
		return;
	if (old && strstr(json_str(old, "spec.schedule", ""), "TZ")) {
		if (json_object_get(spec, "timeZone"))
			check_invalid_str(c, "schedule", schedule,
					  "cannot use both timeZone field and TZ or CRON_TZ in "
					  "schedule");
	} else {
		check_invalid_str(c, "schedule", schedule,
				  "cannot use TZ or CRON_TZ in schedule, use timeZone field "
				  "instead");
	}
}

void cronjob_validate(const json_t *obj, const json_t *old, struct err *err)
{
	struct check c = {.err = err};
	const json_t *spec = json_object_get(obj, "spec");
	const json_t *job = json_at(spec, "jobTemplate.spec");

	if (!old && strlen(meta_name(obj)) > MAX_CRONJOB_NAME)
		check_invalid_str(&c, "metadata.name", meta_name(obj),
				  "must be no more than 52 characters");
	check_enter(&c, "spec");
	check_schedule(&c, spec, old);
	check_zone(&c, spec);
	check_enter(&c, "jobTemplate.spec");
	check_job_spec(&c, job);
	if (json_object_get(job, "selector"))
		check_invalid(&c, "selector", json_object_get(job, "selector"),
			      "`selector` will be auto-generated");
	if (json_bool(job, "manualSelector", false))
		check_unsupported_value(&c, "manualSelector",
					json_object_get(job, "manualSelector"), "nil,false");
	strbuf_done(&c.path);
}
