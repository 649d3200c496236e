/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Validation of PodSpec beyond the field table, and of what an update of a pod may change
 * (kubernetes pkg/apis/core/validation).
 */
#include "validate.h"

#define MAX_NAMESERVERS 3
#define MAX_SEARCHES 32
#define MAX_SEARCH_CHARS 2048

/* ---- volumes ---------------------------------------------------------------------------- */

/* A path inside a volume. */
static void check_relative(struct check *c, const char *field, const char *path)
{
	auto_strv parts = {0};

	if (path[0] == '/')
		check_invalid_str(c, field, path, "must be a relative path");
	strv_split(&parts, path, '/');
	if (strv_has(&parts, ".."))
		check_invalid_str(c, field, path, "must not contain '..'");
}

static void check_items(struct check *c, const json_t *source)
{
	json_t *item;

	check_foreach(c, source, "items", item)
		check_relative(c, "path", json_str(item, "path", ""));
}

static void check_source(struct check *c, const char *type, const json_t *source)
{
	size_t mark = check_enter(c, type);
	json_t *part;

	if (streq(type, "configMap") && !*json_str(source, "name", ""))
		check_required(c, "name", "");
	if (streq(type, "hostPath")) {
		auto_strv parts = {0};
		const char *path = json_str(source, "path", "");

		strv_split(&parts, path, '/');
		if (strv_has(&parts, ".."))
			check_invalid_str(c, "path", path, "must not contain '..'");
	}
	check_items(c, source);
	check_foreach(c, source, "sources", part)
	{
		const char *name;
		json_t *v;

		json_object_foreach(part, name, v) check_source(c, name, v);
	}
	check_leave(c, mark);
}

static void check_volumes(struct check *c, const json_t *spec)
{
	auto_strv names = {0};
	json_t *volume, *source;
	const char *type;

	check_foreach(c, spec, "volumes", volume)
	{
		const char *name = json_str(volume, "name", "");
		int sources = 0;

		if (*name && strv_has(&names, name))
			check_duplicate_str(c, "name", name);
		strv_add(&names, name);
		json_object_foreach(volume, type, source)
		{
			if (streq(type, "name"))
				continue;
			if (++sources > 1)
				check_forbidden(c, type, "may not specify more than 1 volume type");
			else
				check_source(c, type, source);
		}
		if (sources == 0)
			check_required(c, NULL, "must specify a volume type");
	}
}

static void check_mounts(struct check *c, const json_t *container, const json_t *spec)
{
	auto_strv paths = {0};
	json_t *mount;

	check_foreach(c, container, "volumeMounts", mount)
	{
		const char *name = json_str(mount, "name", "");
		const char *path = json_str(mount, "mountPath", "");
		const char *sub = json_str(mount, "subPath", "");
		const char *expr = json_str(mount, "subPathExpr", "");

		if (*name && !json_find(json_object_get(spec, "volumes"), "name", name))
			check_not_found(c, "name", name);
		if (*path && strv_has(&paths, path))
			check_invalid_str(c, "mountPath", path, "must be unique");
		if (strchr(path, ':'))
			check_invalid_str(c, "mountPath", path, "must not contain ':'");
		strv_add(&paths, path);
		if (*sub && *expr)
			check_invalid_str(c, "subPathExpr", expr,
					  "subPathExpr and subPath are mutually exclusive");
		check_relative(c, "subPath", sub);
		check_relative(c, "subPathExpr", expr);
	}
}

/* ---- environment ------------------------------------------------------------------------ */

static const char *valid_env_name(const char *s)
{
	for (const char *p = s; *p; p++)
		if (*p < 0x20 || *p > 0x7e || *p == '=')
			return "a valid environment variable name must consist only of printable "
			       "ASCII characters other than '='";
	return NULL;
}

static void check_field_ref(struct check *c, const json_t *ref)
{
	static const char supported[] =
		"metadata.name,metadata.namespace,metadata.uid,spec.nodeName,"
		"spec.serviceAccountName,status.hostIP,status.hostIPs,status.podIP,status.podIPs";
	const char *path = json_str(ref, "fieldPath", "");

	if (!*path || csv_has_exactly(supported, path) ||
	    ((str_starts(path, "metadata.labels['") ||
	      str_starts(path, "metadata.annotations['")) &&
	     str_ends(path, "']")))
		return;
	if (str_starts(path, "metadata.") || str_starts(path, "spec.") ||
	    str_starts(path, "status."))
		check_unsupported(c, "fieldPath", path, supported);
	else
		check_invalid_str(c, "fieldPath", path,
				  "error converting fieldPath: field label not supported: %s",
				  path);
}

