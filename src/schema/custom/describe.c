/* SPDX-License-Identifier: Apache-2.0 */
/* What is known of a version of a custom kind at all times: names, verbs, columns, subresources. */
#include "custom.h"

#define ALL_VERBS                                                                                  \
	(VERB_CREATE | VERB_DELETE | VERB_DELETECOLLECTION | VERB_GET | VERB_LIST | VERB_PATCH |   \
	 VERB_UPDATE | VERB_WATCH)
#define SUB_VERBS (VERB_GET | VERB_PATCH | VERB_UPDATE)

static const struct kind_ops ops = {0};

/* A text that lives as long as the description; NULL for NULL and "". */
static const char *keep(struct custom_kind *k, const char *s)
{
	if (str_empty(s))
		return NULL;
	strv_add(&k->texts, s);
	return k->texts.v[k->texts.n - 1];
}

static const char *keep_list(struct custom_kind *k, const json_t *list)
{
	auto_strbuf b = {0};
	json_t *v;
	size_t i;

	json_array_foreach(list, i, v) if (json_is_string(v))
		strbuf_addf(&b, "%s%s", b.len ? "," : "", json_string_value(v));
	return keep(k, b.s);
}

/* What custom_describe() has made. */
struct described {
	struct strv texts, selectable;
	struct column *columns;
	const char **paths;
};

static void release_described(void *p)
{
	struct described *d = p;

	strv_done(&d->texts);
	strv_done(&d->selectable);
	free(d->columns);
	free(d->paths);
	free(d);
}

void custom_forget(struct custom_kind *k)
{
	struct described *d = xnew(struct described);

	custom_drop_tree(k);
	*d = (struct described){k->texts, k->selectable, k->columns, k->paths};
	k->texts = k->selectable = (struct strv){0};
	k->columns = NULL;
	k->paths = NULL;
	breath_outlive(release_described, d);
	k->scale = (struct scale_paths){0};
	k->deprecation = NULL;
}

/* "com.example.v1.Foo" of group "example.com". */
static char *message_name(const struct custom_kind *k)
{
	auto_strv parts = {0};
	auto_strbuf b = {0};

	strv_split(&parts, k->group, '.');
	for (size_t i = parts.n; i-- > 0;)
		strbuf_addf(&b, "%s.", parts.v[i]);
	strbuf_addf(&b, "%s.%s", k->version, k->word);
	return strbuf_steal(&b);
}

static void column_add(struct custom_kind *k, size_t i, const json_t *c)
{
	const char *doc = keep(k, json_str(c, "description", ""));
	const char *format = keep(k, json_str(c, "format", ""));

	k->columns[i] = (struct column){
		.name = keep(k, json_str(c, "name", "-")),
		.type = keep(k, json_str(c, "type", "string")),
		.format = format ? format : "",
		.doc = doc ? doc : "",
		.priority = json_int(c, "priority", 0) > 0,
	};
	k->paths[i] = keep(k, json_str(c, "jsonPath", "."));
}

/* The name comes first, then what the definition lists, or the age. */
static void describe_columns(struct custom_kind *k, const json_t *version)
{
	json_t *list = json_object_get(version, "additionalPrinterColumns"), *c;
	size_t n = json_array_size(list), i;

	k->kind.n_columns = (uint8_t)(n > 200 ? 201 : n ? n + 1 : 2);
	k->columns = xcalloc(k->kind.n_columns, sizeof(*k->columns));
	k->paths = xcalloc(k->kind.n_columns, sizeof(const char *));
	k->columns[0] = (struct column){
		.name = "Name", .type = "string", .format = "name", .doc = "Name of the object."};
	k->columns[1] = (struct column){
		.name = "Age", .type = "date", .format = "", .doc = "Time since creation."};
	k->paths[1] = keep(k, ".metadata.creationTimestamp");
	json_array_foreach(list, i, c) if (i + 1 < k->kind.n_columns) column_add(k, i + 1, c);
	k->kind.columns = k->columns;
}

