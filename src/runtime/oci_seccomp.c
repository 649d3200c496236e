/* SPDX-License-Identifier: Apache-2.0 */
/*
 * seccompProfile RuntimeDefault: what is not listed fails with EPERM. The choice of calls follows
 * the documented default profile of Docker, which containerd and CRI-O share: left out are those
 * that change the machine (clock, modules, mounts, swap, reboot), reach other processes' secrets
 * (keyrings, ptrace on old kernels) or have served escapes (userfaultfd, bpf, perf). A capability
 * opens the calls that it governs. Names unknown to the host's libseccomp are skipped by it.
 */
#include "oci.h"

#include <sched.h>
#include <sys/personality.h>

/* Lists separated by spaces: compact in .rodata, taken apart when a container starts. */
static const char always[] =
	"accept accept4 access adjtimex alarm bind brk cachestat capget capset chdir chmod chown "
	"chown32 clock_adjtime clock_adjtime64 clock_getres clock_getres_time64 clock_gettime "
	"clock_gettime64 clock_nanosleep clock_nanosleep_time64 close close_range connect "
	"copy_file_range creat dup dup2 dup3 epoll_create epoll_create1 epoll_ctl epoll_ctl_old "
	"epoll_pwait epoll_pwait2 epoll_wait epoll_wait_old eventfd eventfd2 execve execveat exit "
	"exit_group faccessat faccessat2 fadvise64 fadvise64_64 fallocate fanotify_mark fchdir "
	"fchmod fchmodat fchmodat2 fchown fchown32 fchownat fcntl fcntl64 fdatasync fgetxattr "
	"flistxattr flock fork fremovexattr fsetxattr fstat fstat64 fstatat64 fstatfs fstatfs64 "
	"fsync ftruncate ftruncate64 futex futex_requeue futex_time64 futex_wait futex_waitv "
	"futex_wake futimesat getcpu getcwd getdents getdents64 getegid getegid32 geteuid "
	"geteuid32 "
	"getgid getgid32 getgroups getgroups32 getitimer getpeername getpgid getpgrp getpid "
	"getppid "
	"getpriority getrandom getresgid getresgid32 getresuid getresuid32 getrlimit "
	"get_robust_list getrusage getsid getsockname getsockopt get_thread_area gettid "
	"gettimeofday getuid getuid32 getxattr getxattrat inotify_add_watch inotify_init "
	"inotify_init1 inotify_rm_watch io_cancel ioctl io_destroy io_getevents io_pgetevents "
	"io_pgetevents_time64 ioprio_get ioprio_set io_setup io_submit ipc kill landlock_add_rule "
	"landlock_create_ruleset landlock_restrict_self lchown lchown32 lgetxattr link linkat "
	"listen "
	"listmount listxattr listxattrat llistxattr _llseek lremovexattr lseek lsetxattr lstat "
	"lstat64 madvise map_shadow_stack membarrier memfd_create memfd_secret mincore mkdir "
	"mkdirat "
	"mknod mknodat mlock mlock2 mlockall mmap mmap2 mprotect mq_getsetattr mq_notify mq_open "
	"mq_timedreceive mq_timedreceive_time64 mq_timedsend mq_timedsend_time64 mq_unlink mremap "
	"mseal msgctl msgget msgrcv msgsnd msync munlock munlockall munmap name_to_handle_at "
	"nanosleep newfstatat _newselect open openat openat2 pause pidfd_open pidfd_send_signal "
	"pipe pipe2 pkey_alloc pkey_free pkey_mprotect poll ppoll ppoll_time64 prctl pread64 "
	"preadv "
	"preadv2 prlimit64 process_mrelease pselect6 pselect6_time64 pwrite64 pwritev pwritev2 "
	"read "
	"readahead readlink readlinkat readv recv recvfrom recvmmsg recvmmsg_time64 recvmsg "
	"remap_file_pages removexattr removexattrat rename renameat renameat2 restart_syscall "
	"rmdir "
	"rseq rt_sigaction rt_sigpending rt_sigprocmask rt_sigqueueinfo rt_sigreturn rt_sigsuspend "
	"rt_sigtimedwait rt_sigtimedwait_time64 rt_tgsigqueueinfo sched_getaffinity sched_getattr "
	"sched_getparam sched_get_priority_max sched_get_priority_min sched_getscheduler "
	"sched_rr_get_interval sched_rr_get_interval_time64 sched_setaffinity sched_setattr "
	"sched_setparam sched_setscheduler sched_yield seccomp select semctl semget semop "
	"semtimedop "
	"semtimedop_time64 send sendfile sendfile64 sendmmsg sendmsg sendto setfsgid setfsgid32 "
	"setfsuid setfsuid32 setgid setgid32 setgroups setgroups32 setitimer setpgid setpriority "
	"setregid setregid32 setresgid setresgid32 setresuid setresuid32 setreuid setreuid32 "
	"setrlimit set_robust_list setsid setsockopt set_thread_area set_tid_address setuid "
	"setuid32 "
	"setxattr setxattrat shmat shmctl shmdt shmget shutdown sigaltstack signalfd signalfd4 "
	"sigprocmask sigreturn socketcall socketpair splice stat stat64 statfs statfs64 statmount "
	"statx symlink symlinkat sync sync_file_range syncfs sysinfo tee tgkill time timer_create "
	"timer_delete timer_getoverrun timer_gettime timer_gettime64 timer_settime timer_settime64 "
	"timerfd_create timerfd_gettime timerfd_gettime64 timerfd_settime timerfd_settime64 times "
	"tkill truncate truncate64 ugetrlimit umask uname unlink unlinkat uretprobe utime "
	"utimensat "
	"utimensat_time64 utimes vfork vmsplice wait4 waitid waitpid write writev "
	/* open since Linux 4.8, when seccomp began to filter what a tracer changes */
	"process_vm_readv process_vm_writev ptrace "
