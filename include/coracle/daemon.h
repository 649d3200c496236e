/* SPDX-License-Identifier: Apache-2.0 */
/* daemon: options, configuration, the table of parts in starting order, and the turn's phases. */
#ifndef CORACLE_DAEMON_H
#define CORACLE_DAEMON_H

/* The whole of coracled; returns its exit code. */
int daemon_main(int argc, char **argv);

#endif
