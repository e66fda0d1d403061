/* SPDX-License-Identifier: Apache-2.0 */
/* MD5 (RFC 1321): tells whether a published file arrived whole. It is no defence against a file
 * that somebody forged on purpose. */
#ifndef VITRO_BASE_MD5_H
#define VITRO_BASE_MD5_H

#include "base/status.h"

typedef struct VitroMd5 {
    uint32_t state[4];
    uint64_t bytes; /* taken so far */
    uint8_t block[64];
} VitroMd5;

#define VITRO_MD5_HEX 33 /* bytes of the text form, with its NUL */

void vitro_md5_init(VitroMd5 *m);
void vitro_md5_update(VitroMd5 *m, const void *data, size_t n);
/* Ends the sum: 32 lower-case digits. */
void vitro_md5_final(VitroMd5 *m, char hex[VITRO_MD5_HEX]);
/* The sum of a whole open file, from its first byte; `name` is for the error. */
VitroStatus vitro_md5_file(char hex[VITRO_MD5_HEX], int fd, const char *name);

#endif
