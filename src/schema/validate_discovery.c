/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Validation of EndpointSlice (kubernetes pkg/apis/discovery/validation).
 */
#include "validate.h"

#include <arpa/inet.h>

#define MAX_ENDPOINTS 1000
#define MAX_ADDRESSES 100
#define MAX_PORTS 20000
#define MAX_TOPOLOGY 16
#define MAX_HINTS 8

/* At least two labels; a dot at the end is allowed. */
static void check_full_domain(struct check *c, const char *text)
{
	auto_free char *name = xstrdup(text);
	size_t len = strlen(name);
	const char *bad;

	if (len == 0) {
		check_required(c, NULL, "");
		return;
	}
	if (name[len - 1] == '.')
		name[len - 1] = '\0';
	if ((bad = valid_dns1123_subdomain(name)))
		check_invalid_str(c, NULL, name, "%s", bad);
	if (!strchr(name, '.'))
		check_invalid_str(c, NULL, name,
				  "should be a domain with at least two segments separated by "
				  "dots");
}

static void check_address(struct check *c, const char *type, const json_t *v)
{
	unsigned char buf[16];
	const char *text = json_string_value(v);

	if (streq(type, "FQDN"))
		check_full_domain(c, text);
	else if (streq(type, "IPv4") && inet_pton(AF_INET, text, buf) != 1)
		check_invalid(c, NULL, v, "must be a valid IPv4 address");
	else if (streq(type, "IPv6") && inet_pton(AF_INET6, text, buf) != 1)
		check_invalid(c, NULL, v, "must be a valid IPv6 address");
	else
		check_routable(c, NULL, v);
}

static void check_hints(struct check *c, const json_t *hints, const char *field)
{
	auto_strv names = {0};
	json_t *v;

	if (json_len(hints, field) > MAX_HINTS) {
		check_too_many(c, field, json_len(hints, field), MAX_HINTS);
		return;
	}
	check_foreach(c, hints, field, v)
	{
		const char *name = json_str(v, "name", "");

		if (strv_has(&names, name))
			check_duplicate_str(c, "name", name);
		strv_add(&names, name);
		check_text(c, "name", name, valid_label_value);
	}
}

static void check_endpoint(struct check *c, const char *type, const json_t *endpoint)
{
	const json_t *topology = json_object_get(endpoint, "deprecatedTopology");
	size_t n = json_len(endpoint, "addresses"), mark;
	json_t *v;

	if (n == 0)
		check_required(c, "addresses", "must contain at least 1 address");
	else if (n > MAX_ADDRESSES)
		check_too_many(c, "addresses", n, MAX_ADDRESSES);
	check_foreach(c, endpoint, "addresses", v) check_address(c, type, v);
	if (json_object_size(topology) > MAX_TOPOLOGY)
		check_too_many(c, "deprecatedTopology", json_object_size(topology), MAX_TOPOLOGY);
	check_labels(c, "deprecatedTopology", topology);
	mark = check_enter(c, "hints");
	check_hints(c, json_object_get(endpoint, "hints"), "forZones");
	check_hints(c, json_object_get(endpoint, "hints"), "forNodes");
	check_leave(c, mark);
}

static void check_slice_port(struct check *c, const json_t *port, struct strv *names)
{
	const char *name = json_str(port, "name", "");
	const char *protocol = json_str(port, "appProtocol", NULL);

	if (*name)
		check_text(c, "name", name, valid_dns1123_label);
	if (strv_has(names, name))
		check_duplicate_str(c, "name", name);
	strv_add(names, name);
	if (protocol)
		check_text(c, "appProtocol", protocol, valid_label_key);
}

void endpointslice_validate(const json_t *obj, const json_t *old UNUSED, struct err *err)
{
	struct check c = {.err = err};
	const char *type = json_str(obj, "addressType", "");
	auto_strv names = {0};
	json_t *v;

	if (json_len(obj, "endpoints") > MAX_ENDPOINTS)
		check_too_many(&c, "endpoints", json_len(obj, "endpoints"), MAX_ENDPOINTS);
	else
		check_foreach(&c, obj, "endpoints", v) check_endpoint(&c, type, v);
	if (json_len(obj, "ports") > MAX_PORTS)
		check_too_many(&c, "ports", json_len(obj, "ports"), MAX_PORTS);
	else
		check_foreach(&c, obj, "ports", v) check_slice_port(&c, v, &names);
	strbuf_done(&c.path);
}
