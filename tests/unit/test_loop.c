/* SPDX-License-Identifier: Apache-2.0 */
#include <coracle/loop.h>
#include <setjmp.h>
#include <cmocka.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#define LIMIT (10 * USEC_PER_SEC)

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

static void set_flag(void *arg)
{
	*(bool *)arg = true;
}

static void test_timer(void **state)
{
	struct loop *loop = *state;
	bool fired = false;
	struct timer *t = timer_new(loop, set_flag, &fired);

	timer_arm(t, 1000);
	assert_true(timer_armed(t));
	assert_int_equal(loop_run_until(loop, &fired, LIMIT), 0);
	assert_false(timer_armed(t));
	fired = false;
	timer_arm(t, 3600 * USEC_PER_SEC);
	timer_arm(t, 0);
	assert_int_equal(loop_run_until(loop, &fired, LIMIT), 0);
	fired = false;
	timer_arm(t, 3600 * USEC_PER_SEC);
	assert_int_equal(loop_run_until(loop, &fired, 1000), -ETIMEDOUT);
	json_auto_t *rows = json_array(), *none = json_array();
	loop_show_timers(loop, rows);
	assert_int_equal(json_array_size(rows), 1);
	assert_string_equal(json_str(json_array_get(rows, 0), "timer", ""), "test_loop.c set_flag");
	timer_free(t);
	loop_show_timers(loop, none);
	assert_int_equal(json_array_size(none), 0);
}

struct requeue {
	struct loop *loop;
	struct work w;
	int runs;
};

static void on_work(void *arg)
{
	struct requeue *q = arg;

	if (++q->runs < 3)
		work_queue(q->loop, &q->w);
}

static void on_slice(void *arg)
{
	struct requeue *q = arg;

	q->runs++;
	work_queue_next(q->loop, &q->w);
}

static void test_work(void **state)
{
	struct requeue q = {.loop = *state};

	work_init(&q.w, on_work, &q);
	work_queue(q.loop, &q.w);
	work_queue(q.loop, &q.w);
	loop_deferred(q.loop, USEC_PER_SEC);
	assert_int_equal(q.runs, 3);
	work_queue(q.loop, &q.w);
	work_cancel(&q.w);
	work_cancel(&q.w);
	loop_deferred(q.loop, USEC_PER_SEC);
	assert_int_equal(q.runs, 3);
	q.runs = 0;
	work_queue(q.loop, &q.w);
	loop_deferred(q.loop, 0); /* one at least, then the budget is used up */
	assert_int_equal(q.runs, 1);
	work_cancel(&q.w);
	work_init(&q.w, on_slice, &q);
	work_queue(q.loop, &q.w);
	for (q.runs = 0; q.runs < 3;) { /* one slice a turn, and no turn waits */
		int before = q.runs;

		assert_int_equal(loop_once(q.loop), 0);
		assert_int_equal(q.runs, before + 1);
	}
	work_cancel(&q.w);
}

/* ---- tasks ------------------------------------------------------------------------------- */

#define STEPS 6 /* milliseconds of computing */

struct sum {
	struct loop *loop;
	struct task task;
	bool hold, inside, done;
	unsigned freed;
	int order, *count;
};

static void on_nothing(void *arg UNUSED)
{
}

/* A turn that does not wait. */
static void turn(struct loop *loop)
{
	struct work w;

	work_init(&w, on_nothing, NULL);
	work_queue(loop, &w);
	assert_int_equal(loop_once(loop), 0);
	work_cancel(&w);
}

static void compute(mono_t until)
{
	while (mono_before(mono_now(), until))
		breathe();
}

static void on_task(void *arg)
{
	struct sum *s = arg;

	s->inside = task_inside();
	if (s->hold)
		breath_hold();
	for (int i = 0; i < STEPS; i++)
		compute(mono_add(mono_now(), USEC_PER_MSEC));
	if (s->hold)
		breath_release();
	s->done = true;
	if (s->count)
		s->order = ++*s->count;
}

