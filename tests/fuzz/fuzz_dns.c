/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as a query, and what the writer makes of them; any bytes as a foreign answer to cut. */
#include "wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t out[2048], copy[2048];
	struct dns_query q;
	struct dns_writer w;
	int r;

	if (size > sizeof(copy))
		return 0;
	r = dns_parse_query(data, size, &q);
	if (r != -EINVAL && size)
		dns_write_error(out, data, size, &q, DNS_RCODE_FORMERR);
	if (r == 0) {
		dns_write_start(&w, out, 512, data, &q);
		dns_write_srv(&w, DNS_ANSWER, NULL, 5, 1, 80, q.name);
		dns_write_name(&w, DNS_ANSWER, q.name, DNS_TYPE_CNAME, 5, q.name);
		dns_write_soa(&w, "cluster.local", 5);
		if (dns_write_end(&w, &q, 0, true) > 512)
			abort();
	}
	memcpy(copy, data, size);
	if (dns_truncate(copy, size, 64) > (size < 64 ? 64 : size))
		abort();
	return 0;
}
