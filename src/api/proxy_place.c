/* SPDX-License-Identifier: Apache-2.0 */
/* The place behind a proxy subresource: [scheme:]name[:port] of a pod, a service or a node. */
#include "proxy.h"

#include <arpa/inet.h>

#define KUBELET_PORT "10250"

/* [scheme:]name[:port], split. */
struct wish {
	char *text; /* owned, cut up */
	const char *scheme, *name, *port;
};

static int wish_parse(struct call *c, struct wish *w, struct err *err)
{
	const struct kind *k = c->target.kind;
	char *parts[3] = {0}, *rest;
	size_t n = 0;

	rest = w->text = xstrdup(c->target.name);
	while (rest && n < ARRAY_SIZE(parts))
		parts[n++] = strsep(&rest, ":");
	w->scheme = n == 3 ? parts[0] : "";
	w->name = n == 3 ? parts[1] : parts[0];
	w->port = n == 3 ? parts[2] : n == 2 ? parts[1] : "";
	if (rest || !*w->name ||
	    (*w->scheme && !streq(w->scheme, "http") && !streq(w->scheme, "https")))
		return err_set(err, ERR_BAD_REQUEST, "invalid %s request \"%s\"", k->singular,
			       c->target.name);
	return 0;
}

/* Not what is only of this host: an address in an object would lead there. */
static bool address_allowed(const char *ip)
{
	struct in6_addr six;
	struct in_addr four;

	if (inet_pton(AF_INET, ip, &four) == 1) {
		uint32_t a = ntohl(four.s_addr);

		return a >> 24 != 127 && a >> 16 != 0xa9fe && a >> 28 != 14 && a != 0;
	}
	return inet_pton(AF_INET6, ip, &six) == 1 && !IN6_IS_ADDR_LOOPBACK(&six) &&
	       !IN6_IS_ADDR_LINKLOCAL(&six) && !IN6_IS_ADDR_MULTICAST(&six) &&
	       !IN6_IS_ADDR_V4MAPPED(&six) && !IN6_IS_ADDR_UNSPECIFIED(&six);
}

static int place_at(const struct wish *w, const char *ip, const char *port, struct place *ret,
		    struct err *err)
{
	uint64_t n;

	ret->tls = streq(w->scheme, "https");
	if (!address_allowed(ip))
		return err_set(err, ERR_BAD_REQUEST, "address not allowed");
	if (!*port)
		port = ret->tls ? "443" : "80";
	if (str_to_u64(port, 65535, &n) < 0 || n == 0)
		return err_set(err, ERR_SERVICE_UNAVAILABLE,
			       "error trying to reach service: dial tcp: lookup tcp/%s: unknown "
			       "port",
			       port);
	auto_free char *text = xasprintf(strchr(ip, ':') ? "[%s]:%s" : "%s:%s", ip, port);

	if (addr_parse(text, &ret->addr) < 0)
		return err_set(err, ERR_BAD_REQUEST, "address not allowed");
	addr_format(ret->text, &ret->addr);
	return 0;
}

/* ---- pods -------------------------------------------------------------------------------- */

static int pod_place(const struct wish *w, const json_t *pod, struct place *ret, struct err *err)
{
	char first[16] = "";
	json_t *ctr;
	size_t i;

	json_array_foreach(json_at(pod, "spec.containers"), i, ctr)
	{
		int64_t port =
			json_int(json_array_get(json_at(ctr, "ports"), 0), "containerPort", 0);

		if (port && !*first)
			snprintf(first, sizeof(first), "%lld", (long long)port);
	}
	return place_at(w, json_str(pod, "status.podIP", ""), *w->port ? w->port : first, ret, err);
}

/* ---- nodes ------------------------------------------------------------------------------- */

static int node_place(const struct wish *w, const json_t *node, struct place *ret, struct err *err)
{
	const json_t *address = json_find(json_at(node, "status.addresses"), "type", "InternalIP");

	return place_at(w, json_str(address, "address", ""), *w->port ? w->port : KUBELET_PORT, ret,
			err);
}

/* ---- services ---------------------------------------------------------------------------- */

