/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Typed decoding of one YAML document, with the same three modes as JSON.
 */
#include "internal.h"

/* One text for all problems of a strict decoding. */
static int strict_failure(const char *what, const struct strv *problems, struct err *err)
{
	const char *in = strstr(what, " in version ");
	auto_strbuf b = {0};

	for (size_t i = 0; i < problems->n; i++)
		strbuf_addf(&b, "%s%s", i ? ", " : "", problems->v[i]);
	return err_set(err, ERR_BAD_REQUEST,
		       "%s cannot be handled as a %.*s: strict decoding error: %s", what,
		       (int)(in ? in - what : (ptrdiff_t)strlen(what)), what, b.s);
}

/* Hands the problems on as the mode says. */
static int report(const char *what, enum field_validation mode, const struct strv *problems,
		  struct strv *warnings, struct err *err)
{
	if (!problems->n || mode == FIELDS_IGNORE)
		return 0;
	if (mode == FIELDS_STRICT)
		return strict_failure(what, problems, err);
	for (size_t i = 0; warnings && i < problems->n; i++)
		strv_add(warnings, problems->v[i]);
	return 0;
}

static json_t *decode_yaml(const struct message *m, const char *what, const char *text, size_t len,
			   enum field_validation mode, struct strv *warnings, json_t **ret_sent,
			   struct err *err)
{
	json_auto_t *docs = NULL;
	auto_strv problems = {0}, duplicates = {0};
	json_t *obj;

	if (yaml_is_json(text, len))
		return decode_json(m, what, text, len, mode, warnings, ret_sent, err);
	docs = yaml_load(text, len, &duplicates, err);
	if (!docs)
		return NULL;
	if (json_array_size(docs) != 1 || !json_is_object(json_array_get(docs, 0))) {
		err_set(err, ERR_BAD_REQUEST, "the body must hold one YAML document with a map");
		return NULL;
	}
	if (duplicates.n && mode == FIELDS_STRICT) {
		auto_strbuf b = {0};

		strbuf_adds(&b, "yaml: unmarshal errors:");
		for (size_t i = 0; i < duplicates.n; i++)
			strbuf_addf(&b, "\n  %s", duplicates.v[i]);
		strv_add(&problems, b.s);
	}
	for (size_t i = 0; i < duplicates.n && mode == FIELDS_WARN; i++)
		strv_add(&problems, duplicates.v[i]); /* one warning each */
	obj = json_array_get(docs, 0);
	if (ret_sent)
		*ret_sent = json_deep_copy(obj);
	if (schema_check(m, what, obj, mode == FIELDS_IGNORE ? mode : FIELDS_WARN, &problems, err) <
	    0)
		return NULL;
	return report(what, mode, &problems, warnings, err) < 0 ? NULL : json_incref(obj);
}

json_t *schema_decode_yaml(const struct message *m, const char *what, const char *text, size_t len,
			   enum field_validation mode, struct strv *warnings, struct err *err)
{
	return decode_yaml(m, what, text, len, mode, warnings, NULL, err);
}

json_t *schema_decode_applied(const struct message *m, const char *what, const char *text,
			      size_t len, struct strv *warnings, struct err *err)
{
	json_auto_t *sent = NULL;
	json_auto_t *checked = decode_yaml(m, what, text, len, FIELDS_WARN, warnings, &sent, err);

	return checked ? steal_ptr(sent) : NULL;
}
