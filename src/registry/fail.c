/* SPDX-License-Identifier: Apache-2.0 */
/* Errors as k8s.io/apimachinery/pkg/api/errors words them. */
#include "internal.h"

int fail_not_found(struct err *err, const struct kind *k, const char *name)
{
	char resource[API_VERSION_MAX];

	err_about(err, k->plural, k->group, name);
	return err_set(err, ERR_NOT_FOUND, "%s \"%s\" not found", kind_resource(k, resource), name);
}

int fail_exists(struct err *err, const struct kind *k, const char *name)
{
	char resource[API_VERSION_MAX];

	err_about(err, k->plural, k->group, name);
	return err_set(err, ERR_ALREADY_EXISTS, "%s \"%s\" already exists",
		       kind_resource(k, resource), name);
}

int fail_conflict(struct err *err, const struct kind *k, const char *name, const char *fmt, ...)
{
	char resource[API_VERSION_MAX];
	auto_free char *text = NULL;
	va_list ap;

	va_start(ap, fmt);
	text = xvasprintf(fmt, ap);
	va_end(ap);
	err_about(err, k->plural, k->group, name);
	return err_set(err, ERR_CONFLICT, "Operation cannot be fulfilled on %s \"%s\": %s",
		       kind_resource(k, resource), name, text);
}

int fail_modified(struct err *err, const struct kind *k, const char *name)
{
	return fail_conflict(err, k, name,
			     "the object has been modified; please apply your changes to the "
			     "latest version and try again");
}

int fail_forbidden(struct err *err, const struct kind *k, const char *name, const char *fmt, ...)
{
	char resource[API_VERSION_MAX];
	auto_free char *text = NULL;
	va_list ap;

	va_start(ap, fmt);
	text = xvasprintf(fmt, ap);
	va_end(ap);
	err_about(err, k->plural, k->group, name);
	return err_set(err, ERR_FORBIDDEN, "%s \"%s\" is forbidden: %s", kind_resource(k, resource),
		       name, text);
}

static int fail_field(struct err *err, const struct kind *k, const char *name, const char *reason,
		      const char *field, const char *text)
{
	err_about(err, k->kind, k->group, name);
	err_cause_add(err, reason, field, "%s", text);
	return err_set(err, ERR_INVALID, "%s%s%s \"%s\" is invalid: %s: %s", k->kind,
		       *k->group ? "." : "", k->group, name, field, text);
}

int fail_invalid(struct err *err, const struct kind *k, const char *name, const char *field,
		 const char *fmt, ...)
{
	auto_free char *text = NULL;
	va_list ap;

	va_start(ap, fmt);
	text = xvasprintf(fmt, ap);
	va_end(ap);
	return fail_field(err, k, name, "FieldValueInvalid", field, text);
}

int fail_field_forbidden(struct err *err, const struct kind *k, const char *name, const char *field,
			 const char *fmt, ...)
{
	auto_free char *text = NULL, *full = NULL;
	va_list ap;

	va_start(ap, fmt);
	text = xvasprintf(fmt, ap);
	va_end(ap);
	full = xasprintf("Forbidden: %s", text);
	return fail_field(err, k, name, "FieldValueForbidden", field, full);
}
