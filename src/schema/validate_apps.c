/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Validation of the workloads that keep pods running: ReplicationController, ReplicaSet,
 * Deployment, StatefulSet, DaemonSet; ControllerRevision and PodTemplate (kubernetes
 * pkg/apis/apps/validation, pkg/apis/core/validation).
 */
#include "validate.h"

void check_pod_template(struct check *c, const json_t *template)
{
	size_t mark;

	/* upstream's path leaves metadata out */
	check_annotations(c, "annotations", json_at(template, "metadata.annotations"));
	mark = check_enter(c, "spec");
	check_pod_spec(c, json_object_get(template, "spec"));
	if (json_len(json_object_get(template, "spec"), "ephemeralContainers"))
		check_forbidden(c, "ephemeralContainers",
				"ephemeral containers not allowed in pod template");
	check_leave(c, mark);
}

/* The selector selects what the template makes. */
static void check_selection(struct check *c, const char *word, const json_t *spec)
{
	const json_t *selector = json_object_get(spec, "selector");
	const json_t *labels = json_at(spec, "template.metadata.labels");
	struct label_selector *s;

	if (selector && json_object_size(json_object_get(selector, "matchLabels")) == 0 &&
	    json_len(selector, "matchExpressions") == 0) {
		check_invalid(c, "selector", selector, "empty selector is invalid for %s", word);
		return;
	}
	s = label_selector_from_json(selector, NULL);
	if (s && selector && !label_selector_matches(s, labels))
		check_invalid(c, "template.metadata.labels", labels,
			      "`selector` does not match template `labels`");
	label_selector_free(s);
}

/* Pods that are always restarted and have no deadline. */
static void check_lasting(struct check *c, const char *kind, const json_t *spec)
{
	const json_t *pod = json_at(spec, "template.spec");
	const char *policy = json_str(pod, "restartPolicy", "Always");

	if (!streq(policy, "Always"))
		check_unsupported(c, "template.spec.restartPolicy", policy, "Always");
	if (json_object_get(pod, "activeDeadlineSeconds"))
		check_forbidden(c, "template.spec.activeDeadlineSeconds",
				"activeDeadlineSeconds in %s is not Supported", kind);
}

void check_workload(struct check *c, const char *word, const char *kind, const json_t *spec,
		    const json_t *old_spec)
{
	size_t mark;

	check_selector(c, "selector", json_object_get(spec, "selector"));
	check_selection(c, word, spec);
	mark = check_enter(c, "template");
	check_pod_template(c, json_object_get(spec, "template"));
	check_leave(c, mark);
	check_lasting(c, kind, spec);
	if (old_spec)
		check_immutable(c, "selector", spec, old_spec);
}

/* Counters of status that count some of what `total` counts. */
static void check_counts(struct check *c, const json_t *obj, const char *const *fields, size_t n)
{
	const json_t *status = json_object_get(obj, "status");
	int64_t total = json_int(status, "replicas", 0);
	int64_t ready = json_int(status, "readyReplicas", 0);
	int64_t available = json_int(status, "availableReplicas", 0);

	for (size_t i = 0; i < n; i++) {
		auto_free char *path = xasprintf("status.%s", fields[i]);
		int64_t v = json_int(status, fields[i], 0);

		if (v > total)
			check_invalid_int(c, path, v, "cannot be greater than status.replicas");
	}
	if (available > ready)
		check_invalid_int(c, "status.availableReplicas", available,
				  "cannot be greater than readyReplicas");
}

static const char *const replica_counts[] = {"fullyLabeledReplicas", "readyReplicas",
					     "availableReplicas"};

void replicaset_validate(const json_t *obj, const json_t *old, struct err *err)
{
	struct check c = {.err = err};
	size_t mark = check_enter(&c, "spec");

	/* upstream says "deployment" here, too */
	check_workload(&c, "deployment", "ReplicaSet", json_object_get(obj, "spec"),
		       old ? json_object_get(old, "spec") : NULL);
	check_leave(&c, mark);
	check_counts(&c, obj, replica_counts, ARRAY_SIZE(replica_counts));
	strbuf_done(&c.path);
}

void replicationcontroller_validate(const json_t *obj, const json_t *old UNUSED, struct err *err)
{
	struct check c = {.err = err};
	const json_t *spec = json_object_get(obj, "spec");
	const json_t *selector = json_object_get(spec, "selector");
	const json_t *labels = json_at(spec, "template.metadata.labels");
	struct label_selector *s = label_selector_from_map(selector);
	size_t mark = check_enter(&c, "spec"), inner;

	if (selector && json_object_size(selector) == 0)
		check_required(&c, "selector", "");
	if (json_object_size(selector) && json_object_get(spec, "template") &&
	    !label_selector_matches(s, labels))
		check_invalid(&c, "template.metadata.labels", labels,
			      "`selector` does not match template `labels`");
	label_selector_free(s);
	if (json_object_get(spec, "template")) {
		inner = check_enter(&c, "template");
		check_pod_template(&c, json_object_get(spec, "template"));
		check_leave(&c, inner);
		check_lasting(&c, "ReplicationController", spec);
	}
	check_leave(&c, mark);
	check_counts(&c, obj, replica_counts, ARRAY_SIZE(replica_counts));
	strbuf_done(&c.path);
}

