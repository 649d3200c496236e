/* SPDX-License-Identifier: Apache-2.0 */
/*
 * metadata.managedFields: who set which field (upstream: apimachinery's managedfields and
 * structured-merge-diff's updater). Writes of API clients are noted when an object is made, and
 * from then on. What our own controllers make is not: that would double the size of every pod. Such
 * an object is tracked from the first write of a client on; then what is there is its controller's,
 * or, when it cannot be told who made it, from the first apply on, with all that is there as
 * `before-first-apply`, which is how upstream treats objects without entries. Status written by our
 * controllers is never noted.
 */
#include "internal.h"

#define UPDATE_ENTRIES_MAX 10
#define OWN_MANAGER "kube-controller-manager"
#define NODE_MANAGER "kubelet"

/* ---- entries ----------------------------------------------------------------------------- */

bool managed_is(const json_t *entry, const char *manager, const char *operation,
		const char *subresource)
{
	return streq(json_str(entry, "manager", ""), manager) &&
	       streq(json_str(entry, "operation", ""), operation) &&
	       streq(json_str(entry, "subresource", ""), subresource ? subresource : "");
}

const json_t *managed_set(const json_t *entry)
{
	return json_object_get(entry, "fieldsV1");
}

static bool is_valid(const json_t *entry)
{
	const char *operation = json_str(entry, "operation", "");

	return (streq(operation, "Apply") || streq(operation, "Update")) &&
	       streq(json_str(entry, "fieldsType", ""), "FieldsV1") &&
	       json_is_object(managed_set(entry)) && *json_str(entry, "apiVersion", "");
}

json_t *managed_entry(const struct kind *k, const char *manager, const char *operation,
		      const char *subresource, const json_t *set)
{
	char version[API_VERSION_MAX];
	json_t *e = json_object();

	json_put_str(e, "manager", manager);
	json_put_str(e, "operation", operation);
	json_put_str(e, "apiVersion", kind_api_version(k, version));
	json_put_time(e, "time", time(NULL));
	json_put_str(e, "fieldsType", "FieldsV1");
	json_put(e, "fieldsV1", json_incref((json_t *)(uintptr_t)set));
	if (subresource)
		json_put_str(e, "subresource", subresource);
	return e;
}

/* New array of the entries below metadata; empty when one of them cannot be read. */
static json_t *entries_of(const json_t *obj)
{
	json_t *list = json_array(), *e;
	size_t i;

	json_array_foreach(json_at(obj, "metadata.managedFields"), i, e)
	{
		if (!is_valid(e)) {
			json_array_clear(list);
			return list;
		}
		json_array_append(list, e);
	}
	return list;
}

/* [{}] and [] are how a client asks to forget all; who does not know the field sends none. */
static bool is_reset(const json_t *obj)
{
	const json_t *list = json_at(obj, "metadata.managedFields");

	return json_is_array(list) &&
	       (json_array_size(list) == 0 ||
		(json_array_size(list) == 1 && json_is_object(json_array_get(list, 0)) &&
		 json_object_size(json_array_get(list, 0)) == 0));
}

json_t *managed_start(const json_t *old, const json_t *obj)
{
	json_t *given = entries_of(obj);

	if (is_reset(obj) || json_array_size(given) || !old)
		return given;
	json_decref(given);
	return entries_of(old);
}

static int entry_order(const void *a, const void *b)
{
	static const char *const by[] = {"operation", "time", "manager", "apiVersion",
					 "subresource"};
	const json_t *x = *(json_t *const *)a, *y = *(json_t *const *)b;
	int r = 0;

	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(by); i++)
		r = strcmp(json_str(x, by[i], ""), json_str(y, by[i], ""));
	return r;
}

static json_t *sorted(const json_t *entries)
{
	size_t n = json_array_size(entries);
	json_t **v auto_free = xcalloc(n + 1, sizeof(*v)), *list = json_array();

	for (size_t i = 0; i < n; i++)
		v[i] = json_array_get(entries, i);
	qsort(v, n, sizeof(*v), entry_order);
	for (size_t i = 0; i < n; i++)
		json_array_append(list, v[i]);
	return list;
}

