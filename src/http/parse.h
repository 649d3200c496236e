/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HTTP/1.1 message parser (RFC 9112): pure, push, no I/O. One parser per connection.
 *
 * Order: http_parser_init(); then http_parser_step() over the input until HTTP_STEP_MORE; after
 * HTTP_STEP_DONE http_parser_next() before the following message. http_parser_done() at the end.
 */
#ifndef CORACLE_SRC_HTTP_PARSE_H
#define CORACLE_SRC_HTTP_PARSE_H

#include <coracle/base.h>

#define HTTP_HEAD_MAX (64 * 1024)
#define HTTP_HEADERS_MAX 128
#define HTTP_CHUNK_LINE_MAX 1024

enum http_step {
	HTTP_STEP_MORE,	 /* everything was taken, more input is needed */
	HTTP_STEP_HEAD,	 /* start line and headers are there */
	HTTP_STEP_BODY,	 /* a piece of the body */
	HTTP_STEP_DONE,	 /* the message is complete */
	HTTP_STEP_ERROR, /* code and error tell; the connection cannot go on */
};

enum http_state {
	HTTP_START_LINE,
	HTTP_HEADER_LINE,
	HTTP_BODY_LENGTH,
	HTTP_BODY_CLOSE,
	HTTP_CHUNK_LINE,
	HTTP_CHUNK_DATA,
	HTTP_CHUNK_END,
	HTTP_TRAILER_LINE,
	HTTP_COMPLETE,
	HTTP_BROKEN,
};

struct http_parser {
	bool response;
	bool no_body; /* response: to a HEAD request */
	enum http_state state;
	/* Start line and headers as NUL-terminated pieces: method, target, then name, value, ... */
	struct strbuf head;
	struct strbuf line;		   /* the incomplete one */
	uint32_t header[HTTP_HEADERS_MAX]; /* offsets of names in head */
	unsigned n_headers;
	size_t target;	 /* offset */
	size_t taken;	 /* bytes of start line, headers (or trailers) so far */
	unsigned blank;	 /* empty lines before the start line */
	int minor;	 /* HTTP/1.minor */
	int status;	 /* response */
	uint64_t left;	 /* of the body or chunk */
	uint64_t length; /* Content-Length; UINT64_MAX: chunked or until close */
	bool chunked;
	int code;	   /* of an error: 400, 414, 431, 501, 505 */
	const char *error; /* static */
};

void http_parser_init(struct http_parser *p, bool response);
void http_parser_done(struct http_parser *p);
/* Forgets the message that is complete. */
void http_parser_next(struct http_parser *p);
/*
 * Looks at data and says what comes first; *used bytes were taken. For HTTP_STEP_BODY the piece is
 * body (inside data, body_len bytes).
 */
enum http_step http_parser_step(struct http_parser *p, const char *data, size_t len, size_t *used,
				const char **body, size_t *body_len);
/* The peer has closed: true when that ends the message properly. */
bool http_parser_eof(struct http_parser *p);

const char *http_parser_method(const struct http_parser *p);
const char *http_parser_target(const struct http_parser *p);
/* i-th header; false behind the last. */
bool http_parser_header(const struct http_parser *p, unsigned i, const char **name,
			const char **value);
/* First value of that name in any case, or NULL. */
const char *http_parser_find(const struct http_parser *p, const char *name);
/* Whether the comma-separated header name holds the token (any case). */
bool http_parser_has_token(const struct http_parser *p, const char *name, const char *token);
/* Whether the connection may serve another message after this one. */
bool http_parser_keep_alive(const struct http_parser *p);

#endif
