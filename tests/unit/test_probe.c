/* SPDX-License-Identifier: Apache-2.0 */
/* Checks against servers on the same loop; thresholds through exec checks that the test answers. */
#include <arpa/inet.h>
#include <coracle/http.h>
#include <coracle/probe.h>
#include <setjmp.h>
#include <cmocka.h>
#include <sys/socket.h>
#include <unistd.h>

#define LIMIT (20 * USEC_PER_SEC)

struct once {
	bool done, ok;
	char why[256];
};

static void on_once(void *arg, bool ok, const char *why)
{
	struct once *o = arg;

	o->done = true;
	o->ok = ok;
	snprintf(o->why, sizeof(o->why), "%s", why);
}

static struct once check(struct loop *loop, const struct probe_config *c)
{
	struct once o = {0};

	assert_non_null(probe_run_once(loop, c, on_once, &o));
	assert_int_equal(loop_run_until(loop, &o.done, LIMIT), 0);
	return o;
}

static int setup(void **state)
{
	*state = loop_new();
	return 0;
}

static int teardown(void **state)
{
	loop_free(*state);
	return 0;
}

static void on_request(void *arg UNUSED, struct http_request *req)
{
	const char *path = http_path(req);
	const char *agent = http_header(req, "User-Agent");

	if (streq(path, "/ok"))
		http_respond(req, 200, "text/plain", "ok", 2);
	else if (streq(path, "/agent"))
		http_respond(req, agent && str_starts(agent, "kube-probe/") ? 200 : 400, NULL, NULL,
			     0);
	else if (streq(path, "/header"))
		http_respond(req,
			     str_eq(http_header(req, "X-Test"), "yes") &&
					     str_eq(http_header(req, "Host"), "example.com")
				     ? 204
				     : 400,
			     NULL, NULL, 0);
	else if (streq(path, "/moved")) {
		http_respond_header(req, "Location", "/ok");
		http_respond(req, 302, NULL, NULL, 0);
	} else if (streq(path, "/away")) {
		http_respond_header(req, "Location", "http://other.example/fail");
		http_respond(req, 302, "text/plain", "gone away", 9);
	} else if (streq(path, "/circle")) {
		http_respond_header(req, "Location", "/circle");
		http_respond(req, 302, NULL, NULL, 0);
	} else if (streq(path, "/large")) {
		http_respond_take(req, 200, "text/plain", xcalloc(1, 256 * 1024), 256 * 1024);
	} else if (!streq(path, "/hang"))
		http_respond(req, 500, NULL, NULL, 0);
}

static struct http_server *serve(struct loop *loop, struct sockaddr_in *at)
{
	struct http_server_config c = {.on_request = on_request};
	struct http_server *s;
	struct addr got;

	assert_int_equal(addr_parse("127.0.0.1:0", &c.listen.addr), 0);
	s = http_server_new(loop, &c, NULL);
	assert_non_null(s);
	assert_int_equal(http_server_addr(s, &got), 0);
	memcpy(at, &got.ss, sizeof(*at));
	return s;
}

static void test_http(void **state)
{
	static const struct probe_header headers[] = {{"X-Test", "yes"}, {"Host", "example.com"}};
	struct loop *loop = *state;
	struct probe_config c = {.kind = PROBE_HTTP, .timeout = 1};
	struct http_server *s = serve(loop, &c.addr);
	char want[256];
	struct once o;

	c.path = "/ok";
	assert_true(check(loop, &c).ok);
	c.path = "agent"; /* without its slash */
	assert_true(check(loop, &c).ok);
	c.path = "/moved";
	assert_true(check(loop, &c).ok);
	c.path = "/away";
	o = check(loop, &c);
	assert_true(o.ok);
	assert_string_equal(o.why, "Probe terminated redirects, Response body: gone away");
	c.path = "/large"; /* a long page is a good page */
	assert_true(check(loop, &c).ok);
	c.path = "/circle";
	o = check(loop, &c);
	assert_false(o.ok);
	assert_non_null(strstr(o.why, "stopped after 10 redirects"));
	c.path = "/fail";
	o = check(loop, &c);
	assert_false(o.ok);
	assert_string_equal(o.why, "HTTP probe failed with statuscode: 500");
	c.path = "/header";
	c.headers = headers;
	c.n_headers = 2;
	assert_true(check(loop, &c).ok);
	c.path = "/hang";
	o = check(loop, &c);
	snprintf(want, sizeof(want),
		 "Get \"http://127.0.0.1:%d/hang\": context deadline exceeded (Client.Timeout "
		 "exceeded while awaiting headers)",
		 ntohs(c.addr.sin_port));
	assert_string_equal(o.why, want);
	http_server_free(s);
	loop_bury(loop);
	c.path = "/ok";
	o = check(loop, &c);
	snprintf(want, sizeof(want),
		 "Get \"http://127.0.0.1:%d/ok\": dial tcp 127.0.0.1:%d: connect: connection "
		 "refused",
		 ntohs(c.addr.sin_port), ntohs(c.addr.sin_port));
	assert_false(o.ok);
	assert_string_equal(o.why, want);
}

