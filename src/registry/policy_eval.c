/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One policy with one binding: parameters, match conditions, validations, in the words of
 * apiserver's pkg/admission/plugin/policy/validating.
 */
#include "policy.h"

#define MESSAGE_MAX 5120
#define PARAMS_MAX 100

/* One evaluation, for one parameter object. */
struct eval {
	struct registry *r;
	struct policy *p;
	const struct binding *b;
	const struct review *q;
	struct cel_run *run;
	struct decision *d;
	struct cel_value vars[POLICY_VARS];
	struct cel_lazy variables;
	struct cel_value *values; /* of variables, as far as known */
	bool *known;
	int64_t budget;
};

/* ---- compiling -------------------------------------------------------------------------- */

static void compile_all(struct policy *p, const char *list, const char *field, enum policy_use use,
			struct expressions *ret)
{
	const json_t *from = json_object_get(p->spec, list);
	json_t *v;
	size_t i;

	ret->v = xcalloc(json_array_size(from) + 1, sizeof(*ret->v));
	ret->n = json_array_size(from);
	json_array_foreach(from, i, v)
	{
		struct expression *e = &ret->v[i];

		e->text = json_str(v, field, "");
		if (*e->text)
			e->program = policy_compile(p->scope, use, e->text, &e->error);
	}
}

static void make_ready(struct policy *p)
{
	json_t *v;
	size_t i;

	if (p->ready)
		return;
	p->ready = true;
	p->scope = policy_scope_new(p->spec, NULL);
	json_array_foreach(json_object_get(p->spec, "variables"), i, v)
	{
		auto_free char *error = NULL;

		policy_add_variable(p->scope, json_str(v, "name", ""),
				    json_str(v, "expression", ""), &error);
	}
	compile_all(p, "matchConditions", "expression", POLICY_CONDITION, &p->conditions);
	compile_all(p, "validations", "expression", POLICY_RULE, &p->rules);
	compile_all(p, "validations", "messageExpression", POLICY_MESSAGE, &p->messages);
	compile_all(p, "auditAnnotations", "valueExpression", POLICY_AUDIT, &p->audits);
}

/* ---- what expressions see --------------------------------------------------------------- */

static struct cel_value variable_get(struct cel_run *run, const struct cel_lazy *o,
				     const char *name)
{
	struct eval *e = o->arg;
	size_t i;
	const struct cel_program *p = policy_variable(e->p->scope, name, &i);
	struct cel_value v;
	uint64_t cost;

	if (!p)
		return cel_error(run, "composited variable \"%s\" fails to compile", name);
	if (e->known[i])
		return e->values[i];
	v = cel_eval(run, p, e->vars, CEL_CALL_LIMIT, &cost);
	e->budget -= (int64_t)cost;
	if (v.kind == CEL_ERROR)
		v = cel_error(run, "composited variable \"%s\" fails to evaluate: %s", name,
			      cel_text(run, v));
	e->known[i] = true;
	e->values[i] = v;
	return v;
}

static json_t *resource_json(const struct kind *k, bool resource)
{
	return json_pack("{s:s, s:s, s:s}", "group", k->group, "version", k->version,
			 resource ? "resource" : "kind", resource ? k->plural : k->kind);
}

/* The object of a CONNECT has a kind of its own. */
static json_t *kind_json(const struct review *q, const struct kind *k)
{
	const struct subresource *s =
		streq(q->operation, "CONNECT") ? kind_subresource(k, q->sub) : NULL;
	json_t *v = resource_json(k, false);

	if (s && s->kind)
		json_put_str(v, "kind", s->kind);
	return v;
}

static json_t *user_json(const struct review *q)
{
	if (q->o->by)
		return q->o->by->user(q->o->by->arg);
	return json_pack("{s:s, s:[s,s]}", "username", "system:kube-controller-manager", "groups",
			 "system:masters", "system:authenticated");
}

static json_t *request_json(const struct review *q, const struct kind *as)
{
	json_t *v = json_object();
	char uid[UUID_LEN];

	random_uuid(uid);
	json_put_str(v, "uid", uid);
	json_put(v, "kind", kind_json(q, as));
	json_put(v, "resource", resource_json(as, true));
	json_put(v, "requestKind", kind_json(q, q->kind));
	json_put(v, "requestResource", resource_json(q->kind, true));
	json_put_str(v, "subResource", q->sub ? q->sub : "");
	json_put_str(v, "requestSubResource", q->sub ? q->sub : "");
	json_put_str(v, "name", q->name);
	json_put_str(v, "namespace", q->ns);
	json_put_str(v, "operation", q->operation);
	json_put(v, "userInfo", user_json(q));
	json_put_bool(v, "dryRun", q->o->dry_run);
	return v;
}

/* The object in the version that the policy speaks of; *owned: to be released. */
static const json_t *as_version(const struct review *q, const struct kind *as, const json_t *obj,
				json_t **owned)
{
	char version[API_VERSION_MAX];

	*owned = NULL;
	if (!obj || as == q->kind)
		return obj;
	*owned = json_deep_copy(obj);
	kind_convert(q->kind, as, *owned);
	json_put_str(*owned, "apiVersion", kind_api_version(as, version));
	json_put_str(*owned, "kind", as->kind);
	return *owned;
}

