/* SPDX-License-Identifier: Apache-2.0 */
/* A picture under its title, drawn with Cairo and written as PNG. Knows nothing of classes or of
 * where the title comes from. */
#include "image/decode.h"

#include "base/alloc.h"
#include "base/buf.h"
#include "base/fs.h"

#include <math.h>
#include <string.h>

#include <cairo.h>

/* Sides in pixels. Small pictures (CIFAR, MNIST) are enlarged by a whole factor, so that each of
 * their pixels is a square; large ones are made smaller. */
#define PLEASANT_SIDE   336
#define LARGEST_SIDE    1600
#define MARGIN          12
#define MAX_PNG_BYTES   ((size_t)1 << 28)
#define MAX_TITLE_BYTES 512

/* Bytes of the UTF-8 character at s, 0 if there is none (RFC 3629). */
static size_t utf8_length(const char *s)
{
    const unsigned char *p = (const unsigned char *)s;
    size_t n = p[0] < 0x80   ? 1
               : p[0] < 0xC2 ? 0
               : p[0] < 0xE0 ? 2
               : p[0] < 0xF0 ? 3
               : p[0] < 0xF5 ? 4
                             : 0;
    for (size_t i = 1; i < n; i++)
        if ((p[i] & 0xC0) != 0x80)
            return 0;
    bool overlong = (p[0] == 0xE0 && p[1] < 0xA0) || (p[0] == 0xF0 && p[1] < 0x90);
    bool surrogate = p[0] == 0xED && p[1] > 0x9F, beyond = p[0] == 0xF4 && p[1] > 0x8F;
    return overlong || surrogate || beyond ? 0 : n;
}

/* Cairo draws nothing at all after one invalid byte: those become U+FFFD, controls a space. */
static void clean_title(char clean[MAX_TITLE_BYTES + 4], const char *title)
{
    size_t n = 0;
    while (*title && n < MAX_TITLE_BYTES) {
        size_t length = utf8_length(title);
        if (length == 0) {
            memcpy(clean + n, "\xEF\xBF\xBD", 3);
            n += 3;
            title++;
        } else if (length == 1 && ((unsigned char)*title < ' ' || *title == 0x7F)) {
            clean[n++] = ' ';
            title++;
        } else {
            memcpy(clean + n, title, length);
            n += length;
            title += length;
        }
    }
    clean[n] = 0;
}

/* The size at which the picture is shown. */
static void shown_size(const VitroImage *image, int *width, int *height)
{
    int w = image->width, h = image->height, side = w > h ? w : h;
    if (side <= LARGEST_SIDE) {
        int factor = side * 2 <= PLEASANT_SIDE ? PLEASANT_SIDE / side : 1;
        *width = w * factor;
        *height = h * factor;
        return;
    }
    double scale = (double)LARGEST_SIDE / side;
    *width = w * scale < 1 ? 1 : (int)(w * scale);
    *height = h * scale < 1 ? 1 : (int)(h * scale);
}

static cairo_status_t append(void *buf, const unsigned char *data, unsigned n)
{
    return vitro_buf_append(buf, data, n) == VITRO_OK ? CAIRO_STATUS_SUCCESS
                                                      : CAIRO_STATUS_WRITE_ERROR;
}

static VitroStatus check_cairo(cairo_status_t status)
{
    if (status == CAIRO_STATUS_SUCCESS)
        return VITRO_OK;
    return vitro_fail(status == CAIRO_STATUS_NO_MEMORY ? VITRO_E_NOMEM : VITRO_E_INTERNAL,
                      "drawing failed: %s", cairo_status_to_string(status));
}

/* Cairo's RGB24: a native 32-bit word 0x00RRGGBB per pixel. The picture is no larger than the
 * surface; each of its pixels fills a square. */
