/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rule lists as they stand in the objects: all that a user has, and whether one list allows
 * whatever another does (kubernetes component-helpers/auth/rbac/validation/policy_comparator.go).
 */
#include "internal.h"

/* A grant is taken apart into single permissions; nobody writes so many by hand. */
#define SINGLE_MAX 10000

/* ---- lists ------------------------------------------------------------------------------- */

static bool has(const json_t *list, const char *s)
{
	json_t *v;
	size_t i;

	json_array_foreach(list, i, v) if (str_eq(json_string_value(v), s)) return true;
	return false;
}

/* One permission: either a URL, or a resource with or without a name. */
struct single {
	const char *verb, *url;
	const char *group, *resource, *name;
};

static bool covers_resource(const json_t *list, const char *resource)
{
	const char *slash = strchr(resource, '/');

	if (has(list, "*") || has(list, resource))
		return true;
	if (!slash)
		return false;
	auto_free char *any = xasprintf("*%s", slash);

	return has(list, any);
}

static bool covers_url(const json_t *list, const char *url)
{
	json_t *v;
	size_t i;

	json_array_foreach(list, i, v)
	{
		const char *s = json_string_value(v);
		size_t len = s ? strlen(s) : 0;

		if (len && (streq(s, url) || (s[len - 1] == '*' && strncmp(s, url, len - 1) == 0)))
			return true;
	}
	return false;
}

static bool covers_name(const json_t *list, const char *name)
{
	return json_array_size(list) == 0 || (name && has(list, name));
}

static bool rule_covers(const json_t *rule, const struct single *s)
{
	const json_t *verbs = json_object_get(rule, "verbs");

	if (!has(verbs, "*") && !has(verbs, s->verb))
		return false;
	if (s->url)
		return covers_url(json_object_get(rule, "nonResourceURLs"), s->url);
	const json_t *groups = json_object_get(rule, "apiGroups");

	return (has(groups, "*") || has(groups, s->group)) &&
	       covers_resource(json_object_get(rule, "resources"), s->resource) &&
	       covers_name(json_object_get(rule, "resourceNames"), s->name);
}

/* ---- comparing --------------------------------------------------------------------------- */

struct comparison {
	const json_t *have;
	struct strv *missing; /* may be NULL */
	size_t n;	      /* permissions looked at */
	bool good;
};

static bool covered(const struct comparison *c, const struct single *s)
{
	json_t *rule;
	size_t i;

	json_array_foreach(c->have, i, rule) if (rule_covers(rule, s)) return true;
	return false;
}

/* rbacv1helpers.CompactString */
static void describe(struct comparison *c, const struct single *s, const char *verbs)
{
	auto_strbuf b = {0};

	if (!c->missing)
		return;
	if (s->url)
		strbuf_addf(&b, "{NonResourceURLs:[\"%s\"]", s->url);
	else
		strbuf_addf(&b, "{APIGroups:[\"%s\"], Resources:[\"%s\"]", s->group, s->resource);
	if (s->name)
		strbuf_addf(&b, ", ResourceNames:[\"%s\"]", s->name);
	strbuf_addf(&b, ", Verbs:[%s]}", verbs);
	if (!strv_has(c->missing, b.s))
		strv_add(c->missing, b.s);
}

/* The verbs of one resource or URL; those that are missing are told together. */
static void compare_verbs(struct comparison *c, const json_t *verbs, struct single s)
{
	auto_strbuf lacking = {0};
	json_t *v;
	size_t i;

	json_array_foreach(verbs, i, v)
	{
		s.verb = json_string_value(v);
		if (!s.verb || covered(c, &s))
			continue;
		strbuf_addf(&lacking, "%s\"%s\"", lacking.len ? " " : "", s.verb);
	}
	c->n += json_array_size(verbs);
	if (!lacking.len)
		return;
	c->good = false;
	describe(c, &s, lacking.s);
}

