/* SPDX-License-Identifier: Apache-2.0 */
/* pods/log, and what log, exec, attach and portforward share: the pod and its container. */
#include "pod.h"

#define BACKLOG_HIGH (512u * 1024)

/* ---- pods and containers ----------------------------------------------------------------- */

static const char *const container_lists[] = {"spec.initContainers", "spec.containers",
					      "spec.ephemeralContainers"};

static bool has_container(const json_t *pod, const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(container_lists); i++)
		if (json_find(json_at(pod, container_lists[i]), "name", name))
			return true;
	return false;
}

static void container_names(const json_t *pod, const char *path, struct strbuf *b)
{
	size_t i;
	json_t *one;

	json_array_foreach(json_at(pod, path), i, one)
		strbuf_addf(b, "%s%s", b->len ? " " : "", json_str(one, "name", ""));
}

/* The words of kubelet and API server when the choice is open. */
static int must_choose(const json_t *pod, struct err *err)
{
	auto_strbuf names = {0}, init = {0};

	container_names(pod, "spec.containers", &names);
	container_names(pod, "spec.initContainers", &init);
	return err_set(err, ERR_BAD_REQUEST,
		       "a container name must be specified for pod %s, choose one of: [%s]%s%s%s",
		       meta_name(pod), names.s ? names.s : "",
		       init.len ? " or one of the init containers: [" : "", init.s ? init.s : "",
		       init.len ? "]" : "");
}

int pod_container(struct call *c, const json_t *pod, char **ret, struct err *err)
{
	auto_free char *name = http_param(c->req, "container");
	const char *preferred = meta_annotation(pod, "kubectl.kubernetes.io/default-container");
	json_t *list = json_at(pod, "spec.containers");

	if (str_empty(name)) {
		if (json_array_size(list) == 1)
			preferred = json_str(json_array_get(list, 0), "name", "");
		if (str_empty(preferred) || !has_container(pod, preferred))
			return must_choose(pod, err);
		*ret = xstrdup(preferred);
		return 0;
	}
	if (!has_container(pod, name))
		return err_set(err, ERR_BAD_REQUEST, "container %s is not valid for pod %s", name,
			       meta_name(pod));
	*ret = steal_ptr(name);
	return 0;
}

const json_t *pod_find(struct call *c, struct err *err)
{
	const struct object *o = call_object(c, err);

	if (!o)
		return NULL;
	if (!c->api->config.node_ops) {
		err_set(err, ERR_SERVICE_UNAVAILABLE, "the node is not running");
		return NULL;
	}
	const json_t *pod = object_json(o);

	if (!*json_str(pod, "spec.nodeName", "")) {
		err_set(err, ERR_BAD_REQUEST, "pod %s does not have a host assigned", o->name);
		return NULL;
	}
	return pod;
}

/* ---- log --------------------------------------------------------------------------------- */

struct log {
	struct call *call;
	struct api_log *reader;
	bool paused;
};

static void log_gone(struct call *c)
{
	struct log *l = c->data;

	if (l->reader)
		c->api->config.node_ops->log_close(l->reader);
	loop_free_later(c->api->loop, free, l);
	call_forget(c);
}

static bool on_log_data(void *arg, const void *data, size_t len)
{
	struct log *l = arg;

	call_send(l->call, data, len);
	l->paused = call_backlog(l->call) > BACKLOG_HIGH;
	return !l->paused;
}

static void on_log_end(void *arg)
{
	struct log *l = arg;

	l->reader = NULL;
	loop_free_later(l->call->api->loop, free, l);
	call_end(l->call);
}

static const struct api_log_ops log_ops = {.on_data = on_log_data, .on_end = on_log_end};

static void log_drained(void *arg)
{
	struct log *l = arg;

	if (!l->paused || !l->reader)
		return;
	l->paused = false;
	l->call->api->config.node_ops->log_resume(l->reader);
}

static int log_invalid(const struct call *c, const char *reason, const char *field,
		       const char *text, struct err *err)
{
	int rc = err_set(err, ERR_INVALID, "PodLogOptions \"%s\" is invalid: %s: %s",
			 c->target.name, field, text);

	err_about(err, "PodLogOptions", NULL, c->target.name);
	err_cause_add(err, reason, field, "%s", text);
	return rc;
}

/* A number that is not below min; -1 when it is not given. */
static int log_number(struct call *c, const char *name, int64_t min, int64_t *ret, struct err *err)
{
	auto_free char *text = NULL;
	int rc = call_int(c, name, INT64_MIN, ret, err);

	if (rc < 0)
		return rc;
	if (*ret == INT64_MIN)
		*ret = -1;
	else if (*ret < min) {
		text = xasprintf("Invalid value: %lld: must be greater than %s0", (long long)*ret,
				 min ? "" : "or equal to ");
		return log_invalid(c, "FieldValueInvalid", name, text, err);
	}
	return 0;
}

/* sinceSeconds or sinceTime, not both. */
static int parse_since(struct call *c, struct api_log_options *o, struct err *err)
{
	auto_free char *at = http_param(c->req, "sinceTime");
	int64_t seconds;
	int rc = log_number(c, "sinceSeconds", 1, &seconds, err);

	if (rc < 0)
		return rc;
	/* Upstream's path of nothing prints so. */
	if (seconds > 0 && !str_empty(at))
		return log_invalid(c, "FieldValueForbidden", "[]",
				   "Forbidden: at most one of `sinceTime` or `sinceSeconds` may be "
				   "specified",
				   err);
	o->since_set = seconds > 0 || !str_empty(at);
	if (seconds > INT32_MAX)
		seconds = INT32_MAX;
	if (seconds > 0) {
		clock_gettime(CLOCK_REALTIME, &o->since);
		o->since.tv_sec -= (time_t)seconds;
	} else if (o->since_set && time_parse(at, &o->since) < 0) {
		return err_set(err, ERR_BAD_REQUEST, "sinceTime: Invalid value: \"%s\"", at);
	}
	return 0;
}

static int log_options(struct call *c, struct api_log_options *o, struct err *err)
{
	int rc = log_number(c, "tailLines", 0, &o->tail_lines, err);

	if (rc == 0)
		rc = log_number(c, "limitBytes", 1, &o->limit_bytes, err);
	if (rc == 0)
		rc = parse_since(c, o, err);
	o->follow = call_bool(c, "follow");
	o->previous = call_bool(c, "previous");
	o->timestamps = call_bool(c, "timestamps");
	return rc;
}

void handle_log(struct call *c)
{
	static const struct ws_protocol protocols[] = {
		{"binary.k8s.io", false, 0, false},
		{"base64.binary.k8s.io", true, 0, false},
		{"", false, 0, false},
		{NULL, false, 0, false},
	};
	struct api_log_options o = {0};
	auto_free char *container = NULL;
	auto_err err = {0};
	const json_t *pod = pod_find(c, &err);

	if (!pod || pod_container(c, pod, &container, &err) < 0 || log_options(c, &o, &err) < 0) {
		call_reply_err(c, &err);
		return;
	}
	o.container = container;
	struct log *l = xnew(struct log);

	l->call = c;
	l->reader = c->api->config.node_ops->log_open(c->api->config.node, c->target.ns,
						      c->target.name, &o, &log_ops, l, &err);
	if (!l->reader) {
		free(l);
		call_reply_err(c, &err);
		return;
	}
	c->data = l;
	c->on_gone = log_gone;
	if (!call_stream(c, "text/plain", protocols)) {
		c->api->config.node_ops->log_close(l->reader);
		free(l);
		return;
	}
	call_on_drain(c, log_drained, l);
}
