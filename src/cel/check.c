/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What type everything in a tree has, and whether that makes sense: names are resolved to slots,
 * calls to overloads. The words are those of cel-go's checker. What is wrong gets the type
 * CEL_ERROR, which fits everywhere, so that one mistake is told once.
 */
#include "internal.h"

struct local {
	const char *name;
	const struct cel_type *type;
};
#define LOCALS_MAX 64
struct checker {
	struct cel_program *p;
	const struct cel_env *env;
	struct report *report;
	struct local locals[LOCALS_MAX];
	size_t n_locals;
};

static void check(struct checker *c, struct expr *e);

static const struct cel_type *type_error(void)
{
	return cel_type_of(CEL_ERROR);
}

static const struct cel_type *type_bool(void)
{
	return cel_type_of(CEL_BOOL);
}

/* ---- names ------------------------------------------------------------------------------ */

static bool find_variable(struct checker *c, struct expr *e)
{
	for (size_t i = c->n_locals; i-- > 0;) {
		if (!streq(c->locals[i].name, e->name))
			continue;
		e->slot = (uint16_t)(c->p->n_vars + i);
		e->type = c->locals[i].type;
		return true;
	}
	for (size_t i = 0; i < c->env->n_vars; i++) {
		if (!streq(c->env->vars[i].name, e->name))
			continue;
		c->p->used |= UINT64_C(1) << i;
		e->slot = (uint16_t)i;
		e->type = c->env->vars[i].type;
		return true;
	}
	return false;
}

/* The names of types are values. */
static bool find_type(struct checker *c, struct expr *e)
{
	static const struct {
		const char *name;
		enum cel_kind kind;
	} names[] = {{"bool", CEL_BOOL},
		     {"int", CEL_INT},
		     {"uint", CEL_UINT},
		     {"double", CEL_DOUBLE},
		     {"string", CEL_STRING},
		     {"bytes", CEL_BYTES},
		     {"list", CEL_LIST},
		     {"map", CEL_MAP},
		     {"null_type", CEL_NULL},
		     {"type", CEL_TYPE},
		     {"optional_type", CEL_OPTIONAL}};

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		struct cel_value *v;

		if (!streq(names[i].name, e->name))
			continue;
		v = arena_take(&c->p->arena, sizeof(*v));
		*v = (struct cel_value){.kind = CEL_TYPE, .type = cel_type_of(names[i].kind)};
		e->kind = E_CONST;
		e->value = v;
		e->type = cel_type_of(CEL_TYPE);
		return true;
	}
	return false;
}

static void check_ident(struct checker *c, struct expr *e)
{
	if (find_variable(c, e) || find_type(c, e))
		return;
	report_at(c->report, e->pos, "undeclared reference to '%s' (in container '')", e->name);
	e->type = type_error();
}

/* ---- members ---------------------------------------------------------------------------- */

/* The type of a member of t, NULL: an error was told. */
static const struct cel_type *select_from(struct checker *c, struct expr *e,
					  const struct cel_type *t)
{
	const struct cel_type *found;
	auto_free char *name = NULL;

	switch ((enum cel_kind)t->kind) {
	case CEL_DYN:
	case CEL_ERROR:
		return t;
	case CEL_MAP:
		return t->elem;
	case CEL_OBJECT:
		found = type_member(&c->p->arena, t, e->name, &e->name);
		if (found)
			return found;
		report_at(c->report, e->pos, "undefined field '%s'", e->name);
		return type_error();
	case CEL_AUTHORIZER:
		if (streq(e->name, "requestResource"))
			return cel_type_of(CEL_RESOURCE_CHECK);
		__attribute__((fallthrough));
	default:
		name = cel_type_text(t);
		report_at(c->report, e->pos, "type '%s' does not support field selection", name);
		return type_error();
	}
}

static void check_select(struct checker *c, struct expr *e)
{
	const struct cel_type *t;
	bool optional = e->optional;

	check(c, e->args[0]);
	t = e->args[0]->type;
	if (t->kind == CEL_OPTIONAL) {
		optional = true;
		t = t->elem;
	}
	t = select_from(c, e, t);
	if (e->test)
		e->type = type_bool();
	else
		e->type = optional && t->kind != CEL_ERROR ? type_optional(&c->p->arena, t) : t;
}

/* ---- calls ------------------------------------------------------------------------------ */

