/* SPDX-License-Identifier: Apache-2.0 */
/* daemon: options, configuration, the table of parts in starting order, and the turn's phases. */
#ifndef CORACLE_DAEMON_H
#define CORACLE_DAEMON_H

/* The Kubernetes API level that clients are told (git version of /version, kubelet version). */
#define CORACLE_KUBERNETES_VERSION "v1.33.0"

/* The whole of coracled; returns its exit code. */
int daemon_main(int argc, char **argv);

#endif
