/* SPDX-License-Identifier: Apache-2.0 */
/*
 * watch: first what is there (when asked for), then every change, one JSON object a line. A client
 * that does not read gets its store watch paused; when the history has run past it, the watch ends
 * with 410 and the client lists again.
 */
#include "internal.h"

#define BACKLOG_HIGH (1024u * 1024)
#define BOOKMARK_US (60 * USEC_PER_SEC)
#define TIMEOUT_MIN_S 1800 /* without timeoutSeconds: half an hour to an hour */
/* Texts above this are sent from where they lie: a large object is not copied for every watch. */
#define REFERENCE_MIN (16u * 1024)

struct watch {
	struct list node; /* in api->bookmarks, when it wants some */
	struct call *call;
	struct selection sel;
	struct snapshot initial; /* not yet looked at: from `next` on */
	size_t next;
	uint64_t since; /* revision behind which changes are told */
	uint64_t sent;	/* newest revision the client has seen */
	struct store_watch *changes;
	struct timer *timeout;
	struct work work; /* goes on with the initial objects */
	enum table_include include;
	bool bookmarks, announce; /* announce: a bookmark ends the initial events */
	bool columns;		  /* column definitions have been sent */
	bool paused;
	struct task task;	  /* computes what is told of one large object */
	struct store_event event; /* that it computes; references */
	bool aside, gone;	  /* while it does so; and nobody waits for it any more */
};

static void watch_bury(struct watch *w)
{
	selection_done(&w->sel);
	snapshot_done(&w->initial);
	object_unref(w->event.obj);
	object_unref(w->event.old);
	loop_retire(w->call->api->loop, free, w);
}

static void watch_free(struct watch *w)
{
	w->call->api->n_watches--;
	registry_watched(w->call->api->registry, w->call->target.kind, false);
	list_del(&w->node);
	work_cancel(&w->work);
	store_watch_free(w->changes);
	timer_free(w->timeout);
	if (w->aside && !task_cancel(w->call->api->loop, &w->task))
		w->gone = true; /* the task buries it */
	else
		watch_bury(w);
}

static void watch_end(struct watch *w)
{
	struct call *c = w->call;

	watch_free(w);
	call_end(c);
}

static void watch_gone(struct call *c)
{
	watch_free(c->data);
	call_forget(c);
}

/* ---- events ------------------------------------------------------------------------------ */

static void send_text(struct watch *w, const char *type, const char *text, size_t len)
{
	auto_strbuf b = {0};

	if (w->gone)
		return;
	strbuf_addf(&b, "{\"type\":\"%s\",\"object\":", type);
	strbuf_add(&b, text, len);
	strbuf_adds(&b, "}\n");
	call_send(w->call, b.s, b.len);
}

static void send_json(struct watch *w, const char *type, json_t *v /* stolen */)
{
	json_auto_t *owned = v;
	size_t len;
	auto_free char *text = json_text(owned, &len);

	send_text(w, type, text, len);
}

/* An object in the client's form; json may differ from o's own (selector transitions). */
static void send_as(struct watch *w, const char *type, const struct kind *k, const json_t *json,
		    uint64_t rev)
{
	const struct accept *accept = &w->call->accept;

	if (accept->media == MEDIA_PARTIAL) {
		send_json(w, type, partial_new(json, accept->version));
		return;
	}
	json_t *table = table_new(k, accept->version, !w->columns);

	w->columns = true;
	table_add(k, table, json, w->include, time(NULL));
	json_put_strf(table, "metadata.resourceVersion", "%llu", (unsigned long long)rev);
	send_json(w, type, table);
}

static void unref_object(void *o)
{
	object_unref(o);
}

static void send_reference(struct watch *w, const char *type, const struct object *o)
{
	struct http_request *req = w->call->req;

	if (w->gone)
		return;
	auto_free char *head = xasprintf("{\"type\":\"%s\",\"object\":", type);

	http_respond_chunk(req, head, strlen(head));
	http_respond_chunk_ref(req, o->text, o->len, unref_object, object_ref(o));
	http_respond_chunk(req, "}\n", 2);
}

