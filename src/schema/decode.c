/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Objects against the field tables: types, unknown and duplicate fields, and the one form every
 * value is kept in (times in UTC, canonical quantities, no nulls, no empty values that Go's
 * omitempty would leave out). Messages follow sigs.k8s.io/json and apiserver's create handler.
 */
#include "internal.h"

#include <math.h>

struct decode {
	struct strbuf path;  /* "spec.containers[0].image": unknown fields */
	struct strbuf go;    /* "spec.containers.image": type errors, as encoding/json says it */
	struct strv *strict; /* what Strict refuses, in the order of the object */
	struct strv dups;    /* `duplicate field "..."` of the whole text, not yet told */
	struct err *err;
};

static int decode_message(struct decode *d, const struct message *m, json_t *obj);

static const char *short_name(const struct message *m)
{
	return strrchr(m->name, '.') + 1;
}

/* "v1.PodSpec" of "io.k8s.api.core.v1.PodSpec". */
static const char *go_name(const struct message *m)
{
	const char *p = strrchr(m->name, '.');

	while (p > m->name && p[-1] != '.')
		p--;
	return p;
}

static void go_type(const struct field *f, bool element, char *buf, size_t size)
{
	static const char *const names[] = {
		[FIELD_STRING] = "string",
		[FIELD_BOOL] = "bool",
		[FIELD_INT32] = "int32",
		[FIELD_INT64] = "int64",
		[FIELD_DOUBLE] = "float64",
		[FIELD_BYTES] = "[]uint8",
		[FIELD_TIME] = "v1.Time",
		[FIELD_MICROTIME] = "v1.MicroTime",
		[FIELD_DURATION] = "v1.Duration",
		[FIELD_QUANTITY] = "resource.Quantity",
		[FIELD_INT_OR_STRING] = "intstr.IntOrString",
		[FIELD_RAW] = "runtime.RawExtension",
	};
	const char *name = f->type == FIELD_OBJECT ? go_name(f->message) : names[f->type];
	const char *list = element || f->list == LIST_NONE ? ""
			   : f->list == LIST_STRING_MAP	   ? "map[string]"
							   : "[]";

	snprintf(buf, size, "%s%s", list, name);
}

static const char *json_word(const json_t *v)
{
	switch (json_typeof(v)) {
	case JSON_OBJECT:
		return "object";
	case JSON_ARRAY:
		return "array";
	case JSON_STRING:
		return "string";
	case JSON_INTEGER:
	case JSON_REAL:
		return "number";
	case JSON_TRUE:
	case JSON_FALSE:
		return "bool";
	case JSON_NULL:
		return "null";
	}
	return "value";
}

static int bad_type(struct decode *d, const struct message *m, const struct field *f, bool element,
		    const json_t *v)
{
	char type[160], number[40] = "";

	go_type(f, element, type, sizeof(type));
	if (json_is_integer(v) && (f->type == FIELD_INT32 || f->type == FIELD_INT64))
		snprintf(number, sizeof(number), " %lld", (long long)json_integer_value(v));
	else if (json_is_real(v) && (f->type == FIELD_INT32 || f->type == FIELD_INT64))
		snprintf(number, sizeof(number), " %.*g", fabs(json_real_value(v)) < 1e15 ? 15 : 17,
			 json_real_value(v));
	return err_set(d->err, ERR_BAD_REQUEST,
		       "json: cannot unmarshal %s%s into Go struct field %s.%s of type %s",
		       json_word(v), number, short_name(m), d->go.s ? d->go.s : "", type);
}

/* Replaces the text of *v unless it is the same already. */
static void set_text(json_t **v, const char *text)
{
	if (json_is_string(*v) && streq(json_string_value(*v), text))
		return;
	json_decref(*v);
	*v = json_string_nocheck(text);
}

static int decode_time(struct decode *d, const struct field *f, json_t **v)
{
	char buf[TIME_RFC3339_MAX];
	const char *text = json_string_value(*v);
	struct timespec ts;

	if (time_parse(text, &ts) < 0)
		return err_set(d->err, ERR_BAD_REQUEST,
			       "parsing time \"%s\" as \"2006-01-02T15:04:05%sZ07:00\": cannot "
			       "parse \"%s\" as \"2006\"",
			       text, f->type == FIELD_TIME ? "" : ".000000", text);
	if (f->type == FIELD_TIME)
		set_text(v, time_format(buf, ts.tv_sec));
	else
		set_text(v, time_format_micro(buf, ts));
	return 0;
}

