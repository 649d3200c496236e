/* SPDX-License-Identifier: Apache-2.0 */
/*
 * registry: the one way to write API objects.
 *
 * Purpose: what the Kubernetes API server does between decoding and storage, for every writer
 * alike (api, controllers, node): metadata (uid, generateName, creationTimestamp, generation),
 * defaults, validation, admission (namespace life cycle, service account, limits, policies),
 * allocation of cluster IPs and node ports, optimistic concurrency, status/spec separation,
 * finalizers, graceful deletion and propagation policy, events. Lifetime: registry_new() after
 * store_open(); it makes the system namespaces, the `default` ServiceAccounts come from the
 * controllers.
 */
#ifndef CORACLE_REGISTRY_H
#define CORACLE_REGISTRY_H

#include <coracle/store.h>

struct registry_config {
	const char *service_cidr;   /* "10.43.0.0/16" */
	const char *cluster_domain; /* "cluster.local" */
	int node_port_min, node_port_max;
	const char *node_name;
	bool mount_tokens; /* pods get credentials for the API: it can be reached from them */
};
struct registry;
struct registry *registry_new(struct loop *loop, struct store *store,
			      const struct registry_config *config, struct err *err);
void registry_free(struct registry *r);
struct store *registry_store(const struct registry *r);

/* Holds a definition until its objects have been deleted. */
#define CRD_CLEANUP_FINALIZER "customresourcecleanup.apiextensions.k8s.io"

/* Who writes, for admission policies. */
struct cel_access;
struct write_by {
	json_t *(*user)(void *arg); /* UserInfo, new */
	bool (*authorize)(void *arg, const struct cel_access *access, const char **reason);
	void *arg;
	struct strv *warnings; /* gets what a policy warns of */
};
struct write_options {
	bool dry_run;		      /* everything but storing; *ret is a detached object */
	enum store_class storage;     /* default (0): STORE_DURABLE */
	const char *precondition_uid; /* or NULL */
	uint64_t precondition_rev;    /* 0: none */
	const char *field_manager;    /* whose the changed fields are; NULL: our own */
	const char *tracked_as;	      /* subresource that managedFields shall name, or NULL */
	bool managed_given;	      /* metadata.managedFields is what shall be stored */
	bool patched;		      /* obj was made from what is stored, by a patch */
	bool force;		      /* apply only: take fields that others own */
	/* delete only */
	int64_t grace_seconds;	 /* -1: the object's own */
	const char *propagation; /* "Background" "Foreground" "Orphan" or NULL */
	store_done_fn *done;	 /* when durable; may be NULL */
	void *done_arg;
	/* What depends on who writes, or NULL. Asked before defaults and validation, with the
	 * object as it would be (it may be filled in) and what it replaces (NULL: new). < 0
	 * refuses. */
	int (*admit)(void *arg, const struct kind *k, const char *subresource, json_t *obj,
		     const struct object *old, struct err *err);
	void *admit_arg;
	const struct write_by *by; /* NULL: the system itself */
};

/*
 * obj: borrowed, changed in place (filled in). ns: the namespace of the request, "" for
 * cluster-scoped. *ret: borrowed object as stored. Errors in Kubernetes' words.
 */
int registry_create(struct registry *r, const struct kind *k, const char *ns, json_t *obj,
		    const struct write_options *o, const struct object **ret,
		    struct err *err) MUST_CHECK;
/* subresource: NULL (spec and metadata), "status", "scale" is done by the caller, "finalize",
 * "ephemeralcontainers". Uses obj's metadata.resourceVersion when it has one. May return an object
 * that was created (create_on_update) or, with the last finalizer gone, deleted; *ret_created. */
int registry_update(struct registry *r, const struct kind *k, const char *subresource,
		    const char *ns, const char *name, json_t *obj, const struct write_options *o,
		    const struct object **ret, bool *ret_created, struct err *err) MUST_CHECK;
/* Server-side apply of the configuration obj (borrowed), as schema_decode_applied() gives it, by
 * o->field_manager; makes the object when it is absent. subresource: NULL or "status". A conflict
 * is ERR_CONFLICT with its causes. */
int registry_apply(struct registry *r, const struct kind *k, const char *subresource,
		   const char *ns, const char *name, json_t *obj, const struct write_options *o,
		   const struct object **ret, bool *ret_created, struct err *err) MUST_CHECK;
/* *ret: the object (still there: graceful or finalizers) or its last state; *ret_gone says which.
 */
int registry_delete(struct registry *r, const struct kind *k, const char *ns, const char *name,
		    const struct write_options *o, const struct object **ret, bool *ret_gone,
		    struct err *err) MUST_CHECK;

/* Asks admission policies about a CONNECT to a subresource; options: the object that they see. */
int registry_connect(struct registry *r, const struct kind *k, const char *subresource,
		     const char *ns, const char *name, const json_t *options,
		     const struct write_options *o, struct err *err) MUST_CHECK;

/* DELETE of a pod that its disruption budget must agree to: else 429 with the cause
 * DisruptionBudget. */
int registry_evict(struct registry *r, const char *ns, const char *name,
		   const struct write_options *o, const struct object **ret, bool *ret_gone,
		   struct err *err) MUST_CHECK;

/* What the namespace of a ResourceQuota uses of what it bounds; a new map of quantities. */
json_t *registry_quota_usage(struct registry *r, const struct object *quota);
/* Does the quota count objects of the kind? */
bool registry_quota_counts(const struct object *quota, const struct kind *k);

/*
 * Status write for controllers and node: replaces .status of the present object if it differs.
 * class: STORE_VOLATILE for observations, STORE_LAZY for what must survive a boot.
 */
int registry_set_status(struct registry *r, const struct kind *k, const char *ns, const char *name,
			const char *uid, json_t *status /* stolen */, enum store_class c,
			struct err *err) MUST_CHECK;

/* The services of the API and of DNS: makes those that are missing, or not at their addresses. */
bool registry_is_system_service(const char *ns, const char *name);
int registry_make_services(struct registry *r, struct err *err) MUST_CHECK;
/* Makes those of the flow schemas and priority levels that nobody can do without which are missing.
 */
int registry_make_flow_control(struct registry *r, struct err *err) MUST_CHECK;

/* Somebody is about to read (or starts or ends to watch) objects of this kind: what is only kept up
 * to date for them is brought up to date. */
void registry_look(struct registry *r, const struct kind *k);
void registry_watched(struct registry *r, const struct kind *k, bool begins);

/*
 * Records a core/v1 Event about an object, folding repeats into count (as client-go's recorder);
 * volatile; at most an hour old, bounded number. type: "Normal" or "Warning".
 */
void registry_event(struct registry *r, const struct object *about, const char *field_path,
		    const char *type, const char *reason, const char *component, const char *fmt,
		    ...) PRINTF_LIKE(7, 8);

#endif
