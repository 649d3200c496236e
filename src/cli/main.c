/* SPDX-License-Identifier: Apache-2.0 */
/* coracle(1): see cli.c. */
#include <coracle/cli.h>

int main(int argc, char **argv)
{
	return cli_main(argc, argv);
}
