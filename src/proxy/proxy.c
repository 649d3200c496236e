/* SPDX-License-Identifier: Apache-2.0 */
/* The set of frontends, the bound on sessions, the pool of pipes. */
#include "internal.h"
#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

enum {
	UDP_IDLE_SECONDS = 60,
	SESSIONS_SPARE_FDS = 256, /* left for everything else in the process */
	SESSIONS_MAX = 100000,
	PIPE_BYTES = 256 * 1024,
};

char *sockaddr_text(char buf[static ADDR_TEXT_MAX], const struct sockaddr_in *a)
{
	struct addr addr = {.len = sizeof(*a)};

	memcpy(&addr.ss, a, sizeof(*a));
	addr.ss.ss_family = AF_INET;
	return addr_format(buf, &addr);
}

/* A session is two descriptors, and while it is bulky two pipes. */
static uint32_t default_sessions(void)
{
	struct rlimit files = {.rlim_cur = 1024};

	getrlimit(RLIMIT_NOFILE, &files);
	if (files.rlim_cur / 3 > SESSIONS_MAX + SESSIONS_SPARE_FDS)
		return SESSIONS_MAX;
	return files.rlim_cur > 2 * SESSIONS_SPARE_FDS
		       ? (uint32_t)(files.rlim_cur - SESSIONS_SPARE_FDS) / 3
		       : 64;
}

static void show_frontends(void *arg, json_t *rows)
{
	struct proxy *p = arg;
	size_t i = 0;
	void *value;

	while (map_next(&p->frontends, &i, NULL, &value)) {
		struct frontend *f = value;
		char text[ADDR_TEXT_MAX];
		json_t *row = json_object();

		json_put_str(row, "service", f->name);
		json_put_str(row, "protocol", f->protocol == IPPROTO_UDP ? "udp" : "tcp");
		json_put_str(row, "listen", sockaddr_text(text, &f->listen));
		json_put_int(row, "backends", (int64_t)f->n_backends);
		json_put_int(row, "connections", (int64_t)f->connections);
		json_put_str(row, "trouble", f->trouble ? f->trouble : "");
		json_array_append_new(rows, row);
	}
}

static void show_sessions(void *arg, json_t *rows)
{
	tcp_show(arg, rows);
	udp_show(arg, rows);
}

static void proxy_metrics(void *arg, struct strbuf *out)
{
	const struct proxy *p = arg;

	metric_one(out, "coracle_proxy_frontends", "gauge",
		   "Addresses of services that are balanced.", (double)p->frontends.n);
	metric_one(out, "coracle_proxy_sessions", "gauge", "Connections and UDP flows open.",
		   (double)p->stats.sessions);
	metric_one(out, "coracle_proxy_connections_total", "counter",
		   "Connections and UDP flows taken.", (double)p->stats.connections);
}

struct proxy *proxy_new(struct loop *loop, const struct proxy_config *config)
{
	struct proxy *p = xnew(struct proxy);

	p->loop = loop;
	p->config = *config;
	if (!p->config.udp_idle_seconds)
		p->config.udp_idle_seconds = UDP_IDLE_SECONDS;
	if (!p->config.max_sessions)
		p->config.max_sessions = default_sessions();
	list_init(&p->tcp);
	list_init(&p->udp);
	p->janitor = timer_new(loop, udp_janitor, p);
	p->scratch = xmalloc(PROXY_SCRATCH);
	random_bytes(&p->turn, sizeof(p->turn));
	show_register("proxy", show_frontends, p);
	show_register("sessions", show_sessions, p);
	metrics_register("proxy", proxy_metrics, p);
	return p;
}

static void proxy_bury(void *arg)
{
	struct proxy *p = arg;

	free(p->scratch);
	free(p);
}

