/* SPDX-License-Identifier: Apache-2.0 */
/* Deployment: the two strategies, RollingUpdate and Recreate. */
#include "deployment.h"

static int64_t min_i64(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

static int grow_new(struct rollout *ro, bool *changed, struct err *err)
{
	int64_t present = rs_replicas(ro->new_rs), desired = rollout_replicas(ro);

	if (present == desired) /* annotations may still want a refresh */
		return rollout_scale_rs(ro, ro->new_rs, desired, changed, err);
	if (present > desired)
		return rollout_scale_rs(ro, ro->new_rs, desired, changed, err);
	return rollout_scale_rs(ro, ro->new_rs, rollout_new_rs_replicas(ro, present), changed, err);
}

/* Old pods that are not available serve nobody: they go first. Returns how many went. */
static int64_t drop_unhealthy(struct rollout *ro, int64_t most, struct err *err)
{
	int64_t dropped = 0;

	for (size_t i = 0; i < ro->n && dropped < most; i++) {
		const struct object *rs = ro->rs[i];
		int64_t size = rs_replicas(rs), n;

		if (rs == ro->new_rs || size <= rs_available(rs))
			continue;
		n = min_i64(most - dropped, size - rs_available(rs));
		if (rollout_scale_rs(ro, rs, size - n, NULL, err) < 0)
			return -1;
		dropped += n;
	}
	return dropped;
}

static int64_t total_available(const struct rollout *ro)
{
	int64_t n = 0;

	for (size_t i = 0; i < ro->n; i++)
		n += rs_available(ro->rs[i]);
	return n;
}

static int64_t shrink_old(struct rollout *ro, int64_t min_available, struct err *err)
{
	int64_t most = total_available(ro) - min_available, dropped = 0;

	for (size_t i = 0; i < ro->n && dropped < most; i++) {
		const struct object *rs = ro->rs[i];
		int64_t n = min_i64(rs_replicas(rs), most - dropped);

		if (rs == ro->new_rs || !n)
			continue;
		if (rollout_scale_rs(ro, rs, rs_replicas(rs) - n, NULL, err) < 0)
			return -1;
		dropped += n;
	}
	return dropped;
}

static int reduce_old(struct rollout *ro, bool *changed, struct err *err)
{
	int64_t min_available = rollout_replicas(ro) - rollout_max_unavailable(ro), n, m, most;

	if (!rollout_old_total(ro))
		return 0;
	most = rollout_total(ro) - min_available -
	       (rs_replicas(ro->new_rs) - rs_available(ro->new_rs));
	if (most <= 0)
		return 0;
	n = drop_unhealthy(ro, most, err);
	m = n < 0 ? -1 : shrink_old(ro, min_available, err);
	if (n < 0 || m < 0)
		return -EAGAIN;
	*changed = n + m > 0;
	return 0;
}

int rollout_rolling(struct rollout *ro, struct err *err)
{
	bool changed = false;
	int r = rollout_sync_revision(ro, true, err);

	if (r == 0)
		r = grow_new(ro, &changed, err);
	if (r == 0 && !changed)
		r = reduce_old(ro, &changed, err);
	if (r == 0 && !changed && rollout_complete(ro, json_at(rollout_json(ro), "status")))
		r = rollout_cleanup(ro, err);
	return r < 0 ? r : rollout_sync_status(ro, true, err);
}

/* A pod of an old ReplicaSet is still there (also one that is terminating). */
static bool old_pods_running(const struct rollout *ro)
{
	struct store_iter it = store_iter(ro->c->store, &kind_pod, ro->d->ns);
	const struct object *pod;

	while ((pod = store_next(&it))) {
		const json_t *j = object_json(pod);
		const char *phase = json_str(j, "status.phase", "");

		if (streq(phase, "Succeeded") || streq(phase, "Failed"))
			continue;
		for (size_t i = 0; i < ro->n; i++)
			if (ro->rs[i] != ro->new_rs && controlled_by(j, ro->rs[i]->uid))
				return true;
	}
	return false;
}

int rollout_recreate(struct rollout *ro, struct err *err)
{
	bool changed = false;
	int r = rollout_sync_revision(ro, false, err);

	for (size_t i = 0; r == 0 && i < ro->n; i++)
		if (ro->rs[i] != ro->new_rs && rs_replicas(ro->rs[i]))
			r = rollout_scale_rs(ro, ro->rs[i], 0, &changed, err);
	if (r == 0 && !changed && !old_pods_running(ro)) {
		r = rollout_sync_revision(ro, true, err);
		if (r == 0)
			r = rollout_scale_rs(ro, ro->new_rs, rollout_replicas(ro), NULL, err);
		if (r == 0 && rollout_complete(ro, json_at(rollout_json(ro), "status")))
			r = rollout_cleanup(ro, err);
	}
	return r < 0 ? r : rollout_sync_status(ro, true, err);
}
