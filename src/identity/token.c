/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tokens of service accounts: what they say, and when they count (kubernetes pkg/serviceaccount).
 *
 * Time: a board without a clock starts in 1970 and learns the time later, so neither "now" nor what
 * is stamped into a token can be believed before CLOCK_FLOOR.
 *  - now is before the moment of issue: the clock has gone back; the token is not judged by time.
 *  - issued by a clock before CLOCK_FLOOR: a token that is bound to an object counts as long as the
 *    object, others until the clock has become right.
 *  - else as RFC 7519 says.
 * The objects a token is bound to are looked up every time: a deleted pod's token is worth nothing.
 */
#include "internal.h"
#include "jwt.h"

#define LEGACY_ISSUER "kubernetes/serviceaccount"
#define LEGACY "kubernetes.io/serviceaccount/"
/* The life that kube-api-access volumes ask for: such tokens live a year for programs that read
 * them once (upstream: --service-account-extend-token-expiration). */
#define ADMISSION_SECONDS 3607
#define EXTENDED_SECONDS (INT64_C(365) * 24 * 3600)
/* A deleted pod's token counts a little longer, for what it does while it ends. */
#define DELETION_LEEWAY 60

bool clock_is_right(time_t now)
{
	return now >= CLOCK_FLOOR;
}

/* ---- issuing ----------------------------------------------------------------------------- */

static json_t *reference(const char *name, const char *uid)
{
	return json_pack("{s:s, s:s}", "name", name, "uid", uid);
}

/* What the token is bound to; a pod's node is told, too. */
static void add_bound(const struct identity *id, json_t *claims, const struct object *bound)
{
	const char *node =
		bound->kind == &kind_pod ? json_str(object_json(bound), "spec.nodeName", "") : "";
	const struct object *o = *node ? store_get(id->store, &kind_node, "", node) : NULL;

	json_object_set_new(claims, bound->kind->singular, reference(bound->name, bound->uid));
	if (o)
		json_object_set_new(claims, "node", reference(o->name, o->uid));
}

json_t *identity_audiences(const struct identity *id)
{
	return json_pack("[s]", id->issuer);
}

char *identity_token_issue(const struct identity *id, const struct token_request *r,
			   time_t *ret_expires)
{
	json_auto_t *claims = json_object(), *ours = identity_audiences(id);
	const json_t *audiences = json_array_size(r->audiences) ? r->audiences : ours;
	json_t *private = json_pack("{s:s, s:o}", "namespace", r->account->ns, "serviceaccount",
				    reference(r->account->name, r->account->uid));
	time_t now = time(NULL);
	bool extend = r->bound && r->bound->kind == &kind_pod && r->seconds == ADMISSION_SECONDS &&
		      json_equal(audiences, ours);
	char uuid[UUID_LEN];

	random_uuid(uuid);
	json_object_set(claims, "aud", (json_t *)(uintptr_t)audiences);
	json_put_int(claims, "exp", now + (extend ? EXTENDED_SECONDS : r->seconds));
	json_put_int(claims, "iat", now);
	json_put_str(claims, "iss", id->issuer);
	json_put_str(claims, "jti", uuid);
	json_object_set_new(claims, "kubernetes.io", private);
	json_put_int(claims, "nbf", now);
	json_put_strf(claims, "sub", "system:serviceaccount:%s:%s", r->account->ns,
		      r->account->name);
	if (r->bound)
		add_bound(id, private, r->bound);
	if (extend)
		json_put_int(private, "warnafter", now + r->seconds);
	*ret_expires = now + r->seconds;
	return jwt_sign(claims, id->token_key, id->token_kid);
}

char *identity_token_legacy(const struct identity *id, const struct object *account,
			    const char *secret)
{
	json_auto_t *claims = json_object();

	json_put_str(claims, "iss", LEGACY_ISSUER);
	json_object_set_new(claims, LEGACY "namespace", json_string(account->ns));
	json_object_set_new(claims, LEGACY "secret.name", json_string(secret));
	json_object_set_new(claims, LEGACY "service-account.name", json_string(account->name));
	json_object_set_new(claims, LEGACY "service-account.uid", json_string(account->uid));
	json_put_strf(claims, "sub", "system:serviceaccount:%s:%s", account->ns, account->name);
	return jwt_sign(claims, id->token_key, id->token_kid);
}

/* ---- checking ---------------------------------------------------------------------------- */

