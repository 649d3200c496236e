/* SPDX-License-Identifier: Apache-2.0 */
#include "fiber.h"
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

#ifdef __SANITIZE_ADDRESS__
#define HAVE_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define HAVE_ASAN 1
#endif
#endif
#ifdef HAVE_ASAN
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

/* Address space; only pages that are touched are memory. Values nest 256 deep. */
#ifdef HAVE_ASAN
#define STACK_SIZE (8U << 20)
#else
#define STACK_SIZE (1U << 20)
#endif

struct fiber {
	ucontext_t here, back;
	void (*fn)(void *arg);
	void *arg;
	char *stack; /* behind the guard page */
	size_t guard;
	bool ended;
	/* What AddressSanitizer wants to know of both stacks. */
	void *fake, *fake_back;
	const void *back_bottom;
	size_t back_size;
};

static struct fiber *running;

/* ---- telling AddressSanitizer ------------------------------------------------------------ */

#ifdef HAVE_ASAN
static void leave(void **fake, const void *bottom, size_t size)
{
	__sanitizer_start_switch_fiber(fake, bottom, size);
}

static void arrive(void *fake, const void **bottom, size_t *size)
{
	__sanitizer_finish_switch_fiber(fake, bottom, size);
}

static void forget_stack(struct fiber *f)
{
	__asan_unpoison_memory_region(f->stack, STACK_SIZE);
}
#else
static void leave(void **fake UNUSED, const void *bottom UNUSED, size_t size UNUSED)
{
}

static void arrive(void *fake UNUSED, const void **bottom UNUSED, size_t *size UNUSED)
{
}

static void forget_stack(struct fiber *f UNUSED)
{
}
#endif

/* ---- switching --------------------------------------------------------------------------- */

/* swapcontext(3) in two calls: AddressSanitizer has a replacement for that one that would warn of
 * what we tell it ourselves. */
static __attribute__((noinline)) void change(ucontext_t *from, const ucontext_t *to)
{
	volatile bool back = false;

	getcontext(from);
	if (back)
		return;
	back = true;
	setcontext(to);
	abort(); /* it does not come back */
}

static void enter(void)
{
	struct fiber *f = running;

	arrive(NULL, &f->back_bottom, &f->back_size);
	f->fn(f->arg);
	f->ended = true;
	leave(NULL, f->back_bottom, f->back_size);
	setcontext(&f->back);
	abort(); /* it does not come back */
}

struct fiber *fiber_new(void (*fn)(void *arg), void *arg)
{
	size_t guard = (size_t)sysconf(_SC_PAGESIZE);
	char *map = mmap(NULL, guard + STACK_SIZE, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK | MAP_NORESERVE, -1, 0);
	struct fiber *f;

	if (map == MAP_FAILED)
		return NULL;
	if (mprotect(map, guard, PROT_NONE) < 0) {
		munmap(map, guard + STACK_SIZE);
		return NULL;
	}
	f = xnew(struct fiber);
	f->fn = fn;
	f->arg = arg;
	f->stack = map + guard;
	f->guard = guard;
	getcontext(&f->here);
	f->here.uc_stack.ss_sp = f->stack;
	f->here.uc_stack.ss_size = STACK_SIZE;
	makecontext(&f->here, enter, 0);
	return f;
}

bool fiber_resume(struct fiber *f)
{
	running = f;
	leave(&f->fake_back, f->stack, STACK_SIZE);
	change(&f->back, &f->here);
	arrive(f->fake_back, NULL, NULL);
	running = NULL;
	return f->ended;
}

void fiber_yield(void)
{
	struct fiber *f = running;

	leave(&f->fake, f->back_bottom, f->back_size);
	change(&f->here, &f->back);
	arrive(f->fake, &f->back_bottom, &f->back_size);
}

void fiber_free(struct fiber *f)
{
	if (!f)
		return;
	forget_stack(f);
	munmap(f->stack - f->guard, f->guard + STACK_SIZE);
	free(f);
}
