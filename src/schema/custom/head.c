/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The small part of a definition's text. Schemas and the owners of their fields make up nearly all
 * of it, and take seven times their length when they are parsed: whoever needs neither reads the
 * head alone, and whoever needs one schema gets that.
 */
#include "custom.h"

struct scan {
	const char *at, *end;
	struct strbuf *out;
	int depth;
	size_t wanted; /* number of the schema that is asked for */
	size_t seen;
	const char *slice;
	size_t slice_len;
};

/* Moves behind the string that begins at s. */
static const char *skip_string(const char *s, const char *end)
{
	for (s++; s < end && *s != '"'; s++)
		if (*s == '\\')
			s++;
	return s < end ? s + 1 : end;
}

/* Moves behind the value that begins at s. */
static const char *skip_value(const char *s, const char *end)
{
	int depth = 0;

	while (s < end) {
		if (*s == '"') {
			s = skip_string(s, end);
			if (depth == 0)
				return s;
			continue;
		}
		if (depth == 0 && (*s == ',' || *s == '}' || *s == ']'))
			return s;
		depth += *s == '{' || *s == '[';
		depth -= *s == '}' || *s == ']';
		s++;
		if (depth == 0 && (s[-1] == '}' || s[-1] == ']'))
			return s;
	}
	return s;
}

/* A key whose value is left out: its replacement, or NULL. */
static const char *left_out(const struct scan *s, const char *key, size_t len)
{
	static const struct {
		const char *key, *instead;
		int depth;
	} table[] = {
		/* {spec: {versions: [{schema: {openAPIV3Schema: */
		{"\"openAPIV3Schema\"", "{}", 5},
		{"\"managedFields\"", "[]", 2},
	};

	for (size_t i = 0; i < ARRAY_SIZE(table); i++)
		if (s->depth == table[i].depth && strlen(table[i].key) == len &&
		    memcmp(table[i].key, key, len) == 0)
			return table[i].instead;
	return NULL;
}

static void scan_string(struct scan *s)
{
	const char *key = s->at, *instead, *value;
	size_t len;

	s->at = skip_string(s->at, s->end);
	len = (size_t)(s->at - key);
	strbuf_add(s->out, key, len);
	if (s->at >= s->end || *s->at != ':' || !(instead = left_out(s, key, len)))
		return;
	value = s->at + 1;
	s->at = skip_value(value, s->end);
	strbuf_addf(s->out, ":%s", instead);
	if (*instead == '{' && s->seen++ == s->wanted) {
		s->slice = value;
		s->slice_len = (size_t)(s->at - value);
	}
}

static void scan(struct scan *s)
{
	while (s->at < s->end) {
		char c = *s->at;

		if (c == '"') {
			scan_string(s);
			continue;
		}
		s->depth += c == '{' || c == '[';
		s->depth -= c == '}' || c == ']';
		strbuf_addc(s->out, c);
		s->at++;
	}
}

json_t *custom_head(const char *text, size_t len)
{
	auto_strbuf out = {0};
	struct scan s = {.at = text, .end = text + len, .out = &out, .wanted = SIZE_MAX};

	scan(&s);
	return json_parse(out.s ? out.s : "", out.len, NULL);
}

/* Which of the schemas in the text is the version's? -1: none. */
static int schema_number(const json_t *head, const char *version)
{
	int n = 0;
	json_t *v;
	size_t i;

	json_array_foreach(json_at(head, "spec.versions"), i, v)
	{
		bool has = json_at(v, "schema.openAPIV3Schema") != NULL;

		if (streq(json_str(v, "name", ""), version))
			return has ? n : -1;
		n += has;
	}
	return -1;
}

bool head_schema_text(const char *text, size_t len, const char *version, const char **ret,
		      size_t *ret_len)
{
	json_auto_t *head = custom_head(text, len);
	int number = schema_number(head, version);
	auto_strbuf out = {0};
	struct scan s = {.at = text, .end = text + len, .out = &out};

	if (number < 0)
		return false;
	s.wanted = (size_t)number;
	scan(&s);
	*ret = s.slice;
	*ret_len = s.slice_len;
	return s.slice != NULL;
}

bool text_next_member(const char **at, const char *end, struct text_member *ret)
{
	const char *s = *at;

	if (s < end && (*s == '{' || *s == ','))
		s++;
	if (s >= end || *s != '"')
		return false;
	ret->key = s;
	s = skip_string(s, end);
	ret->key_len = (size_t)(s - ret->key);
	if (s >= end || *s != ':')
		return false;
	ret->value = ++s;
	s = skip_value(s, end);
	ret->value_len = (size_t)(s - ret->value);
	*at = s;
	return true;
}
