/* SPDX-License-Identifier: Apache-2.0 */
/* Reviews: who am I, what may I, what may he (`kubectl auth can-i`, `kubectl auth whoami`). Nothing
 * is stored. */
#include "internal.h"

/* A review has no metadata and so no Table form (KUBERNETES.md 4.2). */
static int check_acceptable(const struct call *c, struct err *err)
{
	if (c->accept.media == MEDIA_JSON || c->accept.media == MEDIA_YAML)
		return 0;
	return call_not_acceptable(err);
}

static json_t *review_body(struct call *c, const char *message, const char *api_version,
			   const char *kind)
{
	auto_err err = {0};

	json_t *v = check_acceptable(c, &err) < 0
			    ? NULL
			    : call_body(c, message_find(message), api_version, kind, &err);

	if (!v)
		call_reply_err(c, &err);
	return v;
}

/* Answers 422 with one cause; what is the Kind. */
static void refuse(struct call *c, const char *kind, const char *group, const char *field,
		   const char *fmt, const char *value)
{
	auto_err err = {0};
	auto_free char *text = xasprintf("Invalid value: %s: %s", value, fmt);

	err_cause_add(&err, "FieldValueInvalid", field, "%s", text);
	err_about(&err, kind, group, NULL);
	err_set(&err, ERR_INVALID, "%s.%s \"\" is invalid: %s: %s", kind, group, field, text);
	call_reply_err(c, &err);
}

/* ---- may he ------------------------------------------------------------------------------ */

static const struct review {
	const char *plural, *kind;
	bool self, local;
} reviews[] = {
	{"selfsubjectaccessreviews", "SelfSubjectAccessReview", true, false},
	{"subjectaccessreviews", "SubjectAccessReview", false, false},
	{"localsubjectaccessreviews", "LocalSubjectAccessReview", false, true},
};
#define AUTHORIZATION "authorization.k8s.io"

static const struct review *review_find(const char *plural)
{
	for (size_t i = 0; i < ARRAY_SIZE(reviews); i++)
		if (streq(reviews[i].plural, plural))
			return &reviews[i];
	return NULL;
}

/* kubernetes pkg/apis/authorization/validation; true: refused. */
static bool spec_refused(struct call *c, const struct review *r, const json_t *spec)
{
	const json_t *resource = json_object_get(spec, "resourceAttributes");
	const json_t *path = json_object_get(spec, "nonResourceAttributes");
	const char *field = NULL, *why = NULL, *value = "null";

	if (resource && path) {
		field = "spec.nonResourceAttributes";
		why = "cannot be specified in combination with resourceAttributes";
		value = "{}";
	} else if (!resource && !path) {
		field = "spec.resourceAttributes";
		why = "exactly one of nonResourceAttributes or resourceAttributes must be "
		      "specified";
	} else if (!r->self && !*json_str(spec, "user", "") && !json_len(spec, "groups")) {
		field = "spec.user";
		why = "at least one of user or group must be specified";
		value = "\"\"";
	} else if (r->local && path) {
		field = "spec.nonResourceAttributes";
		why = "disallowed on this kind of request";
		value = "{}";
	} else if (r->local && !str_eq(json_str(resource, "namespace", ""), c->target.ns)) {
		field = "spec.resourceAttributes.namespace";
		why = "must match metadata.namespace";
		value = "\"\"";
	}
	if (field)
		refuse(c, r->kind, AUTHORIZATION, field, why, value);
	return field != NULL;
}

static void subject(const json_t *spec, struct user *ret)
{
	json_t *group;
	size_t i;

	json_array_foreach(json_object_get(spec, "groups"), i, group)
		strv_add(&ret->groups, json_string_value(group));
	ret->name = xstrdup(json_str(spec, "user", ""));
	ret->admin = strv_has(&ret->groups, "system:masters");
}

static struct access asked(const json_t *spec)
{
	const json_t *r = json_object_get(spec, "resourceAttributes");
	const json_t *path = json_object_get(spec, "nonResourceAttributes");

	return (struct access){.verb = json_str(path ? path : r, "verb", ""),
			       .path = path ? json_str(path, "path", "") : NULL,
			       .group = json_str(r, "group", ""),
			       .version = json_str(r, "version", ""),
			       .resource = json_str(r, "resource", ""),
			       .sub = json_str(r, "subresource", ""),
			       .ns = json_str(r, "namespace", ""),
			       .name = json_str(r, "name", "")};
}

