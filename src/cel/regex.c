/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Regular expressions in RE2's syntax, matched by PCRE2 with a bound on its steps. What RE2 has not
 * (look-around, back references, possessive repetition) is refused, so that a pattern that works
 * here works in every cluster.
 */
#define PCRE2_CODE_UNIT_WIDTH 8
#include "internal.h"

#include <ctype.h>
#include <pcre2.h>

/* Steps of one match, a few milliseconds. */
#define MATCH_LIMIT 200000
#define MATCH_DEPTH 5000

/* ---- syntax ----------------------------------------------------------------------------- */

/* Length of a set of characters inside a class ("\\w" "\\pL" "[:alpha:]") at s, or 0. */
static size_t set_length(const char *s)
{
	const char *end;

	if (*s == '[' && s[1] == ':' && (end = strstr(s + 2, ":]")))
		return (size_t)(end + 2 - s);
	if (*s != '\\' || !s[1] || !strchr("dDsSwWpP", s[1]))
		return 0;
	if (s[1] != 'p' && s[1] != 'P')
		return 2;
	return s[2] == '{' ? 3 + strcspn(s + 2, "}") : s[2] ? 3 : 2;
}

/* Copies one class; s is behind its "[". A hyphen beside a set is itself in Go, and an error in
 * PCRE2. */
static const char *copy_class(struct strbuf *b, const char *s)
{
	bool after_set = false, first = true;

	for (; *s && (*s != ']' || first); first = first && *s == '^') {
		size_t n = set_length(s);
		bool lone = *s == '-' && (after_set || set_length(s + 1));

		if (lone)
			strbuf_addc(b, '\\');
		after_set = n > 0;
		if (!n)
			n = *s == '\\' && s[1] ? 2 : 1;
		n = strnlen(s, n);
		strbuf_add(b, s, n);
		s += n;
		if (n > 1 || s[-1] != '^')
			first = false;
	}
	return s;
}

/* Behind "(?": what Perl has and RE2 has not. Flags, names and plain groups are both's. */
static bool is_perl_group(const char *s)
{
	if (*s == 'P')
		return s[1] == '>' || s[1] == '=';
	if (*s == '<')
		return s[1] == '=' || s[1] == '!';
	if (*s == '-' || *s == '+')
		return isdigit((unsigned char)s[1]);
	return *s && (strchr("=!>|#(R&C'", *s) || isdigit((unsigned char)*s));
}

/* What PCRE2 understands and RE2 does not, at s (outside of classes); NULL: nothing. */
static const char *foreign(const char *s, const char *start)
{
	if (*s == '\\' && s[1] && (strchr("123456789gkGKRXNhHvVZ", s[1])))
		return "invalid escape sequence";
	if (s[0] == '(' && s[1] == '?' && is_perl_group(s + 2))
		return "invalid or unsupported Perl syntax";
	if (s[0] == '(' && s[1] == '*')
		return "missing argument to repetition operator";
	if (*s == '+' && s > start && strchr("*+?}", s[-1]) && (s - 1 == start || s[-2] != '\\'))
		return "invalid nested repetition operator";
	return NULL;
}

/* RE2's syntax as PCRE2 wants it; NULL: *why says what is wrong. */
static char *translate(const char *text, const char **why)
{
	struct strbuf b = {0};

	for (const char *s = text; *s;) {
		*why = foreign(s, text);
		if (*why) {
			strbuf_done(&b);
			return NULL;
		}
		if (*s == '\\' && s[1]) {
			/* RE2's \z is the end of the text alone */
			strbuf_add(&b, s, 2);
			s += 2;
		} else {
			strbuf_addc(&b, *s);
			if (*s++ == '[')
				s = copy_class(&b, s);
		}
	}
	return strbuf_steal(&b);
}

struct cel_regex *cel_regex_new(const char *given, char **why)
{
	const char *problem = NULL;
	auto_free char *text = translate(given, &problem);
	char message[128] = "";
	pcre2_code *re = NULL;
	PCRE2_SIZE at;
	int code;

	/* Go's "$" is the end of the text alone, and its classes are those of ASCII. */
	if (text)
		re = pcre2_compile((PCRE2_SPTR)text, PCRE2_ZERO_TERMINATED,
				   PCRE2_UTF | PCRE2_DOLLAR_ENDONLY, &code, &at, NULL);
	if (re || !why)
		return (struct cel_regex *)re;
	if (text) {
		pcre2_get_error_message(code, (PCRE2_UCHAR *)message, sizeof(message));
		problem = message;
	}
	*why = xstrdup(problem);
	return NULL;
}

