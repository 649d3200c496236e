/* SPDX-License-Identifier: Apache-2.0 */
/* Containers as the daemon sees them: bundles and requests out, states in. */
#include "internal.h"
#include "oci.h"

#include <sys/stat.h>
#include <unistd.h>

#define LOG_MAX_DEFAULT (512 * 1024)

struct container *container_find(const struct sandbox *s, const char *id)
{
	list_foreach ((struct list *)(uintptr_t)&s->containers, c, struct container, node) {
		if (id && streq(c->id, id))
			return c;
	}
	return NULL;
}

static void container_destroy(void *p)
{
	struct container *c = p;

	free(c->id);
	free(c->name);
	free(c->image_ref);
	free(c->message);
	free(c);
}

static struct container *container_new(struct sandbox *s, const char *id, const char *name,
				       unsigned attempt)
{
	struct container *c = xnew(struct container);

	c->id = xstrdup(id);
	c->name = xstrdup(name);
	c->attempt = attempt;
	list_add_tail(&s->containers, &c->node);
	return c;
}

/* Not at once: the owner may still hold the borrowed id. */
static void container_forget(struct sandbox *s, struct container *c)
{
	list_del(&c->node);
	loop_free_later(s->rt->loop, container_destroy, c);
}

void container_free(struct container *c)
{
	list_del(&c->node);
	container_destroy(c);
}

char *container_dir(const struct sandbox *s, const char *id)
{
	return path_join(s->dir, id);
}

char *container_cgroup(const struct sandbox *s, const char *id)
{
	return path_join(s->cgroup, id);
}

/* ---- states ----------------------------------------------------------------------------- */

static struct timespec from_ns(uint64_t ns)
{
	return (struct timespec){.tv_sec = (time_t)(ns / 1000000000u),
				 .tv_nsec = (long)(ns % 1000000000u)};
}

static enum process_end end_of(uint64_t end)
{
	switch ((enum proto_end)end) {
	case PROTO_END_EXITED:
		return END_EXITED;
	case PROTO_END_SIGNALED:
		return END_SIGNALED;
	case PROTO_END_OOM:
		return END_OOM;
	case PROTO_END_START_FAILED:
		return END_START_FAILED;
	}
	return END_UNKNOWN; /* of a newer sandbox */
}

static void take_exit(struct container *c, const struct proto_msg *m)
{
	free(c->message);
	c->message = xstrdup_null(m->message);
	c->exit = (struct container_exit){
		.end = end_of(m->end),
		.code = (int)(int64_t)m->code,
		.signo = (int)m->signo,
		.started_at = from_ns(m->started_ns),
		.finished_at = from_ns(m->finished_ns),
		.message = c->message,
	};
}

void container_tell(struct sandbox *s, struct container *c)
{
	if (!s->ops)
		return;
	if (c->state != PROTO_STATE_QUEUED && c->exit.end != END_START_FAILED && !c->told_running) {
		c->told_running = true;
		if (s->ops->on_started)
			s->ops->on_started(s->arg, c->id, c->name, c->pid);
	}
	/* The owner may have removed it just now; the memory lasts until the end of the turn. */
	if (c->state == PROTO_STATE_ENDED && !c->told_ended) {
		c->told_ended = true;
		if (s->ops && s->ops->on_exited)
			s->ops->on_exited(s->arg, c->id, c->name, &c->exit);
	}
}

void container_update(struct sandbox *s, const struct proto_msg *m)
{
	struct container *c = container_find(s, m->id);

	if (!m->id || !m->name || m->state > PROTO_STATE_ENDED)
		return;
	if (!c)
		c = container_new(s, m->id, m->name, (unsigned)m->attempt);
	c->state = (enum proto_state)m->state;
	c->pid = (pid_t)m->pid;
	c->started_at = from_ns(m->started_ns);
	if (c->state == PROTO_STATE_ENDED)
		take_exit(c, m);
	if (s->state != SANDBOX_ADOPTING)
		container_tell(s, c);
}

/* ---- requests --------------------------------------------------------------------------- */

/*
 * A score below our own can only be given with CAP_SYS_RESOURCE (proc(5), oom_score_adj); without
 * it the container gets ours, as it would from a kubelet in a user namespace, rather than not to
 * start.
 */
static int allowed_oom_score(int wanted)
{
	enum { CAP_SYS_RESOURCE_BIT = 24 };
	auto_free char *status = NULL;
	auto_free char *own = NULL;
	const char *caps;
	int score;

	if (file_read("/proc/self/status", 64 * 1024, &status, NULL) < 0 ||
	    file_read("/proc/self/oom_score_adj", 32, &own, NULL) < 0)
		return wanted;
	caps = strstr(status, "CapEff:");
	if (!caps || (strtoull(caps + 7, NULL, 16) >> CAP_SYS_RESOURCE_BIT) & 1)
		return wanted;
	score = (int)strtol(own, NULL, 10);
	return wanted < score ? score : wanted;
}

/* The first process of the container of that name; 0: it does not run. */
static pid_t target_pid(const struct sandbox *s, const char *name)
{
	list_foreach ((struct list *)(uintptr_t)&s->containers, c, struct container, node)
		if (streq(c->name, name) && c->told_running && !c->told_ended)
			return c->pid;
	return 0;
}