static void describe_subresources(struct custom_kind *k, const json_t *version)
{
	json_t *subs = json_object_get(version, "subresources");
	json_t *scale = json_object_get(subs, "scale");

	k->kind.has_status = json_object_get(subs, "status") != NULL;
	k->kind.n_subresources = 0;
	if (k->kind.has_status)
		k->subs[k->kind.n_subresources++] =
			(struct subresource){.name = "status", .verbs = SUB_VERBS};
	if (scale) {
		k->subs[k->kind.n_subresources++] = (struct subresource){.name = "scale",
									 .group = "autoscaling",
									 .version = "v1",
									 .kind = "Scale",
									 .verbs = SUB_VERBS};
		k->scale.spec = keep(k, json_str(scale, "specReplicasPath", ""));
		k->scale.status = keep(k, json_str(scale, "statusReplicasPath", ""));
		k->scale.selector = keep(k, json_str(scale, "labelSelectorPath", ""));
	}
	k->kind.subresources = k->subs;
}

/* "example.com/v1beta1 Foo is deprecated; use example.com/v1 Foo", or the definition's own words.
 */
static void describe_deprecation(struct custom_kind *k, const json_t *spec, const json_t *version)
{
	const char *text = json_str(version, "deprecationWarning", NULL), *newer = NULL;
	auto_strbuf b = {0};
	json_t *v;
	size_t i;

	if (!json_bool(version, "deprecated", false))
		return;
	json_array_foreach(json_object_get(spec, "versions"), i, v)
	{
		const char *name = json_str(v, "name", "");

		if (json_bool(v, "served", false) && !json_bool(v, "deprecated", false) &&
		    version_cmp(name, newer ? newer : k->version) < 0)
			newer = name;
	}
	if (text) {
		strbuf_adds(&b, text);
	} else {
		strbuf_addf(&b, "%s/%s %s is deprecated", k->group, k->version, k->word);
		if (newer)
			strbuf_addf(&b, "; use %s/%s %s", k->group, newer, k->word);
	}
	k->deprecation = keep(k, b.s);
}

static void describe_names(struct custom_kind *k, const json_t *names)
{
	auto_free char *list_kind = xasprintf("%sList", k->word), *singular = xstrdup(k->word);

	for (char *p = singular; *p; p++)
		if (*p >= 'A' && *p <= 'Z')
			*p = (char)(*p + 32);
	k->kind.singular = keep(k, json_str(names, "singular", singular));
	k->kind.list_kind = keep(k, json_str(names, "listKind", list_kind));
	k->kind.short_names = keep_list(k, json_object_get(names, "shortNames"));
	k->kind.categories = keep_list(k, json_object_get(names, "categories"));
}

/* The store's thread reads group, version and kind at any time: they are written once. */
void custom_init(struct custom_kind *k, const json_t *spec, const char *version, const char *word)
{
	k->group = xstrdup(json_str(spec, "group", ""));
	k->plural = xstrdup(json_str(spec, "names.plural", ""));
	k->version = xstrdup(version);
	k->word = xstrdup(word);
	k->name = message_name(k);
	k->root = (struct message){.name = k->name, .custom = k};
	k->kind = (struct kind){
		.group = k->group,
		.version = k->version,
		.kind = k->word,
		.plural = k->plural,
		.namespaced = !streq(json_str(spec, "scope", ""), "Cluster"),
		.has_generation = true,
		.name_rule = "dns1123subdomain",
		.message = &k->root,
		.ops = &ops,
		.index = k->of->index,
		.custom = k,
	};
}

void custom_describe(struct custom_kind *k, const json_t *spec, const json_t *names,
		     const json_t *version)
{
	json_t *v;
	size_t i;

	k->kind.verbs = ALL_VERBS;
	describe_names(k, names);
	describe_columns(k, version);
	describe_subresources(k, version);
	describe_deprecation(k, spec, version);
	json_array_foreach(json_object_get(version, "selectableFields"), i, v)
	{
		const char *path = json_str(v, "jsonPath", "");

		strv_add(&k->selectable, path + (*path == '.'));
	}
}

bool custom_scale(const struct kind *k, struct scale_paths *ret)
{
	if (!k->custom || !k->custom->scale.spec)
		return false;
	*ret = k->custom->scale;
	return true;
}
