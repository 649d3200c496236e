/* SPDX-License-Identifier: Apache-2.0 */
/* PUT (and the result of a PATCH): spec and status apart, concurrency, generation, finalizers. */
#include "internal.h"
#include <inttypes.h>

bool has_finalizers(const json_t *obj)
{
	return json_len(obj, "metadata.finalizers") > 0;
}

/* Is a member of `a` another one in `b`? The system's own members and status do not count. */
static bool member_differs(const json_t *a, const json_t *b)
{
	const char *key;
	json_t *v;

	json_object_foreach((json_t *)(uintptr_t)a, key, v)
	{
		const json_t *other = json_object_get(b, key);

		if (streq(key, "metadata") || streq(key, "status") || streq(key, "kind") ||
		    streq(key, "apiVersion"))
			continue;
		if (!other || !json_same(v, other))
			return true;
	}
	return false;
}

bool spec_differs(const json_t *a, const json_t *b)
{
	return member_differs(a, b) || member_differs(b, a);
}

/* ---- may it be written ------------------------------------------------------------------ */

static int check_request(const struct kind *k, const char *ns, const char *name, json_t *obj,
			 struct err *err)
{
	const char *body = meta_name(obj), *body_ns = meta_ns(obj);

	if (!*body)
		return err_set(err, ERR_BAD_REQUEST,
			       "the name of the object (%s based on URL) was undeterminable: name "
			       "must be provided",
			       name);
	if (!streq(body, name))
		return err_set(
			err, ERR_BAD_REQUEST,
			"the name of the object (%s) does not match the name on the URL (%s)", body,
			name);
	if (k->namespaced && *body_ns && !streq(body_ns, ns))
		return err_set(err, ERR_BAD_REQUEST,
			       "the namespace of the object (%s) does not match the namespace on "
			       "the request (%s)",
			       body_ns, ns);
	return set_namespace(k, ns, obj, err);
}

static int check_uid(const struct object *old, const char *uid, struct err *err)
{
	if (str_empty(uid) || streq(uid, old->uid))
		return 0;
	return fail_conflict(err, old->kind, old->name,
			     "Precondition failed: UID in precondition: %s, UID in object meta: %s",
			     uid, old->uid);
}

static int check_rev(const struct object *old, const json_t *obj, const struct write_options *o,
		     struct err *err)
{
	const struct kind *k = old->kind;
	const char *text = json_str(obj, "metadata.resourceVersion", "");
	uint64_t rev = 0;

	if (o->precondition_rev && o->precondition_rev != old->rev)
		return fail_modified(err, k, old->name);
	if (*text && str_to_u64(text, UINT64_MAX, &rev) < 0)
		return fail_invalid(err, k, old->name, "metadata.resourceVersion",
				    "Invalid value: \"%s\": must be a number", text);
	if (rev && rev != old->rev)
		return fail_modified(err, k, old->name);
	if (!rev && !k->unconditional_update)
		return fail_invalid(err, k, old->name, "metadata.resourceVersion",
				    "Invalid value: \"%s\": must be specified for an update", text);
	return 0;
}

static int check_write(const struct object *old, const json_t *obj, const struct write_options *o,
		       struct err *err)
{
	int rc = check_uid(old, o->precondition_uid, err);

	if (rc == 0 && !o->patched)
		rc = check_uid(old, meta_uid(obj), err);
	if (rc == 0)
		rc = check_rev(old, obj, o, err);
	/* Who replaces an object means the one with this uid; a patch would change it. */
	if (rc == 0 && o->patched && *meta_uid(obj) && !streq(meta_uid(obj), old->uid))
		rc = fail_invalid(err, old->kind, old->name, "metadata.uid",
				  "Invalid value: \"%s\": field is immutable", meta_uid(obj));
	return rc;
}

/* ---- what each subresource may change --------------------------------------------------- */

void take_member(json_t *to, const json_t *from, const char *key)
{
	json_t *v = json_object_get(from, key);

	if (v)
		json_object_set_new(to, key, json_deep_copy(v));
	else
		json_object_del(to, key);
}

static int take_main(json_t *obj, const struct object *old, const json_t *given UNUSED,
		     struct err *err UNUSED)
{
	static const char *const kept[] = {"uid", "creationTimestamp", "deletionTimestamp",
					   "deletionGracePeriodSeconds"};
	static const char *const times[] = {"creationTimestamp", "deletionTimestamp"};
	const json_t *was = object_json(old), *was_meta = json_object_get(was, "metadata");
	json_t *meta = json_object_get(obj, "metadata");

