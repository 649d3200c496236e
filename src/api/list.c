/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lists. A list holds references to the objects of its moment, so that it can be made and sent in
 * slices while objects change: first the selectors are asked, then the answer is put together, item
 * by item, no faster than the client reads. Plain JSON is joined from the stored texts without
 * parsing anything.
 */
#include "internal.h"

#define SEND_PIECE (64u * 1024)
#define BACKLOG_HIGH (512u * 1024)
/* Texts above this are sent from where they lie. */
#define REFERENCE_MIN (16u * 1024)

struct listing {
	struct call *call;
	struct selection sel;
	struct list_options o;
	struct snapshot found; /* the first `kept` are selected, from `looked` on not yet asked */
	size_t looked, kept, next;
	bool selected;	   /* all have been asked */
	bool begun;	   /* the head is in the answer */
	bool started;	   /* part of the answer has been sent */
	int64_t remaining; /* behind this page; -1: not known, 0: none */
	enum table_include include;
	time_t now;
	struct strbuf out;
	struct work work;
	struct task task; /* looks at one large object */
	bool aside, gone; /* while it does so; and nobody waits for it any more */
	struct stall stall;
};

static void listing_free(struct listing *l)
{
	work_cancel(&l->work);
	stall_done(&l->stall);
	if (l->aside && !task_cancel(l->call->api->loop, &l->task)) {
		l->gone = true; /* the task comes back here */
		return;
	}
	selection_done(&l->sel);
	list_options_done(&l->o);
	snapshot_done(&l->found);
	strbuf_done(&l->out);
	loop_retire(l->call->api->loop, free, l);
}

static void listing_gone(struct call *c)
{
	listing_free(c->data);
	call_forget(c);
}

/* ---- large objects ----------------------------------------------------------------------- */

static void select_one(struct listing *l);
static void add_item(struct listing *l, const struct object *o);

/* What the listing would do with its next object, and then it goes on. */
static void look_at_large(void *arg)
{
	struct listing *l = arg;

	if (!l->selected) {
		select_one(l);
	} else {
		add_item(l, snapshot_at(l->call, &l->found, l->next));
		l->next++;
	}
	l->aside = false;
	if (l->gone)
		listing_free(l);
	else
		work_queue_next(l->call->api->loop, &l->work);
}

/* True: the object is too large for a slice, a task looks at it. */
static bool put_aside(struct listing *l, const struct object *o)
{
	if (!selection_is_long(&l->sel, l->call, o))
		return false;
	task_init(&l->task, look_at_large, l);
	l->aside = true;
	if (task_start(l->call->api->loop, &l->task, o->len) == 0)
		return true;
	l->aside = false; /* so many wait already: later */
	work_queue_next(l->call->api->loop, &l->work);
	return true;
}

/* ---- selecting --------------------------------------------------------------------------- */

static bool selects_all(const struct listing *l)
{
	return !l->sel.labels && !l->sel.fields;
}

static void select_one(struct listing *l)
{
	const struct object *o = selects_all(l) ? l->found.objects[l->looked]
						: snapshot_at(l->call, &l->found, l->looked);

	if (selection_matches(&l->sel, l->call, o)) {
		/* Swapped, so that every reference stays in the array. */
		l->found.objects[l->looked] = l->found.objects[l->kept];
		l->found.objects[l->kept++] = o;
	}
	l->looked++;
}

/* True when the page is complete. */
static bool select_some(struct listing *l, mono_t start)
{
	bool all = selects_all(l);
	size_t limit = l->o.limit ? l->o.limit : SIZE_MAX;

	while (l->looked < l->found.n && l->kept <= limit) {
		if (!all && put_aside(l, l->found.objects[l->looked]))
			return false;
		select_one(l);
		if (!all && loop_slice_over(start))
			break;
	}
	if (l->looked < l->found.n && l->kept <= limit)
		return false;
	if (l->kept > limit) {
		l->kept = limit;
		l->remaining = all ? (int64_t)(l->found.n - limit) : -1;
	}
	return true;
}

