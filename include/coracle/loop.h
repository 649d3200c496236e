/* SPDX-License-Identifier: Apache-2.0 */
/*
 * loop: the one event loop. The only module that knows libevent.
 *
 * Purpose: descriptors, timers, signals, children, deferred work, byte streams and listeners.
 * Lifetime: loop_new() before everything, loop_free() after everything.
 * Order of a turn (the daemon names the phases): loop_refresh, loop_poll, loop_deferred, ...,
 * loop_bury. loop_once() does these four for tests and small programs.
 *
 * Any *_free / *_close here is legal inside any callback, also of the object itself: memory is
 * released by loop_bury() at the end of the turn and no callback comes after the call.
 * Single thread: nothing here may be called from another one.
 */
#ifndef CORACLE_LOOP_H
#define CORACLE_LOOP_H

#include <coracle/json.h>
#include <sys/socket.h>
#include <sys/uio.h>

struct loop;
struct loop *loop_new(void);
void loop_free(struct loop *loop);

/* ---- the phases of a turn --------------------------------------------------------------- */

void loop_refresh(struct loop *loop); /* reads the clock once for the turn */
mono_t loop_now(const struct loop *loop);
/* Waits for events (not at all when deferred work is queued) and runs their callbacks. */
int loop_poll(struct loop *loop) MUST_CHECK;
/* Runs queued work in order until the queue is empty or budget_us is used up. */
void loop_deferred(struct loop *loop, uint64_t budget_us);
/* Frees what was closed during the turn. */
void loop_bury(struct loop *loop);
/* refresh, poll, deferred (10 ms), bury. */
int loop_once(struct loop *loop);
/* loop_once() until *flag; gives up with -ETIMEDOUT after timeout_us (0: never). For tests, CLI. */
int loop_run_until(struct loop *loop, const bool *flag, uint64_t timeout_us) MUST_CHECK;
/* Calls fn(ptr) in the bury phase, the last asked for first. */
void loop_free_later(struct loop *loop, void (*fn)(void *), void *ptr);
/* Writes every pending event of the loop to the log (SIGUSR1). */
void loop_dump(struct loop *loop);
/* Turns so far: how often the loop woke up. */
uint64_t loop_turns(const struct loop *loop);
/* Rows of `coracle show`: how long turns were (processor time, so that a busy machine does not
 * count), since the start and since this was asked for last; armed timers; listening sockets. */
void loop_show_turns(void *loop, json_t *rows);
void loop_show_timers(void *loop, json_t *rows);
void loop_show_listeners(void *loop, json_t *rows);

/* ---- descriptors ------------------------------------------------------------------------ */

enum { IO_READ = 1, IO_WRITE = 2 };
struct io;
typedef void io_fn(void *arg, int fd, unsigned what);
/* Watches fd (not owned) level-triggered for what (0: nothing yet). */
struct io *io_new(struct loop *loop, int fd, unsigned what, io_fn *fn, void *arg);
void io_want(struct io *io, unsigned what); /* replaces the set; cheap when unchanged */
void io_free(struct io *io);		    /* NULL is allowed */

/* ---- timers ----------------------------------------------------------------------------- */

struct timer;
typedef void timer_fn(void *arg);
/* Disarmed. name (not copied) is shown to people: where in the source the timer is made. */
struct timer *timer_new_named(struct loop *loop, timer_fn *fn, void *arg, const char *name);
#define timer_new(loop, fn, arg) timer_new_named(loop, fn, arg, __FILE_NAME__ " " #fn)
void timer_arm(struct timer *t, uint64_t after_us); /* one shot; re-arming moves it */
void timer_arm_at(struct timer *t, mono_t when);
void timer_disarm(struct timer *t);
bool timer_armed(const struct timer *t);
void timer_free(struct timer *t);

/* ---- signals ---------------------------------------------------------------------------- */

struct sig;
typedef void sig_fn(void *arg, int signo);
struct sig *sig_new(struct loop *loop, int signo, sig_fn *fn, void *arg);
void sig_free(struct sig *s);

/* So long goes on what is cut into slices, one a turn. A byte through the proxy waits for two turns
 * on its way there and back. */
#define LOOP_SLICE_US 300
static inline bool loop_slice_over(mono_t start)
{
	return mono_sub(mono_now(), start) >= LOOP_SLICE_US;
}

/* ---- deferred work ---------------------------------------------------------------------- */

