/* SPDX-License-Identifier: Apache-2.0 */
/* volumes: what a pod mounts. One row per kind of volume; payload.c makes the contents of four. */
#include "internal.h"
#include "payload.h"
#include "tokens.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

struct volume {
	char *name;
	char *path;	 /* on the host */
	char digest[65]; /* of a payload's files; "" for others */
	bool device;	 /* hostPath CharDevice, BlockDevice */
	bool mounted;	 /* a tmpfs of ours is mounted on path */
	bool payload;
	struct tokens tokens; /* that its files hold */
};

static const json_t *volume_specs(const struct pod *p)
{
	return json_at(pod_json(p), "spec.volumes");
}

/* ---- emptyDir --------------------------------------------------------------------------- */

static int mount_tmpfs(struct volume *v, const json_t *source, struct err *err)
{
	int64_t size = 0;
	auto_free char *options = NULL;

	if (quantity_parse(json_str(source, "sizeLimit", "0"), &size) < 0)
		size = 0;
	options =
		size > 0 ? xasprintf("mode=0777,size=%lld", (long long)size) : xstrdup("mode=0777");
	if (mount("tmpfs", v->path, "tmpfs", MS_NOSUID | MS_NODEV, options) < 0)
		return err_errno(err, errno, "tmpfs");
	v->mounted = true;
	return 0;
}

static int prepare_empty_dir(struct pod *p, struct volume *v, const json_t *source, struct err *err)
{
	bool memory = streq(json_str(source, "medium", ""), "Memory");
	gid_t gid = spec_fs_group(pod_json(p));
	auto_free char *name = xasprintf("volumes/%s", v->name);
	int ret;

	v->path = memory ? pod_run_path(p, name) : pod_state_path(p, name);
	if (p->sandbox) { /* adopted: it is in use already */
		v->mounted = memory;
		return 0;
	}
	ret = mkdir_p(v->path, 0755);
	if (ret < 0)
		return err_errno(err, -ret, "%s", v->path);
	if (memory) {
		ret = mount_tmpfs(v, source, err);
		if (ret < 0)
			return ret;
	}
	if (gid != (gid_t)-1 && chown(v->path, (uid_t)-1, gid) < 0)
		return err_errno(err, errno, "%s", v->path);
	if (chmod(v->path, gid != (gid_t)-1 ? 02777 : 0777) < 0)
		return err_errno(err, errno, "%s", v->path);
	return 0;
}

/* ---- hostPath --------------------------------------------------------------------------- */

static const struct host_type {
	const char *type, *what;
	mode_t mode; /* 0: any */
	bool create;
} host_types[] = {
	{"", "", 0, false},
	{"DirectoryOrCreate", "directory", S_IFDIR, true},
	{"Directory", "directory", S_IFDIR, false},
	{"FileOrCreate", "file", S_IFREG, true},
	{"File", "file", S_IFREG, false},
	{"Socket", "socket", S_IFSOCK, false},
	{"CharDevice", "character device", S_IFCHR, false},
	{"BlockDevice", "block device", S_IFBLK, false},
};

static int host_create(const char *path, const struct host_type *t)
{
	auto_fd int fd = -1;

	if (t->mode == S_IFDIR)
		return mkdir_p(path, 0755);
	fd = open(path, O_CREAT | O_RDONLY | O_CLOEXEC | O_NONBLOCK, 0644);
	return fd < 0 ? -errno : 0;
}

static int host_check(const char *path, const struct host_type *t, struct err *err)
{
	struct stat st;
	int ret = 0;

	if (t->mode == 0) /* unchecked: what is missing becomes a directory, as with Docker */
		return access(path, F_OK) == 0 ? 0 : mkdir_p(path, 0755);
	if (stat(path, &st) < 0) {
		ret = t->create ? host_create(path, t) : -errno;
		if (ret < 0 || stat(path, &st) < 0)
			return err_set(err, ERR_INVALID,
				       "hostPath type check failed: %s is not a %s", path, t->what);
	}
	if ((st.st_mode & S_IFMT) != t->mode)
		return err_set(err, ERR_INVALID, "hostPath type check failed: %s is not a %s", path,
			       t->what);
	return 0;
}

