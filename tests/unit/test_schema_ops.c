/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Patches, selectors, Table rows, quantities, durations and YAML against recorded behaviour of
 * Kubernetes.
 */
#include "json_of.h"
#include <coracle/schema.h>

#define NOW 1700000000

/* ---- strategic merge ------------------------------------------------------------------------ */

struct patch_case {
	const char *name, *obj, *patch, *want; /* want NULL: 400 with `error` */
	const char *error;
};

/* Run on a PodSpec. */
static const struct patch_case pod_spec_cases[] = {
	{"scalars, null deletes", "{'nodeName':'a','hostname':'h'}",
	 "{'nodeName':'b','hostname':null}", "{'nodeName':'b'}", NULL},
	{"merge by key", "{'containers':[{'name':'a','image':'1'},{'name':'b','image':'1'}]}",
	 "{'containers':[{'name':'b','image':'2'}]}",
	 "{'containers':[{'name':'a','image':'1'},{'name':'b','image':'2'}]}", NULL},
	{"a new element without an order comes first", "{'containers':[{'name':'a','image':'1'}]}",
	 "{'containers':[{'name':'c','image':'3'}]}",
	 "{'containers':[{'name':'c','image':'3'},{'name':'a','image':'1'}]}", NULL},
	{"delete element", "{'containers':[{'name':'a'},{'name':'b'}]}",
	 "{'containers':[{'$patch':'delete','name':'a'}]}", "{'containers':[{'name':'b'}]}", NULL},
	{"replace list", "{'containers':[{'name':'a'},{'name':'b'}]}",
	 "{'containers':[{'name':'z'},{'$patch':'replace'}]}", "{'containers':[{'name':'z'}]}",
	 NULL},
	{"set image as kubectl sends it",
	 "{'containers':[{'name':'side','image':'s'},{'name':'c','image':'1'}]}",
	 "{'$setElementOrder/containers':[{'name':'side'},{'name':'c'}],"
	 "'containers':[{'image':'2','name':'c'}]}",
	 "{'containers':[{'name':'side','image':'s'},{'name':'c','image':'2'}]}", NULL},
	{"order alone", "{'containers':[{'name':'a'},{'name':'b'},{'name':'c'}]}",
	 "{'$setElementOrder/containers':[{'name':'c'},{'name':'a'}]}",
	 "{'containers':[{'name':'b'},{'name':'c'},{'name':'a'}]}", NULL},
	{"order of a new list", "{}",
	 "{'$setElementOrder/containers':[{'name':'a'},{'name':'b'}],"
	 "'containers':[{'name':'a'},{'name':'b'}]}",
	 "{'containers':[{'name':'a'},{'name':'b'}]}", NULL},
	{"server-only elements keep their place",
	 "{'containers':[{'name':'x'},{'name':'a'},{'name':'y'}]}",
	 "{'$setElementOrder/containers':[{'name':'a'},{'name':'n'}],"
	 "'containers':[{'name':'n','image':'1'}]}",
	 "{'containers':[{'name':'x'},{'name':'a'},{'name':'n','image':'1'},{'name':'y'}]}", NULL},
	{"order contradicts", "{}",
	 "{'$setElementOrder/containers':[{'name':'b'}],'containers':[{'name':'a'}]}", NULL,
	 "doesn't match $setElementOrder list"},
	{"no merge key", "{'containers':[{'name':'a'}]}", "{'containers':[{'image':'i'}]}", NULL,
	 "map: map[image:i] does not contain declared merge key: name"},
	{"bad directive", "{'containers':[]}", "{'$patch':'frob'}", NULL,
	 "unknown patch type: frob in map: map[$patch:frob]"},
	{"atomic list", "{'tolerations':[{'key':'a'}]}", "{'tolerations':[{'key':'b'}]}",
	 "{'tolerations':[{'key':'b'}]}", NULL},
	{"free map", "{'nodeSelector':{'a':'1','b':'2'}}", "{'nodeSelector':{'a':null,'c':'3'}}",
	 "{'nodeSelector':{'b':'2','c':'3'}}", NULL},
	{"replace map", "{'securityContext':{'runAsUser':1,'fsGroup':2}}",
	 "{'securityContext':{'$patch':'replace','runAsUser':3}}",
	 "{'securityContext':{'runAsUser':3}}", NULL},
	{"delete map", "{'securityContext':{'runAsUser':1},'hostname':'h'}",
	 "{'securityContext':{'$patch':'delete'}}", "{'hostname':'h'}", NULL},
	{"retain keys of a volume",
	 "{'volumes':[{'name':'v','emptyDir':{}},{'name':'w','emptyDir':{}}]}",
	 "{'volumes':[{'name':'v','$retainKeys':['name','hostPath'],'hostPath':{'path':'/x'}}]}",
	 "{'volumes':[{'name':'v','hostPath':{'path':'/x'}},{'name':'w','emptyDir':{}}]}", NULL},
	{"retain keys must name what is set", "{'securityContext':{'runAsUser':1}}",
	 "{'securityContext':{'$retainKeys':['fsGroup'],'runAsUser':3}}", NULL,
	 "invalid patch format of retainKeys"},
	{"directives never reach the object", "{}",
	 "{'containers':[{'name':'a','env':[{'name':'x','$patch':'delete'},{'name':'y'}]}],"
	 "'securityContext':{'$retainKeys':['runAsUser'],'runAsUser':1}}",
	 "{'containers':[{'name':'a','env':[{'name':'y'}]}],'securityContext':{'runAsUser':1}}",
	 NULL},
	{"nested lists", "{'containers':[{'name':'a','env':[{'name':'x','value':'1'}]}]}",
	 "{'containers':[{'name':'a','env':[{'name':'x','value':'2'},{'name':'z'}]}]}",
	 "{'containers':[{'name':'a','env':[{'name':'x','value':'2'},{'name':'z'}]}]}", NULL},
};

static const struct patch_case meta_cases[] = {
	{"primitive merge", "{'finalizers':['a','b']}", "{'finalizers':['c','a']}",
	 "{'finalizers':['c','a','b']}", NULL},
	{"delete from primitive list", "{'finalizers':['a','b','c']}",
	 "{'$deleteFromPrimitiveList/finalizers':['b']}", "{'finalizers':['a','c']}", NULL},
	{"delete and order", "{'finalizers':['a','b','c']}",
	 "{'$deleteFromPrimitiveList/finalizers':['b'],'$setElementOrder/finalizers':['c','a']}",
	 "{'finalizers':['c','a']}", NULL},
	{"delete from nothing", "{}", "{'$deleteFromPrimitiveList/finalizers':['b']}", "{}", NULL},
	{"annotations", "{'annotations':{'a.b/c':'1'}}", "{'annotations':{'d.e/f':'2'}}",
	 "{'annotations':{'a.b/c':'1','d.e/f':'2'}}", NULL},
};