void proxy_free(struct proxy *p)
{
	size_t i = 0;
	void *f;

	if (!p)
		return;
	show_unregister("proxy");
	show_unregister("sessions");
	metrics_unregister("proxy");
	tcp_close_all(p);
	udp_close_all(p);
	while (map_next(&p->frontends, &i, NULL, &f))
		frontend_close(f);
	map_done(&p->frontends);
	timer_free(p->janitor);
	while (p->n_pipes--) {
		fd_close(p->pipes[p->n_pipes][0]);
		fd_close(p->pipes[p->n_pipes][1]);
	}
	loop_free_later(p->loop, proxy_bury, p);
}

enum { KEY_MAX = ADDR_TEXT_MAX + 8 };

static const char *key_of(char key[static KEY_MAX], const struct proxy_frontend *config)
{
	char text[ADDR_TEXT_MAX];

	snprintf(key, KEY_MAX, "%s %s", config->protocol == IPPROTO_UDP ? "udp" : "tcp",
		 sockaddr_text(text, &config->listen));
	return key;
}

static void take(struct proxy *p, const struct proxy_frontend *config)
{
	char key[KEY_MAX];
	struct frontend *f = map_get(&p->frontends, key_of(key, config));

	if (f)
		frontend_update(f, config);
	else
		map_put(&p->frontends, key, frontend_new(p, config, key));
}

void proxy_set(struct proxy *p, const struct proxy_frontend *frontends, size_t n)
{
	size_t i = 0;
	void *value;
	char key[KEY_MAX];

	for (size_t k = 0; k < n; k++) {
		struct frontend *f = map_get(&p->frontends, key_of(key, &frontends[k]));

		if (f)
			f->seen = true;
	}
	/* Those that go, go first: a new one may want the port at another address, or at all. */
	while (map_next(&p->frontends, &i, NULL, &value)) {
		struct frontend *f = value;

		if (!f->seen) {
			map_del(&p->frontends, f->key);
			frontend_close(f);
			continue;
		}
		f->seen = false;
	}
	for (size_t k = 0; k < n; k++)
		take(p, &frontends[k]);
}

static void pause_all(struct proxy *p, bool pause)
{
	size_t i = 0;
	void *f;

	p->full = pause;
	while (map_next(&p->frontends, &i, NULL, &f))
		frontend_pause(f, pause);
}

bool session_enter(struct proxy *p)
{
	if (p->stats.sessions >= p->config.max_sessions)
		return false;
	if (++p->stats.sessions == p->config.max_sessions) {
		log_warn("proxy: %zu sessions, no more are accepted", p->stats.sessions);
		pause_all(p, true);
	}
	return true;
}

void session_leave(struct proxy *p)
{
	p->stats.sessions--;
	if (p->full && p->stats.sessions <= p->config.max_sessions - p->config.max_sessions / 16)
		pause_all(p, false);
}

int pipe_take(struct proxy *p, int fds[2])
{
	if (p->pipes_out >= PROXY_PIPES_OUT)
		return -EMFILE;
	if (p->n_pipes) {
		memcpy(fds, p->pipes[--p->n_pipes], 2 * sizeof(int));
		p->pipes_out++;
		return 0;
	}
	if (pipe2(fds, O_CLOEXEC | O_NONBLOCK) < 0) {
		fds[0] = fds[1] = -1;
		return -errno;
	}
	p->pipes_out++;
	fcntl(fds[0], F_SETPIPE_SZ, PIPE_BYTES); /* refused past the user's limit: then as it is */
	return 0;
}

void pipe_give(struct proxy *p, int fds[2], bool empty)
{
	p->pipes_out--;
	if (empty && p->n_pipes < PROXY_PIPES) {
		memcpy(p->pipes[p->n_pipes++], fds, 2 * sizeof(int));
		return;
	}
	fd_close(fds[0]);
	fd_close(fds[1]);
}

void proxy_backend_gone(struct proxy *p, struct in_addr addr)
{
	void *f;

	for (size_t i = 0; map_next(&p->frontends, &i, NULL, &f);)
		frontend_drop(f, addr);
	tcp_backend_gone(p, addr);
}

void proxy_get_stats(const struct proxy *p, struct proxy_stats *ret)
{
	*ret = p->stats;
}
