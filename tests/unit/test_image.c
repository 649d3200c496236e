/* SPDX-License-Identifier: Apache-2.0 */
/* References, loading, looking up, removing, healing, preloading; hostile archives. */
#include "image_fixture.h"
#include <sched.h>
#include <sys/mount.h>
#include <sys/xattr.h>

/* ---- references ------------------------------------------------------------------------- */

#define HEX "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

static void test_refs(void **state)
{
	(void)state;
	static const struct {
		const char *text, *want; /* NULL: refused */
	} cases[] = {
		{"busybox", "docker.io/library/busybox:latest"},
		{"busybox:1.36", "docker.io/library/busybox:1.36"},
		{"user/app", "docker.io/user/app:latest"},
		{"docker.io/busybox", "docker.io/library/busybox:latest"},
		{"index.docker.io/a/b:c", "docker.io/a/b:c"},
		{"localhost/x", "localhost/x:latest"},
		{"localhost:5000/x:1", "localhost:5000/x:1"},
		{"127.0.0.1:5000/a/b", "127.0.0.1:5000/a/b:latest"},
		{"[::1]:5000/a", "[::1]:5000/a:latest"},
		{"quay.io/a__b/c-d.e_f:V1.0-x", "quay.io/a__b/c-d.e_f:V1.0-x"},
		{"x@sha256:" HEX, "docker.io/library/x@sha256:" HEX},
		{"x:tag@sha256:" HEX, "docker.io/library/x@sha256:" HEX},
		{"REG.example/x", "REG.example/x:latest"},
		{"", NULL},
		{"Busybox", NULL},
		{"a//b", NULL},
		{"/a", NULL},
		{"a/", NULL},
		{"a:", NULL},
		{"a:-x", NULL},
		{"a b", NULL},
		{"a..b", NULL},
		{"a___b", NULL},
		{"-a", NULL},
		{"x@sha256:12", NULL},
		{"x@md5:" HEX, NULL},
		{HEX, NULL},
		{"ex.com:port/x", NULL},
		{"ex-.com/x", NULL},
	};
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		auto_free char *got = NULL;
		auto_err err = {0};
		int rc = image_ref_normalize(cases[i].text, &got, &err);
		if (!cases[i].want) {
			assert_int_equal(rc, -EINVAL);
			assert_non_null(strstr(err_message(&err), "couldn't parse image name"));
			continue;
		}
		assert_int_equal(rc, 0);
		assert_string_equal(got, cases[i].want);
	}
}

/* ---- loading ---------------------------------------------------------------------------- */

static const char capability[20] = {1, 0, 0, 2, 0, 4};

static const struct tar_entry base_entries[] = {
	{.path = "./", .type = AE_IFDIR, .mode = 0755},
	{.path = "etc/", .type = AE_IFDIR, .mode = 0755},
	{.path = "etc/passwd",
	 .type = AE_IFREG,
	 .data = "root:x:0:0::/:\nwww-data:x:33:34::/:\nlast:x:7:8::/:"},
	{.path = "etc/group", .type = AE_IFREG, .data = "root:x:0:\nstaff:x:50:\n"},
	{.path = "etc/old", .type = AE_IFREG, .data = "old"},
	{.path = "opt/", .type = AE_IFDIR, .mode = 0700, .uid = 5, .gid = 6},
	{.path = "opt/below", .type = AE_IFREG, .data = "x"},
	{.path = "tmp/", .type = AE_IFDIR, .mode = 01777},
	{.path = "bin/su", .type = AE_IFREG, .data = "su", .mode = 04755, .uid = 1, .gid = 2},
	{.path = "bin/ping", .type = AE_IFREG, .data = "p", .mode = 0755, .capability = capability},
	{.path = "bin/hard", .type = AE_IFREG, .data = "bin/su", .hardlink = true},
	{.path = "abs", .type = AE_IFLNK, .data = "/etc/passwd"},
	{.path = "lib", .type = AE_IFLNK, .data = "usr/lib"},
	{.path = "usr/lib/", .type = AE_IFDIR, .mode = 0755},
	{.path = "lib/libx.so", .type = AE_IFREG, .data = "so"},
	{.path = "fifo", .type = AE_IFIFO},
	{.path = "dev/null", .type = AE_IFCHR, .dev_major = 1, .dev_minor = 3},
	{.path = "na\303\257ve", .type = AE_IFREG, .data = "utf8"},
};
static const struct tar_entry top_entries[] = {
	{.path = "etc/.wh.old", .type = AE_IFREG},
	{.path = "opt/.wh..wh..opq", .type = AE_IFREG},
	{.path = "opt/new", .type = AE_IFREG, .data = "n"},
	{.path = "tmp/file", .type = AE_IFREG, .data = "t"},
	{.path = "again", .type = AE_IFREG, .data = "1"},
	{.path = "again", .type = AE_IFDIR, .mode = 0755},
	{.path = "again/x", .type = AE_IFREG, .data = "2"},
};

