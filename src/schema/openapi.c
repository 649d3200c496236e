/* SPDX-License-Identifier: Apache-2.0 */
/*
 * OpenAPI documents from the tables: v3 per group and version (kubectl explain, and its question
 * whether the server validates fields), Swagger 2.0 as a whole. They are written as text when
 * asked for and kept nowhere.
 *
 * PATCH operations name no requestBody: kubectl then computes strategic merge patches from the
 * types it was built with, which are the same as ours.
 */
#include "internal.h"

#include "config.h"

#define REF_V3 "#/components/schemas/"
#define REF_V2 "#/definitions/"
#define META_PREFIX "io.k8s.apimachinery.pkg.apis.meta.v1."
#define QUANTITY_NAME "io.k8s.apimachinery.pkg.api.resource.Quantity"
#define INT_OR_STRING_NAME "io.k8s.apimachinery.pkg.util.intstr.IntOrString"
#define TITLE "Coracle"
#define API_LEVEL "v1.33" /* of Kubernetes */

/* One document being written. */
struct document {
	struct strbuf b;
	bool v3;
	bool *used;		 /* by index in schema_messages */
	const char *api_version; /* of the kinds in it; NULL: all */
};

/* ---- JSON text -------------------------------------------------------------------------- */

static void put_string(struct strbuf *b, const char *s)
{
	strbuf_addc(b, '"');
	for (; *s; s++) {
		if (*s == '"' || *s == '\\')
			strbuf_addf(b, "\\%c", *s);
		else if ((unsigned char)*s < 0x20)
			strbuf_addf(b, "\\u%04x", (unsigned char)*s);
		else
			strbuf_addc(b, *s);
	}
	strbuf_addc(b, '"');
}

/* A comma, unless a bracket was just opened. */
static void put_comma(struct strbuf *b)
{
	char last = b->len ? b->s[b->len - 1] : '{';

	if (last != '{' && last != '[')
		strbuf_addc(b, ',');
}

static void put_key(struct strbuf *b, const char *key)
{
	put_comma(b);
	put_string(b, key);
	strbuf_addc(b, ':');
}

static void put_member(struct strbuf *b, const char *key, const char *value)
{
	put_key(b, key);
	put_string(b, value);
}

static void put_csv(struct strbuf *b, const char *key, const char *list)
{
	put_key(b, key);
	strbuf_addc(b, '[');
	for (;;) {
		size_t n = strcspn(list, ",");
		auto_free char *word = xstrndup(list, n);

		put_comma(b);
		put_string(b, word);
		if (!list[n])
			break;
		list += n + 1;
	}
	strbuf_addc(b, ']');
}

/* ---- schemas ---------------------------------------------------------------------------- */

static void put_ref(struct document *d, const char *name)
{
	auto_free char *ref = xasprintf("%s%s", d->v3 ? REF_V3 : REF_V2, name);

	if (!d->v3) {
		put_member(&d->b, "$ref", ref);
		return;
	}
	/* in 3.0 nothing may stand next to a $ref */
	put_key(&d->b, "allOf");
	strbuf_adds(&d->b, "[{");
	put_member(&d->b, "$ref", ref);
	strbuf_adds(&d->b, "}]");
}

/* "type" and "format", or a reference: the members of one value's schema. */
static void put_type(struct document *d, const struct field *f)
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
		[FIELD_RAW] = {NULL, NULL, META_PREFIX "FieldsV1"},
	};

	if (f->type == FIELD_OBJECT) {
		put_ref(d, f->message->name);
	} else if (types[f->type].ref) {
		put_ref(d, types[f->type].ref);
	} else {
		put_member(&d->b, "type", types[f->type].type);
		if (types[f->type].format)
			put_member(&d->b, "format", types[f->type].format);
	}
}

