/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The registry API (distribution-spec 1.1) over libcurl, with the sign-in of Docker's token
 * service (distribution docs/spec/auth/token.md) or HTTP basic authentication.
 */
#include "config.h"
#include "http.h"
#include "worker.h"
#include <curl/curl.h>
#include <netdb.h>

enum {
	CONNECT_TIMEOUT_S = 10,
	STALL_TIMEOUT_S = 30,
	MAX_REDIRECTS = 5,
	TOKEN_MAX_BYTES = 64 * 1024,
	ERROR_MAX_BYTES = 16 * 1024,
};

static const char accept_header[] = "Accept: application/vnd.oci.image.index.v1+json, "
				    "application/vnd.docker.distribution.manifest.list.v2+json, "
				    "application/vnd.oci.image.manifest.v1+json, "
				    "application/vnd.docker.distribution.manifest.v2+json, */*";

struct registry {
	CURL *curl;
	const struct image_ref *ref;
	const char *username, *password;
	char *base; /* "https://registry-1.docker.io" */
	bool loopback;
	char *authorization; /* whole header line, or NULL */
};

/* One transfer. */
struct call {
	struct registry *r;
	http_body_fn *body;
	void *arg;
	struct err *err;
	int body_rc;
	struct strbuf error_doc;
	char *challenge;
	struct http_answer *answer;
};

/* ---- challenges ------------------------------------------------------------------------- */

static const char *skip_space(const char *s)
{
	return s + strspn(s, " \t,");
}

/* name=token or name="quoted"; NULL when there is none. Caller frees both. */
static const char *param_parse(const char *s, char **ret_name, char **ret_value)
{
	size_t n = strcspn(s, "= \t,\"");
	if (n == 0 || s[n] != '=')
		return NULL;
	const char *v = s + n + 1;
	auto_strbuf b = {0};
	if (*v == '"') {
		for (v++; *v && *v != '"'; v++) {
			if (*v == '\\' && v[1])
				v++;
			strbuf_addc(&b, *v);
		}
		if (*v++ != '"')
			return NULL;
	} else {
		size_t len = strcspn(v, ", \t");
		strbuf_add(&b, v, len);
		v += len;
	}
	*ret_name = xstrndup(s, n);
	*ret_value = strbuf_steal(&b);
	return v;
}

static void param_keep(struct challenge *c, const char *name, char *value)
{
	char **slot = strcasecmp(name, "realm") == 0	 ? &c->realm
		      : strcasecmp(name, "service") == 0 ? &c->service
		      : strcasecmp(name, "scope") == 0	 ? &c->scope
							 : NULL;
	if (!slot) {
		free(value);
		return;
	}
	free(*slot);
	*slot = value;
}

int challenge_parse(const char *value, struct challenge *ret)
{
	struct challenge c = {0};
	const char *s = skip_space(value);
	size_t n = strcspn(s, " \t,");
	c.basic = n == 5 && strncasecmp(s, "basic", n) == 0;
	c.bearer = n == 6 && strncasecmp(s, "bearer", n) == 0;
	if (!c.basic && !c.bearer)
		return -EINVAL;
	for (s = skip_space(s + n); *s; s = skip_space(s)) {
		char *name, *v;
		s = param_parse(s, &name, &v);
		if (!s)
			break;
		param_keep(&c, name, v);
		free(name);
	}
	if (c.bearer && !c.realm) {
		challenge_done(&c);
		return -EINVAL;
	}
	*ret = c;
	return 0;
}

void challenge_done(struct challenge *c)
{
	free(c->realm);
	free(c->service);
	free(c->scope);
	*c = (struct challenge){0};
}

/* ---- answers ---------------------------------------------------------------------------- */

void http_answer_done(struct http_answer *a)
{
	free(a->content_type);
	free(a->content_digest);
	free(a->error_code);
	*a = (struct http_answer){0};
}

static void header_keep(char **slot, const char *value, size_t len)
{
	while (len > 0 && strchr(" \t\r\n", value[len - 1]))
		len--;
	while (len > 0 && (*value == ' ' || *value == '\t')) {
		value++;
		len--;
	}
	free(*slot);
	*slot = xstrndup(value, len);
}

