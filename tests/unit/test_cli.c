/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cli: the pure parts, and whole command lines against a real API server (store, registry, API; the
 * node is a fake) in a child process.
 */
#include <coracle/api.h>
#include <setjmp.h>
#include <cmocka.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../../src/cli/internal.h"

/* ---- the server ----------------------------------------------------------------------------- */

struct server {
	struct loop *loop;
	struct store *store;
	struct timer *flush;
	/* an image load */
	struct io *io;
	size_t loaded;
	void (*on_line)(void *arg, const char *line);
	void (*on_end)(void *arg, const struct err *err);
	void *arg;
};

struct api_log {
	struct work work;
	struct loop *loop;
	const struct api_log_ops *ops;
	void *arg;
	char text[256];
};

static void log_work(void *arg)
{
	struct api_log *l = arg;

	l->ops->on_data(l->arg, l->text, strlen(l->text));
	loop_free_later(l->loop, free, l);
	l->ops->on_end(l->arg);
}

static struct api_log *log_open(void *node, const char *ns, const char *pod,
				const struct api_log_options *o, const struct api_log_ops *ops,
				void *arg, struct err *err UNUSED)
{
	struct api_log *l = xnew(struct api_log);

	l->loop = ((struct server *)node)->loop;
	l->ops = ops;
	l->arg = arg;
	snprintf(l->text, sizeof(l->text), "%s/%s/%s tail=%d follow=%d\nsecond\n", ns, pod,
		 o->container, (int)o->tail_lines, o->follow);
	work_init(&l->work, log_work, l);
	work_queue(l->loop, &l->work);
	return l;
}

static void log_resume(struct api_log *l)
{
	work_queue(l->loop, &l->work);
}

static void log_close(struct api_log *l)
{
	work_cancel(&l->work);
	loop_free_later(l->loop, free, l);
}

struct api_exec {
	struct loop *loop;
	const struct api_exec_ops *ops;
	void *arg;
	struct child *child;
	struct work start;
	int fds[3];
};

static void exec_start(void *arg)
{
	struct api_exec *e = arg;

	e->ops->on_start(e->arg, e->fds[0], e->fds[1], e->fds[2]);
}

static void exec_exit(void *arg, int status)
{
	struct api_exec *e = arg;

	/* A quick command may have ended in the very turn it was started in. */
	if (work_queued(&e->start)) {
		work_cancel(&e->start);
		exec_start(e);
	}
	loop_free_later(e->loop, free, e);
	e->ops->on_end(e->arg, WIFEXITED(status) ? WEXITSTATUS(status) : -1, "killed");
}

/* Runs the command here, with pipes. */
static struct api_exec *exec_open(void *node, const char *ns UNUSED, const char *pod UNUSED,
				  const struct api_exec_options *o, const struct api_exec_ops *ops,
				  void *arg, struct err *err)
{
	struct api_exec *e = xnew(struct api_exec);
	int in[2], out[2], errors[2];

	if (pipe2(in, O_CLOEXEC) || pipe2(out, O_CLOEXEC) || pipe2(errors, O_CLOEXEC))
		abort();
	const struct child_fd fds[] = {{in[0], 0}, {out[1], 1}, {errors[1], 2}};
	const struct child_config c = {.argv = o->argv, .fds = fds, .n_fds = 3};

	e->loop = ((struct server *)node)->loop;
	e->ops = ops;
	e->arg = arg;
	e->child = child_spawn(e->loop, &c, exec_exit, e, err);
	close(in[0]);
	close(out[1]);
	close(errors[1]);
	if (!e->child) {
		free(e);
		return NULL;
	}
	if (!o->want_stdin) {
		close(in[1]);
		in[1] = -1;
	}
	e->fds[0] = in[1];
	e->fds[1] = out[0];
	e->fds[2] = errors[0];
	work_init(&e->start, exec_start, e);
	work_queue(e->loop, &e->start);
	return e;
}

static void exec_resize(struct api_exec *e UNUSED, unsigned short cols UNUSED,
			unsigned short rows UNUSED)
{
}

static void exec_cancel(struct api_exec *e)
{
	child_kill(e->child, SIGKILL);
	child_abandon(e->child);
	loop_free_later(e->loop, free, e);
}

