/* SPDX-License-Identifier: Apache-2.0 */
/* Subresources that change their parent: scale, binding, eviction. */
#include "internal.h"

/* ---- autoscaling/v1 Scale ---------------------------------------------------------------- */

/* The selector of spec.selector as text, "" when there is none. ReplicationControllers have a plain
 * map of labels there. */
static char *selector_text(const json_t *obj)
{
	const json_t *selector = json_at(obj, "spec.selector");
	bool map = streq(json_str(obj, "kind", ""), "ReplicationController");
	struct label_selector *sel auto_clean(label_selector) =
		map ? label_selector_from_map(selector) : label_selector_from_json(selector, NULL);

	return sel ? label_selector_format(sel) : xstrdup("");
}

/* What a scale says of its parent, wherever the parent's kind keeps it. */
struct scale {
	int64_t wanted, present;
	char *selector;
};

static void scale_read(const struct kind *k, const json_t *obj, struct scale *ret)
{
	struct scale_paths p;

	if (!custom_scale(k, &p)) {
		ret->wanted = json_int(obj, "spec.replicas", 0);
		ret->present = json_int(obj, "status.replicas", 0);
		ret->selector = selector_text(obj);
		return;
	}
	const char *selector =
		p.selector ? json_string_value(json_path_get(obj, p.selector)) : NULL;

	ret->wanted = json_integer_value(json_path_get(obj, p.spec));
	ret->present = json_integer_value(json_path_get(obj, p.status));
	ret->selector = xstrdup(selector ? selector : "");
}

static json_t *scale_new(const struct kind *k, const json_t *obj)
{
	static const char *const meta[] = {"name", "namespace", "uid", "resourceVersion",
					   "creationTimestamp"};
	json_t *v = json_object(), *m = json_object();
	struct scale scale;

	scale_read(k, obj, &scale);
	json_put_str(v, "kind", "Scale");
	json_put_str(v, "apiVersion", "autoscaling/v1");
	for (size_t i = 0; i < ARRAY_SIZE(meta); i++)
		json_put(m, meta[i],
			 json_incref(json_object_get(json_at(obj, "metadata"), meta[i])));
	json_put(v, "metadata", m);
	json_put(v, "spec", json_object());
	json_put_int(v, "spec.replicas", scale.wanted);
	json_put_int(v, "status.replicas", scale.present);
	if (*scale.selector)
		json_put_str(v, "status.selector", scale.selector);
	free(scale.selector);
	return v;
}

/* 404 names the subresource, as upstream's does of kinds of its own. */
static const struct object *scaled_object(struct call *c, struct err *err)
{
	const struct kind *k = c->target.kind;
	const struct object *o = call_object(c, err);

	if (o || k->custom || !err || err->reason != ERR_NOT_FOUND)
		return o;
	auto_free char *plural = xasprintf("%s/scale", k->plural);

	err_done(err);
	err_set(err, ERR_NOT_FOUND, "%s%s%s \"%s\" not found", plural, *k->group ? "." : "",
		k->group, c->target.name);
	err_about(err, plural, k->group, c->target.name);
	return NULL;
}

/* An object of a custom kind need not say how many it wants; then it has no scale. */
static const struct object *scale_parent(struct call *c, struct err *err)
{
	const struct object *o = scaled_object(c, err);
	struct scale_paths p;

	if (!o || !custom_scale(c->target.kind, &p) ||
	    json_is_integer(json_path_get(object_json(o), p.spec)))
		return o;
	err_set(err, ERR_INTERNAL,
		"Internal error occurred: the spec replicas field \"%s\" does not exist", p.spec);
	return NULL;
}

static void add_column(json_t *columns, const char *name, const char *type, const char *format)
{
	json_t *v = json_object();

	json_put_str(v, "name", name);
	json_put_str(v, "type", type);
	json_put_str(v, "format", format);
	json_put_str(v, "description", "");
	json_put_int(v, "priority", 0);
	json_array_append_new(columns, v);
}

