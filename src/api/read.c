/* SPDX-License-Identifier: Apache-2.0 */
/*
 * get and list. A list is a snapshot of references, so that it can be sent piece by piece while
 * objects change; plain JSON is joined from the stored texts without parsing anything.
 */
#include "internal.h"

#define SEND_WHOLE_MAX (128u * 1024) /* answers up to this size are sent in one piece */
#define SEND_PIECE (64u * 1024)
#define BACKLOG_HIGH (512u * 1024)
#define TOKEN_MAX 2048

void handle_get(struct call *c)
{
	auto_err err = {0};

	if (!c->target.sub && call_bool(c, "watch")) {
		handle_watch(c);
		return;
	}
	const struct object *o = call_object(c, &err);

	if (o)
		call_reply_object(c, 200, o);
	else
		call_reply_err(c, &err);
}

/* ---- selections -------------------------------------------------------------------------- */

int selection_parse(struct call *c, struct selection *ret, struct err *err)
{
	auto_free char *labels = http_param(c->req, "labelSelector");
	auto_free char *fields = http_param(c->req, "fieldSelector");

	*ret = (struct selection){0};
	if (!str_empty(labels)) {
		ret->labels = label_selector_parse(labels, err);
		if (!ret->labels)
			return -EINVAL;
	}
	if (!str_empty(fields)) {
		ret->fields = field_selector_parse(c->target.kind, fields, err);
		if (!ret->fields)
			return -EINVAL;
	}
	return 0;
}

void selection_done(struct selection *s)
{
	if (s->labels)
		label_selector_free(s->labels);
	if (s->fields)
		field_selector_free(s->fields);
	*s = (struct selection){0};
}

bool selection_matches(const struct selection *s, const struct call *c, const struct object *o)
{
	const char *name = s->fields ? field_selector_name(s->fields) : NULL;

	if (c->target.ns && !streq(o->ns, c->target.ns))
		return false;
	if (c->target.name && !streq(o->name, c->target.name))
		return false;
	if (name && !streq(name, o->name))
		return false;
	if (!s->labels && !s->fields)
		return true;
	const json_t *json = object_json(o);

	if (s->labels && !label_selector_matches(s->labels, json_at(json, "metadata.labels")))
		return false;
	return !s->fields || field_selector_matches(s->fields, json);
}

/* ---- snapshots --------------------------------------------------------------------------- */

static void snapshot_add(struct snapshot *s, const struct object *o)
{
	if (s->n == s->cap) {
		s->cap = s->cap ? 2 * s->cap : 16;
		s->objects = xrealloc(s->objects, s->cap, sizeof(*s->objects));
	}
	s->objects[s->n++] = object_ref(o);
	s->bytes += o->len;
}

void snapshot_take(struct call *c, const struct selection *sel, const char *after_ns,
		   const char *after_name, size_t limit, struct snapshot *ret)
{
	const struct target *t = &c->target;
	const char *ns = t->ns ? t->ns : "";
	const char *name = sel->fields ? field_selector_name(sel->fields) : NULL;
	struct store_iter it =
		after_name ? store_iter_after(c->api->store, t->kind, ns, after_ns, after_name)
			   : store_iter(c->api->store, t->kind, ns);
	const struct object *o;

	*ret = (struct snapshot){.remaining = -1};
	/* What kubectl asks before it watches: one object by name. */
	if (name && (t->ns || !t->kind->namespaced) && !after_name) {
		o = store_get(c->api->store, t->kind, ns, name);
		if (o && selection_matches(sel, c, o))
			snapshot_add(ret, o);
		return;
	}
	while ((o = store_next(&it))) {
		if (!selection_matches(sel, c, o))
			continue;
		if (limit && ret->n == limit) {
			ret->more = true;
			ret->remaining = 1;
			break;
		}
		snapshot_add(ret, o);
	}
	while (ret->more && store_next(&it))
		ret->remaining++;
	if (sel->labels || sel->fields)
		ret->remaining = -1;
}

void snapshot_done(struct snapshot *s)
{
	for (size_t i = 0; i < s->n; i++)
		object_unref(s->objects[i]);
	free(s->objects);
	*s = (struct snapshot){0};
}

