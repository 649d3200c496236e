/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Real pods: store, registry, runtime and network are the real ones, in a network and mount
 * namespace of the test's own; images, probes, proxy and DNS are scripted (node_fakes.c). Needs
 * root, an OCI runtime and a static busybox.
 */
#include "node_fakes.h"
#include <coracle/node.h>

#include <arpa/inet.h>
#include <fcntl.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>
/* behind the others */
#include <cmocka.h>

#define WAIT_US (20 * USEC_PER_SEC)
#define BUSYBOX "/bin/busybox"

static char dir[64], cgroup[32];

struct fixture {
	struct loop *loop;
	struct store *store;
	struct registry *registry;
	struct runtime *rt;
	struct network *net;
	struct image_store *images;
	struct node *node;
	struct timer *tick;
};

/* ---- turning the loop ---------------------------------------------------------------------- */

static void on_tick(void *arg)
{
	struct fixture *f = arg;

	timer_arm(f->tick, 10 * USEC_PER_MSEC);
}

static void turn(struct fixture *f)
{
	assert_int_equal(loop_once(f->loop), 0);
	store_flush(f->store);
}

#define wait_for(f, cond)                                                                          \
	do {                                                                                       \
		mono_t until_ = mono_add(mono_now(), WAIT_US);                                     \
		while (!(cond)) {                                                                  \
			turn(f);                                                                   \
			if (!mono_before(mono_now(), until_)) {                                    \
				dump(f);                                                           \
				fail_msg("never: %s", #cond);                                      \
			}                                                                          \
		}                                                                                  \
	} while (0)

/* ---- objects ------------------------------------------------------------------------------- */

static const json_t *get(struct fixture *f, const struct kind *k, const char *name)
{
	const struct object *o = store_get(f->store, k, "default", name);

	return o ? object_json(o) : NULL;
}

static const json_t *pod(struct fixture *f, const char *name)
{
	return get(f, &kind_pod, name);
}

static bool phase_is(struct fixture *f, const char *name, const char *phase)
{
	return pod(f, name) && streq(json_str(pod(f, name), "status.phase", ""), phase);
}

static const json_t *ctr(struct fixture *f, const char *name, size_t i)
{
	return json_array_get(json_at(pod(f, name), "status.containerStatuses"), i);
}

static const char *ctr_str(struct fixture *f, const char *name, const char *path)
{
	return json_str(ctr(f, name, 0), path, "");
}

static bool is_ready(struct fixture *f, const char *name)
{
	const json_t *c = json_find(json_at(pod(f, name), "status.conditions"), "type", "Ready");

	return streq(json_str(c, "status", ""), "True");
}

static bool has_event(struct fixture *f, const char *reason, const char *part)
{
	struct store_iter it = store_iter(f->store, &kind_event, "default");
	const struct object *o;

	while ((o = store_next(&it)))
		if (streq(json_str(object_json(o), "reason", ""), reason) &&
		    strstr(json_str(object_json(o), "message", ""), part))
			return true;
	return false;
}

static void dump(struct fixture *f)
{
	const struct kind *const kinds[] = {&kind_pod, &kind_event};

	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		struct store_iter it = store_iter(f->store, kinds[i], "default");
		const struct object *o;
		while ((o = store_next(&it)))
			print_message("%s\n",
				      i ? json_str(object_json(o), "message", "") : o->text);
	}
}

static void create(struct fixture *f, const struct kind *k, const char *text)
{
	struct write_options o = {.grace_seconds = -1};
	const struct object *ret;
	auto_err err = {0};
	json_auto_t *obj = json_parse(text, strlen(text), &err);

	if (!obj || registry_create(f->registry, k, k == &kind_namespace ? "" : "default", obj, &o,
				    &ret, &err) < 0)
		fail_msg("%s: %s", text, err_message(&err));
}

