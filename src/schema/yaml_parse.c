/* SPDX-License-Identifier: Apache-2.0 */
/*
 * YAML to JSON on libyaml's events, with the scalars of YAML 1.1 as sigs.k8s.io/yaml reads them:
 * yes/no/on/off are booleans, 0777 is octal, timestamps stay text. Duplicate keys are reported,
 * nesting and the expansion of aliases are bounded.
 */
#include "internal.h"
#include <math.h>
#include <yaml.h>

#define DEPTH_MAX 256
#define DOCUMENTS_MAX 10000
/* Bytes (about) that all aliases of a text together may add. */
#define ALIAS_MAX ((size_t)16 << 20)
#define NODE_COST 64

struct loader {
	yaml_parser_t parser;
	const char *text, *end; /* not yet read */
	size_t values;		/* of the document */
	struct map anchors;	/* name -> json_t, owned */
	struct strv *duplicates;
	size_t alias_cost;
	struct err *err;
};

static void event_done(yaml_event_t *e)
{
	yaml_event_delete(e);
}
#define auto_event __attribute__((cleanup(event_done))) yaml_event_t

static int fail(struct loader *l, size_t line, const char *text)
{
	return err_set(l->err, ERR_BAD_REQUEST, "error converting YAML to JSON: yaml: line %zu: %s",
		       line, text);
}

/* The parser's own complaint, with the line where go-yaml would put it. */
static int fail_parser(struct loader *l)
{
	const yaml_parser_t *p = &l->parser;
	size_t line = p->problem_mark.line ? p->problem_mark.line : p->context_mark.line;
	const char *problem = p->problem ? p->problem : "unknown problem parsing YAML content";

	if (p->problem_mark.line && p->error == YAML_SCANNER_ERROR)
		line++;
	if (line)
		return fail(l, line, problem);
	return err_set(l->err, ERR_BAD_REQUEST, "error converting YAML to JSON: yaml: %s", problem);
}

static int next_event(struct loader *l, yaml_event_t *e)
{
	return yaml_parser_parse(&l->parser, e) ? 0 : fail_parser(l);
}

/* ---- scalars -------------------------------------------------------------------------------- */

enum word { WORD_TRUE, WORD_FALSE, WORD_NULL, WORD_INFINITE };

static const struct {
	const char *text;
	enum word word;
} words[] = {
	{"y", WORD_TRUE},	  {"Y", WORD_TRUE},	    {"yes", WORD_TRUE},
	{"Yes", WORD_TRUE},	  {"YES", WORD_TRUE},	    {"true", WORD_TRUE},
	{"True", WORD_TRUE},	  {"TRUE", WORD_TRUE},	    {"on", WORD_TRUE},
	{"On", WORD_TRUE},	  {"ON", WORD_TRUE},	    {"n", WORD_FALSE},
	{"N", WORD_FALSE},	  {"no", WORD_FALSE},	    {"No", WORD_FALSE},
	{"NO", WORD_FALSE},	  {"false", WORD_FALSE},    {"False", WORD_FALSE},
	{"FALSE", WORD_FALSE},	  {"off", WORD_FALSE},	    {"Off", WORD_FALSE},
	{"OFF", WORD_FALSE},	  {"", WORD_NULL},	    {"~", WORD_NULL},
	{"null", WORD_NULL},	  {"Null", WORD_NULL},	    {"NULL", WORD_NULL},
	{".nan", WORD_INFINITE},  {".NaN", WORD_INFINITE},  {".NAN", WORD_INFINITE},
	{".inf", WORD_INFINITE},  {".Inf", WORD_INFINITE},  {".INF", WORD_INFINITE},
	{"+.inf", WORD_INFINITE}, {"+.Inf", WORD_INFINITE}, {"+.INF", WORD_INFINITE},
	{"-.inf", WORD_INFINITE}, {"-.Inf", WORD_INFINITE}, {"-.INF", WORD_INFINITE},
};

