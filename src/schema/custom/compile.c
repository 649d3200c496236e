/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An OpenAPI v3 schema to nodes: about a hundred bytes a property, in a few large chunks. Nothing
 * here refuses a schema: what a definition may say is checked when it is written (crd_schema.c),
 * and whatever is in the store must not stop us.
 */
#include "custom.h"

#define CHUNK 8192

/* ---- memory ----------------------------------------------------------------------------- */

struct chunk {
	struct chunk *next;
	size_t used, size;
	char data[] __attribute__((aligned(16)));
};

void *tree_take(struct tree *t, size_t n)
{
	struct chunk *c = t->chunks;

	n = (n + 7) & ~(size_t)7;
	if (!c || c->size - c->used < n) {
		size_t size = n > CHUNK / 2 ? n : CHUNK - sizeof(*c);

		c = xmalloc(sizeof(*c) + size);
		*c = (struct chunk){t->chunks, 0, size};
		t->chunks = c;
		t->bytes += sizeof(*c) + size;
	}
	c->used += n;
	return memset(c->data + c->used - n, 0, n);
}

const char *tree_text(struct tree *t, const char *s)
{
	size_t n = strlen(s) + 1;

	return memcpy(tree_take(t, n), s, n);
}

/* ---- patterns --------------------------------------------------------------------------- */

char *pattern_error(const char *text)
{
	char *why = NULL;

	cel_regex_free(cel_regex_new(text, &why));
	return why;
}

enum pattern_result pattern_match(struct pattern *p, const char *text, size_t len)
{
	int found;

	if (!p->code && !p->bad) {
		p->code = cel_regex_new(p->text, NULL);
		p->bad = !p->code;
	}
	if (p->bad)
		return PATTERN_YES;
	found = cel_regex_find(p->code, text, len, 0, NULL, NULL);
	return found < 0 ? PATTERN_TOO_LONG : found ? PATTERN_YES : PATTERN_NO;
}

static struct pattern *take_pattern(struct tree *t, const char *text)
{
	struct pattern *p;

	for (p = t->patterns; p; p = p->next)
		if (streq(p->text, text))
			return p;
	p = tree_take(t, sizeof(*p));
	p->text = (char *)(uintptr_t)tree_text(t, text);
	p->next = t->patterns;
	t->patterns = p;
	return p;
}

void tree_free(struct tree *t)
{
	struct chunk *next;

	if (!t)
		return;
	for (struct pattern *p = t->patterns; p; p = p->next)
		cel_regex_free(p->code);
	tree_free_rules(t);
	for (struct chunk *c = t->chunks; c; c = next) {
		next = c->next;
		free(c);
	}
	json_decref(t->values);
	free(t);
}

/* ---- nodes ------------------------------------------------------------------------------ */

struct compiler {
	struct tree *tree;
	int depth;
};

static const struct node *node_new(struct compiler *c, const json_t *schema);

static const struct properties no_properties = {.message = {.name = "", .open = true}};
static const struct node anything = {.properties = &no_properties,
				     .flags = NODE_PRESERVE | NODE_NULLABLE};

static enum node_type type_of(const json_t *schema)
{
	static const struct {
		const char *name;
		enum node_type type;
	} types[] = {
		{"", NODE_ANY},
		{"object", NODE_OBJECT},
		{"array", NODE_ARRAY},
		{"string", NODE_STRING},
		{"integer", NODE_INTEGER},
		{"number", NODE_NUMBER},
		{"boolean", NODE_BOOLEAN},
	};
	const char *name = json_str(schema, "type", "");

	for (size_t i = 0; i < ARRAY_SIZE(types); i++)
		if (streq(types[i].name, name))
			return types[i].type;
	return NODE_OTHER;
}

static json_t *get(const json_t *schema, const char *key)
{
	return json_object_get(schema, key);
}

static bool flag(const json_t *schema, const char *key)
{
	return json_is_true(get(schema, key));
}

