/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Objects against their schema. The words and the order are those of kube-openapi's validation as
 * apiextensions-apiserver turns it into field errors (pkg/apiserver/validation). On an update what
 * was not changed is not complained about (validation ratcheting).
 */
#include "custom.h"

#include <math.h>

/* One run of a schema. Alternatives (anyOf ...) run with an err of their own. */
struct run {
	struct err *err;
	struct strbuf path;
	size_t work; /* values looked at, over all alternatives */
	bool given_up;
};
/* A schema with alternatives inside alternatives could be made to take for ever, and so could
 * patterns that backtrack: a match counts by the time that it took. */
#define WORK_MAX 1000000
#define WORK_PER_US 3
#define CAUSES_MAX 200

static void check(struct run *r, const struct node *n, const json_t *v, const json_t *old);

/* ---- words ------------------------------------------------------------------------------ */

static const char *path_of(const struct run *r)
{
	return r->path.len ? r->path.s : "";
}

static void PRINTF_LIKE(3, 4) complain(struct run *r, const char *reason, const char *fmt, ...)
{
	auto_strbuf b = {0};
	va_list ap;

	if (r->err->n_causes >= CAUSES_MAX)
		return;
	va_start(ap, fmt);
	strbuf_vaddf(&b, fmt, ap);
	va_end(ap);
	err_cause_add(r->err, reason, r->path.len ? r->path.s : "<nil>", "%s", b.s);
}

/* `Invalid value: <value>: <path> in body <text>`; value is JSON text. */
static void PRINTF_LIKE(3, 4) invalid(struct run *r, const char *value, const char *fmt, ...)
{
	auto_strbuf b = {0};
	va_list ap;

	va_start(ap, fmt);
	strbuf_vaddf(&b, fmt, ap);
	va_end(ap);
	complain(r, "FieldValueInvalid", "Invalid value: %s: %s in body %s", value, path_of(r),
		 b.s);
}

/* What Go prints of a number with %v. */
static char *number_text(char buf[static 40], double d)
{
	if (d == floor(d) && fabs(d) < 1e15) {
		snprintf(buf, 40, "%.0f", d);
		return buf;
	}
	for (int digits = 1; digits <= 17; digits++) {
		snprintf(buf, 40, "%.*g", digits, d);
		if (strtod(buf, NULL) == d)
			break;
	}
	return buf;
}

static char *value_text(const json_t *v)
{
	char *text = json_dumps(v, JSON_COMPACT | JSON_ENCODE_ANY | JSON_SORT_KEYS);

	return text ? text : xstrdup("null");
}

/* ---- types ------------------------------------------------------------------------------ */

static const char *type_word(const json_t *v)
{
	switch (json_typeof(v)) {
	case JSON_OBJECT:
		return "object";
	case JSON_ARRAY:
		return "array";
	case JSON_STRING:
		return "string";
	case JSON_INTEGER:
		return "integer";
	case JSON_REAL:
		return "number";
	case JSON_TRUE:
	case JSON_FALSE:
		return "boolean";
	case JSON_NULL:
		return "null";
	}
	return "";
}

static bool has_type(const struct node *n, const json_t *v)
{
	if (json_is_null(v) && (n->flags & NODE_NULLABLE))
		return true;
	if (n->flags & NODE_INT_OR_STRING)
		return json_is_integer(v) || json_is_string(v);
	switch ((enum node_type)n->type) {
	case NODE_ANY:
		return true;
	case NODE_OBJECT:
		return json_is_object(v);
	case NODE_ARRAY:
		return json_is_array(v);
	case NODE_STRING:
		return json_is_string(v);
	case NODE_INTEGER:
		return json_is_integer(v) ||
		       (json_is_real(v) && json_real_value(v) == floor(json_real_value(v)));
	case NODE_NUMBER:
		return json_is_number(v);
	case NODE_BOOLEAN:
		return json_is_boolean(v);
	case NODE_OTHER:
		break;
	}
	return false;
}

static void check_type(struct run *r, const struct node *n, const json_t *v)
{
	static const char *const words[] = {"",	       "object", "array",   "string",
					    "integer", "number", "boolean", "unknown"};
	const char *want = n->flags & NODE_INT_OR_STRING ? "integer,string" : words[n->type];

	if (!has_type(n, v))
		complain(r, "FieldValueTypeInvalid",
			 "Invalid value: \"%s\": %s in body must be of type %s: \"%s\"",
			 type_word(v), path_of(r), want, type_word(v));
}

