/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is in use stays: a deleted PersistentVolumeClaim until no pod that has a node mounts it, a
 * deleted PersistentVolume until no claim is bound to it (upstream: pvc-protection, pv-protection).
 * New ones have their finalizer from admission.
 */
#include "internal.h"

#define CLAIM "kubernetes.io/pvc-protection"
#define VOLUME "kubernetes.io/pv-protection"

/* The claim that a volume of the pod stands for; caller frees; NULL: none. */
static char *claim_of(const json_t *pod, const json_t *volume)
{
	const char *name = json_str(volume, "persistentVolumeClaim.claimName", "");

	if (json_object_get(volume, "ephemeral"))
		return xasprintf("%s-%s", meta_name(pod), json_str(volume, "name", ""));
	return *name ? xstrdup(name) : NULL;
}

static void dirty_claims(struct controller *c, const struct object *pod)
{
	const json_t *obj = object_json(pod);
	json_t *volume;
	size_t i;

	json_array_foreach(json_at(obj, "spec.volumes"), i, volume)
	{
		auto_free char *name = claim_of(obj, volume);

		if (name)
			controller_dirty(c, pod->ns, name);
	}
}

/* Volumes have no namespace, claims have one: that tells the keys apart. */
static void on_event(struct controller *c, const struct store_event *ev)
{
	const struct kind *k = ev->obj->kind;

	if (k == &kind_pod && ev->type == STORE_DELETED)
		dirty_claims(c, ev->obj);
	else if ((k == &kind_persistentvolumeclaim || k == &kind_persistentvolume) &&
		 ev->type != STORE_DELETED)
		controller_dirty(c, ev->obj->ns, ev->obj->name);
}

static bool pod_uses(const json_t *pod, const char *claim)
{
	json_t *volume;
	size_t i;

	if (!*json_str(pod, "spec.nodeName", ""))
		return false;
	json_array_foreach(json_at(pod, "spec.volumes"), i, volume)
	{
		auto_free char *name = claim_of(pod, volume);

		if (name && streq(name, claim))
			return true;
	}
	return false;
}

static bool claim_used(struct controller *c, const struct object *claim)
{
	struct store_iter it = store_iter(c->store, &kind_pod, claim->ns);
	const struct object *pod;

	while ((pod = store_next(&it)))
		if (strstr(pod->text, claim->name) && pod_uses(object_json(pod), claim->name))
			return true;
	return false;
}

static int reconcile(struct controller *c, const char *key, struct err *err)
{
	auto_free char *ns = NULL;
	const char *name = key_split(key, &ns);
	bool is_claim = *ns;
	const struct kind *k = is_claim ? &kind_persistentvolumeclaim : &kind_persistentvolume;
	const char *finalizer = is_claim ? CLAIM : VOLUME;
	const struct object *o = store_get(c->store, k, ns, name);

	if (!o)
		return 0;
	const json_t *obj = object_json(o);
	bool has = finalizer_find(obj, finalizer);

	if (!meta_deleting(obj))
		return has ? 0 : finalizer_add(c, o, finalizer, err);
	if (!has ||
	    (is_claim ? claim_used(c, o) : streq(json_str(obj, "status.phase", ""), "Bound")))
		return 0;
	return finalizer_drop(c, o, finalizer, err);
}

const struct controller_def protection_controller = {
	.name = "protection", .on_event = on_event, .reconcile = reconcile};
