/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Real sandboxes with real containers, once with every OCI runtime installed. The image is one
 * layer with the host's static busybox. Needs root; everything is made below a directory and a
 * cgroup of this test's own and removed again.
 */
#include "test_runtime.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define WAIT_US (20 * USEC_PER_SEC)
#define BUSYBOX "/bin/busybox"
#ifdef __SANITIZE_ADDRESS__
#define SMALL_RSS_KB 100000
#else
#define SMALL_RSS_KB 600
#endif

static char dir[] = "/tmp/coracle-runtime-XXXXXX";
static char cgroup[64];

struct fixture {
	const char *program;
	struct loop *loop;
	struct runtime *rt;
};

/* ---- a pod and what was heard of it --------------------------------------------------------- */

struct seen {
	char id[32];
	bool started, exited;
	pid_t pid;
	struct container_exit exit;
	char message[256];
};

struct pod {
	struct fixture *f;
	struct sandbox *s;
	char id[UUID_LEN];
	bool ready, gone;
	pid_t pid;
	int netns;
	char why[128]; /* it is gone */
	struct seen c[4];
};

static struct seen *seen(struct pod *p, const char *id)
{
	for (size_t i = 0; i < ARRAY_SIZE(p->c); i++)
		if (streq(p->c[i].id, id))
			return &p->c[i];
	for (size_t i = 0; i < ARRAY_SIZE(p->c); i++) {
		if (!p->c[i].id[0]) {
			snprintf(p->c[i].id, sizeof(p->c[i].id), "%s", id);
			return &p->c[i];
		}
	}
	fail_msg("too many containers");
	return NULL;
}

static void on_ready(void *arg, pid_t pid, int netns_fd)
{
	struct pod *p = arg;

	p->ready = true;
	p->pid = pid;
	p->netns = netns_fd;
}

static void on_gone(void *arg, const char *why)
{
	struct pod *p = arg;

	print_message("gone: %s\n", why);
	snprintf(p->why, sizeof(p->why), "%s", why);
	p->gone = true;
	p->s = NULL;
}

static void on_started(void *arg, const char *id, const char *name UNUSED, pid_t pid)
{
	struct seen *c = seen(arg, id);

	c->started = true;
	c->pid = pid;
}

static void on_exited(void *arg, const char *id, const char *name UNUSED,
		      const struct container_exit *x)
{
	struct seen *c = seen(arg, id);

	c->exited = true;
	c->exit = *x;
	snprintf(c->message, sizeof(c->message), "%s", x->message ? x->message : "");
}

static const struct sandbox_ops ops = {on_ready, on_gone, on_started, on_exited};

static void wait_for(struct fixture *f, const bool *flag)
{
	assert_int_equal(loop_run_until(f->loop, flag, WAIT_US), 0);
}

static void pod_start(struct pod *p, struct fixture *f)
{
	auto_err err = {0};
	auto_free char *logs = path_join(dir, "logs");
	const struct sysctl_spec sysctl = {"net.core.somaxconn", "77"};
	struct sandbox_config config = {
		.id = p->id,
		.ns = "default",
		.name = "test",
		.hostname = "boat",
		.sysctls = &sysctl,
		.n_sysctls = 1,
		.log_dir = logs,
		.qos = "Burstable",
		.note = "a note",
	};

	p->f = f;
	random_uuid(p->id);
	p->s = sandbox_start(f->rt, &config, &ops, p, &err);
	if (!p->s)
		fail_msg("%s", err_message(&err));
	wait_for(f, &p->ready);
	assert_true(p->pid > 0 && p->netns >= 0);
}

static void pod_stop(struct pod *p)
{
	if (p->s)
		sandbox_stop(p->s);
	wait_for(p->f, &p->gone);
}

/* Runs `sh -c script` as container id. */
static void run_as(struct pod *p, const char *id, const char *script, struct container_config *c)
{
	auto_err err = {0};
	auto_free char *layer = path_join(dir, "layer");
	auto_free char *write = xasprintf("%s/pods/%s/%s", dir, p->id, id);
	const char *layers[] = {layer};
	const char *argv[] = {"sh", "-c", script, NULL};

	c->id = id;
	c->name = id;
	c->layers = layers;
	c->n_layers = 1;
	c->write_dir = write;
	c->argv = argv;
	if (container_start(p->s, c, &err) < 0)
		fail_msg("%s", err_message(&err));
}

