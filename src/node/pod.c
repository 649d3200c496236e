/* SPDX-License-Identifier: Apache-2.0 */
/* pod: the pod state machine. Its table is at the end of this file. */
#include "internal.h"
#include "files.h"

#include <arpa/inet.h>

#define TOKEN_RETRY_US (10 * USEC_PER_SEC)
/* So many bytes of text, its own and of what it refers to, are looked at without a task. */
#define LARGE (32U << 10)

/* ---- small questions -------------------------------------------------------------------- */

const json_t *pod_json(const struct pod *p)
{
	return p->parsed ? p->parsed : object_json(p->obj);
}

void pod_breathe(const struct pod *p)
{
	if (p->aside)
		breath_release();
}

void pod_hold_breath(const struct pod *p)
{
	if (p->aside)
		breath_hold();
}

bool pod_host_network(const struct pod *p)
{
	return json_bool(pod_json(p), "spec.hostNetwork", false);
}

const char *pod_ip_text(const struct pod *p, char buf[static INET_ADDRSTRLEN])
{
	*buf = '\0';
	if (p->sandbox_ready && pod_host_network(p))
		snprintf(buf, INET_ADDRSTRLEN, "%s", p->node->host_ip);
	else if (p->ip.s_addr != INADDR_ANY)
		inet_ntop(AF_INET, &p->ip, buf, INET_ADDRSTRLEN);
	return buf;
}

struct self_facts pod_self(const struct pod *p, char ip[static INET_ADDRSTRLEN])
{
	return (struct self_facts){
		.pod_ip = pod_ip_text(p, ip),
		.host_ip = p->node->host_ip,
		.node_name = p->node->name,
		.node_cpu_milli = p->node->cpu_milli,
		.node_memory_bytes = p->node->memory_bytes,
	};
}

struct ctr *pod_ctr(const struct pod *p, const char *name)
{
	for (size_t i = 0; i < p->n_ctrs; i++)
		if (streq(p->ctrs[i]->facts.name, name))
			return p->ctrs[i];
	return NULL;
}

char *pod_run_path(const struct pod *p, const char *name)
{
	return xasprintf("%s/pods/%s/%s", p->node->run_dir, p->uid, name);
}

char *pod_state_path(const struct pod *p, const char *name)
{
	return xasprintf("%s/pods/%s/%s", p->node->state_dir, p->uid, name);
}

char *pod_log_dir(const struct pod *p)
{
	return xasprintf("%s/%s_%s_%s", p->node->log_dir, p->ns, p->name, p->uid);
}

const json_t *pod_lookup(void *arg, const struct kind *k, const char *name)
{
	const struct pod *p = arg;
	const struct object *o = store_get(p->node->store, k, p->ns, name);

	return o ? object_json(o) : NULL;
}

void pod_event(struct pod *p, const char *type, const char *reason, const char *fmt, ...)
{
	va_list ap;

	if (p->removed)
		return;
	va_start(ap, fmt);
	auto_free char *text = xvasprintf(fmt, ap);
	va_end(ap);
	registry_event(p->node->parts.registry, p->obj, NULL, type, reason, "kubelet", "%s", text);
}

/* ---- birth and death -------------------------------------------------------------------- */

static void pod_run(void *arg);
static void pod_run_aside(void *arg);

static void add_ctrs(struct pod *p, const json_t *list, bool init)
{
	size_t i;
	json_t *spec;

	json_array_foreach(list, i, spec)
	{
		bool stays = streq(json_str(spec, "restartPolicy", ""), "Always");
		enum ctr_role role = !init ? CTR_MAIN : stays ? CTR_SIDECAR : CTR_INIT;
		p->ctrs = xrealloc(p->ctrs, p->n_ctrs + 1, sizeof(struct ctr *));
		p->ctrs[p->n_ctrs++] = ctr_new(p, role, (unsigned)i, spec);
	}
}

/* Ephemeral containers come to a pod that is there; none goes and none changes. */
static void add_debug_ctrs(struct pod *p)
{
	size_t i;
	json_t *spec;

	json_array_foreach(json_at(pod_json(p), "spec.ephemeralContainers"), i, spec)
	{
		if (pod_ctr(p, json_str(spec, "name", "")))
			continue;
		p->ctrs = xrealloc(p->ctrs, p->n_ctrs + 1, sizeof(struct ctr *));
		p->ctrs[p->n_ctrs++] = ctr_new(p, CTR_DEBUG, (unsigned)i, spec);
	}
}

