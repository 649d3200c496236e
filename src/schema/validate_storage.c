/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Validation of StorageClass, CSIDriver, CSINode, CSIStorageCapacity and VolumeAttachment
 * (kubernetes pkg/apis/storage/validation).
 */
#include "validate.h"

#include <ctype.h>

#define MAX_PARAMETERS 512
#define MAX_PARAMETER_BYTES (256 * 1024)
#define MAX_ATTACHMENT_BYTES (256 * 1024)
#define MAX_ERROR_BYTES 1024
#define MAX_DRIVER_NAME 63
#define MAX_NODE_ID 256
#define MIN_TOKEN_SECONDS 600
#define MAX_TOKEN_SECONDS (INT64_C(1) << 32)
#define IMMUTABLE "field is immutable"

static char *lower(const char *s)
{
	char *copy = xstrdup(s);

	for (char *p = copy; *p; p++)
		*p = (char)tolower((unsigned char)*p);
	return copy;
}

/* Bytes of all keys and values. */
static size_t map_bytes(const json_t *map)
{
	size_t total = 0;
	const char *key;
	json_t *v;

	json_object_foreach((json_t *)map, key, v) total += strlen(key) + json_string_length(v);
	return total;
}

static void check_driver_name(struct check *c, const char *field, const char *name)
{
	auto_free char *small = lower(name);
	const char *bad = valid_dns1123_subdomain(small);

	if (!*name) {
		check_required(c, field, "");
		return;
	}
	if (strlen(name) > MAX_DRIVER_NAME)
		check_too_long(c, field, MAX_DRIVER_NAME);
	if (bad)
		check_invalid_str(c, field, name, "%s", bad);
}

/* ---- storage classes -------------------------------------------------------------------- */

static void check_parameters(struct check *c, const json_t *map)
{
	if (json_object_size(map) > MAX_PARAMETERS) {
		check_too_long(c, "parameters", MAX_PARAMETERS);
		return;
	}
	if (json_object_get(map, ""))
		check_invalid_str(c, "parameters", "", "field can not be empty.");
	if (map_bytes(map) > MAX_PARAMETER_BYTES)
		check_too_long(c, "parameters", MAX_PARAMETER_BYTES);
}

static void check_topology(struct check *c, const json_t *term)
{
	auto_strv keys = {0};
	json_t *e, *v;

	check_foreach(c, term, "matchLabelExpressions", e)
	{
		const char *key = json_str(e, "key", "");
		auto_strv seen = {0};

		if (json_len(e, "values") == 0)
			check_required(c, "values", "");
		check_foreach(c, e, "values", v)
		{
			if (strv_has(&seen, json_string_value(v)))
				check_duplicate(c, NULL, v);
			strv_add(&seen, json_string_value(v));
		}
		check_text(c, "key", key, valid_label_key);
		if (strv_has(&keys, key))
			check_duplicate_str(c, "key", key);
		strv_add(&keys, key);
	}
}

static void check_kept(struct check *c, const char *field, const json_t *obj, const json_t *old)
{
	const json_t *now = json_object_get(obj, field), *was = json_object_get(old, field);

	if (now != was && !json_equal(now, was) &&
	    (json_object_size(now) || json_object_size(was) || json_is_string(now) ||
	     json_is_string(was)))
		check_forbidden(c, field, "updates to %s are forbidden.", field);
}

void storageclass_validate(const json_t *obj, const json_t *old, struct err *err)
{
	struct check c = {.err = err};
	auto_free char *provisioner = lower(json_str(obj, "provisioner", ""));
	json_t *term;

	check_required_text(&c, "provisioner", provisioner, valid_label_key);
	check_parameters(&c, json_object_get(obj, "parameters"));
	check_foreach(&c, obj, "allowedTopologies", term) check_topology(&c, term);
	if (old) {
		check_kept(&c, "parameters", obj, old);
		check_kept(&c, "provisioner", obj, old);
		check_kept(&c, "reclaimPolicy", obj, old);
	}
	strbuf_done(&c.path);
}

/* ---- drivers and nodes ------------------------------------------------------------------ */

static void check_token_requests(struct check *c, const json_t *spec)
{
	auto_strv seen = {0};
	json_t *v;

	check_foreach(c, spec, "tokenRequests", v)
	{
		const char *audience = json_str(v, "audience", "");
		int64_t seconds = json_int(v, "expirationSeconds", MIN_TOKEN_SECONDS);

		if (strv_has(&seen, audience)) {
			check_duplicate_str(c, "audience", audience);
			continue;
		}
		strv_add(&seen, audience);
		if (seconds < MIN_TOKEN_SECONDS)
			check_invalid_int(c, "expirationSeconds", seconds,
					  "may not specify a duration less than 10 minutes");
		if (seconds > MAX_TOKEN_SECONDS)
			check_invalid_int(c, "expirationSeconds", seconds,
					  "may not specify a duration larger than 2^32 seconds");
	}
}

void csidriver_validate(const json_t *obj, const json_t *old, struct err *err)
{
	struct check c = {.err = err};
	const json_t *spec = json_object_get(obj, "spec"), *was = json_object_get(old, "spec");
	json_t *v;
	size_t i;

	if (strlen(meta_name(obj)) > MAX_DRIVER_NAME)
		check_too_long(&c, "metadata.name", MAX_DRIVER_NAME);
	check_enter(&c, "spec");
	check_token_requests(&c, spec);
	json_array_foreach(json_object_get(spec, "volumeLifecycleModes"), i, v) check_one_of(
		&c, "volumeLifecycleModes", json_string_value(v), "Persistent,Ephemeral");
	if (old) {
		/* upstream spells the path of attachRequired so */
		if (json_bool(spec, "attachRequired", true) !=
		    json_bool(was, "attachRequired", true))
			check_invalid(&c, "attachedRequired",
				      json_object_get(spec, "attachRequired"), IMMUTABLE);
		check_immutable(&c, "volumeLifecycleModes", spec, was);
	}
	strbuf_done(&c.path);
}