static void start_task(struct loop *loop, struct sum *s, size_t cost)
{
	s->loop = loop;
	task_init(&s->task, on_task, s);
	assert_int_equal(task_start(loop, &s->task, cost), 0);
}

/* It is put aside again and again, and the loop goes on in between. */
static void test_task_slices(void **state)
{
	struct sum s = {0}, held = {.hold = true};
	int turns = 0;

	start_task(*state, &s, 1000);
	assert_false(s.done); /* the first slice */
	assert_true(s.inside);
	assert_false(task_inside());
	assert_int_equal(s.task.state, TASK_BEGUN);
	assert_int_equal(task_start(*state, &s.task, 1), -EALREADY);
	assert_false(task_cancel(*state, &s.task));
	for (; !s.done; turns++)
		assert_int_equal(loop_once(*state), 0);
	assert_true(turns >= 3);
	assert_int_equal(s.task.state, TASK_IDLE);
	turn(*state);
	start_task(*state, &held, 1000); /* nothing in between, but to its end at once */
	assert_true(held.done);
}

static void test_task_limits(void **state)
{
	struct sum large = {0}, next = {0}, small = {0}, many[300] = {{0}};
	int n = 0, rc = 0, count = 0;

	large.count = next.count = small.count = &count;
	start_task(*state, &large, 3U << 20);
	start_task(*state, &next, 3U << 20); /* no room beside the first */
	start_task(*state, &small, 10);	     /* would have, but does not overtake */
	assert_int_equal(next.task.state, TASK_WAITING);
	assert_int_equal(small.task.state, TASK_WAITING);
	for (; rc == 0 && n < 300; n += rc == 0) {
		task_init(&many[n].task, on_task, &many[n]);
		rc = task_start(*state, &many[n].task, 10);
	}
	assert_int_equal(rc, -EAGAIN);
	while (n-- > 0)
		assert_true(task_cancel(*state, &many[n].task));
	while (!small.done || !next.done)
		assert_int_equal(loop_once(*state), 0);
	assert_int_equal(large.order, 1);
	assert_int_equal(many[0].inside, false);
}

static void on_freed(void *arg)
{
	((struct sum *)arg)->freed++;
}

/* What a task may have borrowed outlives it, and nothing else does. */
static void test_task_retire(void **state)
{
	struct sum s = {0};

	loop_retire(*state, on_freed, &s);
	start_task(*state, &s, 1000);
	loop_bury(*state);
	assert_int_equal(s.freed, 1); /* it was given up before the task began */
	loop_retire(*state, on_freed, &s);
	breath_outlive(on_freed, &s);
	while (!s.done) {
		assert_int_equal(s.freed, 1);
		assert_int_equal(loop_once(*state), 0);
	}
	assert_int_equal(s.freed, 3);
	loop_retire(*state, on_freed, &s);
	assert_int_equal(s.freed, 3);
	loop_bury(*state);
	assert_int_equal(s.freed, 4);
}

static void on_freed_slowly(void *arg)
{
	mono_t start = mono_now();

	while (mono_sub(mono_now(), start) < 20)
		;
	on_freed(arg);
}

/* However much is retired in a turn and however long freeing it takes, no heap of it grows. */
static void test_retired_goes(void **state)
{
	struct sum s = {0};

	for (int turn = 1; turn <= 20; turn++) {
		for (int i = 0; i < 100; i++)
			loop_retire(*state, on_freed_slowly, &s);
		loop_bury(*state);
		assert_int_equal(s.freed, turn * 100);
	}
}

/* 200,000 values nested 200 deep: as deep as a stack has to be, freed by a task. */
static json_t *large_value(void)
{
	auto_strbuf b = {0};

	strbuf_addc(&b, '[');
	for (int i = 0; i < 1000; i++) {
		strbuf_adds(&b, i ? "," : "");
		for (int d = 0; d < 200; d++)
			strbuf_adds(&b, "[");
		for (int d = 0; d < 200; d++)
			strbuf_adds(&b, "]");
	}
	strbuf_addc(&b, ']');
	return json_parse(b.s, b.len, NULL);
}

