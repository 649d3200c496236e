/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory of an idle daemon, and what `coracle show` tells of it and of the loop. After a burst of
 * work the heap is trimmed and program text that only the burst needed is unmapped from our page
 * tables (madvise(2), MADV_DONTNEED on file mappings that were never written): what is used again
 * comes back from the page cache by a minor fault. Costs one timer shot after a burst, nothing
 * while idle.
 */
#include "internal.h"
#include <malloc.h>
#include <sys/mman.h>

#define QUIET_AFTER_US (5 * USEC_PER_SEC)
enum {
	QUIET_TURNS = 200, /* so many turns are worth a trim */
	QUIET_BUSY = 100,  /* more than these between two looks: the burst goes on */
	SMAPS_LINE = 512,
};

struct quiet {
	struct loop *loop;
	struct timer *timer;
	uint64_t trimmed; /* turns at the last trim */
	uint64_t seen;	  /* turns at the last look */
};

struct mapping {
	unsigned long start, end;
	bool droppable; /* of a file, not writable */
};

/* "start-end perms offset dev inode path" (proc(5), smaps) */
static bool parse_mapping(const char *line, struct mapping *m)
{
	char perms[5];
	unsigned long inode;

	if (sscanf(line, "%lx-%lx %4s %*x %*x:%*x %lu", &m->start, &m->end, perms, &inode) != 4)
		return false;
	m->droppable = inode && perms[0] == 'r' && perms[1] == '-' && perms[3] == 'p';
	return true;
}

static void drop(const struct mapping *m)
{
	if (m->droppable && m->end > m->start)
		madvise((void *)m->start, m->end - m->start, MADV_DONTNEED); /* best effort */
}

/* A mapping with private pages (relocations) keeps them: they are in no file. */
static void drop_clean_text(void)
{
	auto_file FILE *f = fopen("/proc/self/smaps", "re");
	char line[SMAPS_LINE];
	struct mapping m = {0}, next;
	unsigned long kb;

	while (f && fgets(line, sizeof(line), f)) {
		if (parse_mapping(line, &next)) {
			drop(&m);
			m = next;
		} else if (sscanf(line, "Anonymous: %lu", &kb) == 1 && kb) {
			m.droppable = false;
		}
	}
	drop(&m);
}

static void look_later(struct quiet *q)
{
	q->seen = loop_turns(q->loop);
	timer_arm(q->timer, QUIET_AFTER_US);
}

static void on_quiet(void *arg)
{
	struct quiet *q = arg;

	if (loop_turns(q->loop) - q->seen > QUIET_BUSY) {
		look_later(q);
		return;
	}
	q->trimmed = loop_turns(q->loop);
	malloc_trim(0);
	drop_clean_text();
}

static void put_row(json_t *rows, const char *what, uint64_t kb)
{
	json_t *row = json_object();

	json_put_str(row, "memory", what);
	json_put_int(row, "kB", (int64_t)kb);
	json_array_append_new(rows, row);
}

/* The kernel's view of the process and the allocator's of the heap. */
static void show_memory(void *arg UNUSED, json_t *rows)
{
	static const struct {
		const char *field, *what;
	} fields[] = {{"Rss", "resident"}, {"Pss", "proportional"}, {"Anonymous", "anonymous"}};
	auto_file FILE *f = fopen("/proc/self/smaps_rollup", "re");
	struct mallinfo2 heap = mallinfo2();
	char line[SMAPS_LINE], field[32];
	unsigned long kb;

	while (f && fgets(line, sizeof(line), f))
		for (size_t i = 0; i < ARRAY_SIZE(fields); i++)
			if (sscanf(line, "%31[^:]: %lu", field, &kb) == 2 &&
			    streq(field, fields[i].field))
				put_row(rows, fields[i].what, kb);
	put_row(rows, "heap, used", (heap.uordblks + heap.hblkhd) / 1024);
	put_row(rows, "heap, free", heap.fordblks / 1024);
	put_row(rows, "large values", json_values_size() / 1024);
}

struct quiet *quiet_new(struct loop *loop)
{
	struct quiet *q = xnew(struct quiet);

	show_register("memory", show_memory, NULL);
	show_register("loop", loop_show_turns, loop);
	show_register("timers", loop_show_timers, loop);
	show_register("listeners", loop_show_listeners, loop);
	q->loop = loop;
	q->timer = timer_new(loop, on_quiet, q);
	look_later(q);
	return q;
}

void quiet_turn(struct quiet *q)
{
	if (loop_turns(q->loop) - q->trimmed >= QUIET_TURNS && !timer_armed(q->timer))
		look_later(q);
}

void quiet_free(struct quiet *q)
{
	if (!q)
		return;
	show_unregister("loop");
	show_unregister("memory");
	show_unregister("timers");
	show_unregister("listeners");
	timer_free(q->timer);
	free(q);
}
