/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Durations as `kubectl get` prints them, and IntOrString.
 */
#include "internal.h"

#define MINUTE INT64_C(60)
#define HOUR (60 * MINUTE)
#define DAY (24 * HOUR)
#define YEAR (365 * DAY)

/* Below `below` seconds the duration is written in `unit`, and `rest` of what is over (0: none). */
static const struct {
	int64_t below;
	int64_t unit;
	char unit_name;
	int64_t rest;
	char rest_name;
} scales[] = {
	{2 * MINUTE, 1, 's', 0, 0},    {10 * MINUTE, MINUTE, 'm', 1, 's'},
	{3 * HOUR, MINUTE, 'm', 0, 0}, {8 * HOUR, HOUR, 'h', MINUTE, 'm'},
	{2 * DAY, HOUR, 'h', 0, 0},    {8 * DAY, DAY, 'd', HOUR, 'h'},
	{2 * YEAR, DAY, 'd', 0, 0},    {8 * YEAR, YEAR, 'y', DAY, 'd'},
	{INT64_MAX, YEAR, 'y', 0, 0},
};

char *human_duration(char buf[static 24], int64_t seconds)
{
	size_t i = 0;

	/* A clock that is a little off shows as "just now". */
	if (seconds < 0) {
		snprintf(buf, 24, "%s", seconds == -1 ? "0s" : "<invalid>");
		return buf;
	}
	while (seconds >= scales[i].below && i + 1 < ARRAY_SIZE(scales))
		i++;
	unsigned units = (unsigned)(seconds / scales[i].unit), rest = 0;
	if (scales[i].rest)
		rest = (unsigned)(seconds % scales[i].unit / scales[i].rest);
	if (rest)
		snprintf(buf, 24, "%u%c%u%c", units, scales[i].unit_name, rest,
			 scales[i].rest_name);
	else
		snprintf(buf, 24, "%u%c", units, scales[i].unit_name);
	return buf;
}

int64_t int_or_percent(const json_t *v, int64_t total, bool round_up, int64_t fallback)
{
	auto_free char *number = NULL;
	const char *s = json_string_value(v);
	int64_t percent, product;

	if (json_is_integer(v))
		return json_integer_value(v);
	if (!s || !str_ends(s, "%"))
		return fallback;
	number = xstrndup(s, strlen(s) - 1);
	if (str_to_i64(number, 0, INT32_MAX, &percent) < 0 ||
	    __builtin_mul_overflow(percent, total, &product))
		return fallback;
	return product / 100 + (round_up && product % 100 > 0);
}
