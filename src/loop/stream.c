/* SPDX-License-Identifier: Apache-2.0 */
/* Byte streams over bufferevents; all callbacks are deferred, none comes from inside a call. */
#include "internal.h"
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/bufferevent_ssl.h>
#include <event2/event.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>

enum { STREAM_READ_HIGH = 64 * 1024, STREAM_DRAIN_SECONDS = 30 };

struct stream {
	struct loop *loop;
	struct list node; /* in loop->draining, or self */
	struct bufferevent *bev;
	struct tls *tls;
	const struct stream_ops *ops;
	void *arg;
	size_t read_high;
	bool connecting, paused, draining, shutting, closed, eof;
	bool full; /* reading stopped at read_high */
};

static void stream_bury(void *arg)
{
	struct stream *s = arg;

	bufferevent_free(s->bev);
	tls_unref(s->tls);
	free(s);
}

/* No callback comes after this; the memory goes at the end of the turn. */
static void stream_finish(struct stream *s, const char *why)
{
	SSL *ssl = bufferevent_openssl_get_ssl(s->bev);

	if (s->closed)
		return;
	s->closed = true;
	list_del(&s->node);
	log_debug("stream %d: closed: %s", bufferevent_getfd(s->bev), why);
	bufferevent_setcb(s->bev, NULL, NULL, NULL, NULL);
	bufferevent_disable(s->bev, EV_READ | EV_WRITE);
	if (ssl && !s->connecting) {
		SSL_set_shutdown(ssl, SSL_RECEIVED_SHUTDOWN);
		SSL_shutdown(ssl);
		ERR_clear_error();
	}
	loop_free_later(s->loop, stream_bury, s);
}

static void half_close(struct stream *s)
{
	SSL *ssl = bufferevent_openssl_get_ssl(s->bev);

	if (ssl)
		SSL_shutdown(ssl);
	else
		shutdown(bufferevent_getfd(s->bev), SHUT_WR);
	s->shutting = false;
}

static void on_read(struct bufferevent *bev UNUSED, void *arg)
{
	struct stream *s = arg;

	if (s->ops->on_data && stream_in_len(s))
		s->ops->on_data(s->arg);
	/* libevent calls again and again, without end, while the input stays at its mark and
	 * reading is enabled. */
	if (!s->closed && !s->full && stream_in_len(s) >= s->read_high) {
		s->full = true;
		bufferevent_disable(s->bev, EV_READ);
	}
}

static void on_written(struct bufferevent *bev, void *arg)
{
	struct stream *s = arg;

	if (evbuffer_get_length(bufferevent_get_output(bev)))
		return;
	if (s->draining) {
		stream_finish(s, "drained");
		return;
	}
	if (s->shutting)
		half_close(s);
	if (s->ops->on_drain)
		s->ops->on_drain(s->arg);
}

static void fail(struct stream *s, const char *why)
{
	stream_finish(s, why);
	if (!s->draining && s->ops->on_close)
		s->ops->on_close(s->arg, why);
}

static void fail_with_error(struct stream *s, short events)
{
	unsigned long code = bufferevent_get_openssl_error(s->bev);
	char text[256];

	if (events & BEV_EVENT_TIMEOUT) {
		fail(s, "timed out");
	} else if (code) {
		ERR_error_string_n(code, text, sizeof(text));
		fail(s, text);
	} else {
		fail(s, errno ? strerror(errno) : "connection error");
	}
}

