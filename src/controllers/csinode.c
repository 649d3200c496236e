/* SPDX-License-Identifier: Apache-2.0 */
/* The node has a CSINode object: what drivers that register themselves write into. */
#include "internal.h"

static void on_event(struct controller *c, const struct store_event *ev)
{
	if ((ev->obj->kind == &kind_node || ev->obj->kind == &kind_csinode) &&
	    streq(ev->obj->name, c->config->node_name))
		controller_dirty(c, "", ev->obj->name);
}

static int reconcile(struct controller *c, const char *key, struct err *err)
{
	auto_free char *none = NULL;
	const char *name = key_split(key, &none);
	const struct object *node = store_get(c->store, &kind_node, "", name);
	struct write_options w = {0};
	json_auto_t *obj = NULL;

	if (!node || meta_deleting(object_json(node)) ||
	    store_get(c->store, &kind_csinode, "", name))
		return 0;
	obj = json_pack("{s:{s:s, s:[{s:s, s:s, s:s, s:s}]}, s:{s:[]}}", "metadata", "name", name,
			"ownerReferences", "apiVersion", "v1", "kind", "Node", "name", node->name,
			"uid", node->uid, "spec", "drivers");
	return registry_create(c->registry, &kind_csinode, "", obj, &w, NULL, err);
}

const struct controller_def csinode_controller = {
	.name = "csinode", .on_event = on_event, .reconcile = reconcile};
