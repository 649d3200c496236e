/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The options of all commands: one table, one parser. Names and meaning are kubectl's.
 */
#include "internal.h"

enum option_type { OPT_BOOL, OPT_STRING, OPT_INT, OPT_LIST };

static const struct option {
	const char *name;
	char letter; /* 0: none */
	enum option_type type;
	size_t offset;
	const char *argument, *help;
} table[] = {
#define O(member) offsetof(struct options, member)
	{"socket", 0, OPT_STRING, O(socket), "PATH", "socket of coracled (CORACLE_SOCKET)"},
	{"namespace", 'n', OPT_STRING, O(ns), "NAME", "namespace of the request"},
	{"help", 'h', OPT_BOOL, O(help), NULL, "this text"},
	{"all-namespaces", 'A', OPT_BOOL, O(all_namespaces), NULL, "across all namespaces"},
	{"output", 'o', OPT_STRING, O(output), "FORMAT", "json, yaml, name or wide"},
	{"selector", 'l', OPT_STRING, O(selector), "SELECTOR",
	 "label selector: a=b,c!=d,e in (f,g)"},
	{"field-selector", 0, OPT_STRING, O(field_selector), "SELECTOR", "field selector"},
	{"raw", 0, OPT_STRING, O(raw), "PATH", "the API's answer to this path as it is"},
	{"watch", 'w', OPT_BOOL, O(watch), NULL, "go on and print changes"},
	{"watch-only", 0, OPT_BOOL, O(watch_only), NULL, "print changes alone"},
	{"no-headers", 0, OPT_BOOL, O(no_headers), NULL, "no line of headings"},
	{"show-labels", 0, OPT_BOOL, O(show_labels), NULL, "labels as the last column"},
	{"filename", 'f', OPT_LIST, O(files), "FILE", "file, directory, or - for standard input"},
	{"recursive", 'R', OPT_BOOL, O(recursive), NULL, "descend into directories"},
	{"dry-run", 0, OPT_STRING, O(dry_run), "server|none", "do not store what is sent"},
	{"container", 'c', OPT_STRING, O(container), "NAME", "container of the pod"},
	{"all-containers", 0, OPT_BOOL, O(all_containers), NULL, "logs of every container"},
	{"containers", 0, OPT_BOOL, O(containers), NULL, "of each container by itself"},
	{"follow", 0, OPT_BOOL, O(follow), NULL, "go on and print new lines (-f)"},
	{"previous", 'p', OPT_BOOL, O(previous), NULL, "of the container's run before"},
	{"timestamps", 0, OPT_BOOL, O(timestamps), NULL, "a timestamp before each line"},
	{"prefix", 0, OPT_BOOL, O(prefix), NULL, "pod and container before each line"},
	{"tail", 0, OPT_INT, O(tail), "LINES", "only the last lines"},
	{"limit-bytes", 0, OPT_INT, O(limit_bytes), "BYTES", "at most so many bytes"},
	{"since", 0, OPT_STRING, O(since), "DURATION", "not older than 5s, 2m or 3h"},
	{"since-time", 0, OPT_STRING, O(since_time), "TIME", "not older than an RFC 3339 time"},
	{"stdin", 'i', OPT_BOOL, O(stdin_), NULL, "pass standard input on"},
	{"tty", 't', OPT_BOOL, O(tty), NULL, "standard input is a terminal"},
	{"replicas", 0, OPT_INT, O(replicas), "COUNT", "new number of pods"},
	{"current-replicas", 0, OPT_INT, O(current_replicas), "COUNT",
	 "only when it is so many now"},
	{"all", 0, OPT_BOOL, O(all), NULL, "every object of the kind"},
	{"force", 0, OPT_BOOL, O(force), NULL, "delete at once, without grace"},
	{"now", 0, OPT_BOOL, O(now), NULL, "a grace period of one second"},
	{"wait", 0, OPT_BOOL, O(wait), NULL, "wait until the objects are gone (default)"},
	{"ignore-not-found", 0, OPT_BOOL, O(ignore_not_found), NULL,
	 "a missing object is no error"},
	{"grace-period", 0, OPT_INT, O(grace_period), "SECONDS", "time to end in"},
	{"cascade", 0, OPT_STRING, O(cascade), "background|foreground|orphan",
	 "what becomes of dependents"},
	{"timeout", 0, OPT_STRING, O(timeout), "DURATION", "give up after it"},
	{"to-revision", 0, OPT_INT, O(to_revision), "NUMBER", "revision to go back to"},
	{"revision", 0, OPT_INT, O(revision), "NUMBER", "revision to show"},
	{"quiet", 'q', OPT_BOOL, O(quiet), NULL, "print nothing but errors"},
#undef O
};

