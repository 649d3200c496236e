/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Expressions of admission policies (apiserver pkg/admission/plugin/cel): what they see, which
 * results they may have, and what is doubtful about their types. At run time objects are of any
 * type; the types of a kind are for the warnings in a policy's status alone.
 */
#include "custom/custom.h"

#define TYPES_MAX 20000
#define KINDS_MAX 10 /* that one policy is checked against, as upstream */

/* ---- types of tables -------------------------------------------------------------------- */

/* A table of fields; what is not a table is one letter. */
struct table {
	const char *name; /* of the type */
	const struct table_field {
		const char *name;
		enum cel_kind kind;
		const struct cel_type *type; /* or */
	} * fields;
};

static const struct cel_type *table_member(const struct cel_type *t, const char *name)
{
	const struct table *table = t->decl;

	for (const struct table_field *f = table->fields; f->name; f++)
		if (streq(f->name, name))
			return f->type ? f->type : cel_type_of(f->kind);
	return NULL;
}

#define TABLE_TYPE(id, text, ...)                                                                  \
	static const struct table_field id##_fields[] = {__VA_ARGS__, {NULL, 0, NULL}};            \
	static const struct table id##_table = {text, id##_fields};                                \
	static const struct cel_type id##_type = {                                                 \
		.kind = CEL_OBJECT, .name = text, .member = table_member, .decl = &id##_table}
#define STRING_LIST &string_list_type
#define STRING_MAP &string_map_type

static const struct cel_type string_type = {.kind = CEL_STRING};
static const struct cel_type string_list_type = {
	.kind = CEL_LIST, .key = &string_type, .elem = &string_type};
static const struct cel_type string_map_type = {
	.kind = CEL_MAP, .key = &string_type, .elem = &string_type};
static const struct cel_type extra_type = {
	.kind = CEL_MAP, .key = &string_type, .elem = &string_list_type};

TABLE_TYPE(gvk, "kubernetes.GroupVersionKind", {"group", CEL_STRING, NULL},
	   {"version", CEL_STRING, NULL}, {"kind", CEL_STRING, NULL});
TABLE_TYPE(gvr, "kubernetes.GroupVersionResource", {"group", CEL_STRING, NULL},
	   {"version", CEL_STRING, NULL}, {"resource", CEL_STRING, NULL});
TABLE_TYPE(user, "kubernetes.UserInfo", {"username", CEL_STRING, NULL}, {"uid", CEL_STRING, NULL},
	   {"groups", CEL_LIST, STRING_LIST}, {"extra", CEL_MAP, &extra_type});
TABLE_TYPE(request, "kubernetes.AdmissionRequest", {"kind", CEL_OBJECT, &gvk_type},
	   {"resource", CEL_OBJECT, &gvr_type}, {"subResource", CEL_STRING, NULL},
	   {"requestKind", CEL_OBJECT, &gvk_type}, {"requestResource", CEL_OBJECT, &gvr_type},
	   {"requestSubResource", CEL_STRING, NULL}, {"name", CEL_STRING, NULL},
	   {"namespace", CEL_STRING, NULL}, {"operation", CEL_STRING, NULL},
	   {"userInfo", CEL_OBJECT, &user_type}, {"dryRun", CEL_BOOL, NULL},
	   {"options", CEL_DYN, NULL});
TABLE_TYPE(ns_meta, "kubernetes.NamespaceMetadata", {"name", CEL_STRING, NULL},
	   {"generateName", CEL_STRING, NULL}, {"namespace", CEL_STRING, NULL},
	   {"labels", CEL_MAP, STRING_MAP}, {"annotations", CEL_MAP, STRING_MAP},
	   {"UID", CEL_STRING, NULL}, {"creationTimestamp", CEL_TIMESTAMP, NULL},
	   {"deletionGracePeriodSeconds", CEL_INT, NULL},
	   {"deletionTimestamp", CEL_TIMESTAMP, NULL}, {"generation", CEL_INT, NULL},
	   {"resourceVersion", CEL_STRING, NULL}, {"finalizers", CEL_LIST, STRING_LIST});
