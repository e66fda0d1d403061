/* SPDX-License-Identifier: Apache-2.0 */
/* Run lengths of a bitmap, for bmp.c. */
#ifndef VITRO_IMAGE_BMP_H
#define VITRO_IMAGE_BMP_H

#include "base/status.h"

typedef struct VitroBmpRle {
    const uint8_t *data; /* the file */
    size_t size, at;     /* bytes; `at`: where the run lengths begin */
    size_t width, count; /* pixels in a row, and in all */
    bool four_bits;      /* RLE4, else RLE8 */
} VitroBmpRle;

/* index[count]: one byte per pixel, rows in the file's order. */
VitroStatus vitro_bmp_rle_decode(uint8_t *index, const VitroBmpRle *rle);

#endif
