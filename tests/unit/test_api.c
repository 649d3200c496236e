/* SPDX-License-Identifier: Apache-2.0 */
/*
 * api: a whole server (store, registry, API) on a unix socket and TLS in this process, asked by our
 * own client. The node behind logs, exec and port forwarding is a fake with real pipes.
 */
#include <coracle/api.h>
#include <setjmp.h>
#include <cmocka.h>
#include <fcntl.h>
#include <grp.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../../src/api/internal.h"
#include "../../src/identity/internal.h"

#define LIMIT (10 * USEC_PER_SEC)

struct fixture {
	struct loop *loop;
	struct store *store;
	struct identity *identity;
	struct registry *registry;
	struct api *api;
	struct http_server *backend; /* what port forwarding reaches */
	char dir[64];
	struct addr socket, tls;
	struct timer *flush;
	/* the last answer */
	bool done;
	int code;
	struct strbuf text;
	struct strv warnings;
	char type[128];
	json_t *json;
	struct stream *upgraded;
	/* image ops */
	int load_fd;
	struct strbuf loaded;
	void (*load_end)(void *arg, const struct err *err);
	void (*load_line)(void *arg, const char *line);
	void *load_arg;
	struct io *load_io;
	bool stopped;
};

/* ---- a fake node ------------------------------------------------------------------------- */

struct api_log {
	struct fixture *f;
	struct work work;
	const struct api_log_ops *ops;
	void *arg;
	unsigned left;
};

static void log_work(void *arg)
{
	struct api_log *l = arg;

	while (l->left) {
		l->left--;
		if (!l->ops->on_data(l->arg, "a line of the log\n", 18))
			return;
	}
	loop_free_later(l->f->loop, free, l);
	l->ops->on_end(l->arg);
}

static struct api_log *log_open(void *node, const char *ns UNUSED, const char *pod UNUSED,
				const struct api_log_options *o, const struct api_log_ops *ops,
				void *arg, struct err *err)
{
	struct api_log *l;

	if (o->previous) {
		err_set(err, ERR_BAD_REQUEST,
			"previous terminated container \"%s\" in pod \"p\" not found",
			o->container);
		return NULL;
	}
	l = xnew(struct api_log);
	l->f = node;
	l->ops = ops;
	l->arg = arg;
	l->left = o->tail_lines >= 0 ? (unsigned)o->tail_lines : 100000;
	work_init(&l->work, log_work, l);
	work_queue(l->f->loop, &l->work);
	return l;
}

static void log_resume(struct api_log *l)
{
	work_queue(l->f->loop, &l->work);
}

static void log_close(struct api_log *l)
{
	work_cancel(&l->work);
	loop_free_later(l->f->loop, free, l);
}

struct api_exec {
	struct fixture *f;
	const struct api_exec_ops *ops;
	void *arg;
	struct child *child;
	struct work start;
	int in, out, err;
};

static void exec_start(void *arg)
{
	struct api_exec *e = arg;

	e->ops->on_start(e->arg, e->in, e->out, e->err);
}

static void exec_exit(void *arg, int status)
{
	struct api_exec *e = arg;

	loop_free_later(e->f->loop, free, e);
	e->ops->on_end(e->arg, WIFEXITED(status) ? WEXITSTATUS(status) : -1, "killed");
}

/* Runs the command on this host with pipes. */
static struct api_exec *exec_open(void *node, const char *ns UNUSED, const char *pod UNUSED,
				  const struct api_exec_options *o, const struct api_exec_ops *ops,
				  void *arg, struct err *err)
{
	struct api_exec *e = xnew(struct api_exec);
	int in[2], out[2], errors[2];

	e->f = node;
	e->ops = ops;
	e->arg = arg;
	assert_int_equal(pipe(in) + pipe(out) + pipe(errors), 0);
	const struct child_fd fds[] = {{in[0], 0}, {out[1], 1}, {errors[1], 2}};
	struct child_config c = {.argv = o->argv, .fds = fds, .n_fds = 3};

	fcntl(in[1], F_SETFD, FD_CLOEXEC);
	fcntl(out[0], F_SETFD, FD_CLOEXEC);
	fcntl(errors[0], F_SETFD, FD_CLOEXEC);
	e->child = child_spawn(e->f->loop, &c, exec_exit, e, err);
	assert_non_null(e->child);
	close(in[0]);
	close(out[1]);
	close(errors[1]);
	e->in = in[1];
	e->out = out[0];
	e->err = errors[0];
	work_init(&e->start, exec_start, e);
	work_queue(e->f->loop, &e->start);
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
	loop_free_later(e->f->loop, free, e);
}

static int port_connect(void *node, const char *ns UNUSED, const char *pod UNUSED, uint16_t port,
			struct err *err)
{
	struct fixture *f = node;
	struct addr to;
	int fd;