static void put_picture(cairo_surface_t *surface, const VitroImage *image, int left, int top,
                        int width, int height)
{
    cairo_surface_flush(surface);
    uint8_t *data = cairo_image_surface_get_data(surface);
    size_t stride = (size_t)cairo_image_surface_get_stride(surface);
    for (int y = 0; y < height; y++) {
        const uint8_t *row = vitro_image_row(image, (int)((int64_t)y * image->height / height));
        uint32_t *dst = (uint32_t *)(void *)(data + (size_t)(top + y) * stride) + left;
        for (int x = 0; x < width; x++) {
            const uint8_t *p = row + (int64_t)x * image->width / width * image->channels;
            uint32_t r = p[0], g = image->channels == 3 ? p[1] : r,
                     b = image->channels == 3 ? p[2] : r;
            dst[x] = r << 16 | g << 8 | b;
        }
    }
    cairo_surface_mark_dirty(surface);
}

static void choose_font(cairo_t *cr, double size)
{
    cairo_select_font_face(cr, "sans-serif", CAIRO_FONT_SLANT_NORMAL, CAIRO_FONT_WEIGHT_NORMAL);
    cairo_set_font_size(cr, size);
}

static double title_width(const char *title, double size)
{
    cairo_surface_t *surface = cairo_image_surface_create(CAIRO_FORMAT_A8, 1, 1);
    cairo_t *cr = cairo_create(surface);
    choose_font(cr, size);
    cairo_text_extents_t extents;
    cairo_text_extents(cr, title, &extents);
    cairo_destroy(cr);
    cairo_surface_destroy(surface);
    return extents.x_advance;
}

/* White page, the title above, the picture below, both in the middle; the page is as wide as the
 * wider of the two. */
static VitroStatus draw(VitroBuf *png, const VitroImage *image, int width, int height,
                        const char *title)
{
    double size = fmin(fmax(width / 24.0, 15.0), 40.0);
    double text = fmin(title_width(title, size), 4 * LARGEST_SIDE);
    int page_width = (int)fmax(width, ceil(text)) + 2 * MARGIN;
    int band = (int)ceil(size * 1.9);
    cairo_surface_t *surface =
        cairo_image_surface_create(CAIRO_FORMAT_RGB24, page_width, band + height + MARGIN);
    cairo_t *cr = cairo_create(surface);
    VitroStatus st;
    VITRO_GOTO(check_cairo(cairo_status(cr)));
    cairo_set_source_rgb(cr, 1, 1, 1);
    cairo_paint(cr);
    put_picture(surface, image, (page_width - width) / 2, band, width, height);
    choose_font(cr, size);
    cairo_set_source_rgb(cr, 0, 0, 0);
    cairo_move_to(cr, fmax((page_width - text) / 2, MARGIN), size * 1.3);
    cairo_show_text(cr, title);
    VITRO_GOTO(check_cairo(cairo_status(cr)));
    cairo_status_t written = cairo_surface_write_to_png_stream(surface, append, png);
    st = png->status ? png->status : check_cairo(written); /* who failed first has told why */
done:
    cairo_destroy(cr);
    cairo_surface_destroy(surface);
    return st;
}

VitroStatus vitro_image_write_titled(const char *png_path, const VitroImage *image,
                                     const char *title)
{
    char clean[MAX_TITLE_BYTES + 4];
    clean_title(clean, title);
    int width, height;
    shown_size(image, &width, &height);
    VitroImage small = {0};
    if (width < image->width || height < image->height) {
        VITRO_TRY(vitro_image_resize(&small, image, NULL, width, height, VITRO_BILINEAR));
        image = &small;
    }
    VitroBuf png;
    vitro_buf_init(&png, MAX_PNG_BYTES);
    VitroStatus st = draw(&png, image, width, height, clean);
    if (st == VITRO_OK)
        st = vitro_fs_replace(png_path, png.data, png.len);
    else
        st = vitro_fail_prefix(st, "%s", png_path);
    vitro_buf_deinit(&png);
    vitro_image_deinit(&small);
    return st;
}