TABLE_TYPE(ns_spec, "kubernetes.NamespaceSpec", {"finalizers", CEL_LIST, STRING_LIST});
TABLE_TYPE(ns_status, "kubernetes.NamespaceStatus", {"phase", CEL_STRING, NULL});
TABLE_TYPE(ns, "kubernetes.Namespace", {"metadata", CEL_OBJECT, &ns_meta_type},
	   {"spec", CEL_OBJECT, &ns_spec_type}, {"status", CEL_OBJECT, &ns_status_type});

const struct cel_type *policy_request_type(void)
{
	return &request_type;
}

const struct cel_type *policy_namespace_type(void)
{
	return &ns_type;
}

/* ---- types of messages ------------------------------------------------------------------ */

struct policy_variable {
	char *name;
	const struct cel_type *type;
	struct cel_program *program;
};
struct policy_scope {
	const struct cel_type *object; /* NULL: any */
	bool has_params, has_rest;     /* rest: namespaceObject and variables */
	struct cel_type variables_type;
	struct policy_variable *variables;
	size_t n_variables;
	struct cel_type **types; /* made for this scope */
	size_t n_types;
};

static struct cel_type *new_type(struct policy_scope *s, enum cel_kind kind)
{
	struct cel_type *t;

	if (s->n_types >= TYPES_MAX)
		return NULL;
	t = xnew(struct cel_type);
	*t = (struct cel_type){.kind = (uint8_t)kind,
			       .key = cel_type_of(CEL_STRING),
			       .elem = cel_type_of(CEL_DYN),
			       .arg = s};
	if ((s->n_types & (s->n_types + 1)) == 0)
		s->types = xrealloc(s->types, 2 * (s->n_types + 1), sizeof(struct cel_type *));
	s->types[s->n_types++] = t;
	return t;
}

static const struct cel_type *message_type(struct policy_scope *s, const struct message *m);

static const struct cel_type *scalar_type(struct policy_scope *s, const struct field *f)
{
	switch ((enum field_type)f->type) {
	case FIELD_STRING:
		return cel_type_of(CEL_STRING);
	case FIELD_BOOL:
		return cel_type_of(CEL_BOOL);
	case FIELD_INT32:
	case FIELD_INT64:
		return cel_type_of(CEL_INT);
	case FIELD_DOUBLE:
		return cel_type_of(CEL_DOUBLE);
	case FIELD_BYTES:
		return cel_type_of(CEL_BYTES);
	case FIELD_TIME:
	case FIELD_MICROTIME:
		return cel_type_of(CEL_TIMESTAMP);
	case FIELD_OBJECT:
		return f->message ? message_type(s, f->message) : cel_type_of(CEL_DYN);
	case FIELD_DURATION:
	case FIELD_QUANTITY:
	case FIELD_INT_OR_STRING:
	case FIELD_RAW:
		break;
	}
	return cel_type_of(CEL_DYN);
}

static const struct cel_type *field_member(const struct cel_type *t, const char *name)
{
	struct policy_scope *s = t->arg;
	const struct field *f;
	const struct cel_type *one;
	struct cel_type *all;

	if (streq(name, "apiVersion") || streq(name, "kind")) {
		f = message_field(t->decl, name);
		return f ? scalar_type(s, f) : cel_type_of(CEL_STRING);
	}
	f = message_field(t->decl, name);
	if (!f)
		return NULL;
	one = scalar_type(s, f);
	if (f->list == LIST_NONE)
		return one;
	all = new_type(s, f->list == LIST_STRING_MAP ? CEL_MAP : CEL_LIST);
	if (!all)
		return cel_type_of(CEL_DYN);
	all->elem = one;
	return all;
}

static const struct cel_type *message_type(struct policy_scope *s, const struct message *m)
{
	const char *name = strrchr(m->name, '.');
	struct cel_type *t = new_type(s, CEL_OBJECT);

	if (!t)
		return cel_type_of(CEL_DYN);
	t->name = name ? name + 1 : m->name;
	t->escaped = true;
	t->decl = m;
	t->member = field_member;
	return t;
}

static const struct cel_type *kind_type(struct policy_scope *s, const struct kind *k)
{
	const struct node *root;

	if (!k->custom)
		return k->message ? message_type(s, k->message) : NULL;
	root = custom_root(k->custom);
	return node_cel_type(k->custom->tree, root, true);
}