void podtemplate_validate(const json_t *obj, const json_t *old UNUSED, struct err *err)
{
	struct check c = {.err = err};

	check_enter(&c, "template");
	check_pod_template(&c, json_object_get(obj, "template"));
	strbuf_done(&c.path);
}

/* ---- amounts ---------------------------------------------------------------------------- */

/* "[0-9]+%"; returns the number, or -1. */
static int64_t percent_of(const char *text)
{
	size_t digits = strspn(text, "0123456789");

	return digits > 0 && streq(text + digits, "%") ? strtoll(text, NULL, 10) : -1;
}

int64_t check_amount(struct check *c, const char *field, const json_t *v)
{
	const char *text = json_string_value(v);

	if (!text) {
		if (json_integer_value(v) < 0)
			check_invalid(c, field, v, CHECK_NEGATIVE);
		return json_integer_value(v);
	}
	if (percent_of(text) >= 0)
		return percent_of(text);
	check_invalid(c, field, v,
		      "a valid percent string must be a numeric string followed by an ending '%%' "
		      "(e.g. '1%%',  or '93%%', regex used for validation is '[0-9]+%%')");
	return strtoll(text, NULL, 10);
}

void check_percentage(struct check *c, const char *field, const json_t *v)
{
	const char *text = json_string_value(v);

	if (text && percent_of(text) > 100)
		check_invalid(c, field, v, "must not be greater than 100%%");
}

/* ---- deployments ------------------------------------------------------------------------ */

static void check_strategy(struct check *c, const json_t *spec)
{
	const json_t *strategy = json_object_get(spec, "strategy");
	const json_t *rolling = json_object_get(strategy, "rollingUpdate");
	const json_t *max = json_object_get(rolling, "maxUnavailable");
	size_t mark;

	if (streq(json_str(strategy, "type", ""), "Recreate") && rolling) {
		check_forbidden(c, "strategy.rollingUpdate",
				"may not be specified when strategy `type` is 'Recreate'");
		return;
	}
	if (!rolling)
		return;
	mark = check_enter(c, "strategy.rollingUpdate");
	int64_t down = check_amount(c, "maxUnavailable", max);
	int64_t surge = check_amount(c, "maxSurge", json_object_get(rolling, "maxSurge"));

	if (down == 0 && surge == 0)
		check_invalid(c, "maxUnavailable", max, "may not be 0 when `maxSurge` is 0");
	check_percentage(c, "maxUnavailable", max);
	check_leave(c, mark);
}

void deployment_validate(const json_t *obj, const json_t *old, struct err *err)
{
	static const char *const counts[] = {"updatedReplicas", "readyReplicas",
					     "availableReplicas"};
	struct check c = {.err = err};
	const json_t *spec = json_object_get(obj, "spec");
	int64_t deadline = json_int(spec, "progressDeadlineSeconds", INT32_MAX);
	size_t mark = check_enter(&c, "spec");

	check_workload(&c, "deployment", "ReplicaSet", spec,
		       old ? json_object_get(old, "spec") : NULL);
	check_strategy(&c, spec);
	if (deadline >= 0 && deadline <= json_int(spec, "minReadySeconds", 0))
		check_invalid_int(&c, "progressDeadlineSeconds", deadline,
				  "must be greater than minReadySeconds");
	check_leave(&c, mark);
	check_counts(&c, obj, counts, ARRAY_SIZE(counts));
	strbuf_done(&c.path);
}

/* ---- stateful sets ---------------------------------------------------------------------- */

static void check_stateful_strategy(struct check *c, const json_t *spec)
{
	const json_t *strategy = json_object_get(spec, "updateStrategy");
	const json_t *rolling = json_object_get(strategy, "rollingUpdate");
	const json_t *max = json_object_get(rolling, "maxUnavailable");
	const char *type = json_str(strategy, "type", "");

	if (streq(type, "OnDelete") && rolling)
		check_invalid(c, "updateStrategy.rollingUpdate", rolling,
			      "only allowed for updateStrategy 'RollingUpdate'");
	else if (!*type)
		check_required(c, "updateStrategy", "");
	else if (!streq(type, "OnDelete") && !streq(type, "RollingUpdate"))
		check_invalid(c, "updateStrategy", strategy,
			      "must be 'RollingUpdate' or 'OnDelete'");
	if (!max || !streq(type, "RollingUpdate"))
		return;
	if (check_amount(c, "updateStrategy.rollingUpdate.maxUnavailable", max) == 0)
		check_invalid(c, "updateStrategy.rollingUpdate.maxUnavailable", max, "cannot be 0");
	check_percentage(c, "updateStrategy.rollingUpdate.maxUnavailable", max);
}

