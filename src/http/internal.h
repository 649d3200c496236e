/* SPDX-License-Identifier: Apache-2.0 */
/* Private to http: what server, client and url share. */
#ifndef CORACLE_SRC_HTTP_INTERNAL_H
#define CORACLE_SRC_HTTP_INTERNAL_H

#include <coracle/http.h>

#include "parse.h"

/* Decoded values of a query parameter, malformed ones left out. */
void http_query_values(const char *query, const char *name, bool first_only, struct strv *ret);
/* "OK" for 200, "" for codes without a name of their own. */
const char *http_reason_phrase(int code);
/* Ops for a stream between two owners: nothing happens. */
extern const struct stream_ops http_no_ops;

#endif
