/* SPDX-License-Identifier: Apache-2.0 */
/* node: start and stop, and the watches that feed the pods. */
#include "internal.h"

#include <arpa/inet.h>

/* Texts of this length are parsed by a task. */
#define LARGE_POD (32U << 10)

/* ---- pods of this node ------------------------------------------------------------------ */

static bool is_ours(const struct node *n, const struct object *obj)
{
	return streq(json_str(object_json(obj), "spec.nodeName", ""), n->name);
}

struct pod *node_pod(const struct node *n, const char *ns, const char *name)
{
	const struct object *obj = store_get(n->store, &kind_pod, ns, name);

	return obj ? map_get(&n->by_uid, obj->uid) : NULL;
}

void node_pods_changed(struct node *n)
{
	if (n->services)
		services_dirty(n->services);
}

void node_forget(struct pod *p)
{
	struct node *n = p->node;

	map_del(&n->by_uid, p->uid);
	list_del(&p->link);
	logs_forget(n, p);
	node_pods_changed(n);
	pod_free(p);
	if (n->stopping && list_empty(&n->pods) && n->stopped) {
		void (*fn)(void *) = n->stopped;
		n->stopped = NULL;
		fn(n->stopped_arg);
	}
}

static void pod_seen(struct node *n, const struct object *obj)
{
	struct pod *p = map_get(&n->by_uid, obj->uid);

	if (!p && n->stopping)
		return;
	if (!p) {
		p = pod_new(n, obj);
		if (n->adopted)
			pod_kick(p);
		return;
	}
	bool own = obj->rev == p->own_rev;
	pod_update(p, obj);
	if (!own)
		pod_kick(p);
}

static void pod_removed(struct node *n, const struct object *obj)
{
	struct pod *p = map_get(&n->by_uid, obj->uid);

	if (!p)
		return;
	pod_update(p, obj);
	p->removed = true;
	pod_kick(p);
}

static void pod_changed(struct node *n, const struct store_event *ev)
{
	if (!is_ours(n, ev->obj))
		return;
	if (ev->type == STORE_DELETED)
		pod_removed(n, ev->obj);
	else
		pod_seen(n, ev->obj);
}

/* Only parsing takes long; what is parsed stays while this is not put aside. */
static void large_pod_changed(void *arg)
{
	struct node *n = arg;

	object_json(n->pod_event.obj);
	breath_hold();
	pod_changed(n, &n->pod_event);
	object_unref(n->pod_event.obj);
	n->pod_event = (struct store_event){0};
	if (n->pod_watch)
		store_watch_resume(n->pod_watch);
	breath_release();
}

static bool on_pod(void *arg, const struct store_event *ev)
{
	struct node *n = arg;

	if (ev->obj->len < LARGE_POD || n->pod_event.obj) {
		pod_changed(n, ev);
		return true;
	}
	n->pod_event = (struct store_event){.type = ev->type, .obj = object_ref(ev->obj)};
	task_start_now(n->loop, &n->pod_task, ev->obj->len);
	return !n->pod_event.obj;
}

/* A ConfigMap or Secret: pods that mount it, and containers that wait for it, look again. */
static bool on_config(void *arg, const struct store_event *ev)
{
	struct node *n = arg;

	list_foreach (&n->pods, p, struct pod, link) {
		if (!streq(p->ns, ev->obj->ns))
			continue;
		if (!strstr(p->obj->text, ev->obj->name))
			continue;
		p->configs_changed = true;
		pod_kick(p);
	}
	return true;
}

/* ---- start ------------------------------------------------------------------------------ */

void node_adopted(struct node *n)
{
	n->adopted = true;
	list_foreach (&n->pods, p, struct pod, link)
		pod_kick(p);
	trash_sweep(n);
}

static void unwatch_all(struct node *n)
{
	store_watch_free(n->pod_watch);
	store_watch_free(n->configmap_watch);
	store_watch_free(n->secret_watch);
	n->pod_watch = n->configmap_watch = n->secret_watch = NULL;
}

static void on_lost(void *arg);

static int watch_all(struct node *n, struct err *err)
{
	uint64_t rev = store_rev(n->store);
	struct store_iter it = store_iter(n->store, &kind_pod, NULL);
	const struct object *obj;

	while ((obj = store_next(&it)))
		if (is_ours(n, obj))
			pod_seen(n, obj);
	n->pod_watch = store_watch_new(n->store, &kind_pod, rev, on_pod, on_lost, n, err);
	n->configmap_watch =
		store_watch_new(n->store, &kind_configmap, rev, on_config, on_lost, n, err);
	n->secret_watch = store_watch_new(n->store, &kind_secret, rev, on_config, on_lost, n, err);
	return n->pod_watch && n->configmap_watch && n->secret_watch ? 0 : -EINVAL;
}

