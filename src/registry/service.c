/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Cluster addresses and node ports. Each range has a static band at its low end that random choices
 * take last, so that addresses people write into manifests are mostly free (KEP-3070, KEP-3668).
 */
#include "internal.h"
#include <arpa/inet.h>

#define PREFIX_MIN 8
#define PREFIX_MAX 30

/* ---- the range -------------------------------------------------------------------------- */

int allocator_init(struct registry *r, const struct registry_config *config, struct err *err)
{
	struct allocator *a = &r->allocator;
	const char *slash = strchr(config->service_cidr, '/');
	auto_free char *ip =
		slash ? xstrndup(config->service_cidr, (size_t)(slash - config->service_cidr))
		      : NULL;
	struct in_addr base;
	int64_t prefix;

	if (!ip || inet_pton(AF_INET, ip, &base) != 1 ||
	    str_to_i64(slash + 1, PREFIX_MIN, PREFIX_MAX, &prefix) < 0)
		return err_set(err, ERR_BAD_REQUEST,
			       "service range \"%s\": not an IPv4 range of /%d to /%d",
			       config->service_cidr, PREFIX_MIN, PREFIX_MAX);
	a->size = UINT32_C(1) << (32 - prefix);
	a->base = ntohl(base.s_addr) & ~(a->size - 1);
	a->port_min = config->node_port_min;
	a->port_max = config->node_port_max;
	return 0;
}

static void map_free_values(struct map *m)
{
	const char *key;
	void *holder;

	for (size_t i = 0; map_next(m, &i, &key, &holder);)
		free(holder);
	map_done(m);
}

void allocator_done(struct registry *r)
{
	store_watch_free(r->allocator.watch);
	map_free_values(&r->allocator.addresses);
	map_free_values(&r->allocator.ports);
}

void allocator_address(const struct registry *r, uint32_t offset, char *buf, size_t len)
{
	struct in_addr a = {.s_addr = htonl(r->allocator.base + offset)};

	if (!inet_ntop(AF_INET, &a, buf, (socklen_t)len))
		abort(); /* buffers are INET_ADDRSTRLEN */
}

/* ---- who holds what --------------------------------------------------------------------- */

static bool has_address(const json_t *svc, const char *address)
{
	json_t *v;
	size_t i;

	json_array_foreach(json_at(svc, "spec.clusterIPs"), i, v)
	{
		if (str_eq(json_string_value(v), address))
			return true;
	}
	return false;
}

static int health_port(const json_t *svc)
{
	return (int)json_int(svc, "spec.healthCheckNodePort", 0);
}

static bool has_port(const json_t *svc, const char *port)
{
	json_t *v;
	size_t i;

	json_array_foreach(json_at(svc, "spec.ports"), i, v)
	{
		char text[16];

		snprintf(text, sizeof(text), "%d", (int)json_int(v, "nodePort", 0));
		if (streq(text, port))
			return true;
	}
	return health_port(svc) && health_port(svc) == atoi(port);
}

typedef bool has_fn(const json_t *svc, const char *key);

/* Held by another service than self ("ns/name")? What its holder has no more is free. */
static bool is_taken(struct registry *r, struct map *m, has_fn *has, const char *key,
		     const char *self)
{
	char *holder = map_get(m, key), *slash;
	const struct object *o;
	auto_free char *ns = NULL;

	if (!holder || streq(holder, self))
		return false;
	slash = strchr(holder, '/');
	ns = xstrndup(holder, (size_t)(slash - holder));
	o = store_get(r->store, &kind_service, ns, slash + 1);
	if (o && has(object_json(o), key))
		return true;
	free(map_del(m, key));
	return false;
}

static char *self_of(const json_t *svc)
{
	return xasprintf("%s/%s", meta_ns(svc), meta_name(svc));
}

typedef void key_fn(struct map *m, const char *key, const char *self);

static void hold(struct map *m, const char *key, const char *self)
{
	free(map_put(m, key, xstrdup(self)));
}

static void let_go(struct map *m, const char *key, const char *self)
{
	if (str_eq(map_get(m, key), self))
		free(map_del(m, key));
}

static void for_each_key(struct registry *r, const struct object *o, key_fn *fn)
{
	const json_t *svc = object_json(o);
	auto_free char *self = self_of(svc);
	json_t *v;
	size_t i;

	json_array_foreach(json_at(svc, "spec.clusterIPs"), i, v)
	{
		if (json_is_string(v) && !streq(json_string_value(v), "None"))
			fn(&r->allocator.addresses, json_string_value(v), self);
	}
	json_array_foreach(json_at(svc, "spec.ports"), i, v)
	{
		char text[16];

		snprintf(text, sizeof(text), "%d", (int)json_int(v, "nodePort", 0));
		if (!streq(text, "0"))
			fn(&r->allocator.ports, text, self);
	}
	if (health_port(svc)) {
		char text[16];

		snprintf(text, sizeof(text), "%d", health_port(svc));
		fn(&r->allocator.ports, text, self);
	}
}

