/* SPDX-License-Identifier: Apache-2.0 */
/* Types: their names, which fit which, and those that signatures of functions are written in. */
#include "internal.h"

#define TYPE(k)                                                                                    \
	{                                                                                          \
		.kind = (k), .key = &types[CEL_DYN], .elem = &types[CEL_DYN]                       \
	}

static const struct cel_type types[] = {
	TYPE(CEL_ERROR),       TYPE(CEL_DYN),
	TYPE(CEL_NULL),	       TYPE(CEL_BOOL),
	TYPE(CEL_INT),	       TYPE(CEL_UINT),
	TYPE(CEL_DOUBLE),      TYPE(CEL_STRING),
	TYPE(CEL_BYTES),       TYPE(CEL_LIST),
	TYPE(CEL_MAP),	       TYPE(CEL_OBJECT),
	TYPE(CEL_TIMESTAMP),   TYPE(CEL_DURATION),
	TYPE(CEL_TYPE),	       TYPE(CEL_OPTIONAL),
	TYPE(CEL_QUANTITY),    TYPE(CEL_URL),
	TYPE(CEL_IP),	       TYPE(CEL_CIDR),
	TYPE(CEL_SEMVER),      TYPE(CEL_FORMAT),
	TYPE(CEL_AUTHORIZER),  TYPE(CEL_PATH_CHECK),
	TYPE(CEL_GROUP_CHECK), TYPE(CEL_RESOURCE_CHECK),
	TYPE(CEL_DECISION),    TYPE(CEL_PARAM),
};
/* A and B of signatures; `decl` is which. */
static const struct cel_type params[TYPE_PARAMS] = {
	{.kind = CEL_PARAM, .name = "A", .decl = (const void *)0},
	{.kind = CEL_PARAM, .name = "B", .decl = (const void *)1},
};
const struct cel_type *const type_dyn = &types[CEL_DYN];

const struct cel_type *cel_type_of(enum cel_kind kind)
{
	return &types[kind];
}

/* ---- building --------------------------------------------------------------------------- */

static const struct cel_type *compound(struct arena *a, enum cel_kind kind,
				       const struct cel_type *key, const struct cel_type *elem)
{
	struct cel_type *t;

	if (key == type_dyn && elem == type_dyn)
		return &types[kind];
	t = arena_take(a, sizeof(*t));
	*t = (struct cel_type){.kind = (uint8_t)kind, .key = key, .elem = elem};
	return t;
}

const struct cel_type *type_list(struct arena *a, const struct cel_type *elem)
{
	return compound(a, CEL_LIST, type_dyn, elem);
}

const struct cel_type *type_map(struct arena *a, const struct cel_type *key,
				const struct cel_type *elem)
{
	return compound(a, CEL_MAP, key, elem);
}

const struct cel_type *type_optional(struct arena *a, const struct cel_type *elem)
{
	return compound(a, CEL_OPTIONAL, type_dyn, elem);
}

static enum cel_kind kind_of_letter(char c)
{
	static const char letters[] = "*nbiudsytDTqUICVFZPGRX";
	static const uint8_t kinds[] = {
		CEL_DYN,	CEL_NULL,	 CEL_BOOL,
		CEL_INT,	CEL_UINT,	 CEL_DOUBLE,
		CEL_STRING,	CEL_BYTES,	 CEL_TIMESTAMP,
		CEL_DURATION,	CEL_TYPE,	 CEL_QUANTITY,
		CEL_URL,	CEL_IP,		 CEL_CIDR,
		CEL_SEMVER,	CEL_FORMAT,	 CEL_AUTHORIZER,
		CEL_PATH_CHECK, CEL_GROUP_CHECK, CEL_RESOURCE_CHECK,
		CEL_DECISION,
	};
	const char *at = strchr(letters, c);

	return at && *at ? kinds[at - letters] : CEL_ERROR;
}

const struct cel_type *type_parse(struct arena *a, const char **sig)
{
	const struct cel_type *key, *elem;
	char c = *(*sig)++;

	switch (c) {
	case 'A':
	case 'B':
		return &params[c - 'A'];
	case 'L':
		return type_list(a, type_parse(a, sig));
	case 'O':
		return type_optional(a, type_parse(a, sig));
	case 'M':
		key = type_parse(a, sig);
		elem = type_parse(a, sig);
		return type_map(a, key, elem);
	default:
		return &types[kind_of_letter(c)];
	}
}

static void skip_type(const char **sig)
{
	char c = *(*sig)++;

	if (c == 'L' || c == 'O' || c == 'M')
		skip_type(sig);
	if (c == 'M')
		skip_type(sig);
}