/* The updates of long ago share one entry, so that many managers do not swell an object. */
static void cap(json_t *entries)
{
	const char *const ancient = "ancient-changes";
	size_t i, updates = 0, oldest, bucket;
	json_t *e;

	json_array_foreach(entries, i, e) updates += streq(json_str(e, "operation", ""), "Update");
	for (; updates > UPDATE_ENTRIES_MAX; updates--) {
		oldest = bucket = json_array_size(entries);
		json_array_foreach(entries, i, e)
		{
			if (managed_is(e, ancient, "Update", NULL))
				bucket = i;
			else if (streq(json_str(e, "operation", ""), "Update") && i < oldest)
				oldest = i; /* sorted by time */
		}
		e = json_copy(json_array_get(entries, oldest));
		if (bucket < json_array_size(entries))
			json_object_set_new(
				e, "fieldsV1",
				fields_union(managed_set(e),
					     managed_set(json_array_get(entries, bucket))));
		else
			updates++; /* the bucket is an entry, too: one more has to go into it */
		json_put_str(e, "manager", ancient);
		json_object_del(e, "subresource");
		json_array_set_new(entries, oldest, e);
		if (bucket < json_array_size(entries))
			json_array_remove(entries, bucket);
	}
}

void managed_store(json_t *obj, json_t *entries)
{
	json_auto_t *list = sorted(entries);

	cap(list);
	if (json_array_size(list))
		json_put(obj, "metadata.managedFields", json_incref(list));
	else
		json_drop(obj, "metadata.managedFields");
}

/* ---- sets -------------------------------------------------------------------------------- */

json_t *managed_strip(const struct kind *k, const char *subresource, const json_t *set)
{
	static const char never[] =
		"{\"f:apiVersion\":{},\"f:kind\":{},\"f:metadata\":{\".\":{},\"f:name\":{},"
		"\"f:namespace\":{},\"f:creationTimestamp\":{},\"f:selfLink\":{},\"f:uid\":{},"
		"\"f:generation\":{},\"f:managedFields\":{},\"f:resourceVersion\":{}}}";
	static json_t *parsed;

	breath_hold(); /* one for all tasks */
	if (!parsed)
		parsed = json_parse(never, strlen(never), NULL);
	breath_release();
	json_t *left = fields_difference(set, parsed);

	/* Status belongs to its subresource. */
	if (k->has_status && !subresource)
		json_object_del(left, "f:status");
	return left;
}

/* ---- what was made here ------------------------------------------------------------------ */

static bool has_controller(const json_t *obj)
{
	json_t *owner;
	size_t i;

	json_array_foreach(json_at(obj, "metadata.ownerReferences"), i, owner)
	{
		if (json_bool(owner, "controller", false))
			return true;
	}
	return false;
}

/* Who of ours has made the object, or NULL. */
static const char *maker_of(const struct kind *k, const json_t *obj)
{
	if (k == &kind_node)
		return NODE_MANAGER;
	if ((k == &kind_pod || k == &kind_replicaset) && has_controller(obj))
		return OWN_MANAGER;
	if (k == &kind_endpointslice &&
	    str_eq(meta_label(obj, "endpointslice.kubernetes.io/managed-by"),
		   "endpointslice-controller.k8s.io"))
		return OWN_MANAGER;
	return NULL;
}

/* The members of f:metadata and so on (status false), or f:status alone. New. */
static json_t *half_of(const json_t *set, bool status)
{
	json_t *half = json_object(), *v;
	const char *key;

	json_object_foreach((json_t *)(uintptr_t)set, key, v)
	{
		if (streq(key, "f:status") == status)
			json_object_set(half, key, v);
	}
	return half;
}

static void add_made(const struct kind *k, json_t *entries, const json_t *obj, const char *manager,
		     const char *subresource, const json_t *set)
{
	json_t *e, *when = json_at(obj, "metadata.creationTimestamp");

	if (json_object_size(set) == 0)
		return;
	e = managed_entry(k, manager, "Update", subresource, set);
	if (when)
		json_object_set(e, "time", when);
	json_array_append_new(entries, e);
}

bool managed_made(const struct kind *k, const json_t *obj, json_t *entries)
{
	const char *maker = maker_of(k, obj);
	json_auto_t *nothing = json_object(), *all = NULL, *gone = NULL;

	if (!maker)
		return false;
	fields_compare(k->message, nothing, obj, &all, &gone);
	json_auto_t *set = managed_strip(k, "status", all); /* keeps the status */
	json_auto_t *wish = half_of(set, false), *status = half_of(set, true);

	add_made(k, entries, obj, maker, NULL, wish);
	add_made(k, entries, obj, k == &kind_pod ? NODE_MANAGER : maker, "status", status);
	return true;
}

/* ---- changes ----------------------------------------------------------------------------- */