void cel_regex_free(struct cel_regex *re)
{
	pcre2_code_free((pcre2_code *)re);
}

int cel_regex_find(const struct cel_regex *re, const char *text, size_t len, size_t start,
		   size_t *from, size_t *to)
{
	pcre2_match_data *data = pcre2_match_data_create(1, NULL);
	pcre2_match_context *limits = pcre2_match_context_create(NULL);
	int rc;

	pcre2_set_match_limit(limits, MATCH_LIMIT);
	pcre2_set_depth_limit(limits, MATCH_DEPTH);
	rc = pcre2_match((const pcre2_code *)re, (PCRE2_SPTR)text, len, start, 0, data, limits);
	if (rc >= 0 && from)
		*from = pcre2_get_ovector_pointer(data)[0];
	if (rc >= 0 && to)
		*to = pcre2_get_ovector_pointer(data)[1];
	pcre2_match_context_free(limits);
	pcre2_match_data_free(data);
	if (rc == PCRE2_ERROR_MATCHLIMIT || rc == PCRE2_ERROR_DEPTHLIMIT)
		return -ELOOP;
	return rc >= 0;
}

/* ---- functions -------------------------------------------------------------------------- */

typedef struct cel_value val;

const struct cel_regex *run_regex(struct cel_run *r, val pattern, val *error)
{
	auto_free char *why = NULL;

	if (r->given)
		return r->given;
	if (r->kept && strlen(r->kept_text) == pattern.str.n &&
	    memcmp(r->kept_text, pattern.str.s, pattern.str.n) == 0)
		return r->kept;
	if (run_charge(r, pattern.str.n)) {
		*error = run_over(r);
		return NULL;
	}
	cel_regex_free(r->kept);
	free(r->kept_text);
	r->kept_text = xstrndup(pattern.str.s, pattern.str.n);
	r->kept = cel_regex_new(r->kept_text, &why);
	if (!r->kept)
		*error = cel_error(r, "error parsing regexp: %s: `%s`", why, r->kept_text);
	return r->kept;
}

/* One search; < 0 after an error. */
static int search(struct cel_run *r, const val *a, size_t start, size_t *from, size_t *to,
		  val *error)
{
	const struct cel_regex *re = run_regex(r, a[1], error);
	int got;

	if (!re)
		return -1;
	if (run_charge(r, 1 + (a->str.n / 10 + 1) * (a[1].str.n / 4 + 1))) {
		*error = run_over(r);
		return -1;
	}
	got = cel_regex_find(re, a->str.s, a->str.n, start, from, to);
	if (got < 0)
		*error = cel_error(r, "regular expression takes too long to match");
	return got;
}

static val fn_matches(struct cel_run *r, const val *a, size_t n UNUSED)
{
	val error;
	int got = search(r, a, 0, NULL, NULL, &error);

	return got < 0 ? error : val_bool(got);
}

static val fn_find(struct cel_run *r, const val *a, size_t n UNUSED)
{
	size_t from, to;
	val error;
	int got = search(r, a, 0, &from, &to, &error);

	if (got < 0)
		return error;
	return got ? val_strn(a->str.s + from, to - from) : val_str("");
}

static val fn_find_all(struct cel_run *r, const val *a, size_t n)
{
	int64_t left = n == 3 ? a[2].i : -1;
	struct builder b = {.r = r};
	size_t at = 0, from, to;
	val error;

	while (at <= a->str.n && left != 0) {
		int got = search(r, a, at, &from, &to, &error);

		if (got < 0)
			return error;
		if (!got)
			break;
		builder_add(&b, val_strn(a->str.s + from, to - from));
		at = to > from	     ? to
		     : to < a->str.n ? to + utf8_length(a->str.s + to, a->str.n - to)
				     : to + 1;
		left -= left > 0;
	}
	return r->over ? run_over(r) : val_list(b.v, b.n);
}

static const struct function table[] = {
	{"matches", "b:ss", fn_matches, false},	  {"matches", "b:ss", fn_matches, true},
	{"find", "s:ss", fn_find, true},	  {"findAll", "Ls:ss", fn_find_all, true},
	{"findAll", "Ls:ssi", fn_find_all, true},
};
const struct functions regex_functions = {table, ARRAY_SIZE(table)};
