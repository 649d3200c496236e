/* SPDX-License-Identifier: Apache-2.0 */
/*
 * OpenAPI documents from the tables: v3 per group and version (kubectl explain, and its question
 * whether the server validates fields), Swagger 2.0 as a whole, as JSON or as the protobuf of
 * gnostic. They are made piece by piece when they are asked for, and kept nowhere: each path and
 * each definition is written as JSON, which for protobuf is then translated.
 */
#include "openapi.h"

#include "config.h"

#define TITLE "Coracle"
#define API_LEVEL "v1.33" /* of Kubernetes */
#define INFO "\"info\":{\"title\":\"" TITLE "\",\"version\":\"" API_LEVEL "\"}"
#define TOKEN                                                                                      \
	"{\"BearerToken\":{\"description\":\"Bearer Token authentication\",\"in\":\"header\","     \
	"\"name\":\"authorization\",\"type\":\"apiKey\"}}"

/* ---- what is in a document -------------------------------------------------------------- */

static void mark_used(struct openapi *d, const struct message *m);

static void mark_fields(struct openapi *d, const struct message *m)
{
	for (size_t i = 0; i < m->n_fields; i++) {
		if (m->fields[i].type != FIELD_OBJECT)
			continue;
		if (*m->fields[i].name)
			mark_used(d, m->fields[i].message);
		else
			mark_fields(d, m->fields[i].message);
	}
}

static void mark_used(struct openapi *d, const struct message *m)
{
	size_t index;

	if (m->custom) /* custom_document() */
		m = message_find(META_PREFIX "ObjectMeta");
	index = (size_t)(m - schema_messages);
	if (d->used[index])
		return;
	d->used[index] = true;
	mark_fields(d, m);
}

static void mark_kind(struct openapi *d, const struct kind *k)
{
	mark_used(d, k->message);
	for (size_t i = 0; i < k->n_subresources; i++) {
		const struct message *m = openapi_answer(k, &k->subresources[i]);

		if (m)
			mark_used(d, m);
	}
}

/* api_version NULL: every kind. Definitions may change while the document is made: it shows the
 * kinds of this moment. */
static struct openapi *openapi_new(const char *api_version)
{
	static const char *const always[] = {META_PREFIX "APIResourceList",
					     META_PREFIX "DeleteOptions", META_PREFIX "ListMeta",
					     META_PREFIX "Status", META_PREFIX "WatchEvent"};
	struct openapi *d = xnew(struct openapi);
	char buf[API_VERSION_MAX];
	const struct kind *k;
	size_t n = 0;

	for (size_t i = 0; kind_next(&i);)
		n++;
	d->kinds = xcalloc(n + 1, sizeof(*d->kinds));
	d->used = xcalloc(n_schema_messages, sizeof(*d->used));
	for (size_t i = 0; (k = kind_next(&i));) {
		if (api_version && !streq(kind_api_version(k, buf), api_version))
			continue;
		d->kinds[d->n_kinds++] = kind_ref(k);
		mark_kind(d, k);
	}
	for (size_t i = 0; i < ARRAY_SIZE(always); i++)
		mark_used(d, message_find(always[i]));
	return d;
}

struct openapi *openapi_v3(const char *path)
{
	const char *api_version = str_starts(path, "apis/")  ? path + strlen("apis/")
				  : str_starts(path, "api/") ? path + strlen("api/")
							     : NULL;
	struct openapi *d;

	/* the core group is below /api, the named ones below /apis */
	if (!api_version || (strchr(api_version, '/') != NULL) != str_starts(path, "apis/"))
		return NULL;
	d = openapi_new(api_version);
	d->v3 = true;
	if (d->n_kinds)
		return d;
	openapi_free(d);
	return NULL;
}

struct openapi *openapi_v2(bool protobuf)
{
	struct openapi *d = openapi_new(NULL);

	d->protobuf = protobuf;
	return d;
}

void openapi_free(struct openapi *d)
{
	if (!d)
		return;
	for (size_t i = 0; i < d->n_kinds; i++)
		kind_unref(d->kinds[i]);
	free(d->kinds);
	free(d->used);
	strbuf_done(&d->b);
	free(d);
}