static void run_patches(const char *type, const struct patch_case *cases, size_t n)
{
	const struct message *m = message_find(type);

	assert_non_null(m);
	for (size_t i = 0; i < n; i++) {
		json_auto_t *obj = json_of(cases[i].obj), *patch = json_of(cases[i].patch);
		json_auto_t *before = json_deep_copy(obj), *patch_before = json_deep_copy(patch);
		auto_err err = {0};
		json_auto_t *got = patch_strategic(m, obj, patch, &err);

		assert_true(json_equal(obj, before));
		assert_true(json_equal(patch, patch_before));
		if (cases[i].want) {
			assert_non_null(got);
			assert_json(got, cases[i].want);
		} else {
			assert_null(got);
			assert_int_equal(err_http_code(&err), 400);
			assert_non_null(strstr(err.message, cases[i].error));
		}
	}
}

static void test_strategic(void **state)
{
	(void)state;
	run_patches("io.k8s.api.core.v1.PodSpec", pod_spec_cases, ARRAY_SIZE(pod_spec_cases));
	run_patches("io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta", meta_cases,
		    ARRAY_SIZE(meta_cases));
}

/* Long lists are refused instead of stalling the loop. */
static void test_strategic_bounded(void **state)
{
	json_auto_t *obj = json_object(), *patch = json_object();
	const struct message *m = message_find("io.k8s.api.core.v1.PodSpec");
	auto_err err = {0};

	(void)state;
	for (int i = 0; i < 20000; i++) {
		json_t *c = json_object();

		json_put_strf(c, "name", "c%d", i);
		json_array_append_new(json_arr(obj, "containers"), c);
	}
	json_object_set(patch, "containers", json_object_get(obj, "containers"));
	assert_null(patch_strategic(m, obj, patch, &err));
	assert_int_equal(err.reason, ERR_BAD_REQUEST);
}

