/* SPDX-License-Identifier: Apache-2.0 */
/* Opening, closing and the write path: memory first, then the queues of what must become durable.
 */
#include "internal.h"
#include <inttypes.h>
#include <malloc.h>

/* After this long without use the caches are given back; history older than this goes, too. */
#define TRIM_AFTER_US (30 * USEC_PER_SEC)
#define HISTORY_AGE_US (5 * 60 * USEC_PER_SEC)
#define HISTORY_KEEP_BYTES (256U << 10)

/* ---- errors in Kubernetes' words -------------------------------------------------------- */

static int fail(struct err *err, enum err_reason reason, const struct kind *k, const char *name,
		const char *what)
{
	char resource[API_VERSION_MAX];

	err_about(err, k->plural, k->group, name);
	kind_resource(k, resource);
	if (reason == ERR_CONFLICT)
		return err_set(err, reason, "Operation cannot be fulfilled on %s \"%s\": %s",
			       resource, name, what);
	return err_set(err, reason, "%s \"%s\" %s", resource, name, what);
}

static int fail_modified(const struct object *old, struct err *err)
{
	return fail(err, ERR_CONFLICT, old->kind, old->name,
		    "the object has been modified; please apply your changes to the latest version "
		    "and try again");
}

static int check_rev(const struct object *old, uint64_t expect_rev, struct err *err)
{
	return !expect_rev || old->rev == expect_rev ? 0 : fail_modified(old, err);
}

/* Is it what is stored now? */
static bool is_present(const struct store *s, const struct object *o)
{
	return store_get(s, o->kind, o->ns, o->name) == o;
}

/* ---- idle memory ------------------------------------------------------------------------ */

void store_touch(struct store *s)
{
	s->uses++;
	if (s->trim_timer && !timer_armed(s->trim_timer))
		timer_arm(s->trim_timer, TRIM_AFTER_US);
}

static void give_back(void *arg UNUSED)
{
	malloc_trim(0);
}

static void on_trim(void *arg)
{
	struct store *s = arg;
	bool used = s->uses != s->uses_seen;

	s->uses_seen = s->uses;
	if (used) {
		timer_arm(s->trim_timer, TRIM_AFTER_US);
		return;
	}
	/* What is dropped here is freed when the turn ends, the last first: this comes after it
	 * all. */
	loop_free_later(s->loop, give_back, NULL);
	json_cache_clear(s);
	custom_trim();
	if (history_trim(s, HISTORY_KEEP_BYTES, HISTORY_AGE_US))
		timer_arm(s->trim_timer, HISTORY_AGE_US);
}

/* ---- the write path --------------------------------------------------------------------- */

void store_apply(struct store *s, enum store_event_type type, const struct object *old,
		 struct stored *new_)
{
	bool gone = type == STORE_DELETED;

	/* new_ is the state to keep, or the last one with the deletion's revision. */
	if (old && (gone || !streq(old->uid, new_->pub.uid)))
		map_del(&s->by_uid, old->uid);
	index_change(s, old, gone ? NULL : &new_->pub);
	if (!gone)
		map_put(&s->by_uid, new_->pub.uid, &new_->pub);
	history_add(s, type, &new_->pub, old);
	if (gone)
		object_unref_later(s, &new_->pub);
	object_unref_later(s, old);
	customs_follow(s, &new_->pub, gone, false);
}

/* Flags of the version that follows old (NULL: none) when written in class c. */
static unsigned flags_after(const struct object *old, enum store_class c)
{
	unsigned flags = old ? stored_of(old)->flags & ~(unsigned)STORED_FORMER : 0;

	switch (c) {
	case STORE_DURABLE:
		return STORED_DURABLE;
	case STORE_LAZY:
		return flags | STORED_LAZY; /* durable once it is written */
	case STORE_VOLATILE:
		break;
	}
	return flags;
}

static int check_parts(const struct kind *k, const json_t *obj, struct err *err)
{
	if (str_empty(meta_name(obj)) || str_empty(meta_uid(obj)) ||
	    (k->namespaced && str_empty(meta_ns(obj))))
		return err_set(err, ERR_INTERNAL,
			       "Internal error occurred: %s without name, namespace or uid",
			       k->kind);
	return 0;
}

