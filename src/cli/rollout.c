/* SPDX-License-Identifier: Apache-2.0 */
/*
 * coracle rollout and scale: what they say and send is what kubectl says and sends.
 */
#include "internal.h"

/* The objects named on the command line, of kinds that have the subresource (NULL: Deployments). */
static int parse_targets(struct cli *c, const char *sub, struct refs *refs)
{
	if (refs_parse(c, &c->args, refs))
		return 1;
	if (!refs->n || !refs->v[0].name)
		return cli_error("required resource not specified");
	for (size_t i = 0; i < refs->n; i++) {
		const struct kind *k = refs->v[i].kind;
		char resource[API_VERSION_MAX];

		if (sub ? !kind_subresource(k, sub) : k != &kind_deployment)
			return cli_error("%s \"%s\" %s is not supported",
					 kind_resource(k, resource), refs->v[i].name,
					 sub ? "scaling" : "rollout");
	}
	return 0;
}

/* Runs fn on the live object of each target. */
static int each(struct cli *c, int (*fn)(struct cli *c, const struct ref *r, const json_t *live))
{
	auto_refs refs = {0};
	int bad = 0;

	if (parse_targets(c, NULL, &refs))
		return 1;
	for (size_t i = 0; i < refs.n; i++) {
		auto_free char *path = kind_path(refs.v[i].kind, c->o.ns, refs.v[i].name);
		int exit_code;
		json_auto_t *live = client_get(c, path, false, &exit_code);

		bad |= live ? fn(c, &refs.v[i], live) : exit_code;
	}
	return bad;
}

static int send_patch(struct cli *c, const struct ref *r, const char *type, const json_t *patch,
		      const char *what)
{
	auto_free char *path = kind_path_query(r->kind, c->o.ns, r->name, NULL, "fieldManager",
					       "kubectl-rollout", NULL);
	int exit_code;
	json_auto_t *result = client_send(c, "PATCH", path, type, patch, NULL, &exit_code);

	if (result)
		done_print(c, r->kind, r->name, what);
	return exit_code;
}

/* ---- scale ---------------------------------------------------------------------------------- */

int cmd_scale(struct cli *c)
{
	auto_refs refs = {0};
	int bad = 0;

	if (c->o.replicas < 0)
		return cli_error("The --replicas=COUNT flag is required, and COUNT must be greater "
				 "than or equal to 0");
	if (parse_targets(c, "scale", &refs))
		return 1;
	for (size_t i = 0; i < refs.n; i++) {
		const struct ref *r = &refs.v[i];
		auto_free char *path = kind_path_query(r->kind, c->o.ns, r->name, "scale", NULL);
		json_auto_t *patch = json_object(), *scale = NULL, *result = NULL;
		int exit_code = 0;

		json_put_int(patch, "spec.replicas", c->o.replicas);
		if (c->o.current_replicas >= 0) {
			scale = client_get(c, path, false, &exit_code);
			int64_t have = json_int(scale, "spec.replicas", 0);

			if (scale && have != c->o.current_replicas)
				exit_code = cli_error("Expected replicas to be %lld, was %lld",
						      (long long)c->o.current_replicas,
						      (long long)have);
			json_put_str(patch, "metadata.resourceVersion",
				     json_str(scale, "metadata.resourceVersion", ""));
		}
		if (!exit_code)
			result = client_send(c, "PATCH", path, TYPE_MERGE, patch, NULL, &exit_code);
		if (result)
			done_print(c, r->kind, r->name, "scaled");
		bad |= exit_code;
	}
	return bad;
}

/* ---- status --------------------------------------------------------------------------------- */

struct status {
	struct cli *c;
	char *last; /* what was printed last */
	bool failed;
};

/* The message of a Deployment's state; *done when it is rolled out. NULL: it has failed. New
 * string. */
