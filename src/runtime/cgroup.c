/* SPDX-License-Identifier: Apache-2.0 */
/* Control groups of both generations. See cgroups(7), Documentation/admin-guide/cgroup-v2.rst. */
#include "cgroup.h"

#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

enum { CPU_PERIOD_US = 100000, CPU_QUOTA_MIN_US = 1000, SHARES_MIN = 2, SHARES_MAX = 262144 };

static const char *const controller_names[CG_COUNT] = {
	[CG_CPU] = "cpu",   [CG_CPUACCT] = "cpuacct", [CG_MEMORY] = "memory",
	[CG_PIDS] = "pids", [CG_FREEZER] = "freezer", [CG_SYSTEMD] = "name=systemd",
};

/* ---- layout ----------------------------------------------------------------------------- */

/* True when the list, separated by sep, has the word. */
static bool list_has(const char *list, char sep, const char *word)
{
	size_t len = strlen(word);

	for (const char *p = list; p && *p; p = strchr(p, sep) ? strchr(p, sep) + 1 : NULL)
		if (strncmp(p, word, len) == 0 &&
		    (p[len] == sep || p[len] == '\0' || p[len] == '\n'))
			return true;
	return false;
}

static void add_v1(struct cgroup_layout *l, const char *mount, const char *options)
{
	bool used = false;

	for (int c = 0; c < CG_COUNT; c++) {
		if (l->where[c] >= 0 || !list_has(options, ',', controller_names[c]))
			continue;
		l->where[c] = (int)l->mounts.n;
		used = true;
	}
	/* Others (blkio, cpuset) are kept too: groups are made there by the OCI runtime. */
	if (used || !strv_has(&l->mounts, mount))
		strv_add(&l->mounts, mount);
}

static void use_v2(struct cgroup_layout *l, const char *mount, const char *controllers)
{
	strv_add(&l->mounts, mount);
	for (int c = 0; c < CG_COUNT; c++)
		l->where[c] = list_has(controllers, ' ', controller_names[c]) ? 0 : -1;
	/* Part of the core in v2. */
	l->where[CG_CPUACCT] = l->where[CG_FREEZER] = l->where[CG_SYSTEMD] = 0;
}

/* "36 35 98:0 /root /mount opts [tags] - type source superopts" (proc_pid_mountinfo(5)). */
static bool mountinfo_line(char *line, char **mount, char **type, char **options)
{
	char *save = NULL, *sep = strstr(line, " - ");
	char *word = sep ? strtok_r(line, " ", &save) : NULL;

	for (int i = 0; word && i < 4; i++)
		word = strtok_r(NULL, " ", &save);
	*mount = word;
	*type = sep ? strtok_r(sep + 3, " ", &save) : NULL;
	if (!*mount || !*type || !strtok_r(NULL, " ", &save))
		return false;
	*options = strtok_r(NULL, " ", &save);
	return *options;
}

void cgroup_layout_parse(struct cgroup_layout *ret, const char *mountinfo,
			 const char *v2_controllers)
{
	auto_free char *text = xstrdup(mountinfo);
	auto_free char *v2 = NULL;
	char *save = NULL;

	*ret = (struct cgroup_layout){.mode = CGROUP_NONE};
	for (int c = 0; c < CG_COUNT; c++)
		ret->where[c] = -1;
	for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		char *mount, *type, *options;

		if (!mountinfo_line(line, &mount, &type, &options))
			continue;
		if (streq(type, "cgroup"))
			add_v1(ret, mount, options);
		else if (streq(type, "cgroup2") && !v2)
			v2 = xstrdup(mount);
	}
	if (ret->mounts.n > 0) {
		ret->mode = v2 ? CGROUP_HYBRID : CGROUP_V1;
		if (v2)
			strv_add(&ret->mounts, v2); /* runc makes groups there too */
	} else if (v2) {
		ret->mode = CGROUP_V2;
		use_v2(ret, v2, v2_controllers);
	}
}

int cgroup_layout_detect(struct cgroup_layout *ret)
{
	auto_free char *mountinfo = NULL;
	auto_free char *controllers = NULL;
	int r = file_read("/proc/self/mountinfo", 1 << 20, &mountinfo, NULL);

	if (r < 0)
		return r;
	if (file_read("/sys/fs/cgroup/cgroup.controllers", 4096, &controllers, NULL) < 0)
		controllers = xstrdup("");
	cgroup_layout_parse(ret, mountinfo, controllers);
	return 0;
}

void cgroup_layout_done(struct cgroup_layout *l)
{
	strv_done(&l->mounts);
}

char *cgroup_controllers_text(const struct cgroup_layout *l)
{
	static const enum cgroup_controller told[] = {CG_CPU, CG_MEMORY, CG_PIDS};
	struct strbuf text = {0};

	for (size_t i = 0; i < ARRAY_SIZE(told); i++)
		if (cgroup_has(l, told[i]))
			strbuf_addf(&text, "%s%s", text.len ? " " : "", controller_names[told[i]]);
	return strbuf_steal(&text);
}

