/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of the proxy share. A frontend is a listening address with its backends; it stays
 * as long as a session needs its name (reference counted). A session is one TCP connection pair or
 * one UDP flow.
 */
#ifndef CORACLE_PROXY_INTERNAL_H
#define CORACLE_PROXY_INTERNAL_H

#include <coracle/json.h>
#include <coracle/proxy.h>

enum {
	PROXY_SCRATCH = 64 * 1024, /* one read; shared by all sessions */
	PROXY_PIPES = 16,	   /* idle splice pipes kept */
	PROXY_PIPES_OUT = 256,	   /* in use at once; streams beyond go on copying */
};

struct proxy {
	struct loop *loop;
	struct proxy_config config;
	struct map frontends; /* "tcp 10.43.0.1:80" -> struct frontend */
	struct list tcp;      /* struct tcp_session.node */
	struct list udp;      /* struct udp_session.node, least recently used first */
	size_t n_udp;
	struct timer *janitor; /* armed while there are UDP sessions */
	struct proxy_stats stats;
	bool full; /* listeners pause */
	char *scratch;
	int pipes[PROXY_PIPES][2]; /* empty pipes for splice(2) */
	int n_pipes;
	unsigned pipes_out; /* in use by relays */
	uint32_t turn;	    /* seed of the round robin */
};

struct frontend {
	struct proxy *proxy;
	unsigned refs;
	char *key, *name;
	uint8_t protocol;
	struct sockaddr_in listen;
	uint32_t affinity_seconds;
	struct proxy_backend *backends;
	size_t n_backends, next;
	struct map affinity;	   /* client address -> struct affinity */
	struct listener *listener; /* TCP */
	int fd;			   /* UDP */
	struct io *io;		   /* UDP */
	struct map flows;	   /* UDP: client key -> struct udp_session */
	struct timer *retry;	   /* could not listen */
	uint64_t retry_us;
	char *trouble;
	uint64_t connections;
	bool seen; /* by the present proxy_set() */
};

/* ---- frontend.c -------------------------------------------------------------------------- */

struct frontend *frontend_new(struct proxy *p, const struct proxy_frontend *f, const char *key);
void frontend_update(struct frontend *f, const struct proxy_frontend *now);
/* Forgets the backends at this address, until frontend_update() names them again. */
void frontend_drop(struct frontend *f, struct in_addr addr);
/* Stops listening; sessions go on. */
void frontend_close(struct frontend *f);
struct frontend *frontend_ref(struct frontend *f);
void frontend_unref(struct frontend *f);
/* A backend for this client (affinity, else round robin); false: all have been tried. attempt 0
 * sets *first, the later ones go on from there: each backend is tried once, whoever else asks
 * meanwhile. */
bool frontend_choose(struct frontend *f, const struct sockaddr_in *client, size_t attempt,
		     size_t *first, struct sockaddr_in *ret);
bool frontend_has(const struct frontend *f, const struct sockaddr_in *backend);
void frontend_pause(struct frontend *f, bool pause);

/* ---- sessions ---------------------------------------------------------------------------- */

void tcp_accept(struct frontend *f, int fd, const struct sockaddr_in *client);
void tcp_backend_gone(struct proxy *p, struct in_addr addr);
void tcp_close_all(struct proxy *p);
void tcp_show(const struct proxy *p, json_t *rows);

int udp_open(struct frontend *f); /* 0 or -errno */
void udp_shut(struct frontend *f);
/* Ends flows to backends that have left. */
void udp_backends_changed(struct frontend *f);
void udp_close_all(struct proxy *p);
void udp_show(const struct proxy *p, json_t *rows);
void udp_janitor(void *proxy);

/* Counts a session in or out; false: there may be no more. */
bool session_enter(struct proxy *p);
void session_leave(struct proxy *p);

/* An empty pipe for splice; -errno. Given back empty, or closed. */
int pipe_take(struct proxy *p, int fds[2]);
void pipe_give(struct proxy *p, int fds[2], bool empty);

/* ---- relay.c: one direction of a TCP session --------------------------------------------- */

/* Bytes on their way from one socket to the other. Nothing is allocated while none wait. */
struct relay {
	char *pending; /* what the other side did not take yet */
	uint32_t off, len;
	uint32_t in_pipe;   /* bytes waiting in the pipe */
	int pipe[2];	    /* {-1, -1}: read/write mode */
	uint8_t full_reads; /* consecutive: a bulky stream moves to splice */
	bool eof, done;	    /* source ended; and all was delivered */
};
void relay_init(struct relay *r);
void relay_done(struct proxy *p, struct relay *r);
/* Moves what can be moved. 0, or -errno when the session is broken. */
int relay_move(struct proxy *p, struct relay *r, int from, int to);
bool relay_waits(const struct relay *r); /* for the other side to take more */

char *sockaddr_text(char buf[static ADDR_TEXT_MAX], const struct sockaddr_in *a);
bool sockaddr_equal(const struct sockaddr_in *a, const struct sockaddr_in *b);

#endif
