/* SPDX-License-Identifier: Apache-2.0 */
/*
 * All controllers on a real store and registry. The node is played by the test: it makes pods
 * ready, and takes those away that are being deleted.
 */
#include "internal.h"
#include "registry_fixture.h"

static struct controllers *ctl;

static int setup(void **state)
{
	struct controllers_config cc = {.node_name = "node1", .api_address = "10.42.0.1:6443"};
	struct fixture *f;
	auto_err err = {0};

	setup_registry(state);
	f = *state;
	ctl = controllers_start(f->loop, reg, &cc, &err);
	assert_non_null(ctl);
	return 0;
}

static int teardown(void **state)
{
	controllers_stop(ctl);
	return teardown_registry(state);
}

/* Lets everything that is queued run. */
static void settle(struct fixture *f)
{
	uint64_t rev;
	int turns = 0;

	do {
		rev = store_rev(f->store);
		loop_refresh(f->loop);
		loop_deferred(f->loop, 50 * USEC_PER_MSEC);
		store_flush(f->store);
		loop_bury(f->loop);
		if (++turns > 500)
			fail_msg("the controllers never come to rest");
	} while (rev != store_rev(f->store) || turns < 3);
}

static void node_up(const char *cpu)
{
	const struct object *n = create(&kind_node, "",
					"{'apiVersion':'v1','kind':'Node',"
					"'metadata':{'name':'node1'}}");
	json_t *status = json_of("{'conditions':[{'type':'Ready','status':'True'}],"
				 "'allocatable':{'memory':'1Gi','pods':'110'}}");

	json_put_str(status, "allocatable.cpu", cpu);
	assert_int_equal(registry_set_status(reg, &kind_node, "", "node1", n->uid, status,
					     STORE_VOLATILE, NULL),
			 0);
}

static void set_pod_ready(struct fixture *f, const struct object *pod, bool ready)
{
	static int last = 1;
	json_t *status = json_deep_copy(json_at(object_json(pod), "status"));
	auto_free char *ip = NULL;

	if (!json_at(status, "podIP")) {
		ip = xasprintf("10.42.0.%d", ++last);
		json_put_str(status, "podIP", ip);
	}
	json_put_str(status, "phase", "Running");
	condition_set(status, "Ready", ready ? "True" : "False", "", "", wall_now());
	assert_int_equal(registry_set_status(reg, &kind_pod, pod->ns, pod->name, pod->uid, status,
					     STORE_VOLATILE, NULL),
			 0);
	(void)f;
}

/* One pass of the node: what is bound runs and is ready; what is deleted goes. true: did anything.
 */
static bool play_node(struct fixture *f, bool make_ready)
{
	struct store_iter it = store_iter(f->store, &kind_pod, NULL);
	const struct object *pod;
	bool did = false;

	while ((pod = store_next(&it))) {
		const json_t *j = object_json(pod);
		struct write_options o = {.grace_seconds = 0, .precondition_uid = pod->uid};

		if (meta_deleting(j)) {
			assert_int_equal(registry_delete(reg, &kind_pod, pod->ns, pod->name, &o,
							 NULL, NULL, NULL),
					 0);
			did = true;
		} else if (make_ready && *json_str(j, "spec.nodeName", "") && !pod_ready(j)) {
			set_pod_ready(f, pod, true);
			did = true;
		}
	}
	return did;
}

static void run(struct fixture *f)
{
	settle(f);
	for (int i = 0; i < 50 && play_node(f, true); i++)
		settle(f);
}

static size_t count(struct fixture *f, const struct kind *k, const char *ns)
{
	struct store_iter it = store_iter(f->store, k, ns);
	size_t n = 0;

	while (store_next(&it))
		n++;
	return n;
}

static const json_t *get(struct fixture *f, const struct kind *k, const char *ns, const char *name)
{
	const struct object *o = store_get(f->store, k, ns, name);

	return o ? object_json(o) : NULL;
}

static void change(struct fixture *f, const struct kind *k, const char *name,
		   void (*edit)(json_t *obj, const void *arg), const void *arg)
{
	const char *ns = k->namespaced ? "default" : "";
	json_auto_t *obj = object_dup(store_get(f->store, k, ns, name));
	struct write_options o = {0};
	auto_err err = {0};

	edit(obj, arg);
	if (registry_update(reg, k, NULL, ns, name, obj, &o, NULL, NULL, &err) < 0)
		fail_msg("update: %s", err_message(&err));
}

static void set_image(json_t *obj, const void *arg)
{
	json_put_str(json_array_get(json_at(obj, "spec.template.spec.containers"), 0), "image",
		     arg);
}

static void set_replicas(json_t *obj, const void *arg)
{
	json_put_int(obj, "spec.replicas", *(const int *)arg);
}

