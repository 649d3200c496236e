/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a kubelet answers behind nodes/<name>/proxy: its health, its pods, its metrics and the
 * summary of resource usage (kubelet's stats/v1alpha1). The node is in this process: there is no
 * port to connect to.
 */
#include "proxy.h"

/* ---- pods -------------------------------------------------------------------------------- */

static void pods_page(struct call *c)
{
	struct store_iter it = store_iter(c->api->store, &kind_pod, "");
	auto_strbuf b = {0};
	const struct object *o;
	bool any = false;

	strbuf_adds(&b, "{\"kind\":\"PodList\",\"apiVersion\":\"v1\",\"metadata\":{},\"items\":[");
	while ((o = store_next(&it))) {
		if (!streq(json_str(object_json(o), "spec.nodeName", ""), c->api->config.node_name))
			continue;
		if (any)
			strbuf_addc(&b, ',');
		strbuf_add(&b, o->text, o->len);
		any = true;
	}
	strbuf_adds(&b, "]}\n");
	call_reply(c, 200, NULL, b.s, b.len);
}

/* ---- the summary ------------------------------------------------------------------------- */

static void put_usage(json_t *v, const struct api_usage *u)
{
	json_put_time(v, "cpu.time", u->time);
	json_put_int(v, "cpu.usageNanoCores", (int64_t)u->cpu_nano);
	json_put_time(v, "memory.time", u->time);
	json_put_int(v, "memory.workingSetBytes", (int64_t)u->memory_bytes);
}

/* NULL: nothing of it runs. */
static json_t *pod_summary(struct call *c, const struct object *pod)
{
	const struct api_config *config = &c->api->config;
	struct api_usage u;
	json_t *v;

	if (!config->node_ops->usage_container(config->node, pod->ns, pod->name, 0, &u))
		return NULL;
	v = json_pack("{s:{s:s,s:s,s:s}}", "podRef", "name", pod->name, "namespace", pod->ns, "uid",
		      pod->uid);
	for (size_t i = 0;
	     config->node_ops->usage_container(config->node, pod->ns, pod->name, i, &u); i++) {
		json_t *one = json_object();

		json_put_str(one, "name", u.container);
		put_usage(one, &u);
		json_array_append_new(json_arr(v, "containers"), one);
	}
	return v;
}

static void summary_reply(void *arg)
{
	struct call *c = arg;
	const struct api_config *config = &c->api->config;
	struct store_iter it = store_iter(c->api->store, &kind_pod, "");
	json_t *v = json_object(), *pods = json_arr(v, "pods"), *one;
	const struct object *o;
	struct api_usage u;

	c->data = NULL;
	c->on_gone = NULL;
	json_put_str(v, "node.nodeName", c->api->config.node_name);
	if (config->node_ops->usage_machine(config->node, &u))
		put_usage(json_obj(v, "node"), &u);
	while ((o = store_next(&it)))
		if ((one = pod_summary(c, o)))
			json_array_append_new(pods, one);
	call_reply_json(c, 200, v);
}

static void summary_gone(struct call *c)
{
	c->api->config.node_ops->usage_cancel(c->data);
	call_forget(c);
}

static void summary_page(struct call *c)
{
	const struct api_config *config = &c->api->config;
	void *wait;

	if (!config->node_ops) {
		call_reply_error(c, ERR_SERVICE_UNAVAILABLE, "the node is not running");
		return;
	}
	wait = config->node_ops->usage_refresh(config->node, summary_reply, c);
	if (!wait)
		return;
	c->data = wait;
	c->on_gone = summary_gone;
}

/* ---- the pages --------------------------------------------------------------------------- */

static void health_page(struct call *c)
{
	call_reply_text(c, 200, "ok");
}

/* "node", "node:10250" or "https:node:10250": all of them mean the kubelet's own port. */
static bool is_own_kubelet(const struct call *c)
{
	static const char port[] = ":10250";
	const char *name = c->target.name, *own = c->api->config.node_name;
	size_t len = strlen(own);

	if (streq(name, own))
		return true;
	if (str_starts(name, "https:"))
		name += strlen("https:");
	return strncmp(name, own, len) == 0 && streq(name + len, port);
}

bool kubelet_page(struct call *c)
{
	static const struct {
		const char *path;
		void (*handle)(struct call *c);
	} pages[] = {
		{"/healthz", health_page},	  {"/pods", pods_page},
		{"/metrics", handle_metrics},	  {"/metrics/cadvisor", handle_metrics},
		{"/stats/summary", summary_page},
	};
	const char *rest = c->target.rest ? c->target.rest : "";
	size_t len = strlen(rest);

	if (!streq(c->target.plural, "nodes") || !is_own_kubelet(c) || !len)
		return false;
	len -= len > 1 && rest[len - 1] == '/';
	for (size_t i = 0; i < ARRAY_SIZE(pages); i++) {
		if (strlen(pages[i].path) != len || strncmp(pages[i].path, rest, len) != 0)
			continue;
		if (!streq(http_method(c->req), "GET") && !streq(http_method(c->req), "HEAD"))
			call_reply_text(c, 405, "405: Method Not Allowed");
		else
			pages[i].handle(c);
		return true;
	}
	call_reply_text(c, 404, "404 page not found\n");
	return true;
}
