/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Objects that every API server makes for itself: the range of service addresses, and the priority
 * levels and flow schemas it can not do without.
 */
#include "internal.h"

#define CIDR_FINALIZER "networking.k8s.io/service-cidr-finalizer"

static json_t *condition(const char *type, const char *status, const char *reason,
			 const char *message)
{
	char now[TIME_RFC3339_MAX];

	return json_pack("{s:[{s:s, s:s, s:s, s:s, s:s}]}", "conditions", "type", type, "status",
			 status, "lastTransitionTime", time_format(now, time(NULL)), "reason",
			 reason, "message", message);
}

/* Makes the object, or leaves it alone; status is given to what has none. Both are stolen. */
static int ensure(struct registry *r, const struct kind *k, json_t *fresh, json_t *status,
		  enum store_class class, struct err *err)
{
	struct write_options o = {.storage = class};
	json_auto_t *obj = fresh, *given = status;
	const struct object *old = store_get(r->store, k, "", meta_name(obj));
	int rc = 0;

	if (!old)
		rc = registry_create(r, k, "", obj, &o, &old, err);
	if (rc < 0 || !given || json_len(object_json(old), "status.conditions"))
		return rc;
	return registry_set_status(r, k, "", old->name, old->uid, json_incref(given), class, err);
}

/* ---- service range ---------------------------------------------------------------------- */

static int make_service_cidr(struct registry *r, struct err *err)
{
	const struct object *old = store_get(r->store, &kind_servicecidr, "", "kubernetes");
	struct write_options o = {0};
	json_t *obj;

	/* the daemon may have been given another range since */
	if (old &&
	    !str_eq(json_string_value(json_array_get(json_at(object_json(old), "spec.cidrs"), 0)),
		    r->service_cidr) &&
	    remove_now(r, old, NULL, &o, NULL, err) < 0)
		return -EIO;
	obj = json_pack("{s:{s:s, s:[s]}, s:{s:[s]}}", "metadata", "name", "kubernetes",
			"finalizers", CIDR_FINALIZER, "spec", "cidrs", r->service_cidr);
	return ensure(r, &kind_servicecidr, obj,
		      condition("Ready", "True", "", "Kubernetes Service CIDR is ready"),
		      STORE_DURABLE, err);
}

/* ---- priority and fairness -------------------------------------------------------------- */

static json_t *flow_object(const char *name, json_t *spec)
{
	json_t *obj = json_object();

	json_put_str(obj, "metadata.name", name);
	json_object_set_new(json_obj(obj, "metadata.annotations"),
			    "apf.kubernetes.io/autoupdate-spec", json_string("true"));
	json_put(obj, "spec", spec);
	return obj;
}

/* One rule: whoever is in the groups may be after anything. */
static json_t *anything_of(json_t *subjects)
{
	return json_pack("[{s:o, s:[{s:[s], s:[s], s:[s], s:b, s:[s]}], s:[{s:[s], s:[s]}]}]",
			 "subjects", subjects, "resourceRules", "verbs", "*", "apiGroups", "*",
			 "resources", "*", "clusterScope", 1, "namespaces", "*", "nonResourceRules",
			 "verbs", "*", "nonResourceURLs", "*");
}

static json_t *group_subject(const char *name)
{
	return json_pack("{s:s, s:{s:s}}", "kind", "Group", "group", "name", name);
}

int registry_make_flow_control(struct registry *r, struct err *err)
{
	json_t *exempt = json_pack("{s:s, s:{s:i, s:i}}", "type", "Exempt", "exempt",
				   "nominalConcurrencyShares", 0, "lendablePercent", 0);
	json_t *catch_all = json_pack("{s:s, s:{s:i, s:i, s:{s:s}}}", "type", "Limited", "limited",
				      "nominalConcurrencyShares", 5, "lendablePercent", 0,
				      "limitResponse", "type", "Reject");
	json_t *masters = json_pack("{s:{s:s}, s:i, s:o}", "priorityLevelConfiguration", "name",
				    "exempt", "matchingPrecedence", 1, "rules",
				    anything_of(json_pack("[o]", group_subject("system:masters"))));
	json_t *everybody = json_pack(
		"{s:{s:s}, s:i, s:{s:s}, s:o}", "priorityLevelConfiguration", "name", "catch-all",
		"matchingPrecedence", 10000, "distinguisherMethod", "type", "ByUser", "rules",
		anything_of(json_pack("[oo]", group_subject("system:unauthenticated"),
				      group_subject("system:authenticated"))));
	const struct {
		const struct kind *kind;
		const char *name;
		json_t *spec;
	} all[] = {
		{&kind_prioritylevelconfiguration, "exempt", exempt},
		{&kind_prioritylevelconfiguration, "catch-all", catch_all},
		{&kind_flowschema, "exempt", masters},
		{&kind_flowschema, "catch-all", everybody},
	};
	int rc = 0;

	for (size_t i = 0; i < ARRAY_SIZE(all); i++) {
		json_t *obj = flow_object(all[i].name, all[i].spec);

		if (rc == 0)
			rc = ensure(r, all[i].kind, obj, NULL, STORE_DURABLE, err);
		else
			json_decref(obj);
	}
	return rc;
}

int make_builtin_objects(struct registry *r, struct err *err)
{
	int rc = make_service_cidr(r, err);

	return rc < 0 ? rc : registry_make_flow_control(r, err);
}
