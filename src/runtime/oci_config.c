/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The OCI configuration of a Kubernetes container: namespaces of its sandbox, Docker's default
 * capabilities, masked paths and mounts, as containerd's and CRI-O's CRI plug-ins write it.
 */
#include "oci.h"

#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#define DEFAULT_PATH "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
enum { DEVICES_MAX = 1024, DEVICE_DEPTH = 3 };

static json_t *strings_new(const char *const *list, size_t n)
{
	json_t *arr = json_array();

	for (size_t i = 0; i < n; i++)
		json_array_append_new(arr, json_string(list[i]));
	return arr;
}

/* ---- capabilities ----------------------------------------------------------------------- */

/* In the kernel's order (linux/capability.h): the place is the number. */
static const char *const capability_names[] = {
	"CHOWN",
	"DAC_OVERRIDE",
	"DAC_READ_SEARCH",
	"FOWNER",
	"FSETID",
	"KILL",
	"SETGID",
	"SETUID",
	"SETPCAP",
	"LINUX_IMMUTABLE",
	"NET_BIND_SERVICE",
	"NET_BROADCAST",
	"NET_ADMIN",
	"NET_RAW",
	"IPC_LOCK",
	"IPC_OWNER",
	"SYS_MODULE",
	"SYS_RAWIO",
	"SYS_CHROOT",
	"SYS_PTRACE",
	"SYS_PACCT",
	"SYS_ADMIN",
	"SYS_BOOT",
	"SYS_NICE",
	"SYS_RESOURCE",
	"SYS_TIME",
	"SYS_TTY_CONFIG",
	"MKNOD",
	"LEASE",
	"AUDIT_WRITE",
	"AUDIT_CONTROL",
	"SETFCAP",
	"MAC_OVERRIDE",
	"MAC_ADMIN",
	"SYSLOG",
	"WAKE_ALARM",
	"BLOCK_SUSPEND",
	"AUDIT_READ",
	"PERFMON",
	"BPF",
	"CHECKPOINT_RESTORE",
};

static const char *const default_capabilities[] = {
	"CHOWN",   "DAC_OVERRIDE", "FSETID",	       "FOWNER",
	"MKNOD",   "NET_RAW",	   "SETGID",	       "SETUID",
	"SETFCAP", "SETPCAP",	   "NET_BIND_SERVICE", "SYS_CHROOT",
	"KILL",	   "AUDIT_WRITE",
};

static int capability_number(const char *name)
{
	if (strncasecmp(name, "CAP_", 4) == 0)
		name += 4;
	for (size_t i = 0; i < ARRAY_SIZE(capability_names); i++)
		if (strcasecmp(name, capability_names[i]) == 0)
			return (int)i;
	return -1;
}

/* All that we can give: our own bounding set may be smaller than what the kernel knows (a service
 * manager or a container around us), and asking for more fails the start. */
static uint64_t all_capabilities(void)
{
	uint64_t set = 0;

	for (size_t i = 0; i < ARRAY_SIZE(capability_names); i++)
		if (prctl(PR_CAPBSET_READ, i, 0, 0, 0) == 1)
			set |= UINT64_C(1) << i;
	return set;
}

/* "ALL" first, so that add: [ALL] with drop: [X] and drop: [ALL] with add: [X] both mean it. */
static int apply_capabilities(uint64_t *set, const char *const *names, bool add, struct err *err)
{
	for (size_t i = 0; names && names[i]; i++)
		if (strcasecmp(names[i], "ALL") == 0)
			*set = add ? all_capabilities() : 0;
	for (size_t i = 0; names && names[i]; i++) {
		int number = capability_number(names[i]);

		if (strcasecmp(names[i], "ALL") == 0)
			continue;
		if (number < 0)
			return err_set(err, ERR_INVALID, "unknown capability \"%s\"", names[i]);
		if (add)
			*set |= UINT64_C(1) << number;
		else
			*set &= ~(UINT64_C(1) << number);
	}
	return 0;
}

static bool lists_all(const char *const *names)
{
	for (size_t i = 0; names && names[i]; i++)
		if (strcasecmp(names[i], "ALL") == 0)
			return true;
	return false;
}

