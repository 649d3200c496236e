/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pulling: from a registry of our own that misbehaves on demand (cuts, wrong bytes, tokens), and
 * from Debian's docker-registry where that is installed. Everything is on loopback.
 */
#include "image_fixture.h"
#include <arpa/inet.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/utsname.h>
#include <sys/wait.h>

/* ---- a registry that misbehaves --------------------------------------------------------- */

enum { MAX_DOCS = 16 };

struct doc {
	char path[200];
	const char *type;
	struct bytes body;
};

/* Shared with the server's process. */
struct knobs {
	unsigned requests, blob_requests;
	uint64_t range_from;  /* of the last blob request */
	unsigned cuts;	      /* so many blob answers end half-way */
	bool ignore_range;    /* answers 200 and all of it */
	bool wrong_blob;      /* other bytes than the digest says */
	bool bearer, basic;   /* wants a token, or a password */
	bool redirect;	      /* blobs lie elsewhere */
	bool leaked;	      /* the credentials came along to the other place */
	unsigned stop_status; /* not 0: every manifest gets this */
};

struct server {
	pid_t pid;
	int port;
	struct knobs *knobs;
	struct doc docs[MAX_DOCS];
	size_t n;
};

static void doc_add(struct server *s, const char *path, const char *type, const char *data,
		    size_t len)
{
	struct doc *d = &s->docs[s->n++];
	assert_true(s->n <= MAX_DOCS);
	snprintf(d->path, sizeof(d->path), "%s", path);
	d->type = type;
	d->body = (struct bytes){xmalloc(len + 1), len};
	memcpy(d->body.data, data, len);
}

static void send_all(int fd, const char *data, size_t len)
{
	while (len > 0) {
		ssize_t n = send(fd, data, len, MSG_NOSIGNAL);
		if (n <= 0)
			return;
		data += n;
		len -= (size_t)n;
	}
}

static void reply(int fd, const char *status, const char *headers, const char *body)
{
	auto_free char *text =
		xasprintf("HTTP/1.1 %s\r\nContent-Length: %zu\r\nConnection: close\r\n%s\r\n%s",
			  status, strlen(body), headers, body);
	send_all(fd, text, strlen(text));
}

static void reply_blob(struct server *s, int fd, const struct doc *d, uint64_t from)
{
	struct knobs *k = s->knobs;
	k->blob_requests++;
	k->range_from = from;
	if (k->ignore_range)
		from = 0;
	size_t len = d->body.len - from, sent = len;
	auto_free char *head =
		xasprintf("HTTP/1.1 %s\r\nContent-Length: %zu\r\nConnection: close\r\n\r\n",
			  from ? "206 Partial Content" : "200 OK", len);
	if (k->cuts > 0) {
		k->cuts--;
		sent = len / 2;
	}
	send_all(fd, head, strlen(head));
	auto_free char *copy = xmalloc(len + 1);
	memcpy(copy, d->body.data + from, len);
	if (k->wrong_blob)
		copy[len / 2] ^= 1;
	send_all(fd, copy, sent);
}

static bool signed_in(const struct server *s, const char *request)
{
	if (s->knobs->bearer)
		return strstr(request, "Authorization: Bearer t0ken\r\n");
	return strstr(request, "Authorization: Basic dXNlcjpzZWNyZXQ=\r\n"); /* user:secret */
}

static void reply_token(struct server *s, int fd, const char *request)
{
	bool ok =
		strstr(request, "service=reg") && strstr(request, "scope=repository%3Aapp%3Apull");
	(void)s;
	reply(fd, ok ? "200 OK" : "400 Bad Request", "", ok ? "{\"token\":\"t0ken\"}" : "");
}

