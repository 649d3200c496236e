/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The index of roles and bindings: subject -> bindings, role -> packed rules. It is kept by
 * watches, so that a request costs a few hash look-ups (kubernetes
 * plugin/pkg/auth/authorizer/rbac).
 */
#include "internal.h"

enum { KIND_ROLE, KIND_CLUSTER_ROLE, KIND_ROLE_BINDING, KIND_CLUSTER_ROLE_BINDING, KIND_COUNT };
static const struct kind *const kinds[KIND_COUNT] = {&kind_role, &kind_clusterrole,
						     &kind_rolebinding, &kind_clusterrolebinding};

struct grants {
	size_t n;
	struct grant *v;
};
struct rbac {
	struct store *store;
	struct store_watch *watches[KIND_COUNT];
	struct map roles;    /* "ns/name" -> struct role */
	struct map bindings; /* "ns/name" -> struct binding */
	struct map subjects; /* "u:name" or "g:name" -> struct grants */
};

/* ---- keeping ----------------------------------------------------------------------------- */

static void binding_free(struct binding *b)
{
	free(b->name);
	free(b->ns);
	free(b->role);
	strv_done(&b->subjects);
	free(b);
}

static void grants_free(struct grants *g)
{
	free(g->v);
	free(g);
}

/* The key of a subject; users and service accounts share a name space. Caller frees; NULL: none. */
static char *subject_key(const json_t *subject, const char *ns)
{
	const char *kind = json_str(subject, "kind", ""), *name = json_str(subject, "name", "");
	const char *of = json_str(subject, "namespace", "");

	if (streq(kind, "User"))
		return xasprintf("u:%s", name);
	if (streq(kind, "Group"))
		return xasprintf("g:%s", name);
	if (streq(kind, "ServiceAccount") && (*of || *ns))
		return xasprintf("u:system:serviceaccount:%s:%s", *of ? of : ns, name);
	return NULL;
}

static void grant_add(struct rbac *r, struct binding *b, char *key, bool account)
{
	struct grants *g = map_get(&r->subjects, key);

	if (!g) {
		g = xnew(struct grants);
		map_put(&r->subjects, key, g);
	}
	g->v = xrealloc(g->v, g->n + 1, sizeof(*g->v));
	g->v[g->n++] = (struct grant){b, account};
	strv_take(&b->subjects, key);
}

static void grants_drop(struct rbac *r, const struct binding *b, const char *key)
{
	struct grants *g = map_get(&r->subjects, key);
	size_t kept = 0;

	for (size_t i = 0; g && i < g->n; i++)
		if (g->v[i].binding != b)
			g->v[kept++] = g->v[i];
	if (g)
		g->n = kept;
	if (g && kept == 0)
		grants_free(map_del(&r->subjects, key));
}

static void binding_drop(struct rbac *r, const char *key)
{
	struct binding *b = map_del(&r->bindings, key);

	if (!b)
		return;
	for (size_t i = 0; i < b->subjects.n; i++)
		grants_drop(r, b, b->subjects.v[i]);
	binding_free(b);
}

static void binding_put(struct rbac *r, const char *key, const struct object *o)
{
	const json_t *obj = object_json(o);
	struct binding *b = xnew(struct binding);
	bool cluster = streq(json_str(obj, "roleRef.kind", ""), "ClusterRole");
	json_t *subject;
	size_t i;

	binding_drop(r, key);
	b->name = xstrdup(o->name);
	b->ns = xstrdup(o->ns);
	b->role = xasprintf("%s/%s", cluster ? "" : o->ns, json_str(obj, "roleRef.name", ""));
	map_put(&r->bindings, key, b);
	json_array_foreach(json_object_get(obj, "subjects"), i, subject)
	{
		char *subject_is = subject_key(subject, o->ns);

		if (subject_is)
			grant_add(r, b, subject_is,
				  streq(json_str(subject, "kind", ""), "ServiceAccount"));
	}
}

static void note(struct rbac *r, const struct object *o, bool gone)
{
	auto_free char *key = xasprintf("%s/%s", o->ns, o->name);
	bool role = o->kind == &kind_role || o->kind == &kind_clusterrole;

	if (!role && gone)
		binding_drop(r, key);
	else if (!role)
		binding_put(r, key, o);
	else if (gone)
		free(map_del(&r->roles, key));
	else
		free(map_put(&r->roles, key, role_pack(json_object_get(object_json(o), "rules"))));
}

static bool on_event(void *arg, const struct store_event *ev)
{
	note(arg, ev->obj, ev->type == STORE_DELETED);
	return true;
}

static void clear(struct rbac *r)
{
	const char *key;
	void *value;
	size_t i = 0;

	while (map_next(&r->roles, &i, &key, &value))
		free(value);
	for (i = 0; map_next(&r->bindings, &i, &key, &value);)
		binding_free(value);
	for (i = 0; map_next(&r->subjects, &i, &key, &value);)
		grants_free(value);
	map_done(&r->roles);
	map_done(&r->bindings);
	map_done(&r->subjects);
	for (i = 0; i < KIND_COUNT; i++) {
		store_watch_free(r->watches[i]);
		r->watches[i] = NULL;
	}
}

static void on_lost(void *arg);

static int follow(struct rbac *r, struct err *err)
{
	for (size_t i = 0; i < KIND_COUNT; i++) {
		struct store_iter it = store_iter(r->store, kinds[i], NULL);
		const struct object *o;

		r->watches[i] = store_watch_new(r->store, kinds[i], store_rev(r->store), on_event,
						on_lost, r, err);
		if (!r->watches[i])
			return -EIO;
		while ((o = store_next(&it)))
			note(r, o, false);
	}
	return 0;
}

