/* SPDX-License-Identifier: Apache-2.0 */
/* rtnetlink(7) through libnl-route. libnl's error codes end here. */
#include "internal.h"
#include <fcntl.h>
#include <net/if.h>
#include <netlink/errno.h>
#include <netlink/netlink.h>
#include <netlink/route/addr.h>
#include <netlink/route/link.h>
#include <netlink/route/link/bridge.h>
#include <netlink/route/link/veth.h>
#include <netlink/route/route.h>
#include <linux/rtnetlink.h>
#include <sched.h>
#include <sys/socket.h>
#include <unistd.h>

/* libnl's codes as errno; those it has no errno for are EIO. */
static int from_nl(int code)
{
	static const struct {
		int nl, code;
	} table[] = {
		{NLE_EXIST, EEXIST},	  {NLE_OBJ_NOTFOUND, ENOENT}, {NLE_NODEV, ENODEV},
		{NLE_NOMEM, ENOMEM},	  {NLE_PERM, EPERM},	      {NLE_NOACCESS, EACCES},
		{NLE_BUSY, EBUSY},	  {NLE_RANGE, ERANGE},	      {NLE_INVAL, EINVAL},
		{NLE_OPNOTSUPP, ENOTSUP}, {NLE_AGAIN, EAGAIN},
	};

	if (code >= 0)
		return 0;
	for (size_t i = 0; i < ARRAY_SIZE(table); i++)
		if (-code == table[i].nl)
			return -table[i].code;
	return -EIO;
}

/* 0 when the thing is there already. */
static int or_exists(int code)
{
	return -code == NLE_EXIST ? 0 : from_nl(code);
}

DEFINE_AUTO(link, struct rtnl_link *, rtnl_link_put);
DEFINE_AUTO(rtnl_addr, struct rtnl_addr *, rtnl_addr_put);
DEFINE_AUTO(route, struct rtnl_route *, rtnl_route_put);
DEFINE_AUTO(nl_addr, struct nl_addr *, nl_addr_put);
DEFINE_AUTO(cache, struct nl_cache *, nl_cache_free);

static struct nl_sock *connect_here(void)
{
	struct nl_sock *s = nl_socket_alloc();

	if (s && nl_connect(s, NETLINK_ROUTE) < 0) {
		nl_socket_free(s);
		s = NULL;
	}
	if (s)
		fcntl(nl_socket_get_fd(s), F_SETFD, FD_CLOEXEC);
	else
		errno = EIO;
	return s;
}

/* A socket belongs for good to the namespace it was made in: enter it for just that moment. */
struct nl_sock *netlink_open(int netns_fd)
{
	auto_fd int home = -1;
	struct nl_sock *s;

	if (netns_fd < 0)
		return connect_here();
	home = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	if (home < 0 || setns(netns_fd, CLONE_NEWNET) < 0)
		return NULL;
	s = connect_here();
	if (setns(home, CLONE_NEWNET) < 0) {
		log_error("network: cannot return to the host's namespace: %s", strerror(errno));
		abort(); /* to go on would configure the wrong host */
	}
	return s;
}

void netlink_close(struct nl_sock *s)
{
	nl_socket_free(s);
}

int netlink_index(struct nl_sock *s, const char *name)
{
	struct rtnl_link *link auto_clean(link) = NULL;
	int r = rtnl_link_get_kernel(s, 0, name, &link);

	return r < 0 ? from_nl(r) : rtnl_link_get_ifindex(link);
}

int netlink_peer(struct nl_sock *s, const char *name)
{
	struct rtnl_link *link auto_clean(link) = NULL;
	int r = rtnl_link_get_kernel(s, 0, name, &link);

	return r < 0 ? from_nl(r) : rtnl_link_get_link(link);
}

int netlink_name(struct nl_sock *s, int index, char ret[static LINK_NAME_MAX])
{
	struct rtnl_link *link auto_clean(link) = NULL;
	int r = rtnl_link_get_kernel(s, index, NULL, &link);

	if (r == 0)
		snprintf(ret, LINK_NAME_MAX, "%s", rtnl_link_get_name(link));
	return from_nl(r);
}

