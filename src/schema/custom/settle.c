/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Objects of custom kinds into the form they are stored in: metadata as of every object, fields
 * that the schema does not know dropped, defaults filled in, nulls dropped where they may not be
 * (apiextensions-apiserver pkg/apiserver/schema/{pruning,defaulting,objectmeta}).
 */
#include "custom.h"

#define OBJECT_META "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"

/* ---- pruning ---------------------------------------------------------------------------- */

struct pruning {
	struct strbuf path;
	struct strv *found;
	struct err *err; /* gets what an object inside the object may not be; NULL: never mind */
	bool refused;
};

static void prune(struct pruning *p, const struct node *n, json_t *v, bool root);

static void prune_member(struct pruning *p, const struct node *n, const char *key, json_t *v)
{
	size_t mark = p->path.len;

	path_add(&p->path, key);
	prune(p, n, v, n && (n->flags & NODE_EMBEDDED));
	path_cut(&p->path, mark);
}

static void drop(struct pruning *p, json_t *obj, const char *key)
{
	size_t mark = p->path.len;

	path_add(&p->path, key);
	if (p->found && p->found->n < STRICT_ERRORS_MAX)
		strv_addf(p->found, "unknown field \"%s\"", p->path.s);
	path_cut(&p->path, mark);
	json_object_del(obj, key);
}

static bool is_meta(const char *key)
{
	return streq(key, "apiVersion") || streq(key, "kind") || streq(key, "metadata");
}

static void refuse(struct pruning *p, const char *key, const json_t *v, const char *why)
{
	auto_free char *value = json_text(v, NULL);

	if (!p->refused && p->err)
		err_set(p->err, ERR_BAD_REQUEST, "%s.%s: Invalid value: %s: %s",
			p->path.len ? p->path.s : "", key, value, why);
	p->refused = true;
}

/* The metadata of an object inside the object is that of any object, too. */
static void prune_metadata(struct pruning *p, json_t *meta)
{
	auto_strv unknown = {0};
	auto_err err = {0};
	json_auto_t *sent = p->err ? json_deep_copy(meta) : NULL;

	if (schema_check(message_find(OBJECT_META), NULL, meta, FIELDS_WARN, &unknown, &err) < 0) {
		refuse(p, "metadata", sent ? sent : meta, err_message(&err));
		return;
	}
	for (size_t i = 0; p->found && i < unknown.n; i++)
		strv_addf(p->found, "unknown field \"%s%smetadata.%s", p->path.len ? p->path.s : "",
			  p->path.len ? "." : "", unknown.v[i] + strcspn(unknown.v[i], "\"") + 1);
}

/* A member that every object has, of one inside the object. */
static void prune_embedded(struct pruning *p, json_t *obj, const char *key, json_t *v)
{
	if (!streq(key, "metadata")) {
		if (!json_is_string(v) && !json_is_null(v))
			refuse(p, key, v, "must be a string");
	} else if (json_is_null(v)) {
		json_object_set_new(obj, key, json_object());
	} else {
		prune_metadata(p, v);
	}
}

static void prune_object(struct pruning *p, const struct node *n, json_t *v, bool root)
{
	const char *key;
	json_t *member;
	void *next;

	json_object_foreach_safe(v, next, key, member)
	{
		const struct node *child = node_child(n, key);

		breathe();
		if (root && is_meta(key)) {
			if (p->path.len)
				prune_embedded(p, v, key, member);
			continue;
		}
		if (child)
			prune_member(p, child, key, member);
		else if (n && (n->flags & NODE_ADDITIONAL))
			prune_member(p, n->item, key, member);
		else if (!n || !(n->flags & NODE_PRESERVE))
			drop(p, v, key);
	}
}

static void prune(struct pruning *p, const struct node *n, json_t *v, bool root)
{
	size_t mark = p->path.len, i;
	json_t *item;

	if (json_is_object(v)) {
		prune_object(p, n, v, root);
	} else if (json_is_array(v)) {
		if (n && (n->flags & NODE_PRESERVE) && !n->item)
			return;
		json_array_foreach(v, i, item)
		{
			const struct node *of = n && (n->flags & NODE_ITEMS) ? n->item : NULL;

			breathe();
			strbuf_addf(&p->path, "[%zu]", i);
			prune(p, of, item, of && (of->flags & NODE_EMBEDDED));
			path_cut(&p->path, mark);
		}
	}
}

