/* SPDX-License-Identifier: Apache-2.0 */
/*
 * services: kube-proxy and the DNS table in one: Services, EndpointSlices and hostPorts of pods to
 * proxy frontends and DNS records. What becomes of one Service is kept and made anew only when it
 * or one of its slices has changed; the proxy and the responder get the whole set and find out what
 * really differs.
 */
#include "internal.h"
#include "health_port.h"

#include <arpa/inet.h>

#define SETTLE_US (10 * USEC_PER_MSEC) /* many changes at once make one update */
#define MAX_HOST_ADDRESSES 16
#define DNS_PORT 53

struct services {
	struct node *node;
	struct store_watch *services, *slices;
	struct timer *timer;
	struct map entries; /* "ns/service" -> struct entry */
	struct map owners;  /* "ns/slice" -> "ns/service" */
	struct in_addr hosts[MAX_HOST_ADDRESSES];
	size_t n_hosts;
	struct map trouble; /* "ns/name:port address" -> itself: told about */
};

/* What a Service is made of and what became of it. */
struct entry {
	struct strv slices; /* names */
	bool dirty, there;
	struct proxy_frontend *frontends;
	size_t n_frontends;
	struct dns_service dns;
	struct strv keep; /* owns every block that the two above point to */
	struct health_port *health;
};

/* A set of frontends under construction. */
struct build {
	struct services *services;
	struct node *node;
	struct entry *entry; /* NULL: not of a Service */
	struct proxy_frontend *frontends;
	size_t n_frontends;
	struct strv keep; /* of what is in frontends */
};

static void *build_keep(struct build *b, void *block)
{
	strv_take(&b->keep, block);
	return block;
}

/* ---- endpoints ---------------------------------------------------------------------------- */

/* Slice i of a Service; NULL when it is none of IPv4 addresses. */
static const json_t *slice_at(const struct build *b, const json_t *service, size_t i)
{
	const struct object *o = store_get(b->node->store, &kind_endpointslice, meta_ns(service),
					   b->entry->slices.v[i]);
	const json_t *slice = o ? object_json(o) : NULL;

	return streq(json_str(slice, "addressType", "IPv4"), "IPv4") ? slice : NULL;
}

/* A nil `ready` means ready; publishNotReadyAddresses has been seen to by the controller. */
static bool endpoint_ready(const json_t *endpoint)
{
	return json_bool(endpoint, "conditions.ready", true);
}

static int slice_port(const json_t *slice, const json_t *port)
{
	const char *name = json_str(port, "name", "");
	const char *protocol = json_str(port, "protocol", "TCP");
	size_t i;
	json_t *p;

	json_array_foreach(json_object_get(slice, "ports"), i,
			   p) if (streq(json_str(p, "name", ""), name) &&
				  streq(json_str(p, "protocol", "TCP"),
					protocol)) return (int)json_int(p, "port", 0);
	return 0;
}

struct backends {
	struct proxy_backend *v;
	size_t n;
};

static void add_backends(struct backends *to, const json_t *slice, int port)
{
	size_t i, j;
	json_t *endpoint, *address;

	json_array_foreach(json_object_get(slice, "endpoints"), i, endpoint)
	{
		if (!endpoint_ready(endpoint))
			continue;
		json_array_foreach(json_object_get(endpoint, "addresses"), j, address)
		{
			struct sockaddr_in a = {.sin_family = AF_INET};
			a.sin_port = htons((uint16_t)port);
			if (inet_pton(AF_INET, json_string_value(address), &a.sin_addr) != 1)
				continue;
			to->v = xrealloc(to->v, to->n + 1, sizeof(*to->v));
			to->v[to->n++].addr = a;
		}
	}
}

static bool is_api_service(const json_t *service)
{
	return streq(meta_ns(service), "default") && streq(meta_name(service), "kubernetes");
}

/* Behind default/kubernetes is the API's own listener, which may be on loopback: no address that an
 * Endpoints object may have. */
static struct backends api_backends(struct build *b)
{
	struct backends one = {.n = 1};

	if (!b->node->api_addr.sin_port)
		return (struct backends){0};
	one.v = build_keep(b, xnew(struct proxy_backend));
	one.v->addr = b->node->api_addr;
	return one;
}

static struct backends backends_of(struct build *b, const json_t *service, const json_t *port)
{
	struct backends all = {0};

