/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Namespace: empties a terminating namespace, pods first, then lets it go (upstream:
 * namespaced_resources_deleter.go with OrderedNamespaceDeletion).
 */
#include "internal.h"

static void on_event(struct controller *c, const struct store_event *ev)
{
	const struct object *ns;

	if (ev->obj->kind == &kind_namespace) {
		controller_dirty(c, "", ev->obj->name);
		return;
	}
	if (!*ev->obj->ns)
		return;
	ns = store_get(c->store, &kind_namespace, "", ev->obj->ns);
	if (ns && meta_deleting(object_json(ns)))
		controller_dirty(c, "", ns->name);
}

/* Deletes what is left of one kind; returns how many objects remain, or -errno. */
static int empty_kind(struct controller *c, const struct kind *k, const char *ns,
		      size_t *finalizers, struct err *err)
{
	struct store_iter it = store_iter(c->store, k, ns);
	const struct object *o;
	int left = 0;

	while ((o = store_next(&it))) {
		struct write_options w = {.grace_seconds = -1,
					  .precondition_uid = o->uid,
					  .propagation = "Background",
					  .storage = STORE_LAZY};
		bool gone = false;
		int r = 0;

		*finalizers += json_len(object_json(o), "metadata.finalizers") > 0;
		if (!meta_deleting(object_json(o)))
			r = registry_delete(c->registry, k, o->ns, o->name, &w, NULL, &gone, err);
		if (r < 0 && r != -ENOENT)
			return r;
		left += r == 0 && !gone;
	}
	return left;
}

static int empty(struct controller *c, const char *ns, size_t *finalizers, struct err *err)
{
	int left = empty_kind(c, &kind_pod, ns, finalizers, err), r;

	for (size_t i = 0; left == 0 && i < n_schema_kinds; i++) {
		if (!schema_kinds[i]->namespaced || schema_kinds[i]->storage ||
		    schema_kinds[i] == &kind_pod)
			continue;
		r = empty_kind(c, schema_kinds[i], ns, finalizers, err);
		if (r < 0)
			return r;
		left += r;
	}
	return left;
}

static int note(struct controller *c, const struct object *ns, int left, size_t finalizers,
		struct err *err)
{
	json_t *status = json_deep_copy(json_at(object_json(ns), "status"));
	auto_free char *content = xasprintf("Some resources are remaining: %d objects", left);
	auto_free char *held = xasprintf("Some content in the namespace has finalizers remaining: "
					 "%zu objects",
					 finalizers);
	time_t now = wall_now();

	status = status ? status : json_object();
	condition_set(status, "NamespaceDeletionDiscoveryFailure", "False", "ResourcesDiscovered",
		      "All resources successfully discovered", now);
	condition_set(status, "NamespaceDeletionGroupVersionParsingFailure", "False",
		      "ParsedGroupVersions", "All legacy kube types successfully parsed", now);
	condition_set(status, "NamespaceDeletionContentFailure", "False", "ContentDeleted",
		      "All content successfully deleted, may be waiting on finalization", now);
	condition_set(status, "NamespaceContentRemaining", left ? "True" : "False",
		      left ? "SomeResourcesRemain" : "ContentRemoved",
		      left ? content : "All content successfully removed", now);
	condition_set(status, "NamespaceFinalizersRemaining", finalizers ? "True" : "False",
		      finalizers ? "SomeFinalizersRemain" : "ContentHasNoFinalizers",
		      finalizers ? held : "All content-preserving finalizers finished", now);
	return registry_set_status(c->registry, &kind_namespace, "", ns->name, ns->uid, status,
				   STORE_VOLATILE, err);
}

/* Takes the finalizer "kubernetes" out of spec.finalizers: the registry removes the object. */
static int finalize(struct controller *c, const char *name, struct err *err)
{
	const struct object *ns = store_get(c->store, &kind_namespace, "", name);
	json_auto_t *obj = ns ? object_dup(ns) : NULL;
	json_t *list = json_at(obj, "spec.finalizers"), *f;
	struct write_options w = {0};
	size_t i;

	if (!ns)
		return 0;
	json_array_foreach(list, i, f) if (str_eq(json_string_value(f), "kubernetes"))
		json_array_remove(list, i--);
	return registry_update(c->registry, &kind_namespace, "finalize", "", name, obj, &w, NULL,
			       NULL, err);
}

static int reconcile(struct controller *c, const char *key, struct err *err)
{
	auto_free char *none = NULL;
	const char *name = key_split(key, &none);
	const struct object *ns = store_get(c->store, &kind_namespace, "", name);
	size_t finalizers = 0;
	int left, r;

	if (!ns || !meta_deleting(object_json(ns)) || !json_len(object_json(ns), "spec.finalizers"))
		return 0;
	left = empty(c, name, &finalizers, err);
	if (left < 0)
		return left;
	if (left == 0)
		return finalize(c, name, err);
	r = note(c, ns, left, finalizers, err);
	return r == -ENOENT ? 0 : r; /* the events of the last objects bring us back */
}

const struct controller_def namespace_controller = {
	.name = "namespace", .on_event = on_event, .reconcile = reconcile};