static void tell_no_overload(struct checker *c, const struct expr *e)
{
	auto_strbuf b = {0};

	for (uint32_t i = 0; i < e->n; i++) {
		auto_free char *text = cel_type_text(e->args[i]->type);

		if (e->member && i == 0) {
			strbuf_addf(&b, "%s.(", text);
			continue;
		}
		if (!b.len)
			strbuf_addc(&b, '(');
		else if (b.s[b.len - 1] != '(')
			strbuf_adds(&b, ", ");
		strbuf_adds(&b, text);
	}
	strbuf_adds(&b, b.len ? ")" : "()");
	report_at(c->report, e->pos, "found no matching overload for '%s' applied to '%s'", e->name,
		  b.s);
}

/* The result type when the overload takes the arguments, else NULL. */
static const struct cel_type *try_overload(struct checker *c, const struct function *f,
					   const struct expr *e)
{
	struct binding b = {{NULL}};
	const char *sig = f->sig;
	const struct cel_type *result = type_parse(&c->p->arena, &sig);

	sig++;
	for (uint32_t i = 0; i < e->n; i++) {
		if (!*sig || !type_fits(&b, type_parse(&c->p->arena, &sig), e->args[i]->type))
			return NULL;
	}
	return *sig ? NULL : type_bound(&c->p->arena, &b, result);
}

static void resolve(struct checker *c, struct expr *e)
{
	size_t n;
	const struct function *const *found = functions_find(e->name, e->member, &n);
	const struct cel_type *result = NULL;

	e->resolved = n > 0;
	for (size_t i = 0; i < n; i++) {
		const struct cel_type *t = try_overload(c, found[i], e);

		e->resolved &= found[i]->fn == found[0]->fn;
		if (t)
			result = !result || type_equal(result, t) ? t : type_dyn;
	}
	/* the functions of operators look at what they get themselves */
	e->resolved &= n > 1 && (e->name[0] == '_' || e->name[0] == '-');
	if (result) {
		e->function = found[0];
		e->type = result;
		return;
	}
	e->type = type_error();
	for (uint32_t i = 0; i < e->n; i++)
		if (e->args[i]->type->kind == CEL_ERROR)
			return;
	tell_no_overload(c, e);
}

/* "optional.of(x)" is read as a call of `of` on `optional`: the name with its dot is meant. */
static void join_name(struct checker *c, struct expr *e)
{
	const struct expr *target = e->member ? e->args[0] : NULL;
	auto_free char *name = NULL;

	if (!target || target->kind != E_IDENT)
		return;
	name = xasprintf("%s.%s", target->name, e->name);
	if (!functions_known(name))
		return;
	e->name = arena_text(&c->p->arena, name, strlen(name));
	e->member = false;
	e->args++;
	e->n--;
}

/* A pattern that is written in the expression is compiled with it. */
static void check_pattern(struct checker *c, struct expr *e)
{
	static const char *const names[] = {"matches", "find", "findAll"};
	const struct expr *arg = e->n >= 2 ? e->args[1] : NULL;
	struct cel_program *p = c->p;
	auto_free char *why = NULL;
	bool any = false;

	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		any |= streq(names[i], e->name);
	if (!any || !arg || arg->kind != E_CONST || arg->value->kind != CEL_STRING)
		return;
	auto_free char *text = xstrndup(arg->value->str.s, arg->value->str.n);

	e->regex = cel_regex_new(text, &why);
	if (!e->regex) {
		report_at(c->report, arg->pos, "invalid matches argument");
		return;
	}
	p->regexes = xrealloc(p->regexes, p->n_regexes + 1, sizeof(struct cel_regex *));
	p->regexes[p->n_regexes++] = e->regex;
}

/* Constant times are looked at when they are written. */
static void check_literal(struct checker *c, const struct expr *e)
{
	const struct expr *arg = e->n == 1 && !e->member ? e->args[0] : NULL;
	struct cel_run *run;
	struct cel_value v;
	bool duration = streq(e->name, "duration");

	if (!arg || arg->kind != E_CONST || arg->value->kind != CEL_STRING ||
	    (!duration && !streq(e->name, "timestamp")))
		return;
	run = cel_run_new(NULL);
	v = (duration ? duration_from_text : time_from_text)(run, arg->value->str.s,
							     arg->value->str.n);
	if (v.kind == CEL_ERROR)
		report_at(c->report, arg->pos, "invalid %s argument",
			  duration ? "duration" : "timestamp");
	cel_run_free(run);
}

