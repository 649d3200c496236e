/* SPDX-License-Identifier: Apache-2.0 */
/* The bundle's config.json (OCI runtime specification 1.0): pure, from plain configs. */
#ifndef CORACLE_RUNTIME_OCI_H
#define CORACLE_RUNTIME_OCI_H

#include "cgroup.h"
#include <coracle/json.h>

/* What the pod contributes to a container's configuration. */
struct oci_pod {
	const char *hostname;
	const char *rootfs;	  /* absolute */
	const char *cgroups_path; /* "/coracle/burstable/<pod>/<container>" */
	const char *shm;	  /* host path of the pod's /dev/shm */
	pid_t sandbox;		  /* whose namespaces are joined */
	pid_t share_pid;	  /* pid 1 of the shared pid namespace, 0: none */
	bool host_network, host_pid, host_ipc;
	const struct cgroup_layout *cgroups;
};

json_t *oci_config_new(const struct oci_pod *pod, const struct container_config *config,
		       struct err *err);
/* The "process" for an exec in a container with this configuration. */
json_t *oci_process_new(const json_t *config, const struct exec_config *exec, struct err *err);
/* linux.seccomp: an allow-list after the one that Docker and containerd use by default. caps: the
 * container's capabilities ("CAP_SYS_ADMIN"), some of which open further calls. */
json_t *oci_seccomp_new(const json_t *caps);

#endif
