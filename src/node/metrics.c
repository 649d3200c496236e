/* SPDX-License-Identifier: Apache-2.0 */
/*
 * metrics: what the node, its pods and their containers use, for metrics.k8s.io and /metrics.
 * There is no sampler that runs by itself. A rate needs two samples: if the last question was long
 * ago, the answer waits a second for the second one.
 */
#include "internal.h"

#include <unistd.h>

#define SETTLE_US USEC_PER_SEC	     /* from the first sample to the answer */
#define STALE_US (60 * USEC_PER_SEC) /* older samples say nothing about now */
#define FRESH_US (USEC_PER_SEC / 2)  /* figures of just now are good enough */

struct usage_wait {
	struct list node; /* in metrics.waiting */
	void (*done)(void *arg);
	void *arg;
};

/* ---- samples ------------------------------------------------------------------------------ */

static void sample_machine(struct node *n, mono_t now)
{
	auto_free char *stat = NULL, *meminfo = NULL;
	size_t len;

	if (file_read("/proc/stat", 1 << 20, &stat, &len) < 0 ||
	    file_read("/proc/meminfo", 64 * 1024, &meminfo, &len) < 0)
		return;
	usage_sample(&n->metrics.machine, now, usage_parse_stat(stat, sysconf(_SC_CLK_TCK)),
		     usage_parse_meminfo(meminfo));
}

/* A container that runs, by its figures; false: it does not, or they cannot be read. */
static bool ctr_stats(const struct ctr *c, struct cgroup_stats *ret)
{
	return c->pod->sandbox && c->facts.id && ctr_alive(c) && c->state != CTR_STARTING &&
	       sandbox_stats(c->pod->sandbox, c->facts.id, ret) == 0;
}

static void sample_all(struct node *n)
{
	mono_t now = mono_now();
	struct cgroup_stats s;

	sample_machine(n, now);
	list_foreach (&n->pods, p, struct pod, link)
		for (size_t i = 0; i < p->n_ctrs; i++)
			if (ctr_stats(p->ctrs[i], &s))
				usage_sample(&p->ctrs[i]->usage, now, s.cpu_us, s.working_set);
	n->metrics.sampled = now;
	time(&n->metrics.wall);
}

static void forget_samples(struct node *n)
{
	n->metrics.machine = (struct usage){0};
	list_foreach (&n->pods, p, struct pod, link)
		for (size_t i = 0; i < p->n_ctrs; i++)
			p->ctrs[i]->usage = (struct usage){0};
}

/* ---- questions ---------------------------------------------------------------------------- */

static void on_settled(void *arg)
{
	struct node *n = arg;

	sample_all(n);
	while (!list_empty(&n->metrics.waiting)) {
		struct usage_wait *w = list_entry(n->metrics.waiting.next, struct usage_wait, node);

		list_del(&w->node);
		w->done(w->arg);
		free(w);
	}
}

void *node_usage_refresh(void *node, void (*done)(void *arg), void *arg)
{
	struct node *n = node;
	uint64_t age = mono_sub(mono_now(), n->metrics.sampled);
	struct usage_wait *w;

	if (!timer_armed(n->metrics.timer) && usage_known(&n->metrics.machine) && age < STALE_US) {
		if (age >= FRESH_US)
			sample_all(n);
		done(arg);
		return NULL;
	}
	if (!timer_armed(n->metrics.timer)) {
		forget_samples(n);
		sample_all(n);
		timer_arm(n->metrics.timer, SETTLE_US);
	}
	w = xnew(struct usage_wait);
	w->done = done;
	w->arg = arg;
	list_add_tail(&n->metrics.waiting, &w->node);
	return w;
}

void node_usage_cancel(void *wait)
{
	struct usage_wait *w = wait;

	list_del(&w->node);
	free(w);
}

static bool usage_tell(const struct node *n, const struct usage *u, struct api_usage *ret)
{
	*ret = (struct api_usage){.cpu_nano = u->nano,
				  .memory_bytes = u->memory,
				  .window_us = u->window_us,
				  .time = n->metrics.wall};
	return usage_known(u);
}

bool node_usage_machine(void *node, struct api_usage *ret)
{
	const struct node *n = node;

	return usage_tell(n, &n->metrics.machine, ret);
}

/* Sidecars run beside the containers and count; what has run before them does not. */
bool node_usage_container(void *node, const char *ns, const char *pod, size_t i,
			  struct api_usage *ret)
{
	const struct node *n = node;
	const struct pod *p = node_pod(n, ns, pod);

	for (size_t j = 0; p && j < p->n_ctrs; j++) {
		const struct ctr *c = p->ctrs[j];

		if (c->facts.role == CTR_INIT || !ctr_alive(c) || i-- > 0)
			continue;
		bool known = usage_tell(n, &c->usage, ret);

		ret->container = c->facts.name;
		return known;
	}
	return false;
}

/* ---- /metrics ------------------------------------------------------------------------------ */

struct row {
	const struct ctr *ctr;
	struct cgroup_stats stats;
};
struct rows {
	struct row *v;
	size_t n;
};

