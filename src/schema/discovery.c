/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Discovery documents: which groups, versions and resources are served. Plain form (APIVersions,
 * APIGroupList, APIResourceList) and aggregated form (APIGroupDiscoveryList v2 and v2beta1).
 */
#include "internal.h"

static json_t *json_csv(const char *list)
{
	auto_strv words = {0};
	json_t *array = json_array();

	strv_split(&words, list ? list : "", ',');
	for (size_t i = 0; i < words.n; i++)
		json_array_append_new(array, json_string(words.v[i]));
	return array;
}

static json_t *json_verbs(unsigned verbs)
{
	static const char *const names[] = {"create", "delete", "deletecollection", "get",
					    "list",   "patch",	"update",	    "watch"};
	json_t *array = json_array();

	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (verbs & 1U << i)
			json_array_append_new(array, json_string(names[i]));
	return array;
}

/* The kinds of the group, ordered by plural: the caller frees the array. */
static const struct kind **kinds_sorted(const char *group, size_t *ret_n)
{
	const struct kind **list = NULL, *k;
	size_t n = 0, cap = 0;

	for (size_t i = 0; (k = kind_next(&i));) {
		size_t at = n;

		if (!streq(k->group, group))
			continue;
		if (n == cap) {
			cap = cap ? 2 * cap : 32;
			list = xrealloc(list, cap, sizeof(*list));
		}
		for (; at > 0 && strcmp(list[at - 1]->plural, k->plural) > 0; at--)
			list[at] = list[at - 1];
		list[at] = k;
		n++;
	}
	*ret_n = n;
	return list;
}

/* All groups that have a name, in the order of their first kinds. */
static void group_names(struct strv *ret)
{
	const struct kind *k;

	for (size_t i = 0; (k = kind_next(&i));)
		if (*k->group && !strv_has(ret, k->group))
			strv_add(ret, k->group);
}

static int by_priority(const void *a, const void *b)
{
	return version_cmp(*(char *const *)a, *(char *const *)b);
}

/* The versions of a group, the preferred one first. */
static void group_versions(const char *group, struct strv *ret)
{
	const struct kind *k;

	for (size_t i = 0; (k = kind_next(&i));)
		if (streq(k->group, group) && !strv_has(ret, k->version))
			strv_add(ret, k->version);
	if (ret->n)
		qsort(ret->v, ret->n, sizeof(*ret->v), by_priority);
}

json_t *discovery_api_versions(void)
{
	return json_pack("{s:s, s:[s], s:[{s:s, s:s}]}", "kind", "APIVersions", "versions", "v1",
			 "serverAddressByClientCIDRs", "clientCIDR", "0.0.0.0/0", "serverAddress",
			 "");
}

static json_t *group_version(const char *group, const char *version)
{
	return json_pack("{s:o, s:s}", "groupVersion", json_sprintf("%s/%s", group, version),
			 "version", version);
}

static json_t *group_new(const char *group)
{
	json_t *versions = json_array();
	auto_strv names = {0};

	group_versions(group, &names);
	for (size_t i = 0; i < names.n; i++)
		json_array_append_new(versions, group_version(group, names.v[i]));
	return json_pack("{s:s, s:O?, s:o}", "name", group, "preferredVersion",
			 json_array_get(versions, 0), "versions", versions);
}

json_t *discovery_group(const char *group)
{
	json_t *g, *doc;

	if (!*group)
		return NULL;
	g = group_new(group);
	if (json_len(g, "versions") == 0) {
		json_decref(g);
		return NULL;
	}
	doc = json_pack("{s:s, s:s}", "kind", "APIGroup", "apiVersion", "v1");
	json_object_update(doc, g);
	json_decref(g);
	return doc;
}

json_t *discovery_group_list(void)
{
	json_t *groups = json_array();
	auto_strv names = {0};

	group_names(&names);
	for (size_t i = 0; i < names.n; i++)
		json_array_append_new(groups, group_new(names.v[i]));
	return json_pack("{s:s, s:s, s:o}", "kind", "APIGroupList", "apiVersion", "v1", "groups",
			 groups);
}

/* Tells clients whether stored objects of the kind may have to be written anew; opaque to them. All
 * versions of a kind tell the same. New, or NULL: nothing of the kind is stored. */
static json_t *storage_version_hash(const struct kind *k)
{
	enum { PART = 8 };
	const struct kind *stored = k->storage ? k->storage : k;
	unsigned char digest[SHA256_LEN];

	if (!(stored->verbs & VERB_WATCH))
		return NULL;
	auto_free char *name = xasprintf("%s/%s/%s", stored->group, stored->version, stored->kind);

	sha256(name, strlen(name), digest);
	auto_free char *text = base64_encode(digest, PART);

	return json_string(text);
}