static int decode_bytes(struct decode *d, json_t **v)
{
	static const char alphabet[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	const char *text = json_string_value(*v);
	auto_free unsigned char *data = NULL;
	auto_strbuf clean = {0};
	size_t len;

	for (const char *p = text; *p; p++)
		if (*p != '\n' && *p != '\r')
			strbuf_addc(&clean, *p);
	if (base64_decode(clean.s ? clean.s : "", clean.len, &data, &len) < 0)
		return err_set(d->err, ERR_BAD_REQUEST, "illegal base64 data at input byte %zu",
			       strspn(text, alphabet));
	set_text(v, clean.s ? clean.s : "");
	return 0;
}

static int decode_quantity(struct decode *d, json_t **v)
{
	char number[40];
	auto_free char *canonical = NULL;
	const char *text = json_string_value(*v);

	if (json_is_integer(*v))
		snprintf(number, sizeof(number), "%lld", (long long)json_integer_value(*v));
	else if (json_is_real(*v))
		snprintf(number, sizeof(number), "%.15g", json_real_value(*v));
	canonical = quantity_canonical(text ? text : number);
	if (!canonical)
		return err_set(d->err, ERR_BAD_REQUEST,
			       "quantities must match the regular expression "
			       "'^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'");
	set_text(v, canonical);
	return 0;
}

static bool fits_int32(const json_t *v)
{
	return json_is_integer(v) && json_integer_value(v) >= INT32_MIN &&
	       json_integer_value(v) <= INT32_MAX;
}

static int decode_int_or_string(struct decode *d, const json_t *v)
{
	if (json_is_string(v) || fits_int32(v))
		return 0;
	return err_set(d->err, ERR_BAD_REQUEST,
		       "json: cannot unmarshal %s into Go value of type int32", json_word(v));
}

/* One value of f's type, list or map around it already taken off. It may be exchanged. */
static int decode_value(struct decode *d, const struct message *m, const struct field *f,
			json_t **v)
{
	bool good = false, text = json_is_string(*v);

	switch ((enum field_type)f->type) {
	case FIELD_STRING:
	case FIELD_DURATION:
		good = text;
		break;
	case FIELD_BOOL:
		good = json_is_boolean(*v);
		break;
	case FIELD_INT32:
		good = fits_int32(*v);
		break;
	case FIELD_INT64:
		good = json_is_integer(*v);
		break;
	case FIELD_DOUBLE:
		good = json_is_number(*v);
		break;
	case FIELD_BYTES:
		if (text)
			return decode_bytes(d, v);
		break;
	case FIELD_TIME:
	case FIELD_MICROTIME:
		if (text)
			return decode_time(d, f, v);
		break;
	case FIELD_QUANTITY:
		if (text || json_is_number(*v))
			return decode_quantity(d, v);
		break;
	case FIELD_INT_OR_STRING:
		return decode_int_or_string(d, *v);
	case FIELD_OBJECT:
		if (json_is_object(*v))
			return decode_message(d, f->message, *v);
		if (f->flags & FIELD_OR_BOOL)
			good = json_is_boolean(*v);
		break;
	case FIELD_RAW:
		good = true;
		break;
	}
	return good ? 0 : bad_type(d, m, f, true, *v);
}

/* What Go leaves in place of a null inside a list or map. */
static json_t *zero_value(const struct field *f)
{
	switch ((enum field_type)f->type) {
	case FIELD_BOOL:
		return json_false();
	case FIELD_INT32:
	case FIELD_INT64:
	case FIELD_DOUBLE:
	case FIELD_INT_OR_STRING:
		return json_integer(0);
	case FIELD_OBJECT:
		return json_object();
	case FIELD_QUANTITY:
		return json_string("0");
	case FIELD_TIME:
	case FIELD_MICROTIME:
	case FIELD_RAW:
		return json_null();
	case FIELD_STRING:
	case FIELD_BYTES:
	case FIELD_DURATION:
		break;
	}
	return json_string("");
}

/* decode_value on a member of a container: ret_v is what to put in its place, a new reference. */
static int decode_member(struct decode *d, const struct message *m, const struct field *f,
			 json_t *v, json_t **ret_v)
{
	*ret_v = json_is_null(v) ? zero_value(f) : json_incref(v);
	if (json_is_null(*ret_v))
		return 0;
	int r = decode_value(d, m, f, ret_v);
	if (r < 0) {
		json_decref(*ret_v);
		*ret_v = NULL;
	}
	return r;
}

/*
 * Tells of duplicates of what the path names; below: and of all in it, which is not described by a
 * table. What is in an unknown field is told of with that field.
 */
static void tell_duplicates(struct decode *d, bool below)
{
	static const char head[] = "duplicate field \"";

	for (size_t i = 0; d->strict && i < d->dups.n; i++) {
		const char *path = d->dups.v[i] + strlen(head);
		size_t len = strcspn(path, "\"");
		bool inside = below && len > d->path.len &&
			      (path[d->path.len] == '.' || path[d->path.len] == '[');

		if ((len == d->path.len || inside) &&
		    strncmp(path, d->path.s ? d->path.s : "", d->path.len) == 0 &&
		    d->strict->n < STRICT_ERRORS_MAX)
			strv_add(d->strict, d->dups.v[i]);
	}
}

static int decode_list(struct decode *d, const struct message *m, const struct field *f, json_t *v)
{
	size_t mark = d->path.len, i;
	json_t *item, *fresh;

	if (!json_is_array(v))
		return bad_type(d, m, f, false, v);
	json_array_foreach(v, i, item)
	{
		breathe();
		strbuf_addf(&d->path, "[%zu]", i);
		int r = decode_member(d, m, f, item, &fresh);
		if (r < 0)
			return r;
		json_array_set_new(v, i, fresh);
		path_cut(&d->path, mark);
	}
	return 0;
}

static int decode_map(struct decode *d, const struct message *m, const struct field *f, json_t *v)
{
	size_t mark = d->path.len;
	const char *key;
	json_t *item, *fresh;

	if (!json_is_object(v))
		return bad_type(d, m, f, false, v);
	json_object_foreach(v, key, item)
	{
		breathe();
		path_add(&d->path, key);
		tell_duplicates(d, f->type == FIELD_RAW);
		int r = decode_member(d, m, f, item, &fresh);
		if (r < 0)
			return r;
		json_object_set_new_nocheck(v, key, fresh);
		path_cut(&d->path, mark);
	}
	return 0;
}

/* Would Go's omitempty leave the value out? A pointer keeps an explicit zero. */
static bool left_out(const struct field *f, const json_t *v)
{
	if (json_is_null(v))
		return true;
	if (f->flags & (FIELD_ALWAYS | FIELD_POINTER))
		return false;
	if (f->list != LIST_NONE)
		return (json_is_array(v) && json_array_size(v) == 0) ||
		       (json_is_object(v) && json_object_size(v) == 0);
	switch (json_typeof(v)) {
	case JSON_STRING:
		return json_string_length(v) == 0;
	case JSON_INTEGER:
		return f->type != FIELD_INT_OR_STRING && json_integer_value(v) == 0;
	case JSON_FALSE:
		return true;
	case JSON_OBJECT:
	case JSON_ARRAY:
	case JSON_REAL:
	case JSON_TRUE:
	case JSON_NULL:
		break;
	}
	return false;
}

static int decode_field(struct decode *d, const struct message *m, const struct field *f,
			json_t *obj, const char *key, json_t *v)
{
	size_t path = d->path.len, go = d->go.len;
	int r = 0;

	path_add(&d->path, key);
	path_add(&d->go, key);
	tell_duplicates(d, f->type == FIELD_RAW && f->list != LIST_STRING_MAP);
	if (json_is_null(v)) {
		r = 0;
	} else if (f->list == LIST_STRING_MAP) {
		r = decode_map(d, m, f, v);
	} else if (f->list != LIST_NONE) {
		r = decode_list(d, m, f, v);
	} else {
		json_t *fresh = json_incref(v);

		r = decode_value(d, m, f, &fresh);
		if (fresh != v) {
			json_object_set_nocheck(obj, key, fresh);
			v = json_object_get(obj, key);
		}
		json_decref(fresh);
	}
	path_cut(&d->path, path);
	path_cut(&d->go, go);
	if (r == 0 && left_out(f, v))
		json_object_del(obj, key);
	return r;
}

/* The message that holds the field itself: m or one of its inline messages. */
static const struct message *holder(const struct message *m, const struct field *f)
{
	for (size_t i = 0; i < m->n_fields && !*m->fields[i].name; i++) {
		const struct message *in = m->fields[i].message;

		if (f >= in->fields && f < in->fields + in->n_fields)
			return in;
	}
	return m;
}

static int decode_message(struct decode *d, const struct message *m, json_t *obj)
{
	const char *key;
	json_t *v;
	void *next;

	json_object_foreach_safe(obj, next, key, v)
	{
		const struct field *f = message_field(m, key);
		int r;

		breathe();

		if (!f) {
			size_t mark = d->path.len;

			path_add(&d->path, key);
			if (d->strict && d->strict->n < STRICT_ERRORS_MAX)
				strv_addf(d->strict, "unknown field \"%s\"", d->path.s);
			path_cut(&d->path, mark);
			json_object_del(obj, key);
			continue;
		}
		r = decode_field(d, holder(m, f), f, obj, key, v);
		if (r < 0)
			return r;
	}
	return 0;
}

/* "Deployment in version "v1"" -> "... cannot be handled as a Deployment: " in front. */
static int about_what(int r, const char *what, struct err *err)
{
	if (!what)
		return r;
	return err_wrap(err, r, "%s cannot be handled as a %.*s", what, (int)strcspn(what, " "),
			what);
}

static int strict_result(const char *what, enum field_validation mode, const struct strv *found,
			 struct strv *warnings, struct err *err)
{
	auto_strbuf text = {0};

	if (found->n == 0 || mode == FIELDS_IGNORE)
		return 0;
	for (size_t i = 0; i < found->n; i++) {
		if (mode == FIELDS_WARN && warnings)
			strv_add(warnings, found->v[i]);
		strbuf_addf(&text, "%s%s", i ? ", " : "", found->v[i]);
	}
	if (mode == FIELDS_WARN)
		return 0;
	return about_what(err_set(err, ERR_BAD_REQUEST, "strict decoding error: %s", text.s), what,
			  err);
}

int schema_check_strict(const struct message *m, const char *what, json_t *obj,
			enum field_validation mode, struct strv *found, struct strv *warnings,
			struct err *err)
{
	struct decode d = {.strict = mode == FIELDS_IGNORE ? NULL : found, .err = err};
	int r;

	if (!m->custom) { /* else they stay in front of what is found */
		d.dups = *found;
		*found = (struct strv){0};
	}
	if (m->custom)
		r = custom_decode(m->custom, what, obj, d.strict, err);
	else if (json_is_object(obj))
		r = decode_message(&d, m, obj);
	else
		r = err_set(err, ERR_BAD_REQUEST,
			    "json: cannot unmarshal %s into Go value of type %s", json_word(obj),
			    go_name(m));
	strbuf_done(&d.path);
	strbuf_done(&d.go);
	strv_done(&d.dups);
	if (r < 0)
		return about_what(r, what, err);
	return strict_result(what, mode, found, warnings, err);
}

static int by_text(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Upstream goes through such objects by sorted keys. */
int schema_check(const struct message *m, const char *what, json_t *obj, enum field_validation mode,
		 struct strv *warnings, struct err *err)
{
	auto_strv none = {0}, found = {0};
	int r = schema_check_strict(m, what, obj, mode == FIELDS_IGNORE ? mode : FIELDS_WARN, &none,
				    &found, err);

	if (r < 0)
		return r;
	if (found.n)
		qsort(found.v, found.n, sizeof(*found.v), by_text);
	return strict_result(what, mode, &found, warnings, err);
}

/* The first 30 bytes in hex, as apiserver shows what it could not read. */
static int unreadable(const struct message *m, const char *json, size_t len, struct err *err)
{
	auto_strbuf hex = {0};

	for (size_t i = 0; i < len && i < 30; i++)
		strbuf_addf(&hex, "%02x", (unsigned char)json[i]);
	auto_free char *why = xstrdup(err ? err_message(err) : "");
	return err_set(err, err ? err->reason : ERR_BAD_REQUEST,
		       "the object provided is unrecognized (must be of type %s): couldn't get "
		       "version/kind; json parse error: %s (%s%s)",
		       short_name(m), why, hex.s ? hex.s : "", len > 30 ? " ..." : "");
}

json_t *decode_json(const struct message *m, const char *what, const char *json, size_t len,
		    enum field_validation mode, struct strv *warnings, json_t **ret_sent,
		    struct err *err)
{
	auto_strv found = {0};
	json_auto_t *obj =
		json_scan(json, len, BODY_VALUES_MAX, mode == FIELDS_IGNORE ? NULL : &found, err);

	if (!obj) {
		unreadable(m, json, len, err);
		return NULL;
	}
	if (ret_sent)
		*ret_sent = json_deep_copy(obj);
	if (schema_check_strict(m, what, obj, mode, &found, warnings, err) < 0)
		return NULL;
	return steal_ptr(obj);
}

json_t *schema_decode_json(const struct message *m, const char *what, const char *json, size_t len,
			   enum field_validation mode, struct strv *warnings, struct err *err)
{
	return decode_json(m, what, json, len, mode, warnings, NULL, err);
}
