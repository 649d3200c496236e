/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hello: the demo payload. A small HTTP server that tells its pod name, and a UDP echo.
 *
 *   hello [--http PORT] [--udp PORT]      (8080 and none)
 *
 *   /             "Hello from <hostname>: <greeting>"; the greeting comes from the file named by
 *                 GREETING_FILE, else from GREETING, else it is left out
 *   /healthz      ok
 *   /slow?ms=N    answers after N milliseconds (at most a minute)
 *   /bytes?n=N    N bytes
 *   /hostname     the hostname alone
 *
 * SIGTERM closes the listener, lets the open requests finish and ends with 0. The UDP port answers
 * with "<hostname> " and what it got. Static, without any library of ours: it is all an image
 * holds.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
	MAX_CONNS = 4096,
	MAX_REQUEST = 4096,
	MAX_SLOW_MS = 60000,
	DRAIN_MS = 20000,
	FRESH_MS = 500
};

struct conn {
	int fd;
	char in[MAX_REQUEST];
	size_t in_len;
	char out[1024]; /* head and short bodies */
	size_t out_len, out_done;
	unsigned long long filler; /* bytes of /bytes still to send */
	long long due_ms;	   /* of /slow; 0: now */
	bool busy, keep, served;
};

static volatile sig_atomic_t stopping;
static char hostname[256];
static struct conn *conns[MAX_CONNS];
static size_t n_conns;

static void on_signal(int signo)
{
	(void)signo;
	stopping = 1;
}

static long long now_ms(void)
{
	struct timespec ts;
	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000LL + ts.tv_nsec / 1000000;
}

