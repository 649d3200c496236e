/* SPDX-License-Identifier: Apache-2.0 */
/* Tokens of service accounts: TokenRequest, TokenReview, and what others need to check them. */
#include "internal.h"

#define AUTHENTICATION "authentication.k8s.io"
#define SECONDS_DEFAULT 3600
#define SECONDS_MIN 600
#define SECONDS_MAX (INT64_C(1) << 32)

/* ---- TokenRequest ------------------------------------------------------------------------ */

static int check_seconds(int64_t seconds, struct err *err)
{
	const char *why = seconds < SECONDS_MIN ? "may not specify a duration less than 10 minutes"
			  : seconds > SECONDS_MAX
				  ? "may not specify a duration larger than 2^32 seconds"
				  : NULL;

	if (!why)
		return 0;
	err_about(err, "TokenRequest", AUTHENTICATION, NULL);
	err_cause_add(err, "FieldValueInvalid", "spec.expirationSeconds", "Invalid value: %lld: %s",
		      (long long)seconds, why);
	return err_set(err, ERR_INVALID,
		       "TokenRequest." AUTHENTICATION
		       " \"\" is invalid: spec.expirationSeconds: Invalid value: %lld: %s",
		       (long long)seconds, why);
}

/* The object that spec.boundObjectRef means; *ret NULL: none is named. */
static int find_bound(struct call *c, const json_t *ref, const struct object **ret, struct err *err)
{
	static const struct kind *const kinds[] = {&kind_pod, &kind_secret, &kind_node};
	const char *kind = json_str(ref, "kind", ""), *name = json_str(ref, "name", "");
	const char *uid = json_str(ref, "uid", "");
	const struct kind *k = NULL;

	*ret = NULL;
	if (!ref)
		return 0;
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
		if (streq(kinds[i]->kind, kind) && streq(json_str(ref, "apiVersion", ""), "v1"))
			k = kinds[i];
	if (!k)
		return err_set(err, ERR_BAD_REQUEST,
			       "cannot bind token to object of type %s, Kind=%s",
			       json_str(ref, "apiVersion", ""), kind);
	*ret = store_get(c->api->store, k, k->namespaced ? c->target.ns : "", name);
	if (!*ret)
		return err_not_found(err, k, name);
	if (*uid && !streq(uid, (*ret)->uid))
		return err_set(err, ERR_CONFLICT,
			       "Operation cannot be fulfilled on %s \"%s\": the UID in the bound "
			       "object reference (%s) does not match the UID in record. The object "
			       "might have been deleted and then recreated",
			       k->plural, name, uid);
	if (k == &kind_pod &&
	    !streq(json_str(object_json(*ret), "spec.serviceAccountName", ""), c->target.name))
		return err_set(err, ERR_BAD_REQUEST,
			       "cannot bind token for serviceaccount \"%s\" to pod running with "
			       "different serviceaccount name.",
			       c->target.name);
	return 0;
}

/* Fills in spec and status; the answer is the request completed. */
static int fulfil(struct call *c, json_t *v, struct err *err)
{
	struct token_request r = {.account = call_object(c, err),
				  .seconds =
					  json_int(v, "spec.expirationSeconds", SECONDS_DEFAULT)};
	auto_free char *token = NULL;
	time_t expires;
	int rc;

	if (!r.account)
		return -ENOENT;
	if (*meta_name(v) && !streq(meta_name(v), c->target.name))
		return err_set(
			err, ERR_BAD_REQUEST,
			"the name of the object (%s) does not match the name on the URL (%s)",
			meta_name(v), c->target.name);
	rc = check_seconds(r.seconds, err);
	if (rc == 0)
		rc = find_bound(c, json_at(v, "spec.boundObjectRef"), &r.bound, err);
	if (rc < 0)
		return rc;
	if (!json_len(v, "spec.audiences"))
		json_put(v, "spec.audiences", identity_audiences(c->api->config.identity));
	r.audiences = json_at(v, "spec.audiences");
	token = identity_token_issue(c->api->config.identity, &r, &expires);
	if (!token)
		return err_set(err, ERR_INTERNAL, "cannot sign a token");
	json_put_int(v, "spec.expirationSeconds", r.seconds);
	json_put_str(v, "metadata.name", c->target.name);
	json_put_str(v, "metadata.namespace", c->target.ns);
	json_put_time(v, "metadata.creationTimestamp", time(NULL));
	json_put_str(v, "status.token", token);
	json_put_time(v, "status.expirationTimestamp", expires);
	return 0;
}

void handle_token_request(struct call *c)
{
	auto_err err = {0};
	json_t *v = call_body(c, message_find("io.k8s.api.authentication.v1.TokenRequest"),
			      AUTHENTICATION "/v1", "TokenRequest", &err);

	if (!v || fulfil(c, v, &err) < 0) {
		json_decref(v);
		call_reply_err(c, &err);
		return;
	}
	call_reply_json(c, 201, v);
}

/* ---- TokenReview ------------------------------------------------------------------------- */

void handle_token_review(struct call *c)
{
	auto_err err = {0}, why = {0};
	auto_user u = {0};
	json_t *audiences = NULL, *v;

	v = call_body(c, message_find("io.k8s.api.authentication.v1.TokenReview"),
		      AUTHENTICATION "/v1", "TokenReview", &err);
	if (!v) {
		call_reply_err(c, &err);
		return;
	}
	if (!*json_str(v, "spec.token", "")) {
		json_decref(v);
		call_reply_error(c, ERR_BAD_REQUEST,
				 "token is required for TokenReview in authentication");
		return;
	}
	json_put(v, "status", json_object());
	if (auth_bearer(c->api, json_str(v, "spec.token", ""), json_at(v, "spec.audiences"), &u,
			&audiences, &why) == 0) {
		json_put_bool(v, "status.authenticated", true);
		json_put(v, "status.user", user_info(&u));
		json_put(v, "status.audiences", audiences);
	} else {
		json_put_str(v, "status.error", err_message(&why));
	}
	call_reply_json(c, 201, v);
}

/* ---- OpenID Connect discovery ------------------------------------------------------------ */

void handle_openid_configuration(struct call *c)
{
	const char *issuer = identity_issuer(c->api->config.identity);

	call_reply_json(c, 200,
			json_pack("{s:s, s:o, s:[s], s:[s], s:[s]}", "issuer", issuer, "jwks_uri",
				  json_sprintf("%s/openid/v1/jwks", issuer),
				  "response_types_supported", "id_token", "subject_types_supported",
				  "public", "id_token_signing_alg_values_supported", "ES256"));
}

void handle_key_set(struct call *c)
{
	size_t len;
	json_auto_t *v = identity_key_set(c->api->config.identity);
	char *text = json_text(v, &len);

	call_reply_take(c, 200, "application/jwk-set+json", text, len);
}
