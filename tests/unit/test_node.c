/* SPDX-License-Identifier: Apache-2.0 */
/* node: the pure parts: status, environment, files of /etc, volume payloads, logs, back-off, specs.
 */
#include "src/node/backoff.h"
#include "src/node/crilog.h"
#include "src/node/downward.h"
#include "src/node/env.h"
#include "src/node/files.h"
#include "src/node/payload.h"
#include "src/node/spec.h"
#include "src/node/status.h"
#include "src/node/usage.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/stat.h>
#include <unistd.h>
/* behind the others */
#include <cmocka.h>

static json_t *json(const char *text)
{
	json_t *v = json_parse(text, strlen(text), NULL);

	assert_non_null(v);
	return v;
}

/* ---- back-off ----------------------------------------------------------------------------- */

static mono_t at(uint64_t seconds)
{
	return (mono_t){seconds * USEC_PER_SEC};
}

static void test_backoff(void **state UNUSED)
{
	struct backoff b = {0};
	uint64_t now = 1000, want[] = {10, 20, 40, 80, 160, 300, 300};

	assert_int_equal(backoff_left(&b, at(now), at(now)), 0);
	backoff_next(&b, at(now));
	for (size_t i = 0; i < ARRAY_SIZE(want); i++) {
		now += 5; /* it ran for 5 s */
		assert_int_equal(backoff_left(&b, at(now), at(now)), want[i] * USEC_PER_SEC);
		assert_int_equal(backoff_left(&b, at(now), at(now + 4)),
				 (want[i] - 4) * USEC_PER_SEC);
		now += want[i];
		assert_int_equal(backoff_left(&b, at(now - want[i]), at(now)), 0);
		backoff_next(&b, at(now));
	}
	now += 601; /* a long run forgets */
	assert_int_equal(backoff_left(&b, at(now), at(now)), 0);
	backoff_next(&b, at(now));
	assert_int_equal(b.delay_us, 10 * USEC_PER_SEC);
}

/* ---- status ------------------------------------------------------------------------------- */

#define POD(policy)                                                                                \
	"{\"metadata\":{\"name\":\"p\",\"namespace\":\"ns\",\"uid\":\"u\"},\"spec\":"              \
	"{\"restartPolicy\":\"" policy "\",\"initContainers\":[{\"name\":\"i\",\"image\":\"a\"}]," \
	"\"containers\":[{\"name\":\"c\",\"image\":\"b\"}]}}"

static struct ctr_facts fact(const char *name, enum ctr_role role, enum ctr_view view, int code)
{
	struct ctr_facts f = {.name = xstrdup(name), .role = role, .view = view};

	if (code >= 0) {
		f.end.id = xstrdup("dead");
		f.end.code = code;
		f.end.reason = xstrdup(code ? "Error" : "Completed");
	}
	return f;
}

struct phase_case {
	const char *policy;
	enum ctr_view init_view;
	int init_code;
	enum ctr_view main_view;
	int main_code;
	bool terminal;
	const char *phase;
};