	if (is_api_service(service))
		return api_backends(b);
	for (size_t i = 0; i < b->entry->slices.n; i++) {
		const json_t *slice = slice_at(b, service, i);
		int n = slice ? slice_port(slice, port) : 0;
		if (n > 0)
			add_backends(&all, slice, n);
	}
	if (all.v)
		build_keep(b, all.v);
	return all;
}

/* ---- frontends ---------------------------------------------------------------------------- */

static void add_frontend(struct build *b, const struct proxy_frontend *like, struct in_addr ip,
			 int64_t port)
{
	if (port < 1 || port > 65535)
		return;
	if (ip.s_addr == b->node->dns_ip.s_addr && port == DNS_PORT)
		return; /* the responder of the loop listens there itself */
	b->frontends = xrealloc(b->frontends, b->n_frontends + 1, sizeof(*b->frontends));
	b->frontends[b->n_frontends] = *like;
	b->frontends[b->n_frontends++].listen = (struct sockaddr_in){
		.sin_family = AF_INET, .sin_addr = ip, .sin_port = htons((uint16_t)port)};
}

static void add_at_list(struct build *b, const struct proxy_frontend *like, const json_t *ips,
			int64_t port)
{
	size_t i;
	json_t *v;

	json_array_foreach(ips, i, v)
	{
		struct in_addr ip;
		if (json_is_string(v) && inet_pton(AF_INET, json_string_value(v), &ip) == 1)
			add_frontend(b, like, ip, port);
	}
}

static int protocol_of(const json_t *port)
{
	const char *name = json_str(port, "protocol", "TCP");

	if (streq(name, "UDP"))
		return IPPROTO_UDP;
	return streq(name, "TCP") ? IPPROTO_TCP : -1;
}

static uint32_t affinity_of(const json_t *service)
{
	if (!streq(json_str(service, "spec.sessionAffinity", "None"), "ClientIP"))
		return 0;
	return (uint32_t)json_int(service, "spec.sessionAffinityConfig.clientIP.timeoutSeconds",
				  10800);
}

/* Every address where one port of a Service listens. */
static void add_port(struct build *b, const json_t *service, const json_t *port)
{
	const char *type = json_str(service, "spec.type", "ClusterIP");
	const char *name = json_str(port, "name", "");
	int64_t number = json_int(port, "port", 0);
	int protocol = protocol_of(port);
	struct in_addr any = {htonl(INADDR_ANY)};

	if (protocol < 0)
		return;
	struct backends to = backends_of(b, service, port);
	struct proxy_frontend f = {
		.name = build_keep(b, xasprintf("%s/%s%s%s", meta_ns(service), meta_name(service),
						*name ? ":" : "", name)),
		.protocol = (uint8_t)protocol,
		.affinity_seconds = affinity_of(service),
		.backends = to.v,
		.n_backends = to.n,
	};
	add_at_list(b, &f, json_at(service, "spec.clusterIPs"), number);
	add_at_list(b, &f, json_at(service, "spec.externalIPs"), number);
	if (streq(type, "NodePort") || streq(type, "LoadBalancer"))
		add_frontend(b, &f, any, json_int(port, "nodePort", 0));
	if (!streq(type, "LoadBalancer"))
		return;
	for (size_t i = 0; i < b->services->n_hosts; i++)
		add_frontend(b, &f, b->services->hosts[i], number);
}

static void add_host_port(struct build *b, const struct pod *p, const json_t *port)
{
	const char *host = json_str(port, "hostIP", "");
	int64_t to = json_int(port, "containerPort", 0);
	struct in_addr ip = {htonl(INADDR_ANY)};
	int protocol = protocol_of(port);
	struct proxy_backend *backend;

	if (!json_int(port, "hostPort", 0) || protocol < 0)
		return;
	if (*host && inet_pton(AF_INET, host, &ip) != 1)
		return;
	backend = build_keep(b, xnew(struct proxy_backend));
	backend->addr = (struct sockaddr_in){
		.sin_family = AF_INET, .sin_addr = p->ip, .sin_port = htons((uint16_t)to)};
	struct proxy_frontend f = {
		.name = build_keep(b, xasprintf("%s/%s:hostPort", p->ns, p->name)),
		.protocol = (uint8_t)protocol,
		.backends = backend,
		.n_backends = 1,
	};
	add_frontend(b, &f, ip, json_int(port, "hostPort", 0));
}