static void test_merge(void **state)
{
	/* The examples of RFC 7386, appendix A, that have objects. */
	static const char *const cases[][3] = {
		{"{'a':'b'}", "{'a':'c'}", "{'a':'c'}"},
		{"{'a':'b'}", "{'b':'c'}", "{'a':'b','b':'c'}"},
		{"{'a':'b'}", "{'a':null}", "{}"},
		{"{'a':'b','b':'c'}", "{'a':null}", "{'b':'c'}"},
		{"{'a':['b']}", "{'a':'c'}", "{'a':'c'}"},
		{"{'a':{'b':'c'}}", "{'a':{'b':'d','c':null}}", "{'a':{'b':'d'}}"},
		{"{'a':[{'b':'c'}]}", "{'a':[1]}", "{'a':[1]}"},
		{"{'e':null}", "{'a':1}", "{'e':null,'a':1}"},
		{"{}", "{'a':{'bb':{'ccc':null}}}", "{'a':{'bb':{}}}"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		json_auto_t *obj = json_of(cases[i][0]), *patch = json_of(cases[i][1]);
		json_auto_t *got = patch_merge(obj, patch);

		assert_json(got, cases[i][2]);
	}
}

static void test_json_patch(void **state)
{
	/* NULL: 422. */
	static const char *const cases[][3] = {
		{"{'foo':'bar'}", "[{'op':'add','path':'/baz','value':'q'}]",
		 "{'foo':'bar','baz':'q'}"},
		{"{'a':[1,2]}", "[{'op':'add','path':'/a/1','value':9}]", "{'a':[1,9,2]}"},
		{"{'a':[1]}", "[{'op':'add','path':'/a/-','value':9}]", "{'a':[1,9]}"},
		{"{'a':[1]}", "[{'op':'add','path':'/a/5','value':9}]", NULL},
		{"{'a':[1]}", "[{'op':'add','path':'/a/01','value':9}]", NULL},
		{"{'a':1,'b':2}", "[{'op':'remove','path':'/a'}]", "{'b':2}"},
		{"{'a':1}", "[{'op':'remove','path':'/x'}]", NULL},
		{"{'a':[1,2,3]}", "[{'op':'remove','path':'/a/1'}]", "{'a':[1,3]}"},
		{"{'a':1}", "[{'op':'replace','path':'/a','value':{'x':null}}]",
		 "{'a':{'x':null}}"},
		{"{'a':1}", "[{'op':'replace','path':'/b','value':1}]", NULL},
		{"{'a':{'b':1},'c':{}}", "[{'op':'move','from':'/a/b','path':'/c/d'}]",
		 "{'a':{},'c':{'d':1}}"},
		{"{'a':{'b':1}}", "[{'op':'move','from':'/a','path':'/a/b'}]", NULL},
		{"{'a':[1]}", "[{'op':'copy','from':'/a','path':'/b'}]", "{'a':[1],'b':[1]}"},
		{"{'a~b':1,'c/d':2}",
		 "[{'op':'test','path':'/a~0b','value':1},{'op':'remove','path':'/c~1d'}]",
		 "{'a~b':1}"},
		{"{'a':1}", "[{'op':'test','path':'/a','value':2}]", NULL},
		{"{'a':1}", "[{'op':'test','path':'/a','value':'1'}]", NULL},
		{"{'a':1}", "[{'op':'frob','path':'/a'}]", NULL},
		{"{'a':1}", "[{'op':'add','path':'a','value':2}]", NULL},
		{"{'a':1}", "[{'op':'add','path':'/b'}]", NULL},
		{"{'a':1}", "[{'op':'replace','path':'','value':{'z':1}}]", "{'z':1}"},
		{"{'metadata':{'annotations':{'deployment.kubernetes.io/revision':'1'}}}",
		 "[{'op':'replace','path':'/metadata/annotations/"
		 "deployment.kubernetes.io~1revision','value':'2'}]",
		 "{'metadata':{'annotations':{'deployment.kubernetes.io/revision':'2'}}}"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		json_auto_t *obj = json_of(cases[i][0]), *patch = json_of(cases[i][1]);
		json_auto_t *before = json_deep_copy(obj);
		auto_err err = {0};
		json_auto_t *got = patch_json(obj, patch, &err);

		assert_true(json_equal(obj, before));
		if (cases[i][2]) {
			assert_non_null(got);
			assert_json(got, cases[i][2]);
		} else {
			assert_null(got);
			assert_int_equal(err_http_code(&err), 422);
		}
	}
}

static void test_json_patch_bounds(void **state)
{
	json_auto_t *obj = json_of("{'a':'0123456789'}"), *many = json_array(),
		    *bomb = json_array();
	json_auto_t *map = json_of("{}");
	auto_err err = {0}, err2 = {0}, err3 = {0};

	(void)state;
	for (int i = 0; i < 10001; i++)
		json_array_append_new(many,
				      json_of("{'op':'test','path':'/a','value':'0123456789'}"));
	assert_null(patch_json(obj, many, &err));
	assert_int_equal(err_http_code(&err), 413);
	assert_string_equal(err.message,
			    "The allowed maximum operations in a JSON patch is 10000, got 10001");
	/* Doubling 60 times would be an exabyte. */
	for (int i = 0; i < 60; i++)
		json_array_append_new(bomb, json_of(i % 2 ? "{'op':'copy','from':'','path':'/b'}"
							  : "{'op':'copy','from':'','path':'/c'}"));
	assert_null(patch_json(obj, bomb, &err2));
	assert_int_equal(err_http_code(&err2), 422);
	assert_null(patch_json(obj, map, &err3));
	assert_int_equal(err_http_code(&err3), 400);
}

struct apply_case {
	const char *original, *modified, *current, *patch;
};

static void test_three_way(void **state)
{
	static const struct apply_case cases[] = {
		/* nothing to do; what others added stays */
		{"{'spec':{'replicas':1}}", "{'spec':{'replicas':1}}",
		 "{'spec':{'replicas':1,'paused':true}}", "{}"},
		{"{'spec':{'replicas':1,'paused':true}}", "{'spec':{'replicas':2}}",
		 "{'spec':{'replicas':1,'paused':true}}", "{'spec':{'replicas':2,'paused':null}}"},
		/* image */
		{"{'spec':{'template':{'spec':{'containers':[{'name':'a','image':'1'}]}}}}",
		 "{'spec':{'template':{'spec':{'containers':[{'name':'a','image':'2'}]}}}}",
		 "{'spec':{'template':{'spec':{'containers':[{'name':'a','image':'1',"
		 "'imagePullPolicy':'Always'}]}}}}",
		 "{'spec':{'template':{'spec':{'$setElementOrder/containers':[{'name':'a'}],"
		 "'containers':[{'name':'a','image':'2'}]}}}}"},
		/* one container renamed: one new, one deleted, the injected one stays */
		{"{'spec':{'template':{'spec':{'containers':[{'name':'a'}]}}}}",
		 "{'spec':{'template':{'spec':{'containers':[{'name':'b'}]}}}}",
		 "{'spec':{'template':{'spec':{'containers':[{'name':'a'},{'name':'inj'}]}}}}",
		 "{'spec':{'template':{'spec':{'$setElementOrder/containers':[{'name':'b'}],"
		 "'containers':[{'name':'b'},{'$patch':'delete','name':'a'}]}}}}"},
		/* env removed and another changed in the same container */
		{"{'spec':{'template':{'spec':{'containers':[{'name':'a','env':[{'name':'x','value'"
		 ":"
		 "'1'},{'name':'y','value':'1'}]}]}}}}",
		 "{'spec':{'template':{'spec':{'containers':[{'name':'a','env':[{'name':'y','value'"
		 ":"
		 "'2'}]}]}}}}",
		 "{'spec':{'template':{'spec':{'containers':[{'name':'a','env':[{'name':'x','value'"
		 ":"
		 "'1'},{'name':'y','value':'1'}]}]}}}}",
		 "{'spec':{'template':{'spec':{'$setElementOrder/containers':[{'name':'a'}],"
		 "'containers':[{'name':'a','$setElementOrder/"
		 "env':[{'name':'y'}],'env':[{'name':'y',"
		 "'value':'2'},{'$patch':'delete','name':'x'}]}]}}}}"},
		/* strategy has retainKeys */
		{"{'spec':{'strategy':{'type':'RollingUpdate'}}}",
		 "{'spec':{'strategy':{'type':'Recreate'}}}",
		 "{'spec':{'strategy':{'type':'RollingUpdate','rollingUpdate':{'maxSurge':1}}}}",
		 "{'spec':{'strategy':{'$retainKeys':['type'],'type':'Recreate'}}}"},
		/* finalizers: primitive list */
		{"{'metadata':{'finalizers':['a','b']}}", "{'metadata':{'finalizers':['b','c']}}",
		 "{'metadata':{'finalizers':['a','b']}}",
		 "{'metadata':{'finalizers':['c'],'$deleteFromPrimitiveList/finalizers':['a'],"
		 "'$setElementOrder/finalizers':['b','c']}}"},
		/* label dropped */
		{"{'metadata':{'labels':{'a':'1','b':'1'}}}", "{'metadata':{'labels':{'a':'1'}}}",
		 "{'metadata':{'labels':{'a':'1','b':'1','z':'1'}}}",
		 "{'metadata':{'labels':{'b':null}}}"},
	};
	const struct message *m = message_find("io.k8s.api.apps.v1.Deployment");

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		json_auto_t *original = json_of(cases[i].original),
			    *modified = json_of(cases[i].modified);
		json_auto_t *current = json_of(cases[i].current);
		auto_err err = {0};
		json_auto_t *patch = patch_create_three_way(m, original, modified, current, &err);

		assert_non_null(patch);
		assert_json(patch, cases[i].patch);
		/* Applying it must bring in all that the file says. */
		json_auto_t *result = patch_strategic(m, current, patch, &err);
		assert_non_null(result);
		json_auto_t *again = patch_create_three_way(m, modified, modified, result, &err);
		assert_non_null(again);
		json_auto_t *same = patch_strategic(m, result, again, &err);
		assert_true(json_equal(result, same));
	}
}

/* ---- selectors ------------------------------------------------------------------------------ */

static void test_label_selector(void **state)
{
	static const struct {
		const char *text, *labels;
		bool match;
		const char *format;
	} cases[] = {
		{"", "{'a':'b'}", true, ""},
		{"a=b", "{'a':'b'}", true, "a=b"},
		{"a==b", "{'a':'c'}", false, "a==b"},
		{"a!=b", "{}", true, "a!=b"},
		{"a!=b", "{'a':'b'}", false, "a!=b"},
		{"x in (b, a)", "{'x':'a'}", true, "x in (a,b)"},
		{"x notin (a,b),y", "{'y':''}", true, "x notin (a,b),y"},
		{"x in ()", "{'x':''}", true, "x in ()"},
		{"x in (a,)", "{'x':''}", true, "x in (,a)"},
		{"!z", "{'a':'b'}", true, "!z"},
		{"!z", "{'z':'b'}", false, "!z"},
		{"b=1,a=2", "{'a':'2','b':'1'}", true, "a=2,b=1"},
		{"n>5", "{'n':'6'}", true, "n>5"},
		{"n<5", "{'n':'6'}", false, "n<5"},
		{"in in (in,notin)", "{'in':'notin'}", true, "in in (in,notin)"},
		{"a=", "{'a':''}", true, "a="},
		{" a = b , c ", "{'a':'b','c':'x'}", true, "a=b,c"},
		{"app.kubernetes.io/name=x", "{'app.kubernetes.io/name':'x'}", true,
		 "app.kubernetes.io/name=x"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		auto_err err = {0};
		auto_clean(label_selector) struct label_selector *s =
			label_selector_parse(cases[i].text, &err);
		json_auto_t *labels = json_of(cases[i].labels);

		if (!s)
			fail_msg("%s: %s", cases[i].text, err_message(&err));
		auto_free char *format = label_selector_format(s);
		assert_int_equal(label_selector_matches(s, labels), cases[i].match);
		assert_string_equal(format, cases[i].format);
	}
}

static void test_label_selector_errors(void **state)
{
	static const char *const cases[][2] = {
		{"a=b,", "found '', expected: identifier after ','"},
		{"a b",
		 "unable to parse requirement: found 'b', expected: in, notin, =, ==, !=, gt, lt"},
		{",a", "found ',', expected: !, identifier, or 'end of string'"},
		{"a in b", "unable to parse requirement: found 'b' expected: '('"},
		{"a=b c", "found 'c', expected: ',' or 'end of string'"},
		{"!", "unable to parse requirement: found '', expected: identifier"},
		{"a in (x y)", "unable to parse requirement: found 'y', expected: ',' or ')'"},
		{"a>x", "for 'Gt', 'Lt' operators, the value must be an integer"},
		{"a=b_", "Invalid value: \"b_\""},
		{"-a=b", "Invalid value: \"-a\""},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		auto_err err = {0};

		assert_null(label_selector_parse(cases[i][0], &err));
		assert_int_equal(err_http_code(&err), 400);
		if (!strstr(err.message, cases[i][1]))
			fail_msg("%s: %s", cases[i][0], err.message);
	}
}

static void test_label_selector_json(void **state)
{
	json_auto_t *sel = json_of("{'matchLabels':{'app':'web'},'matchExpressions':[{'key':'tier',"
				   "'operator':'In','values':['b','a']},{'key':'old','operator':"
				   "'DoesNotExist'}]}");
	json_auto_t *bad = json_of("{'matchExpressions':[{'key':'a','operator':'Near'}]}");
	json_auto_t *yes = json_of("{'app':'web','tier':'a'}"),
		    *no = json_of("{'app':'web','tier':'c'}");
	json_auto_t *empty = json_of("{}");
	auto_err err = {0};
	auto_clean(label_selector) struct label_selector *s = label_selector_from_json(sel, &err);
	auto_clean(label_selector) struct label_selector *none =
		label_selector_from_json(NULL, &err);
	auto_clean(label_selector) struct label_selector *all =
		label_selector_from_json(empty, &err);
	auto_clean(label_selector) struct label_selector *nothing = label_selector_from_map(empty);
	auto_clean(label_selector) struct label_selector *map = label_selector_from_map(yes);

	(void)state;
	auto_free char *format = label_selector_format(s);
	assert_string_equal(format, "app=web,!old,tier in (a,b)");
	assert_true(label_selector_matches(s, yes));
	assert_false(label_selector_matches(s, no));
	assert_false(label_selector_matches(none, yes));
	assert_true(label_selector_matches(all, yes));
	assert_false(label_selector_matches(nothing, yes));
	assert_true(label_selector_matches(map, yes));
	assert_null(label_selector_from_json(bad, &err));
	assert_string_equal(err.message, "\"Near\" is not a valid label selector operator");
}

static void test_field_selector(void **state)
{
	static const struct {
		const struct kind *k;
		const char *text, *obj;
		bool match;
	} cases[] = {
		{&kind_pod, "", "{}", true},
		{&kind_pod, "metadata.name=a", "{'metadata':{'name':'a'}}", true},
		{&kind_pod, "metadata.namespace=b", "{'metadata':{'namespace':'a'}}", false},
		{&kind_pod, "spec.nodeName=n,status.phase!=Failed,status.phase!=Succeeded",
		 "{'spec':{'nodeName':'n'},'status':{'phase':'Running'}}", true},
		{&kind_pod, "status.phase!=Failed", "{'status':{'phase':'Failed'}}", false},
		{&kind_pod, "spec.nodeName=", "{'spec':{}}", true},
		{&kind_pod, "spec.hostNetwork=false", "{'spec':{}}", true},
		{&kind_pod, "status.podIP==1.2.3.4", "{'status':{'podIP':'1.2.3.4'}}", true},
		{&kind_node, "spec.unschedulable=false", "{'spec':{}}", true},
		{&kind_node, "spec.unschedulable=true", "{'spec':{'unschedulable':true}}", true},
		{&kind_event, "involvedObject.name=a\\,b,involvedObject.namespace=",
		 "{'involvedObject':{'name':'a,b'}}", true},
		{&kind_event, "involvedObject.uid=u,reason=R",
		 "{'involvedObject':{'uid':'u'},'reason':'R'}", true},
		{&kind_namespace, "status.phase=Active", "{'status':{'phase':'Active'}}", true},
		{&kind_certificatesigningrequest, "spec.signerName=a.b/c",
		 "{'spec':{'signerName':'a.b/c'}}", true},
		{&kind_secret, "type!=Opaque", "{'type':'Opaque'}", false},
		{&kind_service, "spec.type=NodePort", "{'spec':{'type':'NodePort'}}", true},
	};
	auto_err err = {0}, err2 = {0}, err3 = {0};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		auto_clean(field_selector) struct field_selector *s =
			field_selector_parse(cases[i].k, cases[i].text, &err);
		json_auto_t *obj = json_of(cases[i].obj);

		if (!s)
			fail_msg("%s: %s", cases[i].text, err_message(&err));
		assert_int_equal(field_selector_matches(s, obj), cases[i].match);
	}
	auto_clean(field_selector) struct field_selector *named =
		field_selector_parse(&kind_pod, "status.phase=Running,metadata.name=x", &err);
	assert_string_equal(field_selector_name(named), "x");
	assert_null(field_selector_parse(&kind_pod, "spec.foo=1", &err));
	assert_string_equal(err.message, "field label not supported: spec.foo");
	assert_null(field_selector_parse(&kind_configmap, "data=1", &err2));
	assert_string_equal(err2.message, "\"data\" is not a known field selector: only "
					  "\"metadata.name\", \"metadata.namespace\"");
	assert_null(field_selector_parse(&kind_pod, "nonsense", &err3));
	assert_string_equal(err3.message,
			    "invalid selector: 'nonsense'; can't understand 'nonsense'");
	assert_int_equal(err_http_code(&err3), 400);
}

/* ---- tables --------------------------------------------------------------------------------- */

struct row_case {
	const struct kind *k;
	const char *obj, *cells;
};

#define T(secs) "'2023-11-14T22:" secs "Z'" /* NOW is 22:13:20 */

static const struct row_case row_cases[] = {
	{&kind_pod,
	 "{'metadata':{'name':'p','creationTimestamp':" T(
		 "08:20") "},'spec':{'nodeName':'n',"
			  "'containers':[{'name':'a'},{'name':'b'}]},'status':{'phase':'Running','"
			  "podIPs':[{'ip':"
			  "'10.42.0.5'}],'containerStatuses':[{'name':'a','ready':true,'"
			  "restartCount':2,'state':{"
			  "'running':{}},'lastState':{'terminated':{'finishedAt':" T(
				  "12:20") "}}},{'name':'b',"
					   "'ready':false,'restartCount':0,'state':{'waiting':{'"
					   "reason':'CrashLoopBackOff'}}}]}}",
	 "['p','1/2','CrashLoopBackOff','2 (60s ago)','5m','10.42.0.5','n','<none>','<none>']"},
	{&kind_pod,
	 "{'metadata':{'name':'p'},'spec':{'containers':[{'name':'a'}],'initContainers':[{'name':"
	 "'i'},{'name':'j'}]},'status':{'phase':'Pending','initContainerStatuses':[{'name':'i',"
	 "'restartCount':1,'state':{'terminated':{'exitCode':0}}},{'name':'j','restartCount':0,"
	 "'state':{'waiting':{'reason':'PodInitializing'}}}]}}",
	 "['p','0/1','Init:1/2','1','<unknown>','<none>','<none>','<none>','<none>']"},
	{&kind_pod,
	 "{'metadata':{'name':'p'},'spec':{'containers':[{'name':'a'}],'initContainers':[{'name':"
	 "'i'}]},'status':{'phase':'Pending','initContainerStatuses':[{'name':'i','restartCount':3,"
	 "'state':{'terminated':{'exitCode':2}}}]}}",
	 "['p','0/1','Init:ExitCode:2','3','<unknown>','<none>','<none>','<none>','<none>']"},
	{&kind_pod,
	 "{'metadata':{'name':'p'},'spec':{'containers':[{'name':'a'}],'initContainers':[{'name':"
	 "'s','restartPolicy':'Always'}]},'status':{'phase':'Running','initContainerStatuses':[{"
	 "'name':'s','started':true,'ready':true,'restartCount':1,'state':{'running':{}}}],"
	 "'containerStatuses':[{'name':'a','ready':true,'restartCount':1,'state':{'running':{}}}]}"
	 "}",
	 "['p','2/2','Running','2','<unknown>','<none>','<none>','<none>','<none>']"},
	{&kind_pod,
	 "{'metadata':{'name':'p'},'spec':{'containers':[{'name':'a'}]},'status':{'phase':'Failed',"
	 "'containerStatuses':[{'name':'a','state':{'terminated':{'exitCode':0,'signal':9}}}]}}",
	 "['p','0/1','Signal:9','0','<unknown>','<none>','<none>','<none>','<none>']"},
	{&kind_pod,
	 "{'metadata':{'name':'p','deletionTimestamp':" T(
		 "13:00") "},'spec':{'containers':[{"
			  "'name':'a'}],'readinessGates':[{'conditionType':'x'}]},'status':{'phase'"
			  ":'Running'}}",
	 "['p','0/1','Terminating','0','<unknown>','<none>','<none>','<none>','0/1']"},
	{&kind_pod,
	 "{'metadata':{'name':'p'},'spec':{'containers':[{'name':'a'},{'name':'b'}]},'status':{"
	 "'phase':'Running','conditions':[{'type':'Ready','status':'False'}],'containerStatuses':[{"
	 "'name':'a','state':{'terminated':{'exitCode':0,'reason':'Completed'}}},{'name':'b',"
	 "'ready':true,'state':{'running':{}}}]}}",
	 "['p','1/2','NotReady','0','<unknown>','<none>','<none>','<none>','<none>']"},
	{&kind_pod,
	 "{'metadata':{'name':'p'},'spec':{'containers':[{'name':'a'}]},'status':{'phase':'Failed',"
	 "'reason':'Evicted'}}",
	 "['p','0/1','Evicted','0','<unknown>','<none>','<none>','<none>','<none>']"},
	{&kind_pod,
	 "{'metadata':{'name':'p'},'spec':{'containers':[{'name':'a'}]},'status':{'phase':"
	 "'Pending','conditions':[{'type':'PodScheduled','status':'False','reason':"
	 "'SchedulingGated'}]}}",
	 "['p','0/1','SchedulingGated','0','<unknown>','<none>','<none>','<none>','<none>']"},
	{&kind_deployment,
	 "{'metadata':{'name':'d','creationTimestamp':" T(
		 "11:25") "},'spec':{'replicas':3,"
			  "'selector':{'matchLabels':{'app':'web'}},'template':{'spec':{'"
			  "containers':[{'name':'a',"
			  "'image':'i:1'},{'name':'b','image':'j'}]}}},'status':{'readyReplicas':2,"
			  "'updatedReplicas':3,'availableReplicas':1}}",
	 "['d','2/3',3,1,'115s','a,b','i:1,j','app=web']"},
	{&kind_replicaset,
	 "{'metadata':{'name':'r'},'spec':{'replicas':3,'selector':{},'template':{'spec':{"
	 "'containers':[{'name':'a','image':'i'}]}}},'status':{'replicas':2,'readyReplicas':1}}",
	 "['r',3,2,1,'<unknown>','a','i','<none>']"},
	{&kind_scale, "{'metadata':{'name':'s'},'spec':{'replicas':4},'status':{'replicas':2}}",
	 "['s',4,2,'<unknown>']"},
	{&kind_service,
	 "{'metadata':{'name':'s'},'spec':{'type':'ClusterIP','clusterIP':'10.43.0.1','ports':[{"
	 "'port':80,'protocol':'TCP'},{'port':53,'protocol':'UDP'}],'selector':{'b':'1','a':'2'}}}",
	 "['s','ClusterIP','10.43.0.1','<none>','80/TCP,53/UDP','<unknown>','a=2,b=1']"},
	{&kind_service,
	 "{'metadata':{'name':'s'},'spec':{'type':'NodePort','clusterIP':'10.43.0.1','ports':[{"
	 "'port':80,'nodePort':30080,'protocol':'TCP'}],'externalIPs':['1.1.1.1','2.2.2.2']}}",
	 "['s','NodePort','10.43.0.1','1.1.1.1,2.2.2.2','80:30080/TCP','<unknown>','<none>']"},
	{&kind_service,
	 "{'metadata':{'name':'s'},'spec':{'type':'LoadBalancer','clusterIP':'10.43.0.1'}}",
	 "['s','LoadBalancer','10.43.0.1','<pending>','<none>','<unknown>','<none>']"},
	{&kind_service,
	 "{'metadata':{'name':'s'},'spec':{'type':'LoadBalancer','clusterIP':'10.43.0.1'},'status':"
	 "{'loadBalancer':{'ingress':[{'ip':'9.9.9.9'},{'hostname':'h'}]}}}",
	 "['s','LoadBalancer','10.43.0.1','9.9.9.9,h','<none>','<unknown>','<none>']"},
	{&kind_service,
	 "{'metadata':{'name':'s'},'spec':{'type':'ExternalName','externalName':'ex.org'}}",
	 "['s','ExternalName','<none>','ex.org','<none>','<unknown>','<none>']"},
	{&kind_endpoints,
	 "{'metadata':{'name':'e'},'subsets':[{'addresses':[{'ip':'1.1.1.1'},{'ip':'1.1.1.2'}],"
	 "'ports':[{'port':80},{'port':81}]}]}",
	 "['e','1.1.1.1:80,1.1.1.2:80,1.1.1.1:81 + 1 more...','<unknown>']"},
	{&kind_endpoints, "{'metadata':{'name':'e'}}", "['e','<none>','<unknown>']"},
	{&kind_endpoints,
	 "{'metadata':{'name':'e'},'subsets':[{'addresses':[{'ip':'::1'}],'ports':"
	 "[{'port':80}]}]}",
	 "['e','[::1]:80','<unknown>']"},
	{&kind_endpointslice,
	 "{'metadata':{'name':'e'},'addressType':'IPv4','ports':[{'port':80},{}],'endpoints':[{"
	 "'addresses':['1.1.1.1']}]}",
	 "['e','IPv4','80,*','1.1.1.1','<unknown>']"},
	{&kind_endpointslice, "{'metadata':{'name':'e'},'addressType':'IPv4'}",
	 "['e','IPv4','<unset>','<unset>','<unknown>']"},
	{&kind_node,
	 "{'metadata':{'name':'n','labels':{'node-role.kubernetes.io/control-plane':'',"
	 "'kubernetes.io/role':'a'}},'spec':{'unschedulable':true},'status':{'conditions':[{'type':"
	 "'Ready','status':'True'}],'addresses':[{'type':'InternalIP','address':'10.0.0.1'}],"
	 "'nodeInfo':{'kubeletVersion':'v1.33.0','osImage':'Debian','kernelVersion':'6.1',"
	 "'containerRuntimeVersion':'crun://1.8.1'}}}",
	 "['n','Ready,SchedulingDisabled','a,control-plane','<unknown>','v1.33.0','10.0.0.1',"
	 "'<none>','Debian','6.1','crun://1.8.1']"},
	{&kind_node, "{'metadata':{'name':'n'}}",
	 "['n','Unknown','<none>','<unknown>','','<none>','<none>','<unknown>','<unknown>',"
	 "'<unknown>']"},
	{&kind_namespace, "{'metadata':{'name':'n'},'status':{'phase':'Active'}}",
	 "['n','Active','<unknown>']"},
	{&kind_configmap, "{'metadata':{'name':'c'},'data':{'a':'1'},'binaryData':{'b':'MQ=='}}",
	 "['c',2,'<unknown>']"},
	{&kind_secret, "{'metadata':{'name':'s'},'type':'Opaque','data':{'a':'MQ=='}}",
	 "['s','Opaque',1,'<unknown>']"},
	{&kind_serviceaccount, "{'metadata':{'name':'s'}}", "['s',0,'<unknown>']"},
	{&kind_event,
	 "{'metadata':{'name':'e.1'},'involvedObject':{'kind':'Pod','name':'p','fieldPath':"
	 "'spec.containers{a}'},'type':'Normal','reason':'Pulled','message':' done \\n','count':3,"
	 "'firstTimestamp':" T("03:20") ",'lastTimestamp':" T("13:10") ",'source':{'component':"
								       "'kubelet','host':'h'}}",
	 "['10s','Normal','Pulled','pod/p','spec.containers{a}','kubelet, "
	 "h','done','10m',3,'e.1']"},
	{&kind_event,
	 "{'metadata':{'name':'e'},'involvedObject':{'kind':'Node'},'eventTime':"
	 "'2023-11-14T22:13:00.123456Z','reportingComponent':'c','series':{'count':7,"
	 "'lastObservedTime':'2023-11-14T22:13:15.000000Z'}}",
	 "['5s','','','node','','c','','20s',7,'e']"},
};

static void test_rows(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(row_cases); i++) {
		const struct kind *k = row_cases[i].k;
		json_auto_t *obj = json_of(row_cases[i].obj), *table = table_new(k, "v1", true);
		json_t *cells;

		table_add(k, table, obj, TABLE_OBJECT_METADATA, NOW);
		cells = json_at(json_array_get(json_at(table, "rows"), 0), "cells");
		assert_json(cells, row_cases[i].cells);
		assert_int_equal(json_array_size(cells), k->n_columns);
		assert_int_equal(json_len(table, "columnDefinitions"), k->n_columns);
	}
}

