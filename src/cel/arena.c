/* SPDX-License-Identifier: Apache-2.0 */
/* Memory that is given back at once: a program's, and that of one run. */
#include "internal.h"

#define CHUNK_MIN 1008
#define CHUNK_MAX 16368

struct cel_chunk {
	struct cel_chunk *next;
	size_t used, size;
	char data[] __attribute__((aligned(16)));
};

void *arena_take(struct arena *a, size_t n)
{
	struct cel_chunk *c = a->chunks;

	n = (n + 15) & ~(size_t)15;
	if (!c || c->size - c->used < n) {
		/* small programs stay small, large ones take few chunks */
		size_t size = a->bytes < CHUNK_MIN   ? CHUNK_MIN
			      : a->bytes < CHUNK_MAX ? a->bytes
						     : CHUNK_MAX;

		if (size < n)
			size = n;
		c = xmalloc(sizeof(*c) + size);
		*c = (struct cel_chunk){a->chunks, 0, size};
		a->chunks = c;
		a->bytes += sizeof(*c) + size;
	}
	c->used += n;
	return memset(c->data + c->used - n, 0, n);
}

char *arena_text(struct arena *a, const char *s, size_t n)
{
	char *copy = arena_take(a, n + 1);

	memcpy(copy, s, n);
	return copy;
}

void arena_done(struct arena *a)
{
	struct cel_chunk *next;

	for (struct cel_chunk *c = a->chunks; c; c = next) {
		next = c->next;
		free(c);
	}
	*a = (struct arena){0};
}
