/* SPDX-License-Identifier: Apache-2.0 */
/* files: hosts, resolv.conf and hostname as kubelet writes them. */
#include "files.h"

#define MAX_SERVERS 3
#define MAX_SEARCHES 32
#define MAX_SEARCH_LEN 2048

char *files_hostname(const json_t *pod)
{
	const char *set = json_str(pod, "spec.hostname", "");
	char *name = xstrndup(*set ? set : meta_name(pod), 63);

	for (size_t n = strlen(name); n && (name[n - 1] == '-' || name[n - 1] == '.'); n--)
		name[n - 1] = '\0';
	return name;
}

char *files_fqdn(const json_t *pod, const char *cluster_domain)
{
	const char *sub = json_str(pod, "spec.subdomain", "");
	auto_free char *host = files_hostname(pod);

	if (!*sub)
		return NULL;
	return xasprintf("%s.%s.%s.svc.%s", host, sub, meta_ns(pod), cluster_domain);
}

/* ---- hosts ------------------------------------------------------------------------------ */

static void add_aliases(struct strbuf *b, const json_t *pod)
{
	size_t i, j;
	json_t *alias, *name;

	if (!json_len(pod, "spec.hostAliases"))
		return;
	strbuf_adds(b, "\n# Entries added by HostAliases.\n");
	json_array_foreach(json_at(pod, "spec.hostAliases"), i, alias)
	{
		strbuf_adds(b, json_str(alias, "ip", ""));
		json_array_foreach(json_object_get(alias, "hostnames"), j, name)
			strbuf_addf(b, "\t%s", json_string_value(name));
		strbuf_addc(b, '\n');
	}
}

char *files_hosts(const json_t *pod, const char *pod_ip, const char *cluster_domain,
		  const char *host_hosts)
{
	auto_free char *host = files_hostname(pod), *fqdn = files_fqdn(pod, cluster_domain);
	struct strbuf b = {0};

	if (host_hosts) {
		strbuf_adds(&b, "# Kubernetes-managed hosts file (host network).\n");
		strbuf_adds(&b, host_hosts);
		add_aliases(&b, pod);
		return strbuf_steal(&b);
	}
	strbuf_adds(&b, "# Kubernetes-managed hosts file.\n"
			"127.0.0.1\tlocalhost\n"
			"::1\tlocalhost ip6-localhost ip6-loopback\n"
			"fe00::0\tip6-localnet\n"
			"fe00::0\tip6-mcastprefix\n"
			"fe00::1\tip6-allnodes\n"
			"fe00::2\tip6-allrouters\n");
	if (fqdn)
		strbuf_addf(&b, "%s\t%s\t%s\n", pod_ip, fqdn, host);
	else
		strbuf_addf(&b, "%s\t%s\n", pod_ip, host);
	add_aliases(&b, pod);
	return strbuf_steal(&b);
}

/* ---- resolv.conf ------------------------------------------------------------------------ */

struct resolv {
	struct strv servers, searches, options;
};

static void resolv_done(struct resolv *r)
{
	strv_done(&r->servers);
	strv_done(&r->searches);
	strv_done(&r->options);
}

static void add_once(struct strv *l, const char *s)
{
	if (!strv_has(l, s))
		strv_add(l, s);
}

static void resolv_line(struct resolv *r, char *line)
{
	char *save = NULL, *word = strtok_r(line, " \t", &save), *rest;

	if (!word || *word == '#' || *word == ';')
		return;
	if (streq(word, "search") || streq(word, "domain"))
		strv_done(&r->searches); /* the last line counts: resolv.conf(5) */
	while ((rest = strtok_r(NULL, " \t", &save))) {
		if (streq(word, "nameserver"))
			add_once(&r->servers, rest);
		else if (streq(word, "search") || streq(word, "domain"))
			add_once(&r->searches, rest);
		else if (streq(word, "options"))
			add_once(&r->options, rest);
	}
}

static void resolv_parse(struct resolv *r, const char *text)
{
	auto_strv lines = {0};

	strv_split(&lines, text ? text : "", '\n');
	for (size_t i = 0; i < lines.n; i++)
		resolv_line(r, lines.v[i]);
}

static bool cluster_first(const json_t *pod)
{
	const char *policy = json_str(pod, "spec.dnsPolicy", "ClusterFirst");

	return streq(policy, "ClusterFirstWithHostNet") ||
	       (streq(policy, "ClusterFirst") && !json_bool(pod, "spec.hostNetwork", false));
}

/* Replaces servers, puts the cluster's search list in front of the host's. */
static void resolv_cluster(struct resolv *r, const json_t *pod, const char *dns_ip,
			   const char *domain)
{
	struct strv searches = {0};

	strv_addf(&searches, "%s.svc.%s", meta_ns(pod), domain);
	strv_addf(&searches, "svc.%s", domain);
	strv_add(&searches, domain);
	for (size_t i = 0; i < r->searches.n; i++)
		add_once(&searches, r->searches.v[i]);
	strv_done(&r->searches);
	r->searches = searches;
	strv_done(&r->servers);
	strv_add(&r->servers, dns_ip);
	strv_done(&r->options);
	strv_add(&r->options, "ndots:5");
}

/* dnsConfig.options: a later one of the same name wins. */
static void option_put(struct strv *options, const char *name, const char *value)
{
	char *text = value ? xasprintf("%s:%s", name, value) : xstrdup(name);
	size_t len = strlen(name);

	for (size_t i = 0; i < options->n; i++) {
		char *o = options->v[i];
		if (strncmp(o, name, len) || (o[len] && o[len] != ':'))
			continue;
		free(o);
		options->v[i] = text;
		return;
	}
	strv_take(options, text);
}

static void resolv_config(struct resolv *r, const json_t *dns)
{
	size_t i;
	json_t *v;

	json_array_foreach(json_object_get(dns, "nameservers"), i, v)
		add_once(&r->servers, json_string_value(v));
	json_array_foreach(json_object_get(dns, "searches"), i, v)
		add_once(&r->searches, json_string_value(v));
	json_array_foreach(json_object_get(dns, "options"), i, v)
		option_put(&r->options, json_str(v, "name", ""), json_str(v, "value", NULL));
}

static void add_words(struct strbuf *b, const char *key, const struct strv *words, size_t max,
		      size_t max_len)
{
	size_t len = 0;

	for (size_t i = 0; i < words->n && i < max; i++) {
		len += strlen(words->v[i]) + 1;
		if (len > max_len)
			break;
		strbuf_addf(b, "%s%s", i ? " " : key, words->v[i]);
	}
	if (words->n)
		strbuf_addc(b, '\n');
}

char *files_resolv(const json_t *pod, const char *host_resolv, const char *dns_ip,
		   const char *cluster_domain)
{
	__attribute__((cleanup(resolv_done))) struct resolv r = {0};
	struct strbuf b = {0};

	if (!streq(json_str(pod, "spec.dnsPolicy", "ClusterFirst"), "None"))
		resolv_parse(&r, host_resolv);
	if (cluster_first(pod))
		resolv_cluster(&r, pod, dns_ip, cluster_domain);
	resolv_config(&r, json_at(pod, "spec.dnsConfig"));
	add_words(&b, "search ", &r.searches, MAX_SEARCHES, MAX_SEARCH_LEN);
	for (size_t i = 0; i < r.servers.n && i < MAX_SERVERS; i++)
		strbuf_addf(&b, "nameserver %s\n", r.servers.v[i]);
	add_words(&b, "options ", &r.options, SIZE_MAX, SIZE_MAX);
	return strbuf_steal(&b);
}
