/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Keys of this installation: an authority of its own, made at first start, with a server and an
 * administrator's certificate. Valid from 1970 on, since boards without a clock boot there, for
 * longer than any device lives; whoever wants others puts files of the same names here.
 */
#include "internal.h"
#include "certs.h"

#include <openssl/bn.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILE_MAX (64 * 1024)
#define NOT_AFTER "21200101000000Z"

DEFINE_AUTO(evp_pkey, EVP_PKEY *, EVP_PKEY_free);

void pair_done(struct pair *p)
{
	EVP_PKEY_free(p->key);
	X509_free(p->cert);
	*p = (struct pair){0};
}

static int ssl_error(struct err *err, const char *what)
{
	char text[256];

	ERR_error_string_n(ERR_get_error(), text, sizeof(text));
	ERR_clear_error();
	return err_set(err, ERR_INTERNAL, "cannot make %s: %s", what, text);
}

static BIO *open_pem(const char *dir, const char *name, const char *suffix, char **text)
{
	auto_free char *path = xasprintf("%s/%s.%s", dir, name, suffix);
	size_t len;

	if (file_read(path, FILE_MAX, text, &len) < 0)
		return NULL;
	return BIO_new_mem_buf(*text, (int)len);
}

bool pair_read(const char *dir, const char *name, struct pair *ret)
{
	auto_free char *cert_text = NULL, *key_text = NULL;
	BIO *cert auto_clean(bio) = open_pem(dir, name, "crt", &cert_text);
	BIO *key auto_clean(bio) = open_pem(dir, name, "key", &key_text);

	if (cert && key) {
		ret->cert = PEM_read_bio_X509(cert, NULL, NULL, NULL);
		ret->key = PEM_read_bio_PrivateKey(key, NULL, NULL, NULL);
	}
	bool good = ret->cert && ret->key && X509_check_private_key(ret->cert, ret->key) == 1;

	ERR_clear_error();
	if (!good)
		pair_done(ret);
	return good;
}

static int write_file(const char *dir, const char *name, const char *suffix, const void *data,
		      size_t len, struct err *err)
{
	auto_free char *path = xasprintf("%s/%s%s%s", dir, name, *suffix ? "." : "", suffix);
	int rc = file_write_atomic(path, data, len, 0600, true);

	return rc < 0 ? err_errno(err, -rc, "cannot write %s", path) : 0;
}

static int write_bio(const char *dir, const char *name, const char *suffix, BIO *bio,
		     struct err *err)
{
	char *data;
	long len = BIO_get_mem_data(bio, &data);

	return write_file(dir, name, suffix, data, (size_t)len, err);
}

/* The key goes first: a certificate without its key would be taken for damage, not for a pair. */
static int pair_write(const char *dir, const char *name, const struct pair *p, struct err *err)
{
	BIO *key auto_clean(bio) = BIO_new(BIO_s_mem());
	BIO *cert auto_clean(bio) = BIO_new(BIO_s_mem());

	if (!key || !cert || !PEM_write_bio_X509(cert, p->cert) ||
	    !PEM_write_bio_PrivateKey(key, p->key, NULL, NULL, 0, NULL, NULL))
		return ssl_error(err, name);
	int rc = write_bio(dir, name, "key", key, err);

	return rc < 0 ? rc : write_bio(dir, name, "crt", cert, err);
}

bool cert_add_extension(X509 *cert, X509 *issuer, int nid, const char *value)
{
	X509V3_CTX ctx;

	X509V3_set_ctx_nodb(&ctx);
	X509V3_set_ctx(&ctx, issuer, cert, NULL, NULL, 0);
	X509_EXTENSION *e = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
	bool good = e && X509_add_ext(cert, e, -1);

	X509_EXTENSION_free(e);
	return good;
}

bool cert_set_serial(X509 *cert)
{
	unsigned char bytes[16];

	random_bytes(bytes, sizeof(bytes));
	bytes[0] = (bytes[0] & 0x7f) | 0x40;
	BIGNUM *bn = BN_bin2bn(bytes, sizeof(bytes), NULL);
	bool good = bn && BN_to_ASN1_INTEGER(bn, X509_get_serialNumber(cert));

	BN_free(bn);
	return good;
}

static bool set_subject(X509 *cert, const char *cn, const char *o)
{
	X509_NAME *name = X509_get_subject_name(cert);

	if (o && !X509_NAME_add_entry_by_txt(name, "O", MBSTRING_UTF8, (const unsigned char *)o, -1,
					     -1, 0))
		return false;
	return X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8, (const unsigned char *)cn, -1,
					  -1, 0);
}