#define TEMPLATE                                                                                   \
	"'selector':{'matchLabels':{'app':'web'}},'template':{'metadata':{'labels':{'app':'web'}}" \
	","                                                                                        \
	"'spec':{'containers':[{'name':'c','image':'web:1','ports':[{'name':'http',"               \
	"'containerPort':8080}]}]}}"
#define DEPLOYMENT(spec)                                                                           \
	"{'apiVersion':'apps/v1','kind':'Deployment','metadata':{'name':'web','namespace':"        \
	"'default'},'spec':{" spec TEMPLATE "}}"

static const json_t *rs_with_image(struct fixture *f, const char *image)
{
	struct store_iter it = store_iter(f->store, &kind_replicaset, "default");
	const struct object *o;

	while ((o = store_next(&it))) {
		json_t *c =
			json_array_get(json_at(object_json(o), "spec.template.spec.containers"), 0);

		if (streq(json_str(c, "image", ""), image))
			return object_json(o);
	}
	return NULL;
}

static void test_queue(void **state)
{
	struct fixture *f = *state;
	struct work wake;
	struct queue q;
	char *key;

	work_init(&wake, (void (*)(void *))free, NULL);
	queue_init(&q, f->loop, &wake);
	queue_add(&q, "a");
	queue_add(&q, "b");
	queue_add(&q, "a");
	key = queue_take(&q);
	assert_string_equal(key, "a");
	queue_add(&q, "a"); /* dirty again while it is worked on */
	free(key);
	free(queue_take(&q));
	key = queue_take(&q);
	assert_string_equal(key, "a");
	queue_retry(&q, key);
	assert_false(queue_has_ready(&q));
	queue_add(&q, key); /* a change does not wait for the back-off */
	assert_true(queue_has_ready(&q));
	free(key);
	key = queue_take(&q);
	queue_forget(&q, key);
	queue_forget(&q, "b");
	assert_int_equal(queue_len(&q), 0);
	free(key);
	queue_done(&q);
	work_cancel(&wake);
}

static void test_deployment_rolls(void **state)
{
	struct fixture *f = *state;
	const json_t *d, *old;
	auto_free char *first = NULL;
	int three = 3;

	node_up("4");
	create(&kind_deployment, "default", DEPLOYMENT("'replicas':3,"));
	run(f);
	d = get(f, &kind_deployment, "default", "web");
	assert_int_equal(json_int(d, "status.availableReplicas", 0), 3);
	assert_string_equal(meta_annotation(d, "deployment.kubernetes.io/revision"), "1");
	assert_string_equal(
		json_str(condition_find(json_at(d, "status"), "Progressing"), "reason", ""),
		"NewReplicaSetAvailable");
	assert_int_equal(count(f, &kind_pod, "default"), 3);
	first = xstrdup(meta_name(rs_with_image(f, "web:1")));

	/* New pods do not become ready: at most maxSurge more, at least desired - maxUnavailable.
	 */
	change(f, &kind_deployment, "web", set_image, "web:2");
	settle(f);
	assert_int_equal(count(f, &kind_pod, "default"), 4);
	assert_int_equal(json_int(rs_with_image(f, "web:1"), "spec.replicas", 0), 3);
	assert_int_equal(json_int(rs_with_image(f, "web:2"), "spec.replicas", 0), 1);

	run(f);
	old = rs_with_image(f, "web:1");
	d = get(f, &kind_deployment, "default", "web");
	assert_int_equal(json_int(old, "spec.replicas", -1), 0);
	assert_int_equal(json_int(d, "status.updatedReplicas", 0), 3);
	assert_string_equal(meta_annotation(d, "deployment.kubernetes.io/revision"), "2");

	/* Back to the first template: its ReplicaSet comes back with a new number. */
	change(f, &kind_deployment, "web", set_image, "web:1");
	run(f);
	assert_int_equal(count(f, &kind_replicaset, "default"), 2);
	old = rs_with_image(f, "web:1");
	assert_string_equal(meta_name(old), first);
	assert_string_equal(meta_annotation(old, "deployment.kubernetes.io/revision"), "3");
	assert_string_equal(meta_annotation(old, "deployment.kubernetes.io/revision-history"), "1");
	change(f, &kind_deployment, "web", set_replicas, &three);
}

