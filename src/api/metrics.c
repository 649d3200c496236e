/* SPDX-License-Identifier: Apache-2.0 */
/*
 * /metrics, and the figures of the API itself: requests by what they ask for, how long they took,
 * what is under way. Names and labels are those of kube-apiserver.
 */
#include "internal.h"

/* Upper bounds in seconds: a subset of the API server's, so that its queries work. */
static const double buckets[] = {0.005, 0.025, 0.05, 0.1, 0.2, 0.4, 0.6, 1, 2, 5, 10, 60};
static const char *const bucket_names[] = {"0.005", "0.025", "0.05", "0.1", "0.2", "0.4",
					   "0.6",   "1",     "2",    "5",   "10",  "60"};

/* What is counted together; texts live in the key of the map. */
struct request_labels {
	char verb[24], group[128], version[32], resource[128], subresource[64], scope[12];
};
struct counter {
	struct request_labels labels;
	int code;
	uint64_t n;
};
struct durations {
	struct request_labels labels;
	uint64_t n, in[ARRAY_SIZE(buckets)];
	double seconds;
};

/* ---- labels -------------------------------------------------------------------------------- */

/* The verb as the API server's metrics name it. */
static const char *verb_label(const struct call *c)
{
	static const char *const names[][2] = {
		{"get", "GET"},	      {"list", "LIST"},	 {"watch", "WATCH"},
		{"create", "POST"},   {"update", "PUT"}, {"patch", "PATCH"},
		{"delete", "DELETE"}, {"none", "OTHER"}, {"deletecollection", "DELETECOLLECTION"},
	};
	const char *sub = c->target.kind ? c->target.sub : NULL;

	if (sub && (streq(sub, "exec") || streq(sub, "attach") || streq(sub, "portforward") ||
		    streq(sub, "proxy")))
		return "CONNECT";
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (streq(c->verb, names[i][0]))
			return names[i][1];
	return "OTHER";
}

static const char *scope_label(const struct call *c)
{
	if (!c->target.kind)
		return "";
	if (c->target.name || streq(c->verb, "create"))
		return "resource";
	return c->target.ns ? "namespace" : "cluster";
}

static void labels_of(const struct call *c, struct request_labels *ret)
{
	const struct kind *k = c->target.kind;

	*ret = (struct request_labels){0};
	snprintf(ret->verb, sizeof(ret->verb), "%s", verb_label(c));
	snprintf(ret->scope, sizeof(ret->scope), "%s", scope_label(c));
	if (!k)
		return;
	snprintf(ret->group, sizeof(ret->group), "%s", k->group);
	snprintf(ret->version, sizeof(ret->version), "%s", k->version);
	snprintf(ret->resource, sizeof(ret->resource), "%s", k->plural);
	/* Only names that a route has are counted: a stranger's are without number. */
	if (c->target.sub && c->route)
		snprintf(ret->subresource, sizeof(ret->subresource), "%s", c->target.sub);
}

static void labels_key(const struct request_labels *l, int code, char *buf, size_t size)
{
	snprintf(buf, size, "%s %s %s %s %s %s %d", l->verb, l->group, l->version, l->resource,
		 l->subresource, l->scope, code);
}

/* ---- counting ------------------------------------------------------------------------------ */

/* The entry of the map for the key; made, of the given size, when it is not there. */
static void *entry(struct map *m, const char *key, size_t size)
{
	void *v = map_get(m, key);

	if (!v) {
		v = xcalloc(1, size);
		map_put(m, key, v);
	}
	return v;
}

static void count_duration(struct call *c, const struct request_labels *l)
{
	double seconds = (double)mono_sub(mono_now(), c->since) / USEC_PER_SEC;
	char key[sizeof(*l) + 16];
	struct durations *d;

	/* How long these take is up to the client. */
	if (streq(l->verb, "WATCH") || streq(l->verb, "CONNECT"))
		return;
	labels_key(l, 0, key, sizeof(key));
	d = entry(&c->api->durations, key, sizeof(*d));
	d->labels = *l;
	d->n++;
	d->seconds += seconds;
	for (size_t i = ARRAY_SIZE(buckets); i-- > 0 && seconds <= buckets[i];)
		d->in[i]++;
}

void api_count(struct call *c, int code)
{
	struct request_labels l;
	char key[sizeof(l) + 16];
	struct counter *n;

	labels_of(c, &l);
	labels_key(&l, code, key, sizeof(key));
	n = entry(&c->api->counters, key, sizeof(*n));
	n->labels = l;
	n->code = code;
	n->n++;
	count_duration(c, &l);
}