/* Digits of the given base up to the end of s; -EINVAL, -ERANGE. */
static int parse_magnitude(const char *s, int base, uint64_t *ret)
{
	uint64_t v = 0;

	if (!*s)
		return -EINVAL;
	for (; *s; s++) {
		int digit = *s >= '0' && *s <= '9'   ? *s - '0'
			    : *s >= 'a' && *s <= 'f' ? *s - 'a' + 10
			    : *s >= 'A' && *s <= 'F' ? *s - 'A' + 10
						     : 99;

		if (digit >= base)
			return -EINVAL;
		if (__builtin_mul_overflow(v, (uint64_t)base, &v) ||
		    __builtin_add_overflow(v, (uint64_t)digit, &v))
			return -ERANGE;
	}
	*ret = v;
	return 0;
}

/* 12, -3, 0x1f, 0b101, 0o17, 017; NULL when s is no integer. */
static json_t *parse_integer(const char *s)
{
	bool negative = *s == '-';
	uint64_t v;
	int base = 10;

	s += *s == '-' || *s == '+';
	if (s[0] == '0' && s[1]) {
		char c = (char)(s[1] | 0x20);

		base = c == 'x' ? 16 : c == 'b' ? 2 : 8;
		s += c == 'x' || c == 'b' || c == 'o' ? 2 : 1;
	}
	if (parse_magnitude(s, base, &v) < 0)
		return NULL;
	if (v <= INT64_MAX)
		return json_integer(negative ? -(int64_t)v : (int64_t)v);
	if (negative)
		return v == (uint64_t)INT64_MAX + 1 ? json_integer(INT64_MIN) : NULL;
	return json_real((double)v);
}

static size_t digits(const char *s)
{
	return strspn(s, "0123456789");
}

/* Is s [-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)? */
static bool looks_like_float(const char *s)
{
	size_t whole, fraction = 0;

	s += *s == '-' || *s == '+';
	whole = digits(s);
	s += whole;
	if (*s == '.') {
		fraction = digits(++s);
		s += fraction;
	}
	if (!whole && !fraction)
		return false;
	if (*s == 'e' || *s == 'E') {
		s++;
		s += *s == '-' || *s == '+';
		if (!digits(s))
			return false;
		s += digits(s);
	}
	return !*s;
}

static json_t *parse_number(const char *text)
{
	auto_strbuf b = {0};
	json_t *v;
	double d;

	for (const char *s = text; *s; s++) {
		if (*s != '_')
			strbuf_addc(&b, *s);
	}
	v = parse_integer(b.s);
	if (v || !looks_like_float(b.s))
		return v;
	d = strtod(b.s, NULL);
	if (!isfinite(d))
		return NULL;
	/* JSON knows no difference between 1 and 1.0. */
	if (d == floor(d) && fabs(d) < 9e18)
		return json_integer((int64_t)d);
	return json_real(d);
}

json_t *yaml_resolve_plain(const char *s, size_t len)
{
	json_t *v;

	for (size_t i = 0; i < ARRAY_SIZE(words); i++) {
		if (!streq(words[i].text, s))
			continue;
		switch (words[i].word) {
		case WORD_TRUE:
			return json_true();
		case WORD_FALSE:
			return json_false();
		case WORD_NULL:
			return json_null();
		case WORD_INFINITE:
			return NULL;
		}
	}
	if (len < 128 && *s && strchr("+-.0123456789", *s)) {
		v = parse_number(s);
		if (v)
			return v;
	}
	return json_stringn(s, len);
}

static json_t *decode_binary(const char *s, size_t len)
{
	auto_free unsigned char *data = NULL;
	auto_strbuf packed = {0};
	size_t n;

	for (size_t i = 0; i < len; i++) {
		if (!strchr(" \t\r\n", s[i]))
			strbuf_addc(&packed, s[i]);
	}
	if (base64_decode(packed.s ? packed.s : "", packed.len, &data, &n) < 0)
		return NULL;
	return memchr(data, 0, n) ? NULL : json_stringn((char *)data, n);
}

