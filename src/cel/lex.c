/* SPDX-License-Identifier: Apache-2.0 */
/* Text to tokens, and what string literals mean (CEL language definition, "Syntax"). */
#include "internal.h"

#include <ctype.h>

static bool is_word(char c)
{
	return isalnum((unsigned char)c) || c == '_';
}

static struct token token(struct lexer *l, enum token_kind kind, const char *start)
{
	return (struct token){.kind = kind, .c = *start, .s = start, .n = (size_t)(l->at - start)};
}

static struct token bad(struct lexer *l, const char *start, const char *problem)
{
	l->problem = problem;
	return token(l, TOK_BAD, start);
}

static void skip_blanks(struct lexer *l)
{
	for (;;) {
		while (*l->at && strchr(" \t\r\n\f", *l->at))
			l->at++;
		if (l->at[0] != '/' || l->at[1] != '/')
			return;
		l->at += strcspn(l->at, "\n");
	}
}

/* Length of the r and b before a quote: 0 when this is no string. */
static bool string_starts(const char *s, size_t *prefix)
{
	size_t n = 0;

	while (n < 2 && s[n] && strchr("rRbB", s[n]))
		n++;
	if (n == 2 && tolower((unsigned char)s[0]) == tolower((unsigned char)s[1]))
		return false;
	*prefix = n;
	return s[n] == '"' || s[n] == '\'';
}

static bool has_letter(const char *s, size_t n, char lower)
{
	for (size_t i = 0; i < n; i++)
		if (tolower((unsigned char)s[i]) == lower)
			return true;
	return false;
}

static struct token lex_quoted(struct lexer *l, size_t prefix)
{
	const char *start = l->at, *s = start + prefix;
	bool raw = has_letter(start, prefix, 'r');
	bool bytes = has_letter(start, prefix, 'b');
	char quote = *s;
	size_t marks = s[1] == quote && s[2] == quote ? 3 : 1;

	for (s += marks;; s++) {
		if (!*s || (marks == 1 && (*s == '\n' || *s == '\r'))) {
			l->at = s;
			return bad(l, start, "token recognition error at: ");
		}
		if (*s == '\\' && !raw && s[1])
			s++;
		else if (*s == quote && (marks == 1 || (s[1] == quote && s[2] == quote)))
			break;
	}
	l->at = s + marks;
	return token(l, bytes ? TOK_BYTES : TOK_STRING, start);
}

static struct token lex_number(struct lexer *l)
{
	const char *start = l->at, *s = start;
	bool real = false;

	if (s[0] == '0' && (s[1] == 'x' || s[1] == 'X') && isxdigit((unsigned char)s[2])) {
		for (s += 2; isxdigit((unsigned char)*s); s++)
			;
	} else {
		s += strspn(s, "0123456789");
		if (*s == '.' && isdigit((unsigned char)s[1])) {
			real = true;
			s += 1 + strspn(s + 1, "0123456789");
		}
		if (*s == 'e' || *s == 'E') {
			size_t sign = s[1] == '+' || s[1] == '-';

			if (isdigit((unsigned char)s[1 + sign])) {
				real = true;
				s += 1 + sign;
				s += strspn(s, "0123456789");
			}
		}
	}
	if (!real && (*s == 'u' || *s == 'U')) {
		l->at = s + 1;
		return token(l, TOK_UINT, start);
	}
	l->at = s;
	return token(l, real ? TOK_DOUBLE : TOK_INT, start);
}

static struct token lex_word(struct lexer *l)
{
	static const struct {
		const char *word;
		enum token_kind kind;
	} words[] = {{"true", TOK_TRUE}, {"false", TOK_FALSE}, {"null", TOK_NULL}, {"in", TOK_IN}};
	const char *start = l->at;
	size_t n;

	while (is_word(*l->at))
		l->at++;
	n = (size_t)(l->at - start);
	for (size_t i = 0; i < ARRAY_SIZE(words); i++)
		if (strlen(words[i].word) == n && memcmp(words[i].word, start, n) == 0)
			return token(l, words[i].kind, start);
	return token(l, TOK_IDENT, start);
}

static struct token lex_operator(struct lexer *l)
{
	static const struct {
		const char text[3];
		enum token_kind kind;
	} pairs[] = {{"==", TOK_EQ}, {"!=", TOK_NE},  {"<=", TOK_LE},
		     {">=", TOK_GE}, {"&&", TOK_AND}, {"||", TOK_OR}};
	const char *start = l->at;

	for (size_t i = 0; i < ARRAY_SIZE(pairs); i++) {
		if (strncmp(start, pairs[i].text, 2) == 0) {
			l->at += 2;
			return token(l, pairs[i].kind, start);
		}
	}
	l->at++;
	if (*start == '<' || *start == '>')
		return token(l, *start == '<' ? TOK_LT : TOK_GT, start);
	if (strchr("()[]{}.,:?!+-*/%", *start))
		return token(l, TOK_PUNCT, start);
	while ((*l->at & 0xc0) == 0x80)
		l->at++;
	return bad(l, start, "token recognition error at: ");
}

struct token lex_next(struct lexer *l)
{
	const char *start;
	size_t prefix;

