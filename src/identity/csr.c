/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Requests for certificates: what they say, and certificates of our authority for them
 * (kubernetes pkg/controller/certificates/signer).
 */
#include "internal.h"
#include "certs.h"

#include <openssl/err.h>
#include <openssl/pem.h>

#define REQUEST_MAX (64 * 1024)
#define SECURITY_BITS_MIN 112 /* RSA of 2048 bits */
#define YEAR (INT64_C(365) * 24 * 3600)

DEFINE_AUTO(x509_req, X509_REQ *, X509_REQ_free);

/* The request in spec.request (base64 of PEM); NULL + err. */
static X509_REQ *read_request(const char *base64, struct err *err)
{
	auto_free unsigned char *pem = NULL;
	BIO *bio auto_clean(bio) = NULL;
	X509_REQ *req = NULL;
	size_t len = 0;

	if (strlen(base64) <= REQUEST_MAX && base64_decode(base64, strlen(base64), &pem, &len) == 0)
		bio = BIO_new_mem_buf(pem, (int)len);
	if (!bio || !strstr((const char *)pem, "-----BEGIN CERTIFICATE REQUEST-----")) {
		err_set(err, ERR_INVALID, "PEM block type must be CERTIFICATE REQUEST");
		return NULL;
	}
	req = PEM_read_bio_X509_REQ(bio, NULL, NULL, NULL);
	EVP_PKEY *key = req ? X509_REQ_get0_pubkey(req) : NULL;

	if (!key || X509_REQ_verify(req, key) != 1) {
		X509_REQ_free(req);
		req = NULL;
		err_set(err, ERR_INVALID, "the request cannot be read, or its signature is wrong");
	}
	ERR_clear_error();
	return req;
}

static bool has_organization(const X509_NAME *subject, const char *name)
{
	for (int at = -1;
	     (at = X509_NAME_get_index_by_NID(subject, NID_organizationName, at)) >= 0;) {
		unsigned char *text = NULL;
		int len = ASN1_STRING_to_UTF8(
			&text, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, at)));
		bool same = len >= 0 && (size_t)len == strlen(name) &&
			    memcmp(text, name, (size_t)len) == 0;

		OPENSSL_free(text);
		if (same)
			return true;
	}
	return false;
}

int identity_csr_check(const char *base64, bool *ret_masters, struct err *err)
{
	X509_REQ *req auto_clean(x509_req) = read_request(base64, err);

	if (!req)
		return -EINVAL;
	*ret_masters = has_organization(X509_REQ_get_subject_name(req), "system:masters");
	return 0;
}

/* ---- signing ----------------------------------------------------------------------------- */

static const struct {
	const char *usage;
	const char *key_usage; /* OpenSSL's word; NULL: it is an extended one */
} client_usages[] = {
	{"client auth", NULL},
	{"digital signature", "digitalSignature"},
	{"key encipherment", "keyEncipherment"},
};

/* keyUsage for the extension; fails for a usage that a client has no use for. */
static int key_usage(const json_t *usages, struct strbuf *ret, struct err *err)
{
	bool client = false;
	json_t *v;
	size_t i, j;

	strbuf_adds(ret, "critical");
	json_array_foreach(usages, i, v)
	{
		for (j = 0; j < ARRAY_SIZE(client_usages); j++)
			if (str_eq(json_string_value(v), client_usages[j].usage))
				break;
		if (j == ARRAY_SIZE(client_usages))
			return err_set(err, ERR_INVALID,
				       "usages did not match [client auth digital signature key "
				       "encipherment]");
		client = client || !client_usages[j].key_usage;
		if (client_usages[j].key_usage)
			strbuf_addf(ret, ",%s", client_usages[j].key_usage);
	}
	if (!client)
		return err_set(err, ERR_INVALID, "usages did not include client auth");
	return 0;
}

/* Not before 1970, as all of ours; a clock that is not right yet must not make it end at once. */
static bool set_life(X509 *cert, int64_t seconds)
{
	time_t now = time(NULL), from = clock_is_right(now) ? now : CLOCK_FLOOR;

	return ASN1_TIME_set_string_X509(X509_getm_notBefore(cert), CERT_NOT_BEFORE) &&
	       ASN1_TIME_adj(X509_getm_notAfter(cert), from, (int)(seconds / 86400),
			     (long)(seconds % 86400));
}

static int fill_certificate(X509 *cert, const X509_REQ *req, const json_t *spec,
			    const struct pair *ca, struct err *err)
{
	int64_t seconds = json_int(spec, "expirationSeconds", YEAR);
	auto_strbuf usage = {0};
	int rc = key_usage(json_object_get(spec, "usages"), &usage, err);

	if (rc < 0)
		return rc;
	if (X509_set_version(cert, 2) && cert_set_serial(cert) &&
	    set_life(cert, seconds < YEAR ? seconds : YEAR) &&
	    X509_set_subject_name(cert, X509_REQ_get_subject_name(req)) &&
	    X509_set_issuer_name(cert, X509_get_subject_name(ca->cert)) &&
	    X509_set_pubkey(cert, X509_REQ_get0_pubkey((X509_REQ *)(uintptr_t)req)) &&
	    cert_add_extension(cert, ca->cert, NID_basic_constraints, "critical,CA:FALSE") &&
	    (streq(usage.s, "critical") ||
	     cert_add_extension(cert, ca->cert, NID_key_usage, usage.s)) &&
	    cert_add_extension(cert, ca->cert, NID_ext_key_usage, "clientAuth") &&
	    X509_sign(cert, ca->key, EVP_sha256()))
		return 0;
	ERR_clear_error();
	return err_set(err, ERR_INTERNAL, "cannot sign the certificate");
}

char *identity_csr_sign(const struct identity *id, const json_t *spec, struct err *err)
{
	X509_REQ *req auto_clean(x509_req) = read_request(json_str(spec, "request", ""), err);
	X509 *cert auto_clean(x509) = X509_new();
	BIO *bio auto_clean(bio) = BIO_new(BIO_s_mem());
	auto_pair ca = {0};
	char *data;

	if (!req || !cert || !bio)
		return NULL;
	if (EVP_PKEY_get_security_bits(X509_REQ_get0_pubkey(req)) < SECURITY_BITS_MIN) {
		err_set(err, ERR_INVALID, "the key is too weak");
		return NULL;
	}
	if (!pair_read(id->pki_dir, "ca", &ca)) {
		err_set(err, ERR_INTERNAL, "cannot read the certificate authority");
		return NULL;
	}
	if (fill_certificate(cert, req, spec, &ca, err) < 0 || !PEM_write_bio_X509(bio, cert))
		return NULL;
	long len = BIO_get_mem_data(bio, &data);

	return xstrndup(data, (size_t)len);
}
