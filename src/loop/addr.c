/* SPDX-License-Identifier: Apache-2.0 */
/* Socket addresses as text. */
#include <arpa/inet.h>
#include <coracle/loop.h>
#include <netinet/in.h>
#include <sys/un.h>

static int parse_unix(const char *path, struct addr *ret)
{
	struct sockaddr_un *un = (struct sockaddr_un *)&ret->ss;

	if (strlen(path) >= sizeof(un->sun_path))
		return -ENAMETOOLONG;
	*ret = (struct addr){.len = sizeof(*un)};
	un->sun_family = AF_UNIX;
	memcpy(un->sun_path, path, strlen(path) + 1);
	return 0;
}

int addr_parse(const char *text, struct addr *ret)
{
	const char *colon = strrchr(text, ':');
	auto_free char *host = NULL;
	struct sockaddr_in *in = (struct sockaddr_in *)&ret->ss;
	struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)&ret->ss;
	uint64_t port;

	if (str_starts(text, "unix:"))
		return parse_unix(text + 5, ret);
	if (*text == '/')
		return parse_unix(text, ret);
	if (!colon || str_to_u64(colon + 1, 65535, &port) < 0)
		return -EINVAL;
	*ret = (struct addr){0};
	if (*text == '[' && colon[-1] == ']') {
		host = xstrndup(text + 1, (size_t)(colon - text) - 2);
		in6->sin6_family = AF_INET6;
		in6->sin6_port = htons((uint16_t)port);
		ret->len = sizeof(*in6);
		return inet_pton(AF_INET6, host, &in6->sin6_addr) == 1 ? 0 : -EINVAL;
	}
	host = xstrndup(text, (size_t)(colon - text));
	in->sin_family = AF_INET;
	in->sin_port = htons((uint16_t)port);
	ret->len = sizeof(*in);
	return inet_pton(AF_INET, host, &in->sin_addr) == 1 ? 0 : -EINVAL;
}

char *addr_format(char buf[static ADDR_TEXT_MAX], const struct addr *a)
{
	const struct sockaddr_in *in = (const struct sockaddr_in *)&a->ss;
	const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)&a->ss;
	const struct sockaddr_un *un = (const struct sockaddr_un *)&a->ss;
	char host[INET6_ADDRSTRLEN] = "";

	if (a->ss.ss_family == AF_INET)
		snprintf(buf, ADDR_TEXT_MAX, "%s:%d",
			 inet_ntop(AF_INET, &in->sin_addr, host, sizeof(host)),
			 ntohs(in->sin_port));
	else if (a->ss.ss_family == AF_INET6)
		snprintf(buf, ADDR_TEXT_MAX, "[%s]:%d",
			 inet_ntop(AF_INET6, &in6->sin6_addr, host, sizeof(host)),
			 ntohs(in6->sin6_port));
	else
		snprintf(buf, ADDR_TEXT_MAX, "%.*s", (int)sizeof(un->sun_path), un->sun_path);
	return buf;
}
