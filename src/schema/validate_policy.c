/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Validation of what bounds others: PodDisruptionBudget, PriorityClass, LimitRange, ResourceQuota
 * (kubernetes pkg/apis/{policy,scheduling,core}/validation).
 */
#include "validate.h"

#define MAX_USER_PRIORITY INT64_C(1000000000)

/* ---- names and amounts of resources ----------------------------------------------------- */

bool is_qualified(const char *name)
{
	return strchr(name, '/') != NULL;
}

int quantity_compare(const json_t *a, const json_t *b)
{
	return quantity_cmp(json_string_value(a), json_string_value(b));
}

/* Counted objects of a quota, or parts of pods. */
static const char standard_resources[] =
	"cpu,memory,ephemeral-storage,requests.cpu,requests.memory,requests.ephemeral-storage,"
	"limits.cpu,limits.memory,limits.ephemeral-storage,pods,resourcequotas,services,"
	"replicationcontrollers,secrets,persistentvolumeclaims,configmaps,services.nodeports,"
	"services.loadbalancers,storage,requests.storage";
static const char quota_resources[] =
	"cpu,memory,ephemeral-storage,requests.cpu,requests.memory,requests.storage,"
	"requests.ephemeral-storage,limits.cpu,limits.memory,limits.ephemeral-storage,pods,"
	"resourcequotas,services,replicationcontrollers,secrets,persistentvolumeclaims,configmaps,"
	"services.nodeports,services.loadbalancers";
static const char counted_resources[] =
	"pods,resourcequotas,services,replicationcontrollers,secrets,configmaps,"
	"persistentvolumeclaims,services.nodeports,services.loadbalancers";

static bool is_huge_page(const char *name)
{
	return str_starts(name, "hugepages-") || str_starts(name, "requests.hugepages-");
}

static bool check_resource(struct check *c, const char *field, const char *name)
{
	const char *bad = valid_label_key(name);

	if (bad)
		check_invalid_str(c, field, name, "%s", bad);
	else if (!is_qualified(name) && !csv_has_exactly(standard_resources, name) &&
		 !is_huge_page(name))
		check_invalid_str(c, field, name,
				  "must be a standard resource type or fully qualified");
	else
		return true;
	return false;
}

void check_resource_name(struct check *c, const char *field, const char *name, bool container)
{
	bool native = csv_has_exactly("cpu,memory,ephemeral-storage", name) ||
		      str_starts(name, "hugepages-");

	/* of a wrong name both are said */
	check_resource(c, field, name);
	if (container && !is_qualified(name) && !native && !valid_label_key(name))
		check_invalid_str(c, field, name, "must be a standard resource for containers");
}

void check_resource_amount(struct check *c, const char *field, const char *name, const json_t *v)
{
	int64_t milli = 0;

	if (quantity_parse_milli(json_string_value(v), &milli) < 0)
		return;
	if (milli < 0)
		check_invalid(c, field, v, CHECK_NEGATIVE);
	if (milli % 1000 && (csv_has_exactly(counted_resources, name) ||
			     str_starts(name, "count/") || is_qualified(name)))
		check_invalid(c, field, v, "must be an integer");
}

/* ---- disruption budgets ----------------------------------------------------------------- */

void pdb_validate(const json_t *obj, const json_t *old UNUSED, struct err *err)
{
	static const char *const amounts[] = {"minAvailable", "maxUnavailable"};
	struct check c = {.err = err};
	const json_t *spec = json_object_get(obj, "spec");

	if (json_object_get(spec, "minAvailable") && json_object_get(spec, "maxUnavailable"))
		check_invalid(&c, "spec", spec,
			      "minAvailable and maxUnavailable cannot be both set");
	check_enter(&c, "spec");
	check_selector(&c, "selector", json_object_get(spec, "selector"));
	for (size_t i = 0; i < ARRAY_SIZE(amounts); i++) {
		const json_t *v = json_object_get(spec, amounts[i]);

		if (!v)
			continue;
		check_amount(&c, amounts[i], v);
		check_percentage(&c, amounts[i], v);
	}
	strbuf_done(&c.path);
}

/* ---- priority classes ------------------------------------------------------------------- */

