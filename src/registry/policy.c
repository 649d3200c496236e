/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ValidatingAdmissionPolicy (apiserver pkg/admission/plugin/policy): which policies a write has to
 * meet. How one is evaluated is in policy_eval.c. Policies are compiled when a write first matches
 * them, and again when they or their bindings change.
 */
#include "policy.h"

/* ---- the list --------------------------------------------------------------------------- */

static void match_init(struct match *m, const json_t *json)
{
	auto_err err = {0};
	const json_t *ns = json_object_get(json, "namespaceSelector");
	const json_t *object = json_object_get(json, "objectSelector");

	m->json = json;
	m->exact = streq(json_str(json, "matchPolicy", ""), "Exact");
	m->ns = json_object_size(ns) ? label_selector_from_json(ns, &err) : NULL;
	m->object = json_object_size(object) ? label_selector_from_json(object, &err) : NULL;
}

static void match_done(struct match *m)
{
	label_selector_free(m->ns);
	label_selector_free(m->object);
}

static void free_expressions(struct expressions *l)
{
	for (size_t i = 0; i < l->n; i++) {
		cel_program_free(l->v[i].program);
		free(l->v[i].error);
	}
	free(l->v);
}

static void clear(struct policies *all)
{
	for (size_t i = 0; i < all->n; i++) {
		struct policy *p = &all->v[i];

		free_expressions(&p->conditions);
		free_expressions(&p->rules);
		free_expressions(&p->messages);
		free_expressions(&p->audits);
		policy_scope_free(p->scope);
		match_done(&p->match);
		json_decref(p->spec);
		free(p->name);
	}
	for (size_t i = 0; i < all->n_bindings; i++) {
		match_done(&all->bindings[i].match);
		json_decref(all->bindings[i].spec);
		free(all->bindings[i].name);
	}
	free(all->v);
	free(all->bindings);
	all->v = NULL;
	all->bindings = NULL;
	all->n = all->n_bindings = 0;
}

static json_t *spec_of(const struct object *o)
{
	json_t *spec = json_deep_copy(json_object_get(object_json(o), "spec"));

	return spec ? spec : json_object();
}

static void load(struct registry *r)
{
	struct policies *all = &r->policies;
	struct store_iter it = store_iter(r->store, &kind_validatingadmissionpolicy, NULL);
	const struct object *o;

	clear(all);
	all->stale = false;
	all->v = xcalloc(store_count(r->store, &kind_validatingadmissionpolicy) + 1,
			 sizeof(*all->v));
	all->bindings = xcalloc(store_count(r->store, &kind_validatingadmissionpolicybinding) + 1,
				sizeof(*all->bindings));
	while ((o = store_next(&it))) {
		struct policy *p = &all->v[all->n++];

		p->name = xstrdup(o->name);
		p->spec = spec_of(o);
		match_init(&p->match, json_object_get(p->spec, "matchConstraints"));
	}
	it = store_iter(r->store, &kind_validatingadmissionpolicybinding, NULL);
	while ((o = store_next(&it))) {
		struct binding *b = &all->bindings[all->n_bindings++];

		b->name = xstrdup(o->name);
		b->spec = spec_of(o);
		match_init(&b->match, json_object_get(b->spec, "matchResources"));
	}
}

static bool on_change(void *arg, const struct store_event *ev UNUSED)
{
	struct registry *r = arg;

	r->policies.stale = true;
	return true;
}

/* The watch fell behind: whatever was missed is read again. */
static void on_lost(void *arg)
{
	struct registry *r = arg;
	auto_err err = {0};

	policies_done(r);
	(void)!policies_init(r, &err);
}

int policies_init(struct registry *r, struct err *err)
{
	static const struct kind *const kinds[] = {&kind_validatingadmissionpolicy,
						   &kind_validatingadmissionpolicybinding};

	r->policies.stale = true;
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		r->policies.watches[i] = store_watch_new(r->store, kinds[i], store_rev(r->store),
							 on_change, on_lost, r, err);
		if (!r->policies.watches[i])
			return -EIO;
	}
	return 0;
}

