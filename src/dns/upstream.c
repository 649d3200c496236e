/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names of the world: c-ares on the loop. Its sockets are watched through the socket state
 * callback, its time-outs by one timer that is armed only while something is outstanding.
 */
#include "internal.h"
#include <ares.h>
#include <arpa/inet.h>
#include <sys/stat.h>

enum {
	UPSTREAM_MAX = 512, /* outstanding queries */
	UPSTREAM_TIMEOUT_MS = 2000,
	UPSTREAM_TRIES = 2,
	UPSTREAM_ADDRESSES = 32,
	RESOLV_MAX = 64 * 1024,
	SERVERS_MAX = 3, /* resolv.conf(5) */
};

struct watched {
	struct list node;
	int fd;
	struct io *io;
};

struct upstream {
	struct dns *dns;
	ares_channel channel;
	struct list sockets; /* struct watched.node */
	struct timer *timer;
	size_t outstanding;
	int n_servers;
	struct stat read; /* the resolv.conf that was read: inode, size, mtime */
	bool closing;
};

/* One question on its way. */
struct asked {
	struct upstream *upstream;
	struct asker asker;
	struct dns_query query;
	uint8_t *msg; /* the client's, for its id and question */
	size_t len;
	char *target; /* chase: the CNAME's target */
};

static void arm(struct upstream *u)
{
	struct timeval tv, *next = ares_timeout(u->channel, NULL, &tv);

	if (!u->outstanding || !next)
		timer_disarm(u->timer);
	else
		timer_arm(u->timer, (uint64_t)next->tv_sec * USEC_PER_SEC +
					    (uint64_t)next->tv_usec + USEC_PER_MSEC);
}

