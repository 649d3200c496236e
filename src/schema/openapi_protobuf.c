/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Swagger 2.0 as protobuf: the message openapi.v2.Document of gnostic, which kubectl up to 1.26
 * reads and nothing else. A table says which member of the JSON goes where; values that have no
 * fixed form (defaults, enums, extensions) travel as YAML.
 *
 * The document's parts are sent one by one although "paths" and "definitions" are single messages:
 * pieces of a message that come apart are merged by whoever decodes them (protobuf.dev, "Last One
 * Wins").
 */
#include "openapi.h"

enum shape {
	SHAPE_TEXT,
	SHAPE_TEXTS,
	SHAPE_BOOL,
	SHAPE_INTEGER,
	SHAPE_NUMBER,
	SHAPE_ANY,
	SHAPE_ANYS,
	SHAPE_ONE,	      /* a message */
	SHAPE_MANY,	      /* an array of them */
	SHAPE_TYPE,	      /* a text, or an array */
	SHAPE_SCHEMA_OR_BOOL, /* additionalProperties */
	SHAPE_PARAMETERS,     /* their message follows from "in" */
};
struct target;
struct member {
	const char *key;
	uint8_t number, shape;
	const struct target *message;
};
/* Where the members of a JSON object go. */
struct target {
	const struct member *members;
	size_t n;
	uint8_t vendor;		    /* members that begin with "x-" */
	uint8_t named;		    /* all others, as pairs of name and value */
	const struct target *value; /* of these; NULL: arrays of texts */
	uint8_t wrap[3];	    /* the message stands in these, the innermost last */
};

#define TARGET(name, ...)                                                                          \
	static const struct target name = {                                                        \
		.members = name##_members, .n = ARRAY_SIZE(name##_members), __VA_ARGS__}

/* ---- schemas ---------------------------------------------------------------------------- */

static const struct target item_schema, properties;

static const struct member external_docs_members[] = {
	{"description", 1, SHAPE_TEXT, NULL},
	{"url", 2, SHAPE_TEXT, NULL},
};
TARGET(external_docs, .vendor = 3);

static const struct member schema_members[] = {
	{"$ref", 1, SHAPE_TEXT, NULL},
	{"format", 2, SHAPE_TEXT, NULL},
	{"title", 3, SHAPE_TEXT, NULL},
	{"description", 4, SHAPE_TEXT, NULL},
	{"default", 5, SHAPE_ANY, NULL},
	{"multipleOf", 6, SHAPE_NUMBER, NULL},
	{"maximum", 7, SHAPE_NUMBER, NULL},
	{"exclusiveMaximum", 8, SHAPE_BOOL, NULL},
	{"minimum", 9, SHAPE_NUMBER, NULL},
	{"exclusiveMinimum", 10, SHAPE_BOOL, NULL},
	{"maxLength", 11, SHAPE_INTEGER, NULL},
	{"minLength", 12, SHAPE_INTEGER, NULL},
	{"pattern", 13, SHAPE_TEXT, NULL},
	{"maxItems", 14, SHAPE_INTEGER, NULL},
	{"minItems", 15, SHAPE_INTEGER, NULL},
	{"uniqueItems", 16, SHAPE_BOOL, NULL},
	{"maxProperties", 17, SHAPE_INTEGER, NULL},
	{"minProperties", 18, SHAPE_INTEGER, NULL},
	{"required", 19, SHAPE_TEXTS, NULL},
	{"enum", 20, SHAPE_ANYS, NULL},
	{"additionalProperties", 21, SHAPE_SCHEMA_OR_BOOL, NULL},
	{"type", 22, SHAPE_TYPE, NULL},
	{"items", 23, SHAPE_ONE, &item_schema},
	{"properties", 25, SHAPE_ONE, &properties},
	{"externalDocs", 29, SHAPE_ONE, &external_docs},
	{"example", 30, SHAPE_ANY, NULL},
};
TARGET(schema, .vendor = 31);
/* The same inside ItemsItem, SchemaItem or AdditionalPropertiesItem. */
static const struct target item_schema = {
	.members = schema_members, .n = ARRAY_SIZE(schema_members), .vendor = 31, .wrap = {1}};
static const struct target properties = {.named = 1, .value = &schema};

/* ---- operations --------------------------------------------------------------------------- */

static const struct member body_parameter_members[] = {
	{"description", 1, SHAPE_TEXT, NULL}, {"name", 2, SHAPE_TEXT, NULL},
	{"in", 3, SHAPE_TEXT, NULL},	      {"required", 4, SHAPE_BOOL, NULL},
	{"schema", 5, SHAPE_ONE, &schema},
};
TARGET(body_parameter, .vendor = 6, .wrap = {1, 1});

static const struct member query_parameter_members[] = {
	{"required", 1, SHAPE_BOOL, NULL},     {"in", 2, SHAPE_TEXT, NULL},
	{"description", 3, SHAPE_TEXT, NULL},  {"name", 4, SHAPE_TEXT, NULL},
	{"type", 6, SHAPE_TEXT, NULL},	       {"format", 7, SHAPE_TEXT, NULL},
	{"uniqueItems", 20, SHAPE_BOOL, NULL},
};
TARGET(query_parameter, .vendor = 23, .wrap = {1, 2, 3});

static const struct member path_parameter_members[] = {
	{"required", 1, SHAPE_BOOL, NULL},     {"in", 2, SHAPE_TEXT, NULL},
	{"description", 3, SHAPE_TEXT, NULL},  {"name", 4, SHAPE_TEXT, NULL},
	{"type", 5, SHAPE_TEXT, NULL},	       {"format", 6, SHAPE_TEXT, NULL},
	{"uniqueItems", 19, SHAPE_BOOL, NULL},
};
TARGET(path_parameter, .vendor = 22, .wrap = {1, 2, 4});

static const struct member response_members[] = {
	{"description", 1, SHAPE_TEXT, NULL},
	{"schema", 2, SHAPE_ONE, &item_schema},
};
TARGET(response, .vendor = 5, .wrap = {1});
static const struct target responses = {.named = 1, .vendor = 2, .value = &response};

static const struct member operation_members[] = {
	{"tags", 1, SHAPE_TEXTS, NULL},
	{"summary", 2, SHAPE_TEXT, NULL},
	{"description", 3, SHAPE_TEXT, NULL},
	{"operationId", 5, SHAPE_TEXT, NULL},
	{"produces", 6, SHAPE_TEXTS, NULL},
	{"consumes", 7, SHAPE_TEXTS, NULL},
	{"parameters", 8, SHAPE_PARAMETERS, NULL},
	{"responses", 9, SHAPE_ONE, &responses},
	{"schemes", 10, SHAPE_TEXTS, NULL},
	{"deprecated", 11, SHAPE_BOOL, NULL},
};
TARGET(operation, .vendor = 13);

static const struct member path_item_members[] = {
	{"get", 2, SHAPE_ONE, &operation},     {"put", 3, SHAPE_ONE, &operation},
	{"post", 4, SHAPE_ONE, &operation},    {"delete", 5, SHAPE_ONE, &operation},
	{"options", 6, SHAPE_ONE, &operation}, {"head", 7, SHAPE_ONE, &operation},
	{"patch", 8, SHAPE_ONE, &operation},   {"parameters", 9, SHAPE_PARAMETERS, NULL},
};
TARGET(path_item, .vendor = 10);
static const struct target paths = {.named = 2, .vendor = 1, .value = &path_item};

/* ---- the document ------------------------------------------------------------------------- */

static const struct member info_members[] = {
	{"title", 1, SHAPE_TEXT, NULL},
	{"version", 2, SHAPE_TEXT, NULL},
	{"description", 3, SHAPE_TEXT, NULL},
};
TARGET(info, .vendor = 7);

static const struct member api_key_members[] = {
	{"type", 1, SHAPE_TEXT, NULL},
	{"name", 2, SHAPE_TEXT, NULL},
	{"in", 3, SHAPE_TEXT, NULL},
	{"description", 4, SHAPE_TEXT, NULL},
};
TARGET(api_key, .vendor = 5, .wrap = {2});
static const struct target security_definitions = {.named = 1, .value = &api_key};
static const struct target security_requirement = {.named = 1};

static const struct member document_members[] = {
	{"swagger", 1, SHAPE_TEXT, NULL},
	{"info", 2, SHAPE_ONE, &info},
	{"paths", 8, SHAPE_ONE, &paths},
	{"definitions", 9, SHAPE_ONE, &properties},
	{"security", 12, SHAPE_MANY, &security_requirement},
	{"securityDefinitions", 13, SHAPE_ONE, &security_definitions},
};
TARGET(document, .vendor = 16);

/* ---- the wire ------------------------------------------------------------------------------ */

static size_t varint(uint8_t buf[static 10], uint64_t v)
{
	size_t n = 0;

	do {
		buf[n] = (uint8_t)(v & 0x7f);
		v >>= 7;
		if (v)
			buf[n] |= 0x80;
		n++;
	} while (v);
	return n;
}

static void put_tag(struct strbuf *b, unsigned number, unsigned wire)
{
	uint8_t buf[10];

	strbuf_add(b, buf, varint(buf, number << 3 | wire));
}

/* What has been appended since `from` becomes the value of a field. */
static void enclose(struct strbuf *b, size_t from, unsigned number)
{
	size_t len = b->len - from, n;
	uint8_t head[20];

	n = varint(head, number << 3 | 2);
	n += varint(head + n, len);
	strbuf_add(b, head, n);
	memmove(b->s + from + n, b->s + from, len);
	memcpy(b->s + from, head, n);
}

static void put_text(struct strbuf *b, unsigned number, const char *s)
{
	uint8_t buf[10];
	size_t len = strlen(s);

	put_tag(b, number, 2);
	strbuf_add(b, buf, varint(buf, len));
	strbuf_add(b, s, len);
}

static void put_texts(struct strbuf *b, unsigned number, const json_t *list)
{
	json_t *v;
	size_t i;

	json_array_foreach(list, i, v) if (json_is_string(v))
		put_text(b, number, json_string_value(v));
}

static void put_any(struct strbuf *b, unsigned number, const json_t *v)
{
	auto_free char *yaml = yaml_format(v);
	size_t from = b->len;

	put_text(b, 2, yaml);
	enclose(b, from, number);
}

/* Zero is what is not there. */
static void put_integer(struct strbuf *b, unsigned number, uint64_t v)
{
	uint8_t buf[10];

	if (!v)
		return;
	put_tag(b, number, 0);
	strbuf_add(b, buf, varint(buf, v));
}

static void put_number(struct strbuf *b, unsigned number, double v)
{
	uint64_t bits;
	uint8_t buf[8];

	memcpy(&bits, &v, sizeof(bits));
	if (!bits)
		return;
	for (int i = 0; i < 8; i++)
		buf[i] = (uint8_t)(bits >> (8 * i));
	put_tag(b, number, 1);
	strbuf_add(b, buf, sizeof(buf));
}

/* ---- translation --------------------------------------------------------------------------- */

static void put_message(struct strbuf *b, unsigned number, const struct target *t, const json_t *v);

static void put_pair(struct strbuf *b, const struct target *t, const char *name, const json_t *v)
{
	size_t from = b->len, inner;

	put_text(b, 1, name);
	if (t->value) {
		put_message(b, 2, t->value, v);
	} else {
		inner = b->len;
		put_texts(b, 1, v);
		enclose(b, inner, 2);
	}
	enclose(b, from, t->named);
}

static void put_vendor(struct strbuf *b, unsigned number, const char *name, const json_t *v)
{
	size_t from = b->len;

	put_text(b, 1, name);
	put_any(b, 2, v);
	enclose(b, from, number);
}

static void put_parameters(struct strbuf *b, unsigned number, const json_t *list)
{
	json_t *v;
	size_t i;

	json_array_foreach(list, i, v)
	{
		const char *in = json_str(v, "in", "");

		put_message(b, number,
			    streq(in, "body")	? &body_parameter
			    : streq(in, "path") ? &path_parameter
						: &query_parameter,
			    v);
	}
}

static void put_type(struct strbuf *b, unsigned number, const json_t *v)
{
	size_t from = b->len;

	if (json_is_string(v))
		put_text(b, 1, json_string_value(v));
	else
		put_texts(b, 1, v);
	enclose(b, from, number);
}

static void put_schema_or_bool(struct strbuf *b, unsigned number, const json_t *v)
{
	size_t from = b->len;

	if (json_is_object(v)) {
		put_message(b, number, &item_schema, v);
	} else if (json_is_boolean(v)) {
		/* one of two: it is there when it is false, too */
		put_tag(b, 2, 0);
		strbuf_addc(b, json_is_true(v));
		enclose(b, from, number);
	}
}

static void put_member(struct strbuf *b, const struct member *m, const json_t *v)
{
	json_t *item;
	size_t i;

	switch ((enum shape)m->shape) {
	case SHAPE_TEXT:
		if (json_is_string(v))
			put_text(b, m->number, json_string_value(v));
		break;
	case SHAPE_TEXTS:
		put_texts(b, m->number, v);
		break;
	case SHAPE_BOOL:
		put_integer(b, m->number, json_is_true(v));
		break;
	case SHAPE_INTEGER:
		put_integer(b, m->number, (uint64_t)json_integer_value(v));
		break;
	case SHAPE_NUMBER:
		put_number(b, m->number, json_number_value(v));
		break;
	case SHAPE_ANY:
		put_any(b, m->number, v);
		break;
	case SHAPE_ANYS:
		json_array_foreach(v, i, item) put_any(b, m->number, item);
		break;
	case SHAPE_ONE:
		put_message(b, m->number, m->message, v);
		break;
	case SHAPE_MANY:
		json_array_foreach(v, i, item) put_message(b, m->number, m->message, item);
		break;
	case SHAPE_TYPE:
		put_type(b, m->number, v);
		break;
	case SHAPE_SCHEMA_OR_BOOL:
		put_schema_or_bool(b, m->number, v);
		break;
	case SHAPE_PARAMETERS:
		put_parameters(b, m->number, v);
		break;
	}
}

static void put_members(struct strbuf *b, const struct target *t, const json_t *v)
{
	const char *key;
	json_t *value;

	json_object_foreach((json_t *)(uintptr_t)v, key, value)
	{
		const struct member *m = NULL;

		breathe();
		for (size_t i = 0; !m && i < t->n; i++)
			if (streq(t->members[i].key, key))
				m = &t->members[i];
		if (m)
			put_member(b, m, value);
		else if (t->vendor && str_starts(key, "x-"))
			put_vendor(b, t->vendor, key, value);
		else if (t->named)
			put_pair(b, t, key, value);
	}
}

static void put_message(struct strbuf *b, unsigned number, const struct target *t, const json_t *v)
{
	size_t from = b->len;

	put_members(b, t, v);
	for (size_t i = ARRAY_SIZE(t->wrap); i-- > 0;)
		if (t->wrap[i])
			enclose(b, from, t->wrap[i]);
	enclose(b, from, number);
}

void openapi_protobuf(struct strbuf *out, enum openapi_section section, const char *name,
		      const char *json, size_t len)
{
	static const char *const members[] = {
		[SECTION_PATH] = "paths", [SECTION_DEFINITION] = "definitions"};
	json_auto_t *v = json_loadb(json, len, 0, NULL);
	json_auto_t *holder = NULL;

	if (section == SECTION_HEAD) {
		put_members(out, &document, v);
		return;
	}
	holder = json_pack("{s:{s:O*}}", members[section], name, v);
	put_members(out, &document, holder);
}