static void set_variables(struct eval *e, const struct kind *as, const json_t *obj,
			  const json_t *old, const json_t *params)
{
	const struct review *q = e->q;
	const struct object *ns = q->kind->namespaced && *q->ns
					  ? store_get(e->r->store, &kind_namespace, "", q->ns)
					  : NULL;
	const struct cel_access access = {.group = as->group,
					  .resource = as->plural,
					  .subresource = q->sub,
					  .in_namespace = q->ns,
					  .name = q->name};

	e->vars[POLICY_OBJECT] = cel_from_json(e->run, obj, NULL);
	e->vars[POLICY_OLD_OBJECT] = cel_from_json(e->run, old, NULL);
	e->vars[POLICY_REQUEST] = cel_from_json(e->run, e->d->request, policy_request_type());
	e->vars[POLICY_PARAMS] = cel_from_json(e->run, params, NULL);
	e->vars[POLICY_NAMESPACE] =
		cel_from_json(e->run, ns ? object_json(ns) : NULL, policy_namespace_type());
	e->vars[POLICY_AUTHORIZER] = cel_authorizer(e->run, &access);
	e->variables = (struct cel_lazy){policy_variables_type(e->p->scope), variable_get, e};
	e->vars[POLICY_VARIABLES] = cel_lazy_value(&e->variables);
}

/* ---- evaluating ------------------------------------------------------------------------- */

/* An error is told with the expression that made it. */
static struct cel_value evaluate(struct eval *e, const struct expression *x)
{
	struct cel_value v;
	uint64_t cost;

	if (!x->program)
		return cel_error(e->run, "compilation error: %s", x->error ? x->error : "");
	if (e->budget <= 0)
		return cel_error(e->run, "validation failed due to running out of cost budget, no "
					 "further validation rules will be run");
	v = cel_eval(e->run, x->program, e->vars, CEL_CALL_LIMIT, &cost);
	e->budget -= (int64_t)cost;
	if (v.kind == CEL_ERROR)
		v = cel_error(e->run, "expression '%s' resulted in error: %s", x->text,
			      cel_text(e->run, v));
	return v;
}

static bool is_ignored(const struct policy *p)
{
	return streq(json_str(p->spec, "failurePolicy", "Fail"), "Ignore");
}

/* What the binding wants done when a rule is not met. */
static void act(struct eval *e, const char *reason, const char *message)
{
	const json_t *actions = json_object_get(e->b->spec, "validationActions");
	json_t *v;
	size_t i;

	json_array_foreach(actions, i, v)
	{
		const char *action = json_string_value(v);

		if (streq(action, "Deny"))
			decide_deny(e->d, e->p, e->b, reason, message);
		else if (streq(action, "Warn") && e->q->o->by && e->q->o->by->warnings)
			strv_addf(e->q->o->by->warnings,
				  "Validation failed for ValidatingAdmissionPolicy '%s' with "
				  "binding '%s': %s",
				  e->p->name, e->b->name, message);
	}
}

static void failed(struct eval *e, struct cel_value v)
{
	if (!is_ignored(e->p))
		act(e, "Invalid", cel_text(e->run, v));
}

static char *trimmed(const char *s)
{
	size_t n;

	s += strspn(s, " \t\r\n\v\f");
	for (n = strlen(s); n && strchr(" \t\r\n\v\f", s[n - 1]);)
		n--;
	return xstrndup(s, n);
}

static char *message_of(struct eval *e, size_t i)
{
	const json_t *rule = json_array_get(json_object_get(e->p->spec, "validations"), i);
	auto_free char *text = NULL, *expression = trimmed(e->p->rules.v[i].text);
	struct cel_value v;

	if (e->p->messages.v[i].program) {
		v = evaluate(e, &e->p->messages.v[i]);
		if (v.kind == CEL_STRING)
			text = trimmed(cel_text(e->run, v));
		if (text && *text && strlen(text) <= MESSAGE_MAX && !strchr(text, '\n'))
			return steal_ptr(text);
	}
	if (*json_str(rule, "message", ""))
		return trimmed(json_str(rule, "message", ""));
	return xasprintf("failed expression: %s", expression);
}

static void run_rules(struct eval *e)
{
	const json_t *rules = json_object_get(e->p->spec, "validations");

	for (size_t i = 0; i < e->p->rules.n; i++) {
		struct cel_value v = evaluate(e, &e->p->rules.v[i]);

		if (v.kind == CEL_ERROR) {
			failed(e, v);
		} else if (!cel_is_true(v)) {
			auto_free char *message = message_of(e, i);

			act(e, json_str(json_array_get(rules, i), "reason", "Invalid"), message);
		}
	}
}

