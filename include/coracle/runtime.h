/* SPDX-License-Identifier: Apache-2.0 */
/*
 * runtime: pods as processes. Sandboxes, containers, exec, cgroup figures. Knows no Kubernetes
 * object and no json_t: plain configs in, events out.
 *
 * Purpose: one coracle-sandbox process per pod holds its namespaces, is subreaper and stdio owner
 * of its containers, runs the OCI runtime's commands, mounts the root file systems in its private
 * mount namespace (all gone with it), records exits on tmpfs, and outlives the daemon. This module
 * starts sandboxes, talks to them over <run-dir>/sandbox/<id>/control.sock, and after a restart of
 * the daemon adopts those that still run.
 * Lifetime: runtime_new(), runtime_adopt() once, then sandbox_* at will. Configs are copied.
 * Calls never block: results come as events.
 */
#ifndef CORACLE_RUNTIME_H
#define CORACLE_RUNTIME_H

#include <coracle/base.h>
#include <coracle/loop.h>

struct runtime_config {
	const char *run_dir;	  /* tmpfs; bundles, sockets, exit records, runtime state */
	const char *state_dir;	  /* container write layers: <state-dir>/pods/<uid>/... */
	const char *runtime;	  /* "crun", "runc" or a path; NULL: crun, else runc */
	const char *sandbox_path; /* the coracle-sandbox program */
	const char *cgroup_name;  /* top cgroup: "coracle", or "coracle-<node>" */
};

enum mount_flags { MOUNT_READ_ONLY = 1, MOUNT_TMPFS = 2, MOUNT_RSHARED = 4, MOUNT_RSLAVE = 8 };
struct mount_spec {
	const char *source; /* host path (bind), or NULL with MOUNT_TMPFS */
	const char *target; /* absolute path in the container */
	unsigned flags;
	uint64_t size; /* tmpfs: bytes, 0: kernel default */
};
struct device_spec {
	const char *path; /* in the container, e.g. "/dev/ttyUSB0" */
	const char *host_path;
	const char *access; /* "rwm" */
};
/* CPU in milli-CPUs, memory in bytes; 0: not set. */
struct resource_limits {
	int64_t cpu_request, cpu_limit;
	int64_t memory_request, memory_limit;
	int64_t pids_limit;
};
struct sysctl_spec {
	const char *name, *value;
};

struct sandbox_config {
	const char *id;	       /* the pod's UID: directory and cgroup name */
	const char *ns, *name; /* for the log and `coracle show` */
	const char *hostname;
	bool host_network, host_pid, host_ipc, share_process_ns;
	const struct sysctl_spec *sysctls;
	size_t n_sysctls;
	const char *log_dir;	       /* <dir>/<container>/<attempt>.log */
	const char *qos;	       /* "Guaranteed" "Burstable" "BestEffort" */
	struct resource_limits limits; /* of the whole pod */
	/* Opaque to the runtime, kept in the run directory and given back on adoption. */
	const char *note;
};

enum process_end { END_EXITED, END_SIGNALED, END_OOM, END_START_FAILED, END_UNKNOWN };
struct container_exit {
	enum process_end end;
	int code; /* exit status, or 128+signal */
	int signo;
	struct timespec started_at; /* wall clock */
	struct timespec finished_at;
	const char *message; /* START_FAILED: what the runtime said; else NULL */
};

struct container_config {
	const char *id;		   /* unique: OCI container id, hex */
	const char *name;	   /* container name in the pod */
	unsigned attempt;	   /* restart count, names the log file */
	const char *image_ref;	   /* for `coracle show` */
	const char *const *layers; /* lower directories, topmost first, absolute */
	size_t n_layers;
	const char *write_dir; /* absolute; upper and work are made below it */
	const char *const *argv;
	const char *const *envp;
	const char *cwd;
	uint32_t uid, gid;
	const uint32_t *groups;
	size_t n_groups;
	bool privileged, read_only_root, no_new_privs;
	const char *const *cap_add,
		*const *cap_drop; /* NULL-terminated, "NET_ADMIN" or "ALL"; may be NULL */
	bool seccomp_unconfined;
	bool tty, stdin_open, stdin_once;
	const char *target; /* name of a container whose process namespace is joined, or NULL */
	const struct mount_spec *mounts;
	size_t n_mounts;
	const struct device_spec *devices;
	size_t n_devices;
	struct resource_limits limits;
	int oom_score_adj;
	uint64_t log_max_bytes; /* size of one log file; one older one is kept; 0: 512 KiB */
};

struct runtime;
struct sandbox;