/* The spec with a volume for every claim template, which the controller will add. */
static json_t *with_claims(const json_t *spec)
{
	json_t *copy = json_deep_copy(spec), *claim;
	json_t *volumes = json_arr(copy, "template.spec.volumes");
	size_t i;

	json_array_foreach(json_object_get(spec, "volumeClaimTemplates"), i, claim)
	{
		json_t *volume = json_find(volumes, "name", meta_name(claim));

		if (!volume) {
			volume = json_object();
			json_array_append_new(volumes, volume);
		}
		json_object_clear(volume);
		json_put_str(volume, "name", meta_name(claim));
		json_put_str(volume, "persistentVolumeClaim.claimName", meta_name(claim));
	}
	return copy;
}

/* All but these fields is for ever. */
static void check_stateful_update(struct check *c, const json_t *spec, const json_t *old)
{
	static const char *const free_fields[] = {"replicas",
						  "template",
						  "updateStrategy",
						  "minReadySeconds",
						  "ordinals",
						  "revisionHistoryLimit",
						  "persistentVolumeClaimRetentionPolicy"};
	json_auto_t *a = json_copy((json_t *)(uintptr_t)spec);
	json_auto_t *b = json_copy((json_t *)(uintptr_t)old);

	for (size_t i = 0; i < ARRAY_SIZE(free_fields); i++) {
		json_object_del(a, free_fields[i]);
		json_object_del(b, free_fields[i]);
	}
	if (!json_equal(a, b))
		check_forbidden(
			c, NULL,
			"updates to statefulset spec for fields other than 'replicas', 'ordinals', "
			"'template', 'updateStrategy', 'revisionHistoryLimit', "
			"'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are "
			"forbidden");
}

void statefulset_validate(const json_t *obj, const json_t *old, struct err *err)
{
	static const char *const counts[] = {"readyReplicas", "currentReplicas", "updatedReplicas",
					     "availableReplicas"};
	struct check c = {.err = err};
	const json_t *spec = json_object_get(obj, "spec");
	json_auto_t *whole = with_claims(spec);
	const char *policy = json_str(spec, "podManagementPolicy", "");
	size_t mark = check_enter(&c, "spec");

	if (!streq(policy, "OrderedReady") && !streq(policy, "Parallel"))
		check_invalid_str(&c, "podManagementPolicy", policy,
				  "must be 'OrderedReady' or 'Parallel'");
	check_stateful_strategy(&c, spec);
	check_workload(&c, "statefulset", "StatefulSet", whole, NULL);
	if (old)
		check_stateful_update(&c, spec, json_object_get(old, "spec"));
	check_leave(&c, mark);
	check_counts(&c, obj, counts, ARRAY_SIZE(counts));
	strbuf_done(&c.path);
}

/* ---- daemon sets ------------------------------------------------------------------------ */

static void check_daemon_rolling(struct check *c, const json_t *rolling)
{
	const json_t *max = json_object_get(rolling, "maxUnavailable");
	const json_t *surge = json_object_get(rolling, "maxSurge");
	bool down = check_amount(c, "maxUnavailable", max) != 0;
	bool up = check_amount(c, "maxSurge", surge) != 0;

	check_percentage(c, "maxUnavailable", max);
	check_percentage(c, "maxSurge", surge);
	if (down && up)
		check_invalid(c, "maxSurge", surge,
			      "may not be set when maxUnavailable is non-zero");
	else if (!down && !up)
		check_required(c, "maxUnavailable", "cannot be 0 when maxSurge is 0");
}

void daemonset_validate(const json_t *obj, const json_t *old, struct err *err)
{
	struct check c = {.err = err};
	const json_t *spec = json_object_get(obj, "spec");
	const json_t *strategy = json_object_get(spec, "updateStrategy");
	const char *type = json_str(strategy, "type", "");
	size_t mark;

	check_enter(&c, "spec");
	/* a missing selector selects nothing: upstream has no other words for it */
	if (!json_object_get(spec, "selector"))
		check_invalid(&c, "template.metadata.labels",
			      json_at(spec, "template.metadata.labels"),
			      "`selector` does not match template `labels`");
	check_workload(&c, "daemonset", "DaemonSet", spec,
		       old ? json_object_get(old, "spec") : NULL);
	mark = check_enter(&c, "updateStrategy");
	if (streq(type, "RollingUpdate")) {
		check_enter(&c, "rollingUpdate");
		check_daemon_rolling(&c, json_object_get(strategy, "rollingUpdate"));
	} else if (!streq(type, "OnDelete")) {
		check_unsupported_value(&c, NULL, strategy, "RollingUpdate,OnDelete");
	}
	check_leave(&c, mark);
	strbuf_done(&c.path);
}

/* ---- controller revisions --------------------------------------------------------------- */

void controllerrevision_validate(const json_t *obj, const json_t *old, struct err *err)
{
	struct check c = {.err = err};
	const json_t *data = json_object_get(obj, "data");

	if (old)
		check_immutable(&c, "data", obj, old);
	else if (!data || json_is_null(data))
		check_required(&c, "data", "data is mandatory");
	strbuf_done(&c.path);
}
