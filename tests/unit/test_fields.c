/* SPDX-License-Identifier: Apache-2.0 */
/* Sets of fields, merging and pruning of server-side apply, against recorded behaviour of
 * Kubernetes. */
#include "json_of.h"
#include <coracle/schema.h>

#define DEPLOYMENT kind_deployment.message

static const char nginx[] =
	"{'metadata':{'labels':{'app':'web'},'finalizers':['a/b']},'spec':{'replicas':2,"
	"'selector':{'matchLabels':{'app':'web'}},'template':{'spec':{'nodeSelector':{'x':'y'},"
	"'containers':[{'name':'c','image':'i','args':['x'],'ports':[{'containerPort':80},"
	"{'containerPort':80,'protocol':'UDP'}]}]}}}}";

static void test_set_of(void **state UNUSED)
{
	json_auto_t *obj = json_of(nginx), *set = fields_of(DEPLOYMENT, obj);

	assert_json(set,
		    "{'f:metadata':{'f:labels':{'f:app':{}},'f:finalizers':{'v:\\'a/b\\'':{}}},"
		    "'f:spec':{'f:replicas':{},'f:selector':{},'f:template':{'f:spec':{"
		    "'f:nodeSelector':{},'f:containers':{'k:{\\'name\\':\\'c\\'}':{'.':{},"
		    "'f:name':{},'f:image':{},'f:args':{},'f:ports':{"
		    "'k:{\\'containerPort\\':80,\\'protocol\\':\\'TCP\\'}':{'.':{},"
		    "'f:containerPort':{}},"
		    "'k:{\\'containerPort\\':80,\\'protocol\\':\\'UDP\\'}':{'.':{},"
		    "'f:containerPort':{},'f:protocol':{}}}}}}}}}");
}

static void test_paths(void **state UNUSED)
{
	json_auto_t *obj = json_of(nginx), *set = fields_of(DEPLOYMENT, obj);
	auto_strv paths = {0};

	fields_paths(set, &paths);
	assert_string_equal(paths.v[0], ".metadata.finalizers[=\"a/b\"]");
	assert_string_equal(paths.v[1], ".metadata.labels.app");
	assert_string_equal(paths.v[2], ".spec.replicas");
	assert_string_equal(paths.v[4], ".spec.template.spec.containers[name=\"c\"]");
	assert_string_equal(paths.v[9],
			    ".spec.template.spec.containers[name=\"c\"].ports[containerPort=80,"
			    "protocol=\"TCP\"].containerPort");
}

static void test_algebra(void **state UNUSED)
{
	json_auto_t *a = json_of("{'f:a':{'.':{},'f:x':{}},'f:b':{},'f:c':{'f:y':{}}}");
	json_auto_t *b = json_of("{'f:a':{},'f:c':{'f:y':{},'f:z':{}}}");
	json_auto_t *u = fields_union(a, b), *d = fields_difference(a, b);
	json_auto_t *i = fields_intersection(a, b), *none = fields_difference(a, a);
	json_auto_t *empty = json_object(), *same = fields_union(empty, a);
	/* What a client may have made up. */
	json_auto_t *junk = json_of("{'.':{},'f:a':7,'x':[],'f:c':{'f:y':null}}");
	json_auto_t *harmless = fields_difference(a, junk), *more = fields_union(junk, a);

	assert_json(u, "{'f:a':{'.':{},'f:x':{}},'f:b':{},'f:c':{'f:y':{},'f:z':{}}}");
	assert_json(d, "{'f:a':{'f:x':{}},'f:b':{}}");
	assert_json(i, "{'f:a':{},'f:c':{'f:y':{}}}");
	assert_json(none, "{}");
	assert_true(json_equal(same, a));
	assert_non_null(json_object_get(harmless, "f:b"));
	assert_non_null(more);
}

static void test_compare(void **state UNUSED)
{
	json_auto_t *empty = json_object(), *obj = json_of(nginx);
	json_auto_t *next =
		json_of("{'metadata':{'labels':{'app':'web','n':'1'}},'spec':{'replicas':3,"
			"'template':{'spec':{'containers':[{'name':'c','image':'i','args':["
			"'y']}]}}}}");
	json_auto_t *set = NULL, *gone = NULL, *again = NULL, *nothing = NULL, *first = NULL,
		    *none = NULL;

	fields_compare(DEPLOYMENT, obj, next, &set, &gone);
	assert_json(set, "{'f:metadata':{'f:labels':{'f:n':{}}},'f:spec':{'f:replicas':{},"
			 "'f:template':{'f:spec':{'f:containers':{'k:{\\'name\\':\\'c\\'}':{"
			 "'f:args':{}}}}}}}");
	assert_json(json_at(gone, "f:metadata"), "{'f:finalizers':{'.':{},'v:\\'a/b\\'':{}}}");
	assert_non_null(json_at(gone, "f:spec.f:selector"));
	fields_compare(DEPLOYMENT, obj, obj, &again, &nothing);
	assert_json(again, "{}");
	assert_json(nothing, "{}");
	/* Structs that are no pointers are always there: they are nobody's. */
	fields_compare(DEPLOYMENT, empty, next, &first, &none);
	assert_json(json_at(first, "f:metadata"), "{'f:labels':{'.':{},'f:app':{},'f:n':{}}}");
	assert_null(json_at(first, "f:spec.."));
	assert_json(json_at(first, "f:spec.f:template.f:spec.f:containers"),
		    "{'k:{\\'name\\':\\'c\\'}':{'.':{},'f:name':{},'f:image':{},'f:args':{}}}");
}

