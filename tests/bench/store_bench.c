/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a durable update of a 2 kB object costs: usage store_bench ENGINE DIR UPDATES GROUP
 *
 *   store   Coracle's store as it is: SQLite, WAL, integer keys, one writer thread
 *   log     the floor: a preallocated log, a checksum per record, fdatasync per commit
 *   lmdb    LMDB, when its header was there at build time
 *
 * GROUP updates are made per commit. Prints: engine group updates/s p50_us p99_us per commit.
 * Bytes are counted outside (store.sh), from the block device.
 */
#include <coracle/store.h>
#include <fcntl.h>
#include <unistd.h>
#if __has_include(<lmdb.h>) && defined(BENCH_LMDB)
#include <lmdb.h>
#define HAVE_LMDB 1
#endif

#define N_OBJECTS 200
#define BODY 2048

static uint64_t *latencies;
static size_t n_latencies;

struct bench {
	const char *dir;
	int updates, group;
};
struct engine {
	const char *name;
	void *(*open)(const struct bench *b);
	/* One commit of b->group updates, numbered from first. */
	void (*commit)(void *e, const struct bench *b, int first);
	void (*close)(void *e);
};

static NORETURN void die(const char *what)
{
	fprintf(stderr, "store_bench: %s: %s\n", what, strerror(errno));
	exit(1);
}

static void body_of(char body[static BODY], int n)
{
	memset(body, 'a' + n % 26, BODY - 1);
	snprintf(body, 16, "%d", n);
	body[strlen(body)] = ' ';
	body[BODY - 1] = '\0';
}

/* ---- the store -------------------------------------------------------------------------- */

struct store_engine {
	struct loop *loop;
	struct store *store;
	int left;
	char *dir, *run;
};

static json_t *object_new(int n, const char *body)
{
	json_t *o = json_object();

	json_put_str(o, "apiVersion", "v1");
	json_put_str(o, "kind", "ConfigMap");
	json_put_strf(o, "metadata.name", "object-%d", n);
	json_put_str(o, "metadata.namespace", "default");
	json_put_strf(o, "metadata.uid", "00000000-0000-4000-8000-%012d", n);
	json_put_str(o, "data.body", body);
	return o;
}

static void on_durable(void *arg, const struct err *err)
{
	if (err)
		die(err_message(err));
	((struct store_engine *)arg)->left--;
}

static void settle(struct store_engine *e)
{
	store_flush(e->store);
	while (e->left) {
		loop_refresh(e->loop);
		if (loop_poll(e->loop) < 0)
			die("poll");
		store_flush(e->store);
		loop_bury(e->loop);
	}
}

static void *store_engine_open(const struct bench *b)
{
	struct store_engine *e = xnew(struct store_engine);
	struct store_config config = {0};
	auto_err err = {0};

	e->loop = loop_new();
	config.dir = e->dir = path_join(b->dir, "state");
	config.volatile_dir = e->run = xasprintf("/dev/shm/store_bench.%d", getpid());
	e->store = store_open(e->loop, &config, &err);
	if (!e->store)
		die(err_message(&err));
	for (int i = 0; i < N_OBJECTS; i++) {
		json_auto_t *o = object_new(i, "");

		e->left++;
		if (store_create(e->store, &kind_configmap, o, STORE_DURABLE, on_durable, e, NULL,
				 &err) < 0)
			die(err_message(&err));
	}
	settle(e);
	return e;
}

static void store_engine_commit(void *arg, const struct bench *b, int first)
{
	struct store_engine *e = arg;
	char body[BODY];

	for (int i = first; i < first + b->group; i++) {
		json_auto_t *o = NULL;
		auto_err err = {0};

		body_of(body, i);
		o = object_new(i * 7 % N_OBJECTS, body);
		e->left++;
		if (store_update(e->store, &kind_configmap, o, 0, STORE_DURABLE, on_durable, e,
				 NULL, &err) < 0)
			die(err_message(&err));
	}
	settle(e);
}

static void store_engine_close(void *arg)
{
	struct store_engine *e = arg;

	store_close(e->store);
	loop_free(e->loop);
	rm_rf(e->run);
	free(e->run);
	free(e->dir);
	free(e);
}

/* ---- the bare log ----------------------------------------------------------------------- */

struct log_engine {
	int fd;
	off_t at;
};

static void *log_open(const struct bench *b)
{
	struct log_engine *e = xnew(struct log_engine);
	auto_free char *path = path_join(b->dir, "log");
	off_t size = (off_t)b->updates * (BODY + 16) + (1 << 20);

	e->fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (e->fd < 0 || posix_fallocate(e->fd, 0, size) != 0 || fsync(e->fd) < 0)
		die(path);
	return e;
}