static void add_host_ports(struct build *b)
{
	list_foreach (&b->node->pods, p, struct pod, link) {
		size_t i, j;
		json_t *c, *port;
		if (!p->sandbox_ready || p->ip.s_addr == INADDR_ANY ||
		    !strstr(p->obj->text, "hostPort"))
			continue;
		json_array_foreach(json_at(pod_json(p), "spec.containers"), i, c)
			json_array_foreach(json_object_get(c, "ports"), j, port)
				add_host_port(b, p, port);
	}
}

/* The Endpoints of default/kubernetes name the bridge's address when the API is on loopback. */
static void add_api_endpoint(struct build *b)
{
	const struct node *n = b->node;
	struct proxy_frontend f = {.name = "default/kubernetes:endpoint", .protocol = IPPROTO_TCP};
	struct backends to = api_backends(b);

	if (!to.n || ntohl(n->api_addr.sin_addr.s_addr) >> 24 != IN_LOOPBACKNET)
		return;
	f.backends = to.v;
	f.n_backends = to.n;
	add_frontend(b, &f, network_gateway(n->parts.network), ntohs(n->api_addr.sin_port));
}

/* ---- DNS ---------------------------------------------------------------------------------- */

static const char *lower(struct build *b, const char *text)
{
	char *s = build_keep(b, xstrdup(text));

	for (char *p = s; *p; p++)
		if (*p >= 'A' && *p <= 'Z')
			*p = (char)(*p - 'A' + 'a');
	return s;
}

static void dns_ports(struct build *b, struct dns_service *d, const json_t *service)
{
	const json_t *ports = json_at(service, "spec.ports");
	struct dns_port *all = build_keep(b, xcalloc(json_array_size(ports) + 1, sizeof(*all)));
	size_t i;
	json_t *p;

	json_array_foreach(ports, i, p)
	{
		all[i].name = build_keep(b, xstrdup(json_str(p, "name", "")));
		all[i].protocol = lower(b, json_str(p, "protocol", "TCP"));
		all[i].port = (uint16_t)json_int(p, "port", 0);
	}
	d->ports = all;
	d->n_ports = json_array_size(ports);
}

static void dns_slice(struct build *b, struct dns_endpoint **all, size_t *n, const json_t *slice)
{
	size_t i, j;
	json_t *endpoint, *address;

	json_array_foreach(json_object_get(slice, "endpoints"), i, endpoint)
	{
		const char *host = json_str(endpoint, "hostname", NULL);
		if (!endpoint_ready(endpoint))
			continue;
		json_array_foreach(json_object_get(endpoint, "addresses"), j, address)
		{
			struct in_addr ip;
			if (inet_pton(AF_INET, json_string_value(address), &ip) != 1)
				continue;
			*all = xrealloc(*all, *n + 1, sizeof(**all));
			(*all)[*n].addr = ip;
			(*all)[(*n)++].hostname = host ? build_keep(b, xstrdup(host)) : NULL;
		}
	}
}

static void dns_endpoints(struct build *b, struct dns_service *d, const json_t *service)
{
	struct dns_endpoint *all = NULL;

	for (size_t i = 0; i < b->entry->slices.n; i++) {
		const json_t *slice = slice_at(b, service, i);
		if (slice)
			dns_slice(b, &all, &d->n_endpoints, slice);
	}
	if (all)
		d->endpoints = build_keep(b, all);
}

static void add_dns(struct build *b, const json_t *service)
{
	const char *ip = json_str(service, "spec.clusterIP", "");
	struct dns_service d = {
		.ns = build_keep(b, xstrdup(meta_ns(service))),
		.name = build_keep(b, xstrdup(meta_name(service))),
	};

	if (streq(json_str(service, "spec.type", ""), "ExternalName"))
		d.external_name =
			build_keep(b, xstrdup(json_str(service, "spec.externalName", "")));
	else if (inet_pton(AF_INET, ip, &d.cluster_ip) != 1)
		dns_endpoints(b, &d, service);
	dns_ports(b, &d, service);
	b->entry->dns = d;
}

/* ---- health check port -------------------------------------------------------------------- */

