/* SPDX-License-Identifier: Apache-2.0 */
/* get, and what lists, watches and deletecollection have in common: selections, snapshots. */
#include "internal.h"

void handle_get(struct call *c)
{
	auto_err err = {0};

	if (call_is_watch(c)) {
		handle_watch(c);
		return;
	}
	const struct object *o = get_options_check(c, &err) < 0 ? NULL : call_object(c, &err);

	if (o)
		call_reply_object(c, 200, o);
	else
		call_reply_err(c, &err);
}

/* ---- selections -------------------------------------------------------------------------- */

int selection_parse(struct call *c, struct selection *ret, struct err *err)
{
	auto_free char *labels = http_param(c->req, "labelSelector");
	auto_free char *fields = http_param(c->req, "fieldSelector");

	*ret = (struct selection){0};
	if (!str_empty(labels)) {
		ret->labels = label_selector_parse(labels, err);
		if (!ret->labels)
			return -EINVAL;
	}
	if (!str_empty(fields)) {
		ret->fields = field_selector_parse(c->target.kind, fields, err);
		if (!ret->fields)
			return -EINVAL;
	}
	return 0;
}

void selection_done(struct selection *s)
{
	if (s->labels)
		label_selector_free(s->labels);
	if (s->fields)
		field_selector_free(s->fields);
	*s = (struct selection){0};
}

bool selection_matches(const struct selection *s, const struct call *c, const struct object *o)
{
	const char *name = s->fields ? field_selector_name(s->fields) : NULL;

	if (c->target.ns && !streq(o->ns, c->target.ns))
		return false;
	if (c->target.name && !streq(o->name, c->target.name))
		return false;
	if (name && !streq(name, o->name))
		return false;
	if (!s->labels && !s->fields)
		return true;
	const json_t *json = object_json(o);

	if (s->labels && !label_selector_matches(s->labels, json_at(json, "metadata.labels")))
		return false;
	return !s->fields || field_selector_matches(s->fields, json);
}

bool selection_is_long(const struct selection *s, const struct call *c, const struct object *o)
{
	return o && o->len >= LARGE_TEXT &&
	       (s->labels || s->fields || c->accept.media != MEDIA_JSON);
}

/* ---- snapshots --------------------------------------------------------------------------- */

void snapshot_add(struct snapshot *s, const struct object *o)
{
	if (s->n == s->cap) {
		s->cap = s->cap ? 2 * s->cap : 16;
		s->objects = xrealloc(s->objects, s->cap, sizeof(*s->objects));
	}
	s->objects[s->n++] = object_ref(o);
}

void snapshot_take(struct call *c, const struct selection *sel, const struct list_options *o,
		   struct snapshot *ret)
{
	const struct target *t = &c->target;
	const char *ns = t->ns ? t->ns : "";
	const char *name = sel->fields ? field_selector_name(sel->fields) : t->name;
	struct store_iter it = o && o->after_name ? store_iter_after(c->api->store, t->kind, ns,
								     o->after_ns, o->after_name)
						  : store_iter(c->api->store, t->kind, ns);
	const struct object *obj;

	*ret = (struct snapshot){0};
	if (t->kind->computed) {
		computed_list(c, sel, snapshot_add, ret);
		return;
	}
	it.past = o ? o->past : NULL;
	it.as = it.kind; /* snapshot_at() converts */
	/* What kubectl asks before it watches: one object by name. */
	if (name && (t->ns || !t->kind->namespaced) && !it.past && !(o && o->after_name)) {
		obj = store_get(c->api->store, t->kind, ns, name);
		if (obj)
			snapshot_add(ret, obj);
		return;
	}
	while ((obj = store_next(&it)))
		snapshot_add(ret, obj);
}

const struct object *snapshot_at(const struct call *c, struct snapshot *s, size_t i)
{
	const struct object *o = s->objects[i], *as = object_as(o, c->target.kind);

	if (as != o) {
		s->objects[i] = object_ref(as);
		object_unref(o);
	}
	return as;
}

void snapshot_done(struct snapshot *s)
{
	for (size_t i = 0; i < s->n; i++)
		object_unref(s->objects[i]);
	free(s->objects);
	*s = (struct snapshot){0};
}

/* ---- options ----------------------------------------------------------------------------- */

int table_include_parse(struct call *c, enum table_include *ret, struct err *err)
{
	auto_free char *v = http_param(c->req, "includeObject");

	*ret = TABLE_OBJECT_METADATA;
	if (str_empty(v) || streq(v, "Metadata"))
		return 0;
	if (streq(v, "Object"))
		*ret = TABLE_OBJECT_FULL;
	else if (streq(v, "None"))
		*ret = TABLE_OBJECT_NONE;
	else
		return err_set(err, ERR_BAD_REQUEST, "unrecognized includeObject value: \"%s\"", v);
	return 0;
}
