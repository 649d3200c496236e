/* SPDX-License-Identifier: Apache-2.0 */
/* The route table. A new route is a line here; what its permission is asked by is a column. */
#include "internal.h"

#define PATH ASK_PATH
#define RES ASK_RESOURCE

static const struct route routes[] = {
	/* method, path, verb, asked by, verb of the kind, handler, streaming */
	{"GET", "/", "get", PATH, 0, handle_root, false},
	{"GET", "/healthz", "get", PATH, 0, handle_health, false},
	{"GET", "/healthz/**", "get", PATH, 0, handle_health, false},
	{"GET", "/livez", "get", PATH, 0, handle_health, false},
	{"GET", "/livez/**", "get", PATH, 0, handle_health, false},
	{"GET", "/readyz", "get", PATH, 0, handle_health, false},
	{"GET", "/readyz/**", "get", PATH, 0, handle_health, false},
	{"GET", "/version", "get", PATH, 0, handle_version, false},
	{"GET", "/metrics", "get", PATH, 0, handle_metrics, false},

	{"GET", "/api", "get", PATH, 0, handle_api_versions, false},
	{"GET", "/apis", "get", PATH, 0, handle_groups, false},
	{"GET", "/apis/*", "get", PATH, 0, handle_group, false},
	{"GET", "/api/*", "get", PATH, 0, handle_resources, false},
	{"GET", "/apis/*/*", "get", PATH, 0, handle_resources, false},
	{"GET", "/openapi/v2", "get", PATH, 0, handle_openapi_v2, false},
	{"GET", "/openapi/v3", "get", PATH, 0, handle_openapi_v3, false},
	{"GET", "/openapi/v3/**", "get", PATH, 0, handle_openapi_v3_document, false},

	{"POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", "create", RES, 0,
	 handle_access_review, false},
	{"POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews", "create", RES, 0,
	 handle_access_review, false},
	{"POST", "/apis/authorization.k8s.io/v1/namespaces/*/localsubjectaccessreviews", "create",
	 RES, 0, handle_access_review, false},
	{"POST", "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews", "create", RES, 0,
	 handle_rules_review, false},
	{"POST", "/apis/authentication.k8s.io/*/selfsubjectreviews", "create", RES, 0,
	 handle_self_review, false},
	{"POST", "/apis/authentication.k8s.io/v1/tokenreviews", "create", RES, 0,
	 handle_token_review, false},
	{"POST", "@item/token", "create", RES, VERB_CREATE, handle_token_request, false},
	{"GET", "/.well-known/openid-configuration", "get", PATH, 0, handle_openid_configuration,
	 false},
	{"GET", "/openid/v1/jwks", "get", PATH, 0, handle_key_set, false},

	{"POST", "/api/v1/namespaces/*/bindings", "create", RES, 0, handle_bindings, false},

	{"GET", "@list", "list", RES, VERB_LIST, handle_list, false},
	{"POST", "@list", "create", RES, VERB_CREATE, handle_create, false},
	{"DELETE", "@list", "deletecollection", RES, VERB_DELETECOLLECTION,
	 handle_delete_collection, false},
	{"GET", "@item", "get", RES, VERB_GET, handle_get, false},
	{"PUT", "@item", "update", RES, VERB_UPDATE, handle_update, false},
	{"PATCH", "@item", "patch", RES, VERB_PATCH, handle_patch, false},
	{"DELETE", "@item", "delete", RES, VERB_DELETE, handle_delete, false},
	{"GET", "@item/status", "get", RES, VERB_GET, handle_get, false},
	{"PUT", "@item/status", "update", RES, VERB_UPDATE, handle_update, false},
	{"PATCH", "@item/status", "patch", RES, VERB_PATCH, handle_patch, false},
	{"GET", "@item/approval", "get", RES, VERB_GET, handle_get, false},
	{"PUT", "@item/approval", "update", RES, VERB_UPDATE, handle_update, false},
	{"PATCH", "@item/approval", "patch", RES, VERB_PATCH, handle_patch, false},
	{"GET", "@item/ephemeralcontainers", "get", RES, VERB_GET, handle_get, false},
	{"PUT", "@item/ephemeralcontainers", "update", RES, VERB_UPDATE, handle_update, false},
	{"PATCH", "@item/ephemeralcontainers", "patch", RES, VERB_PATCH, handle_patch, false},
	{"PUT", "@item/finalize", "update", RES, VERB_UPDATE, handle_update, false},
	{"GET", "@item/scale", "get", RES, VERB_GET, handle_scale_get, false},
	{"PUT", "@item/scale", "update", RES, VERB_UPDATE, handle_scale_put, false},
	{"PATCH", "@item/scale", "patch", RES, VERB_PATCH, handle_scale_patch, false},
	{"POST", "@item/binding", "create", RES, VERB_CREATE, handle_binding, false},
	{"POST", "@item/eviction", "create", RES, VERB_CREATE, handle_eviction, false},
	{"GET", "@item/log", "get", RES, VERB_GET, handle_log, false},
	{"GET", "@item/exec", "get", RES, 0, handle_exec, false},
	{"POST", "@item/exec", "create", RES, 0, handle_exec, false},
	{"GET", "@item/attach", "get", RES, 0, handle_attach, false},
	{"POST", "@item/attach", "create", RES, 0, handle_attach, false},
	{"GET", "@item/portforward", "get", RES, 0, handle_port_forward, false},
	{"POST", "@item/portforward", "create", RES, 0, handle_port_forward, false},
	{"GET", "@item/proxy", "get", RES, 0, handle_proxy, true},
	{"POST", "@item/proxy", "create", RES, 0, handle_proxy, true},
	{"PUT", "@item/proxy", "update", RES, 0, handle_proxy, true},
	{"PATCH", "@item/proxy", "patch", RES, 0, handle_proxy, true},
	{"DELETE", "@item/proxy", "delete", RES, 0, handle_proxy, true},
	{"OPTIONS", "@item/proxy", "options", RES, 0, handle_proxy, true},

	{"GET", "/coracle/v1/version", "get", PATH, 0, handle_daemon_version, false},
	{"GET", "/coracle/v1/kubeconfig", "get", PATH, 0, handle_kubeconfig, false},
	{"GET", "/coracle/v1/show", "get", PATH, 0, handle_show_names, false},
	{"GET", "/coracle/v1/show/*", "get", PATH, 0, handle_show, false},
	{"GET", "/coracle/v1/images", "get", PATH, 0, handle_images, false},
	{"POST", "/coracle/v1/images/load", "create", PATH, 0, handle_image_load, true},
	{"POST", "/coracle/v1/images/pull", "create", PATH, 0, handle_image_pull, false},
	{"DELETE", "/coracle/v1/images", "delete", PATH, 0, handle_image_remove, false},
	{"POST", "/coracle/v1/node/stop", "create", PATH, 0, handle_node_stop, false},
};

