/* SPDX-License-Identifier: Apache-2.0 */
/* hooks: postStart and preStop handlers: exec, httpGet, tcpSocket, sleep. */
#include "internal.h"

#include <arpa/inet.h>

#define NET_HOOK_TIMEOUT 30 /* seconds */

struct hook {
	struct ctr *c;
	hook_done_fn *done;
	struct run *run;
	struct probe_once *once;
	struct timer *timer; /* sleep, and the late report of what could not start */
	const char *failed;  /* static */
	struct spec keep;
};

/* ---- where an action connects to ---------------------------------------------------------- */

static int port_number(const struct ctr *c, const json_t *port)
{
	const char *name = json_is_string(port) ? json_string_value(port) : "";
	const json_t *named = json_find(json_at(ctr_spec(c), "ports"), "name", name);
	int64_t n;

	if (json_is_integer(port))
		n = json_integer_value(port);
	else if (named)
		n = json_int(named, "containerPort", 0);
	else if (str_to_i64(name, 1, 65535, &n) < 0)
		return -EINVAL;
	return n >= 1 && n <= 65535 ? (int)n : -EINVAL;
}

static int target_addr(const struct ctr *c, const json_t *action, struct sockaddr_in *ret)
{
	const char *host = json_str(action, "host", "");
	int port = port_number(c, json_object_get(action, "port"));
	char ip[INET_ADDRSTRLEN];

	if (!*host)
		host = pod_ip_text(c->pod, ip);
	if (!*host) /* a host network pod on a machine with `lo` alone */
		host = "127.0.0.1";
	*ret = (struct sockaddr_in){.sin_family = AF_INET};
	if (port < 0 || inet_pton(AF_INET, host, &ret->sin_addr) != 1)
		return -EINVAL;
	ret->sin_port = htons((uint16_t)port);
	return 0;
}

static void http_headers_of(const json_t *http, struct probe_config *ret, struct spec *keep)
{
	const json_t *list = json_object_get(http, "httpHeaders");
	struct probe_header *headers = xcalloc(json_array_size(list) + 1, sizeof(*headers));
	size_t i, n = 0;
	json_t *v;

	json_array_foreach(list, i, v)
	{
		const char *name = json_str(v, "name", ""), *value = json_str(v, "value", "");
		if (!strcasecmp(name, "Host")) {
			ret->host = spec_keep(keep, value);
			continue;
		}
		headers[n].name = spec_keep(keep, name);
		headers[n++].value = spec_keep(keep, value);
	}
	/* The strings vector owns any malloc'ed block, so it keeps the array as well. */
	strv_take(&keep->strings, (char *)headers);
	ret->headers = headers;
	ret->n_headers = n;
}

int probe_target(const struct ctr *c, const json_t *action, struct probe_config *ret,
		 struct spec *keep)
{
	const json_t *http = json_object_get(action, "httpGet");
	const json_t *tcp = json_object_get(action, "tcpSocket");
	const json_t *grpc = json_object_get(action, "grpc");
	size_t i;
	json_t *v;

	if (http) {
		const char *path = json_str(http, "path", "/");
		ret->kind = PROBE_HTTP;
		ret->https = streq(json_str(http, "scheme", "HTTP"), "HTTPS");
		ret->path = spec_keepf(keep, "%s%s", *path == '/' ? "" : "/", path);
		http_headers_of(http, ret, keep);
		return target_addr(c, http, &ret->addr);
	}
	if (tcp) {
		ret->kind = PROBE_TCP;
		return target_addr(c, tcp, &ret->addr);
	}
	if (grpc) {
		ret->kind = PROBE_GRPC;
		ret->service = spec_keep(keep, json_str(grpc, "service", ""));
		return target_addr(c, grpc, &ret->addr);
	}
	ret->kind = PROBE_EXEC;
	json_array_foreach(json_at(action, "exec.command"), i, v)
		strv_add(&keep->argv, json_is_string(v) ? json_string_value(v) : "");
	ret->argv = (const char *const *)keep->argv.v;
	return keep->argv.n ? 0 : -EINVAL;
}

/* ---- life of a hook ---------------------------------------------------------------------- */

static void hook_free(void *arg)
{
	struct hook *h = arg;

	spec_done(&h->keep);
	free(h);
}

static void hook_close(struct hook *h)
{
	timer_free(h->timer);
	loop_free_later(h->c->pod->node->loop, hook_free, h);
}

static void finish(struct hook *h, bool ok, const char *why)
{
	h->done(h->c, ok, why);
	hook_close(h);
}

static void on_run(void *arg, int code, bool timed_out, const char *output)
{
	struct hook *h = arg;
	auto_free char *why = NULL;

	h->run = NULL;
	if (code < 0)
		why = xstrdup(output);
	else
		why = xasprintf("command exited with %d: %s", code, output);
	finish(h, code == 0 && !timed_out, why);
}

static void on_once(void *arg, bool ok, const char *why)
{
	struct hook *h = arg;

	h->once = NULL;
	finish(h, ok, why);
}

static void on_timer(void *arg)
{
	struct hook *h = arg;

	finish(h, !h->failed, h->failed ? h->failed : "");
}

static void report_later(struct hook *h, const char *failed, uint64_t us)
{
	h->failed = failed;
	h->timer = timer_new(h->c->pod->node->loop, on_timer, h);
	timer_arm(h->timer, us);
}

struct hook *hook_start(struct ctr *c, const json_t *handler, hook_done_fn *done)
{
	struct hook *h = xnew(struct hook);
	struct probe_config config = {.timeout = NET_HOOK_TIMEOUT};
	const json_t *sleep = json_object_get(handler, "sleep");

	h->c = c;
	h->done = done;
	if (sleep) {
		int64_t seconds = json_int(sleep, "seconds", 0);
		report_later(h, NULL, seconds > 0 ? (uint64_t)seconds * USEC_PER_SEC : 0);
		return h;
	}
	if (probe_target(c, handler, &config, &h->keep) < 0) {
		report_later(h, "invalid handler: no such port or no command", 0);
		return h;
	}
	if (config.kind == PROBE_EXEC)
		h->run = run_start(c, config.argv, 0, on_run, h);
	else
		h->once = probe_run_once(c->pod->node->loop, &config, on_once, h);
	if (!h->run && !h->once)
		report_later(h, "cannot connect", 0);
	return h;
}

void hook_cancel(struct hook *h)
{
	if (!h)
		return;
	run_cancel(h->run);
	if (h->once)
		probe_once_cancel(h->once);
	hook_close(h);
}
