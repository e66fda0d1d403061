/* SPDX-License-Identifier: Apache-2.0 */
/* SHA-256 (FIPS 180-4): tells whether a file is the one that its publisher names. */
#ifndef VITRO_BASE_SHA256_H
#define VITRO_BASE_SHA256_H

#include "base/status.h"

typedef struct VitroSha256 {
    uint32_t state[8];
    uint64_t bytes; /* taken so far */
    uint8_t block[64];
} VitroSha256;

#define VITRO_SHA256_HEX 65 /* bytes of the text form, with its NUL */

void vitro_sha256_init(VitroSha256 *s);
void vitro_sha256_update(VitroSha256 *s, const void *data, size_t n);
/* Ends the sum: 64 lower-case digits. */
void vitro_sha256_final(VitroSha256 *s, char hex[VITRO_SHA256_HEX]);
/* The sum of a whole open file, from its first byte; `name` is for the error. */
VitroStatus vitro_sha256_file(char hex[VITRO_SHA256_HEX], int fd, const char *name);

#endif
