/* SPDX-License-Identifier: Apache-2.0 */
/* spec: a container of a pod as the runtime wants it. Pure apart from image_user(). */
#ifndef CORACLE_NODE_SPEC_H
#define CORACLE_NODE_SPEC_H

#include "env.h"
#include <coracle/image.h>
#include <coracle/runtime.h>

/* A container_config with the memory its pointers lead to. Zero-initialise. */
struct spec {
	struct container_config config;
	struct strv argv, envp, layers, cap_add, cap_drop;
	struct strv strings; /* owns single strings: paths, ids */
	uint32_t *groups;
	struct mount_spec *mounts;
	struct device_spec *devices;
};
void spec_done(struct spec *s);
#define auto_spec __attribute__((cleanup(spec_done))) struct spec
/* Keeps a copy of text as long as the spec lives. */
const char *spec_keep(struct spec *s, const char *text);
const char *spec_keepf(struct spec *s, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* source and target are kept as copies; source NULL: tmpfs. */
void spec_add_mount(struct spec *s, const char *source, const char *target, unsigned flags,
		    uint64_t size);
void spec_add_device(struct spec *s, const char *path, const char *host_path, const char *access);
void spec_add_group(struct spec *s, uint32_t gid);

/* command and args over the image's entrypoint and cmd, with $(VAR) expanded. */
int spec_argv(struct spec *s, const json_t *container, const struct image *image,
	      const struct env *env, struct err *err) MUST_CHECK;
/* User, groups, capabilities, privileges of container over pod securityContext. */
int spec_security(struct spec *s, const json_t *pod, const json_t *container,
		  const struct image *image, struct err *err) MUST_CHECK;
/* Everything of the container that needs no mounts and no environment: limits, tty, stdin, cwd. */
void spec_basics(struct spec *s, const json_t *pod, const json_t *container,
		 const struct image *image, int64_t node_memory);

/* resources of a container; and of the whole pod: limits only when every container has one. */
struct resource_limits spec_limits(const json_t *container);
struct resource_limits spec_pod_limits(const json_t *pod);
/* kubelet's GetContainerOOMScoreAdjust. */
int spec_oom_score(const json_t *pod, const json_t *container, int64_t node_memory);
/* spec.securityContext.fsGroup, or (gid_t)-1. */
gid_t spec_fs_group(const json_t *pod);
/* The runAsUser that all containers of the pod have, or (uid_t)-1. */
uid_t spec_common_user(const json_t *pod);
/* "SIGTERM", "TERM" or "15" to a number; SIGTERM for others. */
int spec_stop_signal(const char *text);

#endif
