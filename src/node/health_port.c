/* SPDX-License-Identifier: Apache-2.0 */
#include "health_port.h"

#include <arpa/inet.h>
#include <coracle/http.h>

struct health_port {
	struct http_server *server; /* NULL: could not listen */
	char *ns, *name;
	uint16_t port;
	size_t endpoints;
};

enum { CONNECTIONS_MAX = 64, IDLE_SECONDS = 30 };

/* Any method and path, as kube-proxy. */
static void on_request(void *arg, struct http_request *req)
{
	const struct health_port *h = arg;
	auto_free char *body =
		xasprintf("{\n\t\"service\": {\n\t\t\"namespace\": \"%s\",\n\t\t\"name\": \"%s\"\n"
			  "\t},\n\t\"localEndpoints\": %zu,\n\t\"serviceProxyHealthy\": true\n}",
			  h->ns, h->name, h->endpoints);
	char weight[24];

	snprintf(weight, sizeof(weight), "%zu", h->endpoints);
	http_respond_header(req, "X-Content-Type-Options", "nosniff");
	http_respond_header(req, "X-Load-Balancing-Endpoint-Weight", weight);
	http_respond(req, h->endpoints ? 200 : 503, "application/json", body, strlen(body));
}

static void listen_at(struct health_port *h, struct loop *loop)
{
	struct sockaddr_in any = {.sin_family = AF_INET, .sin_port = htons(h->port)};
	struct http_server_config c = {.listen.unix_gid = (gid_t)-1,
				       .idle_seconds = IDLE_SECONDS,
				       .max_connections = CONNECTIONS_MAX,
				       .on_request = on_request,
				       .arg = h};
	auto_err err = {0};

	any.sin_addr.s_addr = htonl(INADDR_ANY);
	memcpy(&c.listen.addr.ss, &any, sizeof(any));
	c.listen.addr.len = sizeof(any);
	h->server = http_server_new(loop, &c, &err);
	if (!h->server)
		log_warn("service %s/%s: health check port: %s", h->ns, h->name, err_message(&err));
}

void health_port_free(struct health_port *h)
{
	if (!h)
		return;
	if (h->server)
		http_server_free(h->server);
	free(h->ns);
	free(h->name);
	free(h);
}

void health_port_set(struct health_port **h, struct loop *loop, const char *ns, const char *name,
		     uint16_t port, size_t endpoints)
{
	if (*h && (*h)->port != port) {
		health_port_free(*h);
		*h = NULL;
	}
	if (!port)
		return;
	if (!*h) {
		*h = xnew(struct health_port);
		(*h)->ns = xstrdup(ns);
		(*h)->name = xstrdup(name);
		(*h)->port = port;
	}
	(*h)->endpoints = endpoints;
	if (!(*h)->server)
		listen_at(*h, loop);
}
