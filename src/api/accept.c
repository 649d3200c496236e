/* SPDX-License-Identifier: Apache-2.0 */
/* Content negotiation: Accept with Kubernetes' parameters as, g and v; Content-Type. */
#include "internal.h"

#include <ctype.h>
#include <strings.h>

#define RANGES_MAX 16

/* One media range of an Accept header. */
struct range {
	char type[64], as[48], group[48], version[16], quality[8];
};

static void range_set(struct range *r, const char *key, size_t key_len, const char *value,
		      size_t len)
{
	static const struct {
		const char *key;
		size_t offset, size;
	} params[] = {
		{"as", offsetof(struct range, as), sizeof(((struct range *)0)->as)},
		{"g", offsetof(struct range, group), sizeof(((struct range *)0)->group)},
		{"v", offsetof(struct range, version), sizeof(((struct range *)0)->version)},
		{"q", offsetof(struct range, quality), sizeof(((struct range *)0)->quality)},
	};

	for (size_t i = 0; i < ARRAY_SIZE(params); i++)
		if (strlen(params[i].key) == key_len &&
		    strncasecmp(params[i].key, key, key_len) == 0 && len < params[i].size)
			snprintf((char *)r + params[i].offset, params[i].size, "%.*s", (int)len,
				 value);
}

/* "type/subtype; key=value; ..." */
static struct range range_parse(const char *s, size_t len)
{
	struct range r = {0};
	const char *end = s + len;

	for (unsigned part = 0; s < end; part++) {
		size_t n = strcspn(s, ";,");
		const char *p = s, *q = s + n;

		while (p < q && isspace((unsigned char)*p))
			p++;
		while (q > p && isspace((unsigned char)q[-1]))
			q--;
		const char *eq = memchr(p, '=', (size_t)(q - p));

		if (part == 0)
			snprintf(r.type, sizeof(r.type), "%.*s", (int)(q - p), p);
		else if (eq)
			range_set(&r, p, (size_t)(eq - p), eq + 1, (size_t)(q - eq - 1));
		s += n + 1;
	}
	return r;
}

static bool version_known(enum media media, const char *v)
{
	if (media == MEDIA_AGGREGATED)
		return streq(v, "v2") || streq(v, "v2beta1");
	return streq(v, "v1") || streq(v, "v1beta1");
}

/* Whether an answer for `what` can be given in this range; fills ret. */
static bool range_fits(const struct range *r, enum accept_for what, struct accept *ret)
{
	static const struct {
		const char *as, *group;
		enum accept_for what;
		enum media media;
	} forms[] = {
		{"Table", "meta.k8s.io", ACCEPT_OBJECT, MEDIA_TABLE},
		{"PartialObjectMetadata", "meta.k8s.io", ACCEPT_OBJECT, MEDIA_PARTIAL},
		{"PartialObjectMetadataList", "meta.k8s.io", ACCEPT_OBJECT, MEDIA_PARTIAL},
		{"APIGroupDiscoveryList", "apidiscovery.k8s.io", ACCEPT_DISCOVERY,
		 MEDIA_AGGREGATED},
	};
	bool json = strcasecmp(r->type, "application/json") == 0 || streq(r->type, "*/*") ||
		    strcasecmp(r->type, "application/*") == 0;

	if (!*r->as) {
		ret->media = json ? MEDIA_JSON : MEDIA_YAML;
		return json || strcasecmp(r->type, "application/yaml") == 0;
	}
	for (size_t i = 0; json && i < ARRAY_SIZE(forms); i++)
		if (streq(r->as, forms[i].as) && streq(r->group, forms[i].group) &&
		    what == forms[i].what && version_known(forms[i].media, r->version)) {
			ret->media = forms[i].media;
			ret->of_list = streq(r->as, "PartialObjectMetadataList");
			snprintf(ret->version, sizeof(ret->version), "%s", r->version);
			return true;
		}
	return false;
}

/* RFC 9110, 12.4.2, in thousandths. */
static int quality(const struct range *r)
{
	double q = *r->quality ? strtod(r->quality, NULL) : 1;

	return q >= 1 ? 1000 : q > 0 ? (int)(q * 1000) : 0;
}

/* The ranges of all headers, the most wanted first, those of equal quality in their order. */
static unsigned ranges_parse(const struct http_request *req, struct range ranges[RANGES_MAX])
{
	auto_strv headers = {0};
	unsigned n = 0;

	http_headers(req, "Accept", &headers);
	for (size_t i = 0; i < headers.n; i++) {
		for (const char *s = headers.v[i]; *s && n < RANGES_MAX; n++) {
			size_t len = strcspn(s, ",");
			struct range r = range_parse(s, len);
			unsigned at = n;

			for (; at && quality(&ranges[at - 1]) < quality(&r); at--)
				ranges[at] = ranges[at - 1];
			ranges[at] = r;
			s += len + (s[len] == ',');
		}
	}
	return n;
}

struct accept accept_parse(const struct http_request *req, enum accept_for what)
{
	struct accept ret = {.media = MEDIA_JSON};
	struct range ranges[RANGES_MAX];
	unsigned n = ranges_parse(req, ranges);

	for (unsigned i = 0; i < n && quality(&ranges[i]); i++)
		if (range_fits(&ranges[i], what, &ret))
			return ret;
	ret.media = n ? MEDIA_NONE : MEDIA_JSON;
	return ret;
}

static bool range_has(const char *range, const char *type)
{
	size_t major = strcspn(type, "/") + 1;

	return strcasecmp(range, type) == 0 || streq(range, "*/*") ||
	       (strncasecmp(range, type, major) == 0 && streq(range + major, "*"));
}

int accept_choose(const struct http_request *req, const char *const *types)
{
	struct range ranges[RANGES_MAX];
	unsigned n = ranges_parse(req, ranges);

	for (unsigned i = 0; i < n && quality(&ranges[i]); i++)
		for (int t = 0; types[t]; t++)
			if (range_has(ranges[i].type, types[t]))
				return t;
	return n ? -1 : 0;
}

void content_type(const struct http_request *req, char buf[static 64])
{
	const char *h = http_header(req, "Content-Type");
	size_t len = h ? strcspn(h, "; \t") : 0;

	if (len > 63)
		len = 63;
	for (size_t i = 0; i < len; i++)
		buf[i] = (char)tolower((unsigned char)h[i]);
	buf[len] = '\0';
}
