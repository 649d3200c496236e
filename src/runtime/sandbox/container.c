/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Containers of the pod: queued, started one after the other, watched, recorded, cleaned up.
 *
 * `run --detach` makes a container in one go; its process then becomes our child, for we are the
 * subreaper, and wait(2) tells us its end.
 */
#include "sandbox.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

static void start_next(void);

struct container *container_find(const char *id)
{
	struct container *c = self.containers;

	while (c && !(id && streq(c->id, id) && !c->removed))
		c = c->next;
	return c;
}

void container_fill(const struct container *c, struct proto_msg *m)
{
	*m = (struct proto_msg){
		.type = PROTO_STATE,
		.id = c->id,
		.name = c->name,
		.message = c->message,
		.attempt = c->attempt,
		.state = c->state,
		.pid = (uint64_t)c->pid,
		.started_ns = c->started_ns,
		.finished_ns = c->finished_ns,
		.end = c->end,
		.code = (uint64_t)(int64_t)c->code,
		.signo = (uint64_t)c->signo,
	};
}

static void tell(const struct container *c)
{
	struct proto_msg m;

	container_fill(c, &m);
	control_send(NULL, &m, -1);
}

static void container_free(struct container *c)
{
	struct container **p = &self.containers;

	while (*p && *p != c)
		p = &(*p)->next;
	if (*p)
		*p = c->next;
	attach_end_container(c);
	stdio_close(c);
	log_close(&c->log);
	strv_done(&c->layers);
	free(c->id);
	free(c->name);
	free(c->bundle);
	free(c->write_dir);
	free(c->oom_file);
	free(c->procs_file);
	free(c->message);
	free(c->in_pending);
	free(c);
}

/* ---- the end ---------------------------------------------------------------------------- */

/* The record is complete before anybody hears of the exit, so that no crash in between loses it. */
static void record_exit(const struct container *c)
{
	auto_free char *path = path_join(c->bundle, "exit");
	auto_strbuf text = {0};

	strbuf_addf(&text, "end %u\ncode %d\nsignal %d\nstarted %llu\nfinished %llu\n", c->end,
		    c->code, c->signo, (unsigned long long)c->started_ns,
		    (unsigned long long)c->finished_ns);
	if (file_write_atomic(path, text.s, text.len, 0600, false) < 0)
		log_warn("%s: exit is not recorded", path);
}

/* memory.events (cgroup v2) and memory.oom_control (v1) both have a line "oom_kill N". */
static bool was_oom_killed(const struct container *c)
{
	auto_free char *text = NULL;
	const char *line;

	if (!c->oom_file || file_read(c->oom_file, 4096, &text, NULL) < 0)
		return false;
	line = strstr(text, "oom_kill ");
	return line && strtoul(line + strlen("oom_kill "), NULL, 10) > 0;
}

/* In a pid namespace that is not its own a container's other processes outlive its first one. */
static void kill_leftovers(const struct container *c)
{
	auto_free char *text = NULL;

	if (!c->procs_file || file_read(c->procs_file, 64 * 1024, &text, NULL) < 0)
		return;
	for (char *p = text, *end; *p; p = end) {
		long pid = strtol(p, &end, 10);

		if (end == p)
			break;
		if (pid > 1 && pid != getpid())
			kill((pid_t)pid, SIGKILL);
		end += strspn(end, "\n");
	}
}

static void on_deleted(void *arg, bool ok UNUSED, const char *message UNUSED)
{
	struct container *c = arg;

	c->cleaning = false;
	stdio_drain(c);
	attach_end_container(c);
	stdio_close(c);
	log_close(&c->log);
	if (c->mounted)
		rootfs_unmount(c->bundle);
	c->mounted = false;
	if (c->removed)
		container_remove(c);
}

/* The runtime forgets the container, its cgroup goes. Nobody waits for that. */
static void clean_up(struct container *c)
{
	const char *argv[] = {"delete", "--force", c->id, NULL};
	auto_free char *log = path_join(c->bundle, "delete.log");

	c->cleaning = true;
	if (!command_start(argv, log, (const int[]){-1, -1, -1}, false, on_deleted, c))
		on_deleted(c, false, "");
}

static void finish(struct container *c)
{
	c->state = PROTO_STATE_ENDED;
	c->finished_ns = clock_wall_ns();
	if (!c->started_ns)
		c->started_ns = c->finished_ns;
	record_exit(c);
	tell(c);
	clean_up(c);
}

void container_ended(struct container *c, int status)
{
	c->code = status_code(status);
	c->signo = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
	c->end = WIFSIGNALED(status) ? PROTO_END_SIGNALED : PROTO_END_EXITED;
	if (c->code != 0 && was_oom_killed(c))
		c->end = PROTO_END_OOM;
	kill_leftovers(c);
	stdio_drain(c);
	finish(c);
}

bool container_reaped(pid_t pid, int status)
{
	for (struct container *c = self.containers; c; c = c->next) {
		if (c->state == PROTO_STATE_RUNNING && c->pid == pid) {
			container_ended(c, status);
			return true;
		}
	}
	return false;
}

static void start_failed(struct container *c, const char *message)
{
	c->message = xstrndup(message, MESSAGE_MAX);
	c->end = PROTO_END_START_FAILED;
	c->code = 128;
	stdio_close(c);
	finish(c);
}

/* ---- the start -------------------------------------------------------------------------- */

static pid_t read_pid(const char *path)
{
	auto_free char *text = NULL;

	return file_read(path, 32, &text, NULL) < 0 ? 0 : (pid_t)strtol(text, NULL, 10);
}

