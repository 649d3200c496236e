/* SPDX-License-Identifier: Apache-2.0 */
/*
 * coracle get: server-side Tables, or objects with -o; -w goes on with a watch.
 */
#include "internal.h"

struct get {
	struct cli *c;
	struct table_layout layout;
	json_t *columns; /* of the first Table */
	const struct kind *kind;
	size_t printed;	  /* tables with rows so far */
	size_t documents; /* objects written by a watch with -o yaml */
};

static bool wants_objects(const struct cli *c)
{
	return c->o.output && !streq(c->o.output, "wide");
}

/* The request for one kind (name NULL: its list). New string. */
static char *get_path(const struct cli *c, const struct ref *r, const char *watch_from)
{
	auto_free char *by_name = r->name ? xasprintf("metadata.name=%s", r->name) : NULL;
	const char *fields = watch_from && by_name ? by_name : c->o.field_selector;

	return kind_path_query(r->kind, cli_ns(c, r->kind), watch_from ? NULL : r->name, NULL,
			       "labelSelector", c->o.selector, "fieldSelector", fields, "watch",
			       watch_from ? "true" : NULL, "resourceVersion", watch_from, NULL);
}

static void none_found(const struct cli *c, const struct kind *k)
{
	if (c->o.ignore_not_found)
		return;
	if (k && k->namespaced && !c->o.all_namespaces)
		fprintf(stderr, "No resources found in %s namespace.\n", c->o.ns);
	else
		fprintf(stderr, "No resources found\n");
}

/* ---- tables --------------------------------------------------------------------------------- */

static json_t *get_table(struct get *g, const struct ref *r, int *exit_code)
{
	auto_free char *path = get_path(g->c, r, NULL);
	const struct query q = {.path = path, .accept = ACCEPT_TABLE};
	auto_reply reply = {0};
	json_t *v;

	*exit_code = 1;
	if (client_call(g->c, &q, &reply) < 0)
		return NULL;
	if (reply.code == 404 && r->name && g->c->o.ignore_not_found) {
		*exit_code = 0;
		return NULL;
	}
	if (!reply_ok(&reply)) {
		reply_error(&reply, NULL);
		return NULL;
	}
	v = json_loadb(reply.body, reply.len, 0, NULL);
	*exit_code = v ? 0 : cli_error("the server's answer is no JSON");
	return v;
}

static void keep_columns(struct get *g, const json_t *table)
{
	if (!json_len(table, "columnDefinitions"))
		return;
	json_decref(g->columns);
	g->columns = json_incref(json_at(table, "columnDefinitions"));
}

/* Several kinds are told apart by "pod/" before the names. */
static int print_kind_table(struct get *g, const struct ref *r, bool prefixed, json_t **keep)
{
	char word[API_VERSION_MAX + 1];
	int exit_code;
	json_t *table = get_table(g, r, &exit_code);

	if (!table)
		return exit_code;
	keep_columns(g, table);
	g->kind = r->kind;
	kind_word(r->kind, word);
	if (prefixed) {
		strcat(word, "/");
		g->layout.prefix = word;
	}
	g->layout.namespaces = g->c->o.all_namespaces && r->kind->namespaced;
	if (json_len(table, "rows") && !g->c->o.watch_only) {
		if (g->printed++ && prefixed && !g->layout.headers_done)
			printf("\n");
		table_print(&g->layout, g->columns, table, stdout);
	}
	g->layout.prefix = NULL;
	*keep = table;
	return 0;
}

static bool table_event(void *arg, const char *type, json_t *object)
{
	struct get *g = arg;

	if (streq(type, "BOOKMARK"))
		return true;
	keep_columns(g, object);
	table_print(&g->layout, g->columns, object, stdout);
	return true;
}

static int get_tables(struct get *g, const struct refs *refs)
{
	const struct kind *last = NULL;
	bool several = false;
	int bad = 0;

	for (size_t i = 1; i < refs->n; i++)
		several |= refs->v[i].kind != refs->v[0].kind;
	for (size_t i = 0; i < refs->n; i++) {
		json_t *table = NULL;

		/* Names of one kind go below the same headings. */
		if (refs->v[i].kind != last) {
			g->layout.headers_done = false;
			memset(g->layout.widths, 0, sizeof(g->layout.widths));
		}
		bad |= print_kind_table(g, &refs->v[i], several, &table);
		last = refs->v[i].kind;
		if (g->c->o.watch && table && refs->n == 1) {
			auto_free char *path =
				get_path(g->c, &refs->v[i],
					 json_str(table, "metadata.resourceVersion", "0"));
			bad |= client_watch(g->c, path, ACCEPT_TABLE, 0, table_event, g);
		}
		json_decref(table);
	}
	if (!g->printed && !bad && !g->c->o.watch)
		none_found(g->c, several || !refs->n ? NULL : refs->v[0].kind);
	return bad;
}

