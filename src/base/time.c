/* SPDX-License-Identifier: Apache-2.0 */
/* The monotonic clock and RFC 3339 wall time. */
#include <coracle/base.h>

mono_t mono_now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_BOOTTIME, &ts);
	return (mono_t){(uint64_t)ts.tv_sec * USEC_PER_SEC + (uint64_t)ts.tv_nsec / 1000};
}

/* Years outside 0..9999 cannot be written in RFC 3339: clamp. */
static void utc(time_t t, struct tm *tm)
{
	const time_t max = INT64_C(253402300799), min = INT64_C(-62167219200);

	t = t > max ? max : t < min ? min : t;
	gmtime_r(&t, tm);
}

static char *format(char *buf, struct timespec ts, int digits, long fraction)
{
	struct tm tm;
	int n;

	utc(ts.tv_sec, &tm);
	n = snprintf(buf, TIME_RFC3339_MAX, "%04d-%02d-%02dT%02d:%02d:%02d",
		     (tm.tm_year + 1900) % 10000, tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min,
		     tm.tm_sec);
	if (digits)
		n += snprintf(buf + n, TIME_RFC3339_MAX - (size_t)n, ".%0*ld", digits, fraction);
	snprintf(buf + n, TIME_RFC3339_MAX - (size_t)n, "Z");
	return buf;
}

char *time_format(char buf[static TIME_RFC3339_MAX], time_t t)
{
	return format(buf, (struct timespec){.tv_sec = t}, 0, 0);
}

char *time_format_micro(char buf[static TIME_RFC3339_MAX], struct timespec ts)
{
	return format(buf, ts, 6, ts.tv_nsec / 1000);
}

char *time_format_nano(char buf[static TIME_RFC3339_MAX], struct timespec ts)
{
	return format(buf, ts, 9, ts.tv_nsec);
}

/* Exactly n digits as a number; -1 otherwise. */
static int digits(const char *s, int n)
{
	int v = 0;

	for (int i = 0; i < n; i++) {
		if (s[i] < '0' || s[i] > '9')
			return -1;
		v = v * 10 + (s[i] - '0');
	}
	return v;
}

static const char *parse_fraction(const char *s, long *nsec)
{
	long unit = 100000000;

	*nsec = 0;
	if (*s != '.')
		return s;
	if (digits(s + 1, 1) < 0)
		return NULL;
	for (s++; *s >= '0' && *s <= '9'; s++, unit /= 10)
		*nsec += (*s - '0') * unit;
	return s;
}

/* "Z" or "+hh:mm"; the offset in seconds. */
static const char *parse_offset(const char *s, int *offset)
{
	int h, m;

	*offset = 0;
	if (*s == 'Z' || *s == 'z')
		return s + 1;
	if (*s != '+' && *s != '-')
		return NULL;
	h = digits(s + 1, 2);
	if (h < 0 || h > 23 || s[3] != ':')
		return NULL;
	m = digits(s + 4, 2);
	if (m < 0 || m > 59)
		return NULL;
	*offset = (h * 3600 + m * 60) * (*s == '-' ? -1 : 1);
	return s + 6;
}

int time_parse(const char *s, struct timespec *ret)
{
	static const char shape[] = "dddd-dd-ddTdd:dd:dd";
	static const int month_days[] = {31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
	struct tm tm = {0};
	int offset;
	long nsec;

	for (size_t i = 0; shape[i]; i++)
		if (shape[i] == 'd' ? (s[i] < '0' || s[i] > '9')
				    : (s[i] != shape[i] && !(i == 10 && s[i] == 't')))
			return -EINVAL;
	tm.tm_year = digits(s, 4) - 1900;
	tm.tm_mon = digits(s + 5, 2) - 1;
	tm.tm_mday = digits(s + 8, 2);
	tm.tm_hour = digits(s + 11, 2);
	tm.tm_min = digits(s + 14, 2);
	tm.tm_sec = digits(s + 17, 2);
	if (tm.tm_mon < 0 || tm.tm_mon > 11 || tm.tm_mday < 1 ||
	    tm.tm_mday > month_days[tm.tm_mon] || tm.tm_hour > 23 || tm.tm_min > 59 ||
	    tm.tm_sec > 60)
		return -EINVAL;
	s = parse_fraction(s + 19, &nsec);
	s = s ? parse_offset(s, &offset) : NULL;
	if (!s || *s)
		return -EINVAL;
	ret->tv_sec = timegm(&tm) - offset;
	ret->tv_nsec = nsec;
	return 0;
}
