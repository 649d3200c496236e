/* SPDX-License-Identifier: Apache-2.0 */
#include <coracle/json.h>
#include <setjmp.h>
#include <cmocka.h>
#include <unistd.h>

static void test_err(void **state UNUSED)
{
	auto_err e = {0}, copy = {0};

	assert_int_equal(err_set(&e, ERR_NOT_FOUND, "pods \"%s\" not found", "x"), -ENOENT);
	assert_int_equal(err_http_code(&e), 404);
	assert_string_equal(err_reason_name(e.reason), "NotFound");
	assert_int_equal(err_wrap(&e, -ENOENT, "while %s", "testing"), -ENOENT);
	assert_string_equal(e.message, "while testing: pods \"x\" not found");
	err_cause_add(&e, "FieldValueRequired", "spec.x", "Required value");
	err_about(&e, "pods", NULL, "x");
	err_copy(&copy, &e);
	assert_int_equal(copy.n_causes, 1);
	assert_string_equal(copy.causes[0].field, "spec.x");
	assert_string_equal(copy.kind, "pods");
	assert_int_equal(err_set(NULL, ERR_CONFLICT, "nobody listens"), -ESTALE);
	assert_int_equal(err_errno(&e, ENOSPC, "write"), -ENOSPC);
	assert_int_equal(err_http_code(&e), 507);
}

static void test_strings(void **state UNUSED)
{
	auto_strbuf b = {0};
	auto_strv v = {0};
	int64_t i;
	uint64_t u;

	for (int n = 0; n < 100; n++)
		strbuf_addf(&b, "%d,", n);
	assert_int_equal(b.len, 290);
	strv_split(&v, ",a,,bc,", ',');
	assert_int_equal(v.n, 2);
	assert_string_equal(v.v[1], "bc");
	assert_true(strv_has(&v, "a") && !strv_has(&v, ""));
	assert_int_equal(str_to_i64("-5", -10, 10, &i), 0);
	assert_int_equal(i, -5);
	assert_int_equal(str_to_i64("11", -10, 10, &i), -ERANGE);
	assert_int_equal(str_to_i64("1x", -10, 10, &i), -EINVAL);
	assert_int_equal(str_to_i64("", -10, 10, &i), -EINVAL);
	assert_int_equal(str_to_u64("18446744073709551616", UINT64_MAX, &u), -ERANGE);
	assert_int_equal(str_to_u64("-1", UINT64_MAX, &u), -EINVAL);
	assert_true(str_ends("pods.apps", ".apps") && !str_ends("s", ".apps"));
}

static void test_map(void **state UNUSED)
{
	struct map m = {0};
	static int values[1000];
	size_t i = 0, seen = 0;
	const char *key;
	void *value;
	char name[16];

	for (int n = 0; n < 1000; n++) {
		snprintf(name, sizeof(name), "k%d", n);
		assert_null(map_put(&m, name, &values[n]));
	}
	while (map_next(&m, &i, &key, &value))
		if (++seen && seen % 2)
			map_del(&m, key);
	assert_int_equal(seen, 1000);
	assert_int_equal(m.n, 500);
	for (int round = 0; round < 5000; round++) { /* tombstones do not pile up */
		map_put(&m, "again", &values[0]);
		map_del(&m, "again");
	}
	assert_true(m.cap <= 4096);
	assert_null(map_get(&m, "none"));
	map_done(&m);
}

static void test_time(void **state UNUSED)
{
	static const struct {
		const char *text;
		int64_t sec;
		long nsec;
	} good[] = {
		{"1970-01-01T00:00:00Z", 0, 0},
		{"2026-11-24T03:04:05.000000007Z", 1795489445, 7},
		{"2026-11-24T05:04:05+02:00", 1795489445, 0},
		{"0001-01-01T00:00:00Z", -62135596800, 0},
	};
	static const char *const bad[] = {"",
					  "2026-11-24",
					  "2026-13-01T00:00:00Z",
					  "2026-11-24T03:04:05",
					  "2026-11-24T03:04:05Zx",
					  "2026-11-24T03:04:05.Z",
					  "2026-11-24T25:04:05Z"};
	char buf[TIME_RFC3339_MAX];
	struct timespec ts;

	for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
		assert_int_equal(time_parse(good[i].text, &ts), 0);
		assert_int_equal(ts.tv_sec, good[i].sec);
		assert_int_equal(ts.tv_nsec, good[i].nsec);
	}
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(time_parse(bad[i], &ts), -EINVAL);
	assert_string_equal(time_format(buf, 1795489445), "2026-11-24T03:04:05Z");
	assert_string_equal(time_format(buf, -62135596800), "0001-01-01T00:00:00Z");
	assert_string_equal(time_format_micro(buf, (struct timespec){2, 5000}),
			    "1970-01-01T00:00:02.000005Z");
}