static int invalid(struct err *err, const char *why)
{
	return err_set(err, ERR_UNAUTHORIZED, "invalid bearer token, %s", why);
}

int claims_in_time(const json_t *claims, bool bound, time_t now, struct err *err)
{
	int64_t issued = json_int(claims, "iat", 0), not_before = json_int(claims, "nbf", 0);
	int64_t expires = json_int(claims, "exp", 0);

	if (now < issued)
		return 0;
	if (!clock_is_right((time_t)issued) && clock_is_right(now) && bound)
		return 0;
	if (now < not_before)
		return invalid(err, "service account token is not valid yet");
	if (now >= expires)
		return invalid(err, "service account token has expired");
	return 0;
}

/* The object named by ref in the claims is still the one that was meant. */
static int check_bound(const struct identity *id, const struct kind *k, const char *ns,
		       const json_t *ref, struct err *err)
{
	const struct object *o = store_get(id->store, k, ns, json_str(ref, "name", ""));
	struct timespec gone;

	if (!o || !streq(o->uid, json_str(ref, "uid", "")))
		return invalid(err, "service account token has been invalidated");
	if (time_parse(json_str(object_json(o), "metadata.deletionTimestamp", ""), &gone) == 0 &&
	    time(NULL) > gone.tv_sec + DELETION_LEEWAY)
		return invalid(err, "service account token has been invalidated");
	return 0;
}

static int check_account(const struct identity *id, const char *ns, const json_t *ref,
			 struct err *err)
{
	const struct object *o =
		store_get(id->store, &kind_serviceaccount, ns, json_str(ref, "name", ""));

	if (!o || meta_deleting(object_json(o)) || !streq(o->uid, json_str(ref, "uid", "")))
		return invalid(err, "service account token has been invalidated");
	return 0;
}

static int check_objects(const struct identity *id, const json_t *claims, bool *ret_bound,
			 struct err *err)
{
	static const struct {
		const char *claim;
		const struct kind *kind;
	} bindings[] = {{"pod", &kind_pod}, {"secret", &kind_secret}, {"node", &kind_node}};
	const json_t *private = json_object_get(claims, "kubernetes.io");
	const char *ns = json_str(private, "namespace", "");
	int rc = check_account(id, ns, json_object_get(private, "serviceaccount"), err);

	*ret_bound = false;
	for (size_t i = 0; rc == 0 && i < ARRAY_SIZE(bindings); i++) {
		const json_t *ref = json_object_get(private, bindings[i].claim);
		bool node = bindings[i].kind == &kind_node;

		/* Of a pod's node nothing is asked: the pod says enough. */
		if (!ref || (node && *ret_bound))
			continue;
		*ret_bound = true;
		rc = check_bound(id, bindings[i].kind, node ? "" : ns, ref, err);
	}
	return rc;
}

/* A legacy token counts while its Secret holds it. */
static int check_legacy(const struct identity *id, const json_t *claims, const char *token,
			struct err *err)
{
	const char *ns = json_string_value(json_object_get(claims, LEGACY "namespace"));
	const char *name = json_string_value(json_object_get(claims, LEGACY "secret.name"));
	const json_t *account = json_object_get(claims, LEGACY "service-account.name");
	const json_t *uid = json_object_get(claims, LEGACY "service-account.uid");
	const struct object *secret =
		ns && name ? store_get(id->store, &kind_secret, ns, name) : NULL;
	auto_free char *encoded = base64_encode(token, strlen(token));

	if (!secret || meta_deleting(object_json(secret)) ||
	    !streq(json_str(object_json(secret), "data.token", ""), encoded))
		return invalid(err, "service account token has been invalidated");
	json_auto_t *ref = json_pack("{s:O?, s:O?}", "name", account, "uid", uid);

	return check_account(id, ns, ref, err);
}

/* Signatures are dear on small machines: the last ones that were good are remembered. */
static bool signature_good(struct identity *id, const struct jwt *j, const char *token)
{
	unsigned char digest[TOKEN_DIGEST];
	unsigned n = 0;

	if (EVP_Digest(token, strlen(token), digest, &n, EVP_sha256(), NULL) != 1)
		return false;
	for (size_t i = 0; i < TOKENS_KNOWN; i++)
		if (memcmp(id->known[i], digest, TOKEN_DIGEST) == 0)
			return true;
	if (!jwt_verify(j, id->token_key))
		return false;
	memcpy(id->known[id->next_known++ % TOKENS_KNOWN], digest, TOKEN_DIGEST);
	return true;
}

