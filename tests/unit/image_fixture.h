/* SPDX-License-Identifier: Apache-2.0 */
/* Image archives made on the spot, a store in a directory of its own, and jobs waited for. */
#ifndef TESTS_IMAGE_FIXTURE_H
#define TESTS_IMAGE_FIXTURE_H

#include <coracle/image.h>
#include <coracle/json.h>
#include <setjmp.h>
#include <cmocka.h>
#include <archive.h>
#include <archive_entry.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#define LIMIT (20 * USEC_PER_SEC)

struct tar_entry {
	const char *path;
	mode_t type;	  /* AE_IFREG ... */
	const char *data; /* contents, or target of a link */
	mode_t mode;	  /* 0: 0644 */
	uid_t uid;
	gid_t gid;
	unsigned dev_major, dev_minor;
	bool hardlink;
	uint64_t size; /* a file of that many zeros */
	const char *capability;
};

struct bytes {
	char *data;
	size_t len;
};

static inline void tar_add(struct archive *a, const struct tar_entry *t)
{
	struct archive_entry *e = archive_entry_new();
	bool is_file = t->type == AE_IFREG && !t->hardlink;
	archive_entry_set_pathname(e, t->path);
	archive_entry_set_filetype(e, t->type);
	archive_entry_set_perm(e, t->mode ? t->mode : 0644);
	archive_entry_set_uid(e, t->uid);
	archive_entry_set_gid(e, t->gid);
	archive_entry_set_mtime(e, 1000000000, 0);
	archive_entry_set_rdev(e, makedev(t->dev_major, t->dev_minor));
	if (t->hardlink)
		archive_entry_set_hardlink(e, t->data);
	else if (t->type == AE_IFLNK)
		archive_entry_set_symlink(e, t->data);
	if (t->capability)
		archive_entry_xattr_add_entry(e, "security.capability", t->capability, 20);
	size_t len = is_file && t->data ? strlen(t->data) : t->size;
	archive_entry_set_size(e, is_file ? (int64_t)len : 0);
	assert_true(archive_write_header(a, e) >= ARCHIVE_WARN);
	if (is_file && t->data)
		assert_int_equal(archive_write_data(a, t->data, len), len);
	static const char zeros[65536];
	for (uint64_t left = is_file && !t->data ? t->size : 0; left > 0;) {
		size_t n = left < sizeof(zeros) ? left : sizeof(zeros);
		assert_int_equal(archive_write_data(a, zeros, n), n);
		left -= n;
	}
	archive_entry_free(e);
}

static inline struct bytes tar_make(const struct tar_entry *t, size_t n, int filter)
{
	struct bytes b = {0};
	FILE *f = open_memstream(&b.data, &b.len);
	struct archive *a = archive_write_new();
	archive_write_set_format_pax_restricted(a);
	archive_write_add_filter(a, filter);
	archive_write_set_bytes_in_last_block(a, 1);
	assert_int_equal(archive_write_open_FILE(a, f), ARCHIVE_OK);
	for (size_t i = 0; i < n; i++)
		tar_add(a, &t[i]);
	assert_int_equal(archive_write_close(a), ARCHIVE_OK);
	archive_write_free(a);
	fclose(f);
	return b;
}

static inline void bytes_put(const char *path, const void *data, size_t len)
{
	assert_int_equal(file_write_atomic(path, data, len, 0644, false), 0);
}

static inline char *bytes_digest(const struct bytes *b)
{
	char hex[65];
	sha256_hex(b->data, b->len, hex);
	return xasprintf("sha256:%s", hex);
}

/* One layer: uncompressed for its diff id, and as it lies in the archive. */
struct layer {
	struct bytes blob;
	char *diff_id;
};

static inline struct layer layer_make(const struct tar_entry *t, size_t n, int filter)
{
	struct bytes plain = tar_make(t, n, ARCHIVE_FILTER_NONE);
	struct layer l = {.diff_id = bytes_digest(&plain)};
	l.blob = filter == ARCHIVE_FILTER_NONE ? plain : tar_make(t, n, filter);
	if (filter != ARCHIVE_FILTER_NONE)
		free(plain.data);
	return l;
}

static inline void layer_done(struct layer *l)
{
	free(l->blob.data);
	free(l->diff_id);
}

static inline char *config_make(const struct layer *layers, size_t n, const char *extra)
{
	auto_strbuf b = {0};
	strbuf_addf(&b,
		    "{\"os\":\"linux\",\"architecture\":\"amd64\",\"config\":{%s},\"rootfs\":{"
		    "\"type\":\"layers\",\"diff_ids\":[",
		    extra ? extra : "\"Cmd\":[\"/bin/sh\"],\"Env\":[\"A=b\"]");
	for (size_t i = 0; i < n; i++)
		strbuf_addf(&b, "%s\"%s\"", i ? "," : "", layers[i].diff_id);
	strbuf_adds(&b, "]}}");
	return strbuf_steal(&b);
}

