/* SPDX-License-Identifier: Apache-2.0 */
/* downward: fieldRef and resourceFieldRef. */
#include "downward.h"

#include <coracle/schema.h>

/* ---- fields ----------------------------------------------------------------------------- */

enum self_field { SELF_JSON, SELF_POD_IP, SELF_HOST_IP, SELF_NODE_NAME };

static const struct {
	const char *path;
	enum self_field from;
} fields[] = {
	{"metadata.name", SELF_JSON},	   {"metadata.namespace", SELF_JSON},
	{"metadata.uid", SELF_JSON},	   {"spec.serviceAccountName", SELF_JSON},
	{"spec.nodeName", SELF_NODE_NAME}, {"status.hostIP", SELF_HOST_IP},
	{"status.hostIPs", SELF_HOST_IP},  {"status.podIP", SELF_POD_IP},
	{"status.podIPs", SELF_POD_IP},
};

/* Go's strconv.Quote for the characters that labels and annotations hold in practice. */
static void quote(struct strbuf *b, const char *s)
{
	strbuf_addc(b, '"');
	for (; *s; s++) {
		switch (*s) {
		case '"':
		case '\\':
			strbuf_addf(b, "\\%c", *s);
			break;
		case '\n':
			strbuf_adds(b, "\\n");
			break;
		case '\t':
			strbuf_adds(b, "\\t");
			break;
		case '\r':
			strbuf_adds(b, "\\r");
			break;
		default:
			strbuf_addc(b, *s);
		}
	}
	strbuf_addc(b, '"');
}

static int by_text(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* A string map as sorted key="value" lines, the form of downward API files. */
static char *map_lines(const json_t *map)
{
	auto_strv lines = {0};
	struct strbuf all = {0};
	const char *key;
	json_t *value;

	json_object_foreach((json_t *)(uintptr_t)map, key, value)
	{
		auto_strbuf b = {0};
		strbuf_addf(&b, "%s=", key);
		quote(&b, json_is_string(value) ? json_string_value(value) : "");
		strv_take(&lines, strbuf_steal(&b));
	}
	if (lines.n)
		qsort(lines.v, lines.n, sizeof(*lines.v), by_text);
	for (size_t i = 0; i < lines.n; i++)
		strbuf_addf(&all, "%s%s", i ? "\n" : "", lines.v[i]);
	return strbuf_steal(&all);
}

/* "metadata.labels['x']": the part between the quotes, when path starts with base; caller frees. */
static char *subscript(const char *path, const char *base)
{
	size_t n = strlen(base), len = strlen(path);

	if (!str_starts(path, base) || len < n + 4 || strncmp(path + n, "['", 2) != 0 ||
	    strcmp(path + len - 2, "']") != 0)
		return NULL;
	return xstrndup(path + n + 2, len - n - 4);
}

static char *map_field(const json_t *pod, const char *path)
{
	static const char *const maps[] = {"metadata.labels", "metadata.annotations"};

	for (size_t i = 0; i < ARRAY_SIZE(maps); i++) {
		const json_t *map = json_at(pod, maps[i]);
		auto_free char *key = subscript(path, maps[i]);
		if (key) {
			const char *v = json_string_value(json_object_get(map, key));
			return xstrdup(v ? v : "");
		}
		if (streq(path, maps[i]))
			return map_lines(map);
	}
	return NULL;
}

static const char *self_value(const json_t *pod, const struct self_facts *self, size_t i)
{
	switch (fields[i].from) {
	case SELF_JSON:
		return json_str(pod, fields[i].path, "");
	case SELF_POD_IP:
		return self->pod_ip;
	case SELF_HOST_IP:
		return self->host_ip;
	case SELF_NODE_NAME:
		return self->node_name;
	}
	return "";
}

char *downward_field(const json_t *pod, const struct self_facts *self, const char *path,
		     struct err *err)
{
	char *v = map_field(pod, path);

	if (v)
		return v;
	for (size_t i = 0; i < ARRAY_SIZE(fields); i++)
		if (streq(path, fields[i].path))
			return xstrdup(self_value(pod, self, i));
	err_set(err, ERR_INVALID, "unsupported fieldPath: %s", path);
	return NULL;
}

/* ---- resources -------------------------------------------------------------------------- */

/* The named limit or request in thousandths; limits fall back on what the node has. */
static int resource_milli(const json_t *container, const struct self_facts *self,
			  const char *resource, int64_t *ret)
{
	const char *dot = strchr(resource, '.');
	const json_t *list;
	const char *text;

	*ret = 0;
	if (!dot)
		return -EINVAL;
	if (str_starts(resource, "limits."))
		list = json_at(container, "resources.limits");
	else if (str_starts(resource, "requests."))
		list = json_at(container, "resources.requests");
	else
		return -EINVAL;
	text = json_string_value(json_object_get(list, dot + 1));
	if (text)
		return quantity_parse_milli(text, ret);
	if (streq(resource, "limits.cpu"))
		*ret = self->node_cpu_milli;
	else if (streq(resource, "limits.memory"))
		*ret = self->node_memory_bytes * 1000;
	return 0;
}

static const json_t *container_named(const json_t *pod, const char *name)
{
	const json_t *c = json_find(json_at(pod, "spec.containers"), "name", name);

	if (!c)
		c = json_find(json_at(pod, "spec.initContainers"), "name", name);
	return c ? c : json_find(json_at(pod, "spec.ephemeralContainers"), "name", name);
}

char *downward_resource(const json_t *pod, const json_t *container, const struct self_facts *self,
			const json_t *ref, struct err *err)
{
	const char *resource = json_str(ref, "resource", "");
	const char *divisor = json_str(ref, "divisor", "1");
	const char *name = json_str(ref, "containerName", "");
	int64_t value, div;

	if (*name || !container)
		container = container_named(pod, name);
	if (!container) {
		err_set(err, ERR_INVALID, "container %s not found", name);
		return NULL;
	}
	if (quantity_parse_milli(divisor, &div) < 0 || div <= 0)
		div = 1000;
	if (resource_milli(container, self, resource, &value) < 0) {
		err_set(err, ERR_INVALID, "unsupported container resource : %s", resource);
		return NULL;
	}
	return xasprintf("%lld", (long long)((value + div - 1) / div));
}
