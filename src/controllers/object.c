/* SPDX-License-Identifier: Apache-2.0 */
/* Owners, pod readiness and conditions. */
#include "internal.h"

size_t key_weight(const struct controller *c, const struct kind *k, const char *key)
{
	auto_free char *ns = NULL;
	const char *name = key_split(key, &ns);
	const struct object *o = store_get(c->store, k, ns, name);

	return o ? o->len : 0;
}

time_t wall_now(void)
{
	return time(NULL);
}

json_t *owner_reference(const struct object *owner)
{
	char version[API_VERSION_MAX];

	return json_pack("{s:s, s:s, s:s, s:s, s:b, s:b}", "apiVersion",
			 kind_api_version(owner->kind, version), "kind", owner->kind->kind, "name",
			 owner->name, "uid", owner->uid, "controller", 1, "blockOwnerDeletion", 1);
}

bool controlled_by(const json_t *obj, const char *uid)
{
	return streq(json_str(meta_controller(obj), "uid", ""), uid);
}

bool pod_active(const json_t *pod)
{
	const char *phase = json_str(pod, "status.phase", "");

	return !streq(phase, "Succeeded") && !streq(phase, "Failed") && !meta_deleting(pod);
}

json_t *condition_find(const json_t *status, const char *type)
{
	return json_find(json_at(status, "conditions"), "type", type);
}

bool pod_ready(const json_t *pod)
{
	return streq(json_str(condition_find(json_at(pod, "status"), "Ready"), "status", ""),
		     "True");
}

bool pod_available(const json_t *pod, int64_t min_seconds, time_t now, int64_t *wait)
{
	struct timespec since;

	if (!pod_ready(pod))
		return false;
	if (min_seconds <= 0)
		return true;
	if (time_parse(json_str(condition_find(json_at(pod, "status"), "Ready"),
				"lastTransitionTime", ""),
		       &since) < 0)
		return false;
	/* A clock that was set back must not keep a pod unavailable for ever. */
	if (since.tv_sec > now || now - since.tv_sec >= min_seconds)
		return since.tv_sec <= now;
	*wait = min_seconds - (now - since.tv_sec);
	return false;
}

bool condition_set(json_t *status, const char *type, const char *value, const char *reason,
		   const char *message, time_t now)
{
	json_t *list = json_arr(status, "conditions"), *c = json_find(list, "type", type);

	if (c && streq(json_str(c, "status", ""), value) &&
	    streq(json_str(c, "reason", ""), reason) && streq(json_str(c, "message", ""), message))
		return false;
	if (!c) {
		c = json_pack("{s:s}", "type", type);
		json_array_append_new(list, c);
	}
	if (!streq(json_str(c, "status", ""), value))
		json_put_time(c, "lastTransitionTime", now);
	json_put_str(c, "status", value);
	json_put_str(c, "reason", reason);
	json_put_str(c, "message", message);
	return true;
}

void condition_remove(json_t *status, const char *type)
{
	json_t *list = json_at(status, "conditions"), *c;
	size_t i;

	json_array_foreach(list, i, c) if (streq(json_str(c, "type", ""), type))
	{
		json_array_remove(list, i);
		break;
	}
	if (list && !json_array_size(list))
		json_drop(status, "conditions");
}
