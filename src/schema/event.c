/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Event: stored as core/v1, seen as events.k8s.io/v1 too, where most fields have other names. What
 * is written there must be complete (kubernetes pkg/apis/core/validation/events.go); the paths in
 * complaints are those of the core form, as upstream tells them.
 */
#include "validate.h"

#define MAX_WORD 128  /* action, reason, reportingInstance */
#define MAX_NOTE 1024 /* message */

/* ---- the two forms ---------------------------------------------------------------------- */

static const struct {
	const char *core, *events;
} names[] = {
	{"involvedObject", "regarding"},
	{"message", "note"},
	{"source", "deprecatedSource"},
	{"firstTimestamp", "deprecatedFirstTimestamp"},
	{"lastTimestamp", "deprecatedLastTimestamp"},
	{"count", "deprecatedCount"},
	{"reportingComponent", "reportingController"},
};

static void rename_member(json_t *obj, const char *from, const char *to)
{
	json_t *v = json_object_get(obj, from);

	if (!v)
		return;
	json_object_set(obj, to, v);
	json_object_del(obj, from);
}

void event_to_storage(json_t *obj)
{
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		rename_member(obj, names[i].events, names[i].core);
}

void event_from_storage(json_t *obj)
{
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		rename_member(obj, names[i].core, names[i].events);
}

void event_v1_cells(const json_t *obj, time_t now, json_t *cells)
{
	json_auto_t *core = json_copy((json_t *)(uintptr_t)obj);

	event_to_storage(core);
	event_cells(core, now, cells);
}

/* ---- validation ------------------------------------------------------------------------- */

static bool has_time(const json_t *obj, const char *path)
{
	return json_is_string(json_at(obj, path));
}

static void check_word(struct check *c, const json_t *obj, const char *field)
{
	const char *text = json_str(obj, field, "");

	if (!*text)
		check_required(c, field, "");
	if (strlen(text) > MAX_WORD)
		check_invalid_str(c, field, "", "can have at most %d characters", MAX_WORD);
}

/* What has an eventTime was written by somebody who knows the newer form. */
static void check_newer_form(struct check *c, const json_t *obj)
{
	const char *controller = json_str(obj, "reportingComponent", "");

	if (!*controller)
		check_required(c, "reportingController", "");
	check_text(c, "reportingController", controller, valid_label_key);
	check_word(c, obj, "reportingInstance");
	check_word(c, obj, "action");
	check_word(c, obj, "reason");
	if (strlen(json_str(obj, "message", "")) > MAX_NOTE)
		check_invalid_str(c, "message", "", "can have at most %d characters", MAX_NOTE);
}

static void check_any_form(struct check *c, const json_t *obj)
{
	const char *about = json_str(obj, "involvedObject.namespace", ""), *ns = meta_ns(obj);
	bool newer = has_time(obj, "eventTime"), good;

	/* what has no namespace is told of in "default" */
	if (!*about)
		good = streq(ns, "default") || (newer && streq(ns, "kube-system"));
	else
		good = newer || streq(about, ns);
	if (!good)
		check_invalid_str(c, "involvedObject.namespace", about,
				  "does not match event.namespace");
	if (newer)
		check_newer_form(c, obj);
}

void event_validate(const json_t *obj, const json_t *old UNUSED, struct err *err)
{
	struct check c = {.err = err};

	check_any_form(&c, obj);
	strbuf_done(&c.path);
}

static void check_series(struct check *c, const json_t *obj)
{
	if (!json_object_get(obj, "series"))
		return;
	if (json_int(obj, "series.count", 0) < 2)
		check_invalid_str(c, "series.count", "", "should be at least 2");
	if (!has_time(obj, "series.lastObservedTime"))
		check_required(c, "series.lastObservedTime", "");
}

/* What only the older form has must not be given. */
static void check_unset(struct check *c, const char *field, bool set)
{
	if (set)
		check_invalid_str(c, field, "", "needs to be unset");
}

static void check_new(struct check *c, const json_t *obj)
{
	const char *type = json_str(obj, "type", "");

	check_series(c, obj);
	if (!has_time(obj, "eventTime"))
		check_required(c, "eventTime", "");
	if (!streq(type, "Normal") && !streq(type, "Warning"))
		check_invalid_str(c, "type", "", "has invalid value: %s", type);
	check_unset(c, "firstTimestamp", has_time(obj, "firstTimestamp"));
	check_unset(c, "lastTimestamp", has_time(obj, "lastTimestamp"));
	check_unset(c, "count", json_int(obj, "count", 0) != 0);
	check_unset(c, "source",
		    *json_str(obj, "source.component", "") || *json_str(obj, "source.host", ""));
}

/*
 * An update of the newer form is checked as the older one is. Upstream means to let only the series
 * change, but holds the new event against itself (strategy.go, ValidateUpdate); clients, and the
 * conformance tests, patch the note.
 */
void event_v1_validate(const json_t *obj, const json_t *old, struct err *err)
{
	struct check c = {.err = err};

	check_any_form(&c, obj);
	if (!old)
		check_new(&c, obj);
	strbuf_done(&c.path);
}