static int port_connect(void *node UNUSED, const char *ns UNUSED, const char *pod UNUSED,
			uint16_t port UNUSED, struct err *err)
{
	return err_set(err, ERR_INTERNAL, "connection refused");
}

static void *usage_refresh(void *node UNUSED, void (*done)(void *arg), void *arg)
{
	done(arg);
	return NULL;
}

static bool usage_machine(void *node UNUSED, struct api_usage *ret)
{
	*ret = (struct api_usage){
		.cpu_nano = 1500000001, .memory_bytes = 512 << 20, .window_us = USEC_PER_SEC};
	return true;
}

/* Every pod has one container. */
static bool usage_container(void *node UNUSED, const char *ns UNUSED, const char *pod UNUSED,
			    size_t i, struct api_usage *ret)
{
	*ret = (struct api_usage){.container = "main",
				  .cpu_nano = 250000000,
				  .memory_bytes = 3 << 20,
				  .window_us = USEC_PER_SEC};
	return i == 0;
}

static const struct api_node_ops node_ops = {.log_open = log_open,
					     .log_resume = log_resume,
					     .log_close = log_close,
					     .exec_open = exec_open,
					     .exec_resize = exec_resize,
					     .exec_cancel = exec_cancel,
					     .port_connect = port_connect,
					     .usage_refresh = usage_refresh,
					     .usage_machine = usage_machine,
					     .usage_container = usage_container};

static void load_ready(void *arg, int fd, unsigned what UNUSED)
{
	struct server *s = arg;
	auto_err err = {0};
	char buf[4096], line[64];
	ssize_t n = read(fd, buf, sizeof(buf));

	if (n > 0) {
		s->loaded += (size_t)n;
		return;
	}
	io_free(s->io);
	close(fd);
	snprintf(line, sizeof(line), "Loaded image: demo:%zu", s->loaded);
	if (s->loaded == 3)
		err_set(&err, ERR_BAD_REQUEST, "this is no archive");
	else
		s->on_line(s->arg, line);
	s->on_end(s->arg, err.message ? &err : NULL);
}

static void *image_load(void *images, int fd, void (*on_line)(void *, const char *),
			void (*on_end)(void *, const struct err *), void *arg,
			struct err *err UNUSED)
{
	struct server *s = images;

	s->on_line = on_line;
	s->on_end = on_end;
	s->arg = arg;
	s->loaded = 0;
	s->io = io_new(s->loop, fd, IO_READ, load_ready, s);
	return s;
}

static void *image_pull(void *images UNUSED, const char *ref,
			void (*on_line)(void *, const char *) UNUSED,
			void (*on_end)(void *, const struct err *) UNUSED, void *arg UNUSED,
			struct err *err)
{
	err_set(err, ERR_BAD_REQUEST, "malformed reference %s", ref);
	return NULL;
}

static void image_cancel(void *token UNUSED)
{
}

static json_t *image_list(void *images UNUSED)
{
	return json_pack("[{s:s,s:[s,s],s:i,s:b}]", "id", "sha256:0123456789abcdef", "refs",
			 "demo:1", "demo:2", "size", 1234567, "pinned", 0);
}

static int image_remove(void *images UNUSED, const char *ref, struct err *err)
{
	return streq(ref, "demo:1") ? 0 : err_set(err, ERR_NOT_FOUND, "image %s not found", ref);
}

static const struct api_image_ops image_ops = {image_load, image_pull, image_cancel, image_list,
					       image_remove};

/* The daemon hands batches to the store once a turn; loop_once() does not. */
static void flush(void *arg)
{
	struct server *s = arg;

	store_flush(s->store);
	timer_arm(s->flush, USEC_PER_MSEC);
}

static void show_demo(void *arg UNUSED, json_t *rows)
{
	json_array_append_new(rows, json_pack("{s:s,s:i}", "pod", "web", "run_count", 3));
}

