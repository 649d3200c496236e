/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Manifests given with -f: files, directories, standard input; YAML or JSON, lists taken apart.
 */
#include "internal.h"
#include <sys/stat.h>
#include <unistd.h>

#define FILE_MAX_BYTES ((size_t)16 << 20)
#define DIRECTORY_DEPTH 32

void manifests_done(struct manifests *m)
{
	for (size_t i = 0; i < m->n; i++)
		json_decref(m->v[i].obj);
	free(m->v);
	strv_done(&m->names);
	*m = (struct manifests){0};
}

static int check_namespace(const struct cli *c, const struct kind *k, json_t *obj)
{
	const char *ns = meta_ns(obj);

	if (!k->namespaced)
		return 0;
	if (!*ns) {
		json_put_str(obj, "metadata.namespace", c->o.ns);
		return 0;
	}
	if (!c->o.ns_given || streq(ns, c->o.ns))
		return 0;
	return cli_error("the namespace from the provided object \"%s\" does not match the "
			 "namespace \"%s\". You must pass '--namespace=%s' to perform this "
			 "operation.",
			 ns, c->o.ns, ns);
}

static int add_object(struct cli *c, struct manifests *m, json_t *obj, const char *file)
{
	const char *version = json_str(obj, "apiVersion", ""), *kind = json_str(obj, "kind", "");
	const struct kind *k;
	json_t *item;
	size_t i;
	int bad = 0;

	if (str_ends(kind, "List") && json_is_array(json_at(obj, "items"))) {
		json_array_foreach(json_at(obj, "items"), i, item)
		{
			bad |= add_object(c, m, item, file);
		}
		return bad;
	}
	if (!*kind || !*version)
		return cli_error("error validating \"%s\": error validating data: %s", file,
				 *kind	    ? "apiVersion not set"
				 : *version ? "kind not set"
					    : "[apiVersion not set, kind not set]");
	k = kind_by_name(version, kind);
	if (!k) {
		kinds_learn(c);
		k = kind_by_name(version, kind);
	}
	if (!k)
		return cli_error(
			"resource mapping not found for name: \"%s\" namespace: \"%s\" "
			"from \"%s\": no matches for kind \"%s\" in version \"%s\"\nensure "
			"CRDs are installed first",
			meta_name(obj), meta_ns(obj), file, kind, version);
	if (check_namespace(c, k, obj))
		return 1;
	m->v = xrealloc(m->v, m->n + 1, sizeof(*m->v));
	m->v[m->n++] = (struct manifest){.obj = json_incref(obj), .kind = k, .file = file};
	return 0;
}

static int add_text(struct cli *c, struct manifests *m, const char *file, const char *text,
		    size_t len)
{
	auto_err err = {0};
	json_auto_t *docs = yaml_parse_all(text, len, &err);
	const char *name;
	json_t *doc;
	size_t i;
	int bad = 0;

	if (!docs)
		return cli_error("error parsing %s: %s", file, err_message(&err));
	strv_add(&m->names, file);
	name = m->names.v[m->names.n - 1];
	json_array_foreach(docs, i, doc)
	{
		if (!json_is_object(doc))
			bad |= cli_error("error parsing %s: a document is no map", file);
		else
			bad |= add_object(c, m, doc, name);
	}
	return bad;
}

static int add_stdin(struct cli *c, struct manifests *m)
{
	auto_strbuf text = {0};
	char buf[8192];
	ssize_t n;

	while ((n = read(STDIN_FILENO, buf, sizeof(buf))) != 0) {
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return cli_error("cannot read standard input: %s", strerror(errno));
		strbuf_add(&text, buf, (size_t)n);
		if (text.len > FILE_MAX_BYTES)
			return cli_error("standard input is too large");
	}
	return add_text(c, m, "STDIN", text.s ? text.s : "", text.len);
}

static int add_file(struct cli *c, struct manifests *m, const char *path)
{
	auto_free char *text = NULL;
	size_t len;
	int r = file_read(path, FILE_MAX_BYTES, &text, &len);

	if (r == -ENOENT)
		return cli_error("the path \"%s\" does not exist", path);
	if (r < 0)
		return cli_error("cannot read \"%s\": %s", path, strerror(-r));
	return add_text(c, m, path, text, len);
}

static bool is_manifest_name(const char *name)
{
	return str_ends(name, ".yaml") || str_ends(name, ".yml") || str_ends(name, ".json");
}

static int add_path(struct cli *c, struct manifests *m, const char *path, unsigned depth)
{
	struct dirent **list = NULL;
	struct stat st;
	int n, bad = 0;

	if (stat(path, &st) < 0 || !S_ISDIR(st.st_mode))
		return add_file(c, m, path);
	if (depth > DIRECTORY_DEPTH)
		return cli_error("\"%s\" is nested too deeply", path);
	n = scandir(path, &list, NULL, alphasort);
	if (n < 0)
		return cli_error("cannot read \"%s\": %s", path, strerror(errno));
	for (int i = 0; i < n; i++) {
		auto_free char *file = path_join(path, list[i]->d_name);
		bool dir = stat(file, &st) == 0 && S_ISDIR(st.st_mode);

		if (list[i]->d_name[0] != '.' && dir && c->o.recursive)
			bad |= add_path(c, m, file, depth + 1);
		else if (!dir && is_manifest_name(list[i]->d_name))
			bad |= add_file(c, m, file);
		free(list[i]);
	}
	free(list);
	return bad;
}

int manifests_load(struct cli *c, struct manifests *m)
{
	int bad = 0;

	for (size_t i = 0; i < c->o.files.n; i++) {
		if (streq(c->o.files.v[i], "-"))
			bad |= add_stdin(c, m);
		else
			bad |= add_path(c, m, c->o.files.v[i], 0);
	}
	if (!bad && !m->n)
		bad = cli_error("no objects passed");
	return bad;
}
