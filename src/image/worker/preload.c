/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The preload directory: every archive is imported once, known by the SHA-256 of its bytes.
 * preload.json keeps {"files": {"ino:size:mtime": sha256}, "archives": {sha256: [image, ...]}}, so
 * that an unchanged file is not even read again.
 */
#include "worker.h"
#include "record.h"
#include "ref.h"
#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

static bool is_archive_name(const char *name)
{
	static const char *const ends[] = {".tar",	".tar.gz", ".tgz", ".tar.zst",
					   ".tar.zstd", ".tzst",   ".oci"};
	for (size_t i = 0; i < ARRAY_SIZE(ends); i++)
		if (name[0] != '.' && str_ends(name, ends[i]))
			return true;
	return false;
}

static json_t *section(json_t *cache, const char *name)
{
	json_t *v = json_object_get(cache, name);
	if (!json_is_object(v)) {
		v = json_object();
		json_object_set_new(cache, name, v);
	}
	return v;
}

static json_t *cache_read(const char *dir)
{
	auto_free char *path = path_join(dir, "preload.json");
	auto_free char *text = NULL;
	size_t len;
	json_t *v = NULL;
	if (file_read(path, REFS_MAX_BYTES, &text, &len) == 0)
		v = json_parse(text, len, NULL);
	return json_is_object(v) ? v : json_object();
}

static int cache_write(const struct content *c, const json_t *cache, struct err *err)
{
	auto_free char *path = path_join(c->dir, "preload.json");
	size_t len;
	auto_free char *text = json_text(cache, &len);
	return content_write(c, path, text, len, err);
}

/* SHA-256 of the file, or of a layout directory's index; from the cache where the inode says that
 * nothing has changed. */
static int file_digest(json_t *cache, int fd, char hex[static 65], struct err *err)
{
	struct stat st;
	auto_fd int index = -1;
	if (fstat(fd, &st) == 0 && S_ISDIR(st.st_mode)) {
		index = openat(fd, "index.json", O_RDONLY | O_CLOEXEC);
		fd = index;
	}
	if (fd < 0 || fstat(fd, &st) < 0)
		return err_errno(err, errno, "cannot read");
	auto_free char *key = xasprintf("%llu:%llu:%lld.%09ld", (unsigned long long)st.st_ino,
					(unsigned long long)st.st_size,
					(long long)st.st_mtim.tv_sec, st.st_mtim.tv_nsec);
	const char *known = json_string_value(json_object_get(section(cache, "files"), key));
	if (known && strlen(known) == DIGEST_HEX_LEN && hex_prefix_valid(known)) {
		memcpy(hex, known, DIGEST_HEX_LEN + 1);
		return 0;
	}
	const struct range all = {fd, 0, (uint64_t)st.st_size};
	int rc = range_sha256(&all, hex, err);
	if (rc == 0)
		json_object_set_new(section(cache, "files"), key, json_string(hex));
	return rc;
}

static bool image_is_whole(const struct content *c, const char *digest)
{
	if (!digest_valid(digest))
		return false;
	auto_free char *path = xasprintf("%s/images/%s.json", c->dir, digest_hex(digest));
	auto_free char *text = NULL;
	size_t len, i;
	uint64_t size;
	json_t *chain;
	if (file_read(path, RECORD_MAX_BYTES, &text, &len) < 0)
		return false;
	json_auto_t *record = json_parse(text, len, NULL);
	json_array_foreach(json_object_get(record, "layers"), i, chain)
	{
		const char *id = json_string_value(chain);
		if (!digest_valid(id) || !content_has_layer(c, id, &size))
			return false;
	}
	return record != NULL;
}

static bool was_loaded(const struct content *c, json_t *cache, const char *hex)
{
	const json_t *images = json_object_get(section(cache, "archives"), hex);
	size_t i;
	json_t *v;
	json_array_foreach(images, i, v)
	{
		if (!image_is_whole(c, json_string_value(v)))
			return false;
	}
	return json_array_size(images) > 0;
}

static int archive_preload(struct content *c, json_t *cache, int dirfd, const char *name,
			   bool *ret_changed, struct err *err)
{
	char hex[65];
	auto_strv digests = {0};
	auto_fd int fd = openat(dirfd, name, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0)
		return err_errno(err, errno, "cannot open");
	size_t before = json_object_size(section(cache, "files"));
	int rc = file_digest(cache, fd, hex, err);
	*ret_changed = *ret_changed || json_object_size(section(cache, "files")) != before;
	if (rc < 0 || was_loaded(c, cache, hex))
		return rc;
	rc = load_archive(c, fd, true, &digests, err);
	if (rc < 0)
		return rc;
	json_object_set_new(section(cache, "archives"), hex, strv_to_json(&digests));
	*ret_changed = true;
	return 0;
}

static bool is_layout_dir(int dirfd, const char *name)
{
	auto_free char *path = xasprintf("%s/oci-layout", name);
	struct stat st;
	return name[0] != '.' && fstatat(dirfd, path, &st, 0) == 0 && S_ISREG(st.st_mode);
}

int preload_dir(struct content *c, const char *source, struct err *err)
{
	auto_dir DIR *d = opendir(source);
	struct dirent *e;
	bool changed = false;
	if (!d)
		return errno == ENOENT ? 0 : err_errno(err, errno, "cannot read %s", source);
	json_auto_t *cache = cache_read(c->dir);
	while ((e = readdir(d))) {
		if (!is_archive_name(e->d_name) && !is_layout_dir(dirfd(d), e->d_name))
			continue;
		auto_err one = {0};
		if (archive_preload(c, cache, dirfd(d), e->d_name, &changed, &one) == 0)
			continue;
		auto_free char *text =
			xasprintf("cannot preload %s/%s: %s", source, e->d_name, err_message(&one));
		report_warning(text);
	}
	return changed ? cache_write(c, cache, err) : 0;
}
