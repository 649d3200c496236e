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

void csr_keep_decision(json_t *obj, const json_t *was)
{
	static const char *const decisions[] = {"Approved", "Denied"};
	json_t *list = conditions(obj), *c;
	size_t i;

	for (size_t d = 0; d < ARRAY_SIZE(decisions); d++) {
		json_t *before = json_find(conditions(was), "type", decisions[d]);

		json_array_foreach(list, i, c) if (streq(json_str(c, "type", ""), decisions[d]))
			json_array_remove(list, i--);
		if (before) {
			list = json_arr(obj, "status.conditions");
			json_array_append_new(list, json_deep_copy(before));
		}
	}
	stamp(obj, was);
}
