/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One exchange with the daemon at a time, waited for on the loop.
 */
#include "config.h"

#include "internal.h"
#include <unistd.h>

#define BODY_PIECE 65536
#define LINE_MAX_BYTES ((size_t)32 << 20)
#define ERROR_BODY_MAX ((size_t)1 << 20)

struct exchange {
	struct cli *c;
	const struct query *q;
	struct reply *r;
	struct http_call *call;
	struct strbuf collected; /* of a failed streaming answer */
	int code;
	bool done;
};

void reply_done(struct reply *r)
{
	free(r->body);
	free(r->why);
	*r = (struct reply){0};
}

/* Warning: 299 - "text" (RFC 7234 section 5.5). */
static void print_warnings(const struct http_call *call)
{
	auto_strv list = {0};

	http_call_headers(call, "Warning", &list);
	for (size_t i = 0; i < list.n; i++) {
		const char *from = strchr(list.v[i], '"');
		auto_strbuf text = {0};

		for (const char *s = from ? from + 1 : ""; *s && *s != '"'; s++) {
			s += *s == '\\' && s[1];
			strbuf_addc(&text, *s);
		}
		if (text.len)
			fprintf(stderr, "Warning: %s\n", text.s);
	}
}

static void on_headers(void *arg, struct http_call *call, int code)
{
	struct exchange *x = arg;

	x->code = code;
	print_warnings(call);
}

static void on_data(void *arg, const void *data, size_t len)
{
	struct exchange *x = arg;

	if (x->code < 200 || x->code >= 300) {
		if (x->collected.len + len <= ERROR_BODY_MAX)
			strbuf_add(&x->collected, data, len);
		return;
	}
	if (x->q->on_data(x->q->arg, data, len))
		return;
	x->r->code = x->code;
	x->done = true;
	http_call_cancel(x->call);
}

static void on_done(void *arg, const struct http_answer *answer, const char *why)
{
	struct exchange *x = arg;

	if (answer) {
		x->r->code = answer->code;
		x->r->len = answer->body ? answer->body_len : x->collected.len;
		x->r->body = answer->body ? xstrndup(answer->body, answer->body_len)
					  : strbuf_steal(&x->collected);
	} else {
		/* A stream that breaks off in the middle still has its code. */
		x->r->code = x->q->on_data ? x->code : 0;
		x->r->why = xstrdup(why ? why : "connection closed");
	}
	x->done = true;
}

/* The next piece of the archive. Blocking reads of a file or pipe are fine in a client. */
static void on_drain(void *arg)
{
	struct exchange *x = arg;
	auto_free char *piece = xmalloc(BODY_PIECE);
	ssize_t n;

	do
		n = read(x->q->body_fd, piece, BODY_PIECE);
	while (n < 0 && errno == EINTR);
	if (n < 0) {
		x->r->why = xasprintf("cannot read the file: %s", strerror(errno));
		x->done = true;
		http_call_cancel(x->call);
		return;
	}
	http_call_write(x->call, piece, (size_t)n);
}

static int unreachable(const struct cli *c, const char *why)
{
	char text[ADDR_TEXT_MAX];

	if (strstr(why, "cannot connect"))
		fprintf(stderr, "error: %s (is coracled running?)\n", why);
	else
		fprintf(stderr, "error: no answer from coracled at %s: %s\n",
			addr_format(text, &c->server), why);
	return -EIO;
}

int client_call(struct cli *c, const struct query *q, struct reply *r)
{
	const char *headers[] = {"Accept",
				 q->accept ? q->accept : TYPE_JSON,
				 "User-Agent",
				 "coracle/" PACKAGE_VERSION,
				 q->type ? "Content-Type" : NULL,
				 q->type,
				 NULL};
	const struct http_call_config config = {
		.to = c->server,
		.method = q->method ? q->method : "GET",
		.path = q->path,
		.host = "localhost",
		.headers = headers,
		.body = q->body,
		.body_len = q->body_len,
		.stream_body = q->body_fd > 0,
		.max_body = (size_t)512 << 20,
		.timeout_us = q->timeout_us,
	};
	const struct http_call_ops ops = {
		.on_headers = on_headers,
		.on_data = q->on_data ? on_data : NULL,
		.on_done = on_done,
		.on_drain = q->body_fd > 0 ? on_drain : NULL,
	};
	struct exchange x = {.c = c, .q = q, .r = r};
	auto_err err = {0};

	x.call = http_call(c->loop, &config, &ops, &x, &err);
	if (!x.call)
		return unreachable(c, err_message(&err));
	if (loop_run_until(c->loop, &x.done, 0) < 0)
		r->why = xstrdup("the event loop failed");
	strbuf_done(&x.collected);
	if (!r->code)
		return unreachable(c, r->why);
	return 0;
}

/* ---- failures as kubectl words them --------------------------------------------------------- */

static char *cause_text(const json_t *cause)
{
	const char *field = json_str(cause, "field", ""), *message = json_str(cause, "message", "");

	return *field ? xasprintf("%s: %s", field, message) : xstrdup(message);
}

