/* SPDX-License-Identifier: Apache-2.0 */
/* Timestamps (years 1 to 9999) and durations (nanoseconds in 64 bits), as text and by parts. */
#include "internal.h"

#include <ctype.h>

typedef struct cel_value val;

#define TIME_MIN (-INT64_C(62135596800))
#define TIME_MAX INT64_C(253402300799)

val time_checked(struct cel_run *r, int64_t sec, int64_t nsec)
{
	sec += nsec / NS_PER_SEC;
	nsec %= NS_PER_SEC;
	if (nsec < 0) {
		nsec += NS_PER_SEC;
		sec--;
	}
	if (sec < TIME_MIN || sec > TIME_MAX)
		return cel_error(r, "timestamp overflow");
	return (val){.kind = CEL_TIMESTAMP, .time = {sec, nsec}};
}

val time_from_text(struct cel_run *r, const char *s, size_t n)
{
	auto_free char *text = xstrndup(s, n < 64 ? n : 64);
	struct timespec ts;

	/* a plain date is the start of that day ("format: date") */
	if (n == sizeof("2006-01-02") - 1) {
		auto_free char *whole = xasprintf("%sT00:00:00Z", text);

		if (time_parse(whole, &ts) == 0)
			return time_checked(r, ts.tv_sec, ts.tv_nsec);
	}
	if (n > 64 || time_parse(text, &ts) < 0)
		return cel_error(r, "parsing time \"%s\": cannot parse it as RFC 3339", text);
	return time_checked(r, ts.tv_sec, ts.tv_nsec);
}

/* ---- durations -------------------------------------------------------------------------- */

static int64_t unit_at(const char *s, size_t *len)
{
	static const struct {
		const char *name;
		int64_t ns;
	} units[] = {{"ns", 1},
		     {"us", 1000},
		     {"\xc2\xb5s", 1000},
		     {"\xce\xbcs", 1000},
		     {"ms", 1000000},
		     {"s", NS_PER_SEC},
		     {"m", 60 * NS_PER_SEC},
		     {"h", 3600 * NS_PER_SEC}};

	for (size_t i = 0; i < ARRAY_SIZE(units); i++) {
		if (!str_starts(s, units[i].name))
			continue;
		*len = strlen(units[i].name);
		return units[i].ns;
	}
	return 0;
}

/* Go's time.ParseDuration: "1h15m30.5s". */
static bool parse_duration(const char *s, int64_t *ret)
{
	bool negative = *s == '-';
	__int128 sum = 0;

	s += *s == '-' || *s == '+';
	if (streq(s, "0")) {
		*ret = 0;
		return true;
	}
	if (!*s)
		return false;
	while (*s) {
		__int128 whole = 0, fraction = 0, scale = 1;
		const char *start = s;
		int64_t unit;
		size_t len;

		for (; isdigit((unsigned char)*s); s++)
			whole = whole > INT64_MAX ? whole : whole * 10 + (*s - '0');
		if (*s == '.') {
			for (s++; isdigit((unsigned char)*s); s++) {
				if (scale > NS_PER_SEC * 1000000)
					continue;
				fraction = fraction * 10 + (*s - '0');
				scale *= 10;
			}
		}
		if (s == start || (s == start + 1 && *start == '.') || !(unit = unit_at(s, &len)))
			return false;
		s += len;
		sum += whole * unit + fraction * unit / scale;
		if (sum > (__int128)INT64_MAX + negative)
			return false;
	}
	*ret = (int64_t)(negative ? -sum : sum);
	return true;
}

val duration_from_text(struct cel_run *r, const char *s, size_t n)
{
	auto_free char *text = xstrndup(s, n < 64 ? n : 64);
	int64_t ns;

	if (n > 64 || !parse_duration(text, &ns))
		return cel_error(r, "time: invalid duration \"%s\"", text);
	return val_duration(ns);
}

static void put_fraction(struct strbuf *b, int64_t nsec)
{
	char digits[12];
	size_t n;

	if (!nsec)
		return;
	snprintf(digits, sizeof(digits), ".%09lld", (long long)nsec);
	for (n = strlen(digits); digits[n - 1] == '0';)
		n--;
	strbuf_add(b, digits, n);
}

/* Seconds with a fraction: what CEL makes of a duration. */
void duration_text(struct strbuf *b, int64_t ns)
{
	uint64_t u = ns < 0 ? 0 - (uint64_t)ns : (uint64_t)ns;

	strbuf_addf(b, "%s%llu", ns < 0 ? "-" : "", (unsigned long long)(u / NS_PER_SEC));
	put_fraction(b, (int64_t)(u % NS_PER_SEC));
	strbuf_addc(b, 's');
}

