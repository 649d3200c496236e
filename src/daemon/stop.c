/* SPDX-License-Identifier: Apache-2.0 */
/* `coracled --stop-pods`: asks the running daemon over its socket, and waits until it has ended. */
#include "internal.h"

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
	a->why = xstrdup_null(answer ? answer->body : why);
}

int stop_pods(const struct options *o)
{
	static const struct http_call_ops ops = {.on_done = on_done};
	struct http_call_config c = {
		.method = "POST", .path = "/coracle/v1/node/stop?pods=true", .host = "localhost"};
	struct loop *loop = loop_new();
	struct asking a = {0};
	auto_err err = {0};
	int r = 1;

	if (addr_parse(o->api_socket, &c.to) < 0)
		fprintf(stderr, "coracled: %s: path too long\n", o->api_socket);
	else if (!http_call(loop, &c, &ops, &a, &err))
		fprintf(stderr, "coracled: %s\n", err_message(&err));
	else if (loop_run_until(loop, &a.done, 0) < 0 || a.code < 200 || a.code > 299)
		fprintf(stderr, "coracled: cannot stop the pods: %s\n",
			a.why ? a.why : "no answer");
	else
		r = 0;
	free(a.why);
	loop_free(loop);
	return r;
}