static void challenge(struct server *s, int fd)
{
	auto_free char *bearer = xasprintf("WWW-Authenticate: Bearer "
					   "realm=\"http://127.0.0.1:%d/token\",service=\"reg\","
					   "scope=\"repository:app:pull\"\r\n",
					   s->port);
	reply(fd, "401 Unauthorized",
	      s->knobs->bearer ? bearer : "WWW-Authenticate: Basic realm=\"x\"\r\n",
	      "{\"errors\":[{\"code\":\"UNAUTHORIZED\"}]}");
}

static void reply_doc(struct server *s, int fd, const char *path, const char *request)
{
	const char *range = strstr(request, "Range: bytes=");
	bool elsewhere = str_starts(path, "/elsewhere");
	if (elsewhere) {
		path += strlen("/elsewhere");
		s->knobs->leaked = strstr(request, "Authorization:") != NULL;
	}
	for (size_t i = 0; i < s->n; i++) {
		const struct doc *d = &s->docs[i];
		if (!streq(d->path, path))
			continue;
		bool blob = strstr(path, "/blobs/") && streq(d->type, "layer");
		if (blob && s->knobs->redirect && !elsewhere) {
			auto_free char *to = xasprintf(
				"Location: http://localhost:%d/elsewhere%s\r\n", s->port, path);
			reply(fd, "307 Temporary Redirect", to, "");
		} else if (blob) {
			reply_blob(s, fd, d, range ? strtoull(range + 13, NULL, 10) : 0);
		} else {
			auto_free char *type = xasprintf("Content-Type: %s\r\n", d->type);
			reply(fd, "200 OK", type, d->body.data);
		}
		return;
	}
	reply(fd, "404 Not Found", "", "{\"errors\":[{\"code\":\"MANIFEST_UNKNOWN\"}]}");
}

static void serve_one(struct server *s, int fd)
{
	char request[8192], path[1024];
	size_t len = 0;
	while (len < sizeof(request) - 1) {
		ssize_t n = recv(fd, request + len, sizeof(request) - 1 - len, 0);
		if (n <= 0)
			return;
		len += (size_t)n;
		request[len] = '\0';
		if (strstr(request, "\r\n\r\n"))
			break;
	}
	if (sscanf(request, "GET %1023s", path) != 1)
		return;
	s->knobs->requests++;
	if (str_starts(path, "/token"))
		reply_token(s, fd, request);
	else if (s->knobs->stop_status && strstr(path, "/manifests/"))
		reply(fd, s->knobs->stop_status == 429 ? "429 Too Many Requests" : "500 Oh", "",
		      "");
	else if ((s->knobs->bearer || s->knobs->basic) && !str_starts(path, "/elsewhere") &&
		 !signed_in(s, request))
		challenge(s, fd);
	else
		reply_doc(s, fd, path, request);
}

static void server_start(struct server *s)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(a);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&a, len), 0);
	assert_int_equal(listen(fd, 16), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&a, &len), 0);
	s->port = ntohs(a.sin_port);
	s->knobs = mmap(NULL, sizeof(*s->knobs), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
			-1, 0);
	s->pid = fork();
	if (s->pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		for (;;) {
			int c = accept4(fd, NULL, NULL, SOCK_CLOEXEC);
			if (c < 0)
				_exit(1);
			serve_one(s, c);
			close(c);
		}
	}
	close(fd);
}

static void server_stop(struct server *s)
{
	kill(s->pid, SIGKILL);
	waitpid(s->pid, NULL, 0);
	munmap(s->knobs, sizeof(*s->knobs));
	for (size_t i = 0; i < s->n; i++)
		free(s->docs[i].body.data);
	free(s);
}

/* ---- an image in it --------------------------------------------------------------------- */

#define OCI "application/vnd.oci.image."

static char *blob_add(struct server *s, const char *type, const char *data, size_t len)
{
	const struct bytes b = {(char *)(uintptr_t)data, len};
	char *digest = bytes_digest(&b);
	auto_free char *path = xasprintf("/v2/app/blobs/%s", digest);
	doc_add(s, path, type, data, len);
	return digest;
}

