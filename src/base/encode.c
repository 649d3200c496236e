/* SPDX-License-Identifier: Apache-2.0 */
/* base64 and SHA-256 by OpenSSL; randomness by the kernel. */
#include <coracle/base.h>
#include <openssl/evp.h>
#include <sys/random.h>

char *base64_encode(const void *data, size_t len)
{
	char *out = xmalloc((len + 2) / 3 * 4 + 1);

	out[EVP_EncodeBlock((unsigned char *)out, data, (int)len)] = '\0';
	return out;
}

int base64_decode(const char *text, size_t text_len, unsigned char **ret, size_t *ret_len)
{
	auto_free unsigned char *out = NULL;
	size_t pad = 0;
	int n;

	if (text_len % 4 || text_len > INT32_MAX)
		return -EINVAL;
	while (pad < 2 && pad < text_len && text[text_len - 1 - pad] == '=')
		pad++;
	/* EVP_DecodeBlock trims white space and takes '=' anywhere: look at every character. */
	for (size_t i = 0; i < text_len - pad; i++)
		if (!strchr("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/",
			    text[i]) ||
		    !text[i])
			return -EINVAL;
	out = xmalloc(text_len / 4 * 3 + 1);
	n = text_len ? EVP_DecodeBlock(out, (const unsigned char *)text, (int)text_len) : 0;
	if (n < 0)
		return -EINVAL;
	*ret_len = (size_t)n - pad;
	out[*ret_len] = '\0';
	*ret = steal_ptr(out);
	return 0;
}

void sha256(const void *data, size_t len, unsigned char out[static SHA256_LEN])
{
	unsigned n = 0;

	if (!EVP_Digest(data, len, out, &n, EVP_sha256(), NULL) || n != SHA256_LEN)
		abort();
}

void sha256_hex(const void *data, size_t len, char out[static 65])
{
	unsigned char md[SHA256_LEN];

	sha256(data, len, md);
	for (unsigned i = 0; i < SHA256_LEN; i++)
		snprintf(out + 2 * i, 3, "%02x", md[i]);
}

void random_bytes(void *buf, size_t len)
{
	unsigned char *p = buf;

	while (len) {
		ssize_t n = getrandom(p, len, 0);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			abort();
		p += n;
		len -= (size_t)n;
	}
}

void random_suffix(char *buf, size_t n)
{
	static const char alphabet[] = "bcdfghjklmnpqrstvwxz2456789";

	for (size_t i = 0; i < n;) {
		unsigned char c;

		random_bytes(&c, 1);
		if (c < 243) /* 9 * 27: no bias */
			buf[i++] = alphabet[c % (sizeof(alphabet) - 1)];
	}
	buf[n] = '\0';
}

void random_uuid(char buf[static UUID_LEN])
{
	unsigned char b[16];

	random_bytes(b, sizeof(b));
	b[6] = (b[6] & 0x0f) | 0x40;
	b[8] = (b[8] & 0x3f) | 0x80;
	snprintf(buf, UUID_LEN,
		 "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", b[0], b[1],
		 b[2], b[3], b[4], b[5], b[6], b[7], b[8], b[9], b[10], b[11], b[12], b[13], b[14],
		 b[15]);
}