static int serve(const char *dir, int ready)
{
	struct server s = {.loop = loop_new()};
	auto_free char *store_dir = path_join(dir, "store"), *run_dir = path_join(dir, "run");
	auto_free char *pki = path_join(dir, "pki"), *sock = path_join(dir, "s");
	const struct store_config sc = {.dir = store_dir, .volatile_dir = run_dir};
	const struct registry_config rc = {.service_cidr = "10.43.0.0/16",
					   .cluster_domain = "cluster.local",
					   .node_port_min = 30000,
					   .node_port_max = 32767,
					   .node_name = "node1"};
	struct api_config ac = {.socket_path = sock,
				.socket_gid = (gid_t)-1,
				.pki_dir = pki,
				.node_name = "node1",
				.git_version = "v1.33.0",
				.node_ops = &node_ops,
				.node = &s,
				.image_ops = &image_ops,
				.images = &s};
	auto_err err = {0};
	struct registry *registry;

	s.store = store_open(s.loop, &sc, &err);
	ac.identity = s.store ? identity_open(s.loop, s.store,
					      &(struct identity_config){.pki_dir = pki,
									.node_name = "node1",
									.cluster_domain =
										"cluster.local"},
					      &err)
			      : NULL;
	registry = ac.identity ? registry_new(s.loop, s.store, &rc, &err) : NULL;
	if (!registry || !api_new(s.loop, registry, &ac, &err)) {
		fprintf(stderr, "%s\n", err_message(&err));
		return 1;
	}
	show_register("demo", show_demo, NULL);
	s.flush = timer_new(s.loop, flush, &s);
	flush(&s);
	if (write(ready, "r", 1) != 1)
		return 1;
	for (;;) {
		if (loop_once(s.loop) < 0)
			return 1;
	}
}

/* ---- running command lines ------------------------------------------------------------------ */

static char dir[128], out_path[160], err_path[160];
static pid_t server_pid;

static int start_server(void **state UNUSED)
{
	int ready[2];
	char c;

	snprintf(dir, sizeof(dir), "%s/cli.XXXXXX", getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp");
	assert_non_null(mkdtemp(dir));
	snprintf(out_path, sizeof(out_path), "%s/out", dir);
	snprintf(err_path, sizeof(err_path), "%s/err", dir);
	assert_int_equal(pipe(ready), 0);
	server_pid = fork();
	if (server_pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		close(ready[0]);
		_exit(serve(dir, ready[1]));
	}
	close(ready[1]);
	assert_int_equal(read(ready[0], &c, 1), 1);
	close(ready[0]);
	auto_free char *sock = path_join(dir, "s");
	setenv("CORACLE_SOCKET", sock, 1);
	setenv("TZ", "UTC", 1);
	return 0;
}

static int stop_server(void **state UNUSED)
{
	kill(server_pid, SIGKILL);
	waitpid(server_pid, NULL, 0);
	rm_rf(dir);
	return 0;
}

static int redirect(int fd, const char *path, int flags)
{
	int saved = dup(fd), to = open(path, flags | O_CLOEXEC, 0600);

	assert_true(to >= 0);
	dup2(to, fd);
	close(to);
	return saved;
}

static void restore(int fd, int saved)
{
	dup2(saved, fd);
	close(saved);
}

static char *slurp(const char *path)
{
	char *text = NULL;
	size_t len;

	assert_int_equal(file_read(path, 1 << 20, &text, &len), 0);
	return text;
}

/* Runs "coracle <line>" (words separated by single blanks; input on standard input, or NULL). */
static int run(const char *line, const char *input, char **out, char **errors)
{
	auto_strv words = {0};
	auto_free char *in_path = path_join(dir, "in");
	int saved[3], code;

	strv_add(&words, "coracle");
	strv_split(&words, line, ' ');
	assert_int_equal(file_write_atomic(in_path, input ? input : "", input ? strlen(input) : 0,
					   0600, false),
			 0);
	fflush(stdout);
	saved[0] = redirect(0, in_path, O_RDONLY);
	saved[1] = redirect(1, out_path, O_WRONLY | O_CREAT | O_TRUNC);
	saved[2] = redirect(2, err_path, O_WRONLY | O_CREAT | O_TRUNC);
	code = cli_main((int)words.n, words.v);
	fflush(stdout);
	for (int i = 0; i < 3; i++)
		restore(i, saved[i]);
	*out = slurp(out_path);
	*errors = slurp(err_path);
	return code;
}

/* want_* NULL: not looked at; starting with "~": a part of it. */
static void check_text(const char *line, const char *what, const char *have, const char *want)
{
	if (!want)
		return;
	if (*want == '~' ? strstr(have, want + 1) != NULL : streq(have, want))
		return;
	fail_msg("coracle %s: %s is\n%s\nnot\n%s", line, what, have, want);
}

static void expect(const char *line, const char *input, int code, const char *want_out,
		   const char *want_err)
{
	auto_free char *out = NULL, *errors = NULL;
	int have = run(line, input, &out, &errors);

	if (have != code)
		fail_msg("coracle %s: exit %d instead of %d\n%s%s", line, have, code, out, errors);
	check_text(line, "output", out, want_out);
	check_text(line, "error output", errors, want_err);
}

/* ---- pure parts ----------------------------------------------------------------------------- */

static void test_tabwriter(void **state UNUSED)
{
	static const char *const cases[][2] = {
		{"a\tb\nccc\td\n", "a    b\nccc  d\n"},
		{"Name:\tx\nLabels:\ta=b\n\tc=d\n", "Name:    x\nLabels:  a=b\n         c=d\n"},
		{"a:\tb\nheading\nlonger:\tc\n", "a:  b\nheading\nlonger:  c\n"},
		{"x\ty\tz\nlong\tq\n", "x     y  z\nlong  q\n"},
		{"\xc3\xa4\tb\nab\tc\n", "\xc3\xa4   b\nab  c\n"},
		{"", ""},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		auto_strbuf b = {0};

		tabwriter_format(cases[i][0], 0, 2, &b);
		assert_string_equal(b.s, cases[i][1]);
	}
}

static void test_duration_parse(void **state UNUSED)
{
	static const struct {
		const char *text;
		int64_t seconds; /* -1: bad */
	} cases[] = {{"0", 0},	{"5s", 5}, {"1m30s", 90}, {"2h", 7200}, {"1.5m", 90},  {"500ms", 1},
		     {"5", -1}, {"s", -1}, {"5x", -1},	  {"-5s", -1},	{"1e300h", -1}};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		int64_t v = 0;
		int r = duration_parse(cases[i].text, &v);

		assert_int_equal(r, cases[i].seconds < 0 ? -EINVAL : 0);
		if (!r)
			assert_int_equal(v, cases[i].seconds);
	}
}

