/* SPDX-License-Identifier: Apache-2.0 */
/* sandbox: what a pod needs around its containers: address, files of /etc, the sandbox itself. */
#include "internal.h"
#include "files.h"

#include <arpa/inet.h>
#include <sys/stat.h>

#define RESOLV_MAX (64 * 1024)
#define HOSTS_MAX (256 * 1024)

/* ---- address ---------------------------------------------------------------------------- */

static int take_address(struct pod *p, struct err *err)
{
	if (pod_host_network(p) || p->ip.s_addr != INADDR_ANY)
		return 0;
	return network_address_take(p->node->parts.network, &p->ip, err);
}

void pod_release_address(struct pod *p)
{
	if (p->ip.s_addr == INADDR_ANY)
		return;
	network_detach(p->node->parts.network, p->uid);
	proxy_backend_gone(p->node->parts.proxy, p->ip);
	network_address_release(p->node->parts.network, p->ip);
	p->ip.s_addr = INADDR_ANY;
}

/* ---- files ------------------------------------------------------------------------------ */

static int write_text(const struct pod *p, const char *name, const char *text, struct err *err)
{
	auto_free char *path = pod_run_path(p, name);
	int ret = file_write_atomic(path, text, strlen(text), 0644, false);

	return ret < 0 ? err_errno(err, -ret, "%s", path) : 0;
}

static char *read_host(const char *path, size_t max)
{
	char *text;
	size_t len;

	return file_read(path, max, &text, &len) == 0 ? text : xstrdup("");
}

int pod_write_files(struct pod *p, struct err *err)
{
	const struct node *n = p->node;
	const json_t *pod = pod_json(p);
	bool host = pod_host_network(p);
	char ip[INET_ADDRSTRLEN], dns[INET_ADDRSTRLEN];
	auto_free char *dir = pod_run_path(p, "etc");
	auto_free char *host_resolv = read_host(n->resolv_conf, RESOLV_MAX);
	auto_free char *host_hosts = host ? read_host("/etc/hosts", HOSTS_MAX) : NULL;
	int ret = mkdir_p(dir, 0755);

	if (ret < 0)
		return err_errno(err, -ret, "%s", dir);
	inet_ntop(AF_INET, &n->dns_ip, dns, sizeof(dns));
	auto_free char *hosts = files_hosts(pod, pod_ip_text(p, ip), n->cluster_domain, host_hosts);
	auto_free char *resolv = files_resolv(pod, host_resolv, dns, n->cluster_domain);
	auto_free char *name = files_hostname(pod);
	auto_free char *line = xasprintf("%s\n", name);
	ret = write_text(p, "etc/hosts", hosts, err);
	if (ret == 0)
		ret = write_text(p, "etc/resolv.conf", resolv, err);
	if (ret == 0 && !host)
		ret = write_text(p, "etc/hostname", line, err);
	return ret;
}

/* ---- the note --------------------------------------------------------------------------- */

char *pod_note(const struct pod *p)
{
	char ip[INET_ADDRSTRLEN];

	if (p->ip.s_addr == INADDR_ANY)
		return xstrdup("");
	inet_ntop(AF_INET, &p->ip, ip, sizeof(ip));
	return xasprintf("ip=%s", ip);
}

void pod_read_note(struct pod *p, const char *note)
{
	if (note && str_starts(note, "ip=") && inet_pton(AF_INET, note + 3, &p->ip) != 1)
		p->ip.s_addr = INADDR_ANY;
}

/* ---- events of the sandbox -------------------------------------------------------------- */

static void on_ready(void *arg, pid_t pid UNUSED, int netns_fd UNUSED)
{
	struct pod *p = arg;

	p->network_wanted = true;
	pod_kick(p);
}

