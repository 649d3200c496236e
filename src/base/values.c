/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory of jansson's values. What long computing makes comes from slabs: memory is handed out in
 * order, and a slab goes back to the system when the last value in it has been freed. Large trees
 * are made and freed as a whole; on the heap they would leave tens of megabytes of free pieces
 * behind, which are given back all at once, and while that lasts nothing else happens.
 */
#include <coracle/json.h>
#include <limits.h>
#include <sys/mman.h>

#define SLAB (64U << 10)
/* Address space; what does not fit comes from the heap. */
#define SLABS (sizeof(void *) > 4 ? 4096U : 1024U)
#define SLABS_MAX 4096U
#define NONE UINT_MAX
/* Larger ones are few. */
#define SMALL_MAX 1024U
#define ALIGN 16U

#if defined(__SANITIZE_ADDRESS__)
#define USE_SLABS 0 /* it knows the heap */
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define USE_SLABS 0
#endif
#endif
#ifndef USE_SLABS
#define USE_SLABS 1
#endif

static struct {
	char *base;		  /* NULL: not yet mapped */
	bool failed;		  /* it could not be */
	uint16_t live[SLABS_MAX]; /* values in each */
	uint16_t free[SLABS_MAX]; /* slabs given back; a stack */
	unsigned n_free, n_fresh; /* n_fresh: those never used begin here */
	unsigned current;	  /* NONE: none */
	size_t used;		  /* of it */
} slabs = {.current = NONE};

static bool map_slabs(void)
{
	void *p = mmap(NULL, (size_t)SLABS * SLAB, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	slabs.failed = p == MAP_FAILED;
	slabs.base = slabs.failed ? NULL : p;
	return !slabs.failed;
}

/* The next slab to hand out from; false: there is none. */
static bool next_slab(void)
{
	if (slabs.failed || (!slabs.base && !map_slabs()))
		return false;
	if (slabs.n_free)
		slabs.current = slabs.free[--slabs.n_free];
	else if (slabs.n_fresh < SLABS)
		slabs.current = slabs.n_fresh++;
	else
		slabs.current = NONE;
	slabs.used = 0;
	return slabs.current != NONE;
}

static void *slab_alloc(size_t size)
{
	size = (size + ALIGN - 1) / ALIGN * ALIGN;
	if ((slabs.current == NONE || slabs.used + size > SLAB) && !next_slab())
		return NULL;
	void *p = slabs.base + (size_t)slabs.current * SLAB + slabs.used;

	slabs.used += size;
	slabs.live[slabs.current]++;
	return p;
}

static bool in_slabs(const void *p)
{
	return slabs.base && (uintptr_t)p - (uintptr_t)slabs.base < (uintptr_t)SLABS * SLAB;
}

static void slab_free(const void *p)
{
	unsigned i = (unsigned)((size_t)((const char *)p - slabs.base) / SLAB);

	if (--slabs.live[i])
		return;
	if (i == slabs.current) {
		slabs.used = 0;
		return;
	}
	madvise(slabs.base + (size_t)i * SLAB, SLAB, MADV_DONTNEED);
	slabs.free[slabs.n_free++] = (uint16_t)i;
}

static void *value_malloc(size_t size)
{
	void *p = NULL;

	breathe();
	if (USE_SLABS && breathing() && size && size <= SMALL_MAX)
		p = slab_alloc(size);
	return p ? p : malloc(size);
}

static void value_free(void *p)
{
	if (in_slabs(p))
		slab_free(p);
	else
		free(p);
	breathe();
}

void json_values_breathe(void)
{
	json_set_alloc_funcs(value_malloc, value_free);
}

size_t json_values_size(void)
{
	size_t n = slabs.n_fresh - slabs.n_free;

	return n * SLAB;
}
