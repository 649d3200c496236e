/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Validation of what is written to the status of a Job, which a controller elsewhere (managedBy)
 * may do (kubernetes pkg/apis/batch/validation, pkg/registry/batch/job). Most rules ask only about
 * what the write changes, so that a status that broke one before can still be mended.
 */
#include "validate.h"

#define CONDITIONS "conditions"

struct job {
	const json_t *spec, *status;
	bool complete, failed, target, criteria, finished;
};

static bool is_true(const json_t *status, const char *type)
{
	json_t *v;
	size_t i;

	json_array_foreach(json_object_get(status, CONDITIONS), i, v)
	{
		if (streq(json_str(v, "type", ""), type) &&
		    streq(json_str(v, "status", ""), "True"))
			return true;
	}
	return false;
}

static struct job job_of(const json_t *obj)
{
	struct job j = {.spec = json_object_get(obj, "spec"),
			.status = json_object_get(obj, "status")};

	j.complete = is_true(j.status, "Complete");
	j.failed = is_true(j.status, "Failed");
	j.target = is_true(j.status, "FailureTarget");
	j.criteria = is_true(j.status, "SuccessCriteriaMet");
	j.finished = j.complete || j.failed;
	return j;
}

static bool differs(const struct job *now, const struct job *was, const char *field)
{
	const json_t *a = json_object_get(now->status, field);
	const json_t *b = json_object_get(was->status, field);

	return a != b && !(a && b && json_same(a, b));
}

static int64_t number(const struct job *j, const char *field)
{
	return json_int(j->status, field, 0);
}

static bool time_of(const struct job *j, const char *field, struct timespec *ret)
{
	const char *text = json_str(j->status, field, NULL);

	return text && time_parse(text, ret) == 0;
}

static bool has(const struct job *j, const char *field)
{
	return json_object_get(j->status, field) != NULL;
}

/* As Go prints a time. */
static void invalid_time(struct check *c, const struct job *j, const char *field, const char *why)
{
	struct timespec at = {0};
	struct tm tm;
	char text[40] = "";
	size_t mark = check_enter(c, field);

	time_of(j, field, &at);
	strftime(text, sizeof(text), "%Y-%m-%d %H:%M:%S +0000 UTC", gmtime_r(&at.tv_sec, &tm));
	err_cause_add(c->err, "FieldValueInvalid", c->path.s, "Invalid value: %s: %s", text, why);
	check_leave(c, mark);
}

/* ---- conditions -------------------------------------------------------------------------- */

static void check_exclusive(struct check *c, const struct job *now, const struct job *was)
{
	bool complete = now->complete != was->complete, failed = now->failed != was->failed;
	bool target = now->target != was->target, criteria = now->criteria != was->criteria;

	if ((complete || failed) && now->complete && now->failed)
		check_invalid_bare(c, CONDITIONS,
				   "cannot set Complete=True and Failed=true conditions");
	if ((complete || target) && now->complete && now->target)
		check_invalid_bare(c, CONDITIONS,
				   "cannot set Complete=True and FailureTarget=true conditions");
	if ((failed || target) && now->failed && !now->target)
		check_invalid_bare(c, CONDITIONS,
				   "cannot set Failed=True condition without the "
				   "FailureTarget=true condition");
	if ((complete || criteria) && now->complete && !now->criteria)
		check_invalid_bare(c, CONDITIONS,
				   "cannot set Complete=True condition without the "
				   "SuccessCriteriaMet=true condition");
	if (now->criteria && now->failed)
		check_invalid_bare(c, CONDITIONS,
				   "cannot set SuccessCriteriaMet=True and Failed=true conditions");
	if (now->criteria && now->target)
		check_invalid_bare(c, CONDITIONS,
				   "cannot set SuccessCriteriaMet=True and FailureTarget=true "
				   "conditions");
	if (json_object_get(now->spec, "successPolicy") && !now->criteria && now->complete)
		check_invalid_bare(c, CONDITIONS,
				   "cannot set Complete=True for Job with SuccessPolicy unless "
				   "SuccessCriteriaMet=True");
}