/* app:1 is a manifest, app:multi an index with it for this machine. */
static struct server *server_new(char **ret_layer)
{
	struct server *s = xnew(struct server);
	auto_free char *noise = xmalloc(300001);
	for (size_t i = 0; i < 300000; i++)
		noise[i] = (char)('a' + (i * i * 31 + i / 7) % 26);
	noise[300000] = '\0';
	const struct tar_entry entries[] = {{.path = "bin/app", .type = AE_IFREG, .data = noise}};
	struct layer l = layer_make(entries, 1, ARCHIVE_FILTER_NONE);
	auto_free char *config = config_make(&l, 1, NULL);
	auto_free char *layer = blob_add(s, "layer", l.blob.data, l.blob.len);
	auto_free char *config_digest = blob_add(s, "config", config, strlen(config));
	auto_free char *manifest = xasprintf(
		"{\"schemaVersion\":2,\"mediaType\":\"" OCI "manifest.v1+json\",\"config\":{"
		"\"mediaType\":\"" OCI "config.v1+json\",\"digest\":\"%s\",\"size\":%zu},"
		"\"layers\":[{\"mediaType\":\"" OCI
		"layer.v1.tar\",\"digest\":\"%s\",\"size\":%zu}]}",
		config_digest, strlen(config), layer, l.blob.len);
	const struct bytes mb = {manifest, strlen(manifest)};
	auto_free char *digest = bytes_digest(&mb), *by = xasprintf("/v2/app/manifests/%s", digest);
	doc_add(s, "/v2/app/manifests/1", OCI "manifest.v1+json", mb.data, mb.len);
	doc_add(s, by, OCI "manifest.v1+json", mb.data, mb.len);
	struct utsname u;
	uname(&u);
	const char *arch = streq(u.machine, "x86_64")	 ? "amd64"
			   : streq(u.machine, "aarch64") ? "arm64"
							 : u.machine;
	auto_free char *index = xasprintf(
		"{\"schemaVersion\":2,\"mediaType\":\"" OCI "index.v1+json\",\"manifests\":["
		"{\"mediaType\":\"" OCI "manifest.v1+json\",\"digest\":\"%s\",\"size\":1,"
		"\"platform\":{\"os\":\"linux\",\"architecture\":\"wasm\"}},"
		"{\"mediaType\":\"" OCI "manifest.v1+json\",\"digest\":\"%s\",\"size\":%zu,"
		"\"platform\":{\"os\":\"linux\",\"architecture\":\"%s\"}}]}",
		config_digest, digest, mb.len, arch);
	doc_add(s, "/v2/app/manifests/multi", OCI "index.v1+json", index, strlen(index));
	doc_add(s, "/v2/app/manifests/helm", OCI "manifest.v1+json",
		"{\"schemaVersion\":2,\"config\":{\"mediaType\":\"application/"
		"vnd.cncf.helm.config.v1+json\",\"digest\":\"sha256:"
		"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\",\"size\":2},"
		"\"layers\":[]}",
		strlen("{\"schemaVersion\":2,\"config\":{\"mediaType\":\"application/"
		       "vnd.cncf.helm.config.v1+json\",\"digest\":\"sha256:"
		       "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\","
		       "\"size\":2},\"layers\":[]}"));
	for (size_t i = 0; i < s->n; i++)
		s->docs[i].body.data[s->docs[i].body.len] = '\0';
	if (ret_layer)
		*ret_layer = xstrdup(layer);
	layer_done(&l);
	server_start(s);
	return s;
}

static void pull(struct fixture *f, const struct server *s, const char *what,
		 const struct image_auth *auth, struct outcome *o)
{
	auto_free char *ref = xasprintf("127.0.0.1:%d/app%s", s->port, what);
	auto_err err = {0};
	*o = (struct outcome){0};
	if (!image_pull(f->store, ref, auth, &outcome_ops, o, &err))
		fail_msg("%s", err_message(&err));
	outcome_wait(f, o);
}

