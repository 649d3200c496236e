/* SPDX-License-Identifier: Apache-2.0 */
/* env: a container's environment and the expansion of $(VAR). Pure apart from the lookup handed in.
 */
#ifndef CORACLE_NODE_ENV_H
#define CORACLE_NODE_ENV_H

#include "downward.h"
#include <coracle/schema.h>

/* Ordered variables; a later one of the same name replaces the value. Zero-initialise. */
struct env {
	char **names, **values;
	size_t n;
	struct map by_name; /* its place among them, counted from 1 */
};
void env_set(struct env *e, const char *name, const char *value);
const char *env_get(const struct env *e, const char *name); /* NULL when absent */
void env_done(struct env *e);
#define auto_env __attribute__((cleanup(env_done))) struct env
/* NAME=value strings, those of the image (NULL-terminated) first unless replaced. */
void env_strings(const struct env *e, const char *const *image_env, struct strv *ret);

/* $(VAR) by its value, $$ by $, unknown ones stay as they are (Kubernetes' third_party/expansion).
 */
char *env_expand(const char *text, const struct env *e);
/* The same, but NULL with an error when a name has no value or an empty one; caller frees. */
char *env_expand_all(const char *text, const struct env *e, struct err *err);

/* Finds a ConfigMap or Secret in the pod's namespace; borrowed, NULL when absent. */
typedef const json_t *env_lookup_fn(void *arg, const struct kind *k, const char *name);

/* One value of a ConfigMap (data) or Secret (data, decoded; *ret_len bytes, NUL-terminated). NULL
 * when the key is absent or malformed; caller frees. */
char *config_value(const struct kind *k, const json_t *obj, const char *key, size_t *ret_len);

/* Adds the variables of a Service ({SVC}_SERVICE_HOST, ...); none for headless ones. */
void env_add_service(struct env *e, const json_t *service);
/* Adds envFrom and env of the container spec. Errors in kubelet's words. */
int env_add_container(struct env *e, const json_t *pod, const json_t *container,
		      const struct self_facts *self, env_lookup_fn *lookup, void *arg,
		      struct err *err) MUST_CHECK;

#endif