/* spec: members of the pod's spec, behind nodeName. */
static void create_pod(struct fixture *f, const char *name, const char *spec)
{
	auto_free char *text = xasprintf(
		"{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"metadata\":{\"name\":\"%s\",\"labels\":"
		"{\"app\":\"%s\"}},\"spec\":{\"nodeName\":\"n1\",\"terminationGracePeriodSeconds\":"
		"5,"
		"%s}}",
		name, name, spec);

	create(f, &kind_pod, text);
}

/* Ends at once on SIGTERM. */
#define IDLE "trap 'exit 0' TERM; sleep 1000 & wait"
#define SH(script) "\"name\":\"c\",\"image\":\"test:1\",\"args\":[\"" script "\"]"

static void delete_pod(struct fixture *f, const char *name)
{
	struct write_options o = {.grace_seconds = -1};
	const struct object *ret;
	auto_err err = {0};
	bool gone;

	if (registry_delete(f->registry, &kind_pod, "default", name, &o, &ret, &gone, &err) < 0)
		fail_msg("delete: %s", err_message(&err));
	wait_for(f, !pod(f, name));
}

/* ---- logs ---------------------------------------------------------------------------------- */

struct heard {
	struct strbuf text;
	bool ended;
};

static bool on_data(void *arg, const void *data, size_t len)
{
	struct heard *h = arg;

	strbuf_add(&h->text, data, len);
	return true;
}

static void on_log_end(void *arg)
{
	((struct heard *)arg)->ended = true;
}

static const struct api_log_ops log_ops = {on_data, on_log_end};

static char *logs(struct fixture *f, const char *name, bool previous)
{
	struct api_log_options o = {
		.container = "", .tail_lines = -1, .limit_bytes = -1, .previous = previous};
	struct heard h = {0};
	auto_err err = {0};

	if (!node_api_ops.log_open(f->node, "default", name, &o, &log_ops, &h, &err))
		fail_msg("logs: %s", err_message(&err));
	wait_for(f, h.ended);
	return strbuf_steal(&h.text);
}

/* ---- the machine --------------------------------------------------------------------------- */

static int make_layer(void)
{
	static const char *const applets[] = {"sh",    "cat",  "echo", "sleep", "hostname",
					      "touch", "true", "ls",   "ip",	"id"};
	static const char *const dirs[] = {"layer",	"layer/bin", "layer/proc", "layer/dev",
					   "layer/sys", "layer/etc", "layer/tmp"};
	auto_free char *bin = path_join(dir, "layer/bin"), *copy = path_join(bin, "busybox");
	auto_free char *text = NULL, *layer = path_join(dir, "layer");
	size_t len;

	for (size_t i = 0; i < ARRAY_SIZE(dirs); i++) {
		auto_free char *path = path_join(dir, dirs[i]);
		if (mkdir(path, 0755) < 0)
			return -1;
	}
	if (file_read(BUSYBOX, 8 << 20, &text, &len) < 0 ||
	    file_write_atomic(copy, text, len, 0755, false) < 0)
		return -1;
	for (size_t i = 0; i < ARRAY_SIZE(applets); i++) {
		auto_free char *path = path_join(bin, applets[i]);
		if (symlink("busybox", path) < 0)
			return -1;
	}
	fake_image_layer(layer);
	return 0;
}

static void open_network(struct fixture *f)
{
	struct network_config c = {.bridge = "cortest0"};
	auto_err err = {0};

	assert_int_equal(cidr_parse("10.42.0.0/16", &c.pod_cidr), 0);
	assert_int_equal(cidr_parse("10.42.0.0/24", &c.node_cidr), 0);
	assert_int_equal(cidr_parse("10.43.0.0/16", &c.service_cidr), 0);
	f->net = network_open(f->loop, &c, &err);
	if (!f->net)
		fail_msg("network: %s", err_message(&err));
}

