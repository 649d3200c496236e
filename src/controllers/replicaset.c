/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ReplicaSet, and its predecessor ReplicationController: keeps spec.replicas pods that match the
 * selector. Adopts and releases by label, creates from the template, deletes the least useful
 * first (upstream's replica_set.go and controller_utils.go ActivePodsWithRanks). The two kinds
 * differ in the form of the selector and in the name that events carry.
 */
#include "internal.h"

enum { RS_BURST = 500 };

static const char *component(const struct object *rs)
{
	return rs->kind == &kind_replicaset ? "replicaset-controller" : "replication-controller";
}

static struct label_selector *selector_of(const struct object *rs, struct err *err)
{
	const json_t *selector = json_at(object_json(rs), "spec.selector");

	return rs->kind == &kind_replicaset ? label_selector_from_json(selector, err)
					    : label_selector_from_map(selector);
}

/* The active pods of one ReplicaSet, as json borrowed from referenced objects. */
struct pods {
	const struct object **v;
	size_t n;
};

static void pods_done(struct pods *p)
{
	for (size_t i = 0; i < p->n; i++)
		object_unref(p->v[i]);
	free(p->v);
}
#define auto_pods __attribute__((cleanup(pods_done))) struct pods

static void pods_add(struct pods *p, const struct object *o)
{
	p->v = xrealloc(p->v, p->n + 1, sizeof(*p->v));
	p->v[p->n++] = object_ref(o);
}

/* A pod changed: its controller looks, and so does everyone who could adopt it. */
static void dirty_owner_or_adopters(struct controller *c, const json_t *pod)
{
	const json_t *ref = meta_controller(pod);
	struct store_iter it;
	const struct object *rs;

	if (ref) {
		if (streq(json_str(ref, "kind", ""), c->def->kind->kind))
			controller_dirty(c, meta_ns(pod), json_str(ref, "name", ""));
		return;
	}
	it = store_iter(c->store, c->def->kind, meta_ns(pod));
	while ((rs = store_next(&it))) {
		struct label_selector *s auto_clean(label_selector) = selector_of(rs, NULL);

		if (s && label_selector_matches(s, json_at(pod, "metadata.labels")))
			controller_dirty(c, rs->ns, rs->name);
	}
}

static void on_event(struct controller *c, const struct store_event *ev)
{
	if (ev->obj->kind == c->def->kind) {
		controller_dirty(c, ev->obj->ns, ev->obj->name);
	} else if (ev->obj->kind == &kind_pod) {
		dirty_owner_or_adopters(c, object_json(ev->obj));
		if (ev->old)
			dirty_owner_or_adopters(c, object_json(ev->old));
	}
}

/* Takes the pod's controller reference away, or gives it ours. */
static int change_owner(struct controller *c, const struct object *pod, const struct object *rs,
			bool adopt, struct err *err)
{
	json_auto_t *obj = object_dup(pod);
	json_t *refs = json_arr(obj, "metadata.ownerReferences"), *ref;
	struct write_options o = {.precondition_uid = pod->uid, .storage = STORE_LAZY};
	size_t i;

	if (adopt)
		json_array_append_new(refs, owner_reference(rs));
	else
		json_array_foreach(refs, i, ref) if (streq(json_str(ref, "uid", ""), rs->uid))
			json_array_remove(refs, i--);
	if (!json_array_size(refs))
		json_drop(obj, "metadata.ownerReferences");
	return registry_update(c->registry, &kind_pod, NULL, pod->ns, pod->name, obj, &o, NULL,
			       NULL, err);
}

static int claim(struct controller *c, const struct object *rs, struct pods *ret, struct err *err)
{
	struct label_selector *sel auto_clean(label_selector) = selector_of(rs, err);
	bool deleting = meta_deleting(object_json(rs));
	struct store_iter it = store_iter(c->store, &kind_pod, rs->ns);
	const struct object *pod;
	int r = 0;

	if (!sel)
		return -EINVAL;
	while (r == 0 && (pod = store_next(&it))) {
		const json_t *p = object_json(pod);
		bool ours = controlled_by(p, rs->uid);
		bool matches = label_selector_matches(sel, json_at(p, "metadata.labels"));

		if (!pod_active(p))
			continue;
		if (ours && matches)
			pods_add(ret, pod);
		else if (ours && !deleting)
			r = change_owner(c, pod, rs, false, err);
		else if (matches && !meta_controller(p) && !deleting) {
			r = change_owner(c, pod, rs, true, err);
			pod = store_get(c->store, &kind_pod, pod->ns, pod->name);
			if (r == 0 && pod)
				pods_add(ret, pod);
		}
	}
	return r;
}

static json_t *pod_from_template(const struct object *rs)
{
	const json_t *template = json_at(object_json(rs), "spec.template");
	json_t *pod = json_pack("{s:s, s:s}", "apiVersion", "v1", "kind", "Pod");
	static const char *const kept[] = {"labels", "annotations", "finalizers"};
	/* As upstream: a name of a ReplicaSet that is too long for a pod's base is cut by the
	 * registry. */

	json_put_strf(pod, "metadata.generateName", "%s-", rs->name);
	json_put_str(pod, "metadata.namespace", rs->ns);
	for (size_t i = 0; i < ARRAY_SIZE(kept); i++)
		json_put(json_obj(pod, "metadata"), kept[i],
			 json_deep_copy(json_object_get(json_at(template, "metadata"), kept[i])));
	json_put(pod, "metadata.ownerReferences", json_pack("[o]", owner_reference(rs)));
	json_put(pod, "spec", json_deep_copy(json_at(template, "spec")));
	return pod;
}

static int create_pods(struct controller *c, const struct object *rs, size_t want, struct err *err)
{
	struct write_options o = {.storage = STORE_LAZY};

	for (size_t i = 0; i < want && i < RS_BURST; i++) {
		json_auto_t *pod = pod_from_template(rs);
		const struct object *made = NULL;
		int r = registry_create(c->registry, &kind_pod, rs->ns, pod, &o, &made, err);

		if (r < 0) {
			registry_event(c->registry, rs, NULL, "Warning", "FailedCreate",
				       component(rs), "Error creating: %s", err_message(err));
			return r;
		}
		registry_event(c->registry, rs, NULL, "Normal", "SuccessfulCreate", component(rs),
			       "Created pod: %s", made->name);
	}
	if (want > RS_BURST)
		controller_dirty(c, rs->ns, rs->name);
	return 0;
}

static int phase_rank(const json_t *pod)
{
	const char *phase = json_str(pod, "status.phase", "");

	return streq(phase, "Pending") ? 0 : streq(phase, "Running") ? 2 : 1;
}

static int64_t deletion_cost(const json_t *pod)
{
	const char *text = meta_annotation(pod, "controller.kubernetes.io/pod-deletion-cost");
	int64_t cost = 0;

	if (text && str_to_i64(text, INT32_MIN, INT32_MAX, &cost) < 0)
		return 0;
	return cost;
}

static int64_t restarts(const json_t *pod)
{
	int64_t n = 0;
	json_t *s;
	size_t i;

	json_array_foreach(json_at(pod, "status.containerStatuses"), i, s) n +=
		json_int(s, "restartCount", 0);
	return n;
}

static int compare_i64(int64_t a, int64_t b)
{
	return a < b ? -1 : a > b;
}

/* First to be deleted first. */
static int compare_pods(const void *pa, const void *pb)
{
	const struct object *oa = *(const struct object *const *)pa,
			    *ob = *(const struct object *const *)pb;
	const json_t *a = object_json(oa), *b = object_json(ob);
	const char *since_a, *since_b;
	int r = compare_i64(!str_empty(json_str(a, "spec.nodeName", "")),
			    !str_empty(json_str(b, "spec.nodeName", "")));

	if (!r)
		r = compare_i64(phase_rank(a), phase_rank(b));
	if (!r)
		r = compare_i64(pod_ready(a), pod_ready(b));
	if (!r)
		r = compare_i64(deletion_cost(a), deletion_cost(b));
	if (!r && pod_ready(a)) { /* ready for a shorter time goes first: later text is newer */
		since_a = json_str(condition_find(json_at(a, "status"), "Ready"),
				   "lastTransitionTime", "");
		since_b = json_str(condition_find(json_at(b, "status"), "Ready"),
				   "lastTransitionTime", "");
		r = strcmp(since_b, since_a);
	}
	if (!r)
		r = compare_i64(restarts(b), restarts(a));
	if (!r)
		r = strcmp(json_str(b, "metadata.creationTimestamp", ""),
			   json_str(a, "metadata.creationTimestamp", ""));
	return r ? r : compare_i64((int64_t)ob->rev, (int64_t)oa->rev);
}

static int delete_pods(struct controller *c, const struct object *rs, struct pods *pods,
		       size_t excess, struct err *err)
{
	qsort(pods->v, pods->n, sizeof(*pods->v), compare_pods);
	for (size_t i = 0; i < excess; i++) {
		struct write_options o = {.grace_seconds = -1,
					  .precondition_uid = pods->v[i]->uid,
					  .storage = STORE_LAZY};
		int r = registry_delete(c->registry, &kind_pod, pods->v[i]->ns, pods->v[i]->name,
					&o, NULL, NULL, err);

		if (r == -ENOENT)
			continue;
		if (r < 0) {
			registry_event(c->registry, rs, NULL, "Warning", "FailedDelete",
				       component(rs), "Error deleting: %s", err_message(err));
			return r;
		}
		registry_event(c->registry, rs, NULL, "Normal", "SuccessfulDelete", component(rs),
			       "Deleted pod: %s", pods->v[i]->name);
	}
	return 0;
}

static bool has_template_labels(const json_t *pod, const json_t *rs)
{
	const char *key;
	json_t *value;

	json_object_foreach(
		json_at(rs, "spec.template.metadata.labels"), key,
		value) if (!json_equal(json_object_get(json_at(pod, "metadata.labels"), key),
				       value)) return false;
	return true;
}

static void put_count(json_t *status, const char *name, int64_t n)
{
	if (n)
		json_put_int(status, name, n);
	else
		json_drop(status, name);
}

/* failure: what creating or deleting ran into, or NULL. */
static int set_status(struct controller *c, const struct object *rs, const char *failure,
		      bool creating, struct err *err)
{
	const json_t *j = object_json(rs);
	int64_t ready = 0, available = 0, labelled = 0, total = 0, wait = 0, soonest = 0;
	json_t *status = json_deep_copy(json_at(j, "status"));
	struct store_iter it = store_iter(c->store, &kind_pod, rs->ns);
	const struct object *pod;
	time_t now = wall_now();

	status = status ? status : json_object();
	while ((pod = store_next(&it))) {
		const json_t *p = object_json(pod);

		if (!pod_active(p) || !controlled_by(p, rs->uid))
			continue;
		total++;
		labelled += has_template_labels(p, j);
		ready += pod_ready(p);
		wait = 0;
		available += pod_available(p, json_int(j, "spec.minReadySeconds", 0), now, &wait);
		if (wait && (!soonest || wait < soonest))
			soonest = wait;
	}
	json_put_int(status, "replicas", total);
	put_count(status, "fullyLabeledReplicas", labelled);
	put_count(status, "readyReplicas", ready);
	put_count(status, "availableReplicas", available);
	json_put_int(status, "observedGeneration", json_int(j, "metadata.generation", 0));
	/* The first failure stays: the next one may have another text, and a status that changes
	 * each time would take the place of the pause between the attempts. */
	if (!failure)
		condition_remove(status, "ReplicaFailure");
	else if (!json_find(json_object_get(status, "conditions"), "type", "ReplicaFailure"))
		condition_set(status, "ReplicaFailure", "True",
			      creating ? "FailedCreate" : "FailedDelete", failure, now);
	if (soonest)
		controller_dirty_after(c, rs->ns, rs->name, (uint64_t)soonest * USEC_PER_SEC);
	return registry_set_status(c->registry, rs->kind, rs->ns, rs->name, rs->uid, status,
				   STORE_VOLATILE, err);
}

static int reconcile(struct controller *c, const char *key, struct err *err)
{
	auto_free char *ns = NULL;
	const char *name = key_split(key, &ns);
	const struct object *rs auto_clean(object) =
		object_ref(store_get(c->store, c->def->kind, ns, name));
	auto_pods pods = {0};
	auto_err failure = {0};
	int64_t want;
	int r, s;

	if (!rs)
		return 0;
	r = claim(c, rs, &pods, err);
	if (r < 0)
		return r;
	want = json_int(object_json(rs), "spec.replicas", 1);
	if (meta_deleting(object_json(rs)))
		want = (int64_t)pods.n;
	if ((int64_t)pods.n < want)
		r = create_pods(c, rs, (size_t)want - pods.n, &failure);
	else if ((int64_t)pods.n > want)
		r = delete_pods(c, rs, &pods, pods.n - (size_t)want, &failure);
	s = set_status(c, rs, r < 0 ? err_message(&failure) : NULL, (int64_t)pods.n < want, err);
	if (r < 0)
		err_copy(err, &failure);
	return r < 0 ? r : s == -ENOENT ? 0 : s;
}

/* Every pod that comes is made of the template. */
static size_t weight(struct controller *c, const char *key)
{
	auto_free char *ns = NULL;
	const char *name = key_split(key, &ns);
	const struct object *rs = store_get(c->store, c->def->kind, ns, name);
	int64_t want = rs ? json_int(object_json(rs), "spec.replicas", 1) : 0;
	int64_t has = rs ? json_int(object_json(rs), "status.replicas", 0) : 0;
	size_t change = (size_t)(want > has ? want - has : has - want);

	return rs ? rs->len * (1 + (change < RS_BURST ? change : RS_BURST)) : 0;
}

const struct controller_def replicaset_controller = {.name = "replicaset",
						     .kind = &kind_replicaset,
						     .on_event = on_event,
						     .reconcile = reconcile,
						     .weight = weight};
const struct controller_def replication_controller = {.name = "replicationcontroller",
						      .kind = &kind_replicationcontroller,
						      .on_event = on_event,
						      .reconcile = reconcile,
						      .weight = weight};
