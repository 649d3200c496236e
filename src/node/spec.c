/* SPDX-License-Identifier: Apache-2.0 */
/* spec: container spec JSON to the runtime's container_config. */
#include "spec.h"
#include "status.h"

#include <signal.h>

/* ---- memory ----------------------------------------------------------------------------- */

void spec_done(struct spec *s)
{
	strv_done(&s->argv);
	strv_done(&s->envp);
	strv_done(&s->layers);
	strv_done(&s->cap_add);
	strv_done(&s->cap_drop);
	strv_done(&s->strings);
	free(s->groups);
	free(s->mounts);
	free(s->devices);
	*s = (struct spec){0};
}

const char *spec_keep(struct spec *s, const char *text)
{
	if (!text)
		return NULL;
	strv_add(&s->strings, text);
	return s->strings.v[s->strings.n - 1];
}

const char *spec_keepf(struct spec *s, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	strv_take(&s->strings, xvasprintf(fmt, ap));
	va_end(ap);
	return s->strings.v[s->strings.n - 1];
}

void spec_add_mount(struct spec *s, const char *source, const char *target, unsigned flags,
		    uint64_t size)
{
	size_t n = s->config.n_mounts++;

	s->mounts = xrealloc(s->mounts, n + 1, sizeof(*s->mounts));
	s->mounts[n] = (struct mount_spec){
		.source = spec_keep(s, source),
		.target = spec_keep(s, target),
		.flags = flags,
		.size = size,
	};
	s->config.mounts = s->mounts;
}

void spec_add_device(struct spec *s, const char *path, const char *host_path, const char *access)
{
	size_t n = s->config.n_devices++;

	s->devices = xrealloc(s->devices, n + 1, sizeof(*s->devices));
	s->devices[n] = (struct device_spec){
		.path = spec_keep(s, path),
		.host_path = spec_keep(s, host_path),
		.access = spec_keep(s, access),
	};
	s->config.devices = s->devices;
}

void spec_add_group(struct spec *s, uint32_t gid)
{
	for (size_t i = 0; i < s->config.n_groups; i++)
		if (s->groups[i] == gid)
			return;
	s->groups = xrealloc(s->groups, s->config.n_groups + 1, sizeof(*s->groups));
	s->groups[s->config.n_groups++] = gid;
	s->config.groups = s->groups;
}

/* ---- command line ----------------------------------------------------------------------- */

static bool add_expanded(struct strv *to, const json_t *list, const struct env *env)
{
	size_t i;
	json_t *v;

	json_array_foreach(list, i, v)
		strv_take(to, env_expand(json_is_string(v) ? json_string_value(v) : "", env));
	return json_array_size(list) > 0;
}

static void add_all(struct strv *to, char *const *list)
{
	for (; list && *list; list++)
		strv_add(to, *list);
}

int spec_argv(struct spec *s, const json_t *container, const struct image *image,
	      const struct env *env, struct err *err)
{
	bool command = add_expanded(&s->argv, json_object_get(container, "command"), env);

	if (!command)
		add_all(&s->argv, image->entrypoint);
	if (!add_expanded(&s->argv, json_object_get(container, "args"), env) && !command)
		add_all(&s->argv, image->cmd);
	if (!s->argv.n)
		return err_set(err, ERR_INVALID, "no command specified");
	s->config.argv = (const char *const *)s->argv.v;
	return 0;
}

/* ---- resources -------------------------------------------------------------------------- */

static int64_t quantity_of(const json_t *container, const char *list, const char *name, bool milli)
{
	const json_t *v = json_object_get(json_at(container, list), name);
	int64_t n = 0;

	if (!json_is_string(v))
		return 0;
	if ((milli ? quantity_parse_milli : quantity_parse)(json_string_value(v), &n) < 0)
		return 0;
	return n;
}

struct resource_limits spec_limits(const json_t *c)
{
	struct resource_limits l = {
		.cpu_request = quantity_of(c, "resources.requests", "cpu", true),
		.cpu_limit = quantity_of(c, "resources.limits", "cpu", true),
		.memory_request = quantity_of(c, "resources.requests", "memory", false),
		.memory_limit = quantity_of(c, "resources.limits", "memory", false),
	};

	if (!l.cpu_request)
		l.cpu_request = l.cpu_limit;
	return l;
}

