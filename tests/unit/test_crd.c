/* SPDX-License-Identifier: Apache-2.0 */
/* Custom kinds: definitions, their schemas, their objects, and what a store makes of them. */
#include "json_of.h"
#include "openapi_pieces.h"
#include "store_fixture.h"
#include <sched.h>
#include <sys/mount.h>

/* ---- a source without a store ------------------------------------------------------------ */

static char *source_text;

static bool source(void *arg UNUSED, const char *crd UNUSED, const char **text, size_t *len)
{
	*text = source_text;
	*len = source_text ? strlen(source_text) : 0;
	return source_text != NULL;
}

/* Definition of foos.example.com with this schema of spec in v1 and v1beta1 (stored in v1). */
static json_t *definition(const char *spec_schema)
{
	auto_free char *text = xasprintf(
		"{'apiVersion':'apiextensions.k8s.io/v1','kind':'CustomResourceDefinition',"
		"'metadata':{'name':'foos.example.com','uid':'u1','generation':1},"
		"'spec':{'group':'example.com','scope':'Namespaced',"
		"'names':{'plural':'foos','kind':'Foo','singular':'foo','listKind':'FooList'},"
		"'versions':[{'name':'v1beta1','served':true,'storage':false,'schema':"
		"{'openAPIV3Schema':{'type':'object','properties':{'spec':%s}}}},"
		"{'name':'v1','served':true,'storage':true,'schema':{'openAPIV3Schema':"
		"{'type':'object','properties':{'spec':%s,'status':{'type':'object',"
		"'x-kubernetes-preserve-unknown-fields':true}}}},"
		"'subresources':{'status':{},'scale':{'specReplicasPath':'.spec.n',"
		"'statusReplicasPath':'.status.n'}}}]},"
		"'status':{'conditions':[{'type':'Established','status':'True'}],"
		"'acceptedNames':{'plural':'foos','kind':'Foo','singular':'foo'},"
		"'storedVersions':['v1']}}",
		spec_schema, spec_schema);

	return json_of(text);
}

static const struct kind *define(const char *spec_schema)
{
	json_auto_t *crd = definition(spec_schema);
	auto_err err = {0};
	const struct kind *k;

	custom_source(NULL, NULL);
	free(source_text);
	source_text = json_text(crd, NULL);
	custom_source(source, NULL);
	if (custom_put(crd, NULL, &err) < 0)
		fail_msg("%s", err_message(&err));
	k = kind_find("example.com", "v1", "foos");
	assert_non_null(k);
	return k;
}

static int forget(void **state UNUSED)
{
	custom_source(NULL, NULL);
	free(source_text);
	source_text = NULL;
	return 0;
}

/* A Foo with this spec, decoded and with its defaults. */
static json_t *foo(const struct kind *k, const char *spec, struct strv *warnings)
{
	auto_free char *text = xasprintf("{'apiVersion':'example.com/v1','kind':'Foo','metadata':"
					 "{'name':'x','namespace':'n'},'spec':%s}",
					 spec);
	json_t *obj = json_of(text);
	auto_err err = {0};

	if (schema_check(k->message, "Foo in version \"v1\"", obj, FIELDS_WARN, warnings, &err) < 0)
		fail_msg("%s", err_message(&err));
	schema_default(k, obj, NULL);
	return obj;
}

static void expect_spec(const struct kind *k, const char *given, const char *wanted)
{
	json_auto_t *obj = foo(k, given, NULL), *want = json_of(wanted);
	auto_free char *got = json_text(json_object_get(obj, "spec"), NULL);

	if (!json_equal(json_object_get(obj, "spec"), want))
		fail_msg("%s became %s", given, got);
}

/* The message of the first problem, "" for none. */
static void expect_error(const struct kind *k, const char *spec, const char *wanted)
{
	json_auto_t *obj = foo(k, spec, NULL);
	auto_err err = {0};
	auto_strbuf got = {0};
	int r = schema_validate(k, obj, NULL, &err);

	for (size_t i = 0; r < 0 && i < err.n_causes; i++)
		strbuf_addf(&got, "%s%s: %s", i ? "; " : "", err.causes[i].field,
			    err.causes[i].message);
	if (!streq(got.s ? got.s : "", wanted))
		fail_msg("%s: got %s, want %s", spec, got.s ? got.s : "", wanted);
}

/* ---- definitions ------------------------------------------------------------------------- */

static void finds_kinds(void **state UNUSED)
{
	const struct kind *k = define("{'type':'object'}"), *old;
	struct scale_paths scale;

	old = kind_find("example.com", "v1beta1", "foos");
	assert_non_null(old);
	assert_ptr_equal(kind_storage(old), k);
	assert_true(kind_same(old, k));
	assert_ptr_equal(kind_by_name("example.com/v1", "Foo"), k);
	assert_ptr_equal(kind_by_word("foos.example.com"), k);
	assert_ptr_equal(kind_at(k->index), k);
	assert_true(k->index >= n_schema_kinds && k->index < kind_count());
	assert_true(k->has_status);
	assert_false(old->has_status);
	assert_true(custom_scale(k, &scale));
	assert_string_equal(scale.spec, ".spec.n");
	assert_false(custom_scale(old, &scale));
	custom_del("foos.example.com");
	assert_null(kind_find("example.com", "v1", "foos"));
	assert_null(kind_at(k->index));
}

static void keeps_what_is_referred_to(void **state UNUSED)
{
	const struct kind *k = kind_ref(define("{'type':'object'}"));
	json_auto_t *crd = definition("{'type':'object'}"), *empty = json_object();
	uint16_t index = k->index;
	auto_err err = {0};

	custom_del("foos.example.com");
	assert_false(kind_is_served(k));
	assert_string_equal(k->plural, "foos");
	assert_int_equal(custom_put(crd, NULL, &err), 0);
	/* the same kind comes back at the same place */
	assert_ptr_equal(kind_find("example.com", "v1", "foos"), k);
	assert_int_equal(k->index, index);
	kind_unref(k);
	/* what cannot be understood changes nothing */
	assert_true(custom_put(empty, NULL, &err) < 0);
	assert_non_null(err.message);
}

static void is_served_when_established(void **state UNUSED)
{
	json_auto_t *crd = NULL;
	auto_err err = {0};

	define("{'type':'object'}");
	crd = definition("{'type':'object'}");
	json_put(crd, "status.conditions", json_array());
	assert_int_equal(custom_put(crd, NULL, &err), 0);
	assert_null(kind_find("example.com", "v1", "foos"));
	assert_non_null(kind_known("example.com/v1", "Foo"));
}

