/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who connects to what an object serves (exec, attach, portforward, proxy) is asked about by
 * admission policies, too: the operation is CONNECT, and the object the options of the request.
 */
#include "internal.h"

static void put_flags(struct call *c, json_t *options)
{
	static const char *const names[] = {"stdin", "stdout", "stderr", "tty"};
	auto_free char *container = http_param(c->req, "container");

	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (call_bool(c, names[i]))
			json_put_bool(options, names[i], true);
	if (!str_empty(container))
		json_put_str(options, "container", container);
}

static void put_exec(struct call *c, json_t *options)
{
	auto_strv words = {0};

	put_flags(c, options);
	http_params(c->req, "command", &words);
	for (size_t i = 0; i < words.n; i++)
		json_array_append_new(json_arr(options, "command"),
				      json_string_nocheck(words.v[i]));
}

/* In a tunnel, where the ports come later, there are none. */
static void put_ports(struct call *c, json_t *options)
{
	auto_strv values = {0};

	http_params(c->req, "ports", &values);
	for (size_t i = 0; i < values.n; i++) {
		auto_strv parts = {0};
		uint64_t port;

		strv_split(&parts, values.v[i], ',');
		for (size_t k = 0; k < parts.n; k++)
			if (str_to_u64(parts.v[k], UINT16_MAX, &port) == 0)
				json_array_append_new(json_arr(options, "ports"),
						      json_integer((json_int_t)port));
	}
}

static void put_path(struct call *c, json_t *options)
{
	const char *rest = c->target.rest ? c->target.rest : "";
	auto_free char *path = http_url_decode(rest, strlen(rest));

	if (!str_empty(path))
		json_put_str(options, "path", path);
}

static const struct {
	const char *sub;
	void (*put)(struct call *c, json_t *options);
} subresources[] = {
	{"exec", put_exec},
	{"attach", put_flags},
	{"portforward", put_ports},
	{"proxy", put_path},
};

int call_connect(struct call *c, const char *sub, struct err *err)
{
	const struct kind *k = c->target.kind;
	struct write_options w = {.by = call_by(c)};
	json_auto_t *options = json_object();

	json_put_str(options, "kind", kind_subresource(k, sub)->kind);
	json_put_str(options, "apiVersion", "v1");
	for (size_t i = 0; i < ARRAY_SIZE(subresources); i++)
		if (streq(subresources[i].sub, sub))
			subresources[i].put(c, options);
	return registry_connect(c->api->registry, k, sub, c->target.ns ? c->target.ns : "",
				c->target.name, options, &w, err);
}
