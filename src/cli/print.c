/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tables, objects and rows on standard output.
 */
#include "internal.h"
#include <ctype.h>

#define COLUMN_MIN 6
#define COLUMN_PADDING 3

bool output_known(const char *format)
{
	static const char *const known[] = {"json", "yaml", "name", "wide"};

	for (size_t i = 0; format && i < ARRAY_SIZE(known); i++) {
		if (streq(known[i], format))
			return true;
	}
	return !format;
}

/* ---- objects -------------------------------------------------------------------------------- */

/* A copy without what kubectl hides; the metadata of list items too. */
static json_t *shown(const json_t *obj)
{
	json_t *copy = json_deep_copy(obj), *item;
	json_t *items = json_object_get(copy, "items");
	size_t i;

	json_drop(copy, "metadata.managedFields");
	json_array_foreach(items, i, item)
	{
		json_drop(item, "metadata.managedFields");
	}
	return copy;
}

int object_print(const json_t *obj, const struct kind *k, const char *format, FILE *out)
{
	json_auto_t *copy = shown(obj);
	char word[API_VERSION_MAX];

	if (streq(format, "name")) {
		fprintf(out, "%s/%s\n", kind_word(k, word), meta_name(obj));
	} else if (streq(format, "json")) {
		auto_free char *text = json_dumps(copy, JSON_INDENT(4) | JSON_SORT_KEYS);
		fprintf(out, "%s\n", text ? text : "");
	} else if (streq(format, "yaml")) {
		auto_free char *text = yaml_format(copy);
		fputs(text, out);
	} else {
		return -EINVAL;
	}
	return 0;
}

void done_print(const struct cli *c, const struct kind *k, const char *name, const char *what)
{
	char word[API_VERSION_MAX];

	if (str_eq(c->o.output, "name"))
		printf("%s/%s\n", kind_word(k, word), name);
	else
		printf("%s/%s %s%s\n", kind_word(k, word), name, what,
		       str_eq(c->o.dry_run, "server") ? " (server dry run)" : "");
	fflush(stdout);
}

/* ---- tables --------------------------------------------------------------------------------- */

/* A cell's text: only its first line, without tabs. New string. */
static char *cell_text(const json_t *v)
{
	auto_free char *text = NULL;
	size_t len;

	if (json_is_string(v))
		text = xstrdup(json_string_value(v));
	else if (!v || json_is_null(v))
		text = xstrdup("<none>");
	else
		text = json_dumps(v, JSON_ENCODE_ANY | JSON_COMPACT);
	len = strcspn(text, "\n\r\f");
	if (text[len]) {
		char *cut = xasprintf("%.*s...", (int)len, text);
		free(text);
		text = cut;
	}
	for (char *s = text; *s; s++)
		*s = *s == '\t' ? ' ' : *s;
	return steal_ptr(text);
}

static bool column_shown(const struct table_layout *l, const json_t *column)
{
	return l->wide || json_int(column, "priority", 0) == 0;
}

static void add_heading(struct strv *line, const char *name)
{
	char *text = xstrdup(name);

	for (char *s = text; *s; s++)
		*s = (char)toupper((unsigned char)*s);
	strv_take(line, text);
}

static void heading_line(const struct table_layout *l, const json_t *columns, struct strv *line)
{
	json_t *column;
	size_t i;

	if (l->namespaces)
		strv_add(line, "NAMESPACE");
	json_array_foreach(columns, i, column)
	{
		if (column_shown(l, column))
			add_heading(line, json_str(column, "name", ""));
	}
	if (l->labels)
		strv_add(line, "LABELS");
}

static char *labels_text(const json_t *labels)
{
	auto_clean(label_selector) struct label_selector *s = label_selector_from_map(labels);
	char *text = label_selector_format(s);

	if (*text)
		return text;
	free(text);
	return xstrdup("<none>");
}