static int listen_on(int type, int port)
{
	const int one = 1, zero = 0;
	struct sockaddr_in6 a6 = {.sin6_family = AF_INET6, .sin6_port = htons((uint16_t)port)};
	struct sockaddr_in a4 = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
	int fd = socket(AF_INET6, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	int rc = -1;
	if (fd >= 0) {
		setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &zero, sizeof(zero));
		rc = bind(fd, (struct sockaddr *)&a6, sizeof(a6));
	}
	if (rc < 0) { /* a kernel without IPv6 */
		close(fd);
		fd = socket(AF_INET, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
		setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
		rc = bind(fd, (struct sockaddr *)&a4, sizeof(a4));
	}
	if (rc < 0 || (type == SOCK_STREAM && listen(fd, 1024) < 0)) {
		fprintf(stderr, "hello: port %d: %s\n", port, strerror(errno));
		exit(1);
	}
	return fd;
}

static void greeting(char *buf, size_t size)
{
	const char *path = getenv("GREETING_FILE"), *env = getenv("GREETING");
	FILE *f = path ? fopen(path, "re") : NULL;
	snprintf(buf, size, "%s", env ? env : "");
	if (f) {
		size_t n = fread(buf, 1, size - 1, f);
		buf[n] = '\0';
		fclose(f);
	}
	buf[strcspn(buf, "\r\n")] = '\0';
}

static unsigned long long query_number(const char *target, const char *key)
{
	const char *s = strstr(target, key);
	return s ? strtoull(s + strlen(key), NULL, 10) : 0;
}

static void answer(struct conn *c, int status, const char *reason, const char *body,
		   unsigned long long filler)
{
	int n = snprintf(c->out, sizeof(c->out),
			 "HTTP/1.1 %d %s\r\nContent-Type: text/plain\r\nContent-Length: %llu\r\n"
			 "Connection: %s\r\n\r\n%s",
			 status, reason, filler ? filler : (unsigned long long)strlen(body),
			 c->keep ? "keep-alive" : "close", body);
	c->out_len = (size_t)n < sizeof(c->out) ? (size_t)n : sizeof(c->out) - 1;
	c->out_done = 0;
	c->filler = filler;
}

static void request(struct conn *c, const char *target)
{
	char text[256], body[600];
	if (strcmp(target, "/") == 0 || strncmp(target, "/?", 2) == 0) {
		greeting(text, sizeof(text));
		snprintf(body, sizeof(body), "Hello from %s%s%s\n", hostname, *text ? ": " : "",
			 text);
		answer(c, 200, "OK", body, 0);
	} else if (strcmp(target, "/healthz") == 0) {
		answer(c, 200, "OK", "ok\n", 0);
	} else if (strcmp(target, "/hostname") == 0) {
		snprintf(body, sizeof(body), "%s\n", hostname);
		answer(c, 200, "OK", body, 0);
	} else if (strncmp(target, "/slow", 5) == 0) {
		unsigned long long ms = query_number(target, "ms=");
		c->due_ms = now_ms() + (long long)(ms < MAX_SLOW_MS ? ms : MAX_SLOW_MS);
		snprintf(body, sizeof(body), "slow %s\n", hostname);
		answer(c, 200, "OK", body, 0);
	} else if (strncmp(target, "/bytes", 6) == 0) {
		answer(c, 200, "OK", "", query_number(target, "n="));
	} else {
		answer(c, 404, "Not Found", "not found\n", 0);
	}
}

/* Takes one request out of the input when it is whole. */
static void parse(struct conn *c)
{
	char method[16], target[2048], version[16];
	c->in[c->in_len] = '\0';
	char *end = strstr(c->in, "\r\n\r\n");
	if (!end) {
		c->keep = false;
		if (c->in_len == sizeof(c->in) - 1) {
			answer(c, 431, "Request Header Fields Too Large", "too long\n", 0);
			c->busy = true;
		}
		return;
	}
	size_t used = (size_t)(end - c->in) + 4;
	*end = '\0';
	int n = sscanf(c->in, "%15s %2047s %15s", method, target, version);
	c->keep = n == 3 && strcmp(version, "HTTP/1.1") == 0 && !stopping &&
		  !strcasestr(c->in, "\nConnection: close");
	c->busy = true;
	c->due_ms = 0;
	if (n != 3)
		answer(c, 400, "Bad Request", "bad request\n", 0);
	else
		request(c, target);
	memmove(c->in, c->in + used, c->in_len - used);
	c->in_len -= used;
}

/* false: the connection is over. */
static bool conn_write(struct conn *c)
{
	static char zeros[16384];
	if (!*zeros)
		memset(zeros, 'x', sizeof(zeros));
	while (c->out_done < c->out_len || c->filler > 0) {
		bool head = c->out_done < c->out_len;
		size_t len = head			 ? c->out_len - c->out_done
			     : c->filler < sizeof(zeros) ? (size_t)c->filler
							 : sizeof(zeros);
		ssize_t n = send(c->fd, head ? c->out + c->out_done : zeros, len, MSG_NOSIGNAL);
		if (n < 0)
			return errno == EAGAIN;
		if (head)
			c->out_done += (size_t)n;
		else
			c->filler -= (unsigned long long)n;
	}
	c->busy = false;
	c->served = true;
	if (c->keep && c->in_len > 0)
		parse(c);
	return c->busy || c->keep;
}

static bool conn_read(struct conn *c)
{
	ssize_t n = recv(c->fd, c->in + c->in_len, sizeof(c->in) - 1 - c->in_len, 0);
	if (n <= 0)
		return n < 0 && errno == EAGAIN;
	c->in_len += (size_t)n;
	parse(c);
	return true;
}

static void accept_all(int listener)
{
	while (n_conns < MAX_CONNS) {
		int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
		if (fd < 0)
			return;
		struct conn *c = calloc(1, sizeof(*c));
		if (!c) {
			close(fd);
			return;
		}
		c->fd = fd;
		conns[n_conns++] = c;
	}
}

static void udp_echo(int fd)
{
	char buf[2048];
	struct sockaddr_storage from;
	socklen_t len = sizeof(from);
	size_t head = (size_t)snprintf(buf, 300, "%s ", hostname);
	ssize_t n;
	while ((n = recvfrom(fd, buf + head, sizeof(buf) - head, 0, (struct sockaddr *)&from,
			     &len)) >= 0) {
		sendto(fd, buf, head + (size_t)n, 0, (struct sockaddr *)&from, len);
		len = sizeof(from);
	}
}

/* Serves everything that is ready; returns how many connections still have an answer to send. */
static size_t conns_serve(const struct pollfd *polls, bool fresh_may_wait)
{
	size_t busy = 0, kept = 0, n = n_conns;
	for (size_t i = 0; i < n; i++) {
		struct conn *c = conns[i];
		bool alive = true;
		if (!c->busy && polls[i].revents)
			alive = conn_read(c);
		if (alive && c->busy && c->due_ms <= now_ms())
			alive = conn_write(c);
		bool waits = fresh_may_wait && !c->served;
		if (!alive || (stopping && !c->busy && !waits)) {
			close(c->fd);
			free(c);
			continue;
		}
		busy += c->busy || waits;
		conns[kept++] = c;
	}
	n_conns = kept;
	return busy;
}

static int wait_ms(void)
{
	long long now = now_ms(), least = stopping ? 100 : -1;
	for (size_t i = 0; i < n_conns; i++) {
		long long left = conns[i]->due_ms - now;
		if (!conns[i]->busy || left <= 0)
			continue;
		if (least < 0 || left < least)
			least = left;
	}
	return (int)least;
}

static size_t polls_fill(struct pollfd *polls, int listener, int udp)
{
	long long now = now_ms();
	for (size_t i = 0; i < n_conns; i++) {
		short want = conns[i]->busy ? POLLOUT : POLLIN;
		polls[i] = (struct pollfd){conns[i]->fd, conns[i]->due_ms > now ? 0 : want, 0};
	}
	polls[n_conns] = (struct pollfd){n_conns < MAX_CONNS ? listener : -1, POLLIN, 0};
	polls[n_conns + 1] = (struct pollfd){udp, POLLIN, 0};
	return n_conns + 2;
}

int main(int argc, char **argv)
{
	static struct pollfd polls[MAX_CONNS + 2];
	int http_port = 8080, udp_port = 0, udp = -1;
	for (int i = 1; i + 1 < argc; i += 2) {
		if (strcmp(argv[i], "--http") == 0)
			http_port = atoi(argv[i + 1]);
		else if (strcmp(argv[i], "--udp") == 0)
			udp_port = atoi(argv[i + 1]);
	}
	const struct sigaction sa = {.sa_handler = on_signal};
	sigaction(SIGTERM, &sa, NULL);
	sigaction(SIGINT, &sa, NULL);
	gethostname(hostname, sizeof(hostname) - 1);
	int listener = listen_on(SOCK_STREAM, http_port);
	if (udp_port)
		udp = listen_on(SOCK_DGRAM, udp_port);
	fprintf(stderr, "hello: %s serves port %d\n", hostname, http_port);
	for (long long deadline = 0;;) {
		if (stopping && listener >= 0) {
			accept_all(listener); /* those who connected already are served */
			close(listener);
			listener = -1;
			deadline = now_ms() + DRAIN_MS;
		}
		size_t n = polls_fill(polls, listener, udp);
		if (poll(polls, n, wait_ms()) < 0 && errno != EINTR)
			return 1;
		short ready = polls[n - 2].revents, datagram = polls[n - 1].revents;
		bool fresh_may_wait = now_ms() < deadline - DRAIN_MS + FRESH_MS;
		size_t busy = conns_serve(polls, fresh_may_wait);
		if (ready && listener >= 0)
			accept_all(listener);
		if (datagram)
			udp_echo(udp);
		if (stopping && listener < 0 && (busy == 0 || now_ms() > deadline))
			return 0;
	}
}
