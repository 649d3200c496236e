/* SPDX-License-Identifier: Apache-2.0 */
/* POST: system fields, defaults, admission, validation, allocation, storing. */
#include "internal.h"

#define NAME_TRIES 8
#define SUFFIX_LEN 5
#define GENERATED_BASE_MAX 58 /* with the suffix a name of 63 characters */

int set_namespace(const struct kind *k, const char *ns, json_t *obj, struct err *err)
{
	const char *body = meta_ns(obj);

	if (!k->namespaced)
		return 0; /* validation refuses one in the body */
	if (*body && !streq(body, ns))
		return err_set(err, ERR_BAD_REQUEST,
			       "the namespace of the provided object does not match the namespace "
			       "sent on the request");
	if (!*body) /* ns may be the body's own string */
		json_put_str(obj, "metadata.namespace", ns);
	return 0;
}

enum store_class class_for(const struct kind *k, const struct write_options *o)
{
	return k == &kind_event ? STORE_VOLATILE : o->storage;
}

/* A free name, or after NAME_TRIES the last one, which then exists. */
static void generate_name(struct registry *r, const struct kind *k, json_t *obj)
{
	const char *base = json_str(obj, "metadata.generateName", "");
	char suffix[SUFFIX_LEN + 1];

	if (*meta_name(obj) || !*base)
		return;
	for (int i = 0; i < NAME_TRIES; i++) {
		random_suffix(suffix, SUFFIX_LEN);
		json_put_strf(obj, "metadata.name", "%.*s%s", GENERATED_BASE_MAX, base, suffix);
		if (!store_get(r->store, k, meta_ns(obj), meta_name(obj)))
			return;
	}
}

static void set_system_fields(const struct kind *k, json_t *obj)
{
	static const char *const wiped[] = {"deletionTimestamp", "deletionGracePeriodSeconds",
					    "selfLink", "generation"};
	char version[API_VERSION_MAX], uid[UUID_LEN];
	json_t *meta = json_obj(obj, "metadata");

	json_put_str(obj, "apiVersion", kind_api_version(k, version));
	json_put_str(obj, "kind", k->kind);
	for (size_t i = 0; i < ARRAY_SIZE(wiped); i++)
		json_object_del(meta, wiped[i]);
	random_uuid(uid);
	json_put_str(meta, "uid", uid);
	json_put_time(meta, "creationTimestamp", time(NULL));
	if (k->has_generation)
		json_put_int(meta, "generation", 1);
}

/* Status is told by controllers; a node registers with its own. */
static void reset_status(const struct kind *k, json_t *obj)
{
	if (!k->has_status || k == &kind_node)
		return;
	if (k->custom) {
		json_object_del(obj, "status");
		return;
	}
	json_put(obj, "status", json_object());
	if (k == &kind_service)
		json_put(obj, "status.loadBalancer", json_object());
	if (k == &kind_replicaset || k == &kind_replicationcontroller)
		json_put_int(obj, "status.replicas", 0);
}

int admit_asked(const struct kind *k, const char *subresource, json_t *obj,
		const struct object *old, const struct write_options *o, struct err *err)
{
	int rc;

	if (!o->admit)
		return 0;
	breath_hold(); /* it may go over what changes */
	rc = o->admit(o->admit_arg, k, subresource, obj, old, err);
	breath_release();
	return rc;
}

