/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of the node share: the node, its pods and their containers.
 *
 * Everything is level-triggered: whatever happens (store event, sandbox event, timer, pull) only
 * notes a fact and calls pod_kick(); pod_run() then looks at all facts and takes the next steps.
 */
#ifndef CORACLE_NODE_INTERNAL_H
#define CORACLE_NODE_INTERNAL_H

#include "backoff.h"
#include "downward.h"
#include "spec.h"
#include "status.h"
#include "usage.h"
#include <coracle/node.h>
#include <coracle/probe.h>

struct node;
struct pod;
struct ctr;

/* ---- pods ------------------------------------------------------------------------------- */

enum pod_state {
	POD_NEW,      /* nothing there yet: volumes, address, files are made here */
	POD_SANDBOX,  /* the sandbox is starting */
	POD_INIT,     /* init containers, one after the other */
	POD_RUNNING,  /* all containers as their policy says */
	POD_STOPPING, /* containers are being stopped */
	POD_CLEANUP,  /* the sandbox is ending */
	POD_ENDED,    /* Succeeded or Failed: nothing runs, logs and status stay */
	POD_GONE,     /* the API object may go; memory follows it */
	POD_STATE_COUNT,
};

/* Why a pod leaves POD_RUNNING. */
enum pod_goal {
	GOAL_RUN,      /* it should run */
	GOAL_END,      /* it has ended by itself, or must (deadline): terminal phase */
	GOAL_DELETE,   /* its object is being deleted or gone */
	GOAL_SHUTDOWN, /* the node stops all pods; they come back with it */
};

struct volume; /* volumes.c */

struct pod {
	struct node *node;
	struct list link; /* node.pods */
	char *uid, *ns, *name;
	const struct object *obj; /* newest state of the object; our reference */
	bool removed;		  /* the object is gone from the store */
	uint64_t own_rev;	  /* revision that our own status write made */

	enum pod_state state;
	struct work work;
	struct task task; /* runs instead, when what is to be looked at is large */
	bool aside;	  /* while it does so */
	bool again;	  /* what happens meanwhile asks for another run */
	json_t *parsed;	  /* of obj, for all of the task's run; NULL: not kept */
	struct timer *timer;
	uint64_t wake_us; /* of the present run: microseconds to the next deadline, 0: none */

	struct sandbox *sandbox;
	bool sandbox_ready;  /* namespaces are there and the network is attached */
	bool sandbox_lost;   /* ended without our wish */
	unsigned sandboxes;  /* how many were started: later ones are re-creations */
	bool network_wanted; /* on_ready came: attach */
	struct in_addr ip;   /* INADDR_ANY: none */
	unsigned tries;	     /* failed set-ups in a row */
	mono_t retry_at;

	struct volume *volumes;
	size_t n_volumes;
	bool configs_changed; /* a ConfigMap or Secret of the namespace changed */
	bool dirs_made;

	struct ctr **ctrs; /* spec order: init containers, then containers */
	size_t n_ctrs;

	bool failed; /* force Failed */
	const char *reason;
	char *message;
	time_t start_time;  /* wall clock, for status.startTime */
	mono_t started;	    /* for activeDeadlineSeconds */
	mono_t stop_by;	    /* end of the grace period; 0: not stopping */
	mono_t drain_until; /* stopping: no signal before; 0: not asked yet */
	int64_t grace;	    /* seconds that stop_by was made from */
	bool stop_sent;	    /* sandbox_stop() was called */
	bool delete_sent;
};

/* The pod's JSON: borrowed until the end of the turn. */
const json_t *pod_json(const struct pod *p);
/* A run is not put aside but between these two. Facts may change there, and the sandbox may go. */
void pod_breathe(const struct pod *p);
void pod_hold_breath(const struct pod *p);
void pod_kick(struct pod *p);
/* To be called within a run: run again in us at the latest. */
void pod_wake_in(struct pod *p, uint64_t us);
void pod_event(struct pod *p, const char *type, const char *reason, const char *fmt, ...)
	PRINTF_LIKE(4, 5);
