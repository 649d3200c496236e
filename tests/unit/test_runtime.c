/* SPDX-License-Identifier: Apache-2.0 */
/* The runtime's pure parts: protocol, cgroup layouts and arithmetic, OCI configuration. */
#include "test_runtime.h"

#include "cgroup.h"
#include "oci.h"
#include "protocol.h"

#include <sys/socket.h>
#include <unistd.h>

/* ---- protocol ---------------------------------------------------------------------------- */

static void test_protocol_round_trip(void **state UNUSED)
{
	struct proto_msg in = {.type = PROTO_START,
			       .serial = 0xdeadbeef,
			       .id = "abc",
			       .name = "web",
			       .message = "",
			       .code = (uint64_t)(int64_t)-2,
			       .layers = {"/a", "/b"},
			       .n_layers = 2};
	struct proto_msg out;
	unsigned char buf[PROTO_MAX];
	ssize_t len = proto_encode(&in, buf, sizeof(buf));

	assert_true(len > 0);
	assert_int_equal(proto_decode(&out, buf, (size_t)len), 0);
	assert_int_equal(out.type, PROTO_START);
	assert_int_equal(out.serial, 0xdeadbeef);
	assert_string_equal(out.id, "abc");
	assert_string_equal(out.message, "");
	assert_null(out.bundle);
	assert_int_equal((int64_t)out.code, -2);
	assert_int_equal(out.n_layers, 2);
	assert_string_equal(out.layers[1], "/b");
	for (size_t cut = 0; cut < (size_t)len; cut++)
		if (proto_decode(&out, buf, cut) == 0)
			assert_true(cut >= 8); /* whole fields may be missing, never halves */
	buf[0] = 9;
	assert_int_equal(proto_decode(&out, buf, (size_t)len), -EPROTONOSUPPORT);
}

static void test_protocol_bounds(void **state UNUSED)
{
	char longest[PROTO_STRING_MAX + 1];
	struct proto_msg m = {.type = PROTO_KILL, .id = longest};
	unsigned char buf[PROTO_MAX];

	memset(longest, 'x', sizeof(longest));
	longest[PROTO_STRING_MAX] = '\0';
	assert_int_equal(proto_encode(&m, buf, sizeof(buf)), -EMSGSIZE);
	longest[PROTO_STRING_MAX - 1] = '\0';
	assert_true(proto_encode(&m, buf, sizeof(buf)) > 0);
	assert_int_equal(proto_encode(&m, buf, 100), -EMSGSIZE);
	m = (struct proto_msg){.type = PROTO_START, .n_layers = PROTO_LAYERS_MAX + 1};
	assert_int_equal(proto_encode(&m, buf, sizeof(buf)), -EMSGSIZE);
}

static void test_protocol_packets(void **state UNUSED)
{
	struct proto_msg in = {.type = PROTO_EXEC, .exec = 7}, out;
	unsigned char buf[PROTO_MAX];
	int pair[2], fds[PROTO_FDS_MAX];
	char byte = 'x';

	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
	assert_int_equal(proto_recv(pair[1], buf, sizeof(buf), fds), -EAGAIN);
	assert_int_equal(proto_send(pair[0], &in, pair, 2), 0);
	ssize_t n = proto_recv(pair[1], buf, sizeof(buf), fds);
	assert_true(n > 0 && fds[0] >= 0 && fds[1] >= 0 && fds[2] < 0);
	assert_int_equal(proto_decode(&out, buf, (size_t)n), 0);
	assert_int_equal(out.exec, 7);
	/* The descriptor is the socket's own end: what is sent by it arrives. */
	assert_int_equal(write(fds[0], &byte, 1), 1);
	close(fds[0]);
	close(fds[1]);
	assert_int_equal(proto_recv(pair[1], buf, sizeof(buf), fds), 1);
	assert_int_equal(write(pair[0], buf, 100), 100);
	assert_int_equal(proto_recv(pair[1], buf, 50, fds), -EMSGSIZE);
	close(pair[0]);
	assert_int_equal(proto_recv(pair[1], buf, sizeof(buf), fds), 0);
	close(pair[1]);
}

/* ---- cgroups ------------------------------------------------------------------------------ */

static const char v2_mounts[] =
	"29 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n";
