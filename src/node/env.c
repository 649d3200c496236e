/* SPDX-License-Identifier: Apache-2.0 */
/* env: environment of a container: service links, envFrom, env; $(VAR) expansion. */
#include "env.h"

#include <ctype.h>

/* ---- the list --------------------------------------------------------------------------- */

static size_t env_index(const struct env *e, const char *name)
{
	uintptr_t number = (uintptr_t)map_get(&e->by_name, name);

	return number ? number - 1 : e->n;
}

void env_set(struct env *e, const char *name, const char *value)
{
	size_t i = env_index(e, name);

	breathe();
	if (i < e->n) {
		char *copy = xstrdup(value);
		free(e->values[i]);
		e->values[i] = copy;
		return;
	}
	if ((e->n & (e->n - 1)) == 0) { /* full: as many once more */
		size_t cap = e->n ? e->n * 2 : 1;
		e->names = xrealloc(e->names, cap, sizeof(*e->names));
		e->values = xrealloc(e->values, cap, sizeof(*e->values));
	}
	e->names[e->n] = xstrdup(name);
	e->values[e->n++] = xstrdup(value);
	map_put(&e->by_name, name, (void *)(uintptr_t)e->n);
}

const char *env_get(const struct env *e, const char *name)
{
	size_t i = env_index(e, name);

	return i < e->n ? e->values[i] : NULL;
}

void env_done(struct env *e)
{
	for (size_t i = 0; i < e->n; i++) {
		free(e->names[i]);
		free(e->values[i]);
	}
	free(e->names);
	free(e->values);
	map_done(&e->by_name);
	*e = (struct env){0};
}

static bool env_replaces(const struct env *e, const char *assignment)
{
	auto_free char *name = xstrndup(assignment, strcspn(assignment, "="));

	return strchr(assignment, '=') && env_get(e, name);
}

void env_strings(const struct env *e, const char *const *image_env, struct strv *ret)
{
	for (; image_env && *image_env; image_env++)
		if (!env_replaces(e, *image_env))
			strv_add(ret, *image_env);
	for (size_t i = 0; i < e->n; i++) {
		breathe();
		strv_addf(ret, "%s=%s", e->names[i], e->values[i]);
	}
}

/* ---- expansion -------------------------------------------------------------------------- */

/* Handles what follows a '$' at s (s[0] is behind it); returns how many bytes it took.
 * missing: NULL, or where names go that have no value. */
static size_t expand_one(struct strbuf *b, const char *s, const struct env *e, struct strv *missing)
{
	const char *end;

	if (*s == '$') {
		strbuf_addc(b, '$');
		return 1;
	}
	if (*s != '(' || !(end = strchr(s, ')'))) {
		strbuf_addc(b, '$');
		return 0;
	}
	auto_free char *name = xstrndup(s + 1, (size_t)(end - s - 1));
	const char *value = env_get(e, name);
	if (missing && str_empty(value))
		strv_add(missing, name);
	if (value)
		strbuf_adds(b, value);
	else
		strbuf_addf(b, "$(%s)", name);
	return (size_t)(end - s) + 1;
}

static char *expand(const char *text, const struct env *e, struct strv *missing)
{
	struct strbuf b = {0};

	while (*text) {
		if (*text != '$') {
			strbuf_addc(&b, *text++);
			continue;
		}
		text++;
		text += expand_one(&b, text, e, missing);
	}
	return strbuf_steal(&b);
}

char *env_expand(const char *text, const struct env *e)
{
	return expand(text, e, NULL);
}

char *env_expand_all(const char *text, const struct env *e, struct err *err)
{
	auto_strv missing = {0};
	auto_free char *ret = expand(text, e, &missing);
	struct strbuf names = {0};

	if (!missing.n)
		return steal_ptr(ret);
	for (size_t i = 0; i < missing.n; i++)
		strbuf_addf(&names, "%s%s", i ? ", " : "", missing.v[i]);
	err_set(err, ERR_INVALID, "missing value for %s", names.s);
	strbuf_done(&names);
	return NULL;
}

/* ---- service links ---------------------------------------------------------------------- */

static char *upper(const char *name)
{
	char *s = xstrdup(name);

	for (char *p = s; *p; p++)
		*p = *p == '-' ? '_' : (char)toupper((unsigned char)*p);
	return s;
}

static void env_setf(struct env *e, const char *value, const char *fmt, ...) PRINTF_LIKE(3, 4);
static void env_setf(struct env *e, const char *value, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	auto_free char *name = xvasprintf(fmt, ap);
	va_end(ap);
	env_set(e, name, value);
}

static void add_port(struct env *e, const char *svc, const char *ip, const json_t *port, bool first)
{
	const char *proto = json_str(port, "protocol", "TCP");
	const char *name = json_str(port, "name", "");
	auto_free char *number = xasprintf("%d", (int)json_int(port, "port", 0));
	auto_free char *lower = xstrdup(proto), *up = upper(name);
	auto_free char *prefix = xasprintf("%s_PORT_%s_%s", svc, number, proto);

	for (char *p = lower; *p; p++)
		*p = (char)tolower((unsigned char)*p);
	auto_free char *url = xasprintf("%s://%s:%s", lower, ip, number);
	if (first) {
		env_setf(e, number, "%s_SERVICE_PORT", svc);
		env_setf(e, url, "%s_PORT", svc);
	}
	if (*name)
		env_setf(e, number, "%s_SERVICE_PORT_%s", svc, up);
	env_set(e, prefix, url);
	env_setf(e, lower, "%s_PROTO", prefix);
	env_setf(e, number, "%s_PORT", prefix);
	env_setf(e, ip, "%s_ADDR", prefix);
}

