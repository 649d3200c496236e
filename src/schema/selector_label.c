/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Label selectors: the query-string grammar, metav1.LabelSelector and plain maps, all as one sorted
 * conjunction of requirements. Error texts are those of Kubernetes' parser.
 */
#include "internal.h"

#define TEXT_MAX ((size_t)64 << 10)
#define REQUIREMENTS_MAX 1024

enum operator{
	OP_IN,
	OP_NOT_IN,
	OP_EQUALS,
	OP_DOUBLE_EQUALS,
	OP_NOT_EQUALS,
	OP_EXISTS,
	OP_NOT_EXISTS,
	OP_GREATER,
	OP_LESS
};

struct requirement {
	char *key;
	enum operator op;
	struct strv values; /* sorted, without duplicates */
	int64_t bound;	    /* OP_GREATER, OP_LESS */
};

struct label_selector {
	bool nothing;
	size_t n;
	struct requirement *reqs;
};

/* ---- building ------------------------------------------------------------------------------- */

static int strp_cmp(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static int requirement_cmp(const void *a, const void *b)
{
	return strcmp(((const struct requirement *)a)->key, ((const struct requirement *)b)->key);
}

static void sort_requirements(struct label_selector *s)
{
	/* Stable enough: equal keys keep an order that does not change what is selected. */
	if (s->n)
		qsort(s->reqs, s->n, sizeof(s->reqs[0]), requirement_cmp);
}

/* Values are moved out of *values. */
static void add_requirement(struct label_selector *s, const char *key, enum operator op,
			    struct strv *values)
{
	struct requirement *r;

	s->reqs = xrealloc(s->reqs, s->n + 1, sizeof(*s->reqs));
	r = &s->reqs[s->n++];
	*r = (struct requirement){.key = xstrdup(key), .op = op, .values = *values};
	*values = (struct strv){0};
	if (r->values.n > 1)
		qsort(r->values.v, r->values.n, sizeof(char *), strp_cmp);
	if (op == OP_GREATER || op == OP_LESS)
		if (str_to_i64(r->values.v[0], INT64_MIN, INT64_MAX, &r->bound) < 0)
			s->nothing = true;
}

static int check_values(const char *key, enum operator op, const struct strv *values,
			struct err *err)
{
	const char *why;
	int64_t i;

	for (size_t n = 0; n < values->n; n++) {
		const char *v = values->v[n];

		if ((op == OP_GREATER || op == OP_LESS) &&
		    str_to_i64(v, INT64_MIN, INT64_MAX, &i) < 0)
			return err_set(err, ERR_BAD_REQUEST,
				       "values[%zu]: Invalid value: \"%s\": for 'Gt', 'Lt' "
				       "operators, the value must be an integer",
				       n, v);
		why = valid_label_value(v);
		if (why)
			return err_set(err, ERR_BAD_REQUEST,
				       "values[%zu][%s]: Invalid value: \"%s\": %s", n, key, v,
				       why);
	}
	return 0;
}

void label_selector_free(struct label_selector *s)
{
	if (!s)
		return;
	for (size_t i = 0; i < s->n; i++) {
		free(s->reqs[i].key);
		strv_done(&s->reqs[i].values);
	}
	free(s->reqs);
	free(s);
}

/* ---- the text form -------------------------------------------------------------------------- */

enum token {
	TOKEN_ERROR,
	TOKEN_END,
	TOKEN_CLOSE,
	TOKEN_COMMA,
	TOKEN_NOT,
	TOKEN_DOUBLE_EQUALS,
	TOKEN_EQUALS,
	TOKEN_GREATER,
	TOKEN_ID,
	TOKEN_IN,
	TOKEN_LESS,
	TOKEN_NOT_EQUALS,
	TOKEN_NOT_IN,
	TOKEN_OPEN
};

/* Longest first. */
static const struct {
	const char *text;
	enum token token;
} symbols[] = {
	{"==", TOKEN_DOUBLE_EQUALS}, {"!=", TOKEN_NOT_EQUALS},
	{"=", TOKEN_EQUALS},	     {"!", TOKEN_NOT},
	{"(", TOKEN_OPEN},	     {")", TOKEN_CLOSE},
	{",", TOKEN_COMMA},	     {">", TOKEN_GREATER},
	{"<", TOKEN_LESS},
};

struct lexer {
	const char *at;
	enum token token; /* the current one */
	char *text;	  /* its literal, owned */
	struct err *err;
};

/* Moves to the next token. */
static void next(struct lexer *l)
{
	size_t len;

	l->at += strspn(l->at, " \t\r\n");
	free(l->text);
	l->text = NULL;
	if (!*l->at) {
		l->token = TOKEN_END;
		l->text = xstrdup("");
		return;
	}
	for (size_t i = 0; i < ARRAY_SIZE(symbols); i++) {
		if (!str_starts(l->at, symbols[i].text))
			continue;
		l->token = symbols[i].token;
		l->text = xstrdup(symbols[i].text);
		l->at += strlen(symbols[i].text);
		return;
	}
	len = strcspn(l->at, "=!(),>< \t\r\n");
	l->text = xstrndup(l->at, len);
	l->at += len;
	l->token = streq(l->text, "in")	     ? TOKEN_IN
		   : streq(l->text, "notin") ? TOKEN_NOT_IN
					     : TOKEN_ID;
}

/* "in" and "notin" are ordinary words where a key or value stands. */
static bool is_word(const struct lexer *l)
{
	return l->token == TOKEN_ID || l->token == TOKEN_IN || l->token == TOKEN_NOT_IN;
}

static int expected(struct lexer *l, const char *what)
{
	return err_set(l->err, ERR_BAD_REQUEST, "found '%s', expected: %s", l->text, what);
}

static int parse_operator(struct lexer *l, enum operator* op)
{
	static const struct {
		enum token token;
		enum operator op;
	} table[] = {
		{TOKEN_IN, OP_IN},
		{TOKEN_NOT_IN, OP_NOT_IN},
		{TOKEN_EQUALS, OP_EQUALS},
		{TOKEN_DOUBLE_EQUALS, OP_DOUBLE_EQUALS},
		{TOKEN_NOT_EQUALS, OP_NOT_EQUALS},
		{TOKEN_GREATER, OP_GREATER},
		{TOKEN_LESS, OP_LESS},
	};

	for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
		if (table[i].token != l->token)
			continue;
		*op = table[i].op;
		next(l);
		return 0;
	}
	return expected(l, "in, notin, =, ==, !=, gt, lt");
}

