/* SPDX-License-Identifier: Apache-2.0 */
/* JSON in C sources: single quotes stand for double ones, so that tables stay readable. */
#ifndef TESTS_JSON_OF_H
#define TESTS_JSON_OF_H

#include <coracle/json.h>
#include <setjmp.h>
#include <cmocka.h>

/* Any value; what is not JSON fails the test. */
static UNUSED json_t *json_of(const char *text)
{
	auto_free char *copy = xstrdup(text);
	json_error_t e;
	json_t *v;

	for (char *p = copy; *p; p++)
		*p = *p == '\'' ? '"' : *p;
	v = json_loads(copy, JSON_DECODE_ANY, &e);
	if (!v)
		fail_msg("%s: %s", e.text, copy);
	return v;
}

/* Both say the same, in whatever order. */
static UNUSED void assert_json(const json_t *have, const char *want_text)
{
	json_auto_t *want = json_of(want_text);
	auto_free char *a = json_dumps(have, JSON_ENCODE_ANY | JSON_SORT_KEYS);
	auto_free char *b = json_dumps(want, JSON_ENCODE_ANY | JSON_SORT_KEYS);

	assert_string_equal(a, b);
}

#endif
