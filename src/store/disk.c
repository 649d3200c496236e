/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One SQLite file in WAL mode, held exclusively (so the index of the log lives in our memory, not
 * in a file). Integer keys: replacing an object touches the one page its row is on.
 */
#include "internal.h"
#include <arpa/inet.h>
#include <fcntl.h>
#include <inttypes.h>
#include <libgen.h>
#include <sqlite3.h>
#include <unistd.h>

/* The log is moved into the file when it holds so many pages (4 KiB each), and then overwritten
 * from its start: no new blocks, so one flush per commit. doc/decisions/store.md has the figures.
 */
#define CHECKPOINT_PAGES 512
#define CHECKPOINT_PAGES_VOLATILE 64 /* that log is memory, and costs no flush */
#define PAGE_SIZE 4096		     /* SQLite's default, set all the same */
#define TEXT_SEED 2166136261U

static const char schema[] =
	"CREATE TABLE IF NOT EXISTS object(id INTEGER PRIMARY KEY, rev INTEGER NOT NULL, "
	"flags INTEGER NOT NULL, kind TEXT NOT NULL, ns TEXT NOT NULL, name TEXT NOT NULL, "
	"uid TEXT NOT NULL, sum INTEGER NOT NULL, text TEXT NOT NULL);"
	"CREATE TABLE IF NOT EXISTS meta(key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;";
static const char select_rows[] = "SELECT id, rev, flags, kind, ns, name, uid, text, sum FROM "
				  "object WHERE id > ? ORDER BY id";

/* ---- errors ----------------------------------------------------------------------------- */

static int system_error(sqlite3 *db, int fallback)
{
	int e = db ? sqlite3_system_errno(db) : 0;

	return e ? e : fallback;
}

/* errno of an SQLite result; their codes end here. */
static int errno_of(sqlite3 *db, int rc)
{
	switch (rc & 0xff) {
	case SQLITE_FULL:
		return ENOSPC;
	case SQLITE_CORRUPT:
	case SQLITE_NOTADB:
	case SQLITE_FORMAT:
	case SQLITE_ERROR: /* "no such column": not our tables */
		return EUCLEAN;
	case SQLITE_BUSY:
	case SQLITE_LOCKED:
		return EBUSY;
	case SQLITE_READONLY:
		return EROFS;
	case SQLITE_NOMEM:
		return ENOMEM;
	case SQLITE_CANTOPEN:
		return system_error(db, EACCES);
	default:
		return system_error(db, EIO);
	}
}

static int fail(struct disk *d, int rc, struct err *err)
{
	int code = errno_of(d->db, rc);

	if (code == EDQUOT)
		code = ENOSPC;
	if (code == EBUSY)
		return err_errno(err, code, "%s is in use by another process", d->path);
	return err_errno(err, code, "store file %s (%s)", d->path, sqlite3_errstr(rc));
}

/* ---- opening ---------------------------------------------------------------------------- */

static int exec(struct disk *d, const char *sql, struct err *err)
{
	int rc = sqlite3_exec(d->db, sql, NULL, NULL, NULL);

	return rc == SQLITE_OK ? 0 : fail(d, rc, err);
}

static int prepare(struct disk *d, const char *sql, sqlite3_stmt **ret, struct err *err)
{
	int rc = sqlite3_prepare_v3(d->db, sql, -1, SQLITE_PREPARE_PERSISTENT, ret, NULL);

	return rc == SQLITE_OK ? 0 : fail(d, rc, err);
}

static int on_wal(void *arg, sqlite3 *db, const char *schema_name, int pages)
{
	(void)db;
	(void)schema_name;
	((struct disk *)arg)->wal_pages = pages;
	return SQLITE_OK;
}

static void sync_dir_of(const char *path)
{
	auto_free char *copy = xstrdup(path);
	auto_fd int fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd >= 0 && fsync(fd) < 0)
		log_warn("store: fsync of the directory of %s: %s", path, strerror(errno));
}