void policies_done(struct registry *r)
{
	for (size_t i = 0; i < ARRAY_SIZE(r->policies.watches); i++) {
		store_watch_free(r->policies.watches[i]);
		r->policies.watches[i] = NULL;
	}
	clear(&r->policies);
}

/* ---- matching --------------------------------------------------------------------------- */

static bool list_has(const json_t *list, const char *word)
{
	json_t *v;
	size_t i;

	json_array_foreach(list, i, v)
	{
		const char *s = json_string_value(v);

		if (s && (streq(s, "*") || streq(s, word)))
			return true;
	}
	return false;
}

/* "pods", "pods/status", a star for either side. */
static bool resource_matches(const char *pattern, const char *plural, const char *sub)
{
	const char *slash = strchr(pattern, '/');
	size_t n = slash ? (size_t)(slash - pattern) : strlen(pattern);

	if (!(n == 1 && *pattern == '*') &&
	    !(n == strlen(plural) && memcmp(pattern, plural, n) == 0))
		return false;
	if (!slash)
		return !sub;
	return streq(slash + 1, "*") || (sub && streq(slash + 1, sub));
}

static bool resources_match(const json_t *list, const char *plural, const char *sub)
{
	json_t *v;
	size_t i;

	json_array_foreach(list, i,
			   v) if (resource_matches(json_string_value(v), plural, sub)) return true;
	return false;
}

/* The version of the kind that a rule speaks of; NULL: of none. */
static const struct kind *version_of(const json_t *rule, const struct kind *k, bool exact)
{
	const json_t *groups = json_object_get(rule, "apiGroups"), *g, *v;
	const json_t *versions = json_object_get(rule, "apiVersions");
	size_t i, j;

	if (list_has(groups, k->group) && list_has(versions, k->version))
		return k;
	if (exact)
		return NULL;
	json_array_foreach(groups, i, g)
	{
		const char *group = json_string_value(g);

		json_array_foreach(versions, j, v)
		{
			const struct kind *other = kind_find(streq(group, "*") ? k->group : group,
							     json_string_value(v), k->plural);

			if (other && kind_same(other, k))
				return other;
		}
	}
	return NULL;
}

static const struct kind *rule_matches(const json_t *rule, const struct review *q, bool exact)
{
	const char *scope = json_str(rule, "scope", "*");
	const json_t *names = json_object_get(rule, "resourceNames");

	if (!list_has(json_object_get(rule, "operations"), q->operation) ||
	    !resources_match(json_object_get(rule, "resources"), q->kind->plural, q->sub))
		return NULL;
	if (!streq(scope, "*") && q->kind->namespaced != streq(scope, "Namespaced"))
		return NULL;
	if (json_array_size(names) && !list_has(names, q->name))
		return NULL;
	return version_of(rule, q->kind, exact);
}

static const struct kind *rules_match(const json_t *rules, const struct review *q, bool exact)
{
	const struct kind *k = NULL;
	json_t *rule;
	size_t i;

	json_array_foreach(rules, i, rule)
	{
		k = rule_matches(rule, q, exact);
		if (k)
			break;
	}
	return k;
}

static const json_t *labels_of(const json_t *obj)
{
	return json_at(obj, "metadata.labels");
}

static bool namespace_matches(struct registry *r, const struct match *m, const struct review *q)
{
	const struct object *ns;

	if (!m->ns)
		return true;
	if (q->kind == &kind_namespace)
		return label_selector_matches(m->ns, labels_of(q->obj ? q->obj : q->old));
	if (!q->kind->namespaced)
		return true;
	ns = store_get(r->store, &kind_namespace, "", q->ns);
	return ns && label_selector_matches(m->ns, labels_of(object_json(ns)));
}

