/* SPDX-License-Identifier: Apache-2.0 */
/*
 * usage: CPU time that only grows, and a memory size, as a rate over a window. Nothing runs by
 * itself: whoever asks takes a sample, and the rate is that since an earlier one. Pure: the clock
 * is handed in.
 */
#ifndef CORACLE_NODE_USAGE_H
#define CORACLE_NODE_USAGE_H

#include <coracle/base.h>

struct usage {
	mono_t base; /* the earlier sample; 0: none */
	uint64_t base_cpu_us;
	uint64_t cpu_us; /* the newest sample */
	uint64_t memory; /* bytes that cannot be taken back without harm */
	uint64_t nano;	 /* billionths of a CPU in use, over the window */
	uint64_t window_us;
};

/* The rate is known from here on (a container has started), or only after the next sample. */
void usage_start(struct usage *u, mono_t now, uint64_t cpu_us);
void usage_sample(struct usage *u, mono_t now, uint64_t cpu_us, uint64_t memory);
/* false: there was but one sample yet. */
static inline bool usage_known(const struct usage *u)
{
	return u->window_us > 0;
}

/* CPU time in microseconds of the first line of /proc/stat, without idle and waiting. */
uint64_t usage_parse_stat(const char *text, long ticks_per_second);
/* The node's working set from /proc/meminfo: used, without file pages that were not touched lately
 * (as kubelet counts it). */
uint64_t usage_parse_meminfo(const char *text);

#endif