static void run(struct pod *p, const char *id, const char *script)
{
	struct container_config c = {.seccomp_unconfined = true};

	run_as(p, id, script, &c);
}

static char *log_of(const char *id)
{
	auto_free char *path = xasprintf("%s/logs/%s/0.log", dir, id);
	char *text = NULL;

	assert_int_equal(file_read(path, 1 << 20, &text, NULL), 0);
	return text;
}

static bool alive(pid_t pid)
{
	auto_free char *path = xasprintf("/proc/%d/stat", (int)pid);
	auto_free char *text = NULL;

	if (file_read(path, 4096, &text, NULL) < 0)
		return false;
	const char *after_name = strrchr(text, ')');
	return after_name && after_name[2] != 'Z'; /* its new parent may take its time */
}

/* ---- exec -------------------------------------------------------------------------------- */

struct run {
	struct strbuf out;
	struct strbuf err;
	struct io *io[2];
	int fd[3];
	struct loop *loop;
	int code;
	bool started, ended, timed_out, complete;
	char message[256];
	size_t open;
};

static void run_check(struct run *r)
{
	r->complete = r->ended && r->open == 0;
}

static void run_read(struct run *r, int which, struct strbuf *to)
{
	char buf[4096];
	ssize_t n = read(r->fd[1 + which], buf, sizeof(buf));

	if (n > 0) {
		strbuf_add(to, buf, (size_t)n);
	} else if (n == 0 || errno != EAGAIN) {
		io_free(r->io[which]);
		r->io[which] = NULL;
		r->fd[1 + which] = fd_close(r->fd[1 + which]);
		r->open--;
		run_check(r);
	}
}

static void on_out(void *arg, int fd UNUSED, unsigned what UNUSED)
{
	struct run *r = arg;

	run_read(r, 0, &r->out);
}

static void on_err(void *arg, int fd UNUSED, unsigned what UNUSED)
{
	struct run *r = arg;

	run_read(r, 1, &r->err);
}

static void on_start(void *arg, int in, int out, int err)
{
	struct run *r = arg;

	r->started = true;
	r->fd[0] = in;
	r->fd[1] = out;
	r->fd[2] = err;
	if (out >= 0)
		r->io[0] = io_new(r->loop, out, IO_READ, on_out, r);
	if (err >= 0)
		r->io[1] = io_new(r->loop, err, IO_READ, on_err, r);
	r->open = (out >= 0) + (err >= 0);
}

static void on_end(void *arg, int code, bool timed_out, const char *message)
{
	struct run *r = arg;

	r->ended = true;
	r->code = code;
	r->timed_out = timed_out;
	snprintf(r->message, sizeof(r->message), "%s", message ? message : "");
	run_check(r);
}

static const struct exec_ops exec_ops = {on_start, on_end};

static void run_done(struct run *r)
{
	io_free(r->io[0]);
	io_free(r->io[1]);
	for (int i = 0; i < 3; i++)
		fd_close(r->fd[i]);
	strbuf_done(&r->out);
	strbuf_done(&r->err);
}

static void exec_begin(struct pod *p, const char *id, const char *const *argv,
		       struct exec_config config, struct run *r)
{
	auto_err err = {0};

	*r = (struct run){.fd = {-1, -1, -1}, .loop = p->f->loop};
	config.argv = argv;
	if (!container_exec(p->s, id, &config, &exec_ops, r, &err))
		fail_msg("%s", err_message(&err));
}

/* ---- tests ------------------------------------------------------------------------------- */

