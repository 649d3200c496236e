/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The proxy subresource: a request to a pod, a service or a node is sent on, its answer comes back;
 * both bodies stream, and each side waits for the other. Of the headers, those of a connection stay
 * behind, and so do the client's credentials.
 */
#include "html.h"
#include "proxy.h"

#include <netdb.h>
#include <strings.h>

#define HIGH (256u * 1024)
#define CONNECT_US (30 * USEC_PER_SEC)

struct proxied {
	struct call *call;
	struct http_call *out;
	struct place place;
	char *prefix;	   /* of the path: up to and including "/proxy" */
	struct html *page; /* the answer's links are rewritten */
	bool started;	   /* the answer has begun */
	bool body;	   /* the request has one */
};

static void proxied_free(void *arg)
{
	struct proxied *p = arg;

	html_free(p->page);
	free(p->prefix);
	free(p);
}

/* ---- headers ----------------------------------------------------------------------------- */

/* Those of one connection only: RFC 9110 section 7.6.1, and what net/http/httputil drops. */
static bool is_hop(const char *name, const char *connection)
{
	static const char *const hops[] = {"Connection",
					   "Proxy-Connection",
					   "Keep-Alive",
					   "Proxy-Authenticate",
					   "Proxy-Authorization",
					   "TE",
					   "Trailer",
					   "Transfer-Encoding",
					   "Upgrade",
					   "Content-Length",
					   "Expect"};
	size_t len = strlen(name);

	for (size_t i = 0; i < ARRAY_SIZE(hops); i++)
		if (strcasecmp(name, hops[i]) == 0)
			return true;
	for (const char *s = connection; s && *s;) {
		s += strspn(s, ", \t");
		size_t n = strcspn(s, ", \t");

		if (n == len && strncasecmp(s, name, n) == 0)
			return true;
		s += n;
	}
	return false;
}

/* The client's own: its credentials are for us alone. */
static bool is_private(const char *name)
{
	return strcasecmp(name, "Authorization") == 0 ||
	       strncasecmp(name, "Impersonate-", strlen("Impersonate-")) == 0 ||
	       strcasecmp(name, "Host") == 0 || strcasecmp(name, "X-Forwarded-For") == 0 ||
	       strcasecmp(name, "X-Forwarded-Uri") == 0 ||
	       strcasecmp(name, "Sec-WebSocket-Protocol") == 0;
}

static void add_pair(struct strv *headers, const char *name, const char *value)
{
	strv_add(headers, name);
	strv_add(headers, value);
}

/* Without the one that is a token. */
static void add_ws_protocols(const struct http_request *req, struct strv *headers)
{
	auto_strv offered = {0};

	ws_protocols(req, &offered);
	for (size_t i = 0; i < offered.n; i++)
		if (!str_starts(offered.v[i], WS_BEARER))
			add_pair(headers, "Sec-WebSocket-Protocol", offered.v[i]);
}

/* The client's address behind those of the proxies before us. */
static void add_forwarded(const struct http_request *req, struct strv *headers)
{
	const char *before = http_header(req, "X-Forwarded-For");
	struct sockaddr_storage peer;
	socklen_t len = sizeof(peer);
	char text[64];

	if (getpeername(stream_fd(http_request_stream(req)), (struct sockaddr *)&peer, &len) < 0 ||
	    peer.ss_family == AF_UNIX ||
	    getnameinfo((struct sockaddr *)&peer, len, text, sizeof(text), NULL, 0,
			NI_NUMERICHOST) != 0)
		return;
	strv_add(headers, "X-Forwarded-For");
	strv_addf(headers, "%s%s%s", before ? before : "", before ? ", " : "", text);
}

static void request_headers(struct call *c, const char *upgrade, struct strv *headers)
{
	const char *connection = http_header(c->req, "Connection"), *name, *value;
	const char *accept = http_header(c->req, "Accept");
	bool page = accept && strstr(accept, "text/html"); /* it shall come as we can read it */

	for (unsigned i = 0; http_header_at(c->req, i, &name, &value); i++)
		if (!is_hop(name, connection) && !is_private(name) &&
		    !(page && strcasecmp(name, "Accept-Encoding") == 0))
			add_pair(headers, name, value);
	add_pair(headers, "X-Forwarded-Uri", http_path(c->req));
	add_forwarded(c->req, headers);
	add_ws_protocols(c->req, headers);
	if (upgrade) {
		add_pair(headers, "Connection", "Upgrade");
		add_pair(headers, "Upgrade", upgrade);
	}
}