static void hold_free(struct map *m, const char *key, const char *self)
{
	if (!map_get(m, key))
		hold(m, key, self);
}

/* A service may come back when its deletion could not be stored. */
static bool on_service(void *arg, const struct store_event *ev)
{
	struct registry *r = arg;
	const struct object *now = store_get(r->store, ev->obj->kind, ev->obj->ns, ev->obj->name);

	if (now)
		for_each_key(r, now, hold_free);
	return true;
}

void service_hold(struct registry *r, const struct object *o)
{
	for_each_key(r, o, hold);
}

void service_release(struct registry *r, const struct object *o)
{
	for_each_key(r, o, let_go);
}

int allocator_start(struct registry *r, struct err *err)
{
	struct store_iter it = store_iter(r->store, &kind_service, NULL);
	const struct object *o;

	while ((o = store_next(&it)))
		service_hold(r, o);
	/* It can keep up: it never pauses. */
	r->allocator.watch = store_watch_new(r->store, &kind_service, store_rev(r->store),
					     on_service, NULL, r, err);
	return r->allocator.watch ? 0 : -EIO;
}

/* ---- choosing --------------------------------------------------------------------------- */

static uint32_t random_below(uint32_t n)
{
	uint32_t x;

	random_bytes(&x, sizeof(x));
	return x % n;
}

struct band {
	uint32_t first, n;
};
typedef void format_fn(const struct registry *r, uint32_t value, char *buf, size_t len);

/* A free value of the band, from a random one onwards; -ENOSPC. */
static int choose(struct registry *r, struct map *m, has_fn *has, format_fn *format,
		  const struct band *band, const struct strv *avoid, const char *self, char *buf,
		  size_t len)
{
	uint32_t start = band->n ? random_below(band->n) : 0;

	for (uint32_t i = 0; i < band->n; i++) {
		format(r, band->first + (start + i) % band->n, buf, len);
		if (!strv_has(avoid, buf) && !is_taken(r, m, has, buf, self) && !map_get(m, buf))
			return 0;
	}
	return -ENOSPC;
}

static uint32_t clamp(uint32_t n, uint32_t min, uint32_t max)
{
	return n < min ? min : n > max ? max : n;
}

static int choose_address(struct registry *r, const char *self, char *buf, size_t len)
{
	/* Without the network and the broadcast address. */
	uint32_t n = r->allocator.size - 2, low = clamp(r->allocator.size / 16, 16, 256);
	struct strv none = {0};
	struct band upper, lower;
	int rc;

	low = low < n ? low : 0;
	upper = (struct band){1 + low, n - low};
	lower = (struct band){1, low};
	rc = choose(r, &r->allocator.addresses, has_address, allocator_address, &upper, &none, self,
		    buf, len);
	return rc == 0 ? 0
		       : choose(r, &r->allocator.addresses, has_address, allocator_address, &lower,
				&none, self, buf, len);
}

static void format_port(const struct registry *r, uint32_t value, char *buf, size_t len)
{
	snprintf(buf, len, "%u", (unsigned)r->allocator.port_min + value);
}

static int choose_port(struct registry *r, const struct strv *avoid, const char *self, int *ret)
{
	uint32_t n = (uint32_t)(r->allocator.port_max - r->allocator.port_min + 1);
	uint32_t low = n > 16 ? clamp(n / 32, 16, 128) : 0;
	struct band upper = {low, n - low}, lower = {0, low};
	char text[16];
	int rc = choose(r, &r->allocator.ports, has_port, format_port, &upper, avoid, self, text,
			sizeof(text));

	if (rc < 0)
		rc = choose(r, &r->allocator.ports, has_port, format_port, &lower, avoid, self,
			    text, sizeof(text));
	if (rc == 0)
		*ret = atoi(text);
	return rc;
}

/* ---- a service -------------------------------------------------------------------------- */

static bool is_type(const json_t *svc, const char *type)
{
	return streq(json_str(svc, "spec.type", "ClusterIP"), type);
}

static bool wants_ports(const json_t *svc)
{
	return is_type(svc, "NodePort") ||
	       (is_type(svc, "LoadBalancer") &&
		json_bool(svc, "spec.allocateLoadBalancerNodePorts", true));
}

static int fail_address(const json_t *svc, const char *address, const char *why, struct err *err)
{
	return fail_invalid(err, &kind_service, meta_name(svc), "spec.clusterIPs",
			    "Invalid value: [\"%s\"]: failed to allocate IP %s: %s", address,
			    address, why);
}

