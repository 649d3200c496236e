/* SPDX-License-Identifier: Apache-2.0 */
/* Query parameters and request bodies: JSON, YAML, protobuf; the options of writes. */
#include "internal.h"

#include <strings.h>

#define DELETE_OPTIONS_MESSAGE "DeleteOptions"

/* As upstream converts parameters: "0" and "false" in any case are false, all else is true. */
bool call_bool(const struct call *c, const char *name)
{
	auto_free char *v = http_param(c->req, name);

	return v && !streq(v, "0") && strcasecmp(v, "false") != 0;
}

bool call_is_watch(const struct call *c)
{
	return !c->target.sub && (c->target.watch || call_bool(c, "watch"));
}

static bool is_number(const char *v)
{
	v += *v == '-' || *v == '+';
	return *v && !v[strspn(v, "0123456789")];
}

int call_int(const struct call *c, const char *name, int64_t fallback, int64_t *ret,
	     struct err *err)
{
	auto_free char *v = http_param(c->req, name);

	*ret = fallback;
	if (str_empty(v))
		return 0;
	if (str_to_i64(v, INT64_MIN, INT64_MAX, ret) < 0)
		return err_set(err, ERR_BAD_REQUEST, "strconv.ParseInt: parsing \"%s\": %s", v,
			       is_number(v) ? "value out of range" : "invalid syntax");
	return 0;
}

int option_invalid(const struct call *c, const char *reason, const char *field, const char *text,
		   struct err *err)
{
	const char *kind = streq(c->verb, "patch")	   ? "PatchOptions"
			   : streq(c->verb, "update")	   ? "UpdateOptions"
			   : str_starts(c->verb, "delete") ? "DeleteOptions"
							   : "CreateOptions";
	int rc = err_set(err, ERR_INVALID, "%s.meta.k8s.io \"\" is invalid: %s: %s", kind, field,
			 text);

	err_about(err, kind, "meta.k8s.io", NULL);
	err_cause_add(err, reason, field, "%s", text);
	return rc;
}

static int validation_invalid(const struct call *c, const char *v, struct err *err)
{
	auto_free char *text = xasprintf("Unsupported value: \"%s\": supported values: \"\", "
					 "\"Ignore\", \"Strict\", \"Warn\"",
					 v);

	return option_invalid(c, "FieldValueNotSupported", "fieldValidation", text, err);
}

int call_validation(struct call *c, enum field_validation *ret, struct err *err)
{
	auto_free char *v = http_param(c->req, "fieldValidation");

	*ret = FIELDS_WARN;
	if (str_empty(v) || streq(v, "Warn"))
		return 0;
	if (streq(v, "Strict"))
		*ret = FIELDS_STRICT;
	else if (streq(v, "Ignore"))
		*ret = FIELDS_IGNORE;
	else
		return validation_invalid(c, v, err);
	return 0;
}

/* An object of a custom kind has to say what it is. */
int check_custom_type(const struct kind *k, const json_t *obj, struct err *err)
{
	static const char no_version[] =
		"Object 'apiVersion' is missing in 'object has no apiVersion field'";
	const char *kind = json_str(obj, "kind", ""), *v = json_str(obj, "apiVersion", "");
	char version[API_VERSION_MAX];
	const char *field = NULL, *value = v, *want = kind_api_version(k, version);
	int rc;

	if (!*v) {
		rc = err_set(err, ERR_INTERNAL, "Internal error occurred: %s", no_version);
		err_cause_add(err, NULL, NULL, "%s", no_version);
		return rc;
	}
	if (!streq(kind, k->kind)) {
		field = "kind";
		value = kind;
		want = k->kind;
	} else if (!streq(v, want)) {
		field = "apiVersion";
	}
	if (!field)
		return 0;
	rc = err_set(err, ERR_INVALID,
		     "%s.%s \"%s\" is invalid: %s: Invalid value: \"%s\": must be %s", kind,
		     k->group, meta_name(obj), field, value, want);
	err_about(err, kind, k->group, meta_name(obj));
	err_cause_add(err, "FieldValueInvalid", field, "Invalid value: \"%s\": must be %s", value,
		      want);
	return rc;
}

