/* SPDX-License-Identifier: Apache-2.0 */
/* Deployment: the frame: which one is dirty, its view, and the choice of what to do. */
#include "deployment.h"

static void dirty_deployment_of(struct controller *c, const json_t *rs)
{
	const json_t *ref = meta_controller(rs);
	struct store_iter it;
	const struct object *d;

	if (ref) {
		if (streq(json_str(ref, "kind", ""), "Deployment"))
			controller_dirty(c, meta_ns(rs), json_str(ref, "name", ""));
		return;
	}
	it = store_iter(c->store, &kind_deployment, meta_ns(rs));
	while ((d = store_next(&it))) {
		struct label_selector *s auto_clean(label_selector) =
			label_selector_from_json(json_at(object_json(d), "spec.selector"), NULL);

		if (s && label_selector_matches(s, json_at(rs, "metadata.labels")))
			controller_dirty(c, d->ns, d->name);
	}
}

/* Recreate waits for the last old pod to be gone. */
static void pod_gone(struct controller *c, const json_t *pod)
{
	const json_t *ref = meta_controller(pod);
	const struct object *rs;

	if (!streq(json_str(ref, "kind", ""), "ReplicaSet"))
		return;
	rs = store_get(c->store, &kind_replicaset, meta_ns(pod), json_str(ref, "name", ""));
	if (rs)
		dirty_deployment_of(c, object_json(rs));
}

static void on_event(struct controller *c, const struct store_event *ev)
{
	if (ev->obj->kind == &kind_deployment) {
		controller_dirty(c, ev->obj->ns, ev->obj->name);
	} else if (ev->obj->kind == &kind_replicaset) {
		dirty_deployment_of(c, object_json(ev->obj));
		if (ev->old)
			dirty_deployment_of(c, object_json(ev->old));
	} else if (ev->obj->kind == &kind_pod &&
		   (ev->type == STORE_DELETED || !pod_active(object_json(ev->obj)))) {
		pod_gone(c, object_json(ev->obj));
	}
}

bool rollout_is_rolling(const struct rollout *ro)
{
	return streq(json_str(rollout_json(ro), "spec.strategy.type", "RollingUpdate"),
		     "RollingUpdate");
}

int64_t rollout_max_surge(const struct rollout *ro)
{
	if (!rollout_is_rolling(ro))
		return 0;
	return int_or_percent(json_at(rollout_json(ro), "spec.strategy.rollingUpdate.maxSurge"),
			      rollout_replicas(ro), true, 1);
}

int64_t rollout_max_unavailable(const struct rollout *ro)
{
	int64_t n;

	if (!rollout_is_rolling(ro) || !rollout_replicas(ro))
		return 0;
	n = int_or_percent(json_at(rollout_json(ro), "spec.strategy.rollingUpdate.maxUnavailable"),
			   rollout_replicas(ro), false, 0);
	if (!n && !rollout_max_surge(ro))
		n = 1; /* both 0 would never move */
	return n > rollout_replicas(ro) ? rollout_replicas(ro) : n;
}

int64_t rollout_total(const struct rollout *ro)
{
	int64_t n = 0;

	for (size_t i = 0; i < ro->n; i++)
		n += rs_replicas(ro->rs[i]);
	return n;
}

int64_t rollout_old_total(const struct rollout *ro)
{
	return rollout_total(ro) - (ro->new_rs ? rs_replicas(ro->new_rs) : 0);
}

void rollout_add_rs(struct rollout *ro, const struct object *rs)
{
	ro->rs = xrealloc(ro->rs, ro->n + 1, sizeof(*ro->rs));
	ro->rs[ro->n++] = object_ref(rs);
}

void rollout_replace_rs(struct rollout *ro, const struct object *old, const struct object *now)
{
	for (size_t i = 0; i < ro->n; i++) {
		if (ro->rs[i] != old)
			continue;
		if (ro->new_rs == old)
			ro->new_rs = now;
		if (now)
			ro->rs[i] = object_ref(now);
		else
			memmove(&ro->rs[i], &ro->rs[i + 1], (--ro->n - i) * sizeof(*ro->rs));
		object_unref(old);
		return;
	}
}

static void rollout_done(struct rollout *ro)
{
	for (size_t i = 0; i < ro->n; i++)
		object_unref(ro->rs[i]);
	free(ro->rs);
	object_unref(ro->d);
	json_decref(ro->status);
}
#define auto_rollout __attribute__((cleanup(rollout_done))) struct rollout

static int compare_age(const void *pa, const void *pb)
{
	const struct object *a = *(const struct object *const *)pa,
			    *b = *(const struct object *const *)pb;
	int r = strcmp(json_str(object_json(a), "metadata.creationTimestamp", ""),
		       json_str(object_json(b), "metadata.creationTimestamp", ""));

	return r ? r : strcmp(a->name, b->name);
}

