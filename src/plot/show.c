/* SPDX-License-Identifier: Apache-2.0 */
/* Pictures as byte streams that terminals understand. Knows no terminal: which method to take, and
 * where the bytes go, is the caller's. */
#include "plot/show.h"

#include "base/alloc.h"
#include "image/decode.h"

#define MAX_BYTES ((size_t)1 << 30)

/* The picture itself, or made smaller into `small` where it does not fit. */
static VitroStatus fit(const VitroImage **shown, VitroImage *small, const VitroImage *image,
                       int max_width, int max_height)
{
    double scale = 1;
    if (image->width > max_width)
        scale = (double)max_width / image->width;
    if (image->height * scale > max_height)
        scale = (double)max_height / image->height;
    *shown = image;
    if (scale >= 1)
        return VITRO_OK;
    int width = (int)(image->width * scale + 1e-6), height = (int)(image->height * scale + 1e-6);
    VITRO_TRY(vitro_image_resize(small, image, NULL, width < 1 ? 1 : width, height < 1 ? 1 : height,
                                 VITRO_BILINEAR));
    *shown = small;
    return VITRO_OK;
}

VitroStatus vitro_show(const VitroImage *image, VitroShowMethod method, int max_width,
                       int max_height, VitroShowFn write, void *user)
{
    if (max_width < 1 || max_height < 1)
        return vitro_fail(VITRO_E_ARG,
                          "show: found room for %d x %d pixels, expected 1 x 1 or more", max_width,
                          max_height);
    const VitroImage *shown;
    VitroImage small = {0};
    VITRO_TRY(fit(&shown, &small, image, max_width, max_height));
    VitroBuf out;
    vitro_buf_init(&out, MAX_BYTES);
    VitroStatus st;
    switch (method) {
    case VITRO_SHOW_KITTY:
        st = vitro_show_kitty(&out, shown);
        break;
    case VITRO_SHOW_SIXEL:
        st = vitro_show_sixel(&out, shown);
        break;
    case VITRO_SHOW_BLOCKS:
    case VITRO_SHOW_BLOCKS_256:
        st = vitro_show_blocks(&out, shown, method == VITRO_SHOW_BLOCKS);
        break;
    default:
        st = vitro_fail(VITRO_E_ARG, "show: found method %d, expected 0 to 3", (int)method);
    }
    if (st == VITRO_OK)
        st = write(user, out.data, out.len);
    vitro_buf_deinit(&out);
    vitro_image_deinit(&small);
    return st;
}

/* ---- kitty ------------------------------------------------------------------------------------
 */

/* Base64 of n <= 3 bytes (RFC 4648). */
static void put_base64(char out[4], const uint8_t *in, size_t n)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    uint32_t v = (uint32_t)in[0] << 16 | (n > 1 ? in[1] : 0u) << 8 | (n > 2 ? in[2] : 0u);
    for (int i = 0; i < 4; i++)
        out[i] = digits[v >> (18 - 6 * i) & 63];
    if (n < 3)
        out[3] = '=';
    if (n < 2)
        out[2] = '=';
}

/* The graphics protocol's "Remote client" form: escape codes of at most 4096 bytes of base64 each,
 * m=1 on all but the last. f=100: a PNG; q=2: the terminal answers nothing. */
#define CHUNK_BYTES (4096 / 4 * 3)

VitroStatus vitro_show_kitty(VitroBuf *out, const VitroImage *image)
{
    uint8_t *png;
    size_t size;
    VITRO_TRY(vitro_png_encode(&png, &size, image));
    for (size_t at = 0; at < size; at += CHUNK_BYTES) {
        size_t end = size - at > CHUNK_BYTES ? at + CHUNK_BYTES : size;
        vitro_buf_printf(out, "\033_G%sm=%d;", at ? "" : "a=T,f=100,q=2,", end < size);
        for (size_t i = at; i < end; i += 3) {
            char digits[4];
            put_base64(digits, png + i, end - i < 3 ? end - i : 3);
            vitro_buf_append(out, digits, 4);
        }
        vitro_buf_append(out, "\033\\", 2);
    }
    vitro_free(png);
    return vitro_buf_append(out, "\n", 1);
}

/* ---- half blocks ------------------------------------------------------------------------------
 */

/* Of a 256-colour terminal's 6x6x6 cube (levels 0, 95, 135, ..., 255) the nearest. */
static int cube_index(VitroRgb v)
{
    int index = 16;
    static const int weight[] = {36, 6, 1};
    for (int i = 0; i < 3; i++) {
        int level = v.c[i] < 48 ? 0 : v.c[i] < 115 ? 1 : (v.c[i] - 35) / 40;
        index += level * weight[i];
    }
    return index;
}

static void put_colour(VitroBuf *out, int ground, VitroRgb v, bool true_colour)
{
    if (true_colour)
        vitro_buf_printf(out, "\033[%d;2;%d;%d;%dm", ground, v.c[0], v.c[1], v.c[2]);
    else
        vitro_buf_printf(out, "\033[%d;5;%dm", ground, cube_index(v));
}

static bool same(VitroRgb a, VitroRgb b)
{
    return a.c[0] == b.c[0] && a.c[1] == b.c[1] && a.c[2] == b.c[2];
}

/* U+2580, the upper half of a cell, in the colour of one pixel, on that of the one below. Colours
 * are sent where they change; each line starts and ends with the terminal's own. */
VitroStatus vitro_show_blocks(VitroBuf *out, const VitroImage *image, bool true_colour)
{
    for (int y = 0; y < image->height; y += 2) {
        bool has_lower = y + 1 < image->height;
        VitroRgb upper = {{0}}, lower = {{0}};
        for (int x = 0; x < image->width; x++) {
            VitroRgb above = vitro_pixel(image, x, y);
            if (x == 0 || !same(above, upper))
                put_colour(out, 38, above, true_colour);
            upper = above;
            VitroRgb below = has_lower ? vitro_pixel(image, x, y + 1) : lower;
            if (has_lower && (x == 0 || !same(below, lower)))
                put_colour(out, 48, below, true_colour);
            lower = below;
            vitro_buf_append(out, "\xE2\x96\x80", 3);
        }
        vitro_buf_append(out, "\033[0m\n", 5);
    }
    return out->status;
}
