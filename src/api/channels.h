/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Private to api: the streams of a remote command (stdin, stdout, ...), however they travel: as
 * SPDY streams or as WebSocket messages (KUBERNETES.md 5.2).
 *
 * Lifetime: channels_open() takes the call's connection over; the channels are gone after on_close
 * or channels_close().
 */
#ifndef CORACLE_SRC_API_CHANNELS_H
#define CORACLE_SRC_API_CHANNELS_H

#include "internal.h"

/* The numbers are those of the WebSocket protocols. */
enum channel { CH_STDIN, CH_STDOUT, CH_STDERR, CH_ERROR, CH_RESIZE, CH_COUNT };

struct channels;
struct channels_ops {
	/* The client has opened all channels it asked for. Never from inside channels_open(). */
	void (*on_ready)(void *arg);
	void (*on_data)(void *arg, enum channel ch, const void *data, size_t len);
	void (*on_fin)(void *arg, enum channel ch); /* the client has said all on it */
	void (*on_drain)(void *arg);		    /* output has been sent */
	void (*on_close)(void *arg, const char *why);
};
/* Chooses the protocol. NULL: refused, the call is answered. */
struct channels *channels_open(struct call *c, const bool wanted[CH_COUNT],
			       const struct channels_ops *ops, void *arg);
void channels_write(struct channels *c, enum channel ch, const void *data, size_t len);
size_t channels_backlog(const struct channels *c);
void channels_pause(struct channels *c, bool pause); /* reading */
/*
 * Ends the output and tells how it went; on_close comes when the client has hung up. status is a
 * Status as JSON; message is the same as text, NULL: success.
 */
void channels_finish(struct channels *c, const char *status, size_t len, const char *message);
void channels_close(struct channels *c, const char *why);

/* ---- ways to travel ---------------------------------------------------------------------- */

struct channels_way {
	void (*write)(struct channels *c, enum channel ch, const void *data, size_t len);
	size_t (*backlog)(const struct channels *c);
	void (*pause)(struct channels *c, bool pause);
	void (*finish)(struct channels *c, const char *status, size_t len, const char *message);
	void (*close)(struct channels *c, const char *why); /* the memory, too */
};
struct channels { /* first member of each way's own structure */
	const struct channels_way *way;
	const struct channels_ops *ops;
	void *arg;
	struct loop *loop;
	bool wanted[CH_COUNT];
	bool closed;
	struct work ready; /* leads to on_ready */
};
void channels_init(struct channels *c, const struct channels_way *way, struct loop *loop,
		   void (*ready)(void *arg));
/* The client has gone: to be called by the way. */
void channels_lost(struct channels *c, const char *why);
struct channels *channels_spdy_open(struct call *c);
struct channels *channels_ws_open(struct call *c);

/* ---- choosing a protocol, for port forwarding as well ------------------------------------ */

/* What ws_choose() is for SPDY, whose protocols come in X-Stream-Protocol-Version; takes the
 * connection over. */
struct stream *spdy_upgrade(struct call *c, const char *const *protocols);

/* ---- messages that begin with a channel number ------------------------------------------- */

/* Reads them piece by piece; zero-initialise. */
struct ws_reader {
	bool base64;
	int channel; /* of the message being read; -1: its first byte has not come */
	char carry[4];
	size_t n_carry;
};
/* Calls give for what a piece holds; with len 0 for the beginning of a message. -EBADMSG. */
int ws_reader_take(struct ws_reader *r, const char *data, size_t len, unsigned flags,
		   void (*give)(void *arg, int channel, const void *data, size_t len),
		   void *arg) MUST_CHECK;
/* Sends a message on a channel. */
void ws_channel_send(struct ws *w, bool base64, unsigned channel, const void *data, size_t len);

#endif
