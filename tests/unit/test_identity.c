/* SPDX-License-Identifier: Apache-2.0 */
/* identity: packed roles, the index over a real store, comparing of grants. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <openssl/ec.h>
#include <unistd.h>

#include "../../src/identity/internal.h"
#include "../../src/identity/jwt.h"
#include "../../src/node/tokens.h"

struct fixture {
	struct loop *loop;
	struct store *store;
	struct identity *id;
	char dir[64];
};

static int setup(void **state)
{
	struct fixture *f = xnew(struct fixture);
	auto_err err = {0};

	f->loop = loop_new();
	snprintf(f->dir, sizeof(f->dir), "%s/identity.XXXXXX",
		 getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp");
	assert_non_null(mkdtemp(f->dir));
	auto_free char *dir = path_join(f->dir, "store"), *run = path_join(f->dir, "run");
	auto_free char *pki = path_join(f->dir, "pki");
	struct store_config sc = {.dir = dir, .volatile_dir = run};
	struct identity_config c = {
		.pki_dir = pki, .node_name = "n", .cluster_domain = "cluster.local"};

	f->store = store_open(f->loop, &sc, &err);
	assert_non_null(f->store);
	f->id = identity_open(f->loop, f->store, &c, &err);
	assert_non_null(f->id);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	identity_close(f->id);
	store_flush(f->store);
	store_close(f->store);
	loop_bury(f->loop);
	loop_free(f->loop);
	rm_rf(f->dir);
	free(f);
	return 0;
}

/* ---- roles ------------------------------------------------------------------------------- */

static json_t *parse(const char *text)
{
	auto_err err = {0};
	json_t *v = json_parse(text, strlen(text), &err);

	assert_non_null(v);
	return v;
}

static bool allows(const struct role *r, const char *verb, const char *group, const char *resource,
		   const char *sub, const char *name)
{
	const struct access a = {.verb = verb,
				 .group = group,
				 .version = "v1",
				 .resource = resource,
				 .sub = sub,
				 .ns = "",
				 .name = name};

	return role_allows(r, &a);
}

static bool allows_path(const struct role *r, const char *verb, const char *path)
{
	const struct access a = {.verb = verb, .path = path};

	return role_allows(r, &a);
}

static void test_role(void **state)
{
	json_auto_t *rules =
		parse("[{\"verbs\":[\"get\",\"list\"],\"apiGroups\":[\"\"],\"resources\":[\"pods\","
		      "\"pods/log\"]},"
		      "{\"verbs\":[\"*\"],\"apiGroups\":[\"apps\"],\"resources\":[\"*/scale\"]},"
		      "{\"verbs\":[\"update\"],\"apiGroups\":[\"\"],\"resources\":[\"configmaps\"],"
		      "\"resourceNames\":[\"a\"]},"
		      "{\"verbs\":[\"get\"],\"nonResourceURLs\":[\"/healthz\",\"/metrics/*\"]}]");
	auto_free struct role *r = role_pack(rules);

	(void)state;
	assert_true(allows(r, "get", "", "pods", "", "x"));
	assert_true(allows(r, "list", "", "pods", "log", ""));
	assert_false(allows(r, "get", "", "pods", "exec", "x"));
	assert_false(allows(r, "get", "apps", "pods", "", "x"));
	assert_false(allows(r, "delete", "", "pods", "", "x"));
	assert_true(allows(r, "patch", "apps", "deployments", "scale", "x"));
	assert_false(allows(r, "patch", "apps", "deployments", "", "x"));
	assert_true(allows(r, "update", "", "configmaps", "", "a"));
	assert_false(allows(r, "update", "", "configmaps", "", "b"));
	assert_false(allows(r, "update", "", "configmaps", "", ""));
	assert_true(allows_path(r, "get", "/healthz"));
	assert_false(allows_path(r, "get", "/healthz/x"));
	assert_true(allows_path(r, "get", "/metrics/x/y"));
	assert_false(allows_path(r, "post", "/healthz"));
	assert_false(allows(r, "get", "", "secrets", "", "x"));
}

