/* SPDX-License-Identifier: Apache-2.0 */
/*
 * After a restart of the daemon: every directory below <run-dir>/sandbox is a sandbox that either
 * answers on its socket, and is handed to its new owner, or is dead, and is cleaned away.
 */
#include "internal.h"

#define ANSWER_WITHIN_US (2 * USEC_PER_SEC)

struct adoption {
	runtime_adopt_fn *fn;
	void (*done)(void *arg);
	void *arg;
	size_t pending;
	struct work work; /* calls done, never from inside runtime_adopt() */
};

static void on_done(void *arg)
{
	struct runtime *rt = arg;
	struct adoption *a = steal_ptr(rt->adoption);

	a->done(a->arg);
	free(a);
}

static void answered(struct runtime *rt)
{
	if (rt->adoption && --rt->adoption->pending == 0)
		work_queue(rt->loop, &rt->adoption->work);
}

static void fill(struct adopted_container *to, const struct container *from)
{
	*to = (struct adopted_container){
		.id = from->id,
		.name = from->name,
		.attempt = from->attempt,
		.running = from->state != PROTO_STATE_ENDED,
		.pid = from->pid,
		.started_at = from->started_at,
		.exit = from->exit,
	};
}

static void hand_over(struct sandbox *s)
{
	struct adopted_container *list;
	size_t n = 0;

	list_foreach (&s->containers, c, struct container, node)
		n++;
	list = xcalloc(n + 1, sizeof(*list));
	n = 0;
	list_foreach (&s->containers, c, struct container, node) {
		c->told_ended = c->state == PROTO_STATE_ENDED;
		/* A queued one counts as running; the owner is told when it really does. */
		c->told_running = c->state == PROTO_STATE_RUNNING;
		fill(&list[n++], c);
	}
	s->rt->adoption->fn(s->rt->adoption->arg, s, s->id, s->note, list, n);
	free(list);
	if (!s->ops) {
		log_info("sandbox %s/%s (%s) is wanted by nobody: stopped", s->ns, s->name, s->id);
		sandbox_stop(s);
	}
}

void adoption_answered(struct sandbox *s)
{
	s->adopting = false;
	if (!s->rt->adoption)
		return;
	if (s->state == SANDBOX_READY)
		hand_over(s);
	answered(s->rt);
}

void adoption_free(struct runtime *rt)
{
	if (rt->adoption)
		work_cancel(&rt->adoption->work);
	free(steal_ptr(rt->adoption));
}

static void adopt_one(struct runtime *rt, const char *id)
{
	struct sandbox *s = sandbox_new(rt, id);
	int r = sandbox_load(s);

	rt->adoption->pending++;
	s->adopting = true;
	sandbox_set_state(s, SANDBOX_ADOPTING);
	if (r == 0)
		r = link_open(s);
	if (r == 0) {
		timer_arm(s->timer, ANSWER_WITHIN_US);
		return;
	}
	log_info("sandbox %s is gone: cleaning up", id);
	sandbox_end(s, "the sandbox had ended");
}

void runtime_adopt(struct runtime *rt, runtime_adopt_fn *fn, void (*done)(void *arg), void *arg)
{
	auto_dir DIR *dir = opendir(rt->run_dir);
	const struct dirent *e;

	rt->adoption = xnew(struct adoption);
	*rt->adoption = (struct adoption){.fn = fn, .done = done, .arg = arg, .pending = 1};
	work_init(&rt->adoption->work, on_done, rt);
	while (dir && (e = readdir(dir)))
		if (e->d_name[0] != '.')
			adopt_one(rt, e->d_name);
	answered(rt);
}
