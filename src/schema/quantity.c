/* SPDX-License-Identifier: Apache-2.0 */
/*
 * resource.Quantity: "100m", "1.5Gi", "12e6". Held as a 128-bit count of thousand-millionths
 * (nano), the smallest unit Kubernetes knows; never as a floating point number. What does not fit
 * into 64 bits of whole units is cut to the largest value, as Kubernetes does.
 */
#include "internal.h"

typedef __int128 wide;

#define NANO ((wide)1000000000)
#define NANO_MAX ((wide)INT64_MAX * NANO)
/* Room above NANO_MAX for the places behind the point. */
#define WIDE_MAX (NANO_MAX * NANO)
#define FRACTION_MAX 9
#define DIGITS_MAX 64

enum format { DECIMAL_SI, BINARY_SI, DECIMAL_EXPONENT };

struct quantity {
	wide nano; /* magnitude, >= 0 */
	bool negative;
	enum format format;
};

/* Units in rising order; power is of 1000 (decimal) or of 1024 (binary). */
static const struct suffix {
	const char *text;
	int power;
} decimal_suffixes[] = {{"n", -3}, {"u", -2}, {"m", -1}, {"", 0},  {"k", 1},
			{"M", 2},  {"G", 3},  {"T", 4},	 {"P", 5}, {"E", 6}},
  binary_suffixes[] = {{"Ki", 1}, {"Mi", 2}, {"Gi", 3}, {"Ti", 4}, {"Pi", 5}, {"Ei", 6}};

/* v * base^power, cut at WIDE_MAX; for a negative power rounded up (away from zero). */
static wide scale(wide v, int base, int power)
{
	wide divisor = 1;

	for (; power > 0 && v; power--)
		v = v > WIDE_MAX / base ? WIDE_MAX : v * base;
	for (; power < 0 && divisor <= WIDE_MAX / base; power++)
		divisor *= base;
	return (v + divisor - 1) / divisor;
}

static int find_suffix(const char *s, const struct suffix *table, size_t n, int *power)
{
	for (size_t i = 0; i < n; i++) {
		if (streq(table[i].text, s)) {
			*power = table[i].power;
			return 0;
		}
	}
	return -EINVAL;
}

/* The part behind the digits: base and power of ten steps. */
static int parse_suffix(const char *s, enum format *format, int *base, int *power)
{
	int64_t exponent;

	*base = 1000;
	*format = DECIMAL_SI;
	if (find_suffix(s, decimal_suffixes, ARRAY_SIZE(decimal_suffixes), power) == 0)
		return 0;
	*base = 1024;
	*format = BINARY_SI;
	if (find_suffix(s, binary_suffixes, ARRAY_SIZE(binary_suffixes), power) == 0)
		return 0;
	if (*s != 'e' && *s != 'E')
		return -EINVAL;
	s++;
	if (*s == '+' && s[1] != '-')
		s++;
	if ((*s != '-' && (*s < '0' || *s > '9')) || str_to_i64(s, -1000, 1000, &exponent) < 0)
		return -EINVAL;
	*base = 10;
	*format = DECIMAL_EXPONENT;
	*power = (int)exponent;
	return 0;
}

/*
 * The digits as an integer of `fraction` decimal places. Places behind the ninth only round up;
 * whole digits beyond the range saturate.
 */
static int parse_digits(const char **at, wide *ret, int *fraction)
{
	const char *s = *at;
	bool dot = false, lost = false;
	size_t digits = 0;
	wide v = 0;

	*fraction = 0;
	for (; (*s >= '0' && *s <= '9') || (*s == '.' && !dot); s++) {
		if (*s == '.') {
			dot = true;
			continue;
		}
		if (++digits > DIGITS_MAX)
			return -ERANGE;
		if (dot && *fraction == FRACTION_MAX) {
			lost |= *s != '0';
			continue;
		}
		v = v > WIDE_MAX / 10 - 1 ? WIDE_MAX : v * 10 + (*s - '0');
		*fraction += dot;
	}
	if (!digits)
		return -EINVAL;
	*ret = v + lost;
	*at = s;
	return 0;
}