/* The two that every cluster has; NULL when it is one of them as it should be. */
static char *system_class_error(const json_t *obj)
{
	static const struct {
		const char *name;
		int64_t value;
	} known[] = {{"system-cluster-critical", 2000000000}, {"system-node-critical", 2000001000}};

	for (size_t i = 0; i < ARRAY_SIZE(known); i++) {
		if (!streq(meta_name(obj), known[i].name))
			continue;
		if (json_int(obj, "value", 0) != known[i].value)
			return xasprintf("value of %s PriorityClass must be %lld", known[i].name,
					 (long long)known[i].value);
		if (json_bool(obj, "globalDefault", false))
			return xasprintf("globalDefault of %s PriorityClass must be false",
					 known[i].name);
		return NULL;
	}
	return xasprintf("%s is not a known system priority class", meta_name(obj));
}

void priorityclass_validate(const json_t *obj, const json_t *old, struct err *err)
{
	struct check c = {.err = err};

	if (old) {
		if (json_int(obj, "value", 0) != json_int(old, "value", 0))
			check_forbidden(&c, "value", "may not be changed in an update.");
	} else if (str_starts(meta_name(obj), "system-")) {
		auto_free char *why = system_class_error(obj);

		if (why)
			check_forbidden(&c, "metadata.name",
					"priority class names with 'system-' prefix are reserved "
					"for system use only. error: %s",
					why);
	} else if (json_int(obj, "value", 0) > MAX_USER_PRIORITY) {
		check_forbidden(&c, "value",
				"maximum allowed value of a user defined priority is %lld",
				(long long)MAX_USER_PRIORITY);
	}
	strbuf_done(&c.path);
}

/* ---- limit ranges ----------------------------------------------------------------------- */

static const char *const limit_maps[] = {"max", "min", "default", "defaultRequest",
					 "maxLimitRequestRatio"};

/* "default[cpu]" */
static char *key_path(const char *map, const char *key)
{
	return xasprintf("%s[%s]", map, key);
}

static void check_limit_names(struct check *c, const json_t *limit)
{
	const char *type = json_str(limit, "type", "");
	bool container = streq(type, "Pod") || streq(type, "Container");

	for (size_t i = 0; i < ARRAY_SIZE(limit_maps); i++) {
		const char *key;
		json_t *v;

		if (streq(type, "Pod") && str_starts(limit_maps[i], "default"))
			continue;
		json_object_foreach(json_object_get(limit, limit_maps[i]), key, v)
		{
			auto_free char *path = key_path(limit_maps[i], key);

			check_resource_name(c, path, key, container);
		}
	}
}

/* One pair of amounts that must not be a > b. */
struct order {
	const char *a, *b;	   /* maps */
	const char *field, *value; /* that is complained of, and whose value is shown */
	const char *words;	   /* with both amounts */
};
static const struct order orders[] = {
	{"min", "max", "min", "min", "min value %s is greater than max value %s"},
	{"min", "defaultRequest", "defaultRequest", "defaultRequest",
	 "min value %s is greater than default request value %s"},
	{"defaultRequest", "max", "defaultRequest", "defaultRequest",
	 "default request value %s is greater than max value %s"},
	{"defaultRequest", "default", "defaultRequest", "defaultRequest",
	 "default request value %s is greater than default limit value %s"},
	{"min", "default", "default", "min", "min value %s is greater than default value %s"},
	{"default", "max", "default", "max", "default value %s is greater than max value %s"},
};

/* The words above with the amounts put in. */
static char *order_text(const char *words, const char *a, const char *b)
{
	auto_strbuf text = {0};
	const char *first = strstr(words, "%s"), *second = strstr(first + 2, "%s");

	strbuf_add(&text, words, (size_t)(first - words));
	strbuf_adds(&text, a);
	strbuf_add(&text, first + 2, (size_t)(second - first - 2));
	strbuf_adds(&text, b);
	return strbuf_steal(&text);
}

static void check_limit_orders(struct check *c, const json_t *limit, const char *key)
{
	for (size_t i = 0; i < ARRAY_SIZE(orders); i++) {
		const struct order *o = &orders[i];
		json_t *a = json_object_get(json_object_get(limit, o->a), key);
		json_t *b = json_object_get(json_object_get(limit, o->b), key);
		auto_free char *path = key_path(o->field, key);

		if (!a || !b || quantity_compare(a, b) <= 0)
			continue;
		auto_free char *text =
			order_text(o->words, json_string_value(a), json_string_value(b));

		check_invalid(c, path, streq(o->value, o->a) ? a : b, "%s", text);
	}
}

static double quantity_number(const json_t *v)
{
	int64_t milli = 0;

	if (quantity_parse_milli(json_string_value(v), &milli) < 0)
		return 0;
	return (double)milli / 1000;
}

