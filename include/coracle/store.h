/* SPDX-License-Identifier: Apache-2.0 */
/*
 * store: every object, its revision, its durability, and the bus that tells of changes.
 *
 * Purpose: objects are immutable, reference-counted JSON texts keyed by kind, namespace, name.
 * A write is visible in memory at once (one thread: no races), is told to watchers in the deferred
 * phase, and is reported durable through its `done` callback when it is on disk (group commit by
 * one writer thread). If the disk refuses, the change is taken back by a compensating change and
 * done gets the error: nothing that was acknowledged is ever lost, nothing unacknowledged stays.
 * Lifetime: store_open() after loop_new(); store_close() flushes.
 * Borrowed objects and texts stay valid until the end of the loop turn, even when replaced.
 */
#ifndef CORACLE_STORE_H
#define CORACLE_STORE_H

#include <coracle/base.h>
#include <coracle/json.h>
#include <coracle/loop.h>
#include <coracle/schema.h>

struct store_config {
	const char *dir;	  /* durable: <state-dir>/store, made when absent */
	const char *volatile_dir; /* tmpfs: <run-dir>/store; keeps observations across daemon
				     restarts */
	size_t history_events;	  /* ring for watches; 0: 2048 */
	size_t history_bytes;	  /* 0: 4 MiB */
};

/* How much a write must survive. */
enum store_class {
	STORE_DURABLE,	/* a wish: acknowledged when it survives a power cut */
	STORE_LAZY,	/* written with the next durable batch, or within a minute by itself */
	STORE_VOLATILE, /* an observation: survives the daemon (tmpfs), not the machine; no flash */
};

struct object {
	const struct kind *kind;
	const char *ns; /* "" for cluster-scoped kinds */
	const char *name;
	const char *uid;
	uint64_t rev;	  /* metadata.resourceVersion */
	const char *text; /* compact JSON, complete with kind, apiVersion and resourceVersion */
	size_t len;
};
struct object *object_ref(const struct object *o); /* NULL stays NULL */
void object_unref(const struct object *o);	   /* NULL allowed */
DEFINE_AUTO(object, const struct object *, object_unref);
/* Parsed form: borrowed, immutable, cached; valid until the end of the turn. */
const json_t *object_json(const struct object *o);
/* A new deep copy to change. */
json_t *object_dup(const struct object *o);
/* The object in another version of its kind (struct kind.storage); itself when that is its own.
 * Borrowed until the end of the turn. NULL stays NULL. */
const struct object *object_as(const struct object *o, const struct kind *k);

struct store;
struct store *store_open(struct loop *loop, const struct store_config *config, struct err *err);
/* Waits for the writer thread, closes the files. Called outside the loop. */
void store_close(struct store *s);
uint64_t store_rev(const struct store *s); /* the newest revision */
/* True once after a machine boot: observations of the former boot are gone. */
bool store_is_new_boot(const struct store *s);
/* The daemon calls this once a turn, in the phase "store flush": hands the batch to the writer. */
void store_flush(struct store *s);
/* Number of writes not yet durable. */
size_t store_pending(const struct store *s);

/*
 * ---- reading ------------------------------------------------------------------------------
 *
 * Who asks for a kind that is stored as another version of it gets the objects in the version asked
 * for: store_get, store_next and watches convert. For a moment after a change of a custom kind's
 * schema large objects still have their former form, and objects that are iterated over may be of
 * the version that was stored before.
 */

const struct object *store_get(const struct store *s, const struct kind *k, const char *ns,
			       const char *name); /* borrowed; NULL when absent */
const struct object *store_get_uid(const struct store *s, const char *uid);
size_t store_count(const struct store *s, const struct kind *k);
/* Iterates in (namespace, name) order; ns NULL or "" : all. Writes during it are allowed: the
 * iterator goes on behind the last key it gave. */
struct store_iter {
	const struct store *store;
	const struct kind *kind; /* as stored */
	const struct kind *as;	 /* as asked for */
	char ns[256];		 /* restriction, "" for all */
	char last_ns[256];	 /* key given last */
	char last_name[256];
	bool started;
	size_t at; /* where the last key was */
	/* Borrowed; may be set after store_iter(): the kind as it was then. */
	const struct store_past *past;
};
struct store_iter store_iter(const struct store *s, const struct kind *k, const char *ns);
/* Starts behind the given key (pagination). */
struct store_iter store_iter_after(const struct store *s, const struct kind *k, const char *ns,
				   const char *after_ns, const char *after_name);
const struct object *store_next(struct store_iter *it); /* borrowed; NULL at the end */

