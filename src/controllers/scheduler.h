/* SPDX-License-Identifier: Apache-2.0 */
/* Scheduler: its filters. pod and node are API objects. */
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

#endif
