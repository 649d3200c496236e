/* SPDX-License-Identifier: Apache-2.0 */
/*
 * OpenAPI documents. They are made and sent in slices, no faster than the client reads, so that
 * neither the loop is held nor a document is ever whole in memory.
 */
#include "internal.h"

#define V2_PROTOBUF "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"
#define SEND_PIECE (16u * 1024)
#define BACKLOG_HIGH (64u * 1024)

/* One document on its way. */
struct making {
	struct call *call;
	struct loop *loop;
	struct openapi *document;
	const char *type; /* NULL: JSON */
	struct strbuf out;
	struct work work;
	struct task task; /* makes a piece of a large definition */
	struct stall stall;
	bool aside, gone; /* while it does so; and nobody waits for it any more */
	bool started;	  /* part of the answer has been sent */
};

static void making_free(struct making *m)
{
	work_cancel(&m->work);
	stall_done(&m->stall);
	if (m->aside && !task_cancel(m->loop, &m->task)) {
		m->gone = true; /* the task comes back here */
		return;
	}
	openapi_free(m->document);
	strbuf_done(&m->out);
	loop_retire(m->loop, free, m);
}

static void making_gone(struct call *c)
{
	making_free(c->data);
	call_forget(c);
}

static void send_out(struct making *m)
{
	if (!m->started)
		call_start(m->call, 200, m->type);
	m->started = true;
	http_respond_chunk(m->call->req, m->out.s, m->out.len);
	strbuf_reset(&m->out);
}

static void make_large(void *arg)
{
	struct making *m = arg;

	openapi_next(m->document, &m->out);
	m->aside = false;
	if (m->gone)
		making_free(m);
	else
		work_queue_next(m->loop, &m->work);
}

/* True: the next piece is too large for a slice, a task makes it. */
static bool put_aside(struct making *m)
{
	size_t cost = openapi_cost(m->document);

	if (cost < LARGE_TEXT)
		return false;
	task_init(&m->task, make_large, m);
	m->aside = true;
	if (task_start(m->loop, &m->task, cost) < 0) {
		m->aside = false; /* so many wait already: later */
		work_queue_next(m->loop, &m->work);
	}
	return true;
}

static void making_go(void *arg)
{
	struct making *m = arg;
	struct call *c = m->call;
	mono_t start = mono_now();

	if (m->aside || put_aside(m))
		return;
	while (openapi_next(m->document, &m->out)) {
		if (m->out.len >= SEND_PIECE)
			send_out(m);
		if (m->started && http_respond_backlog(c->req) > BACKLOG_HIGH) {
			stall_wait(&m->stall, c);
			return; /* on_drain brings us back */
		}
		if (loop_slice_over(start)) {
			work_queue_next(m->loop, &m->work);
			return;
		}
		if (put_aside(m))
			return;
	}
	send_out(m);
	making_free(m);
	call_end(c);
}

static void on_drain(void *arg)
{
	struct making *m = arg;

	stall_over(&m->stall);
	work_queue(m->loop, &m->work);
}

static void send_document(struct call *c, struct openapi *document, const char *type)
{
	struct making *m = xnew(struct making);

	m->call = c;
	m->loop = c->api->loop;
	m->document = document;
	m->type = type;
	work_init(&m->work, making_go, m);
	c->data = m;
	c->on_gone = making_gone;
	http_respond_on_drain(c->req, on_drain, m);
	making_go(m);
}

void handle_openapi_v2(struct call *c)
{
	/* The "@" of the name that old clients ask by is no token (RFC 9110): it is answered with
	 * the new one, as upstream does. */
	static const char *const types[] = {
		"application/json", "application/com.github.proto-openapi.spec.v2@v1.0+protobuf",
		V2_PROTOBUF, NULL};
	int chosen = accept_choose(c->req, types);
	char hash[OPENAPI_HASH_MAX];

	http_respond_header(c->req, "Vary", "Accept");
	if (chosen < 0) {
		call_reply(c, 406, NULL, NULL, 0);
		return;
	}
	openapi_v2_hash(chosen > 0, hash);
	if (!reply_unchanged(c, chosen > 0 ? V2_PROTOBUF : NULL, hash))
		send_document(c, openapi_v2(chosen > 0), chosen > 0 ? V2_PROTOBUF : NULL);
}

void handle_openapi_v3(struct call *c)
{
	call_reply_json(c, 200, openapi_v3_index());
}

/* Upstream's rules: asked for with its hash the document may be kept for ever; with another's, the
 * client is sent to the present one. */
void handle_openapi_v3_document(struct call *c)
{
	auto_free char *hash = http_param(c->req, "hash");
	auto_free char *path = xstrdup(http_path(c->req) + strlen("/openapi/v3/"));
	json_auto_t *index = openapi_v3_index();
	size_t len = strlen(path);

	if (len && path[len - 1] == '/')
		path[len - 1] = '\0';
	/* Not by json_at(): the keys have dots. */
	const json_t *entry = json_object_get(json_object_get(index, "paths"), path);
	const char *url = json_str(entry, "serverRelativeURL", NULL);
	const char *now = url ? strstr(url, "hash=") : NULL;
	struct openapi *document;

	if (!now) {
		call_reply_text(c, 404, "404 page not found\n");
		return;
	}
	now += strlen("hash=");
	if (!str_empty(hash) && !streq(hash, now)) {
		http_respond_header(c->req, "Location", url);
		call_reply_text(c, 301, "Moved Permanently\n");
		return;
	}
	c->immutable = !str_empty(hash);
	http_respond_header(c->req, "Vary", "Accept");
	if (reply_unchanged(c, NULL, now))
		return;
	document = openapi_v3(path);
	if (document)
		send_document(c, document, NULL);
	else
		call_reply_text(c, 404, "404 page not found\n");
}
