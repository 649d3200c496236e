/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Power cuts and damaged files. A child writes and tells through a pipe what it is about to do and
 * what was acknowledged; it is killed at a random moment, the files are torn, and the next store
 * must come up by itself with every acknowledged object.
 */
#include "store_fixture.h"
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <sqlite3.h>
#include <sys/stat.h>
#include <sys/wait.h>

#define N_NAMES 40
#define N_ROUNDS 25
#define MAX_OPEN 64

/* ---- the writing child ------------------------------------------------------------------ */

/* One change: told before it is made and once it is acknowledged. */
struct record {
	uint32_t name, value; /* values grow */
	bool deleted, acked;
};
struct promise {
	struct record record;
	int fd;
};

static void tell(const struct promise *p)
{
	if (write(p->fd, &p->record, sizeof(p->record)) != sizeof(p->record))
		_exit(3);
}

static void on_durable(void *arg, const struct err *err)
{
	struct promise *p = arg;

	if (err)
		_exit(3);
	p->record.acked = true;
	tell(p);
	free(p);
}

static void change_one(struct fixture *f, int fd, uint32_t value, unsigned *seed)
{
	struct promise *p = xnew(struct promise);
	bool there;
	char name[16], text[4000];

	*p = (struct promise){{.name = (uint32_t)rand_r(seed) % N_NAMES, .value = value}, fd};
	snprintf(name, sizeof(name), "o%u", p->record.name);
	snprintf(text, sizeof(text), "%u %*s", value, rand_r(seed) % 3900, "");
	there = store_get(f->store, &kind_configmap, "default", name);
	p->record.deleted = there && rand_r(seed) % 8 == 0;
	tell(p);
	if (p->record.deleted) {
		if (store_delete(f->store, &kind_configmap, "default", name, 0, STORE_DURABLE,
				 on_durable, p, NULL, NULL) < 0)
			_exit(4);
	} else if (there) {
		put_value(f, "default", name, text, STORE_DURABLE, on_durable, p);
	} else {
		put_new(f, "default", name, text, STORE_DURABLE, on_durable, p);
	}
}

static void child(const char *top, int fd, uint32_t value, unsigned seed)
{
	struct fixture *f = fixture_new_at(top);

	fixture_open(f);
	for (;;) {
		for (int n = 1 + rand_r(&seed) % 6; n > 0; n--)
			change_one(f, fd, value++, &seed);
		store_flush(f->store);
		while (store_pending(f->store) > 8)
			fixture_turn(f);
	}
}

/* ---- the judge -------------------------------------------------------------------------- */

struct fate {
	struct record acked;
	struct record open[MAX_OPEN]; /* begun after it, and not acknowledged */
	size_t n_open;
};
struct world {
	char *top;
	struct fate fates[N_NAMES];
	uint32_t value;
	unsigned seed;
};

static void note(struct world *w, const struct record *rec)
{
	struct fate *f = &w->fates[rec->name];
	size_t kept = 0;

	if (rec->value >= w->value)
		w->value = rec->value + 1;
	if (!rec->acked) {
		assert_true(f->n_open < MAX_OPEN);
		f->open[f->n_open++] = *rec;
		return;
	}
	f->acked = *rec;
	for (size_t i = 0; i < f->n_open; i++)
		if (f->open[i].value > rec->value)
			f->open[kept++] = f->open[i];
	f->n_open = kept;
}

/* Kills the child after a random number of acknowledgements. */
static void run_and_kill(struct world *w)
{
	int fds[2], left = 5 + rand_r(&w->seed) % 150;
	struct record rec;
	pid_t pid;

	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0)
		child(w->top, fds[1], w->value, (unsigned)rand_r(&w->seed));
	close(fds[1]);
	while (read(fds[0], &rec, sizeof(rec)) == sizeof(rec)) {
		note(w, &rec);
		if (rec.acked && left-- == 0)
			kill(pid, SIGKILL);
	}
	assert_true(left < 0);
	close(fds[0]);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
}

static bool is_fate(const struct record *rec, uint32_t have)
{
	return rec->deleted ? have == 0 : have == rec->value;
}

static void judge_one(struct fixture *f, struct world *w, uint32_t name)
{
	struct fate *fate = &w->fates[name];
	char key[16];
	const char *text;
	uint32_t have;
	bool good;

	snprintf(key, sizeof(key), "o%u", name);
	text = value_of(f, "default", key);
	have = text ? (uint32_t)strtoul(text, NULL, 10) : 0;
	good = is_fate(&fate->acked, have);
	for (size_t i = 0; i < fate->n_open; i++)
		good |= is_fate(&fate->open[i], have);
	if (!good)
		fail_msg("%s is %u, acknowledged was %u", key, have, fate->acked.value);
	*fate = (struct fate){.acked = {name, have, have == 0, true}};
}