/* kind and apiVersion of a body must be those of the URL, or absent. */
/* older: another version that means the same, or NULL. */
static int check_type(json_t *obj, const char *api_version, const char *older, const char *kind,
		      struct err *err)
{
	const char *v = json_str(obj, "apiVersion", ""), *k = json_str(obj, "kind", "");

	if (*v && !streq(v, api_version) && !str_eq(older, v))
		return err_set(err, ERR_BAD_REQUEST,
			       "the API version in the data (%s) does not match the expected API "
			       "version (%s)",
			       v, api_version);
	if (*k && !streq(k, kind))
		return err_set(err, ERR_BAD_REQUEST,
			       "the kind in the data (%s) does not match the expected kind (%s)", k,
			       kind);
	json_put_str(obj, "apiVersion", api_version);
	json_put_str(obj, "kind", kind);
	return 0;
}

enum body_format { BODY_JSON, BODY_YAML, BODY_PROTOBUF, BODY_UNKNOWN };

static enum body_format body_format(const struct call *c)
{
	static const struct {
		const char *type;
		enum body_format format;
	} types[] = {
		{"", BODY_JSON},
		{"application/json", BODY_JSON},
		{"application/yaml", BODY_YAML},
		{"application/vnd.kubernetes.protobuf", BODY_PROTOBUF},
	};
	char type[64];

	content_type(c->req, type);
	for (size_t i = 0; i < ARRAY_SIZE(types); i++)
		if (streq(types[i].type, type))
			return types[i].format;
	return BODY_UNKNOWN;
}

/* Objects without a table: whatever JSON says. */
static json_t *untyped(enum body_format format, const char *text, size_t len, struct err *err)
{
	if (format != BODY_YAML)
		return json_parse(text, len, err);
	json_auto_t *docs = yaml_parse_all(text, len, err);

	if (!docs)
		return NULL;
	if (json_array_size(docs) != 1) {
		err_set(err, ERR_BAD_REQUEST, "the body must hold one document");
		return NULL;
	}
	return json_incref(json_array_get(docs, 0));
}

static json_t *decode(struct call *c, const struct message *m, const char *what, struct err *err)
{
	enum field_validation mode;
	enum body_format format = body_format(c);
	size_t len;
	const char *text = http_body(c->req, &len);

	if (call_validation(c, &mode, err) < 0)
		return NULL;
	switch (format) {
	case BODY_PROTOBUF:
		return schema_decode_protobuf(m, text, len, err);
	case BODY_JSON:
	case BODY_YAML:
		if (!m)
			return untyped(format, text, len, err);
		if (format == BODY_YAML)
			return schema_decode_yaml(m, what, text, len, mode, &c->warnings, err);
		return schema_decode_json(m, what, text, len, mode, &c->warnings, err);
	case BODY_UNKNOWN:
		break;
	}
	err_set(err, ERR_UNSUPPORTED_MEDIA_TYPE,
		"the body of the request was in an unknown format - accepted media types include: "
		"application/json, application/yaml, application/vnd.kubernetes.protobuf");
	return NULL;
}

#define SHOWN_MAX 4096 /* of a body in a message */

static int custom_body(struct call *c, const json_t *obj, const char *what, struct err *err)
{
	const struct kind *k = c->target.kind;
	const char *v = json_str(obj, "apiVersion", "");
	char version[API_VERSION_MAX];
	size_t len;
	const char *text = http_body(c->req, &len);

	if (!*json_str(obj, "kind", ""))
		return err_set(err, ERR_BAD_REQUEST,
			       "%s cannot be handled as a %s: Object 'Kind' is missing in '%.*s'",
			       what, k->kind, (int)(len < SHOWN_MAX ? len : SHOWN_MAX), text);
	if (*v && !streq(v, kind_api_version(k, version)))
		return 0; /* told as of any kind */
	return check_custom_type(k, obj, err);
}

json_t *call_body(struct call *c, const struct message *m, const char *api_version,
		  const char *kind, struct err *err)
{
	return call_body_older(c, m, api_version, NULL, kind, err);
}

