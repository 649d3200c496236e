/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rows of the kinds of networking, storage, coordination, node, admissionregistration, flowcontrol
 * and apiregistration.
 */
#include "internal.h"

#define HOSTS_SHOWN 3

static void name_cell(const json_t *obj, json_t *cells)
{
	cell_str(cells, meta_name(obj), "");
}

static void created_cell(const json_t *obj, time_t now, json_t *cells)
{
	cell_age(cells, json_str(obj, "metadata.creationTimestamp", NULL), now);
}

static void path_cell(const json_t *obj, const char *path, const char *fallback, json_t *cells)
{
	cell_str(cells, json_str(obj, path, NULL), fallback);
}

static void bool_cell(const json_t *obj, const char *path, bool fallback, json_t *cells)
{
	json_array_append_new(cells, json_boolean(json_bool(obj, path, fallback)));
}

/* A number, or text when there is none. */
static void number_cell(const json_t *obj, const char *path, const char *fallback, json_t *cells)
{
	json_t *v = json_at(obj, path);

	if (json_is_integer(v))
		cell_int(cells, json_integer_value(v));
	else
		cell_str(cells, NULL, fallback);
}

/* The strings of a list, or of one member of its objects, behind each other. */
static void joined_cell(const json_t *obj, const char *path, const char *member,
			const char *fallback, json_t *cells)
{
	auto_strbuf b = {0};
	size_t i;
	json_t *v;

	json_array_foreach(json_at(obj, path), i, v)
	{
		const char *s = member ? json_str(v, member, "") : json_string_value(v);

		strbuf_addf(&b, "%s%s", i ? "," : "", s ? s : "");
	}
	cell_str(cells, b.s, fallback);
}

static void selector_cell(const json_t *selector, json_t *cells)
{
	auto_clean(label_selector) struct label_selector *s =
		label_selector_from_json(selector, NULL);
	auto_free char *text = label_selector_format(s);

	cell_str(cells, text, s ? "<none>" : "<error>");
}

/* ---- networking ------------------------------------------------------------------------- */

static void hosts_cell(const json_t *rules, json_t *cells)
{
	auto_strbuf b = {0};
	size_t i, n = 0;
	json_t *rule;

	json_array_foreach(rules, i, rule)
	{
		const char *host = json_str(rule, "host", "");

		if (*host && n++ < HOSTS_SHOWN)
			strbuf_addf(&b, "%s%s", b.len ? "," : "", host);
	}
	if (n > HOSTS_SHOWN)
		strbuf_addf(&b, " + %zu more...", n - HOSTS_SHOWN);
	cell_str(cells, b.s, "*");
}

