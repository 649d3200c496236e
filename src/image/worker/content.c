/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The store on disk. Everything is made below tmp/, synced and renamed into place; names appear
 * last, in one file. Locks: <dir>/lock is shared by workers and exclusive for the short moment in
 * which a collection decides; <dir>/refs.lock is held around each change of refs.json.
 */
#include "worker.h"
#include "record.h"
#include "ref.h"
#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PARTIAL_MAX_AGE_S = 7 * 24 * 3600 };

/* ---- opening, locks, temporary names ---------------------------------------------------- */

static int lock_take(const char *dir, const char *name, int how, struct err *err)
{
	auto_free char *path = path_join(dir, name);
	auto_fd int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0)
		return err_errno(err, errno, "cannot open %s", path);
	while (flock(fd, how) < 0)
		if (errno != EINTR)
			return err_errno(err, errno, "cannot lock %s", path);
	return steal_fd(&fd);
}

int content_open(struct content *c, const char *dir, uint64_t max_bytes, bool exclusive,
		 struct err *err)
{
	int fd = lock_take(dir, "lock", exclusive ? LOCK_EX : LOCK_SH, err);
	if (fd < 0)
		return fd;
	*c = (struct content){xstrdup(dir), fd, max_bytes};
	return 0;
}

void content_close(struct content *c)
{
	free(c->dir);
	c->lock_fd = fd_close(c->lock_fd);
}

char *content_tmp_path(const struct content *c, const char *suffix)
{
	char name[17];
	random_suffix(name, sizeof(name) - 1);
	return xasprintf("%s/tmp/%s%s", c->dir, name, suffix);
}

int content_tmp_dir(struct content *c, char **ret, struct err *err)
{
	auto_free char *path = content_tmp_path(c, "");
	if (mkdir(path, 0755) < 0)
		return err_errno(err, errno, "cannot make %s", path);
	*ret = steal_ptr(path);
	return 0;
}

/* ---- layers and blobs ------------------------------------------------------------------- */

bool content_has_layer(const struct content *c, const char *chain, uint64_t *ret_size)
{
	auto_free char *path = xasprintf("%s/layers/%s", c->dir, digest_hex(chain));
	auto_free char *info = xasprintf("%s.json", path);
	auto_free char *text = NULL;
	struct stat st;
	size_t len;
	if (lstat(path, &st) < 0 || !S_ISDIR(st.st_mode) || file_read(info, 4096, &text, &len) < 0)
		return false;
	json_auto_t *v = json_parse(text, len, NULL);
	*ret_size = (uint64_t)json_int(v, "size", 0);
	return v != NULL;
}