static json_t *capabilities_new(const struct container_config *c, struct err *err)
{
	uint64_t set = 0;
	int r = 0;

	for (size_t i = 0; i < ARRAY_SIZE(default_capabilities); i++)
		set |= UINT64_C(1) << capability_number(default_capabilities[i]);
	set &= all_capabilities();
	if (c->privileged) {
		set = all_capabilities();
	} else if (lists_all(c->cap_add)) {
		r = apply_capabilities(&set, c->cap_add, true, err);
		r = r < 0 ? r : apply_capabilities(&set, c->cap_drop, false, err);
	} else {
		r = apply_capabilities(&set, c->cap_drop, false, err);
		r = r < 0 ? r : apply_capabilities(&set, c->cap_add, true, err);
	}
	if (r < 0)
		return NULL;
	json_t *list = json_array();
	for (size_t i = 0; i < ARRAY_SIZE(capability_names); i++)
		if (set & UINT64_C(1) << i)
			json_array_append_new(list, json_sprintf("CAP_%s", capability_names[i]));
	return list;
}

/* ---- process ---------------------------------------------------------------------------- */

static bool has_variable(const json_t *env, const char *name)
{
	size_t i, len = strlen(name);
	json_t *v;

	json_array_foreach(env, i, v) if (strncmp(json_string_value(v), name, len) == 0 &&
					  json_string_value(v)[len] == '=') return true;
	return false;
}

static json_t *env_new(const struct oci_pod *pod, const struct container_config *c)
{
	json_t *env = json_array();

	for (size_t i = 0; c->envp && c->envp[i]; i++)
		json_array_append_new(env, json_string(c->envp[i]));
	if (!has_variable(env, "PATH"))
		json_array_append_new(env, json_string(DEFAULT_PATH));
	if (!has_variable(env, "HOSTNAME") && pod->hostname)
		json_array_append_new(env, json_sprintf("HOSTNAME=%s", pod->hostname));
	if (c->tty && !has_variable(env, "TERM"))
		json_array_append_new(env, json_string("TERM=xterm"));
	return env;
}

static json_t *user_new(const struct container_config *c)
{
	json_t *user =
		json_pack("{s:I, s:I}", "uid", (json_int_t)c->uid, "gid", (json_int_t)c->gid);
	json_t *groups = json_array();

	for (size_t i = 0; i < c->n_groups; i++)
		json_array_append_new(groups, json_integer(c->groups[i]));
	json_object_set_new(user, "additionalGids", groups);
	return user;
}

/* What systemd gives services: programs that use select(2) are safe with the soft limit, those
 * that need more raise it. Never above what we have ourselves. */
static json_t *rlimits_new(void)
{
	struct rlimit now = {1024, 1024};
	rlim_t hard = 524288;

	getrlimit(RLIMIT_NOFILE, &now);
	if (now.rlim_max < hard)
		hard = now.rlim_max;
	return json_pack("[{s:s, s:I, s:I}]", "type", "RLIMIT_NOFILE", "hard", (json_int_t)hard,
			 "soft", (json_int_t)(hard < 1024 ? hard : 1024));
}

static size_t count(const char *const *list)
{
	size_t n = 0;

	while (list && list[n])
		n++;
	return n;
}

static json_t *process_new(const struct oci_pod *pod, const struct container_config *c,
			   struct err *err)
{
	json_t *caps = capabilities_new(c, err);

	if (!caps)
		return NULL;
	json_t *p = json_pack("{s:b, s:o, s:o, s:o, s:s, s:{s:O, s:O, s:o}, s:o, s:b, s:i}",
			      "terminal", c->tty, "user", user_new(c), "args",
			      strings_new(c->argv, count(c->argv)), "env", env_new(pod, c), "cwd",
			      str_empty(c->cwd) ? "/" : c->cwd, "capabilities", "bounding", caps,
			      "effective", caps, "permitted", caps, "rlimits", rlimits_new(),
			      "noNewPrivileges", c->no_new_privs, "oomScoreAdj", c->oom_score_adj);
	if (!p)
		err_set(err, ERR_INVALID, "command, environment or path is not valid UTF-8");
	return p;
}