/* What both the token and the asker name; "aud" may be one string. */
static json_t *common_audiences(const json_t *claims, const json_t *wanted)
{
	const json_t *aud = json_object_get(claims, "aud");
	json_t *both = json_array(), *v, *w;
	size_t i, j;

	if (json_is_string(aud)) {
		json_array_foreach(wanted, i, w) if (json_equal(w, aud)) json_array_append(both, w);
		return both;
	}
	json_array_foreach(wanted, i, w) json_array_foreach(aud, j, v) if (json_equal(v, w))
	{
		json_array_append(both, w);
		break;
	}
	return both;
}

static void add_extra(struct user *u, const char *key, const char *value)
{
	if (!u->extra)
		u->extra = json_object();
	json_object_set_new(u->extra, key, json_pack("[s]", value));
}

static void describe(const json_t *claims, struct user *u)
{
	static const char *const bound[] = {"pod", "node"};
	const json_t *private = json_object_get(claims, "kubernetes.io");
	const char *jti = json_str(claims, "jti", "");

	if (*jti) {
		auto_free char *text = xasprintf("JTI=%s", jti);

		add_extra(u, "authentication.kubernetes.io/credential-id", text);
	}
	for (size_t i = 0; i < ARRAY_SIZE(bound); i++) {
		const json_t *ref = json_object_get(private, bound[i]);
		auto_free char *name = xasprintf("authentication.kubernetes.io/%s-name", bound[i]);
		auto_free char *uid = xasprintf("authentication.kubernetes.io/%s-uid", bound[i]);

		if (!ref)
			continue;
		add_extra(u, name, json_str(ref, "name", ""));
		add_extra(u, uid, json_str(ref, "uid", ""));
	}
}

static void fill_user(const json_t *claims, bool legacy, struct user *u)
{
	const json_t *private = json_object_get(claims, "kubernetes.io");
	const char *ns = json_str(private, "namespace", "");
	const char *uid = json_str(private, "serviceaccount.uid", "");

	if (legacy) {
		ns = json_string_value(json_object_get(claims, LEGACY "namespace"));
		uid = json_string_value(json_object_get(claims, LEGACY "service-account.uid"));
	} else {
		describe(claims, u);
	}
	u->uid = xstrdup(uid ? uid : "");
	strv_add(&u->groups, "system:serviceaccounts");
	strv_addf(&u->groups, "system:serviceaccounts:%s", ns);
	user_complete(u, json_str(claims, "sub", ""));
}

static int check_claims(const struct identity *id, const json_t *claims, const char *token,
			bool legacy, struct err *err)
{
	bool bound;
	int rc;

	if (legacy)
		return check_legacy(id, claims, token, err);
	if (!streq(json_str(claims, "iss", ""), id->issuer))
		return invalid(err, "unknown issuer");
	rc = check_objects(id, claims, &bound, err);
	return rc < 0 ? rc : claims_in_time(claims, bound, time(NULL), err);
}

int identity_token_check(struct identity *id, const char *token, const json_t *audiences,
			 struct user *ret, json_t **ret_audiences, struct err *err)
{
	json_auto_t *ours = identity_audiences(id), *both = NULL;
	auto_jwt j = {0};
	int rc;

	if (jwt_parse(token, &j) < 0)
		return err_set(err, ERR_UNAUTHORIZED, "invalid bearer token");
	if (!signature_good(id, &j, token))
		return invalid(err, "invalid signature");
	bool legacy = streq(json_str(j.claims, "iss", ""), LEGACY_ISSUER);

	rc = check_claims(id, j.claims, token, legacy, err);
	if (rc < 0)
		return rc;
	if (legacy) /* made for the API alone */
		json_object_set(j.claims, "aud", ours);
	both = common_audiences(j.claims, json_array_size(audiences) ? audiences : ours);
	if (json_array_size(both) == 0)
		return invalid(err, "token audiences are invalid for the target audiences");
	fill_user(j.claims, legacy, ret);
	if (ret_audiences)
		*ret_audiences = steal_ptr(both);
	return 0;
}

/* ---- what others need to check them -------------------------------------------------------- */

json_t *identity_key_set(const struct identity *id)
{
	return json_pack("{s:[o]}", "keys", jwk_new(id->token_key, id->token_kid));
}

const char *identity_issuer(const struct identity *id)
{
	return id->issuer;
}
