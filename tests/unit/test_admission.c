/* SPDX-License-Identifier: Apache-2.0 */
/* Admission: PriorityClass, LimitRange, ResourceQuota, evictions; quantities that are added up. */
#include "registry_fixture.h"

/* Where objects of the kind are made here. */
static const char *ns_of(const struct kind *k)
{
	return k->namespaced ? "default" : "";
}

static const struct object *made(const struct kind *k, const char *text)
{
	return create(k, ns_of(k), text);
}

static void refused(const struct kind *k, const char *text, const char *message)
{
	auto_err err = {0};

	assert_null(try_create(k, ns_of(k), text, &err));
	assert_string_equal(err_message(&err), message);
	assert_int_equal(err.reason, ERR_FORBIDDEN);
}

static const char *str(const struct object *o, const char *path)
{
	return json_str(object_json(o), path, "");
}

static int64_t num(const struct object *o, const char *path)
{
	return json_int(object_json(o), path, -1);
}

#define POD(name, more)                                                                            \
	"{'metadata':{'name':'" name "'},'spec':{'containers':[{'name':'c','image':'i:1'}]" more   \
	"}}"
#define POD_ASKS(name, resources)                                                                  \
	"{'metadata':{'name':'" name "'},'spec':{'containers':[{'name':'c','image':'i:1',"         \
	"'resources':{" resources "}}]}}"

/* ---- quantities ------------------------------------------------------------------------- */