/* ---- scopes ----------------------------------------------------------------------------- */

static const struct cel_type *variable_member(const struct cel_type *t, const char *name)
{
	const struct policy_scope *s = t->arg;

	for (size_t i = 0; i < s->n_variables; i++)
		if (streq(s->variables[i].name, name))
			return s->variables[i].type;
	return NULL;
}

struct policy_scope *policy_scope_new(const json_t *spec, const struct kind *object)
{
	struct policy_scope *s = xnew(struct policy_scope);

	s->has_rest = spec != NULL;
	s->has_params = json_object_get(spec, "paramKind") != NULL;
	s->object = object ? kind_type(s, object) : NULL;
	s->variables_type = (struct cel_type){.kind = CEL_OBJECT,
					      .name = "kubernetes.variables",
					      .member = variable_member,
					      .arg = s};
	return s;
}

void policy_scope_free(struct policy_scope *s)
{
	if (!s)
		return;
	for (size_t i = 0; i < s->n_variables; i++) {
		free(s->variables[i].name);
		cel_program_free(s->variables[i].program);
	}
	for (size_t i = 0; i < s->n_types; i++)
		free(s->types[i]);
	free(s->variables);
	free(s->types);
	free(s);
}

const struct cel_type *policy_variables_type(const struct policy_scope *s)
{
	return &s->variables_type;
}

const struct cel_program *policy_variable(const struct policy_scope *s, const char *name,
					  size_t *index)
{
	for (size_t i = 0; i < s->n_variables; i++) {
		if (!streq(s->variables[i].name, name))
			continue;
		*index = i;
		return s->variables[i].program;
	}
	return NULL;
}

/* ---- compiling -------------------------------------------------------------------------- */

static bool result_fits(enum policy_use use, const struct cel_type *t, const char **why)
{
	switch (use) {
	case POLICY_CONDITION:
	case POLICY_RULE:
		*why = "must evaluate to bool";
		return t->kind == CEL_BOOL;
	case POLICY_MESSAGE:
		*why = "must evaluate to string";
		return t->kind == CEL_STRING;
	case POLICY_AUDIT:
		*why = "must evaluate to one of [string null_type]";
		return t->kind == CEL_STRING || t->kind == CEL_NULL;
	case POLICY_VARIABLE:
		break;
	}
	return true;
}

/* error: the bare words of the compiler, NULL in *why. */
static struct cel_program *compile(struct policy_scope *s, enum policy_use use, const char *text,
				   char **error, const char **why)
{
	const struct cel_type *dyn = cel_type_of(CEL_DYN), *object = s->object ? s->object : dyn;
	bool asks = use != POLICY_MESSAGE && use != POLICY_AUDIT;
	struct cel_variable vars[POLICY_VARS] = {
		[POLICY_OBJECT] = {"object", object},
		[POLICY_OLD_OBJECT] = {"oldObject", object},
		[POLICY_REQUEST] = {"request", &request_type},
		[POLICY_PARAMS] = {s->has_params ? "params" : "", dyn},
		[POLICY_NAMESPACE] = {s->has_rest ? "namespaceObject" : "", &ns_type},
		[POLICY_AUTHORIZER] = {asks ? "authorizer" : "", cel_type_of(CEL_AUTHORIZER)},
		[POLICY_VARIABLES] = {s->has_rest && use != POLICY_CONDITION ? "variables" : "",
				      &s->variables_type},
	};
	const struct cel_env env = {vars, POLICY_VARS};
	struct cel_program *p = cel_compile(&env, text, error);

	*why = NULL;
	if (!p || result_fits(use, cel_program_type(p), why)) {
		*why = NULL;
		return p;
	}
	cel_program_free(p);
	return NULL;
}

struct cel_program *policy_compile(struct policy_scope *s, enum policy_use use, const char *text,
				   char **error)
{
	auto_free char *words = NULL;
	const char *why;
	struct cel_program *p = compile(s, use, text, &words, &why);

	*error = NULL;
	if (!p)
		*error = why ? xstrdup(why) : xasprintf("compilation failed: %s", words);
	return p;
}

