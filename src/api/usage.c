/* SPDX-License-Identifier: Apache-2.0 */
/*
 * metrics.k8s.io: NodeMetrics and PodMetrics. They are computed kinds: no object is stored, the
 * node's figures become one when somebody asks. All else (selectors, Tables, lists in pages) is the
 * same as for stored objects.
 */
#include "internal.h"

#include <inttypes.h>

/* ---- waiting for figures ------------------------------------------------------------------- */

static void on_fresh(void *arg)
{
	struct call *c = arg;

	c->data = NULL;
	c->on_gone = NULL;
	c->route->handle(c);
}

static void on_gone(struct call *c)
{
	c->api->config.node_ops->usage_cancel(c->data);
	call_forget(c);
}

void computed_handle(struct call *c)
{
	const struct api_config *config = &c->api->config;
	void *wait;

	if (call_bool(c, "watch")) {
		call_reply_error(c, ERR_METHOD_NOT_ALLOWED,
				 "the server does not allow this method on the requested resource");
		return;
	}
	if (c->target.kind == &kind_componentstatus) {
		c->route->handle(c);
		return;
	}
	if (!config->node_ops) {
		call_reply_error(c, ERR_SERVICE_UNAVAILABLE, "the node is not running");
		return;
	}
	wait = config->node_ops->usage_refresh(config->node, on_fresh, c);
	if (!wait)
		return;
	c->data = wait;
	c->on_gone = on_gone;
}

/* ---- objects ------------------------------------------------------------------------------- */

static json_t *usage_json(const struct api_usage *u)
{
	json_t *v = json_object();

	json_put_strf(v, "cpu", "%" PRIu64 "n", u->cpu_nano);
	json_put_strf(v, "memory", "%" PRIu64 "Ki", u->memory_bytes / 1024);
	return v;
}

/* The metrics of `of`: its name and labels, and when and over which time they were measured. */
static json_t *metrics_new(const struct kind *k, const struct object *of, const struct api_usage *u)
{
	const json_t *labels = json_at(object_json(of), "metadata.labels");
	char version[API_VERSION_MAX];
	json_t *v = json_object();

	json_put_str(v, "kind", k->kind);
	json_put_str(v, "apiVersion", kind_api_version(k, version));
	json_put_str(v, "metadata.name", of->name);
	if (k->namespaced)
		json_put_str(v, "metadata.namespace", of->ns);
	json_put_time(v, "metadata.creationTimestamp", time(NULL));
	if (labels)
		json_put(v, "metadata.labels", json_deep_copy(labels));
	json_put_time(v, "timestamp", u->time);
	json_put_strf(v, "window", "%.3fs", (double)u->window_us / USEC_PER_SEC);
	return v;
}

static json_t *node_metrics(struct call *c, const struct object *node)
{
	const struct api_config *config = &c->api->config;
	struct api_usage u;
	json_t *v;

	if (!streq(node->name, config->node_name) ||
	    !config->node_ops->usage_machine(config->node, &u))
		return NULL;
	v = metrics_new(c->target.kind, node, &u);
	json_put(v, "usage", usage_json(&u));
	return v;
}

/* Like metrics-server: a pod shows up once all its containers have figures. */
static json_t *pod_metrics(struct call *c, const struct object *pod)
{
	const struct api_config *config = &c->api->config;
	size_t want = json_len(object_json(pod), "spec.containers"), n = 0;
	json_t *containers = json_array(), *v = NULL;
	struct api_usage u;

	while (config->node_ops->usage_container(config->node, pod->ns, pod->name, n, &u)) {
		json_t *one = json_object();

		if (n++ == 0)
			v = metrics_new(c->target.kind, pod, &u);
		json_put_str(one, "name", u.container);
		json_put(one, "usage", usage_json(&u));
		json_array_append_new(containers, one);
	}
	if (!v || n < want) {
		json_decref(containers);
		json_decref(v);
		return NULL;
	}
	json_put(v, "containers", containers);
	return v;
}

static const struct object *computed_new(struct call *c, const struct object *of)
{
	json_auto_t *v =
		c->target.kind == &kind_nodemetrics ? node_metrics(c, of) : pod_metrics(c, of);

	return v ? store_detached(c->api->store, c->target.kind, v) : NULL;
}

static const struct kind *source_kind(const struct kind *k)
{
	return k == &kind_nodemetrics ? &kind_node : &kind_pod;
}

const struct object *computed_get(struct call *c)
{
	const struct object *of;

	if (c->target.kind == &kind_componentstatus)
		return component_get(c);
	of = store_get(c->api->store, source_kind(c->target.kind), c->target.ns ? c->target.ns : "",
		       c->target.name);
	return of ? computed_new(c, of) : NULL;
}

void computed_list(struct call *c, const struct selection *sel,
		   void (*add)(struct snapshot *s, const struct object *o), struct snapshot *s)
{
	struct store_iter it = store_iter(c->api->store, source_kind(c->target.kind),
					  c->target.ns ? c->target.ns : "");
	const struct object *of, *o;

	if (c->target.kind == &kind_componentstatus) {
		component_list(c, sel, add, s);
		return;
	}
	while ((of = store_next(&it))) {
		o = computed_new(c, of);
		if (o && selection_matches(sel, c, o))
			add(s, o);
	}
}
