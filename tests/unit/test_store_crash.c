/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Power cuts and damaged files: a child writes and tells through a pipe what was acknowledged; it
 * is killed at a random moment, the files are torn, and the next store must come up by itself with
 * every acknowledged object.
 */
#include "store_fixture.h"
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>

#define N_NAMES 40
#define N_ROUNDS 25

/* ---- the writing child ------------------------------------------------------------------ */

struct ack {
	uint32_t name, value; /* value 0: deleted */
};
struct promise {
	struct ack ack;
	int fd;
};

static void on_durable(void *arg, const struct err *err)
{
	struct promise *p = arg;

	if (err || write(p->fd, &p->ack, sizeof(p->ack)) != sizeof(p->ack))
		_exit(3);
	free(p);
}

static void change_one(struct fixture *f, int fd, uint32_t value, unsigned *seed)
{
	struct promise *p = xnew(struct promise);
	char name[16], text[4000];

	*p = (struct promise){{(uint32_t)rand_r(seed) % N_NAMES, value}, fd};
	snprintf(name, sizeof(name), "o%u", p->ack.name);
	snprintf(text, sizeof(text), "%u %*s", value, rand_r(seed) % 3900, "");
	if (!store_get(f->store, &kind_configmap, "default", name)) {
		put_new(f, "default", name, text, STORE_DURABLE, on_durable, p);
	} else if (rand_r(seed) % 8 == 0) {
		p->ack.value = 0;
		if (store_delete(f->store, &kind_configmap, "default", name, 0, STORE_DURABLE,
				 on_durable, p, NULL, NULL) < 0)
			_exit(4);
	} else {
		put_value(f, "default", name, text, STORE_DURABLE, on_durable, p);
	}
}

static void child(const char *top, int fd, uint32_t first, unsigned seed)
{
	struct fixture *f = fixture_new_at(top);

	fixture_open(f);
	for (uint32_t value = first;;) {
		for (int n = 1 + rand_r(&seed) % 6; n > 0; n--)
			change_one(f, fd, value++, &seed);
		store_flush(f->store);
		while (store_pending(f->store) > 8)
			fixture_turn(f);
	}
}

/* ---- the judge -------------------------------------------------------------------------- */

struct names {
	uint32_t acked[N_NAMES]; /* value, 0: absent */
	uint32_t newest;
};

/* What was acknowledged, in order; the child is killed after a random number of it. */
static void run_and_kill(const char *top, struct names *names, unsigned *seed)
{
	int fds[2], left = 5 + rand_r(seed) % 150;
	struct ack ack;
	pid_t pid;

	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0)
		child(top, fds[1], names->newest + 1, (unsigned)rand_r(seed));
	close(fds[1]);
	while (read(fds[0], &ack, sizeof(ack)) == sizeof(ack)) {
		names->acked[ack.name] = ack.value;
		if (ack.value > names->newest)
			names->newest = ack.value;
		if (left-- == 0)
			kill(pid, SIGKILL);
	}
	assert_true(left < 0);
	close(fds[0]);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	names->newest += 1000; /* behind what was written and not acknowledged */
}

/* Every acknowledged value is there, or a later one that was under way. */
static void judge(const char *top, struct names *names)
{
	struct fixture *f = fixture_new_at(top);
	uint32_t floor = names->newest - 1000;

	fixture_open(f);
	for (uint32_t i = 0; i < N_NAMES; i++) {
		uint32_t want = names->acked[i], have;
		const char *text;
		char name[16];

		snprintf(name, sizeof(name), "o%u", i);
		text = value_of(f, "default", name);
		have = text ? (uint32_t)strtoul(text, NULL, 10) : 0;
		/* In flight when killed: values that were never acknowledged, or a deletion. */
		if (have != want && have != 0 && have + 100 < floor)
			fail_msg("%s is %u, acknowledged was %u", name, have, want);
		if (have != want && have != 0 && have < want)
			fail_msg("%s went back to %u from %u", name, have, want);
		names->acked[i] = have;
	}
	fixture_close(f);
	loop_free(f->loop);
	free(f->top);
	free(f->dir);
	free(f->volatile_dir);
	free(f);
}

static char *make_top(void)
{
	const char *tmp = getenv("TMPDIR");
	char *top = xasprintf("%s/coracle-crash-XXXXXX", tmp ? tmp : "/tmp");

	assert_non_null(mkdtemp(top));
	return top;
}

static void test_kill(void **state)
{
	auto_free char *top = make_top();
	struct names names = {.newest = 1000};
	unsigned seed = (unsigned)getpid();

	(void)state;
	print_message("seed %u\n", seed);
	for (int round = 0; round < N_ROUNDS; round++) {
		run_and_kill(top, &names, &seed);
		judge(top, &names);
	}
	rm_rf(top);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_kill),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
