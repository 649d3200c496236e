/* SPDX-License-Identifier: Apache-2.0 */
/* Deployment: the new ReplicaSet, its hash and name, revision numbers, the history's end. */
#include "deployment.h"

/* Digits as upstream writes them in names (rand.SafeEncodeString). */
static void safe_encode(char *s)
{
	static const char alphabet[] = "bcdfghjklmnpqrstvwxz2456789";

	for (; *s; s++)
		*s = alphabet[(unsigned char)*s % (sizeof(alphabet) - 1)];
}

/* A stable hash of the template and the collision count; buf holds 11 bytes. */
static void template_hash(const json_t *template, int64_t collisions, char buf[static 16])
{
	auto_free char *text = json_dumps(template, JSON_SORT_KEYS | JSON_COMPACT);
	uint32_t h = hash_fnv1a32(text, strlen(text), UINT32_C(2166136261));

	if (collisions)
		h = hash_fnv1a32(&collisions, sizeof(collisions), h);
	snprintf(buf, 16, "%u", h);
	safe_encode(buf);
}

static bool same_template(const json_t *rs_template, const json_t *d_template)
{
	json_auto_t *a = json_deep_copy(rs_template);
	json_t *labels = json_at(a, "metadata.labels");

	json_object_del(labels, TEMPLATE_HASH);
	if (labels && !json_object_size(labels) && !json_at(d_template, "metadata.labels"))
		json_drop(a, "metadata.labels");
	return json_same(a, d_template);
}

void rollout_find_new(struct rollout *ro)
{
	const json_t *template = json_at(rollout_json(ro), "spec.template");

	ro->new_rs = NULL;
	for (size_t i = 0; i < ro->n && !ro->new_rs; i++)
		if (same_template(json_at(object_json(ro->rs[i]), "spec.template"), template))
			ro->new_rs = ro->rs[i];
}

static int64_t revision_of(const json_t *obj)
{
	const char *text = meta_annotation(obj, REVISION);
	int64_t n = 0;

	if (!text || str_to_i64(text, 0, INT64_MAX, &n) < 0)
		return 0;
	return n;
}

static int64_t max_old_revision(const struct rollout *ro)
{
	int64_t max = 0;

	for (size_t i = 0; i < ro->n; i++) {
		int64_t n = revision_of(object_json(ro->rs[i]));

		if (ro->rs[i] != ro->new_rs && n > max)
			max = n;
	}
	return max;
}

static json_t *annotations(json_t *obj)
{
	return json_obj(json_obj(obj, "metadata"), "annotations");
}

static bool annotation_set(json_t *obj, const char *key, const char *value)
{
	json_t *a = annotations(obj);

	if (str_eq(json_string_value(json_object_get(a, key)), value))
		return false;
	json_object_set_new(a, key, json_string(value));
	return true;
}

static bool is_own_annotation(const char *key)
{
	static const char *const own[] = {
		"kubectl.kubernetes.io/last-applied-configuration",
		REVISION,
		REVISION_HISTORY,
		DESIRED_REPLICAS,
		MAX_REPLICAS,
		"deprecated.deployment.rollback.to",
	};

	for (size_t i = 0; i < ARRAY_SIZE(own); i++)
		if (streq(key, own[i]))
			return true;
	return false;
}

/* The number the ReplicaSet had goes to its history when it gets a new one. */
static bool set_revision(json_t *rs, int64_t revision)
{
	int64_t old = revision_of(rs);
	const char *history = meta_annotation(rs, REVISION_HISTORY);
	auto_free char *text = xasprintf("%lld", (long long)revision), *all = NULL;

	if (old >= revision)
		return false;
	if (old) {
		all = str_empty(history) ? xasprintf("%lld", (long long)old)
					 : xasprintf("%s,%lld", history, (long long)old);
		annotation_set(rs, REVISION_HISTORY, all);
	}
	return annotation_set(rs, REVISION, text);
}

