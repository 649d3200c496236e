/* SPDX-License-Identifier: Apache-2.0 */
/*
 * http: HTTP/1.1 server and client on the loop's streams (RFC 9110, 9112), chunked streaming in
 * both directions, upgrade hand-over, SPDY/3.1 and WebSocket framing.
 *
 * Purpose: messages in, messages out; knows nothing of Kubernetes. The parser is our own push
 * parser (src/http/parse.c, pure, fuzzed): evhttp cannot hand a connection over nor stream a
 * request body. Limits: request line + headers 64 KiB, body as the handler allows, idle connections
 * are closed. Lifetime: http_server_new() per listener; a request object lives until
 * http_respond_end() or its connection breaks (on_gone).
 */
#ifndef CORACLE_HTTP_H
#define CORACLE_HTTP_H

#include <coracle/base.h>
#include <coracle/json.h>
#include <coracle/loop.h>

/* ---- server ----------------------------------------------------------------------------- */

struct http_server;
struct http_request;
struct http_server_config {
	struct listener_config listen;
	struct tls *tls;	  /* NULL: plain */
	size_t max_body;	  /* 413 beyond it; 0: 3 MiB */
	uint32_t idle_seconds;	  /* 0: 120 */
	unsigned max_connections; /* 0: 1024 */
	/* A whole request (body included unless http_stream_body was asked for by is_streaming). */
	void (*on_request)(void *arg, struct http_request *req);
	/* Asked after the headers: true: the body is not collected, on_body gets the pieces. NULL:
	 * never. */
	bool (*is_streaming)(void *arg, const struct http_request *req);
	/* Asked after the headers of a request with a body: how much of it to take, at most
	 * max_body. Strangers get less: what they send is held before anybody looks at it. NULL:
	 * max_body. */
	size_t (*body_limit)(void *arg, const struct http_request *req);
	/* Answers 413 in place of our line of text. May be NULL. */
	void (*on_too_large)(void *arg, struct http_request *req);
	void *arg;
};
struct http_server *http_server_new(struct loop *loop, const struct http_server_config *config,
				    struct err *err);
int http_server_addr(const struct http_server *s, struct addr *ret);
void http_server_free(struct http_server *s); /* closes its connections */
/* One row a connection, for `coracle show`. */
void http_server_show(const struct http_server *s, json_t *rows);

const char *http_method(const struct http_request *r);
const char *http_path(const struct http_request *r);  /* undecoded, without query */
const char *http_query(const struct http_request *r); /* undecoded, "" when none */
/* First header of that name, any case; NULL. */
const char *http_header(const struct http_request *r, const char *name);
/* The i-th header, as it came; false behind the last. */
bool http_header_at(const struct http_request *r, unsigned i, const char **name,
		    const char **value);
/* All values of that name, in order. */
void http_headers(const struct http_request *r, const char *name, struct strv *ret);
/* Calls fn for every header in order. */
void http_each_header(const struct http_request *r,
		      void (*fn)(void *arg, const char *name, const char *value), void *arg);
const void *http_body(const struct http_request *r, size_t *len);
struct stream *http_request_stream(const struct http_request *r); /* for peer credentials */
/* Decoded query parameter; caller frees; NULL when absent. */
char *http_param(const struct http_request *r, const char *name);
void http_params(const struct http_request *r, const char *name, struct strv *ret);
/* Percent-decoding; NULL when malformed or holding NUL. */
char *http_url_decode(const char *s, size_t len);

/* fn is called when the connection breaks before the answer was finished; the request is then gone.
 */
void http_request_on_gone(struct http_request *r, void (*fn)(void *arg), void *arg);
/* Body pieces of a streamed request; end: len 0. */
void http_request_on_body(struct http_request *r,
			  void (*fn)(void *arg, const void *data, size_t len), void *arg);
/* Back-pressure: no pieces come while paused; the one being given out counts as taken. */
void http_request_pause(struct http_request *r, bool pause);

/* Extra answer header; before http_respond*. */
void http_respond_header(struct http_request *r, const char *name, const char *value);
/* Whole answer; ends the request. type may be NULL without a body. */
void http_respond(struct http_request *r, int code, const char *type, const void *body, size_t len);
/* Same, takes over the malloc'ed body. */
void http_respond_take(struct http_request *r, int code, const char *type, char *body, size_t len);
/* Same without copying the body; done(arg) once it is sent or dropped. */
void http_respond_ref(struct http_request *r, int code, const char *type, const void *body,
		      size_t len, void (*done)(void *arg), void *arg);