/* Between the look at what is there and the change nobody else may write: below here nothing is put
 * aside. */
static int create(struct store *s, const struct kind *k, json_t *obj, struct store_draft *d,
		  enum store_class c, store_done_fn *done, void *arg, const struct object **ret,
		  struct err *err)
{
	const char *name = meta_name(obj);
	struct stored *o;
	int r = check_parts(k, obj, err);

	if (r < 0)
		return r;
	if (store_get(s, k, meta_ns(obj), name))
		return fail(err, ERR_ALREADY_EXISTS, k, name, "already exists");
	r = trouble_check(s, c, err);
	if (r < 0)
		return r;
	s->rev++;
	o = d ? stored_from_draft(s, d, s->rev, s->next_id++, flags_after(NULL, c))
	      : stored_from_json(s, k, obj, s->rev, s->next_id++, flags_after(NULL, c));
	store_apply(s, STORE_ADDED, NULL, o);
	op_add(s, NULL, &o->pub, c, done, arg);
	if (ret)
		*ret = &o->pub;
	return 0;
}

int store_create(struct store *s, const struct kind *k, json_t *obj, enum store_class c,
		 store_done_fn *done, void *arg, const struct object **ret, struct err *err)
{
	breath_hold();
	int r = create(s, k, obj, NULL, c, done, arg, ret, err);

	breath_release();
	return r;
}

int store_create_draft(struct store *s, struct store_draft *d, enum store_class c,
		       store_done_fn *done, void *arg, const struct object **ret, struct err *err)
{
	breath_hold();
	int r = create(s, d->kind, d->obj, d, c, done, arg, ret, err);

	breath_release();
	return r;
}

/* Same but for the revision? obj gets the revision of old. */
static bool is_same(const struct object *old, json_t *obj)
{
	json_put_strf(obj, "metadata.resourceVersion", "%" PRIu64, old->rev);
	return json_same(obj, object_json(old));
}

/* What follows old; nothing does when it is the same. */
static int update(struct store *s, const struct object *old, json_t *obj, struct store_draft *d,
		  enum store_class c, store_done_fn *done, void *arg, const struct object **ret,
		  struct err *err)
{
	struct stored *o;
	int r;

	if (d ? d->same : is_same(old, obj)) {
		if (done) /* told when what it equals is durable */
			op_add(s, NULL, NULL, STORE_DURABLE, done, arg);
		if (ret)
			*ret = old;
		return 0;
	}
	r = trouble_check(s, c, err);
	if (r < 0)
		return r;
	s->rev++;
	o = d ? stored_from_draft(s, d, s->rev, stored_of(old)->id, flags_after(old, c))
	      : stored_from_json(s, old->kind, obj, s->rev, stored_of(old)->id,
				 flags_after(old, c));
	op_add(s, old, &o->pub, c, done, arg);
	store_apply(s, STORE_MODIFIED, old, o);
	if (ret)
		*ret = &o->pub;
	return 0;
}

/* What a write replaces: as it is stored, in the form it should have. */
static const struct object *stored_now(struct store *s, const struct kind *k, const char *ns,
				       const char *name)
{
	return customs_settled(s, index_find(s, k, k->namespaced && ns ? ns : "", name), true);
}

static int update_any(struct store *s, const struct kind *k, json_t *obj, uint64_t expect_rev,
		      enum store_class c, store_done_fn *done, void *arg, const struct object **ret,
		      struct err *err)
{
	const struct object *old;
	int r = check_parts(k, obj, err);

	if (r < 0)
		return r;
	old = stored_now(s, k, meta_ns(obj), meta_name(obj));
	if (!old)
		return fail(err, ERR_NOT_FOUND, k, meta_name(obj), "not found");
	r = check_rev(old, expect_rev, err);
	return r < 0 ? r : update(s, old, obj, NULL, c, done, arg, ret, err);
}

int store_update(struct store *s, const struct kind *k, json_t *obj, uint64_t expect_rev,
		 enum store_class c, store_done_fn *done, void *arg, const struct object **ret,
		 struct err *err)
{
	breath_hold();
	int r = update_any(s, k, obj, expect_rev, c, done, arg, ret, err);

	breath_release();
	return r;
}

