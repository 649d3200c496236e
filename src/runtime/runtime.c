/* SPDX-License-Identifier: Apache-2.0 */
/* The runtime object: which OCI runtime, which cgroups, and the table of sandboxes. */
#include "internal.h"

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

enum { VERSION_TIMEOUT_MS = 2000, VERSION_MAX = 4096 };

/* ---- the OCI runtime's program ---------------------------------------------------------- */

static char *find_in_path(const char *name)
{
	const char *env = getenv("PATH");
	auto_strv dirs = {0};

	if (strchr(name, '/'))
		return access(name, X_OK) == 0 ? xstrdup(name) : NULL;
	strv_split(&dirs, env ? env : "", ':');
	strv_split(&dirs, "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", ':');
	for (size_t i = 0; i < dirs.n; i++) {
		auto_free char *path = path_join(dirs.v[i], name);
		if (access(path, X_OK) == 0)
			return steal_ptr(path);
	}
	return NULL;
}

static int find_program(struct runtime *rt, const char *wanted, struct err *err)
{
	static const char *const usual[] = {"crun", "runc"};

	if (wanted)
		rt->program = find_in_path(wanted);
	for (size_t i = 0; !wanted && !rt->program && i < ARRAY_SIZE(usual); i++)
		rt->program = find_in_path(usual[i]);
	if (!rt->program)
		return err_set(err, ERR_NOT_FOUND, "OCI runtime \"%s\" is not installed",
			       wanted ? wanted : "crun");
	const char *slash = strrchr(rt->program, '/');
	rt->name = xstrdup(slash ? slash + 1 : rt->program);
	return 0;
}

static void on_version_end(void *arg UNUSED, int status UNUSED)
{
}

/* Reads until the end or the time-out. */
static void read_all(int fd, struct strbuf *text)
{
	mono_t end = mono_add(mono_now(), VERSION_TIMEOUT_MS * USEC_PER_MSEC);
	char buf[512];

	while (text->len < VERSION_MAX) {
		struct pollfd p = {.fd = fd, .events = POLLIN};
		int left = (int)(mono_sub(end, mono_now()) / USEC_PER_MSEC);
		ssize_t n = poll(&p, 1, left) > 0 ? read(fd, buf, sizeof(buf)) : -1;

		if (n <= 0)
			return;
		strbuf_add(text, buf, (size_t)n);
	}
}

/* "crun version 1.8.1\n...": once, before the loop turns; it takes 3 ms. */
static void read_version(struct runtime *rt)
{
	const char *argv[] = {rt->program, "--version", NULL};
	auto_strbuf text = {0};
	auto_strv words = {0};
	auto_err err = {0};
	int p[2];

	if (pipe2(p, O_CLOEXEC) < 0)
		return;
	struct child_fd map = {.parent = p[1], .child = 1};
	struct child_config config = {.argv = argv, .fds = &map, .n_fds = 1};
	struct child *child = child_spawn(rt->loop, &config, on_version_end, NULL, &err);
	close(p[1]);
	if (child)
		read_all(p[0], &text);
	close(p[0]);
	if (text.s)
		text.s[strcspn(text.s, "\n")] = '\0';
	strv_split(&words, text.s ? text.s : "", ' ');
	rt->version = xstrdup(words.n >= 3 ? words.v[2] : "unknown");
}

/* ---- life ------------------------------------------------------------------------------- */

static void show_sandboxes(void *arg, json_t *rows)
{
	struct runtime *rt = arg;

	list_foreach (&rt->sandboxes, s, struct sandbox, node) {
		auto_strbuf containers = {0};
		size_t execs = 0;

		list_foreach (&s->containers, c, struct container, node)
			strbuf_addf(&containers, "%s%s/%u=%s", containers.len ? " " : "", c->name,
				    c->attempt,
				    c->state == PROTO_STATE_RUNNING ? "running"
				    : c->state == PROTO_STATE_ENDED ? "ended"
								    : "queued");
		for (const struct list *e = s->execs.next; e != &s->execs; e = e->next)
			execs++;
		json_array_append_new(rows,
				      json_pack("{s:s, s:s, s:s, s:s, s:i, s:s, s:I}", "namespace",
						s->ns, "pod", s->name, "uid", s->id, "state",
						sandbox_state_name(s->state), "pid", (int)s->pid,
						"containers", containers.s ? containers.s : "",
						"execs", (json_int_t)execs));
	}
}

