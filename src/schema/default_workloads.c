/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Defaults of workloads and of what bounds and stores for them that the field tables cannot say
 * (kubernetes pkg/apis/{apps,batch,autoscaling,core}/v1/defaults.go, and of Job and claims what the
 * strategies fill in on creation).
 */
#include "internal.h"

/* ---- apps ------------------------------------------------------------------------------- */

void replicaset_set_defaults(json_t *obj, const json_t *old UNUSED)
{
	default_pod_spec(json_obj(obj, "spec.template.spec"));
}

void deployment_set_defaults(json_t *obj, const json_t *old UNUSED)
{
	replicaset_set_defaults(obj, old);
	if (streq(json_str(obj, "spec.strategy.type", ""), "RollingUpdate"))
		default_message(message_find("io.k8s.api.apps.v1.RollingUpdateDeployment"),
				json_obj(obj, "spec.strategy.rollingUpdate"));
}

void replicationcontroller_set_defaults(json_t *obj, const json_t *old UNUSED)
{
	json_t *labels = json_at(obj, "spec.template.metadata.labels");

	if (!json_at(obj, "spec.template"))
		return;
	default_pod_spec(json_obj(obj, "spec.template.spec"));
	if (!json_object_size(labels))
		return;
	if (!json_object_size(json_at(obj, "spec.selector")))
		json_put(obj, "spec.selector", json_copy(labels));
	if (!json_object_size(json_at(obj, "metadata.labels")))
		json_put(obj, "metadata.labels", json_copy(labels));
}

void podtemplate_set_defaults(json_t *obj, const json_t *old UNUSED)
{
	default_pod_spec(json_obj(obj, "template.spec"));
}

void daemonset_set_defaults(json_t *obj, const json_t *old UNUSED)
{
	replicaset_set_defaults(obj, old);
	if (streq(json_str(obj, "spec.updateStrategy.type", ""), "RollingUpdate"))
		default_message(message_find("io.k8s.api.apps.v1.RollingUpdateDaemonSet"),
				json_obj(obj, "spec.updateStrategy.rollingUpdate"));
}

void statefulset_set_defaults(json_t *obj, const json_t *old UNUSED)
{
	json_t *strategy = json_obj(obj, "spec.updateStrategy"), *claim;
	size_t i;

	default_pod_spec(json_obj(obj, "spec.template.spec"));
	if (!*json_str(strategy, "type", "")) {
		json_put_str(strategy, "type", "RollingUpdate");
		default_message(message_find("io.k8s.api.apps.v1.RollingUpdateStatefulSetStrategy"),
				json_obj(strategy, "rollingUpdate"));
	}
	json_array_foreach(json_at(obj, "spec.volumeClaimTemplates"), i, claim)
	{
		default_put(claim, "apiVersion", json_string("v1"));
		default_put(claim, "kind", json_string("PersistentVolumeClaim"));
	}
}

/* ---- batch ------------------------------------------------------------------------------ */

static void default_failure_policy(json_t *spec)
{
	json_t *rule, *pattern;
	size_t i, j;

	json_array_foreach(json_at(spec, "podFailurePolicy.rules"), i, rule)
		json_array_foreach(json_object_get(rule, "onPodConditions"), j, pattern)
			default_put(pattern, "status", json_string("True"));
}

static void default_job_spec(json_t *spec)
{
	if (!json_object_get(spec, "completions") && !json_object_get(spec, "parallelism"))
		json_put_int(spec, "completions", 1);
	default_put(spec, "parallelism", json_integer(1));
	default_put(spec, "backoffLimit",
		    json_integer(json_object_get(spec, "backoffLimitPerIndex") ? INT32_MAX : 6));
	default_put(spec, "completionMode", json_string("NonIndexed"));
	default_put(spec, "suspend", json_false());
	default_put(spec, "manualSelector", json_false());
	default_put(spec, "podReplacementPolicy",
		    json_string(json_object_get(spec, "podFailurePolicy") ? "Failed"
									  : "TerminatingOrFailed"));
	default_failure_policy(spec);
}