#if defined(__x86_64__) || defined(__i386__)
	"arch_prctl modify_ldt "
#elif defined(__arm__) || defined(__aarch64__)
	"arm_fadvise64_64 arm_sync_file_range breakpoint cacheflush set_tls sync_file_range2 "
#elif defined(__powerpc__)
	"sync_file_range2 swapcontext "
#elif defined(__s390x__)
	"s390_pci_mmio_read s390_pci_mmio_write s390_runtime_instr "
#elif defined(__riscv)
	"riscv_flush_icache "
#endif
	;

static const struct {
	const char *capability, *calls;
} by_capability[] = {
	{"CAP_DAC_READ_SEARCH", "open_by_handle_at"},
	{"CAP_SYS_ADMIN",
	 "bpf clone clone3 fanotify_init fsconfig fsmount fsopen fspick lookup_dcookie mount "
	 "mount_setattr move_mount open_tree perf_event_open quotactl quotactl_fd setdomainname "
	 "sethostname setns syslog umount umount2 unshare"},
	{"CAP_SYS_BOOT", "reboot"},
	{"CAP_SYS_CHROOT", "chroot"},
	{"CAP_SYS_MODULE", "delete_module init_module finit_module"},
	{"CAP_SYS_PACCT", "acct"},
	{"CAP_SYS_PTRACE", "kcmp pidfd_getfd process_madvise"},
	{"CAP_SYS_RAWIO", "iopl ioperm"},
	{"CAP_SYS_TIME", "settimeofday stime clock_settime clock_settime64"},
	{"CAP_SYS_TTY_CONFIG", "vhangup"},
	{"CAP_SYS_NICE", "get_mempolicy mbind set_mempolicy set_mempolicy_home_node"},
	{"CAP_SYSLOG", "syslog"},
	{"CAP_BPF", "bpf"},
	{"CAP_PERFMON", "perf_event_open"},
};

static bool has_capability(const json_t *caps, const char *name)
{
	size_t i;
	json_t *cap;

	json_array_foreach(caps, i, cap) if (str_eq(json_string_value(cap), name)) return true;
	return false;
}

static void allow(json_t *rules, const char *calls)
{
	auto_strv names = {0};
	json_t *list = json_array();

	strv_split(&names, calls, ' ');
	for (size_t i = 0; i < names.n; i++)
		json_array_append_new(list, json_string(names.v[i]));
	json_array_append_new(rules,
			      json_pack("{s:o, s:s}", "names", list, "action", "SCMP_ACT_ALLOW"));
}

/* One rule whose argument `index` must compare so; the comparisons of several rules are or-ed. */
static void allow_if(json_t *rules, const char *call, int index, uint64_t value, uint64_t value_two,
		     const char *op)
{
	json_array_append_new(rules, json_pack("{s:[s], s:s, s:[{s:i, s:I, s:I, s:s}]}", "names",
					       call, "action", "SCMP_ACT_ALLOW", "args", "index",
					       index, "value", (json_int_t)value, "valueTwo",
					       (json_int_t)value_two, "op", op));
}

static void allow_some(json_t *rules, bool admin)
{
	static const uint64_t personalities[] = {PER_LINUX, PER_LINUX32, UNAME26,
						 PER_LINUX32 | UNAME26, 0xffffffff};
	const uint64_t namespaces = CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER |
				    CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWCGROUP;

	for (size_t i = 0; i < ARRAY_SIZE(personalities); i++)
		allow_if(rules, "personality", 0, personalities[i], 0, "SCMP_CMP_EQ");
	/* Every family but AF_VSOCK (40), which reaches the hypervisor. */
	allow_if(rules, "socket", 0, 40, 0, "SCMP_CMP_LT");
	allow_if(rules, "socket", 0, 40, 0, "SCMP_CMP_GT");
	if (admin)
		return;
		/* No new namespaces. clone3 hides its flags in memory: ENOSYS makes libc fall back.
		 */
#ifdef __s390x__
	allow_if(rules, "clone", 1, namespaces, 0, "SCMP_CMP_MASKED_EQ");
#else
	allow_if(rules, "clone", 0, namespaces, 0, "SCMP_CMP_MASKED_EQ");
#endif
	json_array_append_new(rules, json_pack("{s:[s], s:s, s:i}", "names", "clone3", "action",
					       "SCMP_ACT_ERRNO", "errnoRet", ENOSYS));
}

static json_t *architectures(void)
{
#if defined(__x86_64__)
	return json_pack("[s, s, s]", "SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32");
#elif defined(__aarch64__)
	return json_pack("[s, s]", "SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM");
#elif defined(__arm__)
	return json_pack("[s]", "SCMP_ARCH_ARM");
#elif defined(__riscv) && __riscv_xlen == 64
	return json_pack("[s]", "SCMP_ARCH_RISCV64");
#else
	return json_array(); /* the native one */
#endif
}

json_t *oci_seccomp_new(const json_t *caps)
{
	json_t *rules = json_array();

	allow(rules, always);
	for (size_t i = 0; i < ARRAY_SIZE(by_capability); i++)
		if (has_capability(caps, by_capability[i].capability))
			allow(rules, by_capability[i].calls);
	allow_some(rules, has_capability(caps, "CAP_SYS_ADMIN"));
	return json_pack("{s:s, s:i, s:o, s:o}", "defaultAction", "SCMP_ACT_ERRNO",
			 "defaultErrnoRet", EPERM, "architectures", architectures(), "syscalls",
			 rules);
}
