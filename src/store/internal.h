/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of src/store share.
 *
 *   object.c  objects, their parsed forms (LRU)
 *   index.c   sorted arrays per kind, iteration
 *   history.c the ring of changes and the watches that read it
 *   past.c    kinds as they were at an earlier revision
 *   store.c   opening, closing, the write path
 *   flush.c   queues of not yet durable writes, results of the writer, taking back
 *   writer.c  the writer thread
 *   disk.c    one SQLite file
 *   custom.c  kinds that come and go with their definitions
 *   load.c    reading both files at the start, healing
 *
 * Only writer.c and disk.c run in the writer thread; they see immutable objects and never touch
 * reference counts.
 */
#ifndef CORACLE_STORE_INTERNAL_H
#define CORACLE_STORE_INTERNAL_H

#include <coracle/store.h>

struct sqlite3;
struct sqlite3_stmt;

/* ---- objects ---------------------------------------------------------------------------- */

enum stored_flags {
	STORED_DURABLE = 1, /* has, or will have, a row in the durable file */
	STORED_LAZY = 2,    /* in the volatile file: still has to reach the durable one */
	STORED_FORMER = 4,  /* has the form of a former schema (custom.c); never in a file */
};
/* One version of an object; what `const struct object *` points to. */
struct stored {
	struct object pub; /* first */
	struct store *store;
	int64_t id; /* row, the same for all versions */
	unsigned refs;
	unsigned flags;	 /* enum stored_flags */
	struct list lru; /* in store->lru while json is there */
	json_t *json;
	char data[]; /* ns, name, uid, text: NUL-terminated each */
};
static inline struct stored *stored_of(const struct object *o)
{
	return (struct stored *)(uintptr_t)o;
}
/* The strings an object is made of; borrowed. */
struct object_parts {
	const struct kind *kind;
	const char *ns, *name, *uid, *text;
	size_t len;
	uint64_t rev;
};
/* New with one reference. */
struct stored *stored_new(struct store *s, const struct object_parts *p, int64_t id,
			  unsigned flags);
/* New from JSON, whose metadata.resourceVersion is set to rev. */
struct stored *stored_from_json(struct store *s, const struct kind *k, json_t *obj, uint64_t rev,
				int64_t id, unsigned flags);
/* What is ready of an object before it has its revision. */
struct store_draft {
	struct store *store;
	const struct kind *kind;
	json_t *obj;		  /* NULL: old is to be deleted */
	const struct object *old; /* one reference, or NULL */
	bool same;		  /* as old, but for the revision */
	struct stored *made;	  /* nobody knows it yet; NULL: none needed, or used */
	size_t rev_at, rev_len;	  /* where the revision stands in its text */
};
/* What a draft has made, with its revision put in, and its value as the parsed form. */
struct stored *stored_from_draft(struct store *s, struct store_draft *d, uint64_t rev, int64_t id,
				 unsigned flags);
/* New from another version: the same text but for resourceVersion, and status if given. */
struct stored *stored_copy(struct store *s, const struct object *from, uint64_t rev,
			   const json_t *status);
/* Drops the reference at the end of the turn: borrowers keep it until then. */
void object_unref_later(struct store *s, const struct object *o);
void json_cache_clear(struct store *s);

/* ---- index ------------------------------------------------------------------------------ */

struct kind_index {
	const struct kind *kind;
	const struct object **v; /* sorted by (ns, name); one reference each */
	size_t n, cap;
	size_t bytes;  /* of texts */
	bool former;   /* some may be STORED_FORMER, */
	size_t at;     /* and were looked for so far */
	unsigned form; /* which form that is not: counts changes of the schema */
};
struct kind_index *index_of(const struct store *s, const struct kind *k); /* NULL: none yet */
const struct object *index_find(const struct store *s, const struct kind *k, const char *ns,
				const char *name);
/* old NULL: insert (takes the reference of new_); new_ NULL: remove. Keys are the same. */
void index_change(struct store *s, const struct object *old, const struct object *new_);
void index_free(struct store *s);

/* ---- history ---------------------------------------------------------------------------- */

