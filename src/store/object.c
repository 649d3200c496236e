/* SPDX-License-Identifier: Apache-2.0 */
/* Objects: one allocation each, reference counted; their parsed forms in a small LRU cache. */
#include "internal.h"
#include <inttypes.h>

/* A parsed text takes about this many times its length in jansson's nodes. */
#define PARSED_FACTOR 7
#define CACHE_MAX_COST (3U << 20)
/* Parsed forms of longer texts are freed by a task. */
#define DISCARD_MIN (32U << 10)

/* The text is left to the caller, who fills o->pub.len bytes in. */
static struct stored *stored_alloc(struct store *s, const struct object_parts *p, int64_t id,
				   unsigned flags, char **ret_text)
{
	size_t ns = strlen(p->ns) + 1, name = strlen(p->name) + 1, uid = strlen(p->uid) + 1;
	struct stored *o = xmalloc(sizeof(*o) + ns + name + uid + p->len + 1);
	char *at = o->data;

	*o = (struct stored){.store = s, .id = id, .refs = 1, .flags = flags};
	list_init(&o->lru);
	o->pub.kind = kind_ref(p->kind);
	o->pub.rev = p->rev;
	o->pub.len = p->len;
	o->pub.ns = memcpy(at, p->ns, ns);
	o->pub.name = memcpy(at += ns, p->name, name);
	o->pub.uid = memcpy(at += name, p->uid, uid);
	o->pub.text = *ret_text = at + uid;
	(*ret_text)[p->len] = '\0';
	return o;
}

struct stored *stored_new(struct store *s, const struct object_parts *p, int64_t id, unsigned flags)
{
	char *text;
	struct stored *o = stored_alloc(s, p, id, flags, &text);

	memcpy(text, p->text, p->len);
	return o;
}

struct stored *stored_from_json(struct store *s, const struct kind *k, json_t *obj, uint64_t rev,
				int64_t id, unsigned flags)
{
	auto_free char *text = NULL;
	struct object_parts p = {.kind = k, .rev = rev};

	if (rev) /* what was never stored has none */
		json_put_strf(obj, "metadata.resourceVersion", "%" PRIu64, rev);
	text = json_text(obj, &p.len);
	p.ns = k->namespaced ? meta_ns(obj) : "";
	p.name = meta_name(obj);
	p.uid = meta_uid(obj);
	p.text = text;
	return stored_new(s, &p, id, flags);
}

/* The same text with another revision: no need to parse what may be megabytes. NULL when it cannot
 * be found (never in a text of ours). */
static char *text_with_rev(const struct object *from, uint64_t rev, size_t *ret_len)
{
	struct strbuf b = {0};
	const char *at;
	size_t n;

	if (!json_text_find(from->text, from->len, "metadata.resourceVersion", &at, &n))
		return NULL;
	strbuf_add(&b, from->text, (size_t)(at - from->text));
	strbuf_addf(&b, "\"%" PRIu64 "\"", rev);
	at += n;
	strbuf_add(&b, at, (size_t)(from->text + from->len - at));
	*ret_len = b.len;
	return strbuf_steal(&b);
}

struct stored *stored_copy(struct store *s, const struct object *from, uint64_t rev,
			   const json_t *status)
{
	struct object_parts p = {.kind = from->kind,
				 .ns = from->ns,
				 .name = from->name,
				 .uid = from->uid,
				 .rev = rev};
	auto_free char *text = status ? NULL : text_with_rev(from, rev, &p.len);

	if (text) {
		p.text = text;
		return stored_new(s, &p, stored_of(from)->id, stored_of(from)->flags);
	}
	/* Shallow copies are enough: only members of the root and of metadata are set. */
	json_auto_t *obj = json_copy((json_t *)(uintptr_t)object_json(from));

	json_object_set_new(obj, "metadata", json_copy(json_object_get(obj, "metadata")));
	if (status)
		json_object_set(obj, "status", (json_t *)(uintptr_t)status);
	return stored_from_json(s, from->kind, obj, rev, stored_of(from)->id,
				stored_of(from)->flags);
}

struct object *object_ref(const struct object *o)
{
	if (!o)
		return NULL;
	stored_of(o)->refs++;
	return &stored_of(o)->pub;
}

static void decref_json(void *json)
{
	json_decref(json);
}

static size_t cost_of(const struct stored *o)
{
	return o->pub.len * PARSED_FACTOR;
}