/* Embedded in its owner. Queueing twice before it ran runs it once. */
struct work {
	struct list node; /* in loop->deferred, or self */
	void (*fn)(void *arg);
	void *arg;
};
void work_init(struct work *w, void (*fn)(void *), void *arg);
void work_queue(struct loop *loop, struct work *w);
/* Not before the next turn: for long work that is cut into slices, each of which lets others in. */
void work_queue_next(struct loop *loop, struct work *w);
void work_cancel(struct work *w);
bool work_queued(const struct work *w);

/* ---- long computing ---------------------------------------------------------------------- */

/*
 * Computing on a stack of its own that is put aside where it breathes (base.h) and goes on in the
 * next turn: LOOP_SLICE_US a turn for all tasks together, each in its turn. Embedded in its owner.
 *
 * The first slice comes at once when no other task is under way. What a task has borrowed lives
 * until it has ended; only what has changed meanwhile it has to find out. A task that has begun
 * cannot be stopped; who loses interest tells it by a flag of his own.
 */
enum task_state { TASK_IDLE, TASK_WAITING, TASK_BEGUN };
struct fiber;
struct task {
	struct list node;
	void (*fn)(void *arg);
	void *arg;
	struct fiber *fiber;
	size_t cost;
	uint64_t number;
	enum task_state state;
};
void task_init(struct task *t, void (*fn)(void *), void *arg);
/* cost: bytes of the text that it works on; tasks wait until the sum leaves room for them. The
 * owner may be given to loop_retire() in fn. -EAGAIN: too many wait already. */
int task_start(struct loop *loop, struct task *t, size_t cost) MUST_CHECK;
/* The same without waiting for room: for the daemon's own tasks, one at a time each. */
void task_start_now(struct loop *loop, struct task *t, size_t cost);
/* False: it has begun and will go on to its end. */
bool task_cancel(struct loop *loop, struct task *t);
/* Is this a task? */
bool task_inside(void);
/* Runs all that have begun, and those that wait, to their end: before what they use goes. */
void tasks_finish(struct loop *loop);
/* Calls fn(ptr) at the end of the turn, or of the last task that is under way now: for what is said
 * to live until the end of the turn. In the order they came. */
void loop_retire(struct loop *loop, void (*fn)(void *), void *ptr);
/* Gives up a value (stolen) that may be large: it is freed by a task. */
void loop_discard(struct loop *loop, json_t *v);

/* ---- children --------------------------------------------------------------------------- */

struct child_fd {
	int parent; /* descriptor here, not owned */
	int child;  /* number it gets there */
};
struct child_config {
	const char *const *argv; /* argv[0] is searched in PATH unless it holds a slash */
	const char *const *envp; /* NULL: ours */
	const char *cwd;	 /* NULL: ours */
	const struct child_fd *fds;
	size_t n_fds;	   /* 0-2 not mapped here are /dev/null; all others are closed */
	bool new_session;  /* setsid: the child outlives us */
	bool die_with_us;  /* PR_SET_PDEATHSIG SIGKILL */
	bool low_priority; /* nice 10, idle I/O class */
	/* Runs in the child between clone and exec: async-signal-safe calls only; <0 fails the
	 * spawn. */
	int (*setup)(void *arg);
	void *setup_arg;
};
struct child;
/* status as waitpid(2) gives it. The child object is gone after this call. */
typedef void child_fn(void *arg, int status);
/* Spawns without copying the address space and watches by pidfd. NULL + err when it cannot. */
struct child *child_spawn(struct loop *loop, const struct child_config *config, child_fn *fn,
			  void *arg, struct err *err);
pid_t child_pid(const struct child *c);
int child_kill(struct child *c, int signo);
/* Forgets the child; it is still reaped, fn is not called. */
void child_abandon(struct child *c);

/* Watches a process that is not our child. fn is called once, when it has ended. */
struct pidwatch;
typedef void pidwatch_fn(void *arg);
struct pidwatch *pidwatch_new(struct loop *loop, pid_t pid, pidwatch_fn *fn,
			      void *arg);	  /* NULL + errno */
int pidwatch_kill(struct pidwatch *p, int signo); /* pidfd_send_signal: never hits a reused pid */
int pidwatch_fd(const struct pidwatch *p);	  /* borrowed pidfd */
void pidwatch_free(struct pidwatch *p);

/* ---- addresses -------------------------------------------------------------------------- */

struct addr {
	socklen_t len;
	struct sockaddr_storage ss;
};
/* "127.0.0.1:80", "[::1]:80", "/path" or "unix:/path"; -EINVAL. */
int addr_parse(const char *text, struct addr *ret) MUST_CHECK;
#define ADDR_TEXT_MAX 128
char *addr_format(char buf[static ADDR_TEXT_MAX], const struct addr *a);

