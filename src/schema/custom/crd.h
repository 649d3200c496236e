/* SPDX-License-Identifier: Apache-2.0 */
/* What crd.c and crd_schema.c share. */
#ifndef CORACLE_SCHEMA_CRD_H
#define CORACLE_SCHEMA_CRD_H

#include "custom.h"

#define CRD_APPROVED "api-approved.kubernetes.io"
/* The path of c is at the schema: openAPIV3Schema of a version. */
void check_schema(struct check *c, const json_t *schema);
/* Where a schema stands in the compiled one, which its rules in CEL are checked against. */
struct place {
	const struct node *rules, *spine; /* spine: says what there is; NULL: nowhere (inside anyOf,
					     oneOf, not) */
	const char *uncorrelatable;	  /* path behind which oldSelf is nothing, or NULL */
	uint64_t count;			  /* values it may have in one object; 0: no limit */
};
void check_rules(struct check *c, const json_t *schema, struct tree *tree, const struct place *at,
		 bool root);

#endif