struct values {
	struct task task;
	json_t *a, *b;
	bool same, done;
};

static void on_values(void *arg)
{
	struct values *v = arg;

	v->a = large_value();
	v->b = json_deep_copy(v->a);
	v->same = json_same(v->a, v->b);
	v->done = true;
}

static void test_task_values(void **state)
{
	struct values v = {0};
	int turns = 0;

	task_init(&v.task, on_values, &v);
	assert_int_equal(task_start(*state, &v.task, 1), 0);
	for (; !v.done; turns++)
		assert_int_equal(loop_once(*state), 0);
	assert_true(turns > 5);
	assert_true(v.same);
	assert_int_equal(json_array_size(v.b), 1000);
	loop_discard(*state, v.a);
	loop_bury(*state);
	for (turns = 0; turns < 3; turns++)
		turn(*state);
	loop_discard(*state, v.b);
	loop_bury(*state);
	tasks_finish(*state);
	assert_true(json_values_size() <= (64U << 10)); /* it has all gone back */
	json_auto_t *last = NULL;

	loop_discard(*state, json_deep_copy(last = large_value())); /* teardown frees it */
	start_task(*state, &(struct sum){0}, 1);
	tasks_finish(*state);
}

static void test_turns(void **state)
{
	json_auto_t *rows = json_array(), *again = json_array();

	turn(*state);
	compute(mono_add(mono_now(), 3 * USEC_PER_MSEC));
	loop_bury(*state);
	loop_show_turns(*state, rows);
	assert_true(json_int(json_array_get(rows, 1), "longest us", 0) > 500);
	assert_true(json_int(json_array_get(rows, 0), "turns", 0) >= 1);
	loop_show_turns(*state, again);
	assert_int_equal(json_int(json_array_get(again, 1), "turns", -1), 0);
	assert_int_equal(json_int(json_array_get(again, 0), "longest us", 0),
			 json_int(json_array_get(rows, 0), "longest us", -1));
}

struct ended {
	bool done;
	int status;
};

static void on_end(void *arg, int status)
{
	struct ended *e = arg;

	e->done = true;
	e->status = status;
}

static void test_child(void **state)
{
	struct loop *loop = *state;
	int p[2];
	char buf[64] = "";
	struct ended e = {0};
	auto_err err = {0};
	const char *argv[] = {"sh", "-c", "echo $X; ls /proc/self/fd | wc -l; exit 3", NULL};
	const char *envp[] = {"X=hello", "PATH=/usr/bin:/bin", NULL};
	struct child_fd map = {0, 1};
	struct child_config c = {.argv = argv, .envp = envp, .fds = &map, .n_fds = 1};

	assert_int_equal(pipe2(p, 0),
			 0); /* not CLOEXEC: the child must not get them all the same */
	map.parent = p[1];
	assert_non_null(child_spawn(loop, &c, on_end, &e, &err));
	close(p[1]);
	assert_int_equal(loop_run_until(loop, &e.done, LIMIT), 0);
	assert_true(WIFEXITED(e.status));
	assert_int_equal(WEXITSTATUS(e.status), 3);
	assert_true(read(p[0], buf, sizeof(buf) - 1) > 0);
	assert_string_equal(buf, "hello\n4\n"); /* 0 1 2 and ls' own */
	close(p[0]);

	argv[0] = "/nonexistent/program";
	c.n_fds = 0;
	assert_null(child_spawn(loop, &c, on_end, &e, &err));
	assert_non_null(strstr(err.message, "No such file"));
}