static void check_value_from(struct check *c, const json_t *env)
{
	const json_t *from = json_object_get(env, "valueFrom");
	size_t mark = check_enter(c, "valueFrom"), inner;
	const char *type;
	json_t *ref;

	if (*json_str(env, "value", ""))
		check_invalid_str(c, NULL, "", "may not be specified when `value` is not empty");
	else if (json_object_size(from) == 0)
		check_invalid_str(c, NULL, "",
				  "must specify one of: `fieldRef`, `resourceFieldRef`, "
				  "`configMapKeyRef` or `secretKeyRef`");
	else if (json_object_size(from) > 1)
		check_invalid_str(c, NULL, "",
				  "may not have more than one field specified at a time");
	json_object_foreach((json_t *)from, type, ref)
	{
		inner = check_enter(c, type);
		if (streq(type, "fieldRef"))
			check_field_ref(c, ref);
		else if (!streq(type, "resourceFieldRef") && !*json_str(ref, "name", ""))
			check_required(c, "name", "");
		check_leave(c, inner);
	}
	check_leave(c, mark);
}

static void check_env(struct check *c, const json_t *container)
{
	json_t *env, *from, *ref;

	check_foreach(c, container, "env", env)
	{
		const char *name = json_str(env, "name", ""), *bad = valid_env_name(name);

		if (bad)
			check_invalid_str(c, "name", name, "%s", bad);
		if (json_object_get(env, "valueFrom"))
			check_value_from(c, env);
	}
	check_foreach(c, container, "envFrom", from)
	{
		json_t *map = json_object_get(from, "configMapRef");
		json_t *secret = json_object_get(from, "secretRef");
		const char *prefix = json_str(from, "prefix", ""), *bad = valid_env_name(prefix);

		if (bad)
			check_invalid_str(c, "prefix", prefix, "%s", bad);
		if (!map && !secret)
			check_invalid_str(c, NULL, "",
					  "must specify one of: `configMapRef` or `secretRef`");
		if (map && secret)
			check_invalid_str(c, NULL, "",
					  "may not have more than one field specified at a time");
		ref = map ? map : secret;
		if (ref && !*json_str(ref, "name", ""))
			check_required(c, map ? "configMapRef.name" : "secretRef.name", "");
	}
}

/* ---- ports, resources ------------------------------------------------------------------- */

/* host_ports: "TCP//80" of every container so far. */
static void check_ports(struct check *c, const json_t *container, const json_t *spec,
			struct strv *host_ports)
{
	auto_strv names = {0};
	json_t *port;

	check_foreach(c, container, "ports", port)
	{
		const char *name = json_str(port, "name", "");
		int64_t host = json_int(port, "hostPort", 0);
		int64_t number = json_int(port, "containerPort", 0);
		auto_free char *key = xasprintf("%s/%s/%lld", json_str(port, "protocol", ""),
						json_str(port, "hostIP", ""), (long long)host);

		if (*name && strv_has(&names, name))
			check_duplicate_str(c, "name", name);
		if (*name)
			strv_add(&names, name);
		if (host == 0)
			continue;
		if (json_bool(spec, "hostNetwork", false) && host != number)
			check_invalid_int(c, "containerPort", number,
					  "must match `hostPort` when `hostNetwork` is true");
		if (strv_has(host_ports, key))
			check_duplicate_str(c, "hostPort", key);
		strv_take(host_ports, steal_ptr(key));
	}
}

static bool is_huge_pages(const char *name)
{
	return str_starts(name, "hugepages-");
}

static bool is_container_resource(const char *name)
{
	return streq(name, "cpu") || streq(name, "memory") || streq(name, "ephemeral-storage") ||
	       is_huge_pages(name) || strchr(name, '/');
}

/* Of these a container has what it asks for to itself, in whole pieces. */
static bool is_extended(const char *name)
{
	return strchr(name, '/') && !strstr(name, "kubernetes.io/");
}

