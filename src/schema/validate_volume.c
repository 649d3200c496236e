/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Validation of PersistentVolume and PersistentVolumeClaim (kubernetes pkg/apis/core/validation).
 */
#include "validate.h"

static const char access_modes[] = "ReadOnlyMany,ReadWriteMany,ReadWriteOnce,ReadWriteOncePod";

static void check_access_modes(struct check *c, const json_t *spec, const char *required)
{
	bool alone = false, shared = false;
	json_t *v;
	size_t i;

	if (json_len(spec, "accessModes") == 0)
		check_required(c, "accessModes", required);
	json_array_foreach(json_object_get(spec, "accessModes"), i, v)
	{
		const char *mode = json_string_value(v);

		if (!csv_has_exactly(access_modes, mode))
			check_unsupported(c, "accessModes", mode, access_modes);
		else if (streq(mode, "ReadWriteOncePod"))
			alone = true;
		else
			shared = true;
	}
	if (alone && shared)
		check_forbidden(c, "accessModes",
				"may not use ReadWriteOncePod with other access modes");
}

static void check_positive_amount(struct check *c, const char *field, const json_t *v)
{
	int64_t milli = 0;

	if (quantity_parse_milli(json_string_value(v), &milli) < 0)
		return;
	if (milli <= 0)
		check_invalid(c, field, v, "must be greater than zero");
	else if (milli % 1000)
		check_invalid(c, field, v, "must be an integer");
}

static void check_class_name(struct check *c, const json_t *spec, const char *field)
{
	const char *name = json_str(spec, field, "");
	const char *bad = *name ? valid_dns1123_subdomain(name) : NULL;

	if (bad)
		check_invalid_str(c, field, name, "%s", bad);
}

/* ---- volumes ---------------------------------------------------------------------------- */

static bool is_source(const char *field)
{
	return message_field(message_find("io.k8s.api.core.v1.PersistentVolumeSource"), field);
}

static void check_capacity(struct check *c, const json_t *spec)
{
	json_t *capacity = json_object_get(spec, "capacity"), *v;
	const char *name;

	if (json_object_size(capacity) == 0)
		check_required(c, "capacity", "");
	if (!json_object_get(capacity, "storage") || json_object_size(capacity) > 1)
		check_unsupported_value(c, "capacity", capacity, "storage");
	json_object_foreach(capacity, name, v)
	{
		auto_free char *path = xasprintf("capacity[%s]", name);

		check_positive_amount(c, path, v);
	}
}

static bool goes_up(const char *path)
{
	auto_strv parts = {0};

	strv_split(&parts, path, '/');
	return strv_has(&parts, "..");
}

static void check_pv_path(struct check *c, const json_t *spec)
{
	static const char *const sources[] = {"hostPath", "local"};
	const char *nfs = json_str(spec, "nfs.path", "");

	for (size_t i = 0; i < ARRAY_SIZE(sources); i++) {
		const char *path = json_str(json_object_get(spec, sources[i]), "path", "");
		auto_free char *field = xasprintf("%s.path", sources[i]);

		if (goes_up(path))
			check_invalid_str(c, field, path, "must not contain '..'");
	}
	if (*nfs && *nfs != '/')
		check_invalid_str(c, "nfs.path", nfs, "must be an absolute path");
	if (streq(json_str(spec, "hostPath.path", ""), "/") &&
	    streq(json_str(spec, "persistentVolumeReclaimPolicy", ""), "Recycle"))
		check_forbidden(c, "persistentVolumeReclaimPolicy",
				"may not be 'recycle' for a hostPath mount of '/'");
}

static void check_pv_source(struct check *c, const json_t *spec)
{
	const char *field;
	json_t *v;
	int n = 0;

	json_object_foreach((json_t *)(uintptr_t)spec, field, v)
	{
		if (is_source(field) && ++n > 1)
			check_forbidden(c, field, "may not specify more than 1 volume type");
	}
	if (n == 0)
		check_required(c, NULL, "must specify a volume type");
	if (json_object_get(spec, "nodeAffinity") && !json_at(spec, "nodeAffinity.required"))
		check_required(c, "nodeAffinity.required",
			       "must specify required node constraints");
	if (json_object_get(spec, "local") && !json_at(spec, "nodeAffinity.required"))
		check_required(c, "nodeAffinity", "Local volume requires node affinity");
	check_pv_path(c, spec);
}

void check_inline_volume(struct check *c, const json_t *spec)
{
	static const char *const left[] = {"claimRef", "capacity", "nodeAffinity",
					   "storageClassName"};
	static const char why[] = "may not be specified in the context of inline volumes";
	const char *policy = json_str(spec, "persistentVolumeReclaimPolicy", "");

	for (size_t i = 0; i < ARRAY_SIZE(left); i++)
		if (json_object_get(spec, left[i]))
			check_forbidden(c, left[i], "%s", why);
	if (!json_object_get(spec, "csi"))
		check_required(c, "csi", "has to be specified in the context of inline volumes");
	check_access_modes(c, spec, "");
	if (*policy && !streq(policy, "Retain"))
		check_forbidden(c, "persistentVolumeReclaimPolicy",
				"may only be Retain in the context of inline volumes");
	if (!streq(json_str(spec, "volumeMode", "Filesystem"), "Filesystem"))
		check_forbidden(c, "volumeMode",
				"may not specify volumeMode other than Filesystem in the context "
				"of inline volumes");
}

