/* SPDX-License-Identifier: Apache-2.0 */
/* Lifetime, the objects every cluster has, and status writes of controllers and node. */
#include "internal.h"
#include <arpa/inet.h>

#define DNS_OFFSET 10

/* ---- what must always exist ------------------------------------------------------------- */

static int make_namespace(struct registry *r, const char *name, struct err *err)
{
	struct write_options o = {0};
	json_auto_t *obj = NULL;

	if (store_get(r->store, &kind_namespace, "", name))
		return 0;
	obj = json_object();
	json_put_str(obj, "metadata.name", name);
	return registry_create(r, &kind_namespace, "", obj, &o, NULL, err);
}

static json_t *service_port(const char *name, const char *protocol, int port, int target)
{
	return json_pack("{s:s, s:s, s:i, s:i}", "name", name, "protocol", protocol, "port", port,
			 "targetPort", target);
}

/* The API itself: `kubernetes.default.svc`. */
static json_t *api_service(void)
{
	json_t *obj = json_object(), *ports = json_arr(obj, "spec.ports");

	json_put_str(obj, "metadata.name", "kubernetes");
	json_put_str(obj, "metadata.namespace", "default");
	json_put_str(obj, "metadata.labels.component", "apiserver");
	json_put_str(obj, "metadata.labels.provider", "kubernetes");
	json_array_append_new(ports, service_port("https", "TCP", 443, 6443));
	return obj;
}

/* Served by the daemon's own responder, hence without a selector. */
static json_t *dns_service(void)
{
	json_t *obj = json_object(), *ports = json_arr(obj, "spec.ports"), *labels;

	json_put_str(obj, "metadata.name", "kube-dns");
	json_put_str(obj, "metadata.namespace", "kube-system");
	labels = json_obj(obj, "metadata.labels");
	json_object_set_new(labels, "k8s-app", json_string("kube-dns"));
	json_object_set_new(labels, "kubernetes.io/cluster-service", json_string("true"));
	/* what `kubectl cluster-info` calls it, in every other cluster, too */
	json_object_set_new(labels, "kubernetes.io/name", json_string("CoreDNS"));
	json_array_append_new(ports, service_port("dns", "UDP", 53, 53));
	json_array_append_new(ports, service_port("dns-tcp", "TCP", 53, 53));
	return obj;
}

/* Makes the service at its address; one of another service range is made anew. */
static int make_service(struct registry *r, json_t *fresh, uint32_t offset, struct err *err)
{
	json_auto_t *obj = fresh;
	const struct object *old = store_get(r->store, &kind_service, meta_ns(obj), meta_name(obj));
	struct write_options o = {0};
	char address[INET_ADDRSTRLEN];

	allocator_address(r, offset, address, sizeof(address));
	if (old && streq(json_str(object_json(old), "spec.clusterIP", ""), address))
		return 0;
	if (old && remove_now(r, old, NULL, &o, NULL, err) < 0)
		return -EIO;
	json_put_str(obj, "spec.clusterIP", address);
	return registry_create(r, &kind_service, meta_ns(obj), obj, &o, NULL, err);
}

bool registry_is_system_service(const char *ns, const char *name)
{
	return (streq(ns, "default") && streq(name, "kubernetes")) ||
	       (streq(ns, "kube-system") && streq(name, "kube-dns"));
}

int registry_make_services(struct registry *r, struct err *err)
{
	int rc = make_service(r, api_service(), 1, err);

	if (rc == 0 && r->allocator.size > DNS_OFFSET + 1)
		rc = make_service(r, dns_service(), DNS_OFFSET, err);
	return rc;
}

static int make_system_objects(struct registry *r, struct err *err)
{
	static const char *const namespaces[] = {"default", "kube-system", "kube-public",
						 "kube-node-lease"};
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < ARRAY_SIZE(namespaces); i++)
		rc = make_namespace(r, namespaces[i], err);
	if (rc == 0)
		rc = priority_make_classes(r, err);
	if (rc == 0)
		rc = registry_make_services(r, err);
	return rc < 0 ? rc : make_builtin_objects(r, err);
}

/* ---- lifetime --------------------------------------------------------------------------- */

struct registry *registry_new(struct loop *loop, struct store *store,
			      const struct registry_config *config, struct err *err)
{
	struct registry *r = xnew(struct registry);

	r->loop = loop;
	r->store = store;
	r->service_cidr = xstrdup(config->service_cidr);
	r->node_name = xstrdup_null(config->node_name);
	r->mount_tokens = config->mount_tokens;
	events_init(r);
	lease_init(r);
	if (allocator_init(r, config, err) < 0 || allocator_start(r, err) < 0) {
		registry_free(r);
		return NULL;
	}
	if (policies_init(r, err) < 0) {
		registry_free(r);
		return NULL;
	}
	if (make_system_objects(r, err) < 0) {
		/* With a full disk on a later start all this is there already. */
		err_wrap(err, -EIO, "cannot make the system objects");
		registry_free(r);
		return NULL;
	}
	return r;
}

void registry_free(struct registry *r)
{
	if (!r)
		return;
	events_done(r);
	lease_done(r);
	policies_done(r);
	allocator_done(r);
	free(r->service_cidr);
	free(r->node_name);
	free(r);
}

struct store *registry_store(const struct registry *r)
{
	return r->store;
}

/* ---- status ----------------------------------------------------------------------------- */

int registry_set_status(struct registry *r, const struct kind *k, const char *ns, const char *name,
			const char *uid, json_t *status, enum store_class c, struct err *err)
{
	json_auto_t *owned = status;
	const struct object *old = store_get(r->store, k, ns, name);
	struct store_draft *d;
	json_auto_t *obj = NULL;
	const json_t *was;
	int rc;

	if (!old || (uid && *uid && !streq(uid, old->uid)))
		return fail_not_found(err, k, name);
	was = object_json(old);
	if (json_same(json_object_get(was, "status"), owned))
		return 0;
	/* Shallow: the store sets nothing deeper than members of metadata. */
	obj = json_copy((json_t *)(uintptr_t)was);
	json_object_set_new(obj, "metadata", json_copy(json_object_get(was, "metadata")));
	json_object_set(obj, "status", owned);
	if (!task_inside())
		return store_update(r->store, k, obj, 0, c, NULL, NULL, NULL, err);
	/* The copies share what no draft changes. Somebody else may have written meanwhile. */
	d = store_draft_new(r->store, k, obj, old, err);
	rc = d ? store_update_draft(r->store, d, c, NULL, NULL, NULL, err) : -E2BIG;
	store_draft_free(d);
	return rc;
}