static void test_options(void **state UNUSED)
{
	static const char line[] = "coracle get -nx pods --selector=a=b -Awo yaml --watch=false "
				   "-f one -f=two --tail 5 -- -l rest";
	auto_strv argv = {0};
	struct cli c = {0};
	auto_strv words = {0};

	strv_split(&argv, line, ' ');
	assert_int_equal(options_parse(&c, (int)argv.n, argv.v, &words), 0);
	assert_string_equal(c.o.ns, "x");
	assert_string_equal(c.o.selector, "a=b");
	assert_string_equal(c.o.output, "yaml");
	assert_true(c.o.all_namespaces && !c.o.watch && c.o.wait);
	assert_int_equal(c.o.tail, 5);
	assert_int_equal(c.o.files.n, 2);
	assert_string_equal(c.o.files.v[1], "two");
	assert_int_equal(words.n, 2);
	assert_int_equal(c.after.n, 2);
	assert_string_equal(c.after.v[0], "-l");
	options_done(&c);
}

static void test_paths(void **state UNUSED)
{
	static const struct {
		const struct kind *k;
		const char *ns, *name, *path;
	} cases[] = {
		{&kind_pod, "a", "b", "/api/v1/namespaces/a/pods/b"},
		{&kind_pod, NULL, NULL, "/api/v1/pods"},
		{&kind_deployment, "a", NULL, "/apis/apps/v1/namespaces/a/deployments"},
		{&kind_node, "a", "n/../x", "/api/v1/nodes/n%2F..%2Fx"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		auto_free char *path = kind_path(cases[i].k, cases[i].ns, cases[i].name);
		assert_string_equal(path, cases[i].path);
	}
	auto_free char *query =
		kind_path_query(&kind_pod, "a", "b", "log", "x", "1&2", "y", NULL, "z", "=", NULL);
	assert_string_equal(query, "/api/v1/namespaces/a/pods/b/log?x=1%262&z=%3D");
}

/* ---- command lines -------------------------------------------------------------------------- */

static const char manifest[] = "apiVersion: v1\n"
			       "kind: ConfigMap\n"
			       "metadata:\n"
			       "  name: c\n"
			       "data:\n"
			       "  a: \"1\"\n"
			       "---\n"
			       "apiVersion: apps/v1\n"
			       "kind: Deployment\n"
			       "metadata:\n"
			       "  name: web\n"
			       "spec:\n"
			       "  replicas: 2\n"
			       "  selector: {matchLabels: {app: web}}\n"
			       "  template:\n"
			       "    metadata: {labels: {app: web}}\n"
			       "    spec:\n"
			       "      containers: [{name: c, image: 'i:1'}]\n";

static const char pod[] =
	"apiVersion: v1\nkind: Pod\nmetadata: {name: p, labels: {app: web}}\n"
	"spec: {nodeName: node1, containers: [{name: c, image: i}, {name: d, image: i}]}\n";

static void test_apply(void **state UNUSED)
{
	static const char changed[] = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\n"
				      "data: {b: '2'}\n";

	expect("apply -f -", manifest, 0, "configmap/c created\ndeployment.apps/web created\n", "");
	expect("apply -f -", manifest, 0, "configmap/c unchanged\ndeployment.apps/web unchanged\n",
	       "");
	expect("apply -f -", changed, 0, "configmap/c configured\n", "");
	/* What the file no longer says is gone. */
	expect("get cm c -o json", NULL, 0, "~\"data\": {\n        \"b\": \"2\"\n    }", "");
	expect("create -f -", changed, 1, "",
	       "Error from server (AlreadyExists): error when creating \"STDIN\": configmaps \"c\" "
	       "already exists\n");
	expect("apply -f - --dry-run=server", manifest, 0,
	       "~configmap/c configured (server dry run)", NULL);
	expect("get cm c -o json", NULL, 0, "~\"b\": \"2\"", "");
	expect("create namespace other", NULL, 0, "namespace/other created\n", "");
	expect("apply -n other -f -", changed, 0, "configmap/c created\n", "");
}

static void test_apply_errors(void **state UNUSED)
{
	expect("apply -f /nonexistent", NULL, 1, "", "~the path \"/nonexistent\" does not exist\n");
	expect("apply -f -", "x: y\na: b: c\n", 1, "",
	       "~error: error parsing STDIN: error converting YAML to "
	       "JSON: yaml: line 2: mapping values are not allowed");
	expect("apply -f -", "apiVersion: v1\nkind: Foo\nmetadata: {name: x}\n", 1, "",
	       "~no matches for kind \"Foo\" in version \"v1\"");
	expect("apply -f -",
	       "apiVersion: v1\nkind: Pod\nmetadata: {name: x}\nspec: {containers: []}\n", 1, "",
	       "~The Pod \"x\" is invalid: spec.containers: Required value");
	expect("apply -f -", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}\ndatta: {}\n", 1,
	       "", "~strict decoding error: unknown field \"datta\"");
	expect("apply -n other -f -",
	       "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x, namespace: default}\n", 1, "",
	       "~does not match the namespace \"other\"");
}

