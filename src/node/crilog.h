/* SPDX-License-Identifier: Apache-2.0 */
/*
 * crilog: the CRI log format ("2016-10-06T00:17:09.669794202Z stdout F text") turned into what
 * `kubectl logs` prints. Pure: bytes in, bytes out.
 */
#ifndef CORACLE_NODE_CRILOG_H
#define CORACLE_NODE_CRILOG_H

#include <coracle/base.h>

struct crilog_line {
	const char *time;
	size_t time_len;
	bool partial; /* the text goes on in the next line of the same stream */
	const char *text;
	size_t len;
};
/* line: without the newline. -EINVAL when it is none of ours. */
int crilog_parse(const char *line, size_t len, struct crilog_line *ret) MUST_CHECK;

/* Filter from file bytes to output bytes. */
struct crilog_filter {
	bool timestamps;
	bool since_set;
	struct timespec since;
	int64_t limit;	    /* bytes still allowed, -1: any */
	bool in_line;	    /* the last piece was partial */
	struct strbuf rest; /* an unfinished line of the file */
};
/* Appends to out; false once the limit is reached. Lines longer than 1 MiB are cut. */
bool crilog_feed(struct crilog_filter *f, const char *data, size_t len, struct strbuf *out);
void crilog_done(struct crilog_filter *f);

/* Offset in data (the end part of a file) where the last n whole lines begin; *found: how many
 * lines there are from it on. Partial pieces count with their last one. */
size_t crilog_tail(const char *data, size_t len, int64_t n, int64_t *found);

#endif
