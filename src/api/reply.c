/* SPDX-License-Identifier: Apache-2.0 */
/* Answers: objects in the form the client accepts, Status for errors. Each ends its call. */
#include "internal.h"

/* ---- plain ------------------------------------------------------------------------------- */

/* RFC 9111's warn-text is a quoted string; Kubernetes' clients read code 299. */
static void add_warnings(struct call *c)
{
	for (size_t i = 0; i < c->warnings.n && i < 50; i++) {
		auto_strbuf b = {0};

		strbuf_adds(&b, "299 - \"");
		for (const char *s = c->warnings.v[i]; *s && b.len < 1024; s++) {
			if (*s == '"' || *s == '\\')
				strbuf_addc(&b, '\\');
			strbuf_addc(&b, *s);
		}
		strbuf_addc(&b, '"');
		http_respond_header(c->req, "Warning", b.s);
	}
}

static void before_answer(struct call *c, int code)
{
	api_count(c, code);
	add_warnings(c);
	http_respond_header(c->req, "Cache-Control",
			    c->immutable ? "public, immutable" : "no-cache, private");
}

void call_reply_take(struct call *c, int code, const char *type, char *text, size_t len)
{
	if (!c->req || c->over) {
		free(text);
	} else {
		before_answer(c, code);
		http_respond_take(c->req, code, type ? type : "application/json", text, len);
	}
	call_forget(c);
}

void call_reply(struct call *c, int code, const char *type, const char *text, size_t len)
{
	if (c->req && !c->over) {
		before_answer(c, code);
		http_respond(c->req, code, type ? type : "application/json", text, len);
	}
	call_forget(c);
}

void call_reply_text(struct call *c, int code, const char *text)
{
	call_reply(c, code, "text/plain; charset=utf-8", text, strlen(text));
}

void call_reply_json(struct call *c, int code, json_t *v)
{
	json_auto_t *owned = v;

	if (c->accept.media == MEDIA_YAML) {
		char *text = yaml_format(owned);

		call_reply_take(c, code, "application/yaml", text, strlen(text));
		return;
	}
	size_t len;
	char *text = json_text(owned, &len);

	call_reply_take(c, code, NULL, text, len);
}

void call_start(struct call *c, int code, const char *type)
{
	before_answer(c, code);
	http_respond_start(c->req, code, type ? type : "application/json");
}

bool reply_unchanged(struct call *c, const char *type, const char *hash)
{
	const char *known = http_header(c->req, "If-None-Match");
	auto_free char *tag = xasprintf("\"%s\"", hash);

	http_respond_header(c->req, "ETag", tag);
	if (!known || !streq(known, tag))
		return false;
	call_reply(c, 304, type, NULL, 0);
	return true;
}

struct stream *call_upgrade(struct call *c, const char *protocol)
{
	api_count(c, 101);
	struct stream *s = http_upgrade(c->req, protocol);

	call_forget(c);
	return s;
}

/* ---- objects ----------------------------------------------------------------------------- */

json_t *partial_new(const json_t *obj, const char *version)
{
	json_t *v = json_object();

	json_put_str(v, "kind", "PartialObjectMetadata");
	json_put_strf(v, "apiVersion", "meta.k8s.io/%s", version);
	json_put(v, "metadata", json_incref(json_object_get(obj, "metadata")));
	return v;
}

static void reply_table(struct call *c, int code, const struct object *o)
{
	enum table_include include;
	auto_err err = {0};

	if (table_include_parse(c, &include, &err) < 0) {
		call_reply_err(c, &err);
		return;
	}
	json_t *table = table_new(o->kind, c->accept.version, true);

	table_add(o->kind, table, object_json(o), include, time(NULL));
	json_put_strf(table, "metadata.resourceVersion", "%llu", (unsigned long long)o->rev);
	call_reply_json(c, code, table);
}

/* Nobody shall wait for an object that nothing acts on. */
static void warn_inert(struct call *c, int code, const struct object *o)
{
	char res[API_VERSION_MAX];

	if (code == 201 && o->kind->inert)
		strv_addf(&c->warnings,
			  "%s are stored and served, but this version of Coracle does not act on "
			  "them",
			  kind_resource(o->kind, res));
}

/* Bodies may come as protobuf; answers never go as that, and clients that ask for it take JSON. */
int call_not_acceptable(struct err *err)
{
	return err_set(err, ERR_NOT_ACCEPTABLE,
		       "only the following media types are accepted: application/json, "
		       "application/yaml");
}

static void unref_object(void *o)
{
	object_unref(o);
}

/* As it is stored, and from where it lies. */
static void reply_stored(struct call *c, int code, const struct object *o)
{
	if (c->req && !c->over) {
		before_answer(c, code);
		http_respond_ref(c->req, code, "application/json", o->text, o->len, unref_object,
				 object_ref(o));
	}
	call_forget(c);
}

void call_reply_object(struct call *c, int code, const struct object *o)
{
	auto_err err = {0};

	warn_inert(c, code, o);
	switch (c->accept.media) {
	case MEDIA_JSON:
		reply_stored(c, code, o);
		return;
	case MEDIA_YAML:
		call_reply_json(c, code, object_dup(o));
		return;
	case MEDIA_TABLE:
		reply_table(c, code, o);
		return;
	case MEDIA_PARTIAL:
		call_reply_json(c, code, partial_new(object_json(o), c->accept.version));
		return;
	case MEDIA_AGGREGATED:
	case MEDIA_NONE:
		break;
	}
	call_not_acceptable(&err);
	call_reply_err(c, &err);
}

