/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A definition's schema and an object through it: the text is {"schema": ..., "object": ...}. The
 * schema is what a damaged store might hold; what has been pruned and defaulted once stays so.
 */
#include <coracle/schema.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char head[] =
	"{\"metadata\":{\"name\":\"foos.example.com\",\"generation\":1},\"spec\":{\"group\":"
	"\"example.com\",\"scope\":\"Cluster\",\"names\":{\"plural\":\"foos\",\"kind\":\"Foo\"},"
	"\"versions\":[{\"name\":\"v1\",\"served\":true,\"storage\":true,"
	"\"schema\":{\"openAPIV3Schema\":";
static const char tail[] =
	"}}]},\"status\":{\"conditions\":[{\"type\":\"Established\",\"status\":\"True\"}]}}";
static struct strbuf definition;

static bool source(void *arg UNUSED, const char *crd UNUSED, const char **text, size_t *len)
{
	*text = definition.s;
	*len = definition.len;
	return true;
}

static void try_object(const struct kind *k, json_t *obj)
{
	json_auto_t *again = NULL, *old = json_deep_copy(obj);
	auto_err err = {0};

	if (schema_check(k->message, "Foo in version \"v1\"", obj, FIELDS_IGNORE, NULL, &err) < 0)
		return;
	schema_default(k, obj, NULL);
	again = json_deep_copy(obj);
	if (schema_check(k->message, NULL, again, FIELDS_IGNORE, NULL, NULL) < 0)
		abort();
	(void)!schema_validate(k, obj, NULL, &err);
	(void)!schema_validate(k, obj, old, &err);
	json_auto_t *table = table_new(k, "v1", true);
	table_add(k, table, obj, TABLE_OBJECT_NONE, 0);
}

static void try_definition(const json_t *schema, json_t *obj)
{
	auto_free char *text = json_text(schema, NULL);
	json_auto_t *crd = NULL;
	struct openapi *document;
	auto_strbuf pieces = {0};
	const struct kind *k;

	strbuf_reset(&definition);
	strbuf_addf(&definition, "%s%s%s", head, text, tail);
	crd = json_parse(definition.s, definition.len, NULL);
	if (!crd || custom_put(crd, NULL, NULL) < 0)
		return;
	auto_err err = {0};
	schema_default(&kind_customresourcedefinition, crd, NULL);
	(void)!schema_validate(&kind_customresourcedefinition, crd, NULL, &err);
	k = kind_find("example.com", "v1", "foos");
	if (!k)
		abort();
	if (json_is_object(obj))
		try_object(k, obj);
	document = openapi_v3("apis/example.com/v1");
	while (openapi_next(document, &pieces))
		;
	openapi_free(document);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	json_auto_t *v = json_parse((const char *)data, size, NULL);
	json_t *schema = json_object_get(v, "schema");

	json_decref(custom_head((const char *)data, size));
	if (!json_is_object(schema))
		return 0;
	custom_source(source, NULL);
	try_definition(schema, json_object_get(v, "object"));
	custom_source(NULL, NULL);
	return 0;
}
