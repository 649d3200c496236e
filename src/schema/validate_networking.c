/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Validation and defaults of Ingress, IngressClass, NetworkPolicy, ServiceCIDR and IPAddress
 * (kubernetes pkg/apis/networking/validation).
 */
#include "validate.h"

#include <arpa/inet.h>

#define MAX_CONTROLLER 250
#define IMMUTABLE "field is immutable"

/* ---- ranges of addresses ---------------------------------------------------------------- */

struct cidr {
	int family;
	unsigned char bytes[16];
	int prefix;
};

static int cidr_parse(const char *text, struct cidr *ret)
{
	char host[INET6_ADDRSTRLEN];
	const char *slash = strchr(text, '/');
	int64_t prefix;

	if (!slash || (size_t)(slash - text) >= sizeof(host))
		return -EINVAL;
	memcpy(host, text, (size_t)(slash - text));
	host[slash - text] = '\0';
	ret->family = strchr(host, ':') ? AF_INET6 : AF_INET;
	if (inet_pton(ret->family, host, ret->bytes) != 1 ||
	    str_to_i64(slash + 1, 0, ret->family == AF_INET ? 32 : 128, &prefix) < 0)
		return -EINVAL;
	ret->prefix = (int)prefix;
	return 0;
}

/* Does the first address of b lie in a? */
static bool cidr_contains(const struct cidr *a, const struct cidr *b)
{
	int whole = a->prefix / 8, rest = a->prefix % 8;

	if (a->family != b->family || memcmp(a->bytes, b->bytes, (size_t)whole) != 0)
		return false;
	return rest == 0 || ((a->bytes[whole] ^ b->bytes[whole]) & (0xff << (8 - rest))) == 0;
}

/* The range as Kubernetes writes it: no bits behind the prefix. */
static void cidr_format(const struct cidr *c, char *buf, size_t len)
{
	unsigned char masked[16] = {0};
	char host[INET6_ADDRSTRLEN];
	int whole = c->prefix / 8, rest = c->prefix % 8;

	memcpy(masked, c->bytes, (size_t)whole);
	if (rest)
		masked[whole] = c->bytes[whole] & (unsigned char)(0xff << (8 - rest));
	inet_ntop(c->family, masked, host, sizeof(host));
	snprintf(buf, len, "%s/%d", host, c->prefix);
}

static int check_cidr(struct check *c, const char *field, const char *text, struct cidr *ret)
{
	int rc = cidr_parse(text, ret);

	if (rc < 0)
		check_invalid_str(c, field, text,
				  "must be a valid CIDR value, (e.g. 10.9.8.0/24 or "
				  "2001:db8::/64)");
	return rc;
}

/* ---- network policies ------------------------------------------------------------------- */

void networkpolicy_set_defaults(json_t *obj, const json_t *old UNUSED)
{
	json_t *types;

	if (json_len(obj, "spec.policyTypes"))
		return;
	types = json_array();
	json_array_append_new(types, json_string("Ingress"));
	if (json_len(obj, "spec.egress"))
		json_array_append_new(types, json_string("Egress"));
	json_put(obj, "spec.policyTypes", types);
}

static void check_policy_port(struct check *c, const json_t *port)
{
	const json_t *first = json_object_get(port, "port"),
		     *last = json_object_get(port, "endPort");

	if (json_is_string(first))
		check_text(c, "port", json_string_value(first), valid_port_name);
	else if (first)
		check_port_number(c, "port", json_integer_value(first));
	if (!last)
		return;
	if (!first) {
		check_invalid(c, "endPort", last,
			      "may not be specified when `port` is not specified");
	} else if (json_is_string(first)) {
		check_invalid(c, "endPort", last,
			      "may not be specified when `port` is non-numeric");
	} else {
		if (json_integer_value(last) < json_integer_value(first))
			check_invalid(c, "endPort", last,
				      "must be greater than or equal to `port`");
		check_port_number(c, "endPort", json_integer_value(last));
	}
}

static void check_ip_block(struct check *c, const json_t *block)
{
	const char *text = json_str(block, "cidr", "");
	struct cidr all, hole;
	json_t *v;

	/* the table has complained about an empty one */
	if (!*text || check_cidr(c, "cidr", text, &all) < 0)
		return;
	check_foreach(c, block, "except", v)
	{
		if (check_cidr(c, NULL, json_string_value(v), &hole) < 0)
			continue;
		if (!cidr_contains(&all, &hole) || all.prefix >= hole.prefix)
			check_invalid(c, NULL, v, "must be a strict subset of `cidr`");
	}
}

