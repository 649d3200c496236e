/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tokens to a tree, by recursive descent. Macros become fold nodes here; chains of && and || are
 * one node with many arguments. The depth of a tree is bounded, because whoever walks it later
 * recurses.
 */
#include "internal.h"

#define ARGS_MAX 4096
#define PRIMARY                                                                                    \
	"{'[', '{', '(', '.', '-', '!', 'true', 'false', 'null', NUM_FLOAT, NUM_INT, NUM_UINT, "   \
	"STRING, BYTES, IDENTIFIER}"

struct parser {
	struct arena *a;
	struct lexer lex;
	struct token tok;
	struct report *report;
	int depth;
	bool failed;
};

/* ---- words ------------------------------------------------------------------------------ */

static void place_of(const char *text, uint32_t pos, size_t *line, size_t *column,
		     const char **start)
{
	*line = 1;
	*start = text;
	for (uint32_t i = 0; i < pos; i++) {
		if (text[i] == '\n') {
			++*line;
			*start = text + i + 1;
		}
	}
	*column = utf8_count(*start, (size_t)(text + pos - *start));
}

void report_at(struct report *r, uint32_t pos, const char *fmt, ...)
{
	size_t line, column, n;
	const char *start;
	va_list ap;

	if (r->n++ >= REPORT_MAX)
		return;
	place_of(r->text, pos, &line, &column, &start);
	strbuf_addf(&r->out, "%sERROR: <input>:%zu:%zu: ", r->out.len ? "\n" : "", line,
		    column + 1);
	va_start(ap, fmt);
	strbuf_vaddf(&r->out, fmt, ap);
	va_end(ap);
	n = strcspn(start, "\n");
	/* a rule of many pages is not repeated for each of its errors */
	if (n > 1000)
		return;
	strbuf_adds(&r->out, "\n | ");
	for (size_t i = 0; i < n; i++)
		strbuf_addc(&r->out, start[i] == '\t' ? ' ' : start[i]);
	strbuf_adds(&r->out, "\n | ");
	for (size_t i = 0; i < column; i++)
		strbuf_addc(&r->out, '.');
	strbuf_addc(&r->out, '^');
}

static uint32_t here(const struct parser *p)
{
	return (uint32_t)(p->tok.s - p->lex.text);
}

static struct expr *fail(struct parser *p, uint32_t pos, const char *what, const char *s, size_t n)
{
	if (!p->failed)
		report_at(p->report, pos, "%s%.*s", what, (int)n, s);
	p->failed = true;
	return NULL;
}

static struct expr *unexpected(struct parser *p, const char *want)
{
	auto_free char *text = NULL;

	if (p->failed)
		return NULL;
	if (p->tok.kind == TOK_BAD)
		text = xasprintf("Syntax error: %s'%.*s'", p->lex.problem, (int)p->tok.n, p->tok.s);
	else if (p->tok.kind == TOK_END)
		text = xasprintf("Syntax error: mismatched input '<EOF>' expecting %s", want);
	else
		text = xasprintf("Syntax error: mismatched input '%.*s' expecting %s",
				 (int)p->tok.n, p->tok.s, want);
	return fail(p, here(p), text, "", 0);
}

static void advance(struct parser *p)
{
	p->tok = lex_next(&p->lex);
}

static bool is(const struct parser *p, char c)
{
	return p->tok.kind == TOK_PUNCT && p->tok.c == c;
}

static bool take(struct parser *p, char c)
{
	if (!is(p, c))
		return false;
	advance(p);
	return true;
}

static bool want(struct parser *p, char c)
{
	char text[4] = {'\'', c, '\'', '\0'};

	if (take(p, c))
		return true;
	unexpected(p, text);
	return false;
}

/* ---- nodes ------------------------------------------------------------------------------ */

static struct expr *node(struct parser *p, enum expr_kind kind, uint32_t pos)
{
	struct expr *e = arena_take(p->a, sizeof(*e));

	e->kind = (uint8_t)kind;
	e->pos = pos;
	return e;
}

static struct expr *call(struct parser *p, const char *name, uint32_t pos, struct expr **args,
			 size_t n)
{
	struct expr *e = node(p, E_CALL, pos);

	for (size_t i = 0; i < n; i++)
		if (!args[i])
			return NULL;
	e->name = name;
	e->n = (uint32_t)n;
	e->args = arena_take(p->a, (n ? n : 1) * sizeof(*args));
	memcpy(e->args, args, n * sizeof(*args));
	return e;
}