static void send_object(struct watch *w, const char *type, const struct object *o)
{
	w->sent = o->rev > w->sent ? o->rev : w->sent;
	/* A message of a WebSocket is made of one piece. */
	if (w->call->accept.media == MEDIA_JSON && o->len >= REFERENCE_MIN && !w->call->feed)
		send_reference(w, type, o);
	else if (w->call->accept.media == MEDIA_JSON)
		send_text(w, type, o->text, o->len);
	else
		send_as(w, type, o->kind, object_json(o), o->rev);
}

/* The object has left the selection: its last state inside, with the revision of the change. */
static void send_left(struct watch *w, const struct store_event *ev)
{
	json_auto_t *last = object_dup(ev->old);

	json_put_strf(last, "metadata.resourceVersion", "%llu", (unsigned long long)ev->rev);
	w->sent = ev->rev;
	if (w->call->accept.media == MEDIA_JSON)
		send_json(w, "DELETED", steal_ptr(last));
	else
		send_as(w, "DELETED", ev->obj->kind, last, ev->rev);
}

static void send_bookmark(struct watch *w, uint64_t rev, bool initial_end)
{
	const struct kind *k = w->call->target.kind;
	char version[API_VERSION_MAX];
	json_t *v = json_object();

	if (w->call->accept.media == MEDIA_TABLE) {
		json_put_str(v, "kind", "Table");
		json_put_strf(v, "apiVersion", "meta.k8s.io/%s", w->call->accept.version);
		json_put(v, "columnDefinitions", json_array());
		json_put(v, "rows", json_array());
	} else if (w->call->accept.media == MEDIA_PARTIAL) {
		json_put_str(v, "kind", "PartialObjectMetadata");
		json_put_strf(v, "apiVersion", "meta.k8s.io/%s", w->call->accept.version);
	} else {
		json_put_str(v, "kind", k->kind);
		json_put_str(v, "apiVersion", kind_api_version(k, version));
	}
	json_put_strf(v, "metadata.resourceVersion", "%llu", (unsigned long long)rev);
	if (initial_end)
		json_object_set_new(json_obj(v, "metadata.annotations"),
				    "k8s.io/initial-events-end", json_string("true"));
	send_json(w, "BOOKMARK", v);
}

static void watch_lost(void *arg)
{
	struct watch *w = arg;
	auto_err err = {0};

	err_set(&err, ERR_EXPIRED, "too old resource version: %llu (%llu)",
		(unsigned long long)w->sent, (unsigned long long)store_rev(w->call->api->store));
	send_json(w, "ERROR", status_json(&err, NULL));
	watch_end(w);
}

static void send_event(struct watch *w, const struct store_event *ev)
{
	static const char *const names[] = {[STORE_ADDED] = "ADDED",
					    [STORE_MODIFIED] = "MODIFIED",
					    [STORE_DELETED] = "DELETED"};
	bool now = selection_matches(&w->sel, w->call, ev->obj);
	bool before = ev->old && selection_matches(&w->sel, w->call, ev->old);

	switch (ev->type) {
	case STORE_ADDED:
		if (now)
			send_object(w, names[ev->type], ev->obj);
		return;
	case STORE_DELETED:
		if (now || before)
			send_object(w, names[ev->type], ev->obj);
		return;
	case STORE_MODIFIED:
		if (now)
			send_object(w, before ? "MODIFIED" : "ADDED", ev->obj);
		else if (before)
			send_left(w, ev);
		return;
	}
}

/* ---- large objects ----------------------------------------------------------------------- */