/* Nobody keeps an audit record here, but what cannot be computed counts as upstream. */
static void run_audits(struct eval *e)
{
	for (size_t i = 0; i < e->p->audits.n; i++) {
		struct cel_value v = evaluate(e, &e->p->audits.v[i]);

		if (v.kind == CEL_ERROR && !is_ignored(e->p))
			decide_deny(e->d, e->p, e->b, "Invalid", cel_text(e->run, v));
	}
}

/* Do all match conditions hold? One that is false decides over those that fail. */
static bool conditions_hold(struct eval *e)
{
	struct cel_value error = {.kind = CEL_NULL};

	for (size_t i = 0; i < e->p->conditions.n; i++) {
		struct cel_value v = evaluate(e, &e->p->conditions.v[i]);

		if (v.kind == CEL_ERROR)
			error = v;
		else if (!cel_is_true(v))
			return false;
	}
	if (error.kind != CEL_ERROR)
		return true;
	failed(e, error);
	return false;
}

static void apply_param(struct eval *e, const struct kind *as, const json_t *params)
{
	json_t *obj, *old;
	const json_t *now = as_version(e->q, as, e->q->obj, &obj);
	const json_t *was = as_version(e->q, as, e->q->old, &old);
	size_t n = json_len(e->p->spec, "variables") + 1;

	e->values = xcalloc(n, sizeof(*e->values));
	e->known = xcalloc(n, sizeof(*e->known));
	e->budget = CEL_BUDGET;
	if (!e->d->request)
		e->d->request = request_json(e->q, as);
	set_variables(e, as, now, was, params);
	if (conditions_hold(e)) {
		run_rules(e);
		run_audits(e);
	}
	free(e->values);
	free(e->known);
	json_decref(obj);
	json_decref(old);
}

/* ---- parameters ------------------------------------------------------------------------- */

static void PRINTF_LIKE(3, 4)
	misconfigured(struct eval *e, const struct binding *b, const char *fmt, ...)
{
	auto_free char *text = NULL, *message = NULL;
	va_list ap;

	if (is_ignored(e->p))
		return;
	va_start(ap, fmt);
	text = xvasprintf(fmt, ap);
	va_end(ap);
	message = xasprintf("failed to configure %s: %s", b ? "binding" : "policy", text);
	decide_deny(e->d, e->p, b, "Invalid", message);
}

static void apply_selected(struct eval *e, const struct kind *as, const struct kind *k,
			   const char *ns, const json_t *selector, size_t *n)
{
	auto_err err = {0};
	auto_clean(label_selector) struct label_selector *s =
		label_selector_from_json(selector, &err);
	struct store_iter it = store_iter(e->r->store, k, ns);
	const struct object *o;

	while (s && *n < PARAMS_MAX && (o = store_next(&it))) {
		const json_t *v = object_json(o);

		if (!label_selector_matches(s, json_at(v, "metadata.labels")))
			continue;
		apply_param(e, as, v);
		++*n;
	}
}

static void apply_params(struct eval *e, const struct kind *as, const struct kind *k,
			 const json_t *ref)
{
	const char *ns = json_str(ref, "namespace", ""), *name = json_str(ref, "name", "");
	const struct object *o;
	size_t n = 0;

	if (!k->namespaced && *ns) {
		misconfigured(e, e->b,
			      "paramRef.namespace must not be provided for a cluster-scoped "
			      "`paramKind`");
		return;
	}
	if (k->namespaced && !*ns)
		ns = e->q->ns;
	if (k->namespaced && !*ns) {
		misconfigured(e, e->b,
			      "cannot use namespaced paramRef in policy binding that matches "
			      "cluster-scoped resources");
		return;
	}
	if (*name) {
		o = store_get(e->r->store, k, k->namespaced ? ns : "", name);
		if (o)
			apply_param(e, as, object_json(o));
		n = o != NULL;
	} else {
		apply_selected(e, as, k, k->namespaced ? ns : "", json_object_get(ref, "selector"),
			       &n);
	}
	if (n == 0 && !streq(json_str(ref, "parameterNotFoundAction", "Deny"), "Allow"))
		misconfigured(e, e->b,
			      "no params found for policy binding with `Deny` "
			      "parameterNotFoundAction");
}

void policy_apply(struct registry *r, struct policy *p, const struct binding *b,
		  const struct review *q, const struct kind *as, struct cel_run *run,
		  struct decision *d)
{
	struct eval e = {.r = r, .p = p, .b = b, .q = q, .run = run, .d = d};
	const json_t *kind = json_object_get(p->spec, "paramKind");
	const json_t *ref = json_object_get(b->spec, "paramRef");
	const char *version = json_str(kind, "apiVersion", ""), *name = json_str(kind, "kind", "");
	const struct kind *k = kind ? kind_by_name(version, name) : NULL;

	make_ready(p);
	if (kind && !k)
		misconfigured(&e, NULL,
			      "failed to find resource referenced by paramKind: '%s, Kind=%s'",
			      version, name);
	else if (!kind || !ref)
		apply_param(&e, as, NULL);
	else
		apply_params(&e, as, k, ref);
}
