/* SPDX-License-Identifier: Apache-2.0 */
/* container: the state of one container; restarts with back-off. */
#include "internal.h"
#include "crilog.h"

#include <signal.h>
#include <unistd.h>

#define CONFIG_RETRY_US (10 * USEC_PER_SEC)
#define REPLACE_US USEC_PER_SEC
#define TERM_MESSAGE_MAX 4096
#define TERM_LOG_BYTES 2048
#define TERM_LOG_LINES 80
#define LOG_FILE_MAX (16u << 20)

/* ---- states ----------------------------------------------------------------------------- */

#define TO(s) (1u << CTR_##s)
static const struct {
	const char *name;
	unsigned next;
} states[CTR_STATE_COUNT] = {
	[CTR_WAITING] = {"Waiting", TO(PULLING) | TO(STARTING) | TO(RUNNING) | TO(EXITED)},
	[CTR_PULLING] = {"Pulling", TO(WAITING) | TO(STARTING)},
	[CTR_STARTING] = {"Starting", TO(RUNNING) | TO(EXITED)},
	[CTR_RUNNING] = {"Running", TO(STOPPING) | TO(EXITED)},
	[CTR_STOPPING] = {"Stopping", TO(EXITED)},
	[CTR_EXITED] = {"Exited", TO(WAITING)},
};
#undef TO

void ctr_set_state(struct ctr *c, enum ctr_state next)
{
	const struct pod *p = c->pod;

	if (c->state == next)
		return;
	if (!(states[c->state].next & (1u << next)))
		log_error("pod %s/%s: container %s: illegal step %s -> %s", p->ns, p->name,
			  c->facts.name, states[c->state].name, states[next].name);
	log_debug("pod %s/%s: container %s: %s -> %s", p->ns, p->name, c->facts.name,
		  states[c->state].name, states[next].name);
	c->state = next;
}

bool ctr_alive(const struct ctr *c)
{
	return c->state == CTR_STARTING || c->state == CTR_RUNNING || c->state == CTR_STOPPING;
}

bool ctr_done_ok(const struct ctr *c)
{
	return c->state == CTR_EXITED && c->facts.end.code == 0;
}

bool ctr_will_restart(const struct ctr *c)
{
	const char *policy = json_str(pod_json(c->pod), "spec.restartPolicy", "Always");

	switch (c->facts.role) {
	case CTR_SIDECAR:
		return true;
	case CTR_INIT:
		return c->facts.end.code != 0 && !streq(policy, "Never");
	case CTR_DEBUG:
		return false;
	case CTR_MAIN:
		break;
	}
	if (streq(policy, "Always") || (c->changed && !streq(policy, "Never")))
		return true;
	return streq(policy, "OnFailure") && c->facts.end.code != 0;
}

/* ---- birth and death -------------------------------------------------------------------- */

struct ctr *ctr_new(struct pod *p, enum ctr_role role, unsigned index, const json_t *spec)
{
	struct ctr *c = xnew(struct ctr);

	c->pod = p;
	c->index = index;
	c->facts.name = xstrdup(json_str(spec, "name", ""));
	c->facts.role = role;
	return c;
}

void ctr_abort_jobs(struct ctr *c)
{
	ctr_pull_cancel(c);
	ctr_probes_stop(c);
	hook_cancel(steal_ptr(c->post_start));
	hook_cancel(steal_ptr(c->pre_stop));
}

void ctr_free(struct ctr *c)
{
	ctr_facts_done(&c->facts);
	free(c->image);
	free(c->term_path);
	free(c);
}

const json_t *ctr_spec(const struct ctr *c)
{
	const json_t *spec = json_object_get(pod_json(c->pod), "spec");

	return json_array_get(json_object_get(spec, ctr_role_list(c->facts.role)), c->index);
}

char *ctr_log_path(const struct ctr *c, unsigned attempt)
{
	auto_free char *dir = pod_log_dir(c->pod);

	return xasprintf("%s/%s/%u.log", dir, c->facts.name, attempt);
}

void ctr_event(struct ctr *c, const char *type, const char *reason, const char *fmt, ...)
{
	const struct pod *p = c->pod;
	auto_free char *field =
		xasprintf("spec.%s{%s}", ctr_role_list(c->facts.role), c->facts.name);
	va_list ap;

	if (p->removed)
		return;
	va_start(ap, fmt);
	auto_free char *text = xvasprintf(fmt, ap);
	va_end(ap);
	registry_event(p->node->parts.registry, p->obj, field, type, reason, "kubelet", "%s", text);
}

