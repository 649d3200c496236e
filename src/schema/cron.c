/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Schedules of CronJobs: five fields as in crontab(5), or a descriptor ("@daily", "@every 1h30m").
 * What is accepted and how it is refused is as in github.com/robfig/cron v3, which Kubernetes uses:
 * Sunday is 0, never 7.
 */
#include "internal.h"

#include <ctype.h>
#include <strings.h>

#define FIELDS 5

static const struct bounds {
	int min, max;
	const char *names; /* of min, min + 1, ...; three letters each */
} bounds[FIELDS] = {
	{0, 59, ""},
	{0, 23, ""},
	{1, 31, ""},
	{1, 12, "janfebmaraprmayjunjulaugsepoctnovdec"},
	{0, 6, "sunmontuewedthufrisat"},
};

void split_all(struct strv *ret, const char *text, char sep)
{
	for (;;) {
		size_t n = strcspn(text, (char[]){sep, '\0'});

		strv_take(ret, xstrndup(text, n));
		if (!text[n])
			return;
		text += n + 1;
	}
}

/* A plain number, as Go's strconv.Atoi and then some. */
static int parse_number(const char *s, int *ret, struct err *err)
{
	const char *digits = s + (*s == '-' || *s == '+');
	long v;

	if (!*digits || strspn(digits, "0123456789") != strlen(digits) || strlen(digits) > 9)
		return err_set(err, ERR_INVALID,
			       "failed to parse int from %s: strconv.Atoi: parsing \"%s\": invalid "
			       "syntax",
			       s, s);
	v = strtol(s, NULL, 10);
	if (v < 0)
		return err_set(err, ERR_INVALID, "negative number (%ld) not allowed: %s", v, s);
	*ret = (int)v;
	return 0;
}

static int parse_word(const char *s, const struct bounds *b, int *ret, struct err *err)
{
	for (int i = 0; b->names[3 * i]; i++) {
		if (strlen(s) == 3 && strncasecmp(s, b->names + 3 * i, 3) == 0) {
			*ret = b->min + i;
			return 0;
		}
	}
	return parse_number(s, ret, err);
}

struct range {
	int from, to, step;
	bool any; /* "*": the field does not restrict */
};

static int parse_limits(const char *text, const char *expr, const struct bounds *b, struct range *r,
			struct err *err)
{
	auto_strv ends = {0};
	int rc;

	split_all(&ends, text, '-');
	if (streq(ends.v[0], "*") || streq(ends.v[0], "?")) {
		r->from = b->min;
		r->to = b->max;
		r->any = true;
		return 0;
	}
	rc = parse_word(ends.v[0], b, &r->from, err);
	r->to = r->from;
	if (rc == 0 && ends.n == 2)
		rc = parse_word(ends.v[1], b, &r->to, err);
	if (rc == 0 && ends.n > 2)
		rc = err_set(err, ERR_INVALID, "too many hyphens: %s", expr);
	return rc;
}

static int check_range(const struct range *r, const char *expr, const struct bounds *b,
		       struct err *err)
{
	if (r->from < b->min)
		return err_set(err, ERR_INVALID, "beginning of range (%d) below minimum (%d): %s",
			       r->from, b->min, expr);
	if (r->to > b->max)
		return err_set(err, ERR_INVALID, "end of range (%d) above maximum (%d): %s", r->to,
			       b->max, expr);
	if (r->from > r->to)
		return err_set(err, ERR_INVALID,
			       "beginning of range (%d) beyond end of range (%d): %s", r->from,
			       r->to, expr);
	if (r->step == 0)
		return err_set(err, ERR_INVALID, "step of range should be a positive number: %s",
			       expr);
	return 0;
}

/* "1-5/2", "*", "mon"; adds the bits to *bits. */
static int parse_range(const char *expr, const struct bounds *b, uint64_t *bits, bool *any,
		       struct err *err)
{
	struct range r = {.step = 1};
	auto_strv parts = {0};
	int rc;

	split_all(&parts, expr, '/');
	rc = parse_limits(parts.v[0], expr, b, &r, err);
	if (rc == 0 && parts.n == 2) {
		rc = parse_number(parts.v[1], &r.step, err);
		if (!strchr(parts.v[0], '-')) /* "3/2" goes on to the end */
			r.to = b->max;
		if (r.step > 1)
			r.any = false;
	}
	if (rc == 0 && parts.n > 2)
		rc = err_set(err, ERR_INVALID, "too many slashes: %s", expr);
	if (rc == 0)
		rc = check_range(&r, expr, b, err);
	for (int i = r.from; rc == 0 && i <= r.to; i += r.step)
		*bits |= UINT64_C(1) << i;
	*any |= r.any;
	return rc;
}

