/* SPDX-License-Identifier: Apache-2.0 */
/* payload: contents of configMap, secret, downwardAPI and projected volumes. */
#include "payload.h"
#include "spec.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

/* Bytes digested or written in one go. */
#define PIECE (64U << 10)

void payload_done(struct payload *p)
{
	for (size_t i = 0; i < p->n; i++) {
		breathe();
		free(p->files[i].path);
		free(p->files[i].data);
	}
	free(p->files);
	map_done(&p->by_path);
	*p = (struct payload){0};
}

/* ---- building --------------------------------------------------------------------------- */

/* No absolute path, no empty, "." or ".." component, nothing that hides our own ..data names. */
static bool good_path(const char *path)
{
	auto_strv parts = {0};

	if (!*path || *path == '/' || str_starts(path, ".."))
		return false;
	strv_split(&parts, path, '/');
	for (size_t i = 0; i < parts.n; i++)
		if (streq(parts.v[i], ".") || streq(parts.v[i], ".."))
			return false;
	return parts.n > 0;
}

/* The data is taken, the path copied. A later file of the same path replaces the earlier one. */
static int add_file(struct payload *p, const struct payload_file *file, struct err *err)
{
	struct payload_file *f;
	uintptr_t number; /* from 1 on */

	if (!good_path(file->path)) {
		free(file->data);
		return err_set(err, ERR_INVALID, "invalid path: %s", file->path);
	}
	number = (uintptr_t)map_get(&p->by_path, file->path);
	if (number) {
		f = &p->files[number - 1];
		free(f->path);
		free(f->data);
	} else {
		if ((p->n & (p->n - 1)) == 0) /* full: as many once more */
			p->files = xrealloc(p->files, p->n ? p->n * 2 : 1, sizeof(*p->files));
		f = &p->files[p->n++];
		map_put(&p->by_path, file->path, (void *)(uintptr_t)p->n);
	}
	*f = *file;
	f->path = xstrdup(file->path);
	return 0;
}

static int add_data(struct payload *p, const char *path, char *data, size_t len, mode_t mode,
		    struct err *err)
{
	struct payload_file f = {(char *)(uintptr_t)path, data, len, mode, (uid_t)-1};

	return add_file(p, &f, err);
}

struct part {
	struct payload *payload;
	const struct payload_ctx *ctx;
	const json_t *source; /* the volume source or projection */
	mode_t mode;	      /* default mode */
};

static mode_t item_mode(const struct part *x, const json_t *item)
{
	return (mode_t)json_int(item, "mode", x->mode) & 07777;
}

static int add_keys(const struct part *x, const struct kind *k, const json_t *obj, const char *map,
		    struct err *err)
{
	const char *key;
	json_t *unused;

	json_object_foreach(json_object_get(obj, map), key, unused)
	{
		size_t len;
		breathe();
		char *data = config_value(k, obj, key, &len);
		if (!data)
			continue;
		int ret = add_data(x->payload, key, data, len, x->mode, err);
		if (ret < 0)
			return ret;
	}
	return 0;
}

static int add_items(const struct part *x, const struct kind *k, const json_t *obj,
		     const json_t *items, struct err *err)
{
	size_t i, len;
	json_t *item;

	json_array_foreach(items, i, item)
	{
		const char *key = json_str(item, "key", "");
		char *data = config_value(k, obj, key, &len);
		if (!data && json_bool(x->source, "optional", false))
			continue;
		if (!data)
			return err_set(err, ERR_NOT_FOUND, "references non-existent %s key: %s",
				       k == &kind_secret ? "secret" : "config", key);
		int ret = add_data(x->payload, json_str(item, "path", ""), data, len,
				   item_mode(x, item), err);
		if (ret < 0)
			return ret;
	}
	return 0;
}

static int add_object(const struct part *x, const struct kind *k, const char *name, struct err *err)
{
	const json_t *obj = x->ctx->lookup(x->ctx->arg, k, name);
	const json_t *items = json_object_get(x->source, "items");
	int ret;

	if (!obj && json_bool(x->source, "optional", false))
		return 0;
	if (!obj)
		return err_set(err, ERR_NOT_FOUND, "%s \"%s\" not found",
			       k == &kind_secret ? "secret" : "configmap", name);
	if (json_array_size(items))
		return add_items(x, k, obj, items, err);
	ret = add_keys(x, k, obj, "data", err);
	if (ret == 0 && k == &kind_configmap)
		ret = add_keys(x, k, obj, "binaryData", err);
	return ret;
}

static int add_config_map(const struct part *x, struct err *err)
{
	return add_object(x, &kind_configmap, json_str(x->source, "name", ""), err);
}

/* The volume source says secretName, the projection name. */
static int add_secret(const struct part *x, struct err *err)
{
	const char *name = json_str(x->source, "secretName", json_str(x->source, "name", ""));

	return add_object(x, &kind_secret, name, err);
}

