/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The commands of `coracle`: one table with everything about them, and the way into it.
 */
#include "internal.h"
#include <locale.h>
#include <signal.h>
#include <unistd.h>

#define DEFAULT_SOCKET "/run/coracle/api.sock"

static const struct command {
	const char *name; /* one or two words */
	int (*run)(struct cli *c);
	const char *options; /* that it takes, besides those of every command */
	const char *usage, *help;
	bool local; /* needs no daemon */
} commands[] = {
	{"apply", cmd_apply, "filename recursive dry-run output", "-f FILE|-|DIR",
	 "create or change objects as files say", false},
	{"create", cmd_create, "filename recursive dry-run output",
	 "-f FILE|-|DIR | namespace NAME", "create objects", false},
	{"get", cmd_get,
	 "all-namespaces output selector field-selector watch watch-only no-headers show-labels "
	 "ignore-not-found raw",
	 "KIND[/NAME] [NAME...]", "print objects", false},
	{"describe", cmd_describe, "all-namespaces selector", "KIND[/NAME] [NAME...]",
	 "print objects with all that is around them", false},
	{"logs", cmd_logs,
	 "container all-containers follow previous timestamps tail limit-bytes since since-time "
	 "selector prefix",
	 "POD|KIND/NAME [CONTAINER]", "print what containers wrote", false},
	{"exec", cmd_exec, "container stdin tty quiet", "POD|KIND/NAME -- COMMAND [ARGUMENT...]",
	 "run a command in a container", false},
	{"delete", cmd_delete,
	 "filename recursive selector field-selector all all-namespaces force now wait timeout "
	 "grace-period cascade ignore-not-found output",
	 "-f FILE | KIND[/NAME] [NAME...]", "delete objects", false},
	{"scale", cmd_scale, "replicas current-replicas output", "KIND/NAME --replicas=COUNT",
	 "set a number of pods", false},
	{"rollout status", cmd_rollout_status, "timeout quiet watch", "KIND/NAME",
	 "wait until a rollout is done", false},
	{"rollout history", cmd_rollout_history, "revision", "KIND/NAME", "print revisions", false},
	{"rollout undo", cmd_rollout_undo, "to-revision output", "KIND/NAME",
	 "go back to an earlier revision", false},
	{"rollout restart", cmd_rollout_restart, "output", "KIND/NAME", "replace all pods", false},
	{"rollout pause", cmd_rollout_pause, "output", "KIND/NAME", "hold a rollout", false},
	{"rollout resume", cmd_rollout_resume, "output", "KIND/NAME", "go on with it", false},
	{"top", cmd_top, "all-namespaces selector containers no-headers", "node|pod [NAME]",
	 "print what nodes and pods use", false},
	{"image load", cmd_image_load, "filename quiet", "FILE|-",
	 "load images from a docker or OCI archive", false},
	{"image pull", cmd_image_pull, "quiet", "REFERENCE", "pull an image from its registry",
	 false},
	{"image ls", cmd_image_ls, "output", "", "print the images there are", false},
	{"image rm", cmd_image_rm, "", "REFERENCE...", "remove images", false},
	{"kubeconfig", cmd_kubeconfig, "", "", "print a configuration for kubectl", false},
	{"show", cmd_show, "output", "[TABLE...]", "print what the daemon holds", false},
	{"node stop", cmd_node_stop, "quiet", "", "stop all pods and the daemon", false},
	{"version", cmd_version, "output", "", "print the versions of client and daemon", false},
	{"completion", cmd_completion, "", "bash|zsh", "print a completion script", true},
	{"help", cmd_help, "", "", "this text", true},
};

int cli_error(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	fputs("error: ", stderr);
	vfprintf(stderr, fmt, ap);
	fputc('\n', stderr);
	va_end(ap);
	return 1;
}

void commands_names(struct strv *ret)
{
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++) {
		auto_free char *word = xstrndup(commands[i].name, strcspn(commands[i].name, " "));
		if (!strv_has(ret, word))
			strv_add(ret, word);
	}
}

int cmd_help(struct cli *c UNUSED)
{
	auto_strbuf text = {0}, laid = {0};

	for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
		strbuf_addf(&text, "  %s\t%s\n", commands[i].name, commands[i].help);
	tabwriter_format(text.s, 0, 2, &laid);
	printf("coracle drives coracled, Kubernetes for one small machine. Its verbs are "
	       "kubectl's.\n\nCommands:\n%s\nOptions of every command:\n",
	       laid.s);
	options_help("", stdout);
	printf("\nUse \"coracle COMMAND --help\" for more about a command.\n");
	return 0;
}

