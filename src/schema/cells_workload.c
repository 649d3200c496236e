/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rows of the workloads that keep pods running, of their revisions and Scales.
 */
#include "internal.h"

/* "a,b" of one member of the containers of the pod spec at the path. */
static void container_cell(const json_t *obj, const char *path, const char *member, json_t *cells)
{
	json_t *list = json_object_get(json_at(obj, path), "containers"), *c;
	auto_strbuf b = {0};
	size_t i;

	json_array_foreach(list, i, c)
	{
		strbuf_addf(&b, "%s%s", i ? "," : "", json_str(c, member, ""));
	}
	cell_str(cells, b.s, "");
}

void cell_containers(json_t *cells, const json_t *obj, const char *path)
{
	container_cell(obj, path, "name", cells);
	container_cell(obj, path, "image", cells);
}

void cell_selector(json_t *cells, const json_t *selector)
{
	struct label_selector *s = label_selector_from_json(selector, NULL);
	auto_free char *text = label_selector_format(s);

	cell_str(cells, s ? text : "<error>", "<none>");
	label_selector_free(s);
}

void cell_labels(json_t *cells, const json_t *labels)
{
	struct label_selector *s = label_selector_from_map(labels);
	auto_free char *text = json_object_size(labels) ? label_selector_format(s) : NULL;

	cell_str(cells, text, "<none>");
	label_selector_free(s);
}

void cell_created(json_t *cells, const json_t *obj, time_t now)
{
	cell_age(cells, json_str(obj, "metadata.creationTimestamp", NULL), now);
}

static void wide_cells(const json_t *obj, json_t *cells)
{
	cell_containers(cells, obj, "spec.template.spec");
	cell_selector(cells, json_at(obj, "spec.selector"));
}

static void replica_cells(const json_t *obj, time_t now, json_t *cells)
{
	cell_str(cells, meta_name(obj), "");
	cell_int(cells, json_int(obj, "spec.replicas", 0));
	cell_int(cells, json_int(obj, "status.replicas", 0));
	cell_int(cells, json_int(obj, "status.readyReplicas", 0));
	cell_created(cells, obj, now);
}

void replicaset_cells(const json_t *obj, time_t now, json_t *cells)
{
	replica_cells(obj, now, cells);
	wide_cells(obj, cells);
}

void replicationcontroller_cells(const json_t *obj, time_t now, json_t *cells)
{
	replica_cells(obj, now, cells);
	cell_containers(cells, obj, "spec.template.spec");
	cell_labels(cells, json_at(obj, "spec.selector"));
}

void podtemplate_cells(const json_t *obj, time_t now UNUSED, json_t *cells)
{
	cell_str(cells, meta_name(obj), "");
	cell_containers(cells, obj, "template.spec");
	cell_labels(cells, json_at(obj, "template.metadata.labels"));
}

static void ready_cell(const json_t *obj, json_t *cells)
{
	char ready[64];

	snprintf(ready, sizeof(ready), "%lld/%lld",
		 (long long)json_int(obj, "status.readyReplicas", 0),
		 (long long)json_int(obj, "spec.replicas", 0));
	cell_str(cells, ready, "");
}

void statefulset_cells(const json_t *obj, time_t now, json_t *cells)
{
	cell_str(cells, meta_name(obj), "");
	ready_cell(obj, cells);
	cell_created(cells, obj, now);
	cell_containers(cells, obj, "spec.template.spec");
}

void daemonset_cells(const json_t *obj, time_t now, json_t *cells)
{
	cell_str(cells, meta_name(obj), "");
	cell_int(cells, json_int(obj, "status.desiredNumberScheduled", 0));
	cell_int(cells, json_int(obj, "status.currentNumberScheduled", 0));
	cell_int(cells, json_int(obj, "status.numberReady", 0));
	cell_int(cells, json_int(obj, "status.updatedNumberScheduled", 0));
	cell_int(cells, json_int(obj, "status.numberAvailable", 0));
	cell_labels(cells, json_at(obj, "spec.template.spec.nodeSelector"));
	cell_created(cells, obj, now);
	wide_cells(obj, cells);
}

/* Who it belongs to: "statefulset.apps/web". */
void controllerrevision_cells(const json_t *obj, time_t now, json_t *cells)
{
	const json_t *owner = meta_controller(obj);
	const char *version = json_str(owner, "apiVersion", ""), *slash = strchr(version, '/');
	auto_free char *text = NULL;

	if (owner)
		text = xasprintf("%s%s%.*s/%s", json_str(owner, "kind", ""), slash ? "." : "",
				 slash ? (int)(slash - version) : 0, version,
				 json_str(owner, "name", ""));
	for (char *p = text; p && *p && *p != '/'; p++)
		*p = *p >= 'A' && *p <= 'Z' ? (char)(*p + 32) : *p;
	cell_str(cells, meta_name(obj), "");
	cell_str(cells, text, "<none>");
	cell_int(cells, json_int(obj, "revision", 0));
	cell_created(cells, obj, now);
}

void deployment_cells(const json_t *obj, time_t now, json_t *cells)
{
	cell_str(cells, meta_name(obj), "");
	ready_cell(obj, cells);
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