static void start_node(struct fixture *f)
{
	auto_free char *state = path_join(dir, "state"), *run = path_join(dir, "run");
	auto_free char *log_dir = path_join(dir, "log");
	struct runtime_config rc = {.run_dir = run,
				    .state_dir = state,
				    .sandbox_path = SANDBOX_PROGRAM,
				    .cgroup_name = cgroup};
	struct node_config nc = {.name = "n1",
				 .state_dir = state,
				 .run_dir = run,
				 .log_dir = log_dir,
				 .cluster_domain = "cluster.local",
				 .version = "v1.33.0"};
	struct node_parts parts = {.registry = f->registry, .images = f->images};
	auto_err err = {0};

	open_network(f);
	parts.network = f->net;
	f->rt = runtime_new(f->loop, &rc, &err);
	if (!f->rt)
		fail_msg("runtime: %s", err_message(&err));
	parts.runtime = f->rt;
	inet_pton(AF_INET, "10.43.0.10", &nc.dns_ip);
	assert_int_equal(cidr_parse("10.42.0.0/24", &nc.pod_cidr), 0);
	f->node = node_start(f->loop, &nc, &parts, &err);
	if (!f->node)
		fail_msg("node: %s", err_message(&err));
}

static void stop_node(struct fixture *f)
{
	node_stop(f->node);
	runtime_free(f->rt);
	network_close(f->net);
	turn(f);
}

static void open_store(struct fixture *f)
{
	auto_free char *state = path_join(dir, "state/store"), *run = path_join(dir, "run/store");
	struct store_config sc = {.dir = state, .volatile_dir = run};
	struct registry_config rc = {.service_cidr = "10.43.0.0/16",
				     .cluster_domain = "cluster.local",
				     .node_port_min = 30000,
				     .node_port_max = 32767,
				     .node_name = "n1"};
	auto_err err = {0};

	f->store = store_open(f->loop, &sc, &err);
	f->registry = f->store ? registry_new(f->loop, f->store, &rc, &err) : NULL;
	if (!f->registry)
		fail_msg("store: %s", err_message(&err));
}

static int set_up(void **state)
{
	struct fixture *f = xnew(struct fixture);

	f->loop = loop_new();
	f->tick = timer_new(f->loop, on_tick, f);
	on_tick(f);
	open_store(f);
	f->images = image_store_open(f->loop, NULL, NULL);
	start_node(f);
	*state = f;
	return 0;
}

static void on_stopped(void *arg)
{
	*(bool *)arg = true;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;
	bool stopped = false;

	node_stop_pods(f->node, on_stopped, &stopped);
	wait_for(f, stopped);
	stop_node(f);
	registry_free(f->registry);
	store_close(f->store);
	image_store_close(f->images);
	timer_free(f->tick);
	loop_bury(f->loop);
	loop_free(f->loop);
	free(f);
	return 0;
}

/* ---- tests --------------------------------------------------------------------------------- */

static void test_runs(void **state)
{
	struct fixture *f = *state;
	auto_free char *text = NULL;
	char ip[64];

	create(f, &kind_configmap,
	       "{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{\"name\":\"cm\"},"
	       "\"data\":"
	       "{\"K\":\"config-value\"}}");
	create_pod(
		f, "runs",
		"\"volumes\":[{\"name\":\"cfg\",\"configMap\":{\"name\":\"cm\"}},"
		"{\"name\":\"mem\",\"emptyDir\":{\"medium\":\"Memory\",\"sizeLimit\":\"1Mi\"}},"
		"{\"name\":\"tmp\",\"emptyDir\":{}}],"
		"\"containers\":[{" SH(
			"trap 'echo bye; exit 0' TERM; cat /cfg/K; echo; echo $V; "
			"hostname; cat /etc/resolv.conf; touch /tmp/x /mem/y; "
			"cat /etc/hosts; while :; do sleep 0.1; done") ","
								       "\"env\":[{\"name\":\"V\","
								       "\"value\":\"env-$(K)\"},{"
								       "\"name\":\"K\","
								       "\"valueFrom\":"
								       "{\"configMapKeyRef\":{"
								       "\"name\":\"cm\",\"key\":"
								       "\"K\"}}}],"
								       "\"volumeMounts\":[{"
								       "\"name\":\"cfg\","
								       "\"mountPath\":\"/"
								       "cfg\"},{\"name\":\"mem\","
								       "\"mountPath\":\"/"
								       "mem\"},{\"name\":\"tmp\","
								       "\"mountPath\":\"/"
								       "tmp\"}]}]");
	wait_for(f, phase_is(f, "runs", "Running") && is_ready(f, "runs"));
	snprintf(ip, sizeof(ip), "%s", json_str(pod(f, "runs"), "status.podIP", ""));
	assert_true(str_starts(ip, "10.42.0."));
	wait_for(f, (free(text), text = logs(f, "runs", false), strstr(text, ip)));
	assert_true(
		str_starts(text, "config-value\nenv-$(K)\nruns\nsearch default.svc.cluster.local"));
	assert_true(has_event(f, "Created", "Created container: c"));
	assert_true(has_event(f, "Started", "Started container c"));
	assert_true(
		has_event(f, "Pulled", "Container image \"test:1\" already present on machine"));
	delete_pod(f, "runs");
	assert_true(has_event(f, "Killing", "Stopping container c"));
}

