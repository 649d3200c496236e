/* SPDX-License-Identifier: Apache-2.0 */
/*
 * JSONPath as definitions use it: names (".spec.replicas", "['a.b']", ".a\.b"), indexes ("[0]",
 * "[-1]"), "[*]", ".*" and filters ("[?(@.type=="Ready")].status"). The first value found is the
 * answer (client-go util/jsonpath, of which upstream takes the first result, too).
 */
#include "custom.h"

#define PATH_MAX_LEN 2048
#define STEPS_MAX 64

enum step_type { STEP_NAME, STEP_INDEX, STEP_ALL, STEP_FILTER };
struct step {
	enum step_type type;
	char name[256];	   /* NAME; FILTER: the path behind the "@" */
	long index;	   /* INDEX */
	char op[3];	   /* FILTER: "==" ..., "" for existence */
	char operand[256]; /* FILTER: text of the right side */
	bool text;	   /* FILTER: it was quoted */
};

/* ---- parsing ---------------------------------------------------------------------------- */

static bool add(char *buf, size_t *n, char c)
{
	if (*n >= 255)
		return false;
	buf[(*n)++] = c;
	buf[*n] = '\0';
	return true;
}

/* A name behind a dot; a backslash escapes the next character. */
static const char *parse_name(const char *s, struct step *step)
{
	size_t n = 0;

	step->type = STEP_NAME;
	step->name[0] = '\0';
	if (s[0] == '*') {
		step->type = STEP_ALL;
		return s + 1;
	}
	while (*s && *s != '.' && *s != '[') {
		if (*s == '\\' && s[1])
			s++;
		if (!add(step->name, &n, *s++))
			return NULL;
	}
	return n ? s : NULL;
}

/* A quoted text; s is at the quote. */
static const char *parse_quoted(const char *s, char *buf)
{
	char quote = *s++;
	size_t n = 0;

	buf[0] = '\0';
	while (*s && *s != quote) {
		if (*s == '\\' && s[1])
			s++;
		if (!add(buf, &n, *s++))
			return NULL;
	}
	return *s ? s + 1 : NULL;
}

static const char *skip_blanks(const char *s)
{
	return s + strspn(s, " ");
}

/* "?(@.a=="b")]" */
static const char *parse_filter(const char *s, struct step *step)
{
	size_t n = 0;

	step->type = STEP_FILTER;
	step->op[0] = step->operand[0] = step->name[0] = '\0';
	s = skip_blanks(s + 2);
	if (*s++ != '@')
		return NULL;
	while (*s && !strchr("=!<>) ", *s))
		if (!add(step->name, &n, *s++))
			return NULL;
	s = skip_blanks(s);
	if (*s && strchr("=!<>", *s)) {
		step->op[0] = *s++;
		step->op[1] = *s == '=' ? *s++ : '\0';
		step->op[2] = '\0';
		s = skip_blanks(s);
		n = 0;
		step->text = *s == '"' || *s == '\'';
		if (step->text) {
			s = parse_quoted(s, step->operand);
		} else {
			while (*s && *s != ')' && *s != ' ')
				if (!add(step->operand, &n, *s++))
					return NULL;
		}
		s = s ? skip_blanks(s) : NULL;
	}
	return s && s[0] == ')' && s[1] == ']' ? s + 2 : NULL;
}

static const char *parse_bracket(const char *s, struct step *step)
{
	char *end;

	s++;
	if (*s == '?' && s[1] == '(')
		return parse_filter(s, step);
	if (*s == '\'' || *s == '"') {
		step->type = STEP_NAME;
		s = parse_quoted(s, step->name);
	} else if (*s == '*') {
		step->type = STEP_ALL;
		s++;
	} else {
		step->type = STEP_INDEX;
		step->index = strtol(s, &end, 10);
		if (end == s)
			return NULL;
		s = end;
	}
	return s && *s == ']' ? s + 1 : NULL;
}

/* The next step, or NULL at what cannot be read. */
static const char *parse_step(const char *s, struct step *step)
{
	*step = (struct step){0};
	if (*s == '[')
		return parse_bracket(s, step);
	if (*s != '.')
		return NULL;
	if (s[1] == '[')
		return parse_bracket(s + 1, step);
	return parse_name(s + 1, step);
}

