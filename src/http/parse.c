/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The HTTP/1.1 parser. Requests are read strictly, since two readings of one request are how
 * smuggling works: no bare LF, no folded lines, no space before a colon, never both
 * Content-Length and Transfer-Encoding. Of answers bare LF is tolerated (RFC 9112 section 2.2):
 * health probes meet all sorts of small servers.
 */
#include "parse.h"

#include <strings.h>

#define BLANK_LINES_MAX 4

void http_parser_init(struct http_parser *p, bool response)
{
	*p = (struct http_parser){.response = response};
}

void http_parser_done(struct http_parser *p)
{
	strbuf_done(&p->head);
	strbuf_done(&p->line);
}

void http_parser_next(struct http_parser *p)
{
	struct strbuf head = p->head, line = p->line;

	/* Memory of a usual request is kept for the next one; that of a huge one is not. */
	if (head.cap > 8192)
		strbuf_done(&head);
	if (line.cap > 8192)
		strbuf_done(&line);
	strbuf_reset(&head);
	strbuf_reset(&line);
	*p = (struct http_parser){
		.response = p->response, .no_body = p->no_body, .head = head, .line = line};
}

static enum http_step fail(struct http_parser *p, int code, const char *error)
{
	p->state = HTTP_BROKEN;
	p->code = code;
	p->error = error;
	return HTTP_STEP_ERROR;
}