static void test_follow_and_term(void **state)
{
	struct fixture *f = *state;
	struct api_log_options o = {
		.container = "c", .follow = true, .tail_lines = -1, .limit_bytes = -1};
	struct write_options w = {.grace_seconds = -1};
	const struct object *ret;
	struct heard h = {0};
	auto_err err = {0};
	bool gone;

	create_pod(
		f, "term",
		"\"containers\":[{" SH("trap 'echo bye; exit 7' TERM; echo up; while :; do sleep "
				       "0.05; done") ",\"lifecycle\":{"
						     "\"postStart\":{\"exec\":{\"command\":[\"sh\","
						     "\"-c\",\"echo post >/proc/1/fd/1\"]}},"
						     "\"preStop\":{\"exec\":{\"command\":[\"sh\","
						     "\"-c\",\"echo pre >/proc/1/fd/1\"]}}}}]");
	wait_for(f, phase_is(f, "term", "Running"));
	assert_non_null(node_api_ops.log_open(f->node, "default", "term", &o, &log_ops, &h, &err));
	wait_for(f, h.text.s && strstr(h.text.s, "up\n") && strstr(h.text.s, "post\n"));
	assert_int_equal(
		registry_delete(f->registry, &kind_pod, "default", "term", &w, &ret, &gone, &err),
		0);
	wait_for(f, h.ended);
	assert_true(str_ends(h.text.s, "pre\nbye\n"));
	strbuf_done(&h.text);
	wait_for(f, !pod(f, "term"));
}

static void test_ends(void **state)
{
	struct fixture *f = *state;

	create_pod(f, "ok", "\"restartPolicy\":\"Never\",\"containers\":[{" SH("echo done") "}]");
	create_pod(f, "bad",
		   "\"restartPolicy\":\"Never\",\"containers\":[{" SH(
			   "echo why > /dev/termination-log; exit 3") "}]");
	create_pod(
		f, "none",
		"\"restartPolicy\":\"Never\",\"containers\":[{\"name\":\"c\",\"image\":\"test:1\","
		"\"command\":[\"no-such-program\"]}]");
	wait_for(f, phase_is(f, "ok", "Succeeded"));
	wait_for(f, phase_is(f, "bad", "Failed"));
	wait_for(f, phase_is(f, "none", "Failed"));
	assert_string_equal(ctr_str(f, "ok", "state.terminated.reason"), "Completed");
	assert_int_equal(json_int(ctr(f, "bad", 0), "state.terminated.exitCode", 0), 3);
	assert_string_equal(ctr_str(f, "bad", "state.terminated.message"), "why\n");
	assert_string_equal(ctr_str(f, "none", "state.terminated.reason"), "StartError");
	auto_free char *text = logs(f, "ok", false);
	assert_string_equal(text, "done\n");
	auto_free char *files = xasprintf("%s/run/pods/%s", dir, meta_uid(pod(f, "ok")));
	assert_int_equal(access(files, F_OK), 0);
	delete_pod(f, "ok");
	wait_for(f, access(files, F_OK) < 0);
	delete_pod(f, "bad");
	delete_pod(f, "none");
}

