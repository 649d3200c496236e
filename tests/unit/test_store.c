/* SPDX-License-Identifier: Apache-2.0 */
/* The store: reading, writing, watching, classes of durability, a full disk. */
#include "store_fixture.h"
#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>

static int setup(void **state)
{
	struct fixture *f = fixture_new();

	fixture_open(f);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	fixture_free(*state);
	return 0;
}

/* ---- memory ----------------------------------------------------------------------------- */

static void test_create_get(void **state)
{
	struct fixture *f = *state;
	const struct object *o = put_new(f, "default", "a", "1", STORE_DURABLE, NULL, NULL);
	json_auto_t *again = config_map("default", "a", "1");
	auto_err err = {0};
	char rev[24];

	assert_ptr_equal(store_get(f->store, &kind_configmap, "default", "a"), o);
	assert_ptr_equal(store_get_uid(f->store, o->uid), o);
	assert_null(store_get(f->store, &kind_configmap, "other", "a"));
	assert_int_equal(o->rev, store_rev(f->store));
	snprintf(rev, sizeof(rev), "%llu", (unsigned long long)o->rev);
	assert_string_equal(json_str(object_json(o), "metadata.resourceVersion", ""), rev);
	assert_true(store_create(f->store, &kind_configmap, again, STORE_DURABLE, NULL, NULL, NULL,
				 &err) < 0);
	assert_int_equal(err.reason, ERR_ALREADY_EXISTS);
	assert_string_equal(err.message, "configmaps \"a\" already exists");
}

static void test_update_conflict_noop(void **state)
{
	struct fixture *f = *state;
	uint64_t rev = put_new(f, "default", "a", "1", STORE_DURABLE, NULL, NULL)->rev;
	const struct object *ret;
	json_auto_t *o = config_map("default", "a", "2");
	auto_err err = {0};

	assert_true(store_update(f->store, &kind_configmap, o, rev + 7, STORE_DURABLE, NULL, NULL,
				 NULL, &err) < 0);
	assert_int_equal(err.reason, ERR_CONFLICT);
	assert_string_equal(err.message,
			    "Operation cannot be fulfilled on configmaps \"a\": the object has "
			    "been modified; please apply your changes to the latest version and "
			    "try again");
	ret = put_value(f, "default", "a", "1", STORE_DURABLE, NULL, NULL);
	assert_int_equal(ret->rev, rev);
	ret = put_value(f, "default", "a", "2", STORE_DURABLE, NULL, NULL);
	assert_int_equal(ret->rev, rev + 1);
	assert_string_equal(value_of(f, "default", "a"), "2");
}

/* The same for a removal, also when the revision has become a digit longer meanwhile. */
static void test_draft_of_removal(void **state)
{
	struct fixture *f = *state;
	const struct object *old, *gone, *again;
	struct store_draft *d;
	auto_err err = {0};

	put_new(f, "default", "b", "0", STORE_LAZY, NULL, NULL);
	for (int i = 0; i < 2; i++) {
		old = put_new(f, "default", "a", "1", STORE_DURABLE, NULL, NULL);
		d = store_draft_deletion(f->store, old);
		for (uint64_t rev = store_rev(f->store); i && store_rev(f->store) < 10 * rev;) {
			char value[24];

			snprintf(value, sizeof(value), "%llu",
				 (unsigned long long)store_rev(f->store));
			put_value(f, "default", "b", value, STORE_LAZY, NULL, NULL);
		}
		assert_int_equal(
			store_delete_draft(f->store, d, STORE_DURABLE, NULL, NULL, &gone, &err), 0);
		assert_null(store_get(f->store, &kind_configmap, "default", "a"));
		assert_int_equal(gone->rev, store_rev(f->store));
		json_auto_t *v = json_parse(gone->text, gone->len, NULL);
		assert_int_equal(strtoull(json_str(v, "metadata.resourceVersion", ""), NULL, 10),
				 gone->rev);
		json_put_strf(v, "metadata.resourceVersion", "%llu", (unsigned long long)old->rev);
		assert_true(json_same(v, object_json(old)));
		assert_true(store_delete_draft(f->store, d, STORE_DURABLE, NULL, NULL, &again,
					       &err) < 0);
		assert_int_equal(err.reason, ERR_CONFLICT);
		store_draft_free(d);
	}
}