static void log_commit(void *arg, const struct bench *b, int first)
{
	struct log_engine *e = arg;

	for (int i = first; i < first + b->group; i++) {
		struct {
			uint32_t sum, len;
			char body[BODY];
		} rec = {.len = BODY};

		body_of(rec.body, i);
		rec.sum = hash_fnv1a32(rec.body, BODY, 2166136261U);
		if (pwrite(e->fd, &rec, sizeof(rec), e->at) != sizeof(rec))
			die("log");
		e->at += sizeof(rec);
	}
	if (fdatasync(e->fd) < 0)
		die("log");
}

static void log_close(void *arg)
{
	struct log_engine *e = arg;

	fd_close(e->fd);
	free(e);
}

/* ---- LMDB ------------------------------------------------------------------------------- */

#ifdef HAVE_LMDB
struct lmdb_engine {
	MDB_env *env;
	MDB_dbi dbi;
};

static void check(int r)
{
	if (r) {
		fprintf(stderr, "store_bench: %s\n", mdb_strerror(r));
		exit(1);
	}
}

static void *lmdb_open(const struct bench *b)
{
	struct lmdb_engine *e = xnew(struct lmdb_engine);
	MDB_txn *txn;

	check(mdb_env_create(&e->env));
	check(mdb_env_set_mapsize(e->env, 64U << 20));
	check(mdb_env_open(e->env, b->dir, 0, 0600));
	check(mdb_txn_begin(e->env, NULL, 0, &txn));
	check(mdb_dbi_open(txn, NULL, MDB_INTEGERKEY, &e->dbi));
	check(mdb_txn_commit(txn));
	return e;
}

static void lmdb_commit(void *arg, const struct bench *b, int first)
{
	struct lmdb_engine *e = arg;
	MDB_txn *txn;

	check(mdb_txn_begin(e->env, NULL, 0, &txn));
	for (int i = first; i < first + b->group; i++) {
		char body[BODY];
		unsigned id = (unsigned)(i * 7 % N_OBJECTS);
		MDB_val key = {sizeof(id), &id}, value = {BODY, body};

		body_of(body, i);
		check(mdb_put(txn, e->dbi, &key, &value, 0));
	}
	check(mdb_txn_commit(txn));
}

static void lmdb_close(void *arg)
{
	struct lmdb_engine *e = arg;

	mdb_env_close(e->env);
	free(e);
}
#endif

/* ---- */

static const struct engine engines[] = {
	{"store", store_engine_open, store_engine_commit, store_engine_close},
	{"log", log_open, log_commit, log_close},
#ifdef HAVE_LMDB
	{"lmdb", lmdb_open, lmdb_commit, lmdb_close},
#endif
};

static int u64_cmp(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

static void run(const struct engine *engine, const struct bench *b)
{
	void *e = engine->open(b);
	mono_t start;
	double s;

	latencies = xcalloc((size_t)(b->updates / b->group + 1), sizeof(*latencies));
	sync();
	printf("ready\n"); /* store.sh reads the device's counter here */
	fflush(stdout);
	if (getchar() == EOF)
		die("stdin");
	start = mono_now();
	for (int i = 0; i + b->group <= b->updates; i += b->group) {
		struct timespec t0, t1;

		clock_gettime(CLOCK_MONOTONIC, &t0);
		engine->commit(e, b, i);
		clock_gettime(CLOCK_MONOTONIC, &t1);
		latencies[n_latencies++] = (uint64_t)((t1.tv_sec - t0.tv_sec) * 1000000 +
						      (t1.tv_nsec - t0.tv_nsec) / 1000);
	}
	s = (double)mono_sub(mono_now(), start) / 1e6;
	qsort(latencies, n_latencies, sizeof(*latencies), u64_cmp);
	printf("%s %d %.0f %llu %llu\n", engine->name, b->group, b->updates / s,
	       (unsigned long long)latencies[n_latencies / 2],
	       (unsigned long long)latencies[n_latencies * 99 / 100]);
	fflush(stdout);
	engine->close(e);
	free(latencies);
}

int main(int argc, char **argv)
{
	struct bench b;

	log_set_level(LOG_LEVEL_WARN);
	if (argc != 5)
		return 2;
	b = (struct bench){argv[2], atoi(argv[3]), atoi(argv[4])};
	if (b.updates <= 0 || b.group <= 0 || mkdir_p(b.dir, 0700) < 0)
		return 2;
	for (size_t i = 0; i < ARRAY_SIZE(engines); i++)
		if (streq(engines[i].name, argv[1])) {
			run(&engines[i], &b);
			return 0;
		}
	return 77; /* not built in */
}
