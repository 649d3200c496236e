/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What x-kubernetes-validations of a definition may say (pkg/apis/apiextensions/validation): the
 * expressions have to compile against the schema they stand in, and oldSelf may only be spoken of
 * where an old value can be found again.
 */
#include "crd.h"

static bool is_blank(const char *s)
{
	return !s[strspn(s, " \t\r\n\v\f")];
}

static void add_go_string(struct strbuf *b, const char *s)
{
	strbuf_addc(b, '"');
	for (; *s; s++) {
		if (*s == '"' || *s == '\\')
			strbuf_addf(b, "\\%c", *s);
		else if (*s == '\n')
			strbuf_adds(b, "\\n");
		else if (*s == '\t')
			strbuf_adds(b, "\\t");
		else
			strbuf_addc(b, *s);
	}
	strbuf_addc(b, '"');
}

/* The rule as Go prints the struct. */
static char *rule_text(const json_t *rule)
{
	static const struct {
		const char *go, *key;
	} fields[] = {{"Rule", "rule"},
		      {", Message", "message"},
		      {", MessageExpression", "messageExpression"}};
	const char *reason = json_str(rule, "reason", NULL);
	struct strbuf b = {0};

	strbuf_adds(&b, "apiextensions.ValidationRule{");
	for (size_t i = 0; i < ARRAY_SIZE(fields); i++) {
		strbuf_addf(&b, "%s:", fields[i].go);
		add_go_string(&b, json_str(rule, fields[i].key, ""));
	}
	strbuf_addf(&b, ", Reason:(*apiextensions.FieldValueErrorReason)(%s), FieldPath:",
		    reason ? reason : "nil");
	add_go_string(&b, json_str(rule, "fieldPath", ""));
	strbuf_addf(&b, ", OptionalOldSelf:(*bool)(%s)}",
		    json_object_get(rule, "optionalOldSelf")
			    ? json_bool(rule, "optionalOldSelf", false) ? "true" : "false"
			    : "nil");
	return strbuf_steal(&b);
}

/* ---- the texts -------------------------------------------------------------------------- */

/* One step of ".a.b['c']"; NULL: it cannot be read. The schema it leads to is put into *s. */
static const char *path_step(const char *p, const json_t **s)
{
	const json_t *properties = json_object_get(*s, "properties");
	const json_t *more = json_object_get(*s, "additionalProperties");
	bool quoted = p[0] == '[' && p[1] == '\'';
	size_t n;

	if (!quoted && *p != '.')
		return NULL;
	p += quoted ? 2 : 1;
	n = quoted ? strcspn(p, "'") : strcspn(p, ".[]");
	if (!n || (quoted && (p[n] != '\'' || p[n + 1] != ']')))
		return NULL;
	auto_free char *name = xstrndup(p, n);

	*s = properties ? json_object_get(properties, name) : json_is_object(more) ? more : NULL;
	return *s ? p + n + (quoted ? 2 : 0) : NULL;
}

static bool is_field_path(const json_t *schema, const char *path)
{
	const json_t *s = schema;

	while (path && *path)
		path = path_step(path, &s);
	return path != NULL;
}

static void check_message_text(struct check *c, const json_t *v)
{
	const char *rule = json_str(v, "rule", ""), *message = json_str(v, "message", "");

	if (is_blank(rule))
		check_required(c, "rule", "rule is not specified");
	else if (*message && is_blank(message))
		check_invalid_str(c, "message", message, "message must be non-empty if specified");
	else if (strchr(message, '\n'))
		check_invalid_str(c, "message", message, "message must not contain line breaks");
	else if (strchr(rule, '\n') && is_blank(message))
		check_required(c, "message",
			       "message must be specified if rule contains line breaks");
}

