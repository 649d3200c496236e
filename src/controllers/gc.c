/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Garbage collection by ownerReferences (upstream: pkg/controller/garbagecollector). Keys are
 * "<kind index>/<namespace>/<name>". State: for every owner UID the keys of its dependents.
 */
#include "internal.h"

/* While dependents go one after another their waiting owner is looked at no more often. */
#define OWNER_PAUSE_US (50 * USEC_PER_MSEC)

struct owner {
	struct map dependents; /* key -> owner (any non-NULL) */
};
struct graph {
	struct map owners; /* uid -> struct owner */
};

static void *start(struct controller *c UNUSED)
{
	return xnew(struct graph);
}

static void owner_free(struct owner *o)
{
	map_done(&o->dependents);
	free(o);
}

static void stop(void *state)
{
	struct graph *g = state;
	size_t i = 0;
	void *o;

	while (map_next(&g->owners, &i, NULL, &o))
		owner_free(o);
	map_done(&g->owners);
	free(g);
}

static char *key_of(const struct object *o)
{
	return xasprintf("%u/%s/%s", o->kind->index, o->ns, o->name);
}

static const struct object *object_of(const struct controller *c, const char *key)
{
	const char *rest = strchr(key, '/') + 1;
	auto_free char *ns = NULL;
	const char *name = key_split(rest, &ns);
	const struct kind *k = kind_at(strtoul(key, NULL, 10));

	return k ? store_get(c->store, k, ns, name) : NULL;
}

static void link_owners(struct graph *g, const json_t *obj, const char *key, bool add)
{
	json_t *ref;
	size_t i;

	json_array_foreach(json_at(obj, "metadata.ownerReferences"), i, ref)
	{
		const char *uid = json_str(ref, "uid", "");
		struct owner *o = map_get(&g->owners, uid);

		if (add && !o) {
			o = xnew(struct owner);
			map_put(&g->owners, uid, o);
		}
		if (add)
			map_put(&o->dependents, key, o);
		else if (o)
			map_del(&o->dependents, key);
		if (o && !o->dependents.n) {
			map_del(&g->owners, uid);
			owner_free(o);
		}
	}
}

static void dirty_dependents(struct controller *c, const char *uid)
{
	struct graph *g = c->state;
	struct owner *o = map_get(&g->owners, uid);
	const char *key;
	size_t i = 0;

	while (o && map_next(&o->dependents, &i, &key, NULL))
		queue_add(&c->queue, key);
}

/* Most objects are not, and are not worth being parsed for that. */
static bool is_going(const struct object *o)
{
	return strstr(o->text, "\"deletionTimestamp\"") != NULL;
}

static bool is_deleting(const struct object *o)
{
	return is_going(o) && meta_deleting(object_json(o));
}

static void dirty_owners(struct controller *c, const json_t *obj)
{
	struct graph *g = c->state;
	json_t *ref;
	size_t i;

	json_array_foreach(json_at(obj, "metadata.ownerReferences"), i, ref)
	{
		const char *uid = json_str(ref, "uid", "");
		const struct object *o = store_get_uid(c->store, uid);
		auto_free char *key = o ? key_of(o) : NULL;

		if (!key || !is_deleting(o))
			continue;
		if (map_get(&g->owners, uid))
			queue_add_after(&c->queue, key, OWNER_PAUSE_US);
		else /* that was the last one */
			queue_add(&c->queue, key);
	}
}

static bool has_owners(const struct object *o)
{
	return strstr(o->text, "\"ownerReferences\"") != NULL;
}

static bool same_owners(const json_t *a, const json_t *b)
{
	const json_t *x = json_at(a, "metadata.ownerReferences");
	const json_t *y = json_at(b, "metadata.ownerReferences");

	return x && y && json_same(x, y);
}

static void on_event(struct controller *c, const struct store_event *ev)
{
	auto_free char *key = key_of(ev->obj);

	if (ev->old && has_owners(ev->old))
		link_owners(c->state, object_json(ev->old), key, false);
	if (ev->type == STORE_DELETED) {
		if (has_owners(ev->obj)) {
			link_owners(c->state, object_json(ev->obj), key, false);
			dirty_owners(c, object_json(ev->obj)); /* a foreground owner may wait */
		}
		dirty_dependents(c, ev->obj->uid);
		return;
	}
	if (has_owners(ev->obj))
		link_owners(c->state, object_json(ev->obj), key, true);
	if (ev->old && has_owners(ev->old) &&
	    !same_owners(object_json(ev->old), object_json(ev->obj)))
		dirty_owners(c, object_json(ev->old)); /* one of them may be free now */
	if (has_owners(ev->obj) || is_going(ev->obj))
		queue_add(&c->queue, key);
}