static void test_get(void **state UNUSED)
{
	expect("get deploy web --no-headers", NULL, 0, "~web   0/2   0     0     ", "");
	expect("get deployments", NULL, 0,
	       "~NAME   READY   UP-TO-DATE   AVAILABLE   AGE\nweb    0/2     "
	       "0            0           ",
	       "");
	expect("get deploy/web -o wide", NULL, 0, "~CONTAINERS   IMAGES   SELECTOR\nweb", "");
	expect("get deploy -o name", NULL, 0, "deployment.apps/web\n", "");
	expect("get cm,deploy -l no=such", NULL, 0, "", "No resources found\n");
	expect("get pods", NULL, 0, "", "No resources found in default namespace.\n");
	expect("get pod nope", NULL, 1, "",
	       "Error from server (NotFound): pods \"nope\" not found\n");
	expect("get pod nope --ignore-not-found", NULL, 0, "", "");
	expect("get frob", NULL, 1, "",
	       "error: the server doesn't have a resource type \"frob\"\n");
	expect("get cm -A", NULL, 0, "~NAMESPACE", "");
	expect("get cm/c deploy/web", NULL, 0, "~configmap/c   1      ", "");
	expect("get cm -o yaml", NULL, 0, "~apiVersion: v1\nitems:\n- apiVersion: v1\n  data:\n",
	       "");
	expect("get cm c -o jsonpath=x", NULL, 1, "", "~unable to match a printer suitable");
	expect("get pods --replicas=3", NULL, 1, "", "~unknown flag: --replicas");
	expect("frob", NULL, 1, "", "~unknown command \"frob\" for \"coracle\"");
	expect("rollout", NULL, 1, "",
	       "error: expected one of: coracle rollout status, history, undo, restart, pause, "
	       "resume\n");
	expect("image --help", NULL, 0, "~\n  image pull  pull an image", "");
	expect("image pull -h", NULL, 0, "~coracle image pull REFERENCE [options]", "");
	expect("frob --help", NULL, 1, "", "~unknown command");
}