static void test_phase(void **state UNUSED)
{
	static const struct phase_case cases[] = {
		{"Always", VIEW_WAITING, -1, VIEW_WAITING, -1, false, "Pending"},
		{"Always", VIEW_RUNNING, -1, VIEW_WAITING, -1, false, "Pending"},
		{"Always", VIEW_TERMINATED, 0, VIEW_WAITING, -1, false, "Pending"},
		{"Always", VIEW_TERMINATED, 0, VIEW_RUNNING, -1, false, "Running"},
		{"Always", VIEW_TERMINATED, 0, VIEW_WAITING, 1, false, "Running"},
		{"Always", VIEW_TERMINATED, 0, VIEW_TERMINATED, 0, false, "Running"},
		{"OnFailure", VIEW_TERMINATED, 0, VIEW_TERMINATED, 1, false, "Running"},
		{"OnFailure", VIEW_TERMINATED, 0, VIEW_TERMINATED, 0, false, "Succeeded"},
		{"Never", VIEW_TERMINATED, 0, VIEW_TERMINATED, 0, false, "Succeeded"},
		{"Never", VIEW_TERMINATED, 0, VIEW_TERMINATED, 3, false, "Failed"},
		{"Never", VIEW_TERMINATED, 1, VIEW_WAITING, -1, false, "Failed"},
		{"OnFailure", VIEW_WAITING, 1, VIEW_WAITING, -1, false, "Pending"},
		{"Always", VIEW_TERMINATED, 0, VIEW_TERMINATED, 137, true, "Failed"},
		{"Always", VIEW_TERMINATED, 0, VIEW_TERMINATED, 0, true, "Succeeded"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const struct phase_case *t = &cases[i];
		json_auto_t *pod = json(POD("Always"));
		json_put_str(pod, "spec.restartPolicy", t->policy);
		struct ctr_facts a = fact("i", CTR_INIT, t->init_view, t->init_code);
		struct ctr_facts b = fact("c", CTR_MAIN, t->main_view, t->main_code);
		const struct ctr_facts *const all[] = {&a, &b};
		struct pod_facts f = {
			.pod = pod, .ctrs = all, .n_ctrs = 2, .terminal = t->terminal};
		assert_string_equal(status_phase(&f), t->phase);
		ctr_facts_done(&a);
		ctr_facts_done(&b);
	}
}

static const char *condition_at(const json_t *status, const char *type, const char *field)
{
	return json_str(json_find(json_object_get(status, "conditions"), "type", type), field, "");
}

static void test_status(void **state UNUSED)
{
	json_auto_t *pod = json(POD("Always"));
	struct ctr_facts a = fact("i", CTR_INIT, VIEW_TERMINATED, 0);
	struct ctr_facts b = fact("c", CTR_MAIN, VIEW_RUNNING, -1);
	const struct ctr_facts *const all[] = {&a, &b};
	struct pod_facts f = {
		.pod = pod,
		.ctrs = all,
		.n_ctrs = 2,
		.runtime = "crun",
		.host_ip = "192.0.2.1",
		.pod_ip = "10.42.0.2",
		.sandbox_ready = true,
		.start_time = 1000,
		.now = 2000,
	};

	b.id = xstrdup("abc");
	b.started = true;
	b.started_at.tv_sec = 1500;
	b.last.id = xstrdup("old");
	b.last.code = 137;
	b.restarts = 2;
	json_auto_t *one = status_make(&f);
	assert_string_equal(json_str(one, "phase", ""), "Running");
	assert_string_equal(condition_at(one, "Initialized", "status"), "True");
	assert_string_equal(condition_at(one, "Ready", "status"), "False");
	assert_string_equal(condition_at(one, "Ready", "reason"), "ContainersNotReady");
	assert_string_equal(condition_at(one, "Ready", "message"),
			    "containers with unready status: [c]");
	assert_string_equal(json_str(one, "podIP", ""), "10.42.0.2");
	assert_string_equal(json_str(one, "qosClass", ""), "BestEffort");
	const json_t *c = json_array_get(json_object_get(one, "containerStatuses"), 0);
	assert_string_equal(json_str(c, "containerID", ""), "crun://abc");
	assert_string_equal(json_str(c, "state.running.startedAt", ""), "1970-01-01T00:25:00Z");
	assert_int_equal(json_int(c, "lastState.terminated.exitCode", 0), 137);
	assert_int_equal(json_int(c, "restartCount", 0), 2);

	/* ready later: only what changed gets a new transition time, others' conditions stay */
	json_array_append_new(json_object_get(one, "conditions"),
			      json_pack("{s:s,s:s}", "type", "x/gate", "status", "True"));
	json_put(pod, "status", json_incref(one));
	b.ready = true;
	f.now = 3000;
	json_auto_t *two = status_make(&f);
	assert_string_equal(condition_at(two, "Ready", "status"), "True");
	assert_string_equal(condition_at(two, "Ready", "lastTransitionTime"),
			    "1970-01-01T00:50:00Z");
	assert_string_equal(condition_at(two, "Initialized", "lastTransitionTime"),
			    "1970-01-01T00:33:20Z");
	assert_string_equal(condition_at(two, "x/gate", "status"), "True");

	/* a missing readiness gate holds the pod back */
	json_put(pod, "spec.readinessGates", json_pack("[{s:s}]", "conditionType", "y"));
	json_auto_t *three = status_make(&f);
	assert_string_equal(condition_at(three, "Ready", "reason"), "ReadinessGatesNotReady");
	assert_string_equal(condition_at(three, "ContainersReady", "status"), "True");

	/* and back from the stored entry */
	struct ctr_facts r = {0};
	json_put(pod, "status", json_incref(two));
	status_restore(&r, status_entry(pod, CTR_MAIN, "c"));
	assert_int_equal(r.restarts, 2);
	assert_string_equal(r.last.id, "old");
	assert_int_equal(r.last.code, 137);
	ctr_facts_done(&r);
	ctr_facts_done(&a);
	ctr_facts_done(&b);
}

/* An ephemeral container has a status of its own and no say in the pod's. */
static void test_status_ephemeral(void **state UNUSED)
{
	json_auto_t *pod = json(POD("Never"));
	struct ctr_facts a = fact("i", CTR_INIT, VIEW_TERMINATED, 0);
	struct ctr_facts b = fact("c", CTR_MAIN, VIEW_RUNNING, -1);
	struct ctr_facts d = fact("d", CTR_DEBUG, VIEW_TERMINATED, 1);
	const struct ctr_facts *const all[] = {&a, &b, &d};
	struct pod_facts f = {.pod = pod, .ctrs = all, .n_ctrs = 3, .runtime = "crun", .now = 2000};

	b.ready = b.started = true;
	json_put(pod, "spec.ephemeralContainers",
		 json_pack("[{s:s,s:s}]", "name", "d", "image", "tools"));
	json_auto_t *s = status_make(&f);

	assert_string_equal(json_str(s, "phase", ""), "Running");
	assert_string_equal(condition_at(s, "Ready", "status"), "True");
	assert_int_equal(json_len(s, "containerStatuses"), 1);
	const json_t *entry = json_array_get(json_object_get(s, "ephemeralContainerStatuses"), 0);

	assert_string_equal(json_str(entry, "image", ""), "tools");
	assert_int_equal(json_int(entry, "state.terminated.exitCode", 0), 1);
	json_put(pod, "status", json_incref(s));
	assert_ptr_equal(status_entry(pod, CTR_DEBUG, "d"), entry);
	ctr_facts_done(&a);
	ctr_facts_done(&b);
	ctr_facts_done(&d);
}

static void test_waiting(void **state UNUSED)
{
	json_auto_t *pod = json(POD("Always"));
	struct ctr_facts a = fact("i", CTR_INIT, VIEW_TERMINATED, 0);
	struct ctr_facts b = fact("c", CTR_MAIN, VIEW_WAITING, 1);
	const struct ctr_facts *const all[] = {&a, &b};
	struct pod_facts f = {.pod = pod,
			      .ctrs = all,
			      .n_ctrs = 2,
			      .runtime = "crun",
			      .host_ip = "",
			      .pod_ip = ""};

	b.wait_reason = "CrashLoopBackOff";
	b.wait_message = xstrdup("back-off");
	json_auto_t *s = status_make(&f);
	const json_t *c = json_array_get(json_object_get(s, "containerStatuses"), 0);
	assert_string_equal(json_str(c, "state.waiting.reason", ""), "CrashLoopBackOff");
	assert_int_equal(json_int(c, "lastState.terminated.exitCode", 0), 1);
	assert_string_equal(json_str(c, "lastState.terminated.reason", ""), "Error");
	assert_string_equal(json_str(s, "phase", ""), "Running");
	assert_null(json_at(s, "podIP"));
	ctr_facts_done(&a);
	ctr_facts_done(&b);
}

static void test_qos(void **state UNUSED)
{
	static const struct {
		const char *resources, *qos;
	} cases[] = {
		{"{}", "BestEffort"},
		{"{\"requests\":{\"cpu\":\"100m\"}}", "Burstable"},
		{"{\"limits\":{\"cpu\":\"1\",\"memory\":\"1Gi\"}}", "Guaranteed"},
		{"{\"limits\":{\"cpu\":\"1\",\"memory\":\"1Gi\"},\"requests\":{\"cpu\":\"1000m\","
		 "\"memory\":\"1024Mi\"}}",
		 "Guaranteed"},
		{"{\"limits\":{\"cpu\":\"1\",\"memory\":\"1Gi\"},\"requests\":{\"cpu\":\"500m\","
		 "\"memory\":\"1Gi\"}}",
		 "Burstable"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		json_auto_t *pod = json("{\"spec\":{\"containers\":[{\"name\":\"c\"}]}}");
		json_t *c = json_array_get(json_at(pod, "spec.containers"), 0);
		json_put(c, "resources", json(cases[i].resources));
		assert_string_equal(status_qos(pod), cases[i].qos);
	}
}

/* ---- environment -------------------------------------------------------------------------- */

static void test_expand(void **state UNUSED)
{
	static const char *const cases[][2] = {
		{"plain", "plain"}, {"$(A)", "1"},     {"x$(A)y$(B)z", "x1y2z"},
		{"$(NO)", "$(NO)"}, {"$$(A)", "$(A)"}, {"$$$(A)", "$1"},
		{"$(A", "$(A"},	    {"$", "$"},	       {"$x", "$x"},
		{"$$", "$"},	    {"$()", "$()"},    {"a$(A)$(NO)$$(B)", "a1$(NO)$(B)"},
	};
	auto_env e = {0};

	env_set(&e, "A", "1");
	env_set(&e, "B", "two");
	env_set(&e, "B", "2");
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		auto_free char *got = env_expand(cases[i][0], &e);
		assert_string_equal(got, cases[i][1]);
	}
}

static void test_expand_all(void **state UNUSED)
{
	auto_env e = {0};
	auto_err err = {0};

	env_set(&e, "A", "1");
	env_set(&e, "EMPTY", "");
	auto_free char *got = env_expand_all("x$(A)/$$(B)", &e, &err);

	assert_string_equal(got, "x1/$(B)");
	assert_null(env_expand_all("$(NO)/$(A)/$(EMPTY)", &e, &err));
	assert_string_equal(err_message(&err), "missing value for NO, EMPTY");
}

static const json_t *lookup(void *arg, const struct kind *k, const char *name)
{
	return json_object_get(json_object_get(arg, k->kind), name);
}

static const char objects[] = "{\"ConfigMap\":{\"cm\":{\"data\":{\"K\":\"v\",\"L\":\"w\"},"
			      "\"binaryData\":{\"B\":\"AAE=\"}}},"
			      "\"Secret\":{\"se\":{\"data\":{\"P\":\"aHVudGVyMg==\"}}}}";

static const struct self_facts self = {
	.pod_ip = "10.42.0.9",
	.host_ip = "192.0.2.1",
	.node_name = "n1",
	.node_cpu_milli = 4000,
	.node_memory_bytes = 1 << 30,
};

static void test_env(void **state UNUSED)
{
	json_auto_t *all = json(objects);
	json_auto_t *pod = json("{\"metadata\":{\"name\":\"p\",\"namespace\":\"ns\",\"labels\":"
				"{\"app\":\"web\"}}}");
	json_auto_t *c = json(
		"{\"name\":\"c\",\"resources\":{\"limits\":{\"cpu\":\"250m\"}},"
		"\"envFrom\":[{\"prefix\":\"X_\",\"configMapRef\":{\"name\":\"cm\"}},"
		"{\"secretRef\":{\"name\":\"none\",\"optional\":true}}],"
		"\"env\":[{\"name\":\"A\",\"value\":\"a-$(X_K)\"},"
		"{\"name\":\"S\",\"valueFrom\":{\"secretKeyRef\":{\"name\":\"se\",\"key\":\"P\"}}},"
		"{\"name\":\"IP\",\"valueFrom\":{\"fieldRef\":{\"fieldPath\":\"status.podIP\"}}},"
		"{\"name\":\"L\",\"valueFrom\":{\"fieldRef\":{\"fieldPath\":\"metadata.labels['app'"
		"]\"}}},"
		"{\"name\":\"CPU\",\"valueFrom\":{\"resourceFieldRef\":{\"resource\":\"limits."
		"cpu\"}}},"
		"{\"name\":\"MCPU\",\"valueFrom\":{\"resourceFieldRef\":{\"resource\":\"limits."
		"cpu\","
		"\"divisor\":\"1m\"}}},"
		"{\"name\":\"MEM\",\"valueFrom\":{\"resourceFieldRef\":{\"resource\":\"limits."
		"memory\","
		"\"divisor\":\"1Mi\"}}},"
		"{\"name\":\"OPT\",\"valueFrom\":{\"configMapKeyRef\":{\"name\":\"cm\",\"key\":"
		"\"zz\","
		"\"optional\":true}}}]}");
	auto_env e = {0};
	auto_err err = {0};

	assert_int_equal(env_add_container(&e, pod, c, &self, lookup, all, &err), 0);
	assert_string_equal(env_get(&e, "X_K"), "v");
	assert_string_equal(env_get(&e, "X_L"), "w");
	assert_string_equal(env_get(&e, "A"), "a-v");
	assert_string_equal(env_get(&e, "S"), "hunter2");
	assert_string_equal(env_get(&e, "IP"), "10.42.0.9");
	assert_string_equal(env_get(&e, "L"), "web");
	assert_string_equal(env_get(&e, "CPU"), "1");
	assert_string_equal(env_get(&e, "MCPU"), "250");
	assert_string_equal(env_get(&e, "MEM"), "1024");
	assert_null(env_get(&e, "OPT"));

	const char *const image[] = {"PATH=/bin", "A=old", NULL};
	auto_strv list = {0};
	env_strings(&e, image, &list);
	assert_true(strv_has(&list, "PATH=/bin"));
	assert_true(strv_has(&list, "A=a-v"));
	assert_false(strv_has(&list, "A=old"));
}

static void test_env_errors(void **state UNUSED)
{
	static const char *const cases[][2] = {
		{"{\"env\":[{\"name\":\"A\",\"valueFrom\":{\"configMapKeyRef\":{\"name\":\"no\","
		 "\"key\":"
		 "\"k\"}}}]}",
		 "configmap \"no\" not found"},
		{"{\"env\":[{\"name\":\"A\",\"valueFrom\":{\"secretKeyRef\":{\"name\":\"se\","
		 "\"key\":"
		 "\"k\"}}}]}",
		 "couldn't find key k in Secret ns/se"},
		{"{\"envFrom\":[{\"secretRef\":{\"name\":\"no\"}}]}", "secret \"no\" not found"},
	};
	json_auto_t *all = json(objects);
	json_auto_t *pod = json("{\"metadata\":{\"name\":\"p\",\"namespace\":\"ns\"}}");

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		json_auto_t *c = json(cases[i][0]);
		auto_env e = {0};
		auto_err err = {0};
		assert_true(env_add_container(&e, pod, c, &self, lookup, all, &err) < 0);
		assert_string_equal(err_message(&err), cases[i][1]);
	}
}