static json_t *list_meta(const struct listing *l)
{
	json_t *meta = json_object();

	json_put_strf(meta, "resourceVersion", "%llu", (unsigned long long)l->o.rev);
	if (l->remaining) {
		auto_free char *token = list_token(&l->o, l->found.objects[l->kept - 1]);

		json_put_str(meta, "continue", token);
		if (l->remaining > 0)
			json_put_int(meta, "remainingItemCount", l->remaining);
	}
	return meta;
}

/* ---- the forms of a list ----------------------------------------------------------------- */

/* kind, apiVersion, metadata and what else comes before the items; member: their name. */
static json_t *list_head(const struct listing *l, const char **member)
{
	const struct kind *k = l->call->target.kind;
	const struct accept *accept = &l->call->accept;
	char version[API_VERSION_MAX];
	json_t *head = json_object();

	*member = "items";
	if (accept->media == MEDIA_TABLE) {
		json_decref(head);
		head = table_new(k, accept->version, true);
		json_object_del(head, "rows");
		*member = "rows";
	} else if (accept->media == MEDIA_PARTIAL) {
		json_put_str(head, "kind", "PartialObjectMetadataList");
		json_put_strf(head, "apiVersion", "meta.k8s.io/%s", accept->version);
	} else {
		json_put_str(head, "kind", k->list_kind);
		json_put_str(head, "apiVersion", kind_api_version(k, version));
	}
	json_put(head, "metadata", list_meta(l));
	return head;
}

static void add_head(struct listing *l)
{
	const char *member;
	json_auto_t *head = list_head(l, &member);
	size_t len;

	if (l->call->accept.media == MEDIA_YAML) {
		strbuf_addf(&l->out, "apiVersion: %s\nitems:%s\n", json_str(head, "apiVersion", ""),
			    l->kept ? "" : " []");
		return;
	}
	auto_free char *text = json_text(head, &len);

	strbuf_add(&l->out, text, len - 1); /* all but the closing brace */
	strbuf_addf(&l->out, ",\"%s\":[", member);
}

static void add_tail(struct listing *l)
{
	const char *member;

	if (l->call->accept.media != MEDIA_YAML) {
		strbuf_adds(&l->out, "]}\n");
		return;
	}
	json_auto_t *head = list_head(l, &member);

	json_object_del(head, "apiVersion"); /* sorted: it came before the items, the rest after */
	auto_free char *rest = yaml_format(head);

	strbuf_adds(&l->out, rest);
}

/* An item of a YAML sequence: the first line behind the dash, the others below it. */
static void add_yaml(struct strbuf *b, const char *text)
{
	bool first = true;

	while (*text) {
		size_t n = strcspn(text, "\n");

		strbuf_adds(b, first ? "- " : n ? "  " : "");
		strbuf_add(b, text, n);
		strbuf_addc(b, '\n');
		text += n + (text[n] == '\n');
		first = false;
	}
}

static json_t *table_row(const struct listing *l, const struct object *o)
{
	json_auto_t *table = json_object();

	json_put_strf(table, "apiVersion", "meta.k8s.io/%s", l->call->accept.version);
	table_add(o->kind, table, object_json(o), l->include, l->now);
	return json_incref(json_array_get(json_object_get(table, "rows"), 0));
}

/* The item in a form that has to be made. */
static void add_parsed(struct listing *l, const struct object *o)
{
	json_auto_t *v = NULL;
	auto_free char *text = NULL;
	size_t len;

	if (l->call->accept.media == MEDIA_YAML) {
		text = yaml_format(object_json(o));
		add_yaml(&l->out, text);
		return;
	}
	v = l->call->accept.media == MEDIA_TABLE
		    ? table_row(l, o)
		    : partial_new(object_json(o), l->call->accept.version);
	text = json_text(v, &len);
	strbuf_add(&l->out, text, len);
}

/* ---- sending ----------------------------------------------------------------------------- */

static const char *media_type(const struct listing *l)
{
	return l->call->accept.media == MEDIA_YAML ? "application/yaml" : NULL;
}

static void send_out(struct listing *l)
{
	if (!l->started)
		call_start(l->call, 200, media_type(l));
	l->started = true;
	http_respond_chunk(l->call->req, l->out.s, l->out.len);
	strbuf_done(&l->out);
}

static void unref_object(void *o)
{
	object_unref(o);
}