static int prepare_host_path(struct pod *p UNUSED, struct volume *v, const json_t *source,
			     struct err *err)
{
	const char *type = json_str(source, "type", "");
	size_t i = 0;

	while (i < ARRAY_SIZE(host_types) && !streq(host_types[i].type, type))
		i++;
	if (i == ARRAY_SIZE(host_types))
		return err_set(err, ERR_INVALID, "unknown hostPath type %s", type);
	v->path = xstrdup(json_str(source, "path", "/"));
	v->device = host_types[i].mode == S_IFCHR || host_types[i].mode == S_IFBLK;
	return host_check(v->path, &host_types[i], err);
}

/* ---- configMap, secret, downwardAPI, projected -------------------------------------------- */

struct token_source {
	struct pod *pod;
	struct volume *volume;
};

static const char *volume_token(void *arg, const json_t *source, struct err *err)
{
	const struct token_source *t = arg;
	struct node *n = t->pod->node;

	return tokens_get(&t->volume->tokens, n->parts.identity, n->store, t->pod->obj, source,
			  loop_now(n->loop), err);
}

/* Writes the files when they differ from what is there. */
static int refresh(struct pod *p, struct volume *v, const json_t *spec, struct err *err)
{
	char ip[INET_ADDRSTRLEN], digest[65];
	struct self_facts self = pod_self(p, ip);
	struct token_source tokens = {p, v};
	struct payload_ctx ctx = {.pod = pod_json(p),
				  .self = &self,
				  .lookup = pod_lookup,
				  .arg = p,
				  .token = volume_token,
				  .token_arg = &tokens};
	auto_payload files = {0};
	auto_strv old = {0};
	int ret = payload_build(&files, spec, &ctx, err);

	if (ret < 0)
		return ret;
	payload_digest(&files, digest);
	if (streq(digest, v->digest))
		return 0;
	ret = payload_write(&files, v->path, spec_fs_group(pod_json(p)), &old, err);
	for (size_t i = 0; i < old.n; i++)
		trash_put(p->node, old.v[i]);
	if (ret == 0)
		memcpy(v->digest, digest, sizeof(digest));
	return ret;
}

static int payload_refresh(struct pod *p, struct volume *v, const json_t *spec, struct err *err)
{
	int ret;

	pod_breathe(p);
	ret = refresh(p, v, spec, err);
	pod_hold_breath(p);
	return ret;
}

static int prepare_payload(struct pod *p, struct volume *v, const json_t *source UNUSED,
			   struct err *err)
{
	auto_free char *name = xasprintf("volumes/%s", v->name);

	v->path = pod_run_path(p, name);
	v->payload = true;
	return payload_refresh(p, v, json_find(volume_specs(p), "name", v->name), err);
}

static int prepare_claim(struct pod *p UNUSED, struct volume *v UNUSED, const json_t *source,
			 struct err *err)
{
	return err_set(err, ERR_NOT_FOUND, "persistentvolumeclaim \"%s\" not found",
		       json_str(source, "claimName", ""));
}

/* ---- all kinds -------------------------------------------------------------------------- */

static const struct volume_kind {
	const char *key;
	int (*prepare)(struct pod *p, struct volume *v, const json_t *source, struct err *err);
} kinds[] = {
	{"emptyDir", prepare_empty_dir},	  {"hostPath", prepare_host_path},
	{"configMap", prepare_payload},		  {"secret", prepare_payload},
	{"downwardAPI", prepare_payload},	  {"projected", prepare_payload},
	{"persistentVolumeClaim", prepare_claim},
};

static int prepare_one(struct pod *p, struct volume *v, const json_t *spec, struct err *err)
{
	const char *key;
	json_t *unused;

	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		const json_t *source = json_object_get(spec, kinds[i].key);
		if (source)
			return kinds[i].prepare(p, v, source, err);
	}
	json_object_foreach(
		(json_t *)(uintptr_t)spec, key,
		unused) if (!streq(key, "name")) return err_set(err, ERR_INVALID,
								"volume type %s is not supported",
								key);
	return prepare_empty_dir(p, v, NULL, err);
}

static struct volume *volume_find(const struct pod *p, const char *name)
{
	for (size_t i = 0; i < p->n_volumes; i++)
		if (streq(p->volumes[i].name, name))
			return &p->volumes[i];
	return NULL;
}

