/* SPDX-License-Identifier: Apache-2.0 */
/*
 * coracle-sandbox: holds one pod's namespaces and its containers, and outlives the daemon.
 * Started by coracled with the listening control socket as descriptor 3.
 */
#include "sandbox.h"

#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

struct self self;

enum { CONTROL_FD = 3, SHUTDOWN_GRACE_MS = 5000 };

enum option_code {
	OPT_DIR = 256,
	OPT_RUNTIME,
	OPT_HOSTNAME,
	OPT_JOIN,
	OPT_SYSCTL,
	OPT_NET,
	OPT_IPC,
	OPT_UTS,
	OPT_SHARE_PID,
	OPT_HIDE_UNIFIED
};

static const struct option options[] = {
	{"dir", required_argument, NULL, OPT_DIR},
	{"runtime", required_argument, NULL, OPT_RUNTIME},
	{"hostname", required_argument, NULL, OPT_HOSTNAME},
	{"join", required_argument, NULL, OPT_JOIN},
	{"sysctl", required_argument, NULL, OPT_SYSCTL},
	{"net", no_argument, NULL, OPT_NET},
	{"ipc", no_argument, NULL, OPT_IPC},
	{"uts", no_argument, NULL, OPT_UTS},
	{"share-pid", no_argument, NULL, OPT_SHARE_PID},
	{"hide-unified", no_argument, NULL, OPT_HIDE_UNIFIED},
	{NULL, 0, NULL, 0},
};

uint64_t clock_wall_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

uint64_t clock_mono_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000u + (uint64_t)ts.tv_nsec / 1000000u;
}

int status_code(int status)
{
	return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

void self_stop(int signo, uint64_t grace_ms)
{
	self.stopping = true;
	self.deadline_ms = clock_mono_ms() + grace_ms;
	for (struct container *c = self.containers; c; c = c->next)
		container_kill(c, signo);
}

/* The daemon reads this file when the sandbox ends before it answered. */
static void complain(const char *what)
{
	int fd = open("error", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	if (fd < 0 || write(fd, what, strlen(what)) < 0)
		dprintf(STDERR_FILENO, "coracle-sandbox: %s\n", what);
	fd_close(fd);
}

static bool options_parse(int argc, char **argv, struct strv *joins, struct strv *sysctls)
{
	struct options *o = &self.opt;
	int code;

	while ((code = getopt_long(argc, argv, "", options, NULL)) >= 0) {
		switch (code) {
		case OPT_DIR:
			o->dir = optarg;
			break;
		case OPT_RUNTIME:
			o->runtime = optarg;
			break;
		case OPT_HOSTNAME:
			o->hostname = optarg;
			break;
		case OPT_JOIN:
			strv_add(joins, optarg);
			break;
		case OPT_SYSCTL:
			strv_add(sysctls, optarg);
			break;
		case OPT_NET:
			o->net = true;
			break;
		case OPT_IPC:
			o->ipc = true;
			break;
		case OPT_UTS:
			o->uts = true;
			break;
		case OPT_SHARE_PID:
			o->share_pid = true;
			break;
		case OPT_HIDE_UNIFIED:
			o->hide_unified = true;
			break;
		default:
			return false;
		}
	}
	o->joins = (const char *const *)joins->v;
	o->sysctls = (const char *const *)sysctls->v;
	return o->dir && o->runtime;
}

/* A pod must not lose its sandbox to the OOM killer, nor the log to a missing descriptor. */
static void harden(void)
{
	int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);

	if (fd >= 0 && write(fd, "-998", 4) < 0)
		log_debug("oom_score_adj: %s", strerror(errno));
	fd_close(fd);
	signal(SIGPIPE, SIG_IGN);
	signal(SIGHUP, SIG_IGN);
	umask(022);
}

int main(int argc, char **argv)
{
	char what[MESSAGE_MAX] = "";
	struct strv joins = {0}, sysctls = {0};

	if (!options_parse(argc, argv, &joins, &sysctls)) {
		dprintf(STDERR_FILENO, "coracle-sandbox is started by coracled, not by hand\n");
		return 2;
	}
	if (chdir(self.opt.dir) < 0 || fcntl(CONTROL_FD, F_SETFD, FD_CLOEXEC) < 0) {
		dprintf(STDERR_FILENO, "coracle-sandbox: %s: %s\n", self.opt.dir, strerror(errno));
		return 1;
	}
	harden();
	if (prctl(PR_SET_CHILD_SUBREAPER, 1) < 0 || namespaces_enter(&self.opt, what) < 0) {
		complain(*what ? what : strerror(errno));
		return 1;
	}
	loop_init();
	control_open(CONTROL_FD);
	loop_run();
	return 0;
}
