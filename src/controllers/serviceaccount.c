/* SPDX-License-Identifier: Apache-2.0 */
/* Every active namespace has the ServiceAccount `default` and the ConfigMap `kube-root-ca.crt`. */
#include "internal.h"

#define ROOT_CA "kube-root-ca.crt"
enum { CA_MAX = 64 * 1024 };

static void on_event(struct controller *c, const struct store_event *ev)
{
	const struct object *o = ev->obj;

	if (o->kind == &kind_namespace)
		controller_dirty(c, "", o->name);
	else if ((o->kind == &kind_serviceaccount && streq(o->name, "default")) ||
		 (o->kind == &kind_configmap && streq(o->name, ROOT_CA)))
		controller_dirty(c, "", o->ns);
}

static int ensure_account(struct controller *c, const char *ns, struct err *err)
{
	json_auto_t *obj = NULL;
	struct write_options w = {0};

	if (store_get(c->store, &kind_serviceaccount, ns, "default"))
		return 0;
	obj = json_pack("{s:s, s:s, s:{s:s, s:s}}", "apiVersion", "v1", "kind", "ServiceAccount",
			"metadata", "name", "default", "namespace", ns);
	return registry_create(c->registry, &kind_serviceaccount, ns, obj, &w, NULL, err);
}

static int ensure_root_ca(struct controller *c, const char *ns, struct err *err)
{
	const struct object *old = store_get(c->store, &kind_configmap, ns, ROOT_CA);
	auto_free char *pem = NULL;
	json_auto_t *obj = NULL;
	struct write_options w = {0};
	int r;

	if (!c->config->ca_file)
		return 0;
	r = file_read(c->config->ca_file, CA_MAX, &pem, NULL);
	if (r < 0)
		return err_errno(err, -r, "cannot read %s", c->config->ca_file);
	if (old &&
	    str_eq(json_string_value(json_object_get(json_at(object_json(old), "data"), "ca.crt")),
		   pem))
		return 0;
	obj = old ? object_dup(old)
		  : json_pack("{s:s, s:s, s:{s:s, s:s}}", "apiVersion", "v1", "kind", "ConfigMap",
			      "metadata", "name", ROOT_CA, "namespace", ns);
	json_object_set_new(json_obj(obj, "data"), "ca.crt", json_string(pem));
	json_object_set_new(
		json_obj(obj, "metadata.annotations"), "kubernetes.io/description",
		json_string("Contains a CA bundle that can be used to verify the kube-apiserver "
			    "when using internal endpoints such as the internal service IP or "
			    "kubernetes.default.svc."));
	if (old)
		return registry_update(c->registry, &kind_configmap, NULL, ns, ROOT_CA, obj, &w,
				       NULL, NULL, err);
	return registry_create(c->registry, &kind_configmap, ns, obj, &w, NULL, err);
}

static int reconcile(struct controller *c, const char *key, struct err *err)
{
	auto_free char *none = NULL;
	const char *name = key_split(key, &none);
	const struct object *ns = store_get(c->store, &kind_namespace, "", name);
	int r;

	if (!ns || meta_deleting(object_json(ns)))
		return 0;
	r = ensure_account(c, name, err);
	return r == 0 ? ensure_root_ca(c, name, err) : r;
}

const struct controller_def serviceaccount_controller = {
	.name = "serviceaccount", .on_event = on_event, .reconcile = reconcile};