static void check_limit_ratio(struct check *c, const json_t *limit, const char *key)
{
	json_t *ratio = json_object_get(json_object_get(limit, "maxLimitRequestRatio"), key);
	json_t *min = json_object_get(json_object_get(limit, "min"), key);
	json_t *max = json_object_get(json_object_get(limit, "max"), key);
	auto_free char *path = key_path("maxLimitRequestRatio", key);

	if (!ratio)
		return;
	if (quantity_number(ratio) < 1)
		check_invalid(c, path, ratio, "ratio %s is less than 1", json_string_value(ratio));
	if (min && max && quantity_number(min) > 0 &&
	    quantity_number(ratio) > quantity_number(max) / quantity_number(min))
		check_invalid(c, path, ratio, "ratio %s is greater than max/min = %f",
			      json_string_value(ratio),
			      quantity_number(max) / quantity_number(min));
}

static void check_limit_values(struct check *c, const json_t *limit)
{
	json_auto_t *keys = json_object();
	const char *key;
	json_t *v;

	for (size_t i = 0; i < ARRAY_SIZE(limit_maps); i++)
		json_object_update_missing(keys, json_object_get(limit, limit_maps[i]));
	json_object_foreach(keys, key, v)
	{
		check_limit_orders(c, limit, key);
		check_limit_ratio(c, limit, key);
	}
}

static void check_limit(struct check *c, const json_t *limit)
{
	const char *type = json_str(limit, "type", ""), *bad = valid_label_key(type);

	if (bad)
		check_invalid_str(c, "type", type, "%s", bad);
	else if (!is_qualified(type) &&
		 !csv_has_exactly("Pod,Container,PersistentVolumeClaim", type))
		check_invalid_str(c, "type", type,
				  "must be a standard limit type or fully qualified");
	check_limit_names(c, limit);
	if (streq(type, "Pod")) {
		if (json_object_size(json_object_get(limit, "default")))
			check_forbidden(c, "default", "may not be specified when `type` is 'Pod'");
		if (json_object_size(json_object_get(limit, "defaultRequest")))
			check_forbidden(c, "defaultRequest",
					"may not be specified when `type` is 'Pod'");
	}
	if (streq(type, "PersistentVolumeClaim") &&
	    !json_object_get(json_object_get(limit, "min"), "storage") &&
	    !json_object_get(json_object_get(limit, "max"), "storage"))
		check_required(c, "limits",
			       "either minimum or maximum storage value is required, but neither "
			       "was provided");
	check_limit_values(c, limit);
}

void limitrange_validate(const json_t *obj, const json_t *old UNUSED, struct err *err)
{
	struct check c = {.err = err};
	const json_t *spec = json_object_get(obj, "spec");
	auto_strv types = {0};
	json_t *limit;

	check_enter(&c, "spec");
	check_foreach(&c, spec, "limits", limit)
	{
		const char *type = json_str(limit, "type", "");

		check_limit(&c, limit);
		if (strv_has(&types, type))
			check_duplicate_str(&c, "type", type);
		strv_add(&types, type);
	}
	strbuf_done(&c.path);
}

/* ---- quotas ----------------------------------------------------------------------------- */

static const char quota_scopes[] = "Terminating,NotTerminating,BestEffort,NotBestEffort,"
				   "PriorityClass,CrossNamespacePodAffinity,VolumeAttributesClass";

static void check_amount_map(struct check *c, const json_t *obj, const char *field)
{
	const char *name;
	json_t *v;

	json_object_foreach(json_object_get(obj, field), name, v)
	{
		auto_free char *path = key_path(field, name);

		if (check_resource(c, path, name) && !is_qualified(name) && !is_huge_page(name) &&
		    !csv_has_exactly(quota_resources, name))
			check_invalid_str(c, path, name, "must be a standard resource for quota");
		check_resource_amount(c, path, name, v);
	}
}

/* Scopes choose pods; only what pods have can be bounded with one. */
static bool scope_fits(const char *scope, const char *resource)
{
	static const char pod_resources[] =
		"cpu,memory,ephemeral-storage,requests.cpu,requests.memory,"
		"requests.ephemeral-storage,limits.cpu,limits.memory,limits.ephemeral-storage,pods";

	if (!csv_has_exactly(quota_resources, resource))
		return true;
	if (streq(scope, "BestEffort"))
		return streq(resource, "pods");
	if (streq(scope, "VolumeAttributesClass"))
		return streq(resource, "persistentvolumeclaims") ||
		       streq(resource, "requests.storage");
	return csv_has_exactly(pod_resources, resource);
}