/* ---- files ------------------------------------------------------------------------------ */

char *cgroup_file(const struct cgroup_layout *l, enum cgroup_controller c, const char *path,
		  const char *file)
{
	return cgroup_has(l, c) ? xasprintf("%s%s/%s", l->mounts.v[l->where[c]], path, file) : NULL;
}

void cgroup_probe_swap(struct cgroup_layout *l, const char *path)
{
	auto_free char *file = cgroup_file(l, CG_MEMORY, path,
					   l->mode == CGROUP_V2 ? "memory.swap.max"
								: "memory.memsw.limit_in_bytes");

	l->swap = file && access(file, W_OK) == 0;
}

static int write_text(const char *path, const char *text)
{
	auto_fd int fd = open(path, O_WRONLY | O_CLOEXEC);

	return fd < 0 || write(fd, text, strlen(text)) < 0 ? -errno : 0;
}

static void write_limit(const struct cgroup_layout *l, enum cgroup_controller c, const char *path,
			const char *file, const char *text)
{
	auto_free char *full = cgroup_file(l, c, path, file);
	int r = full ? write_text(full, text) : 0;

	if (r < 0)
		log_warn("%s: %s: %s", full, text, strerror(-r));
}

/* The controllers of a v2 group reach its children only when it says so. One by one, for a write
 * with one that does not work fails as a whole. */
static void delegate(const char *dir)
{
	static const char *const all[] = {"+cpu", "+memory", "+pids", "+io", "+cpuset"};
	auto_free char *file = path_join(dir, "cgroup.subtree_control");

	for (size_t i = 0; i < ARRAY_SIZE(all); i++)
		if (write_text(file, all[i]) < 0)
			log_debug("%s: %s not delegated", dir, all[i]);
}

/* mkdir -p below the mount point, delegating on the way down in v2. */
static int create_in(const char *mount, const char *path, bool v2)
{
	auto_free char *full = xasprintf("%s%s", mount, path);
	size_t at = strlen(mount);

	while (full[at]) {
		char *slash = full + at + 1 + strcspn(full + at + 1, "/");
		char c = *slash;

		if (v2) {
			full[at] = '\0';
			delegate(full);
			full[at] = '/';
		}
		*slash = '\0';
		if (mkdir(full, 0755) < 0 && errno != EEXIST)
			return -errno;
		*slash = c;
		at = (size_t)(slash - full);
	}
	if (v2)
		delegate(full);
	return 0;
}

int cgroup_create(const struct cgroup_layout *l, const char *path, struct err *err)
{
	static const enum cgroup_controller limited[] = {CG_CPU, CG_MEMORY, CG_PIDS, CG_SYSTEMD};

	for (size_t i = 0; i < ARRAY_SIZE(limited); i++) {
		int where = l->where[limited[i]];
		int r = where < 0 ? 0 : create_in(l->mounts.v[where], path, l->mode == CGROUP_V2);

		if (r < 0)
			return err_errno(err, -r, "make cgroup %s%s", l->mounts.v[where], path);
		if (l->mode == CGROUP_V2 && where >= 0)
			break; /* there is one hierarchy only */
	}
	return 0;
}

/* ---- limits ----------------------------------------------------------------------------- */

uint64_t cgroup_shares(int64_t milli_cpu)
{
	if (milli_cpu <= 0)
		return SHARES_MIN;
	if (milli_cpu > INT64_MAX / 1024 || milli_cpu * 1024 / 1000 > SHARES_MAX)
		return SHARES_MAX;
	uint64_t shares = (uint64_t)milli_cpu * 1024 / 1000;
	return shares < SHARES_MIN ? SHARES_MIN : shares;
}

int64_t cgroup_quota(int64_t milli_cpu)
{
	if (milli_cpu <= 0 || milli_cpu > INT64_MAX / CPU_PERIOD_US)
		return -1;
	int64_t quota = milli_cpu * CPU_PERIOD_US / 1000;
	return quota < CPU_QUOTA_MIN_US ? CPU_QUOTA_MIN_US : quota;
}

uint64_t cgroup_weight(uint64_t shares)
{
	return 1 + (shares - SHARES_MIN) * 9999 / (SHARES_MAX - SHARES_MIN);
}

static void limit_cpu(const struct cgroup_layout *l, const char *path,
		      const struct resource_limits *limits)
{
	uint64_t shares = cgroup_shares(limits->cpu_request);
	int64_t quota = cgroup_quota(limits->cpu_limit);
	bool v2 = l->mode == CGROUP_V2;
	char text[64];

	snprintf(text, sizeof(text), "%" PRIu64, v2 ? cgroup_weight(shares) : shares);
	write_limit(l, CG_CPU, path, v2 ? "cpu.weight" : "cpu.shares", text);
	if (quota < 0)
		return;
	snprintf(text, sizeof(text), v2 ? "%" PRId64 " 100000" : "%" PRId64, quota);
	write_limit(l, CG_CPU, path, v2 ? "cpu.max" : "cpu.cfs_quota_us", text);
}