static void test_scaling(void **state)
{
	struct fixture *f = *state;
	int ten = 10, two = 2, twenty = 20;

	node_up("4");
	create(&kind_deployment, "default", DEPLOYMENT("'replicas':3,"));
	run(f);
	change(f, &kind_deployment, "web", set_replicas, &ten);
	run(f);
	assert_int_equal(count(f, &kind_pod, "default"), 10);
	change(f, &kind_deployment, "web", set_replicas, &two);
	run(f);
	assert_int_equal(count(f, &kind_pod, "default"), 2);
	change(f, &kind_deployment, "web", set_replicas, &ten);
	run(f);
	/* In the middle of a rollout both sizes grow in proportion. */
	change(f, &kind_deployment, "web", set_image, "web:2");
	settle(f);
	assert_int_equal(json_int(rs_with_image(f, "web:1"), "spec.replicas", 0), 8);
	assert_int_equal(json_int(rs_with_image(f, "web:2"), "spec.replicas", 0), 5);
	change(f, &kind_deployment, "web", set_replicas, &twenty);
	settle(f);
	assert_int_equal(json_int(rs_with_image(f, "web:1"), "spec.replicas", 0) +
				 json_int(rs_with_image(f, "web:2"), "spec.replicas", 0),
			 25);
	assert_true(json_int(rs_with_image(f, "web:1"), "spec.replicas", 0) > 8);
	run(f);
	assert_int_equal(count(f, &kind_pod, "default"), 20);
}

static void pause_it(json_t *obj, const void *arg)
{
	json_put_bool(obj, "spec.paused", *(const bool *)arg);
}

static void test_recreate_and_pause(void **state)
{
	struct fixture *f = *state;
	bool yes = true, no = false;

	node_up("4");
	create(&kind_deployment, "default",
	       DEPLOYMENT("'replicas':2,'strategy':{'type':'Recreate'},"));
	run(f);
	change(f, &kind_deployment, "web", pause_it, &yes);
	change(f, &kind_deployment, "web", set_image, "web:2");
	run(f);
	assert_null(rs_with_image(f, "web:2"));
	change(f, &kind_deployment, "web", pause_it, &no);
	settle(f);
	assert_null(rs_with_image(f, "web:2")); /* old pods are still ending */
	run(f);
	assert_int_equal(json_int(rs_with_image(f, "web:2"), "status.readyReplicas", 0), 2);
	assert_int_equal(json_int(rs_with_image(f, "web:1"), "spec.replicas", -1), 0);
}

static void relabel(json_t *obj, const void *arg)
{
	json_put_str(obj, "metadata.labels.app", arg);
}

static void test_replicaset_adopts_and_releases(void **state)
{
	struct fixture *f = *state;
	struct store_iter it;
	const struct object *pod;
	const json_t *j;

	node_up("4");
	create(&kind_pod, "default",
	       "{'apiVersion':'v1','kind':'Pod','metadata':{'name':'orphan',"
	       "'namespace':'default','labels':{'app':'web'}},'spec':{"
	       "'containers':[{'name':'c','image':'web:1'}]}}");
	create(&kind_replicaset, "default",
	       "{'apiVersion':'apps/v1','kind':'ReplicaSet','metadata':{'name':'web','namespace':"
	       "'default'},'spec':{'replicas':2," TEMPLATE "}}");
	run(f);
	assert_int_equal(count(f, &kind_pod, "default"), 2);
	assert_string_equal(
		json_str(meta_controller(get(f, &kind_pod, "default", "orphan")), "name", ""),
		"web");
	change(f, &kind_pod, "orphan", relabel, "other");
	run(f);
	j = get(f, &kind_pod, "default", "orphan");
	assert_null(meta_controller(j));
	assert_int_equal(count(f, &kind_pod, "default"), 3);
	it = store_iter(f->store, &kind_pod, "default");
	while ((pod = store_next(&it)))
		assert_true(streq(pod->name, "orphan") || str_starts(pod->name, "web-"));
	assert_int_equal(
		json_int(get(f, &kind_replicaset, "default", "web"), "status.readyReplicas", 0), 2);
}

/* The older kind: a plain map for a selector, its own name in the reference and the events. */
static void test_replicationcontroller(void **state)
{
	struct fixture *f = *state;
	const struct object *pod;
	struct store_iter it;
	const json_t *rc;

	node_up("4");
	create(&kind_replicationcontroller, "default",
	       "{'apiVersion':'v1','kind':'ReplicationController','metadata':{'name':'web',"
	       "'namespace':'default'},'spec':{'replicas':2,'selector':{'app':'web'},'template':{"
	       "'metadata':{'labels':{'app':'web'}},'spec':{'containers':[{'name':'c','image':"
	       "'web:1'}]}}}}");
	run(f);
	assert_int_equal(count(f, &kind_pod, "default"), 2);
	it = store_iter(f->store, &kind_pod, "default");
	while ((pod = store_next(&it)))
		assert_string_equal(json_str(meta_controller(object_json(pod)), "kind", ""),
				    "ReplicationController");
	rc = get(f, &kind_replicationcontroller, "default", "web");
	assert_int_equal(json_int(rc, "status.readyReplicas", 0), 2);
	assert_int_equal(json_int(rc, "status.observedGeneration", 0), 1);
	it = store_iter(f->store, &kind_event, "default");
	while ((pod = store_next(&it)) &&
	       !streq(json_str(object_json(pod), "reason", ""), "SuccessfulCreate"))
		;
	assert_non_null(pod);
	assert_string_equal(json_str(object_json(pod), "source.component", ""),
			    "replication-controller");
}

