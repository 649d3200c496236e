/* SPDX-License-Identifier: Apache-2.0 */
/* Semantic versions (semver.org 2.0.0). Comparing is in quantity.c's table: same names. */
#include "internal.h"

#include <ctype.h>

typedef struct cel_value val;

struct semver {
	uint64_t part[3];
	const char *pre; /* "" none */
};

static bool read_number(const char **s, bool zeros, uint64_t *ret)
{
	const char *start = *s;

	*ret = 0;
	for (; isdigit((unsigned char)**s); ++*s) {
		if (*ret > (UINT64_MAX - 9) / 10)
			return false;
		*ret = *ret * 10 + (uint64_t)(**s - '0');
	}
	return *s > start && (zeros || *start != '0' || *s == start + 1);
}

/* Identifiers with dots between; numbers of a pre-release have no leading zeros. */
static bool are_identifiers(const char *s, size_t n, bool pre)
{
	size_t start = 0;

	for (size_t i = 0; i <= n; i++) {
		if (i < n && s[i] != '.') {
			if (!isalnum((unsigned char)s[i]) && s[i] != '-')
				return false;
			continue;
		}
		if (i == start)
			return false;
		if (pre && s[start] == '0' && i > start + 1 &&
		    strspn(s + start, "0123456789") >= i - start)
			return false;
		start = i + 1;
	}
	return true;
}

/* loose: "v1.2" counts as 1.2.0, and leading zeros are taken off. */
static bool parse(struct arena *a, const char *s, bool loose, struct semver *v)
{
	size_t n;

	*v = (struct semver){.pre = ""};
	if (loose)
		s += *s == 'v';
	for (int i = 0; i < 3; i++) {
		if (i && *s == '.')
			s++;
		else if (i && loose)
			break;
		else if (i)
			return false;
		if (!read_number(&s, loose, &v->part[i]))
			return false;
	}
	if (*s == '-') {
		n = strcspn(++s, "+");
		if (!are_identifiers(s, n, true))
			return false;
		v->pre = arena_text(a, s, n);
		s += n;
	}
	return !*s || (*s == '+' && are_identifiers(s + 1, strlen(s + 1), false));
}

static int compare_identifiers(const char *a, const char *b)
{
	if (!*a || !*b)
		return !!*b - !!*a; /* none is later than any */
	for (;;) {
		size_t n = strcspn(a, "."), m = strcspn(b, ".");
		bool num_a = strspn(a, "0123456789") >= n, num_b = strspn(b, "0123456789") >= m;
		int cmp;

		if (num_a != num_b)
			return num_a ? -1 : 1;
		if (num_a && n != m)
			return n < m ? -1 : 1;
		cmp = memcmp(a, b, n < m ? n : m);
		if (cmp || n != m)
			return cmp ? (cmp < 0 ? -1 : 1) : n < m ? -1 : 1;
		a += n;
		b += m;
		if (!*a || !*b)
			return !!*a - !!*b;
		a++;
		b++;
	}
}

int semver_compare(const void *pa, const void *pb)
{
	const struct semver *a = pa, *b = pb;

	for (int i = 0; i < 3; i++)
		if (a->part[i] != b->part[i])
			return a->part[i] < b->part[i] ? -1 : 1;
	return compare_identifiers(a->pre, b->pre);
}

static val fn_semver(struct cel_run *r, const val *a, size_t n)
{
	struct semver *v = run_take(r, sizeof(*v));

	if (!v)
		return run_over(r);
	if (!parse(&r->arena, val_cstr(r, *a), n == 2 && a[1].b, v))
		return cel_error(r, "invalid semantic version \"%s\"", val_cstr(r, *a));
	return val_ptr(CEL_SEMVER, v);
}

static val fn_is_semver(struct cel_run *r, const val *a, size_t n)
{
	struct semver v;

	return val_bool(parse(&r->arena, val_cstr(r, *a), n == 2 && a[1].b, &v));
}

static val part(const val *a, int i)
{
	return val_int((int64_t)((const struct semver *)a->ptr)->part[i]);
}

static val fn_major(struct cel_run *r UNUSED, const val *a, size_t n UNUSED)
{
	return part(a, 0);
}

static val fn_minor(struct cel_run *r UNUSED, const val *a, size_t n UNUSED)
{
	return part(a, 1);
}

static val fn_patch(struct cel_run *r UNUSED, const val *a, size_t n UNUSED)
{
	return part(a, 2);
}

static const struct function table[] = {
	{"semver", "V:s", fn_semver, false},	  {"semver", "V:sb", fn_semver, false},
	{"isSemver", "b:s", fn_is_semver, false}, {"isSemver", "b:sb", fn_is_semver, false},
	{"major", "i:V", fn_major, true},	  {"minor", "i:V", fn_minor, true},
	{"patch", "i:V", fn_patch, true},
};
const struct functions semver_functions = {table, ARRAY_SIZE(table)};
