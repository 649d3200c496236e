/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What expressions see of a structural schema (apiextensions-apiserver pkg/apiserver/schema/cel/
 * model), and what they ask of this module. Types are made when somebody asks for them.
 */
#include "custom.h"

/* ---- sizes ------------------------------------------------------------------------------ */

/* The largest body of a request, by which what has no limit of its own is limited. */
#define REQUEST_MAX (3 * 1024 * 1024)

/* The shortest JSON text of a value; never less, so that nobody is refused without need. */
static uint64_t min_text(const struct node *n, int depth)
{
	uint64_t sum = 2;

	if (!n || depth > SCHEMA_DEPTH_MAX)
		return 1;
	switch ((enum node_type)n->type) {
	case NODE_OBJECT:
		for (size_t i = 0; n->rules && i < n->rules->n_required; i++)
			sum += strlen(n->rules->required[i]) + 4 +
			       min_text(node_member(n, n->rules->required[i]), depth + 1);
		return sum;
	case NODE_STRING:
		if (n->rules && n->rules->min_length > 0)
			sum += (uint64_t)n->rules->min_length;
		return sum;
	case NODE_ARRAY:
		return sum;
	case NODE_BOOLEAN:
		return 4;
	case NODE_ANY:
	case NODE_INTEGER:
	case NODE_NUMBER:
	case NODE_OTHER:
		break;
	}
	return 1;
}

uint64_t node_max_count(const struct node *n)
{
	return REQUEST_MAX / (min_text(n, 0) + 1);
}

/* Elements that a list or map may have. */
static uint64_t max_of(const struct node *n)
{
	int64_t limit = !n->rules		? -1
			: n->flags & NODE_ITEMS ? n->rules->max_items
						: n->rules->max_properties;

	if (limit >= 0)
		return limit > 0 ? (uint64_t)limit : 1;
	/* a key has its quotes and a colon */
	return n->flags & NODE_ITEMS ? node_max_count(n->item)
				     : REQUEST_MAX / (min_text(n->item, 0) + 6);
}

/* ---- types ------------------------------------------------------------------------------ */

static const struct cel_type *meta_member(const struct cel_type *t UNUSED, const char *name)
{
	return streq(name, "name") || streq(name, "generateName") ? cel_type_of(CEL_STRING) : NULL;
}

/* Of the metadata of a resource. */
static const struct cel_type meta_type = {
	.kind = CEL_OBJECT, .escaped = true, .name = "metadata", .member = meta_member};

static const struct cel_type *object_member(const struct cel_type *t, const char *name)
{
	return node_cel_type(t->arg, node_child(t->decl, name), false);
}

static const struct cel_type *resource_member(const struct cel_type *t, const char *name)
{
	if (streq(name, "apiVersion") || streq(name, "kind"))
		return cel_type_of(CEL_STRING);
	return streq(name, "metadata") ? &meta_type : object_member(t, name);
}

static size_t slot_of(const struct tree *t, const struct node *n)
{
	size_t i = ((uintptr_t)n >> 3) * 2654435761u;

	while (t->types[i % t->cap_types] && t->types[i % t->cap_types]->decl != n)
		i++;
	return i % t->cap_types;
}

static void grow_types(struct tree *t)
{
	struct cel_type **old = t->types;
	size_t n = t->cap_types;

	t->cap_types = n ? 2 * n : 16;
	t->types = xcalloc(t->cap_types, sizeof(struct cel_type *));
	for (size_t i = 0; i < n; i++)
		if (old[i])
			t->types[slot_of(t, old[i]->decl)] = old[i];
	free(old);
}

static struct cel_type *new_type(struct tree *t, const struct node *n, enum cel_kind kind)
{
	struct cel_type *type = tree_take(t, sizeof(*type));

	*type = (struct cel_type){.kind = (uint8_t)kind,
				  .key = cel_type_of(CEL_STRING),
				  .elem = cel_type_of(CEL_DYN),
				  .decl = n,
				  .arg = t};
	if (2 * (t->n_types + 1) > t->cap_types)
		grow_types(t);
	t->types[slot_of(t, n)] = type;
	t->n_types++;
	return type;
}

static const struct cel_type *list_type(struct tree *t, const struct node *n)
{
	const struct cel_type *elem = node_cel_type(t, n->item, false);
	struct cel_type *type;

	if (!elem)
		return NULL;
	type = new_type(t, n, CEL_LIST);
	type->elem = elem;
	type->max = max_of(n);
	if (n->flags & NODE_LIST_SET)
		type->list_type = CEL_LIST_SET;
	if ((n->flags & NODE_LIST_MAP) && n->rules) {
		type->list_type = CEL_LIST_MAP;
		type->list_keys = n->rules->keys;
		type->n_list_keys = n->rules->n_keys;
	}
	return type;
}

