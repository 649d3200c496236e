/* SPDX-License-Identifier: Apache-2.0 */
/*
 * proxy: service load balancing in the loop. TCP (read/write, splice(2) once a stream proves bulky)
 * and UDP (sessions with time-outs). Knows addresses and ports only.
 *
 * Purpose: a frontend is one listening address; its backends are swapped whole by proxy_set().
 * Lifetime: proxy_new(), proxy_set() whenever services change, proxy_free().
 * A backend that leaves gets no new connection; TCP sessions to it go on until they end, or until
 * proxy_backend_gone(); UDP sessions move. A connect that fails is tried on another backend before
 * the client is refused.
 */
#ifndef CORACLE_PROXY_H
#define CORACLE_PROXY_H

#include <coracle/base.h>
#include <coracle/loop.h>
#include <netinet/in.h>

struct proxy_backend {
	struct sockaddr_in addr;
};
struct proxy_frontend {
	const char *name;	   /* "default/web:http", for logs and `coracle show` */
	uint8_t protocol;	   /* IPPROTO_TCP, IPPROTO_UDP */
	struct sockaddr_in listen; /* INADDR_ANY for node ports */
	uint32_t affinity_seconds; /* ClientIP session affinity; 0: none */
	const struct proxy_backend *backends;
	size_t n_backends; /* 0: connections are refused (reset) */
};
struct proxy_config {
	uint32_t udp_idle_seconds; /* 0: 60 */
	uint32_t max_sessions;	   /* 0: from RLIMIT_NOFILE */
	/* A frontend could not listen (port taken), or can again (why NULL). May be NULL. */
	void (*on_trouble)(void *arg, const char *name, const struct sockaddr_in *listen,
			   uint8_t protocol, const char *why);
	void *arg;
};
struct proxy;
struct proxy *proxy_new(struct loop *loop, const struct proxy_config *config);
void proxy_free(struct proxy *p);
/* Replaces the whole set: frontends are matched by protocol and listen address; unchanged ones are
 * not touched. Values are copied. */
void proxy_set(struct proxy *p, const struct proxy_frontend *frontends, size_t n);
/* The network of this backend address is no more, so that nothing there will ever end a connection.
 * Clients get what they take at once of what has arrived; then their connections are reset, as a
 * machine that is there would do for its dead. Who was still connecting tries the next backend,
 * and no frontend uses the address until the next proxy_set(). */
void proxy_backend_gone(struct proxy *p, struct in_addr addr);
struct proxy_stats {
	uint64_t connections, failed, bytes, spliced_streams, udp_packets;
	size_t sessions;
};
void proxy_get_stats(const struct proxy *p, struct proxy_stats *ret);

#endif
