/* SPDX-License-Identifier: Apache-2.0 */
/*
 * coracle apply and create: objects from files. apply keeps what the file said last in an
 * annotation and sends a three-way strategic merge patch, exactly as kubectl does, so both may be
 * used in turn.
 */
#include "internal.h"
#include <unistd.h>

#define CONFLICT_RETRIES 5

static const char *dry_run(const struct cli *c)
{
	return str_eq(c->o.dry_run, "server") ? "All" : NULL;
}

static int check_dry_run(const struct cli *c)
{
	if (!c->o.dry_run || streq(c->o.dry_run, "server") || streq(c->o.dry_run, "none"))
		return 0;
	return cli_error("Invalid dry-run value (%s). Must be \"none\" or \"server\".",
			 c->o.dry_run);
}

/* Prints what the server has now when -o asks for it, else the usual line. */
static void tell(const struct cli *c, const struct kind *k, const json_t *result, const char *what)
{
	if (!c->o.output || streq(c->o.output, "name"))
		done_print(c, k, meta_name(result), what);
	else
		object_print(result, k, c->o.output, stdout);
}

static int create_object(struct cli *c, const struct manifest *m, const json_t *obj,
			 const char *manager, const char *verb)
{
	auto_free char *path =
		kind_path_query(m->kind, meta_ns(obj), NULL, NULL, "fieldManager", manager,
				"fieldValidation", "Strict", "dryRun", dry_run(c), NULL);
	auto_free char *context = xasprintf("error when %s \"%s\"", verb, m->file ? m->file : "");
	int exit_code;
	json_auto_t *result =
		client_send(c, "POST", path, TYPE_JSON, obj, m->file ? context : NULL, &exit_code);

	if (result)
		tell(c, m->kind, result, "created");
	return exit_code;
}

/* The object with its own text as annotation: kubectl's last-applied configuration. New object. */
static json_t *with_last_applied(const json_t *obj)
{
	json_t *out = json_deep_copy(obj), *annotations;
	auto_free char *text = NULL, *line = NULL;

	annotations = json_obj(out, "metadata.annotations");
	json_object_del(annotations, ANNOTATION_LAST_APPLIED);
	text = json_dumps(out, JSON_COMPACT | JSON_SORT_KEYS);
	line = xasprintf("%s\n", text ? text : "{}");
	json_object_set_new(annotations, ANNOTATION_LAST_APPLIED, json_string(line));
	return out;
}

/* What the annotation says was applied before, with the annotation itself. NULL when it is not
 * there. */
static json_t *last_applied(const json_t *live)
{
	const char *text = meta_annotation(live, ANNOTATION_LAST_APPLIED);

	return text ? json_loads(text, 0, NULL) : NULL;
}

static void warn_foreign(const struct manifest *m)
{
	char resource[API_VERSION_MAX];

	fprintf(stderr,
		"Warning: resource %s/%s is missing the %s annotation which is required by "
		"coracle apply. coracle apply should only be used on resources created "
		"declaratively by either coracle create --save-config or coracle apply. The "
		"missing annotation will be patched automatically.\n",
		kind_resource(m->kind, resource), meta_name(m->obj), ANNOTATION_LAST_APPLIED);
}

/* One attempt. *conflict: the object changed meanwhile, try again. */
static int patch_object(struct cli *c, const struct manifest *m, const json_t *modified,
			const json_t *live, bool *conflict)
{
	json_auto_t *original = last_applied(live), *patch = NULL, *result = NULL;
	auto_free char *path =
		kind_path_query(m->kind, meta_ns(modified), meta_name(modified), NULL,
				"fieldManager", "kubectl-client-side-apply", "fieldValidation",
				"Strict", "dryRun", dry_run(c), NULL);
	auto_free char *context = NULL, *text = NULL;
	auto_err err = {0};
	auto_reply r = {0};
	size_t len;

	*conflict = false;
	patch = patch_create_three_way(m->kind->message, original, modified, live, &err);
	if (!patch)
		return cli_error("error when applying patch of \"%s\": %s", m->file,
				 err_message(&err));
	if (!json_object_size(patch)) {
		tell(c, m->kind, live, "unchanged");
		return 0;
	}
	text = json_text(patch, &len);
	const struct query q = {.method = "PATCH",
				.path = path,
				.type = m->kind->custom ? TYPE_MERGE : TYPE_STRATEGIC,
				.body = text,
				.body_len = len};
	if (client_call(c, &q, &r) < 0)
		return 1;
	if (r.code == 409) {
		*conflict = true;
		return 1;
	}
	context = xasprintf("error when applying patch:\n%s\nto:\nResource: \"%s\"\nName: \"%s\", "
			    "Namespace: \"%s\"\nfor: \"%s\": error when patching \"%s\"",
			    text, m->kind->plural, meta_name(modified), meta_ns(modified), m->file,
			    m->file);
	if (!reply_ok(&r))
		return reply_error(&r, context);
	result = json_loadb(r.body, r.len, 0, NULL);
	tell(c, m->kind, result ? result : live, "configured");
	return 0;
}

static int apply_object(struct cli *c, const struct manifest *m)
{
	json_auto_t *modified = with_last_applied(m->obj);
	auto_free char *path = kind_path(m->kind, meta_ns(modified), meta_name(modified));
	bool conflict = true, warned = false;
	int r = 1;

	if (!*meta_name(m->obj))
		return cli_error(
			"error when retrieving current configuration from \"%s\": resource "
			"name may not be empty",
			m->file);
	for (int i = 0; conflict && i < CONFLICT_RETRIES; i++) {
		int exit_code;
		json_auto_t *live = client_get(c, path, true, &exit_code);

		if (!live)
			return exit_code ? exit_code
					 : create_object(c, m, modified,
							 "kubectl-client-side-apply", "creating");
		if (!warned && !meta_annotation(live, ANNOTATION_LAST_APPLIED)) {
			warn_foreign(m);
			warned = true;
		}
		r = patch_object(c, m, modified, live, &conflict);
	}
	if (conflict)
		return cli_error("the object of \"%s\" is changed by others again and again",
				 m->file);
	return r;
}

int cmd_apply(struct cli *c)
{
	auto_manifests m = {0};
	int bad;

	if (!c->o.files.n)
		return cli_error("must specify one of -f and -k");
	if (c->args.n)
		return cli_error("Unexpected args: %s", c->args.v[0]);
	if (check_dry_run(c))
		return 1;
	bad = manifests_load(c, &m);
	for (size_t i = 0; i < m.n; i++)
		bad |= apply_object(c, &m.v[i]);
	return bad;
}

static int create_namespace(struct cli *c, const char *name)
{
	json_auto_t *obj = json_object();
	const struct manifest m = {.obj = obj, .kind = &kind_namespace};

	json_put_str(obj, "apiVersion", "v1");
	json_put_str(obj, "kind", "Namespace");
	json_put_str(obj, "metadata.name", name);
	return create_object(c, &m, obj, "kubectl-create", "creating");
}

int cmd_create(struct cli *c)
{
	auto_manifests m = {0};
	int bad;

	if (check_dry_run(c))
		return 1;
	if (c->args.n == 2 && kind_by_word(c->args.v[0]) == &kind_namespace)
		return create_namespace(c, c->args.v[1]);
	if (!c->o.files.n)
		return cli_error("must specify -f, or 'namespace NAME'");
	bad = manifests_load(c, &m);
	for (size_t i = 0; i < m.n; i++)
		bad |= create_object(c, &m.v[i], m.v[i].obj, "kubectl-create", "creating");
	return bad;
}