static char *rollout_message(const json_t *d, bool *done)
{
	const json_t *progress = json_find(json_at(d, "status.conditions"), "type", "Progressing");
	long long want = json_int(d, "spec.replicas", 1);
	long long all = json_int(d, "status.replicas", 0);
	long long updated = json_int(d, "status.updatedReplicas", 0);
	long long available = json_int(d, "status.availableReplicas", 0);
	const char *name = meta_name(d);

	*done = false;
	if (json_int(d, "metadata.generation", 0) > json_int(d, "status.observedGeneration", 0))
		return xstrdup("Waiting for deployment spec update to be observed...");
	if (str_eq(json_str(progress, "reason", NULL), "ProgressDeadlineExceeded"))
		return NULL;
	if (updated < want)
		return xasprintf(
			"Waiting for deployment \"%s\" rollout to finish: %lld out of %lld "
			"new replicas have been updated...",
			name, updated, want);
	if (all > updated)
		return xasprintf(
			"Waiting for deployment \"%s\" rollout to finish: %lld old replicas "
			"are pending termination...",
			name, all - updated);
	if (available < updated)
		return xasprintf("Waiting for deployment \"%s\" rollout to finish: %lld of %lld "
				 "updated replicas are available...",
				 name, available, updated);
	*done = true;
	return xasprintf("deployment \"%s\" successfully rolled out", name);
}

static bool status_event(void *arg, const char *type, json_t *object)
{
	struct status *s = arg;
	char *text;
	bool done;

	if (streq(type, "BOOKMARK"))
		return true;
	if (streq(type, "DELETED")) {
		s->failed = cli_error("object has been deleted");
		return false;
	}
	text = rollout_message(object, &done);
	if (!text) {
		s->failed = cli_error("deployment \"%s\" exceeded its progress deadline",
				      meta_name(object));
		return false;
	}
	if (!str_eq(text, s->last) && !s->c->o.quiet) {
		printf("%s\n", text);
		fflush(stdout);
	}
	free(s->last);
	s->last = text;
	return !done;
}

static int status_one(struct cli *c, const struct ref *r, const json_t *live)
{
	struct status s = {.c = c};
	auto_free char *selector = xasprintf("metadata.name=%s", r->name);
	auto_free char *path = kind_path_query(
		r->kind, c->o.ns, NULL, NULL, "fieldSelector", selector, "resourceVersion",
		json_str(live, "metadata.resourceVersion", "0"), "watch", "true", NULL);
	int64_t seconds = 0;
	int result = 0;

	if (c->o.timeout && duration_parse(c->o.timeout, &seconds) < 0)
		return cli_error("invalid argument \"%s\" for \"--timeout\" flag", c->o.timeout);
	if (status_event(&s, "ADDED", (json_t *)live))
		result = client_watch(c, path, NULL, (uint64_t)seconds * USEC_PER_SEC, status_event,
				      &s);
	free(s.last);
	if (result == -ETIMEDOUT)
		return cli_error("timed out waiting for the condition");
	if (result > 0)
		return cli_error("watch closed before the rollout finished");
	return s.failed;
}

int cmd_rollout_status(struct cli *c)
{
	return each(c, status_one);
}

/* ---- restart, pause, resume ----------------------------------------------------------------- */

static int restart_one(struct cli *c, const struct ref *r, const json_t *live)
{
	json_auto_t *patch = json_object();
	char now[TIME_RFC3339_MAX];

	if (json_bool(live, "spec.paused", false))
		return cli_error("deployments.apps \"%s\" can't restart paused deployment (run "
				 "rollout resume first)",
				 r->name);
	json_object_set_new(json_obj(patch, "spec.template.metadata.annotations"),
			    "kubectl.kubernetes.io/restartedAt",
			    json_string(time_format(now, time(NULL))));
	return send_patch(c, r, TYPE_STRATEGIC, patch, "restarted");
}