static uint16_t flags_of(const json_t *schema)
{
	const char *list = json_string_value(get(schema, "x-kubernetes-list-type"));
	const char *map = json_string_value(get(schema, "x-kubernetes-map-type"));
	const json_t *more = get(schema, "additionalProperties");
	unsigned f = 0;

	f |= flag(schema, "nullable") ? NODE_NULLABLE : 0;
	f |= flag(schema, "x-kubernetes-preserve-unknown-fields") ? NODE_PRESERVE : 0;
	f |= flag(schema, "x-kubernetes-embedded-resource") ? NODE_EMBEDDED : 0;
	f |= flag(schema, "x-kubernetes-int-or-string") ? NODE_INT_OR_STRING : 0;
	f |= flag(schema, "uniqueItems") ? NODE_UNIQUE : 0;
	f |= json_is_object(more) || json_is_true(more) ? NODE_ADDITIONAL : 0;
	f |= json_is_false(more) ? NODE_CLOSED : 0;
	f |= str_eq(list, "set") ? NODE_LIST_SET : 0;
	f |= str_eq(list, "map") ? NODE_LIST_MAP : 0;
	f |= str_eq(map, "atomic") ? NODE_ATOMIC : 0;
	return (uint16_t)f;
}

static int64_t limit_of(const json_t *schema, const char *key)
{
	const json_t *v = get(schema, key);

	return json_is_number(v) ? (int64_t)json_number_value(v) : -1;
}

static size_t texts_of(struct compiler *c, const json_t *list, const char ***ret)
{
	size_t n = 0, i;
	json_t *v;

	if (!json_array_size(list))
		return 0;
	*ret = tree_take(c->tree, json_array_size(list) * sizeof(char *));
	json_array_foreach(list, i, v) if (json_is_string(v))(*ret)[n++] =
		tree_text(c->tree, json_string_value(v));
	return n;
}

static struct node_list nodes_of(struct compiler *c, const json_t *list)
{
	struct node_list l = {0};
	json_t *v;
	size_t i;

	if (!json_array_size(list))
		return l;
	l.v = tree_take(c->tree, json_array_size(list) * sizeof(*l.v));
	json_array_foreach(list, i, v) l.v[l.n++] = node_new(c, v);
	return l;
}

/* The tree's own reference keeps the value. */
static json_t *value_of(struct compiler *c, json_t *v)
{
	if (!v)
		return NULL;
	json_array_append_new(c->tree->values, json_deep_copy(v));
	return json_array_get(c->tree->values, json_array_size(c->tree->values) - 1);
}

static void numbers_of(struct rules *r, const json_t *schema)
{
	const json_t *min = get(schema, "minimum"), *max = get(schema, "maximum");
	const json_t *multiple = get(schema, "multipleOf");

	r->has_min = json_is_number(min);
	r->has_max = json_is_number(max);
	r->min = json_number_value(min);
	r->max = json_number_value(max);
	r->exclusive_min = flag(schema, "exclusiveMinimum");
	r->exclusive_max = flag(schema, "exclusiveMaximum");
	r->multiple = json_is_number(multiple) ? json_number_value(multiple) : 0;
	r->min_length = limit_of(schema, "minLength");
	r->max_length = limit_of(schema, "maxLength");
	r->min_items = limit_of(schema, "minItems");
	r->max_items = limit_of(schema, "maxItems");
	r->min_properties = limit_of(schema, "minProperties");
	r->max_properties = limit_of(schema, "maxProperties");
}

static const struct rules *rules_of(struct compiler *c, const json_t *schema)
{
	static const char *const words[] = {
		"default",
		"enum",
		"pattern",
		"format",
		"minimum",
		"maximum",
		"multipleOf",
		"minLength",
		"maxLength",
		"minItems",
		"maxItems",
		"minProperties",
		"maxProperties",
		"required",
		"allOf",
		"anyOf",
		"oneOf",
		"not",
		"x-kubernetes-list-map-keys",
		"x-kubernetes-validations",
	};
	const char *pattern = json_string_value(get(schema, "pattern"));
	const char *format = json_string_value(get(schema, "format"));
	bool any = false;
	struct rules *r;

	for (size_t i = 0; i < ARRAY_SIZE(words); i++)
		any |= get(schema, words[i]) != NULL;
	if (!any)
		return NULL;
	r = tree_take(c->tree, sizeof(*r));
	numbers_of(r, schema);
	r->dflt = value_of(c, get(schema, "default"));
	if (json_is_array(get(schema, "enum")))
		r->values = value_of(c, get(schema, "enum"));
	r->pattern = str_empty(pattern) ? NULL : take_pattern(c->tree, pattern);
	r->format = str_empty(format) || !format_known(format) ? NULL : tree_text(c->tree, format);
	r->n_required = texts_of(c, get(schema, "required"), &r->required);
	r->n_keys = texts_of(c, get(schema, "x-kubernetes-list-map-keys"), &r->keys);
	r->all_of = nodes_of(c, get(schema, "allOf"));
	r->any_of = nodes_of(c, get(schema, "anyOf"));
	r->one_of = nodes_of(c, get(schema, "oneOf"));
	if (json_is_object(get(schema, "not")))
		r->not_ = node_new(c, get(schema, "not"));
	tree_add_rules(c->tree, r, get(schema, "x-kubernetes-validations"));
	return r;
}

