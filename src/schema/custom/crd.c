/* SPDX-License-Identifier: Apache-2.0 */
/*
 * CustomResourceDefinition: defaults and validation of all but the schemas
 * (apiextensions-apiserver pkg/apis/apiextensions/{v1/defaults.go,validation/validation.go}).
 */
#include "crd.h"

/* ---- defaults --------------------------------------------------------------------------- */

static json_t *lower_word(const char *s)
{
	auto_free char *word = xstrdup(s);

	for (char *p = word; *p; p++)
		if (*p >= 'A' && *p <= 'Z')
			*p = (char)(*p + 32);
	return json_string(word);
}

static const char *storage_version(const json_t *crd)
{
	json_t *v;
	size_t i;

	json_array_foreach(json_at(crd, "spec.versions"), i,
			   v) if (json_bool(v, "storage", false)) return json_str(v, "name", "");
	return "";
}

/* The version objects are written in is one that they may be stored in from now on. */
static void note_storage(json_t *crd)
{
	json_t *list = json_arr(crd, "status.storedVersions"), *v;
	const char *storage = storage_version(crd);
	size_t i;

	json_array_foreach(list, i, v) if (str_eq(json_string_value(v), storage)) return;
	if (*storage)
		json_array_append_new(list, json_string(storage));
}

void crd_set_defaults(json_t *obj, const json_t *old)
{
	json_t *spec = json_obj(obj, "spec"), *names = json_obj(spec, "names");
	const char *kind = json_str(names, "kind", "");
	bool first = !old || !json_at(obj, "status.storedVersions");

	if (*kind && !*json_str(names, "singular", ""))
		json_object_set_new(names, "singular", lower_word(kind));
	if (*kind && !*json_str(names, "listKind", ""))
		json_put_strf(names, "listKind", "%sList", kind);
	if (!json_is_object(json_object_get(spec, "conversion")))
		json_put_str(spec, "conversion.strategy", "None");
	if (!old)
		json_put(obj, "status",
			 json_pack("{s:[], s:{s:s, s:s}, s:[]}", "conditions", "acceptedNames",
				   "plural", "", "kind", "", "storedVersions"));
	if (first || !streq(storage_version(obj), storage_version(old)))
		note_storage(obj);
}

/* ---- names ------------------------------------------------------------------------------ */

static void check_label(struct check *c, const char *field, const char *value)
{
	const char *bad = valid_dns1035_label(value);

	if (bad)
		check_invalid_str(c, field, value, "%s", bad);
}

static void check_kind_word(struct check *c, const char *field, const char *value)
{
	json_auto_t *word = lower_word(value);
	const char *bad = valid_dns1035_label(json_string_value(word));

	if (bad)
		check_invalid_str(c, field, value,
				  "may have mixed case, but should otherwise match: %s", bad);
}

static void check_word_list(struct check *c, const json_t *names, const char *field)
{
	json_t *v;

	check_foreach(c, names, field, v)
	{
		const char *bad = valid_dns1035_label(json_string_value(v));

		if (bad)
			check_invalid(c, NULL, v, "%s", bad);
	}
}

static void check_names(struct check *c, const json_t *names, bool all)
{
	static const char *const words[] = {"plural", "singular", "kind", "listKind"};
	size_t mark = check_enter(c, "names");

	for (size_t i = 0; i < ARRAY_SIZE(words); i++) {
		const char *value = json_str(names, words[i], "");

		if (!*value && (all || i != 1))
			check_required(c, words[i], "");
		else if (*value && i < 2)
			check_label(c, words[i], value);
		else if (*value)
			check_kind_word(c, words[i], value);
	}
	check_word_list(c, names, "shortNames");
	check_word_list(c, names, "categories");
	if (*json_str(names, "kind", "") &&
	    streq(json_str(names, "kind", ""), json_str(names, "listKind", "")))
		check_invalid_str(c, "listKind", json_str(names, "listKind", ""),
				  "kind and listKind may not be the same");
	check_leave(c, mark);
}

