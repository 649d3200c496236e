/* SPDX-License-Identifier: Apache-2.0 */
/*
 * DNS messages (RFC 1035, EDNS0: RFC 6891): a parser of queries and a writer of answers. Pure:
 * bytes in, values out; every read is bounded and errors stick.
 */
#ifndef CORACLE_DNS_WIRE_H
#define CORACLE_DNS_WIRE_H

#include <coracle/base.h>
#include <netinet/in.h>

enum {
	DNS_NAME_MAX = 256,  /* dotted text with NUL */
	DNS_UDP_MAX = 512,   /* without EDNS */
	DNS_EDNS_MAX = 1232, /* what we send at most in one datagram (DNS flag day 2020) */
	DNS_TCP_MAX = 65535,
};
enum {
	DNS_TYPE_A = 1,
	DNS_TYPE_NS = 2,
	DNS_TYPE_CNAME = 5,
	DNS_TYPE_SOA = 6,
	DNS_TYPE_PTR = 12,
	DNS_TYPE_TXT = 16,
	DNS_TYPE_AAAA = 28,
	DNS_TYPE_SRV = 33,
	DNS_TYPE_OPT = 41,
	DNS_TYPE_ANY = 255
};
enum { DNS_CLASS_IN = 1 };
enum {
	DNS_RCODE_OK = 0,
	DNS_RCODE_FORMERR = 1,
	DNS_RCODE_SERVFAIL = 2,
	DNS_RCODE_NXDOMAIN = 3,
	DNS_RCODE_NOTIMP = 4,
	DNS_RCODE_REFUSED = 5
};

struct dns_query {
	uint16_t id, flags;
	char name[DNS_NAME_MAX]; /* lower case, no trailing dot; "" is the root */
	uint16_t type, class;
	size_t question_len; /* of the question behind the 12 byte header */
	bool edns;
	uint16_t udp_size; /* what the client takes in one datagram */
};
/* 0; -EBADMSG: answer FORMERR; -ENOTSUP: answer NOTIMP; -EINVAL: not a query, drop. id and flags
 * are set except for -EINVAL. */
int dns_parse_query(const uint8_t *msg, size_t len, struct dns_query *ret) MUST_CHECK;

/* An answer while it is written. Sections must come in order: answer, authority, additional. */
struct dns_writer {
	uint8_t *buf;
	size_t cap, len;
	bool truncated; /* a record did not fit; it and later ones are left out */
	uint16_t counts[4];
};
enum dns_section { DNS_ANSWER = 1, DNS_AUTHORITY = 2, DNS_ADDITIONAL = 3 };
/* query: the client's message, for id and question. */
void dns_write_start(struct dns_writer *w, uint8_t *buf, size_t cap, const uint8_t *query,
		     const struct dns_query *q);
/* name NULL: the question's (compressed). */
void dns_write_a(struct dns_writer *w, enum dns_section s, const char *name, uint32_t ttl,
		 struct in_addr a);
/* CNAME and PTR. */
void dns_write_name(struct dns_writer *w, enum dns_section s, const char *name, uint16_t type,
		    uint32_t ttl, const char *target);
void dns_write_srv(struct dns_writer *w, enum dns_section s, const char *name, uint32_t ttl,
		   uint16_t weight, uint16_t port, const char *target);
void dns_write_txt(struct dns_writer *w, enum dns_section s, const char *name, uint32_t ttl,
		   const char *text);
void dns_write_soa(struct dns_writer *w, const char *zone, uint32_t ttl);
/* Fills in the header and the OPT record; returns the length of the message. */
size_t dns_write_end(struct dns_writer *w, const struct dns_query *q, int rcode,
		     bool authoritative);
/* An error answer without records for a query that may not even have parsed; buf holds len of query
 * at least. Returns the length. */
size_t dns_write_error(uint8_t *buf, const uint8_t *query, size_t len, const struct dns_query *q,
		       int rcode);
/* Cuts a foreign answer to its question and sets TC when it is longer than max. Returns the length.
 */
size_t dns_truncate(uint8_t *msg, size_t len, size_t max);

#endif
