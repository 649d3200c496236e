/* SPDX-License-Identifier: Apache-2.0 */
/* Log lines to stderr: with sd-daemon(3) priorities under the journal, with the time elsewhere. */
#include <coracle/base.h>
#include <sys/stat.h>
#include <unistd.h>

static const struct {
	const char *name;
	char priority; /* syslog(3) severity */
} levels[] = {
	[LOG_LEVEL_ERROR] = {"error", '3'},
	[LOG_LEVEL_WARN] = {"warn", '4'},
	[LOG_LEVEL_INFO] = {"info", '6'},
	[LOG_LEVEL_DEBUG] = {"debug", '7'},
};

static enum log_level threshold = LOG_LEVEL_INFO;

/* True when stderr is connected to the journal: JOURNAL_STREAM is "device:inode" of it. */
static bool stderr_is_journal(void)
{
	static int known = -1;
	const char *env = getenv("JOURNAL_STREAM");
	unsigned long long dev, ino;
	struct stat st;

	if (known < 0)
		known = env && sscanf(env, "%llu:%llu", &dev, &ino) == 2 &&
			fstat(STDERR_FILENO, &st) == 0 && st.st_dev == dev && st.st_ino == ino;
	return known;
}

void log_write(enum log_level level, const char *fmt, ...)
{
	auto_strbuf b = {0};
	va_list ap;

	if (level > threshold)
		return;
	if (stderr_is_journal()) {
		strbuf_addf(&b, "<%c>", levels[level].priority);
	} else {
		char when[TIME_RFC3339_MAX];
		struct timespec ts;

		clock_gettime(CLOCK_REALTIME, &ts);
		strbuf_addf(&b, "%s %-5s ", time_format_micro(when, ts), levels[level].name);
	}
	va_start(ap, fmt);
	strbuf_vaddf(&b, fmt, ap);
	va_end(ap);
	for (size_t i = 0; i < b.len; i++)
		if (b.s[i] == '\n')
			b.s[i] = ' ';
	strbuf_addc(&b, '\n');
	if (write(STDERR_FILENO, b.s, b.len) < 0)
		return; /* nobody left to tell */
}

void log_set_level(enum log_level level)
{
	threshold = level;
}

enum log_level log_get_level(void)
{
	return threshold;
}

int log_level_parse(const char *text, enum log_level *ret)
{
	for (size_t i = 0; i < ARRAY_SIZE(levels); i++)
		if (streq(text, levels[i].name)) {
			*ret = (enum log_level)i;
			return 0;
		}
	return -EINVAL;
}
