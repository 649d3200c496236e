/* SPDX-License-Identifier: Apache-2.0 */
/* The module: listeners, and the way of every request from its arrival to its handler. */
#include "internal.h"

/* What upstream takes: 3 MiB. */
#define BODY_MAX (3u * 1024 * 1024)
/* What anybody else may send before he is refused; the reviews of oneself are smaller. */
#define STRANGER_BODY_MAX (64u * 1024)
#define CONNECTIONS_MAX 512
/* Of connections that carry streams; the server has given them up and does not count them. */
#define SESSIONS_MAX 512

/* ---- calls ------------------------------------------------------------------------------- */

static void call_free(void *p)
{
	struct call *c = p;

	target_done(&c->target);
	user_done(&c->user);
	free(c->selected);
	strv_done(&c->warnings);
	free(c->next_token);
	free(c->manager);
	if (c->late_err)
		err_done(c->late_err);
	free(c->late_err);
	free(c);
}

void call_forget(struct call *c)
{
	if (c->over)
		return;
	c->over = true;
	c->req = NULL;
	list_del(&c->node);
	loop_retire(c->api->loop, call_free, c);
}

static void on_request_gone(void *arg)
{
	struct call *c = arg;

	if (call_aside_gone(c))
		return;
	c->req = NULL;
	if (c->on_gone)
		c->on_gone(c);
	else
		call_forget(c);
}

static struct call *call_new(struct api *a, struct http_request *req)
{
	struct call *c = xnew(struct call);

	c->api = a;
	c->req = req;
	c->verb = "none";
	c->since = mono_now();
	list_add_tail(&a->calls, &c->node);
	http_request_on_gone(req, on_request_gone, c);
	return c;
}

/* ---- requests ---------------------------------------------------------------------------- */

/* Below /api or a group of ours: an answer of the API, if only that there is nothing. */
static bool is_served_path(const char *path)
{
	if (str_starts(path, "/api/"))
		return true;
	if (!str_starts(path, "/apis/"))
		return false;
	auto_free char *group =
		xstrndup(path + strlen("/apis/"), strcspn(path + strlen("/apis/"), "/"));
	json_auto_t *found = discovery_group(group);

	return found != NULL;
}

void call_reply_no_path(struct call *c)
{
	if (is_served_path(http_path(c->req)))
		call_reply_error(c, ERR_NOT_FOUND,
				 "the server could not find the requested resource");
	else
		call_reply_text(c, 404, "404 page not found\n");
}

static void route_failed(struct call *c, enum route_result result)
{
	if (result == ROUTE_NO_METHOD)
		call_reply_error(c, ERR_METHOD_NOT_ALLOWED,
				 "the server does not allow this method on the requested resource");
	else if (c->target.plural)
		call_reply_error(c, ERR_NOT_FOUND,
				 "the server could not find the requested resource");
	else
		call_reply_no_path(c);
}

/* What the request is about. The verb of what no route is for is that of its method. */
static enum route_result find_route(struct call *c)
{
	static const char *const verbs[][2] = {
		{"POST", "create"}, {"PUT", "update"}, {"PATCH", "patch"}, {"DELETE", "delete"}};
	const char *method = http_method(c->req);
	enum route_result found;

	if (!target_parse(http_path(c->req), &c->target))
		target_done(&c->target);
	found = route_find(method, http_path(c->req), &c->target, &c->route);
	/* A path that cannot be taken apart names no resource, whatever it looks like. */
	if (found == ROUTE_FOUND && c->route->asks == ASK_RESOURCE && !c->target.plural) {
		c->route = NULL;
		found = ROUTE_NO_PATH;
	}
	c->verb = found == ROUTE_FOUND ? c->route->verb : "get";
	for (size_t i = 0; i < ARRAY_SIZE(verbs) && found != ROUTE_FOUND; i++)
		if (streq(method, verbs[i][0]))
			c->verb = verbs[i][1];
	/* Of what changes something, no parameter makes a watch. */
	if (found == ROUTE_FOUND && *c->route->path == '@' && streq(c->route->method, "GET") &&
	    call_is_watch(c))
		c->verb = "watch";
	return found;
}

/* Streams and proxies answer in whatever form is asked for. */
static bool is_negotiated(const struct call *c)
{
	static const char *const subs[] = {"status", "scale", "finalize"};
	bool found = !c->target.sub;

	for (size_t i = 0; !found && i < ARRAY_SIZE(subs); i++)
		found = streq(c->target.sub, subs[i]);
	return found;
}

/* Refuses what could not be answered before anything is done. */
static int check_accept(const struct call *c, struct err *err)
{
	const struct kind *k = c->target.kind;
	bool list = !c->target.name && !call_is_watch(c) && !streq(http_method(c->req), "POST");

	if (!is_negotiated(c))
		return 0;
	if (c->accept.media == MEDIA_NONE)
		return call_not_acceptable(err);
	if (c->accept.media != MEDIA_PARTIAL || c->accept.of_list == list || call_is_watch(c))
		return 0;
	return err_set(err, ERR_NOT_ACCEPTABLE,
		       list ? "you requested PartialObjectMetadata, but the requested object is a "
			      "list (*%s.%s)"
			    : "you requested PartialObjectMetadataList, but the requested object "
			      "is not a list (*%s.%s)",
		       k->version, list ? k->list_kind : k->kind);
}

