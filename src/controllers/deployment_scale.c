/* SPDX-License-Identifier: Apache-2.0 */
/* Deployment: sizes of its ReplicaSets, also in proportion while a rollout is under way. */
#include "deployment.h"

static bool put_number(json_t *rs, const char *key, int64_t n)
{
	json_t *a = json_obj(json_obj(rs, "metadata"), "annotations");
	auto_free char *text = xasprintf("%lld", (long long)n);

	if (str_eq(json_string_value(json_object_get(a, key)), text))
		return false;
	json_object_set_new(a, key, json_string(text));
	return true;
}

bool set_size_annotations(const struct rollout *ro, json_t *rs)
{
	int64_t desired = rollout_replicas(ro);
	bool changed = put_number(rs, DESIRED_REPLICAS, desired);

	return put_number(rs, MAX_REPLICAS, desired + rollout_max_surge(ro)) || changed;
}

int rollout_scale_rs(struct rollout *ro, const struct object *rs, int64_t replicas, bool *changed,
		     struct err *err)
{
	int64_t before = rs_replicas(rs);
	json_auto_t *obj = object_dup(rs);
	const struct object *now;
	struct write_options o = {.precondition_uid = rs->uid};
	int r;

	if (!set_size_annotations(ro, obj) && before == replicas)
		return 0;
	json_put_int(obj, "spec.replicas", replicas);
	r = registry_update(ro->c->registry, &kind_replicaset, NULL, rs->ns, rs->name, obj, &o,
			    &now, NULL, err);
	if (r < 0)
		return r;
	if (before != replicas) {
		registry_event(ro->c->registry, ro->d, NULL, "Normal", "ScalingReplicaSet",
			       DEPLOYMENT_COMPONENT, "Scaled %s replica set %s from %lld to %lld",
			       before < replicas ? "up" : "down", rs->name, (long long)before,
			       (long long)replicas);
		if (changed)
			*changed = true;
	}
	rollout_replace_rs(ro, rs, now);
	return 0;
}

int64_t rollout_new_rs_replicas(const struct rollout *ro, int64_t present)
{
	int64_t desired = rollout_replicas(ro), room;

	if (!rollout_is_rolling(ro))
		return desired;
	room = desired + rollout_max_surge(ro) - rollout_total(ro);
	if (room <= 0)
		return present;
	return room < desired - present ? present + room : desired;
}

static bool number_of(const struct object *rs, const char *key, int64_t *ret)
{
	const char *text = meta_annotation(object_json(rs), key);

	return text && str_to_i64(text, 0, INT32_MAX, ret) == 0;
}

bool rollout_is_scaling(const struct rollout *ro)
{
	int64_t desired;

	for (size_t i = 0; i < ro->n; i++)
		if (rs_replicas(ro->rs[i]) > 0 &&
		    number_of(ro->rs[i], DESIRED_REPLICAS, &desired) &&
		    desired != rollout_replicas(ro))
			return true;
	return false;
}

/* The only ReplicaSet with replicas, or the newest when none has any; NULL when several have. */
static const struct object *active_or_latest(const struct rollout *ro)
{
	const struct object *active = NULL;

	for (size_t i = 0; i < ro->n; i++)
		if (rs_replicas(ro->rs[i]) > 0) {
			if (active)
				return NULL;
			active = ro->rs[i];
		}
	if (active)
		return active;
	return ro->new_rs ? ro->new_rs : ro->n ? ro->rs[ro->n - 1] : NULL;
}

/* The new ReplicaSet has all that was wished for, by its own annotation too. */
static bool is_saturated(const struct rollout *ro)
{
	int64_t desired;

	return ro->new_rs && number_of(ro->new_rs, DESIRED_REPLICAS, &desired) &&
	       rs_replicas(ro->new_rs) == rollout_replicas(ro) && desired == rollout_replicas(ro) &&
	       rs_available(ro->new_rs) == rollout_replicas(ro);
}

/* What the ReplicaSet's share of the change is (GetReplicaSetProportion). */
static int64_t proportion(const struct rollout *ro, const struct object *rs, int64_t to_add,
			  int64_t added)
{
	int64_t size = rs_replicas(rs), before, share, allowed = to_add - added;
	int64_t max = rollout_replicas(ro) + rollout_max_surge(ro);

	if (!size || !to_add || to_add == added)
		return 0;
	if (!rollout_replicas(ro))
		share = -size;
	else {
		if (!number_of(rs, MAX_REPLICAS, &before) || !before)
			before = json_int(rollout_json(ro), "status.replicas", 0);
		if (!before)
			before = max;
		share = (size * max * 2 + before) / (2 * before) - size; /* rounded */
	}
	if (to_add > 0)
		return share < allowed ? share : allowed;
	return share > allowed ? share : allowed;
}

/* Largest first; of equal ones the newest first when growing, the oldest first when shrinking. */
static void sort_by_size(const struct object **v, size_t n, bool newest_first)
{
	for (size_t i = 1; i < n; i++)
		for (size_t j = i; j > 0; j--) {
			int64_t a = rs_replicas(v[j - 1]), b = rs_replicas(v[j]);
			const struct object *t = v[j];

			if (a > b || (a == b && !newest_first))
				break;
			v[j] = v[j - 1];
			v[j - 1] = t;
		}
}

static int scale_in_proportion(struct rollout *ro, struct err *err)
{
	const struct object **active auto_free = xcalloc(ro->n, sizeof(*active));
	int64_t *sizes auto_free = xcalloc(ro->n, sizeof(*sizes));
	int64_t desired = rollout_replicas(ro), to_add, added = 0;
	size_t n = 0;
	int r = 0;

	for (size_t i = 0; i < ro->n; i++)
		if (rs_replicas(ro->rs[i]) > 0)
			active[n++] = ro->rs[i];
	to_add = (desired > 0 ? desired + rollout_max_surge(ro) : 0) - rollout_total(ro);
	sort_by_size(active, n, to_add > 0);
	for (size_t i = 0; i < n; i++) {
		int64_t share = proportion(ro, active[i], to_add, added);

		sizes[i] = rs_replicas(active[i]) + share;
		added += share;
	}
	for (size_t i = 0; r == 0 && i < n; i++) {
		if (i == 0 && to_add != added) { /* leftovers of the rounding */
			sizes[0] += to_add - added;
			sizes[0] = sizes[0] < 0 ? 0 : sizes[0];
		}
		r = rollout_scale_rs(ro, active[i], sizes[i], NULL, err);
	}
	return r;
}

int rollout_scale(struct rollout *ro, struct err *err)
{
	const struct object *one = active_or_latest(ro);
	int r = 0;

	if (one)
		return rollout_scale_rs(ro, one, rollout_replicas(ro), NULL, err);
	if (is_saturated(ro)) {
		for (size_t i = 0; r == 0 && i < ro->n; i++)
			if (ro->rs[i] != ro->new_rs && rs_replicas(ro->rs[i]))
				r = rollout_scale_rs(ro, ro->rs[i], 0, NULL, err);
		return r;
	}
	return rollout_is_rolling(ro) ? scale_in_proportion(ro, err) : 0;
}