static void test_service_links(void **state UNUSED)
{
	json_auto_t *svc =
		json("{\"metadata\":{\"name\":\"my-db\"},\"spec\":{\"clusterIP\":\"10.43.0.7\","
		     "\"ports\":[{\"name\":\"sql-x\",\"port\":5432,\"protocol\":\"TCP\"},"
		     "{\"port\":53,\"protocol\":\"UDP\"}]}}");
	static const char *const want[][2] = {
		{"MY_DB_SERVICE_HOST", "10.43.0.7"},
		{"MY_DB_SERVICE_PORT", "5432"},
		{"MY_DB_SERVICE_PORT_SQL_X", "5432"},
		{"MY_DB_PORT", "tcp://10.43.0.7:5432"},
		{"MY_DB_PORT_5432_TCP", "tcp://10.43.0.7:5432"},
		{"MY_DB_PORT_5432_TCP_PROTO", "tcp"},
		{"MY_DB_PORT_5432_TCP_PORT", "5432"},
		{"MY_DB_PORT_5432_TCP_ADDR", "10.43.0.7"},
		{"MY_DB_PORT_53_UDP", "udp://10.43.0.7:53"},
	};
	auto_env e = {0};

	env_add_service(&e, svc);
	for (size_t i = 0; i < ARRAY_SIZE(want); i++)
		assert_string_equal(env_get(&e, want[i][0]), want[i][1]);
	json_put_str(svc, "spec.clusterIP", "None");
	auto_env none = {0};
	env_add_service(&none, svc);
	assert_int_equal(none.n, 0);
}

