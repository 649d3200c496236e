/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a write may say depends on who writes: nobody gives rights that he does not have himself
 * (kubernetes pkg/registry/rbac/.../policybased), or signs who is not a signer
 * (plugin/pkg/admission/certificates).
 */
#include "internal.h"
#include <coracle/cel.h>

static bool member_same(const json_t *obj, const struct object *old, const char *member)
{
	const json_t *a = json_object_get(obj, member);
	const json_t *b = old ? json_object_get(object_json(old), member) : NULL;

	return json_array_size(a) + json_array_size(b) + json_object_size(a) +
			       json_object_size(b) ==
		       0 ||
	       (a && b && json_equal(a, b));
}

static bool may(struct call *c, const char *verb, const char *resource, const char *ns,
		const char *name)
{
	const struct access a = {.verb = verb,
				 .group = kind_role.group,
				 .version = "",
				 .resource = resource,
				 .sub = "",
				 .ns = ns,
				 .name = name};

	return identity_allows(c->api->config.identity, &c->user, &a, NULL);
}

/* Whoever lets labels decide what a role holds must have everything. */
static json_t *everything(void)
{
	return json_pack("[{s:[s], s:[s], s:[s]}, {s:[s], s:[s]}]", "verbs", "*", "apiGroups", "*",
			 "resources", "*", "verbs", "*", "nonResourceURLs", "*");
}

static int check_role(struct call *c, const struct kind *k, json_t *obj, const struct object *old,
		      struct err *err)
{
	struct identity *id = c->api->config.identity;
	json_auto_t *all = NULL;
	int rc;

	if (old && member_same(obj, old, "rules") && member_same(obj, old, "aggregationRule"))
		return 0;
	if (may(c, "escalate", k->plural, meta_ns(obj), c->target.name ? c->target.name : ""))
		return 0;
	rc = identity_may_grant(id, &c->user, meta_ns(obj), json_object_get(obj, "rules"), k,
				meta_name(obj), err);
	if (rc < 0 || member_same(obj, old, "aggregationRule"))
		return rc;
	all = everything();
	return identity_may_grant(id, &c->user, "", all, k, meta_name(obj), err);
}

static int check_binding(struct call *c, const struct kind *k, json_t *obj,
			 const struct object *old, struct err *err)
{
	const char *name = json_str(obj, "roleRef.name", "");
	bool cluster = streq(json_str(obj, "roleRef.kind", ""), "ClusterRole");
	const struct kind *role = cluster ? &kind_clusterrole : &kind_role;
	const struct object *o;

	if (old && member_same(obj, old, "roleRef") && member_same(obj, old, "subjects"))
		return 0;
	if (may(c, "bind", role->plural, meta_ns(obj), name))
		return 0;
	o = store_get(c->api->store, role, cluster ? "" : meta_ns(obj), name);
	if (!o)
		return err_set(err, ERR_NOT_FOUND, "%s.%s \"%s\" not found", role->singular,
			       role->group, name);
	return identity_may_grant(c->api->config.identity, &c->user, meta_ns(obj),
				  json_object_get(object_json(o), "rules"), k, meta_name(obj), err);
}

/* ---- certificate requests ---------------------------------------------------------------- */

#define CLIENT_SIGNER "kubernetes.io/kube-apiserver-client"

static int invalid_request(const json_t *obj, const char *why, struct err *err)
{
	const struct kind *k = &kind_certificatesigningrequest;

	err_about(err, k->kind, k->group, meta_name(obj));
	err_cause_add(err, "FieldValueInvalid", "spec.request", "Invalid value: \"<bytes>\": %s",
		      why);
	return err_set(err, ERR_INVALID,
		       "%s.%s \"%s\" is invalid: spec.request: Invalid value: \"<bytes>\": %s",
		       k->kind, k->group, meta_name(obj), why);
}

static int forbidden(const struct kind *k, const json_t *obj, const char *why, const char *signer,
		     struct err *err)
{
	char resource[API_VERSION_MAX];

	return err_set(err, ERR_FORBIDDEN, "%s \"%s\" is forbidden: %s \"%s\"",
		       kind_resource(k, resource), meta_name(obj), why, signer);
}

/* Who asks is what the server knows, not what the request says. */
static int fill_request(struct call *c, const struct kind *k, json_t *obj, const struct object *old,
			struct err *err)
{
	json_t *spec = json_obj(obj, "spec"), *info;
	bool masters = false;
	auto_err why = {0};

