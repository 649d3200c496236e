/* SPDX-License-Identifier: Apache-2.0 */
/*
 * LimitRanges: what containers get that do not say what they need, and what pods and claims may ask
 * for at most and must ask for at least (kubernetes plugin/pkg/admission/limitranger).
 */
#include "internal.h"

#define ANNOTATION "kubernetes.io/limit-ranger"

/* ---- defaults --------------------------------------------------------------------------- */

/* Sets in to what it does not have of from; the names are added to ret. */
static void fill(json_t *to, const json_t *from, struct strv *ret)
{
	const char *name;
	json_t *v;

	json_object_foreach((json_t *)(uintptr_t)from, name, v)
	{
		if (json_object_get(to, name))
			continue;
		json_object_set_new(to, name, json_copy(v));
		strv_add(ret, name);
	}
}

static int compare(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* "cpu, memory request for container c" */
static void note(struct strbuf *b, struct strv *names, const char *what, const char *sort,
		 const char *container)
{
	if (!names->n)
		return;
	qsort(names->v, names->n, sizeof(*names->v), compare);
	strbuf_adds(b, b->len ? "; " : "");
	for (size_t i = 0; i < names->n; i++)
		strbuf_addf(b, "%s%s", i ? ", " : "", names->v[i]);
	strbuf_addf(b, " %s for %s %s", what, sort, container);
}

static void fill_containers(json_t *pod, const char *field, const char *sort, const json_t *limit,
			    struct strbuf *notes)
{
	json_t *c;
	size_t i;

	json_array_foreach(json_object_get(json_object_get(pod, "spec"), field), i, c)
	{
		auto_strv requests = {0}, limits = {0};

		fill(json_obj(c, "resources.requests"), json_object_get(limit, "defaultRequest"),
		     &requests);
		fill(json_obj(c, "resources.limits"), json_object_get(limit, "default"), &limits);
		if (!json_object_size(json_at(c, "resources.requests")))
			json_drop(c, "resources.requests");
		if (!json_object_size(json_at(c, "resources.limits")))
			json_drop(c, "resources.limits");
		note(notes, &requests, "request", sort, json_str(c, "name", ""));
		note(notes, &limits, "limit", sort, json_str(c, "name", ""));
	}
}

void limits_fill(struct registry *r, json_t *pod)
{
	struct store_iter it = store_iter(r->store, &kind_limitrange, meta_ns(pod));
	const struct object *o;
	auto_strbuf notes = {0};

	while ((o = store_next(&it))) {
		json_t *limit;
		size_t i;

		json_array_foreach(json_at(object_json(o), "spec.limits"), i, limit)
		{
			if (!streq(json_str(limit, "type", ""), "Container"))
				continue;
			fill_containers(pod, "containers", "container", limit, &notes);
			fill_containers(pod, "initContainers", "init container", limit, &notes);
		}
	}
	if (!notes.len)
		return;
	auto_free char *text = xasprintf("LimitRanger plugin set: %s", notes.s);

	json_object_set_new(json_obj(pod, "metadata.annotations"), ANNOTATION, json_string(text));
	json_put_str(pod, "status.qosClass", pod_qos_class(pod));
}

/* ---- bounds ----------------------------------------------------------------------------- */

/* What is asked for, of one container, a pod or a claim. */
struct asked {
	const char *type; /* of the limit: "Container" */
	const json_t *requests, *limits;
};

static const char *amount(const json_t *map, const char *name)
{
	return json_string_value(json_object_get(map, name));
}

static void add(struct strv *found, const char *fmt, ...) PRINTF_LIKE(2, 3);
static void add(struct strv *found, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	strv_take(found, xvasprintf(fmt, ap));
	va_end(ap);
}

static void check_min(struct strv *found, const struct asked *a, const char *name, const char *min)
{
	const char *request = amount(a->requests, name), *limit = amount(a->limits, name);

	if (!request) {
		add(found, "minimum %s usage per %s is %s.  No request is specified", name, a->type,
		    min);
		return;
	}
	if (quantity_cmp(request, min) < 0)
		add(found, "minimum %s usage per %s is %s, but request is %s", name, a->type, min,
		    request);
	if (limit && quantity_cmp(limit, min) < 0)
		add(found, "minimum %s usage per %s is %s, but limit is %s", name, a->type, min,
		    limit);
}

static void check_max(struct strv *found, const struct asked *a, const char *name, const char *max)
{
	const char *request = amount(a->requests, name), *limit = amount(a->limits, name);
	bool claim = !a->limits; /* claims have requests alone */

	if (claim ? !request : !limit) {
		add(found, "maximum %s usage per %s is %s.  No %s is specified", name, a->type, max,
		    claim ? "request" : "limit");
		return;
	}
	if (limit && quantity_cmp(limit, max) > 0)
		add(found, "maximum %s usage per %s is %s, but limit is %s", name, a->type, max,
		    limit);
	if (request && quantity_cmp(request, max) > 0)
		add(found, "maximum %s usage per %s is %s, but request is %s", name, a->type, max,
		    request);
}

static double number(const char *text)
{
	int64_t milli = 0;

	return text && quantity_parse_milli(text, &milli) == 0 ? (double)milli / 1000 : 0;
}

static void check_ratio(struct strv *found, const struct asked *a, const char *name,
			const char *ratio)
{
	double request = number(amount(a->requests, name)), limit = number(amount(a->limits, name));

	if (request == 0)
		add(found,
		    "%s max limit to request ratio per %s is %s, but no request is specified or "
		    "request is 0",
		    name, a->type, ratio);
	else if (limit == 0)
		add(found,
		    "%s max limit to request ratio per %s is %s, but no limit is specified or "
		    "limit is 0",
		    name, a->type, ratio);
	else if (limit / request > number(ratio))
		add(found, "%s max limit to request ratio per %s is %s, but provided ratio is %f",
		    name, a->type, ratio, limit / request);
}

static void check_asked(struct strv *found, const json_t *limit, const struct asked *a)
{
	static const struct {
		const char *map;
		void (*check)(struct strv *found, const struct asked *a, const char *name,
			      const char *bound);
	} bounds[] = {
		{"min", check_min}, {"max", check_max}, {"maxLimitRequestRatio", check_ratio}};

	for (size_t i = 0; i < ARRAY_SIZE(bounds); i++) {
		const char *name;
		json_t *v;

		json_object_foreach(json_object_get(limit, bounds[i].map), name, v) bounds[i].check(
			found, a, name, json_string_value(v));
	}
}

static void check_containers(struct strv *found, const json_t *limit, const json_t *pod)
{
	static const char *const fields[] = {"containers", "initContainers"};
	json_auto_t *none = json_object();

	for (size_t i = 0; i < ARRAY_SIZE(fields); i++) {
		json_t *c;
		size_t j;

		json_array_foreach(json_object_get(json_object_get(pod, "spec"), fields[i]), j, c)
		{
			const json_t *limits = json_at(c, "resources.limits");

			check_asked(found, limit,
				    &(struct asked){"Container", json_at(c, "resources.requests"),
						    limits ? limits : none});
		}
	}
}

static void check_pod(struct strv *found, const json_t *limit, const json_t *pod)
{
	const char *type = json_str(limit, "type", "");

	if (streq(type, "Container")) {
		check_containers(found, limit, pod);
	} else if (streq(type, "Pod")) {
		json_auto_t *requests = pod_resources(pod, "requests");
		json_auto_t *limits = pod_resources(pod, "limits");

		check_asked(found, limit, &(struct asked){"Pod", requests, limits});
	}
}

static void check_claim(struct strv *found, const json_t *limit, const json_t *claim)
{
	if (streq(json_str(limit, "type", ""), "PersistentVolumeClaim"))
		check_asked(found, limit,
			    &(struct asked){"PersistentVolumeClaim",
					    json_at(claim, "spec.resources.requests"), NULL});
}

/* One text, or all in brackets, as upstream's aggregates print. */
static int refuse(const struct kind *k, const json_t *obj, const struct strv *found,
		  struct err *err)
{
	auto_strbuf b = {0};

	for (size_t i = 0; i < found->n; i++)
		strbuf_addf(&b, "%s%s", i ? ", " : "", found->v[i]);
	return found->n == 1 ? fail_forbidden(err, k, meta_name(obj), "%s", b.s)
			     : fail_forbidden(err, k, meta_name(obj), "[%s]", b.s);
}

int limits_check(struct registry *r, const struct kind *k, const json_t *obj, struct err *err)
{
	struct store_iter it = store_iter(r->store, &kind_limitrange, meta_ns(obj));
	const struct object *o;

	while ((o = store_next(&it))) {
		auto_strv found = {0};
		json_t *limit;
		size_t i;

		json_array_foreach(json_at(object_json(o), "spec.limits"), i, limit)
		{
			if (k == &kind_pod)
				check_pod(&found, limit, obj);
			else
				check_claim(&found, limit, obj);
		}
		if (found.n)
			return refuse(k, obj, &found, err);
	}
	return 0;
}