static void test_scale_rollout(void **state UNUSED)
{
	expect("scale deploy/web --replicas=3", NULL, 0, "deployment.apps/web scaled\n", "");
	expect("scale deploy web --replicas=1 --current-replicas=2", NULL, 1, "",
	       "error: Expected replicas to be 2, was 3\n");
	expect("scale cm/c --replicas=1", NULL, 1, "", "~is not supported");
	expect("scale deploy/web", NULL, 1, "", "~The --replicas=COUNT flag is required");
	expect("rollout pause deploy/web", NULL, 0, "deployment.apps/web paused\n", "");
	expect("rollout pause deploy/web", NULL, 1, "",
	       "error: deployments.apps \"web\" is already paused\n");
	expect("rollout restart deploy/web", NULL, 1, "", "~can't restart paused deployment");
	expect("rollout resume deploy/web", NULL, 0, "deployment.apps/web resumed\n", "");
	expect("rollout restart deploy web", NULL, 0, "deployment.apps/web restarted\n", "");
	expect("rollout status deploy/web --timeout=1s", NULL, 1,
	       "Waiting for deployment spec update to be observed...\n",
	       "error: timed out waiting for the condition\n");
	expect("rollout history deploy/web", NULL, 0,
	       "deployment.apps/web \nNo rollout history found.\n", "");
	expect("rollout undo deploy/web", NULL, 1, "",
	       "error: no rollout history found for deployment \"web\"\n");
}

static void test_describe(void **state UNUSED)
{
	expect("describe deploy web", NULL, 0,
	       "~Selector:               app=web\nReplicas:               3 desired", "");
	expect("describe cm c", NULL, 0, "~Data\n====\nb:\n----\n2\n", "");
	expect("describe ns other", NULL, 0, "~Status:       Active", "");
	expect("describe pod nope", NULL, 1, "",
	       "Error from server (NotFound): pods \"nope\" not found\n");
}

static void test_pod(void **state UNUSED)
{
	expect("apply -f -", pod, 0, "pod/p created\n", "");
	expect("get pods", NULL, 0,
	       "~NAME   READY   STATUS    RESTARTS   AGE\np      0/2     Pending   "
	       "0          ",
	       "");
	expect("describe pod p", NULL, 0, "~Events:           <none>\n", "");
	expect("logs p -c d --tail 3", NULL, 0, "default/p/d tail=3 follow=0\nsecond\n", "");
	expect("logs -f p --prefix", NULL, 0,
	       "[pod/p/c] default/p/c tail=-1 follow=1\n[pod/p/c] second\n",
	       "Defaulted container \"c\" out of: c, d\n");
	expect("logs nope", NULL, 1, "", "Error from server (NotFound): pods \"nope\" not found\n");
	expect("exec p -- echo hello", NULL, 0, "hello\n",
	       "Defaulted container \"c\" out of: c, d\n");
	expect("exec -i p -c c -- cat", "through\nthe pipe\n", 0, "through\nthe pipe\n", "");
	expect("exec p -c c -- sh -c exit${IFS}7", NULL, 7, "",
	       "command terminated with exit code 7\n");
	expect("exec p -c c -- sh -c echo${IFS}x>&2", NULL, 0, "", "x\n");
	expect("exec nope -- true", NULL, 1, "",
	       "Error from server (NotFound): pods \"nope\" not found\n");
	expect("delete pod p --force", NULL, 0, "pod \"p\" force deleted\n", NULL);
}

