/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tables, decoding, defaults, validation, discovery and OpenAPI. Object texts are written with '
 * in place of " to stay readable.
 */
#include "json_of.h"
#include "openapi_pieces.h"
#include <coracle/schema.h>

/* ---- tables ----------------------------------------------------------------------------- */

/* A misspelt rule would check nothing. */
static void check_rule_name(const char *rule)
{
	static const char *const known[] = {"enum",	    "range",	    "min",
					    "max",	    "port",	    "portname",
					    "labels",	    "labelkey",	    "labelvalue",
					    "ip",	    "dns1123label", "dns1123subdomain",
					    "dns1035label", "pathsegment",  "selectoroperator",
					    "mode",	    "positive",	    "weight",
					    "topologykey"};
	size_t len = strcspn(rule, ":");

	for (size_t i = 0; i < ARRAY_SIZE(known); i++)
		if (strlen(known[i]) == len && strncmp(known[i], rule, len) == 0)
			return;
	fail_msg("unknown rule %s", rule);
}

static void check_fields(const struct message *m, int depth)
{
	if (depth > 12)
		return;
	for (size_t i = 0; i < m->n_fields; i++) {
		const struct field *f = &m->fields[i];

		if (i > 0)
			assert_true(strcmp(m->fields[i - 1].name, f->name) <= 0);
		assert_int_equal(f->type == FIELD_OBJECT, f->message != NULL);
		assert_int_equal(f->list == LIST_MAP, f->ssa_keys != NULL);
		if (*f->name)
			assert_ptr_equal(message_field(m, f->name), f);
		if (f->rule)
			check_rule_name(f->rule);
		if (f->message)
			check_fields(f->message, depth + 1);
		if (f->dflt) {
			json_auto_t *v = json_loads(f->dflt, JSON_DECODE_ANY, NULL);

			assert_non_null(v);
		}
	}
}

static void test_tables(void **state UNUSED)
{
	const struct message *pod = message_find("io.k8s.api.core.v1.Pod");
	size_t fields = 0;

	assert_non_null(pod);
	assert_ptr_equal(pod, kind_pod.message);
	assert_null(message_find("io.k8s.api.core.v1.Nonsense"));
	for (size_t i = 0; i < n_schema_kinds; i++) {
		const struct kind *k = schema_kinds[i];
		char buf[API_VERSION_MAX];

		assert_int_equal(k->index, i);
		assert_ptr_equal(kind_find(k->group, k->version, k->plural), k);
		assert_ptr_equal(kind_by_name(kind_api_version(k, buf), k->kind), k);
		/* Those of metrics.k8s.io have the plurals of what they measure. */
		if (!k->computed)
			assert_ptr_equal(kind_by_word(k->plural), kind_storage(k));
		else
			assert_ptr_equal(kind_by_word(kind_resource(k, buf)), k);
		check_fields(k->message, 0);
		fields += k->message->n_fields;
	}
	assert_true(fields > 50);
	/* fields of an inline message are the parent's */
	assert_non_null(message_field(message_find("io.k8s.api.core.v1.Volume"), "emptyDir"));
	assert_non_null(message_field(message_find("io.k8s.api.core.v1.Probe"), "httpGet"));
	assert_null(message_field(pod, ""));
}

static void test_kind_words(void **state UNUSED)
{
	char buf[API_VERSION_MAX];

	assert_ptr_equal(kind_by_word("po"), &kind_pod);
	assert_ptr_equal(kind_by_word("Pod"), &kind_pod);
	assert_ptr_equal(kind_by_word("deployments.apps"), &kind_deployment);
	assert_ptr_equal(kind_by_word("DEPLOY"), &kind_deployment);
	assert_null(kind_by_word("deployments.batch"));
	assert_null(kind_by_word(""));
	assert_null(kind_by_word("p"));
	assert_string_equal(kind_resource(&kind_deployment, buf), "deployments.apps");
	assert_string_equal(kind_resource(&kind_pod, buf), "pods");
	assert_string_equal(kind_subresource(&kind_deployment, "scale")->kind, "Scale");
	assert_null(kind_subresource(&kind_configmap, "status"));
}

static void test_names(void **state UNUSED)
{
	assert_null(valid_dns1123_label("a-1"));
	assert_non_null(valid_dns1123_label("a.b"));
	assert_non_null(valid_dns1123_label("-a"));
	assert_non_null(valid_dns1123_label(""));
	assert_null(valid_dns1123_subdomain("a.b-c.d"));
	assert_non_null(valid_dns1123_subdomain("a..b"));
	assert_non_null(valid_dns1123_subdomain("a."));
	assert_null(valid_dns1035_label("web"));
	assert_non_null(valid_dns1035_label("1web"));
	assert_null(valid_label_key("example.com/My_name.x"));
	assert_non_null(valid_label_key("a/b/c"));
	assert_non_null(valid_label_key("/c"));
	assert_non_null(valid_label_key("a/"));
	assert_null(valid_label_value(""));
	assert_non_null(valid_label_value("a b"));
	assert_string_equal(
		valid_label_value(
			"0123456789012345678901234567890123456789012345678901234567890123"),
		"must be no more than 63 characters");
}

/* ---- decoding --------------------------------------------------------------------------- */

static const struct {
	const char *kind, *json, *message;
} bad_json[] = {
	{"deploy", "{'spec':{'replicass':2}}",
	 "Deployment in version \"v1\" cannot be handled as a Deployment: strict decoding error: "
	 "unknown field \"spec.replicass\""},
	{"deploy", "{'spec':{'replicas':2,'replicas':3},'x':1}",
	 "Deployment in version \"v1\" cannot be handled as a Deployment: strict decoding error: "
	 "duplicate field \"spec.replicas\", unknown field \"x\""},
	{"deploy", "{'spec':{'replicas':'3'}}",
	 "Deployment in version \"v1\" cannot be handled as a Deployment: json: cannot unmarshal "
	 "string into Go struct field DeploymentSpec.spec.replicas of type int32"},
	{"deploy", "{'spec':{'replicas':3000000000}}",
	 "cannot unmarshal number 3000000000 into Go struct field DeploymentSpec.spec.replicas of "
	 "type int32"},
	{"deploy", "{'spec':{'replicas':1.5}}",
	 "cannot unmarshal number 1.5 into Go struct field DeploymentSpec.spec.replicas of type "
	 "int32"},
	{"pod", "{'spec':{'containers':[{'name':'a'},{'nam':'b'}]}}",
	 "unknown field \"spec.containers[1].nam\""},
	{"pod", "{'metadata':{'labels':{'a':'1','a':'2'}}}",
	 "duplicate field \"metadata.labels.a\""},
	{"pod", "{'spec':{'containers':{}}}",
	 "cannot unmarshal object into Go struct field PodSpec.spec.containers of type "
	 "[]v1.Container"},
	{"pod", "{'spec':{'containers':[{'image':5}]}}",
	 "cannot unmarshal number into Go struct field Container.spec.containers.image of type "
	 "string"},
	{"pod", "{'metadata':{'labels':{'a':1}}}",
	 "cannot unmarshal number into Go struct field ObjectMeta.metadata.labels of type string"},
	{"pod", "{'spec':'x'}",
	 "cannot unmarshal string into Go struct field Pod.spec of type v1.PodSpec"},
	{"pod", "{'spec':{'hostNetwork':'true'}}", "PodSpec.spec.hostNetwork of type bool"},
	{"pod", "{'spec':{'containers':[{'resources':{'limits':{'cpu':'1x'}}}]}}",
	 "quantities must match the regular expression"},
	{"pod", "{'metadata':{'creationTimestamp':'now'}}",
	 "parsing time \"now\" as \"2006-01-02T15:04:05Z07:00\": cannot parse \"now\" as \"2006\""},
	{"pod", "{'spec':{'containers':[{'livenessProbe':{'httpGet':{'port':true}}}]}}",
	 "json: cannot unmarshal bool into Go value of type int32"},
	{"secret", "{'data':{'a':'!!'}}", "illegal base64 data at input byte 0"},
	{"pod", "[]", "json: cannot unmarshal array into Go value of type v1.Pod"},
	{"pod", "{'a':}", "invalid character '}' looking for beginning of value"},
	{"pod", "{'a':1", "unexpected end of JSON input"},
	{"pod", "{'a' 1}", "invalid character '1' after object key"},
	{"pod", "{'a':1 'b':2}", "after object key:value pair"},
	{"pod", "{'a':[1 2]}", "invalid character '2' after array element"},
	{"pod", "{'a':tru}", "in literal true (expecting 'e')"},
	{"pod", "{'a':01}", "invalid character '1' after object key:value pair"},
	{"pod", "{'a':'\\q'}", "invalid character 'q' in string escape code"},
	{"pod", "{'a':'\\u00g0'}", "in \\u hexadecimal character escape"},
	{"pod", "{} x", "invalid character 'x' after top-level value"},
	{"pod", "",
	 "(must be of type Pod): couldn't get version/kind; json parse error: unexpected end"},
};

