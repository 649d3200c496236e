/* SPDX-License-Identifier: Apache-2.0 */
/* Loading image archives: OCI layouts (image-layout.md) and docker-archives (manifest.json). */
#include "worker.h"
#include "record.h"
#include "ref.h"
#include <coracle/image.h>
#include <sys/utsname.h>

enum { MAX_INDEX_DEPTH = 3 };

struct load {
	struct content *content; /* NULL: only look */
	struct bundle *bundle;
	uint64_t max_bytes;
	struct prepared *images;
	size_t n;
};

/* ---- layers out of the bundle ----------------------------------------------------------- */

struct supply {
	struct load *load;
	const struct manifest *manifest;   /* OCI: layers by digest, or */
	const struct docker_image *docker; /* docker-archive: layers by name */
	size_t n;
};

static int blob_find(struct load *l, const struct descriptor *d, struct range *ret, struct err *err)
{
	char hex[65];
	auto_free char *name = xasprintf("blobs/sha256/%s", digest_hex(d->digest));
	if (bundle_find(l->bundle, name, ret) < 0)
		return err_set(err, ERR_INVALID, "damaged archive: %s is missing", d->digest);
	int rc = range_sha256(ret, hex, err);
	if (rc < 0)
		return rc;
	if (ret->len != d->size || !streq(hex, digest_hex(d->digest)))
		return err_set(err, ERR_INVALID, "digest mismatch: blob %s is sha256:%s", d->digest,
			       hex);
	return 0;
}

static int supply_open(void *arg, size_t i, struct range *ret, struct err *err)
{
	const struct supply *s = arg;
	char what[80];
	snprintf(what, sizeof(what), "unpacking layer %zu/%zu", i + 1, s->n);
	report_progress(i, s->n, what);
	if (s->manifest)
		return blob_find(s->load, &s->manifest->list[i], ret, err);
	if (bundle_find(s->load->bundle, s->docker->layers.v[i], ret) < 0)
		return err_set(err, ERR_INVALID, "damaged archive: %.200s is missing",
			       s->docker->layers.v[i]);
	return 0;
}

static void supply_close(void *arg UNUSED, size_t i UNUSED, bool unpacked UNUSED)
{
}

/* ---- looking only ----------------------------------------------------------------------- */

static int null_entry(struct layer_sink *s UNUSED, const struct layer_entry *e UNUSED,
		      struct err *err UNUSED)
{
	return 0;
}

static int null_data(struct layer_sink *s UNUSED, const void *buf UNUSED, size_t len UNUSED,
		     uint64_t off UNUSED, struct err *err UNUSED)
{
	return 0;
}

static int null_end(struct layer_sink *s UNUSED, struct err *err UNUSED)
{
	return 0;
}

static int layers_check(const struct supply *s, const struct image_conf *conf, uint64_t max_bytes,
			struct err *err)
{
	struct layer_sink sink = {null_entry, null_data, null_end};
	uint64_t budget = max_bytes;
	for (size_t i = 0; i < s->n; i++) {
		struct range blob;
		char hex[65];
		int rc = supply_open((void *)s, i, &blob, err);
		if (rc == 0)
			rc = layer_walk(&blob, &sink, &budget, hex, err);
		if (rc < 0)
			return rc;
		if (i >= conf->diff_ids.n || !streq(hex, digest_hex(conf->diff_ids.v[i])))
			return err_set(err, ERR_INVALID, "digest mismatch: layer %zu", i + 1);
	}
	return 0;
}

/* ---- one image -------------------------------------------------------------------------- */

static void ref_add(struct prepared *p, const char *name)
{
	auto_free char *full = NULL;
	auto_err err = {0};
	if (image_ref_normalize(name, &full, &err) == 0)
		strv_add(&p->refs, full);
	else
		report_warning(err_message(&err));
}

/* Takes the image in under its config's digest; names are added by the caller. */
static int image_take(struct load *l, const struct image_conf *conf, struct supply *s,
		      struct prepared **ret, struct err *err)
{
	const struct layer_supply supply = {supply_open, supply_close, s};
	if (!l->content)
		return layers_check(s, conf, l->max_bytes, err);
	struct prepared p = {0};
	int rc = image_build(l->content, conf, s->n, &supply, &p, err);
	if (rc < 0)
		return rc;
	l->images = xrealloc(l->images, l->n + 1, sizeof(*l->images));
	l->images[l->n] = p;
	*ret = &l->images[l->n++];
	return 0;
}

static int doc_read(struct load *l, const struct descriptor *d, char **ret, struct err *err)
{
	struct range r;
	int rc = blob_find(l, d, &r, err);
	return rc < 0 ? rc : range_read(&r, DOC_MAX_BYTES, ret, err);
}

static int oci_image_take(struct load *l, const struct manifest *m, const char *digest,
			  const char *text, struct prepared **ret, struct err *err)
{
	auto_free char *config = NULL;
	auto_conf conf = {0};
	struct supply s = {.load = l, .manifest = m, .n = m->n};
	int rc = doc_read(l, &m->config, &config, err);
	if (rc == 0)
		rc = conf_parse(config, strlen(config), &conf, err);
	if (rc == 0)
		rc = image_take(l, &conf, &s, ret, err);
	if (rc < 0 || !l->content)
		return rc;
	json_put_str((*ret)->record, "manifest", digest);
	rc = content_blob_put(l->content, digest, text, strlen(text), err);
	if (rc == 0)
		rc = content_blob_put(l->content, conf.digest, config, strlen(config), err);
	return rc;
}

