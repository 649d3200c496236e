/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A tree to a value. Errors are values: whoever gets one hands it on, but && and || and the macros
 * that are made of them forget it when the other side decides. Everything that takes time is
 * charged before it is done.
 */
#include "internal.h"

/* How often the clock is looked at. */
#define TICKS 256
#define CALL_ARGS_MAX 8
#define LAZY_DEPTH_MAX 16
/* What cel-go counts for a step of a macro and for making a list or a map. */
#define COST_STEP 3
#define COST_LIST 10
#define COST_MAP 30

/* ---- limits ----------------------------------------------------------------------------- */

static uint64_t cpu_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
	return (uint64_t)ts.tv_sec * NS_PER_SEC + (uint64_t)ts.tv_nsec;
}

bool run_charge(struct cel_run *r, uint64_t cost)
{
	r->cost += cost;
	if (r->cost > r->limit)
		r->over = true;
	r->ticks += 1 + cost / 16;
	if (r->ticks >= TICKS) {
		r->ticks = 0;
		if (cpu_ns() > r->stop_ns)
			r->over = true;
	}
	return r->over;
}

struct cel_value run_over(struct cel_run *r)
{
	r->over = true;
	return (struct cel_value){.kind = CEL_ERROR,
				  .str = {CEL_OVER_LIMIT, sizeof(CEL_OVER_LIMIT) - 1}};
}

void *run_take(struct cel_run *r, size_t n)
{
	if (n > CEL_RUN_BYTES || r->arena.bytes + n > CEL_RUN_BYTES) {
		r->over = true;
		return NULL;
	}
	return arena_take(&r->arena, n);
}

struct cel_value cel_error(struct cel_run *r, const char *fmt, ...)
{
	auto_free char *text = NULL;
	va_list ap;
	size_t n;

	va_start(ap, fmt);
	text = xvasprintf(fmt, ap);
	va_end(ap);
	n = strnlen(text, 4096);
	return (struct cel_value){.kind = CEL_ERROR, .str = {arena_text(&r->arena, text, n), n}};
}

struct cel_value no_overload(struct cel_run *r UNUSED)
{
	return (struct cel_value){.kind = CEL_ERROR, .str = {"no such overload", 16}};
}

/* ---- members ---------------------------------------------------------------------------- */

static struct cel_value eval(struct cel_run *r, const struct expr *e, struct cel_value *frame);

static struct cel_value no_field(struct cel_run *r, const struct cel_value *v, const char *name)
{
	if (v->kind != CEL_MAP && v->kind != CEL_OBJECT)
		return no_overload(r);
	return cel_error(r, "no such key: %s", name);
}

static struct cel_value eval_select(struct cel_run *r, const struct expr *e,
				    struct cel_value *frame)
{
	struct cel_value v = eval(r, e->args[0], frame), found = {0};
	bool optional = e->optional, has;

	if (v.kind == CEL_ERROR)
		return v;
	if (!e->test && run_charge(r, 1))
		return run_over(r);
	if (v.kind == CEL_OPTIONAL) {
		if (!optional_get(&v))
			return e->test ? val_bool(false) : v;
		v = *optional_get(&v);
		optional = true;
	}
	has = member_find(r, &v, e->name, &found);
	if (r->over)
		return run_over(r);
	if (e->test)
		return v.kind == CEL_MAP || v.kind == CEL_OBJECT ? val_bool(has) : no_overload(r);
	if (optional)
		return found.kind == CEL_ERROR && has ? found
						      : cel_optional(r, has ? &found : NULL);
	return has ? found : no_field(r, &v, e->name);
}

/* ---- calls ------------------------------------------------------------------------------ */

/* && (decides: false) and || (true): the first that decides wins over errors. */
static struct cel_value eval_chain(struct cel_run *r, const struct expr *e, struct cel_value *frame,
				   bool decides)
{
	struct cel_value error = {.kind = CEL_BOOL};

	for (uint32_t i = 0; i < e->n; i++) {
		struct cel_value v = eval(r, e->args[i], frame);

		if (r->over)
			return run_over(r);
		if (v.kind == CEL_BOOL && v.b == decides)
			return v;
		if (v.kind != CEL_BOOL && error.kind != CEL_ERROR)
			error = v.kind == CEL_ERROR ? v : no_overload(r);
	}
	return error.kind == CEL_ERROR ? error : val_bool(!decides);
}

