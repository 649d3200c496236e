/* SPDX-License-Identifier: Apache-2.0 */
/*
 * meta.k8s.io Tables: what the server answers to `kubectl get`.
 */
#include "internal.h"

void cell_str(json_t *cells, const char *s, const char *fallback)
{
	json_array_append_new(cells, json_string(str_empty(s) ? fallback : s));
}

void cell_int(json_t *cells, int64_t i)
{
	json_array_append_new(cells, json_integer(i));
}

char *age_text(char buf[static 24], const char *when, time_t now)
{
	struct timespec ts;

	if (str_empty(when) || time_parse(when, &ts) < 0)
		snprintf(buf, 24, "<unknown>");
	else
		human_duration(buf, (int64_t)now - (int64_t)ts.tv_sec);
	return buf;
}

void cell_age(json_t *cells, const char *when, time_t now)
{
	char buf[24];

	cell_str(cells, age_text(buf, when, now), "");
}

/* Kinds without columns of their own: Name, Age. */
static const struct column default_columns[] = {
	{"Name", "string", "name", "Name must be unique within a namespace.", 0},
	{"Age", "string", "", "How long ago the object was created.", 0},
};

static json_t *column_definition(const struct column *c)
{
	json_t *def = json_object();

	json_put_str(def, "name", c->name);
	json_put_str(def, "type", c->type);
	json_put_str(def, "format", c->format ? c->format : "");
	json_put_str(def, "description", c->doc ? c->doc : c->name);
	json_put_int(def, "priority", c->priority);
	return def;
}

json_t *table_new(const struct kind *k, const char *version, bool with_columns)
{
	bool own = k->custom || (k->n_columns && k->ops && k->ops->cells);
	const struct column *columns = own ? k->columns : default_columns;
	size_t n = own ? k->n_columns : ARRAY_SIZE(default_columns);
	json_t *table = json_object(), *defs;

	json_put_str(table, "kind", "Table");
	json_put_strf(table, "apiVersion", "meta.k8s.io/%s", version);
	json_put(table, "metadata", json_object());
	defs = json_arr(table, "columnDefinitions");
	for (size_t i = 0; with_columns && i < n; i++)
		json_array_append_new(defs, column_definition(&columns[i]));
	json_arr(table, "rows");
	return table;
}

static json_t *row_object(const json_t *table, const json_t *obj, enum table_include include)
{
	json_t *part;

	switch (include) {
	case TABLE_OBJECT_NONE:
		return NULL;
	case TABLE_OBJECT_FULL:
		return json_incref((json_t *)obj);
	case TABLE_OBJECT_METADATA:
		break;
	}
	part = json_object();
	json_put_str(part, "kind", "PartialObjectMetadata");
	json_put_str(part, "apiVersion", json_str(table, "apiVersion", "meta.k8s.io/v1"));
	json_object_set(part, "metadata", json_object_get(obj, "metadata"));
	return part;
}

void table_add(const struct kind *k, json_t *table, const json_t *obj, enum table_include include,
	       time_t now)
{
	json_t *row = json_object(), *cells = json_arr(row, "cells"), *object;

	if (k->custom) {
		custom_cells(k, obj, now, cells);
	} else if (k->n_columns && k->ops && k->ops->cells) {
		k->ops->cells(obj, now, cells);
	} else {
		cell_str(cells, meta_name(obj), "");
		cell_age(cells, json_str(obj, "metadata.creationTimestamp", NULL), now);
	}
	object = row_object(table, obj, include);
	if (object)
		json_object_set_new(row, "object", object);
	json_array_append_new(json_arr(table, "rows"), row);
}