static json_t *load_scalar(struct loader *l, const yaml_event_t *e)
{
	const char *s = (const char *)e->data.scalar.value;
	const char *tag = (const char *)e->data.scalar.tag;
	size_t len = e->data.scalar.length;
	json_t *v = NULL;

	if (memchr(s, 0, len)) {
		fail(l, e->start_mark.line + 1, "control characters are not allowed");
		return NULL;
	}
	if (tag && streq(tag, "tag:yaml.org,2002:binary")) {
		v = decode_binary(s, len);
	} else if (tag && !streq(tag, YAML_STR_TAG)) {
		bool known = streq(tag, YAML_INT_TAG) || streq(tag, YAML_FLOAT_TAG) ||
			     streq(tag, YAML_BOOL_TAG) || streq(tag, YAML_NULL_TAG);
		v = known ? yaml_resolve_plain(s, len) : json_stringn(s, len);
	} else if (!tag && e->data.scalar.style == YAML_PLAIN_SCALAR_STYLE) {
		v = yaml_resolve_plain(s, len);
	} else {
		v = json_stringn(s, len);
	}
	if (!v)
		fail(l, e->start_mark.line + 1, "a value that JSON cannot hold");
	return v;
}

/* ---- anchors -------------------------------------------------------------------------------- */

static void put_anchor(struct loader *l, const yaml_char_t *name, json_t *v)
{
	if (name)
		json_decref(map_put(&l->anchors, (const char *)name, json_incref(v)));
}

static void drop_anchors(struct loader *l)
{
	size_t i = 0;
	const char *key;
	void *v;

	while (map_next(&l->anchors, &i, &key, &v))
		json_decref(v);
	map_done(&l->anchors);
}

/* Adds the size of a copy of v; stops early when the limit is passed. */
static void count_cost(const json_t *v, size_t *cost)
{
	const char *key;
	json_t *e;
	size_t i;

	*cost += NODE_COST + json_string_length(v);
	if (*cost > ALIAS_MAX)
		return;
	json_object_foreach((json_t *)v, key, e)
	{
		*cost += strlen(key);
		count_cost(e, cost);
		if (*cost > ALIAS_MAX)
			return;
	}
	json_array_foreach(v, i, e)
	{
		count_cost(e, cost);
		if (*cost > ALIAS_MAX)
			return;
	}
}

static json_t *load_alias(struct loader *l, const yaml_event_t *e)
{
	const char *name = (const char *)e->data.alias.anchor;
	json_t *v = map_get(&l->anchors, name);
	char text[160];

	if (!v) {
		snprintf(text, sizeof(text), "unknown anchor '%.100s' referenced", name);
		fail(l, e->start_mark.line + 1, text);
		return NULL;
	}
	count_cost(v, &l->alias_cost);
	if (l->alias_cost > ALIAS_MAX) {
		fail(l, e->start_mark.line + 1, "document contains excessive aliasing");
		return NULL;
	}
	return json_deep_copy(v);
}

/* ---- nodes ---------------------------------------------------------------------------------- */

static json_t *load_node(struct loader *l, yaml_event_t *e, unsigned depth);

/* Depth of nesting of v, counted up to a limit. */
static unsigned depth_of(const json_t *v, unsigned limit)
{
	unsigned deepest = 0;
	const char *key;
	json_t *e;
	size_t i;

	if (!limit)
		return 1;
	json_object_foreach((json_t *)v, key, e)
	{
		unsigned d = depth_of(e, limit - 1);
		deepest = d > deepest ? d : deepest;
	}
	json_array_foreach(v, i, e)
	{
		unsigned d = depth_of(e, limit - 1);
		deepest = d > deepest ? d : deepest;
	}
	return deepest + 1;
}

static json_t *load_sequence(struct loader *l, unsigned depth)
{
	json_auto_t *out = json_array();

	for (;;) {
		auto_event e = {0};
		json_t *v;

		if (next_event(l, &e) < 0)
			return NULL;
		if (e.type == YAML_SEQUENCE_END_EVENT)
			return json_incref(out);
		v = load_node(l, &e, depth + 1);
		if (!v)
			return NULL;
		json_array_append_new(out, v);
	}
}

