/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Descriptions of pods and pod templates: containers, volumes, probes.
 */
#include "internal.h"

static void put_lines(struct describe *d, unsigned level, const char *title, const json_t *list)
{
	json_t *e;
	size_t i;

	if (!json_array_size(list))
		return;
	put(d, level, "%s:\n", title);
	json_array_foreach(list, i, e)
	{
		const char *s = json_is_string(e) ? json_string_value(e) : "";
		/* Scripts have many lines: each goes below the other. */
		while (*s) {
			size_t len = strcspn(s, "\n");

			put(d, level + 1, "%.*s\n", (int)len, s);
			s += len + (s[len] == '\n');
		}
	}
}

static void put_ports(struct describe *d, unsigned level, const json_t *container)
{
	json_t *list = json_at(container, "ports"), *p;
	auto_strbuf ports = {0}, hosts = {0};
	size_t i;

	json_array_foreach(list, i, p)
	{
		const char *protocol = json_str(p, "protocol", "TCP"), *sep = i ? ", " : "";

		strbuf_addf(&ports, "%s%lld/%s", sep, (long long)json_int(p, "containerPort", 0),
			    protocol);
		strbuf_addf(&hosts, "%s%lld/%s", sep, (long long)json_int(p, "hostPort", 0),
			    protocol);
	}
	put(d, level, "Port%s:\t%s\n", i > 1 ? "s" : "", ports.len ? ports.s : "<none>");
	put(d, level, "Host Port%s:\t%s\n", i > 1 ? "s" : "", hosts.len ? hosts.s : "<none>");
}

static void put_state(struct describe *d, unsigned level, const char *title, const json_t *state)
{
	const json_t *running = json_at(state, "running"), *waiting = json_at(state, "waiting");
	const json_t *ended = json_at(state, "terminated");
	char when[40];

	if (running) {
		put(d, level, "%s:\tRunning\n", title);
		put(d, level, "  Started:\t%s\n",
		    time_rfc1123(when, json_str(running, "startedAt", NULL)));
	} else if (ended) {
		put(d, level, "%s:\tTerminated\n", title);
		if (*json_str(ended, "reason", ""))
			put(d, level, "  Reason:\t%s\n", json_str(ended, "reason", ""));
		if (*json_str(ended, "message", ""))
			put(d, level, "  Message:\t%s\n", json_str(ended, "message", ""));
		put(d, level, "  Exit Code:\t%lld\n", (long long)json_int(ended, "exitCode", 0));
		if (json_int(ended, "signal", 0) > 0)
			put(d, level, "  Signal:\t%lld\n", (long long)json_int(ended, "signal", 0));
		put(d, level, "  Started:\t%s\n",
		    time_rfc1123(when, json_str(ended, "startedAt", NULL)));
		put(d, level, "  Finished:\t%s\n",
		    time_rfc1123(when, json_str(ended, "finishedAt", NULL)));
	} else {
		put(d, level, "%s:\tWaiting\n", title);
		if (*json_str(waiting, "reason", ""))
			put(d, level, "  Reason:\t%s\n", json_str(waiting, "reason", ""));
	}
}