void env_add_service(struct env *e, const json_t *service)
{
	const char *ip = json_str(service, "spec.clusterIP", "");
	auto_free char *svc = upper(meta_name(service));
	size_t i;
	json_t *port;

	if (!*ip || streq(ip, "None"))
		return;
	env_setf(e, ip, "%s_SERVICE_HOST", svc);
	json_array_foreach(json_at(service, "spec.ports"), i, port)
		add_port(e, svc, ip, port, i == 0);
}

/* ---- ConfigMaps and Secrets ------------------------------------------------------------- */

char *config_value(const struct kind *k, const json_t *obj, const char *key, size_t *ret_len)
{
	const char *plain = json_string_value(json_object_get(json_object_get(obj, "data"), key));
	const char *coded = k == &kind_secret ? plain
					      : json_string_value(json_object_get(
							json_object_get(obj, "binaryData"), key));
	unsigned char *out;

	if (k == &kind_configmap && plain) {
		*ret_len = strlen(plain);
		return xstrdup(plain);
	}
	if (!coded || base64_decode(coded, strlen(coded), &out, ret_len) < 0)
		return NULL;
	return (char *)out;
}

struct source {
	const struct kind *kind;
	const char *ref_key;  /* in valueFrom */
	const char *from_key; /* in envFrom */
	const char *word;     /* in "... not found" */
	const char *title;    /* in "couldn't find key" */
};
static const struct source sources[] = {
	{&kind_configmap, "configMapKeyRef", "configMapRef", "configmap", "ConfigMap"},
	{&kind_secret, "secretKeyRef", "secretRef", "secret", "Secret"},
};

struct env_ctx {
	struct env *env;
	const json_t *pod, *container;
	const struct self_facts *self;
	env_lookup_fn *lookup;
	void *arg;
};

/* The object a reference names; NULL with ret 0 when it is absent but optional. */
static int source_find(const struct env_ctx *x, const struct source *s, const json_t *ref,
		       const json_t **ret, struct err *err)
{
	const char *name = json_str(ref, "name", "");

	*ret = x->lookup(x->arg, s->kind, name);
	if (*ret || json_bool(ref, "optional", false))
		return 0;
	return err_set(err, ERR_NOT_FOUND, "%s \"%s\" not found", s->word, name);
}

static int value_from_source(const struct env_ctx *x, const struct source *s, const char *name,
			     const json_t *ref, struct err *err)
{
	const char *key = json_str(ref, "key", "");
	const json_t *obj;
	size_t len;
	int ret = source_find(x, s, ref, &obj, err);

	if (ret < 0 || !obj)
		return ret;
	auto_free char *value = config_value(s->kind, obj, key, &len);
	if (value)
		env_set(x->env, name, value);
	else if (!json_bool(ref, "optional", false))
		return err_set(err, ERR_NOT_FOUND, "couldn't find key %s in %s %s/%s", key,
			       s->title, meta_ns(x->pod), json_str(ref, "name", ""));
	return 0;
}

static int value_from(const struct env_ctx *x, const char *name, const json_t *from,
		      struct err *err)
{
	const json_t *field = json_object_get(from, "fieldRef");
	const json_t *resource = json_object_get(from, "resourceFieldRef");
	auto_free char *value = NULL;

	for (size_t i = 0; i < ARRAY_SIZE(sources); i++) {
		const json_t *ref = json_object_get(from, sources[i].ref_key);
		if (ref)
			return value_from_source(x, &sources[i], name, ref, err);
	}
	if (field)
		value = downward_field(x->pod, x->self, json_str(field, "fieldPath", ""), err);
	else if (resource)
		value = downward_resource(x->pod, x->container, x->self, resource, err);
	else
		return err_set(err, ERR_INVALID, "env \"%s\": unsupported valueFrom", name);
	if (!value)
		return -EINVAL;
	env_set(x->env, name, value);
	return 0;
}

/* A name that can stand in an environment: no '=' and no NUL, not empty. */
static bool good_name(const char *name)
{
	return *name && !strchr(name, '=');
}

static int add_from(const struct env_ctx *x, const json_t *from, struct err *err)
{
	const char *prefix = json_str(from, "prefix", "");

	for (size_t i = 0; i < ARRAY_SIZE(sources); i++) {
		const json_t *ref = json_object_get(from, sources[i].from_key), *obj;
		const char *key;
		json_t *unused;
		if (!ref)
			continue;
		int ret = source_find(x, &sources[i], ref, &obj, err);
		if (ret < 0 || !obj)
			return ret;
		json_object_foreach(json_object_get(obj, "data"), key, unused)
		{
			size_t len;
			auto_free char *name = xasprintf("%s%s", prefix, key);
			auto_free char *value = config_value(sources[i].kind, obj, key, &len);
			if (value && good_name(name))
				env_set(x->env, name, value);
		}
	}
	return 0;
}

int env_add_container(struct env *e, const json_t *pod, const json_t *container,
		      const struct self_facts *self, env_lookup_fn *lookup, void *arg,
		      struct err *err)
{
	const struct env_ctx x = {e, pod, container, self, lookup, arg};
	size_t i;
	json_t *v;
	int ret;

	json_array_foreach(json_object_get(container, "envFrom"), i, v)
	{
		ret = add_from(&x, v, err);
		if (ret < 0)
			return ret;
	}
	json_array_foreach(json_object_get(container, "env"), i, v)
	{
		const char *name = json_str(v, "name", "");
		const json_t *from = json_object_get(v, "valueFrom");
		if (from) {
			ret = value_from(&x, name, from, err);
			if (ret < 0)
				return ret;
			continue;
		}
		auto_free char *value = env_expand(json_str(v, "value", ""), e);
		env_set(e, name, value);
	}
	return 0;
}