/* What has ended stays so. */
static void check_terminal(struct check *c, const struct job *now, const struct job *was)
{
	static const char text[] = "cannot disable the terminal %s=True condition";

	if (was->failed && !now->failed)
		check_invalid_bare(c, CONDITIONS, text, "Failed");
	if (was->complete && !now->complete)
		check_invalid_bare(c, CONDITIONS, text, "Complete");
	if (was->target && !now->target)
		check_invalid_bare(c, CONDITIONS, text, "FailureTarget");
	if (was->criteria && !now->criteria)
		check_invalid_bare(c, CONDITIONS,
				   "cannot disable the SuccessCriteriaMet=True condition");
	if (was->complete && !was->criteria && now->criteria)
		check_invalid_bare(c, CONDITIONS,
				   "cannot set SuccessCriteriaMet=True for Job already has "
				   "Complete=true conditions");
}

/* ---- times ------------------------------------------------------------------------------- */

static void check_times(struct check *c, const struct job *now, const struct job *was)
{
	static const char start[] = "startTime", end[] = "completionTime";
	bool started = differs(now, was, start), ended = differs(now, was, end);
	bool completed = now->complete != was->complete;
	struct timespec from, to;

	if ((completed || ended) && has(now, end) && !now->complete)
		invalid_time(c, now, end,
			     "cannot set completionTime when there is no Complete=True condition");
	if ((completed || ended) && !has(now, end) && now->complete)
		check_required(c, end, "completionTime is required for Complete jobs");
	if ((started || ended) && time_of(now, start, &from) && time_of(now, end, &to) &&
	    to.tv_sec < from.tv_sec)
		invalid_time(c, now, end, "completionTime cannot be set before startTime");
	if ((now->finished != was->finished || started) && now->finished && !has(now, start))
		check_required(c, start, "startTime is required for finished job");
	if (ended && has(now, end) && has(was, end))
		invalid_time(c, now, end, "completionTime cannot be mutated");
	if (started && has(was, start) && !json_bool(now->spec, "suspend", false))
		check_required(c, start, "startTime cannot be removed for unsuspended job");
}

/* ---- counters ---------------------------------------------------------------------------- */

/* Uids are told apart over both lists. */
static void check_uncounted(struct check *c, const struct job *now)
{
	static const char *const lists[] = {"succeeded", "failed"};
	const json_t *uncounted = json_object_get(now->status, "uncountedTerminatedPods");
	size_t mark = check_enter(c, "uncountedTerminatedPods");
	json_auto_t *seen = json_object();
	json_t *v;

	for (size_t i = 0; i < ARRAY_SIZE(lists); i++) {
		check_foreach(c, uncounted, lists[i], v)
		{
			const char *uid = json_string_value(v) ? json_string_value(v) : "";

			if (!*uid)
				check_invalid(c, NULL, v, "must not be empty");
			else if (json_object_get(seen, uid))
				check_duplicate(c, NULL, v);
			json_object_set_new(seen, uid, json_true());
		}
	}
	check_leave(c, mark);
}

static void check_finished(struct check *c, const struct job *now, const struct job *was)
{
	const json_t *uncounted = json_object_get(now->status, "uncountedTerminatedPods");
	bool finished = now->finished != was->finished;

	if (!now->finished)
		return;
	if ((finished || differs(now, was, "active")) && number(now, "active") > 0)
		check_invalid_int(c, "active", number(now, "active"),
				  "active>0 is invalid for finished job");
	if ((finished || differs(now, was, "uncountedTerminatedPods")) &&
	    json_len(uncounted, "succeeded") + json_len(uncounted, "failed") > 0)
		check_invalid(c, "uncountedTerminatedPods", uncounted,
			      "uncountedTerminatedPods needs to be empty for finished job");
	if ((finished || differs(now, was, "terminating")) && number(now, "terminating") > 0)
		check_invalid_int(c, "terminating", number(now, "terminating"),
				  "terminating>0 is invalid for finished job");
}

static bool is_indexed(const struct job *j)
{
	return streq(json_str(j->spec, "completionMode", ""), "Indexed");
}

