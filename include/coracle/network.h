/* SPDX-License-Identifier: Apache-2.0 */
/*
 * network: the bridge, the pods' interfaces and addresses, routes and masquerade.
 *
 * Purpose: netlink (libnl-route) for bridge, veth, addresses, routes, neighbours; the address plan;
 * one nft table of our own (through the nft program in a child) for masquerade where the kernel has
 * it. Nothing is keyed on the host's addresses: works with `lo` alone.
 * Lifetime: network_open() makes or adopts the bridge; network_close() leaves everything in place;
 * network_teardown() removes it (`coracle node stop`, tests).
 * Netlink calls are answered by the kernel at once; nothing here waits.
 */
#ifndef CORACLE_NETWORK_H
#define CORACLE_NETWORK_H

#include <coracle/base.h>
#include <coracle/loop.h>
#include <netinet/in.h>

struct cidr {
	struct in_addr addr; /* network address */
	uint8_t prefix;
};
int cidr_parse(const char *text, struct cidr *ret) MUST_CHECK;
bool cidr_contains(const struct cidr *c, struct in_addr a);

struct network_config {
	const char *bridge;	  /* "coracle0", at most 15 bytes */
	struct cidr pod_cidr;	  /* 10.42.0.0/16 */
	struct cidr node_cidr;	  /* this node's slice, e.g. 10.42.0.0/24; the bridge has its .1 */
	struct cidr service_cidr; /* AnyIP local route on lo */
	bool masquerade;
	int mtu; /* 0: 1500 */
};
struct network;
struct network *network_open(struct loop *loop, const struct network_config *config,
			     struct err *err);
void network_close(struct network *n);
void network_teardown(struct network *n); /* also closes */
struct in_addr network_gateway(const struct network *n);
/* Why masquerade does not work here (e.g. "kernel without CONFIG_NF_TABLES"), or NULL. */
const char *network_trouble(const struct network *n);

/* Address plan: lowest free address first after the last given one (late re-use). -ENOSPC + err. */
int network_address_take(struct network *n, struct in_addr *ret, struct err *err) MUST_CHECK;
int network_address_claim(struct network *n,
			  struct in_addr a) MUST_CHECK; /* on adoption; -EEXIST */
void network_address_release(struct network *n, struct in_addr a);

/*
 * Makes the veth pair, puts eth0 with the address, a default route and `lo` up into the network
 * namespace, the other end on the bridge. Idempotent: a pair that is there, also one that an
 * earlier daemon made, is found by where it leads.
 */
int network_attach(struct network *n, const char *id, int netns_fd, struct in_addr address,
		   struct err *err) MUST_CHECK;
/* The pair goes with the pod's namespace, which the kernel takes down aside: removing it here would
 * hold the loop up for 10 to 20 ms. What is left after a while is removed then. */
void network_detach(struct network *n, const char *id);
/* Ends of pods that are not attached leave (after a crash). */
void network_prune(struct network *n);

/* The host's own addresses (not lo, not the bridge), primary first; for NodePort and Node.status.
 * Called again through on_change when they change. */
typedef void network_change_fn(void *arg);
void network_watch_addresses(struct network *n, network_change_fn *fn, void *arg);
size_t network_host_addresses(const struct network *n, struct in_addr *ret, size_t max);

#endif
