/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The store as the daemon sees it: records in memory, names to images. The disk is written by the
 * worker alone, so nothing here waits for a sync; this file reads once, at start.
 */
#include "internal.h"
#include "record.h"
#include "ref.h"
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

DEFINE_AUTO(image, struct image *, image_free);

static void names_drop(struct image_store *s, const struct image *im)
{
	for (size_t i = 0; i < im->n_refs; i++)
		if (map_get(&s->by_ref, im->refs[i]) == im)
			map_del(&s->by_ref, im->refs[i]);
	for (size_t i = 0; i < im->n_repo_digests; i++)
		if (map_get(&s->by_ref, im->repo_digests[i]) == im)
			map_del(&s->by_ref, im->repo_digests[i]);
}

/* Takes one name away from an image: names live in one vector of the image and in the map. */
static void name_remove(struct image_store *s, struct image *im, const char *name)
{
	auto_strv refs = {0}, digests = {0};
	for (size_t i = 0; i < im->n_refs; i++)
		if (!streq(im->refs[i], name))
			strv_add(&refs, im->refs[i]);
	for (size_t i = 0; i < im->n_repo_digests; i++)
		if (!streq(im->repo_digests[i], name))
			strv_add(&digests, im->repo_digests[i]);
	map_del(&s->by_ref, name);
	image_set_names(im, &refs, &digests);
}

static void names_set(struct image_store *s, struct image *im, const struct strv *refs,
		      const struct strv *digests)
{
	const struct strv *lists[] = {refs, digests};
	names_drop(s, im);
	image_set_names(im, refs, digests);
	for (size_t l = 0; l < ARRAY_SIZE(lists); l++) {
		for (size_t i = 0; i < lists[l]->n; i++) {
			struct image *old = map_get(&s->by_ref, lists[l]->v[i]);
			if (old && old != im)
				name_remove(s, old, lists[l]->v[i]);
			map_put(&s->by_ref, lists[l]->v[i], im);
		}
	}
}

static void image_insert(struct image_store *s, struct image *im)
{
	s->images = xrealloc(s->images, s->n_images + 1, sizeof(struct image *));
	s->images[s->n_images++] = im;
	map_put(&s->by_digest, im->digest, im);
}

static void image_bury(void *arg)
{
	image_free(arg);
}

static void image_forget(struct image_store *s, struct image *im)
{
	names_drop(s, im);
	map_del(&s->by_digest, im->digest);
	for (size_t i = 0; i < s->n_images; i++) {
		if (s->images[i] != im)
			continue;
		memmove(&s->images[i], &s->images[i + 1],
			(s->n_images - i - 1) * sizeof(struct image *));
		s->n_images--;
		break;
	}
	loop_free_later(s->loop, image_bury, im);
}

/* A layer that is gone makes the image unusable; it is fetched again when somebody asks for it. */
static int layers_check(const struct image *im, struct err *err)
{
	for (size_t i = 0; i < im->n_layers; i++) {
		struct stat st;
		if (lstat(im->layers[i], &st) < 0 || !S_ISDIR(st.st_mode))
			return err_set(err, ERR_NOT_FOUND, "layer %s of image %s is missing",
				       im->layers[i], im->digest);
	}
	return 0;
}

int store_adopt(struct image_store *s, const json_t *report, const struct image **ret,
		struct err *err)
{
	auto_clean(image) struct image *fresh = NULL;
	auto_strv refs = {0}, digests = {0};
	int rc = image_from_record(s->dir, json_object_get(report, "record"), &fresh, err);
	if (rc < 0)
		return rc;
	if (strv_from_json(&refs, json_object_get(report, "refs"), RECORD_MAX_STRINGS) < 0 ||
	    strv_from_json(&digests, json_object_get(report, "repoDigests"), RECORD_MAX_STRINGS) <
		    0)
		return err_set(err, ERR_INVALID, "malformed names of image %s", fresh->digest);
	rc = layers_check(fresh, err);
	if (rc < 0)
		return rc;
	struct image *im = map_get(&s->by_digest, fresh->digest);
	if (!im) {
		if (s->n_images >= RECORD_MAX_IMAGES)
			return err_set(err, ERR_INTERNAL, "too many images (%d)",
				       RECORD_MAX_IMAGES);
		im = steal_ptr(fresh);
		image_insert(s, im);
	}
	im->pinned = im->pinned || json_bool(report, "pinned", false);
	names_set(s, im, &refs, &digests);
	if (ret)
		*ret = im;
	return 0;
}

