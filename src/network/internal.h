/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the network share: netlink verbs without libnl's types, the plan, masquerade.
 */
#ifndef CORACLE_NETWORK_INTERNAL_H
#define CORACLE_NETWORK_INTERNAL_H

#include <coracle/network.h>

struct nl_sock;

/* ---- netlink.c: each is one request that the kernel answers at once; 0 or -errno. -------- */

/* A route socket in the present network namespace, or in that of netns_fd (>= 0). NULL + errno. */
struct nl_sock *netlink_open(int netns_fd);
void netlink_close(struct nl_sock *s);
/* Interface number or -errno. */
int netlink_index(struct nl_sock *s, const char *name);
/* The other end of a veth, as numbered in the namespace where it is: that number or -errno. */
int netlink_peer(struct nl_sock *s, const char *name);
enum { LINK_NAME_MAX = 16 };
int netlink_name(struct nl_sock *s, int index, char ret[static LINK_NAME_MAX]);
int netlink_add_bridge(struct nl_sock *s, const char *name, int mtu);
int netlink_set_up(struct nl_sock *s, int index);
int netlink_set_master(struct nl_sock *s, int index, int bridge);
int netlink_set_mac(struct nl_sock *s, int index, const uint8_t mac[static 6]);
int netlink_add_address(struct nl_sock *s, int index, struct in_addr a, uint8_t prefix);
/* Table local: every address of net is ours (AnyIP). */
/* Makes a network this machine's own, or takes that back. */
int netlink_local_route(struct nl_sock *s, int index, const struct cidr *net, bool there);
int netlink_add_default_route(struct nl_sock *s, int index, struct in_addr via);
/* host_name here, on the bridge and up; eth0 in netns_fd. */
int netlink_add_veth(struct nl_sock *s, const char *host_name, int bridge, int netns_fd, int mtu);
int netlink_delete_link(struct nl_sock *s, const char *name);
/* fn for every interface whose master is the bridge. */
int netlink_each_port(struct nl_sock *s, int bridge, void (*fn)(void *arg, const char *name),
		      void *arg);
/* IPv4 addresses of global scope on interfaces other than `except`, in the kernel's order. */
int netlink_addresses(struct nl_sock *s, int except, struct in_addr *ret, size_t max);
/* A non-blocking descriptor that becomes readable when an IPv4 address changes, or -errno. */
int netlink_watch_addresses(void);

/* ---- plan.c: which addresses are taken --------------------------------------------------- */

struct plan {
	struct cidr net;
	uint32_t size;	/* addresses in net */
	uint32_t next;	/* where to look first: late re-use */
	uint8_t *taken; /* bitmap */
};
void plan_init(struct plan *p, const struct cidr *net);
void plan_done(struct plan *p);
/* The n-th address of the network. */
struct in_addr plan_address(const struct plan *p, uint32_t n);
int plan_take(struct plan *p, struct in_addr *ret) MUST_CHECK;
int plan_claim(struct plan *p, struct in_addr a) MUST_CHECK;
void plan_release(struct plan *p, struct in_addr a);

/* ---- network.c, for tests ---------------------------------------------------------------- */

bool network_masquerade_settled(const struct network *n);

/* ---- masquerade.c ----------------------------------------------------------------------- */

struct masquerade;
/* Loads our own nft table; the outcome shows in masquerade_trouble(). */
struct masquerade *masquerade_start(struct loop *loop, const char *bridge, const struct cidr *pods);
const char *masquerade_trouble(const struct masquerade *m); /* NULL: works (or is being loaded) */
bool masquerade_settled(const struct masquerade *m);	    /* nft has ended */
/* Leaves the table in place, or removes it (waiting for nft). */
void masquerade_stop(struct masquerade *m, bool remove);

#endif