static void check_counters(struct check *c, const struct job *now, const struct job *was)
{
	/* A job whose parallelism is its completions can be scaled down. */
	bool scalable = is_indexed(now) && json_int(now->spec, "completions", -1) ==
						   json_int(now->spec, "parallelism", -1);

	if ((differs(now, was, "ready") || differs(now, was, "active")) &&
	    number(now, "ready") > number(now, "active"))
		check_invalid_int(c, "ready", number(now, "ready"),
				  "cannot set more ready pods than active");
	if (number(now, "failed") < number(was, "failed"))
		check_invalid_int(c, "failed", number(now, "failed"),
				  "cannot decrease the failed counter");
	if (!scalable && number(now, "succeeded") < number(was, "succeeded"))
		check_invalid_int(c, "succeeded", number(now, "succeeded"),
				  "cannot decrease the succeeded counter");
}

/* ---- indexes ----------------------------------------------------------------------------- */

/* The first index that is in both lists, or -1. What cannot be read is told of elsewhere. */
static int64_t overlap(const char *a, const char *b, int64_t completions)
{
	auto_strv x = {0}, y = {0};
	int64_t from[2], to[2];

	split_all(&x, a, ',');
	split_all(&y, b, ',');
	for (size_t i = 0, k = 0; i < x.n && k < y.n;) {
		if (job_interval(x.v[i], completions, &from[0], &to[0], NULL) < 0)
			i++;
		else if (job_interval(y.v[k], completions, &from[1], &to[1], NULL) < 0)
			k++;
		else if (from[0] <= to[1] && from[1] <= to[0])
			return from[0] > from[1] ? from[0] : from[1];
		else if (from[0] <= from[1])
			i++;
		else
			k++;
	}
	return -1;
}

static void check_index_list(struct check *c, const struct job *now, const char *field)
{
	const char *text = json_str(now->status, field, "");
	auto_err why = {0};
	int64_t n;

	if (job_indexes(text, json_int(now->spec, "completions", 0), &n, &why) < 0)
		check_invalid_str(c, field, text, "error parsing %s: %s", field, err_message(&why));
}

static void check_indexes(struct check *c, const struct job *now, const struct job *was)
{
	static const char good[] = "completedIndexes", bad[] = "failedIndexes";
	const char *completed = json_str(now->status, good, "");
	const char *failed = json_str(now->status, bad, NULL);
	bool good_differs = differs(now, was, good), bad_differs = differs(now, was, bad);
	bool bounded = json_object_get(now->spec, "completions");
	bool by_index = json_object_get(now->spec, "backoffLimitPerIndex");

	if (good_differs && bounded)
		check_index_list(c, now, good);
	if (bad_differs && bounded && by_index && failed)
		check_index_list(c, now, bad);
	if (good_differs && *completed && !is_indexed(now))
		check_invalid_str(c, good, completed,
				  "cannot set non-empty completedIndexes when non-indexed "
				  "completion mode");
	if (bad_differs && failed && !by_index)
		check_invalid_str(c, bad, failed,
				  "cannot set non-null failedIndexes when backoffLimitPerIndex is "
				  "null");
	if ((good_differs || bad_differs) && bounded && failed && *failed && *completed) {
		int64_t at = overlap(completed, failed, json_int(now->spec, "completions", 0));

		if (at >= 0)
			check_invalid_str(c, bad, failed,
					  "failedIndexes and completedIndexes overlap at index: "
					  "%lld",
					  (long long)at);
	}
}

void check_job_status(struct check *c, const json_t *obj, const json_t *old)
{
	struct job now = job_of(obj), was = job_of(old);
	size_t mark;

	if (now.status == was.status ||
	    (now.status && was.status && json_same(now.status, was.status)))
		return; /* written through the Job itself */
	mark = check_enter(c, "status");
	check_uncounted(c, &now);
	check_exclusive(c, &now, &was);
	check_times(c, &now, &was);
	check_finished(c, &now, &was);
	check_indexes(c, &now, &was);
	check_counters(c, &now, &was);
	check_terminal(c, &now, &was);
	check_leave(c, mark);
}