static void rows_take(const struct node *n, struct rows *ret)
{
	size_t max = 0;

	list_foreach (&n->pods, p, struct pod, link)
		max += p->n_ctrs;
	*ret = (struct rows){.v = xcalloc(max + 1, sizeof(struct row))};
	list_foreach (&n->pods, p, struct pod, link)
		for (size_t i = 0; i < p->n_ctrs; i++)
			if (ctr_stats(p->ctrs[i], &ret->v[ret->n].stats))
				ret->v[ret->n++].ctr = p->ctrs[i];
}

static double row_cpu(const struct row *r)
{
	return (double)r->stats.cpu_us / 1e6;
}

static double row_working_set(const struct row *r)
{
	return (double)r->stats.working_set;
}

static double row_memory(const struct row *r)
{
	return (double)r->stats.memory_bytes;
}

static double row_processes(const struct row *r)
{
	return (double)r->stats.pids;
}

static double row_started(const struct row *r)
{
	return (double)r->ctr->facts.started_at.tv_sec;
}

/* Names and labels are cAdvisor's, so that existing dashboards show them. */
static const struct {
	const char *name, *type, *help;
	double (*value)(const struct row *r);
} container_families[] = {
	{"container_cpu_usage_seconds_total", "counter", "Cumulative cpu time consumed in seconds.",
	 row_cpu},
	{"container_memory_working_set_bytes", "gauge", "Current working set in bytes.",
	 row_working_set},
	{"container_memory_usage_bytes", "gauge", "Current memory usage in bytes.", row_memory},
	{"container_processes", "gauge", "Number of processes and threads in the container.",
	 row_processes},
	{"container_start_time_seconds", "gauge",
	 "Start time of the container since unix epoch in seconds.", row_started},
};

static void put_containers(const struct rows *rows, struct strbuf *out)
{
	for (size_t f = 0; f < ARRAY_SIZE(container_families); f++) {
		metric_family(out, container_families[f].name, container_families[f].type,
			      container_families[f].help);
		for (size_t i = 0; i < rows->n; i++) {
			const struct ctr *c = rows->v[i].ctr;

			metric_put(out, container_families[f].name,
				   container_families[f].value(&rows->v[i]), "container",
				   c->facts.name, "image", c->image, "name", c->facts.id,
				   "namespace", c->pod->ns, "pod", c->pod->name, NULL);
		}
	}
}

static void put_restarts(const struct node *n, struct strbuf *out)
{
	static const char name[] = "kubelet_container_restarts_total";

	metric_family(out, name, "counter", "Restarts of a pod's container.");
	list_foreach (&n->pods, p, struct pod, link)
		for (size_t i = 0; i < p->n_ctrs; i++)
			metric_put(out, name, p->ctrs[i]->facts.restarts, "container",
				   p->ctrs[i]->facts.name, "namespace", p->ns, "pod", p->name,
				   NULL);
}

static void put_pods(const struct node *n, size_t containers, struct strbuf *out)
{
	static const char by_state[] = "coracle_pods";
	size_t in[POD_STATE_COUNT] = {0}, sandboxes = 0;

	list_foreach (&n->pods, p, struct pod, link) {
		in[p->state]++;
		sandboxes += p->sandbox != NULL;
	}
	metric_one(out, "kubelet_running_pods", "gauge", "Number of pods that have a sandbox.",
		   (double)sandboxes);
	metric_family(out, "kubelet_running_containers", "gauge",
		      "Number of containers currently running.");
	metric_put(out, "kubelet_running_containers", (double)containers, "container_state",
		   "running", NULL);
	metric_family(out, by_state, "gauge", "Pods of this node, by the state of their machine.");
	for (int i = 0; i < POD_STATE_COUNT; i++)
		metric_put(out, by_state, (double)in[i], "state", pod_state_name(i), NULL);
}

static void node_metrics(void *arg, struct strbuf *out)
{
	struct node *n = arg;
	struct rows rows;

	/* The machine's figures alone; rates are the reader's business here. */
	sample_machine(n, mono_now());
	metric_one(out, "node_cpu_usage_seconds_total", "counter",
		   "Cumulative cpu time consumed by the node in core-seconds.",
		   (double)n->metrics.machine.cpu_us / 1e6);
	metric_one(out, "node_memory_working_set_bytes", "gauge",
		   "Current working set of the node in bytes.", (double)n->metrics.machine.memory);
	rows_take(n, &rows);
	put_pods(n, rows.n, out);
	put_restarts(n, out);
	put_containers(&rows, out);
	free(rows.v);
}

/* ---- start and stop ----------------------------------------------------------------------- */

void node_metrics_start(struct node *n)
{
	list_init(&n->metrics.waiting);
	n->metrics.timer = timer_new(n->loop, on_settled, n);
	metrics_register("node", node_metrics, n);
}

void node_metrics_stop(struct node *n)
{
	if (!n->metrics.timer)
		return;
	metrics_unregister("node");
	timer_free(n->metrics.timer);
	n->metrics.timer = NULL;
	list_foreach (&n->metrics.waiting, w, struct usage_wait, node)
		node_usage_cancel(w);
}
