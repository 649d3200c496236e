/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Validation of Service and Endpoints (kubernetes pkg/apis/core/validation). Whether an address or
 * node port is free is the registry's to say.
 */
#include "validate.h"

#define MAX_AFFINITY_SECONDS 86400

static const char bad_ip[] = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)";

/* ---- services --------------------------------------------------------------------------- */

static bool type_is(const json_t *spec, const char *type)
{
	return streq(json_str(spec, "type", ""), type);
}

/* Duplicates among the ports seen before index i of the list. */
static void check_port_twice(struct check *c, const json_t *ports, size_t i)
{
	const json_t *port = json_array_get(ports, i);
	int64_t number = json_int(port, "port", 0), node = json_int(port, "nodePort", 0);
	const char *proto = json_str(port, "protocol", "");

	for (size_t j = 0; j < i; j++) {
		const json_t *other = json_array_get(ports, j);

		if (!streq(json_str(other, "protocol", ""), proto))
			continue;
		if (json_int(other, "port", 0) == number) {
			json_auto_t *key = json_pack("{s:s, s:I}", "protocol", proto, "port",
						     (json_int_t)number);

			check_duplicate(c, NULL, key);
		}
		if (node && json_int(other, "nodePort", 0) == node)
			check_duplicate(c, "nodePort", json_object_get(port, "nodePort"));
	}
}

static void check_ports(struct check *c, const json_t *spec)
{
	json_t *ports = json_object_get(spec, "ports"), *port;
	bool external = type_is(spec, "ExternalName");
	bool headless = streq(json_str(spec, "clusterIP", ""), "None");
	bool several = json_array_size(ports) > 1;
	auto_strv names = {0};

	if (json_array_size(ports) == 0 && !external && !headless)
		check_required(c, "ports", "");
	check_foreach(c, spec, "ports", port)
	{
		const char *name = json_str(port, "name", "");

		if (!*name && several)
			check_required(c, "name", "");
		else if (*name && strv_has(&names, name))
			check_duplicate_str(c, "name", name);
		if (*name)
			strv_add(&names, name);
		if (json_int(port, "nodePort", 0) && (type_is(spec, "ClusterIP") || external))
			check_forbidden(c, "nodePort", "may not be used when `type` is '%s'",
					json_str(spec, "type", ""));
		check_port_twice(c, ports, ix_port);
	}
}

static void check_cluster_ips(struct check *c, const json_t *spec)
{
	const char *ip = json_str(spec, "clusterIP", "");
	json_t *ips = json_object_get(spec, "clusterIPs"), *v;
	size_t i;

	if (type_is(spec, "ExternalName")) {
		if (*ip || json_array_size(ips) > 0)
			check_forbidden(c, "clusterIPs",
					"may not be set when `type` is 'ExternalName'");
		return;
	}
	if (json_array_size(ips) > 0 && !str_eq(json_string_value(json_array_get(ips, 0)), ip))
		check_invalid(c, "clusterIPs", ips, "first value must match `clusterIP`");
	json_array_foreach(ips, i, v)
	{
		const char *text = json_string_value(v);
		size_t mark = check_item(c, "clusterIPs", i);

		if (streq(text, "None") && i == 0 && !type_is(spec, "ClusterIP"))
			check_invalid(c, NULL, v, "may not be set to 'None' for %s services",
				      json_str(spec, "type", ""));
		else if (!streq(text, "None") && *text && !valid_ip(text))
			check_invalid(c, NULL, v, "%s", bad_ip);
		check_leave(c, mark);
	}
}

static void check_external_name(struct check *c, const json_t *spec)
{
	auto_free char *name = xstrdup(json_str(spec, "externalName", ""));
	size_t len = strlen(name);
	const char *bad;

	if (!type_is(spec, "ExternalName"))
		return;
	if (len && name[len - 1] == '.')
		name[len - 1] = '\0';
	if (len == 0)
		check_required(c, "externalName", "");
	else if ((bad = valid_dns1123_subdomain(name)))
		check_invalid_str(c, "externalName", name, "%s", bad);
}

static void check_affinity(struct check *c, const json_t *spec)
{
	const json_t *v = json_at(spec, "sessionAffinityConfig.clientIP.timeoutSeconds");
	int64_t seconds = json_integer_value(v);

	if (v && (seconds <= 0 || seconds > MAX_AFFINITY_SECONDS))
		check_invalid(c, "sessionAffinityConfig.clientIP.timeoutSeconds", v,
			      "must be greater than 0 and less than %d", MAX_AFFINITY_SECONDS);
}

