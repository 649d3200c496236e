/* SPDX-License-Identifier: Apache-2.0 */
/*
 * PATCH: the three patches that are made of the stored object; apply is apply.c's. What a patch
 * makes is checked like a body; problems are told as apiserver's patch handler does, as an invalid
 * value of the patch.
 */
#include "internal.h"

#define PATCH_OPERATIONS_MAX 10000
/* Of the patch, or what came of it, in a message. */
#define VALUE_MAX 4096
#define VALUES_MAX 200000 /* in a patch, of any type, at any depth */

enum patch_type { PATCH_JSON, PATCH_MERGE, PATCH_STRATEGIC, PATCH_APPLY };
static const struct {
	const char *type;
	enum patch_type patch;
} patch_types[] = {
	{"application/json-patch+json", PATCH_JSON},
	{"application/merge-patch+json", PATCH_MERGE},
	{"application/strategic-merge-patch+json", PATCH_STRATEGIC},
	{"application/apply-patch+yaml", PATCH_APPLY},
};

struct patch {
	enum patch_type type;
	json_t *body;
	struct strv duplicates; /* in the body's text */
};

static void patch_done(struct patch *p)
{
	json_decref(p->body);
	strv_done(&p->duplicates);
}

static int patch_type(struct call *c, enum patch_type *ret, struct err *err)
{
	bool strategic = !c->target.kind->custom; /* needs merge keys that no schema gives */
	char type[64];

	content_type(c->req, type);
	for (size_t i = 0; i < ARRAY_SIZE(patch_types); i++)
		if (streq(patch_types[i].type, type) &&
		    (strategic || patch_types[i].patch != PATCH_STRATEGIC)) {
			*ret = patch_types[i].patch;
			return 0;
		}
	return err_set(err, ERR_UNSUPPORTED_MEDIA_TYPE,
		       "the body of the request was in an unknown format - accepted media types "
		       "include: application/json-patch+json, application/merge-patch+json, "
		       "%sapplication/apply-patch+yaml",
		       strategic ? "application/strategic-merge-patch+json, " : "");
}

/* Members of operations that RFC 6902 does not know. */
static void add_unknown_operations(const json_t *ops, struct strv *ret)
{
	static const char *const known[] = {"op", "path", "from", "value"};
	const char *key;
	json_t *op, *v;
	size_t i;

	json_array_foreach(ops, i, op)
	{
		json_object_foreach(op, key, v)
		{
			bool found = false;

			for (size_t k = 0; k < ARRAY_SIZE(known); k++)
				found = found || streq(known[k], key);
			if (!found && ret->n < JSON_DUPLICATES_MAX)
				strv_addf(ret, "unknown field \"[%zu].%s\"", i, key);
		}
	}
}

static int check_operations(struct patch *p, struct err *err)
{
	auto_strv found = {0};

	if (!json_is_array(p->body))
		return err_set(err, ERR_BAD_REQUEST, "json patch must be a list of operations");
	if (json_array_size(p->body) > PATCH_OPERATIONS_MAX)
		return err_set(err, ERR_REQUEST_TOO_LARGE,
			       "The allowed maximum operations in a JSON patch is %d, got %zu",
			       PATCH_OPERATIONS_MAX, json_array_size(p->body));
	for (size_t i = 0; i < p->duplicates.n; i++)
		strv_addf(&found, "json patch %s", p->duplicates.v[i]);
	strv_done(&p->duplicates);
	add_unknown_operations(p->body, &p->duplicates);
	for (size_t i = 0; i < p->duplicates.n; i++)
		strv_addf(&found, "json patch %s", p->duplicates.v[i]);
	strv_done(&p->duplicates);
	p->duplicates = found;
	found = (struct strv){0};
	return 0;
}

/* The patch has the form its type wants. */
static int patch_read(struct call *c, struct patch *p, struct err *err)
{
	size_t len;
	const char *text = http_body(c->req, &len);

	*p = (struct patch){0};
	if (patch_type(c, &p->type, err) < 0)
		return -EINVAL;
	p->body = json_scan(text, len, VALUES_MAX, &p->duplicates, err);
	if (!p->body)
		return -EINVAL;
	if (p->type == PATCH_JSON)
		return check_operations(p, err);
	if (json_is_object(p->body))
		return 0;
	return err_set(err, ERR_BAD_REQUEST, "the patch must be an object");
}

static json_t *patch_made(const struct patch *p, const struct message *m, const json_t *v,
			  struct err *err)
{
	switch (p->type) {
	case PATCH_JSON:
		return patch_json(v, p->body, err);
	case PATCH_MERGE:
		return patch_merge(v, p->body);
	case PATCH_STRATEGIC:
		return patch_strategic(m, v, p->body, err);
	case PATCH_APPLY:
		break;
	}
	err_set(err, ERR_UNSUPPORTED_MEDIA_TYPE, "server-side apply is not possible here");
	return NULL;
}

json_t *patch_apply(struct call *c, const struct message *m, const json_t *v, struct err *err)
{
	struct patch p;
	json_t *made = patch_read(c, &p, err) < 0 ? NULL : patch_made(&p, m, v, err);

	patch_done(&p);
	return made;
}