static void test_merge(void **state UNUSED)
{
	json_auto_t *live =
		json_of("{'metadata':{'labels':{'a':'1'},'finalizers':['x/y']},'spec':{"
			"'selector':{'matchLabels':{'a':'1'}},'template':{'spec':{"
			"'containers':[{'name':'side','image':'s'},{'name':'c','image':'old',"
			"'args':['1','2'],'ports':[{'containerPort':80,'protocol':'TCP'}]}]}}}}");
	json_auto_t *applied = json_of(
		"{'metadata':{'labels':{'b':'2'},'finalizers':['a/b']},'spec':{'selector':{"
		"'matchLabels':{'b':'2'}},'template':{'spec':{'containers':[{'name':'c','image':"
		"'new','args':['3'],'ports':[{'containerPort':80,'protocol':'UDP'}]},{'name':"
		"'n','image':'n'}]}}}}");
	json_auto_t *merged = fields_merge(DEPLOYMENT, live, applied);

	assert_json(merged,
		    "{'metadata':{'labels':{'a':'1','b':'2'},'finalizers':['x/y','a/b']},'spec':{"
		    "'selector':{'matchLabels':{'b':'2'}},'template':{'spec':{'containers':[{"
		    "'name':'side','image':'s'},{'name':'c','image':'new','args':['3'],'ports':[{"
		    "'containerPort':80,'protocol':'TCP'},{'containerPort':80,'protocol':'UDP'}]},{"
		    "'name':'n','image':'n'}]}}}}");
}

static void test_prune(void **state UNUSED)
{
	json_auto_t *obj =
		json_of("{'metadata':{'labels':{'a':'1','b':'2'},'annotations':{'x':'y'}},"
			"'spec':{'replicas':1,'strategy':{'type':'Recreate'},'template':{"
			"'spec':{'containers':[{'name':'c','image':'i','imagePullPolicy':'A'},"
			"{'name':'d','image':'i'}]}}}}");
	json_auto_t *last = json_of(
		"{'f:metadata':{'f:labels':{'f:a':{},'f:b':{}},'f:annotations':{'f:x':{}}},"
		"'f:spec':{'f:replicas':{},'f:template':{'f:spec':{'f:containers':{"
		"'k:{\\'name\\':\\'c\\'}':{'.':{},'f:image':{}},"
		"'k:{\\'name\\':\\'d\\'}':{'.':{},'f:image':{}}}}}},'junk':1,'f:status':7}");
	json_auto_t *kept =
		json_of("{'f:metadata':{'f:labels':{'f:b':{}}},'f:spec':{'f:template':{"
			"'f:spec':{'f:containers':{'k:{\\'name\\':\\'d\\'}':{'.':{}}}}}}}");

	fields_prune(DEPLOYMENT, obj, last, kept);
	/* The item goes whole, with the default nobody owns; the struct nobody else has, too. */
	assert_json(obj, "{'metadata':{'labels':{'b':'2'}},'spec':{'strategy':{'type':'Recreate'},"
			 "'template':{'spec':{'containers':[{'name':'d'}]}}}}");
}

static void test_check(void **state UNUSED)
{
	json_auto_t *obj =
		json_of("{'spec':{'template':{'spec':{'containers':[{'name':'c'},{'name':'c',"
			"'ports':[{'containerPort':1},{'containerPort':1,'protocol':'TCP'}]},"
			"{'image':'i'}]}}}}");
	auto_strv problems = {0};

	fields_check(DEPLOYMENT, obj, &problems);
	assert_int_equal(problems.n, 3);
	assert_string_equal(problems.v[0], ".spec.template.spec.containers: duplicate entries for "
					   "key [name=\"c\"]");
	assert_string_equal(problems.v[1],
			    ".spec.template.spec.containers[name=\"c\"].ports: duplicate entries "
			    "for key [containerPort=1,protocol=\"TCP\"]");
	assert_non_null(strstr(problems.v[2], "omits key field \"name\""));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_set_of),	cmocka_unit_test(test_paths),
		cmocka_unit_test(test_algebra), cmocka_unit_test(test_compare),
		cmocka_unit_test(test_merge),	cmocka_unit_test(test_prune),
		cmocka_unit_test(test_check),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
