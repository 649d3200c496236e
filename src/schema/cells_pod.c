/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The row of a pod in `kubectl get pods`: READY, STATUS and RESTARTS follow the state of every
 * container, in the order that Kubernetes' own printer documents.
 */
#include "internal.h"

#define STATUS_MAX 160

struct pod_row {
	const json_t *pod;
	char status[STATUS_MAX];
	int64_t ready, total;
	int64_t restarts, sidecar_restarts;
	const char *last, *sidecar_last; /* newest finishedAt before a restart; RFC 3339 sorts */
	bool initializing;
};

static void set_status(struct pod_row *r, const char *fmt, ...) PRINTF_LIKE(2, 3);
static void set_status(struct pod_row *r, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(r->status, sizeof(r->status), fmt, ap);
	va_end(ap);
}

static const json_t *condition(const json_t *pod, const char *type)
{
	return json_find(json_at(pod, "status.conditions"), "type", type);
}

static bool condition_true(const json_t *pod, const char *type)
{
	return str_eq(json_str(condition(pod, type), "status", NULL), "True");
}

/* A "sidecar": an init container that is restarted always. */
static bool is_sidecar(const json_t *pod, const char *name)
{
	const json_t *c = json_find(json_at(pod, "spec.initContainers"), "name", name);

	return str_eq(json_str(c, "restartPolicy", NULL), "Always");
}

static const char *later(const char *a, const json_t *status)
{
	const char *b = json_str(status, "lastState.terminated.finishedAt", NULL);

	return !a || (b && strcmp(b, a) > 0) ? b : a;
}

/* "Reason", "Signal:9" or "ExitCode:1" behind the prefix. */
static void terminated_status(struct pod_row *r, const json_t *terminated, const char *prefix)
{
	const char *reason = json_str(terminated, "reason", "");
	int64_t signal = json_int(terminated, "signal", 0);

	if (*reason)
		set_status(r, "%s%s", prefix, reason);
	else if (signal)
		set_status(r, "%sSignal:%lld", prefix, (long long)signal);
	else
		set_status(r, "%sExitCode:%lld", prefix,
			   (long long)json_int(terminated, "exitCode", 0));
}

/* Returns false when the walk over the init containers ends at this one. */
static bool init_container(struct pod_row *r, const json_t *s, size_t i)
{
	const json_t *terminated = json_at(s, "state.terminated");
	const char *waiting = json_str(s, "state.waiting.reason", "");
	bool sidecar = is_sidecar(r->pod, json_str(s, "name", ""));

	r->restarts += json_int(s, "restartCount", 0);
	r->last = later(r->last, s);
	if (sidecar) {
		r->sidecar_restarts += json_int(s, "restartCount", 0);
		r->sidecar_last = later(r->sidecar_last, s);
	}
	if (terminated && json_int(terminated, "exitCode", 0) == 0)
		return true;
	if (sidecar && json_bool(s, "started", false)) {
		r->ready += json_bool(s, "ready", false);
		return true;
	}
	r->initializing = true;
	if (terminated)
		terminated_status(r, terminated, "Init:");
	else if (*waiting && !streq(waiting, "PodInitializing"))
		set_status(r, "Init:%s", waiting);
	else
		set_status(r, "Init:%zu/%zu", i, json_len(r->pod, "spec.initContainers"));
	return false;
}

static void init_containers(struct pod_row *r)
{
	json_t *list = json_at(r->pod, "spec.initContainers"), *c;
	json_t *statuses = json_at(r->pod, "status.initContainerStatuses");
	size_t i;

	json_array_foreach(list, i, c)
	{
		if (str_eq(json_str(c, "restartPolicy", NULL), "Always"))
			r->total++;
	}
	json_array_foreach(statuses, i, c)
	{
		if (!init_container(r, c, i))
			break;
	}
}

static void main_containers(struct pod_row *r)
{
	json_t *statuses = json_at(r->pod, "status.containerStatuses");
	bool running = false;

	r->restarts = r->sidecar_restarts;
	r->last = r->sidecar_last;
	/* From last to first: the first container's trouble is what is shown. */
	for (size_t i = json_array_size(statuses); i-- > 0;) {
		const json_t *s = json_array_get(statuses, i);
		const json_t *terminated = json_at(s, "state.terminated");
		const char *waiting = json_str(s, "state.waiting.reason", "");

		r->restarts += json_int(s, "restartCount", 0);
		r->last = later(r->last, s);
		if (*waiting) {
			set_status(r, "%s", waiting);
		} else if (terminated) {
			terminated_status(r, terminated, "");
		} else if (json_bool(s, "ready", false) && json_at(s, "state.running")) {
			running = true;
			r->ready++;
		}
	}
	if (running && streq(r->status, "Completed"))
		set_status(r, "%s", condition_true(r->pod, "Ready") ? "Running" : "NotReady");
}

static void pod_status(struct pod_row *r)
{
	const char *phase = json_str(r->pod, "status.phase", "");
	const char *reason = json_str(r->pod, "status.reason", "");

	set_status(r, "%s", *reason ? reason : phase);
	if (str_eq(json_str(condition(r->pod, "PodScheduled"), "reason", NULL), "SchedulingGated"))
		set_status(r, "SchedulingGated");
	init_containers(r);
	if (!r->initializing || condition_true(r->pod, "Initialized"))
		main_containers(r);
	if (!meta_deleting(r->pod))
		return;
	if (streq(reason, "NodeLost"))
		set_status(r, "Unknown");
	else if (!streq(phase, "Succeeded") && !streq(phase, "Failed"))
		set_status(r, "Terminating");
}

static void readiness_gates(const json_t *pod, json_t *cells)
{
	json_t *gates = json_at(pod, "spec.readinessGates"), *g;
	char text[48] = "<none>";
	size_t i, met = 0;

	json_array_foreach(gates, i, g)
	{
		met += condition_true(pod, json_str(g, "conditionType", ""));
	}
	if (json_array_size(gates))
		snprintf(text, sizeof(text), "%zu/%zu", met, json_array_size(gates));
	cell_str(cells, text, "");
}

void pod_cells(const json_t *obj, time_t now, json_t *cells)
{
	struct pod_row r = {.pod = obj, .total = (int64_t)json_len(obj, "spec.containers")};
	json_t *ips = json_at(obj, "status.podIPs");
	char text[64], age[24];

	pod_status(&r);
	cell_str(cells, meta_name(obj), "");
	snprintf(text, sizeof(text), "%lld/%lld", (long long)r.ready, (long long)r.total);
	cell_str(cells, text, "");
	cell_str(cells, r.status, "");
	snprintf(text, sizeof(text), "%lld", (long long)r.restarts);
	if (r.restarts && r.last)
		snprintf(text, sizeof(text), "%lld (%s ago)", (long long)r.restarts,
			 age_text(age, r.last, now));
	cell_str(cells, text, "");
	cell_age(cells, json_str(obj, "metadata.creationTimestamp", NULL), now);
	cell_str(cells, json_str(json_array_get(ips, 0), "ip", json_str(obj, "status.podIP", NULL)),
		 "<none>");
	cell_str(cells, json_str(obj, "spec.nodeName", NULL), "<none>");
	cell_str(cells, json_str(obj, "status.nominatedNodeName", NULL), "<none>");
	readiness_gates(obj, cells);
}