static void two_layers(const struct fixture *f, const char *name, const char *ref, int filter,
		       char **ret_path)
{
	struct layer l[2] = {
		layer_make(base_entries, ARRAY_SIZE(base_entries), ARCHIVE_FILTER_GZIP),
		layer_make(top_entries, ARRAY_SIZE(top_entries), ARCHIVE_FILTER_ZSTD),
	};
	*ret_path = fixture_path(f, name);
	docker_archive(*ret_path, ref, l, 2,
		       "\"Entrypoint\":[\"/e\"],\"Cmd\":[\"c\",\"d\"],\"Env\":[\"A=b\"],"
		       "\"WorkingDir\":\"/w\",\"User\":\"www-data\",\"StopSignal\":\"SIGINT\"",
		       filter);
	layer_done(&l[0]);
	layer_done(&l[1]);
}

static struct stat stat_in(const char *layer, const char *name)
{
	auto_free char *path = path_join(layer, name);
	struct stat st;
	if (lstat(path, &st) < 0)
		fail_msg("%s: %s", path, strerror(errno));
	return st;
}

static void assert_base_layer(const char *dir)
{
	struct stat su = stat_in(dir, "bin/su"), opt = stat_in(dir, "opt");
	char value[64], link[64] = "";
	assert_int_equal(su.st_mode, S_IFREG | 04755);
	assert_int_equal(su.st_uid, 1);
	assert_int_equal(su.st_gid, 2);
	assert_int_equal(su.st_mtime, 1000000000);
	assert_int_equal(su.st_nlink, 2);
	assert_int_equal(su.st_ino, stat_in(dir, "bin/hard").st_ino);
	assert_int_equal(opt.st_mode, S_IFDIR | 0700);
	assert_int_equal(opt.st_mtime, 1000000000);
	assert_int_equal(stat_in(dir, "tmp").st_mode, S_IFDIR | 01777);
	assert_int_equal(stat_in(dir, "usr/lib/libx.so").st_size, 2);
	assert_true(S_ISFIFO(stat_in(dir, "fifo").st_mode));
	assert_int_equal(stat_in(dir, "na\303\257ve").st_size, 4);
	auto_free char *abs = path_join(dir, "abs"), *ping = path_join(dir, "bin/ping");
	auto_free char *null = path_join(dir, "dev/null");
	assert_true(readlink(abs, link, sizeof(link) - 1) > 0);
	assert_string_equal(link, "/etc/passwd");
	assert_true(getxattr(ping, "security.capability", value, sizeof(value)) > 0);
	assert_int_equal(access(null, F_OK), -1);
}

static void assert_top_layer(const char *dir)
{
	char value;
	struct stat old = stat_in(dir, "etc/old"), opt = stat_in(dir, "opt");
	auto_free char *path = path_join(dir, "opt");
	assert_true(S_ISCHR(old.st_mode));
	assert_int_equal(old.st_rdev, 0);
	assert_int_equal(getxattr(path, "trusted.overlay.opaque", &value, 1), 1);
	assert_int_equal(value, 'y');
	/* Implied directories look like those below. */
	assert_int_equal(opt.st_uid, 5);
	assert_int_equal(opt.st_mode, S_IFDIR | 0700);
	assert_int_equal(stat_in(dir, "tmp").st_mode, S_IFDIR | 01777);
	assert_true(S_ISREG(stat_in(dir, "again/x").st_mode));
}

