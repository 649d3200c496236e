/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Preemption: which pods have to go so that one of more priority can come (upstream: pkg/scheduler,
 * plugin DefaultPreemption). All with less priority are taken away in thought; then as many as
 * possible are put back, those first that a disruption budget guards, that have more priority, that
 * have run longer. What could not be put back goes.
 */
#include "scheduler.h"

#include <stdlib.h>

/* One pod with less priority on the node. */
struct claim {
	const struct object *pod;
	int64_t *amounts; /* of the resources in question */
	int64_t priority;
	struct timespec since;
	bool leaving; /* it goes anyway */
	bool guarded; /* a budget does not allow it to go */
	bool victim;
};

struct contest {
	const struct object *pod, *node;
	struct strv names;    /* of the resources that the pod asks for */
	int64_t *want, *left; /* one for each */
	struct claim *claims;
	size_t n;
	bool hopeless; /* something that may stay is in the way */
};

static void contest_done(struct contest *t)
{
	for (size_t i = 0; i < t->n; i++)
		free(t->claims[i].amounts);
	free(t->claims);
	free(t->want);
	free(t->left);
	strv_done(&t->names);
}

static int64_t *amounts_of(const struct contest *t, const struct object *pod)
{
	int64_t *amounts = xcalloc(t->names.n, sizeof(*amounts));

	for (size_t i = 0; i < t->names.n; i++)
		amounts[i] = pod_request(object_json(pod), t->names.v[i]);
	return amounts;
}

static void take(struct contest *t, const int64_t *amounts)
{
	for (size_t i = 0; i < t->names.n; i++)
		t->left[i] -= amounts[i];
}

static void give(struct contest *t, const int64_t *amounts)
{
	for (size_t i = 0; i < t->names.n; i++)
		t->left[i] += amounts[i];
}

static bool fits(const struct contest *t)
{
	for (size_t i = 0; i < t->names.n; i++)
		if (t->want[i] && t->want[i] > t->left[i])
			return false;
	return true;
}

/* ---- who is there ------------------------------------------------------------------------- */

static bool budget_guards(const struct controller *c, const struct object *pod)
{
	struct store_iter it = store_iter(c->store, &kind_poddisruptionbudget, pod->ns);
	const struct object *budget;

	while ((budget = store_next(&it))) {
		const json_t *b = object_json(budget);
		struct label_selector *s auto_clean(label_selector) =
			label_selector_from_json(json_at(b, "spec.selector"), NULL);

		if (json_int(b, "status.disruptionsAllowed", 0) < 1 && s &&
		    label_selector_matches(s, json_at(object_json(pod), "metadata.labels")))
			return true;
	}
	return false;
}

static struct timespec since_when(const json_t *pod)
{
	const char *text = json_str(pod, "status.startTime", NULL);
	struct timespec ts = {0};

	if (time_parse(text ? text : json_str(pod, "metadata.creationTimestamp", ""), &ts) < 0)
		ts = (struct timespec){0};
	return ts;
}

static void add_claim(const struct controller *c, struct contest *t, const struct object *pod)
{
	const json_t *p = object_json(pod);

	t->claims = xrealloc(t->claims, t->n + 1, sizeof(*t->claims));
	t->claims[t->n++] = (struct claim){
		.pod = pod,
		.amounts = amounts_of(t, pod),
		.priority = pod_priority(p),
		.since = since_when(p),
		.leaving = meta_deleting(p),
		.guarded = budget_guards(c, pod),
	};
}

/* Mostly all are equal: then nothing needs to be added up. */
static bool anybody_less(const struct controller *c, const struct object *pod,
			 const struct object *node)
{
	struct store_iter it = store_iter(c->store, &kind_pod, NULL);
	int64_t priority = pod_priority(object_json(pod));
	const struct object *o;

	while ((o = store_next(&it)))
		if (pod_is_on(object_json(o), node->name) &&
		    pod_priority(object_json(o)) < priority)
			return true;
	return false;
}