struct change {
	const struct object *obj, *old; /* one reference each; old may be NULL */
	uint64_t at_us;
	enum store_event_type type;
};
struct history {
	struct change *ring;
	size_t cap;
	uint64_t first, next; /* numbers of the oldest change held and of the coming one */
	uint64_t floor;	      /* revision of the newest change that has been forgotten */
	size_t bytes, max_bytes;
};
void history_init(struct store *s, size_t events, size_t bytes);
void history_add(struct store *s, enum store_event_type type, const struct object *obj,
		 const struct object *old);
/* Forgets what is older than max_age_us beyond keep_bytes; true while more may be forgotten later.
 */
bool history_trim(struct store *s, size_t keep_bytes, uint64_t max_age_us);
void history_free(struct store *s);
/* Number of the first change held whose revision is above rev. */
uint64_t history_above(const struct history *h, uint64_t rev);
void watches_show(void *arg, json_t *rows);

/* Ends the watches of kinds that are not served any more, once they have been told the rest. */
void watches_end_unserved(struct store *s);

/* ---- custom kinds ----------------------------------------------------------------------- */

void customs_open(struct store *s);
void customs_close(struct store *s);
/* o (NULL stays NULL) in its kind's form; without wait: unless it is long and this is no task.
 * NULL, too, when it has gone meanwhile. */
const struct object *customs_settled(struct store *s, const struct object *o, bool wait);
/* Follows a change of crd (any object; only definitions matter). */
void customs_follow(struct store *s, const struct object *crd, bool gone, bool loading);
/* After loading: objects written by an older schema will get the form of the present one. */
void customs_settle_all(struct store *s);

/* ---- the past --------------------------------------------------------------------------- */

/* An object that has changed since. */
struct past_entry {
	const struct object *key; /* a later version: its name */
	const struct object *was; /* NULL: it was not there */
	uint64_t order;
};
struct store_past {
	struct past_entry *entries; /* sorted by (ns, name), one a name */
	size_t n;
};
/* The first entry whose key is not less than (ns, name). */
size_t past_bound(const struct store_past *p, const char *ns, const char *name);
bool past_covers(const struct store_past *p, const struct object *o);

/* ---- files ------------------------------------------------------------------------------ */

struct disk {
	struct sqlite3 *db;
	struct sqlite3_stmt *put, *del, *del_upto, *meta;
	char *path;
	int wal_pages; /* in the write-ahead log, as the last commit told */
	bool durable;
};
/* A row as it is loaded; texts are valid during the callback. */
struct disk_row {
	int64_t id;
	uint64_t rev;
	unsigned flags;
	const char *kind, *ns, *name, *uid, *text;
	size_t len;
};
typedef void disk_row_fn(void *arg, const struct disk_row *row);
/* Makes the file when absent. -EUCLEAN: it is damaged. */
int disk_open(struct disk *d, const char *path, bool durable, struct err *err) MUST_CHECK;
void disk_close(struct disk *d);
void disk_move(struct disk *to, struct disk *from);
int disk_load(struct disk *d, disk_row_fn *fn, void *arg, struct err *err) MUST_CHECK;
/* Moves the file away as *.corrupt-N and makes a new one with the rows that could be read. */
int disk_heal(const char *path, struct err *err) MUST_CHECK;
void disk_remove(const char *path);
int disk_meta_get(struct disk *d, const char *key, char **ret) MUST_CHECK; /* -ENOENT */
int disk_begin(struct disk *d, struct err *err) MUST_CHECK;
int disk_put(struct disk *d, const struct disk_row *row, struct err *err) MUST_CHECK;
int disk_put_object(struct disk *d, int64_t id, unsigned flags, const struct object *o,
		    struct err *err) MUST_CHECK;
int disk_del(struct disk *d, int64_t id, struct err *err) MUST_CHECK;
int disk_del_upto(struct disk *d, int64_t id, uint64_t rev, struct err *err) MUST_CHECK;
int disk_meta_set(struct disk *d, const char *key, const char *value, struct err *err) MUST_CHECK;
int disk_commit(struct disk *d, struct err *err) MUST_CHECK;
void disk_rollback(struct disk *d);
/* Moves the log into the file when it has grown, gives memory back. */
void disk_rest(struct disk *d);