static void reads_heads(void **state UNUSED)
{
	json_auto_t *crd = definition("{'type':'object','properties':{'openAPIV3Schema':{'type':"
				      "'string','description':'a \\'quoted\\' } ]'}}}"),
		    *head = NULL;
	auto_free char *text = NULL;

	json_put(crd, "metadata.managedFields", json_of("[{'fieldsV1':{'f:spec':{}}}]"));
	text = json_text(crd, NULL);
	head = custom_head(text, strlen(text));
	assert_non_null(head);
	assert_string_equal(json_str(head, "spec.names.kind", ""), "Foo");
	assert_int_equal(json_len(head, "spec.versions"), 2);
	assert_int_equal(json_len(head, "metadata.managedFields"), 0);
	assert_true(strstr(text, "quoted") != NULL);
	auto_free char *small = json_text(head, NULL);
	assert_null(strstr(small, "quoted"));
	for (size_t cut = 0; cut < strlen(text); cut += 7) {
		auto_free char *part = xstrndup(text, cut);
		json_t *any = custom_head(part, cut);

		json_decref(any);
	}
}

static void orders_versions(void **state UNUSED)
{
	static const char *const names[] = {"v1alpha1", "foo", "v2", "v11beta2", "v1", "v10"};
	static const char *const sorted[] = {"v10", "v2", "v1", "v11beta2", "v1alpha1", "foo"};
	json_auto_t *crd = definition("{'type':'object'}"), *group = NULL;
	json_t *versions = json_array();
	auto_err err = {0};

	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		json_array_append_new(versions, json_pack("{s:s, s:b, s:b}", "name", names[i],
							  "served", 1, "storage", i == 0));
	json_put(crd, "spec.versions", versions);
	assert_int_equal(custom_put(crd, NULL, &err), 0);
	group = discovery_group("example.com");
	for (size_t i = 0; i < ARRAY_SIZE(sorted); i++)
		assert_string_equal(json_str(json_array_get(json_object_get(group, "versions"), i),
					     "version", ""),
				    sorted[i]);
}

static void expect_crd_error(const char *spec_schema, const char *wanted)
{
	json_auto_t *crd = definition(spec_schema);
	auto_err err = {0};

	json_drop(crd, "status");
	schema_default(&kind_customresourcedefinition, crd, NULL);
	if (schema_validate(&kind_customresourcedefinition, crd, NULL, &err) == 0)
		fail_msg("%s is accepted", spec_schema);
	if (!strstr(err_message(&err), wanted))
		fail_msg("%s: %s", spec_schema, err_message(&err));
}

static void refuses_schemas(void **state UNUSED)
{
	expect_crd_error("{}",
			 "[spec].type: Required value: must not be empty for specified object");
	expect_crd_error("{'type':'thing'}", "Unsupported value: \"thing\"");
	expect_crd_error("{'type':'array'}", ".items: Required value: must be specified");
	expect_crd_error("{'type':'object','$ref':'x'}", "$ref: Forbidden");
	expect_crd_error("{'type':'object','additionalProperties':false}",
			 "additionalProperties cannot be set to false");
	expect_crd_error("{'type':'object','properties':{'a':{'type':'string'}},"
			 "'additionalProperties':{'type':'string'}}",
			 "mutual exclusive");
	expect_crd_error("{'type':'string','pattern':'('}", "must be a valid regular expression");
	expect_crd_error("{'type':'object','anyOf':[{'type':'object'}]}",
			 "anyOf[0].type: Forbidden: must be empty to be structural");
	expect_crd_error(
		"{'type':'array','items':{'type':'object'},'x-kubernetes-list-type':'map'}",
		"x-kubernetes-list-map-keys: Required value");
	expect_crd_error("{'type':'integer','minimum':3,'default':1}",
			 "should be greater than or equal to 3");
	expect_crd_error("{'type':'object','x-kubernetes-preserve-unknown-fields':false}",
			 "must be true or undefined");
	expect_crd_error("{'type':'array','items':{}}",
			 "items.type: Required value: must not be empty for specified array items");
	expect_crd_error("{'type':'array','items':{'type':'object','required':['k'],'properties':"
			 "{'k':{'type':'string'}}},'x-kubernetes-list-type':'map',"
			 "'x-kubernetes-list-map-keys':['k','k']}",
			 "must not contain duplicate entries");
	expect_crd_error("{'type':'object','properties':{'b':{'type':'string'}},'default':{'c':1}}",
			 "default: Invalid value: {\"c\":1}: must not have unknown fields");
	expect_crd_error("{'type':'string','not':{'nullable':true}}",
			 "not.nullable: Forbidden: must be false to be structural");
	expect_crd_error("{'type':'object','properties':{'a':{'type':'string'}},"
			 "'anyOf':[{'properties':{'b':{'pattern':'x'}}}]}",
			 "properties[b]: Required value: because it is defined in ");
}

