/* SPDX-License-Identifier: Apache-2.0 */
/* The bridge and the pods' interfaces. */
#include "internal.h"
#include <coracle/json.h>
#include <arpa/inet.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#define SWEEP_US (10 * USEC_PER_SEC)	    /* a namespace is mostly gone within milliseconds */
#define SWEEP_NEXT_US (200 * USEC_PER_MSEC) /* each removal holds the loop up for 10 to 20 ms */
enum { DEFAULT_MTU = 1500, PAIRS_MAX = 64, HOST_ADDRESSES_MAX = 32 };

struct network {
	struct loop *loop;
	char *bridge;
	int bridge_index, mtu;
	struct cidr service_cidr;
	struct plan plan;
	struct nl_sock *sock; /* requests in the daemon's own namespace */
	struct masquerade *masquerade;
	int watch_fd; /* address changes */
	struct io *watch;
	network_change_fn *on_change;
	void *on_change_arg;
	struct in_addr host[HOST_ADDRESSES_MAX]; /* last known: only real changes are told */
	size_t n_host;
	struct map attached; /* id -> host end's name (owned) */
	struct strv leaving; /* host ends that go with their namespace */
	struct timer *sweep; /* for those that did not; armed while there are any */
};

static int write_sysctl(const char *path, const char *value)
{
	auto_fd int fd = open(path, O_WRONLY | O_CLOEXEC);

	if (fd < 0 || write(fd, value, strlen(value)) < 0)
		return -errno;
	return 0;
}

/* Pods reach the world, and each other's services, through this machine. */
static void allow_forwarding(const struct network *n)
{
	auto_free char *rp = xasprintf("/proc/sys/net/ipv4/conf/%s/rp_filter", n->bridge);
	int r = write_sysctl("/proc/sys/net/ipv4/ip_forward", "1");

	if (r < 0)
		log_warn("network: cannot switch forwarding on: %s", strerror(-r));
	write_sysctl(rp, "2"); /* loose: services answer from addresses of their own */
}

/*
 * A bridge without an address of its own has the lowest one of its ports: it would change whenever
 * a pod comes or goes, and every other pod would talk to a gateway that is no more until its
 * neighbour entry ages. Ours is made of the gateway's IP address, so that it is the same for ever.
 */
static int fix_mac(const struct network *n)
{
	struct in_addr gateway = network_gateway(n);
	uint8_t mac[6] = {0x0a, 0x58}; /* locally administered */

	memcpy(mac + 2, &gateway, sizeof(gateway));
	return netlink_set_mac(n->sock, n->bridge_index, mac);
}

static int bring_up(struct network *n, struct err *err)
{
	int lo = netlink_index(n->sock, "lo");
	int r = netlink_add_bridge(n->sock, n->bridge, n->mtu);

	if (r == 0)
		r = n->bridge_index = netlink_index(n->sock, n->bridge);
	if (r > 0)
		r = fix_mac(n);
	if (r == 0)
		r = netlink_set_up(n->sock, n->bridge_index);
	if (r == 0)
		r = netlink_add_address(n->sock, n->bridge_index, network_gateway(n),
					n->plan.net.prefix);
	if (r < 0)
		return err_errno(err, -r, "bridge %s", n->bridge);
	r = lo < 0 ? lo : netlink_set_up(n->sock, lo);
	if (r == 0)
		r = netlink_local_route(n->sock, lo, &n->service_cidr, true);
	return r < 0 ? err_errno(err, -r, "route of the service addresses") : 0;
}

static void show_network(void *arg, json_t *rows)
{
	struct network *n = arg;
	const char *id;
	void *name;
	size_t i = 0;

	while (map_next(&n->attached, &i, &id, &name)) {
		json_t *row = json_object();

		json_put_str(row, "interface", name);
		json_put_str(row, "pod", id);
		json_array_append_new(rows, row);
	}
}

/* A host end that belongs to a pod again has not left. */
static bool is_in_use(const struct network *n, const char *name)
{
	size_t i = 0;
	void *used;

	while (map_next(&n->attached, &i, NULL, &used))
		if (streq(used, name))
			return true;
	return false;
}

