/* SPDX-License-Identifier: Apache-2.0 */
/* terminate: how pods end: grace periods, deadlines, clean-up, removal of the object. */
#include "internal.h"

#define DRAIN_US (100 * USEC_PER_MSEC)

int64_t pod_grace_seconds(const struct pod *p)
{
	const json_t *pod = pod_json(p);
	int64_t own = json_int(pod, "spec.terminationGracePeriodSeconds", 30);
	int64_t grace = json_int(pod, "metadata.deletionGracePeriodSeconds", own);

	if (p->removed && grace > 1)
		return 1; /* deleted by force: a last second to close files */
	return grace < 1 ? 1 : grace;
}

bool pod_check_deadline(struct pod *p)
{
	int64_t seconds = json_int(pod_json(p), "spec.activeDeadlineSeconds", 0);
	uint64_t age = mono_sub(loop_now(p->node->loop), p->started);

	if (seconds <= 0 || p->failed)
		return p->failed;
	if (age < (uint64_t)seconds * USEC_PER_SEC) {
		pod_wake_in(p, (uint64_t)seconds * USEC_PER_SEC - age);
		return false;
	}
	p->failed = true;
	p->reason = "DeadlineExceeded";
	p->message = xstrdup("Pod was active on the node longer than the specified deadline");
	pod_event(p, "Normal", "DeadlineExceeded", "%s", p->message);
	return true;
}

/* ---- STOPPING --------------------------------------------------------------------------- */

/* The grace period counts from now on, and can only become shorter later. */
static uint64_t grace_left(struct pod *p)
{
	mono_t now = loop_now(p->node->loop);
	int64_t grace = pod_grace_seconds(p);
	mono_t by = mono_add(now, (uint64_t)grace * USEC_PER_SEC);

	if (p->stop_by.us == 0 || (grace < p->grace && mono_before(by, p->stop_by))) {
		p->stop_by = by;
		p->grace = grace;
	}
	return mono_sub(p->stop_by, now);
}

static void stop_one(struct ctr *c, uint64_t left)
{
	ctr_probes_terminating(c);
	ctr_stop(c, left, "Stopping container %s", c->facts.name);
	ctr_stop_step(c);
}

/* A start that has not come back by the end of the grace period ends with the sandbox. */
static bool given_up(const struct ctr *c, uint64_t left)
{
	return c->state == CTR_STARTING && !left;
}

/* Stops what is not a sidecar; how many of them still run. */
static size_t stop_mains(struct pod *p, uint64_t left)
{
	size_t alive = 0;

	for (size_t i = 0; i < p->n_ctrs; i++) {
		struct ctr *c = p->ctrs[i];
		if (!ctr_alive(c)) {
			ctr_pull_cancel(c);
			continue;
		}
		if (c->facts.role == CTR_SIDECAR || given_up(c, left))
			continue;
		stop_one(c, left);
		alive += ctr_alive(c);
	}
	return alive;
}

/* Sidecars end one by one, the last one first. */
static size_t stop_sidecars(struct pod *p, uint64_t left)
{
	for (size_t i = p->n_ctrs; i-- > 0;) {
		struct ctr *c = p->ctrs[i];
		if (!ctr_alive(c) || given_up(c, left))
			continue;
		stop_one(c, left);
		return ctr_alive(c);
	}
	return 0;
}

static bool is_ready(const struct pod *p)
{
	const json_t *c = json_find(json_at(pod_json(p), "status.conditions"), "type", "Ready");

	return streq(json_str(c, "status", ""), "True");
}

/*
 * A ready pod gets connections until the Service has been told that it goes. It is asked to end
 * only after that, and after a moment in which it can accept what has reached it: no client of a
 * rolling update sees a refused or cut connection. The moment counts towards the grace period.
 */
static bool draining(struct pod *p)
{
	mono_t now = loop_now(p->node->loop);

	if (!p->drain_until.us)
		p->drain_until = p->removed || p->sandbox_lost || !is_ready(p)
					 ? now
					 : mono_add(now, DRAIN_US);
	if (!mono_before(now, p->drain_until))
		return false;
	pod_wake_in(p, mono_sub(p->drain_until, now));
	return true;
}

void pod_step_stopping(struct pod *p)
{
	uint64_t left = grace_left(p);

	if (left && draining(p))
		return;
	if (!p->sandbox_lost && (stop_mains(p, left) || stop_sidecars(p, left)))
		return;
	pod_set_state(p, POD_CLEANUP);
}

/* ---- CLEANUP ---------------------------------------------------------------------------- */

static void start_over(struct pod *p)
{
	for (size_t i = 0; i < p->n_ctrs; i++)
		ctr_reset(p->ctrs[i]);
	p->sandbox_lost = false;
	p->stop_sent = false;
	p->drain_until = (mono_t){0};
	pod_set_state(p, POD_NEW);
}

void pod_step_cleanup(struct pod *p)
{
	for (size_t i = 0; i < p->n_ctrs; i++)
		ctr_abort_jobs(p->ctrs[i]);
	if (p->sandbox) {
		if (!p->stop_sent)
			sandbox_stop(p->sandbox);
		p->stop_sent = true;
		return;
	}
	if (p->sandbox_ready)
		node_pods_changed(p->node);
	p->sandbox_ready = false;
	pod_release_address(p);
	switch (pod_goal(p)) {
	case GOAL_RUN:
		start_over(p);
		break;
	case GOAL_END:
		volumes_release(p);
		pod_set_state(p, POD_ENDED);
		break;
	case GOAL_DELETE:
	case GOAL_SHUTDOWN:
		volumes_release(p);
		pod_set_state(p, POD_GONE);
		break;
	}
}

/* ---- ENDED, GONE ------------------------------------------------------------------------ */

void pod_step_ended(struct pod *p)
{
	if (pod_goal(p) == GOAL_DELETE || p->node->stopping)
		pod_set_state(p, POD_GONE);
}

static void remove_files(struct pod *p)
{
	auto_free char *run = pod_run_path(p, ""), *state = pod_state_path(p, "");
	auto_free char *logs = pod_log_dir(p);

	trash_put(p->node, run);
	trash_put(p->node, state);
	trash_put(p->node, logs);
}

static void delete_object(struct pod *p)
{
	struct write_options o = {.grace_seconds = 0, .precondition_uid = p->uid};
	const struct object *left;
	auto_err err = {0};
	bool gone;

	pod_write_status(p);
	p->delete_sent = true;
	if (registry_delete(p->node->parts.registry, &kind_pod, p->ns, p->name, &o, &left, &gone,
			    &err) == 0 ||
	    err.reason == ERR_NOT_FOUND || err.reason == ERR_CONFLICT)
		return;
	log_warn("pod %s/%s: delete: %s", p->ns, p->name, err_message(&err));
	p->delete_sent = false;
	pod_wake_in(p, 5 * USEC_PER_SEC);
}

void pod_step_gone(struct pod *p)
{
	if (p->removed)
		remove_files(p);
	else if (pod_goal(p) == GOAL_DELETE && !p->delete_sent)
		delete_object(p);
}
