/* SPDX-License-Identifier: Apache-2.0 */
/* The registry: what Kubernetes' API server does between decoding and storage. */
#include "registry_fixture.h"

static void create_fails(const struct kind *k, const char *ns, const char *text,
			 enum err_reason reason, const char *message)
{
	json_auto_t *obj = json_of(text);
	struct write_options o = {0};
	auto_err err = {0};

	assert_true(registry_create(reg, k, ns, obj, &o, NULL, &err) < 0);
	assert_string_equal(err_message(&err), message);
	assert_int_equal(err.reason, reason);
}

/* Stores obj over its present state; its resourceVersion counts. */
static int update(const struct kind *k, const char *sub, json_t *obj, const struct object **ret,
		  struct err *err)
{
	struct write_options o = {0};

	return registry_update(reg, k, sub, meta_ns(obj), meta_name(obj), obj, &o, ret, NULL, err);
}

static const struct object *must_update(const struct kind *k, const char *sub, json_t *obj)
{
	const struct object *ret = NULL;
	auto_err err = {0};

	if (update(k, sub, obj, &ret, &err) < 0)
		fail_msg("update: %s", err_message(&err));
	return ret;
}

static const char *str(const struct object *o, const char *path)
{
	return json_str(object_json(o), path, "");
}

static int64_t num(const struct object *o, const char *path)
{
	return json_int(object_json(o), path, -1);
}

#define POD "{'metadata':{'name':'p'},'spec':{'containers':[{'name':'c','image':'i:1'}]}}"
#define DEPLOYMENT                                                                                 \
	"{'metadata':{'name':'d'},'spec':{'replicas':2,'selector':{'matchLabels':{'a':'b'}},"      \
	"'template':{'metadata':{'labels':{'a':'b'}},'spec':{'containers':[{'name':'c',"           \
	"'image':'i:1'}]}}}}"

/* ---- create ----------------------------------------------------------------------------- */

static void test_system_objects(void **state)
{
	struct fixture *f = *state;
	static const char *const names[] = {"default", "kube-system", "kube-public",
					    "kube-node-lease"};
	uint64_t rev = store_rev(f->store);

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		const struct object *ns = store_get(f->store, &kind_namespace, "", names[i]);

		assert_non_null(ns);
		assert_string_equal(str(ns, "status.phase"), "Active");
	}
	assert_string_equal(
		str(store_get(f->store, &kind_service, "default", "kubernetes"), "spec.clusterIP"),
		"10.43.0.1");
	assert_string_equal(str(store_get(f->store, &kind_service, "kube-system", "kube-dns"),
				"spec.clusterIP"),
			    "10.43.0.10");
	registry_free(reg);
	open_registry(f);
	assert_int_equal(store_rev(f->store), rev);
}

/* Made when the node is there and somebody looks; fresh for ten seconds. */
static void test_node_lease(void **state)
{
	struct fixture *f = *state;
	const struct object *node, *lease;
	json_auto_t *old = NULL;

	registry_look(reg, &kind_lease);
	assert_int_equal(store_count(f->store, &kind_lease), 0);
	node = create(&kind_node, "", "{'metadata':{'name':'node1'}}");
	registry_look(reg, &kind_pod);
	assert_int_equal(store_count(f->store, &kind_lease), 0);
	registry_look(reg, &kind_lease);
	lease = store_get(f->store, &kind_lease, "kube-node-lease", "node1");
	assert_non_null(lease);
	assert_string_equal(str(lease, "spec.holderIdentity"), "node1");
	assert_string_equal(
		json_str(json_array_get(json_at(object_json(lease), "metadata.ownerReferences"), 0),
			 "uid", ""),
		node->uid);
	registry_look(reg, &kind_lease);
	assert_ptr_equal(store_get(f->store, &kind_lease, "kube-node-lease", "node1"), lease);
	old = object_dup(lease);
	json_put_str(old, "spec.renewTime", "2001-01-01T00:00:00.000000Z");
	must_update(&kind_lease, NULL, old);
	registry_look(reg, &kind_lease);
	assert_string_not_equal(
		str(store_get(f->store, &kind_lease, "kube-node-lease", "node1"), "spec.renewTime"),
		"2001-01-01T00:00:00.000000Z");
}

