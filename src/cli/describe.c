/* SPDX-License-Identifier: Apache-2.0 */
/*
 * coracle describe: which objects, and the parts that every kind's description is made of.
 */
#include "internal.h"

void put(struct describe *d, unsigned level, const char *fmt, ...)
{
	va_list ap;

	for (unsigned i = 0; i < level; i++)
		strbuf_adds(&d->text, "  ");
	va_start(ap, fmt);
	strbuf_vaddf(&d->text, fmt, ap);
	va_end(ap);
}

char *time_rfc1123(char buf[static 40], const char *when)
{
	struct timespec ts;
	struct tm tm;

	if (str_empty(when) || time_parse(when, &ts) < 0 || !localtime_r(&ts.tv_sec, &tm) ||
	    !strftime(buf, 40, "%a, %d %b %Y %H:%M:%S %z", &tm))
		snprintf(buf, 40, "<unset>");
	return buf;
}

static int strp_cmp(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

void put_map(struct describe *d, unsigned level, const char *title, const json_t *map)
{
	bool annotations = str_starts(title, "Annotations");
	auto_free const char **keys = xcalloc(json_object_size(map) + 1, sizeof(*keys));
	size_t n = 0, shown = 0;
	const char *key;
	json_t *v;

	json_object_foreach((json_t *)map, key, v)
	{
		if (!annotations || !streq(key, ANNOTATION_LAST_APPLIED))
			keys[n++] = key;
	}
	qsort(keys, n, sizeof(*keys), strp_cmp);
	put(d, level, "%s", title);
	for (size_t i = 0; i < n; i++) {
		const char *value = json_string_value(json_object_get(map, keys[i]));

		if (shown++)
			put(d, level, "%s", "");
		value = value ? value : "";
		if (annotations)
			strbuf_addf(&d->text, "\t%s: %.140s%s\n", keys[i], value,
				    strlen(value) > 140 ? "..." : "");
		else
			strbuf_addf(&d->text, "\t%s=%s\n", keys[i], value);
	}
	if (!n)
		strbuf_adds(&d->text, "\t<none>\n");
}

/* ---- events --------------------------------------------------------------------------------- */

/* Name, namespace and uid as kubectl asks for them; nodes are told about by name too. */
static json_t *events_of(struct describe *d, const json_t *obj, const struct kind *k)
{
	auto_free char *selector = xasprintf(
		"involvedObject.name=%s,involvedObject.namespace=%s,involvedObject.kind=%s",
		meta_name(obj), k->namespaced ? meta_ns(obj) : "", k->kind);
	auto_free char *path =
		kind_path_query(&kind_event, k->namespaced ? meta_ns(obj) : NULL, NULL, NULL,
				"fieldSelector", selector, "limit", "500", NULL);
	int exit_code;
	json_auto_t *list = client_get(d->c, path, false, &exit_code);

	return json_incref(json_at(list, "items"));
}

static const char *event_time(const json_t *e)
{
	const char *s = json_str(e, "series.lastObservedTime", json_str(e, "lastTimestamp", ""));

	return *s ? s : json_str(e, "eventTime", "");
}

static int event_cmp(const void *a, const void *b)
{
	return strcmp(event_time(*(json_t *const *)a), event_time(*(json_t *const *)b));
}

static void age(char buf[static 24], const char *when, time_t now)
{
	struct timespec ts;

	if (str_empty(when) || time_parse(when, &ts) < 0)
		snprintf(buf, 24, "<unknown>");
	else
		human_duration(buf, (int64_t)now - (int64_t)ts.tv_sec);
}

static void put_event(struct describe *d, const json_t *e)
{
	const char *first = json_str(e, "firstTimestamp", json_str(e, "eventTime", ""));
	const char *source = json_str(e, "source.component", json_str(e, "reportingComponent", ""));
	const char *message = json_str(e, "message", "");
	int64_t count = json_int(e, "series.count", json_int(e, "count", 1));
	size_t len = strlen(message);
	char last[24], since[24], text[96];

	while (len && strchr(" \n", message[len - 1]))
		len--;
	age(last, event_time(e), d->now);
	age(since, first, d->now);
	if (count > 1)
		snprintf(text, sizeof(text), "%s (x%lld over %s)", last, (long long)count, since);
	else
		snprintf(text, sizeof(text), "%s", last);
	put(d, 1, "%s\t%s\t%s\t%s\t%.*s\n", json_str(e, "type", ""), json_str(e, "reason", ""),
	    text, source, (int)len, message);
}

void put_events(struct describe *d, const json_t *obj, const struct kind *k)
{
	json_auto_t *events = events_of(d, obj, k);
	size_t n = json_array_size(events), i;
	auto_free json_t **sorted = xcalloc(n + 1, sizeof(*sorted));
	json_t *e;

	if (!n) {
		put(d, 0, "Events:\t<none>\n");
		return;
	}
	json_array_foreach(events, i, e)
	{
		sorted[i] = e;
	}
	qsort(sorted, n, sizeof(*sorted), event_cmp);
	put(d, 0, "Events:\n");
	put(d, 1, "Type\tReason\tAge\tFrom\tMessage\n");
	put(d, 1, "----\t------\t----\t----\t-------\n");
	for (i = 0; i < n; i++)
		put_event(d, sorted[i]);
}

/* ---- which objects -------------------------------------------------------------------------- */

static const struct {
	const struct kind *kind;
	void (*fn)(struct describe *d, const json_t *obj);
	bool no_events;
} describers[] = {
	{&kind_pod, describe_pod, false},
	{&kind_deployment, describe_deployment, false},
	{&kind_replicaset, describe_replicaset, false},
	{&kind_service, describe_service, false},
	{&kind_node, describe_node, false},
	{&kind_namespace, describe_namespace, true},
	{&kind_configmap, describe_configmap, false},
	{&kind_secret, describe_secret, true},
};

static void describe_one(struct cli *c, const struct kind *k, const json_t *obj, bool separate)
{
	struct describe d = {.c = c, .now = time(NULL)};
	auto_strbuf laid = {0};
	size_t i = 0;

	while (i < ARRAY_SIZE(describers) && describers[i].kind != k)
		i++;
	if (i < ARRAY_SIZE(describers)) {
		describers[i].fn(&d, obj);
		if (!describers[i].no_events)
			put_events(&d, obj, k);
	} else {
		describe_generic(&d, obj);
		put_events(&d, obj, k);
	}
	tabwriter_format(d.text.s, 0, 2, &laid);
	strbuf_done(&d.text);
	printf("%s%s", separate ? "\n\n" : "", laid.s);
}

static int describe_ref(struct cli *c, const struct ref *r, size_t *n)
{
	auto_free char *path =
		kind_path_query(r->kind, cli_ns(c, r->kind), r->name, NULL, "labelSelector",
				r->name ? NULL : c->o.selector, NULL);
	int exit_code;
	json_auto_t *v = client_get(c, path, false, &exit_code);
	json_t *item;
	size_t i;

	if (!v)
		return exit_code;
	if (r->name) {
		describe_one(c, r->kind, v, (*n)++);
		return 0;
	}
	json_array_foreach(json_at(v, "items"), i, item)
	{
		char version[API_VERSION_MAX];

		json_put_str(item, "kind", r->kind->kind);
		json_put_str(item, "apiVersion", kind_api_version(r->kind, version));
		describe_one(c, r->kind, item, (*n)++);
	}
	return 0;
}

int cmd_describe(struct cli *c)
{
	auto_refs refs = {0};
	size_t n = 0;
	int bad = 0;

	if (refs_parse(c, &c->args, &refs))
		return 1;
	if (!refs.n)
		return cli_error(
			"You must specify the type of resource to describe. Use \"coracle get "
			"all\" for a list.");
	for (size_t i = 0; i < refs.n; i++)
		bad |= describe_ref(c, &refs.v[i], &n);
	if (!n && !bad)
		fprintf(stderr,
			refs.v[0].kind->namespaced && !c->o.all_namespaces
				? "No resources found in %s namespace.\n"
				: "No resources found%.0s\n",
			c->o.ns);
	return bad;
}
