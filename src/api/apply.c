/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Server-side apply. The applied object is merged by the schema's merge rules; the applier's entry
 * in metadata.managedFields remembers which fields it applied, so that a field left out next time
 * is removed again unless another applier has it. Writers that update instead of apply are not
 * tracked: their fields are taken over without a conflict.
 *
 * Sets of fields are trees in the form of FieldsV1: "f:<name>", "k:<keys of a list item>",
 * "v:<scalar of a set>", "." for the item itself.
 */
#include "internal.h"

/* ---- field sets -------------------------------------------------------------------------- */

static json_t *set_of_object(const struct message *m, const json_t *obj);

/* "k:{...}" of a list item, with defaults for keys that it leaves out. */
static char *item_key(const struct field *f, const json_t *item)
{
	auto_strv keys = {0};
	json_auto_t *v = json_object();

	strv_split(&keys, f->ssa_keys ? f->ssa_keys : "name", ',');
	for (size_t i = 0; i < keys.n; i++) {
		const struct field *kf = message_field(f->message, keys.v[i]);
		json_t *have = json_object_get(item, keys.v[i]);

		if (have)
			json_object_set(v, keys.v[i], have);
		else if (kf && kf->dflt)
			json_object_set_new(v, keys.v[i],
					    json_loads(kf->dflt, JSON_DECODE_ANY, NULL));
	}
	auto_free char *text = json_dumps(v, JSON_COMPACT | JSON_SORT_KEYS);

	return xasprintf("k:%s", text ? text : "{}");
}

static char *scalar_key(const json_t *v)
{
	auto_free char *text = json_dumps(v, JSON_COMPACT | JSON_ENCODE_ANY);

	return xasprintf("v:%s", text ? text : "null");
}

static json_t *set_of_list(const struct field *f, const json_t *list)
{
	json_t *set = json_object(), *item;
	size_t i;

	json_array_foreach(list, i, item)
	{
		auto_free char *key = f->list == LIST_MAP ? item_key(f, item) : scalar_key(item);
		json_t *sub = f->list == LIST_MAP ? set_of_object(f->message, item) : json_object();

		if (f->list == LIST_MAP)
			json_object_set_new(sub, ".", json_object());
		json_object_set_new(set, key, sub);
	}
	return set;
}

static json_t *set_of_map(const struct field *f, const json_t *map)
{
	json_t *set = json_object(), *v;
	const char *name;

	json_object_foreach((json_t *)(uintptr_t)map, name, v)
	{
		auto_free char *key = xasprintf("f:%s", name);

		json_object_set_new(set, key,
				    f->message ? set_of_object(f->message, v) : json_object());
	}
	return set;
}

static json_t *set_of_value(const struct field *f, const json_t *v)
{
	bool atomic = !f || (f->flags & FIELD_MAP_ATOMIC) || f->list == LIST_ATOMIC;

	if (atomic)
		return json_object();
	if ((f->list == LIST_MAP || f->list == LIST_SET) && json_is_array(v))
		return set_of_list(f, v);
	if (f->list == LIST_STRING_MAP && json_is_object(v))
		return set_of_map(f, v);
	if (f->list == LIST_NONE && f->message && json_is_object(v))
		return set_of_object(f->message, v);
	return json_object();
}

static json_t *set_of_object(const struct message *m, const json_t *obj)
{
	json_t *set = json_object(), *v;
	const char *name;

	json_object_foreach((json_t *)(uintptr_t)obj, name, v)
	{
		auto_free char *key = xasprintf("f:%s", name);

		json_object_set_new(set, key, set_of_value(message_field(m, name), v));
	}
	return set;
}

/* What the applier owns: all it sent but identity and what the server sets. */
static json_t *applied_set(const struct message *m, const json_t *applied)
{
	static const char *const never[] = {
		"name", "namespace",  "creationTimestamp", "selfLink",
		"uid",	"generation", "managedFields",	   "resourceVersion"};
	json_auto_t *copy = json_deep_copy(applied);
	json_t *meta = json_object_get(copy, "metadata");

	json_object_del(copy, "apiVersion");
	json_object_del(copy, "kind");
	for (size_t i = 0; i < ARRAY_SIZE(never); i++)
		json_object_del(meta, never[i]);
	if (json_object_size(meta) == 0)
		json_object_del(copy, "metadata");
	return set_of_object(m, copy);
}

/* ---- removing what is no longer applied -------------------------------------------------- */