/* More changed at once than the history holds: compares everything. */
static void on_lost(void *arg)
{
	struct node *n = arg;
	auto_err err = {0};

	unwatch_all(n);
	list_foreach (&n->pods, p, struct pod, link) {
		const struct object *o = store_get_uid(n->store, p->uid);
		if (!o)
			p->removed = true;
		p->configs_changed = true;
		pod_kick(p);
	}
	if (watch_all(n, &err) < 0)
		log_error("node: %s", err_message(&err));
}

static void copy_config(struct node *n, const struct node_config *c)
{
	n->name = xstrdup(c->name);
	n->state_dir = xstrdup(c->state_dir);
	n->run_dir = xstrdup(c->run_dir);
	n->log_dir = xstrdup(c->log_dir);
	n->cluster_domain = xstrdup(c->cluster_domain);
	n->resolv_conf = xstrdup(c->resolv_conf ? c->resolv_conf : "/etc/resolv.conf");
	n->version = xstrdup(c->version);
	n->dns_ip = c->dns_ip;
	n->api_ip = c->api_ip;
	n->api_addr = c->api_addr;
	n->pod_cidr = c->pod_cidr;
}

static void free_config(struct node *n)
{
	free(n->name);
	free(n->state_dir);
	free(n->run_dir);
	free(n->log_dir);
	free(n->cluster_domain);
	free(n->resolv_conf);
	free(n->version);
}

static void show_pods(void *arg, json_t *rows)
{
	struct node *n = arg;

	list_foreach (&n->pods, p, struct pod, link) {
		char ip[INET_ADDRSTRLEN];
		json_t *row = json_object();
		size_t alive = 0;
		for (size_t i = 0; i < p->n_ctrs; i++)
			alive += ctr_alive(p->ctrs[i]);
		json_put_str(row, "namespace", p->ns);
		json_put_str(row, "name", p->name);
		json_put_str(row, "state", pod_state_name(p->state));
		json_put_str(row, "ip", pod_ip_text(p, ip));
		json_put_int(row, "running", (json_int_t)alive);
		json_put_int(row, "containers", (json_int_t)p->n_ctrs);
		json_put_int(row, "sandbox", p->sandbox ? sandbox_pid(p->sandbox) : 0);
		json_put_str(row, "uid", p->uid);
		json_array_append_new(rows, row);
	}
}

struct node *node_start(struct loop *loop, const struct node_config *config,
			const struct node_parts *parts, struct err *err)
{
	struct node *n = xnew(struct node);

	n->loop = loop;
	n->parts = *parts;
	n->store = registry_store(parts->registry);
	task_init(&n->pod_task, large_pod_changed, n);
	copy_config(n, config);
	list_init(&n->pods);
	list_init(&n->logs);
	node_read_capacity(n);
	if (watch_all(n, err) < 0)
		goto fail;
	n->services = services_start(n, err);
	if (!n->services)
		goto fail;
	node_status_start(n);
	node_metrics_start(n);
	show_register("pods", show_pods, n);
	node_adopt(n);
	return n;
fail:
	node_stop(n);
	return NULL;
}

void node_stop(struct node *n)
{
	if (!n)
		return;
	show_unregister("pods");
	tasks_finish(n->loop); /* pods may be in the middle of something */
	node_status_stop(n);
	node_metrics_stop(n);
	services_stop(n->services);
	n->services = NULL;
	unwatch_all(n);
	if (n->sweeper)
		child_abandon(n->sweeper);
	list_foreach (&n->pods, p, struct pod, link) {
		logs_forget(n, p);
		list_del(&p->link);
		if (p->sandbox)
			sandbox_set_owner(p->sandbox, &pod_orphan_ops, NULL);
		pod_free(p);
	}
	map_done(&n->by_uid);
	free_config(n);
	loop_free_later(n->loop, free, n);
}

void node_stop_pods(struct node *n, void (*done)(void *arg), void *arg)
{
	n->stopping = true;
	n->stopped = done;
	n->stopped_arg = arg;
	if (list_empty(&n->pods)) {
		n->stopped = NULL;
		done(arg);
		return;
	}
	list_foreach (&n->pods, p, struct pod, link)
		pod_kick(p);
}