/* Removes the last of the leaving; true when that cost a real removal. */
static bool sweep_one(struct network *n)
{
	auto_free char *name = n->leaving.v[--n->leaving.n];

	n->leaving.v[n->leaving.n] = NULL; /* strv's own end */
	return !is_in_use(n, name) && netlink_delete_link(n->sock, name) == 0;
}

static void on_sweep(void *arg)
{
	struct network *n = arg;

	while (n->leaving.n)
		if (sweep_one(n))
			break;
	if (n->leaving.n)
		timer_arm(n->sweep, SWEEP_NEXT_US);
}

struct network *network_open(struct loop *loop, const struct network_config *config,
			     struct err *err)
{
	struct network *n = xnew(struct network);

	n->loop = loop;
	n->bridge = xstrdup(config->bridge);
	n->mtu = config->mtu ? config->mtu : DEFAULT_MTU;
	n->service_cidr = config->service_cidr;
	n->watch_fd = -1;
	n->sweep = timer_new(loop, on_sweep, n);
	plan_init(&n->plan, &config->node_cidr);
	n->sock = netlink_open(-1);
	if (!n->sock)
		err_errno(err, errno, "netlink");
	if (!n->sock || bring_up(n, err) < 0) {
		network_close(n);
		return NULL;
	}
	allow_forwarding(n);
	if (config->masquerade)
		n->masquerade = masquerade_start(loop, n->bridge, &config->pod_cidr);
	show_register("interfaces", show_network, n);
	return n;
}

static void release(struct network *n, bool remove)
{
	size_t i = 0;
	void *name;

	show_unregister("interfaces");
	io_free(n->watch);
	fd_close(n->watch_fd);
	if (n->masquerade)
		masquerade_stop(n->masquerade, remove);
	while (n->sock && remove && n->leaving.n)
		sweep_one(n);
	strv_done(&n->leaving);
	timer_free(n->sweep);
	if (n->sock && remove) {
		netlink_delete_link(n->sock, n->bridge);
		netlink_local_route(n->sock, netlink_index(n->sock, "lo"), &n->service_cidr, false);
	}
	if (n->sock)
		netlink_close(n->sock);
	while (map_next(&n->attached, &i, NULL, &name))
		free(name);
	map_done(&n->attached);
	plan_done(&n->plan);
	free(n->bridge);
	free(n);
}

void network_close(struct network *n)
{
	if (n)
		release(n, false);
}

void network_teardown(struct network *n)
{
	if (n)
		release(n, true);
}

struct in_addr network_gateway(const struct network *n)
{
	return plan_address(&n->plan, 1);
}

const char *network_trouble(const struct network *n)
{
	return n->masquerade ? masquerade_trouble(n->masquerade) : NULL;
}

bool network_masquerade_settled(const struct network *n)
{
	return !n->masquerade || masquerade_settled(n->masquerade);
}

int network_address_take(struct network *n, struct in_addr *ret, struct err *err)
{
	int r = plan_take(&n->plan, ret);
	char text[INET_ADDRSTRLEN];

	if (r < 0)
		err_set(err, ERR_INTERNAL, "no free address in %s/%u",
			inet_ntop(AF_INET, &n->plan.net.addr, text, sizeof(text)),
			n->plan.net.prefix);
	return r;
}

int network_address_claim(struct network *n, struct in_addr a)
{
	return plan_claim(&n->plan, a);
}

void network_address_release(struct network *n, struct in_addr a)
{
	plan_release(&n->plan, a);
}

static int configure_inside(const struct network *n, struct nl_sock *s, struct in_addr address)
{
	int lo = netlink_index(s, "lo"), eth = netlink_index(s, "eth0");
	int r = lo < 0 ? lo : netlink_set_up(s, lo);

	if (r == 0)
		r = eth < 0 ? eth : netlink_add_address(s, eth, address, n->plan.net.prefix);
	if (r == 0)
		r = netlink_set_up(s, eth);
	if (r == 0)
		r = netlink_add_default_route(s, eth, network_gateway(n));
	return r;
}

