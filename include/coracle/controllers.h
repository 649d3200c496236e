/* SPDX-License-Identifier: Apache-2.0 */
/*
 * controllers: wishes become more precise wishes. One file per controller, one table of them.
 *
 * Purpose: each is reconcile(key) over a queue of dirty keys; it reads the store, writes through
 * the registry, never calls another controller and never touches a process. Failures are retried
 * with back-off (5 ms doubling to 1000 s, as client-go's work queue). Lifetime: controllers_start()
 * after the registry; every controller first sees all objects as dirty.
 */
#ifndef CORACLE_CONTROLLERS_H
#define CORACLE_CONTROLLERS_H

#include <coracle/registry.h>

struct identity;
struct controllers_config {
	const char *node_name;	   /* the scheduler binds to it */
	const char *api_address;   /* "10.0.0.1:6443" endpoint of default/kubernetes; NULL: none */
	const char *ca_file;	   /* PEM for kube-root-ca.crt; NULL: none */
	struct identity *identity; /* signs tokens and certificates; NULL: nobody does */
};
struct controllers;
struct controllers *controllers_start(struct loop *loop, struct registry *registry,
				      const struct controllers_config *config, struct err *err);
void controllers_stop(struct controllers *c);

#endif
