/* SPDX-License-Identifier: Apache-2.0 */
/* Frontends: listening (and trying again), choosing a backend, client affinity. */
#include "internal.h"

#define RETRY_FIRST_US (5 * USEC_PER_SEC)
#define RETRY_LAST_US (60 * USEC_PER_SEC)
enum { AFFINITY_MAX = 4096 };

struct affinity {
	struct sockaddr_in backend;
	mono_t until;
};

static void on_accept(void *arg, int fd, const struct addr *peer)
{
	tcp_accept(arg, fd, (const struct sockaddr_in *)&peer->ss);
}

static int listen_tcp(struct frontend *f)
{
	struct listener_config c = {.addr = {.len = sizeof(f->listen)}, .free_bind = true};
	auto_err err = {0};

	memcpy(&c.addr.ss, &f->listen, sizeof(f->listen));
	f->listener = listener_new(f->proxy->loop, &c, on_accept, f, &err);
	return f->listener ? 0 : -errno;
}

static void tell_trouble(struct frontend *f)
{
	struct proxy *p = f->proxy;

	if (p->config.on_trouble)
		p->config.on_trouble(p->config.arg, f->name, &f->listen, f->protocol, f->trouble);
}

static void try_listen(void *arg)
{
	struct frontend *f = arg;
	bool had_trouble = f->trouble != NULL;
	int r;

	errno = 0;
	r = f->protocol == IPPROTO_UDP ? udp_open(f) : listen_tcp(f);
	if (r == 0) {
		free(f->trouble);
		f->trouble = NULL;
		if (had_trouble)
			tell_trouble(f);
		frontend_pause(f, f->proxy->full);
		return;
	}
	if (!had_trouble) {
		char text[ADDR_TEXT_MAX];

		f->trouble = xasprintf("cannot listen on %s: %s", sockaddr_text(text, &f->listen),
				       strerror(-r));
		log_warn("proxy %s: %s", f->name, f->trouble);
		tell_trouble(f);
	}
	f->retry_us = f->retry_us ? f->retry_us * 2 : RETRY_FIRST_US;
	if (f->retry_us > RETRY_LAST_US)
		f->retry_us = RETRY_LAST_US;
	timer_arm(f->retry, f->retry_us);
}

static void set_backends(struct frontend *f, const struct proxy_frontend *now)
{
	free(f->backends);
	f->backends = xcalloc(now->n_backends, sizeof(*f->backends));
	f->n_backends = now->n_backends;
	if (now->n_backends)
		memcpy(f->backends, now->backends, now->n_backends * sizeof(*f->backends));
	f->affinity_seconds = now->affinity_seconds;
}

struct frontend *frontend_new(struct proxy *p, const struct proxy_frontend *config, const char *key)
{
	struct frontend *f = xnew(struct frontend);

	f->proxy = p;
	f->refs = 1;
	f->key = xstrdup(key);
	f->name = xstrdup(config->name);
	f->protocol = config->protocol;
	f->listen = config->listen;
	f->listen.sin_family = AF_INET;
	f->fd = -1;
	f->next = p->turn++;
	f->retry = timer_new(p->loop, try_listen, f);
	set_backends(f, config);
	try_listen(f);
	return f;
}

void frontend_update(struct frontend *f, const struct proxy_frontend *now)
{
	if (!streq(f->name, now->name)) {
		free(f->name);
		f->name = xstrdup(now->name);
	}
	if (f->n_backends == now->n_backends && f->affinity_seconds == now->affinity_seconds &&
	    (!now->n_backends ||
	     !memcmp(f->backends, now->backends, now->n_backends * sizeof(*f->backends))))
		return;
	set_backends(f, now);
	if (f->protocol == IPPROTO_UDP)
		udp_backends_changed(f);
}

void frontend_drop(struct frontend *f, struct in_addr addr)
{
	size_t kept = 0;

	for (size_t i = 0; i < f->n_backends; i++)
		if (f->backends[i].addr.sin_addr.s_addr != addr.s_addr)
			f->backends[kept++] = f->backends[i];
	if (kept == f->n_backends)
		return;
	f->n_backends = kept;
	if (f->protocol == IPPROTO_UDP)
		udp_backends_changed(f);
}

void frontend_pause(struct frontend *f, bool pause)
{
	if (f->listener)
		listener_pause(f->listener, pause);
}

void frontend_close(struct frontend *f)
{
	if (f->trouble) { /* it ends with what it was about */
		free(f->trouble);
		f->trouble = NULL;
		tell_trouble(f);
	}
	timer_free(f->retry);
	f->retry = NULL;
	listener_free(f->listener);
	f->listener = NULL;
	if (f->protocol == IPPROTO_UDP)
		udp_shut(f);
	frontend_unref(f);
}

struct frontend *frontend_ref(struct frontend *f)
{
	f->refs++;
	return f;
}

static void forget_affinity(struct frontend *f)
{
	size_t i = 0;
	void *a;

	while (map_next(&f->affinity, &i, NULL, &a))
		free(a);
	map_done(&f->affinity);
}

void frontend_unref(struct frontend *f)
{
	if (--f->refs)
		return;
	forget_affinity(f);
	map_done(&f->flows);
	free(f->backends);
	free(f->trouble);
	free(f->key);
	free(f->name);
	free(f);
}

bool sockaddr_equal(const struct sockaddr_in *a, const struct sockaddr_in *b)
{
	return a->sin_addr.s_addr == b->sin_addr.s_addr && a->sin_port == b->sin_port;
}

bool frontend_has(const struct frontend *f, const struct sockaddr_in *backend)
{
	for (size_t i = 0; i < f->n_backends; i++)
		if (sockaddr_equal(&f->backends[i].addr, backend))
			return true;
	return false;
}

/* Index of the backend this client had, when it is still there and its time is not over, or -1. */
static ssize_t remembered(struct frontend *f, const char *client)
{
	struct affinity *a = map_get(&f->affinity, client);

	if (!a || mono_before(a->until, loop_now(f->proxy->loop)))
		return -1;
	for (size_t i = 0; i < f->n_backends; i++)
		if (sockaddr_equal(&f->backends[i].addr, &a->backend))
			return (ssize_t)i;
	return -1;
}

static void remember(struct frontend *f, const char *client, const struct sockaddr_in *backend)
{
	struct affinity *a = map_get(&f->affinity, client);

	if (!a && f->affinity.n >= AFFINITY_MAX)
		forget_affinity(f); /* bounded; clients are spread anew */
	if (!a) {
		a = xnew(struct affinity);
		map_put(&f->affinity, client, a);
	}
	a->backend = *backend;
	a->until = mono_add(loop_now(f->proxy->loop), (uint64_t)f->affinity_seconds * USEC_PER_SEC);
}

bool frontend_choose(struct frontend *f, const struct sockaddr_in *client, size_t attempt,
		     size_t *first, struct sockaddr_in *ret)
{
	char who[16];
	ssize_t had = -1;

	if (attempt >= f->n_backends)
		return false;
	snprintf(who, sizeof(who), "%08x", client->sin_addr.s_addr);
	if (!attempt && f->affinity_seconds)
		had = remembered(f, who);
	if (!attempt)
		*first = had >= 0 ? (size_t)had : f->next++;
	*ret = f->backends[(*first + attempt) % f->n_backends].addr;
	if (f->affinity_seconds)
		remember(f, who, ret);
	return true;
}