json_t *call_body_older(struct call *c, const struct message *m, const char *api_version,
			const char *older, const char *kind, struct err *err)
{
	const char *slash = strrchr(api_version, '/');
	auto_free char *what =
		xasprintf("%s in version \"%s\"", kind, slash ? slash + 1 : api_version);
	json_auto_t *obj = decode(c, m, what, err);

	if (!obj)
		return NULL;
	if (!json_is_object(obj)) {
		err_set(err, ERR_BAD_REQUEST, "the body of the request must be an object");
		return NULL;
	}
	if (m && m->custom && custom_body(c, obj, what, err) < 0)
		return NULL;
	if (check_type(obj, api_version, older, kind, err) < 0)
		return NULL;
	return steal_ptr(obj);
}

static int check_dry_run(const struct call *c, const char *v, bool *ret, struct err *err)
{
	*ret = streq(v, "All");
	if (*ret)
		return 0;
	auto_free char *text =
		xasprintf("Unsupported value: []string{\"%s\"}: supported values: \"All\"", v);

	return option_invalid(c, "FieldValueNotSupported", "dryRun", text, err);
}

int call_dry_run(struct call *c, bool *ret, struct err *err)
{
	auto_strv values = {0};
	int rc = 0;

	*ret = false;
	http_params(c->req, "dryRun", &values);
	for (size_t i = 0; i < values.n && rc == 0; i++)
		rc = check_dry_run(c, values.v[i], ret, err);
	return rc;
}

#define MANAGER_MAX 128

/* What a program calls itself, "kubectl/v1.33.0 (linux/amd64) ..." up to the slash. */
static char *agent_name(const struct call *c)
{
	const char *agent = http_header(c->req, "User-Agent");
	size_t n = agent ? strcspn(agent, "/") : 0;
	char *name = xstrndup(agent ? agent : "", n < MANAGER_MAX ? n : MANAGER_MAX);

	for (char *p = name; *p; p++)
		*p = *p >= ' ' && *p < 0x7f ? *p : '_';
	if (*name)
		return name;
	free(name);
	return xstrdup("unknown");
}

int call_manager(struct call *c, const char **ret, struct err *err)
{
	free(c->manager);
	c->manager = http_param(c->req, "fieldManager");
	if (str_empty(c->manager)) {
		free(c->manager);
		c->manager = agent_name(c);
	}
	*ret = c->manager;
	if (strlen(c->manager) > MANAGER_MAX)
		return option_invalid(c, "FieldValueTooLong", "fieldManager",
				      "Too long: may not be more than 128 bytes", err);
	for (const char *p = c->manager; *p; p++) {
		auto_free char *text = NULL;

		if ((unsigned char)*p >= ' ' && *p != 0x7f)
			continue;
		text = xasprintf("Invalid value: \"%s\": should only contain printable characters",
				 c->manager);
		return option_invalid(c, "FieldValueInvalid", "fieldManager", text, err);
	}
	return 0;
}

/* ---- DeleteOptions ----------------------------------------------------------------------- */

static json_t *delete_body(struct call *c, struct err *err)
{
	size_t len;

	http_body(c->req, &len);
	if (len == 0)
		return json_object();
	json_t *body = decode(c, NULL, DELETE_OPTIONS_MESSAGE, err);

	if (body && !json_is_object(body)) {
		json_decref(body);
		err_set(err, ERR_BAD_REQUEST, "DeleteOptions must be an object");
		return NULL;
	}
	return body;
}

/* The query stands in for a body that says nothing (client-go's DeleteOptions conversion). */
static int query_options(struct call *c, json_t *body, struct err *err)
{
	auto_free char *propagation = http_param(c->req, "propagationPolicy");
	auto_free char *orphan = http_param(c->req, "orphanDependents");
	int64_t grace;
	int rc = call_int(c, "gracePeriodSeconds", -1, &grace, err);

	if (rc < 0)
		return rc;
	if (grace != -1 && !json_object_get(body, "gracePeriodSeconds"))
		json_put_int(body, "gracePeriodSeconds", grace);
	if (!str_empty(propagation) && !json_object_get(body, "propagationPolicy"))
		json_put_str(body, "propagationPolicy", propagation);
	if (!str_empty(orphan) && !json_object_get(body, "orphanDependents"))
		json_put_bool(body, "orphanDependents", call_bool(c, "orphanDependents"));
	return 0;
}

