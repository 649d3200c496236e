/* SPDX-License-Identifier: Apache-2.0 */
/* DELETE: preconditions, propagation, grace, finalizers (k8s.io/apiserver registry/rest/delete.go).
 */
#include "internal.h"
#include <inttypes.h>

static const char *const immortal[] = {"default", "kube-system", "kube-public"};

static int check_preconditions(const struct object *old, const struct write_options *o,
			       struct err *err)
{
	if (o->precondition_uid && *o->precondition_uid && !streq(o->precondition_uid, old->uid))
		return fail_conflict(err, old->kind, old->name,
				     "the UID in the precondition (%s) does not match the UID in "
				     "record (%s). The object might have been deleted and then "
				     "recreated",
				     o->precondition_uid, old->uid);
	if (o->precondition_rev && o->precondition_rev != old->rev)
		return fail_conflict(err, old->kind, old->name,
				     "the ResourceVersion in the precondition (%" PRIu64
				     ") does not match the ResourceVersion in record (%" PRIu64
				     "). The object might have been modified",
				     o->precondition_rev, old->rev);
	if (old->kind == &kind_namespace)
		for (size_t i = 0; i < ARRAY_SIZE(immortal); i++)
			if (streq(immortal[i], old->name))
				return fail_forbidden(err, old->kind, old->name,
						      "this namespace may not be deleted");
	if (old->kind == &kind_priorityclass && priority_is_system(old->name))
		return fail_forbidden(err, old->kind, old->name,
				      "this is a system priority class and cannot be deleted");
	return 0;
}

struct store_draft *removal_ahead(struct registry *r, const struct object *old,
				  const struct write_options *o)
{
	return task_inside() && !o->dry_run ? store_draft_deletion(r->store, old) : NULL;
}

int remove_now(struct registry *r, const struct object *old, struct store_draft *d,
	       const struct write_options *o, const struct object **ret, struct err *err)
{
	enum store_class class = class_for(old->kind, o);
	const struct object *last = old;
	int rc;

	if (!o->dry_run) {
		if (old->kind == &kind_service)
			service_release(r, old);
		rc = d ? store_delete_draft(r->store, d, class, o->done, o->done_arg, &last, err)
		       : store_delete(r->store, old->kind, old->ns, old->name, 0, class, o->done,
				      o->done_arg, &last, err);
		if (rc < 0)
			return rc;
	}
	if (ret)
		*ret = last;
	return 0;
}

/* ---- what keeps it ---------------------------------------------------------------------- */

static void finalizer_drop(json_t *obj, const char *name)
{
	json_t *list = json_at(obj, "metadata.finalizers"), *v;
	size_t i;

	json_array_foreach(list, i, v)
	{
		if (str_eq(json_string_value(v), name))
			json_array_remove(list, i--);
	}
	if (list && !json_array_size(list))
		json_drop(obj, "metadata.finalizers");
}

static void finalizer_set(json_t *obj, const char *name)
{
	finalizer_drop(obj, name);
	json_array_append_new(json_arr(obj, "metadata.finalizers"), json_string(name));
}

static void condition_put(json_t *list, const char *type, const char *status, const char *reason,
			  const char *message)
{
	json_t *c = json_find(list, "type", type);

	if (!c) {
		c = json_object();
		json_array_append_new(list, c);
		json_put_str(c, "type", type);
	}
	json_put_str(c, "status", status);
	json_put_time(c, "lastTransitionTime", time(NULL));
	json_put_str(c, "reason", reason);
	json_put_str(c, "message", message);
}

static void set_propagation(json_t *obj, const char *policy)
{
	if (!policy)
		return;
	finalizer_drop(obj, "orphan");
	finalizer_drop(obj, "foregroundDeletion");
	if (streq(policy, "Foreground"))
		finalizer_set(obj, "foregroundDeletion");
	else if (streq(policy, "Orphan"))
		finalizer_set(obj, "orphan");
}

/* What happens to dependents when neither the request nor a former one says it: two kinds have kept
 * the way of their first versions. */
static const char *default_propagation(const struct kind *k, const json_t *obj)
{
	bool orphans = (streq(k->group, "batch") && streq(k->kind, "Job")) ||
		       (!*k->group && streq(k->kind, "ReplicationController"));

	return orphans && !has_finalizers(obj) ? "Orphan" : NULL;
}

/* A definition goes when its objects have gone: the controller takes the finalizer away. */
static void hold_definition(json_t *crd)
{
	if (meta_deleting(crd))
		return;
	finalizer_set(crd, CRD_CLEANUP_FINALIZER);
	condition_put(json_arr(crd, "status.conditions"), "Terminating", "True",
		      "InstanceDeletionPending",
		      "CustomResourceDefinition marked for deletion; CustomResource deletion will "
		      "begin soon");
}

