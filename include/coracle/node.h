/* SPDX-License-Identifier: Apache-2.0 */
/*
 * node: kubelet and kube-proxy in one: makes the bound pods of the store run on this machine.
 *
 * Purpose: the pod state machine (src/node/pod.c), volumes, environment, images, probes, status;
 * services to proxy frontends and DNS tables; the Node object. The only module that drives the
 * outside world.
 * Lifetime: node_start() after runtime/image/network/proxy/dns exist (they are borrowed): adopts
 * what runs, then follows the store. node_stop() leaves the containers running; node_stop_pods()
 * ends them within their grace periods and calls done.
 */
#ifndef CORACLE_NODE_H
#define CORACLE_NODE_H

#include <coracle/api.h>
#include <coracle/dns.h>
#include <coracle/identity.h>
#include <coracle/image.h>
#include <coracle/network.h>
#include <coracle/proxy.h>
#include <coracle/runtime.h>

struct node_config {
	const char *name;      /* Node object's name */
	const char *state_dir; /* pods/<uid>/volumes below it */
	const char *run_dir;
	const char *log_dir; /* pod logs: <dir>/<ns>_<name>_<uid>/<container>/<n>.log */
	const char *cluster_domain;
	const char *resolv_conf;     /* the host's */
	struct in_addr dns_ip;	     /* for the pods' resolv.conf */
	struct in_addr api_ip;	     /* default/kubernetes */
	struct sockaddr_in api_addr; /* where the API listens; port 0: nowhere */
	struct cidr pod_cidr;
	const char *version; /* kubeletVersion */
};
/* The parts it drives; all borrowed. */
struct node_parts {
	struct registry *registry;
	struct identity *identity; /* makes the tokens that pods mount; NULL: nobody does */
	struct runtime *runtime;
	struct image_store *images;
	struct network *network;
	struct proxy *proxy;
	struct dns *dns;
};
struct node;
struct node *node_start(struct loop *loop, const struct node_config *config,
			const struct node_parts *parts, struct err *err);
void node_stop(struct node *n);
void node_stop_pods(struct node *n, void (*done)(void *arg), void *arg);
/* Frontends that cannot listen become events of their Service: give to proxy_config. */
void node_on_proxy_trouble(void *node, const char *name, const struct sockaddr_in *listen,
			   uint8_t protocol, const char *why);
extern const struct api_node_ops node_api_ops;

#endif
