/* SPDX-License-Identifier: Apache-2.0 */
/* The picture itself: its allocation under the pixel limit, and rows converted to grey or RGB as
 * Pillow 9.4's convert() does. Knows no file format. */
#include "image/decode.h"

#include "base/alloc.h"

#include <string.h>

void vitro_image_deinit(VitroImage *image)
{
    if (!image)
        return;
    vitro_free(image->pixels);
    *image = (VitroImage){0};
}

VitroStatus vitro_image_check_size(int64_t width, int64_t height)
{
    if (width < 1 || height < 1)
        return vitro_fail(VITRO_E_FORMAT, "size %lld x %lld, each side must be at least 1",
                          (long long)width, (long long)height);
    if (width > VITRO_MAX_PIXELS / height)
        return vitro_fail(VITRO_E_FORMAT,
                          "%lld x %lld pixels exceed the limit of %d: a decompression bomb?",
                          (long long)width, (long long)height, VITRO_MAX_PIXELS);
    return VITRO_OK;
}

VitroStatus vitro_image_check_claim(int64_t width, int64_t height, size_t bytes)
{
    VITRO_TRY(vitro_image_check_size(width, height));
    size_t pixels = (size_t)width * (size_t)height;
    if (pixels > VITRO_FREE_PIXELS && (pixels - VITRO_FREE_PIXELS) / VITRO_PIXELS_PER_BYTE > bytes)
        return vitro_fail(VITRO_E_FORMAT,
                          "%lld x %lld pixels in a file of %zu bytes: a decompression bomb",
                          (long long)width, (long long)height, bytes);
    return VITRO_OK;
}

VitroStatus vitro_image_alloc(VitroImage *image, int64_t width, int64_t height, int channels)
{
    VITRO_TRY(vitro_image_check_size(width, height));
    uint8_t *pixels = vitro_malloc((size_t)width * (size_t)height * (size_t)channels);
    if (!pixels)
        return VITRO_NOMEM;
    *image = (VitroImage){(int)width, (int)height, channels, pixels};
    return VITRO_OK;
}

VitroStatus vitro_image_init(VitroImage *image, int width, int height, int channels)
{
    if (channels != 1 && channels != 3)
        return vitro_fail(VITRO_E_ARG, "a picture of %d channels, expected 1 or 3", channels);
    VITRO_TRY(vitro_image_alloc(image, width, height, channels));
    memset(image->pixels, 0, vitro_image_stride(image) * (size_t)height);
    return VITRO_OK;
}

void vitro_row_from_grey(uint8_t *dst, int channels, const uint8_t *grey, int n)
{
    if (channels == 1) {
        memcpy(dst, grey, (size_t)n);
        return;
    }
    for (int i = 0; i < n; i++, dst += 3)
        dst[0] = dst[1] = dst[2] = grey[i];
}

void vitro_row_from_rgb(uint8_t *dst, int channels, const uint8_t *rgb, int n)
{
    if (channels == 3) {
        memcpy(dst, rgb, (size_t)n * 3);
        return;
    }
    for (int i = 0; i < n; i++, rgb += 3)
        dst[i] = vitro_luma(rgb[0], rgb[1], rgb[2]);
}

/* a * b / 255, rounded (libImaging/ImagingUtils.h, MULDIV255). */
static int muldiv255(int a, int b)
{
    int t = a * b + 128;
    return ((t >> 8) + t) >> 8;
}

void vitro_row_from_inverted_cmyk(uint8_t *dst, int channels, const uint8_t *cmyk, int n)
{
    for (int i = 0; i < n; i++, cmyk += 4, dst += channels) {
        int white = cmyk[3]; /* 255 - K; muldiv255 never exceeds it, so no clipping is needed */
        uint8_t rgb[3];
        for (int c = 0; c < 3; c++)
            rgb[c] = (uint8_t)(white - muldiv255(255 - cmyk[c], white));
        vitro_row_from_rgb(dst, channels, rgb, 1);
    }
}

void vitro_palette_init(VitroPalette *palette)
{
    for (int i = 0; i < 256; i++)
        memset(palette->rgb[i], i, 3);
}

void vitro_row_from_palette(uint8_t *dst, int channels, const VitroPalette *palette,
                            const uint8_t *index, int n)
{
    for (int i = 0; i < n; i++, dst += channels)
        vitro_row_from_rgb(dst, channels, palette->rgb[index[i]], 1);
}
