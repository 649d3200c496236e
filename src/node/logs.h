/* SPDX-License-Identifier: Apache-2.0 */
/* logs: reads a container's CRI log files for `kubectl logs`. See api_node_ops. */
#ifndef CORACLE_NODE_LOGS_H
#define CORACLE_NODE_LOGS_H

#include <coracle/api.h>

struct api_log *logs_open(void *node, const char *ns, const char *pod,
			  const struct api_log_options *o, const struct api_log_ops *ops, void *arg,
			  struct err *err);
void logs_resume(struct api_log *l);
void logs_close(struct api_log *l);

struct node;
struct ctr;
/* The container of a pod by name, or the only one; errors in Kubernetes' words. */
struct ctr *node_choose_ctr(const struct node *n, const char *ns, const char *pod,
			    const char *container, struct err *err);

#endif
