/* SPDX-License-Identifier: Apache-2.0 */
/* IPv4 networks as text. */
#include <arpa/inet.h>
#include <coracle/network.h>

static uint32_t mask(uint8_t prefix)
{
	return prefix ? UINT32_MAX << (32 - prefix) : 0;
}

int cidr_parse(const char *text, struct cidr *ret)
{
	const char *slash = strchr(text, '/');
	char host[INET_ADDRSTRLEN];
	uint64_t prefix;

	if (!slash || (size_t)(slash - text) >= sizeof(host) ||
	    str_to_u64(slash + 1, 32, &prefix) < 0)
		return -EINVAL;
	memcpy(host, text, (size_t)(slash - text));
	host[slash - text] = '\0';
	if (inet_pton(AF_INET, host, &ret->addr) != 1)
		return -EINVAL;
	ret->prefix = (uint8_t)prefix;
	ret->addr.s_addr &= htonl(mask(ret->prefix));
	return 0;
}

bool cidr_contains(const struct cidr *c, struct in_addr a)
{
	return (a.s_addr & htonl(mask(c->prefix))) == c->addr.s_addr;
}