/* ---- files of /etc ------------------------------------------------------------------------ */

static void test_hosts(void **state UNUSED)
{
	json_auto_t *pod =
		json("{\"metadata\":{\"name\":\"p\",\"namespace\":\"ns\"},\"spec\":"
		     "{\"hostname\":\"h\",\"subdomain\":\"s\",\"hostAliases\":[{\"ip\":\"1.2.3.4\","
		     "\"hostnames\":[\"a\",\"b\"]}]}}");
	auto_free char *text = files_hosts(pod, "10.42.0.2", "cluster.local", NULL);
	auto_free char *host = files_hosts(pod, "", "cluster.local", "127.0.0.1 localhost\n");

	assert_true(str_starts(text, "# Kubernetes-managed hosts file.\n127.0.0.1\tlocalhost\n"));
	assert_non_null(strstr(text, "10.42.0.2\th.s.ns.svc.cluster.local\th\n"));
	assert_non_null(strstr(text, "\n# Entries added by HostAliases.\n1.2.3.4\ta\tb\n"));
	assert_true(
		str_starts(host, "# Kubernetes-managed hosts file (host network).\n127.0.0.1 "));
}

static void test_hostname(void **state UNUSED)
{
	json_auto_t *pod = json("{\"metadata\":{\"name\":\"p\",\"namespace\":\"ns\"}}");
	char longname[101];

	memset(longname, 'a', 100);
	longname[100] = '\0';
	longname[62] = '-';
	json_put_str(pod, "metadata.name", longname);
	auto_free char *name = files_hostname(pod);
	assert_int_equal(strlen(name), 62);
}

