/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Validation: metadata, then the field tables, then what the kind itself knows; all complaints
 * together make one Invalid error.
 */
#include "validate.h"

#define MAX_ANNOTATIONS (256 * 1024)

void check_labels(struct check *c, const char *field, const json_t *labels)
{
	const char *key, *bad;
	json_t *v;

	json_object_foreach((json_t *)labels, key, v)
	{
		const char *value = json_string_value(v);

		breathe();
		if ((bad = valid_label_key(key)))
			check_invalid_str(c, field, key, "%s", bad);
		if (value && (bad = valid_label_value(value)))
			check_invalid_str(c, field, value, "%s", bad);
	}
}

void check_annotations(struct check *c, const char *field, const json_t *annotations)
{
	const char *key, *bad;
	size_t total = 0;
	json_t *v;

	json_object_foreach((json_t *)annotations, key, v)
	{
		auto_free char *lower = xstrdup(key);

		breathe();
		for (char *p = lower; *p; p++)
			if (*p >= 'A' && *p <= 'Z')
				*p = (char)(*p + 32);
		if ((bad = valid_label_key(lower)))
			check_invalid_str(c, field, key, "%s", bad);
		total += strlen(key) + json_string_length(v);
	}
	if (total > MAX_ANNOTATIONS)
		check_too_long(c, field, MAX_ANNOTATIONS);
}

/* The values of one requirement; the table has looked at key and operator. */
static void check_requirement(struct check *c, const json_t *e)
{
	const char *op = json_str(e, "operator", "");
	bool set = streq(op, "In") || streq(op, "NotIn");
	json_t *v;

	if (set && json_len(e, "values") == 0)
		check_required(c, "values", "must be specified when `operator` is 'In' or 'NotIn'");
	else if ((streq(op, "Exists") || streq(op, "DoesNotExist")) && json_len(e, "values") > 0)
		check_forbidden(c, "values",
				"may not be specified when `operator` is 'Exists' or "
				"'DoesNotExist'");
	check_foreach(c, e, "values", v)
		check_text(c, NULL, json_string_value(v), valid_label_value);
}

void check_selector(struct check *c, const char *field, const json_t *selector)
{
	size_t mark = check_enter(c, field);
	json_t *e;

	check_foreach(c, selector, "matchExpressions", e) check_requirement(c, e);
	check_leave(c, mark);
}

/* ---- metadata --------------------------------------------------------------------------- */

static const char *valid_ip_name(const char *s)
{
	return valid_ip(s) ? NULL : "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)";
}

static const char *name_error(const struct kind *k, const char *name)
{
	static const struct {
		const char *rule;
		const char *(*valid)(const char *);
	} rules[] = {
		{"dns1123label", valid_dns1123_label},
		{"dns1035label", valid_dns1035_label},
		{"pathsegment", valid_path_segment},
		{"ipaddress", valid_ip_name},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rules); i++)
		if (streq(rules[i].rule, k->name_rule))
			return rules[i].valid(name);
	return valid_dns1123_subdomain(name);
}

static void check_names(struct check *c, const struct kind *k, const json_t *meta)
{
	const char *name = json_str(meta, "name", ""), *prefix = json_str(meta, "generateName", "");
	const char *bad;

	if (*prefix) {
		auto_free char *masked = xstrdup(prefix);
		size_t len = strlen(masked);

		/* a trailing dash is made good by what is appended */
		if (len > 1 && masked[len - 1] == '-')
			masked[len - 1] = 'a';
		if ((bad = name_error(k, masked)))
			check_invalid_str(c, "generateName", prefix, "%s", bad);
	}
	if (!*name)
		check_required(c, "name", "name or generateName is required");
	else if ((bad = name_error(k, name)))
		check_invalid_str(c, "name", name, "%s", bad);
}

/* "/v1, Kind=Event" as a GroupVersionKind prints; NULL when it may be an owner. */
static const char *banned_owner(const json_t *owner)
{
	bool event = streq(json_str(owner, "apiVersion", ""), "v1") &&
		     streq(json_str(owner, "kind", ""), "Event");

	return event ? "/v1, Kind=Event" : NULL;
}

/* What is missing altogether the field table tells. */
static void check_owner(struct check *c, const json_t *owner)
{
	const char *version = json_str(owner, "apiVersion", "");
	const char *slash = strchr(version, '/'), *banned = banned_owner(owner);

	if (slash && (!slash[1] || strchr(slash + 1, '/'))) /* "a/b/c" is no version at all */
		check_invalid(c, "apiVersion", json_object_get(owner, "apiVersion"),
			      "version must not be empty");
	if (banned)
		check_invalid(c, NULL, owner, "%s is disallowed from being an owner", banned);
}