static void assert_two_layers(const struct fixture *f, const char *ref)
{
	const struct image *im = image_find(f->store, ref);
	assert_non_null(im);
	assert_int_equal(im->n_layers, 2);
	assert_string_equal(im->entrypoint[0], "/e");
	assert_string_equal(im->cmd[1], "d");
	assert_null(im->cmd[2]);
	assert_string_equal(im->env[0], "A=b");
	assert_string_equal(im->workdir, "/w");
	assert_string_equal(im->user, "www-data");
	assert_string_equal(im->stop_signal, "SIGINT");
	assert_true(im->size > 0);
	assert_top_layer(im->layers[0]);
	assert_base_layer(im->layers[1]);
}

static void test_load_formats(void **state)
{
	struct fixture *f = *state;
	static const struct {
		const char *name, *ref;
		int filter;
	} cases[] = {{"a.tar", "plain:1", ARCHIVE_FILTER_NONE},
		     {"a.tar.gz", "gzip:1", ARCHIVE_FILTER_GZIP},
		     {"a.tar.zst", "zstd:1", ARCHIVE_FILTER_ZSTD}};
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		auto_free char *path = NULL;
		two_layers(f, cases[i].name, cases[i].ref, cases[i].filter, &path);
		load_ok(f, path);
		assert_two_layers(f, cases[i].ref);
	}
	/* The same image by three names: one record, two layers. */
	const struct image *im = image_at(f->store, 0);
	assert_int_equal(im->n_refs, 3);
	assert_null(image_at(f->store, 1));
	assert_int_equal(dir_count(f->dir, "layers"), 4); /* each with its .json */
	assert_int_equal(dir_count(f->dir, "tmp"), 0);
	char prefix[20];
	snprintf(prefix, sizeof(prefix), "%.12s", im->digest + 7);
	assert_ptr_equal(image_find(f->store, prefix), im);
	assert_ptr_equal(image_find(f->store, im->digest), im);
	assert_null(image_find(f->store, "zz"));
	fixture_reopen(f);
	assert_two_layers(f, "docker.io/library/gzip:1");
}

static void test_load_pipe(void **state)
{
	struct fixture *f = *state;
	auto_free char *path = NULL, *text = NULL;
	size_t len, sent = 0;
	int fds[2];
	auto_err err = {0};
	struct outcome o = {0};
	two_layers(f, "a.tar", "pipe:1", ARCHIVE_FILTER_NONE, &path);
	assert_int_equal(file_read(path, 1 << 20, &text, &len), 0);
	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	assert_true(fcntl(fds[1], F_SETPIPE_SZ, 1 << 20) >= (int)len);
	assert_non_null(image_load(f->store, NULL, fds[0], &outcome_ops, &o, &err));
	while (sent < len)
		sent += (size_t)write(fds[1], text + sent, len - sent);
	close(fds[1]);
	outcome_wait(f, &o);
	assert_null(o.err.message);
	assert_true(o.progress > 0);
	assert_two_layers(f, "pipe:1");
}

static void test_load_mkimage(void **state)
{
	struct fixture *f = *state;
	auto_free char *root = fixture_path(f, "root"), *layout = fixture_path(f, "layout");
	auto_free char *out = fixture_path(f, "m.tar"), *file = path_join(root, "hello");
	assert_int_equal(mkdir_p(root, 0755), 0);
	bytes_put(file, "x", 1);
	auto_free char *make =
		xasprintf("%s %s hello:1 %s '[\"/hello\"]' 'G=a \"b\"'", MKIMAGE_PATH, out, root);
	auto_free char *unpack = xasprintf("mkdir %s && tar -C %s -xf %s", layout, layout, out);
	assert_int_equal(system(make), 0);
	assert_int_equal(system(unpack), 0);
	load_ok(f, out);
	const struct image *im = image_find(f->store, "hello:1");
	assert_non_null(im);
	assert_int_equal(im->n_repo_digests, 1);
	assert_ptr_equal(image_find(f->store, im->repo_digests[0]), im);
	assert_string_equal(im->env[1], "G=a \"b\"");
	assert_string_equal(im->entrypoint[0], "/hello");
	load_ok(f, layout); /* the same as a directory */
	assert_null(image_at(f->store, 1));
}

/* ---- users ------------------------------------------------------------------------------ */