static void tell_large(void *arg)
{
	struct watch *w = arg;

	if (w->changes)
		send_event(w, &w->event);
	else if (selection_matches(&w->sel, w->call, w->event.obj))
		send_object(w, "ADDED", w->event.obj);
	w->aside = false;
	if (w->gone) {
		watch_bury(w);
		return;
	}
	object_unref(w->event.obj);
	object_unref(w->event.old);
	w->event = (struct store_event){0};
	if (!w->changes) {
		work_queue_next(w->call->api->loop, &w->work);
		return;
	}
	w->paused = call_backlog(w->call) > BACKLOG_HIGH;
	if (!w->paused)
		store_watch_resume(w->changes);
}

/* True: what is to be told of the object takes too long for a slice, a task sees to it. */
static bool put_aside(struct watch *w, const struct store_event *ev)
{
	size_t cost = ev->obj->len + (ev->old ? ev->old->len : 0);

	if (!selection_is_long(&w->sel, w->call, ev->obj) &&
	    !selection_is_long(&w->sel, w->call, ev->old))
		return false;
	w->event = *ev;
	object_ref(ev->obj);
	object_ref(ev->old);
	task_init(&w->task, tell_large, w);
	w->aside = true;
	if (task_start(w->call->api->loop, &w->task, cost) == 0)
		return true;
	w->aside = false; /* so many wait already: it is done here */
	object_unref(ev->obj);
	object_unref(ev->old);
	w->event = (struct store_event){0};
	return false;
}

static bool on_event(void *arg, const struct store_event *ev)
{
	struct watch *w = arg;

	if (put_aside(w, ev)) {
		w->paused = w->paused || w->aside;
		return !w->paused;
	}
	send_event(w, ev);
	w->paused = call_backlog(w->call) > BACKLOG_HIGH;
	return !w->paused;
}

/* Tells up to where the client has seen everything, so that it can go on from there. */
static void bookmark(struct watch *w)
{
	uint64_t rev = w->changes && !w->paused ? store_watch_rev(w->changes) : 0;

	if (rev <= w->sent)
		return;
	w->sent = rev;
	send_bookmark(w, rev, false);
}

/* One timer for all watches: an idle host wakes up once a minute, however many there are. */
static void on_bookmark(void *arg)
{
	struct api *a = arg;

	list_foreach (&a->bookmarks, w, struct watch, node)
		bookmark(w);
	if (!list_empty(&a->bookmarks))
		timer_arm(a->bookmark_timer, BOOKMARK_US);
}

static void want_bookmarks(struct watch *w)
{
	struct api *a = w->call->api;

	if (!a->bookmark_timer)
		a->bookmark_timer = timer_new(a->loop, on_bookmark, a);
	if (!timer_armed(a->bookmark_timer))
		timer_arm(a->bookmark_timer, BOOKMARK_US);
	list_add_tail(&a->bookmarks, &w->node);
}

static void on_timeout(void *arg)
{
	struct watch *w = arg;

	if (w->bookmarks)
		bookmark(w);
	watch_end(w);
}

/* ---- the way of a watch ------------------------------------------------------------------ */

/* Sends what is left of the initial objects; true when that is all. */
static bool send_initial(struct watch *w)
{
	mono_t start = mono_now();

	while (w->next < w->initial.n) {
		const struct object *o = snapshot_at(w->call, &w->initial, w->next);

		if (call_backlog(w->call) > BACKLOG_HIGH)
			return false; /* on_drain brings us back */
		if (loop_slice_over(start)) {
			work_queue_next(w->call->api->loop, &w->work);
			return false;
		}
		w->next++;
		if (put_aside(w, &(struct store_event){STORE_ADDED, o->rev, o, NULL}))
			return false;
		if (selection_matches(&w->sel, w->call, o))
			send_object(w, "ADDED", o);
	}
	return true;
}