static int oci_entry_take(struct load *l, const struct descriptor *d, int depth,
			  struct prepared **ret, struct err *err)
{
	auto_free char *text = NULL;
	auto_manifest m = {0};
	struct utsname uts;
	int rc = doc_read(l, d, &text, err);
	if (rc == 0)
		rc = manifest_parse(text, strlen(text), *d->media_type ? d->media_type : NULL, &m,
				    err);
	if (rc < 0)
		return rc;
	if (!m.is_index)
		return oci_image_take(l, &m, d->digest, text, ret, err);
	uname(&uts);
	const struct descriptor *mine = manifest_select(&m, uts.machine);
	if (!mine || depth >= MAX_INDEX_DEPTH)
		return err_set(err, ERR_NOT_FOUND, "no match for platform linux/%s in manifest %s",
			       uts.machine, d->digest);
	return oci_entry_take(l, mine, depth + 1, ret, err);
}

/* A bare tag as the reference ("latest", "1.2") names no image. */
static bool is_bare_tag(const char *name)
{
	if (strpbrk(name, "/:@"))
		return false;
	return streq(name, "latest") || (*name >= '0' && *name <= '9') ||
	       (name[0] == 'v' && name[1] >= '0' && name[1] <= '9');
}

static void oci_names_add(struct prepared *p, const struct descriptor *d)
{
	auto_ref ref = {0};
	if (str_empty(d->name) || is_bare_tag(d->name))
		return;
	ref_add(p, d->name);
	if (image_ref_parse(d->name, &ref, NULL) == 0)
		strv_addf(&p->repo_digests, "%s/%s@%s", ref.domain, ref.path, d->digest);
}

static int oci_load(struct load *l, const struct manifest *index, struct err *err)
{
	for (size_t i = 0; i < index->n; i++) {
		struct prepared *p = NULL;
		int rc = oci_entry_take(l, &index->list[i], 0, &p, err);
		if (rc < 0)
			return rc;
		if (p)
			oci_names_add(p, &index->list[i]);
	}
	return 0;
}

static int docker_image_load(struct load *l, const struct docker_image *d, struct err *err)
{
	struct range r;
	auto_free char *config = NULL;
	auto_conf conf = {0};
	struct prepared *p = NULL;
	struct supply s = {.load = l, .docker = d, .n = d->layers.n};
	if (bundle_find(l->bundle, d->config, &r) < 0)
		return err_set(err, ERR_INVALID, "damaged archive: %.200s is missing", d->config);
	int rc = range_read(&r, DOC_MAX_BYTES, &config, err);
	if (rc == 0)
		rc = conf_parse(config, strlen(config), &conf, err);
	if (rc == 0)
		rc = image_take(l, &conf, &s, &p, err);
	if (rc == 0 && l->content)
		rc = content_blob_put(l->content, conf.digest, config, strlen(config), err);
	for (size_t i = 0; rc == 0 && p && i < d->tags.n; i++)
		ref_add(p, d->tags.v[i]);
	return rc;
}

static int docker_load(struct load *l, const struct range *r, struct err *err)
{
	auto_free char *text = NULL;
	auto_docker_manifest m = {0};
	int rc = range_read(r, DOC_MAX_BYTES, &text, err);
	if (rc == 0)
		rc = docker_manifest_parse(text, strlen(text), &m, err);
	for (size_t i = 0; rc == 0 && i < m.n; i++)
		rc = docker_image_load(l, &m.images[i], err);
	return rc;
}

/* ---- one archive ------------------------------------------------------------------------ */

/* Prefers the OCI index, which `docker save` writes too: it carries digests for everything. */
static int bundle_load(struct load *l, struct err *err)
{
	struct range r;
	if (bundle_find(l->bundle, "index.json", &r) == 0) {
		auto_free char *text = NULL;
		auto_manifest index = {0};
		int rc = range_read(&r, DOC_MAX_BYTES, &text, err);
		if (rc == 0)
			rc = manifest_parse(text, strlen(text), NULL, &index, err);
		if (rc < 0)
			return rc;
		if (index.is_index && index.n > 0)
			return oci_load(l, &index, err);
	}
	if (bundle_find(l->bundle, "manifest.json", &r) == 0)
		return docker_load(l, &r, err);
	return err_set(err, ERR_INVALID,
		       "not an image archive: neither index.json nor manifest.json is in it");
}

int load_archive(struct content *c, int fd, bool pin, struct strv *ret_digests, struct err *err)
{
	auto_free char *spool = path_join(c->dir, "tmp");
	struct load l = {.content = c, .max_bytes = c->max_bytes};
	report_progress(0, 0, "reading the archive");
	l.bundle = bundle_open(fd, spool, c->max_bytes, err);
	if (!l.bundle)
		return -EINVAL;
	int rc = bundle_load(&l, err);
	bundle_free(l.bundle);
	if (rc == 0)
		rc = content_publish(c, l.images, l.n, pin, err);
	for (size_t i = 0; rc == 0 && ret_digests && i < l.n; i++)
		strv_add(ret_digests, json_str(l.images[i].record, "digest", ""));
	prepared_free(l.images, l.n);
	return rc;
}

int load_check(int fd, const char *spool_dir, uint64_t max_bytes, struct err *err)
{
	struct load l = {.max_bytes = max_bytes};
	l.bundle = bundle_open(fd, spool_dir, max_bytes, err);
	if (!l.bundle)
		return -EINVAL;
	int rc = bundle_load(&l, err);
	bundle_free(l.bundle);
	return rc;
}