static void add_value(struct strv *values, const char *v)
{
	if (!strv_has(values, v))
		strv_add(values, v);
}

/* "(a,b,)": empty places are empty values. */
static int parse_values(struct lexer *l, struct strv *values)
{
	bool want_value = true;

	if (l->token != TOKEN_OPEN)
		return err_set(l->err, ERR_BAD_REQUEST, "found '%s' expected: '('", l->text);
	next(l);
	if (!is_word(l) && l->token != TOKEN_COMMA && l->token != TOKEN_CLOSE)
		return expected(l, "',', ')' or identifier");
	for (;; next(l)) {
		if (is_word(l) && want_value) {
			add_value(values, l->text);
			want_value = false;
		} else if (l->token == TOKEN_COMMA || l->token == TOKEN_CLOSE) {
			if (want_value)
				add_value(values, "");
			if (l->token == TOKEN_CLOSE)
				break;
			want_value = true;
		} else {
			return expected(l, want_value ? "',', or identifier" : "',' or ')'");
		}
	}
	next(l);
	return 0;
}

static int parse_exact(struct lexer *l, struct strv *values)
{
	if (l->token == TOKEN_END || l->token == TOKEN_COMMA) {
		strv_add(values, "");
		return 0;
	}
	if (!is_word(l))
		return expected(l, "identifier");
	strv_add(values, l->text);
	next(l);
	return 0;
}

