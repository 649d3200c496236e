/* SPDX-License-Identifier: Apache-2.0 */
/* Two connections joined: what comes from the one goes to the other, until both have ended. */
#include "proxy.h"

#define HIGH (256u * 1024)

struct tunnel;
struct side {
	struct tunnel *tunnel;
	struct side *other;
	struct stream *stream;
	bool eof;
};
struct tunnel {
	struct api_session session; /* first member */
	struct loop *loop;
	struct side sides[2];
	bool closed;
};

static void tunnel_close(struct tunnel *t, const char *why)
{
	if (t->closed)
		return;
	t->closed = true;
	list_del(&t->session.node);
	for (size_t i = 0; i < ARRAY_SIZE(t->sides); i++)
		stream_close(t->sides[i].stream, true, why);
	loop_free_later(t->loop, free, t);
}

static void session_close(struct api_session *s)
{
	tunnel_close((struct tunnel *)s, "API ends");
}

static void on_data(void *arg)
{
	struct side *s = arg;
	size_t len;
	const char *data = stream_peek(s->stream, &len);

	stream_write(s->other->stream, data, len);
	stream_consume(s->stream, len);
	if (stream_out_len(s->other->stream) > HIGH)
		stream_pause(s->stream, true);
}

static void on_drain(void *arg)
{
	struct side *s = arg;

	stream_pause(s->other->stream, false);
}

static void on_eof(void *arg)
{
	struct side *s = arg;

	if (stream_in_len(s->stream))
		on_data(s);
	s->eof = true;
	if (s->other->eof)
		tunnel_close(s->tunnel, "both have ended");
	else
		stream_shutdown(s->other->stream);
}

static void on_close(void *arg, const char *why)
{
	tunnel_close(((struct side *)arg)->tunnel, why);
}

static const struct stream_ops tunnel_ops = {
	.on_data = on_data,
	.on_drain = on_drain,
	.on_eof = on_eof,
	.on_close = on_close,
};

void tunnel_start(struct api *a, struct stream *one, struct stream *other)
{
	struct tunnel *t = xnew(struct tunnel);

	t->loop = a->loop;
	t->sides[0] = (struct side){t, &t->sides[1], one, false};
	t->sides[1] = (struct side){t, &t->sides[0], other, false};
	stream_set_ops(one, &tunnel_ops, &t->sides[0]);
	stream_set_ops(other, &tunnel_ops, &t->sides[1]);
	session_add(a, &t->session, session_close);
}