static void resource_add(json_t *list, const struct kind *k)
{
	json_t *r = json_pack("{s:s, s:s, s:b, s:s, s:o}", "name", k->plural, "singularName",
			      k->singular, "namespaced", k->namespaced, "kind", k->kind, "verbs",
			      json_verbs(k->verbs));

	if (k->short_names)
		json_object_set_new(r, "shortNames", json_csv(k->short_names));
	if (k->categories)
		json_object_set_new(r, "categories", json_csv(k->categories));
	json_put(r, "storageVersionHash", storage_version_hash(k));
	json_array_append_new(list, r);
}

static void subresource_add(json_t *list, const struct kind *k, const struct subresource *s)
{
	json_t *r = json_pack("{s:o, s:s, s:b}", "name", json_sprintf("%s/%s", k->plural, s->name),
			      "singularName", "", "namespaced", k->namespaced);

	if (s->group && *s->group)
		json_object_set_new(r, "group", json_string(s->group));
	if (s->group && (*s->group || !streq(s->version, k->version)))
		json_object_set_new(r, "version", json_string(s->version));
	json_object_set_new(r, "kind", json_string(s->kind ? s->kind : k->kind));
	json_object_set_new(r, "verbs", json_verbs(s->verbs));
	json_array_append_new(list, r);
}

json_t *discovery_resources(const char *group, const char *version)
{
	size_t n;
	auto_free const struct kind **kinds = kinds_sorted(group, &n);
	json_t *list = json_array();

	for (size_t i = 0; i < n; i++) {
		if (!streq(kinds[i]->version, version))
			continue;
		resource_add(list, kinds[i]);
		for (size_t j = 0; j < kinds[i]->n_subresources; j++)
			subresource_add(list, kinds[i], &kinds[i]->subresources[j]);
	}
	if (json_array_size(list) == 0) {
		json_decref(list);
		return NULL;
	}
	return json_pack("{s:s, s:s, s:o, s:o}", "kind", "APIResourceList", "apiVersion", "v1",
			 "groupVersion", json_sprintf("%s%s%s", group, *group ? "/" : "", version),
			 "resources", list);
}

static json_t *response_kind(const char *group, const char *version, const char *kind)
{
	return json_pack("{s:s, s:s, s:s}", "group", group, "version", version, "kind", kind);
}

static json_t *aggregated_resource(const struct kind *k)
{
	json_t *r = json_pack("{s:s, s:o, s:s, s:s, s:o}", "resource", k->plural, "responseKind",
			      response_kind(k->group, k->version, k->kind), "scope",
			      k->namespaced ? "Namespaced" : "Cluster", "singularResource",
			      k->singular, "verbs", json_verbs(k->verbs));

	if (k->short_names)
		json_object_set_new(r, "shortNames", json_csv(k->short_names));
	if (k->categories)
		json_object_set_new(r, "categories", json_csv(k->categories));
	for (size_t i = 0; i < k->n_subresources; i++) {
		const struct subresource *s = &k->subresources[i];

		json_array_append_new(json_arr(r, "subresources"),
				      json_pack("{s:s, s:o, s:o}", "subresource", s->name,
						"responseKind",
						response_kind(s->group ? s->group : k->group,
							      s->group ? s->version : k->version,
							      s->kind ? s->kind : k->kind),
						"verbs", json_verbs(s->verbs)));
	}
	return r;
}

static json_t *aggregated_version(const char *group, const char *version)
{
	size_t n;
	auto_free const struct kind **kinds = kinds_sorted(group, &n);
	json_t *resources = json_array();

	for (size_t i = 0; i < n; i++)
		if (streq(kinds[i]->version, version))
			json_array_append_new(resources, aggregated_resource(kinds[i]));
	return json_pack("{s:s, s:s, s:o}", "version", version, "freshness", "Current", "resources",
			 resources);
}

static json_t *aggregated_group(const char *group)
{
	json_t *metadata = json_pack("{s:n}", "creationTimestamp"), *versions = json_array();
	auto_strv names = {0};

	if (*group)
		json_object_set_new(metadata, "name", json_string(group));
	group_versions(group, &names);
	for (size_t i = 0; i < names.n; i++)
		json_array_append_new(versions, aggregated_version(group, names.v[i]));
	return json_pack("{s:o, s:o}", "metadata", metadata, "versions", versions);
}

json_t *discovery_aggregated(const char *version, bool core)
{
	json_t *items = json_array();
	auto_strv names = {0};

	if (core)
		strv_add(&names, "");
	else
		group_names(&names);
	for (size_t i = 0; i < names.n; i++)
		json_array_append_new(items, aggregated_group(names.v[i]));
	return json_pack("{s:s, s:o, s:{}, s:o}", "kind", "APIGroupDiscoveryList", "apiVersion",
			 json_sprintf("apidiscovery.k8s.io/%s", version), "metadata", "items",
			 items);
}
