/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Private to api: one request in service (struct call), the route table, and the answers.
 *
 * Order of a request: call_new -> authenticate -> impersonate -> route -> permission -> handler. A
 * handler ends the call with exactly one of the call_reply_* / call_end functions, now or later;
 * when the client goes first, call->on_gone is told and the call is over.
 */
#ifndef CORACLE_SRC_API_INTERNAL_H
#define CORACLE_SRC_API_INTERNAL_H

#include <coracle/api.h>

struct call;

/* ---- who asks ---------------------------------------------------------------------------- */

enum auth {
	AUTH_NONE, /* no credentials: anonymous */
	AUTH_KNOWN,
	AUTH_REFUSED, /* credentials that are nobody's: 401 */
};
/* Fills ret from socket credentials, client certificate or bearer token; anonymous otherwise. */
enum auth auth_user(const struct api *a, const struct http_request *req, struct user *ret);
/* Whose the bearer token is; audiences and ret_audiences as for identity_token_check(). 401. */
int auth_bearer(const struct api *a, const char *token, const json_t *audiences, struct user *ret,
		json_t **ret_audiences, struct err *err) MUST_CHECK;
/* Takes on the user of the Impersonate-* headers; false: answered, he may not. */
bool auth_impersonate(struct call *c);

/* ---- may he ------------------------------------------------------------------------------ */

/* Whether the user may do what his request's route asks for; false: answered with 403. */
bool access_check(struct call *c);
/* The same without an answer, and without what only the body could tell. */
bool access_permitted(struct call *c);
/* Whether he may do this; false: answered with 403. */
bool access_granted(struct call *c, const struct access *a);
/* 403 in Kubernetes' words. reason may be NULL. */
int access_error(struct err *err, const struct user *u, const struct access *a, const char *reason);

/* ---- what is asked ----------------------------------------------------------------------- */

enum media {
	MEDIA_JSON,
	MEDIA_YAML,
	MEDIA_TABLE,
	MEDIA_PARTIAL,	  /* PartialObjectMetadata(List) */
	MEDIA_AGGREGATED, /* APIGroupDiscoveryList */
	MEDIA_NONE,	  /* nothing that we have */
};
struct accept {
	enum media media;
	bool of_list;	  /* PartialObjectMetadataList, not PartialObjectMetadata */
	char version[16]; /* of Table, PartialObjectMetadata, APIGroupDiscoveryList */
};
enum accept_for { ACCEPT_PLAIN, ACCEPT_OBJECT, ACCEPT_DISCOVERY };
/* The first media range of the Accept headers that an answer of this sort can have. */
struct accept accept_parse(const struct http_request *req, enum accept_for what);
/* Index of the media type (the list ends with NULL) that the client likes best, the first when it
 * does not say; -1: none of them. */
int accept_choose(const struct http_request *req, const char *const *types);

/* Content-Type without its parameters, lower case; "" when absent. */
void content_type(const struct http_request *req, char buf[static 64]);

/* A path below /api/v1 or /apis/<group>/<version>, decoded. */
struct target {
	char *group, *version, *ns, *plural, *name, *sub;
	const struct kind *kind; /* NULL: unknown resource */
	const char *rest;	 /* of the path, behind "/proxy"; undecoded, borrowed from it */
	bool watch;		 /* the deprecated form, /api/v1/watch/... */
};
bool target_parse(const char *path, struct target *ret);
void target_done(struct target *t);

/* What the permission to use a route is asked by. */
enum asks {
	ASK_PATH,     /* the method, in lower case, and the path: nonResourceURLs of RBAC */
	ASK_RESOURCE, /* the verb, and the target's group, resource, subresource, namespace, name */
};
struct route {
	const char *method;
	/* A path with * for one segment, ** for the rest; or @list, @item, @item/<subresource>. */
	const char *path;
	const char *verb; /* for permission, messages and metrics */
	enum asks asks;
	unsigned kind_verb; /* the kind (or subresource) must have it; 0: do not look */
	void (*handle)(struct call *c);
	bool streaming; /* the body comes in pieces */
};
enum route_result { ROUTE_FOUND, ROUTE_NO_PATH, ROUTE_NO_METHOD };
enum route_result route_find(const char *method, const char *path, const struct target *t,
			     const struct route **ret);