static void pull_ok(struct fixture *f, const struct server *s, const char *what,
		    const struct image_auth *auth)
{
	struct outcome o;
	pull(f, s, what, auth, &o);
	if (o.err.message)
		fail_msg("%s", o.err.message);
	assert_int_equal(o.n, 1);
	auto_free char *file = path_join(o.image->layers[0], "bin/app");
	struct stat st;
	assert_int_equal(lstat(file, &st), 0);
	assert_int_equal(st.st_size, 300000);
	assert_int_equal(dir_count(f->dir, "partial"), 0);
	assert_int_equal(dir_count(f->dir, "tmp"), 0);
}

static void pull_fails(struct fixture *f, const struct server *s, const char *what,
		       const struct image_auth *auth, enum err_reason reason, const char *message)
{
	struct outcome o;
	pull(f, s, what, auth, &o);
	if (!o.err.message || !strstr(o.err.message, message) || o.err.reason != reason)
		fail_msg("want %s \"%s\", got %s \"%s\"", err_reason_name(reason), message,
			 err_reason_name(o.err.reason), err_message(&o.err));
	assert_non_null(strstr(o.err.message, "failed to pull and unpack image \"127.0.0.1:"));
	err_done(&o.err);
	assert_store_clean(f);
}

/* ---- the tests -------------------------------------------------------------------------- */

static void test_pull(void **state)
{
	struct fixture *f = *state;
	struct server *s = server_new(NULL);
	pull_ok(f, s, ":1", NULL);
	pull_ok(f, s, ":multi", NULL);
	assert_int_equal(s->knobs->blob_requests, 1); /* the layer was here already */
	assert_int_equal(image_at(f->store, 0)->n_refs, 2);
	auto_free char *digest = xstrdup(image_at(f->store, 0)->repo_digests[0]);
	auto_free char *what = xstrdup(strchr(digest, '@'));
	pull_ok(f, s, what, NULL);
	assert_non_null(image_find(f->store, digest));
	fixture_reopen(f);
	assert_non_null(image_find(f->store, digest));
	server_stop(s);
}

static void test_pull_errors(void **state)
{
	struct fixture *f = *state;
	struct server *s = server_new(NULL);
	auto_err err = {0};
	struct outcome o = {0};
	pull_fails(f, s, ":none", NULL, ERR_NOT_FOUND, ":none: not found");
	pull_fails(f, s, ":helm", NULL, ERR_UNSUPPORTED_MEDIA_TYPE, "not a container image");
	s->knobs->wrong_blob = true;
	pull_fails(f, s, ":1", NULL, ERR_INVALID, "digest mismatch");
	s->knobs->wrong_blob = false;
	s->knobs->stop_status = 500;
	pull_fails(f, s, ":1", NULL, ERR_SERVICE_UNAVAILABLE, "unexpected status");
	s->knobs->stop_status = 429;
	pull_fails(f, s, ":1", NULL, ERR_TOO_MANY_REQUESTS, "429 Too Many Requests");
	s->knobs->stop_status = 0;
	s->knobs->basic = true;
	pull_fails(f, s, ":1", NULL, ERR_UNAUTHORIZED, "no basic auth credentials");
	kill(s->pid, SIGKILL);
	pull_fails(f, s, ":1", NULL, ERR_SERVICE_UNAVAILABLE, "failed to do request: Get");
	assert_null(image_pull(f->store, "Bad Name", NULL, &outcome_ops, &o, &err));
	assert_non_null(strstr(err_message(&err), "invalid reference format"));
	server_stop(s);
}