/* Streaming answer (chunked): start, any number of chunks, end. */
void http_respond_start(struct http_request *r, int code, const char *type);
/* Same when the length of the body is known; the chunks must add up to it. */
void http_respond_start_sized(struct http_request *r, int code, const char *type, uint64_t length);
void http_respond_chunk(struct http_request *r, const void *data, size_t len);
/* One chunk that is not copied; done(arg) once it is sent or dropped. */
void http_respond_chunk_ref(struct http_request *r, const void *data, size_t len,
			    void (*done)(void *arg), void *arg);
/* Bytes accepted but not yet sent to the client; writers wait above a bound of their own. */
size_t http_respond_backlog(const struct http_request *r);
/* Called when the backlog has fallen to zero. */
void http_respond_on_drain(struct http_request *r, void (*fn)(void *arg), void *arg);
void http_respond_end(struct http_request *r);
/* Breaks the connection off in the middle of an answer. */
void http_abort(struct http_request *r, const char *why);
/* Sends 101 with the given Upgrade token (headers added before stay) and hands the stream over; the
 * request is gone. Unread input stays in the stream. */
struct stream *http_upgrade(struct http_request *r, const char *protocol);

/* ---- client ----------------------------------------------------------------------------- */

struct http_call;
struct http_call_config {
	struct addr to;
	struct tls *tls;
	const char *tls_name;
	const char *method, *path;  /* path with query */
	const char *host;	    /* Host header */
	const char *const *headers; /* name, value, name, value, ..., NULL */
	const void *body;
	size_t body_len;
	bool stream_body; /* no body here: it is written from on_drain on, sent chunked */
	bool sized_body;  /* stream_body: with this length in place of chunks */
	uint64_t body_size;
	size_t max_body;	     /* answer; 0: 16 MiB; ignored with on_data */
	uint64_t timeout_us;	     /* whole exchange; 0: none */
	uint64_t connect_timeout_us; /* without timeout_us: until connected; 0: none */
};
struct http_answer {
	int code;
	const char *body; /* NUL-terminated; NULL with on_data */
	size_t body_len;
};
struct http_call_ops {
	/* Streaming answers: pieces as they come, before on_done. NULL: collected. */
	void (*on_headers)(void *arg, struct http_call *c, int code);
	void (*on_data)(void *arg, const void *data, size_t len);
	/* answer NULL: failed, why tells. The call is gone. */
	void (*on_done)(void *arg, const struct http_answer *answer, const char *why);
	/* With stream_body: all that was written is on its way, write more or end the body. */
	void (*on_drain)(void *arg);
	/* 101: the stream is the caller's; the call is gone. NULL: 101 is an error. */
	void (*on_upgrade)(void *arg, struct stream *s);
};
struct http_call *http_call(struct loop *loop, const struct http_call_config *config,
			    const struct http_call_ops *ops, void *arg, struct err *err);
const char *http_call_header(const struct http_call *c,
			     const char *name); /* in on_headers/on_done */
/* The i-th header of the answer, as it came; also in on_upgrade. False behind the last. */
bool http_call_header_at(const struct http_call *c, unsigned i, const char **name,
			 const char **value);
/* All values of that name, in order; in on_headers/on_done. */
void http_call_headers(const struct http_call *c, const char *name, struct strv *ret);
/* One piece of a streamed body (copied); only after the first on_drain. len 0 ends the body. */
void http_call_write(struct http_call *c, const void *data, size_t len);
/* Bytes of the request not yet sent. */
size_t http_call_backlog(const struct http_call *c);
/* Back-pressure on the answer: neither on_data nor on_done comes while paused. */
void http_call_pause(struct http_call *c, bool pause);
/* Whether the request was sent: in on_done, whether a failure was one to connect. */
bool http_call_connected(const struct http_call *c);
void http_call_cancel(struct http_call *c);

/* ---- SPDY/3.1 sessions (draft-mbelshe-httpbis-spdy-00, the subset of moby/spdystream) ---- */

