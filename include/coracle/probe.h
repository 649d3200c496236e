/* SPDX-License-Identifier: Apache-2.0 */
/*
 * probe: health checks as loop events: schedule, thresholds, and the tcp, http, exec and grpc
 * checks.
 *
 * Purpose: one prober per probe of a running container, with Kubernetes' semantics
 * (prober/worker.go): every period, the first after initial_delay, a verdict after success/failure
 * threshold equal results. Exec checks are run by the owner (an upward need): run_exec. Lifetime:
 * probe_start() when the container runs, probe_stop() when it ends.
 */
#ifndef CORACLE_PROBE_H
#define CORACLE_PROBE_H

#include <coracle/base.h>
#include <coracle/loop.h>
#include <netinet/in.h>

enum probe_kind { PROBE_HTTP, PROBE_TCP, PROBE_EXEC, PROBE_GRPC };
struct probe_header {
	const char *name, *value;
};
struct probe_config {
	enum probe_kind kind;
	struct sockaddr_in addr; /* http, tcp, grpc */
	bool https;		 /* no certificate check, as kubelet */
	const char *path;	 /* http */
	const char *host;	 /* http Host header; NULL: the address */
	const struct probe_header *headers;
	size_t n_headers;
	const char *service;			 /* grpc */
	const char *const *argv;		 /* exec */
	uint32_t initial_delay, period, timeout; /* seconds */
	uint32_t success_threshold, failure_threshold;
	bool initially_ok; /* the verdict before any result */
};
struct probe;
struct probe_ops {
	/* The verdict changed. why: "HTTP probe failed with statuscode: 500" etc., "" on success.
	 */
	void (*on_verdict)(void *arg, bool ok, const char *why);
	/* Every single failed check (for the Unhealthy event). May be NULL. */
	void (*on_failure)(void *arg, const char *why);
	/* A check was good, but kubelet would say something (ProbeWarning). May be NULL. */
	void (*on_warning)(void *arg, const char *why);
	/* Start an exec check; answer with probe_exec_done(token, ...). May be NULL without exec
	 * probes. */
	void (*run_exec)(void *arg, struct probe *p, const char *const *argv, uint32_t timeout);
	/* Give up the running exec check. */
	void (*cancel_exec)(void *arg, struct probe *p);
};
/* started: when the container started, for the initial delay. */
struct probe *probe_start(struct loop *loop, const struct probe_config *config, mono_t started,
			  const struct probe_ops *ops, void *arg);
void probe_exec_done(struct probe *p, int code, bool timed_out, const char *output);
void probe_pause(struct probe *p, bool pause); /* while the startup probe has not succeeded */
bool probe_ok(const struct probe *p);
void probe_stop(struct probe *p);
/* One HTTP GET or TCP connect outside any schedule (lifecycle hooks): done(arg, ok, why). */
struct probe_once;
struct probe_once *probe_run_once(struct loop *loop, const struct probe_config *config,
				  void (*done)(void *arg, bool ok, const char *why), void *arg);
void probe_once_cancel(struct probe_once *p);

#endif
