/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fetch http://HOST[:PORT]/PATH: a small static HTTP client for the demo image. Names are looked up
 * with res_search(3), which knows resolv.conf and its search list and needs no shared library.
 */
#include <arpa/inet.h>
#include <arpa/nameser.h>
#include <netinet/in.h>
#include <resolv.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

/* First A record of the answer. */
static int first_address(const unsigned char *answer, int len, struct in_addr *ret)
{
	ns_msg msg;
	ns_rr rr;

	if (ns_initparse(answer, len, &msg) < 0)
		return -1;
	for (int i = 0; i < ns_msg_count(msg, ns_s_an); i++) {
		if (ns_parserr(&msg, ns_s_an, i, &rr) < 0)
			return -1;
		if (ns_rr_type(rr) == ns_t_a && ns_rr_rdlen(rr) == 4) {
			memcpy(ret, ns_rr_rdata(rr), 4);
			return 0;
		}
	}
	return -1;
}

static int look_up(const char *host, struct in_addr *ret)
{
	unsigned char answer[4096];
	int n;

	if (inet_pton(AF_INET, host, ret) == 1)
		return 0;
	n = res_search(host, ns_c_in, ns_t_a, answer, sizeof(answer));
	return n < 0 ? -1 : first_address(answer, n, ret);
}

/* Prints the body; the exit code is 0 for status 2xx. */
static int print_answer(FILE *in)
{
	char line[8192];
	int status = 0, in_body = 0;
	size_t n;

	while (!in_body && fgets(line, sizeof(line), in)) {
		if (!status && sscanf(line, "HTTP/1.%*d %d", &status) != 1)
			return 1;
		in_body = line[0] == '\r' || line[0] == '\n';
	}
	while ((n = fread(line, 1, sizeof(line), in)) > 0)
		fwrite(line, 1, n, stdout);
	return status >= 200 && status < 300 ? 0 : 1;
}

int main(int argc, char **argv)
{
	char host[256], path[1024] = "/";
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(80)};
	struct timeval limit = {.tv_sec = 10};
	char *colon;
	FILE *io;
	int fd;

	if (argc != 2 || sscanf(argv[1], "http://%255[^/]%1023s", host, path) < 1) {
		fprintf(stderr, "usage: fetch http://HOST[:PORT]/PATH\n");
		return 2;
	}
	colon = strchr(host, ':');
	if (colon) {
		*colon = '\0';
		to.sin_port = htons((unsigned short)atoi(colon + 1));
	}
	if (look_up(host, &to.sin_addr) < 0) {
		fprintf(stderr, "fetch: %s: no such host\n", host);
		return 1;
	}
	fd = socket(AF_INET, SOCK_STREAM, 0);
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
	if (connect(fd, (struct sockaddr *)&to, sizeof(to)) < 0 || !(io = fdopen(fd, "r+"))) {
		perror("fetch");
		return 1;
	}
	fprintf(io, "GET %s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", path, host);
	fflush(io);
	return print_answer(io);
}