static void test_cover(void **state)
{
	json_auto_t *have = parse("[{\"verbs\":[\"get\",\"list\"],\"apiGroups\":[\"\"],"
				  "\"resources\":[\"pods\",\"*/log\"]},"
				  "{\"verbs\":[\"*\"],\"nonResourceURLs\":[\"/a/*\"]}]");
	json_auto_t *good = parse(
		"[{\"verbs\":[\"list\"],\"apiGroups\":[\"\"],\"resources\":[\"pods\",\"jobs/log\"],"
		"\"resourceNames\":[\"x\"]},{\"verbs\":[\"get\"],\"nonResourceURLs\":[\"/a/b\"]}]");
	json_auto_t *bad =
		parse("[{\"verbs\":[\"get\",\"watch\",\"create\"],\"apiGroups\":[\"\",\"apps\"],"
		      "\"resources\":[\"pods\"]}]");
	json_auto_t *huge = json_array();
	auto_strv missing = {0}, more = {0};

	(void)state;
	assert_true(rules_cover(have, good, &missing));
	assert_int_equal(missing.n, 0);
	assert_false(rules_cover(have, bad, &missing));
	assert_int_equal(missing.n, 2);
	assert_string_equal(missing.v[0], "{APIGroups:[\"\"], Resources:[\"pods\"], "
					  "Verbs:[\"watch\" \"create\"]}");
	assert_string_equal(missing.v[1], "{APIGroups:[\"apps\"], Resources:[\"pods\"], "
					  "Verbs:[\"get\" \"watch\" \"create\"]}");
	for (int i = 0; i < 5000; i++)
		json_array_append(huge, json_array_get(bad, 0));
	assert_false(rules_cover(have, huge, &more));
	assert_true(more.n <= 3);
}

/* ---- the index --------------------------------------------------------------------------- */

static void put(struct fixture *f, const struct kind *k, const char *text)
{
	json_auto_t *v = parse(text);
	char version[API_VERSION_MAX], uid[UUID_LEN];
	auto_err err = {0};

	random_uuid(uid);
	json_put_str(v, "apiVersion", kind_api_version(k, version));
	json_put_str(v, "kind", k->kind);
	json_put_str(v, "metadata.uid", uid);
	assert_int_equal(store_create(f->store, k, v, STORE_LAZY, NULL, NULL, NULL, &err), 0);
	loop_once(f->loop);
}

static bool may_get(struct fixture *f, struct user *u, const char *ns, char **why)
{
	const struct access a = {.verb = "get",
				 .group = "",
				 .version = "v1",
				 .resource = "pods",
				 .sub = "",
				 .ns = ns,
				 .name = "p"};

	return identity_allows(f->id, u, &a, why);
}

static void test_index(void **state)
{
	struct fixture *f = *state;
	auto_user jane = {0}, robot = {0};
	auto_free char *none = NULL, *lost = NULL, *by = NULL, *by_account = NULL;
	auto_err err = {0};

	user_complete(&jane, "jane");
	user_complete(&robot, "system:serviceaccount:b:robot");
	assert_false(may_get(f, &jane, "a", &none));
	assert_null(none);
	put(f, &kind_rolebinding,
	    "{\"metadata\":{\"name\":\"b\",\"namespace\":\"a\"},\"subjects\":[{\"kind\":\"User\","
	    "\"name\":\"jane\"},{\"kind\":\"ServiceAccount\",\"name\":\"robot\",\"namespace\":"
	    "\"b\"}],"
	    "\"roleRef\":{\"kind\":\"Role\",\"name\":\"r\"}}");
	assert_false(may_get(f, &jane, "a", &lost));
	assert_string_equal(lost, "RBAC: role.rbac.authorization.k8s.io \"r\" not found");
	put(f, &kind_role,
	    "{\"metadata\":{\"name\":\"r\",\"namespace\":\"a\"},\"rules\":[{\"verbs\":[\"get\"],"
	    "\"apiGroups\":[\"\"],\"resources\":[\"pods\"]}]}");
	assert_true(may_get(f, &jane, "a", &by));
	assert_string_equal(by,
			    "RBAC: allowed by RoleBinding \"b/a\" of Role \"r\" to User \"jane\"");
	assert_true(may_get(f, &robot, "a", &by_account));
	assert_string_equal(by_account, "RBAC: allowed by RoleBinding \"b/a\" of Role \"r\" to "
					"ServiceAccount \"robot/b\"");
	assert_false(may_get(f, &jane, "b", NULL));
	assert_false(may_get(f, &jane, "", NULL));
	assert_int_equal(store_delete(f->store, &kind_rolebinding, "a", "b", 0, STORE_LAZY, NULL,
				      NULL, NULL, &err),
			 0);
	loop_once(f->loop);
	assert_false(may_get(f, &jane, "a", NULL));
}