static void test_quantities(void **state UNUSED)
{
	static const struct {
		const char *a, *b, *sum, *difference;
	} cases[] = {
		{"1", "1", "2", "0"},
		{"500m", "1500m", "2", "-1"},
		{NULL, "1Gi", "1Gi", "-1Gi"},
		{"1Gi", "512Mi", "1536Mi", "512Mi"},
		{"1Gi", "1G", "2073741824", "73741824"},
		{"0", "100m", "100m", "-100m"},
		{"9E", "9E", "9223372036854775807", "0"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		auto_free char *sum = quantity_sum(cases[i].a, cases[i].b);
		auto_free char *difference = quantity_difference(cases[i].a, cases[i].b);

		assert_string_equal(sum, cases[i].sum);
		assert_string_equal(difference, cases[i].difference);
	}
	assert_null(quantity_sum("a", "1"));
	assert_true(quantity_cmp("1024Mi", "1Gi") == 0);
	assert_true(quantity_cmp("1001m", "1") > 0);
	assert_true(quantity_cmp("-1", "0") < 0);
}

/* ---- priority classes ------------------------------------------------------------------- */

static void test_priority(void **state)
{
	struct fixture *f = *state;
	const struct object *pod = made(&kind_pod, POD("a", ""));

	assert_int_equal(num(pod, "spec.priority"), 0);
	assert_string_equal(str(pod, "spec.preemptionPolicy"), "PreemptLowerPriority");
	pod = made(&kind_pod, POD("b", ",'priorityClassName':'system-node-critical'"));
	assert_int_equal(num(pod, "spec.priority"), 2000001000);
	made(&kind_priorityclass,
	     "{'metadata':{'name':'low'},'value':-5,'preemptionPolicy':'Never'}");
	pod = made(&kind_pod, POD("c", ",'priorityClassName':'low'"));
	assert_int_equal(num(pod, "spec.priority"), -5);
	assert_string_equal(str(pod, "spec.preemptionPolicy"), "Never");
	refused(&kind_pod, POD("d", ",'priorityClassName':'none'"),
		"pods \"d\" is forbidden: no PriorityClass with name none was found");
	refused(&kind_pod, POD("d", ",'priorityClassName':'low','priority':3"),
		"pods \"d\" is forbidden: the integer value of priority (3) must not be provided "
		"in pod spec; priority admission controller computed -5 from the given "
		"PriorityClass name");
	refused(&kind_pod,
		POD("d", ",'priorityClassName':'low','preemptionPolicy':'PreemptLowerPriority'"),
		"pods \"d\" is forbidden: the string value of PreemptionPolicy "
		"(PreemptLowerPriority) must not be provided in pod spec; priority admission "
		"controller computed Never from the given PriorityClass name");
	made(&kind_priorityclass, "{'metadata':{'name':'usual'},'value':7,'globalDefault':true}");
	pod = made(&kind_pod, POD("d", ""));
	assert_int_equal(num(pod, "spec.priority"), 7);
	assert_string_equal(str(pod, "spec.priorityClassName"), "usual");
	refused(&kind_priorityclass, "{'metadata':{'name':'other'},'value':8,'globalDefault':true}",
		"priorityclasses.scheduling.k8s.io \"other\" is forbidden: PriorityClass usual is "
		"already marked as default. Only one default can exist");
	assert_int_equal(store_count(f->store, &kind_priorityclass), 4);
}

/* ---- limit ranges ----------------------------------------------------------------------- */

static void test_limit_defaults(void **state UNUSED)
{
	const struct object *pod;

	made(&kind_limitrange,
	     "{'metadata':{'name':'l'},'spec':{'limits':[{'type':'Container','default':{"
	     "'cpu':'500m','memory':'200Mi'},'defaultRequest':{'cpu':'100m'},'max':{'cpu':'2'},"
	     "'min':{'cpu':'50m'}}]}}");
	pod = made(&kind_pod, POD("a", ""));
	const json_t *c = json_array_get(json_at(object_json(pod), "spec.containers"), 0);

	assert_string_equal(json_str(c, "resources.requests.cpu", ""), "100m");
	assert_string_equal(json_str(c, "resources.requests.memory", ""), "200Mi");
	assert_string_equal(json_str(c, "resources.limits.cpu", ""), "500m");
	assert_string_equal(str(pod, "status.qosClass"), "Burstable");
	assert_string_equal(meta_annotation(object_json(pod), "kubernetes.io/limit-ranger"),
			    "LimitRanger plugin set: cpu, memory request for container c; cpu, "
			    "memory limit for container c");
	pod = made(&kind_pod, POD_ASKS("b", "'limits':{'cpu':'1','memory':'1Mi'}"));
	c = json_array_get(json_at(object_json(pod), "spec.containers"), 0);
	assert_string_equal(json_str(c, "resources.requests.cpu", ""), "1");
	assert_null(meta_annotation(object_json(pod), "kubernetes.io/limit-ranger"));
	assert_string_equal(str(pod, "status.qosClass"), "Guaranteed");
	refused(&kind_pod, POD_ASKS("c", "'limits':{'cpu':'3'}"),
		"pods \"c\" is forbidden: [maximum cpu usage per Container is 2, but limit is 3, "
		"maximum cpu usage per Container is 2, but request is 3]");
	refused(&kind_pod, POD_ASKS("c", "'requests':{'cpu':'10m'}"),
		"pods \"c\" is forbidden: minimum cpu usage per Container is 50m, but request is "
		"10m");
}

static void test_limit_bounds(void **state UNUSED)
{
	made(&kind_limitrange,
	     "{'metadata':{'name':'l'},'spec':{'limits':[{'type':'Pod','max':{'memory':'1Gi'},"
	     "'maxLimitRequestRatio':{'memory':'2'}},"
	     "{'type':'PersistentVolumeClaim','max':{'storage':'2Gi'},'min':{'storage':'1Gi'}}]}"
	     "}");
	refused(&kind_pod, POD("a", ""),
		"pods \"a\" is forbidden: [maximum memory usage per Pod is 1Gi.  No limit is "
		"specified, memory max limit to request ratio per Pod is 2, but no request is "
		"specified or request is 0]");
	refused(&kind_pod,
		POD_ASKS("a", "'limits':{'memory':'300Mi'},'requests':{'memory':'100Mi'}"),
		"pods \"a\" is forbidden: memory max limit to request ratio per Pod is 2, but "
		"provided ratio is 3.000000");
	made(&kind_pod, POD_ASKS("a", "'limits':{'memory':'300Mi'}"));
	refused(&kind_persistentvolumeclaim,
		"{'metadata':{'name':'v'},'spec':{'accessModes':['ReadWriteOnce'],'resources':{"
		"'requests':{'storage':'3Gi'}}}}",
		"persistentvolumeclaims \"v\" is forbidden: maximum storage usage per "
		"PersistentVolumeClaim is 2Gi, but request is 3Gi");
	refused(&kind_persistentvolumeclaim,
		"{'metadata':{'name':'v'},'spec':{'accessModes':['ReadWriteOnce'],'resources':{"
		"'requests':{'storage':'1Mi'}}}}",
		"persistentvolumeclaims \"v\" is forbidden: minimum storage usage per "
		"PersistentVolumeClaim is 1Gi, but request is 1Mi");
}

/* ---- quotas ----------------------------------------------------------------------------- */

static void check_usage(const struct object *quota, const char *name, const char *want)
{
	json_auto_t *used = registry_quota_usage(reg, quota);
	const char *have = json_string_value(json_object_get(used, name));

	assert_non_null(have);
	assert_string_equal(have, want);
}

static void test_quota_objects(void **state UNUSED)
{
	const struct object *quota =
		made(&kind_resourcequota,
		     "{'metadata':{'name':'q'},'spec':{'hard':{'configmaps':'1','services':'2',"
		     "'services.nodeports':'1','count/deployments.apps':'0'}}}");

	made(&kind_configmap, "{'metadata':{'name':'a'}}");
	refused(&kind_configmap, "{'metadata':{'name':'b'}}",
		"configmaps \"b\" is forbidden: exceeded quota: q, requested: configmaps=1, used: "
		"configmaps=1, limited: configmaps=1");
	check_usage(quota, "configmaps", "1");
	check_usage(quota, "services", "1"); /* kubernetes */
	made(&kind_service, "{'metadata':{'name':'s'},'spec':{'type':'NodePort','ports':[{"
			    "'port':80}]}}");
	check_usage(quota, "services.nodeports", "1");
	refused(&kind_service, "{'metadata':{'name':'t'},'spec':{'ports':[{'port':80}]}}",
		"services \"t\" is forbidden: exceeded quota: q, requested: services=1, used: "
		"services=2, limited: services=2");
	refused(&kind_deployment,
		"{'metadata':{'name':'d'},'spec':{'selector':{'matchLabels':{'a':'b'}},'template':{"
		"'metadata':{'labels':{'a':'b'}},'spec':{'containers':[{'name':'c','image':'i'}]}}"
		"}}",
		"deployments.apps \"d\" is forbidden: exceeded quota: q, requested: "
		"count/deployments.apps=1, used: count/deployments.apps=0, limited: "
		"count/deployments.apps=0");
}

static void test_quota_pods(void **state UNUSED)
{
	const struct object *quota = made(
		&kind_resourcequota,
		"{'metadata':{'name':'q'},'spec':{'hard':{'pods':'2','requests.cpu':'1','limits."
		"memory':'1Gi'}}}");

	refused(&kind_pod, POD("a", ""),
		"pods \"a\" is forbidden: failed quota: q: must specify limits.memory for: c; "
		"requests.cpu for: c");
	made(&kind_pod, POD_ASKS("a", "'requests':{'cpu':'600m'},'limits':{'memory':'512Mi'}"));
	check_usage(quota, "requests.cpu", "600m");
	check_usage(quota, "limits.memory", "512Mi");
	refused(&kind_pod, POD_ASKS("b", "'requests':{'cpu':'500m'},'limits':{'memory':'600Mi'}"),
		"pods \"b\" is forbidden: exceeded quota: q, requested: "
		"limits.memory=600Mi,requests.cpu=500m, used: "
		"limits.memory=512Mi,requests.cpu=600m, limited: limits.memory=1Gi,requests.cpu=1");
	made(&kind_pod, POD_ASKS("b", "'requests':{'cpu':'400m'},'limits':{'memory':'512Mi'}"));
	check_usage(quota, "pods", "2");
	refused(&kind_pod, POD_ASKS("c", "'requests':{'cpu':'0'},'limits':{'memory':'0'}"),
		"pods \"c\" is forbidden: exceeded quota: q, requested: pods=1, used: pods=2, "
		"limited: pods=2");
}

static void test_quota_scopes(void **state UNUSED)
{
	const struct object *best =
		made(&kind_resourcequota, "{'metadata':{'name':'best'},'spec':{'hard':{'pods':'1'"
					  "},'scopes':['BestEffort']}}");
	const struct object *ends =
		made(&kind_resourcequota, "{'metadata':{'name':'ends'},'spec':{'hard':{'pods':'1'"
					  "},'scopes':['Terminating']}}");
	const struct object *class =
		made(&kind_resourcequota,
		     "{'metadata':{'name':'class'},'spec':{'hard':{'pods':'1'},'scopeSelector':{"
		     "'matchExpressions':[{'scopeName':'PriorityClass','operator':'In','values':['"
		     "system-node-critical']}]}}}");

	made(&kind_pod, POD("a", ""));
	refused(&kind_pod, POD("b", ""),
		"pods \"b\" is forbidden: exceeded quota: best, requested: pods=1, used: pods=1, "
		"limited: pods=1");
	made(&kind_pod, POD_ASKS("b", "'requests':{'cpu':'1'}"));
	check_usage(best, "pods", "1");
	check_usage(ends, "pods", "0");
	check_usage(class, "pods", "0");
	made(&kind_pod, "{'metadata':{'name':'c'},'spec':{'priorityClassName':'"
			"system-node-critical','activeDeadlineSeconds':5,'containers':[{'name':"
			"'c','image':'i','resources':{'requests':{'cpu':'1'}}}]}}");
	check_usage(ends, "pods", "1");
	check_usage(class, "pods", "1");
}

/* ---- evictions -------------------------------------------------------------------------- */

static void set_status(const struct object *o, const char *text)
{
	auto_err err = {0};

	if (registry_set_status(reg, o->kind, o->ns, o->name, o->uid, json_of(text), STORE_VOLATILE,
				&err) < 0)
		fail_msg("status: %s", err_message(&err));
}

static int evict(const char *name, struct err *err)
{
	struct write_options o = {.grace_seconds = -1};
	const struct object *ret;
	bool gone;

	return registry_evict(reg, "default", name, &o, &ret, &gone, err);
}

#define RUNNING(ready) "{'phase':'Running','conditions':[{'type':'Ready','status':'" ready "'}]}"
#define LABELLED(name)                                                                             \
	"{'metadata':{'name':'" name "','labels':{'a':'b'}},'spec':{'nodeName':'node1',"           \
	"'containers':[{'name':'c','image':'i:1'}]}}"

static void test_evictions(void **state)
{
	struct fixture *f = *state;
	const struct object *budget, *o;
	auto_err err = {0}, again = {0}, last = {0};

	set_status(made(&kind_pod, LABELLED("p")), RUNNING("True"));
	set_status(made(&kind_pod, LABELLED("u")), RUNNING("False"));
	budget = made(&kind_poddisruptionbudget,
		      "{'metadata':{'name':'b'},'spec':{'minAvailable':1,'selector':{'"
		      "matchLabels':{'a':'b'}}}}");
	assert_true(evict("p", &err) < 0); /* not counted yet */
	assert_int_equal(err.reason, ERR_TOO_MANY_REQUESTS);
	assert_int_equal(err.retry_after, 10);

	set_status(budget, "{'observedGeneration':1,'disruptionsAllowed':0,'currentHealthy':1,"
			   "'desiredHealthy':1,'expectedPods':2}");
	assert_true(evict("p", &again) < 0);
	assert_string_equal(err_message(&again),
			    "Cannot evict pod as it would violate the pod's disruption budget.");
	assert_int_equal(again.n_causes, 1);
	assert_string_equal(again.causes[0].reason, "DisruptionBudget");
	assert_string_equal(again.causes[0].message,
			    "The disruption budget b needs 1 healthy pods and has 1 currently");
	assert_int_equal(again.retry_after, 0);

	/* one that is not ready is no loss while enough others are */
	if (evict("u", &last) < 0)
		fail_msg("evict: %s", err_message(&last));
	o = store_get(f->store, &kind_pod, "default", "u");
	assert_true(meta_deleting(object_json(o)));
	assert_non_null(json_find(json_at(object_json(o), "status.conditions"), "type",
				  "DisruptionTarget"));

	set_status(budget, "{'observedGeneration':1,'disruptionsAllowed':1,'currentHealthy':2,"
			   "'desiredHealthy':1,'expectedPods':2}");
	if (evict("p", &last) < 0)
		fail_msg("evict: %s", err_message(&last));
	o = store_get(f->store, &kind_poddisruptionbudget, "default", "b");
	assert_int_equal(num(o, "status.disruptionsAllowed"), 0);
	assert_non_null(json_at(object_json(o), "status.disruptedPods.p"));
}

/* ---- admission policies ----------------------------------------------------------------- */

static void policy(struct fixture *f, const char *name, const char *spec, const char *binding)
{
	auto_free char *p =
		xasprintf("{'metadata':{'name':'%s'},'spec':{'matchConstraints':{'resourceRules':[{"
			  "'apiGroups':[''],'apiVersions':['v1'],'operations':['*'],'resources':"
			  "['configmaps','configmaps/*']}]},%s}}",
			  name, spec);
	auto_free char *b = xasprintf("{'metadata':{'name':'%s'},'spec':{'policyName':'%s',"
				      "'validationActions':['Deny']%s}}",
				      name, name, binding);

	made(&kind_validatingadmissionpolicy, p);
	made(&kind_validatingadmissionpolicybinding, b);
	fixture_settle(f);
}

static void denied(const char *text, const char *message)
{
	auto_err err = {0};
	auto_free char *want =
		xasprintf("configmaps \"m\" is forbidden: ValidatingAdmissionPolicy 'p' with "
			  "binding 'p' denied request: %s",
			  message);

	assert_null(try_create(&kind_configmap, "default", text, &err));
	assert_string_equal(err_message(&err), want);
	assert_int_equal(err.reason, ERR_INVALID);
	assert_int_equal(err.n_causes, 1);
}

static void remove_policy(struct fixture *f)
{
	struct write_options o = {0};
	auto_err err = {0};

	assert_int_equal(registry_delete(reg, &kind_validatingadmissionpolicy, "", "p", &o, NULL,
					 NULL, &err),
			 0);
	assert_int_equal(registry_delete(reg, &kind_validatingadmissionpolicybinding, "", "p", &o,
					 NULL, NULL, &err),
			 0);
	fixture_settle(f);
}

#define MAP(more) "{'metadata':{'name':'m'},'data':{" more "}}"

static void test_policies(void **state)
{
	struct fixture *f = *state;
	struct write_options o = {0};
	auto_err err = {0};

	policy(f, "p",
	       "'variables':[{'name':'n','expression':'size(object.data)'}],"
	       "'validations':[{'expression':'object == null || variables.n < 2','message':'two'},"
	       "{'expression':'request.operation != \\\"DELETE\\\" || oldObject.data.a == "
	       "\\\"go\\\"','message':'it stays'}]",
	       "");
	denied(MAP("'a':'1','b':'2'"), "two");
	made(&kind_configmap, MAP("'a':'1'"));
	assert_true(registry_delete(reg, &kind_configmap, "default", "m", &o, NULL, NULL, &err) <
		    0);
	assert_non_null(strstr(err_message(&err), "denied request: it stays"));
	remove_policy(f);
	err_done(&err);
	err = (struct err){0};
	assert_int_equal(
		registry_delete(reg, &kind_configmap, "default", "m", &o, NULL, NULL, &err), 0);
}

/* What cannot be computed, or takes too long, counts as the failure policy says. */
static void test_policies_that_fail(void **state)
{
	struct fixture *f = *state;
	static const char list[] = "[0,1,2,3,4,5,6,7,8,9]";
	auto_free char *slow = xasprintf(
		"'validations':[{'expression':'%s.all(a, %s.all(b, %s.all(c, %s.all(d, %s.all(e, "
		"%s.all(f, a+b+c+d+e+f >= 0))))))'}]",
		list, list, list, list, list, list);
	auto_err err = {0};

	policy(f, "p", "'validations':[{'expression':'object.data.x == object.data.a'}]", "");
	denied(MAP("'a':'1'"), "expression 'object.data.x == object.data.a' resulted in error: no "
			       "such key: x");
	remove_policy(f);
	policy(f, "p", slow, "");
	assert_null(try_create(&kind_configmap, "default", MAP("'a':'1'"), &err));
	assert_non_null(strstr(err_message(&err), "actual cost limit exceeded"));
	remove_policy(f);
	policy(f, "p",
	       "'failurePolicy':'Ignore','validations':[{'expression':'object.data.x == "
	       "object.data.a'}]",
	       "");
	made(&kind_configmap, MAP("'a':'1'"));
	remove_policy(f);
	policy(f, "p",
	       "'paramKind':{'apiVersion':'nobody.example.com/v1','kind':'Missing'},"
	       "'validations':[{'expression':'true'}]",
	       ",'paramRef':{'name':'x','parameterNotFoundAction':'Deny'}");
	err_done(&err);
	err = (struct err){0};
	assert_null(try_create(&kind_configmap, "default", MAP("'b':'1'"), &err));
	assert_string_equal(err_message(&err),
			    "configmaps \"m\" is forbidden: ValidatingAdmissionPolicy 'p' denied "
			    "request: failed to configure policy: failed to find resource "
			    "referenced by paramKind: 'nobody.example.com/v1, Kind=Missing'");
}

#define T(fn) cmocka_unit_test_setup_teardown(fn, setup_registry, teardown_registry)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_quantities),
		T(test_priority),
		T(test_limit_defaults),
		T(test_limit_bounds),
		T(test_quota_objects),
		T(test_quota_pods),
		T(test_quota_scopes),
		T(test_evictions),
		T(test_policies),
		T(test_policies_that_fail),
	};

	log_set_level(LOG_LEVEL_WARN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
