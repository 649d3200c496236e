/* SPDX-License-Identifier: Apache-2.0 */
/* downward: what a pod may learn about itself (fieldRef, resourceFieldRef). Pure. */
#ifndef CORACLE_NODE_DOWNWARD_H
#define CORACLE_NODE_DOWNWARD_H

#include <coracle/base.h>
#include <coracle/json.h>

/* What is not in the pod object itself. */
struct self_facts {
	const char *pod_ip, *host_ip; /* "" when unknown */
	const char *node_name;
	int64_t node_cpu_milli; /* allocatable: limits default to it */
	int64_t node_memory_bytes;
};
/* Value of a field path ("metadata.name", "metadata.labels['app']", "metadata.labels" as
 * key="value" lines, "status.podIP", ...); caller frees. NULL + err for unknown ones. */
char *downward_field(const json_t *pod, const struct self_facts *self, const char *path,
		     struct err *err);
/* Value of a resourceFieldRef {containerName, resource, divisor}; container NULL: found by
 * containerName in the pod. Caller frees. */
char *downward_resource(const json_t *pod, const json_t *container, const struct self_facts *self,
			const json_t *ref, struct err *err);

#endif