static int check_address(struct registry *r, const json_t *svc, const char *self,
			 const char *address, struct err *err)
{
	const struct allocator *a = &r->allocator;
	auto_free char *range = NULL;
	struct in_addr ip;
	uint32_t offset;

	if (inet_pton(AF_INET, address, &ip) == 1) {
		offset = ntohl(ip.s_addr) - a->base;
		if (offset > 0 && offset < a->size - 1)
			return is_taken(r, &r->allocator.addresses, has_address, address, self)
				       ? fail_address(svc, address,
						      "provided IP is already allocated", err)
				       : 0;
	}
	range = xasprintf("the provided IP (%s) is not in the valid range. The range of valid IPs "
			  "is %s",
			  address, r->service_cidr);
	return fail_address(svc, address, range, err);
}

static int allocate_address(struct registry *r, json_t *svc, const char *self, struct err *err)
{
	const char *given = json_str(svc, "spec.clusterIP", "");
	char buf[INET_ADDRSTRLEN];

	if (streq(given, "None"))
		return 0;
	if (*given)
		return check_address(r, svc, self, given, err);
	if (choose_address(r, self, buf, sizeof(buf)) < 0)
		return fail_invalid(err, &kind_service, meta_name(svc), "spec.clusterIPs",
				    "Invalid value: []: failed to allocate a serviceIP: range is "
				    "full");
	json_put_str(svc, "spec.clusterIP", buf);
	json_put(svc, "spec.clusterIPs", json_pack("[s]", buf));
	return 0;
}

/* Why this service may not have the port: text is for that; NULL: it may. */
static const char *port_trouble(struct registry *r, const char *self, int port, char *text,
				size_t size)
{
	const struct allocator *a = &r->allocator;

	if (port < a->port_min || port > a->port_max) {
		snprintf(text, size,
			 "provided port is not in the valid range. The range of valid ports is "
			 "%d-%d",
			 a->port_min, a->port_max);
		return text;
	}
	snprintf(text, size, "%d", port);
	return is_taken(r, &r->allocator.ports, has_port, text, self)
		       ? "provided port is already allocated"
		       : NULL;
}

static int fail_port(const json_t *svc, size_t i, int port, const char *why, struct err *err)
{
	char field[48];

	snprintf(field, sizeof(field), "spec.ports[%zu].nodePort", i);
	return fail_invalid(err, &kind_service, meta_name(svc), field, "Invalid value: %d: %s",
			    port, why);
}

static int check_port(struct registry *r, const json_t *svc, const char *self, size_t i, int port,
		      struct err *err)
{
	char text[128];
	const char *why = port_trouble(r, self, port, text, sizeof(text));

	return why ? fail_port(svc, i, port, why, err) : 0;
}

/* The node port that another protocol of the same port has: both share it. */
static int shared_port(const json_t *ports, const json_t *port)
{
	json_t *p;
	size_t i;

	json_array_foreach(ports, i, p)
	{
		if (json_int(p, "port", 0) == json_int(port, "port", 0) &&
		    !streq(json_str(p, "protocol", "TCP"), json_str(port, "protocol", "TCP")) &&
		    json_int(p, "nodePort", 0))
			return (int)json_int(p, "nodePort", 0);
	}
	return 0;
}

static bool needs_health_port(const json_t *svc)
{
	return is_type(svc, "LoadBalancer") &&
	       streq(json_str(svc, "spec.externalTrafficPolicy", ""), "Local");
}

static int fail_health_port(int port, const char *why, struct err *err)
{
	auto_free char *text = xasprintf("failed to allocate%s HealthCheck NodePort %d: %s",
					 port ? " requested" : " a", port, why);
	int rc = err_set(err, ERR_INTERNAL, "Internal error occurred: %s", text);

	err_cause_add(err, NULL, NULL, "%s", text);
	return rc;
}

/* used: the node ports. */
static int allocate_health_port(struct registry *r, json_t *svc, const char *self,
				const struct strv *used, struct err *err)
{
	int port = health_port(svc);
	char text[128], number[16];
	const char *why;

	if (!needs_health_port(svc))
		return 0;
	if (!port) {
		if (choose_port(r, used, self, &port) < 0)
			return fail_health_port(0, "range is full", err);
		json_put_int(svc, "spec.healthCheckNodePort", port);
		return 0;
	}
	why = port_trouble(r, self, port, text, sizeof(text));
	snprintf(number, sizeof(number), "%d", port);
	if (!why && strv_has(used, number))
		why = "provided port is already allocated";
	return why ? fail_health_port(port, why, err) : 0;
}