static void volume_done(struct volume *v)
{
	if (v->mounted)
		umount2(v->path, MNT_DETACH);
	tokens_done(&v->tokens);
	free(v->name);
	free(v->path);
}

static int prepare_missing(struct pod *p, const json_t *spec, const char **ret_volume,
			   struct err *err)
{
	const char *name = json_str(spec, "name", "");
	struct volume v = {.name = NULL}, *old = volume_find(p, name);
	int ret;

	*ret_volume = name;
	if (old)
		return old->payload ? payload_refresh(p, old, spec, err) : 0;
	v.name = xstrdup(name);
	ret = prepare_one(p, &v, spec, err);
	if (ret < 0) {
		volume_done(&v);
		return ret;
	}
	p->volumes = xrealloc(p->volumes, p->n_volumes + 1, sizeof(v));
	p->volumes[p->n_volumes++] = v;
	return 0;
}

int volumes_prepare(struct pod *p, const char **ret_volume, struct err *err)
{
	size_t i;
	json_t *spec;

	json_array_foreach(volume_specs(p), i, spec)
	{
		int ret = prepare_missing(p, spec, ret_volume, err);
		if (ret < 0)
			return ret;
	}
	return 0;
}

void volumes_refresh(struct pod *p)
{
	const char *name = "";
	auto_err err = {0};

	if (volumes_prepare(p, &name, &err) < 0)
		pod_event(p, "Warning", "FailedMount",
			  "MountVolume.SetUp failed for volume \"%s\" : %s", name,
			  err_message(&err));
}

uint64_t volumes_due_in(const struct pod *p)
{
	uint64_t first = 0;

	for (size_t i = 0; i < p->n_volumes; i++) {
		uint64_t us = tokens_due_in(&p->volumes[i].tokens, loop_now(p->node->loop));

		if (us && (!first || us < first))
			first = us;
	}
	return first;
}

void volumes_release(struct pod *p)
{
	for (size_t i = 0; i < p->n_volumes; i++)
		volume_done(&p->volumes[i]);
	free(p->volumes);
	p->volumes = NULL;
	p->n_volumes = 0;
}

/* ---- mounts of one container ------------------------------------------------------------- */

/* openat2(2): nothing in path, not even a link that the container made, leads out of the volume. */
static int open_inside(int root, const char *path, int flags)
{
	struct open_how how = {
		.flags = (uint64_t)(flags | O_CLOEXEC),
		.resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS,
	};
	long fd = syscall(SYS_openat2, root, path, &how, sizeof(how));

	return fd < 0 ? -errno : (int)fd;
}