static int set_paused(struct cli *c, const struct ref *r, const json_t *live, bool paused)
{
	json_auto_t *patch = json_object();

	if (json_bool(live, "spec.paused", false) == paused)
		return cli_error("deployments.apps \"%s\" is %s paused", r->name,
				 paused ? "already" : "not");
	json_put(patch, "spec.paused", paused ? json_true() : json_null());
	return send_patch(c, r, TYPE_STRATEGIC, patch, paused ? "paused" : "resumed");
}

static int pause_one(struct cli *c, const struct ref *r, const json_t *live)
{
	return set_paused(c, r, live, true);
}

static int resume_one(struct cli *c, const struct ref *r, const json_t *live)
{
	return set_paused(c, r, live, false);
}

int cmd_rollout_restart(struct cli *c)
{
	return each(c, restart_one);
}

int cmd_rollout_pause(struct cli *c)
{
	return each(c, pause_one);
}

int cmd_rollout_resume(struct cli *c)
{
	return each(c, resume_one);
}

/* ---- history and undo ----------------------------------------------------------------------- */

static int64_t revision_of(const json_t *rs)
{
	int64_t n;

	return str_to_i64(meta_annotation(rs, ANNOTATION_REVISION)
				  ? meta_annotation(rs, ANNOTATION_REVISION)
				  : "0",
			  0, INT64_MAX, &n) < 0
		       ? 0
		       : n;
}

static int revision_cmp(const void *a, const void *b)
{
	int64_t x = revision_of(*(json_t *const *)a), y = revision_of(*(json_t *const *)b);

	return x < y ? -1 : x > y;
}

/* ReplicaSets of the deployment, by revision. New array. */
static json_t *revisions(struct cli *c, const json_t *d, int *exit_code)
{
	auto_clean(label_selector) struct label_selector *s =
		label_selector_from_json(json_at(d, "spec.selector"), NULL);
	auto_free char *selector = label_selector_format(s);
	auto_free char *path = kind_path_query(&kind_replicaset, c->o.ns, NULL, NULL,
					       "labelSelector", selector, NULL);
	json_auto_t *list = client_get(c, path, false, exit_code);
	auto_free json_t **sorted = NULL;
	json_t *out, *rs;
	size_t i, n = 0;

	if (!list)
		return NULL;
	sorted = xcalloc(json_len(list, "items") + 1, sizeof(*sorted));
	json_array_foreach(json_at(list, "items"), i, rs)
	{
		if (str_eq(json_str(meta_controller(rs), "uid", NULL), meta_uid(d)))
			sorted[n++] = rs;
	}
	qsort(sorted, n, sizeof(*sorted), revision_cmp);
	out = json_array();
	for (i = 0; i < n; i++)
		json_array_append(out, sorted[i]);
	return out;
}

/* The ReplicaSet of the revision; 0: the one before the newest. Borrowed. */
static json_t *find_revision(const json_t *all, int64_t revision)
{
	json_t *rs;
	size_t i, n = json_array_size(all);

	if (revision <= 0)
		return n < 2 ? NULL : json_array_get(all, n - 2);
	json_array_foreach(all, i, rs)
	{
		if (revision_of(rs) == revision)
			return rs;
	}
	return NULL;
}

static void history_table(const struct ref *r, const json_t *all)
{
	auto_strbuf text = {0}, laid = {0};
	char word[API_VERSION_MAX];
	json_t *rs;
	size_t i;

	if (!json_array_size(all)) {
		printf("%s/%s \nNo rollout history found.\n", kind_word(r->kind, word), r->name);
		return;
	}
	strbuf_adds(&text, "REVISION\tCHANGE-CAUSE\n");
	json_array_foreach(all, i, rs)
	{
		const char *cause = meta_annotation(rs, ANNOTATION_CHANGE_CAUSE);
		strbuf_addf(&text, "%lld\t%s\n", (long long)revision_of(rs),
			    str_empty(cause) ? "<none>" : cause);
	}
	tabwriter_format(text.s, 0, 2, &laid);
	printf("%s/%s \n%s\n", kind_word(r->kind, word), r->name, laid.s);
}

