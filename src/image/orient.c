/* SPDX-License-Identifier: Apache-2.0 */
/* EXIF orientation: finding it in a TIFF block, and turning a picture by it. Knows no file format
 * that carries such a block. */
#include "image/decode.h"

#include <string.h>

#define TAG_ORIENTATION 0x0112
enum { TYPE_SHORT = 3, TYPE_LONG = 4, TYPE_SSHORT = 8, TYPE_SLONG = 9 };

typedef struct Tiff {
    const uint8_t *data;
    size_t size;
    bool big_endian;
} Tiff;

static unsigned get16(const Tiff *t, size_t at)
{
    const uint8_t *p = t->data + at;
    return t->big_endian ? (unsigned)(p[0] << 8 | p[1]) : (unsigned)(p[1] << 8 | p[0]);
}

static uint32_t get32(const Tiff *t, size_t at)
{
    uint32_t a = get16(t, at), b = get16(t, at + 2);
    return t->big_endian ? a << 16 | b : b << 16 | a;
}

/* The value of a directory entry that is a single integer, else 0. */
static uint32_t entry_value(const Tiff *t, size_t entry)
{
    if (get32(t, entry + 4) != 1)
        return 0;
    unsigned type = get16(t, entry + 2);
    if (type == TYPE_SHORT || type == TYPE_SSHORT)
        return get16(t, entry + 8);
    return type == TYPE_LONG || type == TYPE_SLONG ? get32(t, entry + 8) : 0;
}

int vitro_exif_orientation(const uint8_t *tiff, size_t size)
{
    if (size < 8 || (memcmp(tiff, "II*\0", 4) != 0 && memcmp(tiff, "MM\0*", 4) != 0))
        return 0;
    Tiff t = {tiff, size, tiff[0] == 'M'};
    size_t directory = get32(&t, 4);
    if (directory > size - 2)
        return 0;
    size_t count = get16(&t, directory);
    for (size_t i = 0, entry = directory + 2; i < count && entry + 12 <= size; i++, entry += 12) {
        if (get16(&t, entry) != TAG_ORIENTATION)
            continue;
        uint32_t value = entry_value(&t, entry);
        return value >= 1 && value <= 8 ? (int)value : 0;
    }
    return 0;
}

VitroStatus vitro_image_orient(VitroImage *image, int orientation)
{
    if (orientation < 2 || orientation > 8)
        return VITRO_OK;
    /* Output pixel (x, y) is the input's, after: swapped axes, then mirrored ones. */
    bool swap = orientation >= 5;
    bool mirror_x = orientation == 2 || orientation == 3 || orientation == 7 || orientation == 8;
    bool mirror_y = orientation == 3 || orientation == 4 || orientation == 6 || orientation == 7;
    VitroImage out;
    int w = image->width, h = image->height, c = image->channels;
    VITRO_TRY(vitro_image_alloc(&out, swap ? h : w, swap ? w : h, c));
    uint8_t *dst = out.pixels;
    for (int y = 0; y < out.height; y++) {
        for (int x = 0; x < out.width; x++, dst += c) {
            int u = swap ? y : x, v = swap ? x : y;
            if (mirror_x)
                u = w - 1 - u;
            if (mirror_y)
                v = h - 1 - v;
            memcpy(dst, image->pixels + ((size_t)v * (size_t)w + (size_t)u) * (size_t)c, (size_t)c);
        }
    }
    vitro_image_deinit(image);
    *image = out;
    return VITRO_OK;
}