static void check_group(struct check *c, const char *group)
{
	const char *bad = *group ? valid_dns1123_subdomain(group) : NULL;

	if (!*group)
		check_required(c, "group", "");
	else if (bad)
		check_invalid_str(c, "group", group, "%s", bad);
	else if (!strchr(group, '.'))
		check_invalid_str(c, "group", group, "should be a domain with at least one dot");
}

/* ---- versions --------------------------------------------------------------------------- */

static void check_column(struct check *c, const json_t *col)
{
	static const char types[] = "boolean,date,integer,number,string";
	static const char formats[] = "byte,date,date-time,double,float,int32,int64,password";
	const char *type = json_str(col, "type", ""), *format = json_str(col, "format", "");
	const char *path = json_str(col, "jsonPath", ""), *bad;

	if (!*json_str(col, "name", ""))
		check_required(c, "name", "");
	if (!*type)
		check_required(c, "type", "must be one of boolean,date,integer,number,string");
	else if (!csv_has_exactly(types, type))
		check_invalid_str(c, "type", type, "must be one of %s", types);
	if (*format && !csv_has_exactly(formats, format))
		check_invalid_str(c, "format", format, "must be one of %s", formats);
	bad = *path ? path_error(path) : NULL;
	if (!*path)
		check_required(c, "jsonPath", "");
	else if (bad)
		check_invalid_str(c, "jsonPath", path, "%s", bad);
}

/* Scale paths name a member below .spec or .status, in dot notation. */
static void check_scale_path(struct check *c, const json_t *scale, const char *field,
			     const char *below, bool required)
{
	const char *path = json_str(scale, field, "");

	if (!*path) {
		if (required)
			check_required(c, field, "");
	} else if (path_error(path) || strchr(path, '[')) {
		check_invalid_str(c, field, path, "must be a simple json path starting with .");
	} else if (!str_starts(path, below) &&
		   !(streq(field, "labelSelectorPath") && str_starts(path, ".spec."))) {
		check_invalid_str(c, field, path, "should be a json path under %.*s",
				  (int)strlen(below) - 1, below);
	}
}

static void check_subresources(struct check *c, const json_t *subs)
{
	const json_t *scale = json_object_get(subs, "scale");
	size_t mark;

	if (!scale)
		return;
	mark = check_enter(c, "subresources");
	check_enter(c, "scale");
	check_scale_path(c, scale, "specReplicasPath", ".spec.", true);
	check_scale_path(c, scale, "statusReplicasPath", ".status.", true);
	check_scale_path(c, scale, "labelSelectorPath", ".status.", false);
	check_leave(c, mark);
}

/* The schema at a simple path below a schema, or NULL. */
static const json_t *schema_at(const json_t *schema, const char *path)
{
	auto_strv names = {0};

	strv_split(&names, path, '.');
	for (size_t i = 0; i < names.n && schema; i++)
		schema = json_object_get(json_object_get(schema, "properties"), names.v[i]);
	return schema;
}

static void check_selectable(struct check *c, const json_t *version)
{
	const json_t *schema = json_at(version, "schema.openAPIV3Schema");
	json_t *f;

	if (json_len(version, "selectableFields") > 8)
		check_too_many(c, "selectableFields", json_len(version, "selectableFields"), 8);
	check_foreach(c, version, "selectableFields", f)
	{
		const char *path = json_str(f, "jsonPath", "");
		const char *type = json_str(schema_at(schema, path), "type", "");

		if (!*path)
			check_required(c, "jsonPath", "");
		else if (path_error(path) || strchr(path, '['))
			check_invalid_str(c, "jsonPath", path,
					  "is an invalid path: must be a simple json path starting "
					  "with .");
		else if (str_starts(path, ".metadata"))
			check_invalid_str(c, "jsonPath", path,
					  "must not point to fields in metadata");
		else if (!csv_has_exactly("string,integer,boolean", *type ? type : "-"))
			check_invalid_str(
				c, "jsonPath", path,
				"must point to a field of type string, boolean or "
				"integer. Enum string fields and strings with formats are "
				"allowed.");
	}
}