static void test_crash_loop(void **state)
{
	struct fixture *f = *state;

	create_pod(f, "crash", "\"containers\":[{" SH("echo run; exit 1") "}]");
	wait_for(f, streq(ctr_str(f, "crash", "state.waiting.reason"), "CrashLoopBackOff"));
	assert_int_equal(json_int(ctr(f, "crash", 0), "restartCount", 0), 1);
	assert_int_equal(json_int(ctr(f, "crash", 0), "lastState.terminated.exitCode", 0), 1);
	assert_true(str_starts(ctr_str(f, "crash", "state.waiting.message"),
			       "back-off 10s restarting failed container=c pod=crash_default("));
	assert_true(phase_is(f, "crash", "Running"));
	auto_free char *text = logs(f, "crash", true);
	assert_string_equal(text, "run\n");
	delete_pod(f, "crash");
}

static void test_init(void **state)
{
	struct fixture *f = *state;

	create_pod(
		f, "init",
		"\"volumes\":[{\"name\":\"v\",\"emptyDir\":{}}],"
		"\"initContainers\":[{\"name\":\"one\",\"image\":\"test:1\",\"args\":[\"echo 1 >> "
		"/v/x\"],\"volumeMounts\":[{\"name\":\"v\",\"mountPath\":\"/v\"}]},"
		"{\"name\":\"side\",\"image\":\"test:1\",\"restartPolicy\":\"Always\",\"args\":["
		"\"echo "
		"2 >> /v/x; trap 'exit 0' TERM; while :; do sleep 0.05; done\"],\"volumeMounts\":"
		"[{\"name\":\"v\",\"mountPath\":\"/v\"}]}],"
		"\"restartPolicy\":\"Never\",\"containers\":[{" SH(
			"while ! test -s /v/x; do sleep 0.05; done; cat /v/x") ","
									       "\"volumeMounts\":[{"
									       "\"name\":\"v\","
									       "\"mountPath\":\"/"
									       "v\",\"readOnly\":"
									       "true}]}]");
	wait_for(f, phase_is(f, "init", "Succeeded"));
	auto_free char *text = logs(f, "init", false);
	assert_true(str_starts(text, "1\n"));
	delete_pod(f, "init");
}

static void test_missing(void **state)
{
	struct fixture *f = *state;
	unsigned pulls = fake_pulls;

	create_pod(f, "pull",
		   "\"containers\":[{\"name\":\"c\",\"image\":\"missing:1\",\"args\":[\"true\"]}]");
	create_pod(
		f, "config",
		"\"containers\":[{" SH("echo $V; " IDLE) ",\"env\":[{\"name\":\"V\",\"valueFrom\":"
							 "{\"configMapKeyRef\":{\"name\":\"late\","
							 "\"key\":\"K\"}}}]}]");
	create_pod(f, "mount",
		   "\"volumes\":[{\"name\":\"v\",\"configMap\":{\"name\":\"late\"}}],"
		   "\"containers\":[{" SH(IDLE) "}]");
	wait_for(f, streq(ctr_str(f, "pull", "state.waiting.reason"), "ErrImagePull"));
	wait_for(f, streq(ctr_str(f, "pull", "state.waiting.reason"), "ImagePullBackOff"));
	assert_int_equal(fake_pulls, pulls + 1);
	wait_for(f,
		 streq(ctr_str(f, "config", "state.waiting.reason"), "CreateContainerConfigError"));
	assert_string_equal(ctr_str(f, "config", "state.waiting.message"),
			    "configmap \"late\" not found");
	wait_for(f, has_event(f, "FailedMount",
			      "MountVolume.SetUp failed for volume \"v\" : configmap \"late\" not "
			      "found"));
	create(f, &kind_configmap,
	       "{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{\"name\":\"late\"},"
	       "\"data\":"
	       "{\"K\":\"came\"}}");
	wait_for(f, phase_is(f, "config", "Running"));
	wait_for(f, phase_is(f, "mount", "Running"));
	delete_pod(f, "pull");
	delete_pod(f, "config");
	delete_pod(f, "mount");
}