static void test_container(void **state)
{
	struct fixture *f = *state;
	struct pod p = {0};
	struct cgroup_stats stats;

	pod_start(&p, f);
	run(&p, "c1",
	    "echo out; echo err >&2; hostname; cat /proc/sys/net/core/somaxconn; "
	    "printf part; touch /x; exit 3");
	wait_for(f, &seen(&p, "c1")->exited);
	struct seen *c = seen(&p, "c1");
	if (c->exit.end == END_START_FAILED)
		fail_msg("%s", c->message);
	assert_true(c->started);
	assert_int_equal(c->exit.end, END_EXITED);
	assert_int_equal(c->exit.code, 3);
	assert_true(c->exit.finished_at.tv_sec >= c->exit.started_at.tv_sec);
	auto_free char *log = log_of("c1");
	assert_non_null(strstr(log, " stdout F out\n"));
	assert_non_null(strstr(log, " stderr F err\n"));
	assert_non_null(strstr(log, " stdout F boat\n"));
	assert_non_null(strstr(log, " stdout F 77\n"));
	assert_non_null(strstr(log, " stdout P part\n"));
	auto_free char *written = xasprintf("%s/pods/%s/c1/upper/x", dir, p.id);
	assert_int_equal(access(written, F_OK), 0);

	run(&p, "c2", "exec sleep 1000");
	wait_for(f, &seen(&p, "c2")->started);
	assert_int_equal(sandbox_stats(p.s, "c2", &stats), 0);
	assert_true(stats.pids >= 1 || !strstr(runtime_cgroup_controllers(f->rt), "pids"));
	assert_int_equal(sandbox_stats(p.s, NULL, &stats), 0);
	container_remove(p.s, "c1");
	assert_int_equal(container_kill(p.s, "c1", SIGKILL), -ESRCH);
	assert_int_equal(container_kill(p.s, "c2", SIGKILL), 0);
	wait_for(f, &seen(&p, "c2")->exited);
	assert_int_equal(seen(&p, "c2")->exit.end, END_SIGNALED);
	assert_int_equal(seen(&p, "c2")->exit.code, 137);
	pod_stop(&p);
}

static void test_start_fails(void **state)
{
	struct fixture *f = *state;
	struct pod p = {0};
	struct container_config c = {.seccomp_unconfined = true};
	auto_free char *layer = path_join(dir, "layer");
	auto_free char *write = xasprintf("%s/w", dir);
	const char *layers[] = {layer};
	const char *argv[] = {"no-such-program", NULL};
	auto_err err = {0};

	pod_start(&p, f);
	c = (struct container_config){.id = "bad",
				      .name = "bad",
				      .layers = layers,
				      .n_layers = 1,
				      .write_dir = write,
				      .argv = argv};
	assert_int_equal(container_start(p.s, &c, &err), 0);
	wait_for(f, &seen(&p, "bad")->exited);
	assert_int_equal(seen(&p, "bad")->exit.end, END_START_FAILED);
	assert_non_null(strstr(seen(&p, "bad")->message, "no-such-program"));
	layers[0] = "/nonexistent/layer";
	c.id = "bad2";
	assert_int_equal(container_start(p.s, &c, &err), 0);
	wait_for(f, &seen(&p, "bad2")->exited);
	assert_non_null(strstr(seen(&p, "bad2")->message, "/nonexistent/layer"));
	pod_stop(&p);
}

/* The default seccomp profile lets a shell live, and forbids what it should. */
static void test_confined(void **state)
{
	struct fixture *f = *state;
	struct pod p = {0};
	struct container_config c = {.read_only_root = true,
				     .no_new_privs = true,
				     .uid = 1000,
				     .gid = 1000,
				     .limits = {.memory_limit = 64 << 20,
						.cpu_limit = 500,
						.cpu_request = 100,
						.pids_limit = 50}};
	const struct mount_spec mount = {
		.target = "/scratch", .flags = MOUNT_TMPFS, .size = 1 << 20};

	c.mounts = &mount;
	c.n_mounts = 1;
	pod_start(&p, f);
	run_as(&p, "c1",
	       "id -u; touch /x 2>/dev/null || echo readonly; touch /scratch/x && echo ok; "
	       "unshare -U true 2>/dev/null || echo forbidden; "
	       "grep Seccomp: /proc/self/status; echo $PATH | cut -c1-5",
	       &c);
	wait_for(f, &seen(&p, "c1")->exited);
	assert_string_equal(seen(&p, "c1")->message, "");
	auto_free char *log = log_of("c1");
	assert_non_null(strstr(log, " F 1000\n"));
	assert_non_null(strstr(log, " F readonly\n"));
	assert_non_null(strstr(log, " F ok\n"));
	assert_non_null(strstr(log, " F forbidden\n"));
	assert_non_null(strstr(log, " F Seccomp:\t2\n"));
	assert_non_null(strstr(log, " F /usr/\n"));
	pod_stop(&p);
}

static void test_oom(void **state)
{
	struct fixture *f = *state;
	struct pod p = {0};
	struct container_config c = {.seccomp_unconfined = true,
				     .limits = {.memory_limit = 16 << 20}};

	if (!strstr(runtime_cgroup_controllers(f->rt), "memory"))
		skip();
	pod_start(&p, f);
	run_as(&p, "c1", "x=0123456789abcdef; while :; do x=$x$x; done", &c);
	wait_for(f, &seen(&p, "c1")->exited);
	assert_int_equal(seen(&p, "c1")->exit.end, END_OOM);
	assert_int_equal(seen(&p, "c1")->exit.code, 137);
	pod_stop(&p);
}