static void check_chain(struct checker *c, struct expr *e)
{
	struct binding none = {{NULL}};
	struct expr two = *e;
	bool ok = true;

	e->type = type_bool();
	for (uint32_t i = 0; i < e->n; i++) {
		check(c, e->args[i]);
		ok &= type_fits(&none, type_bool(), e->args[i]->type);
	}
	if (ok)
		return;
	two.n = 2;
	tell_no_overload(c, &two);
	e->type = type_error();
}

static void check_call(struct checker *c, struct expr *e)
{
	if (streq(e->name, "_&&_") || streq(e->name, "_||_")) {
		check_chain(c, e);
		return;
	}
	join_name(c, e);
	for (uint32_t i = 0; i < e->n; i++)
		check(c, e->args[i]);
	if (!functions_known(e->name)) {
		report_at(c->report, e->pos, "undeclared reference to '%s' (in container '')",
			  e->name);
		e->type = type_error();
		return;
	}
	resolve(c, e);
	check_pattern(c, e);
	check_literal(c, e);
}

/* ---- literals --------------------------------------------------------------------------- */

/* The type of one more element; all of them are to have the same one. */
static const struct cel_type *join_element(struct checker *c, const struct cel_type *all,
					   const struct expr *e, bool marked)
{
	const struct cel_type *t = e->type, *joined;
	auto_free char *want = NULL, *got = NULL;

	if (marked && t->kind == CEL_OPTIONAL)
		t = t->elem;
	joined = all ? type_join(all, t) : t;
	if (joined)
		return joined;
	want = cel_type_text(all);
	got = cel_type_text(t);
	report_at(c->report, e->pos, "expected type '%s' but found '%s'", want, got);
	return type_error();
}

static void check_marked(struct checker *c, const struct expr *e)
{
	auto_free char *got = NULL;

	if (e->type->kind == CEL_OPTIONAL || e->type->kind == CEL_DYN || e->type->kind == CEL_ERROR)
		return;
	got = cel_type_text(e->type);
	report_at(c->report, e->pos, "expected type 'optional_type(%s)' but found '%s'", got, got);
}

static void check_literal_list(struct checker *c, struct expr *e)
{
	const struct cel_type *elem = NULL;

	for (uint32_t i = 0; i < e->n; i++) {
		bool marked = e->marked && e->marked[i];

		check(c, e->args[i]);
		if (marked)
			check_marked(c, e->args[i]);
		elem = join_element(c, elem, e->args[i], marked);
	}
	e->type = type_list(&c->p->arena, elem ? elem : type_dyn);
}

static void check_literal_map(struct checker *c, struct expr *e)
{
	const struct cel_type *key = NULL, *elem = NULL;

	for (uint32_t i = 0; i + 1 < e->n; i += 2) {
		bool marked = e->marked && e->marked[i];

		check(c, e->args[i]);
		check(c, e->args[i + 1]);
		if (marked)
			check_marked(c, e->args[i + 1]);
		key = join_element(c, key, e->args[i], false);
		elem = join_element(c, elem, e->args[i + 1], marked);
	}
	e->type = type_map(&c->p->arena, key ? key : type_dyn, elem ? elem : type_dyn);
}

/* ---- macros ----------------------------------------------------------------------------- */

static void push_local(struct checker *c, const char *name, const struct cel_type *t)
{
	c->locals[c->n_locals++] = (struct local){name, t};
	if (c->p->n_vars + c->n_locals > c->p->n_slots)
		c->p->n_slots = (uint16_t)(c->p->n_vars + c->n_locals);
}

/* What the variables of a fold are of; false: nothing can be walked over. */
static bool range_types(const struct expr *e, const struct cel_type *range,
			const struct cel_type **first, const struct cel_type **second)
{
	bool optional = e->fold == FOLD_OPT_MAP || e->fold == FOLD_OPT_FLAT_MAP;

	*first = *second = type_dyn;
	if (range->kind == CEL_DYN || range->kind == CEL_ERROR)
		return true;
	if (optional) {
		*first = range->elem;
		return range->kind == CEL_OPTIONAL;
	}
	if (range->kind == CEL_LIST) {
		*first = e->name2 ? cel_type_of(CEL_INT) : range->elem;
		*second = range->elem;
		return true;
	}
	*first = range->key;
	*second = range->elem;
	return range->kind == CEL_MAP;
}

static void want_type(struct checker *c, const struct expr *e, const struct cel_type *want)
{
	struct binding none = {{NULL}};
	auto_free char *a = NULL, *b = NULL;

	if (type_fits(&none, want, e->type))
		return;
	a = cel_type_text(want);
	b = cel_type_text(e->type);
	report_at(c->report, e->pos, "expected type '%s' but found '%s'", a, b);
}