static void test_tcp(void **state)
{
	struct loop *loop = *state;
	struct probe_config c = {.kind = PROBE_TCP, .timeout = 1};
	struct http_server *s = serve(loop, &c.addr);
	char want[128];
	struct once o;

	assert_true(check(loop, &c).ok);
	http_server_free(s);
	loop_bury(loop);
	o = check(loop, &c);
	snprintf(want, sizeof(want), "dial tcp 127.0.0.1:%d: connect: connection refused",
		 ntohs(c.addr.sin_port));
	assert_false(o.ok);
	assert_string_equal(o.why, want);
}

/* ---- a gRPC server of a few frames ------------------------------------------------------- */

struct grpc {
	struct loop *loop;
	struct stream *s;
	uint8_t status;
};

static void grpc_data(void *arg)
{
	struct grpc *g = arg;
	static const uint8_t settings[] = {0, 0, 0, 4, 0, 0, 0, 0, 0};
	static const uint8_t headers[] = {0, 0, 1, 1, 4, 0, 0, 0, 1, 0x88};
	const uint8_t data[] = {0, 0, 7, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 2, 8, g->status};
	size_t len;
	const char *p = stream_peek(g->s, &len);

	if (!memmem(p, len, "grpc.health.v1.Health/Check", 27))
		return;
	stream_consume(g->s, len);
	stream_write(g->s, settings, sizeof(settings));
	stream_write(g->s, headers, sizeof(headers));
	stream_write(g->s, data, sizeof(data));
}

static void grpc_close(void *arg UNUSED, const char *why UNUSED)
{
}

static const struct stream_ops grpc_ops = {.on_data = grpc_data, .on_close = grpc_close};

static void grpc_accept(void *arg, int fd, const struct addr *peer UNUSED)
{
	struct grpc *g = arg;

	g->s = stream_new(g->loop, fd, NULL, true, &grpc_ops, g);
}

static void test_grpc(void **state)
{
	struct grpc g = {.loop = *state, .status = 1};
	struct listener_config lc = {0};
	struct probe_config c = {.kind = PROBE_GRPC, .timeout = 2, .service = "db"};
	struct listener *l;
	struct addr got;
	struct once o;

	assert_int_equal(addr_parse("127.0.0.1:0", &lc.addr), 0);
	l = listener_new(g.loop, &lc, grpc_accept, &g, NULL);
	assert_int_equal(listener_addr(l, &got), 0);
	memcpy(&c.addr, &got.ss, sizeof(c.addr));
	assert_true(check(g.loop, &c).ok);
	g.status = 2;
	o = check(g.loop, &c);
	assert_false(o.ok);
	assert_string_equal(o.why, "service unhealthy (responded with \"NOT_SERVING\")");
	listener_free(l);
	loop_once(g.loop);
}

/* ---- thresholds -------------------------------------------------------------------------- */

struct exec {
	struct probe *probe;
	int asked;
	bool verdict_given, verdict, waiting;
	int verdicts, failures;
	char why[64];
};

static void on_verdict(void *arg, bool ok, const char *why)
{
	struct exec *e = arg;

	e->verdicts++;
	e->verdict_given = true;
	e->verdict = ok;
	snprintf(e->why, sizeof(e->why), "%s", why);
}

static void on_failure(void *arg, const char *why UNUSED)
{
	((struct exec *)arg)->failures++;
}

static void run_exec(void *arg, struct probe *p UNUSED, const char *const *argv, uint32_t timeout)
{
	struct exec *e = arg;

	assert_string_equal(argv[0], "check");
	assert_int_equal(timeout, 1);
	e->asked++;
	e->waiting = true;
}

static const struct probe_ops exec_ops = {
	.on_verdict = on_verdict, .on_failure = on_failure, .run_exec = run_exec};

/* Waits for the next check and answers it. */
static void answer(struct loop *loop, struct exec *e, int code)
{
	assert_int_equal(loop_run_until(loop, &e->waiting, LIMIT), 0);
	e->waiting = false;
	probe_exec_done(e->probe, code, false, "output");
}

static void test_thresholds(void **state)
{
	static const char *const argv[] = {"check", NULL};
	struct loop *loop = *state;
	struct probe_config c = {.kind = PROBE_EXEC,
				 .argv = argv,
				 .period = 1,
				 .success_threshold = 1,
				 .failure_threshold = 2};
	struct exec e = {0};

	e.probe = probe_start(loop, &c, mono_now(), &exec_ops, &e);
	assert_false(probe_ok(e.probe));
	answer(loop, &e, 0);
	assert_true(probe_ok(e.probe) && e.verdict && e.verdicts == 1);
	answer(loop, &e, 1);
	assert_true(probe_ok(e.probe) && e.failures == 1); /* one failure is not enough */
	answer(loop, &e, 1);
	assert_false(probe_ok(e.probe));
	assert_int_equal(e.verdicts, 2);
	assert_string_equal(e.why, "output");
	probe_pause(e.probe, true);
	e.waiting = false;
	assert_int_equal(loop_run_until(loop, &e.waiting, 10 * USEC_PER_MSEC), -ETIMEDOUT);
	probe_pause(e.probe, false);
	answer(loop, &e, 0);
	assert_true(probe_ok(e.probe));
	probe_stop(e.probe);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_http, setup, teardown),
		cmocka_unit_test_setup_teardown(test_tcp, setup, teardown),
		cmocka_unit_test_setup_teardown(test_grpc, setup, teardown),
		cmocka_unit_test_setup_teardown(test_thresholds, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
