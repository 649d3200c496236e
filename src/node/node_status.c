/* SPDX-License-Identifier: Apache-2.0 */
/*
 * node_status: the Node object: made at start, kept true afterwards. There is no heartbeat: it is
 * written when something in it has changed.
 */
#include "internal.h"

#include <arpa/inet.h>
#include <sys/statvfs.h>
#include <sys/utsname.h>
#include <unistd.h>

#define LOOK_US (60 * USEC_PER_SEC)  /* memory and disk are looked at this often */
#define MEMORY_LOW_BYTES (100 << 20) /* kubelet's default eviction thresholds */
#define DISK_LOW_PERCENT 10
#define MAX_PODS 110
#define MAX_IMAGES 50

/* ---- facts of the machine ----------------------------------------------------------------- */

/* Value of "Key:   123 kB" in /proc/meminfo, in bytes. */
static int64_t meminfo(const char *key)
{
	auto_free char *text = NULL;
	size_t len;
	const char *at;

	if (file_read("/proc/meminfo", 64 * 1024, &text, &len) < 0)
		return 0;
	at = strstr(text, key);
	return at ? strtoll(at + strlen(key), NULL, 10) * 1024 : 0;
}

void node_read_capacity(struct node *n)
{
	struct in_addr host;

	/* With nothing but `lo`, the bridge is how the node is reached. */
	if (network_host_addresses(n->parts.network, &host, 1) == 0)
		host = network_gateway(n->parts.network);
	n->cpu_milli = sysconf(_SC_NPROCESSORS_ONLN) * 1000;
	n->memory_bytes = meminfo("MemTotal:");
	inet_ntop(AF_INET, &host, n->host_ip, sizeof(n->host_ip));
}

/* First line of a small file; "" when there is none. Caller frees. */
static char *first_line(const char *path)
{
	char *text;
	size_t len;

	if (file_read(path, 4096, &text, &len) < 0)
		return xstrdup("");
	text[strcspn(text, "\n")] = '\0';
	return text;
}

/* PRETTY_NAME of os-release(5); caller frees. */
static char *os_image(void)
{
	auto_free char *text = NULL;
	static const char key[] = "PRETTY_NAME=";
	size_t len;
	char *at, *end;

	if (file_read("/etc/os-release", 64 * 1024, &text, &len) < 0 || !(at = strstr(text, key)))
		return xstrdup("Linux");
	at += strlen(key);
	at += *at == '"';
	end = at + strcspn(at, "\"\n");
	return xstrndup(at, (size_t)(end - at));
}

