/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The Lease by which a node shows that it is alive. On one machine who can read it knows that
 * already: it is renewed when somebody looks, and every ten seconds only while somebody watches.
 * It is an observation, and costs no flash.
 */
#include "internal.h"

#define LEASE_NS "kube-node-lease"
#define RENEW_S 10
#define DURATION_S 40

static bool is_fresh(const struct object *lease)
{
	struct timespec then, now;

	clock_gettime(CLOCK_REALTIME, &now);
	return time_parse(json_str(object_json(lease), "spec.renewTime", ""), &then) == 0 &&
	       then.tv_sec <= now.tv_sec && now.tv_sec - then.tv_sec < RENEW_S;
}

static void fill(const struct registry *r, json_t *lease, const struct object *node)
{
	char text[TIME_RFC3339_MAX];
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	json_put(lease, "metadata.ownerReferences",
		 json_pack("[{s:s, s:s, s:s, s:s}]", "apiVersion", "v1", "kind", "Node", "name",
			   node->name, "uid", node->uid));
	json_put_str(lease, "spec.holderIdentity", r->node_name);
	json_put_int(lease, "spec.leaseDurationSeconds", DURATION_S);
	json_put_str(lease, "spec.renewTime", time_format_micro(text, now));
}

static void renew(struct registry *r)
{
	struct write_options o = {.storage = STORE_VOLATILE};
	const struct object *node = store_get(r->store, &kind_node, "", r->node_name), *old;
	json_auto_t *obj = NULL;
	auto_err err = {0};
	int rc;

	if (!node)
		return;
	old = store_get(r->store, &kind_lease, LEASE_NS, r->node_name);
	if (old && is_fresh(old))
		return;
	obj = old ? object_dup(old) : json_object();
	fill(r, obj, node);
	if (old) {
		rc = store_update(r->store, &kind_lease, obj, 0, STORE_VOLATILE, NULL, NULL, NULL,
				  &err);
	} else {
		json_put_str(obj, "metadata.name", r->node_name);
		rc = registry_create(r, &kind_lease, LEASE_NS, obj, &o, NULL, &err);
	}
	if (rc < 0)
		log_debug("lease of node %s: %s", r->node_name, err_message(&err));
}

static void on_timer(void *arg)
{
	struct registry *r = arg;

	renew(r);
	timer_arm(r->lease_timer, RENEW_S * USEC_PER_SEC);
}

void registry_look(struct registry *r, const struct kind *k)
{
	if (k == &kind_lease && r->node_name)
		renew(r);
}

void registry_watched(struct registry *r, const struct kind *k, bool begins)
{
	if (k != &kind_lease || !r->node_name)
		return;
	r->lease_watchers += begins ? 1 : -1;
	if (r->lease_watchers == 0)
		timer_disarm(r->lease_timer);
	else if (!timer_armed(r->lease_timer))
		timer_arm(r->lease_timer, RENEW_S * USEC_PER_SEC);
}

void lease_init(struct registry *r)
{
	r->lease_timer = timer_new(r->loop, on_timer, r);
}

void lease_done(struct registry *r)
{
	timer_free(r->lease_timer);
}