static void test_runtime_class(void **state UNUSED)
{
#define CLASSY(more)                                                                               \
	"{'metadata':{'name':'p'},'spec':{" more "'containers':[{'name':'c','image':'i:1'}]}}"
	const struct object *pod;

	create_fails(&kind_pod, "default", CLASSY("'runtimeClassName':'none',"), ERR_FORBIDDEN,
		     "pods \"p\" is forbidden: pod rejected: RuntimeClass \"none\" not found");
	create_fails(
		&kind_pod, "default", CLASSY("'overhead':{'cpu':'1'},"), ERR_FORBIDDEN,
		"pods \"p\" is forbidden: pod rejected: Pod Overhead set without corresponding "
		"RuntimeClass defined Overhead");
	create(&kind_runtimeclass, "",
	       "{'metadata':{'name':'heavy'},'handler':'crun','overhead':{'podFixed':{'cpu':'1'}},"
	       "'scheduling':{'nodeSelector':{'a':'b'}}}");
	create_fails(&kind_pod, "default",
		     CLASSY("'runtimeClassName':'heavy','nodeSelector':{'a':'c'},"), ERR_FORBIDDEN,
		     "pods \"p\" is forbidden: conflict: runtimeClass.scheduling.nodeSelector[a] = "
		     "b; pod.spec.nodeSelector[a] = c");
	pod = create(&kind_pod, "default", CLASSY("'runtimeClassName':'heavy',"));
	assert_string_equal(str(pod, "spec.overhead.cpu"), "1");
	assert_string_equal(str(pod, "spec.nodeSelector.a"), "b");
}

/* Who names no class gets the default one, if there is one; "" is a choice. */
static void test_default_class(void **state UNUSED)
{
#define CLAIM(name, class)                                                                         \
	"{'metadata':{'name':'" name                                                               \
	"'},'spec':{" class "'accessModes':['ReadWriteOnce'],'resources':{'requests':{'storage':'" \
			    "1Gi'}}}}"
#define BACKEND "'defaultBackend':{'service':{'name':'a','port':{'number':80}}}"
	const struct object *o = create(&kind_persistentvolumeclaim, "default", CLAIM("a", ""));

	assert_null(json_at(object_json(o), "spec.storageClassName"));
	create(&kind_storageclass, "", "{'metadata':{'name':'plain'},'provisioner':'a/b'}");
	create(&kind_storageclass, "",
	       "{'metadata':{'name':'main','annotations':"
	       "{'storageclass.kubernetes.io/is-default-class':'true'}},'provisioner':'a/b'}");
	o = create(&kind_persistentvolumeclaim, "default", CLAIM("b", ""));
	assert_string_equal(str(o, "spec.storageClassName"), "main");
	o = create(&kind_persistentvolumeclaim, "default", CLAIM("c", "'storageClassName':'',"));
	assert_string_equal(str(o, "spec.storageClassName"), "");
	create(&kind_ingressclass, "",
	       "{'metadata':{'name':'main','annotations':"
	       "{'ingressclass.kubernetes.io/is-default-class':'true'}},"
	       "'spec':{'controller':'example.com/c'}}");
	o = create(&kind_ingress, "default", "{'metadata':{'name':'a'},'spec':{" BACKEND "}}");
	assert_string_equal(str(o, "spec.ingressClassName"), "main");
	o = create(&kind_ingress, "default",
		   "{'metadata':{'name':'b','annotations':{'kubernetes.io/ingress.class':'x'}},"
		   "'spec':{" BACKEND "}}");
	assert_null(json_at(object_json(o), "spec.ingressClassName"));
}

static void test_create_metadata(void **state)
{
	const struct object *o = create(
		&kind_deployment, "default",
		"{'metadata':{'name':'d','uid':'mine','generation':7},'status':{'replicas':9},"
		"'spec':{'replicas':2,'selector':{'matchLabels':{'a':'b'}},'template':{'metadata':{"
		"'labels':{'a':'b'}},'spec':{'containers':[{'name':'c','image':'i:1'}]}}}}");
	json_auto_t *generated = json_of("{'metadata':{'generateName':'g-'}}");
	struct write_options w = {0};
	const struct object *g = NULL;

	(void)state;
	assert_int_equal(strlen(o->uid), 36);
	assert_int_equal(num(o, "metadata.generation"), 1);
	assert_string_equal(str(o, "kind"), "Deployment");
	assert_string_equal(str(o, "apiVersion"), "apps/v1");
	assert_string_equal(str(o, "metadata.namespace"), "default");
	assert_int_equal(num(o, "status.replicas"), -1);
	assert_int_equal(strlen(str(o, "metadata.creationTimestamp")), 20);
	assert_int_equal(registry_create(reg, &kind_configmap, "default", generated, &w, &g, NULL),
			 0);
	assert_int_equal(strlen(g->name), 7);
	assert_true(str_starts(g->name, "g-"));
}

