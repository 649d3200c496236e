/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Private to the OpenAPI documents:
 *   openapi.c           which pieces there are, in their order
 *   openapi_schema.c    a type as a JSON schema
 *   openapi_paths.c     what can be done at a path
 *   openapi_protobuf.c  a piece's JSON as protobuf
 */
#ifndef CORACLE_SRC_SCHEMA_OPENAPI_H
#define CORACLE_SRC_SCHEMA_OPENAPI_H

#include "internal.h"

#define META_PREFIX "io.k8s.apimachinery.pkg.apis.meta.v1."

enum openapi_stage {
	STAGE_HEAD,
	STAGE_PATHS,
	STAGE_MESSAGES,
	STAGE_LISTS,
	STAGE_CUSTOM,
	STAGE_SPECIAL,
	STAGE_TAIL,
	STAGE_END
};
struct openapi {
	bool v3, protobuf;
	enum openapi_stage stage;
	size_t at, sub;		   /* in the stage */
	bool more;		   /* the JSON object that is open has a member */
	bool *used;		   /* by index in schema_messages */
	const struct kind **kinds; /* references */
	size_t n_kinds;
	struct strbuf b; /* JSON of the piece */
};

/* ---- JSON text -------------------------------------------------------------------------- */

void openapi_string(struct strbuf *b, const char *s);
void openapi_comma(struct strbuf *b); /* unless a bracket was just opened */
void openapi_key(struct strbuf *b, const char *key);
void openapi_member(struct strbuf *b, const char *key, const char *value);
void openapi_csv(struct strbuf *b, const char *key, const char *list);
void openapi_gvk(struct strbuf *b, const char *group, const char *version, const char *kind);
/* "$ref": the name of a definition. */
void openapi_ref(struct openapi *d, const char *name);

/* ---- pieces: each appends one JSON object to d->b ----------------------------------------- */

void openapi_message(struct openapi *d, const struct message *m);
void openapi_list(struct openapi *d, const struct kind *k);
char *openapi_list_name(const struct kind *k); /* of the definition; caller frees */
/* The i-th type whose JSON is not that of its message; its name, "" when it is not in this
 * document, NULL behind the last. */
const char *openapi_special(struct openapi *d, size_t i);
bool openapi_is_special(const struct message *m);
/* The i-th path of a kind. NULL behind the last; "" when the kind has not this one. */
char *openapi_path(struct openapi *d, const struct kind *k, size_t i);
/* The path that lists the resources of the kind's group and version. */
char *openapi_resources(struct openapi *d, const struct kind *k);
/* Message that answers of the subresource have, NULL: text. */
const struct message *openapi_answer(const struct kind *k, const struct subresource *s);

/* ---- protobuf ---------------------------------------------------------------------------- */

enum openapi_section { SECTION_HEAD, SECTION_PATH, SECTION_DEFINITION };
/* Appends one piece as part of a gnostic Document. */
void openapi_protobuf(struct strbuf *out, enum openapi_section section, const char *name,
		      const char *json, size_t len);

#endif
