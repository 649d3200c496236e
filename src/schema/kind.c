/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Finding kinds, messages and fields in the generated tables.
 */
#include "internal.h"

#include <strings.h>

/* What nobody has described: maps are merged, everything else is replaced. */
static const struct message anything = {.name = "", .open = true};
static const struct field any_field = {.name = "*",
				       .type = FIELD_OBJECT,
				       .list = LIST_STRING_MAP,
				       .flags = FIELD_POINTER,
				       .message = &anything};

const struct field *message_field(const struct message *m, const char *name)
{
	size_t lo = 0, hi;

	if (!*name)
		return NULL;
	if (m->custom)
		custom_ready(m->custom);
	hi = m->n_fields;
	while (lo < hi && !*m->fields[lo].name) {
		const struct field *f = message_field(m->fields[lo].message, name);
		if (f)
			return f;
		lo++;
	}
	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;
		int cmp = strcmp(name, m->fields[mid].name);

		if (cmp == 0)
			return &m->fields[mid];
		if (cmp < 0)
			hi = mid;
		else
			lo = mid + 1;
	}
	return m->open ? &any_field : NULL;
}

const struct message *message_find(const char *name)
{
	size_t lo = 0, hi = n_schema_messages;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;
		int cmp = strcmp(name, schema_messages[mid].name);

		if (cmp == 0)
			return &schema_messages[mid];
		if (cmp < 0)
			hi = mid;
		else
			lo = mid + 1;
	}
	return NULL;
}

const struct message *message_for(const char *api_version, const char *kind)
{
	char name[256];
	const char *slash = strchr(api_version, '/');
	const char *version = slash ? slash + 1 : api_version;
	size_t group_len = slash ? (size_t)(slash - api_version) : 0;

	for (size_t i = 0; i < n_schema_packages; i++) {
		const struct schema_package *p = &schema_packages[i];

		if (strlen(p->group) != group_len ||
		    strncmp(p->group, api_version, group_len) != 0 || !streq(p->version, version))
			continue;
		snprintf(name, sizeof(name), "%s.%s", p->prefix, kind);
		const struct message *m = message_find(name);
		if (m)
			return m;
	}
	/* DeleteOptions and its like are known in every group and version. */
	snprintf(name, sizeof(name), "io.k8s.apimachinery.pkg.apis.meta.v1.%s", kind);
	return message_find(name);
}

const struct kind *kind_find(const char *group, const char *version, const char *plural)
{
	const struct kind *k;

	for (size_t i = 0; (k = kind_next(&i));) {
		if (streq(k->plural, plural) && streq(k->group, group) &&
		    streq(k->version, version))
			return k;
	}
	return NULL;
}

const struct kind *kind_by_name(const char *api_version, const char *kind)
{
	const struct kind *k;
	char buf[API_VERSION_MAX];

	for (size_t i = 0; (k = kind_next(&i));) {
		if (streq(k->kind, kind) && streq(kind_api_version(k, buf), api_version))
			return k;
	}
	return NULL;
}

bool csv_has(const char *list, const char *word, size_t len)
{
	while (list && *list) {
		size_t n = strcspn(list, ",");

		if (n == len && strncasecmp(list, word, len) == 0)
			return true;
		list += n + (list[n] == ',');
	}
	return false;
}

const struct kind *kind_by_word(const char *word)
{
	const struct kind *k;
	size_t len = strcspn(word, ".");
	const char *group = word[len] ? word + len + 1 : NULL;

	if (len == 0)
		return NULL;
	for (size_t i = 0; (k = kind_next(&i));) {
		if (group && strcasecmp(group, k->group) != 0)
			continue;
		if (csv_has(k->plural, word, len) || csv_has(k->singular, word, len) ||
		    csv_has(k->kind, word, len) || csv_has(k->short_names, word, len))
			return k;
	}
	return NULL;
}

const char *kind_api_version(const struct kind *k, char buf[static API_VERSION_MAX])
{
	snprintf(buf, API_VERSION_MAX, "%s%s%s", k->group, *k->group ? "/" : "", k->version);
	return buf;
}

const char *kind_resource(const struct kind *k, char buf[static API_VERSION_MAX])
{
	snprintf(buf, API_VERSION_MAX, "%s%s%s", k->plural, *k->group ? "." : "", k->group);
	return buf;
}

const char *kind_deprecation(const struct kind *k)
{
	if (k == &kind_componentstatus)
		return "v1 ComponentStatus is deprecated in v1.19+";
	if (k == &kind_endpoints)
		return "v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 "
		       "EndpointSlice";
	return NULL;
}

void kind_convert(const struct kind *from, const struct kind *to, json_t *obj)
{
	char version[API_VERSION_MAX];

	if (from == to)
		return;
	if (from->storage && from->ops && from->ops->to_storage)
		from->ops->to_storage(obj);
	if (to->storage && to->ops && to->ops->from_storage)
		to->ops->from_storage(obj);
	if (to->custom && to->storage)
		custom_settle(to, obj); /* as the version asked for would have stored it */
	json_put_str(obj, "apiVersion", kind_api_version(to, version));
	json_put_str(obj, "kind", to->kind);
}

const struct subresource *kind_subresource(const struct kind *k, const char *name)
{
	for (size_t i = 0; i < k->n_subresources; i++)
		if (streq(k->subresources[i].name, name))
			return &k->subresources[i];
	return NULL;
}
