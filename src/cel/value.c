/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Values: reading JSON as the type says, walking over lists and maps, comparing. JSON is never
 * copied: lists, maps and objects of it stay what they are, and their parts become values when
 * somebody looks at them.
 */
#include "internal.h"

#include <math.h>

/* ---- building --------------------------------------------------------------------------- */

struct cel_value val_list(const struct cel_value *v, size_t n)
{
	return (struct cel_value){.kind = CEL_LIST, .list = {v, n}};
}

struct cel_value val_copy(struct cel_run *r, const char *s, size_t n)
{
	char *copy = run_take(r, n + 1);

	if (!copy)
		return run_over(r);
	memcpy(copy, s, n);
	return val_strn(copy, n);
}

const char *val_cstr(struct cel_run *r, struct cel_value v)
{
	return arena_text(&r->arena, v.str.s, v.str.n);
}

const char *cel_text(struct cel_run *r, struct cel_value v)
{
	return v.kind == CEL_ERROR || v.kind == CEL_STRING ? val_cstr(r, v) : "";
}

void builder_add(struct builder *b, struct cel_value v)
{
	if (b->n == b->cap) {
		size_t cap = b->cap ? 2 * b->cap : 4;
		struct cel_value *grown = run_take(b->r, cap * sizeof(v));

		if (!grown)
			return;
		if (b->n)
			memcpy(grown, b->v, b->n * sizeof(v));
		b->v = grown;
		b->cap = cap;
	}
	b->v[b->n++] = v;
}

struct cel_value cel_optional(struct cel_run *r, const struct cel_value *v)
{
	struct cel_value *copy = NULL;

	if (v) {
		copy = run_take(r, sizeof(*copy));
		if (!copy)
			return run_over(r);
		*copy = *v;
	}
	return val_ptr(CEL_OPTIONAL, copy);
}

struct cel_value cel_lazy_value(const struct cel_lazy *o)
{
	return val_ptr(CEL_OBJECT, o);
}

struct cel_value no_key(struct cel_run *r, struct cel_value key)
{
	struct cel_value text = to_string(r, key);

	if (text.kind != CEL_STRING)
		return no_overload(r);
	return cel_error(r, "no such key: %.*s", (int)text.str.n, text.str.s);
}

/* ---- JSON ------------------------------------------------------------------------------- */

static struct cel_value json_ref(enum cel_kind kind, const json_t *v, const struct cel_type *type)
{
	return (struct cel_value){.kind = (uint8_t)kind, .is_json = true, .ref = {v, type}};
}

static struct cel_value string_of(struct cel_run *r, const json_t *v, const struct cel_type *type)
{
	const char *s = json_string_value(v);
	size_t n = json_string_length(v);
	unsigned char *data;

	switch ((enum cel_kind)type->kind) {
	case CEL_TIMESTAMP:
		return time_from_text(r, s, n);
	case CEL_DURATION:
		return duration_from_text(r, s, n);
	case CEL_BYTES:
		if (base64_decode(s, n, &data, &n) < 0)
			return cel_error(r, "invalid base64 data");
		struct cel_value copy = val_copy(r, (char *)data, n);

		free(data);
		if (copy.kind == CEL_STRING)
			copy.kind = CEL_BYTES;
		return copy;
	default:
		return val_strn(s, n);
	}
}

struct cel_value cel_from_json(struct cel_run *r, const json_t *v, const struct cel_type *type)
{
	if (!type)
		type = type_dyn;
	switch (v ? json_typeof(v) : JSON_NULL) {
	case JSON_OBJECT:
		if (type->kind == CEL_OBJECT)
			return json_ref(CEL_OBJECT, v, type);
		return json_ref(CEL_MAP, v, type->kind == CEL_MAP ? type : cel_type_of(CEL_MAP));
	case JSON_ARRAY:
		return json_ref(CEL_LIST, v, type->kind == CEL_LIST ? type : cel_type_of(CEL_LIST));
	case JSON_STRING:
		return string_of(r, v, type);
	case JSON_INTEGER:
		if (type->kind == CEL_DOUBLE)
			return val_double((double)json_integer_value(v));
		return type->kind == CEL_UINT ? val_uint((uint64_t)json_integer_value(v))
					      : val_int(json_integer_value(v));
	case JSON_REAL:
		if (type->kind == CEL_INT && fabs(json_real_value(v)) < 9e18)
			return val_int((int64_t)json_real_value(v));
		return val_double(json_real_value(v));
	case JSON_TRUE:
	case JSON_FALSE:
		return val_bool(json_is_true(v));
	case JSON_NULL:
		break;
	}
	return val_null();
}

/* ---- lists and maps --------------------------------------------------------------------- */

size_t val_size(const struct cel_value *v)
{
	switch ((enum cel_kind)v->kind) {
	case CEL_STRING:
		return utf8_count(v->str.s, v->str.n);
	case CEL_BYTES:
		return v->str.n;
	case CEL_LIST:
		return v->is_json ? json_array_size(v->ref.json) : v->list.n;
	case CEL_MAP:
	case CEL_OBJECT:
		return v->is_json ? json_object_size(v->ref.json) : v->list.n;
	default:
		return 0;
	}
}

