/* SPDX-License-Identifier: Apache-2.0 */
/* Finalizers: what holds an object until somebody has done his part of its end. */
#include "internal.h"

static bool is_in(const json_t *list, const char *name)
{
	json_t *f;
	size_t i;

	json_array_foreach(list, i, f) if (str_eq(json_string_value(f), name)) return true;
	return false;
}

bool finalizer_find(const json_t *obj, const char *name)
{
	return is_in(json_at(obj, "metadata.finalizers"), name);
}

int object_update(struct controller *c, const struct object *o, json_t *obj, struct err *err)
{
	struct write_options w = {.precondition_uid = o->uid};
	int r = registry_update(c->registry, o->kind, NULL, o->ns, o->name, obj, &w, NULL, NULL,
				err);

	return r == -ENOENT ? 0 : r;
}

int finalizer_add(struct controller *c, const struct object *o, const char *name, struct err *err)
{
	json_auto_t *obj = object_dup(o);

	json_array_append_new(json_arr(obj, "metadata.finalizers"), json_string(name));
	return object_update(c, o, obj, err);
}

int finalizer_drop(struct controller *c, const struct object *o, const char *name, struct err *err)
{
	json_auto_t *obj = object_dup(o);
	json_t *list = json_at(obj, "metadata.finalizers"), *f;
	size_t i;

	json_array_foreach(list, i, f) if (str_eq(json_string_value(f), name))
		json_array_remove(list, i--);
	if (!json_array_size(list))
		json_drop(obj, "metadata.finalizers");
	return object_update(c, o, obj, err);
}