static void test_resolv(void **state UNUSED)
{
	static const char host[] = "# by hand\nnameserver 192.0.2.53\nsearch lan example.org\n"
				   "options edns0\n";
	json_auto_t *pod = json("{\"metadata\":{\"name\":\"p\",\"namespace\":\"ns\"},\"spec\":{}}");
	auto_free char *first = files_resolv(pod, host, "10.43.0.10", "cluster.local");

	assert_string_equal(first,
			    "search ns.svc.cluster.local svc.cluster.local cluster.local lan "
			    "example.org\nnameserver 10.43.0.10\noptions ndots:5\n");
	json_put_bool(pod, "spec.hostNetwork", true);
	auto_free char *net = files_resolv(pod, host, "10.43.0.10", "cluster.local");
	assert_string_equal(net, "search lan example.org\nnameserver 192.0.2.53\noptions edns0\n");
	json_put_str(pod, "spec.dnsPolicy", "None");
	json_put(pod, "spec.dnsConfig",
		 json("{\"nameservers\":[\"1.1.1.1\",\"2.2.2.2\",\"3.3.3.3\",\"4.4.4.4\"],"
		      "\"searches\":[\"x\"],\"options\":[{\"name\":\"ndots\",\"value\":\"2\"},"
		      "{\"name\":\"ndots\",\"value\":\"3\"},{\"name\":\"rotate\"}]}"));
	auto_free char *own = files_resolv(pod, host, "10.43.0.10", "cluster.local");
	assert_string_equal(own, "search x\nnameserver 1.1.1.1\nnameserver 2.2.2.2\n"
				 "nameserver 3.3.3.3\noptions ndots:3 rotate\n");
}

