/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rows of Services, Endpoints and EndpointSlices.
 */
#include "internal.h"

#define SHOWN 3 /* endpoints and ports that are written out */

/* A comma-separated list that is cut after SHOWN entries. */
struct shortlist {
	struct strbuf text;
	size_t n;
};

static void shortlist_add(struct shortlist *l, const char *fmt, ...) PRINTF_LIKE(2, 3);
static void shortlist_add(struct shortlist *l, const char *fmt, ...)
{
	va_list ap;

	if (l->n++ >= SHOWN)
		return;
	if (l->text.len)
		strbuf_addc(&l->text, ',');
	va_start(ap, fmt);
	strbuf_vaddf(&l->text, fmt, ap);
	va_end(ap);
}

static void shortlist_cell(struct shortlist *l, json_t *cells, const char *empty)
{
	if (l->n > SHOWN)
		strbuf_addf(&l->text, " + %zu more...", l->n - SHOWN);
	cell_str(cells, l->text.s, empty);
	strbuf_done(&l->text);
}

/* ---- services ------------------------------------------------------------------------------- */

static void add_item(struct strbuf *b, const char *s)
{
	strbuf_addf(b, "%s%s", b->len ? "," : "", s);
}

static int strp_cmp(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static void add_ingress(struct strbuf *b, const json_t *svc)
{
	json_t *list = json_at(svc, "status.loadBalancer.ingress"), *e;
	auto_strv sorted = {0};
	size_t i;

	json_array_foreach(list, i, e)
	{
		const char *s = json_str(e, "ip", json_str(e, "hostname", ""));

		if (*s && !strv_has(&sorted, s))
			strv_add(&sorted, s);
	}
	if (sorted.n > 1)
		qsort(sorted.v, sorted.n, sizeof(char *), strp_cmp);
	for (i = 0; i < sorted.n; i++)
		add_item(b, sorted.v[i]);
}

static void external_ip_cell(const json_t *svc, json_t *cells)
{
	const char *type = json_str(svc, "spec.type", "ClusterIP");
	json_t *list = json_at(svc, "spec.externalIPs"), *e;
	bool balancer = streq(type, "LoadBalancer");
	auto_strbuf b = {0};
	size_t i;

	if (streq(type, "ExternalName")) {
		cell_str(cells, json_str(svc, "spec.externalName", ""), "");
		return;
	}
	if (balancer)
		add_ingress(&b, svc);
	json_array_foreach(list, i, e)
	{
		add_item(&b, json_is_string(e) ? json_string_value(e) : "");
	}
	cell_str(cells, b.s, balancer ? "<pending>" : "<none>");
}

static void service_ports_cell(const json_t *svc, json_t *cells)
{
	json_t *list = json_at(svc, "spec.ports"), *p;
	auto_strbuf b = {0};
	size_t i;

	json_array_foreach(list, i, p)
	{
		int64_t node_port = json_int(p, "nodePort", 0);

		strbuf_addf(&b, "%s%lld", i ? "," : "", (long long)json_int(p, "port", 0));
		if (node_port > 0)
			strbuf_addf(&b, ":%lld", (long long)node_port);
		strbuf_addf(&b, "/%s", json_str(p, "protocol", "TCP"));
	}
	cell_str(cells, b.s, "<none>");
}

void service_cells(const json_t *obj, time_t now, json_t *cells)
{
	auto_clean(label_selector) struct label_selector *s =
		label_selector_from_map(json_at(obj, "spec.selector"));
	auto_free char *selector = label_selector_format(s);

	cell_str(cells, meta_name(obj), "");
	cell_str(cells, json_str(obj, "spec.type", ""), "");
	cell_str(cells, json_str(obj, "spec.clusterIP", NULL), "<none>");
	external_ip_cell(obj, cells);
	service_ports_cell(obj, cells);
	cell_age(cells, json_str(obj, "metadata.creationTimestamp", NULL), now);
	cell_str(cells, selector, "<none>");
}

/* ---- endpoints ------------------------------------------------------------------------------ */

static void add_address(struct shortlist *l, const json_t *address, const json_t *port)
{
	const char *ip = json_str(address, "ip", "");
	long long number = (long long)json_int(port, "port", 0);

	if (!port)
		shortlist_add(l, "%s", ip);
	else
		shortlist_add(l, strchr(ip, ':') ? "[%s]:%lld" : "%s:%lld", ip, number);
}

static void add_subset(struct shortlist *l, const json_t *subset)
{
	json_t *addresses = json_at(subset, "addresses"), *ports = json_at(subset, "ports");
	json_t *a, *p;
	size_t i, j;

	/* A headless service may have no ports. */
	if (!json_array_size(ports)) {
		json_array_foreach(addresses, i, a)
		{
			add_address(l, a, NULL);
		}
		return;
	}
	json_array_foreach(ports, j, p)
	{
		json_array_foreach(addresses, i, a)
		{
			add_address(l, a, p);
		}
	}
}

void endpoints_cells(const json_t *obj, time_t now, json_t *cells)
{
	json_t *subsets = json_at(obj, "subsets"), *s;
	struct shortlist l = {0};
	size_t i;

	json_array_foreach(subsets, i, s)
	{
		add_subset(&l, s);
	}
	cell_str(cells, meta_name(obj), "");
	shortlist_cell(&l, cells, json_array_size(subsets) ? "" : "<none>");
	cell_age(cells, json_str(obj, "metadata.creationTimestamp", NULL), now);
}

void endpointslice_cells(const json_t *obj, time_t now, json_t *cells)
{
	json_t *ports = json_at(obj, "ports"), *endpoints = json_at(obj, "endpoints"), *e, *a;
	struct shortlist port_list = {0}, list = {0};
	size_t i, j;

	json_array_foreach(ports, i, e)
	{
		int64_t port = json_int(e, "port", -1);

		if (port < 0)
			shortlist_add(&port_list, "*");
		else
			shortlist_add(&port_list, "%lld", (long long)port);
	}
	json_array_foreach(endpoints, i, e)
	{
		json_t *addresses = json_at(e, "addresses");

		json_array_foreach(addresses, j, a)
		{
			shortlist_add(&list, "%s", json_is_string(a) ? json_string_value(a) : "");
		}
	}
	cell_str(cells, meta_name(obj), "");
	cell_str(cells, json_str(obj, "addressType", ""), "");
	shortlist_cell(&port_list, cells, "<unset>");
	shortlist_cell(&list, cells, "<unset>");
	cell_age(cells, json_str(obj, "metadata.creationTimestamp", NULL), now);
}