json_t *oci_process_new(const json_t *config, const struct exec_config *exec, struct err *err)
{
	json_t *p = json_deep_copy(json_at(config, "process"));

	if (!p) {
		err_set(err, ERR_INTERNAL, "the container's configuration is gone");
		return NULL;
	}
	json_t *args = strings_new(exec->argv, count(exec->argv));
	json_t *env = json_arr(p, "env");
	for (size_t i = 0; exec->envp && exec->envp[i]; i++)
		json_array_append_new(env, json_string(exec->envp[i]));
	if (exec->tty && !has_variable(env, "TERM"))
		json_array_append_new(env, json_string("TERM=xterm"));
	json_object_set_new(p, "args", args);
	json_object_set_new(p, "terminal", json_boolean(exec->tty));
	json_object_del(p, "oomScoreAdj"); /* crun refuses it here; it is inherited anyway */
	return p;
}

/* ---- mounts ----------------------------------------------------------------------------- */

static const struct default_mount {
	const char *target, *type, *source, *options; /* options: separated by commas */
} default_mounts[] = {
	{"/proc", "proc", "proc", "nosuid,noexec,nodev"},
	{"/dev", "tmpfs", "tmpfs", "nosuid,strictatime,mode=755,size=65536k"},
	{"/dev/pts", "devpts", "devpts", "nosuid,noexec,newinstance,ptmxmode=0666,mode=0620,gid=5"},
	{"/dev/mqueue", "mqueue", "mqueue", "nosuid,noexec,nodev"},
	{"/sys", "sysfs", "sysfs", "nosuid,noexec,nodev"},
	{"/sys/fs/cgroup", "cgroup", "cgroup", "nosuid,noexec,nodev,relatime"},
};

static void add_mount(json_t *mounts, const char *target, const char *type, const char *source,
		      struct strv *options)
{
	json_array_append_new(mounts,
			      json_pack("{s:s, s:s, s:s, s:o}", "destination", target, "type", type,
					"source", source, "options",
					strings_new((const char *const *)options->v, options->n)));
}

static void add_user_mount(json_t *mounts, const struct mount_spec *m)
{
	auto_strv options = {0};

	if (m->flags & MOUNT_TMPFS) {
		strv_split(&options, "nosuid,nodev,mode=1777", ',');
		if (m->size)
			strv_addf(&options, "size=%llu", (unsigned long long)m->size);
	} else {
		strv_add(&options, "rbind");
		strv_add(&options, m->flags & MOUNT_RSHARED  ? "rshared"
				   : m->flags & MOUNT_RSLAVE ? "rslave"
							     : "rprivate");
	}
	strv_add(&options, m->flags & MOUNT_READ_ONLY ? "ro" : "rw");
	add_mount(mounts, m->target, m->flags & MOUNT_TMPFS ? "tmpfs" : "bind",
		  m->flags & MOUNT_TMPFS ? "tmpfs" : m->source, &options);
}

/* A mount of the user's own at the same place comes instead of the default one. */
static bool user_mounts(const struct container_config *c, const char *target)
{
	for (size_t i = 0; i < c->n_mounts; i++)
		if (streq(c->mounts[i].target, target))
			return true;
	return false;
}

static json_t *mounts_new(const struct oci_pod *pod, const struct container_config *c)
{
	json_t *mounts = json_array();

	for (size_t i = 0; i < ARRAY_SIZE(default_mounts); i++) {
		const struct default_mount *d = &default_mounts[i];
		auto_strv options = {0};

		if (user_mounts(c, d->target))
			continue;
		strv_split(&options, d->options, ',');
		if (str_starts(d->target, "/sys"))
			strv_add(&options, c->privileged ? "rw" : "ro");
		add_mount(mounts, d->target, d->type, d->source, &options);
	}
	if (!user_mounts(c, "/dev/shm"))
		add_user_mount(mounts,
			       &(struct mount_spec){.source = pod->shm, .target = "/dev/shm"});
	for (size_t i = 0; i < c->n_mounts; i++)
		add_user_mount(mounts, &c->mounts[i]);
	return mounts;
}