static void on_timer(void *arg)
{
	pod_kick(arg);
}

struct pod *pod_new(struct node *n, const struct object *obj)
{
	struct pod *p = xnew(struct pod);
	struct timespec started;

	p->node = n;
	p->obj = object_ref(obj);
	p->uid = xstrdup(obj->uid);
	p->ns = xstrdup(obj->ns);
	p->name = xstrdup(obj->name);
	p->timer = timer_new(n->loop, on_timer, p);
	p->started = loop_now(n->loop);
	p->start_time = time(NULL);
	if (time_parse(json_str(pod_json(p), "status.startTime", ""), &started) == 0)
		p->start_time = started.tv_sec;
	work_init(&p->work, pod_run, p);
	task_init(&p->task, pod_run_aside, p);
	add_ctrs(p, json_at(pod_json(p), "spec.initContainers"), true);
	add_ctrs(p, json_at(pod_json(p), "spec.containers"), false);
	add_debug_ctrs(p);
	list_add_tail(&n->pods, &p->link);
	map_put(&n->by_uid, p->uid, p);
	return p;
}

/* Whether files that tell of the pod itself may say something else. */
static bool self_differs(const struct object *a, const struct object *b)
{
	static const char *const members[] = {"metadata.labels", "metadata.annotations"};

	for (size_t i = 0; i < ARRAY_SIZE(members); i++) {
		const char *x, *y;
		size_t m, n;
		bool has = json_text_find(a->text, a->len, members[i], &x, &m);

		if (has != json_text_find(b->text, b->len, members[i], &y, &n) ||
		    (has && (m != n || memcmp(x, y, n) != 0)))
			return true;
	}
	return false;
}

static void forget_parsed(struct pod *p)
{
	if (p->parsed)
		loop_discard(p->node->loop, steal_ptr(p->parsed));
}

void pod_update(struct pod *p, const struct object *obj)
{
	const struct object *old = p->obj;

	if (old && obj->rev != p->own_rev && strstr(obj->text, "downwardAPI") &&
	    self_differs(old, obj))
		p->configs_changed = true;
	p->obj = object_ref(obj);
	object_unref(old);
	forget_parsed(p);
	add_debug_ctrs(p);
}

static void pod_release(void *arg)
{
	struct pod *p = arg;

	for (size_t i = 0; i < p->n_ctrs; i++)
		ctr_free(p->ctrs[i]);
	free(p->ctrs);
	object_unref(p->obj);
	free(p->uid);
	free(p->ns);
	free(p->name);
	free(p->message);
	free(p);
}

void pod_free(struct pod *p)
{
	work_cancel(&p->work);
	task_cancel(p->node->loop, &p->task); /* or it is the one that calls */
	forget_parsed(p);
	timer_free(p->timer);
	for (size_t i = 0; i < p->n_ctrs; i++)
		ctr_abort_jobs(p->ctrs[i]);
	volumes_release(p);
	loop_free_later(p->node->loop, pod_release, p);
}

/* ---- status ----------------------------------------------------------------------------- */

static bool is_terminal(const char *phase)
{
	return streq(phase, "Succeeded") || streq(phase, "Failed");
}

/* A pod that has ended goes on to show the address it had. */
static const char *shown_ip(const struct pod *p, char buf[static INET_ADDRSTRLEN])
{
	const char *ip = pod_ip_text(p, buf);

	return *ip || p->state < POD_STOPPING ? ip : json_str(pod_json(p), "status.podIP", "");
}

static json_t *make_status(const struct pod *p)
{
	const struct ctr_facts **ctrs = xcalloc(p->n_ctrs + 1, sizeof(*ctrs));
	char ip[INET_ADDRSTRLEN];
	struct pod_facts f = {
		.pod = pod_json(p),
		.ctrs = ctrs,
		.n_ctrs = p->n_ctrs,
		.runtime = runtime_name(p->node->parts.runtime),
		.host_ip = p->node->host_ip,
		.pod_ip = shown_ip(p, ip),
		.sandbox_ready = p->sandbox_ready,
		.terminal = pod_goal(p) == GOAL_END ||
			    (pod_goal(p) == GOAL_DELETE && p->state > POD_STOPPING),
		.failed = p->failed,
		.reason = p->reason,
		.message = p->message,
		.start_time = p->start_time,
		.now = time(NULL),
	};

	for (size_t i = 0; i < p->n_ctrs; i++) {
		ctr_refresh_facts(p->ctrs[i]);
		ctrs[i] = &p->ctrs[i]->facts;
	}
	json_t *status = status_make(&f);
	free(ctrs);
	return status;
}

