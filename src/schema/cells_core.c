/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rows of Nodes, Namespaces, ConfigMaps, Secrets, ServiceAccounts and Events.
 */
#include "internal.h"
#include <ctype.h>

static void name_cell(const json_t *obj, json_t *cells)
{
	cell_str(cells, meta_name(obj), "");
}

static void created_cell(const json_t *obj, time_t now, json_t *cells)
{
	cell_age(cells, json_str(obj, "metadata.creationTimestamp", NULL), now);
}

/* ---- nodes ---------------------------------------------------------------------------------- */

static int strp_cmp(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static void node_roles_cell(const json_t *node, json_t *cells)
{
	static const char prefix[] = "node-role.kubernetes.io/";
	json_t *labels = json_at(node, "metadata.labels"), *v;
	auto_strv roles = {0};
	auto_strbuf b = {0};
	const char *key;

	json_object_foreach(labels, key, v)
	{
		const char *role = "";

		if (str_starts(key, prefix))
			role = key + strlen(prefix);
		else if (streq(key, "kubernetes.io/role") && json_is_string(v))
			role = json_string_value(v);
		if (*role && !strv_has(&roles, role))
			strv_add(&roles, role);
	}
	if (roles.n > 1)
		qsort(roles.v, roles.n, sizeof(char *), strp_cmp);
	for (size_t i = 0; i < roles.n; i++)
		strbuf_addf(&b, "%s%s", i ? "," : "", roles.v[i]);
	cell_str(cells, b.s, "<none>");
}

static void node_address_cell(const json_t *node, const char *type, json_t *cells)
{
	const json_t *a = json_find(json_at(node, "status.addresses"), "type", type);

	cell_str(cells, json_str(a, "address", NULL), "<none>");
}

void node_cells(const json_t *obj, time_t now, json_t *cells)
{
	const json_t *ready = json_find(json_at(obj, "status.conditions"), "type", "Ready");
	const char *status = str_eq(json_str(ready, "status", NULL), "True") ? "Ready" : "NotReady";
	char text[48];

	snprintf(text, sizeof(text), "%s%s", ready ? status : "Unknown",
		 json_bool(obj, "spec.unschedulable", false) ? ",SchedulingDisabled" : "");
	name_cell(obj, cells);
	cell_str(cells, text, "");
	node_roles_cell(obj, cells);
	created_cell(obj, now, cells);
	cell_str(cells, json_str(obj, "status.nodeInfo.kubeletVersion", NULL), "");
	node_address_cell(obj, "InternalIP", cells);
	node_address_cell(obj, "ExternalIP", cells);
	cell_str(cells, json_str(obj, "status.nodeInfo.osImage", NULL), "<unknown>");
	cell_str(cells, json_str(obj, "status.nodeInfo.kernelVersion", NULL), "<unknown>");
	cell_str(cells, json_str(obj, "status.nodeInfo.containerRuntimeVersion", NULL),
		 "<unknown>");
}

/* ---- small kinds ---------------------------------------------------------------------------- */

void namespace_cells(const json_t *obj, time_t now, json_t *cells)
{
	name_cell(obj, cells);
	cell_str(cells, json_str(obj, "status.phase", NULL), "");
	created_cell(obj, now, cells);
}

void configmap_cells(const json_t *obj, time_t now, json_t *cells)
{
	name_cell(obj, cells);
	cell_int(cells, (int64_t)(json_object_size(json_at(obj, "data")) +
				  json_object_size(json_at(obj, "binaryData"))));
	created_cell(obj, now, cells);
}

void secret_cells(const json_t *obj, time_t now, json_t *cells)
{
	name_cell(obj, cells);
	cell_str(cells, json_str(obj, "type", NULL), "");
	cell_int(cells, (int64_t)json_object_size(json_at(obj, "data")));
	created_cell(obj, now, cells);
}

void serviceaccount_cells(const json_t *obj, time_t now, json_t *cells)
{
	name_cell(obj, cells);
	cell_int(cells, (int64_t)json_len(obj, "secrets"));
	created_cell(obj, now, cells);
}

/* ---- events --------------------------------------------------------------------------------- */

/* A string at the path that is not empty. */
static const char *text_at(const json_t *obj, const char *path)
{
	const char *s = json_str(obj, path, NULL);

	return str_empty(s) ? NULL : s;
}

/* "pod/web-1": the kind in lower case. */
static void event_object_cell(const json_t *e, json_t *cells)
{
	const char *name = text_at(e, "involvedObject.name");
	auto_free char *kind = xstrdup(json_str(e, "involvedObject.kind", ""));
	auto_strbuf b = {0};

	for (char *c = kind; *c; c++)
		*c = (char)tolower((unsigned char)*c);
	strbuf_addf(&b, "%s%s%s", kind, name ? "/" : "", name ? name : "");
	cell_str(cells, b.s, "");
}

static void event_source_cell(const json_t *e, json_t *cells)
{
	const char *component = text_at(e, "source.component"), *host = text_at(e, "source.host");
	auto_strbuf b = {0};

	if (!component)
		component = json_str(e, "reportingComponent", "");
	if (!host)
		host = text_at(e, "reportingInstance");
	strbuf_addf(&b, "%s%s%s", component, host ? ", " : "", host ? host : "");
	cell_str(cells, b.s, "");
}

static void event_message_cell(const json_t *e, json_t *cells)
{
	const char *s = json_str(e, "message", "");
	size_t len;

	s += strspn(s, " \t\r\n");
	len = strlen(s);
	while (len && isspace((unsigned char)s[len - 1]))
		len--;
	json_array_append_new(cells, json_stringn(s, len));
}

void event_cells(const json_t *obj, time_t now, json_t *cells)
{
	const char *first = text_at(obj, "firstTimestamp"), *last = text_at(obj, "lastTimestamp");
	int64_t count = json_int(obj, "count", 0);

	if (!first)
		first = text_at(obj, "eventTime");
	if (!last)
		last = first;
	if (json_is_object(json_at(obj, "series"))) {
		last = text_at(obj, "series.lastObservedTime");
		count = json_int(obj, "series.count", 0);
	} else if (!count) {
		count = 1;
	}
	cell_age(cells, last, now);
	cell_str(cells, text_at(obj, "type"), "");
	cell_str(cells, text_at(obj, "reason"), "");
	event_object_cell(obj, cells);
	cell_str(cells, text_at(obj, "involvedObject.fieldPath"), "");
	event_source_cell(obj, cells);
	event_message_cell(obj, cells);
	cell_age(cells, first, now);
	cell_int(cells, count);
	name_cell(obj, cells);
}

/* ---- metrics.k8s.io ------------------------------------------------------------------------- */

/* The server writes whole billionths of a CPU ("1500n") and whole KiB ("12Ki"): see api/usage.c. */
static void usage_cells(uint64_t nano, uint64_t kib, const json_t *obj, json_t *cells)
{
	char text[32];

	name_cell(obj, cells);
	snprintf(text, sizeof(text), "%llun", (unsigned long long)nano);
	cell_str(cells, text, "");
	snprintf(text, sizeof(text), "%lluKi", (unsigned long long)kib);
	cell_str(cells, text, "");
	cell_str(cells, json_str(obj, "window", NULL), "");
}

static uint64_t leading_number(const json_t *v, const char *path)
{
	return strtoull(json_str(v, path, "0"), NULL, 10);
}

void nodemetrics_cells(const json_t *obj, time_t now UNUSED, json_t *cells)
{
	usage_cells(leading_number(obj, "usage.cpu"), leading_number(obj, "usage.memory"), obj,
		    cells);
}

void podmetrics_cells(const json_t *obj, time_t now UNUSED, json_t *cells)
{
	uint64_t nano = 0, kib = 0;
	const json_t *c;
	size_t i;

	json_array_foreach(json_object_get(obj, "containers"), i, c)
	{
		nano += leading_number(c, "usage.cpu");
		kib += leading_number(c, "usage.memory");
	}
	usage_cells(nano, kib, obj, cells);
}
