/* SPDX-License-Identifier: Apache-2.0 */
/* Manifests, indexes and configs (OCI image-spec 1.1, Docker schema 2): pure parsing, no I/O. */
#include "worker.h"
#include "record.h"
#include "ref.h"

#define DOCKER "application/vnd.docker."
#define OCI "application/vnd.oci.image."

static const char *const manifest_types[] = {
	OCI "manifest.v1+json",
	DOCKER "distribution.manifest.v2+json",
	NULL,
};
static const char *const index_types[] = {
	OCI "index.v1+json",
	DOCKER "distribution.manifest.list.v2+json",
	NULL,
};
static const char *const layer_types[] = {
	OCI "layer.v1.tar",
	OCI "layer.v1.tar+gzip",
	OCI "layer.v1.tar+zstd",
	OCI "layer.nondistributable.v1.tar",
	OCI "layer.nondistributable.v1.tar+gzip",
	OCI "layer.nondistributable.v1.tar+zstd",
	DOCKER "image.rootfs.diff.tar",
	DOCKER "image.rootfs.diff.tar.gzip",
	DOCKER "image.rootfs.diff.tar.zstd",
	DOCKER "image.rootfs.foreign.diff.tar.gzip",
	NULL,
};
static const char *const config_types[] = {
	OCI "config.v1+json",
	DOCKER "container.image.v1+json",
	NULL,
};

static bool one_of(const char *s, const char *const *list)
{
	for (; *list; list++)
		if (streq(s, *list))
			return true;
	return false;
}

bool layer_media_type_ok(const char *media_type)
{
	return one_of(media_type, layer_types);
}

/* ---- descriptors ------------------------------------------------------------------------ */

static void descriptor_done(struct descriptor *d)
{
	free(d->media_type);
	free(d->digest);
	free(d->name);
	free(d->architecture);
	free(d->variant);
	free(d->os);
}

static int descriptor_take(const json_t *v, struct descriptor *d, struct err *err)
{
	const char *digest = json_str(v, "digest", "");
	int64_t size = json_int(v, "size", -1);
	if (!digest_valid(digest) || size < 0)
		return err_set(err, ERR_INVALID, "malformed manifest: descriptor \"%.100s\"",
			       digest);
	const json_t *notes = json_object_get(v, "annotations");
	const char *name = json_string_value(json_object_get(notes, "io.containerd.image.name"));
	if (!name)
		name = json_string_value(
			json_object_get(notes, "org.opencontainers.image.ref.name"));
	d->media_type = xstrdup(json_str(v, "mediaType", ""));
	d->digest = xstrdup(digest);
	d->size = (uint64_t)size;
	d->name = xstrdup_null(name);
	d->architecture = xstrdup(json_str(v, "platform.architecture", ""));
	d->variant = xstrdup(json_str(v, "platform.variant", ""));
	d->os = xstrdup(json_str(v, "platform.os", ""));
	return 0;
}

static int list_take(const json_t *array, size_t max, struct manifest *m, struct err *err)
{
	size_t n = json_array_size(array);
	if (!json_is_array(array) || n > max)
		return err_set(err, ERR_INVALID, "malformed manifest: %s",
			       n > max ? "too many entries" : "no list of entries");
	m->list = xcalloc(n ? n : 1, sizeof(*m->list));
	for (size_t i = 0; i < n; i++) {
		int rc = descriptor_take(json_array_get(array, i), &m->list[m->n], err);
		if (rc < 0)
			return rc;
		m->n++;
	}
	return 0;
}

void manifest_done(struct manifest *m)
{
	for (size_t i = 0; i < m->n; i++)
		descriptor_done(&m->list[i]);
	free(m->list);
	descriptor_done(&m->config);
	*m = (struct manifest){0};
}

/* ---- manifests -------------------------------------------------------------------------- */

/* The document's own mediaType, else the server's, else what it looks like. */
static const char *type_of(const json_t *v, const char *hint)
{
	const char *own = json_str(v, "mediaType", NULL);
	if (own)
		return own;
	if (hint && (one_of(hint, manifest_types) || one_of(hint, index_types)))
		return hint;
	if (json_is_array(json_object_get(v, "manifests")))
		return index_types[0];
	if (json_is_array(json_object_get(v, "layers")))
		return manifest_types[0];
	if (json_int(v, "schemaVersion", 0) == 1)
		return DOCKER "distribution.manifest.v1+json";
	return hint ? hint : "";
}

