/* SPDX-License-Identifier: Apache-2.0 */
/* Lines of JSON to the daemon. */
#include "worker.h"

static FILE *report_file;

void report_to(FILE *out)
{
	report_file = out;
}

static void line_write(const char *key, json_t *value)
{
	json_auto_t *line = json_pack("{s:o}", key, value);
	if (!report_file || !line)
		return;
	auto_free char *text = json_text(line, NULL);
	fprintf(report_file, "%s\n", text);
	fflush(report_file);
}

void report_progress(uint64_t done, uint64_t total, const char *what)
{
	static mono_t last;
	static char last_what[160];
	mono_t now = mono_now();
	if (!report_file || (streq(last_what, what) && mono_sub(now, last) < 100 * USEC_PER_MSEC))
		return;
	last = now;
	snprintf(last_what, sizeof(last_what), "%s", what);
	json_t *p = json_object();
	json_put_int(p, "done", (int64_t)done);
	json_put_int(p, "total", (int64_t)total);
	json_put_str(p, "what", last_what);
	line_write("progress", p);
}

void report_image(const json_t *report)
{
	line_write("image", json_deep_copy(report));
}

void report_warning(const char *text)
{
	line_write("warning", json_string(text));
}

void report_error(const struct err *err)
{
	json_t *e = json_object();
	json_put_str(e, "reason", err_reason_name(err->reason));
	json_put_str(e, "message", err_message(err));
	line_write("error", e);
}