static int parse_requirement(struct lexer *l, struct label_selector *s)
{
	bool negated = l->token == TOKEN_NOT;
	enum operator op = negated ? OP_NOT_EXISTS : OP_EXISTS;
	auto_strv values = {0};
	auto_free char *key = NULL;
	const char *why;
	int r;

	if (negated)
		next(l);
	if (!is_word(l))
		return expected(l, "identifier");
	why = valid_label_key(l->text);
	if (why)
		return err_set(l->err, ERR_BAD_REQUEST, "<nil>: Invalid value: \"%s\": %s", l->text,
			       why);
	key = xstrdup(l->text);
	next(l);
	if (!negated && l->token != TOKEN_END && l->token != TOKEN_COMMA) {
		r = parse_operator(l, &op);
		if (r < 0)
			return r;
		r = op == OP_IN || op == OP_NOT_IN ? parse_values(l, &values)
						   : parse_exact(l, &values);
		if (r < 0)
			return r;
		r = check_values(key, op, &values, l->err);
		if (r < 0)
			return r;
	}
	add_requirement(s, key, op, &values);
	return 0;
}

static int parse_all(struct lexer *l, struct label_selector *s)
{
	while (l->token != TOKEN_END) {
		int r;

		if (!is_word(l) && l->token != TOKEN_NOT)
			return expected(l, "!, identifier, or 'end of string'");
		if (s->n >= REQUIREMENTS_MAX)
			return err_set(l->err, ERR_BAD_REQUEST, "too many requirements");
		r = parse_requirement(l, s);
		if (r < 0)
			return err_wrap(l->err, r, "unable to parse requirement");
		if (l->token == TOKEN_END)
			break;
		if (l->token != TOKEN_COMMA)
			return expected(l, "',' or 'end of string'");
		next(l);
		if (!is_word(l) && l->token != TOKEN_NOT)
			return expected(l, "identifier after ','");
	}
	return 0;
}

struct label_selector *label_selector_parse(const char *text, struct err *err)
{
	struct lexer l = {.at = text ? text : "", .err = err};
	struct label_selector *s;
	int r;

	if (strlen(l.at) > TEXT_MAX) {
		err_set(err, ERR_BAD_REQUEST, "the label selector is too long");
		return NULL;
	}
	s = xnew(struct label_selector);
	next(&l);
	r = parse_all(&l, s);
	free(l.text);
	if (r < 0) {
		label_selector_free(s);
		return NULL;
	}
	sort_requirements(s);
	return s;
}

/* ---- metav1.LabelSelector and maps ---------------------------------------------------------- */

static int add_expression(struct label_selector *s, const json_t *e, struct err *err)
{
	static const struct {
		const char *name;
		enum operator op;
	} table[] = {{"In", OP_IN},
		     {"NotIn", OP_NOT_IN},
		     {"Exists", OP_EXISTS},
		     {"DoesNotExist", OP_NOT_EXISTS}};
	const char *key = json_str(e, "key", ""), *name = json_str(e, "operator", "");
	json_t *list = json_object_get(e, "values"), *v;
	auto_strv values = {0};
	size_t i;

	json_array_foreach(list, i, v)
	{
		if (json_is_string(v))
			add_value(&values, json_string_value(v));
	}
	for (i = 0; i < ARRAY_SIZE(table) && !streq(table[i].name, name); i++)
		;
	if (i == ARRAY_SIZE(table))
		return err_set(err, ERR_BAD_REQUEST,
			       "\"%s\" is not a valid label selector operator", name);
	if (valid_label_key(key))
		return err_set(err, ERR_BAD_REQUEST, "key: Invalid value: \"%s\": %s", key,
			       valid_label_key(key));
	if (i < 2 && !values.n)
		return err_set(err, ERR_BAD_REQUEST,
			       "values: Invalid value: []: for 'in', 'notin' "
			       "operators, values set can't be empty");
	if (i >= 2 && values.n)
		return err_set(err, ERR_BAD_REQUEST,
			       "values: Invalid value: values set must be "
			       "empty for exists and does not exist");
	if (check_values(key, table[i].op, &values, err) < 0)
		return -EINVAL;
	add_requirement(s, key, table[i].op, &values);
	return 0;
}

