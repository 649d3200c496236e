/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the subresources of a CertificateSigningRequest may change: /approval its conditions,
 * /status all but the decision (kubernetes pkg/registry/certificates/certificates/strategy.go).
 */
#include "internal.h"

static json_t *conditions(const json_t *obj)
{
	return json_at(obj, "status.conditions");
}

/* Times that the writer left out. */
static void stamp(json_t *obj, const json_t *was)
{
	json_t *c;
	size_t i;

	json_array_foreach(conditions(obj), i, c)
	{
		const json_t *before = json_find(conditions(was), "type", json_str(c, "type", ""));
		const char *since = json_str(before, "lastTransitionTime", NULL);

		if (!*json_str(c, "lastUpdateTime", ""))
			json_put_time(c, "lastUpdateTime", time(NULL));
		if (*json_str(c, "lastTransitionTime", ""))
			continue;
		if (since && streq(json_str(before, "status", ""), json_str(c, "status", "")))
			json_put_str(c, "lastTransitionTime", since);
		else
			json_put_time(c, "lastTransitionTime", time(NULL));
	}
}

void csr_take_approval(json_t *obj, const json_t *was, const json_t *given)
{
	static const char *const members[] = {"annotations", "labels"};

	for (size_t i = 0; i < ARRAY_SIZE(members); i++)
		take_member(json_object_get(obj, "metadata"), json_object_get(given, "metadata"),
			    members[i]);
	take_member(json_obj(obj, "status"), json_object_get(given, "status"), "conditions");
	stamp(obj, was);
}

/* The next condition of the type at or behind index i; the length when there is none. */
static size_t find_from(const json_t *list, size_t i, const char *type)
{
	while (i < json_array_size(list) &&
	       !streq(json_str(json_array_get(list, i), "type", ""), type))
		i++;
	return i;
}

static size_t count_of(const json_t *list, const char *type)
{
	size_t n = 0;

	for (size_t i = find_from(list, 0, type); i < json_array_size(list);
	     i = find_from(list, i + 1, type))
		n++;
	return n;
}

/* Each decision is what it was, where the writer put it. */
static void restore(json_t *list, const json_t *before, const char *type)
{
	size_t from = find_from(before, 0, type);

	for (size_t i = find_from(list, 0, type); i < json_array_size(list);
	     i = find_from(list, i + 1, type)) {
		json_array_set_new(list, i, json_deep_copy(json_array_get(before, from)));
		from = find_from(before, from + 1, type);
	}
}

int csr_keep_decision(json_t *obj, const struct object *old, struct err *err)
{
	static const char *const decisions[] = {"Approved", "Denied"};
	const json_t *before = conditions(object_json(old));
	json_t *list = conditions(obj);

	for (size_t d = 0; d < ARRAY_SIZE(decisions); d++) {
		size_t had = count_of(before, decisions[d]), has = count_of(list, decisions[d]);

		if (has > had)
			return fail_field_forbidden(
				err, old->kind, old->name, "status.conditions",
				"updates may not add a condition of type \"%s\"", decisions[d]);
		if (has == had) /* one that was taken away is refused with the object */
			restore(list, before, decisions[d]);
	}
	stamp(obj, object_json(old));
	return 0;
}