static int update_drafted(struct store *s, struct store_draft *d, enum store_class c,
			  store_done_fn *done, void *arg, const struct object **ret,
			  struct err *err)
{
	const struct object *old = d->old;
	int r = check_parts(d->kind, d->obj, err);

	if (r < 0)
		return r;
	if (!is_present(s, old))
		return fail_modified(old, err);
	return update(s, old, d->obj, d, c, done, arg, ret, err);
}

int store_update_draft(struct store *s, struct store_draft *d, enum store_class c,
		       store_done_fn *done, void *arg, const struct object **ret, struct err *err)
{
	breath_hold();
	int r = update_drafted(s, d, c, done, arg, ret, err);

	breath_release();
	return r;
}

static int delete (struct store *s, const struct object *old, struct store_draft *d,
		   enum store_class c, store_done_fn *done, void *arg, const struct object **ret,
		   struct err *err)
{
	struct stored *o;
	int r;

	/* A row in the durable file has to go from there, or the object would come back. */
	if (stored_of(old)->flags & (STORED_DURABLE | STORED_LAZY))
		c = STORE_DURABLE;
	else if (c == STORE_LAZY)
		c = STORE_VOLATILE;
	r = trouble_check(s, c, err);
	if (r < 0)
		return r;
	s->rev++;
	o = d && d->made
		    ? stored_from_draft(s, d, s->rev, stored_of(old)->id, stored_of(old)->flags)
		    : stored_copy(s, old, s->rev, NULL);
	op_add(s, old, NULL, c, done, arg);
	store_apply(s, STORE_DELETED, old, o);
	if (ret)
		*ret = &o->pub;
	return 0;
}

static int delete_any(struct store *s, const struct kind *k, const char *ns, const char *name,
		      uint64_t expect_rev, enum store_class c, store_done_fn *done, void *arg,
		      const struct object **ret, struct err *err)
{
	const struct object *old = stored_now(s, k, ns, name);
	int r;

	if (!old)
		return fail(err, ERR_NOT_FOUND, k, name, "not found");
	r = check_rev(old, expect_rev, err);
	return r < 0 ? r : delete (s, old, NULL, c, done, arg, ret, err);
}

int store_delete(struct store *s, const struct kind *k, const char *ns, const char *name,
		 uint64_t expect_rev, enum store_class c, store_done_fn *done, void *arg,
		 const struct object **ret, struct err *err)
{
	breath_hold();
	int r = delete_any(s, k, ns, name, expect_rev, c, done, arg, ret, err);

	breath_release();
	return r;
}

static int delete_drafted(struct store *s, struct store_draft *d, enum store_class c,
			  store_done_fn *done, void *arg, const struct object **ret,
			  struct err *err)
{
	const struct object *old = d->old;

	return is_present(s, old) ? delete (s, old, d, c, done, arg, ret, err)
				  : fail_modified(old, err);
}

int store_delete_draft(struct store *s, struct store_draft *d, enum store_class c,
		       store_done_fn *done, void *arg, const struct object **ret, struct err *err)
{
	breath_hold();
	int r = delete_drafted(s, d, c, done, arg, ret, err);

	breath_release();
	return r;
}

const struct object *store_detached(struct store *s, const struct kind *k, json_t *obj)
{
	uint64_t rev = 0;
	struct stored *o;

	if (str_to_u64(json_str(obj, "metadata.resourceVersion", "0"), UINT64_MAX, &rev) < 0)
		rev = 0;
	o = stored_from_json(s, k, obj, rev, 0, 0);
	object_unref_later(s, &o->pub);
	return &o->pub;
}

/* ---- opening and closing ---------------------------------------------------------------- */

uint64_t store_rev(const struct store *s)
{
	return s->rev;
}

bool store_is_new_boot(const struct store *s)
{
	return s->new_boot;
}

size_t store_pending(const struct store *s)
{
	return s->q.n_ops;
}

const char *store_trouble(const struct store *s)
{
	return s->q.trouble;
}

static void show_row(json_t *rows, const char *what, size_t n, size_t bytes)
{
	json_t *row = json_object();

	json_put_str(row, "what", what);
	json_put_int(row, "number", (json_int_t)n);
	json_put_int(row, "bytes", (json_int_t)bytes);
	json_array_append_new(rows, row);
}