static int open_file(struct disk *d, const char *path, bool durable, struct err *err)
{
	int rc;

	*d = (struct disk){.path = xstrdup(path), .durable = durable};
	rc = sqlite3_open_v2(path, &d->db,
			     SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX |
				     SQLITE_OPEN_PRIVATECACHE,
			     NULL);
	if (rc != SQLITE_OK)
		return fail(d, rc, err);
	sqlite3_extended_result_codes(d->db, 1);
	return 0;
}

static int tune(struct disk *d, struct err *err)
{
	return exec(d,
		    "PRAGMA page_size=4096; PRAGMA locking_mode=EXCLUSIVE; PRAGMA cache_size=-256; "
		    "PRAGMA temp_store=MEMORY; PRAGMA secure_delete=FAST;",
		    err);
}

/* The first row of `PRAGMA quick_check` is "ok" for a sound file. */
static int check(struct disk *d, struct err *err)
{
	sqlite3_stmt *st;
	int r = prepare(d, "PRAGMA quick_check(1)", &st, err);

	if (r < 0)
		return r;
	r = sqlite3_step(st);
	if (r != SQLITE_ROW)
		r = fail(d, r, err);
	else if (!str_eq((const char *)sqlite3_column_text(st, 0), "ok"))
		r = err_errno(err, EUCLEAN, "store file %s: %s", d->path,
			      (const char *)sqlite3_column_text(st, 0));
	else
		r = 0;
	sqlite3_finalize(st);
	return r;
}

static int prepare_all(struct disk *d, struct err *err)
{
	int r = prepare(
		d,
		"INSERT OR REPLACE INTO object(id, rev, flags, kind, ns, name, uid, text, sum) "
		"VALUES(?,?,?,?,?,?,?,?,?)",
		&d->put, err);

	if (r == 0)
		r = prepare(d, "DELETE FROM object WHERE id = ?", &d->del, err);
	if (r == 0)
		r = prepare(d, "DELETE FROM object WHERE id = ? AND rev <= ?", &d->del_upto, err);
	if (r == 0)
		r = prepare(d, "INSERT OR REPLACE INTO meta(key, value) VALUES(?,?)", &d->meta,
			    err);
	return r;
}

int disk_open(struct disk *d, const char *path, bool durable, struct err *err)
{
	bool is_new = access(path, F_OK) < 0;
	int r = open_file(d, path, durable, err);

	if (r == 0)
		r = tune(d, err);
	if (r == 0)
		r = exec(d, "PRAGMA journal_mode=WAL", err);
	if (r == 0)
		r = exec(d,
			 durable ? "PRAGMA synchronous=FULL; PRAGMA journal_size_limit=4194304;"
				 : "PRAGMA synchronous=OFF; PRAGMA journal_size_limit=524288;",
			 err);
	if (r == 0 && !is_new)
		r = check(d, err);
	if (r == 0)
		r = exec(d, schema, err);
	if (r == 0)
		r = prepare_all(d, err);
	if (r < 0) {
		disk_close(d);
		return r;
	}
	sqlite3_wal_hook(d->db, on_wal, d);
	if (is_new && durable)
		sync_dir_of(path);
	return 0;
}

void disk_close(struct disk *d)
{
	sqlite3_finalize(d->put);
	sqlite3_finalize(d->del);
	sqlite3_finalize(d->del_upto);
	sqlite3_finalize(d->meta);
	sqlite3_close(d->db);
	free(d->path);
	*d = (struct disk){0};
}

void disk_move(struct disk *to, struct disk *from)
{
	*to = *from;
	*from = (struct disk){0};
	if (to->db)
		sqlite3_wal_hook(to->db, on_wal, to);
}

void disk_remove(const char *path)
{
	auto_free char *wal = xasprintf("%s-wal", path);

	unlink(path);
	unlink(wal);
}

/* ---- reading ---------------------------------------------------------------------------- */