/* ---- volume payloads ---------------------------------------------------------------------- */

static char *tmp_dir(void)
{
	const char *base = getenv("TMPDIR");
	char *path = xasprintf("%s/test_node.XXXXXX", base ? base : "/tmp");

	assert_non_null(mkdtemp(path));
	return path;
}

static void assert_file(const char *dir, const char *name, const char *want)
{
	auto_free char *path = path_join(dir, name), *text = NULL;
	size_t len;

	assert_int_equal(file_read(path, 4096, &text, &len), 0);
	assert_string_equal(text, want);
}

static void build(struct payload *p, const char *volume, json_t *all)
{
	json_auto_t *v = json(volume);
	json_auto_t *pod =
		json("{\"metadata\":{\"name\":\"p\",\"namespace\":\"ns\",\"labels\":{\"b\":"
		     "\"2\",\"a\":\"1\\\"\"}}}");
	struct payload_ctx ctx = {.pod = pod, .self = &self, .lookup = lookup, .arg = all};
	auto_err err = {0};

	assert_true(payload_is(v));
	if (payload_build(p, v, &ctx, &err) < 0)
		fail_msg("%s", err_message(&err));
}

static void test_payload(void **state UNUSED)
{
	static const char volume[] =
		"{\"name\":\"v\",\"projected\":{\"defaultMode\":256,\"sources\":[{\"configMap\":{"
		"\"name\":"
		"\"cm\",\"items\":[{\"key\":\"K\",\"path\":\"d/"
		"k\"}]}},{\"secret\":{\"name\":\"se\"}},"
		"{\"downwardAPI\":{\"items\":[{\"path\":\"labels\",\"fieldRef\":{\"fieldPath\":"
		"\"metadata.labels\"},\"mode\":420}]}}]}}";
	json_auto_t *all = json(objects);
	auto_free char *dir = tmp_dir();
	auto_payload p = {0}, q = {0};
	auto_strv old = {0};
	auto_err err = {0};
	char one[65], two[65], link[256];
	struct stat st;

	build(&p, volume, all);
	assert_int_equal(payload_write(&p, dir, (gid_t)-1, &old, &err), 0);
	assert_file(dir, "d/k", "v");
	assert_file(dir, "P", "hunter2");
	assert_file(dir, "labels", "a=\"1\\\"\"\nb=\"2\"");
	auto_free char *secret = path_join(dir, "P");
	assert_int_equal(stat(secret, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0400);
	assert_true(readlink(secret, link, sizeof(link)) > 0);
	assert_true(str_starts(link, "..data/"));

	payload_digest(&p, one);
	json_put_str(json_at(all, "ConfigMap.cm"), "data.K", "new");
	json_object_del(json_at(all, "Secret.se.data"), "P");
	build(&q, volume, all);
	payload_digest(&q, two);
	assert_string_not_equal(one, two);
	assert_int_equal(payload_write(&q, dir, (gid_t)-1, &old, &err), 0);
	assert_file(dir, "d/k", "new");
	assert_int_equal(access(secret, F_OK), -1);
	assert_int_equal(old.n, 1); /* what the first one has written */
	rm_rf(dir);
}

static void test_payload_refusals(void **state UNUSED)
{
	static const char *const cases[][2] = {
		{"{\"name\":\"v\",\"configMap\":{\"name\":\"no\"}}", "configmap \"no\" not found"},
		{"{\"name\":\"v\",\"secret\":{\"secretName\":\"no\"}}", "secret \"no\" not found"},
		{"{\"name\":\"v\",\"configMap\":{\"name\":\"cm\",\"items\":[{\"key\":\"zz\","
		 "\"path\":\"p\"}]}}",
		 "references non-existent config key: zz"},
		{"{\"name\":\"v\",\"configMap\":{\"name\":\"cm\",\"items\":[{\"key\":\"K\","
		 "\"path\":"
		 "\"../p\"}]}}",
		 "invalid path: ../p"},
		{"{\"name\":\"v\",\"configMap\":{\"name\":\"cm\",\"items\":[{\"key\":\"K\","
		 "\"path\":"
		 "\"a/../../p\"}]}}",
		 "invalid path: a/../../p"},
	};
	json_auto_t *all = json(objects);
	json_auto_t *pod = json("{\"metadata\":{\"name\":\"p\",\"namespace\":\"ns\"}}");

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		json_auto_t *v = json(cases[i][0]);
		struct payload_ctx ctx = {.pod = pod, .self = &self, .lookup = lookup, .arg = all};
		auto_payload p = {0};
		auto_err err = {0};
		assert_true(payload_build(&p, v, &ctx, &err) < 0);
		assert_string_equal(err_message(&err), cases[i][1]);
	}
	json_auto_t *v = json("{\"name\":\"v\",\"secret\":{\"secretName\":\"s\"}}");
	assert_true(payload_uses(v, &kind_secret, "s"));
	assert_false(payload_uses(v, &kind_configmap, "s"));
}