static int parse(const char *text, struct quantity *q)
{
	int base, power, fraction, r;
	wide v;

	if (str_empty(text))
		return -EINVAL;
	q->negative = *text == '-';
	text += *text == '-' || *text == '+';
	r = parse_digits(&text, &v, &fraction);
	if (r < 0)
		return r;
	r = parse_suffix(text, &q->format, &base, &power);
	if (r < 0)
		return r;
	/* First up, then down, so that no place is lost: 0.5Gi is 512Mi exactly. */
	if (power > 0)
		v = scale(v, base, power);
	v = scale(v, 10, 9 - fraction);
	if (power < 0)
		v = scale(v, base, power);
	q->nano = v > NANO_MAX ? NANO_MAX : v;
	return 0;
}

/* Value in units of `unit` nanos, rounded up (towards plus infinity for positive values). */
static int value_in(const char *text, wide unit, int64_t *ret)
{
	struct quantity q;
	int r = parse(text, &q);
	wide v;

	if (r < 0)
		return r;
	v = q.negative ? -(q.nano / unit) : (q.nano + unit - 1) / unit;
	if (v > INT64_MAX || v < INT64_MIN)
		return -ERANGE;
	*ret = (int64_t)v;
	return 0;
}

int quantity_parse_nano(const char *text, __int128 *ret)
{
	struct quantity q;
	int r = parse(text, &q);

	if (r == 0)
		*ret = q.negative ? -q.nano : q.nano;
	return r;
}

int quantity_parse_milli(const char *text, int64_t *ret)
{
	return value_in(text, NANO / 1000, ret);
}

int quantity_parse(const char *text, int64_t *ret)
{
	return value_in(text, NANO, ret);
}

static char *format_number(const struct quantity *q, wide mantissa, const char *suffix)
{
	return xasprintf("%s%llu%s", q->negative && mantissa ? "-" : "",
			 (unsigned long long)mantissa, suffix);
}

static char *format(const struct quantity *q)
{
	char exponent[16] = "";
	wide v;
	int power;

	if (q->format == BINARY_SI && q->nano >= 1024 * NANO) {
		power = 0;
		for (v = (q->nano + NANO - 1) / NANO; v % 1024 == 0 && power < 6; v /= 1024)
			power++;
		return format_number(q, v, power ? binary_suffixes[power - 1].text : "");
	}
	if (!q->nano)
		return xstrdup("0");
	power = -3;
	for (v = q->nano; v % 1000 == 0 && power < 6; v /= 1000)
		power++;
	if (q->format != DECIMAL_EXPONENT)
		return format_number(q, v, decimal_suffixes[power + 3].text);
	if (power)
		snprintf(exponent, sizeof(exponent), "e%d", power * 3);
	return format_number(q, v, exponent);
}

char *quantity_canonical(const char *text)
{
	struct quantity q;

	return parse(text, &q) < 0 ? NULL : format(&q);
}

/* ---- arithmetic ------------------------------------------------------------------------- */

static wide value_of(const struct quantity *q)
{
	return q->negative ? -q->nano : q->nano;
}

/* a + sign * b; both at most NANO_MAX, so that nothing overflows before it is cut. */
static char *combine(const char *a, const char *b, int sign)
{
	struct quantity x = {0}, y = {0};
	wide v;

	if ((a && parse(a, &x) < 0) || (b && parse(b, &y) < 0))
		return NULL;
	v = value_of(&x) + sign * value_of(&y);
	if (!x.nano)
		x.format = y.format;
	x.negative = v < 0;
	v = v < 0 ? -v : v;
	x.nano = v > NANO_MAX ? NANO_MAX : v;
	return format(&x);
}

char *quantity_sum(const char *a, const char *b)
{
	return combine(a, b, 1);
}

char *quantity_difference(const char *a, const char *b)
{
	return combine(a, b, -1);
}

int quantity_cmp(const char *a, const char *b)
{
	struct quantity x = {0}, y = {0};

	if (parse(a, &x) < 0)
		x = (struct quantity){0};
	if (parse(b, &y) < 0)
		y = (struct quantity){0};
	return (value_of(&x) > value_of(&y)) - (value_of(&x) < value_of(&y));
}
