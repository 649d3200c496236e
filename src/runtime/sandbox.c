/* SPDX-License-Identifier: Apache-2.0 */
/* Sandboxes as the daemon sees them: start, watch, stop, and what is left of them. */
#include "internal.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#define START_WITHIN_US (10 * USEC_PER_SEC)
#define STOP_WITHIN_US (8 * USEC_PER_SEC)
enum { SWEEPS_MAX = 300, CONTROL_FD = 3 };

/* ---- state ------------------------------------------------------------------------------ */

const char *sandbox_state_name(enum sandbox_state state)
{
	switch (state) {
	case SANDBOX_STARTING:
		return "starting";
	case SANDBOX_ADOPTING:
		return "adopting";
	case SANDBOX_READY:
		return "ready";
	case SANDBOX_ENDING:
		return "ending";
	}
	return "?";
}

void sandbox_set_state(struct sandbox *s, enum sandbox_state state)
{
	log_debug("sandbox %s/%s (%s): %s -> %s", s->ns, s->name, s->id,
		  sandbox_state_name(s->state), sandbox_state_name(state));
	s->state = state;
}

static void kill_process(struct sandbox *s)
{
	int r = 0;

	if (s->child)
		r = child_kill(s->child, SIGKILL);
	else if (s->watch)
		r = pidwatch_kill(s->watch, SIGKILL);
	if (r < 0)
		log_debug("sandbox %s: kill: %s", s->id, strerror(-r));
}

/* Everything is out of the way: the owner hears of it, the object goes. */
static void gone(struct sandbox *s)
{
	const struct sandbox_ops *ops = steal_ptr(s->ops);
	auto_free char *why = steal_ptr(s->why);
	void *arg = s->arg;

	if (s->adopting)
		adoption_answered(s);
	sandbox_free(s);
	if (ops && ops->on_gone)
		ops->on_gone(arg, why);
}

int sandbox_sweep(struct sandbox *s)
{
	int r;

	cgroup_kill(&s->rt->layout, s->cgroup);
	r = cgroup_remove(&s->rt->layout, s->cgroup);
	return r < 0 ? r : rm_rf(s->dir);
}

/* Killed processes need a moment: their cgroup can be removed when the last one has gone. */
static void sweep(struct sandbox *s)
{
	int r = sandbox_sweep(s);

	if (r < 0 && ++s->tries < SWEEPS_MAX) {
		timer_arm(s->timer, (s->tries < 10 ? 2 : 50) * USEC_PER_MSEC);
		return;
	}
	if (r < 0) {
		log_warn("sandbox %s/%s (%s): cannot be cleaned up: %s", s->ns, s->name, s->id,
			 strerror(-r));
		rm_rf(s->dir);
	}
	gone(s);
}

/* False: the connection is there, but cannot take it. Without one on_retry() sends it. */
static bool send_stop(struct sandbox *s)
{
	struct proto_msg stop = {.type = PROTO_STOP};
	int r = link_send(s, &stop, NULL, 0);

	return r == 0 || r == -ENOTCONN;
}

static void on_retry(void *arg)
{
	struct sandbox *s = arg;
	int r = link_open(s);

	if ((r == -ECONNREFUSED || r == -ENOENT) && s->state == SANDBOX_ADOPTING) {
		sandbox_end(s, "the sandbox ended"); /* no pid is known that could be watched */
		return;
	}
	if (r == 0 && s->stopping && !send_stop(s))
		r = -EIO;
	if (r < 0) {
		link_close(s);
		timer_arm(s->retry, 100 * USEC_PER_MSEC);
	}
}

/* No connection, no answer: only the pid file knows it. The command line must agree. */
static void kill_recorded(const struct sandbox *s)
{
	auto_free char *file = path_join(s->dir, "pid");
	auto_free char *text = NULL;
	auto_free char *cmdline = NULL;
	size_t len = 0;
	long pid = file_read(file, 32, &text, NULL) < 0 ? 0 : strtol(text, NULL, 10);

	if (pid <= 1)
		return;
	auto_free char *proc = xasprintf("/proc/%ld/cmdline", pid);
	auto_free char *wanted = xasprintf("--dir=%s", s->dir);
	if (file_read(proc, 64 * 1024, &cmdline, &len) == 0 &&
	    memmem(cmdline, len, wanted, strlen(wanted)))
		kill((pid_t)pid, SIGKILL);
}

static void on_timer(void *arg)
{
	struct sandbox *s = arg;

	if (s->state == SANDBOX_ENDING) {
		sweep(s);
	} else if (s->stopping || s->state == SANDBOX_STARTING) {
		log_warn("sandbox %s/%s (%s) does not answer: killed", s->ns, s->name, s->id);
		kill_process(s);
	} else if (s->state == SANDBOX_ADOPTING) {
		kill_recorded(s);
		sandbox_end(s, "the sandbox did not answer");
	}
}

