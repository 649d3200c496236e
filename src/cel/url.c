/* SPDX-License-Identifier: Apache-2.0 */
/* URLs, as far as Go's url.ParseRequestURI takes them: absolute, or a path from the root. */
#include "internal.h"

#include <ctype.h>

typedef struct cel_value val;

/* The value of kind CEL_URL is its text; these are its parts. */
struct url {
	const char *scheme, *host, *port, *path, *query;
	size_t scheme_n, host_n, port_n, path_n, query_n; /* host without its port */
	size_t authority_n;				  /* host and port */
};

static bool is_scheme(const char *s, size_t n)
{
	if (!n || !isalpha((unsigned char)*s))
		return false;
	for (size_t i = 0; i < n; i++)
		if (!isalnum((unsigned char)s[i]) && !strchr("+-.", s[i]))
			return false;
	return true;
}

static bool good_escapes(const char *s, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (s[i] == '%' && (i + 2 >= n || !isxdigit((unsigned char)s[i + 1]) ||
				    !isxdigit((unsigned char)s[i + 2])))
			return false;
	}
	return true;
}

static bool parse_host(struct url *u, const char *s, size_t n)
{
	const char *at = memrchr(s, '@', n), *colon;
	const char *end = s + n;

	if (at)
		s = at + 1;
	u->host = s;
	u->authority_n = (size_t)(end - s);
	if (*s == '[') {
		const char *close = memchr(s, ']', u->authority_n);

		if (!close)
			return false;
		colon = close + 1 < end ? close + 1 : NULL;
		if (colon && *colon != ':')
			return false;
	} else {
		colon = memrchr(s, ':', u->authority_n);
		for (const char *p = s; p < end; p++)
			if (strchr(" <>\"\\^`{|}", *p) || (*p == ':' && p != colon))
				return false;
	}
	u->host_n = colon ? (size_t)(colon - s) : u->authority_n;
	if (!colon)
		return true;
	u->port = colon + 1;
	u->port_n = (size_t)(end - u->port);
	return strspn(u->port, "0123456789") >= u->port_n;
}

static bool parse_url(const char *s, struct url *u)
{
	const char *end;
	size_t n = strcspn(s, ":/?");

	*u = (struct url){0};
	for (const char *p = s; *p; p++)
		if ((unsigned char)*p < 0x20 || *p == 0x7f || *p == ' ')
			return false;
	u->scheme = u->host = u->port = "";
	if (s[n] == ':') {
		if (!is_scheme(s, n))
			return false;
		u->scheme = s;
		u->scheme_n = n;
		s += n + 1;
		if (*s != '/')
			return true; /* opaque: "mailto:x" */
		if (s[1] == '/') {
			size_t len = strcspn(s + 2, "/?");

			if (!parse_host(u, s + 2, len))
				return false;
			s += 2 + len;
		}
	} else if (*s != '/') {
		return false;
	}
	end = s + strcspn(s, "?");
	u->path = s;
	u->path_n = (size_t)(end - s);
	u->query = *end ? end + 1 : end;
	u->query_n = strlen(u->query);
	return good_escapes(u->path, u->path_n);
}

static struct url url_of(const val *v)
{
	struct url u;

	if (!parse_url(v->ptr, &u))
		u = (struct url){0};
	return u;
}

static val piece(const char *s, size_t n)
{
	return n ? val_strn(s, n) : val_str("");
}

static val fn_url(struct cel_run *r, const val *a, size_t n UNUSED)
{
	const char *s = val_cstr(r, *a);
	struct url u;

	if (!parse_url(s, &u))
		return cel_error(r,
				 "URL parse error during conversion from string: parse \"%s\": "
				 "invalid URI for request",
				 s);
	return val_ptr(CEL_URL, s);
}

static val fn_is_url(struct cel_run *r, const val *a, size_t n UNUSED)
{
	struct url u;

	return val_bool(parse_url(val_cstr(r, *a), &u));
}

static val fn_scheme(struct cel_run *r, const val *a, size_t n UNUSED)
{
	struct url u = url_of(a);
	val v = val_copy(r, u.scheme ? u.scheme : "", u.scheme_n);

	for (size_t i = 0; v.kind == CEL_STRING && i < v.str.n; i++)
		((char *)(uintptr_t)v.str.s)[i] = (char)tolower((unsigned char)v.str.s[i]);
	return v;
}

