/* SPDX-License-Identifier: Apache-2.0 */
/* What pki.c and csr.c share of making certificates. */
#ifndef CORACLE_SRC_IDENTITY_CERTS_H
#define CORACLE_SRC_IDENTITY_CERTS_H

#include <coracle/base.h>
#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/x509v3.h>

/* Boards without a clock boot in 1970: what we sign counts from then on. */
#define CERT_NOT_BEFORE "19700102000000Z"

DEFINE_AUTO(x509, X509 *, X509_free);
DEFINE_AUTO(bio, BIO *, BIO_free_all);

/* A certificate with its key, as files <dir>/<name>.{crt,key} hold them. */
struct pair {
	EVP_PKEY *key;
	X509 *cert;
};
void pair_done(struct pair *p);
#define auto_pair __attribute__((cleanup(pair_done))) struct pair
/* False when a file is missing, damaged, or the two do not belong together. */
bool pair_read(const char *dir, const char *name, struct pair *ret);
bool cert_add_extension(X509 *cert, X509 *issuer, int nid, const char *value);
/* RFC 5280 section 4.1.2.2: positive, at most 20 octets. */
bool cert_set_serial(X509 *cert);

#endif