static size_t on_header(char *line, size_t size, size_t n, void *arg)
{
	struct call *c = arg;
	size_t len = size * n;
	static const struct {
		const char *name;
		size_t len;
	} names[] = {
		{"content-type:", 13}, {"docker-content-digest:", 22}, {"www-authenticate:", 17}};
	char **slots[] = {&c->answer->content_type, &c->answer->content_digest, &c->challenge};
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		if (len < names[i].len || strncasecmp(line, names[i].name, names[i].len) != 0)
			continue;
		/* Of several challenges the one for a token is what registries mean. */
		if (slots[i] == &c->challenge && c->challenge &&
		    strncasecmp(c->challenge, "bearer", 6) == 0)
			continue;
		header_keep(slots[i], line + names[i].len, len - names[i].len);
	}
	return len;
}

static size_t on_body(char *data, size_t size, size_t n, void *arg)
{
	struct call *c = arg;
	size_t len = size * n;
	long status = 0;
	curl_easy_getinfo(c->r->curl, CURLINFO_RESPONSE_CODE, &status);
	if (status / 100 == 2) {
		c->body_rc = c->body(c->arg, status, data, len, c->err);
		return c->body_rc < 0 ? 0 : len;
	}
	if (c->error_doc.len + len <= ERROR_MAX_BYTES)
		strbuf_add(&c->error_doc, data, len);
	return len;
}

/* ---- transfers -------------------------------------------------------------------------- */

static bool host_is_loopback(const char *domain)
{
	static const char *const hosts[] = {"localhost", "127.", "[::1]"};
	for (size_t i = 0; i < ARRAY_SIZE(hosts); i++) {
		size_t n = strlen(hosts[i]);
		if (strncmp(domain, hosts[i], n) == 0 &&
		    (hosts[i][n - 1] == '.' || !domain[n] || domain[n] == ':'))
			return true;
	}
	return false;
}

static void curl_prepare(struct registry *r, const char *url, const char *protocols)
{
	CURL *c = r->curl;
	curl_easy_reset(c);
	curl_easy_setopt(c, CURLOPT_URL, url);
	curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(c, CURLOPT_USERAGENT, "coracle/" PACKAGE_VERSION);
	curl_easy_setopt(c, CURLOPT_PROTOCOLS_STR, protocols);
	curl_easy_setopt(c, CURLOPT_REDIR_PROTOCOLS_STR, protocols);
	curl_easy_setopt(c, CURLOPT_FOLLOWLOCATION, 1L);
	curl_easy_setopt(c, CURLOPT_MAXREDIRS, (long)MAX_REDIRECTS);
	curl_easy_setopt(c, CURLOPT_CONNECTTIMEOUT, (long)CONNECT_TIMEOUT_S);
	curl_easy_setopt(c, CURLOPT_LOW_SPEED_LIMIT, 1L);
	curl_easy_setopt(c, CURLOPT_LOW_SPEED_TIME, (long)STALL_TIMEOUT_S);
	curl_easy_setopt(c, CURLOPT_BUFFERSIZE, 64L * 1024);
	/* As Go's net/http: loopback is never asked for through a proxy. */
	if (r->loopback)
		curl_easy_setopt(c, CURLOPT_NOPROXY, "*");
}

/* In the words of containerd's client: Get "URL": why. */
static int transfer_err(struct err *err, CURLcode code, const char *url, const char *detail)
{
	const char *why = *detail ? detail : curl_easy_strerror(code);
	enum err_reason reason = ERR_SERVICE_UNAVAILABLE;
	if (code == CURLE_OPERATION_TIMEDOUT)
		reason = ERR_TIMEOUT;
	else if (code == CURLE_TOO_MANY_REDIRECTS || code == CURLE_UNSUPPORTED_PROTOCOL)
		reason = ERR_INVALID;
	return err_set(err, reason, "failed to do request: Get \"%s\": %s", url, why);
}

static void error_code_take(struct call *c)
{
	json_auto_t *v = NULL;
	if (c->error_doc.len > 0)
		v = json_parse(c->error_doc.s, c->error_doc.len, NULL);
	const json_t *first = json_array_get(json_object_get(v, "errors"), 0);
	const char *code = json_str(first, "code", NULL);
	free(c->answer->error_code);
	c->answer->error_code = xstrdup_null(code);
}