/* The name of the port that is meant; a number is one of the service's. */
static int service_port(const struct wish *w, const json_t *service, const char **name,
			struct err *err)
{
	int64_t number;
	json_t *port;
	size_t i;

	*name = w->port;
	if (str_to_i64(w->port, INT64_MIN, INT64_MAX, &number) < 0)
		return 0;
	json_array_foreach(json_at(service, "spec.ports"), i, port)
	{
		if (json_int(port, "port", 0) == number) {
			*name = json_str(port, "name", "");
			return 0;
		}
	}
	return err_set(err, ERR_SERVICE_UNAVAILABLE,
		       "no service port %lld found for service \"%s\"", (long long)number, w->name);
}

/* One of the ready addresses behind that port, by chance. */
static const char *pick_endpoint(const json_t *endpoints, const char *name, int64_t *port)
{
	const char *chosen = NULL;
	json_t *subset, *address;
	unsigned seen = 0, chance;
	size_t i, k;

	json_array_foreach(json_at(endpoints, "subsets"), i, subset)
	{
		const json_t *found = NULL, *one;

		json_array_foreach(json_at(subset, "ports"), k,
				   one) if (!found && streq(json_str(one, "name", ""), name))
			found = one;
		json_array_foreach(json_at(subset, "addresses"), k, address)
		{
			random_bytes(&chance, sizeof(chance));
			if (!found || chance % ++seen)
				continue;
			chosen = json_str(address, "ip", "");
			*port = json_int(found, "port", 0);
		}
	}
	return chosen;
}

static int service_place(struct call *c, const struct wish *w, const json_t *service,
			 struct place *ret, struct err *err)
{
	const struct object *endpoints =
		store_get(c->api->store, kind_find("", "v1", "endpoints"), c->target.ns, w->name);
	const char *name, *ip = NULL;
	char text[24];
	int64_t port = 0;
	int rc = service_port(w, service, &name, err);

	if (rc < 0)
		return rc;
	if (endpoints)
		ip = pick_endpoint(object_json(endpoints), name, &port);
	if (!ip)
		return err_set(err, ERR_SERVICE_UNAVAILABLE,
			       "no endpoints available for service \"%s\"", c->target.name);
	snprintf(text, sizeof(text), "%lld", (long long)port);
	return place_at(w, ip, text, ret, err);
}

int place_find(struct call *c, struct place *ret, struct err *err)
{
	const struct target *t = &c->target;
	struct wish w = {0};
	int rc = wish_parse(c, &w, err);
	const struct object *o =
		rc < 0 ? NULL : store_get(c->api->store, t->kind, t->ns ? t->ns : "", w.name);

	if (rc == 0 && !o)
		rc = err_not_found(err, t->kind, w.name);
	else if (rc == 0 && streq(t->plural, "pods"))
		rc = pod_place(&w, object_json(o), ret, err);
	else if (rc == 0 && streq(t->plural, "services"))
		rc = service_place(c, &w, object_json(o), ret, err);
	else if (rc == 0)
		rc = node_place(&w, object_json(o), ret, err);
	free(w.text);
	return rc;
}

char *proxy_location(const char *location, const char *prefix, const char *place, const char *host)
{
	const char *path = location, *authority = strstr(location, "://");
	size_t keep = 0;

	/* "//host/path" and "scheme://host/path" name a host. */
	if (authority && strcspn(location, "/?#") > (size_t)(authority - location))
		authority += 3;
	else
		authority = str_starts(location, "//") ? location + 2 : NULL;
	if (authority) {
		size_t len = strcspn(authority, "/?#");
		bool ours = strlen(host) == len && strncmp(authority, host, len) == 0;

		if (!ours && !(strlen(place) == len && strncmp(authority, place, len) == 0))
			return xstrdup(location);
		path = authority + len;
		keep = ours ? (size_t)(path - location) : 0;
	}
	if (*path != '/')
		return xstrdup(location);
	return xasprintf("%.*s%s%s", (int)keep, location, str_starts(path, prefix) ? "" : prefix,
			 path);
}
