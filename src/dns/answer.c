/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the responder says of a name: Kubernetes DNS-based service discovery 1.1.0. Names are taken
 * apart from the right: domain, "svc" or "pod", namespace, service, and what stands before it.
 */
#include "internal.h"
#include <arpa/inet.h>

/* A name of ours, taken apart. */
struct parts {
	bool ours;	 /* below the domain: no answer means NXDOMAIN */
	bool apex;	 /* the domain itself, or svc.<domain>, pod.<domain> */
	bool pod;	 /* in pod.<domain> */
	char *labels[4]; /* up to four, left to right: [..., service, namespace] */
	int n;		 /* -1: too many */
};

/* Cuts ".suffix" (or the whole name) off; true when it was there. */
static bool cut(char *name, const char *suffix)
{
	size_t n = strlen(name), m = strlen(suffix);

	if (n < m || !streq(name + n - m, suffix) || (n > m && name[n - m - 1] != '.'))
		return false;
	name[n == m ? 0 : n - m - 1] = '\0';
	return true;
}

static void split_labels(struct parts *p, char *name)
{
	for (char *save = NULL, *l = strtok_r(name, ".", &save); l;
	     l = strtok_r(NULL, ".", &save)) {
		if (p->n == 4) {
			p->n = -1;
			return;
		}
		p->labels[p->n++] = l;
	}
}

/* name is a scratch copy that the parts point into. */
static void take_apart(const char *domain, char *name, struct parts *p)
{
	*p = (struct parts){0};
	if (cut(name, domain)) {
		p->ours = true;
		p->apex = !*name || streq(name, "svc") || streq(name, "pod");
		p->pod = !p->apex && cut(name, "pod");
		if (!p->apex && !p->pod && !cut(name, "svc"))
			p->n = -1; /* only svc and pod live below the domain */
	} else if (cut(name, "svc.local") || cut(name, "svc")) {
		p->ours = true;
		p->apex = !*name;
	}
	if (p->n == 0 && !p->apex)
		split_labels(p, name);
}

static bool wants(const struct dns_query *q, uint16_t type)
{
	return q->type == type || q->type == DNS_TYPE_ANY;
}

/* Exists, but has nothing of the type that was asked for. */
static enum verdict no_data(const struct dns *d, struct dns_writer *w, int *rcode)
{
	if (!w->counts[DNS_ANSWER])
		dns_write_soa(w, d->domain, d->config.ttl);
	*rcode = DNS_RCODE_OK;
	return VERDICT_DONE;
}

static enum verdict no_name(const struct dns *d, struct dns_writer *w, int *rcode)
{
	dns_write_soa(w, d->domain, d->config.ttl);
	*rcode = DNS_RCODE_NXDOMAIN;
	return VERDICT_DONE;
}

static enum verdict answer_headless(const struct dns *d, const struct dns_query *q, struct entry *e,
				    struct dns_writer *w, int *rcode)
{
	size_t first;

	if (!e->n_endpoints)
		return no_name(d, w, rcode);
	first = e->turn++ % e->n_endpoints;
	for (size_t i = 0; wants(q, DNS_TYPE_A) && i < e->n_endpoints; i++)
		dns_write_a(w, DNS_ANSWER, NULL, d->config.ttl,
			    e->endpoints[(first + i) % e->n_endpoints].addr);
	return no_data(d, w, rcode);
}

static enum verdict answer_service(const struct dns *d, const struct dns_query *q, struct entry *e,
				   struct dns_writer *w, int *rcode, const char **target)
{
	if (e->external_name) {
		dns_write_name(w, DNS_ANSWER, NULL, DNS_TYPE_CNAME, d->config.ttl,
			       e->external_name);
		*target = e->external_name;
		*rcode = DNS_RCODE_OK;
		return q->type == DNS_TYPE_CNAME ? VERDICT_DONE : VERDICT_CHASE;
	}
	if (entry_is_headless(e))
		return answer_headless(d, q, e, w, rcode);
	if (wants(q, DNS_TYPE_A))
		dns_write_a(w, DNS_ANSWER, NULL, d->config.ttl, e->cluster_ip);
	return no_data(d, w, rcode);
}

static char *service_name(const struct dns *d, const struct entry *e)
{
	return xasprintf("%s.%s.svc.%s", e->name, e->ns, d->domain);
}

static void srv_headless(const struct dns *d, const struct entry *e, const struct dns_port *port,
			 const char *base, struct dns_writer *w)
{
	for (size_t i = 0; i < e->n_endpoints; i++) {
		char buf[INET_ADDRSTRLEN];
		auto_free char *host =
			xasprintf("%s.%s", endpoint_label(&e->endpoints[i], buf), base);

		dns_write_srv(w, DNS_ANSWER, NULL, d->config.ttl, 100, port->port, host);
	}
	for (size_t i = 0; i < e->n_endpoints; i++) {
		char buf[INET_ADDRSTRLEN];
		auto_free char *host =
			xasprintf("%s.%s", endpoint_label(&e->endpoints[i], buf), base);

		dns_write_a(w, DNS_ADDITIONAL, host, d->config.ttl, e->endpoints[i].addr);
	}
}

/* _port._protocol.service.namespace */
static enum verdict answer_port(const struct dns *d, const struct dns_query *q, struct entry *e,
				char *const *labels, struct dns_writer *w, int *rcode)
{
	const struct dns_port *port = NULL;
	auto_free char *base = service_name(d, e);

	for (size_t i = 0; i < e->n_ports && labels[0][0] == '_' && labels[1][0] == '_'; i++)
		if (*e->ports[i].name && streq(e->ports[i].name, labels[0] + 1) &&
		    streq(e->ports[i].protocol, labels[1] + 1))
			port = &e->ports[i];
	if (!port || e->external_name || (entry_is_headless(e) && !e->n_endpoints))
		return no_name(d, w, rcode);
	if (!wants(q, DNS_TYPE_SRV))
		return no_data(d, w, rcode);
	if (entry_is_headless(e)) {
		srv_headless(d, e, port, base, w);
	} else {
		dns_write_srv(w, DNS_ANSWER, NULL, d->config.ttl, 100, port->port, base);
		dns_write_a(w, DNS_ADDITIONAL, base, d->config.ttl, e->cluster_ip);
	}
	return no_data(d, w, rcode);
}