static void store_metrics(void *arg, struct strbuf *out)
{
	const struct store *s = arg;
	char resource[API_VERSION_MAX];

	metric_one(out, "coracle_store_revision", "counter", "Newest resource version.",
		   (double)s->rev);
	metric_one(out, "coracle_store_pending_writes", "gauge", "Writes not yet durable.",
		   (double)s->q.n_ops);
	metric_one(out, "coracle_store_history_events", "gauge",
		   "Changes that watches can still be told of.",
		   (double)(s->history.next - s->history.first));
	metric_one(out, "coracle_store_trouble", "gauge", "1 while the disk refuses writes.",
		   s->q.trouble ? 1 : 0);
	metric_family(out, "apiserver_storage_objects", "gauge",
		      "Number of stored objects at the time of last check split by kind.");
	for (size_t i = 0; i < s->n_kinds; i++)
		if (s->kinds[i].n)
			metric_put(out, "apiserver_storage_objects", (double)s->kinds[i].n,
				   "resource", kind_resource(s->kinds[i].kind, resource), NULL);
}

static void show_store(void *arg, json_t *rows)
{
	const struct store *s = arg;
	char resource[API_VERSION_MAX];

	for (size_t i = 0; i < s->n_kinds; i++)
		if (s->kinds[i].n)
			show_row(rows, kind_resource(s->kinds[i].kind, resource), s->kinds[i].n,
				 s->kinds[i].bytes);
	show_row(rows, "revision", s->rev, 0);
	show_row(rows, "writes pending", s->q.n_ops, 0);
	show_row(rows, "history", s->history.next - s->history.first, s->history.bytes);
	show_row(rows, "parsed cache", 0, s->lru_cost);
	if (s->q.trouble)
		show_row(rows, s->q.trouble, 1, 0);
}

/* Frees what is neither the writer's nor the watches'. */
static void store_free(struct store *s)
{
	show_unregister("store");
	show_unregister("watches");
	metrics_unregister("store");
	timer_free(s->trim_timer);
	s->trim_timer = NULL;
	customs_close(s);
	queues_free(s);
	json_cache_clear(s);
	history_free(s);
	index_free(s);
	map_done(&s->by_uid);
	free(s->dir);
	free(s->path);
	free(s->volatile_path);
	free(s);
}

static int prepare(struct store *s, const struct store_config *config, struct err *err)
{
	int r = mkdir_p(config->dir, 0700);

	if (r == 0 && config->volatile_dir)
		r = mkdir_p(config->volatile_dir, 0700);
	if (r < 0)
		return err_errno(err, -r, "cannot make the store directory %s", config->dir);
	s->dir = xstrdup(config->dir);
	s->path = path_join(config->dir, "objects.db");
	if (config->volatile_dir)
		s->volatile_path = path_join(config->volatile_dir, "observations.db");
	return 0;
}

struct store *store_open(struct loop *loop, const struct store_config *config, struct err *err)
{
	struct store *s = xnew(struct store);
	struct disk durable = {0}, volatile_file = {0};

	s->loop = loop;
	s->next_id = 1;
	list_init(&s->lru);
	queues_init(s);
	history_init(s, config->history_events, config->history_bytes);
	customs_open(s);
	if (prepare(s, config, err) < 0 || store_load(s, &durable, &volatile_file, err) < 0)
		goto fail;
	s->writer = writer_new(loop, &durable, &volatile_file, on_batch_done, s, err);
	if (!s->writer)
		goto fail;
	s->history.floor = s->rev; /* nobody can go on from before */
	s->trim_timer = timer_new(loop, on_trim, s);
	show_register("store", show_store, s);
	show_register("watches", watches_show, s);
	metrics_register("store", store_metrics, s);
	log_info("store: %s: revision %" PRIu64 ", %s", s->path, s->rev,
		 s->new_boot ? "first start since boot" : "observations kept");
	return s;
fail:
	disk_close(&durable);
	disk_close(&volatile_file);
	store_free(s);
	return NULL;
}

void store_close(struct store *s)
{
	if (!s)
		return;
	flush_everything(s);
	writer_free(s->writer);
	store_free(s);
}