int netlink_add_bridge(struct nl_sock *s, const char *name, int mtu)
{
	struct rtnl_link *link auto_clean(link) = rtnl_link_bridge_alloc();

	if (!link)
		return -ENOMEM;
	rtnl_link_set_name(link, name);
	rtnl_link_set_mtu(link, (unsigned)mtu);
	return or_exists(rtnl_link_add(s, link, NLM_F_CREATE | NLM_F_EXCL));
}

int netlink_set_up(struct nl_sock *s, int index)
{
	struct rtnl_link *link auto_clean(link) = rtnl_link_alloc();
	struct rtnl_link *change auto_clean(link) = rtnl_link_alloc();

	if (!link || !change)
		return -ENOMEM;
	rtnl_link_set_ifindex(link, index);
	rtnl_link_set_flags(change, IFF_UP);
	return from_nl(rtnl_link_change(s, link, change, 0));
}

int netlink_set_master(struct nl_sock *s, int index, int bridge)
{
	struct rtnl_link *link auto_clean(link) = rtnl_link_alloc();
	struct rtnl_link *change auto_clean(link) = rtnl_link_alloc();

	if (!link || !change)
		return -ENOMEM;
	rtnl_link_set_ifindex(link, index);
	rtnl_link_set_master(change, bridge);
	return from_nl(rtnl_link_change(s, link, change, 0));
}

int netlink_set_mac(struct nl_sock *s, int index, const uint8_t mac[static 6])
{
	struct rtnl_link *link auto_clean(link) = rtnl_link_alloc();
	struct rtnl_link *change auto_clean(link) = rtnl_link_alloc();
	struct nl_addr *a auto_clean(nl_addr) = nl_addr_build(AF_LLC, mac, 6);

	if (!link || !change || !a)
		return -ENOMEM;
	rtnl_link_set_ifindex(link, index);
	rtnl_link_set_addr(change, a); /* takes a reference of its own */
	return from_nl(rtnl_link_change(s, link, change, 0));
}

static struct nl_addr *address(struct in_addr a, int prefix)
{
	struct nl_addr *n = nl_addr_build(AF_INET, &a, sizeof(a));

	if (n)
		nl_addr_set_prefixlen(n, prefix);
	return n;
}

int netlink_add_address(struct nl_sock *s, int index, struct in_addr a, uint8_t prefix)
{
	struct rtnl_addr *addr auto_clean(rtnl_addr) = rtnl_addr_alloc();
	struct nl_addr *local auto_clean(nl_addr) = address(a, prefix);

	if (!addr || !local)
		return -ENOMEM;
	rtnl_addr_set_ifindex(addr, index);
	rtnl_addr_set_local(addr, local);
	return or_exists(rtnl_addr_add(s, addr, 0));
}

static int set_hop(struct rtnl_route *route, int index, struct nl_addr *via)
{
	struct rtnl_nexthop *hop = rtnl_route_nh_alloc();

	if (!hop)
		return -ENOMEM;
	rtnl_route_nh_set_ifindex(hop, index);
	if (via)
		rtnl_route_nh_set_gateway(hop, via);
	rtnl_route_add_nexthop(route, hop); /* takes hop */
	rtnl_route_set_family(route, AF_INET);
	return 0;
}

static int add_route(struct nl_sock *s, struct rtnl_route *route)
{
	return or_exists(rtnl_route_add(s, route, NLM_F_CREATE | NLM_F_EXCL));
}

int netlink_local_route(struct nl_sock *s, int index, const struct cidr *net, bool there)
{
	struct rtnl_route *route auto_clean(route) = rtnl_route_alloc();
	struct nl_addr *dst auto_clean(nl_addr) = address(net->addr, net->prefix);

	if (!route || !dst)
		return -ENOMEM;
	rtnl_route_set_table(route, RT_TABLE_LOCAL);
	rtnl_route_set_type(route, RTN_LOCAL);
	rtnl_route_set_scope(route, RT_SCOPE_HOST);
	rtnl_route_set_dst(route, dst);
	if (set_hop(route, index, NULL) < 0)
		return -ENOMEM;
	return there ? add_route(s, route) : from_nl(rtnl_route_delete(s, route, 0));
}

