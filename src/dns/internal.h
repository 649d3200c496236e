/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the responder share. */
#ifndef CORACLE_DNS_INTERNAL_H
#define CORACLE_DNS_INTERNAL_H

#include "wire.h"
#include <coracle/dns.h>
#include <coracle/json.h>

/* ---- table.c: what is known of services --------------------------------------------------- */

struct entry; /* one service, its own copy */
struct table {
	struct map services;   /* "svc.ns" -> struct entry, owned */
	struct map namespaces; /* "ns" -> any entry of it */
	struct map addresses;  /* "10.43.0.1" -> name for PTR, owned */
};
struct entry {
	char *ns, *name, *external_name;
	struct in_addr cluster_ip;
	struct dns_port *ports;
	size_t n_ports;
	struct dns_endpoint *endpoints;
	size_t n_endpoints;
	uint32_t turn; /* rotates the answers of headless services */
};
void table_set(struct table *t, const char *domain, const struct dns_service *services, size_t n);
void table_done(struct table *t);
static inline bool entry_is_headless(const struct entry *e)
{
	return !e->external_name && e->cluster_ip.s_addr == INADDR_ANY;
}
/* The hostname label of an endpoint: its own, or the dashed address. */
const char *endpoint_label(const struct dns_endpoint *e, char buf[static INET_ADDRSTRLEN]);

/* ---- dns.c -------------------------------------------------------------------------------- */

struct dns {
	struct loop *loop;
	struct dns_config config;
	char *domain, *resolv_conf;
	struct table table;
	int fd; /* UDP */
	struct io *io;
	struct timer *retry; /* the address was taken */
	uint64_t retry_us;
	struct dns_tcp *tcp;
	struct upstream *upstream;
	uint64_t queries, answered, forwarded, failed;
};

/* Who asked. conn is NULL for UDP; a TCP connection is referenced until the answer. */
struct asker {
	struct sockaddr_in addr;
	struct dns_conn *conn;
};
/* Takes one message; answers now or later. The asker's reference is used up. */
void dns_handle(struct dns *d, const uint8_t *msg, size_t len, struct asker asker);
/* Sends an answer and drops the reference. */
void dns_reply(struct dns *d, struct asker *asker, const uint8_t *msg, size_t len);
/* The most a reply to this asker may hold. */
size_t dns_reply_max(const struct asker *asker, const struct dns_query *q);

/* ---- answer.c ----------------------------------------------------------------------------- */

enum verdict {
	VERDICT_DONE,	 /* written: the rcode is in *rcode */
	VERDICT_FORWARD, /* not ours */
	VERDICT_CHASE,	 /* a CNAME was written whose target is not ours: *target */
};
enum verdict dns_answer(struct dns *d, const struct dns_query *q, struct dns_writer *w, int *rcode,
			const char **target);

/* ---- tcp.c -------------------------------------------------------------------------------- */

struct dns_tcp *dns_tcp_new(struct dns *d, struct err *err);
void dns_tcp_free(struct dns_tcp *t);
struct dns_conn *dns_conn_ref(struct dns_conn *c);
void dns_conn_unref(struct dns_conn *c);
void dns_conn_send(struct dns_conn *c, const uint8_t *msg, size_t len);

/* ---- upstream.c --------------------------------------------------------------------------- */

struct upstream *upstream_new(struct dns *d);
void upstream_free(struct upstream *u);
/* Passes the query on and the answer back; SERVFAIL when nobody answers. Uses the asker up. */
void upstream_forward(struct upstream *u, const uint8_t *msg, size_t len, const struct dns_query *q,
		      struct asker asker);
/* Looks the addresses of target up and completes an answer that holds its CNAME already. */
void upstream_chase(struct upstream *u, const uint8_t *msg, const struct dns_query *q,
		    const char *target, struct asker asker);
size_t upstream_outstanding(const struct upstream *u);

#endif
