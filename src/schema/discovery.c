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

/* The kinds with the given group (NULL: any), ordered by plural. Returns their number. */
static size_t kinds_sorted(const char *group, const struct kind **ret)
{
	size_t n = 0;

	for (size_t i = 0; i < n_schema_kinds; i++) {
		const struct kind *k = schema_kinds[i];
		size_t at = n;

		if (group && !streq(k->group, group))
			continue;
		for (; at > 0 && strcmp(ret[at - 1]->plural, k->plural) > 0; at--)
			ret[at] = ret[at - 1];
		ret[at] = k;
		n++;
	}
	return n;
}

/* Is kind i the first one of its group (and version, unless that is NULL)? */
static bool first_of(size_t i, const char *group, const char *version)
{
	for (size_t j = 0; j < i; j++)
		if (streq(schema_kinds[j]->group, group) &&
		    (!version || streq(schema_kinds[j]->version, version)))
			return false;
	return true;
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

/* The versions of a group in the order of the table; the first is preferred. */
static json_t *group_new(const char *group)
{
	json_t *versions = json_array();

	for (size_t i = 0; i < n_schema_kinds; i++)
		if (streq(schema_kinds[i]->group, group) &&
		    first_of(i, group, schema_kinds[i]->version))
			json_array_append_new(versions,
					      group_version(group, schema_kinds[i]->version));
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

	for (size_t i = 0; i < n_schema_kinds; i++) {
		const char *group = schema_kinds[i]->group;

		if (*group && first_of(i, group, NULL))
			json_array_append_new(groups, group_new(group));
	}
	return json_pack("{s:s, s:s, s:o}", "kind", "APIGroupList", "apiVersion", "v1", "groups",
			 groups);
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
	auto_free const struct kind **kinds = xcalloc(n_schema_kinds, sizeof(*kinds));
	size_t n = kinds_sorted(group, kinds);
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
	auto_free const struct kind **kinds = xcalloc(n_schema_kinds, sizeof(*kinds));
	size_t n = kinds_sorted(group, kinds);
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

	if (*group)
		json_object_set_new(metadata, "name", json_string(group));
	for (size_t i = 0; i < n_schema_kinds; i++)
		if (streq(schema_kinds[i]->group, group) &&
		    first_of(i, group, schema_kinds[i]->version))
			json_array_append_new(versions,
					      aggregated_version(group, schema_kinds[i]->version));
	return json_pack("{s:o, s:o}", "metadata", metadata, "versions", versions);
}

json_t *discovery_aggregated(const char *version, bool core)
{
	json_t *items = json_array();

	for (size_t i = 0; i < n_schema_kinds; i++) {
		const char *group = schema_kinds[i]->group;

		if (core == !*group && first_of(i, group, NULL))
			json_array_append_new(items, aggregated_group(group));
	}
	return json_pack("{s:s, s:o, s:{}, s:o}", "kind", "APIGroupDiscoveryList", "apiVersion",
			 json_sprintf("apidiscovery.k8s.io/%s", version), "metadata", "items",
			 items);
}