static void check_node_driver(struct check *c, const json_t *driver, struct strv *names)
{
	const char *name = json_str(driver, "name", ""), *id = json_str(driver, "nodeID", "");
	int64_t count = json_int(driver, "allocatable.count", 0);
	auto_strv keys = {0};
	json_t *v;
	size_t i;

	check_driver_name(c, "name", name);
	if (!*id)
		check_required(c, "nodeID", "");
	if (strlen(id) > MAX_NODE_ID)
		check_invalid_str(c, "nodeID", id, "must be %d characters or less", MAX_NODE_ID);
	if (count < 0)
		check_invalid_int(c, "allocatable.count", count,
				  "must be greater than or equal to 0");
	if (strv_has(names, name))
		check_duplicate_str(c, "name", name);
	strv_add(names, name);
	json_array_foreach(json_object_get(driver, "topologyKeys"), i, v)
	{
		const char *key = json_string_value(v);

		if (!*key)
			check_required(c, NULL, "");
		if (strv_has(&keys, key))
			check_duplicate(c, NULL, v);
		strv_add(&keys, key);
		check_text(c, NULL, key, valid_label_key);
	}
}

/* The entry of a driver may come and go, but not change. */
static void check_drivers_kept(struct check *c, const json_t *drivers, const json_t *before)
{
	size_t i;
	json_t *v;

	json_array_foreach(drivers, i, v)
	{
		json_t *was = json_find(before, "name", json_str(v, "name", ""));

		if (was && !json_equal(v, was))
			check_invalid(c, "CSINodeDriver", v, IMMUTABLE);
	}
}

void csinode_validate(const json_t *obj, const json_t *old, struct err *err)
{
	struct check c = {.err = err};
	const json_t *spec = json_object_get(obj, "spec");
	auto_strv names = {0};
	size_t mark = check_enter(&c, "spec");
	json_t *driver;

	check_foreach(&c, spec, "drivers", driver) check_node_driver(&c, driver, &names);
	check_leave(&c, mark);
	if (old)
		check_drivers_kept(&c, json_object_get(spec, "drivers"),
				   json_at(old, "spec.drivers"));
	strbuf_done(&c.path);
}

static void check_not_negative(struct check *c, const char *field, const json_t *obj)
{
	const char *text = json_str(obj, field, NULL);
	int64_t n;

	if (text && quantity_parse_milli(text, &n) == 0 && n < 0)
		check_invalid_str(c, field, text, "must be greater than or equal to 0");
}

void csistoragecapacity_validate(const json_t *obj, const json_t *old UNUSED, struct err *err)
{
	struct check c = {.err = err};

	check_selector(&c, "nodeTopology", json_object_get(obj, "nodeTopology"));
	check_not_negative(&c, "capacity", obj);
	strbuf_done(&c.path);
}

/* ---- attachments ------------------------------------------------------------------------ */

static void check_attachment_inline(struct check *c, const json_t *spec)
{
	size_t mark = check_enter(c, "source.inlineVolumeSpec");

	check_inline_volume(c, spec);
	check_leave(c, mark);
}

static void check_attachment_source(struct check *c, const json_t *source)
{
	static const char one[] =
		"must specify exactly one of inlineVolumeSpec and persistentVolumeName";
	const char *volume = json_str(source, "persistentVolumeName", NULL);
	const json_t *written = json_object_get(source, "inlineVolumeSpec");

	if (!volume && !written)
		check_required(c, "source", one);
	else if (volume && written)
		check_forbidden(c, "source", "%s", one);
	else if (volume && !*volume)
		check_required(c, "source.persistentVolumeName",
			       "must specify non empty persistentVolumeName");
	else if (volume)
		check_text(c, "source.persistentVolumeName", volume, valid_dns1123_subdomain);
	else
		check_attachment_inline(c, written);
}

static void check_attachment_status(struct check *c, const json_t *status)
{
	static const char *const errors[] = {"attachError.message", "detachError.message"};

	if (map_bytes(json_object_get(status, "attachmentMetadata")) > MAX_ATTACHMENT_BYTES)
		check_too_long(c, "attachmentMetadata", MAX_ATTACHMENT_BYTES);
	for (size_t i = 0; i < ARRAY_SIZE(errors); i++)
		if (strlen(json_str(status, errors[i], "")) > MAX_ERROR_BYTES)
			check_too_long(c, errors[i], MAX_ATTACHMENT_BYTES);
}

void volumeattachment_validate(const json_t *obj, const json_t *old, struct err *err)
{
	struct check c = {.err = err};
	const json_t *spec = json_object_get(obj, "spec");
	size_t mark = check_enter(&c, "spec");

	check_driver_name(&c, "attacher", json_str(spec, "attacher", ""));
	check_attachment_source(&c, json_object_get(spec, "source"));
	if (!json_object_get(spec, "nodeName"))
		check_invalid_str(&c, "nodeName", "", "%s", valid_dns1123_subdomain(""));
	check_leave(&c, mark);
	if (old && !json_equal(spec, json_object_get(old, "spec")))
		check_invalid(&c, "spec", spec, IMMUTABLE);
	check_enter(&c, "status");
	check_attachment_status(&c, json_object_get(obj, "status"));
	strbuf_done(&c.path);
}