static json_t *decode(const char *word, const char *json, enum field_validation mode,
		      struct strv *warnings, struct err *err)
{
	const struct kind *k = kind_by_word(word);
	auto_free char *text = xstrdup(json),
		       *what = xasprintf("%s in version \"%s\"", k->kind, k->version);

	for (char *p = text; *p; p++)
		if (*p == '\'')
			*p = '"';
	return schema_decode_json(k->message, what, text, strlen(text), mode, warnings, err);
}

static void test_decode_errors(void **state UNUSED)
{
	for (size_t i = 0; i < ARRAY_SIZE(bad_json); i++) {
		auto_err err = {0};
		json_auto_t *obj =
			decode(bad_json[i].kind, bad_json[i].json, FIELDS_STRICT, NULL, &err);

		assert_null(obj);
		assert_int_equal(err_http_code(&err), 400);
		if (!strstr(err_message(&err), bad_json[i].message))
			fail_msg("%s\n got: %s\nwant: %s", bad_json[i].json, err_message(&err),
				 bad_json[i].message);
	}
}

static void test_decode_modes(void **state UNUSED)
{
	/* In the order of the text; what is unknown is not told of as a duplicate as well. */
	const char *text = "{'spec':{'x':1,'x':{'y':1,'y':2},'nodeName':'a','nodeName':'b'},"
			   "'metadata':{'labels':{'l':'1','l':'2'}}}";
	auto_strv warnings = {0};
	auto_err err = {0};
	json_auto_t *warned = decode("pod", text, FIELDS_WARN, &warnings, &err);
	json_auto_t *ignored = decode("pod", text, FIELDS_IGNORE, NULL, &err);

	assert_int_equal(warnings.n, 3);
	assert_string_equal(warnings.v[0], "unknown field \"spec.x\"");
	assert_string_equal(warnings.v[1], "duplicate field \"spec.nodeName\"");
	assert_string_equal(warnings.v[2], "duplicate field \"metadata.labels.l\"");
	assert_true(json_equal(warned, ignored));
	assert_string_equal(json_str(ignored, "spec.nodeName", ""), "b");
	assert_null(json_at(ignored, "spec.x"));
}