static void test_users(void **state)
{
	struct fixture *f = *state;
	auto_free char *path = NULL;
	static const struct {
		const char *user;
		int rc;
		uint32_t uid, gid;
	} cases[] = {
		{"", 0, 0, 0},
		{"1000", 0, 1000, 0},
		{"1000:1001", 0, 1000, 1001},
		{"www-data", 0, 33, 34},
		{"33", 0, 33, 34},
		{"www-data:staff", 0, 33, 50},
		{"last", 0, 7, 8},
		{"nobody", -EINVAL, 0, 0},
		{"root:wheel", -EINVAL, 0, 0},
		{"1000:staff", 0, 1000, 50},
	};
	two_layers(f, "a.tar", "u:1", ARCHIVE_FILTER_NONE, &path);
	load_ok(f, path);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		uint32_t uid = 99, gid = 99;
		auto_err err = {0};
		int rc = image_user(image_find(f->store, "u:1"), cases[i].user, &uid, &gid, &err);
		if (cases[i].rc == 0) {
			assert_int_equal(rc, 0);
			assert_int_equal(uid, cases[i].uid);
			assert_int_equal(gid, cases[i].gid);
		} else {
			assert_int_equal(rc, cases[i].rc);
			assert_non_null(strstr(err_message(&err), "no matching entries"));
		}
	}
}

/* A database that is whited out, or a link out of the layer, must not be read. */
static void test_users_hidden(void **state)
{
	struct fixture *f = *state;
	static const struct tar_entry hide[] = {{.path = "etc/.wh.passwd", .type = AE_IFREG}};
	static const struct tar_entry link[] = {
		{.path = "etc/passwd", .type = AE_IFLNK, .data = "/../../../../etc/passwd"}};
	const struct tar_entry *tops[] = {hide, link};
	for (size_t i = 0; i < ARRAY_SIZE(tops); i++) {
		auto_free char *path = fixture_path(f, "a.tar");
		struct layer l[2] = {
			layer_make(base_entries, ARRAY_SIZE(base_entries), ARCHIVE_FILTER_NONE),
			layer_make(tops[i], 1, ARCHIVE_FILTER_NONE)};
		uint32_t uid, gid;
		docker_archive(path, "h:1", l, 2, NULL, ARCHIVE_FILTER_NONE);
		load_ok(f, path);
		assert_true(image_user(image_find(f->store, "h:1"), "www-data", &uid, &gid, NULL) <
			    0);
		layer_done(&l[0]);
		layer_done(&l[1]);
	}
}

/* ---- removing, healing, preloading ------------------------------------------------------ */

static void test_remove(void **state)
{
	struct fixture *f = *state;
	auto_free char *both = NULL, *one = fixture_path(f, "one.tar");
	struct layer base = layer_make(base_entries, ARRAY_SIZE(base_entries), ARCHIVE_FILTER_GZIP);
	auto_err err = {0};
	two_layers(f, "two.tar", "two:1", ARCHIVE_FILTER_NONE, &both);
	docker_archive(one, "one:1", &base, 1, NULL, ARCHIVE_FILTER_NONE);
	load_ok(f, both);
	load_ok(f, one);
	assert_int_equal(dir_count(f->dir, "layers"), 4);
	/* The layer that the other image shares stays. */
	assert_int_equal(image_remove(f->store, "two:1", &err), 0);
	assert_null(image_find(f->store, "two:1"));
	workers_wait(f);
	assert_int_equal(dir_count(f->dir, "layers"), 2);
	assert_int_equal(dir_count(f->dir, "images"), 1);
	assert_base_layer(image_find(f->store, "one:1")->layers[0]);
	assert_int_equal(image_remove(f->store, "two:1", &err), -ENOENT);
	auto_free char *id = xstrdup(image_find(f->store, "one:1")->digest);
	assert_int_equal(image_remove(f->store, id, &err), 0);
	workers_wait(f);
	assert_store_clean(f);
	fixture_reopen(f);
	assert_null(image_at(f->store, 0));
	layer_done(&base);
}