bool signature_takes(const char *sig, const struct cel_value *a, size_t n)
{
	const char *s = strchr(sig, ':') + 1;

	for (size_t i = 0; i < n; i++) {
		char c = *s;
		bool fits;

		if (!c)
			return false;
		fits = c == 'A' || c == 'B' || c == '*' ||
		       (c == 'L'   ? a[i].kind == CEL_LIST
			: c == 'O' ? a[i].kind == CEL_OPTIONAL
			: c == 'M' ? a[i].kind == CEL_MAP || a[i].kind == CEL_OBJECT
				   : a[i].kind == kind_of_letter(c));
		if (!fits)
			return false;
		skip_type(&s);
	}
	return !*s;
}

/* ---- relations -------------------------------------------------------------------------- */

bool type_equal(const struct cel_type *a, const struct cel_type *b)
{
	if (a == b)
		return true;
	if (a->kind != b->kind)
		return false;
	switch ((enum cel_kind)a->kind) {
	case CEL_LIST:
	case CEL_OPTIONAL:
		return type_equal(a->elem, b->elem);
	case CEL_MAP:
		return type_equal(a->key, b->key) && type_equal(a->elem, b->elem);
	case CEL_OBJECT:
		return a->decl == b->decl && a->member == b->member;
	case CEL_PARAM:
		return false;
	default:
		return true;
	}
}

/* null is a value of everything that is not simple. */
static bool takes_null(const struct cel_type *t)
{
	switch ((enum cel_kind)t->kind) {
	case CEL_BOOL:
	case CEL_INT:
	case CEL_UINT:
	case CEL_DOUBLE:
	case CEL_STRING:
	case CEL_BYTES:
	case CEL_LIST:
	case CEL_MAP:
	case CEL_TYPE:
		return false;
	default:
		return true;
	}
}

static bool fits_param(struct binding *b, const struct cel_type *to, const struct cel_type *from)
{
	const struct cel_type **bound = &b->params[to == &params[1]];

	if (!*bound || (*bound)->kind == CEL_DYN || (*bound)->kind == CEL_NULL) {
		bool keep = *bound && (*bound)->kind == CEL_NULL && !takes_null(from);

		if (keep && from->kind != CEL_DYN)
			return false;
		*bound = from;
		return true;
	}
	return type_fits(b, *bound, from);
}

bool type_fits(struct binding *b, const struct cel_type *to, const struct cel_type *from)
{
	if (to->kind == CEL_PARAM)
		return fits_param(b, to, from);
	if (to == from || to->kind == CEL_DYN || from->kind == CEL_DYN || from->kind == CEL_ERROR ||
	    to->kind == CEL_ERROR)
		return true;
	if (from->kind == CEL_NULL)
		return takes_null(to);
	if (to->kind != from->kind)
		return false;
	switch ((enum cel_kind)to->kind) {
	case CEL_LIST:
	case CEL_OPTIONAL:
		return type_fits(b, to->elem, from->elem);
	case CEL_MAP:
		return type_fits(b, to->key, from->key) && type_fits(b, to->elem, from->elem);
	case CEL_OBJECT:
		return type_equal(to, from);
	default:
		return true;
	}
}

const struct cel_type *type_bound(struct arena *a, const struct binding *b,
				  const struct cel_type *t)
{
	const struct cel_type *key, *elem;

	switch ((enum cel_kind)t->kind) {
	case CEL_PARAM:
		elem = b->params[t == &params[1]];
		return elem ? elem : type_dyn;
	case CEL_LIST:
	case CEL_OPTIONAL:
		elem = type_bound(a, b, t->elem);
		return elem == t->elem ? t : compound(a, t->kind, type_dyn, elem);
	case CEL_MAP:
		key = type_bound(a, b, t->key);
		elem = type_bound(a, b, t->elem);
		return key == t->key && elem == t->elem ? t : type_map(a, key, elem);
	default:
		return t;
	}
}

const struct cel_type *type_join(const struct cel_type *a, const struct cel_type *b)
{
	struct binding none = {{NULL}};

	if (a->kind == CEL_DYN || (b->kind != CEL_DYN && type_fits(&none, a, b)))
		return a;
	return type_fits(&none, b, a) ? b : NULL;
}

/* ---- names ------------------------------------------------------------------------------ */