static int64_t larger(int64_t a, int64_t b)
{
	return a > b ? a : b;
}

/* What all containers of one list need: together (sum) or one after the other. */
static struct resource_limits list_limits(const json_t *list, bool sum, bool *cpu, bool *memory)
{
	struct resource_limits all = {0};
	size_t i;
	json_t *c;

	json_array_foreach(list, i, c)
	{
		struct resource_limits l = spec_limits(c);
		*cpu = *cpu && l.cpu_limit;
		*memory = *memory && l.memory_limit;
		if (sum) {
			all.cpu_request += l.cpu_request;
			all.cpu_limit += l.cpu_limit;
			all.memory_request += l.memory_request;
			all.memory_limit += l.memory_limit;
			continue;
		}
		all.cpu_request = larger(all.cpu_request, l.cpu_request);
		all.cpu_limit = larger(all.cpu_limit, l.cpu_limit);
		all.memory_request = larger(all.memory_request, l.memory_request);
		all.memory_limit = larger(all.memory_limit, l.memory_limit);
	}
	return all;
}

/* Init containers with restartPolicy Always stay, so their needs add up with the others'. */
static bool has_sidecars(const json_t *pod)
{
	size_t i;
	json_t *c;

	json_array_foreach(json_at(pod, "spec.initContainers"), i,
			   c) if (streq(json_str(c, "restartPolicy", ""), "Always")) return true;
	return false;
}

struct resource_limits spec_pod_limits(const json_t *pod)
{
	bool cpu = true, memory = true, sum = has_sidecars(pod);
	struct resource_limits a =
		list_limits(json_at(pod, "spec.containers"), true, &cpu, &memory);
	struct resource_limits b =
		list_limits(json_at(pod, "spec.initContainers"), sum, &cpu, &memory);
	struct resource_limits l = {
		.cpu_request =
			sum ? a.cpu_request + b.cpu_request : larger(a.cpu_request, b.cpu_request),
		.cpu_limit = sum ? a.cpu_limit + b.cpu_limit : larger(a.cpu_limit, b.cpu_limit),
		.memory_request = sum ? a.memory_request + b.memory_request
				      : larger(a.memory_request, b.memory_request),
		.memory_limit = sum ? a.memory_limit + b.memory_limit
				    : larger(a.memory_limit, b.memory_limit),
	};

	if (!cpu)
		l.cpu_limit = 0;
	if (!memory)
		l.memory_limit = 0;
	return l;
}

int spec_oom_score(const json_t *pod, const json_t *container, int64_t node_memory)
{
	const char *qos = status_qos(pod);
	int64_t request = quantity_of(container, "resources.requests", "memory", false), score;

	if (streq(qos, "Guaranteed"))
		return -997;
	if (streq(qos, "BestEffort") || node_memory <= 0)
		return 1000;
	score = 1000 - (int64_t)(1000.0 * (double)request / (double)node_memory);
	return (int)(score < 3 ? 3 : score > 999 ? 999 : score);
}

/* ---- security --------------------------------------------------------------------------- */

gid_t spec_fs_group(const json_t *pod)
{
	return (gid_t)json_int(pod, "spec.securityContext.fsGroup", -1);
}

/* A field of the container's securityContext, else of the pod's; NULL when neither has it. */
static const json_t *security_at(const json_t *pod, const json_t *container, const char *field)
{
	const json_t *v = json_object_get(json_object_get(container, "securityContext"), field);

	return v ? v : json_object_get(json_at(pod, "spec.securityContext"), field);
}

uid_t spec_common_user(const json_t *pod)
{
	static const char *const lists[] = {"initContainers", "containers", "ephemeralContainers"};
	json_int_t common = -1;
	size_t i;
	json_t *c;

	for (size_t l = 0; l < ARRAY_SIZE(lists); l++)
		json_array_foreach(json_object_get(json_object_get(pod, "spec"), lists[l]), i, c)
		{
			const json_t *user = security_at(pod, c, "runAsUser");

			if (!user || (common != -1 && json_integer_value(user) != common))
				return (uid_t)-1;
			common = json_integer_value(user);
		}
	return (uid_t)common;
}

