/* SPDX-License-Identifier: Apache-2.0 */
/*
 * OpenAPI of custom kinds: the schema of the definition with what every object has. Swagger 2.0
 * cannot say all of it; what it cannot is left out, so that clients do not refuse what the server
 * takes (apiextensions-apiserver pkg/controller/openapi/{builder,v2}).
 */
#include "custom.h"

#define EMBEDDED "\"x-kubernetes-embedded-resource\":true"
#define META "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"

static json_t *meta_ref(bool v3)
{
	const char *doc = "Standard object's metadata: name, labels and the rest that every "
			  "object has.";

	if (v3)
		return json_pack("{s:s, s:[{s:s}]}", "description", doc, "allOf", "$ref",
				 "#/components/schemas/" META);
	return json_pack("{s:s, s:s}", "description", doc, "$ref", "#/definitions/" META);
}

/* apiVersion, kind and metadata, in front of the object's own. */
static void add_meta(json_t *schema, bool v3)
{
	json_t *own = json_object_get(schema, "properties"), *all = json_object();

	json_object_set_new(all, "apiVersion",
			    json_pack("{s:s, s:s}", "description",
				      "APIVersion defines in which version of the API this object "
				      "is written.",
				      "type", "string"));
	json_object_set_new(all, "kind",
			    json_pack("{s:s, s:s}", "description", "What kind of object this is.",
				      "type", "string"));
	if (json_is_object(own))
		json_object_update_missing(all, own);
	json_object_set_new(all, "metadata", meta_ref(v3));
	json_object_set_new(schema, "properties", all);
}

static bool is_true(const json_t *s, const char *key)
{
	return json_is_true(json_object_get(s, key));
}

static void drop(json_t *s, const char *const *keys, size_t n)
{
	for (size_t i = 0; i < n; i++)
		json_object_del(s, keys[i]);
}

static void require(json_t *s, const char *name)
{
	json_t *list = json_object_get(s, "required"), *v;
	size_t i;

	if (!json_is_array(list)) {
		list = json_array();
		json_object_set_new(s, "required", list);
	}
	json_array_foreach(list, i, v) if (streq(json_string_value(v) ? json_string_value(v) : "",
						 name)) return;
	json_array_append_new(list, json_string(name));
}

static void require_no_more(json_t *s, const char *name)
{
	json_t *list = json_object_get(s, "required");

	for (size_t i = json_array_size(list); i-- > 0;) {
		const char *text = json_string_value(json_array_get(list, i));

		if (text && streq(text, name))
			json_array_remove(list, i);
	}
	if (json_is_array(list) && json_array_size(list) == 0)
		json_object_del(s, "required");
}

/* kubectl would refuse a null where something is required. */
static void allow_nulls(json_t *s)
{
	const char *key;
	json_t *child;

	json_object_foreach(json_object_get(s, "properties"), key,
			    child) if (is_true(child, "nullable")) require_no_more(s, key);
	if (is_true(json_object_get(s, "additionalProperties"), "nullable"))
		json_object_del(s, "required");
}

/* Takes out what Swagger 2.0 (or kubectl's use of it) has no words for. Values without a type may
 * be anything, but only when nothing is said of what is inside. */
static void simplify(json_t *s)
{
	static const char *const logic[] = {"allOf", "anyOf", "oneOf", "not", "default"};
	static const char *const inner[] = {"items", "properties"};
	bool open = is_true(s, "x-kubernetes-preserve-unknown-fields");
	bool nullable = is_true(s, "nullable");
	const char *type;

	drop(s, logic, ARRAY_SIZE(logic));
	allow_nulls(s);
	if (nullable || open)
		drop(s, inner, ARRAY_SIZE(inner));
	json_object_del(s, "nullable");
	type = json_str(s, "type", "");
	if (nullable || (streq(type, "object") && open) ||
	    (streq(type, "array") && !json_object_get(s, "items")) ||
	    is_true(s, "x-kubernetes-int-or-string"))
		json_object_del(s, "type");
}

/* An object in an object: it has its own kind. In v2 an open one stays free of properties. */
static void complete_embedded(json_t *s, bool v3)
{
	if (!v3 && is_true(s, "x-kubernetes-preserve-unknown-fields"))
		return;
	add_meta(s, v3);
	require(s, "kind");
	require(s, "apiVersion");
}