static void test_create_refused(void **state)
{
	(void)state;
	create(&kind_configmap, "default", "{'metadata':{'name':'a'}}");
	create_fails(&kind_configmap, "default", "{'metadata':{'name':'a'}}", ERR_ALREADY_EXISTS,
		     "configmaps \"a\" already exists");
	create_fails(&kind_configmap, "nowhere", "{'metadata':{'name':'a'}}", ERR_NOT_FOUND,
		     "namespaces \"nowhere\" not found");
	create_fails(&kind_configmap, "default", "{'metadata':{'name':'b','namespace':'x'}}",
		     ERR_BAD_REQUEST,
		     "the namespace of the provided object does not match the namespace sent on "
		     "the request");
	create_fails(&kind_configmap, "default", "{'metadata':{'name':'b','resourceVersion':'5'}}",
		     ERR_UNKNOWN, "resourceVersion should not be set on objects to be created");
	create_fails(&kind_pod, "default",
		     "{'metadata':{'name':'p'},'spec':{'serviceAccountName':'robot',"
		     "'containers':[{'name':'c','image':'i'}]}}",
		     ERR_FORBIDDEN,
		     "pods \"p\" is forbidden: error looking up service account default/robot: "
		     "serviceaccount \"robot\" not found");
}

static void test_create_pod(void **state)
{
	const struct object *o = create(&kind_pod, "default", POD);

	(void)state;
	assert_string_equal(str(o, "spec.serviceAccountName"), "default");
	assert_string_equal(str(o, "spec.serviceAccount"), "default");
	assert_int_equal(num(o, "spec.priority"), 0);
	assert_string_equal(str(o, "spec.preemptionPolicy"), "PreemptLowerPriority");
	assert_int_equal(json_len(object_json(o), "spec.tolerations"), 2);
	assert_string_equal(str(o, "status.phase"), "Pending");
	assert_string_equal(str(o, "status.qosClass"), "BestEffort");
	assert_true(json_bool(object_json(o), "spec.enableServiceLinks", false));
}

static void test_dry_run(void **state)
{
	struct fixture *f = *state;
	json_auto_t *obj = json_of("{'metadata':{'name':'a'},'data':{'k':'v'}}");
	struct write_options o = {.dry_run = true};
	const struct object *ret = NULL;
	uint64_t rev = store_rev(f->store);
	bool gone = false;

	assert_int_equal(registry_create(reg, &kind_configmap, "default", obj, &o, &ret, NULL), 0);
	assert_string_equal(str(ret, "data.k"), "v");
	assert_null(store_get(f->store, &kind_configmap, "default", "a"));
	assert_int_equal(store_rev(f->store), rev);
	create(&kind_configmap, "default", "{'metadata':{'name':'a'}}");
	assert_int_equal(
		registry_delete(reg, &kind_configmap, "default", "a", &o, &ret, &gone, NULL), 0);
	assert_true(gone);
	assert_non_null(store_get(f->store, &kind_configmap, "default", "a"));
}

/* ---- update ----------------------------------------------------------------------------- */

static void test_generation(void **state)
{
	const struct object *o = create(&kind_deployment, "default", DEPLOYMENT);
	json_auto_t *obj = object_dup(o);
	uint64_t rev = o->rev;

	(void)state;
	o = must_update(&kind_deployment, NULL, obj);
	assert_int_equal(o->rev, rev);
	json_put_int(obj, "status.replicas", 4); /* not through the main resource */
	json_put_str(obj, "metadata.labels.x", "y");
	o = must_update(&kind_deployment, NULL, obj);
	assert_int_equal(o->rev, rev + 1);
	assert_int_equal(num(o, "metadata.generation"), 1);
	assert_int_equal(num(o, "status.replicas"), -1);
	json_put_int(obj, "spec.replicas", 3);
	o = must_update(&kind_deployment, NULL, obj);
	assert_int_equal(num(o, "metadata.generation"), 2);
}

static void test_status_subresource(void **state)
{
	const struct object *o = create(&kind_deployment, "default", DEPLOYMENT);
	json_auto_t *obj = object_dup(o);

	(void)state;
	json_put_int(obj, "status.replicas", 4);
	json_put_int(obj, "spec.replicas", 9);
	json_put_str(obj, "metadata.labels.x", "y");
	json_put_str(obj, "metadata.annotations.x", "y");
	o = must_update(&kind_deployment, "status", obj);
	assert_int_equal(num(o, "status.replicas"), 4);
	assert_int_equal(num(o, "spec.replicas"), 2);
	assert_int_equal(num(o, "metadata.generation"), 1);
	assert_string_equal(str(o, "metadata.labels.x"), "");
	assert_string_equal(str(o, "metadata.annotations.x"), "y");
}