void sandbox_end(struct sandbox *s, const char *why)
{
	if (s->state == SANDBOX_ENDING)
		return;
	s->why = xstrdup(why);
	sandbox_set_state(s, SANDBOX_ENDING);
	link_close(s);
	exec_end_all(s);
	s->netns_fd = fd_close(s->netns_fd);
	s->tries = 0;
	/* The containers lose their keeper: nobody would ever see their end. They go at once. */
	cgroup_kill(&s->rt->layout, s->cgroup);
	timer_arm(s->timer, 0);
}

static void on_child(void *arg, int status)
{
	struct sandbox *s = arg;
	auto_free char *file = path_join(s->dir, "error");
	auto_free char *text = NULL;

	s->child = NULL;
	if (file_read(file, 1024, &text, NULL) < 0)
		text = xasprintf("the sandbox ended (status 0x%x)", (unsigned)status);
	sandbox_end(s, text);
}

static void on_watched_end(void *arg)
{
	sandbox_end(arg, "the sandbox ended");
}

/* ---- life ------------------------------------------------------------------------------- */

struct sandbox *sandbox_new(struct runtime *rt, const char *id)
{
	struct sandbox *s = xnew(struct sandbox);

	s->rt = rt;
	s->id = xstrdup(id);
	s->dir = path_join(rt->run_dir, id);
	s->ns = xstrdup("");
	s->name = xstrdup("");
	s->note = xstrdup("");
	/* Until the true one is known: where nothing is. */
	s->cgroup = xasprintf("%s/unknown/%s", rt->cgroup, id);
	s->sock = s->netns_fd = -1;
	s->timer = timer_new(rt->loop, on_timer, s);
	s->retry = timer_new(rt->loop, on_retry, s);
	list_init(&s->out);
	list_init(&s->containers);
	list_init(&s->execs);
	list_add_tail(&rt->sandboxes, &s->node);
	return s;
}

static void sandbox_destroy(void *p)
{
	struct sandbox *s = p;

	free(s->id);
	free(s->ns);
	free(s->name);
	free(s->hostname);
	free(s->dir);
	free(s->cgroup);
	free(s->log_dir);
	free(s->note);
	free(s->why);
	free(s);
}

void sandbox_free(struct sandbox *s)
{
	list_del(&s->node);
	link_close(s);
	exec_drop_all(s);
	list_foreach (&s->containers, c, struct container, node)
		container_free(c);
	if (s->child)
		child_abandon(s->child);
	pidwatch_free(s->watch);
	timer_free(s->timer);
	timer_free(s->retry);
	s->netns_fd = fd_close(s->netns_fd);
	loop_free_later(s->rt->loop, sandbox_destroy, s);
}

static void replace(char **to, const char *text)
{
	free(*to);
	*to = xstrdup_null(text);
}

/* ---- the files of a sandbox --------------------------------------------------------------- */

static int save(const struct sandbox *s)
{
	auto_free char *file = path_join(s->dir, "sandbox.json");
	json_auto_t *v = json_pack(
		"{s:s, s:s, s:s, s:s*, s:s, s:s*, s:b, s:b, s:b, s:b}", "boot", s->rt->boot_id,
		"namespace", s->ns, "name", s->name, "hostname", s->hostname, "cgroup", s->cgroup,
		"logDir", s->log_dir, "hostNetwork", s->host_network, "hostPID", s->host_pid,
		"hostIPC", s->host_ipc, "shareProcessNamespace", s->share_process_ns);
	size_t len;
	auto_free char *text = v ? json_text(v, &len) : NULL;

	return text ? file_write_atomic(file, text, len, 0600, false) : -EINVAL;
}

int sandbox_load(struct sandbox *s)
{
	auto_free char *file = path_join(s->dir, "sandbox.json");
	auto_free char *note_file = path_join(s->dir, "note");
	auto_free char *text = NULL;
	auto_free char *note = NULL;
	size_t len;
	int r = file_read(file, 64 * 1024, &text, &len);

	if (r < 0)
		return r;
	json_auto_t *v = json_parse(text, len, NULL);
	if (!v)
		return -EINVAL;
	replace(&s->ns, json_str(v, "namespace", ""));
	replace(&s->name, json_str(v, "name", ""));
	replace(&s->hostname, json_str(v, "hostname", NULL));
	replace(&s->cgroup, json_str(v, "cgroup", s->cgroup));
	replace(&s->log_dir, json_str(v, "logDir", NULL));
	s->host_network = json_bool(v, "hostNetwork", false);
	s->host_pid = json_bool(v, "hostPID", false);
	s->host_ipc = json_bool(v, "hostIPC", false);
	s->share_process_ns = json_bool(v, "shareProcessNamespace", false);
	if (file_read(note_file, 1 << 20, &note, NULL) == 0)
		replace(&s->note, note);
	return streq(json_str(v, "boot", ""), s->rt->boot_id) ? 0 : -ESTALE;
}

