/* SPDX-License-Identifier: Apache-2.0 */
/* Image references: the grammar of github.com/distribution/reference, with Docker's defaults. */
#include "ref.h"
#include <coracle/image.h>

enum { NAME_MAX_LEN = 255, TAG_MAX_LEN = 128 };

static bool is_lower_alnum(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

static bool is_alnum(char c)
{
	return is_lower_alnum(c) || (c >= 'A' && c <= 'Z');
}

static bool is_lower_hex(const char *s, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (!((s[i] >= '0' && s[i] <= '9') || (s[i] >= 'a' && s[i] <= 'f')))
			return false;
	return true;
}

bool digest_valid(const char *text)
{
	return text && str_starts(text, "sha256:") && strlen(text) == DIGEST_TEXT_LEN &&
	       is_lower_hex(text + 7, DIGEST_HEX_LEN);
}

const char *digest_hex(const char *digest)
{
	return digest + 7;
}

bool hex_prefix_valid(const char *text)
{
	size_t len = text ? strlen(text) : 0;
	return len >= 1 && len <= DIGEST_HEX_LEN && is_lower_hex(text, len);
}

/* path-component := alnum+ (separator alnum+)*, separator := "." | "_" | "__" | "-"+ */
static const char *path_component_end(const char *s)
{
	if (!is_lower_alnum(*s))
		return NULL;
	for (;;) {
		while (is_lower_alnum(*s))
			s++;
		const char *sep = s;
		if (*s == '.')
			s++;
		else if (*s == '_')
			s += s[1] == '_' ? 2 : 1;
		else
			while (*s == '-')
				s++;
		if (s == sep)
			return s;
		if (!is_lower_alnum(*s))
			return NULL;
	}
}

static bool path_valid(const char *path)
{
	for (const char *s = path;; s++) {
		s = path_component_end(s);
		if (!s)
			return false;
		if (!*s)
			return true;
		if (*s != '/')
			return false;
	}
}

static bool port_valid(const char *s)
{
	uint64_t port;
	return *s >= '0' && *s <= '9' && str_to_u64(s, 65535, &port) == 0;
}

static bool host_label_char(char c)
{
	return is_alnum(c) || c == '-';
}

/* domain := host [":" port]; host: dotted labels or an IPv6 address in brackets. */
static bool domain_valid(const char *d)
{
	const char *s = d;
	if (*s == '[') {
		s++;
		size_t n = strspn(s, "0123456789abcdefABCDEF:");
		if (n == 0 || s[n] != ']')
			return false;
		s += n + 1;
	} else {
		for (;; s++) {
			const char *label = s;
			while (host_label_char(*s))
				s++;
			if (s == label || *label == '-' || s[-1] == '-')
				return false;
			if (*s != '.')
				break;
		}
	}
	return !*s || (*s == ':' && port_valid(s + 1));
}

static bool tag_valid(const char *t)
{
	size_t n = 0;
	if (!is_alnum(*t) && *t != '_')
		return false;
	for (; t[n]; n++)
		if (!is_alnum(t[n]) && t[n] != '_' && t[n] != '.' && t[n] != '-')
			return false;
	return n <= TAG_MAX_LEN;
}

/* Docker's rule: the first piece is a host when it looks like one, else everything is a path. */
static bool first_is_domain(const char *s, size_t len)
{
	if (len == strlen("localhost") && strncmp(s, "localhost", len) == 0)
		return true;
	for (size_t i = 0; i < len; i++)
		if (s[i] == '.' || s[i] == ':' || (s[i] >= 'A' && s[i] <= 'Z'))
			return true;
	return false;
}

static int bad(struct err *err, const char *text, const char *why)
{
	return err_set(err, ERR_INVALID, "couldn't parse image name \"%.300s\": %s",
		       text ? text : "", why);
}

static bool has_upper(const char *s)
{
	for (; *s; s++)
		if (*s >= 'A' && *s <= 'Z')
			return true;
	return false;
}

static void split_domain(const char *name, struct image_ref *r)
{
	const char *slash = strchr(name, '/');
	if (slash && first_is_domain(name, (size_t)(slash - name))) {
		r->domain = xstrndup(name, (size_t)(slash - name));
		r->path = xstrdup(slash + 1);
		if (streq(r->domain, "index.docker.io")) {
			free(r->domain);
			r->domain = xstrdup("docker.io");
		}
	} else {
		r->domain = xstrdup("docker.io");
		r->path = xstrdup(name);
	}
	if (streq(r->domain, "docker.io") && !strchr(r->path, '/')) {
		char *full = xasprintf("library/%s", r->path);
		free(r->path);
		r->path = full;
	}
}

static int check_parts(const char *text, const struct image_ref *r, const char *tag,
		       struct err *err)
{
	if (strlen(r->domain) + 1 + strlen(r->path) > NAME_MAX_LEN)
		return bad(err, text, "repository name must not be more than 255 characters");
	if (domain_valid(r->domain) && has_upper(r->path) && !str_starts(r->path, "/"))
		return bad(err, text,
			   "invalid reference format: repository name must be lowercase");
	if (!domain_valid(r->domain) || !path_valid(r->path) || (tag && !tag_valid(tag)))
		return bad(err, text, "invalid reference format");
	return 0;
}

int image_ref_parse(const char *text, struct image_ref *ret, struct err *err)
{
	auto_ref r = {0};
	auto_free char *name = xstrndup(text ? text : "", 1024);
	char *at = strchr(name, '@');
	if (at) {
		*at = '\0';
		if (!digest_valid(at + 1))
			return bad(err, text, "invalid reference format: invalid digest");
		r.digest = xstrdup(at + 1);
	}
	char *slash = strrchr(name, '/'), *colon = strchr(slash ? slash : name, ':');
	const char *tag = NULL;
	if (colon) {
		*colon = '\0';
		tag = colon + 1;
	}
	if (!at && !colon && strlen(name) == DIGEST_HEX_LEN && hex_prefix_valid(name))
		return bad(err, text,
			   "invalid repository name: cannot specify 64-byte hexadecimal strings");
	split_domain(name, &r);
	int rc = check_parts(text, &r, tag, err);
	if (rc < 0)
		return rc;
	if (!r.digest)
		r.tag = xstrdup(tag ? tag : "latest");
	*ret = r;
	r = (struct image_ref){0};
	return 0;
}

void image_ref_done(struct image_ref *r)
{
	free(r->domain);
	free(r->path);
	free(r->tag);
	free(r->digest);
	*r = (struct image_ref){0};
}

char *image_ref_text(const struct image_ref *r)
{
	if (r->digest)
		return xasprintf("%s/%s@%s", r->domain, r->path, r->digest);
	return xasprintf("%s/%s:%s", r->domain, r->path, r->tag);
}

int image_ref_normalize(const char *ref, char **ret, struct err *err)
{
	auto_ref r = {0};
	int rc = image_ref_parse(ref, &r, err);
	if (rc < 0)
		return rc;
	*ret = image_ref_text(&r);
	return 0;
}
