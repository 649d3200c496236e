/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Deployment: what its files share. One `struct rollout` is the view of one Deployment during one
 * reconcile: itself and its ReplicaSets, oldest first. Writing through it keeps the view current.
 * Follows upstream's pkg/controller/deployment (v1.33).
 */
#ifndef CORACLE_CONTROLLERS_DEPLOYMENT_H
#define CORACLE_CONTROLLERS_DEPLOYMENT_H

#include "internal.h"

#define DEPLOYMENT_COMPONENT "deployment-controller"
#define REVISION "deployment.kubernetes.io/revision"
#define REVISION_HISTORY "deployment.kubernetes.io/revision-history"
#define DESIRED_REPLICAS "deployment.kubernetes.io/desired-replicas"
#define MAX_REPLICAS "deployment.kubernetes.io/max-replicas"
#define TEMPLATE_HASH "pod-template-hash"

struct rollout {
	struct controller *c;
	const struct object *d;	  /* referenced */
	const struct object **rs; /* referenced; all ours, oldest first */
	size_t n;
	const struct object *new_rs; /* borrowed from rs, or NULL */
	json_t *status;		     /* the status to write; starts as a copy of the present one */
};

static inline const json_t *rollout_json(const struct rollout *ro)
{
	return object_json(ro->d);
}
static inline int64_t rollout_replicas(const struct rollout *ro)
{
	return json_int(rollout_json(ro), "spec.replicas", 1);
}
static inline int64_t rs_replicas(const struct object *rs)
{
	return json_int(object_json(rs), "spec.replicas", 1);
}
static inline int64_t rs_available(const struct object *rs)
{
	return json_int(object_json(rs), "status.availableReplicas", 0);
}
bool rollout_is_rolling(const struct rollout *ro);
int64_t rollout_max_surge(const struct rollout *ro);
int64_t rollout_max_unavailable(const struct rollout *ro);
/* Sum of spec.replicas of all; and of all but the new one. */
int64_t rollout_total(const struct rollout *ro);
int64_t rollout_old_total(const struct rollout *ro);

/* deployment_revision.c: which ReplicaSet is the new one; making it; revision numbers. */
void rollout_find_new(struct rollout *ro);
int rollout_sync_revision(struct rollout *ro, bool create, struct err *err);
int rollout_cleanup(struct rollout *ro, struct err *err);

/* deployment_scale.c */
/* Sets spec.replicas and the size annotations of the i-th ReplicaSet; event when it changed. */
int rollout_scale_rs(struct rollout *ro, const struct object *rs, int64_t replicas, bool *changed,
		     struct err *err);
bool rollout_is_scaling(const struct rollout *ro);
int rollout_scale(struct rollout *ro, struct err *err);
/* How many replicas the new ReplicaSet may have now. */
int64_t rollout_new_rs_replicas(const struct rollout *ro, int64_t present);
/* Sets desired/max annotations in a ReplicaSet object; true when they changed. */
bool set_size_annotations(const struct rollout *ro, json_t *rs);

/* deployment_rolling.c */
int rollout_rolling(struct rollout *ro, struct err *err);
int rollout_recreate(struct rollout *ro, struct err *err);

/* deployment_status.c */
/* Recomputes the counts and the Available condition. progress: also the Progressing condition. */
int rollout_sync_status(struct rollout *ro, bool progress, struct err *err);
bool rollout_complete(const struct rollout *ro, const json_t *status);
/* As condition_set, with lastUpdateTime. */
void rollout_condition(struct rollout *ro, const char *type, const char *value, const char *reason,
		       const char *message);

/* Replaces the view's copy of a ReplicaSet after a write; NULL: it is gone. */
void rollout_replace_rs(struct rollout *ro, const struct object *old, const struct object *now);
void rollout_add_rs(struct rollout *ro, const struct object *rs);

#endif
