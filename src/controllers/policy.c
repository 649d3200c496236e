/* SPDX-License-Identifier: Apache-2.0 */
/* ValidatingAdmissionPolicy: says in its status what is doubtful about the types of its expressions
 * (kubernetes pkg/controller/validatingadmissionpolicystatus). */
#include "internal.h"

static void on_event(struct controller *c, const struct store_event *ev)
{
	if (ev->obj->kind == &kind_validatingadmissionpolicy && ev->type != STORE_DELETED)
		controller_dirty(c, "", ev->obj->name);
}

static int reconcile(struct controller *c, const char *key, struct err *err)
{
	auto_free char *none = NULL;
	const char *name = key_split(key, &none);
	const struct object *o = store_get(c->store, &kind_validatingadmissionpolicy, "", name);
	const json_t *v = o ? object_json(o) : NULL;
	int64_t generation = json_int(v, "metadata.generation", 0);
	json_t *status;

	if (!o || json_int(v, "status.observedGeneration", 0) == generation)
		return 0;
	status = json_deep_copy(json_object_get(v, "status"));
	if (!status)
		status = json_object();
	json_put_int(status, "observedGeneration", generation);
	json_put(status, "typeChecking", policy_type_check(v));
	return registry_set_status(c->registry, &kind_validatingadmissionpolicy, "", name, o->uid,
				   status, STORE_LAZY, err);
}

const struct controller_def policy_controller = {
	.name = "validatingadmissionpolicy", .on_event = on_event, .reconcile = reconcile};
