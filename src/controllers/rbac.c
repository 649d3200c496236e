/* SPDX-License-Identifier: Apache-2.0 */
/*
 * RBAC: at start the default roles and bindings get back what they lack, unless their annotation
 * autoupdate says "false"; aggregated ClusterRoles hold the rules of those they select.
 */
#include "internal.h"
#include "rbac.h"

#include <coracle/identity.h>

#define AUTOUPDATE "rbac.authorization.kubernetes.io/autoupdate"
#define GROUP "rbac.authorization.k8s.io"
#define KEY_POLICY "/policy"
#define KEY_AGGREGATE "/aggregate"

static void *start(struct controller *c)
{
	queue_add(&c->queue, KEY_POLICY);
	return NULL;
}

static void on_event(struct controller *c, const struct store_event *ev)
{
	if (ev->obj->kind == &kind_clusterrole)
		queue_add(&c->queue, KEY_AGGREGATE);
}

/* ---- default policy ---------------------------------------------------------------------- */

static json_t *csv(const char *list)
{
	auto_strv words = {0};
	json_t *v = json_array();

	strv_split(&words, list, ',');
	for (size_t i = 0; i < words.n; i++)
		json_array_append_new(v, json_string(words.v[i]));
	if (!words.n)
		json_array_append_new(v, json_string(""));
	return v;
}

static json_t *rule_new(const struct policy_rule *r)
{
	json_t *v = json_pack("{s:o}", "verbs", csv(r->verbs));

	if (r->groups) {
		json_object_set_new(v, "apiGroups", csv(r->groups));
		json_object_set_new(v, "resources", csv(r->resources));
	}
	if (r->names)
		json_object_set_new(v, "resourceNames", csv(r->names));
	if (r->urls)
		json_object_set_new(v, "nonResourceURLs", csv(r->urls));
	return v;
}

static json_t *object_new(const struct kind *k, const char *ns, const char *name)
{
	return json_pack("{s:s, s:s, s:{s:s, s:s*, s:{s:s}, s:{s:s}}}", "apiVersion", GROUP "/v1",
			 "kind", k->kind, "metadata", "name", name, "namespace", ns, "labels",
			 "kubernetes.io/bootstrapping", "rbac-defaults", "annotations", AUTOUPDATE,
			 "true");
}

static const struct kind *role_kind(const char *ns)
{
	return ns ? &kind_role : &kind_clusterrole;
}

static const struct kind *binding_kind(const char *ns)
{
	return ns ? &kind_rolebinding : &kind_clusterrolebinding;
}

static json_t *role_new(const struct policy_role *r)
{
	json_t *v = object_new(role_kind(r->ns), r->ns, r->name), *rules = json_arr(v, "rules");

	for (size_t i = 0; i < r->n_rules; i++)
		json_array_append_new(rules, rule_new(&r->rules[i]));
	if (r->aggregates)
		json_object_set_new(v, "aggregationRule",
				    json_pack("{s:[{s:{s:s}}]}", "clusterRoleSelectors",
					      "matchLabels", r->aggregates, "true"));
	if (r->aggregated_to)
		json_object_set_new(json_obj(v, "metadata.labels"), r->aggregated_to,
				    json_string("true"));
	return v;
}

static void add_subjects_of(json_t *subjects, const char *kind, const char *list)
{
	auto_strv names = {0};

	strv_split(&names, list ? list : "", ',');
	for (size_t i = 0; i < names.n; i++)
		json_array_append_new(subjects, json_pack("{s:s, s:s, s:s}", "kind", kind,
							  "apiGroup", GROUP, "name", names.v[i]));
}

static json_t *binding_new(const struct policy_binding *b)
{
	json_t *v = object_new(binding_kind(b->ns), b->ns, b->name);
	json_t *subjects = json_array();

	add_subjects_of(subjects, "Group", b->groups);
	add_subjects_of(subjects, "User", b->users);
	if (b->account)
		json_array_append_new(subjects,
				      json_pack("{s:s, s:s, s:s}", "kind", "ServiceAccount",
						"namespace", "kube-system", "name", b->account));
	if (json_array_size(subjects))
		json_object_set(v, "subjects", subjects);
	json_decref(subjects);
	json_object_set_new(v, "roleRef",
			    json_pack("{s:s, s:s, s:s}", "apiGroup", GROUP, "kind",
				      role_kind(b->ns)->kind, "name", b->role));
	return v;
}

/* Adds the members of want that obj.path lacks. */
static void add_members(json_t *obj, const json_t *want, const char *path)
{
	json_t *to = json_obj(obj, path), *v;
	const char *key;

	json_object_foreach(json_at(want, path), key, v) if (!json_object_get(to, key))
		json_object_set(to, key, v);
}