void sandbox_set_note(struct sandbox *s, const char *note)
{
	auto_free char *file = path_join(s->dir, "note");
	int r;

	replace(&s->note, note ? note : "");
	r = file_write_atomic(file, s->note, strlen(s->note), 0600, false);
	if (r < 0)
		log_warn("%s: %s", file, strerror(-r));
}

/* ---- start ------------------------------------------------------------------------------ */

static void add_join(const struct sandbox *s, struct strv *argv)
{
	static const enum cgroup_controller joined[] = {CG_SYSTEMD, CG_MEMORY, CG_PIDS};
	const struct cgroup_layout *l = &s->rt->layout;
	auto_free char *home = xasprintf("%s/sandboxes", s->rt->cgroup);

	for (size_t i = 0; i < ARRAY_SIZE(joined); i++) {
		/* v1: a thread that moves itself by "tasks" is spared a global lock. */
		char *file = cgroup_file(l, joined[i], home,
					 l->mode == CGROUP_V2 ? "cgroup.procs" : "tasks");
		if (!file)
			continue;
		strv_add(argv, "--join");
		strv_take(argv, file);
		if (l->mode == CGROUP_V2)
			break;
	}
}

static void command_line(const struct sandbox *s, const struct sandbox_config *config,
			 struct strv *argv)
{
	const struct {
		const char *option;
		bool given;
	} flags[] = {
		{"--net", !s->host_network},
		{"--uts", !s->host_network},
		{"--ipc", !s->host_ipc},
		{"--share-pid", s->share_process_ns && !s->host_pid},
		{"--hide-unified", s->rt->hide_unified},
	};

	strv_add(argv, s->rt->sandbox_path);
	strv_addf(argv, "--dir=%s", s->dir);
	strv_addf(argv, "--runtime=%s", s->rt->program);
	if (s->hostname)
		strv_addf(argv, "--hostname=%s", s->hostname);
	for (size_t i = 0; i < ARRAY_SIZE(flags); i++)
		if (flags[i].given)
			strv_add(argv, flags[i].option);
	for (size_t i = 0; i < config->n_sysctls; i++)
		strv_addf(argv, "--sysctl=%s=%s", config->sysctls[i].name,
			  config->sysctls[i].value);
	add_join(s, argv);
	strv_addf(argv, "%s/%s", s->ns, s->name); /* for the eyes of ps(1) */
}

static int spawn(struct sandbox *s, const struct sandbox_config *config, int listener,
		 struct err *err)
{
	/* Not ours: a NOTIFY_SOCKET, say, would make the OCI runtime wait on it. */
	static const char *const env[] = {
		"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", NULL};
	auto_strv argv = {0};
	struct child_fd fd = {.parent = listener, .child = CONTROL_FD};
	struct child_config child = {.envp = env, .fds = &fd, .n_fds = 1, .new_session = true};

	command_line(s, config, &argv);
	child.argv = (const char *const *)argv.v;
	s->child = child_spawn(s->rt->loop, &child, on_child, s, err);
	if (!s->child)
		return -ECHILD;
	s->pid = child_pid(s->child);
	auto_free char *file = path_join(s->dir, "pid");
	auto_free char *text = xasprintf("%d\n", (int)s->pid);
	int r = file_write_atomic(file, text, strlen(text), 0600, false);
	return r < 0 ? err_errno(err, -r, "write %s", file) : 0;
}

static int prepare(struct sandbox *s, const struct sandbox_config *config, struct err *err)
{
	auto_free char *oci = path_join(s->dir, "oci");
	auto_free char *home = xasprintf("%s/sandboxes", s->rt->cgroup);
	int r;

	rm_rf(s->dir);
	if (mkdir(s->dir, 0711) < 0 || mkdir(oci, 0700) < 0)
		return err_errno(err, errno, "make %s", s->dir);
	r = cgroup_create(&s->rt->layout, home, err);
	if (r == 0)
		r = cgroup_create(&s->rt->layout, s->cgroup, err);
	if (r < 0)
		return r;
	cgroup_limit(&s->rt->layout, s->cgroup, &config->limits);
	sandbox_set_note(s, config->note);
	r = save(s);
	return r < 0 ? err_errno(err, -r, "write %s/sandbox.json", s->dir) : 0;
}

