/* SPDX-License-Identifier: Apache-2.0 */
/* One check: its time limit, its end, and the copy of what to check. */
#include "internal.h"

static const struct check_ops *ops_of(const struct check *c)
{
	switch (c->target->config.kind) {
	case PROBE_HTTP:
		return &http_check;
	case PROBE_TCP:
		return &tcp_check;
	case PROBE_GRPC:
		return &grpc_check;
	case PROBE_EXEC:
		break;
	}
	return NULL; /* exec checks are run by the owner */
}

static char **copy_argv(const char *const *argv)
{
	size_t n = 0;
	char **copy;

	while (argv && argv[n])
		n++;
	copy = xcalloc(n + 1, sizeof(*copy));
	for (size_t i = 0; i < n; i++)
		copy[i] = xstrdup(argv[i]);
	return copy;
}

void probe_target_init(struct target *t, const struct probe_config *config)
{
	*t = (struct target){.config = *config,
			     .path = xstrdup_null(config->path),
			     .host = xstrdup_null(config->host),
			     .service = xstrdup_null(config->service),
			     .headers = xcalloc(config->n_headers, sizeof(*t->headers)),
			     .argv = copy_argv(config->argv)};
	for (size_t i = 0; i < config->n_headers; i++)
		t->headers[i] = (struct probe_header){xstrdup(config->headers[i].name),
						      xstrdup(config->headers[i].value)};
	t->config.path = t->path;
	t->config.host = t->host;
	t->config.service = t->service;
	t->config.headers = t->headers;
	t->config.argv = (const char *const *)t->argv;
	t->config.addr.sin_family = AF_INET;
	if (!t->config.period)
		t->config.period = 10;
	if (!t->config.timeout)
		t->config.timeout = 1;
	if (!t->config.success_threshold)
		t->config.success_threshold = 1;
	if (!t->config.failure_threshold)
		t->config.failure_threshold = 3;
}

void probe_target_done(struct target *t)
{
	for (size_t i = 0; i < t->config.n_headers; i++) {
		free((void *)(uintptr_t)t->headers[i].name);
		free((void *)(uintptr_t)t->headers[i].value);
	}
	for (char **a = t->argv; *a; a++)
		free(*a);
	free(t->argv);
	free(t->headers);
	free(t->path);
	free(t->host);
	free(t->service);
}

const char *check_address(const struct check *c, char buf[static ADDR_TEXT_MAX])
{
	struct addr a = {.len = sizeof(struct sockaddr_in)};

	memcpy(&a.ss, &c->target->config.addr, sizeof(struct sockaddr_in));
	return addr_format(buf, &a);
}

static void on_limit(void *arg)
{
	struct check *c = arg;

	ops_of(c)->on_timeout(c);
}

void check_init(struct check *c, struct loop *loop, const struct target *t, check_done_fn *done,
		void *arg)
{
	*c = (struct check){.loop = loop, .target = t, .done = done, .arg = arg, .fd = -1};
	c->limit = timer_new(loop, on_limit, c);
}

void check_start(struct check *c)
{
	c->running = true;
	c->redirects = 0;
	timer_arm(c->limit, c->target->config.timeout * USEC_PER_SEC);
	ops_of(c)->start(c);
}

void check_cancel(struct check *c)
{
	if (!c->running)
		return;
	c->running = false;
	timer_disarm(c->limit);
	ops_of(c)->cancel(c);
	strbuf_done(&c->body);
}

void check_free(struct check *c)
{
	check_cancel(c);
	timer_free(c->limit);
	free(c->location);
}

void check_end(struct check *c, bool ok, const char *fmt, ...)
{
	auto_free char *why = NULL;
	va_list ap;

	if (!c->running)
		return;
	va_start(ap, fmt);
	why = xvasprintf(fmt, ap);
	va_end(ap);
	check_cancel(c);
	c->done(c->arg, ok, why);
}
