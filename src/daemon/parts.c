/* SPDX-License-Identifier: Apache-2.0 */
/* The composition table: every part of the daemon, in starting order. */
#include "internal.h"
#include "src/daemon/build-info.h"
#include <arpa/inet.h>
#include <fcntl.h>
#include <grp.h>
#include <sys/file.h>
#include <sys/resource.h>

enum { LOCK_TRIES = 100, LOCK_PAUSE_NS = 20 * 1000 * 1000 };
enum { NODE_PREFIX = 22, API_IP_OFFSET = 1, DNS_IP_OFFSET = 10, DNS_PORT = 53 };

static char *below(const char *dir, const char *name)
{
	return path_join(dir, name);
}

static int make_dir(const char *path, mode_t mode, struct err *err)
{
	int r = mkdir_p(path, mode);

	return r < 0 ? err_errno(err, -r, "cannot make %s", path) : 0;
}

/* One daemon per pair of directories. One that was just killed may need a moment to be gone. */
static int take_lock(struct daemon *d, struct err *err)
{
	auto_free char *path = below(d->o->run_dir, "coracled.lock");
	const struct timespec pause = {.tv_nsec = LOCK_PAUSE_NS};

	d->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (d->lock_fd < 0)
		return err_errno(err, errno, "cannot open %s", path);
	for (int i = 0; i < LOCK_TRIES; i++) {
		if (flock(d->lock_fd, LOCK_EX | LOCK_NB) == 0)
			return 0;
		nanosleep(&pause, NULL); /* the loop does not run yet */
	}
	return err_set(err, ERR_CONFLICT, "another coracled runs in %s", d->o->run_dir);
}

static int start_dirs(struct daemon *d, struct err *err)
{
	struct rlimit files;
	int r = make_dir(d->o->state_dir, 0711, err);

	if (r == 0)
		r = make_dir(d->o->run_dir, 0755, err);
	if (r == 0)
		r = take_lock(d, err);
	/* Every proxied connection is two descriptors. */
	if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
		files.rlim_cur = files.rlim_max;
		setrlimit(RLIMIT_NOFILE, &files);
	}
	return r;
}

static void stop_dirs(struct daemon *d)
{
	d->lock_fd = fd_close(d->lock_fd);
}

static struct in_addr nth(struct in_addr base, uint32_t n)
{
	return (struct in_addr){htonl(ntohl(base.s_addr) + n)};
}

static int start_plan(struct daemon *d, struct err *err)
{
	if (cidr_parse(d->o->pod_cidr, &d->pod_cidr) < 0 ||
	    cidr_parse(d->o->service_cidr, &d->service_cidr) < 0)
		return err_set(err, ERR_BAD_REQUEST, "bad address plan");
	d->node_cidr = d->pod_cidr;
	if (d->node_cidr.prefix < NODE_PREFIX)
		d->node_cidr.prefix = NODE_PREFIX;
	d->api_ip = nth(d->service_cidr.addr, API_IP_OFFSET);
	d->dns_ip = nth(d->service_cidr.addr, DNS_IP_OFFSET);
	if (!streq(d->o->api_listen, "none") && addr_parse(d->o->api_listen, &d->api_addr) < 0)
		return err_set(err, ERR_BAD_REQUEST, "bad api-listen");
	return 0;
}

static int start_store(struct daemon *d, struct err *err)
{
	auto_free char *dir = below(d->o->state_dir, "store");
	auto_free char *tmp = below(d->o->run_dir, "store");
	struct store_config c = {.dir = dir, .volatile_dir = tmp};

	d->store = store_open(d->loop, &c, err);
	return d->store ? 0 : -EIO;
}

static void stop_store(struct daemon *d)
{
	store_close(d->store);
}

static int start_identity(struct daemon *d, struct err *err)
{
	auto_free char *pki = below(d->o->state_dir, "pki");
	char ip[INET_ADDRSTRLEN];
	struct identity_config c = {.pki_dir = pki,
				    .node_name = d->o->node_name,
				    .service_ip = inet_ntop(AF_INET, &d->api_ip, ip, sizeof(ip)),
				    .listen = d->api_addr.len ? d->o->api_listen : NULL,
				    .cluster_domain = d->o->cluster_domain};

	d->identity = identity_open(d->loop, d->store, &c, err);
	return d->identity ? 0 : -EIO;
}

static void stop_identity(struct daemon *d)
{
	identity_close(d->identity);
}

static int start_registry(struct daemon *d, struct err *err)
{
	struct registry_config c = {.service_cidr = d->o->service_cidr,
				    .cluster_domain = d->o->cluster_domain,
				    .node_port_min = 30000,
				    .node_port_max = 32767,
				    .node_name = d->o->node_name,
				    .mount_tokens = d->api_addr.len > 0};

	d->registry = registry_new(d->loop, d->store, &c, err);
	return d->registry ? 0 : -EIO;
}

static void stop_registry(struct daemon *d)
{
	registry_free(d->registry);
}

/* Beside us in the build tree, else where `make install` puts them. */
static char *helper_program(const char *name)
{
	const char *dir = getenv("CORACLE_LIBEXECDIR");

	return path_join(dir ? dir : LIBEXECDIR, name);
}