/* ---- what users see --------------------------------------------------------------------- */

void ctr_set_waiting(struct ctr *c, const char *reason, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	free(c->facts.wait_message);
	c->facts.wait_message = xvasprintf(fmt, ap);
	va_end(ap);
	c->facts.view = VIEW_WAITING;
	c->facts.wait_reason = reason;
}

static bool is_plain_wait(const char *reason)
{
	return !reason || streq(reason, "ContainerCreating") || streq(reason, "PodInitializing");
}

void ctr_refresh_facts(struct ctr *c)
{
	struct ctr_facts *f = &c->facts;
	bool running = c->state == CTR_RUNNING || c->state == CTR_STOPPING;

	f->ready = f->role == CTR_INIT
			   ? ctr_done_ok(c)
			   : running && f->started && f->role != CTR_DEBUG && ctr_probe_ready(c);
	if (f->view == VIEW_WAITING && is_plain_wait(f->wait_reason))
		f->wait_reason = json_len(pod_json(c->pod), "spec.initContainers")
					 ? "PodInitializing"
					 : "ContainerCreating";
}

/* The kubelet stops the old container and starts the new one in one go, and tells of neither in
 * between: a pod that gets a new image and comes up at once was Ready all the time. */
uint64_t ctr_replacing_us(const struct ctr *c)
{
	uint64_t left = mono_sub(c->replaced_by, loop_now(c->pod->node->loop));

	switch (c->state) {
	case CTR_EXITED:
		return ctr_will_restart(c) ? left : 0;
	case CTR_WAITING:
		return is_plain_wait(c->facts.wait_reason) ? left : 0;
	case CTR_STARTING:
		return left;
	case CTR_PULLING:
	case CTR_RUNNING:
	case CTR_STOPPING:
	case CTR_STATE_COUNT:
		break;
	}
	return 0;
}

/* ---- starting --------------------------------------------------------------------------- */

static void start_refused(struct ctr *c, const struct err *err)
{
	const char *reason = streq(err_message(err), "no command specified")
				     ? "CreateContainerError"
				     : "CreateContainerConfigError";

	ctr_set_state(c, CTR_WAITING);
	ctr_set_waiting(c, reason, "%s", err_message(err));
	ctr_event(c, "Warning", "Failed", "Error: %s", err_message(err));
	c->retry_at = mono_add(loop_now(c->pod->node->loop), CONFIG_RETRY_US);
	pod_wake_in(c->pod, CONFIG_RETRY_US);
}

static void try_start(struct ctr *c)
{
	const struct image *image;
	auto_env vars = {0};
	auto_err err = {0};
	enum ctr_state state;
	int ret;

	if (!ctr_image_ready(c, &image))
		return;
	state = c->state;
	ret = ctr_env(c, &vars, &err);
	/* What has changed meanwhile has asked for another run. */
	if (c->state != state || !c->pod->sandbox || !ctr_image_ready(c, &image))
		return;
	if (ret < 0 || ctr_start(c, image, &vars, &err) < 0) {
		start_refused(c, &err);
		return;
	}
	ctr_event(c, "Normal", "Created", "Created container: %s", c->facts.name);
	ctr_set_waiting(c, NULL, "%s", "");
	ctr_set_state(c, CTR_STARTING);
}

static void begin(struct ctr *c)
{
	uint64_t left = mono_sub(c->retry_at, loop_now(c->pod->node->loop));

	if (left)
		pod_wake_in(c->pod, left);
	else
		try_start(c);
}

static void begin_again(struct ctr *c)
{
	const struct pod *p = c->pod;
	mono_t now = loop_now(p->node->loop);
	uint64_t left = c->changed ? 0 : backoff_left(&c->restart, c->ended, now);

	if (left) {
		ctr_set_waiting(c, "CrashLoopBackOff",
				"back-off %llus restarting failed container=%s pod=%s_%s(%s)",
				(unsigned long long)(c->restart.delay_us / USEC_PER_SEC),
				c->facts.name, p->name, p->ns, p->uid);
		if (!c->backoff_told)
			ctr_event(c, "Warning", "BackOff",
				  "Back-off restarting failed container %s in pod %s_%s(%s)",
				  c->facts.name, p->name, p->ns, p->uid);
		c->backoff_told = true;
		pod_wake_in(c->pod, left);
		return;
	}
	if (!c->changed)
		backoff_next(&c->restart, now);
	c->pulled = false;
	c->retry_at = (mono_t){0};
	ctr_set_state(c, CTR_WAITING);
	try_start(c);
}