/* What only the whole object may not have. */
static void refuses_roots(void **state UNUSED)
{
	static const char *const bad[][2] = {
		{"{'additionalProperties':{'type':'string'}}",
		 "openAPIV3Schema.additionalProperties: Forbidden: must not be used at the root"},
		{"{'nullable':true}",
		 "openAPIV3Schema.nullable: Forbidden: nullable cannot be true at the root"},
		{"{'default':{}}", "openAPIV3Schema.default.kind: Required value"},
		{"{'properties':{'metadata':{'type':'object','properties':{'name':{'type':"
		 "'string','default':'x'}}}}}",
		 "default: Forbidden: must not be set in top-level metadata"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		json_auto_t *crd = definition("{'type':'string'}"), *more = json_of(bad[i][0]);
		auto_err err = {0};
		json_t *version = json_array_get(json_at(crd, "spec.versions"), 0);

		json_object_update_recursive(json_at(version, "schema.openAPIV3Schema"), more);
		json_drop(crd, "status");
		schema_default(&kind_customresourcedefinition, crd, NULL);
		assert_true(schema_validate(&kind_customresourcedefinition, crd, NULL, &err) < 0);
		if (!strstr(err_message(&err), bad[i][1]))
			fail_msg("%s: %s", bad[i][0], err_message(&err));
	}
}

/* ---- rules in CEL ------------------------------------------------------------------------ */

/* Errors of a change from one spec to another ("" old: a new object). */
static void expect_rules(const struct kind *k, const char *old, const char *now, const char *wanted)
{
	json_auto_t *before = *old ? foo(k, old, NULL) : NULL, *obj = foo(k, now, NULL);
	auto_err err = {0};
	auto_strbuf got = {0};
	int r = schema_validate(k, obj, before, &err);

	for (size_t i = 0; r < 0 && i < err.n_causes; i++)
		strbuf_addf(&got, "%s%s: %s", i ? "; " : "", err.causes[i].field,
			    err.causes[i].message);
	if (!streq(got.s ? got.s : "", wanted))
		fail_msg("%s: got %s, want %s", now, got.s ? got.s : "", wanted);
}

static void runs_rules(void **state UNUSED)
{
	const struct kind *k = define(
		"{'type':'object','x-kubernetes-validations':["
		"{'rule':'self.min <= self.max','messageExpression':"
		"'string(self.min) + r\\\" above \\\" + string(self.max)'},"
		"{'rule':'!has(self.a__dash__b) || self.a__dash__b != 0','reason':"
		"'FieldValueForbidden','fieldPath':'.min','message':'not zero'},"
		"{'rule':'!has(oldSelf.fixed) || self.fixed == oldSelf.fixed','message':"
		"'fixed is fixed'},"
		"{'rule':'oldSelf.hasValue() || self.min < 50','optionalOldSelf':true,'message':"
		"'starts small'}],"
		"'properties':{'min':{'type':'integer'},'max':{'type':'integer'},"
		"'a-b':{'type':'integer'},'fixed':{'type':'string'},"
		"'port':{'x-kubernetes-int-or-string':true,'x-kubernetes-validations':["
		"{'rule':'type(self) == string || self < 10'}]},"
		"'when':{'type':'string','format':'date-time','x-kubernetes-validations':["
		"{'rule':'self.getFullYear() > 2000'}]},"
		"'list':{'type':'array','x-kubernetes-list-type':'map','x-kubernetes-list-map-keys'"
		":"
		"['n'],'items':{'type':'object','required':['n'],'properties':{'n':{'type':"
		"'string'},'v':{'type':'integer'}},'x-kubernetes-validations':[{'rule':"
		"'self.v >= oldSelf.v','message':'only grows'}]}},"
		"'map':{'type':'object','additionalProperties':{'type':'string',"
		"'x-kubernetes-validations':[{'rule':'self.size() < 4'}]}}}}");

	expect_rules(k, "", "{'min':1,'max':2}", "");
	expect_rules(k, "", "{'min':3,'max':2}", "spec: Invalid value: \"object\": 3 above 2");
	expect_rules(k, "", "{'min':1,'max':2,'a-b':0}", "spec.min: Forbidden: not zero");
	expect_rules(k, "", "{'min':60,'max':70}", "spec: Invalid value: \"object\": starts small");
	expect_rules(k, "{'min':1,'max':2}", "{'min':60,'max':70}", "");
	expect_rules(k, "", "{'min':1}",
		     "spec: Invalid value: \"object\": no such key: max evaluating rule: self.min "
		     "<= self.max");
	expect_rules(k, "{'min':1,'max':2,'fixed':'a'}", "{'min':1,'max':2,'fixed':'b'}",
		     "spec: Invalid value: \"object\": fixed is fixed");
	/* what was wrong before and is the same may stay */
	expect_rules(k, "{'min':3,'max':2}", "{'min':3,'max':2}", "");
	expect_rules(k, "{'min':3,'max':2}", "{'min':4,'max':2}",
		     "spec: Invalid value: \"object\": 4 above 2");
	expect_rules(k, "", "{'min':1,'max':2,'port':12}",
		     "spec.port: Invalid value: \"\": failed rule: type(self) == string || self < "
		     "10");
	expect_rules(k, "", "{'min':1,'max':2,'port':'x'}", "");
	expect_rules(
		k, "", "{'min':1,'max':2,'when':'1999-01-02T03:04:05Z'}",
		"spec.when: Invalid value: \"string\": failed rule: self.getFullYear() > 2000");
	expect_rules(k, "{'min':1,'max':2,'list':[{'n':'a','v':2},{'n':'b','v':5}]}",
		     "{'min':1,'max':2,'list':[{'n':'b','v':4},{'n':'a','v':2}]}",
		     "spec.list[0]: Invalid value: \"object\": only grows");
	expect_rules(k, "", "{'min':1,'max':2,'map':{'x':'long text'}}",
		     "spec.map[x]: Invalid value: \"string\": failed rule: self.size() < 4");
	expect_rules(k, "", "{'min':'x','max':2}",
		     "spec.min: Invalid value: \"string\": spec.min in body must be of type "
		     "integer: \"string\"; <nil>: Invalid value: \"null\": some validation rules "
		     "were not checked because the object was invalid; correct the existing errors "
		     "to complete validation");
}

static void ends_rules_in_time(void **state UNUSED)
{
	const struct kind *k =
		define("{'type':'object','properties':{'l':{'type':'array','items':{'type':"
		       "'integer'},'x-kubernetes-validations':[{'rule':'self.all(a, self.all(b, "
		       "self.all(c, a + b + c >= 0)))'},{'rule':'false'}]}}}");
	auto_strbuf spec = {0};

	strbuf_adds(&spec, "{'l':[1");
	for (int i = 0; i < 400; i++)
		strbuf_adds(&spec, ",1");
	strbuf_adds(&spec, "]}");
	expect_rules(k, "", spec.s,
		     "spec.l: Invalid value: \"array\": 'operation cancelled: actual cost limit "
		     "exceeded': no further validation rules will be run due to call cost exceeds "
		     "limit for rule: self.all(a, self.all(b, self.all(c, a + b + c >= 0)))");
}

static void refuses_rules(void **state UNUSED)
{
#define RULE "spec.versions[0].schema.openAPIV3Schema.properties[spec].x-kubernetes-validations[0]"
	static const struct {
		const char *schema, *field, *message;
	} cases[] = {
		{"'x-kubernetes-validations':[{'rule':'self.foo'}]", RULE ".rule",
		 "Invalid value: apiextensions.ValidationRule{Rule:\"self.foo\", Message:\"\", "
		 "MessageExpression:\"\", Reason:(*apiextensions.FieldValueErrorReason)(nil), "
		 "FieldPath:\"\", OptionalOldSelf:(*bool)(nil)}: compilation failed: ERROR: "
		 "<input>:1:5: undefined field 'foo'\n | self.foo\n | ....^"},
		{"'x-kubernetes-validations':[{'rule':'self.n'}]", RULE ".rule",
		 "cel expression must evaluate to a bool"},
		{"'x-kubernetes-validations':[{'rule':'self.n == \\\"a\\\"'}]", RULE ".rule",
		 "found no matching overload for '_==_' applied to '(int, string)'"},
		{"'x-kubernetes-validations':[{'rule':' '}]", RULE ".rule",
		 "Required value: rule is not specified"},
		{"'x-kubernetes-validations':[{'rule':'true','message':' '}]", RULE ".message",
		 "Invalid value: \" \": message must be non-empty if specified"},
		{"'x-kubernetes-validations':[{'rule':'true','messageExpression':'1'}]",
		 RULE ".messageExpression", "messageExpression must evaluate to a string"},
		{"'x-kubernetes-validations':[{'rule':'true','reason':'Nonsense'}]", RULE ".reason",
		 "Unsupported value: \"Nonsense\": supported values: \"FieldValueDuplicate\", "
		 "\"FieldValueForbidden\", \"FieldValueInvalid\", \"FieldValueRequired\""},
		{"'x-kubernetes-validations':[{'rule':'true','fieldPath':'.m'}]", RULE ".fieldPath",
		 "Invalid value: \".m\": fieldPath must be a valid path"},
		{"'x-kubernetes-validations':[{'rule':'true','optionalOldSelf':true}]",
		 RULE ".optionalOldSelf",
		 "Invalid value: true: must not be set when oldSelf is not used in rule"},
	};

	define("{'type':'object'}");
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		auto_free char *schema = xasprintf("{'type':'object','properties':{'n':{'type':"
						   "'integer'}},%s}",
						   cases[i].schema);
		json_auto_t *crd = definition(schema);
		auto_err err = {0};

		if (schema_validate(&kind_customresourcedefinition, crd, NULL, &err) == 0)
			fail_msg("%s is taken", cases[i].schema);
		if (!streq(err.causes[0].field, cases[i].field) ||
		    !strstr(err.causes[0].message, cases[i].message))
			fail_msg("%s: %s: %s", cases[i].schema, err.causes[0].field,
				 err.causes[0].message);
	}
	/* what no object could pass in time */
	json_auto_t *expensive = definition(
		"{'type':'object','properties':{'x':{'type':'array','items':{'type':'array',"
		"'items':{'type':'string'},'x-kubernetes-validations':[{'rule':'self.all(s, s == "
		"\\\"a\\\")'}]}}}}");
	json_auto_t *bounded = definition(
		"{'type':'object','properties':{'x':{'type':'array','maxItems':100,'items':{"
		"'type':'array','maxItems':1000,'items':{'type':'string'},"
		"'x-kubernetes-validations':[{'rule':'self.all(s, s == \\\"a\\\")'}]}}}}");
	auto_err cost = {0};

	assert_true(schema_validate(&kind_customresourcedefinition, expensive, NULL, &cost) < 0);
	assert_non_null(strstr(err_message(&cost),
			       "items.x-kubernetes-validations[0].rule: Forbidden: estimated rule "
			       "cost exceeds budget by factor of more than 100x (try simplifying"));
	err_done(&cost);
	cost = (struct err){0};
	schema_default(&kind_customresourcedefinition, bounded, NULL);
	if (schema_validate(&kind_customresourcedefinition, bounded, NULL, &cost) < 0)
		fail_msg("%s", err_message(&cost));
	/* a default has to obey, too */
	json_auto_t *bad_default =
		definition("{'type':'object','properties':{'n':{'type':'integer','default':1,"
			   "'x-kubernetes-validations':[{'rule':'self > 1'}]}}}");
	auto_err why = {0};

	assert_true(schema_validate(&kind_customresourcedefinition, bad_default, NULL, &why) < 0);
	assert_non_null(strstr(err_message(&why),
			       "properties[spec].properties[n].default: Invalid value: "
			       "\"integer\": failed rule: self > 1"));
	/* oldSelf is nothing in a list whose items have no names */
	json_auto_t *crd = definition("{'type':'object','properties':{'l':{'type':'array','items':{"
				      "'type':'string','x-kubernetes-validations':[{'rule':"
				      "'self == oldSelf'}]}}}}");
	auto_err err = {0};

	assert_true(schema_validate(&kind_customresourcedefinition, crd, NULL, &err) < 0);
	assert_non_null(strstr(err_message(&err),
			       "oldSelf cannot be used on the uncorrelatable portion of the schema "
			       "within spec.versions[0].schema.openAPIV3Schema.properties[spec]."
			       "properties[l]"));
}

