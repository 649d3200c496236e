/* SPDX-License-Identifier: Apache-2.0 */
/*
 * coracle logs: what containers wrote, of one pod or of all that a selector names.
 */
#include "internal.h"
#include <unistd.h>

struct output {
	char *prefix; /* "[pod/web/app] " or NULL */
	bool line_start;
};

/* Writes all of it; false when standard output is closed. */
static bool write_out(const char *data, size_t len)
{
	return fwrite(data, 1, len, stdout) == len;
}

static bool on_data(void *arg, const char *data, size_t len)
{
	struct output *o = arg;

	while (len) {
		const char *nl = o->prefix ? memchr(data, '\n', len) : NULL;
		size_t n = nl ? (size_t)(nl - data) + 1 : len;

		if (o->prefix && o->line_start)
			fputs(o->prefix, stdout);
		if (!write_out(data, n))
			return false;
		o->line_start = nl != NULL;
		data += n;
		len -= n;
	}
	return fflush(stdout) == 0;
}

static int container_log(struct cli *c, const json_t *pod, const char *container)
{
	const struct options *o = &c->o;
	auto_free char *tail = o->tail >= 0 ? xasprintf("%lld", (long long)o->tail) : NULL;
	auto_free char *limit =
		o->limit_bytes > 0 ? xasprintf("%lld", (long long)o->limit_bytes) : NULL;
	auto_free char *since = NULL, *path = NULL;
	struct output out = {.line_start = true};
	auto_reply r = {0};
	int64_t seconds;
	int failed;

	if (o->since && duration_parse(o->since, &seconds) < 0)
		return cli_error("invalid argument \"%s\" for \"--since\" flag", o->since);
	if (o->since)
		since = xasprintf("%lld", (long long)seconds);
	path = kind_path_query(&kind_pod, meta_ns(pod), meta_name(pod), "log", "container",
			       container, "follow", o->follow ? "true" : NULL, "previous",
			       o->previous ? "true" : NULL, "timestamps",
			       o->timestamps ? "true" : NULL, "tailLines", tail, "limitBytes",
			       limit, "sinceSeconds", since, "sinceTime", o->since_time, NULL);
	if (o->prefix)
		out.prefix = xasprintf("[pod/%s/%s] ", meta_name(pod), container);
	const struct query q = {.path = path, .accept = "*/*", .on_data = on_data, .arg = &out};
	failed = client_call(c, &q, &r) < 0;
	free(out.prefix);
	if (failed)
		return 1;
	if (!reply_ok(&r))
		return reply_error(&r, NULL);
	return r.why ? cli_error("the log broke off: %s", r.why) : 0;
}

static int pod_log(struct cli *c, const json_t *pod)
{
	json_t *e;
	size_t i;
	int bad = 0;

	if (!c->o.all_containers)
		return container_log(c, pod,
				     c->o.container ? c->o.container : pod_default_container(pod));
	json_array_foreach(json_at(pod, "spec.initContainers"), i, e)
	{
		bad |= container_log(c, pod, json_str(e, "name", ""));
	}
	json_array_foreach(json_at(pod, "spec.containers"), i, e)
	{
		bad |= container_log(c, pod, json_str(e, "name", ""));
	}
	return bad;
}

static int selected_logs(struct cli *c)
{
	auto_free char *path = kind_path_query(&kind_pod, c->o.ns, NULL, NULL, "labelSelector",
					       c->o.selector, NULL);
	int exit_code, bad = 0;
	json_auto_t *list = client_get(c, path, false, &exit_code);
	json_t *pod;
	size_t i;

	if (!list)
		return exit_code;
	if (c->o.follow && json_len(list, "items") > 1)
		return cli_error("only one pod can be followed at a time, the selector names %zu",
				 json_len(list, "items"));
	if (c->o.tail < 0)
		c->o.tail = 10;
	if (!json_len(list, "items"))
		fprintf(stderr, "No resources found in %s namespace.\n", c->o.ns);
	json_array_foreach(json_at(list, "items"), i, pod)
	{
		bad |= pod_log(c, pod);
	}
	return bad;
}

int cmd_logs(struct cli *c)
{
	json_auto_t *pod = NULL;
	int exit_code;

	if (c->o.selector && !c->args.n)
		return selected_logs(c);
	if (c->args.n < 1 || c->args.n > 2)
		return cli_error("expected 'logs [-f] [-p] (POD | TYPE/NAME) [-c CONTAINER]'.");
	if (c->args.n == 2)
		c->o.container = c->args.v[1];
	pod = pod_for(c, c->args.v[0], &exit_code);
	return pod ? pod_log(c, pod) : exit_code;
}
