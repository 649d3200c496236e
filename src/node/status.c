/* SPDX-License-Identifier: Apache-2.0 */
/* status: pod and container facts to Kubernetes' status JSON. */
#include "status.h"

#include <coracle/schema.h>

const char *ctr_role_list(enum ctr_role role)
{
	switch (role) {
	case CTR_INIT:
	case CTR_SIDECAR:
		return "initContainers";
	case CTR_MAIN:
		return "containers";
	case CTR_DEBUG:
		break;
	}
	return "ephemeralContainers";
}

static const char *statuses_of(enum ctr_role role)
{
	switch (role) {
	case CTR_INIT:
	case CTR_SIDECAR:
		return "initContainerStatuses";
	case CTR_MAIN:
		return "containerStatuses";
	case CTR_DEBUG:
		break;
	}
	return "ephemeralContainerStatuses";
}

void ctr_end_done(struct ctr_end *e)
{
	free(e->id);
	free(e->reason);
	free(e->message);
	*e = (struct ctr_end){0};
}

void ctr_facts_done(struct ctr_facts *f)
{
	free(f->name);
	free(f->wait_message);
	free(f->id);
	free(f->image_id);
	ctr_end_done(&f->end);
	ctr_end_done(&f->last);
}

/* ---- quality of service ----------------------------------------------------------------- */

/* Adds what one container asks for to the sums of qos: whether anything is set, and whether cpu and
 * memory are both limited with requests equal to limits. */
static void qos_container(const json_t *c, bool *any, bool *guaranteed)
{
	static const char *const names[] = {"cpu", "memory"};

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		const json_t *req = json_object_get(json_at(c, "resources.requests"), names[i]);
		const json_t *lim = json_object_get(json_at(c, "resources.limits"), names[i]);
		int64_t r = 0, l = 0;
		if (req && quantity_parse_milli(json_string_value(req), &r) < 0)
			r = 0;
		if (lim && quantity_parse_milli(json_string_value(lim), &l) < 0)
			l = 0;
		if (r > 0 || l > 0)
			*any = true;
		if (l <= 0 || (req && r != l))
			*guaranteed = false;
	}
}

const char *status_qos(const json_t *pod)
{
	static const char *const lists[] = {"spec.initContainers", "spec.containers"};
	bool any = false, guaranteed = true;

	for (size_t l = 0; l < ARRAY_SIZE(lists); l++) {
		size_t i;
		json_t *c;
		json_array_foreach(json_at(pod, lists[l]), i, c)
			qos_container(c, &any, &guaranteed);
	}
	if (!any)
		return "BestEffort";
	return guaranteed ? "Guaranteed" : "Burstable";
}

/* ---- phase ------------------------------------------------------------------------------ */

struct tally {
	unsigned init_pending, init_failed;
	unsigned running, waiting, stopped, succeeded;
};

/* Of a container that waits: how it ended before. */
static const struct ctr_end *latest_end(const struct ctr_facts *c)
{
	return c->end.id ? &c->end : c->last.id ? &c->last : NULL;
}

static void tally_init(struct tally *t, const struct ctr_facts *c)
{
	switch (c->view) {
	case VIEW_RUNNING:
		t->init_pending++;
		break;
	case VIEW_TERMINATED:
		t->init_failed += c->end.code != 0;
		break;
	case VIEW_WAITING:
		if (latest_end(c) && latest_end(c)->code != 0)
			t->init_failed++;
		t->init_pending++;
		break;
	}
}

static void tally_main(struct tally *t, const struct ctr_facts *c)
{
	switch (c->view) {
	case VIEW_RUNNING:
		t->running++;
		break;
	case VIEW_TERMINATED:
		t->stopped++;
		t->succeeded += c->end.code == 0;
		break;
	case VIEW_WAITING:
		if (latest_end(c))
			t->stopped++;
		else
			t->waiting++;
		break;
	}
}

static struct tally tally_all(const struct pod_facts *f)
{
	struct tally t = {0};