static void close_and_keep(struct fixture *f)
{
	fixture_close(f);
	loop_free(f->loop);
	free(f->top);
	free(f->dir);
	free(f->volatile_dir);
	free(f);
}

static void judge(struct world *w)
{
	struct fixture *f = fixture_new_at(w->top);

	fixture_open(f);
	for (uint32_t i = 0; i < N_NAMES; i++)
		judge_one(f, w, i);
	close_and_keep(f);
}

static int setup(void **state)
{
	const char *tmp = getenv("TMPDIR");
	struct world *w = xnew(struct world);

	w->top = xasprintf("%s/coracle-crash-XXXXXX", tmp ? tmp : "/tmp");
	assert_non_null(mkdtemp(w->top));
	w->value = 1;
	w->seed = (unsigned)getpid();
	for (uint32_t i = 0; i < N_NAMES; i++)
		w->fates[i].acked = (struct record){i, 0, true, true};
	print_message("seed %u\n", w->seed);
	*state = w;
	return 0;
}

static int teardown(void **state)
{
	struct world *w = *state;

	rm_rf(w->top);
	free(w->top);
	free(w);
	return 0;
}

static void test_kill(void **state)
{
	struct world *w = *state;

	for (int round = 0; round < N_ROUNDS; round++) {
		run_and_kill(w);
		judge(w);
	}
}

/* ---- torn files ------------------------------------------------------------------------- */

static char *file_of(struct world *w, const char *name)
{
	return xasprintf("%s/state/%s", w->top, name);
}

static void scribble(const char *path, off_t at, size_t len, unsigned *seed)
{
	auto_fd int fd = open(path, O_WRONLY | O_CLOEXEC);
	auto_free char *junk = xmalloc(len);

	assert_true(fd >= 0);
	for (size_t i = 0; i < len; i++)
		junk[i] = (char)rand_r(seed);
	assert_int_equal(pwrite(fd, junk, len, at), (ssize_t)len);
}

static off_t size_of(const char *path)
{
	struct stat st;

	assert_int_equal(stat(path, &st), 0);
	return st.st_size;
}

/* What a cut leaves behind the last complete commit. */
static void test_garbage_behind_log(void **state)
{
	struct world *w = *state;
	auto_free char *wal = file_of(w, "objects.db-wal");

	for (int round = 0; round < 5; round++) {
		run_and_kill(w);
		scribble(wal, size_of(wal), 1 + (size_t)rand_r(&w->seed) % 9000, &w->seed);
		judge(w);
	}
}

/* Cut anywhere: older states may come back, but it comes up and every object is whole. */
static void test_log_cut(void **state)
{
	struct world *w = *state;
	auto_free char *wal = file_of(w, "objects.db-wal");

	for (int round = 0; round < 5; round++) {
		struct fixture *f;
		struct store_iter it;
		const struct object *o;

		run_and_kill(w);
		assert_int_equal(truncate(wal, rand_r(&w->seed) % (size_of(wal) + 1)), 0);
		f = fixture_new_at(w->top);
		fixture_open(f);
		it = store_iter(f->store, &kind_configmap, NULL);
		while ((o = store_next(&it)))
			assert_true(json_is_object(object_json(o)));
		close_and_keep(f);
		memset(w->fates, 0, sizeof(w->fates));
	}
}

/* A file with `n` objects and nothing in its log. */
static void fill(struct world *w, int n)
{
	struct fixture *f = fixture_new_at(w->top);
	auto_free char *big = xmalloc(1501);
	char name[16];

	memset(big, 'x', 1500);
	big[1500] = '\0';
	fixture_open(f);
	for (int i = 0; i < n; i++) {
		snprintf(name, sizeof(name), "f%d", i);
		put_new(f, "default", name, big, STORE_DURABLE, NULL, NULL);
	}
	fixture_settle(f);
	close_and_keep(f);
}

static struct fixture *reopen(struct world *w)
{
	struct fixture *f = fixture_new_at(w->top);

	fixture_open(f);
	return f;
}