static int image_manifest_take(const json_t *v, struct manifest *m, struct err *err)
{
	int rc = descriptor_take(json_object_get(v, "config"), &m->config, err);
	if (rc < 0)
		return rc;
	if (!one_of(m->config.media_type, config_types))
		return err_set(err, ERR_UNSUPPORTED_MEDIA_TYPE,
			       "unsupported media type \"%.200s\": this is not a container image",
			       m->config.media_type);
	rc = list_take(json_object_get(v, "layers"), RECORD_MAX_LAYERS, m, err);
	for (size_t i = 0; rc == 0 && i < m->n; i++)
		if (!layer_media_type_ok(m->list[i].media_type))
			return err_set(err, ERR_UNSUPPORTED_MEDIA_TYPE,
				       "unsupported media type \"%.200s\" of layer %s",
				       m->list[i].media_type, m->list[i].digest);
	return rc;
}

int manifest_parse(const char *text, size_t len, const char *media_type, struct manifest *ret,
		   struct err *err)
{
	auto_manifest m = {0};
	json_auto_t *v = json_parse(text, len, err);
	if (!v)
		return err_wrap(err, -EINVAL, "malformed manifest");
	const char *type = type_of(v, media_type);
	int rc;
	if (one_of(type, index_types)) {
		m.is_index = true;
		rc = list_take(json_object_get(v, "manifests"), INDEX_MAX_ENTRIES, &m, err);
	} else if (one_of(type, manifest_types)) {
		rc = image_manifest_take(v, &m, err);
	} else {
		rc = err_set(err, ERR_UNSUPPORTED_MEDIA_TYPE, "unsupported media type \"%.200s\"",
			     type);
	}
	if (rc < 0)
		return rc;
	*ret = m;
	m = (struct manifest){0};
	return 0;
}

/* ---- choosing for this machine ---------------------------------------------------------- */

struct platform {
	const char *machine; /* uname(2) */
	const char *architecture, *variant;
};
/* Best first for each machine; names as Go and the image-spec have them. */
static const struct platform platforms[] = {
	{"x86_64", "amd64", ""},    {"x86_64", "386", ""},    {"aarch64", "arm64", "v8"},
	{"aarch64", "arm64", ""},   {"aarch64", "arm", "v7"}, {"aarch64", "arm", "v6"},
	{"aarch64", "arm", "v5"},   {"armv7l", "arm", "v7"},  {"armv7l", "arm", ""},
	{"armv7l", "arm", "v6"},    {"armv7l", "arm", "v5"},  {"armv6l", "arm", "v6"},
	{"armv6l", "arm", ""},	    {"armv6l", "arm", "v5"},  {"armv5tel", "arm", "v5"},
	{"i686", "386", ""},	    {"i586", "386", ""},      {"riscv64", "riscv64", ""},
	{"ppc64le", "ppc64le", ""}, {"s390x", "s390x", ""},   {"loongarch64", "loong64", ""},
	{"mips64", "mips64le", ""},
};

const struct descriptor *manifest_select(const struct manifest *index, const char *machine)
{
	for (size_t p = 0; p < ARRAY_SIZE(platforms); p++) {
		if (!streq(platforms[p].machine, machine))
			continue;
		for (size_t i = 0; i < index->n; i++) {
			const struct descriptor *d = &index->list[i];
			if (streq(d->os, "linux") &&
			    streq(d->architecture, platforms[p].architecture) &&
			    streq(d->variant, platforms[p].variant))
				return d;
		}
	}
	/* An index written by hand often leaves the platform out: a lone entry is meant. */
	if (index->n == 1 && !*index->list[0].os && !*index->list[0].architecture)
		return &index->list[0];
	return NULL;
}

/* ---- configs ---------------------------------------------------------------------------- */

static int strings_keep(const json_t *conf, const char *path, json_t *record, const char *key)
{
	auto_strv l = {0};
	int rc = strv_from_json(&l, json_at(conf, path), RECORD_MAX_STRINGS);
	if (rc == 0)
		json_object_set_new(record, key, strv_to_json(&l));
	return rc;
}