static int set_up_cgroups(struct runtime *rt, const char *name, struct err *err)
{
	int r = cgroup_layout_detect(&rt->layout);

	if (r < 0)
		return err_errno(err, -r, "read /proc/self/mountinfo");
	rt->cgroup = xasprintf("/%s", name);
	rt->controllers = cgroup_controllers_text(&rt->layout);
	if (rt->layout.mode == CGROUP_NONE)
		return err_set(err, ERR_INTERNAL, "no cgroup file system is mounted");
	/* Home of the sandboxes themselves, so that a pod's limits are its containers' alone. */
	auto_free char *home = xasprintf("%s/sandboxes", rt->cgroup);
	r = cgroup_create(&rt->layout, home, err);
	cgroup_probe_swap(&rt->layout, rt->cgroup);
	rt->hide_unified = rt->layout.mode == CGROUP_HYBRID && str_starts(rt->name, "crun");
	return r;
}

static void read_boot_id(struct runtime *rt)
{
	auto_free char *text = NULL;

	if (file_read("/proc/sys/kernel/random/boot_id", 64, &text, NULL) == 0)
		snprintf(rt->boot_id, sizeof(rt->boot_id), "%.36s", text);
}

static void destroy(struct runtime *rt)
{
	cgroup_layout_done(&rt->layout);
	free(rt->run_dir);
	free(rt->program);
	free(rt->name);
	free(rt->version);
	free(rt->sandbox_path);
	free(rt->cgroup);
	free(rt->controllers);
	free(rt);
}

struct runtime *runtime_new(struct loop *loop, const struct runtime_config *config, struct err *err)
{
	struct runtime *rt = xnew(struct runtime);
	int r;

	rt->loop = loop;
	/* Not those of an earlier daemon, which a sandbox may still be ending. */
	random_bytes(&rt->next_exec, sizeof(rt->next_exec));
	list_init(&rt->sandboxes);
	rt->run_dir = path_join(config->run_dir, "sandbox");
	rt->sandbox_path = xstrdup(config->sandbox_path);
	read_boot_id(rt);
	r = find_program(rt, config->runtime, err);
	if (r == 0 && access(rt->sandbox_path, X_OK) < 0)
		r = err_errno(err, errno, "%s", rt->sandbox_path);
	if (r == 0 && (r = mkdir_p(rt->run_dir, 0711)) < 0)
		err_errno(err, -r, "make %s", rt->run_dir);
	if (r == 0)
		r = set_up_cgroups(rt, config->cgroup_name ? config->cgroup_name : "coracle", err);
	if (r < 0) {
		destroy(rt);
		return NULL;
	}
	read_version(rt);
	show_register("sandboxes", show_sandboxes, rt);
	return rt;
}

/* When no sandbox is left, whoever started it: theirs is the home group. */
static void remove_cgroups(const struct runtime *rt)
{
	auto_free char *home = xasprintf("%s/sandboxes", rt->cgroup);

	if (cgroup_remove(&rt->layout, home) == 0 && cgroup_remove(&rt->layout, rt->cgroup) < 0)
		log_debug("cgroup %s stays", rt->cgroup);
}

void runtime_free(struct runtime *rt)
{
	if (!rt)
		return;
	show_unregister("sandboxes");
	list_foreach (&rt->sandboxes, s, struct sandbox, node)
		sandbox_free(s);
	adoption_free(rt);
	remove_cgroups(rt);
	destroy(rt);
}

const char *runtime_name(const struct runtime *rt)
{
	return rt->name;
}

const char *runtime_version(const struct runtime *rt)
{
	return rt->version;
}

const char *runtime_cgroup_controllers(const struct runtime *rt)
{
	return rt->controllers;
}
