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

/* ---- what signers ask for ---------------------------------------------------------------- */

/* Names of the types that upstream knows; what else a request asks for is left out. */
enum { NAME_TYPES = 4 };
static const int name_types[NAME_TYPES] = {GEN_DNS, GEN_EMAIL, GEN_IPADD, GEN_URI};
struct wanted {
	const X509_NAME *subject;
	GENERAL_NAMES *names; /* owned; NULL: none */
	unsigned n[NAME_TYPES];
	const json_t *usages;
};

static void wanted_done(struct wanted *w)
{
	GENERAL_NAMES_free(w->names);
}

static void count_names(struct wanted *w)
{
	for (int i = sk_GENERAL_NAME_num(w->names); i-- > 0;) {
		size_t t = 0;

		while (t < NAME_TYPES && sk_GENERAL_NAME_value(w->names, i)->type != name_types[t])
			t++;
		if (t < NAME_TYPES)
			w->n[t]++;
		else
			GENERAL_NAME_free(sk_GENERAL_NAME_delete(w->names, i));
	}
}

static struct wanted wanted_of(X509_REQ *req, const json_t *spec)
{
	STACK_OF(X509_EXTENSION) *all = X509_REQ_get_extensions(req);
	struct wanted w = {.subject = X509_REQ_get_subject_name(req),
			   .names = X509V3_get_d2i(all, NID_subject_alt_name, NULL, NULL),
			   .usages = json_object_get(spec, "usages")};

	sk_X509_EXTENSION_pop_free(all, X509_EXTENSION_free);
	if (w.names)
		count_names(&w);
	ERR_clear_error();
	return w;
}

static bool has_usage(const json_t *usages, const char *usage)
{
	json_t *v;
	size_t i;

	json_array_foreach(usages, i, v) if (str_eq(json_string_value(v), usage)) return true;
	return false;
}

static int check_client(const struct wanted *w, struct err *err)
{
	json_t *v;
	size_t i;

	json_array_foreach(w->usages, i, v)
	{
		const char *usage = json_string_value(v);

		if (!str_eq(usage, "client auth") && !str_eq(usage, "digital signature") &&
		    !str_eq(usage, "key encipherment"))
			return err_set(err, ERR_INVALID, "invalid usage for client certificate: %s",
				       usage ? usage : "");
	}
	if (!has_usage(w->usages, "client auth"))
		return err_set(err, ERR_INVALID,
			       "missing required usage for client certificate: client auth");
	return 0;
}

static bool is_node(const X509_NAME *subject)
{
	char name[sizeof("system:node:")] = "";

	/* Cut to the prefix, which is compared. */
	return X509_NAME_get_text_by_NID((X509_NAME *)(uintptr_t)subject, NID_commonName, name,
					 sizeof(name)) > 0 &&
	       streq(name, "system:node:");
}

static bool is_of_nodes_alone(const X509_NAME *subject)
{
	int at = X509_NAME_get_index_by_NID(subject, NID_organizationName, -1);

	return has_organization(subject, "system:nodes") &&
	       X509_NAME_get_index_by_NID(subject, NID_organizationName, at) < 0;
}

/* Kubelets ask for these usages; modern keys need no encipherment. */
static int check_kubelet_usages(const json_t *usages, const char *purpose, struct err *err)
{
	size_t n = json_array_size(usages) - has_usage(usages, "key encipherment");

	if (has_usage(usages, "digital signature") && has_usage(usages, purpose) && n == 2)
		return 0;
	return err_set(err, ERR_INVALID, "usages did not match [%sdigital signature%s%s]",
		       *purpose == 'c' ? "client auth " : "", " key encipherment",
		       *purpose == 's' ? " server auth" : "");
}

static int check_kubelet_client(const struct wanted *w, struct err *err)
{
	static const char *const words[NAME_TYPES] = {"DNS", "Email", "IP", "URI"};

	if (!is_of_nodes_alone(w->subject))
		return err_set(err, ERR_INVALID, "subject organization is not system:nodes");
	for (size_t i = 0; i < NAME_TYPES; i++)
		if (w->n[i])
			return err_set(err, ERR_INVALID, "%s subjectAltNames are not allowed",
				       words[i]);
	if (!is_node(w->subject))
		return err_set(err, ERR_INVALID,
			       "subject common name does not begin with system:node:");
	return check_kubelet_usages(w->usages, "client auth", err);
}

