/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Validation of webhook configurations and of ValidatingAdmissionPolicy and its binding (kubernetes
 * pkg/apis/admissionregistration/validation).
 */
#include "validate.h"
#include <coracle/cel.h>

#include <ctype.h>

#define REVIEW_VERSIONS "v1,v1beta1"
#define MAX_CONDITIONS 64
#define MAX_AUDIT_ANNOTATIONS 20
#define MAX_AUDIT_EXPRESSION (5 * 1024)

/* ---- rules ------------------------------------------------------------------------------ */

static bool has_wildcard(const json_t *list)
{
	json_t *v;
	size_t i;

	json_array_foreach(list, i, v) if (str_eq(json_string_value(v), "*")) return true;
	return false;
}

/* The list must not be empty, and a wildcard stands alone. what: for the message. */
static void check_wildcard_list(struct check *c, const json_t *rule, const char *field,
				const char *what)
{
	const json_t *list = json_object_get(rule, field);

	if (json_array_size(list) == 0)
		check_required(c, field, "");
	if (json_array_size(list) > 1 && has_wildcard(list))
		check_invalid(c, field, list, "if '*' is present, must not specify other %s", what);
}

/* What has been seen of a list of resources: pods, pods/log, star and so on. */
struct resources {
	struct strv all_subresources; /* resources of "x/star" */
	struct strv all_resources;    /* subresources of "star/x" */
	bool everything, wildcard, plain;
};

static void check_resource(struct check *c, struct resources *seen, const char *text)
{
	const char *slash = strchr(text, '/');
	auto_free char *resource = xstrndup(text, slash ? (size_t)(slash - text) : strlen(text));

	if (!*text) {
		check_required(c, NULL, "");
		return;
	}
	seen->everything |= streq(text, "*/*");
	seen->wildcard |= streq(text, "*");
	if (!slash) {
		seen->plain = !streq(text, "*");
		return;
	}
	if (strv_has(&seen->all_subresources, resource))
		check_invalid_str(c, NULL, text, "if '%s/*' is present, must not specify %s",
				  resource, text);
	if (strv_has(&seen->all_resources, slash + 1))
		check_invalid_str(c, NULL, text, "if '*/%s' is present, must not specify %s",
				  slash + 1, text);
	if (streq(slash + 1, "*"))
		strv_add(&seen->all_subresources, resource);
	if (streq(resource, "*"))
		strv_add(&seen->all_resources, slash + 1);
}

static void check_resources(struct check *c, const json_t *rule)
{
	const json_t *list = json_object_get(rule, "resources");
	struct resources seen = {0};
	json_t *v;

	if (json_array_size(list) == 0)
		check_required(c, "resources", "");
	check_foreach(c, rule, "resources", v) check_resource(c, &seen, json_string_value(v));
	if (json_array_size(list) > 1 && seen.everything)
		check_invalid(c, "resources", list,
			      "if '*/*' is present, must not specify other resources");
	if (seen.wildcard && seen.plain)
		check_invalid(c, "resources", list,
			      "if '*' is present, must not specify other resources without "
			      "subresources");
	strv_done(&seen.all_subresources);
	strv_done(&seen.all_resources);
}

static void check_admission_rule(struct check *c, const json_t *rule)
{
	json_t *v;

	check_wildcard_list(c, rule, "operations", "operations");
	check_foreach(c, rule, "operations", v)
		check_one_of(c, NULL, json_string_value(v), "*,CONNECT,CREATE,DELETE,UPDATE");
	check_wildcard_list(c, rule, "apiGroups", "API groups");
	check_wildcard_list(c, rule, "apiVersions", "API versions");
	check_foreach(c, rule, "apiVersions", v)
	{
		if (!*json_string_value(v))
			check_required(c, NULL, "");
	}
	check_resources(c, rule);
}

/* ---- conditions ------------------------------------------------------------------------- */

#define BLANKS " \t\r\n\v\f"

static bool is_blank(const char *s)
{
	return s[strspn(s, BLANKS)] == '\0';
}

/* Inside the text, not around it. */
static bool has_line_breaks(const char *s)
{
	size_t len;

	s += strspn(s, BLANKS);
	len = strlen(s);
	while (len && strchr(BLANKS, s[len - 1]))
		len--;
	return memchr(s, '\n', len) || memchr(s, '\r', len);
}

