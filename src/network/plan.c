/* SPDX-License-Identifier: Apache-2.0 */
/* The address plan: a bitmap, searched from behind the last address given. */
#include "internal.h"
#include <arpa/inet.h>

static bool is_taken(const struct plan *p, uint32_t n)
{
	return p->taken[n / 8] & (1u << (n % 8));
}

static void mark(struct plan *p, uint32_t n, bool taken)
{
	if (taken)
		p->taken[n / 8] |= (uint8_t)(1u << (n % 8));
	else
		p->taken[n / 8] &= (uint8_t) ~(1u << (n % 8));
}

void plan_init(struct plan *p, const struct cidr *net)
{
	*p = (struct plan){.net = *net, .size = UINT32_C(1) << (32 - net->prefix), .next = 2};
	p->taken = xcalloc((p->size + 7) / 8, 1);
	mark(p, 0, true);	    /* the network */
	mark(p, 1, true);	    /* the bridge */
	mark(p, p->size - 1, true); /* broadcast */
}

void plan_done(struct plan *p)
{
	free(p->taken);
	*p = (struct plan){0};
}

struct in_addr plan_address(const struct plan *p, uint32_t n)
{
	return (struct in_addr){htonl(ntohl(p->net.addr.s_addr) + n)};
}

int plan_take(struct plan *p, struct in_addr *ret)
{
	for (uint32_t i = 0; i < p->size; i++) {
		uint32_t n = (p->next + i) % p->size;

		if (is_taken(p, n))
			continue;
		mark(p, n, true);
		p->next = n + 1;
		*ret = plan_address(p, n);
		return 0;
	}
	return -ENOSPC;
}

/* The place of a in the plan, or 0 (never free) when it is outside. */
static uint32_t place(const struct plan *p, struct in_addr a)
{
	return cidr_contains(&p->net, a) ? ntohl(a.s_addr) - ntohl(p->net.addr.s_addr) : 0;
}

int plan_claim(struct plan *p, struct in_addr a)
{
	uint32_t n = place(p, a);

	if (is_taken(p, n))
		return -EEXIST;
	mark(p, n, true);
	return 0;
}

void plan_release(struct plan *p, struct in_addr a)
{
	uint32_t n = place(p, a);

	if (n > 1 && n < p->size - 1)
		mark(p, n, false);
}