static void put_type(struct strbuf *b, const struct cel_type *t)
{
	static const char *const names[] = {
		[CEL_ERROR] = "!error!",
		[CEL_DYN] = "dyn",
		[CEL_NULL] = "null",
		[CEL_BOOL] = "bool",
		[CEL_INT] = "int",
		[CEL_UINT] = "uint",
		[CEL_DOUBLE] = "double",
		[CEL_STRING] = "string",
		[CEL_BYTES] = "bytes",
		[CEL_LIST] = "list",
		[CEL_MAP] = "map",
		[CEL_OBJECT] = "object",
		[CEL_TIMESTAMP] = "timestamp",
		[CEL_DURATION] = "duration",
		[CEL_TYPE] = "type",
		[CEL_OPTIONAL] = "optional_type",
		[CEL_QUANTITY] = "kubernetes.Quantity",
		[CEL_URL] = "kubernetes.URL",
		[CEL_IP] = "net.IP",
		[CEL_CIDR] = "net.CIDR",
		[CEL_SEMVER] = "kubernetes.Semver",
		[CEL_FORMAT] = "kubernetes.NamedFormat",
		[CEL_AUTHORIZER] = "kubernetes.authorization.Authorizer",
		[CEL_PATH_CHECK] = "kubernetes.authorization.PathCheck",
		[CEL_GROUP_CHECK] = "kubernetes.authorization.GroupCheck",
		[CEL_RESOURCE_CHECK] = "kubernetes.authorization.ResourceCheck",
		[CEL_DECISION] = "kubernetes.authorization.Decision",
		[CEL_PARAM] = "A",
	};

	strbuf_adds(b, t->name ? t->name : names[t->kind]);
	if (t->kind != CEL_LIST && t->kind != CEL_MAP && t->kind != CEL_OPTIONAL)
		return;
	strbuf_addc(b, '(');
	if (t->kind == CEL_MAP) {
		put_type(b, t->key);
		strbuf_adds(b, ", ");
	}
	put_type(b, t->elem);
	strbuf_addc(b, ')');
}

char *cel_type_text(const struct cel_type *t)
{
	struct strbuf b = {0};

	put_type(&b, t);
	return strbuf_steal(&b);
}

/* ---- members ---------------------------------------------------------------------------- */

static const char *const keywords[] = {
	"true", "false",    "null", "in",     "as",  "break", "const",	 "continue",  "else",
	"for",	"function", "if",   "import", "let", "loop",  "package", "namespace", "return"};
static const struct {
	const char *escape;
	const char *text;
} escapes[] = {{"__underscores__", "__"}, {"__dot__", "."}, {"__dash__", "-"}, {"__slash__", "/"}};

static bool is_keyword(const char *s, size_t n)
{
	for (size_t i = 0; i < ARRAY_SIZE(keywords); i++)
		if (strlen(keywords[i]) == n && memcmp(keywords[i], s, n) == 0)
			return true;
	return false;
}

char *cel_escape(const char *name)
{
	struct strbuf b = {0};

	if (is_keyword(name, strlen(name)))
		return xasprintf("__%s__", name);
	if (!*name || (*name >= '0' && *name <= '9'))
		return NULL;
	for (const char *s = name; *s;) {
		size_t i;

		for (i = 0; i < ARRAY_SIZE(escapes); i++)
			if (str_starts(s, escapes[i].text))
				break;
		if (i < ARRAY_SIZE(escapes)) {
			strbuf_adds(&b, escapes[i].escape);
			s += strlen(escapes[i].text);
		} else if (strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_0123456789",
				  *s)) {
			strbuf_addc(&b, *s++);
		} else {
			strbuf_done(&b);
			return NULL;
		}
	}
	return strbuf_steal(&b);
}

static char *unescape(const char *name)
{
	struct strbuf b = {0};
	size_t n = strlen(name);

	if (n > 4 && str_starts(name, "__") && str_ends(name, "__") && is_keyword(name + 2, n - 4))
		return xstrndup(name + 2, n - 4);
	while (*name) {
		size_t i;

		for (i = 0; i < ARRAY_SIZE(escapes); i++)
			if (str_starts(name, escapes[i].escape))
				break;
		if (i < ARRAY_SIZE(escapes)) {
			strbuf_adds(&b, escapes[i].text);
			name += strlen(escapes[i].escape);
		} else {
			strbuf_addc(&b, *name++);
		}
	}
	return strbuf_steal(&b);
}

const struct cel_type *type_member(struct arena *a, const struct cel_type *t, const char *name,
				   const char **json_name)
{
	auto_free char *plain = NULL, *back = NULL;

	*json_name = name;
	if (!t->escaped)
		return t->member ? t->member(t, name) : NULL;
	plain = unescape(name);
	back = cel_escape(plain);
	if (!back || !streq(back, name))
		return NULL;
	*json_name = arena_text(a, plain, strlen(plain));
	return t->member(t, plain);
}
