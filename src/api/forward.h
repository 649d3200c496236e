/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Private to api: port forwarding. A forward is a client's session, a connection in it is joined
 * with a socket in the pod's network namespace. How the client's side travels is its way.
 */
#ifndef CORACLE_SRC_API_FORWARD_H
#define CORACLE_SRC_API_FORWARD_H

#include "channels.h"

/* Above this much that the other side has not taken, reading stops. */
#define FORWARD_HIGH (256u * 1024)

struct forward;
struct connection;
struct forward_way {
	void (*data)(struct connection *c, const void *data, size_t len); /* from the pod */
	/* The connection is over; text NULL: properly. */
	void (*end)(struct connection *c, const char *text);
	size_t (*backlog)(const struct forward *f);
	void (*pause)(struct forward *f, bool pause); /* reading */
	void (*close)(struct forward *f, const char *why);
};
struct forward { /* first member of each way's own structure, which is freed with it */
	struct api_session session; /* first member */
	const struct forward_way *way;
	struct api *api;
	struct list connections;
	unsigned n_connections;
	char *ns, *pod;
	bool closed;
};
struct connection {	  /* first member of each way's own structure, which is freed with it */
	struct list node; /* in forward->connections */
	struct forward *forward;
	uint16_t port;
	struct stream *backend;
	bool connected, over;
};

/* For the pod of the call, before its connection is taken over; then forward_start(). */
void forward_init(struct forward *f, const struct forward_way *way, struct call *c);
void forward_start(struct forward *f);
void forward_free(void *f); /* one that was not started */
void forward_close(struct forward *f, const char *why);
/* The client has taken all: the pods may go on. */
void forward_drained(struct forward *f);
/* Reads of the client go on unless a pod is behind. */
void forward_resume(struct forward *f);

void connection_init(struct connection *c, struct forward *f, uint16_t port);
/* Connects, once; the connection may be over after it. */
void connection_dial(struct connection *c);
void connection_write(struct connection *c, const void *data, size_t len); /* to the pod */
void connection_shutdown(struct connection *c);				   /* client said all */
void connection_close(struct connection *c, const char *why);

/* The two ways; each ends the call. */
void forward_over_spdy(struct call *c, bool tunnelled);
void forward_over_ws(struct call *c, const struct ws_protocol *protocol, const uint16_t *ports,
		     size_t n_ports);

#endif
