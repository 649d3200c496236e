/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Protobuf bodies with their envelope; the bytes behind the envelope's magic also as every kind.
 */
#include <coracle/schema.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	auto_err err = {0};
	json_auto_t *obj = schema_decode_protobuf(NULL, data, size, &err);

	if (!obj && !err.message)
		abort();
	for (size_t i = 0; i < n_schema_kinds; i++) {
		const struct kind *k = schema_kinds[i];
		json_auto_t *typed = schema_decode_protobuf(k->message, data, size, NULL);

		if (!typed)
			continue;
		if (schema_check(k->message, NULL, typed, FIELDS_STRICT, NULL, NULL) < 0)
			abort();
		schema_default(k, typed, NULL);
		if (schema_validate(k, typed, NULL, NULL) == -ENOMEM)
			abort();
	}
	return 0;
}