static void test_heal(void **state)
{
	struct fixture *f = *state;
	auto_free char *path = NULL, *index = path_join(f->dir, "refs.json");
	auto_free char *junk = path_join(f->dir, "tmp/half-done");
	two_layers(f, "a.tar", "heal:1", ARCHIVE_FILTER_NONE, &path);
	load_ok(f, path);
	rm_rf(image_find(f->store, "heal:1")->layers[0]);
	assert_int_equal(mkdir_p(junk, 0755), 0);
	fixture_reopen(f);
	assert_null(image_find(f->store, "heal:1")); /* so that it is asked for again */
	load_ok(f, path);
	assert_two_layers(f, "heal:1");
	workers_wait(f);
	assert_int_equal(dir_count(f->dir, "tmp"), 0);
	/* A torn index costs the names, not the daemon. */
	bytes_put(index, "{\"refs\":", 8);
	fixture_reopen(f);
	assert_null(image_find(f->store, "heal:1"));
	assert_non_null(image_at(f->store, 0));
	load_ok(f, path);
	assert_two_layers(f, "heal:1");
}

static void set_flag(void *arg)
{
	*(bool *)arg = true;
}

static void test_preload(void **state)
{
	struct fixture *f = *state;
	auto_free char *dir = fixture_path(f, "preload"), *path = NULL, *bad = NULL;
	bool done = false, told = false;
	assert_int_equal(mkdir_p(dir, 0755), 0);
	two_layers(f, "preload/a.tar.gz", "pre:1", ARCHIVE_FILTER_GZIP, &path);
	bad = path_join(dir, "bad.tar");
	bytes_put(bad, "nonsense", 8);
	image_watch(f->store, set_flag, &told);
	image_preload(f->store, dir, set_flag, &done);
	assert_int_equal(loop_run_until(f->loop, &done, LIMIT), 0);
	assert_true(told);
	image_watch(f->store, NULL, NULL);
	const struct image *im = image_find(f->store, "pre:1");
	assert_non_null(im);
	assert_true(im->pinned);
	struct stat before = stat_in(f->dir, "preload.json"), layer = stat_in(im->layers[1], ".");
	fixture_reopen(f);
	assert_true(image_find(f->store, "pre:1")->pinned);
	image_preload(f->store, dir, NULL, NULL);
	workers_wait(f);
	struct stat after = stat_in(f->dir, "preload.json");
	assert_int_equal(before.st_ino, after.st_ino); /* nothing was written */
	assert_int_equal(layer.st_ino,
			 stat_in(image_find(f->store, "pre:1")->layers[1], ".").st_ino);
	/* A damaged layer makes the archive worth loading again. */
	rm_rf(image_find(f->store, "pre:1")->layers[0]);
	fixture_reopen(f);
	assert_null(image_find(f->store, "pre:1"));
	image_preload(f->store, dir, NULL, NULL);
	workers_wait(f);
	assert_non_null(image_find(f->store, "pre:1"));
}

static void test_cancel(void **state)
{
	struct fixture *f = *state;
	auto_free char *path = NULL;
	auto_err err = {0};
	struct outcome o = {0};
	two_layers(f, "a.tar", "c:1", ARCHIVE_FILTER_NONE, &path);
	struct image_job *j = image_load(f->store, path, -1, &outcome_ops, &o, &err);
	assert_non_null(j);
	loop_once(f->loop);
	image_job_cancel(j);
	workers_wait(f);
	assert_false(o.done);
	assert_int_equal(dir_count(f->dir, "tmp"), 0);
	assert_null(image_load(f->store, "/nonexistent.tar", -1, &outcome_ops, &o, &err));
	assert_non_null(strstr(err_message(&err), "No such file"));
}

/* ---- hostile archives ------------------------------------------------------------------- */

