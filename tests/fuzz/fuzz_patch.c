/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Patches: the input is a JSON array [kind, object, patch]; all three patch types, the making of a
 * patch and server-side apply run on it, the patch standing for a configuration and for a set of
 * fields that a client made up.
 */
#include <coracle/schema.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void apply(const struct message *m, const json_t *obj, const json_t *patch)
{
	json_auto_t *set = fields_of(m, obj), *other = fields_of(m, patch), *all = NULL,
		    *gone = NULL;
	json_auto_t *merged = fields_merge(m, obj, patch), *none = fields_difference(set, set);
	json_auto_t *both = fields_union(set, patch), *common = fields_intersection(both, other);
	auto_strv paths = {0}, problems = {0};

	fields_compare(m, obj, obj, &all, &gone);
	/* Nothing changes by itself, and a set has nothing that it has not. */
	if (json_object_size(none) || json_object_size(all) || json_object_size(gone))
		abort();
	fields_paths(both, &paths);
	fields_paths(common, &paths);
	fields_check(m, patch, &problems);
	fields_prune(m, merged, patch, set);
	fields_prune(m, merged, set, patch);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	json_auto_t *in = json_loadb((const char *)data, size, JSON_DECODE_ANY, NULL);
	const char *kind = json_string_value(json_array_get(in, 0));
	json_t *obj = json_array_get(in, 1), *patch = json_array_get(in, 2);
	const struct kind *k = kind ? kind_by_word(kind) : NULL;
	const struct message *m = k ? k->message : NULL;
	json_auto_t *before = json_deep_copy(obj);
	auto_err e1 = {0}, e2 = {0}, e3 = {0};

	if (!json_is_object(obj) || !patch)
		return 0;
	json_auto_t *smp = patch_strategic(m, obj, patch, &e1);
	json_auto_t *merged = patch_merge(obj, patch);
	json_auto_t *six902 = patch_json(obj, patch, &e2);
	json_auto_t *made =
		json_is_object(patch) ? patch_create_three_way(m, obj, patch, obj, &e3) : NULL;
	if (json_is_object(patch))
		apply(m, obj, patch);
	/* The object is never changed, and a failure always says why. */
	if (!json_equal(obj, before) || !merged || (!smp && !e1.message) ||
	    (!six902 && !e2.message) || (json_is_object(patch) && !made && !e3.message))
		abort();
	return 0;
}
