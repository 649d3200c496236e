/* SPDX-License-Identifier: Apache-2.0 */
/* Requests that are handled by tasks: the part of test_api.c about large objects. */
#ifndef TEST_API_LARGE_H
#define TEST_API_LARGE_H

enum { KEYS = 20000 };

static char *many_keys(const char *more)
{
	auto_strbuf b = {0};

	strbuf_addf(&b, "{%s\"data\":{", more);
	for (int i = 0; i < KEYS; i++)
		strbuf_addf(&b, "%s\"k%d\":\"value %d\"", i ? "," : "", i, i);
	strbuf_adds(&b, "}}");
	return strbuf_steal(&b);
}

static void make_large(struct fixture *f)
{
	auto_free char *body = many_keys("\"metadata\":{\"name\":\"big\"},");

	expect(f, 201, ask(f, "POST", CMS, body));
	assert_int_equal(json_object_size(json_object_get(f->json, "data")), KEYS);
}

static struct call *under_way(struct fixture *f)
{
	list_foreach (&f->api->calls, c, struct call, node)
		if (c->aside && c->task.state == TASK_BEGUN)
			return c;
	return NULL;
}

/* Sends a request and goes on until a task is at it; returns its call. */
static struct call *begin(struct fixture *f, const char *method, const char *path, const char *type,
			  const char *body, struct http_call **ret)
{
	const char *headers[] = {"Content-Type", type, NULL};
	struct http_call_config c = {.to = f->socket,
				     .method = method,
				     .path = path,
				     .headers = headers,
				     .body = body,
				     .body_len = strlen(body),
				     .timeout_us = LIMIT};
	auto_err err = {0};

	forget_answer(f);
	*ret = http_call(f->loop, &c, &ops, f, &err);
	assert_non_null(*ret);
	for (int i = 0; i < 10000 && !f->done && !under_way(f); i++)
		assert_int_equal(loop_once(f->loop), 0);
	assert_non_null(under_way(f));
	return under_way(f);
}

static void finish(struct fixture *f)
{
	assert_int_equal(loop_run_until(f->loop, &f->done, 2 * LIMIT), 0);
	if (f->text.len && *f->text.s == '{')
		f->json = json_parse(f->text.s, f->text.len, NULL);
}

/* A write by somebody else; which: the label. */
static void overtake(struct fixture *f, const char *label)
{
	const struct object *o = store_get(f->store, &kind_configmap, "default", "big");
	json_auto_t *obj = object_dup(o);
	struct write_options w = {0};
	auto_err err = {0};

	json_object_set_new(json_obj(obj, "metadata.labels"), label, json_string("set"));
	assert_int_equal(registry_update(f->registry, &kind_configmap, NULL, "default", "big", obj,
					 &w, NULL, NULL, &err),
			 0);
}

static void expect_both(struct fixture *f, const char *label)
{
	assert_int_equal(f->code, 200);
	assert_string_equal(json_str(f->json, "metadata.labels.mine", ""), "yes");
	assert_string_equal(meta_label(f->json, label), "set");
	assert_int_equal(json_object_size(json_object_get(f->json, "data")), KEYS);
}

/* What is computed for long is not lost to who writes in the meantime, and does not undo that. */
static void test_overtaken(void **state)
{
	static const struct {
		const char *method, *type, *query, *body;
	} ways[] = {
		{"PATCH", "application/merge-patch+json", "",
		 "{\"metadata\":{\"resourceVersion\":null,\"labels\":{\"mine\":\"yes\"}}}"},
		{"PATCH", "application/json-patch+json", "",
		 "[{\"op\":\"add\",\"path\":\"/metadata/labels/mine\",\"value\":\"yes\"}]"},
		{"PATCH", "application/strategic-merge-patch+json", "",
		 "{\"metadata\":{\"labels\":{\"mine\":\"yes\"}}}"},
		{"PATCH", "application/apply-patch+yaml", "?fieldManager=me",
		 "{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{\"labels\":"
		 "{\"mine\":\"yes\"}}}"},
	};
	struct fixture *f = *state;
	struct http_call *call;

	make_large(f);
	overtake(f, "l0");
	for (size_t i = 0; i < ARRAY_SIZE(ways); i++) {
		auto_free char *path = xasprintf(CMS "/big%s", ways[i].query);
		char label[2][8];
		struct call *c;

		snprintf(label[0], sizeof(label[0]), "l%zu", 2 * i + 1);
		snprintf(label[1], sizeof(label[1]), "l%zu", 2 * i + 2);
		expect(f, 200,
		       patch(f, CMS "/big", "application/merge-patch+json",
			     "{\"metadata\":{\"labels\":{\"mine\":null}}}"));
		c = begin(f, ways[i].method, path, ways[i].type, ways[i].body, &call);
		overtake(f, label[0]);
		for (int n = 0; n < 100000 && c->attempts == 0; n++)
			assert_int_equal(loop_once(f->loop), 0);
		overtake(f, label[1]); /* and once more */
		finish(f);
		expect_both(f, label[0]);
		expect_both(f, label[1]);
	}
}