/* ---- objects ----------------------------------------------------------------------------- */

static void prunes_and_defaults(void **state UNUSED)
{
	const struct kind *k = define(
		"{'type':'object','properties':{'a':{'type':'string'},"
		"'d':{'type':'integer','default':5},"
		"'n':{'type':'string','nullable':true,'default':'x'},"
		"'m':{'type':'object','additionalProperties':{'type':'object','properties':"
		"{'v':{'type':'boolean','default':true}}}},"
		"'l':{'type':'array','items':{'type':'object','properties':{'i':{'type':'integer',"
		"'default':1}}}},"
		"'o':{'type':'object','default':{},'properties':{'p':{'type':'string','default':'q'"
		"}}},"
		"'f':{'type':'object','x-kubernetes-preserve-unknown-fields':true,'properties':"
		"{'k':{'type':'object'}}}}}");
	auto_strv warnings = {0};

	expect_spec(k, "{'a':'1','b':2}", "{'a':'1','d':5,'n':'x','o':{'p':'q'}}");
	expect_spec(k, "{'d':null,'n':null,'a':null}", "{'d':5,'n':null,'o':{'p':'q'}}");
	expect_spec(k, "{'m':{'x':{'w':1},'y':{}},'n':'n','d':1}",
		    "{'m':{'x':{'v':true},'y':{'v':true}},'n':'n','d':1,'o':{'p':'q'}}");
	expect_spec(k, "{'l':[{},{'i':2,'j':3}],'n':'n','d':1}",
		    "{'l':[{'i':1},{'i':2}],'n':'n','d':1,'o':{'p':'q'}}");
	expect_spec(k, "{'f':{'any':[{'x':1}],'k':{'gone':1}},'n':'n','d':1}",
		    "{'f':{'any':[{'x':1}],'k':{}},'n':'n','d':1,'o':{'p':'q'}}");
	json_auto_t *obj = foo(k, "{'l':[{'j':1}],'m':{'x':{'w':1}},'z':1}", &warnings);
	assert_non_null(obj);
	assert_int_equal(warnings.n, 3);
	assert_true(strv_has(&warnings, "unknown field \"spec.l[0].j\""));
	assert_true(strv_has(&warnings, "unknown field \"spec.m.x.w\""));
	assert_true(strv_has(&warnings, "unknown field \"spec.z\""));
}