static const struct {
	const char *what;
	struct tar_entry entries[4];
	const char *message; /* part of what the user reads */
} hostile[] = {
	{"dotdot", {{.path = "../evil", .type = AE_IFREG, .data = "x"}}, "points out of the layer"},
	{"inner dotdot",
	 {{.path = "a/../../evil", .type = AE_IFREG, .data = "x"}},
	 "points out of the layer"},
	{"write through an absolute link",
	 {{.path = "x", .type = AE_IFLNK, .data = "/tmp"},
	  {.path = "x/evil", .type = AE_IFREG, .data = "x"}},
	 "goes through a link"},
	{"write through a relative link out",
	 {{.path = "x", .type = AE_IFLNK, .data = "../../../../../../tmp"},
	  {.path = "x/evil", .type = AE_IFREG, .data = "x"}},
	 "goes through a link"},
	{"directory through a link",
	 {{.path = "x", .type = AE_IFLNK, .data = "/"}, {.path = "x/tmp/evil/", .type = AE_IFDIR}},
	 "goes through a link"},
	{"whiteout through a link",
	 {{.path = "x", .type = AE_IFLNK, .data = "/etc"},
	  {.path = "x/.wh.passwd", .type = AE_IFREG}},
	 "goes through a link"},
	{"opaque through a link",
	 {{.path = "x", .type = AE_IFLNK, .data = "/etc"},
	  {.path = "x/.wh..wh..opq", .type = AE_IFREG}},
	 "goes through a link"},
	{"link loop",
	 {{.path = "x", .type = AE_IFLNK, .data = "x"},
	  {.path = "x/y", .type = AE_IFREG, .data = "x"}},
	 "goes through a link"},
	{"hard link outside",
	 {{.path = "x", .type = AE_IFREG, .data = "/etc/passwd", .hardlink = true}},
	 "not in the layer"},
	{"hard link with dotdot",
	 {{.path = "x", .type = AE_IFREG, .data = "../../etc/passwd", .hardlink = true}},
	 "hard link out of the layer"},
	{"hard link through a link",
	 {{.path = "e", .type = AE_IFLNK, .data = "/etc"},
	  {.path = "x", .type = AE_IFREG, .data = "e/passwd", .hardlink = true}},
	 "goes through a link"},
	{"block device",
	 {{.path = "dev/sda", .type = AE_IFBLK, .dev_major = 8, .dev_minor = 0}},
	 "is a device node"},
	{"memory device",
	 {{.path = "dev/mem", .type = AE_IFCHR, .dev_major = 1, .dev_minor = 1}},
	 "is a device node"},
	{"whiteout of dotdot", {{.path = "a/.wh...", .type = AE_IFREG}}, "malformed whiteout"},
	{"below a whiteout",
	 {{.path = ".wh.a/b", .type = AE_IFREG, .data = "x"}},
	 "below a whiteout"},
	{"file as root", {{.path = ".", .type = AE_IFREG, .data = "x"}}, "replace the root"},
	{"bomb",
	 {{.path = "a", .type = AE_IFREG, .size = 40 << 20},
	  {.path = "b", .type = AE_IFREG, .size = 40 << 20}},
	 "more than the limit"},
};

static size_t entries_count(const struct tar_entry *t)
{
	size_t n = 0;
	while (n < 4 && t[n].path)
		n++;
	return n;
}

static void refused(struct fixture *f, const char *path, const char *message, const char *what)
{
	struct outcome o = {0};
	load_path(f, path, &o);
	if (!o.err.message || !strstr(o.err.message, message))
		fail_msg("%s: want \"%s\", got \"%s\"", what, message,
			 o.err.message ? o.err.message : "success");
	assert_int_equal(o.err.reason, ERR_INVALID);
	err_done(&o.err);
	assert_store_clean(f);
	assert_null(image_at(f->store, 0));
	assert_int_equal(access("/tmp/evil", F_OK), -1);
}

static void test_hostile_layers(void **state)
{
	struct fixture *f = *state;
	auto_free char *path = fixture_path(f, "evil.tar");
	for (size_t i = 0; i < ARRAY_SIZE(hostile); i++) {
		size_t n = entries_count(hostile[i].entries);
		struct layer l = layer_make(hostile[i].entries, n, ARCHIVE_FILTER_GZIP);
		docker_archive(path, "evil:1", &l, 1, NULL, ARCHIVE_FILTER_NONE);
		refused(f, path, hostile[i].message, hostile[i].what);
		layer_done(&l);
	}
}