/* ---- tokens ------------------------------------------------------------------------------ */

static void test_jwt(void **state)
{
	struct fixture *f = *state;
	json_auto_t *claims = parse("{\"sub\":\"me\"}");
	auto_free char *text = jwt_sign(claims, f->id->token_key, f->id->token_kid);
	auto_jwt good = {0}, bad = {0};
	EVP_PKEY *other = EVP_EC_gen("P-256");

	assert_non_null(text);
	assert_int_equal(jwt_parse(text, &good), 0);
	assert_string_equal(json_str(good.claims, "sub", ""), "me");
	assert_true(jwt_verify(&good, f->id->token_key));
	assert_false(jwt_verify(&good, other));
	strchr(text, '.')[1] ^= 1; /* one bit of the claims */
	if (jwt_parse(text, &bad) == 0)
		assert_false(jwt_verify(&bad, f->id->token_key));
	assert_int_equal(jwt_parse("a.b", &bad), -EINVAL);
	EVP_PKEY_free(other);
}

#define RIGHT 1800000000
static void test_time(void **state)
{
	auto_err err = {0};
	json_auto_t *c = parse("{\"iat\":1800000000,\"nbf\":1800000000,\"exp\":1800003600}");
	json_auto_t *early = parse("{\"iat\":100,\"nbf\":100,\"exp\":3700}");

	(void)state;
	assert_int_equal(claims_in_time(c, true, RIGHT, &err), 0);
	assert_int_equal(claims_in_time(c, true, RIGHT + 3599, &err), 0);
	assert_true(claims_in_time(c, true, RIGHT + 3600, &err) < 0);
	assert_string_equal(err_message(&err),
			    "invalid bearer token, service account token has expired");
	/* after a boot without a clock */
	assert_int_equal(claims_in_time(c, false, 1000, &err), 0);
	/* stamped before the clock was right */
	assert_int_equal(claims_in_time(early, true, RIGHT, &err), 0);
	assert_true(claims_in_time(early, false, RIGHT, &err) < 0);
	assert_int_equal(claims_in_time(early, false, 200, &err), 0);
	assert_true(claims_in_time(early, false, 4000, &err) < 0);
}

static void test_token(void **state)
{
	struct fixture *f = *state;
	auto_err err = {0};
	auto_user u = {0}, again = {0};
	json_auto_t *other = parse("[\"somewhere\"]"), *both = NULL;
	time_t expires;

	put(f, &kind_serviceaccount, "{\"metadata\":{\"name\":\"robot\",\"namespace\":\"a\"}}");
	put(f, &kind_pod, "{\"metadata\":{\"name\":\"p\",\"namespace\":\"a\"}}");
	struct token_request r = {.account =
					  store_get(f->store, &kind_serviceaccount, "a", "robot"),
				  .bound = store_get(f->store, &kind_pod, "a", "p"),
				  .seconds = 600};
	auto_free char *token = identity_token_issue(f->id, &r, &expires);

	assert_true(expires >= time(NULL) + 590);
	assert_int_equal(identity_token_check(f->id, token, NULL, &u, &both, &err), 0);
	assert_string_equal(u.name, "system:serviceaccount:a:robot");
	assert_true(strv_has(&u.groups, "system:serviceaccounts:a"));
	assert_string_equal(json_string_value(json_array_get(both, 0)), identity_issuer(f->id));
	assert_string_equal(
		json_string_value(json_array_get(
			json_object_get(u.extra, "authentication.kubernetes.io/pod-name"), 0)),
		"p");
	assert_true(identity_token_check(f->id, token, other, &again, NULL, &err) < 0);
	assert_int_equal(
		store_delete(f->store, &kind_pod, "a", "p", 0, STORE_LAZY, NULL, NULL, NULL, &err),
		0);
	assert_true(identity_token_check(f->id, token, NULL, &again, NULL, &err) < 0);
	assert_string_equal(err_message(&err),
			    "invalid bearer token, service account token has been invalidated");
	r.bound = NULL;
	r.audiences = other;
	auto_free char *elsewhere = identity_token_issue(f->id, &r, &expires);

	assert_true(identity_token_check(f->id, elsewhere, NULL, &again, NULL, &err) < 0);
	assert_int_equal(identity_token_check(f->id, elsewhere, other, &again, NULL, &err), 0);
}