/* ---- errors ------------------------------------------------------------------------------ */

static json_t *causes_json(const struct err *err)
{
	json_t *list = json_array();

	for (size_t i = 0; i < err->n_causes; i++) {
		json_t *one = json_object();

		if (err->causes[i].reason)
			json_put_str(one, "reason", err->causes[i].reason);
		if (err->causes[i].message)
			json_put_str(one, "message", err->causes[i].message);
		if (err->causes[i].field)
			json_put_str(one, "field", err->causes[i].field);
		json_array_append_new(list, one);
	}
	return list;
}

static json_t *details_json(const struct err *err)
{
	json_t *d = json_object();

	if (!str_empty(err->name))
		json_put_str(d, "name", err->name);
	if (!str_empty(err->group))
		json_put_str(d, "group", err->group);
	if (!str_empty(err->kind))
		json_put_str(d, "kind", err->kind);
	if (!str_empty(err->uid))
		json_put_str(d, "uid", err->uid);
	if (err->n_causes)
		json_put(d, "causes", causes_json(err));
	if (err->retry_after)
		json_put_int(d, "retryAfterSeconds", err->retry_after);
	return d;
}

json_t *status_json(const struct err *err, const char *continue_token)
{
	json_t *v = json_object(), *details = details_json(err);
	const char *reason = err_reason_name(err->reason);

	json_put_str(v, "kind", "Status");
	json_put_str(v, "apiVersion", "v1");
	json_put(v, "metadata", json_object());
	if (continue_token)
		json_put_str(v, "metadata.continue", continue_token);
	json_put_str(v, "status", "Failure");
	json_put_str(v, "message", err_message(err));
	if (!str_empty(reason))
		json_put_str(v, "reason", reason);
	if (json_object_size(details))
		json_put(v, "details", details);
	else
		json_decref(details);
	json_put_int(v, "code", err_http_code(err));
	return v;
}

/* details.kind is the resource, but the Kind for Invalid (KUBERNETES.md 6.1). */
static void complete(struct call *c, struct err *err)
{
	const struct kind *k = c->target.kind;

	switch (err->reason) {
	case ERR_NOT_FOUND:
	case ERR_ALREADY_EXISTS:
	case ERR_CONFLICT:
	case ERR_FORBIDDEN:
	case ERR_GONE:
		if (k)
			err_about(err, k->plural, k->group, c->target.name);
		break;
	case ERR_INVALID:
		/* Else it is the request that is invalid: its options, or the patch. */
		if (k && err->n_causes && str_starts(err_message(err), k->kind))
			err_about(err, k->kind, k->group, c->target.name);
		break;
	case ERR_UNKNOWN:
	case ERR_BAD_REQUEST:
	case ERR_UNAUTHORIZED:
	case ERR_METHOD_NOT_ALLOWED:
	case ERR_NOT_ACCEPTABLE:
	case ERR_EXPIRED:
	case ERR_REQUEST_TOO_LARGE:
	case ERR_UNSUPPORTED_MEDIA_TYPE:
	case ERR_TOO_MANY_REQUESTS:
	case ERR_INTERNAL:
	case ERR_SERVICE_UNAVAILABLE:
	case ERR_SERVER_TIMEOUT:
	case ERR_TIMEOUT:
	case ERR_INSUFFICIENT_STORAGE:
	case ERR_REASON_COUNT:
		break;
	}
}

void call_reply_err(struct call *c, const struct err *err)
{
	auto_err full = {0};
	char seconds[16];

	err_copy(&full, err);
	complete(c, &full);
	if (c->req && full.retry_after) {
		snprintf(seconds, sizeof(seconds), "%d", full.retry_after);
		http_respond_header(c->req, "Retry-After", seconds);
	}
	json_auto_t *v = status_json(&full, c->next_token);
	size_t len;
	char *text = json_text(v, &len);

	call_reply_take(c, err_http_code(&full), NULL, text, len);
}

void call_reply_error(struct call *c, enum err_reason reason, const char *fmt, ...)
{
	auto_err err = {0};
	va_list ap;

	va_start(ap, fmt);
	auto_free char *message = xvasprintf(fmt, ap);
	va_end(ap);
	err_set(&err, reason, "%s", message);
	call_reply_err(c, &err);
}

int err_not_found(struct err *err, const struct kind *k, const char *name)
{
	char res[API_VERSION_MAX];
	int rc = err_set(err, ERR_NOT_FOUND, "%s \"%s\" not found",
			 kind_resource(kind_storage(k), res), name);

	err_about(err, k->plural, k->group, name);
	return rc;
}

const struct object *call_object(struct call *c, struct err *err)
{
	const struct target *t = &c->target;
	const struct object *o =
		t->kind->computed ? computed_get(c)
				  : store_get(c->api->store, t->kind, t->ns ? t->ns : "", t->name);

	if (!o)
		err_not_found(err, t->kind, t->name);
	return o;
}
