/* SPDX-License-Identifier: Apache-2.0 */
/*
 * /healthz, /livez, /readyz: the checks of kube-apiserver by the names it gives them, all together
 * or each by its path. That there is an answer shows that the loop turns; /readyz asks the parts,
 * too.
 */
#include "internal.h"

#define CHECKS_MAX (ARRAY_SIZE(((struct api *)NULL)->ready) + 3)
#define PATH_MAX_SHOWN 64

/* why NULL: it is well. */
struct check {
	const char *name, *why;
};

static size_t checks_of(const struct api *a, bool ready, struct check v[static CHECKS_MAX])
{
	size_t n = 0;

	v[n++] = (struct check){"ping", NULL};
	v[n++] = (struct check){"log", NULL}; /* never waits for its reader */
	v[n++] = (struct check){"etcd", store_trouble(a->store)};
	for (size_t i = 0; ready && i < a->n_ready; i++)
		v[n++] = (struct check){a->ready[i].name, a->ready[i].why};
	return n;
}

static void reply_one(struct call *c, const struct check *check)
{
	if (!check->why) {
		call_reply_text(c, 200, "ok");
		return;
	}
	auto_free char *text = xasprintf("internal server error: %s\n", check->why);

	call_reply_text(c, 500, text);
}

/* Those that are not asked for are named in the answer, as well as those that nobody knows. */
static void add_unknown(struct strbuf *b, const struct strv *exclude, const struct check *v,
			size_t n)
{
	bool any = false;

	for (size_t i = 0; i < exclude->n; i++) {
		bool known = false;

		for (size_t j = 0; j < n; j++)
			known = known || streq(v[j].name, exclude->v[i]);
		if (known)
			continue;
		strbuf_addf(b,
			    any ? ",\"%s\""
				: "warn: some health checks cannot be excluded: "
				  "no matches for \"%s\"",
			    exclude->v[i]);
		any = true;
	}
	if (any)
		strbuf_adds(b, "\n");
}

static void reply_all(struct call *c, const char *name, const struct check *v, size_t n)
{
	auto_strv exclude = {0}, verbose = {0};
	auto_strbuf b = {0};
	bool good = true;

	http_params(c->req, "exclude", &exclude);
	http_params(c->req, "verbose", &verbose);
	for (size_t i = 0; i < n; i++) {
		bool left_out = strv_has(&exclude, v[i].name), bad = v[i].why && !left_out;

		strbuf_addf(&b, "[%c]%s %s\n", bad ? '-' : '+', v[i].name,
			    left_out ? "excluded: ok"
			    : bad    ? "failed: reason withheld"
				     : "ok");
		good = good && !bad;
	}
	add_unknown(&b, &exclude, v, n);
	strbuf_addf(&b, "%s check %s\n", name, good ? "passed" : "failed");
	call_reply_text(c, good ? 200 : 500, good && !verbose.n ? "ok" : b.s);
}

void handle_health(struct call *c)
{
	char name[PATH_MAX_SHOWN];
	const char *path = http_path(c->req) + 1;
	size_t len = strcspn(path, "/");
	const char *one = path[len] ? path + len + 1 : "";
	struct check v[CHECKS_MAX];
	size_t n;

	snprintf(name, sizeof(name), "%.*s", (int)len, path);
	n = checks_of(c->api, streq(name, "readyz"), v);
	if (!*one) {
		reply_all(c, name, v, n);
		return;
	}
	for (size_t i = 0; i < n; i++)
		if (streq(v[i].name, one)) {
			reply_one(c, &v[i]);
			return;
		}
	call_reply_error(c, ERR_NOT_FOUND, "the server could not find the requested resource");
}