/* ---- what a volume holds ----------------------------------------------------------------- */

#define HOUR (3600 * USEC_PER_SEC)

static void test_renewal(void **state)
{
	struct fixture *f = *state;
	json_auto_t *source = parse("{\"path\":\"t\",\"expirationSeconds\":3600}");
	json_auto_t *vault = parse("{\"path\":\"v\",\"expirationSeconds\":600,\"audience\":\"v\"}");
	struct tokens t = {0};
	mono_t start = {1000}, early = mono_add(start, HOUR / 100 * 79);
	mono_t late = mono_add(start, HOUR / 100 * 80);
	auto_err err = {0};

	put(f, &kind_pod,
	    "{\"metadata\":{\"name\":\"p\",\"namespace\":\"a\"},\"spec\":{\"serviceAccountName\":"
	    "\"robot\"}}");
	const struct object *pod = store_get(f->store, &kind_pod, "a", "p");

	assert_int_equal(tokens_due_in(&t, start), 0);
	assert_null(tokens_get(&t, f->id, f->store, pod, source, start, &err));
	assert_string_equal(err_message(&err),
			    "failed to fetch token: serviceaccounts \"robot\" not found");
	put(f, &kind_serviceaccount, "{\"metadata\":{\"name\":\"robot\",\"namespace\":\"a\"}}");
	pod = store_get(f->store, &kind_pod, "a", "p");
	auto_free char *first = xstrdup(tokens_get(&t, f->id, f->store, pod, source, start, &err));

	assert_int_equal(tokens_due_in(&t, start), HOUR / 100 * 80 + 1);
	assert_string_equal(tokens_get(&t, f->id, f->store, pod, source, early, &err), first);
	assert_int_equal(tokens_due_in(&t, late), 1);
	assert_string_not_equal(tokens_get(&t, f->id, f->store, pod, source, late, &err), first);
	assert_int_equal(tokens_due_in(&t, late), HOUR / 100 * 80 + 1);
	assert_non_null(tokens_get(&t, f->id, f->store, pod, vault, late, &err));
	assert_int_equal(tokens_due_in(&t, late), 480 * USEC_PER_SEC + 1);
	tokens_done(&t);
}

/* ---- certificates ------------------------------------------------------------------------ */

static void test_csr(void **state)
{
	struct fixture *f = *state;
	auto_free char *junk = base64_encode("junk", 4);
	json_auto_t *spec = json_pack("{s:s, s:[s], s:s}", "request", junk, "usages", "client auth",
				      "signerName", "kubernetes.io/kube-apiserver-client");
	bool masters;
	auto_err err = {0};

	assert_true(identity_csr_check(junk, &masters, &err) < 0);
	assert_string_equal(err_message(&err), "PEM block type must be CERTIFICATE REQUEST");
	assert_true(identity_csr_check("not base64", &masters, &err) < 0);
	assert_null(identity_csr_sign(f->id, spec, &err));
	assert_int_equal(err.reason, ERR_INVALID);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_role),
		cmocka_unit_test(test_cover),
		cmocka_unit_test(test_time),
		cmocka_unit_test_setup_teardown(test_index, setup, teardown),
		cmocka_unit_test_setup_teardown(test_jwt, setup, teardown),
		cmocka_unit_test_setup_teardown(test_token, setup, teardown),
		cmocka_unit_test_setup_teardown(test_renewal, setup, teardown),
		cmocka_unit_test_setup_teardown(test_csr, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
