/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Validation and defaults of FlowSchema and PriorityLevelConfiguration (kubernetes
 * pkg/apis/flowcontrol/validation).
 */
#include "validate.h"

#define MAX_PRECEDENCE 10000
#define MAX_QUEUES 10000000
#define MAX_HASH_BITS 60

/* ---- flow schemas ----------------------------------------------------------------------- */

void flowschema_set_defaults(json_t *obj, const json_t *old UNUSED)
{
	if (json_int(obj, "spec.matchingPrecedence", 0) == 0)
		json_put_int(obj, "spec.matchingPrecedence", 1000);
}

/* Those of the three members that do not belong to the kind must not be there. */
static void check_subject(struct check *c, const json_t *subject)
{
	static const struct {
		const char *kind, *member;
	} kinds[] = {{"ServiceAccount", "serviceAccount"}, {"User", "user"}, {"Group", "group"}};
	const char *kind = json_str(subject, "kind", "");

	check_one_of(c, "kind", kind, "Group,ServiceAccount,User");
	if (!csv_has_exactly("Group,ServiceAccount,User", kind))
		return;
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		const char *member = kinds[i].member;
		const json_t *v = json_object_get(subject, member);
		size_t mark = check_enter(c, member);
		auto_free char *text = NULL;

		if (streq(kind, kinds[i].kind)) {
			text = xasprintf("%s is required when subject kind is '%s'", member, kind);
			if (!v)
				check_required(c, NULL, text);
			else if (!*json_str(v, "name", ""))
				check_required(c, "name", "");
		} else if (v) {
			check_forbidden(c, NULL, "%s is forbidden when subject kind is not '%s'",
					member, kinds[i].kind);
		}
		check_leave(c, mark);
	}
}

static void check_account(struct check *c, const json_t *account)
{
	const char *name = json_str(account, "name", ""), *ns = json_str(account, "namespace", "");

	if (*name && !streq(name, "*"))
		check_text(c, "name", name, valid_dns1123_subdomain);
	if (*ns)
		check_text(c, "namespace", ns, valid_dns1123_label);
	else
		check_required(c, "namespace", "must specify namespace for service account");
}

static void check_subjects(struct check *c, const json_t *rule)
{
	json_t *v;

	if (json_len(rule, "subjects") == 0)
		check_required(c, "subjects", "subjects must contain at least one value");
	check_foreach(c, rule, "subjects", v)
	{
		const json_t *account = json_object_get(v, "serviceAccount");
		size_t mark;

		check_subject(c, v);
		if (!account || !streq(json_str(v, "kind", ""), "ServiceAccount"))
			continue;
		mark = check_enter(c, "serviceAccount");
		check_account(c, account);
		check_leave(c, mark);
	}
}

/* empty: said when the list is. Returns whether the members are still to be looked at. */
static bool check_star(struct check *c, const json_t *rule, const char *field, const char *empty,
		       const char *what)
{
	const json_t *list = json_object_get(rule, field);
	bool star = false;
	json_t *v;
	size_t i;

	json_array_foreach(list, i, v) star |= streq(json_string_value(v), "*");
	if (json_array_size(list) == 0)
		check_required(c, field, empty);
	else if (star && json_array_size(list) > 1)
		check_invalid(c, field, list, "if '*' is present, must not specify other %s", what);
	return !star && json_array_size(list) > 0;
}

static void check_verbs(struct check *c, const json_t *rule)
{
	static const char verbs[] = "create,delete,deletecollection,get,list,patch,proxy,update,"
				    "watch";
	json_t *v;
	size_t i;

	if (!check_star(c, rule, "verbs", "verbs must contain at least one value", "verbs"))
		return;
	json_array_foreach(json_object_get(rule, "verbs"), i, v)
	{
		if (csv_has_exactly(verbs, json_string_value(v)))
			continue;
		/* upstream names the list, not the member */
		check_unsupported_value(c, "verbs", json_object_get(rule, "verbs"), verbs);
		return;
	}
}

static void check_resource_rule(struct check *c, const json_t *rule)
{
	json_t *v;

	check_verbs(c, rule);
	check_star(c, rule, "apiGroups", "resource rules must supply at least one api group",
		   "api groups");
	check_star(c, rule, "resources", "resource rules must supply at least one resource",
		   "resources");
	if (json_len(rule, "namespaces") == 0 && json_bool(rule, "clusterScope", false))
		return;
	if (!check_star(c, rule, "namespaces",
			"resource rules that are not cluster scoped must supply at least one "
			"namespace",
			"namespaces"))
		return;
	check_foreach(c, rule, "namespaces", v)
	{
		const char *bad = valid_dns1123_label(json_string_value(v));

		if (bad)
			check_invalid(
				c, NULL, v,
				"each member of this list must be '*' or a DNS-1123 label; %s",
				bad);
	}
}

