/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The image worker: everything that touches strangers' bytes. One process does one request and
 * ends; it is the only writer of the store's directory (see record.h for the layout).
 */
#ifndef CORACLE_IMAGE_WORKER_H
#define CORACLE_IMAGE_WORKER_H

#include <coracle/base.h>
#include <coracle/json.h>
#include <stdio.h>

struct archive;

enum {
	DOC_MAX_BYTES = 4 << 20, /* manifests, indexes, configs: what registries bound too */
	LAYER_MAX_ENTRIES = 1000000,
	ARCHIVE_MAX_MEMBERS = 65536,
	INDEX_MAX_ENTRIES = 1024,
};

/* ---- report.c: lines to the daemon ------------------------------------------------------ */

void report_to(FILE *out); /* NULL: nothing is written (tests, fuzzing) */
/* Bytes; at most ten lines a second unless what changes. */
void report_progress(uint64_t done, uint64_t total, const char *what);
void report_image(const json_t *report);
void report_warning(const char *text);
void report_error(const struct err *err);

/* ---- bytes.c: where bytes come from ----------------------------------------------------- */

/* A range of an open file. fd is borrowed. */
struct range {
	int fd;
	uint64_t off, len;
};
/* Reads the whole range, at most max bytes (-EFBIG); NUL-terminated, caller frees. */
int range_read(const struct range *r, size_t max, char **ret, struct err *err) MUST_CHECK;
/* An archive handle over the range; the caller releases it. The range must
 * live as long. */
int range_archive_open(struct archive *a, struct range *r, struct err *err) MUST_CHECK;
int range_sha256(const struct range *r, char hex[static 65], struct err *err) MUST_CHECK;
void archive_release(struct archive *a);
DEFINE_AUTO(archive, struct archive *, archive_release);

/* SHA-256 over a stream. */
struct hash;
struct hash *hash_new(void);
void hash_add(struct hash *h, const void *data, size_t len);
void hash_hex(struct hash *h, char hex[static 65]); /* ends it */
void hash_free(struct hash *h);
DEFINE_AUTO(hash, struct hash *, hash_free);

/* ---- manifest.c: documents, pure -------------------------------------------------------- */

struct descriptor {
	char *media_type; /* "" when absent */
	char *digest;	  /* checked: "sha256:..." */
	uint64_t size;
	char *name; /* io.containerd.image.name or org.opencontainers.image.ref.name, or NULL */
	char *architecture, *variant, *os; /* "" when absent */
};
struct manifest {
	bool is_index;
	struct descriptor config;
	struct descriptor *list; /* layers from the base up, or the entries of an index */
	size_t n;
};
/* media_type: what the server called it, or NULL to go by the document alone. */
int manifest_parse(const char *text, size_t len, const char *media_type, struct manifest *ret,
		   struct err *err) MUST_CHECK;
void manifest_done(struct manifest *m);
#define auto_manifest __attribute__((cleanup(manifest_done))) struct manifest
/* The entry for the machine (uname(2) name, e.g. "x86_64"); NULL when there is none. */
const struct descriptor *manifest_select(const struct manifest *index, const char *machine);
/* Is this media type a layer that we can unpack? */
bool layer_media_type_ok(const char *media_type);

/* An image config with what we keep of it. */
struct image_conf {
	char *digest;
	struct strv diff_ids; /* from the base up, all checked */
	json_t *record;	      /* without "layers" and "size" */
};
int conf_parse(const char *text, size_t len, struct image_conf *ret, struct err *err) MUST_CHECK;
void conf_done(struct image_conf *c);
#define auto_conf __attribute__((cleanup(conf_done))) struct image_conf

/* manifest.json of a docker-archive. */
struct docker_image {
	char *config;
	struct strv tags, layers;
};
struct docker_manifest {
	struct docker_image *images;
	size_t n;
};
int docker_manifest_parse(const char *text, size_t len, struct docker_manifest *ret,
			  struct err *err) MUST_CHECK;
void docker_manifest_done(struct docker_manifest *m);
#define auto_docker_manifest __attribute__((cleanup(docker_manifest_done))) struct docker_manifest

/* ---- layer.c: walking one layer --------------------------------------------------------- */

enum entry_kind {
	ENTRY_DIR,
	ENTRY_FILE,
	ENTRY_SYMLINK,
	ENTRY_HARDLINK,
	ENTRY_FIFO,
	ENTRY_WHITEOUT, /* the name is hidden from lower layers */
	ENTRY_OPAQUE,	/* the directory hides all of the lower one */
};
struct xattr {
	const char *name;
	const void *value;
	size_t len;
};
struct layer_entry {
	enum entry_kind kind;
	const char *path; /* relative, clean: no "", "." or ".." in it; "" is the root */
	const char *link; /* symlink: as written; hardlink: clean like path */
	mode_t mode;	  /* permission bits */
	uid_t uid;
	gid_t gid;
	struct timespec mtime;
	uint64_t size;
	struct xattr xattrs[8]; /* only those that may be set */
	size_t n_xattrs;
};
struct layer_sink {
	int (*entry)(struct layer_sink *s, const struct layer_entry *e, struct err *err);
	/* Data of the file that entry() began, in order, with gaps for holes. */
	int (*data)(struct layer_sink *s, const void *buf, size_t len, uint64_t off,
		    struct err *err);
	int (*file_end)(struct layer_sink *s, struct err *err);
};
/* Decompresses (none, gzip, zstd), checks and hands every entry to the sink. *budget: bytes that
 * may still be unpacked; lowered. diff_id: hex of the uncompressed bytes. */