/* ---- WebSockets -------------------------------------------------------------------------- */

struct ws_protocol {
	const char *name; /* "": for clients that offer none */
	bool base64;	  /* in text messages */
	unsigned version;
	bool text; /* the payload is text by itself */
};
/* A token of a client that cannot send headers travels as the rest of such a "protocol". */
#define WS_BEARER "base64url.bearer.authorization.k8s.io."
/* The first protocol offered that is in the list, which ends with a NULL name; NULL: none. */
const struct ws_protocol *ws_offered(struct call *c, const struct ws_protocol *list);
/* Same; adds the answer's headers. NULL: refused, the call is answered. */
const struct ws_protocol *ws_choose(struct call *c, const struct ws_protocol *list);

/* ---- one request ------------------------------------------------------------------------- */

struct call {
	struct list node; /* in api->calls */
	struct api *api;
	struct http_request *req; /* NULL: the client has gone, or is at the other end of feed */
	struct feed *feed;	  /* a WebSocket in place of an answer */
	const struct route *route;
	const char *verb; /* the route's, or "watch" */
	struct target target;
	struct user user;
	char *selected; /* name that the field selector wants, or NULL */
	struct accept accept;
	struct strv warnings; /* Warning headers */
	struct write_by by;   /* what admission policies are told of the user */
	bool immutable;	      /* the answer may be kept: not "no-cache" */
	char *manager;	      /* see call_manager() */
	char *next_token;     /* Status.metadata.continue of an error answer, or NULL */
	mono_t since;
	/* For work that goes on behind the handler. */
	void (*on_gone)(struct call *c);
	void *data;
	bool over;
	/* Handled by a task (aside.c). */
	struct task task;
	uint64_t seen;	   /* revision of the target when the handler began; 0: absent */
	unsigned attempts; /* so far */
	bool aside, again;
	bool gone;	     /* the client, while the task goes on */
	store_done_fn *late; /* what is durable before the task has ended is told then */
	struct err *late_err;
};
/* Calls the handler, by a task when there may be much to do. */
void call_handle(struct call *c);
/* A handler that failed with err asks whether it was overtaken and shall return, to be called once
 * more; nothing is answered then. */
bool call_again(struct call *c, const struct err *err) MUST_CHECK;
/* For what is told of a write: true when the handler is not through; fn is called then. */
bool call_done_later(struct call *c, store_done_fn *fn, const struct err *err);
/* The client has gone; true: the task goes on without him. */
bool call_aside_gone(struct call *c);
/* Ends the call when the client has gone and the work has been told; call->req is not used. */
void call_forget(struct call *c);
/* Text is copied. type NULL: application/json. */
void call_reply(struct call *c, int code, const char *type, const char *text, size_t len);
void call_reply_take(struct call *c, int code, const char *type, char *text, size_t len);
void call_reply_json(struct call *c, int code, json_t *v /* stolen */);
void call_reply_text(struct call *c, int code, const char *text);
/* The object as the client wants it: JSON, YAML, Table, PartialObjectMetadata. */
void call_reply_object(struct call *c, int code, const struct object *o);
/* The Status of err; what the error does not say of the resource is filled in. */
void call_reply_err(struct call *c, const struct err *err);
void call_reply_error(struct call *c, enum err_reason reason, const char *fmt, ...)
	PRINTF_LIKE(3, 4);
/* The client's If-None-Match saves sending what it has; true when it is answered so. The type is
 * that of the document: caches put the headers of a 304 into what they keep (RFC 9111, 3.2). */
