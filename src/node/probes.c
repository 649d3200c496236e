/* SPDX-License-Identifier: Apache-2.0 */
/* probes: startup, liveness and readiness of a container: what each verdict means for it. */
#include "internal.h"

struct prober {
	struct ctr *c;
	enum ctr_probe which;
	struct probe *probe;
	struct run *run;  /* the exec check that is under way */
	int64_t grace;	  /* terminationGracePeriodSeconds of the probe, -1: the pod's */
	struct spec keep; /* strings of the configuration */
};

static const struct {
	const char *field, *title, *word;
} kinds[CTR_PROBE_COUNT] = {
	[CTR_PROBE_STARTUP] = {"startupProbe", "Startup", "startup"},
	[CTR_PROBE_LIVENESS] = {"livenessProbe", "Liveness", "liveness"},
	[CTR_PROBE_READINESS] = {"readinessProbe", "Readiness", "readiness"},
};

/* ---- verdicts --------------------------------------------------------------------------- */

static void prober_free(void *arg)
{
	struct prober *pr = arg;

	spec_done(&pr->keep);
	free(pr);
}

static void stop_one(struct ctr *c, enum ctr_probe which)
{
	struct prober *pr = steal_ptr(c->probers[which]);

	if (!pr)
		return;
	run_cancel(steal_ptr(pr->run));
	probe_stop(pr->probe);
	loop_free_later(c->pod->node->loop, prober_free, pr);
}

static void pause_gated(struct ctr *c, bool pause)
{
	for (int i = 0; i < CTR_PROBE_COUNT; i++)
		if (i != CTR_PROBE_STARTUP && c->probers[i])
			probe_pause(c->probers[i]->probe, pause);
}

static void kill_unhealthy(struct prober *pr)
{
	struct ctr *c = pr->c;
	const char *policy = json_str(pod_json(c->pod), "spec.restartPolicy", "Always");
	int64_t grace = pr->grace >= 0 ? pr->grace : pod_grace_seconds(c->pod);

	ctr_stop(c, (uint64_t)grace * USEC_PER_SEC, "Container %s failed %s probe%s", c->facts.name,
		 kinds[pr->which].word, streq(policy, "Never") ? "" : ", will be restarted");
}

static void on_verdict(void *arg, bool ok, const char *why UNUSED)
{
	struct prober *pr = arg;
	struct ctr *c = pr->c;

	switch (pr->which) {
	case CTR_PROBE_STARTUP:
		if (!ok) {
			kill_unhealthy(pr);
			break;
		}
		c->facts.started = true;
		pause_gated(c, false);
		stop_one(c, CTR_PROBE_STARTUP);
		break;
	case CTR_PROBE_LIVENESS:
		if (!ok)
			kill_unhealthy(pr);
		break;
	case CTR_PROBE_READINESS:
	case CTR_PROBE_COUNT:
		break;
	}
	pod_kick(c->pod);
}

static void on_failure(void *arg, const char *why)
{
	struct prober *pr = arg;

	ctr_event(pr->c, "Warning", "Unhealthy", "%s probe failed: %s", kinds[pr->which].title,
		  why);
}

static void on_warning(void *arg, const char *why)
{
	struct prober *pr = arg;

	ctr_event(pr->c, "Warning", "ProbeWarning", "%s probe warning: %s", kinds[pr->which].title,
		  why);
}

static void on_exec_done(void *arg, int code, bool timed_out, const char *output)
{
	struct prober *pr = arg;

	pr->run = NULL;
	probe_exec_done(pr->probe, code, timed_out, output);
}

static void run_exec(void *arg, struct probe *p UNUSED, const char *const *argv, uint32_t timeout)
{
	struct prober *pr = arg;

	pr->run = run_start(pr->c, argv, timeout * USEC_PER_SEC, on_exec_done, pr);
}

static void cancel_exec(void *arg, struct probe *p UNUSED)
{
	struct prober *pr = arg;

	run_cancel(steal_ptr(pr->run));
}

static const struct probe_ops ops = {on_verdict, on_failure, on_warning, run_exec, cancel_exec};

/* ---- start and stop --------------------------------------------------------------------- */

static bool first_verdict(const struct ctr *c, enum ctr_probe which)
{
	switch (which) {
	case CTR_PROBE_LIVENESS:
		return true;
	case CTR_PROBE_READINESS:
		return c->restored_ready;
	case CTR_PROBE_STARTUP:
	case CTR_PROBE_COUNT:
		break;
	}
	return false;
}

static void start_one(struct ctr *c, enum ctr_probe which)
{
	const json_t *spec = json_object_get(ctr_spec(c), kinds[which].field);
	struct probe_config config = {
		.initial_delay = (uint32_t)json_int(spec, "initialDelaySeconds", 0),
		.period = (uint32_t)json_int(spec, "periodSeconds", 10),
		.timeout = (uint32_t)json_int(spec, "timeoutSeconds", 1),
		.success_threshold = (uint32_t)json_int(spec, "successThreshold", 1),
		.failure_threshold = (uint32_t)json_int(spec, "failureThreshold", 3),
		.initially_ok = first_verdict(c, which),
	};
	struct prober *pr;

	if (!spec || (which == CTR_PROBE_STARTUP && c->facts.started))
		return;
	pr = xnew(struct prober);
	pr->c = c;
	pr->which = which;
	pr->grace = json_int(spec, "terminationGracePeriodSeconds", -1);
	if (probe_target(c, spec, &config, &pr->keep) < 0) {
		ctr_event(c, "Warning", "Unhealthy", "%s probe errored: invalid target",
			  kinds[which].title);
		prober_free(pr);
		return;
	}
	pr->probe = probe_start(c->pod->node->loop, &config, c->started, &ops, pr);
	c->probers[which] = pr;
}

void ctr_probes_start(struct ctr *c)
{
	if (c->facts.role == CTR_INIT)
		return;
	for (int i = 0; i < CTR_PROBE_COUNT; i++)
		start_one(c, (enum ctr_probe)i);
	pause_gated(c, c->probers[CTR_PROBE_STARTUP] != NULL);
	c->restored_ready = false;
}

void ctr_probes_stop(struct ctr *c)
{
	for (int i = 0; i < CTR_PROBE_COUNT; i++)
		stop_one(c, (enum ctr_probe)i);
}

void ctr_probes_terminating(struct ctr *c)
{
	stop_one(c, CTR_PROBE_STARTUP);
	stop_one(c, CTR_PROBE_LIVENESS);
}

bool ctr_probe_ready(const struct ctr *c)
{
	const struct prober *pr = c->probers[CTR_PROBE_READINESS];

	return pr ? probe_ok(pr->probe) : !json_at(ctr_spec(c), "readinessProbe");
}
