/* SPDX-License-Identifier: Apache-2.0 */
/*
 * adopt: after a start of the daemon: sandboxes that still run find their pods again by UID; pods
 * without one begin anew with what their stored status says about earlier runs.
 */
#include "internal.h"

/* ---- sandboxes that live ------------------------------------------------------------------ */

/* The sandbox may still know ended attempts: the newest of each container counts. */
static const struct adopted_container *newest(const struct adopted_container *all, size_t n,
					      const char *name)
{
	const struct adopted_container *best = NULL;

	for (size_t i = 0; i < n; i++)
		if (streq(all[i].name, name) && (!best || all[i].attempt >= best->attempt))
			best = &all[i];
	return best;
}

static void adopt_containers(struct pod *p, const struct adopted_container *all, size_t n)
{
	for (size_t i = 0; i < p->n_ctrs; i++) {
		struct ctr *c = p->ctrs[i];
		const json_t *entry = status_entry(pod_json(p), c->facts.role, c->facts.name);
		const struct adopted_container *a = newest(all, n, c->facts.name);
		if (a)
			ctr_adopt(c, a, entry);
		else
			ctr_restore(c, entry);
	}
}

/* Attaching makes what a daemon that was killed in the middle has not come to. */
static bool adopt_network(struct pod *p, const struct sandbox *s, const char *note)
{
	struct network *net = p->node->parts.network;
	auto_err err = {0};

	pod_read_note(p, note);
	if (pod_host_network(p))
		return true;
	if (p->ip.s_addr == INADDR_ANY || network_address_claim(net, p->ip) < 0) {
		p->ip.s_addr = INADDR_ANY;
		return false;
	}
	if (network_attach(net, p->uid, sandbox_netns_fd(s), p->ip, &err) == 0)
		return true;
	log_warn("pod %s/%s: %s", p->ns, p->name, err_message(&err));
	pod_release_address(p);
	return false;
}

static void set_started(struct pod *p)
{
	time_t age = time(NULL) - p->start_time;
	mono_t now = loop_now(p->node->loop);

	if (age > 0 && (uint64_t)age * USEC_PER_SEC < now.us)
		p->started.us = now.us - (uint64_t)age * USEC_PER_SEC;
}

static void on_sandbox(void *arg, struct sandbox *s, const char *id, const char *note,
		       const struct adopted_container *all, size_t n_all)
{
	struct node *n = arg;
	struct pod *p = map_get(&n->by_uid, id);

	if (!p || p->sandbox || !adopt_network(p, s, note)) {
		log_info("sandbox %s belongs to no pod: it ends", id);
		return;
	}
	p->sandbox = s;
	p->sandboxes = 1;
	p->sandbox_ready = true;
	sandbox_set_owner(s, &pod_sandbox_ops, p);
	set_started(p);
	volumes_refresh(p);
	adopt_containers(p, all, n_all);
	pod_set_state(p, POD_INIT);
	log_debug("pod %s/%s: adopted", p->ns, p->name);
}

/* ---- what is left of others --------------------------------------------------------------- */

static void restore_pod(struct pod *p)
{
	for (size_t i = 0; i < p->n_ctrs; i++) {
		struct ctr *c = p->ctrs[i];
		ctr_restore(c, status_entry(pod_json(p), c->facts.role, c->facts.name));
	}
	for (size_t i = 0; i < p->n_ctrs; i++)
		ctr_reset(p->ctrs[i]);
}

/* Directories of pods that no longer exist. */
static void prune_dir(struct node *n, const char *root)
{
	auto_dir DIR *d = opendir(root);
	struct dirent *e;

	while (d && (e = readdir(d))) {
		auto_free char *path = path_join(root, e->d_name);
		if (*e->d_name == '.' || map_get(&n->by_uid, e->d_name))
			continue;
		trash_put(n, path);
	}
}

/* Log directories are <ns>_<name>_<uid>. */
static void prune_logs(struct node *n)
{
	auto_dir DIR *d = opendir(n->log_dir);
	struct dirent *e;

	while (d && (e = readdir(d))) {
		const char *uid = strrchr(e->d_name, '_');
		auto_free char *path = path_join(n->log_dir, e->d_name);
		if (*e->d_name != '.' && uid && !map_get(&n->by_uid, uid + 1))
			trash_put(n, path);
	}
}

static void on_all(void *arg)
{
	struct node *n = arg;
	auto_free char *state = path_join(n->state_dir, "pods");
	auto_free char *run = path_join(n->run_dir, "pods");

	list_foreach (&n->pods, p, struct pod, link)
		if (!p->sandbox)
			restore_pod(p);
	network_prune(n->parts.network);
	prune_dir(n, state);
	prune_dir(n, run);
	prune_logs(n);
	node_adopted(n);
}

void node_adopt(struct node *n)
{
	runtime_adopt(n->parts.runtime, on_sandbox, on_all, n);
}