static void check_owners(struct check *c, const json_t *meta, bool custom)
{
	static const char *const needed[] = {"apiVersion", "kind", "name", "uid"};
	const json_t *list = json_object_get(meta, "ownerReferences"), *first = NULL;
	json_t *owner;
	size_t i;

	/* Upstream's paths name the list, not the item. */
	size_t mark = check_enter(c, "ownerReferences");

	json_array_foreach(list, i, owner)
	{
		check_owner(c, owner);
		for (size_t k = 0; k < ARRAY_SIZE(needed) && custom; k++)
			if (!*json_str(owner, needed[k], ""))
				check_required(c, needed[k], "");
		if (!json_bool(owner, "controller", false))
			continue;
		if (first)
			check_invalid(c, NULL, list,
				      "Only one reference can have Controller set to true. Found "
				      "\"true\" in references for %s/%s and %s/%s",
				      json_str(first, "kind", ""), json_str(first, "name", ""),
				      json_str(owner, "kind", ""), json_str(owner, "name", ""));
		first = first ? first : owner;
	}
	check_leave(c, mark);
}

/* Kinds whose finalizers may be plain words: all but those of upstream's core, which knows what its
 * own controllers use. */
static bool plain_finalizers(const struct kind *k)
{
	static const char *const groups[] = {"admissionregistration.k8s.io", "apiextensions.k8s.io",
					     "apiregistration.k8s.io", "coordination.k8s.io"};

	for (size_t i = 0; i < ARRAY_SIZE(groups); i++)
		if (streq(k->group, groups[i]))
			return true;
	return k->custom != NULL;
}

static void check_finalizers(struct check *c, bool plain, const json_t *meta)
{
	json_t *v;
	size_t i;

	json_array_foreach(json_object_get(meta, "finalizers"), i, v)
	{
		const char *name = json_string_value(v);
		const char *bad = name ? valid_label_key(name) : NULL;
		auto_free char *field = xasprintf("finalizers[%zu]", i);

		if (bad)
			check_invalid(c, "finalizers", v, "%s", bad);
		else if (!plain && name && !strchr(name, '/') && !streq(name, "kubernetes") &&
			 !streq(name, "orphan") && !streq(name, "foregroundDeletion"))
			check_invalid(c, field, v,
				      "name is neither a standard finalizer name nor is it fully "
				      "qualified");
	}
}

/* An object on its way out may only lose finalizers. */
static void check_new_finalizers(struct check *c, const json_t *meta, const json_t *old)
{
	auto_strbuf found = {0};
	json_t *v, *was;
	size_t i, j;

	json_array_foreach(json_object_get(meta, "finalizers"), i, v)
	{
		bool known = false;

		json_array_foreach(json_object_get(old, "finalizers"), j, was) known |=
			json_equal(v, was);
		if (!known)
			strbuf_addf(&found, "%s\"%s\"", found.len ? ", " : "",
				    json_string_value(v));
	}
	if (found.len)
		check_forbidden(c, "finalizers",
				"no new finalizers can be added if the object is being deleted, "
				"found new finalizers []string{%s}",
				found.s);
}

static void check_meta_update(struct check *c, const json_t *meta, const json_t *old)
{
	static const char *const fixed[] = {"name",
					    "namespace",
					    "uid",
					    "creationTimestamp",
					    "deletionTimestamp",
					    "deletionGracePeriodSeconds"};

	for (size_t i = 0; i < ARRAY_SIZE(fixed); i++)
		check_immutable(c, fixed[i], meta, old);
	if (json_object_get(old, "deletionTimestamp"))
		check_new_finalizers(c, meta, old);
}

void check_metadata(struct check *c, const struct kind *k, const json_t *obj, const json_t *old)
{
	const json_t *meta = json_object_get(obj, "metadata");
	size_t mark = check_enter(c, "metadata");

	check_names(c, k, meta);
	if (k->namespaced && !*meta_ns(obj))
		check_required(c, "namespace", "");
	else if (!k->namespaced && *meta_ns(obj))
		check_forbidden(c, "namespace", "not allowed on this type");
	if (k->custom) /* of other kinds the field table says it */
		check_labels(c, "labels", json_object_get(meta, "labels"));
	check_annotations(c, "annotations", json_object_get(meta, "annotations"));
	check_owners(c, meta, k->custom != NULL);
	check_finalizers(c, plain_finalizers(k), meta);
	if (old)
		check_meta_update(c, meta, json_object_get(old, "metadata"));
	check_leave(c, mark);
}

/* ---- all together ----------------------------------------------------------------------- */

/* `Deployment.apps "x" is invalid: [e1, e2]`, or without brackets for one. */
static int invalid_error(const struct kind *k, const json_t *obj, struct err *found,
			 struct err *err)
{
	auto_strbuf text = {0};