static void test_update_refused(void **state)
{
	const struct object *o = create(&kind_configmap, "default", "{'metadata':{'name':'a'}}");
	json_auto_t *stale = object_dup(o), *other = object_dup(o), *missing = object_dup(o);
	auto_err err = {0}, err2 = {0}, err3 = {0}, err4 = {0};
	auto_free char *want = NULL;

	(void)state;
	json_put_str(stale, "data.k", "1");
	must_update(&kind_configmap, NULL, stale);
	json_put_str(stale, "metadata.resourceVersion", "1");
	assert_true(update(&kind_configmap, NULL, stale, NULL, &err) < 0);
	assert_string_equal(err.message,
			    "Operation cannot be fulfilled on configmaps \"a\": the object has "
			    "been modified; please apply your changes to the latest version and "
			    "try again");
	json_put_str(other, "metadata.uid", "u2");
	want = xasprintf("Operation cannot be fulfilled on configmaps \"a\": Precondition failed: "
			 "UID in precondition: u2, UID in object meta: %s",
			 o->uid);
	assert_true(update(&kind_configmap, NULL, other, NULL, &err2) < 0);
	assert_string_equal(err2.message, want);
	json_put_str(missing, "metadata.name", "b");
	assert_true(update(&kind_configmap, NULL, missing, NULL, &err3) < 0);
	assert_string_equal(err3.message, "configmaps \"b\" not found");
	assert_true(update(&kind_lease, NULL, missing, NULL, &err4) < 0);
	free(want);
	want = xasprintf("Operation cannot be fulfilled on leases.coordination.k8s.io \"b\": "
			 "Precondition failed: UID in precondition: %s, UID in object meta: ",
			 o->uid);
	assert_string_equal(err4.message, want);
}

static void test_create_on_update(void **state)
{
	json_auto_t *obj = json_of("{'metadata':{'name':'s'},'spec':{'ports':[{'port':80}]}}");
	struct write_options o = {0};
	const struct object *ret = NULL;
	bool created = false;

	(void)state;
	assert_int_equal(registry_update(reg, &kind_service, NULL, "default", "s", obj, &o, &ret,
					 &created, NULL),
			 0);
	assert_true(created);
	assert_string_equal(ret->name, "s");
}

static void test_set_status(void **state)
{
	struct fixture *f = *state;
	const struct object *o = create(&kind_pod, "default", POD);
	json_t *same = json_deep_copy(json_at(object_json(o), "status"));
	uint64_t rev = o->rev;
	auto_err err = {0};

	assert_int_equal(registry_set_status(reg, &kind_pod, "default", "p", o->uid, same,
					     STORE_VOLATILE, NULL),
			 0);
	assert_int_equal(store_rev(f->store), rev);
	assert_int_equal(registry_set_status(reg, &kind_pod, "default", "p", o->uid,
					     json_of("{'phase':'Running'}"), STORE_VOLATILE, NULL),
			 0);
	o = store_get(f->store, &kind_pod, "default", "p");
	assert_string_equal(str(o, "status.phase"), "Running");
	assert_true(registry_set_status(reg, &kind_pod, "default", "p", "other",
					json_of("{'phase':'Failed'}"), STORE_VOLATILE, &err) < 0);
	assert_int_equal(err.reason, ERR_NOT_FOUND);
}

static void test_binding(void **state)
{
	const struct object *o = create(&kind_pod, "default", POD);
	json_auto_t *obj = object_dup(o);
	auto_err err = {0};

	(void)state;
	json_put_str(obj, "spec.nodeName", "node1");
	o = must_update(&kind_pod, "binding", obj);
	assert_int_equal(json_int(object_json(o), "metadata.generation", 0), 1);
	assert_string_equal(str(o, "spec.nodeName"), "node1");
	assert_string_equal(json_str(json_find(json_at(object_json(o), "status.conditions"), "type",
					       "PodScheduled"),
				     "status", ""),
			    "True");
	json_drop(obj, "metadata.resourceVersion");
	assert_true(update(&kind_pod, "binding", obj, NULL, &err) < 0);
	assert_string_equal(err.message,
			    "Operation cannot be fulfilled on pods/binding \"p\": pod p is "
			    "already assigned to node \"node1\"");
}

/* ---- delete ----------------------------------------------------------------------------- */

static const struct object *delete_(const struct kind *k, const char *ns, const char *name,
				    const struct write_options *o, bool want_gone)
{
	const struct object *ret = NULL;
	auto_err err = {0};
	bool gone = !want_gone;

	if (registry_delete(reg, k, ns, name, o, &ret, &gone, &err) < 0)
		fail_msg("delete: %s", err_message(&err));
	assert_int_equal(gone, want_gone);
	return ret;
}

