/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The registry behind /metrics, and the figures of the process itself. The format is Prometheus'
 * text exposition format 0.0.4.
 */
#include <coracle/base.h>

#include <dirent.h>
#include <math.h>
#include <sys/resource.h>
#include <unistd.h>

struct collector {
	struct list node; /* in collectors, in the order of registration */
	const char *name;
	metrics_fn *fn;
	void *arg;
};
static struct list collectors = LIST_INIT(collectors);

static struct collector *find(const char *name)
{
	list_foreach (&collectors, c, struct collector, node)
		if (streq(c->name, name))
			return c;
	return NULL;
}

void metrics_register(const char *name, metrics_fn *fn, void *arg)
{
	struct collector *c = find(name);

	if (!c) {
		c = xnew(struct collector);
		c->name = name;
		list_add_tail(&collectors, &c->node);
	}
	c->fn = fn;
	c->arg = arg;
}

void metrics_unregister(const char *name)
{
	struct collector *c = find(name);

	if (c) {
		list_del(&c->node);
		free(c);
	}
}

/* ---- writing ------------------------------------------------------------------------------ */

void metric_family(struct strbuf *out, const char *name, const char *type, const char *help)
{
	strbuf_addf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

/* Label values: backslash, quote and line feed are escaped. */
static void add_escaped(struct strbuf *out, const char *s)
{
	for (; *s; s++) {
		if (*s == '\n') {
			strbuf_adds(out, "\\n");
			continue;
		}
		if (*s == '"' || *s == '\\')
			strbuf_addc(out, '\\');
		strbuf_addc(out, *s);
	}
}

static void add_labels(struct strbuf *out, va_list ap)
{
	const char *label, *value, *sep = "{";

	while ((label = va_arg(ap, const char *))) {
		value = va_arg(ap, const char *);
		strbuf_addf(out, "%s%s=\"", sep, label);
		add_escaped(out, value ? value : "");
		strbuf_addc(out, '"');
		sep = ",";
	}
	if (*sep == ',')
		strbuf_addc(out, '}');
}

void metric_put(struct strbuf *out, const char *name, double value, ...)
{
	va_list ap;

	strbuf_adds(out, name);
	va_start(ap, value);
	add_labels(out, ap);
	va_end(ap);
	/* Counters stay exact as long as a double can hold them. */
	if (fabs(value) < 9e15 && value == floor(value))
		strbuf_addf(out, " %.0f\n", value);
	else
		strbuf_addf(out, " %.9g\n", value);
}

void metric_one(struct strbuf *out, const char *name, const char *type, const char *help,
		double value)
{
	metric_family(out, name, type, help);
	metric_put(out, name, value, NULL);
}

/* ---- the process -------------------------------------------------------------------------- */

/* Field n (1: the pid) of /proc/self/stat, whose second field may hold blanks. */
static unsigned long long stat_field(const char *text, int n)
{
	const char *p = strrchr(text, ')');

	for (int i = 2; p && i < n; i++)
		p = strchr(p + 1, ' ');
	return p ? strtoull(p + 1, NULL, 10) : 0;
}

static unsigned open_files(void)
{
	auto_dir DIR *d = opendir("/proc/self/fd");
	const struct dirent *e;
	unsigned n = 0;

	while (d && (e = readdir(d)))
		n += *e->d_name != '.';
	return n > 0 ? n - 1 : 0; /* without the one that reads the directory */
}

/* Seconds since the epoch at which the machine was started. */
static double boot_time(void)
{
	auto_free char *text = NULL;
	const char *at;
	size_t len;

	if (file_read("/proc/stat", 1 << 20, &text, &len) < 0 || !(at = strstr(text, "\nbtime ")))
		return 0;
	return (double)strtoll(at + strlen("\nbtime "), NULL, 10);
}

static void process_metrics(struct strbuf *out)
{
	enum { UTIME = 14, STIME = 15, STARTED = 22, VSIZE = 23, RSS = 24 };
	double hz = (double)sysconf(_SC_CLK_TCK), page = (double)sysconf(_SC_PAGESIZE);
	auto_free char *stat = NULL;
	struct rlimit files = {0};
	size_t len;

	if (file_read("/proc/self/stat", 4096, &stat, &len) < 0)
		return;
	getrlimit(RLIMIT_NOFILE, &files);
	metric_one(out, "process_cpu_seconds_total", "counter",
		   "Total user and system CPU time spent in seconds.",
		   (double)(stat_field(stat, UTIME) + stat_field(stat, STIME)) / hz);
	metric_one(out, "process_start_time_seconds", "gauge",
		   "Start time of the process since unix epoch in seconds.",
		   boot_time() + (double)stat_field(stat, STARTED) / hz);
	metric_one(out, "process_resident_memory_bytes", "gauge", "Resident memory size in bytes.",
		   (double)stat_field(stat, RSS) * page);
	metric_one(out, "process_virtual_memory_bytes", "gauge", "Virtual memory size in bytes.",
		   (double)stat_field(stat, VSIZE));
	metric_one(out, "process_open_fds", "gauge", "Number of open file descriptors.",
		   open_files());
	metric_one(out, "process_max_fds", "gauge", "Maximum number of open file descriptors.",
		   (double)files.rlim_cur);
}

void metrics_collect(struct strbuf *out)
{
	process_metrics(out);
	list_foreach (&collectors, c, struct collector, node)
		c->fn(c->arg, out);
}
