/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Private face of coracle-sandbox: one process per pod, alone on its own little epoll loop.
 *
 * It is kept small on purpose (no libevent, no JSON): ten of them run on a small host. There is one
 * `struct self`; containers, execs and attachments are short linked lists. Every list is bounded.
 * Memory of an object is freed by its own *_free(), and the loop takes one event at a time, so
 * that a freed source can have no event left over.
 */
#ifndef CORACLE_SANDBOX_H
#define CORACLE_SANDBOX_H

#include <coracle/base.h>
#include "protocol.h"

enum {
	CONTAINERS_MAX = 256,
	EXECS_MAX = 64,
	CONNS_MAX = 4,
	IO_CHUNK = 16 * 1024, /* one read of a container's output: bounds a log line too */
	MESSAGE_MAX = 1024,   /* of the runtime's complaint that is passed on */
};

/* ---- loop.c: descriptors, children ------------------------------------------------------ */

struct source {
	int fd; /* -1: not watched */
	uint32_t events;
	void (*fn)(void *arg, uint32_t events);
	void *arg;
};
void source_open(struct source *s, int fd, uint32_t events, void (*fn)(void *, uint32_t),
		 void *arg);
void source_want(struct source *s, uint32_t events);
void source_close(struct source *s); /* closes the descriptor too */
void loop_init(void);
/* Serves events until the sandbox has nothing left to do after PROTO_STOP or SIGTERM. */
void loop_run(void);

/* A run of the OCI runtime (or another program) that ends by itself. */
struct command;
/* message: what it complained about ("" when nothing); borrowed. */
typedef void command_fn(void *arg, bool ok, const char *message);
/* argv without program and --root; fds: stdio, -1 for /dev/null. launch: makes a process of ours
 * (its pid stays unknown until the end of the command, so unknown dead are not reaped before). */
struct command *command_start(const char *const *argv, const char *log, const int fds[3],
			      bool launch, command_fn *fn, void *arg);
void children_reap(void);

/* ---- log.c: CRI log files --------------------------------------------------------------- */

struct log_file {
	char *path;
	int fd;
	uint64_t size, max;
};
void log_open(struct log_file *l, const char *path, uint64_t max);
/* Appends "<time> <stream> F|P <line>" for every line in data. A full disk loses lines, silently:
 * the container must not stop for it. */
void log_append(struct log_file *l, const char *stream, const char *data, size_t len);
void log_close(struct log_file *l);

/* ---- container.c ------------------------------------------------------------------------ */

struct container;
struct stream {
	struct source src;
	struct container *owner;
	bool is_stderr;
};

struct container {
	struct container *next;
	char *id, *name, *bundle, *write_dir, *oom_file, *procs_file, *message;
	struct strv layers; /* until it is started */
	struct log_file log;
	uint64_t attempt, flags;
	enum proto_state state;
	pid_t pid;
	uint64_t started_ns, finished_ns;
	enum proto_end end;
	int code, signo;
	int pending_signo; /* sent once there is a process */
	bool mounted, cleaning, removed;
	struct command *launch;
	struct stream out, err; /* out: the pty master with PROTO_TTY */
	struct source in;	/* write end of its stdin, or a dup of the master */
	char *in_pending;	/* what did not fit into it */
	size_t in_pending_len;
};
void container_start(const struct proto_msg *m);
struct container *container_find(const char *id);
void container_kill(struct container *c, int signo);
void container_remove(struct container *c);
/* True when pid was one of ours. */
bool container_reaped(pid_t pid, int status);
void container_fill(const struct container *c, struct proto_msg *m);
void container_ended(struct container *c, int status);

/* ---- stdio.c: a container's stdio, attachments ------------------------------------------ */

/* Makes the pipes; child gets the ends for the runtime's stdio (CLOEXEC, caller closes). */
int stdio_open(struct container *c, int child[3]);
void stdio_tty(struct container *c, int master);
void stdio_listen(struct container *c); /* the process runs: reading begins */
void stdio_drain(struct container *c);	/* what is left in the pipes goes to the log */
void stdio_close(struct container *c);

struct conn;
struct attachment {
	struct attachment *next;
	struct container *owner;
	struct conn *conn;
	uint32_t exec;
	struct source in, out, err;
};
/* Takes the descriptors. */
void attach_start(struct conn *conn, struct container *c, const struct proto_msg *m,
		  int fds[static PROTO_FDS_MAX]);
bool attach_resize(uint32_t exec, uint64_t cols, uint64_t rows);
bool attach_end(uint32_t exec);
void attach_end_container(struct container *c);
void attach_end_conn(struct conn *conn);
/* Distributes the descriptors of a message to stdin, stdout, stderr by its PROTO_WANT_* flags. */
void fds_assign(uint64_t flags, const int fds[static PROTO_FDS_MAX], int ret[3]);

/* ---- exec.c ----------------------------------------------------------------------------- */

void exec_start(struct conn *conn, struct container *c, const struct proto_msg *m,
		int fds[static PROTO_FDS_MAX]);
bool exec_kill(uint32_t exec);
bool exec_reaped(pid_t pid, int status);
void exec_end_conn(struct conn *conn);

/* ---- console.c: the runtime's --console-socket ------------------------------------------ */

/* Listens; path (absolute, short) is what the runtime is told. -errno. */
int console_listen(const char *name, char *path, size_t path_size);
/* The pty master that the runtime has sent, or -1; closes and unlinks the socket. */
int console_take(int listen_fd, const char *name);

/* ---- control.c: the daemon's connections ------------------------------------------------ */

void control_open(int listen_fd);
/* To one connection, or to all (conn NULL). A daemon that does not read is cut off: it connects
 * again and gets everything by PROTO_LIST. */
void control_send(struct conn *conn, const struct proto_msg *m, int fd);

/* ---- rootfs.c ---------------------------------------------------------------------------- */

/* Mounts the layers and the write directory on <bundle>/rootfs. On failure what says why. */
int rootfs_mount(const char *bundle, const char *write_dir, const struct strv *layers,
		 char what[static MESSAGE_MAX]);
void rootfs_unmount(const char *bundle);

/* ---- namespaces.c, main.c ---------------------------------------------------------------- */

struct options {
	const char *dir;     /* the sandbox's directory: also its working directory */
	const char *runtime; /* absolute path of the OCI runtime */
	const char *hostname;
	const char *const *joins;   /* files that we write "0" to: cgroups */
	const char *const *sysctls; /* "name=value" */
	bool net, ipc, uts, share_pid, hide_unified;
};
/* -1 and an explanation in what. */
int namespaces_enter(const struct options *o, char what[static MESSAGE_MAX]);

struct self {
	struct options opt;
	pid_t share_pid; /* pid 1 of the shared pid namespace; 0: none */
	struct container *containers;
	bool stopping;
	uint64_t deadline_ms; /* CLOCK_MONOTONIC, while stopping: then everything is killed; 0: was
			       */
	unsigned char chunk[IO_CHUNK];	 /* container output */
	unsigned char packet[PROTO_MAX]; /* one request */
};
extern struct self self;
/* Sends signo to all containers; after grace_ms kills them. The loop ends once all are gone. */
void self_stop(int signo, uint64_t grace_ms);
uint64_t clock_wall_ns(void);
uint64_t clock_mono_ms(void);
/* Returns the exit code as a shell gives it: 128+signal for a death by signal. */
int status_code(int status);

#endif