/*
 * Observations are volatile. What must survive a boot is written: the end of a pod, and that a pod
 * which must not run twice (restartPolicy Never) has begun.
 */
static enum store_class status_class(const struct pod *p, const char *phase)
{
	bool never = streq(json_str(pod_json(p), "spec.restartPolicy", "Always"), "Never");
	const char *old = json_str(pod_json(p), "status.phase", "");

	if (streq(phase, old))
		return STORE_VOLATILE;
	if (is_terminal(phase) || (never && streq(phase, "Running")))
		return STORE_LAZY;
	return STORE_VOLATILE;
}

/* Whether a container is just being replaced: what is true for that moment only is not told. */
static bool is_between(struct pod *p)
{
	uint64_t left = 0;

	if (p->state != POD_RUNNING || pod_goal(p) != GOAL_RUN)
		return false;
	for (size_t i = 0; i < p->n_ctrs && !left; i++)
		left = ctr_replacing_us(p->ctrs[i]);
	if (left)
		pod_wake_in(p, left);
	return left != 0;
}

void pod_write_status(struct pod *p)
{
	auto_err err = {0};
	uint64_t before = store_rev(p->node->store);
	int r;

	if (p->removed || pod_goal(p) == GOAL_SHUTDOWN)
		return;
	if (p->state >= POD_ENDED && is_terminal(json_str(pod_json(p), "status.phase", "")))
		return; /* the last word has been said */
	if (is_between(p))
		return;
	json_t *status = make_status(p);
	enum store_class c = status_class(p, json_str(status, "phase", ""));
	pod_breathe(p);
	r = registry_set_status(p->node->parts.registry, &kind_pod, p->ns, p->name, p->uid, status,
				c, &err);
	pod_hold_breath(p);
	if (r == -EAGAIN || err.reason == ERR_CONFLICT) /* overtaken: the new object comes */
		pod_kick(p);
	else if (r < 0)
		log_warn("pod %s/%s: status: %s", p->ns, p->name, err_message(&err));
	if (store_rev(p->node->store) != before)
		p->own_rev = store_rev(p->node->store);
}

/* ---- steps ------------------------------------------------------------------------------ */

static bool all_main_over(const struct pod *p)
{
	for (size_t i = 0; i < p->n_ctrs; i++) {
		const struct ctr *c = p->ctrs[i];
		if (c->facts.role != CTR_MAIN)
			continue;
		if (c->state != CTR_EXITED || ctr_will_restart(c))
			return false;
	}
	return true;
}

/* An init container that failed and may not be tried again ends the pod. */
static bool init_over(const struct pod *p)
{
	for (size_t i = 0; i < p->n_ctrs; i++) {
		const struct ctr *c = p->ctrs[i];
		if (c->facts.role == CTR_INIT && c->state == CTR_EXITED && !ctr_done_ok(c) &&
		    !ctr_will_restart(c))
			return true;
	}
	return false;
}

enum pod_goal pod_goal(const struct pod *p)
{
	if (p->removed || meta_deleting(pod_json(p)))
		return GOAL_DELETE;
	if (p->node->stopping)
		return GOAL_SHUTDOWN;
	if (p->failed || init_over(p) || all_main_over(p))
		return GOAL_END;
	return GOAL_RUN;
}

static uint64_t retry_us(unsigned tries)
{
	uint64_t us = USEC_PER_SEC << (tries < 6 ? tries : 6);

	return us < 60 * USEC_PER_SEC ? us : 60 * USEC_PER_SEC;
}

static void setup_failed(struct pod *p)
{
	uint64_t us = retry_us(p->tries++);

	p->retry_at = mono_add(loop_now(p->node->loop), us);
	pod_wake_in(p, us);
}

static void set_up(struct pod *p)
{
	const char *volume = NULL;
	auto_err err = {0};

	p->configs_changed = false;
	if (volumes_prepare(p, &volume, &err) < 0) {
		pod_event(p, "Warning", "FailedMount",
			  "MountVolume.SetUp failed for volume \"%s\" : %s", volume,
			  err_message(&err));
		setup_failed(p);
		return;
	}
	if (pod_start_sandbox(p, &err) < 0) {
		pod_event(p, "Warning", "FailedCreatePodSandBox",
			  "Failed to create pod sandbox: %s", err_message(&err));
		pod_release_address(p);
		setup_failed(p);
		return;
	}
	pod_set_state(p, POD_SANDBOX);
}

