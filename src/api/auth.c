/* SPDX-License-Identifier: Apache-2.0 */
/* Who asks: the peer of the local socket, a client certificate, a bearer token, or nobody; and as
 * whom he wants to be seen. */
#include "internal.h"

#include <openssl/crypto.h>
#include <strings.h>
#include <sys/socket.h>

#define GROUPS_MAX 256
/* Impersonate-Extra- headers of one request. */
#define EXTRA_MAX 64

/* ---- credentials ------------------------------------------------------------------------- */

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
	if (uid == 0 ||
	    (wanted != (gid_t)-1 && (gid == wanted || peer_in_group(stream_fd(s), wanted))))
		strv_add(&ret->groups, "system:masters");
	user_complete(ret, name);
	return true;
}

static enum auth auth_certificate(struct stream *s, struct user *ret)
{
	auto_free char *name = NULL;
	int rc = stream_peer_cert(s, &name, &ret->groups);

	if (rc < 0)
		return rc == -EACCES ? AUTH_REFUSED : AUTH_NONE;
	user_complete(ret, name);
	return AUTH_KNOWN;
}

/* The token of the Authorization header, or NULL. */
static const char *bearer(const struct http_request *req)
{
	const char *h = http_header(req, "Authorization");

	if (!h || strncasecmp(h, "Bearer ", 7) != 0)
		return NULL;
	return h + 7 + strspn(h + 7, " ");
}

/*
 * Browsers cannot add headers to a WebSocket's request: the token comes as one of its
 * sub-protocols, in base64url without padding (kubernetes apiserver
 * authentication/request/websocket). Caller frees.
 */
static char *ws_bearer(const struct http_request *req)
{
	auto_strv offered = {0};
	auto_strbuf text = {0};
	unsigned char *token = NULL;
	size_t len;

	if (!ws_requested(req))
		return NULL;
	ws_protocols(req, &offered);
	for (size_t i = 0; i < offered.n && !text.len; i++)
		if (str_starts(offered.v[i], WS_BEARER))
			strbuf_adds(&text, offered.v[i] + strlen(WS_BEARER));
	for (size_t i = 0; i < text.len; i++)
		text.s[i] = text.s[i] == '-' ? '+' : text.s[i] == '_' ? '/' : text.s[i];
	while (text.len % 4)
		strbuf_addc(&text, '=');
	if (!text.len || base64_decode(text.s, text.len, &token, &len) < 0)
		return NULL;
	return (char *)token;
}

int auth_bearer(const struct api *a, const char *token, const json_t *audiences, struct user *ret,
		json_t **ret_audiences, struct err *err)
{
	size_t len = a->token ? strlen(a->token) : 0;

	if (!len || strlen(token) != len || CRYPTO_memcmp(token, a->token, len) != 0)
		return identity_token_check(a->config.identity, token, audiences, ret,
					    ret_audiences, err);
	strv_add(&ret->groups, "system:masters");
	user_complete(ret, "kubernetes-admin");
	if (ret_audiences)
		*ret_audiences = identity_audiences(a->config.identity);
	return 0;
}

static enum auth auth_token(const struct api *a, const struct http_request *req, struct user *ret)
{
	const char *token = bearer(req);
	auto_free char *inside = token ? NULL : ws_bearer(req);
	auto_err err = {0};

	if (inside)
		token = inside;
	if (str_empty(token))
		return AUTH_NONE;
	if (auth_bearer(a, token, NULL, ret, NULL, &err) == 0)
		return AUTH_KNOWN;
	log_debug("api: %s", err_message(&err));
	return AUTH_REFUSED;
}

enum auth auth_user(const struct api *a, const struct http_request *req, struct user *ret)
{
	struct stream *s = http_request_stream(req);
	enum auth found;

	*ret = (struct user){0};
	if (auth_peer(a, s, ret))
		return AUTH_KNOWN;
	found = auth_certificate(s, ret);
	if (found != AUTH_KNOWN) {
		enum auth token = auth_token(a, req, ret);

		/* A good token outweighs a certificate of somebody else's authority. */
		found = token == AUTH_NONE ? found : token;
	}
	if (found == AUTH_NONE) {
		ret->anonymous = true;
		user_complete(ret, "system:anonymous");
	}
	return found;
}

/* ---- impersonation (kubernetes endpoints/filters/impersonation.go) ------------------------- */