/* ---- what server-side apply sees --------------------------------------------------------- */

static uint8_t field_type(const struct node *n)
{
	if (n->flags & NODE_INT_OR_STRING)
		return FIELD_INT_OR_STRING;
	switch ((enum node_type)n->type) {
	case NODE_OBJECT:
		return n->properties ? FIELD_OBJECT : FIELD_RAW;
	case NODE_STRING:
		return FIELD_STRING;
	case NODE_INTEGER:
		return FIELD_INT64;
	case NODE_NUMBER:
		return FIELD_DOUBLE;
	case NODE_BOOLEAN:
		return FIELD_BOOL;
	case NODE_ANY:
	case NODE_ARRAY:
	case NODE_OTHER:
		break;
	}
	return n->properties ? FIELD_OBJECT : FIELD_RAW;
}

static void field_list(struct compiler *c, struct field *f, const struct node *n)
{
	bool scalars = n->item && !n->item->properties;
	auto_strbuf keys = {0};

	f->list = (n->flags & NODE_LIST_MAP) && !scalars && n->rules && n->rules->n_keys ? LIST_MAP
		  : (n->flags & NODE_LIST_SET) && scalars				 ? LIST_SET
							  : LIST_ATOMIC;
	f->type = n->item ? field_type(n->item) : FIELD_RAW;
	f->message = n->item && n->item->properties ? &n->item->properties->message : NULL;
	/* strategic merge (of manifest files) knows lists with one key */
	f->smp_merge = f->list == LIST_SET || (f->list == LIST_MAP && n->rules->n_keys == 1);
	if (f->list != LIST_MAP)
		return;
	for (size_t i = 0; i < n->rules->n_keys; i++)
		strbuf_addf(&keys, "%s%s", i ? "," : "", n->rules->keys[i]);
	f->ssa_keys = tree_text(c->tree, keys.s);
	if (f->smp_merge)
		f->smp_key = n->rules->keys[0];
}

static struct field field_of(struct compiler *c, const char *name, const struct node *n)
{
	struct field f = {.name = name, .type = field_type(n), .flags = FIELD_POINTER};

	if (n->type == NODE_ARRAY) {
		field_list(c, &f, n);
	} else if (n->type == NODE_OBJECT && !n->properties && n->item) {
		f.list = LIST_STRING_MAP;
		f.type = field_type(n->item);
		f.message = n->item->properties ? &n->item->properties->message : NULL;
	} else if (n->properties) {
		f.message = &n->properties->message;
	}
	if (n->flags & NODE_ATOMIC)
		f.flags |= FIELD_MAP_ATOMIC;
	return f;
}

static struct field meta_field(const char *name)
{
	struct field f = {.name = name, .type = FIELD_STRING};

	if (streq(name, "metadata")) {
		f.type = FIELD_OBJECT;
		f.message = message_find("io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta");
	}
	return f;
}

/* ---- properties ------------------------------------------------------------------------- */

static const char *const meta_names[] = {"apiVersion", "kind", "metadata"};

static int name_cmp(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* The names of an object's fields, sorted; those of every resource among them. */
static const char **sorted_names(const json_t *properties, bool resource, size_t *n)
{
	const char **names =
		xcalloc(json_object_size(properties) + ARRAY_SIZE(meta_names), sizeof(char *));
	const char *key;
	json_t *v;

	*n = 0;
	json_object_foreach((json_t *)(uintptr_t)properties, key, v) names[(*n)++] = key;
	for (size_t i = 0; resource && i < ARRAY_SIZE(meta_names); i++)
		if (!json_object_get(properties, meta_names[i]))
			names[(*n)++] = meta_names[i];
	qsort(names, *n, sizeof(char *), name_cmp);
	return names;
}

static bool is_meta(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(meta_names); i++)
		if (streq(meta_names[i], name))
			return true;
	return false;
}