static void on_event(struct bufferevent *bev, short events, void *arg)
{
	struct stream *s = arg;
	const int one = 1;

	if (events & BEV_EVENT_CONNECTED) {
		s->connecting = false;
		setsockopt(bufferevent_getfd(bev), IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
		if (s->ops->on_connect)
			s->ops->on_connect(s->arg);
	} else if (events & BEV_EVENT_EOF) {
		if (s->draining || !s->ops->on_eof) {
			fail(s, "end of stream");
		} else if (!s->eof) {
			s->eof = true;
			s->ops->on_eof(s->arg);
		}
	} else if (events & (BEV_EVENT_ERROR | BEV_EVENT_TIMEOUT)) {
		fail_with_error(s, events);
	}
}

static struct stream *stream_wrap(struct loop *loop, int fd, struct tls *tls, bool server_side,
				  bool connecting, const struct stream_ops *ops, void *arg)
{
	const int options = BEV_OPT_CLOSE_ON_FREE | BEV_OPT_DEFER_CALLBACKS;
	struct stream *s = xnew(struct stream);

	s->loop = loop;
	list_init(&s->node);
	s->ops = ops;
	s->arg = arg;
	s->connecting = connecting || tls;
	if (tls) {
		s->tls = tls_ref(tls);
		s->bev = bufferevent_openssl_socket_new(loop->base, fd, SSL_new(tls_context(tls)),
							server_side ? BUFFEREVENT_SSL_ACCEPTING
								    : BUFFEREVENT_SSL_CONNECTING,
							options);
		if (s->bev)
			bufferevent_openssl_set_allow_dirty_shutdown(s->bev, 1);
	} else {
		s->bev = bufferevent_socket_new(loop->base, fd, options);
	}
	if (!s->bev)
		abort();
	bufferevent_setcb(s->bev, on_read, on_written, on_event, s);
	stream_set_read_high(s, STREAM_READ_HIGH);
	bufferevent_set_max_single_read(s->bev, STREAM_READ_HIGH);
	bufferevent_set_max_single_write(s->bev, STREAM_READ_HIGH);
	return s;
}

struct stream *stream_new(struct loop *loop, int fd, struct tls *tls, bool server_side,
			  const struct stream_ops *ops, void *arg)
{
	struct stream *s = stream_wrap(loop, fd, tls, server_side, false, ops, arg);
	const int one = 1;

	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)); /* fails on unix: fine */
	bufferevent_enable(s->bev, EV_READ | EV_WRITE);
	return s;
}

struct stream *stream_connect(struct loop *loop, const struct addr *to, struct tls *tls,
			      const char *tls_name, const struct stream_ops *ops, void *arg,
			      struct err *err)
{
	struct stream *s;
	int fd = socket(to->ss.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0) {
		err_errno(err, errno, "cannot make a socket");
		return NULL;
	}
	s = stream_wrap(loop, fd, tls, false, true, ops, arg);
	if (tls && tls_name) {
		SSL *ssl = bufferevent_openssl_get_ssl(s->bev);

		SSL_set_tlsext_host_name(ssl, tls_name);
		SSL_set1_host(ssl, tls_name);
	}
	bufferevent_enable(s->bev, EV_READ | EV_WRITE);
	if (bufferevent_socket_connect(s->bev, (const struct sockaddr *)&to->ss, (int)to->len) <
	    0) {
		char text[ADDR_TEXT_MAX];

		err_errno(err, errno, "cannot connect to %s", addr_format(text, to));
		stream_finish(s, "cannot connect");
		return NULL;
	}
	return s;
}

void stream_set_ops(struct stream *s, const struct stream_ops *ops, void *arg)
{
	s->ops = ops;
	s->arg = arg;
	if (!s->closed && stream_in_len(s))
		bufferevent_trigger(s->bev, EV_READ,
				    BEV_TRIG_IGNORE_WATERMARKS | BEV_TRIG_DEFER_CALLBACKS);
}

size_t stream_in_len(const struct stream *s)
{
	return evbuffer_get_length(bufferevent_get_input(s->bev));
}

const char *stream_peek(struct stream *s, size_t *len)
{
	struct evbuffer *in = bufferevent_get_input(s->bev);

	*len = evbuffer_get_length(in);
	return *len ? (const char *)evbuffer_pullup(in, -1) : "";
}

/* Reading goes on when neither the owner nor the mark is against it. */
static void read_on(struct stream *s)
{
	if (s->full && stream_in_len(s) < s->read_high)
		s->full = false;
	if (!s->closed && !s->draining && !s->paused && !s->full)
		bufferevent_enable(s->bev, EV_READ);
}

void stream_consume(struct stream *s, size_t len)
{
	evbuffer_drain(bufferevent_get_input(s->bev), len);
	if (s->full)
		read_on(s);
}

void stream_write(struct stream *s, const void *data, size_t len)
{
	if (!s->closed && !s->draining && len)
		bufferevent_write(s->bev, data, len);
}

struct owned {
	void (*done)(void *arg);
	void *arg;
};

static void on_ref_done(const void *data UNUSED, size_t len UNUSED, void *arg)
{
	struct owned *o = arg;

	o->done(o->arg);
	free(o);
}