static void test_delete_pod_grace(void **state)
{
	struct fixture *f = *state;
	const struct write_options own = {.grace_seconds = -1}, ten = {.grace_seconds = 10},
				   forty = {.grace_seconds = 40}, now = {.grace_seconds = 0};
	const struct object *o;
	uint64_t rev;

	create(&kind_pod, "default", POD);
	delete_(&kind_pod, "default", "p", &own, true); /* not scheduled */
	o = create(&kind_pod, "default",
		   "{'metadata':{'name':'p'},'spec':{'nodeName':'node1','containers':[{'name':'c',"
		   "'image':'i:1'}]}}");
	o = delete_(&kind_pod, "default", "p", &own, false);
	assert_int_equal(num(o, "metadata.deletionGracePeriodSeconds"), 30);
	o = delete_(&kind_pod, "default", "p", &ten, false);
	assert_int_equal(num(o, "metadata.deletionGracePeriodSeconds"), 10);
	rev = o->rev;
	o = delete_(&kind_pod, "default", "p", &forty, false);
	assert_int_equal(num(o, "metadata.deletionGracePeriodSeconds"), 10);
	assert_int_equal(o->rev, rev);
	delete_(&kind_pod, "default", "p", &now, true);
	assert_null(store_get(f->store, &kind_pod, "default", "p"));
}

static void test_delete_finalizers(void **state)
{
	struct fixture *f = *state;
	const struct write_options o = {.grace_seconds = -1};
	const struct object *obj =
		create(&kind_configmap, "default",
		       "{'metadata':{'name':'a','finalizers':['example.com/x','example.com/y']}}");
	json_auto_t *less = NULL, *none = NULL;

	obj = delete_(&kind_configmap, "default", "a", &o, false);
	assert_true(meta_deleting(object_json(obj)));
	less = object_dup(obj);
	json_array_remove(json_at(less, "metadata.finalizers"), 0);
	obj = must_update(&kind_configmap, NULL, less);
	none = object_dup(obj);
	json_drop(none, "metadata.finalizers");
	json_drop(none, "metadata.deletionTimestamp"); /* cannot be undone */
	must_update(&kind_configmap, NULL, none);
	assert_null(store_get(f->store, &kind_configmap, "default", "a"));
}

static void test_delete_propagation(void **state)
{
	const struct write_options fore = {.grace_seconds = -1, .propagation = "Foreground"};
	const struct write_options orphan = {.grace_seconds = -1, .propagation = "Orphan"};
	const struct write_options back = {.grace_seconds = -1, .propagation = "Background"};
	const struct object *o;

	(void)state;
	create(&kind_deployment, "default", DEPLOYMENT);
	o = delete_(&kind_deployment, "default", "d", &fore, false);
	assert_string_equal(json_string_value(json_array_get(
				    json_at(object_json(o), "metadata.finalizers"), 0)),
			    "foregroundDeletion");
	assert_int_equal(num(o, "metadata.generation"), 2);
	o = delete_(&kind_deployment, "default", "d", &orphan, false);
	assert_int_equal(json_len(object_json(o), "metadata.finalizers"), 1);
	delete_(&kind_deployment, "default", "d", &back, true);
}

static void test_delete_preconditions(void **state)
{
	const struct object *o = create(&kind_configmap, "default", "{'metadata':{'name':'a'}}");
	struct write_options w = {.precondition_uid = "u2"}, none = {0};
	auto_free char *want = NULL;
	auto_err err = {0}, err2 = {0};

	(void)state;
	want = xasprintf("Operation cannot be fulfilled on configmaps \"a\": the UID in the "
			 "precondition (u2) does not match the UID in record (%s). The object "
			 "might have been deleted and then recreated",
			 o->uid);
	assert_true(registry_delete(reg, &kind_configmap, "default", "a", &w, NULL, NULL, &err) <
		    0);
	assert_string_equal(err.message, want);
	assert_true(registry_delete(reg, &kind_namespace, "", "default", &none, NULL, NULL, &err2) <
		    0);
	assert_string_equal(err2.message,
			    "namespaces \"default\" is forbidden: this namespace may not be "
			    "deleted");
}

static void test_delete_namespace(void **state)
{
	struct fixture *f = *state;
	const struct write_options o = {.grace_seconds = -1};
	const struct object *ns;
	json_auto_t *obj = NULL;

	create(&kind_namespace, "", "{'metadata':{'name':'n'}}");
	ns = delete_(&kind_namespace, "", "n", &o, false);
	assert_string_equal(str(ns, "status.phase"), "Terminating");
	create_fails(&kind_configmap, "n", "{'metadata':{'name':'a'}}", ERR_FORBIDDEN,
		     "configmaps \"a\" is forbidden: unable to create new content in namespace n "
		     "because it is being terminated");
	obj = object_dup(ns);
	json_put(obj, "spec.finalizers", json_array());
	must_update(&kind_namespace, "finalize", obj);
	assert_null(store_get(f->store, &kind_namespace, "", "n"));
}

/* ---- services --------------------------------------------------------------------------- */

