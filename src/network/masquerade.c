/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Masquerade for what pods send out of the machine: one nft table of our own, loaded by nft(8) in a
 * child. No other table is touched. Where the kernel or the host has no nftables, pods keep talking
 * to each other and to services; only the way out is missing, and trouble() says so.
 */
#include "internal.h"
#include <arpa/inet.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

struct masquerade {
	struct loop *loop;
	char *table;
	char *trouble;
	struct child *child;
	int err_fd; /* memfd with what nft said */
};

static int memory_file(const char *text)
{
	int fd = memfd_create("nft", MFD_CLOEXEC);

	if (fd >= 0 && text && (write(fd, text, strlen(text)) < 0 || lseek(fd, 0, SEEK_SET) < 0))
		fd = fd_close(fd);
	return fd;
}

/* What nft wrote first, or a general text. */
static char *explain(const struct masquerade *m)
{
	char text[512] = "";
	ssize_t n = pread(m->err_fd, text, sizeof(text) - 1, 0);
	char *end = n > 0 ? strchr(text, '\n') : NULL;

	if (end)
		*end = '\0';
	return xasprintf("no masquerade for pods: nft: %s (the kernel needs CONFIG_NF_TABLES, "
			 "CONFIG_NF_TABLES_IPV4 and CONFIG_NFT_MASQ)",
			 *text ? text : "failed");
}

static void on_loaded(void *arg, int status)
{
	struct masquerade *m = arg;

	m->child = NULL;
	if (!WIFEXITED(status) || WEXITSTATUS(status)) {
		m->trouble = explain(m);
		log_warn("network: %s", m->trouble);
	}
	m->err_fd = fd_close(m->err_fd);
}

static struct child *run_nft(struct masquerade *m, const char *script, child_fn *fn,
			     struct err *err)
{
	static const char *const argv[] = {"nft", "-f", "-", NULL};
	auto_fd int in = memory_file(script);
	struct child_fd fds[] = {{in, 0}, {m->err_fd, 2}};
	struct child_config c = {.argv = argv, .fds = fds, .n_fds = m->err_fd < 0 ? 1 : 2};

	if (in < 0) {
		err_errno(err, errno, "memfd");
		return NULL;
	}
	return child_spawn(m->loop, &c, fn, m, err);
}

struct masquerade *masquerade_start(struct loop *loop, const char *bridge, const struct cidr *pods)
{
	struct masquerade *m = xnew(struct masquerade);
	char net[INET_ADDRSTRLEN];
	auto_free char *script = NULL;
	auto_err err = {0};

	m->loop = loop;
	m->table = xasprintf("coracle_%s", bridge);
	m->err_fd = memory_file(NULL);
	inet_ntop(AF_INET, &pods->addr, net, sizeof(net));
	/* add + delete + add in one transaction: replaces what an earlier daemon left. */
	script = xasprintf("add table ip %s\n"
			   "delete table ip %s\n"
			   "table ip %s {\n"
			   "  chain postrouting {\n"
			   "    type nat hook postrouting priority srcnat; policy accept;\n"
			   "    ip saddr %s/%u ip daddr != %s/%u oifname != \"%s\" masquerade\n"
			   "  }\n"
			   "}\n",
			   m->table, m->table, m->table, net, pods->prefix, net, pods->prefix,
			   bridge);
	for (char *p = m->table; *p; p++)
		if (!strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_", *p))
			m->trouble = xasprintf("no masquerade for pods: \"%s\" cannot be part of "
					       "an nft table's name",
					       bridge);
	if (m->trouble)
		return m;
	m->child = run_nft(m, script, on_loaded, &err);
	if (!m->child) {
		m->trouble = xasprintf("no masquerade for pods: %s", err_message(&err));
		log_warn("network: %s", m->trouble);
	}
	return m;
}

const char *masquerade_trouble(const struct masquerade *m)
{
	return m->trouble;
}

bool masquerade_settled(const struct masquerade *m)
{
	return !m->child;
}

void masquerade_stop(struct masquerade *m, bool remove)
{
	auto_free char *script = xasprintf("delete table ip %s\n", m->table);
	struct child *c;

	if (m->child)
		child_abandon(m->child);
	c = remove && !m->trouble ? run_nft(m, script, NULL, NULL) : NULL;
	if (c)
		waitpid(child_pid(c), NULL, 0); /* the daemon is on its way out */
	fd_close(m->err_fd);
	free(m->table);
	free(m->trouble);
	free(m);
}