void store_verify(struct image_store *s)
{
	for (size_t i = s->n_images; i-- > 0;) {
		auto_err err = {0};
		if (layers_check(s->images[i], &err) == 0)
			continue;
		log_warn("image: forgetting a damaged image: %s", err_message(&err));
		image_forget(s, s->images[i]);
	}
}

/* ---- reading the disk at start ---------------------------------------------------------- */

static json_t *json_load_small(const char *path, size_t max)
{
	auto_free char *text = NULL;
	size_t len;
	int rc = file_read(path, max, &text, &len);
	if (rc == -ENOENT)
		return NULL;
	if (rc < 0) {
		log_warn("image: cannot read %s: %s", path, strerror(-rc));
		return NULL;
	}
	auto_err err = {0};
	json_t *v = json_parse(text, len, &err);
	if (!v)
		log_warn("image: %s: %s", path, err_message(&err));
	return v;
}

/* refs.json maps names to digests; a report wants the names of one digest. */
static json_t *names_of(const json_t *index, const char *section, const char *digest)
{
	json_t *names = json_array(), *v;
	const char *name;
	json_object_foreach(json_object_get(index, section), name, v)
	{
		if (str_eq(json_string_value(v), digest))
			json_array_append_new(names, json_string(name));
	}
	return names;
}

static void record_load(struct image_store *s, const char *path, const json_t *index)
{
	json_t *record = json_load_small(path, RECORD_MAX_BYTES);
	if (!record)
		return;
	json_auto_t *report = json_object();
	json_object_set_new(report, "record", record);
	const char *digest = json_str(record, "digest", "");
	json_object_set_new(report, "refs", names_of(index, "refs", digest));
	json_object_set_new(report, "repoDigests", names_of(index, "repoDigests", digest));
	json_t *pinned = json_object_get(json_object_get(index, "pinned"), digest);
	json_object_set_new(report, "pinned", json_boolean(pinned != NULL));
	auto_err err = {0};
	if (store_adopt(s, report, NULL, &err) < 0)
		log_warn("image: leaving out a damaged image: %s", err_message(&err));
}

static bool record_name_valid(const char *name)
{
	return strlen(name) == DIGEST_HEX_LEN + 5 && streq(name + DIGEST_HEX_LEN, ".json");
}

static void records_load(struct image_store *s)
{
	auto_free char *index_path = path_join(s->dir, "refs.json");
	auto_free char *images = path_join(s->dir, "images");
	json_auto_t *index = json_load_small(index_path, REFS_MAX_BYTES);
	auto_dir DIR *d = opendir(images);
	struct dirent *e;
	while (d && (e = readdir(d))) {
		if (!record_name_valid(e->d_name))
			continue;
		auto_free char *path = path_join(images, e->d_name);
		record_load(s, path, index);
	}
}

/* Half-done work of a worker that was killed: only then is a collection at start worth a child. */
static bool has_leftovers(const char *dir)
{
	auto_free char *tmp = path_join(dir, "tmp");
	auto_dir DIR *d = opendir(tmp);
	struct dirent *e;
	while (d && (e = readdir(d)))
		if (e->d_name[0] != '.')
			return true;
	return false;
}