/* RFC 9110 section 5.6.2. */
static bool is_token_char(unsigned char c)
{
	if ((c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'))
		return true;
	return c && strchr("!#$%&'*+-.^_`|~", c);
}

static bool is_token(const char *s, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (!is_token_char((unsigned char)s[i]))
			return false;
	return len > 0;
}

/* Puts a piece into head and returns its offset. */
static size_t head_add(struct http_parser *p, const char *s, size_t len)
{
	size_t at = p->head.len;

	strbuf_add(&p->head, s, len);
	strbuf_addc(&p->head, '\0');
	return at;
}

static bool parse_version(const char *s, size_t len, int *minor)
{
	if (len != 8 || memcmp(s, "HTTP/1.", 7) != 0 || s[7] < '0' || s[7] > '9')
		return false;
	*minor = s[7] - '0';
	return true;
}

/* method SP request-target SP HTTP-version */
static enum http_step request_line(struct http_parser *p, const char *s, size_t len)
{
	const char *sp = memchr(s, ' ', len);
	const char *sp2 = sp ? memchr(sp + 1, ' ', len - (size_t)(sp + 1 - s)) : NULL;

	if (!sp2 || !is_token(s, (size_t)(sp - s)) || sp2 == sp + 1)
		return fail(p, 400, "malformed request line");
	const char *version = sp2 + 1;
	size_t version_len = len - (size_t)(version - s);

	if (version_len < 5 || memcmp(version, "HTTP/", 5) != 0)
		return fail(p, 400, "malformed request line");
	if (!parse_version(version, version_len, &p->minor))
		return fail(p, 505, "HTTP version not supported");
	for (const char *c = sp + 1; c < sp2; c++)
		if ((unsigned char)*c <= ' ' || (unsigned char)*c >= 0x7f)
			return fail(p, 400, "malformed request target");
	head_add(p, s, (size_t)(sp - s));
	p->target = head_add(p, sp + 1, (size_t)(sp2 - sp - 1));
	p->state = HTTP_HEADER_LINE;
	return HTTP_STEP_MORE;
}

/* HTTP-version SP status-code SP [ reason-phrase ] */
static enum http_step status_line(struct http_parser *p, const char *s, size_t len)
{
	if (len < 12 || !parse_version(s, 8, &p->minor) || s[8] != ' ')
		return fail(p, 400, "malformed status line");
	for (int i = 9; i < 12; i++) {
		if (s[i] < '0' || s[i] > '9')
			return fail(p, 400, "malformed status line");
		p->status = p->status * 10 + (s[i] - '0');
	}
	if (p->status < 100 || (len > 12 && s[12] != ' '))
		return fail(p, 400, "malformed status line");
	p->target = head_add(p, "", 0);
	p->state = HTTP_HEADER_LINE;
	return HTTP_STEP_MORE;
}

/* field-name ":" OWS field-value OWS; keep false for trailers. */
static enum http_step header_line(struct http_parser *p, const char *s, size_t len, bool keep)
{
	const char *colon = memchr(s, ':', len);

	if (*s == ' ' || *s == '\t')
		return fail(p, 400, "folded header line");
	if (!colon || !is_token(s, (size_t)(colon - s)))
		return fail(p, 400, "malformed header name");
	const char *v = colon + 1, *end = s + len;

	while (v < end && (*v == ' ' || *v == '\t'))
		v++;
	while (end > v && (end[-1] == ' ' || end[-1] == '\t'))
		end--;
	for (const char *c = v; c < end; c++)
		if (((unsigned char)*c < ' ' && *c != '\t') || *c == 0x7f)
			return fail(p, 400, "malformed header value");
	if (!keep)
		return HTTP_STEP_MORE;
	if (p->n_headers == HTTP_HEADERS_MAX)
		return fail(p, 431, "too many headers");
	p->header[p->n_headers++] = (uint32_t)head_add(p, s, (size_t)(colon - s));
	head_add(p, v, (size_t)(end - v));
	return HTTP_STEP_MORE;
}

static unsigned count_headers(const struct http_parser *p, const char *name, const char **first)
{
	const char *n, *v;
	unsigned count = 0;

	for (unsigned i = 0; http_parser_header(p, i, &n, &v); i++)
		if (strcasecmp(n, name) == 0 && count++ == 0)
			*first = v;
	return count;
}

/* Content-Length is digits alone; several are refused even when equal. */
static bool parse_length(const char *s, uint64_t *ret)
{
	uint64_t v = 0;

	if (!*s || strlen(s) > 18)
		return false;
	for (; *s; s++) {
		if (*s < '0' || *s > '9')
			return false;
		v = v * 10 + (uint64_t)(*s - '0');
	}
	*ret = v;
	return true;
}

static enum http_step head_complete(struct http_parser *p, enum http_state state, uint64_t length)
{
	p->state = state;
	p->length = p->left = length;
	p->chunked = state == HTTP_CHUNK_LINE;
	return HTTP_STEP_HEAD;
}

/* How long is the body: RFC 9112 section 6.3. */
static enum http_step end_of_head(struct http_parser *p)
{
	const char *te = NULL, *cl = NULL, *host = NULL;
	unsigned n_te = count_headers(p, "Transfer-Encoding", &te);
	unsigned n_cl = count_headers(p, "Content-Length", &cl);
	uint64_t length = 0;

	if (!p->response && p->minor >= 1 && count_headers(p, "Host", &host) != 1)
		return fail(p, 400, "exactly one Host header is required");
	if (n_te && n_cl)
		return fail(p, 400, "both Transfer-Encoding and Content-Length");
	if (n_cl > 1 || (n_cl && !parse_length(cl, &length)))
		return fail(p, 400, "malformed Content-Length");
	if (n_te && (p->minor == 0 || n_te > 1 || strcasecmp(te, "chunked") != 0))
		return fail(p, p->minor == 0 ? 400 : 501, "unsupported Transfer-Encoding");
	if (p->response && (p->no_body || p->status < 200 || p->status == 204 || p->status == 304))
		return head_complete(p, HTTP_COMPLETE, 0);
	if (n_te)
		return head_complete(p, HTTP_CHUNK_LINE, UINT64_MAX);
	if (p->response && !n_cl)
		return head_complete(p, HTTP_BODY_CLOSE, UINT64_MAX);
	return head_complete(p, length ? HTTP_BODY_LENGTH : HTTP_COMPLETE, length);
}

/* chunk-size [ chunk-ext ] */
static enum http_step chunk_line(struct http_parser *p, const char *s, size_t len)
{
	uint64_t v = 0;
	size_t i = 0;

	for (; i < len; i++) {
		int c = (unsigned char)s[i];
		int d = c >= '0' && c <= '9'   ? c - '0'
			: c >= 'a' && c <= 'f' ? c - 'a' + 10
			: c >= 'A' && c <= 'F' ? c - 'A' + 10
					       : -1;
		if (d < 0)
			break;
		if (i >= 15)
			return fail(p, 400, "chunk too large");
		v = v * 16 + (uint64_t)d;
	}
	if (i == 0 || (i < len && s[i] != ';' && s[i] != ' ' && s[i] != '\t'))
		return fail(p, 400, "malformed chunk size");
	p->left = v;
	p->taken = 0;
	p->state = v ? HTTP_CHUNK_DATA : HTTP_TRAILER_LINE;
	return HTTP_STEP_MORE;
}

static enum http_step take_line(struct http_parser *p, const char *s, size_t len)
{
	switch (p->state) {
	case HTTP_START_LINE:
		if (len == 0) /* RFC 9112 section 2.2: ignore empty lines before it */
			return ++p->blank > BLANK_LINES_MAX ? fail(p, 400, "empty request line")
							    : HTTP_STEP_MORE;
		return p->response ? status_line(p, s, len) : request_line(p, s, len);
	case HTTP_HEADER_LINE:
		return len ? header_line(p, s, len, true) : end_of_head(p);
	case HTTP_TRAILER_LINE:
		if (len)
			return header_line(p, s, len, false);
		p->state = HTTP_COMPLETE;
		return HTTP_STEP_MORE;
	case HTTP_CHUNK_LINE:
		return chunk_line(p, s, len);
	case HTTP_CHUNK_END:
		if (len)
			return fail(p, 400, "malformed chunk end");
		p->taken = 0;
		p->state = HTTP_CHUNK_LINE;
		return HTTP_STEP_MORE;
	case HTTP_BODY_LENGTH:
	case HTTP_BODY_CLOSE:
	case HTTP_CHUNK_DATA:
	case HTTP_COMPLETE:
	case HTTP_BROKEN:
		break;
	}
	return fail(p, 400, "malformed message");
}

static size_t line_limit(const struct http_parser *p)
{
	return p->state == HTTP_CHUNK_LINE || p->state == HTTP_CHUNK_END ? HTTP_CHUNK_LINE_MAX
									 : HTTP_HEAD_MAX;
}

static enum http_step too_long(struct http_parser *p)
{
	if (p->state == HTTP_START_LINE)
		return fail(p, 414, "request line too long");
	if (p->state == HTTP_HEADER_LINE || p->state == HTTP_TRAILER_LINE)
		return fail(p, 431, "headers too large");
	return fail(p, 400, "chunk line too long");
}

/* Collects one line from data; the steps that work on lines. */
static enum http_step step_line(struct http_parser *p, const char *data, size_t len, size_t *used)
{
	const char *lf = memchr(data, '\n', len);
	size_t n = lf ? (size_t)(lf - data) : len;

	if (p->taken + n > line_limit(p))
		return too_long(p);
	p->taken += n + (lf ? 1 : 0);
	*used += n + (lf ? 1 : 0);
	strbuf_add(&p->line, data, n);
	if (!lf)
		return HTTP_STEP_MORE;
	const char *s = p->line.s ? p->line.s : "";
	size_t line_len = p->line.len;

	if (line_len && s[line_len - 1] == '\r')
		line_len--;
	else if (!p->response)
		return fail(p, 400, "line without CR");
	enum http_step step = take_line(p, s, line_len);

	strbuf_reset(&p->line);
	return step;
}

/* A piece of a body whose end is known to be p->left bytes away. */
static enum http_step step_body(struct http_parser *p, const char *data, size_t len, size_t *used,
				const char **body, size_t *body_len)
{
	size_t n = len;

	if (p->state != HTTP_BODY_CLOSE) {
		if (n > p->left)
			n = (size_t)p->left;
		p->left -= n;
		if (p->left == 0)
			p->state = p->state == HTTP_CHUNK_DATA ? HTTP_CHUNK_END : HTTP_COMPLETE;
	}
	*body = data;
	*body_len = n;
	*used += n;
	return HTTP_STEP_BODY;
}

enum http_step http_parser_step(struct http_parser *p, const char *data, size_t len, size_t *used,
				const char **body, size_t *body_len)
{
	*used = 0;
	for (;;) {
		if (p->state == HTTP_BROKEN)
			return HTTP_STEP_ERROR;
		if (p->state == HTTP_COMPLETE)
			return HTTP_STEP_DONE;
		if (*used == len)
			return HTTP_STEP_MORE;
		if (p->state == HTTP_BODY_LENGTH || p->state == HTTP_BODY_CLOSE ||
		    p->state == HTTP_CHUNK_DATA)
			return step_body(p, data + *used, len - *used, used, body, body_len);
		enum http_step step = step_line(p, data + *used, len - *used, used);

		if (step != HTTP_STEP_MORE)
			return step;
	}
}

bool http_parser_eof(struct http_parser *p)
{
	if (p->state == HTTP_BODY_CLOSE)
		p->state = HTTP_COMPLETE;
	return p->state == HTTP_COMPLETE;
}

const char *http_parser_method(const struct http_parser *p)
{
	return p->head.s ? p->head.s : "";
}

const char *http_parser_target(const struct http_parser *p)
{
	return p->head.s ? p->head.s + p->target : "";
}

bool http_parser_header(const struct http_parser *p, unsigned i, const char **name,
			const char **value)
{
	if (i >= p->n_headers)
		return false;
	*name = p->head.s + p->header[i];
	*value = *name + strlen(*name) + 1;
	return true;
}

const char *http_parser_find(const struct http_parser *p, const char *name)
{
	const char *value = NULL;

	return count_headers(p, name, &value) ? value : NULL;
}

static bool list_has_token(const char *list, const char *token)
{
	size_t len = strlen(token);

	while (*list) {
		list += strspn(list, " \t,");
		size_t n = strcspn(list, " \t,");

		if (n == len && strncasecmp(list, token, len) == 0)
			return true;
		list += n;
	}
	return false;
}

bool http_parser_has_token(const struct http_parser *p, const char *name, const char *token)
{
	const char *n, *v;

	for (unsigned i = 0; http_parser_header(p, i, &n, &v); i++)
		if (strcasecmp(n, name) == 0 && list_has_token(v, token))
			return true;
	return false;
}

bool http_parser_keep_alive(const struct http_parser *p)
{
	if (http_parser_has_token(p, "Connection", "close"))
		return false;
	return p->minor >= 1 || http_parser_has_token(p, "Connection", "keep-alive");
}
