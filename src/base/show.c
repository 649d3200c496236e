/* SPDX-License-Identifier: Apache-2.0 */
/* The registry of tables behind `coracle show`. */
#include <coracle/json.h>

struct table {
	struct list node; /* in tables, sorted by name */
	const char *name;
	show_fn *fn;
	void *arg;
};
static struct list tables = LIST_INIT(tables);

static struct table *find(const char *name)
{
	list_foreach (&tables, t, struct table, node)
		if (streq(t->name, name))
			return t;
	return NULL;
}

void show_register(const char *name, show_fn *fn, void *arg)
{
	struct table *t = find(name);

	if (!t) {
		struct list *at = tables.next;

		while (at != &tables && strcmp(list_entry(at, struct table, node)->name, name) < 0)
			at = at->next;
		t = xnew(struct table);
		t->name = name;
		list_add_tail(at, &t->node);
	}
	t->fn = fn;
	t->arg = arg;
}

void show_unregister(const char *name)
{
	struct table *t = find(name);

	if (t) {
		list_del(&t->node);
		free(t);
	}
}

json_t *show_rows(const char *name)
{
	struct table *t = find(name);
	json_t *rows;

	if (!t)
		return NULL;
	rows = json_array();
	t->fn(t->arg, rows);
	return rows;
}

json_t *show_names(void)
{
	json_t *names = json_array();

	list_foreach (&tables, t, struct table, node)
		json_array_append_new(names, json_string(t->name));
	return names;
}
