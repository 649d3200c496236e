/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The words of validation errors, and what the field tables alone can check.
 */
#include "validate.h"

#include <arpa/inet.h>

/* ---- path ------------------------------------------------------------------------------- */

size_t check_enter(struct check *c, const char *field)
{
	size_t mark = c->path.len;

	breathe();
	if (field)
		path_add(&c->path, field);
	return mark;
}

size_t check_item(struct check *c, const char *field, size_t i)
{
	size_t mark = check_enter(c, field);

	strbuf_addf(&c->path, "[%zu]", i);
	return mark;
}

void check_leave(struct check *c, size_t mark)
{
	path_cut(&c->path, mark);
}

bool check_step(struct check *c, const json_t *obj, const char *field, size_t i, json_t **ret,
		size_t mark)
{
	check_leave(c, mark);
	*ret = json_array_get(json_object_get(obj, field), i);
	if (!*ret)
		return false;
	check_item(c, field, i);
	return true;
}

/* ---- words ------------------------------------------------------------------------------ */

/* Every object is bounded, but its list of complaints may be long. */
#define MAX_CAUSES 200

static void add(struct check *c, const char *reason, const char *field, const char *text)
{
	size_t mark = check_enter(c, field);

	if (c->err && c->err->n_causes < MAX_CAUSES)
		err_cause_add(c->err, reason, c->path.s ? c->path.s : "", "%s", text);
	check_leave(c, mark);
}

/* Go's %q of a string. */
static void add_quoted(struct strbuf *b, const char *s)
{
	strbuf_addc(b, '"');
	for (; *s; s++) {
		unsigned char ch = (unsigned char)*s;

		if (ch == '"' || ch == '\\')
			strbuf_addf(b, "\\%c", ch);
		else if (ch == '\n')
			strbuf_adds(b, "\\n");
		else if (ch == '\t')
			strbuf_adds(b, "\\t");
		else if (ch < 0x20 || ch == 0x7f)
			strbuf_addf(b, "\\x%02x", ch);
		else
			strbuf_addc(b, *s);
	}
	strbuf_addc(b, '"');
}

static void add_value(struct strbuf *b, const json_t *v)
{
	if (!v) {
		strbuf_adds(b, "null");
	} else if (json_is_string(v)) {
		add_quoted(b, json_string_value(v));
	} else {
		auto_free char *text = json_text(v, NULL);

		strbuf_adds(b, text);
	}
}

void check_required(struct check *c, const char *field, const char *detail)
{
	auto_strbuf b = {0};

	strbuf_addf(&b, "Required value%s%s", *detail ? ": " : "", detail);
	add(c, "FieldValueRequired", field, b.s);
}

static void PRINTF_LIKE(4, 0)
	invalid(struct check *c, const char *field, struct strbuf *b, const char *fmt, va_list ap)
{
	if (*fmt) {
		strbuf_adds(b, ": ");
		strbuf_vaddf(b, fmt, ap);
	}
	add(c, "FieldValueInvalid", field, b->s);
}

void check_invalid(struct check *c, const char *field, const json_t *value, const char *fmt, ...)
{
	auto_strbuf b = {0};
	va_list ap;

	strbuf_adds(&b, "Invalid value: ");
	add_value(&b, value);
	va_start(ap, fmt);
	invalid(c, field, &b, fmt, ap);
	va_end(ap);
}

void check_invalid_str(struct check *c, const char *field, const char *value, const char *fmt, ...)
{
	auto_strbuf b = {0};
	va_list ap;

	strbuf_adds(&b, "Invalid value: ");
	add_quoted(&b, value);
	va_start(ap, fmt);
	invalid(c, field, &b, fmt, ap);
	va_end(ap);
}

void check_invalid_int(struct check *c, const char *field, int64_t value, const char *fmt, ...)
{
	auto_strbuf b = {0};
	va_list ap;

	strbuf_addf(&b, "Invalid value: %lld", (long long)value);
	va_start(ap, fmt);
	invalid(c, field, &b, fmt, ap);
	va_end(ap);
}

void check_invalid_bare(struct check *c, const char *field, const char *fmt, ...)
{
	auto_strbuf b = {0};
	va_list ap;

	strbuf_adds(&b, "Invalid value");
	va_start(ap, fmt);
	invalid(c, field, &b, fmt, ap);
	va_end(ap);
}

void check_unsupported(struct check *c, const char *field, const char *value, const char *supported)
{
	json_auto_t *v = json_string_nocheck(value);

	check_unsupported_value(c, field, v, supported);
}

void check_unsupported_value(struct check *c, const char *field, const json_t *value,
			     const char *supported)
{
	auto_strbuf b = {0};

	strbuf_adds(&b, "Unsupported value: ");
	add_value(&b, value);
	strbuf_adds(&b, ": supported values: ");
	for (const char *p = supported;; p++) {
		size_t n = strcspn(p, ",");

		strbuf_addf(&b, "%s\"%.*s\"", p == supported ? "" : ", ", (int)n, p);
		p += n;
		if (!*p)
			break;
	}
	add(c, "FieldValueNotSupported", field, b.s);
}