static void check_version(struct check *c, const json_t *v)
{
	const char *name = json_str(v, "name", "");
	const char *bad = valid_dns1035_label(name);
	const json_t *schema = json_at(v, "schema.openAPIV3Schema");
	json_t *col;

	if (bad)
		check_invalid_str(c, "name", name, "%s", bad);
	if (str_eq(json_str(v, "deprecationWarning", NULL), ""))
		check_invalid_str(c, "deprecationWarning", "", "must not be an empty string");
	if (json_str(v, "deprecationWarning", NULL) && !json_bool(v, "deprecated", false))
		check_invalid_str(c, "deprecationWarning", json_str(v, "deprecationWarning", ""),
				  "can only be set for deprecated versions");
	if (!schema) {
		size_t mark = check_enter(c, "schema");

		check_required(c, "openAPIV3Schema", "schemas are required");
		check_leave(c, mark);
	} else {
		size_t mark = check_enter(c, "schema");

		check_enter(c, "openAPIV3Schema");
		check_schema(c, schema);
		check_leave(c, mark);
	}
	check_subresources(c, json_object_get(v, "subresources"));
	check_foreach(c, v, "additionalPrinterColumns", col) check_column(c, col);
	check_selectable(c, v);
}

static void check_versions(struct check *c, const json_t *spec)
{
	json_t *v, *list = json_object_get(spec, "versions");
	auto_strv names = {0};
	bool unique = true;
	size_t stored = 0;

	if (!json_array_size(list)) {
		check_required(c, "versions", "");
		return;
	}
	check_foreach(c, spec, "versions", v)
	{
		const char *name = json_str(v, "name", "");

		unique &= !strv_has(&names, name);
		strv_add(&names, name);
		stored += json_bool(v, "storage", false);
		check_version(c, v);
	}
	if (!unique)
		check_invalid(c, "versions", list, "must contain unique version names");
	if (stored != 1)
		check_invalid(c, "versions", list,
			      "must have exactly one version marked as storage version");
}

/* ---- conversion, protection -------------------------------------------------------------- */

static void check_conversion(struct check *c, const json_t *spec)
{
	const json_t *conversion = json_object_get(spec, "conversion");
	const char *strategy = json_str(conversion, "strategy", "");
	size_t mark = check_enter(c, "conversion");

	if (!*strategy)
		check_required(c, "strategy", "");
	else if (!csv_has_exactly("None,Webhook", strategy))
		check_unsupported(c, "strategy", strategy, "None,Webhook");
	else if (streq(strategy, "None") && json_object_get(conversion, "webhook"))
		check_forbidden(c, "webhook",
				"should not be set when strategy is not set to Webhook");
	else if (streq(strategy, "Webhook") && !json_at(conversion, "webhook.clientConfig"))
		check_required(c, "webhook", "required when strategy is set to Webhook");
	check_leave(c, mark);
}

static bool is_protected(const char *group)
{
	return str_ends(group, ".k8s.io") || str_ends(group, ".kubernetes.io") ||
	       streq(group, "k8s.io") || streq(group, "kubernetes.io");
}

/* Groups of Kubernetes itself need a note that its API reviewers agreed. */
static void check_approval(struct check *c, const json_t *obj)
{
	const char *group = json_str(obj, "spec.group", "");
	const char *note = meta_annotation(obj, CRD_APPROVED);
	size_t mark;

	if (!is_protected(group))
		return;
	mark = check_enter(c, "metadata");
	strbuf_adds(&c->path, ".annotations[" CRD_APPROVED "]");
	if (str_empty(note))
		check_required(c, NULL,
			       "protected groups must have approval annotation \"" CRD_APPROVED
			       "\", see https://github.com/kubernetes/enhancements/pull/1111");
	else if (!str_starts(note, "https://") && !str_starts(note, "http://") &&
		 !str_starts(note, "unapproved"))
		check_invalid_str(
			c, NULL, note,
			"protected groups must have approval annotation \"" CRD_APPROVED
			"\" with either a URL or a reason starting with \"unapproved\", see "
			"https://github.com/kubernetes/enhancements/pull/1111");
	check_leave(c, mark);
}

/* ---- updates ---------------------------------------------------------------------------- */