static bool may_impersonate(struct call *c, const char *group, const char *resource,
			    const char *sub, const char *ns, const char *name)
{
	const struct access a = {.verb = "impersonate",
				 .group = group,
				 .version = "",
				 .resource = resource,
				 .sub = sub,
				 .ns = ns,
				 .name = name};

	return access_granted(c, &a);
}

/* A service account by its user name "system:serviceaccount:ns:name"; false: it is none. */
static bool split_account(const char *user, char **ns, const char **name)
{
	static const char prefix[] = "system:serviceaccount:";
	const char *colon;

	if (!str_starts(user, prefix))
		return false;
	colon = strchr(user + strlen(prefix), ':');
	if (!colon || colon == user + strlen(prefix) || !colon[1] || strchr(colon + 1, ':'))
		return false;
	*ns = xstrndup(user + strlen(prefix), (size_t)(colon - user) - strlen(prefix));
	*name = colon + 1;
	return true;
}

static bool add_extra(struct call *c, struct user *as, const char *header, const char *value)
{
	auto_free char *lower = xstrdup(header + strlen("Impersonate-Extra-"));
	auto_free char *key = NULL;
	json_t *list;

	for (char *p = lower; *p; p++)
		*p = *p >= 'A' && *p <= 'Z' ? (char)(*p + ('a' - 'A')) : *p;
	key = http_url_decode(lower, strlen(lower));
	if (!key || !may_impersonate(c, "authentication.k8s.io", "userextras", key, "", value))
		return false;
	if (!as->extra)
		as->extra = json_object();
	list = json_object_get(as->extra, key);
	if (!list) {
		list = json_array();
		json_object_set_new(as->extra, key, list);
	}
	if (json_array_size(list) < EXTRA_MAX)
		json_array_append_new(list, json_string(value));
	return true;
}

struct extras {
	struct call *call;
	struct user *as;
	unsigned n;
	bool refused;
};

static void on_extra(void *arg, const char *name, const char *value)
{
	struct extras *x = arg;

	if (strncasecmp(name, "Impersonate-Extra-", strlen("Impersonate-Extra-")) != 0)
		return;
	if (!x->refused && x->n++ < EXTRA_MAX)
		x->refused = !add_extra(x->call, x->as, name, value);
}

/* The groups of whom is impersonated: those of the headers, else those every account has. */
static bool as_groups(struct call *c, struct user *as, const char *ns)
{
	auto_strv groups = {0};

	http_headers(c->req, "Impersonate-Group", &groups);
	for (size_t i = 0; i < groups.n; i++) {
		if (!may_impersonate(c, "", "groups", "", "", groups.v[i]))
			return false;
		strv_add(&as->groups, groups.v[i]);
	}
	if (!groups.n && ns) {
		strv_add(&as->groups, "system:serviceaccounts");
		strv_addf(&as->groups, "system:serviceaccounts:%s", ns);
	}
	return true;
}

static bool impersonate(struct call *c, const char *name, const char *uid, struct user *as)
{
	auto_free char *ns = NULL;
	const char *account = NULL;
	struct extras x = {.call = c, .as = as};

	if (split_account(name, &ns, &account)
		    ? !may_impersonate(c, "", "serviceaccounts", "", ns, account)
		    : !may_impersonate(c, "", "users", "", "", name))
		return false;
	if (uid && !may_impersonate(c, "authentication.k8s.io", "uids", "", "", uid))
		return false;
	if (!as_groups(c, as, ns))
		return false;
	http_each_header(c->req, on_extra, &x);
	if (x.refused)
		return false;
	as->uid = xstrdup_null(uid);
	as->anonymous =
		streq(name, "system:anonymous") || strv_has(&as->groups, "system:unauthenticated");
	user_complete(as, name);
	return true;
}

bool auth_impersonate(struct call *c)
{
	const char *name = http_header(c->req, "Impersonate-User");
	const char *uid = http_header(c->req, "Impersonate-Uid");
	const char *group = http_header(c->req, "Impersonate-Group");
	struct user as = {0};

	if (str_empty(name)) {
		if (str_empty(uid) && str_empty(group))
			return true;
		call_reply_error(c, ERR_INTERNAL,
				 "Internal error occurred: requested %s \"%s\" without "
				 "impersonating a user",
				 str_empty(uid) ? "group" : "uid", str_empty(uid) ? group : uid);
		return false;
	}
	if (!impersonate(c, name, str_empty(uid) ? NULL : uid, &as)) {
		user_done(&as);
		return false;
	}
	user_done(&c->user);
	c->user = as;
	return true;
}