static struct cel_value eval_ternary(struct cel_run *r, const struct expr *e,
				     struct cel_value *frame)
{
	struct cel_value v = eval(r, e->args[0], frame);

	if (v.kind == CEL_ERROR)
		return v;
	if (v.kind != CEL_BOOL)
		return no_overload(r);
	return eval(r, e->args[v.b ? 1 : 2], frame);
}

/* optional.or() and orValue() look at their argument only when they need it. */
static bool is_or(const struct expr *e)
{
	return e->member && e->n == 2 && (streq(e->name, "or") || streq(e->name, "orValue"));
}

static struct cel_value eval_or(struct cel_run *r, const struct expr *e, struct cel_value *frame)
{
	struct cel_value v = eval(r, e->args[0], frame);

	if (v.kind == CEL_ERROR)
		return v;
	if (v.kind != CEL_OPTIONAL)
		return no_overload(r);
	if (!optional_get(&v))
		return eval(r, e->args[1], frame);
	return streq(e->name, "or") ? v : *optional_get(&v);
}

static struct cel_value dispatch(struct cel_run *r, const struct expr *e,
				 const struct cel_value *args)
{
	const struct function *const *found;
	size_t n;

	if (e->resolved || signature_takes(e->function->sig, args, e->n))
		return e->function->fn(r, args, e->n);
	found = functions_find(e->name, e->member, &n);
	for (size_t i = 0; i < n; i++)
		if (signature_takes(found[i]->sig, args, e->n))
			return found[i]->fn(r, args, e->n);
	return no_overload(r);
}

static struct cel_value eval_args(struct cel_run *r, const struct expr *e, struct cel_value *frame)
{
	struct cel_value args[CALL_ARGS_MAX];

	if (e->n > CALL_ARGS_MAX)
		return no_overload(r);
	for (uint32_t i = 0; i < e->n; i++) {
		args[i] = eval(r, e->args[i], frame);
		if (args[i].kind == CEL_ERROR)
			return args[i];
	}
	if (run_charge(r, 1))
		return run_over(r);
	r->given = e->regex;
	args[0] = dispatch(r, e, args);
	r->given = NULL;
	return r->over ? run_over(r) : args[0];
}

static struct cel_value eval_call(struct cel_run *r, const struct expr *e, struct cel_value *frame)
{
	if (e->name[0] == '_') {
		if (streq(e->name, "_&&_"))
			return eval_chain(r, e, frame, false);
		if (streq(e->name, "_||_"))
			return eval_chain(r, e, frame, true);
		if (streq(e->name, "_?_:_"))
			return eval_ternary(r, e, frame);
	}
	return is_or(e) ? eval_or(r, e, frame) : eval_args(r, e, frame);
}

/* ---- literals --------------------------------------------------------------------------- */

/* An element marked with "?": its value, or none (true). */
static bool is_left_out(struct cel_run *r, bool marked, struct cel_value *v)
{
	if (!marked)
		return false;
	if (v->kind != CEL_OPTIONAL) {
		*v = no_overload(r);
		return false;
	}
	if (!optional_get(v))
		return true;
	*v = *optional_get(v);
	return false;
}

static struct cel_value eval_list(struct cel_run *r, const struct expr *e, struct cel_value *frame)
{
	struct builder b = {.r = r};

	if (run_charge(r, COST_LIST))
		return run_over(r);
	for (uint32_t i = 0; i < e->n; i++) {
		struct cel_value v = eval(r, e->args[i], frame);

		if (v.kind == CEL_ERROR)
			return v;
		if (is_left_out(r, e->marked && e->marked[i], &v))
			continue;
		if (v.kind == CEL_ERROR)
			return v;
		builder_add(&b, v);
	}
	return r->over ? run_over(r) : val_list(b.v, b.n);
}

static bool is_key(const struct cel_value *v)
{
	return v->kind == CEL_STRING || v->kind == CEL_INT || v->kind == CEL_UINT ||
	       v->kind == CEL_BOOL;
}

static struct cel_value eval_map(struct cel_run *r, const struct expr *e, struct cel_value *frame)
{
	struct builder b = {.r = r};

	if (run_charge(r, COST_MAP))
		return run_over(r);
	for (uint32_t i = 0; i + 1 < e->n; i += 2) {
		struct cel_value key = eval(r, e->args[i], frame), v;

		if (key.kind == CEL_ERROR)
			return key;
		if (!is_key(&key))
			return cel_error(r, "unsupported key type");
		v = eval(r, e->args[i + 1], frame);
		if (v.kind == CEL_ERROR)
			return v;
		if (is_left_out(r, e->marked && e->marked[i], &v))
			continue;
		if (v.kind == CEL_ERROR)
			return v;
		builder_add(&b, key);
		builder_add(&b, v);
	}
	return r->over ? run_over(r) : (struct cel_value){.kind = CEL_MAP, .list = {b.v, b.n / 2}};
}