static void check_amounts(struct check *c, const char *field, const json_t *amounts)
{
	const char *name;
	json_t *v;

	json_object_foreach((json_t *)amounts, name, v)
	{
		auto_free char *path = xasprintf("%s[%s]", field, name);
		const char *bad = valid_label_key(name);
		int64_t milli = 0;

		if (bad)
			check_invalid_str(c, path, name, "%s", bad);
		else if (!is_container_resource(name))
			check_invalid_str(c, path, name,
					  "must be a standard resource for containers");
		else if (is_extended(name) && str_starts(name, "requests."))
			check_invalid_str(c, path, name,
					  "doesn't follow extended resource name standard");
		if (!json_is_string(v) || quantity_parse_milli(json_string_value(v), &milli) < 0)
			continue;
		if (milli < 0)
			check_invalid(c, path, v, "must be greater than or equal to 0");
		if (milli % 1000 && is_extended(name))
			check_invalid(c, path, v, "must be an integer");
	}
}

static void check_request(struct check *c, const char *name, const json_t *request,
			  const char *limit)
{
	bool own = is_extended(name) || is_huge_pages(name);
	int64_t l, r;

	if (!limit) {
		if (own)
			check_required(c, "limits",
				       "Limit must be set for non overcommitable resources");
		return;
	}
	if (quantity_parse_milli(limit, &l) < 0 ||
	    quantity_parse_milli(json_string_value(request), &r) < 0)
		return;
	if (own && r != l)
		check_invalid(c, "requests", request, "must be equal to %s limit of %s", name,
			      limit);
	else if (r > l)
		check_invalid(c, "requests", request,
			      "must be less than or equal to %s limit of %s", name, limit);
}

static bool asks_for_huge_pages_alone(const json_t *resources)
{
	static const char *const lists[] = {"limits", "requests"};
	bool huge = false;
	const char *name;
	json_t *v;

	for (size_t i = 0; i < ARRAY_SIZE(lists); i++) {
		json_object_foreach(json_object_get(resources, lists[i]), name, v)
		{
			if (streq(name, "cpu") || streq(name, "memory"))
				return false;
			huge |= is_huge_pages(name);
		}
	}
	return huge;
}

static void check_resources(struct check *c, const json_t *container)
{
	const json_t *resources = json_object_get(container, "resources");
	json_t *limits = json_object_get(resources, "limits"), *request;
	size_t mark = check_enter(c, "resources");
	const char *name;

	check_amounts(c, "limits", limits);
	check_amounts(c, "requests", json_object_get(resources, "requests"));
	json_object_foreach(json_object_get(resources, "requests"), name, request)
		check_request(c, name, request, json_string_value(json_object_get(limits, name)));
	if (asks_for_huge_pages_alone(resources))
		check_forbidden(c, NULL, "HugePages require cpu or memory");
	check_leave(c, mark);
}

/* ---- probes and hooks ------------------------------------------------------------------- */

static void check_handler(struct check *c, const json_t *handler)
{
	static const char *const types[] = {"exec", "httpGet", "tcpSocket", "grpc", "sleep"};
	int n = 0;

	for (size_t i = 0; i < ARRAY_SIZE(types); i++)
		if (json_object_get(handler, types[i]) && ++n > 1)
			check_forbidden(c, types[i], "may not specify more than 1 handler type");
	if (n == 0)
		check_required(c, NULL, "must specify a handler type");
}

static void check_probe(struct check *c, const json_t *container, const char *field)
{
	const json_t *probe = json_object_get(container, field);
	size_t mark = check_enter(c, field);
	int64_t successes = json_int(probe, "successThreshold", 1);
	const json_t *grace = json_object_get(probe, "terminationGracePeriodSeconds");

	if (probe)
		check_handler(c, probe);
	if (successes != 1 && !streq(field, "readinessProbe"))
		check_invalid_int(c, "successThreshold", successes, "must be 1");
	if (grace && streq(field, "readinessProbe"))
		check_invalid(c, "terminationGracePeriodSeconds", grace,
			      "must not be set for readinessProbes");
	check_leave(c, mark);
}

static void check_hooks(struct check *c, const json_t *container)
{
	static const char *const hooks[] = {"postStart", "preStop"};
	const json_t *lifecycle = json_object_get(container, "lifecycle");
	size_t mark = check_enter(c, "lifecycle");

	for (size_t i = 0; i < ARRAY_SIZE(hooks); i++) {
		const json_t *hook = json_object_get(lifecycle, hooks[i]);
		size_t inner = check_enter(c, hooks[i]);

		if (hook)
			check_handler(c, hook);
		check_leave(c, inner);
	}
	check_leave(c, mark);
}