static const char *text_at(sqlite3_stmt *st, int column)
{
	const char *s = (const char *)sqlite3_column_text(st, column);

	return s ? s : "";
}

/* False when the text does not match its checksum. */
static bool row_get(sqlite3_stmt *st, struct disk_row *row)
{
	*row = (struct disk_row){
		.id = sqlite3_column_int64(st, 0),
		.rev = (uint64_t)sqlite3_column_int64(st, 1),
		.flags = (unsigned)sqlite3_column_int(st, 2),
		.kind = text_at(st, 3),
		.ns = text_at(st, 4),
		.name = text_at(st, 5),
		.uid = text_at(st, 6),
		.text = text_at(st, 7),
		.len = (size_t)sqlite3_column_bytes(st, 7),
	};
	return hash_fnv1a32(row->text, row->len, TEXT_SEED) ==
	       (uint32_t)sqlite3_column_int64(st, 8);
}

int disk_load(struct disk *d, disk_row_fn *fn, void *arg, struct err *err)
{
	sqlite3_stmt *st;
	struct disk_row row;
	int rc, r = prepare(d, select_rows, &st, err);

	if (r < 0)
		return r;
	sqlite3_bind_int64(st, 1, INT64_MIN);
	while ((rc = sqlite3_step(st)) == SQLITE_ROW && r == 0) {
		if (row_get(st, &row))
			fn(arg, &row);
		else
			r = err_errno(err, EUCLEAN, "store file %s: row %" PRId64, d->path, row.id);
	}
	if (r == 0 && rc != SQLITE_DONE)
		r = fail(d, rc, err);
	sqlite3_finalize(st);
	return r;
}

int disk_meta_get(struct disk *d, const char *key, char **ret)
{
	sqlite3_stmt *st;
	int r = prepare(d, "SELECT value FROM meta WHERE key = ?", &st, NULL);

	if (r < 0)
		return r;
	sqlite3_bind_text(st, 1, key, -1, SQLITE_STATIC);
	r = sqlite3_step(st);
	if (r == SQLITE_ROW)
		*ret = xstrdup(text_at(st, 0));
	r = r == SQLITE_ROW ? 0 : r == SQLITE_DONE ? -ENOENT : fail(d, r, NULL);
	sqlite3_finalize(st);
	return r;
}

/* ---- writing ---------------------------------------------------------------------------- */

static int run(struct disk *d, sqlite3_stmt *st, struct err *err)
{
	int rc = sqlite3_step(st), r = rc == SQLITE_DONE ? 0 : fail(d, rc, err);

	sqlite3_reset(st);
	return r;
}

int disk_begin(struct disk *d, struct err *err)
{
	return exec(d, "BEGIN IMMEDIATE", err);
}

int disk_put(struct disk *d, const struct disk_row *row, struct err *err)
{
	sqlite3_bind_int64(d->put, 1, row->id);
	sqlite3_bind_int64(d->put, 2, (sqlite3_int64)row->rev);
	sqlite3_bind_int64(d->put, 3, row->flags);
	sqlite3_bind_text(d->put, 4, row->kind, -1, SQLITE_STATIC);
	sqlite3_bind_text(d->put, 5, row->ns, -1, SQLITE_STATIC);
	sqlite3_bind_text(d->put, 6, row->name, -1, SQLITE_STATIC);
	sqlite3_bind_text(d->put, 7, row->uid, -1, SQLITE_STATIC);
	sqlite3_bind_text(d->put, 8, row->text, (int)row->len, SQLITE_STATIC);
	sqlite3_bind_int64(d->put, 9, hash_fnv1a32(row->text, row->len, TEXT_SEED));
	return run(d, d->put, err);
}

int disk_put_object(struct disk *d, int64_t id, unsigned flags, const struct object *o,
		    struct err *err)
{
	char kind[512];
	struct disk_row row = {id, o->rev, flags, kind, o->ns, o->name, o->uid, o->text, o->len};