void check_duplicate(struct check *c, const char *field, const json_t *value)
{
	auto_strbuf b = {0};

	strbuf_adds(&b, "Duplicate value: ");
	add_value(&b, value);
	add(c, "FieldValueDuplicate", field, b.s);
}

void check_duplicate_str(struct check *c, const char *field, const char *value)
{
	json_auto_t *v = json_string_nocheck(value);

	check_duplicate(c, field, v);
}

void check_forbidden(struct check *c, const char *field, const char *fmt, ...)
{
	auto_strbuf b = {0};
	va_list ap;

	strbuf_adds(&b, "Forbidden: ");
	va_start(ap, fmt);
	strbuf_vaddf(&b, fmt, ap);
	va_end(ap);
	add(c, "FieldValueForbidden", field, b.s);
}

void check_not_found(struct check *c, const char *field, const char *value)
{
	auto_strbuf b = {0};

	strbuf_adds(&b, "Not found: ");
	add_quoted(&b, value);
	add(c, "FieldValueNotFound", field, b.s);
}

void check_too_long(struct check *c, const char *field, size_t max)
{
	auto_strbuf b = {0};

	strbuf_addf(&b, "Too long: may not be more than %zu bytes", max);
	add(c, "FieldValueTooLong", field, b.s);
}

void check_too_many(struct check *c, const char *field, size_t n, size_t max)
{
	auto_strbuf b = {0};

	strbuf_addf(&b, "Too many: %zu: must have at most %zu items", n, max);
	add(c, "FieldValueTooMany", field, b.s);
}

void check_text(struct check *c, const char *field, const char *value,
		const char *(*valid)(const char *s))
{
	const char *bad = valid(value);

	if (bad)
		check_invalid_str(c, field, value, "%s", bad);
}

void check_required_text(struct check *c, const char *field, const char *value,
			 const char *(*valid)(const char *s))
{
	if (*value)
		check_text(c, field, value, valid);
	else
		check_required(c, field, "");
}

void check_one_of(struct check *c, const char *field, const char *value, const char *supported)
{
	if (!csv_has_exactly(supported, value))
		check_unsupported(c, field, value, supported);
}

void check_port_number(struct check *c, const char *field, int64_t port)
{
	if (port < 1 || port > 65535)
		check_invalid_int(c, field, port, "must be between 1 and 65535, inclusive");
}

void check_immutable(struct check *c, const char *field, const json_t *obj, const json_t *old)
{
	const json_t *v = json_object_get(obj, field), *was = json_object_get(old, field);

	if (v == was || json_same(v, was))
		return;
	check_invalid(c, field, v, "field is immutable");
}

/* ---- rules of the field table ----------------------------------------------------------- */

bool valid_ip(const char *text)
{
	unsigned char buf[16];

	return inet_pton(AF_INET, text, buf) == 1 || inet_pton(AF_INET6, text, buf) == 1;
}

bool csv_has_exactly(const char *list, const char *word)
{
	size_t len = strlen(word);

	for (;;) {
		size_t n = strcspn(list, ",");

		if (n == len && memcmp(list, word, len) == 0)
			return true;
		if (!list[n])
			return false;
		list += n + 1;
	}
}

static void rule_enum(struct check *c, const char *field, const json_t *v, const char *values)
{
	const char *text = json_string_value(v);

	if (text && !csv_has_exactly(values, text))
		check_unsupported(c, field, text, values);
}

static void rule_range(struct check *c, const char *field, const json_t *v, const char *range)
{
	long long value = v ? json_integer_value(v) : 0, lo = 0, hi = 0;

	if (v && !json_is_integer(v))
		return;
	if (sscanf(range, "%lld-%lld", &lo, &hi) == 2 && (value < lo || value > hi))
		check_invalid_int(c, field, value, "must be between %lld and %lld, inclusive", lo,
				  hi);
}

static void rule_min(struct check *c, const char *field, const json_t *v, const char *min)
{
	long long lo = atoll(min);

	if (json_is_integer(v) && json_integer_value(v) < lo)
		check_invalid_int(c, field, json_integer_value(v),
				  "must be greater than or equal to %lld", lo);
}

static void rule_max(struct check *c, const char *field, const json_t *v, const char *max)
{
	long long hi = atoll(max);

	if (json_is_integer(v) && json_integer_value(v) > hi)
		check_invalid_int(c, field, json_integer_value(v),
				  "must be less than or equal to %lld", hi);
}

/* Bounds for which upstream has words of its own; absent counts as 0. */
static void rule_mode(struct check *c, const char *field, const json_t *v, const char *arg UNUSED)
{
	if (json_is_integer(v) && (json_integer_value(v) < 0 || json_integer_value(v) > 0777))
		check_invalid(c, field, v,
			      "must be a number between 0 and 0777 (octal), both inclusive");
}

static void rule_positive(struct check *c, const char *field, const json_t *v,
			  const char *arg UNUSED)
{
	if (json_integer_value(v) <= 0)
		check_invalid_int(c, field, json_integer_value(v), "must be greater than zero");
}

