/* SPDX-License-Identifier: Apache-2.0 */
/*
 * YAML: what is read must be written so that it reads back the same.
 */
#include <coracle/schema.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	auto_err err = {0};
	json_auto_t *docs = yaml_parse_all((const char *)data, size, &err);
	json_t *doc;
	size_t i;

	if (!docs) {
		if (!err.message)
			abort();
		return 0;
	}
	json_array_foreach(docs, i, doc)
	{
		auto_free char *text = NULL;

		if (!json_is_object(doc))
			continue;
		text = yaml_format(doc);
		json_auto_t *back = yaml_parse_all(text, strlen(text), NULL);
		if (!back)
			abort();
	}
	return 0;
}