/* Patches cannot make an object as large as they like. */
static void test_draft_bounded(void **state)
{
	struct fixture *f = *state;
	json_auto_t *obj = config_map("default", "a", "1"), *list = json_array();
	auto_free char *text = xcalloc(STORE_TEXT_MAX + 1, 1);
	auto_err err = {0};

	memset(text, 'x', STORE_TEXT_MAX);
	json_put_str(obj, "data.v", text);
	assert_null(store_draft_new(f->store, &kind_configmap, obj, NULL, &err));
	assert_string_equal(err.message, "the object is larger than 6291456 bytes");
	assert_int_equal(err.reason, ERR_REQUEST_TOO_LARGE);
	for (unsigned i = 0; i < STORE_VALUES_MAX; i++)
		json_array_append_new(list, json_true());
	json_object_set(obj, "data", list);
	assert_null(store_draft_new(f->store, &kind_configmap, obj, NULL, &err));
	assert_string_equal(err.message, "the object holds more than 400000 values");
}

/* A write in two steps: the second finds out whether the world has gone on. */
static void test_draft(void **state)
{
	struct fixture *f = *state;
	json_auto_t *obj = config_map("default", "a", "1"), *changed = NULL;
	auto_err err = {0};
	struct store_draft *d = store_draft_new(f->store, &kind_configmap, obj, NULL, &err);
	const struct object *made, *next, *same;

	assert_int_equal(store_create_draft(f->store, d, STORE_DURABLE, NULL, NULL, &made, &err),
			 0);
	store_draft_free(d);
	assert_int_equal(made->rev, store_rev(f->store));
	assert_string_equal(json_str(object_json(made), "data.v", ""), "1");
	auto_free char *text = json_text(object_json(made), NULL);

	assert_string_equal(made->text, text);
	changed = object_dup(made);
	json_put_str(changed, "data.v", "2");
	d = store_draft_new(f->store, &kind_configmap, changed, made, &err);
	assert_int_equal(store_update_draft(f->store, d, STORE_DURABLE, NULL, NULL, &next, &err),
			 0);
	assert_true(store_update_draft(f->store, d, STORE_DURABLE, NULL, NULL, &same, &err) < 0);
	assert_int_equal(err.reason, ERR_CONFLICT);
	store_draft_free(d);
	assert_string_equal(value_of(f, "default", "a"), "2");
	json_auto_t *parsed = json_parse(next->text, next->len, NULL);

	assert_true(json_same(parsed, object_json(next)));
	assert_int_equal(strtoull(json_str(parsed, "metadata.resourceVersion", ""), NULL, 10),
			 store_rev(f->store));
	d = store_draft_new(f->store, &kind_configmap, parsed, next, &err); /* nothing changes */
	assert_int_equal(store_update_draft(f->store, d, STORE_DURABLE, NULL, NULL, &same, &err),
			 0);
	assert_ptr_equal(same, next);
	store_draft_free(d);
}

static void test_iterate_while_writing(void **state)
{
	struct fixture *f = *state;
	static const char *const names[] = {"d", "a", "c", "b"};
	struct store_iter it;
	const struct object *o;
	char seen[16] = "";

	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		put_new(f, "ns1", names[i], "1", STORE_DURABLE, NULL, NULL);
	put_new(f, "ns2", "z", "1", STORE_DURABLE, NULL, NULL);
	it = store_iter(f->store, &kind_configmap, "ns1");
	while ((o = store_next(&it))) {
		strcat(seen, o->name);
		assert_int_equal(store_delete(f->store, &kind_configmap, "ns1", o->name, 0,
					      STORE_DURABLE, NULL, NULL, NULL, NULL),
				 0);
	}
	assert_string_equal(seen, "abcd");
	assert_int_equal(store_count(f->store, &kind_configmap), 1);
	it = store_iter_after(f->store, &kind_configmap, NULL, "ns1", "b");
	assert_string_equal(store_next(&it)->name, "z");
	assert_null(store_next(&it));
}

