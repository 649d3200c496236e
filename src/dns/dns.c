/* SPDX-License-Identifier: Apache-2.0 */
/* The responder: UDP socket, one message in, one answer out (now, or when the upstream has it). */
#include "internal.h"
#include <sys/socket.h>
#include <unistd.h>

enum { DNS_BATCH = 64, DNS_TTL = 5 };
#define RETRY_FIRST_US (5 * USEC_PER_SEC)
#define RETRY_LAST_US (60 * USEC_PER_SEC)

size_t dns_reply_max(const struct asker *asker, const struct dns_query *q)
{
	if (asker->conn)
		return DNS_TCP_MAX;
	if (!q->edns)
		return DNS_UDP_MAX;
	return q->udp_size < DNS_EDNS_MAX ? q->udp_size : DNS_EDNS_MAX;
}

void dns_reply(struct dns *d, struct asker *asker, const uint8_t *msg, size_t len)
{
	if (asker->conn) {
		dns_conn_send(asker->conn, msg, len);
		dns_conn_unref(asker->conn);
		asker->conn = NULL;
	} else if (d->fd >= 0) {
		/* A full socket buffer loses an answer, as the network may: the client asks again.
		 */
		sendto(d->fd, msg, len, MSG_DONTWAIT | MSG_NOSIGNAL,
		       (const struct sockaddr *)&asker->addr, sizeof(asker->addr));
	}
}

static void refuse(struct dns *d, const uint8_t *msg, size_t len, const struct dns_query *q,
		   int rcode, struct asker *asker)
{
	uint8_t buf[DNS_NAME_MAX + 64];

	d->failed++;
	dns_reply(d, asker, buf, dns_write_error(buf, msg, len, q, rcode));
}

void dns_handle(struct dns *d, const uint8_t *msg, size_t len, struct asker asker)
{
	static uint8_t buf[DNS_TCP_MAX]; /* one answer at a time */
	struct dns_query q;
	struct dns_writer w;
	const char *target = NULL;
	int rcode = DNS_RCODE_OK, r = dns_parse_query(msg, len, &q);

	d->queries++;
	if (r == -EINVAL) {
		if (asker.conn)
			dns_conn_unref(asker.conn);
		return;
	}
	if (r < 0) {
		refuse(d, msg, len, &q, r == -ENOTSUP ? DNS_RCODE_NOTIMP : DNS_RCODE_FORMERR,
		       &asker);
		return;
	}
	dns_write_start(&w, buf, dns_reply_max(&asker, &q), msg, &q);
	switch (dns_answer(d, &q, &w, &rcode, &target)) {
	case VERDICT_DONE:
		d->answered++;
		dns_reply(d, &asker, buf, dns_write_end(&w, &q, rcode, true));
		return;
	case VERDICT_FORWARD:
		d->forwarded++;
		upstream_forward(d->upstream, msg, len, &q, asker);
		return;
	case VERDICT_CHASE:
		d->forwarded++;
		upstream_chase(d->upstream, msg, &q, target, asker);
		return;
	}
}

static void on_datagrams(void *arg, int fd, unsigned what UNUSED)
{
	struct dns *d = arg;

	for (int i = 0; i < DNS_BATCH; i++) {
		uint8_t msg[4096];
		struct asker asker = {0};
		socklen_t len = sizeof(asker.addr);
		ssize_t n = recvfrom(fd, msg, sizeof(msg), MSG_DONTWAIT,
				     (struct sockaddr *)&asker.addr, &len);

		if (n < 0)
			return;
		dns_handle(d, msg, (size_t)n, asker);
	}
}

static int open_udp(const struct dns *d)
{
	const int one = 1;
	auto_fd int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	/* SO_REUSEADDR lets a host's own server keep the wildcard address. */
	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) < 0 ||
	    setsockopt(fd, IPPROTO_IP, IP_FREEBIND, &one, sizeof(one)) < 0 ||
	    bind(fd, (const struct sockaddr *)&d->config.listen, sizeof(d->config.listen)) < 0)
		return -errno;
	return steal_fd(&fd);
}

/* Listens on both; false and a later try when the address is taken. */
static bool open_sockets(struct dns *d)
{
	auto_err err = {0};
	int fd = open_udp(d);

	if (fd >= 0) {
		d->fd = fd;
		d->tcp = dns_tcp_new(d, &err);
		if (d->tcp) {
			d->io = io_new(d->loop, fd, IO_READ, on_datagrams, d);
			return true;
		}
		d->fd = fd_close(d->fd);
	}
	if (!d->retry_us)
		log_warn("dns: %s; trying again", err.message ? err.message : strerror(-fd));
	d->retry_us = d->retry_us ? d->retry_us * 2 : RETRY_FIRST_US;
	if (d->retry_us > RETRY_LAST_US)
		d->retry_us = RETRY_LAST_US;
	timer_arm(d->retry, d->retry_us);
	return false;
}

static void on_retry(void *arg)
{
	if (open_sockets(arg))
		log_info("dns: listening");
}

static void show_dns(void *arg, json_t *rows)
{
	struct dns *d = arg;
	json_t *row = json_object();

	json_put_int(row, "services", (int64_t)d->table.services.n);
	json_put_int(row, "queries", (int64_t)d->queries);
	json_put_int(row, "answered", (int64_t)d->answered);
	json_put_int(row, "forwarded", (int64_t)d->forwarded);
	json_put_int(row, "failed", (int64_t)d->failed);
	json_put_int(row, "outstanding", (int64_t)upstream_outstanding(d->upstream));
	json_put_bool(row, "listening", d->fd >= 0);
	json_array_append_new(rows, row);
}

static void dns_metrics(void *arg, struct strbuf *out)
{
	static const char requests[] = "coredns_dns_requests_total";
	static const char answers[] = "coracle_dns_answers_total";
	const struct dns *d = arg;

	metric_one(out, requests, "counter", "Counter of DNS requests made.", (double)d->queries);
	metric_family(out, answers, "counter", "DNS requests by who had the answer.");
	metric_put(out, answers, (double)d->answered, "by", "services", NULL);
	metric_put(out, answers, (double)d->forwarded, "by", "upstream", NULL);
	metric_put(out, answers, (double)d->failed, "by", "nobody", NULL);
	metric_one(out, "coracle_dns_outstanding", "gauge", "Questions the upstream still has.",
		   (double)upstream_outstanding(d->upstream));
}

struct dns *dns_new(struct loop *loop, const struct dns_config *config, struct err *err UNUSED)
{
	struct dns *d = xnew(struct dns);

	d->loop = loop;
	d->config = *config;
	d->config.listen.sin_family = AF_INET;
	if (!d->config.ttl)
		d->config.ttl = DNS_TTL;
	d->domain = xstrdup(config->cluster_domain);
	d->resolv_conf = xstrdup(config->resolv_conf ? config->resolv_conf : "/etc/resolv.conf");
	d->fd = -1;
	d->retry = timer_new(loop, on_retry, d);
	d->upstream = upstream_new(d);
	open_sockets(d);
	show_register("dns", show_dns, d);
	metrics_register("dns", dns_metrics, d);
	return d;
}

void dns_free(struct dns *d)
{
	if (!d)
		return;
	show_unregister("dns");
	metrics_unregister("dns");
	timer_free(d->retry);
	upstream_free(d->upstream);
	dns_tcp_free(d->tcp);
	io_free(d->io);
	fd_close(d->fd);
	table_done(&d->table);
	free(d->domain);
	free(d->resolv_conf);
	free(d);
}

void dns_set(struct dns *d, const struct dns_service *services, size_t n)
{
	table_set(&d->table, d->domain, services, n);
}
