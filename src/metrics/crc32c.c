/* SPDX-License-Identifier: Apache-2.0 */
/* Nibble at a time: the records are some forty bytes, a table of 16 words is all they deserve. */
#include "metrics/crc32c.h"

uint32_t vitro_crc32c(const void *data, size_t n)
{
    /* remainder of each nibble, for the reflected polynomial 0x82F63B78 */
    static const uint32_t table[16] = {0x00000000, 0x105EC76F, 0x20BD8EDE, 0x30E349B1,
                                       0x417B1DBC, 0x5125DAD3, 0x61C69362, 0x7198540D,
                                       0x82F63B78, 0x92A8FC17, 0xA24BB5A6, 0xB21572C9,
                                       0xC38D26C4, 0xD3D3E1AB, 0xE330A81A, 0xF36E6F75};
    const uint8_t *p = data;
    uint32_t crc = 0xFFFFFFFFu;
    for (size_t i = 0; i < n; i++) {
        crc ^= p[i];
        crc = crc >> 4 ^ table[crc & 15];
        crc = crc >> 4 ^ table[crc & 15];
    }
    return ~crc;
}

uint32_t vitro_crc32c_masked(const void *data, size_t n)
{
    uint32_t crc = vitro_crc32c(data, n);
    return (crc >> 15 | crc << 17) + 0xA282EAD8u;
}
