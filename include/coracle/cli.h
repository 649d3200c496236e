/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cli: the client `coracle`, kubectl's verbs over the local socket of coracled.
 *
 * Purpose: one table of commands, one of options; everything else is HTTP to the daemon.
 * Lifetime: one call of cli_main() per process.
 */
#ifndef CORACLE_CLI_H
#define CORACLE_CLI_H

#include <coracle/base.h>

/* Runs one command line. Returns the exit code; never exits the process itself. */
int cli_main(int argc, char **argv);

#endif