	snprintf(kind, sizeof(kind), "%s%s%s/%s", o->kind->group, *o->kind->group ? "/" : "",
		 o->kind->version, o->kind->kind);
	return disk_put(d, &row, err);
}

int disk_del(struct disk *d, int64_t id, struct err *err)
{
	sqlite3_bind_int64(d->del, 1, id);
	return run(d, d->del, err);
}

int disk_del_upto(struct disk *d, int64_t id, uint64_t rev, struct err *err)
{
	sqlite3_bind_int64(d->del_upto, 1, id);
	sqlite3_bind_int64(d->del_upto, 2, (sqlite3_int64)rev);
	return run(d, d->del_upto, err);
}

int disk_meta_set(struct disk *d, const char *key, const char *value, struct err *err)
{
	sqlite3_bind_text(d->meta, 1, key, -1, SQLITE_STATIC);
	sqlite3_bind_text(d->meta, 2, value, -1, SQLITE_STATIC);
	return run(d, d->meta, err);
}

int disk_commit(struct disk *d, struct err *err)
{
	return exec(d, "COMMIT", err);
}

void disk_rollback(struct disk *d)
{
	if (!sqlite3_get_autocommit(d->db))
		exec(d, "ROLLBACK", NULL);
}

void disk_rest(struct disk *d)
{
	if (d->wal_pages >= (d->durable ? CHECKPOINT_PAGES : CHECKPOINT_PAGES_VOLATILE)) {
		int rc = sqlite3_wal_checkpoint_v2(d->db, NULL, SQLITE_CHECKPOINT_PASSIVE, NULL,
						   NULL);

		if (rc == SQLITE_OK)
			d->wal_pages = 0;
		else /* the log goes on growing and nothing is lost; tried again after more */
			log_warn("store: checkpoint of %s: %s", d->path, sqlite3_errstr(rc));
	}
	sqlite3_db_release_memory(d->db);
}

/* ---- healing ---------------------------------------------------------------------------- */

/* Copies rows from behind *last on; false when the end was reached. */
static bool salvage_run(sqlite3_stmt *st, struct disk *to, int64_t *last, size_t *n)
{
	struct disk_row row;
	int rc;

	sqlite3_bind_int64(st, 1, *last);
	while ((rc = sqlite3_step(st)) == SQLITE_ROW) {
		bool good = row_get(st, &row);

		*last = row.id;
		if (good && *row.kind && disk_put(to, &row, NULL) == 0)
			(*n)++;
	}
	sqlite3_reset(st);
	return rc != SQLITE_DONE;
}

/* Reads around what cannot be read: first step by step, then in growing strides. */
static size_t salvage_rows(struct disk *from, struct disk *to)
{
	enum { FINE_STEPS = 4096, MAX_STEPS = FINE_STEPS + 48 };
	int64_t last = 0, stride = 1;
	sqlite3_stmt *st;
	size_t n = 0;

	if (prepare(from, select_rows, &st, NULL) < 0)
		return 0;
	for (int step = 0; step < MAX_STEPS && salvage_run(st, to, &last, &n); step++) {
		if (step >= FINE_STEPS)
			stride *= 2;
		last += stride;
	}
	sqlite3_finalize(st);
	return n;
}