struct launch {
	struct container *c;
	int console;
};

static void on_run(void *arg, bool ok, const char *message)
{
	struct launch *l = arg;
	struct container *c = l->c;
	auto_free char *pid_file = path_join(c->bundle, "pid");

	c->launch = NULL;
	strv_done(&c->layers);
	if (l->console >= 0) {
		int master = console_take(l->console, "console");
		if (master >= 0)
			stdio_tty(c, master);
	}
	free(l);
	c->pid = ok ? read_pid(pid_file) : 0;
	if (c->pid <= 0) {
		start_failed(c, ok ? "the OCI runtime told no process id" : message);
	} else {
		c->state = PROTO_STATE_RUNNING;
		c->started_ns = clock_wall_ns();
		stdio_listen(c);
		tell(c);
		if (self.stopping || c->pending_signo)
			kill(c->pid, self.stopping ? SIGKILL : c->pending_signo);
	}
	start_next();
}

/* Descriptors of the runtime's stdio are closed by the caller. */
static int run(struct container *c, int child[3], char what[static MESSAGE_MAX])
{
	auto_free char *log = path_join(c->bundle, "run.log");
	auto_free char *pid_file = path_join(c->bundle, "pid");
	char console[64];
	struct launch *l = xnew(struct launch);
	const char *argv[] = {"run",	"--detach", "--bundle", c->bundle, "--pid-file",
			      pid_file, c->id,	    NULL,	NULL,	   NULL};

	*l = (struct launch){.c = c, .console = -1};
	if (c->flags & PROTO_TTY) {
		l->console = console_listen("console", console, sizeof(console));
		argv[6] = "--console-socket";
		argv[7] = console;
		argv[8] = c->id;
	}
	if (!(c->flags & PROTO_TTY) || l->console >= 0)
		c->launch = command_start(argv, log, child, true, on_run, l);
	if (c->launch)
		return 0;
	snprintf(what, MESSAGE_MAX, "cannot run %s: %s", self.opt.runtime, strerror(errno));
	fd_close(l->console);
	free(l);
	return -1;
}

static void launch(struct container *c)
{
	char what[MESSAGE_MAX] = "";
	int child[3] = {-1, -1, -1};
	int r = rootfs_mount(c->bundle, c->write_dir, &c->layers, what);

	if (r == 0) {
		c->mounted = true;
		r = stdio_open(c, child);
		if (r < 0)
			snprintf(what, sizeof(what), "pipes: %s", strerror(-r));
	}
	if (r == 0)
		r = run(c, child, what);
	for (int i = 0; i < 3; i++)
		fd_close(child[i]);
	if (r < 0)
		start_failed(c, what);
}

/* One at a time: what runs `run` is the only one whose process we do not know yet. */
static void start_next(void)
{
	struct container *c = self.containers;

	for (struct container *o = self.containers; o; o = o->next)
		if (o->launch)
			return;
	while (c && !(c->state == PROTO_STATE_QUEUED && !c->removed))
		c = c->next;
	if (c && !self.stopping) {
		launch(c);
		if (!c->launch)
			start_next();
	}
}

static bool start_valid(const struct proto_msg *m)
{
	size_t n = 0;

	for (struct container *c = self.containers; c; c = c->next)
		n++;
	return m->id && m->name && m->bundle && m->write_dir && m->log && n < CONTAINERS_MAX &&
	       !container_find(m->id);
}

static void refuse(const struct proto_msg *m)
{
	struct proto_msg answer = {.type = PROTO_STATE,
				   .id = m->id,
				   .name = m->name,
				   .state = PROTO_STATE_ENDED,
				   .end = PROTO_END_START_FAILED,
				   .code = 128,
				   .message = "the sandbox cannot take this container"};

	control_send(NULL, &answer, -1);
}

void container_start(const struct proto_msg *m)
{
	struct container **tail = &self.containers;

	if (!start_valid(m)) {
		refuse(m);
		return;
	}
	struct container *c = xnew(struct container);
	c->id = xstrdup(m->id);
	c->name = xstrdup(m->name);
	c->bundle = xstrdup(m->bundle);
	c->write_dir = xstrdup(m->write_dir);
	c->oom_file = xstrdup_null(m->oom_file);
	c->procs_file = xstrdup_null(m->procs_file);
	c->attempt = m->attempt;
	c->flags = m->flags;
	c->out.src.fd = c->err.src.fd = c->in.fd = -1;
	for (size_t i = 0; i < m->n_layers; i++)
		strv_add(&c->layers, m->layers[i]);
	log_open(&c->log, m->log, m->log_max);
	while (*tail)
		tail = &(*tail)->next;
	*tail = c;
	start_next();
}

/* ---- requests --------------------------------------------------------------------------- */

void container_kill(struct container *c, int signo)
{
	if (c->state == PROTO_STATE_RUNNING)
		kill(c->pid, signo); /* not reaped yet: the pid is still its own */
	else if (c->state == PROTO_STATE_QUEUED && c->launch)
		c->pending_signo = signo; /* killing the runtime halfway would leave strays */
	else if (c->state == PROTO_STATE_QUEUED && !c->launch && signo == SIGKILL)
		start_failed(c, "killed before it was started");
}

void container_remove(struct container *c)
{
	if (c->state != PROTO_STATE_ENDED)
		return;
	c->removed = true;
	if (c->cleaning)
		return;
	rm_rf(c->bundle);
	container_free(c);
}