static void test_service_addresses(void **state)
{
	const struct write_options w = {0};
	const struct object *o;
	json_auto_t *put = json_of("{'metadata':{'name':'a','namespace':'default'},'spec':{'type':"
				   "'ExternalName','externalName':'x.example.com'}}");
	json_auto_t *back = json_of("{'metadata':{'name':'a','namespace':'default'},'spec':{"
				    "'ports':[{'port':80}]}}");

	(void)state;
	o = create(
		&kind_service, "default",
		"{'metadata':{'name':'a'},'spec':{'clusterIP':'10.43.0.77','ports':[{'port':80}]}"
		"}");
	assert_string_equal(str(o, "spec.clusterIP"), "10.43.0.77");
	create_fails(
		&kind_service, "default",
		"{'metadata':{'name':'b'},'spec':{'clusterIP':'10.43.0.77','ports':[{'port':80}"
		"]}}",
		ERR_INVALID,
		"Service \"b\" is invalid: spec.clusterIPs: Invalid value: [\"10.43.0.77\"]: "
		"failed to allocate IP 10.43.0.77: provided IP is already allocated");
	create_fails(
		&kind_service, "default",
		"{'metadata':{'name':'b'},'spec':{'clusterIP':'10.44.0.1','ports':[{'port':80}]"
		"}}",
		ERR_INVALID,
		"Service \"b\" is invalid: spec.clusterIPs: Invalid value: [\"10.44.0.1\"]: "
		"failed to allocate IP 10.44.0.1: the provided IP (10.44.0.1) is not in the "
		"valid range. The range of valid IPs is 10.43.0.0/16");
	o = must_update(&kind_service, NULL, put);
	assert_string_equal(str(o, "spec.clusterIP"), "");
	create(&kind_service, "default",
	       "{'metadata':{'name':'b'},'spec':{'clusterIP':'10.43.0.77','ports':[{'port':80}]}}");
	o = must_update(&kind_service, NULL, back);
	assert_true(str_starts(str(o, "spec.clusterIP"), "10.43."));
	assert_string_not_equal(str(o, "spec.clusterIP"), "10.43.0.77");
	delete_(&kind_service, "default", "b", &w, true);
	create(&kind_service, "default",
	       "{'metadata':{'name':'c'},'spec':{'clusterIP':'10.43.0.77','ports':[{'port':80}]}}");
}

static void test_service_ports(void **state)
{
	const struct object *o;
	json_auto_t *put = json_of("{'metadata':{'name':'a','namespace':'default'},'spec':{'type':"
				   "'NodePort','ports':[{'port':80},{'port':81,'name':'n'}]}}");
	json_auto_t *plain = NULL;
	int64_t port;

	(void)state;
	json_array_clear(json_at(put, "spec.ports"));
	json_array_append_new(json_at(put, "spec.ports"), json_of("{'port':80}"));
	o = create(&kind_service, "default",
		   "{'metadata':{'name':'a'},'spec':{'type':'NodePort','ports':[{'port':80}]}}");
	port = json_int(json_array_get(json_at(object_json(o), "spec.ports"), 0), "nodePort", 0);
	assert_in_range(port, 30086, 32767);
	o = must_update(&kind_service, NULL, put); /* keeps what was allocated */
	assert_int_equal(
		json_int(json_array_get(json_at(object_json(o), "spec.ports"), 0), "nodePort", 0),
		port);
	create(&kind_service, "default",
	       "{'metadata':{'name':'b'},'spec':{'type':'NodePort','ports':[{'port':80,'nodePort':"
	       "30080}]}}");
	create_fails(&kind_service, "default",
		     "{'metadata':{'name':'c'},'spec':{'type':'NodePort','ports':[{'port':80,"
		     "'nodePort':30080}]}}",
		     ERR_INVALID,
		     "Service \"c\" is invalid: spec.ports[0].nodePort: Invalid value: 30080: "
		     "provided port is already allocated");
	create_fails(
		&kind_service, "default",
		"{'metadata':{'name':'c'},'spec':{'type':'NodePort','ports':[{'port':80,"
		"'nodePort':80}]}}",
		ERR_INVALID,
		"Service \"c\" is invalid: spec.ports[0].nodePort: Invalid value: 80: provided "
		"port is not in the valid range. The range of valid ports is 30000-32767");
	plain = object_dup(o);
	json_put_str(plain, "spec.type", "ClusterIP");
	o = must_update(&kind_service, NULL, plain);
	assert_int_equal(
		json_int(json_array_get(json_at(object_json(o), "spec.ports"), 0), "nodePort", 0),
		0);
}

static int64_t health_port(const struct object *o)
{
	return num(o, "spec.healthCheckNodePort");
}

