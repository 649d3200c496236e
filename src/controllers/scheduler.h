/* SPDX-License-Identifier: Apache-2.0 */
/* Scheduler: its filters, and what they share with preemption. pod and node are API objects. */
#ifndef CORACLE_CONTROLLERS_SCHEDULER_H
#define CORACLE_CONTROLLERS_SCHEDULER_H

#include "internal.h"

/* nodeSelector and required node affinity. */
bool affinity_matches(const json_t *pod, const json_t *node);
/* The first NoSchedule or NoExecute taint (or spec.unschedulable) that the pod does not tolerate.
 */
const json_t *untolerated_taint(const json_t *pod, const json_t *node);
/* How long the pod may stay beside the node's NoExecute taints, seconds; -1: as long as it likes.
 */
int64_t noexecute_seconds(const json_t *pod, const json_t *node);

/* scheduler.c */
#define SCHEDULER_COMPONENT "default-scheduler"
/* In thousandths. */
int64_t pod_request(const json_t *pod, const char *resource);
int64_t node_allocatable(const json_t *node, const char *resource);
/* The resources that the pod asks for, each once; upstream begins with its own. */
void pod_asks(const json_t *pod, struct strv *names);
int64_t pod_priority(const json_t *pod);
/* Bound to the node and not over. */
bool pod_is_on(const json_t *pod, const char *node);
/* A waiting pod for which room is being made on the node, if it goes before the other one. */
bool pod_is_promised(const struct object *pod, const char *node, const struct object *other);
bool host_ports_clash(const struct object *a, const struct object *b);

/* preemption.c */
enum preemption {
	PREEMPT_NONE, /* nothing that may go would help */
	PREEMPT_WAIT, /* what is to go is going already */
	PREEMPT_DONE, /* pods were sent away */
};
/* Sends away what has less priority than the pod and is in its way on the node, and no more. */
int preempt(struct controller *c, const struct object *pod, const struct object *node,
	    enum preemption *ret, struct err *err) MUST_CHECK;

#endif