/* ---- pieces ----------------------------------------------------------------------------- */

/* Takes the JSON that was written for a member of the section. */
static void put_piece(struct openapi *d, struct strbuf *out, enum openapi_section section,
		      const char *name)
{
	if (d->protobuf) {
		openapi_protobuf(out, section, name, d->b.s, d->b.len);
	} else {
		if (d->more)
			strbuf_addc(out, ',');
		openapi_string(out, name);
		strbuf_addc(out, ':');
		strbuf_add(out, d->b.s, d->b.len);
	}
	d->more = true;
	strbuf_reset(&d->b);
}

/* The text between sections, in JSON; in protobuf every piece stands by itself. */
static void put_bridge(struct openapi *d, struct strbuf *out, const char *v2, const char *v3)
{
	if (!d->protobuf)
		strbuf_adds(out, d->v3 ? v3 : v2);
	d->more = false;
}

static void put_head(struct openapi *d, struct strbuf *out)
{
	static const char swagger[] = "{\"swagger\":\"2.0\"," INFO ",\"securityDefinitions\":" TOKEN
				      ",\"security\":[{\"BearerToken\":[]}]";

	if (d->protobuf) {
		strbuf_adds(&d->b, swagger);
		strbuf_addc(&d->b, '}');
		openapi_protobuf(out, SECTION_HEAD, NULL, d->b.s, d->b.len);
		strbuf_reset(&d->b);
	} else {
		strbuf_adds(out, d->v3 ? "{\"openapi\":\"3.0.0\"," INFO : swagger);
		strbuf_adds(out, ",\"paths\":{");
	}
}

/* Is the kind that is looked at the first one of its group and version? */
static bool is_first(const struct openapi *d)
{
	const struct kind *k = d->kinds[d->at];

	for (size_t i = 0; i < d->at; i++)
		if (streq(d->kinds[i]->group, k->group) && streq(d->kinds[i]->version, k->version))
			return false;
	return !k->custom;
}

/* The next path; false: there is none left. */
static bool put_path(struct openapi *d, struct strbuf *out)
{
	while (d->at < d->n_kinds) {
		const struct kind *k = d->kinds[d->at];
		auto_free char *path = d->sub	     ? openapi_path(d, k, d->sub - 1)
				       : is_first(d) ? openapi_resources(d, k)
						     : xstrdup("");

		d->sub++;

		if (path && *path) {
			put_piece(d, out, SECTION_PATH, path);
			return true;
		}
		strbuf_reset(&d->b);
		if (!path) {
			d->at++;
			d->sub = 0;
		}
	}
	put_bridge(d, out, "},\"definitions\":{", "},\"components\":{\"schemas\":{");
	return false;
}

static bool put_message(struct openapi *d, struct strbuf *out)
{
	while (d->at < n_schema_messages) {
		const struct message *m = &schema_messages[d->at++];

		if (!d->used[m - schema_messages] || openapi_is_special(m))
			continue;
		openapi_message(d, m);
		put_piece(d, out, SECTION_DEFINITION, m->name);
		return true;
	}
	return false;
}

static bool put_list(struct openapi *d, struct strbuf *out)
{
	while (d->at < d->n_kinds) {
		const struct kind *k = d->kinds[d->at++];
		auto_free char *name = NULL;

		if (!(k->verbs & VERB_LIST))
			continue;
		name = openapi_list_name(k);
		openapi_list(d, k);
		put_piece(d, out, SECTION_DEFINITION, name);
		return true;
	}
	return false;
}

static bool put_custom(struct openapi *d, struct strbuf *out)
{
	while (d->at < d->n_kinds) {
		const struct kind *k = d->kinds[d->at++];
		auto_free char *text = NULL;

		if (!k->custom)
			continue;
		text = custom_document(k, d->v3);
		strbuf_adds(&d->b, text);
		put_piece(d, out, SECTION_DEFINITION, k->message->name);
		return true;
	}
	return false;
}

