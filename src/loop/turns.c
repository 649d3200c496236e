/* SPDX-License-Identifier: Apache-2.0 */
/* How long turns take: what one of them may keep everything else waiting. */
#include "internal.h"
#include <time.h>

static const struct {
	uint64_t us;
	const char *name;
} bounds[TURN_BOUNDS] = {{1000, "<=1ms"},   {2000, "<=2ms"},   {5000, "<=5ms"},
			 {10000, "<=10ms"}, {20000, "<=20ms"}, {50000, "<=50ms"}};

/* Processor time, in microseconds: waiting is none, and neither is being kept off by others. */
static uint64_t thread_time(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
	return (uint64_t)ts.tv_sec * USEC_PER_SEC + (uint64_t)ts.tv_nsec / 1000;
}

static void add(struct turn_times *t, uint64_t us)
{
	size_t i = 0;

	while (i < TURN_BOUNDS && us > bounds[i].us)
		i++;
	t->upto[i]++;
	t->turns++;
	if (us > t->longest_us)
		t->longest_us = us;
}

void turn_note(struct loop *loop)
{
	uint64_t now = thread_time();

	if (loop->cpu_us) { /* the first began before the loop did */
		add(&loop->times, now - loop->cpu_us);
		add(&loop->times_lately, now - loop->cpu_us);
	}
	loop->cpu_us = now;
}

static void put_times(json_t *rows, const char *since, const struct turn_times *t)
{
	json_t *row = json_object();

	json_put_str(row, "since", since);
	json_put_int(row, "turns", (json_int_t)t->turns);
	for (size_t i = 0; i < TURN_BOUNDS; i++)
		json_object_set_new(row, bounds[i].name, json_integer((json_int_t)t->upto[i]));
	json_put_int(row, "longer", (json_int_t)t->upto[TURN_BOUNDS]);
	json_put_int(row, "longest us", (json_int_t)t->longest_us);
	json_array_append_new(rows, row);
}

void loop_show_turns(void *arg, json_t *rows)
{
	struct loop *loop = arg;

	put_times(rows, "start", &loop->times);
	put_times(rows, "last asked", &loop->times_lately);
	loop->times_lately = (struct turn_times){0};
}
