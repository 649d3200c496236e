/* SPDX-License-Identifier: Apache-2.0 */
/* Types of the tables as JSON schemas of Swagger 2.0 and OpenAPI 3.0. */
#include "openapi.h"

#define REF_V3 "#/components/schemas/"
#define REF_V2 "#/definitions/"
#define QUANTITY_NAME "io.k8s.apimachinery.pkg.api.resource.Quantity"
#define INT_OR_STRING_NAME "io.k8s.apimachinery.pkg.util.intstr.IntOrString"
#define RAW_NAME "io.k8s.apimachinery.pkg.runtime.RawExtension"
#define CRD_PREFIX "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1."

/* ---- JSON text -------------------------------------------------------------------------- */

void openapi_string(struct strbuf *b, const char *s)
{
	strbuf_addc(b, '"');
	while (*s) {
		size_t plain = 0;

		while ((unsigned char)s[plain] >= 0x20 && s[plain] != '"' && s[plain] != '\\')
			plain++;
		strbuf_add(b, s, plain);
		s += plain;
		if (*s == '"' || *s == '\\')
			strbuf_addf(b, "\\%c", *s++);
		else if (*s)
			strbuf_addf(b, "\\u%04x", (unsigned char)*s++);
	}
	strbuf_addc(b, '"');
}

void openapi_comma(struct strbuf *b)
{
	char last = b->len ? b->s[b->len - 1] : '{';

	if (last != '{' && last != '[')
		strbuf_addc(b, ',');
}

void openapi_key(struct strbuf *b, const char *key)
{
	openapi_comma(b);
	openapi_string(b, key);
	strbuf_addc(b, ':');
}

void openapi_member(struct strbuf *b, const char *key, const char *value)
{
	openapi_key(b, key);
	openapi_string(b, value);
}

void openapi_csv(struct strbuf *b, const char *key, const char *list)
{
	openapi_key(b, key);
	strbuf_addc(b, '[');
	for (;;) {
		size_t n = strcspn(list, ",");
		auto_free char *word = xstrndup(list, n);

		openapi_comma(b);
		openapi_string(b, word);
		if (!list[n])
			break;
		list += n + 1;
	}
	strbuf_addc(b, ']');
}

void openapi_gvk(struct strbuf *b, const char *group, const char *version, const char *kind)
{
	strbuf_addc(b, '{');
	openapi_member(b, "group", group);
	openapi_member(b, "kind", kind);
	openapi_member(b, "version", version);
	strbuf_addc(b, '}');
}

void openapi_ref(struct openapi *d, const char *name)
{
	auto_free char *ref = xasprintf("%s%s", d->v3 ? REF_V3 : REF_V2, name);

	openapi_member(&d->b, "$ref", ref);
}

/* ---- values ------------------------------------------------------------------------------ */

/* A reference that has company: in 3.0 nothing may stand next to a $ref. */
static void put_ref(struct openapi *d, const char *name)
{
	if (!d->v3) {
		openapi_ref(d, name);
		return;
	}
	openapi_key(&d->b, "allOf");
	strbuf_adds(&d->b, "[{");
	openapi_ref(d, name);
	strbuf_adds(&d->b, "}]");
}

/* The tables take any JSON here; what is said of it: */
static void put_raw(struct openapi *d, const struct message *m, const struct field *f)
{
	if (streq(f->name, "fieldsV1"))
		put_ref(d, META_PREFIX "FieldsV1");
	else if (streq(f->name, "extra"))
		strbuf_adds(&d->b, "\"type\":\"array\",\"items\":{\"type\":\"string\"}");
	else if (streq(f->name, "dependencies"))
		put_ref(d, CRD_PREFIX "JSONSchemaPropsOrStringArray");
	else
		put_ref(d, str_starts(m->name, CRD_PREFIX) ? CRD_PREFIX "JSON" : RAW_NAME);
}

