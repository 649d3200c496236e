/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The start: the durable file, then over it the observations of this boot. A damaged durable file
 * is moved away and what can be read of it goes into a new one; damaged observations are dropped.
 */
#include "internal.h"
#include <inttypes.h>

#define BOOT_ID_FILE "/proc/sys/kernel/random/boot_id"

/* Revisions that a killed daemon may have given out since the volatile file was written last. */
#define REV_MARGIN 1000

struct loading {
	struct store *s;
	int64_t *stale; /* rows of the volatile file that mean nothing any more */
	size_t n_stale;
	size_t n_unknown; /* rows of kinds that this build does not know */
	bool healed;	  /* the durable file was damaged */
};

/* "apps/v1/Deployment" */
static const struct kind *kind_of(const char *text)
{
	const char *slash = strrchr(text, '/');
	auto_free char *api_version = slash ? xstrndup(text, (size_t)(slash - text)) : NULL;

	return slash ? kind_known(api_version, slash + 1) : NULL;
}

static void seen(struct store *s, const struct disk_row *row)
{
	if (row->id >= s->next_id)
		s->next_id = row->id + 1;
	if (row->rev > s->rev)
		s->rev = row->rev;
}

static struct stored *object_of(struct store *s, const struct kind *k, const struct disk_row *row)
{
	struct object_parts p = {k, row->ns, row->name, row->uid, row->text, row->len, row->rev};

	return stored_new(s, &p, row->id, row->flags);
}

static void insert(struct store *s, const struct object *old, struct stored *o)
{
	index_change(s, old, &o->pub);
	map_put(&s->by_uid, o->pub.uid, &o->pub);
	customs_follow(s, &o->pub, false, true);
	object_unref(old);
}

static void load_durable(void *arg, const struct disk_row *row)
{
	struct loading *l = arg;
	const struct kind *k = kind_of(row->kind);
	struct stored *o;

	seen(l->s, row);
	if (!k || index_find(l->s, k, row->ns, row->name)) {
		l->n_unknown += !k;
		return;
	}
	o = object_of(l->s, k, row);
	o->flags = STORED_DURABLE;
	insert(l->s, NULL, o);
}

static void stale(struct loading *l, int64_t id)
{
	l->stale = xrealloc(l->stale, l->n_stale + 1, sizeof(*l->stale));
	l->stale[l->n_stale++] = id;
}

static void load_volatile(void *arg, const struct disk_row *row)
{
	struct loading *l = arg;
	const struct kind *k = kind_of(row->kind);
	const struct object *old = k ? index_find(l->s, k, row->ns, row->name) : NULL;
	struct stored *o;

	seen(l->s, row);
	if (!k)
		return;
	if (old ? stored_of(old)->id != row->id || old->rev >= row->rev
		: (row->flags & STORED_DURABLE) && !l->healed) {
		stale(l, row->id);
		return;
	}
	o = object_of(l->s, k, row);
	insert(l->s, old, o);
	if (l->healed && !old && (o->flags & STORED_DURABLE))
		o->flags = STORED_LAZY; /* the damaged file has lost it: write it again */
	if (o->flags & STORED_LAZY)
		op_add(l->s, NULL, &o->pub, STORE_LAZY, NULL, NULL);
}

/* Empties memory for another attempt. */
static void forget_all(struct store *s)
{
	index_free(s);
	customs_close(s);
	customs_open(s);
	s->kinds = NULL;
	s->n_kinds = 0;
	map_done(&s->by_uid);
	s->by_uid = (struct map){0};
}

static int open_durable(struct loading *l, struct disk *d, struct err *err)
{
	auto_free char *text = NULL;
	uint64_t rev = 0;
	int r = disk_open(d, l->s->path, true, err);

	if (r == 0)
		r = disk_load(d, load_durable, l, err);
	/* Rows come in the order they were made in, definitions before their objects; should that
	 * ever fail, a second look finds the rest. */
	if (r == 0 && l->n_unknown && store_count(l->s, &kind_customresourcedefinition)) {
		l->n_unknown = 0;
		r = disk_load(d, load_durable, l, err);
	}
	if (r < 0) {
		disk_close(d);
		forget_all(l->s);
		return r;
	}
	r = disk_meta_get(d, "revision", &text);
	if (r == 0 && str_to_u64(text, INT64_MAX, &rev) == 0)
		l->s->reserved = rev;
	return 0;
}

