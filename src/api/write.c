/* SPDX-License-Identifier: Apache-2.0 */
/* create, update, delete, deletecollection. An answer waits until the write is durable. */
#include "internal.h"

/* ---- waiting for the disk ---------------------------------------------------------------- */

/* A write under way. The object keeps the state that is answered. */
struct pending {
	const struct object *object;
	json_t *status; /* answered instead of the object */
	int code;
};

static void pending_free(struct pending *p)
{
	object_unref(p->object);
	json_decref(p->status);
	free(p);
}

static void wait_gone(struct call *c UNUSED)
{
	/* The store still calls write_done(), which ends the call. */
}

static void write_done(void *arg, const struct err *err)
{
	struct call *c = arg;
	struct pending *p = c->data;

	if (call_done_later(c, write_done, err))
		return;
	if (err)
		call_reply_err(c, err);
	else if (p->status)
		call_reply_json(c, p->code, steal_ptr(p->status));
	else
		call_reply_object(c, p->code, p->object);
	pending_free(p);
}

void write_abandon(struct call *c)
{
	if (c->on_gone != wait_gone || !c->data || c->over)
		return;
	pending_free(c->data);
	call_forget(c);
}

struct write_options write_options_for(struct call *c)
{
	return (struct write_options){.done = write_done,
				      .done_arg = c,
				      .grace_seconds = -1,
				      .admit = admit_write,
				      .admit_arg = c,
				      .by = call_by(c)};
}

static void wait_for(struct call *c, int code, const struct object *o, json_t *status)
{
	struct pending *p = xnew(struct pending);

	p->object = o ? object_ref(o) : NULL;
	p->status = status;
	p->code = code;
	c->data = p;
	c->on_gone = wait_gone;
}

void write_wait(struct call *c, int code, const struct object *o)
{
	wait_for(c, code, o, NULL);
}

/* Answers at once for a dry run, else when durable. */
static void finish_write(struct call *c, const struct write_options *o, int code,
			 const struct object *obj)
{
	if (o->dry_run)
		call_reply_object(c, code, obj);
	else
		write_wait(c, code, obj);
}

int write_options_parse(struct call *c, struct write_options *o, struct err *err)
{
	int rc;

	*o = write_options_for(c);
	rc = call_dry_run(c, &o->dry_run, err);
	if (rc == 0)
		rc = call_manager(c, &o->field_manager, err);
	return rc;
}

static json_t *object_body(struct call *c, struct err *err)
{
	const struct kind *k = c->target.kind;
	char version[API_VERSION_MAX];

	return call_body(c, k->message, kind_api_version(k, version), k->kind, err);
}

static const char *target_ns(const struct call *c)
{
	return c->target.ns ? c->target.ns : "";
}

/* ---- create, update ---------------------------------------------------------------------- */

void handle_create(struct call *c)
{
	const struct kind *k = c->target.kind;
	const struct object *o;
	struct write_options options;
	auto_err err = {0};

	if (k->namespaced && !c->target.ns) {
		call_reply_error(c, ERR_METHOD_NOT_ALLOWED,
				 "the server does not allow this method on the requested resource");
		return;
	}
	json_auto_t *obj = object_body(c, &err);

	schema_warnings(k, obj, &c->warnings);
	if (!obj || write_options_parse(c, &options, &err) < 0 ||
	    registry_create(c->api->registry, k, target_ns(c), obj, &options, &o, &err) < 0) {
		if (obj)
			err_about(&err, NULL, NULL, meta_name(obj));
		call_reply_err(c, &err);
		return;
	}
	finish_write(c, &options, 201, o);
}

void write_update(struct call *c, json_t *obj, const struct write_options *options)
{
	const struct object *o;
	bool created = false;
	auto_err err = {0};

	schema_warnings(c->target.kind, obj, &c->warnings);
	if (registry_update(c->api->registry, c->target.kind, c->target.sub, target_ns(c),
			    c->target.name, obj, options, &o, &created, &err) == 0)
		finish_write(c, options, created ? 201 : 200, o);
	else if (!call_again(c, &err))
		call_reply_err(c, &err);
}

void handle_update(struct call *c)
{
	struct write_options options;
	auto_err err = {0};
	json_auto_t *obj = object_body(c, &err);

	if (!obj || write_options_parse(c, &options, &err) < 0)
		call_reply_err(c, &err);
	else
		write_update(c, obj, &options);
}

/* ---- delete ------------------------------------------------------------------------------ */

/* What is answered when the object is gone at once. */
static json_t *deleted_status(const struct call *c, const struct object *o)
{
	const struct kind *k = c->target.kind;
	json_t *v = json_object();

	json_put_str(v, "kind", "Status");
	json_put_str(v, "apiVersion", "v1");
	json_put(v, "metadata", json_object());
	json_put_str(v, "status", "Success");
	json_put_str(v, "details.name", o->name);
	if (*k->group)
		json_put_str(v, "details.group", k->group);
	json_put_str(v, "details.kind", k->plural);
	json_put_str(v, "details.uid", o->uid);
	return v;
}

