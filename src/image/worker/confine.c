/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Least privilege for the worker: the few capabilities of unpacking, bounded memory and file
 * sizes, and with landlock(7) no writing outside the store's directory whatever an archive says.
 */
#include "worker.h"
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/landlock.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#if defined(__SANITIZE_ADDRESS__)
#define HAVE_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define HAVE_ASAN 1
#endif
#endif

#define MEMORY_MAX_BYTES (UINT64_C(384) << 20)

/* trusted.overlay.* attributes (opaque directories) need CAP_SYS_ADMIN, whiteouts CAP_MKNOD. */
static const unsigned kept[] = {CAP_CHOWN, CAP_DAC_OVERRIDE, CAP_FOWNER,    CAP_FSETID,
				CAP_MKNOD, CAP_SETFCAP,	     CAP_SYS_ADMIN, CAP_DAC_READ_SEARCH};

static int capabilities_drop(struct err *err)
{
	struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct now[2] = {{0}}, want[2] = {{0}};
	if (syscall(SYS_capget, &head, now) < 0)
		return err_errno(err, errno, "capget");
	for (size_t i = 0; i < ARRAY_SIZE(kept); i++)
		want[kept[i] / 32].permitted |= 1u << (kept[i] % 32);
	for (unsigned cap = 0; cap <= CAP_LAST_CAP; cap++)
		if (!(want[cap / 32].permitted & (1u << (cap % 32))))
			(void)prctl(PR_CAPBSET_DROP, cap, 0, 0, 0);
	for (size_t i = 0; i < 2; i++) {
		want[i].permitted &= now[i].permitted;
		want[i].effective = want[i].permitted;
	}
	return syscall(SYS_capset, &head, want) < 0 ? err_errno(err, errno, "capset") : 0;
}

static int limit_set(int what, uint64_t value, struct err *err)
{
	const struct rlimit limit = {value, value};
	return setrlimit((__rlimit_resource_t)what, &limit) < 0 ? err_errno(err, errno, "setrlimit")
								: 0;
}

static int rule_add(int ruleset, const char *path, uint64_t access)
{
	auto_fd int fd = open(path, O_PATH | O_CLOEXEC);
	const struct landlock_path_beneath_attr rule = {.allowed_access = access, .parent_fd = fd};
	if (fd < 0)
		return -errno;
	return syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule, 0) < 0
		       ? -errno
		       : 0;
}

#define ACCESS_READ (LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR)
#define ACCESS_WRITE                                                                               \
	(LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_REMOVE_DIR |                           \
	 LANDLOCK_ACCESS_FS_REMOVE_FILE | LANDLOCK_ACCESS_FS_MAKE_CHAR |                           \
	 LANDLOCK_ACCESS_FS_MAKE_DIR | LANDLOCK_ACCESS_FS_MAKE_REG |                               \
	 LANDLOCK_ACCESS_FS_MAKE_SOCK | LANDLOCK_ACCESS_FS_MAKE_FIFO |                             \
	 LANDLOCK_ACCESS_FS_MAKE_BLOCK | LANDLOCK_ACCESS_FS_MAKE_SYM | LANDLOCK_ACCESS_FS_REFER)

/* Best effort: a kernel without it (or one that forbids every rename, ABI 1) goes without. */
static void landlock_enter(const char *dir)
{
	const uint64_t all = ACCESS_READ | ACCESS_WRITE | LANDLOCK_ACCESS_FS_EXECUTE;
	const struct landlock_ruleset_attr attr = {.handled_access_fs = all};
	if (syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION) < 2)
		return;
	auto_fd int set = (int)syscall(SYS_landlock_create_ruleset, &attr, sizeof(attr), 0);
	if (set < 0 || rule_add(set, "/", ACCESS_READ) < 0 ||
	    rule_add(set, dir, ACCESS_READ | ACCESS_WRITE) < 0)
		return;
	(void)rule_add(set, "/dev/null", ACCESS_READ | LANDLOCK_ACCESS_FS_WRITE_FILE);
	(void)syscall(SYS_landlock_restrict_self, set, 0);
}

int confine(const char *dir, uint64_t max_bytes, struct err *err)
{
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return err_errno(err, errno, "no_new_privs");
	(void)prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
	landlock_enter(dir);
#ifndef HAVE_ASAN
	int mem = limit_set(RLIMIT_AS, MEMORY_MAX_BYTES, err);
	if (mem < 0)
		return mem;
#endif
	int rc = limit_set(RLIMIT_CORE, 0, err);
	if (rc == 0 && max_bytes > 0)
		rc = limit_set(RLIMIT_FSIZE, max_bytes, err);
	return rc < 0 || geteuid() != 0 ? rc : capabilities_drop(err);
}