/* Takes the parsed form out of the cache; borrowers keep it until the end of the turn. */
static void forget_json(struct stored *o)
{
	if (!o->json)
		return;
	list_del(&o->lru);
	o->store->lru_cost -= cost_of(o);
	if (o->pub.len > DISCARD_MIN)
		loop_discard(o->store->loop, steal_ptr(o->json));
	else
		loop_retire(o->store->loop, decref_json, steal_ptr(o->json));
}

void object_unref(const struct object *obj)
{
	struct stored *o = stored_of(obj);

	if (!o || --o->refs > 0)
		return;
	forget_json(o);
	kind_unref(o->pub.kind);
	free(o);
}

static void unref_later_cb(void *o)
{
	object_unref(o);
}

void object_unref_later(struct store *s, const struct object *o)
{
	if (o)
		loop_retire(s->loop, unref_later_cb, stored_of(o));
}

static void keep_json(struct stored *o, json_t *json)
{
	struct store *s = o->store;

	o->json = json;
	list_add_head(&s->lru, &o->lru);
	s->lru_cost += cost_of(o);
	while (s->lru_cost > CACHE_MAX_COST && s->lru.prev != &o->lru)
		forget_json(list_entry(s->lru.prev, struct stored, lru));
}

const json_t *object_json(const struct object *obj)
{
	struct stored *o = stored_of(obj);
	struct store *s = o->store;
	json_t *json;

	store_touch(s);
	if (o->json) {
		list_del(&o->lru);
		list_add_head(&s->lru, &o->lru);
		return o->json;
	}
	json = json_parse(o->pub.text, o->pub.len, NULL);
	if (!json)
		abort(); /* we wrote or checked this text ourselves */
	if (o->json)	 /* by somebody else while this was put aside */
		json_decref(json);
	else
		keep_json(o, json);
	return o->json;
}

json_t *object_dup(const struct object *o)
{
	if (stored_of(o)->json)
		return json_deep_copy(stored_of(o)->json);
	return json_parse(o->text, o->len, NULL);
}

const struct object *object_as(const struct object *o, const struct kind *k)
{
	if (!o || o->kind == k)
		return o;
	json_auto_t *obj = object_dup(o);

	kind_convert(o->kind, k, obj);
	return store_detached(stored_of(o)->store, k, obj);
}

void json_cache_clear(struct store *s)
{
	list_foreach (&s->lru, o, struct stored, lru)
		forget_json(o);
}

/* ---- drafts ------------------------------------------------------------------------------ */

struct store_draft *store_draft_new(struct store *s UNUSED, const struct kind *k, json_t *obj,
				    const struct object *old)
{
	struct store_draft *d = xnew(struct store_draft);

	d->kind = kind_ref(k);
	d->obj = json_incref(obj);
	d->old = object_ref(old);
	json_put_strf(obj, "metadata.resourceVersion", "%" PRIu64, old ? old->rev : 0);
	d->same = old && json_same(obj, object_json(old));
	if (!d->same)
		d->text = json_text_mark(obj, &d->len, json_at(obj, "metadata.resourceVersion"),
					 &d->rev_at, &d->rev_len);
	return d;
}

void store_draft_free(struct store_draft *d)
{
	if (!d)
		return;
	kind_unref(d->kind);
	json_decref(d->obj);
	object_unref(d->old);
	free(d->text);
	free(d);
}

struct stored *stored_from_draft(struct store *s, struct store_draft *d, uint64_t rev, int64_t id,
				 unsigned flags)
{
	char number[32], *text;
	size_t n = (size_t)snprintf(number, sizeof(number), "\"%" PRIu64 "\"", rev);
	size_t rest = d->rev_at + d->rev_len;
	struct object_parts p = {.kind = d->kind,
				 .ns = d->kind->namespaced ? meta_ns(d->obj) : "",
				 .name = meta_name(d->obj),
				 .uid = meta_uid(d->obj),
				 .rev = rev,
				 .len = d->len - d->rev_len + n};
	struct stored *o = stored_alloc(s, &p, id, flags, &text);

	memcpy(text, d->text, d->rev_at);
	memcpy(text + d->rev_at, number, n);
	memcpy(text + d->rev_at + n, d->text + rest, d->len - rest);
	json_put_strf(d->obj, "metadata.resourceVersion", "%" PRIu64, rev);
	keep_json(o, json_incref(d->obj));
	store_touch(s);
	return o;
}
