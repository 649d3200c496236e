/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A request body as every kind: what decodes must be a fixed point of decoding, and defaults and
 * validation must take whatever it is.
 */
#include <coracle/schema.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void try_kind(const struct kind *k, const char *text, size_t len)
{
	auto_strv warnings = {0};
	auto_err err = {0};
	json_auto_t *obj =
		schema_decode_json(k->message, k->kind, text, len, FIELDS_WARN, &warnings, &err);
	json_auto_t *again = NULL;

	if (!obj) {
		if (!err.message)
			abort();
		return;
	}
	again = json_deep_copy(obj);
	if (schema_check(k->message, NULL, again, FIELDS_STRICT, NULL, NULL) < 0 ||
	    !json_equal(obj, again))
		abort();
	schema_default(k, obj, NULL);
	schema_default(k, again, obj);
	if (schema_validate(k, again, obj, &err) < 0 && err.n_causes == 0)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	for (size_t i = 0; i < n_schema_kinds; i++)
		try_kind(schema_kinds[i], (const char *)data, size);
	return 0;
}
