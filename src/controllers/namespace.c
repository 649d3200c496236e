/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Namespace: empties a terminating namespace, pods first, then lets it go (upstream:
 * namespaced_resources_deleter.go with OrderedNamespaceDeletion).
 */
#include "internal.h"

/* While objects go one after another the namespace is looked at no more often. */
#define ROUND_PAUSE_US (20 * USEC_PER_MSEC)

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
		controller_dirty_after(c, "", ns->name, ROUND_PAUSE_US);
}

/* What a round of emptying found. */
struct rest {
	size_t left;		 /* objects that stay for now */
	struct strbuf resources; /* "pods. has 2 resource instances, ..." */
	struct map finalizers;	 /* name -> struct count */
	struct err failure;	 /* the first one */
};
struct count {
	size_t n;
};

static void rest_done(struct rest *r)
{
	size_t i = 0;
	void *count;

	while (map_next(&r->finalizers, &i, NULL, &count))
		free(count);
	map_done(&r->finalizers);
	strbuf_done(&r->resources);
	err_done(&r->failure);
}

static void note_finalizers(struct rest *r, const json_t *obj)
{
	json_t *f;
	size_t i;

	json_array_foreach(json_at(obj, "metadata.finalizers"), i, f)
	{
		struct count *count = map_get(&r->finalizers, json_string_value(f));

		if (!count) {
			count = xnew(struct count);
			map_put(&r->finalizers, json_string_value(f), count);
		}
		count->n++;
	}
}

/* Deletes the object if nobody has yet; true when it stays for now. */
static bool stays(struct controller *c, const struct object *o, struct rest *r)
{
	struct write_options w = {.grace_seconds = -1,
				  .precondition_uid = o->uid,
				  .propagation = "Background",
				  .storage = STORE_LAZY};
	bool going = strstr(o->text, "\"deletionTimestamp\"") && meta_deleting(object_json(o));
	bool gone = false;
	auto_err err = {0};

	if (!going &&
	    registry_delete(c->registry, o->kind, o->ns, o->name, &w, NULL, &gone, &err) < 0) {
		gone = err.reason == ERR_NOT_FOUND;
		if (!gone && !r->failure.message)
			err_copy(&r->failure, &err);
	}
	if (!gone && strstr(o->text, "\"finalizers\""))
		note_finalizers(r, object_json(o));
	return !gone;
}

static void empty_kind(struct controller *c, const struct kind *k, const char *ns, struct rest *r)
{
	struct store_iter it = store_iter(c->store, k, ns);
	const struct object *o;
	size_t left = 0;

	while ((o = store_next(&it)))
		left += stays(c, o, r);
	if (left)
		strbuf_addf(&r->resources, "%s%s.%s has %zu resource instances",
			    r->left ? ", " : "", k->plural, k->group, left);
	r->left += left;
}

/* Pods first; the rest when none is left. */
static void empty(struct controller *c, const char *ns, struct rest *r)
{
	empty_kind(c, &kind_pod, ns, r);
	for (size_t i = 0; !r->left && i < kind_count(); i++) {
		const struct kind *k = kind_at(i);

		if (k && k->namespaced && k != &kind_pod && !k->storage)
			empty_kind(c, k, ns, r);
	}
}

static char *finalizers_text(const struct rest *r)
{
	auto_strbuf b = {0};
	const char *name;
	void *count;
	size_t i = 0;

	strbuf_adds(&b, "Some content in the namespace has finalizers remaining:");
	while (map_next(&r->finalizers, &i, &name, &count))
		strbuf_addf(&b, "%s %s in %zu resource instances", b.s[b.len - 1] == ':' ? "" : ",",
			    name, ((struct count *)count)->n);
	return strbuf_steal(&b);
}

static int note(struct controller *c, const struct object *ns, const struct rest *r,
		struct err *err)
{
	json_t *status = json_deep_copy(json_at(object_json(ns), "status"));
	auto_free char *content =
		xasprintf("Some resources are remaining: %s", r->left ? r->resources.s : "");
	auto_free char *held = finalizers_text(r);
	auto_free char *failure = xasprintf("Failed to delete all resource types, 1 remaining: %s",
					    err_message(&r->failure));
	bool failed = r->failure.message, kept = r->finalizers.n;
	time_t now = wall_now();

	status = status ? status : json_object();
	condition_set(status, "NamespaceDeletionDiscoveryFailure", "False", "ResourcesDiscovered",
		      "All resources successfully discovered", now);
	condition_set(status, "NamespaceDeletionGroupVersionParsingFailure", "False",
		      "ParsedGroupVersions", "All legacy kube types successfully parsed", now);
	condition_set(status, "NamespaceDeletionContentFailure", failed ? "True" : "False",
		      failed ? "ContentDeletionFailed" : "ContentDeleted",
		      failed ? failure
			     : "All content successfully deleted, may be waiting on finalization",
		      now);
	condition_set(status, "NamespaceContentRemaining", r->left ? "True" : "False",
		      r->left ? "SomeResourcesRemain" : "ContentRemoved",
		      r->left ? content : "All content successfully removed", now);
	condition_set(status, "NamespaceFinalizersRemaining", kept ? "True" : "False",
		      kept ? "SomeFinalizersRemain" : "ContentHasNoFinalizers",
		      kept ? held : "All content-preserving finalizers finished", now);
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

/* Something is left: says what, and comes back when a deletion failed; else
 * the events of the last objects bring us back. */
static int not_yet(struct controller *c, const struct object *ns, struct rest *rest,
		   struct err *err)
{
	int r;

	r = note(c, ns, rest, err);
	if (rest->failure.message) {
		err_copy(err, &rest->failure);
		return -EIO;
	}
	return r == -ENOENT ? 0 : r;
}

static int reconcile(struct controller *c, const char *key, struct err *err)
{
	auto_free char *none = NULL;
	const char *name = key_split(key, &none);
	const struct object *ns = store_get(c->store, &kind_namespace, "", name);
	struct rest rest = {0};
	int r;

	if (!ns || !meta_deleting(object_json(ns)) || !json_len(object_json(ns), "spec.finalizers"))
		return 0;
	empty(c, name, &rest);
	if (rest.left)
		r = not_yet(c, ns, &rest, err);
	else
		r = finalize(c, name, err);
	rest_done(&rest);
	return r;
}

/* One that is going has who knows what in it. */
static size_t weight(struct controller *c, const char *key)
{
	auto_free char *none = NULL;
	const struct object *ns = store_get(c->store, &kind_namespace, "", key_split(key, &none));

	return ns && meta_deleting(object_json(ns)) ? WEIGHT_LARGE : 0;
}

const struct controller_def namespace_controller = {
	.name = "namespace", .on_event = on_event, .reconcile = reconcile, .weight = weight};
