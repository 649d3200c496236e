/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rules in CEL on custom objects, in the words and the order of apiextensions-apiserver
 * (pkg/apiserver/schema/cel/validation.go). A rule that speaks of oldSelf runs where there is an
 * old value to compare with; one that does not may fail on what was there before and was not
 * changed.
 */
#include "custom.h"

#include <ctype.h>

#define CAUSES_MAX 200
#define MESSAGE_MAX 5120

/* ---- compiling -------------------------------------------------------------------------- */

void tree_add_rules(struct tree *t, struct rules *r, const json_t *list)
{
	size_t n = json_array_size(list), i;
	json_t *v;

	if (!n)
		return;
	r->cel = tree_take(t, n * sizeof(*r->cel));
	r->n_cel = n;
	r->cel->n = n;
	r->cel->next = t->rules;
	t->rules = r->cel;
	json_array_foreach(list, i, v)
	{
		struct cel_rule *rule = &r->cel[i];

		rule->rule = tree_text(t, json_str(v, "rule", ""));
		rule->message = tree_text(t, json_str(v, "message", ""));
		rule->message_expression = tree_text(t, json_str(v, "messageExpression", ""));
		rule->reason = tree_text(t, json_str(v, "reason", ""));
		rule->field_path = tree_text(t, json_str(v, "fieldPath", ""));
		rule->optional_old_self = json_bool(v, "optionalOldSelf", false);
	}
}

void tree_free_rules(struct tree *t)
{
	for (struct cel_rule *first = t->rules; first; first = first->next) {
		for (size_t i = 0; i < first->n; i++) {
			cel_program_free(first[i].program);
			cel_program_free(first[i].message_program);
			free(first[i].error);
		}
	}
	free(t->types);
}

static struct cel_program *compile(const struct cel_env *env, const char *text, enum cel_kind want,
				   const char *prefix, const char *mismatch, char **error)
{
	auto_free char *why = NULL;
	struct cel_program *p = cel_compile(env, text, &why);

	if (!p) {
		*error = xasprintf("%scompilation failed: %s", prefix, why);
	} else if (cel_program_type(p)->kind != want) {
		*error = xstrdup(mismatch);
		cel_program_free(p);
		p = NULL;
	}
	return p;
}

static bool is_blank(const char *s)
{
	return !s[strspn(s, " \t\r\n\v\f")];
}

void cel_rule_compile(struct cel_rule *rule, const struct cel_type *self, char **rule_error,
		      char **message_error)
{
	const struct cel_type optional = {
		.kind = CEL_OPTIONAL, .key = cel_type_of(CEL_DYN), .elem = self};
	struct cel_variable vars[] = {{"self", self},
				      {"oldSelf", rule->optional_old_self ? &optional : self}};
	struct cel_env env = {vars, ARRAY_SIZE(vars)};

	*rule_error = *message_error = NULL;
	rule->tried = true;
	if (is_blank(rule->rule))
		return;
	rule->program = compile(&env, rule->rule, CEL_BOOL, "",
				"cel expression must evaluate to a bool", rule_error);
	rule->uses_old_self = rule->program && cel_program_uses(rule->program, 1);
	if (!is_blank(rule->message_expression))
		rule->message_program =
			compile(&env, rule->message_expression, CEL_STRING, "messageExpression ",
				"messageExpression must evaluate to a string", message_error);
}

/* ---- one run ---------------------------------------------------------------------------- */

struct rule_run {
	struct tree *tree;
	struct cel_run *run;
	struct err *err;
	struct strbuf path;
	int64_t budget;
	bool stopped;
};
/* A value and what it was; of an ancestor for a value that cannot be found again in the old object.
 */
struct pair {
	const json_t *v, *old;
};

static char *trimmed(const char *s)
{
	size_t n;

	while (isspace((unsigned char)*s))
		s++;
	for (n = strlen(s); n && isspace((unsigned char)s[n - 1]);)
		n--;
	return xstrndup(s, n);
}

static char *rule_text(const struct cel_rule *rule)
{
	return trimmed(*rule->message ? rule->message : rule->rule);
}

static const char *type_word(const struct node *n)
{
	static const char *const words[] = {"",	       "object", "array",   "string",
					    "integer", "number", "boolean", ""};

	return words[n->type];
}

static void PRINTF_LIKE(4, 5)
	complain(struct rule_run *r, const char *reason, const char *path, const char *fmt, ...)
{
	auto_free char *text = NULL;
	va_list ap;

	if (r->err->n_causes >= CAUSES_MAX)
		return;
	va_start(ap, fmt);
	text = xvasprintf(fmt, ap);
	va_end(ap);
	err_cause_add(r->err, reason, *path ? path : "<nil>", "%s", text);
}