/* ---- what a patch makes ------------------------------------------------------------------ */

/* What the message shows: the object, or for strategic patches the patch. */
static char *shown(const struct patch *p, const json_t *made)
{
	auto_free char *text = p->type == PATCH_STRATEGIC
				       ? go_value_text(p->body, VALUE_MAX)
				       : json_dumps(made, JSON_COMPACT | JSON_SORT_KEYS);
	auto_free char *cut = NULL;
	size_t len = text ? strlen(text) : 0;

	if (len > VALUE_MAX) {
		for (len = VALUE_MAX; ((unsigned char)text[len] & 0xc0) == 0x80; len--)
			; /* not in the middle of a character */
		cut = xasprintf("%.*s...", (int)len, text);
	}
	json_auto_t *v = json_string_nocheck(cut ? cut : text ? text : "");

	return json_dumps(v, JSON_ENCODE_ANY);
}

static int invalid(const struct patch *p, const json_t *made, const char *why, struct err *err)
{
	auto_free char *value = shown(p, made), *text = xstrdup(why);

	if (err)
		err_done(err);
	err_set(err, ERR_INVALID, " \"\" is invalid: patch: Invalid value: %s: %s", value, text);
	/* No kind: kubectl says "The request is invalid". */
	err_about(err, "", "", "");
	err_cause_add(err, "FieldValueInvalid", "patch", "Invalid value: %s: %s", value, text);
	return -EINVAL;
}

/* A patched object is checked like a body. */
static int check_made(struct call *c, const struct patch *p, json_t *made, struct err *err)
{
	const struct kind *k = c->target.kind;
	char version[API_VERSION_MAX];
	auto_strv found = {0};
	auto_strbuf b = {0};
	enum field_validation mode;
	int rc = call_validation(c, &mode, err);

	if (rc < 0)
		return rc;
	if (json_is_object(made) && k->custom && !*json_str(made, "kind", "")) {
		auto_free char *text = json_text(made, NULL);
		auto_free char *why =
			xasprintf("Object 'Kind' is missing in '%.*s'", VALUE_MAX, text);

		return invalid(p, made, why, err);
	}
	if (json_is_object(made) && k->custom && check_custom_type(k, made, err) < 0)
		return -EINVAL;
	if (!json_is_object(made) || !streq(json_str(made, "kind", ""), k->kind) ||
	    !streq(json_str(made, "apiVersion", ""), kind_api_version(k, version)))
		return err_set(err, ERR_BAD_REQUEST,
			       "a patch may not change apiVersion or kind of the object");
	for (size_t i = 0; i < p->duplicates.n; i++)
		strv_add(&found, p->duplicates.v[i]);
	/* The check takes out what is unknown. */
	json_auto_t *before = mode == FIELDS_STRICT ? json_deep_copy(made) : json_incref(made);

	rc = schema_check(k->message, NULL, made, mode == FIELDS_IGNORE ? mode : FIELDS_WARN,
			  &found, err);
	if (rc < 0)
		return invalid(p, before, err_message(err), err);
	if (mode == FIELDS_WARN)
		for (size_t i = 0; i < found.n; i++)
			strv_add(&c->warnings, found.v[i]);
	if (mode != FIELDS_STRICT || !found.n)
		return 0;
	strbuf_adds(&b, "strict decoding error: ");
	for (size_t i = 0; i < found.n; i++)
		strbuf_addf(&b, "%s%s", i ? ", " : "", found.v[i]);
	return invalid(p, before, b.s, err);
}

static json_t *patch_object(struct call *c, const struct object *o, struct err *err)
{
	struct patch p;
	json_t *made = NULL;

	if (patch_read(c, &p, err) == 0)
		made = patch_made(&p, c->target.kind->message, object_json(o), err);
	if (made && check_made(c, &p, made, err) < 0) {
		json_decref(made);
		made = NULL;
	}
	patch_done(&p);
	return made;
}

/* Who does not apply has nothing to force. */
static int check_force(const struct call *c, struct err *err)
{
	auto_free char *force = http_param(c->req, "force");

	return force ? option_invalid(c, "FieldValueForbidden", "force",
				      "Forbidden: may not be specified for non-apply patch", err)
		     : 0;
}

static void patch_present(struct call *c)
{
	struct write_options options;
	const struct object *o;
	json_auto_t *made = NULL;
	auto_err err = {0};

	if (check_force(c, &err) < 0 || write_options_parse(c, &options, &err) < 0 ||
	    !(o = call_object(c, &err)) || !(made = patch_object(c, o, &err)))
		call_reply_err(c, &err);
	else {
		options.patched = true;
		options.precondition_rev = o->rev; /* of what it has been made, whatever it says */
		write_update(c, made, &options);
	}
}

void handle_patch(struct call *c)
{
	enum patch_type type;
	auto_err err = {0};

	if (patch_type(c, &type, &err) < 0)
		call_reply_err(c, &err);
	else if (type == PATCH_APPLY)
		handle_apply(c);
	else
		patch_present(c);
}