struct cel_value list_at(struct cel_run *r, const struct cel_value *list, size_t i)
{
	if (list->is_json)
		return cel_from_json(r, json_array_get(list->ref.json, i), list->ref.type->elem);
	return list->list.v[i];
}

bool map_find(struct cel_run *r, const struct cel_value *map, struct cel_value key,
	      struct cel_value *ret)
{
	if (map->is_json) {
		json_t *v = key.kind == CEL_STRING
				    ? json_object_getn(map->ref.json, key.str.s, key.str.n)
				    : NULL;

		if (v)
			*ret = cel_from_json(r, v, map->ref.type->elem);
		return v != NULL;
	}
	if (run_charge(r, map->list.n / 8))
		return false;
	/* the last of equal keys counts */
	for (size_t i = map->list.n; i-- > 0;) {
		if (!val_equal(r, &map->list.v[2 * i], &key))
			continue;
		*ret = map->list.v[2 * i + 1];
		return true;
	}
	return false;
}

bool member_find(struct cel_run *r, const struct cel_value *v, const char *name,
		 struct cel_value *ret)
{
	const struct cel_type *t;
	const struct cel_lazy *lazy;
	json_t *found;

	if (v->kind == CEL_MAP)
		return map_find(r, v, val_str(name), ret);
	if (v->kind == CEL_AUTHORIZER && streq(name, "requestResource")) {
		*ret = authorizer_request(r, v);
		return true;
	}
	if (v->kind != CEL_OBJECT)
		return false;
	if (!v->is_json) {
		lazy = v->ptr;
		if (!lazy->type->member(lazy->type, name))
			return false;
		*ret = lazy->get(r, lazy, name);
		return ret->kind != CEL_NULL;
	}
	found = json_object_get(v->ref.json, name);
	t = found ? v->ref.type->member(v->ref.type, name) : NULL;
	if (t)
		*ret = cel_from_json(r, found, t);
	return t != NULL;
}

struct cel_value map_keys(struct cel_run *r, const struct cel_value *map)
{
	struct builder b = {.r = r};
	const char *key;
	json_t *v;

	if (map->is_json) {
		json_object_foreach((json_t *)(uintptr_t)map->ref.json, key, v)
			builder_add(&b, val_str(key));
	} else {
		for (size_t i = 0; i < map->list.n; i++)
			builder_add(&b, map->list.v[2 * i]);
	}
	return val_list(b.v, b.n);
}

/* ---- equality --------------------------------------------------------------------------- */

static bool has_equal(struct cel_run *r, const struct cel_value *list, const struct cel_value *item)
{
	for (size_t i = 0; i < val_size(list); i++) {
		struct cel_value v = list_at(r, list, i);

		if (run_charge(r, 1))
			return false;
		if (val_equal(r, &v, item))
			return true;
	}
	return false;
}

/* The item of a list of objects that has the same keys. */
static bool find_by_keys(struct cel_run *r, const struct cel_value *list,
			 const struct cel_value *item, struct cel_value *ret)
{
	const struct cel_type *t = list->ref.type;

	for (size_t i = 0; i < val_size(list); i++) {
		const json_t *a = json_array_get(list->ref.json, i);
		size_t same = 0;

		if (run_charge(r, 1))
			return false;
		while (same < t->n_list_keys) {
			json_t *x = json_object_get(a, t->list_keys[same]);
			json_t *y = json_object_get(item->ref.json, t->list_keys[same]);

			if (x != y && !json_equal(x, y))
				break;
			same++;
		}
		if (same < t->n_list_keys)
			continue;
		*ret = list_at(r, list, i);
		return true;
	}
	return false;
}

static bool equal_lists(struct cel_run *r, const struct cel_value *a, const struct cel_value *b)
{
	size_t n = val_size(a);
	int how = a->is_json && b->is_json ? a->ref.type->list_type : CEL_LIST_ATOMIC;

	if (val_size(b) != n)
		return false;
	for (size_t i = 0; i < n; i++) {
		struct cel_value x = list_at(r, a, i), y;

		if (run_charge(r, 1))
			return false;
		if (how == CEL_LIST_SET) {
			if (!has_equal(r, b, &x))
				return false;
			continue;
		}
		if (how == CEL_LIST_MAP && x.is_json) {
			if (!find_by_keys(r, b, &x, &y))
				return false;
		} else {
			y = list_at(r, b, i);
		}
		if (!val_equal(r, &x, &y))
			return false;
	}
	return true;
}

static bool equal_maps(struct cel_run *r, const struct cel_value *a, const struct cel_value *b)
{
	struct cel_value keys = map_keys(r, a);
	size_t n = val_size(&keys);

	if (val_size(b) != n)
		return false;
	for (size_t i = 0; i < n; i++) {
		struct cel_value key = list_at(r, &keys, i), x = {0}, y = {0};
		const char *name = a->kind == CEL_OBJECT ? val_cstr(r, key) : NULL;
		bool in_a = name ? member_find(r, a, name, &x) : map_find(r, a, key, &x);
		bool in_b = name ? member_find(r, b, name, &y) : map_find(r, b, key, &y);

		if (run_charge(r, 1) || in_a != in_b || (in_a && !val_equal(r, &x, &y)))
			return false;
	}
	return true;
}