void check_routable(struct check *c, const char *field, const json_t *v)
{
	static const struct {
		const char *prefix, *text;
	} no[] = {
		{"127.", "may not be in the loopback range (127.0.0.0/8, ::1/128)"},
		{"169.254.", "may not be in the link-local range (169.254.0.0/16, fe80::/10)"},
		{"fe80:", "may not be in the link-local range (169.254.0.0/16, fe80::/10)"},
		{"224.0.0.", "may not be in the link-local multicast range (224.0.0.0/24, "
			     "ff02::/10)"},
		{"ff02:", "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)"},
	};
	const char *ip = json_string_value(v) ? json_string_value(v) : "";

	for (size_t i = 0; i < ARRAY_SIZE(no); i++)
		if (str_starts(ip, no[i].prefix))
			check_invalid(c, field, v, "%s", no[i].text);
	if (streq(ip, "::1"))
		check_invalid(c, field, v, "%s", no[0].text);
	if (streq(ip, "0.0.0.0") || streq(ip, "::"))
		check_invalid(c, field, v, "may not be unspecified (0.0.0.0 or ::)");
}

static void check_external_ips(struct check *c, const json_t *spec)
{
	json_t *v;

	check_foreach(c, spec, "externalIPs", v)
	{
		if (!valid_ip(json_string_value(v)))
			check_invalid(c, NULL, v, "%s", bad_ip);
		else
			check_routable(c, NULL, v);
	}
}

static bool needs_health_port(const json_t *spec)
{
	return type_is(spec, "LoadBalancer") &&
	       streq(json_str(spec, "externalTrafficPolicy", ""), "Local");
}

/* The registry allocates one where it is needed, and knows the range. */
static void check_health_port(struct check *c, const json_t *spec, const json_t *old)
{
	int64_t port = json_int(spec, "healthCheckNodePort", 0);

	if (!needs_health_port(spec)) {
		if (port)
			check_invalid_int(c, "healthCheckNodePort", port,
					  "may only be set when `type` is 'LoadBalancer' and "
					  "`externalTrafficPolicy` is 'Local'");
	} else if (old && needs_health_port(old) && json_int(old, "healthCheckNodePort", 0) &&
		   port != json_int(old, "healthCheckNodePort", 0)) {
		check_forbidden(c, "healthCheckNodePort", "field is immutable");
	}
}

/* The address of a service stays, unless it turns into or from an ExternalName. */
static void check_service_update(struct check *c, const json_t *spec, const json_t *old)
{
	const char *was = json_str(old, "clusterIP", ""), *now = json_str(spec, "clusterIP", "");

	if (type_is(spec, "ExternalName") || type_is(old, "ExternalName") || !*was ||
	    streq(was, now))
		return;
	check_invalid(c, "clusterIPs[0]", json_object_get(spec, "clusterIPs"),
		      "may not change once set");
}

void service_validate(const json_t *obj, const json_t *old, struct err *err)
{
	struct check c = {.err = err};
	const json_t *spec = json_object_get(obj, "spec");
	const char *traffic = json_str(spec, "externalTrafficPolicy", NULL);

	check_enter(&c, "spec");
	check_ports(&c, spec);
	check_cluster_ips(&c, spec);
	check_external_name(&c, spec);
	check_affinity(&c, spec);
	check_external_ips(&c, spec);
	if (traffic && !type_is(spec, "NodePort") && !type_is(spec, "LoadBalancer") &&
	    json_len(spec, "externalIPs") == 0)
		check_invalid_str(&c, "externalTrafficPolicy", traffic,
				  "may only be set for externally-accessible services");
	check_health_port(&c, spec, json_object_get(old, "spec"));
	if (old)
		check_service_update(&c, spec, json_object_get(old, "spec"));
	strbuf_done(&c.path);
}

/* ---- endpoints -------------------------------------------------------------------------- */

static void check_addresses(struct check *c, const json_t *subset, const char *field)
{
	json_t *address;

	check_foreach(c, subset, field, address)
		check_routable(c, "ip", json_object_get(address, "ip"));
}

static void check_subset(struct check *c, const json_t *subset)
{
	bool several = json_len(subset, "ports") > 1;
	auto_strv names = {0};
	json_t *port;

	if (json_len(subset, "addresses") == 0 && json_len(subset, "notReadyAddresses") == 0)
		check_required(c, NULL, "must specify `addresses` or `notReadyAddresses`");
	check_addresses(c, subset, "addresses");
	check_addresses(c, subset, "notReadyAddresses");
	check_foreach(c, subset, "ports", port)
	{
		const char *name = json_str(port, "name", "");
		const char *bad = *name ? valid_dns1123_label(name) : NULL;

		if (several && !*name)
			check_required(c, "name", "");
		else if (bad)
			check_invalid_str(c, "name", name, "%s", bad);
		else if (*name && strv_has(&names, name))
			check_duplicate_str(c, "name", name);
		strv_add(&names, name);
	}
}

void endpoints_validate(const json_t *obj, const json_t *old UNUSED, struct err *err)
{
	struct check c = {.err = err};
	json_t *subset;

	check_foreach(&c, obj, "subsets", subset) check_subset(&c, subset);
	strbuf_done(&c.path);
}