void handle_access_review(struct call *c)
{
	const struct review *r = review_find(c->target.plural);
	auto_free char *message = xasprintf("io.k8s.api.authorization.v1.%s", r->kind);
	auto_free char *reason = NULL;
	auto_user other = {0};
	json_t *v = review_body(c, message, AUTHORIZATION "/v1", r->kind);
	const json_t *spec = json_object_get(v, "spec");

	if (!v)
		return;
	if (spec_refused(c, r, spec)) {
		json_decref(v);
		return;
	}
	if (!r->self)
		subject(spec, &other);
	const struct access a = asked(spec);
	bool yes =
		identity_allows(c->api->config.identity, r->self ? &c->user : &other, &a, &reason);

	json_put(v, "status", json_object());
	json_put_bool(v, "status.allowed", yes);
	if (reason)
		json_put_str(v, "status.reason", reason);
	call_reply_json(c, 201, v);
}

/* ---- what may I -------------------------------------------------------------------------- */

/* Members of a PolicyRule that make it a ResourceRule or a NonResourceRule. */
static void add_rule(json_t *list, const json_t *rule, const char *const *members)
{
	json_t *copy = json_object();

	for (; *members; members++) {
		json_t *v = json_object_get(rule, *members);

		if (v)
			json_object_set(copy, *members, v);
	}
	json_array_append_new(list, copy);
}

void handle_rules_review(struct call *c)
{
	static const char *const of_resource[] = {"verbs", "apiGroups", "resources",
						  "resourceNames", NULL};
	static const char *const of_path[] = {"verbs", "nonResourceURLs", NULL};
	json_t *v = review_body(c, "io.k8s.api.authorization.v1.SelfSubjectRulesReview",
				AUTHORIZATION "/v1", "SelfSubjectRulesReview");
	const char *ns = json_str(v, "spec.namespace", "");
	json_t *resources = json_array(), *paths = json_array(), *rule;
	size_t i;

	if (!v || !*ns) {
		if (v)
			call_reply_error(c, ERR_BAD_REQUEST, "no namespace on request");
		json_decref(v);
		json_decref(resources);
		json_decref(paths);
		return;
	}
	json_auto_t *rules = identity_rules(c->api->config.identity, &c->user, ns);

	json_array_foreach(rules, i, rule)
	{
		if (json_len(rule, "resources"))
			add_rule(resources, rule, of_resource);
		if (json_len(rule, "nonResourceURLs"))
			add_rule(paths, rule, of_path);
	}
	json_put(v, "status.resourceRules", resources);
	json_put(v, "status.nonResourceRules", paths);
	json_put_bool(v, "status.incomplete", false);
	call_reply_json(c, 201, v);
}

/* ---- who am I ---------------------------------------------------------------------------- */

static json_t *strings(const struct strv *list)
{
	json_t *v = json_array();

	for (size_t i = 0; i < list->n; i++)
		json_array_append_new(v, json_string(list->v[i]));
	return v;
}

json_t *user_info(const struct user *u)
{
	json_t *v = json_object();

	json_put_str(v, "username", u->name);
	if (u->uid)
		json_put_str(v, "uid", u->uid);
	json_put(v, "groups", strings(&u->groups));
	if (u->extra)
		json_put(v, "extra", json_incref(u->extra));
	return v;
}

/* v1, and v1beta1/v1alpha1 for kubectl 1.27. */
void handle_self_review(struct call *c)
{
	static const char *const versions[] = {"v1", "v1beta1", "v1alpha1"};
	auto_free char *api_version = NULL;

	for (size_t i = 0; i < ARRAY_SIZE(versions); i++)
		if (str_eq(c->target.version, versions[i]))
			api_version = xasprintf("authentication.k8s.io/%s", versions[i]);
	if (!api_version) {
		call_reply_error(c, ERR_NOT_FOUND,
				 "the server could not find the requested resource");
		return;
	}
	json_t *v = review_body(c, "io.k8s.api.authentication.v1.SelfSubjectReview", api_version,
				"SelfSubjectReview");

	if (!v)
		return;
	json_put(v, "status.userInfo", user_info(&c->user));
	call_reply_json(c, 201, v);
}