static void add_local(json_t *found, const json_t *slice, const char *node)
{
	size_t i, j;
	json_t *endpoint, *address;

	json_array_foreach(json_object_get(slice, "endpoints"), i, endpoint)
	{
		if (!endpoint_ready(endpoint) || !streq(json_str(endpoint, "nodeName", ""), node))
			continue;
		json_array_foreach(json_object_get(endpoint, "addresses"), j, address)
		{
			if (json_is_string(address))
				json_object_set_new(found, json_string_value(address), json_true());
		}
	}
}

/* Balancers ask there whether a machine has pods of the Service. */
static void set_health_port(const struct build *b, const json_t *service, bool ours)
{
	json_auto_t *found = json_object();

	for (size_t i = 0; i < b->entry->slices.n; i++)
		add_local(found, slice_at(b, service, i), b->node->name);
	health_port_set(&b->entry->health, b->node->loop, meta_ns(service), meta_name(service),
			ours ? (uint16_t)json_int(service, "spec.healthCheckNodePort", 0) : 0,
			json_object_size(found));
}

/* ---- load balancer status ----------------------------------------------------------------- */

/* LoadBalancer services get the node's address as theirs, others keep none. */
static void set_ingress(const struct build *b, const struct object *o)
{
	const json_t *service = object_json(o);
	bool wanted = streq(json_str(service, "spec.type", ""), "LoadBalancer");
	const char *has = json_str(
		json_array_get(json_at(service, "status.loadBalancer.ingress"), 0), "ip", "");
	char ip[INET_ADDRSTRLEN] = "";
	auto_err err = {0};
	json_t *status;

	if (wanted)
		inet_ntop(AF_INET, &b->services->hosts[0], ip, sizeof(ip));
	if (streq(ip, has))
		return;
	status = json_at(service, "status") ? json_deep_copy(json_at(service, "status"))
					    : json_object();
	json_object_set_new(status, "loadBalancer", json_object());
	if (wanted)
		json_put(status, "loadBalancer.ingress",
			 json_pack("[{s:s, s:s}]", "ip", ip, "ipMode", "VIP"));
	if (registry_set_status(b->node->parts.registry, &kind_service, o->ns, o->name, o->uid,
				status, STORE_VOLATILE, &err) < 0)
		log_warn("service %s/%s: status: %s", o->ns, o->name, err_message(&err));
}

/* ---- one Service -------------------------------------------------------------------------- */

static struct entry *entry_of(struct services *s, const char *ns, const char *name)
{
	auto_free char *key = xasprintf("%s/%s", ns, name);
	struct entry *e = map_get(&s->entries, key);

	if (!e) {
		e = xnew(struct entry);
		map_put(&s->entries, key, e);
	}
	return e;
}

static void entry_clear(struct entry *e)
{
	free(e->frontends);
	e->frontends = NULL;
	e->n_frontends = 0;
	strv_done(&e->keep);
	e->there = false;
}

static void entry_free(struct entry *e)
{
	entry_clear(e);
	health_port_free(e->health);
	strv_done(&e->slices);
	free(e);
}

/* Services that say that another proxy serves them have their name, and nothing else from here. */
static bool is_ours(const json_t *service)
{
	return !meta_label(service, "service.kubernetes.io/service-proxy-name") &&
	       !meta_label(service, "service.kubernetes.io/headless") &&
	       !streq(json_str(service, "spec.type", ""), "ExternalName");
}

static void entry_make(struct services *s, struct entry *e, const struct object *o)
{
	const json_t *service = object_json(o);
	struct build b = {.services = s, .node = s->node, .entry = e};
	bool ours = is_ours(service);
	size_t i;
	json_t *port;

	e->there = true;
	add_dns(&b, service);
	if (ours)
		json_array_foreach(json_at(service, "spec.ports"), i, port)
			add_port(&b, service, port);
	set_ingress(&b, o);
	set_health_port(&b, service, ours);
	e->frontends = b.frontends;
	e->n_frontends = b.n_frontends;
	e->keep = b.keep;
}

/* Brings one entry up to date; false: it is about nothing any more. */
static bool entry_refresh(struct services *s, struct entry *e, const char *key)
{
	const char *slash = strchr(key, '/');
	auto_free char *ns = xstrndup(key, (size_t)(slash - key));
	const struct object *o = store_get(s->node->store, &kind_service, ns, slash + 1);

	e->dirty = false;
	entry_clear(e);
	if (o) {
		entry_make(s, e, o);
	} else {
		health_port_free(e->health);
		e->health = NULL;
	}
	return o || e->slices.n;
}