static void test_child_kill_and_pidwatch(void **state)
{
	struct loop *loop = *state;
	const char *argv[] = {"sleep", "1000", NULL};
	struct child_config c = {.argv = argv, .die_with_us = true};
	struct ended e = {0};
	bool gone = false;
	struct child *child = child_spawn(loop, &c, on_end, &e, NULL);
	struct pidwatch *w = pidwatch_new(loop, child_pid(child), set_flag, &gone);

	assert_non_null(w);
	assert_int_equal(pidwatch_kill(w, 0), 0);
	assert_int_equal(child_kill(child, SIGTERM), 0);
	assert_int_equal(loop_run_until(loop, &e.done, LIMIT), 0);
	assert_int_equal(WTERMSIG(e.status), SIGTERM);
	assert_int_equal(loop_run_until(loop, &gone, LIMIT), 0);
	assert_int_equal(pidwatch_kill(w, 0), -ESRCH);
	pidwatch_free(w);
}

static void on_signal(void *arg, int signo)
{
	assert_int_equal(signo, SIGUSR2);
	set_flag(arg);
}

static void test_signal(void **state)
{
	bool got = false;
	struct sig *s = sig_new(*state, SIGUSR2, on_signal, &got);

	raise(SIGUSR2);
	assert_int_equal(loop_run_until(*state, &got, LIMIT), 0);
	sig_free(s);
}

static void test_addr(void **state UNUSED)
{
	static const char *const good[] = {"127.0.0.1:80", "[::1]:6443", "/run/x.sock"};
	static const char *const bad[] = {"",	    "80", "127.0.0.1", "1.2.3:80", "1.2.3.4:65536",
					  "[::1:80"};
	char text[ADDR_TEXT_MAX];
	struct addr a;

	for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
		assert_int_equal(addr_parse(good[i], &a), 0);
		assert_string_equal(addr_format(text, &a), good[i]);
	}
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(addr_parse(bad[i], &a), -EINVAL);
}

/* An echo server and a client that sends more than any buffer holds. */
enum { BULK = 1 << 20 };
struct echo {
	struct loop *loop;
	struct stream *server, *client;
	size_t got;
	bool done, cred, connected;
};

static void server_data(void *arg)
{
	struct echo *e = arg;
	size_t len;
	const char *p = stream_peek(e->server, &len);

	stream_write(e->server, p, len);
	stream_consume(e->server, len);
}

static void server_eof(void *arg)
{
	struct echo *e = arg;

	stream_close(e->server, true, "echoed all");
}

static const struct stream_ops server_ops = {.on_data = server_data, .on_eof = server_eof};

static void client_connect(void *arg)
{
	struct echo *e = arg;
	static char data[BULK];

	e->connected = true;
	memset(data, 'x', sizeof(data));
	stream_write(e->client, data, sizeof(data));
	stream_shutdown(e->client);
}

static void client_data(void *arg)
{
	struct echo *e = arg;
	size_t len;

	stream_peek(e->client, &len);
	e->got += len;
	stream_consume(e->client, len);
}

static void client_close(void *arg, const char *why UNUSED)
{
	struct echo *e = arg;

	e->done = true;
}

static const struct stream_ops client_ops = {
	.on_connect = client_connect, .on_data = client_data, .on_close = client_close};

static void on_accept(void *arg, int fd, const struct addr *peer UNUSED)
{
	struct echo *e = arg;
	pid_t pid;
	uid_t uid;
	gid_t gid;

	e->server = stream_new(e->loop, fd, NULL, true, &server_ops, e);
	e->cred = stream_peer_cred(e->server, &pid, &uid, &gid) == 0 && pid == getpid();
}