	for (size_t i = 0; i < ARRAY_SIZE(kept); i++)
		if (!json_object_get(meta, kept[i]))
			take_member(meta, was_meta, kept[i]);
	/* Backups and exports carry times of their own: no error, and no change. */
	for (size_t i = 0; i < ARRAY_SIZE(times); i++)
		if (json_object_get(was_meta, times[i]))
			take_member(meta, was_meta, times[i]);
	take_member(meta, was_meta, "generation");
	json_object_del(meta, "selfLink");
	if (old->kind->has_status)
		take_member(obj, was, "status");
	if (old->kind == &kind_namespace)
		take_member(json_obj(obj, "spec"), json_object_get(was, "spec"), "finalizers");
	if (old->kind == &kind_certificatesigningrequest)
		take_member(obj, was, "spec");
	if (old->kind == &kind_service)
		service_keep(obj, was);
	/* Written through their subresource only. */
	if (old->kind == &kind_pod)
		take_member(json_obj(obj, "spec"), json_object_get(was, "spec"),
			    "ephemeralContainers");
	return 0;
}

static int take_status(json_t *obj, const struct object *old, const json_t *given, struct err *err)
{
	take_member(obj, given, "status");
	if (old->kind->custom)
		return 0;
	take_member(json_object_get(obj, "metadata"), json_object_get(given, "metadata"),
		    "annotations");
	if (old->kind == &kind_pod || old->kind == &kind_node)
		take_member(json_object_get(obj, "metadata"), json_object_get(given, "metadata"),
			    "labels");
	if (old->kind == &kind_certificatesigningrequest)
		return csr_keep_decision(obj, old, err);
	return 0;
}

static int take_approval(json_t *obj, const struct object *old, const json_t *given,
			 struct err *err UNUSED)
{
	csr_take_approval(obj, object_json(old), given);
	return 0;
}

static int take_finalize(json_t *obj, const struct object *old UNUSED, const json_t *given,
			 struct err *err UNUSED)
{
	take_member(json_obj(obj, "spec"), json_object_get(given, "spec"), "finalizers");
	return 0;
}

static int fail_binding(struct err *err, const char *name, const char *fmt, ...) PRINTF_LIKE(3, 4);
static int fail_binding(struct err *err, const char *name, const char *fmt, ...)
{
	auto_free char *text = NULL;
	va_list ap;

	va_start(ap, fmt);
	text = xvasprintf(fmt, ap);
	va_end(ap);
	err_about(err, "pods/binding", "", name);
	return err_set(err, ERR_CONFLICT,
		       "Operation cannot be fulfilled on pods/binding \"%s\": %s", name, text);
}

static int check_unbound(const json_t *obj, struct err *err)
{
	const char *name = meta_name(obj), *has = json_str(obj, "spec.nodeName", "");

	if (meta_deleting(obj))
		return fail_binding(err, name,
				    "pod %s is being deleted, cannot be assigned to a host", name);
	if (*has)
		return fail_binding(err, name, "pod %s is already assigned to node \"%s\"", name,
				    has);
	if (json_len(obj, "spec.schedulingGates"))
		return fail_binding(err, name, "pod %s has non-empty .spec.schedulingGates", name);
	return 0;
}

static int take_binding(json_t *obj, const struct object *old UNUSED, const json_t *given,
			struct err *err)
{
	json_t *conditions, *scheduled, *annotations = json_at(given, "metadata.annotations");

	if (check_unbound(obj, err) < 0)
		return -EINVAL;
	json_put_str(obj, "spec.nodeName", json_str(given, "spec.nodeName", ""));
	if (annotations)
		json_object_update(json_obj(obj, "metadata.annotations"), annotations);
	conditions = json_arr(obj, "status.conditions");
	scheduled = json_find(conditions, "type", "PodScheduled");
	if (!scheduled) {
		scheduled = json_object();
		json_array_append_new(conditions, scheduled);
		json_put_str(scheduled, "type", "PodScheduled");
	}
	json_put_str(scheduled, "status", "True");
	json_put(scheduled, "lastProbeTime", json_null());
	json_put_time(scheduled, "lastTransitionTime", time(NULL));
	json_object_del(scheduled, "reason");
	json_object_del(scheduled, "message");
	return 0;
}

