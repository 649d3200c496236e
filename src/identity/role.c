/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A role's rules packed into one block of memory, and the question whether they allow something
 * (kubernetes pkg/apis/rbac/v1/evaluation_helpers.go). A rule is five lists; a list is the number
 * of its strings and the strings, each with its NUL.
 */
#include "internal.h"

enum { L_VERBS, L_GROUPS, L_RESOURCES, L_NAMES, L_URLS, L_COUNT };
static const char *const list_names[L_COUNT] = {"verbs", "apiGroups", "resources", "resourceNames",
						"nonResourceURLs"};

struct role {
	uint32_t n_rules, bytes;
	char data[];
};

/* ---- packing ----------------------------------------------------------------------------- */

static void pack_list(struct strbuf *b, const json_t *list)
{
	uint16_t n =
		(uint16_t)(json_array_size(list) < UINT16_MAX ? json_array_size(list) : UINT16_MAX);

	strbuf_add(b, &n, sizeof(n));
	for (size_t i = 0; i < n; i++) {
		const char *s = json_string_value(json_array_get(list, i));

		s = s ? s : "";
		strbuf_add(b, s, strlen(s) + 1);
	}
}

struct role *role_pack(const json_t *rules)
{
	auto_strbuf b = {0};
	struct role *r;
	json_t *rule;
	size_t i;

	json_array_foreach(rules, i, rule) for (size_t l = 0; l < L_COUNT; l++)
		pack_list(&b, json_object_get(rule, list_names[l]));
	r = xcalloc(1, sizeof(*r) + b.len);
	r->n_rules = (uint32_t)json_array_size(rules);
	r->bytes = (uint32_t)b.len;
	if (b.len)
		memcpy(r->data, b.s, b.len);
	return r;
}

size_t role_bytes(const struct role *r)
{
	return sizeof(*r) + r->bytes;
}

/* ---- matching ---------------------------------------------------------------------------- */

/* Walks one list; returns what is behind it. *ret: whether one of its strings matches. */
static const char *match_list(const char *p, bool (*match)(const char *s, const struct access *a),
			      const struct access *a, bool *ret, bool *ret_empty)
{
	uint16_t n;

	memcpy(&n, p, sizeof(n));
	p += sizeof(n);
	*ret = false;
	*ret_empty = n == 0;
	for (; n; n--) {
		*ret = *ret || match(p, a);
		p += strlen(p) + 1;
	}
	return p;
}

static bool match_verb(const char *s, const struct access *a)
{
	return streq(s, "*") || streq(s, a->verb);
}

static bool match_group(const char *s, const struct access *a)
{
	return !a->path && (streq(s, "*") || streq(s, a->group));
}

/* "*", "pods", "pods/log", and "* /log" (without the blank) for that subresource of everything. */
static bool match_resource(const char *s, const struct access *a)
{
	size_t len;

	if (a->path)
		return false;
	if (streq(s, "*"))
		return true;
	if (!*a->sub)
		return streq(s, a->resource);
	if (s[0] == '*' && s[1] == '/')
		return streq(s + 2, a->sub);
	len = strlen(a->resource);
	return strncmp(s, a->resource, len) == 0 && s[len] == '/' && streq(s + len + 1, a->sub);
}

static bool match_name(const char *s, const struct access *a)
{
	return !a->path && streq(s, a->name);
}

static bool match_url(const char *s, const struct access *a)
{
	size_t len = strlen(s);

	if (!a->path)
		return false;
	if (len && s[len - 1] == '*')
		return strncmp(a->path, s, len - 1) == 0;
	return streq(s, a->path);
}

bool role_allows(const struct role *r, const struct access *a)
{
	static bool (*const match[L_COUNT])(const char *, const struct access *) = {
		match_verb, match_group, match_resource, match_name, match_url};
	const char *p = r->data;

	for (uint32_t i = 0; i < r->n_rules; i++) {
		bool hit[L_COUNT], empty[L_COUNT];

		for (size_t l = 0; l < L_COUNT; l++)
			p = match_list(p, match[l], a, &hit[l], &empty[l]);
		if (!hit[L_VERBS])
			continue;
		if (a->path ? hit[L_URLS]
			    : hit[L_GROUPS] && hit[L_RESOURCES] && (hit[L_NAMES] || empty[L_NAMES]))
			return true;
	}
	return false;
}