/* ---- containers ------------------------------------------------------------------------- */

static void check_container(struct check *c, const json_t *container, const json_t *spec,
			    struct strv *names, struct strv *host_ports)
{
	static const char *const probes[] = {"livenessProbe", "readinessProbe", "startupProbe"};
	const char *name = json_str(container, "name", "");
	const char *image = json_str(container, "image", "");
	const json_t *security = json_object_get(container, "securityContext");

	if (*name && strv_has(names, name))
		check_duplicate_str(c, "name", name);
	strv_add(names, name);
	if (*image && (strchr(" \t\n", image[0]) || strchr(" \t\n", image[strlen(image) - 1])))
		check_invalid_str(c, "image", image,
				  "must not have leading or trailing whitespace");
	check_ports(c, container, spec, host_ports);
	check_env(c, container);
	check_mounts(c, container, spec);
	check_resources(c, container);
	for (size_t i = 0; i < ARRAY_SIZE(probes); i++)
		check_probe(c, container, probes[i]);
	check_hooks(c, container);
	if (json_bool(security, "privileged", false) &&
	    !json_bool(security, "allowPrivilegeEscalation", true))
		check_invalid(c, "securityContext", security,
			      "cannot set `allowPrivilegeEscalation` to false and `privileged` to "
			      "true");
}

/* A sidecar (restartPolicy Always) may have what ordinary containers have. */
static void check_init_container(struct check *c, const json_t *container)
{
	static const char *const fields[] = {"lifecycle", "livenessProbe", "readinessProbe",
					     "startupProbe"};
	const char *policy = json_str(container, "restartPolicy", "");

	if (*policy && !streq(policy, "Always"))
		check_unsupported(c, "restartPolicy", policy, "Always");
	for (size_t i = 0; i < ARRAY_SIZE(fields) && !*policy; i++)
		if (json_object_get(container, fields[i]))
			check_forbidden(c, fields[i],
					"may not be set for init containers without "
					"restartPolicy=Always");
}

/* They join a pod whose resources are given out and whose ports are taken. */
static void check_debug_container(struct check *c, const json_t *container, const json_t *spec)
{
	static const char *const fields[] = {"ports", "livenessProbe", "readinessProbe",
					     "startupProbe", "lifecycle"};
	static const char text[] = "cannot be set for an Ephemeral Container";
	const char *target = json_str(container, "targetContainerName", "");
	json_t *mount;

	for (size_t i = 0; i < ARRAY_SIZE(fields); i++)
		if (json_object_get(container, fields[i]))
			check_forbidden(c, fields[i], "%s", text);
	if (json_object_size(json_object_get(container, "resources")))
		check_forbidden(c, "resources", "%s", text);
	check_foreach(c, container, "volumeMounts", mount)
	{
		if (*json_str(mount, "subPath", ""))
			check_forbidden(c, "subPath", "%s", text);
		if (*json_str(mount, "subPathExpr", ""))
			check_forbidden(c, "subPathExpr", "%s", text);
	}
	if (*target && !json_find(json_object_get(spec, "containers"), "name", target) &&
	    !json_find(json_object_get(spec, "initContainers"), "name", target))
		check_not_found(c, "targetContainerName", target);
}

static void check_containers(struct check *c, const json_t *spec)
{
	auto_strv names = {0}, host_ports = {0}, init_ports = {0};
	json_t *container;

	check_foreach(c, spec, "containers", container)
	{
		check_container(c, container, spec, &names, &host_ports);
		if (json_object_get(container, "restartPolicy"))
			check_forbidden(c, "restartPolicy",
					"may not be set for non-init containers");
	}
	check_foreach(c, spec, "initContainers", container)
	{
		check_container(c, container, spec, &names, &init_ports);
		check_init_container(c, container);
	}
	check_foreach(c, spec, "ephemeralContainers", container)
	{
		check_container(c, container, spec, &names, &host_ports);
		check_debug_container(c, container, spec);
	}
}

/* ---- the rest of the spec --------------------------------------------------------------- */