static void test_exec(void **state)
{
	struct fixture *f = *state;
	struct pod p = {0};
	struct run r;
	const char *const script[] = {"sh", "-c", "cat; echo $X >&2; exit 5", NULL};
	const char *const env[] = {"X=extra", NULL};
	const char *const missing[] = {"no-such-program", NULL};
	const char *const sleeper[] = {"sleep", "1000", NULL};

	pod_start(&p, f);
	run(&p, "c1", "exec sleep 1000");
	wait_for(f, &seen(&p, "c1")->started);
	exec_begin(
		&p, "c1", script,
		(struct exec_config){
			.envp = env, .want_stdin = true, .want_stdout = true, .want_stderr = true},
		&r);
	wait_for(f, &r.started);
	assert_int_equal(write(r.fd[0], "hello\n", 6), 6);
	r.fd[0] = fd_close(r.fd[0]);
	wait_for(f, &r.complete);
	assert_string_equal(r.out.s, "hello\n");
	assert_string_equal(r.err.s, "extra\n");
	assert_int_equal(r.code, 5);
	run_done(&r);

	exec_begin(&p, "c1", missing, (struct exec_config){.want_stdout = true}, &r);
	wait_for(f, &r.ended);
	assert_true(r.code < 0);
	assert_non_null(strstr(r.message, "no-such-program"));
	run_done(&r);

	exec_begin(&p, "c1", sleeper,
		   (struct exec_config){.want_stdout = true, .timeout_us = 300 * USEC_PER_MSEC},
		   &r);
	wait_for(f, &r.complete); /* the pipe closes: the process really is dead */
	assert_true(r.timed_out);
	run_done(&r);
	pod_stop(&p);
}

static void test_exec_tty(void **state)
{
	struct fixture *f = *state;
	struct pod p = {0};
	struct run r;
	auto_err err = {0};
	const char *const script[] = {"sh", "-c", "tty; read x; stty size; echo got $x; exit 7",
				      NULL};
	struct exec_config config = {
		.argv = script, .tty = true, .want_stdin = true, .want_stdout = true};

	pod_start(&p, f);
	run(&p, "c1", "exec sleep 1000");
	wait_for(f, &seen(&p, "c1")->started);
	r = (struct run){.fd = {-1, -1, -1}, .loop = f->loop};
	struct exec *e = container_exec(p.s, "c1", &config, &exec_ops, &r, &err);
	assert_non_null(e);
	wait_for(f, &r.started);
	exec_resize(e, 91, 33);
	assert_int_equal(write(r.fd[0], "line\n", 5), 5);
	wait_for(f, &r.complete);
	assert_int_equal(r.code, 7);
	assert_non_null(strstr(r.out.s, "/dev/pts/"));
	assert_non_null(strstr(r.out.s, "33 91"));
	assert_non_null(strstr(r.out.s, "got line\r\n"));
	run_done(&r);
	pod_stop(&p);
}

static void test_attach(void **state)
{
	struct fixture *f = *state;
	struct pod p = {0};
	struct container_config c = {
		.seccomp_unconfined = true, .stdin_open = true, .stdin_once = true};
	struct exec_config config = {.want_stdin = true, .want_stdout = true, .want_stderr = true};
	struct run r = {.fd = {-1, -1, -1}, .loop = f->loop};
	auto_err err = {0};

	pod_start(&p, f);
	run_as(&p, "c1", "while read x; do echo \"<$x>\"; echo e >&2; done; exit 4", &c);
	wait_for(f, &seen(&p, "c1")->started);
	assert_non_null(container_attach(p.s, "c1", &config, &exec_ops, &r, &err));
	wait_for(f, &r.started);
	assert_int_equal(write(r.fd[0], "a\nb\n", 4), 4);
	r.fd[0] = fd_close(r.fd[0]);
	wait_for(f, &r.complete);
	wait_for(f, &seen(&p, "c1")->exited);
	assert_string_equal(r.out.s, "<a>\n<b>\n");
	assert_string_equal(r.err.s, "e\ne\n");
	assert_int_equal(r.code, 4);
	assert_int_equal(seen(&p, "c1")->exit.code, 4);
	auto_free char *log = log_of("c1");
	assert_non_null(strstr(log, " stdout F <b>\n"));
	run_done(&r);

	/* With a terminal of its own. */
	c = (struct container_config){.seccomp_unconfined = true, .stdin_open = true, .tty = true};
	run_as(&p, "c2", "read x; echo \"($x)\"; stty size; exit 6", &c);
	wait_for(f, &seen(&p, "c2")->started);
	r = (struct run){.fd = {-1, -1, -1}, .loop = f->loop};
	config = (struct exec_config){.tty = true, .want_stdin = true, .want_stdout = true};
	struct exec *e = container_attach(p.s, "c2", &config, &exec_ops, &r, &err);
	assert_non_null(e);
	exec_resize(e, 80, 25);
	wait_for(f, &r.started);
	assert_int_equal(write(r.fd[0], "t\n", 2), 2);
	wait_for(f, &r.complete);
	assert_non_null(strstr(r.out.s, "(t)\r\n25 80\r\n"));
	assert_int_equal(r.code, 6);
	run_done(&r);
	pod_stop(&p);
}