/* "type" and "format", or a reference: the members of one value's schema. */
static void put_type(struct openapi *d, const struct message *m, const struct field *f)
{
	static const struct {
		const char *type, *format, *ref;
	} types[] = {
		[FIELD_STRING] = {"string", NULL, NULL},
		[FIELD_BOOL] = {"boolean", NULL, NULL},
		[FIELD_INT32] = {"integer", "int32", NULL},
		[FIELD_INT64] = {"integer", "int64", NULL},
		[FIELD_DOUBLE] = {"number", "double", NULL},
		[FIELD_BYTES] = {"string", "byte", NULL},
		[FIELD_TIME] = {NULL, NULL, META_PREFIX "Time"},
		[FIELD_MICROTIME] = {NULL, NULL, META_PREFIX "MicroTime"},
		[FIELD_DURATION] = {"string", NULL, NULL},
		[FIELD_QUANTITY] = {NULL, NULL, QUANTITY_NAME},
		[FIELD_INT_OR_STRING] = {NULL, NULL, INT_OR_STRING_NAME},
		[FIELD_OBJECT] = {NULL, NULL, NULL},
		[FIELD_RAW] = {NULL, NULL, NULL},
	};

	if (f->type == FIELD_OBJECT) {
		put_ref(d, f->message->name);
	} else if (f->type == FIELD_RAW) {
		put_raw(d, m, f);
	} else if (types[f->type].ref) {
		put_ref(d, types[f->type].ref);
	} else {
		openapi_member(&d->b, "type", types[f->type].type);
		if (types[f->type].format)
			openapi_member(&d->b, "format", types[f->type].format);
	}
}

static void put_list_extensions(struct openapi *d, const struct field *f)
{
	const char *map_type = f->flags & FIELD_MAP_ATOMIC ? "atomic" : NULL;
	bool retain = f->flags & FIELD_RETAIN_KEYS;

	if (f->list == LIST_MAP)
		openapi_csv(&d->b, "x-kubernetes-list-map-keys", f->ssa_keys);
	if (f->list == LIST_MAP || f->list == LIST_SET || f->list == LIST_ATOMIC)
		openapi_member(&d->b, "x-kubernetes-list-type",
			       f->list == LIST_MAP   ? "map"
			       : f->list == LIST_SET ? "set"
						     : "atomic");
	if (f->type == FIELD_OBJECT && f->message->atomic)
		map_type =
			f->list == LIST_NONE && !(f->flags & FIELD_MAP_ATOMIC) ? "granular" : NULL;
	if (map_type)
		openapi_member(&d->b, "x-kubernetes-map-type", map_type);
	if (f->smp_key)
		openapi_member(&d->b, "x-kubernetes-patch-merge-key", f->smp_key);
	if (f->smp_merge || retain)
		openapi_member(&d->b, "x-kubernetes-patch-strategy",
			       f->smp_merge && retain ? "merge,retainKeys"
			       : retain		      ? "retainKeys"
						      : "merge");
}

/* ---- messages ---------------------------------------------------------------------------- */

/* As upstream: v2 tells of no defaults, for kubectl's sake; in v3 what is always written is zero
 * when nobody says otherwise. */
static void put_default(struct openapi *d, const struct field *f, bool item)
{
	static const char *const zero[] = {
		[FIELD_STRING] = "\"\"", [FIELD_BOOL] = "false", [FIELD_INT32] = "0",
		[FIELD_INT64] = "0",	 [FIELD_DOUBLE] = "0",	 [FIELD_OBJECT] = "{}",
	};
	const char *value = f->type < ARRAY_SIZE(zero) ? zero[f->type] : NULL;

	if (!item && f->dflt && f->type != FIELD_OBJECT)
		value = f->dflt;
	else if (!item && ((f->flags & FIELD_POINTER) ||
			   (f->type != FIELD_OBJECT && !(f->flags & FIELD_ALWAYS))))
		value = NULL;
	if (!d->v3 || !value)
		return;
	openapi_key(&d->b, "default");
	strbuf_adds(&d->b, value);
}

static void put_property(struct openapi *d, const struct message *m, const struct field *f)
{
	openapi_key(&d->b, f->name);
	strbuf_addc(&d->b, '{');
	if (f->doc)
		openapi_member(&d->b, "description", f->doc);
	if (f->list == LIST_NONE) {
		put_type(d, m, f);
		put_default(d, f, false);
		if (f->rule && str_starts(f->rule, "enum:"))
			openapi_csv(&d->b, "enum", f->rule + strlen("enum:"));
	} else {
		bool map = f->list == LIST_STRING_MAP;

		openapi_member(&d->b, "type", map ? "object" : "array");
		openapi_key(&d->b, map ? "additionalProperties" : "items");
		strbuf_addc(&d->b, '{');
		put_type(d, m, f);
		put_default(d, f, true);
		strbuf_addc(&d->b, '}');
	}
	put_list_extensions(d, f);
	strbuf_addc(&d->b, '}');
}

static void put_properties(struct openapi *d, const struct message *m)
{
	for (size_t i = 0; i < m->n_fields; i++) {
		if (*m->fields[i].name)
			put_property(d, m, &m->fields[i]);
		else
			put_properties(d, m->fields[i].message);
	}
}

static bool is_required(const struct field *f)
{
	return (f->flags & FIELD_NEEDED) ||
	       ((f->flags & FIELD_ALWAYS) && !(f->flags & FIELD_OPTIONAL));
}