static struct expr *call1(struct parser *p, const char *name, uint32_t pos, struct expr *a)
{
	return call(p, name, pos, &a, 1);
}

static struct expr *call2(struct parser *p, const char *name, uint32_t pos, struct expr *a,
			  struct expr *b)
{
	return call(p, name, pos, (struct expr *[]){a, b}, 2);
}

static struct expr *constant(struct parser *p, struct cel_value v)
{
	struct expr *e = node(p, E_CONST, here(p));
	struct cel_value *copy = arena_take(p->a, sizeof(*copy));

	*copy = v;
	e->value = copy;
	advance(p);
	return e;
}

/* Arguments as they come, then copied into the tree. */
struct args {
	struct expr **v;
	bool *marked;
	size_t n;
};

static bool args_add(struct parser *p, struct args *l, struct expr *e, bool marked)
{
	if (!e)
		return false;
	if (l->n >= ARGS_MAX) {
		fail(p, e->pos, "too many elements", "", 0);
		return false;
	}
	if ((l->n & (l->n + 1)) == 0) {
		l->v = xrealloc(l->v, 2 * (l->n + 1), sizeof(struct expr *));
		l->marked = xrealloc(l->marked, 2 * (l->n + 1), sizeof(bool));
	}
	l->v[l->n] = e;
	l->marked[l->n++] = marked;
	return true;
}

static struct expr *args_finish(struct parser *p, struct args *l, struct expr *e)
{
	bool any = false;

	for (size_t i = 0; i < l->n; i++)
		any |= l->marked[i];
	if (e && l->n) {
		e->n = (uint32_t)l->n;
		e->args = arena_take(p->a, l->n * sizeof(*l->v));
		memcpy(e->args, l->v, l->n * sizeof(*l->v));
	}
	if (e && any) {
		bool *marked = arena_take(p->a, l->n * sizeof(bool));

		memcpy(marked, l->marked, l->n * sizeof(bool));
		e->marked = marked;
	}
	free(l->v);
	free(l->marked);
	return e;
}

static struct expr *parse_expr(struct parser *p);

/* ---- macros ----------------------------------------------------------------------------- */

static const struct macro {
	const char *name;
	uint8_t fold, args, vars;
} macros[] = {
	{"all", FOLD_ALL, 2, 1},
	{"exists", FOLD_EXISTS, 2, 1},
	{"exists_one", FOLD_EXISTS_ONE, 2, 1},
	{"existsOne", FOLD_EXISTS_ONE, 2, 1},
	{"map", FOLD_MAP, 2, 1},
	{"map", FOLD_MAP, 3, 1},
	{"filter", FOLD_FILTER, 2, 1},
	{"optMap", FOLD_OPT_MAP, 2, 1},
	{"optFlatMap", FOLD_OPT_FLAT_MAP, 2, 1},
	{"all", FOLD_ALL, 3, 2},
	{"exists", FOLD_EXISTS, 3, 2},
	{"existsOne", FOLD_EXISTS_ONE, 3, 2},
	{"transformList", FOLD_TRANSFORM_LIST, 3, 2},
	{"transformList", FOLD_TRANSFORM_LIST, 4, 2},
	{"transformMap", FOLD_TRANSFORM_MAP, 3, 2},
	{"transformMap", FOLD_TRANSFORM_MAP, 4, 2},
	{"transformMapEntry", FOLD_TRANSFORM_MAP_ENTRY, 3, 2},
	{"transformMapEntry", FOLD_TRANSFORM_MAP_ENTRY, 4, 2},
};

static const struct macro *macro_find(const struct expr *e)
{
	for (size_t i = 0; i < ARRAY_SIZE(macros); i++)
		if (streq(macros[i].name, e->name) && e->n == macros[i].args + 1u)
			return &macros[i];
	return NULL;
}

/* args of the call: range, variables, bodies. */
static struct expr *expand(struct parser *p, struct expr *e)
{
	const struct macro *m = macro_find(e);

	if (!m)
		return e;
	for (uint32_t i = 1; i <= m->vars; i++)
		if (e->args[i]->kind != E_IDENT)
			return fail(p, e->args[i]->pos, "argument must be a simple name", "", 0);
	e->kind = E_FOLD;
	e->fold = m->fold;
	e->name = e->args[1]->name;
	e->name2 = m->vars == 2 ? e->args[2]->name : NULL;
	if (e->name2 && streq(e->name, e->name2))
		return fail(p, e->args[2]->pos, "duplicate variable name: ", e->name2,
			    strlen(e->name2));
	/* the last one is the result, one before it the condition */
	for (uint32_t i = 1u + m->vars; i < e->n; i++)
		e->args[i - m->vars] = e->args[i];
	e->n -= m->vars;
	return e;
}

