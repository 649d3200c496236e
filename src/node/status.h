/* SPDX-License-Identifier: Apache-2.0 */
/*
 * status: what the node knows about a pod, and the Kubernetes status made from it. Pure: no store,
 * no clock but the one handed in.
 */
#ifndef CORACLE_NODE_STATUS_H
#define CORACLE_NODE_STATUS_H

#include <coracle/base.h>
#include <coracle/json.h>

/* CTR_DEBUG: an ephemeral container, added to the running pod and never started again. */
enum ctr_role { CTR_INIT, CTR_SIDECAR, CTR_MAIN, CTR_DEBUG };
/* "containers", "initContainers" or "ephemeralContainers": where in the spec they are. */
const char *ctr_role_list(enum ctr_role role);
enum ctr_view { VIEW_WAITING, VIEW_RUNNING, VIEW_TERMINATED };

/* How one run of a container ended. id NULL: there was none. */
struct ctr_end {
	char *id;
	int code, signo;
	char *reason, *message; /* message may be NULL */
	struct timespec started, finished;
};
void ctr_end_done(struct ctr_end *e);

struct ctr_facts {
	char *name;
	enum ctr_role role;
	enum ctr_view view;
	const char *wait_reason; /* static; VIEW_WAITING */
	char *wait_message;	 /* or NULL */
	char *id;		 /* of the present or latest run, or NULL */
	struct timespec started_at;
	bool started, ready;
	unsigned restarts;
	char *image_id;	     /* "docker.io/library/x@sha256:...", or NULL */
	struct ctr_end end;  /* of the latest run; VIEW_TERMINATED, or waiting for the next run */
	struct ctr_end last; /* of the run before it */
};
void ctr_facts_done(struct ctr_facts *f);

struct pod_facts {
	const json_t *pod; /* the object, with its present status */
	const struct ctr_facts *const
		*ctrs; /* in spec order: init containers, containers, others */
	size_t n_ctrs;
	const char *runtime; /* "crun": prefix of container ids */
	const char *host_ip; /* "" when unknown */
	const char *pod_ip;  /* "" while there is none */
	bool sandbox_ready;
	bool terminal; /* nothing will be restarted: the pod has ended or is on its way out */
	bool failed;   /* force phase Failed with reason and message */
	const char *reason, *message; /* or NULL */
	time_t start_time;
	time_t now;
};

/* "Guaranteed", "Burstable" or "BestEffort" of a pod. */
const char *status_qos(const json_t *pod);
/* "Pending", "Running", "Succeeded" or "Failed" (kubelet's getPhase). */
const char *status_phase(const struct pod_facts *f);
/* All init containers are through and all sidecars have started. */
bool status_initialized(const struct pod_facts *f);
/* The whole new .status; conditions keep lastTransitionTime where nothing changed, and conditions
 * of others (readiness gates) stay. */
json_t *status_make(const struct pod_facts *f);
/* Reads restart count and latest runs back from a stored containerStatuses entry (adoption). */
void status_restore(struct ctr_facts *f, const json_t *entry);
/* The entry of a container in a stored pod's status, or NULL. */
const json_t *status_entry(const json_t *pod, enum ctr_role role, const char *name);

#endif
