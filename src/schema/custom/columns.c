/* SPDX-License-Identifier: Apache-2.0 */
/* Table rows and field selectors of custom kinds. */
#include "custom.h"

#define CELL_MAX 1024 /* bytes of one cell that shows an object or a list */

static int by_name(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* What Go prints of a value: "map[a:1 b:2]", "[x y]". */
static void print(struct strbuf *b, const json_t *v, int depth)
{
	if (b->len > CELL_MAX || depth > 16)
		return;
	if (json_is_string(v)) {
		strbuf_adds(b, json_string_value(v));
	} else if (json_is_object(v)) {
		auto_strv keys = {0};
		const char *key;
		json_t *member;

		strbuf_adds(b, "map[");
		json_object_foreach((json_t *)(uintptr_t)v, key, member) strv_add(&keys, key);
		if (keys.n)
			qsort(keys.v, keys.n, sizeof(*keys.v), by_name);
		for (size_t i = 0; i < keys.n; i++) {
			strbuf_addf(b, "%s%s:", i ? " " : "", keys.v[i]);
			print(b, json_object_get(v, keys.v[i]), depth + 1);
		}
		strbuf_addc(b, ']');
	} else if (json_is_array(v)) {
		json_t *item;
		size_t i;

		strbuf_addc(b, '[');
		json_array_foreach(v, i, item)
		{
			strbuf_adds(b, i ? " " : "");
			print(b, item, depth + 1);
		}
		strbuf_addc(b, ']');
	} else if (json_is_null(v)) {
		strbuf_adds(b, "<nil>");
	} else {
		auto_free char *text = json_dumps(v, JSON_COMPACT | JSON_ENCODE_ANY);

		strbuf_adds(b, text ? text : "");
	}
}

static json_t *date_cell(const json_t *v, time_t now)
{
	struct timespec ts;
	char age[24];

	if (!json_is_string(v) || time_parse(json_string_value(v), &ts) < 0)
		return json_string("<invalid>");
	return json_string(human_duration(age, now - ts.tv_sec));
}

static json_t *cell(const char *type, const json_t *v, time_t now)
{
	if (!v)
		return json_null();
	if (streq(type, "date"))
		return date_cell(v, now);
	if (streq(type, "integer"))
		return json_is_number(v) ? json_integer((json_int_t)json_number_value(v))
					 : json_null();
	if (streq(type, "number"))
		return json_is_number(v) ? json_copy((json_t *)(uintptr_t)v) : json_null();
	if (streq(type, "boolean"))
		return json_is_boolean(v) ? json_boolean(json_is_true(v)) : json_null();
	auto_strbuf b = {0};

	print(&b, v, 0);
	return json_string(b.s ? b.s : "");
}

void custom_cells(const struct kind *k, const json_t *obj, time_t now, json_t *cells)
{
	json_array_append_new(cells, json_string(meta_name(obj)));
	for (size_t i = 1; i < k->n_columns; i++)
		json_array_append_new(
			cells, cell(k->columns[i].type, path_first(obj, k->custom->paths[i]), now));
}

const char *custom_field_label(const struct kind *k, const json_t *obj, const char *label)
{
	static char number[40];
	const json_t *v;

	if (!strv_has(&k->custom->selectable, label))
		return NULL;
	auto_free char *path = xasprintf(".%s", label);

	v = path_first(obj, path);
	if (json_is_boolean(v))
		return json_is_true(v) ? "true" : "false";
	if (json_is_integer(v)) {
		snprintf(number, sizeof(number), "%lld", (long long)json_integer_value(v));
		return number;
	}
	return json_is_string(v) ? json_string_value(v) : "";
}
