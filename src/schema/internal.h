/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of src/schema share: the parts of kind_ops that the kind tables name, and a few
 * helpers. Nothing here is seen by other modules.
 */
#ifndef CORACLE_SCHEMA_INTERNAL_H
#define CORACLE_SCHEMA_INTERNAL_H

#include <coracle/schema.h>

/* kind_ops.cells: rows of `kubectl get` (cells_*.c). */
void pod_cells(const json_t *obj, time_t now, json_t *cells);
void replicaset_cells(const json_t *obj, time_t now, json_t *cells);
void deployment_cells(const json_t *obj, time_t now, json_t *cells);
void scale_cells(const json_t *obj, time_t now, json_t *cells);
void service_cells(const json_t *obj, time_t now, json_t *cells);
void endpoints_cells(const json_t *obj, time_t now, json_t *cells);
void endpointslice_cells(const json_t *obj, time_t now, json_t *cells);
void node_cells(const json_t *obj, time_t now, json_t *cells);
void namespace_cells(const json_t *obj, time_t now, json_t *cells);
void configmap_cells(const json_t *obj, time_t now, json_t *cells);
void secret_cells(const json_t *obj, time_t now, json_t *cells);
void serviceaccount_cells(const json_t *obj, time_t now, json_t *cells);
void event_cells(const json_t *obj, time_t now, json_t *cells);

/* kind_ops.field_label: what field selectors may ask for (field_labels.c). */
const char *pod_field_label(const json_t *obj, const char *label);
const char *node_field_label(const json_t *obj, const char *label);
const char *event_field_label(const json_t *obj, const char *label);
const char *namespace_field_label(const json_t *obj, const char *label);
const char *secret_field_label(const json_t *obj, const char *label);
const char *service_field_label(const json_t *obj, const char *label);

/* Cell helpers (table.c). A cell is never missing: NULL and "" become fallback. */
void cell_str(json_t *cells, const char *s, const char *fallback);
void cell_int(json_t *cells, int64_t i);
/* Age of a metav1.Time or MicroTime text: "5m", "<unknown>" when unset. */
void cell_age(json_t *cells, const char *when, time_t now);
/* Same into a buffer. */
char *age_text(char buf[static 24], const char *when, time_t now);

/* Bounds of patches: operations of a JSON patch, comparisons of one list merge. */
#define PATCH_MAX_OPERATIONS 10000
#define PATCH_MAX_COMPARISONS INT64_C(20000000)

#endif