/* An expression has to compile where it stands; blank ones were complained about. */
static void check_expression(struct check *c, struct policy_scope *s, enum policy_use use,
			     const json_t *v, const char *field)
{
	auto_free char *error = NULL;
	const char *text = json_str(v, field, "");

	if (is_blank(text))
		return;
	cel_program_free(policy_compile(s, use, text, &error));
	if (error)
		check_invalid_str(c, field, text, "%s", error);
}

static void check_conditions(struct check *c, struct policy_scope *s, const json_t *obj)
{
	auto_strv names = {0};
	json_t *v;

	if (json_len(obj, "matchConditions") > MAX_CONDITIONS)
		check_too_many(c, "matchConditions", json_len(obj, "matchConditions"),
			       MAX_CONDITIONS);
	check_foreach(c, obj, "matchConditions", v)
	{
		const char *name = json_str(v, "name", "");

		if (is_blank(json_str(v, "expression", "")))
			check_required(c, "expression", "");
		check_expression(c, s, POLICY_CONDITION, v, "expression");
		check_required_text(c, "name", name, valid_label_key);
		if (*name && strv_has(&names, name))
			check_duplicate_str(c, "name", name);
		strv_add(&names, name);
	}
}

/* ---- webhooks --------------------------------------------------------------------------- */

/* At least three labels: "imagepolicy.example.com". */
static void check_full_name(struct check *c, const char *name)
{
	const char *dot = strchr(name, '.');

	if (!*name) {
		check_required(c, "name", "");
		return;
	}
	check_text(c, "name", name, valid_dns1123_subdomain);
	if (!dot || !strchr(dot + 1, '.'))
		check_invalid_str(c, "name", name,
				  "should be a domain with at least three segments separated by "
				  "dots");
}

/* https://host[:port][/path] and nothing else. */
static void check_url(struct check *c, const char *url)
{
	static const char form[] = "; desired format: https://host[/path]";
	const char *mark = strstr(url, "://");
	auto_free char *scheme = xstrndup(url, mark ? (size_t)(mark - url) : 0);
	const char *rest = mark ? mark + 3 : "", *query = strchr(url, '?');
	const char *fragment = strchr(url, '#');
	auto_free char *host = xstrndup(rest, strcspn(rest, "/?#"));
	const char *at = strrchr(host, '@');

	if (!streq(scheme, "https"))
		check_invalid_str(c, "url", scheme, "'https' is the only allowed URL scheme%s",
				  form);
	if (!*host || (at && !at[1]))
		check_invalid_str(c, "url", "", "host must be provided%s", form);
	if (at) {
		auto_free char *user = xstrndup(host, (size_t)(at - host));

		check_invalid_str(c, "url", user, "user information is not permitted in the URL");
	}
	if (fragment && fragment[1])
		check_invalid_str(c, "url", fragment + 1, "fragments are not permitted in the URL");
	if (query && query[1] && (!fragment || query < fragment)) {
		auto_free char *text = xstrndup(query + 1, strcspn(query + 1, "#"));

		check_invalid_str(c, "url", text, "query parameters are not permitted in the URL");
	}
}

static void check_service_path(struct check *c, const char *path)
{
	size_t i = 0;

	if (!*path || streq(path, "/"))
		return;
	if (streq(path, "//")) {
		check_invalid_str(c, "path", path, "segment[0] may not be empty");
		return;
	}
	if (*path != '/')
		check_invalid_str(c, "path", path, "must start with a '/'");
	for (const char *p = path + 1;; i++) {
		size_t len = strcspn(p, "/");
		auto_free char *step = xstrndup(p, len);
		const char *bad = valid_dns1123_subdomain(step);

		/* one slash at the end is no empty step */
		if (len == 0 && !p[len] && i > 0)
			return;
		if (len == 0)
			check_invalid_str(c, "path", path, "segment[%zu] may not be empty", i);
		else if (bad)
			check_invalid_str(c, "path", path, "segment[%zu]: %s", i, bad);
		if (!p[len])
			return;
		p += len + 1;
	}
}

