/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An APIService object for every version of every group that is served, built in or by a
 * CustomResourceDefinition. They say nothing that is not known anyway: no flash is written for
 * them. A key is the object's name, "version.group".
 */
#include "internal.h"

#define AUTOMANAGED "kube-aggregator.kubernetes.io/automanaged"

/* Order among the groups, and among the versions of a group, as the API server's aggregator has
 * it. */
static const struct priority {
	const char *group, *version;
	int of_group, of_version;
} priorities[] = {
	{"", "v1", 18000, 1},
	{"apps", "v1", 17800, 15},
	{"events.k8s.io", "v1", 17750, 15},
	{"authentication.k8s.io", "v1", 17700, 15},
	{"authorization.k8s.io", "v1", 17600, 15},
	{"autoscaling", "v1", 17500, 15},
	{"autoscaling", "v2", 17500, 30},
	{"batch", "v1", 17400, 15},
	{"certificates.k8s.io", "v1", 17300, 15},
	{"networking.k8s.io", "v1", 17200, 15},
	{"policy", "v1", 17100, 15},
	{"rbac.authorization.k8s.io", "v1", 17000, 15},
	{"storage.k8s.io", "v1", 16800, 15},
	{"apiextensions.k8s.io", "v1", 16700, 15},
	{"admissionregistration.k8s.io", "v1", 16700, 15},
	{"scheduling.k8s.io", "v1", 16600, 15},
	{"coordination.k8s.io", "v1", 16500, 15},
	{"node.k8s.io", "v1", 16300, 15},
	{"discovery.k8s.io", "v1", 16200, 15},
	{"flowcontrol.apiserver.k8s.io", "v1", 16100, 21},
};

/* Those of custom resources are the same for all. */
static struct priority priority_of(const char *group, const char *version)
{
	for (size_t i = 0; i < ARRAY_SIZE(priorities); i++)
		if (streq(priorities[i].group, group) && streq(priorities[i].version, version))
			return priorities[i];
	return (struct priority){group, version, 1000, 100};
}

/* ---- what is served --------------------------------------------------------------------- */

static bool is_built_in(const char *group, const char *version)
{
	for (size_t i = 0; i < n_schema_kinds; i++) {
		const struct kind *k = schema_kinds[i];

		/* the aggregator does not list itself */
		if (k != &kind_apiservice && streq(k->group, group) && streq(k->version, version))
			return true;
	}
	return false;
}

/* The list of kinds follows the definitions, which are too large to be parsed for this. */
static bool is_custom(const char *group, const char *version)
{
	const struct kind *k;

	for (size_t i = 0; (k = kind_next(&i));)
		if (k->custom && streq(k->group, group) && streq(k->version, version))
			return true;
	return false;
}

/* ---- the objects ------------------------------------------------------------------------ */

static int create(struct controller *c, const char *name, const char *group, const char *version,
		  bool custom, struct err *err)
{
	struct write_options w = {.storage = STORE_VOLATILE};
	struct priority p = priority_of(group, version);
	json_auto_t *obj = json_object();
	json_t *spec = json_obj(obj, "spec"), *status;
	const struct object *made;
	int rc;

	json_put_str(obj, "metadata.name", name);
	json_object_set_new(json_obj(obj, "metadata.labels"), AUTOMANAGED,
			    json_string(custom ? "true" : "onstart"));
	if (*group)
		json_put_str(spec, "group", group);
	json_put_str(spec, "version", version);
	json_put_int(spec, "groupPriorityMinimum", p.of_group);
	json_put_int(spec, "versionPriority", p.of_version);
	rc = registry_create(c->registry, &kind_apiservice, "", obj, &w, &made, err);
	if (rc < 0)
		return rc;
	status = json_object();
	condition_set(status, "Available", "True", "Local",
		      "Local APIServices are always available", wall_now());
	return registry_set_status(c->registry, &kind_apiservice, "", name, made->uid, status,
				   STORE_VOLATILE, err);
}

static int reconcile(struct controller *c, const char *key, struct err *err)
{
	auto_free char *none = NULL, *version = NULL;
	const char *name = key_split(key, &none), *dot = strchr(name, '.');
	const struct object *o = store_get(c->store, &kind_apiservice, "", name);
	struct write_options w = {.storage = STORE_VOLATILE};
	bool custom, served;

	if (!dot)
		return 0;
	version = xstrndup(name, (size_t)(dot - name));
	custom = !is_built_in(dot + 1, version);
	served = !custom || is_custom(dot + 1, version);
	if (served && !o)
		return create(c, name, dot + 1, version, custom, err);
	/* one that somebody else made stays */
	if (!served && o && meta_label(object_json(o), AUTOMANAGED))
		return registry_delete(c->registry, &kind_apiservice, "", name, &w, NULL, NULL,
				       err);
	return 0;
}

static void dirty_version(struct controller *c, const char *group, const char *version)
{
	auto_free char *name = xasprintf("%s.%s", version, group);

	controller_dirty(c, "", name);
}

static void dirty_versions(struct controller *c, const struct object *crd)
{
	json_auto_t *head = custom_head(crd->text, crd->len);
	const char *group = json_str(head, "spec.group", "");
	size_t i;
	json_t *v;

	json_array_foreach(json_at(head, "spec.versions"), i, v)
		dirty_version(c, group, json_str(v, "name", ""));
}

static void on_event(struct controller *c, const struct store_event *ev)
{
	if (ev->obj->kind == &kind_apiservice) {
		controller_dirty(c, "", ev->obj->name);
	} else if (ev->obj->kind == &kind_customresourcedefinition) {
		dirty_versions(c, ev->obj);
		if (ev->old)
			dirty_versions(c, ev->old);
	}
}

static void *start(struct controller *c)
{
	for (size_t i = 0; i < n_schema_kinds; i++)
		if (schema_kinds[i] != &kind_apiservice)
			dirty_version(c, schema_kinds[i]->group, schema_kinds[i]->version);
	return NULL;
}

const struct controller_def apiservice_controller = {
	.name = "apiservice", .on_event = on_event, .reconcile = reconcile, .start = start};
