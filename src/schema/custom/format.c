/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The formats of strings that Kubernetes checks (kube-openapi pkg/validation/strfmt). Others are
 * annotations and mean nothing.
 */
#include "custom.h"

#include <arpa/inet.h>
#include <ctype.h>

static bool is_date(const char *s)
{
	struct tm tm = {0};
	char text[11];

	if (strlen(s) != 10 || !strptime(s, "%Y-%m-%d", &tm))
		return false;
	/* strptime() lets the 31st of February pass */
	struct tm same = tm;
	if (timegm(&same) == -1)
		return false;
	strftime(text, sizeof(text), "%Y-%m-%d", &same);
	return streq(text, s);
}

static bool is_date_time(const char *s)
{
	struct timespec ts;

	return time_parse(s, &ts) == 0;
}

/* Go's time.ParseDuration, and the long form "3 days" of strfmt. */
static bool is_duration(const char *s)
{
	static const char *const units[] = {"ns", "us", "µs", "μs",  "ms",  "s",    "m",   "h",
					    "d",  "w",	"hr", "min", "sec", "hour", "day", "week"};
	bool any = false;

	s += *s == '-' || *s == '+';
	if (streq(s, "0"))
		return true;
	while (*s) {
		size_t digits = strspn(s, "0123456789."), unit = 0, len;

		if (!digits || (digits == 1 && *s == '.'))
			return false;
		s += digits;
		s += strspn(s, " ");
		len = strcspn(s, "0123456789. ");
		while (unit < ARRAY_SIZE(units) &&
		       !(strlen(units[unit]) == len && strncmp(units[unit], s, len) == 0) &&
		       !(strlen(units[unit]) + 1 == len && s[len - 1] == 's' &&
			 strncmp(units[unit], s, len - 1) == 0))
			unit++;
		if (unit == ARRAY_SIZE(units))
			return false;
		s += len;
		s += strspn(s, " ");
		any = true;
	}
	return any;
}

static bool is_ipv4(const char *s)
{
	struct in_addr a;

	return inet_pton(AF_INET, s, &a) == 1;
}

static bool is_ipv6(const char *s)
{
	struct in6_addr a;

	return inet_pton(AF_INET6, s, &a) == 1;
}

static bool is_cidr(const char *s)
{
	const char *slash = strchr(s, '/');
	auto_free char *addr = slash ? xstrndup(s, (size_t)(slash - s)) : NULL;
	int64_t bits;

	return addr && (is_ipv4(addr) ? str_to_i64(slash + 1, 0, 32, &bits) == 0
				      : is_ipv6(addr) && str_to_i64(slash + 1, 0, 128, &bits) == 0);
}

static bool is_mac(const char *s)
{
	size_t n = strlen(s);
	char sep = n > 2 ? s[2] : 0;

	if ((sep != ':' && sep != '-') || (n != 17 && n != 23 && n != 59))
		return false;
	for (size_t i = 0; i < n; i++)
		if (i % 3 == 2 ? s[i] != sep : !isxdigit((unsigned char)s[i]))
			return false;
	return true;
}

/* Dashes may be left out, as in strfmt. */
static bool is_uuid_version(const char *s, char version)
{
	static const unsigned char groups[] = {8, 4, 4, 4, 12};

	for (size_t g = 0; g < ARRAY_SIZE(groups); g++) {
		if (g && *s == '-')
			s++;
		if (version && g == 2 && *s != version)
			return false;
		if (version >= '4' && g == 3 && !strchr("89abAB", *s))
			return false;
		for (unsigned i = 0; i < groups[g]; i++)
			if (!isxdigit((unsigned char)*s++))
				return false;
	}
	return !*s;
}

static bool is_uuid(const char *s)
{
	return is_uuid_version(s, 0);
}

static bool is_uuid3(const char *s)
{
	return is_uuid_version(s, '3');
}

static bool is_uuid4(const char *s)
{
	return is_uuid_version(s, '4');
}

static bool is_uuid5(const char *s)
{
	return is_uuid_version(s, '5');
}

static bool is_byte(const char *s)
{
	auto_free unsigned char *data = NULL;
	size_t len;

	return base64_decode(s, strlen(s), &data, &len) == 0;
}

/* url.ParseRequestURI: absolute, or a path. */
static bool is_uri(const char *s)
{
	size_t scheme = 0;

	for (const char *p = s; *p; p++)
		if ((unsigned char)*p <= ' ' || *p == 0x7f)
			return false;
	if (*s == '/')
		return true;
	while (isalnum((unsigned char)s[scheme]) || strchr("+-.", s[scheme] ? s[scheme] : ' '))
		scheme++;
	return scheme > 0 && isalpha((unsigned char)*s) && s[scheme] == ':' && s[scheme + 1];
}

static bool is_hostname(const char *s)
{
	size_t label = 0, len = strlen(s);

	if (len == 0 || len > 255)
		return false;
	for (size_t i = 0; i <= len; i++) {
		if (i == len || s[i] == '.') {
			if (label == 0 && i != len)
				return false;
			if (label && s[i - 1] == '-')
				return false;
			label = 0;
		} else if (isalnum((unsigned char)s[i]) || (s[i] == '-' && label)) {
			if (++label > 63)
				return false;
		} else {
			return false;
		}
	}
	return true;
}

static bool is_email(const char *s)
{
	const char *at = strrchr(s, '@');

	return at && at > s && at[1] && !strpbrk(s, " \t\r\n,<>") && is_hostname(at + 1);
}

static bool is_hexcolor(const char *s)
{
	size_t n;

	s += *s == '#';
	n = strspn(s, "0123456789abcdefABCDEF");
	return !s[n] && (n == 3 || n == 6);
}

static bool is_objectid(const char *s)
{
	return strlen(s) == 24 && strspn(s, "0123456789abcdefABCDEF") == 24;
}

static const struct {
	const char *name;
	bool (*matches)(const char *s);
} formats[] = {
	{"date", is_date},	    {"date-time", is_date_time},
	{"datetime", is_date_time}, {"duration", is_duration},
	{"ipv4", is_ipv4},	    {"ipv6", is_ipv6},
	{"cidr", is_cidr},	    {"mac", is_mac},
	{"uuid", is_uuid},	    {"uuid3", is_uuid3},
	{"uuid4", is_uuid4},	    {"uuid5", is_uuid5},
	{"byte", is_byte},	    {"uri", is_uri},
	{"hostname", is_hostname},  {"email", is_email},
	{"hexcolor", is_hexcolor},  {"bsonobjectid", is_objectid},
};

bool format_known(const char *format)
{
	for (size_t i = 0; i < ARRAY_SIZE(formats); i++)
		if (streq(formats[i].name, format))
			return true;
	return false;
}

bool format_matches(const char *format, const char *text)
{
	for (size_t i = 0; i < ARRAY_SIZE(formats); i++)
		if (streq(formats[i].name, format))
			return formats[i].matches(text);
	return true;
}