static void free_entries(struct map *m)
{
	const char *key;
	void *value;
	size_t i = 0;

	while (map_next(m, &i, &key, &value))
		free(value);
	map_done(m);
}

void api_metrics_done(struct api *a)
{
	free_entries(&a->counters);
	free_entries(&a->durations);
}

/* ---- telling ------------------------------------------------------------------------------- */

#define LABELS(l)                                                                                  \
	"group", (l)->group, "resource", (l)->resource, "scope", (l)->scope, "subresource",        \
		(l)->subresource, "verb", (l)->verb, "version", (l)->version

static void put_requests(const struct api *a, struct strbuf *out)
{
	static const char name[] = "apiserver_request_total";
	const char *key;
	void *value;
	size_t i = 0;

	metric_family(out, name, "counter",
		      "Counter of apiserver requests broken out for each verb, group, version, "
		      "resource, scope, and HTTP response code.");
	while (map_next(&a->counters, &i, &key, &value)) {
		const struct counter *n = value;
		char code[12];

		snprintf(code, sizeof(code), "%d", n->code);
		metric_put(out, name, (double)n->n, "code", code, LABELS(&n->labels), NULL);
	}
}

static void put_histogram(const struct durations *d, struct strbuf *out)
{
	static const char bucket[] = "apiserver_request_duration_seconds_bucket";

	for (size_t i = 0; i < ARRAY_SIZE(buckets); i++)
		metric_put(out, bucket, (double)d->in[i], LABELS(&d->labels), "le", bucket_names[i],
			   NULL);
	metric_put(out, bucket, (double)d->n, LABELS(&d->labels), "le", "+Inf", NULL);
	metric_put(out, "apiserver_request_duration_seconds_sum", d->seconds, LABELS(&d->labels),
		   NULL);
	metric_put(out, "apiserver_request_duration_seconds_count", (double)d->n,
		   LABELS(&d->labels), NULL);
}

static void put_durations(const struct api *a, struct strbuf *out)
{
	const char *key;
	void *value;
	size_t i = 0;

	metric_family(out, "apiserver_request_duration_seconds", "histogram",
		      "Response latency distribution in seconds for each verb, group, version, "
		      "resource and scope.");
	while (map_next(&a->durations, &i, &key, &value))
		put_histogram(value, out);
}

static bool is_mutating(const struct call *c)
{
	return !streq(c->verb, "get") && !streq(c->verb, "list") && !streq(c->verb, "watch");
}

static void put_inflight(const struct api *a, struct strbuf *out)
{
	static const char name[] = "apiserver_current_inflight_requests";
	size_t n[2] = {0};

	list_foreach (&a->calls, c, struct call, node)
		if (!streq(c->verb, "watch"))
			n[is_mutating(c)]++;
	metric_family(out, name, "gauge", "Requests being answered.");
	metric_put(out, name, (double)n[0], "request_kind", "readOnly", NULL);
	metric_put(out, name, (double)n[1], "request_kind", "mutating", NULL);
}

static void put_watches(const struct api *a, struct strbuf *out)
{
	static const char name[] = "apiserver_longrunning_requests";
	struct map seen = {0};
	const char *key;
	void *value;
	size_t i = 0;

	list_foreach (&a->calls, c, struct call, node) {
		char text[sizeof(struct request_labels) + 16];
		struct counter *n;

		if (!streq(c->verb, "watch") || !c->target.kind)
			continue;
		struct request_labels l;

		labels_of(c, &l);
		labels_key(&l, 0, text, sizeof(text));
		n = entry(&seen, text, sizeof(*n));
		n->labels = l;
		n->n++;
	}
	metric_family(out, name, "gauge", "Watches open, by what is watched.");
	while (map_next(&seen, &i, &key, &value))
		metric_put(out, name, (double)((struct counter *)value)->n,
			   LABELS(&((struct counter *)value)->labels), NULL);
	free_entries(&seen);
}

void api_metrics(void *arg, struct strbuf *out)
{
	struct api *a = arg;

	metric_family(out, "kubernetes_build_info", "gauge",
		      "A metric with a constant '1' value labeled by the API level.");
	metric_put(out, "kubernetes_build_info", 1, "git_version", a->config.git_version, NULL);
	metric_one(out, "coracle_loop_turns_total", "counter", "Times the event loop woke up.",
		   (double)loop_turns(a->loop));
	put_inflight(a, out);
	put_watches(a, out);
	put_requests(a, out);
	put_durations(a, out);
}

void handle_metrics(struct call *c)
{
	auto_strbuf b = {0};

	metrics_collect(&b);
	call_reply(c, 200, "text/plain; version=0.0.4; charset=utf-8", b.s, b.len);
}
