/* SPDX-License-Identifier: Apache-2.0 */
/* jwt: signed JSON claims in compact form. */
#include "jwt.h"

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ecdsa.h>
#include <openssl/err.h>
#include <openssl/x509.h>

#define HALF (JWT_SIGNATURE / 2)
#define DER_MAX 80

DEFINE_AUTO(ecdsa_sig, ECDSA_SIG *, ECDSA_SIG_free);
DEFINE_AUTO(md_ctx, EVP_MD_CTX *, EVP_MD_CTX_free);

/* ---- base64url --------------------------------------------------------------------------- */

char *base64url_encode(const void *data, size_t len)
{
	char *s = base64_encode(data, len), *p = s;

	for (; *p && *p != '='; p++)
		*p = *p == '+' ? '-' : *p == '/' ? '_' : *p;
	*p = '\0';
	return s;
}

static int base64url_decode(const char *text, size_t len, unsigned char **ret, size_t *ret_len)
{
	size_t padded = (len + 3) / 4 * 4;
	auto_free char *copy = xcalloc(1, padded + 1);

	for (size_t i = 0; i < padded; i++) {
		char c = i < len ? text[i] : '=';

		if (i < len && (c == '+' || c == '/' || c == '='))
			return -EINVAL;
		copy[i] = c == '-' ? '+' : c == '_' ? '/' : c;
	}
	return base64_decode(copy, padded, ret, ret_len);
}

/* ---- parsing ----------------------------------------------------------------------------- */

void jwt_done(struct jwt *j)
{
	json_decref(j->header);
	json_decref(j->claims);
	*j = (struct jwt){0};
}

static json_t *parse_part(const char *text, size_t len)
{
	auto_free unsigned char *data = NULL;
	size_t n;
	json_t *v;

	if (len == 0 || base64url_decode(text, len, &data, &n) < 0)
		return NULL;
	v = json_parse((const char *)data, n, NULL);
	if (!json_is_object(v)) {
		json_decref(v);
		return NULL;
	}
	return v;
}

static bool parse_signature(const char *text, struct jwt *j)
{
	auto_free unsigned char *data = NULL;
	size_t n;

	if (base64url_decode(text, strlen(text), &data, &n) < 0 || n != JWT_SIGNATURE)
		return false;
	memcpy(j->signature, data, n);
	return true;
}

int jwt_parse(const char *text, struct jwt *ret)
{
	const char *first = strchr(text, '.'), *second = first ? strchr(first + 1, '.') : NULL;

	*ret = (struct jwt){.text = text};
	if (!second || strlen(text) > JWT_MAX)
		return -EINVAL;
	ret->signed_len = (size_t)(second - text);
	ret->header = parse_part(text, (size_t)(first - text));
	if (!ret->header || !streq(json_str(ret->header, "alg", ""), "ES256") ||
	    json_object_get(ret->header, "crit") || !parse_signature(second + 1, ret)) {
		jwt_done(ret);
		return -EINVAL;
	}
	ret->claims = parse_part(first + 1, (size_t)(second - first) - 1);
	if (!ret->claims) {
		jwt_done(ret);
		return -EINVAL;
	}
	return 0;
}

/* ---- signatures -------------------------------------------------------------------------- */

bool jwt_verify(const struct jwt *j, EVP_PKEY *key)
{
	ECDSA_SIG *sig auto_clean(ecdsa_sig) = ECDSA_SIG_new();
	EVP_MD_CTX *ctx auto_clean(md_ctx) = EVP_MD_CTX_new();
	BIGNUM *r = BN_bin2bn(j->signature, HALF, NULL);
	BIGNUM *s = BN_bin2bn(j->signature + HALF, HALF, NULL);
	unsigned char der[DER_MAX], *p = der;
	bool good = false;
	int len;

	if (!sig || !ctx || !r || !s || !ECDSA_SIG_set0(sig, r, s)) {
		BN_free(r);
		BN_free(s);
		return false;
	}
	len = i2d_ECDSA_SIG(sig, NULL);
	if (len > 0 && len <= DER_MAX) {
		i2d_ECDSA_SIG(sig, &p);
		good = EVP_DigestVerifyInit(ctx, NULL, EVP_sha256(), NULL, key) == 1 &&
		       EVP_DigestVerify(ctx, der, (size_t)len, (const unsigned char *)j->text,
					j->signed_len) == 1;
	}
	ERR_clear_error();
	return good;
}

static bool sign(const char *text, size_t len, EVP_PKEY *key, unsigned char ret[JWT_SIGNATURE])
{
	EVP_MD_CTX *ctx auto_clean(md_ctx) = EVP_MD_CTX_new();
	unsigned char der[DER_MAX];
	const unsigned char *p = der;
	size_t n = sizeof(der);

	if (!ctx || EVP_DigestSignInit(ctx, NULL, EVP_sha256(), NULL, key) != 1 ||
	    EVP_DigestSign(ctx, der, &n, (const unsigned char *)text, len) != 1)
		return false;
	ECDSA_SIG *sig auto_clean(ecdsa_sig) = d2i_ECDSA_SIG(NULL, &p, (long)n);

	return sig && BN_bn2binpad(ECDSA_SIG_get0_r(sig), ret, HALF) == HALF &&
	       BN_bn2binpad(ECDSA_SIG_get0_s(sig), ret + HALF, HALF) == HALF;
}

static void add_json(struct strbuf *b, const json_t *v)
{
	size_t len;
	auto_free char *text = json_text(v, &len), *encoded = base64url_encode(text, len);

	strbuf_adds(b, encoded);
}

char *jwt_sign(const json_t *claims, EVP_PKEY *key, const char *kid)
{
	json_auto_t *header = json_pack("{s:s, s:s}", "alg", "ES256", "kid", kid);
	unsigned char signature[JWT_SIGNATURE];
	auto_free char *tail = NULL;
	auto_strbuf b = {0};

	add_json(&b, header);
	strbuf_addc(&b, '.');
	add_json(&b, claims);
	if (!sign(b.s, b.len, key, signature)) {
		ERR_clear_error();
		return NULL;
	}
	tail = base64url_encode(signature, sizeof(signature));
	strbuf_addf(&b, ".%s", tail);
	return strbuf_steal(&b);
}

/* ---- public keys ------------------------------------------------------------------------- */

char *key_id(EVP_PKEY *key)
{
	unsigned char *der = NULL, digest[EVP_MAX_MD_SIZE];
	int len = i2d_PUBKEY(key, &der);
	unsigned n = 0;
	char *text = NULL;

	if (len > 0 && EVP_Digest(der, (size_t)len, digest, &n, EVP_sha256(), NULL) == 1)
		text = base64url_encode(digest, n);
	OPENSSL_free(der);
	return text;
}

static char *coordinate(EVP_PKEY *key, const char *name)
{
	unsigned char bytes[HALF];
	BIGNUM *bn = NULL;
	char *text = NULL;

	if (EVP_PKEY_get_bn_param(key, name, &bn) && BN_bn2binpad(bn, bytes, HALF) == HALF)
		text = base64url_encode(bytes, HALF);
	BN_free(bn);
	return text;
}

json_t *jwk_new(EVP_PKEY *key, const char *kid)
{
	auto_free char *x = coordinate(key, OSSL_PKEY_PARAM_EC_PUB_X);
	auto_free char *y = coordinate(key, OSSL_PKEY_PARAM_EC_PUB_Y);

	return json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:s}", "use", "sig", "kty", "EC", "kid",
			 kid, "crv", "P-256", "alg", "ES256", "x", x ? x : "", "y", y ? y : "");
}