/* A PUT that names its revision is refused, one that does not is the last word. */
static void test_overtaken_put(void **state)
{
	struct fixture *f = *state;
	struct http_call *call;

	make_large(f);
	auto_free char *meta =
		xasprintf("\"metadata\":{\"name\":\"big\",\"resourceVersion\":\"%s\"},",
			  json_str(f->json, "metadata.resourceVersion", ""));
	auto_free char *body = many_keys(meta);
	auto_free char *blind = many_keys("\"metadata\":{\"name\":\"big\"},");

	begin(f, "PUT", CMS "/big", "application/json", body, &call);
	overtake(f, "first");
	finish(f);
	assert_int_equal(f->code, 409);
	begin(f, "PUT", CMS "/big", "application/json", blind, &call);
	overtake(f, "second");
	finish(f);
	assert_int_equal(f->code, 200);
	assert_null(json_at(f->json, "metadata.labels"));
	/* Gone in the middle of it. */
	begin(f, "PUT", CMS "/big", "application/json", body, &call);
	const struct object *o;
	bool gone;
	struct write_options w = {0};
	auto_err err = {0};

	assert_int_equal(registry_delete(f->registry, &kind_configmap, "default", "big", &w, &o,
					 &gone, &err),
			 0);
	finish(f);
	assert_true(f->code == 409 || f->code == 404);
}

/* A finalizer comes while a delete is computed: the object stays, and both are in it. */
static void test_overtaken_delete(void **state)
{
	struct fixture *f = *state;
	struct http_call *call;

	make_large(f);
	begin(f, "DELETE", CMS "/big", "application/json", "{\"kind\":\"DeleteOptions\"}", &call);
	json_auto_t *obj = object_dup(store_get(f->store, &kind_configmap, "default", "big"));
	struct write_options w = {0};
	auto_err err = {0};

	json_put(obj, "metadata.finalizers", json_pack("[s]", "example.com/hold"));
	assert_int_equal(registry_update(f->registry, &kind_configmap, NULL, "default", "big", obj,
					 &w, NULL, NULL, &err),
			 0);
	finish(f);
	assert_int_equal(f->code, 200);
	expect(f, 200, ask(f, "GET", CMS "/big", NULL));
	assert_true(meta_deleting(f->json));
	assert_int_equal(json_len(f->json, "metadata.finalizers"), 1);
	assert_int_equal(json_object_size(json_object_get(f->json, "data")), KEYS);
}

/* Two creates of one name: the one that is through first has it. */
static void test_created_twice(void **state)
{
	struct fixture *f = *state;
	struct http_call *call;
	auto_free char *body = many_keys("\"metadata\":{\"name\":\"big\"},");

	begin(f, "POST", CMS, "application/json", body, &call);
	json_auto_t *obj = json_pack("{s:{s:s}}", "metadata", "name", "big");
	struct write_options w = {0};
	auto_err err = {0};

	assert_int_equal(
		registry_create(f->registry, &kind_configmap, "default", obj, &w, NULL, &err), 0);
	finish(f);
	assert_int_equal(f->code, 409);
	assert_string_equal(json_str(f->json, "reason", ""), "AlreadyExists");
}

/* The client goes while the work is under way, or waits for its turn: nothing is left behind. */
static void test_large_and_gone(void **state)
{
	struct fixture *f = *state;
	struct http_call *calls[12];
	auto_free char *body = many_keys("\"metadata\":{\"name\":\"big\"},");

	for (size_t i = 0; i < ARRAY_SIZE(calls); i++)
		begin(f, "POST", CMS, "application/json", body, &calls[i]);
	for (size_t i = 0; i < ARRAY_SIZE(calls); i++)
		http_call_cancel(calls[i]);
	for (int i = 0; i < 10000 && !list_empty(&f->api->calls); i++)
		assert_int_equal(loop_once(f->loop), 0);
	assert_true(list_empty(&f->api->calls));
	expect(f, 200, ask(f, "GET", CMS, NULL));
	/* The server goes while one is at it: teardown. */
	begin(f, "PATCH", CMS "/big", "application/merge-patch+json", "{\"data\":{\"k1\":null}}",
	      &calls[0]);
}

/* Tables and selections of large objects, listed, watched, and given up. */
static void test_large_forms(void **state)
{
	struct fixture *f = *state;

	make_large(f);
	overtake(f, "l");
	expect(f, 200, ask_with(f, "GET", CMS, NULL, TABLE, NULL, 0));
	assert_int_equal(json_integer_value(json_array_get(
				 json_at(json_array_get(json_at(f->json, "rows"), 0), "cells"), 1)),
			 KEYS);
	expect(f, 200, ask_with(f, "GET", CMS "/big", NULL, "application/yaml", NULL, 0));
	assert_non_null(strstr(f->text.s, "k19999: value 19999"));
	expect(f, 200, ask(f, "GET", CMS "?labelSelector=l%3Dset", NULL));
	assert_int_equal(json_len(f->json, "items"), 1);
	expect(f, 200, ask(f, "GET", CMS "?labelSelector=l%3Dother", NULL));
	assert_int_equal(json_len(f->json, "items"), 0);
	/* Watches with a selection, and of rows: what is there, and a change. */
	struct watcher selected, rows;

	watch(f, &selected, CMS "?watch=1&labelSelector=l%3Dset", NULL);
	watch(f, &rows, CMS "?watch=1", TABLE);
	await(&selected, "\"ADDED\"");
	await(&rows, "\"ADDED\"");
	overtake(f, "again");
	await(&selected, "\"MODIFIED\"");
	await(&rows, "\"MODIFIED\"");
	overtake(f, "more"); /* they go in the middle of the next one */
	assert_int_equal(loop_once(f->loop), 0);
	http_call_cancel(selected.call);
	http_call_cancel(rows.call);
	for (int i = 0; i < 1000 && f->api->n_watches; i++)
		assert_int_equal(loop_once(f->loop), 0);
	assert_int_equal(f->api->n_watches, 0);
	strbuf_done(&selected.text);
	strbuf_done(&rows.text);
}

#endif