static void validates(void **state UNUSED)
{
	const struct kind *k = define(
		"{'type':'object','required':['a'],'properties':{'a':{'type':'integer','minimum':1,"
		"'maximum':5,'exclusiveMaximum':true,'multipleOf':2},"
		"'b':{'type':'boolean'},'u':{'type':'number','enum':[1,2.5]},"
		"'s':{'type':'string','minLength':2,'pattern':'^[a-z]+$','format':'ipv4'},"
		"'t':{'type':'array','minItems':1,'maxItems':2,'items':{'type':'string'}},"
		"'o':{'type':'object','minProperties':1,'maxProperties':2,'additionalProperties':"
		"{'type':'string'}},'q':{'type':'object','not':{'required':['x']},'anyOf':[{'"
		"required':"
		"['x']},{'required':['y']}],'properties':{'x':{'type':'string'},'y':{'type':'"
		"string'}}},"
		"'w':{'type':'string','pattern':'^(a+)+$'}}}");
	auto_strbuf evil = {0};

	expect_error(k, "{'a':2}", "");
	expect_error(k, "{'a':2.0,'u':1.0}", "");
	expect_error(k, "{}", "spec.a: Required value");
	expect_error(
		k, "{'a':1.5}",
		"spec.a: Invalid value: \"number\": spec.a in body must be of type integer: "
		"\"number\"; spec.a: Invalid value: 1.5: spec.a in body should be a multiple of 2");
	expect_error(k, "{'a':6}",
		     "spec.a: Invalid value: 6: spec.a in body should be less than 5");
	expect_error(k, "{'a':2,'b':'x'}",
		     "spec.b: Invalid value: \"string\": spec.b in body must be of type boolean: "
		     "\"string\"");
	expect_error(k, "{'a':2,'u':3}",
		     "spec.u: Unsupported value: 3: supported values: \"1\", \"2.5\"");
	expect_error(k, "{'a':2,'t':[]}",
		     "spec.t: Invalid value: 0: spec.t in body should have at least 1 items");
	expect_error(k, "{'a':2,'t':['1','2','3']}",
		     "spec.t: Too many: 3: must have at most 2 items");
	expect_error(k, "{'a':2,'t':[1]}",
		     "spec.t[0]: Invalid value: \"integer\": spec.t[0] in body must be of type "
		     "string: \"integer\"");
	expect_error(k, "{'a':2,'o':{}}",
		     "spec.o: Invalid value: 0: spec.o in body should have at least 1 properties");
	expect_error(k, "{'a':2,'q':{'x':'1'}}",
		     "<nil>: Invalid value: \"\": \"spec.q\" must not validate the schema (not)");
	expect_error(k, "{'a':2,'q':{}}",
		     "<nil>: Invalid value: \"\": \"spec.q\" must validate at least one schema "
		     "(anyOf); spec.q.x: Required value");
	/* a pattern that backtracks for ever ends soon, as not matching */
	strbuf_adds(&evil, "{'a':2,'w':'");
	for (int i = 0; i < 200; i++)
		strbuf_addc(&evil, 'a');
	strbuf_adds(&evil, "!'}");
	json_auto_t *obj = foo(k, evil.s, NULL);
	auto_err err = {0};
	assert_true(schema_validate(k, obj, NULL, &err) < 0);
}

/* The metadata's rules are those of every kind. */
static void checks_metadata(void **state UNUSED)
{
	static const struct {
		const char *meta, *wanted;
	} bad[] = {
		{"{'labels':{'a':'!!'}}", "metadata.labels: Invalid value: \"!!\": a valid label"},
		{"{'ownerReferences':[{'apiVersion':'v1','kind':'Pod','name':'p'}]}",
		 "metadata.ownerReferences.uid: Required value"},
		{"{'finalizers':['not mine']}", "metadata.finalizers: Invalid value: \"not mine\""},
	};
	const struct kind *k = define("{'type':'object'}");
	json_auto_t *good = foo(k, "{}", NULL);
	auto_err none = {0};

	/* Kubernetes' own objects want a domain before it */
	json_put(json_object_get(good, "metadata"), "finalizers", json_pack("[s]", "mine"));
	if (schema_validate(k, good, NULL, &none) < 0)
		fail_msg("%s", err_message(&none));

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		json_auto_t *obj = foo(k, "{}", NULL), *more = json_of(bad[i].meta);
		auto_err err = {0};

		json_object_update(json_object_get(obj, "metadata"), more);
		assert_true(schema_validate(k, obj, NULL, &err) < 0);
		if (!strstr(err_message(&err), bad[i].wanted))
			fail_msg("%s: %s", bad[i].meta, err_message(&err));
	}
}

static void checks_replicas(void **state UNUSED)
{
	const struct kind *k = define("{'type':'object','properties':{'n':{'type':'integer'}}}");

	expect_error(k, "{'n':-1}", ".spec.n: Invalid value: -1: should be a non-negative integer");
	expect_error(k, "{'n':2147483648}",
		     ".spec.n: Invalid value: 2147483648: should be less than or equal to "
		     "2147483647");
}