/* Several workers may write the same file: each under a name of its own, then renamed. */
int content_write(const struct content *c, const char *path, const char *data, size_t len,
		  struct err *err)
{
	auto_free char *tmp = content_tmp_path(c, ".file");
	auto_free char *parent = xstrndup(path, (size_t)(strrchr(path, '/') - path));
	int rc = file_write_atomic(tmp, data, len, 0600, true);
	if (rc == 0 && rename(tmp, path) < 0)
		rc = -errno;
	auto_fd int fd = rc == 0 ? open(parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
	if (rc == 0 && (fd < 0 || fsync(fd) < 0))
		rc = -errno;
	if (rc == 0)
		return 0;
	unlink(tmp);
	if (rc == -ENOSPC || rc == -EDQUOT)
		return err_set(err, ERR_INSUFFICIENT_STORAGE,
			       "cannot write %s: no space left on device", path);
	return err_errno(err, -rc, "cannot write %s", path);
}

int content_blob_put(struct content *c, const char *digest, const char *data, size_t len,
		     struct err *err)
{
	auto_free char *path = xasprintf("%s/blobs/sha256/%s", c->dir, digest_hex(digest));
	return content_write(c, path, data, len, err);
}

/* ---- names ------------------------------------------------------------------------------ */

json_t *content_index_read(const char *dir)
{
	auto_free char *path = path_join(dir, "refs.json");
	auto_free char *text = NULL;
	size_t len;
	json_t *v = NULL;
	if (file_read(path, REFS_MAX_BYTES, &text, &len) == 0)
		v = json_parse(text, len, NULL);
	return json_is_object(v) ? v : json_object();
}

static int index_write(const char *dir, const json_t *index, struct err *err)
{
	auto_free char *path = path_join(dir, "refs.json");
	size_t len;
	auto_free char *text = json_text(index, &len);
	int rc = file_write_atomic(path, text, len, 0600, true);
	return rc < 0 ? err_errno(err, -rc, "cannot write %s", path) : 0;
}

static json_t *section(json_t *index, const char *name)
{
	json_t *v = json_object_get(index, name);
	if (!json_is_object(v)) {
		v = json_object();
		json_object_set_new(index, name, v);
	}
	return v;
}

static int record_write(const struct content *c, const json_t *record, struct err *err)
{
	const char *digest = json_str(record, "digest", "");
	auto_free char *path = xasprintf("%s/images/%s.json", c->dir, digest_hex(digest));
	size_t len;
	auto_free char *text = json_text(record, &len);
	return content_write(c, path, text, len, err);
}

static json_t *names_of(json_t *names, const char *digest)
{
	json_t *l = json_array(), *v;
	const char *name;
	json_object_foreach(names, name, v)
	{
		if (str_eq(json_string_value(v), digest))
			json_array_append_new(l, json_string(name));
	}
	return l;
}

static void image_report(json_t *index, const struct prepared *p)
{
	const char *digest = json_str(p->record, "digest", "");
	json_auto_t *report = json_object();
	json_object_set(report, "record", p->record);
	json_object_set_new(report, "refs", names_of(section(index, "refs"), digest));
	json_object_set_new(report, "repoDigests", names_of(section(index, "repoDigests"), digest));
	bool pinned = json_object_get(section(index, "pinned"), digest) != NULL;
	json_object_set_new(report, "pinned", json_boolean(pinned));
	report_image(report);
}

int content_publish(struct content *c, struct prepared *images, size_t n, bool pin, struct err *err)
{
	for (size_t i = 0; i < n; i++) {
		int rc = record_write(c, images[i].record, err);
		if (rc < 0)
			return rc;
	}
	auto_fd int lock = lock_take(c->dir, "refs.lock", LOCK_EX, err);
	if (lock < 0)
		return lock;
	json_auto_t *index = content_index_read(c->dir);
	for (size_t i = 0; i < n; i++) {
		const char *digest = json_str(images[i].record, "digest", "");
		for (size_t r = 0; r < images[i].refs.n; r++)
			json_object_set_new(section(index, "refs"), images[i].refs.v[r],
					    json_string(digest));
		for (size_t r = 0; r < images[i].repo_digests.n; r++)
			json_object_set_new(section(index, "repoDigests"),
					    images[i].repo_digests.v[r], json_string(digest));
		if (pin)
			json_object_set_new(section(index, "pinned"), digest, json_true());
	}
	int rc = index_write(c->dir, index, err);
	for (size_t i = 0; rc == 0 && i < n; i++)
		image_report(index, &images[i]);
	return rc;
}

void prepared_free(struct prepared *p, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		json_decref(p[i].record);
		strv_done(&p[i].refs);
		strv_done(&p[i].repo_digests);
	}
	free(p);
}

/* ---- collecting ------------------------------------------------------------------------- */

static void names_drop(json_t *names, const char *digest)
{
	const char *name;
	json_t *v;
	void *next;
	json_object_foreach_safe(names, next, name, v)
	{
		if (str_eq(json_string_value(v), digest))
			json_object_del(names, name);
	}
}

/* Before all else, so that a pull that comes after it finds its own names untouched. */
static int forget(const char *dir, const struct strv *images, const struct strv *refs,
		  struct err *err)
{
	if (images->n == 0 && refs->n == 0)
		return 0;
	auto_fd int lock = lock_take(dir, "refs.lock", LOCK_EX, err);
	if (lock < 0)
		return lock;
	json_auto_t *index = content_index_read(dir);
	for (size_t i = 0; i < refs->n; i++) {
		json_object_del(section(index, "refs"), refs->v[i]);
		json_object_del(section(index, "repoDigests"), refs->v[i]);
	}
	for (size_t i = 0; i < images->n; i++) {
		if (!digest_valid(images->v[i]))
			continue;
		names_drop(section(index, "refs"), images->v[i]);
		names_drop(section(index, "repoDigests"), images->v[i]);
		json_object_del(section(index, "pinned"), images->v[i]);
	}
	int rc = index_write(dir, index, err);
	for (size_t i = 0; rc == 0 && i < images->n; i++) {
		if (!digest_valid(images->v[i]))
			continue;
		auto_free char *path =
			xasprintf("%s/images/%s.json", dir, digest_hex(images->v[i]));
		unlink(path);
	}
	return rc;
}