static void taint_node(json_t *obj, const void *arg)
{
	json_put(obj, "spec.taints", json_of(arg));
}

/* NoExecute: who does not tolerate it goes at once, who does for a while stays for that long. */
static void test_taint_eviction(void **state)
{
	struct fixture *f = *state;
	const json_t *j;

	node_up("4");
	create(&kind_pod, "default",
	       "{'apiVersion':'v1','kind':'Pod','metadata':{'name':'plain','namespace':'default'},"
	       "'spec':{'containers':[{'name':'c','image':'web:1'}]}}");
	create(&kind_pod, "default",
	       "{'apiVersion':'v1','kind':'Pod','metadata':{'name':'patient','namespace':'default'"
	       "},'spec':{'tolerations':[{'key':'a','operator':'Exists','effect':'NoExecute'}],"
	       "'containers':[{'name':'c','image':'web:1'}]}}");
	create(&kind_pod, "default",
	       "{'apiVersion':'v1','kind':'Pod','metadata':{'name':'brief','namespace':'default'},"
	       "'spec':{'tolerations':[{'key':'a','operator':'Exists','effect':'NoExecute',"
	       "'tolerationSeconds':3600}],'containers':[{'name':'c','image':'web:1'}]}}");
	run(f);
	change(f, &kind_node, "node1", taint_node, "[{'key':'a','effect':'NoSchedule'}]");
	settle(f);
	assert_false(meta_deleting(get(f, &kind_pod, "default", "plain")));
	change(f, &kind_node, "node1", taint_node, "[{'key':'a','effect':'NoExecute'}]");
	settle(f);
	j = get(f, &kind_pod, "default", "plain");
	assert_true(meta_deleting(j));
	assert_string_equal(
		json_str(condition_find(json_at(j, "status"), "DisruptionTarget"), "reason", ""),
		"DeletionByTaintManager");
	assert_false(meta_deleting(get(f, &kind_pod, "default", "patient")));
	assert_false(meta_deleting(get(f, &kind_pod, "default", "brief")));
}

static const json_t *only_slice(struct fixture *f)
{
	struct store_iter it = store_iter(f->store, &kind_endpointslice, "default");
	const struct object *o, *found = NULL;

	while ((o = store_next(&it)))
		if (str_eq(meta_label(object_json(o), "kubernetes.io/service-name"), "web"))
			found = o;
	assert_non_null(found);
	return object_json(found);
}

static void test_endpoints(void **state)
{
	struct fixture *f = *state;
	struct store_iter it;
	const struct object *pod;
	const json_t *ep;

	node_up("4");
	create(&kind_service, "default",
	       "{'apiVersion':'v1','kind':'Service','metadata':{'name':'web','namespace':"
	       "'default'},'spec':{'selector':{'app':'web'},'ports':[{'port':80,'targetPort':"
	       "'http'}]}}");
	create(&kind_deployment, "default", DEPLOYMENT("'replicas':3,"));
	run(f);
	ep = get(f, &kind_endpoints, "default", "web");
	ep = json_array_get(json_at(ep, "subsets"), 0);
	assert_int_equal(json_len(ep, "addresses"), 3);
	assert_int_equal(json_int(json_array_get(json_at(ep, "ports"), 0), "port", 0), 8080);
	assert_int_equal(json_len(only_slice(f), "endpoints"), 3);

	it = store_iter(f->store, &kind_pod, "default");
	pod = store_next(&it);
	set_pod_ready(f, pod, false);
	settle(f);
	ep = json_array_get(json_at(get(f, &kind_endpoints, "default", "web"), "subsets"), 0);
	assert_int_equal(json_len(ep, "addresses"), 2);
	assert_int_equal(json_len(ep, "notReadyAddresses"), 1);
	assert_int_equal(count(f, &kind_endpointslice, "default"), 2); /* and kubernetes' own */
	ep = json_array_get(json_at(get(f, &kind_endpoints, "default", "kubernetes"), "subsets"),
			    0);
	assert_string_equal(json_str(json_array_get(json_at(ep, "addresses"), 0), "ip", ""),
			    "10.42.0.1");
}

static void select_pods(json_t *obj, const void *arg)
{
	json_put(obj, "spec.selector", json_of(arg));
}