/* ---- devices ---------------------------------------------------------------------------- */

static int add_device(json_t *devices, json_t *rules, const struct device_spec *d, struct err *err)
{
	struct stat st;

	if (stat(d->host_path, &st) < 0)
		return err_errno(err, errno, "device %s", d->host_path);
	if (!S_ISCHR(st.st_mode) && !S_ISBLK(st.st_mode))
		return err_set(err, ERR_INVALID, "%s is not a device", d->host_path);
	const char *type = S_ISCHR(st.st_mode) ? "c" : "b";
	json_array_append_new(
		devices, json_pack("{s:s, s:s, s:i, s:i, s:i, s:i, s:i}", "path", d->path, "type",
				   type, "major", (int)major(st.st_rdev), "minor",
				   (int)minor(st.st_rdev), "fileMode", (int)(st.st_mode & 07777),
				   "uid", (int)st.st_uid, "gid", (int)st.st_gid));
	json_array_append_new(rules, json_pack("{s:b, s:s, s:i, s:i, s:s}", "allow", 1, "type",
					       type, "major", (int)major(st.st_rdev), "minor",
					       (int)minor(st.st_rdev), "access",
					       str_empty(d->access) ? "rwm" : d->access));
	return 0;
}

/* Privileged containers see the host's devices; what the runtime makes itself is left out. */
static void add_host_devices(json_t *devices, const char *dir, int depth)
{
	static const char *const skip[] = {"/dev/pts",	"/dev/shm",	"/dev/mqueue",
					   "/dev/fd",	"/dev/console", "/dev/ptmx",
					   "/dev/null", "/dev/zero",	"/dev/full",
					   "/dev/tty",	"/dev/random",	"/dev/urandom"};
	auto_dir DIR *d = opendir(dir);
	const struct dirent *e;

	while (d && (e = readdir(d)) && json_array_size(devices) < DEVICES_MAX) {
		auto_free char *path = path_join(dir, e->d_name);
		bool skipped = e->d_name[0] == '.';

		for (size_t i = 0; i < ARRAY_SIZE(skip); i++)
			skipped = skipped || streq(path, skip[i]);
		if (skipped)
			continue;
		if (e->d_type == DT_DIR && depth > 0) {
			add_host_devices(devices, path, depth - 1);
		} else if (e->d_type == DT_CHR || e->d_type == DT_BLK) {
			json_t *unused = json_array();
			if (add_device(devices, unused, &(struct device_spec){path, path, "rwm"},
				       NULL) < 0)
				log_debug("%s: not passed on", path);
			json_decref(unused);
		}
	}
}

static int devices_set(json_t *linux_obj, json_t *rules, const struct container_config *c,
		       struct err *err)
{
	json_t *devices = json_arr(linux_obj, "devices");

	/* The runtime allows the usual ones (null, zero, random, tty, pts) by itself. */
	json_array_append_new(rules,
			      json_pack("{s:b, s:s}", "allow", c->privileged, "access", "rwm"));
	if (c->privileged)
		add_host_devices(devices, "/dev", DEVICE_DEPTH);
	for (size_t i = 0; i < c->n_devices; i++) {
		int r = add_device(devices, rules, &c->devices[i], err);
		if (r < 0)
			return r;
	}
	return 0;
}

/* ---- linux ------------------------------------------------------------------------------ */

static const char *const masked_paths[] = {
	"/proc/asound",
	"/proc/acpi",
	"/proc/kcore",
	"/proc/keys",
	"/proc/latency_stats",
	"/proc/timer_list",
	"/proc/timer_stats",
	"/proc/sched_debug",
	"/proc/scsi",
	"/sys/firmware",
	"/sys/devices/virtual/powercap",
};
static const char *const readonly_paths[] = {
	"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger",
};

