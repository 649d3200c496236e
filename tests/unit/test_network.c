/* SPDX-License-Identifier: Apache-2.0 */
/* The plan anywhere; bridge, pairs and routes with real netlink in a namespace of the test's own.
 */
#include "internal.h"
#include <arpa/inet.h>
#include <fcntl.h>
#include <net/if.h>
#include <sched.h>
#include <setjmp.h>
#include <cmocka.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

static void test_cidr(void **state UNUSED)
{
	static const char *const bad[] = {"",	 "10.0.0.0",	"10.0.0.0/33", "10.0.0/8",
					  "x/8", "10.0.0.0/-1", "10.0.0.0/8x"};
	struct cidr c;
	struct in_addr in, out;

	assert_int_equal(cidr_parse("10.42.7.9/16", &c), 0);
	assert_string_equal(inet_ntoa(c.addr), "10.42.0.0");
	inet_pton(AF_INET, "10.42.255.255", &in);
	inet_pton(AF_INET, "10.43.0.0", &out);
	assert_true(cidr_contains(&c, in) && !cidr_contains(&c, out));
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(cidr_parse(bad[i], &c), -EINVAL);
}

static void test_plan(void **state UNUSED)
{
	struct cidr net;
	struct plan p;
	struct in_addr a, first;

	assert_int_equal(cidr_parse("10.42.0.0/29", &net), 0);
	plan_init(&p, &net);
	assert_int_equal(plan_take(&p, &first), 0);
	assert_string_equal(inet_ntoa(first), "10.42.0.2");
	plan_release(&p, first);
	assert_int_equal(plan_take(&p, &a), 0); /* not the one just given back */
	assert_string_equal(inet_ntoa(a), "10.42.0.3");
	assert_int_equal(plan_claim(&p, a), -EEXIST);
	for (int i = 0; i < 4; i++)
		assert_int_equal(plan_take(&p, &a), 0);
	assert_int_equal(a.s_addr, first.s_addr); /* comes round */
	assert_int_equal(plan_take(&p, &a), -ENOSPC);
	plan_release(&p, plan_address(&p, 1)); /* the bridge's is never free */
	assert_int_equal(plan_take(&p, &a), -ENOSPC);
	inet_pton(AF_INET, "192.168.0.1", &a);
	assert_int_equal(plan_claim(&p, a), -EEXIST);
	plan_done(&p);
}

/* A network namespace with a process of its own that waits; the caller ends it. */
static int new_netns(void)
{
	int home = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC), fd;

	assert_int_equal(unshare(CLONE_NEWNET), 0);
	fd = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	assert_int_equal(setns(home, CLONE_NEWNET), 0);
	close(home);
	return fd;
}

static struct network_config test_config(void)
{
	struct network_config c = {.bridge = "cortest0"};

	assert_int_equal(cidr_parse("10.42.0.0/16", &c.pod_cidr), 0);
	assert_int_equal(cidr_parse("10.42.0.0/24", &c.node_cidr), 0);
	assert_int_equal(cidr_parse("10.43.0.0/16", &c.service_cidr), 0);
	return c;
}

static int socket_in(int netns, int type)
{
	int home = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC), fd;

	assert_int_equal(setns(netns, CLONE_NEWNET), 0);
	fd = socket(AF_INET, type, 0);
	assert_int_equal(setns(home, CLONE_NEWNET), 0);
	close(home);
	return fd;
}