/* hostname.service.namespace of a headless service */
static enum verdict answer_host(const struct dns *d, const struct dns_query *q,
				const struct entry *e, const char *host, struct dns_writer *w,
				int *rcode)
{
	bool found = false;

	for (size_t i = 0; entry_is_headless(e) && i < e->n_endpoints; i++) {
		char buf[INET_ADDRSTRLEN];

		if (!streq(endpoint_label(&e->endpoints[i], buf), host))
			continue;
		found = true;
		if (wants(q, DNS_TYPE_A))
			dns_write_a(w, DNS_ANSWER, NULL, d->config.ttl, e->endpoints[i].addr);
	}
	return found ? no_data(d, w, rcode) : no_name(d, w, rcode);
}

/* 10-1-2-3.namespace.pod.<domain> */
static enum verdict answer_pod(const struct dns *d, const struct dns_query *q,
			       const struct parts *p, struct dns_writer *w, int *rcode)
{
	char text[INET_ADDRSTRLEN];
	struct in_addr a;

	if (p->n == 1)
		return no_data(d, w, rcode);
	if (p->n != 2 || strlen(p->labels[0]) >= sizeof(text))
		return no_name(d, w, rcode);
	strcpy(text, p->labels[0]);
	for (char *c = text; *c; c++)
		if (*c == '-')
			*c = '.';
	if (inet_pton(AF_INET, text, &a) != 1)
		return no_name(d, w, rcode);
	if (wants(q, DNS_TYPE_A))
		dns_write_a(w, DNS_ANSWER, NULL, d->config.ttl, a);
	return no_data(d, w, rcode);
}

static struct entry *find_service(const struct dns *d, const struct parts *p)
{
	char key[DNS_NAME_MAX];

	if (p->n < 2)
		return NULL;
	snprintf(key, sizeof(key), "%s.%s", p->labels[p->n - 2], p->labels[p->n - 1]);
	return map_get(&d->table.services, key);
}

static enum verdict answer_parts(const struct dns *d, const struct dns_query *q,
				 const struct parts *p, struct dns_writer *w, int *rcode,
				 const char **target)
{
	struct entry *e = find_service(d, p);

	if (p->apex)
		return no_data(d, w, rcode);
	if (p->pod)
		return answer_pod(d, q, p, w, rcode);
	if (p->n == 1 && map_get(&d->table.namespaces, p->labels[0]))
		return no_data(d, w, rcode);
	if (!e)
		return no_name(d, w, rcode);
	switch (p->n) {
	case 2:
		return answer_service(d, q, e, w, rcode, target);
	case 3:
		if (p->labels[0][0] == '_') /* _tcp.svc.ns stands above its ports */
			return no_data(d, w, rcode);
		return answer_host(d, q, e, p->labels[0], w, rcode);
	default:
		return answer_port(d, q, e, p->labels, w, rcode);
	}
}

/* d.c.b.a.in-addr.arpa of an address of ours; false: somebody else's. */
static bool answer_reverse(const struct dns *d, const struct dns_query *q, const char *name,
			   struct dns_writer *w, int *rcode)
{
	unsigned a, b, c, e;
	char text[INET_ADDRSTRLEN], rest;
	const char *target;

	if (sscanf(name, "%3u.%3u.%3u.%3u%c", &a, &b, &c, &e, &rest) != 4 || a > 255 || b > 255 ||
	    c > 255 || e > 255)
		return false;
	snprintf(text, sizeof(text), "%u.%u.%u.%u", e, c, b, a);
	target = map_get(&d->table.addresses, text);
	if (!target)
		return false;
	if (wants(q, DNS_TYPE_PTR))
		dns_write_name(w, DNS_ANSWER, NULL, DNS_TYPE_PTR, d->config.ttl, target);
	no_data(d, w, rcode);
	return true;
}

static bool answer_version(const struct dns *d, const struct dns_query *q, struct dns_writer *w,
			   int *rcode)
{
	char name[DNS_NAME_MAX];

	snprintf(name, sizeof(name), "dns-version.%s", d->domain);
	if (!streq(q->name, name))
		return false;
	if (wants(q, DNS_TYPE_TXT))
		dns_write_txt(w, DNS_ANSWER, NULL, d->config.ttl, "1.1.0");
	no_data(d, w, rcode);
	return true;
}

enum verdict dns_answer(struct dns *d, const struct dns_query *q, struct dns_writer *w, int *rcode,
			const char **target)
{
	char name[DNS_NAME_MAX];
	struct parts p;

	if (q->class != DNS_CLASS_IN)
		return VERDICT_FORWARD;
	if (answer_version(d, q, w, rcode))
		return VERDICT_DONE;
	strcpy(name, q->name);
	if (cut(name, "in-addr.arpa"))
		return answer_reverse(d, q, name, w, rcode) ? VERDICT_DONE : VERDICT_FORWARD;
	take_apart(d->domain, name, &p);
	/* Without a suffix only a service that exists is ours: example.com is the world's, and
	 * www.web.dev too, even where there is a service web in the namespace dev. */
	if (!p.ours && (p.n != 2 || !find_service(d, &p)))
		return VERDICT_FORWARD;
	return answer_parts(d, q, &p, w, rcode, target);
}