static int diff_ids_take(const json_t *conf, struct strv *l)
{
	int rc = strv_from_json(l, json_at(conf, "rootfs.diff_ids"), RECORD_MAX_LAYERS);
	for (size_t i = 0; rc == 0 && i < l->n; i++)
		if (!digest_valid(l->v[i]))
			rc = -EINVAL;
	return rc;
}

static int record_fill(const json_t *conf, json_t *record)
{
	json_put_str(record, "architecture", json_str(conf, "architecture", ""));
	json_put_str(record, "created", json_str(conf, "created", ""));
	json_put_str(record, "workdir", json_str(conf, "config.WorkingDir", ""));
	json_put_str(record, "user", json_str(conf, "config.User", ""));
	json_put_str(record, "stopSignal", json_str(conf, "config.StopSignal", ""));
	if (strings_keep(conf, "config.Entrypoint", record, "entrypoint") < 0 ||
	    strings_keep(conf, "config.Cmd", record, "cmd") < 0 ||
	    strings_keep(conf, "config.Env", record, "env") < 0)
		return -EINVAL;
	size_t len;
	auto_free char *text = json_text(record, &len);
	return !text || len > RECORD_MAX_BYTES / 2 ? -EINVAL : 0;
}

int conf_parse(const char *text, size_t len, struct image_conf *ret, struct err *err)
{
	auto_conf c = {0};
	json_auto_t *v = json_parse(text, len, err);
	if (!v)
		return err_wrap(err, -EINVAL, "malformed image config");
	char hex[65];
	sha256_hex(text, len, hex);
	c.digest = xasprintf("sha256:%s", hex);
	c.record = json_object();
	json_put_str(c.record, "digest", c.digest);
	const char *os = json_str(v, "os", "linux");
	if (*os && !streq(os, "linux"))
		return err_set(err, ERR_INVALID, "no match for platform: image is for \"%.50s\"",
			       os);
	if (diff_ids_take(v, &c.diff_ids) < 0 || record_fill(v, c.record) < 0)
		return err_set(err, ERR_INVALID, "malformed image config %s", c.digest);
	*ret = c;
	c = (struct image_conf){0};
	return 0;
}

void conf_done(struct image_conf *c)
{
	free(c->digest);
	strv_done(&c->diff_ids);
	json_decref(c->record);
	*c = (struct image_conf){0};
}

/* ---- docker-archive --------------------------------------------------------------------- */

static int docker_image_take(const json_t *v, struct docker_image *d)
{
	d->config = xstrdup_null(json_str(v, "Config", NULL));
	if (!d->config)
		return -EINVAL;
	int rc = strv_from_json(&d->tags, json_object_get(v, "RepoTags"), RECORD_MAX_STRINGS);
	if (rc == 0)
		rc = strv_from_json(&d->layers, json_object_get(v, "Layers"), RECORD_MAX_LAYERS);
	return rc;
}

int docker_manifest_parse(const char *text, size_t len, struct docker_manifest *ret,
			  struct err *err)
{
	auto_docker_manifest m = {0};
	json_auto_t *v = json_parse(text, len, err);
	if (!v)
		return err_wrap(err, -EINVAL, "malformed manifest.json");
	size_t n = json_array_size(v);
	if (n == 0 || n > INDEX_MAX_ENTRIES)
		return err_set(err, ERR_INVALID, "malformed manifest.json: no list of images");
	m.images = xcalloc(n, sizeof(*m.images));
	for (size_t i = 0; i < n; i++) {
		m.n++;
		if (docker_image_take(json_array_get(v, i), &m.images[i]) < 0)
			return err_set(err, ERR_INVALID, "malformed manifest.json: entry %zu", i);
	}
	*ret = m;
	m = (struct docker_manifest){0};
	return 0;
}

void docker_manifest_done(struct docker_manifest *m)
{
	for (size_t i = 0; i < m->n; i++) {
		free(m->images[i].config);
		strv_done(&m->images[i].tags);
		strv_done(&m->images[i].layers);
	}
	free(m->images);
	*m = (struct docker_manifest){0};
}
