/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Elastic tab stops: a column is a run of neighbouring lines that have a cell there, and is as wide
 * as its widest cell. The rules are those of Go's text/tabwriter, so that the layout is kubectl's.
 */
#include "internal.h"

struct cell {
	const char *s;
	size_t len, width; /* bytes; characters */
};

struct row {
	struct cell *cells;
	size_t n;
};

struct writer {
	struct row *rows;
	size_t n_rows;
	size_t min_width, padding;
	size_t *widths; /* of the columns open at the moment */
	size_t n_widths;
	struct strbuf *out;
};

/* Characters of UTF-8 text. */
static size_t text_width(const char *s, size_t len)
{
	size_t n = 0;

	for (size_t i = 0; i < len; i++)
		n += ((unsigned char)s[i] & 0xC0) != 0x80;
	return n;
}

static void add_cell(struct row *r, const char *s, size_t len)
{
	r->cells = xrealloc(r->cells, r->n + 1, sizeof(*r->cells));
	r->cells[r->n++] = (struct cell){s, len, text_width(s, len)};
}

static void split(struct writer *w, const char *text)
{
	while (*text) {
		size_t line = strcspn(text, "\n");
		const char *end = text + line;
		struct row r = {0};

		for (;;) {
			const char *tab = memchr(text, '\t', (size_t)(end - text));

			add_cell(&r, text, (size_t)((tab ? tab : end) - text));
			if (!tab)
				break;
			text = tab + 1;
		}
		w->rows = xrealloc(w->rows, w->n_rows + 1, sizeof(*w->rows));
		w->rows[w->n_rows++] = r;
		text = *end ? end + 1 : end;
	}
}

static void write_rows(struct writer *w, size_t from, size_t to)
{
	for (; from < to; from++) {
		const struct row *r = &w->rows[from];

		for (size_t j = 0; j < r->n; j++) {
			strbuf_add(w->out, r->cells[j].s, r->cells[j].len);
			/* The last cell of a line belongs to no column. */
			if (j + 1 == r->n || j >= w->n_widths)
				continue;
			for (size_t i = r->cells[j].width; i < w->widths[j]; i++)
				strbuf_addc(w->out, ' ');
		}
		strbuf_addc(w->out, '\n');
	}
}

/* Lays out the lines from..to, whose columns left of n_widths have their widths already. */
static void format(struct writer *w, size_t from, size_t to)
{
	size_t column = w->n_widths;

	for (size_t at = from; at < to; at++) {
		size_t width = w->min_width;

		if (column + 1 >= w->rows[at].n)
			continue;
		write_rows(w, from, at);
		from = at;
		for (; at < to && column + 1 < w->rows[at].n; at++) {
			size_t need = w->rows[at].cells[column].width + w->padding;

			width = need > width ? need : width;
		}
		w->widths = xrealloc(w->widths, w->n_widths + 1, sizeof(*w->widths));
		w->widths[w->n_widths++] = width;
		format(w, from, at);
		w->n_widths--;
		from = at;
		at--;
	}
	write_rows(w, from, to);
}

void tabwriter_format(const char *text, size_t min_width, size_t padding, struct strbuf *out)
{
	struct writer w = {.min_width = min_width, .padding = padding, .out = out};

	split(&w, text ? text : "");
	format(&w, 0, w.n_rows);
	for (size_t i = 0; i < w.n_rows; i++)
		free(w.rows[i].cells);
	free(w.rows);
	free(w.widths);
	if (!out->s)
		strbuf_adds(out, "");
}