struct pod *pod_new(struct node *n, const struct object *obj);
/* Takes the newest object. */
void pod_update(struct pod *p, const struct object *obj);
void pod_free(struct pod *p); /* memory only */
enum pod_goal pod_goal(const struct pod *p);
void pod_set_state(struct pod *p, enum pod_state next);
const char *pod_state_name(enum pod_state s);
bool pod_host_network(const struct pod *p);
/* "10.42.0.7", the host's address with hostNetwork, "" while there is none. */
const char *pod_ip_text(const struct pod *p, char buf[static INET_ADDRSTRLEN]);
struct self_facts pod_self(const struct pod *p, char ip[static INET_ADDRSTRLEN]);
struct ctr *pod_ctr(const struct pod *p, const char *name);
/* <run-dir>/pods/<uid>/<name>, <state-dir>/pods/<uid>/<name>; caller frees. */
char *pod_run_path(const struct pod *p, const char *name);
char *pod_state_path(const struct pod *p, const char *name);
char *pod_log_dir(const struct pod *p);
/* Writes the status if it differs. */
void pod_write_status(struct pod *p);
extern const struct sandbox_ops pod_sandbox_ops;
/* Of sandboxes that outlive the node object: nobody listens. */
extern const struct sandbox_ops pod_orphan_ops;

/* terminate.c */
void pod_step_stopping(struct pod *p);
void pod_step_cleanup(struct pod *p);
void pod_step_ended(struct pod *p);
void pod_step_gone(struct pod *p);
bool pod_check_deadline(struct pod *p);
int64_t pod_grace_seconds(const struct pod *p);

/* volumes.c */
int volumes_prepare(struct pod *p, const char **ret_volume, struct err *err) MUST_CHECK;
void volumes_refresh(struct pod *p);
/* Microseconds until a token in a volume must be renewed by volumes_refresh(), at least 1; 0:
 * never.
 */
uint64_t volumes_due_in(const struct pod *p);
/* Forgets what was prepared and unmounts (pod clean-up); directories stay for trash. */
void volumes_release(struct pod *p);
int volumes_mounts(struct pod *p, const json_t *container, const struct env *env, struct spec *s,
		   struct err *err) MUST_CHECK;
/* Finds a ConfigMap or Secret in the pod's namespace (arg: struct pod). */
const json_t *pod_lookup(void *arg, const struct kind *k, const char *name);

/* sandbox.c */
int pod_write_files(struct pod *p, struct err *err) MUST_CHECK;
int pod_start_sandbox(struct pod *p, struct err *err) MUST_CHECK;
/* Whether the pod wants to set what it may not: it is made to fail then. */
bool pod_check_sysctls(struct pod *p);
void pod_release_address(struct pod *p);
/* The note kept with the sandbox, and what is read back from it. */
char *pod_note(const struct pod *p);
void pod_read_note(struct pod *p, const char *note);

/* ---- containers ------------------------------------------------------------------------- */

enum ctr_state {
	CTR_WAITING,  /* to be started */
	CTR_PULLING,  /* needs its image: job running or pull back-off */
	CTR_STARTING, /* given to the runtime */
	CTR_RUNNING,
	CTR_STOPPING, /* still running: preStop, TERM or KILL was sent */
	CTR_EXITED,   /* ended; may start again */
	CTR_STATE_COUNT,
};
enum stop_phase { STOP_PRESTOP, STOP_TERM, STOP_KILL };
enum ctr_probe { CTR_PROBE_STARTUP, CTR_PROBE_LIVENESS, CTR_PROBE_READINESS, CTR_PROBE_COUNT };

struct hook;
struct prober;
struct ctr {
	struct pod *pod;
	unsigned index; /* in its list of the spec */
	enum ctr_state state;
	struct ctr_facts facts;
	bool ever_ran;	 /* an attempt was made: the next is a restart */
	char *image;	 /* spec.image of the present attempt */
	char *term_path; /* termination message file of the present attempt */
	mono_t retry_at; /* CTR_WAITING after a configuration error */