static void on_timer(void *arg)
{
	struct upstream *u = arg;

	ares_process_fd(u->channel, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
	arm(u);
}

static void on_socket(void *arg, int fd, unsigned what)
{
	struct upstream *u = arg;

	ares_process_fd(u->channel, what & IO_READ ? fd : ARES_SOCKET_BAD,
			what & IO_WRITE ? fd : ARES_SOCKET_BAD);
	arm(u);
}

static struct watched *find_socket(struct upstream *u, int fd)
{
	list_foreach (&u->sockets, w, struct watched, node)
		if (w->fd == fd)
			return w;
	return NULL;
}

/* ares_init_options(3), ARES_OPT_SOCK_STATE_CB: what to watch a socket for; nothing: it is closed.
 */
static void on_socket_state(void *arg, ares_socket_t fd, int readable, int writable)
{
	struct upstream *u = arg;
	struct watched *w = find_socket(u, fd);
	unsigned what = (readable ? IO_READ : 0) | (writable ? IO_WRITE : 0);

	if (!what) {
		if (w) {
			list_del(&w->node);
			io_free(w->io);
			free(w);
		}
		return;
	}
	if (!w) {
		w = xnew(struct watched);
		w->fd = fd;
		w->io = io_new(u->dns->loop, fd, what, on_socket, u);
		list_add_tail(&u->sockets, &w->node);
	}
	io_want(w->io, what);
}

static bool is_own(const struct upstream *u, struct in_addr a)
{
	return a.s_addr == u->dns->config.listen.sin_addr.s_addr &&
	       ntohs(u->dns->config.listen.sin_port) == 53;
}

/* One line that c-ares refuses would cost us all of them. */
static bool is_server(const char *text)
{
	struct in6_addr a;
	struct addr with_port;
	char host[64];

	snprintf(host, sizeof(host), "%s", text);
	host[strcspn(host, "%")] = '\0'; /* fe80::1%eth0 */
	return inet_pton(AF_INET, host, &a) == 1 || inet_pton(AF_INET6, host, &a) == 1 ||
	       (*text != '/' && !str_starts(text, "unix:") && addr_parse(text, &with_port) == 0);
}

/* The nameserver lines as c-ares takes them; our own address is left out: no circles. */
static int servers_of(struct upstream *u, const char *text, struct strbuf *csv)
{
	int n = 0;

	while (*text && n < SERVERS_MAX) {
		char server[64];
		struct in_addr a;
		size_t len = strcspn(text, "\n");
		auto_free char *line = xstrndup(text, len);

		if (sscanf(line, " nameserver %63s", server) == 1 && is_server(server) &&
		    !(inet_pton(AF_INET, server, &a) == 1 && is_own(u, a))) {
			bool bare_v6 =
				strchr(server, ':') && !strchr(server, '.') && *server != '[';

			strbuf_addf(csv, "%s%s%s%s", n ? "," : "", bare_v6 ? "[" : "", server,
				    bare_v6 ? "]" : "");
			n++;
		}
		text += len;
		text += *text == '\n';
	}
	return n;
}

static bool same_file(const struct stat *a, const struct stat *b)
{
	return a->st_ino == b->st_ino && a->st_size == b->st_size &&
	       a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec;
}

/* Reads resolv.conf when it is not the one read before (DHCP may write it at any time). */
static void refresh_servers(struct upstream *u)
{
	auto_free char *text = NULL;
	auto_strbuf csv = {0};
	struct stat st;

	if (stat(u->dns->resolv_conf, &st) < 0) {
		u->n_servers = 0;
		u->read = (struct stat){0};
		return;
	}
	if (same_file(&st, &u->read))
		return;
	u->read = st;
	u->n_servers = 0;
	if (file_read(u->dns->resolv_conf, RESOLV_MAX, &text, NULL) < 0)
		return;
	u->n_servers = servers_of(u, text, &csv);
	/* c-ares takes no servers while questions are out (ARES_ENOTIMP). Those wait for servers
	 * that are no longer ours to ask. */
	if (u->n_servers && u->outstanding)
		ares_cancel(u->channel);
	if (u->n_servers && ares_set_servers_ports_csv(u->channel, csv.s) != ARES_SUCCESS) {
		log_warn("dns: cannot use the servers %s", csv.s);
		u->n_servers = 0;
	}
}

struct upstream *upstream_new(struct dns *d)
{
	struct upstream *u = xnew(struct upstream);
	struct ares_options o = {.flags = ARES_FLAG_NOSEARCH | ARES_FLAG_NOALIASES,
				 .timeout = UPSTREAM_TIMEOUT_MS,
				 .tries = UPSTREAM_TRIES,
				 .lookups = (char *)(uintptr_t) "b",
				 .sock_state_cb = on_socket_state,
				 .sock_state_cb_data = u};

	u->dns = d;
	list_init(&u->sockets);
	u->timer = timer_new(d->loop, on_timer, u);
	if (ares_library_init(ARES_LIB_INIT_ALL) != ARES_SUCCESS ||
	    ares_init_options(&u->channel, &o,
			      ARES_OPT_FLAGS | ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES |
				      ARES_OPT_LOOKUPS | ARES_OPT_SOCK_STATE_CB) != ARES_SUCCESS)
		abort(); /* only memory can be missing */
	return u;
}

void upstream_free(struct upstream *u)
{
	u->closing = true;
	ares_destroy(u->channel); /* ends what is outstanding */
	ares_library_cleanup();
	timer_free(u->timer);
	free(u);
}

size_t upstream_outstanding(const struct upstream *u)
{
	return u->outstanding;
}

static void asked_free(struct asked *a)
{
	if (a->asker.conn)
		dns_conn_unref(a->asker.conn);
	free(a->msg);
	free(a->target);
	free(a);
}

static void fail(struct asked *a)
{
	uint8_t buf[DNS_NAME_MAX + 64];

	a->upstream->dns->failed++;
	if (!a->upstream->closing)
		dns_reply(a->upstream->dns, &a->asker, buf,
			  dns_write_error(buf, a->msg, a->len, &a->query, DNS_RCODE_SERVFAIL));
}

/* May this question go out? Otherwise it is answered here. */
static bool admit(struct upstream *u, struct asked *a)
{
	refresh_servers(u);
	if (u->n_servers && u->outstanding < UPSTREAM_MAX) {
		u->outstanding++;
		return true;
	}
	fail(a);
	asked_free(a);
	return false;
}

static struct asked *asked_new(struct upstream *u, const uint8_t *msg, size_t len,
			       const struct dns_query *q, struct asker asker)
{
	struct asked *a = xnew(struct asked);

	a->upstream = u;
	a->asker = asker;
	a->query = *q;
	a->msg = xmalloc(len);
	memcpy(a->msg, msg, len);
	a->len = len;
	return a;
}

/* The foreign answer goes back with the client's id. */
static void on_forwarded(void *arg, int status UNUSED, int timeouts UNUSED, unsigned char *answer,
			 int len)
{
	struct asked *a = arg;
	struct upstream *u = a->upstream;

	u->outstanding--;
	if (answer && len >= 12 && !u->closing) { /* errors of the name come with an answer too */
		memcpy(answer, a->msg, 2);
		dns_reply(u->dns, &a->asker, answer,
			  dns_truncate(answer, (size_t)len, dns_reply_max(&a->asker, &a->query)));
	} else {
		fail(a);
	}
	asked_free(a);
}

void upstream_forward(struct upstream *u, const uint8_t *msg, size_t len, const struct dns_query *q,
		      struct asker asker)
{
	struct asked *a = asked_new(u, msg, len, q, asker);
	auto_free uint8_t *out = NULL;

	if (!admit(u, a))
		return;
	out = xmalloc(len);
	memcpy(out, msg, len);
	random_bytes(out, 2); /* two clients may have chosen the same id */
	ares_send(u->channel, out, (int)len, on_forwarded, a);
	arm(u);
}

static void on_chased(void *arg, int status, int timeouts UNUSED, unsigned char *answer, int len)
{
	struct asked *a = arg;
	struct upstream *u = a->upstream;
	struct ares_addrttl found[UPSTREAM_ADDRESSES];
	int n = UPSTREAM_ADDRESSES;
	uint8_t buf[DNS_EDNS_MAX];
	struct dns_writer w;
	size_t max = dns_reply_max(&a->asker, &a->query);

	u->outstanding--;
	if (status != ARES_SUCCESS ||
	    ares_parse_a_reply(answer, len, NULL, found, &n) != ARES_SUCCESS)
		n = 0; /* the CNAME alone is still true */
	if (!u->closing) {
		dns_write_start(&w, buf, max < sizeof(buf) ? max : sizeof(buf), a->msg, &a->query);
		dns_write_name(&w, DNS_ANSWER, NULL, DNS_TYPE_CNAME, u->dns->config.ttl, a->target);
		for (int i = 0; i < n; i++)
			dns_write_a(&w, DNS_ANSWER, a->target, (uint32_t)found[i].ttl,
				    found[i].ipaddr);
		dns_reply(u->dns, &a->asker, buf, dns_write_end(&w, &a->query, DNS_RCODE_OK, true));
	}
	asked_free(a);
}

/* The service here that an ExternalName names, or NULL. */
static const struct entry *service_here(const struct upstream *u, const char *target)
{
	char key[DNS_NAME_MAX];
	char *svc;

	snprintf(key, sizeof(key), "%s", target);
	svc = strstr(key, ".svc");
	if (svc && (streq(svc, ".svc") || streq(svc, ".svc.local") ||
		    (svc[4] == '.' && streq(svc + 5, u->dns->domain))))
		*svc = '\0';
	return map_get(&u->dns->table.services, key);
}

/* Completes the answer from our own table; false: the target is the world's. */
static bool chase_inside(struct upstream *u, struct asked *a)
{
	const struct entry *e = service_here(u, a->target);
	size_t max = dns_reply_max(&a->asker, &a->query);
	bool addresses = a->query.type == DNS_TYPE_A;
	uint8_t buf[DNS_EDNS_MAX];
	struct dns_writer w;

	if (!e || e->external_name)
		return false;
	dns_write_start(&w, buf, max < sizeof(buf) ? max : sizeof(buf), a->msg, &a->query);
	dns_write_name(&w, DNS_ANSWER, NULL, DNS_TYPE_CNAME, u->dns->config.ttl, a->target);
	if (addresses && !entry_is_headless(e))
		dns_write_a(&w, DNS_ANSWER, a->target, u->dns->config.ttl, e->cluster_ip);
	for (size_t i = 0; addresses && entry_is_headless(e) && i < e->n_endpoints; i++)
		dns_write_a(&w, DNS_ANSWER, a->target, u->dns->config.ttl, e->endpoints[i].addr);
	dns_reply(u->dns, &a->asker, buf, dns_write_end(&w, &a->query, DNS_RCODE_OK, true));
	return true;
}

void upstream_chase(struct upstream *u, const uint8_t *msg, const struct dns_query *q,
		    const char *target, struct asker asker)
{
	struct asked *a = asked_new(u, msg, 12 + q->question_len, q, asker);

	a->target = xstrdup(target);
	if (chase_inside(u, a)) {
		asked_free(a);
		return;
	}
	refresh_servers(u);
	u->outstanding++;
	if (!u->n_servers || q->type != DNS_TYPE_A || u->outstanding > UPSTREAM_MAX) {
		on_chased(a, ARES_ENODATA, 0, NULL, 0); /* the CNAME is known without anybody */
		return;
	}
	ares_query(u->channel, target, DNS_CLASS_IN, DNS_TYPE_A, on_chased, a);
	arm(u);
}