static const char v1_mounts[] =
	"30 25 0:26 / /sys/fs/cgroup ro - tmpfs tmpfs ro,mode=755\n"
	"31 30 0:27 / /sys/fs/cgroup/systemd rw shared:5 - cgroup cgroup rw,xattr,name=systemd\n"
	"32 30 0:28 / /sys/fs/cgroup/cpu,cpuacct rw shared:6 - cgroup cgroup rw,cpu,cpuacct\n"
	"33 30 0:29 / /sys/fs/cgroup/cpuset rw - cgroup cgroup rw,cpuset\n"
	"34 30 0:30 / /sys/fs/cgroup/pids rw shared:8 master:1 - cgroup cgroup rw,pids\n";
static const char unified_mount[] = "35 30 0:31 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n";

static void test_cgroup_v2(void **state UNUSED)
{
	struct cgroup_layout l;

	cgroup_layout_parse(&l, v2_mounts, "cpuset cpu io pids\n");
	assert_int_equal(l.mode, CGROUP_V2);
	assert_true(cgroup_has(&l, CG_CPU) && cgroup_has(&l, CG_PIDS));
	assert_false(cgroup_has(&l, CG_MEMORY)); /* PAINS: a Raspberry Pi without cgroup_enable */
	auto_free char *text = cgroup_controllers_text(&l);
	assert_string_equal(text, "cpu pids");
	auto_free char *file = cgroup_file(&l, CG_CPU, "/coracle/x", "cpu.max");
	assert_string_equal(file, "/sys/fs/cgroup/coracle/x/cpu.max");
	assert_null(cgroup_file(&l, CG_MEMORY, "/coracle/x", "memory.max"));
	cgroup_layout_done(&l);
}

static void test_cgroup_v1(void **state UNUSED)
{
	struct cgroup_layout l;
	auto_free char *both = xasprintf("%s%s", v1_mounts, unified_mount);

	cgroup_layout_parse(&l, v1_mounts, "");
	assert_int_equal(l.mode, CGROUP_V1);
	assert_int_equal(l.mounts.n, 4);
	assert_int_equal(l.where[CG_CPU], l.where[CG_CPUACCT]);
	auto_free char *file = cgroup_file(&l, CG_CPUACCT, "/a", "cpuacct.usage");
	assert_string_equal(file, "/sys/fs/cgroup/cpu,cpuacct/a/cpuacct.usage");
	assert_false(cgroup_has(&l, CG_MEMORY));
	assert_true(cgroup_has(&l, CG_SYSTEMD));
	cgroup_layout_done(&l);
	cgroup_layout_parse(&l, both, "");
	assert_int_equal(l.mode, CGROUP_HYBRID);
	assert_int_equal(l.mounts.n, 5);
	assert_string_equal(l.mounts.v[4], "/sys/fs/cgroup/unified");
	cgroup_layout_done(&l);
	cgroup_layout_parse(&l, "junk\n1 2 - cgroup\n - - -\n", "");
	assert_int_equal(l.mode, CGROUP_NONE);
	cgroup_layout_done(&l);
}

static void test_cgroup_arithmetic(void **state UNUSED)
{
	static const struct {
		int64_t milli;
		uint64_t shares;
		int64_t quota;
	} rows[] = {
		{0, 2, -1},
		{1, 2, 1000},
		{100, 102, 10000},
		{1000, 1024, 100000},
		{1500, 1536, 150000},
		{300000, 262144, 30000000},
		{INT64_MAX, 262144, -1},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		assert_int_equal(cgroup_shares(rows[i].milli), rows[i].shares);
		assert_int_equal(cgroup_quota(rows[i].milli), rows[i].quota);
	}
	assert_int_equal(cgroup_weight(2), 1);
	assert_int_equal(cgroup_weight(1024), 39);
	assert_int_equal(cgroup_weight(262144), 10000);
}

/* ---- OCI configuration -------------------------------------------------------------------- */

static struct cgroup_layout layout;
static const char *const argv[] = {"/bin/sh", "-c", "true", NULL};

