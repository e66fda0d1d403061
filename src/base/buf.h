/* SPDX-License-Identifier: Apache-2.0 */
/* Growable bytes with a mandatory cap. After a failure every further append is a no-op that
 * returns the same status, so a writer may append freely and check once. */
#ifndef VITRO_BASE_BUF_H
#define VITRO_BASE_BUF_H

#include "base/status.h"

typedef struct VitroBuf {
    uint8_t *data; /* NULL while empty */
    size_t len, cap;
    size_t max; /* bytes; growing beyond fails with VITRO_E_FORMAT */
    VitroStatus status;
} VitroBuf;

void vitro_buf_init(VitroBuf *b, size_t max);
void vitro_buf_deinit(VitroBuf *b);
VitroStatus vitro_buf_append(VitroBuf *b, const void *data, size_t n);
VitroStatus vitro_buf_printf(VitroBuf *b, const char *fmt, ...) VITRO_PRINTF(2, 3);
/* Room for n more bytes: *out points at them, and len already counts them. */
VitroStatus vitro_buf_extend(VitroBuf *b, size_t n, uint8_t **out);
/* Terminates with a NUL that len does not count. */
VitroStatus vitro_buf_cstr(VitroBuf *b, const char **out);

#endif