/* Told to the owner of a sandbox. name: the container's name in the pod, id: its OCI id. */
struct sandbox_ops {
	/* Namespaces are there; netns_fd is borrowed (-1 with host_network). */
	void (*on_ready)(void *arg, pid_t pid, int netns_fd);
	/* Could not start (err), or ended (its containers died with it). The sandbox object is
	 * gone. */
	void (*on_gone)(void *arg, const char *why);
	void (*on_started)(void *arg, const char *id, const char *name, pid_t pid);
	/* Also for START_FAILED. exit is borrowed. */
	void (*on_exited)(void *arg, const char *id, const char *name,
			  const struct container_exit *exit);
};

struct runtime *runtime_new(struct loop *loop, const struct runtime_config *config,
			    struct err *err);
void runtime_free(struct runtime *rt); /* leaves every sandbox running */
/* "crun" and "1.8.1": for Node.status.nodeInfo.containerRuntimeVersion. */
const char *runtime_name(const struct runtime *rt);
const char *runtime_version(const struct runtime *rt);

struct adopted_container {
	const char *id, *name;
	unsigned attempt;
	bool running;
	pid_t pid;
	struct timespec started_at;
	struct container_exit exit; /* when !running */
};
/* Called for every sandbox found alive. Set ops and arg through sandbox_set_owner(); a sandbox left
 * without an owner is stopped. containers: as the sandbox reports them, borrowed. */
typedef void runtime_adopt_fn(void *arg, struct sandbox *s, const char *id, const char *note,
			      const struct adopted_container *containers, size_t n);
/* Reconnects to the sandboxes in the run directory; removes what is left of dead ones. done is
 * called once all have answered (2 s at most). */
void runtime_adopt(struct runtime *rt, runtime_adopt_fn *fn, void (*done)(void *arg), void *arg);

struct sandbox *sandbox_start(struct runtime *rt, const struct sandbox_config *config,
			      const struct sandbox_ops *ops, void *arg, struct err *err);
void sandbox_set_owner(struct sandbox *s, const struct sandbox_ops *ops, void *arg);
pid_t sandbox_pid(const struct sandbox *s);
int sandbox_netns_fd(const struct sandbox *s); /* borrowed; -1 with host_network */
/* Ends the sandbox and all its processes at once (after the containers were stopped); on_gone. */
void sandbox_stop(struct sandbox *s);
/* Changes the kept note (durable on tmpfs). */
void sandbox_set_note(struct sandbox *s, const char *note);

/* Creates and starts; on_started or on_exited(START_FAILED) follows. */
int container_start(struct sandbox *s, const struct container_config *config,
		    struct err *err) MUST_CHECK;
int container_kill(struct sandbox *s, const char *id, int signo) MUST_CHECK;
/* Forgets an ended container: bundle, exit record, runtime state. Logs and write layer stay. */
void container_remove(struct sandbox *s, const char *id);

/* ---- exec and attach -------------------------------------------------------------------- */

struct exec_config {
	const char *const *argv;
	const char *const *envp; /* extra; may be NULL */
	bool tty;
	bool want_stdin, want_stdout, want_stderr;
	uint64_t timeout_us; /* 0: none; killed at its end */
};
struct exec;
struct exec_ops {
	/* Descriptors are handed over; -1 where not wanted; with tty all three are the pty (out
	 * only). */
	void (*on_start)(void *arg, int in, int out, int err);
	/* The exec object is gone. code: exit status or 128+signal; -errno: it never ran (message).
	 */
	void (*on_end)(void *arg, int code, bool timed_out, const char *message);
};
struct exec *container_exec(struct sandbox *s, const char *id, const struct exec_config *config,
			    const struct exec_ops *ops, void *arg, struct err *err);
void exec_resize(struct exec *e, unsigned short cols, unsigned short rows);
/* The caller loses interest: the process is killed, no callback follows. */
void exec_cancel(struct exec *e);
/* Same with the container's own stdio (attach); on_end when it ends. */
struct exec *container_attach(struct sandbox *s, const char *id, const struct exec_config *config,
			      const struct exec_ops *ops, void *arg, struct err *err);

/* ---- figures ---------------------------------------------------------------------------- */

struct cgroup_stats {
	uint64_t cpu_us;       /* used since start */
	uint64_t memory_bytes; /* charged */
	uint64_t working_set;  /* without inactive file pages */
	uint64_t pids;
};
/* Of one container (id) or the pod (id NULL). -ENOENT. Reads v1, v2 and hybrid. */
int sandbox_stats(const struct sandbox *s, const char *id, struct cgroup_stats *ret) MUST_CHECK;
/* Which controllers work here: "cpu memory pids" as found; for the node's conditions. */
const char *runtime_cgroup_controllers(const struct runtime *rt);

#endif
