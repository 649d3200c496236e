/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Validation of Namespace, Node, ConfigMap, Secret and ServiceAccount
 * (kubernetes pkg/apis/core/validation).
 */
#include "validate.h"

#define MAX_DATA (1024 * 1024)

/* ---- namespaces and nodes --------------------------------------------------------------- */

void namespace_validate(const json_t *obj, const json_t *old UNUSED, struct err *err)
{
	struct check c = {.err = err};
	json_t *v;
	size_t i;

	check_enter(&c, "spec");
	json_array_foreach(json_at(obj, "spec.finalizers"), i, v)
	{
		const char *name = json_string_value(v), *bad = valid_label_key(name);

		if (bad)
			check_invalid(&c, "finalizers", v, "%s", bad);
		else if (!strchr(name, '/') && !streq(name, "kubernetes"))
			check_invalid(&c, "finalizers", v,
				      "name is neither a standard finalizer name nor is it fully "
				      "qualified");
	}
	strbuf_done(&c.path);
}

static void check_set_once(struct check *c, const char *field, const char *shown,
			   const json_t *spec, const json_t *old)
{
	const json_t *was = json_object_get(old, field);

	if (was && !json_same(was, json_object_get(spec, field)))
		check_forbidden(c, field,
				"node updates may not change %s except from \"\" to valid", shown);
}

void node_validate(const json_t *obj, const json_t *old, struct err *err)
{
	struct check c = {.err = err};
	const json_t *spec = json_object_get(obj, "spec");
	auto_strv seen = {0};
	json_t *taint;

	check_enter(&c, "spec");
	check_foreach(&c, spec, "taints", taint)
	{
		auto_free char *key = xasprintf("%s:%s", json_str(taint, "key", ""),
						json_str(taint, "effect", ""));

		if (strv_has(&seen, key))
			check_duplicate(&c, NULL, taint);
		strv_take(&seen, steal_ptr(key));
	}
	if (old) {
		check_set_once(&c, "podCIDRs", "podCIDR", spec, json_object_get(old, "spec"));
		check_set_once(&c, "providerID", "providerID", spec, json_object_get(old, "spec"));
	}
	strbuf_done(&c.path);
}

/* ---- config maps and secrets ------------------------------------------------------------ */

/* Checks the keys of obj.field; returns the number of bytes in the values. */
static size_t check_keys(struct check *c, const json_t *obj, const char *field, bool base64)
{
	const char *key, *bad;
	size_t total = 0;
	json_t *v;

	json_object_foreach(json_object_get(obj, field), key, v)
	{
		size_t len = json_string_length(v), mark = check_enter(c, field);

		strbuf_addf(&c->path, "[%s]", key);
		if ((bad = valid_config_key(key)))
			check_invalid_str(c, NULL, key, "%s", bad);
		check_leave(c, mark);
		total += base64 ? len / 4 * 3 : len;
	}
	return total;
}

/* `immutable: true` can not be taken back, and freezes the data. */
static void check_frozen(struct check *c, const json_t *obj, const json_t *old)
{
	static const char *const fields[] = {"immutable", "data", "binaryData"};

	if (!old || !json_bool(old, "immutable", false))
		return;
	for (size_t i = 0; i < ARRAY_SIZE(fields); i++) {
		const json_t *now = json_object_get(obj, fields[i]);
		const json_t *was = json_object_get(old, fields[i]);

		if (now != was && !json_same(now, was))
			check_forbidden(c, fields[i], "field is immutable when `immutable` is set");
	}
}

void configmap_validate(const json_t *obj, const json_t *old, struct err *err)
{
	struct check c = {.err = err};
	const json_t *binary = json_object_get(obj, "binaryData");
	const char *key;
	size_t total;
	json_t *v;

	total = check_keys(&c, obj, "data", false);
	total += check_keys(&c, obj, "binaryData", true);
	json_object_foreach(json_object_get(obj, "data"), key, v)
	{
		size_t mark = check_enter(&c, "data");

		strbuf_addf(&c.path, "[%s]", key);
		if (json_object_get(binary, key))
			check_invalid_str(&c, NULL, key, "duplicate of key present in binaryData");
		check_leave(&c, mark);
	}
	if (total > MAX_DATA)
		check_too_long(&c, NULL, MAX_DATA);
	check_frozen(&c, obj, old);
	strbuf_done(&c.path);
}

/* Keys that a secret of a known type must have. */
static void check_secret_type(struct check *c, const json_t *obj)
{
	static const struct {
		const char *type, *key;
	} needs[] = {
		{"kubernetes.io/dockercfg", ".dockercfg"},
		{"kubernetes.io/dockerconfigjson", ".dockerconfigjson"},
		{"kubernetes.io/ssh-auth", "ssh-privatekey"},
		{"kubernetes.io/tls", "tls.crt"},
		{"kubernetes.io/tls", "tls.key"},
	};
	const char *type = json_str(obj, "type", "");
	const json_t *data = json_object_get(obj, "data");

	for (size_t i = 0; i < ARRAY_SIZE(needs); i++) {
		auto_free char *field = xasprintf("data[%s]", needs[i].key);

		if (streq(type, needs[i].type) && !json_object_get(data, needs[i].key))
			check_required(c, field, "");
	}
	if (streq(type, "kubernetes.io/basic-auth") && !json_object_get(data, "username") &&
	    !json_object_get(data, "password")) {
		check_required(c, "data[username]", "");
		check_required(c, "data[password]", "");
	}
	if (streq(type, "kubernetes.io/service-account-token") &&
	    str_empty(meta_annotation(obj, "kubernetes.io/service-account.name")))
		check_required(c, "metadata.annotations[kubernetes.io/service-account.name]", "");
}

/* The registry credentials must be JSON; their text must not be shown. */
static void check_docker_config(struct check *c, const json_t *obj, const char *key)
{
	auto_free char *field = xasprintf("data[%s]", key);
	const json_t *v = json_object_get(json_object_get(obj, "data"), key);
	auto_free unsigned char *text = NULL;
	json_auto_t *parsed = NULL;
	size_t len;

	if (!v || !str_starts(json_str(obj, "type", ""), "kubernetes.io/dockerc") ||
	    base64_decode(json_string_value(v), json_string_length(v), &text, &len) < 0)
		return;
	parsed = json_scan((char *)text, len, BODY_VALUES_MAX, NULL, NULL);
	if (!json_is_object(parsed))
		check_invalid_str(c, field, "<secret contents redacted>", "must be a JSON object");
}

void secret_validate(const json_t *obj, const json_t *old, struct err *err)
{
	struct check c = {.err = err};

	if (check_keys(&c, obj, "data", true) > MAX_DATA)
		check_too_long(&c, "data", MAX_DATA);
	check_secret_type(&c, obj);
	check_docker_config(&c, obj, ".dockercfg");
	check_docker_config(&c, obj, ".dockerconfigjson");
	if (old)
		check_immutable(&c, "type", obj, old);
	check_frozen(&c, obj, old);
	strbuf_done(&c.path);
}
