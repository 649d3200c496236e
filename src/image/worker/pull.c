/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pulling: resolve the reference, choose the manifest for this machine, bring the layers that are
 * not here. A blob grows in partial/<hex> over any number of attempts and processes, is asked for
 * from where it ends, and counts only when its SHA-256 is right.
 */
#include "worker.h"
#include "http.h"
#include "record.h"
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

enum { MAX_RESUMES = 5, MAX_INDEX_DEPTH = 3 };

struct pull {
	struct content *content;
	struct registry *registry;
	const struct image_ref *ref;
	char *name; /* the whole reference, for messages */
	struct manifest manifest;
	char *manifest_digest, *manifest_text;
	char *target_digest; /* what the name stands for: the index when there is one */
	uint64_t bytes_done, bytes_total;
	int blob_fd; /* the layer that is open now */
};

/* ---- documents -------------------------------------------------------------------------- */

static int doc_body(void *arg, long status UNUSED, const void *data, size_t len, struct err *err)
{
	struct strbuf *b = arg;
	if (b->len + len > DOC_MAX_BYTES)
		return err_set(err, ERR_INVALID, "the registry's document is larger than %d bytes",
			       DOC_MAX_BYTES);
	strbuf_add(b, data, len);
	return 0;
}

/* Fetches a document; with a digest it must have that. *ret_digest: what it has. */
static int doc_get(struct pull *p, const char *what, const char *id, char **ret_text,
		   char **ret_type, char **ret_digest, struct err *err)
{
	auto_strbuf b = {0};
	auto_answer answer = {0};
	char hex[65];
	int rc = registry_get(p->registry, what, id, 0, doc_body, &b, &answer, err);
	if (rc < 0)
		return rc;
	if (b.len > 0 && memchr(b.s, '\0', b.len))
		return err_set(err, ERR_INVALID, "malformed document %s", id);
	sha256_hex(b.s ? b.s : "", b.len, hex);
	if (digest_valid(id) && !streq(digest_hex(id), hex))
		return err_set(err, ERR_INVALID, "digest mismatch: asked for %s, got sha256:%s", id,
			       hex);
	if (answer.content_type)
		answer.content_type[strcspn(answer.content_type, "; \t")] = '\0';
	*ret_type = steal_ptr(answer.content_type);
	*ret_digest = xasprintf("sha256:%s", hex);
	*ret_text = strbuf_steal(&b);
	return 0;
}

static int manifest_get(struct pull *p, const char *id, int depth, struct err *err)
{
	auto_free char *text = NULL, *type = NULL, *digest = NULL;
	auto_manifest m = {0};
	struct utsname uts;
	int rc = doc_get(p, "manifests", id, &text, &type, &digest, err);
	if (rc < 0)
		return rc;
	if (!p->target_digest)
		p->target_digest = xstrdup(digest);
	rc = manifest_parse(text, strlen(text), type, &m, err);
	if (rc < 0)
		return rc;
	if (!m.is_index) {
		p->manifest = m;
		m = (struct manifest){0};
		p->manifest_digest = steal_ptr(digest);
		p->manifest_text = steal_ptr(text);
		return 0;
	}
	uname(&uts);
	const struct descriptor *mine = manifest_select(&m, uts.machine);
	if (!mine || depth >= MAX_INDEX_DEPTH)
		return err_set(err, ERR_NOT_FOUND,
			       "no match for platform linux/%s in manifest: not found",
			       uts.machine);
	return manifest_get(p, mine->digest, depth + 1, err);
}

/* ---- blobs ------------------------------------------------------------------------------ */

struct download {
	struct pull *pull;
	const struct descriptor *d;
	int fd;
	uint64_t len;  /* bytes in the partial file */
	uint64_t from; /* where the request began */
	bool first;    /* no body byte came yet */
	char what[60];
};

static int write_err(struct err *err, int code)
{
	if (code == ENOSPC || code == EDQUOT || code == EFBIG)
		return err_set(err, ERR_INSUFFICIENT_STORAGE,
			       "cannot keep the layer: no space left on device");
	return err_errno(err, code, "cannot keep the layer");
}