/* ---- logs --------------------------------------------------------------------------------- */

static const char sample[] = "2026-01-01T00:00:01.000000001Z stdout F one\n"
			     "2026-01-01T00:00:02.000000001Z stderr P tw\n"
			     "2026-01-01T00:00:02.500000001Z stderr F o\n"
			     "broken line\n"
			     "2026-01-01T00:00:03.000000001Z stdout F \n"
			     "2026-01-01T00:00:04.000000001Z stdout F four\n";

/* Feeds in pieces of every size: the result may not depend on it. */
static void assert_log(struct crilog_filter like, const char *want)
{
	for (size_t piece = 1; piece < sizeof(sample); piece++) {
		struct crilog_filter f = like;
		auto_strbuf out = {0};
		for (size_t i = 0; i < sizeof(sample) - 1; i += piece) {
			size_t left = sizeof(sample) - 1 - i;
			if (!crilog_feed(&f, sample + i, left < piece ? left : piece, &out))
				break;
		}
		assert_string_equal(out.s ? out.s : "", want);
		crilog_done(&f);
	}
}

static void test_log_filter(void **state UNUSED)
{
	struct crilog_filter since = {.limit = -1, .since_set = true};

	assert_int_equal(time_parse("2026-01-01T00:00:03Z", &since.since), 0);
	assert_log((struct crilog_filter){.limit = -1}, "one\ntwo\n\nfour\n");
	assert_log((struct crilog_filter){.limit = 5}, "one\nt");
	assert_log((struct crilog_filter){.limit = -1, .timestamps = true},
		   "2026-01-01T00:00:01.000000001Z one\n2026-01-01T00:00:02.000000001Z two\n"
		   "2026-01-01T00:00:03.000000001Z \n2026-01-01T00:00:04.000000001Z four\n");
	assert_log(since, "\nfour\n");
}

static void test_log_tail(void **state UNUSED)
{
	size_t len = sizeof(sample) - 1;
	int64_t found;

	assert_string_equal(sample + crilog_tail(sample, len, 1, &found),
			    "2026-01-01T00:00:04.000000001Z stdout F four\n");
	assert_int_equal(found, 1);
	assert_true(str_starts(sample + crilog_tail(sample, len, 3, &found),
			       "2026-01-01T00:00:02.000000001Z stderr P tw\n"));
	assert_int_equal(crilog_tail(sample, len, 0, &found), len);
	assert_int_equal(crilog_tail(sample, len, 100, &found), 0);
	assert_int_equal(found, 4);
	assert_int_equal(crilog_tail("", 0, 3, &found), 0);
}

/* ---- specs -------------------------------------------------------------------------------- */

static void argv_case(const char *container, const char *want)
{
	char *entrypoint[] = {(char *)"/ep", (char *)"-e", NULL};
	char *cmd[] = {(char *)"cmd", NULL};
	struct image image = {.entrypoint = entrypoint, .cmd = cmd};
	json_auto_t *c = json(container);
	auto_spec s = {0};
	auto_env e = {0};
	auto_strbuf got = {0};

	env_set(&e, "X", "x");
	assert_int_equal(spec_argv(&s, c, &image, &e, NULL), 0);
	for (size_t i = 0; i < s.argv.n; i++)
		strbuf_addf(&got, "%s%s", i ? " " : "", s.argv.v[i]);
	assert_string_equal(got.s, want);
}

static void test_argv(void **state UNUSED)
{
	char *none[] = {NULL};
	struct image empty = {.entrypoint = none, .cmd = none};
	json_auto_t *c = json("{}");
	auto_spec s = {0};
	auto_env e = {0};
	auto_err err = {0};

	argv_case("{}", "/ep -e cmd");
	argv_case("{\"args\":[\"$(X)\"]}", "/ep -e x");
	argv_case("{\"command\":[\"sh\",\"-c\"]}", "sh -c");
	argv_case("{\"command\":[\"sh\"],\"args\":[\"$$(X)\"]}", "sh $(X)");
	assert_true(spec_argv(&s, c, &empty, &e, &err) < 0);
	assert_string_equal(err_message(&err), "no command specified");
}

