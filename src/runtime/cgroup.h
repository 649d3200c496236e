/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Control groups, whichever way the host lays them out: v1 (a hierarchy per controller), v2 (one
 * for all) or hybrid (v1 controllers beside an empty v2 tree), with any controller missing.
 * Paths ("/coracle/burstable/<pod>/<container>") are below the mount point of each hierarchy.
 */
#ifndef CORACLE_RUNTIME_CGROUP_H
#define CORACLE_RUNTIME_CGROUP_H

#include <coracle/runtime.h>

enum cgroup_mode { CGROUP_NONE, CGROUP_V1, CGROUP_HYBRID, CGROUP_V2 };
enum cgroup_controller { CG_CPU, CG_CPUACCT, CG_MEMORY, CG_PIDS, CG_FREEZER, CG_SYSTEMD, CG_COUNT };

struct cgroup_layout {
	enum cgroup_mode mode;
	struct strv mounts;  /* mount points: all of v1, then that of v2 */
	int where[CG_COUNT]; /* index in mounts; -1: this controller does not work here */
	bool swap;	     /* swap is accounted: set by cgroup_probe_swap() */
};

/* Pure: /proc/self/mountinfo, and cgroup.controllers of the v2 tree ("" when there is none). */
void cgroup_layout_parse(struct cgroup_layout *ret, const char *mountinfo,
			 const char *v2_controllers);
int cgroup_layout_detect(struct cgroup_layout *ret) MUST_CHECK;
void cgroup_layout_done(struct cgroup_layout *l);
static inline bool cgroup_has(const struct cgroup_layout *l, enum cgroup_controller c)
{
	return l->where[c] >= 0;
}
/* "cpu memory pids" as far as they work. Caller frees. */
char *cgroup_controllers_text(const struct cgroup_layout *l);
/* Whether memory.swap limits can be given to groups below path. */
void cgroup_probe_swap(struct cgroup_layout *l, const char *path);

/* <mount point><path>/<file>; NULL when the controller is missing. Caller frees. */
char *cgroup_file(const struct cgroup_layout *l, enum cgroup_controller c, const char *path,
		  const char *file);
/* Makes the group where limits are to be written (v2: with all controllers for its children). */
int cgroup_create(const struct cgroup_layout *l, const char *path, struct err *err) MUST_CHECK;
/* Only what is set. Limits of missing controllers are left out silently: see the node's condition.
 */
void cgroup_limit(const struct cgroup_layout *l, const char *path,
		  const struct resource_limits *limits);
/* Kills every process in the group and below. */
void cgroup_kill(const struct cgroup_layout *l, const char *path);
/* Removes the group and those below in every hierarchy. -EBUSY: processes are left in it. */
int cgroup_remove(const struct cgroup_layout *l, const char *path) MUST_CHECK;
int cgroup_read_stats(const struct cgroup_layout *l, const char *path,
		      struct cgroup_stats *ret) MUST_CHECK;

/* Kubernetes' arithmetic (pkg/kubelet/cm/helpers_linux.go): milli-CPUs to shares and quota. */
uint64_t cgroup_shares(int64_t milli_cpu);
int64_t cgroup_quota(int64_t milli_cpu); /* microseconds in a period of 100 ms; -1: none */
/* v1 shares [2,262144] to v2 weight [1,10000]. */
uint64_t cgroup_weight(uint64_t shares);

#endif