/* True when scope may go with every resource of the quota. */
static bool scope_fits_all(const char *scope, const json_t *spec)
{
	const char *name;
	json_t *v;

	json_object_foreach(json_object_get(spec, "hard"), name,
			    v) if (!scope_fits(scope, name)) return false;
	return true;
}

static void check_scopes(struct check *c, const json_t *spec)
{
	static const char *const pairs[][2] = {{"BestEffort", "NotBestEffort"},
					       {"Terminating", "NotTerminating"}};
	const json_t *scopes = json_object_get(spec, "scopes");
	auto_strv seen = {0};
	json_t *v;
	size_t i;

	json_array_foreach(scopes, i, v)
	{
		const char *scope = json_string_value(v);

		if (!csv_has_exactly(quota_scopes, scope))
			check_invalid(c, "scopes", scopes, "unsupported scope");
		else if (!scope_fits_all(scope, spec))
			check_invalid(c, "scopes", scopes, "unsupported scope applied to resource");
		strv_add(&seen, scope);
	}
	for (i = 0; i < ARRAY_SIZE(pairs); i++)
		if (strv_has(&seen, pairs[i][0]) && strv_has(&seen, pairs[i][1]))
			check_invalid(c, "scopes", scopes, "conflicting scopes");
}

static void check_scope_requirement(struct check *c, const json_t *spec, const json_t *e)
{
	const char *scope = json_str(e, "scopeName", ""), *op = json_str(e, "operator", "");
	const json_t *values = json_object_get(e, "values");
	bool valued = streq(scope, "PriorityClass") || streq(scope, "VolumeAttributesClass");

	if (!csv_has_exactly(quota_scopes, scope))
		check_invalid_str(c, "scopeName", scope, "unsupported scope");
	else if (!scope_fits_all(scope, spec))
		check_invalid(c, NULL, json_object_get(spec, "scopeSelector"),
			      "unsupported scope applied to resource");
	if (!valued && csv_has_exactly(quota_scopes, scope) && !streq(op, "Exists"))
		check_invalid_str(
			c, "operator", op,
			"must be 'Exist' when scope is any of "
			"ResourceQuotaScopeTerminating, ResourceQuotaScopeNotTerminating, "
			"ResourceQuotaScopeBestEffort, ResourceQuotaScopeNotBestEffort or "
			"ResourceQuotaScopeCrossNamespacePodAffinity");
	if (streq(op, "In") || streq(op, "NotIn")) {
		if (json_array_size(values) == 0)
			check_required(c, "values",
				       "must be at least one value when `operator` is 'In' or "
				       "'NotIn' for scope selector");
	} else if (streq(op, "Exists") || streq(op, "DoesNotExist")) {
		if (json_array_size(values) != 0)
			check_invalid(c, "values", values,
				      "must be no value when `operator` is 'Exist' or "
				      "'DoesNotExist' for scope selector");
	} else {
		check_invalid_str(c, "operator", op, "not a valid selector operator");
	}
}

/* Scopes are chosen when the quota is made. */
static void check_same_scopes(struct check *c, const json_t *spec, const json_t *old)
{
	const json_t *now = json_object_get(spec, "scopes"), *was = json_object_get(old, "scopes");
	bool same = json_array_size(now) == json_array_size(was);
	json_t *v;
	size_t i, j;

	json_array_foreach(now, i, v)
	{
		json_t *w;
		bool found = false;

		json_array_foreach(was, j, w) found |= json_equal(v, w);
		same &= found;
	}
	if (!same)
		check_invalid(c, "scopes", now, "field is immutable");
}

void resourcequota_validate(const json_t *obj, const json_t *old, struct err *err)
{
	struct check c = {.err = err};
	const json_t *spec = json_object_get(obj, "spec"), *status = json_object_get(obj, "status");
	const json_t *selector = json_object_get(spec, "scopeSelector");
	size_t mark = check_enter(&c, "spec"), inner;
	json_t *e;

	check_amount_map(&c, spec, "hard");
	check_scopes(&c, spec);
	inner = check_enter(&c, "scopeSelector");
	check_foreach(&c, selector, "matchExpressions", e) check_scope_requirement(&c, spec, e);
	check_leave(&c, inner);
	if (old)
		check_same_scopes(&c, spec, json_object_get(old, "spec"));
	check_leave(&c, mark);
	check_enter(&c, "status");
	check_amount_map(&c, status, "hard");
	check_amount_map(&c, status, "used");
	strbuf_done(&c.path);
}
