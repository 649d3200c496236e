/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The fields that field selectors may ask for, per kind.
 */
#include "internal.h"

struct label {
	const char *label; /* what the selector says */
	const char *path;  /* where it is, NULL: the same */
	const char *unset; /* its value when absent */
};

static const char *find_label(const struct label *table, size_t n, const json_t *obj,
			      const char *label)
{
	for (size_t i = 0; i < n; i++) {
		json_t *v;

		if (!streq(table[i].label, label))
			continue;
		v = json_at(obj, table[i].path ? table[i].path : label);
		if (json_is_boolean(v))
			return json_is_true(v) ? "true" : "false";
		if (json_is_string(v) && *json_string_value(v))
			return json_string_value(v);
		return table[i].unset ? table[i].unset : "";
	}
	return NULL;
}

const char *pod_field_label(const json_t *obj, const char *label)
{
	static const struct label table[] = {
		{"spec.nodeName", NULL, NULL},	     {"spec.restartPolicy", NULL, NULL},
		{"spec.schedulerName", NULL, NULL},  {"spec.serviceAccountName", NULL, NULL},
		{"spec.hostNetwork", NULL, "false"}, {"status.phase", NULL, NULL},
		{"status.podIP", NULL, NULL},	     {"status.nominatedNodeName", NULL, NULL},
	};
	json_t *ips;

	if (!streq(label, "status.podIPs"))
		return find_label(table, ARRAY_SIZE(table), obj, label);
	ips = json_at(obj, "status.podIPs");
	return json_str(json_array_get(ips, 0), "ip", json_str(obj, "status.podIP", ""));
}

const char *node_field_label(const json_t *obj, const char *label)
{
	static const struct label table[] = {{"spec.unschedulable", NULL, "false"}};

	return find_label(table, ARRAY_SIZE(table), obj, label);
}

const char *certificatesigningrequest_field_label(const json_t *obj, const char *label)
{
	static const struct label table[] = {{"spec.signerName", NULL, NULL}};

	return find_label(table, ARRAY_SIZE(table), obj, label);
}

const char *event_field_label(const json_t *obj, const char *label)
{
	static const struct label table[] = {
		{"involvedObject.kind", NULL, NULL},
		{"involvedObject.namespace", NULL, NULL},
		{"involvedObject.name", NULL, NULL},
		{"involvedObject.uid", NULL, NULL},
		{"involvedObject.apiVersion", NULL, NULL},
		{"involvedObject.resourceVersion", NULL, NULL},
		{"involvedObject.fieldPath", NULL, NULL},
		{"reason", NULL, NULL},
		{"reportingComponent", NULL, NULL},
		{"type", NULL, NULL},
	};

	if (streq(label, "source"))
		return json_str(obj, "source.component", json_str(obj, "reportingComponent", ""));
	return find_label(table, ARRAY_SIZE(table), obj, label);
}

const char *event_v1_field_label(const json_t *obj, const char *label)
{
	static const struct label table[] = {
		{"regarding.kind", NULL, NULL},	      {"regarding.namespace", NULL, NULL},
		{"regarding.name", NULL, NULL},	      {"regarding.uid", NULL, NULL},
		{"regarding.apiVersion", NULL, NULL}, {"regarding.resourceVersion", NULL, NULL},
		{"regarding.fieldPath", NULL, NULL},  {"reason", NULL, NULL},
		{"reportingController", NULL, NULL},  {"type", NULL, NULL},
	};

	return find_label(table, ARRAY_SIZE(table), obj, label);
}

const char *namespace_field_label(const json_t *obj, const char *label)
{
	static const struct label table[] = {{"status.phase", NULL, NULL}};

	return find_label(table, ARRAY_SIZE(table), obj, label);
}

const char *secret_field_label(const json_t *obj, const char *label)
{
	static const struct label table[] = {{"type", NULL, NULL}};

	return find_label(table, ARRAY_SIZE(table), obj, label);
}

/* Numbers as text; valid until the next call. */
static const char *number_label(const json_t *obj, const char *path)
{
	static char text[24];

	snprintf(text, sizeof(text), "%lld", (long long)json_int(obj, path, 0));
	return text;
}

const char *replicationcontroller_field_label(const json_t *obj, const char *label)
{
	return streq(label, "status.replicas") ? number_label(obj, label) : NULL;
}

const char *job_field_label(const json_t *obj, const char *label)
{
	return streq(label, "status.successful") ? number_label(obj, "status.succeeded") : NULL;
}

const char *service_field_label(const json_t *obj, const char *label)
{
	static const struct label table[] = {
		{"spec.clusterIP", NULL, NULL},
		{"spec.type", NULL, NULL},
	};

	return find_label(table, ARRAY_SIZE(table), obj, label);
}