	for (size_t i = 0; i < found->n_causes; i++) {
		const struct err_cause *cause = &found->causes[i];

		strbuf_addf(&text, "%s%s: %s", i ? ", " : "", cause->field, cause->message);
	}
	auto_free char *all = strbuf_steal(&text);
	int r = err_set(err, ERR_INVALID, "%s%s%s \"%s\" is invalid: %s%s%s", k->kind,
			*k->group ? "." : "", k->group, meta_name(obj),
			found->n_causes > 1 ? "[" : "", all, found->n_causes > 1 ? "]" : "");
	for (size_t i = 0; i < found->n_causes; i++)
		err_cause_add(err, found->causes[i].reason, found->causes[i].field, "%s",
			      found->causes[i].message);
	err_about(err, k->kind, k->group, meta_name(obj));
	return r;
}

/* What scales can be scaled: the numbers are an int32 that is not negative. */
static void check_replicas(struct check *c, const struct kind *k, const json_t *obj)
{
	struct scale_paths paths;

	if (!custom_scale(k, &paths))
		return;
	const char *const fields[] = {paths.spec, paths.status};

	for (size_t i = 0; i < ARRAY_SIZE(fields); i++) {
		const json_t *n = json_path_get(obj, fields[i]);

		if (!json_is_integer(n))
			continue;
		if (json_integer_value(n) < 0)
			check_invalid(c, fields[i], n, "should be a non-negative integer");
		else if (json_integer_value(n) > INT32_MAX)
			check_invalid(c, fields[i], n, "should be less than or equal to %d",
				      INT32_MAX);
	}
}

int schema_validate(const struct kind *k, const json_t *obj, const json_t *old, struct err *err)
{
	auto_err found = {0};
	struct check c = {.err = &found};

	check_metadata(&c, k, obj, old);
	if (k->custom) {
		custom_validate(k->custom, obj, old, &found);
		check_replicas(&c, k, obj);
	} else
		check_message(&c, k->message, obj, old);
	strbuf_done(&c.path);
	if (k->ops && k->ops->validate)
		k->ops->validate(obj, old, &found);
	return found.n_causes ? invalid_error(k, obj, &found, err) : 0;
}

int schema_validate_view(const struct kind *k, const json_t *obj, const json_t *old,
			 struct err *err)
{
	auto_err found = {0};

	if (k->ops && k->ops->validate)
		k->ops->validate(obj, old, &found);
	if (k->custom)
		custom_validate(k->custom, obj, old, &found);
	return found.n_causes ? invalid_error(kind_storage(k), obj, &found, err) : 0;
}

/* ---- objects in custom ones -------------------------------------------------------------- */

/* Says what is wrong with the word, or that there is none. */
static bool check_word(struct check *c, const json_t *obj, const char *field)
{
	const char *text = json_str(obj, field, NULL);

	if (!text)
		check_required(c, field, "must not be empty");
	else if (!*text)
		check_invalid_str(c, field, text, "must not be empty");
	return text && *text;
}

static void check_embedded_meta(struct check *c, const json_t *meta)
{
	const char *name = json_str(meta, "name", ""), *ns = json_str(meta, "namespace", "");
	const char *bad = *name ? valid_path_segment(name) : NULL;
	size_t mark = check_enter(c, "metadata");

	if (bad)
		check_invalid_str(c, "name", name, "%s", bad);
	bad = *ns ? valid_dns1123_label(ns) : NULL;
	if (bad)
		check_invalid_str(c, "namespace", ns, "%s", bad);
	check_labels(c, "labels", json_object_get(meta, "labels"));
	check_annotations(c, "annotations", json_object_get(meta, "annotations"));
	check_owners(c, meta, true);
	check_finalizers(c, true, meta);
	check_leave(c, mark);
}

void check_embedded(struct err *err, const char *path, const json_t *obj)
{
	struct check c = {.err = err};
	const char *version = json_str(obj, "apiVersion", ""), *kind = json_str(obj, "kind", "");
	const char *slash = strchr(version, '/'), *bad;

	strbuf_adds(&c.path, path);
	if (check_word(&c, obj, "apiVersion") && slash && strchr(slash + 1, '/'))
		check_invalid_str(&c, "apiVersion", version, "unexpected GroupVersion string: %s",
				  version);
	if (check_word(&c, obj, "kind")) {
		auto_free char *lower = xstrdup(kind);

		for (char *p = lower; *p; p++)
			*p = *p >= 'A' && *p <= 'Z' ? (char)(*p - 'A' + 'a') : *p;
		bad = valid_dns1035_label(lower);
		if (bad)
			check_invalid_str(&c, "kind", kind,
					  "may have mixed case, but should otherwise match: %s",
					  bad);
	}
	check_embedded_meta(&c, json_object_get(obj, "metadata"));
	strbuf_done(&c.path);
}