static void add_rules(json_t *obj, const json_t *want)
{
	json_t *rules = json_arr(obj, "rules"), *v;
	size_t i;

	json_array_foreach(json_object_get(want, "rules"), i, v)
	{
		json_auto_t *one = json_pack("[O]", v);

		if (!rules_cover(rules, one, NULL))
			json_array_append(rules, v);
	}
	if (json_object_get(want, "aggregationRule") && !json_object_get(obj, "aggregationRule"))
		json_object_set(obj, "aggregationRule", json_object_get(want, "aggregationRule"));
}

static void add_subjects(json_t *obj, const json_t *want)
{
	json_t *subjects = json_arr(obj, "subjects"), *v, *has;
	size_t i, j;

	json_array_foreach(json_object_get(want, "subjects"), i, v)
	{
		bool found = false;

		json_array_foreach(subjects, j, has) found = found || json_equal(has, v);
		if (!found)
			json_array_append(subjects, v);
	}
}

static int ensure(struct controller *c, const struct kind *k, json_t *want, struct err *err)
{
	json_auto_t *owned = want, *obj = NULL;
	const char *ns = meta_ns(want);
	const struct object *old = store_get(c->store, k, ns, meta_name(want));
	struct write_options w = {0};
	const char *autoupdate;

	if (!old)
		return registry_create(c->registry, k, ns, owned, &w, NULL, err);
	autoupdate = meta_annotation(object_json(old), AUTOUPDATE);
	if (!autoupdate || !streq(autoupdate, "true"))
		return 0;
	obj = object_dup(old);
	add_members(obj, want, "metadata.labels");
	add_members(obj, want, "metadata.annotations");
	if (k == &kind_clusterrole || k == &kind_role)
		add_rules(obj, want);
	else if (json_object_get(want, "subjects"))
		add_subjects(obj, want);
	if (json_equal(obj, (json_t *)(uintptr_t)object_json(old)))
		return 0;
	return registry_update(c->registry, k, NULL, ns, old->name, obj, &w, NULL, NULL, err);
}

static int apply_policy(struct controller *c, struct err *err)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < n_policy_roles; i++)
		r = ensure(c, role_kind(policy_roles[i].ns), role_new(&policy_roles[i]), err);
	for (size_t i = 0; r == 0 && i < n_policy_bindings; i++)
		r = ensure(c, binding_kind(policy_bindings[i].ns), binding_new(&policy_bindings[i]),
			   err);
	return r;
}

/* ---- aggregation ------------------------------------------------------------------------- */

static bool selected(const json_t *selectors, const json_t *role)
{
	json_t *v;
	size_t i;

	json_array_foreach(selectors, i, v)
	{
		auto_err err = {0};
		struct label_selector *s auto_clean(label_selector) =
			label_selector_from_json(v, &err);

		if (s && label_selector_matches(s, json_at(role, "metadata.labels")))
			return true;
	}
	return false;
}

static void add_distinct(json_t *to, const json_t *rules)
{
	json_t *v, *has;
	size_t i, j;

	json_array_foreach(rules, i, v)
	{
		bool found = false;

		json_array_foreach(to, j, has) found = found || json_equal(has, v);
		if (!found)
			json_array_append(to, v);
	}
}

static int aggregate_one(struct controller *c, const struct object *o, struct err *err)
{
	const json_t *selectors = json_at(object_json(o), "aggregationRule.clusterRoleSelectors");
	struct store_iter it = store_iter(c->store, &kind_clusterrole, NULL);
	json_auto_t *rules = json_array(), *obj = NULL;
	const struct object *part;
	struct write_options w = {0};

	while ((part = store_next(&it)))
		if (!streq(part->name, o->name) && selected(selectors, object_json(part)))
			add_distinct(rules, json_object_get(object_json(part), "rules"));
	if (json_equal(rules, json_object_get(object_json(o), "rules")))
		return 0;
	obj = object_dup(o);
	json_object_set(obj, "rules", rules);
	return registry_update(c->registry, &kind_clusterrole, NULL, "", o->name, obj, &w, NULL,
			       NULL, err);
}

static int aggregate(struct controller *c, struct err *err)
{
	struct store_iter it = store_iter(c->store, &kind_clusterrole, NULL);
	const struct object *o;
	int r = 0;

	while (r == 0 && (o = store_next(&it)))
		if (json_len(object_json(o), "aggregationRule.clusterRoleSelectors"))
			r = aggregate_one(c, o, err);
	return r;
}

static int reconcile(struct controller *c, const char *key, struct err *err)
{
	return streq(key, KEY_POLICY) ? apply_policy(c, err) : aggregate(c, err);
}

const struct controller_def rbac_controller = {
	.name = "rbac", .on_event = on_event, .reconcile = reconcile, .start = start};