static void check_peer(struct check *c, const json_t *peer)
{
	const json_t *pods = json_object_get(peer, "podSelector");
	const json_t *namespaces = json_object_get(peer, "namespaceSelector");
	const json_t *block = json_object_get(peer, "ipBlock");
	size_t mark;

	check_selector(c, "podSelector", pods);
	check_selector(c, "namespaceSelector", namespaces);
	mark = check_enter(c, "ipBlock");
	check_ip_block(c, block);
	check_leave(c, mark);
	if (!pods && !namespaces && !block)
		check_required(c, NULL, "must specify a peer");
	else if (block && (pods || namespaces))
		check_forbidden(c, NULL, "may not specify both ipBlock and another peer");
}

static void check_policy_rule(struct check *c, const json_t *rule, const char *peers)
{
	json_t *v;

	check_foreach(c, rule, "ports", v) check_policy_port(c, v);
	check_foreach(c, rule, peers, v) check_peer(c, v);
}

void networkpolicy_validate(const json_t *obj, const json_t *old UNUSED, struct err *err)
{
	struct check c = {.err = err};
	const json_t *spec = json_object_get(obj, "spec");
	json_t *v;

	check_enter(&c, "spec");
	check_selector(&c, "podSelector", json_object_get(spec, "podSelector"));
	check_foreach(&c, spec, "ingress", v) check_policy_rule(&c, v, "from");
	check_foreach(&c, spec, "egress", v) check_policy_rule(&c, v, "to");
	if (json_len(spec, "policyTypes") > 2)
		check_invalid(&c, "policyTypes", json_object_get(spec, "policyTypes"),
			      "may not specify more than two policyTypes");
	else
		check_foreach(&c, spec, "policyTypes", v)
			check_one_of(&c, NULL, json_string_value(v), "Ingress,Egress");
	strbuf_done(&c.path);
}

/* ---- ingresses -------------------------------------------------------------------------- */

static const char *valid_wildcard(const char *s)
{
	if (str_starts(s, "*.") && !valid_dns1123_subdomain(s + 2))
		return NULL;
	return "a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS "
	       "subdomain, which must consist of lower case alphanumeric characters, '-' or '.' "
	       "and "
	       "end with an alphanumeric character (e.g. '*.example.com', regex used for "
	       "validation "
	       "is '\\*\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
}

static void check_host(struct check *c, const char *field, const char *host)
{
	check_text(c, field, host, strchr(host, '*') ? valid_wildcard : valid_dns1123_subdomain);
}

static void check_service_port(struct check *c, const json_t *port)
{
	const char *name = json_str(port, "name", "");
	int64_t number = json_int(port, "number", 0);

	if (*name && number)
		check_invalid_str(c, NULL, "", "cannot set both port name & port number");
	else if (*name)
		check_text(c, "service.port.name", name, valid_port_name);
	else if (number)
		check_port_number(c, "service.port.number", number);
	else
		check_required(c, NULL, "port name or number is required");
}

static void check_object_reference(struct check *c, const char *field, const json_t *ref)
{
	size_t mark = check_enter(c, field);
	const char *group = json_str(ref, "apiGroup", NULL);

	if (group)
		check_text(c, "apiGroup", group, valid_dns1123_subdomain);
	check_required_text(c, "kind", json_str(ref, "kind", ""), valid_path_segment);
	check_required_text(c, "name", json_str(ref, "name", ""), valid_path_segment);
	check_leave(c, mark);
}

static void check_backend(struct check *c, const char *field, const json_t *backend)
{
	const json_t *service = json_object_get(backend, "service");
	const json_t *resource = json_object_get(backend, "resource");
	size_t mark = check_enter(c, field);

	if (service && resource) {
		check_invalid_str(c, NULL, "", "cannot set both resource and service backends");
	} else if (resource) {
		check_object_reference(c, "resource", resource);
	} else if (service) {
		check_required_text(c, "service.name", json_str(service, "name", ""),
				    valid_dns1035_label);
		check_service_port(c, json_object_get(service, "port"));
	} else {
		check_invalid_str(c, NULL, "", "resource or service backend is required");
	}
	check_leave(c, mark);
}