static int write_bundle(const struct sandbox *s, const struct container_config *config,
			const char *bundle, struct err *err)
{
	auto_free char *rootfs = path_join(bundle, "rootfs");
	auto_free char *cgroup = container_cgroup(s, config->id);
	auto_free char *shm = s->host_ipc ? xstrdup("/dev/shm") : path_join(s->dir, "shm");
	auto_free char *file = path_join(bundle, "config.json");
	struct container_config limited = *config;
	struct oci_pod pod = {
		.hostname = s->hostname,
		.rootfs = rootfs,
		.cgroups_path = cgroup,
		.shm = shm,
		.sandbox = s->pid,
		.share_pid = s->share_pid,
		.host_network = s->host_network,
		.host_pid = s->host_pid,
		.host_ipc = s->host_ipc,
		.cgroups = &s->rt->layout,
	};
	if (config->target && !s->share_pid && !s->host_pid) {
		pod.share_pid = target_pid(s, config->target);
		if (!pod.share_pid)
			return err_set(err, ERR_CONFLICT, "container \"%s\" does not run",
				       config->target);
	}
	limited.oom_score_adj = allowed_oom_score(config->oom_score_adj);
	json_auto_t *v = oci_config_new(&pod, &limited, err);
	size_t len;
	auto_free char *text = v ? json_text(v, &len) : NULL;
	int r;

	if (!text)
		return v ? err_set(err, ERR_INVALID, "the container's strings are not UTF-8")
			 : -EINVAL;
	if (mkdir(bundle, 0711) < 0)
		return err_errno(err, errno, "make %s", bundle);
	r = file_write_atomic(file, text, len, 0600, false);
	return r < 0 ? err_errno(err, -r, "write %s", file) : 0;
}

static int send_start(struct sandbox *s, const struct container_config *config, const char *bundle)
{
	bool v2 = s->rt->layout.mode == CGROUP_V2;
	auto_free char *cgroup = container_cgroup(s, config->id);
	auto_free char *log = xasprintf("%s/%s/%u.log", s->log_dir, config->name, config->attempt);
	auto_free char *oom = cgroup_file(&s->rt->layout, CG_MEMORY, cgroup,
					  v2 ? "memory.events" : "memory.oom_control");
	enum cgroup_controller procs_of =
		cgroup_has(&s->rt->layout, CG_PIDS) ? CG_PIDS : CG_FREEZER;
	auto_free char *procs = cgroup_file(&s->rt->layout, procs_of, cgroup, "cgroup.procs");
	struct proto_msg *m = xnew(struct proto_msg);
	int r;

	*m = (struct proto_msg){
		.type = PROTO_START,
		.id = config->id,
		.name = config->name,
		.bundle = bundle,
		.write_dir = config->write_dir,
		.log = log,
		.oom_file = oom,
		.procs_file = procs,
		.attempt = config->attempt,
		.flags = (config->tty ? PROTO_TTY : 0u) |
			 (config->stdin_open ? PROTO_STDIN_OPEN : 0u) |
			 (config->stdin_once ? PROTO_STDIN_ONCE : 0u),
		.log_max = config->log_max_bytes ? config->log_max_bytes : LOG_MAX_DEFAULT,
		.n_layers = config->n_layers,
	};
	for (size_t i = 0; i < config->n_layers; i++)
		m->layers[i] = config->layers[i];
	r = link_send(s, m, NULL, 0);
	free(m);
	return r;
}

static int check_start(const struct sandbox *s, const struct container_config *config,
		       struct err *err)
{
	if (s->state == SANDBOX_ENDING || s->stopping)
		return err_set(err, ERR_CONFLICT, "the pod's sandbox is ending");
	if (s->state != SANDBOX_READY)
		return err_set(err, ERR_CONFLICT, "the pod's sandbox is not ready");
	if (container_find(s, config->id))
		return err_set(err, ERR_ALREADY_EXISTS, "container %s exists", config->id);
	if (config->n_layers > PROTO_LAYERS_MAX)
		return err_set(err, ERR_INVALID, "image has more than %d layers", PROTO_LAYERS_MAX);
	return 0;
}

int container_start(struct sandbox *s, const struct container_config *config, struct err *err)
{
	auto_free char *bundle = container_dir(s, config->id);
	int r = check_start(s, config, err);

	if (r == 0)
		r = write_bundle(s, config, bundle, err);
	if (r < 0)
		return r;
	r = send_start(s, config, bundle);
	if (r < 0) {
		rm_rf(bundle);
		return err_errno(err, -r, "send the container to its sandbox");
	}
	struct container *c = container_new(s, config->id, config->name, config->attempt);
	c->image_ref = xstrdup_null(config->image_ref);
	c->stdin_open = config->stdin_open;
	return 0;
}

int container_kill(struct sandbox *s, const char *id, int signo)
{
	struct proto_msg m = {.type = PROTO_KILL, .id = id, .signo = (uint64_t)signo};
	const struct container *c = container_find(s, id);

	if (!c || c->state == PROTO_STATE_ENDED)
		return -ESRCH;
	return link_send(s, &m, NULL, 0);
}

void container_remove(struct sandbox *s, const char *id)
{
	struct proto_msg m = {.type = PROTO_REMOVE, .id = id};
	struct container *c = container_find(s, id);

	if (!c || c->state != PROTO_STATE_ENDED)
		return;
	if (s->sock >= 0 && link_send(s, &m, NULL, 0) < 0)
		log_debug("container %s: removal is left to the end of its pod", id);
	container_forget(s, c);
}