static int history_one(struct cli *c, const struct ref *r, const json_t *live)
{
	struct describe d = {.c = c, .now = time(NULL)};
	auto_strbuf laid = {0};
	char word[API_VERSION_MAX];
	int exit_code;
	json_auto_t *all = revisions(c, live, &exit_code);
	json_t *rs;

	if (!all)
		return exit_code;
	if (c->o.revision <= 0) {
		history_table(r, all);
		return 0;
	}
	rs = find_revision(all, c->o.revision);
	if (!rs)
		return cli_error("unable to find the specified revision");
	put_template(&d, 0, json_at(rs, "spec.template"));
	tabwriter_format(d.text.s, 0, 2, &laid);
	strbuf_done(&d.text);
	printf("%s/%s with revision #%lld\n%s\n", kind_word(r->kind, word), r->name,
	       (long long)c->o.revision, laid.s);
	return 0;
}

int cmd_rollout_history(struct cli *c)
{
	return each(c, history_one);
}

/* Annotations that stay the deployment's own when it goes back. */
static bool annotation_is_own(const char *key)
{
	static const char *const own[] = {ANNOTATION_LAST_APPLIED,
					  ANNOTATION_REVISION,
					  "deployment.kubernetes.io/revision-history",
					  "deployment.kubernetes.io/desired-replicas",
					  "deployment.kubernetes.io/max-replicas",
					  "deprecated.deployment.rollback.to"};

	for (size_t i = 0; i < ARRAY_SIZE(own); i++) {
		if (streq(own[i], key))
			return true;
	}
	return false;
}

/* The deployment's own annotations and the others of the ReplicaSet. New object. */
static json_t *annotations_back(const json_t *d, const json_t *rs)
{
	json_t *out = json_object(), *v;
	const char *key;

	json_object_foreach(json_at(d, "metadata.annotations"), key, v)
	{
		if (annotation_is_own(key))
			json_object_set(out, key, v);
	}
	json_object_foreach(json_at(rs, "metadata.annotations"), key, v)
	{
		if (!annotation_is_own(key))
			json_object_set(out, key, v);
	}
	return out;
}

static void add_replace(json_t *patch, const char *path, json_t *value)
{
	json_t *op = json_object();

	json_put_str(op, "op", "replace");
	json_put_str(op, "path", path);
	json_put(op, "value", value);
	json_array_append_new(patch, op);
}

static int undo_one(struct cli *c, const struct ref *r, const json_t *live)
{
	json_auto_t *all = NULL, *tmpl = NULL, *patch = json_array();
	int exit_code;
	json_t *rs;

	if (json_bool(live, "spec.paused", false))
		return cli_error(
			"cannot rollback a paused deployment; resume it first with 'coracle "
			"rollout resume deployment/%s' and try again",
			r->name);
	all = revisions(c, live, &exit_code);
	if (!all)
		return exit_code;
	rs = find_revision(all, c->o.to_revision);
	if (!rs && c->o.to_revision > 0)
		return cli_error("unable to find specified revision %lld in history",
				 (long long)c->o.to_revision);
	if (!rs)
		return cli_error("no rollout history found for deployment \"%s\"", r->name);
	tmpl = json_deep_copy(json_at(rs, "spec.template"));
	json_object_del(json_at(tmpl, "metadata.labels"), "pod-template-hash");
	if (json_equal(tmpl, json_at(live, "spec.template"))) {
		char text[96];

		snprintf(text, sizeof(text),
			 "skipped rollback (current template already matches "
			 "revision %lld)",
			 (long long)revision_of(rs));
		done_print(c, r->kind, r->name, text);
		return 0;
	}
	add_replace(patch, "/spec/template", json_incref(tmpl));
	add_replace(patch, "/metadata/annotations", annotations_back(live, rs));
	return send_patch(c, r, TYPE_JSON_PATCH, patch, "rolled back");
}

int cmd_rollout_undo(struct cli *c)
{
	return each(c, undo_one);
}
