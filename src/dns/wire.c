/* SPDX-License-Identifier: Apache-2.0 */
/* DNS wire format. */
#include "wire.h"
#include <ctype.h>

enum {
	HEADER = 12,
	FLAG_QR = 0x8000,
	FLAG_AA = 0x0400,
	FLAG_TC = 0x0200,
	FLAG_RD = 0x0100,
	FLAG_RA = 0x0080,
	FLAG_CD = 0x0010,
	OPCODE = 0x7800,
	OPT_SIZE = 11,
	LABEL_MAX = 63,
	WIRE_NAME_MAX = 255,
};

/* ---- reading: a cursor whose error sticks ------------------------------------------------- */

struct cursor {
	const uint8_t *msg;
	size_t len, at;
	bool bad;
};

static uint16_t get16(struct cursor *c)
{
	if (c->bad || c->at + 2 > c->len) {
		c->bad = true;
		return 0;
	}
	c->at += 2;
	return (uint16_t)(c->msg[c->at - 2] << 8 | c->msg[c->at - 1]);
}

static void skip(struct cursor *c, size_t n)
{
	if (c->bad || n > c->len - c->at)
		c->bad = true;
	else
		c->at += n;
}

/* A name without compression (a query has nothing to point to), lower-cased into text. Bytes that a
 * dotted text cannot hold make it a name that nobody has, which is all we need to know. */
static void get_name(struct cursor *c, char text[static DNS_NAME_MAX])
{
	size_t out = 0;

	while (!c->bad) {
		uint8_t n = c->at < c->len ? c->msg[c->at++] : 0xff;

		if (n == 0)
			break;
		if (n > LABEL_MAX || c->at + n > c->len || out + n + 1 >= DNS_NAME_MAX) {
			c->bad = true;
			break;
		}
		if (out)
			text[out++] = '.';
		for (uint8_t i = 0; i < n; i++) {
			uint8_t b = c->msg[c->at++];

			text[out++] = (char)(b == '.' || b == 0 ? 0x01 : tolower(b));
		}
	}
	text[out] = '\0';
}

/* Over a name that may be compressed (records of the additional section). */
static void skip_name(struct cursor *c)
{
	while (!c->bad) {
		uint8_t n = c->at < c->len ? c->msg[c->at++] : 0x40;

		if (n == 0)
			return;
		if ((n & 0xc0) == 0xc0) {
			skip(c, 1);
			return;
		}
		if (n > LABEL_MAX)
			c->bad = true;
		skip(c, n);
	}
}

/* Looks for OPT among the records behind the question. */
static void get_records(struct cursor *c, unsigned count, struct dns_query *q)
{
	while (count-- && !c->bad) {
		uint16_t type, class, rdlen;

		skip_name(c);
		type = get16(c);
		class = get16(c);
		skip(c, 4);
		rdlen = get16(c);
		skip(c, rdlen);
		if (type == DNS_TYPE_OPT && !c->bad) {
			q->edns = true;
			q->udp_size = class < DNS_UDP_MAX ? DNS_UDP_MAX : class;
		}
	}
}

int dns_parse_query(const uint8_t *msg, size_t len, struct dns_query *ret)
{
	struct cursor c = {.msg = msg, .len = len};
	uint16_t questions, answers, authorities, additionals;

	*ret = (struct dns_query){.udp_size = DNS_UDP_MAX};
	if (len < HEADER)
		return -EINVAL;
	ret->id = get16(&c);
	ret->flags = get16(&c);
	if (ret->flags & FLAG_QR)
		return -EINVAL;
	questions = get16(&c);
	answers = get16(&c);
	authorities = get16(&c);
	additionals = get16(&c);
	if (ret->flags & OPCODE)
		return -ENOTSUP;
	if (questions != 1)
		return -EBADMSG;
	get_name(&c, ret->name);
	ret->type = get16(&c);
	ret->class = get16(&c);
	ret->question_len = c.at - HEADER;
	get_records(&c, (unsigned)answers + authorities + additionals, ret);
	return c.bad ? -EBADMSG : 0;
}

/* ---- writing ------------------------------------------------------------------------------ */

static void put(struct dns_writer *w, const void *data, size_t n)
{
	if (w->truncated || n > w->cap - w->len) {
		w->truncated = true;
		return;
	}
	memcpy(w->buf + w->len, data, n);
	w->len += n;
}

static void put16(struct dns_writer *w, uint16_t v)
{
	const uint8_t b[2] = {(uint8_t)(v >> 8), (uint8_t)v};

	put(w, b, sizeof(b));
}

static void put32(struct dns_writer *w, uint32_t v)
{
	put16(w, (uint16_t)(v >> 16));
	put16(w, (uint16_t)v);
}