/* ---- options ----------------------------------------------------------------------------- */

int table_include_parse(struct call *c, enum table_include *ret, struct err *err)
{
	auto_free char *v = http_param(c->req, "includeObject");

	*ret = TABLE_OBJECT_METADATA;
	if (str_empty(v) || streq(v, "Metadata"))
		return 0;
	if (streq(v, "Object"))
		*ret = TABLE_OBJECT_FULL;
	else if (streq(v, "None"))
		*ret = TABLE_OBJECT_NONE;
	else
		return err_set(err, ERR_BAD_REQUEST, "unrecognized includeObject value: \"%s\"", v);
	return 0;
}

struct list_options {
	size_t limit;
	uint64_t rev; /* of the answer */
	char *after_ns, *after_name;
};

/* The token: base64 of {"v","rv","start"} as upstream's; start is "namespace/name". */
static char *token_format(uint64_t rev, const struct object *last)
{
	json_auto_t *v = json_object();
	size_t len;

	json_put_str(v, "v", "meta.k8s.io/v1");
	json_put_int(v, "rv", (json_int_t)rev);
	json_put_strf(v, "start", "%s/%s", last->ns, last->name);
	auto_free char *text = json_text(v, &len);
	char *token = base64_encode(text, len);

	for (char *p = token; *p; p++)
		*p = *p == '+' ? '-' : *p == '/' ? '_' : *p;
	token[strcspn(token, "=")] = '\0';
	return token;
}

static int token_parse(char *token, struct list_options *ret, struct err *err)
{
	auto_strbuf b = {0};
	auto_free unsigned char *text = NULL;
	size_t len;

	for (char *p = token; *p; p++)
		*p = *p == '-' ? '+' : *p == '_' ? '/' : *p;
	strbuf_adds(&b, token);
	while (b.len % 4)
		strbuf_addc(&b, '=');
	if (b.len > TOKEN_MAX || base64_decode(b.s, b.len, &text, &len) < 0)
		return err_set(err, ERR_BAD_REQUEST, "continue key is not valid");
	json_auto_t *v = json_parse((const char *)text, len, NULL);
	const char *start = v ? json_str(v, "start", NULL) : NULL;
	const char *slash = start ? strchr(start, '/') : NULL;

	if (!slash || json_int(v, "rv", 0) <= 0)
		return err_set(err, ERR_BAD_REQUEST, "continue key is not valid");
	ret->rev = (uint64_t)json_int(v, "rv", 0);
	ret->after_ns = xstrndup(start, (size_t)(slash - start));
	ret->after_name = xstrdup(slash + 1);
	return 0;
}

static int too_large_rev(uint64_t rev, uint64_t current, struct err *err)
{
	int rc = err_set(err, ERR_TIMEOUT,
			 "Timeout: Too large resource version: %llu, current: %llu",
			 (unsigned long long)rev, (unsigned long long)current);

	err_cause_add(err, "ResourceVersionTooLarge", NULL, "Too large resource version");
	if (err)
		err->retry_after = 1;
	return rc;
}

static int list_invalid(struct err *err, const char *field, const char *text)
{
	int rc = err_set(err, ERR_INVALID,
			 "ListOptions.meta.k8s.io \"\" is invalid: %s: Forbidden: %s", field, text);

	err_about(err, "ListOptions", "meta.k8s.io", NULL);
	err_cause_add(err, "FieldValueForbidden", field, "Forbidden: %s", text);
	return rc;
}

/* The rules of KUBERNETES.md 4.6 for lists. */
static int check_match(const char *match, const char *rv, bool continued, struct err *err)
{
	if (str_empty(match))
		return 0;
	if (str_empty(rv))
		return list_invalid(err, "resourceVersionMatch",
				    "resourceVersionMatch is forbidden unless resourceVersion is "
				    "provided");
	if (continued)
		return list_invalid(err, "resourceVersionMatch",
				    "resourceVersionMatch is forbidden when continue is provided");
	if (!streq(match, "Exact") && !streq(match, "NotOlderThan"))
		return list_invalid(err, "resourceVersionMatch",
				    "supported values: \"Exact\", \"NotOlderThan\"");
	if (streq(match, "Exact") && streq(rv, "0"))
		return list_invalid(err, "resourceVersionMatch",
				    "resourceVersionMatch \"exact\" is forbidden for "
				    "resourceVersion \"0\"");
	return 0;
}