/* "*" is one segment that is not empty, "**" whatever is left; one trailing "/" is overlooked. */
static bool path_matches(const char *pattern, const char *path)
{
	while (*pattern) {
		if (pattern[0] == '*' && pattern[1] == '*')
			return *path != '\0';
		if (*pattern == '*') {
			size_t n = strcspn(path, "/");

			if (n == 0)
				return false;
			path += n;
			pattern++;
		} else if (*pattern++ != *path++) {
			return false;
		}
	}
	return *path == '\0' || streq(path, "/");
}

static bool target_matches(const char *pattern, const struct target *t)
{
	if (!t->kind)
		return false;
	if (streq(pattern, "@list"))
		return !t->name;
	if (streq(pattern, "@item"))
		return t->name && !t->sub;
	return t->sub && streq(pattern + strlen("@item/"), t->sub);
}

static bool verb_offered(const struct route *r, const struct target *t)
{
	const struct subresource *sub;

	if (*r->path != '@')
		return true;
	if (!t->sub)
		return t->kind->verbs & r->kind_verb;
	sub = kind_subresource(t->kind, t->sub);
	return sub && (r->kind_verb == 0 || (sub->verbs & r->kind_verb));
}

enum route_result route_find(const char *method, const char *path, const struct target *t,
			     const struct route **ret)
{
	enum route_result result = ROUTE_NO_PATH;

	for (size_t i = 0; i < ARRAY_SIZE(routes); i++) {
		const struct route *r = &routes[i];

		if (*r->path == '@' ? !target_matches(r->path, t) : !path_matches(r->path, path))
			continue;
		if (t->kind && t->sub && *r->path == '@' && !kind_subresource(t->kind, t->sub))
			continue;
		bool same = streq(r->method, method) ||
			    (streq(method, "HEAD") && streq(r->method, "GET"));

		if (same && verb_offered(r, t) && (!t->watch || streq(r->method, "GET"))) {
			*ret = r;
			return ROUTE_FOUND;
		}
		result = ROUTE_NO_METHOD;
	}
	return result;
}