static int prepare(struct registry *r, const struct kind *k, const char *ns, json_t *obj,
		   const struct write_options *o, struct err *err)
{
	int rc = set_namespace(k, ns, obj, err);

	if (rc < 0)
		return rc;
	if (*json_str(obj, "metadata.resourceVersion", ""))
		return err_set(err, ERR_UNKNOWN,
			       "resourceVersion should not be set on objects to be created");
	if (k->namespaced) {
		const char *name = *meta_name(obj) ? meta_name(obj)
						   : json_str(obj, "metadata.generateName", "");

		rc = admit_namespace(r, k, ns, name, err);
		if (rc < 0)
			return rc;
	}
	reset_status(k, obj);
	schema_default(k, obj, NULL);
	/* What we add from here on (a Job's selector, a Pod's tolerations, a Service's address) is
	 * nobody's, so that nobody loses it by applying something without it. */
	if (!o->managed_given)
		managed_note(k, NULL, obj, NULL, o->field_manager);
	set_system_fields(k, obj);
	generate_name(r, k, obj);
	rc = admit_create(r, k, obj, err);
	if (rc == 0)
		rc = admit_asked(k, NULL, obj, NULL, o, err);
	if (rc < 0)
		return rc;
	schema_default(k, obj, NULL);
	admit_defaulted(r, k, obj);
	rc = schema_validate(k, obj, NULL, err);
	return rc < 0 ? rc
		      : policy_review(r,
				      &(struct review){.kind = k,
						       .operation = "CREATE",
						       .ns = meta_ns(obj),
						       .name = meta_name(obj),
						       .obj = obj,
						       .o = o},
				      err);
}

static int store(struct registry *r, const struct kind *k, json_t *obj, struct store_draft *d,
		 const struct write_options *o, const struct object **ret, struct err *err)
{
	const struct object *made = NULL;
	int rc;

	if (o->dry_run)
		return 0;
	rc = d ? store_create_draft(r->store, d, class_for(k, o), o->done, o->done_arg, &made, err)
	       : store_create(r->store, k, obj, class_for(k, o), o->done, o->done_arg, &made, err);
	if (rc < 0)
		return rc;
	if (k == &kind_service)
		service_hold(r, made);
	if (k == &kind_event)
		events_note(r, made);
	if (ret)
		*ret = made;
	return 0;
}

int draft_ahead(struct registry *r, const struct kind *k, json_t *obj, const struct object *old,
		const struct write_options *o, struct store_draft **ret, struct err *err)
{
	*ret = NULL;
	/* What is allocated to a service is set in it at the end. */
	if (!task_inside() || o->dry_run || k == &kind_service)
		return 0;
	*ret = store_draft_new(r->store, k, obj, old, err);
	return *ret ? 0 : -E2BIG;
}

static int check_ending(const struct kind *k, struct err *err)
{
	if (!kind_is_ending(k))
		return 0;
	return err_set(err, ERR_METHOD_NOT_ALLOWED,
		       "create not allowed while custom resource definition is terminating");
}

/* The world as it is now decides, and does not change before the object is stored. */
static int commit(struct registry *r, const struct kind *k, json_t *obj, struct store_draft *d,
		  const struct write_options *o, const struct object **ret, struct err *err)
{
	int rc = check_ending(k, err);

	if (rc == 0 && k->namespaced)
		rc = admit_namespace(r, k, meta_ns(obj), meta_name(obj), err);
	if (rc == 0)
		rc = admit_checked(r, k, obj, NULL, err);
	/* Before allocation, so that a taken name is not hidden by a taken port. */
	if (rc == 0 && store_get(r->store, k, meta_ns(obj), meta_name(obj)))
		rc = fail_exists(err, k, meta_name(obj));
	if (rc == 0 && k == &kind_service)
		rc = service_allocate(r, obj, err);
	return rc < 0 ? rc : store(r, k, obj, d, o, ret, err);
}

int registry_create(struct registry *r, const struct kind *k, const char *ns, json_t *obj,
		    const struct write_options *o, const struct object **ret, struct err *err)
{
	struct store_draft *d;
	int rc = check_ending(k, err);

	if (rc < 0)
		return rc;
	if (k->storage)
		return view_create(r, k, ns, obj, o, ret, err);
	rc = prepare(r, k, ns, obj, o, err);
	if (rc < 0)
		return rc;
	rc = draft_ahead(r, k, obj, NULL, o, &d, err);
	if (rc < 0)
		return rc;
	breath_hold();
	rc = commit(r, k, obj, d, o, ret, err);
	breath_release();
	store_draft_free(d);
	if (rc == 0 && o->dry_run && ret)
		*ret = store_detached(r->store, k, obj);
	return rc;
}