static void reads_patterns_as_go(void **state UNUSED)
{
	static const struct {
		const char *pattern, *good, *bad;
	} table[] = {
		{"^[\\\\w-.]+$", "a-b.c", "a b"},
		{"^[a-z-_]+$", "a-_", "A"},
		{"^[[:alpha:]-x]+$", "a-b", "1"},
		{"^[]a]+$", "]a", "b"},
		{"^[^]a]+$", "b", "]"},
		{"^[\\\\d-\\\\w]$", "-", "."},
		{"^(?P<n>[+-]?\\\\d+)$", "-12", "x"},
		{"^[\\\\p{L}-9]+$", "a-9", "8"},
		{"^a$", "a", "a\\n"},
		{"^(?i)on$", "ON", "off"},
		{"^\\\\[x$", "[x", "x"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
		auto_free char *schema = xasprintf(
			"{'type':'object','properties':{'s':{'type':'string','pattern':'%s'}}}",
			table[i].pattern);
		auto_free char *good = xasprintf("{'s':'%s'}", table[i].good);
		auto_free char *bad = xasprintf("{'s':'%s'}", table[i].bad);
		const struct kind *k = define(schema);

		expect_error(k, good, "");
		json_auto_t *obj = foo(k, bad, NULL);
		auto_err err = {0};
		if (schema_validate(k, obj, NULL, &err) == 0)
			fail_msg("%s matches %s", table[i].pattern, table[i].bad);
	}
}

/* However many there are, the loop is not held up for long. */
static void ends_in_time(void **state UNUSED)
{
	const struct kind *k = define(
		"{'type':'object','properties':{'l':{'type':'array','items':{'type':'string',"
		"'pattern':'^(a+)+$'}},'m':{'type':'object','additionalProperties':{'anyOf':["
		"{'anyOf':[{'minimum':1},{'minimum':2}]},{'anyOf':[{'minimum':3}]}],"
		"'type':'integer'}}}}");
	json_auto_t *obj = foo(k, "{}", NULL);
	json_t *list = json_arr(obj, "spec.l"), *map = json_obj(obj, "spec.m");
	mono_t start = mono_now();
	auto_err err = {0};

	for (int i = 0; i < 5000; i++) {
		char key[16];

		snprintf(key, sizeof(key), "k%d", i);
		json_array_append_new(list, json_string("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa!"));
		json_object_set_new(map, key, json_integer(0));
	}
	assert_true(schema_validate(k, obj, NULL, &err) < 0);
	assert_true(mono_sub(mono_now(), start) < 5 * USEC_PER_SEC);
}

/* What was wrong before and has not been touched is let pass. */
static void ratchets(void **state UNUSED)
{
	const struct kind *k =
		define("{'type':'object','properties':{'a':{'type':'integer'},"
		       "'l':{'type':'array','x-kubernetes-list-type':'map',"
		       "'x-kubernetes-list-map-keys':['k'],'items':{'type':'object',"
		       "'properties':{'k':{'type':'string'},'v':{'type':'integer'}}}}}}");
	json_auto_t *old = foo(k, "{'a':'bad','l':[{'k':'x','v':'bad'}]}", NULL);
	json_auto_t *now = foo(k, "{'a':'bad','l':[{'k':'y','v':1},{'k':'x','v':'bad'}]}", NULL);
	json_auto_t *worse = foo(k, "{'a':'worse','l':[{'k':'x','v':'worse'}]}", NULL);
	auto_err err = {0};

	assert_int_equal(schema_validate(k, now, old, &err), 0);
	assert_true(schema_validate(k, worse, old, &err) < 0);
	assert_int_equal(err.n_causes, 2);
}

static void checks_formats(void **state UNUSED)
{
	static const struct {
		const char *format, *good, *bad;
	} table[] = {
		{"date", "2024-02-29", "2023-02-29"},
		{"date-time", "2024-01-02T03:04:05Z", "2024-01-02"},
		{"duration", "1h30m", "1x"},
		{"ipv4", "10.0.0.1", "10.0.0.256"},
		{"ipv6", "fe80::1", "10.0.0.1"},
		{"cidr", "10.0.0.0/8", "10.0.0.0/33"},
		{"mac", "00:11:22:aa:bb:cc", "00:11:22"},
		{"uuid", "a8098c1a-f86e-11da-bd1a-00112444be1e", "a8098c1a"},
		{"uuid4", "3b241101-e2bb-4255-8caf-4136c566a962",
		 "3b241101-e2bb-1255-8caf-4136c566a962"},
		{"byte", "aGk=", "a"},
		{"uri", "https://x.example/y", "no uri"},
		{"hostname", "a-b.example", "a_b"},
		{"email", "a@b.example", "a@"},
		{"hexcolor", "#aabbcc", "#ggg"},
		{"unheard-of", "anything", NULL},
	};

	for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
		auto_free char *schema = xasprintf(
			"{'type':'object','properties':{'s':{'type':'string','format':'%s'}}}",
			table[i].format);
		auto_free char *good = xasprintf("{'s':'%s'}", table[i].good);
		auto_free char *bad = xasprintf("{'s':'%s'}", table[i].bad ? table[i].bad : "");
		const struct kind *k = define(schema);

		expect_error(k, good, "");
		json_auto_t *obj = foo(k, bad, NULL);
		auto_err err = {0};
		if (table[i].bad && schema_validate(k, obj, NULL, &err) == 0)
			fail_msg("%s: %s is accepted", table[i].format, table[i].bad);
	}
}

static void follows_paths(void **state UNUSED)
{
	json_auto_t *v =
		json_of("{'a':{'b.c':{'d':1},'l':[{'t':'x','s':'1'},{'t':'Ready','s':'2'}]},"
			"'e':null,'n':3}");
	static const struct {
		const char *path, *value;
	} table[] = {
		{".n", "3"},
		{".a['b.c'].d", "1"},
		{".a.b\\.c.d", "1"},
		{".a.l[0].s", "\"1\""},
		{".a.l[-1].s", "\"2\""},
		{".a.l[*].s", "\"1\""},
		{".a.l[?(@.t==\"Ready\")].s", "\"2\""},
		{".a.l[?(@.t == 'Ready')].s", "\"2\""},
		{".a.l[?(@.t!='x')].s", "\"2\""},
		{".a.l[?(@.s)].t", "\"x\""},
		{".a.l[7].s", NULL},
		{".a.x.y", NULL},
		{".n.x", NULL},
		{".a.l[?(", NULL},
		{"", "whole"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
		json_t *got = json_path_get(v, table[i].path);
		auto_free char *text = got ? json_dumps(got, JSON_ENCODE_ANY) : NULL;

		if (str_eq(table[i].value, "whole"))
			assert_ptr_equal(got, v);
		else if (!str_eq(text, table[i].value))
			fail_msg("%s: %s", table[i].path, text ? text : "nothing");
	}
	json_path_set(v, ".new.deep.x", json_integer(7));
	assert_int_equal(json_int(v, "new.deep.x", 0), 7);
	json_path_set(v, ".a.l[0]", json_integer(7)); /* not a simple path: nothing happens */
	assert_int_equal(json_len(v, "a.l"), 2);
}

static void describes_itself(void **state UNUSED)
{
	json_auto_t *index = NULL, *doc = NULL;

	define("{'type':'object','properties':{'p':{'x-kubernetes-int-or-string':true,'anyOf':["
	       "{'type':'integer'},{'type':'string'}]}}}");
	index = openapi_v3_index();
	assert_non_null(json_object_get(json_object_get(index, "paths"), "apis/example.com/v1"));
	doc = document_of(openapi_v3("apis/example.com/v1"));
	json_t *schema = json_object_get(json_at(doc, "components.schemas"), "com.example.v1.Foo");
	assert_non_null(json_at(schema, "properties.metadata"));
	assert_int_equal(json_len(schema, "properties.spec.properties.p.anyOf"), 2);
	json_auto_t *swagger = document_of(openapi_v2(false));
	schema = json_object_get(json_object_get(swagger, "definitions"), "com.example.v1.Foo");
	assert_non_null(json_at(schema, "properties.spec.properties.p"));
	assert_null(json_at(schema, "properties.spec.properties.p.anyOf"));
}

/* A path of keys and indexes that may have dots nowhere; NULL: not there. */
static json_t *value_at(json_t *v, const char *path)
{
	auto_strv parts = {0};

	strv_split(&parts, path, '.');
	for (size_t i = 0; i < parts.n; i++)
		v = json_is_array(v) ? json_array_get(v, (size_t)atoi(parts.v[i]))
				     : json_object_get(v, parts.v[i]);
	return v;
}

/* What kubectl's validation by Swagger 2.0 would refuse wrongly is not said there. */
static void simplifies_for_swagger(void **state UNUSED)
{
	static const struct {
		const char *path, *want; /* NULL: not there */
	} table[] = {
		{"properties.open.type", NULL},
		{"properties.open.properties", NULL},
		{"properties.open.description", "any"},
		{"properties.null.type", NULL},
		{"properties.null.properties", NULL},
		{"properties.bare.type", NULL},
		{"properties.inner.required.0", "kind"},
		{"properties.inner.properties.metadata.$ref",
		 "#/definitions/io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"},
		{"properties.free.properties", NULL},
		{"properties.plain.default", NULL},
		{"properties.plain.pattern", "^a"},
		{"required.0", "plain"},
		{"required.1", NULL},
	};
	json_auto_t *doc = NULL;
	json_t *spec;

	define("{'type':'object','required':['null','plain'],'properties':{"
	       "'open':{'type':'object','description':'any','properties':{'a':{'type':'string'}},"
	       "'x-kubernetes-preserve-unknown-fields':true},"
	       "'null':{'type':'object','nullable':true,'properties':{'a':{'type':'string'}}},"
	       "'bare':{'type':'array','x-kubernetes-preserve-unknown-fields':true,"
	       "'items':{'type':'string'}},"
	       "'inner':{'type':'object','x-kubernetes-embedded-resource':true},"
	       "'free':{'type':'object','x-kubernetes-embedded-resource':true,"
	       "'x-kubernetes-preserve-unknown-fields':true},"
	       "'plain':{'type':'string','pattern':'^a','default':'ab'}}}");
	doc = document_of(openapi_v2(false));
	spec = json_object_get(json_object_get(doc, "definitions"), "com.example.v1.Foo");
	spec = json_at(spec, "properties.spec");
	for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
		json_t *v = value_at(spec, table[i].path);

		if (!table[i].want ? v != NULL : !str_eq(json_string_value(v), table[i].want))
			fail_msg("%s", table[i].path);
	}
}

