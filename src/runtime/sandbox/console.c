/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The pty of a container or exec: the OCI runtime makes it inside the container and sends its
 * master over the unix socket named by --console-socket (runc's docs/terminals.md).
 */
#include "sandbox.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

int console_listen(const char *name, char *path, size_t path_size)
{
	struct sockaddr_un un = {.sun_family = AF_UNIX};
	auto_fd int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0)
		return -errno;
	/* Relative for us, through /proc for the runtime, which changes its directory: either way
	 * short enough for sun_path, however deep the run directory lies. */
	snprintf(un.sun_path, sizeof(un.sun_path), "%s", name);
	unlink(name);
	if (bind(fd, (struct sockaddr *)&un, sizeof(un)) < 0 || listen(fd, 1) < 0)
		return -errno;
	snprintf(path, path_size, "/proc/%d/cwd/%s", (int)getpid(), name);
	return steal_fd(&fd);
}

int console_take(int listen_fd, const char *name)
{
	unsigned char byte[256];
	int fds[PROTO_FDS_MAX] = {-1, -1, -1};
	auto_fd int conn = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	unlink(name);
	close(listen_fd);
	if (conn < 0 || proto_recv(conn, byte, sizeof(byte), fds) <= 0)
		return -1;
	fd_close(fds[1]);
	fd_close(fds[2]);
	if (fds[0] >= 0)
		fcntl(fds[0], F_SETFL, fcntl(fds[0], F_GETFL) | O_NONBLOCK);
	return fds[0];
}