static int compare_text(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Each address once, in order. */
static void balancer_cell(const json_t *list, json_t *cells)
{
	auto_strv found = {0};
	auto_strbuf b = {0};
	size_t i;
	json_t *e;

	json_array_foreach(list, i, e)
	{
		const char *s = json_str(e, "ip", json_str(e, "hostname", ""));

		if (*s && !strv_has(&found, s))
			strv_add(&found, s);
	}
	if (found.n > 1)
		qsort(found.v, found.n, sizeof(*found.v), compare_text);
	for (i = 0; i < found.n; i++)
		strbuf_addf(&b, "%s%s", i ? "," : "", found.v[i]);
	cell_str(cells, b.s, "");
}

void ingress_cells(const json_t *obj, time_t now, json_t *cells)
{
	name_cell(obj, cells);
	path_cell(obj, "spec.ingressClassName", "<none>", cells);
	hosts_cell(json_at(obj, "spec.rules"), cells);
	balancer_cell(json_at(obj, "status.loadBalancer.ingress"), cells);
	cell_str(cells, json_len(obj, "spec.tls") ? "80, 443" : "80", "");
	created_cell(obj, now, cells);
}

void ingressclass_cells(const json_t *obj, time_t now, json_t *cells)
{
	json_t *ref = json_at(obj, "spec.parameters");
	const char *group = json_str(ref, "apiGroup", "");
	auto_free char *text = NULL;

	if (ref)
		text = xasprintf("%s%s%s/%s", json_str(ref, "kind", ""), *group ? "." : "", group,
				 json_str(ref, "name", ""));
	name_cell(obj, cells);
	path_cell(obj, "spec.controller", "", cells);
	cell_str(cells, text, "<none>");
	created_cell(obj, now, cells);
}

void networkpolicy_cells(const json_t *obj, time_t now, json_t *cells)
{
	name_cell(obj, cells);
	selector_cell(json_at(obj, "spec.podSelector"), cells);
	created_cell(obj, now, cells);
}

void servicecidr_cells(const json_t *obj, time_t now, json_t *cells)
{
	name_cell(obj, cells);
	joined_cell(obj, "spec.cidrs", NULL, "", cells);
	created_cell(obj, now, cells);
}

void ipaddress_cells(const json_t *obj, time_t now UNUSED, json_t *cells)
{
	json_t *ref = json_at(obj, "spec.parentRef");
	const char *group = json_str(ref, "group", ""), *ns = json_str(ref, "namespace", "");
	auto_free char *text = NULL;

	if (ref)
		text = xasprintf("%s%s%s%s%s/%s", json_str(ref, "resource", ""), *group ? "." : "",
				 group, *ns ? "/" : "", ns, json_str(ref, "name", ""));
	name_cell(obj, cells);
	cell_str(cells, text, "<none>");
}

/* ---- coordination, node ----------------------------------------------------------------- */

void lease_cells(const json_t *obj, time_t now, json_t *cells)
{
	name_cell(obj, cells);
	path_cell(obj, "spec.holderIdentity", "", cells);
	created_cell(obj, now, cells);
}

void runtimeclass_cells(const json_t *obj, time_t now, json_t *cells)
{
	name_cell(obj, cells);
	path_cell(obj, "handler", "", cells);
	created_cell(obj, now, cells);
}

/* ---- storage ---------------------------------------------------------------------------- */

static bool is_default_class(const json_t *obj)
{
	return str_eq(meta_annotation(obj, "storageclass.kubernetes.io/is-default-class"),
		      "true") ||
	       str_eq(meta_annotation(obj, "storageclass.beta.kubernetes.io/is-default-class"),
		      "true");
}

void storageclass_cells(const json_t *obj, time_t now, json_t *cells)
{
	auto_free char *name =
		xasprintf("%s%s", meta_name(obj), is_default_class(obj) ? " (default)" : "");

	cell_str(cells, name, "");
	path_cell(obj, "provisioner", "", cells);
	path_cell(obj, "reclaimPolicy", "Delete", cells);
	path_cell(obj, "volumeBindingMode", "Immediate", cells);
	bool_cell(obj, "allowVolumeExpansion", false, cells);
	created_cell(obj, now, cells);
}

void csidriver_cells(const json_t *obj, time_t now, json_t *cells)
{
	name_cell(obj, cells);
	bool_cell(obj, "spec.attachRequired", true, cells);
	bool_cell(obj, "spec.podInfoOnMount", false, cells);
	bool_cell(obj, "spec.storageCapacity", false, cells);
	joined_cell(obj, "spec.tokenRequests", "audience", "<unset>", cells);
	bool_cell(obj, "spec.requiresRepublish", false, cells);
	joined_cell(obj, "spec.volumeLifecycleModes", NULL, "<none>", cells);
	created_cell(obj, now, cells);
}

void csinode_cells(const json_t *obj, time_t now, json_t *cells)
{
	name_cell(obj, cells);
	cell_int(cells, (int64_t)json_len(obj, "spec.drivers"));
	created_cell(obj, now, cells);
}

void csistoragecapacity_cells(const json_t *obj, time_t now UNUSED, json_t *cells)
{
	name_cell(obj, cells);
	path_cell(obj, "storageClassName", "", cells);
	path_cell(obj, "capacity", "<unset>", cells);
}

void volumeattachment_cells(const json_t *obj, time_t now, json_t *cells)
{
	name_cell(obj, cells);
	path_cell(obj, "spec.attacher", "", cells);
	path_cell(obj, "spec.source.persistentVolumeName", "", cells);
	path_cell(obj, "spec.nodeName", "", cells);
	bool_cell(obj, "status.attached", false, cells);
	created_cell(obj, now, cells);
}

/* ---- admissionregistration -------------------------------------------------------------- */

void webhooks_cells(const json_t *obj, time_t now, json_t *cells)
{
	name_cell(obj, cells);
	cell_int(cells, (int64_t)json_len(obj, "webhooks"));
	created_cell(obj, now, cells);
}

void admissionpolicy_cells(const json_t *obj, time_t now, json_t *cells)
{
	json_t *kind = json_at(obj, "spec.paramKind");
	auto_free char *text = NULL;

	if (kind)
		text = xasprintf("%s/%s", json_str(kind, "apiVersion", ""),
				 json_str(kind, "kind", ""));
	name_cell(obj, cells);
	cell_int(cells, (int64_t)json_len(obj, "spec.validations"));
	cell_str(cells, text, "<unset>");
	created_cell(obj, now, cells);
}

static void param_cell(const json_t *ref, json_t *cells)
{
	const char *name = json_str(ref, "name", ""), *ns = json_str(ref, "namespace", "");

	if (ref && !*name) {
		selector_cell(json_object_get(ref, "selector"), cells);
	} else {
		auto_free char *text = xasprintf("%s%s%s", ns, *ns ? "/" : "", name);

		cell_str(cells, text, "<unset>");
	}
}

void admissionbinding_cells(const json_t *obj, time_t now, json_t *cells)
{
	name_cell(obj, cells);
	path_cell(obj, "spec.policyName", "", cells);
	param_cell(json_at(obj, "spec.paramRef"), cells);
	created_cell(obj, now, cells);
}

/* ---- flowcontrol, apiregistration ------------------------------------------------------- */

static const json_t *condition(const json_t *obj, const char *type)
{
	return json_find(json_at(obj, "status.conditions"), "type", type);
}

void flowschema_cells(const json_t *obj, time_t now, json_t *cells)
{
	name_cell(obj, cells);
	path_cell(obj, "spec.priorityLevelConfiguration.name", "", cells);
	cell_int(cells, json_int(obj, "spec.matchingPrecedence", 0));
	path_cell(obj, "spec.distinguisherMethod.type", "<none>", cells);
	created_cell(obj, now, cells);
	path_cell(condition(obj, "Dangling"), "status", "?", cells);
}

void prioritylevel_cells(const json_t *obj, time_t now, json_t *cells)
{
	json_t *limited = json_at(obj, "spec.limited");
	json_t *queuing = json_at(limited, "limitResponse.queuing");

	name_cell(obj, cells);
	path_cell(obj, "spec.type", "", cells);
	number_cell(limited, "nominalConcurrencyShares", "<none>", cells);
	number_cell(queuing, "queues", "<none>", cells);
	number_cell(queuing, "handSize", "<none>", cells);
	number_cell(queuing, "queueLengthLimit", "<none>", cells);
	created_cell(obj, now, cells);
}

void apiservice_cells(const json_t *obj, time_t now, json_t *cells)
{
	json_t *service = json_at(obj, "spec.service");
	const json_t *available = condition(obj, "Available");
	const char *status = json_str(available, "status", "Unknown");
	auto_free char *server = NULL, *text = NULL;

	if (service)
		server = xasprintf("%s/%s", json_str(service, "namespace", ""),
				   json_str(service, "name", ""));
	if (available && !streq(status, "True"))
		text = xasprintf("%s (%s)", status, json_str(available, "reason", ""));
	name_cell(obj, cells);
	cell_str(cells, server, "Local");
	cell_str(cells, text, status);
	created_cell(obj, now, cells);
}

/* ---- components ------------------------------------------------------------------------- */

void componentstatus_cells(const json_t *obj, time_t now UNUSED, json_t *cells)
{
	const json_t *healthy = json_find(json_object_get(obj, "conditions"), "type", "Healthy");
	const char *status = json_str(healthy, "status", "");

	name_cell(obj, cells);
	cell_str(cells, !healthy ? "Unknown" : streq(status, "True") ? "Healthy" : "Unhealthy", "");
	path_cell(healthy, "message", "", cells);
	path_cell(healthy, "error", "", cells);
}