	skip_blanks(l);
	start = l->at;
	if (!*start)
		return token(l, TOK_END, start);
	if (string_starts(start, &prefix))
		return lex_quoted(l, prefix);
	if (isdigit((unsigned char)*start) || (*start == '.' && isdigit((unsigned char)start[1])))
		return lex_number(l);
	if (is_word(*start))
		return lex_word(l);
	if (*start == '`') {
		size_t n = strspn(start + 1, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
					     "0123456789_.-/ ");

		l->at += 1 + n;
		if (n && *l->at == '`') {
			l->at++;
			return token(l, TOK_QUOTED, start);
		}
		return bad(l, start, "token recognition error at: ");
	}
	return lex_operator(l);
}

/* ---- literals --------------------------------------------------------------------------- */

static bool hex_digits(const char *s, size_t n, size_t count, unsigned base, uint32_t *ret)
{
	*ret = 0;
	if (n < count)
		return false;
	for (size_t i = 0; i < count; i++) {
		unsigned char c = (unsigned char)s[i];
		unsigned d = isdigit(c)	   ? c - (unsigned)'0'
			     : isxdigit(c) ? (unsigned)tolower(c) - (unsigned)'a' + 10
					   : 99;

		if (d >= base)
			return false;
		*ret = *ret * base + d;
	}
	return true;
}

static size_t put_number(char *out, uint32_t c, bool byte)
{
	if (!byte)
		return utf8_encode(c, out);
	*out = (char)c;
	return 1;
}

/* One escape at s (behind the backslash); returns its length, 0 when there is none such. */
static size_t unescape(const char *s, size_t n, bool bytes, char *out, size_t *out_n)
{
	static const char from[] = "abfnrtv\\'\"`?", to[] = "\a\b\f\n\r\t\v\\'\"`?";
	const char *simple = n && *s ? strchr(from, *s) : NULL;
	size_t count = 0;
	uint32_t c;

	if (simple) {
		*out = to[simple - from];
		*out_n = 1;
		return 1;
	}
	if (n && (*s == 'x' || *s == 'X'))
		count = 2;
	else if (n && *s == 'u' && !bytes)
		count = 4;
	else if (n && *s == 'U' && !bytes)
		count = 8;
	if (count) {
		if (!hex_digits(s + 1, n - 1, count, 16, &c) || c > 0x10ffff ||
		    (c >= 0xd800 && c < 0xe000) || (!bytes && c == 0))
			return 0;
		*out_n = put_number(out, c, bytes);
		return count + 1;
	}
	if (!hex_digits(s, n, 3, 8, &c) || c > 0377 || (!bytes && c == 0))
		return 0;
	*out_n = put_number(out, c, bytes);
	return 3;
}

bool lex_string(struct arena *a, struct token t, struct cel_value *ret)
{
	size_t prefix, marks, end, n = 0;
	bool raw, bytes = t.kind == TOK_BYTES;
	char *out;

	string_starts(t.s, &prefix);
	raw = has_letter(t.s, prefix, 'r');
	marks = t.n - prefix >= 6 && t.s[prefix + 1] == t.s[prefix] &&
				t.s[prefix + 2] == t.s[prefix]
			? 3
			: 1;
	end = t.n - marks;
	out = arena_take(a, t.n + 1);
	for (size_t i = prefix + marks; i < end;) {
		size_t len, made = 0;

		if (t.s[i] != '\\' || raw) {
			out[n++] = t.s[i++];
			continue;
		}
		len = unescape(t.s + i + 1, end - i - 1, bytes, out + n, &made);
		if (!len)
			return false;
		n += made;
		i += len + 1;
	}
	*ret = (struct cel_value){.kind = bytes ? CEL_BYTES : CEL_STRING, .str = {out, n}};
	return true;
}

/* ---- UTF-8 ------------------------------------------------------------------------------ */

size_t utf8_length(const char *s, size_t n)
{
	unsigned char c = (unsigned char)*s;
	size_t len = c < 0xc0 ? 1 : c < 0xe0 ? 2 : c < 0xf0 ? 3 : 4;

	return len < n ? len : n;
}

uint32_t utf8_decode(const char *s, size_t n, size_t *len)
{
	uint32_t c = (unsigned char)*s;

	*len = utf8_length(s, n);
	if (*len == 1)
		return c < 0x80 ? c : 0xfffd;
	c &= 0xffu >> (*len + 1);
	for (size_t i = 1; i < *len; i++)
		c = c << 6 | ((unsigned char)s[i] & 0x3f);
	return c;
}

size_t utf8_encode(uint32_t c, char out[static 4])
{
	if (c < 0x80) {
		out[0] = (char)c;
		return 1;
	}
	if (c < 0x800) {
		out[0] = (char)(0xc0 | c >> 6);
		out[1] = (char)(0x80 | (c & 0x3f));
		return 2;
	}
	if (c < 0x10000) {
		out[0] = (char)(0xe0 | c >> 12);
		out[1] = (char)(0x80 | (c >> 6 & 0x3f));
		out[2] = (char)(0x80 | (c & 0x3f));
		return 3;
	}
	out[0] = (char)(0xf0 | c >> 18);
	out[1] = (char)(0x80 | (c >> 12 & 0x3f));
	out[2] = (char)(0x80 | (c >> 6 & 0x3f));
	out[3] = (char)(0x80 | (c & 0x3f));
	return 4;
}

size_t utf8_count(const char *s, size_t n)
{
	size_t count = 0;

	for (size_t i = 0; i < n; i++)
		count += ((unsigned char)s[i] & 0xc0) != 0x80;
	return count;
}

size_t utf8_offset(const char *s, size_t n, size_t index)
{
	size_t i = 0;

	while (i < n && index--)
		i += utf8_length(s + i, n - i);
	return i;
}