/* ---- objects -------------------------------------------------------------------------------- */

/* Items of a list have no kind of their own. */
static void add_items(json_t *all, const json_t *list, const struct kind *k)
{
	char version[API_VERSION_MAX];
	json_t *item;
	size_t i;

	json_array_foreach(json_at(list, "items"), i, item)
	{
		json_t *obj = json_object();

		json_put_str(obj, "apiVersion", kind_api_version(k, version));
		json_put_str(obj, "kind", k->kind);
		json_object_update(obj, item);
		json_array_append_new(all, obj);
	}
}

static int collect(struct get *g, const struct ref *r, json_t *all)
{
	auto_free char *path = get_path(g->c, r, NULL);
	int exit_code;
	json_auto_t *v = client_get(g->c, path, r->name && g->c->o.ignore_not_found, &exit_code);

	if (v && r->name)
		json_array_append(all, v);
	else if (v)
		add_items(all, v, r->kind);
	return exit_code;
}

static int print_collected(struct get *g, const struct refs *refs, json_t *all)
{
	bool single = refs->n == 1 && refs->v[0].name;
	json_auto_t *list = json_object();
	json_t *obj;
	size_t i;

	if (streq(g->c->o.output, "name")) {
		json_array_foreach(all, i, obj)
		{
			const struct kind *k = kind_by_name(json_str(obj, "apiVersion", ""),
							    json_str(obj, "kind", ""));
			object_print(obj, k ? k : refs->v[0].kind, "name", stdout);
		}
		return 0;
	}
	if (single)
		return json_array_size(all) ? object_print(json_array_get(all, 0), refs->v[0].kind,
							   g->c->o.output, stdout)
					    : 0;
	json_put_str(list, "apiVersion", "v1");
	json_put_str(list, "kind", "List");
	json_put_str(list, "metadata.resourceVersion", "");
	json_object_set(list, "items", all);
	return object_print(list, NULL, g->c->o.output, stdout);
}

static bool object_event(void *arg, const char *type, json_t *object)
{
	struct get *g = arg;

	if (streq(type, "BOOKMARK"))
		return true;
	if (streq(g->c->o.output, "yaml") && g->documents++)
		printf("---\n");
	object_print(object, g->kind, g->c->o.output, stdout);
	fflush(stdout);
	return true;
}

static int get_objects(struct get *g, const struct refs *refs)
{
	json_auto_t *all = json_array();
	int bad = 0;

	if (g->c->o.watch && refs->n == 1) {
		auto_free char *path = get_path(g->c, &refs->v[0], "0");

		g->kind = refs->v[0].kind;
		return client_watch(g->c, path, NULL, 0, object_event, g);
	}
	for (size_t i = 0; i < refs->n; i++)
		bad |= collect(g, &refs->v[i], all);
	if (bad && !json_array_size(all))
		return bad;
	return bad | print_collected(g, refs, all);
}

static bool print_piece(void *arg UNUSED, const char *data, size_t len)
{
	return fwrite(data, 1, len, stdout) == len;
}

/* As kubectl: the body and nothing else. */
static int get_raw(struct cli *c)
{
	const struct query q = {.path = c->o.raw, .accept = "*/*", .on_data = print_piece};
	auto_reply r = {0};

	if (client_call(c, &q, &r) < 0)
		return 1;
	fflush(stdout);
	return reply_ok(&r) ? 0 : reply_error(&r, NULL);
}

int cmd_get(struct cli *c)
{
	struct get g = {.c = c,
			.layout = {.wide = str_eq(c->o.output, "wide"),
				   .no_headers = c->o.no_headers,
				   .labels = c->o.show_labels}};
	auto_refs refs = {0};
	int r;

	if (c->o.raw)
		return c->args.n ? cli_error("arguments may not be passed when --raw is specified")
				 : get_raw(c);
	if (refs_parse(c, &c->args, &refs))
		return 1;
	if (!refs.n)
		return cli_error("You must specify the type of resource to get. For example: "
				 "'coracle get pods'");
	if (!output_known(c->o.output))
		return cli_error("unable to match a printer suitable for the output format \"%s\", "
				 "allowed formats are: json,name,wide,yaml",
				 c->o.output);
	if (c->o.all_namespaces && refs.v[0].name)
		return cli_error("a resource cannot be retrieved by name across all namespaces");
	c->o.watch |= c->o.watch_only;
	if (c->o.watch && refs.n > 1)
		return cli_error("you may only specify a single resource type");
	r = wants_objects(c) ? get_objects(&g, &refs) : get_tables(&g, &refs);
	json_decref(g.columns);
	return r;
}
