/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rows of Deployments, ReplicaSets and Scales.
 */
#include "internal.h"

/* "a,b" of one member of the template's containers. */
static void container_cell(const json_t *obj, const char *member, json_t *cells)
{
	json_t *list = json_at(obj, "spec.template.spec.containers"), *c;
	auto_strbuf b = {0};
	size_t i;

	json_array_foreach(list, i, c)
	{
		strbuf_addf(&b, "%s%s", i ? "," : "", json_str(c, member, ""));
	}
	cell_str(cells, b.s, "");
}

static void wide_cells(const json_t *obj, json_t *cells)
{
	struct label_selector *s = label_selector_from_json(json_at(obj, "spec.selector"), NULL);
	auto_free char *text = label_selector_format(s);

	container_cell(obj, "name", cells);
	container_cell(obj, "image", cells);
	cell_str(cells, s ? text : "<error>", "<none>");
	label_selector_free(s);
}

void replicaset_cells(const json_t *obj, time_t now, json_t *cells)
{
	cell_str(cells, meta_name(obj), "");
	cell_int(cells, json_int(obj, "spec.replicas", 0));
	cell_int(cells, json_int(obj, "status.replicas", 0));
	cell_int(cells, json_int(obj, "status.readyReplicas", 0));
	cell_age(cells, json_str(obj, "metadata.creationTimestamp", NULL), now);
	wide_cells(obj, cells);
}

void deployment_cells(const json_t *obj, time_t now, json_t *cells)
{
	char ready[64];

	snprintf(ready, sizeof(ready), "%lld/%lld",
		 (long long)json_int(obj, "status.readyReplicas", 0),
		 (long long)json_int(obj, "spec.replicas", 0));
	cell_str(cells, meta_name(obj), "");
	cell_str(cells, ready, "");
	cell_int(cells, json_int(obj, "status.updatedReplicas", 0));
	cell_int(cells, json_int(obj, "status.availableReplicas", 0));
	cell_age(cells, json_str(obj, "metadata.creationTimestamp", NULL), now);
	wide_cells(obj, cells);
}

void scale_cells(const json_t *obj, time_t now, json_t *cells)
{
	cell_str(cells, meta_name(obj), "");
	cell_int(cells, json_int(obj, "spec.replicas", 0));
	cell_int(cells, json_int(obj, "status.replicas", 0));
	cell_age(cells, json_str(obj, "metadata.creationTimestamp", NULL), now);
}

static const struct column scale_columns[] = {
	{"Name", "string", "name", "Name of the scaled object.", 0},
	{"Desired", "integer", "", "Number of pods that is wished for.", 0},
	{"Available", "integer", "", "Number of pods there are.", 0},
	{"Age", "string", "", "Time since creation.", 0},
};
static const struct kind_ops scale_ops = {.cells = scale_cells};
const struct kind kind_scale = {
	.group = "autoscaling",
	.version = "v1",
	.kind = "Scale",
	.list_kind = "ScaleList",
	.plural = "scales",
	.singular = "scale",
	.namespaced = true,
	.columns = scale_columns,
	.n_columns = ARRAY_SIZE(scale_columns),
	.ops = &scale_ops,
	.index = UINT16_MAX,
};