static void test_table(void **state)
{
	json_auto_t *obj = json_of("{'metadata':{'name':'c'},'data':{}}");
	json_auto_t *full = table_new(&kind_configmap, "v1beta1", true);
	json_auto_t *bare = table_new(&kind_configmap, "v1", false);
	json_t *row;

	(void)state;
	table_add(&kind_configmap, full, obj, TABLE_OBJECT_FULL, NOW);
	table_add(&kind_configmap, bare, obj, TABLE_OBJECT_METADATA, NOW);
	table_add(&kind_configmap, bare, obj, TABLE_OBJECT_NONE, NOW);
	assert_string_equal(json_str(full, "kind", ""), "Table");
	assert_string_equal(json_str(full, "apiVersion", ""), "meta.k8s.io/v1beta1");
	row = json_array_get(json_at(full, "rows"), 0);
	assert_true(json_equal(json_at(row, "object"), obj));
	assert_int_equal(json_len(bare, "columnDefinitions"), 0);
	row = json_array_get(json_at(bare, "rows"), 0);
	assert_json(json_at(row, "object"), "{'kind':'PartialObjectMetadata','apiVersion':"
					    "'meta.k8s.io/v1','metadata':{'name':'c'}}");
	row = json_array_get(json_at(bare, "rows"), 1);
	assert_null(json_at(row, "object"));
}