static void refresh_all(struct services *s)
{
	const char *key;
	void *value;
	size_t i = 0;

	while (map_next(&s->entries, &i, &key, &value)) {
		struct entry *e = value;

		if (e->dirty && !entry_refresh(s, e, key)) {
			map_del(&s->entries, key);
			entry_free(e);
		}
	}
}

static void all_dirty(struct services *s)
{
	void *value;
	size_t i = 0;

	while (map_next(&s->entries, &i, NULL, &value))
		((struct entry *)value)->dirty = true;
}

/* ---- the whole ---------------------------------------------------------------------------- */

static void read_hosts(struct services *s)
{
	struct network *net = s->node->parts.network;
	struct in_addr hosts[MAX_HOST_ADDRESSES];
	size_t n = network_host_addresses(net, hosts, MAX_HOST_ADDRESSES);

	if (n == 0)
		hosts[n++] = network_gateway(net);
	if (n == s->n_hosts && !memcmp(hosts, s->hosts, n * sizeof(*hosts)))
		return;
	memcpy(s->hosts, hosts, n * sizeof(*hosts));
	s->n_hosts = n;
	all_dirty(s);
}

/* All entries' frontends and DNS records, as arrays. */
static struct dns_service *assemble(struct services *s, struct build *b, size_t *ret_n)
{
	struct dns_service *dns = xcalloc(s->entries.n + 1, sizeof(*dns));
	size_t i = 0, n = 0, n_dns = 0;
	void *value;

	while (map_next(&s->entries, &i, NULL, &value))
		n += ((struct entry *)value)->n_frontends;
	b->frontends = xcalloc(n + 1, sizeof(*b->frontends));
	for (i = 0; map_next(&s->entries, &i, NULL, &value);) {
		struct entry *e = value;

		if (!e->there)
			continue;
		if (e->n_frontends)
			memcpy(&b->frontends[b->n_frontends], e->frontends,
			       e->n_frontends * sizeof(*e->frontends));
		b->n_frontends += e->n_frontends;
		dns[n_dns++] = e->dns;
	}
	*ret_n = n_dns;
	return dns;
}

static void update(void *arg)
{
	struct services *s = arg;
	struct node *n = s->node;
	struct build b = {.services = s, .node = n};
	auto_free struct dns_service *dns = NULL;
	size_t n_dns;

	read_hosts(s);
	refresh_all(s);
	dns = assemble(s, &b, &n_dns);
	add_host_ports(&b);
	add_api_endpoint(&b);
	proxy_set(n->parts.proxy, b.frontends, b.n_frontends);
	dns_set(n->parts.dns, dns, n_dns);
	free(b.frontends);
	strv_done(&b.keep);
}

void services_dirty(struct services *s)
{
	if (!timer_armed(s->timer))
		timer_arm(s->timer, SETTLE_US);
}

/* ---- what changes --------------------------------------------------------------------------- */

static bool on_service(void *arg, const struct store_event *ev)
{
	struct services *s = arg;

	entry_of(s, ev->obj->ns, ev->obj->name)->dirty = true;
	services_dirty(s);
	return true;
}

static void slice_leaves(struct services *s, const char *slice)
{
	auto_free char *owner = map_del(&s->owners, slice);
	struct entry *e = owner ? map_get(&s->entries, owner) : NULL;
	const char *name = strchr(slice, '/') + 1;

	if (!e)
		return;
	e->dirty = true;
	for (size_t i = 0; i < e->slices.n; i++)
		if (streq(e->slices.v[i], name)) {
			free(e->slices.v[i]);
			e->slices.v[i] = e->slices.v[--e->slices.n];
			e->slices.v[e->slices.n] = NULL; /* strv's own end */
			return;
		}
}

/* A slice belongs to the Service that its label names, which may change. */
static void slice_seen(struct services *s, const struct object *o, bool gone)
{
	const char *service = meta_label(object_json(o), "kubernetes.io/service-name");
	auto_free char *slice = xasprintf("%s/%s", o->ns, o->name);
	auto_free char *now = service && !gone ? xasprintf("%s/%s", o->ns, service) : NULL;
	const char *before = map_get(&s->owners, slice);
	bool stays = before && now && streq(before, now);

	if (before && !stays)
		slice_leaves(s, slice);
	if (!now)
		return;
	struct entry *e = entry_of(s, o->ns, service);
	e->dirty = true;
	if (stays)
		return;
	strv_add(&e->slices, o->name);
	map_put(&s->owners, slice, steal_ptr(now));
}

