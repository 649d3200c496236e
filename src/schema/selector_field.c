/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Field selectors: "a=b,c!=d" over the few fields that a kind offers. A backslash escapes a comma,
 * an equals sign or itself in a value.
 */
#include "internal.h"

#define TERMS_MAX 256

struct term {
	char *label;
	char *value;
	bool negated;
};

struct field_selector {
	const struct kind *kind;
	size_t n;
	struct term *terms;
};

void field_selector_free(struct field_selector *s)
{
	if (!s)
		return;
	for (size_t i = 0; i < s->n; i++) {
		free(s->terms[i].label);
		free(s->terms[i].value);
	}
	free(s->terms);
	free(s);
}

static const char *label_value(const struct kind *k, const json_t *obj, const char *label)
{
	if (streq(label, "metadata.name"))
		return meta_name(obj);
	if (k->namespaced && streq(label, "metadata.namespace"))
		return meta_ns(obj);
	if (k->custom)
		return custom_field_label(k, obj, label);
	return k->ops && k->ops->field_label ? k->ops->field_label(obj, label) : NULL;
}

static int check_label(const struct kind *k, const char *label, struct err *err)
{
	json_auto_t *empty = json_object();

	if (label_value(k, empty, label))
		return 0;
	if (k->custom || (k->ops && k->ops->field_label))
		return err_set(err, ERR_BAD_REQUEST, "field label not supported: %s", label);
	return err_set(err, ERR_BAD_REQUEST,
		       "\"%s\" is not a known field selector: only "
		       "\"metadata.name\"%s",
		       label, k->namespaced ? ", \"metadata.namespace\"" : "");
}

/* Copies len bytes without escapes; NULL + err for a backslash that escapes nothing. */
static char *unescape(const char *s, size_t len, struct err *err)
{
	auto_free char *out = xmalloc(len + 1);
	size_t n = 0;

	for (size_t i = 0; i < len; i++) {
		if (s[i] == '\\') {
			if (++i == len || !strchr("\\,=", s[i])) {
				err_set(err, ERR_BAD_REQUEST,
					"invalid field selector: invalid escape sequence: \\%.*s",
					i < len ? 1 : 0, s + i);
				return NULL;
			}
		} else if (s[i] == '=') {
			err_set(err, ERR_BAD_REQUEST,
				"invalid field selector: unescaped character in value: =");
			return NULL;
		}
		out[n++] = s[i];
	}
	out[n] = '\0';
	return steal_ptr(out);
}

/* Length of one term: up to the next comma that is not escaped. */
static size_t term_length(const char *s)
{
	size_t i;

	for (i = 0; s[i] && s[i] != ','; i++) {
		if (s[i] == '\\' && s[i + 1])
			i++;
	}
	return i;
}

static int parse_term(struct field_selector *s, const char *all, const char *text, size_t len,
		      struct err *err)
{
	size_t at = strcspn(text, "=!"), skip;
	struct term t = {0};

	if (at >= len || (text[at] == '!' && text[at + 1] != '='))
		return err_set(err, ERR_BAD_REQUEST,
			       "invalid selector: '%s'; can't understand '%.*s'", all, (int)len,
			       text);
	skip = text[at] == '!' || text[at + 1] == '=' ? 2 : 1;
	t.negated = text[at] == '!';
	t.label = xstrndup(text, at);
	t.value = unescape(text + at + skip, len - at - skip, err);
	if (!t.value || check_label(s->kind, t.label, err) < 0) {
		free(t.label);
		free(t.value);
		return -EINVAL;
	}
	s->terms = xrealloc(s->terms, s->n + 1, sizeof(t));
	s->terms[s->n++] = t;
	return 0;
}

struct field_selector *field_selector_parse(const struct kind *k, const char *text, struct err *err)
{
	struct field_selector *s = xnew(struct field_selector);
	const char *at = text ? text : "";

	s->kind = k;
	while (*at) {
		size_t len = term_length(at);

		if (len && s->n >= TERMS_MAX) {
			err_set(err, ERR_BAD_REQUEST, "too many terms in the field selector");
			field_selector_free(s);
			return NULL;
		}
		if (len && parse_term(s, text, at, len, err) < 0) {
			field_selector_free(s);
			return NULL;
		}
		at += len;
		at += *at == ',';
	}
	return s;
}

bool field_selector_matches(const struct field_selector *s, const json_t *obj)
{
	for (size_t i = 0; s && i < s->n; i++) {
		const struct term *t = &s->terms[i];
		const char *have = label_value(s->kind, obj, t->label);

		if (streq(have ? have : "", t->value) == t->negated)
			return false;
	}
	return true;
}

const char *field_selector_name(const struct field_selector *s)
{
	for (size_t i = 0; s && i < s->n; i++) {
		if (!s->terms[i].negated && streq(s->terms[i].label, "metadata.name"))
			return s->terms[i].value;
	}
	return NULL;
}