static void on_request(void *arg, struct http_request *req)
{
	struct api *a = arg;
	struct call *c = call_new(a, req);
	enum route_result found;
	auto_err err = {0};
	bool object;

	if (auth_user(a, req, &c->user) == AUTH_REFUSED) {
		call_reply_error(c, ERR_UNAUTHORIZED, "Unauthorized");
		return;
	}
	if (!auth_impersonate(c))
		return;
	found = find_route(c);
	log_debug("api: %s %s %s", c->user.name, http_method(req), http_path(req));
	if (!access_check(c))
		return;
	if (found != ROUTE_FOUND) {
		route_failed(c, found);
		return;
	}
	object = *c->route->path == '@';
	c->accept = accept_parse(req, object ? ACCEPT_OBJECT : ACCEPT_PLAIN);
	if (object && check_accept(c, &err) < 0) {
		call_reply_err(c, &err);
		return;
	}
	if (object)
		schema_warnings(c->target.kind, NULL, &c->warnings);
	if (object && streq(http_method(req), "GET"))
		registry_look(a->registry, c->target.kind);
	if (object && c->target.kind->computed)
		computed_handle(c);
	else
		call_handle(c);
}

/* How much of a body to take from whoever sends it: little, unless he may do what he asks for. */
static size_t body_limit(void *arg, const struct http_request *req)
{
	struct call c = {.api = arg, .req = (struct http_request *)(uintptr_t)req};
	size_t limit = STRANGER_BODY_MAX;

	if (auth_user(arg, req, &c.user) == AUTH_KNOWN &&
	    (c.user.admin || (find_route(&c) == ROUTE_FOUND && access_permitted(&c))))
		limit = BODY_MAX;
	target_done(&c.target);
	user_done(&c.user);
	free(c.selected);
	return limit;
}

static void on_too_large(void *arg, struct http_request *req)
{
	struct call *c = call_new(arg, req);

	if (auth_user(arg, req, &c->user) == AUTH_REFUSED)
		call_reply_error(c, ERR_UNAUTHORIZED, "Unauthorized");
	else
		call_reply_error(c, ERR_REQUEST_TOO_LARGE, "Request entity too large: limit is %u",
				 (unsigned)body_limit(arg, req));
}

bool request_has_body(const struct http_request *req)
{
	const char *length = http_header(req, "Content-Length");

	return http_header(req, "Transfer-Encoding") || (length && !streq(length, "0"));
}

/* Asked before the user is known to be allowed: the handler refuses without reading then. */
static bool is_streaming(void *arg UNUSED, const struct http_request *req)
{
	const struct route *r;
	struct target t = {0};

	if (!target_parse(http_path(req), &t))
		target_done(&t);
	bool streaming = route_find(http_method(req), http_path(req), &t, &r) == ROUTE_FOUND &&
			 r->streaming && (request_has_body(req) || !t.rest);

	target_done(&t);
	return streaming;
}

bool session_room(struct call *c)
{
	unsigned n = 0;

	list_foreach (&c->api->sessions, s, struct api_session, node)
		n += s != NULL;
	list_foreach (&c->api->calls, other, struct call, node)
		n += other->feed != NULL;
	if (n < SESSIONS_MAX)
		return true;
	call_reply_error(c, ERR_TOO_MANY_REQUESTS, "too many streams, try again later");
	return false;
}

void session_add(struct api *a, struct api_session *s, void (*close)(struct api_session *s))
{
	s->close = close;
	list_add_tail(&a->sessions, &s->node);
}

/* ---- show -------------------------------------------------------------------------------- */

static void show_requests(void *arg, json_t *rows)
{
	struct api *a = arg;

	list_foreach (&a->calls, c, struct call, node) {
		json_t *row = json_object();

		json_put_str(row, "verb", c->verb);
		json_put_str(row, "path",
			     c->req    ? http_path(c->req)
			     : c->feed ? "(WebSocket)"
				       : "(client gone)");
		json_put_str(row, "user", c->user.name ? c->user.name : "");
		json_put_int(row, "seconds",
			     (int64_t)(mono_sub(loop_now(a->loop), c->since) / USEC_PER_SEC));
		json_put_int(row, "backlog", c->req || c->feed ? (int64_t)call_backlog(c) : 0);
		json_array_append_new(rows, row);
	}
}

static void show_connections(void *arg, json_t *rows)
{
	struct api *a = arg;

	if (a->local)
		http_server_show(a->local, rows);
	if (a->secure)
		http_server_show(a->secure, rows);
}

/* ---- starting and stopping --------------------------------------------------------------- */

static void config_copy(struct api_config *dst, const struct api_config *src)
{
	*dst = *src;
	dst->socket_path = xstrdup_null(src->socket_path);
	dst->listen = xstrdup_null(src->listen);
	dst->pki_dir = xstrdup_null(src->pki_dir);
	dst->node_name = xstrdup_null(src->node_name);
	dst->git_version = xstrdup(src->git_version ? src->git_version : "v1.33.0");
}

