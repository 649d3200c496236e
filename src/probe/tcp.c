/* SPDX-License-Identifier: Apache-2.0 */
/* TCP check: a connection can be made. */
#include "internal.h"
#include <ctype.h>
#include <sys/socket.h>

static void end_with(struct check *c, int code)
{
	char addr[ADDR_TEXT_MAX];
	auto_free char *text = NULL;

	if (!code) {
		check_end(c, true, "%s", "");
		return;
	}
	text = xstrdup(strerror(code));
	*text = (char)tolower((unsigned char)*text); /* as Go writes errnos */
	check_end(c, false, "dial tcp %s: connect: %s", check_address(c, addr), text);
}

static void on_connected(void *arg, int fd, unsigned what UNUSED)
{
	int code = 0;
	socklen_t len = sizeof(code);

	if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &code, &len) < 0)
		code = errno;
	end_with(arg, code);
}

static void tcp_start(struct check *c)
{
	const struct sockaddr_in *to = &c->target->config.addr;

	int code = 0;

	c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (c->fd < 0 || connect(c->fd, (const struct sockaddr *)to, sizeof(*to)) < 0)
		code = errno;
	if (code == EINPROGRESS)
		c->io = io_new(c->loop, c->fd, IO_WRITE, on_connected, c);
	else
		end_with(c, code);
}

static void tcp_cancel(struct check *c)
{
	io_free(c->io);
	c->io = NULL;
	c->fd = fd_close(c->fd);
}

static void tcp_timeout(struct check *c)
{
	char addr[ADDR_TEXT_MAX];

	check_end(c, false, "dial tcp %s: i/o timeout", check_address(c, addr));
}

const struct check_ops tcp_check = {tcp_start, tcp_cancel, tcp_timeout};