static void test_encodings(void **state UNUSED)
{
	auto_free char *text = base64_encode("hello", 5);
	unsigned char *data;
	size_t len;
	char hex[65];

	assert_string_equal(text, "aGVsbG8=");
	assert_int_equal(base64_decode("aGVsbG8=", 8, &data, &len), 0);
	assert_int_equal(len, 5);
	assert_string_equal((char *)data, "hello");
	free(data);
	assert_int_equal(base64_decode("", 0, &data, &len), 0);
	assert_int_equal(len, 0);
	free(data);
	assert_int_equal(base64_decode("aGVsbG8", 7, &data, &len), -EINVAL);
	assert_int_equal(base64_decode("aG=sbG8=", 8, &data, &len), -EINVAL);
	assert_int_equal(base64_decode(" GVsbG8=", 8, &data, &len), -EINVAL);
	sha256_hex("", 0, hex);
	assert_string_equal(hex,
			    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
}

static void test_files(void **state UNUSED)
{
	char dir[] = "/tmp/coracle-base-XXXXXX";
	auto_free char *deep = NULL, *file = NULL, *text = NULL;
	size_t len;

	assert_non_null(mkdtemp(dir));
	deep = path_join(dir, "a/b/c");
	assert_int_equal(mkdir_p(deep, 0755), 0);
	file = path_join(deep, "f");
	assert_int_equal(file_write_atomic(file, "text", 4, 0600, true), 0);
	assert_int_equal(file_read(file, 3, &text, &len), -EFBIG);
	assert_int_equal(file_read(file, 4, &text, &len), 0);
	assert_string_equal(text, "text");
	assert_int_equal(mkdir_p(file, 0755), -ENOTDIR);
	assert_int_equal(symlink("/", dir) < 0, 1);
	assert_int_equal(rm_rf(dir), 0);
	assert_int_equal(access(dir, F_OK), -1);
	assert_int_equal(rm_rf(dir), 0);
}

static void test_json(void **state UNUSED)
{
	json_auto_t *v = json_object();
	auto_free char *text = NULL;
	auto_err e = {0};

	json_put_str(v, "metadata.name", "x");
	json_put_int(v, "spec.replicas", 3);
	json_put_bool(v, "spec.paused", false);
	assert_int_equal(json_int(v, "spec.replicas", 0), 3);
	assert_string_equal(meta_name(v), "x");
	assert_string_equal(meta_ns(v), "");
	assert_null(json_at(v, "spec.replicas.x"));
	json_drop(v, "spec.paused");
	json_drop(v, "nothing.here");
	text = json_text(v, NULL);
	assert_string_equal(text, "{\"metadata\":{\"name\":\"x\"},\"spec\":{\"replicas\":3}}");
	assert_null(json_parse("{\"a\":", 5, &e));
	assert_string_equal(e.message, "unexpected end of JSON input");
	assert_null(json_parse("{a}", 3, &e));
}

/* Our writer and parser against jansson's, on what is awkward. */
/* What strangers send is bounded, what we have written ourselves is not. */
static void test_json_bounds(void **state UNUSED)
{
	auto_strbuf map = {0}, key = {0};
	auto_err values = {0}, members = {0}, length = {0};

	assert_null(json_scan("[1, 2, 3]", 9, 3, NULL, &values));
	assert_string_equal(values.message, "the object holds more than 3 values");
	for (size_t i = 0; i <= JSON_MEMBERS_MAX; i++)
		strbuf_addf(&map, "%s\"k%zu\": 1", i ? ", " : "{", i);
	strbuf_addc(&map, '}');
	assert_null(json_scan(map.s, map.len, 1000000, NULL, &members));
	assert_string_equal(members.message, "a map of the object holds more than 32000 values");
	strbuf_adds(&key, "{\"");
	while (key.len < 3 + JSON_KEY_MAX)
		strbuf_addc(&key, 'k');
	strbuf_adds(&key, "\": 1}");
	assert_null(json_scan(key.s, key.len, 10, NULL, &length));
	assert_string_equal(length.message, "a key of the object is longer than 65536 bytes");
	assert_int_equal(length.reason, ERR_REQUEST_TOO_LARGE);
	json_auto_t *a = json_parse(map.s, map.len, NULL), *b = json_parse(key.s, key.len, NULL);

	assert_int_equal(json_object_size(a), JSON_MEMBERS_MAX + 1);
	assert_int_equal(json_object_size(b), 1);
}

static void test_json_text(void **state UNUSED)
{
	static const char *const texts[] = {
		"{}",
		"[]",
		"\"\"",
		"{\"a\":[1,-2,9223372036854775807,1.5,1e300,true,false,null,{},[]]}",
		"{\"b\":{\"c\":\"d\"}}",
		"\"plain text of more than eight bytes\"",
		"\"1234567\\\"\"",
		"\"12345678\\\\9\\n\\t\\r\\b\\f/\\u0001\\u001f\"",
		"\"\303\244\342\202\254\360\237\230\200 and ascii behind it\"",
		"{\"key \\\"quoted\\\"\":\"\\u00e4\\ud83d\\ude00\"}",
	};

	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		json_auto_t *ours = json_parse(texts[i], strlen(texts[i]), NULL);
		json_auto_t *theirs = json_loads(texts[i], JSON_DECODE_ANY, NULL);
		auto_free char *a = json_text(ours, NULL);
		char *b = json_dumps(theirs, JSON_COMPACT | JSON_ENCODE_ANY);

		assert_true(json_equal(ours, theirs));
		assert_string_equal(a, b);
		free(b);
	}
	for (size_t i = 0; i <= 20; i++) {
		char text[] = "abcdefghijklmnopqrst";

		assert_int_equal(json_plain_len(text, 20, true), 20);
		if (i < 20)
			text[i] = i % 3 ? '"' : '\x1f';
		assert_int_equal(json_plain_len(text, 20, false), i);
	}
	assert_int_equal(json_plain_len("123456789\303\244", 11, true), 9);
	assert_int_equal(json_plain_len("123456789\303\244", 11, false), 11);
}

