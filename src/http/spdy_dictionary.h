/* SPDX-License-Identifier: Apache-2.0 */
/* The zlib dictionary of SPDY/3 header blocks. */
#ifndef CORACLE_SRC_HTTP_SPDY_DICTIONARY_H
#define CORACLE_SRC_HTTP_SPDY_DICTIONARY_H

#define SPDY_DICTIONARY_LEN 1423
extern const unsigned char spdy_dictionary[SPDY_DICTIONARY_LEN];

#endif
