/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The messages between the daemon and a coracle-sandbox: one SOCK_SEQPACKET packet each.
 *
 * A message is a header (version, type, serial; little endian) and fields {tag, length, bytes}.
 * Unknown tags are skipped, so that a sandbox and a daemon of different releases understand each
 * other: an upgraded daemon speaks to sandboxes started by its predecessor. Tags are never reused.
 * The codec is pure and knows no memory: strings of a decoded message point into the packet.
 */
#ifndef CORACLE_RUNTIME_PROTOCOL_H
#define CORACLE_RUNTIME_PROTOCOL_H

#include <coracle/base.h>

enum {
	PROTO_VERSION = 1,
	PROTO_MAX = 32 * 1024,	    /* bytes of one packet */
	PROTO_SMALL_MAX = 6 * 1024, /* of one without layers, as proto_send() sends */
	PROTO_STRING_MAX = 4096,    /* bytes of one string with its NUL */
	PROTO_LAYERS_MAX = 128,
	PROTO_FDS_MAX = 3,
};

/* Requests have a serial, which the PROTO_REPLY carries back; events have serial 0. */
enum proto_type {
	PROTO_LIST = 1, /* -> PROTO_STATE for each container, then PROTO_HELLO */
	PROTO_START =
		2, /* id name bundle write_dir log layers: -> PROTO_STATE when it runs or not */
	PROTO_KILL = 3,	     /* id signo */
	PROTO_REMOVE = 4,    /* id */
	PROTO_EXEC = 5,	     /* id exec bundle(process file) flags, descriptors: -> PROTO_EXEC_* */
	PROTO_ATTACH = 6,    /* id exec flags, descriptors: -> PROTO_EXEC_* */
	PROTO_EXEC_KILL = 7, /* exec: ends an exec, detaches an attach */
	PROTO_RESIZE = 8,    /* exec cols rows */
	PROTO_STOP = 9,	     /* kill everything and exit */

	PROTO_HELLO = 64, /* pid share_pid: end of the list */
	PROTO_STATE =
		65, /* a container: id name attempt state pid times [end code signo message] */
	PROTO_EXEC_STARTED = 66, /* exec pid; with a tty its master as descriptor */
	PROTO_EXEC_ENDED = 67,	 /* exec code [message] */
};

enum proto_state { PROTO_STATE_QUEUED, PROTO_STATE_RUNNING, PROTO_STATE_ENDED };

enum proto_end { PROTO_END_EXITED, PROTO_END_SIGNALED, PROTO_END_OOM, PROTO_END_START_FAILED };

enum proto_flags {
	PROTO_TTY = 1,
	PROTO_STDIN_OPEN = 2, /* containers: keep a stdin pipe */
	PROTO_STDIN_ONCE = 4,
	PROTO_WANT_STDIN = 8, /* exec, attach: which descriptors come along, in this order */
	PROTO_WANT_STDOUT = 16,
	PROTO_WANT_STDERR = 32,
};

struct proto_msg {
	enum proto_type type;
	uint32_t serial;
	/* Strings: NULL when absent. */
	const char *id, *name, *bundle, *write_dir, *log, *oom_file, *procs_file, *message;
	/* Numbers: 0 when absent. Times are nanoseconds since 1970; code is a two's complement. */
	uint64_t attempt, state, pid, signo, end, code, flags, log_max, exec, cols, rows;
	uint64_t started_ns, finished_ns, share_pid;
	const char *layers[PROTO_LAYERS_MAX];
	size_t n_layers;
};

/* Length of the packet written to buf, or -EMSGSIZE (too much for PROTO_MAX or a string's bound).
 */
ssize_t proto_encode(const struct proto_msg *m, unsigned char *buf, size_t size) MUST_CHECK;
/* 0, -EPROTO (malformed), -EPROTONOSUPPORT (version). Unknown types pass: the receiver decides. */
int proto_decode(struct proto_msg *m, const unsigned char *buf, size_t len) MUST_CHECK;

/* Sends one small message with n_fds descriptors; 0, -EAGAIN, another errno. Does not block. */
int proto_send(int sock, const struct proto_msg *m, const int *fds, size_t n_fds) MUST_CHECK;
/* The same for a packet that is encoded already. */
int proto_send_packet(int sock, const void *packet, size_t len, const int *fds,
		      size_t n_fds) MUST_CHECK;
/*
 * Receives one packet into buf; descriptors (CLOEXEC, at most PROTO_FDS_MAX, others -1) belong to
 * the caller. Returns its length, 0 at the end of the connection, or -errno (-EAGAIN: none now).
 */
ssize_t proto_recv(int sock, unsigned char *buf, size_t size,
		   int fds[static PROTO_FDS_MAX]) MUST_CHECK;

#endif