static void test_health_port(void **state)
{
	static const char balancer[] =
		"{'metadata':{'name':'%s'},'spec':{'type':'LoadBalancer','externalTrafficPolicy':"
		"'Local','healthCheckNodePort':%d,'ports':[{'port':80%s}]}}";
	auto_free char *a = xasprintf(balancer, "a", 0, "");
	const struct object *o = create(&kind_service, "default", a);
	int64_t port = health_port(o);
	auto_free char *same = xasprintf(balancer, "b", (int)port, "");
	auto_free char *own = xasprintf(balancer, "b", 30001, ",'nodePort':30001");
	auto_free char *far = xasprintf(balancer, "b", 81, "");
	auto_free char *why = xasprintf("Internal error occurred: failed to allocate requested "
					"HealthCheck NodePort %d: provided port is already "
					"allocated",
					(int)port);
	json_auto_t *other = object_dup(o), *without = object_dup(o), *open = object_dup(o);
	auto_err err = {0};

	(void)state;
	assert_in_range(port, 30086, 32767);
	create_fails(&kind_service, "default", same, ERR_INTERNAL, why);
	create_fails(&kind_service, "default", own, ERR_INTERNAL,
		     "Internal error occurred: failed to allocate requested HealthCheck NodePort "
		     "30001: provided port is already allocated");
	create_fails(&kind_service, "default", far, ERR_INTERNAL,
		     "Internal error occurred: failed to allocate requested HealthCheck NodePort "
		     "81: provided port is not in the valid range. The range of valid ports is "
		     "30000-32767");
	create_fails(
		&kind_service, "default",
		"{'metadata':{'name':'b'},'spec':{'type':'LoadBalancer',"
		"'healthCheckNodePort':30001,'ports':[{'port':80}]}}",
		ERR_INVALID,
		"Service \"b\" is invalid: spec.healthCheckNodePort: Invalid value: 30001: may "
		"only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is "
		"'Local'");
	json_put_int(other, "spec.healthCheckNodePort", 30001);
	assert_true(update(&kind_service, NULL, other, NULL, &err) < 0);
	assert_string_equal(err.message, "Service \"a\" is invalid: spec.healthCheckNodePort: "
					 "Forbidden: field is immutable");
	json_drop(without, "spec.healthCheckNodePort");
	json_drop(without, "metadata.resourceVersion");
	assert_int_equal(health_port(must_update(&kind_service, NULL, without)), port);
	json_put_str(open, "spec.externalTrafficPolicy", "Cluster");
	json_drop(open, "metadata.resourceVersion");
	assert_int_equal(health_port(must_update(&kind_service, NULL, open)), -1);
	o = create(&kind_service, "default", same); /* it has been given back */
	assert_int_equal(health_port(o), port);
}

/* ---- events ----------------------------------------------------------------------------- */

static void test_events_fold(void **state)
{
	struct fixture *f = *state;
	const struct object *pod = create(&kind_pod, "default", POD), *ev;
	struct store_iter it;

	for (int i = 0; i < 3; i++)
		registry_event(reg, pod, "spec.containers{c}", "Warning", "BackOff", "kubelet",
			       "Back-off restarting failed container %s", "c");
	registry_event(reg, pod, NULL, "Normal", "Scheduled", "default-scheduler", "Assigned");
	assert_int_equal(store_count(f->store, &kind_event), 2);
	it = store_iter(f->store, &kind_event, "default");
	ev = store_next(&it);
	if (!streq(str(ev, "reason"), "BackOff"))
		ev = store_next(&it);
	assert_int_equal(num(ev, "count"), 3);
	assert_string_equal(str(ev, "involvedObject.uid"), pod->uid);
	assert_string_equal(str(ev, "involvedObject.fieldPath"), "spec.containers{c}");
	assert_string_equal(str(ev, "source.host"), "node1");
	assert_true(str_starts(ev->name, "p."));
}

static void test_events_bounded(void **state)
{
	struct fixture *f = *state;
	const struct object *pod = create(&kind_pod, "default", POD);

	for (int i = 0; i < 1010; i++) {
		registry_event(reg, pod, NULL, "Normal", "Test", "test", "number %d", i);
		loop_bury(f->loop);
	}
	assert_int_equal(store_count(f->store, &kind_event), 1000);
	fixture_settle(f);
	registry_free(reg);
	open_registry(f);
	assert_int_equal(store_count(f->store, &kind_event), 1000);
	registry_event(reg, pod, NULL, "Normal", "Test", "test", "number %d", 1009);
	assert_int_equal(store_count(f->store, &kind_event), 1000);
}

/* ---- versions ---------------------------------------------------------------------------- */

#define HPA_V1                                                                                     \
	"{'metadata':{'name':'h','annotations':{'own':'x',"                                        \
	"'autoscaling.alpha.kubernetes.io/metrics':'[{\\'type\\':\\'Pods\\',\\'pods\\':{"          \
	"\\'metricName\\':\\'rps\\',\\'targetAverageValue\\':\\'10\\'}}]'}},"                      \
	"'spec':{'scaleTargetRef':{'kind':'Deployment','name':'d','apiVersion':'apps/v1'},"        \
	"'maxReplicas':3,'targetCPUUtilizationPercentage':70}}"

