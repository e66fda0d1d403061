/* SPDX-License-Identifier: Apache-2.0 */
/* What the codecs of this room share: the picture as bytes in memory, the checked allocation of the
 * result, and the colour conversions of Pillow 9.4. A codec knows its own format and nothing of
 * files, of the other codecs, or of what the pixels are for. */
#ifndef VITRO_IMAGE_DECODE_H
#define VITRO_IMAGE_DECODE_H

#include "base/status.h"
#include "vitro/image.h"

/* Twice PIL.Image.MAX_IMAGE_PIXELS: above it Pillow raises DecompressionBombError. */
#define VITRO_MAX_PIXELS 178956970

/* A whole encoded picture, and what is wanted of it. */
typedef struct VitroEncoded {
    const uint8_t *data;
    size_t size;     /* bytes */
    int channels;    /* wanted: 1 or 3 */
    int orientation; /* out: EXIF orientation 1..8; a codec that finds none leaves it alone */
} VitroEncoded;

/* Each decodes `in` to `in->channels` channels. On failure `out` is unchanged. */
VitroStatus vitro_jpeg_decode(VitroImage *out, VitroEncoded *in);
VitroStatus vitro_png_decode(VitroImage *out, VitroEncoded *in);
VitroStatus vitro_webp_decode(VitroImage *out, VitroEncoded *in);
VitroStatus vitro_bmp_decode(VitroImage *out, VitroEncoded *in);
VitroStatus vitro_pnm_decode(VitroImage *out, VitroEncoded *in);

/* A PNG file in memory, `*size` bytes; vitro_free it. */
VitroStatus vitro_png_encode(uint8_t **out, size_t *size, const VitroImage *image);

/* Refuses sides below 1 and more than VITRO_MAX_PIXELS; allocates nothing. */
VitroStatus vitro_image_check_size(int64_t width, int64_t height);
/* The same for what a file of `bytes` claims. Run lengths, lossless WebP and arithmetic-coded JPEG
 * put any number of equal pixels into a few bytes: more than VITRO_FREE_PIXELS, and than a PNG of
 * single bits can hold at deflate's best ratio, is a bomb. */
#define VITRO_FREE_PIXELS     (1 << 24)
#define VITRO_PIXELS_PER_BYTE (8 * 1032)
VitroStatus vitro_image_check_claim(int64_t width, int64_t height, size_t bytes);
/* The same, then a new picture with undefined pixels. */
VitroStatus vitro_image_alloc(VitroImage *image, int64_t width, int64_t height, int channels);

static inline size_t vitro_image_stride(const VitroImage *image)
{
    return (size_t)image->width * (size_t)image->channels;
}

static inline uint8_t *vitro_image_row(const VitroImage *image, int y)
{
    return image->pixels + (size_t)y * vitro_image_stride(image);
}

/* Pillow's RGB -> L: ITU-R 601-2 luma in 16-bit fixed point (libImaging/Convert.c, L24). */
static inline uint8_t vitro_luma(uint8_t r, uint8_t g, uint8_t b)
{
    return (uint8_t)((r * 19595u + g * 38470u + b * 7471u + 0x8000u) >> 16);
}

/* One row of n pixels into a row of `channels` channels. */
void vitro_row_from_grey(uint8_t *dst, int channels, const uint8_t *grey, int n);
void vitro_row_from_rgb(uint8_t *dst, int channels, const uint8_t *rgb, int n);
/* `cmyk` as an Adobe JPEG stores it: inverted, 255 = no ink. */
void vitro_row_from_inverted_cmyk(uint8_t *dst, int channels, const uint8_t *cmyk, int n);

/* 256 RGB colours; entries that a file does not set are the grey ramp, as in Pillow. */
typedef struct VitroPalette {
    uint8_t rgb[256][3];
} VitroPalette;
void vitro_palette_init(VitroPalette *palette);
/* index[n]: one byte per pixel. */
void vitro_row_from_palette(uint8_t *dst, int channels, const VitroPalette *palette,
                            const uint8_t *index, int n);

/* Orientation 1..8 in a TIFF block ("II*\0..." or "MM\0*..."), 0 where there is none or the block
 * is damaged: metadata never makes a picture unreadable. */
int vitro_exif_orientation(const uint8_t *tiff, size_t size);
/* Turns the picture upright: PIL.ImageOps.exif_transpose. */
VitroStatus vitro_image_orient(VitroImage *image, int orientation);

#endif