static int command_help(const struct command *cmd)
{
	printf("coracle %s: %s\n\nUsage:\n  coracle %s %s [options]\n\nOptions:\n", cmd->name,
	       cmd->help, cmd->name, cmd->usage);
	options_help(cmd->options, stdout);
	return 0;
}

/* Is the command `WORD something`? */
static bool in_group(const struct command *cmd, const char *word)
{
	size_t len = strlen(word);

	return strncmp(cmd->name, word, len) == 0 && cmd->name[len] == ' ';
}

/* Of a word that is not a command by itself, like `image`; false: there is no such word. */
static bool group_help(const char *word)
{
	auto_strbuf text = {0}, laid = {0};

	for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
		if (in_group(&commands[i], word))
			strbuf_addf(&text, "  %s\t%s\n", commands[i].name, commands[i].help);
	if (!text.len)
		return false;
	tabwriter_format(text.s, 0, 2, &laid);
	printf("Usage:\n  coracle %s COMMAND [options]\n\nCommands:\n%s\nUse \"coracle %s COMMAND "
	       "--help\" for more about a command.\n",
	       word, laid.s, word);
	return true;
}

/* Finds the command that words begin with; *used: how many words that is. */
static const struct command *find_command(const struct strv *words, size_t *used)
{
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++) {
		const char *space = strchr(commands[i].name, ' ');
		size_t first =
			space ? (size_t)(space - commands[i].name) : strlen(commands[i].name);

		if (!words->n || strlen(words->v[0]) != first ||
		    strncmp(words->v[0], commands[i].name, first) != 0)
			continue;
		*used = space ? 2 : 1;
		if (!space || (words->n > 1 && streq(words->v[1], space + 1)))
			return &commands[i];
	}
	return NULL;
}

static int unknown_command(const struct strv *words)
{
	auto_strbuf subs = {0};
	size_t len = strlen(words->v[0]);

	for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
		if (in_group(&commands[i], words->v[0]))
			strbuf_addf(&subs, "%s%s", subs.len ? ", " : "",
				    commands[i].name + len + 1);
	if (subs.len)
		return cli_error("expected one of: coracle %s %s", words->v[0], subs.s);
	return cli_error("unknown command \"%s\" for \"coracle\"\nRun 'coracle --help' for usage.",
			 words->v[0]);
}

static int connect_to(struct cli *c)
{
	const char *path = c->o.socket ? c->o.socket : getenv("CORACLE_SOCKET");
	auto_free char *text = NULL;

	if (str_empty(path))
		path = DEFAULT_SOCKET;
	text = *path == '/' || str_starts(path, "unix:") || strchr(path, ':')
		       ? xstrdup(path)
		       : xasprintf("./%s", path);
	/* A relative path is a path too. */
	if (*text == '.') {
		auto_free char *cwd = getcwd(NULL, 0);
		char *joined = path_join(cwd ? cwd : "/", path);

		free(text);
		text = joined;
	}
	return addr_parse(text, &c->server) < 0 ? cli_error("bad socket \"%s\"", path) : 0;
}

static int run_command(struct cli *c, const struct command *cmd)
{
	int r;

	if (c->o.help)
		return command_help(cmd);
	if (options_check(c, cmd->name, cmd->options) < 0 || connect_to(c))
		return 1;
	if (cmd->local)
		return cmd->run(c);
	c->progress = isatty(STDERR_FILENO);
	c->color = c->progress && str_empty(getenv("NO_COLOR"));
	c->loop = loop_new();
	r = cmd->run(c);
	loop_free(c->loop);
	return r;
}

int cli_main(int argc, char **argv)
{
	struct cli c = {0};
	auto_strv words = {0};
	const struct command *cmd;
	size_t used = 0;
	int r = 1;

	setlocale(LC_CTYPE, "");
	signal(SIGPIPE, SIG_IGN);
	log_set_level(LOG_LEVEL_ERROR);
	if (options_parse(&c, argc, argv, &words) < 0) {
		options_done(&c);
		return 1;
	}
	cmd = find_command(&words, &used);
	if (!words.n)
		r = cmd_help(&c);
	else if (!cmd)
		r = c.o.help && group_help(words.v[0]) ? 0 : unknown_command(&words);
	for (size_t i = used; cmd && i < words.n; i++)
		strv_add(&c.args, words.v[i]);
	if (cmd)
		r = run_command(&c, cmd);
	options_done(&c);
	if (fflush(stdout) != 0 && !r)
		r = 1;
	return r;
}
