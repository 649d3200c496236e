/* SPDX-License-Identifier: Apache-2.0 */
/*
 * dns_load: asks a DNS server for A records of s0..s<n-1>.<suffix> over UDP, a window of questions
 * in flight, for some seconds; prints "<answers> <seconds> <wrong>". An answer is right when its
 * rcode is 0 and it holds an answer record. What gets lost is asked again after 100 ms of silence.
 *
 *   dns_load ADDRESS PORT SUFFIX N SECONDS [WINDOW]
 */
#include <arpa/inet.h>
#include <coracle/base.h>
#include <poll.h>
#include <sys/socket.h>

enum { QUESTION_MAX = 300, BATCH = 64, SILENCE_MS = 100 };

struct load {
	int fd;
	unsigned n, next;
	unsigned long answers, wrong;
	uint8_t (*questions)[QUESTION_MAX];
	size_t *lens;
};

static size_t put_name(uint8_t *out, const char *name)
{
	size_t n = 0;

	while (*name) {
		size_t len = strcspn(name, ".");

		out[n++] = (uint8_t)len;
		memcpy(out + n, name, len);
		n += len;
		name += len + (name[len] == '.');
	}
	out[n++] = 0;
	return n;
}

static void prepare(struct load *l, const char *suffix)
{
	static const uint8_t head[12] = {0, 0, 1, 0, 0, 1}, tail[4] = {0, 1, 0, 1};

	l->questions = xcalloc(l->n, sizeof(*l->questions));
	l->lens = xcalloc(l->n, sizeof(*l->lens));
	for (unsigned i = 0; i < l->n; i++) {
		auto_free char *name = xasprintf("s%u.%s", i, suffix);
		uint8_t *q = l->questions[i];

		if (strlen(name) > 250)
			exit(2);
		memcpy(q, head, sizeof(head));
		l->lens[i] = sizeof(head) + put_name(q + sizeof(head), name);
		memcpy(q + l->lens[i], tail, sizeof(tail));
		l->lens[i] += sizeof(tail);
	}
}

static void ask(struct load *l, unsigned count)
{
	struct mmsghdr m[BATCH] = {0};
	struct iovec v[BATCH];

	for (unsigned i = 0; i < count; i++) {
		unsigned k = l->next++ % l->n;
		uint16_t id = htons((uint16_t)l->next);

		memcpy(l->questions[k], &id, sizeof(id));
		v[i] = (struct iovec){l->questions[k], l->lens[k]};
		m[i].msg_hdr.msg_iov = &v[i];
		m[i].msg_hdr.msg_iovlen = 1;
	}
	if (count && sendmmsg(l->fd, m, count, 0) < 0)
		perror("sendmmsg");
}

/* How many answers came. */
static unsigned take(struct load *l)
{
	static uint8_t buf[BATCH][1500];
	struct mmsghdr m[BATCH] = {0};
	struct iovec v[BATCH];
	int n;

	for (unsigned i = 0; i < BATCH; i++) {
		v[i] = (struct iovec){buf[i], sizeof(buf[i])};
		m[i].msg_hdr.msg_iov = &v[i];
		m[i].msg_hdr.msg_iovlen = 1;
	}
	n = recvmmsg(l->fd, m, BATCH, MSG_DONTWAIT, NULL);
	for (int i = 0; i < n; i++)
		if (m[i].msg_len < 12 || (buf[i][3] & 15) || !(buf[i][6] | buf[i][7]))
			l->wrong++;
	return n > 0 ? (unsigned)n : 0;
}

int main(int argc, char **argv)
{
	struct sockaddr_in to = {.sin_family = AF_INET};
	unsigned window = argc > 6 ? (unsigned)atoi(argv[6]) : BATCH;
	struct load l = {0};
	mono_t start, end;

	if (argc < 6 || inet_pton(AF_INET, argv[1], &to.sin_addr) != 1 || window > BATCH)
		return 2;
	to.sin_port = htons((uint16_t)atoi(argv[2]));
	l.n = (unsigned)atoi(argv[4]);
	l.fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (!l.n || l.fd < 0 || connect(l.fd, (struct sockaddr *)&to, sizeof(to)) < 0)
		return 2;
	prepare(&l, argv[3]);
	start = mono_now();
	end = mono_add(start, (uint64_t)atoi(argv[5]) * USEC_PER_SEC);
	ask(&l, window);
	while (mono_before(mono_now(), end)) {
		struct pollfd p = {.fd = l.fd, .events = POLLIN};
		unsigned n = poll(&p, 1, SILENCE_MS) > 0 ? take(&l) : 0;

		l.answers += n;
		ask(&l, n ? n : window);
	}
	printf("%lu %.3f %lu\n", l.answers,
	       (double)mono_sub(mono_now(), start) / (double)USEC_PER_SEC, l.wrong);
	return 0;
}
