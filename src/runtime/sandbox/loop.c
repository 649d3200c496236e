/* SPDX-License-Identifier: Apache-2.0 */
/* The sandbox's event loop and its children. */
#include "sandbox.h"

#include <elf.h>
#include <fcntl.h>
#include <link.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

enum { SHED_AFTER_MS = 500 };

static struct {
	int epoll;
	struct source signals;
	struct command *commands;
	bool worked; /* code was used that an idle sandbox does not need */
} loop = {.epoll = -1};

/* ---- descriptors ------------------------------------------------------------------------ */

/* A source that wants nothing is out of the set: a hang-up could not be masked otherwise. */
static void source_watch(struct source *s, int op)
{
	struct epoll_event ev = {.events = s->events, .data.ptr = s};

	epoll_ctl(loop.epoll, op, s->fd, &ev);
}

void source_open(struct source *s, int fd, uint32_t events, void (*fn)(void *, uint32_t), void *arg)
{
	*s = (struct source){.fd = fd, .events = events, .fn = fn, .arg = arg};
	if (fd >= 0 && events)
		source_watch(s, EPOLL_CTL_ADD);
}

void source_want(struct source *s, uint32_t events)
{
	uint32_t before = s->events;

	if (s->fd < 0 || before == events)
		return;
	s->events = events;
	source_watch(s, !events ? EPOLL_CTL_DEL : !before ? EPOLL_CTL_ADD : EPOLL_CTL_MOD);
}

void source_close(struct source *s)
{
	if (s->fd < 0)
		return;
	/* Explicitly: a copy of the descriptor may live on in a child for a moment. */
	source_want(s, 0);
	s->fd = fd_close(s->fd);
}

static void on_signal(void *arg UNUSED, uint32_t events UNUSED)
{
	struct signalfd_siginfo si;

	while (read(loop.signals.fd, &si, sizeof(si)) == (ssize_t)sizeof(si)) {
		if (si.ssi_signo == SIGCHLD)
			children_reap();
		else
			self_stop(SIGTERM, 5000);
	}
}

void loop_init(void)
{
	sigset_t set;

	loop.epoll = epoll_create1(EPOLL_CLOEXEC);
	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigprocmask(SIG_BLOCK, &set, NULL);
	source_open(&loop.signals, signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK), EPOLLIN,
		    on_signal, NULL);
}

static bool finished(void)
{
	if (!self.stopping)
		return false;
	for (struct container *c = self.containers; c; c = c->next)
		if (c->state == PROTO_STATE_RUNNING || c->launch)
			return false;
	return true;
}

/* Milliseconds until the grace is over. At its end everything is killed, and whoever
 * survives even that is left to the daemon, which owns the cgroup. */
static int stop_timeout(void)
{
	uint64_t now = clock_mono_ms();

	if (now < self.deadline_ms)
		return (int)(self.deadline_ms - now);
	for (struct container *c = self.containers; c; c = c->next)
		container_kill(c, SIGKILL);
	self.deadline_ms = now + 2000;
	return 2000;
}

/* The program's own ELF header, placed by the linker. */
extern const char __ehdr_start[] __attribute__((visibility("hidden")));

/*
 * Lets go of the program's own pages: they stay in the page cache, and an idle sandbox needs few.
 * One per pod waits for months; this takes three quarters off its resident size.
 */
static void shed_pages(void)
{
	const ElfW(Ehdr) *header = (const void *)__ehdr_start;
	const ElfW(Phdr) *ph = (const void *)(__ehdr_start + header->e_phoff);
	uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE), first = 0;
	bool seen = false;

	for (size_t i = 0; i < header->e_phnum; i++) {
		if (ph[i].p_type != PT_LOAD)
			continue;
		if (!seen)
			first = ph[i].p_vaddr; /* where the header lies */
		seen = true;
		uintptr_t at = (uintptr_t)__ehdr_start + (ph[i].p_vaddr - first);
		uintptr_t from = at & ~(page - 1);
		if (!(ph[i].p_flags & PF_W))
			madvise((void *)from, at + ph[i].p_memsz - from, MADV_DONTNEED);
	}
	loop.worked = false;
}

void loop_run(void)
{
	unsigned kills = 0;

	loop.worked = true;
	while (!finished()) {
		struct epoll_event ev;
		int timeout = self.stopping ? stop_timeout() : loop.worked ? SHED_AFTER_MS : -1;
		/* One event at a time: a source freed by its handler has no stale event left. */
		int n = epoll_wait(loop.epoll, &ev, 1, timeout);

		if (n > 0) {
			struct source *s = ev.data.ptr;
			s->fn(s->arg, ev.events);
		}
		if (n == 0 && self.stopping && ++kills > 3)
			break;
		if (n == 0)
			shed_pages();
	}
}

/* ---- children --------------------------------------------------------------------------- */