static void check_running(struct ctr *c)
{
	const char *image = json_str(ctr_spec(c), "image", "");

	if (!c->image || streq(c->image, image))
		return;
	c->changed = true;
	ctr_stop(c, (uint64_t)pod_grace_seconds(c->pod) * USEC_PER_SEC,
		 "Container %s definition changed, will be restarted", c->facts.name);
}

void ctr_step(struct ctr *c)
{
	switch (c->state) {
	case CTR_WAITING:
		begin(c);
		break;
	case CTR_PULLING:
		try_start(c);
		break;
	case CTR_STARTING:
		break;
	case CTR_RUNNING:
		check_running(c);
		break;
	case CTR_STOPPING:
		ctr_stop_step(c);
		break;
	case CTR_EXITED:
		if (ctr_will_restart(c))
			begin_again(c);
		break;
	case CTR_STATE_COUNT:
		break;
	}
}

/* ---- running ---------------------------------------------------------------------------- */

static void post_start_done(struct ctr *c, bool ok, const char *why)
{
	c->post_start = NULL;
	if (!ok) {
		ctr_event(c, "Warning", "FailedPostStartHook", "PostStartHook failed: %s", why);
		ctr_stop(c, (uint64_t)pod_grace_seconds(c->pod) * USEC_PER_SEC,
			 "FailedPostStartHook");
	}
	pod_kick(c->pod);
}

static void running(struct ctr *c)
{
	struct ctr_facts *f = &c->facts;

	ctr_set_state(c, CTR_RUNNING);
	f->view = VIEW_RUNNING;
	f->started = !json_at(ctr_spec(c), "startupProbe");
	ctr_probes_start(c);
}

void ctr_on_started(struct ctr *c)
{
	const json_t *hook = json_at(ctr_spec(c), "lifecycle.postStart");

	clock_gettime(CLOCK_REALTIME, &c->facts.started_at);
	c->started = loop_now(c->pod->node->loop);
	c->replaced_by = (mono_t){0};
	usage_start(&c->usage, mono_now(), 0);
	running(c);
	ctr_event(c, "Normal", "Started", "Started container %s", c->facts.name);
	if (c->stop_wanted)
		return;
	if (hook)
		c->post_start = hook_start(c, hook, post_start_done);
}

/* ---- the end of a run ------------------------------------------------------------------- */

/* Last part of the log, for terminationMessagePolicy FallbackToLogsOnError; caller frees. */
static char *log_tail(const struct ctr *c)
{
	auto_free char *path = ctr_log_path(c, c->facts.restarts), *text = NULL;
	struct crilog_filter f = {.limit = -1};
	struct strbuf out = {0};
	size_t len, from;
	int64_t found;

	if (file_read(path, LOG_FILE_MAX, &text, &len) < 0)
		return NULL;
	from = crilog_tail(text, len, TERM_LOG_LINES, &found);
	crilog_feed(&f, text + from, len - from, &out);
	crilog_done(&f);
	if (out.len > TERM_LOG_BYTES) {
		memmove(out.s, out.s + out.len - TERM_LOG_BYTES, TERM_LOG_BYTES + 1);
		out.len = TERM_LOG_BYTES;
	}
	return strbuf_steal(&out);
}

static char *termination_message(const struct ctr *c, int code)
{
	const char *policy = json_str(ctr_spec(c), "terminationMessagePolicy", "File");
	char *text = NULL;
	size_t len = 0;

	if (c->term_path && file_read(c->term_path, 1u << 20, &text, &len) < 0)
		text = NULL;
	if (text && len > TERM_MESSAGE_MAX)
		text[TERM_MESSAGE_MAX] = '\0';
	if (text && *text)
		return text;
	free(text);
	return code != 0 && streq(policy, "FallbackToLogsOnError") ? log_tail(c) : NULL;
}

static const char *end_reason(const struct container_exit *e)
{
	switch (e->end) {
	case END_EXITED:
		return e->code == 0 ? "Completed" : "Error";
	case END_SIGNALED:
		return "Error";
	case END_OOM:
		return "OOMKilled";
	case END_START_FAILED:
		return "StartError";
	case END_UNKNOWN:
		break;
	}
	return "ContainerStatusUnknown";
}