static int blob_body(void *arg, long status, const void *data, size_t len, struct err *err)
{
	struct download *dl = arg;
	const char *s = data;
	/* 200 to a range request: the server sends all of it again. */
	if (dl->first && dl->from > 0 && status == 200) {
		if (ftruncate(dl->fd, 0) < 0)
			return write_err(err, errno);
		dl->len = 0;
	}
	dl->first = false;
	if (len > dl->d->size - dl->len)
		return err_set(err, ERR_INVALID,
			       "digest mismatch: blob %s is larger than %llu bytes", dl->d->digest,
			       (unsigned long long)dl->d->size);
	while (len > 0) {
		ssize_t n = pwrite(dl->fd, s, len, (off_t)dl->len);
		if (n < 0)
			return write_err(err, errno);
		s += n;
		dl->len += (uint64_t)n;
		len -= (size_t)n;
	}
	report_progress(dl->pull->bytes_done + dl->len, dl->pull->bytes_total, dl->what);
	return 0;
}

/* Is it worth asking again from where it broke off? */
static bool may_resume(const struct err *err)
{
	return err && (err->reason == ERR_SERVICE_UNAVAILABLE || err->reason == ERR_TIMEOUT);
}

static int blob_fill(struct download *dl, struct err *err)
{
	struct pull *p = dl->pull;
	for (int attempt = 0; dl->len < dl->d->size; attempt++) {
		auto_answer answer = {0};
		auto_err why = {0};
		dl->from = dl->len;
		dl->first = true;
		int rc = registry_get(p->registry, "blobs", dl->d->digest, dl->from, blob_body, dl,
				      &answer, &why);
		if (rc == 0 && answer.status == 416) {
			dl->len = 0;
			if (ftruncate(dl->fd, 0) < 0)
				return write_err(err, errno);
		} else if (rc == 0 && dl->len < dl->d->size && dl->len == dl->from) {
			return err_set(err, ERR_INVALID, "digest mismatch: blob %s is too short",
				       dl->d->digest);
		}
		if ((rc < 0 && (!may_resume(&why) || dl->len == dl->from)) ||
		    attempt >= MAX_RESUMES) {
			err_copy(err, &why);
			return rc < 0 ? rc
				      : err_set(err, ERR_SERVICE_UNAVAILABLE,
						"blob %s: the registry stops short every time",
						dl->d->digest);
		}
	}
	return 0;
}

static int blob_check(struct download *dl, struct err *err)
{
	char hex[65];
	const struct range all = {dl->fd, 0, dl->len};
	int rc = range_sha256(&all, hex, err);
	if (rc < 0 || streq(hex, digest_hex(dl->d->digest)))
		return rc;
	if (ftruncate(dl->fd, 0) < 0)
		return write_err(err, errno);
	dl->len = 0;
	return -EBADMSG;
}

/* Another worker may be at the same blob: one waits for the other and then has it whole. */
static int partial_open(const struct pull *p, const char *digest, struct err *err)
{
	auto_free char *path = xasprintf("%s/partial/%s", p->content->dir, digest_hex(digest));
	for (;;) {
		struct stat held, named;
		auto_fd int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
		if (fd < 0 || flock(fd, LOCK_EX) < 0 || fstat(fd, &held) < 0)
			return err_errno(err, errno, "cannot open %s", path);
		if (stat(path, &named) == 0 && named.st_ino == held.st_ino)
			return steal_fd(&fd);
	}
}

/* Brings the blob into its partial file, checked. What was left by an earlier attempt may be
 * rotten: then once more from the start. */
static int blob_get(struct pull *p, const struct descriptor *d, const char *what, int *ret_fd,
		    struct err *err)
{
	struct stat st;
	auto_fd int fd = partial_open(p, d->digest, err);
	if (fd < 0)
		return fd;
	if (fstat(fd, &st) < 0)
		return err_errno(err, errno, "cannot read the layer");
	struct download dl = {.pull = p, .d = d, .fd = fd, .len = (uint64_t)st.st_size};
	snprintf(dl.what, sizeof(dl.what), "%s", what);
	bool resumed = dl.len > 0;
	if (dl.len > d->size) {
		dl.len = 0;
		if (ftruncate(fd, 0) < 0)
			return write_err(err, errno);
	}
	int rc = blob_fill(&dl, err);
	if (rc == 0)
		rc = blob_check(&dl, err);
	if (rc == -EBADMSG && resumed) {
		rc = blob_fill(&dl, err);
		if (rc == 0)
			rc = blob_check(&dl, err);
	}
	if (rc == -EBADMSG)
		return err_set(err, ERR_INVALID,
			       "digest mismatch: blob %s came with other contents", d->digest);
	if (rc == 0)
		*ret_fd = steal_fd(&fd);
	return rc;
}

static void partial_drop(const struct pull *p, const char *digest)
{
	auto_free char *path = xasprintf("%s/partial/%s", p->content->dir, digest_hex(digest));
	unlink(path);
}