/*
 * Bounds: 512 streams, header blocks of 64 KiB unpacked, control frames of 64 KiB.
 * Lifetime: a stream is gone after its on_reset, when both sides have finished it (after on_fin if
 * we finished first, else after spdy_fin()), and with its session. The session is gone after
 * on_close or spdy_close(); no on_reset comes for its streams then.
 */
struct spdy;
struct spdy_stream;
struct spdy_ops {
	/* The peer opened a stream; headers: NULL-terminated name, value pairs. Accept by returning
	 * true. */
	bool (*on_stream)(void *arg, struct spdy_stream *st, const char *const *headers);
	void (*on_data)(void *arg, struct spdy_stream *st, const void *data, size_t len);
	void (*on_fin)(void *arg, struct spdy_stream *st); /* half-closed by the peer */
	void (*on_reset)(void *arg, struct spdy_stream *st);
	void (*on_drain)(void *arg);		      /* output has been sent */
	void (*on_close)(void *arg, const char *why); /* the session is gone */
};
/* Takes the stream. client: we open streams (odd ids), else the peer does. */
struct spdy *spdy_new(struct loop *loop, struct stream *s, bool client, const struct spdy_ops *ops,
		      void *arg);
/* Same on the server's side of a WebSocket, whose binary messages are cut anywhere. */
struct spdy *spdy_new_tunnelled(struct loop *loop, struct stream *s, const struct spdy_ops *ops,
				void *arg);
struct spdy_stream *spdy_open(struct spdy *s, const char *const *headers); /* client side */
void spdy_stream_set_data(struct spdy_stream *st, void *data);
void *spdy_stream_data(const struct spdy_stream *st);
void spdy_write(struct spdy_stream *st, const void *data, size_t len);
void spdy_fin(struct spdy_stream *st);
void spdy_reset(struct spdy_stream *st); /* RST_STREAM CANCEL; the stream is gone, no on_reset */
size_t spdy_backlog(const struct spdy *s);
void spdy_pause(struct spdy *s, bool pause); /* reading */
/* Sends GOAWAY, closes once the output is sent; no callback comes. */
void spdy_close(struct spdy *s, const char *why);

/* ---- WebSockets, server side (RFC 6455, no extensions) ----------------------------------- */

/*
 * Messages are given out in pieces as they arrive, so that their length needs no bound and no
 * memory; control frames are answered here. Order: ws_requested(), ws_protocols(), ws_accept(),
 * http_upgrade(), ws_new(). The socket is gone after on_close or ws_close().
 */
struct ws;
enum ws_code {
	WS_NORMAL = 1000,
	WS_GOING_AWAY = 1001,
	WS_PROTOCOL_ERROR = 1002,
	WS_BAD_DATA = 1007, /* text that is not UTF-8 */
	WS_INTERNAL = 1011,
};
enum ws_piece { WS_FIRST = 1, WS_LAST = 2, WS_TEXT = 4 };
struct ws_ops {
	/* A piece of a message; flags of enum ws_piece. An empty message is one piece of length 0.
	 */
	void (*on_piece)(void *arg, const void *data, size_t len, unsigned flags);
	void (*on_drain)(void *arg);		      /* output has been sent; may be NULL */
	void (*on_close)(void *arg, const char *why); /* the peer has closed or is lost */
};
/* Whether the client asks for a WebSocket. */
bool ws_requested(const struct http_request *r);
/* The sub-protocols that it offers, in its order. */
void ws_protocols(const struct http_request *r, struct strv *ret);
/* Checks the handshake and adds the answer's headers; protocol NULL: none is chosen. */
int ws_accept(struct http_request *r, const char *protocol, struct err *err) MUST_CHECK;
/* Takes the stream. */
struct ws *ws_new(struct loop *loop, struct stream *s, const struct ws_ops *ops, void *arg);
/* One message, made of the n parts. */
void ws_send(struct ws *w, bool text, const struct iovec *parts, size_t n);
size_t ws_backlog(const struct ws *w);
/* Reading, pings included: a paused socket sends pongs without being asked. */
void ws_pause(struct ws *w, bool pause);
/* Sends Close; what the peer still sends is thrown away, on_close comes when it has closed too. */
void ws_finish(struct ws *w, enum ws_code code, const char *reason);
/* Sends Close unless that was done, closes once the output is sent; no callback comes. */
void ws_close(struct ws *w, enum ws_code code, const char *why);

#endif