static int take_ephemeral(json_t *obj, const struct object *old UNUSED, const json_t *given,
			  struct err *err UNUSED)
{
	take_member(json_obj(obj, "spec"), json_object_get(given, "spec"), "ephemeralContainers");
	return 0;
}

static const struct part {
	const char *subresource;
	/* obj: a copy of old, or for the main resource of what was given. */
	int (*take)(json_t *obj, const struct object *old, const json_t *given, struct err *err);
	bool validate;
	bool tracked; /* in managedFields */
	bool counted; /* in metadata.generation, when it changes the spec */
} parts[] = {
	{NULL, take_main, true, true, true},
	{"status", take_status, true, true, true},
	{"approval", take_approval, true, true, true},
	{"finalize", take_finalize, true, false, true},
	{"binding", take_binding, false, false, false},
	{"ephemeralcontainers", take_ephemeral, true, true, true},
};

static const struct part *part_find(const char *subresource)
{
	for (size_t i = 0; i < ARRAY_SIZE(parts); i++)
		if (str_eq(parts[i].subresource, subresource))
			return &parts[i];
	return NULL;
}

/* ---- the write -------------------------------------------------------------------------- */

/* The last finalizer went, and no grace period runs: nothing holds it any more. */
static bool is_let_go(const json_t *obj, const json_t *old, const struct kind *k)
{
	if (!meta_deleting(old) || has_finalizers(obj))
		return false;
	if (k == &kind_namespace)
		return json_len(obj, "spec.finalizers") == 0;
	return json_int(old, "metadata.deletionGracePeriodSeconds", 0) == 0;
}

/* Of custom kinds all but metadata and a status of its own counts. */
static bool custom_differs(const struct kind *k, const json_t *a, const json_t *b)
{
	json_auto_t *x = json_copy((json_t *)(uintptr_t)a), *y = json_copy((json_t *)(uintptr_t)b);
	static const char *const uncounted[] = {"metadata", "status"};

	for (size_t i = 0; i < (k->has_status ? 2U : 1U); i++) {
		json_object_del(x, uncounted[i]);
		json_object_del(y, uncounted[i]);
	}
	return !json_same(x, y);
}

static void count_generation(const struct kind *k, json_t *obj, const json_t *old)
{
	if (k->has_generation && (k->custom ? custom_differs(k, obj, old) : spec_differs(obj, old)))
		json_put_int(obj, "metadata.generation",
			     json_int(old, "metadata.generation", 0) + 1);
}

static int write_update(struct registry *r, const struct object *old, json_t *obj,
			struct store_draft *d, const struct write_options *o,
			const struct object **ret, struct err *err)
{
	const struct kind *k = old->kind;
	int rc;

	if (o->dry_run)
		return 0;
	rc = d ? store_update_draft(r->store, d, class_for(k, o), o->done, o->done_arg, ret, err)
	       : store_update(r->store, k, obj, 0, class_for(k, o), o->done, o->done_arg, ret, err);
	if (rc == 0 && k == &kind_service && *ret != old) {
		service_release(r, old);
		service_hold(r, *ret);
	}
	return rc;
}

/* Gone with this write; the writer is answered what he wrote. */
static const struct object *let_go(struct registry *r, const struct object *last, json_t *obj)
{
	json_put_strf(obj, "metadata.resourceVersion", "%" PRIu64, last->rev);
	return store_detached(r->store, last->kind, obj);
}

/* What the object will be: obj. */
static int compute(struct registry *r, const struct part *part, const struct object *old,
		   const json_t *was, json_t *obj, json_t *given, const struct write_options *o,
		   struct err *err)
{
	const struct kind *k = old->kind;
	char version[API_VERSION_MAX];
	int rc = part->take(obj, old, given, err);

