/* SPDX-License-Identifier: Apache-2.0 */
/* Stand-ins for image, probe, proxy and dns in the node's live test. */
#include "node_fakes.h"

#include <arpa/inet.h>

/* ---- images ------------------------------------------------------------------------------- */

unsigned fake_pulls;
bool fake_all_images;
static char *layers[2], *no_args[1];
static char *entrypoint[] = {(char *)"/bin/sh", (char *)"-c", NULL};
static struct image image = {
	.digest = (char *)"sha256:0001",
	.refs = no_args,
	.repo_digests = no_args,
	.layers = layers,
	.n_layers = 1,
	.entrypoint = entrypoint,
	.cmd = no_args,
	.env = no_args,
	.workdir = (char *)"",
	.user = (char *)"",
	.stop_signal = (char *)"",
};

void fake_image_layer(const char *path)
{
	free(layers[0]);
	layers[0] = xstrdup(path);
}

struct image_job {
	struct loop *loop;
	struct work work;
	const struct image_job_ops *ops;
	void *arg;
};
struct image_store {
	struct loop *loop;
};

static void job_fails(void *arg)
{
	struct image_job *j = arg;
	auto_err err = {0};

	err_set(&err, ERR_NOT_FOUND, "not found in the registry");
	j->ops->on_done(j->arg, NULL, 0, &err);
	loop_free_later(j->loop, free, j);
}

struct image_job *image_pull(struct image_store *s, const char *ref UNUSED,
			     const struct image_auth *auth UNUSED, const struct image_job_ops *ops,
			     void *arg, struct err *err UNUSED)
{
	struct image_job *j = xnew(struct image_job);

	fake_pulls++;
	*j = (struct image_job){.loop = s->loop, .ops = ops, .arg = arg};
	work_init(&j->work, job_fails, j);
	work_queue(s->loop, &j->work);
	return j;
}

void image_watch(struct image_store *s UNUSED, void (*changed)(void *arg) UNUSED, void *arg UNUSED)
{
}

void image_job_cancel(struct image_job *j)
{
	work_cancel(&j->work);
	loop_free_later(j->loop, free, j);
}

struct image_store *image_store_open(struct loop *loop, const struct image_config *config UNUSED,
				     struct err *err UNUSED)
{
	struct image_store *s = xnew(struct image_store);

	s->loop = loop;
	return s;
}

void image_store_close(struct image_store *s)
{
	free(layers[0]);
	free(s);
}

const struct image *image_find(const struct image_store *s UNUSED, const char *ref)
{
	return str_starts(ref, "missing") && !fake_all_images ? NULL : &image;
}

const struct image *image_at(const struct image_store *s UNUSED, size_t i)
{
	return i == 0 ? &image : NULL;
}

int image_ref_normalize(const char *ref, char **ret, struct err *err)
{
	if (strchr(ref, ' '))
		return err_set(err, ERR_INVALID, "couldn't parse image name");
	*ret = xstrdup(ref);
	return 0;
}

int image_user(const struct image *i UNUSED, const char *user, uint32_t *uid, uint32_t *gid,
	       struct err *err UNUSED)
{
	*uid = (uint32_t)strtoul(user, NULL, 10);
	*gid = 0;
	return 0;
}

/* ---- probes ------------------------------------------------------------------------------- */

#define MAX_PROBES 16

struct probe {
	struct loop *loop;
	enum probe_kind kind;
	const struct probe_ops *ops;
	void *arg;
	const char *const *argv;
	bool ok, paused;
};
static struct probe *probes[MAX_PROBES];
int fake_exec_code;
char fake_exec_output[256];

struct probe *probe_start(struct loop *loop, const struct probe_config *config,
			  mono_t started UNUSED, const struct probe_ops *ops, void *arg)
{
	struct probe *p = xnew(struct probe);
	size_t i = 0;

	*p = (struct probe){loop,	  config->kind,		ops,  arg,
			    config->argv, config->initially_ok, false};
	while (i < MAX_PROBES - 1 && probes[i])
		i++;
	probes[i] = p;
	return p;
}