/* ---- scalars ---------------------------------------------------------------------------- */

static int64_t count_runes(const json_t *v)
{
	const char *s = json_string_value(v);
	int64_t n = 0;

	for (size_t i = 0; i < json_string_length(v); i++)
		n += ((unsigned char)s[i] & 0xc0) != 0x80;
	return n;
}

static bool is_match(struct run *r, struct pattern *p, const json_t *v)
{
	mono_t start = mono_now();
	enum pattern_result found = pattern_match(p, json_string_value(v), json_string_length(v));

	r->work += (size_t)mono_sub(mono_now(), start) * WORK_PER_US;
	return found == PATTERN_YES;
}

static void check_string(struct run *r, const struct rules *rules, const json_t *v)
{
	int64_t len = count_runes(v);
	auto_free char *text = value_text(v);

	if (rules->max_length >= 0 && len > rules->max_length)
		complain(r, "FieldValueTooLong", "Too long: may not be more than %lld bytes",
			 (long long)rules->max_length);
	if (rules->min_length >= 0 && len < rules->min_length)
		invalid(r, text, "should be at least %lld chars long",
			(long long)rules->min_length);
	if (rules->pattern && !is_match(r, rules->pattern, v))
		invalid(r, text, "should match '%s'", rules->pattern->text);
	if (rules->format && !format_matches(rules->format, json_string_value(v)))
		complain(r, "FieldValueTypeInvalid",
			 "Invalid value: %s: %s in body must be of type %s: %s", text, path_of(r),
			 rules->format, text);
}

static void check_number(struct run *r, const struct rules *rules, const json_t *v)
{
	double d = json_number_value(v);
	auto_free char *text = value_text(v);
	char limit[40];

	if (rules->multiple > 0 && fabs(d / rules->multiple - round(d / rules->multiple)) > 1e-9)
		invalid(r, text, "should be a multiple of %s", number_text(limit, rules->multiple));
	if (rules->has_max && (rules->exclusive_max ? d >= rules->max : d > rules->max))
		invalid(r, text, "should be less than %s%s",
			rules->exclusive_max ? "" : "or equal to ", number_text(limit, rules->max));
	if (rules->has_min && (rules->exclusive_min ? d <= rules->min : d < rules->min))
		invalid(r, text, "should be greater than %s%s",
			rules->exclusive_min ? "" : "or equal to ", number_text(limit, rules->min));
}

static void check_enum(struct run *r, const struct rules *rules, const json_t *v)
{
	auto_strbuf b = {0};
	auto_free char *text = value_text(v);
	json_t *allowed;
	size_t i;

	json_array_foreach(rules->values, i, allowed)
	{
		/* 1 and 1.0 are the same value */
		if (json_same(allowed, v) || (json_is_number(v) && json_is_number(allowed) &&
					      json_number_value(v) == json_number_value(allowed)))
			return;
	}
	json_array_foreach(rules->values, i, allowed)
	{
		auto_free char *one = value_text(allowed);

		strbuf_addf(&b, json_is_string(allowed) ? "%s%s" : "%s\"%s\"", i ? ", " : "", one);
	}
	complain(r, "FieldValueNotSupported", "Unsupported value: %s: supported values: %s", text,
		 b.s ? b.s : "");
}

/* ---- lists ------------------------------------------------------------------------------ */

/* Text by which two items of a set or map are the same one. */
static char *identity(const struct node *n, const json_t *item)
{
	json_auto_t *keys = NULL;

	if (!(n->flags & NODE_LIST_MAP) || !json_is_object(item))
		return value_text(item);
	keys = json_object();
	for (size_t i = 0; n->rules && i < n->rules->n_keys; i++) {
		json_t *v = json_object_get(item, n->rules->keys[i]);

		if (v)
			json_object_set(keys, n->rules->keys[i], v);
	}
	return value_text(keys);
}

static void check_unique(struct run *r, const struct node *n, const json_t *v)
{
	struct map seen = {0};
	json_t *item;
	size_t i, mark = r->path.len;

	json_array_foreach(v, i, item)
	{
		auto_free char *key = identity(n, item);

		if (!map_put(&seen, key, item))
			continue;
		strbuf_addf(&r->path, "[%zu]", i);
		complain(r, "FieldValueDuplicate", "Duplicate value: %s", key);
		path_cut(&r->path, mark);
	}
	map_done(&seen);
}