/* The object as the other version of its kind says it. */
static json_t *as_version(const struct kind *k, const struct kind *other, const json_t *obj)
{
	json_t *v = json_deep_copy(obj);

	json_drop(v, "metadata.managedFields");
	if (json_object_size(v))
		kind_convert(k, other, v);
	return v;
}

static json_t *compare(const struct kind *k, const char *sub, const json_t *old, const json_t *now)
{
	json_auto_t *set = NULL, *gone = NULL;

	fields_compare(k->message, old, now, &set, &gone);
	return json_pack("[o, o]", managed_strip(k, sub, set), managed_strip(k, sub, gone));
}

static const struct kind *stored_as(const struct kind *k)
{
	return k->storage ? k->storage : k;
}

/* [set, gone], or NULL. */
static const json_t *changes_of(struct changes *c, const char *api_version)
{
	const struct kind *other = kind_by_name(api_version, c->k->kind);
	json_t *pair = json_object_get(c->by_version, api_version);

	if (pair || !other || stored_as(other) != stored_as(c->k))
		return pair;
	if (other == c->k) {
		pair = compare(c->k, c->sub, c->old, c->now);
	} else {
		json_auto_t *was = as_version(c->k, other, c->old);
		json_auto_t *now = as_version(c->k, other, c->now);

		pair = compare(other, c->sub, was, now);
	}
	if (!c->by_version)
		c->by_version = json_object();
	json_object_set_new(c->by_version, api_version, pair);
	return pair;
}

const json_t *changes_set(struct changes *c, const char *api_version)
{
	return json_array_get(changes_of(c, api_version), 0);
}

bool changes_none(struct changes *c, const char *api_version)
{
	const json_t *pair = changes_of(c, api_version);

	return json_object_size(json_array_get(pair, 0)) == 0 &&
	       json_object_size(json_array_get(pair, 1)) == 0;
}

void changes_done(struct changes *c)
{
	json_decref(c->by_version);
}

json_t *managed_without(const json_t *entries, struct changes *c)
{
	json_t *list = json_array(), *e;
	size_t i;

	json_array_foreach(entries, i, e)
	{
		const json_t *pair = changes_of(c, json_str(e, "apiVersion", ""));

		if (!pair)
			continue; /* nobody can say any more what it is about */
		json_auto_t *lost = fields_union(json_array_get(pair, 0), json_array_get(pair, 1));
		json_auto_t *left = fields_difference(managed_set(e), lost);

		if (json_object_size(left) == 0)
			continue;
		if (json_same(left, managed_set(e))) {
			json_array_append(list, e);
			continue;
		}
		json_t *copy = json_copy(e);

		json_object_set(copy, "fieldsV1", left);
		json_array_append_new(list, copy);
	}
	return list;
}

/* What the writer set is his now, besides what he had. */
static void add_own(const struct kind *k, json_t *entries, const char *manager,
		    const char *subresource, const json_t *set)
{
	char version[API_VERSION_MAX];
	json_t *e;
	size_t i;

	kind_api_version(k, version);
	json_array_foreach(entries, i, e)
	{
		if (!managed_is(e, manager, "Update", subresource) ||
		    !streq(json_str(e, "apiVersion", ""), version))
			continue;
		json_auto_t *all = fields_union(managed_set(e), set);

		json_array_set_new(entries, i,
				   managed_entry(k, manager, "Update", subresource, all));
		return;
	}
	json_array_append_new(entries, managed_entry(k, manager, "Update", subresource, set));
}

void managed_note(const struct kind *k, const json_t *old, json_t *obj, const char *subresource,
		  const char *manager)
{
	/* Only the object itself takes other entries from a client. */
	json_auto_t *entries = managed_start(old, subresource && old ? old : obj), *left = NULL;
	json_auto_t *nothing = json_object();
	struct changes changes = {
		.k = k, .sub = subresource, .old = old ? old : nothing, .now = obj};
	char version[API_VERSION_MAX];
	bool forget = is_reset(obj);
	const json_t *set;

	json_drop(obj, "metadata.managedFields");
	if (old && manager && !forget && !json_array_size(entries))
		managed_made(k, old, entries);
	if (!json_array_size(entries) && (old || !manager))
		return;
	left = managed_without(entries, &changes);
	set = changes_set(&changes, kind_api_version(k, version));
	if (json_object_size(set))
		add_own(k, left, manager ? manager : OWN_MANAGER, subresource, set);
	managed_store(obj, left);
	changes_done(&changes);
}
