/* SPDX-License-Identifier: Apache-2.0 */
/* The pod's namespaces, its private mounts, hostname and sysctls, and pid 1 of a shared pid
 * namespace. */
#include "sandbox.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static int fail(char what[static MESSAGE_MAX], const char *doing)
{
	snprintf(what, MESSAGE_MAX, "%s: %s", doing, strerror(errno));
	return -1;
}

static int write_file(const char *path, const char *text)
{
	auto_fd int fd = open(path, O_WRONLY | O_CLOEXEC);

	return fd < 0 || write(fd, text, strlen(text)) < 0 ? -1 : 0;
}

/* A dot in a sysctl's name is a slash in its path, and the reverse (sysctl(8)). */
static int sysctl_set(const char *setting, char what[static MESSAGE_MAX])
{
	char path[256] = "/proc/sys/";
	size_t at = strlen(path);
	const char *value = strchr(setting, '=');

	if (!value || (size_t)(value - setting) >= sizeof(path) - at) {
		errno = EINVAL;
		return fail(what, setting);
	}
	for (const char *p = setting; p < value; p++)
		path[at++] = (char)(*p == '.' ? '/' : *p == '/' ? '.' : *p);
	path[at] = '\0';
	if (strstr(path, "..") || write_file(path, value + 1) < 0) {
		char doing[300];
		snprintf(doing, sizeof(doing), "set sysctl \"%s\"", setting);
		return fail(what, doing);
	}
	return 0;
}

/* What containerd 2 gives every pod with a network of its own: ping and low ports without
 * capabilities. Older kernels have neither; that is no error. */
static void sysctl_defaults(void)
{
	if (write_file("/proc/sys/net/ipv4/ip_unprivileged_port_start", "0") < 0 ||
	    write_file("/proc/sys/net/ipv4/ping_group_range", "0 2147483647") < 0)
		log_debug("network sysctls: %s", strerror(errno));
}

/*
 * Mounts of the host come in, ours stay here and vanish with us. The slave is made shared again so
 * that they go on to the containers that ask for it (mount propagation HostToContainer).
 */
static int mounts_private(const struct options *o, char what[static MESSAGE_MAX])
{
	if (mount(NULL, "/", NULL, MS_REC | MS_SLAVE, NULL) < 0 ||
	    mount(NULL, "/", NULL, MS_REC | MS_SHARED, NULL) < 0)
		return fail(what, "make mounts private");
	/* crun refuses hosts with controllers in both hierarchies unless it sees the old one only.
	 * It then leaves directories in the place of the mount: let them be in a file system of
	 * ours. */
	if (o->hide_unified && umount2("/sys/fs/cgroup/unified", MNT_DETACH) == 0 &&
	    mount("tmpfs", "/sys/fs/cgroup/unified", "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC,
		  "size=64k,mode=755") < 0)
		return fail(what, "hide /sys/fs/cgroup/unified");
	/* One /dev/shm for all containers of the pod, as they share the ipc namespace. */
	if (o->ipc && ((mkdir("shm", 01777) < 0 && errno != EEXIST) ||
		       mount("shm", "shm", "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC,
			     "mode=1777,size=65536k") < 0))
		return fail(what, "mount /dev/shm of the pod");
	return 0;
}

/* pid 1 of the shared pid namespace: reaps orphans until its end is the namespace's end. */
NORETURN static void share_pid_main(void)
{
	sigset_t set;
	int signo;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	prctl(PR_SET_NAME, "pause");
	syscall(SYS_close_range, 0u, ~0u, 0u);
	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	sigprocmask(SIG_BLOCK, &set, NULL);
	for (;;) {
		while (waitpid(-1, NULL, WNOHANG) > 0)
			;
		sigwait(&set, &signo);
	}
}

static int share_pid_start(char what[static MESSAGE_MAX])
{
	long pid = syscall(SYS_clone, (unsigned long)(CLONE_NEWPID | SIGCHLD), NULL, NULL, NULL, 0);

	if (pid < 0)
		return fail(what, "make pid namespace");
	if (pid == 0)
		share_pid_main();
	self.share_pid = (pid_t)pid;
	return 0;
}

/*
 * "tasks" (cgroup v1) takes a thread that moves itself at once. A move by "cgroup.procs" waits some
 * 10 ms for a lock of the whole machine: a child waits for it in our place.
 */
static int join(const char *file)
{
	char self_pid[16];
	pid_t pid;

	if (!str_ends(file, "/cgroup.procs"))
		return write_file(file, "0");
	snprintf(self_pid, sizeof(self_pid), "%d", (int)getpid());
	if (access(file, W_OK) < 0 || (pid = fork()) < 0)
		return -1;
	if (pid == 0)
		_exit(write_file(file, self_pid) < 0);
	return 0; /* reaped with the other strangers */
}

int namespaces_enter(const struct options *o, char what[static MESSAGE_MAX])
{
	int flags = CLONE_NEWNS | (o->net ? CLONE_NEWNET : 0) | (o->ipc ? CLONE_NEWIPC : 0) |
		    (o->uts ? CLONE_NEWUTS : 0);

	/* First of all, so that whatever follows is accounted to the right group. */
	for (size_t i = 0; o->joins && o->joins[i]; i++)
		if (join(o->joins[i]) < 0)
			return fail(what, o->joins[i]);
	if (unshare(flags) < 0)
		return fail(what, "make namespaces");
	if (mounts_private(o, what) < 0)
		return -1;
	if (o->uts && o->hostname && sethostname(o->hostname, strlen(o->hostname)) < 0)
		return fail(what, "set hostname");
	if (o->net)
		sysctl_defaults();
	for (size_t i = 0; o->sysctls && o->sysctls[i]; i++)
		if (sysctl_set(o->sysctls[i], what) < 0)
			return -1;
	return o->share_pid ? share_pid_start(what) : 0;
}