static void PRINTF_LIKE(3, 4)
	invalid(struct rule_run *r, const struct node *n, const char *fmt, ...)
{
	auto_free char *text = NULL;
	va_list ap;

	va_start(ap, fmt);
	text = xvasprintf(fmt, ap);
	va_end(ap);
	complain(r, "FieldValueInvalid", r->path.len ? r->path.s : "", "Invalid value: \"%s\": %s",
		 type_word(n), text);
}

static void out_of_budget(struct rule_run *r, const struct node *n)
{
	r->stopped = true;
	invalid(r, n,
		"validation failed due to running out of cost budget, no further validation rules "
		"will be run");
}

/* What the value of an expression costs is taken from the budget; false: there is none left. */
static bool pay(struct rule_run *r, uint64_t cost)
{
	r->budget -= (int64_t)cost;
	return r->budget >= 0;
}

static void rule_failed(struct rule_run *r, const struct node *n, const struct cel_rule *rule,
			struct cel_value v)
{
	auto_free char *text = rule_text(rule);
	const char *why = cel_text(r->run, v);

	if (streq(why, CEL_OVER_LIMIT)) {
		invalid(r, n,
			"'%s': no further validation rules will be run due to call cost exceeds "
			"limit for rule: %s",
			why, text);
		r->stopped = true;
	} else if (str_starts(why, "no such overload")) {
		invalid(r, n,
			"'%s': call arguments did not match a supported operator, function or "
			"macro signature for rule: %s",
			why, text);
	} else {
		invalid(r, n, "%s evaluating rule: %s", why, text);
	}
}

/* The text of messageExpression; NULL: there is none, or it is no good. */
static char *computed_message(struct rule_run *r, const struct cel_rule *rule,
			      const struct cel_value *vars)
{
	struct cel_value v;
	uint64_t cost;
	char *text;

	if (!rule->message_program)
		return NULL;
	v = cel_eval(r->run, rule->message_program, vars, CEL_CALL_LIMIT, &cost);
	if (!pay(r, cost) || v.kind != CEL_STRING)
		return NULL;
	text = trimmed(cel_text(r->run, v));
	if (*text && strlen(text) <= MESSAGE_MAX && !strchr(text, '\n'))
		return text;
	free(text);
	return NULL;
}

/* ".spec.a" below the path; "['a.b']" becomes "[a.b]" or ".a.b" as upstream normalizes it. */
static char *place_of(const struct rule_run *r, const struct cel_rule *rule)
{
	auto_strbuf b = {0};

	strbuf_adds(&b, r->path.len ? r->path.s : "");
	for (const char *s = rule->field_path; *s; s++) {
		if (*s == '.' && !b.len)
			continue;
		if (*s == '\'')
			continue;
		if (*s == '[' && !b.len) {
			size_t len = strcspn(++s, "]");

			for (size_t i = 0; i < len; i++)
				if (s[i] != '\'')
					strbuf_addc(&b, s[i]);
			s += len;
			if (!*s)
				break;
			continue;
		}
		strbuf_addc(&b, *s);
	}
	return strbuf_steal(&b);
}

static void rule_is_false(struct rule_run *r, const struct node *n, const struct cel_rule *rule,
			  const struct cel_value *vars)
{
	auto_free char *computed = computed_message(r, rule, vars);
	auto_free char *text = rule_text(rule);
	auto_free char *path = place_of(r, rule);
	auto_free char *detail = computed	  ? xstrdup(computed)
				 : *rule->message ? xstrdup(text)
						  : xasprintf("failed rule: %s", text);

	if (streq(rule->reason, "FieldValueForbidden"))
		complain(r, rule->reason, path, "Forbidden: %s", detail);
	else if (streq(rule->reason, "FieldValueRequired"))
		complain(r, rule->reason, path, "Required value: %s", detail);
	else if (streq(rule->reason, "FieldValueDuplicate"))
		complain(r, rule->reason, path, "Duplicate value: \"%s\"", type_word(n));
	else
		complain(r, "FieldValueInvalid", path, "Invalid value: \"%s\": %s", type_word(n),
			 detail);
}

/* ---- one node --------------------------------------------------------------------------- */

static void make_ready(struct cel_rule *rule, const struct cel_type *self)
{
	auto_free char *message_error = NULL;

	if (!rule->tried)
		cel_rule_compile(rule, self, &rule->error, &message_error);
}

static void run_rule(struct rule_run *r, const struct node *n, struct cel_rule *rule,
		     const struct cel_type *type, const struct pair *at, const struct pair *nearest)
{
	struct cel_value vars[2], v;
	uint64_t cost;

	make_ready(rule, type);
	if (rule->error) {
		invalid(r, n, "rule compile error: %s", rule->error);
		return;
	}
	if (!rule->program || (rule->uses_old_self && !at->old && !rule->optional_old_self))
		return;
	vars[0] = cel_from_json(r->run, at->v, type);
	vars[1] = at->old ? cel_from_json(r->run, at->old, type) : (struct cel_value){0};
	if (rule->optional_old_self)
		vars[1] = cel_optional(r->run, at->old ? &vars[1] : NULL);
	v = cel_eval(r->run, rule->program, vars, CEL_CALL_LIMIT, &cost);
	if (!pay(r, cost)) {
		out_of_budget(r, n);
		return;
	}
	if (v.kind == CEL_ERROR)
		rule_failed(r, n, rule, v);
	else if (!cel_is_true(v) &&
		 (rule->uses_old_self || !nearest->old || !json_equal(nearest->v, nearest->old)))
		rule_is_false(r, n, rule, vars);
}

