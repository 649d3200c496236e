/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Validation of Lease, RuntimeClass and APIService (kubernetes pkg/apis/coordination/validation,
 * pkg/apis/node/validation, kube-aggregator pkg/apis/apiregistration/validation).
 */
#include "validate.h"

#define MAX_GROUP_PRIORITY 20000
#define MAX_VERSION_PRIORITY 1000

void lease_validate(const json_t *obj, const json_t *old UNUSED, struct err *err)
{
	struct check c = {.err = err};
	const json_t *spec = json_object_get(obj, "spec");
	int64_t seconds = json_int(spec, "leaseDurationSeconds", 1);
	int64_t transitions = json_int(spec, "leaseTransitions", 0);
	const char *strategy = json_str(spec, "strategy", NULL);

	check_enter(&c, "spec");
	if (seconds <= 0)
		check_invalid_int(&c, "leaseDurationSeconds", seconds, "must be greater than 0");
	if (transitions < 0)
		check_invalid_int(&c, "leaseTransitions", transitions,
				  "must be greater than or equal to 0");
	/* upstream names the member twice */
	if (strategy && strchr(strategy, '/'))
		check_text(&c, "strategy.strategy", strategy, valid_label_key);
	else if (strategy)
		check_one_of(&c, "strategy.strategy", strategy, "OldestEmulationVersion");
	if (*json_str(spec, "preferredHolder", "") && (!strategy || !*strategy))
		check_forbidden(&c, "preferredHolder",
				"may only be specified if `strategy` is defined");
	strbuf_done(&c.path);
}

static void check_overhead(struct check *c, const json_t *amounts)
{
	const char *key;
	json_t *v;

	json_object_foreach((json_t *)amounts, key, v)
	{
		const char *text = json_string_value(v), *bad = valid_label_key(key);
		size_t mark = check_enter(c, "podFixed");
		int64_t n;

		strbuf_addf(&c->path, "[%s]", key);
		if (bad)
			check_invalid_str(c, NULL, key, "%s", bad);
		else if (!strchr(key, '/') &&
			 !csv_has_exactly("cpu,memory,ephemeral-storage", key) &&
			 !str_starts(key, "hugepages-"))
			check_invalid_str(c, NULL, key,
					  "must be a standard resource for containers");
		if (text && quantity_parse_milli(text, &n) == 0 && n < 0)
			check_invalid_str(c, NULL, text, "must be greater than or equal to 0");
		check_leave(c, mark);
	}
}

void runtimeclass_validate(const json_t *obj, const json_t *old UNUSED, struct err *err)
{
	struct check c = {.err = err};

	if (!json_object_get(obj, "handler"))
		check_invalid_str(&c, "handler", "", "%s", valid_dns1123_label(""));
	check_enter(&c, "overhead");
	check_overhead(&c, json_at(obj, "overhead.podFixed"));
	strbuf_done(&c.path);
}

/* ---- API services ----------------------------------------------------------------------- */

static void check_api_server(struct check *c, const json_t *spec)
{
	const json_t *service = json_object_get(spec, "service");
	const char *bundle = json_str(spec, "caBundle", "");
	const json_t *skip = json_object_get(spec, "insecureSkipTLSVerify");

	if (!service) {
		auto_free unsigned char *bytes = NULL;
		size_t len = 0;

		if (*bundle && base64_decode(bundle, strlen(bundle), &bytes, &len) == 0) {
			auto_free char *size = xasprintf("%zu bytes", len);

			check_invalid_str(c, "caBundle", size,
					  "local APIServices may not have a caBundle");
		}
		if (json_is_true(skip))
			check_invalid(c, "insecureSkipTLSVerify", skip,
				      "local APIServices may not have insecureSkipTLSVerify");
		return;
	}
	if (!*json_str(service, "namespace", ""))
		check_required(c, "service.namespace", "");
	if (!*json_str(service, "name", ""))
		check_required(c, "service.name", "");
	check_port_number(c, "service.port", json_int(service, "port", 443));
	if (json_is_true(skip) && *bundle)
		check_invalid(c, "insecureSkipTLSVerify", skip,
			      "may not be true if caBundle is present");
}

void apiservice_validate(const json_t *obj, const json_t *old UNUSED, struct err *err)
{
	struct check c = {.err = err};
	const json_t *spec = json_object_get(obj, "spec");
	const char *group = json_str(spec, "group", ""), *version = json_str(spec, "version", "");
	int64_t of_group = json_int(spec, "groupPriorityMinimum", 0);
	int64_t of_version = json_int(spec, "versionPriority", 0);
	auto_free char *name = xasprintf("%s.%s", version, group);
	size_t mark, i;
	json_t *v;

	if (!streq(meta_name(obj), name))
		check_invalid_str(&c, "metadata.name", meta_name(obj),
				  "must be `spec.version+\".\"+spec.group`: \"%s\"", name);
	mark = check_enter(&c, "spec");
	if (!*group && !streq(version, "v1"))
		check_required(&c, "group",
			       "only v1 may have an empty group and it better be legacy kube");
	if (*group)
		check_text(&c, "group", group, valid_dns1123_subdomain);
	if (!json_object_get(spec, "version"))
		check_invalid_str(&c, "version", "", "%s", valid_dns1035_label(""));
	if (of_group <= 0 || of_group > MAX_GROUP_PRIORITY)
		check_invalid_int(&c, "groupPriorityMinimum", of_group,
				  "must be positive and less than 20000");
	if (of_version <= 0 || of_version > MAX_VERSION_PRIORITY)
		check_invalid_int(&c, "versionPriority", of_version,
				  "must be positive and less than 1000");
	check_api_server(&c, spec);
	check_leave(&c, mark);
	json_array_foreach(json_at(obj, "status.conditions"), i, v)
	{
		mark = check_item(&c, "status.conditions", i);
		check_one_of(&c, "status", json_str(v, "status", ""), "True,False,Unknown");
		check_leave(&c, mark);
	}
	strbuf_done(&c.path);
}