static void put_list_extensions(struct document *d, const struct field *f)
{
	bool retain = f->flags & FIELD_RETAIN_KEYS;

	if (f->list == LIST_MAP)
		put_csv(&d->b, "x-kubernetes-list-map-keys", f->ssa_keys);
	if (f->list == LIST_MAP || f->list == LIST_SET || f->list == LIST_ATOMIC)
		put_member(&d->b, "x-kubernetes-list-type",
			   f->list == LIST_MAP	 ? "map"
			   : f->list == LIST_SET ? "set"
						 : "atomic");
	if (f->flags & FIELD_MAP_ATOMIC)
		put_member(&d->b, "x-kubernetes-map-type", "atomic");
	if (f->smp_key)
		put_member(&d->b, "x-kubernetes-patch-merge-key", f->smp_key);
	if (f->smp_merge || retain)
		put_member(&d->b, "x-kubernetes-patch-strategy",
			   f->smp_merge && retain ? "merge,retainKeys"
			   : retain		  ? "retainKeys"
						  : "merge");
}

static void put_property(struct document *d, const struct field *f)
{
	put_key(&d->b, f->name);
	strbuf_addc(&d->b, '{');
	if (f->doc)
		put_member(&d->b, "description", f->doc);
	if (f->list == LIST_NONE) {
		put_type(d, f);
		if (f->dflt) {
			put_key(&d->b, "default");
			strbuf_adds(&d->b, f->dflt);
		}
		if (f->rule && str_starts(f->rule, "enum:"))
			put_csv(&d->b, "enum", f->rule + strlen("enum:"));
	} else {
		bool map = f->list == LIST_STRING_MAP;

		put_member(&d->b, "type", map ? "object" : "array");
		put_key(&d->b, map ? "additionalProperties" : "items");
		strbuf_addc(&d->b, '{');
		put_type(d, f);
		strbuf_addc(&d->b, '}');
	}
	put_list_extensions(d, f);
	strbuf_addc(&d->b, '}');
}

static void put_properties(struct document *d, const struct message *m)
{
	for (size_t i = 0; i < m->n_fields; i++) {
		if (*m->fields[i].name)
			put_property(d, &m->fields[i]);
		else
			put_properties(d, m->fields[i].message);
	}
}

static void put_required(struct document *d, const struct message *m)
{
	size_t n = 0;

	for (size_t i = 0; i < m->n_fields; i++) {
		if (!*m->fields[i].name || !(m->fields[i].flags & FIELD_REQUIRED))
			continue;
		if (n++ == 0) {
			put_key(&d->b, "required");
			strbuf_addc(&d->b, '[');
		}
		put_comma(&d->b);
		put_string(&d->b, m->fields[i].name);
	}
	if (n)
		strbuf_addc(&d->b, ']');
}

static void put_gvk(struct strbuf *b, const char *group, const char *version, const char *kind)
{
	strbuf_addc(b, '{');
	put_member(b, "group", group);
	put_member(b, "version", version);
	put_member(b, "kind", kind);
	strbuf_addc(b, '}');
}

/* Types that stand by themselves say which kind they are. */
static void put_message_gvk(struct document *d, const struct message *m)
{
	const char *kind = strrchr(m->name, '.') + 1;

	if (!message_field(m, "apiVersion") || !message_field(m, "kind"))
		return;
	for (size_t i = 0; i < n_schema_packages; i++) {
		const struct schema_package *p = &schema_packages[i];
		size_t len = strlen(p->prefix);

		if (strncmp(m->name, p->prefix, len) != 0 || m->name + len + 1 != kind)
			continue;
		put_key(&d->b, "x-kubernetes-group-version-kind");
		strbuf_addc(&d->b, '[');
		put_gvk(&d->b, p->group, p->version, kind);
		strbuf_addc(&d->b, ']');
	}
}

static void put_message(struct document *d, const struct message *m)
{
	put_key(&d->b, m->name);
	strbuf_addc(&d->b, '{');
	if (m->doc)
		put_member(&d->b, "description", m->doc);
	put_member(&d->b, "type", "object");
	put_key(&d->b, "properties");
	strbuf_addc(&d->b, '{');
	put_properties(d, m);
	strbuf_addc(&d->b, '}');
	put_required(d, m);
	put_message_gvk(d, m);
	strbuf_addc(&d->b, '}');
}

