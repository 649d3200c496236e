/* SPDX-License-Identifier: Apache-2.0 */
/* Options: one table for the command line, the configuration file and their checks. */
#include "internal.h"
#include <getopt.h>
#include <net/if.h>
#include <unistd.h>

#define DEFAULT_CONFIG "/etc/coracle/coracled.yaml"
enum { CONFIG_MAX = 64 * 1024 };

static const char *check_path(const char *v)
{
	return *v == '/' ? NULL : "must be an absolute path";
}

static const char *check_cidr(const char *v)
{
	struct cidr c;

	if (cidr_parse(v, &c) < 0)
		return "must be an IPv4 network such as 10.42.0.0/16";
	return c.prefix >= 8 && c.prefix <= 24 ? NULL : "must have a prefix length from 8 to 24";
}

static const char *check_listen(const char *v)
{
	struct addr a;

	if (streq(v, "none"))
		return NULL;
	return *v != '/' && addr_parse(v, &a) == 0 ? NULL : "must be ADDRESS:PORT or none";
}

static const char *check_bridge(const char *v)
{
	size_t n = strlen(v);

	return n > 0 && n < IFNAMSIZ && !strpbrk(v, "/ \t:") ? NULL
							     : "must be an interface name of at "
							       "most 15 characters";
}

static const char *check_level(const char *v)
{
	enum log_level level;

	return log_level_parse(v, &level) == 0 ? NULL : "must be error, warn, info or debug";
}

struct option_row {
	const char *name;
	size_t offset;				 /* of a char * in struct options */
	const char *fallback;			 /* NULL: made by complete() */
	const char *(*check)(const char *value); /* what is wrong, or NULL */
	const char *arg, *help;
};
#define OPT(field) offsetof(struct options, field)

static const struct option_row rows[] = {
	{"state-dir", OPT(state_dir), "/var/lib/coracle", check_path, "DIR",
	 "objects, images, volumes: all that must last"},
	{"run-dir", OPT(run_dir), "/run/coracle", check_path, "DIR",
	 "sockets and what lasts until the next boot (tmpfs)"},
	{"api-socket", OPT(api_socket), NULL, check_path, "PATH",
	 "local API socket (<run-dir>/api.sock)"},
	{"api-listen", OPT(api_listen), "127.0.0.1:6443", check_listen, "ADDR:PORT",
	 "TLS API address, or none"},
	{"pod-cidr", OPT(pod_cidr), "10.42.0.0/16", check_cidr, "NET", "addresses of pods"},
	{"service-cidr", OPT(service_cidr), "10.43.0.0/16", check_cidr, "NET",
	 "addresses of services"},
	{"cluster-domain", OPT(cluster_domain), "cluster.local", valid_dns1123_subdomain, "NAME",
	 "DNS domain of services"},
	{"bridge", OPT(bridge), "coracle0", check_bridge, "NAME", "bridge of the pods"},
	{"manifest-dir", OPT(manifest_dir), "/etc/coracle/manifests", check_path, "DIR",
	 "manifests applied at start and on change"},
	{"image-dir", OPT(image_dir), "/usr/share/coracle/images", check_path, "DIR",
	 "image archives imported once"},
	{"runtime", OPT(runtime), "", NULL, "NAME", "OCI runtime (crun, else runc)"},
	{"node-name", OPT(node_name), NULL, valid_dns1123_subdomain, "NAME",
	 "name of the Node (the host's name)"},
	{"resolv-conf", OPT(resolv_conf), "/etc/resolv.conf", check_path, "PATH",
	 "servers for names outside the cluster"},
	{"log-level", OPT(log_level), "info", check_level, "LEVEL", "error, warn, info or debug"},
};

static char **slot(struct options *o, const struct option_row *row)
{
	return (char **)(void *)((char *)o + row->offset);
}

static void set(char **where, const char *value)
{
	free(*where);
	*where = xstrdup(value);
}

/* Like set(), for a value that stands behind one that is there already. */
static void set_default(char **where, const char *value)
{
	if (!*where)
		*where = xstrdup(value);
}

enum { FLAG_CONFIG = 1000, FLAG_CHECK, FLAG_STOP, FLAG_HELP, FLAG_VERSION };

static int parse_argv(struct options *o, int argc, char **argv, struct err *err)
{
	static const struct option flags[] = {
		{"config", required_argument, NULL, FLAG_CONFIG},
		{"check-config", no_argument, NULL, FLAG_CHECK},
		{"stop-pods", no_argument, NULL, FLAG_STOP},
		{"help", no_argument, NULL, FLAG_HELP},
		{"version", no_argument, NULL, FLAG_VERSION},
	};
	struct option longs[ARRAY_SIZE(rows) + ARRAY_SIZE(flags) + 1] = {0};
	int c;

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		longs[i] = (struct option){rows[i].name, required_argument, NULL, (int)i + 1};
	memcpy(&longs[ARRAY_SIZE(rows)], flags, sizeof(flags));
	opterr = 0;
	optind = 0;
	while ((c = getopt_long(argc, argv, "h", longs, NULL)) != -1) {
		if (c == FLAG_CONFIG)
			set(&o->config, optarg);
		else if (c == FLAG_CHECK)
			o->check_config = true;
		else if (c == FLAG_STOP)
			o->stop_pods = true;
		else if (c == FLAG_HELP || c == 'h')
			o->help = true;
		else if (c == FLAG_VERSION)
			o->version = true;
		else if (c >= 1 && c <= (int)ARRAY_SIZE(rows))
			set(slot(o, &rows[c - 1]), optarg);
		else
			return err_set(err, ERR_BAD_REQUEST, "unknown or incomplete option %s",
				       argv[optind - 1]);
	}
	if (optind < argc)
		return err_set(err, ERR_BAD_REQUEST, "unexpected argument %s", argv[optind]);
	return 0;
}

