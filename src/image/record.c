/* SPDX-License-Identifier: Apache-2.0 */
/* Image records: the checked JSON between worker and daemon. */
#include "record.h"
#include "ref.h"

int strv_from_json(struct strv *l, const json_t *array, size_t max)
{
	if (!array || json_is_null(array))
		return 0;
	if (!json_is_array(array) || json_array_size(array) > max)
		return -EINVAL;
	for (size_t i = 0; i < json_array_size(array); i++) {
		const char *s = json_string_value(json_array_get(array, i));
		if (!s)
			return -EINVAL;
		strv_add(l, s);
	}
	return 0;
}

json_t *strv_to_json(const struct strv *l)
{
	json_t *a = json_array();
	for (size_t i = 0; i < l->n; i++)
		json_array_append_new(a, json_string(l->v[i]));
	return a;
}

static void vector_free(char **v)
{
	for (size_t i = 0; v && v[i]; i++)
		free(v[i]);
	free(v);
}

/* An owned, NULL-terminated vector: never NULL, unlike an empty strv. */
static char **vector_from(struct strv *l, size_t *ret_n)
{
	if (ret_n)
		*ret_n = l->n;
	char **v = l->v ? l->v : xcalloc(1, sizeof(*v));
	*l = (struct strv){0};
	return v;
}

static int strings_take(const json_t *record, const char *key, char ***ret)
{
	auto_strv l = {0};
	int rc = strv_from_json(&l, json_object_get(record, key), RECORD_MAX_STRINGS);
	if (rc == 0)
		*ret = vector_from(&l, NULL);
	return rc;
}

/* The record lists chain ids from the base up, as OCI does; we want directories from the top. */
static int layers_take(const char *dir, const json_t *record, struct image *im)
{
	const json_t *chain = json_object_get(record, "layers");
	size_t n = json_array_size(chain);
	if (!json_is_array(chain) || n > RECORD_MAX_LAYERS)
		return -EINVAL;
	auto_strv l = {0};
	for (size_t i = n; i-- > 0;) {
		const char *id = json_string_value(json_array_get(chain, i));
		if (!digest_valid(id))
			return -EINVAL;
		strv_addf(&l, "%s/layers/%s", dir, digest_hex(id));
	}
	im->layers = vector_from(&l, &im->n_layers);
	return 0;
}

int image_from_record(const char *dir, const json_t *record, struct image **ret, struct err *err)
{
	const char *digest = json_str(record, "digest", "");
	if (!digest_valid(digest))
		return err_set(err, ERR_INVALID, "image record without a valid digest");
	struct image *im = xnew(struct image);
	im->digest = xstrdup(digest);
	im->workdir = xstrdup(json_str(record, "workdir", ""));
	im->user = xstrdup(json_str(record, "user", ""));
	im->stop_signal = xstrdup(json_str(record, "stopSignal", ""));
	int64_t size = json_int(record, "size", 0);
	im->size = size > 0 ? (uint64_t)size : 0;
	struct strv none = {0};
	image_set_names(im, &none, &none);
	if (layers_take(dir, record, im) < 0 ||
	    strings_take(record, "entrypoint", &im->entrypoint) < 0 ||
	    strings_take(record, "cmd", &im->cmd) < 0 ||
	    strings_take(record, "env", &im->env) < 0) {
		image_free(im);
		return err_set(err, ERR_INVALID, "malformed record of image %s", digest);
	}
	*ret = im;
	return 0;
}

void image_set_names(struct image *im, const struct strv *refs, const struct strv *digests)
{
	struct strv copies[2] = {{0}, {0}};
	for (size_t i = 0; i < refs->n; i++)
		strv_add(&copies[0], refs->v[i]);
	for (size_t i = 0; i < digests->n; i++)
		strv_add(&copies[1], digests->v[i]);
	vector_free(im->refs);
	vector_free(im->repo_digests);
	im->refs = vector_from(&copies[0], &im->n_refs);
	im->repo_digests = vector_from(&copies[1], &im->n_repo_digests);
}

void image_free(struct image *im)
{
	if (!im)
		return;
	vector_free(im->refs);
	vector_free(im->repo_digests);
	vector_free(im->layers);
	vector_free(im->entrypoint);
	vector_free(im->cmd);
	vector_free(im->env);
	free(im->digest);
	free(im->workdir);
	free(im->user);
	free(im->stop_signal);
	free(im);
}