static void take_exit(struct ctr *c, const struct container_exit *e)
{
	struct ctr_facts *f = &c->facts;
	struct ctr_end *end = &f->end;

	ctr_end_done(end);
	end->id = xstrdup(f->id ? f->id : "");
	end->code = e->end == END_START_FAILED ? 128 : e->code;
	end->reason = xstrdup(end_reason(e));
	end->message = e->message ? xstrdup(e->message) : termination_message(c, end->code);
	end->started = e->started_at.tv_sec ? e->started_at : f->started_at;
	end->finished = e->finished_at;
	if (!end->finished.tv_sec)
		clock_gettime(CLOCK_REALTIME, &end->finished);
	if (c->term_path)
		unlink(c->term_path);
	f->view = VIEW_TERMINATED;
	f->wait_reason = NULL;
	f->started = f->ready = false;
	c->ended = loop_now(c->pod->node->loop);
	ctr_set_state(c, CTR_EXITED);
}

void ctr_on_exited(struct ctr *c, const struct container_exit *e)
{
	ctr_abort_jobs(c);
	take_exit(c, e);
	c->replaced_by = c->changed ? mono_add(c->ended, REPLACE_US) : (mono_t){0};
	if (e->end != END_START_FAILED)
		return;
	ctr_event(c, "Warning", "Failed", "Error: %s", e->message ? e->message : "cannot start");
	if (ctr_will_restart(c))
		ctr_set_waiting(c, "RunContainerError", "%s", e->message ? e->message : "");
}

void ctr_lost(struct ctr *c)
{
	struct container_exit e = {.end = END_SIGNALED, .code = 128 + SIGKILL};

	ctr_abort_jobs(c);
	if (ctr_alive(c))
		take_exit(c, &e);
}

void ctr_reset(struct ctr *c)
{
	struct ctr_facts *f = &c->facts;

	if (c->state == CTR_PULLING)
		ctr_set_state(c, CTR_WAITING);
	if (f->role != CTR_INIT || c->state != CTR_EXITED)
		return;
	ctr_end_done(&f->last);
	f->last = f->end;
	f->end = (struct ctr_end){0};
	ctr_set_waiting(c, NULL, "%s", "");
	ctr_set_state(c, CTR_WAITING);
}

/* ---- after a restart of the daemon ------------------------------------------------------- */

void ctr_restore(struct ctr *c, const json_t *entry)
{
	struct ctr_facts *f = &c->facts;
	struct container_exit lost = {.end = END_UNKNOWN, .code = 128 + SIGKILL};

	if (!entry)
		return;
	status_restore(f, entry);
	c->ever_ran = f->end.id || f->last.id || json_at(entry, "state.running");
	if (json_at(entry, "state.running")) {
		lost.message = "The container could not be located when the pod was terminated";
		take_exit(c, &lost);
	} else if (f->end.id) {
		f->view = VIEW_TERMINATED;
		c->ended = loop_now(c->pod->node->loop);
		ctr_set_state(c, CTR_EXITED);
	}
}

static uint64_t age_us(struct timespec since)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return now.tv_sec > since.tv_sec ? (uint64_t)(now.tv_sec - since.tv_sec) * USEC_PER_SEC : 0;
}

static mono_t mono_ago(const struct ctr *c, uint64_t us)
{
	mono_t now = loop_now(c->pod->node->loop);

	return (mono_t){now.us > us ? now.us - us : 1};
}

void ctr_adopt(struct ctr *c, const struct adopted_container *a, const json_t *entry)
{
	struct ctr_facts *f = &c->facts;
	auto_free char *term = xasprintf("term/%s.%u", f->name, a->attempt);

	if (entry)
		status_restore(f, entry);
	if (entry && json_at(entry, "state.terminated") && a->running) {
		ctr_end_done(&f->last);
		f->last = f->end;
		f->end = (struct ctr_end){0};
	}
	c->ever_ran = true;
	f->restarts = a->attempt;
	free(f->id);
	f->id = xstrdup(a->id);
	free(f->image_id);
	f->image_id = xstrdup_null(json_str(entry, "imageID", NULL));
	free(c->image);
	c->image = xstrdup(json_str(ctr_spec(c), "image", ""));
	free(c->term_path);
	c->term_path = pod_run_path(c->pod, term);
	f->started_at = a->started_at;
	c->restored_ready = json_bool(entry, "ready", false);
	if (!a->running) {
		take_exit(c, &a->exit);
		c->ended = mono_ago(c, age_us(a->exit.finished_at));
		return;
	}
	c->started = mono_ago(c, age_us(a->started_at));
	running(c);
	if (json_bool(entry, "started", false))
		f->started = true;
}
