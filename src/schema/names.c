/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The syntax of names, and the sentences Kubernetes prints when one is wrong
 * (apimachinery/pkg/util/validation). ASCII only: locale must not matter.
 */
#include "internal.h"

#define TOO_LONG_63 "must be no more than 63 characters"
#define TOO_LONG_253 "must be no more than 253 characters"
#define LABEL_RE "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
#define NAME_RE "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]"

static const char err_label[] =
	"a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and "
	"must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex "
	"used for validation is '" LABEL_RE "')";
static const char err_subdomain[] =
	"a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or "
	"'.', and must start and end with an alphanumeric character (e.g. 'example.com', regex "
	"used "
	"for validation is '" LABEL_RE "(\\." LABEL_RE ")*')";
static const char err_1035[] =
	"a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an "
	"alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or "
	"'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')";
static const char err_value[] =
	"a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or "
	"'.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or "
	"'my_value',  or '12345', regex used for validation is "
	"'(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";
static const char err_name_part[] =
	"name part must consist of alphanumeric characters, '-', '_' or '.', and must start and "
	"end "
	"with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used "
	"for validation is '" NAME_RE "')";
static const char err_qualified[] =
	"a qualified name must consist of alphanumeric characters, '-', '_' or '.', and must start "
	"and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', "
	"regex "
	"used for validation is '" NAME_RE "') with an optional DNS subdomain prefix and '/' (e.g. "
	"'example.com/MyName')";
static const char err_prefix[] =
	"prefix part a lowercase RFC 1123 subdomain must consist of lower case alphanumeric "
	"characters, '-' or '.', and must start and end with an alphanumeric character (e.g. "
	"'example.com', regex used for validation is '" LABEL_RE "(\\." LABEL_RE ")*')";

static bool is_lower(char c)
{
	return c >= 'a' && c <= 'z';
}

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool is_alnum(char c)
{
	return is_lower(c) || is_digit(c) || (c >= 'A' && c <= 'Z');
}

/* [a-z0-9]([-a-z0-9]*[a-z0-9])? */
static bool label_ok(const char *s, size_t len)
{
	if (len == 0 || s[0] == '-' || s[len - 1] == '-')
		return false;
	for (size_t i = 0; i < len; i++)
		if (!is_lower(s[i]) && !is_digit(s[i]) && s[i] != '-')
			return false;
	return true;
}

static bool subdomain_ok(const char *s, size_t len)
{
	size_t start = 0;

	for (size_t i = 0; i <= len; i++) {
		if (i < len && s[i] != '.')
			continue;
		if (!label_ok(s + start, i - start))
			return false;
		start = i + 1;
	}
	return true;
}

/* ([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9] */
static bool name_part_ok(const char *s, size_t len)
{
	if (len == 0 || !is_alnum(s[0]) || !is_alnum(s[len - 1]))
		return false;
	for (size_t i = 0; i < len; i++)
		if (!is_alnum(s[i]) && s[i] != '-' && s[i] != '_' && s[i] != '.')
			return false;
	return true;
}

const char *valid_dns1123_label(const char *s)
{
	size_t len = strlen(s);

	if (len > 63)
		return TOO_LONG_63;
	return label_ok(s, len) ? NULL : err_label;
}

const char *valid_dns1123_subdomain(const char *s)
{
	size_t len = strlen(s);

	if (len > 253)
		return TOO_LONG_253;
	return subdomain_ok(s, len) ? NULL : err_subdomain;
}

const char *valid_dns1035_label(const char *s)
{
	size_t len = strlen(s);

	if (len > 63)
		return TOO_LONG_63;
	return label_ok(s, len) && is_lower(s[0]) ? NULL : err_1035;
}

const char *valid_label_key(const char *s)
{
	const char *slash = strchr(s, '/');
	const char *name = slash ? slash + 1 : s;
	size_t len = strlen(name);

	if (slash) {
		size_t prefix = (size_t)(slash - s);

		if (strchr(name, '/'))
			return err_qualified;
		if (prefix == 0)
			return "prefix part must be non-empty";
		if (prefix > 253)
			return "prefix part " TOO_LONG_253;
		if (!subdomain_ok(s, prefix))
			return err_prefix;
	}
	if (len == 0)
		return "name part must be non-empty";
	if (len > 63)
		return "name part " TOO_LONG_63;
	return name_part_ok(name, len) ? NULL : err_name_part;
}

const char *valid_label_value(const char *s)
{
	size_t len = strlen(s);

	if (len > 63)
		return TOO_LONG_63;
	return len == 0 || name_part_ok(s, len) ? NULL : err_value;
}

const char *valid_path_segment(const char *s)
{
	if (streq(s, "."))
		return "may not be '.'";
	if (streq(s, ".."))
		return "may not be '..'";
	if (strchr(s, '/'))
		return "may not contain '/'";
	return strchr(s, '%') ? "may not contain '%'" : NULL;
}

const char *valid_port_name(const char *s)
{
	size_t len = strlen(s);
	bool letter = false;

	if (len > 15)
		return "must be no more than 15 characters";
	for (size_t i = 0; i < len; i++) {
		letter |= is_lower(s[i]);
		if (!is_lower(s[i]) && !is_digit(s[i]) && s[i] != '-')
			return "must contain only alpha-numeric characters (a-z, 0-9), and hyphens "
			       "(-)";
		if (s[i] == '-' && s[i + 1] == '-')
			return "must not contain consecutive hyphens";
	}
	if (!letter)
		return "must contain at least one letter (a-z)";
	return s[0] == '-' || s[len - 1] == '-' ? "must not begin or end with a hyphen" : NULL;
}

const char *valid_config_key(const char *s)
{
	size_t len = strlen(s);

	if (len > 253)
		return TOO_LONG_253;
	for (size_t i = 0; i < len; i++)
		if (!is_alnum(s[i]) && s[i] != '-' && s[i] != '_' && s[i] != '.')
			len = 0;
	if (len == 0)
		return "a valid config key must consist of alphanumeric characters, '-', '_' or "
		       "'.' "
		       "(e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used for "
		       "validation "
		       "is '[-._a-zA-Z0-9]+')";
	if (streq(s, "."))
		return "must not be '.'";
	if (streq(s, ".."))
		return "must not be '..'";
	return str_starts(s, "..") ? "must not start with '..'" : NULL;
}