/* Adds the answer's headers to ours. */
static void answer_headers(struct proxied *p)
{
	const char *connection = http_call_header(p->out, "Connection"), *name, *value;
	struct http_request *req = p->call->req;
	const char *host = http_header(req, "Host");

	for (unsigned i = 0; http_call_header_at(p->out, i, &name, &value); i++) {
		auto_free char *location = NULL;

		/* A page behind the proxy does not say who may read the API's origin. */
		if (is_hop(name, connection) ||
		    strncasecmp(name, "Access-Control-", strlen("Access-Control-")) == 0)
			continue;
		if (strcasecmp(name, "Location") == 0)
			value = location =
				proxy_location(value, p->prefix, p->place.text, host ? host : "");
		http_respond_header(req, name, value);
	}
	if (!http_call_header(p->out, "Cache-Control"))
		http_respond_header(req, "Cache-Control", "no-cache, private");
}

/* ---- the answer -------------------------------------------------------------------------- */

/* A page that we can read: its links have to lead through the proxy, too. */
static bool is_page(const struct http_call *out, const char *method)
{
	const char *type = http_call_header(out, "Content-Type");
	const char *encoding = http_call_header(out, "Content-Encoding");

	return type && strncasecmp(type, "text/html", 9) == 0 &&
	       (!type[9] || strchr("; \t", type[9])) && str_empty(encoding) &&
	       !http_call_header(out, "Location") && !streq(method, "HEAD");
}

static char *rewrite_link(void *arg, const char *link)
{
	const struct proxied *p = arg;
	const char *host = http_header(p->call->req, "Host");

	return proxy_location(link, p->prefix, p->place.text, host ? host : "");
}

static void on_headers(void *arg, struct http_call *out, int code)
{
	struct proxied *p = arg;
	const char *text = http_call_header(out, "Content-Length");
	uint64_t length;

	p->started = true;
	answer_headers(p);
	api_count(p->call, code);
	if (is_page(out, http_method(p->call->req)))
		p->page = html_new(rewrite_link, p);
	if (!p->page && text && str_to_u64(text, UINT64_MAX - 1, &length) == 0)
		http_respond_start_sized(p->call->req, code, NULL, length);
	else
		http_respond_start(p->call->req, code, NULL);
}

static void on_data(void *arg, const void *data, size_t len)
{
	struct proxied *p = arg;
	auto_strbuf page = {0};

	if (p->page) {
		html_feed(p->page, data, len, &page);
		data = page.s;
		len = page.len;
	}
	if (len)
		http_respond_chunk(p->call->req, data, len);
	if (http_respond_backlog(p->call->req) > HIGH)
		http_call_pause(p->out, true);
}

static void on_answer_drained(void *arg)
{
	struct proxied *p = arg;

	if (p->out)
		http_call_pause(p->out, false);
}

/* The words of Go's net package, which people search for. */
static char *failure_text(const struct proxied *p, const char *why)
{
	auto_free char *lower = xstrdup(why);

	if (*lower >= 'A' && *lower <= 'Z')
		*lower = (char)(*lower - 'A' + 'a');
	if (http_call_connected(p->out))
		return xstrdup(lower);
	if (streq(lower, "timed out"))
		return xasprintf("dial tcp %s: i/o timeout", p->place.text);
	return xasprintf("dial tcp %s: connect: %s", p->place.text, lower);
}

static void end_page(struct proxied *p)
{
	auto_strbuf rest = {0};

	if (p->page)
		html_end(p->page, &rest);
	if (rest.len)
		http_respond_chunk(p->call->req, rest.s, rest.len);
}

static void on_done(void *arg, const struct http_answer *answer, const char *why)
{
	struct proxied *p = arg;
	struct call *c = p->call;

	c->on_gone = NULL;
	if (answer) {
		end_page(p);
		call_end(c);
	} else if (p->started) {
		/* Half an answer must not look like a whole one. */
		http_abort(c->req, why);
		call_forget(c);
	} else {
		auto_free char *text = failure_text(p, why);

		call_reply_error(c, ERR_SERVICE_UNAVAILABLE, "error trying to reach service: %s",
				 text);
	}
	p->out = NULL;
	loop_free_later(c->api->loop, proxied_free, p);
}

/* ---- the request's body ------------------------------------------------------------------ */

static void on_piece(void *arg, const void *data, size_t len)
{
	struct proxied *p = arg;

	if (!p->out)
		return;
	http_call_write(p->out, data, len);
	if (http_call_backlog(p->out) > HIGH)
		http_request_pause(p->call->req, true);
}

static void on_request_drained(void *arg)
{
	struct proxied *p = arg;

	if (p->call->req)
		http_request_pause(p->call->req, false);
}

