/* SPDX-License-Identifier: Apache-2.0 */
/* coracled: start, the turn and its named phases, stop. */
#include "internal.h"
#include "config.h"
#include <malloc.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

/* So long may deferred work keep proxied connections and DNS answers waiting. */
#define DEFERRED_BUDGET_US (1 * USEC_PER_MSEC)

static void on_signal(void *arg, int signo)
{
	struct daemon *d = arg;

	log_info("signal %d: stopping, containers go on", signo);
	notify_send("STOPPING=1\nSTATUS=Stopping; containers go on");
	d->stopping = true;
}

static void on_dump(void *arg, int signo UNUSED)
{
	struct daemon *d = arg;

	loop_dump(d->loop);
	malloc_trim(0);
}

/* Turns the log up and down without a restart. */
static void on_log(void *arg UNUSED, int signo UNUSED)
{
	log_set_level(log_get_level() == LOG_LEVEL_DEBUG ? LOG_LEVEL_INFO : LOG_LEVEL_DEBUG);
}

static const struct {
	int signo;
	sig_fn *fn;
} signals[] = {{SIGTERM, on_signal}, {SIGINT, on_signal}, {SIGUSR1, on_dump}, {SIGUSR2, on_log}};

/* One turn. The order matters: what callbacks and reconciles have written is handed to the disk
 * before the loop sleeps, and nothing is freed while somebody may still look at it. */
static int loop_turn(struct daemon *d)
{
	int r;

	loop_refresh(d->loop);			    /* read the clock */
	r = loop_poll(d->loop);			    /* descriptors, timers, children */
	loop_deferred(d->loop, DEFERRED_BUDGET_US); /* watches, reconciles */
	store_flush(d->store);			    /* one batch to the writer */
	loop_bury(d->loop);			    /* free what was closed */
	quiet_turn(d->quiet);			    /* count towards the next trim */
	return r;
}

static void say_ready(const struct daemon *d)
{
	auto_free char *state =
		xasprintf("READY=1\nMAINPID=%d\nSTATUS=Node %s is up", getpid(), d->o->node_name);

	log_info("node %s: %u kinds, API on %s%s%s", d->o->node_name, (unsigned)n_schema_kinds,
		 d->o->api_socket, d->api_addr.len ? " and " : "",
		 d->api_addr.len ? d->o->api_listen : "");
	notify_send(state);
}

static int run(struct daemon *d)
{
	struct sig *handlers[ARRAY_SIZE(signals)];
	auto_err err = {0};
	int r = parts_start(d, &err);

	if (r < 0) {
		log_error("cannot start: %s", err_message(&err));
		loop_bury(d->loop);
		return 1;
	}
	for (size_t i = 0; i < ARRAY_SIZE(signals); i++)
		handlers[i] = sig_new(d->loop, signals[i].signo, signals[i].fn, d);
	say_ready(d);
	while (r == 0 && !d->stopping)
		r = loop_turn(d);
	for (size_t i = 0; i < ARRAY_SIZE(signals); i++)
		sig_free(handlers[i]);
	parts_stop(d);
	loop_bury(d->loop);
	return r < 0 ? 1 : 0;
}

static void set_up_process(const struct options *o)
{
	enum log_level level;

	mallopt(M_ARENA_MAX, 1);
	mallopt(M_MXFAST,
		0); /* else what many frees left to do is done by a later one, all at once */
	mallopt(M_TRIM_THRESHOLD, 128 * 1024);
	mallopt(M_MMAP_THRESHOLD, 64 * 1024); /* big buffers go straight back */
	umask(022);
	if (log_level_parse(o->log_level, &level) == 0)
		log_set_level(level);
}

int daemon_main(int argc, char **argv)
{
	struct options o = {0};
	struct daemon d = {.o = &o, .lock_fd = -1};
	auto_err err = {0};
	int code = 0;

	if (options_load(&o, argc, argv, &err) < 0) {
		fprintf(stderr, "coracled: %s\n", err_message(&err));
		code = 2;
	} else if (o.help) {
		options_usage(stdout);
	} else if (o.version) {
		puts("coracled " PACKAGE_VERSION);
	} else if (o.stop_pods) {
		code = stop_pods(&o);
	} else if (!o.check_config) {
		set_up_process(&o);
		d.loop = loop_new();
		code = run(&d);
		loop_free(d.loop);
	}
	options_done(&o);
	return code;
}