	for (size_t i = 0; i < f->n_ctrs; i++) {
		const struct ctr_facts *c = f->ctrs[i];
		switch (c->role) {
		case CTR_INIT:
			tally_init(&t, c);
			break;
		case CTR_SIDECAR:
			if (!c->started && !(f->terminal || c->end.id))
				t.init_pending++;
			/* The pod has not ended before its sidecars have. */
			t.running += c->view == VIEW_RUNNING;
			break;
		case CTR_MAIN:
			tally_main(&t, c);
			break;
		case CTR_DEBUG:
			break;
		}
	}
	return t;
}

const char *status_phase(const struct pod_facts *f)
{
	const char *policy = json_str(f->pod, "spec.restartPolicy", "Always");
	struct tally t = tally_all(f);
	bool never = streq(policy, "Never");

	if (f->failed)
		return "Failed";
	if (t.init_failed && (never || f->terminal))
		return "Failed";
	if (t.init_pending || t.waiting)
		return "Pending";
	if (t.running)
		return "Running";
	if (!t.stopped)
		return "Pending";
	if (f->terminal || !streq(policy, "Always")) {
		if (t.stopped == t.succeeded)
			return "Succeeded";
		return never || f->terminal ? "Failed" : "Running";
	}
	return "Running";
}

bool status_initialized(const struct pod_facts *f)
{
	for (size_t i = 0; i < f->n_ctrs; i++) {
		const struct ctr_facts *c = f->ctrs[i];
		switch (c->role) {
		case CTR_INIT:
			if (c->view != VIEW_TERMINATED || c->end.code != 0)
				return false;
			break;
		case CTR_SIDECAR:
			if (!c->started && !c->end.id)
				return false;
			break;
		case CTR_MAIN:
		case CTR_DEBUG:
			break;
		}
	}
	return true;
}

/* ---- container statuses ----------------------------------------------------------------- */

static void put_ts(json_t *o, const char *key, struct timespec ts)
{
	if (ts.tv_sec == 0 && ts.tv_nsec == 0)
		json_object_set_new(o, key, json_null());
	else
		json_put_time(o, key, ts.tv_sec);
}

static char *full_id(const struct pod_facts *f, const char *id)
{
	return xasprintf("%s://%s", f->runtime, id);
}

static json_t *end_json(const struct pod_facts *f, const struct ctr_end *e)
{
	json_t *o = json_object();
	auto_free char *id = full_id(f, e->id);

	json_put_int(o, "exitCode", e->code);
	if (e->signo)
		json_put_int(o, "signal", e->signo);
	json_put_str(o, "reason", e->reason ? e->reason : e->code ? "Error" : "Completed");
	if (!str_empty(e->message))
		json_put_str(o, "message", e->message);
	put_ts(o, "startedAt", e->started);
	put_ts(o, "finishedAt", e->finished);
	if (*e->id)
		json_put_str(o, "containerID", id);
	return json_pack("{s:o}", "terminated", o);
}

static json_t *state_json(const struct pod_facts *f, const struct ctr_facts *c)
{
	json_t *o = json_object();

	switch (c->view) {
	case VIEW_RUNNING:
		put_ts(o, "startedAt", c->started_at);
		return json_pack("{s:o}", "running", o);
	case VIEW_TERMINATED:
		json_decref(o);
		return end_json(f, &c->end);
	case VIEW_WAITING:
		break;
	}
	if (c->wait_reason)
		json_put_str(o, "reason", c->wait_reason);
	if (!str_empty(c->wait_message))
		json_put_str(o, "message", c->wait_message);
	return json_pack("{s:o}", "waiting", o);
}

static json_t *last_json(const struct pod_facts *f, const struct ctr_facts *c)
{
	if (c->view == VIEW_WAITING && c->end.id)
		return end_json(f, &c->end);
	return c->last.id ? end_json(f, &c->last) : json_object();
}

static json_t *container_json(const struct pod_facts *f, const struct ctr_facts *c,
			      const json_t *spec)
{
	json_t *o = json_object();

	json_put_str(o, "name", c->name);
	json_object_set_new(o, "state", state_json(f, c));
	json_object_set_new(o, "lastState", last_json(f, c));
	json_put_bool(o, "ready", c->ready);
	json_put_int(o, "restartCount", c->restarts);
	json_put_str(o, "image", json_str(spec, "image", ""));
	json_put_str(o, "imageID", c->image_id ? c->image_id : "");
	if (c->id && *c->id) {
		auto_free char *id = full_id(f, c->id);
		json_put_str(o, "containerID", id);
	}
	json_put_bool(o, "started", c->started);
	return o;
}