bool reply_unchanged(struct call *c, const char *type, const char *hash);
/* Streams: start, chunks through call->req, end. */
void call_start(struct call *c, int code, const char *type);
void call_end(struct call *c);
/*
 * Answers that go on for long: chunks of an answer with code 200, or messages of a WebSocket with
 * one of the protocols when the client asks for that. False: refused, the call is answered; else
 * any number of call_send(), then call_end(). A WebSocket's call lives on without its request.
 */
bool call_stream(struct call *c, const char *type, const struct ws_protocol *protocols);
void call_send(struct call *c, const void *data, size_t len); /* one chunk, one message */
size_t call_backlog(const struct call *c);
void call_on_drain(struct call *c, void (*fn)(void *arg), void *arg);
void feed_lost(struct call *c, const char *why); /* the WebSocket's client has gone */
/* The connection has been taken over. */
struct stream *call_upgrade(struct call *c, const char *protocol);

/* Watches over a client that an answer, made as it reads, waits for: when it does not read for long
 * the answer is broken off and on_gone told. Zero-initialise. */
struct stall {
	struct call *call;
	struct timer *timer; /* NULL until it is needed */
	size_t backlog;	     /* when it was armed */
};
void stall_wait(struct stall *s, struct call *c);
void stall_over(struct stall *s); /* it has read */
void stall_done(struct stall *s);

/* Whether the request is a watch, by the query or by the old path. */
bool call_is_watch(const struct call *c);
/* Query parameters. All but "0" and "false" is true; a number that is none is an error. */
bool call_bool(const struct call *c, const char *name);
int call_int(const struct call *c, const char *name, int64_t fallback, int64_t *ret,
	     struct err *err) MUST_CHECK;
/* 404 of a path that is none: JSON where the API is, else text. */
void call_reply_no_path(struct call *c);
/* 406 in Kubernetes' words. */
int call_not_acceptable(struct err *err);
int err_not_found(struct err *err, const struct kind *k, const char *name);
/* The pod (or other object) of the call's target, borrowed; NULL + 404. */
const struct object *call_object(struct call *c, struct err *err);
bool request_has_body(const struct http_request *req);

json_t *status_json(const struct err *err, const char *continue_token);

/* ---- bodies ------------------------------------------------------------------------------ */

int call_validation(struct call *c, enum field_validation *ret, struct err *err) MUST_CHECK;
/* The request's body as an object of m (NULL: any); kind and apiVersion are checked and filled in.
 */
json_t *call_body(struct call *c, const struct message *m, const char *api_version,
		  const char *kind, struct err *err);
/* The same, where clients may also give an older version with the same fields. */
json_t *call_body_older(struct call *c, const struct message *m, const char *api_version,
			const char *older, const char *kind, struct err *err);
/* dryRun, fieldManager and DeleteOptions. Strings in o live as long as the call's *options. */
struct delete_options {
	struct write_options write;
	json_t *body;
	char *propagation;
};
/* 422 about an option of the write; reason and text are those of the cause. */
int option_invalid(const struct call *c, const char *reason, const char *field, const char *text,
		   struct err *err);
int call_dry_run(struct call *c, bool *ret, struct err *err) MUST_CHECK;
/* Whose the changed fields will be: fieldManager, or what User-Agent names; lives as the call. */
/* Who writes, for struct write_options; lives as the call. */
const struct write_by *call_by(struct call *c);
/* Whether an object of a custom kind is one by its kind and apiVersion. */
int check_custom_type(const struct kind *k, const json_t *obj, struct err *err) MUST_CHECK;
/* Whether admission policies let the call connect to the subresource ("exec"). */
int call_connect(struct call *c, const char *sub, struct err *err) MUST_CHECK;
int call_manager(struct call *c, const char **ret, struct err *err) MUST_CHECK;
int call_delete_options(struct call *c, json_t *body /* borrowed or NULL */,
			struct delete_options *ret, struct err *err) MUST_CHECK;