/* One form for every value: what a client sends and what it should read back. */
static void test_decode_form(void **state UNUSED)
{
	static const struct {
		const char *kind, *in, *out;
	} rows[] = {
		{"pod", "{'spec':{'nodeName':null,'hostname':'','hostNetwork':false,'priority':0}}",
		 "{'spec':{'priority':0}}"},
		{"pod", "{'metadata':{'creationTimestamp':null,'labels':{},'finalizers':[]}}",
		 "{'metadata':{}}"},
		{"deploy", "{'spec':{'replicas':0,'minReadySeconds':0,'paused':false}}",
		 "{'spec':{'replicas':0}}"},
		{"pod",
		 "{'spec':{'containers':[{'name':'c','resources':{'limits':{'cpu':0.5,'memory':"
		 "'1024Mi'}}}]}}",
		 "{'spec':{'containers':[{'name':'c','resources':{'limits':{'cpu':'500m','memory':"
		 "'1Gi'}}}]}}"},
		{"event", "{'firstTimestamp':'2026-01-02T03:04:05+01:00'}",
		 "{'firstTimestamp':'2026-01-02T02:04:05Z'}"},
		{"event", "{'eventTime':'2026-01-02T03:04:05Z'}",
		 "{'eventTime':'2026-01-02T03:04:05.000000Z'}"},
		{"configmap", "{'data':{'a':null,'b':'\\u00e9\\ud83d\\ude00'}}",
		 "{'data':{'a':'','b':'é😀'}}"},
		{"pod", "{'spec':{'volumes':[{'name':'v','emptyDir':{}}]}}",
		 "{'spec':{'volumes':[{'name':'v','emptyDir':{}}]}}"},
		{"service", "{'spec':{'ports':[{'targetPort':'http','port':80}]}}",
		 "{'spec':{'ports':[{'targetPort':'http','port':80}]}}"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		auto_err err = {0};
		json_auto_t *got = decode(rows[i].kind, rows[i].in, FIELDS_STRICT, NULL, &err);
		json_auto_t *want = json_of(rows[i].out);

		if (!json_equal(got, want))
			fail_msg("%s: %s", rows[i].in,
				 got ? json_text(got, NULL) : err_message(&err));
	}
}

static void test_decode_bounds(void **state UNUSED)
{
	auto_strbuf deep = {0}, wide = {0};
	auto_err err = {0};

	for (int i = 0; i < 1000; i++)
		strbuf_adds(&deep, "[");
	assert_null(schema_decode_json(kind_pod.message, "Pod", deep.s, deep.len, FIELDS_STRICT,
				       NULL, &err));
	assert_non_null(strstr(err_message(&err), "exceeded max depth"));
	strbuf_adds(&wide, "{\"x\":[0");
	for (int i = 0; i < 300000; i++)
		strbuf_adds(&wide, ",0");
	strbuf_adds(&wide, "]}");
	assert_null(schema_decode_json(kind_pod.message, "Pod", wide.s, wide.len, FIELDS_STRICT,
				       NULL, &err));
	assert_non_null(strstr(err_message(&err), "values"));
}

/* ---- protobuf --------------------------------------------------------------------------- */

/* Pod p with what has a form of its own: Time, Quantity, IntOrString, FieldsV1, maps, inline
 * probe handlers and references, a negative int32. */
static const char pod_hex[] = "6b3873000a090a0276311203506f641297020a5f0a017012001a0764656661756c74"
			      "380042005a0a0a0361707012"
			      "037765624a080880e2cfaa0610006a182a01751a016f0a0a5265706c696361536574"
			      "2202753130018a011a0a076b"
			      "75626563746c3a0f0a0d7b22663a73706563223a7b7d7d12ad010a090a0176120412"
			      "020a000a110a0177120c9a01"
			      "090a040a02636d18a403127a0a01631205696d673a311a0273681a022d632a00320e"
			      "0a0468747470100018502200"
			      "2a003a060a01411201623a140a014212001a0d1a0b0a040a02636d12016b1800420e"
			      "0a0c0a0363707512050a0330"
			      "2e3552210a1212100a022f78120a080110001a046874747010fdffffffffffffffff"
			      "01180072008001001a002000"
			      "3a0b0a046469736b120373736458001a040a002a001a002200";

static const char pod_json[] =
	"{'apiVersion':'v1','kind':'Pod','metadata':{'name':'p','namespace':'default',"
	"'labels':{'app':'web'},'deletionTimestamp':'2023-11-14T22:13:20Z','ownerReferences':[{"
	"'apiVersion':'u','name':'o','kind':'ReplicaSet','uid':'u1','controller':true}],"
	"'managedFields':[{'manager':'kubectl','fieldsV1':{'f:spec':{}}}]},"
	"'spec':{'volumes':[{'name':'v','emptyDir':{}},{'name':'w','configMap':{'name':'cm',"
	"'defaultMode':420}}],'containers':[{'name':'c','image':'img:1','command':['sh','-c'],"
	"'ports':[{'name':'http','containerPort':80}],'env':[{'name':'A','value':'b'},{'name':'B',"
	"'valueFrom':{'configMapKeyRef':{'name':'cm','key':'k','optional':false}}}],"
	"'resources':{'limits':{'cpu':'500m'}},'livenessProbe':{'httpGet':{'path':'/x',"
	"'port':'http'},'initialDelaySeconds':-3}}],'terminationGracePeriodSeconds':0,"
	"'nodeSelector':{'disk':'ssd'}},'status':{}}";

static size_t unhex(const char *hex, unsigned char *buf, size_t max)
{
	size_t n = 0;

	for (; hex[0] && hex[1] && n < max; hex += 2)
		if (sscanf(hex, "%2hhx", &buf[n++]) != 1)
			fail();
	return n;
}

static void test_protobuf(void **state UNUSED)
{
	unsigned char buf[512];
	size_t len = unhex(pod_hex, buf, sizeof(buf));
	json_auto_t *want = json_of(pod_json), *got = NULL, *typed = NULL;
	auto_err err = {0};

	got = schema_decode_protobuf(NULL, buf, len, &err);
	if (!got)
		fail_msg("%s", err_message(&err));
	if (!json_equal(got, want))
		fail_msg("got %s", json_text(got, NULL));
	typed = schema_decode_protobuf(kind_pod.message, buf, len, &err);
	assert_true(json_equal(got, typed));
	assert_null(schema_decode_protobuf(kind_service.message, buf, len, &err));
	assert_string_equal(err_message(&err),
			    "Pod in version \"v1\" cannot be handled as a Service: "
			    "unknown conversion");
	for (size_t i = 0; i < len; i++)
		json_decref(schema_decode_protobuf(NULL, buf, i, NULL));
}

static void test_protobuf_errors(void **state UNUSED)
{
	static const struct {
		const char *hex, *message;
	} rows[] = {
		{"", "does not appear to be a protobuf message"},
		{"7b7d", "does not appear to be a protobuf message"},
		{"6b387300", "no kind \"\" is registered for version \"\""},
		{"6b3873000a08", "unexpected end of the envelope"},
		{"6b3873000a060a02763112004142", "unexpected end of the envelope"},
		{"6b3873000a0a0a0276311204466f6f6f",
		 "no kind \"Fooo\" is registered for version \"v1\""},
		/* a string where a message should be, a NUL in a name, a length past the end */
		{"6b3873000a090a0276311203506f6412020a50", "Pod: proto: unexpected EOF"},
		{"6b3873000a090a0276311203506f6412050a030a0100", "holds the character U+0000"},
		{"6b3873000a090a0276311203506f6412050a030a01ff", "invalid UTF-8"},
		{"6b3873000a090a0276311203506f6412020807", "Pod: proto: unexpected EOF"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		unsigned char buf[64];
		size_t len = unhex(rows[i].hex, buf, sizeof(buf));
		auto_err err = {0};

		assert_null(schema_decode_protobuf(NULL, buf, len, &err));
		if (!strstr(err_message(&err), rows[i].message))
			fail_msg("%s: %s", rows[i].hex, err_message(&err));
		assert_int_equal(err_http_code(&err), 400);
	}
}

/* DeleteOptions come with any group's version, and sometimes with no kind at all. */
static void test_protobuf_delete_options(void **state UNUSED)
{
	const struct message *m =
		message_find("io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions");
	unsigned char buf[64];
	size_t len = unhex("6b387300120508002201"
			   "78",
			   buf, sizeof(buf));
	auto_err err = {0};
	json_auto_t *obj = NULL;

	obj = schema_decode_protobuf(m, buf, len, &err);
	if (!obj)
		fail_msg("%s", err_message(&err));
	assert_int_equal(json_int(obj, "gracePeriodSeconds", -1), 0);
	assert_string_equal(json_str(obj, "propagationPolicy", ""), "x");
	assert_string_equal(json_str(obj, "kind", ""), "DeleteOptions");
}

/* ---- defaults --------------------------------------------------------------------------- */

static const struct {
	const char *kind, *in, *path, *value;
} defaults[] = {
	{"pod", "{'spec':{'containers':[{'image':'nginx'}]}}", "spec.restartPolicy", "'Always'"},
	{"pod", "{'spec':{}}", "spec.dnsPolicy", "'ClusterFirst'"},
	{"pod", "{'spec':{}}", "spec.terminationGracePeriodSeconds", "30"},
	{"pod", "{'spec':{'terminationGracePeriodSeconds':0}}",
	 "spec.terminationGracePeriodSeconds", "0"},
	{"pod", "{'spec':{}}", "spec.enableServiceLinks", "true"},
	{"pod", "{'spec':{}}", "status.phase", "'Pending'"},
	{"pod", "{'spec':{}}", "status.qosClass", "'BestEffort'"},
	{"pod", "{'spec':{'serviceAccountName':'x'}}", "spec.serviceAccount", "'x'"},
	{"pod", "{'spec':{'volumes':[{'name':'v'}]}}", "spec.volumes",
	 "[{'name':'v','emptyDir':{}}]"},
	{"pod", "{'spec':{'volumes':[{'name':'v','secret':{'secretName':'s'}}]}}", "spec.volumes",
	 "[{'name':'v','secret':{'secretName':'s','defaultMode':420}}]"},
	{"deploy", "{'spec':{}}", "spec.replicas", "1"},
	{"deploy", "{'spec':{}}", "spec.strategy",
	 "{'type':'RollingUpdate','rollingUpdate':{'maxSurge':'25%','maxUnavailable':'25%'}}"},
	{"deploy", "{'spec':{'strategy':{'type':'Recreate'}}}", "spec.strategy",
	 "{'type':'Recreate'}"},
	{"deploy", "{'spec':{'strategy':{'rollingUpdate':{'maxSurge':1}}}}",
	 "spec.strategy.rollingUpdate", "{'maxSurge':1,'maxUnavailable':'25%'}"},
	{"deploy", "{'spec':{}}", "spec.template.spec.schedulerName", "'default-scheduler'"},
	{"deploy", "{'spec':{}}", "spec.template.spec.enableServiceLinks", "null"},
	{"rs", "{'spec':{'replicas':0}}", "spec.replicas", "0"},
	{"service", "{'spec':{'ports':[{'port':80}]}}", "spec.ports",
	 "[{'port':80,'protocol':'TCP','targetPort':80}]"},
	{"service", "{'spec':{}}", "spec.type", "'ClusterIP'"},
	{"service", "{'spec':{'clusterIP':'None'}}", "spec.clusterIPs", "['None']"},
	{"service", "{'spec':{'sessionAffinity':'ClientIP'}}", "spec.sessionAffinityConfig",
	 "{'clientIP':{'timeoutSeconds':10800}}"},
	{"service", "{'spec':{'type':'ExternalName'}}", "spec.ipFamilies", "null"},
	{"service", "{'spec':{'type':'LoadBalancer'}}", "spec.allocateLoadBalancerNodePorts",
	 "true"},
	{"service", "{'spec':{'type':'NodePort'}}", "spec.externalTrafficPolicy", "'Cluster'"},
	{"secret", "{'stringData':{'a':'b'},'data':{'c':'ZA=='}}", "data",
	 "{'c':'ZA==','a':'Yg=='}"},
	{"secret", "{}", "type", "'Opaque'"},
	{"ns", "{'metadata':{'name':'n'}}", "spec.finalizers", "['kubernetes']"},
	{"ns", "{'metadata':{'name':'n'}}", "metadata.labels",
	 "{'kubernetes.io/metadata.name':'n'}"},
	{"node", "{'status':{'capacity':{'cpu':'1'}}}", "status.allocatable", "{'cpu':'1'}"},
};

static void test_defaults(void **state UNUSED)
{
	for (size_t i = 0; i < ARRAY_SIZE(defaults); i++) {
		const struct kind *k = kind_by_word(defaults[i].kind);
		json_auto_t *obj = json_of(defaults[i].in), *want = json_of(defaults[i].value);
		json_auto_t *none = json_null(), *again = NULL;
		const json_t *got;

		schema_default(k, obj, NULL);
		got = json_at(obj, defaults[i].path);
		if (!json_equal(got ? got : none, want))
			fail_msg("%s of %s: %s", defaults[i].path, defaults[i].in,
				 got ? json_dumps(got, JSON_ENCODE_ANY) : "absent");
		again = json_deep_copy(obj);
		schema_default(k, again, obj);
		assert_true(json_equal(obj, again));
	}
}

static void test_container_defaults(void **state UNUSED)
{
	static const struct {
		const char *image, *policy;
	} rows[] = {
		{"nginx", "Always"},
		{"nginx:latest", "Always"},
		{"nginx:1.27", "IfNotPresent"},
		{"registry:5000/nginx", "Always"},
		{"registry:5000/nginx:2", "IfNotPresent"},
		{"nginx@sha256:00", "IfNotPresent"},
		{"nginx:1@sha256:00", "IfNotPresent"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		json_auto_t *pod =
			json_pack("{s:{s:b, s:[{s:s, s:[{s:i}], s:{s:{s:s, s:s}, s:{s:s}}}]}}",
				  "spec", "hostNetwork", 1, "containers", "image", rows[i].image,
				  "ports", "containerPort", 80, "resources", "limits", "cpu", "1",
				  "memory", "1Gi", "requests", "cpu", "1");
		json_t *c;

		schema_default(&kind_pod, pod, NULL);
		c = json_array_get(json_at(pod, "spec.containers"), 0);
		assert_string_equal(json_str(c, "imagePullPolicy", ""), rows[i].policy);
		assert_string_equal(json_str(c, "resources.requests.memory", ""), "1Gi");
		assert_int_equal(json_int(json_array_get(json_at(c, "ports"), 0), "hostPort", 0),
				 80);
		assert_string_equal(json_str(pod, "status.qosClass", ""), "Guaranteed");
	}
}

/* ---- validation ------------------------------------------------------------------------- */

#define POD(container, more)                                                                       \
	"{'spec':{'containers':[{'name':'c','image':'i'" container "}]" more "}}"
#define TEMPLATE                                                                                   \
	"'template':{'metadata':{'labels':{'a':'b'}},'spec':{'containers':[{'name':'c',"           \
	"'image':'i'}]}}"
#define SELECTOR "'selector':{'matchLabels':{'a':'b'}}"
#define PORTS "'ports':[{'port':80}]"

/* change is merged into a good object of the kind; update: into a second state of it. */
static const struct {
	const char *kind;
	bool update;
	const char *change, *reason, *field, *message;
} bad[] = {
	/* metadata */
	{"cm", 0, "{'metadata':{'name':null}}", "FieldValueRequired", "metadata.name",
	 "Required value: name or generateName is required"},
	{"cm", 0, "{'metadata':{'name':'A_b'}}", "FieldValueInvalid", "metadata.name",
	 "Invalid value: \"A_b\": a lowercase RFC 1123 subdomain must consist of"},
	{"service", 0, "{'metadata':{'name':'1a'},'spec':{" PORTS "}}", "FieldValueInvalid",
	 "metadata.name", "Invalid value: \"1a\": a DNS-1035 label must consist of"},
	{"ns", 0, "{'metadata':{'name':'a.b'}}", "FieldValueInvalid", "metadata.name",
	 "Invalid value: \"a.b\": a lowercase RFC 1123 label must"},
	{"cm", 0, "{'metadata':{'generateName':'X-'}}", "FieldValueInvalid",
	 "metadata.generateName", "Invalid value: \"X-\""},
	{"cm", 0, "{'metadata':{'namespace':null}}", "FieldValueRequired", "metadata.namespace",
	 "Required value"},
	{"ns", 0, "{'metadata':{'namespace':'x'}}", "FieldValueForbidden", "metadata.namespace",
	 "Forbidden: not allowed on this type"},
	{"cm", 0, "{'metadata':{'labels':{'a b':'c'}}}", "FieldValueInvalid", "metadata.labels",
	 "Invalid value: \"a b\": name part must consist of alphanumeric characters"},
	{"cm", 0, "{'metadata':{'labels':{'a':'-c'}}}", "FieldValueInvalid", "metadata.labels",
	 "Invalid value: \"-c\": a valid label must be an empty string or consist of"},
	{"cm", 0, "{'metadata':{'labels':{'/a':'c'}}}", "FieldValueInvalid", "metadata.labels",
	 "Invalid value: \"/a\": prefix part must be non-empty"},
	{"cm", 0, "{'metadata':{'annotations':{'x y':''}}}", "FieldValueInvalid",
	 "metadata.annotations", "Invalid value: \"x y\": name part"},
	{"cm", 0, "{'metadata':{'finalizers':['mine']}}", "FieldValueInvalid",
	 "metadata.finalizers[0]",
	 "Invalid value: \"mine\": name is neither a standard finalizer name nor is it fully "
	 "qualified"},
	{"cm", 0, "{'metadata':{'ownerReferences':[{'apiVersion':'v1','kind':'Pod','name':'p'}]}}",
	 "FieldValueRequired", "metadata.ownerReferences[0].uid", "Required value"},
	{"cm", 0,
	 "{'metadata':{'ownerReferences':[{'apiVersion':'v1','kind':'Pod','name':'p','uid':'1',"
	 "'controller':true},{'apiVersion':'v1','kind':'Pod','name':'q','uid':'2','controller':"
	 "true}]"
	 "}}",
	 "FieldValueInvalid", "metadata.ownerReferences",
	 "Only one reference can have Controller set to true. Found \"true\" in references for "
	 "Pod/p and Pod/q"},
	{"cm", 0,
	 "{'metadata':{'ownerReferences':[{'apiVersion':'v1','kind':'Event','name':'p','uid':'1'}]}"
	 "}",
	 "FieldValueInvalid", "metadata.ownerReferences",
	 "/v1, Kind=Event is disallowed from being an owner"},
	{"cm", 0,
	 "{'metadata':{'ownerReferences':[{'apiVersion':'a/b/"
	 "c','kind':'X','name':'p','uid':'1'}]}}",
	 "FieldValueInvalid", "metadata.ownerReferences.apiVersion", "version must not be empty"},
	{"cm", 1, "{'metadata':{'name':'other'}}", "FieldValueInvalid", "metadata.name",
	 "Invalid value: \"other\": field is immutable"},
	{"cm", 1, "{'metadata':{'uid':'2'}}", "FieldValueInvalid", "metadata.uid",
	 "Invalid value: \"2\": field is immutable"},
	/* pods */
	{"pod", 0, "{'spec':{'containers':null}}", "FieldValueRequired", "spec.containers",
	 "Required value"},
	{"pod", 0, "{'spec':{'containers':[{'image':'i'}]}}", "FieldValueRequired",
	 "spec.containers[0].name", "Required value"},
	{"pod", 0, "{'spec':{'containers':[{'name':'c'}]}}", "FieldValueRequired",
	 "spec.containers[0].image", "Required value"},
	{"pod", 0, "{'spec':{'containers':[{'name':'C','image':'i'}]}}", "FieldValueInvalid",
	 "spec.containers[0].name", "Invalid value: \"C\": a lowercase RFC 1123 label"},
	{"pod", 0, "{'spec':{'containers':[{'name':'c','image':'i'},{'name':'c','image':'i'}]}}",
	 "FieldValueDuplicate", "spec.containers[1].name", "Duplicate value: \"c\""},
	{"pod", 0, POD("", ",'initContainers':[{'name':'c','image':'i'}]"), "FieldValueDuplicate",
	 "spec.initContainers[0].name", "Duplicate value: \"c\""},
	{"pod", 0,
	 POD("", ",'initContainers':[{'name':'d','image':'i','livenessProbe':{'exec':{'command':["
		 "'x']}}}]"),
	 "FieldValueForbidden", "spec.initContainers[0].livenessProbe",
	 "Forbidden: may not be set for init containers without restartPolicy=Always"},
	{"pod", 0, POD(",'image':' i'", ""), "FieldValueInvalid", "spec.containers[0].image",
	 "Invalid value: \" i\": must not have leading or trailing whitespace"},
	{"pod", 0, POD(",'imagePullPolicy':'Sometimes'", ""), "FieldValueNotSupported",
	 "spec.containers[0].imagePullPolicy",
	 "Unsupported value: \"Sometimes\": supported values: \"Always\", \"IfNotPresent\", "
	 "\"Never\""},
	{"pod", 0, POD("", ",'restartPolicy':'Maybe'"), "FieldValueNotSupported",
	 "spec.restartPolicy",
	 "Unsupported value: \"Maybe\": supported values: \"Always\", \"OnFailure\", \"Never\""},
	{"pod", 0, POD(",'ports':[{'containerPort':70000}]", ""), "FieldValueInvalid",
	 "spec.containers[0].ports[0].containerPort",
	 "Invalid value: 70000: must be between 1 and 65535, inclusive"},
	{"pod", 0, POD(",'ports':[{'name':'x'}]", ""), "FieldValueRequired",
	 "spec.containers[0].ports[0].containerPort", "Required value"},
	{"pod", 0, POD(",'ports':[{'containerPort':1,'name':'HTTP'}]", ""), "FieldValueInvalid",
	 "spec.containers[0].ports[0].name",
	 "must contain only alpha-numeric characters (a-z, 0-9)"},
	{"pod", 0,
	 POD(",'ports':[{'containerPort':1,'name':'a'},{'containerPort':2,'name':'a'}]", ""),
	 "FieldValueDuplicate", "spec.containers[0].ports[1].name", "Duplicate value: \"a\""},
	{"pod", 0,
	 POD(",'ports':[{'containerPort':1,'hostPort':9},{'containerPort':2,'hostPort':9}]", ""),
	 "FieldValueDuplicate", "spec.containers[0].ports[1].hostPort",
	 "Duplicate value: \"TCP//9\""},
	{"pod", 0, POD(",'ports':[{'containerPort':1,'hostPort':9}]", ",'hostNetwork':true"),
	 "FieldValueInvalid", "spec.containers[0].ports[0].containerPort",
	 "Invalid value: 1: must match `hostPort` when `hostNetwork` is true"},
	{"pod", 0, POD(",'env':[{'value':'x'}]", ""), "FieldValueRequired",
	 "spec.containers[0].env[0].name", "Required value"},
	{"pod", 0, POD(",'env':[{'name':'a=b'}]", ""), "FieldValueInvalid",
	 "spec.containers[0].env[0].name",
	 "Invalid value: \"a=b\": a valid environment variable name must consist only of "
	 "printable"},
	{"pod", 0, POD(",'env':[{'name':'a','valueFrom':{}}]", ""), "FieldValueInvalid",
	 "spec.containers[0].env[0].valueFrom",
	 "Invalid value: \"\": must specify one of: `fieldRef`, `resourceFieldRef`"},
	{"pod", 0,
	 POD(",'env':[{'name':'a','value':'b','valueFrom':{'fieldRef':{'fieldPath':'metadata.name'}"
	     "}}]",
	     ""),
	 "FieldValueInvalid", "spec.containers[0].env[0].valueFrom",
	 "Invalid value: \"\": may not be specified when `value` is not empty"},
	{"pod", 0, POD(",'env':[{'name':'a','valueFrom':{'fieldRef':{'fieldPath':'nope'}}}]", ""),
	 "FieldValueInvalid", "spec.containers[0].env[0].valueFrom.fieldRef.fieldPath",
	 "error converting fieldPath: field label not supported: nope"},
	{"pod", 0, POD(",'env':[{'name':'a','valueFrom':{'secretKeyRef':{'name':'s'}}}]", ""),
	 "FieldValueRequired", "spec.containers[0].env[0].valueFrom.secretKeyRef.key",
	 "Required value"},
	{"pod", 0, POD(",'envFrom':[{'prefix':'x'}]", ""), "FieldValueInvalid",
	 "spec.containers[0].envFrom[0]",
	 "Invalid value: \"\": must specify one of: `configMapRef` or `secretRef`"},
	{"pod", 0, POD(",'volumeMounts':[{'name':'w','mountPath':'/v'}]", ""), "FieldValueNotFound",
	 "spec.containers[0].volumeMounts[0].name", "Not found: \"w\""},
	{"pod", 0,
	 POD(",'volumeMounts':[{'name':'v','mountPath':'/v'},{'name':'v','mountPath':'/v'}]",
	     ",'volumes':[{'name':'v'}]"),
	 "FieldValueInvalid", "spec.containers[0].volumeMounts[1].mountPath",
	 "Invalid value: \"/v\": must be unique"},
	{"pod", 0,
	 POD(",'volumeMounts':[{'name':'v','mountPath':'/v','subPath':'../x'}]",
	     ",'volumes':[{'name':'v'}]"),
	 "FieldValueInvalid", "spec.containers[0].volumeMounts[0].subPath",
	 "Invalid value: \"../x\": must not contain '..'"},
	{"pod", 0, POD("", ",'volumes':[{'name':'v'},{'name':'v'}]"), "FieldValueDuplicate",
	 "spec.volumes[1].name", "Duplicate value: \"v\""},
	{"pod", 0, POD("", ",'volumes':[{'name':'v','emptyDir':{},'hostPath':{'path':'/'}}]"),
	 "FieldValueForbidden", "spec.volumes[0].hostPath",
	 "Forbidden: may not specify more than 1 volume type"},
	{"pod", 0, POD("", ",'volumes':[{'name':'v','hostPath':{}}]"), "FieldValueRequired",
	 "spec.volumes[0].hostPath.path", "Required value"},
	{"pod", 0, POD("", ",'volumes':[{'name':'v','configMap':{}}]"), "FieldValueRequired",
	 "spec.volumes[0].configMap.name", "Required value"},
	{"pod", 0,
	 POD("", ",'volumes':[{'name':'v','secret':{'secretName':'s','items':[{'key':'k','path':"
		 "'/x'}]}}]"),
	 "FieldValueInvalid", "spec.volumes[0].secret.items[0].path",
	 "Invalid value: \"/x\": must be a relative path"},
	{"pod", 0,
	 POD("", ",'volumes':[{'name':'v','secret':{'secretName':'s','defaultMode':512}}]"),
	 "FieldValueInvalid", "spec.volumes[0].secret.defaultMode",
	 "Invalid value: 512: must be a number between 0 and 0777 (octal), both inclusive"},
	{"pod", 0, POD(",'resources':{'limits':{'cpu':'1'},'requests':{'cpu':'2'}}", ""),
	 "FieldValueInvalid", "spec.containers[0].resources.requests",
	 "Invalid value: \"2\": must be less than or equal to cpu limit of 1"},
	{"pod", 0, POD(",'resources':{'limits':{'gold':'1'}}", ""), "FieldValueInvalid",
	 "spec.containers[0].resources.limits[gold]",
	 "Invalid value: \"gold\": must be a standard resource for containers"},
	{"pod", 0, POD(",'resources':{'limits':{'cpu':'-1'}}", ""), "FieldValueInvalid",
	 "spec.containers[0].resources.limits[cpu]",
	 "Invalid value: \"-1\": must be greater than or equal to 0"},
	{"pod", 0, POD(",'livenessProbe':{}", ""), "FieldValueRequired",
	 "spec.containers[0].livenessProbe", "Required value: must specify a handler type"},
	{"pod", 0, POD(",'livenessProbe':{'httpGet':{'port':80},'tcpSocket':{'port':80}}", ""),
	 "FieldValueForbidden", "spec.containers[0].livenessProbe.tcpSocket",
	 "Forbidden: may not specify more than 1 handler type"},
	{"pod", 0, POD(",'livenessProbe':{'httpGet':{'port':80},'successThreshold':2}", ""),
	 "FieldValueInvalid", "spec.containers[0].livenessProbe.successThreshold",
	 "Invalid value: 2: must be 1"},
	{"pod", 0, POD(",'readinessProbe':{'httpGet':{'port':0}}", ""), "FieldValueInvalid",
	 "spec.containers[0].readinessProbe.httpGet.port",
	 "Invalid value: 0: must be between 1 and 65535, inclusive"},
	{"pod", 0, POD(",'readinessProbe':{'exec':{'command':['x']},'periodSeconds':-1}", ""),
	 "FieldValueInvalid", "spec.containers[0].readinessProbe.periodSeconds",
	 "Invalid value: -1: must be greater than or equal to 0"},
	{"pod", 0, POD(",'lifecycle':{'preStop':{}}", ""), "FieldValueRequired",
	 "spec.containers[0].lifecycle.preStop", "Required value: must specify a handler type"},
	{"pod", 0, POD(",'restartPolicy':'Always'", ""), "FieldValueForbidden",
	 "spec.containers[0].restartPolicy", "Forbidden: may not be set for non-init containers"},
	{"pod", 0, POD("", ",'activeDeadlineSeconds':0"), "FieldValueInvalid",
	 "spec.activeDeadlineSeconds",
	 "Invalid value: 0: must be between 1 and 2147483647, inclusive"},
	{"pod", 0, POD("", ",'dnsPolicy':'None'"), "FieldValueRequired", "spec.dnsConfig",
	 "Required value: must provide `dnsConfig` when `dnsPolicy` is None"},
	{"pod", 0, POD("", ",'dnsConfig':{'nameservers':['1.1.1.1','1.1.1.2','1.1.1.3','x']}"),
	 "FieldValueInvalid", "spec.dnsConfig.nameservers[3]",
	 "Invalid value: \"x\": must be a valid IP address"},
	{"pod", 0,
	 POD("", ",'dnsConfig':{'nameservers':['1.1.1.1','1.1.1.2','1.1.1.3','1.1.1.4']}"),
	 "FieldValueInvalid", "spec.dnsConfig.nameservers",
	 "must not have more than 3 nameservers"},
	{"pod", 0, POD("", ",'tolerations':[{'value':'x'}]"), "FieldValueInvalid",
	 "spec.tolerations[0].operator",
	 "operator must be Exists when `key` is empty, which means \"match all values and all "
	 "keys\""},
	{"pod", 0, POD("", ",'tolerations':[{'key':'a','tolerationSeconds':3}]"),
	 "FieldValueInvalid", "spec.tolerations[0].effect",
	 "effect must be 'NoExecute' when `tolerationSeconds` is set"},
	{"pod", 0, POD("", ",'hostname':'a.b'"), "FieldValueInvalid", "spec.hostname",
	 "Invalid value: \"a.b\": a lowercase RFC 1123 label"},
	{"pod", 0, POD("", ",'nodeSelector':{'a b':'c'}"), "FieldValueInvalid", "spec.nodeSelector",
	 "Invalid value: \"a b\": name part"},
	{"pod", 0, POD("", ",'securityContext':{'sysctls':[{'name':'a..b','value':'1'}]}"),
	 "FieldValueInvalid", "spec.securityContext.sysctls[0].name",
	 "must have at most 253 characters and match regex"},
	{"pod", 1, POD("", ",'hostNetwork':true"), "FieldValueForbidden", "spec",
	 "Forbidden: pod updates may not change fields other than `spec.containers[*].image`"},
	{"pod", 1, POD(",'args':['x']", ""), "FieldValueForbidden", "spec",
	 "Forbidden: pod updates may not change fields other than"},
	{"pod", 1, "{'spec':{'containers':[{'name':'c','image':'i'},{'name':'d','image':'i'}]}}",
	 "FieldValueForbidden", "spec.containers",
	 "Forbidden: pod updates may not add or remove containers"},
	/* workloads */
	{"deploy", 0, "{'spec':{'replicas':-1}}", "FieldValueInvalid", "spec.replicas",
	 "Invalid value: -1: must be greater than or equal to 0"},
	{"deploy", 0, "{'spec':{'selector':null}}", "FieldValueRequired", "spec.selector",
	 "Required value"},
	{"deploy", 0, "{'spec':{'selector':{'matchLabels':null}}}", "FieldValueInvalid",
	 "spec.selector", "Invalid value: {}: empty selector is invalid for deployment"},
	{"deploy", 0, "{'spec':{'selector':{'matchLabels':{'a':'c'}}}}", "FieldValueInvalid",
	 "spec.template.metadata.labels",
	 "Invalid value: {\"a\":\"b\"}: `selector` does not match template `labels`"},
	{"deploy", 0, "{'spec':{'selector':{'matchExpressions':[{'key':'a','operator':'In'}]}}}",
	 "FieldValueRequired", "spec.selector.matchExpressions[0].values",
	 "Required value: must be specified when `operator` is 'In' or 'NotIn'"},
	{"deploy", 0, "{'spec':{'template':{'spec':{'restartPolicy':'Never'}}}}",
	 "FieldValueNotSupported", "spec.template.spec.restartPolicy",
	 "Unsupported value: \"Never\": supported values: \"Always\""},
	{"deploy", 0, "{'spec':{'strategy':{'rollingUpdate':{'maxSurge':0,'maxUnavailable':0}}}}",
	 "FieldValueInvalid", "spec.strategy.rollingUpdate.maxUnavailable",
	 "Invalid value: 0: may not be 0 when `maxSurge` is 0"},
	{"deploy", 0, "{'spec':{'strategy':{'rollingUpdate':{'maxUnavailable':'110%'}}}}",
	 "FieldValueInvalid", "spec.strategy.rollingUpdate.maxUnavailable",
	 "Invalid value: \"110%\": must not be greater than 100%"},
	{"deploy", 0, "{'spec':{'strategy':{'rollingUpdate':{'maxSurge':'many'}}}}",
	 "FieldValueInvalid", "spec.strategy.rollingUpdate.maxSurge",
	 "Invalid value: \"many\": a valid percent string must be a numeric string followed by"},
	{"deploy", 0, "{'spec':{'strategy':{'type':'Recreate','rollingUpdate':{}}}}",
	 "FieldValueForbidden", "spec.strategy.rollingUpdate",
	 "Forbidden: may not be specified when strategy `type` is 'Recreate'"},
	{"deploy", 0, "{'spec':{'progressDeadlineSeconds':5,'minReadySeconds':5}}",
	 "FieldValueInvalid", "spec.progressDeadlineSeconds",
	 "Invalid value: 5: must be greater than minReadySeconds"},
	{"deploy", 1,
	 "{'spec':{'selector':{'matchLabels':{'x':'y'}},'template':{'metadata':{'labels':{'x':'y'}}"
	 "}}}",
	 "FieldValueInvalid", "spec.selector",
	 "Invalid value: {\"matchLabels\":{\"a\":\"b\",\"x\":\"y\"}}: field is immutable"},
	{"rs", 0, "{'spec':{'template':{'spec':{'containers':[{'name':'c'}]}}}}",
	 "FieldValueRequired", "spec.template.spec.containers[0].image", "Required value"},
	/* services */
	{"service", 0, "{'spec':{'ports':null}}", "FieldValueRequired", "spec.ports",
	 "Required value"},
	{"service", 0, "{'spec':{'ports':[{'port':0}]}}", "FieldValueInvalid", "spec.ports[0].port",
	 "Invalid value: 0: must be between 1 and 65535, inclusive"},
	{"service", 0, "{'spec':{'ports':[{'port':1,'name':'a'},{'port':2}]}}",
	 "FieldValueRequired", "spec.ports[1].name", "Required value"},
	{"service", 0, "{'spec':{'ports':[{'port':1,'name':'a'},{'port':2,'name':'a'}]}}",
	 "FieldValueDuplicate", "spec.ports[1].name", "Duplicate value: \"a\""},
	{"service", 0, "{'spec':{'ports':[{'port':1,'name':'a'},{'port':1,'name':'b'}]}}",
	 "FieldValueDuplicate", "spec.ports[1]",
	 "Duplicate value: {\"protocol\":\"TCP\",\"port\":1}"},
	{"service", 0, "{'spec':{'ports':[{'port':1,'nodePort':30000}]}}", "FieldValueForbidden",
	 "spec.ports[0].nodePort", "Forbidden: may not be used when `type` is 'ClusterIP'"},
	{"service", 0, "{'spec':{'ports':[{'port':1,'protocol':'ICMP'}]}}",
	 "FieldValueNotSupported", "spec.ports[0].protocol",
	 "Unsupported value: \"ICMP\": supported values: \"SCTP\", \"TCP\", \"UDP\""},
	{"service", 0, "{'spec':{'type':'Magic'}}", "FieldValueNotSupported", "spec.type",
	 "Unsupported value: \"Magic\": supported values: \"ClusterIP\", \"ExternalName\""},
	{"service", 0, "{'spec':{'type':'ExternalName'}}", "FieldValueRequired",
	 "spec.externalName", "Required value"},
	{"service", 0, "{'spec':{'clusterIP':'10.0.0.x'}}", "FieldValueInvalid",
	 "spec.clusterIPs[0]", "Invalid value: \"10.0.0.x\": must be a valid IP address"},
	{"service", 0, "{'spec':{'clusterIP':'None','type':'LoadBalancer'}}", "FieldValueInvalid",
	 "spec.clusterIPs[0]",
	 "Invalid value: \"None\": may not be set to 'None' for LoadBalancer services"},
	{"service", 0,
	 "{'spec':{'sessionAffinity':'ClientIP','sessionAffinityConfig':{'clientIP':{"
	 "'timeoutSeconds':0}}}}",
	 "FieldValueInvalid", "spec.sessionAffinityConfig.clientIP.timeoutSeconds",
	 "Invalid value: 0: must be greater than 0 and less than 86400"},
	{"service", 0, "{'spec':{'externalIPs':['127.0.0.1']}}", "FieldValueInvalid",
	 "spec.externalIPs[0]", "may not be in the loopback range (127.0.0.0/8, ::1/128)"},
	/* the rest */
	{"cm", 0, "{'data':{'a b':'c'}}", "FieldValueInvalid", "data[a b]",
	 "Invalid value: \"a b\": a valid config key must consist of alphanumeric characters"},
	{"cm", 0, "{'data':{'..':'c'}}", "FieldValueInvalid", "data[..]",
	 "Invalid value: \"..\": must not be '..'"},
	{"cm", 0, "{'data':{'a':'c'},'binaryData':{'a':'YQ=='}}", "FieldValueInvalid", "data[a]",
	 "duplicate of key present in binaryData"},
	{"secret", 0, "{'type':'kubernetes.io/tls'}", "FieldValueRequired", "data[tls.crt]",
	 "Required value"},
	{"secret", 0,
	 "{'type':'kubernetes.io/dockerconfigjson','data':{'.dockerconfigjson':'YQ=='}}",
	 "FieldValueInvalid", "data[.dockerconfigjson]",
	 "Invalid value: \"<secret contents redacted>\""},
	{"secret", 1, "{'type':'x'}", "FieldValueInvalid", "type",
	 "Invalid value: \"x\": field is immutable"},
	{"ns", 0, "{'spec':{'finalizers':['x']}}", "FieldValueInvalid", "spec.finalizers",
	 "name is neither a standard finalizer name nor is it fully qualified"},
	{"node", 0, "{'spec':{'taints':[{'key':'a','effect':'Never'}]}}", "FieldValueNotSupported",
	 "spec.taints[0].effect", "Unsupported value: \"Never\": supported values: \"NoSchedule\""},
	{"node", 1, "{'spec':{'providerID':'y'}}", "FieldValueForbidden", "spec.providerID",
	 "node updates may not change providerID except from \"\" to valid"},
	{"ep", 0, "{'subsets':[{'ports':[{'port':1}]}]}", "FieldValueRequired", "subsets[0]",
	 "Required value: must specify `addresses` or `notReadyAddresses`"},
	{"ep", 0, "{'subsets':[{'addresses':[{'ip':'127.0.0.1'}]}]}", "FieldValueInvalid",
	 "subsets[0].addresses[0].ip", "may not be in the loopback range"},
	{"endpointslice", 0, "{'addressType':null}", "FieldValueRequired", "addressType",
	 "Required value"},
	{"endpointslice", 0, "{'endpoints':[{'addresses':['::1']}]}", "FieldValueInvalid",
	 "endpoints[0].addresses[0]", "Invalid value: \"::1\": must be a valid IPv4 address"},
	{"endpointslice", 0, "{'ports':[{'port':1},{'port':2}]}", "FieldValueDuplicate",
	 "ports[1].name", "Duplicate value: \"\""},
	{"endpointslice", 1, "{'addressType':'IPv6'}", "FieldValueInvalid", "addressType",
	 "Invalid value: \"IPv6\": field is immutable"},
	{"event", 0, "{'involvedObject':{'namespace':'other'}}", "FieldValueInvalid",
	 "involvedObject.namespace", "Invalid value: \"other\": does not match event.namespace"},
};

static const struct {
	const char *kind, *json;
} good[] = {
	{"cm", "{'data':{'a.b-c_D':'x'},'immutable':false}"},
	{"pod", POD(",'env':[{'name':'a.b'}]", ",'volumes':[{'name':'v'}]")},
	{"deploy", "{'spec':{" SELECTOR "," TEMPLATE "}}"},
	{"rs", "{'spec':{" SELECTOR "," TEMPLATE "}}"},
	{"service", "{'spec':{" PORTS "}}"},
	{"secret", "{'data':{'a':'YQ=='}}"},
	{"ns", "{}"},
	{"node", "{'spec':{'providerID':'x','taints':[{'key':'a','effect':'NoSchedule'}]}}"},
	{"ep", "{'subsets':[{'addresses':[{'ip':'10.0.0.1'}],'ports':[{'port':80}]}]}"},
	{"endpointslice", "{'addressType':'IPv4','endpoints':[{'addresses':['10.0.0.1']}]}"},
	{"sa", "{}"},
	{"event", "{'involvedObject':{'kind':'Pod','name':'p','namespace':'default'}}"},
};

/* A valid object of the kind, decoded and with defaults, after merging change (may be NULL). */
static json_t *make(const struct kind *k, const char *change)
{
	json_t *obj = NULL;

	for (size_t i = 0; i < ARRAY_SIZE(good); i++)
		if (kind_by_word(good[i].kind) == k)
			obj = json_of(good[i].json);
	assert_non_null(obj);
	json_put_str(obj, "metadata.name", "x");
	json_put_str(obj, "metadata.uid", "1");
	if (k->namespaced)
		json_put_str(obj, "metadata.namespace", "default");
	schema_default(k, obj, NULL);
	if (change) {
		json_auto_t *patch = json_of(change), *base = obj;

		obj = patch_merge(base, patch);
		/* a changed address is one address */
		if (json_at(patch, "spec.clusterIP"))
			json_drop(obj, "spec.clusterIPs");
		assert_int_equal(schema_check(k->message, NULL, obj, FIELDS_STRICT, NULL, NULL), 0);
		schema_default(k, obj, base);
	}
	return obj;
}

static void test_valid(void **state UNUSED)
{
	for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
		const struct kind *k = kind_by_word(good[i].kind);
		json_auto_t *obj = make(k, NULL);
		auto_err err = {0};

		if (schema_validate(k, obj, NULL, &err) < 0 ||
		    schema_validate(k, obj, obj, &err) < 0)
			fail_msg("%s", err_message(&err));
	}
}

static void test_invalid(void **state UNUSED)
{
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		const struct kind *k = kind_by_word(bad[i].kind);
		json_auto_t *old = make(k, NULL), *obj = make(k, bad[i].change);
		auto_err err = {0};
		bool found = false;

		if (schema_validate(k, obj, bad[i].update ? old : NULL, &err) == 0)
			fail_msg("%s %s is taken", bad[i].kind, bad[i].change);
		assert_int_equal(err_http_code(&err), 422);
		for (size_t j = 0; j < err.n_causes; j++)
			found |= streq(err.causes[j].reason, bad[i].reason) &&
				 streq(err.causes[j].field, bad[i].field) &&
				 strstr(err.causes[j].message, bad[i].message);
		if (!found)
			fail_msg("%s %s\nwant %s: %s\n got %s", bad[i].kind, bad[i].change,
				 bad[i].field, bad[i].message, err_message(&err));
	}
}

static void test_invalid_message(void **state UNUSED)
{
	json_auto_t *obj = make(&kind_deployment, "{'spec':{'replicas':-1,'minReadySeconds':-1}}");
	auto_err err = {0};

	assert_true(schema_validate(&kind_deployment, obj, NULL, &err) < 0);
	assert_string_equal(err_message(&err), "Deployment.apps \"x\" is invalid: "
					       "[spec.minReadySeconds: Invalid value: -1: must be "
					       "greater than or equal to 0, spec.replicas: Invalid "
					       "value: -1: must be greater than or "
					       "equal to 0]");
	assert_string_equal(err.kind, "Deployment");
	assert_string_equal(err.group, "apps");
	assert_string_equal(err.name, "x");
}

static void test_update_rules(void **state UNUSED)
{
	json_auto_t *frozen = make(&kind_configmap, "{'immutable':true,'data':{'a':'b'}}");
	json_auto_t *thawed = json_deep_copy(frozen), *dying = make(&kind_configmap, NULL);
	json_auto_t *held = json_deep_copy(dying), *svc = make(&kind_service, NULL);
	json_auto_t *moved = json_deep_copy(svc), *pod = make(&kind_pod, NULL);
	json_auto_t *imaged = json_deep_copy(pod);
	auto_err err = {0};

	json_object_del(thawed, "immutable");
	json_put_str(thawed, "data.a", "c");
	assert_true(schema_validate(&kind_configmap, thawed, frozen, &err) < 0);
	assert_int_equal(err.n_causes, 2);
	assert_string_equal(err.causes[0].message,
			    "Forbidden: field is immutable when `immutable` is set");
	json_put_str(dying, "metadata.deletionTimestamp", "2026-01-01T00:00:00Z");
	json_put_str(held, "metadata.deletionTimestamp", "2026-01-01T00:00:00Z");
	json_array_append_new(json_arr(held, "metadata.finalizers"), json_string("a.io/b"));
	err_done(&err);
	err = (struct err){0};
	assert_true(schema_validate(&kind_configmap, held, dying, &err) < 0);
	assert_non_null(strstr(err_message(&err), "found new finalizers []string{\"a.io/b\"}"));
	assert_int_equal(schema_validate(&kind_configmap, dying, held, NULL), 0);
	json_put_str(svc, "spec.clusterIP", "10.43.0.5");
	json_put(svc, "spec.clusterIPs", json_pack("[s]", "10.43.0.5"));
	json_put_str(moved, "spec.clusterIP", "10.43.0.6");
	json_put(moved, "spec.clusterIPs", json_pack("[s]", "10.43.0.6"));
	err_done(&err);
	err = (struct err){0};
	assert_true(schema_validate(&kind_service, moved, svc, &err) < 0);
	assert_string_equal(err.causes[0].field, "spec.clusterIPs[0]");
	/* an image may change, a toleration and a node may come */
	json_object_set_new(json_array_get(json_at(imaged, "spec.containers"), 0), "image",
			    json_string("other"));
	json_put_str(imaged, "spec.nodeName", "n");
	json_array_append_new(json_arr(imaged, "spec.tolerations"),
			      json_pack("{s:s, s:s}", "key", "a", "operator", "Exists"));
	assert_int_equal(schema_validate(&kind_pod, imaged, pod, NULL), 0);
}

/* ---- discovery and OpenAPI -------------------------------------------------------------- */

static void test_discovery(void **state UNUSED)
{
	json_auto_t *groups = discovery_group_list(), *core = discovery_resources("", "v1");
	json_auto_t *apps = discovery_aggregated("v2", false), *group = discovery_group("apps");
	json_auto_t *events = discovery_resources("events.k8s.io", "v1");
	json_t *list = json_object_get(core, "resources"), *r;

	assert_non_null(json_find(json_object_get(groups, "groups"), "name", "apps"));
	assert_null(json_find(json_object_get(groups, "groups"), "name", ""));
	r = json_find(list, "name", "pods");
	assert_string_equal(json_str(r, "singularName", ""), "pod");
	assert_true(json_bool(r, "namespaced", false));
	assert_int_equal(json_len(r, "verbs"), 8);
	assert_string_equal(json_str(r, "storageVersionHash", ""), "xPOwRZ+Yhw8=");
	r = json_find(list, "name", "componentstatuses");
	assert_null(json_object_get(r, "storageVersionHash"));
	r = json_find(list, "name", "pods/eviction");
	assert_null(json_object_get(r, "storageVersionHash"));
	assert_string_equal(json_str(r, "group", ""), "policy");
	assert_string_equal(json_str(r, "kind", ""), "Eviction");
	assert_string_equal(json_str(json_find(list, "name", "pods/log"), "kind", ""), "Pod");
	assert_string_equal(json_str(group, "preferredVersion.groupVersion", ""), "apps/v1");
	assert_null(discovery_group("nope"));
	assert_null(discovery_resources("apps", "v2"));
	assert_string_equal(json_str(apps, "apiVersion", ""), "apidiscovery.k8s.io/v2");
	assert_int_equal(json_len(apps, "items"), json_len(groups, "groups"));
	/* All versions tell what is stored. */
	assert_string_equal(
		json_str(json_find(json_object_get(events, "resources"), "name", "events"),
			 "storageVersionHash", ""),
		"r2yiGXH7wu8=");
}

/* Every $ref must lead somewhere. */
static void check_refs(const json_t *v, const json_t *schemas, const char *prefix)
{
	const char *key;
	json_t *item;
	size_t i;

	json_array_foreach(v, i, item) check_refs(item, schemas, prefix);
	json_object_foreach((json_t *)v, key, item)
	{
		const char *ref = json_string_value(item);

		check_refs(item, schemas, prefix);
		if (!streq(key, "$ref") || !ref)
			continue;
		assert_true(str_starts(ref, prefix));
		if (!json_object_get(schemas, ref + strlen(prefix)))
			fail_msg("%s leads nowhere", ref);
	}
}

static void test_openapi_v3(void **state UNUSED)
{
	json_auto_t *index = openapi_v3_index();
	json_t *paths = json_object_get(index, "paths"), *entry;
	const char *path;

	assert_true(json_object_get(paths, "api/v1") && json_object_get(paths, "apis/apps/v1") &&
		    json_object_get(paths, "apis/rbac.authorization.k8s.io/v1"));
	json_object_foreach(paths, path, entry)
	{
		json_auto_t *doc = document_of(openapi_v3(path));
		auto_free char *url = xasprintf("/openapi/v3/%s?hash=", path);

		assert_true(str_starts(json_str(entry, "serverRelativeURL", ""), url));
		check_refs(doc, json_at(doc, "components.schemas"), "#/components/schemas/");
	}
	assert_null(openapi_v3("apis/none/v1"));
	assert_null(openapi_v3("apis/v1"));
	assert_null(openapi_v3("x"));
}

/* What kubectl looks for before it asks the server to validate fields. */
static void test_openapi_patch(void **state UNUSED)
{
	json_auto_t *doc = document_of(openapi_v3("apis/apps/v1"));
	json_t *op = json_object_get(
		json_object_get(json_object_get(doc, "paths"),
				"/apis/apps/v1/namespaces/{namespace}/deployments/{name}"),
		"patch");
	json_t *schemas = json_at(doc, "components.schemas"), *p;

	assert_non_null(json_find(json_object_get(op, "parameters"), "name", "fieldValidation"));
	assert_string_equal(
		json_str(json_object_get(op, "x-kubernetes-group-version-kind"), "kind", ""),
		"Deployment");
	p = json_at(json_object_get(schemas, "io.k8s.api.core.v1.PodSpec"),
		    "properties.containers");
	assert_string_equal(json_str(p, "x-kubernetes-patch-merge-key", ""), "name");
	assert_string_equal(json_str(p, "x-kubernetes-patch-strategy", ""), "merge");
	assert_string_equal(json_str(p, "x-kubernetes-list-type", ""), "map");
	p = json_at(json_object_get(schemas, "io.k8s.api.core.v1.PodSpec"), "properties.volumes");
	assert_string_equal(json_str(p, "x-kubernetes-patch-strategy", ""), "merge,retainKeys");
	/* fields of inline messages stand in their parent */
	assert_non_null(json_at(json_object_get(schemas, "io.k8s.api.core.v1.Volume"),
				"properties.hostPath"));
}

static void test_openapi_v2(void **state UNUSED)
{
	json_auto_t *doc = document_of(openapi_v2(false));
	json_t *list;

	check_refs(doc, json_object_get(doc, "definitions"), "#/definitions/");
	list = json_object_get(json_object_get(doc, "definitions"), "io.k8s.api.core.v1.PodList");
	assert_string_equal(json_str(json_at(list, "properties.items.items"), "$ref", ""),
			    "#/definitions/io.k8s.api.core.v1.Pod");
}

/* Each piece is a row of whole fields of the message Document; the rest is compared with the JSON
 * in tests/functional/test_openapi.py. */
static void test_openapi_v2_protobuf(void **state UNUSED)
{
	struct openapi *d = openapi_v2(true);
	size_t counts[14] = {0};

	for (;;) {
		auto_strbuf b = {0};
		size_t at = 0;

		if (!openapi_next(d, &b))
			break;
		while (at < b.len) {
			uint8_t tag = (uint8_t)b.s[at++];
			size_t len = 0;

			assert_int_equal(tag & 7, 2);
			assert_true(tag >> 3 < 14);
			counts[tag >> 3]++;
			for (unsigned shift = 0;; shift += 7) {
				uint8_t byte = (uint8_t)b.s[at++];

				len |= (size_t)(byte & 0x7f) << shift;
				if (!(byte & 0x80))
					break;
			}
			at += len;
		}
		assert_int_equal(at, b.len);
		assert_true(b.len < 65536);
	}
	openapi_free(d);
	assert_int_equal(counts[1], 1);
	assert_int_equal(counts[2], 1);
	assert_true(counts[8] > 150 && counts[9] > 400);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_tables),
		cmocka_unit_test(test_kind_words),
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_decode_errors),
		cmocka_unit_test(test_decode_modes),
		cmocka_unit_test(test_decode_form),
		cmocka_unit_test(test_decode_bounds),
		cmocka_unit_test(test_protobuf),
		cmocka_unit_test(test_protobuf_errors),
		cmocka_unit_test(test_protobuf_delete_options),
		cmocka_unit_test(test_defaults),
		cmocka_unit_test(test_container_defaults),
		cmocka_unit_test(test_valid),
		cmocka_unit_test(test_invalid),
		cmocka_unit_test(test_invalid_message),
		cmocka_unit_test(test_update_rules),
		cmocka_unit_test(test_discovery),
		cmocka_unit_test(test_openapi_v3),
		cmocka_unit_test(test_openapi_patch),
		cmocka_unit_test(test_openapi_v2),
		cmocka_unit_test(test_openapi_v2_protobuf),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
