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

	breathe_copy(text, p->text, p->len);
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

/* Where the revision stands in a text, in its quotes. */
struct place {
	size_t at, len;
};

/* p's object with the revision p->rev where another stands in p's text. */
static struct stored *stored_with_rev(struct store *s, struct object_parts p, struct place *place,
				      int64_t id, unsigned flags)
{
	char number[32], *text;
	size_t n = (size_t)snprintf(number, sizeof(number), "\"%" PRIu64 "\"", p.rev);
	size_t rest = place->at + place->len, tail = p.len - rest;
	const char *from = p.text;
	struct stored *o;

	p.len = place->at + n + tail;
	o = stored_alloc(s, &p, id, flags, &text);
	breathe_copy(text, from, place->at);
	memcpy(text + place->at, number, n);
	breathe_copy(text + place->at + n, from + rest, tail);
	place->len = n;
	return o;
}

/* What an object is made of, and where its revision stands: no need to parse what may be megabytes.
 * False when that cannot be found (never in a text of ours). */
static bool take_apart(const struct object *o, struct object_parts *p, struct place *place)
{
	const char *at;

	*p = (struct object_parts){o->kind, o->ns, o->name, o->uid, o->text, o->len, o->rev};
	if (!json_text_find(o->text, o->len, "metadata.resourceVersion", &at, &place->len))
		return false;
	place->at = (size_t)(at - o->text);
	return true;
}

struct stored *stored_copy(struct store *s, const struct object *from, uint64_t rev,
			   const json_t *status)
{
	struct object_parts p;
	struct place place;

	if (!status && take_apart(from, &p, &place)) {
		p.rev = rev;
		return stored_with_rev(s, p, &place, stored_of(from)->id, stored_of(from)->flags);
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
	json_t *json, *ret;

	store_touch(s);
	if (o->json) {
		list_del(&o->lru);
		list_add_head(&s->lru, &o->lru);
		return o->json;
	}
	json = json_parse(o->pub.text, o->pub.len, NULL);
	if (!json)
		abort(); /* we wrote or checked this text ourselves */
	ret = o->json ? o->json : json;
	if (o->json)		   /* by somebody else while this was put aside */
		json_decref(json); /* breathes: it may be forgotten meanwhile, and is borrowed */
	else
		keep_json(o, json);
	return ret;
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

/* With the place of a revision as long as the next one: it is put in when that is known. */
static void make_ahead(struct store_draft *d, struct object_parts *p, struct place *place)
{
	p->rev = d->store->rev + 1;
	d->made = stored_with_rev(d->store, *p, place, 0, 0);
	d->rev_at = place->at;
	d->rev_len = place->len;
}

static struct store_draft *draft_new(struct store *s, const struct kind *k,
				     const struct object *old)
{
	struct store_draft *d = xnew(struct store_draft);

	d->store = s;
	d->kind = kind_ref(k);
	d->old = object_ref(old);
	return d;
}

/* A patch can make an object larger than any body. */
static int check_size(size_t len, const struct json_shape *shape, struct err *err)
{
	if (len > STORE_TEXT_MAX)
		return err_set(err, ERR_REQUEST_TOO_LARGE, "the object is larger than %u bytes",
			       STORE_TEXT_MAX);
	if (shape->values > STORE_VALUES_MAX)
		return err_set(err, ERR_REQUEST_TOO_LARGE, "the object holds more than %u values",
			       STORE_VALUES_MAX);
	if (shape->members > JSON_MEMBERS_MAX + 1) /* field sets have one more */
		return err_set(err, ERR_REQUEST_TOO_LARGE,
			       "a map of the object holds more than %d values", JSON_MEMBERS_MAX);
	return 0;
}

struct store_draft *store_draft_new(struct store *s, const struct kind *k, json_t *obj,
				    const struct object *old, struct err *err)
{
	struct store_draft *d = draft_new(s, k, old);
	auto_free char *text = NULL;
	struct object_parts p = {.kind = k};
	struct json_shape shape = {0};
	struct place place;

	d->obj = json_incref(obj);
	json_put_strf(obj, "metadata.resourceVersion", "%" PRIu64, old ? old->rev : 0);
	d->same = old && json_same(obj, object_json(old));
	if (d->same)
		return d;
	shape.string = json_at(obj, "metadata.resourceVersion");
	text = json_text_shape(obj, &p.len, &shape);
	if (check_size(p.len, &shape, err) < 0) {
		store_draft_free(d);
		return NULL;
	}
	place = (struct place){shape.at, shape.len};
	p.ns = k->namespaced ? meta_ns(obj) : "";
	p.name = meta_name(obj);
	p.uid = meta_uid(obj);
	p.text = text;
	make_ahead(d, &p, &place);
	return d;
}

struct store_draft *store_draft_deletion(struct store *s, const struct object *old)
{
	struct store_draft *d = draft_new(s, old->kind, old);
	struct object_parts p;
	struct place place;

	if (take_apart(old, &p, &place))
		make_ahead(d, &p, &place);
	return d;
}

void store_draft_free(struct store_draft *d)
{
	if (!d)
		return;
	if (d->made)
		object_unref(&d->made->pub);
	kind_unref(d->kind);
	json_decref(d->obj);
	object_unref(d->old);
	free(d);
}

/* The digits are in the text that is not yet anybody else's. */
static bool put_rev(struct store_draft *d, uint64_t rev)
{
	char number[32];
	size_t n = (size_t)snprintf(number, sizeof(number), "\"%" PRIu64 "\"", rev);

	if (n != d->rev_len)
		return false;
	memcpy((char *)(uintptr_t)d->made->pub.text + d->rev_at, number, n);
	d->made->pub.rev = rev;
	return true;
}

struct stored *stored_from_draft(struct store *s, struct store_draft *d, uint64_t rev, int64_t id,
				 unsigned flags)
{
	struct stored *o;

	if (!put_rev(d, rev)) { /* it has become a digit longer meanwhile */
		o = d->made;
		d->made = stored_copy(s, &o->pub, rev, NULL);
		object_unref(&o->pub);
	}
	o = steal_ptr(d->made);
	o->id = id;
	o->flags = flags;
	if (d->obj) {
		json_put_strf(d->obj, "metadata.resourceVersion", "%" PRIu64, rev);
		keep_json(o, json_incref(d->obj));
	}
	store_touch(s);
	return o;
}