static json_t *config_of(struct container_config c, struct oci_pod pod, const char *controllers)
{
	auto_err err = {0};
	json_t *v;

	cgroup_layout_parse(&layout, v2_mounts, controllers);
	pod.cgroups = &layout;
	pod.rootfs = "/run/rootfs";
	pod.cgroups_path = "/coracle/burstable/p/c";
	pod.shm = "/run/shm";
	pod.sandbox = 4711;
	pod.hostname = "boat";
	c.argv = c.argv ? c.argv : argv;
	v = oci_config_new(&pod, &c, &err);
	if (!v)
		print_message("%s\n", err_message(&err));
	cgroup_layout_done(&layout);
	return v;
}

static bool has_string(const json_t *list, const char *s)
{
	size_t i;
	json_t *v;

	json_array_foreach(list, i, v) if (str_eq(json_string_value(v), s)) return true;
	return false;
}

static void test_oci_defaults(void **state UNUSED)
{
	json_auto_t *v =
		config_of((struct container_config){0}, (struct oci_pod){0}, "cpu memory pids");
	const json_t *caps, *mounts, *ns;

	assert_non_null(v);
	caps = json_at(v, "process.capabilities.bounding");
	assert_int_equal(json_array_size(caps), 14);
	assert_true(has_string(caps, "CAP_NET_BIND_SERVICE"));
	assert_false(has_string(caps, "CAP_SYS_ADMIN"));
	assert_true(has_string(json_at(v, "linux.maskedPaths"), "/proc/kcore"));
	assert_true(has_string(json_at(v, "linux.readonlyPaths"), "/proc/sys"));
	assert_string_equal(json_str(v, "process.cwd", ""), "/");
	assert_true(has_string(json_at(v, "process.env"), "HOSTNAME=boat"));
	assert_non_null(json_at(v, "linux.seccomp"));
	assert_int_equal(json_int(v, "linux.resources.cpu.shares", 0), 2);
	assert_null(json_at(v, "linux.resources.memory"));
	mounts = json_at(v, "mounts");
	assert_true(has_string(json_at(json_find(mounts, "destination", "/sys"), "options"), "ro"));
	assert_string_equal(json_str(json_find(mounts, "destination", "/dev/shm"), "source", ""),
			    "/run/shm");
	ns = json_at(v, "linux.namespaces");
	assert_string_equal(json_str(json_find(ns, "type", "network"), "path", ""),
			    "/proc/4711/ns/net");
	assert_non_null(json_find(ns, "type", "pid"));
	assert_null(json_at(json_find(ns, "type", "pid"), "path"));
	assert_non_null(json_find(ns, "type", "cgroup"));
}

static void test_oci_privileged(void **state UNUSED)
{
	json_auto_t *v = config_of((struct container_config){.privileged = true},
				   (struct oci_pod){.host_network = true, .host_pid = true},
				   "cpu memory pids");
	const json_t *ns = json_at(v, "linux.namespaces");

	assert_non_null(v);
	assert_true(has_string(json_at(v, "process.capabilities.effective"), "CAP_SYS_ADMIN"));
	assert_null(json_at(v, "linux.maskedPaths"));
	assert_null(json_at(v, "linux.seccomp"));
	assert_null(json_find(ns, "type", "network"));
	assert_null(json_find(ns, "type", "uts"));
	assert_null(json_find(ns, "type", "pid"));
	assert_non_null(json_find(ns, "type", "ipc"));
	assert_true(has_string(
		json_at(json_find(json_at(v, "mounts"), "destination", "/sys"), "options"), "rw"));
}

static void test_oci_capabilities(void **state UNUSED)
{
	static const char *const all[] = {"ALL", NULL}, *const admin[] = {"NET_ADMIN", NULL},
				 *const raw[] = {"CAP_NET_RAW", NULL},
				 *const bad[] = {"NONSENSE", NULL};
	json_auto_t *only = config_of((struct container_config){.cap_drop = all, .cap_add = admin},
				      (struct oci_pod){0}, "");
	json_auto_t *but = config_of((struct container_config){.cap_add = all, .cap_drop = raw},
				     (struct oci_pod){0}, "");
	const json_t *caps = json_at(only, "process.capabilities.bounding");

	assert_int_equal(json_array_size(caps), 1);
	assert_true(has_string(caps, "CAP_NET_ADMIN"));
	caps = json_at(but, "process.capabilities.bounding");
	assert_true(has_string(caps, "CAP_SYS_ADMIN"));
	assert_false(has_string(caps, "CAP_NET_RAW"));
	assert_null(config_of((struct container_config){.cap_add = bad}, (struct oci_pod){0}, ""));
}