static void echo_over(struct loop *loop, const char *address, bool *cred)
{
	struct echo e = {.loop = loop};
	struct listener_config c = {.unix_mode = 0660, .unix_gid = (gid_t)-1};
	struct listener *l;
	struct addr bound;
	auto_err err = {0};

	assert_int_equal(addr_parse(address, &c.addr), 0);
	l = listener_new(loop, &c, on_accept, &e, &err);
	assert_non_null(l);
	assert_int_equal(listener_addr(l, &bound), 0);
	if (*address != '/') /* asking whether a unix socket is in use would connect to it */
		assert_null(listener_new(loop, &(struct listener_config){.addr = bound}, on_accept,
					 &e, &err));
	e.client = stream_connect(loop, &bound, NULL, NULL, &client_ops, &e, &err);
	assert_non_null(e.client);
	assert_int_equal(loop_run_until(loop, &e.done, LIMIT), 0);
	assert_true(e.connected);
	assert_int_equal(e.got, BULK);
	*cred = e.cred;
	listener_free(l);
	loop_bury(loop);
}

static void test_stream(void **state)
{
	char dir[] = "/tmp/coracle-loop-XXXXXX";
	auto_free char *path = NULL;
	bool cred;

	echo_over(*state, "127.0.0.1:0", &cred);
	assert_false(cred);
	assert_non_null(mkdtemp(dir));
	path = path_join(dir, "sock");
	echo_over(*state, path, &cred);
	assert_true(cred);
	assert_int_equal(access(path, F_OK), -1);
	rmdir(dir);
}

static const struct stream_ops idle_ops = {.on_data = NULL};

/* An owner that leaves its input alone stops the peer, and the loop turns and rests all the same.
 */
static void test_unread(void **state)
{
	auto_free char *data = xcalloc(1, BULK);
	size_t sent = 0, len;
	int fds[2], refused = 0;

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds),
			 0);
	struct stream *s = stream_new(*state, fds[1], NULL, true, &idle_ops, NULL);
	auto_fd int fd = fds[0];

	while (refused < 20) {
		ssize_t n = sent < BULK ? write(fd, data, BULK - sent) : 0;
		bool turned = false;
		struct timer *t = timer_new(*state, set_flag, &turned);

		sent += n > 0 ? (size_t)n : 0;
		refused = n > 0 ? 0 : refused + 1;
		timer_arm(t, USEC_PER_MSEC);
		assert_int_equal(loop_run_until(*state, &turned, LIMIT), 0);
		timer_free(t);
	}
	assert_true(sent < BULK);
	assert_true(stream_in_len(s) <= 64 * 1024);
	/* Taking it starts the flow again. */
	stream_peek(s, &len);
	stream_consume(s, len);
	while (stream_in_len(s) == 0)
		assert_int_equal(loop_once(*state), 0);
	stream_close(s, false, "test ends");
}

static void test_connect_refused(void **state)
{
	struct echo e = {.loop = *state};
	struct addr a;

	assert_int_equal(addr_parse("127.0.0.1:1", &a), 0);
	e.client = stream_connect(*state, &a, NULL, NULL, &client_ops, &e, NULL);
	if (e.client)
		assert_int_equal(loop_run_until(*state, &e.done, LIMIT), 0);
	assert_false(e.connected);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_timer, setup, teardown),
		cmocka_unit_test_setup_teardown(test_work, setup, teardown),
		cmocka_unit_test_setup_teardown(test_task_slices, setup, teardown),
		cmocka_unit_test_setup_teardown(test_task_limits, setup, teardown),
		cmocka_unit_test_setup_teardown(test_task_retire, setup, teardown),
		cmocka_unit_test_setup_teardown(test_retired_goes, setup, teardown),
		cmocka_unit_test_setup_teardown(test_task_values, setup, teardown),
		cmocka_unit_test_setup_teardown(test_turns, setup, teardown),
		cmocka_unit_test_setup_teardown(test_child, setup, teardown),
		cmocka_unit_test_setup_teardown(test_child_kill_and_pidwatch, setup, teardown),
		cmocka_unit_test_setup_teardown(test_signal, setup, teardown),
		cmocka_unit_test(test_addr),
		cmocka_unit_test_setup_teardown(test_stream, setup, teardown),
		cmocka_unit_test_setup_teardown(test_unread, setup, teardown),
		cmocka_unit_test_setup_teardown(test_connect_refused, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