/*
 * A kind as it was at revision rev, for iterators over it; it takes what changed since then. NULL +
 * ERR_EXPIRED when the history does not reach back so far. rev must not lie in the future.
 */
struct store_past;
struct store_past *store_past_new(const struct store *s, const struct kind *k, uint64_t rev,
				  struct err *err);
void store_past_free(struct store_past *p); /* NULL allowed */

/* ---- writing ---------------------------------------------------------------------------- */

/* Runs once, in a later turn: err NULL when the write has reached its class' durability. */
typedef void store_done_fn(void *arg, const struct err *err);

/*
 * Raw writes: no defaults, no admission (that is the registry's). obj must have kind, apiVersion
 * and metadata.{name,namespace,uid}; it is borrowed, and metadata.resourceVersion is set in it.
 * create: 409 AlreadyExists. update: expect_rev 0 is any, else 409 Conflict; an update that changes
 * nothing keeps the revision and tells nobody. *ret is borrowed. done may be NULL.
 */
int store_create(struct store *s, const struct kind *k, json_t *obj, enum store_class c,
		 store_done_fn *done, void *arg, const struct object **ret,
		 struct err *err) MUST_CHECK;
int store_update(struct store *s, const struct kind *k, json_t *obj, uint64_t expect_rev,
		 enum store_class c, store_done_fn *done, void *arg, const struct object **ret,
		 struct err *err) MUST_CHECK;
/*
 * The same in two steps, for tasks (loop.h): what takes long is done ahead, breathing, and the
 * write itself is short. obj is the store's from the first step on and must not change any more.
 * old: what it replaces; NULL: nothing. A draft is written once, and freed by its maker.
 */
struct store_draft;
/* NULL + 413 when obj is larger than anything may be, managedFields included. */
#define STORE_TEXT_MAX (6U << 20)
#define STORE_VALUES_MAX 400000U
struct store_draft *store_draft_new(struct store *s, const struct kind *k, json_t *obj,
				    const struct object *old, struct err *err) MUST_CHECK;
/* Of the removal of old, for store_delete_draft(). */
struct store_draft *store_draft_deletion(struct store *s, const struct object *old);
void store_draft_free(struct store_draft *d); /* NULL allowed */
int store_create_draft(struct store *s, struct store_draft *d, enum store_class c,
		       store_done_fn *done, void *arg, const struct object **ret,
		       struct err *err) MUST_CHECK;
/* 409 Conflict when old is not the present state any more. */
int store_update_draft(struct store *s, struct store_draft *d, enum store_class c,
		       store_done_fn *done, void *arg, const struct object **ret,
		       struct err *err) MUST_CHECK;
int store_delete_draft(struct store *s, struct store_draft *d, enum store_class c,
		       store_done_fn *done, void *arg, const struct object **ret,
		       struct err *err) MUST_CHECK;
/* Removes for good. *ret: the last state with the deletion's revision. */
int store_delete(struct store *s, const struct kind *k, const char *ns, const char *name,
		 uint64_t expect_rev, enum store_class c, store_done_fn *done, void *arg,
		 const struct object **ret, struct err *err) MUST_CHECK;
/* An object that is in no store (the answer of a dry run); borrowed until the end of the turn. */
const struct object *store_detached(struct store *s, const struct kind *k, json_t *obj);
/* Why durable writes are refused at present (disk full), or NULL. */
const char *store_trouble(const struct store *s);

/* ---- watching --------------------------------------------------------------------------- */

enum store_event_type { STORE_ADDED, STORE_MODIFIED, STORE_DELETED };
struct store_event {
	enum store_event_type type;
	uint64_t rev;
	const struct object *obj; /* borrowed; for DELETED the last state, rev = the deletion's */
	const struct object *old; /* the state before, NULL for ADDED; borrowed */
};
/* Return false to be paused before the NEXT event (this one counts as taken). */
typedef bool store_watch_fn(void *arg, const struct store_event *ev);
/* The watcher fell out of the history ring; it gets no more events. May be NULL. */
typedef void store_watch_lost_fn(void *arg);
struct store_watch;
/*
 * Events of kind k (NULL: all) with rev > since, in order, delivered in the deferred phase.
 * NULL + ERR_EXPIRED ("too old resource version: N (M)") when since is older than the history.
 * A watcher from the present: since = store_rev().
 */
struct store_watch *store_watch_new(struct store *s, const struct kind *k, uint64_t since,
				    store_watch_fn *fn, store_watch_lost_fn *lost, void *arg,
				    struct err *err);
void store_watch_resume(struct store_watch *w);
/* Every change up to this revision has been given to the watch. */
uint64_t store_watch_rev(const struct store_watch *w);
void store_watch_free(struct store_watch *w); /* legal inside its callback */

#endif