static void compare_names(struct comparison *c, const json_t *rule, struct single s)
{
	const json_t *names = json_object_get(rule, "resourceNames");
	const json_t *verbs = json_object_get(rule, "verbs");
	json_t *v;
	size_t i;

	if (json_array_size(names) == 0)
		compare_verbs(c, verbs, s);
	json_array_foreach(names, i, v)
	{
		s.name = json_string_value(v);
		if (c->n < SINGLE_MAX)
			compare_verbs(c, verbs, s);
	}
}

static void compare_rule(struct comparison *c, const json_t *rule)
{
	json_t *group, *resource, *url;
	size_t i, j;

	json_array_foreach(json_object_get(rule, "nonResourceURLs"), i, url)
	{
		struct single s = {.url = json_string_value(url)};

		if (s.url && c->n < SINGLE_MAX)
			compare_verbs(c, json_object_get(rule, "verbs"), s);
	}
	json_array_foreach(json_object_get(rule, "apiGroups"), i, group)
		json_array_foreach(json_object_get(rule, "resources"), j, resource)
	{
		struct single s = {.group = json_string_value(group),
				   .resource = json_string_value(resource)};

		if (s.group && s.resource && c->n < SINGLE_MAX)
			compare_names(c, rule, s);
	}
}

bool rules_cover(const json_t *have, const json_t *want, struct strv *missing)
{
	struct comparison c = {.have = have, .missing = missing, .good = true};
	json_t *rule;
	size_t i;

	json_array_foreach(want, i, rule) compare_rule(&c, rule);
	if (c.n >= SINGLE_MAX) {
		if (missing)
			strv_addf(missing, "(more than %d permissions at once)", SINGLE_MAX);
		return false;
	}
	return c.good;
}

/* ---- what a user has --------------------------------------------------------------------- */

struct collection {
	const struct identity *id;
	json_t *rules;
	struct strv seen; /* roles */
};

static bool collect(void *arg, const struct grant *g, const char *key UNUSED)
{
	struct collection *c = arg;
	const char *role = g->binding->role, *slash = strchr(role, '/');
	auto_free char *ns = xstrndup(role, (size_t)(slash - role));
	const struct object *o;

	if (strv_has(&c->seen, role))
		return false;
	strv_add(&c->seen, role);
	o = store_get(c->id->store, *ns ? &kind_role : &kind_clusterrole, ns, slash + 1);
	if (o)
		json_array_extend(c->rules, json_object_get(object_json(o), "rules"));
	return false;
}

json_t *identity_rules(const struct identity *id, const struct user *u, const char *ns)
{
	struct collection c = {.id = id, .rules = json_array()};

	rbac_visit(id->rbac, u, ns, collect, &c);
	strv_done(&c.seen);
	return c.rules;
}

static int by_text(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

int identity_may_grant(const struct identity *id, const struct user *u, const char *ns,
		       const json_t *rules, const struct kind *k, const char *name, struct err *err)
{
	json_auto_t *have = u->admin ? NULL : identity_rules(id, u, ns);
	auto_strv missing = {0};
	auto_strbuf groups = {0}, list = {0};
	char resource[API_VERSION_MAX];

	if (u->admin || rules_cover(have, rules, &missing))
		return 0;
	if (missing.n)
		qsort(missing.v, missing.n, sizeof(*missing.v), by_text);
	for (size_t i = 0; i < u->groups.n; i++)
		strbuf_addf(&groups, "%s\"%s\"", i ? " " : "", u->groups.v[i]);
	for (size_t i = 0; i < missing.n; i++)
		strbuf_addf(&list, "\n%s", missing.v[i]);
	err_about(err, k->plural, k->group, name);
	return err_set(err, ERR_FORBIDDEN,
		       "%s \"%s\" is forbidden: user \"%s\" (groups=[%s]) is attempting to grant "
		       "RBAC permissions not currently held:%s",
		       kind_resource(k, resource), name, u->name, groups.s ? groups.s : "",
		       list.s ? list.s : "");
}