static void test_probes(void **state)
{
	struct fixture *f = *state;

	create_pod(
		f, "probed",
		"\"containers\":[{" SH(IDLE) ",\"ports\":[{\"name\":\"web\","
					     "\"containerPort\":80}],"
					     "\"readinessProbe\":{\"httpGet\":{\"port\":\"web\"}},"
					     "\"livenessProbe\":{\"exec\":{\"command\":[\"sh\",\"-"
					     "c\",\"echo sick; exit 4\"]}}}]");
	wait_for(f, phase_is(f, "probed", "Running"));
	assert_false(is_ready(f, "probed"));
	wait_for(f, fake_probe(PROBE_HTTP) && fake_probe(PROBE_EXEC));
	fake_verdict(fake_probe(PROBE_HTTP), true, "");
	wait_for(f, is_ready(f, "probed"));
	fake_exec(fake_probe(PROBE_EXEC));
	wait_for(f, fake_exec_code != -1);
	assert_int_equal(fake_exec_code, 4);
	assert_string_equal(fake_exec_output, "sick\n");
	fake_verdict(fake_probe(PROBE_EXEC), false, "sick");
	assert_true(has_event(f, "Unhealthy", "Liveness probe failed: sick"));
	wait_for(f, json_int(ctr(f, "probed", 0), "restartCount", 0) == 1);
	assert_true(
		has_event(f, "Killing", "Container c failed liveness probe, will be restarted"));
	wait_for(f, *ctr_str(f, "probed", "state.running.startedAt"));
	assert_false(is_ready(f, "probed"));
	delete_pod(f, "probed");
}

static void test_adopted(void **state)
{
	struct fixture *f = *state;
	char id[128], ip[32];

	create_pod(f, "stays", "\"containers\":[{" SH(IDLE) "}]");
	create_pod(
		f, "ends",
		"\"restartPolicy\":\"Never\",\"containers\":[{" SH(
			"while ! test -e /tmp/end; do sleep 0.02; done; exit 9") ","
										 "\"volumeMounts\":"
										 "[{\"name\":\"t\","
										 "\"mountPath\":\"/"
										 "tmp\"}]}],"
										 "\"volumes\":[{"
										 "\"name\":\"t\","
										 "\"emptyDir\":{}}"
										 "]");
	wait_for(f, is_ready(f, "stays") && is_ready(f, "ends"));
	snprintf(id, sizeof(id), "%s", ctr_str(f, "stays", "containerID"));
	snprintf(ip, sizeof(ip), "%s", json_str(pod(f, "stays"), "status.podIP", ""));
	auto_free char *end =
		xasprintf("%s/state/pods/%s/volumes/t/end", dir, meta_uid(pod(f, "ends")));
	stop_node(f);
	assert_int_equal(file_write_atomic(end, "", 0, 0644, false), 0);
	start_node(f);
	wait_for(f, phase_is(f, "ends", "Failed"));
	assert_int_equal(json_int(ctr(f, "ends", 0), "state.terminated.exitCode", 0), 9);
	wait_for(f, is_ready(f, "stays"));
	assert_string_equal(ctr_str(f, "stays", "containerID"), id);
	assert_int_equal(json_int(ctr(f, "stays", 0), "restartCount", -1), 0);
	assert_string_equal(json_str(pod(f, "stays"), "status.podIP", ""), ip);
	delete_pod(f, "stays");
	delete_pod(f, "ends");
}

/* The sandbox process dies: its pod is made anew, and its container counts as restarted. */
static void test_sandbox_dies(void **state)
{
	struct fixture *f = *state;
	json_auto_t *rows = NULL;

	create_pod(f, "frail", "\"containers\":[{" SH(IDLE) "}]");
	wait_for(f, is_ready(f, "frail"));
	rows = show_rows("pods");
	pid_t pid = (pid_t)json_int(json_find(rows, "name", "frail"), "sandbox", 0);
	assert_true(pid > 1);
	assert_int_equal(kill(pid, SIGKILL), 0);
	wait_for(f, json_int(ctr(f, "frail", 0), "restartCount", 0) == 1 && is_ready(f, "frail"));
	assert_true(has_event(f, "SandboxChanged", "Pod sandbox changed"));
	delete_pod(f, "frail");
}