/* ---- macros ----------------------------------------------------------------------------- */

struct walk {
	struct cel_value range, keys; /* keys: of a map */
	size_t n;
};

static bool walk_start(struct cel_run *r, struct walk *w, struct cel_value range)
{
	w->range = range;
	if (range.kind == CEL_MAP) {
		w->keys = map_keys(r, &range);
		w->n = val_size(&w->keys);
		return true;
	}
	w->n = range.kind == CEL_LIST ? val_size(&range) : 0;
	return range.kind == CEL_LIST;
}

/* Puts the variables of step i into the frame. */
static void walk_step(struct cel_run *r, const struct walk *w, const struct expr *e, size_t i,
		      struct cel_value *frame)
{
	bool map = w->range.kind == CEL_MAP;
	struct cel_value item = list_at(r, map ? &w->keys : &w->range, i);

	frame[e->slot] = item;
	if (!e->name2)
		return;
	frame[e->slot] = map ? item : val_int((int64_t)i);
	frame[e->slot + 1] = item;
	if (map)
		map_find(r, &w->range, item, &frame[e->slot + 1]);
}

/* all (decides: false) and exists (true). */
static struct cel_value fold_quantifier(struct cel_run *r, const struct expr *e,
					const struct walk *w, struct cel_value *frame, bool decides)
{
	struct cel_value error = {.kind = CEL_BOOL};

	for (size_t i = 0; i < w->n; i++) {
		struct cel_value v;

		if (run_charge(r, COST_STEP))
			return run_over(r);
		walk_step(r, w, e, i, frame);
		v = eval(r, e->args[1], frame);
		if (r->over)
			return run_over(r);
		if (v.kind == CEL_BOOL && v.b == decides)
			return v;
		if (v.kind != CEL_BOOL)
			error = v.kind == CEL_ERROR ? v : no_overload(r);
	}
	return error.kind == CEL_ERROR ? error : val_bool(!decides);
}

static struct cel_value fold_exists_one(struct cel_run *r, const struct expr *e,
					const struct walk *w, struct cel_value *frame)
{
	size_t n = 0;

	for (size_t i = 0; i < w->n; i++) {
		struct cel_value v;

		if (run_charge(r, COST_STEP))
			return run_over(r);
		walk_step(r, w, e, i, frame);
		v = eval(r, e->args[1], frame);
		if (v.kind != CEL_BOOL)
			return v.kind == CEL_ERROR ? v : no_overload(r);
		n += v.b;
	}
	return val_bool(n == 1);
}

/* What one step of map, filter and transform* adds; an error stops. */
static struct cel_value fold_add(struct cel_run *r, const struct expr *e, struct builder *b,
				 const struct cel_value *frame, struct cel_value v)
{
	struct cel_value keys;

	switch ((enum fold)e->fold) {
	case FOLD_FILTER:
		if (v.kind != CEL_BOOL)
			return no_overload(r);
		if (v.b)
			builder_add(b, frame[e->slot]);
		break;
	case FOLD_TRANSFORM_MAP:
		builder_add(b, frame[e->slot]);
		builder_add(b, v);
		break;
	case FOLD_TRANSFORM_MAP_ENTRY:
		if (v.kind != CEL_MAP)
			return no_overload(r);
		keys = map_keys(r, &v);
		for (size_t i = 0; i < val_size(&keys); i++) {
			struct cel_value key = list_at(r, &keys, i), item = {0};

			map_find(r, &v, key, &item);
			builder_add(b, key);
			builder_add(b, item);
		}
		break;
	default:
		builder_add(b, v);
		break;
	}
	return v;
}

static struct cel_value fold_collect(struct cel_run *r, const struct expr *e, const struct walk *w,
				     struct cel_value *frame)
{
	struct builder b = {.r = r};
	bool map = e->fold == FOLD_TRANSFORM_MAP || e->fold == FOLD_TRANSFORM_MAP_ENTRY;