/* The items of the old list of a map by their keys: the same ones can be compared. */
static void index_items(const struct node *n, const json_t *old, struct map *ret)
{
	json_t *was;
	size_t i;

	if (!(n->flags & NODE_LIST_MAP))
		return;
	json_array_foreach(old, i, was)
	{
		auto_free char *key = identity(n, was);

		map_put(ret, key, was);
	}
}

static void check_items(struct run *r, const struct node *n, const json_t *v, const json_t *old)
{
	struct map before = {0};
	size_t i, mark = r->path.len;
	json_t *item;

	index_items(n, old, &before);
	json_array_foreach(v, i, item)
	{
		auto_free char *key = before.n ? identity(n, item) : NULL;

		strbuf_addf(&r->path, "[%zu]", i);
		check(r, n->item, item, key ? map_get(&before, key) : NULL);
		path_cut(&r->path, mark);
	}
	map_done(&before);
}

static void check_array(struct run *r, const struct node *n, const json_t *v, const json_t *old)
{
	long long size = (long long)json_array_size(v);
	const struct rules *rules = n->rules;

	if (rules && rules->max_items >= 0 && size > rules->max_items)
		complain(r, "FieldValueTooMany", "Too many: %lld: must have at most %lld items",
			 size, (long long)rules->max_items);
	if (rules && rules->min_items >= 0 && size < rules->min_items) {
		auto_free char *text = xasprintf("%lld", size);

		invalid(r, text, "should have at least %lld items", (long long)rules->min_items);
	}
	if (n->flags & NODE_ITEMS)
		check_items(r, n, v, old);
	if (n->flags & (NODE_LIST_SET | NODE_LIST_MAP | NODE_UNIQUE))
		check_unique(r, n, v);
}

/* ---- objects ---------------------------------------------------------------------------- */

static void check_sizes(struct run *r, const struct rules *rules, const json_t *v)
{
	long long size = (long long)json_object_size(v);
	auto_free char *text = xasprintf("%lld", size);

	if (rules->max_properties >= 0 && size > rules->max_properties)
		complain(r, "FieldValueTooMany", "Too many: %lld: must have at most %lld items",
			 size, (long long)rules->max_properties);
	if (rules->min_properties >= 0 && size < rules->min_properties)
		invalid(r, text, "should have at least %lld properties",
			(long long)rules->min_properties);
}

static void check_required_members(struct run *r, const struct rules *rules, const json_t *v)
{
	size_t mark = r->path.len;

	for (size_t i = 0; i < rules->n_required; i++) {
		if (json_object_get(v, rules->required[i]))
			continue;
		path_add(&r->path, rules->required[i]);
		complain(r, "FieldValueRequired", "Required value");
		path_cut(&r->path, mark);
	}
}

static void check_members(struct run *r, const struct node *n, const json_t *v, const json_t *old)
{
	size_t mark = r->path.len;
	const char *key;
	json_t *member;

	json_object_foreach((json_t *)(uintptr_t)v, key, member)
	{
		const struct node *child = node_member(n, key);

		if (!child && (n->flags & NODE_CLOSED))
			complain(r, "FieldValueInvalid",
				 "Invalid value: \"\": %s.%s in body is a forbidden property",
				 path_of(r), key);
		if (!child)
			continue;
		path_add(&r->path, key);
		check(r, child, member, json_object_get(old, key));
		path_cut(&r->path, mark);
	}
}

/* ---- alternatives ----------------------------------------------------------------------- */

/* Runs one alternative; true when it holds. found gets its complaints. */
static bool holds(struct run *r, const struct node *n, const json_t *v, struct err *found)
{
	struct err *outer = r->err;

	r->err = found;
	check(r, n, v, NULL);
	r->err = outer;
	return found->n_causes == 0;
}

static void complain_as_a_whole(struct run *r, const char *text)
{
	if (r->err->n_causes < CAUSES_MAX)
		err_cause_add(r->err, "FieldValueInvalid", "<nil>",
			      "Invalid value: \"\": \"%s\" must %s", path_of(r), text);
}

static void merge(struct run *r, const struct err *found)
{
	for (size_t i = 0; i < found->n_causes && r->err->n_causes < CAUSES_MAX; i++)
		err_cause_add(r->err, found->causes[i].reason, found->causes[i].field, "%s",
			      found->causes[i].message);
}

/* How many of the list hold; best gets the complaints of the one that came nearest. */
static size_t count_holding(struct run *r, const struct node_list *list, const json_t *v,
			    struct err *best)
{
	size_t n = 0;