static const struct option *find_long(const char *name, size_t len)
{
	for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
		if (strlen(table[i].name) == len && strncmp(table[i].name, name, len) == 0)
			return &table[i];
	}
	return NULL;
}

static const struct option *find_short(char letter)
{
	for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
		if (letter && table[i].letter == letter)
			return &table[i];
	}
	return NULL;
}

/* Go's ParseBool. */
static int parse_bool(const char *s, bool *ret)
{
	static const char *const yes[] = {"1", "t", "T", "true", "True", "TRUE"};
	static const char *const no[] = {"0", "f", "F", "false", "False", "FALSE"};

	for (size_t i = 0; i < ARRAY_SIZE(yes); i++) {
		if (streq(s, yes[i]) || streq(s, no[i])) {
			*ret = streq(s, yes[i]);
			return 0;
		}
	}
	return -EINVAL;
}

static int set(struct cli *c, const struct option *o, const char *value)
{
	char *base = (char *)&c->o + o->offset;

	switch (o->type) {
	case OPT_BOOL:
		if (parse_bool(value, (bool *)(void *)base) == 0)
			return 0;
		break;
	case OPT_INT:
		if (str_to_i64(value, INT64_MIN, INT64_MAX, (int64_t *)(void *)base) == 0)
			return 0;
		break;
	case OPT_STRING:
		*(const char **)(void *)base = value;
		return 0;
	case OPT_LIST:
		strv_add((struct strv *)(void *)base, value);
		return 0;
	}
	cli_error("invalid argument \"%s\" for \"--%s\" flag", value, o->name);
	return -EINVAL;
}

/* "--name", "--name=value" or "--name value". Returns how many words it took, or -EINVAL. */
static int take_long(struct cli *c, const char *word, const char *next)
{
	const char *eq = strchr(word, '=');
	const struct option *o =
		find_long(word + 2, eq ? (size_t)(eq - word - 2) : strlen(word + 2));

	if (!o) {
		cli_error("unknown flag: %.*s", eq ? (int)(eq - word) : (int)strlen(word), word);
		return -EINVAL;
	}
	if (eq || o->type == OPT_BOOL)
		return set(c, o, eq ? eq + 1 : "true") < 0 ? -EINVAL : 1;
	if (!next) {
		cli_error("flag needs an argument: %s", word);
		return -EINVAL;
	}
	return set(c, o, next) < 0 ? -EINVAL : 2;
}

/* "-it", "-nNAME", "-n NAME", "-n=NAME". "-f" is --follow when the command is logs. */
static int take_short(struct cli *c, const char *word, const char *next, bool logs)
{
	for (const char *s = word + 1; *s; s++) {
		const struct option *o =
			logs && *s == 'f' ? find_long("follow", 6) : find_short(*s);

		if (!o) {
			cli_error("unknown shorthand flag: '%c' in %s", *s, word);
			return -EINVAL;
		}
		if (o->type == OPT_BOOL) {
			if (set(c, o, "true") < 0)
				return -EINVAL;
			continue;
		}
		if (s[1])
			return set(c, o, s + 1 + (s[1] == '=')) < 0 ? -EINVAL : 1;
		if (!next) {
			cli_error("flag needs an argument: '%c' in %s", *s, word);
			return -EINVAL;
		}
		return set(c, o, next) < 0 ? -EINVAL : 2;
	}
	return 1;
}