void target_done(struct target *t)
{
	free(t->group);
	free(t->version);
	free(t->ns);
	free(t->plural);
	free(t->name);
	free(t->sub);
	kind_unref(t->kind);
	*t = (struct target){0};
}

/* Splits and decodes; false when a segment is malformed or empty. */
static bool split_path(const char *path, struct strv *ret)
{
	while (*path == '/') {
		size_t len = strcspn(++path, "/");
		char *segment;

		if (len == 0 && path[len] == '\0')
			return true; /* trailing slash */
		segment = http_url_decode(path, len);
		if (!segment || !*segment || ret->n > 8) {
			free(segment);
			return false;
		}
		strv_take(ret, segment);
		path += len;
	}
	return true;
}

static char *take(const struct strv *v, size_t *i)
{
	return *i < v->n ? xstrdup(v->v[(*i)++]) : NULL;
}

/* Length of a path up to and including the "proxy" of a pod, service or node; 0: it has none. */
static size_t proxy_prefix(const char *path)
{
	static const char *const plain[] = {"/api/v1/namespaces/*/pods/*/proxy",
					    "/api/v1/namespaces/*/services/*/proxy",
					    "/api/v1/nodes/*/proxy"};

	for (size_t i = 0; i < ARRAY_SIZE(plain); i++) {
		const char *p = plain[i], *s = path;

		while (*p && (*p == '*' || *p == *s)) {
			s += *p == '*' ? strcspn(s, "/") : 1;
			p++;
		}
		if (!*p && (!*s || *s == '/'))
			return (size_t)(s - path);
	}
	return 0;
}

bool target_parse(const char *path, struct target *ret)
{
	auto_strv v = {0};
	size_t i = 1, n, prefix = proxy_prefix(path);
	auto_free char *head = xstrndup(path, prefix ? prefix : strlen(path));

	/* What is behind "proxy" is the other server's. */
	ret->rest = prefix ? path + prefix : NULL;
	if (!split_path(head, &v) || v.n < 3)
		return false;
	n = v.n;
	bool core = streq(v.v[0], "api");

	if (!core && !streq(v.v[0], "apis"))
		return false;
	ret->group = core ? xstrdup("") : take(&v, &i);
	ret->version = take(&v, &i);
	/* The former way to ask for a watch; no resource has that name. */
	if (i + 1 < n && streq(v.v[i], "watch")) {
		ret->watch = true;
		i++;
	}
	if (i + 2 < n && streq(v.v[i], "namespaces") &&
	    !(core && i + 3 == n &&
	      (streq(v.v[i + 2], "status") || streq(v.v[i + 2], "finalize")))) {
		i++;
		ret->ns = take(&v, &i);
	}
	ret->plural = take(&v, &i);
	ret->name = take(&v, &i);
	ret->sub = take(&v, &i);
	if (!ret->plural || i < n)
		return false;
	ret->kind = kind_find(ret->group, ret->version, ret->plural);
	if (ret->kind && !ret->kind->namespaced && ret->ns)
		ret->kind = NULL;
	/* Objects of namespaced kinds are only below their namespace; lists are everywhere. */
	if (ret->kind && ret->kind->namespaced && ret->name && !ret->ns)
		ret->kind = NULL;
	kind_ref(ret->kind);
	return true;
}
