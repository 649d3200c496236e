/* SPDX-License-Identifier: Apache-2.0 */
/* How tests read an OpenAPI document. Behind cmocka.h and coracle/schema.h. */
#ifndef OPENAPI_PIECES_H
#define OPENAPI_PIECES_H

/* All pieces of a document, as JSON; NULL when there is no document. */
#include <coracle/schema.h>
#include <setjmp.h>
#include <cmocka.h>

static json_t *document_of(struct openapi *d)
{
	auto_strbuf b = {0};
	json_t *doc;

	if (!d)
		return NULL;
	while (openapi_next(d, &b))
		assert_true(b.len > 0);
	openapi_free(d);
	doc = json_loadb(b.s, b.len, JSON_REJECT_DUPLICATES, NULL);
	assert_non_null(doc);
	return doc;
}

#endif