/* Endpoints made by hand are mirrored; without them, or with a selector, there is no mirror. */
static void test_mirrors(void **state)
{
	static const char endpoints[] =
		"{'apiVersion':'v1','kind':'Endpoints','metadata':{'name':'web','namespace':"
		"'default'},'subsets':[{'addresses':[{'ip':'10.1.2.3'}],'ports':[{'port':81}]}]}";
	struct fixture *f = *state;
	struct write_options o = {.grace_seconds = -1};

	create(&kind_service, "default",
	       "{'apiVersion':'v1','kind':'Service','metadata':{'name':'web','namespace':"
	       "'default'},'spec':{'ports':[{'port':80}]}}");
	create(&kind_endpoints, "default", endpoints);
	run(f);
	assert_string_equal(meta_label(only_slice(f), "endpointslice.kubernetes.io/managed-by"),
			    "endpointslicemirroring-controller.k8s.io");
	assert_int_equal(
		registry_delete(reg, &kind_endpoints, "default", "web", &o, NULL, NULL, NULL), 0);
	settle(f);
	assert_int_equal(count(f, &kind_endpointslice, "default"), 1); /* kubernetes' own */
	create(&kind_endpoints, "default", endpoints);
	settle(f);
	assert_int_equal(count(f, &kind_endpointslice, "default"), 2);
	change(f, &kind_service, "web", select_pods, "{'app':'web'}");
	settle(f);
	assert_int_equal(count(f, &kind_endpointslice, "default"), 2);
	assert_string_equal(meta_label(only_slice(f), "endpointslice.kubernetes.io/managed-by"),
			    "endpointslice-controller.k8s.io");
}

static void test_unschedulable(void **state)
{
	struct fixture *f = *state;
	const json_t *cond;

	node_up("1");
	create(&kind_pod, "default",
	       "{'apiVersion':'v1','kind':'Pod','metadata':{'name':'big','namespace':'default'},"
	       "'spec':{'containers':[{'name':'c','image':'web:1','resources':{'requests':{'cpu':"
	       "'2'}}}]}}");
	run(f);
	cond = condition_find(json_at(get(f, &kind_pod, "default", "big"), "status"),
			      "PodScheduled");
	assert_string_equal(json_str(cond, "reason", ""), "Unschedulable");
	assert_string_equal(
		json_str(cond, "message", ""),
		"0/1 nodes are available: 1 Insufficient cpu. preemption: 0/1 nodes are "
		"available: 1 No preemption victims found for incoming pod.");
	assert_string_equal(json_str(get(f, &kind_pod, "default", "big"), "status.phase", ""),
			    "Pending");
}

static void offer_device(struct fixture *f)
{
	const struct object *n = store_get(f->store, &kind_node, "", "node1");
	json_t *status = json_deep_copy(json_at(object_json(n), "status"));

	json_object_set_new(json_at(status, "allocatable"), "example.com/device", json_string("1"));
	assert_int_equal(registry_set_status(reg, &kind_node, "", "node1", n->uid, status,
					     STORE_VOLATILE, NULL),
			 0);
}

/* What a node does not offer at all is not there, and what one pod has the next cannot get. */
static void test_extended_resources(void **state)
{
	static const char text[] =
		"{'apiVersion':'v1','kind':'Pod','metadata':{'name':'%s','namespace':'default'},"
		"'spec':{'containers':[{'name':'c','image':'web:1','resources':{'limits':"
		"{'example.com/device':'1'}}}]}}";
	static const char *const names[] = {"a", "b"};
	struct fixture *f = *state;
	unsigned placed = 0;

	node_up("4");
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		auto_free char *pod = xasprintf(text, names[i]);

		create(&kind_pod, "default", pod);
	}
	run(f);
	assert_true(str_starts(
		json_str(condition_find(json_at(get(f, &kind_pod, "default", "a"), "status"),
					"PodScheduled"),
			 "message", ""),
		"0/1 nodes are available: 1 Insufficient example.com/device. "));
	offer_device(f);
	run(f);
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		placed +=
			*json_str(get(f, &kind_pod, "default", names[i]), "spec.nodeName", "") != 0;
	assert_int_equal(placed, 1);
}

static void delete_with(const struct kind *k, const char *name, const char *propagation)
{
	struct write_options o = {.grace_seconds = -1, .propagation = propagation};
	auto_err err = {0};

	if (registry_delete(reg, k, "default", name, &o, NULL, NULL, &err) < 0)
		fail_msg("delete: %s", err_message(&err));
}

