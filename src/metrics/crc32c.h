/* SPDX-License-Identifier: Apache-2.0 */
/* CRC-32C (Castagnoli, reflected polynomial 0x82F63B78), the checksum of TensorBoard's records. */
#ifndef VITRO_METRICS_CRC32C_H
#define VITRO_METRICS_CRC32C_H

#include <stddef.h>
#include <stdint.h>

uint32_t vitro_crc32c(const void *data, size_t n);

/* TFRecord's mask: a checksum of data that itself contains checksums is a weak one. */
uint32_t vitro_crc32c_masked(const void *data, size_t n);

#endif
