/* SPDX-License-Identifier: Apache-2.0 */
/* A store in directories of its own, and shorthands to write to it. For the store's tests. */
#ifndef STORE_FIXTURE_H
#define STORE_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <coracle/store.h>
#include <unistd.h>

struct fixture {
	struct loop *loop;
	struct store *store;
	char *top, *dir, *volatile_dir;
	size_t history_events;
};

static UNUSED void fixture_open(struct fixture *f)
{
	struct store_config config = {.dir = f->dir,
				      .volatile_dir = f->volatile_dir,
				      .history_events = f->history_events};
	auto_err err = {0};

	f->store = store_open(f->loop, &config, &err);
	if (!f->store)
		fail_msg("store_open: %s", err_message(&err));
}

static UNUSED struct fixture *fixture_new_at(const char *top)
{
	struct fixture *f = xnew(struct fixture);

	f->loop = loop_new();
	f->top = xstrdup(top);
	f->dir = path_join(top, "state");
	f->volatile_dir = path_join(top, "run");
	return f;
}

static UNUSED struct fixture *fixture_new(void)
{
	const char *tmp = getenv("TMPDIR");
	auto_free char *top = xasprintf("%s/coracle-store-XXXXXX", tmp ? tmp : "/tmp");

	assert_non_null(mkdtemp(top));
	return fixture_new_at(top);
}

static UNUSED void fixture_close(struct fixture *f)
{
	store_close(f->store);
	f->store = NULL;
	loop_bury(f->loop);
}

static UNUSED void fixture_free(struct fixture *f)
{
	fixture_close(f);
	rm_rf(f->top);
	loop_free(f->loop);
	free(f->top);
	free(f->dir);
	free(f->volatile_dir);
	free(f);
}

static UNUSED void fixture_turn(struct fixture *f)
{
	loop_refresh(f->loop);
	assert_int_equal(loop_poll(f->loop), 0);
	loop_deferred(f->loop, 10 * USEC_PER_MSEC);
	store_flush(f->store);
	loop_bury(f->loop);
}

/* Runs until nothing is pending. */
static UNUSED void fixture_settle(struct fixture *f)
{
	store_flush(f->store);
	loop_bury(f->loop);
	while (store_pending(f->store))
		fixture_turn(f);
}

static UNUSED json_t *config_map(const char *ns, const char *name, const char *value)
{
	json_t *o = json_object();
	char uid[UUID_LEN];

	random_uuid(uid);
	json_put_str(o, "apiVersion", "v1");
	json_put_str(o, "kind", "ConfigMap");
	json_put_str(o, "metadata.name", name);
	json_put_str(o, "metadata.namespace", ns);
	json_put_str(o, "metadata.uid", uid);
	json_put_str(o, "data.v", value);
	return o;
}

static UNUSED const struct object *put_new(struct fixture *f, const char *ns, const char *name,
					   const char *value, enum store_class c,
					   store_done_fn *done, void *arg)
{
	json_auto_t *o = config_map(ns, name, value);
	const struct object *ret = NULL;
	auto_err err = {0};

	if (store_create(f->store, &kind_configmap, o, c, done, arg, &ret, &err) < 0)
		fail_msg("store_create: %s", err_message(&err));
	return ret;
}

static UNUSED const struct object *put_value(struct fixture *f, const char *ns, const char *name,
					     const char *value, enum store_class c,
					     store_done_fn *done, void *arg)
{
	const struct object *old = store_get(f->store, &kind_configmap, ns, name), *ret = NULL;
	auto_err err = {0};
	json_auto_t *o = NULL;

	assert_non_null(old);
	o = object_dup(old);
	json_put_str(o, "data.v", value);
	if (store_update(f->store, &kind_configmap, o, 0, c, done, arg, &ret, &err) < 0)
		fail_msg("store_update: %s", err_message(&err));
	return ret;
}

static UNUSED const char *value_of(struct fixture *f, const char *ns, const char *name)
{
	const struct object *o = store_get(f->store, &kind_configmap, ns, name);

	return o ? json_str(object_json(o), "data.v", "") : NULL;
}

#endif