static int take_setting(struct options *o, const char *key, const json_t *value, struct err *err)
{
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		if (!streq(key, rows[i].name))
			continue;
		if (!json_is_string(value))
			return err_set(err, ERR_BAD_REQUEST, "%s: must be a string", key);
		set_default(slot(o, &rows[i]), json_string_value(value));
		return 0;
	}
	return err_set(err, ERR_BAD_REQUEST, "unknown setting \"%s\"", key);
}

static int parse_config(struct options *o, const char *text, size_t len, struct err *err)
{
	json_auto_t *docs = yaml_parse_all(text, len, err);
	const char *key;
	json_t *doc, *value;
	size_t i;

	if (!docs)
		return -EINVAL;
	json_array_foreach(docs, i, doc)
	{
		if (!json_is_object(doc))
			return err_set(err, ERR_BAD_REQUEST, "must be a mapping of settings");
		json_object_foreach(doc, key, value)
		{
			int r = take_setting(o, key, value, err);

			if (r < 0)
				return r;
		}
	}
	return 0;
}

/* A file that was named must be there; the default one need not. */
static int read_config(struct options *o, struct err *err)
{
	bool named = o->config != NULL;
	auto_free char *text = NULL;
	size_t len = 0;
	int r;

	set_default(&o->config, DEFAULT_CONFIG);
	r = file_read(o->config, CONFIG_MAX, &text, &len);
	if (r == -ENOENT && !named)
		return 0;
	if (r < 0)
		return err_errno(err, -r, "cannot read %s", o->config);
	r = parse_config(o, text, len, err);
	return r < 0 ? err_wrap(err, r, "%s", o->config) : 0;
}

static char *host_name(void)
{
	char name[256] = "";

	if (gethostname(name, sizeof(name) - 1) < 0 || !*name)
		return xstrdup("localhost");
	for (char *p = name; *p; p++)
		*p = (char)(*p >= 'A' && *p <= 'Z' ? *p + 32 : *p == '_' ? '-' : *p);
	return xstrdup(name);
}

static int complete(struct options *o, struct err *err)
{
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		if (rows[i].fallback)
			set_default(slot(o, &rows[i]), rows[i].fallback);
	if (!o->api_socket)
		o->api_socket = path_join(o->run_dir, "api.sock");
	if (!o->node_name)
		o->node_name = host_name();
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		const char *value = *slot(o, &rows[i]);
		const char *why = rows[i].check ? rows[i].check(value) : NULL;

		if (why)
			return err_set(err, ERR_BAD_REQUEST, "%s: \"%s\": %s", rows[i].name, value,
				       why);
	}
	return 0;
}

static int check_together(const struct options *o, struct err *err)
{
	struct cidr pods, services;

	if (cidr_parse(o->pod_cidr, &pods) < 0 || cidr_parse(o->service_cidr, &services) < 0)
		return -EINVAL;
	if (cidr_contains(&pods, services.addr) || cidr_contains(&services, pods.addr))
		return err_set(err, ERR_BAD_REQUEST, "pod-cidr %s and service-cidr %s overlap",
			       o->pod_cidr, o->service_cidr);
	return 0;
}

int options_load(struct options *o, int argc, char **argv, struct err *err)
{
	int r = parse_argv(o, argc, argv, err);

	if (r == 0 && !o->help && !o->version)
		r = read_config(o, err);
	if (r == 0)
		r = complete(o, err);
	return r == 0 ? check_together(o, err) : r;
}

void options_usage(FILE *out)
{
	fprintf(out, "Usage: coracled [OPTION]...\n"
		     "Kubernetes for one small host: control plane and node in one process.\n\n");
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		auto_free char *left = xasprintf("--%s %s", rows[i].name, rows[i].arg);

		fprintf(out, "  %-24s %s%s%s%s\n", left, rows[i].help,
			str_empty(rows[i].fallback) ? "" : " [",
			str_empty(rows[i].fallback) ? "" : rows[i].fallback,
			str_empty(rows[i].fallback) ? "" : "]");
	}
	fprintf(out, "  %-24s %s [%s]\n", "--config FILE", "settings, by the names above",
		DEFAULT_CONFIG);
	fprintf(out, "  %-24s %s\n", "--check-config", "check the settings and exit");
	fprintf(out, "  %-24s %s\n", "--stop-pods",
		"have the running daemon stop its pods and end");
	fprintf(out, "  %-24s %s\n", "--version", "print the version");
	fprintf(out, "  %-24s %s\n", "--help", "print this");
}

void options_done(struct options *o)
{
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		free(*slot(o, &rows[i]));
	free(o->config);
	*o = (struct options){0};
}
