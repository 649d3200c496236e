/* SPDX-License-Identifier: Apache-2.0 */
/* Admission: the namespace's life cycle, service accounts of pods; the others' order. */
#include "internal.h"

static bool is_terminating(const struct object *ns)
{
	return streq(json_str(object_json(ns), "status.phase", ""), "Terminating") ||
	       meta_deleting(object_json(ns));
}

int admit_namespace(struct registry *r, const struct kind *k, const char *ns, const char *name,
		    struct err *err)
{
	const struct object *o = store_get(r->store, &kind_namespace, "", ns);

	if (!o)
		return fail_not_found(err, &kind_namespace, ns);
	if (!is_terminating(o))
		return 0;
	err_cause_add(err, "NamespaceTerminating", "metadata.namespace",
		      "namespace %s is being terminated", ns);
	return fail_forbidden(
		err, k, name,
		"unable to create new content in namespace %s because it is being terminated", ns);
}

/* ---- pods ------------------------------------------------------------------------------- */

/* `default` is made by a controller a moment after its namespace: it need not be there yet. */
static int set_service_account(struct registry *r, json_t *pod, struct err *err)
{
	const char *ns = meta_ns(pod);
	const char *name = json_str(pod, "spec.serviceAccountName", "");
	const struct object *account;
	json_t *secrets;

	if (!*name)
		name = json_str(pod, "spec.serviceAccount", "");
	if (!*name)
		name = "default";
	account = store_get(r->store, &kind_serviceaccount, ns, name);
	if (!account && !streq(name, "default"))
		return fail_forbidden(err, &kind_pod, meta_name(pod),
				      "error looking up service account %s/%s: serviceaccount "
				      "\"%s\" not found",
				      ns, name, name);
	json_put(pod, "spec.serviceAccountName", json_string(name));
	json_put_str(pod, "spec.serviceAccount", json_str(pod, "spec.serviceAccountName", ""));
	secrets = account ? json_at(object_json(account), "imagePullSecrets") : NULL;
	if (json_array_size(secrets) && !json_len(pod, "spec.imagePullSecrets"))
		json_put(pod, "spec.imagePullSecrets", json_deep_copy(secrets));
	if (r->mount_tokens)
		account_mount_token(pod, account);
	return 0;
}

/* What is in use must outlive its deletion: the controller `protection` lets it go. */
static void admit_protection(const struct kind *k, json_t *obj)
{
	const char *name = k == &kind_persistentvolume	      ? "kubernetes.io/pv-protection"
			   : k == &kind_persistentvolumeclaim ? "kubernetes.io/pvc-protection"
							      : NULL;
	json_t *list, *v;
	size_t i;

	if (!name)
		return;
	list = json_arr(obj, "metadata.finalizers");
	json_array_foreach(list, i, v) if (str_eq(json_string_value(v), name)) return;
	json_array_append_new(list, json_string(name));
}

int admit_create(struct registry *r, const struct kind *k, json_t *obj, struct err *err)
{
	int rc;

	if (json_is_object(json_object_get(obj, "spec")))
		admit_default_class(r, k, obj);
	admit_protection(k, obj);
	if (k != &kind_pod || !json_is_object(json_object_get(obj, "spec")))
		return 0;
	rc = set_service_account(r, obj, err);
	if (rc == 0)
		rc = admit_runtime_class(r, obj, err);
	return rc < 0 ? rc : priority_set(r, obj, err);
}

void admit_defaulted(struct registry *r, const struct kind *k, json_t *obj)
{
	if (k == &kind_pod)
		limits_fill(r, obj);
}

int admit_checked(struct registry *r, const struct kind *k, const json_t *obj, const json_t *old,
		  struct err *err)
{
	int rc = 0;

	if (k == &kind_priorityclass)
		rc = priority_check_class(r, obj, err);
	if ((k == &kind_pod && !old) || k == &kind_persistentvolumeclaim)
		rc = limits_check(r, k, obj, err);
	return rc < 0 ? rc : quota_check(r, k, obj, old, err);
}
