/* SPDX-License-Identifier: Apache-2.0 */
/*
 * dns: the embedded responder for service names, and the forwarder for all others.
 *
 * Purpose: answers from a table of services (Kubernetes DNS-based service discovery 1.1.0) on UDP
 * and TCP; everything outside the cluster domain goes upstream through c-ares on the same loop.
 * Lifetime: dns_new(), dns_set() whenever services change, dns_free(). The wire codec is pure
 * (src/dns/wire.h) and fuzzed.
 */
#ifndef CORACLE_DNS_H
#define CORACLE_DNS_H

#include <coracle/base.h>
#include <coracle/loop.h>
#include <netinet/in.h>

struct dns_port {
	const char *name;     /* "" for an unnamed port */
	const char *protocol; /* "tcp" "udp" "sctp" */
	uint16_t port;
};
struct dns_endpoint {
	struct in_addr addr;
	const char *hostname; /* or NULL: the dashed address */
};
struct dns_service {
	const char *ns, *name;
	struct in_addr cluster_ip; /* INADDR_ANY: headless or ExternalName */
	const char *external_name; /* or NULL */
	const struct dns_port *ports;
	size_t n_ports;
	const struct dns_endpoint *endpoints; /* of headless services: the ready ones */
	size_t n_endpoints;
};
struct dns_config {
	struct sockaddr_in listen;  /* 10.43.0.10:53 */
	const char *cluster_domain; /* "cluster.local" */
	const char *resolv_conf;    /* upstream servers; NULL: /etc/resolv.conf */
	uint32_t ttl;		    /* seconds; 0: 5 */
};
struct dns;
struct dns *dns_new(struct loop *loop, const struct dns_config *config, struct err *err);
void dns_free(struct dns *d);
/* Replaces the whole table; copied. */
void dns_set(struct dns *d, const struct dns_service *services, size_t n);
/* Names that resolve: <svc>.<ns>[.svc[.<domain>|.local]]; names without a dot or of other shapes
 * are completed by the pod's search list (resolv.conf), as Kubernetes does. */

#endif
