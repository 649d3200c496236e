/* SPDX-License-Identifier: Apache-2.0 */
#include "usage.h"

/* Below, a rate is noise; the earlier figure stays. */
#define WINDOW_MIN_US (100 * USEC_PER_MSEC)
/* The window starts anew from here on, so that it tells of the present. */
#define WINDOW_FULL_US (15 * USEC_PER_SEC)

void usage_start(struct usage *u, mono_t now, uint64_t cpu_us)
{
	*u = (struct usage){.base = now, .base_cpu_us = cpu_us, .cpu_us = cpu_us};
}

void usage_sample(struct usage *u, mono_t now, uint64_t cpu_us, uint64_t memory)
{
	uint64_t window = mono_sub(now, u->base);

	if (u->base.us == 0 || cpu_us < u->cpu_us)
		usage_start(u, now, cpu_us);
	u->cpu_us = cpu_us;
	u->memory = memory;
	if (mono_sub(now, u->base) < WINDOW_MIN_US)
		return;
	u->nano = (uint64_t)((double)(cpu_us - u->base_cpu_us) * 1e9 / (double)window);
	u->window_us = window;
	if (window >= WINDOW_FULL_US) {
		u->base = now;
		u->base_cpu_us = cpu_us;
	}
}

uint64_t usage_parse_stat(const char *text, long ticks_per_second)
{
	/* cpu user nice system idle iowait irq softirq steal guest guest_nice (proc_stat(5)); the
	 * guests' time is part of user and nice. */
	static const bool busy[] = {true, true, true, false, false, true, true, false};
	uint64_t ticks = 0;
	char *p;

	if (!str_starts(text, "cpu "))
		return 0;
	p = (char *)(uintptr_t)text + strlen("cpu ");
	for (size_t i = 0; i < ARRAY_SIZE(busy); i++) {
		uint64_t n = strtoull(p, &p, 10);

		ticks += busy[i] ? n : 0;
	}
	return ticks * USEC_PER_SEC / (uint64_t)ticks_per_second;
}

/* "Key:   123 kB" in bytes. */
static uint64_t meminfo_value(const char *text, const char *key)
{
	const char *at = strstr(text, key);

	return at ? strtoull(at + strlen(key), NULL, 10) * 1024 : 0;
}

uint64_t usage_parse_meminfo(const char *text)
{
	uint64_t used = meminfo_value(text, "MemTotal:"),
		 not_used[] = {
			 meminfo_value(text, "MemFree:"),
			 meminfo_value(text, "Inactive(file):"),
		 };

	for (size_t i = 0; i < ARRAY_SIZE(not_used); i++)
		used = used > not_used[i] ? used - not_used[i] : 0;
	return used;
}