/* Only the sources of a spec. */
static json_t *sources_of(const json_t *spec)
{
	json_t *ret = json_object(), *v;
	const char *field;

	json_object_foreach((json_t *)(uintptr_t)spec, field, v) if (is_source(field))
		json_object_set(ret, field, v);
	return ret;
}

static void check_pv_update(struct check *c, const json_t *spec, const json_t *old)
{
	json_auto_t *now = sources_of(spec), *was = sources_of(old);
	const json_t *affinity = json_object_get(old, "nodeAffinity");

	if (!json_equal(now, was))
		check_forbidden(c, "spec.persistentvolumesource",
				"spec.persistentvolumesource is immutable after creation");
	check_immutable(c, "volumeMode", spec, old);
	if (affinity && !(json_object_get(spec, "nodeAffinity") &&
			  json_equal(affinity, json_object_get(spec, "nodeAffinity"))))
		check_invalid(c, "nodeAffinity", json_object_get(spec, "nodeAffinity"),
			      "field is immutable, except for updating from beta label to GA");
}

void pv_validate(const json_t *obj, const json_t *old, struct err *err)
{
	struct check c = {.err = err};
	const json_t *spec = json_object_get(obj, "spec");
	size_t mark = check_enter(&c, "spec");

	check_access_modes(&c, spec, "");
	check_capacity(&c, spec);
	check_pv_source(&c, spec);
	check_leave(&c, mark);
	if (old)
		check_pv_update(&c, spec, json_object_get(old, "spec"));
	strbuf_done(&c.path);
}

/* ---- claims ----------------------------------------------------------------------------- */

/* dataSource or dataSourceRef. */
static void check_data_source(struct check *c, const json_t *spec, const char *field)
{
	const json_t *source = json_object_get(spec, field);
	const char *group = json_str(source, "apiGroup", "");
	const char *kind = json_str(source, "kind", "");
	const char *ns = json_str(source, "namespace", ""), *bad;
	size_t mark = check_enter(c, field);

	if (source) {
		if (!*json_str(source, "name", ""))
			check_required(c, "name", "");
		if (!*kind)
			check_required(c, "kind", "");
		if (!*group && !streq(kind, "PersistentVolumeClaim"))
			check_invalid_str(c, NULL, kind,
					  "must be 'PersistentVolumeClaim' when referencing the "
					  "default apiGroup");
		if (*group && (bad = valid_dns1123_subdomain(group)))
			check_invalid_str(c, "apiGroup", group, "%s", bad);
		if (*ns && (bad = valid_dns1123_label(ns)))
			check_invalid_str(c, "namespace", ns, "%s", bad);
	}
	check_leave(c, mark);
}

static void check_claim_size(struct check *c, const json_t *spec)
{
	const json_t *requests = json_at(spec, "resources.requests");
	const json_t *size = json_object_get(requests, "storage");

	if (!size)
		check_required(c, "resources[storage]", "");
	else
		check_positive_amount(c, "resources[storage]", size);
}

static void check_claim_spec(struct check *c, const json_t *spec)
{
	check_access_modes(c, spec, "at least 1 access mode is required");
	check_claim_size(c, spec);
	check_class_name(c, spec, "storageClassName");
	check_class_name(c, spec, "volumeAttributesClassName");
	check_data_source(c, spec, "dataSource");
	check_data_source(c, spec, "dataSourceRef");
}

/* What may still change: the volume it is bound to, once; the class, once; the size, when bound. */
static void check_claim_update(struct check *c, const json_t *obj, const json_t *old)
{
	json_auto_t *now = json_deep_copy(json_object_get(obj, "spec"));
	json_auto_t *was = json_deep_copy(json_object_get(old, "spec"));
	json_t *size = json_object_get(json_at(now, "resources.requests"), "storage");
	json_t *before = json_object_get(json_at(was, "resources.requests"), "storage");
	int shrinks = quantity_compare(size, before) < 0;

	if (shrinks)
		check_forbidden(c, "spec.resources.requests.storage",
				"field can not be less than status.capacity");
	if (!*json_str(was, "volumeName", ""))
		json_object_del(now, "volumeName");
	if (!json_object_get(was, "storageClassName"))
		json_object_del(now, "storageClassName");
	if (streq(json_str(obj, "status.phase", ""), "Bound") && size && before)
		json_object_set(json_at(now, "resources.requests"), "storage", before);
	json_object_del(now, "volumeAttributesClassName");
	json_object_del(was, "volumeAttributesClassName");
	if (!json_equal(now, was))
		check_forbidden(c, "spec",
				"spec is immutable after creation except resources.requests and "
				"volumeAttributesClassName for bound claims");
	check_immutable(c, "volumeMode", json_object_get(obj, "spec"),
			json_object_get(old, "spec"));
}

void pvc_validate(const json_t *obj, const json_t *old, struct err *err)
{
	struct check c = {.err = err};
	size_t mark = check_enter(&c, "spec");

	check_claim_spec(&c, json_object_get(obj, "spec"));
	check_leave(&c, mark);
	if (old)
		check_claim_update(&c, obj, old);
	strbuf_done(&c.path);
}