/* The Pod "x" is invalid: one cause, or a list of them. */
static char *invalid_text(const json_t *status)
{
	const json_t *details = json_at(status, "details"), *causes = json_at(details, "causes");
	const char *kind = json_str(details, "kind", ""), *name = json_str(details, "name", "");
	auto_strbuf b = {0};

	if (*kind || *name)
		strbuf_addf(&b, "The %s \"%s\" is invalid", kind, name);
	else
		strbuf_adds(&b, "The request is invalid");
	if (!json_array_size(causes)) {
		strbuf_addf(&b, ": %s", json_str(status, "message", ""));
		return strbuf_steal(&b);
	}
	strbuf_adds(&b, ": ");
	for (size_t i = 0; i < json_array_size(causes); i++) {
		auto_free char *text = cause_text(json_array_get(causes, i));

		strbuf_addf(&b, "%s%s", json_array_size(causes) > 1 ? "\n* " : "", text);
	}
	return strbuf_steal(&b);
}

char *reply_error_text(const struct reply *r, const char *context)
{
	json_auto_t *status = r->body ? json_loadb(r->body, r->len, 0, NULL) : NULL;
	const char *reason = json_str(status, "reason", "");
	const char *message = json_str(status, "message", NULL);
	auto_free char *plain = NULL;

	if (!message) {
		plain = xasprintf("the server answered %d%s%.200s", r->code, r->len ? ": " : "",
				  r->body ? r->body : "");
		plain[strcspn(plain, "\n")] = '\0';
		message = plain;
	}
	if (streq(reason, "Invalid") && json_at(status, "details"))
		return invalid_text(status);
	if (streq(reason, "Unauthorized"))
		return xstrdup("error: You must be logged in to the server (Unauthorized)");
	return xasprintf("Error from server%s%s%s: %s%s%s", *reason ? " (" : "", reason,
			 *reason ? ")" : "", context ? context : "", context ? ": " : "", message);
}

int reply_error(const struct reply *r, const char *context)
{
	auto_free char *text = reply_error_text(r, context);

	fprintf(stderr, "%s\n", text);
	return 1;
}

/* ---- JSON ----------------------------------------------------------------------------------- */

static json_t *reply_json(const struct reply *r, int *exit_code)
{
	auto_err err = {0};
	json_t *v = json_parse(r->body, r->len, &err);

	if (!v)
		*exit_code = cli_error("the server's answer is no JSON: %s", err_message(&err));
	return v;
}

json_t *client_get(struct cli *c, const char *path, bool missing_ok, int *exit_code)
{
	const struct query q = {.path = path};
	auto_reply r = {0};

	*exit_code = 1;
	if (client_call(c, &q, &r) < 0)
		return NULL;
	if (r.code == 404 && missing_ok) {
		*exit_code = 0;
		return NULL;
	}
	if (!reply_ok(&r)) {
		*exit_code = reply_error(&r, NULL);
		return NULL;
	}
	*exit_code = 0;
	return reply_json(&r, exit_code);
}

json_t *client_send(struct cli *c, const char *method, const char *path, const char *type,
		    const json_t *body, const char *context, int *exit_code)
{
	size_t len = 0;
	auto_free char *text = body ? json_text(body, &len) : NULL;
	const struct query q = {
		.method = method, .path = path, .type = type, .body = text, .body_len = len};
	auto_reply r = {0};

	*exit_code = 1;
	if (client_call(c, &q, &r) < 0)
		return NULL;
	if (!reply_ok(&r)) {
		*exit_code = reply_error(&r, context);
		return NULL;
	}
	*exit_code = 0;
	return reply_json(&r, exit_code);
}

/* ---- watches -------------------------------------------------------------------------------- */

struct watch {
	struct strbuf line;
	bool (*on_event)(void *arg, const char *type, json_t *object);
	void *arg;
	bool ended;
};

static bool watch_line(struct watch *w, const char *line, size_t len)
{
	json_auto_t *event = json_loadb(line, len, 0, NULL);
	const char *type = json_str(event, "type", "");

	if (!event)
		return true;
	if (streq(type, "ERROR"))
		return false;
	w->ended = !w->on_event(w->arg, type, json_object_get(event, "object"));
	return !w->ended;
}

static bool watch_data(void *arg, const char *data, size_t len)
{
	struct watch *w = arg;

	while (len) {
		const char *nl = memchr(data, '\n', len);
		size_t n = nl ? (size_t)(nl - data) : len;

		if (w->line.len + n > LINE_MAX_BYTES)
			return false;
		strbuf_add(&w->line, data, n);
		if (!nl)
			return true;
		if (w->line.len && !watch_line(w, w->line.s, w->line.len))
			return false;
		strbuf_reset(&w->line);
		data += n + 1;
		len -= n + 1;
	}
	return true;
}

int client_watch(struct cli *c, const char *path, const char *accept, uint64_t timeout_us,
		 bool (*on_event)(void *arg, const char *type, json_t *object), void *arg)
{
	struct watch w = {.on_event = on_event, .arg = arg};
	const struct query q = {.path = path,
				.accept = accept,
				.on_data = watch_data,
				.arg = &w,
				.timeout_us = timeout_us};
	mono_t start = mono_now();
	auto_reply r = {0};
	int failed = client_call(c, &q, &r);

	strbuf_done(&w.line);
	if (w.ended)
		return 0;
	if (timeout_us && mono_sub(mono_now(), start) >= timeout_us)
		return -ETIMEDOUT;
	if (!failed && !reply_ok(&r))
		reply_error(&r, NULL);
	return 1;
}