/* ---- listeners -------------------------------------------------------------------------- */

struct listener;
/* fd is handed over, non-blocking and CLOEXEC. */
typedef void listener_fn(void *arg, int fd, const struct addr *peer);
struct listener_config {
	struct addr addr;
	mode_t unix_mode; /* for unix sockets: mode, and group when not (gid_t)-1 */
	gid_t unix_gid;
	bool free_bind; /* IP_FREEBIND */
	bool v6_only;
};
/* Accepting pauses for a second on EMFILE/ENFILE/ENOMEM. */
struct listener *listener_new(struct loop *loop, const struct listener_config *config,
			      listener_fn *fn, void *arg, struct err *err);
int listener_addr(const struct listener *l, struct addr *ret); /* the bound address (port 0!) */
void listener_pause(struct listener *l, bool pause);
void listener_free(struct listener *l);

/* ---- TLS contexts ----------------------------------------------------------------------- */

struct tls; /* an SSL_CTX; reference counted, streams hold a reference */
struct tls_config {
	bool server;
	const char *cert_file, *key_file; /* PEM; may be NULL for a client */
	const char *ca_file; /* PEM; server: to check client certificates (optional ones) */
	bool insecure;	     /* client: do not check the server (kubelet-style probes) */
};
struct tls *tls_new(const struct tls_config *config, struct err *err);
struct tls *tls_ref(struct tls *t);
void tls_unref(struct tls *t);

/* ---- byte streams ----------------------------------------------------------------------- */

/*
 * A buffered, bidirectional byte stream over tcp, unix or TLS. Reading stops by itself while more
 * than `read_high` bytes lie unread; writers look at stream_out_len() and wait for on_drain.
 */
struct stream;
struct stream_ops {
	void (*on_connect)(void *arg); /* connected, TLS shaken; may be NULL */
	void (*on_data)(void *arg);    /* there is new input; may be NULL */
	void (*on_drain)(void *arg);   /* output fell below the low mark (0); may be NULL */
	void (*on_eof)(void *arg);     /* peer closed its side; NULL: like on_close */
	void (*on_close)(void *arg,
			 const char *why); /* error or end; the stream is closed after it */
};
/* Takes fd. tls NULL: plain. server_side says who shakes hands first. */
struct stream *stream_new(struct loop *loop, int fd, struct tls *tls, bool server_side,
			  const struct stream_ops *ops, void *arg);
/* Starts connecting; tls_name is the server name to send and check, or NULL. NULL + err at once
 * when no socket can be made; later failures come through on_close. */
struct stream *stream_connect(struct loop *loop, const struct addr *to, struct tls *tls,
			      const char *tls_name, const struct stream_ops *ops, void *arg,
			      struct err *err);
/* Hands the stream to another owner (protocol upgrade). Unread input stays. on_data is called
 * again in the next turn when there is any. */
void stream_set_ops(struct stream *s, const struct stream_ops *ops, void *arg);
/* Contiguous unread input; *len may be 0. Valid until the next stream_* call on s. */
const char *stream_peek(struct stream *s, size_t *len);
size_t stream_in_len(const struct stream *s);
void stream_consume(struct stream *s, size_t len);
void stream_write(struct stream *s, const void *data, size_t len); /* copies; never blocks */
/* Writes without copying; done(arg) once sent or dropped. */
void stream_write_ref(struct stream *s, const void *data, size_t len, void (*done)(void *arg),
		      void *arg);
size_t stream_out_len(const struct stream *s);
void stream_pause(struct stream *s, bool pause);	   /* stop, go on reading */
void stream_set_read_high(struct stream *s, size_t bytes); /* default 64 KiB */
void stream_shutdown(struct stream *s);			   /* half-close once the output is sent */
/* Closes once the output is sent (drain) or now; idempotent. on_close is not called. */
void stream_close(struct stream *s, bool drain, const char *why);
int stream_fd(const struct stream *s);
/* Credentials of a unix peer (SO_PEERCRED); -ENOTSUP on others. */
int stream_peer_cred(const struct stream *s, pid_t *pid, uid_t *uid, gid_t *gid) MUST_CHECK;
/* Subject of a checked client certificate: CN and the O entries. -ENOENT when there is none,
 * -EACCES when it is of another authority, out of its time, or nameless. */
int stream_peer_cert(const struct stream *s, char **ret_cn, struct strv *ret_o) MUST_CHECK;

#endif