static void check_client(struct check *c, const json_t *client)
{
	const json_t *service = json_object_get(client, "service");
	const char *url = json_str(client, "url", NULL);
	int64_t port = json_int(service, "port", 443);

	if (!url == !service) {
		check_required(c, NULL, "exactly one of url or service is required");
		return;
	}
	if (url) {
		check_url(c, url);
		return;
	}
	check_enter(c, "service");
	if (!*json_str(service, "name", ""))
		check_required(c, "name", "service name is required");
	if (!*json_str(service, "namespace", ""))
		check_required(c, "namespace", "service namespace is required");
	if (port < 1 || port > 65535)
		check_invalid_int(c, "port", port,
				  "port is not valid: must be between 1 and 65535, inclusive");
	check_service_path(c, json_str(service, "path", ""));
}

static void check_review_versions(struct check *c, const json_t *hook)
{
	bool known = false;
	auto_strv seen = {0};
	json_t *v;

	if (json_len(hook, "admissionReviewVersions") == 0) {
		check_required(c, "admissionReviewVersions", "must specify one of v1, v1beta1");
		return;
	}
	check_foreach(c, hook, "admissionReviewVersions", v)
	{
		const char *version = json_string_value(v);

		if (strv_has(&seen, version)) {
			check_invalid(c, NULL, v, "duplicate version");
			continue;
		}
		strv_add(&seen, version);
		check_text(c, NULL, version, valid_dns1035_label);
		known |= csv_has_exactly(REVIEW_VERSIONS, version);
	}
	if (!known)
		check_invalid(c, "admissionReviewVersions",
			      json_object_get(hook, "admissionReviewVersions"),
			      "must include at least one of v1, v1beta1");
}

static void check_webhook(struct check *c, struct policy_scope *s, const json_t *hook)
{
	const char *effects = json_str(hook, "sideEffects", NULL);
	int64_t timeout = json_int(hook, "timeoutSeconds", 10);
	size_t mark;
	json_t *v;

	check_full_name(c, json_str(hook, "name", ""));
	check_foreach(c, hook, "rules", v) check_admission_rule(c, v);
	if (!effects)
		check_required(c, "sideEffects", "must specify one of None, NoneOnDryRun");
	else
		check_one_of(c, "sideEffects", effects, "None,NoneOnDryRun");
	if (timeout < 1 || timeout > 30)
		check_invalid_int(c, "timeoutSeconds", timeout,
				  "the timeout value must be between 1 and 30 seconds");
	check_selector(c, "namespaceSelector", json_object_get(hook, "namespaceSelector"));
	check_selector(c, "objectSelector", json_object_get(hook, "objectSelector"));
	mark = check_enter(c, "clientConfig");
	check_client(c, json_object_get(hook, "clientConfig"));
	check_leave(c, mark);
	check_conditions(c, s, hook);
	check_review_versions(c, hook);
}

/* Both kinds: the table knows what is different. */
void webhooks_validate(const json_t *obj, const json_t *old UNUSED, struct err *err)
{
	struct policy_scope *scope = policy_scope_new(NULL, NULL);
	struct check c = {.err = err};
	auto_strv names = {0};
	json_t *hook;

	check_foreach(&c, obj, "webhooks", hook)
	{
		const char *name = json_str(hook, "name", "");

		check_webhook(&c, scope, hook);
		if (*name && strv_has(&names, name))
			check_duplicate_str(&c, "name", name);
		strv_add(&names, name);
	}
	policy_scope_free(scope);
	strbuf_done(&c.path);
}

/* ---- policies --------------------------------------------------------------------------- */

static void check_match_rules(struct check *c, const json_t *match, const char *field)
{
	json_t *rule, *v;

	check_foreach(c, match, field, rule)
	{
		auto_strv names = {0};

		check_foreach(c, rule, "resourceNames", v)
		{
			check_text(c, NULL, json_string_value(v), valid_path_segment);
			if (strv_has(&names, json_string_value(v)))
				check_duplicate(c, NULL, v);
			strv_add(&names, json_string_value(v));
		}
		check_admission_rule(c, rule);
	}
}

static void check_match(struct check *c, const char *field, const json_t *match)
{
	size_t mark = check_enter(c, field);

	check_selector(c, "namespaceSelector", json_object_get(match, "namespaceSelector"));
	check_selector(c, "objectSelector", json_object_get(match, "objectSelector"));
	check_match_rules(c, match, "resourceRules");
	check_match_rules(c, match, "excludeResourceRules");
	check_leave(c, mark);
}

