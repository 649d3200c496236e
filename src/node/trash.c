/* SPDX-License-Identifier: Apache-2.0 */
/*
 * trash: directories disappear at once by a rename to ".trash.*", and are emptied by a child at low
 * priority: write layers and volumes can hold many files. What a crash leaves is found again at the
 * next start.
 */
#include "internal.h"

#define TRASH_PREFIX ".trash."
#define TRASH_BATCH 64

/* A rename stays on one file system. */
void trash_put(struct node *n, const char *path)
{
	auto_free char *state = path_join(n->state_dir, "pods"),
		       *run = path_join(n->run_dir, "pods");
	const char *root = str_starts(path, state) ? state
			   : str_starts(path, run) ? run
						   : n->log_dir;
	auto_free char *from = xstrdup(path);
	char suffix[13] = "";
	size_t len = strlen(from);

	while (len > 1 && from[len - 1] == '/')
		from[--len] = '\0';
	random_suffix(suffix, 12);
	suffix[12] = '\0';
	auto_free char *to = xasprintf("%s/%s%s", root, TRASH_PREFIX, suffix);
	if (rename(from, to) == 0)
		trash_sweep(n);
	else if (errno != ENOENT)
		log_warn("%s: %s", from, strerror(errno));
}

static void collect(struct strv *argv, const char *root)
{
	auto_dir DIR *d = opendir(root);
	struct dirent *e;

	while (d && argv->n < TRASH_BATCH && (e = readdir(d)))
		if (str_starts(e->d_name, TRASH_PREFIX))
			strv_addf(argv, "%s/%s", root, e->d_name);
}

static void on_swept(void *arg, int status)
{
	struct node *n = arg;
	bool again = n->sweep_again;

	n->sweeper = NULL;
	if (status)
		log_warn("could not empty the trash: rm ended with status %d", status);
	if (again)
		trash_sweep(n);
}

void trash_sweep(struct node *n)
{
	auto_free char *state = path_join(n->state_dir, "pods"),
		       *run = path_join(n->run_dir, "pods");
	auto_strv argv = {0};
	auto_err err = {0};

	n->sweep_again = n->sweeper != NULL;
	if (n->sweeper)
		return;
	strv_add(&argv, "rm");
	strv_add(&argv, "-rf");
	strv_add(&argv, "--one-file-system");
	strv_add(&argv, "--");
	collect(&argv, state);
	collect(&argv, run);
	collect(&argv, n->log_dir);
	if (argv.n == 4)
		return;
	struct child_config c = {.argv = (const char *const *)argv.v, .low_priority = true};
	n->sweeper = child_spawn(n->loop, &c, on_swept, n, &err);
	if (!n->sweeper)
		log_warn("rm: %s", err_message(&err));
}