/* class: NULL for priority 0 */
static void create_claimant(const char *name, const char *class, const char *cpu)
{
	auto_free char *pod = xasprintf(
		"{'apiVersion':'v1','kind':'Pod','metadata':{'name':'%s','namespace':'default',"
		"'labels':{'app':'%s'}},'spec':{'priorityClassName':'%s','containers':[{'name':"
		"'c','image':'web:1','resources':{'requests':{'cpu':'%s'}}}]}}",
		name, name, class, cpu);

	create(&kind_pod, "default", pod);
}

static void create_class(const char *name, int value, const char *policy)
{
	auto_free char *class = xasprintf(
		"{'apiVersion':'scheduling.k8s.io/v1','kind':'PriorityClass','metadata':{'name':"
		"'%s'},'value':%d,'preemptionPolicy':'%s'}",
		name, value, policy);

	create(&kind_priorityclass, "", class);
}

static const char *why_pending(struct fixture *f, const char *name)
{
	return json_str(condition_find(json_at(get(f, &kind_pod, "default", name), "status"),
				       "PodScheduled"),
			"message", "");
}

static const char *place_of(struct fixture *f, const char *name)
{
	return json_str(get(f, &kind_pod, "default", name), "spec.nodeName", "");
}

/* Who has more priority gets room, from as few as possible and from the least; equals do not. */
static void test_preemption(void **state)
{
	struct fixture *f = *state;
	const json_t *pod, *cond;

	node_up("4");
	create_class("low", 1, "PreemptLowerPriority");
	create_class("middle", 10, "PreemptLowerPriority");
	create_class("high", 100, "PreemptLowerPriority");
	create_class("polite", 100, "Never");
	create_claimant("a", "middle", "1");
	create_claimant("b", "low", "1");
	create_claimant("c", "low", "1");
	create_claimant("d", "high", "1");
	run(f);

	create_claimant("polite", "polite", "1");
	create_claimant("equal", "low", "1");
	create_claimant("much", "high", "4");
	run(f);
	assert_string_equal(place_of(f, "c"), "node1");
	assert_string_equal(why_pending(f, "polite"),
			    "0/1 nodes are available: 1 Insufficient cpu. preemption: not eligible "
			    "due to preemptionPolicy=Never.");
	assert_true(
		str_ends(why_pending(f, "equal"), "No preemption victims found for incoming pod."));
	assert_true(
		str_ends(why_pending(f, "much"), "No preemption victims found for incoming pod."));
	delete_with(&kind_pod, "polite", NULL);
	run(f);

	create_claimant("more", "high", "2");
	settle(f);
	pod = get(f, &kind_pod, "default", "more");
	assert_string_equal(json_str(pod, "status.nominatedNodeName", ""), "node1");
	assert_true(str_starts(why_pending(f, "more"),
			       "0/1 nodes are available: 1 Insufficient cpu. preemption: not "
			       "eligible due to a terminating pod"));
	assert_false(meta_deleting(get(f, &kind_pod, "default", "a")));
	for (const char *const *name = (const char *const[]){"b", "c", NULL}; *name; name++) {
		pod = get(f, &kind_pod, "default", *name);
		assert_true(meta_deleting(pod));
		cond = condition_find(json_at(pod, "status"), "DisruptionTarget");
		assert_string_equal(json_str(cond, "reason", ""), "PreemptionByScheduler");
	}
	run(f);
	assert_null(get(f, &kind_pod, "default", "b"));
	assert_string_equal(place_of(f, "more"), "node1");
	assert_string_equal(place_of(f, "a"), "node1");
	assert_string_equal(place_of(f, "equal"), "");
}

static void test_garbage(void **state)
{
	struct fixture *f = *state;

	node_up("4");
	create(&kind_deployment, "default", DEPLOYMENT("'replicas':2,"));
	run(f);
	delete_with(&kind_deployment, "web", "Background");
	run(f);
	assert_int_equal(count(f, &kind_replicaset, "default"), 0);
	assert_int_equal(count(f, &kind_pod, "default"), 0);

	create(&kind_deployment, "default", DEPLOYMENT("'replicas':2,"));
	run(f);
	delete_with(&kind_deployment, "web", "Foreground");
	settle(f);
	assert_non_null(get(f, &kind_deployment, "default", "web")); /* waits for its dependents */
	run(f);
	assert_null(get(f, &kind_deployment, "default", "web"));
	assert_int_equal(count(f, &kind_pod, "default"), 0);

	create(&kind_deployment, "default", DEPLOYMENT("'replicas':2,"));
	run(f);
	delete_with(&kind_deployment, "web", "Orphan");
	run(f);
	assert_null(get(f, &kind_deployment, "default", "web"));
	assert_int_equal(count(f, &kind_replicaset, "default"), 1);
	assert_int_equal(count(f, &kind_pod, "default"), 2);
}