static void add_pods(const struct controller *c, struct contest *t)
{
	struct store_iter it = store_iter(c->store, &kind_pod, NULL);
	int64_t priority = pod_priority(object_json(t->pod));
	const struct object *o;

	while ((o = store_next(&it))) {
		bool on = pod_is_on(object_json(o), t->node->name);

		if (on && pod_priority(object_json(o)) < priority) {
			add_claim(c, t, o);
		} else if (on || pod_is_promised(o, t->node->name, t->pod)) {
			auto_free int64_t *amounts = amounts_of(t, o);

			take(t, amounts);
			t->hopeless |= on && host_ports_clash(t->pod, o);
		}
	}
}

/* ---- who goes ----------------------------------------------------------------------------- */

/* Those first that are put back first. */
static int compare(const void *x, const void *y)
{
	const struct claim *a = x, *b = y;

	if (a->guarded != b->guarded)
		return a->guarded ? -1 : 1;
	if (a->priority != b->priority)
		return a->priority > b->priority ? -1 : 1;
	if (a->since.tv_sec != b->since.tv_sec)
		return a->since.tv_sec < b->since.tv_sec ? -1 : 1;
	return strcmp(a->pod->uid, b->pod->uid);
}

static void choose(struct contest *t)
{
	if (t->n)
		qsort(t->claims, t->n, sizeof(*t->claims), compare);
	for (size_t i = 0; i < t->n; i++) {
		struct claim *claim = &t->claims[i];

		if (claim->leaving)
			continue;
		take(t, claim->amounts);
		claim->victim = !fits(t) || host_ports_clash(t->pod, claim->pod);
		if (claim->victim)
			give(t, claim->amounts);
	}
}

static int send_away(struct controller *c, const struct contest *t, const struct object *victim,
		     struct err *err)
{
	json_t *status = json_deep_copy(json_object_get(object_json(victim), "status"));
	struct write_options o = {.grace_seconds = -1, .precondition_uid = victim->uid};
	int r;

	status = status ? status : json_object();
	condition_set(status, "DisruptionTarget", "True", "PreemptionByScheduler",
		      SCHEDULER_COMPONENT ": preempting to accommodate a higher priority pod",
		      wall_now());
	registry_event(c->registry, victim, NULL, "Normal", "Preempted", SCHEDULER_COMPONENT,
		       "Preempted by pod %s on node %s", t->pod->uid, t->node->name);
	r = registry_set_status(c->registry, &kind_pod, victim->ns, victim->name, victim->uid,
				status, STORE_VOLATILE, err);
	if (r == 0)
		r = registry_delete(c->registry, &kind_pod, victim->ns, victim->name, &o, NULL,
				    NULL, err);
	return r == -ENOENT ? 0 : r;
}

static int send_all_away(struct controller *c, const struct contest *t, enum preemption *ret,
			 struct err *err)
{
	for (size_t i = 0; i < t->n; i++) {
		int r = 0;

		if (t->claims[i].leaving && *ret == PREEMPT_NONE)
			*ret = PREEMPT_WAIT;
		if (!t->claims[i].victim)
			continue;
		*ret = PREEMPT_DONE;
		r = send_away(c, t, t->claims[i].pod, err);
		if (r < 0)
			return r;
	}
	return 0;
}

/* What the node does not have at all, nobody can make free. */
static void contest_init(struct contest *t, const struct object *pod, const struct object *node)
{
	*t = (struct contest){.pod = pod, .node = node};
	pod_asks(object_json(pod), &t->names);
	t->want = amounts_of(t, pod);
	t->left = xcalloc(t->names.n, sizeof(*t->left));
	for (size_t i = 0; i < t->names.n; i++)
		t->left[i] = node_allocatable(object_json(node), t->names.v[i]);
	t->hopeless = !fits(t);
}

int preempt(struct controller *c, const struct object *pod, const struct object *node,
	    enum preemption *ret, struct err *err)
{
	__attribute__((cleanup(contest_done))) struct contest t = {0};

	*ret = PREEMPT_NONE;
	if (!anybody_less(c, pod, node))
		return 0;
	contest_init(&t, pod, node);
	if (!t.hopeless)
		add_pods(c, &t);
	if (t.hopeless || !t.n || !fits(&t))
		return 0;
	choose(&t);
	return send_all_away(c, &t, ret, err);
}