/* What was there at an earlier revision, while the present goes on. */
static void test_past(void **state)
{
	struct fixture *f = *state;
	struct store_past *past;
	struct store_iter it;
	const struct object *o;
	char seen[64] = "";
	auto_err err = {0};
	uint64_t rev;

	for (const char *p = "aceg"; *p; p++)
		put_new(f, "ns", (char[]){*p, '\0'}, "1", STORE_DURABLE, NULL, NULL);
	rev = store_rev(f->store);
	put_new(f, "ns", "b", "1", STORE_DURABLE, NULL, NULL);
	put_value(f, "ns", "c", "2", STORE_DURABLE, NULL, NULL);
	put_value(f, "ns", "c", "3", STORE_DURABLE, NULL, NULL);
	assert_int_equal(store_delete(f->store, &kind_configmap, "ns", "e", 0, STORE_DURABLE, NULL,
				      NULL, NULL, NULL),
			 0);
	assert_int_equal(store_delete(f->store, &kind_configmap, "ns", "b", 0, STORE_DURABLE, NULL,
				      NULL, NULL, NULL),
			 0);
	past = store_past_new(f->store, &kind_configmap, rev, &err);
	assert_non_null(past);
	it = store_iter(f->store, &kind_configmap, "ns");
	it.past = past;
	while ((o = store_next(&it))) {
		strcat(seen, o->name);
		assert_string_equal(json_str(object_json(o), "data.v", ""), "1");
	}
	assert_string_equal(seen, "aceg");
	it = store_iter_after(f->store, &kind_configmap, "ns", "ns", "c");
	it.past = past;
	assert_string_equal(store_next(&it)->name, "e");
	store_past_free(past);
	assert_null(store_past_new(f->store, &kind_configmap, 0, &err));
	assert_int_equal(err.reason, ERR_EXPIRED);
}

static void test_borrowed_survive_turn(void **state)
{
	struct fixture *f = *state;
	const struct object *o = put_new(f, "default", "a", "old", STORE_VOLATILE, NULL, NULL);
	const json_t *json = object_json(o);
	auto_clean(object) const struct object *kept = object_ref(o);

	put_value(f, "default", "a", "new", STORE_VOLATILE, NULL, NULL);
	assert_string_equal(json_str(json, "data.v", ""), "old");
	fixture_settle(f);
	assert_non_null(strstr(kept->text, "\"old\""));
}

/* ---- watches ---------------------------------------------------------------------------- */

struct recorder {
	struct fixture *f;
	struct store_watch *watch;
	char text[256];
	int pause_after, free_after, n;
	bool lost, write_inside;
};

static bool record(void *arg, const struct store_event *ev)
{
	struct recorder *r = arg;
	size_t at = strlen(r->text);

	snprintf(r->text + at, sizeof(r->text) - at, "%c%s ", "AMD"[ev->type], ev -> obj -> name);
	assert_int_equal(ev->rev, ev->obj->rev);
	assert_true((ev->type == STORE_ADDED) == (ev->old == NULL));
	r->n++;
	if (r->write_inside && r->n == 1)
		put_new(r->f, "default", "inside", "1", STORE_VOLATILE, NULL, NULL);
	if (r->n == r->free_after) {
		store_watch_free(r->watch);
		r->watch = NULL;
	}
	return r->n != r->pause_after;
}

static void on_lost(void *arg)
{
	((struct recorder *)arg)->lost = true;
}

static void watch(struct recorder *r, struct fixture *f, uint64_t since)
{
	r->f = f;
	r->watch = store_watch_new(f->store, &kind_configmap, since, record, on_lost, r, NULL);
	assert_non_null(r->watch);
}

static void deliver_all(struct fixture *f)
{
	for (int i = 0; i < 5; i++)
		loop_deferred(f->loop, USEC_PER_SEC);
}

static void write_abc(struct fixture *f)
{
	put_new(f, "default", "a", "1", STORE_VOLATILE, NULL, NULL);
	put_value(f, "default", "a", "2", STORE_VOLATILE, NULL, NULL);
	put_new(f, "default", "b", "1", STORE_VOLATILE, NULL, NULL);
	assert_int_equal(store_delete(f->store, &kind_configmap, "default", "a", 0, STORE_VOLATILE,
				      NULL, NULL, NULL, NULL),
			 0);
}