static int allocate_ports(struct registry *r, json_t *svc, const char *self, struct err *err)
{
	json_t *ports = json_at(svc, "spec.ports"), *p;
	auto_strv used = {0}, avoid = {0};
	size_t i;
	int rc;

	json_array_foreach(ports, i, p)
	{
		int port = (int)json_int(p, "nodePort", 0);

		rc = port ? check_port(r, svc, self, i, port, err) : 0;
		if (rc < 0)
			return rc;
		strv_addf(&used, "%d", port);
		strv_addf(&avoid, "%d", port);
	}
	strv_addf(&avoid, "%d", health_port(svc));
	json_array_foreach(ports, i, p)
	{
		int port = shared_port(ports, p);

		if (json_int(p, "nodePort", 0) || !wants_ports(svc))
			continue;
		if (!port && choose_port(r, &avoid, self, &port) < 0)
			return fail_port(svc, i, 0, "failed to allocate a nodePort: range is full",
					 err);
		json_put_int(p, "nodePort", port);
		strv_addf(&used, "%d", port);
		strv_addf(&avoid, "%d", port);
	}
	return allocate_health_port(r, svc, self, &used, err);
}

/* The port of the old version with the same number and protocol. */
static const json_t *old_port(const json_t *old, const json_t *port)
{
	json_t *p;
	size_t i;

	json_array_foreach(json_at(old, "spec.ports"), i, p)
	{
		if (json_int(p, "port", 0) == json_int(port, "port", 0) &&
		    streq(json_str(p, "protocol", "TCP"), json_str(port, "protocol", "TCP")))
			return p;
	}
	return NULL;
}

static void drop_addresses(json_t *svc)
{
	static const char *const fields[] = {"clusterIP", "clusterIPs", "ipFamilies",
					     "ipFamilyPolicy", "internalTrafficPolicy"};

	for (size_t i = 0; i < ARRAY_SIZE(fields); i++)
		json_object_del(json_object_get(svc, "spec"), fields[i]);
}

static void keep_address(json_t *obj, const json_t *old)
{
	const char *given = json_str(obj, "spec.clusterIP", "");
	json_t *was = json_at(old, "spec.clusterIP");

	if (!was)
		return;
	if (is_type(obj, "ExternalName")) {
		if (streq(given, json_str(old, "spec.clusterIP", "")))
			drop_addresses(obj);
	} else if (!*given && !json_len(obj, "spec.clusterIPs")) {
		json_put(obj, "spec.clusterIP", json_deep_copy(was));
		json_put(obj, "spec.clusterIPs", json_deep_copy(json_at(old, "spec.clusterIPs")));
	}
}

static void keep_port(const json_t *svc, json_t *port, const json_t *was)
{
	char text[16];

	snprintf(text, sizeof(text), "%d", (int)json_int(was, "nodePort", 0));
	if (!streq(text, "0") && !json_int(port, "nodePort", 0) && !has_port(svc, text))
		json_put_int(port, "nodePort", json_int(was, "nodePort", 0));
}

/* Fields of the former type that were not touched go with it. */
static void drop_unchanged(json_t *obj, const json_t *old, const char *field)
{
	json_t *spec = json_object_get(obj, "spec");
	const json_t *was = json_object_get(json_object_get(old, "spec"), field);

	if (was && json_equal(json_object_get(spec, field), was))
		json_object_del(spec, field);
}

/*
 * As upstream's patchAllocatedValues() and dropTypeDependentFields(): a PUT that does not name them
 * keeps what was allocated, and a new type that has none gives them back.
 */
void service_keep(json_t *obj, const json_t *old)
{
	bool has = is_type(obj, "NodePort") || is_type(obj, "LoadBalancer");
	json_t *p;
	size_t i;

	keep_address(obj, old);
	if (!has)
		drop_unchanged(obj, old, "externalTrafficPolicy");
	if (!is_type(obj, "LoadBalancer")) {
		drop_unchanged(obj, old, "allocateLoadBalancerNodePorts");
		drop_unchanged(obj, old, "loadBalancerClass");
	}
	if (needs_health_port(old) && !needs_health_port(obj))
		drop_unchanged(obj, old, "healthCheckNodePort");
	else if (needs_health_port(old) && !health_port(obj) && health_port(old))
		json_put_int(obj, "spec.healthCheckNodePort", health_port(old));
	json_array_foreach(json_at(obj, "spec.ports"), i, p)
	{
		const json_t *was = old_port(old, p);

		if (has && wants_ports(old))
			keep_port(obj, p, was);
		else if (!has && was && json_int(was, "nodePort", 0) == json_int(p, "nodePort", 0))
			json_object_del(p, "nodePort");
	}
}

int service_allocate(struct registry *r, json_t *obj, struct err *err)
{
	auto_free char *self = self_of(obj);
	int rc = is_type(obj, "ExternalName") ? 0 : allocate_address(r, obj, self, err);

	if (rc < 0 || !(is_type(obj, "NodePort") || is_type(obj, "LoadBalancer")))
		return rc;
	return allocate_ports(r, obj, self, err);
}
