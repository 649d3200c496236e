/* SPDX-License-Identifier: Apache-2.0 */
/* HTTP to a registry over libcurl: one connection, redirects, sign-in. */
#ifndef CORACLE_IMAGE_WORKER_HTTP_H
#define CORACLE_IMAGE_WORKER_HTTP_H

#include "ref.h"
#include <coracle/base.h>

struct registry;
/* Everything borrowed for the registry's life. */
struct registry *registry_open(const struct image_ref *ref, const char *username,
			       const char *password, struct err *err);
void registry_close(struct registry *r);
DEFINE_AUTO(registry, struct registry *, registry_close);

struct http_answer {
	long status;
	char *content_type;   /* without parameters, or NULL */
	char *content_digest; /* Docker-Content-Digest, or NULL */
	char *error_code;     /* "MANIFEST_UNKNOWN", from the error document, or NULL */
};
void http_answer_done(struct http_answer *a);
#define auto_answer __attribute__((cleanup(http_answer_done))) struct http_answer

/* Receives the body of a 2xx answer. <0 (with err set) ends the transfer. */
typedef int http_body_fn(void *arg, long status, const void *data, size_t len, struct err *err);
/* GET /v2/<path>/<what>/<id>, from byte `from` on. Signs in when asked to. Anything but 2xx and
 * 416 is an error. */
int registry_get(struct registry *r, const char *what, const char *id, uint64_t from,
		 http_body_fn *body, void *arg, struct http_answer *ret,
		 struct err *err) MUST_CHECK;

/* One challenge of WWW-Authenticate (RFC 9110 section 11.6.1), pure. */
struct challenge {
	bool basic, bearer;
	char *realm, *service, *scope;
};
int challenge_parse(const char *value, struct challenge *ret) MUST_CHECK;
void challenge_done(struct challenge *c);

#endif
