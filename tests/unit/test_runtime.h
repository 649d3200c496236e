/* SPDX-License-Identifier: Apache-2.0 */
/* What the runtime's tests include, in the order that cmocka wants. */
#ifndef CORACLE_TEST_RUNTIME_H
#define CORACLE_TEST_RUNTIME_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <coracle/runtime.h>

#endif