static bool on_slice(void *arg, const struct store_event *ev)
{
	struct services *s = arg;

	slice_seen(s, ev->obj, ev->type == STORE_DELETED);
	services_dirty(s);
	return true;
}

static void forget(struct services *s)
{
	size_t i = 0;
	void *value;

	while (map_next(&s->entries, &i, NULL, &value))
		entry_free(value);
	for (i = 0; map_next(&s->owners, &i, NULL, &value);)
		free(value);
	map_done(&s->entries);
	map_done(&s->owners);
}

static void read_all(struct services *s)
{
	struct store_iter services = store_iter(s->node->store, &kind_service, NULL);
	struct store_iter slices = store_iter(s->node->store, &kind_endpointslice, NULL);
	const struct object *o;

	forget(s);
	while ((o = store_next(&services)))
		entry_of(s, o->ns, o->name)->dirty = true;
	while ((o = store_next(&slices)))
		slice_seen(s, o, false);
}

static int watch(struct services *s, struct err *err);

/* Fell behind the history: all is read anew. */
static void on_lost(void *arg)
{
	auto_err err = {0};

	if (watch(arg, &err) < 0)
		log_error("services: %s", err_message(&err));
}

static int watch(struct services *s, struct err *err)
{
	struct store *store = s->node->store;
	uint64_t rev = store_rev(store);

	store_watch_free(s->services);
	store_watch_free(s->slices);
	read_all(s);
	s->services = store_watch_new(store, &kind_service, rev, on_service, on_lost, s, err);
	s->slices = store_watch_new(store, &kind_endpointslice, rev, on_slice, on_lost, s, err);
	services_dirty(s);
	return s->services && s->slices ? 0 : -EINVAL;
}

struct services *services_start(struct node *n, struct err *err)
{
	struct services *s = xnew(struct services);

	s->node = n;
	s->timer = timer_new(n->loop, update, s);
	if (watch(s, err) == 0)
		return s;
	services_stop(s);
	return NULL;
}

static void free_trouble(struct services *s)
{
	size_t i = 0;
	const char *key;
	void *value;

	while (map_next(&s->trouble, &i, &key, &value))
		free(value);
	map_done(&s->trouble);
}

void services_stop(struct services *s)
{
	if (!s)
		return;
	store_watch_free(s->services);
	store_watch_free(s->slices);
	timer_free(s->timer);
	forget(s);
	free_trouble(s);
	loop_free_later(s->node->loop, free, s);
}

/* ---- ports that are taken ------------------------------------------------------------------ */

/* "ns/name:port" to the Service, or to the pod of a hostPort. */
static const struct object *named_object(struct node *n, const char *name)
{
	const char *slash = strchr(name, '/'), *colon = slash ? strchr(slash, ':') : NULL;

	if (!slash)
		return NULL;
	auto_free char *ns = xstrndup(name, (size_t)(slash - name));
	auto_free char *obj =
		colon ? xstrndup(slash + 1, (size_t)(colon - slash - 1)) : xstrdup(slash + 1);
	bool pod = colon && streq(colon, ":hostPort");
	return store_get(n->store, pod ? &kind_pod : &kind_service, ns, obj);
}

void node_on_proxy_trouble(void *node, const char *name, const struct sockaddr_in *listen,
			   uint8_t protocol, const char *why)
{
	struct node *n = node;
	const struct object *o;
	char ip[INET_ADDRSTRLEN];

	if (!n || !n->services)
		return;
	inet_ntop(AF_INET, &listen->sin_addr, ip, sizeof(ip));
	auto_free char *key = xasprintf("%s %s:%u/%s", name, ip, ntohs(listen->sin_port),
					protocol == IPPROTO_UDP ? "UDP" : "TCP");
	o = named_object(n, name);
	if (!why) {
		free(map_del(&n->services->trouble, key));
		return;
	}
	if (map_get(&n->services->trouble, key))
		return;
	map_put(&n->services->trouble, key, xstrdup(key));
	if (o)
		registry_event(n->parts.registry, o, NULL, "Warning", "FailedToListen", "coracled",
			       "%s", why);
}