typedef bool keep_fn(struct map *used, int dirfd, const char *name);

/* Moves what is not kept from <dir>/<sub> to names below tmp/, to be removed later. */
static void sweep(const char *dir, const char *sub, keep_fn *keep, struct map *used,
		  struct strv *trash)
{
	auto_free char *path = path_join(dir, sub);
	auto_dir DIR *d = opendir(path);
	struct dirent *e;
	while (d && (e = readdir(d))) {
		if (e->d_name[0] == '.' || keep(used, dirfd(d), e->d_name))
			continue;
		char name[17];
		random_suffix(name, sizeof(name) - 1);
		auto_free char *to = xasprintf("%s/tmp/%s", dir, name);
		auto_free char *from = path_join(path, e->d_name);
		if (rename(from, to) == 0)
			strv_add(trash, to);
	}
}

/* used holds "<hex>" and "<hex>.json" of layers, "<hex>" of blobs. */
static bool keep_used(struct map *used, int dirfd UNUSED, const char *name)
{
	return map_get(used, name) != NULL;
}

static bool keep_young(struct map *used UNUSED, int dirfd, const char *name)
{
	struct stat st;
	return fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
	       time(NULL) - st.st_mtime < PARTIAL_MAX_AGE_S;
}

static void use(struct map *used, const char *digest, bool layer)
{
	static char mark;
	if (!digest_valid(digest))
		return;
	map_put(used, digest_hex(digest), &mark);
	if (!layer)
		return;
	auto_free char *info = xasprintf("%s.json", digest_hex(digest));
	map_put(used, info, &mark);
}

/* Marks all that the records name. A record that cannot be read stops the collection: rather keep
 * too much than drop a layer that somebody needs. */
static int mark(const char *dir, struct map *layers, struct map *blobs, struct err *err)
{
	auto_free char *images = path_join(dir, "images");
	auto_dir DIR *d = opendir(images);
	struct dirent *e;
	while (d && (e = readdir(d))) {
		auto_free char *path = path_join(images, e->d_name), *text = NULL;
		size_t len, i;
		json_t *v;
		if (!str_ends(e->d_name, ".json"))
			continue;
		int rc = file_read(path, RECORD_MAX_BYTES, &text, &len);
		if (rc < 0)
			return err_errno(err, -rc, "cannot read %s", path);
		json_auto_t *record = json_parse(text, len, NULL);
		if (!record) {
			unlink(path); /* torn by a power cut: it names nothing any more */
			continue;
		}
		use(blobs, json_str(record, "digest", ""), false);
		use(blobs, json_str(record, "manifest", ""), false);
		json_array_foreach(json_object_get(record, "layers"), i, v)
			use(layers, json_string_value(v), true);
	}
	return 0;
}

static bool keep_none(struct map *used UNUSED, int dirfd UNUSED, const char *name UNUSED)
{
	return false;
}

int content_collect(const char *dir, const struct strv *images, const struct strv *refs,
		    struct err *err)
{
	struct map layers = {0}, blobs = {0};
	struct content c = {.lock_fd = -1};
	auto_strv trash = {0};
	int rc = forget(dir, images, refs, err);
	if (rc == 0)
		rc = content_open(&c, dir, 0, true, err);
	if (rc < 0)
		return rc;
	/* Nobody else works now: what lies in tmp/ is left over. */
	sweep(dir, "tmp", keep_none, NULL, &trash);
	rc = mark(dir, &layers, &blobs, err);
	if (rc == 0) {
		sweep(dir, "layers", keep_used, &layers, &trash);
		sweep(dir, "blobs/sha256", keep_used, &blobs, &trash);
		sweep(dir, "partial", keep_young, NULL, &trash);
	}
	map_done(&layers);
	map_done(&blobs);
	content_close(&c); /* the long part goes on without the lock */
	for (size_t i = 0; i < trash.n; i++)
		if (rm_rf(trash.v[i]) < 0)
			report_warning(trash.v[i]);
	return rc;
}
