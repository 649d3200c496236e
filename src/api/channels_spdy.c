/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Channels as streams of a SPDY session, which the client opens and names by their "streamtype"
 * (remotecommand v4 and v5).
 */
#include "channels.h"

#include <strings.h>

static const char *const names[CH_COUNT] = {
	[CH_STDIN] = "stdin", [CH_STDOUT] = "stdout", [CH_STDERR] = "stderr",
	[CH_ERROR] = "error", [CH_RESIZE] = "resize",
};

struct session {
	struct channels c; /* first member */
	struct spdy *spdy;
	struct spdy_stream *streams[CH_COUNT];
	bool told, finished;
};

/* ---- protocols --------------------------------------------------------------------------- */

static const char *choose_protocol(const struct http_request *req, const char *const *protocols)
{
	auto_strv lines = {0}, offered = {0};

	http_headers(req, "X-Stream-Protocol-Version", &lines);
	for (size_t i = 0; i < lines.n; i++) {
		auto_strv parts = {0};

		strv_split(&parts, lines.v[i], ',');
		for (size_t k = 0; k < parts.n; k++)
			strv_add(&offered, parts.v[k] + strspn(parts.v[k], " "));
	}
	for (size_t i = 0; i < offered.n; i++)
		for (size_t k = 0; protocols[k]; k++)
			if (streq(offered.v[i], protocols[k]))
				return protocols[k];
	return NULL;
}

struct stream *spdy_upgrade(struct call *c, const char *const *protocols)
{
	const char *upgrade = http_header(c->req, "Upgrade");

	if (!upgrade || strcasecmp(upgrade, "SPDY/3.1") != 0) {
		call_reply_error(c, ERR_BAD_REQUEST,
				 "unable to upgrade: SPDY/3.1 or a WebSocket is needed, not %s",
				 upgrade ? upgrade : "plain HTTP");
		return NULL;
	}
	const char *protocol = choose_protocol(c->req, protocols);

	if (!protocol) {
		for (size_t k = 0; protocols[k]; k++)
			http_respond_header(c->req, "X-Accepted-Stream-Protocol-Versions",
					    protocols[k]);
		call_reply_error(c, ERR_FORBIDDEN,
				 "unable to upgrade: unable to negotiate protocol");
		return NULL;
	}
	http_respond_header(c->req, "X-Stream-Protocol-Version", protocol);
	return call_upgrade(c, "SPDY/3.1");
}

/* ---- the way ----------------------------------------------------------------------------- */

static void session_write(struct channels *c, enum channel ch, const void *data, size_t len)
{
	struct session *s = (struct session *)c;

	if (s->streams[ch])
		spdy_write(s->streams[ch], data, len);
}

static size_t session_backlog(const struct channels *c)
{
	return spdy_backlog(((const struct session *)c)->spdy);
}

static void session_pause(struct channels *c, bool pause)
{
	spdy_pause(((struct session *)c)->spdy, pause);
}

static void session_finish(struct channels *c, const char *status, size_t len,
			   const char *message UNUSED)
{
	struct session *s = (struct session *)c;

	s->finished = true;
	session_write(c, CH_ERROR, status, len);
	for (enum channel ch = CH_STDOUT; ch <= CH_ERROR; ch++)
		if (s->streams[ch])
			spdy_fin(steal_ptr(s->streams[ch]));
}

static void session_close(struct channels *c, const char *why)
{
	struct session *s = (struct session *)c;

	spdy_close(s->spdy, why);
	loop_free_later(c->loop, free, s);
}

static const struct channels_way session_way = {
	.write = session_write,
	.backlog = session_backlog,
	.pause = session_pause,
	.finish = session_finish,
	.close = session_close,
};

/* ---- the client's streams ---------------------------------------------------------------- */

static bool on_stream(void *arg, struct spdy_stream *st, const char *const *headers)
{
	struct session *s = arg;
	const char *type = "";

	for (; headers[0]; headers += 2)
		if (streq(headers[0], "streamtype"))
			type = headers[1];
	for (enum channel ch = 0; ch < CH_COUNT; ch++)
		if (streq(type, names[ch]) && s->c.wanted[ch] && !s->streams[ch] && !s->finished) {
			s->streams[ch] = st;
			spdy_stream_set_data(st, (void *)(uintptr_t)names[ch]);
			work_queue(s->c.loop, &s->c.ready);
			return true;
		}
	return false;
}

/* Runs behind on_stream(), so that the client has its SYN_REPLY before anything else. */
static void ready(void *arg)
{
	struct session *s = arg;

	for (enum channel ch = 0; ch < CH_COUNT; ch++)
		if (s->c.wanted[ch] && !s->streams[ch])
			return;
	if (!s->told)
		s->c.ops->on_ready(s->c.arg);
	s->told = true;
}

static enum channel channel_of(const struct spdy_stream *st)
{
	enum channel ch = 0;

	while (spdy_stream_data(st) != names[ch])
		ch++;
	return ch;
}

static void on_data(void *arg, struct spdy_stream *st, const void *data, size_t len)
{
	struct session *s = arg;

	s->c.ops->on_data(s->c.arg, channel_of(st), data, len);
}

static void on_fin(void *arg, struct spdy_stream *st)
{
	struct session *s = arg;

	s->c.ops->on_fin(s->c.arg, channel_of(st));
}

static void on_reset(void *arg, struct spdy_stream *st)
{
	struct session *s = arg;

	for (enum channel ch = 0; ch < CH_COUNT; ch++)
		if (s->streams[ch] == st)
			s->streams[ch] = NULL;
}

static void on_drain(void *arg)
{
	struct session *s = arg;

	s->c.ops->on_drain(s->c.arg);
}

static void on_close(void *arg, const char *why)
{
	channels_lost(arg, why);
}

static const struct spdy_ops spdy_ops = {
	.on_stream = on_stream,
	.on_data = on_data,
	.on_fin = on_fin,
	.on_reset = on_reset,
	.on_drain = on_drain,
	.on_close = on_close,
};

struct channels *channels_spdy_open(struct call *call)
{
	static const char *const protocols[] = {"v5.channel.k8s.io", "v4.channel.k8s.io", NULL};
	struct loop *loop = call->api->loop;
	struct stream *stream = spdy_upgrade(call, protocols);

	if (!stream)
		return NULL;
	struct session *s = xnew(struct session);

	channels_init(&s->c, &session_way, loop, ready);
	s->spdy = spdy_new(loop, stream, false, &spdy_ops, s);
	return &s->c;
}