static const struct cel_type *fold_type(struct checker *c, const struct expr *e,
					const struct cel_type *range)
{
	struct arena *a = &c->p->arena;
	const struct expr *body = e->args[e->n - 1];

	switch ((enum fold)e->fold) {
	case FOLD_ALL:
	case FOLD_EXISTS:
	case FOLD_EXISTS_ONE:
		want_type(c, body, type_bool());
		return type_bool();
	case FOLD_FILTER:
		want_type(c, body, type_bool());
		return range->kind == CEL_MAP	 ? type_list(a, range->key)
		       : range->kind == CEL_LIST ? range
						 : cel_type_of(CEL_LIST);
	case FOLD_MAP:
	case FOLD_TRANSFORM_LIST:
		return type_list(a, body->type);
	case FOLD_TRANSFORM_MAP:
		return type_map(a, range->kind == CEL_MAP ? range->key : cel_type_of(CEL_INT),
				body->type);
	case FOLD_TRANSFORM_MAP_ENTRY:
		return body->type->kind == CEL_MAP ? body->type : cel_type_of(CEL_MAP);
	case FOLD_OPT_MAP:
		return type_optional(a, body->type);
	case FOLD_OPT_FLAT_MAP:
		want_type(c, body, cel_type_of(CEL_OPTIONAL));
		return body->type;
	}
	return type_error();
}

static void check_fold(struct checker *c, struct expr *e)
{
	const struct cel_type *range, *first, *second;
	size_t mark = c->n_locals;

	check(c, e->args[0]);
	range = e->args[0]->type;
	if (!range_types(e, range, &first, &second)) {
		auto_free char *text = cel_type_text(range);

		report_at(c->report, e->args[0]->pos,
			  "expression of type '%s' cannot be range of a comprehension (must be "
			  "list, map, or dynamic)",
			  text);
		first = second = type_error();
	}
	if (c->n_locals + 2 > LOCALS_MAX) {
		report_at(c->report, e->pos, "expression recursion limit exceeded: 250");
		e->type = type_error();
		return;
	}
	e->slot = (uint16_t)(c->p->n_vars + c->n_locals);
	push_local(c, e->name, first);
	if (e->name2)
		push_local(c, e->name2, second);
	for (uint32_t i = 1; i < e->n; i++)
		check(c, e->args[i]);
	if (e->n == 3)
		want_type(c, e->args[1], type_bool());
	c->n_locals = mark;
	e->type = fold_type(c, e, range);
}

/* ---- all -------------------------------------------------------------------------------- */

static void check(struct checker *c, struct expr *e)
{
	breathe();
	switch ((enum expr_kind)e->kind) {
	case E_CONST:
		e->type = val_type(e->value);
		break;
	case E_IDENT:
		check_ident(c, e);
		break;
	case E_SELECT:
		check_select(c, e);
		break;
	case E_CALL:
		check_call(c, e);
		break;
	case E_LIST:
		check_literal_list(c, e);
		break;
	case E_MAP:
		check_literal_map(c, e);
		break;
	case E_STRUCT:
		e->type = type_error();
		break;
	case E_FOLD:
		check_fold(c, e);
		break;
	}
}

void check_tree(struct cel_program *p, const struct cel_env *env, struct report *report)
{
	struct checker c = {.p = p, .env = env, .report = report};

	p->n_slots = p->n_vars = (uint16_t)env->n_vars;
	check(&c, p->root);
}

/* ---- programs --------------------------------------------------------------------------- */

struct cel_program *cel_compile(const struct cel_env *env, const char *text, char **ret_error)
{
	struct cel_program *p = xnew(struct cel_program);
	struct report report = {.text = text};

	*ret_error = NULL;
	p->root = parse_text(&p->arena, text, &report);
	if (p->root)
		check_tree(p, env, &report);
	if (report.n == 0)
		return p;
	*ret_error = strbuf_steal(&report.out);
	cel_program_free(p);
	return NULL;
}

void cel_program_free(struct cel_program *p)
{
	if (!p)
		return;
	for (size_t i = 0; i < p->n_regexes; i++)
		cel_regex_free(p->regexes[i]);
	free(p->regexes);
	arena_done(&p->arena);
	free(p);
}

const struct cel_type *cel_program_type(const struct cel_program *p)
{
	return p->root->type;
}

bool cel_program_uses(const struct cel_program *p, size_t var)
{
	return p->used >> var & 1;
}

size_t cel_program_bytes(const struct cel_program *p)
{
	return sizeof(*p) + p->arena.bytes;
}
