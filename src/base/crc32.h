/* SPDX-License-Identifier: Apache-2.0 */
/* CRC-32 (reflected polynomial 0xEDB88320), the checksum of zip archives, as fast as memory is
 * read: a weight file of some hundred megabytes is checked whole each time a program starts. */
#ifndef VITRO_BASE_CRC32_H
#define VITRO_BASE_CRC32_H

#include <stddef.h>
#include <stdint.h>

/* The checksum of what `crc` is the checksum of (0: nothing), followed by n bytes. */
uint32_t vitro_crc32(uint32_t crc, const void *data, size_t n);

#endif