/* One GET; *ret_challenge is set with a 401. */
static int get_once(struct registry *r, const char *url, uint64_t from, struct call *c)
{
	char detail[CURL_ERROR_SIZE] = "", range[40];
	struct curl_slist *headers = curl_slist_append(NULL, accept_header);
	if (r->authorization)
		headers = curl_slist_append(headers, r->authorization);
	curl_prepare(r, url, r->loopback ? "http,https" : "https");
	curl_easy_setopt(r->curl, CURLOPT_HTTPHEADER, headers);
	curl_easy_setopt(r->curl, CURLOPT_ERRORBUFFER, detail);
	curl_easy_setopt(r->curl, CURLOPT_HEADERFUNCTION, on_header);
	curl_easy_setopt(r->curl, CURLOPT_HEADERDATA, c);
	curl_easy_setopt(r->curl, CURLOPT_WRITEFUNCTION, on_body);
	curl_easy_setopt(r->curl, CURLOPT_WRITEDATA, c);
	if (from > 0) {
		snprintf(range, sizeof(range), "%llu-", (unsigned long long)from);
		curl_easy_setopt(r->curl, CURLOPT_RANGE, range);
	}
	CURLcode code = curl_easy_perform(r->curl);
	curl_slist_free_all(headers);
	curl_easy_setopt(r->curl, CURLOPT_ERRORBUFFER, NULL);
	curl_easy_getinfo(r->curl, CURLINFO_RESPONSE_CODE, &c->answer->status);
	if (c->body_rc < 0)
		return c->body_rc;
	if (code != CURLE_OK)
		return transfer_err(c->err, code, url, detail);
	error_code_take(c);
	return 0;
}

/* ---- signing in ------------------------------------------------------------------------- */

static char *basic_header(const struct registry *r)
{
	auto_free char *pair = xasprintf("%s:%s", r->username, r->password ? r->password : "");
	auto_free char *code = base64_encode(pair, strlen(pair));
	return xasprintf("Authorization: Basic %s", code);
}

static int token_body(void *arg, long status UNUSED, const void *data, size_t len, struct err *err)
{
	struct strbuf *b = arg;
	if (b->len + len > TOKEN_MAX_BYTES)
		return err_set(err, ERR_INVALID, "the token service's answer is too long");
	strbuf_add(b, data, len);
	return 0;
}

static char *token_url(struct registry *r, const struct challenge *c)
{
	auto_strbuf b = {0};
	auto_free char *own = xasprintf("repository:%s:pull", r->ref->path);
	const char *pairs[][2] = {{"service", c->service}, {"scope", c->scope ? c->scope : own}};
	strbuf_adds(&b, c->realm);
	for (size_t i = 0; i < ARRAY_SIZE(pairs); i++) {
		if (!pairs[i][1])
			continue;
		char *esc = curl_easy_escape(r->curl, pairs[i][1], 0);
		strbuf_addf(&b, "%c%s=%s", strchr(b.s, '?') ? '&' : '?', pairs[i][0],
			    esc ? esc : "");
		curl_free(esc);
	}
	return strbuf_steal(&b);
}

static int denied(const struct registry *r, const char *why, struct err *err)
{
	return err_set(err, ERR_UNAUTHORIZED,
		       "pull access denied, repository does not exist or may require "
		       "authorization: %s/%s: %s",
		       r->ref->domain, r->ref->path, why);
}

static int bearer_get(struct registry *r, const struct challenge *ch, struct err *err)
{
	auto_strbuf text = {0};
	auto_answer answer = {0};
	auto_free char *url = token_url(r, ch);
	struct call c = {r, token_body, &text, err, 0, {0}, NULL, &answer};
	/* Credentials go over TLS, or to this machine. */
	if (!str_starts(url, "https://") && !r->loopback)
		return err_set(err, ERR_UNAUTHORIZED,
			       "refusing to sign in at \"%s\": not over https", ch->realm);
	free(r->authorization);
	r->authorization = r->username ? basic_header(r) : NULL;
	int rc = get_once(r, url, 0, &c);
	strbuf_done(&c.error_doc);
	free(c.challenge);
	free(r->authorization);
	r->authorization = NULL;
	if (rc < 0)
		return err_wrap(err, rc, "failed to fetch %s token",
				r->username ? "oauth" : "anonymous");
	if (answer.status != 200)
		return denied(r, "authorization failed: the token service refused", err);
	json_auto_t *v = json_parse(text.s ? text.s : "", text.len, NULL);
	const char *token = json_str(v, "token", json_str(v, "access_token", NULL));
	if (!token || strpbrk(token, "\r\n"))
		return denied(r, "authorization failed: no token came", err);
	r->authorization = xasprintf("Authorization: Bearer %s", token);
	return 0;
}