const struct cel_program *policy_add_variable(struct policy_scope *s, const char *name,
					      const char *text, char **error)
{
	struct cel_program *p = policy_compile(s, POLICY_VARIABLE, text, error);

	if ((s->n_variables & (s->n_variables + 1)) == 0)
		s->variables = xrealloc(s->variables, 2 * (s->n_variables + 1),
					sizeof(struct policy_variable));
	/* one that is wrong is known, so that only its own error is told */
	s->variables[s->n_variables++] = (struct policy_variable){
		xstrdup(name), p ? cel_program_type(p) : cel_type_of(CEL_DYN), p};
	return p;
}

/* ---- doubts about types ----------------------------------------------------------------- */

static const struct kind *kind_of_rule(const char *group, const char *version, const char *plural)
{
	return strpbrk(group, "*") || strpbrk(version, "*") || strpbrk(plural, "*/")
		       ? NULL
		       : kind_find(group, version, plural);
}

/* The kinds that the policy names; wildcards name none. */
static size_t named_kinds(const json_t *policy, const struct kind *ret[KINDS_MAX])
{
	const json_t *rules = json_at(policy, "spec.matchConstraints.resourceRules");
	json_t *rule, *g, *v, *p;
	size_t n = 0, i, j, k, l;

	json_array_foreach(rules, i, rule)
		json_array_foreach(json_object_get(rule, "apiGroups"), j, g)
			json_array_foreach(json_object_get(rule, "apiVersions"), k, v)
				json_array_foreach(json_object_get(rule, "resources"), l, p)
	{
		const struct kind *kind = kind_of_rule(json_string_value(g), json_string_value(v),
						       json_string_value(p));

		if (kind && n < KINDS_MAX)
			ret[n++] = kind;
	}
	return n;
}

static void doubt(struct policy_scope *s, const struct kind *k, enum policy_use use,
		  const char *text, struct strbuf *out)
{
	auto_free char *words = NULL;
	char version[API_VERSION_MAX];
	const char *why;
	struct cel_program *p;

	if (!*text)
		return;
	p = compile(s, use, text, &words, &why);
	if (!p && words)
		strbuf_addf(out, "%s%s, Kind=%s: %s\n", out->len ? "\n" : "",
			    kind_api_version(k, version), k->kind, words);
	cel_program_free(p);
}

static void check_field(struct policy_scope **scopes, const struct kind **kinds, size_t n,
			enum policy_use use, const json_t *v, const char *field, const char *list,
			size_t i, json_t *warnings)
{
	auto_strbuf text = {0};
	json_t *w;

	for (size_t k = 0; k < n; k++)
		doubt(scopes[k], kinds[k], use, json_str(v, field, ""), &text);
	if (!text.len)
		return;
	w = json_object();
	json_put_strf(w, "fieldRef", "spec.%s[%zu].%s", list, i, field);
	json_put_str(w, "warning", text.s);
	json_array_append_new(warnings, w);
}

static struct policy_scope *scope_with_variables(const json_t *spec, const struct kind *k)
{
	struct policy_scope *s = policy_scope_new(spec, k);
	json_t *v;
	size_t i;

	json_array_foreach(json_object_get(spec, "variables"), i, v)
	{
		auto_free char *error = NULL;

		policy_add_variable(s, json_str(v, "name", ""), json_str(v, "expression", ""),
				    &error);
	}
	return s;
}

json_t *policy_type_check(const json_t *policy)
{
	const json_t *spec = json_object_get(policy, "spec");
	const struct kind *kinds[KINDS_MAX];
	struct policy_scope *scopes[KINDS_MAX];
	json_t *warnings = json_array(), *ret = json_object(), *v;
	size_t n = named_kinds(policy, kinds), i;

	for (size_t k = 0; k < n; k++)
		scopes[k] = scope_with_variables(spec, kinds[k]);
	json_array_foreach(json_object_get(spec, "validations"), i, v)
	{
		check_field(scopes, kinds, n, POLICY_RULE, v, "expression", "validations", i,
			    warnings);
		check_field(scopes, kinds, n, POLICY_MESSAGE, v, "messageExpression", "validations",
			    i, warnings);
	}
	for (size_t k = 0; k < n; k++)
		policy_scope_free(scopes[k]);
	if (json_array_size(warnings))
		json_object_set(ret, "expressionWarnings", warnings);
	json_decref(warnings);
	return ret;
}
