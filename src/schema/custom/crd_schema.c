/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the schema in a definition may say: it is structural, that is, every value has a type, and
 * alternatives only add constraints (apiextensions-apiserver pkg/apiserver/schema/validation.go and
 * pkg/apis/apiextensions/validation).
 */
#include "crd.h"

struct walk {
	struct check *c;
	struct tree *tree;
	struct place at;
	int depth;
	bool logic;    /* inside allOf, anyOf, oneOf, not */
	bool item;     /* the schema is that of items */
	bool metadata; /* it is of the object's own metadata */
};

static void walk(struct walk *w, const json_t *s, bool root);

static bool has(const json_t *s, const char *key)
{
	return json_object_get(s, key) != NULL;
}

static bool yes(const json_t *s, const char *key)
{
	return json_is_true(json_object_get(s, key));
}

static const char *text(const json_t *s, const char *key)
{
	const char *t = json_string_value(json_object_get(s, key));

	return t ? t : "";
}

/* ---- what no structural schema has ------------------------------------------------------- */

static void check_forbidden_words(struct check *c, const json_t *s)
{
	static const char *const words[] = {"$ref",	      "$schema",      "id",
					    "definitions",    "dependencies", "patternProperties",
					    "additionalItems"};

	for (size_t i = 0; i < ARRAY_SIZE(words); i++)
		if (has(s, words[i]))
			check_forbidden(c, words[i], "%s is not supported", words[i]);
	if (yes(s, "uniqueItems"))
		check_forbidden(c, "uniqueItems",
				"uniqueItems cannot be set to true since the runtime complexity "
				"becomes quadratic");
	if (json_is_false(json_object_get(s, "additionalProperties")))
		check_forbidden(c, "additionalProperties",
				"additionalProperties cannot be set to false");
	if (json_object_size(json_object_get(s, "additionalProperties")) && has(s, "properties"))
		check_forbidden(c, "additionalProperties",
				"additionalProperties and properties are mutual exclusive");
}