/* Text of a key; scalars other than strings are written out. NULL + error. */
static char *load_key(struct loader *l, yaml_event_t *e, unsigned depth, bool *merge)
{
	json_auto_t *v = load_node(l, e, depth);

	*merge = e->type == YAML_SCALAR_EVENT && !e->data.scalar.tag &&
		 e->data.scalar.style == YAML_PLAIN_SCALAR_STYLE &&
		 streq((const char *)e->data.scalar.value, "<<");
	if (!v)
		return NULL;
	if (json_is_string(v) && json_string_length(v) <= JSON_KEY_MAX)
		return xstrdup(json_string_value(v));
	if (json_is_number(v) || json_is_boolean(v)) {
		auto_free char *text = json_dumps(v, JSON_ENCODE_ANY | JSON_REAL_PRECISION(15));
		return xstrdup(text ? text : "");
	}
	fail(l, e->start_mark.line + 1, "invalid map key");
	return NULL;
}

/* "<<": members of a map (or of several) that out does not have itself. */
static int merge_members(struct loader *l, json_t *out, json_t *v, size_t line)
{
	json_t *m;
	size_t i;

	if (json_is_object(v)) {
		json_object_update_missing(out, v);
		return 0;
	}
	json_array_foreach(v, i, m)
	{
		if (!json_is_object(m))
			return fail(l, line,
				    "map merge requires map or sequence of maps as the "
				    "value");
		json_object_update_missing(out, m);
	}
	if (json_is_array(v))
		return 0;
	return fail(l, line, "map merge requires map or sequence of maps as the value");
}

/* Reads one value and puts it under the key that e holds. */
static int load_member(struct loader *l, yaml_event_t *e, json_t *out, json_t *merges,
		       unsigned depth)
{
	size_t line = e->start_mark.line + 1;
	auto_free char *key = NULL;
	auto_event value = {0};
	bool merge;
	json_t *v;

	key = load_key(l, e, depth + 1, &merge);
	if (!key || next_event(l, &value) < 0)
		return -EINVAL;
	v = load_node(l, &value, depth + 1);
	if (!v)
		return -EINVAL;
	if (merge)
		return json_array_append_new(merges, v) ? -EINVAL : 0;
	if (json_object_get(out, key) && l->duplicates && l->duplicates->n < 100)
		strv_addf(l->duplicates, "line %zu: key \"%s\" already set in map", line, key);
	if (json_object_set_new(out, key, v))
		return fail(l, line, "invalid map key");
	if (json_object_size(out) > JSON_MEMBERS_MAX)
		return fail(l, line, "the map holds too many values");
	return 0;
}

static json_t *load_mapping(struct loader *l, size_t line, unsigned depth)
{
	json_auto_t *out = json_object(), *merges = json_array();
	json_t *m;
	size_t i;

	for (;;) {
		auto_event e = {0};

		if (next_event(l, &e) < 0)
			return NULL;
		if (e.type == YAML_MAPPING_END_EVENT)
			break;
		if (load_member(l, &e, out, merges, depth) < 0)
			return NULL;
	}
	json_array_foreach(merges, i, m)
	{
		if (merge_members(l, out, m, line) < 0)
			return NULL;
		if (json_object_size(out) > JSON_MEMBERS_MAX) {
			fail(l, line, "the map holds too many values");
			return NULL;
		}
	}
	return json_incref(out);
}