static void add_map(struct label_selector *s, const json_t *map)
{
	const char *key;
	json_t *v;

	json_object_foreach((json_t *)map, key, v)
	{
		auto_strv values = {0};

		strv_add(&values, json_is_string(v) ? json_string_value(v) : "");
		add_requirement(s, key, OP_EQUALS, &values);
	}
}

struct label_selector *label_selector_from_json(const json_t *sel, struct err *err)
{
	struct label_selector *s = xnew(struct label_selector);
	json_t *e, *list = json_object_get(sel, "matchExpressions");
	size_t i;

	s->nothing = !json_is_object(sel);
	add_map(s, json_object_get(sel, "matchLabels"));
	json_array_foreach(list, i, e)
	{
		if (add_expression(s, e, err) < 0) {
			label_selector_free(s);
			return NULL;
		}
	}
	sort_requirements(s);
	return s;
}

struct label_selector *label_selector_from_map(const json_t *map)
{
	struct label_selector *s = xnew(struct label_selector);

	s->nothing = json_object_size(map) == 0;
	add_map(s, map);
	sort_requirements(s);
	return s;
}

/* ---- matching and formatting ---------------------------------------------------------------- */

static bool requirement_matches(const struct requirement *r, const json_t *labels)
{
	const char *have = json_string_value(json_object_get(labels, r->key));
	int64_t i;

	switch (r->op) {
	case OP_IN:
	case OP_EQUALS:
	case OP_DOUBLE_EQUALS:
		return have && strv_has(&r->values, have);
	case OP_NOT_IN:
	case OP_NOT_EQUALS:
		return !have || !strv_has(&r->values, have);
	case OP_EXISTS:
		return have;
	case OP_NOT_EXISTS:
		return !have;
	case OP_GREATER:
	case OP_LESS:
		if (!have || str_to_i64(have, INT64_MIN, INT64_MAX, &i) < 0)
			return false;
		return r->op == OP_GREATER ? i > r->bound : i < r->bound;
	}
	return false;
}

bool label_selector_matches(const struct label_selector *s, const json_t *labels)
{
	if (!s)
		return true;
	if (s->nothing)
		return false;
	for (size_t i = 0; i < s->n; i++) {
		if (!requirement_matches(&s->reqs[i], labels))
			return false;
	}
	return true;
}

static void format_requirement(struct strbuf *b, const struct requirement *r)
{
	static const char *const text[] = {
		[OP_IN] = " in (",	   [OP_NOT_IN] = " notin (", [OP_EQUALS] = "=",
		[OP_DOUBLE_EQUALS] = "==", [OP_NOT_EQUALS] = "!=",   [OP_EXISTS] = "",
		[OP_NOT_EXISTS] = "",	   [OP_GREATER] = ">",	     [OP_LESS] = "<",
	};

	strbuf_addf(b, "%s%s%s", r->op == OP_NOT_EXISTS ? "!" : "", r->key, text[r->op]);
	for (size_t i = 0; i < r->values.n; i++)
		strbuf_addf(b, "%s%s", i ? "," : "", r->values.v[i]);
	if (r->op == OP_IN || r->op == OP_NOT_IN)
		strbuf_addc(b, ')');
}

char *label_selector_format(const struct label_selector *s)
{
	auto_strbuf b = {0};

	for (size_t i = 0; s && i < s->n; i++) {
		if (i)
			strbuf_addc(&b, ',');
		format_requirement(&b, &s->reqs[i]);
	}
	return strbuf_steal(&b);
}