/* ---- parts ------------------------------------------------------------------------------ */

static void date_of(int64_t sec, struct tm *tm)
{
	time_t t = (time_t)sec;

	gmtime_r(&t, tm);
}

void time_text(struct strbuf *b, const val *v)
{
	struct tm tm;

	date_of(v->time.sec, &tm);
	strbuf_addf(b, "%04d-%02d-%02dT%02d:%02d:%02d", tm.tm_year + 1900, tm.tm_mon + 1,
		    tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec);
	put_fraction(b, v->time.nsec);
	strbuf_addc(b, 'Z');
}

/* "UTC", "+02:00" or "-7:30"; names of zones need a data base that small hosts do not have. */
static bool zone_offset(const char *s, int *ret)
{
	int sign = *s == '-' ? -1 : 1, hours, minutes, end = 0;

	*ret = 0;
	if (streq(s, "UTC") || streq(s, "Z") || streq(s, "GMT") || streq(s, ""))
		return true;
	s += *s == '-' || *s == '+';
	if (!isdigit((unsigned char)*s) || strlen(s) > 5 ||
	    sscanf(s, "%2d:%2d%n", &hours, &minutes, &end) != 2 || s[end])
		return false;
	*ret = sign * (hours * 3600 + minutes * 60);
	return hours <= 23 && minutes >= 0 && minutes <= 59;
}

static val part(struct cel_run *r, const val *a, size_t n, int (*get)(const struct tm *tm))
{
	struct tm tm;
	int offset = 0;
	const char *zone = n == 2 ? val_cstr(r, a[1]) : "UTC";

	if (!zone_offset(zone, &offset))
		return cel_error(r, "unknown time zone %s", zone);
	date_of(a->time.sec + offset, &tm);
	return val_int(get(&tm));
}

#define PART(name, expression)                                                                     \
	static int get_##name(const struct tm *tm)                                                 \
	{                                                                                          \
		return expression;                                                                 \
	}                                                                                          \
	static val fn_##name(struct cel_run *r, const val *a, size_t n)                            \
	{                                                                                          \
		return part(r, a, n, get_##name);                                                  \
	}
PART(year, tm->tm_year + 1900)
PART(month, tm->tm_mon)
PART(date, tm->tm_mday)
PART(day_of_month, tm->tm_mday - 1)
PART(day_of_week, tm->tm_wday)
PART(day_of_year, tm->tm_yday)
PART(hours, tm->tm_hour)
PART(minutes, tm->tm_min)
PART(seconds, tm->tm_sec)

static val fn_milliseconds(struct cel_run *r UNUSED, const val *a, size_t n UNUSED)
{
	return val_int(a->time.nsec / 1000000);
}

static val fn_in_hours(struct cel_run *r UNUSED, const val *a, size_t n UNUSED)
{
	return val_int(a->i / (3600 * NS_PER_SEC));
}

static val fn_in_minutes(struct cel_run *r UNUSED, const val *a, size_t n UNUSED)
{
	return val_int(a->i / (60 * NS_PER_SEC));
}

static val fn_in_seconds(struct cel_run *r UNUSED, const val *a, size_t n UNUSED)
{
	return val_int(a->i / NS_PER_SEC);
}

static val fn_in_milliseconds(struct cel_run *r UNUSED, const val *a, size_t n UNUSED)
{
	return val_int(a->i / 1000000);
}

#define BOTH(name, fn)                                                                             \
	{name, "i:t", fn, true},                                                                   \
	{                                                                                          \
		name, "i:ts", fn, true                                                             \
	}
static const struct function table[] = {
	BOTH("getFullYear", fn_year),
	BOTH("getMonth", fn_month),
	BOTH("getDate", fn_date),
	BOTH("getDayOfMonth", fn_day_of_month),
	BOTH("getDayOfWeek", fn_day_of_week),
	BOTH("getDayOfYear", fn_day_of_year),
	BOTH("getHours", fn_hours),
	BOTH("getMinutes", fn_minutes),
	BOTH("getSeconds", fn_seconds),
	BOTH("getMilliseconds", fn_milliseconds),
	{"getHours", "i:D", fn_in_hours, true},
	{"getMinutes", "i:D", fn_in_minutes, true},
	{"getSeconds", "i:D", fn_in_seconds, true},
	{"getMilliseconds", "i:D", fn_in_milliseconds, true},
};
const struct functions time_functions = {table, ARRAY_SIZE(table)};
