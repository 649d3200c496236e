/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Validation of ReplicaSet and Deployment (kubernetes pkg/apis/apps/validation).
 */
#include "validate.h"

/* Path of the selector and template below: "spec". */
static void check_template(struct check *c, const char *word, const json_t *spec)
{
	const json_t *selector = json_object_get(spec, "selector");
	const json_t *labels = json_at(spec, "template.metadata.labels");
	struct label_selector *s = NULL;
	size_t mark;

	if (json_object_size(selector) == 0) {
		if (selector)
			check_invalid(c, "selector", selector, "empty selector is invalid for %s",
				      word);
	} else if ((s = label_selector_from_json(selector, NULL)) &&
		   !label_selector_matches(s, labels)) {
		check_invalid(c, "template.metadata.labels", labels,
			      "`selector` does not match template `labels`");
	}
	label_selector_free(s);
	mark = check_enter(c, "template.spec");
	check_pod_spec(c, json_at(spec, "template.spec"));
	check_leave(c, mark);
}

void check_workload(struct check *c, const char *word, const json_t *spec, const json_t *old_spec)
{
	const json_t *pod = json_at(spec, "template.spec");
	const char *policy = json_str(pod, "restartPolicy", "Always");
	size_t mark;

	check_selector(c, "selector", json_object_get(spec, "selector"));
	check_template(c, word, spec);
	mark = check_enter(c, "template.metadata");
	check_annotations(c, "annotations", json_at(spec, "template.metadata.annotations"));
	check_leave(c, mark);
	if (!streq(policy, "Always"))
		check_unsupported(c, "template.spec.restartPolicy", policy, "Always");
	if (json_object_get(pod, "activeDeadlineSeconds"))
		check_forbidden(c, "template.spec.activeDeadlineSeconds",
				"activeDeadlineSeconds in ReplicaSet is not Supported");
	if (old_spec)
		check_immutable(c, "selector", spec, old_spec);
}

void replicaset_validate(const json_t *obj, const json_t *old, struct err *err)
{
	struct check c = {.err = err};

	check_enter(&c, "spec");
	check_workload(&c, "replica set", json_object_get(obj, "spec"),
		       old ? json_object_get(old, "spec") : NULL);
	strbuf_done(&c.path);
}

/* A number of pods or a percentage of them; returns it as the number it starts with. */
static int64_t check_amount(struct check *c, const char *field, const json_t *v, bool *ret_percent)
{
	const char *text = json_string_value(v);
	char *end = NULL;
	long long n;

	*ret_percent = text != NULL;
	if (!text) {
		n = json_integer_value(v);
		if (n < 0)
			check_invalid(c, field, v, "must be greater than or equal to 0");
		return n;
	}
	n = strtoll(text, &end, 10);
	if (end == text || !streq(end, "%") || text[0] < '0' || text[0] > '9') {
		check_invalid(c, field, v,
			      "a valid percent string must be a numeric string followed by an "
			      "ending '%%' (e.g. '1%%',  or '93%%', regex used for validation is "
			      "'[0-9]+%%')");
		return 1;
	}
	return n;
}

static void check_strategy(struct check *c, const json_t *spec)
{
	const json_t *strategy = json_object_get(spec, "strategy");
	const json_t *rolling = json_object_get(strategy, "rollingUpdate");
	bool percent, unused;
	size_t mark;

	if (streq(json_str(strategy, "type", ""), "Recreate") && rolling)
		check_forbidden(c, "strategy.rollingUpdate",
				"may not be specified when strategy `type` is 'Recreate'");
	else if (rolling) {
		const json_t *max = json_object_get(rolling, "maxUnavailable");

		mark = check_enter(c, "strategy.rollingUpdate");
		int64_t down = check_amount(c, "maxUnavailable", max, &percent);
		int64_t surge =
			check_amount(c, "maxSurge", json_object_get(rolling, "maxSurge"), &unused);
		if (down == 0 && surge == 0)
			check_invalid(c, "maxUnavailable", max,
				      "may not be 0 when `maxSurge` is 0");
		if (percent && down > 100)
			check_invalid(c, "maxUnavailable", max, "must not be greater than 100%%");
		check_leave(c, mark);
	}
}

void deployment_validate(const json_t *obj, const json_t *old, struct err *err)
{
	struct check c = {.err = err};
	const json_t *spec = json_object_get(obj, "spec");
	int64_t deadline = json_int(spec, "progressDeadlineSeconds", INT32_MAX);

	check_enter(&c, "spec");
	check_workload(&c, "deployment", spec, old ? json_object_get(old, "spec") : NULL);
	check_strategy(&c, spec);
	if (deadline <= json_int(spec, "minReadySeconds", 0))
		check_invalid_int(&c, "progressDeadlineSeconds", deadline,
				  "must be greater than minReadySeconds");
	strbuf_done(&c.path);
}