/* *ret_kind: the version that the rules speak of. Without rules everything matches. */
static bool matches(struct registry *r, const struct match *m, const struct review *q,
		    const struct kind **ret_kind)
{
	const json_t *rules = json_object_get(m->json, "resourceRules");

	if (json_array_size(rules)) {
		const struct kind *k = rules_match(rules, q, m->exact);

		if (!k)
			return false;
		if (ret_kind)
			*ret_kind = k;
	}
	if (rules_match(json_object_get(m->json, "excludeResourceRules"), q, m->exact))
		return false;
	if (m->object && !(q->obj && label_selector_matches(m->object, labels_of(q->obj))) &&
	    !(q->old && label_selector_matches(m->object, labels_of(q->old))))
		return false;
	return namespace_matches(r, m, q);
}

/* ---- decisions -------------------------------------------------------------------------- */

void decide_deny(struct decision *d, const struct policy *p, const struct binding *b,
		 const char *reason, const char *message)
{
	if (d->message)
		return;
	d->reason = reason;
	d->message = b ? xasprintf("ValidatingAdmissionPolicy '%s' with binding '%s' denied "
				   "request: %s",
				   p->name, b->name, message)
		       : xasprintf("ValidatingAdmissionPolicy '%s' denied request: %s", p->name,
				   message);
}

static int refuse(const struct review *q, const struct decision *d, struct err *err)
{
	static const struct {
		const char *name;
		enum err_reason reason;
	} reasons[] = {{"Invalid", ERR_INVALID},
		       {"Forbidden", ERR_FORBIDDEN},
		       {"Unauthorized", ERR_UNAUTHORIZED},
		       {"RequestEntityTooLarge", ERR_REQUEST_TOO_LARGE}};
	int rc = fail_forbidden(err, q->kind, q->name, "%s", d->message);

	for (size_t i = 0; err && i < ARRAY_SIZE(reasons); i++)
		if (streq(reasons[i].name, d->reason))
			err->reason = reasons[i].reason;
	err_cause_add(err, NULL, NULL, "%s", d->message);
	return rc;
}

static void review_policy(struct registry *r, struct policy *p, const struct review *q,
			  struct cel_run *run, struct decision *d)
{
	struct policies *all = &r->policies;
	const struct kind *as = q->kind;
	bool matched = false;

	for (size_t i = 0; i < all->n_bindings; i++) {
		const struct binding *b = &all->bindings[i];

		if (!streq(json_str(b->spec, "policyName", ""), p->name))
			continue;
		if (!matched && !matches(r, &p->match, q, &as))
			return;
		matched = true;
		if (matches(r, &b->match, q, NULL))
			policy_apply(r, p, b, q, as, run, d);
	}
}

/* Nothing keeps anybody from mending what decides about writes. */
static bool is_exempt(const struct kind *k)
{
	return streq(k->group, "admissionregistration.k8s.io");
}

int policy_review(struct registry *r, const struct review *q, struct err *err)
{
	struct policies *all = &r->policies;
	struct decision d = {0};
	struct cel_host host;
	struct cel_run *run;
	int rc = 0;

	breath_hold(); /* policies must not change meanwhile */
	if (all->stale)
		load(r);
	if (!all->n_bindings || !all->n || is_exempt(q->kind)) {
		breath_release();
		return 0;
	}
	host = *schema_cel_host();
	if (q->o->by) {
		host.authorize = q->o->by->authorize;
		host.arg = q->o->by->arg;
	}
	run = cel_run_new(&host);
	for (size_t i = 0; i < all->n; i++)
		review_policy(r, &all->v[i], q, run, &d);
	cel_run_free(run);
	json_decref(d.request);
	if (d.message)
		rc = refuse(q, &d, err);
	free(d.message);
	breath_release();
	return rc;
}

int registry_connect(struct registry *r, const struct kind *k, const char *subresource,
		     const char *ns, const char *name, const json_t *options,
		     const struct write_options *o, struct err *err)
{
	return policy_review(r,
			     &(struct review){.kind = k,
					      .sub = subresource,
					      .operation = "CONNECT",
					      .ns = ns,
					      .name = name,
					      .obj = options,
					      .o = o},
			     err);
}