/* ---- layers ----------------------------------------------------------------------------- */

static int layer_open(void *arg, size_t i, struct range *ret, struct err *err)
{
	struct pull *p = arg;
	const struct descriptor *d = &p->manifest.list[i];
	char what[60];
	if (d->size > p->content->max_bytes)
		return err_set(err, ERR_INVALID, "layer %s is larger than the limit", d->digest);
	snprintf(what, sizeof(what), "pulling layer %zu/%zu", i + 1, p->manifest.n);
	int rc = blob_get(p, d, what, &p->blob_fd, err);
	if (rc < 0)
		return err_wrap(err, rc, "failed to copy %s", d->digest);
	p->bytes_done += d->size;
	snprintf(what, sizeof(what), "unpacking layer %zu/%zu", i + 1, p->manifest.n);
	report_progress(p->bytes_done, p->bytes_total, what);
	*ret = (struct range){p->blob_fd, 0, d->size};
	return 0;
}

/* The blob is not needed once unpacked, nor when it turned out to be bad: the disk is small. A
 * full disk alone is no fault of its own. */
static void layer_close(void *arg, size_t i, bool unpacked UNUSED)
{
	struct pull *p = arg;
	partial_drop(p, p->manifest.list[i].digest);
	p->blob_fd = fd_close(p->blob_fd);
}

static int config_get(struct pull *p, char **ret, struct err *err)
{
	auto_free char *type = NULL, *digest = NULL;
	return doc_get(p, "blobs", p->manifest.config.digest, ret, &type, &digest, err);
}

static int image_fetch(struct pull *p, struct prepared *ret, struct err *err)
{
	auto_free char *config = NULL;
	auto_conf conf = {0};
	const struct layer_supply supply = {layer_open, layer_close, p};
	for (size_t i = 0; i < p->manifest.n; i++)
		p->bytes_total += p->manifest.list[i].size;
	int rc = config_get(p, &config, err);
	if (rc == 0)
		rc = conf_parse(config, strlen(config), &conf, err);
	if (rc == 0)
		rc = image_build(p->content, &conf, p->manifest.n, &supply, ret, err);
	if (rc < 0)
		return rc;
	json_put_str(ret->record, "manifest", p->manifest_digest);
	rc = content_blob_put(p->content, p->manifest_digest, p->manifest_text,
			      strlen(p->manifest_text), err);
	if (rc == 0)
		rc = content_blob_put(p->content, conf.digest, config, strlen(config), err);
	return rc;
}

/* ---- the request ------------------------------------------------------------------------ */

static void names_add(const struct pull *p, struct prepared *image)
{
	if (p->ref->tag)
		strv_add(&image->refs, p->name);
	strv_addf(&image->repo_digests, "%s/%s@%s", p->ref->domain, p->ref->path, p->target_digest);
}

static int pull_run(struct pull *p, struct err *err)
{
	const char *id = p->ref->digest ? p->ref->digest : p->ref->tag;
	report_progress(0, 0, "resolving");
	int rc = manifest_get(p, id, 0, err);
	if (rc == -ENOENT || (rc < 0 && err && err->reason == ERR_NOT_FOUND))
		err_wrap(err, rc, "%s", p->name);
	if (rc < 0)
		return err_wrap(err, rc, "failed to resolve reference \"%s\"", p->name);
	struct prepared *image = xnew(struct prepared);
	rc = image_fetch(p, image, err);
	if (rc == 0) {
		names_add(p, image);
		rc = content_publish(p->content, image, 1, false, err);
	}
	prepared_free(image, 1);
	return rc;
}

int pull_image(struct content *c, const char *text, const char *username, const char *password,
	       struct err *err)
{
	auto_ref ref = {0};
	auto_err why = {0};
	int rc = image_ref_parse(text, &ref, err);
	if (rc < 0)
		return rc;
	struct pull p = {.content = c, .ref = &ref, .blob_fd = -1};
	p.name = image_ref_text(&ref);
	p.registry = registry_open(&ref, username, password, &why);
	rc = p.registry ? pull_run(&p, &why) : -EIO;
	if (rc < 0) {
		err_copy(err, &why);
		err_wrap(err, rc, "failed to pull and unpack image \"%s\"", p.name);
	}
	if (p.registry)
		registry_close(p.registry);
	manifest_done(&p.manifest);
	free(p.manifest_digest);
	free(p.manifest_text);
	free(p.target_digest);
	free(p.name);
	return rc;
}