static json_t *scale_table(const struct call *c, const json_t *scale)
{
	json_t *t = json_object(), *row = json_object(), *cells = json_array();
	json_t *columns = json_array(), *rows = json_array();
	struct timespec born = {0};
	char age[24] = "<unknown>";

	add_column(columns, "Name", "string", "name");
	add_column(columns, "Desired", "integer", "");
	add_column(columns, "Available", "integer", "");
	add_column(columns, "Age", "string", "");
	if (time_parse(json_str(scale, "metadata.creationTimestamp", ""), &born) == 0)
		human_duration(age, time(NULL) - born.tv_sec);
	json_array_append_new(cells, json_string(meta_name(scale)));
	json_array_append_new(cells, json_integer(json_int(scale, "spec.replicas", 0)));
	json_array_append_new(cells, json_integer(json_int(scale, "status.replicas", 0)));
	json_array_append_new(cells, json_string(age));
	json_put(row, "cells", cells);
	json_put(row, "object", partial_new(scale, c->accept.version));
	json_array_append_new(rows, row);
	json_put_str(t, "kind", "Table");
	json_put_strf(t, "apiVersion", "meta.k8s.io/%s", c->accept.version);
	json_put_str(t, "metadata.resourceVersion",
		     json_str(scale, "metadata.resourceVersion", ""));
	json_put(t, "columnDefinitions", columns);
	json_put(t, "rows", rows);
	return t;
}

static void reply_scale(struct call *c, int code, json_t *scale)
{
	if (c->accept.media == MEDIA_TABLE) {
		json_auto_t *owned = scale;

		call_reply_json(c, code, scale_table(c, owned));
	} else {
		call_reply_json(c, code, scale);
	}
}

void handle_scale_get(struct call *c)
{
	auto_err err = {0};
	const struct object *o = scale_parent(c, &err);

	if (o)
		reply_scale(c, 200, scale_new(c->target.kind, object_json(o)));
	else
		call_reply_err(c, &err);
}

/* The parent is stored; the answer is its scale. */
static void scale_done(void *arg, const struct err *err)
{
	struct call *c = arg;
	const struct object *o = c->data;

	if (call_done_later(c, scale_done, err))
		return;
	if (err)
		call_reply_err(c, err);
	else
		reply_scale(c, 200, scale_new(c->target.kind, object_json(o)));
	object_unref(o);
}

static void scale_gone(struct call *c UNUSED)
{
	/* scale_done() comes all the same and ends the call. */
}

static int check_scale(const json_t *scale, struct err *err)
{
	const json_t *n = json_at(scale, "spec.replicas");

	if (n && (!json_is_integer(n) || json_integer_value(n) > INT32_MAX))
		return err_set(
			err, ERR_BAD_REQUEST,
			"Scale in version \"v1\" cannot be handled as a Scale: json: cannot "
			"unmarshal into Go struct field ScaleSpec.spec.replicas of type int32");
	if (n && json_integer_value(n) < 0) {
		int rc = err_set(
			err, ERR_INVALID,
			"Scale.autoscaling \"%s\" is invalid: spec.replicas: Invalid value: "
			"%lld: must be greater than or equal to 0",
			meta_name(scale), (long long)json_integer_value(n));

		err_about(err, "Scale", "autoscaling", meta_name(scale));
		err_cause_add(err, "FieldValueInvalid", "spec.replicas",
			      "Invalid value: %lld: must be greater than or equal to 0",
			      (long long)json_integer_value(n));
		return rc;
	}
	return 0;
}

/* Writes the wished replicas into the parent; the scale's resourceVersion is its lock. */
static void scale_store(struct call *c, const json_t *scale)
{
	auto_err err = {0};
	struct write_options options = {.done = scale_done,
					.done_arg = c,
					.grace_seconds = -1,
					.tracked_as = "scale",
					.by = call_by(c)};
	const struct object *o = scaled_object(c, &err), *stored;
	const char *rev = json_str(scale, "metadata.resourceVersion", "");
	struct scale_paths paths;
	bool created;

	if (!o || check_scale(scale, &err) < 0 || call_dry_run(c, &options.dry_run, &err) < 0 ||
	    call_manager(c, &options.field_manager, &err) < 0) {
		call_reply_err(c, &err);
		return;
	}
	json_auto_t *obj = object_dup(o);

	if (custom_scale(c->target.kind, &paths))
		json_path_set(obj, paths.spec, json_integer(json_int(scale, "spec.replicas", 0)));
	else
		json_put_int(obj, "spec.replicas", json_int(scale, "spec.replicas", 0));
	if (*rev)
		json_put_str(obj, "metadata.resourceVersion", rev);
	if (registry_update(c->api->registry, c->target.kind, NULL, o->ns, o->name, obj, &options,
			    &stored, &created, &err) < 0) {
		if (!call_again(c, &err))
			call_reply_err(c, &err);
	} else if (options.dry_run) {
		reply_scale(c, 200, scale_new(c->target.kind, object_json(stored)));
	} else {
		c->data = object_ref(stored);
		c->on_gone = scale_gone;
	}
}