static void test_watch_order(void **state)
{
	struct fixture *f = *state;
	struct recorder now = {0}, later = {0}, inside = {.write_inside = true};
	uint64_t since = store_rev(f->store);

	watch(&now, f, since);
	watch(&inside, f, since);
	write_abc(f);
	assert_string_equal(now.text, ""); /* only in the deferred phase */
	deliver_all(f);
	assert_string_equal(now.text, "Aa Ma Ab Da Ainside ");
	assert_string_equal(inside.text, now.text);
	watch(&later, f, since + 2);
	deliver_all(f);
	assert_string_equal(later.text, "Ab Da Ainside ");
	store_watch_free(now.watch);
	store_watch_free(later.watch);
	store_watch_free(inside.watch);
}

static void test_watch_pause_free(void **state)
{
	struct fixture *f = *state;
	struct recorder paused = {.pause_after = 2}, freed = {.free_after = 2};

	watch(&paused, f, store_rev(f->store));
	watch(&freed, f, store_rev(f->store));
	write_abc(f);
	deliver_all(f);
	assert_string_equal(paused.text, "Aa Ma ");
	assert_string_equal(freed.text, "Aa Ma ");
	store_watch_resume(paused.watch);
	deliver_all(f);
	assert_string_equal(paused.text, "Aa Ma Ab Da ");
	store_watch_free(paused.watch);
}

static void test_watch_lost(void **state)
{
	struct fixture *f = *state;
	struct recorder r = {.pause_after = 1};
	uint64_t since;
	auto_err err = {0};
	char text[16];

	fixture_close(f);
	f->history_events = 8;
	fixture_open(f);
	since = store_rev(f->store);
	watch(&r, f, since);
	put_new(f, "default", "a", "0", STORE_VOLATILE, NULL, NULL);
	for (int i = 1; i < 20; i++) {
		snprintf(text, sizeof(text), "%d", i);
		put_value(f, "default", "a", text, STORE_VOLATILE, NULL, NULL);
	}
	deliver_all(f);
	assert_true(r.lost);
	assert_int_equal(r.n, 0);
	store_watch_free(r.watch);
	assert_null(store_watch_new(f->store, NULL, since, record, NULL, &r, &err));
	assert_int_equal(err.reason, ERR_EXPIRED);
	assert_true(str_starts(err.message, "too old resource version: "));
}

/* ---- durability ------------------------------------------------------------------------- */

struct told {
	int n, failed;
	enum err_reason reason;
};

static void on_done(void *arg, const struct err *err)
{
	struct told *t = arg;

	t->n++;
	if (err) {
		t->failed++;
		t->reason = err->reason;
	}
}

static void test_done_and_reopen(void **state)
{
	struct fixture *f = *state;
	struct told told = {0};
	uint64_t rev;

	put_new(f, "default", "a", "1", STORE_DURABLE, on_done, &told);
	put_value(f, "default", "a", "1", STORE_DURABLE, on_done, &told); /* nothing changes */
	put_new(f, "default", "b", "1", STORE_VOLATILE, on_done, &told);
	assert_int_equal(told.n, 0);
	assert_int_equal(store_pending(f->store), 3);
	fixture_settle(f);
	assert_int_equal(told.n, 3);
	assert_int_equal(told.failed, 0);
	assert_int_equal(store_delete(f->store, &kind_configmap, "default", "b", 0, STORE_VOLATILE,
				      NULL, NULL, NULL, NULL),
			 0);
	rev = store_rev(f->store);
	fixture_close(f);
	fixture_open(f);
	assert_int_equal(store_rev(f->store), rev);
	assert_string_equal(value_of(f, "default", "a"), "1");
	assert_null(value_of(f, "default", "b"));
}

/* Copies the files as they are while the store is open: what a killed daemon leaves. */
static struct fixture *snapshot(struct fixture *f, bool with_volatile)
{
	struct fixture *to = fixture_new();
	auto_free char *cmd = xasprintf("cp -r %s %s && mkdir -p %s && { %s || cp -r %s %s; }",
					f->dir, to->top, f->volatile_dir,
					with_volatile ? "false" : "true", f->volatile_dir, to->top);

