/* SPDX-License-Identifier: Apache-2.0 */
/* Who asks: the peer of the local socket, a client certificate, a bearer token, or nobody. */
#include "internal.h"

#include <openssl/crypto.h>
#include <strings.h>
#include <sys/socket.h>

#define GROUPS_MAX 256

void user_done(struct user *u)
{
	free(u->name);
	strv_done(&u->groups);
	*u = (struct user){0};
}

static void user_set(struct user *u, const char *name, const char *group)
{
	u->name = xstrdup(name);
	if (group)
		strv_add(&u->groups, group);
	strv_add(&u->groups, u->anonymous ? "system:unauthenticated" : "system:authenticated");
	u->admin = strv_has(&u->groups, "system:masters");
}

/* The peer's supplementary groups as the kernel has them (SO_PEERGROUPS, Linux 4.13): no look-up in
 * a user database, which could block. */
static bool peer_in_group(int fd, gid_t wanted)
{
	gid_t groups[GROUPS_MAX];
	socklen_t len = sizeof(groups);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups, &len) < 0)
		return false;
	for (size_t i = 0; i < len / sizeof(gid_t); i++)
		if (groups[i] == wanted)
			return true;
	return false;
}

static bool auth_peer(const struct api *a, struct stream *s, struct user *ret)
{
	pid_t pid;
	uid_t uid;
	gid_t gid, wanted = a->config.socket_gid;
	char name[32];

	if (stream_peer_cred(s, &pid, &uid, &gid) < 0)
		return false;
	snprintf(name, sizeof(name), "unix:%u", (unsigned)uid);
	bool admin = uid == 0 || (wanted != (gid_t)-1 &&
				  (gid == wanted || peer_in_group(stream_fd(s), wanted)));

	user_set(ret, name, admin ? "system:masters" : NULL);
	return true;
}

static bool auth_certificate(struct stream *s, struct user *ret)
{
	auto_free char *name = NULL;

	if (stream_peer_cert(s, &name, &ret->groups) < 0)
		return false;
	user_set(ret, name, NULL);
	return true;
}

static bool auth_token(const struct api *a, const struct http_request *req, struct user *ret)
{
	const char *h = http_header(req, "Authorization");

	if (!h || strncasecmp(h, "Bearer ", 7) != 0 || str_empty(a->token))
		return false;
	h += 7 + strspn(h + 7, " ");
	size_t len = strlen(a->token);

	if (strlen(h) != len || CRYPTO_memcmp(h, a->token, len) != 0)
		return false;
	user_set(ret, "kubernetes-admin", "system:masters");
	return true;
}

void auth_user(const struct api *a, const struct http_request *req, struct user *ret)
{
	struct stream *s = http_request_stream(req);

	*ret = (struct user){0};
	if (auth_peer(a, s, ret) || auth_certificate(s, ret) || auth_token(a, req, ret))
		return;
	ret->anonymous = true;
	user_set(ret, "system:anonymous", NULL);
}