static void check_dns(struct check *c, const json_t *spec)
{
	const json_t *config = json_object_get(spec, "dnsConfig");
	bool none = streq(json_str(spec, "dnsPolicy", ""), "None");
	size_t mark, chars = 0, i;
	json_t *v;

	if (none && !config)
		check_required(c, "dnsConfig", "must provide `dnsConfig` when `dnsPolicy` is None");
	if (!config)
		return;
	mark = check_enter(c, "dnsConfig");
	if (none && json_len(config, "nameservers") == 0)
		check_required(c, "nameservers",
			       "must provide at least one DNS nameserver when `dnsPolicy` is None");
	if (json_len(config, "nameservers") > MAX_NAMESERVERS)
		check_invalid(c, "nameservers", json_object_get(config, "nameservers"),
			      "must not have more than %d nameservers", MAX_NAMESERVERS);
	check_foreach(c, config, "nameservers", v) if (!valid_ip(json_string_value(v)))
		check_invalid(c, NULL, v,
			      "must be a valid IP address, (e.g. 10.9.8.7 or "
			      "2001:db8::ffff)");
	if (json_len(config, "searches") > MAX_SEARCHES)
		check_invalid(c, "searches", json_object_get(config, "searches"),
			      "must not have more than %d search paths", MAX_SEARCHES);
	json_array_foreach(json_object_get(config, "searches"), i, v) chars +=
		json_string_length(v) + (i > 0);
	if (chars > MAX_SEARCH_CHARS)
		check_invalid(c, "searches", json_object_get(config, "searches"),
			      "must not have more than %d characters (including spaces) in the "
			      "search list",
			      MAX_SEARCH_CHARS);
	check_foreach(c, config, "options", v) if (!*json_str(v, "name", ""))
		check_required(c, "name", "must not be empty");
	check_leave(c, mark);
}

static void check_tolerations(struct check *c, const json_t *spec)
{
	json_t *t;

	check_foreach(c, spec, "tolerations", t)
	{
		const char *key = json_str(t, "key", ""), *op = json_str(t, "operator", "");
		const char *bad = *key ? valid_label_key(key) : NULL;

		if (bad)
			check_invalid_str(c, "key", key, "%s", bad);
		if (!*key && !streq(op, "Exists"))
			check_invalid_str(c, "operator", op,
					  "operator must be Exists when `key` is empty, which "
					  "means \"match all values and all keys\"");
		if (json_object_get(t, "tolerationSeconds") &&
		    !streq(json_str(t, "effect", ""), "NoExecute"))
			check_invalid_str(
				c, "effect", json_str(t, "effect", ""),
				"effect must be 'NoExecute' when `tolerationSeconds` is set");
		if (streq(op, "Exists") && *json_str(t, "value", ""))
			check_invalid(c, "operator", t,
				      "value must be empty when `operator` is 'Exists'");
	}
}

/* ([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])? */
static bool sysctl_ok(const char *s)
{
	static const char inner[] = "abcdefghijklmnopqrstuvwxyz0123456789";
	bool edge = true; /* the next character begins a part */

	if (!*s || strlen(s) > 253)
		return false;
	for (; *s; s++) {
		if (strchr(inner, *s)) {
			edge = false;
			continue;
		}
		if (edge)
			return false;
		if (*s == '.' || *s == '/') {
			if (!s[1] || !strchr(inner, s[-1]))
				return false;
			edge = true;
		} else if (*s != '-' && *s != '_') {
			return false;
		}
	}
	return strchr(inner, s[-1]);
}

static void check_sysctls(struct check *c, const json_t *spec)
{
	const json_t *security = json_object_get(spec, "securityContext");
	size_t mark = check_enter(c, "securityContext");
	auto_strv names = {0};
	json_t *sysctl;

	check_foreach(c, security, "sysctls", sysctl)
	{
		const char *name = json_str(sysctl, "name", "");

		if (*name && !sysctl_ok(name))
			check_invalid_str(c, "name", name,
					  "must have at most 253 characters and match regex "
					  "^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\\./])*[a-z0-9]([-_a-"
					  "z0-9]*[a-z0-9])?$");
		else if (strv_has(&names, name))
			check_duplicate_str(c, "name", name);
		strv_add(&names, name);
	}
	check_leave(c, mark);
}

void check_pod_spec(struct check *c, const json_t *spec)
{
	check_volumes(c, spec);
	check_containers(c, spec);
	check_dns(c, spec);
	check_tolerations(c, spec);
	check_sysctls(c, spec);
}

/* ---- updates ---------------------------------------------------------------------------- */

static const char update_text[] =
	"pod updates may not change fields other than "
	"`spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,"
	"`spec.tolerations` (only additions to existing tolerations),"
	"`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously "
	"negative)";