	assert_int_equal(system(cmd), 0);
	fixture_open(to);
	return to;
}

static void test_classes(void **state)
{
	struct fixture *f = *state, *restart, *reboot;
	struct told told = {0};
	uint64_t rev;

	put_new(f, "default", "wish", "1", STORE_DURABLE, NULL, NULL);
	fixture_settle(f);
	put_value(f, "default", "wish", "seen", STORE_VOLATILE, NULL, NULL);
	put_new(f, "default", "event", "1", STORE_VOLATILE, NULL, NULL);
	put_new(f, "default", "late", "1", STORE_LAZY, NULL, NULL);
	/* A volatile write alone does not make the lazy one go. */
	put_value(f, "default", "event", "2", STORE_VOLATILE, on_done, &told);
	store_flush(f->store);
	while (!told.n)
		fixture_turn(f);
	assert_int_equal(store_pending(f->store), 1);
	rev = store_rev(f->store);
	restart = snapshot(f, true);
	assert_false(store_is_new_boot(restart->store));
	assert_true(store_rev(restart->store) >= rev);
	assert_string_equal(value_of(restart, "default", "wish"), "seen");
	assert_string_equal(value_of(restart, "default", "event"), "2");
	assert_string_equal(value_of(restart, "default", "late"), "1");
	assert_int_equal(store_pending(restart->store), 1);
	fixture_free(restart);
	put_new(f, "default", "next", "1", STORE_DURABLE, NULL, NULL);
	fixture_settle(f);
	reboot = snapshot(f, false);
	assert_true(store_is_new_boot(reboot->store));
	assert_true(store_rev(reboot->store) >= rev);
	assert_string_equal(value_of(reboot, "default", "wish"), "1");
	assert_null(value_of(reboot, "default", "event"));
	assert_string_equal(value_of(reboot, "default", "late"), "1");
	fixture_free(reboot);
}

static void test_durable_covers_volatile(void **state)
{
	struct fixture *f = *state, *restart;

	put_new(f, "default", "a", "1", STORE_DURABLE, NULL, NULL);
	put_new(f, "default", "b", "1", STORE_DURABLE, NULL, NULL);
	fixture_settle(f);
	put_value(f, "default", "a", "seen", STORE_VOLATILE, NULL, NULL);
	put_value(f, "default", "b", "seen", STORE_VOLATILE, NULL, NULL);
	fixture_settle(f);
	put_value(f, "default", "a", "3", STORE_DURABLE, NULL, NULL);
	assert_int_equal(store_delete(f->store, &kind_configmap, "default", "b", 0, STORE_VOLATILE,
				      NULL, NULL, NULL, NULL),
			 0);
	fixture_settle(f);
	restart = snapshot(f, true);
	assert_string_equal(value_of(restart, "default", "a"), "3");
	assert_null(value_of(restart, "default", "b"));
	fixture_free(restart);
}

static uint64_t bytes_written(void)
{
	auto_free char *text = NULL;
	const char *at;

	assert_int_equal(file_read("/proc/self/io", 4096, &text, NULL), 0);
	at = strstr(text, "wchar: ");
	assert_non_null(at);
	return strtoull(at + 7, NULL, 10);
}

static void test_idle_writes_nothing(void **state)
{
	struct fixture *f = *state;
	uint64_t before;

	put_new(f, "default", "a", "1", STORE_DURABLE, NULL, NULL);
	fixture_settle(f);
	before = bytes_written();
	for (int i = 0; i < 1000; i++) {
		put_value(f, "default", "a", "1", STORE_DURABLE, NULL, NULL);
		store_flush(f->store);
		loop_bury(f->loop);
	}
	assert_int_equal(bytes_written(), before);
	assert_int_equal(store_pending(f->store), 0);
}

/* ---- a full disk ------------------------------------------------------------------------ */

static void fill_disk(const char *path)
{
	static char block[4096];
	auto_fd int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	while (write(fd, block, sizeof(block)) > 0)
		;
}

static void put_big(struct fixture *f, const char *name, struct told *told)
{
	auto_free char *big = xmalloc(20001);

	memset(big, 'x', 20000);
	big[20000] = '\0';
	put_new(f, "default", name, big, STORE_DURABLE, on_done, told);
}