void handle_delete(struct call *c)
{
	const struct object *o;
	struct delete_options options = {0};
	bool gone = false, with_status;
	auto_err err = {0};
	int rc = call_delete_options(c, NULL, &options, &err);

	if (rc == 0) {
		options.write.done = write_done;
		options.write.done_arg = c;
		rc = registry_delete(c->api->registry, c->target.kind, target_ns(c), c->target.name,
				     &options.write, &o, &gone, &err);
	}
	with_status = gone && !c->target.kind->returned;
	if (rc < 0 && call_again(c, &err))
		; /* somebody else has written */
	else if (rc < 0)
		call_reply_err(c, &err);
	else if (options.write.dry_run && with_status)
		call_reply_json(c, 200, deleted_status(c, o));
	else if (options.write.dry_run)
		call_reply_object(c, 200, o);
	else
		wait_for(c, 200, with_status ? NULL : o, with_status ? deleted_status(c, o) : NULL);
	delete_options_done(&options);
}

/* Many writes, a slice at a time, and one answer: what was deleted, when all of it is durable. */
struct collection {
	struct call *call;
	struct selection sel;
	struct list_options list;
	struct delete_options options;
	struct snapshot found, deleted;
	size_t next;
	size_t waiting; /* writes not yet durable, and one for the work not yet done */
	struct work work;
	struct task task; /* deletes one large object */
	struct err err;	  /* the first one */
};

static void collection_free(struct collection *d)
{
	work_cancel(&d->work);
	selection_done(&d->sel);
	list_options_done(&d->list);
	delete_options_done(&d->options);
	snapshot_done(&d->found);
	snapshot_done(&d->deleted);
	err_done(&d->err);
	free(d);
}

static void collection_done(void *arg, const struct err *err)
{
	struct collection *d = arg;

	if (err && !d->err.message)
		err_copy(&d->err, err);
	if (--d->waiting)
		return;
	if (d->err.message)
		call_reply_err(d->call, &d->err);
	else
		list_reply(d->call, &d->list, &d->deleted, d->next < d->found.n);
	collection_free(d);
}

static void collection_delete(struct collection *d, const struct object *victim)
{
	const struct object *o;
	struct write_options w = d->options.write;
	auto_err err = {0};
	bool gone;

	int rc;

	if (!w.precondition_uid)
		w.precondition_uid = victim->uid;
	d->waiting++; /* it may be on the disk before a task is back here */
	rc = registry_delete(d->call->api->registry, d->call->target.kind, victim->ns, victim->name,
			     &w, &o, &gone, &err);
	d->waiting -= rc < 0 || w.dry_run;
	if (rc == 0)
		snapshot_add(&d->deleted, o);
	else if (err.reason != ERR_NOT_FOUND && !d->err.message)
		err_copy(&d->err, &err);
}

static void collection_next(struct collection *d)
{
	const struct object *victim = snapshot_at(d->call, &d->found, d->next++);

	if (selection_matches(&d->sel, d->call, victim))
		collection_delete(d, victim);
}

static void collection_next_large(void *arg)
{
	struct collection *d = arg;

	collection_next(d);
	work_queue_next(d->call->api->loop, &d->work);
}

static void collection_go(void *arg)
{
	struct collection *d = arg;
	struct loop *loop = d->call->api->loop;
	mono_t start = mono_now();
	size_t limit = d->list.limit ? d->list.limit : SIZE_MAX;

	while (d->next < d->found.n && d->deleted.n < limit && !d->err.message) {
		size_t len = d->found.objects[d->next]->len;

		if (len >= LARGE_TEXT && task_start(loop, &d->task, len) == 0)
			return;
		if (len >= LARGE_TEXT || loop_slice_over(start)) { /* later: so many wait already */
			work_queue_next(loop, &d->work);
			return;
		}
		collection_next(d);
	}
	collection_done(d, NULL);
}

void handle_delete_collection(struct call *c)
{
	struct collection *d;
	auto_err err = {0};

	if (c->target.kind->namespaced && !c->target.ns) {
		call_reply_error(c, ERR_METHOD_NOT_ALLOWED,
				 "the server does not allow this method on the requested resource");
		return;
	}
	d = xnew(struct collection);
	d->call = c;
	d->waiting = 1;
	work_init(&d->work, collection_go, d);
	task_init(&d->task, collection_next_large, d);
	if (selection_parse(c, &d->sel, &err) < 0 ||
	    list_options_parse(c, false, &d->list, &err) < 0 ||
	    call_delete_options(c, NULL, &d->options, &err) < 0) {
		c->next_token = steal_ptr(d->list.next_token);
		collection_free(d);
		call_reply_err(c, &err);
		return;
	}
	c->on_gone = wait_gone;
	d->options.write.done = collection_done;
	d->options.write.done_arg = d;
	snapshot_take(c, &d->sel, &d->list, &d->found);
	collection_go(d);
}
