/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the daemon share: the options and the parts. */
#ifndef CORACLE_DAEMON_INTERNAL_H
#define CORACLE_DAEMON_INTERNAL_H

#include <coracle/api.h>
#include <coracle/controllers.h>
#include <coracle/daemon.h>
#include <coracle/node.h>

/* Every option is a string here; options.c has checked what can be checked without side effects. */
struct options {
	char *config, *state_dir, *run_dir, *api_socket, *api_listen, *pod_cidr, *service_cidr;
	char *cluster_domain, *bridge, *manifest_dir, *image_dir, *runtime, *node_name, *log_level;
	char *resolv_conf;
	bool check_config, stop_pods, help, version;
};
/* Command line over configuration file over defaults. */
int options_load(struct options *o, int argc, char **argv, struct err *err) MUST_CHECK;
void options_usage(FILE *out);
void options_done(struct options *o);

struct daemon {
	struct options *o;
	struct loop *loop;
	int lock_fd;
	struct cidr pod_cidr, node_cidr, service_cidr;
	struct in_addr api_ip, dns_ip;
	struct addr api_addr; /* of the TLS listener; len 0: none */
	struct store *store;
	struct identity *identity;
	struct registry *registry;
	struct image_store *images;
	struct runtime *runtime;
	struct network *network;
	struct proxy *proxy;
	struct dns *dns;
	struct node *node;
	struct api *api;
	struct controllers *controllers;
	struct manifests *manifests;
	struct notify *notify;
	struct quiet *quiet;
	bool stopping; /* leave the loop */
	bool teardown; /* after `node stop`: take the network down too */
};

/* parts.c: the table of parts. Started in order; on failure the started ones are stopped. */
int parts_start(struct daemon *d, struct err *err) MUST_CHECK;
void parts_stop(struct daemon *d);

/* notify.c: sd_notify(3)'s protocol and the watchdog; everything is a no-op without NOTIFY_SOCKET.
 */
struct notify *notify_new(struct loop *loop);
void notify_send(const char *state);
void notify_free(struct notify *n);

/* quiet.c: gives memory back after a burst of work. */
struct quiet *quiet_new(struct loop *loop);
void quiet_turn(struct quiet *q); /* once a turn */
void quiet_free(struct quiet *q);

/* images.c */
extern const struct api_image_ops daemon_image_ops; /* over struct daemon */

/* manifests.c: applies every file of a directory at start and when it changes. */
struct manifests *manifests_new(struct loop *loop, struct registry *registry, const char *dir);
void manifests_free(struct manifests *m);

/* stop.c: asks the daemon behind the socket to stop its pods; returns an exit code. */
int stop_pods(const struct options *o);

#endif