	if (old)
		return 0;
	if (identity_csr_check(json_str(spec, "request", ""), &masters, &why) < 0)
		return invalid_request(obj, err_message(&why), err);
	if (masters && streq(json_str(spec, "signerName", ""), CLIENT_SIGNER))
		return forbidden(k, obj,
				 "use of kubernetes.io/kube-apiserver-client signer with "
				 "system:masters group is not allowed, signer",
				 CLIENT_SIGNER, err);
	info = user_info(&c->user);
	for (const char *const *m =
		     (const char *const[]){"username", "uid", "groups", "extra", NULL};
	     *m; m++) {
		json_object_del(spec, *m);
		if (json_object_get(info, *m))
			json_object_set(spec, *m, json_object_get(info, *m));
	}
	json_decref(info);
	return 0;
}

/* Whether he may `verb` for the signer, or all signers of its domain. */
static bool may_sign(struct call *c, const char *verb, const char *signer)
{
	const char *slash = strchr(signer, '/');
	auto_free char *all = slash ? xasprintf("%.*s/*", (int)(slash - signer), signer) : NULL;
	struct access a = {.verb = verb,
			   .group = kind_certificatesigningrequest.group,
			   .version = "",
			   .resource = "signers",
			   .sub = "",
			   .ns = "",
			   .name = signer};

	if (identity_allows(c->api->config.identity, &c->user, &a, NULL))
		return true;
	a.name = all ? all : "";
	return *a.name && identity_allows(c->api->config.identity, &c->user, &a, NULL);
}

static int check_approval(struct call *c, const struct kind *k, json_t *obj,
			  const struct object *old, struct err *err)
{
	const char *signer = json_str(object_json(old), "spec.signerName", "");

	if (may_sign(c, "approve", signer))
		return 0;
	return forbidden(k, obj, "user not permitted to approve requests with signerName", signer,
			 err);
}

static int check_signing(struct call *c, const struct kind *k, json_t *obj,
			 const struct object *old, struct err *err)
{
	const json_t *was = object_json(old);
	const char *signer = json_str(was, "spec.signerName", "");
	bool failed = json_find(json_at(obj, "status.conditions"), "type", "Failed");
	bool had_failed = json_find(json_at(was, "status.conditions"), "type", "Failed");

	if (streq(json_str(obj, "status.certificate", ""),
		  json_str(was, "status.certificate", "")) &&
	    failed == had_failed)
		return 0;
	if (may_sign(c, "sign", signer))
		return 0;
	return forbidden(k, obj, "user not permitted to sign requests with signerName", signer,
			 err);
}

/* ---- admission policies ------------------------------------------------------------------ */

static json_t *by_user(void *arg)
{
	return user_info(&((struct call *)arg)->user);
}

/* A service account as it would be after its token was checked. */
static void account_user(struct user *u, const struct cel_access *access)
{
	strv_add(&u->groups, "system:serviceaccounts");
	strv_addf(&u->groups, "system:serviceaccounts:%s", access->namespace);
	user_complete(u, access->user);
}

static const char *or_empty(const char *s)
{
	return s ? s : "";
}

static bool by_authorize(void *arg, const struct cel_access *access, const char **reason)
{
	struct call *c = arg;
	const struct access a = {.verb = access->verb,
				 .path = access->path,
				 .group = or_empty(access->group),
				 .version = "",
				 .resource = or_empty(access->resource),
				 .sub = or_empty(access->subresource),
				 .ns = or_empty(access->in_namespace),
				 .name = or_empty(access->name)};
	auto_user account = {0};

	*reason = "";
	if (access->user)
		account_user(&account, access);
	return identity_allows(c->api->config.identity, access->user ? &account : &c->user, &a,
			       NULL);
}

const struct write_by *call_by(struct call *c)
{
	c->by = (struct write_by){by_user, by_authorize, c, &c->warnings};
	return &c->by;
}

/* ---- the table -------------------------------------------------------------------------- */

static const struct {
	const struct kind *kind;
	const char *sub; /* NULL: the object itself */
	int (*check)(struct call *c, const struct kind *k, json_t *obj, const struct object *old,
		     struct err *err);
} checks[] = {
	{&kind_role, NULL, check_role},
	{&kind_clusterrole, NULL, check_role},
	{&kind_rolebinding, NULL, check_binding},
	{&kind_clusterrolebinding, NULL, check_binding},
	{&kind_certificatesigningrequest, NULL, fill_request},
	{&kind_certificatesigningrequest, "approval", check_approval},
	{&kind_certificatesigningrequest, "status", check_signing},
};

int admit_write(void *arg, const struct kind *k, const char *sub, json_t *obj,
		const struct object *old, struct err *err)
{
	struct call *c = arg;
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < ARRAY_SIZE(checks); i++)
		if (checks[i].kind == k && str_eq(checks[i].sub, sub))
			rc = checks[i].check(c, k, obj, old, err);
	return rc;
}
