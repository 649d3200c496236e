/* SPDX-License-Identifier: Apache-2.0 */
/* Private to api: what the streaming subresources of pods share. */
#ifndef CORACLE_SRC_API_POD_H
#define CORACLE_SRC_API_POD_H

#include "internal.h"

/* The pod of the call when it is on a node, borrowed; NULL + error. */
const json_t *pod_find(struct call *c, struct err *err);
/* The container the request means: named, the only one, or the default by annotation. */
int pod_container(struct call *c, const json_t *pod, char **ret, struct err *err) MUST_CHECK;

#endif
