/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rows of PodDisruptionBudgets, PriorityClasses, ResourceQuotas, PersistentVolumes and their
 * claims.
 */
#include "internal.h"

/* ---- what bounds others ----------------------------------------------------------------- */

static void amount_cell(json_t *cells, const json_t *v)
{
	char text[24];

	snprintf(text, sizeof(text), "%lld", (long long)json_integer_value(v));
	cell_str(cells, json_is_string(v) ? json_string_value(v) : v ? text : NULL, "N/A");
}

void pdb_cells(const json_t *obj, time_t now, json_t *cells)
{
	cell_str(cells, meta_name(obj), "");
	amount_cell(cells, json_at(obj, "spec.minAvailable"));
	amount_cell(cells, json_at(obj, "spec.maxUnavailable"));
	cell_int(cells, json_int(obj, "status.disruptionsAllowed", 0));
	cell_created(cells, obj, now);
}

void priorityclass_cells(const json_t *obj, time_t now, json_t *cells)
{
	cell_str(cells, meta_name(obj), "");
	cell_int(cells, json_int(obj, "value", 0));
	json_array_append_new(cells, json_boolean(json_bool(obj, "globalDefault", false)));
	cell_created(cells, obj, now);
	cell_str(cells, json_str(obj, "preemptionPolicy", ""), "");
}

static int key_cmp(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* "pods: 2/10, requests.cpu: 1/4"; limits: only what bounds limits, else all else. */
static void quota_cell(json_t *cells, const json_t *obj, bool limits)
{
	json_t *hard = json_at(obj, "status.hard"), *used = json_at(obj, "status.used"), *v;
	auto_strv names = {0};
	auto_strbuf b = {0};
	const char *key;

	json_object_foreach(hard, key, v) if (str_starts(key, "limits.") == limits)
		strv_add(&names, key);
	if (names.n > 1)
		qsort(names.v, names.n, sizeof(char *), key_cmp);
	for (size_t i = 0; i < names.n; i++) {
		const char *have = json_string_value(json_object_get(used, names.v[i]));

		strbuf_addf(&b, "%s%s: %s/%s", i ? ", " : "", names.v[i], have ? have : "0",
			    json_string_value(json_object_get(hard, names.v[i])));
	}
	cell_str(cells, b.s, "");
}

void resourcequota_cells(const json_t *obj, time_t now, json_t *cells)
{
	cell_str(cells, meta_name(obj), "");
	quota_cell(cells, obj, false);
	quota_cell(cells, obj, true);
	cell_created(cells, obj, now);
}

/* ---- volumes ---------------------------------------------------------------------------- */

static void modes_cell(json_t *cells, const json_t *modes)
{
	static const struct {
		const char *mode, *shown;
	} names[] = {{"ReadWriteOnce", "RWO"},
		     {"ReadOnlyMany", "ROX"},
		     {"ReadWriteMany", "RWX"},
		     {"ReadWriteOncePod", "RWOP"}};
	auto_strbuf b = {0};

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		json_t *v;
		size_t j;

		json_array_foreach(modes, j, v)
		{
			if (str_eq(json_string_value(v), names[i].mode)) {
				strbuf_addf(&b, "%s%s", b.len ? "," : "", names[i].shown);
				break;
			}
		}
	}
	cell_str(cells, b.s, "");
}

static const char *phase_of(const json_t *obj)
{
	return meta_deleting(obj) ? "Terminating" : json_str(obj, "status.phase", "");
}

static const char *class_of(const json_t *obj)
{
	const char *beta = meta_annotation(obj, "volume.beta.kubernetes.io/storage-class");

	return beta ? beta : json_str(obj, "spec.storageClassName", "");
}

static const char *storage_of(const json_t *map)
{
	const char *text = json_string_value(json_object_get(map, "storage"));

	return text ? text : "0";
}

void pv_cells(const json_t *obj, time_t now, json_t *cells)
{
	const json_t *claim = json_at(obj, "spec.claimRef");
	auto_free char *name = claim ? xasprintf("%s/%s", json_str(claim, "namespace", ""),
						 json_str(claim, "name", ""))
				     : NULL;

	cell_str(cells, meta_name(obj), "");
	cell_str(cells, storage_of(json_at(obj, "spec.capacity")), "");
	modes_cell(cells, json_at(obj, "spec.accessModes"));
	cell_str(cells, json_str(obj, "spec.persistentVolumeReclaimPolicy", ""), "");
	cell_str(cells, phase_of(obj), "");
	cell_str(cells, name, "");
	cell_str(cells, class_of(obj), "");
	cell_str(cells, json_str(obj, "spec.volumeAttributesClassName", NULL), "<unset>");
	cell_str(cells, json_str(obj, "status.reason", ""), "");
	cell_created(cells, obj, now);
	cell_str(cells, json_str(obj, "spec.volumeMode", NULL), "<unset>");
}

void pvc_cells(const json_t *obj, time_t now, json_t *cells)
{
	const char *volume = json_str(obj, "spec.volumeName", "");

	cell_str(cells, meta_name(obj), "");
	cell_str(cells, phase_of(obj), "");
	cell_str(cells, volume, "");
	cell_str(cells, *volume ? storage_of(json_at(obj, "status.capacity")) : "", "");
	modes_cell(cells, *volume ? json_at(obj, "status.accessModes") : NULL);
	cell_str(cells, class_of(obj), "");
	cell_str(cells, json_str(obj, "spec.volumeAttributesClassName", NULL), "<unset>");
	cell_created(cells, obj, now);
	cell_str(cells, json_str(obj, "spec.volumeMode", NULL), "<unset>");
}
