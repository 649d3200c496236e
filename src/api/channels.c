/* SPDX-License-Identifier: Apache-2.0 */
/* What the ways of channels share, and how their protocols are chosen. */
#include "channels.h"

/* ---- channels ---------------------------------------------------------------------------- */

struct channels *channels_open(struct call *call, const bool wanted[CH_COUNT],
			       const struct channels_ops *ops, void *arg)
{
	if (!session_room(call))
		return NULL;
	struct channels *c =
		ws_requested(call->req) ? channels_ws_open(call) : channels_spdy_open(call);

	if (!c)
		return NULL;
	c->ops = ops;
	c->arg = arg;
	memcpy(c->wanted, wanted, sizeof(c->wanted));
	return c;
}

void channels_init(struct channels *c, const struct channels_way *way, struct loop *loop,
		   void (*ready)(void *arg))
{
	c->way = way;
	c->loop = loop;
	work_init(&c->ready, ready, c);
}

void channels_write(struct channels *c, enum channel ch, const void *data, size_t len)
{
	if (!c->closed && len)
		c->way->write(c, ch, data, len);
}

size_t channels_backlog(const struct channels *c)
{
	return c->closed ? 0 : c->way->backlog(c);
}

void channels_pause(struct channels *c, bool pause)
{
	if (!c->closed)
		c->way->pause(c, pause);
}

void channels_finish(struct channels *c, const char *status, size_t len, const char *message)
{
	if (!c->closed)
		c->way->finish(c, status, len, message);
}

void channels_close(struct channels *c, const char *why)
{
	if (!c || c->closed)
		return;
	c->closed = true;
	work_cancel(&c->ready);
	c->way->close(c, why);
}

void channels_lost(struct channels *c, const char *why)
{
	if (c->closed)
		return;
	channels_close(c, why);
	c->ops->on_close(c->arg, why);
}

/* ---- protocols --------------------------------------------------------------------------- */

const struct ws_protocol *ws_offered(struct call *c, const struct ws_protocol *list)
{
	auto_strv offered = {0};

	ws_protocols(c->req, &offered);
	if (offered.n == 0)
		strv_add(&offered, "");
	for (size_t i = 0; i < offered.n; i++)
		for (const struct ws_protocol *p = list; p->name; p++)
			if (streq(offered.v[i], p->name))
				return p;
	return NULL;
}

const struct ws_protocol *ws_choose(struct call *c, const struct ws_protocol *list)
{
	const struct ws_protocol *chosen = ws_offered(c, list);
	auto_err err = {0};

	if (!chosen) {
		call_reply_error(c, ERR_FORBIDDEN,
				 "unable to upgrade: unable to negotiate protocol");
		return NULL;
	}
	if (ws_accept(c->req, *chosen->name ? chosen->name : NULL, &err) < 0) {
		call_reply_err(c, &err);
		return NULL;
	}
	return chosen;
}

/* ---- messages with channels -------------------------------------------------------------- */

/* Decodes groups of four; what is left is carried on to the next piece. */
static int take_base64(struct ws_reader *r, const char *data, size_t len,
		       void (*give)(void *arg, int channel, const void *data, size_t len),
		       void *arg)
{
	auto_free unsigned char *out = NULL;
	auto_strbuf text = {0};
	size_t n;

	strbuf_add(&text, r->carry, r->n_carry);
	strbuf_add(&text, data, len);
	r->n_carry = text.len % 4;
	memcpy(r->carry, text.s + text.len - r->n_carry, r->n_carry);
	if (base64_decode(text.s, text.len - r->n_carry, &out, &n) < 0)
		return -EBADMSG;
	if (n)
		give(arg, r->channel, out, n);
	return 0;
}

int ws_reader_take(struct ws_reader *r, const char *data, size_t len, unsigned flags,
		   void (*give)(void *arg, int channel, const void *data, size_t len), void *arg)
{
	int rc = 0;

	if (flags & WS_FIRST) {
		r->channel = -1;
		r->n_carry = 0;
	}
	if (r->channel < 0 && len) {
		r->channel = (unsigned char)*data++ - (r->base64 ? '0' : 0);
		len--;
		if (r->channel < 0)
			return -EBADMSG;
		give(arg, r->channel, NULL, 0);
	}
	if (len && r->base64)
		rc = take_base64(r, data, len, give, arg);
	else if (len)
		give(arg, r->channel, data, len);
	return rc == 0 && (flags & WS_LAST) && r->n_carry ? -EBADMSG : rc;
}

void ws_channel_send(struct ws *w, bool base64, unsigned channel, const void *data, size_t len)
{
	unsigned char head = (unsigned char)(channel + (base64 ? '0' : 0));
	auto_free char *text = base64 ? base64_encode(data, len) : NULL;
	struct iovec parts[] = {{&head, 1},
				{text ? text : (void *)(uintptr_t)data, text ? strlen(text) : len}};

	ws_send(w, base64, parts, 2);
}
