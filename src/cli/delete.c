/* SPDX-License-Identifier: Apache-2.0 */
/*
 * coracle delete, and waiting until what was deleted is gone.
 */
#include "internal.h"
#include <ctype.h>

struct target {
	const struct kind *kind;
	char *ns, *name, *uid;
};

struct targets {
	struct target *v;
	size_t n;
};

static void targets_done(struct targets *t)
{
	for (size_t i = 0; i < t->n; i++) {
		free(t->v[i].ns);
		free(t->v[i].name);
		free(t->v[i].uid);
	}
	free(t->v);
}

static void add_target(struct targets *t, const struct kind *k, const char *ns, const char *name)
{
	t->v = xrealloc(t->v, t->n + 1, sizeof(*t->v));
	t->v[t->n++] = (struct target){.kind = k, .ns = xstrdup_null(ns), .name = xstrdup(name)};
}

/* DeleteOptions as kubectl sends them. */
static json_t *delete_options(const struct cli *c)
{
	const char *cascade = c->o.cascade ? c->o.cascade : "background";
	json_t *body = json_object();
	char policy[32];

	snprintf(policy, sizeof(policy), "%s", cascade);
	policy[0] = (char)toupper((unsigned char)policy[0]);
	json_put_str(body, "propagationPolicy", policy);
	if (c->o.grace_period >= 0 || c->o.force)
		json_put_int(body, "gracePeriodSeconds",
			     c->o.grace_period >= 0 ? c->o.grace_period : 0);
	else if (c->o.now)
		json_put_int(body, "gracePeriodSeconds", 1);
	return body;
}

/* Objects of the kind that the selector (or --all) names. */
static int add_selected(struct cli *c, struct targets *t, const struct kind *k)
{
	auto_free char *path =
		kind_path_query(k, cli_ns(c, k), NULL, NULL, "labelSelector", c->o.selector,
				"fieldSelector", c->o.field_selector, NULL);
	int exit_code;
	json_auto_t *list = client_get(c, path, false, &exit_code);
	json_t *item;
	size_t i;

	json_array_foreach(json_at(list, "items"), i, item)
	{
		add_target(t, k, k->namespaced ? meta_ns(item) : NULL, meta_name(item));
	}
	return exit_code;
}

static int find_targets(struct cli *c, struct targets *t)
{
	auto_manifests m = {0};
	auto_refs refs = {0};
	bool select = c->o.all || c->o.selector || c->o.field_selector;
	int bad = 0;

	if (c->o.files.n) {
		bad = manifests_load(c, &m);
		for (size_t i = 0; i < m.n; i++)
			add_target(t, m.v[i].kind,
				   m.v[i].kind->namespaced ? meta_ns(m.v[i].obj) : NULL,
				   meta_name(m.v[i].obj));
		return bad;
	}
	if (refs_parse(c, &c->args, &refs))
		return 1;
	if (!refs.n)
		return cli_error("You must provide one or more resources by argument or filename.");
	for (size_t i = 0; i < refs.n; i++) {
		const struct ref *r = &refs.v[i];

		if (r->name)
			add_target(t, r->kind, cli_ns(c, r->kind), r->name);
		else if (select)
			bad |= add_selected(c, t, r->kind);
		else
			return cli_error("resource(s) were provided, but no name was specified");
	}
	if (!bad && !t->n)
		fprintf(stderr, "No resources found\n");
	return bad;
}

/* ---- deleting and waiting ------------------------------------------------------------------- */

static int delete_one(struct cli *c, struct target *t)
{
	json_auto_t *options = delete_options(c), *answer = NULL;
	auto_free char *text = NULL, *path = kind_path(t->kind, t->ns, t->name);
	char word[API_VERSION_MAX];
	auto_reply r = {0};
	size_t len;

	text = json_text(options, &len);
	const struct query q = {
		.method = "DELETE", .path = path, .type = TYPE_JSON, .body = text, .body_len = len};
	if (client_call(c, &q, &r) < 0)
		return 1;
	if (r.code == 404 && c->o.ignore_not_found)
		return 0;
	if (!reply_ok(&r))
		return reply_error(&r, NULL);
	answer = json_loadb(r.body, r.len, 0, NULL);
	/* The object itself when it still has to end, else a Status. */
	t->uid = xstrdup(json_str(answer, "metadata.uid", json_str(answer, "details.uid", "")));
	if (str_eq(c->o.output, "name"))
		printf("%s/%s\n", kind_word(t->kind, word), t->name);
	else
		printf("%s \"%s\" %sdeleted\n", kind_word(t->kind, word), t->name,
		       c->o.force ? "force " : "");
	fflush(stdout);
	return 0;
}

static bool deleted_event(void *arg, const char *type, json_t *object)
{
	const struct target *t = arg;

	return !streq(type, "DELETED") || !streq(meta_uid(object), t->uid);
}

/* 0: gone; 1: failed; -ETIMEDOUT. */
static int wait_gone(struct cli *c, struct target *t, uint64_t timeout_us)
{
	auto_free char *path = kind_path(t->kind, t->ns, t->name);
	auto_free char *selector = xasprintf("metadata.name=%s", t->name);
	mono_t end = mono_add(mono_now(), timeout_us);

	for (;;) {
		auto_free char *watch = NULL;
		int exit_code, r;
		json_auto_t *live = client_get(c, path, true, &exit_code);
		uint64_t left = timeout_us ? mono_sub(end, mono_now()) : 0;

		if (!live || !streq(meta_uid(live), t->uid))
			return exit_code;
		if (timeout_us && !left)
			return -ETIMEDOUT;
		watch = kind_path_query(
			t->kind, t->ns, NULL, NULL, "fieldSelector", selector, "resourceVersion",
			json_str(live, "metadata.resourceVersion", "0"), "watch", "true", NULL);
		r = client_watch(c, watch, NULL, left, deleted_event, t);
		if (r <= 0)
			return r;
	}
}

static int wait_all(struct cli *c, struct targets *t)
{
	char word[API_VERSION_MAX];
	int64_t seconds = 0;

	if (c->o.timeout && duration_parse(c->o.timeout, &seconds) < 0)
		return cli_error("invalid argument \"%s\" for \"--timeout\" flag", c->o.timeout);
	for (size_t i = 0; i < t->n; i++) {
		int r = t->v[i].uid ? wait_gone(c, &t->v[i], (uint64_t)seconds * USEC_PER_SEC) : 0;

		if (r == -ETIMEDOUT)
			return cli_error("timed out waiting for the condition on %s/%s",
					 kind_word(t->v[i].kind, word), t->v[i].name);
		if (r)
			return 1;
	}
	return 0;
}

int cmd_delete(struct cli *c)
{
	const char *cascade = c->o.cascade;
	struct targets t = {0};
	int bad;

	if (cascade && !streq(cascade, "background") && !streq(cascade, "foreground") &&
	    !streq(cascade, "orphan"))
		return cli_error("invalid cascade value (%s). Must be \"background\", "
				 "\"foreground\", or \"orphan\"",
				 cascade);
	if (c->o.force)
		fprintf(stderr,
			"Warning: Immediate deletion does not wait for confirmation that the "
			"running resource has been terminated. The resource may continue to "
			"run on the cluster indefinitely.\n");
	bad = find_targets(c, &t);
	for (size_t i = 0; i < t.n; i++)
		bad |= delete_one(c, &t.v[i]);
	if (c->o.wait && !c->o.force)
		bad |= wait_all(c, &t);
	targets_done(&t);
	return bad;
}