static int check_rev(const char *rv, const char *match, uint64_t current, struct err *err)
{
	uint64_t rev = 0;

	if (str_empty(rv))
		return 0;
	if (str_to_u64(rv, UINT64_MAX, &rev) < 0)
		return err_set(err, ERR_BAD_REQUEST, "resourceVersion: Invalid value: \"%s\"", rv);
	if (rev > current)
		return too_large_rev(rev, current, err);
	if (match && streq(match, "Exact") && rev != current)
		return err_set(err, ERR_EXPIRED,
			       "The resourceVersion for the provided list is too "
			       "old.");
	return 0;
}

static int list_options_parse(struct call *c, struct list_options *o, struct err *err)
{
	auto_free char *rv = http_param(c->req, "resourceVersion");
	auto_free char *match = http_param(c->req, "resourceVersionMatch");
	auto_free char *token = http_param(c->req, "continue");
	int64_t limit;
	int rc = call_int(c, "limit", 0, INT32_MAX, 0, &limit, err);

	if (rc == 0 && call_bool(c, "sendInitialEvents"))
		rc = list_invalid(err, "sendInitialEvents",
				  "sendInitialEvents is forbidden for list");
	if (rc == 0)
		rc = check_match(match, rv, !str_empty(token), err);
	if (rc == 0)
		rc = check_rev(rv, match, store_rev(c->api->store), err);
	o->limit = (size_t)limit;
	o->rev = store_rev(c->api->store);
	if (rc == 0 && !str_empty(token))
		rc = token_parse(token, o, err);
	return rc;
}

static void list_options_done(struct list_options *o)
{
	free(o->after_ns);
	free(o->after_name);
}

static json_t *list_meta(const struct list_options *o, const struct snapshot *s)
{
	json_t *meta = json_object();

	json_put_strf(meta, "resourceVersion", "%llu", (unsigned long long)o->rev);
	if (s->more) {
		auto_free char *token = token_format(o->rev, s->objects[s->n - 1]);

		json_put_str(meta, "continue", token);
		if (s->remaining >= 0)
			json_put_int(meta, "remainingItemCount", s->remaining);
	}
	return meta;
}

/* ---- answers ----------------------------------------------------------------------------- */

/* A list being sent; freed with its snapshot. */
struct sending {
	struct call *call;
	struct snapshot snapshot;
	size_t next;
};

static void sending_free(struct sending *s)
{
	snapshot_done(&s->snapshot);
	free(s);
}

static void sending_gone(struct call *c)
{
	sending_free(c->data);
	call_forget(c);
}

/* Adds objects until the piece is large enough; true when that was the last of them. */
static bool add_items(const struct snapshot *s, size_t *next, struct strbuf *b, size_t piece)
{
	while (*next < s->n && b->len < piece) {
		if (*next)
			strbuf_addc(b, ',');
		strbuf_add(b, s->objects[*next]->text, s->objects[*next]->len);
		++*next;
	}
	return *next == s->n;
}

static void sending_go(void *arg)
{
	struct sending *s = arg;
	struct call *c = s->call;

	while (http_respond_backlog(c->req) < BACKLOG_HIGH) {
		auto_strbuf b = {0};
		bool last = add_items(&s->snapshot, &s->next, &b, SEND_PIECE);

		if (last)
			strbuf_adds(&b, "]}\n");
		http_respond_chunk(c->req, b.s, b.len);
		if (!last)
			continue;
		sending_free(s);
		call_end(c);
		return;
	}
}