/* ---- writer ----------------------------------------------------------------------------- */

/* What the thread does to one row: put obj, or delete when obj is NULL. */
struct row_write {
	int64_t id;
	uint64_t rev;
	const struct object *obj;
	unsigned flags;
};
struct batch {
	struct row_write *rows, *volatile_rows;
	size_t n_rows, n_volatile_rows;
	uint64_t reserve; /* revision to reserve durably; 0: none */
	uint64_t rev;	  /* the newest one, noted in the volatile file */
	struct list ops;  /* the loop's: struct op */
	int error;	  /* result of the durable part: 0 or -errno */
	struct err err;
};
struct writer;
typedef void writer_done_fn(void *arg, struct batch *b);
/* Takes both files (volatile_file may be unopened). done is called on the loop. */
struct writer *writer_new(struct loop *loop, struct disk *durable, struct disk *volatile_file,
			  writer_done_fn *done, void *arg, struct err *err);
/* One batch at a time; it is handed back through done, or by writer_wait, which blocks. */
void writer_submit(struct writer *w, struct batch *b);
struct batch *writer_wait(struct writer *w);
/* Ends the thread (no batch may be with it) and closes the files. */
void writer_free(struct writer *w);
void batch_free(struct batch *b); /* its ops must be gone */

/* ---- pending writes --------------------------------------------------------------------- */

/* A write that has been done in memory. */
struct op {
	struct list node; /* in a queue of the store, or batch->ops */
	const struct object *before,
		*after; /* one reference each; NULL: absent. Both NULL: barrier */
	int64_t id;
	enum store_class class;
	store_done_fn *done;
	void *arg;
};
/* Puts a change into its queue. */
void op_add(struct store *s, const struct object *before, const struct object *after,
	    enum store_class c, store_done_fn *done, void *arg);
void queues_init(struct store *s);
void queues_free(struct store *s);
/* -ENOSPC (or another) + err while durable writes are refused. */
int trouble_check(struct store *s, enum store_class c, struct err *err) MUST_CHECK;
void trouble_set(struct store *s, const struct err *why);
writer_done_fn on_batch_done;
/* Blocks until nothing is pending; done functions are not called any more. */
void flush_everything(struct store *s);

struct queues {
	struct list durable, lazy; /* struct op, oldest first */
	struct row_write *volatile_rows;
	size_t n_volatile_rows, cap_volatile_rows;
	size_t n_ops; /* not yet durable, those under way too */
	bool lazy_due;
	struct timer *lazy_timer;
	bool under_way; /* a batch is with the writer */
	char *trouble;	/* why durable writes fail, or NULL */
	enum err_reason trouble_reason;
	mono_t tried_at; /* when a durable write was last let through during trouble */
	bool trying;
};

/* ---- the store -------------------------------------------------------------------------- */

struct store {
	struct loop *loop;
	char *dir, *path, *volatile_path;
	struct kind_index *kinds; /* by kind->index */
	size_t n_kinds;
	struct map by_uid;
	uint64_t rev, reserved;
	int64_t next_id;
	bool new_boot, closing;
	struct history history;
	struct list watches;
	struct queues q;
	struct writer *writer;
	struct list lru; /* parsed forms, the latest first */
	size_t lru_cost;
	uint64_t uses, uses_seen; /* of the cache, for the idle timer */
	struct timer *trim_timer;
	struct work settle_work; /* starts */
	struct task settle_task; /* which brings objects into the form of a changed schema */
};
/* Applies a change to memory: index, uid, history. */
void store_apply(struct store *s, enum store_event_type type, const struct object *old,
		 struct stored *new_);
/* Tells the idle timer that there is something to trim. */
void store_touch(struct store *s);

/* How many revisions are reserved at once; half of it is left when the next block is asked for. */
#define REV_BLOCK (UINT64_C(1) << 20)

/* Opens both files and fills memory. */
int store_load(struct store *s, struct disk *durable, struct disk *volatile_file,
	       struct err *err) MUST_CHECK;

#endif