/* The subtrees of key in every set of the list. */
static json_t *others_below(const json_t *others, const char *key)
{
	json_t *list = json_array(), *one;
	size_t i;

	json_array_foreach(others, i, one) if (json_object_get(one, key))
		json_array_append(list, json_object_get(one, key));
	return list;
}

/* Index of the item that key ("k:{...}" or "v:...") names, or the list's size. */
static size_t item_find(const struct field *f, const json_t *list, const char *key)
{
	size_t i;
	json_t *item;

	json_array_foreach(list, i, item)
	{
		auto_free char *have = f->list == LIST_MAP ? item_key(f, item) : scalar_key(item);

		if (streq(have, key))
			return i;
	}
	return json_array_size(list);
}

static bool empty(const json_t *v)
{
	return (json_is_object(v) && json_object_size(v) == 0) ||
	       (json_is_array(v) && json_array_size(v) == 0);
}

static void prune(const struct message *m, const struct field *f, json_t *live, const json_t *prev,
		  const json_t *now, const json_t *others);

/* One entry of the former set. Returns true when what it names shall go altogether. */
static bool prune_entry(const struct message *m, const struct field *f, json_t *live, bool item,
			const char *key, const json_t *prev, const json_t *now,
			const json_t *others)
{
	json_auto_t *below = others_below(others, key);
	const json_t *still = json_object_get(now, key);
	bool kept = still || json_array_size(below);

	if (!kept && (item || json_object_size(prev) == 0))
		return true;
	prune(m, f, live, prev, still, below);
	return !kept && empty(live);
}

static void prune_list(const struct field *f, json_t *live, const json_t *prev, const json_t *now,
		       const json_t *others)
{
	const char *key;
	json_t *child;

	json_object_foreach((json_t *)(uintptr_t)prev, key, child)
	{
		size_t i = *key == '.' ? json_array_size(live) : item_find(f, live, key);

		if (i < json_array_size(live) &&
		    prune_entry(f->message, NULL, json_array_get(live, i), true, key, child, now,
				others))
			json_array_remove(live, i);
	}
}

/* Takes out of live what prev has and neither now nor one of others. m: type of live when it is an
 * object; f: the field that holds it when it is a list or map. */
static void prune(const struct message *m, const struct field *f, json_t *live, const json_t *prev,
		  const json_t *now, const json_t *others)
{
	const char *key;
	json_t *child;

	if (json_is_array(live)) {
		prune_list(f, live, prev, now, others);
		return;
	}
	json_object_foreach((json_t *)(uintptr_t)prev, key, child)
	{
		/* The sets come from the client: their form is not to be trusted. */
		if (!str_starts(key, "f:"))
			continue;
		const char *name = key + 2;
		json_t *value = json_object_get(live, name);
		const struct field *vf = m ? message_field(m, name) : NULL;

		if (value && prune_entry(vf && vf->list == LIST_NONE ? vf->message : NULL, vf,
					 value, false, key, child, now, others))
			json_object_del(live, name);
	}
}

/* ---- conflicts --------------------------------------------------------------------------- */

/* Where appliers meet: parallel lists. */
struct conflicts {
	bool force;	     /* take the fields out of the other sets */
	const json_t *entry; /* the other applier's */
	struct strv managers, versions, paths;
};

static json_t *member(const struct field *f, json_t *v, const char *key)
{
	if (str_starts(key, "f:"))
		return json_object_get(v, key + 2);
	if (!json_is_array(v) || !f || (f->list == LIST_MAP ? !f->message : f->list != LIST_SET))
		return NULL;
	return json_array_get(v, item_find(f, v, key));
}

/* ".spec.containers[name=\"c\"].image" as upstream writes paths. */
static char *path_below(const char *path, const char *key)
{
	auto_strbuf b = {0};
	const char *name;
	json_t *v;

	if (str_starts(key, "f:"))
		return xasprintf("%s.%s", path, key + 2);
	json_auto_t *keys = json_loads(key + 2, JSON_DECODE_ANY, NULL);

	json_object_foreach(keys, name, v)
	{
		auto_free char *text = json_dumps(v, JSON_COMPACT | JSON_ENCODE_ANY);

		strbuf_addf(&b, "%s%s=%s", b.len ? "," : "", name, text ? text : "");
	}
	return xasprintf("%s[%s]", path, b.s ? b.s : key + 2);
}

/* Collects the leaves that both sets have and for which the applied value is not the live one. */
static void find_conflicts(const struct message *m, const struct field *f, const json_t *set,
			   json_t *other, json_t *applied, json_t *live, const char *path,
			   struct conflicts *ret)
{
	const char *key;
	json_t *child;