	if (rc == 0)
		rc = admit_asked(k, part->subresource, obj, old, o, err);
	if (rc < 0)
		return rc;
	json_put_str(obj, "apiVersion", kind_api_version(k, version));
	json_put_str(obj, "kind", k->kind);
	schema_default(k, obj, was);
	if (o->managed_given)
		take_member(json_object_get(obj, "metadata"), json_object_get(given, "metadata"),
			    "managedFields");
	else if (part->tracked)
		managed_note(k, was, obj, o->tracked_as ? o->tracked_as : part->subresource,
			     o->field_manager);
	if (part->validate)
		rc = schema_validate(k, obj, was, err);
	if (rc < 0)
		return rc;
	if (part->counted)
		count_generation(k, obj, was);
	return policy_review(
		r,
		&(struct review){.kind = k,
				 .sub = o->tracked_as ? o->tracked_as : part->subresource,
				 .operation = "UPDATE",
				 .ns = old->ns,
				 .name = old->name,
				 .obj = obj,
				 .old = was,
				 .o = o},
		err);
}

/* obj was computed from old, which must be the present state still. was: old as a value; nothing is
 * parsed here, in one go. */
static int commit(struct registry *r, const struct part *part, const struct object *old,
		  const json_t *was, json_t *obj, struct store_draft *d,
		  const struct write_options *o, const struct object **ret, struct err *err)
{
	const struct kind *k = old->kind;
	int rc = 0;

	if (store_get(r->store, k, old->ns, old->name) != old)
		return fail_modified(err, k, old->name);
	if (!part->subresource)
		rc = admit_checked(r, k, obj, was, err);
	if (rc == 0 && k == &kind_service)
		rc = service_allocate(r, obj, err);
	if (rc < 0)
		return rc;
	if (is_let_go(obj, was, k))
		return remove_now(r, old, d, o, ret, err);
	return write_update(r, old, obj, d, o, ret, err);
}

static int update_existing(struct registry *r, const struct part *part, const struct object *old,
			   json_t *given, const struct write_options *o, const struct object **ret,
			   struct err *err)
{
	const json_t *was = object_json(old);
	json_auto_t *obj = part->subresource ? object_dup(old) : json_incref(given);
	struct store_draft *d;
	bool going;
	int rc = compute(r, part, old, was, obj, given, o, err);

	if (rc < 0)
		return rc;
	going = is_let_go(obj, was, old->kind);
	if (going)
		d = removal_ahead(r, old, o);
	else if ((rc = draft_ahead(r, old->kind, obj, old, o, &d, err)) < 0)
		return rc;
	breath_hold();
	rc = commit(r, part, old, was, obj, d, o, ret, err);
	breath_release();
	store_draft_free(d);
	if (rc == 0 && going)
		*ret = let_go(r, *ret, obj);
	else if (rc == 0 && o->dry_run)
		*ret = store_detached(r->store, old->kind, obj);
	return rc;
}

/* PUT on a missing object of a kind that may be made so. */
static int create_instead(struct registry *r, const struct kind *k, const char *ns,
			  const char *name, json_t *obj, const struct write_options *o,
			  const struct object **ret, bool *ret_created, struct err *err)
{
	int rc;

	if (!k->create_on_update || o->precondition_uid)
		return fail_not_found(err, k, name);
	if (*meta_uid(obj))
		return fail_conflict(err, k, name,
				     "Precondition failed: UID in precondition: %s, UID in object "
				     "meta: ",
				     meta_uid(obj));
	json_drop(obj, "metadata.resourceVersion");
	rc = registry_create(r, k, ns, obj, o, ret, err);
	if (rc == 0 && ret_created)
		*ret_created = true;
	return rc;
}

int registry_update(struct registry *r, const struct kind *k, const char *subresource,
		    const char *ns, const char *name, json_t *obj, const struct write_options *o,
		    const struct object **ret, bool *ret_created, struct err *err)
{
	const struct part *part = part_find(subresource);
	const struct object *old, *made = NULL;
	int rc;

	if (k->storage)
		return view_update(r, k, subresource, ns, name, obj, o, ret, ret_created, err);
	old = store_get(r->store, k, ns, name);
	rc = check_request(k, ns, name, obj, err);
	if (ret_created)
		*ret_created = false;
	if (rc < 0)
		return rc;
	if (!part)
		return err_set(err, ERR_NOT_FOUND,
			       "the server could not find the requested "
			       "resource");
	if (!old && !subresource)
		return create_instead(r, k, ns, name, obj, o, ret, ret_created, err);
	if (!old)
		return fail_not_found(err, k, name);
	rc = check_write(old, obj, o, err);
	if (rc == 0)
		rc = update_existing(r, part, old, obj, o, &made, err);
	if (rc == 0 && ret)
		*ret = made;
	return rc;
}
