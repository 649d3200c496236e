/* SPDX-License-Identifier: Apache-2.0 */
/* Sandbox protocol: what decodes must encode, and decode to the same again. */
#include "protocol.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct proto_msg a, b;
	static unsigned char packet[PROTO_MAX], again[PROTO_MAX];

	if (proto_decode(&a, data, size) < 0)
		return 0;
	ssize_t len = proto_encode(&a, packet, sizeof(packet));
	/* Unknown and repeated fields are gone, so it fits. */
	if (len < 0 || proto_decode(&b, packet, (size_t)len) < 0)
		abort();
	ssize_t len2 = proto_encode(&b, again, sizeof(again));
	if (len2 != len || memcmp(packet, again, (size_t)len) != 0)
		abort();
	return 0;
}