	json_object_foreach((json_t *)(uintptr_t)set, key, child)
	{
		json_t *theirs = json_object_get(other, key);
		json_t *a = member(f, applied, key), *l = member(f, live, key);

		if (!theirs || !a || !l)
			continue;
		auto_free char *below = path_below(path, key);
		bool name = str_starts(key, "f:");
		const struct field *cf = name && m ? message_field(m, key + 2) : NULL;
		const struct message *cm =
			name ? (cf && cf->list == LIST_NONE ? cf->message : NULL) : f->message;

		if (json_object_size(child) && json_object_size(theirs)) {
			find_conflicts(cm, cf, child, theirs, a, l, below, ret);
		} else if (!json_equal(a, l)) {
			strv_add(&ret->managers, json_str(ret->entry, "manager", ""));
			strv_add(&ret->versions, json_str(ret->entry, "apiVersion", ""));
			strv_add(&ret->paths, below);
			if (ret->force)
				json_object_del(other, key);
		}
	}
}

/* 409 in upstream's words: one line, or a list under each manager. */
static int conflict_error(const struct conflicts *f, struct err *err)
{
	auto_strbuf b = {0};
	size_t n = f->paths.n;

	strbuf_addf(&b, "Apply failed with %zu conflict%s:", n, n == 1 ? "" : "s");
	for (size_t i = 0; i < n; i++) {
		if (i == 0 || !streq(f->managers.v[i], f->managers.v[i - 1]))
			strbuf_addf(&b, "%sconflict%s with \"%s\" using %s:", i ? "\n" : " ",
				    n == 1 ? "" : "s", f->managers.v[i], f->versions.v[i]);
		strbuf_addf(&b, n == 1 ? " %s" : "\n- %s", f->paths.v[i]);
	}
	int rc = err_set(err, ERR_CONFLICT, "%s", b.s);

	for (size_t i = 0; i < n; i++)
		err_cause_add(err, "FieldManagerConflict", f->paths.v[i],
			      "conflict with \"%s\" using %s", f->managers.v[i], f->versions.v[i]);
	return rc;
}

/* ---- managedFields ----------------------------------------------------------------------- */

static bool is_mine(const json_t *entry, const char *manager)
{
	return streq(json_str(entry, "manager", ""), manager) &&
	       streq(json_str(entry, "operation", ""), "Apply");
}

static json_t *entry_new(const struct kind *k, const char *manager, json_t *set /* stolen */)
{
	char version[API_VERSION_MAX];
	json_t *e = json_object();

	json_put_str(e, "manager", manager);
	json_put_str(e, "operation", "Apply");
	json_put_str(e, "apiVersion", kind_api_version(k, version));
	json_put_time(e, "time", time(NULL));
	json_put_str(e, "fieldsType", "FieldsV1");
	json_put(e, "fieldsV1", set);
	return e;
}

/* Replaces the manager's entry in obj; *prev and *others get what was there, new references. */
static void entries_update(const struct kind *k, json_t *obj, const char *manager, json_t *set,
			   json_t **prev, json_t *others)
{
	json_t *old = json_at(obj, "metadata.managedFields"), *list = json_array(), *e;
	json_t *mine = NULL;
	size_t i;

	json_array_foreach(old, i, e)
	{
		if (is_mine(e, manager)) {
			*prev = json_incref(json_object_get(e, "fieldsV1"));
			mine = e;
			continue;
		}
		json_array_append(list, e);
		if (streq(json_str(e, "operation", ""), "Apply"))
			json_array_append(others, json_object_get(e, "fieldsV1"));
	}
	/* The same fields again: the entry keeps its time, applying twice changes nothing. */
	if (mine && json_equal(*prev, set))
		json_array_append(list, mine);
	else
		json_array_append_new(list, entry_new(k, manager, json_incref(set)));
	json_put(obj, "metadata.managedFields", list);
}

/* ---- the request ------------------------------------------------------------------------- */

static int check_applied(struct call *c, json_t *obj, struct err *err)
{
	const struct kind *k = c->target.kind;
	char version[API_VERSION_MAX];
	const char *name = meta_name(obj), *v = json_str(obj, "apiVersion", "");

	kind_api_version(k, version);
	if (!streq(v, version))
		return err_set(
			err, ERR_BAD_REQUEST,
			"Incorrect version specified in apply patch. Specified patch version: "
			"%s, expected: %s",
			v, version);
	if (!streq(json_str(obj, "kind", ""), k->kind))
		return err_set(err, ERR_BAD_REQUEST,
			       "the kind in the data (%s) does not match the "
			       "expected kind (%s)",
			       json_str(obj, "kind", ""), k->kind);
	if (json_len(obj, "metadata.managedFields"))
		return err_set(err, ERR_BAD_REQUEST, "metadata.managedFields must be nil");
	if (*name && !streq(name, c->target.name))
		return err_set(
			err, ERR_BAD_REQUEST,
			"the name of the object (%s) does not match the name on the URL (%s)", name,
			c->target.name);
	json_put_str(obj, "metadata.name", c->target.name);
	return 0;
}

