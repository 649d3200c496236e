/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Events: kept in memory and on tmpfs only, folded when they repeat, forgotten after an hour or
 * when there are too many. The timer runs only while there are any.
 */
#include "internal.h"

#define MAX_EVENTS 1000
#define MAX_AGE_US (3600 * USEC_PER_SEC)
#define SWEEP_US (600 * USEC_PER_SEC)
#define MESSAGE_MAX 1024

struct event_record {
	struct list node; /* in events->records */
	char *key;	  /* in events->folds */
	char *ns, *name;
	mono_t seen;
};

static void record_free(struct events *e, struct event_record *rec)
{
	list_del(&rec->node);
	if (map_get(&e->folds, rec->key) == rec)
		map_del(&e->folds, rec->key);
	free(rec->key);
	free(rec->ns);
	free(rec->name);
	free(rec);
	e->n--;
}

/* Equal for events that fold into one. */
static char *fold_key(const json_t *ev)
{
	static const char *const parts[] = {
		"involvedObject.uid", "involvedObject.fieldPath", "type", "reason", "message",
		"source.component"};
	auto_strbuf all = {0};
	char hex[65];

	for (size_t i = 0; i < ARRAY_SIZE(parts); i++)
		strbuf_addf(&all, "%s\n", json_str(ev, parts[i], ""));
	sha256_hex(all.s, all.len, hex);
	hex[32] = '\0';
	return xstrdup(hex);
}

static void forget(struct registry *r, struct event_record *rec)
{
	auto_err err = {0};

	if (store_get(r->store, &kind_event, rec->ns, rec->name) &&
	    store_delete(r->store, &kind_event, rec->ns, rec->name, 0, STORE_VOLATILE, NULL, NULL,
			 NULL, &err) < 0)
		log_debug("event %s: %s", rec->name, err_message(&err));
	record_free(&r->events, rec);
}

static void on_sweep(void *arg)
{
	struct registry *r = arg;
	struct events *e = &r->events;

	list_foreach (&e->records, rec, struct event_record, node)
		if (mono_sub(loop_now(r->loop), rec->seen) >= MAX_AGE_US)
			forget(r, rec);
	if (e->n)
		timer_arm(e->timer, SWEEP_US);
}

void events_note(struct registry *r, const struct object *event)
{
	struct events *e = &r->events;
	struct event_record *rec = xnew(struct event_record);

	rec->key = fold_key(object_json(event));
	rec->ns = xstrdup(event->ns);
	rec->name = xstrdup(event->name);
	rec->seen = loop_now(r->loop);
	list_add_tail(&e->records, &rec->node);
	map_put(&e->folds, rec->key, rec);
	if (++e->n > MAX_EVENTS)
		forget(r, list_entry(e->records.next, struct event_record, node));
	if (!timer_armed(e->timer))
		timer_arm(e->timer, SWEEP_US);
}

void events_init(struct registry *r)
{
	struct store_iter it = store_iter(r->store, &kind_event, NULL);
	const struct object *o;

	list_init(&r->events.records);
	r->events.timer = timer_new(r->loop, on_sweep, r);
	while ((o = store_next(&it)))
		events_note(r, o);
}

void events_done(struct registry *r)
{
	struct events *e = &r->events;

	list_foreach (&e->records, rec, struct event_record, node)
		record_free(e, rec);
	map_done(&e->folds);
	timer_free(e->timer);
}

/* ---- recording -------------------------------------------------------------------------- */

static json_t *reference(const struct object *about, const char *field_path)
{
	char version[API_VERSION_MAX];
	json_t *ref = json_object();

	json_put_str(ref, "kind", about->kind->kind);
	if (*about->ns)
		json_put_str(ref, "namespace", about->ns);
	json_put_str(ref, "name", about->name);
	json_put_str(ref, "uid", about->uid);
	json_put_str(ref, "apiVersion", kind_api_version(about->kind, version));
	json_put_strf(ref, "resourceVersion", "%llu", (unsigned long long)about->rev);
	if (!str_empty(field_path))
		json_put_str(ref, "fieldPath", field_path);
	return ref;
}

/* One more of the same: true when it was folded into an event that is there. */
static bool fold(struct registry *r, const json_t *ev)
{
	struct events *e = &r->events;
	auto_free char *key = fold_key(ev);
	struct event_record *rec = map_get(&e->folds, key);
	const struct object *old =
		rec ? store_get(r->store, &kind_event, rec->ns, rec->name) : NULL;
	json_auto_t *obj = old ? object_dup(old) : NULL;
	auto_err err = {0};

	if (!old)
		return false;
	json_put_int(obj, "count", json_int(obj, "count", 1) + 1);
	json_put_time(obj, "lastTimestamp", time(NULL));
	if (store_update(r->store, &kind_event, obj, 0, STORE_VOLATILE, NULL, NULL, NULL, &err) < 0)
		log_debug("event %s: %s", rec->name, err_message(&err));
	rec->seen = loop_now(r->loop);
	list_del(&rec->node);
	list_add_tail(&e->records, &rec->node);
	return true;
}

/* "name.1789abcdef012345": nanoseconds, as client-go names events. Lists are in the order of names,
 * and kubectl shows events of the same second as they are listed. */
static void set_name(struct registry *r, json_t *ev, const struct object *about)
{
	struct events *e = &r->events;
	struct timespec now;
	uint64_t x;

	clock_gettime(CLOCK_REALTIME, &now);
	x = (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
	e->last_name = x > e->last_name ? x : e->last_name + 1;
	json_put_strf(ev, "metadata.name", "%.200s.%016llx", about->name,
		      (unsigned long long)e->last_name);
}

void registry_event(struct registry *r, const struct object *about, const char *field_path,
		    const char *type, const char *reason, const char *component, const char *fmt,
		    ...)
{
	json_auto_t *ev = json_object();
	const char *ns = *about->ns ? about->ns : "default";
	struct write_options o = {.storage = STORE_VOLATILE};
	auto_free char *message = NULL;
	time_t now = time(NULL);
	auto_err err = {0};
	va_list ap;

	breath_hold(); /* what is folded, and under which name, is one for all tasks */
	va_start(ap, fmt);
	message = xvasprintf(fmt, ap);
	va_end(ap);
	if (strlen(message) > MESSAGE_MAX)
		message[MESSAGE_MAX] = '\0';
	json_put(ev, "involvedObject", reference(about, field_path));
	json_put_str(ev, "reason", reason);
	json_put_str(ev, "message", message);
	json_put_str(ev, "type", type);
	json_put_str(ev, "source.component", component);
	if (r->node_name)
		json_put_str(ev, "source.host", r->node_name);
	if (fold(r, ev))
		goto out;
	set_name(r, ev, about);
	json_put_str(ev, "metadata.namespace", ns);
	json_put_time(ev, "firstTimestamp", now);
	json_put_time(ev, "lastTimestamp", now);
	json_put_int(ev, "count", 1);
	json_put(ev, "eventTime", json_null());
	json_put_str(ev, "reportingComponent", component);
	json_put_str(ev, "reportingInstance", r->node_name ? r->node_name : "");
	/* A namespace on its way out takes none, which is no news. */
	if (registry_create(r, &kind_event, ns, ev, &o, NULL, &err) < 0)
		log_debug("event %s of %s/%s: %s", reason, about->ns, about->name,
			  err_message(&err));
out:
	breath_release();
}
