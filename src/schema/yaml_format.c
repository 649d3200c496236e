/* SPDX-License-Identifier: Apache-2.0 */
/*
 * JSON to YAML the way `kubectl -o yaml` prints it: block style, sorted keys, sequences not
 * indented below their key, quotes only where a plain scalar would mean something else.
 */
#include "internal.h"
#include <ctype.h>
#include <yaml.h>

/* Of the word below, before it is written in hexadecimal digits. */
#define WORD_BYTES 16

/*
 * libyaml goes over a scalar several times before it writes any of it, in one go. So it is given a
 * word in place of a long one, and the text is put in where the word stands.
 */
struct writer {
	yaml_emitter_t em;
	struct strbuf out;
	char word[2 * WORD_BYTES + 2];
	const json_t **texts; /* strings, in their order */
	size_t n_texts;
};

static int write_cb(void *data, unsigned char *buffer, size_t size)
{
	breath_take();
	strbuf_add(data, buffer, size);
	return 1;
}

/* ---- order of keys -------------------------------------------------------------------------- */

/* Length of the run of digits at s. */
static size_t digits(const char *s)
{
	return strspn(s, "0123456789");
}

/*
 * Natural order: numbers inside keys compare by value, letters sort behind everything else. It is
 * the order that go-yaml writes maps in.
 */
static int key_cmp(const void *pa, const void *pb)
{
	const char *a = *(const char *const *)pa, *b = *(const char *const *)pb;
	size_t i = 0;

	breathe();
	while (a[i] && a[i] == b[i])
		i++;
	if (!a[i] || !b[i])
		return (a[i] != 0) - (b[i] != 0);
	bool al = isalpha((unsigned char)a[i]) || (unsigned char)a[i] >= 0x80;
	bool bl = isalpha((unsigned char)b[i]) || (unsigned char)b[i] >= 0x80;
	if (al != bl)
		return al ? 1 : -1;
	size_t da = digits(a + i), db = digits(b + i);
	if (!al && da && db && a[i] != '0' && b[i] != '0' && da != db)
		return da < db ? -1 : 1;
	return (unsigned char)a[i] < (unsigned char)b[i] ? -1 : 1;
}

/* ---- what must be quoted -------------------------------------------------------------------- */

/* Skips 1..max digits. NULL when there are none, NULL stays NULL. */
static const char *skip_digits(const char *s, size_t max)
{
	size_t n = s ? digits(s) : 0;

	return n && n <= max ? s + n : NULL;
}

static const char *skip_char(const char *s, const char *set)
{
	return s && *s && strchr(set, *s) ? s + 1 : NULL;
}

/* The timestamps of YAML 1.1 that go-yaml reads: 2001-1-2, with a time behind T, t or a space. */
static bool is_timestamp(const char *s)
{
	bool zoned;

	if (digits(s) != 4)
		return false;
	s = skip_digits(skip_char(s + 4, "-"), 2);
	s = skip_digits(skip_char(s, "-"), 2);
	if (!s || !*s)
		return s;
	zoned = *s != ' ';
	s = skip_digits(skip_char(s, "Tt "), 2);
	s = skip_digits(skip_char(s, ":"), 2);
	s = skip_digits(skip_char(s, ":"), 2);
	if (s && *s == '.')
		s = skip_digits(s + 1, 9);
	if (!s || !zoned)
		return s && !*s;
	if (*s == 'Z')
		return !s[1];
	s = skip_digits(skip_char(s, "+-"), 2);
	s = skip_digits(skip_char(s, ":"), 2);
	return s && !*s;
}

/* "10:30": a number to base 60 for other readers of YAML 1.1. */
static bool is_base60(const char *s)
{
	bool colon = false;

	s += *s == '-' || *s == '+';
	if (*s < '0' || *s > '9')
		return false;
	s += strspn(s, "0123456789_");
	while (*s == ':') {
		s++;
		if (*s >= '0' && *s <= '5' && s[1] >= '0' && s[1] <= '9')
			s++;
		if (*s < '0' || *s > '9')
			return false;
		s++;
		colon = true;
	}
	if (*s == '.')
		s += 1 + strspn(s + 1, "0123456789_");
	return colon && !*s;
}

/* What is longer than this and not a string is a number. */
#define WORD_MAX 256

/* Would s, written plain, be read back as the same string by everyone? */
bool yaml_plain_is_string(const char *s, size_t len)
{
	if (len > WORD_MAX)
		return strspn(s, "+-.:_0123456789abcdefABCDEFxXoO") < len;
	json_auto_t *v = yaml_resolve_plain(s, len);

	return json_is_string(v) && !streq(s, "<<") && !is_timestamp(s) && !is_base60(s);
}

/* ---- emitting ------------------------------------------------------------------------------- */

static bool emit(struct writer *w, yaml_event_t *e)
{
	return yaml_emitter_emit(&w->em, e);
}

static bool emit_value(struct writer *w, const json_t *v);

static bool emit_scalar(struct writer *w, const char *s, size_t len, bool plain,
			yaml_scalar_style_t style)
{
	yaml_event_t e;

	return yaml_scalar_event_initialize(&e, NULL, NULL, (const yaml_char_t *)s, (int)len, plain,
					    true, style) &&
	       emit(w, &e);
}

static bool emit_text(struct writer *w, const char *s, size_t len)
{
	bool plain = yaml_plain_is_string(s, len);
	yaml_scalar_style_t style = memchr(s, '\n', len) ? YAML_LITERAL_SCALAR_STYLE
				    : plain		 ? YAML_PLAIN_SCALAR_STYLE
							 : YAML_DOUBLE_QUOTED_SCALAR_STYLE;

	return emit_scalar(w, s, len, plain, style);
}

