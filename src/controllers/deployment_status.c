/* SPDX-License-Identifier: Apache-2.0 */
/* Deployment: counts, and the conditions Available, Progressing and ReplicaFailure. */
#include "deployment.h"

void rollout_condition(struct rollout *ro, const char *type, const char *value, const char *reason,
		       const char *message)
{
	time_t now = wall_now();

	if (condition_set(ro->status, type, value, reason, message, now))
		json_put_time(condition_find(ro->status, type), "lastUpdateTime", now);
}

static void put_count(json_t *status, const char *name, int64_t n)
{
	if (n)
		json_put_int(status, name, n);
	else
		json_drop(status, name);
}

static int64_t count(const json_t *status, const char *name)
{
	return json_int(status, name, 0);
}

static int64_t sum(const struct rollout *ro, const char *path)
{
	int64_t n = 0;

	for (size_t i = 0; i < ro->n; i++)
		n += json_int(object_json(ro->rs[i]), path, 0);
	return n;
}

static void compute_counts(struct rollout *ro)
{
	int64_t available = sum(ro, "status.availableReplicas");
	int64_t missing = rollout_total(ro) - available;

	put_count(ro->status, "replicas", sum(ro, "status.replicas"));
	put_count(ro->status, "updatedReplicas",
		  ro->new_rs ? json_int(object_json(ro->new_rs), "status.replicas", 0) : 0);
	put_count(ro->status, "readyReplicas", sum(ro, "status.readyReplicas"));
	put_count(ro->status, "availableReplicas", available);
	put_count(ro->status, "unavailableReplicas", missing > 0 ? missing : 0);
	json_put_int(ro->status, "observedGeneration",
		     json_int(rollout_json(ro), "metadata.generation", 0));
	if (available >= rollout_replicas(ro) - rollout_max_unavailable(ro))
		rollout_condition(ro, "Available", "True", "MinimumReplicasAvailable",
				  "Deployment has minimum availability.");
	else
		rollout_condition(ro, "Available", "False", "MinimumReplicasUnavailable",
				  "Deployment does not have minimum availability.");
}

bool rollout_complete(const struct rollout *ro, const json_t *status)
{
	int64_t want = rollout_replicas(ro);

	return count(status, "updatedReplicas") == want && count(status, "replicas") == want &&
	       count(status, "availableReplicas") == want &&
	       count(status, "observedGeneration") >=
		       json_int(rollout_json(ro), "metadata.generation", 0);
}

static bool has_progressed(const struct rollout *ro)
{
	const json_t *was = json_at(rollout_json(ro), "status"), *is = ro->status;

	return count(is, "updatedReplicas") > count(was, "updatedReplicas") ||
	       count(is, "replicas") - count(is, "updatedReplicas") <
		       count(was, "replicas") - count(was, "updatedReplicas") ||
	       count(is, "readyReplicas") > count(was, "readyReplicas") ||
	       count(is, "availableReplicas") > count(was, "availableReplicas");
}

/* Seconds left until the progress deadline; <= 0: it has passed. */
static int64_t seconds_left(const struct rollout *ro, int64_t deadline)
{
	struct timespec since;
	time_t now = wall_now();

	if (time_parse(json_str(condition_find(ro->status, "Progressing"), "lastUpdateTime", ""),
		       &since) < 0)
		return deadline;
	if (since.tv_sec > now) /* the clock was set back: count from here */
		return deadline;
	return since.tv_sec + deadline - now;
}

static void progress_step(struct rollout *ro, int64_t deadline)
{
	json_t *cond = condition_find(ro->status, "Progressing");
	const char *reason = json_str(cond, "reason", "");
	const char *name = ro->new_rs ? ro->new_rs->name : ro->d->name;
	const char *what = ro->new_rs ? "ReplicaSet" : "Deployment";
	auto_free char *message = NULL;

	if (rollout_complete(ro, ro->status)) {
		message = xasprintf("%s \"%s\" has successfully progressed.", what, name);
		rollout_condition(ro, "Progressing", "True", "NewReplicaSetAvailable", message);
	} else if (has_progressed(ro)) {
		message = xasprintf("%s \"%s\" is progressing.", what, name);
		rollout_condition(ro, "Progressing", "True", "ReplicaSetUpdated", message);
		json_put_time(condition_find(ro->status, "Progressing"), "lastUpdateTime",
			      wall_now());
	} else if (cond && !streq(reason, "NewReplicaSetAvailable") &&
		   seconds_left(ro, deadline) <= 0) {
		message = xasprintf("%s \"%s\" has timed out progressing.", what, name);
		rollout_condition(ro, "Progressing", "False", "ProgressDeadlineExceeded", message);
	}
}

/* Comes back when the deadline may have passed. */
static void watch_deadline(struct rollout *ro, int64_t deadline)
{
	const char *reason = json_str(condition_find(ro->status, "Progressing"), "reason", "");
	int64_t left;

	if (rollout_complete(ro, ro->status) || streq(reason, "ProgressDeadlineExceeded") ||
	    streq(reason, "NewReplicaSetAvailable") || !*reason)
		return;
	left = seconds_left(ro, deadline);
	controller_dirty_after(ro->c, ro->d->ns, ro->d->name,
			       (uint64_t)(left < 0 ? 0 : left + 1) * USEC_PER_SEC);
}

static void progress(struct rollout *ro)
{
	int64_t deadline = json_int(rollout_json(ro), "spec.progressDeadlineSeconds", 0);
	const char *reason = json_str(condition_find(ro->status, "Progressing"), "reason", "");
	bool was_complete = count(ro->status, "replicas") == count(ro->status, "updatedReplicas") &&
			    streq(reason, "NewReplicaSetAvailable");

	if (!deadline || deadline == INT32_MAX) {
		condition_remove(ro->status, "Progressing");
		return;
	}
	if (!was_complete)
		progress_step(ro, deadline);
	watch_deadline(ro, deadline);
}

static void replica_failure(struct rollout *ro)
{
	json_t *cond = NULL;

	for (size_t i = 0; i < ro->n && !cond; i++)
		cond = condition_find(json_at(object_json(ro->rs[i]), "status"), "ReplicaFailure");
	if (cond)
		rollout_condition(ro, "ReplicaFailure", json_str(cond, "status", "True"),
				  json_str(cond, "reason", ""), json_str(cond, "message", ""));
	else
		condition_remove(ro->status, "ReplicaFailure");
}

int rollout_sync_status(struct rollout *ro, bool with_progress, struct err *err)
{
	compute_counts(ro);
	if (with_progress)
		progress(ro);
	replica_failure(ro);
	return registry_set_status(ro->c->registry, &kind_deployment, ro->d->ns, ro->d->name,
				   ro->d->uid, json_incref(ro->status), STORE_VOLATILE, err);
}