static void test_pull_resume(void **state)
{
	struct fixture *f = *state;
	char *layer = NULL;
	struct server *s = server_new(&layer);
	auto_free char *partial = xasprintf("%s/partial/%s", f->dir, layer + 7);
	struct stat st;
	/* Cut in the middle: goes on by itself from there. */
	s->knobs->cuts = 2;
	pull_ok(f, s, ":1", NULL);
	assert_true(s->knobs->range_from > 150000);
	assert_int_equal(s->knobs->blob_requests, 3);
	/* Every time too short, until it gives up: the part stays and the next pull starts there.
	 */
	assert_int_equal(image_remove(f->store, image_at(f->store, 0)->digest, NULL), 0);
	workers_wait(f);
	s->knobs->cuts = 6;
	s->knobs->blob_requests = 0;
	pull_fails(f, s, ":1", NULL, ERR_SERVICE_UNAVAILABLE, "transfer closed");
	assert_int_equal(stat(partial, &st), 0);
	assert_true(st.st_size > 250000);
	pull_ok(f, s, ":1", NULL);
	assert_int_equal(s->knobs->range_from, st.st_size);
	/* A rotten part and a server that knows no ranges: both end well. */
	static const bool ignores[] = {false, true};
	for (size_t i = 0; i < ARRAY_SIZE(ignores); i++) {
		assert_int_equal(image_remove(f->store, image_at(f->store, 0)->digest, NULL), 0);
		workers_wait(f);
		bytes_put(partial, "rotten", 6);
		s->knobs->ignore_range = ignores[i];
		pull_ok(f, s, ":1", NULL);
	}
	free(layer);
	server_stop(s);
}

static void test_pull_auth(void **state)
{
	struct fixture *f = *state;
	struct server *s = server_new(NULL);
	const struct image_auth good = {"user", "secret"}, wrong = {"user", "guess"};
	s->knobs->basic = true;
	pull_fails(f, s, ":1", &wrong, ERR_UNAUTHORIZED, "pull access denied");
	s->knobs->redirect = true;
	pull_ok(f, s, ":1", &good);
	assert_false(s->knobs->leaked);
	assert_int_equal(image_remove(f->store, image_at(f->store, 0)->digest, NULL), 0);
	workers_wait(f);
	s->knobs->basic = false;
	s->knobs->bearer = true;
	pull_ok(f, s, ":1", NULL);
	assert_false(s->knobs->leaked);
	server_stop(s);
}

/* Two wishes for one reference are one worker; one of them may go. */
static void test_pull_shared(void **state)
{
	struct fixture *f = *state;
	struct server *s = server_new(NULL);
	auto_free char *ref = xasprintf("127.0.0.1:%d/app:1", s->port);
	struct outcome a = {0}, b = {0}, c = {0};
	struct image_job *ja = image_pull(f->store, ref, NULL, &outcome_ops, &a, NULL);
	assert_non_null(image_pull(f->store, ref, NULL, &outcome_ops, &b, NULL));
	image_job_cancel(ja);
	assert_non_null(image_pull(f->store, ref, NULL, &outcome_ops, &c, NULL));
	outcome_wait(f, &b);
	assert_true(c.done);
	assert_false(a.done);
	assert_ptr_equal(b.image, c.image);
	assert_int_equal(s->knobs->requests, 3); /* manifest, config, layer: once */
	server_stop(s);
}

/* ---- Debian's docker-registry ----------------------------------------------------------- */

/* Starts it on a port of its own choice, which its log tells. */
static pid_t registry_start(const struct fixture *f, int *ret_port)
{
	auto_free char *conf = fixture_path(f, "registry.yml"), *root = fixture_path(f, "registry");
	auto_free char *text =
		xasprintf("version: 0.1\nstorage:\n  filesystem: {rootdirectory: %s}\nhttp: {addr: "
			  "\"127.0.0.1:0\"}\nlog: {accesslog: {disabled: true}}\n",
			  root);
	int fds[2];
	char line[8192];
	bytes_put(conf, text, strlen(text));
	assert_int_equal(pipe(fds), 0);
	pid_t pid = fork();
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		dup2(fds[1], 1);
		dup2(fds[1], 2);
		execlp("docker-registry", "docker-registry", "serve", conf, (char *)NULL);
		_exit(127);
	}
	close(fds[1]);
	FILE *log = fdopen(fds[0], "r");
	*ret_port = 0;
	while (!*ret_port && fgets(line, sizeof(line), log)) {
		const char *at = strstr(line, "listening on 127.0.0.1:");
		if (at)
			*ret_port = atoi(at + strlen("listening on 127.0.0.1:"));
	}
	if (*ret_port == 0)
		fclose(log); /* else it stays open: the registry goes on writing to it */
	return pid;
}