static int check_kubelet_serving(const struct wanted *w, struct err *err)
{
	if (!is_of_nodes_alone(w->subject))
		return err_set(err, ERR_INVALID, "subject organization is not system:nodes");
	if (!w->n[0] && !w->n[2])
		return err_set(err, ERR_INVALID, "DNS or IP subjectAltName is required");
	if (w->n[1] || w->n[3])
		return err_set(err, ERR_INVALID, "%s subjectAltNames are not allowed",
			       w->n[1] ? "Email" : "URI");
	if (check_kubelet_usages(w->usages, "server auth", err) < 0)
		return -EINVAL;
	if (!is_node(w->subject))
		return err_set(err, ERR_INVALID,
			       "subject common name does not begin with system:node:");
	return 0;
}

static const struct signer {
	const char *name, *purpose;
	int (*check)(const struct wanted *w, struct err *err);
} signers[] = {
	{"kubernetes.io/kube-apiserver-client", "clientAuth", check_client},
	{"kubernetes.io/kube-apiserver-client-kubelet", "clientAuth", check_kubelet_client},
	{"kubernetes.io/kubelet-serving", "serverAuth", check_kubelet_serving},
};

static const struct signer *signer_find(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(signers); i++)
		if (streq(signers[i].name, name))
			return &signers[i];
	return NULL;
}

bool identity_csr_signs(const char *signer)
{
	return signer_find(signer);
}

/* ---- signing ----------------------------------------------------------------------------- */

static bool add_key_usage(X509 *cert, X509 *ca, const json_t *usages)
{
	bool sign = has_usage(usages, "digital signature");
	bool encipher = has_usage(usages, "key encipherment");
	auto_free char *text = xasprintf("critical%s%s", sign ? ",digitalSignature" : "",
					 encipher ? ",keyEncipherment" : "");

	return (!sign && !encipher) || cert_add_extension(cert, ca, NID_key_usage, text);
}

/* Who has no other name must be known by these (RFC 5280 section 4.2.1.6). */
static bool add_names(X509 *cert, const struct wanted *w)
{
	return !w->names || sk_GENERAL_NAME_num(w->names) == 0 ||
	       X509_add1_ext_i2d(cert, NID_subject_alt_name, w->names,
				 X509_NAME_entry_count(w->subject) == 0, 0);
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
			    const struct wanted *w, const char *purpose, const struct pair *ca,
			    struct err *err)
{
	int64_t seconds = json_int(spec, "expirationSeconds", YEAR);

	if (X509_set_version(cert, 2) && cert_set_serial(cert) &&
	    set_life(cert, seconds < YEAR ? seconds : YEAR) &&
	    X509_set_subject_name(cert, X509_REQ_get_subject_name(req)) &&
	    X509_set_issuer_name(cert, X509_get_subject_name(ca->cert)) &&
	    X509_set_pubkey(cert, X509_REQ_get0_pubkey((X509_REQ *)(uintptr_t)req)) &&
	    cert_add_extension(cert, ca->cert, NID_basic_constraints, "critical,CA:FALSE") &&
	    add_key_usage(cert, ca->cert, w->usages) &&
	    cert_add_extension(cert, ca->cert, NID_ext_key_usage, purpose) && add_names(cert, w) &&
	    X509_sign(cert, ca->key, EVP_sha256()))
		return 0;
	ERR_clear_error();
	return err_set(err, ERR_INTERNAL, "cannot sign the certificate");
}

static int check_request(X509_REQ *req, const struct wanted *w, const struct signer *signer,
			 struct err *err)
{
	if (!signer)
		return err_set(err, ERR_INVALID, "the signer is not ours");
	if (EVP_PKEY_get_security_bits(X509_REQ_get0_pubkey(req)) < SECURITY_BITS_MIN)
		return err_set(err, ERR_INVALID, "the key is too weak");
	return signer->check(w, err);
}

char *identity_csr_sign(const struct identity *id, const json_t *spec, struct err *err)
{
	const struct signer *signer = signer_find(json_str(spec, "signerName", ""));
	X509_REQ *req auto_clean(x509_req) = read_request(json_str(spec, "request", ""), err);
	X509 *cert auto_clean(x509) = X509_new();
	BIO *bio auto_clean(bio) = BIO_new(BIO_s_mem());
	struct wanted w __attribute__((cleanup(wanted_done))) = {0};
	auto_pair ca = {0};
	char *data;

	if (!req || !cert || !bio)
		return NULL;
	w = wanted_of(req, spec);
	if (check_request(req, &w, signer, err) < 0)
		return NULL;
	if (!pair_read(id->pki_dir, "ca", &ca)) {
		err_set(err, ERR_INTERNAL, "cannot read the certificate authority");
		return NULL;
	}
	if (fill_certificate(cert, req, spec, &w, signer->purpose, &ca, err) < 0 ||
	    !PEM_write_bio_X509(bio, cert))
		return NULL;
	long len = BIO_get_mem_data(bio, &data);

	return xstrndup(data, (size_t)len);
}