/* Copies the Deployment's annotations and sets the revision; true when anything changed. */
static bool set_new_rs_annotations(const struct rollout *ro, json_t *rs, int64_t revision)
{
	const char *key;
	json_t *value;
	bool changed = false;

	json_object_foreach(json_at(rollout_json(ro), "metadata.annotations"), key,
			    value) if (!is_own_annotation(key)) changed |=
		annotation_set(rs, key, json_string_value(value));
	return set_revision(rs, revision) || changed;
}

static int set_deployment_revision(struct rollout *ro, struct err *err)
{
	const char *revision = meta_annotation(object_json(ro->new_rs), REVISION);
	const struct object *now;
	json_auto_t *obj = NULL;
	struct write_options o = {.precondition_uid = ro->d->uid};
	int r;

	if (!revision || str_eq(meta_annotation(rollout_json(ro), REVISION), revision))
		return 0;
	obj = object_dup(ro->d);
	annotation_set(obj, REVISION, revision);
	r = registry_update(ro->c->registry, &kind_deployment, NULL, ro->d->ns, ro->d->name, obj,
			    &o, &now, NULL, err);
	if (r < 0)
		return r;
	now = object_ref(now);
	object_unref(ro->d);
	ro->d = now;
	return 0;
}

static int refresh_new_rs(struct rollout *ro, int64_t revision, struct err *err)
{
	json_auto_t *obj = object_dup(ro->new_rs);
	int64_t min_ready = json_int(rollout_json(ro), "spec.minReadySeconds", 0);
	bool changed = set_new_rs_annotations(ro, obj, revision);
	const struct object *now;
	struct write_options o = {.precondition_uid = ro->new_rs->uid};
	int r;

	if (json_int(obj, "spec.minReadySeconds", 0) != min_ready) {
		json_put_int(obj, "spec.minReadySeconds", min_ready);
		changed = true;
	}
	if (changed) {
		r = registry_update(ro->c->registry, &kind_replicaset, NULL, ro->new_rs->ns,
				    ro->new_rs->name, obj, &o, &now, NULL, err);
		if (r < 0)
			return r;
		rollout_replace_rs(ro, ro->new_rs, now);
	}
	if (!condition_find(ro->status, "Progressing")) {
		auto_free char *m = xasprintf("Found new replica set \"%s\"", ro->new_rs->name);

		rollout_condition(ro, "Progressing", "True", "FoundNewReplicaSet", m);
	}
	return set_deployment_revision(ro, err);
}

static json_t *build_rs(struct rollout *ro, const char *hash)
{
	const json_t *d = rollout_json(ro);
	json_t *rs = json_pack("{s:s, s:s}", "apiVersion", "apps/v1", "kind", "ReplicaSet");
	json_t *labels = json_deep_copy(json_at(d, "spec.template.metadata.labels"));
	int64_t min_ready = json_int(d, "spec.minReadySeconds", 0);

	if (!labels)
		labels = json_object();
	json_object_set_new(labels, TEMPLATE_HASH, json_string(hash));
	json_put_strf(rs, "metadata.name", "%s-%s", ro->d->name, hash);
	json_put_str(rs, "metadata.namespace", ro->d->ns);
	json_put(rs, "metadata.labels", labels);
	json_put(rs, "metadata.ownerReferences", json_pack("[o]", owner_reference(ro->d)));
	json_put(rs, "spec.selector", json_deep_copy(json_at(d, "spec.selector")));
	json_object_set_new(json_obj(rs, "spec.selector.matchLabels"), TEMPLATE_HASH,
			    json_string(hash));
	json_put(rs, "spec.template", json_deep_copy(json_at(d, "spec.template")));
	json_put(rs, "spec.template.metadata.labels", json_deep_copy(labels));
	if (min_ready)
		json_put_int(rs, "spec.minReadySeconds", min_ready);
	return rs;
}

