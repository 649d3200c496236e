/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Private face of the runtime library: the daemon's side of the sandboxes.
 *
 * A sandbox goes through STARTING (process spawned, no answer yet), READY, and ENDING (process
 * gone; its cgroup is emptied and its directory removed, then on_gone). ADOPTING stands for
 * STARTING after a restart of the daemon.
 */
#ifndef CORACLE_RUNTIME_INTERNAL_H
#define CORACLE_RUNTIME_INTERNAL_H

#include "cgroup.h"
#include "protocol.h"
#include <coracle/json.h>
#include <coracle/runtime.h>

struct runtime {
	struct loop *loop;
	char *run_dir; /* <run-dir>/sandbox: one directory a sandbox */
	char *program; /* absolute path of the OCI runtime */
	char *name, *version;
	char *sandbox_path;
	char *cgroup; /* "/coracle" */
	char *controllers;
	struct cgroup_layout layout;
	bool hide_unified;
	char boot_id[UUID_LEN];
	struct list sandboxes;
	uint32_t next_exec;
	struct adoption *adoption; /* while runtime_adopt() is under way */
};

enum sandbox_state { SANDBOX_STARTING, SANDBOX_ADOPTING, SANDBOX_READY, SANDBOX_ENDING };

struct container {
	struct list node;
	char *id, *name, *image_ref;
	unsigned attempt;
	enum proto_state state;
	pid_t pid;
	struct timespec started_at;
	struct container_exit exit;
	char *message;
	bool told_running, told_ended; /* on_started, on_exited were called */
	bool stdin_open;
};

/* A packet that did not fit into the socket. */
struct packet {
	struct list node;
	size_t len;
	int fds[PROTO_FDS_MAX];
	size_t n_fds;
	unsigned char data[];
};

struct sandbox {
	struct list node; /* in runtime->sandboxes */
	struct runtime *rt;
	const struct sandbox_ops *ops; /* NULL: nobody owns it */
	void *arg;
	enum sandbox_state state;
	char *id, *ns, *name, *hostname, *dir, *cgroup, *log_dir, *note;
	bool host_network, host_pid, host_ipc, share_process_ns;
	pid_t pid, share_pid;
	int netns_fd;
	struct child *child;	/* started by this daemon */
	struct pidwatch *watch; /* adopted */
	int sock;
	struct io *io;
	struct list out; /* struct packet */
	size_t n_out;
	struct list containers, execs;
	struct timer *timer; /* the limit of STARTING, ADOPTING, stopping; ENDING: the next sweep */
	struct timer *retry; /* the connection is lost: the next attempt */
	unsigned tries;
	bool stopping, adopting; /* adopting: runtime_adopt() waits for it */
	char *why;		 /* while ENDING */
};

/* ---- sandbox.c --------------------------------------------------------------------------- */

const char *sandbox_state_name(enum sandbox_state state);
struct sandbox *sandbox_new(struct runtime *rt, const char *id);
/* No callbacks; the process is left alone. */
void sandbox_free(struct sandbox *s);
void sandbox_set_state(struct sandbox *s, enum sandbox_state state);
/* The process is gone or must go: kills the pod's cgroup, cleans up, then on_gone(why). */
void sandbox_end(struct sandbox *s, const char *why);
/* The first PROTO_HELLO of this connection has come: pid is known, the containers are listed. */
void sandbox_hello(struct sandbox *s, const struct proto_msg *m);
/* Reads <dir>/sandbox.json and <dir>/note. -EINVAL; -ESTALE: of an earlier boot. */
int sandbox_load(struct sandbox *s) MUST_CHECK;
/* Removes what an ended sandbox has left: cgroup and directory. -EBUSY: processes still die. */
int sandbox_sweep(struct sandbox *s) MUST_CHECK;

/* ---- link.c: the connection --------------------------------------------------------------- */

/* A listening control socket in dir, or -errno. Any length of path will do. */
int link_listen(const char *dir) MUST_CHECK;
/* Connects and asks for the list. -ECONNREFUSED, -ENOENT: no sandbox is there. */
int link_open(struct sandbox *s) MUST_CHECK;
void link_close(struct sandbox *s);
/* fds are duplicated by the kernel or, when the packet must wait, by us. -EMSGSIZE, -ENOBUFS. */
int link_send(struct sandbox *s, const struct proto_msg *m, const int *fds,
	      size_t n_fds) MUST_CHECK;

/* ---- container.c ---------------------------------------------------------------------------- */

struct container *container_find(const struct sandbox *s, const char *id);
void container_free(struct container *c);
/* A PROTO_STATE message: brings the container up to date and tells the owner. */
void container_update(struct sandbox *s, const struct proto_msg *m);
/* Tells the owner what it has not heard of yet. */
void container_tell(struct sandbox *s, struct container *c);
char *container_dir(const struct sandbox *s, const char *id); /* the bundle; caller frees */
char *container_cgroup(const struct sandbox *s, const char *id);

/* ---- exec.c ------------------------------------------------------------------------------- */

void exec_started(struct sandbox *s, const struct proto_msg *m, int fd);
void exec_ended(struct sandbox *s, const struct proto_msg *m);
/* The connection is lost: all end with -ECONNRESET. */
void exec_end_all(struct sandbox *s);
/* The same without callbacks. */
void exec_drop_all(struct sandbox *s);

/* ---- adopt.c ------------------------------------------------------------------------------ */

/* An adopted sandbox has answered (or ended). */
void adoption_answered(struct sandbox *s);
void adoption_free(struct runtime *rt);

#endif
