/* SPDX-License-Identifier: Apache-2.0 */
/*
 * jwt: signed JSON claims in compact form (RFC 7515, RFC 7519), ES256 alone. Pure.
 */
#ifndef CORACLE_SRC_IDENTITY_JWT_H
#define CORACLE_SRC_IDENTITY_JWT_H

#include <coracle/json.h>
#include <openssl/evp.h>

#define JWT_MAX (16 * 1024)
#define JWT_SIGNATURE 64 /* r and s of P-256: RFC 7518 section 3.4 */

struct jwt {
	json_t *header, *claims;
	const char *text; /* borrowed: what was parsed */
	size_t signed_len;
	unsigned char signature[JWT_SIGNATURE];
};
/* Takes the text apart; the signature is not checked. -EINVAL for all that is no ES256 token of at
 * most JWT_MAX bytes. */
int jwt_parse(const char *text, struct jwt *ret) MUST_CHECK;
void jwt_done(struct jwt *j);
#define auto_jwt __attribute__((cleanup(jwt_done))) struct jwt
bool jwt_verify(const struct jwt *j, EVP_PKEY *key);
/* NULL when OpenSSL cannot; caller frees. */
char *jwt_sign(const json_t *claims, EVP_PKEY *key, const char *kid);
/* base64url without padding (RFC 4648 section 5); caller frees. */
char *base64url_encode(const void *data, size_t len);
/* The public key as RFC 7517 has it; kid: as Kubernetes names keys. */
json_t *jwk_new(EVP_PKEY *key, const char *kid);
/* SHA-256 of the public key's DER form, base64url; caller frees. */
char *key_id(EVP_PKEY *key);

#endif
