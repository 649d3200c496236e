/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Members of struct kind_ops of the groups around the workloads: networking, storage,
 * coordination, node, admissionregistration, flowcontrol, apiregistration.
 */
#ifndef CORACLE_SCHEMA_PLATFORM_H
#define CORACLE_SCHEMA_PLATFORM_H

#include <coracle/schema.h>

void networkpolicy_set_defaults(json_t *obj, const json_t *old);
void flowschema_set_defaults(json_t *obj, const json_t *old);

/* events.k8s.io/v1 Event; see struct kind_ops. */
void event_to_storage(json_t *obj);
void event_from_storage(json_t *obj);
void event_v1_validate(const json_t *obj, const json_t *old, struct err *err);
void event_v1_cells(const json_t *obj, time_t now, json_t *cells);
const char *event_v1_field_label(const json_t *obj, const char *label);
const char *certificatesigningrequest_field_label(const json_t *obj, const char *label);

void ingress_validate(const json_t *obj, const json_t *old, struct err *err);
void ingressclass_validate(const json_t *obj, const json_t *old, struct err *err);
void networkpolicy_validate(const json_t *obj, const json_t *old, struct err *err);
void servicecidr_validate(const json_t *obj, const json_t *old, struct err *err);
void ipaddress_validate(const json_t *obj, const json_t *old, struct err *err);
void storageclass_validate(const json_t *obj, const json_t *old, struct err *err);
void csidriver_validate(const json_t *obj, const json_t *old, struct err *err);
void csinode_validate(const json_t *obj, const json_t *old, struct err *err);
void csistoragecapacity_validate(const json_t *obj, const json_t *old, struct err *err);
void volumeattachment_validate(const json_t *obj, const json_t *old, struct err *err);
void lease_validate(const json_t *obj, const json_t *old, struct err *err);
void runtimeclass_validate(const json_t *obj, const json_t *old, struct err *err);
void webhooks_validate(const json_t *obj, const json_t *old, struct err *err);
void admissionpolicy_validate(const json_t *obj, const json_t *old, struct err *err);
void admissionbinding_validate(const json_t *obj, const json_t *old, struct err *err);
void flowschema_validate(const json_t *obj, const json_t *old, struct err *err);
void prioritylevel_validate(const json_t *obj, const json_t *old, struct err *err);
void apiservice_validate(const json_t *obj, const json_t *old, struct err *err);

void componentstatus_cells(const json_t *obj, time_t now, json_t *cells);
void ingress_cells(const json_t *obj, time_t now, json_t *cells);
void ingressclass_cells(const json_t *obj, time_t now, json_t *cells);
void networkpolicy_cells(const json_t *obj, time_t now, json_t *cells);
void servicecidr_cells(const json_t *obj, time_t now, json_t *cells);
void ipaddress_cells(const json_t *obj, time_t now, json_t *cells);
void lease_cells(const json_t *obj, time_t now, json_t *cells);
void storageclass_cells(const json_t *obj, time_t now, json_t *cells);
void csidriver_cells(const json_t *obj, time_t now, json_t *cells);
void csinode_cells(const json_t *obj, time_t now, json_t *cells);
void csistoragecapacity_cells(const json_t *obj, time_t now, json_t *cells);
void volumeattachment_cells(const json_t *obj, time_t now, json_t *cells);
void runtimeclass_cells(const json_t *obj, time_t now, json_t *cells);
void webhooks_cells(const json_t *obj, time_t now, json_t *cells);
void admissionpolicy_cells(const json_t *obj, time_t now, json_t *cells);
void admissionbinding_cells(const json_t *obj, time_t now, json_t *cells);
void flowschema_cells(const json_t *obj, time_t now, json_t *cells);
void prioritylevel_cells(const json_t *obj, time_t now, json_t *cells);
void apiservice_cells(const json_t *obj, time_t now, json_t *cells);

#endif