static int start_images(struct daemon *d, struct err *err)
{
	auto_free char *dir = below(d->o->state_dir, "images");
	auto_free char *worker = helper_program("coracle-image");
	struct image_config c = {.dir = dir, .worker_path = worker};

	d->images = image_store_open(d->loop, &c, err);
	if (!d->images)
		return -EIO;
	image_preload(d->images, d->o->image_dir, NULL, NULL);
	return 0;
}

static void stop_images(struct daemon *d)
{
	image_store_close(d->images);
}

/* Daemons side by side each have a top cgroup of their own. */
static char *cgroup_name(const struct options *o)
{
	char hex[65];

	if (streq(o->run_dir, "/run/coracle"))
		return xstrdup("coracle");
	sha256_hex(o->run_dir, strlen(o->run_dir), hex);
	return xasprintf("coracle-%.12s", hex);
}

static int start_runtime(struct daemon *d, struct err *err)
{
	auto_free char *sandbox = helper_program("coracle-sandbox");
	auto_free char *cgroup = cgroup_name(d->o);
	struct runtime_config c = {.run_dir = d->o->run_dir,
				   .state_dir = d->o->state_dir,
				   .runtime = str_empty(d->o->runtime) ? NULL : d->o->runtime,
				   .sandbox_path = sandbox,
				   .cgroup_name = cgroup};

	d->runtime = runtime_new(d->loop, &c, err);
	return d->runtime ? 0 : -EIO;
}

static void stop_runtime(struct daemon *d)
{
	runtime_free(d->runtime);
}

static int start_network(struct daemon *d, struct err *err)
{
	struct network_config c = {.bridge = d->o->bridge,
				   .pod_cidr = d->pod_cidr,
				   .node_cidr = d->node_cidr,
				   .service_cidr = d->service_cidr,
				   .masquerade = true};

	d->network = network_open(d->loop, &c, err);
	return d->network ? 0 : -EIO;
}

static void stop_network(struct daemon *d)
{
	if (d->teardown)
		network_teardown(d->network);
	else
		network_close(d->network);
}

static void on_trouble(void *arg, const char *name, const struct sockaddr_in *listen,
		       uint8_t protocol, const char *why)
{
	struct daemon *d = arg;

	if (d->node)
		node_on_proxy_trouble(d->node, name, listen, protocol, why);
}

static int start_proxy(struct daemon *d, struct err *err UNUSED)
{
	struct proxy_config c = {.on_trouble = on_trouble, .arg = d};

	d->proxy = proxy_new(d->loop, &c);
	return 0;
}

static void stop_proxy(struct daemon *d)
{
	proxy_free(d->proxy);
}

static int start_dns(struct daemon *d, struct err *err)
{
	struct dns_config c = {.listen = {.sin_family = AF_INET,
					  .sin_addr = d->dns_ip,
					  .sin_port = htons(DNS_PORT)},
			       .cluster_domain = d->o->cluster_domain,
			       .resolv_conf = d->o->resolv_conf};

	d->dns = dns_new(d->loop, &c, err);
	return d->dns ? 0 : -EIO;
}

static void stop_dns(struct daemon *d)
{
	dns_free(d->dns);
}

/* Where the proxy reaches the API; port 0: nowhere. */
static struct sockaddr_in api_listener(const struct daemon *d)
{
	struct sockaddr_in a = {.sin_family = AF_INET};

	if (d->api_addr.len && d->api_addr.ss.ss_family == AF_INET)
		memcpy(&a, &d->api_addr.ss, sizeof(a));
	if (a.sin_addr.s_addr == htonl(INADDR_ANY))
		a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	return a;
}

static int start_node(struct daemon *d, struct err *err)
{
	auto_free char *logs = below(d->o->state_dir, "logs");
	struct node_config c = {.name = d->o->node_name,
				.state_dir = d->o->state_dir,
				.run_dir = d->o->run_dir,
				.log_dir = logs,
				.cluster_domain = d->o->cluster_domain,
				.resolv_conf = d->o->resolv_conf,
				.dns_ip = d->dns_ip,
				.api_ip = d->api_ip,
				.api_addr = api_listener(d),
				.pod_cidr = d->node_cidr,
				.version = CORACLE_KUBERNETES_VERSION};
	struct node_parts p = {.registry = d->registry,
			       .identity = d->identity,
			       .runtime = d->runtime,
			       .images = d->images,
			       .network = d->network,
			       .proxy = d->proxy,
			       .dns = d->dns};

	d->node = node_start(d->loop, &c, &p, err);
	return d->node ? 0 : -EIO;
}

static void stop_node(struct daemon *d)
{
	node_stop(d->node);
	d->node = NULL;
}

static void on_pods_stopped(void *arg)
{
	struct daemon *d = arg;

	log_info("all pods have ended");
	d->teardown = true;
	d->stopping = true;
}