	if (port != 80)
		return err_set(err, ERR_INTERNAL, "connection refused");
	assert_int_equal(http_server_addr(f->backend, &to), 0);
	fd = socket(to.ss.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(connect(fd, (struct sockaddr *)&to.ss, to.len), 0);
	fcntl(fd, F_SETFL, O_NONBLOCK);
	return fd;
}

static const struct api_node_ops node_ops = {.log_open = log_open,
					     .log_resume = log_resume,
					     .log_close = log_close,
					     .exec_open = exec_open,
					     .exec_resize = exec_resize,
					     .exec_cancel = exec_cancel,
					     .port_connect = port_connect};

static void on_backend(void *arg UNUSED, struct http_request *r)
{
	http_respond(r, 200, "text/plain", "from the pod", 12);
}

/* ---- fake images ------------------------------------------------------------------------- */

static void load_ready(void *arg, int fd, unsigned what UNUSED)
{
	struct fixture *f = arg;
	char buf[4096];
	ssize_t n = read(fd, buf, sizeof(buf));

	if (n > 0) {
		strbuf_add(&f->loaded, buf, (size_t)n);
		return;
	}
	io_free(f->load_io);
	f->load_io = NULL;
	close(fd);
	f->load_line(f->load_arg, "loaded demo:1");
	f->load_end(f->load_arg, NULL);
}

static void *load(void *images, int fd, void (*on_line)(void *, const char *),
		  void (*on_end)(void *, const struct err *), void *arg, struct err *err UNUSED)
{
	struct fixture *f = images;

	f->load_line = on_line;
	f->load_end = on_end;
	f->load_arg = arg;
	f->load_io = io_new(f->loop, fd, IO_READ, load_ready, f);
	return f;
}

static void *pull(void *images UNUSED, const char *ref,
		  void (*on_line)(void *, const char *) UNUSED,
		  void (*on_end)(void *, const struct err *) UNUSED, void *arg UNUSED,
		  struct err *err)
{
	err_set(err, ERR_BAD_REQUEST, "malformed reference %s", ref);
	return NULL;
}

static void cancel(void *token UNUSED)
{
}

static json_t *image_list(void *images UNUSED)
{
	return json_pack("[{s:s}]", "id", "sha256:1");
}

static int image_remove(void *images UNUSED, const char *ref, struct err *err)
{
	return streq(ref, "demo:1") ? 0 : err_set(err, ERR_NOT_FOUND, "image %s not found", ref);
}

static const struct api_image_ops image_ops = {load, pull, cancel, image_list, image_remove};

static void on_stop(void *arg, bool stop_pods)
{
	((struct fixture *)arg)->stopped = stop_pods;
}

/* ---- fixture ----------------------------------------------------------------------------- */

/* The daemon's loop hands batches to the store once a turn; loop_once() does not. */
static void flush(void *arg)
{
	struct fixture *f = arg;

	store_flush(f->store);
	timer_arm(f->flush, USEC_PER_MSEC);
}

static void start_backend(struct fixture *f)
{
	struct http_server_config c = {.on_request = on_backend};
	auto_err err = {0};

	assert_int_equal(addr_parse("127.0.0.1:0", &c.listen.addr), 0);
	f->backend = http_server_new(f->loop, &c, &err);
	assert_non_null(f->backend);
}

static int setup(void **state)
{
	struct fixture *f = xnew(struct fixture);
	auto_err err = {0};

	f->loop = loop_new();
	snprintf(f->dir, sizeof(f->dir), "%s/api.XXXXXX",
		 getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp");
	assert_non_null(mkdtemp(f->dir));
	auto_free char *store_dir = path_join(f->dir, "store"), *run_dir = path_join(f->dir, "run");
	auto_free char *pki = path_join(f->dir, "pki"), *sock = path_join(f->dir, "s");
	struct store_config sc = {.dir = store_dir, .volatile_dir = run_dir};
	struct registry_config rc = {.service_cidr = "10.43.0.0/16",
				     .cluster_domain = "cluster.local",
				     .node_port_min = 30000,
				     .node_port_max = 32767,
				     .node_name = "node1"};
	struct api_config ac = {.socket_path = sock,
				.socket_gid = (gid_t)-1,
				.listen = "127.0.0.1:0",
				.pki_dir = pki,
				.node_name = "node1",
				.git_version = "v1.33.0",
				.node_ops = &node_ops,
				.node = f,
				.image_ops = &image_ops,
				.images = f,
				.on_stop = on_stop,
				.stop_arg = f};

	f->store = store_open(f->loop, &sc, &err);
	assert_non_null(f->store);
	f->registry = registry_new(f->loop, f->store, &rc, &err);
	assert_non_null(f->registry);
	f->identity = identity_open(f->loop, f->store,
				    &(struct identity_config){.pki_dir = pki,
							      .node_name = "node1",
							      .service_ip = "10.43.0.1",
							      .listen = "127.0.0.1:0",
							      .cluster_domain = "cluster.local"},
				    &err);
	assert_non_null(f->identity);
	ac.identity = f->identity;
	f->api = api_new(f->loop, f->registry, &ac, &err);
	if (!f->api)
		fail_msg("%s", err_message(&err));
	assert_int_equal(addr_parse(sock, &f->socket), 0);
	assert_int_equal(api_addr(f->api, &f->tls), 0);
	f->flush = timer_new(f->loop, flush, f);
	flush(f);
	start_backend(f);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	http_server_free(f->backend);
	api_free(f->api);
	timer_free(f->flush);
	loop_bury(f->loop);
	registry_free(f->registry);
	identity_close(f->identity);
	store_close(f->store);
	loop_free(f->loop);
	rm_rf(f->dir);
	strbuf_done(&f->text);
	strbuf_done(&f->loaded);
	strv_done(&f->warnings);
	json_decref(f->json);
	free(f);
	return 0;
}

/* ---- asking ------------------------------------------------------------------------------ */

static void on_headers(void *arg, struct http_call *c, int code)
{
	struct fixture *f = arg;
	const char *warning = http_call_header(c, "Warning"),
		   *type = http_call_header(c, "Content-Type");

	f->code = code;
	if (warning)
		strv_add(&f->warnings, warning);
	snprintf(f->type, sizeof(f->type), "%s", type ? type : "");
}

static void on_data(void *arg, const void *data, size_t len)
{
	strbuf_add(&((struct fixture *)arg)->text, data, len);
}

static void on_done(void *arg, const struct http_answer *a, const char *why UNUSED)
{
	struct fixture *f = arg;

	f->done = true;
	if (!a)
		f->code = -1;
}

static void on_upgrade(void *arg, struct stream *s)
{
	struct fixture *f = arg;

	f->upgraded = s;
	f->done = true;
}

static const struct http_call_ops ops = {
	.on_headers = on_headers, .on_data = on_data, .on_done = on_done};

static void forget_answer(struct fixture *f)
{
	f->done = false;
	f->code = 0;
	strbuf_reset(&f->text);
	strv_done(&f->warnings);
	json_decref(f->json);
	f->json = NULL;
}

/* One exchange; the answer lies in f. ctype and accept may be NULL. Returns the code. */
static int ask_with(struct fixture *f, const char *method, const char *path, const char *ctype,
		    const char *accept, const void *body, size_t len)
{
	const char *headers[8];
	size_t n = 0;
	auto_err err = {0};

	if (ctype) {
		headers[n++] = "Content-Type";
		headers[n++] = ctype;
	}
	if (accept) {
		headers[n++] = "Accept";
		headers[n++] = accept;
	}
	headers[n] = NULL;
	struct http_call_config c = {.to = f->socket,
				     .method = method,
				     .path = path,
				     .headers = headers,
				     .body = body,
				     .body_len = len,
				     .timeout_us = LIMIT};

	forget_answer(f);
	assert_non_null(http_call(f->loop, &c, &ops, f, &err));
	assert_int_equal(loop_run_until(f->loop, &f->done, 2 * LIMIT), 0);
	if (f->text.len && *f->text.s == '{')
		f->json = json_parse(f->text.s, f->text.len, NULL);
	return f->code;
}

static int ask(struct fixture *f, const char *method, const char *path, const char *body)
{
	return ask_with(f, method, path, body ? "application/json" : NULL, NULL, body,
			body ? strlen(body) : 0);
}

static int patch(struct fixture *f, const char *path, const char *type, const char *body)
{
	return ask_with(f, "PATCH", path, type, NULL, body, strlen(body));
}

#define expect(f, want, call)                                                                      \
	do {                                                                                       \
		int got_ = (call);                                                                 \
		if (got_ != (want))                                                                \
			fail_msg("%s: %d instead of %d: %s", #call, got_, (want),                  \
				 (f)->text.s ? (f)->text.s : "");                                  \
	} while (0)

#define CMS "/api/v1/namespaces/default/configmaps"
#define PODS "/api/v1/namespaces/default/pods"
#define DEPLOYS "/apis/apps/v1/namespaces/default/deployments"
#define TABLE "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"

static void make_map(struct fixture *f, const char *name, const char *label)
{
	auto_free char *body =
		xasprintf("{\"metadata\":{\"name\":\"%s\",\"labels\":{\"app\":\"%s\"}},"
			  "\"data\":{\"a\":\"1\"}}",
			  name, label);

	expect(f, 201, ask(f, "POST", CMS, body));
}

static void make_pod(struct fixture *f)
{
	expect(f, 201,
	       ask(f, "POST", PODS,
		   "{\"metadata\":{\"name\":\"p\"},\"spec\":{\"nodeName\":\"node1\",\"containers\":"
		   "["
		   "{\"name\":\"c\",\"image\":\"demo:1\"}]}}"));
}

/* ---- tests ------------------------------------------------------------------------------- */

static void test_health(struct fixture *f)
{
	expect(f, 200, ask(f, "GET", "/healthz?verbose", NULL));
	assert_string_equal(f->text.s, "[+]ping ok\n[+]log ok\n[+]etcd ok\nhealthz check passed\n");
	expect(f, 200, ask(f, "GET", "/livez/ping", NULL));
	assert_string_equal(f->text.s, "ok");
	expect(f, 404, ask(f, "GET", "/livez/none", NULL));
	api_set_ready(f->api, "shutdown", "process is shutting down");
	expect(f, 500, ask(f, "GET", "/readyz?exclude=etcd&exclude=none", NULL));
	assert_string_equal(
		f->text.s,
		"[+]ping ok\n[+]log ok\n[+]etcd excluded: ok\n"
		"[-]shutdown failed: reason withheld\nwarn: some health checks cannot be "
		"excluded: no matches for \"none\"\nreadyz check failed\n");
	expect(f, 500, ask(f, "GET", "/readyz/shutdown", NULL));
	assert_string_equal(f->text.s, "internal server error: process is shutting down\n");
	expect(f, 200, ask(f, "GET", "/readyz?exclude=shutdown", NULL));
	expect(f, 200, ask(f, "GET", "/healthz", NULL));
	api_set_ready(f->api, "shutdown", NULL);
	expect(f, 200, ask(f, "GET", "/readyz/", NULL));
}

static void test_meta(void **state)
{
	struct fixture *f = *state;
	static const char *const paths[] = {"/healthz",
					    "/livez",
					    "/readyz?verbose",
					    "/version",
					    "/version/",
					    "/api",
					    "/apis",
					    "/apis/apps",
					    "/api/v1",
					    "/apis/apps/v1",
					    "/openapi/v2",
					    "/openapi/v3",
					    "/openapi/v3/api/v1",
					    "/metrics",
					    "/coracle/v1/show",
					    "/coracle/v1/version",
					    "/coracle/v1/show/requests",
					    "/coracle/v1/show/connections",
					    "/coracle/v1/images",
					    "/coracle/v1/kubeconfig"};

	for (size_t i = 0; i < ARRAY_SIZE(paths); i++)
		expect(f, 200, ask(f, "GET", paths[i], NULL));
	assert_non_null(strstr(f->text.s, "server: https://127.0.0.1:"));
	expect(f, 200,
	       ask_with(f, "GET", "/apis", NULL,
			"application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList",
			NULL, 0));
	assert_string_equal(json_str(f->json, "kind", ""), "APIGroupDiscoveryList");
	expect(f, 404, ask(f, "GET", "/nowhere", NULL));
	assert_string_equal(f->text.s, "404 page not found\n");
	expect(f, 404, ask(f, "GET", "/apis/apps/v9", NULL));
	assert_string_equal(json_str(f->json, "message", ""),
			    "the server could not find the requested resource");
	expect(f, 404, ask(f, "GET", "/apis/no.such/v1/things", NULL));
	assert_string_equal(json_str(f->json, "message", ""),
			    "the server could not find the requested resource");
	expect(f, 405, ask(f, "POST", "/version", "{}"));
	expect(f, 405, ask(f, "PUT", CMS, "{}"));
	test_health(f);
	expect(f, 202, ask(f, "POST", "/coracle/v1/node/stop?pods=true", NULL));
	assert_true(f->stopped);
}

static void test_objects(void **state)
{
	struct fixture *f = *state;

	make_map(f, "m", "x");
	assert_string_equal(json_str(f->json, "kind", ""), "ConfigMap");
	expect(f, 409, ask(f, "POST", CMS, "{\"metadata\":{\"name\":\"m\"}}"));
	assert_string_equal(json_str(f->json, "message", ""), "configmaps \"m\" already exists");
	assert_string_equal(json_str(f->json, "details.kind", ""), "configmaps");
	assert_string_equal(json_str(f->json, "details.name", ""), "m");
	expect(f, 404, ask(f, "GET", CMS "/nope", NULL));
	assert_string_equal(json_str(f->json, "message", ""), "configmaps \"nope\" not found");
	expect(f, 200,
	       ask(f, "PUT", CMS "/m", "{\"metadata\":{\"name\":\"m\"},\"data\":{\"b\":\"2\"}}"));
	assert_string_equal(json_str(f->json, "data.b", ""), "2");
	/* As in a backup: the time it was made at there is no error, and changes nothing. */
	expect(f, 200,
	       ask(f, "PUT", CMS "/m",
		   "{\"metadata\":{\"name\":\"m\",\"creationTimestamp\":\"2001-01-01T00:00:00Z\"}"
		   "}"));
	assert_null(strstr(f->text.s, "2001-01-01"));
	expect(f, 400, ask(f, "PUT", CMS "/m", "{\"data\":{}}"));
	assert_string_equal(
		json_str(f->json, "message", ""),
		"the name of the object (m based on URL) was undeterminable: name must be "
		"provided");
	expect(f, 400,
	       ask(f, "PUT", CMS "/m", "{\"metadata\":{\"name\":\"m\",\"namespace\":\"o\"}}"));
	assert_string_equal(json_str(f->json, "message", ""),
			    "the namespace of the object (o) does not match the namespace on the "
			    "request (default)");
	expect(f, 409,
	       ask(f, "PUT", CMS "/m",
		   "{\"metadata\":{\"name\":\"m\",\"resourceVersion\":\"1\"}}"));
	assert_string_equal(json_str(f->json, "reason", ""), "Conflict");
	expect(f, 201,
	       ask_with(f, "POST", CMS "?dryRun=All", "application/yaml", NULL,
			"metadata:\n  name: dry\n", 22));
	expect(f, 422, ask(f, "POST", CMS "?dryRun=", "{\"metadata\":{\"name\":\"dry\"}}"));
	expect(f, 404, ask(f, "GET", CMS "/dry", NULL));
	expect(f, 422, ask(f, "POST", CMS, "{\"metadata\":{\"name\":\"Bad_Name\"}}"));
	expect(f, 400, ask(f, "POST", CMS, "{\"metadata\":"));
	expect(f, 400, ask(f, "POST", CMS, "{\"kind\":\"Pod\",\"metadata\":{\"name\":\"q\"}}"));
	expect(f, 415, ask_with(f, "POST", CMS, "text/plain", NULL, "x", 1));
	expect(f, 406, ask_with(f, "GET", CMS "/m", NULL, "text/html", NULL, 0));
	expect(f, 200, ask(f, "DELETE", CMS "/m", "{\"propagationPolicy\":\"Background\"}"));
	assert_string_equal(json_str(f->json, "status", ""), "Success");
	expect(f, 404, ask(f, "DELETE", CMS "/m", NULL));
	expect(f, 405, ask(f, "POST", "/api/v1/configmaps", "{}"));
}

static void test_too_large(void **state)
{
	struct fixture *f = *state;
	auto_free char *big = xmalloc(4 << 20);

	memset(big, ' ', 4 << 20);
	expect(f, 413, ask_with(f, "POST", CMS, "application/json", NULL, big, 4 << 20));
	assert_string_equal(json_str(f->json, "message", ""),
			    "Request entity too large: limit is 3145728");
	expect(f, 200, ask(f, "GET", "/healthz", NULL));
}

static void test_validation(void **state)
{
	struct fixture *f = *state;
	const char *body = "{\"metadata\":{\"name\":\"v\"},\"dataa\":{}}";

	expect(f, 400, ask(f, "POST", CMS "?fieldValidation=Strict", body));
	assert_non_null(strstr(f->text.s, "strict decoding error: unknown field \\\"dataa\\\""));
	expect(f, 201, ask(f, "POST", CMS, body));
	assert_int_equal(f->warnings.n, 1);
	assert_string_equal(f->warnings.v[0], "299 - \"unknown field \\\"dataa\\\"\"");
	expect(f, 422, ask(f, "POST", CMS "?fieldValidation=What", body));
}

static void test_patches(void **state)
{
	struct fixture *f = *state;

	make_map(f, "m", "x");
	expect(f, 200,
	       patch(f, CMS "/m", "application/merge-patch+json",
		     "{\"data\":{\"a\":null,\"b\":\"2\"}}"));
	assert_int_equal(json_object_size(json_at(f->json, "data")), 1);
	expect(f, 200,
	       patch(f, CMS "/m", "application/json-patch+json",
		     "[{\"op\":\"add\",\"path\":\"/data/c\",\"value\":\"3\"}]"));
	expect(f, 200,
	       patch(f, CMS "/m", "application/strategic-merge-patch+json; charset=utf-8",
		     "{\"metadata\":{\"labels\":{\"l\":\"v\"}}}"));
	assert_string_equal(json_str(f->json, "metadata.labels.app", ""), "x");
	expect(f, 415, patch(f, CMS "/m", "application/json", "{}"));
	expect(f, 422, patch(f, CMS "/m?force=true", "application/merge-patch+json", "{}"));
	assert_string_equal(
		json_str(f->json, "message", ""),
		"PatchOptions.meta.k8s.io \"\" is invalid: force: Forbidden: may not be "
		"specified for non-apply patch");
	expect(f, 400, patch(f, CMS "/m", "application/merge-patch+json", "[]"));
	expect(f, 400, patch(f, CMS "/m", "application/merge-patch+json", "{\"kind\":\"Pod\"}"));
	expect(f, 404, patch(f, CMS "/n", "application/merge-patch+json", "{}"));
	expect(f, 409,
	       patch(f, CMS "/m", "application/merge-patch+json",
		     "{\"metadata\":{\"resourceVersion\":\"1\"}}"));
}

static void test_apply(void **state)
{
	struct fixture *f = *state;
	const char *type = "application/apply-patch+yaml", *path = CMS "/s?fieldManager=me";

	expect(f, 422, patch(f, CMS "/s", type, "{}"));
	expect(f, 201,
	       patch(f, path, type,
		     "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: s\n  labels: {a: b}\n"
		     "data:\n  one: \"1\"\n  two: \"2\"\n"));
	assert_string_equal(json_str(json_array_get(json_at(f->json, "metadata.managedFields"), 0),
				     "manager", ""),
			    "me");
	expect(f, 200,
	       patch(f, CMS "/s", "application/merge-patch+json", "{\"data\":{\"x\":\"y\"}}"));
	expect(f, 200,
	       patch(f, path, type,
		     "{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"data\":{\"two\":\"3\"}}"));
	assert_null(json_at(f->json, "data.one"));
	assert_string_equal(json_str(f->json, "data.two", ""), "3");
	assert_string_equal(json_str(f->json, "data.x", ""), "y");
	assert_null(json_at(f->json, "metadata.labels"));
	/* Another applier of the same field: a conflict, or by force his. */
	const char *other = CMS "/s?fieldManager=other",
		   *two = "{\"apiVersion\":\"v1\",\"kind\":"
			  "\"ConfigMap\",\"data\":{\"two\":\"4\",\"own\":\"5\"}}";

	expect(f, 409, patch(f, other, type, two));
	assert_string_equal(json_str(f->json, "message", ""),
			    "Apply failed with 1 conflict: conflict with \"me\": .data.two");
	assert_string_equal(
		json_str(json_array_get(json_at(f->json, "details.causes"), 0), "reason", ""),
		"FieldManagerConflict");
	expect(f, 200, patch(f, CMS "/s?fieldManager=other&force=true", type, two));
	assert_string_equal(json_str(f->json, "data.two", ""), "4");
	expect(f, 200, patch(f, other, type, "{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\"}"));
	assert_null(json_at(f->json, "data.two"));
	assert_null(json_at(f->json, "data.own"));
	/* Sets that a client made up do no harm. */
	expect(f, 200,
	       patch(f, CMS "/s", "application/merge-patch+json",
		     "{\"metadata\":{\"finalizers\":[\"a/"
		     "b\"],\"managedFields\":[{\"manager\":\"me\","
		     "\"operation\":\"Apply\",\"fieldsV1\":{\".\":{},\"f\":{},\"f:metadata\":{"
		     "\"f:finalizers\":{\"k:{}\":{\".\":{}},\"v:1\":{\"f:x\":{}}},\"f:labels\":7},"
		     "\"f:data\":{\"k:x\":{}}}}]}}"));
	expect(f, 200, patch(f, path, type, "{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\"}"));
	expect(f, 400, patch(f, path, type, "{\"apiVersion\":\"v2\",\"kind\":\"ConfigMap\"}"));
}

static void test_lists(void **state)
{
	struct fixture *f = *state;
	char path[512];

	for (int i = 0; i < 5; i++) {
		char name[16];

		snprintf(name, sizeof(name), "m%d", i);
		make_map(f, name, i % 2 ? "odd" : "even");
	}
	expect(f, 200, ask(f, "GET", CMS, NULL));
	assert_string_equal(json_str(f->json, "kind", ""), "ConfigMapList");
	size_t all = json_len(f->json, "items");

	assert_true(all >= 5);
	expect(f, 200, ask(f, "GET", CMS "?labelSelector=app%3Dodd", NULL));
	assert_int_equal(json_len(f->json, "items"), 2);
	expect(f, 200, ask(f, "GET", CMS "?fieldSelector=metadata.name%3Dm3", NULL));
	assert_int_equal(json_len(f->json, "items"), 1);
	expect(f, 400, ask(f, "GET", CMS "?fieldSelector=no.such%3D1", NULL));
	expect(f, 400, ask(f, "GET", CMS "?labelSelector=a%20b%20c", NULL));
	expect(f, 200, ask(f, "GET", CMS "?limit=2", NULL));
	assert_int_equal(json_len(f->json, "items"), 2);
	assert_int_equal(json_int(f->json, "metadata.remainingItemCount", 0), all - 2);
	snprintf(path, sizeof(path), CMS "?limit=100&continue=%s",
		 json_str(f->json, "metadata.continue", ""));
	expect(f, 200, ask(f, "GET", path, NULL));
	assert_int_equal(json_len(f->json, "items"), all - 2);
	assert_null(json_at(f->json, "metadata.continue"));
	expect(f, 400, ask(f, "GET", CMS "?continue=junk", NULL));
	expect(f, 504, ask(f, "GET", CMS "?resourceVersion=999999", NULL));
	assert_int_equal(json_int(f->json, "details.retryAfterSeconds", 0), 1);
	expect(f, 422, ask(f, "GET", CMS "?resourceVersionMatch=Exact", NULL));
	expect(f, 200, ask_with(f, "GET", CMS "/m1", NULL, TABLE, NULL, 0));
	assert_string_equal(json_str(f->json, "kind", ""), "Table");
	assert_int_equal(json_len(f->json, "rows"), 1);
	expect(f, 200, ask_with(f, "GET", CMS "?includeObject=Object", NULL, TABLE, NULL, 0));
	assert_int_equal(json_len(f->json, "rows"), all);
	expect(f, 400, ask_with(f, "GET", CMS "?includeObject=What", NULL, TABLE, NULL, 0));
	expect(f, 200,
	       ask_with(f, "GET", CMS, NULL,
			"application/vnd.kubernetes.protobuf;as=PartialObjectMetadataList;"
			"g=meta.k8s.io;v=v1,application/json;as=PartialObjectMetadataList;"
			"g=meta.k8s.io;v=v1",
			NULL, 0));
	assert_string_equal(json_str(f->json, "kind", ""), "PartialObjectMetadataList");
	expect(f, 200, ask(f, "DELETE", CMS "?labelSelector=app%3Deven", NULL));
	expect(f, 200, ask(f, "GET", CMS "?labelSelector=app", NULL));
	assert_int_equal(json_len(f->json, "items"), 2);
}

static char *old_token(const char *rev)
{
	auto_free char *text = xasprintf(
		"{\"v\":\"meta.k8s.io/v1\",\"rv\":%s,\"t\":-3600,\"start\":\"default/m1\"}", rev);
	char *token = base64_encode(text, strlen(text));

	token[strcspn(token, "=")] = '\0';
	return token;
}

/* Pages of one list show one state; a token that is too old says how to go on. */
static void test_pages(void **state)
{
	struct fixture *f = *state;
	auto_free char *rev = NULL, *token = NULL;
	char path[1024], name[16];

	for (int i = 0; i < 4; i++) {
		snprintf(name, sizeof(name), "m%d", i);
		make_map(f, name, "x");
	}
	expect(f, 200, ask(f, "GET", CMS "?limit=2&labelSelector=app", NULL));
	assert_null(json_at(f->json, "metadata.remainingItemCount"));
	rev = xstrdup(json_str(f->json, "metadata.resourceVersion", ""));
	token = xstrdup(json_str(f->json, "metadata.continue", ""));
	expect(f, 200, ask(f, "DELETE", CMS "/m2", NULL));
	expect(f, 200,
	       patch(f, CMS "/m3", "application/merge-patch+json", "{\"data\":{\"a\":\"2\"}}"));
	make_map(f, "m4", "x");
	snprintf(path, sizeof(path), CMS "?limit=2&labelSelector=app&continue=%s", token);
	expect(f, 200, ask(f, "GET", path, NULL));
	assert_string_equal(json_str(f->json, "metadata.resourceVersion", ""), rev);
	assert_int_equal(json_len(f->json, "items"), 2);
	assert_null(json_at(f->json, "metadata.continue"));
	assert_non_null(strstr(f->text.s, "\"m2\""));
	assert_null(strstr(f->text.s, "\"a\":\"2\""));
	snprintf(path, sizeof(path),
		 CMS "?resourceVersionMatch=Exact&labelSelector=app&resourceVersion=%s", rev);
	expect(f, 200, ask(f, "GET", path, NULL));
	assert_int_equal(json_len(f->json, "items"), 4);
	/* A token of an hour ago. */
	auto_free char *old = old_token(rev);

	snprintf(path, sizeof(path), CMS "?labelSelector=app&continue=%s", old);
	expect(f, 410, ask(f, "GET", path, NULL));
	assert_string_equal(json_str(f->json, "reason", ""), "Expired");
	snprintf(path, sizeof(path), CMS "?labelSelector=app&continue=%s",
		 json_str(f->json, "metadata.continue", ""));
	expect(f, 200, ask(f, "GET", path, NULL));
	assert_int_equal(json_len(f->json, "items"), 2); /* m3 and m4 */
	assert_string_not_equal(json_str(f->json, "metadata.resourceVersion", ""), rev);
	/* one whose state is still the newest is as old */
	auto_free char *same = old_token(json_str(f->json, "metadata.resourceVersion", ""));

	snprintf(path, sizeof(path), CMS "?labelSelector=app&continue=%s", same);
	expect(f, 410, ask(f, "GET", path, NULL));
}

static void test_list_forms(void **state)
{
	struct fixture *f = *state;

	make_map(f, "m0", "x");
	make_map(f, "m1", "x");
	expect(f, 200,
	       ask_with(f, "GET", CMS "?labelSelector=app", NULL, "application/yaml", NULL, 0));
	json_auto_t *docs = yaml_parse_all(f->text.s, f->text.len, NULL);
	const json_t *list = json_array_get(docs, 0);

	assert_string_equal(json_str(list, "kind", ""), "ConfigMapList");
	assert_int_equal(json_len(list, "items"), 2);
	assert_string_equal(meta_name(json_array_get(json_object_get(list, "items"), 1)), "m1");
	expect(f, 422,
	       ask(f, "GET", CMS "?resourceVersionMatch=What&sendInitialEvents=true", NULL));
	assert_int_equal(json_len(f->json, "details.causes"), 3);
	expect(f, 406, ask_with(f, "GET", CMS, NULL, "text/plain", NULL, 0));
}

/* A list larger than one piece goes out in chunks and is whole. */
static void test_large_list(void **state)
{
	struct fixture *f = *state;
	auto_free char *big = xmalloc(100001);

	memset(big, 'a', 100000);
	big[100000] = '\0';
	for (int i = 0; i < 15; i++) {
		auto_free char *body = xasprintf(
			"{\"metadata\":{\"name\":\"b%d\"},\"data\":{\"a\":\"%s\"}}", i, big);

		expect(f, 201, ask(f, "POST", CMS, body));
	}
	expect(f, 200, ask(f, "GET", CMS, NULL));
	assert_true(f->text.len > 1500000);
	assert_true(json_len(f->json, "items") >= 15);
}

/* ---- watches ----------------------------------------------------------------------------- */

struct watcher {
	struct fixture *f;
	struct http_call *call;
	struct strbuf text;
	const char *want;
	bool seen, done;
	int code;
};

static void watcher_headers(void *arg, struct http_call *c UNUSED, int code)
{
	((struct watcher *)arg)->code = code;
}

static void watcher_data(void *arg, const void *data, size_t len)
{
	struct watcher *w = arg;

	strbuf_add(&w->text, data, len);
	w->seen = w->want && strstr(w->text.s, w->want);
}

static void watcher_done(void *arg, const struct http_answer *a UNUSED, const char *why UNUSED)
{
	((struct watcher *)arg)->done = true;
}

static const struct http_call_ops watcher_ops = {
	.on_headers = watcher_headers, .on_data = watcher_data, .on_done = watcher_done};

static void watch(struct fixture *f, struct watcher *w, const char *path, const char *accept)
{
	const char *headers[] = {"Accept", accept ? accept : "application/json", NULL};
	struct http_call_config c = {
		.to = f->socket, .method = "GET", .path = path, .headers = headers};
	auto_err err = {0};

	*w = (struct watcher){.f = f};
	w->call = http_call(f->loop, &c, &watcher_ops, w, &err);
	assert_non_null(w->call);
}

/* Waits until the watch has said this. */
static void await(struct watcher *w, const char *want)
{
	w->want = want;
	w->seen = w->text.s && strstr(w->text.s, want);
	if (loop_run_until(w->f->loop, &w->seen, LIMIT) < 0)
		fail_msg("no %s in %s", want, w->text.s ? w->text.s : "");
}

static void test_watch(void **state)
{
	struct fixture *f = *state;
	struct watcher all, odd, table;

	make_map(f, "m1", "odd");
	watch(f, &all, CMS "?watch=true&resourceVersion=0&fieldSelector=metadata.name%3Dm1", NULL);
	watch(f, &odd,
	      CMS "?watch=1&labelSelector=app%3Dodd&allowWatchBookmarks=true&"
		  "sendInitialEvents=true&resourceVersionMatch=NotOlderThan",
	      NULL);
	watch(f, &table, CMS "?watch=true", TABLE);
	await(&all, "{\"type\":\"ADDED\",\"object\":{");
	await(&odd, "\"k8s.io/initial-events-end\":\"true\"");
	await(&table, "\"columnDefinitions\"");
	expect(f, 200,
	       patch(f, CMS "/m1", "application/merge-patch+json",
		     "{\"metadata\":{\"labels\":{\"app\":\"even\"}}}"));
	await(&all, "\"MODIFIED\"");
	await(&odd, "\"DELETED\"");
	assert_non_null(strstr(strstr(odd.text.s, "DELETED"), "\"app\":\"odd\""));
	strbuf_reset(&odd.text);
	expect(f, 200,
	       patch(f, CMS "/m1", "application/merge-patch+json",
		     "{\"metadata\":{\"labels\":{\"app\":\"odd\"}}}"));
	await(&odd, "\"ADDED\"");
	expect(f, 200, ask(f, "DELETE", CMS "/m1", NULL));
	await(&all, "\"DELETED\"");
	http_call_cancel(all.call);
	http_call_cancel(odd.call);
	http_call_cancel(table.call);
	strbuf_done(&all.text);
	strbuf_done(&odd.text);
	strbuf_done(&table.text);
}

static void test_watch_ends(void **state)
{
	struct fixture *f = *state;
	struct watcher w;

	watch(f, &w, CMS "?watch=true&timeoutSeconds=1", NULL);
	assert_int_equal(loop_run_until(f->loop, &w.done, LIMIT), 0);
	assert_int_equal(w.code, 200);
	strbuf_done(&w.text);
	/* The old path; a bookmark before the end tells of changes that were not for this watch. */
	watch(f, &w,
	      "/api/v1/watch/namespaces/default/configmaps?allowWatchBookmarks=true&"
	      "timeoutSeconds=1&labelSelector=none",
	      NULL);
	assert_int_equal(loop_run_until(f->loop, &w.done, LIMIT / 100), -ETIMEDOUT);
	make_map(f, "unseen", "x");
	assert_int_equal(loop_run_until(f->loop, &w.done, LIMIT), 0);
	assert_non_null(strstr(w.text.s, "{\"type\":\"BOOKMARK\""));
	assert_null(strstr(w.text.s, "ADDED"));
	strbuf_done(&w.text);
	expect(f, 405, ask(f, "DELETE", "/api/v1/watch/namespaces/default/configmaps", NULL));
	expect(f, 504,
	       ask(f, "GET",
		   CMS "?watch=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&"
		       "resourceVersion=99999999",
		   NULL));
	expect(f, 422, ask(f, "GET", CMS "?watch=true&sendInitialEvents=true", NULL));
	expect(f, 400, ask(f, "GET", CMS "?watch=true&resourceVersion=x", NULL));
}

/* ---- who may ----------------------------------------------------------------------------- */

static int ask_tls(struct fixture *f, const char *path, const char *pki, const char *token)
{
	auto_free char *ca = path_join(f->dir, "pki/ca.crt");
	auto_free char *cert = pki ? xasprintf("%s/%s/admin.crt", f->dir, pki) : NULL;
	auto_free char *key = pki ? xasprintf("%s/%s/admin.key", f->dir, pki) : NULL;
	auto_free char *bearer = xasprintf("Bearer %s", token ? token : "");
	struct tls_config t = {.cert_file = cert, .key_file = key, .ca_file = ca};
	const char *headers[] = {"Authorization", bearer, NULL};
	auto_err err = {0};
	struct http_call_config c = {.to = f->tls,
				     .tls = tls_new(&t, &err),
				     .tls_name = "localhost",
				     .method = "GET",
				     .path = path,
				     .headers = token ? headers : NULL,
				     .timeout_us = LIMIT};

	forget_answer(f);
	assert_non_null(c.tls);
	assert_non_null(http_call(f->loop, &c, &ops, f, &err));
	assert_int_equal(loop_run_until(f->loop, &f->done, 2 * LIMIT), 0);
	tls_unref(c.tls);
	return f->code;
}

static void test_auth(void **state)
{
	struct fixture *f = *state;
	auto_free char *rogue = path_join(f->dir, "rogue"),
		       *token_path = path_join(f->dir, "pki/token");
	auto_free char *token = NULL;
	auto_err err = {0};
	size_t len;

	assert_int_equal(pki_prepare(rogue, "n", NULL, NULL, "cluster.local", &err), 0);
	assert_int_equal(file_read(token_path, 1000, &token, &len), 0);
	expect(f, 200, ask_tls(f, PODS, "pki", NULL));
	expect(f, 200, ask_tls(f, PODS, NULL, token));
	expect(f, 403, ask_tls(f, PODS, NULL, NULL));
	assert_non_null(strstr(f->text.s, "pods is forbidden: User \\\"system:anonymous\\\" cannot "
					  "list resource"));
	expect(f, 401, ask_tls(f, PODS, NULL, "wrong"));
	assert_non_null(strstr(f->text.s, "\"reason\":\"Unauthorized\""));
	expect(f, 401, ask_tls(f, PODS, "rogue", NULL));
	expect(f, 403, ask_tls(f, "/nowhere", NULL, NULL));
	assert_non_null(strstr(f->text.s, "cannot get path \\\"/nowhere\\\""));
	expect(f, 401, ask_tls(f, "/healthz", "rogue", NULL));
	expect(f, 201, ask(f, "POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", "{}"));
	assert_true(str_starts(json_str(f->json, "status.userInfo.username", ""), "unix:"));
	expect(f, 201,
	       ask(f, "POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews",
		   "{\"spec\":{\"resourceAttributes\":{\"verb\":\"get\"}}}"));
	assert_true(json_bool(f->json, "status.allowed", false));
	expect(f, 406,
	       ask_with(f, "POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews",
			"application/json", "application/json;as=Table;v=v1;g=meta.k8s.io", "{}",
			2));
}

/* A peer that is neither root nor in the group is known and may not: needs root to become one. */
static void test_forbidden(void **state)
{
	struct fixture *f = *state;
	static const char get[] = "GET " PODS "/p HTTP/1.0\r\n\r\n";
	char buf[2048] = "";
	size_t n = 0;
	int fds[2];

	if (getuid() != 0)
		skip();
	assert_int_equal(chmod(f->dir, 0711) +
				 chmod(((struct sockaddr_un *)&f->socket.ss)->sun_path, 0777),
			 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
	pid_t pid = fork();

	if (pid == 0) {
		if (setgroups(0, NULL) < 0 || setgid(65534) < 0 || setuid(65534) < 0)
			_exit(1);
		int fd = socket(AF_UNIX, SOCK_STREAM, 0);

		if (connect(fd, (struct sockaddr *)&f->socket.ss, f->socket.len) < 0 ||
		    write(fd, get, sizeof(get) - 1) < 0)
			_exit(1);
		for (ssize_t k; (k = read(fd, buf, sizeof(buf))) > 0;)
			if (write(fds[1], buf, (size_t)k) != k)
				_exit(1);
		_exit(0);
	}
	close(fds[1]);
	for (;;) {
		ssize_t k = read(fds[0], buf + n, sizeof(buf) - 1 - n);

		if (k == 0)
			break;
		if (k > 0)
			n += (size_t)k;
		loop_once(f->loop);
	}
	close(fds[0]);
	waitpid(pid, NULL, 0);
	assert_non_null(strstr(buf, " 403 "));
	assert_non_null(strstr(buf,
			       "pods \\\"p\\\" is forbidden: User \\\"unix:65534\\\" cannot get "
			       "resource \\\"pods\\\" in API group \\\"\\\" in the namespace "
			       "\\\"default\\\""));
}

static void test_pki_repair(void **state)
{
	struct fixture *f = *state;
	auto_free char *dir = path_join(f->dir, "pki2"), *key = path_join(dir, "server.key");
	auto_free char *ca = path_join(dir, "ca.crt"), *before = NULL, *after = NULL, *made = NULL,
		       *same = NULL, *other = NULL;
	auto_err err = {0};
	size_t len;

	assert_int_equal(pki_prepare(dir, "n", "10.43.0.1", NULL, "cluster.local", &err), 0);
	assert_int_equal(file_read(ca, 10000, &before, &len), 0);
	assert_int_equal(file_write_atomic(key, "junk", 4, 0600, false), 0);
	assert_int_equal(pki_prepare(dir, "n", "10.43.0.1", NULL, "cluster.local", &err), 0);
	assert_int_equal(file_read(ca, 10000, &after, &len), 0);
	assert_string_equal(before, after);
	assert_int_equal(file_read(key, 10000, &made, &len), 0);
	assert_true(len > 4);
	/* What is good stays; another name of the node makes another certificate. */
	assert_int_equal(pki_prepare(dir, "n", "10.43.0.1", NULL, "cluster.local", &err), 0);
	assert_int_equal(file_read(key, 10000, &same, &len), 0);
	assert_string_equal(made, same);
	assert_int_equal(pki_prepare(dir, "other", "10.43.0.1", NULL, "cluster.local", &err), 0);
	assert_int_equal(file_read(key, 10000, &other, &len), 0);
	assert_string_not_equal(made, other);
}

/* ---- subresources ------------------------------------------------------------------------ */

static void test_scale(void **state)
{
	struct fixture *f = *state;
	const char *scale = DEPLOYS "/d/scale";

	expect(f, 201,
	       ask(f, "POST", DEPLOYS,
		   "{\"metadata\":{\"name\":\"d\"},\"spec\":{\"replicas\":2,\"selector\":"
		   "{\"matchLabels\":{\"app\":\"d\"}},\"template\":{\"metadata\":{\"labels\":"
		   "{\"app\":\"d\"}},\"spec\":{\"containers\":[{\"name\":\"c\",\"image\":\"i\"}]}}}"
		   "}"));
	expect(f, 200, ask(f, "GET", scale, NULL));
	assert_int_equal(json_int(f->json, "spec.replicas", 0), 2);
	assert_string_equal(json_str(f->json, "status.selector", ""), "app=d");
	expect(f, 200,
	       patch(f, scale, "application/merge-patch+json", "{\"spec\":{\"replicas\":5}}"));
	assert_int_equal(json_int(f->json, "spec.replicas", 0), 5);
	json_auto_t *now = json_incref(f->json);

	json_put_int(now, "spec.replicas", 7);
	auto_free char *body = json_text(now, NULL);

	expect(f, 200, ask_with(f, "PUT", scale, NULL, NULL, body, strlen(body)));
	expect(f, 409, ask_with(f, "PUT", scale, NULL, NULL, body, strlen(body)));
	expect(f, 422,
	       patch(f, scale, "application/merge-patch+json", "{\"spec\":{\"replicas\":-1}}"));
	expect(f, 200, ask(f, "GET", DEPLOYS "/d", NULL));
	assert_int_equal(json_int(f->json, "spec.replicas", 0), 7);
	expect(f, 200, ask_with(f, "GET", scale, NULL, TABLE, NULL, 0));
	assert_string_equal(json_str(f->json, "kind", ""), "Table");
	expect(f, 200,
	       patch(f, DEPLOYS "/d/scale?fieldManager=me&force=true",
		     "application/apply-patch+yaml",
		     "apiVersion: autoscaling/v1\nkind: Scale\nspec: {replicas: 0}\n"));
	expect(f, 200, ask(f, "GET", DEPLOYS "/d", NULL));
	assert_int_equal(json_int(f->json, "spec.replicas", -1), 0);
	expect(f, 404, ask(f, "GET", CMS "/d/scale", NULL));
	expect(f, 404, ask(f, "GET", DEPLOYS "/none/scale", NULL));
	assert_string_equal(json_str(f->json, "message", ""),
			    "deployments/scale.apps \"none\" not found");
	expect(f, 400,
	       ask(f, "PUT", scale, "{\"metadata\":{\"name\":\"x\"},\"spec\":{\"replicas\":1}}"));
}

static void test_status_and_eviction(void **state)
{
	struct fixture *f = *state;

	make_pod(f);
	expect(f, 200,
	       patch(f, PODS "/p/status", "application/merge-patch+json",
		     "{\"status\":{\"phase\":\"Running\",\"podIP\":\"10.42.0.2\"}}"));
	expect(f, 200, ask(f, "GET", PODS "?fieldSelector=status.phase%3DRunning", NULL));
	assert_int_equal(json_len(f->json, "items"), 1);
	static const char *const versions[] = {"policy/v1", "policy/v1beta1"};

	for (size_t i = 0; i < ARRAY_SIZE(versions); i++) {
		auto_free char *body =
			xasprintf("{\"apiVersion\":\"%s\",\"kind\":\"Eviction\",\"metadata\":"
				  "{\"name\":\"p\"},\"deleteOptions\":{\"gracePeriodSeconds\":0}}",
				  versions[i]);

		if (i)
			make_pod(f);
		expect(f, 201, ask(f, "POST", PODS "/p/eviction", body));
		expect(f, 404, ask(f, "GET", PODS "/p", NULL));
	}
	make_pod(f);
	expect(f, 400,
	       ask(f, "POST", PODS "/p/eviction",
		   "{\"apiVersion\":\"policy/v2\",\"kind\":\"Eviction\",\"metadata\":"
		   "{\"name\":\"p\"}}"));
}

static void test_log(void **state)
{
	struct fixture *f = *state;

	make_pod(f);
	expect(f, 200, ask(f, "GET", PODS "/p/log?tailLines=2", NULL));
	assert_string_equal(f->text.s, "a line of the log\na line of the log\n");
	assert_string_equal(f->type, "text/plain");
	expect(f, 200, ask(f, "GET", PODS "/p/log?container=c", NULL));
	assert_int_equal(f->text.len, 1800000);
	expect(f, 400, ask(f, "GET", PODS "/p/log?container=x", NULL));
	assert_string_equal(json_str(f->json, "message", ""), "container x is not valid for pod p");
	expect(f, 400, ask(f, "GET", PODS "/p/log?previous=true", NULL));
	expect(f, 422, ask(f, "GET", PODS "/p/log?tailLines=-2", NULL));
	assert_string_equal(json_str(f->json, "message", ""),
			    "PodLogOptions \"p\" is invalid: tailLines: Invalid value: -2: must be "
			    "greater than or equal to 0");
	expect(f, 422, ask(f, "GET", PODS "/p/log?limitBytes=0", NULL));
	expect(f, 422, ask(f, "GET", PODS "/p/log?sinceSeconds=1&sinceTime=x", NULL));
	expect(f, 400, ask(f, "GET", PODS "/p/log?tailLines=x", NULL));
	assert_string_equal(json_str(f->json, "message", ""),
			    "strconv.ParseInt: parsing \"x\": invalid syntax");
	expect(f, 404, ask(f, "GET", PODS "/q/log", NULL));
}

/* ---- SPDY -------------------------------------------------------------------------------- */

struct peer {
	struct spdy_stream *error, *in, *out, *data;
	struct strbuf error_text, out_text;
	bool error_fin, data_fin, closed;
};

static void spdy_data(void *arg, struct spdy_stream *st, const void *data, size_t len)
{
	struct peer *p = arg;

	strbuf_add(st == p->error ? &p->error_text : &p->out_text, data, len);
}

static void spdy_on_fin(void *arg, struct spdy_stream *st)
{
	struct peer *p = arg;

	p->error_fin = p->error_fin || st == p->error;
	p->data_fin = p->data_fin || st == p->data;
}

static void spdy_on_close(void *arg, const char *why UNUSED)
{
	((struct peer *)arg)->closed = true;
}

static const struct spdy_ops spdy_ops = {
	.on_data = spdy_data, .on_fin = spdy_on_fin, .on_close = spdy_on_close};

static struct spdy *upgrade(struct fixture *f, const char *path, const char *protocol,
			    struct peer *p)
{
	const char *headers[] = {
		"Connection", "Upgrade", "Upgrade", "SPDY/3.1", "X-Stream-Protocol-Version",
		protocol,     NULL};
	const struct http_call_ops upgrade_ops = {.on_headers = on_headers,
						  .on_data = on_data,
						  .on_done = on_done,
						  .on_upgrade = on_upgrade};
	struct http_call_config c = {.to = f->socket,
				     .method = "POST",
				     .path = path,
				     .headers = headers,
				     .timeout_us = LIMIT};
	auto_err err = {0};

	forget_answer(f);
	f->upgraded = NULL;
	assert_non_null(http_call(f->loop, &c, &upgrade_ops, f, &err));
	assert_int_equal(loop_run_until(f->loop, &f->done, 2 * LIMIT), 0);
	return f->upgraded ? spdy_new(f->loop, steal_ptr(f->upgraded), true, &spdy_ops, p) : NULL;
}

static struct spdy_stream *open_channel(struct spdy *s, const char *type, const char *port)
{
	const char *headers[] = {"streamtype", type, "port", port, "requestid", "0", NULL};

	if (!port)
		headers[2] = NULL;
	return spdy_open(s, headers);
}

static void test_exec(void **state)
{
	struct fixture *f = *state;
	struct peer p = {0};

	make_pod(f);
	expect(f, 400, ask(f, "POST", PODS "/p/exec?command=true&stdout=1", ""));
	struct spdy *s = upgrade(f,
				 PODS "/p/exec?command=sh&command=-c&command=cat%3B+exit+3&"
				      "stdin=true&stdout=true&stderr=true",
				 "v4.channel.k8s.io", &p);

	assert_non_null(s);
	p.error = open_channel(s, "error", NULL);
	p.in = open_channel(s, "stdin", NULL);
	p.out = open_channel(s, "stdout", NULL);
	open_channel(s, "stderr", NULL);
	spdy_write(p.in, "hello\n", 6);
	spdy_fin(p.in);
	assert_int_equal(loop_run_until(f->loop, &p.error_fin, LIMIT), 0);
	assert_string_equal(p.out_text.s, "hello\n");
	assert_non_null(strstr(p.error_text.s, "\"reason\":\"NonZeroExitCode\""));
	assert_non_null(
		strstr(p.error_text.s, "\"causes\":[{\"reason\":\"ExitCode\",\"message\":\"3\"}]"));
	spdy_close(s, "done");
	strbuf_done(&p.error_text);
	strbuf_done(&p.out_text);
}

static void test_exec_refused(void **state)
{
	struct fixture *f = *state;
	struct peer p = {0};

	make_pod(f);
	assert_null(upgrade(f, PODS "/p/exec?command=true&stdout=1", "v1.channel.example", &p));
	assert_int_equal(f->code, 403);
	assert_null(upgrade(f, PODS "/p/exec?command=true&container=x&stdout=1",
			    "v4.channel.k8s.io", &p));
	assert_int_equal(f->code, 400);
	assert_null(upgrade(f, PODS "/q/exec?command=true&stdout=1", "v4.channel.k8s.io", &p));
	assert_int_equal(f->code, 404);
}

static void test_port_forward(void **state)
{
	struct fixture *f = *state;
	struct peer p = {0};

	make_pod(f);
	struct spdy *s = upgrade(f, PODS "/p/portforward", "portforward.k8s.io", &p);

	assert_non_null(s);
	p.error = open_channel(s, "error", "80");
	spdy_fin(p.error);
	p.data = open_channel(s, "data", "80");
	spdy_write(p.data, "GET / HTTP/1.0\r\n\r\n", 18);
	assert_int_equal(loop_run_until(f->loop, &p.data_fin, LIMIT), 0);
	assert_non_null(strstr(p.out_text.s, "from the pod"));
	spdy_close(s, "done");
	struct peer q = {0};

	s = upgrade(f, PODS "/p/portforward", "portforward.k8s.io", &q);
	q.error = open_channel(s, "error", "81");
	q.data = open_channel(s, "data", "81");
	assert_int_equal(loop_run_until(f->loop, &q.error_fin, LIMIT), 0);
	assert_string_equal(q.error_text.s,
			    "error forwarding port 81 to pod default/p: connection refused");
	spdy_close(s, "done");
	strbuf_done(&p.out_text);
	strbuf_done(&q.error_text);
}

static void test_images(void **state)
{
	struct fixture *f = *state;
	auto_free char *archive = xcalloc(1, 500000);

	expect(f, 200, ask_with(f, "POST", "/coracle/v1/images/load", NULL, NULL, archive, 500000));
	assert_string_equal(f->text.s, "{\"status\":\"loaded demo:1\"}\n");
	assert_int_equal(f->loaded.len, 500000);
	expect(f, 400, ask(f, "POST", "/coracle/v1/images/pull?ref=a%3Fb", NULL));
	assert_string_equal(json_str(f->json, "message", ""), "malformed reference a?b");
	expect(f, 200, ask(f, "DELETE", "/coracle/v1/images?ref=demo%3A1", NULL));
	expect(f, 404, ask(f, "DELETE", "/coracle/v1/images?ref=other", NULL));
}

#include "test_api_large.h"

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(test_meta),
		T(test_objects),
		T(test_validation),
		T(test_too_large),
		T(test_patches),
		T(test_apply),
		T(test_lists),
		T(test_pages),
		T(test_list_forms),
		T(test_large_list),
		T(test_watch),
		T(test_watch_ends),
		T(test_auth),
		T(test_forbidden),
		T(test_pki_repair),
		T(test_scale),
		T(test_status_and_eviction),
		T(test_log),
		T(test_exec),
		T(test_exec_refused),
		T(test_port_forward),
		T(test_images),
		T(test_overtaken),
		T(test_overtaken_put),
		T(test_overtaken_delete),
		T(test_created_twice),
		T(test_large_and_gone),
		T(test_large_forms),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