/* Names of the fields that must be there, those of inline messages too. Returns n and their number.
 */
static size_t put_required(struct openapi *d, const struct message *m, size_t n)
{
	for (size_t i = 0; i < m->n_fields; i++) {
		const struct field *f = &m->fields[i];

		if (!*f->name) {
			n = put_required(d, f->message, n);
		} else if (is_required(f)) {
			if (n++ == 0) {
				openapi_key(&d->b, "required");
				strbuf_addc(&d->b, '[');
			}
			openapi_comma(&d->b);
			openapi_string(&d->b, f->name);
		}
	}
	return n;
}

static bool is_kind(const char *group, const char *version, const char *kind)
{
	const struct kind *k;

	for (size_t i = 0; (k = kind_next(&i));) {
		if (streq(k->group, group) && streq(k->version, version) && streq(k->kind, kind))
			return true;
		for (size_t j = 0; j < k->n_subresources; j++) {
			const struct subresource *s = &k->subresources[j];

			if (s->kind && streq(s->kind, kind) && streq(s->group, group) &&
			    streq(s->version, version))
				return true;
		}
	}
	return false;
}

/* Kinds of meta.k8s.io that are the core group's when they travel alone. */
static bool is_common(const char *kind)
{
	return streq(kind, "Status") || streq(kind, "APIResourceList");
}

/* DeleteOptions and its like belong to every group and version. */
static void put_every_gvk(struct openapi *d, const char *kind)
{
	const struct kind *k, *last = NULL;
	auto_strv seen = {0};

	openapi_key(&d->b, "x-kubernetes-group-version-kind");
	strbuf_addc(&d->b, '[');
	for (size_t i = 0; (k = kind_next(&i)); last = k) {
		char version[API_VERSION_MAX];
		bool known = false;

		if (k->custom ||
		    (last && streq(last->group, k->group) && streq(last->version, k->version)))
			continue;
		kind_api_version(k, version);
		for (size_t j = 0; !known && j < seen.n; j++)
			known = streq(seen.v[j], version);
		if (known)
			continue;
		strv_add(&seen, version);
		openapi_comma(&d->b);
		openapi_gvk(&d->b, k->group, k->version, kind);
	}
	strbuf_addc(&d->b, ']');
}

/* Types that stand by themselves say which kind they are. */
static void put_message_gvk(struct openapi *d, const struct message *m)
{
	const char *kind = strrchr(m->name, '.') + 1;

	if (streq(m->name, META_PREFIX "DeleteOptions") ||
	    streq(m->name, META_PREFIX "WatchEvent")) {
		put_every_gvk(d, kind);
		return;
	}
	for (size_t i = 0; i < n_schema_packages; i++) {
		const struct schema_package *p = &schema_packages[i];
		size_t len = strlen(p->prefix);

		if (strncmp(m->name, p->prefix, len) != 0 || m->name + len + 1 != kind)
			continue;
		bool common = streq(p->group, "meta.k8s.io");

		if (common ? !is_common(kind) : !is_kind(p->group, p->version, kind))
			continue;
		openapi_key(&d->b, "x-kubernetes-group-version-kind");
		strbuf_addc(&d->b, '[');
		openapi_gvk(&d->b, common ? "" : p->group, p->version, kind);
		strbuf_addc(&d->b, ']');
	}
}

void openapi_message(struct openapi *d, const struct message *m)
{
	strbuf_addc(&d->b, '{');
	if (m->doc)
		openapi_member(&d->b, "description", m->doc);
	openapi_member(&d->b, "type", "object");
	openapi_key(&d->b, "properties");
	strbuf_addc(&d->b, '{');
	put_properties(d, m);
	strbuf_addc(&d->b, '}');
	if (put_required(d, m, 0))
		strbuf_addc(&d->b, ']');
	if (m->atomic)
		openapi_member(&d->b, "x-kubernetes-map-type", "atomic");
	put_message_gvk(d, m);
	strbuf_addc(&d->b, '}');
}

/* ---- lists ------------------------------------------------------------------------------- */

char *openapi_list_name(const struct kind *k)
{
	return xasprintf("%.*s.%s", (int)(strrchr(k->message->name, '.') - k->message->name),
			 k->message->name, k->list_kind);
}

/* One member that is a reference, with what it is. */
static void put_reference(struct openapi *d, const char *key, const char *doc, const char *name)
{
	openapi_key(&d->b, key);
	strbuf_addc(&d->b, '{');
	openapi_member(&d->b, "description", doc);
	put_ref(d, name);
	strbuf_addc(&d->b, '}');
}

