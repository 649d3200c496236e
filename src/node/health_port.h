/* SPDX-License-Identifier: Apache-2.0 */
/* health_port: answers balancers on a Service's healthCheckNodePort, as kube-proxy does. */
#ifndef CORACLE_NODE_HEALTH_PORT_H
#define CORACLE_NODE_HEALTH_PORT_H

#include <coracle/loop.h>

struct health_port;
/* What answers from now on: *h made, moved or (port 0) freed. endpoints: ready ones on this node.
 */
void health_port_set(struct health_port **h, struct loop *loop, const char *ns, const char *name,
		     uint16_t port, size_t endpoints);
void health_port_free(struct health_port *h); /* NULL allowed */

#endif
