/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HTTP parser: byte 0 says request or answer, byte 1 the size of the pieces. The same text read in
 * one piece must give the same messages and bodies.
 */
#include "../../src/http/parse.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct outcome {
	uint32_t hash;
	size_t body;
	unsigned messages;
	int code;
};

static struct outcome run(const char *text, size_t len, bool response, size_t piece)
{
	struct outcome o = {.hash = 2166136261u};
	struct http_parser p;
	size_t at = 0, end = 0, used, n;
	const char *body, *name, *value;

	http_parser_init(&p, response);
	for (;;) {
		enum http_step step = http_parser_step(&p, text + at, end - at, &used, &body, &n);

		at += used;
		if (step == HTTP_STEP_HEAD)
			for (unsigned i = 0; http_parser_header(&p, i, &name, &value); i++)
				o.hash = hash_fnv1a32(value, strlen(value), o.hash);
		if (step == HTTP_STEP_BODY) {
			o.hash = hash_fnv1a32(body, n, o.hash);
			o.body += n;
		}
		if (step == HTTP_STEP_DONE) {
			o.messages++;
			http_parser_next(&p);
		}
		if (step == HTTP_STEP_ERROR) {
			o.code = p.code;
			break;
		}
		if (step == HTTP_STEP_MORE && end == len)
			break;
		if (step == HTTP_STEP_MORE)
			end = len - end < piece ? len : end + piece;
	}
	http_parser_done(&p);
	return o;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < 3)
		return 0;
	const char *text = (const char *)data + 2;
	struct outcome whole = run(text, size - 2, data[0] & 1, size);
	struct outcome cut = run(text, size - 2, data[0] & 1, data[1] ? data[1] : 1);

	if (whole.hash != cut.hash || whole.body != cut.body || whole.messages != cut.messages)
		abort();
	return 0;
}