static void test_log_rotation(void **state)
{
	struct fixture *f = *state;
	struct pod p = {0};
	struct container_config c = {.seccomp_unconfined = true, .log_max_bytes = 64 * 1024};
	auto_free char *now = path_join(dir, "logs/big/0.log");
	auto_free char *older = path_join(dir, "logs/big/0.log.1");
	struct stat st, st1;

	pod_start(&p, f);
	run_as(&p, "big", "seq 1 40000; head -c 40000 /dev/zero | tr '\\0' x; echo; echo last", &c);
	wait_for(f, &seen(&p, "big")->exited);
	assert_int_equal(stat(now, &st), 0);
	assert_int_equal(stat(older, &st1), 0);
	assert_true(st.st_size <= 64 * 1024 && st1.st_size <= 64 * 1024);
	auto_free char *log = log_of("big");
	assert_non_null(strstr(log, " stdout F last\n"));
	for (char *line = log, *nl; (nl = strchr(line, '\n')); line = nl + 1)
		assert_true(nl - line < 16 * 1024 + 64);
	pod_stop(&p);
}

static void test_share_pid(void **state)
{
	struct fixture *f = *state;
	struct pod p = {.f = f};
	auto_err err = {0};
	auto_free char *logs = path_join(dir, "logs");
	struct sandbox_config config = {.id = p.id,
					.ns = "default",
					.name = "shared",
					.log_dir = logs,
					.share_process_ns = true};

	random_uuid(p.id);
	p.s = sandbox_start(f->rt, &config, &ops, &p, &err);
	assert_non_null(p.s);
	wait_for(f, &p.ready);
	run(&p, "s1", "exec sleep 1000");
	wait_for(f, &seen(&p, "s1")->started);
	run(&p, "s2",
	    "cat /proc/1/comm; pidof sleep >/dev/null && echo sees; "
	    "sleep 2000 & exit 9");
	wait_for(f, &seen(&p, "s2")->exited);
	assert_int_equal(seen(&p, "s2")->exit.code, 9);
	auto_free char *log = log_of("s2");
	assert_non_null(strstr(log, " F pause\n"));
	assert_non_null(strstr(log, " F sees\n"));
	pod_stop(&p);
}

/* ---- the daemon dies, the sandbox dies ----------------------------------------------------- */

static struct runtime *runtime_open(struct loop *loop, const char *program)
{
	auto_err err = {0};
	auto_free char *run_dir = path_join(dir, "run");
	struct runtime_config config = {.run_dir = run_dir,
					.state_dir = dir,
					.runtime = program,
					.sandbox_path = SANDBOX_PROGRAM,
					.cgroup_name = cgroup};
	struct runtime *rt = runtime_new(loop, &config, &err);

	if (!rt)
		fail_msg("%s", err_message(&err));
	return rt;
}

/* A daemon that starts a pod with two containers, says so, and waits to be killed. */
static pid_t fork_daemon(struct fixture *f, struct pod *p, int *pipe_end)
{
	int fds[2];
	pid_t pid;

	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	pid = fork();
	if (pid != 0) {
		close(fds[1]);
		*pipe_end = fds[0];
		return pid;
	}
	struct loop *loop = loop_new();
	struct fixture own = {.program = f->program, .loop = loop};
	own.rt = runtime_open(loop, f->program);
	pod_start(p, &own);
	run(p, "lives", "while :; do sleep 0.05; done");
	wait_for(&own, &seen(p, "lives")->started);
	run(p, "ends", "while [ ! -e /go ]; do sleep 0.01; done; echo over; exit 42");
	wait_for(&own, &seen(p, "ends")->started);
	if (write(fds[1], p, sizeof(*p)) != (ssize_t)sizeof(*p))
		_exit(1);
	for (;;)
		pause();
}