static void test_namespace(void **state)
{
	struct fixture *f = *state;
	struct write_options o = {.grace_seconds = -1};

	node_up("4");
	create(&kind_namespace, "",
	       "{'apiVersion':'v1','kind':'Namespace','metadata':{'name':'n'}}");
	settle(f);
	assert_non_null(get(f, &kind_serviceaccount, "n", "default"));
	create(&kind_pod, "n",
	       "{'apiVersion':'v1','kind':'Pod','metadata':{'name':'p','namespace':"
	       "'n'},'spec':{'containers':[{'name':'c','image':'web:1'}]}}");
	run(f);
	assert_int_equal(registry_delete(reg, &kind_namespace, "", "n", &o, NULL, NULL, NULL), 0);
	settle(f);
	assert_non_null(get(f, &kind_namespace, "", "n")); /* the pod still ends */
	assert_non_null(get(f, &kind_serviceaccount, "n", "default"));
	run(f);
	/* The events of a namespace that is going are answered together, a moment later. */
	for (int turns = 0; get(f, &kind_namespace, "", "n") && turns < 1000; turns++) {
		assert_int_equal(loop_once(f->loop), 0);
		settle(f);
	}
	assert_null(get(f, &kind_namespace, "", "n"));
	assert_null(get(f, &kind_serviceaccount, "n", "default"));
}

/* ---- addresses, nodes, flow schemas ----------------------------------------------------- */

static void test_addresses(void **state)
{
	struct fixture *f = *state;
	struct write_options o = {.grace_seconds = -1};
	const struct object *svc, *mine;
	auto_free char *ip = NULL;
	uint64_t rev;

	settle(f);
	assert_non_null(get(f, &kind_ipaddress, "", "10.43.0.1"));
	svc = create(&kind_service, "default",
		     "{'metadata':{'name':'s'},'spec':{'ports':[{'port':80}]}}");
	ip = xstrdup(json_str(object_json(svc), "spec.clusterIP", ""));
	settle(f);
	assert_string_equal(json_str(get(f, &kind_ipaddress, "", ip), "spec.parentRef.name", ""),
			    "s");
	/* what somebody else made is left alone */
	mine = create(&kind_ipaddress, "",
		      "{'metadata':{'name':'10.43.9.9'},'spec':{'parentRef':{'resource':'services',"
		      "'namespace':'default','name':'none'}}}");
	assert_int_equal(registry_delete(reg, &kind_ipaddress, "", ip, &o, NULL, NULL, NULL), 0);
	settle(f);
	assert_non_null(get(f, &kind_ipaddress, "", ip));
	assert_int_equal(registry_delete(reg, &kind_service, "default", "s", &o, NULL, NULL, NULL),
			 0);
	settle(f);
	assert_null(get(f, &kind_ipaddress, "", ip));
	assert_string_equal(json_str(get(f, &kind_ipaddress, "", "10.43.9.9"), "metadata.uid", ""),
			    mine->uid);
	rev = store_rev(f->store);
	settle(f);
	assert_int_equal(store_rev(f->store), rev);
}

static void test_csinode(void **state)
{
	struct fixture *f = *state;

	settle(f);
	assert_null(get(f, &kind_csinode, "", "node1"));
	node_up("1");
	create(&kind_node, "", "{'metadata':{'name':'other'}}");
	settle(f);
	assert_non_null(get(f, &kind_csinode, "", "node1"));
	assert_null(get(f, &kind_csinode, "", "other"));
}

static const char *dangling(struct fixture *f, const char *name)
{
	const json_t *schema = get(f, &kind_flowschema, "", name);

	return json_str(json_find(json_at(schema, "status.conditions"), "type", "Dangling"),
			"status", "");
}

static void test_flowschema(void **state)
{
	struct fixture *f = *state;

	create(&kind_flowschema, "",
	       "{'metadata':{'name':'mine'},'spec':{'priorityLevelConfiguration':{'name':'late'}}"
	       "}");
	settle(f);
	assert_string_equal(dangling(f, "exempt"), "False");
	assert_string_equal(dangling(f, "mine"), "True");
	create(&kind_prioritylevelconfiguration, "",
	       "{'metadata':{'name':'late'},'spec':{'type':'Limited','limited':{'limitResponse':"
	       "{'type':'Reject'}}}}");
	settle(f);
	assert_string_equal(dangling(f, "mine"), "False");
}

static const char *str(const json_t *obj, const char *path)
{
	return json_str(obj, path, "");
}

