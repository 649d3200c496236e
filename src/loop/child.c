/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Children by clone(CLONE_VM|CLONE_VFORK|CLONE_PIDFD): no page tables are copied, so spawning costs
 * the same however large the daemon is, and the pidfd is there from birth. See clone(2).
 */
#include "internal.h"
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
	CHILD_STACK = 64 * 1024,
	CHILD_MAX_FDS = 32,
	CHILD_SCRATCH_FD = 512, /* where descriptors are parked while 0..n are laid out */
};

struct child {
	struct list node;
	struct loop *loop;
	pid_t pid;
	int pidfd;
	struct io *io;
	child_fn *fn; /* NULL: abandoned */
	void *arg;
};

/* Shared with the child, which runs on its own stack in our memory until it execs. */
struct birth {
	const struct child_config *config;
	const char *const *envp;
	sigset_t mask;
	int error; /* errno of what failed in the child */
};

/*
 * What runs in the child shares our memory, so also the address sanitizer's notes on its stack,
 * which exec leaves behind for the next child's: these functions go without.
 */
#define IN_CHILD __attribute__((no_sanitize_address))

IN_CHILD static int lay_out_fds(const struct child_config *c)
{
	int parked[CHILD_MAX_FDS], null;
	bool std[3] = {false, false, false};

	for (size_t i = 0; i < c->n_fds; i++) {
		parked[i] = fcntl(c->fds[i].parent, F_DUPFD_CLOEXEC, CHILD_SCRATCH_FD);
		if (parked[i] < 0)
			return -errno;
		if (c->fds[i].child < 3)
			std[c->fds[i].child] = true;
	}
	null = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (null < 0)
		return -errno;
	syscall(SYS_close_range, 3U, ~0U, 4U /* CLOSE_RANGE_CLOEXEC */);
	for (int fd = 0; fd < 3; fd++)
		if (!std[fd] && dup2(null, fd) < 0)
			return -errno;
	for (size_t i = 0; i < c->n_fds; i++)
		if (dup2(parked[i], c->fds[i].child) < 0)
			return -errno;
	return 0;
}

IN_CHILD static void reset_signals(const sigset_t *mask)
{
	for (int s = 1; s < NSIG; s++)
		signal(s, SIG_DFL);
	sigprocmask(SIG_SETMASK, mask, NULL);
}

IN_CHILD static int child_main(void *arg)
{
	struct birth *b = arg;
	const struct child_config *c = b->config;
	int r;

	if (c->die_with_us)
		prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (c->new_session)
		setsid();
	if (c->low_priority) {
		setpriority(PRIO_PROCESS, 0, 10);
		syscall(SYS_ioprio_set, 1, 0, 3 << 13); /* this process, idle class */
	}
	r = lay_out_fds(c);
	if (r == 0 && c->cwd && chdir(c->cwd) < 0)
		r = -errno;
	if (r == 0 && c->setup)
		r = c->setup(c->setup_arg);
	if (r == 0) {
		reset_signals(&b->mask);
		execvpe(c->argv[0], (char *const *)(uintptr_t)c->argv,
			(char *const *)(uintptr_t)b->envp);
		r = -errno;
	}
	b->error = -r;
	_exit(127);
}

/* Returns the pid or -errno; *pidfd is the caller's. */
static pid_t birth(const struct child_config *config, int *pidfd)
{
	struct birth b = {.config = config,
			  .envp = config->envp ? config->envp : (const char *const *)environ};
	char *stack = mmap(NULL, CHILD_STACK, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
	sigset_t all;
	pid_t pid;
	int error;

	if (stack == MAP_FAILED)
		return -errno;
	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, &b.mask);
	pid = clone(child_main, stack + CHILD_STACK, CLONE_VM | CLONE_VFORK | CLONE_PIDFD | SIGCHLD,
		    &b, pidfd);
	error = pid < 0 ? errno : b.error;
	sigprocmask(SIG_SETMASK, &b.mask, NULL);
	munmap(stack, CHILD_STACK);
	if (pid > 0 && error) {
		waitpid(pid, NULL, 0);
		*pidfd = fd_close(*pidfd);
	}
	return error ? -error : pid;
}

static void child_bury(void *arg)
{
	struct child *c = arg;

	fd_close(c->pidfd);
	free(c);
}

static void child_free(struct child *c)
{
	list_del(&c->node);
	io_free(c->io);
	loop_free_later(c->loop, child_bury, c);
}

static void on_child(void *arg, int fd UNUSED, unsigned what UNUSED)
{
	struct child *c = arg;
	int status = 0;

	if (waitpid(c->pid, &status, WNOHANG) == 0)
		return;
	child_free(c);
	if (c->fn)
		c->fn(c->arg, status);
}

void children_abandon(struct loop *loop)
{
	list_foreach (&loop->children, c, struct child, node)
		child_free(c);
}

struct child *child_spawn(struct loop *loop, const struct child_config *config, child_fn *fn,
			  void *arg, struct err *err)
{
	struct child *c;
	int pidfd = -1;
	pid_t pid;

	if (config->n_fds > CHILD_MAX_FDS)
		pid = -E2BIG;
	else
		pid = birth(config, &pidfd);
	if (pid < 0) {
		err_errno(err, -pid, "cannot start %s", config->argv[0]);
		return NULL;
	}
	fcntl(pidfd, F_SETFD, FD_CLOEXEC);
	c = xnew(struct child);
	*c = (struct child){.loop = loop, .pid = pid, .pidfd = pidfd, .fn = fn, .arg = arg};
	list_add_tail(&loop->children, &c->node);
	c->io = io_new(loop, pidfd, IO_READ, on_child, c);
	return c;
}

pid_t child_pid(const struct child *c)
{
	return c->pid;
}

static int pidfd_signal(int pidfd, int signo)
{
	return syscall(SYS_pidfd_send_signal, pidfd, signo, NULL, 0) < 0 ? -errno : 0;
}

int child_kill(struct child *c, int signo)
{
	return pidfd_signal(c->pidfd, signo);
}

void child_abandon(struct child *c)
{
	c->fn = NULL;
}

struct pidwatch {
	struct loop *loop;
	int pidfd;
	struct io *io;
	pidwatch_fn *fn;
	void *arg;
};

static void on_pidwatch(void *arg, int fd UNUSED, unsigned what UNUSED)
{
	struct pidwatch *p = arg;

	io_want(p->io, 0);
	p->fn(p->arg);
}

struct pidwatch *pidwatch_new(struct loop *loop, pid_t pid, pidwatch_fn *fn, void *arg)
{
	int fd = (int)syscall(SYS_pidfd_open, pid, 0);
	struct pidwatch *p;

	if (fd < 0)
		return NULL;
	p = xnew(struct pidwatch);
	*p = (struct pidwatch){.loop = loop, .pidfd = fd, .fn = fn, .arg = arg};
	p->io = io_new(loop, fd, IO_READ, on_pidwatch, p);
	return p;
}

int pidwatch_kill(struct pidwatch *p, int signo)
{
	return pidfd_signal(p->pidfd, signo);
}

int pidwatch_fd(const struct pidwatch *p)
{
	return p->pidfd;
}

static void pidwatch_bury(void *arg)
{
	struct pidwatch *p = arg;

	fd_close(p->pidfd);
	free(p);
}

void pidwatch_free(struct pidwatch *p)
{
	if (!p)
		return;
	io_free(p->io);
	loop_free_later(p->loop, pidwatch_bury, p);
}
