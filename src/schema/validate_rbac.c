/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Defaults and validation of Role, ClusterRole and their bindings (kubernetes pkg/apis/rbac).
 */
#include "validate.h"

#define GROUP "rbac.authorization.k8s.io"

/* ---- roles ------------------------------------------------------------------------------- */

static void check_rule(struct check *c, const json_t *rule, bool namespaced)
{
	const json_t *urls = json_object_get(rule, "nonResourceURLs");

	if (!json_len(rule, "verbs"))
		check_required(c, "verbs", "verbs must contain at least one value");
	if (json_array_size(urls)) {
		if (namespaced)
			check_invalid(c, "nonResourceURLs", urls,
				      "namespaced rules cannot apply to non-resource URLs");
		if (json_len(rule, "apiGroups") || json_len(rule, "resources") ||
		    json_len(rule, "resourceNames"))
			check_invalid(c, "nonResourceURLs", urls,
				      "rules cannot apply to both regular resources and "
				      "non-resource URLs");
		return;
	}
	if (!json_len(rule, "apiGroups"))
		check_required(c, "apiGroups", "resource rules must supply at least one api group");
	if (!json_len(rule, "resources"))
		check_required(c, "resources", "resource rules must supply at least one resource");
}

static void check_rules(struct check *c, const json_t *obj, bool namespaced)
{
	json_t *rule;

	check_foreach(c, obj, "rules", rule) check_rule(c, rule, namespaced);
}

void role_validate(const json_t *obj, const json_t *old UNUSED, struct err *err)
{
	struct check c = {.err = err};

	check_rules(&c, obj, true);
	strbuf_done(&c.path);
}

void clusterrole_validate(const json_t *obj, const json_t *old UNUSED, struct err *err)
{
	struct check c = {.err = err};
	const json_t *aggregation = json_object_get(obj, "aggregationRule");
	json_t *selector;

	check_rules(&c, obj, false);
	if (aggregation) {
		check_enter(&c, "aggregationRule");
		if (!json_len(aggregation, "clusterRoleSelectors"))
			check_required(&c, "clusterRoleSelectors",
				       "at least one clusterRoleSelector required if "
				       "aggregationRule is non-nil");
		check_foreach(&c, aggregation, "clusterRoleSelectors", selector)
			check_selector(&c, NULL, selector);
	}
	strbuf_done(&c.path);
}

/* ---- bindings ---------------------------------------------------------------------------- */

static void check_account(struct check *c, const json_t *subject, bool namespaced)
{
	const char *name = json_str(subject, "name", ""),
		   *group = json_str(subject, "apiGroup", "");
	const char *bad = *name ? valid_dns1123_subdomain(name) : NULL;

	if (bad)
		check_invalid_str(c, "name", name, "%s", bad);
	if (*group)
		check_unsupported(c, "apiGroup", group, "");
	if (!namespaced && !*json_str(subject, "namespace", ""))
		check_required(c, "namespace", "");
}

static void check_subject(struct check *c, const json_t *subject, bool namespaced)
{
	const char *kind = json_str(subject, "kind", "");
	const char *group = json_str(subject, "apiGroup", "");

	if (!*json_str(subject, "name", ""))
		check_required(c, "name", "");
	if (streq(kind, "ServiceAccount"))
		check_account(c, subject, namespaced);
	else if (!streq(kind, "User") && !streq(kind, "Group"))
		check_unsupported(c, "kind", kind, "ServiceAccount,User,Group");
	else if (!streq(group, GROUP))
		check_unsupported(c, "apiGroup", group, GROUP);
}

static void check_role_ref(struct check *c, const json_t *ref, const char *kinds)
{
	const char *name = json_str(ref, "name", ""), *kind = json_str(ref, "kind", "");
	const char *bad = *name ? valid_path_segment(name) : NULL;
	size_t mark = check_enter(c, "roleRef");

	if (!streq(json_str(ref, "apiGroup", ""), GROUP))
		check_unsupported(c, "apiGroup", json_str(ref, "apiGroup", ""), GROUP);
	if (!csv_has_exactly(kinds, kind))
		check_unsupported(c, "kind", kind, kinds);
	if (!*name)
		check_required(c, "name", "");
	else if (bad)
		check_invalid_str(c, "name", name, "%s", bad);
	check_leave(c, mark);
}

static void check_binding(const json_t *obj, const json_t *old, bool namespaced, struct err *err)
{
	struct check c = {.err = err};
	const json_t *ref = json_object_get(obj, "roleRef");
	json_t *subject;

	check_role_ref(&c, ref, namespaced ? "Role,ClusterRole" : "ClusterRole");
	check_foreach(&c, obj, "subjects", subject) check_subject(&c, subject, namespaced);
	if (old && !json_equal(ref, json_object_get(old, "roleRef")))
		check_invalid(&c, "roleRef", ref, "cannot change roleRef");
	strbuf_done(&c.path);
}

void rolebinding_validate(const json_t *obj, const json_t *old, struct err *err)
{
	check_binding(obj, old, true, err);
}

void clusterrolebinding_validate(const json_t *obj, const json_t *old, struct err *err)
{
	check_binding(obj, old, false, err);
}

void binding_set_defaults(json_t *obj, const json_t *old UNUSED)
{
	json_t *ref = json_object_get(obj, "roleRef"), *subject;
	size_t i;

	if (ref && !*json_str(ref, "apiGroup", ""))
		json_put_str(ref, "apiGroup", GROUP);
	json_array_foreach(json_object_get(obj, "subjects"), i, subject)
	{
		const char *kind = json_str(subject, "kind", "");

		if (!*json_str(subject, "apiGroup", "") &&
		    (streq(kind, "User") || streq(kind, "Group")))
			json_put_str(subject, "apiGroup", GROUP);
	}
}
