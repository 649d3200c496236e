/* SPDX-License-Identifier: Apache-2.0 */
/* files: the texts of a pod's /etc/hosts, /etc/resolv.conf and its host name. Pure. */
#ifndef CORACLE_NODE_FILES_H
#define CORACLE_NODE_FILES_H

#include <coracle/base.h>
#include <coracle/json.h>

/* spec.hostname, or the pod's name cut to 63 bytes; caller frees. */
char *files_hostname(const json_t *pod);
/* "<hostname>.<subdomain>.<ns>.svc.<domain>" with spec.subdomain, else NULL; caller frees. */
char *files_fqdn(const json_t *pod, const char *cluster_domain);
/* host_hosts: the node's own /etc/hosts for pods in its network, else NULL. Caller frees. */
char *files_hosts(const json_t *pod, const char *pod_ip, const char *cluster_domain,
		  const char *host_hosts);
/* host_resolv: text of the node's resolv.conf. Limits: 3 name servers, 32 search domains of 2048
 * bytes. Caller frees. */
char *files_resolv(const json_t *pod, const char *host_resolv, const char *dns_ip,
		   const char *cluster_domain);

#endif