struct adopted {
	struct pod *p;
	bool done;
	unsigned running, ended;
};

static void on_adopt(void *arg, struct sandbox *s, const char *id, const char *note,
		     const struct adopted_container *list, size_t n)
{
	struct adopted *a = arg;

	assert_string_equal(note, "a note");
	assert_string_equal(id, a->p->id);
	for (size_t i = 0; i < n; i++) {
		struct seen *c = seen(a->p, list[i].id);
		a->running += list[i].running;
		a->ended += !list[i].running;
		c->exited = !list[i].running;
		c->exit = list[i].exit;
	}
	a->p->s = s;
	sandbox_set_owner(s, &ops, a->p);
}

static void on_adopted(void *arg)
{
	struct adopted *a = arg;

	a->done = true;
}

static void test_adoption(void **state)
{
	struct fixture *f = *state;
	struct pod p = {0};
	struct adopted a = {.p = &p};
	auto_fd int end = -1;
	pid_t daemon_pid = fork_daemon(f, &p, &end);

	assert_int_equal(read(end, &p, sizeof(p)), sizeof(p));
	kill(daemon_pid, SIGKILL);
	waitpid(daemon_pid, NULL, 0);
	p.f = f;
	p.s = NULL;
	assert_true(alive(p.pid));
	/* One ends while no daemon is there. */
	pid_t ends = seen(&p, "ends")->pid;
	auto_free char *go_in = xasprintf("/proc/%d/root/go", (int)ends);
	auto_free char *record = xasprintf("%s/run/sandbox/%s/ends/exit", dir, p.id);
	fd_close(open(go_in, O_CREAT | O_WRONLY | O_CLOEXEC, 0644));
	for (int i = 0; i < 2000 && access(record, F_OK) < 0; i++)
		poll(NULL, 0, 5);
	assert_int_equal(access(record, F_OK), 0);

	runtime_adopt(f->rt, on_adopt, on_adopted, &a);
	wait_for(f, &a.done);
	assert_int_equal(a.running, 1);
	assert_int_equal(a.ended, 1);
	assert_int_equal(seen(&p, "ends")->exit.code, 42);
	auto_free char *log = log_of("ends");
	assert_non_null(strstr(log, " F over\n"));
	/* It can be used as before. */
	struct run r;
	const char *const argv[] = {"echo", "hi", NULL};
	exec_begin(&p, "lives", argv, (struct exec_config){.want_stdout = true}, &r);
	wait_for(f, &r.complete);
	assert_string_equal(r.out.s, "hi\n");
	run_done(&r);
	assert_int_equal(container_kill(p.s, "lives", SIGTERM), 0);
	assert_int_equal(container_kill(p.s, "lives", SIGKILL), 0);
	wait_for(f, &seen(&p, "lives")->exited);
	pod_stop(&p);
}

/* Killed sandbox: its containers die, its cgroup and directory go, and the id can be used again. */
static void test_sandbox_killed(void **state)
{
	struct fixture *f = *state;
	struct pod p = {0};
	char id[UUID_LEN];

	pod_start(&p, f);
	run(&p, "c1", "exec sleep 1000");
	wait_for(f, &seen(&p, "c1")->started);
	pid_t container = seen(&p, "c1")->pid;
	memcpy(id, p.id, sizeof(id));
	assert_true(alive(container));
	kill(p.pid, SIGKILL);
	wait_for(f, &p.gone);
	for (int i = 0; i < 1000 && alive(container); i++)
		poll(NULL, 0, 5);
	assert_false(alive(container));
	auto_free char *left = xasprintf("%s/run/sandbox/%s", dir, id);
	assert_int_equal(access(left, F_OK), -1);
}

/* Cuts every connection to a sandbox that this process has. */
static void cut_links(void)
{
	for (int fd = 3; fd < 256; fd++) {
		int type = 0;
		socklen_t len = sizeof(type);

		if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) == 0 && type == SOCK_SEQPACKET)
			shutdown(fd, SHUT_RDWR);
	}
}

