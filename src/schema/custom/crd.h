/* SPDX-License-Identifier: Apache-2.0 */
/* What crd.c and crd_schema.c share. */
#ifndef CORACLE_SCHEMA_CRD_H
#define CORACLE_SCHEMA_CRD_H

#include "custom.h"

#define CRD_APPROVED "api-approved.kubernetes.io"
/* The path of c is at the schema: openAPIV3Schema of a version. */
void check_schema(struct check *c, const json_t *schema);
/* The rules in CEL of one schema; rules: its node, spine: the node that says what there is.
 * uncorrelatable: the path that old values are lost at, or NULL. */
void check_rules(struct check *c, const json_t *schema, struct tree *tree, const struct node *rules,
		 const struct node *spine, bool root, const char *uncorrelatable);

#endif