static void step_new(struct pod *p)
{
	uint64_t left = mono_sub(p->retry_at, loop_now(p->node->loop));

	if (is_terminal(json_str(pod_json(p), "status.phase", ""))) {
		pod_set_state(p, POD_ENDED);
		return;
	}
	if (pod_goal(p) != GOAL_RUN || pod_check_deadline(p) || pod_check_sysctls(p)) {
		pod_set_state(p, POD_CLEANUP);
		return;
	}
	if (left && !p->configs_changed) {
		pod_wake_in(p, left);
		return;
	}
	set_up(p);
}

static void attach_network(struct pod *p)
{
	auto_err err = {0};

	p->network_wanted = false;
	if (!pod_host_network(p) && network_attach(p->node->parts.network, p->uid,
						   sandbox_netns_fd(p->sandbox), p->ip, &err) < 0) {
		pod_event(p, "Warning", "FailedCreatePodSandBox",
			  "Failed to create pod sandbox: network: %s", err_message(&err));
		setup_failed(p);
		pod_set_state(p, POD_CLEANUP);
		return;
	}
	p->sandbox_ready = true;
	p->tries = 0;
	node_pods_changed(p->node);
	pod_set_state(p, POD_INIT);
}

static void step_sandbox(struct pod *p)
{
	if (p->sandbox_lost) {
		setup_failed(p);
		pod_set_state(p, POD_CLEANUP);
	} else if (pod_goal(p) != GOAL_RUN) {
		pod_set_state(p, POD_CLEANUP);
	} else if (p->network_wanted) {
		attach_network(p);
	}
}

/* A failure is tried again soon: a token that has run out is worth nothing. */
static void refresh_tokens(struct pod *p)
{
	uint64_t due = volumes_due_in(p);

	if (due == 1) {
		volumes_refresh(p);
		due = volumes_due_in(p);
	}
	if (due)
		pod_wake_in(p, due > 1 ? due : TOKEN_RETRY_US);
}

/* What INIT and RUNNING have in common; true: the state was left. */
static bool leave(struct pod *p)
{
	if (p->sandbox_lost) {
		pod_event(p, "Normal", "SandboxChanged",
			  "Pod sandbox changed, it will be killed and re-created.");
		pod_set_state(p, POD_CLEANUP);
		return true;
	}
	if (pod_check_deadline(p) || pod_goal(p) != GOAL_RUN) {
		pod_set_state(p, POD_STOPPING);
		return true;
	}
	refresh_tokens(p);
	if (p->configs_changed) {
		p->configs_changed = false;
		volumes_refresh(p);
		for (size_t i = 0; i < p->n_ctrs; i++)
			p->ctrs[i]->retry_at = (mono_t){0};
	}
	return false;
}

/* They look into pods that do not come up, too. */
static void step_debug_ctrs(struct pod *p)
{
	for (size_t i = 0; i < p->n_ctrs; i++)
		if (p->ctrs[i]->facts.role == CTR_DEBUG)
			ctr_step(p->ctrs[i]);
}

/* Sidecars go on beside the init containers behind them. */
static void step_init(struct pod *p)
{
	if (leave(p))
		return;
	step_debug_ctrs(p);
	for (size_t i = 0; i < p->n_ctrs && p->ctrs[i]->facts.role != CTR_MAIN; i++) {
		struct ctr *c = p->ctrs[i];
		if (c->facts.role == CTR_INIT && ctr_done_ok(c))
			continue;
		ctr_step(c);
		if (c->facts.role == CTR_INIT || !c->facts.started)
			return;
	}
	pod_set_state(p, POD_RUNNING);
}

static void step_running(struct pod *p)
{
	if (leave(p))
		return;
	for (size_t i = 0; i < p->n_ctrs; i++)
		if (p->ctrs[i]->facts.role != CTR_INIT)
			ctr_step(p->ctrs[i]);
	if (pod_goal(p) != GOAL_RUN)
		pod_set_state(p, POD_STOPPING);
}

/* ---- the table -------------------------------------------------------------------------- */

