/* SPDX-License-Identifier: Apache-2.0 */
/* What the server says of itself: discovery, OpenAPI, version, health. */
#include "internal.h"

#include <sys/utsname.h>

/* As upstream names it: the "@" of the media type asked for is no token (RFC 9110). */
#define OPENAPI_V2_PROTOBUF "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"

/* ---- discovery --------------------------------------------------------------------------- */

static void reply_or_404(struct call *c, json_t *v)
{
	if (v)
		call_reply_json(c, 200, v);
	else
		call_reply_text(c, 404, "404 page not found\n");
}

/* /api and /apis come in two forms; the aggregated one saves kubectl a request per group. */
static void reply_discovery(struct call *c, bool core)
{
	struct accept accept = accept_parse(c->req, ACCEPT_DISCOVERY);
	auto_free char *type = NULL;
	size_t len;

	if (accept.media != MEDIA_AGGREGATED) {
		c->accept = accept;
		call_reply_json(c, 200, core ? discovery_api_versions() : discovery_group_list());
		return;
	}
	json_auto_t *v = discovery_aggregated(accept.version, core);

	type = xasprintf("application/json;g=apidiscovery.k8s.io;v=%s;as=APIGroupDiscoveryList",
			 accept.version);
	http_respond_header(c->req, "Vary", "Accept");
	char *text = json_text(v, &len);

	call_reply_take(c, 200, type, text, len);
}

void handle_api_versions(struct call *c)
{
	reply_discovery(c, true);
}

void handle_groups(struct call *c)
{
	reply_discovery(c, false);
}

/* The i-th segment of the path (0: the first), decoded; caller frees. */
static char *segment(const struct call *c, unsigned i)
{
	const char *p = http_path(c->req);

	do {
		p += strspn(p, "/");
		if (i == 0)
			return http_url_decode(p, strcspn(p, "/"));
		p += strcspn(p, "/");
	} while (i--);
	return NULL;
}

void handle_group(struct call *c)
{
	auto_free char *group = segment(c, 1);

	reply_or_404(c, group ? discovery_group(group) : NULL);
}

void handle_resources(struct call *c)
{
	bool core = str_starts(http_path(c->req), "/api/");
	auto_free char *group = core ? xstrdup("") : segment(c, 1);
	auto_free char *version = segment(c, core ? 1 : 2);

	reply_or_404(c, group && version ? discovery_resources(group, version) : NULL);
}

/* ---- OpenAPI ----------------------------------------------------------------------------- */

/* A document with its ETag; the client's If-None-Match saves sending it again. */
static void reply_document(struct call *c, char *text, size_t len, bool immutable)
{
	char hash[65], tag[80];
	const char *known = http_header(c->req, "If-None-Match");

	sha256_hex(text, len, hash);
	snprintf(tag, sizeof(tag), "\"%s\"", hash);
	http_respond_header(c->req, "ETag", tag);
	if (immutable)
		http_respond_header(c->req, "Cache-Control", "public, immutable");
	if (known && streq(known, tag)) {
		free(text);
		call_reply(c, 304, NULL, NULL, 0);
		return;
	}
	call_reply_take(c, 200, NULL, text, len);
}

void handle_openapi_v2(struct call *c)
{
	const char *accept = http_header(c->req, "Accept");
	size_t len;

	/* kubectl 1.27 and 1.28 parse nothing but protobuf here. */
	if (accept && strstr(accept, "proto-openapi.spec.v2@v1.0+protobuf")) {
		const void *doc = openapi_v2_protobuf(&len);

		call_reply(c, 200, OPENAPI_V2_PROTOBUF, doc, len);
		return;
	}
	char *text = openapi_v2_document(&len);

	reply_document(c, text, len, false);
}

void handle_openapi_v3(struct call *c)
{
	call_reply_json(c, 200, openapi_v3_index());
}

void handle_openapi_v3_document(struct call *c)
{
	auto_free char *hash = http_param(c->req, "hash");
	size_t len;
	char *text = openapi_v3_document(http_path(c->req) + strlen("/openapi/v3/"), &len);

	if (text)
		reply_document(c, text, len, !str_empty(hash));
	else
		call_reply_text(c, 404, "404 page not found\n");
}

/* ---- version ----------------------------------------------------------------------------- */

static const char *go_arch(const char *machine)
{
	static const struct {
		const char *machine, *arch;
	} names[] = {
		{"x86_64", "amd64"},	{"aarch64", "arm64"},	{"armv7l", "arm"},
		{"armv6l", "arm"},	{"riscv64", "riscv64"}, {"i686", "386"},
		{"ppc64le", "ppc64le"}, {"s390x", "s390x"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (streq(names[i].machine, machine))
			return names[i].arch;
	return machine;
}

void handle_version(struct call *c)
{
	const char *git = c->api->config.git_version;
	unsigned major = 1, minor = 0;
	struct utsname u;
	json_t *v = json_object();

	if (sscanf(git, "v%u.%u", &major, &minor) != 2)
		log_warn("api: version %s is not vX.Y.Z", git);
	uname(&u);
	json_put_strf(v, "major", "%u", major);
	json_put_strf(v, "minor", "%u", minor);
	json_put_str(v, "gitVersion", git);
	json_put_str(v, "gitCommit", "");
	json_put_str(v, "gitTreeState", "clean");
	json_put_str(v, "buildDate", "1970-01-01T00:00:00Z");
	json_put_str(v, "goVersion", "");
	json_put_str(v, "compiler", "cc");
	json_put_strf(v, "platform", "linux/%s", go_arch(u.machine));
	call_reply_json(c, 200, v);
}

/* ---- health ------------------------------------------------------------------------------ */

/* /healthz and /livez ask whether the loop turns, which an answer shows; /readyz asks the parts. */
void handle_health(struct call *c)
{
	const char *name = http_path(c->req) + 1;
	bool ready = str_starts(name, "readyz"), good = true;
	auto_free char *verbose = http_param(c->req, "verbose");
	const char *trouble = store_trouble(c->api->store);
	auto_strbuf b = {0};

	strbuf_addf(&b, "[+]ping ok\n");
	if (ready && trouble) {
		good = false;
		strbuf_addf(&b, "[-]storage failed: %s\n", trouble);
	}
	for (size_t i = 0; ready && i < c->api->n_ready; i++) {
		const struct condition *k = &c->api->ready[i];

		good = good && !k->why;
		strbuf_addf(&b, k->why ? "[-]%s failed: %s\n" : "[+]%s ok%s\n", k->name,
			    k->why ? k->why : "");
	}
	size_t len = strcspn(name, "/");

	strbuf_addf(&b, "%.*s check %s\n", (int)len, name, good ? "passed" : "failed");
	if (!good)
		call_reply_text(c, 500, b.s);
	else
		call_reply_text(c, 200, verbose ? b.s : "ok");
}