int options_parse(struct cli *c, int argc, char **argv, struct strv *words)
{
	c->o = (struct options){.tail = -1,
				.limit_bytes = -1,
				.replicas = -1,
				.current_replicas = -1,
				.grace_period = -1,
				.wait = true};
	for (int i = 1; i < argc;) {
		const char *next = i + 1 < argc ? argv[i + 1] : NULL;
		bool logs = words->n && streq(words->v[0], "logs");
		int n = 1;

		if (streq(argv[i], "--")) {
			while (++i < argc)
				strv_add(&c->after, argv[i]);
			break;
		}
		if (str_starts(argv[i], "--"))
			n = take_long(c, argv[i], next);
		else if (argv[i][0] == '-' && argv[i][1])
			n = take_short(c, argv[i], next, logs);
		else
			strv_add(words, argv[i]);
		if (n < 0)
			return -EINVAL;
		i += n;
	}
	c->o.ns_given = c->o.ns != NULL;
	if (!c->o.ns)
		c->o.ns = "default";
	return 0;
}

void options_done(struct cli *c)
{
	strv_done(&c->o.files);
	strv_done(&c->args);
	strv_done(&c->after);
}

void options_help(const char *accepted, FILE *out)
{
	auto_strv names = {0};
	auto_strbuf text = {0}, laid = {0};

	strv_split(&names, accepted, ' ');
	for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
		const struct option *o = &table[i];

		if (i > 2 && !strv_has(&names, o->name))
			continue;
		if (o->letter)
			strbuf_addf(&text, "  -%c, --%s", o->letter, o->name);
		else
			strbuf_addf(&text, "      --%s", o->name);
		strbuf_addf(&text, "%s%s\t%s\n", o->argument ? "=" : "",
			    o->argument ? o->argument : "", o->help);
	}
	tabwriter_format(text.s, 0, 2, &laid);
	fputs(laid.s, out);
}

/* Was the option set to something else than its default? */
static bool is_set(const struct options *o, const struct option *opt)
{
	const char *base = (const char *)o + opt->offset;

	switch (opt->type) {
	case OPT_BOOL:
		return *(const bool *)(const void *)base != streq(opt->name, "wait");
	case OPT_INT:
		return *(const int64_t *)(const void *)base > 0;
	case OPT_STRING:
		return *(const char *const *)(const void *)base != NULL;
	case OPT_LIST:
		return ((const struct strv *)(const void *)base)->n > 0;
	}
	return false;
}

int options_check(const struct cli *c, const char *command, const char *accepted)
{
	auto_strv names = {0};

	strv_split(&names, accepted, ' ');
	/* The first three belong to every command. */
	for (size_t i = 3; i < ARRAY_SIZE(table); i++) {
		if (!is_set(&c->o, &table[i]) || strv_has(&names, table[i].name))
			continue;
		cli_error("unknown flag: --%s\nSee 'coracle %s --help' for usage.", table[i].name,
			  command);
		return -EINVAL;
	}
	return 0;
}

void options_names(struct strv *ret)
{
	for (size_t i = 0; i < ARRAY_SIZE(table); i++)
		strv_addf(ret, "--%s", table[i].name);
}

int duration_parse(const char *text, int64_t *ret_seconds)
{
	static const struct {
		const char *unit;
		double seconds;
	} units[] = {{"ms", 0.001}, {"s", 1}, {"m", 60}, {"h", 3600}};
	double sum = 0;

	if (streq(text, "0")) {
		*ret_seconds = 0;
		return 0;
	}
	while (*text) {
		char *end;
		size_t i = 0, len;
		double v = strtod(text, &end);

		if (end == text || v < 0 || v > 1e9)
			return -EINVAL;
		len = strcspn(end, "0123456789.");
		while (i < ARRAY_SIZE(units) &&
		       (strlen(units[i].unit) != len || strncmp(units[i].unit, end, len) != 0))
			i++;
		if (i == ARRAY_SIZE(units))
			return -EINVAL;
		sum += v * units[i].seconds;
		text = end + len;
	}
	if (sum > 1e12)
		return -EINVAL;
	*ret_seconds = (int64_t)(sum + 0.999);
	return 0;
}