	struct backoff restart;
	mono_t ended; /* when it exited */
	bool backoff_told;
	bool changed; /* spec.image changed: restart without back-off */
	/* Ended because of that: until then its successor may come to run before anybody is told.
	 */
	mono_t replaced_by;

	struct image_job *pull;
	struct backoff pull_pause;
	mono_t pull_failed; /* when it last failed */
	mono_t pull_started;
	bool pulled; /* this attempt has its image */
	bool pull_told;

	struct hook *post_start, *pre_stop;
	enum stop_phase stop_phase;
	mono_t stop_by;
	bool stop_wanted; /* while CTR_STARTING */

	struct prober *probers[CTR_PROBE_COUNT]; /* probes.c */
	bool restored_ready;			 /* was ready before the daemon restarted */
	mono_t started;
	struct usage usage; /* metrics.c */
};

struct ctr *ctr_new(struct pod *p, enum ctr_role role, unsigned index, const json_t *spec);
void ctr_free(struct ctr *c);
const json_t *ctr_spec(const struct ctr *c); /* borrowed until the end of the turn */
void ctr_set_state(struct ctr *c, enum ctr_state next);
void ctr_event(struct ctr *c, const char *type, const char *reason, const char *fmt, ...)
	PRINTF_LIKE(4, 5);
/* Takes the next steps towards running. */
void ctr_step(struct ctr *c);
bool ctr_alive(const struct ctr *c);	    /* STARTING, RUNNING or STOPPING */
bool ctr_will_restart(const struct ctr *c); /* by policy, after the exit it has had */
bool ctr_done_ok(const struct ctr *c);	    /* EXITED with 0 */
/* Microseconds that the container may still be between two images, unseen; 0: it is not, or what is
 * in the way of the new one is to be told. */
uint64_t ctr_replacing_us(const struct ctr *c);
void ctr_set_waiting(struct ctr *c, const char *reason, const char *fmt, ...) PRINTF_LIKE(3, 4);
/* ready, and the reason of those that simply wait for their turn. */
void ctr_refresh_facts(struct ctr *c);
void ctr_on_started(struct ctr *c);
void ctr_on_exited(struct ctr *c, const struct container_exit *exit);
/* The sandbox died under it. */
void ctr_lost(struct ctr *c);
/* Back to CTR_WAITING for a new sandbox. */
void ctr_reset(struct ctr *c);
void ctr_abort_jobs(struct ctr *c);			   /* pull, hooks, probes */
char *ctr_log_path(const struct ctr *c, unsigned attempt); /* caller frees */
/* Facts read back from a stored status entry, without a sandbox. */
void ctr_restore(struct ctr *c, const json_t *entry);
/* It runs, or ended, in an adopted sandbox. */
void ctr_adopt(struct ctr *c, const struct adopted_container *a, const json_t *entry);

/* start.c */
/* Kubernetes' part of the environment. Breathes. */
int ctr_env(const struct ctr *c, struct env *vars, struct err *err) MUST_CHECK;
int ctr_start(struct ctr *c, const struct image *image, const struct env *vars,
	      struct err *err) MUST_CHECK;

/* stop.c: one container */
void ctr_stop(struct ctr *c, uint64_t grace_us, const char *why_fmt, ...) PRINTF_LIKE(3, 4);
void ctr_stop_step(struct ctr *c);

/* pull.c */
/* Whether a container of the pod waits for its image. */
bool pod_wants_image(const struct pod *p);
/* true when the image is here: *ret; false: waiting, state and reason are set. */
bool ctr_image_ready(struct ctr *c, const struct image **ret);
void ctr_pull_cancel(struct ctr *c);

/* probes.c */
void ctr_probes_start(struct ctr *c);
void ctr_probes_stop(struct ctr *c);
/* During termination only readiness goes on. */
void ctr_probes_terminating(struct ctr *c);
bool ctr_probe_ready(const struct ctr *c);