void probe_stop(struct probe *p)
{
	for (size_t i = 0; i < MAX_PROBES; i++)
		if (probes[i] == p)
			probes[i] = NULL;
	loop_free_later(p->loop, free, p);
}

void probe_pause(struct probe *p, bool pause)
{
	p->paused = pause;
}

bool probe_ok(const struct probe *p)
{
	return p->ok;
}

struct probe *fake_probe(enum probe_kind kind)
{
	for (size_t i = 0; i < MAX_PROBES; i++)
		if (probes[i] && probes[i]->kind == kind)
			return probes[i];
	return NULL;
}

void fake_verdict(struct probe *p, bool ok, const char *why)
{
	p->ok = ok;
	if (!ok)
		p->ops->on_failure(p->arg, why);
	p->ops->on_verdict(p->arg, ok, why);
}

void fake_exec(struct probe *p)
{
	fake_exec_code = -1;
	p->ops->run_exec(p->arg, p, p->argv, 5);
}

void probe_exec_done(struct probe *p UNUSED, int code, bool timed_out UNUSED, const char *output)
{
	fake_exec_code = code;
	snprintf(fake_exec_output, sizeof(fake_exec_output), "%s", output);
}

struct probe_once *probe_run_once(struct loop *loop UNUSED,
				  const struct probe_config *config UNUSED,
				  void (*done)(void *arg, bool ok, const char *why) UNUSED,
				  void *arg UNUSED)
{
	return NULL;
}

void probe_once_cancel(struct probe_once *p UNUSED)
{
}

/* ---- proxy and DNS ------------------------------------------------------------------------ */

static struct strbuf frontends, names;

const char *fake_frontends(void)
{
	return frontends.s ? frontends.s : "";
}

const char *fake_dns(void)
{
	return names.s ? names.s : "";
}

static void put_addr(struct strbuf *b, const struct sockaddr_in *a)
{
	char ip[INET_ADDRSTRLEN];

	inet_ntop(AF_INET, &a->sin_addr, ip, sizeof(ip));
	strbuf_addf(b, "%s:%u", ip, ntohs(a->sin_port));
}

void proxy_backend_gone(struct proxy *p UNUSED, struct in_addr addr UNUSED)
{
}

void proxy_set(struct proxy *p UNUSED, const struct proxy_frontend *f, size_t n)
{
	strbuf_reset(&frontends);
	for (size_t i = 0; i < n; i++) {
		strbuf_addf(&frontends, "%s %s ", f[i].name,
			    f[i].protocol == IPPROTO_UDP ? "udp" : "tcp");
		put_addr(&frontends, &f[i].listen);
		strbuf_adds(&frontends, " ->");
		for (size_t j = 0; j < f[i].n_backends; j++) {
			strbuf_addc(&frontends, ' ');
			put_addr(&frontends, &f[i].backends[j].addr);
		}
		strbuf_addc(&frontends, '\n');
	}
}

void dns_set(struct dns *d UNUSED, const struct dns_service *s, size_t n)
{
	strbuf_reset(&names);
	for (size_t i = 0; i < n; i++) {
		strbuf_addf(&names, "%s/%s", s[i].ns, s[i].name);
		if (s[i].cluster_ip.s_addr)
			strbuf_addf(&names, " %s", inet_ntoa(s[i].cluster_ip));
		if (s[i].external_name)
			strbuf_addf(&names, " = %s", s[i].external_name);
		for (size_t j = 0; j < s[i].n_endpoints; j++)
			strbuf_addf(&names, " %s=%s",
				    s[i].endpoints[j].hostname ? s[i].endpoints[j].hostname : "-",
				    inet_ntoa(s[i].endpoints[j].addr));
		strbuf_addc(&names, '\n');
	}
}