static void row_line(const struct table_layout *l, const json_t *columns, const json_t *row,
		     struct strv *line)
{
	json_t *cells = json_at(row, "cells"), *column;
	size_t i;

	if (l->namespaces)
		strv_add(line, json_str(row, "object.metadata.namespace", ""));
	json_array_foreach(columns, i, column)
	{
		auto_free char *text = NULL;

		if (!column_shown(l, column))
			continue;
		text = cell_text(json_array_get(cells, i));
		if (l->prefix && str_eq(json_str(column, "format", NULL), "name"))
			strv_addf(line, "%s%s", l->prefix, text);
		else
			strv_add(line, text);
	}
	if (l->labels)
		strv_take(line, labels_text(json_at(row, "object.metadata.labels")));
}

static size_t width_of(const char *s)
{
	size_t n = 0;

	for (; *s; s++)
		n += ((unsigned char)*s & 0xC0) != 0x80;
	return n;
}

static void remember(struct table_layout *l, const struct strv *line)
{
	for (size_t i = 0; i < line->n && i < ARRAY_SIZE(l->widths); i++) {
		size_t need = width_of(line->v[i]) + COLUMN_PADDING;

		need = need < COLUMN_MIN ? COLUMN_MIN : need;
		l->widths[i] = need > l->widths[i] ? need : l->widths[i];
	}
}

static void write_line(const struct table_layout *l, const struct strv *line, FILE *out)
{
	for (size_t i = 0; i < line->n; i++) {
		size_t width = i < ARRAY_SIZE(l->widths) ? l->widths[i] : 0;

		fputs(line->v[i], out);
		for (size_t n = width_of(line->v[i]); i + 1 < line->n && n < width; n++)
			fputc(' ', out);
	}
	fputc('\n', out);
}

size_t table_print(struct table_layout *l, const json_t *columns, const json_t *table, FILE *out)
{
	json_t *rows = json_at(table, "rows"), *row;
	size_t n = json_array_size(rows), i;
	struct strv *lines = xcalloc(n + 1, sizeof(*lines));
	bool heading = !l->headers_done && !l->no_headers && n;

	if (heading)
		heading_line(l, columns, &lines[0]);
	json_array_foreach(rows, i, row)
	{
		row_line(l, columns, row, &lines[i + 1]);
	}
	for (i = 0; i <= n; i++)
		remember(l, &lines[i]);
	for (i = heading ? 0 : 1; i <= n; i++)
		write_line(l, &lines[i], out);
	l->headers_done |= n > 0;
	for (i = 0; i <= n; i++)
		strv_done(&lines[i]);
	free(lines);
	fflush(out);
	return n;
}

void rows_print(const json_t *rows, FILE *out)
{
	auto_strbuf text = {0}, laid = {0};
	const char *key;
	json_t *row, *v;
	size_t i;

	json_object_foreach(json_array_get(rows, 0), key, v)
	{
		for (const char *s = key; *s; s++)
			strbuf_addc(&text, *s == '_' ? '-' : (char)toupper((unsigned char)*s));
		strbuf_addc(&text, '\t');
	}
	strbuf_addc(&text, '\n');
	json_array_foreach(rows, i, row)
	{
		json_object_foreach(json_array_get(rows, 0), key, v)
		{
			auto_free char *cell = cell_text(json_object_get(row, key));
			strbuf_addf(&text, "%s\t", cell);
		}
		strbuf_addc(&text, '\n');
	}
	if (json_array_size(rows))
		tabwriter_format(text.s, COLUMN_MIN, COLUMN_PADDING, &laid);
	/* No blanks at the ends of lines. */
	for (const char *s = laid.s ? laid.s : ""; *s;) {
		size_t len = strcspn(s, "\n"), cut = len;

		while (cut && s[cut - 1] == ' ')
			cut--;
		fprintf(out, "%.*s\n", (int)cut, s);
		s += len + (s[len] == '\n');
	}
}