static const struct cel_type *object_type(struct tree *t, const struct node *n, bool resource)
{
	struct cel_type *type;

	if (n->item && !(n->flags & NODE_ITEMS) && !resource) {
		const struct cel_type *elem = node_cel_type(t, n->item, false);

		if (!elem)
			return NULL;
		type = new_type(t, n, CEL_MAP);
		type->elem = elem;
		type->max = max_of(n);
		return type;
	}
	type = new_type(t, n, CEL_OBJECT);
	type->escaped = true;
	type->name = resource ? "selfType" : "object";
	type->member = resource ? resource_member : object_member;
	return type;
}

static const struct cel_type *string_type(const struct node *n)
{
	static const struct {
		const char *format;
		enum cel_kind kind;
	} formats[] = {{"byte", CEL_BYTES},
		       {"duration", CEL_DURATION},
		       {"date", CEL_TIMESTAMP},
		       {"date-time", CEL_TIMESTAMP}};
	const char *format = n->rules ? n->rules->format : NULL;

	for (size_t i = 0; format && i < ARRAY_SIZE(formats); i++)
		if (streq(formats[i].format, format))
			return cel_type_of(formats[i].kind);
	return cel_type_of(CEL_STRING);
}

const struct cel_type *node_cel_type(struct tree *t, const struct node *n, bool root)
{
	size_t i;

	if (!n)
		return NULL;
	if (n->flags & NODE_INT_OR_STRING)
		return cel_type_of(CEL_DYN);
	i = t->cap_types ? slot_of(t, n) : 0;
	if (t->cap_types && t->types[i])
		return t->types[i];
	switch ((enum node_type)n->type) {
	case NODE_OBJECT:
		return object_type(t, n, root || (n->flags & NODE_EMBEDDED));
	case NODE_ARRAY:
		return list_type(t, n);
	case NODE_STRING:
		return string_type(n);
	case NODE_INTEGER:
		return cel_type_of(CEL_INT);
	case NODE_NUMBER:
		return cel_type_of(CEL_DOUBLE);
	case NODE_BOOLEAN:
		return cel_type_of(CEL_BOOL);
	case NODE_ANY:
	case NODE_OTHER:
		break;
	}
	return NULL;
}

/* ---- the host --------------------------------------------------------------------------- */

/* Names that others are put behind may end with a hyphen. */
static const char *check_prefix(const char *(*valid)(const char *s), const char *text)
{
	auto_free char *copy = xstrdup(text);
	size_t n = strlen(copy);

	if (n > 1 && copy[n - 1] == '-')
		copy[n - 1] = 'a';
	return valid(copy);
}

static const char *check_format(const char *name, const char *text)
{
	static const struct {
		const char *name;
		const char *(*valid)(const char *s); /* or */
		const char *format, *words;
		bool prefix;
	} table[] = {
		{"dns1123Label", valid_dns1123_label, NULL, NULL, false},
		{"dns1123Subdomain", valid_dns1123_subdomain, NULL, NULL, false},
		{"dns1035Label", valid_dns1035_label, NULL, NULL, false},
		{"dns1123LabelPrefix", valid_dns1123_label, NULL, NULL, true},
		{"dns1123SubdomainPrefix", valid_dns1123_subdomain, NULL, NULL, true},
		{"dns1035LabelPrefix", valid_dns1035_label, NULL, NULL, true},
		{"qualifiedName", valid_label_key, NULL, NULL, false},
		{"labelValue", valid_label_value, NULL, NULL, false},
		{"uri", NULL, "uri", "invalid URI for request", false},
		{"uuid", NULL, "uuid", "does not match the UUID format", false},
		{"byte", NULL, "byte", "invalid base64", false},
		{"date", NULL, "date", "invalid date", false},
		{"datetime", NULL, "date-time", "invalid datetime", false},
	};

	for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
		if (!streq(table[i].name, name))
			continue;
		if (table[i].prefix)
			return check_prefix(table[i].valid, text);
		if (table[i].valid)
			return table[i].valid(text);
		return format_matches(table[i].format, text) ? NULL : table[i].words;
	}
	return NULL;
}

const struct cel_host *schema_cel_host(void)
{
	static const struct cel_host host = {.quantity = quantity_parse_nano,
					     .format = check_format};

	return &host;
}