static void check_group_version(struct check *c, const char *text)
{
	const char *slash = strchr(text, '/');
	auto_free char *group = xstrndup(text, slash ? (size_t)(slash - text) : 0);
	const char *version = slash ? slash + 1 : text;

	if (!*text) {
		check_required(c, "apiVersion", "");
	} else if (slash && strchr(slash + 1, '/')) {
		check_invalid_str(c, "apiVersion", text, "unexpected GroupVersion string: %s",
				  text);
	} else {
		if (*group)
			check_text(c, "apiVersion", group, valid_dns1123_subdomain);
		if (*version)
			check_text(c, "apiVersion", version, valid_dns1035_label);
		else
			check_invalid_str(c, "apiVersion", text, "version must be specified");
	}
}

static void check_param_kind(struct check *c, const json_t *param)
{
	const char *kind = json_str(param, "kind", ""), *bad;
	auto_free char *small = xstrdup(kind);

	for (char *p = small; *p; p++)
		*p = (char)tolower((unsigned char)*p);
	check_group_version(c, json_str(param, "apiVersion", ""));
	if (!*kind)
		check_required(c, "kind", "");
	else if ((bad = valid_dns1035_label(small)))
		check_invalid_str(c, "kind", kind,
				  "may have mixed case, but should otherwise match: %s", bad);
}

static bool is_cel_identifier(const char *s)
{
	static const char reserved[] = "true,false,null,in,as,break,const,continue,else,for,"
				       "function,if,import,let,loop,package,namespace,return,var,"
				       "void,while";

	if (isdigit((unsigned char)*s))
		return false;
	for (const char *p = s; *p; p++)
		if (!isalnum((unsigned char)*p) && *p != '_')
			return false;
	return !csv_has_exactly(reserved, s);
}

/* What is declared here can be used by the expressions behind. */
static void check_variable(struct check *c, struct policy_scope *s, const json_t *v)
{
	const char *text = json_str(v, "expression", "");
	auto_free char *error = NULL;

	if (is_blank(text)) {
		check_required(c, "expression", "expression is not specified");
		return;
	}
	policy_add_variable(s, json_str(v, "name", ""), text, &error);
	if (error)
		check_invalid_str(c, "expression", text, "%s", error);
}

static void check_variables(struct check *c, struct policy_scope *s, const json_t *spec)
{
	json_t *v;

	check_foreach(c, spec, "variables", v)
	{
		const char *name = json_str(v, "name", "");

		if (is_blank(name))
			check_required(c, "name", "name is not specified");
		else if (!is_cel_identifier(name))
			check_invalid_str(c, "name", name, "name is not a valid CEL identifier");
		check_variable(c, s, v);
	}
}

static void check_validation(struct check *c, struct policy_scope *s, const json_t *v)
{
	const char *message = json_str(v, "message", ""),
		   *text = json_str(v, "messageExpression", "");

	if (is_blank(json_str(v, "expression", "")))
		check_required(c, "expression", "expression is not specified");
	check_expression(c, s, POLICY_RULE, v, "expression");
	check_expression(c, s, POLICY_MESSAGE, v, "messageExpression");
	if (*text && is_blank(text))
		check_invalid_str(c, "messageExpression", text, "must be non-empty if specified");
	if (*message && is_blank(message))
		check_invalid_str(c, "message", message, "message must be non-empty if specified");
	else if (has_line_breaks(message))
		check_invalid_str(c, "message", message, "message must not contain line breaks");
}

static void check_audit_annotation(struct check *c, struct policy_scope *s, const json_t *obj,
				   const json_t *v)
{
	const char *key = json_str(v, "key", ""), *text = json_str(v, "valueExpression", "");
	auto_free char *full = xasprintf("%s/%s", meta_name(obj), key);

	check_text(c, "key", full, valid_label_key);
	if (is_blank(text))
		check_required(c, "valueExpression", "valueExpression is not specified");
	else if (strlen(text) > MAX_AUDIT_EXPRESSION)
		check_required(c, "valueExpression", "must not exceed 5120 bytes in length");
	else
		check_expression(c, s, POLICY_AUDIT, v, "valueExpression");
}