/* A docker-archive of the layers at path. */
static inline void docker_archive(const char *path, const char *ref, const struct layer *layers,
				  size_t n, const char *extra, int filter)
{
	auto_free char *config = config_make(layers, n, extra);
	auto_strbuf m = {0};
	struct archive *a = archive_write_new();
	strbuf_addf(&m, "[{\"Config\":\"c.json\",\"RepoTags\":[\"%s\"],\"Layers\":[", ref);
	archive_write_set_format_pax_restricted(a);
	archive_write_add_filter(a, filter);
	assert_int_equal(archive_write_open_filename(a, path), ARCHIVE_OK);
	for (size_t i = 0; i < n; i++) {
		auto_free char *name = xasprintf("%zu/layer.tar", i);
		struct archive_entry *e = archive_entry_new();
		archive_entry_set_pathname(e, name);
		archive_entry_set_filetype(e, AE_IFREG);
		archive_entry_set_perm(e, 0644);
		archive_entry_set_size(e, (int64_t)layers[i].blob.len);
		assert_int_equal(archive_write_header(a, e), ARCHIVE_OK);
		archive_write_data(a, layers[i].blob.data, layers[i].blob.len);
		archive_entry_free(e);
		strbuf_addf(&m, "%s\"%s\"", i ? "," : "", name);
	}
	strbuf_adds(&m, "]}]");
	tar_add(a, &(struct tar_entry){.path = "c.json", .type = AE_IFREG, .data = config});
	tar_add(a, &(struct tar_entry){.path = "manifest.json", .type = AE_IFREG, .data = m.s});
	assert_int_equal(archive_write_close(a), ARCHIVE_OK);
	archive_write_free(a);
}

/* ---- a store ---------------------------------------------------------------------------- */

struct fixture {
	char top[64];
	char *dir;
	struct loop *loop;
	struct image_store *store;
};

static inline void fixture_open(struct fixture *f)
{
	auto_err err = {0};
	const struct image_config config = {
		.dir = f->dir, .worker_path = WORKER_PATH, .max_bytes = 64 << 20};
	f->store = image_store_open(f->loop, &config, &err);
	if (!f->store)
		fail_msg("%s", err_message(&err));
}

static inline int fixture_setup(void **state)
{
	struct fixture *f = xnew(struct fixture);
	const char *tmp = getenv("TMPDIR");
	snprintf(f->top, sizeof(f->top), "%s/coracle-image-XXXXXX", tmp ? tmp : "/tmp");
	assert_non_null(mkdtemp(f->top));
	f->dir = path_join(f->top, "store");
	f->loop = loop_new();
	fixture_open(f);
	*state = f;
	return 0;
}

static inline int fixture_teardown(void **state)
{
	struct fixture *f = *state;
	image_store_close(f->store);
	loop_free(f->loop);
	rm_rf(f->top);
	free(f->dir);
	free(f);
	return 0;
}

/* As after a restart of the daemon. */
static inline void fixture_reopen(struct fixture *f)
{
	image_store_close(f->store);
	fixture_open(f);
}

static inline char *fixture_path(const struct fixture *f, const char *name)
{
	return path_join(f->top, name);
}

static inline size_t dir_count(const char *dir, const char *sub)
{
	auto_free char *path = path_join(dir, sub);
	auto_dir DIR *d = opendir(path);
	size_t n = 0;
	for (struct dirent *e; d && (e = readdir(d));)
		n += e->d_name[0] != '.';
	return n;
}

/* Nothing but empty directories: what a refused image must leave. */
static inline void assert_store_clean(const struct fixture *f)
{
	static const char *const subs[] = {"images", "blobs/sha256", "layers", "tmp"};
	for (size_t i = 0; i < ARRAY_SIZE(subs); i++)
		assert_int_equal(dir_count(f->dir, subs[i]), 0);
}

/* ---- waiting ---------------------------------------------------------------------------- */

struct outcome {
	bool done;
	size_t n;
	const struct image *image;
	struct err err;
	unsigned progress;
};

static inline void outcome_done(void *arg, const struct image *const *images, size_t n,
				const struct err *err)
{
	struct outcome *o = arg;
	o->done = true;
	o->n = n;
	o->image = n ? images[0] : NULL;
	if (err)
		err_copy(&o->err, err);
}

static inline void outcome_progress(void *arg, uint64_t done UNUSED, uint64_t total UNUSED,
				    const char *what)
{
	struct outcome *o = arg;
	assert_non_null(what);
	o->progress++;
}

static const struct image_job_ops outcome_ops = {outcome_progress, outcome_done};

static inline void outcome_wait(const struct fixture *f, struct outcome *o)
{
	assert_int_equal(loop_run_until(f->loop, &o->done, LIMIT), 0);
}

/* No worker is left in the show table: collections have ended too. */
static inline void workers_wait(const struct fixture *f)
{
	mono_t end = mono_add(mono_now(), LIMIT);
	for (bool busy = true; busy && mono_before(mono_now(), end);) {
		json_auto_t *rows = show_rows("images");
		size_t i;
		json_t *row;
		bool never = false;
		busy = false;
		json_array_foreach(rows, i, row) busy = busy || json_object_get(row, "what");
		if (busy)
			(void)!loop_run_until(f->loop, &never, 1000);
	}
}

static inline void load_path(const struct fixture *f, const char *path, struct outcome *o)
{
	auto_err err = {0};
	if (!image_load(f->store, path, -1, &outcome_ops, o, &err))
		fail_msg("%s", err_message(&err));
	outcome_wait(f, o);
}

static inline void load_ok(const struct fixture *f, const char *path)
{
	struct outcome o = {0};
	load_path(f, path, &o);
	if (o.err.message)
		fail_msg("%s", o.err.message);
	assert_int_equal(o.n, 1);
}

#endif