static bool emit_string(struct writer *w, const json_t *v)
{
	size_t len = json_string_length(v);

	if (len <= YAML_LONG)
		return emit_text(w, json_string_value(v), len);
	w->texts = xrealloc(w->texts, w->n_texts + 1, sizeof(*w->texts));
	w->texts[w->n_texts++] = v;
	return emit_scalar(w, w->word, strlen(w->word), true, YAML_PLAIN_SCALAR_STYLE);
}

static bool emit_number(struct writer *w, const json_t *v)
{
	char text[40];

	if (json_is_integer(v)) {
		snprintf(text, sizeof(text), "%lld", (long long)json_integer_value(v));
	} else {
		/* The shortest form that reads back as the same number. */
		for (int precision = 15; precision <= 17; precision++) {
			snprintf(text, sizeof(text), "%.*g", precision, json_real_value(v));
			if (strtod(text, NULL) == json_real_value(v))
				break;
		}
	}
	return emit_scalar(w, text, strlen(text), true, YAML_PLAIN_SCALAR_STYLE);
}

static bool emit_array(struct writer *w, const json_t *v)
{
	yaml_event_t e;
	json_t *item;
	size_t i;

	if (!yaml_sequence_start_event_initialize(&e, NULL, NULL, true,
						  YAML_BLOCK_SEQUENCE_STYLE) ||
	    !emit(w, &e))
		return false;
	json_array_foreach(v, i, item)
	{
		if (!emit_value(w, item))
			return false;
	}
	return yaml_sequence_end_event_initialize(&e) && emit(w, &e);
}

static bool emit_object(struct writer *w, const json_t *v)
{
	auto_free const char **keys = xcalloc(json_object_size(v) + 1, sizeof(*keys));
	yaml_event_t e;
	const char *key;
	json_t *member;
	size_t n = 0;

	json_object_foreach((json_t *)v, key, member)
	{
		keys[n++] = key;
	}
	qsort(keys, n, sizeof(*keys), key_cmp);
	if (!yaml_mapping_start_event_initialize(&e, NULL, NULL, true, YAML_BLOCK_MAPPING_STYLE) ||
	    !emit(w, &e))
		return false;
	for (size_t i = 0; i < n; i++) {
		if (!emit_text(w, keys[i], strlen(keys[i])) ||
		    !emit_value(w, json_object_get(v, keys[i])))
			return false;
	}
	return yaml_mapping_end_event_initialize(&e) && emit(w, &e);
}

static bool emit_value(struct writer *w, const json_t *v)
{
	switch (json_typeof(v)) {
	case JSON_OBJECT:
		return emit_object(w, v);
	case JSON_ARRAY:
		return emit_array(w, v);
	case JSON_STRING:
		return emit_string(w, v);
	case JSON_INTEGER:
	case JSON_REAL:
		return emit_number(w, v);
	case JSON_TRUE:
		return emit_scalar(w, "true", 4, true, YAML_PLAIN_SCALAR_STYLE);
	case JSON_FALSE:
		return emit_scalar(w, "false", 5, true, YAML_PLAIN_SCALAR_STYLE);
	case JSON_NULL:
		return emit_scalar(w, "null", 4, true, YAML_PLAIN_SCALAR_STYLE);
	}
	return false;
}

static bool emit_document(struct writer *w, const json_t *v)
{
	yaml_event_t e;

	return yaml_stream_start_event_initialize(&e, YAML_UTF8_ENCODING) && emit(w, &e) &&
	       yaml_document_start_event_initialize(&e, NULL, NULL, NULL, true) && emit(w, &e) &&
	       emit_value(w, v) && yaml_document_end_event_initialize(&e, true) && emit(w, &e) &&
	       yaml_stream_end_event_initialize(&e) && emit(w, &e);
}

/* What stands before the value in its line, blanks and dashes of lists, decides how far its lines
 * are indented. */
static size_t indent_at(const struct strbuf *b)
{
	size_t from = b->len, n = 0;

	while (from && b->s[from - 1] != '\n')
		from--;
	while (from + n < b->len && strchr(" -", b->s[from + n]))
		n++;
	return n + 2;
}

/* The output, with the texts where the words stand. */
static char *fill_in(struct writer *w)
{
	struct strbuf b = {0};
	const char *at = w->out.s, *end = at + w->out.len;

	for (size_t i = 0; i < w->n_texts; i++) {
		const char *word = memmem(at, (size_t)(end - at), w->word, strlen(w->word));

		if (!word)
			break;
		strbuf_add(&b, at, (size_t)(word - at));
		yaml_put_long(&b, json_string_value(w->texts[i]), json_string_length(w->texts[i]),
			      indent_at(&b));
		at = word + strlen(w->word);
	}
	strbuf_add(&b, at, (size_t)(end - at));
	return strbuf_steal(&b);
}

/* A word that nobody could have put into the object. */
static void make_word(struct writer *w)
{
	unsigned char bytes[WORD_BYTES];

	random_bytes(bytes, sizeof(bytes));
	w->word[0] = 'x';
	for (size_t i = 0; i < sizeof(bytes); i++)
		snprintf(w->word + 1 + 2 * i, 3, "%02x", bytes[i]);
}

char *yaml_format(const json_t *v)
{
	struct writer w = {0};
	char *text;

	if (!yaml_emitter_initialize(&w.em))
		abort();
	make_word(&w);
	yaml_emitter_set_output(&w.em, write_cb, &w.out);
	yaml_emitter_set_unicode(&w.em, true);
	emit_document(&w, v);
	yaml_emitter_delete(&w.em);
	text = w.n_texts ? fill_in(&w) : strbuf_steal(&w.out);
	strbuf_done(&w.out);
	free(w.texts);
	return text;
}