static int adopt(struct rollout *ro, const struct object *rs, struct err *err)
{
	json_auto_t *obj = object_dup(rs);
	struct write_options o = {.precondition_uid = rs->uid};
	const struct object *now;
	int r;

	json_array_append_new(json_arr(obj, "metadata.ownerReferences"), owner_reference(ro->d));
	r = registry_update(ro->c->registry, &kind_replicaset, NULL, rs->ns, rs->name, obj, &o,
			    &now, NULL, err);
	if (r == 0)
		rollout_add_rs(ro, now);
	return r;
}

static int release(struct rollout *ro, const struct object *rs, struct err *err)
{
	json_auto_t *obj = object_dup(rs);
	struct write_options o = {.precondition_uid = rs->uid};
	json_t *refs = json_at(obj, "metadata.ownerReferences"), *ref;
	size_t i;

	json_array_foreach(refs, i, ref) if (streq(json_str(ref, "uid", ""), ro->d->uid))
		json_array_remove(refs, i--);
	return registry_update(ro->c->registry, &kind_replicaset, NULL, rs->ns, rs->name, obj, &o,
			       NULL, NULL, err);
}

static int gather(struct rollout *ro, struct err *err)
{
	struct label_selector *sel auto_clean(label_selector) =
		label_selector_from_json(json_at(rollout_json(ro), "spec.selector"), err);
	bool deleting = meta_deleting(rollout_json(ro));
	struct store_iter it = store_iter(ro->c->store, &kind_replicaset, ro->d->ns);
	const struct object *rs;
	int r = 0;

	if (!sel)
		return -EINVAL;
	while (r == 0 && (rs = store_next(&it))) {
		const json_t *j = object_json(rs);
		bool matches = label_selector_matches(sel, json_at(j, "metadata.labels"));

		if (controlled_by(j, ro->d->uid) && (matches || deleting))
			rollout_add_rs(ro, rs);
		else if (controlled_by(j, ro->d->uid))
			r = release(ro, rs, err);
		else if (matches && !meta_controller(j) && !deleting && !meta_deleting(j))
			r = adopt(ro, rs, err);
	}
	if (ro->n)
		qsort(ro->rs, ro->n, sizeof(*ro->rs), compare_age);
	return r;
}

/* Paused and resumed show in the Progressing condition. */
static void note_pause(struct rollout *ro, bool paused)
{
	const char *reason = json_str(condition_find(ro->status, "Progressing"), "reason", "");

	if (streq(reason, "ProgressDeadlineExceeded") ||
	    !json_at(rollout_json(ro), "spec.progressDeadlineSeconds"))
		return;
	if (paused && !streq(reason, "DeploymentPaused"))
		rollout_condition(ro, "Progressing", "Unknown", "DeploymentPaused",
				  "Deployment is paused");
	else if (!paused && streq(reason, "DeploymentPaused"))
		rollout_condition(ro, "Progressing", "Unknown", "DeploymentResumed",
				  "Deployment is resumed");
}

static int act(struct rollout *ro, struct err *err)
{
	bool paused = json_bool(rollout_json(ro), "spec.paused", false);

	rollout_find_new(ro);
	if (meta_deleting(rollout_json(ro)))
		return rollout_sync_status(ro, false, err);
	note_pause(ro, paused);
	if (paused || rollout_is_scaling(ro)) {
		int r = rollout_sync_revision(ro, false, err);

		if (r == 0)
			r = rollout_scale(ro, err);
		if (r == 0 && paused)
			r = rollout_cleanup(ro, err);
		return r < 0 ? r : rollout_sync_status(ro, false, err);
	}
	return rollout_is_rolling(ro) ? rollout_rolling(ro, err) : rollout_recreate(ro, err);
}

static int reconcile(struct controller *c, const char *key, struct err *err)
{
	auto_free char *ns = NULL;
	const char *name = key_split(key, &ns);
	const struct object *d = store_get(c->store, &kind_deployment, ns, name);
	auto_rollout ro = {.c = c};
	int r;

	if (!d)
		return 0;
	ro.d = object_ref(d);
	ro.status = json_deep_copy(json_at(object_json(d), "status"));
	if (!ro.status)
		ro.status = json_object();
	r = gather(&ro, err);
	if (r == 0)
		r = act(&ro, err);
	return r == -ENOENT ? 0 : r; /* went away meanwhile: its event comes */
}

/* Its ReplicaSets have a template as large as its own. */
static size_t weight(struct controller *c, const char *key)
{
	return 2 * key_weight(c, &kind_deployment, key);
}

const struct controller_def deployment_controller = {
	.name = "deployment", .on_event = on_event, .reconcile = reconcile, .weight = weight};
