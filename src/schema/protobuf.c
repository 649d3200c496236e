/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Protobuf request bodies to JSON, by the field tables (protobuf encoding: protobuf.dev
 * "Encoding"; Kubernetes' envelope: apimachinery/pkg/runtime/serializer/protobuf). A cursor with a
 * sticky error reads the wire; gogo-proto writes every non-pointer scalar, so empty values are
 * dropped again by schema_check(). Depth and the number of values are bounded.
 */
#include "internal.h"

#define MAX_DEPTH 64

enum wire { WIRE_VARINT = 0, WIRE_FIXED64 = 1, WIRE_BYTES = 2, WIRE_FIXED32 = 5 };

struct cursor {
	const uint8_t *p, *end;
	bool bad;
};

/* Bounds shared by the whole body, and the first complaint that is not about the wire. */
struct proto {
	int depth;
	size_t values;
	const char *why;
};

static void decode_message(struct proto *d, struct cursor *c, const struct message *m, json_t *obj);

/* ---- wire ------------------------------------------------------------------------------- */

static void cursor_fail(struct cursor *c)
{
	c->bad = true;
	c->p = c->end;
}

static bool cursor_more(const struct cursor *c)
{
	return !c->bad && c->p < c->end;
}

static uint64_t read_varint(struct cursor *c)
{
	uint64_t v = 0;

	for (int shift = 0; shift < 70; shift += 7) {
		if (c->p >= c->end)
			break;
		uint8_t byte = *c->p++;
		if (shift < 64)
			v |= (uint64_t)(byte & 0x7f) << shift;
		if (!(byte & 0x80))
			return v;
	}
	cursor_fail(c);
	return 0;
}

static double read_double(struct cursor *c)
{
	uint64_t bits = 0;
	double v;

	if (c->end - c->p < 8) {
		cursor_fail(c);
		return 0;
	}
	for (int i = 0; i < 8; i++)
		bits |= (uint64_t)c->p[i] << (8 * i);
	c->p += 8;
	memcpy(&v, &bits, sizeof(v));
	return v;
}

/* A length-delimited value, as a cursor of its own. */
static struct cursor read_bytes(struct cursor *c)
{
	uint64_t len = read_varint(c);
	struct cursor sub = {.p = c->p, .end = c->p};

	if (c->bad || len > (uint64_t)(c->end - c->p)) {
		cursor_fail(c);
		sub.p = sub.end = c->end;
		return sub;
	}
	sub.end = c->p + len;
	c->p += len;
	return sub;
}

/* Reads a tag; returns the field number, 0 when the cursor fails. */
static uint32_t read_tag(struct cursor *c, enum wire *wire)
{
	uint64_t tag = read_varint(c);

	*wire = (enum wire)(tag & 7);
	if (tag >> 3 == 0 || tag >> 3 > 0x1fffffff)
		cursor_fail(c);
	return c->bad ? 0 : (uint32_t)(tag >> 3);
}

static void skip_value(struct cursor *c, enum wire wire)
{
	switch (wire) {
	case WIRE_VARINT:
		read_varint(c);
		return;
	case WIRE_BYTES:
		read_bytes(c);
		return;
	case WIRE_FIXED64:
	case WIRE_FIXED32:
		if (c->end - c->p < (wire == WIRE_FIXED64 ? 8 : 4))
			break;
		c->p += wire == WIRE_FIXED64 ? 8 : 4;
		return;
	}
	cursor_fail(c); /* groups are long gone */
}

/* ---- values ----------------------------------------------------------------------------- */

static json_t *proto_text(struct proto *d, struct cursor s)
{
	json_t *v;

	if (memchr(s.p, 0, (size_t)(s.end - s.p))) {
		d->why = "a string holds the character U+0000";
		return NULL;
	}
	v = json_stringn((const char *)s.p, (size_t)(s.end - s.p));
	if (!v)
		d->why = "string field contains invalid UTF-8";
	return v;
}

/* The fields of the small messages with a form of their own in JSON. */
struct parts {
	int64_t number[4]; /* by field number */
	struct cursor bytes[4];
};

static struct parts read_parts(struct cursor *c)
{
	struct parts parts = {0};
	struct cursor s = read_bytes(c);
	enum wire wire;

	while (cursor_more(&s)) {
		uint32_t n = read_tag(&s, &wire);

		if (n < 4 && wire == WIRE_VARINT)
			parts.number[n] = (int64_t)read_varint(&s);
		else if (n < 4 && wire == WIRE_BYTES)
			parts.bytes[n] = read_bytes(&s);
		else
			skip_value(&s, wire);
	}
	if (s.bad)
		cursor_fail(c);
	return parts;
}

static json_t *proto_time(const struct field *f, const struct parts *t)
{
	char buf[TIME_RFC3339_MAX];
	struct timespec ts = {.tv_sec = t->number[1], .tv_nsec = t->number[2]};

	if (ts.tv_sec == 0 && ts.tv_nsec == 0)
		return json_null();
	/* years 1 to 9999 are all that RFC 3339 can say */
	if (ts.tv_sec < INT64_C(-62135596800) || ts.tv_sec > INT64_C(253402300799) ||
	    ts.tv_nsec < 0 || ts.tv_nsec > 999999999)
		return NULL;
	if (f->type == FIELD_TIME)
		return json_string(time_format(buf, ts.tv_sec));
	return json_string(time_format_micro(buf, ts));
}

/* Go's time.Duration.String() in whole seconds and a fraction: "1h0m0.5s". */
static json_t *proto_duration(int64_t ns)
{
	uint64_t n = ns < 0 ? -(uint64_t)ns : (uint64_t)ns, s = n / 1000000000;
	const char *sign = ns < 0 ? "-" : "";
	char fraction[16] = "";

	if (n % 1000000000) {
		snprintf(fraction, sizeof(fraction), ".%09llu",
			 (unsigned long long)(n % 1000000000));
		for (size_t i = strlen(fraction); fraction[i - 1] == '0'; i--)
			fraction[i - 1] = '\0';
	}
	if (s >= 3600)
		return json_sprintf("%s%lluh%llum%llu%ss", sign, (unsigned long long)(s / 3600),
				    (unsigned long long)(s / 60 % 60), (unsigned long long)(s % 60),
				    fraction);
	if (s >= 60)
		return json_sprintf("%s%llum%llu%ss", sign, (unsigned long long)(s / 60),
				    (unsigned long long)(s % 60), fraction);
	return json_sprintf("%s%llu%ss", sign, (unsigned long long)s, fraction);
}

static json_t *proto_raw(struct proto *d, struct cursor s)
{
	json_t *v;

	if (s.p == s.end)
		return json_null();
	v = json_scan((const char *)s.p, (size_t)(s.end - s.p), BODY_VALUES_MAX, NULL, NULL);
	if (!v)
		d->why = "an embedded object is not JSON";
	return v;
}

static json_t *proto_base64(struct cursor s)
{
	auto_free char *text = base64_encode(s.p, (size_t)(s.end - s.p));

	return json_string(text);
}

static json_t *proto_object(struct proto *d, struct cursor *c, const struct message *m)
{
	struct cursor sub = read_bytes(c);
	json_t *obj = json_object();

	decode_message(d, &sub, m, obj);
	if (sub.bad)
		cursor_fail(c);
	return obj;
}

/* Small messages: Time, Quantity, IntOrString, ... */
static json_t *proto_special(struct proto *d, struct cursor *c, const struct field *f)
{
	struct parts parts = read_parts(c);
	struct cursor none = {0};

	switch ((enum field_type)f->type) {
	case FIELD_TIME:
	case FIELD_MICROTIME:
		return proto_time(f, &parts);
	case FIELD_DURATION:
		return proto_duration(parts.number[1]);
	case FIELD_QUANTITY:
		if (parts.bytes[1].p == parts.bytes[1].end)
			return json_string("0");
		return proto_text(d, parts.bytes[1]);
	case FIELD_INT_OR_STRING:
		if (parts.number[1] == 0)
			return json_integer((int32_t)parts.number[2]);
		return parts.bytes[3].p ? proto_text(d, parts.bytes[3]) : json_string("");
	case FIELD_RAW:
		return proto_raw(d, parts.bytes[1].p ? parts.bytes[1] : none);
	case FIELD_STRING:
	case FIELD_BOOL:
	case FIELD_INT32:
	case FIELD_INT64:
	case FIELD_DOUBLE:
	case FIELD_BYTES:
	case FIELD_OBJECT:
		break;
	}
	return NULL;
}

static enum wire wire_of(const struct field *f)
{
	if (f->type == FIELD_BOOL || f->type == FIELD_INT32 || f->type == FIELD_INT64)
		return WIRE_VARINT;
	return f->type == FIELD_DOUBLE ? WIRE_FIXED64 : WIRE_BYTES;
}

/* One value of f's type; NULL when it is malformed. */
static json_t *proto_value(struct proto *d, struct cursor *c, const struct field *f)
{
	if (++d->values > BODY_VALUES_MAX) {
		d->why = "the object holds too many values";
		return NULL;
	}
	switch ((enum field_type)f->type) {
	case FIELD_STRING:
		return proto_text(d, read_bytes(c));
	case FIELD_BYTES:
		return proto_base64(read_bytes(c));
	case FIELD_BOOL:
		return json_boolean(read_varint(c) != 0);
	case FIELD_INT32:
		return json_integer((int32_t)read_varint(c));
	case FIELD_INT64:
		return json_integer((int64_t)read_varint(c));
	case FIELD_DOUBLE:
		return json_real(read_double(c));
	case FIELD_OBJECT:
		return proto_object(d, c, f->message);
	case FIELD_TIME:
	case FIELD_MICROTIME:
	case FIELD_DURATION:
	case FIELD_QUANTITY:
	case FIELD_INT_OR_STRING:
	case FIELD_RAW:
		return proto_special(d, c, f);
	}
	return NULL;
}

/* ---- fields ----------------------------------------------------------------------------- */

static void proto_map_entry(struct proto *d, struct cursor *c, const struct field *f, json_t *map)
{
	struct cursor entry = read_bytes(c);
	json_auto_t *key = json_string(""), *value = NULL;
	enum wire wire;

	while (cursor_more(&entry)) {
		uint32_t n = read_tag(&entry, &wire);

		if (n == 1 && wire == WIRE_BYTES) {
			json_decref(key);
			key = proto_text(d, read_bytes(&entry));
		} else if (n == 2 && wire == wire_of(f)) {
			json_decref(value);
			value = proto_value(d, &entry, f);
			if (!value)
				cursor_fail(&entry);
		} else {
			skip_value(&entry, wire);
		}
		if (!key)
			cursor_fail(&entry);
	}
	if (entry.bad)
		cursor_fail(c);
	else if (value)
		json_object_set(map, json_string_value(key), value);
	else if (f->type == FIELD_STRING || f->type == FIELD_BYTES)
		json_object_set_new(map, json_string_value(key), json_string(""));
	if (json_object_size(map) > JSON_MEMBERS_MAX) {
		d->why = "a map of the object holds too many values";
		cursor_fail(c);
	}
}

static void proto_list(struct proto *d, struct cursor *c, const struct field *f, enum wire wire,
		       json_t *list)
{
	struct cursor packed = *c, *from = c;

	if (wire == WIRE_BYTES && wire_of(f) != WIRE_BYTES) {
		packed = read_bytes(c);
		from = &packed;
	}
	do {
		if (from == &packed && !cursor_more(from))
			break;
		json_t *v = proto_value(d, from, f);
		if (!v)
			cursor_fail(from);
		else
			json_array_append_new(list, v);
	} while (from == &packed && cursor_more(from));
	if (from->bad)
		cursor_fail(c);
}

/* A struct that Go holds by value is written even when it is empty. */
static bool is_empty_struct(const struct field *f, const json_t *v)
{
	return f->type == FIELD_OBJECT && !(f->flags & (FIELD_POINTER | FIELD_ALWAYS)) &&
	       json_object_size(v) == 0;
}

static json_t *member(json_t *obj, const char *name, bool array)
{
	json_t *v = json_object_get(obj, name);

	if (!v) {
		v = array ? json_array() : json_object();
		json_object_set_new(obj, name, v);
	}
	return v;
}

static void proto_field(struct proto *d, struct cursor *c, const struct field *f, enum wire wire,
			json_t *obj)
{
	bool list = f->list != LIST_NONE && f->list != LIST_STRING_MAP;

	if (f->flags & FIELD_INLINE) {
		struct cursor sub = read_bytes(c);

		decode_message(d, &sub, f->message, obj);
		if (sub.bad)
			cursor_fail(c);
	} else if (f->list == LIST_STRING_MAP) {
		proto_map_entry(d, c, f, member(obj, f->name, false));
	} else if (list) {
		proto_list(d, c, f, wire, member(obj, f->name, true));
	} else {
		json_t *v = proto_value(d, c, f);

		if (!v)
			cursor_fail(c);
		else if (json_is_null(v) || is_empty_struct(f, v))
			json_decref(v);
		else
			json_object_set_new(obj, f->name, v);
	}
}

/* May the field come with this wire type? Numbers in lists may be packed. */
static bool wire_fits(const struct field *f, enum wire wire)
{
	if (f->list == LIST_STRING_MAP)
		return wire == WIRE_BYTES;
	return wire == wire_of(f) || (f->list != LIST_NONE && wire == WIRE_BYTES);
}

static const struct field *field_by_number(const struct message *m, uint32_t number)
{
	for (size_t i = 0; i < m->n_fields; i++)
		if (m->fields[i].number == number)
			return &m->fields[i];
	return NULL;
}

static void decode_message(struct proto *d, struct cursor *c, const struct message *m, json_t *obj)
{
	enum wire wire;

	if (++d->depth > MAX_DEPTH) {
		d->why = "exceeded max depth";
		cursor_fail(c);
	}
	while (cursor_more(c)) {
		uint32_t number = read_tag(c, &wire);
		const struct field *f = number ? field_by_number(m, number) : NULL;

		if (!f)
			skip_value(c, wire);
		else if (!wire_fits(f, wire))
			cursor_fail(c);
		else
			proto_field(d, c, f, wire, obj);
	}
	d->depth--;
}

/* ---- envelope --------------------------------------------------------------------------- */

struct envelope {
	char api_version[API_VERSION_MAX], kind[API_VERSION_MAX];
	struct cursor raw;
};

static void copy_text(struct cursor s, char buf[static API_VERSION_MAX])
{
	size_t len = (size_t)(s.end - s.p);

	if (len >= API_VERSION_MAX)
		len = API_VERSION_MAX - 1;
	memcpy(buf, s.p, len);
	buf[len] = '\0';
}

/* runtime.Unknown {1: TypeMeta {1: apiVersion, 2: kind}, 2: raw} */
static int read_envelope(const uint8_t *data, size_t len, struct envelope *e, struct err *err)
{
	static const char magic[4] = {'k', '8', 's', '\0'};
	struct cursor c = {.p = data + sizeof(magic), .end = data + len};
	enum wire wire;

	if (len < sizeof(magic) || memcmp(data, magic, sizeof(magic)) != 0)
		return err_set(err, ERR_BAD_REQUEST,
			       "provided data does not appear to be a protobuf message, expected "
			       "prefix [107 56 115 0]");
	e->raw = (struct cursor){.p = c.p, .end = c.p};
	while (cursor_more(&c)) {
		uint32_t n = read_tag(&c, &wire);

		if (n == 1 && wire == WIRE_BYTES) {
			struct parts type = read_parts(&c);

			if (type.bytes[1].p)
				copy_text(type.bytes[1], e->api_version);
			if (type.bytes[2].p)
				copy_text(type.bytes[2], e->kind);
		} else if (n == 2 && wire == WIRE_BYTES) {
			e->raw = read_bytes(&c);
		} else {
			skip_value(&c, wire);
		}
	}
	if (c.bad)
		return err_set(err, ERR_BAD_REQUEST, "proto: unexpected end of the envelope");
	return 0;
}

/* What the envelope leaves out is taken from the type that was expected. */
static void complete_envelope(struct envelope *e, const struct message *m)
{
	for (size_t i = 0; i < n_schema_packages; i++) {
		const struct schema_package *p = &schema_packages[i];

		if (!*e->api_version && str_starts(m->name, p->prefix) &&
		    !strchr(m->name + strlen(p->prefix) + 1, '.'))
			snprintf(e->api_version, sizeof(e->api_version), "%s%s%s", p->group,
				 *p->group ? "/" : "", p->version);
	}
	if (!*e->kind)
		snprintf(e->kind, sizeof(e->kind), "%s", strrchr(m->name, '.') + 1);
}

static const struct message *expected_type(const struct message *m, const struct envelope *e,
					   struct err *err)
{
	const char *expected = m ? strrchr(m->name, '.') + 1 : "";
	const char *slash = strchr(e->api_version, '/');

	if (!m && !(m = message_for(e->api_version, e->kind)))
		err_set(err, ERR_BAD_REQUEST, "no kind \"%s\" is registered for version \"%s\"",
			e->kind, e->api_version);
	else if (*expected && *e->kind && !streq(e->kind, expected)) {
		err_set(err, ERR_BAD_REQUEST,
			"%s in version \"%s\" cannot be handled as a %s: unknown conversion",
			e->kind, slash ? slash + 1 : e->api_version, expected);
		return NULL;
	}
	return m;
}

json_t *schema_decode_protobuf(const struct message *m, const void *data, size_t len,
			       struct err *err)
{
	struct envelope e = {0};
	struct proto d = {0};
	json_auto_t *obj = NULL;

	if (read_envelope(data, len, &e, err) < 0 || !(m = expected_type(m, &e, err)))
		return NULL;
	complete_envelope(&e, m);
	obj = json_object();
	/* a name that is no UTF-8 can not be one of ours, and can not be stored */
	if (message_field(m, "kind") &&
	    (json_object_set_new(obj, "apiVersion", json_string(e.api_version)) < 0 ||
	     json_object_set_new(obj, "kind", json_string(e.kind)) < 0)) {
		err_set(err, ERR_BAD_REQUEST, "proto: string field contains invalid UTF-8");
		return NULL;
	}
	decode_message(&d, &e.raw, m, obj);
	if (e.raw.bad) {
		err_set(err, ERR_BAD_REQUEST, "%s: proto: %s", e.kind,
			d.why ? d.why : "unexpected EOF");
		return NULL;
	}
	if (schema_check(m, NULL, obj, FIELDS_IGNORE, NULL, err) < 0)
		return NULL;
	return steal_ptr(obj);
}