static int set_user(struct spec *s, const json_t *pod, const json_t *container,
		    const struct image *image, struct err *err)
{
	const json_t *user = security_at(pod, container, "runAsUser");
	const json_t *group = security_at(pod, container, "runAsGroup");
	const json_t *non_root = security_at(pod, container, "runAsNonRoot");
	auto_free char *text = user ? xasprintf("%lld", (long long)json_integer_value(user))
				    : xstrdup(image->user);
	int ret = image_user(image, text, &s->config.uid, &s->config.gid, err);

	if (ret < 0)
		return ret;
	if (group)
		s->config.gid = (uint32_t)json_integer_value(group);
	if (json_is_true(non_root) && s->config.uid == 0)
		return err_set(err, ERR_INVALID,
			       user ? "container's runAsUser breaks non-root policy (pod: "
				      "\"%s_%s(%s)\", container: %s)"
				    : "container has runAsNonRoot and image will run as root (pod: "
				      "\"%s_%s(%s)\", container: %s)",
			       meta_name(pod), meta_ns(pod), meta_uid(pod),
			       json_str(container, "name", ""));
	return 0;
}

static void set_groups(struct spec *s, const json_t *pod)
{
	size_t i;
	json_t *v;

	json_array_foreach(json_at(pod, "spec.securityContext.supplementalGroups"), i, v)
		spec_add_group(s, (uint32_t)json_integer_value(v));
	if (spec_fs_group(pod) != (gid_t)-1)
		spec_add_group(s, spec_fs_group(pod));
}

static const char *const *cap_list(struct strv *to, const json_t *list)
{
	size_t i;
	json_t *v;

	json_array_foreach(list, i, v)
	{
		const char *cap = json_is_string(v) ? json_string_value(v) : "";
		strv_add(to, str_starts(cap, "CAP_") ? cap + 4 : cap);
	}
	return (const char *const *)to->v;
}

int spec_security(struct spec *s, const json_t *pod, const json_t *container,
		  const struct image *image, struct err *err)
{
	const json_t *own = json_object_get(container, "securityContext");
	const json_t *seccomp = security_at(pod, container, "seccompProfile");
	int ret = set_user(s, pod, container, image, err);

	if (ret < 0)
		return ret;
	set_groups(s, pod);
	s->config.privileged = json_bool(own, "privileged", false);
	s->config.read_only_root = json_bool(own, "readOnlyRootFilesystem", false);
	s->config.no_new_privs =
		!s->config.privileged && !json_bool(own, "allowPrivilegeEscalation", true);
	s->config.cap_add = cap_list(&s->cap_add, json_at(own, "capabilities.add"));
	s->config.cap_drop = cap_list(&s->cap_drop, json_at(own, "capabilities.drop"));
	s->config.seccomp_unconfined =
		s->config.privileged || streq(json_str(seccomp, "type", ""), "Unconfined");
	return 0;
}

void spec_basics(struct spec *s, const json_t *pod, const json_t *container,
		 const struct image *image, int64_t node_memory)
{
	struct container_config *c = &s->config;
	const char *cwd = json_str(container, "workingDir", "");

	if (!*cwd)
		cwd = *image->workdir ? image->workdir : "/";
	c->cwd = spec_keep(s, cwd);
	c->tty = json_bool(container, "tty", false);
	c->stdin_open = json_bool(container, "stdin", false);
	c->stdin_once = json_bool(container, "stdinOnce", false);
	c->target = json_str(container, "targetContainerName", NULL);
	c->limits = spec_limits(container);
	c->oom_score_adj = spec_oom_score(pod, container, node_memory);
	for (size_t i = 0; i < image->n_layers; i++)
		strv_add(&s->layers, image->layers[i]);
	c->layers = (const char *const *)s->layers.v;
	c->n_layers = s->layers.n;
}

int spec_stop_signal(const char *text)
{
	int64_t n;

	if (str_to_i64(text, 1, SIGRTMAX, &n) == 0)
		return (int)n;
	if (str_starts(text, "SIG"))
		text += 3;
	for (int i = 1; i < SIGRTMIN; i++)
		if (str_eq(sigabbrev_np(i), text))
			return i;
	if (str_starts(text, "RTMIN+") && str_to_i64(text + 6, 0, SIGRTMAX - SIGRTMIN, &n) == 0)
		return SIGRTMIN + (int)n;
	return SIGTERM;
}