static void test_page_destroyed(void **state)
{
	struct world *w = *state;
	auto_free char *path = file_of(w, "objects.db");
	auto_free char *kept = file_of(w, "objects.db.corrupt-1");
	struct fixture *f;
	uint64_t rev;

	fill(w, 200);
	f = reopen(w);
	rev = store_rev(f->store);
	close_and_keep(f);
	scribble(path, size_of(path) / 4096 / 2 * 4096, 4096, &w->seed);
	f = reopen(w);
	assert_int_equal(access(kept, F_OK), 0);
	assert_in_range(store_count(f->store, &kind_configmap), 190, 199);
	assert_true(store_rev(f->store) > rev);
	put_new(f, "default", "after", "1", STORE_DURABLE, NULL, NULL);
	fixture_settle(f);
	close_and_keep(f);
}

static void test_file_truncated(void **state)
{
	struct world *w = *state;
	auto_free char *path = file_of(w, "objects.db");
	struct fixture *f;

	fill(w, 200);
	assert_int_equal(truncate(path, size_of(path) / 2 + 100), 0);
	f = reopen(w);
	assert_in_range(store_count(f->store, &kind_configmap), 80, 120);
	close_and_keep(f);
}

static void test_head_destroyed(void **state)
{
	struct world *w = *state;
	auto_free char *path = file_of(w, "objects.db");
	struct fixture *f;

	fill(w, 200);
	scribble(path, 0, 4096, &w->seed);
	f = reopen(w);
	assert_int_equal(store_count(f->store, &kind_configmap), 200);
	close_and_keep(f);
	run_and_kill(w); /* with a log beside it */
	scribble(path, 0, 4096, &w->seed);
	judge(w);
}

static void test_file_is_garbage(void **state)
{
	struct world *w = *state;
	auto_free char *path = file_of(w, "objects.db");
	auto_free char *kept = file_of(w, "objects.db.corrupt-1");
	auto_free char *again = file_of(w, "objects.db.corrupt-2");
	struct fixture *f;

	for (int round = 0; round < 2; round++) {
		fill(w, 20);
		scribble(path, 0, 8192, &w->seed);
		f = reopen(w);
		assert_int_equal(store_count(f->store, &kind_configmap), 0);
		close_and_keep(f);
		assert_int_equal(access(round ? again : kept, F_OK), 0);
	}
}

static void test_files_missing(void **state)
{
	struct world *w = *state;
	auto_free char *path = file_of(w, "objects.db");
	struct fixture *f;

	run_and_kill(w);
	assert_int_equal(unlink(path), 0);
	f = reopen(w); /* the log alone holds no complete file */
	put_new(f, "default", "after", "1", STORE_DURABLE, NULL, NULL);
	fixture_settle(f);
	close_and_keep(f);
}

static void test_observations_garbage(void **state)
{
	struct world *w = *state;
	auto_free char *path = xasprintf("%s/run/observations.db", w->top);
	struct fixture *f;

	fill(w, 3);
	scribble(path, 0, 4096, &w->seed);
	f = reopen(w);
	assert_int_equal(store_count(f->store, &kind_configmap), 3);
	assert_true(store_is_new_boot(f->store));
	close_and_keep(f);
}

/* ---- kinds of another version ----------------------------------------------------------- */

static int sql(const char *path, const char *text)
{
	sqlite3 *db;
	sqlite3_stmt *st;
	int n;

	assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
	assert_int_equal(sqlite3_prepare_v2(db, text, -1, &st, NULL), SQLITE_OK);
	n = sqlite3_step(st) == SQLITE_ROW ? sqlite3_column_int(st, 0) : 0;
	sqlite3_finalize(st);
	sqlite3_close(db);
	return n;
}

static void test_unknown_kind(void **state)
{
	struct world *w = *state;
	auto_free char *path = file_of(w, "objects.db");
	struct fixture *f;

	fill(w, 3);
	sql(path, "UPDATE object SET kind = 'example.com/v9/Thing' WHERE id = 2");
	f = reopen(w);
	assert_int_equal(store_count(f->store, &kind_configmap), 2);
	put_new(f, "default", "new", "1", STORE_DURABLE, NULL, NULL);
	close_and_keep(f);
	assert_int_equal(sql(path, "SELECT count(*) FROM object"), 4);
	assert_int_equal(sql(path, "SELECT id FROM object WHERE kind LIKE '%Thing'"), 2);
}

#define T(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_kill),
		T(test_garbage_behind_log),
		T(test_log_cut),
		T(test_page_destroyed),
		T(test_file_truncated),
		T(test_head_destroyed),
		T(test_file_is_garbage),
		T(test_files_missing),
		T(test_observations_garbage),
		T(test_unknown_kind),
	};

	log_set_level(LOG_LEVEL_WARN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