static void rule_weight(struct check *c, const char *field, const json_t *v, const char *arg UNUSED)
{
	if (json_integer_value(v) < 1 || json_integer_value(v) > 100)
		check_invalid_int(c, field, json_integer_value(v), "must be in the range 1-100");
}

static void rule_topology_key(struct check *c, const char *field, const json_t *v,
			      const char *arg UNUSED)
{
	if (!v || json_string_length(v) == 0)
		check_required(c, field, "can not be empty");
	else
		check_text(c, field, json_string_value(v), valid_label_key);
}

/* A number or the name of a port; absent counts as 0. */
static void rule_port(struct check *c, const char *field, const json_t *v, const char *arg UNUSED)
{
	const char *bad;

	if (!json_is_string(v)) {
		rule_range(c, field, v, "1-65535");
		return;
	}
	bad = valid_port_name(json_string_value(v));
	if (bad)
		check_invalid(c, field, v, "%s", bad);
}

static void rule_labels(struct check *c, const char *field, const json_t *v, const char *arg UNUSED)
{
	check_labels(c, field, v);
}

static const char *valid_ip_text(const char *s)
{
	return valid_ip(s) ? NULL : "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)";
}

static const char *valid_selector_operator(const char *s)
{
	return csv_has_exactly("DoesNotExist,Exists,In,NotIn", s) ? NULL
								  : "not a valid selector operator";
}

static const struct {
	const char *name;
	const char *(*valid)(const char *s); /* of a string */
	void (*check)(struct check *c, const char *field, const json_t *v,
		      const char *arg); /* or */
} rules[] = {
	{"dns1123label", valid_dns1123_label, NULL},
	{"dns1123subdomain", valid_dns1123_subdomain, NULL},
	{"dns1035label", valid_dns1035_label, NULL},
	{"portname", valid_port_name, NULL},
	{"pathsegment", valid_path_segment, NULL},
	{"labelkey", valid_label_key, NULL},
	{"labelvalue", valid_label_value, NULL},
	{"selectoroperator", valid_selector_operator, NULL},
	{"ip", valid_ip_text, NULL},
	{"labels", NULL, rule_labels},
	{"port", NULL, rule_port},
	{"mode", NULL, rule_mode},
	{"positive", NULL, rule_positive},
	{"weight", NULL, rule_weight},
	{"topologykey", NULL, rule_topology_key},
	{"enum", NULL, rule_enum},
	{"range", NULL, rule_range},
	{"min", NULL, rule_min},
	{"max", NULL, rule_max},
};

static void check_rule(struct check *c, const struct field *f, const json_t *v)
{
	size_t len = strcspn(f->rule, ":");
	const char *arg = f->rule[len] ? f->rule + len + 1 : "";

	for (size_t i = 0; i < ARRAY_SIZE(rules); i++) {
		const char *bad;

		if (strlen(rules[i].name) != len || strncmp(rules[i].name, f->rule, len) != 0)
			continue;
		if (rules[i].check) {
			rules[i].check(c, f->name, v, arg);
			return;
		}
		bad = json_is_string(v) ? rules[i].valid(json_string_value(v)) : NULL;
		if (bad)
			check_invalid(c, f->name, v, "%s", bad);
		return;
	}
}

static bool is_empty(const json_t *v)
{
	return !v || json_is_null(v) || (json_is_string(v) && json_string_length(v) == 0) ||
	       (json_is_array(v) && json_array_size(v) == 0) ||
	       (json_is_integer(v) && json_integer_value(v) == 0);
}

static void check_members(struct check *c, const struct field *f, const json_t *v,
			  const json_t *old)
{
	size_t i, mark;
	const char *key;
	json_t *item;

	if (json_is_array(v)) {
		json_array_foreach(v, i, item)
		{
			mark = check_item(c, f->name, i);
			check_message(c, f->message, item, NULL);
			check_leave(c, mark);
		}
	} else if (f->list == LIST_STRING_MAP) {
		json_object_foreach((json_t *)v, key, item)
		{
			mark = check_enter(c, f->name);
			strbuf_addf(&c->path, "[%s]", key);
			check_message(c, f->message, item, NULL);
			check_leave(c, mark);
		}
	} else {
		mark = check_enter(c, f->name);
		check_message(c, f->message, v, old);
		check_leave(c, mark);
	}
}

void check_message(struct check *c, const struct message *m, const json_t *v, const json_t *old)
{
	for (size_t i = 0; i < m->n_fields; i++) {
		const struct field *f = &m->fields[i];
		const json_t *member = json_object_get(v, f->name);

		breathe();
		if (!*f->name) {
			check_message(c, f->message, v, old);
			continue;
		}
		if (old && (f->flags & FIELD_IMMUTABLE))
			check_immutable(c, f->name, v, old);
		if ((f->flags & FIELD_REQUIRED) && is_empty(member)) {
			check_required(c, f->name, "");
			continue;
		}
		/* a number that Go always writes is 0 when it is absent */
		if (f->rule && (member || ((f->flags & FIELD_ALWAYS) && f->list == LIST_NONE)))
			check_rule(c, f, member);
		if (member && f->type == FIELD_OBJECT)
			check_members(c, f, member, old ? json_object_get(old, f->name) : NULL);
	}
}
