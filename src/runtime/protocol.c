/* SPDX-License-Identifier: Apache-2.0 */
/* The sandbox protocol: a table of fields, a pure codec over it, and packets with descriptors. */
#include "protocol.h"

#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

enum field_kind { FIELD_STRING, FIELD_NUMBER, FIELD_LAYER };

/* The tag of a field is its place here plus one: append only. */
static const struct field {
	enum field_kind kind;
	unsigned short offset;
} fields[] = {
#define STRING(member)                                                                             \
	{                                                                                          \
		FIELD_STRING, offsetof(struct proto_msg, member)                                   \
	}
#define NUMBER(member)                                                                             \
	{                                                                                          \
		FIELD_NUMBER, offsetof(struct proto_msg, member)                                   \
	}
	STRING(id),	     STRING(name),	STRING(bundle),	    STRING(write_dir),
	STRING(log),	     STRING(oom_file),	STRING(procs_file), STRING(message),
	NUMBER(attempt),     NUMBER(state),	NUMBER(pid),	    NUMBER(signo),
	NUMBER(end),	     NUMBER(code),	NUMBER(flags),	    NUMBER(log_max),
	NUMBER(exec),	     NUMBER(cols),	NUMBER(rows),	    NUMBER(started_ns),
	NUMBER(finished_ns), NUMBER(share_pid), {FIELD_LAYER, 0},
#undef STRING
#undef NUMBER
};

enum { HEADER_SIZE = 8, FIELD_HEADER_SIZE = 4 };

/* ---- encoding --------------------------------------------------------------------------- */

struct writer {
	unsigned char *buf;
	size_t len, size;
	bool failed;
};

static void put_le(struct writer *w, uint64_t v, size_t bytes)
{
	if (w->size - w->len < bytes) {
		w->failed = true;
		return;
	}
	for (size_t i = 0; i < bytes; i++)
		w->buf[w->len++] = (unsigned char)(v >> (8 * i));
}

static void put_string(struct writer *w, size_t tag, const char *s)
{
	size_t len = strlen(s) + 1;

	put_le(w, tag, 2);
	put_le(w, len, 2);
	if (w->failed || len > PROTO_STRING_MAX || w->size - w->len < len) {
		w->failed = true;
		return;
	}
	memcpy(w->buf + w->len, s, len);
	w->len += len;
}

static void put_field(struct writer *w, const struct proto_msg *m, size_t i)
{
	const void *member = (const char *)m + fields[i].offset;
	size_t tag = i + 1;

	switch (fields[i].kind) {
	case FIELD_STRING:
		if (*(const char *const *)member)
			put_string(w, tag, *(const char *const *)member);
		break;
	case FIELD_NUMBER:
		if (*(const uint64_t *)member == 0)
			break;
		put_le(w, tag, 2);
		put_le(w, 8, 2);
		put_le(w, *(const uint64_t *)member, 8);
		break;
	case FIELD_LAYER:
		for (size_t n = 0; n < m->n_layers; n++)
			put_string(w, tag, m->layers[n]);
		break;
	}
}

ssize_t proto_encode(const struct proto_msg *m, unsigned char *buf, size_t size)
{
	struct writer w = {.buf = buf, .size = size > PROTO_MAX ? PROTO_MAX : size};

	if (m->n_layers > PROTO_LAYERS_MAX)
		return -EMSGSIZE;
	put_le(&w, PROTO_VERSION, 2);
	put_le(&w, (uint64_t)m->type, 2);
	put_le(&w, m->serial, 4);
	for (size_t i = 0; i < ARRAY_SIZE(fields); i++)
		put_field(&w, m, i);
	return w.failed ? -EMSGSIZE : (ssize_t)w.len;
}

/* ---- decoding --------------------------------------------------------------------------- */

static uint64_t get_le(const unsigned char *p, size_t bytes)
{
	uint64_t v = 0;

	for (size_t i = bytes; i > 0; i--)
		v = v << 8 | p[i - 1];
	return v;
}

/* A string is its bytes with exactly one NUL, at the end. */
static const char *get_string(const unsigned char *p, size_t len)
{
	if (len == 0 || len > PROTO_STRING_MAX || memchr(p, 0, len) != p + len - 1)
		return NULL;
	return (const char *)p;
}