static void on_gone(void *arg, const char *why)
{
	struct pod *p = arg;

	log_debug("pod %s/%s: sandbox gone: %s", p->ns, p->name, why ? why : "");
	p->sandbox = NULL;
	p->network_wanted = false;
	if (!p->stop_sent) {
		p->sandbox_lost = true;
		if (p->state == POD_SANDBOX)
			pod_event(p, "Warning", "FailedCreatePodSandBox",
				  "Failed to create pod sandbox: %s", why ? why : "it ended");
	}
	for (size_t i = 0; i < p->n_ctrs; i++)
		ctr_lost(p->ctrs[i]);
	pod_kick(p);
}

static struct ctr *find_id(const struct pod *p, const char *name, const char *id)
{
	struct ctr *c = pod_ctr(p, name);

	return c && str_eq(c->facts.id, id) ? c : NULL;
}

static void on_started(void *arg, const char *id, const char *name, pid_t pid UNUSED)
{
	struct pod *p = arg;
	struct ctr *c = find_id(p, name, id);

	if (c)
		ctr_on_started(c);
	pod_kick(p);
}

static void on_exited(void *arg, const char *id, const char *name, const struct container_exit *e)
{
	struct pod *p = arg;
	struct ctr *c = find_id(p, name, id);

	if (c)
		ctr_on_exited(c, e);
	pod_kick(p);
}

const struct sandbox_ops pod_sandbox_ops = {on_ready, on_gone, on_started, on_exited};

static void ignore_ready(void *arg UNUSED, pid_t pid UNUSED, int netns_fd UNUSED)
{
}

static void ignore_gone(void *arg UNUSED, const char *why UNUSED)
{
}

static void ignore_started(void *arg UNUSED, const char *id UNUSED, const char *name UNUSED,
			   pid_t pid UNUSED)
{
}

static void ignore_exited(void *arg UNUSED, const char *id UNUSED, const char *name UNUSED,
			  const struct container_exit *e UNUSED)
{
}

const struct sandbox_ops pod_orphan_ops = {ignore_ready, ignore_gone, ignore_started,
					   ignore_exited};

/* ---- start ------------------------------------------------------------------------------ */

/* Sysctls that the kernel keeps per namespace and that cost nobody else anything: the kubelet's
 * list. Any other would be set for the whole host, as root. */
static const char *const safe_sysctls[] = {
	"kernel.shm_rmid_forced",	    "net.ipv4.ip_local_port_range",
	"net.ipv4.ip_local_reserved_ports", "net.ipv4.ip_unprivileged_port_start",
	"net.ipv4.ping_group_range",	    "net.ipv4.tcp_fin_timeout",
	"net.ipv4.tcp_keepalive_intvl",	    "net.ipv4.tcp_keepalive_probes",
	"net.ipv4.tcp_keepalive_time",	    "net.ipv4.tcp_rmem",
	"net.ipv4.tcp_syncookies",	    "net.ipv4.tcp_wmem",
};

/* The name with dots between its parts: "net/ipv4/x" means the same, then a dot stands for a slash
 * (sysctl(8)). Caller frees. */
static char *sysctl_dotted(const char *name)
{
	char *dotted = xstrdup(name);

	if (dotted[strcspn(dotted, "./")] != '/')
		return dotted;
	for (char *p = dotted; *p; p++)
		*p = (char)(*p == '.' ? '/' : *p == '/' ? '.' : *p);
	return dotted;
}

/* The entry of the list above, or NULL. */
static const char *sysctl_safe(const char *dotted)
{
	for (size_t i = 0; i < ARRAY_SIZE(safe_sysctls); i++)
		if (streq(dotted, safe_sysctls[i]))
			return safe_sysctls[i];
	return NULL;
}

/* Why a pod may not set this sysctl, or NULL. */
static const char *sysctl_forbidden(const struct pod *p, const char *dotted)
{
	if (!sysctl_safe(dotted))
		return "not allowlisted";
	if (str_starts(dotted, "net.") && pod_host_network(p))
		return "not allowed with host net enabled";
	if (str_starts(dotted, "kernel.") && json_bool(pod_json(p), "spec.hostIPC", false))
		return "not allowed with host ipc enabled";
	return NULL;
}

