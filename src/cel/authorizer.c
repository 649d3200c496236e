/* SPDX-License-Identifier: Apache-2.0 */
/* What an expression may ask of authorization: checks are put together part by part. */
#include "internal.h"

typedef struct cel_value val;

/* Also the value of kind CEL_DECISION. */
struct check {
	struct cel_access access;
	const struct cel_access *request;
	bool allowed;
	const char *reason;
};

static struct check *derive(struct cel_run *r, const val *from)
{
	struct check *c = run_take(r, sizeof(*c));

	if (c && from)
		*c = *(const struct check *)from->ptr;
	return c;
}

static val make(struct cel_run *r, enum cel_kind kind, struct check *c)
{
	return c ? val_ptr(kind, c) : run_over(r);
}

val cel_authorizer(struct cel_run *r, const struct cel_access *request)
{
	struct check *c = derive(r, NULL);
	struct cel_access *copy = request ? run_take(r, sizeof(*copy)) : NULL;

	if (copy)
		*copy = *request;
	if (c)
		c->request = copy;
	return make(r, CEL_AUTHORIZER, c);
}

val authorizer_request(struct cel_run *r, const val *v)
{
	struct check *c = derive(r, v);
	const char *user, *ns;

	if (c && c->request) {
		user = c->access.user;
		ns = c->access.namespace;
		c->access = *c->request;
		c->access.user = user;
		c->access.namespace = ns;
	}
	return make(r, CEL_RESOURCE_CHECK, c);
}

/* One more part of a check, kept in a member of struct cel_access. */
#define PART(fn, to, member)                                                                       \
	static val fn(struct cel_run *r, const val *a, size_t n UNUSED)                            \
	{                                                                                          \
		struct check *c = derive(r, a);                                                    \
                                                                                                   \
		if (c)                                                                             \
			c->access.member = val_cstr(r, a[1]);                                      \
		return make(r, to, c);                                                             \
	}
PART(fn_path, CEL_PATH_CHECK, path)
PART(fn_group, CEL_GROUP_CHECK, group)
PART(fn_resource, CEL_RESOURCE_CHECK, resource)
PART(fn_subresource, CEL_RESOURCE_CHECK, subresource)
PART(fn_namespace, CEL_RESOURCE_CHECK, in_namespace)
PART(fn_name, CEL_RESOURCE_CHECK, name)

/* Selectors narrow what is asked about; whoever may do it without them may do it with them. */
static val fn_selector(struct cel_run *r UNUSED, const val *a, size_t n UNUSED)
{
	return a[0];
}

static val fn_service_account(struct cel_run *r, const val *a, size_t n UNUSED)
{
	struct check *c = derive(r, a);

	if (!c)
		return run_over(r);
	c->access.namespace = val_cstr(r, a[1]);
	auto_free char *user =
		xasprintf("system:serviceaccount:%s:%s", c->access.namespace, val_cstr(r, a[2]));

	c->access.user = arena_text(&r->arena, user, strlen(user));
	return make(r, CEL_AUTHORIZER, c);
}

static val fn_check(struct cel_run *r, const val *a, size_t n UNUSED)
{
	struct check *c = derive(r, a);

	/* what Kubernetes counts for one */
	if (!c || run_charge(r, 350000))
		return run_over(r);
	c->access.verb = val_cstr(r, a[1]);
	c->reason = "";
	c->allowed = r->host && r->host->authorize &&
		     r->host->authorize(r->host->arg, &c->access, &c->reason);
	return make(r, CEL_DECISION, c);
}

static val fn_allowed(struct cel_run *r UNUSED, const val *a, size_t n UNUSED)
{
	return val_bool(((const struct check *)a->ptr)->allowed);
}

static val fn_reason(struct cel_run *r UNUSED, const val *a, size_t n UNUSED)
{
	return val_str(((const struct check *)a->ptr)->reason);
}

/* Asking never fails here. */
static val fn_errored(struct cel_run *r UNUSED, const val *a UNUSED, size_t n UNUSED)
{
	return val_bool(false);
}

static val fn_error(struct cel_run *r UNUSED, const val *a UNUSED, size_t n UNUSED)
{
	return val_str("");
}

static const struct function table[] = {
	{"path", "P:Zs", fn_path, true},
	{"group", "G:Zs", fn_group, true},
	{"serviceAccount", "Z:Zss", fn_service_account, true},
	{"resource", "R:Gs", fn_resource, true},
	{"subresource", "R:Rs", fn_subresource, true},
	{"namespace", "R:Rs", fn_namespace, true},
	{"name", "R:Rs", fn_name, true},
	{"fieldSelector", "R:Rs", fn_selector, true},
	{"labelSelector", "R:Rs", fn_selector, true},
	{"check", "X:Ps", fn_check, true},
	{"check", "X:Rs", fn_check, true},
	{"allowed", "b:X", fn_allowed, true},
	{"reason", "s:X", fn_reason, true},
	{"errored", "b:X", fn_errored, true},
	{"error", "s:X", fn_error, true},
};
const struct functions authorizer_functions = {table, ARRAY_SIZE(table)};