/* Answers a challenge; a second one to the same credentials is a refusal. */
static int sign_in(struct registry *r, const char *text, struct err *err)
{
	struct challenge c = {0};
	if (!text || challenge_parse(text, &c) < 0)
		return denied(r, "authorization failed", err);
	int rc = 0;
	if (c.bearer)
		rc = bearer_get(r, &c, err);
	else if (r->username && !r->authorization)
		r->authorization = basic_header(r);
	else
		rc = denied(r, r->username ? "authorization failed" : "no basic auth credentials",
			    err);
	challenge_done(&c);
	return rc;
}

/* ---- the face --------------------------------------------------------------------------- */

static int status_err(const struct registry *r, const char *url, const struct http_answer *a,
		      struct err *err)
{
	const char *code = a->error_code ? a->error_code : "";
	switch (a->status) {
	case 404:
		return err_set(err, ERR_NOT_FOUND, "not found%s%s", *code ? ": " : "", code);
	case 401:
	case 403:
		return denied(r, *code ? code : "authorization failed", err);
	case 429:
		return err_set(err, ERR_TOO_MANY_REQUESTS,
			       "unexpected status from GET request to %s: 429 Too Many Requests",
			       url);
	default:
		return err_set(err, ERR_SERVICE_UNAVAILABLE,
			       "unexpected status from GET request to %s: %ld%s%s", url, a->status,
			       *code ? " " : "", code);
	}
}

int registry_get(struct registry *r, const char *what, const char *id, uint64_t from,
		 http_body_fn *body, void *arg, struct http_answer *ret, struct err *err)
{
	auto_free char *url = xasprintf("%s/v2/%s/%s/%s", r->base, r->ref->path, what, id);
	for (int attempt = 0;; attempt++) {
		struct call c = {r, body, arg, err, 0, {0}, NULL, ret};
		http_answer_done(ret);
		int rc = get_once(r, url, from, &c);
		/* A token may run out in the middle of a long pull: then once more. */
		if (rc == 0 && ret->status == 401 && attempt == 0) {
			if (c.challenge && strncasecmp(c.challenge, "basic", 5) == 0 &&
			    !r->username)
				rc = denied(r, "no basic auth credentials", err);
			else
				rc = sign_in(r, c.challenge, err);
			strbuf_done(&c.error_doc);
			free(c.challenge);
			if (rc < 0)
				return rc;
			continue;
		}
		strbuf_done(&c.error_doc);
		free(c.challenge);
		if (rc < 0 || ret->status / 100 == 2 || ret->status == 416)
			return rc;
		return status_err(r, url, ret, err);
	}
}

struct registry *registry_open(const struct image_ref *ref, const char *username,
			       const char *password, struct err *err)
{
	struct registry *r = xnew(struct registry);
	bool hub = streq(ref->domain, "docker.io");
	r->ref = ref;
	r->username = str_empty(username) ? NULL : username;
	r->password = password;
	r->loopback = host_is_loopback(ref->domain);
	r->base = xasprintf("%s://%s", r->loopback ? "http" : "https",
			    hub ? "registry-1.docker.io" : ref->domain);
	if (curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK)
		r->curl = curl_easy_init();
	if (!r->curl) {
		registry_close(r);
		err_set(err, ERR_INTERNAL, "cannot start the HTTP client");
		return NULL;
	}
	return r;
}

void registry_close(struct registry *r)
{
	if (r->curl)
		curl_easy_cleanup(r->curl);
	free(r->authorization);
	free(r->base);
	free(r);
}
