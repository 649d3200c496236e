/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Admission of pods that name a RuntimeClass: it must exist, and what it says of overhead and nodes
 * goes into the pod (kubernetes plugin/pkg/admission/runtimeclass).
 */
#include "internal.h"

static int reject(const json_t *pod, struct err *err, const char *text)
{
	return fail_forbidden(err, &kind_pod, meta_name(pod), "pod rejected: %s", text);
}

static int set_overhead(json_t *pod, const json_t *class, struct err *err)
{
	const json_t *want = json_at(class, "overhead.podFixed");
	const json_t *has = json_at(pod, "spec.overhead");

	if (has && !want)
		return reject(pod, err,
			      "Pod Overhead set without corresponding RuntimeClass defined "
			      "Overhead");
	if (has && !json_equal(has, want))
		return reject(pod, err,
			      "Pod's Overhead doesn't match RuntimeClass's defined Overhead");
	if (want)
		json_put(pod, "spec.overhead", json_deep_copy(want));
	return 0;
}

static int set_scheduling(json_t *pod, const json_t *class, struct err *err)
{
	json_t *selector = json_at(class, "scheduling.nodeSelector"), *v;
	const char *key;
	size_t i;

	json_object_foreach(selector, key, v)
	{
		json_t *mine = json_obj(pod, "spec.nodeSelector");
		const char *has = json_string_value(json_object_get(mine, key));

		if (has && !streq(has, json_string_value(v)))
			return fail_forbidden(err, &kind_pod, meta_name(pod),
					      "conflict: runtimeClass.scheduling.nodeSelector[%s] "
					      "= %s; pod.spec.nodeSelector[%s] = %s",
					      key, json_string_value(v), key, has);
		json_object_set(mine, key, v);
	}
	json_array_foreach(json_at(class, "scheduling.tolerations"), i, v)
	{
		json_t *mine = json_arr(pod, "spec.tolerations"), *other;
		size_t j;
		bool known = false;

		json_array_foreach(mine, j, other) known |= json_equal(other, v);
		if (!known)
			json_array_append_new(mine, json_deep_copy(v));
	}
	return 0;
}

int admit_runtime_class(struct registry *r, json_t *pod, struct err *err)
{
	const char *name = json_str(pod, "spec.runtimeClassName", NULL);
	const struct object *class;
	int rc;

	if (!name) {
		json_auto_t *none = json_object();

		return set_overhead(pod, none, err);
	}
	class = store_get(r->store, &kind_runtimeclass, "", name);
	if (!class) {
		auto_free char *text = xasprintf("RuntimeClass \"%s\" not found", name);

		return reject(pod, err, text);
	}
	rc = set_overhead(pod, object_json(class), err);
	return rc < 0 ? rc : set_scheduling(pod, object_json(class), err);
}