static json_t *applied_body(struct call *c, struct err *err)
{
	const struct kind *k = c->target.kind;
	auto_free char *what = xasprintf("%s in version \"%s\"", k->kind, k->version);
	size_t len;
	const char *text = http_body(c->req, &len);
	json_auto_t *obj =
		schema_decode_yaml(k->message, what, text, len, FIELDS_STRICT, &c->warnings, err);

	if (!obj || check_applied(c, obj, err) < 0)
		return NULL;
	return steal_ptr(obj);
}

static bool is_other_applier(const json_t *entry, const char *manager)
{
	return streq(json_str(entry, "operation", ""), "Apply") && !is_mine(entry, manager) &&
	       !str_empty(json_str(entry, "manager", "")) &&
	       !str_empty(json_str(entry, "apiVersion", ""));
}

/* Other appliers' fields that are applied with another value: 409, or taken from them by force. */
static int check_conflicts(const struct kind *k, json_t *live, json_t *applied, const char *manager,
			   const json_t *set, bool force, struct err *err)
{
	struct conflicts found = {.force = force};
	json_t *entry;
	size_t i;

	json_array_foreach(json_at(live, "metadata.managedFields"), i, entry)
	{
		if (!is_other_applier(entry, manager))
			continue;
		found.entry = entry;
		find_conflicts(k->message, NULL, set, json_object_get(entry, "fieldsV1"), applied,
			       live, "", &found);
	}
	int rc = found.paths.n && !force ? conflict_error(&found, err) : 0;

	strv_done(&found.managers);
	strv_done(&found.versions);
	strv_done(&found.paths);
	return rc;
}

static json_t *merge(const struct kind *k, const struct object *o, json_t *applied,
		     const char *manager, json_t *set, bool force, struct err *err)
{
	json_auto_t *live = object_dup(o), *prev = NULL, *others = json_array();

	if (check_conflicts(k, live, applied, manager, set, force, err) < 0)
		return NULL;
	entries_update(k, live, manager, set, &prev, others);
	if (prev)
		prune(k->message, NULL, live, prev, set, others);
	return patch_strategic(k->message, live, applied, err);
}

/* Creates or updates by what is there; the object comes in *ret. */
static int apply(struct call *c, json_t *applied, const char *manager,
		 const struct write_options *options, const struct object **ret, bool *created,
		 struct err *err)
{
	const struct kind *k = c->target.kind;
	const char *ns = c->target.ns ? c->target.ns : "";
	const struct object *o = store_get(c->api->store, k, ns, c->target.name);
	json_auto_t *set = applied_set(k->message, applied);

	if (!o) {
		json_t *list = json_array();

		*created = true;
		json_array_append_new(list, entry_new(k, manager, json_incref(set)));
		json_put(applied, "metadata.managedFields", list);
		return registry_create(c->api->registry, k, ns, applied, options, ret, err);
	}
	json_auto_t *merged = merge(k, o, applied, manager, set, call_bool(c, "force"), err);

	if (!merged)
		return -EINVAL;
	return registry_update(c->api->registry, k, c->target.sub, ns, c->target.name, merged,
			       options, ret, created, err);
}

void handle_apply(struct call *c, const struct write_options *options)
{
	auto_free char *manager = http_param(c->req, "fieldManager");
	const struct object *o;
	bool created = false;
	auto_err err = {0};

	if (str_empty(manager)) {
		err_set(&err, ERR_INVALID,
			"PatchOptions.meta.k8s.io \"\" is invalid: fieldManager: Required value: "
			"is "
			"required for apply patch");
		err_about(&err, "PatchOptions", "meta.k8s.io", NULL);
		err_cause_add(&err, "FieldValueRequired", "fieldManager",
			      "Required value: is required for apply patch");
		call_reply_err(c, &err);
		return;
	}
	json_auto_t *applied = applied_body(c, &err);

	if (!applied || apply(c, applied, manager, options, &o, &created, &err) < 0)
		call_reply_err(c, &err);
	else if (options->dry_run)
		call_reply_object(c, created ? 201 : 200, o);
	else
		write_wait(c, created ? 201 : 200, o);
}