static void put_text(struct openapi *d, const char *key, const char *doc)
{
	openapi_key(&d->b, key);
	strbuf_addc(&d->b, '{');
	openapi_member(&d->b, "description", doc);
	strbuf_adds(&d->b, ",\"type\":\"string\"}");
}

void openapi_list(struct openapi *d, const struct kind *k)
{
	auto_free char *doc = xasprintf("%s is a list of %s.", k->list_kind, k->kind);
	auto_free char *items = xasprintf("List of %s.", k->plural);

	strbuf_addc(&d->b, '{');
	openapi_member(&d->b, "description", doc);
	openapi_member(&d->b, "type", "object");
	openapi_csv(&d->b, "required", "items");
	openapi_key(&d->b, "properties");
	strbuf_addc(&d->b, '{');
	put_text(d, "apiVersion",
		 "APIVersion defines in which version of the API this object is written.");
	openapi_key(&d->b, "items");
	strbuf_addc(&d->b, '{');
	openapi_member(&d->b, "description", items);
	openapi_member(&d->b, "type", "array");
	openapi_key(&d->b, "items");
	strbuf_addc(&d->b, '{');
	put_ref(d, k->message->name);
	strbuf_adds(&d->b, "}}");
	put_text(d, "kind", "What kind of object this is.");
	put_reference(d, "metadata", "Standard list metadata: which version the list shows.",
		      META_PREFIX "ListMeta");
	strbuf_addc(&d->b, '}');
	openapi_key(&d->b, "x-kubernetes-group-version-kind");
	strbuf_addc(&d->b, '[');
	openapi_gvk(&d->b, k->group, k->version, k->list_kind);
	strbuf_adds(&d->b, "]}");
}

/* ---- types without a message --------------------------------------------------------------- */

struct special {
	const char *name, *doc;
	const char *v3, *v2; /* behind the description; v2 NULL: the same */
	const char *with;    /* only where this message is */
};
static const struct special specials[] = {
	{META_PREFIX "Time", "A point in time, RFC 3339.",
	 "\"type\":\"string\",\"format\":\"date-time\"", NULL, NULL},
	{META_PREFIX "MicroTime", "A point in time with microseconds, RFC 3339.",
	 "\"type\":\"string\",\"format\":\"date-time\"", NULL, NULL},
	{META_PREFIX "FieldsV1", "A set of fields, in the form of a trie.", "\"type\":\"object\"",
	 NULL, NULL},
	{META_PREFIX "Patch", "A change of an object, in one of the forms of patches.",
	 "\"type\":\"object\"", NULL, NULL},
	{RAW_NAME, "Any object; which kind it is, it says itself.", "\"type\":\"object\"", NULL,
	 NULL},
	{QUANTITY_NAME, "A number with a unit suffix: 100m, 0.5, 64Mi, 1Gi, 2k.",
	 "\"oneOf\":[{\"type\":\"string\"},{\"type\":\"number\"}]", "\"type\":\"string\"", NULL},
	{INT_OR_STRING_NAME, "A number, or text such as a port name or 25%.",
	 "\"format\":\"int-or-string\",\"oneOf\":[{\"type\":\"integer\"},{\"type\":\"string\"}]",
	 "\"type\":\"string\",\"format\":\"int-or-string\"", NULL},
	{CRD_PREFIX "JSON", "Any value.", NULL, NULL, CRD_PREFIX "JSONSchemaProps"},
	{CRD_PREFIX "JSONSchemaPropsOrArray", "A schema, or an array of schemas.", NULL, NULL,
	 CRD_PREFIX "JSONSchemaProps"},
	{CRD_PREFIX "JSONSchemaPropsOrBool", "A schema, or whether anything or nothing is allowed.",
	 NULL, NULL, CRD_PREFIX "JSONSchemaProps"},
	{CRD_PREFIX "JSONSchemaPropsOrStringArray", "A schema, or an array of names.", NULL, NULL,
	 CRD_PREFIX "JSONSchemaProps"},
};

bool openapi_is_special(const struct message *m)
{
	for (size_t i = 0; i < ARRAY_SIZE(specials); i++)
		if (streq(specials[i].name, m->name))
			return true;
	return false;
}

const char *openapi_special(struct openapi *d, size_t i)
{
	const struct special *s = &specials[i];
	const char *type;

	if (i >= ARRAY_SIZE(specials))
		return NULL;
	if (s->with && !d->used[message_find(s->with) - schema_messages])
		return "";
	type = d->v3 || !s->v2 ? s->v3 : s->v2;
	strbuf_addc(&d->b, '{');
	openapi_member(&d->b, "description", s->doc);
	if (type)
		strbuf_addf(&d->b, ",%s", type);
	strbuf_addc(&d->b, '}');
	return s->name;
}