/* The types whose JSON is not that of their message. */
static void put_special_messages(struct document *d)
{
	static const struct {
		const char *name, *v3, *v2;
	} special[] = {
		{META_PREFIX "Time",
		 "{\"description\":\"A point in time, RFC 3339.\",\"type\":\"string\","
		 "\"format\":\"date-time\"}",
		 NULL},
		{META_PREFIX "MicroTime",
		 "{\"description\":\"A point in time with microseconds, RFC 3339.\","
		 "\"type\":\"string\",\"format\":\"date-time\"}",
		 NULL},
		{META_PREFIX "FieldsV1",
		 "{\"description\":\"A set of fields, in the form of a trie.\","
		 "\"type\":\"object\"}",
		 NULL},
		{QUANTITY_NAME,
		 "{\"description\":\"A number with a unit suffix: 100m, 0.5, 64Mi, 1Gi, 2k.\","
		 "\"oneOf\":[{\"type\":\"string\"},{\"type\":\"number\"}]}",
		 "{\"description\":\"A number with a unit suffix: 100m, 0.5, 64Mi, 1Gi, 2k.\","
		 "\"type\":\"string\"}"},
		{INT_OR_STRING_NAME,
		 "{\"description\":\"A number, or text such as a port name or 25%.\","
		 "\"format\":\"int-or-string\",\"oneOf\":[{\"type\":\"integer\"},"
		 "{\"type\":\"string\"}]}",
		 "{\"description\":\"A number, or text such as a port name or 25%.\","
		 "\"type\":\"string\",\"format\":\"int-or-string\"}"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(special); i++) {
		put_key(&d->b, special[i].name);
		strbuf_adds(&d->b, d->v3 || !special[i].v2 ? special[i].v3 : special[i].v2);
	}
}

static void mark_used(struct document *d, const struct message *m)
{
	size_t index;

	if (m->custom) /* put_custom() */
		m = message_find(META_PREFIX "ObjectMeta");
	index = (size_t)(m - schema_messages);
	if (d->used[index])
		return;
	d->used[index] = true;
	for (size_t i = 0; i < m->n_fields; i++)
		if (m->fields[i].type == FIELD_OBJECT)
			mark_used(d, m->fields[i].message);
}

static bool is_in(const struct document *d, const struct kind *k)
{
	char buf[API_VERSION_MAX];

	return !d->api_version || streq(kind_api_version(k, buf), d->api_version);
}

static void put_custom(struct document *d)
{
	const struct kind *k;

	for (size_t i = 0; (k = kind_next(&i));) {
		auto_free char *text = NULL;

		if (!k->custom || !is_in(d, k))
			continue;
		text = custom_document(k, d->v3);
		put_key(&d->b, k->message->name);
		strbuf_adds(&d->b, text);
	}
}

static void put_schemas(struct document *d)
{
	for (size_t i = 0; i < n_schema_messages; i++)
		if (d->used[i])
			put_message(d, &schema_messages[i]);
	put_custom(d);
	put_special_messages(d);
}

/* ---- operations ------------------------------------------------------------------------- */

struct operation {
	const char *method, *action;
	unsigned verb;
	const char *query; /* comma-separated parameters */
};

static const struct operation on_list[] = {
	{"get", "list", VERB_LIST,
	 "allowWatchBookmarks,continue,fieldSelector,labelSelector,limit,resourceVersion,"
	 "resourceVersionMatch,sendInitialEvents,timeoutSeconds,watch"},
	{"post", "post", VERB_CREATE, "dryRun,fieldManager,fieldValidation"},
	{"delete", "deletecollection", VERB_DELETECOLLECTION,
	 "dryRun,fieldSelector,gracePeriodSeconds,labelSelector,propagationPolicy"},
};
static const struct operation on_item[] = {
	{"get", "get", VERB_GET, "pretty"},
	{"put", "put", VERB_UPDATE, "dryRun,fieldManager,fieldValidation"},
	{"patch", "patch", VERB_PATCH, "dryRun,fieldManager,fieldValidation,force"},
	{"delete", "delete", VERB_DELETE, "dryRun,gracePeriodSeconds,propagationPolicy"},
};

static void put_parameters(struct document *d, const char *in, const char *names)
{
	while (*names) {
		size_t n = strcspn(names, ",");
		auto_free char *name = xstrndup(names, n);

		put_comma(&d->b);
		strbuf_addc(&d->b, '{');
		put_member(&d->b, "in", in);
		put_member(&d->b, "name", name);
		if (streq(in, "path")) {
			put_key(&d->b, "required");
			strbuf_adds(&d->b, "true");
		}
		if (d->v3) {
			put_key(&d->b, "schema");
			strbuf_adds(&d->b, "{\"type\":\"string\"}");
		} else {
			put_member(&d->b, "type", "string");
		}
		strbuf_addc(&d->b, '}');
		names += n + (names[n] == ',');
	}
}

static void put_operation(struct document *d, const struct kind *k, const struct operation *op)
{
	put_key(&d->b, op->method);
	strbuf_addc(&d->b, '{');
	put_key(&d->b, "parameters");
	strbuf_addc(&d->b, '[');
	put_parameters(d, "query", op->query);
	strbuf_addc(&d->b, ']');
	put_key(&d->b, "responses");
	strbuf_adds(&d->b, "{\"200\":{\"description\":\"OK\"}}");
	put_member(&d->b, "x-kubernetes-action", op->action);
	put_key(&d->b, "x-kubernetes-group-version-kind");
	put_gvk(&d->b, k->group, k->version, k->kind);
	strbuf_addc(&d->b, '}');
}

static void put_path(struct document *d, const struct kind *k, bool item)
{
	const struct operation *ops = item ? on_item : on_list;
	size_t n = item ? ARRAY_SIZE(on_item) : ARRAY_SIZE(on_list);
	auto_free char *path = xasprintf("/%s/%s%s%s%s/%s%s", *k->group ? "apis" : "api", k->group,
					 *k->group ? "/" : "", k->version,
					 k->namespaced ? "/namespaces/{namespace}" : "", k->plural,
					 item ? "/{name}" : "");

	put_key(&d->b, path);
	strbuf_addc(&d->b, '{');
	for (size_t i = 0; i < n; i++)
		if (k->verbs & ops[i].verb)
			put_operation(d, k, &ops[i]);
	put_key(&d->b, "parameters");
	strbuf_addc(&d->b, '[');
	put_parameters(d, "path",
		       k->namespaced ? (item ? "name,namespace" : "namespace")
				     : (item ? "name" : ""));
	strbuf_adds(&d->b, "]}");
}

static void mark_kind(struct document *d, const struct kind *k)
{
	mark_used(d, k->message);
	for (size_t i = 0; i < k->n_subresources; i++) {
		const struct subresource *s = &k->subresources[i];
		auto_free char *api_version = NULL;
		const struct message *m;

		if (!s->kind)
			continue;
		api_version = xasprintf("%s%s%s", s->group, *s->group ? "/" : "", s->version);
		m = message_for(api_version, s->kind);
		if (m)
			mark_used(d, m);
	}
}

/* Paths of the document's kinds. Returns their number. */
static size_t put_paths(struct document *d)
{
	const struct kind *k;
	size_t n = 0;

	put_key(&d->b, "paths");
	strbuf_addc(&d->b, '{');
	for (size_t i = 0; (k = kind_next(&i));) {
		if (!is_in(d, k))
			continue;
		put_path(d, k, false);
		put_path(d, k, true);
		mark_kind(d, k);
		n++;
	}
	strbuf_addc(&d->b, '}');
	return n;
}

/* ---- documents -------------------------------------------------------------------------- */

char *openapi_v3_document(const char *path, size_t *ret_len)
{
	auto_free bool *used = xcalloc(n_schema_messages, sizeof(*used));
	struct document d = {.v3 = true, .used = used};
	const char *api_version = str_starts(path, "apis/")  ? path + strlen("apis/")
				  : str_starts(path, "api/") ? path + strlen("api/")
							     : NULL;

	/* the core group is below /api, the named ones below /apis */
	if (!api_version || (strchr(api_version, '/') != NULL) != str_starts(path, "apis/"))
		return NULL;
	d.api_version = api_version;
	strbuf_adds(&d.b, "{\"openapi\":\"3.0.0\",\"info\":{\"title\":\"" TITLE
			  "\",\"version\":\"" API_LEVEL "\"}");
	if (put_paths(&d) == 0) {
		strbuf_done(&d.b);
		return NULL;
	}
	put_key(&d.b, "components");
	strbuf_adds(&d.b, "{\"schemas\":{");
	put_schemas(&d);
	strbuf_adds(&d.b, "}}}");
	*ret_len = d.b.len;
	return strbuf_steal(&d.b);
}

char *openapi_v2_document(size_t *ret_len)
{
	auto_free bool *used = xcalloc(n_schema_messages, sizeof(*used));
	struct document d = {.used = used};

	strbuf_adds(&d.b, "{\"swagger\":\"2.0\",\"info\":{\"title\":\"" TITLE
			  "\",\"version\":\"" API_LEVEL "\"}");
	put_paths(&d);
	put_key(&d.b, "definitions");
	strbuf_addc(&d.b, '{');
	put_schemas(&d);
	strbuf_adds(&d.b, "}}");
	*ret_len = d.b.len;
	return strbuf_steal(&d.b);
}

/* Swagger "2.0", info {title "Kubernetes", version "v1.33"}: an empty gnostic Document, enough for
 * clients that have the v3 documents too. */
const void *openapi_v2_protobuf(size_t *ret_len)
{
	static const char document[] = "\x0a\x03"
				       "2.0"
				       "\x12\x13\x0a\x0a"
				       "Kubernetes"
				       "\x12\x05" API_LEVEL;

	*ret_len = sizeof(document) - 1;
	return document;
}

static uint32_t hash_text(const char *s, uint32_t seed)
{
	return s ? hash_fnv1a32(s, strlen(s) + 1, seed) : seed;
}

/* Changes with anything in the tables that the documents show. */
static uint32_t hash_tables(uint32_t h)
{
	for (size_t i = 0; i < n_schema_messages; i++) {
		const struct message *m = &schema_messages[i];

		h = hash_text(m->doc, hash_text(m->name, h));
		for (size_t j = 0; j < m->n_fields; j++) {
			const struct field *f = &m->fields[j];
			uint8_t bytes[] = {f->type, f->list, f->flags, f->smp_merge};

			h = hash_fnv1a32(bytes, sizeof(bytes), h);
			h = hash_text(f->dflt, hash_text(f->doc, hash_text(f->name, h)));
			h = hash_text(f->rule, hash_text(f->ssa_keys, hash_text(f->smp_key, h)));
		}
	}
	for (size_t i = 0; i < n_schema_kinds; i++)
		h = hash_text(schema_kinds[i]->kind, hash_text(schema_kinds[i]->plural, h));
	return h;
}

/* The same of the custom kinds of a group and version; h when it has none. */
static uint32_t hash_customs(const char *api_version, uint32_t h)
{
	char buf[API_VERSION_MAX];
	const struct kind *k;

	for (size_t i = 0; (k = kind_next(&i));)
		if (k->custom && streq(kind_api_version(k, buf), api_version))
			h = custom_hash(k, h);
	return h;
}

json_t *openapi_v3_index(void)
{
	/* Clients keep documents by this for as long as they like. */
	uint32_t lo = hash_tables(hash_text(PACKAGE_VERSION, 2166136261U));
	uint32_t hi = hash_tables(hash_text(PACKAGE_VERSION, lo));
	json_t *paths = json_object();
	const struct kind *k;

	for (size_t i = 0; (k = kind_next(&i));) {
		char version[API_VERSION_MAX];
		auto_free char *path = xasprintf("%s/%s", *k->group ? "apis" : "api",
						 kind_api_version(k, version));

		if (json_object_get(paths, path))
			continue;
		json_object_set_new(paths, path,
				    json_pack("{s:o}", "serverRelativeURL",
					      json_sprintf("/openapi/v3/%s?hash=%08X%08X", path,
							   hash_customs(version, hi),
							   hash_customs(version, lo))));
	}
	return json_pack("{s:o}", "paths", paths);
}