/* ---- a store ----------------------------------------------------------------------------- */

static void put(struct fixture *f, const struct kind *k, json_t *obj)
{
	auto_err err = {0};
	int r = store_get(f->store, k, meta_ns(obj), meta_name(obj))
			? store_update(f->store, k, obj, 0, STORE_DURABLE, NULL, NULL, NULL, &err)
			: store_create(f->store, k, obj, STORE_DURABLE, NULL, NULL, NULL, &err);

	if (r < 0)
		fail_msg("%s", err_message(&err));
}

static void store_keeps_objects_of_custom_kinds(void **state UNUSED)
{
	struct fixture *f = fixture_new();
	json_auto_t *crd = definition("{'type':'object','properties':{'a':{'type':'string'},"
				      "'b':{'type':'string'}}}"),
		    *obj = NULL;
	const struct kind *k, *beta;

	fixture_open(f);
	put(f, &kind_customresourcedefinition, crd);
	k = kind_find("example.com", "v1", "foos");
	assert_non_null(k);
	obj = foo(k, "{'a':'1','b':'2'}", NULL);
	json_put_str(obj, "metadata.uid", "u2");
	put(f, k, obj);
	beta = kind_find("example.com", "v1beta1", "foos");
	assert_string_equal(
		json_str(object_json(store_get(f->store, beta, "n", "x")), "apiVersion", ""),
		"example.com/v1beta1");
	/* another schema, another storage version */
	json_decref(crd);
	crd = definition("{'type':'object','properties':{'a':{'type':'string'},"
			 "'c':{'type':'string','default':'d'}}}");
	json_put_int(crd, "metadata.generation", 2);
	json_put_bool(json_array_get(json_at(crd, "spec.versions"), 0), "storage", true);
	json_put_bool(json_array_get(json_at(crd, "spec.versions"), 1), "storage", false);
	put(f, &kind_customresourcedefinition, crd);
	for (int i = 0; i < 2; i++) {
		const struct object *o;

		k = kind_find("example.com", "v1", "foos");
		beta = kind_find("example.com", "v1beta1", "foos");
		if (i == 0)
			assert_ptr_equal(kind_storage(k), beta);
		else
			assert_null(k);
		o = store_get(f->store, beta, "n", "x");
		assert_non_null(o);
		assert_string_equal(json_str(object_json(o), "spec.a", ""), "1");
		assert_string_equal(json_str(object_json(o), "spec.c", ""), "d");
		assert_null(json_at(object_json(o), "spec.b"));
		assert_string_equal(json_str(object_json(o), "apiVersion", ""),
				    "example.com/v1beta1");
		assert_ptr_equal(store_get_uid(f->store, "u2"), o);
		/* the same after a start, as it was written by the former schema, and when the
		 * version it was written in has been taken out */
		if (i == 0) {
			json_array_remove(json_at(crd, "spec.versions"), 1);
			json_put_int(crd, "metadata.generation", 3);
			put(f, &kind_customresourcedefinition, crd);
		}
		fixture_settle(f);
		fixture_close(f);
		assert_null(kind_find("example.com", "v1", "foos"));
		fixture_open(f);
	}
	fixture_free(f);
}

static bool has_default(struct fixture *f, const struct kind *k, const char *name)
{
	return json_at(object_json(store_get(f->store, k, "n", name)), "spec.c");
}

/* Nobody waits for those that are large; a write in between finds them in the new form. */
static void large_objects_follow_their_schema(void **state UNUSED)
{
	struct fixture *f = fixture_new();
	json_auto_t *crd = definition("{'type':'object','properties':{'a':{'type':'string'},"
				      "'b':{'type':'string'}}}"),
		    *obj = NULL;
	static const char *const names[] = {"x", "y", "z"};
	auto_free char *text = xmalloc(100001);
	const struct kind *k;

	memset(text, 'x', 100000);
	text[100000] = '\0';
	fixture_open(f);
	put(f, &kind_customresourcedefinition, crd);
	k = kind_find("example.com", "v1", "foos");
	obj = foo(k, "{'b':'2'}", NULL);
	json_put_str(obj, "spec.a", text);
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		json_put_str(obj, "metadata.name", names[i]);
		json_put_str(obj, "metadata.uid", names[i]);
		put(f, k, obj);
	}
	for (int n = 2; n < 4; n++) { /* once more while it is under way */
		json_decref(crd);
		crd = definition("{'type':'object','properties':{'a':{'type':'string'},"
				 "'c':{'type':'string','default':'d'}}}");
		json_put_int(crd, "metadata.generation", n);
		put(f, &kind_customresourcedefinition, crd);
	}
	json_auto_t *y = object_dup(store_get(f->store, k, "n", "y"));
	json_put_str(y, "metadata.labels.new", "1");
	json_put_str(y, "spec.c", "mine");
	put(f, k, y);
	while (!has_default(f, k, "x") || !has_default(f, k, "z"))
		fixture_turn(f);
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		const struct object *o = store_get(f->store, k, "n", names[i]);
		const json_t *v = object_json(o);

		assert_int_equal(strlen(json_str(v, "spec.a", "")), 100000);
		assert_string_equal(json_str(v, "spec.c", ""), i == 1 ? "mine" : "d");
		assert_ptr_equal(store_get_uid(f->store, names[i]), o);
		assert_true(i == 1 || !json_at(v, "spec.b"));
	}
	fixture_settle(f);
	fixture_free(f);
}

static bool count_event(void *arg, const struct store_event *ev UNUSED)
{
	++*(int *)arg;
	return true;
}

static void set_true(void *arg)
{
	*(bool *)arg = true;
}

struct ended {
	int events;
	bool lost;
};