static int read_propagation(struct call *c, struct delete_options *o, struct err *err)
{
	const char *p = json_str(o->body, "propagationPolicy", NULL);
	const json_t *orphan = json_object_get(o->body, "orphanDependents");
	auto_free char *text = NULL;

	if (p && json_is_boolean(orphan)) {
		text = xasprintf("Invalid value: \"%s\": orphanDependents and deletionPropagation "
				 "cannot be both set",
				 p);
		return option_invalid(c, "FieldValueInvalid", "propagationPolicy", text, err);
	}
	if (!p && json_is_boolean(orphan))
		p = json_is_true(orphan) ? "Orphan" : "Background";
	if (!p)
		return 0;
	if (!streq(p, "Orphan") && !streq(p, "Background") && !streq(p, "Foreground")) {
		text = xasprintf("Unsupported value: \"%s\": supported values: \"Foreground\", "
				 "\"Background\", \"Orphan\", \"nil\"",
				 p);
		return option_invalid(c, "FieldValueNotSupported", "propagationPolicy", text, err);
	}
	o->propagation = xstrdup(p);
	o->write.propagation = o->propagation;
	return 0;
}

/* Who deletes jobs without a word on their pods is told that they stay. */
static void warn_orphans(struct call *c, const struct delete_options *o)
{
	const struct kind *k = c->target.kind;

	if (!o->write.propagation && k && streq(k->group, "batch") && streq(k->kind, "Job"))
		strv_add(&c->warnings,
			 "child pods are preserved by default when jobs are deleted; set "
			 "propagationPolicy=Background to remove them or set "
			 "propagationPolicy=Orphan to suppress this warning");
}

/* The body may leave its type out, but not be another's. */
static int check_options_type(const json_t *body, struct err *err)
{
	const char *kind = json_str(body, "kind", "");

	if (!*kind || streq(kind, DELETE_OPTIONS_MESSAGE))
		return 0;
	return err_set(err, ERR_BAD_REQUEST, "decoded object cannot be converted to DeleteOptions");
}

static int read_preconditions(struct call *c, struct delete_options *o, struct err *err)
{
	const char *rev = json_str(o->body, "preconditions.resourceVersion", NULL);
	json_t *dry = json_object_get(o->body, "dryRun");

	o->write.precondition_uid = json_str(o->body, "preconditions.uid", NULL);
	if (rev && str_to_u64(rev, UINT64_MAX, &o->write.precondition_rev) < 0)
		return err_set(err, ERR_BAD_REQUEST, "malformed preconditions.resourceVersion");
	for (size_t i = 0; i < json_array_size(dry); i++) {
		const char *v = json_string_value(json_array_get(dry, i));
		int rc = check_dry_run(c, v ? v : "", &o->write.dry_run, err);

		if (rc < 0)
			return rc;
	}
	return 0;
}

int call_delete_options(struct call *c, json_t *body, struct delete_options *ret, struct err *err)
{
	bool dry_run;
	int rc;

	*ret = (struct delete_options){.write = {.grace_seconds = -1, .by = call_by(c)}};
	ret->body = body ? json_incref(body) : delete_body(c, err);
	if (!ret->body)
		return -EINVAL;
	rc = check_options_type(ret->body, err);
	if (rc == 0)
		rc = query_options(c, ret->body, err);
	if (rc == 0)
		rc = read_propagation(c, ret, err);
	if (rc == 0)
		rc = read_preconditions(c, ret, err);
	if (rc == 0)
		rc = call_dry_run(c, &dry_run, err);
	if (rc < 0)
		return rc;
	warn_orphans(c, ret);
	ret->write.dry_run |= dry_run;
	ret->write.grace_seconds = json_int(ret->body, "gracePeriodSeconds", -1);
	if (ret->write.grace_seconds < -1)
		ret->write.grace_seconds = 1; /* as upstream reads negative periods */
	return 0;
}

void delete_options_done(struct delete_options *o)
{
	json_decref(o->body);
	free(o->propagation);
	*o = (struct delete_options){0};
}