static int prune_strictly(const struct node *n, json_t *v, struct strv *found, struct err *err)
{
	struct pruning p = {.found = found, .err = err};

	prune(&p, n, v, true);
	strbuf_done(&p.path);
	return p.refused ? -EINVAL : 0;
}

void node_prune(const struct node *n, json_t *v, bool root, struct strv *found)
{
	struct pruning p = {.found = found};

	prune(&p, n, v, root);
	strbuf_done(&p.path);
}

/* ---- defaults --------------------------------------------------------------------------- */

static bool is_unset(const json_t *v, const struct node *n)
{
	return !v || (json_is_null(v) && !(n->flags & NODE_NULLABLE));
}

static json_t *default_of(const struct node *n)
{
	return n && n->rules && n->rules->dflt ? json_deep_copy(n->rules->dflt) : NULL;
}

static void default_object(const struct node *n, json_t *v)
{
	const struct properties *p = n->properties;
	const char *key;
	json_t *member;
	void *next;

	for (size_t i = 0; p && i < p->message.n_fields; i++) {
		const struct node *child = p->children[i];

		if (child->rules && child->rules->dflt &&
		    is_unset(json_object_get(v, p->message.fields[i].name), child))
			json_object_set_new_nocheck(v, p->message.fields[i].name,
						    default_of(child));
	}
	json_object_foreach_safe(v, next, key, member)
	{
		const struct node *child = node_member(n, key);

		breathe();
		if (!child)
			continue;
		if (is_unset(member, child)) {
			json_t *dflt = default_of(child);

			if (!dflt) {
				json_object_del(v, key);
				continue;
			}
			json_object_set_new_nocheck(v, key, dflt);
			member = dflt;
		}
		node_default(child, member);
	}
}

void node_default(const struct node *n, json_t *v)
{
	json_t *item;
	size_t i;

	breathe();
	if (!n)
		return;
	if (json_is_object(v)) {
		default_object(n, v);
	} else if (json_is_array(v) && (n->flags & NODE_ITEMS) && n->item) {
		json_array_foreach(v, i, item)
		{
			json_t *dflt = is_unset(item, n->item) ? default_of(n->item) : NULL;

			if (dflt) {
				json_array_set_new(v, i, dflt);
				item = dflt;
			}
			node_default(n->item, item);
		}
	}
}

/* ---- whole objects ---------------------------------------------------------------------- */

static int check_word(const json_t *obj, const char *key, struct err *err)
{
	const json_t *v = json_object_get(obj, key);

	if (!v || json_is_string(v))
		return 0;
	return err_set(err, ERR_BAD_REQUEST, "unable to decode: %s must be a string", key);
}

int custom_decode(struct custom_kind *k, const char *what, json_t *obj, struct strv *found,
		  struct err *err)
{
	json_t *meta = json_object_get(obj, "metadata");
	auto_strv unknown = {0};
	int rc;

	if (!json_is_object(obj))
		return err_set(err, ERR_BAD_REQUEST, "%s: the object must be a JSON object", what);
	rc = check_word(obj, "apiVersion", err);
	if (rc == 0)
		rc = check_word(obj, "kind", err);
	if (rc == 0 && json_is_null(meta))
		json_object_del(obj, "metadata");
	else if (rc == 0 && meta)
		rc = schema_check(message_find(OBJECT_META), NULL, meta, FIELDS_WARN, &unknown,
				  err);
	if (rc < 0)
		return rc;
	/* paths of unknown fields are those of the whole object */
	for (size_t i = 0; found && i < unknown.n; i++)
		strv_addf(found, "unknown field \"metadata.%s",
			  unknown.v[i] + strcspn(unknown.v[i], "\"") + 1);
	return prune_strictly(custom_root(k), obj, found, err);
}

void custom_default(struct custom_kind *k, json_t *obj)
{
	node_default(custom_root(k), obj);
}

bool custom_settle(const struct kind *k, json_t *obj)
{
	json_auto_t *before = json_deep_copy(obj);
	char version[API_VERSION_MAX];

	json_put_str(obj, "apiVersion", kind_api_version(k, version));
	json_put_str(obj, "kind", k->kind);
	if (k->custom) {
		node_prune(custom_root(k->custom), obj, true, NULL);
		node_default(custom_root(k->custom), obj);
	}
	return !json_same(before, obj);
}
