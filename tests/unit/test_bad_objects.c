/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Objects that must be refused, with Kubernetes' reason, fields and words: the tables in
 * tests/unit/bad-objects, one a group of the API. A table is a YAML list of cases:
 *
 *   name: <text>
 *   object: <object>                    what is created; or base and patch
 *   base: <name>, patch: <merge patch>  an object of `bases`, and what is different in it
 *   namespace: <ns>                     of the request; default "default"
 *   update: <object>                    put over what was created: it is this that is refused
 *   change: <merge patch>               the same, as what is different
 *   before: <merge patch>               what was changed before that, which must be good
 *   subresource: <name>                 of the update
 *   want:
 *     reason: <reason>, code: <HTTP code>
 *     message: <text>                   of the whole error; default: not compared
 *     causes: [{field: , reason: , message: }, ...]   exactly these, in any order
 *
 * The first item may be `bases: {<name>: <a good object>}`. "*" in a message stands for anything.
 * Each case goes the way of a request: strict decoding, then the registry; and what was refused
 * must have left no trace.
 */
#include "registry_fixture.h"
#include <fnmatch.h>
#include <glob.h>

#define TEXT_MAX (1 << 20)

static struct store *store;
static size_t n_cases, n_failed;

static json_t *load(const char *path)
{
	auto_free char *text = NULL;
	auto_err err = {0};
	size_t len;
	json_t *docs, *list;

	if (file_read(path, TEXT_MAX, &text, &len) < 0)
		fail_msg("cannot read %s", path);
	docs = yaml_parse_all(text, len, &err);
	if (!docs)
		fail_msg("%s: %s", path, err_message(&err));
	list = json_incref(json_array_get(docs, 0));
	json_decref(docs);
	assert_true(json_is_array(list));
	return list;
}

/* "*" in pattern is anything; all else stands for itself. */
static bool matches(const char *pattern, const char *text)
{
	auto_strbuf b = {0};

	for (const char *p = pattern; *p; p++) {
		if (*p != '*' && strchr("[]?\\", *p))
			strbuf_addc(&b, '\\');
		strbuf_addc(&b, *p);
	}
	return fnmatch(b.s ? b.s : "", text, 0) == 0;
}

static void report(const char *file, const json_t *test, const struct err *err, const char *what)
{
	auto_free char *text = json_text(test, NULL);

	n_failed++;
	print_error("%s: %s\n  %s\n  got: %s: %s\n", file, what, text, err_reason_name(err->reason),
		    err_message(err));
	for (size_t i = 0; i < err->n_causes; i++)
		print_error("    %s | %s\n", err->causes[i].field ? err->causes[i].field : "",
			    err->causes[i].message);
}

static bool is_cause(const struct err_cause *cause, const json_t *want)
{
	return str_eq(cause->field, json_str(want, "field", "")) &&
	       str_eq(cause->reason, json_str(want, "reason", "")) &&
	       matches(json_str(want, "message", ""), cause->message);
}

static bool causes_match(const json_t *list, const struct err *err)
{
	auto_free bool *used = xcalloc(err->n_causes + 1, sizeof(*used));
	json_t *want;
	size_t i;

	json_array_foreach(list, i, want)
	{
		size_t j = 0;

		while (j < err->n_causes && (used[j] || !is_cause(&err->causes[j], want)))
			j++;
		if (j == err->n_causes)
			return false;
		used[j] = true;
	}
	return !list || json_array_size(list) == err->n_causes;
}

static void check_error(const char *file, const json_t *test, const struct err *err)
{
	const json_t *want = json_object_get(test, "want");
	const char *message = json_str(want, "message", NULL);

	if (!streq(json_str(want, "reason", ""), err_reason_name(err->reason)))
		report(file, test, err, "another reason");
	else if (json_int(want, "code", 0) != err_http_code(err))
		report(file, test, err, "another code");
	else if (message && !matches(message, err_message(err)))
		report(file, test, err, "another message");
	else if (!causes_match(json_object_get(want, "causes"), err))
		report(file, test, err, "other causes");
}

static const struct kind *kind_of(const json_t *obj)
{
	const struct kind *k =
		kind_by_name(json_str(obj, "apiVersion", ""), json_str(obj, "kind", ""));

	if (!k)
		fail_msg("no kind %s %s", json_str(obj, "apiVersion", ""),
			 json_str(obj, "kind", ""));
	return k;
}

static json_t *decode(const struct kind *k, const json_t *obj, struct err *err)
{
	auto_free char *what = xasprintf("%s in version \"%s\"", k->kind, k->version);
	auto_strv warnings = {0};
	size_t len;
	auto_free char *text = json_text(obj, &len);

	return schema_decode_json(k->message, what, text, len, FIELDS_STRICT, &warnings, err);
}