static void check_same(struct check *c, const char *field, const json_t *obj, const json_t *old)
{
	const char *now = json_str(obj, field, ""), *was = json_str(old, field, "");

	if (!streq(now, was))
		check_invalid_str(c, field, now, "field is immutable");
}

static bool is_established(const json_t *crd)
{
	json_t *c = json_find(json_at(crd, "status.conditions"), "type", "Established");

	return streq(json_str(c, "status", ""), "True");
}

static void check_stored_versions(struct check *c, const json_t *obj)
{
	json_t *stored, *status = json_object_get(obj, "status");
	size_t mark = check_enter(c, "status");

	check_foreach(c, status, "storedVersions", stored)
	{
		const char *name = json_string_value(stored);

		if (name && !json_find(json_at(obj, "spec.versions"), "name", name))
			check_invalid(
				c, NULL, stored,
				"missing from spec.versions; %s was previously a storage "
				"version, and must remain in spec.versions until a storage "
				"migration ensures no data remains persisted in %s and removes "
				"%s from status.storedVersions",
				name, name, name);
	}
	check_leave(c, mark);
}

static void check_update(struct check *c, const json_t *obj, const json_t *old)
{
	const json_t *spec = json_object_get(obj, "spec"), *was = json_object_get(old, "spec");

	check_same(c, "group", spec, was);
	check_same(c, "names.plural", spec, was);
	if (is_established(old)) {
		check_same(c, "scope", spec, was);
		check_same(c, "names.kind", spec, was);
	}
}

void crd_validate(const json_t *obj, const json_t *old, struct err *err)
{
	const json_t *spec = json_object_get(obj, "spec");
	struct check c = {.err = err};
	const char *group = json_str(spec, "group", ""), *scope = json_str(spec, "scope", "");
	const char *plural = json_str(spec, "names.plural", "");
	auto_free char *name = xasprintf("%s.%s", plural, group);
	size_t mark = check_enter(&c, "spec");

	/* A status alone has been changed: nothing of the rest has to be looked at. */
	if (!old || !json_equal(spec, json_object_get(old, "spec"))) {
		check_group(&c, group);
		if (!*scope)
			check_required(&c, "scope", "");
		else if (!csv_has_exactly("Cluster,Namespaced", scope))
			check_unsupported(&c, "scope", scope, "Cluster,Namespaced");
		check_names(&c, json_object_get(spec, "names"), true);
		if (json_bool(spec, "preserveUnknownFields", false))
			check_invalid(
				&c, "preserveUnknownFields",
				json_object_get(spec, "preserveUnknownFields"),
				"cannot set to true, set x-kubernetes-preserve-unknown-fields "
				"to true in spec.versions[*].schema instead");
		check_versions(&c, spec);
		check_conversion(&c, spec);
	}
	if (old)
		check_update(&c, obj, old);
	check_leave(&c, mark);
	mark = check_enter(&c, "metadata");
	if (!streq(meta_name(obj), name))
		check_invalid_str(&c, "name", meta_name(obj),
				  "must be spec.names.plural+\".\"+spec.group");
	check_leave(&c, mark);
	if (!old)
		check_approval(&c, obj);
	check_stored_versions(&c, obj);
	strbuf_done(&c.path);
}

/* ---- the rest --------------------------------------------------------------------------- */

void crd_cells(const json_t *obj, time_t now UNUSED, json_t *cells)
{
	cell_str(cells, meta_name(obj), "");
	cell_str(cells, json_str(obj, "metadata.creationTimestamp", ""), "<unknown>");
}

void schema_warnings(const struct kind *k, const json_t *obj, struct strv *warnings)
{
	const char *deprecation = k->custom ? k->custom->deprecation : kind_deprecation(k);

	if (!obj && deprecation)
		strv_add(warnings, deprecation);
	if (k != &kind_customresourcedefinition || !obj)
		return;
	if (streq(json_str(obj, "spec.conversion.strategy", ""), "Webhook"))
		strv_add(warnings, "spec.conversion.strategy: Webhook is stored, but objects are "
				   "converted by changing their apiVersion alone");
}
