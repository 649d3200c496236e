/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every active namespace has the ServiceAccount `default` and the ConfigMap `kube-root-ca.crt`;
 * kube-system also has the one from which extensions learn whose client certificates to believe.
 */
#include "internal.h"

#define ROOT_CA "kube-root-ca.crt"
#define EXTENSIONS "extension-apiserver-authentication"
enum { CA_MAX = 64 * 1024 };

static void on_event(struct controller *c, const struct store_event *ev)
{
	const struct object *o = ev->obj;

	if (o->kind == &kind_namespace)
		controller_dirty(c, "", o->name);
	else if ((o->kind == &kind_serviceaccount && streq(o->name, "default")) ||
		 (o->kind == &kind_configmap &&
		  (streq(o->name, ROOT_CA) || streq(o->name, EXTENSIONS))))
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

/* A ConfigMap that holds the authority's certificate under key; description may be NULL. */
static int ensure_ca(struct controller *c, const char *ns, const char *name, const char *key,
		     const char *description, struct err *err)
{
	const struct object *old = store_get(c->store, &kind_configmap, ns, name);
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
	    str_eq(json_string_value(json_object_get(json_at(object_json(old), "data"), key)), pem))
		return 0;
	obj = old ? object_dup(old)
		  : json_pack("{s:s, s:s, s:{s:s, s:s}}", "apiVersion", "v1", "kind", "ConfigMap",
			      "metadata", "name", name, "namespace", ns);
	json_object_set_new(json_obj(obj, "data"), key, json_string(pem));
	if (description)
		json_object_set_new(json_obj(obj, "metadata.annotations"),
				    "kubernetes.io/description", json_string(description));
	if (old)
		return registry_update(c->registry, &kind_configmap, NULL, ns, name, obj, &w, NULL,
				       NULL, err);
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
	if (r == 0)
		r = ensure_ca(c, name, ROOT_CA, "ca.crt",
			      "Contains a CA bundle that can be used to verify the kube-apiserver "
			      "when using internal endpoints such as the internal service IP or "
			      "kubernetes.default.svc.",
			      err);
	if (r == 0 && streq(name, "kube-system"))
		r = ensure_ca(c, name, EXTENSIONS, "client-ca-file", NULL, err);
	return r;
}

const struct controller_def serviceaccount_controller = {
	.name = "serviceaccount", .on_event = on_event, .reconcile = reconcile};