static void check_audit_annotations(struct check *c, struct policy_scope *s, const json_t *obj,
				    const json_t *spec)
{
	auto_strv keys = {0};
	json_t *v;

	if (json_len(spec, "auditAnnotations") > MAX_AUDIT_ANNOTATIONS)
		check_invalid(c, "auditAnnotations", json_object_get(spec, "auditAnnotations"),
			      "must not have more than %d auditAnnotations", MAX_AUDIT_ANNOTATIONS);
	check_foreach(c, spec, "auditAnnotations", v)
	{
		const char *key = json_str(v, "key", "");

		check_audit_annotation(c, s, obj, v);
		if (strv_has(&keys, key))
			check_duplicate_str(c, "key", key);
		strv_add(&keys, key);
	}
}

void admissionpolicy_validate(const json_t *obj, const json_t *old, struct err *err)
{
	static const char empty[] =
		"validations or auditAnnotations must contain at least one item";
	struct check c = {.err = err};
	const json_t *spec = json_object_get(obj, "spec");
	const json_t *param = json_object_get(spec, "paramKind");
	const json_t *match = json_object_get(spec, "matchConstraints");
	struct policy_scope *scope;
	size_t mark;
	json_t *v;

	if (old && json_equal(spec, json_object_get(old, "spec")))
		return;
	scope = policy_scope_new(spec, NULL);
	check_enter(&c, "spec");
	if (param) {
		mark = check_enter(&c, "paramKind");
		check_param_kind(&c, param);
		check_leave(&c, mark);
	}
	if (match) {
		check_match(&c, "matchConstraints", match);
		if (json_len(match, "resourceRules") == 0)
			check_required(&c, "matchConstraints.resourceRules", "");
	}
	check_conditions(&c, scope, spec);
	check_variables(&c, scope, spec);
	if (json_len(spec, "validations") == 0 && json_len(spec, "auditAnnotations") == 0) {
		check_required(&c, "validations", empty);
		check_required(&c, "auditAnnotations", empty);
	}
	check_foreach(&c, spec, "validations", v) check_validation(&c, scope, v);
	check_audit_annotations(&c, scope, obj, spec);
	policy_scope_free(scope);
	strbuf_done(&c.path);
}

/* ---- bindings --------------------------------------------------------------------------- */

static void check_param_ref(struct check *c, const json_t *ref)
{
	const char *name = json_str(ref, "name", "");
	const char *action = json_str(ref, "parameterNotFoundAction", "");
	const json_t *selector = json_object_get(ref, "selector");

	if (*name)
		check_text(c, "name", name, valid_path_segment);
	check_selector(c, "selector", selector);
	if (*name && selector) {
		check_forbidden(c, "name", "name and selector are mutually exclusive");
		check_forbidden(c, "selector", "name and selector are mutually exclusive");
	} else if (!*name && !selector) {
		check_required(c, NULL, "one of name or selector must be specified");
	}
	if (!*action)
		check_required(c, "parameterNotFoundAction", "");
	else
		check_one_of(c, "parameterNotFoundAction", action, "Deny,Allow");
}

static void check_actions(struct check *c, const json_t *spec)
{
	auto_strv seen = {0};
	json_t *v;

	check_foreach(c, spec, "validationActions", v)
	{
		check_one_of(c, NULL, json_string_value(v), "Audit,Deny,Warn");
		if (strv_has(&seen, json_string_value(v)))
			check_duplicate(c, NULL, v);
		strv_add(&seen, json_string_value(v));
	}
	if (strv_has(&seen, "Deny") && strv_has(&seen, "Warn"))
		check_invalid(c, "validationActions", json_object_get(spec, "validationActions"),
			      "must not contain both Deny and Warn (repeating the same validation "
			      "failure information in the API response and headers serves no "
			      "purpose)");
	if (seen.n == 0)
		check_required(c, "validationActions",
			       "at least one validation action is required");
}

void admissionbinding_validate(const json_t *obj, const json_t *old UNUSED, struct err *err)
{
	struct check c = {.err = err};
	const json_t *spec = json_object_get(obj, "spec");
	const json_t *ref = json_object_get(spec, "paramRef");
	size_t mark = check_enter(&c, "spec"), inner;

	if (ref) {
		inner = check_enter(&c, "paramRef");
		check_param_ref(&c, ref);
		check_leave(&c, inner);
	}
	/* upstream spells it so */
	check_match(&c, "matchResouces", json_object_get(spec, "matchResources"));
	check_actions(&c, spec);
	check_leave(&c, mark);
	strbuf_done(&c.path);
}