static void store16(uint8_t *p, uint16_t v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

/* Dotted text as labels. A name that no message can hold (it came from configuration) cuts the
 * record off. */
static void put_name(struct dns_writer *w, const char *name)
{
	if (strlen(name) > WIRE_NAME_MAX - 2)
		w->truncated = true;
	while (*name) {
		size_t n = strcspn(name, ".");
		uint8_t len = (uint8_t)n;

		if (n > LABEL_MAX)
			w->truncated = true;
		if (n) {
			put(w, &len, 1);
			put(w, name, n);
		}
		name += n;
		name += *name == '.';
	}
	put(w, "", 1);
}

static void put_owner(struct dns_writer *w, const char *name)
{
	if (name)
		put_name(w, name);
	else
		put16(w, 0xc000 | HEADER); /* pointer to the question */
}

/* A record is written whole or not at all: begin gives the place to fall back to. */
struct record {
	size_t start, rdata;
	enum dns_section section;
};

static struct record begin(struct dns_writer *w, enum dns_section s, const char *name,
			   uint16_t type, uint32_t ttl)
{
	struct record r = {.start = w->len, .section = s};

	put_owner(w, name);
	put16(w, type);
	put16(w, DNS_CLASS_IN);
	put32(w, ttl);
	put16(w, 0);
	r.rdata = w->len;
	return r;
}

static void finish(struct dns_writer *w, const struct record *r)
{
	if (w->truncated) {
		w->len = r->start;
		return;
	}
	store16(w->buf + r->rdata - 2, (uint16_t)(w->len - r->rdata));
	w->counts[r->section]++;
}

void dns_write_start(struct dns_writer *w, uint8_t *buf, size_t cap, const uint8_t *query,
		     const struct dns_query *q)
{
	*w = (struct dns_writer){.buf = buf, .cap = cap - (q->edns ? OPT_SIZE : 0)};
	put(w, query, HEADER + q->question_len);
	w->counts[0] = 1;
}

void dns_write_a(struct dns_writer *w, enum dns_section s, const char *name, uint32_t ttl,
		 struct in_addr a)
{
	struct record r = begin(w, s, name, DNS_TYPE_A, ttl);

	put(w, &a, sizeof(a));
	finish(w, &r);
}

void dns_write_name(struct dns_writer *w, enum dns_section s, const char *name, uint16_t type,
		    uint32_t ttl, const char *target)
{
	struct record r = begin(w, s, name, type, ttl);

	put_name(w, target);
	finish(w, &r);
}

void dns_write_srv(struct dns_writer *w, enum dns_section s, const char *name, uint32_t ttl,
		   uint16_t weight, uint16_t port, const char *target)
{
	struct record r = begin(w, s, name, DNS_TYPE_SRV, ttl);

	put16(w, 0); /* priority */
	put16(w, weight);
	put16(w, port);
	put_name(w, target);
	finish(w, &r);
}

void dns_write_txt(struct dns_writer *w, enum dns_section s, const char *name, uint32_t ttl,
		   const char *text)
{
	struct record r = begin(w, s, name, DNS_TYPE_TXT, ttl);
	uint8_t n = (uint8_t)strnlen(text, 255);

	put(w, &n, 1);
	put(w, text, n);
	finish(w, &r);
}

void dns_write_soa(struct dns_writer *w, const char *zone, uint32_t ttl)
{
	auto_free char *mname = xasprintf("ns.dns.%s", zone),
		       *rname = xasprintf("hostmaster.%s", zone);
	struct record r = begin(w, DNS_AUTHORITY, zone, DNS_TYPE_SOA, ttl);

	put_name(w, mname);
	put_name(w, rname);
	put32(w, 1);	 /* serial: there are no zone transfers */
	put32(w, 7200);	 /* refresh */
	put32(w, 1800);	 /* retry */
	put32(w, 86400); /* expire */
	put32(w, ttl);	 /* negative answers */
	finish(w, &r);
}

static void put_opt(struct dns_writer *w)
{
	static const uint8_t opt[OPT_SIZE] = {0, 0, DNS_TYPE_OPT, DNS_EDNS_MAX >> 8,
					      DNS_EDNS_MAX & 0xff};

	memcpy(w->buf + w->len, opt, sizeof(opt));
	w->len += sizeof(opt);
	w->counts[DNS_ADDITIONAL]++;
}

size_t dns_write_end(struct dns_writer *w, const struct dns_query *q, int rcode, bool authoritative)
{
	if (q->edns)
		put_opt(w); /* its room was kept */
	store16(w->buf + 2,
		(uint16_t)(FLAG_QR | FLAG_RA | (q->flags & (FLAG_RD | FLAG_CD)) |
			   (authoritative ? FLAG_AA : 0) | (w->truncated ? FLAG_TC : 0) | rcode));
	for (int i = 0; i < 4; i++)
		store16(w->buf + 4 + 2 * i, w->counts[i]);
	return w->len;
}

size_t dns_write_error(uint8_t *buf, const uint8_t *query, size_t len, const struct dns_query *q,
		       int rcode)
{
	size_t n = HEADER + q->question_len;

	if (n > len || !q->question_len)
		n = HEADER;
	memcpy(buf, query, n);
	store16(buf + 2, (uint16_t)(FLAG_QR | FLAG_RA | (q->flags & (OPCODE | FLAG_RD)) | rcode));
	store16(buf + 4, n > HEADER);
	memset(buf + 6, 0, 6);
	return n;
}

size_t dns_truncate(uint8_t *msg, size_t len, size_t max)
{
	struct cursor c = {.msg = msg, .len = len, .at = HEADER};

	if (len <= max || len < HEADER)
		return len;
	skip_name(&c);
	skip(&c, 4);
	if (c.bad || c.at > max)
		c.at = HEADER;
	msg[2] |= FLAG_TC >> 8;
	store16(msg + 4, c.at > HEADER);
	memset(msg + 6, 0, 6);
	return c.at;
}
