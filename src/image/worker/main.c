/* SPDX-License-Identifier: Apache-2.0 */
/* coracle-image: does the one request on descriptor 0 and ends. See job.c for the protocol. */
#include "worker.h"
#include "record.h"
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

enum { REQUEST_MAX_BYTES = 16 << 20, ARCHIVE_FD = 3 };

struct request {
	json_t *json;
	const char *dir;
	uint64_t max_bytes;
};

typedef int request_fn(const struct request *r, struct err *err);

static int with_content(const struct request *r,
			int (*fn)(struct content *, const struct request *, struct err *),
			struct err *err)
{
	struct content c;
	int rc = content_open(&c, r->dir, r->max_bytes, false, err);
	if (rc < 0)
		return rc;
	rc = fn(&c, r, err);
	content_close(&c);
	return rc;
}

static int pull_in(struct content *c, const struct request *r, struct err *err)
{
	return pull_image(c, json_str(r->json, "ref", ""), json_str(r->json, "username", NULL),
			  json_str(r->json, "password", NULL), err);
}

static int load_in(struct content *c, const struct request *r UNUSED, struct err *err)
{
	int flags = fcntl(ARCHIVE_FD, F_GETFL);
	if (flags < 0 || fcntl(ARCHIVE_FD, F_SETFL, flags & ~O_NONBLOCK) < 0)
		return err_errno(err, errno, "no archive");
	return load_archive(c, ARCHIVE_FD, false, NULL, err);
}

static int preload_in(struct content *c, const struct request *r, struct err *err)
{
	return preload_dir(c, json_str(r->json, "source", ""), err);
}

static int do_pull(const struct request *r, struct err *err)
{
	return with_content(r, pull_in, err);
}

static int do_load(const struct request *r, struct err *err)
{
	return with_content(r, load_in, err);
}

static int do_preload(const struct request *r, struct err *err)
{
	return with_content(r, preload_in, err);
}

static int do_collect(const struct request *r, struct err *err)
{
	auto_strv images = {0}, refs = {0};
	if (strv_from_json(&images, json_object_get(r->json, "images"), RECORD_MAX_IMAGES) < 0 ||
	    strv_from_json(&refs, json_object_get(r->json, "refs"), RECORD_MAX_IMAGES) < 0)
		return err_set(err, ERR_INVALID, "malformed request");
	return content_collect(r->dir, &images, &refs, err);
}

static const struct {
	const char *name;
	request_fn *fn;
} modes[] = {
	{"pull", do_pull},
	{"load", do_load},
	{"preload", do_preload},
	{"collect", do_collect},
};

static int request_read(struct request *r, struct err *err)
{
	auto_free char *text = NULL;
	size_t len;
	int rc = file_read("/proc/self/fd/0", REQUEST_MAX_BYTES, &text, &len);
	if (rc < 0)
		return err_errno(err, -rc, "cannot read the request");
	r->json = json_parse(text, len, err);
	if (!r->json)
		return err_wrap(err, -EINVAL, "cannot read the request");
	r->dir = json_str(r->json, "dir", "");
	int64_t max = json_int(r->json, "maxBytes", 0);
	r->max_bytes = max > 0 ? (uint64_t)max : 0;
	return *r->dir ? 0 : err_set(err, ERR_INVALID, "malformed request");
}

static int request_do(const struct request *r, struct err *err)
{
	const char *mode = json_str(r->json, "mode", "");
	int rc = confine(r->dir, r->max_bytes, err);
	if (rc < 0)
		return rc;
	for (size_t i = 0; i < ARRAY_SIZE(modes); i++)
		if (streq(modes[i].name, mode))
			return modes[i].fn(r, err);
	return err_set(err, ERR_INVALID, "unknown request \"%.50s\"", mode);
}

int main(void)
{
	auto_err err = {0};
	struct request r = {0};
	signal(SIGPIPE, SIG_IGN);
	signal(SIGXFSZ, SIG_IGN);
	umask(022);
	worker_locale_init();
	report_to(stdout);
	int rc = request_read(&r, &err);
	if (rc == 0)
		rc = request_do(&r, &err);
	if (rc < 0)
		report_error(&err);
	json_decref(r.json);
	return rc < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