struct want {
	const char *file;
	const char *cn, *o;
	const char *usage;     /* keyUsage */
	const char *ext_usage; /* extendedKeyUsage, NULL for the authority */
	const char *names;     /* subjectAltName or NULL */
};

/* Everything but key and signature. */
static bool cert_fill(X509 *cert, const struct want *w, X509 *issuer)
{
	return X509_set_version(cert, 2) && cert_set_serial(cert) &&
	       ASN1_TIME_set_string_X509(X509_getm_notBefore(cert), CERT_NOT_BEFORE) &&
	       ASN1_TIME_set_string_X509(X509_getm_notAfter(cert), NOT_AFTER) &&
	       set_subject(cert, w->cn, w->o) &&
	       X509_set_issuer_name(cert, X509_get_subject_name(issuer)) &&
	       cert_add_extension(cert, issuer, NID_basic_constraints,
				  w->ext_usage ? "critical,CA:FALSE" : "critical,CA:TRUE") &&
	       cert_add_extension(cert, issuer, NID_key_usage, w->usage) &&
	       cert_add_extension(cert, issuer, NID_subject_key_identifier, "hash") &&
	       (!w->ext_usage ||
		cert_add_extension(cert, issuer, NID_ext_key_usage, w->ext_usage)) &&
	       (!w->names || cert_add_extension(cert, issuer, NID_subject_alt_name, w->names));
}

/* A new key and its certificate, signed by ca, or by itself when ca is NULL. */
static int pair_make(const struct want *w, const struct pair *ca, struct pair *ret, struct err *err)
{
	ret->key = EVP_EC_gen("P-256");
	ret->cert = X509_new();
	if (!ret->key || !ret->cert || !X509_set_pubkey(ret->cert, ret->key) ||
	    !cert_fill(ret->cert, w, ca ? ca->cert : ret->cert) ||
	    !X509_sign(ret->cert, ca ? ca->key : ret->key, EVP_sha256()))
		return ssl_error(err, w->file);
	return 0;
}

/* A subjectAltName extension as text; caller frees. */
static char *names_text(X509_EXTENSION *e)
{
	BIO *bio auto_clean(bio) = BIO_new(BIO_s_mem());
	char *data;

	if (!e || !bio || !X509V3_EXT_print(bio, e, 0, 0))
		return xstrdup("");
	long len = BIO_get_mem_data(bio, &data);

	return xstrndup(data, (size_t)len);
}

/* Whether the certificate still has the names that are wanted: the node may have got another. */
static bool names_match(X509 *cert, const char *names)
{
	int at = X509_get_ext_by_NID(cert, NID_subject_alt_name, -1);
	X509V3_CTX ctx;

	X509V3_set_ctx_nodb(&ctx);
	X509V3_set_ctx(&ctx, NULL, NULL, NULL, NULL, 0);
	X509_EXTENSION *want =
		names ? X509V3_EXT_conf_nid(NULL, &ctx, NID_subject_alt_name, names) : NULL;
	auto_free char *a = names_text(at < 0 ? NULL : X509_get_ext(cert, at));
	auto_free char *b = names_text(want);

	X509_EXTENSION_free(want);
	return streq(a, b);
}

/* Whether the pair on disk is one that ca signed for these names. */
static bool pair_usable(const char *dir, const struct want *w, const struct pair *ca)
{
	auto_pair old = {0};
	bool good = pair_read(dir, w->file, &old) &&
		    X509_verify(old.cert, X509_get0_pubkey(ca->cert)) == 1 &&
		    names_match(old.cert, w->names);

	ERR_clear_error();
	return good;
}

static int leaf_prepare(const char *dir, const struct want *w, const struct pair *ca,
			struct err *err)
{
	auto_pair fresh = {0};

	if (pair_usable(dir, w, ca))
		return 0;
	log_info("identity: making certificate %s/%s.crt", dir, w->file);
	int rc = pair_make(w, ca, &fresh, err);

	return rc < 0 ? rc : pair_write(dir, w->file, &fresh, err);
}

static int ca_prepare(const char *dir, struct pair *ret, struct err *err)
{
	static const struct want want = {.file = "ca",
					 .cn = "coracle",
					 .usage = "critical,keyCertSign,cRLSign,digitalSignature"};

	if (pair_read(dir, "ca", ret))
		return 0;
	log_info("identity: making certificate authority %s/ca.crt", dir);
	int rc = pair_make(&want, NULL, ret, err);

	return rc < 0 ? rc : pair_write(dir, "ca", ret, err);
}

