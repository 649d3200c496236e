/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The verbs that kubectl has not: images, kubeconfig, show, node, version.
 */
#include "config.h"

#include "internal.h"
#include <fcntl.h>
#include <unistd.h>

/* ---- images --------------------------------------------------------------------------------- */

/*
 * Progress arrives as JSON lines {"status": text} and, when it failed, {"error": text} as the last.
 * "Loaded image: x" is a result, everything else comes and goes on the terminal.
 */
struct progress {
	const struct cli *c;
	struct strbuf line;
	char *error;
	bool shown; /* a transient line stands on the terminal */
};

static void progress_text(struct progress *p, const char *text)
{
	if (str_starts(text, "Loaded image: ")) {
		if (p->shown)
			fprintf(stderr, "\r\033[K");
		p->shown = false;
		if (!p->c->o.quiet)
			printf("%s\n", text);
		fflush(stdout);
		return;
	}
	if (!p->c->progress || p->c->o.quiet)
		return;
	if (p->c->color)
		fprintf(stderr, "\r\033[K%.200s", text);
	else
		fprintf(stderr, "%s\n", text);
	p->shown = p->c->color;
}

static void progress_line(struct progress *p)
{
	json_auto_t *v = json_loadb(p->line.s ? p->line.s : "", p->line.len, 0, NULL);
	const char *error = json_str(v, "error", NULL);

	if (error) {
		free(p->error);
		p->error = xstrdup(error);
	} else {
		progress_text(p, json_str(v, "status", p->line.s ? p->line.s : ""));
	}
	strbuf_reset(&p->line);
}

static bool on_progress(void *arg, const char *data, size_t len)
{
	struct progress *p = arg;

	for (size_t i = 0; i < len; i++) {
		if (data[i] == '\n')
			progress_line(p);
		else if (p->line.len < 65536)
			strbuf_addc(&p->line, data[i]);
	}
	return true;
}

/* Runs a load or pull. */
static int transfer(struct cli *c, const char *path, int body_fd)
{
	struct progress p = {.c = c};
	const struct query q = {.method = "POST",
				.path = path,
				.type = "application/octet-stream",
				.body_fd = body_fd,
				.on_data = on_progress,
				.arg = &p};
	auto_reply r = {0};
	int result = client_call(c, &q, &r) < 0;

	if (p.line.len)
		progress_line(&p);
	if (p.shown)
		fprintf(stderr, "\r\033[K");
	if (!result && !reply_ok(&r))
		result = reply_error(&r, NULL);
	else if (p.error)
		result = cli_error("%s", p.error);
	else if (!result && r.why)
		result = cli_error("the connection broke off: %s", r.why);
	strbuf_done(&p.line);
	free(p.error);
	return result;
}

int cmd_image_load(struct cli *c)
{
	const char *file = c->args.n ? c->args.v[0] : c->o.files.n ? c->o.files.v[0] : NULL;
	auto_fd int fd = -1;

	if (!file || c->args.n + c->o.files.n > 1)
		return cli_error("expected 'image load FILE' (or - for standard input)");
	/* Above 2, because 0 stands for no body at all. */
	if (streq(file, "-"))
		fd = fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 3);
	else
		fd = open(file, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return cli_error("cannot open \"%s\": %s", file, strerror(errno));
	return transfer(c, "/coracle/v1/images/load", fd);
}

int cmd_image_pull(struct cli *c)
{
	auto_free char *ref = NULL, *path = NULL;

	if (c->args.n != 1)
		return cli_error("expected 'image pull REFERENCE'");
	ref = url_encode(c->args.v[0]);
	path = xasprintf("/coracle/v1/images/pull?ref=%s", ref);
	return transfer(c, path, 0);
}

/* "12.3 MB" */
static char *size_text(char buf[static 32], int64_t bytes)
{
	static const char *const units[] = {"B", "kB", "MB", "GB", "TB"};
	double v = (double)bytes;
	size_t i = 0;

	while (v >= 1000 && i + 1 < ARRAY_SIZE(units)) {
		v /= 1000;
		i++;
	}
	snprintf(buf, 32, i ? "%.1f %s" : "%.0f %s", v, units[i]);
	return buf;
}

/* One row per reference: {id, refs, size, pinned} of the daemon made readable. */
static void image_rows(const json_t *image, json_t *rows)
{
	const char *id = json_str(image, "id", "");
	size_t n = json_len(image, "refs");
	char size[32];

	id = str_starts(id, "sha256:") ? id + strlen("sha256:") : id;
	for (size_t i = 0; i < (n ? n : 1); i++) {
		const json_t *ref = json_array_get(json_at(image, "refs"), i);
		json_t *row = json_object();

		json_put_str(row, "image", ref ? json_string_value(ref) : "<none>");
		json_put_strf(row, "id", "%.12s", id);
		json_put_str(row, "size", size_text(size, json_int(image, "size", 0)));
		json_put_str(row, "pinned", json_bool(image, "pinned", false) ? "true" : "false");
		json_array_append_new(rows, row);
	}
}