static struct expr *make_has(struct parser *p, struct expr *e)
{
	struct expr *arg = e->n == 1 ? e->args[0] : NULL;

	if (!arg || arg->kind != E_SELECT || arg->test)
		return fail(p, e->pos, "invalid argument to has() macro", "", 0);
	arg->test = true;
	return arg;
}

/* ---- primaries -------------------------------------------------------------------------- */

static struct expr *parse_args(struct parser *p, struct expr *target, const char *name)
{
	struct expr *e = node(p, E_CALL, here(p));
	struct args l = {0};
	bool ok = true;

	e->name = name;
	e->member = target != NULL;
	if (target)
		ok = args_add(p, &l, target, false);
	advance(p);
	while (ok && !is(p, ')')) {
		ok = args_add(p, &l, parse_expr(p), false);
		if (ok && !is(p, ')'))
			ok = want(p, ',') && !is(p, ')');
	}
	ok = ok && want(p, ')');
	e = args_finish(p, &l, e);
	if (!ok)
		return unexpected(p, PRIMARY);
	if (target)
		return expand(p, e);
	return streq(name, "has") ? make_has(p, e) : e;
}

static bool is_reserved(const struct token *t)
{
	static const char *const words[] = {"as",   "break",	"const",     "continue", "else",
					    "for",  "function", "if",	     "import",	 "let",
					    "loop", "package",	"namespace", "return",	 "var",
					    "void", "while"};

	for (size_t i = 0; i < ARRAY_SIZE(words); i++)
		if (strlen(words[i]) == t->n && memcmp(words[i], t->s, t->n) == 0)
			return true;
	return false;
}

static struct expr *parse_ident(struct parser *p)
{
	struct expr *e = node(p, E_IDENT, here(p));

	if (is_reserved(&p->tok))
		return fail(p, here(p), "reserved identifier: ", p->tok.s, p->tok.n);
	e->name = arena_text(p->a, p->tok.s, p->tok.n);
	advance(p);
	return is(p, '(') ? parse_args(p, NULL, e->name) : e;
}

static struct expr *parse_list(struct parser *p)
{
	struct expr *e = node(p, E_LIST, here(p));
	struct args l = {0};
	bool ok = true;

	advance(p);
	while (ok && !is(p, ']')) {
		bool marked = take(p, '?');

		ok = args_add(p, &l, parse_expr(p), marked);
		if (ok && !is(p, ']'))
			ok = want(p, ',');
	}
	ok = ok && want(p, ']');
	e = args_finish(p, &l, e);
	return ok ? e : NULL;
}

static struct expr *parse_map(struct parser *p)
{
	struct expr *e = node(p, E_MAP, here(p));
	struct args l = {0};
	bool ok = true;

	advance(p);
	while (ok && !is(p, '}')) {
		bool marked = take(p, '?');

		ok = args_add(p, &l, parse_expr(p), marked) && want(p, ':') &&
		     args_add(p, &l, parse_expr(p), marked);
		if (ok && !is(p, '}'))
			ok = want(p, ',');
	}
	ok = ok && want(p, '}');
	e = args_finish(p, &l, e);
	return ok ? e : NULL;
}

static struct expr *parse_integer(struct parser *p, bool negative)
{
	bool hex = p->tok.n > 2 && (p->tok.s[1] == 'x' || p->tok.s[1] == 'X');
	auto_free char *digits = xstrndup(p->tok.s, p->tok.n);
	unsigned long long v;

	errno = 0;
	v = strtoull(digits, NULL, hex ? 16 : 10);
	if (errno || (p->tok.kind == TOK_INT && v > (uint64_t)INT64_MAX + negative))
		return fail(p, here(p),
			    p->tok.kind == TOK_INT ? "invalid int literal" : "invalid uint literal",
			    "", 0);
	if (p->tok.kind == TOK_UINT)
		return constant(p, val_uint(v));
	return constant(p, val_int(negative ? (int64_t)(0 - v) : (int64_t)v));
}

static struct expr *parse_double(struct parser *p, bool negative)
{
	auto_free char *digits = xstrndup(p->tok.s, p->tok.n);
	double d = strtod(digits, NULL);

	return constant(p, val_double(negative ? -d : d));
}

static struct expr *parse_string(struct parser *p)
{
	struct cel_value v;

	if (!lex_string(p->a, p->tok, &v))
		return fail(p, here(p), "Syntax error: token recognition error at: ", p->tok.s,
			    p->tok.n);
	return constant(p, v);
}