/* Makes key of `to` what it is in `from`. */
static void take(json_t *to, const json_t *from, const char *key)
{
	json_t *v = json_object_get(from, key);

	if (v)
		json_object_set(to, key, v);
	else
		json_object_del(to, key);
}

static bool take_images(struct check *c, json_t *spec, const json_t *old, const char *field)
{
	json_t *container, *was = json_object_get(old, field);
	size_t i;

	if (json_len(spec, field) != json_array_size(was)) {
		check_forbidden(c, field, "pod updates may not add or remove containers");
		return false;
	}
	json_array_foreach(json_object_get(spec, field), i, container)
		take(container, json_array_get(was, i), "image");
	return true;
}

static void check_deadline(struct check *c, const json_t *spec, const json_t *old)
{
	const json_t *now = json_object_get(spec, "activeDeadlineSeconds");
	const json_t *was = json_object_get(old, "activeDeadlineSeconds");

	if (was && !now)
		check_invalid(c, "activeDeadlineSeconds", NULL,
			      "must not update from a positive integer to nil value");
	else if (was && json_integer_value(now) > json_integer_value(was))
		check_invalid(c, "activeDeadlineSeconds", now,
			      "must be less than or equal to previous value");
}

/* Every old toleration must still be there, its seconds aside. */
static void check_old_tolerations(struct check *c, const json_t *spec, const json_t *old)
{
	json_t *was, *now;
	size_t i, j;

	json_array_foreach(json_object_get(old, "tolerations"), i, was)
	{
		bool kept = false;

		json_array_foreach(json_object_get(spec, "tolerations"), j, now)
		{
			json_auto_t *a = json_copy(was), *b = json_copy(now);

			json_object_del(a, "tolerationSeconds");
			json_object_del(b, "tolerationSeconds");
			kept |= json_equal(a, b);
		}
		if (!kept) {
			check_forbidden(c, "tolerations",
					"existing toleration can not be modified except its "
					"tolerationSeconds");
			return;
		}
	}
}

/* They only come, none goes and none changes. */
static void check_debug_update(struct check *c, const json_t *spec, const json_t *old)
{
	const json_t *now = json_object_get(spec, "ephemeralContainers");
	json_t *was;
	size_t i;

	json_array_foreach(json_object_get(old, "ephemeralContainers"), i, was)
	{
		const char *name = json_str(was, "name", "");
		const json_t *is = json_find(now, "name", name);

		if (!is)
			check_forbidden(c, "ephemeralContainers",
					"existing ephemeral containers \"%s\" may not be removed\n",
					name);
		else if (!json_equal(is, was))
			check_forbidden(c, "ephemeralContainers",
					"existing ephemeral containers \"%s\" may not be changed\n",
					name);
	}
}

/* Only what has its own rules may differ; ephemeral containers, the node and gates are written
 * through their own ways and only grow, get set or shrink there. */
static void check_pod_update(struct check *c, const json_t *spec, const json_t *old)
{
	json_auto_t *masked = json_deep_copy(spec);

	check_deadline(c, spec, old);
	check_old_tolerations(c, spec, old);
	check_debug_update(c, spec, old);
	if (!take_images(c, masked, old, "containers") ||
	    !take_images(c, masked, old, "initContainers"))
		return;
	take(masked, old, "activeDeadlineSeconds");
	take(masked, old, "tolerations");
	take(masked, old, "ephemeralContainers");
	if (json_int(old, "terminationGracePeriodSeconds", 0) < 0 &&
	    json_int(spec, "terminationGracePeriodSeconds", 0) == 1)
		take(masked, old, "terminationGracePeriodSeconds");
	if (!json_object_get(old, "nodeName"))
		json_object_del(masked, "nodeName");
	if (json_len(spec, "schedulingGates") < json_len(old, "schedulingGates"))
		take(masked, old, "schedulingGates");
	if (!json_equal(masked, old))
		check_forbidden(c, NULL, "%s", update_text);
}

void pod_validate(const json_t *obj, const json_t *old, struct err *err)
{
	struct check c = {.err = err};
	const json_t *spec = json_object_get(obj, "spec");

	check_enter(&c, "spec");
	check_pod_spec(&c, spec);
	if (old)
		check_pod_update(&c, spec, json_object_get(old, "spec"));
	else if (json_len(spec, "ephemeralContainers"))
		check_forbidden(&c, "ephemeralContainers", "cannot be set on create");
	strbuf_done(&c.path);
}
