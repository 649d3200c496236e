/* SPDX-License-Identifier: Apache-2.0 */
/* String-keyed hash map: open addressing, linear probing, tombstones. */
#include <coracle/base.h>

static char tombstone[] = "";

uint32_t hash_fnv1a32(const void *data, size_t len, uint32_t seed)
{
	const unsigned char *p = data;

	for (size_t i = 0; i < len; i++)
		seed = (seed ^ p[i]) * UINT32_C(16777619);
	return seed;
}

static bool slot_live(const struct map_slot *s)
{
	return s->key && s->key != tombstone;
}

/* The slot that holds key, or NULL. */
static struct map_slot *map_find(const struct map *m, const char *key)
{
	size_t i;

	if (!m->cap)
		return NULL;
	i = hash_fnv1a32(key, strlen(key), UINT32_C(2166136261)) & (m->cap - 1);
	for (; m->slots[i].key; i = (i + 1) & (m->cap - 1))
		if (m->slots[i].key != tombstone && streq(m->slots[i].key, key))
			return &m->slots[i];
	return NULL;
}

/* Puts an owned key that is not in the map into a map that has room. */
static void map_insert(struct map *m, char *key, void *value)
{
	size_t i = hash_fnv1a32(key, strlen(key), UINT32_C(2166136261)) & (m->cap - 1);

	while (slot_live(&m->slots[i]))
		i = (i + 1) & (m->cap - 1);
	m->used += !m->slots[i].key;
	m->n++;
	m->slots[i] = (struct map_slot){key, value};
}

static void map_rehash(struct map *m)
{
	struct map old = *m;

	m->cap = 8;
	while (m->cap < old.n * 2 + 2)
		m->cap *= 2;
	m->slots = xcalloc(m->cap, sizeof(*m->slots));
	m->used = m->n = 0;
	for (size_t i = 0; i < old.cap; i++)
		if (slot_live(&old.slots[i]))
			map_insert(m, old.slots[i].key, old.slots[i].value);
	free(old.slots);
}

void *map_get(const struct map *m, const char *key)
{
	struct map_slot *s = map_find(m, key);

	return s ? s->value : NULL;
}

void *map_put(struct map *m, const char *key, void *value)
{
	struct map_slot *s = map_find(m, key);

	if (s) {
		void *old = s->value;

		s->value = value;
		return old;
	}
	if ((m->used + 1) * 4 > m->cap * 3)
		map_rehash(m);
	map_insert(m, xstrdup(key), value);
	return NULL;
}

void *map_del(struct map *m, const char *key)
{
	struct map_slot *s = map_find(m, key);
	void *old;

	if (!s)
		return NULL;
	old = s->value;
	free(s->key);
	*s = (struct map_slot){tombstone, NULL};
	m->n--;
	return old;
}

bool map_next(const struct map *m, size_t *i, const char **key, void **value)
{
	for (; *i < m->cap; ++*i)
		if (slot_live(&m->slots[*i])) {
			if (key)
				*key = m->slots[*i].key;
			if (value)
				*value = m->slots[*i].value;
			++*i;
			return true;
		}
	return false;
}

void map_done(struct map *m)
{
	for (size_t i = 0; i < m->cap; i++)
		if (slot_live(&m->slots[i]))
			free(m->slots[i].key);
	free(m->slots);
	*m = (struct map){0};
}