	for (size_t i = 0; i < w->n; i++) {
		struct cel_value v;

		/* every step makes a new list */
		if (run_charge(r, COST_STEP + COST_LIST))
			return run_over(r);
		walk_step(r, w, e, i, frame);
		if (e->n == 3) {
			v = eval(r, e->args[1], frame);
			if (v.kind != CEL_BOOL)
				return v.kind == CEL_ERROR ? v : no_overload(r);
			if (!v.b)
				continue;
		}
		v = eval(r, e->args[e->n - 1], frame);
		if (v.kind != CEL_ERROR)
			v = fold_add(r, e, &b, frame, v);
		if (v.kind == CEL_ERROR)
			return v;
	}
	if (r->over)
		return run_over(r);
	return map ? (struct cel_value){.kind = CEL_MAP, .list = {b.v, b.n / 2}}
		   : val_list(b.v, b.n);
}

static struct cel_value fold_optional(struct cel_run *r, const struct expr *e,
				      struct cel_value range, struct cel_value *frame)
{
	struct cel_value v;

	if (range.kind != CEL_OPTIONAL)
		return no_overload(r);
	if (!optional_get(&range))
		return range;
	frame[e->slot] = *optional_get(&range);
	v = eval(r, e->args[1], frame);
	return v.kind == CEL_ERROR || e->fold == FOLD_OPT_FLAT_MAP ? v : cel_optional(r, &v);
}

static struct cel_value eval_fold(struct cel_run *r, const struct expr *e, struct cel_value *frame)
{
	struct cel_value range = eval(r, e->args[0], frame);
	struct walk w = {0};

	if (range.kind == CEL_ERROR)
		return range;
	if (e->fold == FOLD_OPT_MAP || e->fold == FOLD_OPT_FLAT_MAP)
		return fold_optional(r, e, range, frame);
	if (!walk_start(r, &w, range))
		return no_overload(r);
	switch ((enum fold)e->fold) {
	case FOLD_ALL:
		return fold_quantifier(r, e, &w, frame, false);
	case FOLD_EXISTS:
		return fold_quantifier(r, e, &w, frame, true);
	case FOLD_EXISTS_ONE:
		return fold_exists_one(r, e, &w, frame);
	default:
		return fold_collect(r, e, &w, frame);
	}
}

/* ---- all -------------------------------------------------------------------------------- */

static struct cel_value eval(struct cel_run *r, const struct expr *e, struct cel_value *frame)
{
	switch ((enum expr_kind)e->kind) {
	case E_CONST:
		return *e->value;
	case E_IDENT:
		return run_charge(r, 1) ? run_over(r) : frame[e->slot];
	case E_SELECT:
		return eval_select(r, e, frame);
	case E_CALL:
		return eval_call(r, e, frame);
	case E_LIST:
		return eval_list(r, e, frame);
	case E_MAP:
		return eval_map(r, e, frame);
	case E_FOLD:
		return eval_fold(r, e, frame);
	case E_STRUCT:
		break;
	}
	return no_overload(r);
}

struct cel_value cel_eval(struct cel_run *r, const struct cel_program *p,
			  const struct cel_value *vars, uint64_t limit, uint64_t *ret_cost)
{
	uint64_t outer_cost = r->cost, outer_limit = r->limit;
	bool outer_over = r->over;
	struct cel_value *frame, v;

	if (++r->depth > LAZY_DEPTH_MAX) {
		r->depth--;
		return cel_error(r, "variables nest too deeply");
	}
	if (!r->stop_ns)
		r->stop_ns = cpu_ns() + CEL_RUN_US * 1000;
	r->cost = 0;
	r->limit = limit;
	r->over = false;
	frame = run_take(r, (p->n_slots + 1u) * sizeof(*frame));
	if (frame)
		memcpy(frame, vars, p->n_vars * sizeof(*frame));
	v = frame && !run_charge(r, 0) ? eval(r, p->root, frame) : run_over(r);
	if (r->over)
		v = run_over(r);
	if (ret_cost)
		*ret_cost = r->cost;
	r->cost = outer_cost;
	r->limit = outer_limit;
	r->over = outer_over;
	r->depth--;
	return v;
}

struct cel_run *cel_run_new(const struct cel_host *host)
{
	struct cel_run *r = xnew(struct cel_run);

	r->host = host;
	r->limit = CEL_CALL_LIMIT;
	r->stop_ns = 0;
	return r;
}

void cel_run_free(struct cel_run *r)
{
	if (!r)
		return;
	cel_regex_free(r->kept);
	free(r->kept_text);
	arena_done(&r->arena);
	free(r);
}
