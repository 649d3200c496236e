/* SPDX-License-Identifier: Apache-2.0 */
/*
 * FlowSchema: the condition Dangling says whether its priority level exists. The mandatory objects
 * of both kinds come back when they are deleted.
 */
#include "internal.h"

#define KEY_MANDATORY "/" /* no object has an empty name */

static void on_event(struct controller *c, const struct store_event *ev)
{
	const struct kind *k = ev->obj->kind;
	struct store_iter it;
	const struct object *o;

	if ((k == &kind_flowschema || k == &kind_prioritylevelconfiguration) &&
	    ev->type == STORE_DELETED)
		queue_add(&c->queue, KEY_MANDATORY);
	if (k == &kind_flowschema) {
		controller_dirty(c, "", ev->obj->name);
	} else if (k == &kind_prioritylevelconfiguration && ev->type != STORE_MODIFIED) {
		it = store_iter(c->store, &kind_flowschema, NULL);
		while ((o = store_next(&it)))
			controller_dirty(c, "", o->name);
	}
}

static int reconcile(struct controller *c, const char *key, struct err *err)
{
	auto_free char *none = NULL, *text = NULL;
	const char *name = key_split(key, &none), *level;
	const struct object *o = store_get(c->store, &kind_flowschema, "", name);
	json_t *status;
	bool found;

	if (streq(key, KEY_MANDATORY))
		return registry_make_flow_control(c->registry, err);
	if (!o)
		return 0;
	level = json_str(object_json(o), "spec.priorityLevelConfiguration.name", "");
	found = store_get(c->store, &kind_prioritylevelconfiguration, "", level);
	status = json_deep_copy(json_object_get(object_json(o), "status"));
	if (!status)
		status = json_object();
	text = xasprintf("This FlowSchema references the PriorityLevelConfiguration object named "
			 "\"%s\" %s",
			 level, found ? "and it exists" : "but there is no such object");
	condition_set(status, "Dangling", found ? "False" : "True", found ? "Found" : "NotFound",
		      text, wall_now());
	return registry_set_status(c->registry, &kind_flowschema, "", name, o->uid, status,
				   STORE_VOLATILE, err);
}

const struct controller_def flowschema_controller = {
	.name = "flowschema", .on_event = on_event, .reconcile = reconcile};
