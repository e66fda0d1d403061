/* SPDX-License-Identifier: Apache-2.0 */
/* Tables of pictures and of the check sums that Pillow and torchvision gave for them, written by
 * tests/golden/make_image_fixtures.py. */
#ifndef VITRO_TESTS_IMAGE_TABLE_H
#define VITRO_TESTS_IMAGE_TABLE_H

#include "vitro/image.h"

/* CRC-32 of the pixels. */
unsigned image_crc(const VitroImage *image);

/* Decodes each file of the table (lines "FILE WIDTH HEIGHT CRC*4" or "FILE refused"; the sums are
 * of RGB and L as stored, then upright) under `root`. Prints what differs. Returns the number of
 * lines that are right; *wrong counts the others. */
int image_table_check(const char *table, const char *root, int *wrong);

#endif