/* Makes the directories of path that are missing, each below the one that was just opened. */
static int make_inside(int root, const char *path)
{
	auto_strv parts = {0};
	auto_fd int dir = dup(root);

	strv_split(&parts, path, '/');
	for (size_t i = 0; i < parts.n; i++) {
		if (streq(parts.v[i], ".."))
			return -EINVAL;
		if (mkdirat(dir, parts.v[i], 0755) < 0 && errno != EEXIST)
			return -errno;
		int next = openat(dir, parts.v[i], O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (next < 0)
			return -errno;
		fd_close(dir);
		dir = next;
	}
	return 0;
}

/* The real path of sub below the volume; caller frees. */
static char *sub_path(const struct volume *v, const char *sub, struct err *err)
{
	auto_fd int root = open(v->path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	auto_fd int fd = -1;
	char link[64], real[4096];
	ssize_t n;
	int ret = root;

	if (root >= 0)
		ret = fd = open_inside(root, sub, O_PATH);
	if (ret == -ENOENT && !v->payload) {
		ret = make_inside(root, sub);
		if (ret == 0)
			ret = fd = open_inside(root, sub, O_PATH);
	}
	if (ret < 0) {
		err_set(err, ERR_INVALID,
			"failed to prepare subPath for volumeMount \"%s\": %s: %s", v->name, sub,
			strerror(root < 0 ? errno : -ret));
		return NULL;
	}
	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	n = readlink(link, real, sizeof(real) - 1);
	if (n < 0) {
		err_errno(err, errno, "%s", sub);
		return NULL;
	}
	real[n] = '\0';
	return xstrdup(real);
}

static unsigned mount_flags_of(const json_t *mount)
{
	const char *propagation = json_str(mount, "mountPropagation", "None");
	unsigned flags = json_bool(mount, "readOnly", false) ? MOUNT_READ_ONLY : 0;

	if (streq(propagation, "HostToContainer"))
		flags |= MOUNT_RSLAVE;
	else if (streq(propagation, "Bidirectional"))
		flags |= MOUNT_RSHARED;
	return flags;
}

static bool steps_back(const char *path)
{
	auto_strv parts = {0};

	strv_split(&parts, path, '/');
	for (size_t i = 0; i < parts.n; i++)
		if (streq(parts.v[i], ".."))
			return true;
	return false;
}

/* What the mount takes of its volume, "" for all of it; NULL with an error. Caller frees. */
static char *mount_sub(const json_t *mount, const struct env *env, struct err *err)
{
	const char *expr = json_str(mount, "subPathExpr", "");
	auto_free char *sub =
		*expr ? env_expand_all(expr, env, err) : xstrdup(json_str(mount, "subPath", ""));

	if (sub && *sub == '/')
		err_set(err, ERR_INVALID, "error SubPath `%s` must not be an absolute path", sub);
	else if (sub && steps_back(sub))
		err_set(err, ERR_INVALID, "unable to provision SubPath `%s`: must not contain '..'",
			sub);
	else
		return steal_ptr(sub);
	return NULL;
}

static int add_mount(struct pod *p, const json_t *mount, const struct env *env, struct spec *s,
		     struct err *err)
{
	const char *name = json_str(mount, "name", ""), *at = json_str(mount, "mountPath", "");
	const struct volume *v = volume_find(p, name);
	auto_free char *sub = mount_sub(mount, env, err), *inner = NULL;
	auto_free char *target = xasprintf("%s%s", *at == '/' ? "" : "/", at);
	unsigned flags = mount_flags_of(mount);

	if (!sub)
		return -EINVAL;
	if (!v)
		return err_set(err, ERR_INVALID, "volume \"%s\" is not mounted", name);
	if (v->device) {
		spec_add_device(s, target, v->path, flags & MOUNT_READ_ONLY ? "r" : "rwm");
		return 0;
	}
	if (*sub) {
		inner = sub_path(v, sub, err);
		if (!inner)
			return -EINVAL;
	}
	if (v->payload)
		flags |= MOUNT_READ_ONLY;
	spec_add_mount(s, inner ? inner : v->path, target, flags, 0);
	return 0;
}

static bool mounts_at(const struct spec *s, const char *target)
{
	for (size_t i = 0; i < s->config.n_mounts; i++)
		if (streq(s->mounts[i].target, target))
			return true;
	return false;
}

static void add_etc(struct pod *p, struct spec *s)
{
	static const char *const files[] = {"etc/hosts", "etc/resolv.conf", "etc/hostname"};
	unsigned flags = s->config.read_only_root ? MOUNT_READ_ONLY : 0;

	for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
		auto_free char *source = pod_run_path(p, files[i]);
		auto_free char *target = xasprintf("/%s", files[i]);
		if (!mounts_at(s, target) && access(source, F_OK) == 0)
			spec_add_mount(s, source, target, flags, 0);
	}
}

static size_t depth(const char *path)
{
	size_t n = 0;

	for (; *path; path++)
		n += *path == '/' && path[1] && path[1] != '/';
	return n;
}

/* Outer mount points come before those inside them; equal depth keeps the order. */
static void sort_mounts(struct spec *s)
{
	for (size_t i = 1; i < s->config.n_mounts; i++) {
		struct mount_spec m = s->mounts[i];
		size_t j = i;
		for (; j > 0 && depth(s->mounts[j - 1].target) > depth(m.target); j--)
			s->mounts[j] = s->mounts[j - 1];
		s->mounts[j] = m;
	}
}

int volumes_mounts(struct pod *p, const json_t *container, const struct env *env, struct spec *s,
		   struct err *err)
{
	size_t i;
	json_t *mount;

	json_array_foreach(json_object_get(container, "volumeMounts"), i, mount)
	{
		int ret = add_mount(p, mount, env, s, err);
		if (ret < 0)
			return ret;
	}
	add_etc(p, s);
	sort_mounts(s);
	return 0;
}