static int dirs_make(const char *dir, struct err *err)
{
	static const char *const subdirs[] = {"",	"images",  "blobs/sha256",
					      "layers", "partial", "tmp"};
	for (size_t i = 0; i < ARRAY_SIZE(subdirs); i++) {
		auto_free char *path = path_join(dir, subdirs[i]);
		int rc = mkdir_p(path, 0700);
		if (rc < 0)
			return err_errno(err, -rc, "cannot make %s", path);
	}
	return 0;
}

static void store_show(void *arg, json_t *rows)
{
	const struct image_store *s = arg;
	for (size_t i = 0; i < s->n_images; i++) {
		const struct image *im = s->images[i];
		json_t *row = json_object();
		json_put_str(row, "name", im->n_refs ? im->refs[0] : "<none>");
		json_put_str(row, "id", im->digest);
		json_put_int(row, "layers", (int64_t)im->n_layers);
		json_put_int(row, "size", (int64_t)im->size);
		json_put_bool(row, "pinned", im->pinned);
		json_array_append_new(rows, row);
	}
	jobs_show(s, rows);
}

struct image_store *image_store_open(struct loop *loop, const struct image_config *config,
				     struct err *err)
{
	if (dirs_make(config->dir, err) < 0)
		return NULL;
	struct image_store *s = xnew(struct image_store);
	s->loop = loop;
	s->dir = xstrdup(config->dir);
	s->worker_path = xstrdup(config->worker_path);
	s->max_bytes = config->max_bytes ? config->max_bytes : UINT64_C(16) << 30;
	s->max_parallel = config->max_parallel ? config->max_parallel : 3;
	jobs_open(s);
	records_load(s);
	show_register("images", store_show, s);
	if (has_leftovers(s->dir)) {
		struct strv none = {0};
		job_collect(s, &none, &none);
	}
	return s;
}

void image_store_close(struct image_store *s)
{
	if (!s)
		return;
	show_unregister("images");
	jobs_close(s);
	for (size_t i = 0; i < s->n_images; i++)
		image_free(s->images[i]);
	free(s->images);
	map_done(&s->by_ref);
	map_done(&s->by_digest);
	free(s->dir);
	free(s->worker_path);
	free(s);
}

/* ---- looking up and removing ------------------------------------------------------------ */

/* By image ID or an unambiguous beginning of it. */
static struct image *find_by_id(const struct image_store *s, const char *id)
{
	struct image *found = NULL;
	if (str_starts(id, "sha256:"))
		id += strlen("sha256:");
	if (!hex_prefix_valid(id))
		return NULL;
	for (size_t i = 0; i < s->n_images; i++) {
		if (!str_starts(digest_hex(s->images[i]->digest), id))
			continue;
		if (found)
			return NULL;
		found = s->images[i];
	}
	return found;
}

static struct image *find(const struct image_store *s, const char *ref, char **ret_name)
{
	auto_free char *name = NULL;
	struct image *im = NULL;
	if (!str_starts(ref, "sha256:") && image_ref_normalize(ref, &name, NULL) == 0)
		im = map_get(&s->by_ref, name);
	if (im && ret_name)
		*ret_name = steal_ptr(name);
	return im ? im : find_by_id(s, ref);
}

const struct image *image_find(const struct image_store *s, const char *ref)
{
	return ref ? find(s, ref, NULL) : NULL;
}

const struct image *image_at(const struct image_store *s, size_t i)
{
	return i < s->n_images ? s->images[i] : NULL;
}

/* A name takes that name away and the image with its last one; an ID takes the image. */
int image_remove(struct image_store *s, const char *ref, struct err *err)
{
	auto_free char *name = NULL;
	auto_strv images = {0}, refs = {0};
	struct image *im = find(s, ref, &name);
	if (!im)
		return err_set(err, ERR_NOT_FOUND, "image \"%s\": not found", ref);
	if (name) {
		strv_add(&refs, name);
		name_remove(s, im, name);
	}
	if (!name || im->n_refs == 0) {
		strv_add(&images, im->digest);
		image_forget(s, im);
	}
	job_collect(s, &images, &refs);
	return 0;
}