static void test_json_text_find(void **state UNUSED)
{
	const char *text =
		"{\"data\":{\"metadata\":\"{\\\"x\\\":1}\",\"e\":[[],{\"f\":2}]},\"metadata\":"
		"{\"name\":\"a\",\"resourceVersion\":\"17\",\"z\":-1.5},\"last\":true}";
	const struct {
		const char *path, *want;
	} cases[] = {{"metadata.resourceVersion", "\"17\""},
		     {"metadata.z", "-1.5"},
		     {"last", "true"},
		     {"data.e", "[[],{\"f\":2}]"},
		     {"data.x", NULL},
		     {"metadata.name.x", NULL},
		     {"m", NULL}};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const char *at = NULL;
		size_t n = 0;
		bool found = json_text_find(text, strlen(text), cases[i].path, &at, &n);

		assert_int_equal(found, cases[i].want != NULL);
		if (found) {
			assert_int_equal(n, strlen(cases[i].want));
			assert_memory_equal(at, cases[i].want, n);
		}
	}
}

static void rows(void *arg UNUSED, json_t *out)
{
	json_array_append_new(out, json_object());
}

static void test_show(void **state UNUSED)
{
	json_t *names, *got;

	show_register("b", rows, NULL);
	show_register("a", rows, NULL);
	names = show_names();
	assert_int_equal(json_array_size(names), 2);
	assert_string_equal(json_string_value(json_array_get(names, 0)), "a");
	json_decref(names);
	got = show_rows("a");
	assert_int_equal(json_array_size(got), 1);
	json_decref(got);
	show_unregister("a");
	assert_null(show_rows("a"));
	show_unregister("b");
}

static void figures(void *arg, struct strbuf *out)
{
	metric_one(out, "a_total", "counter", "Of a.", 3);
	metric_family(out, "b", "gauge", "Of b.");
	metric_put(out, "b", 0.25, "name", "x\"\\\ny", "other", NULL, NULL);
	metric_put(out, "b", 9007199254740991.0, NULL);
	++*(int *)arg;
}

static void test_metrics(void **state UNUSED)
{
	auto_strbuf b = {0};
	int called = 0;

	metrics_register("a", figures, &called);
	metrics_collect(&b);
	assert_int_equal(called, 1);
	assert_non_null(strstr(b.s, "\nprocess_resident_memory_bytes "));
	assert_non_null(strstr(b.s, "# HELP a_total Of a.\n# TYPE a_total counter\na_total 3\n"));
	assert_non_null(strstr(b.s, "b{name=\"x\\\"\\\\\\ny\",other=\"\"} 0.25\n"));
	metrics_unregister("a");
	strbuf_reset(&b);
	metrics_collect(&b);
	assert_int_equal(called, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_err),	  cmocka_unit_test(test_strings),
		cmocka_unit_test(test_map),	  cmocka_unit_test(test_time),
		cmocka_unit_test(test_encodings), cmocka_unit_test(test_files),
		cmocka_unit_test(test_json),	  cmocka_unit_test(test_json_bounds),
		cmocka_unit_test(test_json_text), cmocka_unit_test(test_json_text_find),
		cmocka_unit_test(test_show),	  cmocka_unit_test(test_metrics),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
