/* SPDX-License-Identifier: Apache-2.0 */
/* The schedule and the thresholds (upstream: prober/worker.go). */
#include "internal.h"

struct probe {
	struct loop *loop;
	struct target target;
	const struct probe_ops *ops;
	void *arg;
	mono_t started;
	struct timer *next;
	struct check check;
	mono_t began; /* the present check */
	bool ok;      /* the verdict */
	bool last;    /* the last result */
	uint32_t run; /* how often in a row it came */
	bool judged;  /* a verdict has been given */
	bool paused, checking, stopped;
};

static void schedule(struct probe *p, uint64_t after_us)
{
	if (!p->paused && !p->stopped)
		timer_arm(p->next, after_us);
}

static void judge(struct probe *p, bool ok, const char *why)
{
	const struct probe_config *c = &p->target.config;

	p->run = p->run && p->last == ok ? p->run + 1 : 1;
	p->last = ok;
	if (!ok && p->ops->on_failure)
		p->ops->on_failure(p->arg, why);
	if (ok && *why && p->ops->on_warning)
		p->ops->on_warning(p->arg, why);
	/* A probe that was never good (startup) is told that it has failed, too. */
	if (p->stopped || (p->ok == ok && (ok || p->judged)) ||
	    p->run < (ok ? c->success_threshold : c->failure_threshold))
		return;
	p->ok = ok;
	p->judged = true;
	p->ops->on_verdict(p->arg, ok, ok ? "" : why);
}

static void on_result(void *arg, bool ok, const char *why)
{
	struct probe *p = arg;

	p->checking = false;
	judge(p, ok, why);
	/* The period is from start to start, as kubelet's ticker has it. */
	schedule(p,
		 mono_sub(mono_add(p->began, p->target.config.period * USEC_PER_SEC), mono_now()));
}

static void on_turn(void *arg)
{
	struct probe *p = arg;
	const struct probe_config *c = &p->target.config;

	p->checking = true;
	p->began = mono_now();
	if (c->kind != PROBE_EXEC)
		check_start(&p->check);
	else if (p->ops->run_exec)
		p->ops->run_exec(p->arg, p, c->argv, c->timeout);
	else
		on_result(p, false, "exec probes are not supported here");
}

struct probe *probe_start(struct loop *loop, const struct probe_config *config, mono_t started,
			  const struct probe_ops *ops, void *arg)
{
	struct probe *p = xnew(struct probe);
	mono_t first = mono_add(started, config->initial_delay * USEC_PER_SEC);

	p->loop = loop;
	probe_target_init(&p->target, config);
	p->ops = ops;
	p->arg = arg;
	p->started = started;
	p->ok = config->initially_ok;
	p->next = timer_new(loop, on_turn, p);
	check_init(&p->check, loop, &p->target, on_result, p);
	schedule(p, mono_sub(first, mono_now()));
	return p;
}

void probe_exec_done(struct probe *p, int code, bool timed_out, const char *output)
{
	auto_free char *why = NULL;

	if (!p->checking || p->stopped)
		return;
	if (timed_out)
		why = xasprintf("command timed out: \"%s\" timed out after %us",
				p->target.argv[0] ? p->target.argv[0] : "",
				p->target.config.timeout);
	else
		why = xstrdup(code && output ? output : "");
	on_result(p, code == 0 && !timed_out, why);
}

void probe_pause(struct probe *p, bool pause)
{
	mono_t first = mono_add(p->started, p->target.config.initial_delay * USEC_PER_SEC);

	if (p->paused == pause || p->stopped)
		return;
	p->paused = pause;
	if (pause)
		timer_disarm(p->next);
	else if (!p->checking)
		schedule(p, mono_sub(first, mono_now()));
}

bool probe_ok(const struct probe *p)
{
	return p->ok;
}

static void probe_bury(void *arg)
{
	struct probe *p = arg;

	probe_target_done(&p->target);
	free(p);
}

void probe_stop(struct probe *p)
{
	if (!p || p->stopped)
		return;
	p->stopped = true;
	if (p->checking && p->target.config.kind == PROBE_EXEC && p->ops->cancel_exec)
		p->ops->cancel_exec(p->arg, p);
	timer_free(p->next);
	check_free(&p->check);
	loop_free_later(p->loop, probe_bury, p);
}

struct probe_once {
	struct loop *loop;
	struct target target;
	struct check check;
	struct work start; /* so that done never comes from inside probe_run_once() */
	void (*done)(void *arg, bool ok, const char *why);
	void *arg;
	bool over;
};

static void once_bury(void *arg)
{
	struct probe_once *o = arg;

	probe_target_done(&o->target);
	free(o);
}

void probe_once_cancel(struct probe_once *o)
{
	if (!o || o->over)
		return;
	o->over = true;
	work_cancel(&o->start);
	check_free(&o->check);
	loop_free_later(o->loop, once_bury, o);
}

static void once_result(void *arg, bool ok, const char *why)
{
	struct probe_once *o = arg;

	probe_once_cancel(o);
	o->done(o->arg, ok, why);
}

static void once_start(void *arg)
{
	struct probe_once *o = arg;

	check_start(&o->check);
}

struct probe_once *probe_run_once(struct loop *loop, const struct probe_config *config,
				  void (*done)(void *arg, bool ok, const char *why), void *arg)
{
	struct probe_once *o = xnew(struct probe_once);

	o->loop = loop;
	probe_target_init(&o->target, config);
	o->done = done;
	o->arg = arg;
	check_init(&o->check, loop, &o->target, once_result, o);
	work_init(&o->start, once_start, o);
	work_queue(loop, &o->start);
	return o;
}