static const char *valid_url_pattern(const char *s)
{
	const char *star = strchr(s, '*');

	if (!*s)
		return "must not be empty";
	if (*s != '/')
		return "must start with slash";
	if (strchr(s, ' '))
		return "must not contain white-space";
	if (strstr(s, "//"))
		return "must not contain double slash";
	if (star && (star[1] || star[-1] != '/'))
		return "wildcard can only do suffix matching";
	return NULL;
}

static void check_url_rule(struct check *c, const json_t *rule)
{
	json_t *v;

	check_verbs(c, rule);
	if (!check_star(c, rule, "nonResourceURLs",
			"nonResourceURLs must contain at least one value", "non-resource URLs"))
		return;
	check_foreach(c, rule, "nonResourceURLs", v)
		check_text(c, NULL, json_string_value(v), valid_url_pattern);
}

static void check_flow_rule(struct check *c, const json_t *rule)
{
	json_t *v;

	check_subjects(c, rule);
	if (json_len(rule, "resourceRules") == 0 && json_len(rule, "nonResourceRules") == 0)
		check_required(c, NULL,
			       "at least one of resourceRules and nonResourceRules has to be "
			       "non-empty");
	check_foreach(c, rule, "resourceRules", v) check_resource_rule(c, v);
	check_foreach(c, rule, "nonResourceRules", v) check_url_rule(c, v);
}

static void check_status_conditions(struct check *c, const json_t *obj)
{
	const json_t *status = json_object_get(obj, "status");
	size_t mark = check_enter(c, "status");
	auto_strv seen = {0};
	json_t *v;

	check_foreach(c, status, "conditions", v)
	{
		const char *type = json_str(v, "type", "");

		if (strv_has(&seen, type))
			check_duplicate_str(c, "type", type);
		strv_add(&seen, type);
		if (!*type)
			check_required(c, "type", "must not be empty");
	}
	check_leave(c, mark);
}

/* The objects that a server makes for itself stay as they are; of the exempt level, its shares
 * may change. */
static void check_fixed(struct check *c, const json_t *obj, const json_t *old)
{
	json_auto_t *spec = json_copy(json_object_get(obj, "spec"));
	json_auto_t *was = json_copy(json_object_get(old, "spec"));
	const char *name = meta_name(obj);
	bool exempt = json_object_get(was, "exempt") != NULL;

	if (!old || (!streq(name, "exempt") && !streq(name, "catch-all")))
		return;
	if (exempt) {
		json_object_del(spec, "exempt");
		json_object_del(was, "exempt");
	}
	if (!json_equal(spec, was))
		check_invalid(c, "spec", json_object_get(obj, "spec"),
			      "spec of '%s'%s must equal the fixed value", name,
			      exempt ? " except the 'spec.exempt' field" : "");
}

void flowschema_validate(const json_t *obj, const json_t *old, struct err *err)
{
	struct check c = {.err = err};
	const json_t *spec = json_object_get(obj, "spec");
	int64_t precedence = json_int(spec, "matchingPrecedence", 0);
	const char *level = json_str(spec, "priorityLevelConfiguration.name", "");
	const json_t *method = json_object_get(spec, "distinguisherMethod");
	size_t mark = check_enter(&c, "spec");
	json_t *rule;

	if (precedence <= 0)
		check_invalid_int(&c, "matchingPrecedence", precedence, "must be a positive value");
	if (precedence > MAX_PRECEDENCE)
		check_invalid_int(&c, "matchingPrecedence", precedence,
				  "must not be greater than %d", MAX_PRECEDENCE);
	if (precedence == 1 && !streq(meta_name(obj), "exempt"))
		check_invalid_int(&c, "matchingPrecedence", precedence,
				  "only the schema named 'exempt' may have matchingPrecedence 1");
	if (method)
		check_one_of(&c, "distinguisherMethod.type", json_str(method, "type", ""),
			     "ByNamespace,ByUser");
	if (*level)
		check_text(&c, "priorityLevelConfiguration.name", level, valid_dns1123_subdomain);
	else
		check_required(&c, "priorityLevelConfiguration.name",
			       "must reference a priority level");
	check_foreach(&c, spec, "rules", rule) check_flow_rule(&c, rule);
	check_leave(&c, mark);
	check_fixed(&c, obj, old);
	check_status_conditions(&c, obj);
	strbuf_done(&c.path);
}

/* ---- priority levels -------------------------------------------------------------------- */

/* Bits it takes to deal a hand of so many cards: those of the falling factorial. */
static int entropy_bits(int64_t deck, int64_t hand)
{
	double product = 1;
	int bits = 0;

	for (int64_t i = 0; i < hand && bits <= MAX_HASH_BITS; i++) {
		product *= (double)(deck - i);
		while (product > 2) {
			product /= 2;
			bits++;
		}
	}
	return bits + (product > 1);
}

