/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Processes started in a running container (kubectl exec, exec probes, hooks). They become our
 * children as containers do, and end with the connection that asked for them.
 */
#include "sandbox.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

struct exec {
	struct exec *next;
	struct conn *conn; /* NULL: nobody waits */
	uint32_t id;
	pid_t pid; /* 0: the runtime is still at it */
	struct command *launch;
	char *files; /* prefix of process.json (".json"), pid and log file */
	int console;
	char console_name[24];
	bool killed;
};

static struct exec *execs;
static unsigned n_execs;

static void exec_free(struct exec *e)
{
	struct exec **p = &execs;

	while (*p != e)
		p = &(*p)->next;
	*p = e->next;
	n_execs--;
	unlink(e->files);
	free(e->files);
	free(e);
}

static void exec_ended(struct exec *e, int code, const char *message)
{
	struct proto_msg m = {.type = PROTO_EXEC_ENDED, .exec = e->id, .message = message};

	m.code = (uint64_t)(int64_t)code;
	if (e->conn)
		control_send(e->conn, &m, -1);
	exec_free(e);
}

/* With its whole process group when it leads one, as the runtimes arrange it. */
static void exec_signal(struct exec *e)
{
	e->killed = true;
	if (e->pid > 0)
		kill(getpgid(e->pid) == e->pid ? -e->pid : e->pid, SIGKILL);
}

static pid_t exec_read_pid(const struct exec *e)
{
	auto_free char *path = xasprintf("%s.pid", e->files);
	auto_free char *text = NULL;
	int r = file_read(path, 32, &text, NULL);

	unlink(path);
	return r < 0 ? 0 : (pid_t)strtol(text, NULL, 10);
}

static void on_exec(void *arg, bool ok, const char *message)
{
	struct exec *e = arg;
	struct proto_msg started = {.type = PROTO_EXEC_STARTED, .exec = e->id};
	auto_fd int master = e->console >= 0 ? console_take(e->console, e->console_name) : -1;
	pid_t pid = exec_read_pid(e);

	e->launch = NULL;
	if (!ok || pid <= 0) {
		exec_ended(e, -ENOEXEC, ok ? "the OCI runtime told no process id" : message);
		return;
	}
	e->pid = pid;
	started.pid = (uint64_t)pid;
	if (e->conn)
		control_send(e->conn, &started, master);
	if (e->killed || !e->conn)
		exec_signal(e);
}

static bool exec_launch(struct exec *e, const struct container *c, const struct proto_msg *m,
			const int io[3])
{
	auto_free char *pid_file = xasprintf("%s.pid", e->files);
	auto_free char *log = xasprintf("%s.log", e->files);
	const char *argv[] = {"exec",	"--detach", "--process", m->bundle, "--pid-file",
			      pid_file, c->id,	    NULL,	 NULL,	    NULL};
	char console[64];

	if (m->flags & PROTO_TTY) {
		snprintf(e->console_name, sizeof(e->console_name), "console-%u", e->id);
		e->console = console_listen(e->console_name, console, sizeof(console));
		if (e->console < 0)
			return false;
		argv[6] = "--console-socket";
		argv[7] = console;
		argv[8] = c->id;
	}
	e->launch = command_start(argv, log, io, true, on_exec, e);
	if (!e->launch)
		e->console = fd_close(e->console);
	return e->launch;
}

void exec_start(struct conn *conn, struct container *c, const struct proto_msg *m,
		int fds[static PROTO_FDS_MAX])
{
	struct exec *e = xnew(struct exec);
	int io[3] = {-1, -1, -1};

	*e = (struct exec){execs, conn, (uint32_t)m->exec, 0, NULL, xstrdup(m->bundle), -1, "", 0};
	execs = e;
	n_execs++;
	if (!(m->flags & PROTO_TTY))
		fds_assign(m->flags, fds, io);
	if (n_execs > EXECS_MAX)
		exec_ended(e, -EAGAIN, "too many processes are being run in this pod");
	else if (!exec_launch(e, c, m, io))
		exec_ended(e, -ENOEXEC, "cannot run the OCI runtime");
	for (size_t i = 0; i < PROTO_FDS_MAX; i++)
		fd_close(fds[i]);
}

bool exec_kill(uint32_t id)
{
	for (struct exec *e = execs; e; e = e->next) {
		if (e->id == id) {
			exec_signal(e);
			return true;
		}
	}
	return false;
}

bool exec_reaped(pid_t pid, int status)
{
	for (struct exec *e = execs; e; e = e->next) {
		if (e->pid == pid) {
			exec_ended(e, status_code(status), NULL);
			return true;
		}
	}
	return false;
}

void exec_end_conn(struct conn *conn)
{
	for (struct exec *e = execs; e; e = e->next) {
		if (e->conn == conn) {
			e->conn = NULL;
			exec_signal(e);
		}
	}
}