static int read_boot_id(char **ret)
{
	int r = file_read(BOOT_ID_FILE, 128, ret, NULL);

	if (r == 0)
		(*ret)[strcspn(*ret, "\n")] = '\0';
	return r;
}

/* 0 when the file is of this boot; the caller drops it otherwise. */
static int try_volatile(struct loading *l, struct disk *d, const char *boot_id)
{
	auto_free char *of = NULL, *text = NULL;
	uint64_t rev = 0;
	auto_err err = {0};
	int r = disk_open(d, l->s->volatile_path, false, &err);

	if (r == 0)
		r = disk_meta_get(d, "boot", &of);
	if (r == 0 && !str_eq(of, boot_id))
		r = -ESTALE;
	if (r == 0)
		r = disk_load(d, load_volatile, l, &err);
	if (r == 0 && disk_meta_get(d, "revision", &text) == 0 &&
	    str_to_u64(text, INT64_MAX, &rev) == 0 && rev > l->s->rev)
		l->s->rev = rev;
	for (size_t i = 0; r == 0 && i < l->n_stale; i++)
		r = disk_del(d, l->stale[i], &err);
	if (r == -EUCLEAN)
		log_warn("store: observations are lost: %s", err_message(&err));
	if (r < 0)
		disk_close(d);
	return r;
}

static int open_volatile(struct loading *l, struct disk *d, struct err *err)
{
	auto_free char *boot_id = NULL;
	int r = read_boot_id(&boot_id);

	if (r < 0)
		return err_errno(err, -r, "cannot read %s", BOOT_ID_FILE);
	r = try_volatile(l, d, boot_id);
	if (r == 0)
		return 0;
	if (r == -EBUSY)
		return err_errno(err, EBUSY, "%s is in use", l->s->volatile_path);
	l->s->new_boot = true;
	disk_remove(l->s->volatile_path);
	r = disk_open(d, l->s->volatile_path, false, err);
	if (r == 0)
		r = disk_meta_set(d, "boot", boot_id, err);
	return r;
}

static uint64_t max_u64(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

/*
 * Where revisions go on: behind all that may have been given out. In the same boot the volatile
 * file tells, but for what was under way to it when the daemon was killed.
 */
static void settle_revision(struct store *s, bool healed)
{
	if (healed)
		s->rev = max_u64(s->rev, s->reserved) + 2 * REV_BLOCK;
	else if (s->new_boot || s->reserved <= s->rev + REV_MARGIN)
		s->rev = max_u64(s->rev, s->reserved);
	else
		s->rev += REV_MARGIN;
}

/* Without space for it the store is up all the same: it can be read. */
static void reserve(struct store *s, struct disk *d)
{
	char text[24];
	auto_err err = {0};

	snprintf(text, sizeof(text), "%" PRIu64, s->rev + REV_BLOCK);
	if (disk_meta_set(d, "revision", text, &err) == 0)
		s->reserved = s->rev + REV_BLOCK;
	else
		trouble_set(s, &err);
}

int store_load(struct store *s, struct disk *durable, struct disk *volatile_file, struct err *err)
{
	struct loading l = {.s = s};
	int r = open_durable(&l, durable, err);

	if (r == -EUCLEAN) {
		log_error("store: %s", err_message(err));
		l.healed = true;
		r = disk_heal(s->path, err);
		if (r == 0)
			r = open_durable(&l, durable, err);
	}
	if (r < 0)
		return r;
	s->new_boot = true;
	if (s->volatile_path) {
		s->new_boot = false;
		r = open_volatile(&l, volatile_file, err);
	}
	free(l.stale);
	if (l.n_unknown)
		log_warn("store: %zu objects of unknown kinds are left alone", l.n_unknown);
	if (r < 0)
		return r;
	customs_settle_all(s);
	settle_revision(s, l.healed);
	s->rev = max_u64(s->rev, 1); /* 0 means "any" in the API */
	reserve(s, durable);
	return 0;
}
