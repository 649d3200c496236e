/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The API's credentials in every pod: a projected volume with the service account's token, the
 * authority's certificate and the namespace (kubernetes plugin/pkg/admission/serviceaccount).
 */
#include "internal.h"

#define PREFIX "kube-api-access-"
#define MOUNT_PATH "/var/run/secrets/kubernetes.io/serviceaccount"
/* An odd number, by which the token is known to be one of these. */
#define TOKEN_SECONDS 3607
#define SUFFIX_LEN 5

static bool wanted(const json_t *pod, const struct object *account)
{
	const json_t *set = json_at(pod, "spec.automountServiceAccountToken");

	if (json_is_boolean(set))
		return json_is_true(set);
	return !account || json_bool(object_json(account), "automountServiceAccountToken", true);
}

static json_t *volume_new(const char *name)
{
	return json_pack("{s:s, s:{s:i, s:[{s:{s:i, s:s}}, {s:{s:s, s:[{s:s, s:s}]}}, "
			 "{s:{s:[{s:s, s:{s:s, s:s}}]}}]}}",
			 "name", name, "projected", "defaultMode", 0644, "sources",
			 "serviceAccountToken", "expirationSeconds", TOKEN_SECONDS, "path", "token",
			 "configMap", "name", "kube-root-ca.crt", "items", "key", "ca.crt", "path",
			 "ca.crt", "downwardAPI", "items", "path", "namespace", "fieldRef",
			 "apiVersion", "v1", "fieldPath", "metadata.namespace");
}

/* Mounts the volume in all containers of the list that have nothing at its place; true: in one. */
static bool add_mounts(json_t *containers, const char *name)
{
	bool added = false;
	json_t *c;
	size_t i;

	json_array_foreach(containers, i, c)
	{
		json_t *mounts = json_object_get(c, "volumeMounts");

		if (!json_is_object(c) || json_find(mounts, "mountPath", MOUNT_PATH))
			continue;
		if (!json_is_array(mounts)) {
			mounts = json_array();
			json_object_set_new(c, "volumeMounts", mounts);
		}
		json_array_append_new(mounts, json_pack("{s:s, s:b, s:s}", "name", name, "readOnly",
							1, "mountPath", MOUNT_PATH));
		added = true;
	}
	return added;
}

/* The name of such a volume that the pod brings along, or NULL. */
static const char *present(const json_t *pod)
{
	json_t *v;
	size_t i;

	json_array_foreach(json_at(pod, "spec.volumes"), i,
			   v) if (str_starts(json_str(v, "name", ""),
					     PREFIX)) return json_str(v, "name", NULL);
	return NULL;
}

void account_mount_token(json_t *pod, const struct object *account)
{
	json_t *spec = json_object_get(pod, "spec");
	const char *has = present(pod);
	char suffix[SUFFIX_LEN + 1];
	bool used;

	if (!wanted(pod, account))
		return;
	random_suffix(suffix, SUFFIX_LEN);
	auto_free char *name = has ? xstrdup(has) : xasprintf(PREFIX "%s", suffix);

	used = add_mounts(json_object_get(spec, "initContainers"), name);
	used |= add_mounts(json_object_get(spec, "containers"), name);
	if (used && !has)
		json_array_append_new(json_arr(spec, "volumes"), volume_new(name));
}
