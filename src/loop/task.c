/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tasks: long computing in slices, one a turn. Those that have begun take turns among themselves;
 * how many that are is bounded by the size of what they work on, the others wait in their order.
 *
 * What is retired while a task is under way may have been borrowed by it, and is freed behind it:
 * each task has a number, and what is retired remembers the newest number there was.
 */
#include "internal.h"
#include "fiber.h"

/* Values take some ten times the size of their text: this bounds the memory of what is aside. */
#define COST_MAX (4U << 20)
#define RUNNING_MAX 8
#define WAITING_MAX 256

static struct task *current;
static mono_t slice_end;

static void put_aside(void)
{
	if (slice_end.us == UINT64_MAX || mono_before(mono_now(), slice_end))
		return;
	breath_end();
	fiber_yield();
}

bool task_inside(void)
{
	return current != NULL;
}

static void run(void *arg)
{
	struct task *t = arg;

	t->fn(t->arg);
	breath_end();
}

static void task_ended(struct loop *loop, struct task *t)
{
	list_del(&t->node);
	fiber_free(steal_ptr(t->fiber));
	t->state = TASK_IDLE;
	loop->tasks_cost -= t->cost;
	loop->n_tasks--;
}

/* until: when it has to be put aside. */
static void resume(struct loop *loop, struct task *t, mono_t until)
{
	bool ended = true;

	if (!t->fiber)
		t->fiber = fiber_new(run, t);
	current = t;
	slice_end = until;
	if (t->fiber) {
		breath_begin(put_aside);
		ended = fiber_resume(t->fiber);
	} else { /* no memory for a stack: in one go */
		run(t);
	}
	current = NULL;
	if (ended)
		task_ended(loop, t);
}

static void begin(struct loop *loop, struct task *t)
{
	list_add_tail(&loop->tasks, &t->node);
	t->state = TASK_BEGUN;
	t->number = ++loop->task_number;
	loop->tasks_cost += t->cost;
	loop->n_tasks++;
}

/* Lets in who waits, as far as there is room. What is too large for it comes in alone. */
static void let_in(struct loop *loop)
{
	while (!list_empty(&loop->tasks_waiting)) {
		struct task *t = list_entry(loop->tasks_waiting.next, struct task, node);

		if (loop->n_tasks >= RUNNING_MAX ||
		    (loop->tasks_cost && loop->tasks_cost + t->cost > COST_MAX))
			return;
		list_del(&t->node);
		loop->n_tasks_waiting--;
		begin(loop, t);
	}
}

/* One slice of one task; the others' come in the turns that follow. */
static void slice(struct loop *loop)
{
	struct task *t = list_entry(loop->tasks.next, struct task, node);

	loop->task_turn = loop->turns;
	list_del(&t->node);
	list_add_tail(&loop->tasks, &t->node);
	resume(loop, t, mono_add(mono_now(), LOOP_SLICE_US));
	let_in(loop);
	if (!list_empty(&loop->tasks))
		work_queue_next(loop, &loop->task_work);
}

static void on_work(void *arg)
{
	struct loop *loop = arg;

	if (!list_empty(&loop->tasks))
		slice(loop);
}

/* There is another turn, and it ends with retired_bury(). */
static void on_bury_work(void *arg UNUSED)
{
}

static void keep(void *arg, void (*release)(void *), void *ptr)
{
	loop_retire(arg, release, ptr);
}

void tasks_init(struct loop *loop)
{
	list_init(&loop->tasks);
	list_init(&loop->tasks_waiting);
	list_init(&loop->retired);
	work_init(&loop->task_work, on_work, loop);
	work_init(&loop->bury_work, on_bury_work, loop);
	loop->task_turn = UINT64_MAX;
	json_values_breathe();
	breath_keeper(keep, loop);
}

void task_init(struct task *t, void (*fn)(void *), void *arg)
{
	*t = (struct task){.fn = fn, .arg = arg};
	list_init(&t->node);
}

/* What is short is done at once; a turn has one slice. */
static void first_slice(struct loop *loop, const struct task *t)
{
	if (loop->n_tasks == 1 && t->state == TASK_BEGUN && loop->task_turn != loop->turns &&
	    !current)
		slice(loop);
	else
		work_queue_next(loop, &loop->task_work);
}

int task_start(struct loop *loop, struct task *t, size_t cost)
{
	if (t->state != TASK_IDLE)
		return -EALREADY;
	if (loop->n_tasks_waiting >= WAITING_MAX)
		return -EAGAIN;
	t->cost = cost;
	t->state = TASK_WAITING;
	list_add_tail(&loop->tasks_waiting, &t->node);
	loop->n_tasks_waiting++;
	let_in(loop);
	first_slice(loop, t);
	return 0;
}

void task_start_now(struct loop *loop, struct task *t, size_t cost)
{
	if (t->state != TASK_IDLE)
		return;
	t->cost = cost;
	begin(loop, t);
	first_slice(loop, t);
}

bool task_cancel(struct loop *loop, struct task *t)
{
	if (t->state == TASK_WAITING) {
		list_del(&t->node);
		loop->n_tasks_waiting--;
		t->state = TASK_IDLE;
	}
	return t->state == TASK_IDLE;
}

void tasks_finish(struct loop *loop)
{
	mono_t never = {UINT64_MAX};

	while (!list_empty(&loop->tasks)) {
		resume(loop, list_entry(loop->tasks.next, struct task, node), never);
		let_in(loop);
	}
}

/* ---- what may be borrowed ---------------------------------------------------------------- */

struct retired {
	struct list node;
	void (*fn)(void *);
	void *ptr;
	uint64_t number; /* of the newest task that may know it */
};

void loop_retire(struct loop *loop, void (*fn)(void *), void *ptr)
{
	struct retired *r = xnew(struct retired);

	*r = (struct retired){.fn = fn, .ptr = ptr, .number = loop->task_number};
	list_init(&r->node);
	list_add_tail(&loop->retired, &r->node);
	loop->newly_retired++;
}

/* A long task leaves much behind: what does not fit into a slice is left to the next turns. But as
 * much goes as has come, or a loop that is busy for long would keep all. */
void retired_bury(struct loop *loop)
{
	uint64_t oldest = UINT64_MAX;
	mono_t start = mono_now();
	size_t due = loop->newly_retired;

	loop->newly_retired = 0;
	list_foreach (&loop->tasks, t, struct task, node)
		if (t->number < oldest)
			oldest = t->number;
	while (!list_empty(&loop->retired)) {
		struct retired *r = list_entry(loop->retired.next, struct retired, node);

		if (r->number >= oldest)
			break;
		list_del(&r->node);
		r->fn(r->ptr);
		free(r);
		due -= due > 0;
		if (!due && loop_slice_over(start)) {
			work_queue_next(loop, &loop->bury_work);
			return;
		}
	}
}

/* ---- values ------------------------------------------------------------------------------ */

struct discard {
	struct task task;
	struct loop *loop;
	json_t *v;
};

static void discard_run(void *arg)
{
	struct discard *d = arg;

	json_decref(d->v);
	loop_retire(d->loop, free, d);
}

/* It has borrowed nothing, and waits for nobody: it is what makes room. */
static void discard_begin(void *arg)
{
	struct discard *d = arg;

	task_init(&d->task, discard_run, d);
	begin(d->loop, &d->task);
	d->task.number = UINT64_MAX;
	work_queue_next(d->loop, &d->loop->task_work);
}

void loop_discard(struct loop *loop, json_t *v)
{
	struct discard *d = xnew(struct discard);

	d->loop = loop;
	d->v = v;
	loop_retire(loop, discard_begin, d);
}