/* ---- durations, quantities ------------------------------------------------------------------ */

static void test_duration(void **state)
{
	static const struct {
		int64_t seconds;
		const char *text;
	} cases[] = {
		{-2, "<invalid>"}, {-1, "0s"},		{0, "0s"},	   {119, "119s"},
		{120, "2m"},	   {312, "5m12s"},	{600, "10m"},	   {2820, "47m"},
		{10800, "3h"},	   {11100, "3h5m"},	{28800, "8h"},	   {97200, "27h"},
		{172800, "2d"},	   {273600, "3d4h"},	{691200, "8d"},	   {3888000, "45d"},
		{63072000, "2y"},  {65923200, "2y33d"}, {283824000, "9y"},
	};
	char buf[24];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		assert_string_equal(human_duration(buf, cases[i].seconds), cases[i].text);
	human_duration(buf, INT64_MAX);
}

static void test_quantity(void **state)
{
	static const struct {
		const char *text, *canonical;
		int64_t milli; /* -1: out of range */
	} cases[] = {
		{"0", "0", 0},
		{"1", "1", 1000},
		{"100m", "100m", 100},
		{"0.5", "500m", 500},
		{"1.5", "1500m", 1500},
		{"1000m", "1", 1000},
		{"1000", "1k", 1000000},
		{"1024", "1024", 1024000},
		{"2Mi", "2Mi", 2097152000},
		{"1024Mi", "1Gi", 1073741824000},
		{"0.5Gi", "512Mi", 536870912000},
		{"1.5Gi", "1536Mi", 1610612736000},
		{"1e3", "1e3", 1000000},
		{"12e6", "12e6", 12000000000},
		{"1E", "1E", -1},
		{"0.1m", "100u", 1},
		{"1n", "1n", 1},
		{"0.1n", "1n", 1},
		{"-1", "-1", -1000},
		{"+2", "2", 2000},
		{".5", "500m", 500},
		{"5.", "5", 5000},
		{"0.5Ki", "512", 512000},
		{"100000000000000000000000000000", "9223372036854775807", -1},
		{"1e-1", "100e-3", 100},
		{"1.000000000000000000000Gi", "1Gi", 1073741824000},
		{"0.0", "0", 0},
		{"1e1000", "9223372036854775807", -1},
		{"1e-1000", "1e-9", 1},
	};
	static const char *const bad[] = {"",	 "x",	  "1x", "1 Gi",	 "Gi",
					  "--1", "1.2.3", "1e", "1ee3",	 "0x10",
					  "1K",	 "1mi",	  ".",	"1e+-3", "1e 3"};
	int64_t v;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		auto_free char *text = quantity_canonical(cases[i].text);
		int r = quantity_parse_milli(cases[i].text, &v);

		assert_non_null(text);
		assert_string_equal(text, cases[i].canonical);
		if (cases[i].milli == -1)
			assert_int_equal(r, -ERANGE);
		else if (r < 0 || v != cases[i].milli)
			fail_msg("%s: %d %lld", cases[i].text, r, (long long)v);
	}
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		assert_null(quantity_canonical(bad[i]));
		assert_int_equal(quantity_parse(bad[i], &v), -EINVAL);
	}
	assert_int_equal(quantity_parse("1500m", &v), 0);
	assert_int_equal(v, 2);
	assert_int_equal(quantity_parse("1Ei", &v), 0);
	assert_true(v == INT64_C(1) << 60);
}