static void add_item(struct listing *l, const struct object *o)
{
	bool json = l->call->accept.media == MEDIA_JSON;

	if (l->next > 0 && l->call->accept.media != MEDIA_YAML)
		strbuf_addc(&l->out, ',');
	if (!json) {
		add_parsed(l, o);
	} else if (o->len < REFERENCE_MIN) {
		strbuf_add(&l->out, o->text, o->len);
	} else {
		send_out(l);
		http_respond_chunk_ref(l->call->req, o->text, o->len, unref_object, object_ref(o));
	}
}

/* A list that fits into one piece is answered whole, with its length. */
static void listing_end(struct listing *l)
{
	struct call *c = l->call;
	size_t len;

	add_tail(l);
	len = l->out.len;
	if (l->started) {
		send_out(l);
		call_end(c);
	} else {
		call_reply_take(c, 200, media_type(l), strbuf_steal(&l->out), len);
	}
	listing_free(l);
}

/* One slice of work; goes on in the next turn, or when the client has read. */
static void listing_go(void *arg)
{
	struct listing *l = arg;
	mono_t start = mono_now();

	if (l->aside)
		return;
	if (!l->selected) {
		l->selected = select_some(l, start);
		if (!l->selected) {
			if (!l->aside)
				work_queue_next(l->call->api->loop, &l->work);
			return;
		}
	}
	if (!l->begun)
		add_head(l);
	l->begun = true;
	while (l->next < l->kept) {
		if (l->out.len >= SEND_PIECE)
			send_out(l);
		if (l->started && http_respond_backlog(l->call->req) > BACKLOG_HIGH) {
			stall_wait(&l->stall, l->call);
			return; /* on_drain brings us back */
		}
		if (loop_slice_over(start)) {
			work_queue_next(l->call->api->loop, &l->work);
			return;
		}
		if (l->call->accept.media != MEDIA_JSON && put_aside(l, l->found.objects[l->next]))
			return;
		add_item(l, snapshot_at(l->call, &l->found, l->next));
		l->next++;
	}
	listing_end(l);
}

static void on_drain(void *arg)
{
	struct listing *l = arg;

	stall_over(&l->stall);
	if (l->started)
		work_queue(l->call->api->loop, &l->work);
}

static int listing_parse(struct listing *l, struct err *err)
{
	struct call *c = l->call;
	int rc = selection_parse(c, &l->sel, err);

	if (rc == 0)
		rc = list_options_parse(c, false, &l->o, err);
	if (rc == 0)
		rc = table_include_parse(c, &l->include, err);
	if (rc == 0 && (c->accept.media == MEDIA_NONE || c->accept.media == MEDIA_AGGREGATED))
		rc = call_not_acceptable(err);
	return rc;
}

static struct listing *listing_new(struct call *c)
{
	struct listing *l = xnew(struct listing);

	l->call = c;
	l->now = time(NULL);
	work_init(&l->work, listing_go, l);
	return l;
}

static void listing_start(struct listing *l)
{
	struct call *c = l->call;

	c->data = l;
	c->on_gone = listing_gone;
	http_respond_on_drain(c->req, on_drain, l);
	listing_go(l);
}

void list_reply(struct call *c, struct list_options *o, struct snapshot *s, bool more)
{
	struct listing *l;

	if (!c->req) {
		call_forget(c);
		return;
	}
	l = listing_new(c);
	l->o = *o;
	l->found = *s;
	*o = (struct list_options){0};
	*s = (struct snapshot){0};
	l->kept = l->looked = l->found.n;
	l->selected = true;
	l->remaining = more && l->kept ? -1 : 0;
	if (c->accept.media == MEDIA_NONE || c->accept.media == MEDIA_AGGREGATED)
		c->accept.media = MEDIA_JSON; /* it is done, and shall be told */
	listing_start(l);
}

void handle_list(struct call *c)
{
	struct listing *l;
	auto_err err = {0};

	if (call_is_watch(c)) {
		handle_watch(c);
		return;
	}
	l = listing_new(c);
	if (listing_parse(l, &err) < 0) {
		c->next_token = steal_ptr(l->o.next_token);
		listing_free(l);
		call_reply_err(c, &err);
		return;
	}
	snapshot_take(c, &l->sel, &l->o, &l->found);
	listing_start(l);
}
