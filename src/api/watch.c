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

struct watch {
	struct call *call;
	struct selection sel;
	struct snapshot initial; /* not yet sent */
	size_t next;
	uint64_t since; /* revision behind which changes are told */
	uint64_t sent;	/* newest revision the client has seen */
	uint64_t mark;	/* revision at the last bookmark tick: everything up to it was delivered */
	struct store_watch *changes;
	struct timer *timeout, *bookmark;
	enum table_include include;
	bool bookmarks, announce; /* announce: a bookmark ends the initial events */
	bool columns;		  /* column definitions have been sent */
	bool paused;
};

static void watch_free(struct watch *w)
{
	w->call->api->n_watches--;
	store_watch_free(w->changes);
	timer_free(w->timeout);
	timer_free(w->bookmark);
	selection_done(&w->sel);
	snapshot_done(&w->initial);
	free(w);
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

	strbuf_addf(&b, "{\"type\":\"%s\",\"object\":", type);
	strbuf_add(&b, text, len);
	strbuf_adds(&b, "}\n");
	http_respond_chunk(w->call->req, b.s, b.len);
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

static void send_object(struct watch *w, const char *type, const struct object *o)
{
	w->sent = o->rev > w->sent ? o->rev : w->sent;
	if (w->call->accept.media == MEDIA_JSON)
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

static bool on_event(void *arg, const struct store_event *ev)
{
	struct watch *w = arg;

	send_event(w, ev);
	w->paused = http_respond_backlog(w->call->req) > BACKLOG_HIGH;
	return !w->paused;
}

static void on_bookmark(void *arg)
{
	struct watch *w = arg;
	uint64_t rev = w->mark > w->sent ? w->mark : w->sent;

	if (w->changes && !w->paused && rev) {
		send_bookmark(w, rev, false);
		w->mark = store_rev(w->call->api->store);
	}
	timer_arm(w->bookmark, BOOKMARK_US);
}

static void on_timeout(void *arg)
{
	watch_end(arg);
}

/* ---- the way of a watch ------------------------------------------------------------------ */

/* Sends what is left of the initial objects, then follows the changes. */
static void watch_go(void *arg)
{
	struct watch *w = arg;
	auto_err err = {0};

	while (w->next < w->initial.n) {
		if (http_respond_backlog(w->call->req) > BACKLOG_HIGH)
			return;
		send_object(w, "ADDED", w->initial.objects[w->next++]);
	}
	if (w->changes) {
		if (w->paused) {
			w->paused = false;
			store_watch_resume(w->changes);
		}
		return;
	}
	snapshot_done(&w->initial);
	w->next = 0;
	if (w->announce)
		send_bookmark(w, w->since, true);
	w->changes = store_watch_new(w->call->api->store, w->call->target.kind, w->since, on_event,
				     watch_lost, w, &err);
	if (!w->changes)
		watch_lost(w);
}

static int watch_invalid(struct err *err, const char *field, const char *text)
{
	int rc = err_set(err, ERR_INVALID,
			 "ListOptions.meta.k8s.io \"\" is invalid: %s: Forbidden: %s", field, text);

	err_about(err, "ListOptions", "meta.k8s.io", NULL);
	err_cause_add(err, "FieldValueForbidden", field, "Forbidden: %s", text);
	return rc;
}

/* KUBERNETES.md 4.6: sendInitialEvents and resourceVersionMatch=NotOlderThan go together. */
static int parse_initial(struct watch *w, bool *initial, struct err *err)
{
	struct call *c = w->call;
	auto_free char *send = http_param(c->req, "sendInitialEvents");
	auto_free char *match = http_param(c->req, "resourceVersionMatch");

	if (str_empty(send))
		return str_empty(match)
			       ? 0
			       : watch_invalid(err, "resourceVersionMatch",
					       "resourceVersionMatch is forbidden for "
					       "watch unless sendInitialEvents is provided");
	if (!match || !streq(match, "NotOlderThan"))
		return watch_invalid(err, "resourceVersionMatch",
				     "sendInitialEvents requires setting resourceVersionMatch to "
				     "NotOlderThan");
	*initial = call_bool(c, "sendInitialEvents");
	w->announce = *initial && w->bookmarks;
	return 0;
}

static int parse_since(struct watch *w, bool *initial, struct err *err)
{
	auto_free char *rv = http_param(w->call->req, "resourceVersion");
	uint64_t rev = 0;

	if (!str_empty(rv) && str_to_u64(rv, UINT64_MAX, &rev) < 0)
		return err_set(err, ERR_BAD_REQUEST, "resourceVersion: Invalid value: \"%s\"", rv);
	*initial = rev == 0;
	w->since = rev ? rev : store_rev(w->call->api->store);
	int rc = parse_initial(w, initial, err);

	if (*initial)
		w->since = store_rev(w->call->api->store);
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
		rc = call_int(c, "timeoutSeconds", 0, INT32_MAX, 0, seconds, err);
	if (*seconds == 0)
		*seconds = TIMEOUT_MIN_S + jitter % TIMEOUT_MIN_S;
	if (rc == 0)
		rc = table_include_parse(c, &w->include, err);
	if (rc == 0)
		rc = parse_since(w, initial, err);
	if (rc == 0 && (c->accept.media == MEDIA_NONE || c->accept.media == MEDIA_YAML))
		rc = err_set(err, ERR_NOT_ACCEPTABLE,
			     "only the following media types are accepted: application/json");
	return rc;
}

/* An expired revision is told by the HTTP code, before the stream begins. */
static int watch_follow(struct watch *w, struct err *err)
{
	w->changes = store_watch_new(w->call->api->store, w->call->target.kind, w->since, on_event,
				     watch_lost, w, err);
	return w->changes ? 0 : -ESTALE;
}

void handle_watch(struct call *c)
{
	struct watch *w = xnew(struct watch);
	int64_t seconds = 0;
	bool initial = false;
	auto_err err = {0};

	w->call = c;
	c->api->n_watches++;
	if (watch_parse(w, &seconds, &initial, &err) < 0 ||
	    (!initial && watch_follow(w, &err) < 0)) {
		watch_free(w);
		call_reply_err(c, &err);
		return;
	}
	w->timeout = timer_new(c->api->loop, on_timeout, w);
	timer_arm(w->timeout, (uint64_t)seconds * USEC_PER_SEC);
	if (w->bookmarks) {
		w->bookmark = timer_new(c->api->loop, on_bookmark, w);
		timer_arm(w->bookmark, BOOKMARK_US);
	}
	if (initial)
		snapshot_take(c, &w->sel, NULL, NULL, 0, &w->initial);
	c->data = w;
	c->on_gone = watch_gone;
	call_start(c, 200, NULL);
	http_respond_on_drain(c->req, watch_go, w);
	watch_go(w);
}