int netlink_add_default_route(struct nl_sock *s, int index, struct in_addr via)
{
	struct rtnl_route *route auto_clean(route) = rtnl_route_alloc();
	struct nl_addr *dst auto_clean(nl_addr) = address((struct in_addr){0}, 0);
	struct nl_addr *gateway auto_clean(nl_addr) = address(via, 32);

	if (!route || !dst || !gateway)
		return -ENOMEM;
	rtnl_route_set_scope(route, RT_SCOPE_UNIVERSE);
	rtnl_route_set_dst(route, dst);
	return set_hop(route, index, gateway) < 0 ? -ENOMEM : add_route(s, route);
}

int netlink_add_veth(struct nl_sock *s, const char *host_name, int bridge, int netns_fd, int mtu)
{
	struct rtnl_link *link auto_clean(link) = rtnl_link_veth_alloc();
	struct rtnl_link *peer auto_clean(link) = link ? rtnl_link_veth_get_peer(link) : NULL;

	if (!link || !peer)
		return -ENOMEM;
	rtnl_link_set_name(link, host_name);
	rtnl_link_set_mtu(link, (unsigned)mtu);
	rtnl_link_set_master(link, bridge);
	rtnl_link_set_flags(link, IFF_UP);
	rtnl_link_set_name(peer, "eth0");
	rtnl_link_set_mtu(peer, (unsigned)mtu);
	rtnl_link_set_ns_fd(peer, netns_fd);
	return from_nl(rtnl_link_add(s, link, NLM_F_CREATE | NLM_F_EXCL));
}

int netlink_delete_link(struct nl_sock *s, const char *name)
{
	struct rtnl_link *link auto_clean(link) = rtnl_link_alloc();

	if (!link)
		return -ENOMEM;
	rtnl_link_set_name(link, name);
	return from_nl(rtnl_link_delete(s, link));
}

int netlink_each_port(struct nl_sock *s, int bridge, void (*fn)(void *arg, const char *name),
		      void *arg)
{
	struct nl_cache *links auto_clean(cache) = NULL;
	int r = rtnl_link_alloc_cache(s, AF_UNSPEC, &links);

	if (r < 0)
		return from_nl(r);
	for (struct nl_object *o = nl_cache_get_first(links); o; o = nl_cache_get_next(o)) {
		struct rtnl_link *link = (struct rtnl_link *)o;

		if (rtnl_link_get_master(link) == bridge)
			fn(arg, rtnl_link_get_name(link));
	}
	return 0;
}

int netlink_addresses(struct nl_sock *s, int except, struct in_addr *ret, size_t max)
{
	struct nl_cache *addrs auto_clean(cache) = NULL;
	size_t n = 0;

	if (rtnl_addr_alloc_cache(s, &addrs) < 0)
		return 0;
	for (struct nl_object *o = nl_cache_get_first(addrs); o && n < max;
	     o = nl_cache_get_next(o)) {
		struct rtnl_addr *a = (struct rtnl_addr *)o;
		struct nl_addr *local = rtnl_addr_get_local(a);

		if (rtnl_addr_get_family(a) != AF_INET || !local ||
		    rtnl_addr_get_ifindex(a) == except ||
		    rtnl_addr_get_scope(a) != RT_SCOPE_UNIVERSE || nl_addr_get_len(local) != 4)
			continue;
		memcpy(&ret[n++], nl_addr_get_binary_addr(local), 4);
	}
	return (int)n;
}

int netlink_watch_addresses(void)
{
	struct sockaddr_nl sa = {.nl_family = AF_NETLINK, .nl_groups = RTMGRP_IPV4_IFADDR};
	auto_fd int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_ROUTE);

	if (fd < 0 || bind(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0)
		return -errno;
	return steal_fd(&fd);
}
