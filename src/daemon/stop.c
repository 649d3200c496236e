/* SPDX-License-Identifier: Apache-2.0 */
/* `coracled --stop-pods`: asks the running daemon over its socket, and waits until it has ended. */
#include "internal.h"

/* One exchange with the daemon. */
struct asking {
	bool done;
	int code; /* HTTP; 0: no answer */
	char *why;
};

static void on_done(void *arg, const struct http_answer *answer, const char *why)
{
	struct asking *a = arg;

	a->done = true;
	a->code = answer ? answer->code : 0;
	free(a->why);
	a->why = xstrdup_null(answer ? answer->body : why);
}

/* The events of the watch that only waits for the daemon's end. */
static void on_ignored(void *arg UNUSED, const void *data UNUSED, size_t len UNUSED)
{
}

static const struct http_call_ops ask_ops = {.on_done = on_done};
static const struct http_call_ops wait_ops = {.on_done = on_done, .on_data = on_ignored};

static bool ask(struct loop *loop, const struct addr *to, const char *method, const char *path,
		const struct http_call_ops *ops, struct asking *a, struct err *err)
{
	struct http_call_config c = {
		.to = *to, .method = method, .path = path, .host = "localhost"};

	a->done = false;
	return http_call(loop, &c, ops, a, err) != NULL;
}

/* Asks, and then holds a watch open: it ends when the daemon does. */
static int stop_and_wait(struct loop *loop, const struct addr *to, struct asking *a,
			 struct err *err)
{
	struct asking end = {0};
	int r = -EIO;

	if (!ask(loop, to, "GET", "/api/v1/namespaces?watch=true&timeoutSeconds=86400", &wait_ops,
		 &end, err) ||
	    !ask(loop, to, "POST", "/coracle/v1/node/stop?pods=true", &ask_ops, a, err))
		return r;
	if (loop_run_until(loop, &a->done, 0) == 0 && a->code >= 200 && a->code <= 299)
		r = loop_run_until(loop, &end.done, 0);
	else
		err_set(err, ERR_INTERNAL, "cannot stop the pods: %s",
			a->why ? a->why : "no answer");
	free(end.why);
	return r;
}

int stop_pods(const struct options *o)
{
	struct loop *loop = loop_new();
	struct asking a = {0};
	struct addr to;
	auto_err err = {0};
	int r;

	if (addr_parse(o->api_socket, &to) < 0)
		r = err_set(&err, ERR_BAD_REQUEST, "%s: path too long", o->api_socket);
	else
		r = stop_and_wait(loop, &to, &a, &err);
	if (r < 0)
		fprintf(stderr, "coracled: %s\n", err_message(&err));
	free(a.why);
	loop_free(loop);
	return r < 0 ? 1 : 0;
}
