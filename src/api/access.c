/* SPDX-License-Identifier: Apache-2.0 */
/* May he? What the route asks of RBAC, and the refusal in Kubernetes' words. */
#include "internal.h"

/* ---- what is asked ----------------------------------------------------------------------- */

static const char *or_empty(const char *s)
{
	return s ? s : "";
}

/* Of what is no resource, the verb is the method (kubernetes endpoints/request/requestinfo.go). */
static const char *method_verb(const struct http_request *req)
{
	static const char *const verbs[] = {"get",    "post", "put",	"patch",
					    "delete", "head", "options"};

	for (size_t i = 0; i < ARRAY_SIZE(verbs); i++)
		if (strcasecmp(verbs[i], http_method(req)) == 0)
			return verbs[i];
	return "";
}

static bool is_list(const char *verb)
{
	return streq(verb, "list") || streq(verb, "watch") || streq(verb, "deletecollection");
}

/* A list of metadata.name=x is a question about x. */
static void select_name(struct call *c)
{
	static const char field[] = "metadata.name=";
	auto_free char *text = NULL;
	const char *value;

	if (c->target.name || c->selected || !is_list(c->verb))
		return;
	text = http_param(c->req, "fieldSelector");
	if (!text || !str_starts(text, field) || strchr(text, ','))
		return;
	value = text + strlen(field);
	value += *value == '=';
	c->selected = xstrdup(value);
}

static struct access attributes(struct call *c)
{
	const struct target *t = &c->target;
	struct access a = {.verb = c->verb};

	if (c->route ? c->route->asks == ASK_PATH : !t->plural) {
		a.verb = method_verb(c->req);
		a.path = http_path(c->req);
	}
	if (!a.path)
		select_name(c);
	a.group = or_empty(t->group);
	a.version = or_empty(t->version);
	a.resource = or_empty(t->plural);
	a.sub = or_empty(t->sub);
	a.ns = or_empty(t->ns);
	a.name = t->name ? t->name : or_empty(c->selected);
	/* A namespace is in itself: rights of a RoleBinding inside it count. */
	if (t->name && !*a.ns && !*a.group && streq(a.resource, "namespaces"))
		a.ns = t->name;
	return a;
}

/* PUT and server-side apply make what is not there: that is a create, too. */
static bool makes(struct call *c)
{
	const struct target *t = &c->target;
	char type[64];

	if (!c->route || c->route->asks != ASK_RESOURCE || !t->kind || !t->name || t->sub ||
	    store_get(c->api->store, t->kind, or_empty(t->ns), t->name))
		return false;
	if (streq(c->verb, "update"))
		return t->kind->create_on_update;
	content_type(c->req, type);
	return streq(c->verb, "patch") && str_starts(type, "application/apply-patch");
}

/* ---- refusals ---------------------------------------------------------------------------- */

/* What a browser would take for markup; upstream's sanitizer. */
static char *sanitize(const char *text)
{
	auto_strbuf b = {0};

	for (; *text; text++) {
		if (*text == '&')
			strbuf_adds(&b, "&amp;");
		else if (*text == '<')
			strbuf_adds(&b, "&lt;");
		else if (*text == '>')
			strbuf_adds(&b, "&gt;");
		else
			strbuf_addc(&b, *text);
	}
	return strbuf_steal(&b);
}

static char *forbidden_text(const struct user *u, const struct access *a)
{
	auto_free char *where = NULL;

	if (a->path)
		return xasprintf("User \"%s\" cannot %s path \"%s\"", u->name, a->verb, a->path);
	where = *a->ns ? xasprintf("in the namespace \"%s\"", a->ns)
		       : xstrdup("at the cluster scope");
	return xasprintf("User \"%s\" cannot %s resource \"%s%s%s\" in API group \"%s\" %s",
			 u->name, a->verb, a->resource, *a->sub ? "/" : "", a->sub, a->group,
			 where);
}

int access_error(struct err *err, const struct user *u, const struct access *a, const char *reason)
{
	auto_free char *raw = forbidden_text(u, a), *text = sanitize(raw);
	auto_free char *what =
		a->path ? xstrdup("")
			: xasprintf("%s%s%s%s%s%s is ", a->resource, *a->group ? "." : "", a->group,
				    *a->name ? " \"" : "", a->name, *a->name ? "\"" : "");

	if (!a->path)
		err_about(err, a->resource, a->group, a->name);
	return err_set(err, ERR_FORBIDDEN, "%sforbidden: %s%s%s", what, text, reason ? ": " : "",
		       reason ? reason : "");
}

bool access_granted(struct call *c, const struct access *a)
{
	auto_free char *reason = NULL;
	auto_err err = {0};

	if (identity_allows(c->api->config.identity, &c->user, a, &reason))
		return true;
	access_error(&err, &c->user, a, reason);
	call_reply_err(c, &err);
	return false;
}

bool access_permitted(struct call *c)
{
	const struct access a = attributes(c);

	return identity_allows(c->api->config.identity, &c->user, &a, NULL);
}

bool access_check(struct call *c)
{
	struct access a = attributes(c);

	if (!access_granted(c, &a))
		return false;
	if (c->user.admin || !makes(c))
		return true;
	a.verb = "create";
	return access_granted(c, &a);
}
