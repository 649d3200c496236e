/* SPDX-License-Identifier: Apache-2.0 */
/* Private to api: the proxy subresource of pods, services and nodes. */
#ifndef CORACLE_SRC_API_PROXY_H
#define CORACLE_SRC_API_PROXY_H

#include "internal.h"

/* Where the request goes. */
struct place {
	bool tls;
	struct addr addr;
	char text[ADDR_TEXT_MAX]; /* "10.42.0.5:8080" */
};
int place_find(struct call *c, struct place *ret, struct err *err) MUST_CHECK;
/*
 * A Location of the answer as the client has to see it (KUBERNETES.md, "proxy"): what is on the
 * same host goes below prefix, the path up to and including "/proxy". Caller frees.
 */
char *proxy_location(const char *location, const char *prefix, const char *place, const char *host);
/* Answers what the node of this process answers by itself; false: it is for another server. */
bool kubelet_page(struct call *c);
/* Joins two connections, both handed over. */
void tunnel_start(struct api *a, struct stream *one, struct stream *other);

#endif