static int drop_owner(struct controller *c, const struct object *o, const char *uid,
		      struct err *err)
{
	json_auto_t *obj = object_dup(o);
	json_t *list = json_at(obj, "metadata.ownerReferences"), *ref;
	size_t i;

	json_array_foreach(list, i, ref) if (streq(json_str(ref, "uid", ""), uid))
		json_array_remove(list, i--);
	if (!json_array_size(list))
		json_drop(obj, "metadata.ownerReferences");
	return object_update(c, o, obj, err);
}

static int remove_object(struct controller *c, const struct object *o, const char *propagation,
			 struct err *err)
{
	struct write_options w = {.grace_seconds = -1,
				  .precondition_uid = o->uid,
				  .propagation = propagation,
				  .storage = STORE_LAZY};
	int r = registry_delete(c->registry, o->kind, o->ns, o->name, &w, NULL, NULL, err);

	return r == -ENOENT ? 0 : r;
}

/* The dependents of uid as borrowed objects; caller frees the array. */
static const struct object **dependents(struct controller *c, const char *uid, size_t *n)
{
	struct graph *g = c->state;
	struct owner *o = map_get(&g->owners, uid);
	const struct object **v = xcalloc(o ? o->dependents.n + 1 : 1, sizeof(*v));
	const char *key;
	size_t i = 0;

	*n = 0;
	while (o && map_next(&o->dependents, &i, &key, NULL))
		if ((v[*n] = object_of(c, key)))
			++*n;
	return v;
}

/* True when the slice is over: the key is looked at again in a later turn. */
static bool put_off(struct controller *c, const struct object *o, mono_t start)
{
	if (!loop_slice_over(start))
		return false;
	auto_free char *key = key_of(o);

	queue_add(&c->queue, key);
	return true;
}

static int orphan(struct controller *c, const struct object *o, struct err *err)
{
	size_t n;
	const struct object **deps auto_free = dependents(c, o->uid, &n);
	mono_t start = mono_now();
	int r = 0;

	for (size_t i = 0; r == 0 && i < n; i++) {
		r = drop_owner(c, deps[i], o->uid, err);
		if (put_off(c, o, start))
			return r;
	}
	return r == 0 ? finalizer_drop(c, o, "orphan", err) : r;
}

enum owner_state { OWNER_ABSENT, OWNER_SOLID, OWNER_WAITING };

/* Does the reference name the object that has its uid? Versions may differ. */
static bool names(const json_t *ref, const struct object *owner)
{
	const char *version = json_str(ref, "apiVersion", ""), *slash = strchr(version, '/');
	size_t group = slash ? (size_t)(slash - version) : 0;

	return streq(json_str(ref, "name", ""), owner->name) &&
	       streq(json_str(ref, "kind", ""), owner->kind->kind) &&
	       strlen(owner->kind->group) == group &&
	       strncmp(owner->kind->group, version, group) == 0;
}

static enum owner_state owner_state(const struct controller *c, const struct object *o,
				    const json_t *ref)
{
	const struct object *owner = store_get_uid(c->store, json_str(ref, "uid", ""));

	/* An owner in another namespace does not count. */
	if (!owner || !names(ref, owner) || (*owner->ns && !streq(owner->ns, o->ns)))
		return OWNER_ABSENT;
	if (is_deleting(owner) && finalizer_find(object_json(owner), "foregroundDeletion"))
		return OWNER_WAITING;
	return OWNER_SOLID;
}

/* Whoever refers to an owner in another namespace is told why the object goes. */
static void tell_namespace(struct controller *c, const struct object *o, const json_t *ref)
{
	const struct object *owner = store_get_uid(c->store, json_str(ref, "uid", ""));

	if (owner && *owner->ns && !streq(owner->ns, o->ns))
		registry_event(c->registry, o, NULL, "Warning", "OwnerRefInvalidNamespace",
			       "garbage-collector-controller",
			       "ownerRef [%s/%s, namespace: %s, name: %s, uid: %s] does not exist "
			       "in namespace \"%s\"",
			       json_str(ref, "apiVersion", ""), json_str(ref, "kind", ""), o->ns,
			       json_str(ref, "name", ""), json_str(ref, "uid", ""), o->ns);
}

/* Built-in groups only: an owner of a kind that is not known here may live elsewhere. */
static bool owner_known(const json_t *ref)
{
	return kind_by_name(json_str(ref, "apiVersion", ""), json_str(ref, "kind", "")) != NULL;
}

static const char *own_propagation(const json_t *obj)
{
	if (finalizer_find(obj, "orphan"))
		return "Orphan";
	return finalizer_find(obj, "foregroundDeletion") ? "Foreground" : "Background";
}