/* A job selects its pods by its own uid, unless the user wants to say himself. */
static void generate_selector(json_t *obj)
{
	static const char *const names[] = {"batch.kubernetes.io/job-name", "job-name"};
	static const char *const uids[] = {"batch.kubernetes.io/controller-uid", "controller-uid"};
	json_t *labels = json_obj(obj, "spec.template.metadata.labels");

	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		default_put(labels, names[i], json_string(meta_name(obj)));
	for (size_t i = 0; i < ARRAY_SIZE(uids); i++)
		default_put(labels, uids[i], json_string(meta_uid(obj)));
	default_put(json_obj(obj, "spec.selector.matchLabels"), uids[0],
		    json_string(meta_uid(obj)));
}

void job_set_defaults(json_t *obj, const json_t *old)
{
	json_t *spec = json_obj(obj, "spec");

	default_job_spec(spec);
	default_pod_spec(json_obj(spec, "template.spec"));
	if (!old && *meta_uid(obj) && !json_bool(spec, "manualSelector", false))
		generate_selector(obj);
	json_t *labels = json_at(spec, "template.metadata.labels");

	if (json_object_size(labels) && !json_object_size(json_at(obj, "metadata.labels")))
		json_put(obj, "metadata.labels", json_copy(labels));
}

void cronjob_set_defaults(json_t *obj, const json_t *old UNUSED)
{
	default_pod_spec(json_obj(obj, "spec.jobTemplate.spec.template.spec"));
}

/* ---- autoscaling ------------------------------------------------------------------------ */

/* One direction of scaling; quick: up, where nothing is waited for. */
static void default_scaling(json_t *behavior, const char *direction, bool quick)
{
	json_t *rules = json_object_get(behavior, direction);

	if (!rules)
		return;
	default_put(rules, "selectPolicy", json_string("Max"));
	if (quick)
		default_put(rules, "stabilizationWindowSeconds", json_integer(0));
	if (json_len(rules, "policies"))
		return;
	json_put(rules, "policies",
		 quick ? json_pack("[{s:s, s:i, s:i}, {s:s, s:i, s:i}]", "type", "Pods", "value", 4,
				   "periodSeconds", 15, "type", "Percent", "value", 100,
				   "periodSeconds", 15)
		       : json_pack("[{s:s, s:i, s:i}]", "type", "Percent", "value", 100,
				   "periodSeconds", 15));
}

void hpa_set_defaults(json_t *obj, const json_t *old UNUSED)
{
	json_t *spec = json_obj(obj, "spec");
	json_t *behavior = json_object_get(spec, "behavior");

	if (!json_len(spec, "metrics"))
		json_put(spec, "metrics",
			 json_pack("[{s:s, s:{s:s, s:{s:s, s:i}}}]", "type", "Resource", "resource",
				   "name", "cpu", "target", "type", "Utilization",
				   "averageUtilization", 80));
	if (behavior) { /* what it does not say is as without it */
		json_obj(behavior, "scaleUp");
		json_obj(behavior, "scaleDown");
	}
	default_scaling(behavior, "scaleUp", true);
	default_scaling(behavior, "scaleDown", false);
}

/* ---- core ------------------------------------------------------------------------------- */

/* Members of from that to does not have. */
static void fill_map(json_t *limit, const char *to, const char *from)
{
	json_t *source = json_object_get(limit, from), *v;
	const char *key;

	json_object_foreach(source, key, v) default_put(json_obj(limit, to), key, json_copy(v));
}

void limitrange_set_defaults(json_t *obj, const json_t *old UNUSED)
{
	json_t *limit;
	size_t i;

	json_array_foreach(json_at(obj, "spec.limits"), i, limit)
	{
		if (!streq(json_str(limit, "type", ""), "Container"))
			continue;
		fill_map(limit, "default", "max");
		fill_map(limit, "defaultRequest", "default");
		fill_map(limit, "defaultRequest", "min");
	}
}

/* Both ways to name where a claim's content comes from say the same. */
void pvc_set_defaults(json_t *obj, const json_t *old)
{
	json_t *spec = json_obj(obj, "spec");
	json_t *source = json_object_get(spec, "dataSource");
	json_t *ref = json_object_get(spec, "dataSourceRef");

	if (old)
		return;
	if (source && !ref)
		json_object_set_new(spec, "dataSourceRef", json_deep_copy(source));
	else if (ref && !source && !*json_str(ref, "namespace", ""))
		json_object_set_new(spec, "dataSource", json_deep_copy(ref));
}
