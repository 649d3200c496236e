/* SPDX-License-Identifier: Apache-2.0 */
/* crilog: parser and filter of CRI log files. */
#include "crilog.h"

#define LINE_MAX_BYTES (1u << 20)

int crilog_parse(const char *line, size_t len, struct crilog_line *ret)
{
	const char *end = line + len;
	const char *stream = memchr(line, ' ', len), *tag, *text;

	if (!stream)
		return -EINVAL;
	ret->time = line;
	ret->time_len = (size_t)(stream++ - line);
	tag = memchr(stream, ' ', (size_t)(end - stream));
	if (!tag || tag - stream != 6 ||
	    (memcmp(stream, "stdout", 6) && memcmp(stream, "stderr", 6)))
		return -EINVAL;
	tag++;
	if (tag == end || (*tag != 'F' && *tag != 'P'))
		return -EINVAL;
	ret->partial = *tag == 'P';
	text = memchr(tag, ' ', (size_t)(end - tag));
	ret->text = text ? text + 1 : end;
	ret->len = (size_t)(end - ret->text);
	return 0;
}

static bool before(struct timespec a, struct timespec b)
{
	return a.tv_sec != b.tv_sec ? a.tv_sec < b.tv_sec : a.tv_nsec < b.tv_nsec;
}

static bool is_older(const struct crilog_filter *f, const struct crilog_line *l)
{
	char text[64];
	struct timespec ts;

	if (!f->since_set || l->time_len >= sizeof(text))
		return false;
	memcpy(text, l->time, l->time_len);
	text[l->time_len] = '\0';
	return time_parse(text, &ts) == 0 && before(ts, f->since);
}

static bool emit(struct crilog_filter *f, struct strbuf *out, const char *data, size_t len)
{
	if (f->limit >= 0 && (uint64_t)f->limit < len)
		len = (size_t)f->limit;
	strbuf_add(out, data, len);
	if (f->limit < 0)
		return true;
	f->limit -= (int64_t)len;
	return f->limit > 0;
}

static bool feed_line(struct crilog_filter *f, const char *line, size_t len, struct strbuf *out)
{
	struct crilog_line l;
	bool start = !f->in_line;

	if (crilog_parse(line, len, &l) < 0 || is_older(f, &l))
		return true;
	f->in_line = l.partial;
	if (f->timestamps && start) {
		if (!emit(f, out, l.time, l.time_len) || !emit(f, out, " ", 1))
			return false;
	}
	return emit(f, out, l.text, l.len) && (l.partial || emit(f, out, "\n", 1));
}

/* Keeps the unfinished end of the file's text, bounded. */
static void keep_rest(struct crilog_filter *f, const char *data, size_t len)
{
	size_t room =
		LINE_MAX_BYTES - (f->rest.len < LINE_MAX_BYTES ? f->rest.len : LINE_MAX_BYTES);

	strbuf_add(&f->rest, data, len < room ? len : room);
}

bool crilog_feed(struct crilog_filter *f, const char *data, size_t len, struct strbuf *out)
{
	const char *end = data + len;

	if (f->limit == 0)
		return false;
	while (data < end) {
		const char *nl = memchr(data, '\n', (size_t)(end - data));
		bool more;
		if (!nl) {
			keep_rest(f, data, (size_t)(end - data));
			break;
		}
		if (f->rest.len) {
			keep_rest(f, data, (size_t)(nl - data));
			more = feed_line(f, f->rest.s, f->rest.len, out);
			strbuf_reset(&f->rest);
		} else {
			more = feed_line(f, data, (size_t)(nl - data), out);
		}
		if (!more)
			return false;
		data = nl + 1;
	}
	return true;
}

void crilog_done(struct crilog_filter *f)
{
	strbuf_done(&f->rest);
}

size_t crilog_tail(const char *data, size_t len, int64_t n, int64_t *found)
{
	size_t end = len, keep = len;

	*found = 0;
	while (end > 0) {
		const char *nl = end > 1 ? memrchr(data, '\n', end - 1) : NULL;
		size_t start = nl ? (size_t)(nl - data) + 1 : 0;
		struct crilog_line l;
		size_t bare = end - start - (data[end - 1] == '\n');
		bool whole = crilog_parse(data + start, bare, &l) == 0 && !l.partial;
		if (whole && *found == n)
			break;
		*found += whole;
		keep = start;
		end = start;
	}
	return keep;
}