/* The name and the namespace in the body are those of the URL. */
static int check_scale_name(const struct call *c, const json_t *scale, struct err *err)
{
	const char *name = meta_name(scale), *ns = meta_ns(scale), *url_ns = c->target.ns;

	if (!*name)
		return err_set(err, ERR_BAD_REQUEST,
			       "the name of the object (%s based on URL) was undeterminable: name "
			       "must be provided",
			       c->target.name);
	if (!streq(name, c->target.name))
		return err_set(
			err, ERR_BAD_REQUEST,
			"the name of the object (%s) does not match the name on the URL (%s)", name,
			c->target.name);
	if (url_ns && *ns && !streq(ns, url_ns))
		return err_set(err, ERR_BAD_REQUEST,
			       "the namespace of the object (%s) does not match the namespace on "
			       "the request (%s)",
			       ns, url_ns);
	return 0;
}

void handle_scale_put(struct call *c)
{
	auto_err err = {0};
	json_auto_t *scale = call_body(c, message_find("io.k8s.api.autoscaling.v1.Scale"),
				       "autoscaling/v1", "Scale", &err);

	if (scale && check_scale_name(c, scale, &err) == 0)
		scale_store(c, scale);
	else
		call_reply_err(c, &err);
}

/* What applying this scale applies to the parent. */
static json_t *parent_of(const struct call *c, const json_t *scale)
{
	const struct kind *k = c->target.kind;
	const json_t *n = json_at(scale, "spec.replicas");
	const char *rev = json_str(scale, "metadata.resourceVersion", "");
	struct scale_paths paths;
	char version[API_VERSION_MAX];
	json_t *obj = json_object();

	json_put_str(obj, "apiVersion", kind_api_version(k, version));
	json_put_str(obj, "kind", k->kind);
	json_put_str(obj, "metadata.name", c->target.name);
	if (*rev)
		json_put_str(obj, "metadata.resourceVersion", rev);
	if (!json_is_integer(n))
		return obj;
	if (custom_scale(k, &paths))
		json_path_set(obj, paths.spec, json_integer(json_integer_value(n)));
	else
		json_put_int(obj, "spec.replicas", json_integer_value(n));
	return obj;
}

/* Server-side apply of a Scale. */
static void scale_apply(struct call *c)
{
	auto_err err = {0};
	struct write_options options = {
		.done = scale_done, .done_arg = c, .grace_seconds = -1, .by = call_by(c)};
	json_auto_t *scale = apply_body(c, message_find("io.k8s.api.autoscaling.v1.Scale"),
					"autoscaling/v1", "Scale", &options, &err);
	const struct object *o = scale ? scaled_object(c, &err) : NULL, *stored;
	bool created;

	if (!o || check_scale(scale, &err) < 0) {
		call_reply_err(c, &err);
		return;
	}
	json_auto_t *applied = parent_of(c, scale);

	options.tracked_as = "scale";
	if (registry_apply(c->api->registry, c->target.kind, NULL, o->ns, o->name, applied,
			   &options, &stored, &created, &err) < 0) {
		if (!call_again(c, &err))
			call_reply_err(c, &err);
	} else if (options.dry_run) {
		reply_scale(c, 200, scale_new(c->target.kind, object_json(stored)));
	} else {
		c->data = object_ref(stored);
		c->on_gone = scale_gone;
	}
}

void handle_scale_patch(struct call *c)
{
	char type[64];

	content_type(c->req, type);
	if (streq(type, "application/apply-patch+yaml")) {
		scale_apply(c);
		return;
	}
	auto_err err = {0};
	const struct object *o = scale_parent(c, &err);
	json_auto_t *scale = o ? scale_new(c->target.kind, object_json(o)) : NULL;
	json_auto_t *patched =
		scale ? patch_apply(c, message_find("io.k8s.api.autoscaling.v1.Scale"), scale, &err)
		      : NULL;

	if (patched)
		scale_store(c, patched);
	else
		call_reply_err(c, &err);
}

/* ---- bindings and evictions -------------------------------------------------------------- */

static json_t *success_status(int code)
{
	json_t *v = json_object();

	json_put_str(v, "kind", "Status");
	json_put_str(v, "apiVersion", "v1");
	json_put(v, "metadata", json_object());
	json_put_str(v, "status", "Success");
	json_put_int(v, "code", code);
	return v;
}