static struct expr *parse_primary(struct parser *p)
{
	struct expr *e;

	switch (p->tok.kind) {
	case TOK_INT:
	case TOK_UINT:
		return parse_integer(p, false);
	case TOK_DOUBLE:
		return parse_double(p, false);
	case TOK_STRING:
	case TOK_BYTES:
		return parse_string(p);
	case TOK_TRUE:
	case TOK_FALSE:
		return constant(p, val_bool(p->tok.kind == TOK_TRUE));
	case TOK_NULL:
		return constant(p, val_null());
	case TOK_IDENT:
		return parse_ident(p);
	default:
		break;
	}
	if (take(p, '.'))
		return p->tok.kind == TOK_IDENT ? parse_ident(p) : unexpected(p, "IDENTIFIER");
	if (is(p, '['))
		return parse_list(p);
	if (is(p, '{'))
		return parse_map(p);
	if (!take(p, '('))
		return unexpected(p, PRIMARY);
	e = parse_expr(p);
	return e && want(p, ')') ? e : NULL;
}

/* ---- members ---------------------------------------------------------------------------- */

static struct expr *parse_select(struct parser *p, struct expr *target)
{
	uint32_t pos = here(p);
	struct expr *e;
	bool optional;
	char *name;

	advance(p);
	optional = take(p, '?');
	if (p->tok.kind == TOK_QUOTED)
		name = arena_text(p->a, p->tok.s + 1, p->tok.n - 2);
	else if (p->tok.kind == TOK_IDENT)
		name = arena_text(p->a, p->tok.s, p->tok.n);
	else
		return unexpected(p, "IDENTIFIER");
	advance(p);
	if (is(p, '(') && !optional)
		return parse_args(p, target, name);
	e = node(p, E_SELECT, pos);
	e->name = name;
	e->optional = optional;
	e->args = arena_take(p->a, sizeof(*e->args));
	e->args[0] = target;
	e->n = 1;
	return e;
}

static struct expr *parse_index(struct parser *p, struct expr *target)
{
	uint32_t pos = here(p);
	struct expr *index;
	bool optional;

	advance(p);
	optional = take(p, '?');
	index = parse_expr(p);
	if (!index || !want(p, ']'))
		return NULL;
	return call2(p, optional ? "_[?_]" : "_[_]", pos, target, index);
}

/* A name with its dots, or NULL: "Object" or "a.b.C" before a "{". */
static bool is_type_name(const struct expr *e)
{
	while (e->kind == E_SELECT && !e->optional && !e->test)
		e = e->args[0];
	return e->kind == E_IDENT;
}

static struct expr *parse_struct(struct parser *p, struct expr *target)
{
	struct expr *e = target;
	auto_strbuf name = {0};

	/* No message has fields that could be written here: only its name is told. */
	for (; e->kind == E_SELECT; e = e->args[0]) {
		auto_free char *rest = strbuf_steal(&name);

		strbuf_addf(&name, ".%s%s", e->name, rest);
	}
	auto_free char *full = xasprintf("%s%s", e->name, name.s ? name.s : "");

	report_at(p->report, here(p), "undeclared reference to '%s' (in container '')", full);
	p->failed = true;
	return NULL;
}

static struct expr *parse_member(struct parser *p)
{
	struct expr *e = parse_primary(p);
	int links = 0;

	while (e && !p->failed) {
		if (++links > CEL_DEPTH_MAX)
			return fail(p, here(p), "expression recursion limit exceeded: 250", "", 0);
		if (is(p, '.'))
			e = parse_select(p, e);
		else if (is(p, '['))
			e = parse_index(p, e);
		else if (is(p, '{') && is_type_name(e))
			e = parse_struct(p, e);
		else
			break;
	}
	return p->failed ? NULL : e;
}

/* ---- operators -------------------------------------------------------------------------- */

static struct expr *parse_unary(struct parser *p)
{
	uint32_t pos = here(p);
	char c = p->tok.c;
	size_t n = 0;
	struct expr *e;

	if (!is(p, '!') && !is(p, '-'))
		return parse_member(p);
	while (take(p, c))
		n++;
	/* The minus before a number is part of it. */
	if (c == '-' && n == 1 && p->tok.kind == TOK_INT)
		return parse_integer(p, true);
	if (c == '-' && n == 1 && p->tok.kind == TOK_DOUBLE)
		return parse_double(p, true);
	e = parse_member(p);
	return e && n % 2 ? call1(p, c == '!' ? "!_" : "-_", pos, e) : e;
}