static int launch(struct sandbox *s, const struct sandbox_config *config, struct err *err)
{
	int r = prepare(s, config, err);
	auto_fd int listener = r < 0 ? -1 : link_listen(s->dir);

	if (r < 0)
		return r;
	if (listener < 0)
		return err_errno(err, -listener, "listen in %s", s->dir);
	r = spawn(s, config, listener, err);
	if (r < 0)
		return r;
	r = link_open(s);
	return r < 0 ? err_errno(err, -r, "connect to the sandbox") : 0;
}

static void set_config(struct sandbox *s, const struct sandbox_config *config)
{
	auto_free char *qos = xstrdup(str_empty(config->qos) ? "BestEffort" : config->qos);

	for (char *p = qos; *p; p++)
		*p = (char)(*p >= 'A' && *p <= 'Z' ? *p + 32 : *p);
	replace(&s->ns, config->ns ? config->ns : "");
	replace(&s->name, config->name ? config->name : "");
	replace(&s->hostname, config->hostname);
	replace(&s->log_dir, config->log_dir);
	free(s->cgroup);
	s->cgroup = xasprintf("%s/%s/%s", s->rt->cgroup, qos, s->id);
	s->host_network = config->host_network;
	s->host_pid = config->host_pid;
	s->host_ipc = config->host_ipc;
	s->share_process_ns = config->share_process_ns;
}

/* It becomes a directory and a cgroup. */
static bool id_valid(const char *id)
{
	return !str_empty(id) && strlen(id) <= 128 && !strchr(id, '/') && id[0] != '.';
}

struct sandbox *sandbox_start(struct runtime *rt, const struct sandbox_config *config,
			      const struct sandbox_ops *ops, void *arg, struct err *err)
{
	struct sandbox *s;

	if (!id_valid(config->id)) {
		err_set(err, ERR_INVALID, "invalid sandbox id");
		return NULL;
	}
	list_foreach (&rt->sandboxes, other, struct sandbox, node) {
		if (streq(other->id, config->id)) {
			err_set(err, ERR_ALREADY_EXISTS, "sandbox %s is %s", config->id,
				sandbox_state_name(other->state));
			return NULL;
		}
	}
	s = sandbox_new(rt, config->id);
	set_config(s, config);
	s->state = SANDBOX_STARTING;
	if (launch(s, config, err) < 0) {
		/* No owner yet: cleaned up without a word. */
		sandbox_end(s, "not started");
		kill_process(s);
		return NULL;
	}
	s->ops = ops;
	s->arg = arg;
	timer_arm(s->timer, START_WITHIN_US);
	return s;
}

/* ---- events and requests ------------------------------------------------------------------ */

static int watch_process(struct sandbox *s, pid_t pid)
{
	s->pid = pid;
	if (!s->child && !s->watch)
		s->watch = pidwatch_new(s->rt->loop, pid, on_watched_end, s);
	return s->child || s->watch ? 0 : -ESRCH;
}

static int open_netns(struct sandbox *s)
{
	char path[64];

	if (s->host_network || s->netns_fd >= 0)
		return 0;
	snprintf(path, sizeof(path), "/proc/%d/ns/net", (int)s->pid);
	s->netns_fd = open(path, O_RDONLY | O_CLOEXEC);
	return s->netns_fd < 0 ? -errno : 0;
}

void sandbox_hello(struct sandbox *s, const struct proto_msg *m)
{
	enum sandbox_state before = s->state;

	s->share_pid = (pid_t)m->share_pid;
	s->tries = 0;
	if (before != SANDBOX_STARTING && before != SANDBOX_ADOPTING)
		return;
	if (watch_process(s, (pid_t)m->pid) < 0 || open_netns(s) < 0) {
		sandbox_end(s, "the sandbox ended");
		return;
	}
	if (!s->stopping)
		timer_disarm(s->timer);
	sandbox_set_state(s, SANDBOX_READY);
	if (s->adopting)
		adoption_answered(s);
	else if (s->ops && s->ops->on_ready)
		s->ops->on_ready(s->arg, s->pid, s->netns_fd);
}

void sandbox_set_owner(struct sandbox *s, const struct sandbox_ops *ops, void *arg)
{
	s->ops = ops;
	s->arg = arg;
}

pid_t sandbox_pid(const struct sandbox *s)
{
	return s->pid;
}

int sandbox_netns_fd(const struct sandbox *s)
{
	return s->netns_fd;
}

void sandbox_stop(struct sandbox *s)
{
	if (s->stopping || s->state == SANDBOX_ENDING)
		return;
	s->stopping = true;
	if (!send_stop(s))
		kill_process(s);
	timer_arm(s->timer, STOP_WITHIN_US);
}

int sandbox_stats(const struct sandbox *s, const char *id, struct cgroup_stats *ret)
{
	auto_free char *path = id ? container_cgroup(s, id) : xstrdup(s->cgroup);

	return cgroup_read_stats(&s->rt->layout, path, ret);
}