/* Inside alternatives nothing says what there is, only how it must be. */
static void check_logic_words(struct check *c, const json_t *s)
{
	static const struct {
		const char *word, *must_be;
	} words[] = {
		{"type", "empty"},
		{"default", "undefined"},
		{"title", "empty"},
		{"description", "empty"},
		{"nullable", "false"},
		{"additionalProperties", "undefined"},
		{"x-kubernetes-preserve-unknown-fields", "false"},
		{"x-kubernetes-embedded-resource", "false"},
		{"x-kubernetes-list-type", "undefined"},
		{"x-kubernetes-list-map-keys", "empty"},
		{"x-kubernetes-map-type", "undefined"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(words); i++) {
		const json_t *v = json_object_get(s, words[i].word);

		if (v && !json_is_false(v))
			check_forbidden(c, words[i].word, "must be %s to be structural",
					words[i].must_be);
	}
}

/* ---- types ------------------------------------------------------------------------------ */

static void check_type(struct walk *w, const json_t *s, bool root)
{
	static const char types[] = "array,boolean,integer,number,object,string";
	struct check *c = w->c;
	const char *type = text(s, "type");
	bool free_type = yes(s, "x-kubernetes-int-or-string") ||
			 yes(s, "x-kubernetes-preserve-unknown-fields");

	if (*type && !csv_has_exactly(types, type))
		check_unsupported(c, "type", type, types);
	if (w->logic)
		return;
	if (root && !streq(type, "object")) {
		if (*type)
			check_invalid_str(c, "type", type, "must be object at the root");
		else
			check_required(c, "type", "must not be empty at the root");
	} else if (!*type && !free_type) {
		check_required(c, "type",
			       w->item ? "must not be empty for specified array items"
				       : "must not be empty for specified object fields");
	}
	if (streq(type, "array") && !has(s, "items"))
		check_required(c, "items", "must be specified");
}

/* ---- x-kubernetes-* --------------------------------------------------------------------- */

static bool has_duplicates(const json_t *list)
{
	const json_t *a, *b;
	bool found = false;
	size_t i, k;

	json_array_foreach(list, i, a) for (k = 0; k < i; k++)
	{
		b = json_array_get(list, k);
		found = found || json_equal((json_t *)(uintptr_t)a, (json_t *)(uintptr_t)b);
	}
	return found;
}

static void check_list_map(struct check *c, const json_t *s)
{
	const json_t *items = json_object_get(s, "items"), *key;
	const json_t *keys = json_object_get(s, "x-kubernetes-list-map-keys");
	size_t i;

	if (!json_array_size(keys))
		check_required(c, "x-kubernetes-list-map-keys",
			       "must not be empty if x-kubernetes-list-type is map");
	if (items && !streq(text(items, "type"), "object"))
		check_invalid_str(c, "items.type", text(items, "type"),
				  "must be object if parent array's x-kubernetes-list-type is map");
	if (has_duplicates(keys))
		check_invalid(c, "x-kubernetes-list-map-keys", keys,
			      "must not contain duplicate entries");
	json_array_foreach(keys, i, key)
	{
		const char *name = json_string_value(key);
		const json_t *of =
			json_object_get(json_object_get(items, "properties"), name ? name : "");
		bool required = false;
		json_t *r;
		size_t j;

		if (!of) {
			check_invalid(c, "x-kubernetes-list-map-keys", key,
				      "entries must all be names of item properties");
			continue;
		}
		json_array_foreach(json_object_get(items, "required"), j, r) required |=
			json_equal(r, key);
		if (!required && !has(of, "default"))
			check_required(c, "items.properties",
				       "this property is in x-kubernetes-list-map-keys, so it must "
				       "have a default or be a required property");
	}
}

static void check_list_type(struct check *c, const json_t *s)
{
	const char *list = text(s, "x-kubernetes-list-type");

	if (has(s, "x-kubernetes-list-type")) {
		if (!streq(text(s, "type"), "array"))
			check_invalid_str(c, "type", text(s, "type"),
					  "must be array if x-kubernetes-list-type is specified");
		if (!csv_has_exactly("atomic,map,set", *list ? list : "-"))
			check_unsupported(c, "x-kubernetes-list-type", list, "atomic,map,set");
	}
	if (streq(list, "map"))
		check_list_map(c, s);
	else if (has(s, "x-kubernetes-list-map-keys"))
		check_invalid_str(c, "x-kubernetes-list-type", list,
				  "must be map if x-kubernetes-list-map-keys is non-empty");
	if (streq(list, "set") &&
	    csv_has_exactly("object,array", text(json_object_get(s, "items"), "type")) &&
	    !streq(text(json_object_get(s, "items"), "x-kubernetes-map-type"), "atomic") &&
	    !streq(text(json_object_get(s, "items"), "x-kubernetes-list-type"), "atomic"))
		check_invalid_str(c, "items.x-kubernetes-map-type",
				  text(json_object_get(s, "items"), "x-kubernetes-map-type"),
				  "must be atomic as item of a list with "
				  "x-kubernetes-list-type=set");
}

static void check_extensions(struct check *c, const json_t *s)
{
	const char *map = text(s, "x-kubernetes-map-type"), *type = text(s, "type");

	if (json_is_false(json_object_get(s, "x-kubernetes-preserve-unknown-fields")))
		check_invalid(c, "x-kubernetes-preserve-unknown-fields",
			      json_object_get(s, "x-kubernetes-preserve-unknown-fields"),
			      "must be true or undefined");
	if (*map && !csv_has_exactly("atomic,granular", map))
		check_unsupported(c, "x-kubernetes-map-type", map, "atomic,granular");
	if (*map && !streq(type, "object"))
		check_invalid_str(c, "type", type,
				  "must be object if x-kubernetes-map-type is specified");
	if (yes(s, "x-kubernetes-embedded-resource")) {
		if (!streq(type, "object"))
			check_invalid_str(c, "type", type,
					  "must be object if x-kubernetes-embedded-resource is "
					  "true");
		if (!has(s, "properties") && !yes(s, "x-kubernetes-preserve-unknown-fields"))
			check_required(c, "properties",
				       "must not be empty if x-kubernetes-embedded-resource is "
				       "true without x-kubernetes-preserve-unknown-fields");
	}
	check_list_type(c, s);
}

/* ---- values ----------------------------------------------------------------------------- */

static void check_pattern(struct check *c, const json_t *s)
{
	auto_free char *why = *text(s, "pattern") ? pattern_error(text(s, "pattern")) : NULL;

	if (why)
		check_invalid_str(c, "pattern", text(s, "pattern"),
				  "must be a valid regular expression, but isn't: %s", why);
}

/* A default must be pruned already and be valid; the metadata's are not the schema's to give. */
static void check_default(struct check *c, const json_t *s, bool in_metadata)
{
	const json_t *dflt = json_object_get(s, "default");
	struct tree *tree;
	json_auto_t *pruned = NULL;
	auto_err found = {0};

	if (!dflt)
		return;
	if (in_metadata) {
		check_forbidden(c, "default", "must not be set in top-level metadata");
		return;
	}
	tree = tree_compile(s, false);
	pruned = json_deep_copy(dflt);
	node_prune(tree->root, pruned, false, NULL);
	if (!json_equal(pruned, (json_t *)(uintptr_t)dflt))
		check_invalid(c, "default", dflt, "must not have unknown fields");
	node_default(tree->root, pruned);
	if (json_is_null(dflt) && !yes(s, "nullable"))
		check_invalid(c, "default", dflt, "must not be null");
	size_t mark = check_enter(c, "default");

	node_check(tree->root, pruned, NULL, c->path.s, &found);
	if (!found.n_causes)
		node_run_rules(tree, false, pruned, NULL, c->path.s, &found);
	check_leave(c, mark);
	for (size_t i = 0; i < found.n_causes; i++)
		err_cause_add(c->err, found.causes[i].reason, found.causes[i].field, "%s",
			      found.causes[i].message);
	tree_free(tree);
}

/* Only name and generateName of the metadata may be restricted. */
static void check_root_metadata(struct check *c, const json_t *s)
{
	const json_t *meta = json_object_get(json_object_get(s, "properties"), "metadata");
	const char *key;
	json_t *v;
	size_t mark = check_enter(c, "properties");

	strbuf_adds(&c->path, "[metadata]");
	if (meta && *text(meta, "type") && !streq(text(meta, "type"), "object"))
		check_invalid_str(c, "type", text(meta, "type"), "must be object");
	json_object_foreach(json_object_get(meta, "properties"), key, v)
	{
		if (!streq(key, "name") && !streq(key, "generateName"))
			check_forbidden(c, "properties",
					"must not specify anything other than name and "
					"generateName, but metadata is implicitly specified");
	}
	check_leave(c, mark);
}

/* What the whole object can have only. */
static void check_root(struct check *c, const json_t *s)
{
	const json_t *dflt = json_object_get(s, "default");

	if (has(s, "additionalProperties"))
		check_forbidden(c, "additionalProperties", "must not be used at the root");
	if (yes(s, "nullable"))
		check_forbidden(c, "nullable", "nullable cannot be true at the root");
	if (dflt && !has(dflt, "apiVersion"))
		check_required(c, "default.apiVersion", "must not be empty");
	if (dflt && !has(dflt, "kind"))
		check_required(c, "default.kind", "must not be empty");
	check_root_metadata(c, s);
}

/* ---- the walk --------------------------------------------------------------------------- */

/* How many of the values below there are: times as many as above when that is known. */
static uint64_t count_below(uint64_t above, int64_t times)
{
	uint64_t product;

	if (!above || times < 0)
		return 0;
	if (!times)
		times = 1;
	return __builtin_mul_overflow(above, (uint64_t)times, &product) ? 0 : product;
}

/* Walks on at another place; times: how many of these the value may have, -1: no limit. */
static void walk_at(struct walk *w, const json_t *s, const struct node *rules,
		    const struct node *spine, const char *uncorrelatable, int64_t times)
{
	struct place outer = w->at;

	w->at.rules = rules;
	w->at.spine = spine;
	w->at.count = count_below(outer.count, times);
	if (!outer.uncorrelatable)
		w->at.uncorrelatable = uncorrelatable;
	walk(w, s, false);
	w->at = outer;
}

/* The path as it is now when old values cannot be found again below, else NULL. */
static char *lost_at(const struct walk *w, const json_t *s)
{
	bool list = streq(text(s, "type"), "array");
	bool lost = list ? !streq(text(s, "x-kubernetes-list-type"), "map")
			 : streq(text(s, "x-kubernetes-map-type"), "atomic");

	return lost && w->c->path.s ? xstrdup(w->c->path.s) : NULL;
}

static void walk_properties(struct walk *w, const json_t *s, bool root)
{
	auto_free char *lost = lost_at(w, s);
	const struct place at = w->at;
	const char *key;
	json_t *child;

	json_object_foreach(json_object_get(s, "properties"), key, child)
	{
		size_t mark = check_enter(w->c, "properties");

		strbuf_addf(&w->c->path, "[%s]", key);
		w->metadata = w->metadata || (root && streq(key, "metadata"));
		walk_at(w, child, node_child(at.rules, key), node_member(at.spine, key), lost, 1);
		if (root)
			w->metadata = false;
		check_leave(w->c, mark);
	}
}

static void walk_one(struct walk *w, const json_t *s, const char *field)
{
	auto_free char *lost = lost_at(w, s);
	const json_t *child = json_object_get(s, field);
	const struct place at = w->at;
	size_t mark = check_enter(w->c, field);

	w->item = streq(field, "items");
	if (json_is_object(child))
		walk_at(w, child, at.rules ? at.rules->item : NULL,
			at.spine ? at.spine->item : NULL, lost,
			json_int(s, streq(field, "items") ? "maxItems" : "maxProperties", -1));
	check_leave(w->c, mark);
}

static void walk_not(struct walk *w, const json_t *s)
{
	const json_t *child = json_object_get(s, "not");
	size_t mark = check_enter(w->c, "not");

	if (json_is_object(child))
		walk_at(w, child, NULL, NULL, NULL, 1);
	check_leave(w->c, mark);
}

static void check_known(struct walk *w, const json_t *s, const json_t *alternative,
			const char *where, int depth);

/* What alternatives say of a field or an item is beside what the schema itself says of it. */
static void check_known_child(struct walk *w, const json_t *s, const json_t *child,
			      const char *step, const char *where, int depth)
{
	auto_free char *from = xasprintf("%s.%s", where, step);
	size_t mark;

	if (!child)
		return;
	if (!s) {
		auto_free char *why = xasprintf("because it is defined in %s", from);

		check_required(w->c, step, why);
		return;
	}
	mark = check_enter(w->c, step);
	check_known(w, s, child, from, depth + 1);
	check_leave(w->c, mark);
}

static void check_known(struct walk *w, const json_t *s, const json_t *alternative,
			const char *where, int depth)
{
	const json_t *fields = json_object_get(s, "properties"), *child;
	const char *key;

	if (depth > SCHEMA_DEPTH_MAX)
		return;
	check_known_child(w, json_object_get(s, "items"), json_object_get(alternative, "items"),
			  "items", where, depth);
	json_object_foreach(json_object_get(alternative, "properties"), key, child)
	{
		auto_free char *step = xasprintf("properties[%s]", key);

		check_known_child(w, json_object_get(fields, key), child, step, where, depth);
	}
}

static void walk_logic(struct walk *w, const json_t *s)
{
	static const char *const lists[] = {"allOf", "anyOf", "oneOf"};
	const struct rules *rules = w->at.rules ? w->at.rules->rules : NULL;
	const struct place at = w->at;
	bool outer = w->logic;
	json_t *child;
	size_t k;

	/* The two alternatives of an int-or-string may name their types. */
	w->logic = true;
	for (size_t i = 0; i < ARRAY_SIZE(lists); i++) {
		size_t n = 0;

		if (yes(s, "x-kubernetes-int-or-string"))
			break;
		check_foreach(w->c, s, lists[i], child)
		{
			const struct node *node =
				i == 0 && rules && n < rules->all_of.n ? rules->all_of.v[n] : NULL;

			n++;
			walk_at(w, child, node, node ? at.spine : NULL, NULL, 1);
		}
	}
	walk_not(w, s);
	w->logic = outer;
	if (outer)
		return;
	for (size_t i = 0; i < ARRAY_SIZE(lists); i++)
		json_array_foreach(json_object_get(s, lists[i]), k, child)
		{
			auto_free char *where = xasprintf(
				"%s.%s[%zu]", w->c->path.s ? w->c->path.s : "", lists[i], k);

			check_known(w, s, child, where, 0);
		}
}

static void walk(struct walk *w, const json_t *s, bool root)
{
	if (++w->depth > SCHEMA_DEPTH_MAX) {
		check_forbidden(w->c, NULL, "the schema is nested too deeply");
		w->depth--;
		return;
	}
	check_forbidden_words(w->c, s);
	if (w->logic)
		check_logic_words(w->c, s);
	check_type(w, s, root);
	w->item = false;
	check_extensions(w->c, s);
	check_pattern(w->c, s);
	if (root)
		check_root(w->c, s);
	else if (!w->logic)
		check_default(w->c, s, w->metadata);
	walk_properties(w, s, root);
	walk_one(w, s, "items");
	walk_one(w, s, "additionalProperties");
	walk_logic(w, s);
	check_rules(w->c, s, w->tree, &w->at, root);
	w->depth--;
}

void check_schema(struct check *c, const json_t *schema)
{
	struct walk w = {.c = c, .tree = tree_compile(schema, true)};

	w.at = (struct place){w.tree->root, w.tree->root, NULL, 1};
	walk(&w, schema, true);
	tree_free(w.tree);
}