/* From inside the pod, the service range is reached on the host. */
static void check_reaches_service(int netns)
{
	struct sockaddr_in sa = {.sin_family = AF_INET, .sin_port = htons(8080)};
	int server = socket(AF_INET, SOCK_STREAM, 0), client = socket_in(netns, SOCK_STREAM);
	struct timeval limit = {.tv_sec = 10};
	char buf[8] = "";
	int c, one = 1;

	setsockopt(server, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	setsockopt(client, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
	inet_pton(AF_INET, "10.43.7.7", &sa.sin_addr);
	assert_int_equal(bind(server, (struct sockaddr *)&sa, sizeof(sa)), 0);
	assert_int_equal(listen(server, 1), 0);
	assert_int_equal(connect(client, (struct sockaddr *)&sa, sizeof(sa)), 0);
	c = accept(server, NULL, NULL);
	assert_int_equal(write(c, "hi", 2), 2);
	assert_int_equal(read(client, buf, sizeof(buf)), 2);
	close(c);
	close(client);
	close(server);
}

static void bridge_mac(struct ifreq *ret)
{
	auto_fd int fd = socket(AF_INET, SOCK_DGRAM, 0);

	*ret = (struct ifreq){.ifr_name = "cortest0"};
	assert_int_equal(ioctl(fd, SIOCGIFHWADDR, ret), 0);
}

/* Pods remember the gateway's address: it stays whatever comes and goes. */
static void check_mac_stays(struct network *n)
{
	struct ifreq before, now;
	struct in_addr a;
	int netns[6];
	char id[16];

	bridge_mac(&before);
	for (int i = 0; i < 6; i++) {
		netns[i] = new_netns();
		snprintf(id, sizeof(id), "mac-%d", i);
		assert_int_equal(network_address_take(n, &a, NULL), 0);
		assert_int_equal(network_attach(n, id, netns[i], a, NULL), 0);
		bridge_mac(&now);
		assert_memory_equal(&before.ifr_hwaddr, &now.ifr_hwaddr, sizeof(now.ifr_hwaddr));
	}
	for (int i = 0; i < 6; i++) {
		snprintf(id, sizeof(id), "mac-%d", i);
		network_detach(n, id);
		close(netns[i]);
	}
}

static bool has_eth0(int netns)
{
	struct ifreq r = {.ifr_name = "eth0"};
	auto_fd int fd = socket_in(netns, SOCK_DGRAM);

	return ioctl(fd, SIOCGIFINDEX, &r) == 0;
}

/* The number that a command prints. */
static int left(const char *command)
{
	FILE *f = popen(command, "re");
	int n = -1;

	assert_non_null(f);
	assert_int_equal(fscanf(f, "%d", &n), 1);
	pclose(f);
	return n;
}

static int count_ports(void)
{
	return left("ip -o link show master cortest0 | wc -l");
}

/* A pod's next sandbox gets a pair of its own while the one before still goes. */
static void check_next_sandbox(struct network *n, struct in_addr a)
{
	int first = new_netns(), second = new_netns();

	assert_int_equal(network_attach(n, "pod-2", first, a, NULL), 0);
	assert_int_equal(network_attach(n, "pod-2", second, a, NULL), 0);
	assert_true(has_eth0(first)); /* nobody has waited for its removal */
	assert_true(has_eth0(second));
	network_detach(n, "pod-2");
	close(first);
	close(second);
}

static void real_netlink(void)
{
	struct loop *loop = loop_new();
	struct network_config c = test_config();
	auto_err err = {0};
	struct network *n = network_open(loop, &c, &err);
	struct in_addr a, host[4];
	int netns = new_netns();

	assert_non_null(n);
	assert_int_equal(network_address_take(n, &a, &err), 0);
	assert_int_equal(network_attach(n, "pod-1", netns, a, &err), 0);
	assert_int_equal(network_attach(n, "pod-1", netns, a, &err), 0); /* idempotent */
	assert_int_equal(count_ports(), 1);
	check_reaches_service(netns);
	network_close(n);

	n = network_open(loop, &c, &err); /* a later daemon adopts what is there */
	assert_non_null(n);
	assert_int_equal(network_attach(n, "pod-1", netns, a, &err), 0);
	assert_int_equal(count_ports(), 1);
	network_prune(n);
	check_reaches_service(netns);
	check_mac_stays(n);
	check_next_sandbox(n, a);
	assert_int_equal(network_host_addresses(n, host, 4), 0);
	network_detach(n, "pod-1");
	assert_true(has_eth0(netns)); /* goes with its namespace, not here */
	assert_int_equal(network_attach(n, "pod-1", netns, a, &err), 0);
	network_teardown(n);
	assert_true(has_eth0(netns)); /* it had come back */
	n = network_open(loop, &c, &err);
	assert_non_null(n);
	assert_int_equal(network_attach(n, "pod-1", netns, a, &err), 0);
	network_close(n); /* and never comes back for it */
	n = network_open(loop, &c, &err);
	assert_non_null(n);
	assert_int_equal(count_ports(), 1);
	network_prune(n);
	network_teardown(n);
	assert_false(has_eth0(netns));
	close(netns);
	loop_free(loop);
}

/* A pair to a namespace that knows nothing of pods: 192.0.2.1 here, 192.0.2.2 there. */
static int new_world(void)
{
	int world = new_netns();
	struct nl_sock *s = netlink_open(-1);
	struct in_addr here, there;

	inet_pton(AF_INET, "192.0.2.1", &here);
	inet_pton(AF_INET, "192.0.2.2", &there);
	assert_int_equal(netlink_add_veth(s, "world", 0, world, 1500), 0);
	assert_int_equal(netlink_add_address(s, netlink_index(s, "world"), here, 24), 0);
	netlink_close(s);
	s = netlink_open(world);
	assert_int_equal(netlink_add_address(s, netlink_index(s, "eth0"), there, 24), 0);
	assert_int_equal(netlink_set_up(s, netlink_index(s, "eth0")), 0);
	netlink_close(s);
	return world;
}

/* What a pod sends out of the machine comes from the machine's address. */
static void real_masquerade(void)
{
	struct loop *loop = loop_new();
	struct network_config c = test_config();
	struct sockaddr_in sa = {.sin_family = AF_INET}, from;
	socklen_t len = sizeof(from);
	struct timeval limit = {.tv_sec = 10};
	int world = new_world(), pod = new_netns(), server = socket_in(world, SOCK_DGRAM);
	int client = socket_in(pod, SOCK_DGRAM);
	struct network *n;
	struct in_addr a;
	char buf[8];

	c.masquerade = true;
	n = network_open(loop, &c, NULL);
	assert_non_null(n);
	while (!network_masquerade_settled(n))
		loop_once(loop);
	if (!network_trouble(n)) {
		assert_int_equal(network_address_take(n, &a, NULL), 0);
		assert_int_equal(network_attach(n, "pod", pod, a, NULL), 0);
		inet_pton(AF_INET, "192.0.2.2", &sa.sin_addr);
		assert_int_equal(bind(server, (struct sockaddr *)&sa, sizeof(sa)), 0);
		len = sizeof(sa);
		assert_int_equal(getsockname(server, (struct sockaddr *)&sa, &len), 0);
		setsockopt(server, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
		assert_int_equal(sendto(client, "hi", 2, 0, (struct sockaddr *)&sa, sizeof(sa)), 2);
		len = sizeof(from);
		assert_int_equal(
			recvfrom(server, buf, sizeof(buf), 0, (struct sockaddr *)&from, &len), 2);
		assert_string_equal(inet_ntoa(from.sin_addr), "192.0.2.1");
	}
	assert_int_equal(left("nft list tables | grep -c coracle_"), !network_trouble(n));
	assert_int_equal(left("ip route show table local 10.43.0.0/16 | grep -c lo"), 1);
	network_teardown(n);
	assert_int_equal(left("nft list tables | grep -c coracle_"), 0);
	assert_int_equal(left("ip route show table local 10.43.0.0/16 | grep -c lo"), 0);
	close(client);
	close(server);
	close(pod);
	close(world);
	loop_free(loop);
}

static void in_own_namespace(void (*fn)(void))
{
	int status;
	pid_t pid;

	if (geteuid() != 0)
		skip();
	pid = fork();
	if (pid == 0) {
		if (unshare(CLONE_NEWNET | CLONE_NEWNS) < 0)
			_exit(2);
		fn();
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

static void test_real_netlink(void **state UNUSED)
{
	in_own_namespace(real_netlink);
}

static void test_real_masquerade(void **state UNUSED)
{
	in_own_namespace(real_masquerade);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_cidr),
		cmocka_unit_test(test_plan),
		cmocka_unit_test(test_real_netlink),
		cmocka_unit_test(test_real_masquerade),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