int layer_walk(struct range *blob, struct layer_sink *sink, uint64_t *budget,
	       char diff_id[static 65], struct err *err) MUST_CHECK;
/* Makes a clean path of one in an archive: leading "/" and "./" are dropped. -EINVAL on "..", on
 * what is too long. *ret may be "". Caller frees. */
int layer_path_clean(const char *path, char **ret) MUST_CHECK;
void worker_locale_init(void); /* names in archives are UTF-8 */

/* ---- sink.c: a layer onto the disk ------------------------------------------------------ */

struct disk_sink;
/* root: directory to fill, borrowed. lower: directories of the layers below, topmost first;
 * directories that the layer only implies get their owner and mode from there. */
struct disk_sink *disk_sink_new(int root, const struct strv *lower);
struct layer_sink *disk_sink_face(struct disk_sink *d);
int disk_sink_finish(struct disk_sink *d, struct err *err) MUST_CHECK; /* directory times */
void disk_sink_free(struct disk_sink *d);
DEFINE_AUTO(disk_sink, struct disk_sink *, disk_sink_free);

/* ---- content.c: the store on disk ------------------------------------------------------- */

struct content {
	char *dir;
	int lock_fd; /* flock on <dir>/lock: shared while working, exclusive while collecting */
	uint64_t max_bytes;
};
int content_open(struct content *c, const char *dir, uint64_t max_bytes, bool exclusive,
		 struct err *err) MUST_CHECK;
void content_close(struct content *c);
/* A fresh directory (or the path of a fresh file) below tmp/; caller frees. */
int content_tmp_dir(struct content *c, char **ret, struct err *err) MUST_CHECK;
char *content_tmp_path(const struct content *c, const char *suffix);
bool content_has_layer(const struct content *c, const char *chain, uint64_t *ret_size);
/* Writes a file of the store durably, in one step. */
int content_write(const struct content *c, const char *path, const char *data, size_t len,
		  struct err *err) MUST_CHECK;
/* Keeps a manifest or config by its digest. */
int content_blob_put(struct content *c, const char *digest, const char *data, size_t len,
		     struct err *err) MUST_CHECK;

/* An image whose layers are all committed but which has no name yet. */
struct prepared {
	json_t *record;
	struct strv refs, repo_digests;
};
void prepared_free(struct prepared *p, size_t n);
/* Writes the records, then the names in one step; reports every image. */
int content_publish(struct content *c, struct prepared *images, size_t n, bool pin,
		    struct err *err) MUST_CHECK;
/* Forgets images and names, then drops all that nothing refers to. */
int content_collect(const char *dir, const struct strv *images, const struct strv *refs,
		    struct err *err) MUST_CHECK;
json_t *content_index_read(const char *dir); /* refs.json, {} when there is none */

/* ---- build.c: from config and layer blobs to a prepared image --------------------------- */

struct layer_supply {
	/* Opens layer i as a checked blob; called only for those that are not here yet. */
	int (*open)(void *arg, size_t i, struct range *ret, struct err *err);
	void (*close)(void *arg, size_t i, bool unpacked);
	void *arg;
};
int image_build(struct content *c, const struct image_conf *conf, size_t n_layers,
		const struct layer_supply *supply, struct prepared *ret,
		struct err *err) MUST_CHECK;

/* ---- load.c, bundle.c, pull.c: the requests --------------------------------------------- */

/* The files of an archive or of an OCI layout directory, by name. */
struct bundle;
struct bundle *bundle_open(int fd, const char *spool_dir, uint64_t max_bytes, struct err *err);
/* -ENOENT when there is no such member. The range lives as long as the bundle. */
int bundle_find(struct bundle *b, const char *name, struct range *ret) MUST_CHECK;
void bundle_free(struct bundle *b);
DEFINE_AUTO(bundle, struct bundle *, bundle_free);

/* Loads everything in the archive (directory) fd and publishes it in one step. */
int load_archive(struct content *c, int fd, bool pin, struct strv *ret_digests,
		 struct err *err) MUST_CHECK;
/* Runs over the archive without writing layers; for fuzzing. */
int load_check(int fd, const char *spool_dir, uint64_t max_bytes, struct err *err) MUST_CHECK;
int preload_dir(struct content *c, const char *source, struct err *err) MUST_CHECK;
int pull_image(struct content *c, const char *ref, const char *username, const char *password,
	       struct err *err) MUST_CHECK;

/* Gives up every privilege that unpacking does not need, bounds memory, and lets the process write
 * below dir alone (landlock(7) where the kernel has it). */
int confine(const char *dir, uint64_t max_bytes, struct err *err) MUST_CHECK;

#endif