/* hooks.c */
typedef void hook_done_fn(struct ctr *c, bool ok, const char *why);
/* handler: {exec|httpGet|tcpSocket|sleep}. done is called once, never from within hook_start(). */
struct hook *hook_start(struct ctr *c, const json_t *handler, hook_done_fn *done);
void hook_cancel(struct hook *h);
/* An httpGet/tcpSocket/grpc action as a probe; strings live in keep. -EINVAL: no such port. */
int probe_target(const struct ctr *c, const json_t *action, struct probe_config *ret,
		 struct spec *keep);

/* run.c: a command in a container, its output collected */
struct run;
typedef void run_done_fn(void *arg, int code, bool timed_out, const char *output);
/* Never fails at once: done comes later, with code < 0 and the reason as output. */
struct run *run_start(struct ctr *c, const char *const *argv, uint64_t timeout_us,
		      run_done_fn *done, void *arg);
void run_cancel(struct run *r);

/* ---- the node --------------------------------------------------------------------------- */

/* metrics.c */
struct node_metrics {
	struct usage machine;
	mono_t sampled; /* when all were sampled together */
	time_t wall;	/* the same by the wall clock, for clients */
	struct timer *timer;
	struct list waiting; /* for the second sample */
};

struct services; /* services.c */
struct log_reader;

struct node {
	struct loop *loop;
	struct node_parts parts;
	struct store *store;

	/* configuration, copied */
	char *name, *state_dir, *run_dir, *log_dir, *cluster_domain, *resolv_conf, *version;
	struct in_addr dns_ip, api_ip;
	struct sockaddr_in api_addr; /* port 0: none */
	struct cidr pod_cidr;

	struct map by_uid; /* struct pod */
	struct list pods;
	struct store_watch *pod_watch, *configmap_watch, *secret_watch;
	struct task pod_task;	      /* looks at a pod that is large */
	struct store_event pod_event; /* this one; a reference to the object */
	bool adopted;		      /* runtime_adopt() is through: pods may start */

	bool stopping; /* node_stop_pods() */
	void (*stopped)(void *arg);
	void *stopped_arg;

	int64_t cpu_milli, memory_bytes;
	char host_ip[INET_ADDRSTRLEN];

	struct list logs; /* open log readers */
	struct child *sweeper;
	bool sweep_again;

	struct services *services;
	struct node_metrics metrics;
	struct work status_work; /* the Node object */
	struct timer *status_timer;
	struct store_watch *node_watch;
};

struct pod *node_pod(const struct node *n, const char *ns, const char *name);
void node_forget(struct pod *p);	/* out of the lists; freed at the end of the turn */
void node_pods_changed(struct node *n); /* hostPorts may differ */

/* trash.c: directories that go away without blocking the loop */
void trash_put(struct node *n, const char *path);
void trash_sweep(struct node *n);

/* adopt.c */
void node_adopt(struct node *n); /* node_adopted() follows */
void node_adopted(struct node *n);

/* logs.c */
void logs_poke(struct node *n, const struct pod *p); /* something of the pod changed or went away */
void logs_forget(struct node *n, const struct pod *p);

/* services.c */
struct services *services_start(struct node *n, struct err *err);
void services_stop(struct services *s);
void services_dirty(struct services *s);

/* metrics.c; see api_node_ops */
void node_metrics_start(struct node *n);
void node_metrics_stop(struct node *n);
void *node_usage_refresh(void *node, void (*done)(void *arg), void *arg);
void node_usage_cancel(void *wait);
bool node_usage_machine(void *node, struct api_usage *ret);
bool node_usage_container(void *node, const char *ns, const char *pod, size_t i,
			  struct api_usage *ret);

/* node_status.c */
void node_status_start(struct node *n);
void node_status_stop(struct node *n);
void node_read_capacity(struct node *n);

#endif
