/* SPDX-License-Identifier: Apache-2.0 */
/*
 * coracle top: what nodes and pods use, as kubectl prints it.
 */
#include "internal.h"

#include <inttypes.h>

enum { MIN_WIDTH = 6, PADDING = 3 }; /* of kubectl's columns */

/* The server writes whole billionths of a CPU and whole KiB. Rounded as kubectl does. */
static uint64_t usage_milli(const json_t *usage)
{
	return (strtoull(json_str(usage, "cpu", "0"), NULL, 10) + 999999) / 1000000;
}

static uint64_t usage_kib(const json_t *usage)
{
	return strtoull(json_str(usage, "memory", "0"), NULL, 10);
}

static void put_usage(struct strbuf *b, uint64_t milli, uint64_t kib)
{
	strbuf_addf(b, "%" PRIu64 "m\t%" PRIu64 "Mi\t", milli, kib / 1024);
}

/* ---- nodes ---------------------------------------------------------------------------------- */

static int put_node(struct cli *c, const json_t *m, struct strbuf *b)
{
	auto_free char *path = kind_path(&kind_node, NULL, meta_name(m));
	int exit_code;
	json_auto_t *node = client_get(c, path, false, &exit_code);
	uint64_t milli = usage_milli(json_object_get(m, "usage"));
	uint64_t kib = usage_kib(json_object_get(m, "usage"));
	int64_t cpus = 0, bytes = 0;

	if (!node)
		return exit_code;
	if (quantity_parse_milli(json_str(node, "status.allocatable.cpu", "0"), &cpus) < 0 ||
	    quantity_parse(json_str(node, "status.allocatable.memory", "0"), &bytes) < 0)
		return cli_error("node %s does not tell what it has", meta_name(m));
	strbuf_addf(b, "%s\t%" PRIu64 "m\t%" PRIu64 "%%\t%" PRIu64 "Mi\t%" PRIu64 "%%\t\n",
		    meta_name(m), milli, cpus ? milli * 100 / (uint64_t)cpus : 0, kib / 1024,
		    bytes ? kib * 1024 * 100 / (uint64_t)bytes : 0);
	return 0;
}

static int put_nodes(struct cli *c, const json_t *items, struct strbuf *b)
{
	const json_t *m;
	int bad = 0;
	size_t i;

	if (!c->o.no_headers)
		strbuf_adds(b, "NAME\tCPU(cores)\tCPU(%)\tMEMORY(bytes)\tMEMORY(%)\t\n");
	json_array_foreach(items, i, m) bad |= put_node(c, m, b);
	return bad;
}

/* ---- pods ----------------------------------------------------------------------------------- */

static void put_pod(const struct cli *c, const json_t *m, struct strbuf *b)
{
	uint64_t milli = 0, kib = 0;
	const json_t *one;
	size_t i;

	json_array_foreach(json_object_get(m, "containers"), i, one)
	{
		const json_t *usage = json_object_get(one, "usage");

		milli += usage_milli(usage);
		kib += usage_kib(usage);
		if (!c->o.containers)
			continue;
		if (c->o.all_namespaces)
			strbuf_addf(b, "%s\t", meta_ns(m));
		strbuf_addf(b, "%s\t%s\t", meta_name(m), json_str(one, "name", ""));
		put_usage(b, usage_milli(usage), usage_kib(usage));
		strbuf_addc(b, '\n');
	}
	if (c->o.containers)
		return;
	if (c->o.all_namespaces)
		strbuf_addf(b, "%s\t", meta_ns(m));
	strbuf_addf(b, "%s\t", meta_name(m));
	put_usage(b, milli, kib);
	strbuf_addc(b, '\n');
}

static int put_pods(struct cli *c, const json_t *items, struct strbuf *b)
{
	const json_t *m;
	size_t i;

	if (!c->o.no_headers)
		strbuf_addf(b, "%s%sCPU(cores)\tMEMORY(bytes)\t\n",
			    c->o.all_namespaces ? "NAMESPACE\t" : "",
			    c->o.containers ? "POD\tNAME\t" : "NAME\t");
	json_array_foreach(items, i, m) put_pod(c, m, b);
	return 0;
}

/* ---- the command ---------------------------------------------------------------------------- */

/* The metrics asked for: one object by its name, or a list. New array; NULL + exit code. */
static json_t *get_metrics(struct cli *c, const struct kind *k, int *exit_code)
{
	const char *name = c->args.n > 1 ? c->args.v[1] : NULL;
	auto_free char *path = kind_path_query(k, cli_ns(c, k), name, NULL, "labelSelector",
					       name ? NULL : c->o.selector, NULL);
	json_t *v = client_get(c, path, false, exit_code), *items = json_array();

	if (v && name)
		json_array_append(items, v);
	else if (v)
		json_array_extend(items, json_object_get(v, "items"));
	if (!v) {
		json_decref(items);
		return NULL;
	}
	json_decref(v);
	return items;
}

int cmd_top(struct cli *c)
{
	const struct kind *k = c->args.n ? kind_by_word(c->args.v[0]) : NULL;
	bool nodes = k == &kind_node;
	auto_strbuf text = {0}, laid = {0};
	int exit_code = 0;

	if ((!nodes && k != &kind_pod) || c->args.n > 2)
		return cli_error("expected: coracle top node|pod [NAME]");
	json_auto_t *items =
		get_metrics(c, nodes ? &kind_nodemetrics : &kind_podmetrics, &exit_code);

	if (!items)
		return exit_code;
	if (!json_array_size(items))
		return cli_error("metrics not available yet");
	exit_code = nodes ? put_nodes(c, items, &text) : put_pods(c, items, &text);
	tabwriter_format(text.s, MIN_WIDTH, PADDING, &laid);
	fputs(laid.s, stdout);
	return exit_code;
}
