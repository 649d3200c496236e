/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writes of a version of a kind that is stored as another one (struct kind.storage): the object
 * gets the defaults of its own version, is converted, written as what is stored, and answered in
 * the version asked for. Reading needs nothing of the kind: the store converts.
 */
#include "internal.h"

static void answer(const struct kind *k, const struct object **ret)
{
	if (ret)
		*ret = object_as(*ret, k);
}

/* Who set what is noted in the words of the version that was written. */
static void note(const struct kind *k, const struct object *old, json_t *obj,
		 const char *subresource, struct write_options *w)
{
	const char *as = w->tracked_as ? w->tracked_as : subresource;
	json_auto_t *next = subresource && old ? object_dup(old) : json_incref(obj);

	if (w->managed_given)
		return;
	if (next != obj)
		take_member(next, obj, "status");
	managed_note(k, old ? object_json(old) : NULL, next, as, w->field_manager);
	take_member(json_obj(obj, "metadata"), json_object_get(next, "metadata"), "managedFields");
	w->managed_given = true;
}

int view_create(struct registry *r, const struct kind *k, const char *ns, json_t *obj,
		const struct write_options *o, const struct object **ret, struct err *err)
{
	const struct kind *storage = k->storage; /* a kind that goes loses it */
	struct write_options w = *o;
	int rc;

	schema_default(k, obj, NULL);
	note(k, NULL, obj, NULL, &w);
	kind_convert(k, storage, obj);
	rc = set_namespace(k, ns, obj, err);
	if (rc == 0)
		rc = schema_validate_view(k, obj, NULL, err);
	if (rc == 0)
		rc = registry_create(r, storage, ns, obj, &w, ret, err);
	if (rc == 0)
		answer(k, ret);
	return rc;
}

int view_update(struct registry *r, const struct kind *k, const char *subresource, const char *ns,
		const char *name, json_t *obj, const struct write_options *o,
		const struct object **ret, bool *ret_created, struct err *err)
{
	const struct kind *storage = k->storage;
	const struct object *old = store_get(r->store, k, ns, name);
	const struct object *stored = store_get(r->store, storage, ns, name);
	struct write_options w = *o;
	int rc;

	schema_default(k, obj, old ? object_json(old) : NULL);
	note(k, old, obj, subresource, &w);
	kind_convert(k, storage, obj);
	rc = set_namespace(k, ns, obj, err);
	if (rc == 0)
		rc = schema_validate_view(k, obj, stored ? object_json(stored) : NULL, err);
	if (rc == 0)
		rc = registry_update(r, storage, subresource, ns, name, obj, &w, ret, ret_created,
				     err);
	if (rc == 0)
		answer(k, ret);
	return rc;
}

int view_delete(struct registry *r, const struct kind *k, const char *ns, const char *name,
		const struct write_options *o, const struct object **ret, bool *ret_gone,
		struct err *err)
{
	int rc = registry_delete(r, k->storage, ns, name, o, ret, ret_gone, err);

	if (rc == 0)
		answer(k, ret);
	return rc;
}
