/* SPDX-License-Identifier: Apache-2.0 */
/* Priorities of pods from their PriorityClass (kubernetes plugin/pkg/admission/priority). */
#include "internal.h"

/* Of several defaults, which cannot be but for a race upstream, the lowest. */
static const struct object *default_class(struct registry *r)
{
	struct store_iter it = store_iter(r->store, &kind_priorityclass, "");
	const struct object *o, *best = NULL;

	while ((o = store_next(&it))) {
		const json_t *class = object_json(o);

		if (json_bool(class, "globalDefault", false) &&
		    (!best ||
		     json_int(class, "value", 0) < json_int(object_json(best), "value", 0)))
			best = o;
	}
	return best;
}

int priority_set(struct registry *r, json_t *pod, struct err *err)
{
	const char *name = json_str(pod, "spec.priorityClassName", "");
	const json_t *given = json_at(pod, "spec.priority");
	const char *wish = json_str(pod, "spec.preemptionPolicy", "");
	const struct object *class =
		*name ? store_get(r->store, &kind_priorityclass, "", name) : default_class(r);
	int64_t value = class ? json_int(object_json(class), "value", 0) : 0;
	const char *policy = class ? json_str(object_json(class), "preemptionPolicy", "")
				   : "PreemptLowerPriority";

	if (*name && !class)
		return fail_forbidden(err, &kind_pod, meta_name(pod),
				      "no PriorityClass with name %s was found", name);
	if (given && json_integer_value(given) != value)
		return fail_forbidden(err, &kind_pod, meta_name(pod),
				      "the integer value of priority (%lld) must not be provided "
				      "in pod spec; priority admission controller computed %lld "
				      "from the given PriorityClass name",
				      (long long)json_integer_value(given), (long long)value);
	if (*wish && *policy && !streq(wish, policy))
		return fail_forbidden(
			err, &kind_pod, meta_name(pod),
			"the string value of PreemptionPolicy (%s) must not be "
			"provided in pod spec; priority admission controller computed "
			"%s from the given PriorityClass name",
			wish, policy);
	if (class)
		json_put_str(pod, "spec.priorityClassName", class->name);
	json_put_int(pod, "spec.priority", value);
	if (*policy)
		json_put_str(pod, "spec.preemptionPolicy", policy);
	return 0;
}

int priority_check_class(struct registry *r, const json_t *obj, struct err *err)
{
	const struct object *other =
		json_bool(obj, "globalDefault", false) ? default_class(r) : NULL;

	if (!other || streq(other->name, meta_name(obj)))
		return 0;
	return fail_forbidden(err, &kind_priorityclass, meta_name(obj),
			      "PriorityClass %s is already marked as default. Only one default can "
			      "exist",
			      other->name);
}

/* Those that every cluster has. */
static const struct {
	const char *name, *description;
	json_int_t value;
} classes[] = {
	{"system-cluster-critical", "For pods the cluster needs, which may move to another node.",
	 2000000000},
	{"system-node-critical", "For pods their node needs, which have to stay on it.",
	 2000001000},
};

bool priority_is_system(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(classes); i++)
		if (streq(classes[i].name, name))
			return true;
	return false;
}

int priority_make_classes(struct registry *r, struct err *err)
{
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < ARRAY_SIZE(classes); i++) {
		struct write_options o = {0};
		json_auto_t *obj = NULL;

		if (store_get(r->store, &kind_priorityclass, "", classes[i].name))
			continue;
		obj = json_pack("{s:{s:s}, s:I, s:s}", "metadata", "name", classes[i].name, "value",
				classes[i].value, "description", classes[i].description);
		rc = registry_create(r, &kind_priorityclass, "", obj, &o, NULL, err);
	}
	return rc;
}