/* The same while no daemon looks: what ran counts as lost. */
static void test_sandbox_dies_alone(void **state)
{
	struct fixture *f = *state;

	create_pod(f, "lone", "\"containers\":[{" SH(IDLE) "}]");
	create_pod(f, "once", "\"restartPolicy\":\"Never\",\"containers\":[{" SH(IDLE) "}]");
	wait_for(f, is_ready(f, "lone") && is_ready(f, "once"));
	json_auto_t *rows = show_rows("pods");
	pid_t lone = (pid_t)json_int(json_find(rows, "name", "lone"), "sandbox", 0);
	pid_t once = (pid_t)json_int(json_find(rows, "name", "once"), "sandbox", 0);
	assert_true(lone > 1 && once > 1);
	stop_node(f);
	assert_int_equal(kill(lone, SIGKILL), 0);
	assert_int_equal(kill(once, SIGKILL), 0);
	start_node(f);
	wait_for(f, json_int(ctr(f, "lone", 0), "restartCount", 0) == 1 && is_ready(f, "lone"));
	assert_string_equal(ctr_str(f, "lone", "lastState.terminated.reason"),
			    "ContainerStatusUnknown");
	wait_for(f, phase_is(f, "once", "Failed"));
	assert_int_equal(json_int(ctr(f, "once", 0), "state.terminated.exitCode", 0), 137);
	delete_pod(f, "lone");
	delete_pod(f, "once");
}

static void test_deadline(void **state)
{
	struct fixture *f = *state;

	create_pod(f, "late", "\"activeDeadlineSeconds\":1,\"containers\":[{" SH(IDLE) "}]");
	wait_for(f, phase_is(f, "late", "Failed"));
	assert_string_equal(json_str(pod(f, "late"), "status.reason", ""), "DeadlineExceeded");
	delete_pod(f, "late");
}

static void test_services(void **state)
{
	struct fixture *f = *state;

	create(f, &kind_service,
	       "{\"apiVersion\":\"v1\",\"kind\":\"Service\",\"metadata\":{\"name\":\"web\"},"
	       "\"spec\":"
	       "{\"type\":\"NodePort\",\"clusterIP\":\"10.43.0.77\",\"ports\":[{\"name\":\"http\","
	       "\"port\":"
	       "80,\"nodePort\":30080}]}}");
	create(f, &kind_service,
	       "{\"apiVersion\":\"v1\",\"kind\":\"Service\",\"metadata\":{\"name\":\"head\"},"
	       "\"spec\":"
	       "{\"clusterIP\":\"None\",\"ports\":[{\"port\":80}]}}");
	create(f, &kind_service,
	       "{\"apiVersion\":\"v1\",\"kind\":\"Service\",\"metadata\":{\"name\":\"ext\"},"
	       "\"spec\":"
	       "{\"type\":\"ExternalName\",\"externalName\":\"example.org\"}}");
	create(f, &kind_endpointslice,
	       "{\"apiVersion\":\"discovery.k8s.io/"
	       "v1\",\"kind\":\"EndpointSlice\",\"addressType\":\"IPv4\","
	       "\"metadata\":{\"name\":\"web-1\",\"labels\":{\"kubernetes.io/"
	       "service-name\":\"web\"}},"
	       "\"ports\":[{\"name\":\"http\",\"port\":8080}],\"endpoints\":[{\"addresses\":"
	       "[\"10.42.0.5\"],\"conditions\":{\"ready\":true}},{\"addresses\":[\"10.42.0.6\"],"
	       "\"conditions\":{\"ready\":false}}]}");
	create(f, &kind_endpointslice,
	       "{\"apiVersion\":\"discovery.k8s.io/"
	       "v1\",\"kind\":\"EndpointSlice\",\"addressType\":\"IPv4\","
	       "\"metadata\":{\"name\":\"head-1\",\"labels\":{\"kubernetes.io/"
	       "service-name\":\"head\"}},"
	       "\"ports\":[{\"name\":\"\",\"port\":80}],\"endpoints\":[{\"addresses\":[\"10.42.0."
	       "7\"],"
	       "\"hostname\":\"h0\"},{\"addresses\":[\"10.42.0.8\"]}]}");
	wait_for(f, strstr(fake_dns(), "h0=10.42.0.7"));
	assert_non_null(
		strstr(fake_frontends(), "default/web:http tcp 10.43.0.77:80 -> 10.42.0.5:8080\n"));
	assert_non_null(
		strstr(fake_frontends(), "default/web:http tcp 0.0.0.0:30080 -> 10.42.0.5:8080\n"));
	assert_null(strstr(fake_frontends(), "default/head"));
	assert_non_null(strstr(fake_dns(), "default/head h0=10.42.0.7 -=10.42.0.8\n"));
	assert_non_null(strstr(fake_dns(), "default/web 10.43.0.77\n"));
	assert_non_null(strstr(fake_dns(), "default/ext = example.org\n"));
}