/* More changes in a turn than the history holds: read everything again. */
static void on_lost(void *arg)
{
	struct rbac *r = arg;
	auto_err err = {0};

	clear(r);
	if (follow(r, &err) < 0)
		log_error("identity: %s", err_message(&err));
}

/* ---- asking ------------------------------------------------------------------------------ */

static bool visit_subject(const struct rbac *r, const char *key, const char *ns, bool cluster,
			  bool (*fn)(void *arg, const struct grant *g, const char *key), void *arg)
{
	const struct grants *g = map_get(&r->subjects, key);

	for (size_t i = 0; g && i < g->n; i++) {
		const char *where = g->v[i].binding->ns;

		if ((cluster ? !*where : *where && streq(where, ns)) && fn(arg, &g->v[i], key))
			return true;
	}
	return false;
}

bool rbac_visit(const struct rbac *r, const struct user *u, const char *ns,
		bool (*fn)(void *arg, const struct grant *g, const char *key), void *arg)
{
	for (int cluster = 1; cluster >= 0; cluster--) {
		auto_free char *user = xasprintf("u:%s", u->name);

		if (!cluster && !*ns)
			break;
		if (visit_subject(r, user, ns, cluster, fn, arg))
			return true;
		for (size_t i = 0; i < u->groups.n; i++) {
			auto_free char *group = xasprintf("g:%s", u->groups.v[i]);

			if (visit_subject(r, group, ns, cluster, fn, arg))
				return true;
		}
	}
	return false;
}

const struct role *rbac_role(const struct rbac *r, const char *key)
{
	return map_get(&r->roles, key);
}

char *role_missing(const char *key)
{
	return xasprintf("%srole.rbac.authorization.k8s.io \"%s\" not found",
			 *key == '/' ? "cluster" : "", strchr(key, '/') + 1);
}

struct question {
	const struct rbac *rbac;
	const struct access *access;
	const struct grant *by; /* who allowed it */
	char *by_key;
	struct strv missing;
};

static bool ask_one(void *arg, const struct grant *g, const char *key)
{
	struct question *q = arg;
	const struct role *role = rbac_role(q->rbac, g->binding->role);

	if (!role) {
		char *text = role_missing(g->binding->role);

		if (strv_has(&q->missing, text))
			free(text);
		else
			strv_take(&q->missing, text);
		return false;
	}
	if (!role_allows(role, q->access))
		return false;
	q->by = g;
	q->by_key = xstrdup(key);
	return true;
}

/* As upstream describes what allowed it. */
static char *allowed_by(const struct question *q)
{
	static const char account_prefix[] = "u:system:serviceaccount:";
	const struct binding *b = q->by->binding;
	const char *kind = *q->by_key == 'g' ? "Group" : q->by->account ? "ServiceAccount" : "User";
	auto_free char *name = xstrdup(q->by_key + 2);

	if (q->by->account) {
		const char *ns = q->by_key + strlen(account_prefix), *colon = strchr(ns, ':');

		free(name);
		name = xasprintf("%s/%.*s", colon + 1, (int)(colon - ns), ns);
	}
	return xasprintf("RBAC: allowed by %sRoleBinding \"%s%s%s\" of %sRole \"%s\" to %s \"%s\"",
			 *b->ns ? "" : "Cluster", b->name, *b->ns ? "/" : "", b->ns,
			 *b->role == '/' ? "Cluster" : "", strchr(b->role, '/') + 1, kind, name);
}

/* utilerrors.Aggregate: one as it is, several in brackets. */
static char *what_is_missing(const struct strv *missing)
{
	auto_strbuf b = {0};

	if (!missing->n)
		return NULL;
	for (size_t i = 0; i < missing->n; i++)
		strbuf_addf(&b, "%s%s", i ? ", " : "", missing->v[i]);
	return missing->n > 1 ? xasprintf("RBAC: [%s]", b.s) : xasprintf("RBAC: %s", b.s);
}

bool rbac_allows(const struct rbac *r, const struct user *u, const struct access *a,
		 char **ret_reason)
{
	struct question q = {.rbac = r, .access = a};
	bool yes = rbac_visit(r, u, a->path ? "" : a->ns, ask_one, &q);

	if (ret_reason)
		*ret_reason = yes ? allowed_by(&q) : what_is_missing(&q.missing);
	strv_done(&q.missing);
	free(q.by_key);
	return yes;
}

/* ---- lifetime ---------------------------------------------------------------------------- */

static void show_rbac(void *arg, json_t *rows)
{
	struct rbac *r = arg;
	const char *key;
	void *value;

	for (size_t i = 0; map_next(&r->subjects, &i, &key, &value);) {
		const struct grants *g = value;

		for (size_t j = 0; j < g->n; j++) {
			const struct binding *b = g->v[j].binding;
			const struct role *role = rbac_role(r, b->role);
			json_t *row = json_object();

			json_put_str(row, "subject", key + 2);
			json_put_str(row, "kind", *key == 'g' ? "group" : "user");
			json_put_str(row, "namespace", *b->ns ? b->ns : "*");
			json_put_str(row, "role", strchr(b->role, '/') + 1);
			json_put_int(row, "bytes", role ? (int64_t)role_bytes(role) : 0);
			json_array_append_new(rows, row);
		}
	}
}

struct rbac *rbac_new(struct store *store, struct err *err)
{
	struct rbac *r = xnew(struct rbac);

	r->store = store;
	if (follow(r, err) < 0) {
		rbac_free(r);
		return NULL;
	}
	show_register("rights", show_rbac, r);
	return r;
}

void rbac_free(struct rbac *r)
{
	if (!r)
		return;
	show_unregister("rights");
	clear(r);
	free(r);
}
