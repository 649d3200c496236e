/* SPDX-License-Identifier: Apache-2.0 */
/* What Endpoints and EndpointSlice share: which services a pod counts for, and a pod's ports. */
#ifndef CORACLE_CONTROLLERS_ENDPOINTS_H
#define CORACLE_CONTROLLERS_ENDPOINTS_H

#include "internal.h"

/* Marks the services of a pod's namespace dirty whose selector matches the pod (its labels now). */
void dirty_services_of(struct controller *c, const json_t *pod);
/* Common event handling: Service, Pod, Endpoints (own or manual) and, by name label, slices. */
void endpoints_on_event(struct controller *c, const struct store_event *ev);
size_t endpoints_weight(struct controller *c, const char *key);
/* Has a selector and is not ExternalName: its endpoints are made by us. */
bool service_is_managed(const json_t *svc);
bool service_is_headless(const json_t *svc);
/* The pod has an address and has not finished. */
bool pod_addressable(const json_t *pod);
/* New array of {name, port, protocol, appProtocol} with the service's target ports resolved against
 * the pod; ports that the pod does not name are left out. */
json_t *pod_ports(const json_t *svc, const json_t *pod);
json_t *pod_target_ref(const struct object *pod);
/* The pod's hostname when its subdomain names the service, else NULL. */
const char *pod_service_hostname(const json_t *svc, const json_t *pod);
bool service_publishes_unready(const json_t *svc);

#endif