static void test_int_or_percent(void **state)
{
	static const struct {
		const char *v;
		int64_t total;
		bool up;
		int64_t want;
	} cases[] = {
		{"3", 10, true, 3},    {"'25%'", 10, true, 3}, {"'25%'", 10, false, 2},
		{"'0%'", 10, true, 0}, {"'100%'", 7, true, 7}, {"'x%'", 10, true, -7},
		{"'3'", 10, true, -7}, {"null", 1, true, -7},  {"'25%'", 4, true, 1},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		json_auto_t *v = json_of(cases[i].v);

		assert_int_equal(int_or_percent(v, cases[i].total, cases[i].up, -7), cases[i].want);
	}
	assert_int_equal(int_or_percent(NULL, 1, true, 5), 5);
}

/* ---- YAML ----------------------------------------------------------------------------------- */

static json_t *Y(const char *text, struct err *err)
{
	return yaml_parse_all(text, strlen(text), err);
}

static void test_yaml_scalars(void **state)
{
	static const char *const cases[][2] = {
		{"yes", "true"},
		{"No", "false"},
		{"on", "true"},
		{"OFF", "false"},
		{"y", "true"},
		{"true", "true"},
		{"~", "null"},
		{"Null", "null"},
		{"\"yes\"", "'yes'"},
		{"'1'", "'1'"},
		{"12", "12"},
		{"-3", "-3"},
		{"+5", "5"},
		{"0x1F", "31"},
		{"0777", "511"},
		{"0o17", "15"},
		{"0b101", "5"},
		{"1_000", "1000"},
		{"08", "8"},
		{"1.5", "1.5"},
		{"1e3", "1000"},
		{"1.0", "1"},
		{".5", "0.5"},
		{"1.2.3", "'1.2.3'"},
		{"2001-01-01", "'2001-01-01'"},
		{"10:30", "'10:30'"},
		{"!!str 5", "'5'"},
		{"!!int \"5\"", "5"},
		{"!!binary aGk=", "'hi'"},
		{"v1", "'v1'"},
		{"100m", "'100m'"},
		{"-", "null"},
		{"9223372036854775807", "9223372036854775807"},
		{"1e400", "'1e400'"},
		{"yesno", "'yesno'"},
		{"|\n  a\n  b\n", "'a\\nb\\n'"},
		{">-\n  a\n  b\n", "'a b'"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		auto_free char *text = streq(cases[i][0], "-") ? xstrdup("k:\n")
							       : xasprintf("k: %s\n", cases[i][0]);
		auto_err err = {0};
		json_auto_t *docs = Y(text, &err), *want = NULL;
		auto_strbuf b = {0};

		if (!docs)
			fail_msg("%s: %s", text, err_message(&err));
		for (const char *s = cases[i][1]; *s; s++)
			strbuf_addc(&b, *s == '\'' ? '"' : *s);
		want = json_loads(b.s, JSON_DECODE_ANY, NULL);
		if (!json_equal(json_at(json_array_get(docs, 0), "k"), want))
			fail_msg("%s: %s", text, json_dumps(docs, 0));
	}
}

static void test_yaml_documents(void **state)
{
	static const char *const cases[][2] = {
		{"a: 1\n---\nb: 2\n---\n# nothing\n---\n- c\n", "[{'a':1},{'b':2},['c']]"},
		{"---\na: 1\n...\n---\nb: 2\n", "[{'a':1},{'b':2}]"},
		{"", "[]"},
		{"# only a comment\n", "[]"},
		{"{\"a\": \"\\ud83d\\ude00\\/\"}", "[{'a':'\xf0\x9f\x98\x80/'}]"},
		{"{\"a\":1}\n{\"b\":2}\n", "[{'a':1},{'b':2}]"},
		{"{a: 1, b: [x, z]}", "[{'a':1,'b':['x','z']}]"},
		{"b: &x {k: v}\nc: *x\nd:\n  <<: *x\n  k: w\n  e: 1\n",
		 "[{'b':{'k':'v'},'c':{'k':'v'},'d':{'k':'w','e':1}}]"},
		{"1: a\ntrue: b\n1.5: c\n", "[{'1':'a','true':'b','1.5':'c'}]"},
		{"a:\n- b: 1\n  c: 2\n- d\n", "[{'a':[{'b':1,'c':2},'d']}]"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		auto_err err = {0};
		json_auto_t *docs = Y(cases[i][0], &err);

		if (!docs)
			fail_msg("%s: %s", cases[i][0], err_message(&err));
		assert_json(docs, cases[i][1]);
	}
}

static void test_yaml_errors(void **state)
{
	static const char *const cases[][2] = {
		{"a: b: c\n", "mapping values are not allowed in this context"},
		{"a: 1\n b: 2\n", "yaml: line"},
		{"a: *x\n", "unknown anchor 'x' referenced"},
		{"a: &x [*x]\n", "unknown anchor 'x' referenced"},
		{"a: .inf\n", "a value that JSON cannot hold"},
		{"a: \"\\0\"\n", "control characters are not allowed"},
		{"~: 1\n", "invalid map key"},
		{"[a]: 1\n", "invalid map key"},
		{"a: [1\n", "yaml: line"},
		{"<<: 5\n", "map merge requires map or sequence of maps"},
		{"a: \t- b\n", "yaml: "},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		auto_err err = {0};
		json_auto_t *docs = Y(cases[i][0], &err);

		if (docs)
			fail_msg("%s: accepted", cases[i][0]);
		assert_int_equal(err_http_code(&err), 400);
		if (!strstr(err.message, cases[i][1]))
			fail_msg("%s: %s", cases[i][0], err.message);
	}
}

static void test_yaml_bombs(void **state)
{
	auto_strbuf laughs = {0}, deep = {0};
	auto_err err = {0}, err2 = {0};

	(void)state;
	strbuf_adds(&laughs, "a0: &a0 [lol,lol,lol,lol,lol,lol,lol,lol,lol]\n");
	for (int i = 1; i < 12; i++) {
		strbuf_addf(&laughs, "a%d: &a%d [", i, i);
		for (int j = 0; j < 9; j++)
			strbuf_addf(&laughs, "%s*a%d", j ? "," : "", i - 1);
		strbuf_adds(&laughs, "]\n");
	}
	assert_null(Y(laughs.s, &err));
	assert_non_null(strstr(err.message, "excessive aliasing"));
	for (int i = 0; i < 5000; i++)
		strbuf_addc(&deep, '[');
	assert_null(Y(deep.s, &err2));
	assert_non_null(strstr(err2.message, "exceeded max depth"));
}

static void test_yaml_format(void **state)
{
	static const char *const cases[][2] = {
		{"{'b':1,'a':{'x':'y'},'c':[{'n':1,'m':'z'},'s'],'e':{},'f':[]}",
		 "a:\n  x: \"y\"\nb: 1\nc:\n- m: z\n  \"n\": 1\n- s\ne: {}\nf: []\n"},
		{"{'t':'true','n':'12','e':'','y':'yes','z':null,'q':true,'f':1.5}",
		 "e: \"\"\nf: 1.5\n\"n\": \"12\"\nq: true\nt: \"true\"\n\"y\": \"yes\"\nz: null\n"},
		{"{'multi':'a\\nb\\n','noend':'a\\nb'}",
		 "multi: |\n  a\n  b\nnoend: |-\n  a\n  b\n"},
		{"{'time':'2023-11-14T22:13:20Z','colon':'a: b','hash':'a #b','dash':'- x'}",
		 "colon: 'a: b'\ndash: '- x'\nhash: 'a #b'\ntime: \"2023-11-14T22:13:20Z\"\n"},
		{"{'a':'10:30','b':'10:99','c':'2001-01-01','d':'2001-01-01 1:2:3','e':'2001-01'}",
		 "a: \"10:30\"\nb: 10:99\nc: \"2001-01-01\"\nd: \"2001-01-01 1:2:3\"\ne: "
		 "2001-01\n"},
		{"{'image':'nginx:1.25','cpu':'100m','ip':'10.0.0.1','uid':'0e1-2'}",
		 "cpu: 100m\nimage: nginx:1.25\nip: 10.0.0.1\nuid: 0e1-2\n"},
		{"{'a10':1,'a2':2,'a':3}", "a: 3\na2: 2\na10: 1\n"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		json_auto_t *v = json_of(cases[i][0]);
		auto_free char *text = yaml_format(v);
		json_auto_t *back = Y(text, NULL);

		assert_string_equal(text, cases[i][1]);
		assert_true(json_equal(json_array_get(back, 0), v));
	}
}

/* More than what libyaml writes (YAML_LONG). */
#define LONG_TEXT (20U << 10)

/* n bytes: pieces of `with`, one behind the other, and `end`. */
static json_t *long_string(size_t n, const char *with, const char *end)
{
	auto_strbuf b = {0};

	while (b.len < n)
		strbuf_adds(&b, with);
	strbuf_adds(&b, end);
	return json_string(b.s);
}

/* What libyaml would go over in one go is written by ourselves, and read back as the same. */
static void test_yaml_long(void **state)
{
	static const struct {
		const char *with, *end, *begins;
	} cases[] = {
		{"first\n  second\n\n", "", "|+\n"},
		{"first\n\tsecond: 'x' #\n", "last", "|-\n"},
		{"first\nsecond \n", "last\n", "|\n"},
		{"QUJD+/-_", "==", "QUJD"},
		{"0123456789", "", "\"0123"},
		{"0123456789", "g", "0123"},
		{"a: {b}, \"c\" \\ ", "", "\"a: {b}, \\\"c\\\""},
		{" first\nsecond\n", "", "\" first\\u000A"},
		{"\xc3\xa4\xe2\x82\xac\xf0\x9f\x9a\xa2 ", "", "\"\xc3\xa4"},
		{"x\r\x01\x7f\xc2\x85\xe2\x80\xa8\xef\xbb\xbf\xef\xbf\xbf", "",
		 "\"x\\u000D\\u0001\\u007F\\u0085\\u2028\\uFEFF\\uFFFF"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		json_t *text = long_string(LONG_TEXT, cases[i].with, cases[i].end);
		json_auto_t *v = json_pack("{s:O, s:{s:[O, [O], {s:O, s:i}]}, s:s}", "a", text, "b",
					   "c", text, text, "d", text, "e", 1, "f", "short");
		auto_free char *yaml = yaml_format(v);
		json_auto_t *back = Y(yaml, NULL);

		assert_int_equal(strncmp(yaml, "a: ", 3), 0);
		assert_int_equal(strncmp(yaml + 3, cases[i].begins, strlen(cases[i].begins)), 0);
		assert_true(json_equal(json_array_get(back, 0), v));
		json_decref(text);
	}
	json_auto_t *alone = long_string(LONG_TEXT, "one line\n", "");
	auto_free char *yaml = yaml_format(alone);
	json_auto_t *back = Y(yaml, NULL);

	assert_true(json_equal(json_array_get(back, 0), alone));
}

/* Nobody can make a map or a document that takes long where nothing can be put aside. */
static void test_yaml_bounds(void **state)
{
	auto_strbuf map = {0}, list = {0};
	auto_err err = {0}, err2 = {0};

	(void)state;
	for (size_t i = 0; i <= JSON_MEMBERS_MAX; i++)
		strbuf_addf(&map, "k%zu: 1\n", i);
	assert_null(Y(map.s, &err));
	assert_non_null(strstr(err.message, "the map holds too many values"));
	for (size_t i = 0; i < 200000; i++)
		strbuf_adds(&list, "- 1\n");
	assert_null(Y(list.s, &err2));
	assert_non_null(strstr(err2.message, "the document holds too many values"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_strategic),
		cmocka_unit_test(test_strategic_bounded),
		cmocka_unit_test(test_merge),
		cmocka_unit_test(test_json_patch),
		cmocka_unit_test(test_json_patch_bounds),
		cmocka_unit_test(test_three_way),
		cmocka_unit_test(test_label_selector),
		cmocka_unit_test(test_label_selector_errors),
		cmocka_unit_test(test_label_selector_json),
		cmocka_unit_test(test_field_selector),
		cmocka_unit_test(test_rows),
		cmocka_unit_test(test_table),
		cmocka_unit_test(test_duration),
		cmocka_unit_test(test_quantity),
		cmocka_unit_test(test_int_or_percent),
		cmocka_unit_test(test_yaml_scalars),
		cmocka_unit_test(test_yaml_documents),
		cmocka_unit_test(test_yaml_errors),
		cmocka_unit_test(test_yaml_bombs),
		cmocka_unit_test(test_yaml_format),
		cmocka_unit_test(test_yaml_long),
		cmocka_unit_test(test_yaml_bounds),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