void delete_options_done(struct delete_options *o);

/* ---- handlers ---------------------------------------------------------------------------- */

void handle_list(struct call *c); /* and watch */
void handle_get(struct call *c);
void handle_watch(struct call *c);
void handle_create(struct call *c);
void handle_update(struct call *c);
void handle_patch(struct call *c);
void handle_apply(struct call *c); /* of handle_patch */
void handle_delete(struct call *c);
void handle_delete_collection(struct call *c);
void handle_scale_get(struct call *c);
void handle_scale_put(struct call *c);
void handle_scale_patch(struct call *c);
void handle_binding(struct call *c);
void handle_bindings(struct call *c);
void handle_eviction(struct call *c);
void handle_log(struct call *c);
void handle_exec(struct call *c);
void handle_attach(struct call *c);
void handle_port_forward(struct call *c);
void handle_proxy(struct call *c);
void handle_api_versions(struct call *c);
void handle_groups(struct call *c);
void handle_group(struct call *c);
void handle_resources(struct call *c);
void handle_openapi_v2(struct call *c);
void handle_root(struct call *c);
void handle_openapi_v3(struct call *c);
void handle_openapi_v3_document(struct call *c);
void handle_version(struct call *c);
void handle_health(struct call *c);
void handle_metrics(struct call *c);
void handle_access_review(struct call *c); /* self, subject and local */
void handle_rules_review(struct call *c);
void handle_self_review(struct call *c);
/* authentication.k8s.io/v1 UserInfo. */
json_t *user_info(const struct user *u);
void handle_token_request(struct call *c);
void handle_token_review(struct call *c);
void handle_openid_configuration(struct call *c);
void handle_key_set(struct call *c);
void handle_kubeconfig(struct call *c);
void handle_show_names(struct call *c);
void handle_show(struct call *c);
void handle_images(struct call *c);
void handle_image_load(struct call *c);
void handle_image_pull(struct call *c);
void handle_image_remove(struct call *c);
void handle_node_stop(struct call *c);
void handle_daemon_version(struct call *c);

/* write_options.admit of every write that a client asks for (arg: its call). */
int admit_write(void *arg, const struct kind *k, const char *sub, json_t *obj,
		const struct object *old, struct err *err);
/* Finishes a write: replies with the object once it is durable. The object is borrowed. */
void write_wait(struct call *c, int code, const struct object *o);
/* The API ends, and the store tells nobody any more: ends a call that waits for a write. */
void write_abandon(struct call *c);
struct write_options write_options_for(struct call *c);
/* Those of the query: dryRun, fieldManager. */
int write_options_parse(struct call *c, struct write_options *o, struct err *err) MUST_CHECK;
/* Stores obj in place of the target; the common end of PUT and PATCH. */
void write_update(struct call *c, json_t *obj, const struct write_options *options);
/* The configuration that the request applies, of type m, and its options; NULL + err. */
json_t *apply_body(struct call *c, const struct message *m, const char *api_version,
		   const char *kind, struct write_options *o, struct err *err);
/* Patches v by the request's body and content type; m for strategic patches. NULL + err. */
json_t *patch_apply(struct call *c, const struct message *m, const json_t *v, struct err *err);

/* ---- lists ------------------------------------------------------------------------------- */

/* What a list, watch or deletecollection selects. */
struct selection {
	struct label_selector *labels; /* NULL: all */
	struct field_selector *fields;
};
int selection_parse(struct call *c, struct selection *ret, struct err *err) MUST_CHECK;
void selection_done(struct selection *s);
bool selection_matches(const struct selection *s, const struct call *c, const struct object *o);
/* Whether asking the selection, and giving the object its form, belongs into a task. */
bool selection_is_long(const struct selection *s, const struct call *c, const struct object *o);

