/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A container's root: overlayfs over the image's layers and its write directory.
 *
 * mount(2) takes at most a page of options, which a dozen layer paths fill. So the bundle gets a
 * directory of short symbolic links (0 1 2 ... u w) and the mount is made from inside it. This also
 * spares any escaping of ':' and ','.
 */
#include "sandbox.h"

#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

static int fail(char what[static MESSAGE_MAX], const char *doing, const char *path)
{
	int code = errno;

	snprintf(what, MESSAGE_MAX, "%s %s: %s", doing, path, strerror(code));
	return -code;
}

static int make_dir(const char *path, mode_t mode)
{
	return mkdir(path, mode) < 0 && errno != EEXIST ? -1 : 0;
}

/* upper takes mode and owner of the topmost layer's root: they become those of "/". */
static int make_upper(const char *write_dir, const char *top_layer, struct strv *paths,
		      char what[static MESSAGE_MAX])
{
	struct stat st;

	strv_addf(paths, "%s/upper", write_dir);
	strv_addf(paths, "%s/work", write_dir);
	if (stat(top_layer, &st) < 0)
		return fail(what, "layer", top_layer);
	int r = mkdir_p(write_dir, 0711);
	if (r < 0) {
		errno = -r;
		return fail(what, "make", write_dir);
	}
	/* What an earlier "volatile" mount left would make the kernel refuse this one. */
	rm_rf(paths->v[1]);
	if (make_dir(paths->v[0], 0755) < 0 || make_dir(paths->v[1], 0700) < 0 ||
	    chown(paths->v[0], st.st_uid, st.st_gid) < 0 ||
	    chmod(paths->v[0], st.st_mode & 07777) < 0)
		return fail(what, "make", paths->v[0]);
	return 0;
}

/* Leaves the process inside <bundle>/l. */
static int make_links(const char *bundle, const struct strv *layers, const struct strv *upper,
		      struct strbuf *options, char what[static MESSAGE_MAX])
{
	char name[24];

	if (chdir(bundle) < 0 || make_dir("rootfs", 0755) < 0 || make_dir("l", 0700) < 0 ||
	    chdir("l") < 0)
		return fail(what, "bundle", bundle);
	strbuf_adds(options, "lowerdir=");
	for (size_t i = 0; i < layers->n; i++) {
		snprintf(name, sizeof(name), "%zu", i);
		if (symlink(layers->v[i], name) < 0 && errno != EEXIST)
			return fail(what, "link", layers->v[i]);
		strbuf_addf(options, "%s%s", i > 0 ? ":" : "", name);
	}
	if ((symlink(upper->v[0], "u") < 0 || symlink(upper->v[1], "w") < 0) && errno != EEXIST)
		return fail(what, "link", upper->v[0]);
	strbuf_adds(options, ",upperdir=u,workdir=w");
	return 0;
}

/*
 * volatile (Linux 5.10): no fsync reaches the upper layer. It is thrown away at a reboot anyway,
 * and a container that syncs its scratch files must not wear the flash out.
 */
static int mount_overlay(struct strbuf *options, char what[static MESSAGE_MAX])
{
	size_t len = options->len;

	strbuf_adds(options, ",volatile");
	if (mount("overlay", "../rootfs", "overlay", 0, options->s) == 0)
		return 0;
	if (errno == EINVAL) {
		options->s[len] = '\0';
		if (mount("overlay", "../rootfs", "overlay", 0, options->s) == 0)
			return 0;
	}
	return fail(what, "mount overlay", "of the image's layers");
}

int rootfs_mount(const char *bundle, const char *write_dir, const struct strv *layers,
		 char what[static MESSAGE_MAX])
{
	auto_strv upper = {0};
	auto_strbuf options = {0};
	int r;

	if (layers->n == 0) {
		errno = EINVAL;
		return fail(what, "image", "without layers");
	}
	r = make_upper(write_dir, layers->v[0], &upper, what);
	if (r == 0)
		r = make_links(bundle, layers, &upper, &options, what);
	if (r == 0)
		r = mount_overlay(&options, what);
	if (chdir(self.opt.dir) < 0 && r == 0)
		r = fail(what, "directory", self.opt.dir);
	return r;
}

void rootfs_unmount(const char *bundle)
{
	auto_free char *path = path_join(bundle, "rootfs");

	umount2(path, MNT_DETACH);
}
