/* SPDX-License-Identifier: Apache-2.0 */
/* What the server says of itself: discovery, version, health. */
#include "internal.h"

#include <sys/utsname.h>

/* ---- discovery --------------------------------------------------------------------------- */

static void refuse_media(struct call *c)
{
	auto_err err = {0};

	call_not_acceptable(&err);
	call_reply_err(c, &err);
}

static void reply_or_404(struct call *c, json_t *v)
{
	json_auto_t *owned = v;

	if (!v)
		call_reply_no_path(c);
	else if (c->accept.media == MEDIA_NONE)
		refuse_media(c);
	else
		call_reply_json(c, 200, steal_ptr(owned));
}

/* /api and /apis come in two forms; the aggregated one saves kubectl a request per group. */
static void reply_discovery(struct call *c, bool core)
{
	struct accept accept = accept_parse(c->req, ACCEPT_DISCOVERY);
	auto_free char *type = NULL;
	size_t len;

	if (accept.media != MEDIA_AGGREGATED) {
		c->accept = accept;
		reply_or_404(c, core ? discovery_api_versions() : discovery_group_list());
		return;
	}
	json_auto_t *v = discovery_aggregated(accept.version, core);

	type = xasprintf("application/json;g=apidiscovery.k8s.io;v=%s;as=APIGroupDiscoveryList",
			 accept.version);
	http_respond_header(c->req, "Vary", "Accept");
	auto_free char *text = json_text(v, &len);
	char hash[65];

	sha256_hex(text, len, hash);
	if (!reply_unchanged(c, type, hash))
		call_reply_take(c, 200, type, steal_ptr(text), len);
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

/* ---- paths -------------------------------------------------------------------------------- */

/* GET /: what there is. */
void handle_root(struct call *c)
{
	static const char *const fixed[] = {"/healthz",	   "/livez",  "/metrics", "/openapi/v2",
					    "/openapi/v3", "/readyz", "/version"};
	json_auto_t *groups = discovery_group_list();
	json_t *v = json_object(), *paths = json_arr(v, "paths"), *group, *version;
	size_t i, k;

	json_array_append_new(paths, json_string("/api"));
	json_array_append_new(paths, json_string("/api/v1"));
	json_array_append_new(paths, json_string("/apis"));
	json_array_foreach(json_object_get(groups, "groups"), i, group)
	{
		json_array_append_new(paths, json_sprintf("/apis/%s", json_str(group, "name", "")));
		json_array_foreach(json_object_get(group, "versions"), k, version)
			json_array_append_new(
				paths,
				json_sprintf("/apis/%s", json_str(version, "groupVersion", "")));
	}
	for (i = 0; i < ARRAY_SIZE(fixed); i++)
		json_array_append_new(paths, json_string(fixed[i]));
	call_reply_json(c, 200, v);
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

#ifdef __clang__
#define COMPILER "clang"
#else
#define COMPILER "gcc"
#endif

void handle_version(struct call *c)
{
	const struct api_config *config = &c->api->config;
	const char *git = config->git_version;
	unsigned major = 1, minor = 0;
	struct utsname u;
	json_t *v = json_object();

	if (sscanf(git, "v%u.%u", &major, &minor) != 2)
		log_warn("api: version %s is not vX.Y.Z", git);
	uname(&u);
	json_put_strf(v, "major", "%u", major);
	json_put_strf(v, "minor", "%u", minor);
	json_put_str(v, "gitVersion", git);
	json_put_str(v, "gitCommit", config->git_commit ? config->git_commit : "");
	json_put_str(v, "gitTreeState", config->git_tree_state ? config->git_tree_state : "");
	json_put_str(v, "buildDate",
		     config->build_date ? config->build_date : "1970-01-01T00:00:00Z");
	json_put_str(v, "goVersion", "");
	json_put_str(v, "compiler", COMPILER);
	json_put_strf(v, "platform", "linux/%s", go_arch(u.machine));
	call_reply_json(c, 200, v);
}