#define TO(s) (1u << POD_##s)
static const struct {
	const char *name;
	void (*step)(struct pod *p);
	unsigned next; /* legal successors */
} states[POD_STATE_COUNT] = {
	[POD_NEW] = {"New", step_new, TO(SANDBOX) | TO(INIT) | TO(CLEANUP) | TO(ENDED)},
	[POD_SANDBOX] = {"Sandbox", step_sandbox, TO(INIT) | TO(CLEANUP)},
	[POD_INIT] = {"Init", step_init, TO(RUNNING) | TO(STOPPING) | TO(CLEANUP)},
	[POD_RUNNING] = {"Running", step_running, TO(STOPPING) | TO(CLEANUP)},
	[POD_STOPPING] = {"Stopping", pod_step_stopping, TO(CLEANUP)},
	[POD_CLEANUP] = {"Cleanup", pod_step_cleanup, TO(NEW) | TO(ENDED) | TO(GONE)},
	[POD_ENDED] = {"Ended", pod_step_ended, TO(GONE)},
	[POD_GONE] = {"Gone", pod_step_gone, 0},
};
#undef TO

const char *pod_state_name(enum pod_state s)
{
	return states[s].name;
}

void pod_set_state(struct pod *p, enum pod_state next)
{
	if (!(states[p->state].next & (1u << next))) {
		log_error("pod %s/%s: illegal step %s -> %s", p->ns, p->name, states[p->state].name,
			  states[next].name);
		return;
	}
	log_debug("pod %s/%s: %s -> %s", p->ns, p->name, states[p->state].name, states[next].name);
	p->state = next;
}

void pod_wake_in(struct pod *p, uint64_t us)
{
	if (us == 0)
		us = 1;
	if (p->wake_us == 0 || us < p->wake_us)
		p->wake_us = us;
}

void pod_kick(struct pod *p)
{
	if (p->node->adopted)
		work_queue(p->node->loop, &p->work);
}

static void run(struct pod *p)
{
	enum pod_state before;

	do {
		p->wake_us = 0;
		before = p->state;
		states[before].step(p);
		if (before == POD_GONE && (p->removed || p->node->stopping)) {
			node_forget(p);
			return;
		}
	} while (p->state != before);
	if (p->state != POD_GONE)
		pod_write_status(p);
	if (p->wake_us)
		timer_arm(p->timer, p->wake_us);
	else
		timer_disarm(p->timer);
	logs_poke(p->node, p);
}

/* The text of the ConfigMaps and Secrets that v, a part of the spec, refers to. */
static size_t configs_weight(const struct pod *p, const json_t *v)
{
	static const struct {
		const char *key, *name;
		const struct kind *kind;
	} refs[] = {
		{"configMap", "name", &kind_configmap},
		{"secret", "secretName", &kind_secret},
		{"secret", "name", &kind_secret},
		{"configMapRef", "name", &kind_configmap},
		{"configMapKeyRef", "name", &kind_configmap},
		{"secretRef", "name", &kind_secret},
		{"secretKeyRef", "name", &kind_secret},
	};
	const struct object *o;
	size_t sum = 0, i;
	const char *key;
	json_t *member;

	json_array_foreach(v, i, member) sum += configs_weight(p, member);
	json_object_foreach((json_t *)(uintptr_t)v, key, member)
	{
		for (i = 0; i < ARRAY_SIZE(refs); i++) {
			const char *name = json_str(member, refs[i].name, NULL);

			if (!streq(refs[i].key, key) || !name)
				continue;
			o = store_get(p->node->store, refs[i].kind, p->ns, name);
			sum += o ? o->len : 0;
		}
		sum += configs_weight(p, member);
	}
	return sum;
}

static size_t weight(const struct pod *p)
{
	if (p->obj->len >= LARGE || p->state > POD_RUNNING)
		return p->obj->len;
	return p->obj->len + configs_weight(p, json_at(pod_json(p), "spec"));
}

static void pod_run_aside(void *arg)
{
	struct pod *p = arg;

	p->parsed = json_incref((json_t *)(uintptr_t)object_json(p->obj));
	breath_hold();
	run(p);
	breath_release();
	forget_parsed(p);
	p->aside = false;
	if (p->again && p->state != POD_GONE)
		pod_kick(p);
}

/* Whatever happens while a run is aside asks for another one behind it. */
static void pod_run(void *arg)
{
	struct pod *p = arg;
	size_t bytes;

	if (p->aside) {
		p->again = true;
		return;
	}
	p->again = false;
	bytes = weight(p);
	p->aside = bytes >= LARGE;
	if (p->aside && task_start(p->node->loop, &p->task, bytes) == 0)
		return;
	p->aside = false; /* or so many wait already */
	run(p);
}
