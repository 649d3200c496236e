/* SPDX-License-Identifier: Apache-2.0 */
/* Reviews of oneself: `kubectl auth can-i` and `kubectl auth whoami`. Nothing is stored. */
#include "internal.h"

/* A review has no metadata and so no Table form (KUBERNETES.md 4.2). */
static bool acceptable(struct call *c)
{
	if (c->accept.media == MEDIA_JSON || c->accept.media == MEDIA_YAML)
		return true;
	call_reply_error(c, ERR_NOT_ACCEPTABLE,
			 "only the following media types are accepted: application/json, "
			 "application/yaml, application/vnd.kubernetes.protobuf");
	return false;
}

static json_t *review_body(struct call *c, const char *message, const char *api_version,
			   const char *kind)
{
	auto_err err = {0};

	if (!acceptable(c))
		return NULL;
	json_t *v = call_body(c, message_find(message), api_version, kind, &err);

	if (!v)
		call_reply_err(c, &err);
	return v;
}

/* Who is not an administrator may ask about himself and read discovery, and no more. */
void handle_access_review(struct call *c)
{
	json_t *v = review_body(c, "io.k8s.api.authorization.v1.SelfSubjectAccessReview",
				"authorization.k8s.io/v1", "SelfSubjectAccessReview");

	if (!v)
		return;
	json_put(v, "status", json_object());
	json_put_bool(v, "status.allowed", c->user.admin);
	json_put_str(v, "status.reason",
		     c->user.admin ? "member of system:masters" : "not a member of system:masters");
	call_reply_json(c, 201, v);
}

static json_t *strings(const char *const *list)
{
	json_t *v = json_array();

	for (; *list; list++)
		json_array_append_new(v, json_string(*list));
	return v;
}

void handle_rules_review(struct call *c)
{
	static const char *const all[] = {"*", NULL}, *const get[] = {"get", NULL};
	static const char *const open[] = {"/api",     "/api/*", "/apis",      "/apis/*",
					   "/healthz", "/livez", "/openapi/*", "/readyz",
					   "/version", NULL};
	json_t *v = review_body(c, "io.k8s.api.authorization.v1.SelfSubjectRulesReview",
				"authorization.k8s.io/v1", "SelfSubjectRulesReview");

	if (!v)
		return;
	json_t *resources = json_array(), *urls = json_array();

	if (c->user.admin)
		json_array_append_new(resources,
				      json_pack("{s:o,s:o,s:o}", "verbs", strings(all), "apiGroups",
						strings(all), "resources", strings(all)));
	json_array_append_new(urls,
			      json_pack("{s:o,s:o}", "verbs", strings(c->user.admin ? all : get),
					"nonResourceURLs", strings(c->user.admin ? all : open)));
	json_put(v, "status.resourceRules", resources);
	json_put(v, "status.nonResourceRules", urls);
	json_put_bool(v, "status.incomplete", false);
	call_reply_json(c, 201, v);
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
	json_put_str(v, "status.userInfo.username", c->user.name);
	json_put(v, "status.userInfo.groups", strings((const char *const *)c->user.groups.v));
	call_reply_json(c, 201, v);
}