static int get_field(struct proto_msg *m, const struct field *f, const unsigned char *p, size_t len)
{
	void *member = (char *)m + f->offset;
	const char *s = NULL;

	if (f->kind != FIELD_NUMBER && !(s = get_string(p, len)))
		return -EPROTO;
	switch (f->kind) {
	case FIELD_STRING:
		*(const char **)member = s;
		break;
	case FIELD_NUMBER:
		if (len != 8)
			return -EPROTO;
		*(uint64_t *)member = get_le(p, 8);
		break;
	case FIELD_LAYER:
		if (m->n_layers == PROTO_LAYERS_MAX)
			return -EPROTO;
		m->layers[m->n_layers++] = s;
		break;
	}
	return 0;
}

int proto_decode(struct proto_msg *m, const unsigned char *buf, size_t len)
{
	size_t at = HEADER_SIZE;

	memset(m, 0, sizeof(*m));
	if (len < HEADER_SIZE || len > PROTO_MAX)
		return -EPROTO;
	if (get_le(buf, 2) != PROTO_VERSION)
		return -EPROTONOSUPPORT;
	m->type = (enum proto_type)get_le(buf + 2, 2);
	m->serial = (uint32_t)get_le(buf + 4, 4);
	while (at < len) {
		if (len - at < FIELD_HEADER_SIZE)
			return -EPROTO;
		size_t tag = get_le(buf + at, 2), size = get_le(buf + at + 2, 2);
		at += FIELD_HEADER_SIZE;
		if (len - at < size)
			return -EPROTO;
		if (tag >= 1 && tag <= ARRAY_SIZE(fields)) {
			int r = get_field(m, &fields[tag - 1], buf + at, size);
			if (r < 0)
				return r;
		}
		at += size;
	}
	return 0;
}

/* ---- packets ---------------------------------------------------------------------------- */

union control {
	char buf[CMSG_SPACE(PROTO_FDS_MAX * sizeof(int))];
	struct cmsghdr align;
};

int proto_send_packet(int sock, const void *packet, size_t len, const int *fds, size_t n_fds)
{
	union control control = {0};
	struct iovec iov = {.iov_base = (void *)(uintptr_t)packet, .iov_len = len};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
	ssize_t n;

	if (n_fds > PROTO_FDS_MAX)
		return -EINVAL;
	if (n_fds > 0) {
		msg.msg_control = control.buf;
		msg.msg_controllen = CMSG_SPACE(n_fds * sizeof(int));
		struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(n_fds * sizeof(int));
		memcpy(CMSG_DATA(c), fds, n_fds * sizeof(int));
	}
	do
		n = sendmsg(sock, &msg, MSG_NOSIGNAL | MSG_DONTWAIT);
	while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : 0;
}

int proto_send(int sock, const struct proto_msg *m, const int *fds, size_t n_fds)
{
	unsigned char packet[PROTO_SMALL_MAX];
	ssize_t len = proto_encode(m, packet, sizeof(packet));

	return len < 0 ? (int)len : proto_send_packet(sock, packet, (size_t)len, fds, n_fds);
}

/* Takes the descriptors out of the control data; those beyond the bound are closed. */
static void take_fds(struct msghdr *msg, int fds[static PROTO_FDS_MAX])
{
	size_t got = 0;

	for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR(msg, c)) {
		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		size_t n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		for (size_t i = 0; i < n; i++) {
			int fd;
			memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof(fd));
			if (got < PROTO_FDS_MAX)
				fds[got++] = fd;
			else
				close(fd);
		}
	}
}

ssize_t proto_recv(int sock, unsigned char *buf, size_t size, int fds[static PROTO_FDS_MAX])
{
	union control control;
	struct iovec iov = {.iov_base = buf, .iov_len = size};
	struct msghdr msg = {.msg_iov = &iov,
			     .msg_iovlen = 1,
			     .msg_control = control.buf,
			     .msg_controllen = sizeof(control.buf)};
	ssize_t n;

	for (size_t i = 0; i < PROTO_FDS_MAX; i++)
		fds[i] = -1;
	do
		n = recvmsg(sock, &msg, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	take_fds(&msg, fds);
	if (!(msg.msg_flags & (MSG_TRUNC | MSG_CTRUNC)))
		return n;
	for (size_t i = 0; i < PROTO_FDS_MAX; i++)
		fds[i] = fds[i] < 0 ? -1 : (close(fds[i]), -1);
	return -EMSGSIZE;
}