static void put_containers(json_t *status, const struct pod_facts *f)
{
	for (size_t i = 0; i < f->n_ctrs; i++) {
		const struct ctr_facts *c = f->ctrs[i];
		const json_t *list =
			json_object_get(json_object_get(f->pod, "spec"), ctr_role_list(c->role));

		json_array_append_new(json_arr(status, statuses_of(c->role)),
				      container_json(f, c, json_find(list, "name", c->name)));
	}
}

const json_t *status_entry(const json_t *pod, enum ctr_role role, const char *name)
{
	return json_find(json_object_get(json_object_get(pod, "status"), statuses_of(role)), "name",
			 name);
}

static struct timespec read_ts(const json_t *o, const char *path)
{
	struct timespec ts;

	if (time_parse(json_str(o, path, ""), &ts) < 0)
		return (struct timespec){0};
	return ts;
}

static void restore_end(struct ctr_end *e, const json_t *o)
{
	const char *id = json_str(o, "containerID", "");
	const char *sep = strstr(id, "://");

	ctr_end_done(e);
	e->id = xstrdup(sep ? sep + 3 : id);
	e->code = (int)json_int(o, "exitCode", 0);
	e->signo = (int)json_int(o, "signal", 0);
	e->reason = xstrdup(json_str(o, "reason", "Error"));
	e->message = xstrdup_null(json_str(o, "message", NULL));
	e->started = read_ts(o, "startedAt");
	e->finished = read_ts(o, "finishedAt");
}

void status_restore(struct ctr_facts *f, const json_t *entry)
{
	const json_t *now = json_at(entry, "state.terminated");
	const json_t *last = json_at(entry, "lastState.terminated");

	f->restarts = (unsigned)json_int(entry, "restartCount", 0);
	if (now)
		restore_end(&f->end, now);
	if (last && json_at(entry, "state.waiting"))
		restore_end(&f->end, last);
	else if (last)
		restore_end(&f->last, last);
}

/* ---- conditions ------------------------------------------------------------------------- */

static void condition_put(json_t *list, const struct pod_facts *f, const char *type, bool ok,
			  const char *reason, const char *message)
{
	const json_t *old = json_find(json_at(f->pod, "status.conditions"), "type", type);
	const char *status = ok ? "True" : "False";
	const char *since = json_str(old, "lastTransitionTime", NULL);
	json_t *c = json_pack("{s:s, s:s, s:n}", "type", type, "status", status, "lastProbeTime");

	if (since && streq(json_str(old, "status", ""), status))
		json_put_str(c, "lastTransitionTime", since);
	else
		json_put_time(c, "lastTransitionTime", f->now);
	if (reason)
		json_put_str(c, "reason", reason);
	if (message)
		json_put_str(c, "message", message);
	json_array_append_new(list, c);
}

static bool role_in(const struct ctr_facts *c, bool init)
{
	if (c->role == CTR_DEBUG)
		return false;
	return init ? c->role != CTR_MAIN : c->role != CTR_INIT;
}

static bool init_open(const struct ctr_facts *c)
{
	if (c->role == CTR_SIDECAR)
		return !c->started && !c->end.id;
	return c->view != VIEW_TERMINATED || c->end.code != 0;
}

/* "containers with unready status: [a b]"; NULL when all are fine. Caller frees. */
static char *open_list(const struct pod_facts *f, bool init)
{
	auto_strbuf b = {0};

	for (size_t i = 0; i < f->n_ctrs; i++) {
		const struct ctr_facts *c = f->ctrs[i];
		if (!role_in(c, init) || (init ? !init_open(c) : c->ready))
			continue;
		strbuf_addf(&b, "%s%s", b.len ? " " : "", c->name);
	}
	if (!b.len)
		return NULL;
	return xasprintf("containers with %s status: [%s]", init ? "incomplete" : "unready", b.s);
}

struct verdict {
	bool ok;
	const char *reason; /* static */
	char *message;
};

static struct verdict containers_ready(const struct pod_facts *f, const char *phase)
{
	struct verdict v = {0};