static void on_stop(void *arg, bool with_pods)
{
	struct daemon *d = arg;

	notify_send("STOPPING=1\nSTATUS=Stopping");
	api_set_ready(d->api, "shutdown", "process is shutting down");
	if (with_pods)
		node_stop_pods(d->node, on_pods_stopped, d);
	else
		d->stopping = true;
}

/* The group that may use the socket, beside root. */
static gid_t socket_group(void)
{
	const struct group *g = getgrnam("coracle");

	return g ? g->gr_gid : (gid_t)-1;
}

static int start_api(struct daemon *d, struct err *err)
{
	auto_free char *pki = below(d->o->state_dir, "pki");
	struct api_config c = {.socket_path = d->o->api_socket,
			       .socket_gid = socket_group(),
			       .listen = d->api_addr.len ? d->o->api_listen : NULL,
			       .pki_dir = pki,
			       .identity = d->identity,
			       .node_name = d->o->node_name,
			       .git_version = CORACLE_KUBERNETES_VERSION,
			       .git_commit = BUILD_COMMIT,
			       .git_tree_state = BUILD_TREE_STATE,
			       .build_date = BUILD_DATE,
			       .node_ops = &node_api_ops,
			       .node = d->node,
			       .image_ops = &daemon_image_ops,
			       .images = d,
			       .on_stop = on_stop,
			       .stop_arg = d};

	d->api = api_new(d->loop, d->registry, &c, err);
	if (!d->api)
		return -EIO;
	/* All parts but this one are there: what is not ready is only a daemon that goes. */
	api_set_ready(d->api, "shutdown", NULL);
	return 0;
}

static void stop_api(struct daemon *d)
{
	api_free(d->api);
}

/* What the Endpoints of default/kubernetes say; loopback is not allowed there, so it is the
 * bridge's address then (the node listens there). Caller frees; NULL: none. */
static char *api_endpoint(const struct daemon *d)
{
	struct sockaddr_in a = api_listener(d);
	char ip[INET_ADDRSTRLEN];

	if (!a.sin_port)
		return NULL;
	if (ntohl(a.sin_addr.s_addr) >> 24 == IN_LOOPBACKNET)
		a.sin_addr = network_gateway(d->network);
	inet_ntop(AF_INET, &a.sin_addr, ip, sizeof(ip));
	return xasprintf("%s:%u", ip, ntohs(a.sin_port));
}

static int start_controllers(struct daemon *d, struct err *err)
{
	auto_free char *address = api_endpoint(d);
	auto_free char *ca = xasprintf("%s/pki/ca.crt", d->o->state_dir);
	struct controllers_config c = {.node_name = d->o->node_name,
				       .api_address = address,
				       .ca_file = ca,
				       .identity = d->identity};

	d->controllers = controllers_start(d->loop, d->registry, &c, err);
	return d->controllers ? 0 : -EIO;
}

static void stop_controllers(struct daemon *d)
{
	controllers_stop(d->controllers);
}

static int start_manifests(struct daemon *d, struct err *err UNUSED)
{
	d->manifests = manifests_new(d->loop, d->registry, d->o->manifest_dir);
	return 0;
}

static void stop_manifests(struct daemon *d)
{
	manifests_free(d->manifests);
}

static int start_notify(struct daemon *d, struct err *err UNUSED)
{
	d->notify = notify_new(d->loop);
	return 0;
}

static void stop_notify(struct daemon *d)
{
	notify_free(d->notify);
}

static int start_quiet(struct daemon *d, struct err *err UNUSED)
{
	d->quiet = quiet_new(d->loop);
	return 0;
}

static void stop_quiet(struct daemon *d)
{
	quiet_free(d->quiet);
}

struct part {
	const char *name;
	int (*start)(struct daemon *d, struct err *err);
	void (*stop)(struct daemon *d); /* only after a start that went well */
};
static const struct part parts[] = {
	{"dirs", start_dirs, stop_dirs},
	{"plan", start_plan, NULL},
	{"store", start_store, stop_store},
	{"identity", start_identity, stop_identity},
	{"registry", start_registry, stop_registry},
	{"images", start_images, stop_images},
	{"runtime", start_runtime, stop_runtime},
	{"network", start_network, stop_network},
	{"proxy", start_proxy, stop_proxy},
	{"dns", start_dns, stop_dns},
	{"node", start_node, stop_node},
	{"api", start_api, stop_api},
	{"controllers", start_controllers, stop_controllers},
	{"manifests", start_manifests, stop_manifests},
	{"notify", start_notify, stop_notify},
	{"quiet", start_quiet, stop_quiet},
};

static void stop_first(struct daemon *d, size_t n)
{
	while (n--)
		if (parts[n].stop) {
			log_debug("stopping %s", parts[n].name);
			parts[n].stop(d);
		}
}

int parts_start(struct daemon *d, struct err *err)
{
	for (size_t i = 0; i < ARRAY_SIZE(parts); i++) {
		int r = parts[i].start(d, err);

		if (r < 0) {
			stop_first(d, i);
			return err_wrap(err, r, "%s", parts[i].name);
		}
		log_debug("started %s", parts[i].name);
	}
	return 0;
}

void parts_stop(struct daemon *d)
{
	stop_first(d, ARRAY_SIZE(parts));
}
