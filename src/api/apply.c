/* SPDX-License-Identifier: Apache-2.0 */
/* PATCH with application/apply-patch+yaml: the applied configuration is read and checked here;
 * merging, owners and conflicts are the registry's. */
#include "internal.h"

/* The type that is applied: the target's, or that of its subresource. */
struct applied_type {
	const struct message *m;
	const char *api_version, *kind;
};

static int check_applied(const struct call *c, const struct applied_type *t, json_t *obj,
			 struct err *err)
{
	const char *name = meta_name(obj), *v = json_str(obj, "apiVersion", "");

	if (!streq(v, t->api_version))
		return err_set(
			err, ERR_BAD_REQUEST,
			"Incorrect version specified in apply patch. Specified patch version: "
			"%s, expected: %s",
			v, t->api_version);
	if (!streq(json_str(obj, "kind", ""), t->kind))
		return err_set(err, ERR_BAD_REQUEST,
			       "the kind in the data (%s) does not match the "
			       "expected kind (%s)",
			       json_str(obj, "kind", ""), t->kind);
	const json_t *managed = json_at(obj, "metadata.managedFields");

	if (managed && !json_is_null(managed))
		return err_set(err, ERR_BAD_REQUEST, "metadata.managedFields must be nil");
	if (*name && !streq(name, c->target.name))
		return err_set(
			err, ERR_BAD_REQUEST,
			"the name of the object (%s) does not match the name on the URL (%s)", name,
			c->target.name);
	json_put_str(obj, "metadata.name", c->target.name);
	return 0;
}

/* ---- what the tables do not know --------------------------------------------------------- */

/* `spec.containers[0].imagee` as apply writes it, with the keys of list items for their places. */
static char *typed_path(const struct message *m, const json_t *obj, const char *path)
{
	char *out = xstrdup("");
	const struct field *f = NULL;
	const json_t *v = obj;

	while (*path) {
		size_t n = strcspn(path, ".[");
		auto_free char *step = NULL;
		char *longer;

		if (*path == '[') {
			size_t i = strtoul(path + 1, NULL, 10);

			n = strcspn(path, "]") + 1;
			v = json_array_get(v, i);
			m = f ? f->message : NULL;
			step = f && v && (f->list == LIST_MAP || f->list == LIST_SET)
				       ? field_item_key(f, v)
				       : NULL;
			longer = step ? field_path(out, step)
				      : xasprintf("%s%.*s", out, (int)n, path);
		} else {
			auto_free char *name = xstrndup(path, n);

			longer = xasprintf("%s.%s", out, name);
			f = m ? message_field(m, name) : NULL;
			v = json_object_get(v, name);
			m = f && f->list == LIST_NONE ? f->message : NULL;
		}
		free(out);
		out = longer;
		path += n;
		path += *path == '.';
	}
	return out;
}

/* Problems of the body by the decoder's words: unknown fields are never let through here. */
static void add_unknown(const struct message *m, const json_t *obj, const struct strv *found,
			struct strv *problems)
{
	static const char unknown[] = "unknown field \"";

	for (size_t i = 0; i < found->n; i++) {
		if (!str_starts(found->v[i], unknown))
			continue;
		auto_free char *path = xstrdup(found->v[i] + strlen(unknown));

		path[strcspn(path, "\"")] = '\0';
		auto_free char *typed = typed_path(m, obj, path);

		strv_addf(problems, "%s: field not declared in schema", typed);
	}
}

static int fail_untyped(const struct call *c, const struct applied_type *t,
			const struct strv *problems, struct err *err)
{
	auto_strbuf b = {0};

	for (size_t i = 0; i < problems->n; i++)
		strbuf_addf(&b, problems->n == 1 ? "%s" : "\n  %s", problems->v[i]);
	/* A plain error upstream: no reason, 500. */
	return err_set(err, ERR_UNKNOWN,
		       "failed to create typed patch object (%s/%s; %s, Kind=%s): %s%s",
		       c->target.ns ? c->target.ns : "", c->target.name, t->api_version, t->kind,
		       problems->n == 1 ? "" : "errors:", b.s);
}

/* Duplicate keys follow fieldValidation. */
static int check_duplicates(struct call *c, const struct strv *found, struct err *err)
{
	enum field_validation mode;
	int rc = call_validation(c, &mode, err);
	auto_strbuf b = {0};

	for (size_t i = 0; rc == 0 && i < found->n; i++) {
		if (str_starts(found->v[i], "unknown field "))
			continue;
		if (mode == FIELDS_WARN)
			strv_add(&c->warnings, found->v[i]);
		strbuf_addf(&b, "\n  %s", found->v[i]);
	}
	if (rc < 0 || !b.len || mode != FIELDS_STRICT)
		return rc;
	return err_set(err, ERR_BAD_REQUEST,
		       "error strict decoding YAML: error converting YAML to JSON: yaml: unmarshal "
		       "errors:%s",
		       b.s);
}

static json_t *read_applied(struct call *c, const struct applied_type *t, struct err *err)
{
	const char *slash = strrchr(t->api_version, '/');
	auto_free char *what =
		xasprintf("%s in version \"%s\"", t->kind, slash ? slash + 1 : t->api_version);
	auto_strv found = {0}, problems = {0};
	size_t len;
	const char *text = http_body(c->req, &len);
	json_auto_t *obj = schema_decode_applied(t->m, what, text, len, &found, err);

	if (!obj)
		return NULL;
	if (!json_is_object(obj)) {
		err_set(err, ERR_BAD_REQUEST, "the body of the request must be an object");
		return NULL;
	}
	if (check_applied(c, t, obj, err) < 0)
		return NULL;
	add_unknown(t->m, obj, &found, &problems);
	fields_check(t->m, obj, &problems);
	if (problems.n) {
		fail_untyped(c, t, &problems, err);
		return NULL;
	}
	if (check_duplicates(c, &found, err) < 0)
		return NULL;
	return steal_ptr(obj);
}

/* ---- the request ------------------------------------------------------------------------- */

static int check_manager(struct call *c, struct err *err)
{
	auto_free char *named = http_param(c->req, "fieldManager");

	if (!str_empty(named))
		return 0;
	return option_invalid(c, "FieldValueRequired", "fieldManager",
			      "Required value: is required for apply patch", err);
}

json_t *apply_body(struct call *c, const struct message *m, const char *api_version,
		   const char *kind, struct write_options *o, struct err *err)
{
	const struct applied_type t = {m, api_version, kind};

	if (check_manager(c, err) < 0 || call_dry_run(c, &o->dry_run, err) < 0 ||
	    call_manager(c, &o->field_manager, err) < 0)
		return NULL;
	o->force = call_bool(c, "force");
	return read_applied(c, &t, err);
}

void handle_apply(struct call *c)
{
	const struct kind *k = c->target.kind;
	const char *ns = c->target.ns ? c->target.ns : "";
	struct write_options w = write_options_for(c);
	char version[API_VERSION_MAX];
	const struct object *o;
	bool created = false;
	auto_err err = {0};
	json_auto_t *applied =
		apply_body(c, k->message, kind_api_version(k, version), k->kind, &w, &err);

	if (!applied || registry_apply(c->api->registry, k, c->target.sub, ns, c->target.name,
				       applied, &w, &o, &created, &err) < 0) {
		if (!call_again(c, &err))
			call_reply_err(c, &err);
	} else if (w.dry_run)
		call_reply_object(c, created ? 201 : 200, o);
	else
		write_wait(c, created ? 201 : 200, o);
}