/* Seconds a pod gets; 0 for all else, and for pods nothing runs of. */
static int64_t grace_of(const struct kind *k, const json_t *obj, int64_t wanted)
{
	const char *phase = json_str(obj, "status.phase", "");

	if (k != &kind_pod || !*json_str(obj, "spec.nodeName", "") || streq(phase, "Failed") ||
	    streq(phase, "Succeeded"))
		return 0;
	if (wanted < 0) {
		wanted = json_int(obj, "spec.terminationGracePeriodSeconds", 30);
		return wanted < 0 ? 1 : wanted;
	}
	return wanted;
}

/* Marks it as going in `grace` seconds; a running period can only be made shorter. */
static void mark(json_t *obj, int64_t grace)
{
	const char *text = json_str(obj, "metadata.deletionTimestamp", NULL);
	int64_t was = json_int(obj, "metadata.deletionGracePeriodSeconds", 0);
	struct timespec end;

	if (!text || time_parse(text, &end) < 0) {
		json_put_time(obj, "metadata.deletionTimestamp", time(NULL) + (time_t)grace);
		json_put_int(obj, "metadata.deletionGracePeriodSeconds", grace);
		if (json_at(obj, "metadata.generation"))
			json_put_int(obj, "metadata.generation",
				     json_int(obj, "metadata.generation", 0) + 1);
	} else if (grace < was) {
		json_put_time(obj, "metadata.deletionTimestamp",
			      end.tv_sec + (time_t)(grace - was));
		json_put_int(obj, "metadata.deletionGracePeriodSeconds", grace);
	}
}

static bool is_held(const struct kind *k, const json_t *obj, int64_t grace)
{
	if (k == &kind_namespace && json_len(obj, "spec.finalizers") > 0)
		return true;
	return grace > 0 || has_finalizers(obj);
}

/* What is left of the object while something keeps it; true: it is kept. */
static bool compute(const struct object *old, json_t *obj, const struct write_options *o)
{
	const struct kind *k = old->kind;
	int64_t grace;

	set_propagation(obj, o->propagation ? o->propagation : default_propagation(k, obj));
	if (k == &kind_customresourcedefinition)
		hold_definition(obj);
	grace = grace_of(k, obj, o->grace_seconds);
	if (!is_held(k, obj, grace))
		return false;
	mark(obj, grace);
	if (k == &kind_namespace)
		json_put_str(obj, "status.phase", "Terminating");
	return true;
}

/* obj (NULL: nothing) was computed from old, which must be the present state still. */
static int commit(struct registry *r, const struct object *old, json_t *obj, struct store_draft *d,
		  const struct write_options *o, const struct object **ret, struct err *err)
{
	const struct kind *k = old->kind;

	if (store_get(r->store, k, old->ns, old->name) != old)
		return fail_modified(err, k, old->name);
	if (!obj)
		return remove_now(r, old, d, o, ret, err);
	if (d)
		return store_update_draft(r->store, d, class_for(k, o), o->done, o->done_arg, ret,
					  err);
	return o->dry_run ? 0
			  : store_update(r->store, k, obj, 0, class_for(k, o), o->done, o->done_arg,
					 ret, err);
}

int registry_delete(struct registry *r, const struct kind *k, const char *ns, const char *name,
		    const struct write_options *o, const struct object **ret, bool *ret_gone,
		    struct err *err)
{
	const struct object *old, *now = NULL;
	json_auto_t *obj = NULL;
	struct store_draft *d;
	bool held;
	int rc;

	if (k->storage)
		return view_delete(r, k, ns, name, o, ret, ret_gone, err);
	old = store_get(r->store, k, ns, name);
	if (!old)
		return fail_not_found(err, k, name);
	rc = check_preconditions(old, o, err);
	if (rc == 0)
		rc = policy_review(r,
				   &(struct review){.kind = k,
						    .operation = "DELETE",
						    .ns = old->ns,
						    .name = old->name,
						    .old = object_json(old),
						    .o = o},
				   err);
	if (rc < 0)
		return rc;
	obj = object_dup(old);
	held = compute(old, obj, o);
	if (!held)
		d = removal_ahead(r, old, o);
	else if ((rc = draft_ahead(r, k, obj, old, o, &d, err)) < 0)
		return rc;
	breath_hold();
	rc = commit(r, old, held ? obj : NULL, d, o, &now, err);
	breath_release();
	store_draft_free(d);
	if (rc < 0)
		return rc;
	if (held && o->dry_run)
		now = store_detached(r->store, k, obj);
	if (ret)
		*ret = now;
	if (ret_gone)
		*ret_gone = !held;
	return 0;
}