void stream_write_ref(struct stream *s, const void *data, size_t len, void (*done)(void *arg),
		      void *arg)
{
	struct owned *o;

	if (s->closed || s->draining || !len) {
		done(arg);
		return;
	}
	o = xnew(struct owned);
	o->done = done;
	o->arg = arg;
	if (evbuffer_add_reference(bufferevent_get_output(s->bev), data, len, on_ref_done, o) < 0)
		abort();
}

size_t stream_out_len(const struct stream *s)
{
	return evbuffer_get_length(bufferevent_get_output(s->bev));
}

void stream_pause(struct stream *s, bool pause)
{
	if (s->closed || s->paused == pause)
		return;
	s->paused = pause;
	if (pause)
		bufferevent_disable(s->bev, EV_READ);
	else
		read_on(s);
	if (!pause && stream_in_len(s))
		bufferevent_trigger(s->bev, EV_READ,
				    BEV_TRIG_IGNORE_WATERMARKS | BEV_TRIG_DEFER_CALLBACKS);
}

void stream_set_read_high(struct stream *s, size_t bytes)
{
	s->read_high = bytes;
	bufferevent_setwatermark(s->bev, EV_READ, 0, bytes);
	if (s->full)
		read_on(s);
}

void stream_shutdown(struct stream *s)
{
	if (s->closed || s->shutting)
		return;
	s->shutting = true;
	if (!stream_out_len(s))
		half_close(s);
}

void stream_close(struct stream *s, bool drain, const char *why)
{
	struct timeval limit = {.tv_sec = STREAM_DRAIN_SECONDS};

	if (s->closed || (s->draining && drain))
		return;
	if (!drain || !stream_out_len(s) || s->connecting) {
		stream_finish(s, why);
		return;
	}
	s->draining = true;
	list_add_tail(&s->loop->draining, &s->node);
	bufferevent_disable(s->bev, EV_READ);
	bufferevent_set_timeouts(s->bev, NULL, &limit);
}

void streams_abandon(struct loop *loop)
{
	list_foreach (&loop->draining, s, struct stream, node)
		stream_finish(s, "the loop ends");
}

int stream_fd(const struct stream *s)
{
	return bufferevent_getfd(s->bev);
}

int stream_peer_cred(const struct stream *s, pid_t *pid, uid_t *uid, gid_t *gid)
{
	struct sockaddr_storage ss;
	struct ucred cred;
	socklen_t len = sizeof(ss);

	if (getsockname(stream_fd(s), (struct sockaddr *)&ss, &len) < 0)
		return -errno;
	if (ss.ss_family != AF_UNIX)
		return -ENOTSUP;
	len = sizeof(cred);
	if (getsockopt(stream_fd(s), SOL_SOCKET, SO_PEERCRED, &cred, &len) < 0)
		return -errno;
	*pid = cred.pid;
	*uid = cred.uid;
	*gid = cred.gid;
	return 0;
}

/* One entry of a distinguished name as UTF-8; caller frees. */
static char *name_entry(const X509_NAME *name, int at)
{
	ASN1_STRING *value = X509_NAME_ENTRY_get_data(X509_NAME_get_entry(name, at));
	unsigned char *utf8 = NULL;
	int n = ASN1_STRING_to_UTF8(&utf8, value);
	char *text;

	if (n < 0)
		return NULL;
	text = xstrndup((const char *)utf8, (size_t)n);
	OPENSSL_free(utf8);
	return text;
}

int stream_peer_cert(const struct stream *s, char **ret_cn, struct strv *ret_o)
{
	SSL *ssl = bufferevent_openssl_get_ssl(s->bev);
	X509 *cert = ssl ? SSL_get0_peer_certificate(ssl) : NULL;
	X509_NAME *name;
	char *text;
	int at;

	if (!cert)
		return -ENOENT;
	if (SSL_get_verify_result(ssl) != X509_V_OK)
		return -EACCES;
	name = X509_get_subject_name(cert);
	at = X509_NAME_get_index_by_NID(name, NID_commonName, -1);
	text = at < 0 ? NULL : name_entry(name, at);
	if (!text)
		return -EACCES;
	*ret_cn = text;
	for (at = -1; (at = X509_NAME_get_index_by_NID(name, NID_organizationName, at)) >= 0;) {
		text = name_entry(name, at);
		if (text)
			strv_take(ret_o, text);
	}
	return 0;
}
