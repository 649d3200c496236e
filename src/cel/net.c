/* SPDX-License-Identifier: Apache-2.0 */
/* Addresses and blocks of them. IPv4 in IPv6 and zones are refused, as Kubernetes does. */
#include "internal.h"

#include <arpa/inet.h>

typedef struct cel_value val;

struct net {
	int family; /* 4 or 6 */
	unsigned char ip[16];
	int prefix; /* of a block */
};

static bool parse_ip(const char *s, struct net *net)
{
	static const unsigned char mapped[12] = {[10] = 0xff, [11] = 0xff};

	*net = (struct net){0};
	if (inet_pton(AF_INET, s, net->ip) == 1) {
		net->family = 4;
		net->prefix = 32;
		return true;
	}
	if (inet_pton(AF_INET6, s, net->ip) != 1 || memcmp(net->ip, mapped, 12) == 0)
		return false;
	net->family = 6;
	net->prefix = 128;
	return true;
}

static bool parse_cidr(const char *s, struct net *net)
{
	const char *slash = strchr(s, '/');
	int64_t bits;

	if (!slash || slash - s > 63)
		return false;
	auto_free char *ip = xstrndup(s, (size_t)(slash - s));

	if (!parse_ip(ip, net) || (slash[1] == '0' && slash[2]) || slash[1] == '+' ||
	    str_to_i64(slash + 1, 0, net->prefix, &bits) < 0)
		return false;
	net->prefix = (int)bits;
	return true;
}

static void format_ip(const struct net *net, char buf[static INET6_ADDRSTRLEN])
{
	inet_ntop(net->family == 4 ? AF_INET : AF_INET6, net->ip, buf, INET6_ADDRSTRLEN);
}

static val make(struct cel_run *r, enum cel_kind kind, const struct net *net)
{
	struct net *p = run_take(r, sizeof(*p));

	if (!p)
		return run_over(r);
	*p = *net;
	return val_ptr(kind, p);
}

int net_compare(const val *a, const val *b)
{
	const struct net *x = a->ptr, *y = b->ptr;

	if (x->family != y->family)
		return x->family - y->family;
	return x->prefix != y->prefix ? x->prefix - y->prefix : memcmp(x->ip, y->ip, 16);
}

static const struct net *net_of(const val *v)
{
	return v->ptr;
}

static bool bit(const struct net *net, int i)
{
	return net->ip[i / 8] >> (7 - i % 8) & 1;
}

static bool block_has(const struct net *block, const struct net *ip)
{
	if (block->family != ip->family)
		return false;
	for (int i = 0; i < block->prefix; i++)
		if (bit(block, i) != bit(ip, i))
			return false;
	return true;
}

/* ---- addresses -------------------------------------------------------------------------- */

static val fn_ip(struct cel_run *r, const val *a, size_t n UNUSED)
{
	struct net net;
	const char *s = val_cstr(r, *a);

	if (!parse_ip(s, &net))
		return cel_error(r, "IP Address \"%s\" parse error during conversion from string",
				 s);
	return make(r, CEL_IP, &net);
}

static val fn_is_ip(struct cel_run *r, const val *a, size_t n UNUSED)
{
	struct net net;

	return val_bool(parse_ip(val_cstr(r, *a), &net));
}

static val fn_is_canonical(struct cel_run *r, const val *a, size_t n UNUSED)
{
	char buf[INET6_ADDRSTRLEN];
	const char *s = val_cstr(r, *a);
	struct net net;

	if (!parse_ip(s, &net))
		return cel_error(r, "IP Address \"%s\" parse error during conversion from string",
				 s);
	format_ip(&net, buf);
	return val_bool(streq(buf, s));
}

static val fn_string(struct cel_run *r, const val *a, size_t n UNUSED)
{
	char buf[INET6_ADDRSTRLEN + 8];

	format_ip(a->ptr, buf);
	if (a->kind == CEL_CIDR)
		snprintf(buf + strlen(buf), 8, "/%d", net_of(a)->prefix);
	return val_copy(r, buf, strlen(buf));
}

static val fn_family(struct cel_run *r UNUSED, const val *a, size_t n UNUSED)
{
	return val_int(net_of(a)->family);
}

static bool is_in(const struct net *ip, const char *v4, const char *v6)
{
	struct net block;

	return parse_cidr(ip->family == 4 ? v4 : v6, &block) && block_has(&block, ip);
}

static bool is_unspecified(const struct net *ip)
{
	return is_in(ip, "0.0.0.0/32", "::/128");
}

static bool is_loopback(const struct net *ip)
{
	return is_in(ip, "127.0.0.0/8", "::1/128");
}

static bool is_link_local(const struct net *ip)
{
	return is_in(ip, "169.254.0.0/16", "fe80::/10");
}