static const char push_script[] =
	"set -e; dir=$1; base=http://127.0.0.1:$2/v2/demo/app; for b in $dir/blobs/sha256/*; do "
	"d=sha256:${b##*/}; loc=$(curl -sS --noproxy '*' -X POST -D- -o/dev/null "
	"$base/blobs/uploads/ "
	"| tr -d '\\r' | sed -n 's/^Location: //p'); curl -sSf --noproxy '*' -o/dev/null -X PUT -H "
	"'Content-Type: application/octet-stream' --data-binary @$b \"$loc&digest=$d\"; done; "
	"m=$(sed -n 's/.*manifest.v1+json\",\"digest\":\"sha256:\\([0-9a-f]*\\)\".*/\\1/p' "
	"$dir/index.json); curl -sSf --noproxy '*' -o/dev/null -X PUT -H 'Content-Type: "
	"application/vnd.oci.image.manifest.v1+json' --data-binary @$dir/blobs/sha256/$m "
	"$base/manifests/v1";

static void test_docker_registry(void **state)
{
	struct fixture *f = *state;
	auto_free char *root = fixture_path(f, "root"), *layout = fixture_path(f, "layout");
	int port, status;
	if (system("command -v docker-registry curl >/dev/null") != 0) {
		if (getenv("CI"))
			fail_msg("docker-registry or curl is missing");
		skip();
	}
	auto_free char *make =
		xasprintf("mkdir -p %s/bin %s && echo x >%s/bin/app && %s %s.tar app:1 %s "
			  "'[\"/bin/app\"]' && tar -C %s -xf %s.tar",
			  root, layout, root, MKIMAGE_PATH, layout, root, layout, layout);
	assert_int_equal(system(make), 0);
	pid_t registry = registry_start(f, &port);
	assert_true(port > 0);
	auto_free char *port_text = xasprintf("%d", port);
	pid_t push = fork();
	if (push == 0) {
		execl("/bin/sh", "sh", "-c", push_script, "push", layout, port_text, (char *)NULL);
		_exit(127);
	}
	assert_int_equal(waitpid(push, &status, 0), push);
	assert_int_equal(status, 0);
	auto_free char *ref = xasprintf("localhost:%d/demo/app:v1", port);
	auto_free char *gone = xasprintf("localhost:%d/demo/none:v1", port);
	struct outcome good = {0}, bad = {0};
	assert_non_null(image_pull(f->store, ref, NULL, &outcome_ops, &good, NULL));
	assert_non_null(image_pull(f->store, gone, NULL, &outcome_ops, &bad, NULL));
	outcome_wait(f, &good);
	outcome_wait(f, &bad);
	kill(registry, SIGKILL);
	waitpid(registry, NULL, 0);
	if (good.err.message)
		fail_msg("%s", good.err.message);
	assert_non_null(image_find(f->store, ref));
	assert_int_equal(bad.err.reason, ERR_NOT_FOUND);
	err_done(&bad.err);
}

int main(void)
{
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, fixture_setup, fixture_teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_pull),      TEST(test_pull_errors), TEST(test_pull_resume),
		TEST(test_pull_auth), TEST(test_pull_shared), TEST(test_docker_registry),
	};
	if (geteuid() != 0)
		return 77;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
