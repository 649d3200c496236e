/* SPDX-License-Identifier: Apache-2.0 */
/* From a config and its layer blobs to an image whose layers are all in the store. */
#include "worker.h"
#include "record.h"
#include "ref.h"
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

/* ChainID(L0) = DiffID(L0); ChainID(Ln) = sha256(ChainID(Ln-1) " " DiffID(Ln)): image-spec,
 * config.md. Caller frees. */
static char *chain_next(const char *chain, const char *diff_id)
{
	if (!chain)
		return xstrdup(diff_id);
	auto_free char *text = xasprintf("%s %s", chain, diff_id);
	char hex[65];
	sha256_hex(text, strlen(text), hex);
	return xasprintf("sha256:%s", hex);
}

static int layer_fill(const char *tmp, struct range *blob, const char *diff_id,
		      const struct strv *lower, uint64_t *budget, struct err *err)
{
	auto_fd int root = open(tmp, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (root < 0 || fchmod(root, 0755) < 0)
		return err_errno(err, errno, "cannot open %s", tmp);
	auto_clean(disk_sink) struct disk_sink *sink = disk_sink_new(root, lower);
	char hex[65];
	int rc = layer_walk(blob, disk_sink_face(sink), budget, hex, err);
	if (rc < 0)
		return rc;
	if (!streq(hex, digest_hex(diff_id)))
		return err_set(
			err, ERR_INVALID,
			"digest mismatch: the layer unpacks to sha256:%s, its image wants %s", hex,
			diff_id);
	rc = disk_sink_finish(sink, err);
	/* All of it must be on the disk before its name says that it is complete. */
	if (rc == 0 && syncfs(root) < 0)
		rc = err_errno(err, errno, "cannot sync the layer");
	return rc;
}

static int info_write(const struct content *c, const char *chain, const char *diff_id,
		      uint64_t size, struct err *err)
{
	auto_free char *path = xasprintf("%s/layers/%s.json", c->dir, digest_hex(chain));
	auto_free char *text =
		xasprintf("{\"diffId\":\"%s\",\"size\":%llu}\n", diff_id, (unsigned long long)size);
	return content_write(c, path, text, strlen(text), err);
}

static int layer_commit(const struct content *c, const char *tmp, const char *chain,
			struct err *err)
{
	auto_free char *to = xasprintf("%s/layers/%s", c->dir, digest_hex(chain));
	auto_free char *parent = path_join(c->dir, "layers");
	if (rename(tmp, to) < 0) {
		/* Another worker was first with the same layer: its copy is as good. */
		if (errno != EEXIST && errno != ENOTEMPTY)
			return err_errno(err, errno, "cannot commit the layer");
		rm_rf(tmp);
	}
	auto_fd int fd = open(parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0 || fsync(fd) < 0)
		return err_errno(err, errno, "cannot commit the layer");
	return 0;
}

static int layer_make(struct content *c, struct range *blob, const char *chain, const char *diff_id,
		      const struct strv *lower, uint64_t *budget, struct err *err)
{
	auto_free char *tmp = NULL;
	uint64_t before = *budget;
	int rc = content_tmp_dir(c, &tmp, err);
	if (rc < 0)
		return rc;
	rc = layer_fill(tmp, blob, diff_id, lower, budget, err);
	if (rc == 0)
		rc = info_write(c, chain, diff_id, before - *budget, err);
	if (rc == 0)
		rc = layer_commit(c, tmp, chain, err);
	if (rc < 0)
		rm_rf(tmp);
	return rc;
}

static int layer_get(struct content *c, const struct layer_supply *supply, size_t i,
		     const char *chain, const char *diff_id, const struct strv *lower,
		     uint64_t *budget, struct err *err)
{
	uint64_t size;
	struct range blob;
	if (content_has_layer(c, chain, &size)) {
		*budget -= size < *budget ? size : *budget;
		return 0;
	}
	int rc = supply->open(supply->arg, i, &blob, err);
	if (rc < 0)
		return rc;
	rc = layer_make(c, &blob, chain, diff_id, lower, budget, err);
	supply->close(supply->arg, i, rc == 0);
	return rc;
}

static void lower_push(struct strv *lower, char *dir)
{
	strv_take(lower, dir);
	/* Topmost first. */
	char *last = lower->v[lower->n - 1];
	memmove(&lower->v[1], &lower->v[0], (lower->n - 1) * sizeof(char *));
	lower->v[0] = last;
}

int image_build(struct content *c, const struct image_conf *conf, size_t n_layers,
		const struct layer_supply *supply, struct prepared *ret, struct err *err)
{
	auto_strv lower = {0};
	auto_free char *chain = NULL;
	json_auto_t *layers = json_array();
	uint64_t budget = c->max_bytes;
	if (conf->diff_ids.n != n_layers)
		return err_set(err, ERR_INVALID, "malformed image: %zu layers, but %zu diff ids",
			       n_layers, conf->diff_ids.n);
	for (size_t i = 0; i < n_layers; i++) {
		const char *diff_id = conf->diff_ids.v[i];
		char *next = chain_next(chain, diff_id);
		free(chain);
		chain = next;
		int rc = layer_get(c, supply, i, chain, diff_id, &lower, &budget, err);
		if (rc < 0)
			return err_wrap(err, rc, "layer %zu of %zu", i + 1, n_layers);
		json_array_append_new(layers, json_string(chain));
		lower_push(&lower, xasprintf("%s/layers/%s", c->dir, digest_hex(chain)));
	}
	ret->record = json_deep_copy(conf->record);
	json_object_set(ret->record, "layers", layers);
	json_put_int(ret->record, "size", (int64_t)(c->max_bytes - budget));
	return 0;
}