static void test_damaged(void **state)
{
	struct fixture *f = *state;
	auto_free char *path = fixture_path(f, "bad.tar"), *whole = NULL, *text = NULL;
	size_t len;
	struct layer good = layer_make(base_entries, ARRAY_SIZE(base_entries), ARCHIVE_FILTER_GZIP);
	struct layer l = good;
	l.blob.len /= 2; /* the layer is cut */
	docker_archive(path, "bad:1", &l, 1, NULL, ARCHIVE_FILTER_NONE);
	refused(f, path, "damaged layer", "truncated gzip layer");
	l = good;
	l.diff_id = (char *)(uintptr_t) "sha256:" HEX;
	docker_archive(path, "bad:1", &l, 1, NULL, ARCHIVE_FILTER_NONE);
	refused(f, path, "digest mismatch", "wrong diff id");
	l.diff_id = (char *)(uintptr_t) "sha256:../../../../etc/passwd";
	docker_archive(path, "bad:1", &l, 1, NULL, ARCHIVE_FILTER_NONE);
	refused(f, path, "malformed image config", "nonsense diff id");
	two_layers(f, "cut.tar.gz", "bad:1", ARCHIVE_FILTER_GZIP, &whole);
	assert_int_equal(file_read(whole, 1 << 20, &text, &len), 0);
	bytes_put(path, text, len / 2);
	refused(f, path, "damaged archive", "truncated archive");
	bytes_put(path, "", 0);
	refused(f, path, "not an image archive", "empty archive");
	layer_done(&good);
}

/* One good and one bad image in an archive: neither comes in. */
static void test_all_or_nothing(void **state)
{
	struct fixture *f = *state;
	auto_free char *path = fixture_path(f, "mixed.tar");
	struct tar_entry files[] = {
		{.path = "manifest.json",
		 .type = AE_IFREG,
		 .data = "[{\"Config\":\"c.json\",\"RepoTags\":[\"good:1\"],\"Layers\":[]},"
			 "{\"Config\":\"none.json\",\"RepoTags\":[\"bad:1\"],\"Layers\":[]}]"},
		{.path = "c.json",
		 .type = AE_IFREG,
		 .data = "{\"os\":\"linux\",\"rootfs\":{\"diff_ids\":[]}}"},
	};
	struct bytes b = tar_make(files, 2, ARCHIVE_FILTER_NONE);
	struct outcome o = {0};
	bytes_put(path, b.data, b.len);
	free(b.data);
	load_path(f, path, &o);
	assert_non_null(strstr(err_message(&o.err), "none.json is missing"));
	err_done(&o.err);
	assert_null(image_find(f->store, "good:1"));
}

static void test_disk_full(void **state)
{
	struct fixture *f = *state;
	auto_free char *path = fixture_path(f, "big.tar");
	const struct tar_entry big[] = {{.path = "big", .type = AE_IFREG, .size = 4 << 20}};
	struct layer l = layer_make(big, 1, ARCHIVE_FILTER_GZIP);
	struct outcome o = {0};
	docker_archive(path, "big:1", &l, 1, NULL, ARCHIVE_FILTER_NONE);
	layer_done(&l);
	image_store_close(f->store);
	assert_int_equal(unshare(CLONE_NEWNS), 0);
	assert_int_equal(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL), 0);
	assert_int_equal(mount("tmpfs", f->dir, "tmpfs", 0, "size=1m"), 0);
	fixture_open(f);
	load_path(f, path, &o);
	assert_int_equal(o.err.reason, ERR_INSUFFICIENT_STORAGE);
	assert_non_null(strstr(o.err.message, "\"big\": no space left on device"));
	err_done(&o.err);
	assert_store_clean(f);
	image_store_close(f->store);
	assert_int_equal(umount(f->dir), 0);
	fixture_open(f);
}

int main(void)
{
	const struct CMUnitTest always[] = {cmocka_unit_test(test_refs)};
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, fixture_setup, fixture_teardown)
	const struct CMUnitTest as_root[] = {
		TEST(test_load_formats),   TEST(test_load_pipe),    TEST(test_load_mkimage),
		TEST(test_users),	   TEST(test_users_hidden), TEST(test_remove),
		TEST(test_heal),	   TEST(test_preload),	    TEST(test_cancel),
		TEST(test_hostile_layers), TEST(test_damaged),	    TEST(test_all_or_nothing),
		TEST(test_disk_full),
	};
	int failed = cmocka_run_group_tests(always, NULL, NULL);
	if (geteuid() == 0)
		failed += cmocka_run_group_tests(as_root, NULL, NULL);
	return failed;
}