static size_t salvage(const char *path, struct disk *to)
{
	struct disk from;
	size_t n = 0;

	if (open_file(&from, path, true, NULL) == 0) {
		auto_free char *rev = NULL;

		sqlite3_db_config(from.db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
		/* Without this a file that is too short is not read at all. */
		if (exec(&from, "PRAGMA writable_schema=ON", NULL) < 0 || tune(&from, NULL) < 0)
			log_debug("store: %s: settings are not taken", path);
		if (disk_meta_get(&from, "revision", &rev) == 0 &&
		    disk_meta_set(to, "revision", rev, NULL) < 0)
			log_error("store: the reserved revision was not saved");
		n = salvage_rows(&from, to);
	}
	disk_close(&from);
	return n;
}

static int copy_file(const char *from, const char *to)
{
	auto_fd int in = open(from, O_RDONLY | O_CLOEXEC);
	auto_fd int out = open(to, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	ssize_t n;

	if (in < 0 || out < 0)
		return -errno;
	while ((n = copy_file_range(in, NULL, out, NULL, 1 << 20, 0)) > 0)
		;
	return n < 0 ? -errno : 0;
}

/* The first page of a new file: the tables lie at the same pages in every file of ours. */
static int lend_first_page(const char *from, const char *to)
{
	unsigned char page[PAGE_SIZE];
	auto_fd int in = open(from, O_RDONLY | O_CLOEXEC);
	auto_fd int out = open(to, O_RDWR | O_CLOEXEC);
	off_t size = out >= 0 ? lseek(out, 0, SEEK_END) : 0;
	uint32_t pages = htonl((uint32_t)(size / PAGE_SIZE));

	if (in < 0 || out < 0 || pread(in, page, sizeof(page), 0) != PAGE_SIZE)
		return -EIO;
	memcpy(page + 28, &pages, sizeof(pages)); /* size in pages, fileformat2.html 1.3.7 */
	return pwrite(out, page, sizeof(page), 0) == PAGE_SIZE ? 0 : -EIO;
}

/* For a file whose head is destroyed: once more, on a copy with the head of a new one. */
static size_t salvage_headless(const char *path, struct disk *to)
{
	auto_free char *copy = xasprintf("%s.salvage", path);
	auto_free char *wal = xasprintf("%s-wal", path), *copy_wal = xasprintf("%s-wal", copy);
	size_t n = 0;
	int r;

	disk_remove(copy);
	r = copy_file(path, copy);
	if (r == 0 && access(wal, F_OK) == 0)
		r = copy_file(wal, copy_wal);
	if (r == 0)
		r = lend_first_page(to->path, copy);
	if (r == 0)
		n = salvage(copy, to);
	disk_remove(copy);
	return n;
}

/* Renames path and its log to the first free <path>.corrupt-N. */
static int quarantine(const char *path, struct err *err)
{
	auto_free char *wal = xasprintf("%s-wal", path);

	for (int n = 1; n < 1000; n++) {
		auto_free char *to = xasprintf("%s.corrupt-%d", path, n);
		auto_free char *to_wal = xasprintf("%s-wal", to);

		if (access(to, F_OK) == 0)
			continue;
		if (rename(path, to) < 0)
			return err_errno(err, errno, "cannot move the damaged %s away", path);
		if (rename(wal, to_wal) < 0 && errno != ENOENT)
			return err_errno(err, errno, "cannot move the damaged %s away", wal);
		log_error("store: %s is damaged, kept as %s", path, to);
		return 0;
	}
	return err_errno(err, EEXIST, "too many damaged files beside %s", path);
}

int disk_heal(const char *path, struct err *err)
{
	auto_free char *fresh = xasprintf("%s.new", path);
	struct disk to;
	size_t n;
	int r;

	disk_remove(fresh);
	r = disk_open(&to, fresh, true, err);
	if (r < 0)
		return r;
	to.wal_pages = CHECKPOINT_PAGES; /* its first page is wanted in the file */
	disk_rest(&to);
	r = disk_begin(&to, err);
	n = r == 0 ? salvage(path, &to) : 0;
	if (r == 0 && n == 0)
		n = salvage_headless(path, &to);
	if (r == 0)
		r = disk_commit(&to, err);
	disk_close(&to); /* moves its log into the file */
	if (r == 0)
		r = quarantine(path, err);
	if (r == 0 && rename(fresh, path) < 0)
		r = err_errno(err, errno, "cannot put the healed %s in place", path);
	if (r < 0)
		return r;
	sync_dir_of(path);
	log_error("store: %s: %zu objects could be read and are kept", path, n);
	return 0;
}