static void test_quota_status(void **state)
{
	struct fixture *f = *state;
	struct write_options o = {0};

	create(&kind_resourcequota, "default",
	       "{'metadata':{'name':'q'},'spec':{'hard':{'configmaps':'10','pods':'3'}}}");
	settle(f);
	const json_t *q = get(f, &kind_resourcequota, "default", "q");

	assert_string_equal(str(q, "status.hard.pods"), "3");
	assert_string_equal(str(q, "status.used.configmaps"), "0");
	create(&kind_configmap, "default", "{'metadata':{'name':'a'}}");
	settle(f);
	assert_string_equal(
		str(get(f, &kind_resourcequota, "default", "q"), "status.used.configmaps"), "1");
	assert_int_equal(
		registry_delete(reg, &kind_configmap, "default", "a", &o, NULL, NULL, NULL), 0);
	settle(f);
	assert_string_equal(
		str(get(f, &kind_resourcequota, "default", "q"), "status.used.configmaps"), "0");
}

static int64_t budget(struct fixture *f, const char *name, const char *path)
{
	return json_int(get(f, &kind_poddisruptionbudget, "default", name), path, -1);
}

static void test_disruption(void **state)
{
	struct fixture *f = *state;
	struct write_options o = {.grace_seconds = -1};
	struct store_iter it;

	node_up("4");
	create(&kind_deployment, "default",
	       "{'metadata':{'name':'d'},'spec':{'replicas':3,'selector':{'matchLabels':{'a':'b'}},"
	       "'template':{'metadata':{'labels':{'a':'b'}},'spec':{'containers':[{'name':'c',"
	       "'image':'i:1'}]}}}}");
	create(&kind_poddisruptionbudget, "default",
	       "{'metadata':{'name':'min'},'spec':{'minAvailable':2,'selector':{'matchLabels':{"
	       "'a':'b'}}}}");
	create(&kind_poddisruptionbudget, "default",
	       "{'metadata':{'name':'max'},'spec':{'maxUnavailable':'34%','selector':{"
	       "'matchLabels':{'a':'b'}}}}");
	create(&kind_poddisruptionbudget, "default",
	       "{'metadata':{'name':'none'},'spec':{'minAvailable':1}}");
	run(f);
	assert_int_equal(budget(f, "min", "status.currentHealthy"), 3);
	assert_int_equal(budget(f, "min", "status.desiredHealthy"), 2);
	assert_int_equal(budget(f, "min", "status.disruptionsAllowed"), 1);
	assert_int_equal(budget(f, "min", "status.observedGeneration"), 1);
	assert_int_equal(budget(f, "max", "status.expectedPods"), 3);
	assert_int_equal(budget(f, "max", "status.desiredHealthy"), 1); /* 34% of 3, up */
	assert_int_equal(budget(f, "none", "status.expectedPods"), 0);
	assert_int_equal(budget(f, "none", "status.disruptionsAllowed"), 0);
	/* the deployment's wish counts, not the pods there are */
	it = store_iter(f->store, &kind_pod, "default");
	assert_int_equal(registry_delete(reg, &kind_pod, "default", store_next(&it)->name, &o, NULL,
					 NULL, NULL),
			 0);
	settle(f);
	assert_int_equal(budget(f, "min", "status.disruptionsAllowed"), 0);
	assert_int_equal(budget(f, "max", "status.expectedPods"), 3);
	assert_int_equal(budget(f, "max", "status.disruptionsAllowed"), 1);
	run(f);
	assert_int_equal(budget(f, "min", "status.disruptionsAllowed"), 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_queue, setup, teardown),
		cmocka_unit_test_setup_teardown(test_deployment_rolls, setup, teardown),
		cmocka_unit_test_setup_teardown(test_scaling, setup, teardown),
		cmocka_unit_test_setup_teardown(test_recreate_and_pause, setup, teardown),
		cmocka_unit_test_setup_teardown(test_replicationcontroller, setup, teardown),
		cmocka_unit_test_setup_teardown(test_taint_eviction, setup, teardown),
		cmocka_unit_test_setup_teardown(test_replicaset_adopts_and_releases, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_endpoints, setup, teardown),
		cmocka_unit_test_setup_teardown(test_mirrors, setup, teardown),
		cmocka_unit_test_setup_teardown(test_unschedulable, setup, teardown),
		cmocka_unit_test_setup_teardown(test_extended_resources, setup, teardown),
		cmocka_unit_test_setup_teardown(test_preemption, setup, teardown),
		cmocka_unit_test_setup_teardown(test_garbage, setup, teardown),
		cmocka_unit_test_setup_teardown(test_namespace, setup, teardown),
		cmocka_unit_test_setup_teardown(test_addresses, setup, teardown),
		cmocka_unit_test_setup_teardown(test_csinode, setup, teardown),
		cmocka_unit_test_setup_teardown(test_flowschema, setup, teardown),
		cmocka_unit_test_setup_teardown(test_quota_status, setup, teardown),
		cmocka_unit_test_setup_teardown(test_disruption, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
