/* SPDX-License-Identifier: Apache-2.0 */
/* start: one attempt of a container, from its spec to the runtime. */
#include "internal.h"
#include "files.h"

#include <sys/stat.h>

#define DEFAULT_PATH "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

/* ---- environment ------------------------------------------------------------------------ */

static void add_services(struct env *e, const struct pod *p)
{
	struct store_iter it = store_iter(p->node->store, &kind_service, p->ns);
	const struct object *o = store_get(p->node->store, &kind_service, "default", "kubernetes");

	if (o)
		env_add_service(e, object_json(o));
	if (!json_bool(pod_json(p), "spec.enableServiceLinks", true))
		return;
	while ((o = store_next(&it)))
		env_add_service(e, object_json(o));
}

static bool has_path(char *const *image_env)
{
	for (; image_env && *image_env; image_env++)
		if (str_starts(*image_env, "PATH="))
			return true;
	return false;
}

int ctr_env(const struct ctr *c, struct env *vars, struct err *err)
{
	struct pod *p = c->pod;
	char ip[INET_ADDRSTRLEN];
	struct self_facts self = pod_self(p, ip);
	int ret;

	pod_breathe(p);
	add_services(vars, p);
	ret = env_add_container(vars, pod_json(p), ctr_spec(c), &self, pod_lookup, p, err);
	pod_hold_breath(p);
	return ret;
}

/* What the process gets. vars: what $(VAR) may refer to (Kubernetes' own part of it). */
static void all_env(const struct ctr *c, const struct image *image, const struct env *vars,
		    struct strv *all)
{
	auto_free char *host = files_hostname(pod_json(c->pod));

	env_strings(vars, (const char *const *)image->env, all);
	if (!has_path(image->env) && !env_get(vars, "PATH"))
		strv_add(all, "PATH=" DEFAULT_PATH);
	if (!env_get(vars, "HOSTNAME"))
		strv_addf(all, "HOSTNAME=%s", host);
	if (json_bool(ctr_spec(c), "tty", false) && !env_get(vars, "TERM"))
		strv_add(all, "TERM=xterm");
}

/* ---- directories ------------------------------------------------------------------------ */

/* The highest "<n>.log" in the container's log directory, -1 when there is none: restarts are
 * counted on after a reboot without a byte written for it (kubelet does the same). */
static int64_t last_attempt_in_logs(const struct ctr *c)
{
	auto_free char *logs = pod_log_dir(c->pod);
	auto_free char *path = path_join(logs, c->facts.name);
	auto_dir DIR *d = opendir(path);
	int64_t best = -1;
	struct dirent *e;

	while (d && (e = readdir(d))) {
		auto_free char *name = xstrdup(e->d_name);
		char *dot = strstr(name, ".log");
		int64_t n;
		if (!dot)
			continue;
		*dot = '\0';
		if (str_to_i64(name, 0, UINT32_MAX, &n) == 0 && n > best)
			best = n;
	}
	return best;
}

static unsigned next_attempt(const struct ctr *c)
{
	return c->ever_ran ? c->facts.restarts + 1 : (unsigned)(last_attempt_in_logs(c) + 1);
}

/* An empty write layer; those of earlier attempts go. */
static int write_layer(struct ctr *c, struct spec *s, unsigned attempt, struct err *err)
{
	auto_free char *rel = xasprintf("layers/%s", c->facts.name);
	auto_free char *dir = pod_state_path(c->pod, rel);
	auto_free char *mine = xasprintf("%s/%u", dir, attempt);
	int ret;

	trash_put(c->pod->node, dir);
	ret = mkdir_p(mine, 0700);
	if (ret < 0)
		return err_errno(err, -ret, "%s", mine);
	s->config.write_dir = spec_keep(s, mine);
	return 0;
}

static int termination_file(struct ctr *c, struct spec *s, unsigned attempt, struct err *err)
{
	const char *target =
		json_str(ctr_spec(c), "terminationMessagePath", "/dev/termination-log");
	auto_free char *dir = pod_run_path(c->pod, "term");
	auto_free char *path = xasprintf("%s/%s.%u", dir, c->facts.name, attempt);
	int ret = mkdir_p(dir, 0755);

	if (ret == 0)
		ret = file_write_atomic(path, "", 0, 0666, false);
	if (ret < 0)
		return err_errno(err, -ret, "%s", path);
	if (chmod(path, 0666) < 0)
		return err_errno(err, errno, "%s", path);
	spec_add_mount(s, path, target, 0, 0);
	free(c->term_path);
	c->term_path = steal_ptr(path);
	return 0;
}

/* ---- the attempt ------------------------------------------------------------------------ */

static void new_id(char out[static 65])
{
	unsigned char raw[32];

	random_bytes(raw, sizeof(raw));
	sha256_hex(raw, sizeof(raw), out);
}

static const char *image_name(const struct image *image)
{
	return image->n_repo_digests ? image->repo_digests[0] : image->digest;
}

static int build(struct ctr *c, const struct image *image, const struct env *vars, struct spec *s,
		 struct err *err)
{
	const json_t *pod = pod_json(c->pod), *spec = ctr_spec(c);
	int ret;

	all_env(c, image, vars, &s->envp);
	s->config.envp = (const char *const *)s->envp.v;
	spec_basics(s, pod, spec, image, c->pod->node->memory_bytes);
	ret = spec_security(s, pod, spec, image, err);
	if (ret == 0)
		ret = spec_argv(s, spec, image, vars, err);
	if (ret == 0)
		ret = volumes_mounts(c->pod, spec, vars, s, err);
	return ret;
}

static void begin_attempt(struct ctr *c, const struct image *image, const char *id,
			  unsigned attempt)
{
	struct ctr_facts *f = &c->facts;

	free(c->image);
	c->image = xstrdup(json_str(ctr_spec(c), "image", ""));
	free(f->image_id);
	f->image_id = xstrdup(image_name(image));
	free(f->id);
	f->id = xstrdup(id);
	if (f->end.id) {
		ctr_end_done(&f->last);
		f->last = f->end;
		f->end = (struct ctr_end){0};
	}
	f->restarts = attempt;
	c->ever_ran = true;
	c->changed = c->backoff_told = c->stop_wanted = false;
}

int ctr_start(struct ctr *c, const struct image *image, const struct env *vars, struct err *err)
{
	unsigned attempt = next_attempt(c);
	auto_spec s = {0};
	char id[65];
	int ret = build(c, image, vars, &s, err);

	if (ret == 0)
		ret = write_layer(c, &s, attempt, err);
	if (ret == 0)
		ret = termination_file(c, &s, attempt, err);
	if (ret < 0)
		return ret;
	if (c->facts.id)
		container_remove(c->pod->sandbox, c->facts.id);
	new_id(id);
	s.config.id = id;
	s.config.name = c->facts.name;
	s.config.attempt = attempt;
	s.config.image_ref = json_str(ctr_spec(c), "image", "");
	ret = container_start(c->pod->sandbox, &s.config, err);
	if (ret == 0)
		begin_attempt(c, image, id, attempt);
	return ret;
}