size_t openapi_cost(const struct openapi *d)
{
	for (size_t i = d->at; d->stage == STAGE_CUSTOM && i < d->n_kinds; i++)
		if (d->kinds[i]->custom)
			return custom_cost(d->kinds[i]);
	return 0;
}

static bool put_special(struct openapi *d, struct strbuf *out)
{
	const char *name;

	while ((name = openapi_special(d, d->at++))) {
		if (!*name)
			continue;
		put_piece(d, out, SECTION_DEFINITION, name);
		return true;
	}
	put_bridge(d, out, "}", "},\"securitySchemes\":" TOKEN "}");
	return false;
}

bool openapi_next(struct openapi *d, struct strbuf *out)
{
	static bool (*const stages[])(struct openapi *,
				      struct strbuf *) = {[STAGE_PATHS] = put_path,
							  [STAGE_MESSAGES] = put_message,
							  [STAGE_LISTS] = put_list,
							  [STAGE_CUSTOM] = put_custom,
							  [STAGE_SPECIAL] = put_special};

	if (d->stage == STAGE_HEAD) {
		put_head(d, out);
	} else if (d->stage < STAGE_TAIL) {
		if (stages[d->stage](d, out))
			return true;
	} else if (d->stage == STAGE_TAIL) {
		put_bridge(d, out, "}", "}");
	} else {
		return false;
	}
	d->stage++;
	d->at = d->sub = 0;
	return true;
}

/* ---- versions of documents ---------------------------------------------------------------- */

static uint32_t hash_text(const char *s, uint32_t seed)
{
	return s ? hash_fnv1a32(s, strlen(s) + 1, seed) : seed;
}

/* Changes with anything in the tables that the documents show. */
static uint32_t hash_tables(uint32_t h)
{
	for (size_t i = 0; i < n_schema_messages; i++) {
		const struct message *m = &schema_messages[i];

		h = hash_fnv1a32(&m->atomic, sizeof(m->atomic), h);
		h = hash_text(m->doc, hash_text(m->name, h));
		for (size_t j = 0; j < m->n_fields; j++) {
			const struct field *f = &m->fields[j];
			uint16_t bytes[] = {f->type, f->list, f->flags, f->smp_merge};

			h = hash_fnv1a32(bytes, sizeof(bytes), h);
			h = hash_text(f->dflt, hash_text(f->doc, hash_text(f->name, h)));
			h = hash_text(f->rule, hash_text(f->ssa_keys, hash_text(f->smp_key, h)));
		}
	}
	for (size_t i = 0; i < n_schema_kinds; i++)
		h = hash_text(schema_kinds[i]->kind, hash_text(schema_kinds[i]->plural, h));
	return h;
}

/* The same of the custom kinds of a group and version (NULL: of all); h when it has none. */
static uint32_t hash_customs(const char *api_version, uint32_t h)
{
	char buf[API_VERSION_MAX];
	const struct kind *k;

	for (size_t i = 0; (k = kind_next(&i));)
		if (k->custom && (!api_version || streq(kind_api_version(k, buf), api_version)))
			h = custom_hash(k, hash_text(k->version, h));
	return h;
}

/* Raised when the same tables are described in another way: clients keep documents by the hash for
 * as long as they like. */
#define FORMAT "2"

static void hash_built_in(uint32_t *ret_hi, uint32_t *ret_lo)
{
	static uint32_t hi, lo;

	if (!hi) {
		lo = hash_tables(hash_text(PACKAGE_VERSION "/" FORMAT, 2166136261U));
		hi = hash_tables(hash_text(PACKAGE_VERSION, lo));
	}
	*ret_hi = hi;
	*ret_lo = lo;
}

void openapi_v2_hash(bool protobuf, char buf[static OPENAPI_HASH_MAX])
{
	uint32_t hi, lo;

	hash_built_in(&hi, &lo);
	snprintf(buf, OPENAPI_HASH_MAX, "%08X%08X%s", hash_customs(NULL, hi),
		 hash_customs(NULL, lo), protobuf ? "PB" : "");
}

json_t *openapi_v3_index(void)
{
	uint32_t hi, lo;
	json_t *paths = json_object();
	const struct kind *k;

	hash_built_in(&hi, &lo);
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