static void test_limits(void **state UNUSED)
{
	json_auto_t *pod = json("{\"spec\":{\"initContainers\":[{\"name\":\"i\",\"resources\":{"
				"\"limits\":{\"cpu\":\"3\","
				"\"memory\":\"10\"}}}],\"containers\":[{\"name\":\"a\","
				"\"resources\":{\"limits\":{\"cpu\":"
				"\"1\",\"memory\":\"1Ki\"}}},{\"name\":\"b\",\"resources\":{"
				"\"requests\":{\"cpu\":\"100m\"},"
				"\"limits\":{\"memory\":\"1Ki\"}}}]}}");
	struct resource_limits l = spec_pod_limits(pod);

	assert_int_equal(l.cpu_request, 3000);
	assert_int_equal(l.cpu_limit, 0); /* b has none */
	assert_int_equal(l.memory_limit, 2048);
	assert_int_equal(
		spec_oom_score(pod, json_array_get(json_at(pod, "spec.containers"), 1), 1 << 30),
		999);
	assert_int_equal(spec_stop_signal("SIGQUIT"), SIGQUIT);
	assert_int_equal(spec_stop_signal("USR1"), SIGUSR1);
	assert_int_equal(spec_stop_signal("9"), SIGKILL);
	assert_int_equal(spec_stop_signal("junk"), SIGTERM);
	assert_int_equal(spec_stop_signal("SIGRTMIN+3"), SIGRTMIN + 3);
}

/* ---- usage -------------------------------------------------------------------------------- */

static void test_usage(void **state UNUSED)
{
	struct usage u = {0};

	usage_sample(&u, at(100), 5000000, 1000);
	assert_false(usage_known(&u)); /* one sample is no rate */
	usage_sample(&u, at(102), 6000000, 2000);
	assert_true(usage_known(&u));
	assert_int_equal(u.nano, 500000000);
	assert_int_equal(u.window_us, 2 * USEC_PER_SEC);
	assert_int_equal(u.memory, 2000);
	/* Still since the first sample; from there on the window starts anew. */
	usage_sample(&u, at(120), 6000000, 2000);
	assert_int_equal(u.nano, 50000000);
	usage_sample(&u, at(121), 7000000, 2000);
	assert_int_equal(u.nano, 1000000000);
	assert_int_equal(u.window_us, USEC_PER_SEC);
	/* A new run of the container counts from zero. */
	usage_start(&u, at(130), 0);
	assert_false(usage_known(&u));
	usage_sample(&u, at(131), 250000, 1);
	assert_int_equal(u.nano, 250000000);
	/* A counter that goes back is a different one. */
	usage_sample(&u, at(140), 10, 1);
	usage_sample(&u, at(141), 1000010, 1);
	assert_int_equal(u.nano, 1000000000);
}

static void test_usage_machine(void **state UNUSED)
{
	assert_int_equal(usage_parse_stat("cpu  100 20 30 9999 8888 1 2 3 50 0\ncpu0 1 2", 100),
			 1530000);
	assert_int_equal(usage_parse_stat("intr 5", 100), 0);
	assert_int_equal(usage_parse_meminfo("MemTotal:  1000 kB\nMemFree:  300 kB\n"
					     "Active(file): 7 kB\nInactive(file): 200 kB\n"),
			 500 * 1024);
	assert_int_equal(usage_parse_meminfo("MemTotal:  1000 kB\nMemFree:  2000 kB\n"), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_backoff),
		cmocka_unit_test(test_phase),
		cmocka_unit_test(test_status_ephemeral),
		cmocka_unit_test(test_status),
		cmocka_unit_test(test_waiting),
		cmocka_unit_test(test_qos),
		cmocka_unit_test(test_expand),
		cmocka_unit_test(test_expand_all),
		cmocka_unit_test(test_env),
		cmocka_unit_test(test_env_errors),
		cmocka_unit_test(test_service_links),
		cmocka_unit_test(test_hosts),
		cmocka_unit_test(test_hostname),
		cmocka_unit_test(test_resolv),
		cmocka_unit_test(test_payload),
		cmocka_unit_test(test_payload_refusals),
		cmocka_unit_test(test_log_filter),
		cmocka_unit_test(test_log_tail),
		cmocka_unit_test(test_argv),
		cmocka_unit_test(test_limits),
		cmocka_unit_test(test_usage),
		cmocka_unit_test(test_usage_machine),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