static int try_body(const struct kind *k, const json_t *test, const json_t *obj,
		    const struct object **ret, struct err *err)
{
	const char *ns = k->namespaced ? json_str(test, "namespace", "default") : "";
	struct write_options o = {0};
	json_auto_t *body = decode(k, obj, err);

	return body ? registry_create(reg, k, ns, body, &o, ret, err) : -EINVAL;
}

static int update(const struct object *o, const json_t *test, const json_t *change,
		  const struct object **ret, struct err *err)
{
	json_t *whole = json_object_get(test, "update");
	json_auto_t *changed = change ? patch_merge(object_json(o), change) : json_deep_copy(whole);
	struct write_options options = {0};
	json_auto_t *body = decode(o->kind, changed, err);

	if (!body)
		return -EINVAL;
	return registry_update(reg, o->kind, json_str(test, "subresource", NULL), o->ns, o->name,
			       body, &options, ret, NULL, err);
}

/* No controller is there that would let go of what has finalizers. */
static void remove_object(const struct object *o)
{
	struct write_options options = {.grace_seconds = 0, .propagation = "Background"};
	const struct object *left;
	bool gone;
	auto_err err = {0};

	if (registry_delete(reg, o->kind, o->ns, o->name, &options, &left, &gone, &err) < 0)
		fail_msg("delete: %s", err_message(&err));
	if (gone)
		return;
	json_auto_t *obj = object_dup(left);

	json_drop(obj, "metadata.finalizers");
	if (registry_update(reg, left->kind, NULL, left->ns, left->name, obj, &options, NULL, NULL,
			    &err) < 0)
		fail_msg("finalizers: %s", err_message(&err));
}

static json_t *object_of(const char *file, const json_t *test, const json_t *bases)
{
	json_t *obj = json_object_get(test, "object"), *patch = json_object_get(test, "patch");

	if (!obj)
		obj = json_object_get(bases, json_str(test, "base", ""));
	if (!obj)
		fail_msg("%s: no object for %s", file, json_str(test, "name", ""));
	return patch ? patch_merge(obj, patch) : json_deep_copy(obj);
}

static void run_case(const char *file, const json_t *test, const json_t *bases)
{
	json_auto_t *obj = object_of(file, test, bases);
	const struct object *made = NULL;
	const struct kind *k;
	uint64_t rev;
	auto_err err = {0};
	int rc;

	k = kind_of(obj);
	n_cases++;
	rev = store_rev(store);
	rc = try_body(k, test, obj, &made, &err);
	if (json_object_get(test, "update") || json_object_get(test, "change")) {
		if (rc < 0) {
			report(file, test, &err, "the base is refused");
			return;
		}
		if (json_object_get(test, "before") &&
		    update(made, test, json_object_get(test, "before"), &made, &err) < 0)
			report(file, test, &err, "what comes before is refused");
		err_done(&err);
		rev = store_rev(store);
		rc = update(made, test, json_object_get(test, "change"), NULL, &err);
	}
	if (rc == 0)
		report(file, test, &err, "not refused");
	else
		check_error(file, test, &err);
	if (rc < 0 && store_rev(store) != rev)
		report(file, test, &err, "something was written");
	if (made)
		remove_object(made);
}

/* A base must be good, or its cases say nothing. */
static void check_bases(const char *file, const json_t *bases)
{
	const char *name;
	json_t *base;

	json_object_foreach((json_t *)(uintptr_t)bases, name, base)
	{
		const struct object *made = NULL;
		auto_err err = {0};

		if (try_body(kind_of(base), bases, base, &made, &err) < 0)
			report(file, base, &err, "the base is refused");
		else
			remove_object(made);
	}
}

static void run_file(const char *path)
{
	json_auto_t *list = load(path);
	json_t *bases = json_object_get(json_array_get(list, 0), "bases"), *test;
	size_t i;

	check_bases(path, bases);
	json_array_foreach(list, i, test) if (!json_object_get(test, "bases"))
		run_case(path, test, bases);
}

static void test_bad_objects(void **state)
{
	struct fixture *f = *state;
	glob_t found = {0};

	store = f->store;
	assert_int_equal(glob(SRCDIR "/tests/unit/bad-objects/*.yaml", 0, NULL, &found), 0);
	for (size_t i = 0; i < found.gl_pathc; i++)
		run_file(found.gl_pathv[i]);
	globfree(&found);
	print_message("%zu bad objects, %zu of them not refused as they should be\n", n_cases,
		      n_failed);
	assert_int_equal(n_failed, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_bad_objects, setup_registry,
						teardown_registry),
	};

	log_set_level(LOG_LEVEL_WARN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