static void adapt(json_t *s, bool v3, int depth)
{
	const char *key;
	json_t *child;

	breathe();
	if (!json_is_object(s) || depth > SCHEMA_DEPTH_MAX)
		return;
	if (!v3)
		simplify(s);
	json_object_foreach(json_object_get(s, "properties"), key, child)
		adapt(child, v3, depth + 1);
	adapt(json_object_get(s, "items"), v3, depth + 1);
	adapt(json_object_get(s, "additionalProperties"), v3, depth + 1);
	if (is_true(s, "x-kubernetes-embedded-resource"))
		complete_embedded(s, v3);
}

/* ---- OpenAPI v3 as text ------------------------------------------------------------------- */

static void put_member(struct strbuf *b, const struct text_member *m)
{
	strbuf_addf(b, "%s%.*s:", b->s[b->len - 1] == '{' ? "" : ",", (int)m->key_len, m->key);
	strbuf_add(b, m->value, m->value_len);
}

static bool key_is(const struct text_member *m, const char *key)
{
	return m->key_len == strlen(key) + 2 && memcmp(m->key + 1, key, strlen(key)) == 0;
}

/* The object's own properties behind those of every object. */
static void put_properties(struct strbuf *b, const char *text, size_t len)
{
	static const char *const meta[] = {"apiVersion", "kind", "metadata"};
	json_auto_t *holder = json_object();
	const char *at = text, *end = text + len;
	struct text_member m;

	add_meta(holder, true);
	auto_free char *all = json_dumps(json_object_get(holder, "properties"), JSON_COMPACT);

	strbuf_addf(b, "%s\"properties\":", b->s[b->len - 1] == '{' ? "" : ",");
	strbuf_add(b, all, strlen(all) - 1);
	while (len && text_next_member(&at, end, &m)) {
		bool known = false;

		for (size_t i = 0; i < ARRAY_SIZE(meta); i++)
			known |= key_is(&m, meta[i]);
		if (!known)
			put_member(b, &m);
	}
	strbuf_addc(b, '}');
}

/* Nothing is parsed: definitions may be megabytes. */
static char *document_v3(const struct kind *k, const char *text, size_t len)
{
	const char *at = text, *end = text + len;
	struct text_member m, properties = {0};
	struct strbuf b = {0};

	strbuf_addc(&b, '{');
	while (text_next_member(&at, end, &m)) {
		if (key_is(&m, "properties") && *m.value == '{')
			properties = m;
		else if (!key_is(&m, "properties"))
			put_member(&b, &m);
	}
	put_properties(&b, properties.value ? properties.value : "", properties.value_len);
	strbuf_addf(&b,
		    ",\"x-kubernetes-group-version-kind\":[{\"group\":\"%s\",\"version\":\"%s\","
		    "\"kind\":\"%s\"}]}",
		    k->group, k->version, k->kind);
	return strbuf_steal(&b);
}

char *custom_document(const struct kind *k, bool v3)
{
	json_auto_t *schema = NULL;
	const char *source;
	size_t len;

	if (v3 && custom_schema_text(k->custom, &source, &len) && *source == '{' &&
	    !memmem(source, len, EMBEDDED, strlen(EMBEDDED)))
		return document_v3(k, source, len);
	schema = custom_schema(k->custom);
	if (!schema || (!v3 && is_true(schema, "x-kubernetes-preserve-unknown-fields"))) {
		json_decref(schema);
		schema = json_pack("{s:s}", "type", "object"); /* kubectl then refuses nothing */
	} else {
		adapt(schema, v3, 0);
		add_meta(schema, v3);
	}
	json_object_set_new(schema, "x-kubernetes-group-version-kind",
			    json_pack("[{s:s, s:s, s:s}]", "group", k->group, "version", k->version,
				      "kind", k->kind));
	return json_text(schema, NULL);
}

size_t custom_cost(const struct kind *k)
{
	const char *text;
	size_t len;

	return custom_schema_text(k->custom, &text, &len) ? len : 0;
}

uint32_t custom_hash(const struct kind *k, uint32_t h)
{
	const struct custom *c = k->custom->of;

	h = hash_fnv1a32(c->uid, strlen(c->uid), h);
	return hash_fnv1a32(&c->generation, sizeof(c->generation), h);
}