static json_t *load_node(struct loader *l, yaml_event_t *e, unsigned depth)
{
	size_t line = e->start_mark.line + 1;
	json_t *v;

	if (depth > DEPTH_MAX) {
		fail(l, line, "exceeded max depth");
		return NULL;
	}
	if (++l->values > BODY_VALUES_MAX) {
		fail(l, line, "the document holds too many values");
		return NULL;
	}
	if (e->type == YAML_ALIAS_EVENT) {
		v = load_alias(l, e);
		if (v && depth_of(v, DEPTH_MAX) + depth > DEPTH_MAX) {
			json_decref(v);
			fail(l, line, "exceeded max depth");
			return NULL;
		}
		return v;
	}
	if (e->type == YAML_SCALAR_EVENT) {
		v = load_scalar(l, e);
		if (v)
			put_anchor(l, e->data.scalar.anchor, v);
	} else if (e->type == YAML_SEQUENCE_START_EVENT) {
		v = load_sequence(l, depth);
		if (v)
			put_anchor(l, e->data.sequence_start.anchor, v);
	} else {
		v = load_mapping(l, line, depth);
		if (v)
			put_anchor(l, e->data.mapping_start.anchor, v);
	}
	return v;
}

/* ---- streams -------------------------------------------------------------------------------- */

/* Reads the node of a document and its end. */
static json_t *load_document(struct loader *l)
{
	json_auto_t *v = NULL;
	auto_event node = {0}, end = {0};

	if (next_event(l, &node) < 0)
		return NULL;
	l->values = 0;
	v = load_node(l, &node, 0);
	drop_anchors(l);
	if (!v || next_event(l, &end) < 0)
		return NULL;
	return json_incref(v);
}

static int load_stream(struct loader *l, json_t *docs)
{
	for (;;) {
		auto_event e = {0};
		json_t *v;

		if (next_event(l, &e) < 0)
			return -EINVAL;
		if (e.type == YAML_STREAM_END_EVENT)
			return 0;
		if (e.type != YAML_DOCUMENT_START_EVENT)
			continue;
		if (json_array_size(docs) >= DOCUMENTS_MAX)
			return fail(l, e.start_mark.line + 1, "too many documents");
		v = load_document(l);
		if (!v)
			return -EINVAL;
		if (!json_is_null(v))
			json_array_append(docs, v);
		json_decref(v);
	}
}

/* JSON documents one after the other. NULL when the text is not that. */
static json_t *load_json_stream(const char *text, size_t len)
{
	json_auto_t *docs = json_array();

	for (;;) {
		json_error_t je;
		json_t *v;

		while (len && strchr(" \t\r\n", *text)) {
			text++;
			len--;
		}
		if (!len)
			return json_incref(docs);
		v = json_loadb(text, len, JSON_DISABLE_EOF_CHECK, &je);
		if (!v || je.position <= 0 || json_array_size(docs) >= DOCUMENTS_MAX) {
			json_decref(v);
			return NULL;
		}
		json_array_append_new(docs, v);
		text += je.position;
		len -= (size_t)je.position;
	}
}

/* libyaml asks for its input piece by piece, also within one long scalar. */
static int read_piece(void *data, unsigned char *buffer, size_t size, size_t *ret)
{
	struct loader *l = data;
	size_t left = (size_t)(l->end - l->text);

	breath_take();
	*ret = left < size ? left : size;
	memcpy(buffer, l->text, *ret);
	l->text += *ret;
	return 1;
}

json_t *yaml_load(const char *text, size_t len, struct strv *duplicates, struct err *err)
{
	struct loader l = {.text = text, .end = text + len, .duplicates = duplicates, .err = err};
	json_auto_t *docs = json_array();
	int r;

	if (!yaml_parser_initialize(&l.parser))
		abort();
	yaml_parser_set_input(&l.parser, read_piece, &l);
	r = load_stream(&l, docs);
	yaml_parser_delete(&l.parser);
	drop_anchors(&l);
	return r < 0 ? NULL : json_incref(docs);
}

bool yaml_is_json(const char *text, size_t len)
{
	size_t i = 0;

	while (i < len && text[i] && strchr(" \t\r\n", text[i]))
		i++;
	return i < len && text[i] == '{';
}

json_t *yaml_parse_all(const char *text, size_t len, struct err *err)
{
	/* libyaml knows neither surrogate pairs nor all of JSON's escapes. */
	json_t *docs = yaml_is_json(text, len) ? load_json_stream(text, len) : NULL;

	return docs ? docs : yaml_load(text, len, NULL, err);
}