static void check_texts(struct check *c, const json_t *schema, const json_t *v)
{
	static const char reasons[] = "FieldValueDuplicate,FieldValueForbidden,FieldValueInvalid,"
				      "FieldValueRequired";
	const char *expression = json_str(v, "messageExpression", "");
	const char *reason = json_str(v, "reason", NULL), *path = json_str(v, "fieldPath", "");

	check_message_text(c, v);
	if (*expression && is_blank(expression))
		check_required(c, "messageExpression",
			       "messageExpression must be non-empty if specified");
	if (reason && !csv_has_exactly(reasons, reason))
		check_unsupported(c, "reason", reason, reasons);
	if (*path && is_blank(path))
		check_invalid_str(c, "fieldPath", path, "fieldPath must be non-empty if specified");
	else if (strchr(path, '\n'))
		check_invalid_str(c, "fieldPath", path, "fieldPath must not contain line breaks");
	else if (*path && !is_field_path(schema, path))
		check_invalid_str(c, "fieldPath", path, "fieldPath must be a valid path");
}

/* ---- the expressions -------------------------------------------------------------------- */

/* What an expression may cost over all values of an object. */
static void check_cost(struct check *c, const char *field, const struct cel_program *p,
		       const struct place *at)
{
	uint64_t count = at->count ? at->count : node_max_count(at->spine), cost;
	char factor[32];
	double times;

	if (!p)
		return;
	if (__builtin_mul_overflow(cel_program_estimate(p), count, &cost))
		cost = UINT64_MAX;
	times = (double)cost / CEL_BUDGET;
	if (times <= 1)
		return;
	if (times > 100)
		snprintf(factor, sizeof(factor), "more than 100x");
	else
		snprintf(factor, sizeof(factor), times < 1.5 ? "%fx" : "%.1fx", times);
	check_forbidden(c, field,
			"estimated %s cost exceeds budget by factor of %s (try simplifying the "
			"rule, or adding maxItems, maxProperties, and maxLength where arrays, "
			"maps, and strings are declared)",
			field, factor);
}

static void check_expressions(struct check *c, const json_t *v, struct cel_rule *rule,
			      const struct cel_type *type, const struct place *at)
{
	const char *uncorrelatable = at->uncorrelatable;
	auto_free char *rule_error = NULL, *message_error = NULL, *text = rule_text(v);

	cel_rule_compile(rule, type, &rule_error, &message_error);
	check_cost(c, "rule", rule->program, at);
	check_cost(c, "messageExpression", rule->message_program, at);
	if (rule_error)
		check_invalid_bare(c, "rule", "%s: %s", text, rule_error);
	if (message_error)
		check_invalid_bare(c, "messageExpression", "%s: %s", text, message_error);
	if (rule->uses_old_self && uncorrelatable)
		check_invalid_str(c, "rule", rule->rule,
				  "oldSelf cannot be used on the uncorrelatable portion of the "
				  "schema within %s",
				  uncorrelatable);
	if (!rule->uses_old_self && !rule_error && json_object_get(v, "optionalOldSelf"))
		check_invalid(c, "optionalOldSelf", json_object_get(v, "optionalOldSelf"),
			      "must not be set when oldSelf is not used in rule");
}

void check_rules(struct check *c, const json_t *schema, struct tree *tree, const struct place *at,
		 bool root)
{
	const json_t *list = json_object_get(schema, "x-kubernetes-validations");
	const struct rules *rules = at->rules ? at->rules->rules : NULL;
	const struct cel_type *type;
	json_t *v;
	size_t i, mark;

	if (!json_array_size(list) || !rules || rules->n_cel != json_array_size(list))
		return;
	type = node_cel_type(tree, at->spine, root);
	if (!type) {
		err_cause_add(c->err, "InternalError", c->path.s,
			      "Internal error: rule declared on schema that does not support "
			      "validation rules type: '%s' x-kubernetes-preserve-unknown-fields: "
			      "'%s'",
			      json_str(schema, "type", ""),
			      at->spine && (at->spine->flags & NODE_PRESERVE) ? "true" : "false");
		return;
	}
	json_array_foreach(list, i, v)
	{
		mark = check_item(c, "x-kubernetes-validations", i);
		check_texts(c, schema, v);
		check_expressions(c, v, &rules->cel[i], type, at);
		check_leave(c, mark);
	}
}
