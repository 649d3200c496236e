/* SPDX-License-Identifier: Apache-2.0 */
/* The responder's own copy of the services, by name and by address. */
#include "internal.h"
#include <arpa/inet.h>
#include <ctype.h>

static void entry_free(struct entry *e)
{
	for (size_t i = 0; i < e->n_ports; i++) {
		free((void *)(uintptr_t)e->ports[i].name);
		free((void *)(uintptr_t)e->ports[i].protocol);
	}
	for (size_t i = 0; i < e->n_endpoints; i++)
		free((void *)(uintptr_t)e->endpoints[i].hostname);
	free(e->ports);
	free(e->endpoints);
	free(e->ns);
	free(e->name);
	free(e->external_name);
	free(e);
}

void table_done(struct table *t)
{
	size_t i = 0;
	void *v;

	while (map_next(&t->services, &i, NULL, &v))
		entry_free(v);
	for (i = 0; map_next(&t->addresses, &i, NULL, &v);)
		free(v);
	map_done(&t->services);
	map_done(&t->namespaces);
	map_done(&t->addresses);
}

static char *lower(const char *s)
{
	char *copy = xstrdup(s);

	for (char *p = copy; *p; p++)
		*p = (char)tolower((unsigned char)*p);
	if (str_ends(copy, ".")) /* an external name may be written as absolute */
		copy[strlen(copy) - 1] = '\0';
	return copy;
}

static struct entry *entry_new(const struct dns_service *s)
{
	struct entry *e = xnew(struct entry);

	e->ns = xstrdup(s->ns);
	e->name = xstrdup(s->name);
	e->external_name = s->external_name ? lower(s->external_name) : NULL;
	e->cluster_ip = s->cluster_ip;
	e->n_ports = s->n_ports;
	e->ports = xcalloc(s->n_ports, sizeof(*e->ports));
	for (size_t i = 0; i < s->n_ports; i++)
		e->ports[i] = (struct dns_port){lower(s->ports[i].name),
						lower(s->ports[i].protocol), s->ports[i].port};
	e->n_endpoints = s->n_endpoints;
	e->endpoints = xcalloc(s->n_endpoints, sizeof(*e->endpoints));
	for (size_t i = 0; i < s->n_endpoints; i++) {
		const char *host = s->endpoints[i].hostname;

		e->endpoints[i] =
			(struct dns_endpoint){s->endpoints[i].addr, host ? lower(host) : NULL};
	}
	return e;
}

const char *endpoint_label(const struct dns_endpoint *e, char buf[static INET_ADDRSTRLEN])
{
	if (e->hostname)
		return e->hostname;
	inet_ntop(AF_INET, &e->addr, buf, INET_ADDRSTRLEN);
	for (char *p = buf; *p; p++)
		if (*p == '.')
			*p = '-';
	return buf;
}

static void add_address(struct table *t, struct in_addr a, char *name)
{
	char text[INET_ADDRSTRLEN];

	inet_ntop(AF_INET, &a, text, sizeof(text));
	free(map_put(&t->addresses, text, name));
}

static void add_service(struct table *t, const char *domain, const struct dns_service *s)
{
	struct entry *e = entry_new(s), *old;
	auto_free char *key = xasprintf("%s.%s", s->name, s->ns);

	old = map_put(&t->services, key, e);
	map_put(&t->namespaces, s->ns, e);
	if (old)
		entry_free(old);
	if (e->cluster_ip.s_addr != INADDR_ANY)
		add_address(t, e->cluster_ip, xasprintf("%s.svc.%s", key, domain));
	for (size_t i = 0; i < e->n_endpoints && entry_is_headless(e); i++) {
		char buf[INET_ADDRSTRLEN];

		add_address(t, e->endpoints[i].addr,
			    xasprintf("%s.%s.svc.%s", endpoint_label(&e->endpoints[i], buf), key,
				      domain));
	}
}

void table_set(struct table *t, const char *domain, const struct dns_service *services, size_t n)
{
	table_done(t);
	for (size_t i = 0; i < n; i++)
		add_service(t, domain, &services[i]);
}