struct command {
	struct command *next;
	pid_t pid;
	bool launch;
	char *log;
	command_fn *fn;
	void *arg;
};

static const char *const command_env[] = {
	"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", NULL};

/* Runs in the child; the parent sleeps until exec, sharing its memory (vfork(2)). */
NORETURN static void child_exec(const char *const *argv, const int fds[3])
{
	sigset_t none;
	prctl(PR_SET_PDEATHSIG, SIGKILL); /* no container is to appear after us */
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	int std[3];

	/* Above 2 first: a given descriptor may have one of the numbers we are about to fill. */
	for (int i = 0; i < 3; i++)
		std[i] = fcntl(fds[i] >= 0 ? fds[i] : null, F_DUPFD_CLOEXEC, 3);
	for (int i = 0; i < 3; i++)
		if (dup2(std[i], i) < 0)
			_exit(127);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	execve(argv[0], (char *const *)(uintptr_t)argv, (char *const *)(uintptr_t)command_env);
	_exit(127);
}

static __attribute__((noinline)) pid_t spawn(const char *const *argv, const int fds[3])
{
	pid_t pid = vfork();

	if (pid == 0)
		child_exec(argv, fds);
	return pid;
}

struct command *command_start(const char *const *argv, const char *log, const int fds[3],
			      bool launch, command_fn *fn, void *arg)
{
	const char *all[24] = {self.opt.runtime, "--root", "oci", "--log", log,
			       "--log-format",	 "json"};
	auto_free char *root = path_join(self.opt.dir, "oci");
	size_t n = 7;

	all[2] = root;
	while (*argv && n < ARRAY_SIZE(all) - 1)
		all[n++] = *argv++;
	unlink(log);
	pid_t pid = spawn(all, fds);
	if (pid < 0)
		return NULL;
	struct command *c = xnew(struct command);
	*c = (struct command){loop.commands, pid, launch, xstrdup(log), fn, arg};
	loop.commands = c;
	return c;
}

/* Undoes the escapes of a JSON string that error messages have. */
static void unescape(const char *from, char *to, size_t size)
{
	size_t n = 0;

	for (; *from && *from != '"' && n < size - 1; from++) {
		if (*from == '\\' && from[1] && *++from == 'n')
			to[n++] = ' ';
		else
			to[n++] = *from;
	}
	to[n] = '\0';
}

/* The last "msg" of the runtime's log: its final and most telling complaint. */
static void read_complaint(const char *log, char message[static MESSAGE_MAX])
{
	static const char key[] = "\"msg\":";
	auto_free char *text = NULL;
	const char *last = NULL;

	message[0] = '\0';
	if (file_read(log, 64 * 1024, &text, NULL) < 0)
		return;
	for (const char *p = text; (p = strstr(p, key)); p += sizeof(key) - 1)
		last = p;
	if (!last)
		return;
	last += sizeof(key) - 1;
	last += strspn(last, " ");
	if (*last == '"')
		unescape(last + 1, message, MESSAGE_MAX);
}

static void command_ended(struct command *c, int status)
{
	bool ok = WIFEXITED(status) && WEXITSTATUS(status) == 0;

	char message[MESSAGE_MAX] = "";

	loop.worked = true;

	for (struct command **p = &loop.commands; *p; p = &(*p)->next) {
		if (*p == c) {
			*p = c->next;
			break;
		}
	}
	if (!ok)
		read_complaint(c->log, message);
	if (!ok && !*message)
		snprintf(message, sizeof(message), "%s ended with status %d", self.opt.runtime,
			 status_code(status));
	unlink(c->log);
	c->fn(c->arg, ok, message);
	free(c->log);
	free(c);
}

static bool command_reaped(pid_t pid, int status)
{
	for (struct command *c = loop.commands; c; c = c->next) {
		if (c->pid == pid) {
			command_ended(c, status);
			return true;
		}
	}
	return false;
}

/* While a launch runs, a dead stranger may be the very process it is about to tell us of: only
 * the launches themselves are reaped then. */
static bool reap_launch(void)
{
	for (struct command *c = loop.commands; c; c = c->next) {
		int status;

		if (c->launch && waitpid(c->pid, &status, WNOHANG) == c->pid) {
			command_ended(c, status);
			return true;
		}
	}
	return false;
}

static bool launching(void)
{
	for (struct command *c = loop.commands; c; c = c->next)
		if (c->launch)
			return true;
	return false;
}

void children_reap(void)
{
	pid_t pid;
	int status;

	while (reap_launch())
		;
	if (launching())
		return;
	while (!launching() && (pid = waitpid(-1, &status, WNOHANG)) > 0) {
		if (pid == self.share_pid)
			self_stop(SIGKILL, 0); /* took all containers along */
		else if (!command_reaped(pid, status) && !container_reaped(pid, status))
			exec_reaped(pid, status);
	}
}
