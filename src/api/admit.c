/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a write may say depends on who writes: nobody gives rights that he does not have himself
 * (kubernetes pkg/registry/rbac/.../policybased).
 */
#include "internal.h"

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