	for (size_t i = 0; i < list->n; i++) {
		auto_err found = {0};

		if (holds(r, list->v[i], v, &found)) {
			n++;
		} else if (!best->n_causes || found.n_causes < best->n_causes) {
			err_done(best);
			*best = found;
			found = (struct err){0};
		}
	}
	return n;
}

static void check_alternatives(struct run *r, const struct rules *rules, const json_t *v)
{
	auto_err any = {0}, one = {0}, all = {0}, not_ = {0};

	if (rules->any_of.n && !count_holding(r, &rules->any_of, v, &any)) {
		complain_as_a_whole(r, "validate at least one schema (anyOf)");
		merge(r, &any);
	}
	if (rules->one_of.n) {
		size_t n = count_holding(r, &rules->one_of, v, &one);
		auto_free char *text = xasprintf("validate one and only one schema (oneOf). Found "
						 "%zu valid alternatives",
						 n);

		if (n == 0) {
			complain_as_a_whole(r, "validate one and only one schema (oneOf). Found "
					       "none valid");
			merge(r, &one);
		} else if (n > 1) {
			complain_as_a_whole(r, text);
		}
	}
	for (size_t i = 0; i < rules->all_of.n; i++)
		holds(r, rules->all_of.v[i], v, &all);
	merge(r, &all);
	if (all.n_causes)
		complain_as_a_whole(r, "validate all the schemas (allOf)");
	if (rules->not_ && holds(r, rules->not_, v, &not_))
		complain_as_a_whole(r, "not validate the schema (not)");
}

/* ---- one value -------------------------------------------------------------------------- */

static void check_by_type(struct run *r, const struct node *n, const json_t *v, const json_t *old)
{
	const struct rules *rules = n->rules;

	if (json_is_object(v)) {
		if (rules)
			check_sizes(r, rules, v);
		check_members(r, n, v, json_is_object(old) ? old : NULL);
		if (rules)
			check_required_members(r, rules, v);
		if (n->flags & NODE_EMBEDDED)
			check_embedded(r->err, path_of(r), v);
	} else if (json_is_array(v)) {
		check_array(r, n, v, json_is_array(old) ? old : NULL);
	} else if (rules && json_is_string(v)) {
		check_string(r, rules, v);
	} else if (rules && json_is_number(v)) {
		check_number(r, rules, v);
	}
}

static void check(struct run *r, const struct node *n, const json_t *v, const json_t *old)
{
	breathe();
	if (!n || (old && json_same(v, old)))
		return;
	if (r->work++ >= WORK_MAX) {
		if (!r->given_up)
			complain(r, "FieldValueInvalid",
				 "Invalid value: \"\": it takes too long to validate this object");
		r->given_up = true;
		return;
	}
	check_type(r, n, v);
	if (n->rules && n->rules->values && !(json_is_null(v) && (n->flags & NODE_NULLABLE)))
		check_enum(r, n->rules, v);
	if (json_is_null(v))
		return;
	check_by_type(r, n, v, old);
	if (n->rules)
		check_alternatives(r, n->rules, v);
}

void node_check(const struct node *n, const json_t *v, const json_t *old, const char *path,
		struct err *err)
{
	struct run r = {.err = err};

	strbuf_adds(&r.path, path);
	check(&r, n, v, old);
	strbuf_done(&r.path);
}

/* Rules in CEL are not run on what has not even the right shape. */
static bool is_blocked(const struct err *err)
{
	static const char *const reasons[] = {"FieldValueNotSupported", "FieldValueRequired",
					      "FieldValueTooLong", "FieldValueTooMany",
					      "FieldValueTypeInvalid"};

	for (size_t i = 0; i < err->n_causes; i++)
		for (size_t j = 0; j < ARRAY_SIZE(reasons); j++)
			if (streq(err->causes[i].reason, reasons[j]))
				return true;
	return false;
}

void custom_validate(struct custom_kind *k, const json_t *obj, const json_t *old, struct err *err)
{
	const struct node *root = custom_root(k);

	node_check(root, obj, old, "", err);
	if (!(root->flags & NODE_RULES))
		return;
	if (is_blocked(err))
		err_cause_add(err, "FieldValueInvalid", "<nil>",
			      "Invalid value: \"null\": some validation rules were not checked "
			      "because the object was invalid; correct the existing errors to "
			      "complete validation");
	else
		node_run_rules(k->tree, true, obj, old, "", err);
}