static void test_oci_limits(void **state UNUSED)
{
	const struct mount_spec mounts[] = {
		{.source = "/data", .target = "/data", .flags = MOUNT_READ_ONLY | MOUNT_RSLAVE},
		{.target = "/dev/shm", .flags = MOUNT_TMPFS, .size = 4096}};
	const struct device_spec device = {"/dev/mine", "/dev/null", "rw"};
	struct container_config c = {.limits = {.cpu_request = 250,
						.cpu_limit = 500,
						.memory_limit = 1 << 26,
						.pids_limit = 9},
				     .mounts = mounts,
				     .n_mounts = 2,
				     .devices = &device,
				     .n_devices = 1,
				     .seccomp_unconfined = true,
				     .tty = true,
				     .oom_score_adj = 7,
				     .read_only_root = true};
	json_auto_t *v = config_of(c, (struct oci_pod){.share_pid = 99}, "cpu memory pids");
	json_auto_t *bare = config_of(c, (struct oci_pod){0}, "cpu");
	const json_t *list = json_at(v, "mounts");

	assert_non_null(v);
	assert_int_equal(json_int(v, "linux.resources.cpu.quota", 0), 50000);
	assert_int_equal(json_int(v, "linux.resources.cpu.shares", 0), 256);
	assert_int_equal(json_int(v, "linux.resources.memory.limit", 0), 1 << 26);
	assert_int_equal(json_int(v, "linux.resources.pids.limit", 0), 9);
	assert_null(json_at(bare, "linux.resources.memory"));
	assert_null(json_at(bare, "linux.resources.pids"));
	assert_null(json_at(v, "linux.seccomp"));
	assert_true(json_bool(v, "process.terminal", false));
	assert_true(has_string(json_at(v, "process.env"), "TERM=xterm"));
	assert_true(json_bool(v, "root.readonly", false));
	assert_true(
		has_string(json_at(json_find(list, "destination", "/data"), "options"), "rslave"));
	assert_string_equal(json_str(json_find(list, "destination", "/dev/shm"), "type", ""),
			    "tmpfs");
	assert_string_equal(
		json_str(json_find(json_at(v, "linux.namespaces"), "type", "pid"), "path", ""),
		"/proc/99/ns/pid");
	assert_int_equal(json_int(json_array_get(json_at(v, "linux.devices"), 0), "major", 0), 1);
	assert_int_equal(json_len(v, "linux.resources.devices"), 2);
}

static void test_oci_exec(void **state UNUSED)
{
	static const char *const run[] = {"ls", "-l", NULL}, *const env[] = {"A=b", NULL};
	json_auto_t *v = config_of((struct container_config){.uid = 5, .cwd = "/srv"},
				   (struct oci_pod){0}, "");
	json_auto_t *p = oci_process_new(
		v, &(struct exec_config){.argv = run, .envp = env, .tty = true}, NULL);

	assert_non_null(p);
	assert_int_equal(json_int(p, "user.uid", 0), 5);
	assert_string_equal(json_str(p, "cwd", ""), "/srv");
	assert_int_equal(json_len(p, "args"), 2);
	assert_true(has_string(json_at(p, "env"), "A=b"));
	assert_true(json_bool(p, "terminal", false));
	/* The container's own is untouched. */
	assert_int_equal(json_len(v, "process.args"), 3);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_protocol_round_trip),
		cmocka_unit_test(test_protocol_bounds),
		cmocka_unit_test(test_protocol_packets),
		cmocka_unit_test(test_cgroup_v2),
		cmocka_unit_test(test_cgroup_v1),
		cmocka_unit_test(test_cgroup_arithmetic),
		cmocka_unit_test(test_oci_defaults),
		cmocka_unit_test(test_oci_privileged),
		cmocka_unit_test(test_oci_capabilities),
		cmocka_unit_test(test_oci_limits),
		cmocka_unit_test(test_oci_exec),
	};

	return cmocka_run_group_tests_name("runtime", tests, NULL, NULL);
}