static void leave(struct network *n, const char *name)
{
	strv_add(&n->leaving, name);
	if (!timer_armed(n->sweep))
		timer_arm(n->sweep, SWEEP_US);
}

/*
 * Another pair for each sandbox of a pod: the name of the one before may be there for a while yet,
 * until the kernel has taken its namespace down, and to remove it here would take many
 * milliseconds.
 */
static int add_pair(const struct network *n, const char *id, int netns_fd,
		    char name[static LINK_NAME_MAX])
{
	int r = -EEXIST;

	for (int i = 0; i < PAIRS_MAX && r == -EEXIST; i++) {
		auto_free char *key = xasprintf("%s/%d", id, i);
		char hex[65];

		sha256_hex(key, strlen(key), hex);
		snprintf(name, LINK_NAME_MAX, "veth%.10s", hex);
		r = netlink_add_veth(n->sock, name, n->bridge_index, netns_fd, n->mtu);
	}
	return r;
}

/* The pair that leads into the namespace, made when there is none; its host end's name. */
static int find_pair(const struct network *n, const char *id, int netns_fd, struct nl_sock *inside,
		     char name[static LINK_NAME_MAX])
{
	int peer = netlink_peer(inside, "eth0");

	if (peer > 0 && netlink_name(n->sock, peer, name) == 0)
		return netlink_set_master(n->sock, peer, n->bridge_index); /* a new bridge */
	return add_pair(n, id, netns_fd, name);
}

static void set_attached(struct network *n, const char *id, const char *name)
{
	auto_free char *old = map_put(&n->attached, id, xstrdup(name));

	if (old && !streq(old, name)) /* of an earlier sandbox of this pod */
		leave(n, old);
}

int network_attach(struct network *n, const char *id, int netns_fd, struct in_addr address,
		   struct err *err)
{
	struct nl_sock *inside = netlink_open(netns_fd);
	char name[LINK_NAME_MAX] = "";
	int r = inside ? find_pair(n, id, netns_fd, inside, name) : -errno;

	if (r == 0) {
		set_attached(n, id, name);
		r = configure_inside(n, inside, address);
	}
	if (inside)
		netlink_close(inside);
	if (r == 0)
		return 0;
	network_detach(n, id);
	return err_errno(err, -r, "network of the pod");
}

void network_detach(struct network *n, const char *id)
{
	auto_free char *name = map_del(&n->attached, id);

	if (name)
		leave(n, name);
}

static void on_port(void *arg, const char *name)
{
	struct network *n = arg;

	if (str_starts(name, "veth") && !is_in_use(n, name))
		leave(n, name);
}

void network_prune(struct network *n)
{
	netlink_each_port(n->sock, n->bridge_index, on_port, n);
}

size_t network_host_addresses(const struct network *n, struct in_addr *ret, size_t max)
{
	return (size_t)netlink_addresses(n->sock, n->bridge_index, ret, max);
}

static void on_addresses(void *arg, int fd, unsigned what UNUSED)
{
	struct network *n = arg;
	struct in_addr now[HOST_ADDRESSES_MAX];
	char buf[8192];
	size_t count;

	while (recv(fd, buf, sizeof(buf), 0) > 0)
		; /* which one changed does not matter: all are read again */
	count = network_host_addresses(n, now, HOST_ADDRESSES_MAX);
	if (count == n->n_host && !memcmp(now, n->host, count * sizeof(*now)))
		return;
	memcpy(n->host, now, count * sizeof(*now));
	n->n_host = count;
	n->on_change(n->on_change_arg);
}

void network_watch_addresses(struct network *n, network_change_fn *fn, void *arg)
{
	n->on_change = fn;
	n->on_change_arg = arg;
	n->n_host = network_host_addresses(n, n->host, HOST_ADDRESSES_MAX);
	if (n->watch)
		return;
	n->watch_fd = netlink_watch_addresses();
	if (n->watch_fd >= 0)
		n->watch = io_new(n->loop, n->watch_fd, IO_READ, on_addresses, n);
	else
		log_warn("network: address changes are not seen: %s", strerror(-n->watch_fd));
}
