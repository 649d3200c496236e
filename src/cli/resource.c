/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the user names on the command line: kinds, names, and their paths in the API.
 */
#include "internal.h"
#include <ctype.h>

void refs_done(struct refs *r)
{
	for (size_t i = 0; i < r->n; i++)
		free(r->v[i].name);
	free(r->v);
	*r = (struct refs){0};
}

static void add_ref(struct refs *r, const struct kind *k, const char *name)
{
	r->v = xrealloc(r->v, r->n + 1, sizeof(*r->v));
	r->v[r->n++] = (struct ref){.kind = k, .name = xstrdup_null(name)};
}

#define DEFINITIONS "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"

/* Asks the server for the kinds that it was taught; once. Without an answer there are none. */
void kinds_learn(struct cli *c)
{
	static bool asked;
	int exit_code;
	json_t *crd;
	size_t i;

	if (asked)
		return;
	asked = true;
	json_auto_t *list = client_get(c, DEFINITIONS, true, &exit_code);

	json_array_foreach(json_object_get(list, "items"), i, crd)
	{
		auto_err err = {0};

		if (custom_put(crd, NULL, &err) < 0)
			log_debug("%s: %s", meta_name(crd), err_message(&err));
	}
}

static const struct kind *find_kind(struct cli *c, const char *word)
{
	const struct kind *k = kind_by_word(word);

	if (!k) {
		kinds_learn(c);
		k = kind_by_word(word);
	}
	if (!k)
		cli_error("the server doesn't have a resource type \"%s\"", word);
	return k;
}

static bool has_category(const struct kind *k, const char *category)
{
	auto_strv list = {0};

	strv_split(&list, k->categories ? k->categories : "", ',');
	return strv_has(&list, category);
}

/* "all" stands for the kinds of that category. Returns 0 or 1. */
static int add_kinds(struct cli *c, struct refs *r, const char *words, const struct strv *names)
{
	auto_strv list = {0};

	strv_split(&list, words, ',');
	for (size_t i = 0; i < list.n; i++) {
		const struct kind *k;

		if (streq(list.v[i], "all") && !names->n) {
			kinds_learn(c);
			for (size_t n = 0; (k = kind_next(&n));)
				if (!k->storage && has_category(k, "all"))
					add_ref(r, k, NULL);
			continue;
		}
		k = find_kind(c, list.v[i]);
		if (!k)
			return 1;
		for (size_t n = 0; n < names->n; n++)
			add_ref(r, k, names->v[n]);
		if (!names->n)
			add_ref(r, k, NULL);
	}
	return 0;
}

/* KIND/NAME ... */
static int add_pairs(struct cli *c, struct refs *r, const struct strv *args)
{
	for (size_t i = 0; i < args->n; i++) {
		const char *slash = strchr(args->v[i], '/');
		auto_free char *word = NULL;
		const struct kind *k;

		if (!slash || !slash[1] || slash == args->v[i])
			return cli_error(
				"there is no need to specify a resource type as a separate "
				"argument when passing arguments in resource/name form "
				"(e.g. 'coracle get resource/<resource_name>' instead of "
				"'coracle get resource resource/<resource_name>'");
		word = xstrndup(args->v[i], (size_t)(slash - args->v[i]));
		k = find_kind(c, word);
		if (!k)
			return 1;
		add_ref(r, k, slash + 1);
	}
	r->by_slash = true;
	return 0;
}

int refs_parse(struct cli *c, const struct strv *args, struct refs *r)
{
	struct strv names = {0};

	if (!args->n)
		return 0;
	for (size_t i = 0; i < args->n; i++) {
		if (strchr(args->v[i], '/'))
			return add_pairs(c, r, args);
	}
	names = (struct strv){.v = args->v + 1, .n = args->n - 1};
	return add_kinds(c, r, args->v[0], &names);
}

char *url_encode(const char *s)
{
	auto_strbuf b = {0};

	for (; *s; s++) {
		if (isalnum((unsigned char)*s) || strchr("-._~", *s))
			strbuf_addc(&b, *s);
		else
			strbuf_addf(&b, "%%%02X", (unsigned char)*s);
	}
	return strbuf_steal(&b);
}

char *kind_path(const struct kind *k, const char *ns, const char *name)
{
	auto_strbuf b = {0};
	auto_free char *ens = url_encode(ns ? ns : ""), *ename = url_encode(name ? name : "");

	if (*k->group)
		strbuf_addf(&b, "/apis/%s/%s", k->group, k->version);
	else
		strbuf_addf(&b, "/api/%s", k->version);
	if (k->namespaced && *ens)
		strbuf_addf(&b, "/namespaces/%s", ens);
	strbuf_addf(&b, "/%s", k->plural);
	if (*ename)
		strbuf_addf(&b, "/%s", ename);
	return strbuf_steal(&b);
}