int cmd_image_ls(struct cli *c)
{
	int exit_code;
	json_auto_t *list = client_get(c, "/coracle/v1/images", false, &exit_code);
	json_auto_t *rows = json_array();
	json_t *image;
	size_t i;

	if (!list)
		return exit_code;
	if (str_eq(c->o.output, "json") || str_eq(c->o.output, "yaml"))
		return object_print(list, NULL, c->o.output, stdout) < 0;
	json_array_foreach(list, i, image)
	{
		image_rows(image, rows);
	}
	rows_print(rows, stdout);
	return 0;
}

int cmd_image_rm(struct cli *c)
{
	int bad = 0;

	if (!c->args.n)
		return cli_error("expected 'image rm REFERENCE...'");
	for (size_t i = 0; i < c->args.n; i++) {
		auto_free char *ref = url_encode(c->args.v[i]);
		auto_free char *path = xasprintf("/coracle/v1/images?ref=%s", ref);
		const struct query q = {.method = "DELETE", .path = path};
		auto_reply r = {0};

		if (client_call(c, &q, &r) < 0)
			return 1;
		if (reply_ok(&r))
			printf("removed %s\n", c->args.v[i]);
		else
			bad |= reply_error(&r, NULL);
	}
	return bad;
}

/* ---- the daemon ----------------------------------------------------------------------------- */

int cmd_kubeconfig(struct cli *c)
{
	const struct query q = {.path = "/coracle/v1/kubeconfig", .accept = "*/*"};
	auto_reply r = {0};

	if (client_call(c, &q, &r) < 0)
		return 1;
	if (!reply_ok(&r))
		return reply_error(&r, NULL);
	fwrite(r.body, 1, r.len, stdout);
	return 0;
}

static int show_one(struct cli *c, const char *name)
{
	auto_free char *encoded = url_encode(name);
	auto_free char *path = xasprintf("/coracle/v1/show/%s", encoded);
	int exit_code;
	json_auto_t *rows = client_get(c, path, false, &exit_code);

	if (!rows)
		return exit_code;
	if (str_eq(c->o.output, "json") || str_eq(c->o.output, "yaml"))
		return object_print(rows, NULL, c->o.output, stdout) < 0;
	if (!json_array_size(rows))
		fprintf(stderr, "No rows.\n");
	rows_print(rows, stdout);
	return 0;
}

int cmd_show(struct cli *c)
{
	int exit_code, bad = 0;
	json_auto_t *names = NULL;
	json_t *name;
	size_t i;

	for (i = 0; i < c->args.n; i++)
		bad |= show_one(c, c->args.v[i]);
	if (c->args.n)
		return bad;
	names = client_get(c, "/coracle/v1/show", false, &exit_code);
	json_array_foreach(names, i, name)
	{
		printf("%s\n", json_is_string(name) ? json_string_value(name) : "");
	}
	return exit_code;
}

static bool ignore_data(void *arg UNUSED, const char *data UNUSED, size_t len UNUSED)
{
	return true;
}

/* A watch that is only held open: it ends when the daemon does (or has done so already). */
static void wait_for_end(struct cli *c)
{
	const struct query q = {.path = "/api/v1/namespaces?watch=true&timeoutSeconds=86400",
				.on_data = ignore_data};
	auto_reply r = {0};

	if (client_call(c, &q, &r) < 0)
		return;
}

int cmd_node_stop(struct cli *c)
{
	const struct query q = {.method = "POST", .path = "/coracle/v1/node/stop?pods=true"};
	auto_reply r = {0};

	if (client_call(c, &q, &r) < 0)
		return 1;
	if (!reply_ok(&r))
		return reply_error(&r, NULL);
	if (!c->o.quiet)
		printf("the node is stopping its pods and then itself\n");
	fflush(stdout);
	wait_for_end(c);
	if (!c->o.quiet)
		printf("stopped\n");
	return 0;
}

int cmd_version(struct cli *c)
{
	const struct query q = {.path = "/version"};
	json_auto_t *v = NULL, *all = NULL;
	auto_reply r = {0};
	int failed;

	if (!c->o.output)
		printf("Client Version: %s\n", PACKAGE_VERSION);
	fflush(stdout);
	failed = client_call(c, &q, &r) < 0;
	if (!failed && !reply_ok(&r))
		return reply_error(&r, NULL);
	v = r.body ? json_loadb(r.body, r.len, 0, NULL) : NULL;
	if (c->o.output) {
		all = json_object();
		json_put_str(all, "clientVersion.gitVersion", "v" PACKAGE_VERSION);
		if (v)
			json_object_set(all, "serverVersion", v);
		if (object_print(all, NULL, c->o.output, stdout) < 0)
			return cli_error("--output must be 'yaml' or 'json'");
	} else if (v) {
		printf("Server Version: %s\n", json_str(v, "gitVersion", "unknown"));
	}
	return failed;
}