/* The name is taken by another ReplicaSet: count, and try another hash in the next turn. */
static int collide(struct rollout *ro, struct err *err)
{
	json_put_int(ro->status, "collisionCount", json_int(ro->status, "collisionCount", 0) + 1);
	return registry_set_status(ro->c->registry, &kind_deployment, ro->d->ns, ro->d->name,
				   ro->d->uid, json_incref(ro->status), STORE_LAZY, err);
}

static int create_new_rs(struct rollout *ro, int64_t revision, struct err *err)
{
	char hash[16];
	const struct object *made;
	json_auto_t *rs = NULL;
	auto_free char *message = NULL;
	struct write_options o = {0};
	int64_t replicas;
	int r;

	template_hash(json_at(rollout_json(ro), "spec.template"),
		      json_int(ro->status, "collisionCount", 0), hash);
	rs = build_rs(ro, hash);
	set_new_rs_annotations(ro, rs, revision);
	replicas = rollout_new_rs_replicas(ro, 0);
	json_put_int(rs, "spec.replicas", replicas);
	set_size_annotations(ro, rs);
	r = registry_create(ro->c->registry, &kind_replicaset, ro->d->ns, rs, &o, &made, err);
	if (r == -EEXIST) {
		collide(ro, NULL);
		return r;
	}
	if (r < 0) {
		message = xasprintf("Failed to create new replica set \"%s\": %s", meta_name(rs),
				    err_message(err));
		rollout_condition(ro, "Progressing", "False", "ReplicaSetCreateError", message);
		rollout_sync_status(ro, false, NULL);
		return r;
	}
	rollout_add_rs(ro, made);
	ro->new_rs = made;
	if (replicas)
		registry_event(ro->c->registry, ro->d, NULL, "Normal", "ScalingReplicaSet",
			       DEPLOYMENT_COMPONENT, "Scaled up replica set %s from 0 to %lld",
			       made->name, (long long)replicas);
	message = xasprintf("Created new replica set \"%s\"", made->name);
	rollout_condition(ro, "Progressing", "True", "NewReplicaSetCreated", message);
	return set_deployment_revision(ro, err);
}

int rollout_sync_revision(struct rollout *ro, bool create, struct err *err)
{
	int64_t revision = max_old_revision(ro) + 1;

	if (ro->new_rs)
		return refresh_new_rs(ro, revision, err);
	return create ? create_new_rs(ro, revision, err) : 0;
}

/* The removable old ReplicaSet with the lowest revision, or NULL; counts them all. */
static const struct object *oldest_removable(const struct rollout *ro, int64_t *count)
{
	const struct object *lowest = NULL;

	*count = 0;
	for (size_t i = 0; i < ro->n; i++) {
		const json_t *j = object_json(ro->rs[i]);

		if (ro->rs[i] == ro->new_rs || meta_deleting(j))
			continue;
		++*count;
		if (rs_replicas(ro->rs[i]) || json_int(j, "status.replicas", 0) ||
		    json_int(j, "metadata.generation", 0) >
			    json_int(j, "status.observedGeneration", 0))
			continue;
		if (!lowest || revision_of(j) < revision_of(object_json(lowest)))
			lowest = ro->rs[i];
	}
	return lowest;
}

int rollout_cleanup(struct rollout *ro, struct err *err)
{
	int64_t limit = json_int(rollout_json(ro), "spec.revisionHistoryLimit", 10), count;
	const struct object *rs;

	while ((rs = oldest_removable(ro, &count)) && count > limit) {
		struct write_options o = {.grace_seconds = -1, .precondition_uid = rs->uid};
		int r = registry_delete(ro->c->registry, &kind_replicaset, rs->ns, rs->name, &o,
					NULL, NULL, err);

		if (r < 0 && r != -ENOENT)
			return r;
		rollout_replace_rs(ro, rs, NULL);
	}
	return 0;
}