static json_t *namespaces_new(const struct oci_pod *pod, const struct container_config *c)
{
	json_t *list = json_pack("[{s:s}]", "type", "mount");
	const struct {
		const char *type, *file;
		bool host;
		pid_t of;
	} joined[] = {
		{"network", "net", pod->host_network, pod->sandbox},
		{"ipc", "ipc", pod->host_ipc, pod->sandbox},
		{"uts", "uts", pod->host_network, pod->sandbox},
		{"pid", "pid", pod->host_pid, pod->share_pid},
	};

	for (size_t i = 0; i < ARRAY_SIZE(joined); i++) {
		if (joined[i].host)
			continue;
		json_t *ns = json_pack("{s:s}", "type", joined[i].type);
		if (joined[i].of > 0)
			json_object_set_new(
				ns, "path",
				json_sprintf("/proc/%d/ns/%s", (int)joined[i].of, joined[i].file));
		json_array_append_new(list, ns);
	}
	if (pod->cgroups->mode == CGROUP_V2 && !c->privileged)
		json_array_append_new(list, json_pack("{s:s}", "type", "cgroup"));
	return list;
}

/* Only what the host can enforce: a limit for a missing controller would make the start fail. */
static void limits_set(json_t *resources, const struct cgroup_layout *cg,
		       const struct resource_limits *l)
{
	int64_t quota = cgroup_quota(l->cpu_limit);

	if (cgroup_has(cg, CG_CPU)) {
		json_put_int(resources, "cpu.shares", (int64_t)cgroup_shares(l->cpu_request));
		if (quota > 0) {
			json_put_int(resources, "cpu.quota", quota);
			json_put_int(resources, "cpu.period", 100000);
		}
	}
	if (cgroup_has(cg, CG_MEMORY) && l->memory_limit > 0) {
		json_put_int(resources, "memory.limit", l->memory_limit);
		if (cg->swap) /* memory and swap together: no swap, as the kubelet has it */
			json_put_int(resources, "memory.swap", l->memory_limit);
	}
	if (cgroup_has(cg, CG_PIDS) && l->pids_limit > 0)
		json_put_int(resources, "pids.limit", l->pids_limit);
	/* One process of a container killed for memory takes the others along (Kubernetes 1.28). */
	if (cg->mode == CGROUP_V2 && cgroup_has(cg, CG_MEMORY))
		json_object_set_new(resources, "unified",
				    json_pack("{s:s}", "memory.oom.group", "1"));
}

static json_t *linux_new(const struct oci_pod *pod, const struct container_config *c,
			 const json_t *caps, struct err *err)
{
	json_t *l = json_pack("{s:s, s:o, s:{s:[]}}", "cgroupsPath", pod->cgroups_path,
			      "namespaces", namespaces_new(pod, c), "resources", "devices");

	if (devices_set(l, json_at(l, "resources.devices"), c, err) < 0) {
		json_decref(l);
		return NULL;
	}
	limits_set(json_at(l, "resources"), pod->cgroups, &c->limits);
	if (c->privileged)
		return l;
	json_object_set_new(l, "maskedPaths", strings_new(masked_paths, ARRAY_SIZE(masked_paths)));
	json_object_set_new(l, "readonlyPaths",
			    strings_new(readonly_paths, ARRAY_SIZE(readonly_paths)));
	if (!c->seccomp_unconfined)
		json_object_set_new(l, "seccomp", oci_seccomp_new(caps));
	return l;
}

json_t *oci_config_new(const struct oci_pod *pod, const struct container_config *config,
		       struct err *err)
{
	json_t *process, *linux_obj;

	if (count(config->argv) == 0) {
		err_set(err, ERR_INVALID, "no command specified");
		return NULL;
	}
	process = process_new(pod, config, err);
	if (!process)
		return NULL;
	linux_obj = linux_new(pod, config, json_at(process, "capabilities.bounding"), err);
	if (!linux_obj) {
		json_decref(process);
		return NULL;
	}
	return json_pack("{s:s, s:o, s:{s:s, s:b}, s:o, s:o}", "ociVersion", "1.0.2", "process",
			 process, "root", "path", pod->rootfs, "readonly", config->read_only_root,
			 "mounts", mounts_new(pod, config), "linux", linux_obj);
}