struct seen {
	size_t n;
	char version[API_VERSION_MAX];
	bool old;
};

static bool on_seen(void *arg, const struct store_event *ev)
{
	struct seen *s = arg;

	s->n++;
	s->old = ev->old != NULL;
	snprintf(s->version, sizeof(s->version), "%s", str(ev->obj, "apiVersion"));
	if (ev->old)
		assert_string_equal(str(ev->old, "apiVersion"), s->version);
	return true;
}

/* Two versions of a kind are one object, written and read in either. */
static void test_versions(void **state)
{
	struct fixture *f = *state;
	const struct kind *v1 = kind_by_name("autoscaling/v1", "HorizontalPodAutoscaler");
	const struct kind *v2 = kind_by_name("autoscaling/v2", "HorizontalPodAutoscaler");
	struct write_options none = {0};
	struct seen seen = {0};
	auto_err err = {0};
	struct store_watch *w =
		store_watch_new(f->store, v1, store_rev(f->store), on_seen, NULL, &seen, &err);
	const struct object *o = create(v1, "default", HPA_V1), *other;
	struct store_iter it;
	json_auto_t *obj = NULL;
	uint64_t rev;
	bool gone;

	assert_string_equal(str(o, "apiVersion"), "autoscaling/v1");
	assert_int_equal(num(o, "spec.targetCPUUtilizationPercentage"), 70);
	assert_int_equal(num(o, "spec.minReplicas"), 1);
	assert_string_equal(
		meta_annotation(object_json(o), "autoscaling.alpha.kubernetes.io/metrics"),
		"[{\"type\":\"Pods\",\"pods\":{\"metricName\":\"rps\","
		"\"targetAverageValue\":\"10\"}}]");

	other = store_get(f->store, v2, "default", "h");
	assert_ptr_equal(other->kind, v2);
	assert_string_equal(other->uid, o->uid);
	assert_int_equal(other->rev, o->rev);
	assert_int_equal(json_len(object_json(other), "spec.metrics"), 2);
	assert_string_equal(meta_annotation(object_json(other), "own"), "x");
	assert_null(meta_annotation(object_json(other), "autoscaling.alpha.kubernetes.io/metrics"));

	it = store_iter(f->store, v1, "default");
	assert_ptr_equal(store_next(&it)->kind, v1);
	assert_null(store_next(&it));
	assert_int_equal(store_count(f->store, v1), 1);

	obj = object_dup(store_get(f->store, v1, "default", "h"));
	json_put_int(obj, "spec.maxReplicas", 5);
	o = must_update(v1, NULL, obj);
	assert_ptr_equal(o->kind, v1);
	assert_int_equal(num(o, "spec.maxReplicas"), 5);
	rev = o->rev;
	assert_int_equal(
		json_len(object_json(store_get(f->store, v2, "default", "h")), "spec.metrics"), 2);
	rev = o->rev;
	fixture_settle(f);
	assert_int_equal(seen.n, 2);
	assert_true(seen.old);
	assert_string_equal(seen.version, "autoscaling/v1");

	/* the same again is no change, whichever version says it */
	json_auto_t *same = object_dup(store_get(f->store, v1, "default", "h"));

	assert_int_equal(must_update(v1, NULL, same)->rev, rev);
	create_fails(v1, "default", HPA_V1, ERR_ALREADY_EXISTS,
		     "horizontalpodautoscalers.autoscaling \"h\" already exists");
	if (registry_delete(reg, v1, "default", "h", &none, &o, &gone, &err) < 0)
		fail_msg("delete: %s", err_message(&err));
	assert_true(gone);
	assert_ptr_equal(o->kind, v1);
	assert_null(store_get(f->store, v2, "default", "h"));
	store_watch_free(w);
}

#define T(fn) cmocka_unit_test_setup_teardown(fn, setup_registry, teardown_registry)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_system_objects),	    T(test_node_lease),
		T(test_runtime_class),	    T(test_default_class),
		T(test_create_metadata),    T(test_create_refused),
		T(test_create_pod),	    T(test_dry_run),
		T(test_generation),	    T(test_status_subresource),
		T(test_update_refused),	    T(test_create_on_update),
		T(test_set_status),	    T(test_binding),
		T(test_delete_pod_grace),   T(test_delete_finalizers),
		T(test_delete_propagation), T(test_delete_preconditions),
		T(test_delete_namespace),   T(test_service_addresses),
		T(test_service_ports),	    T(test_health_port),
		T(test_events_fold),	    T(test_events_bounded),
		T(test_versions),
	};

	log_set_level(LOG_LEVEL_WARN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