static void created_done(void *arg, const struct err *err)
{
	struct call *c = arg;

	if (err)
		call_reply_err(c, err);
	else
		call_reply_json(c, 201, success_status(201));
}

static json_t *binding_body(struct call *c, struct err *err)
{
	return call_body(c, message_find("io.k8s.api.core.v1.Binding"), "v1", "Binding", err);
}

/* Errors of a binding are not of its kind's form: upstream sums them up in one line. */
static int check_binding(const json_t *body, struct err *err)
{
	const char *kind = json_str(body, "target.kind", "");
	bool unknown = *kind && !streq(kind, "Node"),
	     nameless = !*json_str(body, "target.name", "");
	auto_strbuf b = {0};

	if (unknown)
		strbuf_addf(&b,
			    "target.kind: Unsupported value: \"%s\": supported values: \"Node\", "
			    "\"<empty>\"",
			    kind);
	if (nameless)
		strbuf_addf(&b, "%starget.name: Required value", unknown ? ", " : "");
	if (!b.len)
		return 0;
	return unknown && nameless ? err_set(err, ERR_UNKNOWN, "[%s]", b.s)
				   : err_set(err, ERR_UNKNOWN, "%s", b.s);
}

/* The pod as the binding wants it: the registry takes from it what a binding may change. */
static json_t *bound_pod(const char *ns, const json_t *body)
{
	static const char *const kept[] = {"annotations", "uid", "resourceVersion"};
	const json_t *given = json_object_get(body, "metadata");
	json_t *pod = json_object();

	json_put_str(pod, "metadata.name", meta_name(body));
	json_put_str(pod, "metadata.namespace", ns);
	for (size_t i = 0; i < ARRAY_SIZE(kept); i++)
		if (json_object_get(given, kept[i]))
			json_object_set(json_obj(pod, "metadata"), kept[i],
					json_object_get(given, kept[i]));
	json_put_str(pod, "spec.nodeName", json_str(body, "target.name", ""));
	return pod;
}

static void bind_pod(struct call *c, json_t *body)
{
	struct write_options options;
	const struct object *stored;
	auto_err err = {0};

	if (write_options_parse(c, &options, &err) < 0 || check_binding(body, &err) < 0) {
		call_reply_err(c, &err);
		return;
	}
	json_auto_t *pod = bound_pod(c->target.ns, body);

	options.done = created_done;
	options.done_arg = c;
	c->on_gone = scale_gone;
	if (registry_update(c->api->registry, &kind_pod, "binding", c->target.ns, meta_name(body),
			    pod, &options, &stored, NULL, &err) < 0)
		call_reply_err(c, &err);
	else if (options.dry_run)
		call_reply_json(c, 201, success_status(201));
}

/* Binds the pod to the node: what a scheduler does. */
void handle_binding(struct call *c)
{
	auto_err err = {0};
	json_auto_t *body = binding_body(c, &err);

	if (!body)
		call_reply_err(c, &err);
	else if (!streq(meta_name(body), c->target.name))
		call_reply_error(c, ERR_BAD_REQUEST,
				 "name in URL does not match name in Binding object");
	else
		bind_pod(c, body);
}

/* The same; the body names the pod. */
void handle_bindings(struct call *c)
{
	auto_err err = {0};
	json_auto_t *body = binding_body(c, &err);

	if (body)
		bind_pod(c, body);
	else
		call_reply_err(c, &err);
}

void handle_eviction(struct call *c)
{
	auto_err err = {0};
	struct delete_options options = {0};
	const struct object *o;
	bool gone;
	json_auto_t *body = call_body_older(c, message_find("io.k8s.api.policy.v1.Eviction"),
					    "policy/v1", "policy/v1beta1", "Eviction", &err);
	json_auto_t *wish = json_incref(json_object_get(body, "deleteOptions"));

	if (body && !streq(meta_name(body), c->target.name)) {
		call_reply_error(c, ERR_BAD_REQUEST,
				 "name in URL does not match name in Eviction object");
		return;
	}
	if (body && !wish)
		wish = json_object();
	if (!body || call_delete_options(c, wish, &options, &err) < 0) {
		call_reply_err(c, &err);
		delete_options_done(&options);
		return;
	}
	options.write.done = created_done;
	options.write.done_arg = c;
	c->on_gone = scale_gone;
	if (registry_evict(c->api->registry, c->target.ns, c->target.name, &options.write, &o,
			   &gone, &err) < 0)
		call_reply_err(c, &err);
	else if (options.write.dry_run)
		call_reply_json(c, 201, success_status(201));
	delete_options_done(&options);
}