static int add_downward(const struct part *x, struct err *err)
{
	size_t i;
	json_t *item;

	json_array_foreach(json_object_get(x->source, "items"), i, item)
	{
		const json_t *field = json_object_get(item, "fieldRef");
		const json_t *resource = json_object_get(item, "resourceFieldRef");
		const struct payload_ctx *c = x->ctx;
		char *text = field ? downward_field(c->pod, c->self,
						    json_str(field, "fieldPath", ""), err)
				   : downward_resource(c->pod, NULL, c->self, resource, err);
		if (!text)
			return -EINVAL;
		int ret = add_data(x->payload, json_str(item, "path", ""), text, strlen(text),
				   item_mode(x, item), err);
		if (ret < 0)
			return ret;
	}
	return 0;
}

/* Whoever reads the token acts as the pod: with a group or a user of its own, others may not, as
 * with the kubelet. */
static int add_token(const struct part *x, struct err *err)
{
	const struct payload_ctx *c = x->ctx;
	const char *text = c->token(c->token_arg, x->source, err);
	uid_t user = spec_common_user(c->pod);
	bool own = user != (uid_t)-1 || spec_fs_group(c->pod) != (gid_t)-1;
	struct payload_file f = {.path = (char *)(uintptr_t)json_str(x->source, "path", ""),
				 .mode = own ? 0600 : x->mode,
				 .uid = user};

	if (!text)
		return -EINVAL;
	f.data = xstrdup(text);
	f.len = strlen(text);
	return add_file(x->payload, &f, err);
}

static const struct source {
	const char *key;       /* in spec.volumes[] */
	const char *projected; /* in projected.sources[] */
	int (*add)(const struct part *x, struct err *err);
} sources[] = {
	{"configMap", "configMap", add_config_map},
	{"secret", "secret", add_secret},
	{"downwardAPI", "downwardAPI", add_downward},
	{"", "serviceAccountToken", add_token},
};

static int add_projection(struct part *x, const json_t *projection, struct err *err)
{
	const char *key;
	json_t *value;

	json_object_foreach((json_t *)(uintptr_t)projection, key, value)
	{
		size_t i = 0;
		while (i < ARRAY_SIZE(sources) && !streq(sources[i].projected, key))
			i++;
		if (i == ARRAY_SIZE(sources))
			return err_set(err, ERR_INVALID, "projection of %s is not supported", key);
		x->source = value;
		int ret = sources[i].add(x, err);
		if (ret < 0)
			return ret;
	}
	return 0;
}

static mode_t default_mode(const json_t *source)
{
	return (mode_t)json_int(source, "defaultMode", 0644) & 07777;
}

int payload_build(struct payload *p, const json_t *volume, const struct payload_ctx *ctx,
		  struct err *err)
{
	const json_t *projected = json_object_get(volume, "projected");
	struct part x = {
		.payload = p, .ctx = ctx, .source = projected, .mode = default_mode(projected)};
	size_t i;
	json_t *v;
	int ret;

	json_array_foreach(json_object_get(projected, "sources"), i, v)
	{
		ret = add_projection(&x, v, err);
		if (ret < 0)
			return ret;
	}
	for (i = 0; i < ARRAY_SIZE(sources); i++) {
		x.source = json_object_get(volume, sources[i].key);
		x.mode = default_mode(x.source);
		if (!x.source)
			continue;
		ret = sources[i].add(&x, err);
		if (ret < 0)
			return ret;
	}
	return 0;
}

bool payload_is(const json_t *volume)
{
	for (size_t i = 0; i < ARRAY_SIZE(sources); i++)
		if (json_object_get(volume, sources[i].key))
			return true;
	return json_object_get(volume, "projected") != NULL;
}

static bool source_uses(const json_t *source, const struct kind *k, const char *name)
{
	if (k == &kind_configmap)
		return streq(json_str(source, "configMap.name", ""), name);
	return streq(json_str(source, "secret.secretName", ""), name) ||
	       streq(json_str(source, "secret.name", ""), name);
}

bool payload_uses(const json_t *volume, const struct kind *k, const char *name)
{
	size_t i;
	json_t *v;

	json_array_foreach(json_at(volume, "projected.sources"), i,
			   v) if (source_uses(v, k, name)) return true;
	return source_uses(volume, k, name);
}

/* A digest in pieces: each is of the one before and what has come since. */
struct digest {
	struct strbuf b;
	char hex[65];
};

static void digest_fold(struct digest *d)
{
	sha256_hex(d->b.s ? d->b.s : "", d->b.len, d->hex);
	strbuf_done(&d->b);
	breathe_deep();
}

static void digest_add(struct digest *d, const char *data, size_t len)
{
	while (len) {
		size_t n = len < PIECE ? len : PIECE;

		strbuf_add(&d->b, data, n);
		data += n;
		len -= n;
		if (d->b.len < PIECE)
			continue;
		digest_fold(d);
		strbuf_adds(&d->b, d->hex);
	}
}

void payload_digest(const struct payload *p, char out[static 65])
{
	struct digest d = {.hex = ""};

	for (size_t i = 0; i < p->n; i++) {
		const struct payload_file *f = &p->files[i];

		strbuf_addf(&d.b, "%s\n%o %u %zu\n", f->path, (unsigned)f->mode, f->uid, f->len);
		digest_add(&d, f->data, f->len);
	}
	digest_fold(&d);
	memcpy(out, d.hex, sizeof(d.hex));
}