static int parse_field(const char *text, const struct bounds *b, uint64_t *bits, bool *any,
		       struct err *err)
{
	auto_strv list = {0};
	int rc = 0;

	strv_split(&list, text, ',');
	for (size_t i = 0; rc == 0 && i < list.n; i++)
		if (*list.v[i])
			rc = parse_range(list.v[i], b, bits, any, err);
	return rc;
}

/* Go's time.ParseDuration, whole seconds of it. */
static int parse_duration(const char *text, int64_t *ret)
{
	static const struct {
		const char *unit;
		double seconds;
	} units[] = {{"h", 3600}, {"ms", 1e-3}, {"m", 60}, {"s", 1}, {"us", 1e-6}, {"ns", 1e-9}};
	double total = 0;

	if (!*text)
		return -EINVAL;
	while (*text) {
		char *end;
		size_t i;
		double v = isdigit((unsigned char)*text) ? strtod(text, &end) : -1;

		if (v < 0 || v > 1e9)
			return -EINVAL;
		for (i = 0; i < ARRAY_SIZE(units); i++)
			if (str_starts(end, units[i].unit))
				break;
		if (i == ARRAY_SIZE(units))
			return -EINVAL;
		total += v * units[i].seconds;
		text = end + strlen(units[i].unit);
	}
	*ret = total < 1 ? 1 : (int64_t)total;
	return 0;
}

static int parse_descriptor(const char *text, struct cron *ret, struct err *err)
{
	static const struct {
		const char *name, *fields;
	} known[] = {{"@yearly", "0 0 1 1 *"},	{"@annually", "0 0 1 1 *"},
		     {"@monthly", "0 0 1 * *"}, {"@weekly", "0 0 * * 0"},
		     {"@daily", "0 0 * * *"},	{"@midnight", "0 0 * * *"},
		     {"@hourly", "0 * * * *"}};

	for (size_t i = 0; i < ARRAY_SIZE(known); i++)
		if (streq(known[i].name, text))
			return cron_parse(known[i].fields, ret, err);
	if (!str_starts(text, "@every "))
		return err_set(err, ERR_INVALID, "unrecognized descriptor: %s", text);
	text += strlen("@every ");
	if (parse_duration(text, &ret->every) < 0)
		return err_set(err, ERR_INVALID,
			       "failed to parse duration @every %s: time: invalid duration \"%s\"",
			       text, text);
	return 0;
}

static void split_fields(const char *text, struct strv *ret)
{
	while (*text) {
		size_t len;

		text += strspn(text, " \t\n");
		len = strcspn(text, " \t\n");
		if (len)
			strv_take(ret, xstrndup(text, len));
		text += len;
	}
}

/* [a b c], as Go prints a list. */
static int wrong_number(const struct strv *fields, struct err *err)
{
	auto_strbuf b = {0};

	for (size_t i = 0; i < fields->n; i++)
		strbuf_addf(&b, "%s%s", i ? " " : "", fields->v[i]);
	return err_set(err, ERR_INVALID, "expected exactly %d fields, found %zu: [%s]", FIELDS,
		       fields->n, b.s ? b.s : "");
}

int cron_parse(const char *text, struct cron *ret, struct err *err)
{
	uint64_t *const bits[FIELDS] = {&ret->minutes, &ret->hours, &ret->days, &ret->months,
					&ret->weekdays};
	auto_strv fields = {0};
	int rc = 0;

	*ret = (struct cron){0};
	if (!*text)
		return err_set(err, ERR_INVALID, "empty spec string");
	if (*text == '@')
		return parse_descriptor(text, ret, err);
	split_fields(text, &fields);
	if (fields.n != FIELDS)
		return wrong_number(&fields, err);
	for (size_t i = 0; rc == 0 && i < FIELDS; i++) {
		bool any = false;

		rc = parse_field(fields.v[i], &bounds[i], bits[i], &any, err);
		if (i == 2)
			ret->any_day = any;
		if (i == 4)
			ret->any_weekday = any;
	}
	return rc;
}