static void check_queuing(struct check *c, const json_t *queuing)
{
	int64_t queues = json_int(queuing, "queues", 0), hand = json_int(queuing, "handSize", 0);
	int64_t length = json_int(queuing, "queueLengthLimit", 0);

	if (length <= 0)
		check_invalid_int(c, "queueLengthLimit", length, "must be positive");
	if (queues <= 0)
		check_invalid_int(c, "queues", queues, "must be positive");
	else if (queues > MAX_QUEUES)
		check_invalid_int(c, "queues", queues, "must not be greater than %d", MAX_QUEUES);
	if (hand <= 0)
		check_invalid_int(c, "handSize", hand, "must be positive");
	else if (hand > queues)
		check_invalid_int(c, "handSize", hand, "should not be greater than queues (%lld)",
				  (long long)queues);
	else if (entropy_bits(queues, hand) > MAX_HASH_BITS)
		check_invalid_int(c, "handSize", hand,
				  "required entropy bits of deckSize %lld and handSize %lld should "
				  "not be greater than %d",
				  (long long)queues, (long long)hand, MAX_HASH_BITS);
}

static void check_limit_response(struct check *c, const json_t *response)
{
	const char *type = json_str(response, "type", "");
	const json_t *queuing = json_object_get(response, "queuing");

	check_one_of(c, "type", type, "Queue,Reject");
	if (streq(type, "Reject") && queuing)
		check_forbidden(c, "queuing",
				"must be nil if limited.limitResponse.type is not Limited");
	if (!streq(type, "Queue"))
		return;
	if (!queuing) {
		check_required(c, "queuing",
			       "must not be empty if limited.limitResponse.type is Limited");
		return;
	}
	check_enter(c, "queuing");
	check_queuing(c, queuing);
}

static void check_percent(struct check *c, const json_t *obj, bool bounded)
{
	int64_t lend = json_int(obj, "lendablePercent", 0);
	int64_t borrow = json_int(obj, "borrowingLimitPercent", 0);

	if (lend < 0 || lend > 100)
		check_invalid_int(c, "lendablePercent", lend,
				  "must be between 0 and 100, inclusive");
	if (bounded && borrow < 0)
		check_invalid_int(c, "borrowingLimitPercent", borrow,
				  "if specified, must be a non-negative integer");
}

static void check_limited(struct check *c, const json_t *limited)
{
	int64_t shares = json_int(limited, "nominalConcurrencyShares", 0);
	size_t mark;

	if (shares < 0)
		check_invalid_int(c, "nominalConcurrencyShares", shares,
				  "must be a non-negative integer");
	check_percent(c, limited, true);
	mark = check_enter(c, "limitResponse");
	check_limit_response(c, json_object_get(limited, "limitResponse"));
	check_leave(c, mark);
}

static void check_exempt(struct check *c, const json_t *exempt)
{
	int64_t shares = json_int(exempt, "nominalConcurrencyShares", 0);

	if (shares < 0)
		check_invalid_int(c, "nominalConcurrencyShares", shares,
				  "must be a non-negative integer");
	check_percent(c, exempt, false);
}

void prioritylevel_validate(const json_t *obj, const json_t *old, struct err *err)
{
	struct check c = {.err = err};
	const json_t *spec = json_object_get(obj, "spec");
	const json_t *limited = json_object_get(spec, "limited");
	const json_t *exempt = json_object_get(spec, "exempt");
	const char *type = json_str(spec, "type", "");
	bool is_exempt = streq(type, "Exempt"), is_limited = streq(type, "Limited");
	size_t mark = check_enter(&c, "spec"), inner;

	if (streq(meta_name(obj), "exempt") != is_exempt)
		check_invalid_str(&c, "type", type,
				  "type must be 'Exempt' if and only if name is 'exempt'");
	check_one_of(&c, "type", type, "Exempt,Limited");
	if (is_exempt && limited)
		check_forbidden(&c, "limited", "must be nil if the type is not Limited");
	if (is_limited && exempt)
		check_forbidden(&c, "exempt", "must be nil if the type is Limited");
	if (is_limited && !limited)
		check_required(&c, "limited", "must not be empty when type is Limited");
	if (is_limited && limited) {
		inner = check_enter(&c, "limited");
		check_limited(&c, limited);
		check_leave(&c, inner);
	}
	if (is_exempt && exempt) {
		inner = check_enter(&c, "exempt");
		check_exempt(&c, exempt);
		check_leave(&c, inner);
	}
	check_leave(&c, mark);
	check_fixed(&c, obj, old);
	check_status_conditions(&c, obj);
	strbuf_done(&c.path);
}