static int strp_cmp(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static void put_resources(struct describe *d, unsigned level, const char *title, const json_t *map)
{
	auto_free const char **keys = xcalloc(json_object_size(map) + 1, sizeof(*keys));
	const char *key;
	size_t n = 0;
	json_t *v;

	if (!json_object_size(map))
		return;
	json_object_foreach((json_t *)map, key, v)
	{
		keys[n++] = key;
	}
	qsort(keys, n, sizeof(*keys), strp_cmp);
	put(d, level, "%s:\n", title);
	for (size_t i = 0; i < n; i++) {
		v = json_object_get(map, keys[i]);
		put(d, level, "  %s:\t%s\n", keys[i],
		    json_is_string(v) ? json_string_value(v) : "");
	}
}

/* ---- probes --------------------------------------------------------------------------------- */

static char *port_text(const json_t *port)
{
	return json_is_string(port) ? xstrdup(json_string_value(port))
				    : xasprintf("%lld", (long long)json_integer_value(port));
}

static char *probe_action(const json_t *p)
{
	const json_t *http = json_at(p, "httpGet"), *tcp = json_at(p, "tcpSocket");
	const json_t *grpc = json_at(p, "grpc");
	auto_free char *port = port_text(json_at(http ? http : tcp ? tcp : grpc, "port"));
	auto_strbuf b = {0};
	json_t *word;
	size_t i;

	if (http) {
		auto_free char *scheme = xstrdup(json_str(http, "scheme", "HTTP"));
		for (char *s = scheme; *s; s++)
			*s |= 0x20;
		return xasprintf("http-get %s://%s:%s%s", scheme, json_str(http, "host", ""), port,
				 json_str(http, "path", ""));
	}
	if (tcp)
		return xasprintf("tcp-socket %s:%s", json_str(tcp, "host", ""), port);
	if (grpc)
		return xasprintf("grpc <pod>:%s %s", port, json_str(grpc, "service", ""));
	strbuf_adds(&b, "exec [");
	json_array_foreach(json_at(p, "exec.command"), i, word)
	{
		strbuf_addf(&b, "%s%s", i ? " " : "",
			    json_is_string(word) ? json_string_value(word) : "");
	}
	strbuf_addc(&b, ']');
	return strbuf_steal(&b);
}

static void put_probe(struct describe *d, unsigned level, const char *title, const json_t *p)
{
	auto_free char *action = NULL;

	if (!p)
		return;
	action = probe_action(p);
	put(d, level,
	    "%s:\t%s delay=%llds timeout=%llds period=%llds #success=%lld #failure=%lld\n", title,
	    action, (long long)json_int(p, "initialDelaySeconds", 0),
	    (long long)json_int(p, "timeoutSeconds", 1),
	    (long long)json_int(p, "periodSeconds", 10),
	    (long long)json_int(p, "successThreshold", 1),
	    (long long)json_int(p, "failureThreshold", 3));
}

/* ---- environment and mounts ----------------------------------------------------------------- */

static void put_env_source(struct describe *d, unsigned level, const char *name, const json_t *from)
{
	static const struct {
		const char *ref, *words;
	} refs[] = {{"secretKeyRef", "secret"}, {"configMapKeyRef", "config map"}};

	for (size_t i = 0; i < ARRAY_SIZE(refs); i++) {
		const json_t *ref = json_at(from, refs[i].ref);

		if (ref)
			put(d, level, "%s:\t<set to the key '%s' in %s '%s'>\tOptional: %s\n", name,
			    json_str(ref, "key", ""), refs[i].words, json_str(ref, "name", ""),
			    json_bool(ref, "optional", false) ? "true" : "false");
	}
	if (json_at(from, "fieldRef"))
		put(d, level, "%s:\t (%s:%s)\n", name, json_str(from, "fieldRef.apiVersion", "v1"),
		    json_str(from, "fieldRef.fieldPath", ""));
	if (json_at(from, "resourceFieldRef"))
		put(d, level, "%s:\t (%s)\n", name,
		    json_str(from, "resourceFieldRef.resource", ""));
}

static void put_env(struct describe *d, unsigned level, const json_t *container)
{
	json_t *env = json_at(container, "env"), *from = json_at(container, "envFrom"), *e;
	size_t i;

	if (json_array_size(from))
		put(d, level, "Environment Variables from:\n");
	json_array_foreach(from, i, e)
	{
		bool secret = json_at(e, "secretRef") != NULL;
		const json_t *ref = json_at(e, secret ? "secretRef" : "configMapRef");

		put(d, level + 1, "%s\t%s\tOptional: %s\n", json_str(ref, "name", ""),
		    secret ? "Secret" : "ConfigMap",
		    json_bool(ref, "optional", false) ? "true" : "false");
	}
	put(d, level, json_array_size(env) ? "Environment:\n" : "Environment:\t<none>\n");
	json_array_foreach(env, i, e)
	{
		if (json_at(e, "valueFrom"))
			put_env_source(d, level + 1, json_str(e, "name", ""),
				       json_at(e, "valueFrom"));
		else
			put(d, level + 1, "%s:\t%s\n", json_str(e, "name", ""),
			    json_str(e, "value", ""));
	}
}

static void put_mounts(struct describe *d, unsigned level, const json_t *container)
{
	json_t *list = json_at(container, "volumeMounts"), *m;
	size_t i;

	put(d, level, json_array_size(list) ? "Mounts:\n" : "Mounts:\t<none>\n");
	json_array_foreach(list, i, m)
	{
		const char *sub = json_str(m, "subPath", "");

		put(d, level + 1, "%s from %s (%s%s%s%s)\n", json_str(m, "mountPath", ""),
		    json_str(m, "name", ""), json_bool(m, "readOnly", false) ? "ro" : "rw",
		    *sub ? ",path=\"" : "", sub, *sub ? "\"" : "");
	}
}

/* ---- containers ----------------------------------------------------------------------------- */

/* kubectl's indentation: what is said of a container stands at level 2, in a template as in a pod.
 */
static void put_container(struct describe *d, bool nested, const json_t *c, const json_t *status)
{
	const unsigned level = 2;

	put(d, 1, "%s%s:\n", nested ? " " : "", json_str(c, "name", ""));
	if (status)
		put(d, level, "Container ID:\t%s\n", json_str(status, "containerID", ""));
	put(d, level, "Image:\t%s\n", json_str(c, "image", ""));
	if (status)
		put(d, level, "Image ID:\t%s\n", json_str(status, "imageID", ""));
	put_ports(d, level, c);
	put_lines(d, level, "Command", json_at(c, "command"));
	put_lines(d, level, "Args", json_at(c, "args"));
	if (status) {
		put_state(d, level, "State", json_at(status, "state"));
		if (json_at(status, "lastState.terminated"))
			put_state(d, level, "Last State", json_at(status, "lastState"));
		put(d, level, "Ready:\t%s\n", json_bool(status, "ready", false) ? "True" : "False");
		put(d, level, "Restart Count:\t%lld\n",
		    (long long)json_int(status, "restartCount", 0));
	}
	put_resources(d, level, "Limits", json_at(c, "resources.limits"));
	put_resources(d, level, "Requests", json_at(c, "resources.requests"));
	put_probe(d, level, "Liveness", json_at(c, "livenessProbe"));
	put_probe(d, level, "Readiness", json_at(c, "readinessProbe"));
	put_probe(d, level, "Startup", json_at(c, "startupProbe"));
	put_env(d, level, c);
	put_mounts(d, level, c);
}

void put_containers(struct describe *d, unsigned level, const json_t *spec, const json_t *status,
		    bool init)
{
	json_t *list = json_at(spec, init ? "initContainers" : "containers"), *c;
	json_t *statuses = json_at(status, init ? "initContainerStatuses" : "containerStatuses");
	size_t i;

	if (init && !json_array_size(list))
		return;
	put(d, level, init ? "Init Containers:\n" : "Containers:\n");
	json_array_foreach(list, i, c)
	{
		put_container(d, level > 0, c,
			      json_find(statuses, "name", json_str(c, "name", "")));
	}
}

/* ---- volumes -------------------------------------------------------------------------------- */

static const struct {
	const char *source, *type;
	const char *fields[3][3]; /* title, path below the source, what stands for nothing */
} volume_types[] = {
	{"emptyDir",
	 "EmptyDir (a temporary directory that shares a pod's lifetime)",
	 {{"Medium", "medium"}, {"SizeLimit", "sizeLimit", "<unset>"}}},
	{"hostPath",
	 "HostPath (bare host directory volume)",
	 {{"Path", "path"}, {"HostPathType", "type"}}},
	{"configMap",
	 "ConfigMap (a volume populated by a ConfigMap)",
	 {{"Name", "name"}, {"Optional", "optional", "false"}}},
	{"secret",
	 "Secret (a volume populated by a Secret)",
	 {{"SecretName", "secretName"}, {"Optional", "optional", "false"}}},
	{"persistentVolumeClaim",
	 "PersistentVolumeClaim (a reference to a PersistentVolumeClaim in the same namespace)",
	 {{"ClaimName", "claimName"}}},
	{"nfs",
	 "NFS (an NFS mount that lasts the lifetime of a pod)",
	 {{"Server", "server"}, {"Path", "path"}}},
	{"projected",
	 "Projected (a volume that contains injected data from multiple sources)",
	 {{0}}},
	{"downwardAPI", "DownwardAPI (a volume populated by information about the pod)", {{0}}},
};

static void put_volume_field(struct describe *d, const json_t *source, const char *const field[3])
{
	const json_t *v = json_at(source, field[1]);
	const char *text = json_is_true(v) ? "true" : json_string_value(v);

	put(d, 2, "%s:\t%s\n", field[0], !str_empty(text) ? text : field[2] ? field[2] : "");
}

void put_volumes(struct describe *d, unsigned level, const json_t *spec)
{
	json_t *list = json_at(spec, "volumes"), *v;
	size_t i;

	put(d, level, json_array_size(list) ? "Volumes:\n" : "Volumes:\t<none>\n");
	json_array_foreach(list, i, v)
	{
		put(d, 1, "%s%s:\n", level ? " " : "", json_str(v, "name", ""));
		for (size_t t = 0; t < ARRAY_SIZE(volume_types); t++) {
			const json_t *source = json_at(v, volume_types[t].source);

			if (!source)
				continue;
			put(d, 2, "Type:\t%s\n", volume_types[t].type);
			for (size_t f = 0; f < 3 && volume_types[t].fields[f][0]; f++)
				put_volume_field(d, source, volume_types[t].fields[f]);
		}
	}
}

void put_tolerations(struct describe *d, unsigned level, const json_t *spec)
{
	json_t *list = json_at(spec, "tolerations"), *t;
	size_t i;

	put(d, level, "Tolerations:");
	json_array_foreach(list, i, t)
	{
		int64_t seconds = json_int(t, "tolerationSeconds", -1);
		const char *effect = json_str(t, "effect", ""), *value = json_str(t, "value", "");

		if (i)
			put(d, level, "%s", "");
		put(d, 0, "\t%s%s%s%s%s%s", json_str(t, "key", ""), *value ? "=" : "", value,
		    *effect ? ":" : "", effect,
		    str_eq(json_str(t, "operator", NULL), "Exists") ? " op=Exists" : "");
		if (seconds >= 0)
			put(d, 0, " for %llds", (long long)seconds);
		put(d, 0, "\n");
	}
	if (!json_array_size(list))
		put(d, 0, "\t<none>\n");
}

/* ---- the pod -------------------------------------------------------------------------------- */

static void pod_head(struct describe *d, const json_t *pod)
{
	const char *node = json_str(pod, "spec.nodeName", "");
	const char *reason = json_str(pod, "status.reason", "");
	char when[40];

	put(d, 0, "Name:\t%s\nNamespace:\t%s\n", meta_name(pod), meta_ns(pod));
	put(d, 0, "Priority:\t%lld\n", (long long)json_int(pod, "spec.priority", 0));
	put(d, 0, "Service Account:\t%s\n", json_str(pod, "spec.serviceAccountName", ""));
	if (*node)
		put(d, 0, "Node:\t%s/%s\n", node, json_str(pod, "status.hostIP", ""));
	else
		put(d, 0, "Node:\t<none>\n");
	if (json_at(pod, "status.startTime"))
		put(d, 0, "Start Time:\t%s\n",
		    time_rfc1123(when, json_str(pod, "status.startTime", NULL)));
	put_map(d, 0, "Labels:", json_at(pod, "metadata.labels"));
	put_map(d, 0, "Annotations:", json_at(pod, "metadata.annotations"));
	if (meta_deleting(pod))
		put(d, 0, "Status:\tTerminating\nTermination Grace Period:\t%llds\n",
		    (long long)json_int(pod, "metadata.deletionGracePeriodSeconds", 0));
	else
		put(d, 0, "Status:\t%s\n", json_str(pod, "status.phase", ""));
	if (*reason)
		put(d, 0, "Reason:\t%s\n", reason);
	if (*json_str(pod, "status.message", ""))
		put(d, 0, "Message:\t%s\n", json_str(pod, "status.message", ""));
}

static void pod_addresses(struct describe *d, const json_t *pod)
{
	const json_t *owner = meta_controller(pod);
	json_t *list = json_at(pod, "status.podIPs"), *e;
	size_t i;

	put(d, 0, "IP:\t%s\n", json_str(pod, "status.podIP", ""));
	put(d, 0, json_array_size(list) ? "IPs:\n" : "IPs:\t<none>\n");
	json_array_foreach(list, i, e)
	{
		put(d, 1, "IP:\t%s\n", json_str(e, "ip", ""));
	}
	if (owner)
		put(d, 0, "Controlled By:\t%s/%s\n", json_str(owner, "kind", ""),
		    json_str(owner, "name", ""));
}

void describe_pod(struct describe *d, const json_t *obj)
{
	const json_t *spec = json_at(obj, "spec"), *status = json_at(obj, "status");
	json_t *conditions = json_at(obj, "status.conditions"), *e;
	size_t i;

	pod_head(d, obj);
	pod_addresses(d, obj);
	put_containers(d, 0, spec, status, true);
	put_containers(d, 0, spec, status, false);
	if (json_array_size(conditions))
		put(d, 0, "Conditions:\n  Type\tStatus\n");
	json_array_foreach(conditions, i, e)
	{
		put(d, 1, "%s\t%s \n", json_str(e, "type", ""), json_str(e, "status", ""));
	}
	put_volumes(d, 0, spec);
	put(d, 0, "QoS Class:\t%s\n", json_str(status, "qosClass", ""));
	put_map(d, 0, "Node-Selectors:", json_at(spec, "nodeSelector"));
	put_tolerations(d, 0, spec);
}

void put_template(struct describe *d, unsigned level, const json_t *tmpl)
{
	const json_t *spec = json_at(tmpl, "spec");

	put(d, level, "Pod Template:\n");
	put_map(d, level + 1, "Labels:", json_at(tmpl, "metadata.labels"));
	if (json_object_size(json_at(tmpl, "metadata.annotations")))
		put_map(d, level + 1, "Annotations:", json_at(tmpl, "metadata.annotations"));
	if (*json_str(spec, "serviceAccountName", ""))
		put(d, level + 1, "Service Account:\t%s\n",
		    json_str(spec, "serviceAccountName", ""));
	put_containers(d, level + 1, spec, NULL, true);
	put_containers(d, level + 1, spec, NULL, false);
	put_volumes(d, level + 1, spec);
	put_map(d, level + 1, "Node-Selectors:", json_at(spec, "nodeSelector"));
	put_tolerations(d, level + 1, spec);
}