/* A connection lost while the sandbox stops takes no time off what it may take: an ending sandbox
 * closes its socket some time before its process is gone. */
static void stop_with_cut_link(struct fixture *f, bool cut_before)
{
	struct pod p = {0};

	pod_start(&p, f);
	run(&p, "c1", "exec sleep 1000");
	wait_for(f, &seen(&p, "c1")->started);
	assert_int_equal(kill(p.pid, SIGSTOP), 0); /* slow */
	if (cut_before) {
		cut_links();
		loop_once(f->loop);
	}
	sandbox_stop(p.s);
	if (!cut_before)
		cut_links();
	assert_int_equal(loop_run_until(f->loop, &p.gone, 300 * USEC_PER_MSEC), -ETIMEDOUT);
	assert_int_equal(kill(p.pid, SIGCONT), 0);
	wait_for(f, &p.gone);
	assert_string_equal(p.why, "the sandbox ended (status 0x0)");
	assert_true(seen(&p, "c1")->exited);
	assert_int_equal(seen(&p, "c1")->exit.code, 137);
}

static void test_stop_without_link(void **state)
{
	stop_with_cut_link(*state, false);
	stop_with_cut_link(*state, true);
}

/* A dead one found at adoption is cleaned away; a live one that nobody wants is stopped. */
static void on_adopt_none(void *arg UNUSED, struct sandbox *s UNUSED, const char *id UNUSED,
			  const char *note UNUSED, const struct adopted_container *list UNUSED,
			  size_t n UNUSED)
{
}

static void test_adoption_of_none(void **state)
{
	struct fixture *f = *state;
	struct pod p = {0};
	struct adopted a = {.p = &p};
	auto_fd int end = -1;
	auto_free char *dead = path_join(dir, "run/sandbox/dead");
	pid_t daemon_pid = fork_daemon(f, &p, &end);

	assert_int_equal(read(end, &p, sizeof(p)), sizeof(p));
	kill(daemon_pid, SIGKILL);
	waitpid(daemon_pid, NULL, 0);
	assert_int_equal(mkdir(dead, 0700), 0);
	runtime_adopt(f->rt, on_adopt_none, on_adopted, &a);
	wait_for(f, &a.done);
	assert_int_equal(access(dead, F_OK), -1);
	auto_free char *left = xasprintf("%s/run/sandbox/%s", dir, p.id);
	for (int i = 0; i < 2000 && access(left, F_OK) == 0; i++)
		loop_once(f->loop);
	assert_int_equal(access(left, F_OK), -1);
}

static void test_sigterm(void **state)
{
	struct fixture *f = *state;
	struct pod p = {0};

	pod_start(&p, f);
	auto_free char *set = xasprintf("%s/pods/%s/c1/upper/set", dir, p.id);
	run(&p, "c1", "trap 'exit 0' TERM; touch /set; while :; do sleep 0.02; done");
	wait_for(f, &seen(&p, "c1")->started);
	for (int i = 0; i < 2000 && access(set, F_OK) < 0; i++)
		poll(NULL, 0, 5);
	kill(p.pid, SIGTERM);
	wait_for(f, &p.gone);
	assert_int_equal(seen(&p, "c1")->exit.code, 0);
}

/* ---- speed and size ------------------------------------------------------------------------- */

static unsigned long smaps(pid_t pid, const char *key)
{
	auto_free char *path = xasprintf("/proc/%d/smaps_rollup", (int)pid);
	auto_free char *text = NULL;

	assert_int_equal(file_read(path, 8192, &text, NULL), 0);
	return strtoul(strstr(text, key) + strlen(key), NULL, 10);
}

/* An idle sandbox, a moment after it worked: DESIGN's goal is 0.8 MB and 0.15 MB. */
static void check_size(pid_t pid)
{
	unsigned long rss = 0, anonymous;

	for (int i = 0; i < 400; i++) {
		rss = smaps(pid, "Rss:");
		if (rss <= SMALL_RSS_KB)
			break;
		poll(NULL, 0, 10);
	}
	anonymous = smaps(pid, "Anonymous:");
	print_message("sandbox: Rss %lu kB, Pss %lu kB, Anonymous %lu kB\n", rss,
		      smaps(pid, "Pss:"), anonymous);
#ifndef __SANITIZE_ADDRESS__
	assert_true(rss <= 800);
	assert_true(anonymous <= 150);
#endif
}