/* rules: the schema that has them (the node itself, or an allOf of it). */
static void run_rules(struct rule_run *r, const struct node *rules, const struct node *n, bool root,
		      const struct pair *at, const struct pair *nearest)
{
	const struct cel_type *type;

	if (!rules->rules || !rules->rules->n_cel)
		return;
	type = node_cel_type(r->tree, n, root);
	if (!type)
		return;
	if (r->budget <= 0) {
		out_of_budget(r, n);
		return;
	}
	for (size_t i = 0; i < rules->rules->n_cel && !r->stopped; i++)
		run_rule(r, n, &rules->rules->cel[i], type, at, nearest);
}

/* ---- the walk --------------------------------------------------------------------------- */

static void walk(struct rule_run *r, const struct node *rules, const struct node *n, bool root,
		 struct pair at, struct pair nearest);

static const json_t *same_item(const struct node *n, const json_t *old, const json_t *item)
{
	json_t *was;
	size_t i;

	if (!(n->flags & NODE_LIST_MAP) || !n->rules)
		return NULL;
	json_array_foreach(old, i, was)
	{
		size_t k = 0;

		while (k < n->rules->n_keys) {
			json_t *a = json_object_get(was, n->rules->keys[k]);
			json_t *b = json_object_get(item, n->rules->keys[k]);

			if (a != b && !json_equal(a, b))
				break;
			k++;
		}
		if (k == n->rules->n_keys)
			return was;
	}
	return NULL;
}

static void walk_items(struct rule_run *r, const struct node *rules, const struct node *n,
		       struct pair at, struct pair nearest)
{
	size_t i, mark = r->path.len;
	json_t *item;

	if (!rules->item || !n->item || !(rules->item->flags & NODE_RULES))
		return;
	json_array_foreach(at.v, i, item)
	{
		const json_t *old = at.old ? same_item(n, at.old, item) : NULL;

		strbuf_addf(&r->path, "[%zu]", i);
		walk(r, rules->item, n->item, false, (struct pair){item, old}, nearest);
		path_cut(&r->path, mark);
		if (r->stopped)
			return;
	}
}

static void walk_members(struct rule_run *r, const struct node *rules, const struct node *n,
			 struct pair at, struct pair nearest)
{
	const json_t *before = n->flags & NODE_ATOMIC ? NULL : at.old;
	size_t mark = r->path.len;
	const char *key;
	json_t *member;

	json_object_foreach((json_t *)(uintptr_t)at.v, key, member)
	{
		const struct node *child = node_child(rules, key), *spine = node_member(n, key);
		const struct node *below = child ? child : node_member(rules, key);

		if (!below || !spine || !(below->flags & NODE_RULES))
			continue;
		if (child)
			path_add(&r->path, key);
		else
			strbuf_addf(&r->path, "[%s]", key);
		walk(r, below, spine, false,
		     (struct pair){member, before ? json_object_get(before, key) : NULL}, nearest);
		path_cut(&r->path, mark);
		if (r->stopped)
			return;
	}
}

static void walk(struct rule_run *r, const struct node *rules, const struct node *n, bool root,
		 struct pair at, struct pair nearest)
{
	if (json_is_null(at.v) || r->stopped || !(rules->flags & NODE_RULES))
		return;
	if (json_is_null(at.old))
		at.old = NULL;
	if (at.old)
		nearest = at;
	run_rules(r, rules, n, root, &at, &nearest);
	for (size_t i = 0; rules->rules && i < rules->rules->all_of.n; i++)
		walk(r, rules->rules->all_of.v[i], n, root, at, nearest);
	if (json_is_array(at.v))
		walk_items(r, rules, n, (struct pair){at.v, json_is_array(at.old) ? at.old : NULL},
			   nearest);
	else if (json_is_object(at.v))
		walk_members(r, rules, n,
			     (struct pair){at.v, json_is_object(at.old) ? at.old : NULL}, nearest);
}

void node_run_rules(struct tree *t, bool resource, const json_t *v, const json_t *old,
		    const char *path, struct err *err)
{
	struct rule_run r = {
		.tree = t, .run = cel_run_new(schema_cel_host()), .err = err, .budget = CEL_BUDGET};
	struct pair at = {v, old};

	strbuf_adds(&r.path, path);
	breath_hold(); /* programs are made on the way, and time is counted */
	walk(&r, t->root, t->root, resource, at, at);
	breath_release();
	strbuf_done(&r.path);
	cel_run_free(r.run);
}
