/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Label and field selectors. What parses must format to something that parses to the same text.
 */
#include <coracle/schema.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void labels(const char *text)
{
	auto_clean(label_selector) struct label_selector *s = label_selector_parse(text, NULL);
	json_auto_t *some = json_pack("{s:s,s:s}", "app", "web", "n", "5");

	if (!s)
		return;
	auto_free char *format = label_selector_format(s);
	auto_clean(label_selector) struct label_selector *again =
		label_selector_parse(format, NULL);
	auto_free char *format2 = label_selector_format(again);
	if (!again || strlen(format) != strlen(format2) ||
	    label_selector_matches(s, some) != label_selector_matches(again, some))
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	auto_free char *text = xstrndup((const char *)data, size);
	auto_free char *canonical = quantity_canonical(text);
	json_auto_t *pod = json_pack("{s:{s:s}}", "metadata", "name", "a");

	labels(text);
	auto_clean(field_selector) struct field_selector *f =
		field_selector_parse(&kind_pod, text, NULL);
	if (f)
		field_selector_matches(f, pod);
	if (canonical) {
		auto_free char *twice = quantity_canonical(canonical);

		if (!twice || !streq(twice, canonical))
			abort();
	}
	return 0;
}