static void test_top(void **state UNUSED)
{
	static const char one[] = "apiVersion: v1\nkind: Pod\nmetadata: {name: one}\n"
				  "spec: {containers: [{name: main, image: x}]}\n";
	static const char node[] = "apiVersion: v1\nkind: Node\nmetadata: {name: node1}\n"
				   "status: {allocatable: {cpu: '4', memory: 1Gi}, capacity: {cpu: "
				   "'4', memory: 1Gi}}\n";

	expect("create -f -", one, 0, "pod/one created\n", "");
	expect("create -f -", node, 0, "node/node1 created\n", "");
	/* rounded up to thousandths; the share is that of what is left by it */
	expect("top node", NULL, 0,
	       "NAME    CPU(cores)   CPU(%)   MEMORY(bytes)   MEMORY(%)   \n"
	       "node1   1501m        37%      512Mi           50%         \n",
	       "");
	expect("top pods", NULL, 0,
	       "NAME   CPU(cores)   MEMORY(bytes)   \n"
	       "one    250m         3Mi             \n",
	       "");
	expect("top pods --containers -A --no-headers", NULL, 0,
	       "default   one   main   250m   3Mi   \n", "");
	expect("top pods -l a=b", NULL, 1, "", "error: metrics not available yet\n");
	expect("top pod nope", NULL, 1, "",
	       "Error from server (NotFound): pods.metrics.k8s.io \"nope\" not found\n");
	expect("delete pod one --force", NULL, 0, NULL, NULL);
	expect("delete node node1", NULL, 0, NULL, "");
}

static void test_host(void **state UNUSED)
{
	auto_strbuf big = {0};

	for (int i = 0; i < 30000; i++)
		strbuf_adds(&big, "0123456789");
	expect("image load -", big.s, 0, "Loaded image: demo:300000\n", "");
	expect("image load -", "bad", 1, "", "error: this is no archive\n");
	expect("image pull x", NULL, 1, "", "~malformed reference x");
	expect("image ls", NULL, 0,
	       "IMAGE    ID             SIZE     PINNED\ndemo:1   0123456789ab   1.2 MB   false\n"
	       "demo:2   0123456789ab   1.2 MB   false\n",
	       "");
	expect("image rm demo:1", NULL, 0, "removed demo:1\n", "");
	expect("image rm demo:9", NULL, 1, "", "~image demo:9 not found");
	expect("show demo", NULL, 0, "POD   RUN-COUNT\nweb   3\n", "");
	expect("show", NULL, 0, "~demo\n", "");
	expect("show nope", NULL, 1, "", "~there is no table");
	expect("version", NULL, 0, "~Server Version: v1.33.0\n", "");
	expect("completion bash", NULL, 0, "~complete -F _coracle coracle\n", "");
	expect("--socket /nonexistent get pods", NULL, 1, "", "~is coracled running?");
}

static void test_delete(void **state UNUSED)
{
	expect("delete cm c", NULL, 0, "configmap \"c\" deleted\n", "");
	expect("delete cm c", NULL, 1, "",
	       "Error from server (NotFound): configmaps \"c\" not found\n");
	expect("delete cm c --ignore-not-found", NULL, 0, "", "");
	expect("delete cm", NULL, 1, "",
	       "error: resource(s) were provided, but no name was specified\n");
	expect("delete deploy --all", NULL, 0, "deployment.apps \"web\" deleted\n", "");
	expect("delete -n other -f -", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\n", 0,
	       "configmap \"c\" deleted\n", "");
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_tabwriter), cmocka_unit_test(test_duration_parse),
		cmocka_unit_test(test_options),	  cmocka_unit_test(test_paths),
		cmocka_unit_test(test_apply),	  cmocka_unit_test(test_apply_errors),
		cmocka_unit_test(test_get),	  cmocka_unit_test(test_scale_rollout),
		cmocka_unit_test(test_describe),  cmocka_unit_test(test_pod),
		cmocka_unit_test(test_host),	  cmocka_unit_test(test_delete),
		cmocka_unit_test(test_top),
	};

	/* "test_cli serve DIR": the server alone, to be tried by hand. */
	if (argc == 3 && streq(argv[1], "serve"))
		return serve(argv[2], STDERR_FILENO);
	return cmocka_run_group_tests(tests, start_server, stop_server);
}
