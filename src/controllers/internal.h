/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the controllers share: the frame that each fills in, its queue of dirty keys, and small
 * helpers on objects. A key is any string that tells the controller what to look at again, mostly
 * "namespace/name".
 */
#ifndef CORACLE_CONTROLLERS_INTERNAL_H
#define CORACLE_CONTROLLERS_INTERNAL_H

#include <coracle/controllers.h>

struct controller;

/* One controller. Level-triggered: reconcile() may be called at any time, any number of times. */
struct controller_def {
	const char *name;
	/* Whose objects the keys name, for a definition that shares its functions with another. */
	const struct kind *kind;
	/* Marks keys dirty. Called for every object at start (as ADDED) and every change after. */
	void (*on_event)(struct controller *c, const struct store_event *ev);
	/* < 0: is called again for this key after a back-off. */
	int (*reconcile)(struct controller *c, const char *key, struct err *err);
	/* How many bytes of text reconcile() will go through, roughly: when they are many it is
	 * done by a task, breathes, and only has to bear that objects change meanwhile. May be
	 * NULL. */
	size_t (*weight)(struct controller *c, const char *key);
	/* Optional state of its own. */
	void *(*start)(struct controller *c);
	void (*stop)(void *state);
};
extern const struct controller_def quota_controller, disruption_controller;
extern const struct controller_def replicaset_controller, deployment_controller,
	endpoints_controller, endpointslice_controller, gc_controller, namespace_controller,
	serviceaccount_controller, scheduler_controller, rbac_controller, token_controller,
	crd_controller, ipaddress_controller, csinode_controller, flowschema_controller,
	kubernetesservice_controller, certificates_controller, apiservice_controller,
	replication_controller, taint_controller, policy_controller, servicecidr_controller,
	protection_controller;

/* ---- queue ------------------------------------------------------------------------------ */

/* Dirty keys of one controller: ready ones in order, delayed ones behind one timer. */
struct queue {
	struct loop *loop;
	struct map items;    /* key -> struct queue_item */
	struct list ready;   /* struct queue_item.node */
	struct list delayed; /* struct queue_item.node, unsorted */
	struct timer *timer; /* armed for the earliest delayed one */
	struct work *wake;   /* queued when something becomes ready */
	uint64_t added, retried;
};
void queue_init(struct queue *q, struct loop *loop, struct work *wake);
void queue_done(struct queue *q);
void queue_add(struct queue *q, const char *key);
/* Makes the key dirty in after_us, or sooner if something else does. */
void queue_add_after(struct queue *q, const char *key, uint64_t after_us);
/* 5 ms doubling to 1000 s with every call; queue_forget() starts over. */
void queue_retry(struct queue *q, const char *key);
void queue_forget(struct queue *q, const char *key);
/* Next ready key or NULL; caller frees. It may be added again while it is worked on. */
char *queue_take(struct queue *q);
bool queue_has_ready(const struct queue *q);
size_t queue_len(const struct queue *q);

/* ---- frame ------------------------------------------------------------------------------ */

struct controller {
	const struct controller_def *def;
	struct controllers *all;
	struct loop *loop;
	struct registry *registry;
	struct store *store;
	const struct controllers_config *config;
	struct queue queue;
	void *state;
};
void controller_dirty(struct controller *c, const char *ns, const char *name);
void controller_dirty_after(struct controller *c, const char *ns, const char *name,
			    uint64_t after_us);
/* Splits "ns/name"; caller frees *ns; name points into key. */
const char *key_split(const char *key, char **ns);

/* A weight of what is left to a task, however small it is. */
#define WEIGHT_LARGE (64U << 10)
/* The length of the object of kind k that the key names. */
size_t key_weight(const struct controller *c, const struct kind *k, const char *key);

/* ---- objects ---------------------------------------------------------------------------- */

bool finalizer_find(const json_t *obj, const char *name);
/* Both write the object; one that is gone is no error. */
int finalizer_add(struct controller *c, const struct object *o, const char *name, struct err *err);
int finalizer_drop(struct controller *c, const struct object *o, const char *name, struct err *err);
/* Writes obj in place of o, which may be gone. */
int object_update(struct controller *c, const struct object *o, json_t *obj, struct err *err);
/* ownerReference of a controller, to put into metadata.ownerReferences. */
json_t *owner_reference(const struct object *owner);
/* True when the controller reference of obj has this uid. */
bool controlled_by(const json_t *obj, const char *uid);
/* Not finished and not being deleted. */
bool pod_active(const json_t *pod);
bool pod_ready(const json_t *pod);
/* Ready for at least min_seconds; *wait: seconds until then when it is only a matter of time. */
bool pod_available(const json_t *pod, int64_t min_seconds, time_t now, int64_t *wait);
/* The condition of that type in status.conditions, borrowed, or NULL. */
json_t *condition_find(const json_t *status, const char *type);
/*
 * Sets a condition in a status; lastTransitionTime moves only when the status changes. Nothing is
 * done when status, reason and message stay the same; true when something was changed.
 */
bool condition_set(json_t *status, const char *type, const char *value, const char *reason,
		   const char *message, time_t now);
void condition_remove(json_t *status, const char *type);
/* Wall clock, seconds. */
time_t wall_now(void);

#endif