/* Takes the word back that the owners have to wait for this object. */
static int unblock(struct controller *c, const struct object *o, struct err *err)
{
	json_auto_t *obj = object_dup(o);
	json_t *ref;
	size_t i;

	json_array_foreach(json_at(obj, "metadata.ownerReferences"), i, ref)
	{
		if (json_bool(ref, "blockOwnerDeletion", false))
			json_put_bool(ref, "blockOwnerDeletion", false);
	}
	return object_update(c, o, obj, err);
}

/* An object whose owners wait for it. In a circle, where what it owns waits as well, everybody
 * would wait for ever: it holds nobody then. */
static int go_before_owner(struct controller *c, const struct object *o, struct err *err)
{
	size_t n, i = 0;
	const struct object **deps auto_free = dependents(c, o->uid, &n);
	int r = 0;

	while (i < n && !(is_deleting(deps[i]) &&
			  finalizer_find(object_json(deps[i]), "foregroundDeletion")))
		i++;
	if (i < n)
		r = unblock(c, o, err);
	return r < 0 ? r : remove_object(c, o, n ? "Foreground" : "Background", err);
}

static int check_owners(struct controller *c, const struct object *o, struct err *err)
{
	const json_t *obj = object_json(o), *refs = json_at(obj, "metadata.ownerReferences");
	size_t i, solid = 0, waiting = 0, unknown = 0;
	json_t *ref;

	json_array_foreach(refs, i, ref)
	{
		enum owner_state s = owner_state(c, o, ref);

		if (s == OWNER_ABSENT)
			tell_namespace(c, o, ref);
		unknown += s == OWNER_ABSENT && !owner_known(ref);
		solid += s == OWNER_SOLID;
		waiting += s == OWNER_WAITING;
	}
	if (!json_array_size(refs) || meta_deleting(obj) || unknown)
		return 0;
	if (waiting && !solid)
		return go_before_owner(c, o, err);
	if (!solid)
		return remove_object(c, o, own_propagation(obj), err);
	/* One owner stays: the object, too, and the others are let go. */
	json_array_foreach(refs, i, ref)
	{
		if (owner_state(c, o, ref) != OWNER_SOLID)
			return drop_owner(c, o, json_str(ref, "uid", ""), err);
	}
	return 0;
}

static bool blocks(const json_t *dependent, const char *owner_uid)
{
	json_t *ref = json_find(json_at(dependent, "metadata.ownerReferences"), "uid", owner_uid);

	return json_bool(ref, "blockOwnerDeletion", false);
}

/* Dependents first; the owner goes when nobody holds it any more. */
static int foreground(struct controller *c, const struct object *o, struct err *err)
{
	size_t n;
	bool blocking = false;
	const struct object **deps auto_free = dependents(c, o->uid, &n);
	mono_t start = mono_now();
	int r = 0;

	for (size_t i = 0; r == 0 && i < n; i++) {
		uint64_t rev = store_rev(c->store);

		blocking = blocking || blocks(object_json(deps[i]), o->uid);
		if (is_deleting(deps[i]))
			continue;
		r = check_owners(c, deps[i], err);
		/* Only what brings us on may put off the rest. */
		if (store_rev(c->store) != rev && put_off(c, o, start))
			return r;
	}
	if (r < 0 || blocking)
		return r;
	return finalizer_drop(c, o, "foregroundDeletion", err);
}

static int reconcile(struct controller *c, const char *key, struct err *err)
{
	const struct object *o auto_clean(object) = object_ref(object_of(c, key));
	int r = 0;

	if (!o)
		return 0;
	if (meta_deleting(object_json(o)) && finalizer_find(object_json(o), "orphan"))
		r = orphan(c, o, err);
	else if (meta_deleting(object_json(o)) &&
		 finalizer_find(object_json(o), "foregroundDeletion"))
		r = foreground(c, o, err);
	else
		r = check_owners(c, o, err);
	return r;
}

/* The object, and its dependents when they are what it is about. */
static size_t weight(struct controller *c, const char *key)
{
	const struct object *o = object_of(c, key), *dependent;
	struct graph *g = c->state;
	struct owner *owner = o && is_going(o) ? map_get(&g->owners, o->uid) : NULL;
	size_t sum = o ? o->len : 0, i = 0;
	const char *k;

	while (owner && sum < WEIGHT_LARGE && map_next(&owner->dependents, &i, &k, NULL))
		if ((dependent = object_of(c, k)))
			sum += dependent->len;
	return sum;
}

const struct controller_def gc_controller = {.name = "gc",
					     .on_event = on_event,
					     .reconcile = reconcile,
					     .weight = weight,
					     .start = start,
					     .stop = stop};