/* ---- writing ---------------------------------------------------------------------------- */

static int write_file(int dir, const struct payload_file *f, gid_t gid)
{
	mode_t mode = gid == (gid_t)-1 ? f->mode : f->mode | 0440;
	auto_fd int fd = openat(dir, f->path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

	if (fd < 0)
		return -errno;
	for (size_t done = 0; done < f->len;) {
		size_t left = f->len - done;
		breathe_deep();
		ssize_t n = write(fd, f->data + done, left < PIECE ? left : PIECE);
		if (n < 0)
			return -errno;
		done += (size_t)n;
	}
	if ((gid != (gid_t)-1 || f->uid != (uid_t)-1) && fchown(fd, f->uid, gid) < 0)
		return -errno;
	return fchmod(fd, mode) < 0 ? -errno : 0;
}

/* Makes the directories above path, below dir. */
static int make_parents(int dir, const char *path, gid_t gid)
{
	auto_free char *copy = xstrdup(path);

	for (char *slash = strchr(copy, '/'); slash; slash = strchr(slash + 1, '/')) {
		*slash = '\0';
		if (mkdirat(dir, copy, 0755) < 0 && errno != EEXIST)
			return -errno;
		if (gid != (gid_t)-1 && fchownat(dir, copy, (uid_t)-1, gid, 0) < 0)
			return -errno;
		*slash = '/';
	}
	return 0;
}

static int write_all(const struct payload *p, int root, const char *stamp, gid_t gid)
{
	auto_fd int dir = -1;

	if (mkdirat(root, stamp, 0755) < 0)
		return -errno;
	dir = openat(root, stamp, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0)
		return -errno;
	for (size_t i = 0; i < p->n; i++) {
		breathe_deep();
		int ret = make_parents(dir, p->files[i].path, gid);
		if (ret == 0)
			ret = write_file(dir, &p->files[i], gid);
		if (ret < 0)
			return ret;
	}
	return fchmod(dir, 0755) < 0 ? -errno : 0;
}

static char *first_component(const char *path)
{
	const char *slash = strchr(path, '/');

	return slash ? xstrndup(path, (size_t)(slash - path)) : xstrdup(path);
}

/* Names at the top are links into ..data; those of files that are gone are removed. tops: takes
 * them. */
static int link_tops(const struct payload *p, int root, struct map *tops)
{
	for (size_t i = 0; i < p->n; i++) {
		auto_free char *top = first_component(p->files[i].path);
		auto_free char *target = xasprintf("..data/%s", top);
		breathe_deep();
		map_put(tops, top, tops);
		if (symlinkat(target, root, top) < 0 && errno != EEXIST)
			return -errno;
	}
	return 0;
}

/* keep: the stamp directory in use; others are given to the caller. */
static void sweep(const struct map *tops, const char *path, const char *keep, struct strv *ret_old)
{
	auto_dir DIR *d = opendir(path);
	struct dirent *e;

	while (d && (e = readdir(d))) {
		auto_free char *full = path_join(path, e->d_name);
		breathe_deep();
		if (streq(e->d_name, ".") || streq(e->d_name, "..") || streq(e->d_name, "..data") ||
		    streq(e->d_name, keep))
			continue;
		if (str_starts(e->d_name, ".."))
			strv_take(ret_old, steal_ptr(full));
		else if (!map_get(tops, e->d_name))
			unlink(full);
	}
}

static char *new_stamp(void)
{
	char suffix[11];
	struct tm tm;
	time_t now = time(NULL);
	char text[32];

	random_suffix(suffix, 10);
	suffix[10] = '\0';
	gmtime_r(&now, &tm);
	strftime(text, sizeof(text), "%Y_%m_%d_%H_%M_%S", &tm);
	return xasprintf("..%s.%s", text, suffix);
}

int payload_write(const struct payload *p, const char *dir, gid_t gid, struct strv *ret_old,
		  struct err *err)
{
	__attribute__((cleanup(map_done))) struct map tops = {0};
	auto_free char *stamp = new_stamp();
	auto_fd int root = -1;
	int ret = mkdir_p(dir, 0755);

	if (ret < 0)
		return err_errno(err, -ret, "%s", dir);
	root = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (root < 0)
		return err_errno(err, errno, "%s", dir);
	ret = write_all(p, root, stamp, gid);
	unlinkat(root, "..data_tmp", 0);
	if (ret == 0 && symlinkat(stamp, root, "..data_tmp") < 0)
		ret = -errno;
	if (ret == 0 && renameat(root, "..data_tmp", root, "..data") < 0)
		ret = -errno;
	if (ret == 0)
		ret = link_tops(p, root, &tops);
	if (ret < 0)
		return err_errno(err, -ret, "writing volume files in %s", dir);
	sweep(&tops, dir, stamp, ret_old);
	return 0;
}