const char *path_error(const char *path)
{
	const char *s = path;
	struct step step;

	if (*path != '.' && *path != '[')
		return "must be a simple json path starting with .";
	if (strlen(path) > PATH_MAX_LEN)
		return "is too long";
	if (streq(path, "."))
		return NULL;
	for (int n = 0; *s; n++) {
		s = parse_step(s, &step);
		if (!s || n >= STEPS_MAX)
			return "is an invalid json path";
	}
	return NULL;
}

/* ---- finding ---------------------------------------------------------------------------- */

static const json_t *find(const json_t *v, const char *s, int depth);

static int compare(const json_t *v, const struct step *step, bool *comparable)
{
	const char *text = json_string_value(v);
	double d;

	*comparable = true;
	if (text && step->text)
		return strcmp(text, step->operand);
	if (json_is_boolean(v))
		return strcmp(json_is_true(v) ? "true" : "false", step->operand);
	if (json_is_number(v) && !step->text) {
		d = json_number_value(v) - strtod(step->operand, NULL);
		return d < 0 ? -1 : d > 0;
	}
	*comparable = false;
	return 1;
}

static bool passes(const json_t *item, const struct step *step, int depth)
{
	const json_t *v = *step->name ? find(item, step->name, depth) : item;
	bool comparable;
	int cmp;

	if (!v)
		return false;
	if (!*step->op)
		return true;
	cmp = compare(v, step, &comparable);
	if (!comparable)
		return streq(step->op, "!=");
	if (step->op[0] == '=')
		return cmp == 0;
	if (step->op[0] == '!')
		return cmp != 0;
	if (step->op[0] == '<')
		return cmp < 0 || (cmp == 0 && step->op[1]);
	return cmp > 0 || (cmp == 0 && step->op[1]);
}

/* The first of the members (or items) for which the rest of the path finds something. */
static const json_t *find_among(const json_t *v, const struct step *step, const char *rest,
				int depth)
{
	const json_t *found = NULL;
	const char *key;
	json_t *member;
	size_t i;

	if (json_is_array(v)) {
		json_array_foreach(v, i, member)
		{
			if (step->type == STEP_FILTER && !passes(member, step, depth + 1))
				continue;
			found = find(member, rest, depth + 1);
			if (found)
				return found;
		}
		return NULL;
	}
	json_object_foreach((json_t *)(uintptr_t)v, key, member)
	{
		if (step->type == STEP_FILTER && !passes(member, step, depth + 1))
			continue;
		found = find(member, rest, depth + 1);
		if (found)
			return found;
	}
	return NULL;
}

static const json_t *find(const json_t *v, const char *s, int depth)
{
	struct step step;

	if (streq(s, "."))
		return v;
	while (v && *s && depth < STEPS_MAX) {
		s = parse_step(s, &step);
		if (!s)
			return NULL;
		switch (step.type) {
		case STEP_NAME:
			v = json_object_get(v, step.name);
			break;
		case STEP_INDEX:
			if (step.index < 0)
				step.index += (long)json_array_size(v);
			v = step.index < 0 ? NULL : json_array_get(v, (size_t)step.index);
			break;
		case STEP_ALL:
		case STEP_FILTER:
			return find_among(v, &step, s, depth);
		}
	}
	return *s ? NULL : v;
}

const json_t *path_first(const json_t *v, const char *path)
{
	return find(v, path, 0);
}

/* ---- simple paths ----------------------------------------------------------------------- */

json_t *json_path_get(const json_t *v, const char *path)
{
	return (json_t *)(uintptr_t)find(v, path, 0);
}

void json_path_set(json_t *v, const char *path, json_t *value)
{
	struct step step;

	for (;;) {
		path = parse_step(path, &step);
		if (!path || step.type != STEP_NAME || !json_is_object(v)) {
			json_decref(value);
			return;
		}
		if (!*path)
			break;
		json_t *next = json_object_get(v, step.name);
		if (!next || json_is_null(next)) {
			next = json_object();
			json_object_set_new(v, step.name, next);
		}
		v = next;
	}
	json_object_set_new(v, step.name, value);
}
