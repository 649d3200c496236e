/* SPDX-License-Identifier: Apache-2.0 */
/* TLS contexts: TLS 1.2 and later, HTTP/1.1 by ALPN, optional client certificates. */
#include "internal.h"
#include <openssl/err.h>

struct tls {
	unsigned refs;
	SSL_CTX *ctx;
};

SSL_CTX *tls_context(struct tls *t)
{
	return t->ctx;
}

/* The oldest queued OpenSSL error as text; the queue is emptied. */
static int fail(struct err *err, const char *what, const char *file)
{
	char text[256] = "unknown error";
	unsigned long code = ERR_get_error();

	if (code)
		ERR_error_string_n(code, text, sizeof(text));
	ERR_clear_error();
	return err_set(err, ERR_INTERNAL, "TLS: %s %s: %s", what, file ? file : "", text);
}

/* RFC 7301: choose http/1.1 when it is offered; no answer otherwise. */
static int on_alpn(SSL *ssl UNUSED, const unsigned char **out, unsigned char *out_len,
		   const unsigned char *in, unsigned in_len, void *arg UNUSED)
{
	static const unsigned char ours[] = "\x08http/1.1";

	if (SSL_select_next_proto((unsigned char **)(uintptr_t)out, out_len, ours, sizeof(ours) - 1,
				  in, in_len) == OPENSSL_NPN_NEGOTIATED)
		return SSL_TLSEXT_ERR_OK;
	return SSL_TLSEXT_ERR_NOACK;
}

/* An unknown or expired client certificate does not end the handshake: the API answers 401. */
static int on_verify(int ok UNUSED, X509_STORE_CTX *ctx UNUSED)
{
	return 1;
}

static int configure(SSL_CTX *ctx, const struct tls_config *c, struct err *err)
{
	SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION);
	/* No partial writes: libevent would take up the next piece of memory behind half of one. */
	SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
	SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
	SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
	if (c->cert_file && SSL_CTX_use_certificate_chain_file(ctx, c->cert_file) != 1)
		return fail(err, "certificate", c->cert_file);
	if (c->key_file && SSL_CTX_use_PrivateKey_file(ctx, c->key_file, SSL_FILETYPE_PEM) != 1)
		return fail(err, "key", c->key_file);
	if (c->ca_file && SSL_CTX_load_verify_locations(ctx, c->ca_file, NULL) != 1)
		return fail(err, "certificate authority", c->ca_file);
	if (c->server) {
		SSL_CTX_set_alpn_select_cb(ctx, on_alpn, NULL);
		SSL_CTX_set_num_tickets(ctx, 0);
		if (c->ca_file) {
			SSL_CTX_set_client_CA_list(ctx, SSL_load_client_CA_file(c->ca_file));
			SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, on_verify);
		}
	} else {
		SSL_CTX_set_verify(ctx, c->insecure ? SSL_VERIFY_NONE : SSL_VERIFY_PEER, NULL);
		if (!c->ca_file && !c->insecure)
			SSL_CTX_set_default_verify_paths(ctx);
	}
	return 0;
}

struct tls *tls_new(const struct tls_config *config, struct err *err)
{
	SSL_CTX *ctx = SSL_CTX_new(config->server ? TLS_server_method() : TLS_client_method());
	struct tls *t;

	if (!ctx) {
		fail(err, "context", NULL);
		return NULL;
	}
	if (configure(ctx, config, err) < 0) {
		SSL_CTX_free(ctx);
		return NULL;
	}
	t = xnew(struct tls);
	t->refs = 1;
	t->ctx = ctx;
	return t;
}

struct tls *tls_ref(struct tls *t)
{
	t->refs++;
	return t;
}

void tls_unref(struct tls *t)
{
	if (!t || --t->refs)
		return;
	SSL_CTX_free(t->ctx);
	free(t);
}