bool pod_check_sysctls(struct pod *p)
{
	json_t *v;
	size_t i;

	json_array_foreach(json_at(pod_json(p), "spec.securityContext.sysctls"), i, v)
	{
		auto_free char *name = sysctl_dotted(json_str(v, "name", ""));
		const char *why = sysctl_forbidden(p, name);

		if (!why)
			continue;
		p->failed = true;
		p->reason = "SysctlForbidden";
		p->message = xasprintf("Pod was rejected: forbidden sysctl: \"%s\" %s", name, why);
		pod_event(p, "Warning", p->reason, "forbidden sysctl: \"%s\" %s", name, why);
		return true;
	}
	return false;
}

/* Those of a pod that pod_check_sysctls() has found nothing against. */
static struct sysctl_spec *sysctls_of(const json_t *pod, size_t *n)
{
	const json_t *list = json_at(pod, "spec.securityContext.sysctls");
	struct sysctl_spec *all = xcalloc(json_array_size(list) + 1, sizeof(*all));
	json_t *v;
	size_t i;

	*n = 0;
	json_array_foreach(list, i, v)
	{
		auto_free char *name = sysctl_dotted(json_str(v, "name", ""));
		const char *safe = sysctl_safe(name);

		if (safe)
			all[(*n)++] = (struct sysctl_spec){safe, json_str(v, "value", "")};
	}
	return all;
}

static struct sandbox *start(struct pod *p, struct err *err)
{
	const json_t *pod = pod_json(p);
	auto_free char *host = files_hostname(pod), *logs = pod_log_dir(p), *note = pod_note(p);
	auto_free char *fqdn = files_fqdn(pod, p->node->cluster_domain);
	size_t n;
	auto_free struct sysctl_spec *sysctls = sysctls_of(pod, &n);
	struct sandbox_config c = {
		.id = p->uid,
		.ns = p->ns,
		.name = p->name,
		.hostname = fqdn && json_bool(pod, "spec.setHostnameAsFQDN", false) ? fqdn : host,
		.host_network = pod_host_network(p),
		.host_pid = json_bool(pod, "spec.hostPID", false),
		.host_ipc = json_bool(pod, "spec.hostIPC", false),
		.share_process_ns = json_bool(pod, "spec.shareProcessNamespace", false),
		.sysctls = sysctls,
		.n_sysctls = n,
		.log_dir = logs,
		.qos = status_qos(pod),
		.limits = spec_pod_limits(pod),
		.note = note,
	};
	int ret = mkdir_p(logs, 0755);

	if (ret < 0) {
		err_errno(err, -ret, "%s", logs);
		return NULL;
	}
	return sandbox_start(p->node->parts.runtime, &c, &pod_sandbox_ops, p, err);
}

/* What asks for another runtime (for its isolation, most likely) must not run in ours. */
static int check_handler(const struct pod *p, struct err *err)
{
	const char *name = json_str(pod_json(p), "spec.runtimeClassName", NULL), *handler;
	const struct object *class;

	if (!name)
		return 0;
	class = store_get(p->node->store, &kind_runtimeclass, "", name);
	if (!class)
		return err_set(err, ERR_NOT_FOUND, "RuntimeClass \"%s\" not found", name);
	handler = json_str(object_json(class), "handler", "");
	if (streq(handler, runtime_name(p->node->parts.runtime)))
		return 0;
	return err_set(err, ERR_NOT_FOUND, "no runtime for \"%s\" is configured", handler);
}

int pod_start_sandbox(struct pod *p, struct err *err)
{
	int ret = check_handler(p, err);

	if (ret == 0)
		ret = take_address(p, err);
	if (ret < 0)
		return ret;
	ret = pod_write_files(p, err);
	if (ret < 0)
		return ret;
	p->sandbox_lost = p->stop_sent = p->network_wanted = false;
	p->sandbox = start(p, err);
	p->sandboxes++;
	return p->sandbox ? 0 : -EIO;
}