/* What clients may read as another path than the one that is meant. */
static void check_clear_path(struct check *c, const char *path)
{
	static const char *const inside[] = {"//", "/./", "/../", "%2f", "%2F"};
	static const char *const at_end[] = {"/..", "/."};

	for (size_t i = 0; i < ARRAY_SIZE(inside); i++)
		if (strstr(path, inside[i]))
			check_invalid_str(c, "path", path, "must not contain '%s'", inside[i]);
	for (size_t i = 0; i < ARRAY_SIZE(at_end); i++)
		if (str_ends(path, at_end[i]))
			check_invalid_str(c, "path", path, "cannot end with '%s'", at_end[i]);
}

static void check_path(struct check *c, const json_t *path)
{
	const char *type = json_str(path, "pathType", NULL), *text = json_str(path, "path", "");
	bool exact;

	if (!type) {
		check_required(c, "pathType", "pathType must be specified");
		return;
	}
	exact = streq(type, "Exact") || streq(type, "Prefix");
	check_one_of(c, "pathType", type, "Exact,ImplementationSpecific,Prefix");
	if (text[0] != '/' && (exact || (*text && streq(type, "ImplementationSpecific"))))
		check_invalid_str(c, "path", text, "must be an absolute path");
	if (exact)
		check_clear_path(c, text);
	check_backend(c, "backend", json_object_get(path, "backend"));
}

static void check_rule(struct check *c, const json_t *rule)
{
	const char *host = json_str(rule, "host", "");
	const json_t *http = json_object_get(rule, "http");
	size_t mark;
	json_t *path;

	if (*host) {
		if (valid_ip(host))
			check_invalid_str(c, "host", host, "must be a DNS name, not an IP address");
		check_host(c, "host", host);
	}
	mark = check_enter(c, "http");
	check_foreach(c, http, "paths", path) check_path(c, path);
	check_leave(c, mark);
}

static void check_tls(struct check *c, const json_t *tls)
{
	const char *secret = json_str(tls, "secretName", "");
	json_t *host;

	check_foreach(c, tls, "hosts", host) check_host(c, NULL, json_string_value(host));
	if (*secret)
		check_text(c, "secretName", secret, valid_dns1123_subdomain);
}

static void check_ingress_status(struct check *c, const json_t *status)
{
	const json_t *balancer = json_object_get(status, "loadBalancer");
	size_t mark = check_enter(c, "status.loadBalancer");
	json_t *v;

	check_foreach(c, balancer, "ingress", v)
	{
		const char *host = json_str(v, "hostname", "");

		if (*host)
			check_text(c, "hostname", host, valid_dns1123_subdomain);
		if (valid_ip(host))
			check_invalid_str(c, "hostname", host,
					  "must be a DNS name, not an IP address");
	}
	check_leave(c, mark);
}

void ingress_validate(const json_t *obj, const json_t *old, struct err *err)
{
	static const char annotation[] = "kubernetes.io/ingress.class";
	struct check c = {.err = err};
	const json_t *spec = json_object_get(obj, "spec");
	const char *class = json_str(spec, "ingressClassName", NULL);
	const char *older = meta_annotation(obj, annotation);
	const json_t *fallback = json_object_get(spec, "defaultBackend");
	size_t mark;
	json_t *v;

	if (!old && class && older && !streq(class, older))
		check_invalid_str(&c, "annotations.kubernetes.io/ingress.class", older,
				  "must match `ingressClassName` when both are specified");
	check_ingress_status(&c, json_object_get(obj, "status"));
	mark = check_enter(&c, "spec");
	if (!fallback && json_len(spec, "rules") == 0)
		check_invalid(&c, NULL, json_object_get(spec, "rules"),
			      "either `defaultBackend` or `rules` must be specified");
	if (fallback)
		check_backend(&c, "defaultBackend", fallback);
	check_foreach(&c, spec, "rules", v) check_rule(&c, v);
	check_foreach(&c, spec, "tls", v) check_tls(&c, v);
	check_leave(&c, mark);
	strbuf_done(&c.path);
}

/* ---- ingress classes -------------------------------------------------------------------- */

