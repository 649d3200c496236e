/* SPDX-License-Identifier: Apache-2.0 */
/* The error object and its mapping to Kubernetes' Status reasons and HTTP codes. */
#include <coracle/base.h>

static const struct {
	const char *name;
	int http;
	int code; /* errno */
} reasons[] = {
	[ERR_UNKNOWN] = {"", 500, EIO},
	[ERR_BAD_REQUEST] = {"BadRequest", 400, EINVAL},
	[ERR_UNAUTHORIZED] = {"Unauthorized", 401, EACCES},
	[ERR_FORBIDDEN] = {"Forbidden", 403, EPERM},
	[ERR_NOT_FOUND] = {"NotFound", 404, ENOENT},
	[ERR_METHOD_NOT_ALLOWED] = {"MethodNotAllowed", 405, EOPNOTSUPP},
	[ERR_NOT_ACCEPTABLE] = {"NotAcceptable", 406, EPROTONOSUPPORT},
	[ERR_ALREADY_EXISTS] = {"AlreadyExists", 409, EEXIST},
	[ERR_CONFLICT] = {"Conflict", 409, ESTALE},
	[ERR_GONE] = {"Gone", 410, EIDRM},
	[ERR_EXPIRED] = {"Expired", 410, EIDRM},
	[ERR_INVALID] = {"Invalid", 422, EINVAL},
	[ERR_REQUEST_TOO_LARGE] = {"RequestEntityTooLarge", 413, EFBIG},
	[ERR_UNSUPPORTED_MEDIA_TYPE] = {"UnsupportedMediaType", 415, EPROTONOSUPPORT},
	[ERR_TOO_MANY_REQUESTS] = {"TooManyRequests", 429, EBUSY},
	[ERR_INTERNAL] = {"InternalError", 500, EIO},
	[ERR_SERVICE_UNAVAILABLE] = {"ServiceUnavailable", 503, EAGAIN},
	[ERR_SERVER_TIMEOUT] = {"ServerTimeout", 500, ETIMEDOUT},
	[ERR_TIMEOUT] = {"Timeout", 504, ETIMEDOUT},
	[ERR_INSUFFICIENT_STORAGE] = {"InsufficientStorage", 507, ENOSPC},
};
_Static_assert(ARRAY_SIZE(reasons) == ERR_REASON_COUNT, "every reason has a row");

static int PRINTF_LIKE(3, 0)
	err_vset(struct err *err, enum err_reason reason, const char *fmt, va_list ap)
{
	if (err) {
		char *message = xvasprintf(fmt, ap); /* may format from the old message */

		free(err->message);
		err->message = message;
		err->reason = reason;
	}
	return -reasons[reason].code;
}

int err_set(struct err *err, enum err_reason reason, const char *fmt, ...)
{
	va_list ap;
	int r;

	va_start(ap, fmt);
	r = err_vset(err, reason, fmt, ap);
	va_end(ap);
	return r;
}

int err_errno(struct err *err, int code, const char *fmt, ...)
{
	if (err) {
		auto_free char *text = NULL;
		va_list ap;

		va_start(ap, fmt);
		text = xvasprintf(fmt, ap);
		va_end(ap);
		err_set(err, code == ENOSPC ? ERR_INSUFFICIENT_STORAGE : ERR_INTERNAL, "%s: %s",
			text, strerror(code));
	}
	return -code;
}

int err_wrap(struct err *err, int ret, const char *fmt, ...)
{
	if (err) {
		auto_free char *text = NULL, *old = steal_ptr(err->message);
		va_list ap;

		va_start(ap, fmt);
		text = xvasprintf(fmt, ap);
		va_end(ap);
		err->message =
			xasprintf("%s: %s", text, old ? old : strerror(ret < 0 ? -ret : EIO));
	}
	return ret;
}

void err_cause_add(struct err *err, const char *reason, const char *field, const char *fmt, ...)
{
	struct err_cause *c;
	va_list ap;

	if (!err)
		return;
	err->causes = xrealloc(err->causes, err->n_causes + 1, sizeof(*err->causes));
	c = &err->causes[err->n_causes++];
	c->reason = reason;
	c->field = xstrdup_null(field);
	va_start(ap, fmt);
	c->message = xvasprintf(fmt, ap);
	va_end(ap);
}

static void fill(char **slot, const char *value)
{
	if (!*slot && !str_empty(value))
		*slot = xstrdup(value);
}

void err_about(struct err *err, const char *kind, const char *group, const char *name)
{
	if (!err)
		return;
	fill(&err->kind, kind);
	fill(&err->group, group);
	fill(&err->name, name);
}

void err_copy(struct err *dst, const struct err *src)
{
	if (!dst || dst == src)
		return;
	err_done(dst);
	dst->reason = src->reason;
	dst->code = src->code;
	dst->retry_after = src->retry_after;
	dst->message = xstrdup_null(src->message);
	err_about(dst, src->kind, src->group, src->name);
	fill(&dst->uid, src->uid);
	for (size_t i = 0; i < src->n_causes; i++)
		err_cause_add(dst, src->causes[i].reason, src->causes[i].field, "%s",
			      src->causes[i].message);
}

void err_done(struct err *err)
{
	for (size_t i = 0; i < err->n_causes; i++) {
		free(err->causes[i].field);
		free(err->causes[i].message);
	}
	free(err->causes);
	free(err->message);
	free(err->kind);
	free(err->group);
	free(err->name);
	free(err->uid);
	*err = (struct err){0};
}

int err_http_code(const struct err *err)
{
	return err->code ? err->code : reasons[err->reason].http;
}

const char *err_reason_name(enum err_reason reason)
{
	return reasons[reason].name;
}

const char *err_message(const struct err *err)
{
	return err && err->message ? err->message : "unknown error";
}