static const struct properties *properties_of(struct compiler *c, const json_t *schema,
					      bool resource, bool open)
{
	const json_t *list = get(schema, "properties");
	size_t n;
	const char **names auto_free = sorted_names(list, resource, &n);
	struct properties *p;
	struct field *fields;

	if (n == 0 || n > UINT16_MAX)
		return open ? &no_properties : NULL;
	p = tree_take(c->tree, sizeof(*p));
	fields = tree_take(c->tree, n * sizeof(*fields));
	p->children = tree_take(c->tree, n * sizeof(*p->children));
	for (size_t i = 0; i < n; i++) {
		const json_t *child = json_object_get(list, names[i]);
		const char *name = tree_text(c->tree, names[i]);

		p->children[i] = child ? node_new(c, child) : &anything;
		fields[i] = resource && is_meta(name) ? meta_field(name)
						      : field_of(c, name, p->children[i]);
	}
	p->message = (struct message){
		.name = "", .fields = fields, .n_fields = (uint16_t)n, .open = open};
	return p;
}

/* Are there rules in CEL at the node or below? */
static bool has_rules(const struct node *n)
{
	const struct properties *p = n->properties;
	bool any = n->rules && n->rules->n_cel;

	any |= n->item && (n->item->flags & NODE_RULES);
	for (size_t i = 0; n->rules && i < n->rules->all_of.n; i++)
		any |= n->rules->all_of.v[i]->flags & NODE_RULES;
	for (size_t i = 0; p && i < p->message.n_fields; i++)
		any |= p->children[i]->flags & NODE_RULES;
	return any;
}

static const struct node *node_make(struct compiler *c, const json_t *schema, bool root)
{
	struct node *n = tree_take(c->tree, sizeof(*n));
	const json_t *item;

	n->type = (uint8_t)type_of(schema);
	n->flags = flags_of(schema);
	if (n->type == NODE_ARRAY || (n->type == NODE_ANY && get(schema, "items")))
		n->flags |= NODE_ITEMS;
	item = get(schema, n->flags & NODE_ITEMS ? "items" : "additionalProperties");
	if (json_is_object(item))
		n->item = node_new(c, item);
	n->rules = rules_of(c, schema);
	n->properties = properties_of(c, schema, root || (n->flags & NODE_EMBEDDED),
				      n->flags & NODE_PRESERVE);
	if (has_rules(n))
		n->flags |= NODE_RULES;
	return n;
}

static const struct node *node_new(struct compiler *c, const json_t *schema)
{
	const struct node *n = &anything;

	if (c->depth >= SCHEMA_DEPTH_MAX || !json_is_object(schema))
		return n;
	c->depth++;
	n = node_make(c, schema, false);
	c->depth--;
	return n;
}

struct tree *tree_compile(const json_t *schema, bool resource)
{
	struct tree *t = xnew(struct tree);
	struct compiler c = {.tree = t};

	t->values = json_array();
	t->root = json_is_object(schema) ? node_make(&c, schema, resource) : &anything;
	return t;
}

/* ---- use -------------------------------------------------------------------------------- */

const struct node *custom_root(struct custom_kind *k)
{
	json_auto_t *schema = NULL;

	if (k->tree)
		return k->tree->root;
	schema = custom_schema(k);
	if (!schema) /* without a schema everything is kept */
		schema = json_pack("{s:s, s:b}", "type", "object",
				   "x-kubernetes-preserve-unknown-fields", 1);
	struct tree *tree = tree_compile(schema, true);

	if (k->tree) { /* somebody else has done so while this was aside */
		tree_free(tree);
		return k->tree->root;
	}
	k->tree = tree;
	if (k->tree->root->properties) {
		k->root.open = k->tree->root->properties->message.open;
		k->root.fields = k->tree->root->properties->message.fields;
		k->root.n_fields = k->tree->root->properties->message.n_fields;
	}
	return k->tree->root;
}

static void release_tree(void *tree)
{
	tree_free(tree);
}

void custom_drop_tree(struct custom_kind *k)
{
	if (k->tree)
		breath_outlive(release_tree, steal_ptr(k->tree));
	k->root.fields = NULL;
	k->root.n_fields = 0;
}

void custom_ready(struct custom_kind *k)
{
	custom_root(k);
}

const struct node *node_child(const struct node *n, const char *name)
{
	const struct properties *p = n ? n->properties : NULL;
	size_t lo = 0, hi = p ? p->message.n_fields : 0;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;
		int cmp = strcmp(name, p->message.fields[mid].name);

		if (cmp == 0)
			return p->children[mid];
		if (cmp < 0)
			hi = mid;
		else
			lo = mid + 1;
	}
	return NULL;
}

const struct node *node_member(const struct node *n, const char *name)
{
	const struct node *child = node_child(n, name);

	return child ? child : n && !(n->flags & NODE_ITEMS) ? n->item : NULL;
}