char *kind_path_query(const struct kind *k, const char *ns, const char *name, const char *sub, ...)
{
	auto_strbuf b = {0};
	auto_free char *base = kind_path(k, ns, name);
	const char *key, *value;
	char sep = '?';
	va_list ap;

	strbuf_adds(&b, base);
	if (sub)
		strbuf_addf(&b, "/%s", sub);
	va_start(ap, sub);
	while ((key = va_arg(ap, const char *))) {
		auto_free char *encoded = NULL;

		value = va_arg(ap, const char *);
		if (!value)
			continue;
		encoded = url_encode(value);
		strbuf_addf(&b, "%c%s=%s", sep, key, encoded);
		sep = '&';
	}
	va_end(ap);
	return strbuf_steal(&b);
}

const char *kind_word(const struct kind *k, char buf[static API_VERSION_MAX])
{
	snprintf(buf, API_VERSION_MAX, "%s%s%s", k->singular, *k->group ? "." : "", k->group);
	return buf;
}

const char *cli_ns(const struct cli *c, const struct kind *k)
{
	return k->namespaced && !c->o.all_namespaces ? c->o.ns : NULL;
}

/* ---- pods behind a workload ----------------------------------------------------------------- */

/* Running and ready pods come first, then older ones. */
static int pod_rank(const json_t *pod)
{
	const json_t *ready = json_find(json_at(pod, "status.conditions"), "type", "Ready");

	return (str_eq(json_str(pod, "status.phase", NULL), "Running") ? 2 : 0) +
	       (str_eq(json_str(ready, "status", NULL), "True") ? 1 : 0) -
	       (meta_deleting(pod) ? 4 : 0);
}

static json_t *best_pod(const json_t *list)
{
	json_t *items = json_at(list, "items"), *pod, *best = NULL;
	size_t i;

	json_array_foreach(items, i, pod)
	{
		if (!best || pod_rank(pod) > pod_rank(best))
			best = pod;
	}
	return json_incref(best);
}

json_t *pod_for(struct cli *c, const char *word, int *exit_code)
{
	const struct kind *k = &kind_pod;
	const char *name = word, *slash = strchr(word, '/');
	auto_free char *path = NULL, *selector = NULL, *list_path = NULL;
	json_auto_t *obj = NULL, *list = NULL;
	json_t *pod;

	*exit_code = 1;
	if (slash) {
		auto_free char *kind = xstrndup(word, (size_t)(slash - word));
		k = find_kind(c, kind);
		if (!k)
			return NULL;
		name = slash + 1;
	}
	path = kind_path(k, c->o.ns, name);
	obj = client_get(c, path, false, exit_code);
	if (!obj || k == &kind_pod)
		return json_incref(obj);
	const json_t *sel = json_at(obj, "spec.selector");
	auto_clean(label_selector) struct label_selector *s =
		k == &kind_service ? label_selector_from_map(sel)
				   : label_selector_from_json(sel, NULL);
	selector = label_selector_format(s);
	*exit_code = 1;
	if (!*selector) {
		cli_error("cannot find pods of %s", word);
		return NULL;
	}
	list_path =
		kind_path_query(&kind_pod, c->o.ns, NULL, NULL, "labelSelector", selector, NULL);
	list = client_get(c, list_path, false, exit_code);
	pod = best_pod(list);
	if (list && !pod)
		*exit_code = cli_error("no pods found for %s", word);
	return pod;
}

const char *pod_default_container(const json_t *pod)
{
	json_t *list = json_at(pod, "spec.containers"), *e;
	const char *name = meta_annotation(pod, "kubectl.kubernetes.io/default-container");
	auto_strbuf names = {0};
	size_t i;

	if (!name || !json_find(list, "name", name))
		name = json_str(json_array_get(list, 0), "name", "");
	json_array_foreach(list, i, e)
	{
		strbuf_addf(&names, "%s%s", i ? ", " : "", json_str(e, "name", ""));
	}
	list = json_at(pod, "spec.initContainers");
	json_array_foreach(list, i, e)
	{
		strbuf_addf(&names, ", %s (init)", json_str(e, "name", ""));
	}
	if (strchr(names.s ? names.s : "", ','))
		fprintf(stderr, "Defaulted container \"%s\" out of: %s\n", name, names.s);
	return name;
}