/* ---- upgrades ---------------------------------------------------------------------------- */

static void on_upgrade(void *arg, struct stream *backend)
{
	struct proxied *p = arg;
	struct call *c = p->call;
	const char *protocol = http_call_header(p->out, "Upgrade");
	struct api *a = c->api;

	answer_headers(p);
	struct stream *client = call_upgrade(c, protocol ? protocol : "unknown");

	p->out = NULL;
	loop_free_later(a->loop, proxied_free, p);
	tunnel_start(a, client, backend);
}

/* ---- the request ------------------------------------------------------------------------- */

static void client_gone(struct call *c)
{
	struct proxied *p = c->data;

	http_call_cancel(steal_ptr(p->out));
	loop_free_later(c->api->loop, proxied_free, p);
	call_forget(c);
}

/* A page's relative links need the slash behind "/proxy". */
static void redirect(struct call *c)
{
	const char *query = http_query(c->req);
	auto_free char *location =
		xasprintf("%s/%s%s", http_path(c->req), *query ? "?" : "", query);

	http_respond_header(c->req, "Location", location);
	call_reply(c, 301, NULL, NULL, 0);
}

/* The token of Upgrade when the client asks for another protocol. */
static const char *wanted_upgrade(const struct http_request *req)
{
	const char *upgrade = http_header(req, "Upgrade"), *s = http_header(req, "Connection");

	for (; upgrade && s && *s; s += strcspn(s, ", \t")) {
		s += strspn(s, ", \t");
		if (strncasecmp(s, "upgrade", 7) == 0 && strcspn(s, ", \t") == 7)
			return upgrade;
	}
	return NULL;
}

static int send_on(struct proxied *p, const char *rest, struct err *err)
{
	struct http_request *req = p->call->req;
	const char *upgrade = wanted_upgrade(req), *query = http_query(req);
	const char *length = http_header(req, "Content-Length");
	auto_free char *path = xasprintf("%s%s%s", *rest ? rest : "/", *query ? "?" : "", query);
	auto_strv headers = {0};
	struct http_call_ops ops = {.on_headers = on_headers,
				    .on_data = on_data,
				    .on_done = on_done,
				    .on_drain = on_request_drained,
				    .on_upgrade = upgrade ? on_upgrade : NULL};
	struct http_call_config config = {.to = p->place.addr,
					  .method = http_method(req),
					  .path = path,
					  .host = http_header(req, "Host"),
					  .stream_body = p->body,
					  .connect_timeout_us = CONNECT_US};
	struct api *a = p->call->api;

	request_headers(p->call, upgrade, &headers);
	config.headers = (const char *const *)headers.v;
	config.sized_body = length && str_to_u64(length, UINT64_MAX, &config.body_size) == 0;
	/* Certificates inside pods are nobody's business, as upstream has it. */
	if (p->place.tls && !a->proxy_tls)
		a->proxy_tls = tls_new(&(struct tls_config){.insecure = true}, err);
	if (p->place.tls && !a->proxy_tls)
		return -EIO;
	config.tls = p->place.tls ? a->proxy_tls : NULL;
	p->out = http_call(a->loop, &config, &ops, p, err);
	return p->out ? 0 : err_wrap(err, -EIO, "error trying to reach service");
}

void handle_proxy(struct call *c)
{
	const char *rest = c->target.rest ? c->target.rest : "";
	struct proxied *p;
	struct place place = {0};
	auto_err err = {0};

	if (call_connect(c, "proxy", &err) < 0) {
		call_reply_err(c, &err);
		return;
	}
	if (kubelet_page(c))
		return;
	if (place_find(c, &place, &err) < 0) {
		call_reply_err(c, &err);
		return;
	}
	if (wanted_upgrade(c->req) && !session_room(c))
		return;
	if (!*rest && !wanted_upgrade(c->req) &&
	    (streq(http_method(c->req), "GET") || streq(http_method(c->req), "HEAD"))) {
		redirect(c);
		return;
	}
	p = xnew(struct proxied);
	p->call = c;
	p->place = place;
	p->prefix = xstrndup(http_path(c->req), strlen(http_path(c->req)) - strlen(rest));
	p->body = request_has_body(c->req);
	if (send_on(p, rest, &err) < 0) {
		proxied_free(p);
		call_reply_err(c, &err);
		return;
	}
	c->data = p;
	c->on_gone = client_gone;
	http_respond_on_drain(c->req, on_answer_drained, p);
	if (p->body) {
		/* Pieces may be written when the connection is there. */
		http_request_on_body(c->req, on_piece, p);
		http_request_pause(c->req, true);
	}
}