static void test_node_object(void **state)
{
	struct fixture *f = *state;
	const struct object *o = store_get(f->store, &kind_node, "", "n1");
	const json_t *node;

	assert_non_null(o);
	node = object_json(o);
	assert_string_equal(json_str(node, "spec.podCIDR", ""), "10.42.0.0/24");
	assert_string_equal(meta_label(node, "kubernetes.io/hostname"), "n1");
	assert_string_equal(json_str(node, "status.nodeInfo.kubeletVersion", ""), "v1.33.0");
	assert_string_equal(json_str(json_find(json_at(node, "status.conditions"), "type", "Ready"),
				     "status", ""),
			    "True");
}

/* ---- main ---------------------------------------------------------------------------------- */

static bool can_run(void)
{
	return geteuid() == 0 && access(BUSYBOX, X_OK) == 0 &&
	       (system("command -v crun >/dev/null 2>&1") == 0 ||
		system("command -v runc >/dev/null 2>&1") == 0);
}

static int isolate(void)
{
	const char *tmp = getenv("TMPDIR");

	snprintf(dir, sizeof(dir), "%s/coracle-node-XXXXXX",
		 tmp && strlen(tmp) < 40 ? tmp : "/tmp");
	if (!mkdtemp(dir) || unshare(CLONE_NEWNET | CLONE_NEWNS) < 0)
		return -1;
	snprintf(cgroup, sizeof(cgroup), "cortest-%s", dir + strlen(dir) - 6);
	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
	    mount("tmpfs", dir, "tmpfs", 0, "mode=0755") < 0)
		return -1;
	return make_layer();
}

static void clean(void)
{
	auto_free char *command = xasprintf(
		"find /sys/fs/cgroup -depth -type d -path '*/%s*' -exec rmdir {} + 2>/dev/null",
		cgroup);

	if (system(command) != 0)
		log_debug("cgroups of the test are left");
	umount2(dir, MNT_DETACH);
	rmdir(dir);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_node_object),
		cmocka_unit_test(test_runs),
		cmocka_unit_test(test_follow_and_term),
		cmocka_unit_test(test_ends),
		cmocka_unit_test(test_crash_loop),
		cmocka_unit_test(test_init),
		cmocka_unit_test(test_missing),
		cmocka_unit_test(test_probes),
		cmocka_unit_test(test_adopted),
		cmocka_unit_test(test_sandbox_dies),
		cmocka_unit_test(test_sandbox_dies_alone),
		cmocka_unit_test(test_deadline),
		cmocka_unit_test(test_services),
	};
	int ret;

	if (getenv("CORACLE_TEST_DEBUG"))
		log_set_level(LOG_LEVEL_DEBUG);
	if (!can_run())
		return 77; /* automake: skipped */
	if (isolate() < 0) {
		perror("isolate");
		return 1;
	}
	ret = cmocka_run_group_tests(tests, set_up, tear_down);
	clean();
	return ret;
}
