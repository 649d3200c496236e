/* SPDX-License-Identifier: Apache-2.0 */
/* A check is one try of a probe; each kind has its own way to start and cancel it. */
#ifndef CORACLE_PROBE_INTERNAL_H
#define CORACLE_PROBE_INTERNAL_H

#include <coracle/http.h>
#include <coracle/probe.h>

/* A deep copy of what the caller gave. */
struct target {
	struct probe_config config; /* its pointers are owned below */
	char *path, *host, *service;
	struct probe_header *headers;
	char **argv;
};
void probe_target_init(struct target *t, const struct probe_config *config);
void probe_target_done(struct target *t);

/* why: in kubelet's words, a warning if ok. The check is over. */
typedef void check_done_fn(void *arg, bool ok, const char *why);
struct check {
	struct loop *loop;
	const struct target *target;
	check_done_fn *done;
	void *arg;
	struct timer *limit;
	bool running;
	/* http */
	struct http_call *call;
	char *location; /* of a redirect */
	unsigned redirects;
	int code;	    /* of the answer */
	size_t body_len;    /* of the answer so far */
	struct strbuf body; /* of a redirect: how it begins */
	/* tcp */
	int fd;
	struct io *io;
	/* grpc */
	struct stream *stream;
};
void check_init(struct check *c, struct loop *loop, const struct target *t, check_done_fn *done,
		void *arg);
/* Starts; the answer comes in a later turn, or at once when nothing can be started. Not for exec.
 */
void check_start(struct check *c);
void check_cancel(struct check *c); /* done is not called */
void check_free(struct check *c);
void check_end(struct check *c, bool ok, const char *fmt, ...) PRINTF_LIKE(3, 4);
/* "10.42.0.5:8080" */
const char *check_address(const struct check *c, char buf[static ADDR_TEXT_MAX]);

/* One per kind. on_timeout says what a time-out is called. */
struct check_ops {
	void (*start)(struct check *c);
	void (*cancel)(struct check *c);
	void (*on_timeout)(struct check *c);
};
extern const struct check_ops http_check, tcp_check, grpc_check;

#endif
