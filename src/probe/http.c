/* SPDX-License-Identifier: Apache-2.0 */
/* HTTP check as kubelet does it: GET, 200 to 399 is good, redirects to the same host are followed.
 */
#include "internal.h"

enum { HTTP_BODY_MAX = 10 * 1024, HTTP_TOLD_MAX = 512, HTTP_REDIRECTS = 10 };

static char *url_of(const struct check *c)
{
	const struct probe_config *p = &c->target->config;
	char addr[ADDR_TEXT_MAX];
	const char *path = c->location ? c->location : str_empty(p->path) ? "/" : p->path;

	return xasprintf("%s://%s%s%s", p->https ? "https" : "http", check_address(c, addr),
			 *path == '/' ? "" : "/", path);
}

/* Go's words for the errors that users know from kubelet. */
static void failed(struct check *c, const char *why)
{
	auto_free char *url = url_of(c);
	char addr[ADDR_TEXT_MAX];

	check_address(c, addr);
	if (strstr(why, "refused"))
		check_end(c, false, "Get \"%s\": dial tcp %s: connect: connection refused", url,
			  addr);
	else if (strstr(why, "No route"))
		check_end(c, false, "Get \"%s\": dial tcp %s: connect: no route to host", url,
			  addr);
	else if (strstr(why, "end of stream"))
		check_end(c, false, "Get \"%s\": EOF", url);
	else
		check_end(c, false, "Get \"%s\": %s", url, why);
}

static void http_start(struct check *c);

/* The path of a redirect that stays on this host, or NULL. */
static char *same_host(const struct check *c, const char *location)
{
	char addr[ADDR_TEXT_MAX];
	auto_free char *base = NULL;

	if (*location == '/' && location[1] != '/')
		return xstrdup(location);
	base = xasprintf("%s://%s", c->target->config.https ? "https" : "http",
			 check_address(c, addr));
	if (!str_starts(location, base) || location[strlen(base)] != '/')
		return NULL;
	return xstrdup(location + strlen(base));
}

static bool follow(struct check *c, int code, const char *location)
{
	char *path;

	if (code < 300 || code > 399 || !location)
		return false;
	path = same_host(c, location);
	if (!path)
		return false;
	free(c->location);
	c->location = path;
	return true;
}

static void judge(struct check *c, int code)
{
	if (code >= 200 && code < 300)
		check_end(c, true, "%s", "");
	else if (code >= 300 && code < 400)
		check_end(c, true, "Probe terminated redirects, Response body: %s",
			  c->body.len ? c->body.s : "");
	else
		check_end(c, false, "HTTP probe failed with statuscode: %d", code);
}

static void on_done(void *arg, const struct http_answer *answer, const char *why)
{
	struct check *c = arg;
	auto_free char *location = NULL;

	if (answer && c->call && http_call_header(c->call, "location"))
		location = xstrdup(http_call_header(c->call, "location"));
	c->call = NULL;
	if (!answer)
		failed(c, why);
	else if (!follow(c, answer->code, location))
		judge(c, answer->code);
	else if (++c->redirects < HTTP_REDIRECTS)
		http_start(c);
	else
		failed(c, "stopped after 10 redirects");
}

static void on_headers(void *arg, struct http_call *call UNUSED, int code)
{
	struct check *c = arg;

	c->code = code;
	c->body_len = 0;
	strbuf_reset(&c->body);
}

/* A long page is as good as a short one: no more of it is read than kubelet reads. */
static void on_body(void *arg, const void *data, size_t len)
{
	struct check *c = arg;
	bool redirect = c->code >= 300 && c->code <= 399;

	c->body_len += len;
	if (redirect && c->body.len < HTTP_TOLD_MAX)
		strbuf_add(&c->body, data,
			   len < HTTP_TOLD_MAX - c->body.len ? len : HTTP_TOLD_MAX - c->body.len);
	if (c->body_len >= HTTP_BODY_MAX && !redirect)
		judge(c, c->code);
}

static const struct http_call_ops call_ops = {
	.on_headers = on_headers, .on_data = on_body, .on_done = on_done};

/* Kubelet checks no certificate: made once, kept. */
static struct tls *insecure_tls(void)
{
	static struct tls *tls;
	const struct tls_config config = {.insecure = true};

	if (!tls)
		tls = tls_new(&config, NULL);
	return tls;
}

static bool has_header(const struct probe_config *p, const char *name)
{
	for (size_t i = 0; i < p->n_headers; i++)
		if (!strcasecmp(p->headers[i].name, name))
			return true;
	return false;
}

static void http_start(struct check *c)
{
	const struct probe_config *p = &c->target->config;
	const char **headers auto_free = xcalloc(2 * p->n_headers + 5, sizeof(*headers));
	auto_free char *path = NULL;
	const char *wanted = c->location ? c->location : str_empty(p->path) ? "/" : p->path;
	struct http_call_config call = {
		.method = "GET", .headers = headers, .tls = p->https ? insecure_tls() : NULL};
	char addr[ADDR_TEXT_MAX];
	auto_err err = {0};
	size_t n = 0;

	path = xasprintf("%s%s", *wanted == '/' ? "" : "/", wanted);
	call.path = path;
	call.host = p->host ? p->host : check_address(c, addr);
	call.to.len = sizeof(p->addr);
	memcpy(&call.to.ss, &p->addr, sizeof(p->addr));
	if (!has_header(p, "User-Agent")) {
		headers[n++] = "User-Agent";
		headers[n++] = "kube-probe/1.33";
	}
	if (!has_header(p, "Accept")) {
		headers[n++] = "Accept";
		headers[n++] = "*/*";
	}
	for (size_t i = 0; i < p->n_headers; i++) {
		if (!strcasecmp(p->headers[i].name, "Host")) {
			call.host = p->headers[i].value;
			continue;
		}
		headers[n++] = p->headers[i].name;
		headers[n++] = p->headers[i].value;
	}
	c->call = http_call(c->loop, &call, &call_ops, c, &err);
	if (!c->call)
		failed(c, err_message(&err));
}

static void http_begin(struct check *c)
{
	free(c->location);
	c->location = NULL;
	http_start(c);
}

static void http_cancel(struct check *c)
{
	if (c->call)
		http_call_cancel(c->call);
	c->call = NULL;
}

static void http_timeout(struct check *c)
{
	auto_free char *url = url_of(c);

	check_end(c, false,
		  "Get \"%s\": context deadline exceeded (Client.Timeout exceeded while awaiting "
		  "headers)",
		  url);
}

const struct check_ops http_check = {http_begin, http_cancel, http_timeout};