/* What is asked of a list or watch besides the selection. */
struct list_options {
	char *rv, *match, *token;    /* as given; NULL: not given */
	size_t limit;		     /* 0: none */
	bool initial_given, initial; /* sendInitialEvents */
	bool exact;		     /* the state at rev, not merely one that is not older */
	uint64_t rev;		     /* lists: of the answer; watches: as given, or 0 */
	int64_t since;		     /* when the first page was given */
	char *after_ns, *after_name; /* the key to go on behind; NULL: from the start */
	struct store_past *past;     /* the state to show; NULL: the newest */
	char *next_token;	     /* for the answer that says that the token has expired */
};
/* On failure, too, list_options_done() is to be called. */
int list_options_parse(struct call *c, bool watch, struct list_options *ret,
		       struct err *err) MUST_CHECK;
void list_options_done(struct list_options *o);
/* Of a get: an object as new as a resourceVersion that is yet to come cannot be given. */
int get_options_check(struct call *c, struct err *err) MUST_CHECK;
/* The token that goes on behind `last`; caller frees. */
char *list_token(const struct list_options *o, const struct object *last);

/* References to candidates for a selection, in order: they still have to be asked whether they
 * match, which takes time and is done in slices. */
struct snapshot {
	const struct object **objects; /* references */
	size_t n, cap;
};
void snapshot_take(struct call *c, const struct selection *sel, const struct list_options *o,
		   struct snapshot *ret);
void snapshot_add(struct snapshot *s, const struct object *o);
/* The i-th one, in the version that the call asks for. It is converted only here, since that takes
 * time, too. */
const struct object *snapshot_at(const struct call *c, struct snapshot *s, size_t i);
void snapshot_done(struct snapshot *s);
/* Answers with these objects (taken over) as a list of the call's kind; more: the limit cut it. */
void list_reply(struct call *c, struct list_options *o /* taken over */, struct snapshot *s,
		bool more);
/* Texts from this length on are gone through by tasks: shorter ones take less than a slice. */
#define LARGE_TEXT (8u * 1024)

/* usage.c: kinds that are not stored. Calls the route's handler once there is something to tell. */
void computed_handle(struct call *c);
/* The object of the call's target, borrowed; NULL: there is none. */
const struct object *computed_get(struct call *c);
void computed_list(struct call *c, const struct selection *sel,
		   void (*add)(struct snapshot *s, const struct object *o), struct snapshot *s);
/* The same of ComponentStatus, which need not be waited for (components.c). */
const struct object *component_get(struct call *c);
void component_list(struct call *c, const struct selection *sel,
		    void (*add)(struct snapshot *s, const struct object *o), struct snapshot *s);

int table_include_parse(struct call *c, enum table_include *ret, struct err *err) MUST_CHECK;
json_t *partial_new(const json_t *obj, const char *version);

/* ---- the module -------------------------------------------------------------------------- */

struct condition {
	const char *name; /* static */
	char *why;	  /* NULL: fine */
};
struct api {
	struct loop *loop;
	struct registry *registry;
	struct store *store;
	struct api_config config; /* strings owned */
	struct http_server *local, *secure;
	struct tls *tls;
	struct tls *proxy_tls; /* to pods, made when it is needed */
	char *token;
	struct list calls;
	struct list sessions; /* SPDY sessions, see session.h */
	struct condition ready[16];
	size_t n_ready;
	unsigned n_watches;
	struct list bookmarks; /* watches that want them */
	struct timer *bookmark_timer;
	struct map counters, durations; /* metrics.c */
};

/* metrics.c */
void api_count(struct call *c, int code);
void api_metrics(void *api, struct strbuf *out);
void api_metrics_done(struct api *a);

/* A session that outlives its request: closed by api_free(). */
struct api_session {
	struct list node;
	void (*close)(struct api_session *s);
};
void session_add(struct api *a, struct api_session *s, void (*close)(struct api_session *s));
/* Whether one more connection may be taken out of the server's hands; false: answered with 429. */
bool session_room(struct call *c);

#endif