/* The initial objects first, then the changes. */
static void watch_go(void *arg)
{
	struct watch *w = arg;
	auto_err err = {0};

	if (w->aside)
		return;
	if (w->changes) {
		if (w->paused) {
			w->paused = false;
			store_watch_resume(w->changes);
		}
		return;
	}
	if (!send_initial(w))
		return;
	snapshot_done(&w->initial);
	w->next = 0;
	if (w->announce)
		send_bookmark(w, w->since, true);
	w->sent = w->since;
	w->changes = store_watch_new(w->call->api->store, w->call->target.kind, w->since, on_event,
				     watch_lost, w, &err);
	if (!w->changes)
		watch_lost(w);
}

/* Many connections may drain in one turn: each has its slice later, and not all of them in one. */
static void watch_drained(void *arg)
{
	struct watch *w = arg;

	work_queue(w->call->api->loop, &w->work);
}

/* Where it begins; *initial: with what is there. */
static int parse_since(struct watch *w, bool *initial, struct err *err)
{
	struct list_options o;
	int rc = list_options_parse(w->call, true, &o, err);

	*initial = o.initial_given ? o.initial : o.rev == 0;
	w->announce = o.initial && w->bookmarks;
	w->since = *initial || o.rev == 0 ? store_rev(w->call->api->store) : o.rev;
	list_options_done(&o);
	return rc;
}

static int watch_parse(struct watch *w, int64_t *seconds, bool *initial, struct err *err)
{
	struct call *c = w->call;
	unsigned jitter;
	int rc = selection_parse(c, &w->sel, err);

	random_bytes(&jitter, sizeof(jitter));
	w->bookmarks = call_bool(c, "allowWatchBookmarks");
	if (rc == 0)
		rc = call_int(c, "timeoutSeconds", 0, seconds, err);
	if (*seconds > INT32_MAX)
		*seconds = INT32_MAX;
	if (*seconds <= 0)
		*seconds = TIMEOUT_MIN_S + jitter % TIMEOUT_MIN_S;
	if (rc == 0)
		rc = table_include_parse(c, &w->include, err);
	if (rc == 0)
		rc = parse_since(w, initial, err);
	if (rc == 0 && (c->accept.media == MEDIA_NONE || c->accept.media == MEDIA_YAML))
		rc = call_not_acceptable(err);
	return rc;
}

/* An expired revision is told by the HTTP code, before the stream begins. */
static int watch_follow(struct watch *w, struct err *err)
{
	w->sent = w->since;
	w->changes = store_watch_new(w->call->api->store, w->call->target.kind, w->since, on_event,
				     watch_lost, w, err);
	return w->changes ? 0 : -ESTALE;
}

void handle_watch(struct call *c)
{
	/* An event is a text message, whatever was offered. */
	static const struct ws_protocol protocols[] = {
		{"", false, 0, true},
		{"binary.k8s.io", false, 0, true},
		{"base64.binary.k8s.io", false, 0, true},
		{NULL, false, 0, false},
	};
	struct watch *w = xnew(struct watch);
	int64_t seconds = 0;
	bool initial = false;
	auto_err err = {0};

	w->call = c;
	list_init(&w->node);
	work_init(&w->work, watch_go, w);
	c->api->n_watches++;
	registry_watched(c->api->registry, c->target.kind, true);
	if (watch_parse(w, &seconds, &initial, &err) < 0 ||
	    (!initial && watch_follow(w, &err) < 0)) {
		watch_free(w);
		call_reply_err(c, &err);
		return;
	}
	w->timeout = timer_new(c->api->loop, on_timeout, w);
	timer_arm(w->timeout, (uint64_t)seconds * USEC_PER_SEC);
	if (w->bookmarks)
		want_bookmarks(w);
	if (initial)
		snapshot_take(c, &w->sel, NULL, &w->initial);
	if (!call_stream(c, NULL, protocols)) {
		watch_free(w);
		return;
	}
	c->data = w;
	c->on_gone = watch_gone;
	call_on_drain(c, watch_drained, w);
	if (initial) /* may be many, and so may be those who ask for them */
		work_queue(c->api->loop, &w->work);
	else
		watch_go(w);
}
