/* SPDX-License-Identifier: Apache-2.0 */
#include "plot/canvas.h"

#include "image/decode.h"

#include <math.h>
#include <string.h>

#define MAX_TEXT_BYTES 512
#define ELLIPSIS       "\xE2\x80\xA6"

/* ---- the page ---------------------------------------------------------------------------------
 */

static VitroStatus check_cairo(cairo_status_t status)
{
    if (status == CAIRO_STATUS_SUCCESS)
        return VITRO_OK;
    return vitro_fail(status == CAIRO_STATUS_NO_MEMORY ? VITRO_E_NOMEM : VITRO_E_INTERNAL,
                      "drawing failed: %s", cairo_status_to_string(status));
}

VitroStatus vitro_canvas_open(VitroCanvas *c, int width, int height)
{
    c->surface = cairo_image_surface_create(CAIRO_FORMAT_RGB24, width, height);
    c->cr = cairo_create(c->surface);
    c->width = width;
    c->height = height;
    vitro_canvas_colour(c, 0xFFFFFF);
    cairo_paint(c->cr);
    /* Letters where layout puts them, grey at their edges: the same on screens of any kind. */
    cairo_font_options_t *options = cairo_font_options_create();
    cairo_font_options_set_antialias(options, CAIRO_ANTIALIAS_GRAY);
    cairo_font_options_set_hint_style(options, CAIRO_HINT_STYLE_NONE);
    cairo_font_options_set_hint_metrics(options, CAIRO_HINT_METRICS_OFF);
    cairo_status_t status = cairo_font_options_status(options);
    cairo_set_font_options(c->cr, options);
    cairo_font_options_destroy(options);
    VITRO_TRY(check_cairo(status));
    return vitro_canvas_check(c);
}

VitroStatus vitro_canvas_check(const VitroCanvas *c)
{
    return check_cairo(cairo_status(c->cr));
}

void vitro_canvas_close(VitroCanvas *c)
{
    cairo_destroy(c->cr);
    cairo_surface_destroy(c->surface);
    *c = (VitroCanvas){0};
}

VitroStatus vitro_canvas_take(VitroCanvas *c, VitroImage *out)
{
    VITRO_TRY(vitro_canvas_check(c));
    VitroImage image = {0};
    VITRO_TRY(vitro_image_alloc(&image, c->width, c->height, 3));
    cairo_surface_flush(c->surface);
    const uint8_t *data = cairo_image_surface_get_data(c->surface);
    size_t stride = (size_t)cairo_image_surface_get_stride(c->surface);
    for (int y = 0; y < c->height; y++) {
        /* RGB24 is a native 32-bit word 0x00RRGGBB per pixel. */
        const uint32_t *src = (const uint32_t *)(const void *)(data + (size_t)y * stride);
        uint8_t *dst = vitro_image_row(&image, y);
        for (int x = 0; x < c->width; x++, dst += 3) {
            dst[0] = (uint8_t)(src[x] >> 16);
            dst[1] = (uint8_t)(src[x] >> 8);
            dst[2] = (uint8_t)src[x];
        }
    }
    *out = image;
    return VITRO_OK;
}

void vitro_canvas_put(VitroCanvas *c, const VitroImage *picture, int left, int top, int factor)
{
    cairo_surface_flush(c->surface);
    uint8_t *data = cairo_image_surface_get_data(c->surface);
    size_t stride = (size_t)cairo_image_surface_get_stride(c->surface);
    for (int y = 0; y < picture->height * factor; y++) {
        const uint8_t *row = vitro_image_row(picture, y / factor);
        uint32_t *dst = (uint32_t *)(void *)(data + (size_t)(top + y) * stride) + left;
        for (int x = 0; x < picture->width * factor; x++) {
            const uint8_t *p = row + (size_t)(x / factor) * (size_t)picture->channels;
            bool grey = picture->channels == 1;
            uint32_t r = p[0], g = grey ? r : p[1], b = grey ? r : p[2];
            dst[x] = r << 16 | g << 8 | b;
        }
    }
    cairo_surface_mark_dirty(c->surface);
}

/* ---- shapes -----------------------------------------------------------------------------------
 */

void vitro_canvas_colour(VitroCanvas *c, uint32_t rgb)
{
    cairo_set_source_rgb(c->cr, (rgb >> 16 & 255) / 255.0, (rgb >> 8 & 255) / 255.0,
                         (rgb & 255) / 255.0);
}

void vitro_canvas_fill_rect(VitroCanvas *c, double x, double y, double width, double height)
{
    cairo_rectangle(c->cr, x, y, width, height);
    cairo_fill(c->cr);
}

void vitro_canvas_line(VitroCanvas *c, double x0, double y0, double x1, double y1)
{
    cairo_move_to(c->cr, x0, y0);
    cairo_line_to(c->cr, x1, y1);
    cairo_stroke(c->cr);
}

/* ---- text -------------------------------------------------------------------------------------
 */

void vitro_canvas_font(VitroCanvas *c, double size, bool bold)
{
    cairo_select_font_face(c->cr, "sans-serif", CAIRO_FONT_SLANT_NORMAL,
                           bold ? CAIRO_FONT_WEIGHT_BOLD : CAIRO_FONT_WEIGHT_NORMAL);
    cairo_set_font_size(c->cr, size);
}

double vitro_canvas_text_width(VitroCanvas *c, const char *text)
{
    cairo_text_extents_t extents;
    cairo_text_extents(c->cr, text, &extents);
    return extents.x_advance;
}

void vitro_canvas_text(VitroCanvas *c, double x, double baseline, VitroAlign align,
                       const char *text)
{
    vitro_canvas_text_turned(c, x, baseline, 0, align, text);
}

void vitro_canvas_text_turned(VitroCanvas *c, double x, double baseline, double angle,
                              VitroAlign align, const char *text)
{
    double width = align == VITRO_LEFT ? 0 : vitro_canvas_text_width(c, text);
    cairo_save(c->cr);
    cairo_translate(c->cr, x, baseline);
    cairo_rotate(c->cr, -angle);
    cairo_move_to(c->cr, align == VITRO_CENTRE ? -width / 2 : -width, 0);
    cairo_show_text(c->cr, text);
    cairo_restore(c->cr);
    cairo_new_path(c->cr);
}

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

void vitro_text_clean(char clean[VITRO_TEXT_BYTES], const char *text)
{
    size_t n = 0;
    while (*text && n + 4 <= MAX_TEXT_BYTES) {
        size_t length = utf8_length(text);
        if (length == 0) {
            memcpy(clean + n, "\xEF\xBF\xBD", 3);
            n += 3;
            text++;
        } else if (length == 1 && ((unsigned char)*text < ' ' || *text == 0x7F)) {
            clean[n++] = ' ';
            text++;
        } else {
            memcpy(clean + n, text, length);
            n += length;
            text += length;
        }
    }
    clean[n] = 0;
}

void vitro_text_fit(VitroCanvas *c, char text[VITRO_TEXT_BYTES], double width)
{
    size_t end = strlen(text);
    while (end > 0 && vitro_canvas_text_width(c, text) > width) {
        /* Back over the last character, and blanks before it: none stands before the mark. */
        do
            end--;
        while (end > 0 && ((text[end] & 0xC0) == 0x80 || text[end - 1] == ' '));
        memcpy(text + end, ELLIPSIS, sizeof(ELLIPSIS));
    }
}
