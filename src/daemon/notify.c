/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Readiness and watchdog as sd_notify(3) and systemd.service(5) describe them: datagrams to the
 * socket that NOTIFY_SOCKET names. The protocol is a line of text, so no library is linked for it.
 */
#include "internal.h"
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

struct notify {
	struct timer *timer;
	uint64_t period_us;
};

void notify_send(const char *state)
{
	const char *path = getenv("NOTIFY_SOCKET");
	struct sockaddr_un un = {.sun_family = AF_UNIX};
	size_t len = path ? strlen(path) : 0;
	auto_fd int fd = -1;

	if (len < 2 || len >= sizeof(un.sun_path) || (*path != '/' && *path != '@'))
		return;
	memcpy(un.sun_path, path, len);
	if (*path == '@') /* abstract */
		un.sun_path[0] = '\0';
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0 || sendto(fd, state, strlen(state), MSG_NOSIGNAL, (struct sockaddr *)&un,
			     (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len)) < 0)
		log_debug("notify: %s", strerror(errno));
}

/* That this runs at all is the check: the loop turns. */
static void on_watchdog(void *arg)
{
	struct notify *n = arg;

	notify_send("WATCHDOG=1");
	timer_arm(n->timer, n->period_us);
}

struct notify *notify_new(struct loop *loop)
{
	const char *usec = getenv("WATCHDOG_USEC"), *pid = getenv("WATCHDOG_PID");
	struct notify *n = xnew(struct notify);
	uint64_t us = 0, who = (uint64_t)getpid();

	if (pid && str_to_u64(pid, INT32_MAX, &who) < 0)
		who = 0;
	n->timer = timer_new(loop, on_watchdog, n);
	if (usec && who == (uint64_t)getpid() && str_to_u64(usec, UINT64_MAX / 2, &us) == 0 && us) {
		n->period_us = us / 2;
		timer_arm(n->timer, n->period_us);
	}
	return n;
}

void notify_free(struct notify *n)
{
	if (!n)
		return;
	timer_free(n->timer);
	free(n);
}