static void config_done(struct api_config *c)
{
	free((char *)(uintptr_t)c->socket_path);
	free((char *)(uintptr_t)c->listen);
	free((char *)(uintptr_t)c->pki_dir);
	free((char *)(uintptr_t)c->node_name);
	free((char *)(uintptr_t)c->git_version);
}

static int listen_local(struct api *a, struct err *err)
{
	struct http_server_config c = {
		.listen.unix_gid = a->config.socket_gid,
		.listen.unix_mode = 0660,
		.on_request = on_request,
		.is_streaming = is_streaming,
		.on_too_large = on_too_large,
		.max_body = BODY_MAX,
		.body_limit = body_limit,
		.max_connections = CONNECTIONS_MAX,
		.arg = a,
	};

	if (addr_parse(a->config.socket_path, &c.listen.addr) < 0)
		return err_set(err, ERR_BAD_REQUEST, "malformed socket path %s",
			       a->config.socket_path);
	a->local = http_server_new(a->loop, &c, err);
	return a->local ? 0 : -EIO;
}

static int load_token(struct api *a, struct err *err)
{
	auto_free char *path = path_join(a->config.pki_dir, "token"), *text = NULL;
	size_t len;
	int rc = file_read(path, 4096, &text, &len);

	if (rc < 0)
		return err_errno(err, -rc, "cannot read %s", path);
	text[strcspn(text, "\r\n")] = '\0';
	a->token = steal_ptr(text);
	return 0;
}

static int listen_secure(struct api *a, struct err *err)
{
	auto_free char *cert = path_join(a->config.pki_dir, "server.crt");
	auto_free char *key = path_join(a->config.pki_dir, "server.key");
	auto_free char *ca = path_join(a->config.pki_dir, "ca.crt");
	struct tls_config t = {.server = true, .cert_file = cert, .key_file = key, .ca_file = ca};
	struct http_server_config c = {.on_request = on_request,
				       .is_streaming = is_streaming,
				       .on_too_large = on_too_large,
				       .max_body = BODY_MAX,
				       .body_limit = body_limit,
				       .max_connections = CONNECTIONS_MAX,
				       .arg = a};

	if (addr_parse(a->config.listen, &c.listen.addr) < 0)
		return err_set(err, ERR_BAD_REQUEST, "malformed listen address %s",
			       a->config.listen);
	int rc = load_token(a, err);

	if (rc < 0)
		return rc;
	a->tls = tls_new(&t, err);
	if (!a->tls)
		return -EIO;
	c.tls = a->tls;
	a->secure = http_server_new(a->loop, &c, err);
	return a->secure ? 0 : -EIO;
}

static int start(struct api *a, struct err *err)
{
	int rc = 0;

	if (rc == 0 && a->config.socket_path)
		rc = listen_local(a, err);
	if (rc == 0 && a->config.listen)
		rc = listen_secure(a, err);
	return rc;
}

struct api *api_new(struct loop *loop, struct registry *registry, const struct api_config *config,
		    struct err *err)
{
	struct api *a = xnew(struct api);

	a->loop = loop;
	a->registry = registry;
	a->store = registry_store(registry);
	list_init(&a->calls);
	list_init(&a->sessions);
	list_init(&a->bookmarks);
	config_copy(&a->config, config);
	show_register("requests", show_requests, a);
	show_register("connections", show_connections, a);
	metrics_register("api", api_metrics, a);
	if (start(a, err) < 0) {
		err_wrap(err, -EIO, "cannot start the API");
		api_free(a);
		return NULL;
	}
	return a;
}

static void api_bury(void *p)
{
	struct api *a = p;

	api_metrics_done(a);
	timer_free(a->bookmark_timer);
	for (size_t i = 0; i < a->n_ready; i++)
		free(a->ready[i].why);
	free(a->token);
	config_done(&a->config);
	free(a);
}

void api_free(struct api *a)
{
	if (!a)
		return;
	show_unregister("requests");
	show_unregister("connections");
	metrics_unregister("api");
	http_server_free(a->local);
	http_server_free(a->secure);
	tasks_finish(a->loop);
	list_foreach (&a->calls, c, struct call, node) {
		if (c->feed)
			feed_lost(c, "API ends");
		else
			write_abandon(c);
	}
	list_foreach (&a->sessions, s, struct api_session, node)
		s->close(s);
	if (a->tls)
		tls_unref(a->tls);
	if (a->proxy_tls)
		tls_unref(a->proxy_tls);
	loop_free_later(a->loop, api_bury, a);
}

int api_addr(const struct api *a, struct addr *ret)
{
	return a->secure ? http_server_addr(a->secure, ret) : -ENOENT;
}

void api_set_ready(struct api *a, const char *name, const char *why)
{
	size_t i = 0;

	while (i < a->n_ready && !streq(a->ready[i].name, name))
		i++;
	if (i == ARRAY_SIZE(a->ready))
		return;
	if (i == a->n_ready)
		a->ready[a->n_ready++].name = name;
	free(a->ready[i].why);
	a->ready[i].why = xstrdup_null(why);
}