static void add_name(struct strbuf *b, const char *name)
{
	auto_free char *entry = NULL;
	ASN1_OCTET_STRING *octets = str_empty(name) ? NULL : a2i_IPADDRESS(name);

	if (str_empty(name))
		return;
	entry = xasprintf("%s:%s", octets ? "IP" : "DNS", name);
	ASN1_OCTET_STRING_free(octets);
	ERR_clear_error();
	if (b->len) {
		auto_free char *all = xasprintf("%s,", b->s);
		auto_free char *one = xasprintf("%s,", entry);

		if (strstr(all, one))
			return;
		strbuf_addc(b, ',');
	}
	strbuf_adds(b, entry);
}

/* Every name under which a client on this host or in a pod reaches us. */
static void server_names(struct strbuf *b, const char *node_name, const char *service_ip,
			 const char *listen, const char *domain)
{
	static const char *const fixed[] = {
		"127.0.0.1",	      "::1",
		"localhost",	      "kubernetes",
		"kubernetes.default", "kubernetes.default.svc",
	};
	char host[256] = "";

	for (size_t i = 0; i < ARRAY_SIZE(fixed); i++)
		add_name(b, fixed[i]);
	auto_free char *full = xasprintf("kubernetes.default.svc.%s", domain);

	add_name(b, full);
	add_name(b, node_name);
	add_name(b, service_ip);
	if (gethostname(host, sizeof(host) - 1) == 0)
		add_name(b, host);
	if (!listen || !strrchr(listen, ':'))
		return;
	bool v6 = *listen == '[';
	auto_free char *ip =
		xstrndup(listen + v6, (size_t)(strrchr(listen, ':') - listen) - 2 * v6);

	if (!streq(ip, "0.0.0.0") && !streq(ip, "::"))
		add_name(b, ip);
}

static int token_prepare(const char *dir, struct err *err)
{
	auto_free char *path = path_join(dir, "token"), *old = NULL;
	unsigned char bytes[32];
	char text[2 * sizeof(bytes) + 1];
	size_t len = 0;

	if (file_read(path, FILE_MAX, &old, &len) == 0 && len >= 32)
		return 0;
	random_bytes(bytes, sizeof(bytes));
	for (size_t i = 0; i < sizeof(bytes); i++)
		snprintf(text + 2 * i, 3, "%02x", bytes[i]);
	return write_file(dir, "token", "", text, strlen(text), err);
}

/* ES256 is all that we sign with. */
static bool is_p256(EVP_PKEY *key)
{
	char name[32] = "";
	size_t len;

	return key && EVP_PKEY_get_base_id(key) == EVP_PKEY_EC &&
	       EVP_PKEY_get_group_name(key, name, sizeof(name), &len) == 1 &&
	       (streq(name, "prime256v1") || streq(name, "P-256"));
}

EVP_PKEY *pki_token_key(const char *dir, struct err *err)
{
	auto_free char *text = NULL;
	BIO *bio auto_clean(bio) = open_pem(dir, "sa", "key", &text);
	BIO *out auto_clean(bio) = NULL;
	EVP_PKEY *key = bio ? PEM_read_bio_PrivateKey(bio, NULL, NULL, NULL) : NULL;

	ERR_clear_error();
	if (is_p256(key))
		return key;
	if (key) {
		EVP_PKEY_free(key);
		err_set(err, ERR_BAD_REQUEST, "%s/sa.key: a key of type EC P-256 is wanted", dir);
		return NULL;
	}
	log_info("identity: making token key %s/sa.key", dir);
	key = EVP_EC_gen("P-256");
	out = BIO_new(BIO_s_mem());
	if (key && out && PEM_write_bio_PrivateKey(out, key, NULL, NULL, 0, NULL, NULL) == 1) {
		if (write_bio(dir, "sa", "key", out, err) == 0)
			return key;
	} else {
		ssl_error(err, "sa.key");
	}
	EVP_PKEY_free(key);
	return NULL;
}

int pki_prepare(const char *dir, const char *node_name, const char *service_ip, const char *listen,
		const char *cluster_domain, struct err *err)
{
	auto_pair ca = {0};
	auto_strbuf names = {0};
	int rc = mkdir_p(dir, 0700);

	if (rc < 0)
		return err_errno(err, -rc, "cannot make %s", dir);
	rc = ca_prepare(dir, &ca, err);
	if (rc < 0)
		return rc;
	server_names(&names, node_name, service_ip, listen, cluster_domain);
	const struct want leaves[] = {
		{.file = "server",
		 .cn = "coracle-api",
		 .usage = "critical,digitalSignature",
		 .ext_usage = "serverAuth",
		 .names = names.s},
		{.file = "admin",
		 .cn = "kubernetes-admin",
		 .o = "system:masters",
		 .usage = "critical,digitalSignature",
		 .ext_usage = "clientAuth"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(leaves); i++) {
		rc = leaf_prepare(dir, &leaves[i], &ca, err);
		if (rc < 0)
			return rc;
	}
	return token_prepare(dir, err);
}