void cgroup_limit(const struct cgroup_layout *l, const char *path,
		  const struct resource_limits *limits)
{
	char text[32];

	limit_cpu(l, path, limits);
	if (limits->memory_limit > 0) {
		snprintf(text, sizeof(text), "%" PRId64, limits->memory_limit);
		write_limit(l, CG_MEMORY, path,
			    l->mode == CGROUP_V2 ? "memory.max" : "memory.limit_in_bytes", text);
	}
	if (limits->pids_limit > 0) {
		snprintf(text, sizeof(text), "%" PRId64, limits->pids_limit);
		write_limit(l, CG_PIDS, path, "pids.max", text);
	}
}

/* ---- kill and remove -------------------------------------------------------------------- */

/* Calls fn for the group and all below it, children first; the first error ends it. */
static int walk(const char *dir, int (*fn)(const char *dir))
{
	auto_dir DIR *d = opendir(dir);
	const struct dirent *e;

	if (!d)
		return errno == ENOENT ? 0 : -errno;
	while ((e = readdir(d))) {
		if (e->d_type != DT_DIR || streq(e->d_name, ".") || streq(e->d_name, ".."))
			continue;
		auto_free char *sub = path_join(dir, e->d_name);
		int r = walk(sub, fn);
		if (r < 0)
			return r;
	}
	return fn(dir);
}

static int kill_procs(const char *dir)
{
	auto_free char *file = path_join(dir, "cgroup.procs");
	auto_free char *text = NULL;

	if (file_read(file, 1 << 20, &text, NULL) < 0)
		return 0;
	for (char *p = text, *end; *p; p = end + strspn(end, "\n")) {
		long pid = strtol(p, &end, 10);

		if (end == p)
			break;
		if (pid > 1 && pid != getpid())
			kill((pid_t)pid, SIGKILL);
	}
	return 0;
}

void cgroup_kill(const struct cgroup_layout *l, const char *path)
{
	for (size_t i = 0; i < l->mounts.n; i++) {
		auto_free char *dir = xasprintf("%s%s", l->mounts.v[i], path);
		auto_free char *file = path_join(dir, "cgroup.kill");

		if (access(dir, F_OK) < 0)
			continue;
		if (l->mode == CGROUP_V2 && write_text(file, "1") == 0)
			return;
		walk(dir, kill_procs);
	}
}

static int remove_one(const char *dir)
{
	return rmdir(dir) < 0 && errno != ENOENT ? -errno : 0;
}

int cgroup_remove(const struct cgroup_layout *l, const char *path)
{
	int ret = 0;

	for (size_t i = 0; i < l->mounts.n; i++) {
		auto_free char *dir = xasprintf("%s%s", l->mounts.v[i], path);
		int r = walk(dir, remove_one);

		if (r < 0)
			ret = r;
	}
	return ret;
}

/* ---- figures ---------------------------------------------------------------------------- */

/* The number in a file (key NULL) or after "<key> " at a line's start; -ENOENT. */
static int read_number(const struct cgroup_layout *l, enum cgroup_controller c, const char *path,
		       const char *file, const char *key, uint64_t *ret)
{
	auto_free char *full = cgroup_file(l, c, path, file);
	auto_free char *text = NULL;
	const char *p;
	int r = full ? file_read(full, 64 * 1024, &text, NULL) : -ENOENT;

	if (r < 0)
		return r;
	p = text;
	while (key && p && !(str_starts(p, key) && p[strlen(key)] == ' '))
		p = strchr(p, '\n') ? strchr(p, '\n') + 1 : NULL;
	if (!p)
		return -ENOENT;
	*ret = strtoull(p + (key ? strlen(key) + 1 : 0), NULL, 10);
	return 0;
}

int cgroup_read_stats(const struct cgroup_layout *l, const char *path, struct cgroup_stats *ret)
{
	bool v2 = l->mode == CGROUP_V2;
	uint64_t inactive = 0;
	int found = 0;

	*ret = (struct cgroup_stats){0};
	if (v2 ? read_number(l, CG_CPUACCT, path, "cpu.stat", "usage_usec", &ret->cpu_us) == 0
	       : read_number(l, CG_CPUACCT, path, "cpuacct.usage", NULL, &ret->cpu_us) == 0)
		found++;
	if (!v2)
		ret->cpu_us /= 1000;
	if (read_number(l, CG_MEMORY, path, v2 ? "memory.current" : "memory.usage_in_bytes", NULL,
			&ret->memory_bytes) == 0)
		found++;
	if (read_number(l, CG_MEMORY, path, "memory.stat",
			v2 ? "inactive_file" : "total_inactive_file", &inactive) < 0)
		inactive = 0;
	ret->working_set = ret->memory_bytes > inactive ? ret->memory_bytes - inactive : 0;
	if (read_number(l, CG_PIDS, path, "pids.current", NULL, &ret->pids) == 0)
		found++;
	return found ? 0 : -ENOENT;
}
