/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Requests that may take long to compute, because the body or the object is large, are handled by a
 * task: a slice a turn, while everybody else goes on. The world may change between two slices; what
 * a write has been computed from is compared when it is committed (registry), and a write that has
 * been overtaken is computed again, as upstream's GuaranteedUpdate does.
 */
#include "internal.h"

/* Upstream's patch handler gives up as soon. */
#define ATTEMPTS_MAX 5

static const struct object *present(const struct call *c)
{
	const struct target *t = &c->target;

	if (!t->kind || t->kind->computed || !t->name)
		return NULL;
	return store_get(c->api->store, kind_storage(t->kind), t->ns ? t->ns : "", t->name);
}

/* How much text the handler may have to go through. Plain JSON is answered as it is stored. */
static size_t work_of(const struct call *c)
{
	static void (*const handlers[])(struct call * c) = {
		handle_create, handle_update,	 handle_patch,	   handle_delete,
		handle_get,    handle_scale_get, handle_scale_put, handle_scale_patch,
	};
	const struct object *o = present(c);
	size_t len = 0, i = 0;

	while (i < ARRAY_SIZE(handlers) && handlers[i] != c->route->handle)
		i++;
	if (i == ARRAY_SIZE(handlers) || call_is_watch(c) ||
	    (c->route->handle == handle_get && c->accept.media == MEDIA_JSON))
		return 0;
	http_body(c->req, &len);
	return len + (o ? o->len : 0);
}

static void go(void *arg)
{
	struct call *c = arg;
	const struct kind *k = kind_ref(c->target.kind);
	const struct kind *storage = k ? kind_ref(kind_storage(k)) : NULL;
	size_t warnings = c->warnings.n;
	const struct object *o;

	do {
		while (c->warnings.n > warnings)
			free(c->warnings.v[--c->warnings.n]);
		c->again = false;
		o = present(c);
		c->seen = o ? o->rev : 0;
		c->route->handle(c);
	} while (c->again);
	c->aside = false;
	if (c->gone) /* who waits for the disk has nobody to tell any more */
		c->req = NULL;
	if (c->late)
		c->late(c, c->late_err);
	kind_unref(storage);
	kind_unref(k);
}

bool call_done_later(struct call *c, store_done_fn *fn, const struct err *err)
{
	if (!c->aside)
		return false;
	c->late = fn;
	if (err) {
		c->late_err = xnew(struct err);
		err_copy(c->late_err, err);
	}
	return true;
}

bool call_again(struct call *c, const struct err *err)
{
	const struct object *o = present(c);
	bool overtaken = (o ? o->rev : 0) != c->seen;

	if (!c->aside || !overtaken || c->gone ||
	    (err->reason != ERR_CONFLICT && err->reason != ERR_ALREADY_EXISTS))
		return false;
	c->again = ++c->attempts < ATTEMPTS_MAX;
	return c->again;
}

bool call_aside_gone(struct call *c)
{
	if (!c->aside)
		return false;
	if (task_cancel(c->api->loop, &c->task)) {
		c->aside = false;
		return false;
	}
	c->gone = true; /* the request lives as long as the task */
	return true;
}

void call_handle(struct call *c)
{
	size_t work = work_of(c);
	auto_err err = {0};

	if (work < LARGE_TEXT) {
		c->route->handle(c);
		return;
	}
	task_init(&c->task, go, c);
	c->aside = true;
	if (task_start(c->api->loop, &c->task, work) == 0)
		return;
	c->aside = false;
	err_set(&err, ERR_TOO_MANY_REQUESTS, "Too many requests, please try again later.");
	err.retry_after = 1;
	call_reply_err(c, &err);
}
