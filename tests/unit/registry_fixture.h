/* SPDX-License-Identifier: Apache-2.0 */
/* A registry on a store of its own, for tests of what stands on it. */
#ifndef TESTS_REGISTRY_FIXTURE_H
#define TESTS_REGISTRY_FIXTURE_H

#include "json_of.h"
#include "store_fixture.h"
#include <coracle/registry.h>

static struct registry *reg;

static UNUSED void open_registry(struct fixture *f)
{
	struct registry_config config = {.service_cidr = "10.43.0.0/16",
					 .cluster_domain = "cluster.local",
					 .node_port_min = 30000,
					 .node_port_max = 32767,
					 .node_name = "node1"};
	auto_err err = {0};

	reg = registry_new(f->loop, f->store, &config, &err);
	if (!reg)
		fail_msg("registry_new: %s", err_message(&err));
}

static UNUSED int setup_registry(void **state)
{
	struct fixture *f = fixture_new();

	fixture_open(f);
	open_registry(f);
	*state = f;
	return 0;
}

static UNUSED int teardown_registry(void **state)
{
	registry_free(reg);
	fixture_free(*state);
	return 0;
}

/* NULL + err when it is refused. */
static UNUSED const struct object *try_create(const struct kind *k, const char *ns,
					      const char *text, struct err *err)
{
	json_auto_t *obj = json_of(text);
	struct write_options o = {0};
	const struct object *ret = NULL;

	return registry_create(reg, k, ns, obj, &o, &ret, err) < 0 ? NULL : ret;
}

static UNUSED const struct object *create(const struct kind *k, const char *ns, const char *text)
{
	auto_err err = {0};
	const struct object *o = try_create(k, ns, text, &err);

	if (!o)
		fail_msg("create: %s", err_message(&err));
	return o;
}

#endif