static bool is_number(const struct cel_value *v)
{
	return v->kind == CEL_INT || v->kind == CEL_UINT || v->kind == CEL_DOUBLE;
}

static bool equal_optionals(struct cel_run *r, const struct cel_value *a, const struct cel_value *b)
{
	const struct cel_value *x = optional_get(a), *y = optional_get(b);

	return x && y ? val_equal(r, x, y) : x == y;
}

static bool equal_bytes(struct cel_run *r, const struct cel_value *a, const struct cel_value *b)
{
	return a->str.n == b->str.n && !run_charge(r, a->str.n / 10) &&
	       (a->str.n == 0 || memcmp(a->str.s, b->str.s, a->str.n) == 0);
}

bool val_equal(struct cel_run *r, const struct cel_value *a, const struct cel_value *b)
{
	if (is_number(a) && is_number(b))
		return val_compare(a, b) == 0;
	if (a->kind != b->kind)
		return false;
	switch ((enum cel_kind)a->kind) {
	case CEL_BOOL:
		return a->b == b->b;
	case CEL_STRING:
	case CEL_BYTES:
		return equal_bytes(r, a, b);
	case CEL_LIST:
		return equal_lists(r, a, b);
	case CEL_MAP:
		return equal_maps(r, a, b);
	case CEL_OBJECT:
		return a->is_json && b->is_json ? equal_maps(r, a, b) : a->ptr == b->ptr;
	case CEL_TYPE:
		return a->type->kind == b->type->kind;
	case CEL_OPTIONAL:
		return equal_optionals(r, a, b);
	case CEL_NULL:
		return true;
	case CEL_TIMESTAMP:
	case CEL_DURATION:
	case CEL_QUANTITY:
	case CEL_SEMVER:
	case CEL_IP:
	case CEL_CIDR:
		return val_compare(a, b) == 0;
	case CEL_URL:
		return streq(a->ptr, b->ptr);
	default:
		return a->ptr == b->ptr;
	}
}

/* ---- order ------------------------------------------------------------------------------ */

#define CMP(a, b) ((a) < (b) ? -1 : (a) > (b))

static int compare_numbers(const struct cel_value *a, const struct cel_value *b)
{
	if (a->kind == CEL_DOUBLE || b->kind == CEL_DOUBLE) {
		double x = a->kind == CEL_DOUBLE ? a->d
			   : a->kind == CEL_INT	 ? (double)a->i
						 : (double)a->u;
		double y = b->kind == CEL_DOUBLE ? b->d
			   : b->kind == CEL_INT	 ? (double)b->i
						 : (double)b->u;

		return isnan(x) || isnan(y) ? 2 : CMP(x, y);
	}
	if (a->kind == CEL_INT && b->kind == CEL_INT)
		return CMP(a->i, b->i);
	if (a->kind == CEL_INT)
		return a->i < 0 ? -1 : CMP((uint64_t)a->i, b->u);
	if (b->kind == CEL_INT)
		return b->i < 0 ? 1 : CMP(a->u, (uint64_t)b->i);
	return CMP(a->u, b->u);
}

static int compare_bytes(const struct cel_value *a, const struct cel_value *b)
{
	size_t n = a->str.n < b->str.n ? a->str.n : b->str.n;
	int cmp = n ? memcmp(a->str.s, b->str.s, n) : 0;

	return cmp ? CMP(cmp, 0) : CMP(a->str.n, b->str.n);
}

int val_compare(const struct cel_value *a, const struct cel_value *b)
{
	if (is_number(a) && is_number(b))
		return compare_numbers(a, b);
	if (a->kind != b->kind)
		return 3;
	switch ((enum cel_kind)a->kind) {
	case CEL_BOOL:
		return CMP(a->b, b->b);
	case CEL_STRING:
	case CEL_BYTES:
		return compare_bytes(a, b);
	case CEL_DURATION:
		return CMP(a->i, b->i);
	case CEL_TIMESTAMP:
		return a->time.sec != b->time.sec ? CMP(a->time.sec, b->time.sec)
						  : CMP(a->time.nsec, b->time.nsec);
	case CEL_QUANTITY:
		return CMP(*(const __int128 *)a->ptr, *(const __int128 *)b->ptr);
	case CEL_SEMVER:
		return semver_compare(a->ptr, b->ptr);
	case CEL_IP:
	case CEL_CIDR:
		return net_compare(a, b);
	default:
		return 3;
	}
}

uint64_t val_span(const struct cel_value *v)
{
	size_t n = v->kind == CEL_STRING || v->kind == CEL_BYTES ? v->str.n : val_size(v);

	return n / 10;
}

const struct cel_type *val_type(const struct cel_value *v)
{
	return cel_type_of(v->kind == CEL_OBJECT && !v->is_json ? CEL_OBJECT : v->kind);
}