/* "example.com/controller" */
static void check_controller(struct check *c, const char *text)
{
	static const char allowed[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
				      "0123456789/-._~%!$&'()*+,;=:";
	const char *slash = strchr(text, '/');
	auto_free char *host = xstrndup(text, slash ? (size_t)(slash - text) : 0);

	if (!*text) {
		check_required(c, "controller", "");
		return;
	}
	if (strlen(text) > MAX_CONTROLLER)
		check_too_long(c, "controller", MAX_CONTROLLER);
	if (!*host || !slash[1]) {
		check_invalid_str(c, "controller", text,
				  "must be a domain-prefixed path (such as \"acme.io/foo\")");
		return;
	}
	check_text(c, "controller", host, valid_dns1123_subdomain);
	if (slash[1 + strspn(slash + 1, allowed)])
		check_invalid_str(c, "controller", slash + 1,
				  "Invalid path (regex used for validation is "
				  "'[A-Za-z0-9/\\-._~%%!$&'()*+,;=:]+')");
}

void ingressclass_validate(const json_t *obj, const json_t *old UNUSED, struct err *err)
{
	struct check c = {.err = err};
	const json_t *spec = json_object_get(obj, "spec");
	const json_t *ref = json_object_get(spec, "parameters");
	const char *scope = json_str(ref, "scope", ""), *ns = json_str(ref, "namespace", NULL);

	check_enter(&c, "spec");
	check_controller(&c, json_str(spec, "controller", ""));
	check_enter(&c, "parameters");
	if (streq(scope, "Namespace") && !ns)
		check_required(&c, "namespace", "`parameters.scope` is set to 'Namespace'");
	else if (streq(scope, "Namespace"))
		check_text(&c, "namespace", ns, valid_dns1123_label);
	else if (streq(scope, "Cluster") && ns)
		check_forbidden(&c, "namespace", "`parameters.scope` is set to 'Cluster'");
	strbuf_done(&c.path);
}

/* ---- service ranges and addresses ------------------------------------------------------- */

static void check_ranges(struct check *c, const json_t *spec)
{
	const json_t *list = json_object_get(spec, "cidrs");
	struct cidr found[2];
	size_t n = 0;
	json_t *v;

	if (json_array_size(list) == 0) {
		check_required(c, "cidrs", "at least one CIDR required");
		return;
	}
	if (json_array_size(list) > 2) {
		check_invalid(c, "cidrs", spec, "may only hold up to 2 values");
		return;
	}
	check_foreach(c, spec, "cidrs", v)
	{
		char canonical[INET6_ADDRSTRLEN + 4];

		if (check_cidr(c, NULL, json_string_value(v), &found[n]) < 0)
			continue;
		cidr_format(&found[n++], canonical, sizeof(canonical));
		if (!streq(canonical, json_string_value(v)))
			check_invalid(c, NULL, v, "must be in canonical form (\"%s\")", canonical);
	}
	if (n == 2 && found[0].family == found[1].family)
		check_invalid(c, "cidrs", list,
			      "may specify no more than one IP for each IP family, i.e "
			      "192.168.0.0/24 and 2001:db8::/64");
}

/* A range may be joined by one of the other family; nothing else changes. */
static void check_ranges_kept(struct check *c, const json_t *spec, const json_t *was)
{
	const json_t *list = json_object_get(spec, "cidrs"),
		     *before = json_object_get(was, "cidrs");
	size_t n = json_array_size(list), had = json_array_size(before);

	if (n != had && !(had == 1 && n == 2)) {
		check_invalid(c, "cidrs", list, IMMUTABLE);
		return;
	}
	for (size_t i = 0; i < had; i++) {
		size_t mark = check_item(c, "cidrs", i);

		if (!json_equal(json_array_get(list, i), json_array_get(before, i)))
			check_invalid(c, NULL, json_array_get(list, i), IMMUTABLE);
		check_leave(c, mark);
	}
}

void servicecidr_validate(const json_t *obj, const json_t *old, struct err *err)
{
	struct check c = {.err = err};
	const json_t *spec = json_object_get(obj, "spec");

	check_enter(&c, "spec");
	check_ranges(&c, spec);
	if (old)
		check_ranges_kept(&c, spec, json_object_get(old, "spec"));
	strbuf_done(&c.path);
}

void ipaddress_validate(const json_t *obj, const json_t *old UNUSED, struct err *err)
{
	struct check c = {.err = err};
	const json_t *spec = json_object_get(obj, "spec");
	const json_t *ref = json_object_get(spec, "parentRef");
	const char *group = json_str(ref, "group", ""), *ns = json_str(ref, "namespace", "");

	check_enter(&c, "spec.parentRef");
	if (*group)
		check_text(&c, "group", group, valid_dns1123_subdomain);
	if (ref) {
		check_required_text(&c, "resource", json_str(ref, "resource", ""),
				    valid_path_segment);
		check_required_text(&c, "name", json_str(ref, "name", ""), valid_path_segment);
	}
	if (*ns)
		check_text(&c, "namespace", ns, valid_path_segment);
	strbuf_done(&c.path);
}
