/* SPDX-License-Identifier: Apache-2.0 */
/*
 * api: the Kubernetes API over the local socket and TLS.
 *
 * Purpose: routes (a table; permission is a column), authentication, list/get/watch/create/update/
 * patch/delete, Tables, discovery, OpenAPI, logs, exec, attach, port-forward, and the host verbs of
 * `coracle` under /coracle/v1 (images, show).
 * Lifetime: api_new() after the store and registry; api_free() closes listeners and connections.
 * Upward needs (a pod's streams, images) are the ops handed in by the daemon.
 */
#ifndef CORACLE_API_H
#define CORACLE_API_H

#include <coracle/http.h>
#include <coracle/identity.h>
#include <coracle/registry.h>

/* A pod's log, read piece by piece. */
struct api_log_options {
	const char *container; /* "" : the only one */
	bool follow, previous, timestamps;
	int64_t tail_lines;  /* -1: all */
	int64_t limit_bytes; /* -1: none */
	bool since_set;
	struct timespec since; /* wall clock */
};
struct api_log; /* the node's reader */
struct api_log_ops {
	/* Return false to pause; api_log_resume() goes on. */
	bool (*on_data)(void *arg, const void *data, size_t len);
	void (*on_end)(void *arg); /* the reader is gone */
};
struct api_exec_options {
	const char *container;
	const char *const *argv; /* NULL: attach */
	bool tty, want_stdin, want_stdout, want_stderr;
};
/* What the node or one container uses. */
struct api_usage {
	const char *container; /* borrowed until the end of the turn; NULL: the node */
	uint64_t cpu_nano;     /* billionths of a CPU, over the window */
	uint64_t memory_bytes; /* the working set */
	uint64_t window_us;
	time_t time; /* wall clock of the newest sample */
};
struct api_exec; /* a running exec or attach */
struct api_exec_ops {
	/* Descriptors are handed over, -1 where not wanted (tty: `in` is the pty master, out == -1,
	 * err == -1). */
	void (*on_start)(void *arg, int in, int out, int err);
	/* The exec is gone. code >= 0: exit code; < 0: never ran, message tells. */
	void (*on_end)(void *arg, int code, const char *message);
};
/* What the node does for the API. ns/name have been found in the store. */
struct api_node_ops {
	struct api_log *(*log_open)(void *node, const char *ns, const char *pod,
				    const struct api_log_options *o, const struct api_log_ops *ops,
				    void *arg, struct err *err);
	void (*log_resume)(struct api_log *l);
	void (*log_close)(struct api_log *l);
	struct api_exec *(*exec_open)(void *node, const char *ns, const char *pod,
				      const struct api_exec_options *o,
				      const struct api_exec_ops *ops, void *arg, struct err *err);
	void (*exec_resize)(struct api_exec *e, unsigned short cols, unsigned short rows);
	void (*exec_cancel)(struct api_exec *e);
	/* A connected, non-blocking socket to the pod's port in its network namespace, or -errno.
	 */
	int (*port_connect)(void *node, const char *ns, const char *pod, uint16_t port,
			    struct err *err);
	/* Usage figures are as of the last refresh. Calls done when they are fresh: at once, and
	 * returns NULL, or within about a second, and returns what cancel takes. */
	void *(*usage_refresh)(void *node, void (*done)(void *arg), void *arg);
	void (*usage_cancel)(void *wait);
	/* false: not known (yet), or no such container. i counts those that run or should. */
	bool (*usage_machine)(void *node, struct api_usage *ret);
	bool (*usage_container)(void *node, const char *ns, const char *pod, size_t i,
				struct api_usage *ret);
};
/* Images, for `coracle image`: see image.h; the daemon adapts. */
struct api_image_ops {
	/* Starts a load of the archive that arrives through fd (read end of a pipe, handed over) or
	 * a pull of ref; progress lines come as text, then end. Returns a token or NULL + err. */
	void *(*load)(void *images, int fd, void (*on_line)(void *arg, const char *line),
		      void (*on_end)(void *arg, const struct err *err), void *arg, struct err *err);
	void *(*pull)(void *images, const char *ref, void (*on_line)(void *arg, const char *line),
		      void (*on_end)(void *arg, const struct err *err), void *arg, struct err *err);
	void (*cancel)(void *token);
	json_t *(*list)(void *images); /* new array of {id, refs, size, pinned} */
	int (*remove)(void *images, const char *ref, struct err *err);
};
struct api_config {
	const char *socket_path; /* unix socket */
	gid_t socket_gid;	 /* group `coracle`, or (gid_t)-1 */
	const char *listen;	 /* "127.0.0.1:6443", or NULL: none */
	const char *pki_dir;	 /* <state-dir>/pki, as identity_open() has filled it */
	struct identity *identity;
	const char *node_name;
	const char *git_version; /* "v1.33.0" for clients: the API level we speak */
	/* Of /version, static; NULL: not known. */
	const char *git_commit, *git_tree_state, *build_date;
	const struct api_node_ops *node_ops;
	void *node;
	const struct api_image_ops *image_ops;
	void *images;
	void (*on_stop)(void *arg, bool stop_pods); /* `coracle node stop` */
	void *stop_arg;
};
struct api;
struct api *api_new(struct loop *loop, struct registry *registry, const struct api_config *config,
		    struct err *err);
void api_free(struct api *a);
/* The bound TLS address (port 0 in config.listen: chosen by the system); -ENOENT without one. */
int api_addr(const struct api *a, struct addr *ret);
/* Adds to what /readyz asks, or changes it; name is static ("shutdown"); why NULL: fine. */
void api_set_ready(struct api *a, const char *name, const char *why);

#endif