/* Binary operators by precedence; NULL: the token is none of that level. */
static const char *binary_operator(const struct parser *p, int level)
{
	static const struct {
		enum token_kind kind;
		char c;
		int level;
		const char *name;
	} table[] = {
		{TOK_LT, '<', 0, "_<_"},    {TOK_LE, '<', 0, "_<=_"},	{TOK_GT, '>', 0, "_>_"},
		{TOK_GE, '>', 0, "_>=_"},   {TOK_EQ, '=', 0, "_==_"},	{TOK_NE, '!', 0, "_!=_"},
		{TOK_IN, 'i', 0, "@in"},    {TOK_PUNCT, '+', 1, "_+_"}, {TOK_PUNCT, '-', 1, "_-_"},
		{TOK_PUNCT, '*', 2, "_*_"}, {TOK_PUNCT, '/', 2, "_/_"}, {TOK_PUNCT, '%', 2, "_%_"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(table); i++)
		if (table[i].level == level && table[i].kind == p->tok.kind &&
		    (p->tok.kind != TOK_PUNCT || table[i].c == p->tok.c))
			return table[i].name;
	return NULL;
}

static struct expr *parse_binary(struct parser *p, int level)
{
	struct expr *e = level > 2 ? parse_unary(p) : parse_binary(p, level + 1);
	const char *name;
	int links = 0;

	while (e && level <= 2 && (name = binary_operator(p, level))) {
		uint32_t pos = here(p);

		if (++links > CEL_DEPTH_MAX)
			return fail(p, pos, "expression recursion limit exceeded: 250", "", 0);
		advance(p);
		e = call2(p, name, pos, e, parse_binary(p, level + 1));
	}
	return e;
}

static struct expr *parse_chain(struct parser *p, enum token_kind kind)
{
	struct expr *e = kind == TOK_OR ? parse_chain(p, TOK_AND) : parse_binary(p, 0);
	struct args l = {0};
	uint32_t pos = here(p);
	bool ok;

	if (!e || p->tok.kind != kind)
		return e;
	ok = args_add(p, &l, e, false);
	while (ok && p->tok.kind == kind) {
		advance(p);
		ok = args_add(p, &l, kind == TOK_OR ? parse_chain(p, TOK_AND) : parse_binary(p, 0),
			      false);
	}
	e = node(p, E_CALL, pos);
	e->name = kind == TOK_OR ? "_||_" : "_&&_";
	e = args_finish(p, &l, e);
	return ok ? e : NULL;
}

static struct expr *parse_ternary(struct parser *p)
{
	struct expr *e = parse_chain(p, TOK_OR), *yes, *no;
	uint32_t pos = here(p);

	if (!e || !take(p, '?'))
		return e;
	yes = parse_chain(p, TOK_OR);
	if (!yes || !want(p, ':'))
		return NULL;
	no = parse_expr(p);
	return call(p, "_?_:_", pos, (struct expr *[]){e, yes, no}, 3);
}

static struct expr *parse_expr(struct parser *p)
{
	struct expr *e;

	if (p->failed)
		return NULL;
	breathe();
	if (++p->depth > CEL_DEPTH_MAX / 2)
		e = fail(p, here(p), "expression recursion limit exceeded: 250", "", 0);
	else
		e = parse_ternary(p);
	p->depth--;
	return e;
}

/* Links of the longest way down; chains of members and operators go deep without recursion. */
static int depth_of(const struct expr *e, int above)
{
	int deepest = above;

	if (above > CEL_DEPTH_MAX)
		return above;
	for (uint32_t i = 0; i < e->n; i++) {
		int d = depth_of(e->args[i], above + 1);

		deepest = d > deepest ? d : deepest;
	}
	return deepest;
}

struct expr *parse_text(struct arena *a, const char *text, struct report *report)
{
	struct parser p = {.a = a, .lex = {.text = text, .at = text}, .report = report};
	struct expr *e;

	if (strlen(text) > CEL_TEXT_MAX) {
		report_at(report, 0,
			  "expression code point size exceeds limit: size: %zu, limit %d",
			  strlen(text), CEL_TEXT_MAX);
		return NULL;
	}
	advance(&p);
	e = parse_expr(&p);
	if (e && p.tok.kind != TOK_END)
		unexpected(&p, "<EOF>");
	if (e && !p.failed && depth_of(e, 0) > CEL_DEPTH_MAX)
		fail(&p, 0, "expression recursion limit exceeded: 250", "", 0);
	return p.failed ? NULL : e;
}