static bool is_global(const struct net *ip)
{
	return !is_unspecified(ip) && !is_loopback(ip) && !is_link_local(ip) &&
	       !is_in(ip, "224.0.0.0/4", "ff00::/8") && !is_in(ip, "255.255.255.255/32", "::/128");
}

static val fn_is_unspecified(struct cel_run *r UNUSED, const val *a, size_t n UNUSED)
{
	return val_bool(is_unspecified(net_of(a)));
}

static val fn_is_loopback(struct cel_run *r UNUSED, const val *a, size_t n UNUSED)
{
	return val_bool(is_loopback(net_of(a)));
}

static val fn_is_link_local_multicast(struct cel_run *r UNUSED, const val *a, size_t n UNUSED)
{
	struct net ip = *net_of(a);

	/* whatever the flags of an IPv6 multicast address are */
	if (ip.family == 6)
		ip.ip[1] &= 0x0f;
	return val_bool(is_in(&ip, "224.0.0.0/24", "ff02::/16"));
}

static val fn_is_link_local_unicast(struct cel_run *r UNUSED, const val *a, size_t n UNUSED)
{
	return val_bool(is_link_local(net_of(a)));
}

static val fn_is_global_unicast(struct cel_run *r UNUSED, const val *a, size_t n UNUSED)
{
	return val_bool(is_global(net_of(a)));
}

/* ---- blocks ----------------------------------------------------------------------------- */

static val cidr_error(struct cel_run *r, const char *s)
{
	return cel_error(r, "network address parse error during conversion from string: %s", s);
}

static val fn_cidr(struct cel_run *r, const val *a, size_t n UNUSED)
{
	struct net net;
	const char *s = val_cstr(r, *a);

	return parse_cidr(s, &net) ? make(r, CEL_CIDR, &net) : cidr_error(r, s);
}

static val fn_is_cidr(struct cel_run *r, const val *a, size_t n UNUSED)
{
	struct net net;

	return val_bool(parse_cidr(val_cstr(r, *a), &net));
}

static val fn_contains_ip(struct cel_run *r, const val *a, size_t n)
{
	val ip = a[1].kind == CEL_STRING ? fn_ip(r, &a[1], n) : a[1];

	return ip.kind == CEL_IP ? val_bool(block_has(net_of(a), net_of(&ip))) : ip;
}

static val fn_contains_cidr(struct cel_run *r, const val *a, size_t n)
{
	val block = a[1].kind == CEL_STRING ? fn_cidr(r, &a[1], n) : a[1];

	if (block.kind != CEL_CIDR)
		return block;
	return val_bool(block_has(net_of(a), net_of(&block)) &&
			net_of(a)->prefix <= net_of(&block)->prefix);
}

static val fn_cidr_ip(struct cel_run *r, const val *a, size_t n UNUSED)
{
	struct net ip = *net_of(a);

	ip.prefix = ip.family == 4 ? 32 : 128;
	return make(r, CEL_IP, &ip);
}

static val fn_masked(struct cel_run *r, const val *a, size_t n UNUSED)
{
	struct net net = *net_of(a);

	for (int i = net.prefix; i < 128; i++)
		net.ip[i / 8] &= (unsigned char)~(0x80 >> i % 8);
	return make(r, CEL_CIDR, &net);
}

static val fn_prefix_length(struct cel_run *r UNUSED, const val *a, size_t n UNUSED)
{
	return val_int(net_of(a)->prefix);
}

static const struct function table[] = {
	{"ip", "I:s", fn_ip, false},
	{"isIP", "b:s", fn_is_ip, false},
	{"ip.isCanonical", "b:s", fn_is_canonical, false},
	{"string", "s:I", fn_string, false},
	{"string", "s:C", fn_string, false},
	{"family", "i:I", fn_family, true},
	{"isUnspecified", "b:I", fn_is_unspecified, true},
	{"isLoopback", "b:I", fn_is_loopback, true},
	{"isLinkLocalMulticast", "b:I", fn_is_link_local_multicast, true},
	{"isLinkLocalUnicast", "b:I", fn_is_link_local_unicast, true},
	{"isGlobalUnicast", "b:I", fn_is_global_unicast, true},
	{"cidr", "C:s", fn_cidr, false},
	{"isCIDR", "b:s", fn_is_cidr, false},
	{"containsIP", "b:CI", fn_contains_ip, true},
	{"containsIP", "b:Cs", fn_contains_ip, true},
	{"containsCIDR", "b:CC", fn_contains_cidr, true},
	{"containsCIDR", "b:Cs", fn_contains_cidr, true},
	{"ip", "I:C", fn_cidr_ip, true},
	{"masked", "C:C", fn_masked, true},
	{"prefixLength", "i:C", fn_prefix_length, true},
};
const struct functions net_functions = {table, ARRAY_SIZE(table)};