static void disk_full_body(struct fixture *f, const char *ballast)
{
	struct told told = {0};
	json_auto_t *refused = config_map("default", "refused", "1");
	auto_err err = {0};
	uint64_t rev;

	put_new(f, "default", "a", "1", STORE_DURABLE, NULL, NULL);
	fixture_settle(f);
	fill_disk(ballast);
	rev = store_rev(f->store);
	put_big(f, "big", &told);
	put_value(f, "default", "a", "2", STORE_DURABLE, on_done, &told);
	put_value(f, "default", "a", "3", STORE_DURABLE, on_done, &told);
	assert_int_equal(store_delete(f->store, &kind_configmap, "default", "a", 0, STORE_DURABLE,
				      on_done, &told, NULL, NULL),
			 0);
	fixture_settle(f);
	assert_int_equal(told.n, 4);
	assert_int_equal(told.failed, 4);
	assert_int_equal(told.reason, ERR_INSUFFICIENT_STORAGE);
	assert_non_null(store_trouble(f->store));
	assert_null(value_of(f, "default", "big"));
	assert_string_equal(value_of(f, "default", "a"), "1");
	assert_true(store_rev(f->store) > rev + 4);
	assert_true(store_create(f->store, &kind_configmap, refused, STORE_DURABLE, NULL, NULL,
				 NULL, &err) < 0);
	assert_int_equal(err.reason, ERR_INSUFFICIENT_STORAGE);
	put_value(f, "default", "a", "seen", STORE_VOLATILE, NULL, NULL);
	assert_int_equal(unlink(ballast), 0);
	while (store_trouble(f->store)) { /* one attempt a second is let through */
		json_auto_t *o = config_map("default", "after", "1");
		auto_err ignored = {0};

		if (!store_get(f->store, &kind_configmap, "default", "after") &&
		    store_create(f->store, &kind_configmap, o, STORE_DURABLE, NULL, NULL, NULL,
				 &ignored) < 0)
			usleep(10000);
		loop_refresh(f->loop);
		fixture_settle(f);
	}
	assert_string_equal(value_of(f, "default", "after"), "1");
	fixture_close(f);
	fixture_open(f);
	assert_string_equal(value_of(f, "default", "after"), "1");
	assert_string_equal(value_of(f, "default", "a"), "seen");
}

static void test_disk_full(void **state)
{
	struct fixture *f = *state;
	auto_free char *ballast = path_join(f->dir, "ballast");

	if (geteuid() != 0 || unshare(CLONE_NEWNS) < 0 ||
	    mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		skip();
	fixture_close(f);
	if (mount("tmpfs", f->dir, "tmpfs", 0, "size=400k") < 0)
		skip();
	fixture_open(f);
	disk_full_body(f, ballast);
	fixture_close(f);
	assert_int_equal(umount(f->dir), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_create_get, setup, teardown),
		cmocka_unit_test_setup_teardown(test_update_conflict_noop, setup, teardown),
		cmocka_unit_test_setup_teardown(test_draft_of_removal, setup, teardown),
		cmocka_unit_test_setup_teardown(test_draft_bounded, setup, teardown),
		cmocka_unit_test_setup_teardown(test_draft, setup, teardown),
		cmocka_unit_test_setup_teardown(test_iterate_while_writing, setup, teardown),
		cmocka_unit_test_setup_teardown(test_past, setup, teardown),
		cmocka_unit_test_setup_teardown(test_borrowed_survive_turn, setup, teardown),
		cmocka_unit_test_setup_teardown(test_watch_order, setup, teardown),
		cmocka_unit_test_setup_teardown(test_watch_pause_free, setup, teardown),
		cmocka_unit_test_setup_teardown(test_watch_lost, setup, teardown),
		cmocka_unit_test_setup_teardown(test_done_and_reopen, setup, teardown),
		cmocka_unit_test_setup_teardown(test_classes, setup, teardown),
		cmocka_unit_test_setup_teardown(test_durable_covers_volatile, setup, teardown),
		cmocka_unit_test_setup_teardown(test_idle_writes_nothing, setup, teardown),
		cmocka_unit_test_setup_teardown(test_disk_full, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