static void add_head(struct strbuf *b, const struct kind *k, const json_t *meta)
{
	char version[API_VERSION_MAX];
	auto_free char *text = json_text(meta, NULL);

	strbuf_addf(b, "{\"kind\":\"%s\",\"apiVersion\":\"%s\",\"metadata\":%s,\"items\":[",
		    k->list_kind, kind_api_version(k, version), text);
}

/* Takes the snapshot over. */
static void reply_list(struct call *c, const json_t *meta, struct snapshot *snapshot)
{
	auto_strbuf b = {0};
	size_t next = 0;

	add_head(&b, c->target.kind, meta);
	if (snapshot->bytes <= SEND_WHOLE_MAX) {
		add_items(snapshot, &next, &b, SIZE_MAX);
		strbuf_adds(&b, "]}\n");
		size_t len = b.len;

		call_reply_take(c, 200, NULL, strbuf_steal(&b), len);
		return;
	}
	struct sending *s = xnew(struct sending);

	s->call = c;
	s->snapshot = *snapshot;
	*snapshot = (struct snapshot){0};
	c->data = s;
	c->on_gone = sending_gone;
	call_start(c, 200, NULL);
	http_respond_chunk(c->req, b.s, b.len);
	http_respond_on_drain(c->req, sending_go, s);
	sending_go(s);
}

static void reply_list_table(struct call *c, json_t *meta, const struct snapshot *s)
{
	enum table_include include;
	auto_err err = {0};
	time_t now = time(NULL);

	if (table_include_parse(c, &include, &err) < 0) {
		call_reply_err(c, &err);
		return;
	}
	json_t *table = table_new(c->target.kind, c->accept.version, true);

	for (size_t i = 0; i < s->n; i++)
		table_add(c->target.kind, table, object_json(s->objects[i]), include, now);
	json_put(table, "metadata", json_incref(meta));
	call_reply_json(c, 200, table);
}

/* PartialObjectMetadataList, or the whole list for YAML. */
static void reply_list_parsed(struct call *c, json_t *meta, const struct snapshot *s, bool partial)
{
	json_t *list = json_object(), *items = json_array();
	char version[API_VERSION_MAX];

	if (partial) {
		json_put_str(list, "kind", "PartialObjectMetadataList");
		json_put_strf(list, "apiVersion", "meta.k8s.io/%s", c->accept.version);
	} else {
		json_put_str(list, "kind", c->target.kind->list_kind);
		json_put_str(list, "apiVersion", kind_api_version(c->target.kind, version));
	}
	for (size_t i = 0; i < s->n; i++)
		json_array_append_new(
			items, partial ? partial_new(object_json(s->objects[i]), c->accept.version)
				       : object_dup(s->objects[i]));
	json_put(list, "metadata", json_incref(meta));
	json_put(list, "items", items);
	call_reply_json(c, 200, list);
}

static void reply_snapshot(struct call *c, const struct list_options *o, struct snapshot *s)
{
	json_auto_t *meta = list_meta(o, s);

	switch (c->accept.media) {
	case MEDIA_JSON:
		reply_list(c, meta, s);
		return;
	case MEDIA_TABLE:
		reply_list_table(c, meta, s);
		return;
	case MEDIA_PARTIAL:
		reply_list_parsed(c, meta, s, true);
		return;
	case MEDIA_YAML:
		reply_list_parsed(c, meta, s, false);
		return;
	case MEDIA_AGGREGATED:
	case MEDIA_NONE:
		break;
	}
	call_reply_error(c, ERR_NOT_ACCEPTABLE,
			 "only the following media types are accepted: application/json, "
			 "application/yaml");
}

void handle_list(struct call *c)
{
	struct list_options o = {0};
	struct selection sel = {0};
	struct snapshot s = {0};
	auto_err err = {0};

	if (call_bool(c, "watch")) {
		handle_watch(c);
		return;
	}
	if (selection_parse(c, &sel, &err) < 0 || list_options_parse(c, &o, &err) < 0) {
		call_reply_err(c, &err);
	} else {
		snapshot_take(c, &sel, o.after_ns, o.after_name, o.limit, &s);
		reply_snapshot(c, &o, &s);
	}
	snapshot_done(&s);
	selection_done(&sel);
	list_options_done(&o);
}