static val fn_host(struct cel_run *r UNUSED, const val *a, size_t n UNUSED)
{
	struct url u = url_of(a);

	return piece(u.host, u.authority_n);
}

static val fn_hostname(struct cel_run *r UNUSED, const val *a, size_t n UNUSED)
{
	struct url u = url_of(a);

	if (u.host_n >= 2 && *u.host == '[')
		return piece(u.host + 1, u.host_n - 2);
	return piece(u.host, u.host_n);
}

static val fn_port(struct cel_run *r UNUSED, const val *a, size_t n UNUSED)
{
	struct url u = url_of(a);

	return piece(u.port, u.port_n);
}

static val fn_path(struct cel_run *r, const val *a, size_t n UNUSED)
{
	struct url u = url_of(a);
	auto_strbuf b = {0};

	for (size_t i = 0; i < u.path_n; i++) {
		unsigned char c = (unsigned char)u.path[i];

		if (c > 0x7f || strchr("\"<>\\^`{|}", c))
			strbuf_addf(&b, "%%%02X", c);
		else
			strbuf_addc(&b, (char)c);
	}
	return val_copy(r, b.s ? b.s : "", b.len);
}

static unsigned hex(char c)
{
	return isdigit((unsigned char)c) ? (unsigned)(c - '0')
					 : (unsigned)(tolower((unsigned char)c) - 'a') + 10;
}

static val unescape(struct cel_run *r, const char *s, size_t n)
{
	val v = val_copy(r, s, n);
	char *out = (char *)(uintptr_t)v.str.s;
	size_t k = 0;

	if (v.kind != CEL_STRING)
		return v;
	for (size_t i = 0; i < n; i++) {
		if (s[i] == '%') {
			out[k++] = (char)(hex(s[i + 1]) << 4 | hex(s[i + 2]));
			i += 2;
		} else {
			out[k++] = s[i] == '+' ? ' ' : s[i];
		}
	}
	v.str.n = k;
	return v;
}

/* A name may come again: its values are one list. */
static void add_query(struct cel_run *r, struct builder *b, val key, val value)
{
	for (size_t i = 0; i + 1 < b->n; i += 2) {
		struct builder longer = {.r = r};

		if (run_charge(r, 1) || !val_equal(r, &b->v[i], &key))
			continue;
		for (size_t j = 0; j < b->v[i + 1].list.n; j++)
			builder_add(&longer, b->v[i + 1].list.v[j]);
		builder_add(&longer, value);
		b->v[i + 1] = val_list(longer.v, longer.n);
		return;
	}
	struct builder one = {.r = r};

	builder_add(&one, value);
	builder_add(b, key);
	builder_add(b, val_list(one.v, one.n));
}

static val fn_query(struct cel_run *r, const val *a, size_t n UNUSED)
{
	struct url u = url_of(a);
	struct builder b = {.r = r};
	const char *s = u.query, *end = s ? s + u.query_n : s;

	while (s < end && !r->over) {
		size_t len = strcspn(s, "&"), name = strcspn(s, "=&");

		if (len && good_escapes(s, len) && !memchr(s, ';', len))
			add_query(r, &b, unescape(r, s, name),
				  name < len ? unescape(r, s + name + 1, len - name - 1)
					     : val_str(""));
		s += len + 1;
	}
	return r->over ? run_over(r) : (val){.kind = CEL_MAP, .list = {b.v, b.n / 2}};
}

static const struct function table[] = {
	{"url", "U:s", fn_url, false},
	{"isURL", "b:s", fn_is_url, false},
	{"getScheme", "s:U", fn_scheme, true},
	{"getHost", "s:U", fn_host, true},
	{"getHostname", "s:U", fn_hostname, true},
	{"getPort", "s:U", fn_port, true},
	{"getEscapedPath", "s:U", fn_path, true},
	{"getQuery", "MsLs:U", fn_query, true},
};
const struct functions url_functions = {table, ARRAY_SIZE(table)};