static void test_figures(void **state)
{
	struct fixture *f = *state;
	uint64_t start_us[8], ready_us[8];

	for (size_t i = 0; i < ARRAY_SIZE(start_us); i++) {
		struct pod p = {0};
		mono_t t0 = mono_now();
		pod_start(&p, f);
		mono_t t1 = mono_now();
		run(&p, "c1", "exec sleep 1000");
		wait_for(f, &seen(&p, "c1")->started);
		ready_us[i] = mono_sub(t1, t0);
		start_us[i] = mono_sub(mono_now(), t1);
		if (i == 0)
			check_size(p.pid);
		pod_stop(&p);
	}
	for (size_t i = 0; i < ARRAY_SIZE(start_us); i++)
		print_message("%s: ready %.1f ms, running %.1f ms later\n", f->program,
			      (double)ready_us[i] / 1000, (double)start_us[i] / 1000);
}

/* ---- frame -------------------------------------------------------------------------------- */

static int make_layer(void)
{
	static const char *const applets[] = {"sh",  "cat",  "echo", "sleep", "hostname", "touch",
					      "id",  "grep", "cut",  "seq",   "head",	  "tr",
					      "tty", "stty", "true", "pidof", "unshare"};
	static const char *const dirs[] = {"layer",	"layer/bin", "layer/proc",
					   "layer/dev", "layer/sys", "layer/etc"};
	auto_free char *bin = path_join(dir, "layer/bin");
	auto_free char *text = NULL;
	size_t len;

	for (size_t i = 0; i < ARRAY_SIZE(dirs); i++) {
		auto_free char *path = path_join(dir, dirs[i]);
		if (mkdir(path, 0755) < 0)
			return -1;
	}
	auto_free char *copy = path_join(bin, "busybox");
	if (file_read(BUSYBOX, 8 << 20, &text, &len) < 0 ||
	    file_write_atomic(copy, text, len, 0755, false) < 0)
		return -1;
	for (size_t i = 0; i < ARRAY_SIZE(applets); i++) {
		auto_free char *path = path_join(bin, applets[i]);
		if (symlink("busybox", path) < 0)
			return -1;
	}
	return 0;
}

static int setup(void **state)
{
	struct fixture *f = *state;

	f->loop = loop_new();
	f->rt = runtime_open(f->loop, f->program);
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	runtime_free(f->rt);
	loop_free(f->loop);
	return 0;
}

/* Nothing may be left: the library removes all that it, or the OCI runtime, made. */
static void test_nothing_left(void **state)
{
	struct fixture *f = *state;
	auto_free char *command =
		xasprintf("! find /sys/fs/cgroup -path '*/%s*' -type d | grep .", cgroup);

	runtime_free(steal_ptr(f->rt));
	assert_int_equal(system(command), 0);
}

int main(void)
{
	static const char *const programs[] = {"crun", "runc"};
	int failed = 0;

	if (geteuid() != 0 || access(BUSYBOX, X_OK) < 0)
		return 77;
	signal(SIGPIPE, SIG_IGN);
	snprintf(cgroup, sizeof(cgroup), "coracle-test-%d", (int)getpid());
	if (!mkdtemp(dir) || make_layer() < 0)
		return 1;
	for (size_t i = 0; i < ARRAY_SIZE(programs); i++) {
		auto_free char *path = path_join("/usr/bin", programs[i]);
		auto_free char *sbin = path_join("/usr/sbin", programs[i]);
		struct fixture f = {.program = programs[i]};
#define TEST(name) cmocka_unit_test_prestate_setup_teardown(name, setup, teardown, &f)
		const struct CMUnitTest tests[] = {
			TEST(test_container),	   TEST(test_start_fails),
			TEST(test_confined),	   TEST(test_oom),
			TEST(test_exec),	   TEST(test_exec_tty),
			TEST(test_attach),	   TEST(test_log_rotation),
			TEST(test_share_pid),	   TEST(test_adoption),
			TEST(test_sandbox_killed), TEST(test_adoption_of_none),
			TEST(test_sigterm),	   TEST(test_stop_without_link),
			TEST(test_figures),	   TEST(test_nothing_left),
		};
		if (access(path, X_OK) == 0 || access(sbin, X_OK) == 0)
			failed += cmocka_run_group_tests_name(programs[i], tests, NULL, NULL);
	}
	rm_rf(dir);
	return failed != 0;
}