static bool on_ended_event(void *arg, const struct store_event *ev)
{
	return count_event(&((struct ended *)arg)->events, ev);
}

static void on_ended(void *arg)
{
	set_true(&((struct ended *)arg)->lost);
}

static void watches_end_with_their_kind(void **state UNUSED)
{
	struct fixture *f = fixture_new();
	json_auto_t *crd = definition("{'type':'object'}"), *obj = NULL;
	struct ended e = {0};
	struct store_watch *w;
	const struct kind *k;
	auto_err err = {0};

	fixture_open(f);
	put(f, &kind_customresourcedefinition, crd);
	k = kind_find("example.com", "v1", "foos");
	w = store_watch_new(f->store, k, store_rev(f->store), on_ended_event, on_ended, &e, &err);
	assert_non_null(w);
	obj = foo(k, "{}", NULL);
	json_put_str(obj, "metadata.uid", "u2");
	put(f, k, obj);
	assert_int_equal(
		store_delete(f->store, k, "n", "x", 0, STORE_DURABLE, NULL, NULL, NULL, &err), 0);
	assert_int_equal(store_delete(f->store, &kind_customresourcedefinition, "",
				      "foos.example.com", 0, STORE_DURABLE, NULL, NULL, NULL, &err),
			 0);
	for (int i = 0; i < 20 && !e.lost; i++)
		fixture_turn(f);
	assert_true(e.lost);
	assert_int_equal(e.events, 2);
	store_watch_free(w);
	fixture_settle(f);
	fixture_free(f);
}

/* A definition that makes no sense is in the store: everything else starts as ever. */
static void damage_stops_nothing(void **state UNUSED)
{
	struct fixture *f = fixture_new();
	json_auto_t *crd = definition("{'type':7,'properties':[],'required':'x','items':3}");
	json_auto_t *broken = definition("{}");
	const struct kind *k;

	fixture_open(f);
	put(f, &kind_customresourcedefinition, crd);
	json_put_str(broken, "metadata.name", "bars.example.com");
	json_put_str(broken, "metadata.uid", "u9");
	json_put(broken, "spec", json_integer(3));
	put(f, &kind_customresourcedefinition, broken);
	for (int i = 0; i < 2; i++) {
		k = kind_find("example.com", "v1", "foos");
		assert_non_null(k);
		json_auto_t *obj = foo(k, "{'a':1}", NULL);
		auto_err err = {0};
		assert_int_equal(schema_validate(k, obj, NULL, &err), 0);
		fixture_settle(f);
		fixture_close(f);
		fixture_open(f);
	}
	fixture_free(f);
}

static void count_failure(void *arg, const struct err *err)
{
	*(int *)arg += err != NULL;
}

static void taken_back_body(struct fixture *f)
{
	auto_free char *ballast = path_join(f->dir, "ballast");
	json_auto_t *crd = definition("{'type':'object'}");
	json_auto_t *big = definition("{'type':'object'}");
	static char block[4096];
	int failed = 0;
	auto_err err = {0};

	put(f, &kind_customresourcedefinition, crd);
	fixture_settle(f);
	FILE *file auto_file = fopen(ballast, "we");
	assert_non_null(file);
	setbuf(file, NULL);
	while (fwrite(block, sizeof(block), 1, file) == 1)
		;
	auto_free char *text = xmalloc(30001);
	memset(text, 'x', 30000);
	text[30000] = '\0';
	json_put_str(big, "metadata.annotations.x", text);
	json_put_str(big, "metadata.name", "bars.example.com");
	json_put_str(big, "metadata.uid", "u8");
	json_put_str(big, "spec.names.plural", "bars");
	json_put_str(big, "status.acceptedNames.plural", "bars");
	assert_int_equal(store_create(f->store, &kind_customresourcedefinition, big, STORE_DURABLE,
				      count_failure, &failed, NULL, &err),
			 0);
	assert_non_null(kind_find("example.com", "v1", "bars"));
	assert_int_equal(store_delete(f->store, &kind_customresourcedefinition, "",
				      "foos.example.com", 0, STORE_DURABLE, count_failure, &failed,
				      NULL, &err),
			 0);
	assert_null(kind_find("example.com", "v1", "foos"));
	fixture_settle(f);
	assert_int_equal(failed, 2);
	assert_null(kind_find("example.com", "v1", "bars"));
	assert_non_null(kind_find("example.com", "v1", "foos"));
}

/* The disk refuses: the kinds are what they were before. */
static void writes_taken_back_take_kinds_back(void **state UNUSED)
{
	struct fixture *f = fixture_new();

	if (geteuid() != 0 || unshare(CLONE_NEWNS) < 0 ||
	    mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 || mkdir_p(f->dir, 0700) < 0 ||
	    mount("tmpfs", f->dir, "tmpfs", 0, "size=400k") < 0) {
		fixture_free(f);
		skip();
	}
	fixture_open(f);
	taken_back_body(f);
	fixture_close(f);
	assert_int_equal(umount(f->dir), 0);
	fixture_free(f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(finds_kinds, forget),
		cmocka_unit_test_teardown(keeps_what_is_referred_to, forget),
		cmocka_unit_test_teardown(is_served_when_established, forget),
		cmocka_unit_test_teardown(reads_heads, forget),
		cmocka_unit_test_teardown(orders_versions, forget),
		cmocka_unit_test_teardown(refuses_schemas, forget),
		cmocka_unit_test_teardown(refuses_roots, forget),
		cmocka_unit_test_teardown(checks_metadata, forget),
		cmocka_unit_test_teardown(checks_replicas, forget),
		cmocka_unit_test_teardown(prunes_and_defaults, forget),
		cmocka_unit_test_teardown(validates, forget),
		cmocka_unit_test_teardown(reads_patterns_as_go, forget),
		cmocka_unit_test_teardown(ends_in_time, forget),
		cmocka_unit_test_teardown(ratchets, forget),
		cmocka_unit_test_teardown(checks_formats, forget),
		cmocka_unit_test_teardown(follows_paths, forget),
		cmocka_unit_test_teardown(describes_itself, forget),
		cmocka_unit_test_teardown(simplifies_for_swagger, forget),
		cmocka_unit_test_teardown(runs_rules, forget),
		cmocka_unit_test_teardown(ends_rules_in_time, forget),
		cmocka_unit_test_teardown(refuses_rules, forget),
		cmocka_unit_test_teardown(store_keeps_objects_of_custom_kinds, forget),
		cmocka_unit_test_teardown(large_objects_follow_their_schema, forget),
		cmocka_unit_test_teardown(watches_end_with_their_kind, forget),
		cmocka_unit_test_teardown(damage_stops_nothing, forget),
		cmocka_unit_test_teardown(writes_taken_back_take_kinds_back, forget),
	};

	log_set_level(LOG_LEVEL_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