static const char *go_arch(const char *machine)
{
	static const char *const names[][2] = {
		{"x86_64", "amd64"}, {"aarch64", "arm64"}, {"armv7l", "arm"},	 {"armv6l", "arm"},
		{"i686", "386"},     {"mips", "mips"},	   {"mips64", "mips64"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (streq(machine, names[i][0]))
			return names[i][1];
	return machine;
}

static json_t *node_info(const struct node *n)
{
	json_t *info = json_object();
	struct utsname u;
	auto_free char *machine = first_line("/etc/machine-id");
	auto_free char *uuid = first_line("/sys/class/dmi/id/product_uuid");
	auto_free char *boot = first_line("/proc/sys/kernel/random/boot_id");
	auto_free char *os = os_image();

	uname(&u);
	json_put_str(info, "machineID", machine);
	json_put_str(info, "systemUUID", *uuid ? uuid : machine);
	json_put_str(info, "bootID", boot);
	json_put_str(info, "kernelVersion", u.release);
	json_put_str(info, "osImage", os);
	json_put_strf(info, "containerRuntimeVersion", "%s://%s", runtime_name(n->parts.runtime),
		      runtime_version(n->parts.runtime));
	json_put_str(info, "kubeletVersion", n->version);
	json_put_str(info, "kubeProxyVersion", n->version);
	json_put_str(info, "operatingSystem", "linux");
	json_put_str(info, "architecture", go_arch(u.machine));
	return info;
}

static json_t *capacity(const struct node *n)
{
	json_t *c = json_object();
	struct statvfs fs;
	uint64_t disk = 0;

	if (statvfs(n->state_dir, &fs) == 0)
		disk = (uint64_t)fs.f_blocks * fs.f_frsize;
	json_put_strf(c, "cpu", "%lld", (long long)n->cpu_milli / 1000);
	json_put_strf(c, "ephemeral-storage", "%lluKi", (unsigned long long)disk / 1024);
	json_put_strf(c, "memory", "%lldKi", (long long)n->memory_bytes / 1024);
	json_put_strf(c, "pods", "%d", MAX_PODS);
	return c;
}

static json_t *addresses(const struct node *n)
{
	json_t *list = json_array();

	json_array_append_new(list,
			      json_pack("{s:s, s:s}", "type", "InternalIP", "address", n->host_ip));
	json_array_append_new(list,
			      json_pack("{s:s, s:s}", "type", "Hostname", "address", n->name));
	return list;
}

static json_t *images(const struct node *n)
{
	json_t *list = json_array();
	const struct image *image;

	for (size_t i = 0; i < MAX_IMAGES && (image = image_at(n->parts.images, i)); i++) {
		json_t *names = json_array();
		for (size_t j = 0; j < image->n_repo_digests; j++)
			json_array_append_new(names, json_string(image->repo_digests[j]));
		for (size_t j = 0; j < image->n_refs; j++)
			json_array_append_new(names, json_string(image->refs[j]));
		json_array_append_new(list, json_pack("{s:o, s:I}", "names", names, "sizeBytes",
						      (json_int_t)image->size));
	}
	return list;
}

/* ---- conditions --------------------------------------------------------------------------- */

static void condition(json_t *list, const json_t *old_status, const char *type, bool on,
		      const char *reason, const char *message)
{
	const json_t *old = json_find(json_object_get(old_status, "conditions"), "type", type);
	const char *status = on ? "True" : "False";
	const char *since = json_str(old, "lastTransitionTime", NULL);
	json_t *c = json_pack("{s:s, s:s}", "type", type, "status", status);

	if (old)
		json_put_str(c, "lastHeartbeatTime", json_str(old, "lastHeartbeatTime", ""));
	else
		json_put_time(c, "lastHeartbeatTime", time(NULL));
	if (since && streq(json_str(old, "status", ""), status))
		json_put_str(c, "lastTransitionTime", since);
	else
		json_put_time(c, "lastTransitionTime", time(NULL));
	json_put_str(c, "reason", reason);
	json_put_str(c, "message", message);
	json_array_append_new(list, c);
}

static bool memory_low(void)
{
	int64_t available = meminfo("MemAvailable:");

	return available > 0 && available < MEMORY_LOW_BYTES;
}

static bool disk_low(const struct node *n)
{
	struct statvfs fs;

	return statvfs(n->state_dir, &fs) == 0 && fs.f_blocks > 0 &&
	       fs.f_bavail < fs.f_blocks / 100 * DISK_LOW_PERCENT;
}

/* Limits that this kernel cannot enforce are said, not hidden. */
static void limits_condition(const struct node *n, json_t *list, const json_t *old)
{
	static const char *const wanted[] = {"cpu", "memory", "pids"};
	const char *has = runtime_cgroup_controllers(n->parts.runtime);
	auto_strv found = {0};
	auto_strbuf missing = {0};

	strv_split(&found, has ? has : "", ' ');
	for (size_t i = 0; i < ARRAY_SIZE(wanted); i++)
		if (!strv_has(&found, wanted[i]))
			strbuf_addf(&missing, "%s%s", missing.len ? ", " : "", wanted[i]);
	if (!missing.len)
		return;
	auto_free char *text =
		xasprintf("limits are not enforced, cgroup controllers are missing: %s", missing.s);
	condition(list, old, "LimitsNotEnforced", true, "CgroupControllersMissing", text);
}

static bool is_ours(const json_t *condition)
{
	static const char *const types[] = {"NetworkUnavailable", "MemoryPressure",
					    "DiskPressure",	  "PIDPressure",
					    "LimitsNotEnforced",  "Ready"};
	const char *type = json_str(condition, "type", "");

	for (size_t i = 0; i < ARRAY_SIZE(types); i++)
		if (streq(type, types[i]))
			return true;
	return false;
}

/* What others watch for on the node (disks, kernels), they say there themselves. */
static void keep_conditions(json_t *list, const json_t *old)
{
	size_t i;
	json_t *c;

	json_array_foreach(json_object_get(old, "conditions"), i, c) if (!is_ours(c))
		json_array_append(list, c);
}

static json_t *conditions(const struct node *n, const json_t *old)
{
	json_t *list = json_array();
	bool memory = memory_low(), disk = disk_low(n);
	const char *net = network_trouble(n->parts.network);

	condition(list, old, "NetworkUnavailable", false, "NetworkReady",
		  net ? net : "the pod network is up");
	condition(list, old, "MemoryPressure", memory,
		  memory ? "KubeletHasInsufficientMemory" : "KubeletHasSufficientMemory",
		  memory ? "kubelet has insufficient memory available"
			 : "kubelet has sufficient memory available");
	condition(list, old, "DiskPressure", disk,
		  disk ? "KubeletHasDiskPressure" : "KubeletHasNoDiskPressure",
		  disk ? "kubelet has disk pressure" : "kubelet has no disk pressure");
	condition(list, old, "PIDPressure", false, "KubeletHasSufficientPID",
		  "kubelet has sufficient PID available");
	limits_condition(n, list, old);
	condition(list, old, "Ready", true, "KubeletReady", "kubelet is posting ready status");
	keep_conditions(list, old);
	return list;
}

/* ---- the object --------------------------------------------------------------------------- */

/* Resources that somebody has advertised (PATCH of status.capacity) stay, and are allocatable. */
static json_t *make_status(const struct node *n, const json_t *old)
{
	json_t *status = old ? json_deep_copy(old) : json_object();
	json_auto_t *own = capacity(n);
	json_t *all = json_obj(status, "capacity");

	json_object_update(all, own);
	json_object_set_new(status, "allocatable", json_deep_copy(all));
	json_object_set_new(status, "conditions", conditions(n, old));
	json_object_set_new(status, "addresses", addresses(n));
	json_object_set_new(status, "nodeInfo", node_info(n));
	json_object_set_new(status, "images", images(n));
	return status;
}

static void beat(json_t *status)
{
	size_t i;
	json_t *c;

	json_array_foreach(json_object_get(status, "conditions"), i, c) if (is_ours(c))
		json_put_time(c, "lastHeartbeatTime", time(NULL));
}

static void fill_meta(const struct node *n, json_t *node)
{
	json_t *labels = json_obj(node, "metadata.labels");
	char ip[INET_ADDRSTRLEN];
	struct utsname u;

	uname(&u);
	json_object_set_new(labels, "kubernetes.io/hostname", json_string(n->name));
	json_object_set_new(labels, "kubernetes.io/os", json_string("linux"));
	json_object_set_new(labels, "kubernetes.io/arch", json_string(go_arch(u.machine)));
	json_object_set_new(labels, "beta.kubernetes.io/os", json_string("linux"));
	json_object_set_new(labels, "beta.kubernetes.io/arch", json_string(go_arch(u.machine)));
	json_object_set_new(labels, "node-role.kubernetes.io/control-plane", json_string(""));
	inet_ntop(AF_INET, &n->pod_cidr.addr, ip, sizeof(ip));
	auto_free char *cidr = xasprintf("%s/%u", ip, n->pod_cidr.prefix);
	json_put_str(node, "spec.podCIDR", cidr);
	json_put(node, "spec.podCIDRs", json_pack("[s]", cidr));
}

static const struct object *create(struct node *n, struct err *err)
{
	json_auto_t *node = json_pack("{s:s, s:s, s:{s:s}}", "apiVersion", "v1", "kind", "Node",
				      "metadata", "name", n->name);
	const struct object *ret = NULL;
	struct write_options o = {.grace_seconds = -1};

	fill_meta(n, node);
	if (registry_create(n->parts.registry, &kind_node, "", node, &o, &ret, err) < 0)
		return NULL;
	return ret;
}

static const struct object *refresh(struct node *n, const struct object *obj, struct err *err)
{
	json_auto_t *node = object_dup(obj);
	struct write_options o = {.grace_seconds = -1};
	const struct object *ret = obj;
	bool created;

	fill_meta(n, node);
	if (json_equal(node, object_json(obj)))
		return obj;
	if (registry_update(n->parts.registry, &kind_node, NULL, "", n->name, node, &o, &ret,
			    &created, err) < 0)
		return NULL;
	return ret;
}

static void write_node(void *arg)
{
	struct node *n = arg;
	const struct object *obj = store_get(n->store, &kind_node, "", n->name);
	auto_err err = {0};

	timer_arm(n->status_timer, LOOK_US);
	obj = obj ? refresh(n, obj, &err) : create(n, &err);
	if (!obj) {
		log_warn("node %s: %s", n->name, err_message(&err));
		return;
	}
	const json_t *old = json_at(object_json(obj), "status");
	json_t *status = make_status(n, old);
	if (old && json_equal(status, old)) {
		json_decref(status);
		return;
	}
	beat(status);
	if (registry_set_status(n->parts.registry, &kind_node, "", n->name, obj->uid, status,
				STORE_VOLATILE, &err) < 0)
		log_warn("node %s: status: %s", n->name, err_message(&err));
}

/* ---- start and stop ----------------------------------------------------------------------- */

static void on_timer(void *arg)
{
	struct node *n = arg;

	work_queue(n->loop, &n->status_work);
}

/* A host address came or went: pods in the host's network, load balancers and the Node show it. */
static void on_addresses(void *arg)
{
	struct node *n = arg;

	node_read_capacity(n);
	work_queue(n->loop, &n->status_work);
	services_dirty(n->services);
	list_foreach (&n->pods, p, struct pod, link)
		pod_kick(p);
}

/* A pod that waits for an image need not wait for its back-off once the image is here. */
static void on_images(void *arg)
{
	struct node *n = arg;

	work_queue(n->loop, &n->status_work);
	list_foreach (&n->pods, p, struct pod, link)
		if (pod_wants_image(p))
			pod_kick(p);
}

/* `kubectl delete node` takes the object away, not the machine; what others write is completed. */
static bool on_node(void *arg, const struct store_event *ev)
{
	struct node *n = arg;

	if (ev->type != STORE_ADDED && streq(ev->obj->name, n->name))
		work_queue(n->loop, &n->status_work);
	return true;
}

void node_status_start(struct node *n)
{
	n->status_timer = timer_new(n->loop, on_timer, n);
	work_init(&n->status_work, write_node, n);
	n->node_watch =
		store_watch_new(n->store, &kind_node, store_rev(n->store), on_node, NULL, n, NULL);
	network_watch_addresses(n->parts.network, on_addresses, n);
	image_watch(n->parts.images, on_images, n);
	write_node(n);
}

void node_status_stop(struct node *n)
{
	if (!n->status_timer)
		return;
	network_watch_addresses(n->parts.network, NULL, NULL);
	image_watch(n->parts.images, NULL, NULL);
	store_watch_free(n->node_watch);
	work_cancel(&n->status_work);
	timer_free(n->status_timer);
	n->status_timer = NULL;
}
