/* SPDX-License-Identifier: Apache-2.0 */
/* The opening handshake of WebSockets (RFC 6455 section 4.2). */
#include "internal.h"

#include <openssl/evp.h>
#include <strings.h>

#define KEY_LEN 16
#define PROTOCOLS_MAX 32
#define GUID "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

/* The pieces of all headers of that name, which are comma-separated lists. */
static void header_tokens(const struct http_request *r, const char *name, struct strv *ret)
{
	auto_strv lines = {0};

	http_headers(r, name, &lines);
	for (size_t i = 0; i < lines.n; i++)
		for (const char *s = lines.v[i]; *s && ret->n < PROTOCOLS_MAX;) {
			size_t len = strcspn(s, ","), skip = strspn(s, " \t"), end = len;

			while (end > skip && (s[end - 1] == ' ' || s[end - 1] == '\t'))
				end--;
			if (end > skip)
				strv_take(ret, xstrndup(s + skip, end - skip));
			s += len + (s[len] == ',');
		}
}

static bool has_token(const struct http_request *r, const char *name, const char *token)
{
	auto_strv tokens = {0};

	header_tokens(r, name, &tokens);
	for (size_t i = 0; i < tokens.n; i++)
		if (strcasecmp(tokens.v[i], token) == 0)
			return true;
	return false;
}

bool ws_requested(const struct http_request *r)
{
	return has_token(r, "Upgrade", "websocket") && has_token(r, "Connection", "Upgrade");
}

void ws_protocols(const struct http_request *r, struct strv *ret)
{
	header_tokens(r, "Sec-WebSocket-Protocol", ret);
}

/* Base64 of the SHA-1 of key and GUID. */
static char *accept_text(const char *key)
{
	auto_free char *text = xasprintf("%s" GUID, key);
	unsigned char digest[EVP_MAX_MD_SIZE];
	unsigned len = 0;

	if (EVP_Digest(text, strlen(text), digest, &len, EVP_sha1(), NULL) != 1)
		return NULL;
	return base64_encode(digest, len);
}

int ws_accept(struct http_request *r, const char *protocol, struct err *err)
{
	const char *version = http_header(r, "Sec-WebSocket-Version");
	const char *key = http_header(r, "Sec-WebSocket-Key");
	auto_free unsigned char *nonce = NULL;
	size_t len = 0;

	if (!streq(http_method(r), "GET") || !ws_requested(r))
		return err_set(err, ERR_BAD_REQUEST, "not a WebSocket handshake");
	if (!version || !streq(version, "13")) {
		http_respond_header(r, "Sec-WebSocket-Version", "13");
		err_set(err, ERR_BAD_REQUEST, "only version 13 of WebSockets is spoken here");
		if (err)
			err->code = 426;
		return -EINVAL;
	}
	if (!key || base64_decode(key, strlen(key), &nonce, &len) < 0 || len != KEY_LEN)
		return err_set(err, ERR_BAD_REQUEST, "missing or malformed Sec-WebSocket-Key");
	auto_free char *text = accept_text(key);

	if (!text)
		return err_set(err, ERR_INTERNAL, "SHA-1 is not available");
	http_respond_header(r, "Sec-WebSocket-Accept", text);
	if (protocol)
		http_respond_header(r, "Sec-WebSocket-Protocol", protocol);
	return 0;
}
