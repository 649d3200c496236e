/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bearer tokens. Nothing that the fuzzer can think of has a good signature.
 */
#include "../../src/identity/jwt.h"

#include <openssl/ec.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static EVP_PKEY *key;
	auto_free char *text = xstrndup((const char *)data, size);
	auto_jwt j = {0};

	if (!key)
		key = EVP_EC_gen("P-256");
	if (jwt_parse(text, &j) == 0 && jwt_verify(&j, key))
		abort();
	return 0;
}
