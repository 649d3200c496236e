/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Users of an image: /etc/passwd and /etc/group as the container will see them, found through the
 * layers from the top without ever following a link out of a layer.
 */
#include "internal.h"
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <unistd.h>

enum { DATABASE_MAX_BYTES = 1 << 20 };

static int open_in_layer(int layer, const char *path, uint64_t flags)
{
	struct open_how how = {
		.flags = flags | O_CLOEXEC,
		.resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_XDEV,
	};
	return (int)syscall(SYS_openat2, layer, path, &how, sizeof(how));
}

/* Is path (or its directory) taken away by this layer for those below? */
static bool hides(int layer, const char *path)
{
	struct stat st;
	char flag;
	auto_fd int fd = open_in_layer(layer, path, O_PATH | O_NOFOLLOW);
	if (fd >= 0)
		return true;
	const char *slash = strrchr(path, '/');
	auto_free char *dir = xstrndup(path, slash ? (size_t)(slash - path) : 0);
	auto_fd int parent = open_in_layer(layer, *dir ? dir : "/", O_PATH | O_NOFOLLOW);
	if (parent < 0)
		return false;
	if (fstat(parent, &st) < 0 || !S_ISDIR(st.st_mode))
		return true; /* a whiteout or a file stands for the directory */
	auto_fd int readable = open_in_layer(layer, *dir ? dir : "/", O_RDONLY | O_DIRECTORY);
	return readable >= 0 && fgetxattr(readable, "trusted.overlay.opaque", &flag, 1) == 1 &&
	       flag == 'y';
}

/* Text of the file in the merged view; "" when there is none. Caller frees. */
static char *merged_read(const struct image *image, const char *path)
{
	for (size_t i = 0; i < image->n_layers; i++) {
		struct stat st;
		auto_fd int layer = open(image->layers[i], O_PATH | O_DIRECTORY | O_CLOEXEC);
		if (layer < 0)
			continue;
		auto_fd int fd = open_in_layer(layer, path, O_RDONLY | O_NONBLOCK);
		if (fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode)) {
			char name[32];
			char *text = NULL;
			snprintf(name, sizeof(name), "/proc/self/fd/%d", fd);
			if (file_read(name, DATABASE_MAX_BYTES, &text, NULL) == 0)
				return text;
			return xstrdup("");
		}
		if (hides(layer, path))
			break;
	}
	return xstrdup("");
}

/* Finds the line whose field key_field (0 or 2) equals key; copies the numbers of fields 2 and 3.
 * passwd(5): name:x:uid:gid:...; group(5): name:x:gid:... */
static bool database_find(const char *text, int key_field, const char *key, uint32_t *ret_second,
			  uint32_t *ret_third)
{
	for (const char *line = text; *line;) {
		size_t n = strcspn(line, "\n");
		auto_free char *copy = xstrndup(line, n);
		char *rest = copy, *fields[4] = {NULL};
		for (size_t f = 0; f < ARRAY_SIZE(fields) && rest; f++)
			fields[f] = strsep(&rest, ":");
		uint64_t second = 0, third = 0;
		if (fields[2] && streq(fields[key_field], key) &&
		    str_to_u64(fields[2], UINT32_MAX - 1, &second) == 0) {
			if (ret_third && fields[3] &&
			    str_to_u64(fields[3], UINT32_MAX - 1, &third) == 0)
				*ret_third = (uint32_t)third;
			*ret_second = (uint32_t)second;
			return true;
		}
		line += n + (line[n] == '\n');
	}
	return false;
}

static int group_find(const struct image *image, const char *group, uint32_t *ret, struct err *err)
{
	uint64_t number;
	if (str_to_u64(group, UINT32_MAX - 1, &number) == 0) {
		*ret = (uint32_t)number;
		return 0;
	}
	auto_free char *text = merged_read(image, "etc/group");
	if (!database_find(text, 0, group, ret, NULL))
		return err_set(err, ERR_INVALID,
			       "unable to find group %s: no matching entries in group file", group);
	return 0;
}

int image_user(const struct image *image, const char *user, uint32_t *ret_uid, uint32_t *ret_gid,
	       struct err *err)
{
	uint32_t uid = 0, gid = 0;
	uint64_t number;
	auto_free char *name = xstrdup(user ? user : "");
	char *group = strchr(name, ':');
	if (group)
		*group++ = '\0';
	bool numeric = str_to_u64(name, UINT32_MAX - 1, &number) == 0;
	if (numeric)
		uid = (uint32_t)number;
	/* Root without a group needs no look-up; anything else takes its group from passwd. */
	if (*name && !(numeric && group)) {
		auto_free char *text = merged_read(image, "etc/passwd");
		bool found = database_find(text, numeric ? 2 : 0, name, &uid, &gid);
		if (!found && !numeric)
			return err_set(err, ERR_INVALID,
				       "unable to find user %s: no matching entries in passwd file",
				       name);
	}
	if (!str_empty(group)) {
		int rc = group_find(image, group, &gid, err);
		if (rc < 0)
			return rc;
	}
	*ret_uid = uid;
	*ret_gid = gid;
	return 0;
}