	if (streq(phase, "Succeeded")) {
		v.reason = "PodCompleted";
		return v;
	}
	if (streq(phase, "Failed")) {
		v.reason = "PodFailed";
		return v;
	}
	v.message = open_list(f, false);
	if (v.message)
		v.reason = "ContainersNotReady";
	v.ok = !v.message;
	return v;
}

/* spec.readinessGates: every named condition must be True. */
static struct verdict gates_ready(const struct pod_facts *f)
{
	auto_strbuf b = {0};
	size_t i;
	json_t *gate;

	json_array_foreach(json_at(f->pod, "spec.readinessGates"), i, gate)
	{
		const char *type = json_str(gate, "conditionType", "");
		const json_t *c = json_find(json_at(f->pod, "status.conditions"), "type", type);
		const char *status = json_str(c, "status", "");
		if (!c)
			strbuf_addf(&b,
				    "%scorresponding condition of pod readiness gate \"%s\" does "
				    "not exist.",
				    b.len ? ", " : "", type);
		else if (!streq(status, "True"))
			strbuf_addf(&b,
				    "%sthe status of pod readiness gate \"%s\" is not \"True\", "
				    "but %s",
				    b.len ? ", " : "", type, status);
	}
	if (!b.len)
		return (struct verdict){.ok = true};
	return (struct verdict){.reason = "ReadinessGatesNotReady", .message = strbuf_steal(&b)};
}

static const char *const own_conditions[] = {"PodReadyToStartContainers", "Initialized", "Ready",
					     "ContainersReady", "PodScheduled"};

static bool is_own(const char *type)
{
	for (size_t i = 0; i < ARRAY_SIZE(own_conditions); i++)
		if (streq(type, own_conditions[i]))
			return true;
	return false;
}

static void put_initialized(json_t *list, const struct pod_facts *f, const char *phase)
{
	bool completed = streq(phase, "Succeeded");
	auto_free char *open = open_list(f, true);

	condition_put(list, f, "Initialized", completed || !open,
		      completed ? "PodCompleted"
		      : open	? "ContainersNotInitialized"
				: NULL,
		      completed ? NULL : open);
}

static json_t *conditions_json(const struct pod_facts *f, const char *phase)
{
	json_t *list = json_array(), *old;
	struct verdict all = containers_ready(f, phase);
	struct verdict gates = gates_ready(f);
	const struct verdict *ready = all.ok ? &gates : &all;
	size_t i;

	condition_put(list, f, "PodReadyToStartContainers", f->sandbox_ready, NULL, NULL);
	put_initialized(list, f, phase);
	condition_put(list, f, "Ready", ready->ok, ready->reason, ready->message);
	condition_put(list, f, "ContainersReady", all.ok, all.reason, all.message);
	condition_put(list, f, "PodScheduled", true, NULL, NULL);
	json_array_foreach(json_at(f->pod, "status.conditions"), i,
			   old) if (!is_own(json_str(old, "type", "")))
		json_array_append_new(list, json_deep_copy(old));
	free(all.message);
	free(gates.message);
	return list;
}

/* ---- the whole -------------------------------------------------------------------------- */

static void put_ips(json_t *status, const char *one, const char *many, const char *ip)
{
	if (str_empty(ip))
		return;
	json_put_str(status, one, ip);
	json_object_set_new(status, many, json_pack("[{s:s}]", "ip", ip));
}

json_t *status_make(const struct pod_facts *f)
{
	json_t *status = json_object();
	const char *phase = status_phase(f);
	const char *nominated = json_str(f->pod, "status.nominatedNodeName", NULL);

	json_put_str(status, "phase", phase);
	json_object_set_new(status, "conditions", conditions_json(f, phase));
	if (f->message)
		json_put_str(status, "message", f->message);
	if (f->reason)
		json_put_str(status, "reason", f->reason);
	if (nominated)
		json_put_str(status, "nominatedNodeName", nominated);
	put_ips(status, "hostIP", "hostIPs", f->host_ip);
	put_ips(status, "podIP", "podIPs", f->pod_ip);
	if (f->start_time)
		json_put_time(status, "startTime", f->start_time);
	put_containers(status, f);
	json_put_str(status, "qosClass", status_qos(f->pod));
	return status;
}
