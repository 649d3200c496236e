/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Server-side apply (upstream: structured-merge-diff's merge/update.go): the applied configuration
 * is merged into the object, what this manager applied before and does not any more is taken out,
 * and what others own and this would change is a conflict, or taken from them by force.
 */
#include "internal.h"

#define LAST_APPLIED "kubectl.kubernetes.io/last-applied-configuration"

struct apply {
	const struct kind *k;
	const char *sub; /* what is written */
	const char *as;	 /* the subresource that entries name */
	const char *manager;
	const json_t *live;
	const json_t *applied;
	json_t *entries; /* of the live object */
	json_t *set;	 /* what is applied now */
	json_t *merged;	 /* the outcome */
	struct changes changes;
};

/* ---- conflicts --------------------------------------------------------------------------- */

struct conflict {
	char *manager; /* as messages name it */
	struct strv paths;
};
struct conflicts {
	struct conflict *v;
	size_t n, paths;
};

static void conflicts_done(struct conflicts *c)
{
	for (size_t i = 0; i < c->n; i++) {
		free(c->v[i].manager);
		strv_done(&c->v[i].paths);
	}
	free(c->v);
}

static char *manager_text(const json_t *entry)
{
	const char *sub = json_str(entry, "subresource", "");
	auto_strbuf b = {0};

	strbuf_addf(&b, "\"%s\"", json_str(entry, "manager", ""));
	if (*sub)
		strbuf_addf(&b, " with subresource \"%s\"", sub);
	if (streq(json_str(entry, "operation", ""), "Update"))
		strbuf_addf(&b, " using %s", json_str(entry, "apiVersion", ""));
	return strbuf_steal(&b);
}

/* allowed: fields that may be taken without being asked for. */
static void find_conflicts(struct apply *a, const json_t *allowed, struct conflicts *ret)
{
	json_t *e;
	size_t i;

	json_array_foreach(a->entries, i, e)
	{
		if (managed_is(e, a->manager, "Apply", a->as))
			continue;
		json_auto_t *both = fields_intersection(
			managed_set(e), changes_set(&a->changes, json_str(e, "apiVersion", "")));
		json_auto_t *left = fields_difference(both, allowed);

		if (json_object_size(left) == 0)
			continue;
		ret->v = xrealloc(ret->v, ret->n + 1, sizeof(*ret->v));
		ret->v[ret->n] = (struct conflict){.manager = manager_text(e)};
		fields_paths(left, &ret->v[ret->n].paths);
		ret->paths += ret->v[ret->n++].paths.n;
	}
}

static int conflict_order(const void *a, const void *b)
{
	const struct conflict *x = a, *y = b;

	return strcmp(x->manager, y->manager);
}

static int fail_conflicts(struct conflicts *c, struct err *err)
{
	auto_strbuf b = {0};

	qsort(c->v, c->n, sizeof(*c->v), conflict_order);
	for (size_t i = 0; i < c->n; i++) {
		if (c->paths == 1) {
			strbuf_addf(&b, "conflict with %s: %s", c->v[i].manager,
				    c->v[i].paths.v[0]);
			continue;
		}
		strbuf_addf(&b, "%sconflicts with %s:", i ? "\n" : "", c->v[i].manager);
		for (size_t p = 0; p < c->v[i].paths.n; p++)
			strbuf_addf(&b, "\n- %s", c->v[i].paths.v[p]);
	}
	int rc = err_set(err, ERR_CONFLICT, "Apply failed with %zu conflict%s: %s", c->paths,
			 c->paths == 1 ? "" : "s", b.s);

	for (size_t i = 0; i < c->n; i++)
		for (size_t p = 0; p < c->v[i].paths.n; p++)
			err_cause_add(err, "FieldManagerConflict", c->v[i].paths.v[p],
				      "conflict with %s", c->v[i].manager);
	return rc;
}

/* kubectl's own client-side apply is no stranger to its server-side apply: what it applied last is
 * in the annotation. */
static json_t *allowed_fields(const struct apply *a)
{
	const char *text = meta_annotation(a->live, LAST_APPLIED);

	if (!text || !streq(a->manager, "kubectl"))
		return json_object();
	json_auto_t *last = json_parse(text, strlen(text), NULL);
	json_auto_t *set = json_is_object(last) ? fields_of(a->k->message, last) : NULL;

	return set ? managed_strip(a->k, a->sub, set) : json_object();
}

static int check_conflicts(struct apply *a, struct err *err)
{
	json_auto_t *allowed = allowed_fields(a);
	struct conflicts found = {0};

	find_conflicts(a, allowed, &found);
	int rc = found.paths ? fail_conflicts(&found, err) : 0;

	conflicts_done(&found);
	return rc;
}

/* ---- merging ----------------------------------------------------------------------------- */

/* What the applied configuration may not or does not mean to set. */
static json_t *significant(const struct kind *k, const char *sub, const json_t *applied)
{
	json_t *v = json_deep_copy(applied);

	if (k->has_status && !sub)
		json_object_del(v, "status");
	if (sub && streq(sub, "status"))
		json_object_del(v, "spec");
	return v;
}

/* An object that nobody has been noted for: all that is there has been there before. */
static void begin_tracking(struct apply *a)
{
	json_auto_t *nothing = json_object(), *all = NULL, *gone = NULL;

	if (managed_made(a->k, a->live, a->entries))
		return;
	fields_compare(a->k->message, nothing, a->live, &all, &gone);
	json_auto_t *set = managed_strip(a->k, "status", all); /* keeps the status */

	json_array_append_new(a->entries,
			      managed_entry(a->k, "before-first-apply", "Update", NULL, set));
}

static const json_t *last_entry(const struct apply *a)
{
	json_t *e;
	size_t i;

	json_array_foreach(a->entries, i, e)
	{
		if (managed_is(e, a->manager, "Apply", a->as))
			return e;
	}
	return NULL;
}

/* Do paths of the version mean the same in this one? */
static bool same_paths(const struct kind *k, const char *api_version)
{
	const struct kind *other = kind_by_name(api_version, k->kind);

	return other == k || (other && other->custom && k->custom);
}

/* All that somebody owns when this has been applied. */
static json_t *owned_set(const struct apply *a)
{
	json_t *all = json_incref(a->set), *e;
	size_t i;

	json_array_foreach(a->entries, i, e)
	{
		if (managed_is(e, a->manager, "Apply", a->as))
			continue;
		json_t *more = fields_union(all, managed_set(e));

		json_decref(all);
		all = more;
	}
	return all;
}

/* Nothing changes, and the last entry says what the new one would. */
static bool is_same(struct apply *a, const json_t *last)
{
	char version[API_VERSION_MAX];

	kind_api_version(a->k, version);
	return streq(json_str(last, "apiVersion", ""), version) &&
	       changes_none(&a->changes, version) && json_same(managed_set(last), a->set);
}

static void merge(struct apply *a)
{
	json_auto_t *owned = owned_set(a);
	const json_t *last = last_entry(a);

	a->merged = fields_merge(a->k->message, a->live, a->applied);
	/* What was applied by other names may be there by other names still: it is left. */
	if (last && same_paths(a->k, json_str(last, "apiVersion", "")))
		fields_prune(a->k->message, a->merged, managed_set(last), owned);
	a->changes = (struct changes){.k = a->k, .sub = a->sub, .old = a->live, .now = a->merged};

	json_auto_t *left = managed_without(a->entries, &a->changes);
	json_t *list = json_array(), *e;
	bool same = last && is_same(a, last);
	size_t i;

	/* The same again: the entry keeps its time, applying twice changes nothing. */
	json_array_foreach(left, i, e)
	{
		if (same || !managed_is(e, a->manager, "Apply", a->as))
			json_array_append(list, e);
	}
	if (!same && json_object_size(a->set))
		json_array_append_new(list,
				      managed_entry(a->k, a->manager, "Apply", a->as, a->set));
	managed_store(a->merged, list);
	json_decref(list);
}

/* What is applied counts as it was sent; what is stored has one form, without nulls and zeros that
 * say nothing. */
static int make_final(const struct kind *k, json_t *obj, struct err *err)
{
	return schema_check(k->message, NULL, obj, FIELDS_IGNORE, NULL, err);
}

/* The object as it will be stored, without what managedFields say of times. */
static json_t *timeless(const struct kind *k, const json_t *obj, const json_t *old)
{
	json_t *v = json_deep_copy(obj), *e;
	size_t i;

	schema_default(k, v, old);
	json_array_foreach(json_at(v, "metadata.managedFields"), i, e) json_object_del(e, "time");
	return v;
}

/* A value said in other words (stringData, cpu: "0.1") looks changed until it has its final form:
 * if nothing is, the times stay, too, and applying twice changes nothing. */
static void keep_times(struct apply *a)
{
	json_auto_t *was = timeless(a->k, a->live, a->live);
	json_auto_t *will = timeless(a->k, a->merged, a->live);

	if (json_same(was, will))
		json_put(a->merged, "metadata.managedFields",
			 json_deep_copy(json_at(a->live, "metadata.managedFields")));
}

/* kubectl's other apply shall find what was applied last. */
static void renew_annotation(struct apply *a)
{
	if (!streq(a->manager, "kubectl") || !meta_annotation(a->live, LAST_APPLIED))
		return;
	json_auto_t *copy = json_deep_copy(a->applied);
	json_t *annotations = json_at(copy, "metadata.annotations");

	json_object_del(annotations, LAST_APPLIED);
	auto_free char *text = json_dumps(copy, JSON_COMPACT | JSON_SORT_KEYS);
	auto_free char *line = xasprintf("%s\n", text ? text : "{}");

	json_object_set_new(json_obj(a->merged, "metadata.annotations"), LAST_APPLIED,
			    json_string(line));
}

static void apply_done(struct apply *a)
{
	json_decref(a->entries);
	json_decref(a->set);
	json_decref(a->merged);
	changes_done(&a->changes);
}

static int apply_create(struct registry *r, struct apply *a, const char *ns, json_t *obj,
			const struct write_options *o, const struct object **ret, struct err *err)
{
	struct write_options w = *o;
	json_auto_t *list = json_array();

	if (*meta_uid(obj))
		return fail_conflict(err, a->k, meta_name(obj),
				     "uid mismatch: the provided object specified uid %s, and no "
				     "existing object was found",
				     meta_uid(obj));
	if (json_object_size(a->set))
		json_array_append_new(list,
				      managed_entry(a->k, a->manager, "Apply", a->as, a->set));
	managed_store(obj, list);
	if (make_final(a->k, obj, err) < 0)
		return -EINVAL;
	/* As in a PUT that makes an object: a version that is given is of one that went. */
	json_drop(obj, "metadata.resourceVersion");
	w.managed_given = true;
	return registry_create(r, a->k, ns, obj, &w, ret, err);
}

static int apply_update(struct registry *r, struct apply *a, const struct object *live,
			const struct write_options *o, const struct object **ret, struct err *err)
{
	struct write_options w = *o;

	a->live = object_json(live);
	a->entries = managed_start(a->live, a->live);
	if (!json_array_size(a->entries))
		begin_tracking(a);
	merge(a);
	if (!o->force && check_conflicts(a, err) < 0)
		return -EEXIST;
	if (make_final(a->k, a->merged, err) < 0)
		return -EINVAL;
	renew_annotation(a);
	keep_times(a);
	w.managed_given = true;
	w.patched = true;
	w.precondition_rev = live->rev;
	json_put_str(a->merged, "metadata.name", live->name);
	return registry_update(r, a->k, a->sub, live->ns, live->name, a->merged, &w, ret, NULL,
			       err);
}

int registry_apply(struct registry *r, const struct kind *k, const char *subresource,
		   const char *ns, const char *name, json_t *obj, const struct write_options *o,
		   const struct object **ret, bool *ret_created, struct err *err)
{
	const struct object *live = store_get(r->store, k, ns, name);
	json_auto_t *applied = significant(k, subresource, obj);
	json_auto_t *all = fields_of(k->message, applied);
	struct apply a = {.k = k,
			  .sub = subresource,
			  .as = o->tracked_as ? o->tracked_as : subresource,
			  .manager = o->field_manager,
			  .applied = applied,
			  .set = managed_strip(k, subresource, all)};
	int rc;

	*ret_created = !live;
	if (!live && a.as)
		rc = fail_not_found(err, k, name);
	else if (!live)
		rc = apply_create(r, &a, ns, applied, o, ret, err);
	else
		rc = apply_update(r, &a, live, o, ret, err);
	apply_done(&a);
	return rc;
}
